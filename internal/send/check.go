package send

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"mailer/internal/campaign"
	"mailer/internal/contact"
	"mailer/internal/message"
	"mailer/internal/store"
)

// Finding is one thing that the check before sending found.
type Finding = message.Finding

// Looking is how closely Check looks.
type Looking struct {
	Links    bool        // fetch the links
	Private  bool        // from this machine and private networks too
	Progress func(int64) // is told how many messages were done; nil: nobody wants to know
}

// Check renders the message of every recipient of a new campaign and holds them against the rules, before anybody is
// mailed.
func (s *Sender) Check(ctx context.Context, p *Plan, o Looking) ([]Finding, error) {
	c, err := s.composer(ctx, p)
	if err != nil {
		return nil, err
	}
	fields, err := s.Store.Fields(ctx)
	if err != nil {
		return nil, err
	}
	conf := s.Workspace.Config
	flight := message.NewPreflight(c.template, message.Facts{Fields: names(fields), BounceMailbox: conf.Bounces.Mailbox.Configured(),
		Levels: conf.Checks.Levels(), Links: o.Links})
	look := &lookout{composer: c, flight: flight, progress: o.Progress}
	err = s.Store.EachContact(ctx, p.Audience.Sendable(), func(x contact.Contact) error {
		look.add(x)
		return ctx.Err()
	})
	look.flush()
	look.wait()
	if err != nil {
		return nil, err
	}
	if o.Links {
		list, more := flight.Addresses()
		newFetcher(o.Private).check(ctx, list, flight)
		flight.Skipped(more)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	if err := s.consent(ctx, p, flight); err != nil {
		return nil, err
	}
	return flight.Findings(), nil
}

// Links lists the links of a campaign as its templates have them, before utm: is added.
func (s *Sender) Links(ctx context.Context, p *Plan) ([]message.Link, error) {
	c, err := s.composer(ctx, p)
	if err != nil {
		return nil, err
	}
	return c.template.Links(), nil
}

// lookout executes messages on all cores, a batch at a time while the next one is read, and enters what was seen in the order
// of the contacts: the same list gives the same findings.
type lookout struct {
	*composer
	flight   *message.Preflight
	progress func(int64)
	batch    []contact.Contact
	looking  sync.WaitGroup
	done     int64
}

const lookAtOnce = 256

func (l *lookout) add(x contact.Contact) {
	if l.batch = append(l.batch, x); len(l.batch) == lookAtOnce {
		l.flush()
	}
}

// flush begins to look at what was added, when the batch before is done.
func (l *lookout) flush() {
	l.wait()
	batch := l.batch
	l.batch = make([]contact.Contact, 0, lookAtOnce)
	l.looking.Go(func() { l.look(batch) })
}

func (l *lookout) wait() { l.looking.Wait() }

func (l *lookout) look(batch []contact.Contact) {
	seen := make([]message.Seen, len(batch))
	var next atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(seen)); i = next.Add(1) - 1 {
				x := batch[i]
				seen[i] = l.flight.Look(message.Recipient{Address: x.Address, Values: x.Values}, l.mark(x.ID))
			}
		})
	}
	all.Wait()
	for _, s := range seen {
		l.flight.Enter(s)
	}
	l.done += int64(len(batch))
	if l.progress != nil {
		l.progress(l.done)
	}
}

// consent counts the recipients of whom nobody wrote down that they agreed. Whether they did no program can tell.
func (s *Sender) consent(ctx context.Context, p *Plan, flight *message.Preflight) error {
	if p.Campaign.Class != campaign.Marketing {
		return nil
	}
	without := p.Audience.Sendable().And(store.WithoutConsent())
	n, err := s.Store.CountContacts(ctx, without)
	if err != nil || n == 0 {
		return err
	}
	var some []string
	err = s.Store.EachContact(ctx, without, func(c contact.Contact) error {
		if some = append(some, c.Address); len(some) == message.Examples {
			return errStop
		}
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		return err
	}
	flight.NoConsent(n, some)
	return nil
}

func names(fields []contact.Field) []string {
	all := []string{}
	for _, f := range fields {
		all = append(all, f.Name)
	}
	return all
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
