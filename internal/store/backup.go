package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// A backup is a copy of the whole database in one file, made page by page (https://www.sqlite.org/backup.html) while others write.
//
// The copy reads one snapshot from its first page to its last. Without one, SQLite begins it anew whenever somebody has committed,
// which beside a send is always. A snapshot holds nobody up; only the WAL grows while it is held. VACUUM INTO needs three to five times as
// long, because it writes every row and every index anew, and cannot tell how far it is.

// Errors of backups.
var (
	ErrThere      = errors.New("the file is there already")
	ErrNotBackup  = errors.New("not a backup of mailer")
	ErrIncomplete = errors.New("the file is incomplete")
)

// BackupOptions of Backup.
type BackupOptions struct {
	Force bool                    // replace an older backup of that name
	Step  func(done, total int64) // hears how many pages are copied; may be nil
}

// Backup is a copy that was made.
type Backup struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
	Holdings
}

// Holdings is what a database holds, as people compare two of them.
type Holdings struct {
	Schema       int64     `json:"schema"`
	Contacts     int64     `json:"contacts"`
	Suppressions int64     `json:"suppressions"`
	Campaigns    int64     `json:"campaigns"`
	Deliveries   int64     `json:"deliveries"`
	LastSent     time.Time `json:"last_sent,omitzero"` // when a message left last, or was settled
	LastChange   time.Time `json:"last_change,omitzero"`
}

// holdings reads them; the columns are those of the first schema.
func holdings(ctx context.Context, q queryer) (Holdings, error) {
	var h Holdings
	var sent, change int64
	err := q.QueryRowContext(ctx, `SELECT (SELECT user_version FROM pragma_user_version),
		(SELECT count(*) FROM contacts), (SELECT count(*) FROM suppressions), (SELECT count(*) FROM campaigns), (SELECT count(*) FROM deliveries),
		(SELECT coalesce(max(updated_at), 0) FROM deliveries WHERE attempts > 0), (SELECT coalesce(max(at), 0) FROM audit)`).
		Scan(&h.Schema, &h.Contacts, &h.Suppressions, &h.Campaigns, &h.Deliveries, &sent, &change)
	h.LastSent, h.LastChange = timeOf(sent), timeOf(change)
	return h, err
}

// Backup copies the database to path. The file has its name only once it is whole, checked and on the disk; until then it stands
// beside it with ".part-" and a number behind the name.
func (s *Store) Backup(ctx context.Context, path string, o BackupOptions) (Backup, error) {
	b, err := s.backup(ctx, path, o)
	if err != nil {
		return b, fmt.Errorf("back up to %s: %w", path, explain(err))
	}
	err = s.update(ctx, func(tx *sql.Tx) error {
		return s.audit(ctx, tx, auditBackup, map[string]any{"file": b.File, "bytes": b.Bytes, "contacts": b.Contacts, "made": s.millis()})
	})
	if err != nil {
		return b, fmt.Errorf("note the backup, which is whole: %w", err)
	}
	return b, nil
}

// auditBackup and auditRestore are the actions under which the audit notes them.
const (
	auditBackup  = "database.backup"
	auditRestore = "database.restore"
)

func (s *Store) backup(ctx context.Context, path string, o BackupOptions) (Backup, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Backup{}, err
	}
	if err := s.mayWrite(path, o.Force); err != nil {
		return Backup{}, err
	}
	removeAbandoned(filepath.Dir(path), func(name string) bool { return name == filepath.Base(path) || datedBackup.MatchString(name) })
	return copyTo(ctx, s.read, path, copyOptions{replace: o.Force, check: true, step: o.Step})
}

// mayWrite looks at what is in the place of a backup. Of files that are there only older backups are replaced.
func (s *Store) mayWrite(path string, force bool) error {
	for _, tail := range []string{"-wal", "-shm", "-journal"} {
		if path == s.path+tail {
			return fmt.Errorf("%w: it belongs to the database itself", ErrThere)
		}
	}
	there, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if own, err := os.Stat(s.path); err == nil && os.SameFile(own, there) {
		return fmt.Errorf("%w: it is the database itself", ErrThere)
	}
	if !force {
		return fmt.Errorf("%w: take another name, or replace it with --force", ErrThere)
	}
	if _, err := readHead(path); err != nil && there.Size() > 0 {
		return fmt.Errorf("%w, so --force does not replace it: %w", ErrThere, err)
	}
	return nil
}

type copyOptions struct {
	replace bool // what has the name
	check   bool // whether what was copied is whole; a damaged database is kept as it is
	step    func(done, total int64)
}

