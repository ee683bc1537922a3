package store

import (
	"bytes"
	"compress/flate"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/suppression"
)

// ReadMail is a mail of the bounce mailbox with what was understood of it.
type ReadMail struct {
	Source    string // the mailbox
	Digest    string // of its bytes: the same mail again changes nothing
	Raw       []byte
	Verdict   bounce.Verdict
	MatchedBy string // which token led to the delivery, "" for none
	Forged    bool   // a token was there whose signature is wrong
	Delivery  int64  // proven by the signature; 0 for none
}

// Recorded is what a mail did.
type Recorded struct {
	ID         int64
	Repeated   bool    // seen before, nothing was changed
	Matched    bool    // it is recorded with its delivery
	Known      bool    // the delivery is there, also for a mail that was seen before
	Suppressed bool    // a suppression was added
	Held       *Freeze // its suppression is held back
	Froze      *Freeze // this mail was one too many: the suppressions of before are held back too
	Address    string  // of the delivery
	Domain     string  // likewise
	suppression.Consequence
	Changed []string

	key string // of the delivery
}

// PackedMail is a mail that is ready to be recorded: what takes time is done before the transaction.
type PackedMail struct {
	ReadMail // without Raw
	verdict  string
	packed   []byte
}

// PackMail prepares a mail for MailRecorder.
func PackMail(m ReadMail) (PackedMail, error) {
	verdict, err := json.Marshal(m.Verdict)
	if err != nil {
		return PackedMail{}, fmt.Errorf("pack mail: %w", err)
	}
	packed, err := deflate(m.Raw)
	m.Raw = nil
	return PackedMail{m, string(verdict), packed}, wrap("pack mail", err)
}

// MailRecorder records mails on a connection of its own. It is for one goroutine.
type MailRecorder struct {
	s    *Store
	d    *direct
	told *foresight // of a dry run
	held time.Duration
}

// MailRecorder makes one. Close it.
func (s *Store) MailRecorder() *MailRecorder { return &MailRecorder{s: s, d: s.direct(patience)} }

// Close closes the connection.
func (r *MailRecorder) Close() error { return r.d.Close() }

// Record writes mails, and all that follows from each: the history, the delivery's state and the suppression. Only a delivery proven by a
// signature is touched, and the address that is suppressed is the delivery's.
//
// They share a transaction, because its end waits for the disk. Where one of them cannot be recorded, those before it are, each in a
// transaction of its own: with an error, what is returned is about them, and the error about the mail that follows.
func (r *MailRecorder) Record(ctx context.Context, mails []PackedMail) ([]Recorded, error) {
	if r.told != nil {
		return r.tell(ctx, mails)
	}
	all, err := r.together(ctx, mails)
	if err == nil || len(mails) == 1 || ctx.Err() != nil || errors.Is(err, ErrLocked) {
		return all, wrap("record mails", err)
	}
	r.s.bursts.forget()
	for i := range mails {
		one, err := r.together(ctx, mails[i:i+1])
		if err != nil {
			return all, wrap("record mail", err)
		}
		all = append(all, one...)
	}
	return all, nil
}

