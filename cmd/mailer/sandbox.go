package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"mailer/internal/sandbox"

	"github.com/spf13/cobra"
)

const sandboxHelp = `Play at mail servers, so that the whole loop can be rehearsed without mailing anybody: an SMTP server that takes every
recipient, an IMAP account (user bounce, password bounce) into which bounces, complaints, automatic replies and
unsubscribe mails come, and a web page of the mail that was caught. Everything is on this machine, and nothing leaves it. A message
to its own return path comes into that account as well: mailer doctor relay --roundtrip.

The first line says where: "ready smtp=... imap=... http=...". Then it serves until Ctrl-C. Port 0 takes a free one.
A workspace made by mailer init works with it as it stands.

How a recipient behaves is drawn from --seed, --scenario and the address, the same every time. A word of the local part
forces it: unknown.taro@example.jp, taro+later-full@example.jp.

Recipients:
%s
Formats: whoever has a word of these pairs in his address takes the message, and what follows comes as that server or
program writes it: docomo-filtered.taro@docomo.ne.jp, taro+exim-full@example.jp. back-unknown, back-full and so on leave
the format to the domain: back-full.taro@ezweb.ne.jp. What each must be read as: mailer sandbox --list. All of them as a list
to mail: mailer sandbox --list --format csv >all.csv, then mailer import all.csv --list all.
%s
Scenarios:
%s
Any login is right, except for a user name that begins with "refuse".

The web page has four addresses for scripts: /api/messages (?q= searches), /api/messages/ID/raw, /api/recipients, /api/stats.`

type sandboxOptions struct {
	sandbox.Options
	caFile string
	list   bool
	format string
}

func newSandboxCmd(a *app) *cobra.Command {
	var o sandboxOptions
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Play at mail servers on this machine, to rehearse without mailing anybody",
		Long:  fmt.Sprintf(sandboxHelp, castHelp(), formatHelp(), scenarioHelp()),
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.list {
				return runSandboxList(a, o.format)
			}
			return runSandbox(cmd.Context(), a, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.SMTP, "smtp", "127.0.0.1:2525", "take mail at this `address`")
	f.StringVar(&o.IMAP, "imap", "127.0.0.1:1143", "serve the bounce mailbox at this `address`")
	f.StringVar(&o.HTTP, "http", "127.0.0.1:8025", "show the caught mail at this `address`")
	f.Uint64Var(&o.Seed, "seed", 1, "the `number` that the recipients' behaviour is drawn from")
	f.StringVar(&o.Scenario, "scenario", sandbox.DefaultScenario, "the mix of recipients, by `name`")
	f.DurationVar(&o.Greylist, "greylist", sandbox.DefaultGreylist, "how long a greylisted recipient is refused")
	f.DurationVar(&o.Slow, "slow", sandbox.DefaultSlow, "how long a slow recipient takes")
	f.StringVar(&o.caFile, "ca-file", "", "offer STARTTLS, and write the certificate to trust to this `file`; IMAP then wants it")
	f.BoolVar(&o.list, "list", false, "do not serve: list the recipients, and how mailer must read what comes of them")
	f.StringVar(&o.format, "format", "text", "with --list: print as `text|csv`")
	return cmd
}

func castHelp() string {
	var b strings.Builder
	for _, p := range sandbox.Personalities() {
		if p.Format == "" {
			fmt.Fprintf(&b, "  %-14s %s\n", p.Name, p.Help)
		}
	}
	return b.String()
}

func scenarioHelp() string {
	var b strings.Builder
	for _, s := range sandbox.Scenarios() {
		fmt.Fprintf(&b, "  %-14s %s\n", s.Name, s.Help)
	}
	return b.String()
}

func runSandbox(ctx context.Context, a *app, o sandboxOptions) error {
	o.Now, o.StartTLS = a.now, o.caFile != ""
	s, err := sandbox.Start(ctx, o.Options)
	if err != nil {
		return &exit{exitUsage, err}
	}
	defer s.Close()
	if o.StartTLS {
		if err := os.WriteFile(o.caFile, s.CA(), 0o644); err != nil {
			return fmt.Errorf("write the certificate to trust: %w", err)
		}
	}
	if err := tellReady(a, s); err != nil {
		return err
	}
	<-ctx.Done()
	s.Close()
	return tellCaught(a, s.Stats())
}

// tellReady prints the line that scripts wait for.
func tellReady(a *app, s *sandbox.Sandbox) error {
	if a.out.JSON {
		return a.out.Emit("ready", struct {
			SMTP string `json:"smtp"`
			IMAP string `json:"imap"`
			HTTP string `json:"http"`
		}{s.SMTPAddr(), s.IMAPAddr(), s.HTTPURL()})
	}
	a.out.Printf("ready smtp=%s imap=%s http=%s\n", s.SMTPAddr(), s.IMAPAddr(), s.HTTPURL())
	return nil
}

func tellCaught(a *app, st sandbox.Stats) error {
	a.out.Printf("caught %d messages; %d in the bounce mailbox\n", st.Messages, st.Inbox)
	for _, name := range slices.Sorted(maps.Keys(st.Refused)) {
		a.out.Printf("  refused: %s %d\n", name, st.Refused[name])
	}
	return a.out.Emit("summary", st)
}
