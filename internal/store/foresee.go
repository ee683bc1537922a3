package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"mailer/internal/suppression"
)

// Foresight tells what mails would do, one after the other, and writes nothing.
type Foresight struct {
	s      *Store
	seen   map[string]bool // digests, mails by their Message-ID, suppressions
	dead   map[string][]subject
	frozen map[string]*Freeze
}

// Foresee begins with nothing foreseen.
func (s *Store) Foresee() *Foresight {
	return &Foresight{s: s, seen: map[string]bool{}, dead: map[string][]subject{}, frozen: map[string]*Freeze{}}
}

// Mail tells what RecordMail would do: it does it, and takes the transaction back.
func (f *Foresight) Mail(ctx context.Context, m ReadMail) (Recorded, error) {
	if f.again("digest ", m.Digest) {
		return Recorded{Repeated: true}, nil
	}
	row, err := mailRow(m)
	if err != nil {
		return Recorded{}, fmt.Errorf("foresee mail: %w", err)
	}
	var r Recorded
	var key string
	err = f.s.update(ctx, func(tx *sql.Tx) error {
		if r, err = f.s.recordMail(ctx, tx, m, row); err != nil {
			return err
		}
		if r.Matched {
			d, err := settleable(ctx, tx, m.Delivery)
			if err != nil {
				return err
			}
			key = d.key
		}
		if r.Suppressed {
			if err := f.together(cleanerOf(ctx, tx), m, key, &r); err != nil {
				return err
			}
		}
		return errOnlyTold
	})
	if !errors.Is(err, errOnlyTold) {
		return Recorded{}, fmt.Errorf("foresee mail: %w", err)
	}
	if r.Matched && !r.Repeated && m.Verdict.MessageID != "" && f.again("twin ", fmt.Sprint(m.Delivery, m.Verdict.Kind, m.Verdict.MessageID)) {
		return Recorded{ID: r.ID, Matched: true, Repeated: true}, nil
	}
	return r, nil
}

// again reports whether something was there before.
func (f *Foresight) again(what, name string) bool {
	before := f.seen[what+name]
	f.seen[what+name] = true
	return before
}

// together adds what the mails before would have done: an address is suppressed once, and a provider's dead addresses add up.
func (f *Foresight) together(c cleaner, m ReadMail, key string, r *Recorded) error {
	if f.again("suppression ", r.Suppress+" "+key) {
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
	f.dead[lane] = append(f.dead[lane], subject{delivery: m.Delivery, key: key, domain: r.Domain})
	rule, now := f.s.policy.Freeze, f.s.now()
	if n := int64(len(f.dead[lane])); n < rule.Least || !f.s.bursts.look("foreseen "+lane, n) {
		return nil
	}
	trusted, since, err := f.s.released(c, lane, now)
	if err != nil || trusted {
		return err
	}
	b, err := f.s.countBurst(c, lane, max(since, now.Add(-rule.Window).UnixMilli()), f.dead[lane][:len(f.dead[lane])-1]...) // this one stands in the transaction
	if err != nil || !b.bursts(rule) {
		return err
	}
	froze := &Freeze{Lane: lane, Began: now, Until: now.Add(rule.For), Dead: b.dead, Of: max(b.of, b.dead), Held: int64(len(f.dead[lane])), Domains: b.domains}
	f.frozen[lane] = froze
	r.Suppressed, r.Held, r.Froze = false, froze, froze
	return nil
}