// together records mails in one transaction: all of them or none.
func (r *MailRecorder) together(ctx context.Context, mails []PackedMail) ([]Recorded, error) {
	all := make([]Recorded, len(mails))
	var began time.Time
	err := r.d.update(ctx, func() error {
		began = time.Now()
		for i, m := range mails {
			var err error
			if all[i], err = r.s.recordMail(ctx, r.cleaner(), m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.held = time.Since(began)
	return all, nil
}

// Held is how long the last transaction kept the lock. The wait for it is not in it.
func (r *MailRecorder) Held() time.Duration { return r.held }

// tell is Record of a dry run.
func (r *MailRecorder) tell(ctx context.Context, mails []PackedMail) ([]Recorded, error) {
	var all []Recorded
	for _, m := range mails {
		one, err := r.told.mail(ctx, r, m)
		if err != nil {
			return all, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (r *MailRecorder) cleaner() cleaner { return cleaner{r.d, r.d.query} }

// RecordMail records one mail.
func (s *Store) RecordMail(ctx context.Context, m ReadMail) (Recorded, error) {
	packed, err := PackMail(m)
	if err != nil {
		return Recorded{}, err
	}
	r := s.MailRecorder()
	all, err := r.Record(ctx, []PackedMail{packed})
	if err = errors.Join(err, r.Close()); err != nil {
		return Recorded{}, err
	}
	return all[0], nil
}

func (s *Store) recordMail(ctx context.Context, c cleaner, m PackedMail) (Recorded, error) {
	var r Recorded
	var err error
	r.ID, err = c.number(`INSERT INTO bounces (source, digest, message_id, raw, kind, verdict, matched_by, forged, asks, read_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING RETURNING id`,
		m.Source, m.Digest, m.Verdict.MessageID, m.packed, m.Verdict.Kind, m.verdict, m.MatchedBy, m.Forged, suppression.Asks(m.Verdict), s.millis())
	r.Repeated = r.ID == 0
	if err != nil || m.Delivery == 0 {
		return r, err
	}
	if r.Repeated {
		_, err = about(c, m.ReadMail)
		r.Known = err == nil
		return r, ignore(err, sql.ErrNoRows)
	}
	return r, s.follow(ctx, c, m.ReadMail, &r)
}

// ignore is nil for an error that is none here.
func ignore(err, none error) error {
	if errors.Is(err, none) {
		return nil
	}
	return err
}

// follow applies the consequence of a recorded mail to its delivery.
func (s *Store) follow(ctx context.Context, c cleaner, m ReadMail, r *Recorded) error {
	d, err := about(c, m)
	if err != nil {
		return ignore(err, sql.ErrNoRows)
	}
	r.Known, r.Matched, r.Domain, r.Address, r.key = true, true, d.domain(), d.address, d.key
	r.Consequence = suppression.Decide(m.Verdict, d.address)
	if IsForgotten(d.key) { // the mail still counts; what it says of the person is not kept
		r.Text = ""
		if _, err := c.ExecContext(ctx, "UPDATE bounces SET raw = x'', verdict = '{}' WHERE id = ?", r.ID); err != nil {
			return err
		}
	}
	if twin, err := s.twin(c, m, r.ID); err != nil {
		return err
	} else if twin {
		r.Consequence, r.Repeated = suppression.Consequence{}, true
	} else if err := s.apply(ctx, c, d, r); err != nil {
		return err
	}
	changed, err := json.Marshal(append([]string{}, r.Changed...))
	if err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, "UPDATE bounces SET delivery = ?, changed = ? WHERE id = ?", m.Delivery, string(changed), r.ID)
	return err
}

// twin reports whether the same mail was recorded before with other trace fields: a copy by another way. Before: when mails are judged
// anew, of two copies one must not be passed over because of the other, and that one because of the first.
func (s *Store) twin(c cleaner, m ReadMail, id int64) (bool, error) {
	if m.Verdict.MessageID == "" {
		return false, nil
	}
	n, err := c.number("SELECT count(*) FROM bounces WHERE delivery = ? AND message_id = ? AND kind = ? AND id < ?",
		m.Delivery, m.Verdict.MessageID, m.Verdict.Kind, id)
	return n > 0, err
}

// settled is a delivery as a mail finds it.
type settled struct {
	id, campaign, attempts int64
	key, address           string
	state                  delivery.State
	relay                  string
}

// domain is that of the address, "" of a person who was forgotten.
func (d settled) domain() string {
	_, domain, _ := strings.Cut(d.key, "@")
	return domain
}

// settleable reads a delivery; sql.ErrNoRows: there is none.
func settleable(c cleaner, id int64) (settled, error) {
	d, found := settled{id: id}, false
	err := c.ask(func(row []driver.Value) error {
		found = true
		d.campaign, _ = row[0].(int64)
		d.attempts, _ = row[1].(int64)
		d.key, _ = row[2].(string)
		d.address, _ = row[3].(string)
		state, _ := row[4].(string)
		d.state = delivery.State(state)
		d.relay, _ = row[5].(string)
		return nil
	}, "SELECT campaign, attempts, key, address, state, relay FROM deliveries WHERE id = ?", id)
	if err == nil && !found {
		err = sql.ErrNoRows
	}
	return d, err
}

// about reads the delivery that a mail is about; sql.ErrNoRows: there is none, or another one has its id by now.
func about(c cleaner, m ReadMail) (settled, error) {
	gone, err := lost(c, m)
	if err != nil {
		return settled{}, err
	}
	if gone {
		return settled{}, sql.ErrNoRows
	}
	return settleable(c, m.Delivery)
}

func (s *Store) apply(ctx context.Context, c cleaner, d settled, r *Recorded) error {
	if err := s.settleByMail(ctx, c, d, r); err != nil {
		return err
	}
	if r.Event != "" {
		detail, err := json.Marshal(map[string]any{"reason": r.Reason, "status": r.Enhanced, "code": r.Code, "text": r.Text})
		if err != nil {
			return err
		}
		_, err = c.ExecContext(ctx, "INSERT INTO events (at, kind, key, delivery, campaign, bounce, detail) VALUES (?, ?, ?, ?, ?, ?, ?)",
			s.millis(), r.Event, d.key, d.id, d.campaign, r.ID, string(detail))
		if err != nil {
			return err
		}
	}
	did, err := s.clean(ctx, c, d, r)
	if err != nil {
		return err
	}
	r.Held, r.Froze = did.held, did.froze
	switch {
	case did.held != nil:
		r.Changed = append(r.Changed, fmt.Sprintf("held back: %s is frozen", did.held.Lane))
	case did.suppressed != "":
		r.Suppressed, r.Suppress = true, did.suppressed
		r.Changed = append(r.Changed, "suppressed: "+did.suppressed)
	}
	return nil
}

// clean does what the consequence of a mail means for the address.
func (s *Store) clean(ctx context.Context, c cleaner, d settled, r *Recorded) (cleaned, error) {
	who := subject{delivery: d.id, campaign: d.campaign, bounce: r.ID, key: d.key, domain: d.domain()}
	switch {
	case r.Consequence.Suppress == suppression.HardBounce:
		return s.died(ctx, c, who, r.Text)
	case r.Consequence.Suppress != "":
		added, err := s.suppress(ctx, c, Suppression{Scope: suppression.ScopeAddress, Key: d.key, Blocks: suppression.Blocks(r.Consequence.Suppress),
			Reason: r.Consequence.Suppress, Evidence: r.Text, Delivery: d.id, Bounce: r.ID})
		if !added {
			return cleaned{}, err
		}
		return cleaned{suppressed: r.Consequence.Suppress}, nil
	case r.Event == "soft_bounce" && s.policy.Counts(r.Reason) && !IsForgotten(d.key):
		return s.softened(ctx, c, who)
	}
	return cleaned{}, nil
}

// settleByMail moves the delivery to the state that the mail proves.
func (s *Store) settleByMail(ctx context.Context, c cleaner, d settled, r *Recorded) error {
	next := suppression.Next(d.state, r.State)
	if next == d.state {
		return nil
	}
	r.Changed = append(r.Changed, fmt.Sprintf("delivery: %s -> %s", d.state, next))
	if d.state == delivery.Uncertain || d.state == delivery.Sending {
		_, err := c.ExecContext(ctx, "INSERT INTO attempts (delivery, number, at, relay, outcome, reason) VALUES (?, ?, ?, ?, 'resolved', ?)",
			d.id, d.attempts, s.millis(), d.relay, "settled by a mail: "+r.kind())
		if err != nil {
			return err
		}
	}
	if d.state == delivery.Accepted {
		// When the relay took it, and in what words, is evidence: the delivery's own columns are about to tell of the bounce.
		_, err := c.ExecContext(ctx, `INSERT INTO attempts (delivery, number, at, relay, phase, outcome, code, enhanced, reply)
			SELECT id, attempts, updated_at, relay, 'dot', 'accepted', code, enhanced, reply FROM deliveries WHERE id = ?`, d.id)
		if err != nil {
			return err
		}
	}
	if next == delivery.Accepted {
		_, err := c.ExecContext(ctx, "UPDATE deliveries SET state = ?, reason = '', updated_at = ? WHERE id = ?", string(next), s.millis(), d.id)
		return err
	}
	_, err := c.ExecContext(ctx, "UPDATE deliveries SET state = ?, reason = ?, code = ?, enhanced = ?, reply = ?, updated_at = ? WHERE id = ?",
		string(next), r.Reason, r.Code, r.Enhanced, r.Text, s.millis(), d.id)
	return err
}

func (r *Recorded) kind() string {
	if r.Event == "" {
		return "report"
	}
	return r.Event
}

// DeliveryAddress returns the address of a delivery, false when there is no such delivery.
func (s *Store) DeliveryAddress(ctx context.Context, id int64) (key, address string, ok bool, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT key, address FROM deliveries WHERE id = ?", id).Scan(&key, &address)
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", false, nil
	}
	return key, address, err == nil, explain(err)
}

// BounceRow is one recorded mail.
type BounceRow struct {
	ID        int64
	ReadAt    time.Time
	Source    string
	Kind      string
	MatchedBy string
	Forged    bool
	Delivery  int64  // 0: unmatched
	Address   string // of the delivery, "" when unmatched
	Campaign  string
	State     delivery.State // of the delivery, now
	Sent      time.Time      // when the relay took the message; zero: not known
	Verdict   bounce.Verdict
	Changed   []string
	Asks      bool   // a person asks to be left alone
	Decided   string // what a person here said: confirmed, dismissed, undone
	Purged    bool   // the mail itself is not kept any more
}

// Waiting reports whether a person has to say what the mail means.
func (b BounceRow) Waiting() bool {
	acts := b.Kind == bounce.KindBounce || b.Kind == bounce.KindComplaint || b.Kind == bounce.KindUnsubscribe
	return b.Decided == "" && !b.Forged && (b.Asks || acts && b.Delivery == 0)
}

// BounceFilter narrows a list of recorded mails; its zero value takes all.
type BounceFilter struct {
	Kind      string
	Unmatched bool // reports that led to no delivery, without the forged ones
	Forged    bool
	Waiting   bool   // for a person's word
	Key       string // of an address
	Since     time.Time
	ID        int64 // this one
	Limit     int
}

// Bounces calls fn for recorded mails, the newest first.
func (s *Store) Bounces(ctx context.Context, f BounceFilter, fn func(BounceRow) error) error {
	if f.Limit <= 0 {
		f.Limit = -1
	}
	rows, err := s.read.QueryContext(ctx, `SELECT b.id, b.read_at, b.source, b.kind, b.matched_by, b.forged, b.verdict, b.changed, b.asks, b.decided, b.purged,
			coalesce(b.delivery, 0), coalesce(d.address, ''), coalesce(c.name, ''), coalesce(d.state, ''),
			coalesce((SELECT max(a.at) FROM attempts AS a WHERE a.delivery = d.id AND a.outcome = 'accepted'), CASE WHEN d.state = 'accepted' THEN d.updated_at ELSE 0 END, 0)
		FROM bounces b LEFT JOIN deliveries d ON d.id = b.delivery LEFT JOIN campaigns c ON c.id = d.campaign
		WHERE (? = '' OR b.kind = ?) AND (? = 0 OR b.delivery IS NULL AND b.forged = 0 AND b.kind IN ('bounce','complaint','unsubscribe'))
			AND (? = 0 OR b.forged = 1) AND (? = '' OR d.key = ?) AND (? = 0 OR b.id = ?) AND b.read_at >= ?
			AND (? = 0 OR b.decided = '' AND b.forged = 0 AND (b.asks = 1 OR b.delivery IS NULL AND b.kind IN ('bounce','complaint','unsubscribe')))
		ORDER BY b.id DESC LIMIT ?`, f.Kind, f.Kind, f.Unmatched, f.Forged, f.Key, f.Key, f.ID, f.ID, millisOf(f.Since), f.Waiting, f.Limit)
	if err != nil {
		return fmt.Errorf("list bounces: %w", explain(err))
	}
	defer rows.Close()
	for rows.Next() {
		var b BounceRow
		var at, sent int64
		var verdict, changed []byte
		if err := rows.Scan(&b.ID, &at, &b.Source, &b.Kind, &b.MatchedBy, &b.Forged, &verdict, &changed, &b.Asks, &b.Decided, &b.Purged,
			&b.Delivery, &b.Address, &b.Campaign, &b.State, &sent); err != nil {
			return fmt.Errorf("list bounces: %w", err)
		}
		b.ReadAt, b.Sent = timeOf(at), timeOf(sent)
		if err := errors.Join(json.Unmarshal(verdict, &b.Verdict), json.Unmarshal(changed, &b.Changed)); err != nil {
			return fmt.Errorf("list bounces: mail %d: %w", b.ID, err)
		}
		if err := fn(b); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

// Bounce returns one recorded mail.
func (s *Store) Bounce(ctx context.Context, id int64) (BounceRow, error) {
	var found BounceRow
	err := s.Bounces(ctx, BounceFilter{ID: id}, func(b BounceRow) error {
		found = b
		return nil
	})
	if err == nil && found.ID == 0 {
		err = noMail(id)
	}
	return found, err
}

// ErrNoMail says that no mail was recorded under a number.
var ErrNoMail = errors.New("mailer bounces list shows those that are there")

func noMail(id int64) error { return fmt.Errorf("there is no recorded mail %d: %w", id, ErrNoMail) }

// ErrPurged says that a mail was kept as long as it was to be.
var ErrPurged = errors.New("it is not kept any more (bounces.retention in mailer.yaml); what was understood of it is")

// BounceMail returns the bytes of a recorded mail, as they were read.
func (s *Store) BounceMail(ctx context.Context, id int64) ([]byte, error) {
	var raw []byte
	var purged bool
	err := s.read.QueryRowContext(ctx, "SELECT raw, purged FROM bounces WHERE id = ?", id).Scan(&raw, &purged)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noMail(id)
	}
	if err != nil {
		return nil, fmt.Errorf("read mail %d: %w", id, explain(err))
	}
	if purged {
		return nil, fmt.Errorf("mail %d: %w", id, ErrPurged)
	}
	if len(raw) == 0 {
		return nil, fmt.Errorf("mail %d was erased, because a person in it was forgotten", id)
	}
	return io.ReadAll(inflate(raw))
}

func inflate(packed []byte) io.Reader { return flate.NewReader(bytes.NewReader(packed)) }

// deflaters are writers to use again: a new one is a megabyte, for a mail of a few thousand bytes.
var deflaters sync.Pool

func deflate(raw []byte) ([]byte, error) {
	var b bytes.Buffer
	w, ok := deflaters.Get().(*flate.Writer)
	if !ok {
		var err error
		if w, err = flate.NewWriter(&b, flate.DefaultCompression); err != nil {
			return nil, err
		}
	}
	defer deflaters.Put(w)
	w.Reset(&b)
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
