package send

import (
	"context"
	"fmt"
	"os"
	"strings"

	"mailer/internal/address"
	"mailer/internal/campaign"
	"mailer/internal/contact"
	"mailer/internal/message"
	"mailer/internal/store"
)

// Draft reads a campaign as its files are today, sent before or not, for Check and Preview. An audience that nothing
// narrows is everybody.
func (s *Sender) Draft(ctx context.Context, r Request) (*Plan, error) {
	c, err := campaign.Load(os.DirFS(s.Workspace.Dir), r.Campaign)
	if err != nil {
		return nil, err
	}
	p := &Plan{Request: r, Name: c.ID, New: true, Campaign: store.Campaign{Name: c.ID, Class: c.Class}}
	if p.Content, err = s.content(c); err != nil {
		return nil, err
	}
	if p.Spec, err = s.spec(r, c); err != nil {
		return nil, err
	}
	if p.Audience, err = s.audience(ctx, p.Spec, c.Class); err != nil {
		return nil, err
	}
	p.Counts, err = s.Store.Plan(ctx, p.Audience)
	return p, err
}

// Preview makes the message that a contact would get, and sends nothing; to is the contact's address, or "" for the first
// one of the audience. The tokens in the message are right and stand for no delivery.
func (s *Sender) Preview(ctx context.Context, p *Plan, to string) (message.Message, contact.Contact, error) {
	who, err := s.previewed(ctx, p, to)
	if err != nil {
		return message.Message{}, who, err
	}
	c, err := s.composer(ctx, p)
	if err != nil {
		return message.Message{}, who, err
	}
	m, _, err := c.render(0, who.Address, who.Values)
	return m, who, err
}

func (s *Sender) previewed(ctx context.Context, p *Plan, to string) (who contact.Contact, err error) {
	if to == "" {
		return s.first(ctx, p.Audience, "to show the message for: import contacts, or name one with --to")
	}
	a, err := address.Parse(to)
	if err != nil {
		return who, &UsageError{fmt.Sprintf("--to %s: %v", strings.TrimSpace(to), err)}
	}
	who, found, err := s.Store.Contact(ctx, a.Key)
	if err == nil && !found {
		err = &UsageError{fmt.Sprintf("--to %s: there is no such contact; mailer contacts list shows them", a.Text)}
	}
	return who, err
}
