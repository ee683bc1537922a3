// Package collect reads the bounce mailbox: what each mail means, which delivery it is about, and what follows.
//
// Whom a mail is about is proven by a signed token or not at all. A report by somebody who knows our recipients' addresses,
// even one that quotes a mail of ours, changes nothing without it.
//
// The order is what makes it safe to interrupt and to repeat: a mail is recorded with all its consequences in one
// transaction, and moved out of the mailbox afterwards. One that was recorded but not moved is known by its digest the
// next time, changes nothing and is moved then. What waits to be recorded shares a transaction (queue.go).
package collect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/mailbox"
	"mailer/internal/store"
	"mailer/internal/suppression"
)

// Source is a mailbox, as package mailbox opens it.
type Source = mailbox.Box

// Options of Sync. The zero value reads everything.
type Options struct {
	DryRun bool          // tell only: nothing is written, nothing is moved
	Limit  int           // at most so many mails; 0: all
	Batch  int           // mails fetched and moved at a time; 200 when zero
	Each   func(Outcome) // told of every mail, in order, when it is recorded; may be nil

	by   *store.MailRecorder // over all folders
	dead map[string]int      // the suppressed dead addresses, by domain, likewise
	gone *atomic.Int64       // how often a mail was new, or was done away with, likewise
}

// begun makes what records the mails, or in a dry run what only tells.
func (o Options) begun(st *store.Store) Options {
	o.dead, o.gone = map[string]int{}, new(atomic.Int64)
	if o.DryRun {
		o.by = st.Foresee()
	} else {
		o.by = st.MailRecorder()
	}
	return o
}

// Outcome is what became of one mail.
type Outcome struct {
	Number   uint32 // in the mailbox
	N, Total int    // this is mail N of Total
	Verdict  bounce.Verdict
	store.Recorded
	MatchedBy string // where the token stood that led to the delivery
	Forged    bool
}

// Delayed reports whether the mail only warns that a message of ours is still on its way.
func (o Outcome) Delayed() bool {
	return o.Matched && o.Event == "" && slices.ContainsFunc(o.Verdict.Bounces, func(r bounce.Recipient) bool { return r.Action == bounce.ActionDelayed })
}

// Summary counts mails. Hard and soft are the bounces of our own deliveries; a warning about a delay is neither. A mail
// that led to no delivery counts as unmatched or forged and as nothing else. Each mail that was read counts once as one of bounces,
// complaints, unsubscribes, autoreplies, unmatched, forged, asking, delayed, repeated and others.
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
	Held         int `json:"held"`     // suppressions that are held back, because the provider is frozen
	Asking       int `json:"asking"`   // ordinary mails in which a person asks to be left alone: a person decides
	Delayed      int `json:"delayed"`  // warnings: the message is still on its way
	Repeated     int `json:"repeated"` // seen before
	Others       int `json:"others"`   // reports that all went well, ordinary mail
	Purged       int `json:"purged"`   // mails of old whose bytes were erased
}

// Sync reads all new mails of a source. When ctx ends it returns what was done so far and ctx's error.
func Sync(ctx context.Context, st *store.Store, src Source, keys delivery.Keys, o Options) (sum Summary, err error) {
	o = o.begun(st)
	defer func() { err = errors.Join(err, o.by.Close()) }()
	err = readInto(ctx, st, src, keys, o, &sum)
	return sum, err
}

// readInto adds what it reads to sum.
func readInto(ctx context.Context, st *store.Store, src Source, keys delivery.Keys, o Options, sum *Summary) error {
	mark, err := st.MailboxMark(ctx, src.Name())
	if err != nil {
		return err
	}
	src.Resume(mark)
	numbers, err := src.List(ctx)
	if err != nil {
		return err
	}
	if o.Limit > 0 && len(numbers) > o.Limit {
		numbers = numbers[:o.Limit]
	}
	if len(numbers) == 0 {
		return nil
	}
	c := &collector{st: st, src: src, keys: keys, o: o, sum: sum, total: sum.Read + len(numbers)}
	err = c.all(ctx, numbers)
	if o.DryRun {
		return err
	}
	return errors.Join(err, st.SetMailboxMark(context.WithoutCancel(ctx), src.Name(), src.Mark()))
}

// markEvery is how often the place to go on at is written. What lies between is read again after a kill, and known. Of a mailbox without an
// order it is the names of all that is there, a megabyte of 100,000.
const markEvery = 5 * time.Second

type collector struct {
	st    *store.Store
	src   Source
	keys  delivery.Keys
	o     Options
	sum   *Summary
	total int
}

