package store

import (
	"context"
	"database/sql"
	"encoding/json"
)

// What SQLite and PostgreSQL say differently, besides the pragmas of store.go.

// insertOrIgnore begins an INSERT that passes over rows whose unique key is taken (PostgreSQL: ON CONFLICT DO NOTHING behind the
// rows, which SQLite understands too). In this form no row can make the statement fail halfway, so SQLite keeps no copy of the pages
// that it touches: a third of the time of an import in random order.
const insertOrIgnore = "INSERT OR IGNORE"

// listed is a list that is one argument (asList), whatever its length. The driver looks for each argument among all, so thousands
// would take longer than the query. (PostgreSQL: SELECT jsonb_array_elements_text(?).)
const listed = "(SELECT value FROM json_each(?))"

// asList is for lists of strings and numbers, which always marshal.
func asList(list any) string {
	b, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// execer is what writes the same through the pool and from within a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// ignoreChecks turns the CHECKs of tables off, or on again, for this connection. (PostgreSQL has no need of it.)
func ignoreChecks(ctx context.Context, db execer, on bool) error {
	pragma := "PRAGMA ignore_check_constraints = 0"
	if on {
		pragma = "PRAGMA ignore_check_constraints = 1"
	}
	_, err := db.ExecContext(ctx, pragma)
	return err
}

// spillToDisk lets a statement that touches most pages of the file put aside in a temporary file what it would undo, instead of in
// memory: freezing 50,000 people beside a million older deliveries took 100 MB for that, and takes as long without. It returns what
// turns it off again.
func spillToDisk(ctx context.Context, db execer) (back func(), err error) {
	if _, err := db.ExecContext(ctx, "PRAGMA temp_store = FILE"); err != nil {
		return nil, err
	}
	return func() { db.ExecContext(context.WithoutCancel(ctx), "PRAGMA temp_store = MEMORY") }, nil
}

// bulkCheckpoint lets the WAL grow to 80 MB before it is folded in. Addresses in no order touch most pages of their index in every
// transaction, and each page is copied once a checkpoint. It holds for as long as the connection does, that is for an import.
const bulkCheckpoint = "PRAGMA wal_autocheckpoint = 20000"

// bulkRows is how many rows a transaction has when nobody else is in a hurry.
const bulkRows = 2000
