package store

import (
	"context"
	"database/sql"
	"encoding/json"
)

// Suppression is an address or a domain that must not be mailed, and why.
type Suppression struct {
	Scope    string // address or domain
	Key      string
	Blocks   string // marketing or all
	Reason   string
	Evidence string // the reply, the report or who asked for it
	Delivery int64  // the delivery that showed it; 0: none
	Bounce   int64  // the mail that showed it; 0: none
}

// suppress adds a suppression and its event inside a transaction. One that is there already stays as it is, with its
// first evidence; then it reports false.
func (s *Store) suppress(ctx context.Context, tx *sql.Tx, p Suppression) (bool, error) {
	res, err := tx.ExecContext(ctx, `INSERT INTO suppressions (scope, key, blocks, reason, evidence, delivery, bounce, created_at)
		VALUES (?, ?, ?, ?, ?, nullif(?, 0), nullif(?, 0), ?) ON CONFLICT (scope, key, reason) DO NOTHING`,
		p.Scope, p.Key, p.Blocks, p.Reason, p.Evidence, p.Delivery, p.Bounce, s.millis())
	if err != nil {
		return false, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	detail, err := json.Marshal(map[string]string{"reason": p.Reason, "blocks": p.Blocks, "evidence": p.Evidence})
	if err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO events (at, kind, key, delivery, campaign, bounce, detail)
		VALUES (?, 'suppress', ?, nullif(?, 0), (SELECT campaign FROM deliveries WHERE id = ?), nullif(?, 0), ?)`,
		s.millis(), p.Key, p.Delivery, p.Delivery, p.Bounce, string(detail))
	return err == nil, err
}
