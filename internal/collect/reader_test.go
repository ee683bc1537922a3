package collect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailer/internal/mailbox"
	"mailer/internal/sandbox"
)

// reader reads folders of the world's mailbox.
func (w *world) reader(o Options, folders ...string) *Reader {
	if len(folders) == 0 {
		folders = []string{"INBOX"}
	}
	return &Reader{Store: w.st, Keys: w.keys, Folders: folders, Options: o, Poll: 50 * time.Millisecond,
		Open: func(ctx context.Context, folder string) (Source, error) {
			return mailbox.Open(ctx, mailbox.Options{Host: w.imap.Host, Port: w.imap.Port, TLS: mailbox.TLSNone, Username: w.imap.Username,
				Password: w.imap.Password, Folder: folder, Processed: "Processed", Review: "Review", Timeout: 20 * time.Second})
		}}
}

// A connection that is lost on the way is made again, until all is read; one that is lost each time without a mail in between is not.
func TestReconnect(t *testing.T) {
	const n = 9
	w := newWorld(t, n)
	for id := 1; id <= n; id++ {
		w.deliver(w.hard(id))
	}
	fetched, lost := 0, 0
	w.fault(func(command string) error {
		if command == "FETCH" {
			if fetched++; fetched == 2 || fetched == 4 {
				return sandbox.ErrHangUp
			}
		}
		return nil
	})
	r := w.reader(Options{Batch: 3})
	r.Lost = func(err error, wait time.Duration) {
		lost++
		if err == nil || wait < firstWait*3/4 || wait > firstWait*5/2 { // what was not moved yet is read again
			t.Errorf("%v, wait %s", err, wait)
		}
	}
	sum, err := r.Once(context.Background())
	if err != nil || sum.Hard != n || sum.Suppressed != n || lost != 2 || w.imap.Count("Processed") != n {
		t.Errorf("%+v, %v, lost %d times, %d moved", sum, err, lost, w.imap.Count("Processed"))
	}
}

// A mailbox that gives its mails and then does not let them go, because the folder they are to be moved to is full for one, is no progress:
// the same mails again are not read for ever.
func TestWhatCannotBeMovedEnds(t *testing.T) {
	w := newWorld(t, 3)
	full := &mailbox.Error{Server: "x", Err: errors.New("over quota")}
	src := &script{n: 3, read: func(number uint32, give func(string) error) error { return give(w.hard(int(number))) }, full: full}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		r := w.reader(Options{})
		r.Open = func(context.Context, string) (Source, error) { return src, nil }
		lost := 0
		r.Lost = func(error, time.Duration) { lost++ }
		sum, err := r.Once(ctx)
		if !errors.Is(err, error(full)) || sum.Hard != 3 || lost != tries-1 {
			t.Errorf("%+v, %v, lost %d times", sum, err, lost)
		}
	})
}

// Who cannot be reached at all is told at once.
func TestNotReached(t *testing.T) {
	w := newWorld(t, 0)
	r := w.reader(Options{})
	r.Lost = func(error, time.Duration) { t.Error("waits") }
	tried := 0
	r.Open = func(context.Context, string) (Source, error) {
		tried++
		return nil, &mailbox.Error{Server: "x", Err: errors.New("down")}
	}
	if _, err := r.Once(context.Background()); err == nil || tried != 1 {
		t.Errorf("%v after %d", err, tried)
	}
}

// broken is a mailbox whose connection breaks as soon as it is used.
type broken struct {
	mailbox.Box
	err error
}

func (b broken) Name() string                           { return "broken" }
func (b broken) Resume(string)                          {}
func (b broken) Mark() string                           { return "" }
func (b broken) Close() error                           { return nil }
func (b broken) List(context.Context) ([]uint32, error) { return nil, b.err }

// The waits grow, with some chance in them, to five minutes; Once gives up, Watch does not.
func TestBackOff(t *testing.T) {
	w := newWorld(t, 0)
	down := &mailbox.Error{Server: "x", Err: errors.New("down")}
	synctest.Test(t, func(t *testing.T) {
		var waits []time.Duration
		r := w.reader(Options{})
		r.Open = func(context.Context, string) (Source, error) { return broken{err: down}, nil }
		r.Lost = func(_ error, wait time.Duration) { waits = append(waits, wait) }
		if _, err := r.Once(t.Context()); !errors.Is(err, error(down)) || len(waits) != tries-1 {
			t.Errorf("%v after %v", err, waits)
		}
		waits = nil
		r.Open = func(context.Context, string) (Source, error) { return nil, down }
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		if _, err := r.Watch(ctx); err != nil {
			t.Error(err)
		}
		want := firstWait
		for i, d := range waits {
			if d < want*3/4 || d > want*5/4 {
				t.Errorf("wait %d is %s, want about %s", i, d, want)
			}
			want = min(2*want, lastWait)
		}
		if len(waits) < 25 {
			t.Errorf("gave up after %d", len(waits))
		}
		// What a person has to mend ends it.
		r.Open = func(context.Context, string) (Source, error) {
			return nil, &mailbox.Error{Server: "x", Config: true, Err: errors.New("password")}
		}
		if _, err := r.Watch(t.Context()); err == nil {
			t.Error("goes on with a wrong password")
		}
	})
}

