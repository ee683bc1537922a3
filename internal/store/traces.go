package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailer/internal/contact"
)

// Traces is everything that is stored about one address.
type Traces struct {
	Contact      contact.Contact // ID 0: it is no contact
	Changes      []TracedChange
	Memberships  []Membership
	Deliveries   []TracedDelivery
	Events       []TracedEvent
	Mails        []TracedMail
	Suppressions []SuppressionRow // of the address and of its domain, what blocks most first
	Held         *Held            // a suppression that is held back; nil: none
	Forgotten    time.Time        // when the person was forgotten; zero: never
}

// Held is the suppression of a dead address that is held back by a freeze of its provider.
type Held struct {
	Freeze   Freeze
	At       time.Time // when the address was found dead
	Evidence string
	Campaign string
	Bounce   int64 // the mail that showed it; 0: a refusal in the session
}

// Empty reports whether nothing is known.
func (t Traces) Empty() bool {
	return t.Contact.ID == 0 && len(t.Changes) == 0 && len(t.Deliveries) == 0 && len(t.Events) == 0 && len(t.Suppressions) == 0 && t.Forgotten.IsZero()
}

// TracedChange is a change with the set that it belongs to.
type TracedChange struct {
	Change
	Set ChangeSet
}

// TracedDelivery is a delivery with its attempts.
type TracedDelivery struct {
	ID       int64
	Campaign string
	Planned  time.Time // when the audience was frozen
	NextTry  time.Time
	Recipient
	History []TracedAttempt // all but the accepted one
}

// TracedAttempt is an attempt that did not end in an acceptance.
type TracedAttempt struct {
	Number  int
	At      time.Time
	Relay   string
	Phase   string
	Outcome string
	Reason  string
	Reply   string
}

// TracedEvent is a row of the history; Detail is JSON.
type TracedEvent struct {
	At       time.Time
	Kind     string
	Key      string // the address's, or its domain
	Campaign string
	Bounce   int64
	Detail   string
}

// TracedMail is a mail of the bounce mailbox about one of the address's deliveries.
type TracedMail struct {
	ID      int64
	At      time.Time
	Source  string
	Kind    string
	Changed bool
}

