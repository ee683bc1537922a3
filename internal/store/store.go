// Package store keeps everything that mailer knows in one SQLite file: contacts, suppressions, campaigns, a row for
// each delivery, bounces, and who did what. It is the only package that holds SQL.
//
// One file, so that a bounce, its delivery and its suppression commit together. One connection writes, in BEGIN
// IMMEDIATE transactions, and a run has one of its own (direct.go); a separate pool reads, so that a long report never waits
// for a running send. Other processes may have the same file open: WAL and the busy timeout order them, and nothing here
// relies on being alone.
//
// Why synchronous=FULL: the outcome of a message that has left cannot be had again. A power cut that took a committed
// row with it would send that message twice.
package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/provider"
	"mailer/internal/suppression"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// applicationID marks a database file as ours ("MLR1"), so that a foreign file is refused instead of migrated.
const applicationID = 0x4d4c5231

// readers is how many connections read beside the one that writes.
const readers = 4

// Options of Open. The zero value is what a command wants.
type Options struct {
	Now   func() time.Time         // the clock; time.Now when nil
	Actor string                   // who writes the audit rows; user@host when empty
	Gone  func(holder string) bool // whether the process behind a lease has ended; nil: it may live until the lease is over

	Policy    *suppression.Policy // how the list is cleaned; nil: suppression.DefaultPolicy
	Providers provider.Table      // whose domains are one provider's

	Look bool // only look: make no file, leave its mode as it is, and bring it to no newer schema (ErrOlder)

	noCopy bool // no copy before a migration: the file is a copy itself
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	path  string
	write *sql.DB // one connection, BEGIN IMMEDIATE
	read  *sql.DB
	clock func() time.Time
	actor string
	sizes sizes

	policy    suppression.Policy
	providers provider.Table
	bursts    bursts
	noCopy    bool
	look      bool

	mu      sync.Mutex
	directs map[*direct]bool
}

// Errors that the caller tells apart.
var (
	ErrForeign  = errors.New("not a database of mailer")
	ErrNewer    = errors.New("the database was written by a newer mailer")
	ErrOlder    = errors.New("the database has an older schema: the next command that works on it brings it to the newest")
	ErrDamaged  = errors.New("the database file is damaged")
	ErrLocked   = errors.New("the database is locked by another program")
	ErrDiskFull = errors.New("no space left for the database")
	ErrReadOnly = errors.New("the database cannot be written")
)

// Open opens the database at path, creates it when there is none, checks it after a crash and brings it to the newest
// schema. A copy of the file is made before a migration runs.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Actor == "" {
		o.Actor = actor()
	}
	if err := registered(); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	there := createPrivate
	if o.Look {
		there = func(path string) error { _, err := os.Stat(path); return err }
	}
	if err := there(path); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	s := &Store{path: path, clock: o.Now, actor: o.Actor, sizes: usual, policy: suppression.DefaultPolicy(), providers: o.Providers, noCopy: o.noCopy, look: o.Look}
	if o.Policy != nil {
		s.policy = *o.Policy
	}
	var err error
	if leftovers(path) {
		if err = s.checkAfterCrash(ctx, o.Gone); err != nil {
			return nil, fmt.Errorf("open database %s: %w", path, explain(err))
		}
	}
	if s.write, err = sql.Open("sqlite", dsn(path, roomInMemory, "&_txlock=immediate")); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	s.write.SetMaxOpenConns(1)
	if s.read, err = sql.Open("sqlite", dsn(path, roomOnDisk, "&_pragma=query_only(1)")); err != nil {
		s.write.Close()
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	s.read.SetMaxOpenConns(readers)
	if err := s.prepare(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("open database %s: %w", path, explain(err))
	}
	return s, nil
}

// Close closes all connections. The last process to close folds the WAL into the file.
func (s *Store) Close() error {
	var err error
	s.mu.Lock()
	for d := range s.directs {
		err = errors.Join(err, d.drop())
	}
	s.mu.Unlock()
	return errors.Join(err, s.read.Close(), s.write.Close())
}

// dsn puts the pragmas where every connection of a pool gets them: a pragma that is run once on a pool is off on its
// other connections. The name is an URI, so a path with ? or # must be escaped.
func dsn(path, room, more string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=busy_timeout(15000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)" +
		room + more
}

