package store

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/suppression"
)

// again opens a database that was closed.
func again(t *testing.T, path string, now *time.Time) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, Options{Now: func() time.Time { return *now }, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func backup(t *testing.T, s *Store) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backup.db")
	if _, err := s.Backup(t.Context(), path, BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// restored stages a backup and puts it in the place of the database.
func restored(t *testing.T, path, file string, now *time.Time, exact bool) Restored {
	t.Helper()
	r, err := stage(t, path, file, now, exact)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	done, err := r.Replace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func stage(t *testing.T, path, file string, now *time.Time, exact bool) (*Restoring, error) {
	return Stage(t.Context(), path, file, Options{Now: func() time.Time { return *now }, Actor: "test"},
		RestoreOptions{Exact: exact, Gone: func(holder string) bool { return holder == "dead" }})
}

// settleAs gives people of a campaign a state, as a send would.
func settleAs(t *testing.T, s *Store, c Campaign, state string, keys ...string) {
	t.Helper()
	for _, key := range keys {
		exec(t, s, "UPDATE deliveries SET state = ?, attempts = 1, message_id = key, updated_at = ? WHERE campaign = ? AND key = ?", state, s.millis(), c.ID, key)
	}
}

func statesOf(t *testing.T, s *Store, campaign string) string {
	t.Helper()
	var text string
	err := s.read.QueryRow(`SELECT coalesce(group_concat(substr(key, 1, 4) || ' ' || state, ', '), '') FROM (SELECT d.key, d.state FROM deliveries AS d
		JOIN campaigns AS k ON k.id = d.campaign WHERE k.name = ? ORDER BY d.id)`, campaign).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// workspaceAtTwoTimes has a campaign that is half sent in the backup and whole now, another one that began since, a contact that came,
// one that went, one that was forgotten, one who unsubscribed and one whose suppression was lifted.
func workspaceAtTwoTimes(t *testing.T) (path, file string, now *time.Time) {
	s, now := openTest(t)
	people(t, s, 4)
	suppress := func(key string) {
		if _, err := s.AddSuppressions(t.Context(), []Suppression{{Scope: "address", Key: key, Blocks: "all", Reason: "manual"}}, "test"); err != nil {
			t.Fatal(err)
		}
	}
	suppress("lifted@example.jp")
	half := freeze(t, s, "half", "marketing", Audience{})
	settleAs(t, s, half, "accepted", "p000@example.jp", "p001@example.jp")
	if err := s.Schedule(t.Context(), Schedule{Name: "planned", Class: "marketing", Content: "{}", Options: "{}", Request: "{}", At: now.Add(time.Hour)}, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	file = backup(t, s)

	*now = now.Add(24 * time.Hour)
	settleAs(t, s, half, "accepted", "p002@example.jp")
	settleAs(t, s, half, "uncertain", "p003@example.jp")
	exec(t, s, "UPDATE campaigns SET state = 'finished' WHERE name = 'half'")
	since := freeze(t, s, "since", "marketing", Audience{})
	settleAs(t, s, since, "accepted", "p000@example.jp")
	exec(t, s, "INSERT INTO contacts (id, key, address, fields, created_at, updated_at) VALUES (77, 'new@example.jp', 'new@example.jp', '{}', 1, 1)")
	exec(t, s, "UPDATE meta SET value = '77' WHERE name = 'last_contact'")
	exec(t, s, "DELETE FROM contacts WHERE key = 'p001@example.jp'")
	if _, err := s.RemoveSuppression(t.Context(), "address", "lifted@example.jp", "", "test"); err != nil {
		t.Fatal(err)
	}
	suppress("p000@example.jp")
	if _, err := s.ForgetContact(t.Context(), "p002@example.jp"); err != nil {
		t.Fatal(err)
	}
	if err := s.Unschedule(t.Context(), "planned", func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s.path, file, now
}

// The list comes back, what happened in the world stays.
func TestRestoreKeepsWhatHappened(t *testing.T) {
	path, file, now := workspaceAtTwoTimes(t)
	r, err := stage(t, path, file, now, false)
	if err != nil {
		t.Fatal(err)
	}
	p := r.Plan
	if !p.Same || !p.Ancestor || !p.Keeps || p.ContactsLost != 1 || p.ContactsBack != 2 || p.SuppressionsNew != 2 || p.SuppressionsBack != 1 ||
		p.Sent != 3 || !slices.Equal(p.Campaigns, []string{"since"}) || !slices.Equal(p.Unfinished, []string{"since"}) || len(p.Planned) != 0 {
		t.Errorf("the plan: %+v", p)
	}
	done, err := r.Replace(t.Context())
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(done.Paused, []string{"since"}) || done.Suppressions != 2 || done.Forgotten != 1 {
		t.Errorf("%+v", done)
	}
	s := again(t, path, now)
	var contacts string
	if err := s.read.QueryRow("SELECT group_concat(substr(key, 1, 4), ' ') FROM (SELECT key FROM contacts ORDER BY id)").Scan(&contacts); err != nil || contacts != "p000 p001 p003" {
		t.Errorf("contacts: %s %v", contacts, err)
	}
	if got := statesOf(t, s, "half"); got != "p000 accepted, p001 accepted, forg accepted, p003 uncertain" {
		t.Errorf("half: %s", got)
	}
	if got := statesOf(t, s, "since"); !strings.HasPrefix(got, "p000 accepted") {
		t.Errorf("since: %s", got)
	}
	for key, want := range map[string]int{"p000@example.jp": 1, "lifted@example.jp": 1, "p001@example.jp": 0} {
		var n int
		if err := s.read.QueryRow("SELECT count(*) FROM suppressions WHERE key = ?", key).Scan(&n); err != nil || n != want {
			t.Errorf("%s is suppressed %d times, want %d: %v", key, n, want, err)
		}
	}
	if last, err := lastContactID(t.Context(), s.read); err != nil || last < 77 {
		t.Errorf("the next contact may get an id that was given out: %d %v", last, err)
	}
	if at, from, err := s.LastBackup(t.Context()); err != nil || from != file || at.IsZero() {
		t.Errorf("the last backup: %v %s %v", at, from, err)
	}
	whole(t, path, now)
	whole(t, done.Kept, now)
	if got := names(t, filepath.Dir(path)); slices.ContainsFunc(got, func(name string) bool {
		return strings.Contains(name, stageMark) || strings.Contains(name, partMark) || strings.HasPrefix(name, filepath.Base(done.Kept)+"-")
	}) {
		t.Errorf("left in the folder: %v", got)
	}
	// What was replaced can be brought back in the same way.
	s.Close()
	restored(t, path, done.Kept, now, true)
	if n, err := again(t, path, now).CountContacts(t.Context(), Where{}); err != nil || n != 3 {
		t.Errorf("the database of before has %d contacts, want p000, p003 and new: %v", n, err)
	}
}

func whole(t *testing.T, path string, now *time.Time) {
	t.Helper()
	c, err := Check(t.Context(), path, CheckOptions{Now: func() time.Time { return *now }})
	if err != nil || len(c.Problems) > 0 {
		t.Errorf("%s: %+v %v", path, c.Problems, err)
	}
}

// The file as it is, or without a database that could tell: what was sent since is not known, so that nothing goes out by itself, and a
// late bounce of it is taken for nobody's.
func TestRestoreWithoutWhatHappened(t *testing.T) {
	for _, how := range []string{"exact", "gone", "header", "page", "newer"} {
		t.Run(how, func(t *testing.T) {
			path, file, now := workspaceAtTwoTimes(t)
			s := again(t, path, now)
			keys, err := s.TokenKeys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var sent int64
			if err := s.read.QueryRow("SELECT d.id FROM deliveries d JOIN campaigns k ON k.id = d.campaign WHERE k.name = 'since' ORDER BY d.id LIMIT 1").Scan(&sent); err != nil {
				t.Fatal(err)
			}
			late := keys.Sign(delivery.TokenBounce, sent)
			switch how {
			case "gone":
				s.Close()
				os.Remove(path)
				os.WriteFile(path+"-wal", []byte("of another file"), 0o600)
			case "header":
				s.Close()
				if err := os.WriteFile(path, []byte(strings.Repeat("nothing ", 4096)), 0o600); err != nil {
					t.Fatal(err)
				}
				os.WriteFile(path+"-wal", []byte("of another file"), 0o600)
			case "page":
				damagePage(t, s)
				s.Close()
				os.WriteFile(path+"-wal", []byte("a process died"), 0o600)
			case "newer":
				pragma(t, s, "user_version = 99")
				s.Close()
			default:
				s.Close()
			}
			done := restored(t, path, file, now, how == "exact")
			if !slices.Equal(done.Paused, []string{"half"}) || !slices.Equal(done.Unplanned, []string{"planned"}) || done.Suppressions != 0 {
				t.Errorf("%+v", done)
			}
			if (done.Kept == "") != (how == "gone") || (done.Unreadable == "") != (how == "gone" || how == "exact") {
				t.Errorf("kept as %q, unreadable: %q", done.Kept, done.Unreadable)
			}
			if done.Kept != "" {
				if st, err := os.Stat(done.Kept); err != nil || st.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v %v", done.Kept, st, err)
				}
			}
			whole(t, path, now)
			s = again(t, path, now)
			if got := statesOf(t, s, "half"); got != "p000 accepted, p001 accepted, p002 pending, p003 pending" {
				t.Errorf("half: %s", got)
			}
			if going, err := s.Going(t.Context()); err != nil || len(going) > 0 {
				t.Errorf("goes on by itself: %+v %v", going, err)
			}
			// A new campaign gets the ids of the one that is lost.
			c := freeze(t, s, "new", "marketing", Audience{})
			settleAs(t, s, c, "accepted", "p000@example.jp", "p001@example.jp", "p002@example.jp", "p003@example.jp")
			if keys, err = s.TokenKeys(t.Context()); err != nil {
				t.Fatal(err)
			}
			for token, matched := range map[string]bool{late: false, keys.Sign(delivery.TokenBounce, sent): true} {
				_, id, err := keys.Verify(token)
				if err != nil || id != sent {
					t.Fatalf("%s: %d %v", token, id, err)
				}
				got, err := s.RecordMail(t.Context(), ReadMail{Source: "test", Digest: token, Raw: []byte(token), Delivery: id, MatchedBy: "return_path",
					Verdict: bounce.Verdict{Kind: bounce.KindBounce, MessageID: token, Tokens: []bounce.Token{{Where: bounce.WhereReturnPath, Text: token}}}})
				if err != nil || got.Matched != matched {
					t.Errorf("%s is matched: %v, want %v: %v", token, got.Matched, matched, err)
				}
			}
		})
	}
}

// What is no whole backup of ours is refused, and nothing is touched.
func TestRestoreRefuses(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 300)
	good := backup(t, s)
	bytes, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int, to ...byte) []byte {
		b := slices.Clone(bytes)
		copy(b[at:], to)
		return b
	}
	var root int
	if err := s.read.QueryRow("SELECT rootpage FROM sqlite_master WHERE name = 'contacts'").Scan(&root); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	before := statesOfFile(t, s.path)
	for name, tt := range map[string]struct {
		content []byte
		want    error
	}{
		"cut at a page":      {bytes[:len(bytes)-4096], ErrIncomplete},
		"cut in the middle":  {bytes[:len(bytes)/2+7], ErrIncomplete},
		"its head only":      {bytes[:100], ErrIncomplete},
		"less than its head": {bytes[:50], ErrNotBackup},
		"nothing":            {nil, ErrIncomplete},
		"a letter":           {[]byte(strings.Repeat("Dear Sir, ", 500)), ErrNotBackup},
		"another program's":  {changed(68, 0, 0, 0, 1), ErrNotBackup},
		"of a newer mailer":  {changed(60, 0, 0, 1, 0), ErrNewer},
		"a page of garbage":  {changed((root-1)*4096, []byte(strings.Repeat("x", 4096))...), ErrDamaged},
	} {
		file := filepath.Join(dir, "x.db")
		if err := os.WriteFile(file, tt.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := stage(t, s.path, file, now, false); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
			if err == nil {
				r.Close()
			}
		}
	}
	for file, want := range map[string]error{s.path: ErrNotBackup, dir: ErrNotBackup, filepath.Join(dir, "none"): os.ErrNotExist} {
		if _, err := stage(t, s.path, file, now, false); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", file, err, want)
		}
	}
	if got := statesOfFile(t, s.path); got != before {
		t.Error("the database was touched")
	}
	if got := names(t, filepath.Dir(s.path)); slices.ContainsFunc(got, func(n string) bool { return strings.Contains(n, stageMark) }) {
		t.Errorf("left: %v", got)
	}
	other := filepath.Join(dir, "foreign.db")
	db := openCopyFor(t, other)
	if _, err := db.Exec("CREATE TABLE theirs (x)"); err != nil {
		t.Fatal(err)
	}
	if _, err := stage(t, other, good, now, false); !errors.Is(err, ErrForeign) {
		t.Errorf("over another program's database: %v", err)
	}
}

// A living process that sends, begins or collects keeps the database from being replaced; a dead one does not.
func TestRestoreWaitsForNobody(t *testing.T) {
	for what, query := range map[string]string{
		"sends":    "UPDATE campaigns SET lease_holder = ?, lease_expires = ?",
		"begins":   "UPDATE schedules SET holder = ?, holder_until = ?",
		"collects": "INSERT INTO leases (name, claim, holder, expires) VALUES ('bounces', 'c', ?, ?)",
	} {
		for _, holder := range []string{"alive", "dead"} {
			s, now := openTest(t)
			people(t, s, 3)
			freeze(t, s, "news", "marketing", Audience{})
			if err := s.Schedule(t.Context(), Schedule{Name: "planned", Class: "marketing", Content: "{}", Options: "{}", Request: "{}", At: *now}, func(string) bool { return false }); err != nil {
				t.Fatal(err)
			}
			file := backup(t, s)
			exec(t, s, query, holder, now.Add(time.Minute).UnixMilli())
			exec(t, s, "DELETE FROM contacts WHERE key = 'p000@example.jp'")
			r, err := stage(t, s.path, file, now, false)
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Replace(t.Context())
			r.Close()
			want := int64(3)
			if holder == "alive" {
				want = 2
			}
			if errors.Is(err, ErrInUse) != (holder == "alive") || err != nil && holder == "dead" {
				t.Errorf("%s, %s: %v", what, holder, err)
			}
			// The process that had it open all the time sees what is there now.
			if n, err := s.CountContacts(t.Context(), Where{}); err != nil || n != want {
				t.Errorf("%s, %s: %d contacts, want %d: %v", what, holder, n, want, err)
			}
			if holder == "alive" {
				if left, err := filepath.Glob(s.path + keptMark + "*"); err != nil || len(left) > 0 {
					t.Errorf("%s: %v %v", what, left, err)
				}
			}
		}
	}
}

// A backup of the second schema, and one that was copied by hand with its WAL.
func TestRestoreOfOtherFiles(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 3)
	path := crashed(t, s, false)
	exec(t, s, "DELETE FROM contacts")
	done := restored(t, s.path, path, now, false)
	if n, err := s.CountContacts(t.Context(), Where{}); err != nil || n != 3 || done.Backup.Contacts != 3 {
		t.Errorf("with its WAL: %d contacts, %v", n, err)
	}
	old, _ := openTest(t)
	people(t, old, 5)
	back(t, old)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	done = restored(t, s.path, old.path, now, false)
	if n, err := s.CountContacts(t.Context(), Where{}); err != nil || n != 5 || done.Backup.Schema != 2 || done.Same {
		t.Errorf("of an old schema, of another workspace: %d contacts, %+v, %v", n, done, err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(s.path), "*schema*")); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
	whole(t, s.path, now)
}

// Each reason of the policy's is carried over, and blocks as much as the stronger of the two.
func TestRestoreNeverBlocksLess(t *testing.T) {
	s, now := openTest(t)
	add := func(key, blocks string, reason string) {
		if _, err := s.AddSuppressions(t.Context(), []Suppression{{Scope: "address", Key: key, Blocks: blocks, Reason: reason}}, "test"); err != nil {
			t.Fatal(err)
		}
	}
	add("a@x.jp", "marketing", suppression.Unsubscribe)
	add("b@x.jp", "all", suppression.Manual)
	file := backup(t, s)
	add("a@x.jp", "all", suppression.Unsubscribe)
	exec(t, s, "UPDATE suppressions SET blocks = 'marketing' WHERE key = 'b@x.jp'")
	restored(t, s.path, file, now, false)
	var weak int
	if err := s.read.QueryRow("SELECT count(*) FROM suppressions WHERE blocks = 'marketing'").Scan(&weak); err != nil || weak != 0 {
		t.Errorf("%d block less than one of the two did: %v", weak, err)
	}
}

func statesOfFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func openCopyFor(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", databaseURI(path, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// When all keys are used, what is sent after a restore has other ids than what was sent since the backup, also when that is restored twice.
func TestRestoreWithoutAKeyLeft(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 3)
	settleAs(t, s, freeze(t, s, "old", "marketing", Audience{}), "accepted", "p000@example.jp")
	for {
		_, err := s.RotateTokenKey(t.Context())
		if errors.Is(err, ErrNoMoreKeys) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	file := backup(t, s)
	given := map[int64]string{}
	for _, name := range []string{"lost", "lost as well", "new"} {
		for _, name := range []string{name, name + ", the next"} {
			c := freeze(t, s, name, "marketing", Audience{})
			settleAs(t, s, c, "accepted", "p000@example.jp", "p001@example.jp", "p002@example.jp")
			var ids []int64
			err := eachRow(t.Context(), s.read, func(rows *sql.Rows) error {
				var id int64
				err := rows.Scan(&id)
				ids = append(ids, id)
				return err
			}, "SELECT id FROM deliveries WHERE campaign = ? ORDER BY id", c.ID)
			if err != nil || len(ids) != 3 || ids[2] != ids[0]+2 {
				t.Fatalf("%s: %v %v", name, ids, err)
			}
			for _, id := range ids {
				if of := given[id]; of != "" {
					t.Errorf("a delivery of %q has the id of one of %q", name, of)
				}
				given[id] = name
			}
		}
		if name == "lost as well" { // of a backup after the restore the setting is carried over
			file = backup(t, s)
		}
		restored(t, s.path, file, now, true)
	}
	whole(t, s.path, now)
}

// A send leaves nothing in the audit: the copy of a database that was replaced may be ahead of the database by what was sent, though the
// database has all of its audit. Who was mailed in it must not be forgotten for that.
func TestRestoreOfWhatIsAhead(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 3)
	c := freeze(t, s, "news", "marketing", Audience{})
	copied := filepath.Join(t.TempDir(), "by-hand.db")
	if _, err := s.write.Exec("VACUUM INTO ?", copied); err != nil {
		t.Fatal(err)
	}
	settleAs(t, s, c, "accepted", "p000@example.jp", "p001@example.jp")
	first := restored(t, s.path, copied, now, true)
	if got := statesOf(t, s, "news"); !strings.HasPrefix(got, "p000 pending") {
		t.Fatalf("news: %s", got)
	}
	back := restored(t, s.path, first.Kept, now, false)
	if got := statesOf(t, s, "news"); got != "p000 accepted, p001 accepted, p002 pending" || back.Ancestor {
		t.Errorf("they would be mailed again: %s (%+v)", got, back.RestorePlan)
	}
}

// A restore is undone by another one, and who was mailed in between stays known.
func TestRestoreIsUndone(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 3)
	c := freeze(t, s, "news", "marketing", Audience{})
	file := backup(t, s)
	exec(t, s, "DELETE FROM contacts WHERE key = 'p001@example.jp'")
	first := restored(t, s.path, file, now, false)
	settleAs(t, s, c, "accepted", "p000@example.jp")
	undone := restored(t, s.path, first.Kept, now, false)
	if got := statesOf(t, s, "news"); got != "p000 accepted, p001 pending, p002 pending" || !undone.Ancestor {
		t.Errorf("news: %s (%+v)", got, undone.RestorePlan)
	}
	if n, err := s.CountContacts(t.Context(), Where{}); err != nil || n != 2 {
		t.Errorf("%d contacts: %v", n, err)
	}
	whole(t, s.path, now)
}

// What a suppression stands on is not carried over with it where ids mean others afterwards: who undoes a bounce of such an id must not
// lift it.
func TestRestoredSuppressionsNameNobodyElsesBounce(t *testing.T) {
	for _, exact := range []bool{false, true} { // exact the first time: then the database has not gone on from the backup of between
		s, now := openTest(t)
		people(t, s, 3)
		freeze(t, s, "news", "marketing", Audience{})
		first := backup(t, s)
		second := backup(t, s)
		if exact {
			restored(t, s.path, first, now, true)
		}
		exec(t, s, "INSERT INTO suppressions (scope, key, blocks, reason, delivery, bounce, created_at) VALUES ('address', 'p000@example.jp', 'all', 'hard_bounce', 1, 1, 1)")
		done := restored(t, s.path, second, now, false)
		if done.Ancestor == exact || done.Suppressions != 1 {
			t.Errorf("%+v", done)
		}
		want := 1
		if exact {
			want = 0
		}
		if n := count(t, s, "SELECT count(*) FROM suppressions WHERE bounce = 1 AND delivery = 1"); n != want {
			t.Errorf("%d name a bounce, want %d", n, want)
		}
	}
}