// Traces collects what is stored about an address key.
func (s *Store) Traces(ctx context.Context, key string) (Traces, error) {
	var t Traces
	var err error
	if t.Contact, _, err = s.Contact(ctx, key); err != nil {
		return t, err
	}
	if t.Memberships, err = s.Memberships(ctx, t.Contact.ID); err != nil {
		return t, err
	}
	if t.Changes, err = s.tracedChanges(ctx, t.Contact.ID, key); err != nil {
		return t, err
	}
	err = s.snapshot(ctx, func(tx *sql.Tx) error {
		for _, step := range []func(context.Context, *sql.Tx, string) error{
			t.readDeliveries, t.readEvents, t.readMails, t.readSuppressions, t.readHeld, t.readForgotten,
		} {
			if err := step(ctx, tx, key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return t, fmt.Errorf("read the history of %s: %w", key, err)
	}
	return t, nil
}

// tracedChanges finds the changes of a contact by its id. Of one that is gone (its import was taken back) only the key is
// left, which no index leads to: that is read once, for a question that a person asked.
func (s *Store) tracedChanges(ctx context.Context, contact int64, key string) ([]TracedChange, error) {
	query, args := changeColumns+" WHERE key = ? ORDER BY change_set, seq", []any{key}
	if contact != 0 { // and by its key: before last_contact was kept, ids were given out again
		query, args = changeColumns+" WHERE contact = ? AND key = ? ORDER BY change_set, seq", []any{contact, key}
	}
	var all []TracedChange
	err := eachChange(ctx, s.read, func(c Change) error { all = append(all, TracedChange{Change: c}); return nil }, query, args...)
	if err != nil {
		return nil, err
	}
	if contact != 0 {
		alike, err := runsOf(ctx, s.read, contact, key)
		if err != nil {
			return nil, fmt.Errorf("read changes: %w", explain(err))
		}
		for _, c := range alike {
			all = append(all, TracedChange{Change: c})
		}
		slices.SortStableFunc(all, func(a, b TracedChange) int {
			return cmp.Or(cmp.Compare(a.Change.Set, b.Change.Set), cmp.Compare(a.Line, b.Line))
		})
	}
	sets := map[int64]ChangeSet{}
	for i, c := range all {
		if _, ok := sets[c.Change.Set]; !ok {
			if sets[c.Change.Set], err = s.ChangeSet(ctx, c.Change.Set); err != nil {
				return nil, err
			}
		}
		all[i].Set = sets[c.Change.Set]
	}
	return all, nil
}

func (t *Traces) readDeliveries(ctx context.Context, tx *sql.Tx, key string) error {
	rows, err := tx.QueryContext(ctx, `SELECT d.id, c.name, c.created_at, d.next_try, d.address, d.state, d.reason, d.reply, d.attempts, d.message_id, d.relay, d.updated_at
		FROM deliveries AS d JOIN campaigns AS c ON c.id = d.campaign WHERE d.key = ? ORDER BY d.id`, key)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var d TracedDelivery
		var planned, next, at int64
		if err := rows.Scan(&d.ID, &d.Campaign, &planned, &next, &d.Address, &d.State, &d.Reason, &d.Reply, &d.Attempts, &d.MessageID, &d.Relay, &at); err != nil {
			return err
		}
		d.Planned, d.NextTry, d.At = timeOf(planned), timeOf(next), timeOf(at)
		t.Deliveries = append(t.Deliveries, d)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return t.readAttempts(ctx, tx, key)
}

func (t *Traces) readAttempts(ctx context.Context, tx *sql.Tx, key string) error {
	rows, err := tx.QueryContext(ctx, `SELECT a.delivery, a.number, a.at, a.relay, a.phase, a.outcome, a.reason, a.reply
		FROM deliveries AS d JOIN attempts AS a ON a.delivery = d.id WHERE d.key = ? ORDER BY a.delivery, a.id`, key)
	if err != nil {
		return err
	}
	defer rows.Close()
	at := map[int64]*TracedDelivery{}
	for i := range t.Deliveries {
		at[t.Deliveries[i].ID] = &t.Deliveries[i]
	}
	for rows.Next() {
		var id, when int64
		var a TracedAttempt
		if err := rows.Scan(&id, &a.Number, &when, &a.Relay, &a.Phase, &a.Outcome, &a.Reason, &a.Reply); err != nil {
			return err
		}
		a.At = timeOf(when)
		at[id].History = append(at[id].History, a)
	}
	return rows.Err()
}

func (t *Traces) readEvents(ctx context.Context, tx *sql.Tx, key string) error {
	rows, err := tx.QueryContext(ctx, `SELECT e.at, e.kind, e.key, coalesce(c.name, ''), coalesce(e.bounce, 0), e.detail
		FROM events AS e LEFT JOIN campaigns AS c ON c.id = e.campaign WHERE e.key IN (?, ?) ORDER BY e.at, e.id`, key, domainOf(key))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var e TracedEvent
		var at int64
		if err := rows.Scan(&at, &e.Kind, &e.Key, &e.Campaign, &e.Bounce, &e.Detail); err != nil {
			return err
		}
		e.At = timeOf(at)
		t.Events = append(t.Events, e)
	}
	return rows.Err()
}

func (t *Traces) readMails(ctx context.Context, tx *sql.Tx, key string) error {
	rows, err := tx.QueryContext(ctx, `SELECT b.id, b.read_at, b.source, b.kind, b.changed <> '[]'
		FROM deliveries AS d JOIN bounces AS b ON b.delivery = d.id WHERE d.key = ? ORDER BY b.id`, key)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var m TracedMail
		var at int64
		if err := rows.Scan(&m.ID, &at, &m.Source, &m.Kind, &m.Changed); err != nil {
			return err
		}
		m.At = timeOf(at)
		t.Mails = append(t.Mails, m)
	}
	return rows.Err()
}

func (t *Traces) readSuppressions(ctx context.Context, tx *sql.Tx, key string) error {
	rows, err := tx.QueryContext(ctx, `SELECT id, scope, key, blocks, reason, evidence, coalesce(delivery, 0), coalesce(bounce, 0), created_at
		FROM suppressions WHERE scope = 'address' AND key = ? OR scope = 'domain' AND key = ? ORDER BY blocks, id`, key, domainOf(key))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r SuppressionRow
		var since int64
		if err := rows.Scan(&r.ID, &r.Scope, &r.Key, &r.Blocks, &r.Reason, &r.Evidence, &r.Delivery, &r.Bounce, &since); err != nil {
			return err
		}
		r.Since = timeOf(since)
		t.Suppressions = append(t.Suppressions, r)
	}
	return rows.Err()
}

