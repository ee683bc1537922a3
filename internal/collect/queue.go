package collect

import (
	"context"
	"fmt"
	"sync"
	"time"

	"mailer/internal/store"
)

// While one goroutine reads mails and understands them, another one records those that wait: as many in one transaction as are there,
// and none of them waits for more. What waits is bounded, by number and by bytes.
//
// The transactions are short, and leave room between them for a running send, which commits every few milliseconds.
const (
	atOnce   = 100                  // mails, which take some 15 ms
	beside   = 20                   // the same while somebody sends
	mostSize = 4 << 20              // bytes of mails that wait or are being recorded; one more may come on top
	breath   = 2 * time.Millisecond // how long the lock is free after a transaction
	yields   = 5                    // times as long as a transaction, it is left alone after it beside a send
)

// waiting is a mail that waits to be recorded.
type waiting struct {
	number uint32 // in the mailbox
	size   int
	mail   store.PackedMail
}

// queue is the mails between the two goroutines.
type queue struct {
	mu      sync.Mutex
	changed sync.Cond
	waits   []waiting
	size    int   // of those, and of what is being recorded
	closed  bool  // no more will come
	err     error // why recording ended

	in, out       int      // how many came, how many are recorded
	filed, review []uint32 // recorded and not yet moved
	ended         chan struct{}
}

// queue starts the goroutine that records. Close it.
func (c *collector) queue(ctx context.Context) *queue {
	q := &queue{ended: make(chan struct{})}
	q.changed.L = &q.mu
	go func() {
		defer close(q.ended)
		if err := c.record(ctx, q); err != nil {
			q.fail(err)
		}
	}()
	return q
}

// put adds a mail, when there is room. Its error is that of recording an earlier one.
func (q *queue) put(w waiting) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.err == nil && (len(q.waits) >= atOnce || q.size >= mostSize) {
		q.changed.Wait()
	}
	if q.err == nil {
		q.waits = append(q.waits, w)
		q.size += w.size
		q.in++
		q.changed.Broadcast()
	}
	return q.err
}

// take waits for mails, and returns at most n of them into some; none: no more will come.
func (q *queue) take(some []waiting, n int) []waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waits) == 0 && !q.closed {
		q.changed.Wait()
	}
	some = append(some[:0], q.waits[:min(n, len(q.waits))]...)
	left := copy(q.waits, q.waits[len(some):])
	clear(q.waits[left:])
	q.waits = q.waits[:left]
	q.changed.Broadcast()
	return some
}

// done notes that mails are recorded.
func (q *queue) done(some []waiting, recorded []store.Recorded) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.out += len(recorded)
	for i, r := range recorded {
		if forPerson(some[i].mail.ReadMail, r.Known) {
			q.review = append(q.review, some[i].number)
		} else {
			q.filed = append(q.filed, some[i].number)
		}
	}
	for _, w := range some {
		q.size -= w.size
	}
	q.changed.Broadcast()
}

func (q *queue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
	q.changed.Broadcast()
}

// came says how many came so far.
func (q *queue) came() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.in
}

// recorded waits until the first n that came are recorded, and returns all that were since it was asked before.
func (q *queue) recorded(n int) (filed, review []uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.out < n && q.err == nil {
		q.changed.Wait()
	}
	filed, review = q.filed, q.review
	q.filed, q.review = nil, nil
	return filed, review
}

// close waits until all is recorded, and returns why not.
func (q *queue) close() error {
	q.mu.Lock()
	q.closed = true
	q.changed.Broadcast()
	q.mu.Unlock()
	<-q.ended
	return q.err
}

// record records what waits, until no more comes.
func (c *collector) record(ctx context.Context, q *queue) error {
	var some []waiting
	var mails []store.PackedMail
	var free time.Time // until then the lock is left alone
	for {
		sending, err := c.st.Sending(ctx)
		if err != nil {
			return err
		}
		n := atOnce
		if sending {
			n = beside
		}
		if some = q.take(some, n); len(some) == 0 {
			return nil
		}
		if err := sleep(ctx, time.Until(free)); err != nil {
			return err
		}
		mails = mails[:0]
		for _, w := range some {
			mails = append(mails, w.mail)
		}
		recorded, err := c.o.by.Record(ctx, mails)
		free = time.Now().Add(breath)
		if sending {
			free = time.Now().Add(yields * c.o.by.Held())
		}
		for i, r := range recorded {
			c.tell(some[i], r)
		}
		q.done(some, recorded)
		if err != nil {
			return fmt.Errorf("message %d of %s: %w", some[len(recorded)].number, c.src.Name(), err)
		}
		clear(some)
		clear(mails)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
