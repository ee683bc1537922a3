package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mailer/internal/contact"
)

// Where is a boolean SQL expression over `contacts AS c` with its arguments. The zero value is everybody.
type Where struct {
	SQL  string
	Args []any
}

// And is everybody in w who is in x too.
func (w Where) And(x Where) Where {
	switch {
	case w.SQL == "":
		return x
	case x.SQL == "":
		return w
	}
	return Where{SQL: "(" + w.SQL + ") AND (" + x.SQL + ")", Args: append(append([]any{}, w.Args...), x.Args...)}
}

// OnList is everybody on the list with this id.
func OnList(list int64) Where {
	return Where{SQL: "c.id IN (SELECT contact FROM memberships WHERE list = ?)", Args: []any{list}}
}

func (w Where) clause() string {
	if w.SQL == "" {
		return ""
	}
	return " WHERE " + w.SQL
}

// Contact reads one contact by its address key.
func (s *Store) Contact(ctx context.Context, key string) (contact.Contact, bool, error) {
	var found contact.Contact
	var ok bool
	err := s.EachContact(ctx, Where{SQL: "c.key = ?", Args: []any{key}}, func(c contact.Contact) error {
		found, ok = c, true
		return nil
	})
	return found, ok, err
}

// CountContacts counts the contacts in w.
func (s *Store) CountContacts(ctx context.Context, w Where) (int64, error) {
	return s.CountWith(ctx, w, nil)
}

// CountWith is CountContacts, and step hears how many contacts were looked at.
func (s *Store) CountWith(ctx context.Context, w Where, step func(done, total int64)) (int64, error) {
	var n int64
	if w.SQL == "" { // the smallest index tells
		err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM contacts").Scan(&n)
		return n, wrap("count contacts", explain(err))
	}
	counts, err := s.count(ctx, "count(*)", 1, nil, w, step)
	if err != nil {
		return 0, fmt.Errorf("count contacts: %w", err)
	}
	return counts[0], nil
}

// EachContact calls fn for every contact in w, in the order in which they came, as they were when it began. It holds one
// contact in memory. An error of fn ends it and is returned as it is.
func (s *Store) EachContact(ctx context.Context, w Where, fn func(contact.Contact) error) error {
	fields, err := s.Fields(ctx)
	if err != nil {
		return err
	}
	if strings.Contains(w.SQL, "json_") { // not for one person
		if w, _, err = s.quicken(ctx, w); err != nil {
			return fmt.Errorf("read contacts: %w", explain(err))
		}
	}
	rows, err := s.read.QueryContext(ctx,
		"SELECT c.id, c.address, c.key, c.fields, c.created_at, c.updated_at FROM contacts AS c"+w.clause()+" ORDER BY c.id", w.Args...)
	if err != nil {
		return fmt.Errorf("read contacts: %w", explain(err))
	}
	defer rows.Close()
	for rows.Next() {
		var c contact.Contact
		var text string
		var created, updated int64
		if err := rows.Scan(&c.ID, &c.Address, &c.Key, &text, &created, &updated); err != nil {
			return fmt.Errorf("read contacts: %w", err)
		}
		if c.Values, err = contact.DecodeFields(fields, text); err != nil {
			return fmt.Errorf("read contact %s: %w", c.Address, err)
		}
		c.Created, c.Updated = timeOf(created), timeOf(updated)
		if err := fn(c); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read contacts: %w", explain(err))
	}
	return nil
}

// Membership is a contact's place on a list.
type Membership struct {
	List    string
	Since   time.Time
	Consent Consent
}

// Memberships lists the lists that a contact is on.
func (s *Store) Memberships(ctx context.Context, id int64) ([]Membership, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT l.name, m.since, m.consent_source, coalesce(m.consent_at, 0), m.consent_text
		FROM memberships AS m JOIN lists AS l ON l.id = m.list WHERE m.contact = ? ORDER BY m.since, l.name`, id)
	if err != nil {
		return nil, fmt.Errorf("read memberships: %w", explain(err))
	}
	defer rows.Close()
	var all []Membership
	for rows.Next() {
		var m Membership
		var since, at int64
		if err := rows.Scan(&m.List, &since, &m.Consent.Source, &at, &m.Consent.Text); err != nil {
			return nil, fmt.Errorf("read memberships: %w", err)
		}
		m.Since, m.Consent.At = timeOf(since), timeOf(at)
		all = append(all, m)
	}
	return all, explain(rows.Err())
}
