package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mailer/internal/contact"
)

// ChangeSet is one import or edit, as it stands.
type ChangeSet struct {
	ID         int64
	Kind       string
	Source     string
	SourceHash string
	Options    string
	State      string // applying, done, undoing, undone
	LastLine   int64
	Totals     Totals
	Created    time.Time
	Finished   time.Time
}

// ErrNoChangeSet says that there is no change set of that number.
var ErrNoChangeSet = errors.New("there is no such change set (mailer import list shows them)")

const changeSetColumns = "SELECT id, kind, source, source_hash, options, state, last_line, totals, created_at, coalesce(finished_at, 0) FROM change_sets"

// ChangeSets lists all of them, the newest first.
func (s *Store) ChangeSets(ctx context.Context) ([]ChangeSet, error) {
	return changeSets(ctx, s.read, changeSetColumns+" ORDER BY id DESC")
}

// ChangeSet reads one.
func (s *Store) ChangeSet(ctx context.Context, id int64) (ChangeSet, error) {
	return changeSet(ctx, s.read, id)
}

// Unfinished is the import of the same source with the same options that was stopped halfway.
func (s *Store) Unfinished(ctx context.Context, sourceHash, options string) (ChangeSet, bool, error) {
	sets, err := changeSets(ctx, s.read, changeSetColumns+
		" WHERE kind = 'import' AND state = 'applying' AND source_hash = ? AND options = ? ORDER BY id DESC LIMIT 1", sourceHash, options)
	if err != nil || len(sets) == 0 {
		return ChangeSet{}, false, err
	}
	return sets[0], true, nil
}

func changeSet(ctx context.Context, q queryer, id int64) (ChangeSet, error) {
	sets, err := changeSets(ctx, q, changeSetColumns+" WHERE id = ?", id)
	if err == nil && len(sets) == 0 {
		err = fmt.Errorf("change set %d: %w", id, ErrNoChangeSet)
	}
	if err != nil {
		return ChangeSet{}, err
	}
	return sets[0], nil
}

func changeSets(ctx context.Context, q queryer, query string, args ...any) ([]ChangeSet, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read change sets: %w", explain(err))
	}
	defer rows.Close()
	var sets []ChangeSet
	for rows.Next() {
		var c ChangeSet
		var totals string
		var created, finished int64
		err := rows.Scan(&c.ID, &c.Kind, &c.Source, &c.SourceHash, &c.Options, &c.State, &c.LastLine, &totals, &created, &finished)
		if err == nil {
			err = json.Unmarshal([]byte(totals), &c.Totals)
		}
		if err != nil {
			return nil, fmt.Errorf("read change sets: %w", err)
		}
		c.Created, c.Finished = timeOf(created), timeOf(finished)
		sets = append(sets, c)
	}
	return sets, explain(rows.Err())
}

// Change is what one line of a change set did to one contact.
type Change struct {
	Set     int64
	Seq     int64
	Line    int64
	Contact int64
	Key     string
	Op      string
	Before  map[string]string // cells by field name, where the line changed them
	After   map[string]string
	Listed  bool
}

// EachChange calls fn for the changes of a set in the order in which they were made.
func (s *Store) EachChange(ctx context.Context, set int64, fn func(Change) error) error {
	return eachChange(ctx, s.read, fn, changeColumns+" WHERE change_set = ? ORDER BY seq", set)
}

const changeColumns = "SELECT change_set, seq, line, contact, key, op, before, after FROM changes"

