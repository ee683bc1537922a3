package send

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"mailer/internal/address"
	"mailer/internal/campaign"
	"mailer/internal/contact"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// Trial is what came of a test message.
type Trial struct {
	Address   string `json:"address"`
	As        string `json:"as"`
	Relay     string `json:"relay"`
	Accepted  bool   `json:"accepted"`
	Phase     string `json:"phase"`
	Reply     string `json:"reply"`
	MessageID string `json:"message_id"`
}

// Test sends one message to an address, filled in as for a contact (the address itself, or the first of the audience, when
// as is empty). Nothing is recorded: it is no delivery of the campaign.
func (s *Sender) Test(ctx context.Context, r Request, to, as string) (Trial, error) {
	a, err := address.Parse(to)
	if err != nil {
		return Trial{}, &UsageError{fmt.Sprintf("--test: %v", err)}
	}
	c, err := campaign.Load(os.DirFS(s.Workspace.Dir), r.Campaign)
	if err != nil {
		return Trial{}, err
	}
	p := &Plan{Request: r, Name: c.ID}
	if p.Content, err = s.content(c); err != nil {
		return Trial{}, err
	}
	if p.Spec, err = s.spec(r, c); err != nil {
		return Trial{}, err
	}
	if err := s.route(p); err != nil {
		return Trial{}, err
	}
	model, err := s.model(ctx, p, c.Class, a.Key, as)
	if err != nil {
		return Trial{}, err
	}
	return s.sendTrial(ctx, p, a.Text, model)
}

// model is the contact that a test message is filled in as.
func (s *Sender) model(ctx context.Context, p *Plan, class, key, as string) (contact.Contact, error) {
	if as != "" {
		a, err := address.Parse(as)
		if err != nil {
			return contact.Contact{}, &UsageError{fmt.Sprintf("--as: %v", err)}
		}
		c, found, err := s.Store.Contact(ctx, a.Key)
		if err == nil && !found {
			err = &UsageError{fmt.Sprintf("--as: there is no contact %s", as)}
		}
		return c, err
	}
	if c, found, err := s.Store.Contact(ctx, key); err != nil || found {
		return c, err
	}
	audience, err := s.audience(ctx, p.Spec, class)
	if err != nil {
		return contact.Contact{}, err
	}
	return s.first(ctx, audience, "to fill the test message in as: import contacts, or name one with --as")
}

var errStop = errors.New("enough")

// first is the first of an audience who would be sent a message; what for and what else to do is told when there is nobody.
func (s *Sender) first(ctx context.Context, a store.Audience, what string) (contact.Contact, error) {
	var first contact.Contact
	err := s.Store.EachContact(ctx, a.Sendable(), func(c contact.Contact) error {
		first = c
		return errStop
	})
	switch {
	case errors.Is(err, errStop):
		return first, nil
	case err == nil:
		err = &UsageError{"nobody is in the audience " + what}
	}
	return first, err
}

func (s *Sender) sendTrial(ctx context.Context, p *Plan, to string, model contact.Contact) (Trial, error) {
	c, err := s.composer(ctx, p)
	if err != nil {
		return Trial{}, err
	}
	id := trial()
	m, mark, err := c.render(id, to, model.Values)
	if err != nil {
		return Trial{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	conn, err := p.dialers[0].Dial(ctx)
	if err != nil {
		return Trial{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, conn.Abort)
	defer stop()
	a := conn.SendAlone(ctx, &relay.Message{Envelope: c.envelope(id, to, m), Raw: m.Raw})
	return Trial{Address: to, As: model.Address, Relay: p.Relay.Name, Accepted: a.Accepted(), Phase: string(a.Phase), Reply: said(a), MessageID: mark.MessageID}, nil
}
