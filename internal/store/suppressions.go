package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Suppression is an address or a domain that must not be mailed, and why.
type Suppression struct {
	Scope    string // address or domain
	Key      string
	Blocks   string // marketing or all
	Reason   string
	Evidence string    // the reply, the report or who asked for it
	Delivery int64     // the delivery that showed it; 0: none
	Bounce   int64     // the mail that showed it; 0: none
	Since    time.Time // zero: now
}

// onSuppressed is what happens to a suppression that is there already: it stays as it is, with its first evidence, but blocks
// more if the new one does. It never blocks less.
const onSuppressed = ` ON CONFLICT (scope, key, reason) DO UPDATE SET blocks = excluded.blocks
	WHERE suppressions.blocks = 'marketing' AND excluded.blocks = 'all'`

// suppress adds a suppression and its event inside a transaction. It reports false where that changes nothing.
func (s *Store) suppress(ctx context.Context, tx execer, p Suppression) (bool, error) {
	res, err := tx.ExecContext(ctx, `INSERT INTO suppressions (scope, key, blocks, reason, evidence, delivery, bounce, created_at)
		VALUES (?, ?, ?, ?, ?, nullif(?, 0), nullif(?, 0), ?)`+onSuppressed,
		p.Scope, p.Key, p.Blocks, p.Reason, p.Evidence, p.Delivery, p.Bounce, s.since(p))
	if err != nil {
		return false, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	detail, err := suppressDetail(p)
	if err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO events (at, kind, key, delivery, campaign, bounce, detail)
		VALUES (?, 'suppress', ?, nullif(?, 0), (SELECT campaign FROM deliveries WHERE id = ?), nullif(?, 0), ?)`,
		s.millis(), p.Key, p.Delivery, p.Delivery, p.Bounce, detail)
	return err == nil, err
}

// SuppressionRow is a suppression as it stands in the table.
type SuppressionRow struct {
	Suppression
	ID int64
}

// SuppressionFilter narrows a list; its zero value takes all.
type SuppressionFilter struct {
	Reason string
	Key    string // an address's key or a domain
}

// Suppressions calls fn for suppressions, the oldest first.
func (s *Store) Suppressions(ctx context.Context, f SuppressionFilter, fn func(SuppressionRow) error) error {
	rows, err := s.read.QueryContext(ctx, `SELECT id, scope, key, blocks, reason, evidence, coalesce(delivery, 0), coalesce(bounce, 0), created_at
		FROM suppressions WHERE (? = '' OR reason = ?) AND (? = '' OR key = ?) ORDER BY id`, f.Reason, f.Reason, f.Key, f.Key)
	if err != nil {
		return fmt.Errorf("list suppressions: %w", explain(err))
	}
	defer rows.Close()
	for rows.Next() {
		var r SuppressionRow
		var since int64
		if err := rows.Scan(&r.ID, &r.Scope, &r.Key, &r.Blocks, &r.Reason, &r.Evidence, &r.Delivery, &r.Bounce, &since); err != nil {
			return fmt.Errorf("list suppressions: %w", err)
		}
		r.Since = timeOf(since)
		if err := fn(r); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

// AddSuppressions adds a batch on a person's word and says how many were new. source goes into the audit row: a command, a
// file. Who was forgotten is suppressed already, as a hash; their address is not written down again.
func (s *Store) AddSuppressions(ctx context.Context, batch []Suppression, source string) (added int, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		added = 0
		gone, err := forgottenOf(ctx, tx, batch)
		if err != nil {
			return err
		}
		fresh := slices.DeleteFunc(slices.Clone(batch), func(p Suppression) bool { return p.Scope == "address" && gone[p.Key] })
		for chunk := range slices.Chunk(fresh, suppressAtOnce) {
			n, err := s.suppressMany(ctx, tx, chunk)
			if err != nil {
				return err
			}
			added += n
		}
		if added == 0 {
			return nil
		}
		detail := map[string]any{"source": source, "added": added, "reason": batch[0].Reason}
		if len(batch) == 1 {
			if detail["key"], err = auditKey(ctx, tx, batch[0].Scope, batch[0].Key); err != nil {
				return err
			}
		}
		return s.audit(ctx, tx, "suppressions.add", detail)
	})
	if err != nil {
		return 0, fmt.Errorf("add suppressions: %w", err)
	}
	return added, nil
}

// suppressAtOnce is how many suppressions one statement holds: one by one, a list of a million takes four times as long.
const suppressAtOnce = 50

// suppressMany is suppress for many that no delivery and no mail has shown. It says how many were new.
func (s *Store) suppressMany(ctx context.Context, tx *sql.Tx, batch []Suppression) (added int, err error) {
	now := s.millis()
	var args []any
	for _, p := range batch {
		args = append(args, p.Scope, p.Key, p.Blocks, p.Reason, p.Evidence, s.since(p))
	}
	rows, err := tx.QueryContext(ctx, "INSERT INTO suppressions (scope, key, blocks, reason, evidence, created_at) VALUES "+
		strings.Repeat("(?, ?, ?, ?, ?, ?), ", len(batch)-1)+"(?, ?, ?, ?, ?, ?)"+onSuppressed+" RETURNING key, reason, blocks, evidence", args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	args = args[:0]
	for rows.Next() {
		var p Suppression
		if err := rows.Scan(&p.Key, &p.Reason, &p.Blocks, &p.Evidence); err != nil {
			return 0, err
		}
		detail, err := suppressDetail(p)
		if err != nil {
			return 0, err
		}
		args = append(args, now, p.Key, detail)
		added++
	}
	if err := rows.Err(); err != nil || added == 0 {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO events (at, kind, key, detail) VALUES "+
		strings.Repeat("(?, 'suppress', ?, ?), ", added-1)+"(?, 'suppress', ?, ?)", args...)
	return added, err
}

// since is when a suppression began. The clock of another tool may be ahead.
func (s *Store) since(p Suppression) int64 {
	if p.Since.IsZero() {
		return s.millis()
	}
	return min(s.millis(), p.Since.UnixMilli())
}

func suppressDetail(p Suppression) (string, error) {
	detail, err := json.Marshal(map[string]string{"reason": p.Reason, "blocks": p.Blocks, "evidence": p.Evidence})
	return string(detail), err
}

// forgottenOf is which addresses of a batch belong to people who were forgotten.
func forgottenOf(ctx context.Context, q queryer, batch []Suppression) (map[string]bool, error) {
	var keys []any
	for _, p := range batch {
		if p.Scope == "address" {
			keys = append(keys, p.Key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	back, err := forgotten(ctx, q, keys)
	gone := map[string]bool{}
	for _, key := range back {
		gone[key] = true
	}
	return gone, err
}

// KnownSuppressions says which of a batch stand already, for a dry run.
func (s *Store) KnownSuppressions(ctx context.Context, batch []Suppression) ([]bool, error) {
	known := make([]bool, len(batch))
	gone, err := forgottenOf(ctx, s.read, batch)
	if err != nil {
		return nil, fmt.Errorf("look up suppressions: %w", explain(err))
	}
	for i, p := range batch {
		if known[i] = p.Scope == "address" && gone[p.Key]; known[i] {
			continue
		}
		err := s.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM suppressions WHERE scope = ? AND key = ? AND reason = ?)",
			p.Scope, p.Key, p.Reason).Scan(&known[i])
		if err != nil {
			return nil, fmt.Errorf("look up suppressions: %w", explain(err))
		}
	}
	return known, nil
}

// RemoveSuppression lifts what stands against an address or a domain, one reason of it or ("") all, and returns what was
// lifted. The history keeps that it was there.
func (s *Store) RemoveSuppression(ctx context.Context, scope, key, reason, why string) ([]Suppression, error) {
	var lifted []Suppression
	err := s.update(ctx, func(tx *sql.Tx) error {
		var err error
		if lifted, err = lift(ctx, tx, scope, key, reason); err != nil || len(lifted) == 0 {
			return err
		}
		for _, p := range lifted {
			detail, err := json.Marshal(map[string]string{"reason": p.Reason, "blocks": p.Blocks, "evidence": p.Evidence, "why": why})
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO events (at, kind, key, detail) VALUES (?, 'unsuppress', ?, ?)", s.millis(), key, string(detail)); err != nil {
				return err
			}
		}
		named, err := auditKey(ctx, tx, scope, key)
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, "suppressions.remove", map[string]any{"scope": scope, "key": named, "reason": reason, "removed": len(lifted)})
	})
	if err != nil {
		return nil, fmt.Errorf("remove suppression: %w", err)
	}
	return lifted, nil
}

// auditKey is a key as the audit names it: an address as its salted hash, for no row of the chain can be changed when its
// owner is forgotten. Why it was done stands in the events, from which it can be erased.
func auditKey(ctx context.Context, tx *sql.Tx, scope, key string) (string, error) {
	if scope != "address" || IsForgotten(key) {
		return key, nil
	}
	salt, err := forgetSalt(ctx, tx)
	if err != nil {
		return "", err
	}
	return "hash:" + strings.TrimPrefix(forgottenKey(salt, key), forgottenPrefix), nil
}

func lift(ctx context.Context, tx *sql.Tx, scope, key, reason string) ([]Suppression, error) {
	rows, err := tx.QueryContext(ctx, "DELETE FROM suppressions WHERE scope = ? AND key = ? AND (? = '' OR reason = ?) RETURNING scope, key, blocks, reason, evidence",
		scope, key, reason, reason)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var lifted []Suppression
	for rows.Next() {
		var p Suppression
		if err := rows.Scan(&p.Scope, &p.Key, &p.Blocks, &p.Reason, &p.Evidence); err != nil {
			return nil, err
		}
		lifted = append(lifted, p)
	}
	return lifted, rows.Err()
}
