package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mailer/internal/address"
	"mailer/internal/report"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const whyHelp = `Say whether ADDRESS is mailed, and tell all that happened with it, the oldest first: from which line of which file it came,
lists and consent, every campaign with each try and the relay's reply (and whether its receiving provider keeps it waiting), bounces,
complaints, unsubscribes and suppressions, each with the recorded mail that it came from, and whether a freeze holds one back.

ADDRESS may be written in any way: Taro <taro@example.jp>, ｔａｒｏ＠ＥＸＡＭＰＬＥ．ｊｐ. It need not be a contact any more.
Exit code 1 when nothing is known of it; then similar addresses are named.

  mailer why taro@example.jp`

func newWhyCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "why ADDRESS",
		Short: "Tell all that happened with one address, and whether it is mailed",
		Long:  whyHelp,
		Args:  exactArgs(1, "ADDRESS"),
		RunE:  func(cmd *cobra.Command, args []string) error { return runWhy(cmd.Context(), a, args[0]) },
	}
}

func runWhy(ctx context.Context, a *app, text string) error {
	addr, err := address.Parse(text)
	if err != nil {
		return usage("%q: %w", text, err)
	}
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	lanes, err := readLanes(ctx, ws, st, a.now())
	if err != nil {
		return err
	}
	story, err := report.Why(ctx, st, addr, lanes)
	if err != nil {
		return err
	}
	if err := emitStory(a, story); err != nil {
		return err
	}
	if !story.Known {
		return &exit{exitError, fmt.Errorf("%s", unknown(story))}
	}
	showStory(a, story)
	return nil
}

func unknown(s report.Story) string {
	if len(s.Near) == 0 {
		return s.Verdict + " No similar address is there either."
	}
	return s.Verdict + " Similar ones are there: " + strings.Join(s.Near, ", ")
}

func showStory(a *app, s report.Story) {
	if a.out.JSON {
		return
	}
	a.out.Println(ui.Clean(s.Verdict))
	if len(s.Entries) == 0 {
		return
	}
	var rows [][]string
	for _, e := range s.Entries {
		rows = append(rows, []string{e.At.Format(time.DateTime), e.Text})
	}
	a.out.Println()
	a.out.Table(nil, rows)
}

func emitStory(a *app, s report.Story) error {
	for _, e := range s.Entries {
		if err := a.out.Emit("event", struct {
			At     string         `json:"at"`
			Kind   string         `json:"kind"`
			Text   string         `json:"text"`
			Fields map[string]any `json:"fields"`
		}{e.At.Format(time.RFC3339), e.Kind, e.Text, e.Fields}); err != nil {
			return err
		}
	}
	near := s.Near
	if near == nil {
		near = []string{}
	}
	return a.out.Emit("summary", struct {
		Address     string   `json:"address"`
		Known       bool     `json:"known"`
		Contact     bool     `json:"contact"`
		Marketing   bool     `json:"marketing"`
		Operational bool     `json:"operational"`
		Verdict     string   `json:"verdict"`
		Near        []string `json:"near"`
		Events      int      `json:"events"`
		Held        string   `json:"held"`     // the provider whose freeze holds its suppression back
		Evidence    []int64  `json:"evidence"` // recorded mails, for bounces show
	}{s.Address, s.Known, s.Contact, s.Marketing, s.Operational, s.Verdict, near, len(s.Entries), s.Held, append([]int64{}, s.Evidence...)})
}
