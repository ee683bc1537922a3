package store

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/fstest"
	"time"
)

// crashed copies a database as a killed process leaves it: with its WAL. Its pages from the third on are damaged when
// damage is set.
func crashed(t *testing.T, s *Store, damage bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mailer.db")
	for _, tail := range []string{"", "-wal"} {
		b, err := os.ReadFile(s.path + tail)
		if err != nil {
			t.Fatal(err)
		}
		for i := 2 * 4096; damage && tail == "" && i < len(b); i++ {
			b[i] ^= 0x55
		}
		if err := os.WriteFile(path+tail, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// The check runs at the first command after the crash, whatever the lease of the killed process says, and a damaged file
// is found by every command, not by the first one alone.
func TestFileIsCheckedAfterACrash(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 500)
	c := freeze(t, s, "news", "marketing", Audience{Class: "marketing"})
	exec(t, s, "UPDATE campaigns SET lease_holder = 'somebody', lease_expires = ? WHERE id = ?", now.Add(time.Minute).UnixMilli(), c.ID)
	// All of it into the file itself, so that damage there is not covered by the WAL; then a little more.
	if _, err := s.write.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	exec(t, s, "INSERT INTO meta VALUES ('a', 'b')")

	clock := func() time.Time { return *now }
	dead, alive := func(string) bool { return true }, func(string) bool { return false }
	path := crashed(t, s, true)
	for _, when := range []string{"first", "second"} {
		if _, err := Open(t.Context(), path, Options{Now: clock, Gone: dead}); !errors.Is(err, ErrDamaged) {
			t.Errorf("damaged, opened for the %s time: %v", when, err)
		}
	}
	whole, err := Open(t.Context(), crashed(t, s, false), Options{Now: clock, Gone: dead})
	if err != nil {
		t.Fatalf("a whole file: %v", err)
	}
	whole.Close()
	// While the process lives the WAL is nothing strange, and the file is not read from end to end.
	if _, err := s.read.Exec("SELECT 1"); err != nil {
		t.Fatal(err)
	}
	if !s.inUse(t.Context(), s.read, alive) || s.inUse(t.Context(), s.read, dead) {
		t.Error("a lease must count while its process lives, and only then")
	}
}

// What a migration starts from stands beside the file, and one that fails halfway leaves the file as it was.
func TestCopyBeforeAMigration(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 3)
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	have := int64(len(names))
	next := func(text string) fstest.MapFS {
		files := fstest.MapFS{"migrations/9999_next.sql": {Data: []byte(text)}}
		for _, name := range names {
			files[name] = &fstest.MapFile{}
		}
		return files
	}
	if err := s.migrate(t.Context(), next("DELETE FROM contacts; INSERT INTO nowhere VALUES (1)"), have); err == nil {
		t.Error("the migration cannot have run")
	}
	if n, err := s.CountContacts(t.Context(), Where{}); err != nil || n != 3 {
		t.Errorf("after a migration that failed: %d contacts, %v", n, err)
	}
	*now = now.Add(time.Minute)
	good := next("DELETE FROM contacts; CREATE TABLE next (x)")
	for version := have; version <= have+1; version++ { // the second time there is nothing to do
		if err := s.migrate(t.Context(), good, version); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, s, "INSERT INTO next VALUES (1)")

	copies, err := filepath.Glob(s.path + ".schema*")
	if err != nil || len(copies) != 2 {
		t.Fatalf("copies: %v %v", copies, err)
	}
	for _, name := range copies {
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, st, err)
		}
		old, err := Open(t.Context(), name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := old.CountContacts(t.Context(), Where{}); err != nil || n != 3 {
			t.Errorf("%s holds %d contacts: %v", name, n, err)
		}
		old.Close()
	}
}

// Several processes that find an old file in one second all get on with it, and a copy of it stays.
func TestOldFileIsOpenedByMany(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 3)
	back(t, s)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			one, err := Open(t.Context(), s.path, Options{Now: func() time.Time { return *now }})
			if err != nil {
				t.Error(err)
				return
			}
			one.Close()
		})
	}
	all.Wait()
	copies, err := filepath.Glob(s.path + ".schema2-*")
	if err != nil {
		t.Fatal(err)
	}
	before := 0 // that of a slow one may be of after
	for _, name := range copies {
		old, err := sql.Open("sqlite", "file:"+name)
		if err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		var version, n int
		err = old.QueryRowContext(t.Context(), "SELECT (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM contacts)").Scan(&version, &n)
		if err != nil || n != 3 {
			t.Errorf("%s is of schema %d and holds %d contacts: %v", name, version, n, err)
		}
		if version == 2 {
			before++
		}
	}
	if before == 0 {
		t.Errorf("no copy of the old file is among %v", copies)
	}
}

// What stops a write is told in words that say what to do, and nothing of the transaction stays.
func TestFullLockedAndReadOnly(t *testing.T) {
	insert := func(s *Store) error {
		return s.update(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(t.Context(), "INSERT INTO meta VALUES ('first', '')"); err != nil {
				return err
			}
			_, err := tx.ExecContext(t.Context(), "INSERT INTO meta VALUES ('second', hex(zeroblob(1000000)))")
			return err
		})
	}
	for _, tt := range []struct {
		name  string
		setup func(s *Store)
		want  error
	}{
		{"full", func(s *Store) { pragma(t, s, "max_page_count = 1") }, ErrDiskFull}, // no less than there is
		{"read only", func(s *Store) { pragma(t, s, "query_only = 1") }, ErrReadOnly},
		{"locked", func(s *Store) {
			other, err := Open(t.Context(), s.path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { other.Close() })
			tx, err := other.write.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { tx.Rollback() })
			pragma(t, s, "busy_timeout = 10")
		}, ErrLocked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := openTest(t)
			tt.setup(s)
			if err := insert(s); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			var n int
			if err := s.read.QueryRow("SELECT count(*) FROM meta WHERE name IN ('first', 'second')").Scan(&n); err != nil || n != 0 {
				t.Errorf("%d rows were written: %v", n, err)
			}
		})
	}
}

func pragma(t *testing.T, s *Store, text string) {
	t.Helper()
	if _, err := s.write.Exec("PRAGMA " + text); err != nil {
		t.Fatal(err)
	}
}

// Whoever only looks makes no file, narrows no mode and migrates nothing.
func TestOpenToLook(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 3)
	look := Options{Now: func() time.Time { return *now }, Look: true}
	if _, err := Open(t.Context(), s.path+"x", look); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.path, 0o644); err != nil {
		t.Fatal(err)
	}
	before := statesOfFile(t, s.path)
	looking, err := Open(t.Context(), s.path, look)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := looking.CountContacts(t.Context(), Where{}); n != 3 || err != nil {
		t.Errorf("%d contacts, %v", n, err)
	}
	if err := looking.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(s.path); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o644 {
		t.Errorf("the mode is %v, %v", st.Mode(), err)
	}
	if statesOfFile(t, s.path) != before {
		t.Error("the file was changed")
	}
	old, _ := openTest(t)
	back(t, old)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	before = statesOfFile(t, old.path)
	if _, err := Open(t.Context(), old.path, look); !errors.Is(err, ErrOlder) {
		t.Errorf("an old schema: %v", err)
	}
	if got := names(t, filepath.Dir(old.path)); statesOfFile(t, old.path) != before || len(got) != 1 {
		t.Errorf("it was migrated, or something is left: %v", got)
	}
}