func TestFolders(t *testing.T) {
	w := newWorld(t, 4)
	w.deliver(w.hard(1), w.hard(2))
	if sum, err := w.reader(Options{}, "INBOX").Once(context.Background()); err != nil || sum.Hard != 2 {
		t.Fatal(sum, err)
	}
	w.deliver(w.hard(3), w.hard(4))
	var told []string
	r := w.reader(Options{DryRun: true, Each: func(o Outcome) { told = append(told, fmt.Sprint(o.N, "/", o.Total)) }}, "Processed", "INBOX")
	sum, err := r.Once(context.Background())
	if err != nil || sum.Read != 4 || sum.Hard != 2 || strings.Join(told, " ") != "1/2 2/2 3/4 4/4" {
		t.Errorf("%+v, %v, %q", sum, err, told)
	}
	r = w.reader(Options{DryRun: true, Limit: 3}, "Processed", "INBOX")
	if sum, err := r.Once(context.Background()); err != nil || sum.Read != 3 {
		t.Errorf("limit: %+v, %v", sum, err)
	}
}

// TestWatch: what comes is read when it comes, in every folder, also after the connection was lost; the end of ctx is the end.
func TestWatch(t *testing.T) {
	w := newWorld(t, 9)
	w.deliver(w.hard(1))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	read := make(chan int, 100)
	r := w.reader(Options{})
	r.Round = func(sum Summary) { read <- sum.Hard }
	ended := make(chan error, 1)
	go func() { _, err := r.Watch(ctx); ended <- err }()
	want := func(n int) {
		t.Helper()
		for {
			select {
			case got := <-read:
				if got == n {
					return
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("never read %d", n)
			}
		}
	}
	want(1)
	for id := 2; id <= 4; id++ {
		w.deliver(w.hard(id))
		want(id)
	}
	once := true
	w.fault(func(command string) error {
		if command == "SEARCH" && once {
			once = false
			return sandbox.ErrHangUp
		}
		return nil
	})
	w.deliver(w.hard(5))
	want(5)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := w.imap.Count("Processed"); n != 5 {
		t.Errorf("%d moved", n)
	}
}

// sleepy is a mailbox that does not tell when mail comes.
type sleepy struct{ mailbox.Box }

func TestWatchPolls(t *testing.T) {
	w := newWorld(t, 2)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r := w.reader(Options{}, "INBOX", "INBOX")
	open, opened := r.Open, 0
	r.Open = func(ctx context.Context, folder string) (Source, error) {
		box, err := open(ctx, folder)
		if opened++; opened%2 == 1 || err != nil {
			return box, err
		}
		return sleepy{box}, nil
	}
	r.Round = func(sum Summary) {
		if sum.Hard == 2 {
			cancel()
			return
		}
		w.deliver(w.hard(2))
	}
	w.deliver(w.hard(1))
	sum, err := r.Watch(ctx)
	if err != nil && !errors.Is(err, context.Canceled) || sum.Hard != 2 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// TestForPerson: what nobody can be held to goes where a person finds it, and goes there again when the first sync was killed before it
// could move it.
func TestForPerson(t *testing.T) {
	for _, killed := range []bool{false, true} {
		w := newWorld(t, 3)
		w.deliver(
			w.hard(1),
			report("bounce@news.example", address(2), "failed", "5.1.1", "550 5.1.1 User unknown", ""),         // unmatched
			report(returnPath(w.sign('b', 99)), address(2), "failed", "5.1.1", "550 5.1.1 User unknown", ""),   // of a delivery that is no more
			report(returnPath("b11-0000000000000000"), address(2), "failed", "5.1.1", "550 5.1.1 unknown", ""), // forged
			"From: friend@example.org\nTo: bounce@news.example\nSubject: hello\n\nhow are you?\n",              // from a person
			"From: x@shop.example\nTo: "+returnPath(w.sign('b', 3))+"\nSubject: Away\nAuto-Submitted: auto-replied\n\naway\n",
		)
		if killed {
			w.fault(func(command string) error {
				if command == "MOVE" {
					return sandbox.ErrHangUp
				}
				return nil
			})
			ctx, cancel := context.WithCancel(context.Background())
			r := w.reader(Options{})
			r.Lost = func(error, time.Duration) { cancel() }
			if _, err := r.Once(ctx); err == nil {
				t.Fatal("nothing was lost")
			}
			w.fault(nil)
		}
		if _, err := w.reader(Options{}).Once(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := []int{w.imap.Count("INBOX"), w.imap.Count("Processed"), w.imap.Count("Review")}; !slices.Equal(got, []int{0, 3, 3}) {
			t.Errorf("killed %v: INBOX, Processed, Review: %v", killed, got)
		}
	}
}

// TestLeave: where mail stays, only what is new is read; after the folder was made anew all of it is, and nothing acts twice.
func TestLeave(t *testing.T) {
	w := newWorld(t, 3)
	r := w.reader(Options{})
	r.Open = func(ctx context.Context, folder string) (Source, error) {
		return mailbox.Open(ctx, mailbox.Options{Host: w.imap.Host, Port: w.imap.Port, TLS: mailbox.TLSNone, Username: w.imap.Username,
			Password: w.imap.Password, After: mailbox.AfterLeave})
	}
	want := func(read, hard int) {
		t.Helper()
		if sum, err := r.Once(context.Background()); err != nil || sum.Read != read || sum.Hard != hard {
			t.Errorf("%+v, %v, want %d read and %d hard", sum, err, read, hard)
		}
	}
	w.deliver(w.hard(1), w.hard(2))
	want(2, 2)
	want(0, 0)
	w.deliver(w.hard(3))
	want(1, 1)
	r.DryRun = true
	w.deliver(w.hard(3))
	want(1, 0)
	want(1, 0)
	r.DryRun = false
	w.exec("UPDATE meta SET value = '99999 ' || substr(value, instr(value, ' ') + 1) WHERE name GLOB 'mailbox:*'")
	want(4, 0)
	if n := w.text("SELECT count(*) FROM events WHERE kind = 'bounce'"); n != "3" {
		t.Errorf("%s bounces", n)
	}
}
