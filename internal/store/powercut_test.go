package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
)

// disk is what lies on it at a moment: the file and its WAL.
type disk struct{ file, wal []byte }

func onDisk(t *testing.T, s *Store) disk {
	t.Helper()
	var d disk
	var err error
	if d.file, err = os.ReadFile(s.path); err != nil {
		t.Fatal(err)
	}
	if d.wal, err = os.ReadFile(s.path + "-wal"); err != nil {
		t.Fatal(err)
	}
	return d
}

// put writes it into a folder, without the index of the WAL, which lives in memory.
func (d disk) put(t *testing.T, path string) {
	t.Helper()
	os.Remove(path + "-shm")
	for name, b := range map[string][]byte{path: d.file, path + "-wal": d.wal} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// torn is the WAL when the power went while it went from one state to the next: the write had come to byte n, and beyond it
// lies what was there before, or whatever the disk makes of blocks that were never written.
func torn(before, after []byte, n int, beyond string) []byte {
	wal := bytes.Clone(after[:n])
	switch beyond {
	case "nothing":
	case "old":
		if n < len(before) {
			wal = append(wal, before[n:]...)
		}
	case "zeros":
		wal = append(wal, make([]byte, len(after)-n)...)
	case "garbage":
		wal = append(wal, bytes.Repeat([]byte{0xa5}, len(after)-n)...)
	}
	return wal
}

const (
	walHeader   = 32 // https://www.sqlite.org/fileformat2.html#the_write_ahead_log
	frameHeader = 24
)

// deliveriesOf reads the rows of a torn database as the next process would see them, and changes nothing: a connection that
// can write would fold the WAL in when it closes.
func deliveriesOf(t *testing.T, path string) string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var text string
	err = db.QueryRow(`SELECT coalesce(group_concat(id || ' ' || state || ' ' || attempts || ' ' || message_id || ' ' || code), '')
		|| ' attempts: ' || (SELECT count(*) FROM attempts) || ' suppressed: ' || (SELECT count(*) FROM suppressions)
		FROM (SELECT * FROM deliveries ORDER BY id)`).Scan(&text)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return text
}

// moment is one commit of a run, and what is on the disk once it has returned.
type moment struct {
	name string
	disk disk
	rows string
}

