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
