package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"hash/maphash"

	"mailer/internal/suppression"
)

// foresight tells what mails would do, one after the other, and writes nothing.
type foresight struct {
	s      *Store
	seed   maphash.Seed
	seen   map[uint64]struct{} // digests, mails by their Message-ID, suppressions: of 300,000 two look the same once in 400 million times
	dead   map[string]*foreseenDead
	frozen map[string]*Freeze
}

// foreseenDead are the addresses of a lane that would be suppressed as dead. There may be as many as mails, and they are of few domains
// and campaigns.
type foreseenDead struct {
	dead int64
	of   map[deadGroup]deadCount
}

type deadGroup struct {
	domain   string
	campaign int64
}

type deadCount struct{ dead, arrived int64 }

// Foresee makes a recorder that writes nothing: what it returns is what would be.
func (s *Store) Foresee() *MailRecorder {
	r := s.MailRecorder()
	r.told = &foresight{s: s, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}, dead: map[string]*foreseenDead{}, frozen: map[string]*Freeze{}}
	return r
}

// mail does what is to be done with a mail, and takes the transaction back.
func (f *foresight) mail(ctx context.Context, by *MailRecorder, m PackedMail) (Recorded, error) {
	if f.again("digest", m.Digest) {
		return Recorded{Repeated: true}, nil
	}
	var r Recorded
	err := by.d.update(ctx, func() (err error) {
		if r, err = f.s.recordMail(ctx, by.cleaner(), m); err != nil {
			return err
		}
		if r.Suppressed {
			if err := f.together(by.cleaner(), m, &r); err != nil {
				return err
			}
		}
		return errOnlyTold
	})
	if !errors.Is(err, errOnlyTold) {
		return Recorded{}, wrap("foresee mail", err)
	}
	if r.Matched && !r.Repeated && m.Verdict.MessageID != "" && f.again("twin", m.Delivery, m.Verdict.Kind, m.Verdict.MessageID) {
		return Recorded{ID: r.ID, Matched: true, Repeated: true}, nil
	}
	return r, nil
}

// again reports whether something was there before.
func (f *foresight) again(name ...any) bool {
	var h maphash.Hash
	h.SetSeed(f.seed)
	for _, part := range name {
		maphash.WriteComparable(&h, part)
	}
	sum := h.Sum64()
	_, before := f.seen[sum]
	f.seen[sum] = struct{}{}
	return before
}

// together adds what the mails before would have done: an address is suppressed once, and a provider's dead addresses add up.
func (f *foresight) together(c cleaner, m PackedMail, r *Recorded) error {
	if f.again("suppression", r.Suppress, r.key) {
		r.Suppressed = false
		return nil
	}
	if r.Suppress != suppression.HardBounce {
		return nil
	}
	lane := f.s.providers.Lane(r.Domain)
	if frozen := f.frozen[lane]; frozen != nil {
		r.Suppressed, r.Held = false, frozen
		return nil
	}
	all := f.dead[lane]
	if all == nil {
		all = &foreseenDead{of: map[deadGroup]deadCount{}}
		f.dead[lane] = all
	}
	froze, err := f.burst(c, lane, all)
	if err != nil {
		return err
	}
	if froze != nil {
		f.frozen[lane] = froze
		r.Suppressed, r.Held, r.Froze = false, froze, froze
		return nil
	}
	return all.add(c, m.Delivery)
}

// burst tells whether one dead address more, which stands in the transaction, would freeze a lane.
func (f *foresight) burst(c cleaner, lane string, before *foreseenDead) (*Freeze, error) {
	rule, now, dead := f.s.policy.Freeze, f.s.now(), before.dead+1
	if dead < rule.Least || !f.s.bursts.look("foreseen "+lane, dead) {
		return nil, nil
	}
	trusted, since, err := f.s.released(c, lane, now)
	if err != nil || trusted {
		return nil, err
	}
	b, err := f.s.countBurst(c, lane, since, before.rows()...)
	if err != nil || !b.bursts(rule) {
		return nil, err
	}
	return &Freeze{Lane: lane, Began: now, Until: now.Add(rule.For), Dead: b.dead, Of: max(b.of, b.dead), Held: dead, Domains: b.domains}, nil
}

// add counts the address of a delivery.
func (d *foreseenDead) add(c cleaner, delivery int64) error {
	d.dead++
	return c.ask(func(row []driver.Value) error {
		var g deadGroup
		g.domain, _ = row[0].(string)
		g.campaign, _ = row[1].(int64)
		n, _ := row[2].(int64)
		arrived, _ := row[3].(int64)
		of := d.of[g]
		of.dead, of.arrived = of.dead+n, of.arrived+arrived
		d.of[g] = of
		return nil
	}, deadThere, delivery)
}

// rows are like those of deadSince.
func (d *foreseenDead) rows() [][]driver.Value {
	var rows [][]driver.Value
	for g, n := range d.of {
		rows = append(rows, []driver.Value{g.domain, g.campaign, n.dead, n.arrived})
	}
	return rows
}