// Where a connection keeps pages (KiB of them) and what it sorts. One that reads counts an audience of a million by sorting it, which
// would take 100 MB of memory and is no faster there. (The driver sets a pragma that is given twice in an order of its own.)
const (
	roomInMemory = "&_pragma=cache_size(-24576)&_pragma=temp_store(MEMORY)"
	roomOnDisk   = "&_pragma=cache_size(-8192)&_pragma=temp_store(FILE)"
)

// createPrivate makes an empty file of mode 0600 when there is none (addresses are personal data), and narrows the mode
// of one that is wider.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return f.Chmod(0o600)
	}
	return nil
}

// leftovers reports whether a process ended without closing the database: the last one to close removes the WAL.
func leftovers(path string) bool {
	st, err := os.Stat(path + "-wal")
	return err == nil && st.Size() > 0
}

func (s *Store) prepare(ctx context.Context) error {
	var id, version int64
	if err := s.write.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if err := s.write.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	var tables int
	if err := s.write.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&tables); err != nil {
		return err
	}
	if id != applicationID && tables > 0 {
		return fmt.Errorf("%w (move it away, or point the workspace at another folder)", ErrForeign)
	}
	if s.look && version < schemas() {
		return ErrOlder
	}
	return s.migrate(ctx, migrations, version)
}

// checkAfterCrash reads the whole file for damage (a torn page, a bad sector) before anything is written on top of it. Its
// connection cannot write, so that it does not fold the WAL in when it closes: what is damaged stays as it was, and the
// next command finds it too.
func (s *Store) checkAfterCrash(ctx context.Context, gone func(holder string) bool) error {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: s.path}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(15000)")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var id int64
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if id != applicationID || s.inUse(ctx, db, gone) {
		return nil
	}
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s (restore a backup, or take the data out with the sqlite3 command's .recover)", ErrDamaged, verdict)
	}
	return nil
}

// inUse reports whether a campaign is being sent right now: then the WAL is there because of a living process, and a
// check of the whole file would only delay this one.
func (s *Store) inUse(ctx context.Context, db *sql.DB, gone func(holder string) bool) bool {
	rows, err := db.QueryContext(ctx, "SELECT lease_holder FROM campaigns WHERE lease_holder <> '' AND lease_expires > ?", s.millis())
	if err != nil {
		return false
	}
	defer rows.Close()
	for rows.Next() {
		var holder string
		if rows.Scan(&holder) == nil && (gone == nil || !gone(holder)) {
			return true
		}
	}
	return false
}

// now is the injected clock.
func (s *Store) now() time.Time { return s.clock() }

func (s *Store) millis() int64 { return s.clock().UnixMilli() }

// update runs fn in the one writing transaction. fn must not keep tx. The context ends a wait for the lock, but a commit
// that has begun is finished.
func (s *Store) update(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := s.begin(ctx)
	if err != nil {
		return explain(err)
	}
	if err := fn(tx); err != nil {
		tx.Rollback()
		return explain(err)
	}
	return explain(tx.Commit())
}

const (
	patience = 15 * time.Second // how long a transaction waits for the lock

	setAsking = "PRAGMA busy_timeout = 10" // milliseconds that SQLite waits of it at a time
)

// begin waits for the lock. SQLite asks at ever longer intervals, at last ten times a second, and a busy send leaves the
// lock free for moments only: a pause or an unsubscribe would wait for seconds. Begun anew, the wait asks often.
//
// The pragma is not in the DSN, because opening has statements of its own that wait; and it is set each time, because a
// context that ends in a wait makes database/sql open the connection anew, whose wait no context could end.
func (s *Store) begin(ctx context.Context) (*sql.Tx, error) {
	for end := time.Now().Add(patience); ; {
		if _, err := s.write.ExecContext(ctx, setAsking); err != nil {
			return nil, err
		}
		tx, err := s.write.BeginTx(ctx, nil)
		if err != nil && ctx.Err() != nil {
			return nil, ctx.Err() // the driver calls it "interrupted"
		}
		var se *sqlite.Error
		if !errors.As(err, &se) || se.Code()&0xff != sqlite3.SQLITE_BUSY || time.Now().After(end) {
			return tx, err
		}
	}
}

