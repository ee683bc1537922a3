package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// direct is a writing connection of a run's own, without database/sql between: a third of what a message costs in the store was
// spent there, on a goroutine and two contexts a transaction, on locks and conversions. To the pool it is like another process.
//
// Its statements are compiled once and kept by their text, which must therefore be one of few. It is for one goroutine at a time.
type direct struct {
	s        *Store
	conn     driver.Conn // nil: not open
	stmts    map[string]statement
	args     []driver.NamedValue
	patience time.Duration // how long a transaction waits for the lock
}

type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// directCache is the cache of pages in KiB. A send goes through its rows in their order and needs few at a time. A large cache costs:
// when a page splits SQLite looks through all of it.
const directCache = "PRAGMA cache_size = -8192"

// direct makes a connection that opens when it is needed, and that ends with the store at the latest: one left open would keep the
// WAL from being folded in.
func (s *Store) direct(patience time.Duration) *direct {
	d := &direct{s: s, patience: patience}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.directs == nil {
		s.directs = map[*direct]bool{}
	}
	s.directs[d] = true
	return d
}

// Close closes the connection for good.
func (d *direct) Close() error {
	d.s.mu.Lock()
	delete(d.s.directs, d)
	d.s.mu.Unlock()
	return d.drop()
}

// drop closes the connection; the next transaction opens it anew. What was not committed is rolled back.
func (d *direct) drop() error {
	if d.conn == nil {
		return nil
	}
	var err error
	for _, stmt := range d.stmts {
		stmt.Close() // it tells again what its last execution told
	}
	d.stmts = nil
	err, d.conn = d.conn.Close(), nil
	return err
}

func (d *direct) open() error {
	if d.conn != nil {
		return nil
	}
	conn, err := d.s.write.Driver().Open(dsn(d.s.path, roomOnDisk, "")) // the burst of a provider is counted by sorting all recipients
	if err != nil {
		return err
	}
	d.conn, d.stmts = conn, map[string]statement{}
	for _, pragma := range []string{setAsking, directCache} {
		if _, err := d.exec(pragma); err != nil {
			return errors.Join(err, d.drop())
		}
	}
	return nil
}

// update runs fn in a writing transaction, as Store.update does. The context ends only the wait for the lock.
func (d *direct) update(ctx context.Context, fn func() error) error {
	if err := d.begin(ctx); err != nil {
		return explain(err)
	}
	err := fn()
	if err == nil {
		if _, err = d.exec("COMMIT"); err == nil {
			return nil
		}
	}
	if _, undo := d.exec("ROLLBACK"); undo != nil {
		d.drop() // SQLite ends some transactions itself, when the disk is full for one: begin afresh
	}
	return explain(err)
}

// begin waits for the lock, see Store.begin. To freeze a campaign of some millions takes longer than others wait; as nobody can take
// a lease meanwhile, a run may wait for as long as its own lasts.
func (d *direct) begin(ctx context.Context) error {
	for end := time.Now().Add(d.patience); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.open(); err != nil {
			return err
		}
		_, err := d.exec("BEGIN IMMEDIATE")
		var se *sqlite.Error
		if !errors.As(err, &se) || se.Code()&0xff != sqlite3.SQLITE_BUSY || time.Now().After(end) {
			return err
		}
	}
}

// ExecContext makes it an execer. The statement is not interrupted when the context ends.
func (d *direct) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := d.prepare(query, args)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(context.Background(), d.args)
}

// exec returns how many rows were changed.
func (d *direct) exec(query string, args ...any) (int64, error) {
	res, err := d.ExecContext(context.Background(), query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// query calls fn for each row; fn must not keep it.
func (d *direct) query(fn func(row []driver.Value) error, query string, args ...any) (err error) {
	stmt, err := d.prepare(query, args)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(context.Background(), d.args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := fn(row); err != nil {
			return err
		}
	}
}

// prepare finds or compiles a statement, and puts the arguments where the driver wants them.
func (d *direct) prepare(query string, args []any) (statement, error) {
	d.args = d.args[:0]
	for i, arg := range args {
		v, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return nil, err
		}
		d.args = append(d.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	if stmt, ok := d.stmts[query]; ok {
		return stmt, nil
	}
	compiled, err := d.conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	stmt, ok := compiled.(statement)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver's %T takes no context", compiled), compiled.Close())
	}
	d.stmts[query] = stmt
	return stmt, nil
}
