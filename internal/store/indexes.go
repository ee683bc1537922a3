package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailer/internal/contact"
)

// Which fields have an index is decided here, so that nobody has to know what one is. Every index slows imports, and
// below some size reading everybody takes a moment: so there are few, of large workspaces only, and only where one finds
// a small part of the contacts. Saving a segment and sending to people ask for one; counting does not, since building one
// takes longer than the count that it would save.

const (
	partFound  = 10                  // an index is made when it finds at most a tenth of them
	maxIndexes = 3                   // each costs an import about as much as the unique index on the address
	unusedFor  = 90 * 24 * time.Hour // then an index is dropped
	settledFor = 7 * 24 * time.Hour  // then one may give way to another

	indexPrefix = "contacts_f"  // followed by the field's id
	indexUsed   = "index_used:" // in meta, followed by the field's id: when somebody last asked for it
)

// Seek is a condition that an index on its field can answer.
type Seek struct {
	Field contact.Field
	Where Where
}

// index is an index on a field of contacts.
type index struct {
	field int64
	gone  bool // the field is no more
	used  time.Time
}

func (ix index) name() string { return indexPrefix + strconv.FormatInt(ix.field, 10) }

// IndexedFields lists the fields that have an index.
func (s *Store) IndexedFields(ctx context.Context) ([]contact.Field, error) {
	all, err := indexes(ctx, s.read)
	if err != nil {
		return nil, fmt.Errorf("read indexes: %w", explain(err))
	}
	known, err := s.Fields(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(known, func(f contact.Field) bool {
		return !slices.ContainsFunc(all, func(ix index) bool { return ix.field == f.ID })
	}), nil
}

// TendIndexes sees to the indexes for people who all pass the seeks (none: only what is no more used is dropped). It
// returns the field of an index that it made. Nothing happens while a campaign is being sent: to build an index holds the
// lock for a second or two at a million contacts.
func (s *Store) TendIndexes(ctx context.Context, seeks []Seek) (contact.Field, bool, error) {
	best, err := s.bestSeek(ctx, seeks)
	if err != nil {
		return contact.Field{}, false, fmt.Errorf("choose an index: %w", err)
	}
	made := false
	err = s.update(ctx, func(tx *sql.Tx) error {
		made = false
		if busy, err := s.sendingNow(ctx, tx); err != nil || busy {
			return err
		}
		all, err := indexes(ctx, tx)
		if err != nil {
			return err
		}
		kept, err := s.dropUnused(ctx, tx, all)
		if err != nil || best == nil {
			return err
		}
		if !slices.ContainsFunc(kept, func(ix index) bool { return ix.field == best.ID }) {
			if made, err = s.makeIndex(ctx, tx, kept, *best); err != nil || !made {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
			indexUsed+strconv.FormatInt(best.ID, 10), strconv.FormatInt(s.millis(), 10))
		return err
	})
	if err != nil || !made {
		return contact.Field{}, false, wrap("tend indexes", err)
	}
	return *best, true, nil
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// bestSeek is the field whose index would find the fewest; nil when none would pay.
func (s *Store) bestSeek(ctx context.Context, seeks []Seek) (*contact.Field, error) {
	if len(seeks) == 0 {
		return nil, nil
	}
	all, err := s.CountContacts(ctx, Where{})
	if err != nil || all < s.sizes.large {
		return nil, err
	}
	conditions := make([]Where, len(seeks))
	for i, k := range seeks {
		conditions[i] = k.Where
	}
	counts, err := s.CountEach(ctx, conditions, nil)
	if err != nil {
		return nil, err
	}
	best := slices.Index(counts, slices.Min(counts))
	if counts[best] > all/partFound {
		return nil, nil
	}
	return &seeks[best].Field, nil
}

// indexes lists the indexes on fields.
func indexes(ctx context.Context, q queryer) ([]index, error) {
	rows, err := q.QueryContext(ctx, `SELECT i.name, f.id IS NULL, coalesce(m.value, '0')
		FROM sqlite_master AS i LEFT JOIN fields AS f ON f.id = CAST(substr(i.name, ?) AS INTEGER) LEFT JOIN meta AS m ON m.name = ? || substr(i.name, ?)
		WHERE i.type = 'index' AND i.tbl_name = 'contacts' AND substr(i.name, 1, ?) = ?`,
		len(indexPrefix)+1, indexUsed, len(indexPrefix)+1, len(indexPrefix), indexPrefix)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []index
	for rows.Next() {
		var ix index
		var name, used string
		if err := rows.Scan(&name, &ix.gone, &used); err != nil {
			return nil, err
		}
		id, err := strconv.ParseInt(strings.TrimPrefix(name, indexPrefix), 10, 64)
		if err != nil {
			continue // somebody else's
		}
		millis, err := strconv.ParseInt(used, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("when index %s was used: %w", name, err)
		}
		ix.field, ix.used = id, time.UnixMilli(millis)
		all = append(all, ix)
	}
	return all, rows.Err()
}

// dropUnused drops the indexes of fields that are no more, and those for which nobody asked in a long time.
func (s *Store) dropUnused(ctx context.Context, tx *sql.Tx, all []index) ([]index, error) {
	var kept []index
	for _, ix := range all {
		if !ix.gone && s.now().Sub(ix.used) < unusedFor {
			kept = append(kept, ix)
		} else if err := dropIndex(ctx, tx, ix); err != nil {
			return nil, err
		}
	}
	return kept, nil
}

func dropIndex(ctx context.Context, tx *sql.Tx, ix index) error {
	if _, err := tx.ExecContext(ctx, "DROP INDEX "+ix.name()); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM meta WHERE name = ?", indexUsed+strconv.FormatInt(ix.field, 10))
	return err
}

// makeIndex builds an index, unless there are as many as there may be and all of them are in use.
func (s *Store) makeIndex(ctx context.Context, tx *sql.Tx, have []index, f contact.Field) (bool, error) {
	if len(have) >= maxIndexes {
		oldest := slices.MinFunc(have, func(a, b index) int { return a.used.Compare(b.used) })
		if s.now().Sub(oldest.used) < settledFor {
			return false, nil
		}
		if err := dropIndex(ctx, tx, oldest); err != nil {
			return false, err
		}
	}
	ix := index{field: f.ID}
	// The path comes from the field's id, and must be a literal: an index on an expression serves no other.
	if _, err := tx.ExecContext(ctx, "CREATE INDEX "+ix.name()+" ON contacts (json_extract(fields, '$."+f.Path()+"'))"); err != nil {
		return false, err
	}
	return true, analyze(ctx, tx, ix)
}

// analyze lets SQLite know how an index's values are spread, without which it would take the index for a condition that
// most contacts meet too. What it keeps are samples of them.
func analyze(ctx context.Context, tx *sql.Tx, ix index) error {
	_, err := tx.ExecContext(ctx, "ANALYZE "+ix.name())
	return err
}

// analyzeAnew takes the values of people who were erased out of the samples.
func analyzeAnew(ctx context.Context, tx *sql.Tx) error {
	all, err := indexes(ctx, tx)
	for _, ix := range all {
		err = errors.Join(err, analyze(ctx, tx, ix))
	}
	return err
}
