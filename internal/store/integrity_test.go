package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each thing that can be wrong is found, is told once, and is the only thing that is told.
func TestCheck(t *testing.T) {
	raw := func(t *testing.T, s *Store, query string) {
		t.Helper()
		for _, step := range []string{"PRAGMA foreign_keys = 0", query, "PRAGMA foreign_keys = 1"} {
			if _, err := s.write.Exec(step); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		spoil        func(t *testing.T, s *Store)
		check, level string
		found        string
	}{
		"nothing": {func(*testing.T, *Store) {}, "", "", ""},
		"page":    {func(t *testing.T, s *Store) { damagePage(t, s) }, "pages", ProblemError, "damaged"},
		"header": {func(t *testing.T, s *Store) {
			s.Close()
			os.WriteFile(s.path, []byte(strings.Repeat("x", 8192)), 0o600)
		}, "pages", ProblemError, "cannot be read"},
		"lost campaign":      {func(t *testing.T, s *Store) { raw(t, s, "DELETE FROM campaigns WHERE name = 'other'") }, "keys", ProblemError, "3 rows of deliveries name rows of campaigns"},
		"finished with some": {func(t *testing.T, s *Store) { raw(t, s, "UPDATE campaigns SET state = 'finished' WHERE name = 'news'") }, "balance", ProblemError, "3 people"},
		"history changed":    {func(t *testing.T, s *Store) { raw(t, s, `UPDATE audit SET detail = '{"x":1}' WHERE id = 1`) }, "audit", ProblemError, "the first is row 1"},
		"history removed":    {func(t *testing.T, s *Store) { raw(t, s, "DELETE FROM audit WHERE id = 1") }, "audit", ProblemError, "1 of"},
		"dead process": {func(t *testing.T, s *Store) {
			raw(t, s, "UPDATE deliveries SET state = 'sending' WHERE id = 1")
			raw(t, s, "UPDATE campaigns SET lease_holder = 'dead', lease_expires = 9e15 WHERE name = 'news'")
		}, "unfinished", ProblemWarning, "1 messages on the wire"},
		"living process": {func(t *testing.T, s *Store) {
			raw(t, s, "UPDATE deliveries SET state = 'sending' WHERE id = 1")
			raw(t, s, "UPDATE campaigns SET lease_holder = 'alive', lease_expires = 9e15 WHERE name = 'news'")
		}, "", "", ""},
		"import": {func(t *testing.T, s *Store) {
			raw(t, s, "INSERT INTO change_sets (kind, source, state, created_at) VALUES ('import', 'a.csv', 'applying', 1)")
		}, "imports", ProblemWarning, "a.csv"},
		"old schema": {func(t *testing.T, s *Store) { pragma(t, s, "user_version = 1") }, "schema", ProblemWarning, "the schema is 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s, now := openTest(t)
			people(t, s, 3)
			freeze(t, s, "news", "marketing", Audience{})
			freeze(t, s, "other", "marketing", Audience{})
			tt.spoil(t, s)
			for _, quick := range []bool{true, false} {
				c, err := Check(t.Context(), s.path, CheckOptions{Quick: quick, Now: func() time.Time { return *now }, Gone: func(holder string) bool { return holder == "dead" }})
				if err != nil {
					t.Fatal(err)
				}
				if tt.check == "" {
					if len(c.Problems) > 0 || c.Contacts != 3 || c.Deliveries != 6 || c.Bytes == 0 {
						t.Errorf("%+v", c)
					}
					continue
				}
				if len(c.Problems) != 1 || c.Problems[0].Check != tt.check || c.Problems[0].Level != tt.level || c.Problems[0].Do == "" ||
					!strings.Contains(c.Problems[0].Found+strings.Join(c.Problems[0].Detail, " "), tt.found) {
					t.Errorf("quick %v: %+v", quick, c.Problems)
				}
			}
		})
	}
	for path, want := range map[string]error{filepath.Join(t.TempDir(), "none"): os.ErrNotExist} {
		if _, err := Check(t.Context(), path, CheckOptions{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	foreign := filepath.Join(t.TempDir(), "foreign.db")
	if _, err := openCopyFor(t, foreign).Exec("CREATE TABLE theirs (x)"); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(t.Context(), foreign, CheckOptions{}); !errors.Is(err, ErrForeign) {
		t.Errorf("another program's: %v", err)
	}
}

// An index that disagrees with its table is found by the whole check, not by the quick one.
func TestCheckOfAnIndex(t *testing.T) {
	s, _ := openTest(t)
	people(t, s, 3)
	freeze(t, s, "news", "marketing", Audience{})
	for _, step := range []string{"PRAGMA writable_schema = 1", // the index as one that was made with other rows
		"UPDATE sqlite_master SET sql = 'CREATE INDEX deliveries_sending ON deliveries (campaign) WHERE state = ''pending''' WHERE name = 'deliveries_sending'",
		"PRAGMA writable_schema = RESET"} {
		if _, err := s.write.Exec(step); err != nil {
			t.Fatal(err)
		}
	}
	for _, quick := range []bool{true, false} {
		c, err := Check(t.Context(), s.path, CheckOptions{Quick: quick})
		if err != nil || (len(c.Problems) == 0) != quick {
			t.Errorf("quick %v: %+v %v", quick, c.Problems, err)
		}
	}
}

// Looking leaves the folder as it was, whether the last process closed the database or died.
func TestCheckLeavesTheFolder(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 3)
	dead := crashed(t, s, false)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{s.path, dead} {
		before, wal := statesOfFile(t, path), 0
		if path == dead {
			wal = len(statesOfFile(t, path+"-wal"))
		}
		for range 2 {
			whole(t, path, now)
		}
		if statesOfFile(t, path) != before || path == dead && len(statesOfFile(t, path+"-wal")) != wal {
			t.Errorf("%s was changed", path)
		}
		if got := names(t, filepath.Dir(path)); path != dead && !slices.Equal(got, []string{filepath.Base(path)}) {
			t.Errorf("left: %v", got)
		}
	}
}
