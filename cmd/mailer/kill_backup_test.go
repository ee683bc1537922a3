package main

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailer/internal/mailtest"
)

// backupWorkspace has a database of some megabytes, a backup of it, and has gone on since: people came and went, and one asked not to
// be mailed.
func backupWorkspace(t *testing.T, rows int) *killWorkspace {
	t.Helper()
	w := &killWorkspace{t: t, dir: t.TempDir(), bin: binary(t)}
	w.write("mailer.yaml", "sender: {from: News <news@example.com>}\n")
	w.write("first.csv", importRows(rows, func(i int) int { return i }))
	w.write("second.csv", importRows(rows, func(i int) int { return i + rows/2 }))
	w.run(exitSome, "import", "first.csv", "--list", "readers")
	w.run(exitDone, "backup", "backup.db")
	w.run(exitSome, "import", "second.csv", "--list", "readers")
	w.run(exitDone, "suppressions", "add", killAddress(7))
	return w
}

// killAfter kills a command that lasts about as long as whole at some moment, and reports whether it was quicker.
func (w *killWorkspace) killAfter(wait time.Duration, args ...string) (ended bool) {
	w.t.Helper()
	cmd := w.command(args...)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(wait)
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	return cmd.ProcessState.Exited()
}

func (w *killWorkspace) took(want int, args ...string) time.Duration {
	w.t.Helper()
	begin := time.Now()
	w.run(want, args...)
	return time.Since(begin)
}

// files are the names in the workspace that begin so.
func (w *killWorkspace) files(prefix string) []string {
	w.t.Helper()
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			all = append(all, e.Name())
		}
	}
	return all
}

// An hour passes: what nobody writes to any more is old.
func (w *killWorkspace) anHourLater() {
	w.t.Helper()
	then := time.Now().Add(-time.Hour)
	for _, name := range w.files("") {
		if err := os.Chtimes(filepath.Join(w.dir, name), then, then); err != nil {
			w.t.Fatal(err)
		}
	}
}

// backupKills is how often each of the two is killed: a round is slow with the race detector.
func backupKills() int {
	if mailtest.Race {
		return 6
	}
	return 20
}

func sameDump(a, b map[string][]string) bool { return maps.EqualFunc(a, b, slices.Equal) }

// A backup that is killed at a random moment is there, whole, or not there; the database has nothing of it, and the next one works.
func TestKillNineDuringBackup(t *testing.T) {
	kills := backupKills()
	w := backupWorkspace(t, 3000)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	before := dump(t, w.dir, true)
	whole := w.took(exitDone, "backup", "other.db")
	there := 0
	for kill := range kills {
		name := fmt.Sprintf("copy-%d.db", kill)
		w.killAfter(time.Duration(rnd.Int64N(int64(whole)*11/10)), "backup", name)
		if got := dump(t, w.dir, true); !sameDump(got, before) {
			t.Fatalf("kill %d changed the database", kill)
		}
		switch left := w.files(name); {
		case slices.Contains(left, name):
			there++
			w.run(exitDone, "db", "check", name)
		default:
			w.run(exitDone, "backup", name)
			w.run(exitDone, "db", "check", name, "--quick")
		}
		w.anHourLater()
		w.run(exitDone, "backup", name, "--force")
		if left := w.files(name); len(left) != 1 {
			t.Errorf("kill %d left %v", kill, left)
		}
		os.Remove(filepath.Join(w.dir, name))
	}
	t.Logf("an undisturbed one takes %v; %d of %d were there after the kill", whole, there, kills)
	w.run(exitDone, "db", "check")
}

