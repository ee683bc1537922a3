package send

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"mailer/internal/address"
	"mailer/internal/campaign"
	"mailer/internal/config"
	"mailer/internal/delivery"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// Server is how a relay of the configuration is talked to, for whoever checks it.
func (s *Sender) Server(r config.Relay) (relay.Server, error) { return s.server(r) }

// Letter is a message like those of a campaign that belongs to none: it goes around once, and is looked at when it is back.
type Letter struct {
	relay.Message
	ID        string // stands in the subject, and nowhere else in the world
	MessageID string
}

const roundTripText = `---
subject: Round trip {{.id}}
---
This message was sent by mailer through the relay {{.relay}} and comes back to see what becomes of your mail on its way: 日本語の文字も、そのまま届きますか。

A link that must stay as it is: https://{{.domain}}/round-trip?id={{.id}}&x=1

It is made as your campaigns are. You may delete it.

To leave the list: {{.unsubscribe_url}}
`

// Letter makes one to an address, from the workspace's sender, signed as a campaign would be. An empty address is the return
// path: such a message comes into the bounce mailbox.
func (s *Sender) Letter(ctx context.Context, name, to string) (Letter, error) {
	conf := s.Workspace.Config
	if conf.Sender.From == "" {
		return Letter{}, &UsageError{"the message needs a sender: set sender.from in mailer.yaml"}
	}
	d, err := campaign.Parse("round-trip.md", []byte(roundTripText))
	if err != nil {
		return Letter{}, err
	}
	content, err := s.content(&campaign.Campaign{ID: "round-trip", Class: campaign.Marketing, Document: d, Variants: []campaign.Document{d}})
	if err != nil {
		return Letter{}, err
	}
	c, err := s.composer(ctx, &Plan{Name: content.ID, Content: content})
	if err != nil {
		return Letter{}, err
	}
	id := trial()
	if to == "" {
		to = conf.Bounces.ReturnPath(c.tokens.Sign(delivery.TokenBounce, id))
	}
	a, err := address.Parse(to)
	if err != nil {
		return Letter{}, &UsageError{fmt.Sprintf("the message needs an address that leads to the bounce mailbox: set bounces.return_path in mailer.yaml, or name one with --to (%v)", err)}
	}
	l := Letter{ID: strings.ToLower(rand.Text())}
	m, mark, err := c.render(id, a.Text, map[string]string{"relay": name, "id": l.ID, "domain": c.domain})
	if err != nil {
		return Letter{}, err
	}
	l.Message, l.MessageID = relay.Message{Envelope: c.envelope(id, a.Text, m), Raw: m.Raw}, mark.MessageID
	return l, nil
}

// Largest is the size of the largest message of the newest campaigns, as they would be made today, and the campaign that it
// is of. One that cannot be made is left out: this is no check of campaigns.
func (s *Sender) Largest(ctx context.Context) (size int64, of string, err error) {
	const newest = 5
	all, err := s.Store.Campaigns(ctx)
	if err != nil {
		return 0, "", err
	}
	slices.SortFunc(all, func(a, b store.Campaign) int { return cmp.Compare(b.ID, a.ID) })
	for _, one := range all[:min(newest, len(all))] {
		p, err := s.Draft(ctx, Request{Campaign: one.Name})
		if err != nil {
			continue
		}
		m, _, err := s.Preview(ctx, p, "")
		if err == nil && int64(len(m.Raw)) > size {
			size, of = int64(len(m.Raw)), one.Name
		}
	}
	return size, of, ctx.Err()
}