// copyTo copies what db reads to path.
func copyTo(ctx context.Context, db *sql.DB, path string, o copyOptions) (b Backup, err error) {
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+partMark+"*") // mode 0600
	if err != nil {
		return b, err
	}
	defer func() {
		part.Close()
		removeDatabase(part.Name())
	}()
	had, err := copyPages(ctx, db, part, o)
	if err != nil {
		return b, err
	}
	if b.Holdings, err = finishCopy(ctx, part.Name(), o.check); err != nil {
		return b, err
	}
	if o.check && b.Holdings != had {
		return b, fmt.Errorf("%w: the copy holds %+v, the database %+v", ErrDamaged, b.Holdings, had)
	}
	if err := part.Sync(); err != nil {
		return b, err
	}
	st, err := part.Stat()
	if err != nil {
		return b, err
	}
	b.File, b.Bytes = path, st.Size()
	part.Close() // Windows renames no open file
	return b, publish(part.Name(), path, o.replace)
}

const (
	partMark   = ".part-"
	pagesAStep = 256  // 1 MB: an end of the context is noticed at once
	syncEvery  = 8192 // pages; dirty ones that pile up would hold up the sync of a send's next commit
)

// copyPages copies one snapshot, and returns what it holds.
func copyPages(ctx context.Context, db *sql.DB, part *os.File, o copyOptions) (had Holdings, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return had, err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		return had, err
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	if o.check {
		had, err = holdings(ctx, conn)
	} else {
		var tables int // what begins the snapshot; a damaged schema cannot be read, its pages can
		conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&tables)
	}
	if err != nil {
		return had, err
	}
	// Nobody reads the copy before it is whole: it needs neither a journal nor a sync by SQLite.
	to := databaseURI(part.Name(), "_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=locking_mode(EXCLUSIVE)")
	return had, conn.Raw(func(driver any) error {
		b, err := driver.(copier).NewBackup(to)
		if err != nil {
			return err
		}
		return endCopy(b, stepThrough(ctx, b, part.Sync, o.step))
	})
}

// copier is a connection of the driver.
type copier interface {
	NewBackup(to string) (*sqlite.Backup, error)
	NewRestore(from string) (*sqlite.Backup, error)
}

// endCopy ends a copy, and rolls it back unless all of it was copied. It tells an error of a step again.
func endCopy(b *sqlite.Backup, err error) error {
	if end := b.Finish(); err == nil {
		return end
	}
	return err
}

// stepThrough copies all pages. After the last one the copy is committed.
func stepThrough(ctx context.Context, b *sqlite.Backup, sync func() error, step func(done, total int64)) error {
	for done, synced := 0, 0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := b.Step(pagesAStep)
		if err != nil {
			return err
		}
		done = b.PageCount() - b.Remaining()
		if step != nil {
			step(int64(done), int64(b.PageCount()))
		}
		if !more {
			return nil
		}
		if done-synced >= syncEvery && sync != nil {
			if err := sync(); err != nil {
				return err
			}
			synced = done
		}
	}
}

// finishCopy makes a copy a file that stands alone, without a WAL, and checks it.
func finishCopy(ctx context.Context, path string, check bool) (Holdings, error) {
	db, err := sql.Open("sqlite", databaseURI(path, "_pragma=locking_mode(EXCLUSIVE)&_pragma=synchronous(FULL)&mode=rw"))
	if err != nil {
		return Holdings{}, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "PRAGMA journal_mode = DELETE"); err != nil && check {
		return Holdings{}, err
	}
	if !check {
		return Holdings{}, nil
	}
	if err := checkWhole(ctx, db); err != nil {
		return Holdings{}, err
	}
	h, err := holdings(ctx, db)
	return h, errors.Join(err, db.Close())
}

// checkWhole is the quick check of a whole file, and that it is ours.
func checkWhole(ctx context.Context, db queryer) error {
	var id int64
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if id != applicationID {
		return ErrForeign
	}
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, verdict)
	}
	return nil
}

// publish gives a finished file its name, so that the name means the whole file even after a power cut.
func publish(part, path string, replace bool) error {
	if !replace {
		// A link never replaces anything. Where there are none (FAT, some network drives) a file that came this moment is replaced.
		err := os.Link(part, path)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: it was made a moment ago", ErrThere)
		}
		if err == nil {
			return errors.Join(os.Remove(part), syncFolder(filepath.Dir(path)))
		}
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes names last. Windows has no such call and does it by itself.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	// Some network drives refuse it; what was renamed is there all the same.
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}

func databaseURI(path, query string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query
}

// removeDatabase removes a file and what SQLite may have left beside it.
func removeDatabase(path string) {
	for _, tail := range []string{"", "-wal", "-shm", "-journal"} {
		os.Remove(path + tail)
	}
}

