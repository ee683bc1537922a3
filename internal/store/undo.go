package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"mailer/internal/contact"
)

// BeginUndo marks a change set as being taken back. One that was taken back already may be taken back again, if something was
// left alone then: it may be free now. Where nothing was, nothing is touched a second time: the same import may have come again.
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
		last, err := lastSeq(ctx, tx, id)
		if err != nil {
			return err
		}
		if set.State == "undone" && set.Totals.Undo.Left == 0 {
			last = 0 // all is back; only a list or a field that others used may be free now
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
	others   map[int64]otherSet
	leaning  map[int64]*leaning
	mailing  map[string]bool
	deleted  []undoRow // creations to take back: their contacts go at the end, all at once
}

// undoRow is a change to be taken back.
type undoRow struct {
	Change
	was, is side
}

func (u *undoing) chunk(ctx context.Context, n int) error {
	todo, err := u.next(ctx, n)
	if err != nil {
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
	return u.delete(ctx)
}

// delete takes the contacts away that were created, and keeps who they were: their run holds only ids.
func (u *undoing) delete(ctx context.Context) error {
	if len(u.deleted) == 0 {
		return nil
	}
	seq, err := lastSeq(ctx, u.tx, u.set.ID)
	if err != nil {
		return err
	}
	ids, args := make([]any, 0, len(u.deleted)), make([]any, 0, 6*len(u.deleted))
	for _, r := range u.deleted {
		seq++
		ids = append(ids, r.Contact)
		args = append(args, u.set.ID, seq, r.Line, r.Contact, r.Key, "delete")
	}
	if err := insertMany(ctx, u.tx, "INSERT INTO changes (change_set, seq, line, contact, key, op) VALUES ", 6, "", args); err != nil {
		return err
	}
	for len(ids) > 0 {
		n := min(len(ids), inAtOnce)
		if _, err := u.tx.ExecContext(ctx, "DELETE FROM contacts WHERE id IN ("+placeholders(n)+")", ids[:n]...); err != nil { // and their memberships
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// next is the last n changes that are not taken back yet, the last one first. A run comes whole: its changes share a number.
func (u *undoing) next(ctx context.Context, n int) ([]undoRow, error) {
	rows, err := u.tx.QueryContext(ctx, changeColumns+" WHERE change_set = ? AND seq < ? ORDER BY seq DESC LIMIT ?", u.set.ID, u.totals.Before, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var todo []undoRow
	for rows.Next() {
		c, was, is, err := scanChange(rows)
		if err != nil {
			return nil, err
		}
		todo = append(todo, undoRow{c, was, is})
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	from := int64(0) // with a full page of changes, runs older than its last one wait for the next call
	if len(todo) == n {
		from = todo[n-1].Seq
	}
	enough := errors.New("enough")
	var merged []undoRow
	err = eachRun(ctx, u.tx, func(r run) error {
		for len(todo) > 0 && todo[0].Seq > r.seq {
			merged, todo = append(merged, todo[0]), todo[1:]
		}
		if len(merged) >= n {
			return enough
		}
		for _, l := range slices.Backward(r.lines) {
			row := undoRow{Change: r.change(l)}
			if r.op == runJoin {
				row.is.List = u.set.Totals.List
			}
			if r.op != runSkip {
				merged = append(merged, row)
			}
		}
		if len(merged) >= n {
			return enough
		}
		return nil
	}, "WHERE r.change_set = ? AND r.seq < ? AND r.seq >= ? ORDER BY r.seq DESC", u.set.ID, u.totals.Before, from)
	if err != nil && !errors.Is(err, enough) {
		return nil, err
	}
	if err == nil {
		merged = append(merged, todo...)
	}
	return merged, nil
}

// takeBack undoes one change as far as nothing that came later leans on it.
func (u *undoing) takeBack(ctx context.Context, r undoRow) error {
	c, there := u.contacts[r.Contact]
	if !there || r.Op == "delete" || r.Key != "" && c.key != r.Key {
		return nil // deleted or forgotten since
	}
	l := u.about(c.id)
	if r.was.Member != nil {
		return u.backOnList(ctx, r, l)
	}
	if r.Op == "create" && !l.touched && !u.mailing[c.key] {
		u.totals.Deleted++
		delete(u.contacts, c.id)
		r.Key = c.key
		u.deleted = append(u.deleted, r)
		return nil
	}
	off, stays, err := u.takeOffList(ctx, r, l)
	if err != nil {
		return err
	}
	if r.is.Consent != 0 && !l.agreed {
		if err := u.withdrawConsent(ctx, r); err != nil {
			return err
		}
		off = true
	}
	restored, left, err := u.restore(ctx, c, r, l)
	switch {
	case err != nil:
		return err
	case r.Op == "create" || left || stays:
		u.totals.Left++
	case restored || off:
		u.totals.Restored++
	}
	return nil
}

// takeOffList ends the membership that the change began. It stays when a later import that stands has the contact on the same list.
func (u *undoing) takeOffList(ctx context.Context, r undoRow, l *leaning) (off, stays bool, err error) {
	list := r.is.List
	if r.Op == "create" {
		list = u.set.Totals.List
	}
	if list == 0 || l.listed {
		return false, list != 0, nil
	}
	res, err := u.tx.ExecContext(ctx, "DELETE FROM memberships WHERE list = ? AND contact = ?", list, r.Contact)
	if err != nil {
		return false, false, err
	}
	n, err := res.RowsAffected()
	if err != nil || n > 0 {
		return n > 0, false, err
	}
	// A later import that took the contact off the list would put it back, were it taken back too.
	_, err = u.tx.ExecContext(ctx, `UPDATE changes SET after = ? WHERE contact = ? AND change_set > ? AND json_extract(before, '$.member.list') = ?`,
		voided, r.Contact, u.set.ID, list)
	return false, false, err
}

// voided is the side of a change that took a place on a list away, once the change that gave it is taken back.
const voided = `{"void":true}`

// backOnList gives a contact the place on a list back that the change took from it. It is left alone when it has a new one, or
// when a later import took it off once more.
func (u *undoing) backOnList(ctx context.Context, r undoRow, l *leaning) error {
	m := r.was.Member
	if r.is.Void {
		return nil
	}
	if l.unlisted {
		u.totals.Left++
		return nil
	}
	res, err := u.tx.ExecContext(ctx, `INSERT INTO memberships (list, contact, since, consent_source, consent_at, consent_text)
		SELECT id, ?, ?, ?, ?, ? FROM lists WHERE id = ? ON CONFLICT (list, contact) DO NOTHING`, r.Contact, m.Since, m.Source, m.At, m.Text, m.List)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	u.totals.Restored += n
	u.totals.Left += 1 - n
	return err
}

// withdrawConsent takes the record of a consent away that the change added. A later import leaves a consent that is on
// record as it is, so the one that stands there is this change's, unless the contact left the list since and came anew. Who
// only left may come back with a place that was kept.
func (u *undoing) withdrawConsent(ctx context.Context, r undoRow) error {
	until := u.now
	if !u.set.Finished.IsZero() {
		until = u.set.Finished.UnixMilli()
	}
	_, err := u.tx.ExecContext(ctx, "UPDATE memberships SET consent_source = '', consent_at = NULL, consent_text = '' WHERE list = ? AND contact = ? AND since <= ?",
		r.is.Consent, r.Contact, until)
	if err != nil {
		return err
	}
	_, err = u.tx.ExecContext(ctx, `UPDATE changes SET before = json_remove(before, '$.member.source', '$.member.at', '$.member.text')
		WHERE contact = ? AND change_set > ? AND json_extract(before, '$.member.list') = ? AND json_extract(before, '$.member.since') <= ?`,
		r.Contact, u.set.ID, r.is.Consent, until)
	return err
}

// restore brings back the cells, and the spelling of the address, that still are what the change made them. left says
// that something was not, or that a later import that stands made it the same.
func (u *undoing) restore(ctx context.Context, c stored, r undoRow, l *leaning) (restored, left bool, err error) {
	cells, err := contact.DecodeCells(c.fields)
	if err != nil {
		return false, false, err
	}
	switch {
	case r.is.Address == "" || c.address == r.was.Address:
	case c.address == r.is.Address && !l.address:
		c.address, restored = r.was.Address, true
	default:
		left = true
	}
	for _, f := range u.fields {
		is, wrote := r.is.Fields[f.Name]
		was := r.was.Fields[f.Name]
		switch {
		case !wrote || cells[f.ID] == was:
		case cells[f.ID] == is && !l.fields[f.Name] && contact.Fits(f.Type, was):
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
