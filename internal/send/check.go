package send

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"mailer/internal/config"
	"mailer/internal/contact"
	"mailer/internal/message"
	"mailer/internal/store"
)

// Finding is one thing that the check before sending found.
type Finding = message.Finding

// Check renders the message of every recipient of a new campaign and holds them against the rules, before anybody is
// mailed. progress is told how many were done.
func (s *Sender) Check(ctx context.Context, p *Plan, progress func(int64)) ([]Finding, error) {
	c, err := s.composer(ctx, p)
	if err != nil {
		return nil, err
	}
	fields, err := s.Store.Fields(ctx)
	if err != nil {
		return nil, err
	}
	flight := message.NewPreflight(c.template, message.Facts{Fields: names(fields), BounceMailbox: s.Workspace.Config.Bounces.Mailbox.Configured(), Levels: levels(s.Workspace.Config.Checks)})
	look := &lookout{composer: c, flight: flight, progress: progress}
	err = s.Store.EachContact(ctx, p.Audience.Sendable(), func(x contact.Contact) error {
		look.add(x)
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	look.flush()
	findings := flight.Findings()
	if f, ok, err := s.consent(ctx, p); err != nil {
		return nil, err
	} else if ok {
		findings = append(findings, f)
	}
	return findings, nil
}

// lookout executes messages on all cores, a batch at a time, and enters what was seen in the order of the contacts: the
// same list gives the same findings.
type lookout struct {
	*composer
	flight   *message.Preflight
	progress func(int64)
	batch    []contact.Contact
	done     int64
}

const lookAtOnce = 256

func (l *lookout) add(x contact.Contact) {
	if l.batch = append(l.batch, x); len(l.batch) == lookAtOnce {
		l.flush()
	}
}

func (l *lookout) flush() {
	seen := make([]message.Seen, len(l.batch))
	var next atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(seen)); i = next.Add(1) - 1 {
				x := l.batch[i]
				seen[i] = l.flight.Look(message.Recipient{Address: x.Address, Values: x.Values}, l.mark(x.ID))
			}
		})
	}
	all.Wait()
	for _, s := range seen {
		l.flight.Enter(s)
	}
	l.done += int64(len(l.batch))
	l.batch = l.batch[:0]
	l.progress(l.done)
}

// consent counts the recipients of whom nobody wrote down that they agreed. Whether they did no program can tell.
func (s *Sender) consent(ctx context.Context, p *Plan) (Finding, bool, error) {
	level := s.Workspace.Config.Checks.Consent
	if level == config.LevelOff || p.Campaign.Class != "marketing" {
		return Finding{}, false, nil
	}
	n, err := s.Store.CountContacts(ctx, p.Audience.Sendable().And(store.WithoutConsent()))
	if err != nil || n == 0 {
		return Finding{}, false, err
	}
	f := Finding{Level: message.LevelWarning, Rule: message.RuleConsent, Message: fmt.Sprintf(
		"%d recipients have no consent record: import them with --list and --consent-source (the law wants to know when and how they agreed)", n)}
	if level == config.LevelError {
		f.Level = message.LevelError
	}
	return f, true, nil
}

func names(fields []contact.Field) []string {
	all := []string{}
	for _, f := range fields {
		all = append(all, f.Name)
	}
	return all
}

// levels passes the configured levels on, by the rules' names.
func levels(c config.Checks) map[string]string {
	return map[string]string{
		message.RuleMissingField: string(c.MissingField), message.RuleTemplate: string(c.Template), message.RuleAttachment: string(c.Attachment),
		message.RuleSender: string(c.Sender), message.RulePostalAddress: string(c.PostalAddress), message.RuleUnsubscribe: string(c.Unsubscribe),
		message.RuleDKIM: string(c.DKIM), message.RuleBounceMailbox: string(c.BounceMailbox),
	}
}

// Pace says in words how long n messages take.
func (p *Plan) Pace(n int64) string {
	d := p.Estimate(n)
	switch {
	case d == 0:
		return "as fast as the relay takes them (no rate is set)"
	case d < time.Second:
		return "within a second at the set rates"
	}
	return fmt.Sprintf("at least %s at the set rates", d.Round(time.Second))
}

// Subject is the subject's template of the first document, for people.
func (p *Plan) Subject() string { return p.Content.Variants[0].Front.Subject }

// From is the From address of the first document, for people.
func (p *Plan) From() string {
	if f := p.Content.Variants[0].Front.From; f != "" {
		return f
	}
	return p.Content.Sender.From
}
