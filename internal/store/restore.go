package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mailer/internal/delivery"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// A backup is first copied beside the database, checked there and brought to the newest schema. What must not be lost is then carried
// over from the database as it is: who was mailed since, and who must not be mailed. At last its pages are written over those of
// the database in one transaction.
//
// Why not a rename: a process that has the old file open would go on writing to it under its new name, and a WAL that it makes by the
// old name belongs to another file then, which is how databases break. As a transaction it is all there or not at all, whenever the
// power goes, and whoever has the database open sees the new content. Only a file that SQLite cannot open at all is moved away.

// ErrInUse says that a process works on what would be replaced.
var ErrInUse = errors.New("a process is at work")

// RestoreOptions of Stage.
type RestoreOptions struct {
	Exact bool                     // carry nothing over
	Step  func(done, total int64)  // hears how many bytes of the backup are copied; may be nil
	Gone  func(holder string) bool // as Options.Gone
	Doing func(what string)        // hears what Replace does next; may be nil
}

// Restoring is a backup that can take the database's place.
type Restoring struct {
	Plan   RestorePlan
	path   string // of the database
	staged string
	o      Options
	r      RestoreOptions
}

// RestorePlan is what a restore would do.
type RestorePlan struct {
	File       string    `json:"file"`
	Made       time.Time `json:"made,omitzero"` // when the last thing happened that it knows of
	Backup     Holdings  `json:"backup"`
	Present    *Holdings `json:"present,omitempty"`    // nil: there is none, or it cannot be read
	Unreadable string    `json:"unreadable,omitempty"` // why the database cannot be read
	Same       bool      `json:"same_workspace"`
	Ancestor   bool      `json:"ancestor"` // the database has gone on from this backup
	Since
	Unfinished []string `json:"unfinished"` // campaigns that will be paused
	Planned    []string `json:"planned"`    // campaigns whose time has not come
	Keeps      bool     `json:"keeps"`      // who was mailed since, and who must not be, is carried over
}

// Since is how the database differs from the backup.
type Since struct {
	ContactsLost     int64    `json:"contacts_lost"`    // only the database has them
	ContactsBack     int64    `json:"contacts_back"`    // only the backup has them
	ContactsChanged  int64    `json:"contacts_changed"` // both do, of different times
	SuppressionsNew  int64    `json:"suppressions_new"` // only the database has them
	SuppressionsBack int64    `json:"suppressions_back"`
	Sent             int64    `json:"sent_since"` // people to whom a message left, or was tried, and the backup does not know
	Campaigns        []string `json:"campaigns_since"`
	Imports          []string `json:"imports_open"` // that are not finished: one may be running
}

// Restored is what a restore did.
type Restored struct {
	RestorePlan
	Kept         string   `json:"kept"`         // where the replaced database is
	Paused       []string `json:"paused"`       // campaigns
	Unplanned    []string `json:"unplanned"`    // campaigns whose plan is marked missed
	Suppressions int64    `json:"suppressions"` // that were carried over
	Forgotten    int64    `json:"forgotten"`    // people who were in the backup and were forgotten again
	Seconds      float64  `json:"seconds"`
}

// stageMark is between the database's name and a number in the name of a staged backup.
// keptMark is in that of a database that was replaced, before the time.
const (
	stageMark = ".restoring-"
	keptMark  = ".before-restore-"
)

// Stage copies a backup beside the database at path, checks it and compares the two. Close the result.
func Stage(ctx context.Context, path, backup string, o Options, r RestoreOptions) (*Restoring, error) {
	s := &Restoring{path: path, o: o, r: r}
	if s.o.Now == nil {
		s.o.Now = time.Now
	}
	s.r.Gone = func(holder string) bool { return r.Gone != nil && r.Gone(holder) }
	if err := registered(); err != nil {
		return nil, err
	}
	if err := s.stage(ctx, backup); err != nil {
		s.Close()
		return nil, fmt.Errorf("restore %s: %w", backup, explain(err))
	}
	return s, nil
}

// Close removes the staged copy.
func (s *Restoring) Close() {
	if s.staged != "" {
		removeDatabase(s.staged)
	}
}

