package store

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"strings"
	"sync"
)

// Counting a condition over a million contacts is reading a million rows of JSON, which is work for every core: the
// contacts are cut into stretches of ids, and as many connections as there are cores count one after the other. Each
// stretch is as it was when its turn came, which of a list that is being imported is as true as any other moment.
//
// A page cache would not do: SQLite guards that of all connections by one lock, over which two readers are slower than
// one. They read the file through the memory map instead, for as long as they count.

// sizes are the numbers of contacts at which something else is done. They are a field so that a test need not make a
// hundred thousand people.
type sizes struct {
	apart   int64 // fewer are counted by one connection
	stretch int64 // ids that a connection counts at a time
	large   int64 // fewer need no index: they are read in a tenth of a second
	rewrite int64 // more are not rewritten beside a running send: it would wait for half a second and longer
}

var usual = sizes{apart: 50_000, stretch: 50_000, large: 100_000, rewrite: 20_000}

// mapped is how many bytes of the file are mapped at most (SQLITE_MAX_MMAP_SIZE is 2^31).
const mapped = 2_000_000_000

// count reads columns (aggregates that can be added up) over the contacts in w. step, which may be nil, hears how far it is.
func (s *Store) count(ctx context.Context, columns string, n int, args []any, w Where, step func(done, total int64)) ([]int64, error) {
	var first, last int64
	// Each alone is a step to one end of the table; together SQLite reads all of it.
	err := s.read.QueryRowContext(ctx, "SELECT coalesce((SELECT min(id) FROM contacts), 0), coalesce((SELECT max(id) FROM contacts), 0)").Scan(&first, &last)
	if err != nil {
		return nil, explain(err)
	}
	w, single, err := s.quicken(ctx, w)
	if err != nil {
		return nil, explain(err)
	}
	query := "SELECT " + quick(columns, nil) + " FROM contacts AS c"
	workers := min(runtime.GOMAXPROCS(0), readers)
	if single || workers == 1 || last-first < s.sizes.apart || strings.Contains(columns, "IN (SELECT") {
		got := make([]int64, n)
		return got, explain(scanAll(s.read.QueryRowContext(ctx, query+w.clause(), join(args, w.Args)...), got))
	}
	query += " WHERE c.id >= ? AND c.id < ?"
	if w.SQL != "" {
		query += " AND (" + w.SQL + ")"
	}
	starts := make(chan int64)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c := &counters{stretch: s.sizes.stretch, total: make([]int64, n), stop: stop, all: last - first + 1, step: step}
	for range workers {
		c.running.Go(func() { c.work(ctx, s.read, query, args, w.Args, starts) })
	}
	for at := first; at <= last; at += s.sizes.stretch {
		select {
		case starts <- at:
		case <-ctx.Done():
			at = last
		}
	}
	close(starts)
	c.running.Wait()
	if c.err != nil {
		return nil, explain(c.err)
	}
	return c.total, context.Cause(ctx)
}

// join is both arguments in one new slice: several readers append to it.
func join(a, b []any) []any { return append(append(make([]any, 0, len(a)+len(b)), a...), b...) }

// counters adds up what the connections count.
type counters struct {
	running sync.WaitGroup
	stop    func()
	stretch int64

	all  int64
	step func(done, total int64)

	mu    sync.Mutex
	done  int64
	total []int64
	err   error // the first
}

func (c *counters) work(ctx context.Context, db *sql.DB, query string, before, after []any, starts <-chan int64) {
	err := withMap(ctx, db, func(conn *sql.Conn) error {
		stmt, err := conn.PrepareContext(ctx, query)
		if err != nil {
			return err
		}
		defer stmt.Close()
		got := make([]int64, len(c.total))
		for at := range starts {
			args := append(join(before, []any{at, at + c.stretch}), after...)
			if err := scanAll(stmt.QueryRowContext(ctx, args...), got); err != nil {
				return err
			}
			c.mu.Lock()
			for i, n := range got {
				c.total[i] += n
			}
			if c.done = min(c.done+c.stretch, c.all); c.step != nil {
				c.step(c.done, c.all)
			}
			c.mu.Unlock()
		}
		return nil
	})
	if err == nil {
		return
	}
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.stop()
}

// withMap runs fn on a connection that reads the file through the memory map, and leaves the connection as it was.
func withMap(ctx context.Context, db *sql.DB, fn func(*sql.Conn) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA mmap_size = %d", mapped)); err != nil {
		return err
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA mmap_size = 0")
	return fn(conn)
}
