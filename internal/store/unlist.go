package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// Keep marks the contacts of keys as seen, though no row of theirs could be applied: whoever stands in the file with a cell that
// does not fit is not missing.
func (s *Store) Keep(ctx context.Context, im *Import, keys []string) error {
	return keep(ctx, s.read, &im.skipped, keys)
}

func keep(ctx context.Context, q queryer, set *idSet, keys []string) error {
	values := make([]any, len(keys))
	for i, key := range keys {
		values[i] = key
	}
	err := eachIn(ctx, q, "SELECT id FROM contacts WHERE key IN ", nil, values, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		set.add(id)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for the contacts of rejected rows: %w", explain(err))
	}
	return nil
}

// member is a place on a list.
type member struct {
	contact int64
	address string
	key     string
	membership
}

// membersAfter calls fn for up to n members of a list behind a contact.
func membersAfter(ctx context.Context, q queryer, list, after int64, n int, fn func(member) error) error {
	return eachRow(ctx, q, func(rows *sql.Rows) error {
		m := member{membership: membership{List: list}}
		if err := rows.Scan(&m.contact, &m.address, &m.key, &m.Since, &m.Source, &m.At, &m.Text); err != nil {
			return err
		}
		return fn(m)
	}, `SELECT m.contact, c.address, c.key, m.since, m.consent_source, m.consent_at, m.consent_text FROM memberships AS m JOIN contacts AS c ON c.id = m.contact
		WHERE m.list = ? AND m.contact > ? ORDER BY m.contact LIMIT ?`, list, after, n)
}

// Unlist looks at up to n members of the import's list and takes those off it that no row of the file led to. It is called once all
// rows are applied, until it reports that everybody was looked at. held is how long it kept others from writing.
func (s *Store) Unlist(ctx context.Context, im *Import, n int) (done bool, held time.Duration, err error) {
	totals := im.Totals
	held, err = s.timed(ctx, func(tx *sql.Tx) error {
		totals = im.Totals
		var seen int
		var gone []member
		err := membersAfter(ctx, tx, totals.List, totals.Looked, n, func(m member) error {
			seen, totals.Looked = seen+1, m.contact
			if !im.own.has(m.contact) && !im.skipped.has(m.contact) {
				gone = append(gone, m)
			}
			return nil
		})
		if err != nil {
			return err
		}
		done = seen < n
		totals.Unlisted += int64(len(gone))
		if err := takeOff(ctx, tx, im.ID, gone); err != nil {
			return err
		}
		return saveTotals(ctx, tx, im, totals)
	})
	if err != nil {
		return false, held, fmt.Errorf("take missing contacts off the list: %w", err)
	}
	im.Totals = totals
	return done, held, nil
}

// takeOff ends memberships and keeps them as changes of the set, so that an undo brings them back.
func takeOff(ctx context.Context, tx *sql.Tx, set int64, gone []member) error {
	if len(gone) == 0 {
		return nil
	}
	seq, err := lastSeq(ctx, tx, set)
	if err != nil {
		return err
	}
	args := make([]any, 0, 6*len(gone))
	ids := make([]any, 0, len(gone))
	for _, m := range gone {
		before, err := json.Marshal(side{Member: &m.membership})
		if err != nil {
			return err
		}
		seq++
		args = append(args, set, seq, m.contact, m.key, runTouch, string(before))
		ids = append(ids, m.contact)
	}
	if err := insertMany(ctx, tx, "INSERT INTO changes (change_set, seq, contact, key, op, before) VALUES ", 6, "", args); err != nil {
		return err
	}
	for len(ids) > 0 {
		n := min(len(ids), inAtOnce)
		if _, err := tx.ExecContext(ctx, "DELETE FROM memberships WHERE list = ? AND contact IN ("+placeholders(n)+")", append([]any{gone[0].List}, ids[:n]...)...); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// saveTotals writes the totals of an import that nobody else moved.
func saveTotals(ctx context.Context, tx *sql.Tx, im *Import, totals Totals) error {
	text, err := json.Marshal(totals)
	if err != nil {
		return err
	}
	r, err := tx.ExecContext(ctx, "UPDATE change_sets SET totals = ? WHERE id = ? AND state = 'applying' AND last_line = ?", string(text), im.ID, im.LastLine)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return ErrInterfered
	}
	return nil
}

// Keep is Store.Keep for a dry run.
func (p *Plan) Keep(ctx context.Context, keys []string) error {
	return keep(ctx, p.s.read, &p.seen, keys)
}

// Missing calls fn for every member of the import's list that no row led to.
func (p *Plan) Missing(ctx context.Context, fn func(Effect)) error {
	if p.im.Totals.List == 0 {
		return nil
	}
	const page = 5000
	for after, more := int64(0), true; more; {
		n := 0
		err := membersAfter(ctx, p.s.read, p.im.Totals.List, after, page, func(m member) error {
			n, after = n+1, m.contact
			if !p.seen.has(m.contact) {
				fn(Effect{Address: m.address, Key: m.key, Op: "unlist"})
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("plan import: %w", explain(err))
		}
		more = n == page
	}
	return nil
}