// commits sends six messages as an engine does and keeps every state of the disk. between is called after each commit.
func commits(t *testing.T, s *Store, between func(i int)) []moment {
	t.Helper()
	people(t, s, 6)
	c := freeze(t, s, "news", "marketing", Audience{})
	run, _ := acquire(t, s, c, "a")
	var ids []int64
	rows, err := s.read.Query("SELECT id FROM deliveries ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.write.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	var steps []moment
	keep := func(name string) {
		t.Helper()
		steps = append(steps, moment{name: name, disk: onDisk(t, s), rows: deliveriesOf(t, s.path)})
		between(len(steps))
	}
	keep("frozen")
	claim := func(i int) Claim {
		return Claim{Delivery: ids[i], Relay: "main", MessageID: fmt.Sprintf("m%d@example.com", i)}
	}
	settle := func(i int, phase delivery.Phase, r delivery.Reply, d delivery.Decision) Outcome {
		return Outcome{Delivery: ids[i], Key: fmt.Sprintf("p%03d@example.jp", i), Attempt: 1, Relay: "main", Phase: phase, Reply: r, Decision: d}
	}
	ok := delivery.Reply{Code: 250, Text: "250 ok"}
	for _, commit := range []struct {
		name     string
		claims   []Claim
		outcomes []Outcome
	}{
		{"one claim", []Claim{claim(0)}, nil},
		{"two claims", []Claim{claim(1), claim(2)}, nil},
		{"an outcome and a claim", []Claim{claim(3)}, []Outcome{settle(0, delivery.PhaseDot, ok, delivery.Decision{State: delivery.Accepted})}},
		{"a dead address", nil, []Outcome{settle(1, delivery.PhaseRcpt, delivery.Reply{Code: 550, Enhanced: "5.1.1", Text: "550 5.1.1 no"},
			delivery.Decision{State: delivery.Failed, Reason: "userunknown", Hard: true})}},
		{"deferred, put back, and two claims", []Claim{claim(4), claim(5)}, []Outcome{
			settle(2, delivery.PhaseRcpt, delivery.Reply{Code: 451, Text: "451 later"}, delivery.Decision{State: delivery.Deferred, Reason: "onhold", NextTry: time.Minute}),
			settle(3, "", delivery.Reply{}, delivery.Decision{})}},
		{"the last outcomes", nil, []Outcome{settle(4, delivery.PhaseDot, ok, delivery.Decision{State: delivery.Accepted}),
			settle(5, delivery.PhaseDot, delivery.Reply{}, delivery.Decision{State: delivery.Uncertain, Reason: "lost"})}},
	} {
		claimed, _, err := run.Commit(t.Context(), commit.claims, commit.outcomes)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range claimed {
			if got.Attempt != 1 {
				t.Fatalf("%s: claim %d was not made: %+v", commit.name, i, got)
			}
		}
		keep(commit.name)
	}
	return steps
}

// The power goes at a byte of a commit that has not returned. Every claim and outcome whose commit has returned is
// there, and of the one under way all or nothing. The WAL is folded into the file in between, and written from its
// beginning again over what is old.
func TestPowerCutInTheWAL(t *testing.T) {
	for _, fold := range []string{"never", "between"} {
		t.Run("folded "+fold, func(t *testing.T) {
			t.Parallel()
			s, _ := openTest(t)
			steps := commits(t, s, func(i int) {
				if fold == "between" && i%2 == 0 {
					if _, err := s.write.Exec("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
						t.Fatal(err)
					}
				}
			})
			path := filepath.Join(t.TempDir(), "mailer.db")
			cuts := 0
			for i := 1; i < len(steps); i++ {
				before, after := steps[i-1], steps[i]
				if before.rows == after.rows {
					t.Fatalf("%s changed nothing", after.name)
				}
				// The file is as it was synced last: a fold of step i-1 came before commit i began.
				file := after.disk.file
				disk{file, before.disk.wal}.put(t, path)
				if got := deliveriesOf(t, path); got != before.rows {
					t.Fatalf("before %s: %s, want %s", after.name, got, before.rows)
				}
				for n, beyond := range cutsOf(before.disk.wal, after.disk.wal, fold == "never" && i == 1 && !mailtest.Race) {
					cuts++
					os.Remove(path + "-shm")
					if err := os.WriteFile(path+"-wal", torn(before.disk.wal, after.disk.wal, n, beyond), 0o600); err != nil {
						t.Fatal(err)
					}
					if got := deliveriesOf(t, path); got != before.rows && got != after.rows {
						t.Fatalf("%s cut at byte %d of %d, beyond it %s:\n%s\nis neither\n%s nor\n%s", after.name, n, len(after.disk.wal), beyond, got, before.rows, after.rows)
					} else if got == after.rows && n < len(after.disk.wal)-4096 && fold == "never" {
						t.Fatalf("%s cut at byte %d: all of it is there?", after.name, n)
					}
				}
			}
			t.Logf("%d cuts", cuts)
		})
	}
}

// cutsOf goes through the places at which a write from one state of the WAL to the next may end. Of the last frame
// that is every byte when every is set; else all around the head of a frame, and some within its page: a frame counts only
// when it is whole.
func cutsOf(before, after []byte, every bool) func(func(int, string) bool) {
	first := 0
	for first < len(before) && first < len(after) && before[first] == after[first] {
		first++
	}
	near, far := 1, 101 // steps
	if mailtest.Race {
		near, far = 17, 1999
	}
	return func(yield func(int, string) bool) {
		for n := first; n <= len(after); n++ {
			head := (n-walHeader+8)%(frameHeader+4096) < frameHeader+16
			last := every && n > len(after)-frameHeader-4096
			if (last || head && n%near == 0 || n%far == 0 || n == len(after)) && !yield(n, "nothing") {
				return
			}
			for _, beyond := range []string{"old", "zeros", "garbage"} {
				if (head && n%(3*near) == 0 || n%(4*far) == 0) && !yield(n, beyond) {
					return
				}
			}
		}
	}
}

// After the cut a next process opens the file, finds it whole, and takes the campaign over: what was claimed is in doubt
// and is not claimed again, what was settled stays settled.
func TestTheNextProcessAfterAPowerCut(t *testing.T) {
	s, now := openTest(t)
	steps := commits(t, s, func(int) {})
	for i := 1; i < len(steps); i++ {
		before, after := steps[i-1], steps[i]
		for _, n := range []int{len(before.disk.wal), len(before.disk.wal) + frameHeader + 1, len(after.disk.wal) - 1, len(after.disk.wal)} {
			for _, beyond := range []string{"nothing", "zeros", "garbage"} {
				path := filepath.Join(t.TempDir(), "mailer.db")
				disk{after.disk.file, torn(before.disk.wal, after.disk.wal, n, beyond)}.put(t, path)
				have := deliveriesOf(t, path)
				next, err := Open(t.Context(), path, Options{Now: func() time.Time { return *now }, Actor: "test", Gone: func(string) bool { return true }})
				if err != nil {
					t.Fatalf("%s cut at byte %d: %v", after.name, n, err)
				}
				c, err := next.Campaign(t.Context(), "news")
				if err != nil {
					t.Fatal(err)
				}
				_, doubtful, err := next.Acquire(context.Background(), c, "b", time.Minute, func(string) bool { return true }, nil)
				if err != nil || int(doubtful) != strings.Count(have, " sending ") {
					t.Errorf("%s cut at byte %d: %d in doubt, %v; was\n%s", after.name, n, doubtful, err, have)
				}
				b, err := next.Balance(t.Context(), c.ID)
				if err != nil || !b.Balanced() || int(b.Accepted) != strings.Count(have, " accepted ") || int(b.Uncertain) != strings.Count(have, " uncertain ")+int(doubtful) {
					t.Errorf("%s cut at byte %d: %s, %v", after.name, n, b, err)
				}
				next.Close()
			}
		}
	}
}
