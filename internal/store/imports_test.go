package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"
)

// What an import waits for the lock of others is not what it takes from them: its pace goes by the second alone.
func TestHeldIsWithoutTheWait(t *testing.T) {
	s, _ := openTest(t)
	im, err := s.BeginImport(t.Context(), ImportSpec{Kind: "import", Source: "a.csv", SourceHash: "a", Options: "{}"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(t.Context(), s.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	const wait = 300 * time.Millisecond
	taken, released := make(chan struct{}), make(chan error, 1)
	go func() {
		released <- other.update(context.Background(), func(*sql.Tx) error {
			close(taken)
			time.Sleep(wait) // the other one's transaction takes so long
			return nil
		})
	}()
	<-taken
	began := time.Now()
	if err := s.Apply(t.Context(), im, []Row{{Line: 2, Address: "a@example.jp", Key: "a@example.jp"}}); err != nil {
		t.Fatal(err)
	}
	if err := <-released; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); im.Held <= 0 || took-im.Held < wait/2 {
		t.Errorf("held %v of %v, %v of which another one held the lock", im.Held, took, wait)
	}
}

// Two imports that look at the same time both find a column new. The second to begin uses the field of the first.
func TestTwoImportsOfTheSameNewField(t *testing.T) {
	s, _ := openTest(t)
	spec := func(names ...string) ImportSpec {
		return ImportSpec{Kind: "import", Source: "test.csv", Options: "{}", Columns: columns(names...)}
	}
	first, err := s.BeginImport(t.Context(), spec("a", "n#"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.BeginImport(t.Context(), spec("a", "n#", "b"))
	if err != nil {
		t.Fatalf("the second import: %v", err)
	}
	if second.Columns[0] != first.Columns[0] || second.Columns[1] != first.Columns[1] || len(second.Totals.Fields) != 1 {
		t.Errorf("%+v made %v", second.Columns, second.Totals.Fields)
	}
	if _, err := s.BeginImport(t.Context(), spec("n")); err == nil || !strings.Contains(err.Error(), "run the same command again") {
		t.Errorf("texts went into a field of numbers: %v", err)
	}
}

// What an import changed and its undo restored is as it was, the time of its last change too.
func TestUndoRestoresTheTimeOfTheLastChange(t *testing.T) {
	s, now := openTest(t)
	updated := func() (ms int64) {
		t.Helper()
		if err := s.read.QueryRow("SELECT updated_at FROM contacts WHERE id = 1").Scan(&ms); err != nil {
			t.Fatal(err)
		}
		return ms
	}
	put(t, s, ImportSpec{Columns: columns("a")}, row(2, 1, "x"))
	before := updated()
	*now = now.Add(time.Hour)
	im := begin(t, s, ImportSpec{Columns: columns("a")})
	for _, rows := range [][]Row{{row(2, 1, "y"), row(3, 1, "z")}, {row(4, 1, "u"), row(5, 1, "u")}} {
		*now = now.Add(time.Minute)
		if err := s.Apply(t.Context(), im, rows); err != nil {
			t.Fatal(err)
		}
	}
	if updated() != now.UnixMilli() {
		t.Errorf("the import left the time at %d", updated())
	}
	*now = now.Add(time.Hour)
	if u := undoAll(t, s, im.ID); u.Left != 0 || updated() != before {
		t.Errorf("%+v, the time is %d, want %d", u, updated(), before)
	}
	// A value that somebody changed since stays, and so does its time, or a newer one.
	im = put(t, s, ImportSpec{Columns: columns("a", "b")}, row(2, 1, "y", "1"))
	*now = now.Add(time.Minute)
	put(t, s, ImportSpec{Columns: columns("a")}, row(2, 1, "w"))
	*now = now.Add(time.Minute)
	if u := undoAll(t, s, im.ID); u.Left != 1 || updated() != now.UnixMilli() {
		t.Errorf("%+v, the time is %d, want that of the undo, %d", u, updated(), now.UnixMilli())
	}
}

// A short write, as a pause or an unsubscribe, finds its moment beside a process that hardly ever lets go of the lock.
func TestShortWriteBesideABusyOne(t *testing.T) {
	s, _ := openTest(t)
	busy, err := Open(t.Context(), s.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	stop, stopped, taken := make(chan struct{}), make(chan error, 1), make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			err := busy.update(context.Background(), func(*sql.Tx) error {
				select {
				case taken <- struct{}{}:
				default:
				}
				time.Sleep(20 * time.Millisecond) // what it does with the lock
				return nil
			})
			if err != nil {
				stopped <- err
				return
			}
			time.Sleep(time.Millisecond) // what it does without
		}
	}()
	const writes = 10
	var took time.Duration
	for range writes {
		<-taken
		began := time.Now()
		if err := s.update(t.Context(), func(*sql.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		took += time.Since(began)
	}
	if took > writes*300*time.Millisecond {
		t.Errorf("%d short writes waited %v", writes, took)
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

// A consent that was not written down at first can be added by importing the list again, and taken back with it. One that
// is on record stays as it is.
func TestConsentIsAddedWhereNoneIsOnRecord(t *testing.T) {
	s, _ := openTest(t)
	load := func(hash, source string) *Import {
		t.Helper()
		return put(t, s, ImportSpec{SourceHash: hash, Columns: columns("a"), List: "readers", Consent: Consent{Source: source}}, row(2, 1, "x"))
	}
	onRecord := func() string {
		t.Helper()
		var source string
		if err := s.read.QueryRow("SELECT consent_source FROM memberships").Scan(&source); err != nil {
			t.Fatal(err)
		}
		return source
	}
	load("first", "")
	second := load("second", "web form")
	if got := second.Totals; got.Updated != 1 || onRecord() != "web form" {
		t.Errorf("%+v, on record %q", got, onRecord())
	}
	if got := load("third", "fair").Totals; got.Unchanged != 1 || onRecord() != "web form" {
		t.Errorf("a second consent: %+v, on record %q", got, onRecord())
	}
	undoAll(t, s, second.ID)
	if got := onRecord(); got != "" {
		t.Errorf("after undo: %q", got)
	}
}

// A wait for the lock ends with its context, the second time too: the first one cost the connection.
func TestWaitForTheLockEndsWithItsContext(t *testing.T) {
	s, _ := openTest(t)
	other, err := Open(t.Context(), s.path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.update(t.Context(), func(*sql.Tx) error {
		begin := time.Now()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Millisecond)
			if err := s.update(ctx, func(*sql.Tx) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			cancel()
		}
		if took := time.Since(begin); took > patience/2 {
			t.Errorf("three waits of 15 ms took %s", took)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// An import that is interrupted in the middle of a transaction leaves a connection that checks what it writes.
func TestInterruptedApplyLeavesTheChecksOn(t *testing.T) {
	s, _ := openTest(t)
	im := begin(t, s, ImportSpec{Columns: columns("a")})
	ctx, cancel := context.WithCancel(t.Context())
	err := s.update(ctx, func(tx *sql.Tx) error {
		if err := ignoreChecks(ctx, tx, true); err != nil {
			return err
		}
		cancel()
		for s.write.Stats().InUse > 0 { // until database/sql has taken the transaction away
			time.Sleep(time.Millisecond)
		}
		return ignoreChecks(ctx, tx, false)
	})
	if err == nil {
		t.Fatal("the transaction was not taken away")
	}
	if err := s.Apply(ctx, im, []Row{row(2, 1, "x")}); err == nil {
		t.Fatal("applied with a context that is over")
	}
	var off bool
	if err := s.write.QueryRow("PRAGMA ignore_check_constraints").Scan(&off); err != nil || off {
		t.Errorf("checks off: %v, %v", off, err)
	}
}
