package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
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
	Listed  bool // the set's list gained the contact
	Left    bool // the set's list lost it: the file did not have it
}

// EachChange calls fn for the changes of a set, line by line. It holds three numbers a line in memory.
func (s *Store) EachChange(ctx context.Context, set int64, fn func(Change) error) error {
	return s.snapshot(ctx, func(tx *sql.Tx) error {
		type alikeLine struct {
			runLine
			op uint8 // its place in ops
		}
		var alike []alikeLine
		var ops []string
		err := eachRun(ctx, tx, func(r run) error {
			op := slices.Index(ops, r.op)
			if op < 0 {
				op, ops = len(ops), append(ops, r.op)
			}
			for _, l := range r.lines {
				alike = append(alike, alikeLine{l, uint8(op)})
			}
			return nil
		}, "WHERE r.change_set = ?", set)
		if err != nil {
			return fmt.Errorf("read changes: %w", explain(err))
		}
		slices.SortStableFunc(alike, func(a, b alikeLine) int { return cmp.Compare(a.line, b.line) })
		page := make([]Change, 0, inAtOnce)
		until := func(line int64) error { // what runs say of the lines before line
			for len(alike) > 0 && alike[0].line < line {
				page = page[:0]
				for _, l := range alike[:min(len(alike), inAtOnce)] {
					if l.line < line {
						page = append(page, run{set: set, op: ops[l.op]}.change(l.runLine))
					}
				}
				alike = alike[len(page):]
				if err := nameKeys(ctx, tx, set, page); err != nil {
					return err
				}
				for _, c := range page {
					if err := fn(c); err != nil {
						return err
					}
				}
			}
			return nil
		}
		err = eachChange(ctx, tx, func(c Change) error {
			if err := until(c.Line); err != nil {
				return err
			}
			return fn(c)
		}, changeColumns+" WHERE change_set = ? AND op <> 'delete' ORDER BY line, seq", set)
		if err != nil {
			return err
		}
		return until(math.MaxInt64)
	})
}

// change is a line of a run as a change of its own. The key is not known here.
func (r run) change(l runLine) Change {
	op := r.op
	if op == runJoin {
		op = runTouch
	}
	return Change{Set: r.set, Seq: r.seq, Line: l.line, Contact: l.contact, Op: op, Listed: r.op == runJoin}
}

// nameKeys fills in the address keys of contacts: those that are still there, and those that the set's own undo deleted.
func nameKeys(ctx context.Context, q queryer, set int64, changes []Change) error {
	ids := make([]any, len(changes))
	for i, c := range changes {
		ids[i] = c.Contact
	}
	keys := make(map[int64]string, len(ids))
	scan := func(rows *sql.Rows) error {
		var id int64
		var key string
		err := rows.Scan(&id, &key)
		keys[id] = key
		return err
	}
	err := eachIn(ctx, q, "SELECT contact, key FROM changes WHERE change_set = ? AND op = 'delete' AND contact IN ", []any{set}, ids, scan)
	if err == nil {
		err = eachIn(ctx, q, "SELECT id, key FROM contacts WHERE id IN ", nil, ids, scan)
	}
	for i := range changes {
		changes[i].Key = keys[changes[i].Contact]
	}
	return err
}