// all reads mails in batches. After each of them those of the batch before are moved, with what else is recorded; in the end all are,
// also when a later one could not be read.
func (c *collector) all(ctx context.Context, numbers []uint32) (err error) {
	size := c.o.Batch
	if size <= 0 {
		size = 200
	}
	q := c.queue(ctx)
	marked := time.Now()
	for len(numbers) > 0 && err == nil {
		now := numbers[:min(size, len(numbers))]
		numbers = numbers[len(now):]
		before := q.came()
		err = c.src.Read(ctx, now, func(m mailbox.Message) error { return c.one(ctx, q, m) })
		if err == nil && len(numbers) > 0 {
			err = c.move(ctx, q, before)
		}
		if err == nil && !c.o.DryRun && time.Since(marked) > markEvery {
			marked = time.Now()
			err = c.st.SetMailboxMark(ctx, c.src.Name(), c.src.Mark())
		}
	}
	if late := q.close(); late != nil && !errors.Is(err, late) {
		err = errors.Join(err, late)
	}
	return errors.Join(err, c.move(ctx, q, 0))
}

// move moves what is recorded, the first n that came at least.
func (c *collector) move(ctx context.Context, q *queue, n int) error {
	filed, review := q.recorded(n)
	if c.o.DryRun || ctx.Err() != nil {
		return ctx.Err()
	}
	if err := c.src.Done(ctx, filed, review); err != nil {
		return err
	}
	c.o.gone.Add(int64(len(filed)))
	return nil
}

// one understands a mail and hands it over to be recorded.
func (c *collector) one(ctx context.Context, q *queue, m mailbox.Message) error {
	sum := sha256.Sum256(m.Raw)
	mail := store.ReadMail{Source: c.src.Name(), Digest: hex.EncodeToString(sum[:]), Raw: m.Raw, Verdict: understand(bounce.Parse, m.Raw)}
	if err := c.renewed(ctx, mail.Verdict); err != nil {
		return err
	}
	mail.Delivery, mail.MatchedBy, mail.Forged = prove(mail.Verdict, c.keys)
	packed, err := store.PackMail(mail)
	if err != nil {
		return fmt.Errorf("message %d of %s: %w", m.Number, c.src.Name(), err)
	}
	return q.put(waiting{m.Number, len(m.Raw), packed})
}

// renewed reads the keys anew where a token names one that is not known: a watch may be older than a rotation of the key.
func (c *collector) renewed(ctx context.Context, v bounce.Verdict) error {
	for _, t := range v.Tokens {
		if _, known := c.keys[delivery.Version(t.Text)]; known {
			continue
		}
		keys, err := c.st.TokenKeys(ctx)
		if err == nil && len(keys) > len(c.keys) {
			c.keys = keys
		}
		return err
	}
	return nil
}

// understand takes a mail on which the rules break for one that is no bounce: a person looks at it, and those after it are read. Its bytes
// are kept, for mailer bounces replay by better rules.
func understand(parse func([]byte) bounce.Verdict, raw []byte) (v bounce.Verdict) {
	defer func() {
		if recover() != nil {
			v = bounce.Verdict{Kind: bounce.KindOther}
		}
	}()
	return parse(raw)
}

// tell tells of a mail that was recorded.
func (c *collector) tell(w waiting, r store.Recorded) {
	out := Outcome{Number: w.number, Verdict: w.mail.Verdict, Recorded: r, MatchedBy: w.mail.MatchedBy, Forged: w.mail.Forged}
	c.sum.add(out, c.o.dead)
	if !r.Repeated {
		c.o.gone.Add(1)
	}
	out.N, out.Total = c.sum.Read, c.total
	if c.o.Each != nil {
		c.o.Each(out)
	}
}

// add counts a mail. dead is the suppressed dead addresses so far, by domain: a freeze takes back those of its provider.
func (s *Summary) add(o Outcome, dead map[string]int) {
	s.Read++
	switch {
	case o.Repeated:
		s.Repeated++
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
	case o.Delayed():
		s.Delayed++
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
	default:
		s.Others++
	}
	switch {
	case o.Suppressed:
		s.Suppressed++
		if o.Event == "bounce" {
			dead[o.Domain]++
		}
	case o.Froze != nil:
		s.Held++
		for _, d := range o.Froze.Domains {
			back := min(dead[d], s.Suppressed) // of a watch's earlier rounds nothing is taken back here
			s.Held, s.Suppressed = s.Held+back, s.Suppressed-back
			delete(dead, d)
		}
	case o.Held != nil:
		s.Held++
	}
}

// forPerson reports whether a person should look at a mail: it is about no delivery that is known, or no machine wrote it.
func forPerson(m store.ReadMail, known bool) bool {
	switch m.Verdict.Kind {
	case bounce.KindAutoreply, bounce.KindDelivered:
		return false
	}
	return !acts(m.Verdict.Kind) || !known && !m.Forged
}

// acts reports whether a kind of mail would change something if it were about a delivery of ours.
func acts(kind string) bool {
	return kind == bounce.KindBounce || kind == bounce.KindComplaint || kind == bounce.KindUnsubscribe
}