func eachChange(ctx context.Context, q queryer, fn func(Change) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read changes: %w", explain(err))
	}
	defer rows.Close()
	for rows.Next() {
		c, was, is, err := scanChange(rows)
		if err != nil {
			return fmt.Errorf("read changes: %w", err)
		}
		c.Before, c.After, c.Listed = was.Fields, is.Fields, is.List != 0
		if err := fn(c); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

func scanChange(rows *sql.Rows) (c Change, was, is side, err error) {
	var before, after sql.NullString
	if err = rows.Scan(&c.Set, &c.Seq, &c.Line, &c.Contact, &c.Key, &c.Op, &before, &after); err != nil {
		return
	}
	if before.Valid {
		if err = json.Unmarshal([]byte(before.String), &was); err != nil {
			return
		}
	}
	if after.Valid {
		err = json.Unmarshal([]byte(after.String), &is)
	}
	return
}

// BeginUndo marks a change set as being taken back. One that was taken back already may be taken back again: what was
// left alone then may be free now.
func (s *Store) BeginUndo(ctx context.Context, id int64) (ChangeSet, error) {
	var set ChangeSet
	err := s.update(ctx, func(tx *sql.Tx) error {
		var err error
		if set, err = changeSet(ctx, tx, id); err != nil {
			return err
		}
		if set.State == "undoing" {
			return nil
		}
		var last int64
		if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) FROM changes WHERE change_set = ?", id).Scan(&last); err != nil {
			return err
		}
		set.State, set.Totals.Undo = "undoing", &Undone{Before: last + 1}
		return saveUndo(ctx, tx, set)
	})
	if err != nil {
		return ChangeSet{}, fmt.Errorf("undo: %w", err)
	}
	return set, nil
}

func saveUndo(ctx context.Context, tx *sql.Tx, set ChangeSet) error {
	totals, err := json.Marshal(set.Totals)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE change_sets SET state = ?, totals = ? WHERE id = ?", set.State, string(totals), set.ID)
	return err
}

// UndoRows takes up to n changes back in one transaction, the last ones first, and returns the set as it stands then.
// Totals.Undo.Before is 1 when all are done. held is how long it kept others from writing.
func (s *Store) UndoRows(ctx context.Context, id int64, n int) (set ChangeSet, held time.Duration, err error) {
	held, err = s.timed(ctx, func(tx *sql.Tx) error {
		var err error
		if set, err = changeSet(ctx, tx, id); err != nil {
			return err
		}
		if set.State != "undoing" {
			return ErrInterfered
		}
		u := &undoing{tx: tx, set: set, totals: set.Totals.Undo, now: s.millis()}
		if err := u.chunk(ctx, n); err != nil {
			return err
		}
		return saveUndo(ctx, tx, set)
	})
	if err != nil {
		return ChangeSet{}, held, fmt.Errorf("undo change set %d: %w", id, err)
	}
	return set, held, nil
}

// undoing is one transaction of an undo.
type undoing struct {
	tx     *sql.Tx
	set    ChangeSet
	totals *Undone
	now    int64

	fields   []contact.Field
	contacts map[int64]stored
	changed  map[int64]bool // contacts that a living change set touched besides this one
	listed   map[int64]bool // contacts that a living change set put on the same list
	mailing  map[string]bool
}

// undoRow is a change to be taken back.
type undoRow struct {
	Change
	was, is side
}

