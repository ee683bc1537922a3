package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mailer/internal/doctor"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const doctorListHelp = `Look at the people of a list before they are mailed: how old the addresses are and when mail last reached them, what is recorded of
consent, which providers receive, addresses of no person, mailboxes to throw away, domains with a slip of the finger, domains that take
no mail, how many will bounce to judge by earlier mailings, and who is asleep.

The verdict comes first. Each finding that is about some of the people has the expression that picks them: mailer segments count --where
counts them, mailer send CAMPAIGN --exclude leaves them out. Suppressed people are left out of everything here: nothing is sent to them.

The DNS is asked which domains take mail, the most common first, for as long as --dns says. What nobody knew in time counts as good.
In a rehearsal, with From at example.com, it is asked only where --resolver or dns: names a server.
disposable: {add: [example.com], except: [example.net]} in mailer.yaml changes the list of services that give out mailboxes to throw
away.

Exit codes: 0 nothing failed; 2 wrong usage or configuration; 4 stopped by a signal; 5 a check failed (5 % or more will bounce).

  mailer doctor list --list news
  mailer doctor list --where 'pref == "東京都"' --dns 60s`

type doctorListOptions struct {
	who
	dns      time.Duration
	resolver []string
}

func newDoctorListCmd(a *app) *cobra.Command {
	var o doctorListOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Check a list of people: age, consent, dead domains, bounces to expect",
		Long:  doctorListHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runDoctorList(cmd.Context(), a, o) },
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.DurationVar(&o.dns, "dns", 10*time.Second, "ask the DNS which domains take mail, for this `duration` at most; 0: do not ask")
	f.StringSliceVar(&o.resolver, "resolver", nil, "name server to ask, `host` or host:port (default: that of mailer.yaml, else the system's)")
	return cmd
}

func runDoctorList(ctx context.Context, a *app, o doctorListOptions) error {
	if o.dns < 0 {
		return usage("--dns %s: a time cannot be negative; 0 asks nothing", o.dns)
	}
	s, where, err := o.people(ctx, a)
	if err != nil {
		return err
	}
	defer s.store.Close()
	l := &doctor.List{Store: s.store, Schema: s.schema, Scope: where, Disposables: s.ws.Config.Disposables(), Patience: o.dns}
	if l.Words, err = o.words(s); err != nil {
		return err
	}
	if l.Providers, err = s.ws.Providers(); err != nil {
		return err
	}
	if o.dns > 0 && (!examplesAll(s.ws.Config) || len(o.resolver)+len(s.ws.Config.DNS.Servers) > 0) {
		if l.Resolver, err = doctorResolver(s.ws, doctorDomainOptions{resolver: o.resolver}); err != nil {
			return err
		}
	}
	bar := counting(a)
	l.Step = bar.set
	all, err := l.Check(ctx)
	bar.close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return tellDiagnosis(a, o.subject(), all)
}

// words is whom the flags name, as one expression.
func (o who) words(s *segments) (string, error) {
	var all []string
	if o.list != "" {
		all = append(all, fmt.Sprintf("list(%q)", o.list))
	}
	if o.segment != "" {
		src, err := s.load(o.segment)
		if err != nil {
			return "", err
		}
		all = append(all, src)
	}
	if o.where != "" {
		all = append(all, o.where)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	for i, src := range all {
		if src = strings.TrimSpace(src); strings.ContainsAny(src, "#/") {
			src += "\n" // a comment ends with its line
		}
		all[i] = "(" + src + ")"
	}
	return strings.Join(all, " and "), nil
}

// subject is whom the flags name, for people.
func (o who) subject() string {
	switch {
	case o.segment != "":
		return "segment " + ui.Clean(o.segment)
	case o.list != "":
		return "list " + ui.Clean(o.list)
	case o.where != "":
		return ui.Clean(o.where)
	}
	return "all contacts"
}
