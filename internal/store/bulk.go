package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// writing is one transaction of an import.
type writing struct {
	s      *Store
	tx     *sql.Tx
	im     *Import
	now    int64
	last   int64 // the highest contact id that was ever given out
	seq    int64 // the next number of a change
	totals Totals
}

// rows applies all of them. Where most rows are new people, each is inserted without looking first, which the unique key makes
// safe; where most are known, they are looked up first.
func (w *writing) rows(ctx context.Context, rows []Row) error {
	if len(rows) >= bulkRows {
		if _, err := w.tx.ExecContext(ctx, bulkCheckpoint); err != nil {
			return err
		}
	}
	blocked, back, err := blockedKeys(ctx, w.tx, keysOf(rows))
	if err != nil {
		return err
	}
	if w.last, err = lastContactID(ctx, w.tx); err != nil {
		return err
	}
	before := w.last
	if w.seq, err = lastSeq(ctx, w.tx, w.im.ID); err != nil {
		return err
	}
	w.seq++
	rest := rows
	if !w.im.known {
		if rest, err = w.insertNew(ctx, rows, blocked); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		b, err := resolve(ctx, w.tx, w.im, rest, blocked)
		if err != nil {
			return err
		}
		if err := w.batch(ctx, b); err != nil {
			return err
		}
	}
	w.im.known = 2*w.totals.Created < int64(len(rows))
	if err := w.s.restoreForgotten(ctx, w.tx, back, w.im.ID); err != nil {
		return err
	}
	if w.last == before {
		return nil
	}
	_, err = w.tx.ExecContext(ctx, "UPDATE meta SET value = ? WHERE name = 'last_contact'", strconv.FormatInt(w.last, 10))
	return err
}

