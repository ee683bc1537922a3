package collect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailer/internal/mailbox"
	"mailer/internal/store"
)

// script is a mailbox of n mails that gives each when it likes.
type script struct {
	n     int
	read  func(number uint32, give func(raw string) error) error
	moved []uint32
}

func (s *script) Name() string  { return "script" }
func (s *script) Resume(string) {}
func (s *script) Mark() string  { return "" }
func (s *script) Close() error  { return nil }

func (s *script) List(context.Context) ([]uint32, error) {
	var all []uint32
	for n := range s.n {
		all = append(all, uint32(n+1))
	}
	return all, nil
}

func (s *script) Read(_ context.Context, numbers []uint32, fn func(mailbox.Message) error) error {
	for _, n := range numbers {
		give := func(raw string) error {
			return fn(mailbox.Message{Number: n, Raw: []byte(strings.ReplaceAll(raw, "\n", "\r\n"))})
		}
		if err := s.read(n, give); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) Done(_ context.Context, filed, review []uint32) error {
	s.moved = append(append(s.moved, filed...), review...)
	return nil
}

// A mail is acted on at once, also when it takes long until the next one comes.
func TestNoMailWaitsForTheNext(t *testing.T) {
	const n = 3
	w := newWorld(t, n)
	told := make(chan int, n)
	src := &script{n: n, read: func(number uint32, give func(string) error) error {
		if err := give(w.hard(int(number))); err != nil {
			return err
		}
		select {
		case got := <-told:
			if got != int(number) {
				t.Errorf("told of mail %d, want %d", got, number)
			}
		case <-time.After(30 * time.Second):
			return fmt.Errorf("mail %d waits for the next", number)
		}
		w.want(int(number), "bounced userunknown hard_bounce/all") // told after it is so
		return nil
	}}
	sum, err := Sync(t.Context(), w.st, src, w.keys, Options{Each: func(o Outcome) { told <- o.N }})
	if err != nil || sum.Hard != n {
		t.Errorf("%+v, %v", sum, err)
	}
}

// Where a mail of a batch cannot be recorded, those before it are, and are moved; it and those after it stay for the next time.
func TestOneBrokenAmongMany(t *testing.T) {
	const n, broken = 30, 17
	w := newWorld(t, n)
	w.exec(fmt.Sprintf("CREATE TRIGGER fault BEFORE INSERT ON events WHEN NEW.delivery = %d BEGIN SELECT RAISE(ABORT, 'no'); END", broken))
	src := &script{n: n, read: func(number uint32, give func(string) error) error { return give(w.hard(int(number))) }}
	var told []int
	sum, err := Sync(t.Context(), w.st, src, w.keys, Options{Each: func(o Outcome) { told = append(told, o.N) }})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("message %d of script", broken)) {
		t.Errorf("%v", err)
	}
	if sum.Hard != broken-1 || sum.Suppressed != broken-1 || len(told) != broken-1 || len(src.moved) != broken-1 {
		t.Errorf("%+v, told of %d, moved %d", sum, len(told), len(src.moved))
	}
	if got := w.text("SELECT count(*) || ' ' || count(DISTINCT delivery) || ' ' || max(delivery) FROM bounces"); got != fmt.Sprintf("%d %[1]d %[1]d", broken-1) {
		t.Errorf("recorded: %s", got)
	}
	w.exec("DROP TRIGGER fault")
	sum, err = Sync(t.Context(), w.st, src, w.keys, Options{})
	if err != nil || sum.Read != n || sum.Hard != n-broken+1 {
		t.Errorf("again: %+v, %v", sum, err)
	}
}

// What waits is bounded by number and by bytes, whatever is fast: the reader waits for the recorder, and hears when it has ended.
func TestQueueIsBounded(t *testing.T) {
	for _, c := range []struct{ size, want int }{{10, atOnce}, {1 << 20, 4}, {mailbox.MaxMessage, 1}} {
		synctest.Test(t, func(t *testing.T) {
			q := &queue{}
			q.changed.L = &q.mu
			put, ended := 0, make(chan error)
			go func() {
				for {
					if err := q.put(waiting{size: c.size}); err != nil {
						ended <- err
						return
					}
					put++
				}
			}()
			synctest.Wait()
			if put != c.want {
				t.Errorf("%d bytes each: %d wait, want %d", c.size, put, c.want)
			}
			some := q.take(nil, 1)
			synctest.Wait()
			if room := put - c.want; room != 0 && c.size > 10 { // the bytes are there until the mail is recorded
				t.Errorf("%d bytes each: room for %d more before one is recorded", c.size, room)
			}
			q.done(some, []store.Recorded{{}})
			synctest.Wait()
			if put != c.want+1 {
				t.Errorf("%d bytes each: %d wait after one was recorded, want %d", c.size, put, c.want+1)
			}
			no := errors.New("no")
			q.fail(no)
			if err := <-ended; !errors.Is(err, no) {
				t.Errorf("%v", err)
			}
		})
	}
}