// runsOf is the changes of one contact that runs hold.
func runsOf(ctx context.Context, q queryer, contact int64, key string) ([]Change, error) {
	var found []Change
	err := eachRun(ctx, q, func(r run) error {
		for _, l := range r.lines {
			if l.contact == contact && r.op != runSkip {
				c := r.change(l)
				c.Key = key
				found = append(found, c)
			}
		}
		return nil
	}, "WHERE r.first <= ? AND r.last >= ?", contact, contact)
	return found, err
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
		c.Before, c.After, c.Listed, c.Left = was.Fields, is.Fields, is.List != 0, was.Member != nil
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

// look reads everything that the decisions about todo need.
func (u *undoing) look(ctx context.Context, todo []undoRow) error {
	var err error
	if u.fields, err = fields(ctx, u.tx); err != nil {
		return err
	}
	ids := make([]any, len(todo))
	for i, r := range todo {
		ids[i] = r.Contact
	}
	u.contacts = make(map[int64]stored, len(todo))
	var keys []any
	err = eachIn(ctx, u.tx, "SELECT id, key, address, fields, updated_at FROM contacts WHERE id IN ", nil, ids, func(rows *sql.Rows) error {
		var c stored
		err := rows.Scan(&c.id, &c.key, &c.address, &c.fields, &c.updated)
		u.contacts[c.id] = c
		keys = append(keys, c.key)
		return err
	})
	if err != nil {
		return err
	}
	u.mailing = map[string]bool{}
	err = eachIn(ctx, u.tx, "SELECT key FROM deliveries WHERE state IN ('pending', 'sending', 'deferred', 'uncertain') AND key IN ", nil, keys,
		scanString(func(key string) { u.mailing[key] = true }))
	if err != nil {
		return err
	}
	return u.lookAtOthers(ctx, ids)
}

// otherSet is a change set that stands, besides the one that is taken back.
type otherSet struct {
	list  int64 // 0: none
	since bool  // it did something after the one that is taken back began
}

// leaning is what other change sets that stand have to do with a contact.
type leaning struct {
	touched  bool            // one found it or changed it
	listed   bool            // a later one found it on the same list, or put it there
	unlisted bool            // a later one took it off the same list
	agreed   bool            // a later one recorded a consent for the same list
	address  bool            // a later one changed how the address is written
	fields   map[string]bool // those of which a later one changed the cell
}

// about is what others have to do with a contact; of most there is nothing to say.
func (u *undoing) about(contact int64) *leaning {
	l := u.leaning[contact]
	if l == nil {
		l = &leaning{}
		u.leaning[contact] = l
	}
	return l
}

// lookAtOthers finds out what other change sets have to do with the contacts, those that were taken back left out.
func (u *undoing) lookAtOthers(ctx context.Context, ids []any) error {
	u.leaning = map[int64]*leaning{}
	if err := u.readOthers(ctx); err != nil || len(u.others) == 0 {
		return err
	}
	err := eachIn(ctx, u.tx, changeColumns+" WHERE change_set <> ? AND op <> 'delete' AND contact IN ", []any{u.set.ID}, ids, func(rows *sql.Rows) error {
		c, was, is, err := scanChange(rows)
		if other, stands := u.others[c.Set]; err == nil && stands {
			u.lean(c.Contact, other, was, is)
		}
		return err
	})
	if err != nil {
		return err
	}
	wanted := idSet{}
	first, last := ids[0].(int64), ids[0].(int64)
	for _, id := range ids {
		id := id.(int64)
		wanted.add(id)
		first, last = min(first, id), max(last, id)
	}
	return eachRun(ctx, u.tx, func(r run) error {
		other, stands := u.others[r.set]
		if !stands || r.op == runSkip {
			return nil
		}
		for _, l := range r.lines {
			if wanted.has(l.contact) {
				u.lean(l.contact, other, side{}, side{})
			}
		}
		return nil
	}, "WHERE r.change_set <> ? AND r.first <= ? AND r.last >= ?", u.set.ID, last, first)
}

// lean notes what one change of another set says of a contact.
func (u *undoing) lean(contact int64, other otherSet, was, is side) {
	l := u.about(contact)
	sameList := other.since && other.list != 0 && other.list == u.set.Totals.List
	if was.Member != nil { // who is gone is off every list: that leans on nothing
		l.unlisted = l.unlisted || sameList
		return
	}
	l.touched = true
	l.listed = l.listed || sameList
	if !other.since {
		return
	}
	l.agreed = l.agreed || sameList && is.Consent != 0
	l.address = l.address || is.Address != ""
	for name := range is.Fields {
		if l.fields == nil {
			l.fields = map[string]bool{}
		}
		l.fields[name] = true
	}
}

// readOthers reads which other change sets stand. One that was over before this one began has no later word, unlike one with a
// lower number that ran beside it.
func (u *undoing) readOthers(ctx context.Context) error {
	u.others = map[int64]otherSet{}
	return eachRow(ctx, u.tx, func(rows *sql.Rows) error {
		var set int64
		var o otherSet
		err := rows.Scan(&set, &o.list, &o.since)
		u.others[set] = o
		return err
	}, `SELECT id, coalesce(json_extract(totals, '$.list'), 0), id > ? OR finished_at IS NULL OR finished_at > ? FROM change_sets
		WHERE id <> ? AND state <> 'undone'`, u.set.ID, u.set.Created.UnixMilli(), u.set.ID)
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