func (t *Traces) readHeld(ctx context.Context, tx *sql.Tx, key string) error {
	var h Held
	var at, began, until, released int64
	err := tx.QueryRowContext(ctx, `SELECT h.evidence, coalesce(c.name, ''), coalesce(h.bounce, 0), h.created_at, `+freezeColumns+`
		FROM held AS h JOIN freezes AS f ON f.id = h.freeze LEFT JOIN deliveries AS d ON d.id = h.delivery LEFT JOIN campaigns AS c ON c.id = d.campaign
		WHERE h.key = ?`, key).Scan(&h.Evidence, &h.Campaign, &h.Bounce, &at,
		&h.Freeze.ID, &h.Freeze.Lane, &began, &until, &released, &h.Freeze.Word, &h.Freeze.Dead, &h.Freeze.Of)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	h.At, h.Freeze.Began, h.Freeze.Until, h.Freeze.Released = timeOf(at), timeOf(began), timeOf(until), timeOf(released)
	t.Held = &h
	return err
}

// readForgotten looks for the address among the people who were forgotten, of whom only a hash is kept.
func (t *Traces) readForgotten(ctx context.Context, tx *sql.Tx, key string) error {
	var since int64
	back, err := forgotten(ctx, tx, []any{key})
	if err != nil || len(back) == 0 {
		return err
	}
	salt, err := forgetSalt(ctx, tx) // it is there: somebody was forgotten
	if err != nil {
		return err
	}
	err = tx.QueryRowContext(ctx, "SELECT created_at FROM suppressions WHERE scope = 'address' AND key = ? AND reason = 'forgotten'", forgottenKey(salt, key)).Scan(&since)
	t.Forgotten = timeOf(since)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

func domainOf(key string) string { return key[strings.LastIndexByte(key, '@')+1:] }

// NearAddresses is which contacts have one of the keys in guesses, and then which have the local part of key at another
// domain; at most limit of them.
func (s *Store) NearAddresses(ctx context.Context, key string, guesses []string, limit int) ([]string, error) {
	local := key[:strings.LastIndexByte(key, '@')+1]
	from, to := local, strings.TrimSuffix(local, "@")+"A" // 'A' follows '@': a range of the index
	args := []any{from, to}
	for _, g := range guesses {
		args = append(args, g)
	}
	var near []string
	err := eachString(ctx, s.read, func(a string) { near = append(near, a) }, nearQuery(len(guesses)), append(args, from, to, limit)...)
	if err != nil {
		return nil, fmt.Errorf("look for near addresses: %w", explain(err))
	}
	return near, nil
}

func nearQuery(guesses int) string {
	return "SELECT address FROM contacts WHERE key >= ? AND key < ? OR key IN (" + placeholders(guesses) + ") ORDER BY key >= ? AND key < ?, key LIMIT ?"
}
