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
unsubscribe mails come, and a web page of the mail that was caught. Everything is on this machine, and nothing leaves it.

The first line says where: "ready smtp=... imap=... http=...". Then it serves until Ctrl-C. Port 0 takes a free one.
A workspace made by mailer init works with it as it stands.

How a recipient behaves is drawn from --seed, --scenario and the address, the same every time. A word of the local part
forces it: unknown.taro@example.jp, taro+later-full@example.jp.

Recipients:
%s
Formats: whoever has a word of these pairs in his address takes the message, and what follows comes as that server or
program writes it: docomo-filtered.taro@docomo.ne.jp, taro+exim-full@example.jp. back-unknown, back-full and so on leave
the format to the domain: back-full.taro@ezweb.ne.jp. What each must be read as: mailer sandbox --list.
%s
Scenarios:
%s
Any login is right, except for a user name that begins with "refuse".

The web page has three addresses for scripts: /api/messages (?q= searches), /api/messages/ID/raw, /api/stats.`

type sandboxOptions struct {
	sandbox.Options
	caFile string
	list   bool
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
				return listRecipients(a)
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

// formatHelp has a line for each format: its name, and the words that may follow it.
func formatHelp() string {
	var b strings.Builder
	last := ""
	for _, p := range sandbox.Personalities() {
		if p.Format == "" {
			continue
		}
		if p.Format != last {
			fmt.Fprintf(&b, "\n  %-16s %s:", p.Format+"-", p.Help)
			last = p.Format
		}
		b.WriteString(" " + strings.TrimPrefix(p.Name, p.Format+"-"))
	}
	return strings.TrimPrefix(b.String(), "\n") + "\n"
}

func scenarioHelp() string {
	var b strings.Builder
	for _, s := range sandbox.Scenarios() {
		fmt.Fprintf(&b, "  %-14s %s\n", s.Name, s.Help)
	}
	return b.String()
}

// listRecipients prints the table that the sandbox and its tests are made of.
func listRecipients(a *app) error {
	var rows [][]string
	for _, p := range sandbox.Personalities() {
		if a.out.JSON {
			if err := a.out.Emit("recipient", p); err != nil {
				return err
			}
		}
		if p.Format != "" {
			rows = append(rows, []string{p.Example, p.Help, p.Promise.String(), string(p.Promise.Does)})
		}
	}
	if a.out.JSON {
		return nil
	}
	a.out.Table([]string{"recipient", "who writes", "read as", "the address is"}, rows)
	a.out.Println("mailer sandbox --help tells of the others, who need no format of their own.")
	return nil
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