func (s *Restoring) stage(ctx context.Context, backup string) error {
	file, err := filepath.Abs(backup)
	if err != nil {
		return err
	}
	own, ownErr := os.Stat(s.path)
	if there, err := os.Stat(file); err == nil && ownErr == nil && os.SameFile(own, there) {
		return fmt.Errorf("%w: it is the database itself", ErrNotBackup)
	}
	h, err := readHead(file)
	if leftovers(file) {
		h, err = head{}, nil // a copy by hand: all of it may be in its WAL, and is looked at once that is folded in
	}
	if err != nil {
		return err
	}
	if newest := schemas(); h.schema > newest {
		return fmt.Errorf("%w (schema %d, this one knows %d): update mailer", ErrNewer, h.schema, newest)
	}
	s.removeAbandoned()
	if err := s.copyIn(ctx, file); err != nil {
		return err
	}
	s.Plan = RestorePlan{File: file, Unfinished: []string{}, Planned: []string{}, Since: Since{Campaigns: []string{}, Imports: []string{}}}
	if s.Plan.Backup, err = finishCopy(ctx, s.staged, true); err != nil {
		return err
	}
	if s.Plan.Made = s.Plan.Backup.LastChange; s.Plan.Backup.LastSent.After(s.Plan.Made) {
		s.Plan.Made = s.Plan.Backup.LastSent
	}
	if err := s.look(ctx); err != nil {
		return err
	}
	return s.compare(ctx)
}

// copyIn copies the backup, and the WAL of one that was copied by hand with it.
func (s *Restoring) copyIn(ctx context.Context, file string) error {
	to, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+stageMark+"*")
	if err != nil {
		return err
	}
	defer to.Close()
	s.staged = to.Name()
	if err := copyFile(ctx, to, file, s.r.Step); err != nil {
		return err
	}
	wal, err := os.OpenFile(s.staged+"-wal", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer wal.Close()
	if err := copyFile(ctx, wal, file+"-wal", nil); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(wal.Close(), to.Close())
}

