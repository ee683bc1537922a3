package send

import (
	"context"
	"fmt"
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
	var done int64
	err = s.Store.EachContact(ctx, p.Audience.Sendable(), func(x contact.Contact) error {
		flight.Add(message.Recipient{Address: x.Address, Values: x.Values}, c.mark(x.ID))
		done++
		progress(done)
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	findings := flight.Findings()
	if f, ok, err := s.consent(ctx, p); err != nil {
		return nil, err
	} else if ok {
		findings = append(findings, f)
	}
	return findings, nil
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
