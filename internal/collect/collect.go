// Package collect reads the bounce mailbox: what each mail means, which delivery it is about, and what follows.
//
// Whom a mail is about is proven by a signed token or not at all. A report by somebody who knows our recipients' addresses,
// even one that quotes a mail of ours, changes nothing without it.
//
// The order is what makes it safe to interrupt and to repeat: a mail is recorded with all its consequences in one
// transaction, and moved out of the mailbox afterwards. One that was recorded but not moved is known by its digest the
// next time, changes nothing and is moved then.
package collect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/mailbox"
	"mailer/internal/store"
	"mailer/internal/suppression"
)

// Source is a mailbox. *mailbox.IMAP is one.
type Source interface {
	Name() string
	List(ctx context.Context) ([]uint32, error)
	Read(ctx context.Context, uids []uint32, fn func(mailbox.Message) error) error
	Done(ctx context.Context, uids []uint32) error
}

// Options of Sync. The zero value reads everything.
type Options struct {
	DryRun bool          // tell only: nothing is written, nothing is moved
	Limit  int           // at most so many mails; 0: all
	Batch  int           // mails moved at a time; 50 when zero
	Each   func(Outcome) // told of every mail, in order; may be nil
}

// Outcome is what became of one mail.
type Outcome struct {
	UID      uint32
	N, Total int // this is mail N of Total
	Verdict  bounce.Verdict
	Address  string // of the delivery it is about; "" when it is about none of ours
	store.Recorded
	MatchedBy string // where the token stood that led to the delivery
	Forged    bool
}

// Summary counts mails. Hard and soft are the bounces of our own deliveries; a warning about a delay is neither. A mail
// that led to no delivery counts as unmatched or forged and as nothing else.
type Summary struct {
	Read         int `json:"read"`
	Bounces      int `json:"bounces"`
	Hard         int `json:"hard"`
	Soft         int `json:"soft"`
	Complaints   int `json:"complaints"`
	Unsubscribes int `json:"unsubscribes"`
	Autoreplies  int `json:"autoreplies"`
	Unmatched    int `json:"unmatched"`
	Forged       int `json:"forged"`
	Suppressed   int `json:"suppressed"`
	Held         int `json:"held"`   // suppressions that are held back, because the provider is frozen
	Asking       int `json:"asking"` // ordinary mails in which a person asks to be left alone: a person decides
	Purged       int `json:"purged"` // mails of old whose bytes were erased
}

// Sync reads all mails of a source. When ctx ends it returns what was done so far and ctx's error.
func Sync(ctx context.Context, st *store.Store, src Source, keys delivery.Keys, o Options) (Summary, error) {
	c := &collector{st: st, src: src, keys: keys, o: o, foresight: st.Foresee()}
	uids, err := src.List(ctx)
	if err != nil {
		return c.sum, err
	}
	if o.Limit > 0 && len(uids) > o.Limit {
		uids = uids[:o.Limit]
	}
	c.total = len(uids)
	size := o.Batch
	if size <= 0 {
		size = 50
	}
	for len(uids) > 0 {
		n := min(size, len(uids))
		if err := c.batch(ctx, uids[:n]); err != nil {
			return c.sum, err
		}
		uids = uids[n:]
	}
	return c.sum, nil
}

type collector struct {
	st    *store.Store
	src   Source
	keys  delivery.Keys
	o     Options
	sum   Summary
	total int

	foresight *store.Foresight
}

// batch records mails and then moves those that are recorded, also when a later one could not be read.
func (c *collector) batch(ctx context.Context, uids []uint32) error {
	var done []uint32
	err := c.src.Read(ctx, uids, func(m mailbox.Message) error {
		if err := c.one(ctx, m); err != nil {
			return err
		}
		done = append(done, m.UID)
		return nil
	})
	if c.o.DryRun || ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return errors.Join(err, c.src.Done(ctx, done))
}

func (c *collector) one(ctx context.Context, m mailbox.Message) error {
	sum := sha256.Sum256(m.Raw)
	mail := store.ReadMail{Source: c.src.Name(), Digest: hex.EncodeToString(sum[:]), Raw: m.Raw, Verdict: bounce.Parse(m.Raw)}
	mail.Delivery, mail.MatchedBy, mail.Forged = prove(mail.Verdict, c.keys)
	record := c.st.RecordMail
	if c.o.DryRun {
		record = c.foresight.Mail
	}
	r, err := record(ctx, mail)
	if err != nil {
		return fmt.Errorf("message %d of %s: %w", m.UID, c.src.Name(), err)
	}
	out := Outcome{UID: m.UID, Verdict: mail.Verdict, Recorded: r, MatchedBy: mail.MatchedBy, Forged: mail.Forged}
	if r.Matched {
		if _, out.Address, _, err = c.st.DeliveryAddress(ctx, mail.Delivery); err != nil {
			return err
		}
	}
	c.sum.add(out)
	out.N, out.Total = c.sum.Read, c.total
	if c.o.Each != nil {
		c.o.Each(out)
	}
	return nil
}

// add counts a mail.
func (s *Summary) add(o Outcome) {
	s.Read++
	switch {
	case o.Repeated:
		return
	case o.Forged:
		s.Forged++
		return
	case !o.Matched && acts(o.Verdict.Kind):
		s.Unmatched++
		return
	case suppression.Asks(o.Verdict):
		s.Asking++
		return
	case o.Verdict.Kind == bounce.KindAutoreply:
		s.Autoreplies++
		return
	}
	switch o.Event {
	case "bounce":
		s.Bounces++
		s.Hard++
	case "soft_bounce":
		s.Bounces++
		s.Soft++
	case "complaint":
		s.Complaints++
	case "unsubscribe":
		s.Unsubscribes++
	}
	switch {
	case o.Suppressed:
		s.Suppressed++
	case o.Froze != nil: // takes back what was suppressed a moment ago
		s.Held += int(o.Froze.Held)
		s.Suppressed = max(0, s.Suppressed-int(o.Froze.Held)+1)
	case o.Held != nil:
		s.Held++
	}
}

// acts reports whether a kind of mail would change something if it were about a delivery of ours.
func acts(kind string) bool {
	return kind == bounce.KindBounce || kind == bounce.KindComplaint || kind == bounce.KindUnsubscribe
}