func copyFile(ctx context.Context, to *os.File, name string, step func(done, total int64)) error {
	from, err := os.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	st, err := from.Stat()
	if err != nil {
		return err
	}
	for done := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(to, from, 1<<20)
		if done += n; step != nil {
			step(done, st.Size())
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// removeAbandoned removes what killed restores left. A person restores by hand, one at a time: of two at once one fails, and the
// database is as the other leaves it.
func (s *Restoring) removeAbandoned() {
	kept := filepath.Base(s.path) + keptMark
	removeAbandoned(filepath.Dir(s.path), func(name string) bool { return strings.HasPrefix(name, kept) })
	left, err := filepath.Glob(globEscape(s.path) + stageMark + "*")
	if err != nil {
		return
	}
	for _, name := range left {
		os.Remove(name)
	}
}

func globEscape(path string) string {
	if filepath.Separator == '\\' {
		return path // a backslash escapes nothing there, and [ is rare
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// schemas is the newest schema.
func schemas() int64 {
	names, _ := fs.Glob(migrations, "migrations/*.sql") // the pattern is a good one
	return int64(len(names))
}

// look opens the database, if it can be opened, and reads what it holds. That brings it to our schema, as any command does.
func (s *Restoring) look(ctx context.Context) error {
	if _, err := os.Stat(s.path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	st, err := Open(ctx, s.path, s.o)
	if err == nil {
		var h Holdings
		h, err = holdings(ctx, st.read)
		s.Plan.Present = &h
		err = errors.Join(explain(err), st.Close())
	}
	var se *sqlite.Error
	foreign := errors.Is(err, ErrForeign) && !errors.As(err, &se) // SQLite reads it: it is a database of another program
	switch {
	case err == nil:
		return nil
	case foreign || errors.Is(err, ErrLocked) || errors.Is(err, ErrDiskFull) || errors.Is(err, ErrReadOnly) || ctx.Err() != nil:
		return err
	}
	s.Plan.Present, s.Plan.Unreadable = nil, err.Error()
	return nil
}

// openStaged opens the staged backup, brought to our schema, with the database beside it as "present" when it can be read.
func (s *Restoring) openStaged(ctx context.Context) (*Store, error) {
	o := s.o
	o.noCopy = true
	st, err := Open(ctx, s.staged, o)
	if err != nil {
		return nil, err
	}
	if s.Plan.Present != nil {
		if _, err = st.write.ExecContext(ctx, "ATTACH ? AS present", databaseURI(s.path, "mode=ro")); err != nil {
			st.Close()
			return nil, fmt.Errorf("compare with the database: %w", err)
		}
	}
	return st, nil
}

// compare says what the restore would take away and bring back.
func (s *Restoring) compare(ctx context.Context) error {
	st, err := s.openStaged(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	p := &s.Plan
	if p.Present != nil {
		if err := s.kinship(ctx, st.write); err != nil {
			return err
		}
		if err := p.Since.read(ctx, st.write); err != nil {
			return err
		}
	}
	p.Keeps = p.Present != nil && !s.r.Exact
	from := "main"
	if p.Keeps && p.Ancestor {
		from = "present"
	}
	err = eachString(ctx, st.write, func(name string) { p.Unfinished = append(p.Unfinished, name) },
		"SELECT name FROM "+from+".campaigns WHERE state = 'sending' ORDER BY id")
	if err != nil {
		return err
	}
	return eachString(ctx, st.write, func(name string) { p.Planned = append(p.Planned, name) },
		"SELECT name FROM "+from+".schedules WHERE campaign IS NULL AND state <> 'missed' ORDER BY at, id")
}

// kinship says whether both are of one workspace, and whether the database has gone on from the backup: its audit has the backup's last
// row, or tells of a restore that replaced just this file and carried over what had happened. Then every id of the backup means the same
// in both. A send leaves no row in the audit, so of a copy without one of its own (by hand, or before a restore) that is not enough: nobody
// whom the backup knows to be mailed may be unknown to the database.
func (s *Restoring) kinship(ctx context.Context, q queryer) error {
	return q.QueryRowContext(ctx, `WITH last AS (SELECT hash FROM main.audit ORDER BY id DESC LIMIT 1)
		SELECT same, same AND (NOT EXISTS (SELECT 1 FROM last)
			OR EXISTS (SELECT 1 FROM present.audit, last WHERE present.audit.hash = last.hash)
			OR EXISTS (SELECT 1 FROM present.audit, last WHERE action = ? AND json_extract(detail, '$.carried') AND json_extract(detail, '$.replaced') = last.hash))
			AND NOT EXISTS (SELECT 1 FROM main.deliveries AS b WHERE b.state IN ('accepted','failed','bounced','complained') AND NOT EXISTS (
				SELECT 1 FROM present.deliveries AS p WHERE p.id = b.id AND p.campaign = b.campaign AND p.attempts >= b.attempts))
		FROM (SELECT EXISTS (SELECT 1 FROM main.token_keys AS b, present.token_keys AS p WHERE b.version = 1 AND p.version = 1 AND b.secret = p.secret) AS same)`,
		auditRestore).Scan(&s.Plan.Same, &s.Plan.Ancestor)
}

func (c *Since) read(ctx context.Context, q queryer) error {
	err := q.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM present.contacts AS p WHERE NOT EXISTS (SELECT 1 FROM main.contacts AS b WHERE b.key = p.key)),
		(SELECT count(*) FROM main.contacts AS b WHERE NOT EXISTS (SELECT 1 FROM present.contacts AS p WHERE p.key = b.key)),
		(SELECT count(*) FROM main.contacts AS b, present.contacts AS p WHERE p.key = b.key AND p.updated_at <> b.updated_at),
		(SELECT count(*) FROM present.suppressions AS p WHERE `+notIn("main")+`),
		(SELECT count(*) FROM main.suppressions AS p WHERE `+notIn("present")+`),
		(SELECT count(*) FROM present.deliveries AS p JOIN present.campaigns AS k ON k.id = p.campaign WHERE p.attempts > 0 AND NOT EXISTS (
			SELECT 1 FROM main.campaigns AS c JOIN main.deliveries AS b ON b.campaign = c.id WHERE c.name = k.name AND b.key = p.key AND b.attempts >= p.attempts))`).
		Scan(&c.ContactsLost, &c.ContactsBack, &c.ContactsChanged, &c.SuppressionsNew, &c.SuppressionsBack, &c.Sent)
	if err != nil {
		return err
	}
	err = eachString(ctx, q, func(name string) { c.Campaigns = append(c.Campaigns, name) },
		"SELECT name FROM present.campaigns WHERE name NOT IN (SELECT name FROM main.campaigns) ORDER BY id")
	if err != nil {
		return err
	}
	return eachString(ctx, q, func(name string) { c.Imports = append(c.Imports, name) },
		"SELECT id || ' (' || source || ')' FROM present.change_sets WHERE state IN ('applying','undoing') ORDER BY id")
}

// notIn is the condition that a suppression p is not in the other database.
func notIn(other string) string {
	return "NOT EXISTS (SELECT 1 FROM " + other + ".suppressions AS o WHERE o.scope = p.scope AND o.key = p.key AND o.reason = p.reason)"
}

// Replace puts the staged backup in the place of the database. Until its last step nothing has changed.
func (s *Restoring) Replace(ctx context.Context) (Restored, error) {
	begun := s.o.Now()
	r := Restored{RestorePlan: s.Plan, Paused: []string{}, Unplanned: []string{}}
	err := s.replace(ctx, &r)
	if err != nil {
		return r, fmt.Errorf("restore %s: %w", s.Plan.File, explain(err))
	}
	r.Seconds = s.o.Now().Sub(begun).Seconds()
	return r, nil
}

func (s *Restoring) replace(ctx context.Context, r *Restored) error {
	if _, err := os.Stat(s.path); errors.Is(err, fs.ErrNotExist) {
		return s.putFile(ctx, r)
	}
	err := s.overwrite(ctx, r)
	if unopenable(err) {
		return s.putFile(ctx, r)
	}
	return err
}

// unopenable reports whether SQLite cannot begin to write to a file because of what is in it.
func unopenable(err error) bool {
	var begin *beginError
	var se *sqlite.Error
	if !errors.As(err, &begin) || !errors.As(err, &se) {
		return false
	}
	code := se.Code() & 0xff
	return code == sqlite3.SQLITE_NOTADB || code == sqlite3.SQLITE_CORRUPT
}

// beginError is what kept the transaction from beginning.
type beginError struct{ err error }

func (e *beginError) Error() string { return e.err.Error() }
func (e *beginError) Unwrap() error { return e.err }

// overwrite writes the staged pages over those of the database, in one transaction.
func (s *Restoring) overwrite(ctx context.Context, r *Restored) error {
	db, err := sql.Open("sqlite", dsn(s.path, roomOnDisk, ""))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return &beginError{err}
	}
	defer conn.Close()
	err = conn.Raw(func(driver any) error {
		b, err := driver.(copier).NewRestore(databaseURI(s.staged, "mode=rw"))
		if err != nil {
			return &beginError{err}
		}
		return endCopy(b, s.transaction(ctx, b, r))
	})
	if err != nil {
		return err
	}
	// The pages are in the WAL and on the disk. Folding them in can wait, if somebody reads.
	conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA wal_checkpoint(TRUNCATE)")
	return nil
}

// transaction takes the lock by a step that copies nothing yet. From then on nobody else writes.
func (s *Restoring) transaction(ctx context.Context, b *sqlite.Backup, r *Restored) error {
	for end := time.Now().Add(patience); ; {
		_, err := b.Step(0)
		if err == nil {
			break
		}
		if !busy(err) || time.Now().After(end) || ctx.Err() != nil {
			return &beginError{err}
		}
	}
	err := s.keep(ctx, r)
	if err == nil {
		err = s.settle(ctx, r)
	}
	if err == nil {
		s.doing("writing it over the database")
		err = stepThrough(ctx, b, nil, nil)
	}
	if err != nil && r.Kept != "" { // nothing was replaced
		os.Remove(r.Kept)
		r.Kept = ""
	}
	return err
}

func (s *Restoring) doing(what string) {
	if s.r.Doing != nil {
		s.r.Doing(what)
	}
}

// keep copies the database as it is, once nobody works on it. The lock is ours.
func (s *Restoring) keep(ctx context.Context, r *Restored) error {
	db, err := sql.Open("sqlite", databaseURI(s.path, "mode=ro&_pragma=busy_timeout(15000)"))
	if err != nil {
		return err
	}
	defer db.Close()
	if err := s.atWork(ctx, db); err != nil {
		return err
	}
	s.doing("keeping the database as it is")
	name, err := s.keptName()
	if err != nil {
		return err
	}
	if _, err = copyTo(ctx, db, name, copyOptions{check: s.Plan.Present != nil}); err == nil {
		r.Kept = name
	}
	return err
}

func (s *Restoring) keptName() (string, error) {
	stem := s.path + keptMark + s.o.Now().UTC().Format("20060102T150405")
	name := stem
	for i := 2; ; i++ {
		_, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
		name = fmt.Sprintf("%s-%d", stem, i)
	}
}

// atWork is ErrInUse while a living process holds a lease. Of a database that cannot be read nobody knows.
func (s *Restoring) atWork(ctx context.Context, q queryer) error {
	at := s.o.Now().UnixMilli()
	holders := map[string]string{}
	err := eachRow(ctx, q, func(rows *sql.Rows) error {
		var what, holder string
		err := rows.Scan(&what, &holder)
		holders[holder] = what
		return err
	}, `SELECT 'sends campaign ' || name, lease_holder FROM campaigns WHERE lease_holder <> '' AND lease_expires > ?
		UNION ALL SELECT 'begins campaign ' || name, holder FROM schedules WHERE holder <> '' AND holder_until > ?
		UNION ALL SELECT 'does ' || name, holder FROM leases WHERE expires > ?`, at, at, at)
	if err != nil && s.Plan.Present == nil {
		return nil
	}
	if err != nil {
		return err
	}
	for holder, what := range holders {
		if !s.r.Gone(holder) {
			return fmt.Errorf("%w: %s %s; wait until it is done, or stop it (mailer campaigns pause, Ctrl-C)", ErrInUse, HolderName(holder), what)
		}
	}
	return nil
}

// putFile makes the staged file the database, where there is none that SQLite can open. What has its name is moved away with its WAL, which
// must not lie beside a file that it does not belong to.
func (s *Restoring) putFile(ctx context.Context, r *Restored) error {
	if err := s.settle(ctx, r); err != nil {
		return err
	}
	if _, err := finishCopy(ctx, s.staged, true); err != nil {
		return err
	}
	kept, err := s.keptName()
	if err != nil {
		return err
	}
	_, err = os.Lstat(s.path)
	there := err == nil
	if there {
		// By a link the name is never without a file: a command that found none would make an empty database.
		if err := os.Link(s.path, kept); err != nil {
			return fmt.Errorf("keep the file that cannot be read: %w (move it away yourself and restore again)", err)
		}
		r.Kept = kept
	}
	for _, tail := range []string{"-wal", "-journal"} {
		if err := os.Rename(s.path+tail, kept+tail); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(s.path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return publish(s.staged, s.path, there)
}

// facts are the tables that say what happened in the world. A restore cannot undo it: who was mailed was mailed.
var facts = []string{"campaigns", "deliveries", "attempts", "events", "bounces", "schedules", "buckets", "paces", "warmups", "lanes",
	"dead_counts", "freezes", "held"}

// settle makes the staged backup what the database is to become.
func (s *Restoring) settle(ctx context.Context, r *Restored) error {
	s.doing("carrying over who was mailed and who must not be")
	st, err := s.openStaged(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	carried := s.Plan.Keeps && s.Plan.Ancestor
	if carried {
		if err := st.carryFacts(ctx); err != nil {
			return fmt.Errorf("carry over who was mailed: %w", err)
		}
	}
	var forgotten []string
	if s.Plan.Keeps {
		if forgotten, err = st.carrySuppressions(ctx, r, carried); err != nil {
			return fmt.Errorf("carry over who must not be mailed: %w", err)
		}
	}
	if err := st.quieten(ctx, r, s.Plan, carried); err != nil {
		return err
	}
	for _, key := range forgotten {
		if _, err := st.forget(ctx, key); err != nil {
			return fmt.Errorf("forget again who was forgotten: %w", err)
		}
		r.Forgotten++
	}
	return st.Close()
}

// carryFacts takes the tables of facts from the database. All that the backup has in them the database has too, as it became.
func (s *Store) carryFacts(ctx context.Context) error {
	// Without foreign keys a table is emptied as a whole, not row by row. They are checked below.
	if _, err := s.write.ExecContext(ctx, "PRAGMA foreign_keys = 0"); err != nil {
		return err
	}
	defer s.write.ExecContext(context.WithoutCancel(ctx), "PRAGMA foreign_keys = 1")
	return s.update(ctx, func(tx *sql.Tx) error {
		for _, table := range facts {
			for _, step := range []string{"DELETE FROM main." + table, "INSERT INTO main." + table + " SELECT * FROM present." + table} {
				if _, err := tx.ExecContext(ctx, step); err != nil {
					return fmt.Errorf("%s: %w", table, err)
				}
			}
		}
		for _, step := range []string{
			// A delivery names its contact by an id that no other may get.
			`UPDATE main.meta SET value = max(CAST(value AS INTEGER), (SELECT CAST(value AS INTEGER) FROM present.meta WHERE name = 'last_contact'))
				WHERE name = 'last_contact'`,
			"INSERT OR IGNORE INTO main.token_keys SELECT * FROM present.token_keys", // what was mailed is signed with them
			"INSERT OR IGNORE INTO main.meta SELECT * FROM present.meta WHERE name LIKE '" + lostAfter + "%'",
			"INSERT OR REPLACE INTO main.meta SELECT * FROM present.meta WHERE name = '" + nextDelivery + "'",
		} {
			if _, err := tx.ExecContext(ctx, step); err != nil {
				return err
			}
		}
		return noBrokenKeys(ctx, tx)
	})
}

func noBrokenKeys(ctx context.Context, q queryer) error {
	var n int64
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM pragma_foreign_key_check").Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("%w: %d rows name others that are not there", ErrDamaged, n)
	}
	return nil
}

// carrySuppressions adds those that the backup does not have, and returns who in the backup was forgotten since. Unless the facts were
// carried over, the deliveries and bounces that they name are not there: others will get these ids, and whoever undoes one of those must
// not lift the suppression with it.
func (s *Store) carrySuppressions(ctx context.Context, r *Restored, facts bool) (forgotten []string, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		// A hash means something only beside the salt that it was made with.
		_, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO main.meta SELECT * FROM present.meta WHERE name = 'forget_salt'")
		if err != nil {
			return err
		}
		var salted bool
		err = tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM main.meta AS m, present.meta AS p WHERE m.name = 'forget_salt' AND p.name = m.name AND p.value = m.value)").Scan(&salted)
		if err != nil {
			return err
		}
		if salted {
			if forgotten, err = forgottenSince(ctx, tx); err != nil {
				return err
			}
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO main.suppressions (scope, key, blocks, reason, evidence, delivery, bounce, created_at)
			SELECT scope, key, blocks, reason, evidence, iif(?, delivery, NULL), iif(?, bounce, NULL), created_at FROM present.suppressions AS p
			WHERE (`+notIn("main")+` OR p.blocks = 'all') AND (? OR p.reason <> 'forgotten' OR substr(p.key, 1, ?) <> ?)`+onSuppressed,
			facts, facts, salted, len(forgottenPrefix), forgottenPrefix)
		if err != nil {
			return err
		}
		r.Suppressions, err = res.RowsAffected()
		return err
	})
	return forgotten, err
}

// forgottenSince is which contacts of the backup were forgotten after it was made.
func forgottenSince(ctx context.Context, tx *sql.Tx) ([]string, error) {
	hashes := map[string]bool{}
	err := eachString(ctx, tx, func(hash string) { hashes[hash] = true },
		"SELECT key FROM present.suppressions AS p WHERE reason = 'forgotten' AND "+notIn("main"))
	if err != nil || len(hashes) == 0 {
		return nil, err
	}
	var text string
	if err := tx.QueryRowContext(ctx, "SELECT value FROM main.meta WHERE name = 'forget_salt'").Scan(&text); err != nil {
		return nil, err
	}
	salt, err := hex.DecodeString(text)
	if err != nil {
		return nil, err
	}
	var back []string
	err = eachString(ctx, tx, func(key string) {
		if hashes[forgottenKey(salt, key)] {
			back = append(back, key)
		}
	}, "SELECT key FROM main.contacts")
	return back, err
}

// quieten sees to it that nothing goes out by itself after a restore: what was unfinished is paused, a person looks at it first. Plans of
// which nobody can know whether they were carried out are missed.
func (s *Store) quieten(ctx context.Context, r *Restored, p RestorePlan, carried bool) error {
	note := "the database was restored from a backup of " + p.Made.UTC().Format(time.RFC3339) + "; "
	if carried {
		note += "who was mailed since is known"
	} else {
		note += "whoever was mailed since is not known, and is mailed again when it is resumed"
	}
	return s.update(ctx, func(tx *sql.Tx) error {
		err := eachString(ctx, tx, func(name string) { r.Paused = append(r.Paused, name) },
			"UPDATE main.campaigns SET state = 'paused', note = ? WHERE state = 'sending' RETURNING name", note)
		if err != nil {
			return err
		}
		for _, step := range []string{
			"UPDATE main.campaigns SET lease_holder = '', lease_expires = 0",
			"UPDATE main.schedules SET state = 'planned', claim = '', holder = '', holder_until = 0 WHERE state = 'begun' AND campaign IS NULL",
			"DELETE FROM main.leases",
		} {
			if _, err := tx.ExecContext(ctx, step); err != nil {
				return err
			}
		}
		if !carried {
			if err := s.breakWithThePast(ctx, tx, r); err != nil {
				return err
			}
		}
		detail := map[string]any{"file": p.File, "made": p.Made.UnixMilli(), "kept": r.Kept, "carried": carried, "paused": r.Paused}
		if p.Present != nil {
			var last string
			if err := tx.QueryRowContext(ctx, "SELECT coalesce((SELECT hash FROM present.audit ORDER BY id DESC LIMIT 1), '')").Scan(&last); err != nil {
				return err
			}
			detail["replaced"] = last
		}
		return s.audit(ctx, tx, auditRestore, detail)
	})
}

// lostAfter, with a key's version behind it, is the setting that holds the last delivery of which the restored database knows that signed
// with that key or an older one.
const lostAfter = "lost_after_"

// nextDelivery is the setting that holds the least id of the deliveries to come, where it is not the next one.
const nextDelivery = "next_delivery"

// farAhead bounds how far ids jump, at random: what was sent since a backup that is restored a second time has other ids than what is sent
// then. A few dozen of such jumps stay below the ids of messages that belong to no delivery.
const farAhead = 1 << 48

// breakWithThePast is for a restore that does not know what was sent since the backup. The ids of those deliveries will be given out
// again. A new key signs from now on, so that a late bounce of one of them is not taken for one of its namesake. When there is no new
// one any more, the ids begin anew far from theirs.
func (s *Store) breakWithThePast(ctx context.Context, tx *sql.Tx, r *Restored) error {
	err := eachString(ctx, tx, func(name string) { r.Unplanned = append(r.Unplanned, name) },
		"UPDATE main.schedules SET state = 'missed' WHERE campaign IS NULL AND state <> 'missed' RETURNING name")
	if err != nil {
		return err
	}
	var version, last int64
	err = tx.QueryRowContext(ctx, "SELECT (SELECT max(version) FROM main.token_keys), (SELECT coalesce(max(id), 0) FROM main.deliveries)").Scan(&version, &last)
	if err != nil {
		return err
	}
	if version >= delivery.MaxKeys {
		_, err = tx.ExecContext(ctx, "INSERT INTO main.meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
			nextDelivery, strconv.FormatInt(last+1+farAhead/2+rand.Int64N(farAhead/2), 10))
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO main.meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
		lostAfter+strconv.FormatInt(version, 10), strconv.FormatInt(last, 10))
	if err != nil {
		return err
	}
	return s.newTokenKey(ctx, tx, int(version+1))
}

// jump moves the deliveries of a new campaign, which nobody knows yet, to the ids that are set aside for those to come.
func jump(ctx context.Context, tx *sql.Tx, campaign int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE deliveries SET id = id + m.value - first FROM
			(SELECT CAST(value AS INTEGER) AS value, (SELECT min(id) FROM deliveries WHERE campaign = ?) AS first FROM meta WHERE name = ?) AS m
		WHERE campaign = ? AND first < m.value`, campaign, nextDelivery, campaign)
	return err
}

// lost reports whether a mail is about a delivery that a restored database does not know, though another has its id by now.
func lost(c cleaner, m ReadMail) (bool, error) {
	for _, t := range m.Verdict.Tokens {
		version := delivery.Version(t.Text)
		gone, err := c.number(`SELECT EXISTS (SELECT 1 FROM meta WHERE name >= ? AND name <= ? AND CAST(value AS INTEGER) < ?)`,
			lostAfter+strconv.Itoa(version), lostAfter+"9", m.Delivery)
		if err != nil || gone != 0 {
			return gone != 0, err
		}
	}
	return false, nil
}