// A restore that is killed at a random moment has happened, all of it, or has not; and the next one works.
func TestKillNineDuringRestore(t *testing.T) {
	kills := backupKills()
	w := backupWorkspace(t, 3000)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	file, before := w.folded(), dump(t, w.dir, true)
	putBack := func() {
		for _, name := range []string{"mailer.db-wal", "mailer.db-shm"} {
			os.Remove(filepath.Join(w.dir, name))
		}
		w.write("mailer.db", string(file))
	}
	whole := w.took(exitDone, "restore", "backup.db", "--yes")
	after := dump(t, w.dir, true)
	if sameDump(before, after) || len(after["suppressions"]) != 1 || len(after["contacts"]) >= len(before["contacts"]) {
		t.Fatal("the restore does not do what this test is about")
	}
	putBack()
	old, new := 0, 0
	for kill := range kills {
		w.killAfter(time.Duration(rnd.Int64N(int64(whole)*11/10)), "restore", "backup.db", "--yes")
		switch got := dump(t, w.dir, true); {
		case sameDump(got, before):
			old++
		case sameDump(got, after):
			new++
		default:
			compare(t, fmt.Sprintf("kill %d, beside the old", kill), got, before)
			compare(t, fmt.Sprintf("kill %d, beside the new", kill), got, after)
			t.FailNow()
		}
		w.run(exitDone, "db", "check")
		w.anHourLater()
		w.run(exitDone, "restore", "backup.db", "--yes")
		if got := dump(t, w.dir, true); !sameDump(got, after) {
			compare(t, fmt.Sprintf("restored after kill %d", kill), got, after)
			t.FailNow()
		}
		for _, name := range w.files("mailer.db.") {
			if !strings.HasPrefix(name, "mailer.db.before-restore-") || strings.Contains(name, ".part-") {
				t.Errorf("kill %d left %s", kill, name)
				continue
			}
			w.run(exitDone, "db", "check", name, "--quick")
			os.Remove(filepath.Join(w.dir, name))
		}
		putBack()
	}
	t.Logf("an undisturbed one takes %v; %d kills left the old state, %d the new one", whole, old, new)
}

// Half of a campaign is sent, a backup made beside it, the rest is sent, and the backup restored: whatever is sent afterwards, nobody has
// it twice.
func TestRestoreDrill(t *testing.T) {
	for name, tt := range map[string]struct {
		lose bool // the database
		args []string
		code int // of the send that follows
		all  bool
	}{
		"what was sent is known":     {false, nil, exitDone, true},
		"the file as it is":          {false, []string{"--exact"}, exitLeft, false},
		"on a machine that is empty": {true, nil, exitLeft, false},
	} {
		t.Run(name, func(t *testing.T) {
			const recipients = 400
			srv := mailtest.NewSMTP(t, mailtest.Script{})
			w := relayWorkspace(t, srv, recipients)
			w.write("campaigns/other.md", "---\nsubject: Other\n---\nHello.\n")
			first := w.command("send", "news", "--list", "readers", "--yes", "--limit", "200", "--rate", "400/s")
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			for len(srv.Accepted()) < 50 {
				time.Sleep(time.Millisecond)
			}
			w.run(exitDone, "backup", "backup.db")
			if sent := len(srv.Accepted()); sent >= 200 {
				t.Logf("the backup came after the send: %d", sent)
			}
			w.run(exitBusy, "restore", "backup.db", "--yes")
			if code := result(first); code != exitLeft {
				t.Fatalf("the first half: exit code %d", code)
			}
			w.run(exitDone, "send", "news", "--list", "readers", "--yes")
			w.run(exitDone, "send", "other", "--list", "readers", "--yes")
			if tt.lose {
				for _, name := range w.files("mailer.db") {
					os.Remove(filepath.Join(w.dir, name))
				}
			}
			w.run(exitDone, append([]string{"restore", "backup.db", "--yes"}, tt.args...)...)
			w.run(tt.code, "send", "news", "--list", "readers", "--yes")
			w.run(exitDone, "run")
			if tt.all {
				w.run(exitDone, "send", "other", "--list", "readers", "--yes")
				for address, r := range w.everybody() {
					if r.State != "accepted" {
						t.Errorf("%s is %s", address, r.State)
					}
				}
			}
			got := map[string]int{}
			for _, m := range srv.Accepted() {
				got[m.Rcpts[0].Address+fmt.Sprint(bytes.Contains(m.Data, []byte("Subject: Other")))]++
			}
			for to, n := range got {
				if n != 1 {
					t.Errorf("%s has it %d times", to, n)
				}
			}
			if len(got) != 2*recipients {
				t.Errorf("%d messages were sent, want %d", len(got), 2*recipients)
			}
			w.run(exitDone, "db", "check")
		})
	}
}