// lastContactID is the highest id that a contact ever had. Ids are taken from it without looking, so a contact that somebody put
// in by hand counts too: under its id it would pass for one of ours.
func lastContactID(ctx context.Context, q queryer) (id int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT max(CAST(value AS INTEGER), coalesce((SELECT max(id) FROM contacts), 0)) FROM meta
		WHERE name = 'last_contact'`).Scan(&id)
	return id, err
}

// insertNew inserts the rows whose address is no contact yet and returns the others, in their order.
func (w *writing) insertNew(ctx context.Context, rows []Row, blocked map[string]bool) (rest []Row, err error) {
	// The time stands in the text: two arguments fewer a row are worth it.
	query := insertOrIgnore + " INTO contacts (id, key, address, fields, created_at, updated_at) VALUES "
	row := fmt.Sprintf("(?, ?, ?, ?, %d, %[1]d)", w.now)
	// That the stored form is sound JSON is settled by who made it (contact.AppendRow): parsing each again costs a tenth of an import.
	if err := ignoreChecks(ctx, w.tx, true); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ignoreChecks(context.WithoutCancel(ctx), w.tx, false)) }()
	full, err := w.tx.PrepareContext(ctx, query+repeat(row, rowsAtOnce))
	if err != nil {
		return nil, err
	}
	defer full.Close()
	first := w.last + 1
	fresh := make([]runLine, 0, len(rows))
	args := make([]any, 0, 4*rowsAtOnce)
	for len(rows) > 0 {
		chunk := rows[:min(len(rows), rowsAtOnce)]
		rows = rows[len(chunk):]
		args = args[:0]
		for i := range chunk {
			r := &chunk[i]
			if r.Fields == "" {
				text, err := w.im.AppendFields(nil, r.Cells)
				if err != nil {
					return nil, err
				}
				r.Fields = string(text)
			}
			args = append(args, w.last+1+int64(i), r.Key, r.Address, r.Fields)
		}
		var res sql.Result
		if len(chunk) == rowsAtOnce {
			res, err = full.ExecContext(ctx, args...)
		} else {
			res, err = w.tx.ExecContext(ctx, query+repeat(row, len(chunk)), args...)
		}
		if err != nil {
			return nil, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return nil, err
		}
		made := idSet(nil)
		if n < int64(len(chunk)) {
			if made, err = idsBetween(ctx, w.tx, w.last+1, w.last+int64(len(chunk))); err != nil {
				return nil, err
			}
		}
		for i, r := range chunk {
			w.last++
			if n < int64(len(chunk)) && !made.has(int64(i)) {
				rest = append(rest, r)
				continue
			}
			w.im.own.add(w.last)
			fresh = append(fresh, runLine{w.last, r.Line})
			w.totals.Created++
			if blocked[r.Key] {
				w.totals.Suppressed++
			}
		}
	}
	if len(fresh) == 0 {
		return rest, nil
	}
	if w.seq, err = writeRuns(ctx, w.tx, w.im.ID, w.seq, runCreate, fresh); err != nil {
		return nil, err
	}
	return rest, w.listNew(ctx, first)
}

// idsBetween is which contact ids from first to last are taken, as their distance from first.
func idsBetween(ctx context.Context, q queryer, first, last int64) (idSet, error) {
	taken := idSet{}
	err := eachRow(ctx, q, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		taken.add(id - first)
		return err
	}, "SELECT id FROM contacts WHERE id BETWEEN ? AND ?", first, last)
	return taken, err
}

// listNew puts the contacts from id first on, all of them created in this transaction, on the set's list.
func (w *writing) listNew(ctx context.Context, first int64) error {
	if w.im.spec.List == "" {
		return nil
	}
	c := w.im.spec.Consent
	_, err := w.tx.ExecContext(ctx, `INSERT INTO memberships (list, contact, since, consent_source, consent_at, consent_text)
		SELECT ?, id, ?, ?, ?, ? FROM contacts WHERE id >= ? ORDER BY id`, w.im.Totals.List, w.now, c.Source, c.at(), c.Text, first)
	return err
}

// at is the time of a consent as it is stored, nil where none is known.
func (c Consent) at() any {
	if c.At.IsZero() {
		return nil
	}
	return c.At.UnixMilli()
}

// batch writes what resolve found: contacts, memberships, and what is needed to take them back.
func (w *writing) batch(ctx context.Context, b *batch) error {
	if err := w.contacts(ctx, b); err != nil {
		return err
	}
	if err := w.memberships(ctx, b); err != nil {
		return err
	}
	if err := w.changes(ctx, b); err != nil {
		return err
	}
	for i := range b.effects {
		w.totals.Count(b.effects[i])
	}
	return nil
}

func (w *writing) contacts(ctx context.Context, b *batch) error {
	args := make([]any, 0, 6*len(b.fresh))
	for _, t := range b.fresh {
		w.last++
		t.id, t.updated = w.last, w.now
		args = append(args, t.id, t.key, t.address, t.fields, w.now, w.now)
	}
	if err := insertMany(ctx, w.tx, "INSERT INTO contacts (id, key, address, fields, created_at, updated_at) VALUES ", 6, "", args); err != nil {
		return err
	}
	update, err := w.tx.PrepareContext(ctx, "UPDATE contacts SET address = ?, fields = ?, updated_at = ? WHERE id = ?")
	if err != nil {
		return err
	}
	defer update.Close()
	for i := range b.effects {
		if t := b.effects[i].target; t.dirty && !t.made {
			if _, err := update.ExecContext(ctx, t.address, t.fields, w.now, t.id); err != nil {
				return err
			}
			t.dirty = false
		}
	}
	return nil
}

func (w *writing) memberships(ctx context.Context, b *batch) error {
	var args []any
	c := w.im.spec.Consent
	for i := range b.effects {
		if e := &b.effects[i]; e.Listed || e.Agreed {
			args = append(args, w.im.Totals.List, e.target.id, w.now, c.Source, c.at(), c.Text)
		}
	}
	return insertMany(ctx, w.tx, "INSERT INTO memberships (list, contact, since, consent_source, consent_at, consent_text) VALUES ", 6,
		` ON CONFLICT (list, contact) DO UPDATE SET consent_source = excluded.consent_source, consent_at = excluded.consent_at, consent_text = excluded.consent_text
		WHERE memberships.consent_source = '' AND memberships.consent_at IS NULL AND memberships.consent_text = ''`, args)
}

// changes keeps what each row did. Creations come first: a later row of the batch may change who was created.
func (w *writing) changes(ctx context.Context, b *batch) error {
	runs := map[string][]runLine{}
	var args []any
	for i := range b.effects {
		e := &b.effects[i]
		if op := e.run(); op != "" {
			runs[op] = append(runs[op], runLine{e.target.id, e.Line})
			set := &w.im.own
			if op == runSkip {
				set = &w.im.skipped
			}
			set.add(e.target.id)
			continue
		}
		before, after, err := e.record(w.im.Totals.List, w.now)
		if err != nil {
			return err
		}
		if e.Op == "update" {
			e.target.updated = w.now // as the next row about the same contact finds it
		}
		w.im.own.add(e.target.id)
		args = append(args, w.im.ID, nil, e.Line, e.target.id, e.target.key, e.Op, before, after)
	}
	var err error
	for _, op := range []string{runCreate, runTouch, runJoin, runSkip} {
		if w.seq, err = writeRuns(ctx, w.tx, w.im.ID, w.seq, op, runs[op]); err != nil {
			return err
		}
	}
	for i := 1; i < len(args); i += 8 {
		args[i] = w.seq
		w.seq++
	}
	return insertMany(ctx, w.tx, "INSERT INTO changes (change_set, seq, line, contact, key, op, before, after) VALUES ", 8, "", args)
}

// rowsAtOnce is how many rows one INSERT holds. Fewer cost a round through database/sql each; with more the driver's search for each
// argument, which looks through all of them, takes over.
const rowsAtOnce = 12

// valueRows is the placeholders of n rows of width values each.
func valueRows(width, n int) string { return repeat("("+placeholders(width)+")", n) }

func repeat(row string, n int) string { return strings.Repeat(row+", ", n-1) + row }

// insertMany inserts rows of width values each.
func insertMany(ctx context.Context, tx *sql.Tx, head string, width int, tail string, args []any) error {
	whole := rowsAtOnce * width
	if len(args) >= whole {
		full, err := tx.PrepareContext(ctx, head+valueRows(width, rowsAtOnce)+tail)
		if err != nil {
			return err
		}
		defer full.Close()
		for ; len(args) >= whole; args = args[whole:] {
			if _, err := full.ExecContext(ctx, args[:whole]...); err != nil {
				return err
			}
		}
	}
	if len(args) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, head+valueRows(width, len(args)/width)+tail, args...)
	return err
}
