package main

import (
	"context"
	"fmt"

	"mailer/internal/config"
	"mailer/internal/send"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const relayBenchHelp = `Measure how fast a relay of your own takes mail: over 1, 2, 4 and more connections, with pipelining and without. Then say
how many connections are enough.

It sends thousands of made-up messages to one address, and does not keep to the rates of mailer.yaml. So the server must be
yours, and the address should throw its mail away (in Postfix a transport of discard:). Say so with --i-own-this-relay.
The servers of mail providers are refused, whatever you say: mailer relay test measures those gently.

The messages are not signed: the relay is measured, not this machine. A run ends after 30 seconds at the latest, the bench at
the first reply that is no 2xx, with what was learned until then.

Exit codes: 0 done; 2 the configuration or the login is wrong; 3 the relay refused a message or a connection; 4 the relay is
away, or a signal; 5 the relay or the address is a provider's.

  mailer relay bench main --to discard@test.example.com --i-own-this-relay --yes`

type relayBenchOptions struct {
	request send.BenchRequest
	own     bool
	yes     bool
}

func newRelayBenchCmd(a *app) *cobra.Command {
	var o relayBenchOptions
	cmd := &cobra.Command{
		Use:               "bench NAME",
		Short:             "Measure how fast a relay of your own takes mail",
		Long:              relayBenchHelp,
		Args:              exactArgs(1, "NAME"),
		ValidArgsFunction: completeRelay(a),
		RunE:              func(cmd *cobra.Command, args []string) error { return runRelayBench(cmd.Context(), a, args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.request.To, "to", "", "the `address` that all messages go to")
	f.IntVar(&o.request.Messages, "messages", 500, "the `number` of messages of each run")
	f.IntVar(&o.request.Size, "size", 14<<10, "how large each message is, in `bytes`")
	f.IntVar(&o.request.Connections, "connections", 0, "go up to this `number` of connections (default: the relay's own setting)")
	f.BoolVar(&o.own, "i-own-this-relay", false, "the server is mine, and nobody else's mail waits behind this")
	f.BoolVar(&o.yes, "yes", false, "do send the messages")
	cmd.PreRunE = func(*cobra.Command, []string) error { return o.check() }
	return cmd
}

func (o *relayBenchOptions) check() error {
	r := o.request
	switch {
	case r.To == "":
		return usage("--to is missing: an address whose mail is thrown away, on a server of your own")
	case r.Messages < 1 || r.Messages > 100_000:
		return usage("--messages is from 1 to 100000, not %d", r.Messages)
	case r.Size < 1000 || r.Size > 10<<20:
		return usage("--size is from 1000 to %d bytes, not %d", 10<<20, r.Size)
	case r.Connections < 0 || r.Connections > 1000:
		return usage("--connections is from 1 to 1000, not %d", r.Connections)
	}
	return nil
}

func runRelayBench(ctx context.Context, a *app, name string, o relayBenchOptions) error {
	ws, err := a.workspace()
	if err != nil {
		return err
	}
	if o.request.Relay, err = ws.Relay(name); err != nil {
		return err
	}
	if err := o.request.Check(); err != nil {
		return relayError(err)
	}
	what := fmt.Sprintf("up to %d messages of %d bytes for %s through %s", o.request.Most(), o.request.Size, o.request.To, o.request.Relay.Host)
	if !o.own {
		return usage("this sends %s: add --i-own-this-relay if the server is yours", what)
	}
	if !o.yes {
		return usage("this sends %s: add --yes to do it", what)
	}
	if len(o.request.Relay.Rates) > 0 {
		a.out.Warnf("the rates of relay %s are not kept to: they are what a bench finds out", name)
	}
	a.out.Printf("%s: %s\n%11s  %-10s  %8s  %10s  %12s  %7s\n", name, what, "connections", "pipelining", "messages", "a second", "a round trip", "refused")
	s := &send.Sender{Workspace: ws, Now: a.now}
	res, err := s.BenchRelay(ctx, o.request, func(r send.BenchRun) { tellRun(a, r) })
	if err := a.out.Emit("summary", res); err != nil {
		return err
	}
	if res.Connections > 0 {
		tellRecommended(a, res, o.request.Relay)
	}
	switch {
	case err != nil:
		return relayError(err)
	case res.Stopped != "":
		return &exit{exitSome, fmt.Errorf("the bench was stopped by the relay: %s", res.Stopped)}
	}
	return nil
}

func tellRun(a *app, r send.BenchRun) {
	a.out.Emit("run", r)
	a.out.Printf("%11d  %-10s  %8d  %10g  %12g  %7d\n", r.Connections, onOff(r.Pipelining), r.Accepted, r.PerSecond, r.PerRoundTrip, r.Refused)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func tellRecommended(a *app, res send.BenchResult, way config.Relay) {
	more := "more make it no faster"
	if last := res.Runs[len(res.Runs)-1]; last.Connections == res.Connections {
		more = "more were not measured: see --connections"
	}
	a.out.Printf("recommended: connections: %d (%g messages a second; %s); mailer.yaml has %s\n", res.Connections, res.PerSecond, more,
		ui.Count(way.Connections, "connection", "connections"))
	if !res.Pipelining && way.Pipelining != config.PipeliningOff {
		a.out.Printf("pipelining gains nothing on this relay\n")
	}
}