// timed is update, and says how long the lock was held: what a long write takes from a running send. The wait for the
// lock is not in it.
func (s *Store) timed(ctx context.Context, fn func(tx *sql.Tx) error) (held time.Duration, err error) {
	var began time.Time
	err = s.update(ctx, func(tx *sql.Tx) error {
		began = time.Now()
		return fn(tx)
	})
	if began.IsZero() {
		return 0, err
	}
	return time.Since(began), err
}

// explain turns SQLite's result codes (https://www.sqlite.org/rescode.html) into errors that say what to do.
func explain(err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return err
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w: close it there and run the same command again (%w)", ErrLocked, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: free some and run the same command again, it goes on where it stopped (%w)", ErrDiskFull, err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("%w: check the rights of the file and its folder (%w)", ErrReadOnly, err)
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w (%w)", ErrForeign, err)
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w: restore a backup, or take the data out with the sqlite3 command's .recover (%w)", ErrDamaged, err)
	case sqlite3.SQLITE_IOERR:
		return fmt.Errorf("read or write the database: is the disk full or failing? (%w)", err)
	}
	return err
}

// TokenKeys returns the keys that sign and verify this workspace's tokens, made with the database.
func (s *Store) TokenKeys(ctx context.Context) (delivery.Keys, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT version, secret FROM token_keys")
	if err != nil {
		return nil, fmt.Errorf("read token keys: %w", explain(err))
	}
	defer rows.Close()
	keys := delivery.Keys{}
	for rows.Next() {
		var v int
		var secret []byte
		if err := rows.Scan(&v, &secret); err != nil {
			return nil, fmt.Errorf("read token keys: %w", err)
		}
		keys[v] = secret
	}
	return keys, rows.Err()
}

// newTokenKey makes a key: the first of a new database, or the next one.
func (s *Store) newTokenKey(ctx context.Context, tx *sql.Tx, version int) error {
	secret := make([]byte, 32)
	rand.Read(secret)
	_, err := tx.ExecContext(ctx, "INSERT INTO token_keys (version, secret, created_at) VALUES (?, ?, ?)", version, secret, s.millis())
	return err
}

// ErrNoMoreKeys says that the digit of a token that names its key has no other value left.
var ErrNoMoreKeys = errors.New("the token key was rotated as often as tokens can tell")

// RotateTokenKey makes a new key, which signs from the next run on. The old ones still verify: bounces of what they have signed keep
// coming. It returns the new key's version.
func (s *Store) RotateTokenKey(ctx context.Context) (version int, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "SELECT max(version) + 1 FROM token_keys").Scan(&version); err != nil {
			return err
		}
		if version > delivery.MaxKeys {
			return ErrNoMoreKeys
		}
		if err := s.newTokenKey(ctx, tx, version); err != nil {
			return err
		}
		return s.audit(ctx, tx, "tokens.rotate", map[string]any{"version": version})
	})
	return version, wrap("rotate the token key", err)
}

// audit appends one row to the chained history: whoever changes an old row breaks every hash after it.
func (s *Store) audit(ctx context.Context, tx *sql.Tx, action string, detail any) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	var prev string
	err = tx.QueryRowContext(ctx, "SELECT hash FROM audit ORDER BY id DESC LIMIT 1").Scan(&prev)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	at := s.millis()
	_, err = tx.ExecContext(ctx, "INSERT INTO audit (at, actor, action, detail, prev, hash) VALUES (?, ?, ?, ?, ?, ?)",
		at, s.actor, action, string(text), prev, auditHash(at, s.actor, action, string(text), prev))
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	return nil
}

func auditHash(at int64, actor, action, detail, prev string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s\x00%s\x00%s", at, actor, action, detail, prev))
	return hex.EncodeToString(sum[:])
}

// actor names the person or job behind a change, as user@host.
func actor() string {
	user := os.Getenv("USER")
	if user == "" {
		user = os.Getenv("LOGNAME")
	}
	if user == "" {
		user = "uid" + fmt.Sprint(os.Getuid())
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return user + "@" + host
}

// placeholders is "?, ?, ?" n times. Numbered ones would cost SQLite half as much again in bulk.
func placeholders(n int) string {
	return strings.TrimSuffix(strings.Repeat("?, ", n), ", ")
}

func timeOf(millis int64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(millis)
}