// datedBackup is the name of a backup in a folder, anyPart of a copy that is being made.
var (
	datedBackup = regexp.MustCompile(`^mailer-(\d{4}-\d\d-\d\dT\d{4})(?:-(\d+))?\.db$`)
	anyPart     = regexp.MustCompile(`^(.+)\.part-\d+$`)
)

// removeAbandoned removes the parts that killed copies left in a folder, of names that are mine. One that is being made is locked, but
// for a moment at its beginning.
func removeAbandoned(dir string, mine func(name string) bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // whoever writes there will say why not
	}
	for _, e := range entries {
		m := anyPart.FindStringSubmatch(e.Name())
		if m == nil || !mine(m[1]) {
			continue
		}
		part := filepath.Join(dir, e.Name())
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandonedAfter && !locked(part) {
			removeDatabase(part)
		}
	}
}

const abandonedAfter = 10 * time.Second

// locked reports whether a process has a database open for itself.
func locked(path string) bool {
	db, err := sql.Open("sqlite", databaseURI(path, "mode=rw&_pragma=busy_timeout(0)"))
	if err != nil {
		return false
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.Exec("BEGIN EXCLUSIVE")
	return busy(err)
}

func busy(err error) bool {
	var se *sqlite.Error
	return errors.As(err, &se) && se.Code()&0xff == sqlite3.SQLITE_BUSY
}

// NewBackupName is the name of a backup that is made in a folder at a time, in the time's zone: free, but for another process that
// takes it this moment.
func NewBackupName(dir string, at time.Time) string {
	stem := filepath.Join(dir, at.Format("mailer-2006-01-02T1504"))
	name := stem + ".db"
	for i := 2; ; i++ {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name
		}
		name = fmt.Sprintf("%s-%d.db", stem, i)
	}
}

// PruneBackups removes the oldest dated backups of a folder beyond the newest keep, and returns their names.
func PruneBackups(dir string, keep int) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	type dated struct {
		name, at string
		number   int
	}
	var all []dated
	for _, e := range entries {
		if m := datedBackup.FindStringSubmatch(e.Name()); m != nil && e.Type().IsRegular() {
			d := dated{name: e.Name(), at: m[1]}
			fmt.Sscan(m[2], &d.number)
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b dated) int {
		if c := strings.Compare(a.at, b.at); c != 0 {
			return c
		}
		return a.number - b.number
	})
	var gone []string
	for _, d := range all[:max(len(all)-keep, 0)] {
		if err := os.Remove(filepath.Join(dir, d.name)); err != nil {
			return gone, err
		}
		gone = append(gone, filepath.Join(dir, d.name))
	}
	return gone, nil
}

// LastBackup is the newest backup that this database knows of; zero when there is none. One that it was restored from counts.
func (s *Store) LastBackup(ctx context.Context) (made time.Time, file string, err error) {
	var millis int64
	err = s.read.QueryRowContext(ctx, `SELECT json_extract(detail, '$.made'), json_extract(detail, '$.file') FROM audit
		WHERE action IN (?, ?) ORDER BY 1 DESC, id DESC LIMIT 1`, auditBackup, auditRestore).Scan(&millis, &file)
	if errors.Is(err, sql.ErrNoRows) {
		return made, "", nil
	}
	if err != nil {
		return made, "", fmt.Errorf("look for the last backup: %w", explain(err))
	}
	return timeOf(millis), file, nil
}

// head is what the first bytes of a database file say (https://www.sqlite.org/fileformat2.html#the_database_header).
type head struct {
	schema int64
	bytes  int64 // that the file should have
}

// readHead tells a backup that is not ours, or that was cut short, before anything is done with it.
func readHead(path string) (head, error) {
	f, err := os.Open(path)
	if err != nil {
		return head{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return head{}, err
	}
	if st.IsDir() {
		return head{}, fmt.Errorf("%w: it is a folder", ErrNotBackup)
	}
	var b [100]byte
	if n, err := f.ReadAt(b[:], 0); n < len(b) {
		if st.Size() == 0 {
			return head{}, fmt.Errorf("%w: it is empty", ErrIncomplete)
		}
		return head{}, fmt.Errorf("%w: %w", ErrNotBackup, err)
	}
	if string(b[:16]) != "SQLite format 3\x00" || binary.BigEndian.Uint32(b[68:]) != applicationID {
		return head{}, ErrNotBackup
	}
	size := int64(binary.BigEndian.Uint16(b[16:]))
	if size == 1 {
		size = 65536
	}
	h := head{schema: int64(binary.BigEndian.Uint32(b[60:])), bytes: size * int64(binary.BigEndian.Uint32(b[28:]))}
	if st.Size() < h.bytes {
		return h, fmt.Errorf("%w: it has %d of %d bytes", ErrIncomplete, st.Size(), h.bytes)
	}
	return h, nil
}
