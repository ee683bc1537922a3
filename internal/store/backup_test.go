package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A backup that is made while somebody writes is one moment of the database, whole, and stands alone.
func TestBackupBesideAWriter(t *testing.T) {
	s, _ := openTest(t)
	people(t, s, 50)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ { // always both or none
			select {
			case <-stop:
				return
			default:
			}
			exec(t, s, "INSERT INTO meta VALUES (?, hex(zeroblob(2000))), (?, '')", fmt.Sprint("a", i), fmt.Sprint("b", i))
		}
	})
	dir := t.TempDir()
	for i := range 5 {
		path := filepath.Join(dir, fmt.Sprint(i))
		steps := 0
		b, err := s.Backup(t.Context(), path, BackupOptions{Step: func(done, total int64) { steps++ }})
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil || st.Size() != b.Bytes || st.Mode().Perm() != 0o600 || b.Contacts != 50 || steps == 0 {
			t.Errorf("%+v, %d steps, %v, %v", b, steps, st, err)
		}
		db := openCopy(t, path)
		var a, both int
		if err := db.QueryRow("SELECT (SELECT count(*) FROM meta WHERE name LIKE 'a%'), (SELECT count(*) FROM meta WHERE name LIKE 'b%')").Scan(&a, &both); err != nil || a != both {
			t.Errorf("%d and %d: %v", a, both, err)
		}
	}
	close(stop)
	writer.Wait()
	if got := names(t, dir); len(got) != 5 {
		t.Errorf("left in the folder: %v", got)
	}
	at, file, err := s.LastBackup(t.Context())
	if err != nil || !at.Equal(s.now()) || file != filepath.Join(dir, "4") {
		t.Errorf("the last backup: %v %q %v", at, file, err)
	}
}

func openCopy(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", databaseURI(path, "mode=ro&immutable=1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// Nothing is replaced but an older backup that somebody wants replaced.
func TestBackupReplacesNothing(t *testing.T) {
	s, _ := openTest(t)
	dir := t.TempDir()
	other, old := filepath.Join(dir, "other"), filepath.Join(dir, "old")
	if err := os.WriteFile(other, []byte("a letter"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(t.Context(), old, BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	people(t, s, 3)
	for _, tt := range []struct {
		path  string
		force bool
		want  error
	}{
		{old, false, ErrThere}, {old, true, nil}, {other, false, ErrThere}, {other, true, ErrThere},
		{s.path, true, ErrThere}, {s.path + "-wal", true, ErrThere}, {s.path + "-shm", false, ErrThere},
		{filepath.Join(dir, "nowhere", "x"), false, os.ErrNotExist},
	} {
		if _, err := s.Backup(t.Context(), tt.path, BackupOptions{Force: tt.force}); !errors.Is(err, tt.want) {
			t.Errorf("%s, force %v: %v, want %v", tt.path, tt.force, err, tt.want)
		}
	}
	if b, err := os.ReadFile(other); err != nil || string(b) != "a letter" {
		t.Errorf("the other file: %q %v", b, err)
	}
	var n int
	if err := openCopy(t, old).QueryRow("SELECT count(*) FROM contacts").Scan(&n); err != nil || n != 3 {
		t.Errorf("the newer backup holds %d: %v", n, err)
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("left in the folder: %v", got)
	}
}

// One that is stopped, or finds the database damaged, leaves nothing; what a killed one left is removed by the next, and what another
// one is making is not.
func TestBackupLeavesNothing(t *testing.T) {
	s, _ := openTest(t)
	people(t, s, 2000)
	dir := t.TempDir()
	path := filepath.Join(dir, "mailer-2026-11-26T1530.db")
	ctx, stop := context.WithCancel(t.Context())
	if _, err := s.Backup(ctx, path, BackupOptions{Step: func(done, total int64) { stop() }}); !errors.Is(err, context.Canceled) {
		if err != nil || s.pages(t) > pagesAStep {
			t.Errorf("stopped: %v", err)
		}
		os.Remove(path)
	}
	damagePage(t, s)
	if _, err := s.Backup(t.Context(), path, BackupOptions{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("of a damaged database: %v", err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left in the folder: %v", got)
	}

	whole, _ := openTest(t)
	old := time.Now().Add(-time.Hour)
	parts := map[string]bool{ // what becomes of them
		"mailer-2026-11-25T1530.db.part-11": false, "mailer-2026-11-26T1530.db.part-22": false,
		"letter.part-33": true, "mailer-2026-11-25T1530.db": true, "mailer-2026-11-25T1530-2.db.part-44": true,
	}
	for name := range parts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Chtimes(filepath.Join(dir, name), old, old)
	}
	// The last one is being made.
	making := filepath.Join(dir, "mailer-2026-11-25T1530-2.db.part-44")
	os.Remove(making)
	db, err := sql.Open("sqlite", databaseURI(making, "_pragma=locking_mode(EXCLUSIVE)"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
	os.Chtimes(making, old, old)
	if _, err := whole.Backup(t.Context(), path, BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	got := names(t, dir)
	for name, stays := range parts {
		if slices.Contains(got, name) != stays {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func (s *Store) pages(t *testing.T) (n int) {
	t.Helper()
	if err := s.read.QueryRow("SELECT page_count FROM pragma_page_count").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// damagePage folds the WAL in and spoils the root of a table.
func damagePage(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.write.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	var root int64
	if err := s.read.QueryRow("SELECT rootpage FROM sqlite_master WHERE name = 'suppressions'").Scan(&root); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(strings.Repeat("x", 4096)), (root-1)*4096); err != nil {
		t.Fatal(err)
	}
	// Connections that have read the page keep it: begin with new ones.
	for _, db := range []*sql.DB{s.read, s.write} {
		db.SetMaxIdleConns(0)
	}
}

// The newest stay; what only looks alike is nobody's to remove.
func TestPruneBackups(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"mailer-2026-11-26T1530.db", "mailer-2026-11-26T1530-2.db", "mailer-2026-11-26T1530-10.db", "mailer-2026-11-25T0900.db",
		"mailer-2025-12-31T2359.db", "mailer-2025.db", "mailer.db", "notes.txt", "mailer-2026-11-24T0900.db.part-7"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gone, err := PruneBackups(dir, 2)
	if err != nil || len(gone) != 3 {
		t.Errorf("%v %v", gone, err)
	}
	want := []string{"mailer-2025.db", "mailer-2026-11-24T0900.db.part-7", "mailer-2026-11-26T1530-10.db", "mailer-2026-11-26T1530-2.db", "mailer.db", "notes.txt"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("left %v", got)
	}
	at := time.Date(2026, 11, 26, 15, 30, 0, 0, time.UTC)
	if got := filepath.Base(NewBackupName(dir, at)); got != "mailer-2026-11-26T1530.db" {
		t.Errorf("a free name: %s", got)
	}
	os.WriteFile(filepath.Join(dir, "mailer-2026-11-26T1530.db"), nil, 0o600)
	if got := filepath.Base(NewBackupName(dir, at)); got != "mailer-2026-11-26T1530-3.db" {
		t.Errorf("a free name beside others: %s", got)
	}
}