func (u *undoing) chunk(ctx context.Context, n int) error {
	rows, err := u.tx.QueryContext(ctx, changeColumns+" WHERE change_set = ? AND seq < ? ORDER BY seq DESC LIMIT ?", u.set.ID, u.totals.Before, n)
	if err != nil {
		return err
	}
	defer rows.Close()
	var todo []undoRow
	for rows.Next() {
		c, was, is, err := scanChange(rows)
		if err != nil {
			return err
		}
		todo = append(todo, undoRow{c, was, is})
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if len(todo) == 0 {
		u.totals.Before = 1
		return nil
	}
	if err := u.look(ctx, todo); err != nil {
		return err
	}
	for _, r := range todo {
		if err := u.takeBack(ctx, r); err != nil {
			return fmt.Errorf("line %d: %w", r.Line, err)
		}
		u.totals.Before = r.Seq
	}
	return nil
}

// look reads everything that the decisions about todo need.
func (u *undoing) look(ctx context.Context, todo []undoRow) error {
	var err error
	if u.fields, err = fields(ctx, u.tx); err != nil {
		return err
	}
	ids, keys := make([]any, len(todo)), make([]any, len(todo))
	for i, r := range todo {
		ids[i], keys[i] = r.Contact, r.Key
	}
	in := " IN (" + placeholders(len(todo)) + ")"
	rows, err := u.tx.QueryContext(ctx, "SELECT id, key, address, fields, updated_at FROM contacts WHERE id"+in, ids...)
	if err != nil {
		return err
	}
	found, err := scanStored(rows)
	if err != nil {
		return err
	}
	u.contacts = make(map[int64]stored, len(found))
	for _, c := range found {
		u.contacts[c.id] = c
	}
	u.mailing = map[string]bool{}
	if err := eachString(ctx, u.tx, func(key string) { u.mailing[key] = true },
		"SELECT key FROM deliveries WHERE state IN ('pending', 'sending', 'deferred', 'uncertain') AND key"+in, keys...); err != nil {
		return err
	}
	return u.lookAtOthers(ctx, in, ids)
}

func (u *undoing) lookAtOthers(ctx context.Context, in string, ids []any) error {
	u.changed, u.listed = map[int64]bool{}, map[int64]bool{}
	rows, err := u.tx.QueryContext(ctx, `SELECT h.contact, coalesce(json_extract(s.totals, '$.list'), 0) FROM changes AS h JOIN change_sets AS s ON s.id = h.change_set
		WHERE h.change_set <> ? AND s.state <> 'undone' AND h.contact`+in, append([]any{u.set.ID}, ids...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, list int64
		if err := rows.Scan(&id, &list); err != nil {
			return err
		}
		u.changed[id] = true
		if list == u.set.Totals.List {
			u.listed[id] = true
		}
	}
	return rows.Err()
}

// takeBack undoes one change as far as nothing that came later leans on it.
func (u *undoing) takeBack(ctx context.Context, r undoRow) error {
	c, there := u.contacts[r.Contact]
	if !there || c.key != r.Key {
		return nil // deleted or forgotten since
	}
	if r.Op == "create" && !u.changed[c.id] && !u.mailing[c.key] {
		u.totals.Deleted++
		delete(u.contacts, c.id)
		_, err := u.tx.ExecContext(ctx, "DELETE FROM contacts WHERE id = ?", c.id) // and its memberships
		return err
	}
	off, err := u.takeOffList(ctx, r)
	if err != nil {
		return err
	}
	if r.is.Consent != 0 {
		if err := u.withdrawConsent(ctx, r); err != nil {
			return err
		}
		off = true
	}
	restored, left, err := u.restore(ctx, c, r)
	switch {
	case err != nil:
		return err
	case r.Op == "create" || left:
		u.totals.Left++
	case restored || off:
		u.totals.Restored++
	}
	return nil
}

// takeOffList ends the membership that the change began, unless another living import put the contact on the same list.
func (u *undoing) takeOffList(ctx context.Context, r undoRow) (bool, error) {
	list := r.is.List
	if r.Op == "create" {
		list = u.set.Totals.List
	}
	if list == 0 || u.listed[r.Contact] {
		return false, nil
	}
	res, err := u.tx.ExecContext(ctx, "DELETE FROM memberships WHERE list = ? AND contact = ?", list, r.Contact)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// withdrawConsent takes the record of a consent away that the change added. A later import leaves a consent that is on
// record as it is, so the one that stands there is this change's.
func (u *undoing) withdrawConsent(ctx context.Context, r undoRow) error {
	_, err := u.tx.ExecContext(ctx, "UPDATE memberships SET consent_source = '', consent_at = NULL, consent_text = '' WHERE list = ? AND contact = ?", r.is.Consent, r.Contact)
	return err
}

// restore brings back the cells, and the spelling of the address, that still are what the change made them. left says
// that something was not.
func (u *undoing) restore(ctx context.Context, c stored, r undoRow) (restored, left bool, err error) {
	cells, err := contact.DecodeCells(c.fields)
	if err != nil {
		return false, false, err
	}
	if r.is.Address != "" {
		switch c.address {
		case r.is.Address:
			c.address, restored = r.was.Address, true
		case r.was.Address:
		default:
			left = true
		}
	}
	for _, f := range u.fields {
		is, wrote := r.is.Fields[f.Name]
		was := r.was.Fields[f.Name]
		switch {
		case !wrote || cells[f.ID] == was:
		case cells[f.ID] == is && contact.Fits(f.Type, was):
			cells[f.ID], restored = was, true
		default:
			left = true
		}
	}
	if !restored {
		return false, left, nil
	}
	if c.fields, err = contact.EncodeFields(u.fields, cells); err != nil {
		return false, false, err
	}
	if untouched := c.updated == r.is.Updated; untouched && !left {
		c.updated = r.was.Updated // the row is what it was, its time too
	} else {
		c.updated = u.now
	}
	u.contacts[c.id] = c
	_, err = u.tx.ExecContext(ctx, "UPDATE contacts SET address = ?, fields = ?, updated_at = ? WHERE id = ?", c.address, c.fields, c.updated, c.id)
	return true, left, err
}

// FinishUndo closes an undo and takes back the fields and the list that the set made, where nobody uses them.
func (s *Store) FinishUndo(ctx context.Context, id int64) (ChangeSet, error) {
	idle, newest, err := s.unusedFields(ctx, id)
	if err != nil {
		return ChangeSet{}, fmt.Errorf("undo change set %d: %w", id, err)
	}
	var set ChangeSet
	err = s.update(ctx, func(tx *sql.Tx) error {
		var err error
		if set, err = changeSet(ctx, tx, id); err != nil {
			return err
		}
		if set.State != "undoing" || set.Totals.Undo.Before > 1 {
			return ErrInterfered
		}
		// The fields were looked through before this transaction began: if anybody imports since, they stay.
		var busy int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM change_sets WHERE id > ? OR state = 'applying'", newest).Scan(&busy); err != nil {
			return err
		}
		for _, field := range idle {
			if busy > 0 {
				break
			}
			if _, err := tx.ExecContext(ctx, "DELETE FROM fields WHERE id = ? AND declared = 0", field); err != nil {
				return err
			}
		}
		if set.Totals.NewList {
			_, err := tx.ExecContext(ctx, `DELETE FROM lists WHERE id = ? AND NOT EXISTS (SELECT 1 FROM memberships WHERE list = lists.id)
				AND NOT EXISTS (SELECT 1 FROM change_sets WHERE id <> ? AND state <> 'undone' AND json_extract(totals, '$.list') = lists.id)`,
				set.Totals.List, id)
			if err != nil {
				return err
			}
		}
		set.State = "undone"
		if err := saveUndo(ctx, tx, set); err != nil {
			return err
		}
		return s.audit(ctx, tx, "import.undo", map[string]any{"change_set": id, "undone": set.Totals.Undo})
	})
	if err != nil {
		return ChangeSet{}, fmt.Errorf("undo change set %d: %w", id, err)
	}
	return set, nil
}

// unusedFields is which of the fields that a set made have no value left, and the newest change set of that moment.
func (s *Store) unusedFields(ctx context.Context, id int64) (idle []int64, newest int64, err error) {
	if err := s.read.QueryRowContext(ctx, "SELECT max(id) FROM change_sets").Scan(&newest); err != nil {
		return nil, 0, explain(err)
	}
	set, err := s.ChangeSet(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	for _, field := range set.Totals.Fields {
		var used bool
		err := s.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM contacts WHERE json_extract(fields, ?) IS NOT NULL)",
			fmt.Sprintf("$.f%d", field)).Scan(&used)
		if err != nil {
			return nil, 0, explain(err)
		}
		if !used {
			idle = append(idle, field)
		}
	}
	return idle, newest, nil
}
