package main

import (
	"database/sql"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An import that is killed at random moments and begun again each time ends as one that nobody disturbed; and one that was
// killed is taken back, by an undo that is killed too, to exactly what was there before.
func TestKillNineDuringImportAndUndo(t *testing.T) {
	const rows, kills = 12000, 4
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	w := &killWorkspace{t: t, dir: t.TempDir(), bin: binary(t)}
	w.write("mailer.yaml", "sender: {from: News <news@example.com>}\n")
	w.write("first.csv", importRows(rows/3, func(i int) int { return i }))
	// Known and new people, people who come twice, and rows that are rejected.
	w.write("second.csv", importRows(rows, func(int) int { return rnd.IntN(2 * rows / 3) }))
	w.run(exitSome, "import", "first.csv", "--list", "old")
	w.run(exitDone, "suppressions", "add", killAddress(7))
	again := []string{"import", "second.csv", "--list", "readers", "--consent-source", "test"}
	const lines, undone = "last_line", "json_extract(totals, '$.undo.before')"
	start := w.folded()
	before := dump(t, w.dir, true)
	w.run(exitSome, again...)
	want, shown := dump(t, w.dir, false), w.run(exitDone, "import", "show", "2", "--limit", "0", "--json")

	w.restore(start)
	for kill := range kills {
		if !w.killAt(lines, rnd.IntN(rows*(kill+1)/kills), again...) {
			t.Fatal("the import ended before it could be killed")
		}
	}
	w.run(exitSome, again...)
	compare(t, "resumed", dump(t, w.dir, false), want)
	if got := w.run(exitDone, "import", "show", "2", "--limit", "0", "--json"); changesOf(got) != changesOf(shown) {
		t.Error("the changes that are shown of the resumed import differ from those of one that nobody disturbed")
	}

	w.restore(start)
	w.killAt(lines, rows/2+rnd.IntN(rows/4), again...)
	w.killAt(undone, -rnd.IntN(rows/2), "import", "undo", "2")
	w.run(exitDone, "import", "undo", "2")
	after := dump(t, w.dir, true)
	for _, history := range []string{"changes", "change_sets"} {
		delete(before, history)
		delete(after, history)
	}
	compare(t, "taken back", after, before)
}

// changesOf is the lines about changes of import show.
func changesOf(shown string) string {
	return shown[:strings.Index(shown, `"message_type":"summary"`)]
}

func importRows(n int, who func(i int) int) string {
	var b strings.Builder
	b.WriteString("email,name,number,pref\n")
	for i := range n {
		k := who(i)
		address := killAddress(k)
		if i%101 == 100 {
			address = "nobody"
		}
		fmt.Fprintf(&b, "%s,\"Reader, %d\",%d,大阪府\n", address, k*n%7, i)
	}
	return b.String()
}

// folded is the database as it lies on the disk when nobody has it open.
func (w *killWorkspace) folded() []byte {
	w.t.Helper()
	if _, err := os.Stat(filepath.Join(w.dir, "mailer.db-wal")); !os.IsNotExist(err) {
		w.t.Fatalf("a command left its WAL behind: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(w.dir, "mailer.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *killWorkspace) restore(file []byte) {
	w.t.Helper()
	err := fs.WalkDir(os.DirFS(w.dir), ".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(path, "mailer.db") {
			err = os.Remove(filepath.Join(w.dir, path))
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("mailer.db", string(file))
}

// killAt starts a command and kills it when change set 2 has come so far; what counts down is given as negative numbers.
func (w *killWorkspace) killAt(measure string, at int, args ...string) bool {
	w.t.Helper()
	db := openRaw(w.t, w.dir)
	defer db.Close()
	query := fmt.Sprintf("SELECT count(*) FROM change_sets WHERE id = 2 AND state IN ('applying','undoing') AND %s >= ?", measure)
	if at < 0 {
		query = strings.Replace(query, ">= ?", "<= -?", 1)
	}
	cmd := w.command(args...)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	for {
		var there int
		if err := db.QueryRow(query, at).Scan(&there); err != nil {
			w.t.Fatal(err)
		}
		if there > 0 {
			break
		}
		select {
		case <-ended:
			return false
		case <-time.After(200 * time.Microsecond): // the poll's grain, not a guess
		}
	}
	cmd.Process.Signal(syscall.SIGKILL)
	<-ended
	return true
}

func openRaw(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "mailer.db")+"?_pragma=busy_timeout(15000)&_pragma=query_only(1)")
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// times are the columns and the member of a change's sides that tell when something happened.
var (
	timeColumns = []string{"at", "created_at", "updated_at", "finished_at", "since"}
	timeMember  = regexp.MustCompile(`,?"updated":[0-9]+`)
)

// dump is every table but the audit, a text a row, with what tells the time or without.
func dump(t *testing.T, dir string, times bool) map[string][]string {
	t.Helper()
	db := openRaw(t, dir)
	defer db.Close()
	all := map[string][]string{}
	tables := map[string]string{
		// The ids of contacts and the numbers of changes depend on where a transaction ended; what they stand for does not.
		"meta":        "SELECT * FROM meta WHERE name <> 'last_contact' ORDER BY 1",
		"contacts":    "SELECT key, address, fields, created_at, updated_at FROM contacts ORDER BY 1",
		"memberships": "SELECT m.list, c.key, m.since, m.consent_source, m.consent_at, m.consent_text FROM memberships m JOIN contacts c ON c.id = m.contact ORDER BY 1, 2",
		"changes":     "SELECT change_set, line, key, op, before, after FROM changes ORDER BY 1, 2, 3",
	}
	for _, table := range []string{"token_keys", "fields", "lists", "change_sets", "suppressions", "deliveries", "events", "bounces"} {
		tables[table] = "SELECT * FROM " + table + " ORDER BY 1, 2"
	}
	for table, query := range tables {
		rows, err := db.Query(query)
		if err != nil {
			t.Fatal(err)
		}
		names, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		cells, into := make([]any, len(names)), make([]any, len(names))
		for i := range cells {
			into[i] = &cells[i]
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for i, name := range names {
				cell := fmt.Sprint(cells[i])
				if !times && slices.Contains(timeColumns, name) {
					continue
				}
				if !times {
					cell = timeMember.ReplaceAllString(cell, "")
				}
				fmt.Fprintf(&b, "%s=%s ", name, cell)
			}
			all[table] = append(all[table], b.String())
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	var verdict string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Fatalf("integrity check: %s, %v", verdict, err)
	}
	return all
}

func compare(t *testing.T, what string, got, want map[string][]string) {
	t.Helper()
	for table := range want {
		if len(got[table]) != len(want[table]) {
			t.Errorf("%s: %d rows in %s, want %d", what, len(got[table]), table, len(want[table]))
			continue
		}
		for i := range want[table] {
			if got[table][i] != want[table][i] {
				t.Errorf("%s: row %d of %s is\n%s, want\n%s", what, i, table, got[table][i], want[table][i])
				break
			}
		}
	}
}
