package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mailer/internal/config"
	"mailer/internal/relay"
	"mailer/internal/send"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const relayTestHelp = `Connect to a relay as a send would, and show each step: the address, TLS and the certificate, what the relay offers, the
login, the round trip, and whether a second connection is quicker. Then say how fast a send can be at best, and what is
unwise. Without NAME it is the first relay of mailer.yaml; --all takes one after the other.

With --to one small message goes out from sender.from, signed as your campaigns are. Nothing is recorded.

Exit codes: 0 it works; 2 the configuration, the certificate or the login is wrong; 3 the relay did not take the message of
--to; 4 the relay is away. With --all: the first of 2, 4, 3 that is true of one of them.

  mailer relay test
  mailer relay test main --to me@example.jp`

type relayTestOptions struct {
	to  string
	all bool
}

func newRelayTestCmd(a *app) *cobra.Command {
	var o relayTestOptions
	cmd := &cobra.Command{
		Use:   "test [NAME]",
		Short: "Connect, show what a relay is like, and say how fast a send can be",
		Long:  relayTestHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return exactArgs(1, "NAME or nothing")(cmd, args)
			case len(args) == 1 && o.all:
				return usage("--all tests every relay: leave %q out", args[0])
			}
			return nil
		},
		ValidArgsFunction: completeRelay(a),
		RunE:              func(cmd *cobra.Command, args []string) error { return runRelayTest(cmd.Context(), a, args, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "send one message to this `address`")
	f.BoolVar(&o.all, "all", false, "test every relay")
	return cmd
}

func runRelayTest(ctx context.Context, a *app, args []string, o relayTestOptions) error {
	s, relays, done, err := relaysToTest(ctx, a, args, o)
	if err != nil {
		return err
	}
	defer done()
	var failed []error
	var broken []string
	for i, way := range relays {
		if i > 0 {
			a.out.Println()
		}
		f, err := testOneRelay(ctx, a, s, way, o)
		if err := emitFindings(a, f, o.all); err != nil {
			return err
		}
		if err == nil && !f.OK {
			err = &exit{exitSome, fmt.Errorf("relay %s did not take the message for %s: %s", way.Name, f.Message.Address, f.Message.Reply)}
		}
		if ctx.Err() != nil {
			return relayError(ctx.Err())
		}
		if err != nil {
			failed, broken = append(failed, relayError(err)), append(broken, way.Name)
		}
	}
	if o.all {
		a.out.Printf("\n%s, %d of them in order\n", ui.Count(len(relays), "relay", "relays"), len(relays)-len(broken))
		if err := a.out.Emit("summary", struct {
			Relays int      `json:"relays"`
			Broken []string `json:"broken"`
			OK     bool     `json:"ok"`
		}{len(relays), append([]string{}, broken...), len(broken) == 0}); err != nil {
			return err
		}
	}
	return worst(failed)
}

// relaysToTest opens what the test needs: the database only where a message is signed with its keys.
func relaysToTest(ctx context.Context, a *app, args []string, o relayTestOptions) (*send.Sender, []config.Relay, func() error, error) {
	s := &send.Sender{Now: a.now}
	done := func() error { return nil }
	var err error
	if o.to == "" {
		s.Workspace, err = a.workspace()
	} else {
		s.Workspace, s.Store, err = a.open(ctx)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if s.Store != nil {
		done = s.Store.Close
	}
	way, err := s.Workspace.Relay(strings.Join(args, ""))
	if err != nil {
		return nil, nil, nil, errors.Join(err, done())
	}
	if o.all {
		return s, s.Workspace.Config.Relays, done, nil
	}
	return s, []config.Relay{way}, done, nil
}

// worst is the error that decides the exit code of several.
func worst(all []error) error {
	for _, code := range []int{exitUsage, exitLeft, exitSome} {
		for _, err := range all {
			if exitCode(err) == code {
				return &exit{code, errors.Join(all...)}
			}
		}
	}
	return errors.Join(all...)
}

func testOneRelay(ctx context.Context, a *app, s *send.Sender, way config.Relay, o relayTestOptions) (send.RelayFindings, error) {
	a.out.Printf("%s: %s:%d, tls: %s\n", way.Name, way.Host, way.Port, way.TLS)
	f, err := s.TestRelay(ctx, way, o.to, func(st relay.Step) { tellStep(a, way.Name, st) })
	if err != nil {
		return f, err
	}
	a.out.Printf("  %-11s %s\n", "expect", f.Expectation())
	if m := f.Message; m != nil {
		word := "taken"
		if !m.Accepted {
			word = "refused"
		}
		a.out.Printf("  %-11s %s for %s: %s\n", "message", word, ui.Clean(m.Address), ui.Clean(m.Reply))
	}
	for _, w := range f.Warnings {
		a.out.Warnf("%s: %s", way.Name, ui.Clean(w.Text))
	}
	return f, nil
}

// tellStep prints a step as it happens.
func tellStep(a *app, name string, st relay.Step) {
	line := struct {
		Relay string  `json:"relay"`
		Step  string  `json:"step"`
		OK    bool    `json:"ok"`
		Text  string  `json:"text"`
		Took  float64 `json:"ms"`
	}{name, st.Name, st.Err == nil, st.Text, float64(st.Took.Microseconds()) / 1000}
	if st.Err != nil {
		line.Text = st.Err.Error()
	}
	a.out.Emit("step", line)
	text := ui.Clean(line.Text)
	if st.Err != nil {
		text = "failed" // the error is told once, at the end
		if st.Name == "again" {
			text = "no second connection"
		}
	}
	a.out.Printf("  %-11s %s (%s)\n", st.Name, text, st.Took.Round(100*time.Microsecond))
}

func emitFindings(a *app, f send.RelayFindings, several bool) error {
	if several {
		return a.out.Emit("relay", f)
	}
	return a.out.Emit("summary", f)
}
