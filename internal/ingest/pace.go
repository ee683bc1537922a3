package ingest

import (
	"context"
	"time"

	"mailer/internal/store"
)

// pace keeps transactions short and leaves room between them for a running send.
//
// A send commits every few milliseconds and waits for the lock as long as a transaction of ours takes. So ours are held
// to a time, not to a number of rows, and while somebody sends they are shorter and the lock stays free for most of it.
type pace struct {
	rows int
}

const (
	alone   = 150 * time.Millisecond // what a transaction may take: each one writes the pages of the address index anew that it touches
	breath  = 3 * time.Millisecond   // how long the lock is free between two of them, for a pause or an unsubscribe that waits
	beside  = 3 * time.Millisecond   // the same, beside a running send
	yields  = 14                     // times as long as a transaction, lock and processor are left alone after it beside a send
	minRows = 50                     // fewer would mostly wait for the disk
	maxRows = 16384
)

// newPace begins with little where somebody sends, and elsewhere with what takes a few milliseconds.
func newPace(ctx context.Context, st *store.Store) (*pace, error) {
	sending, err := st.Sending(ctx)
	if sending {
		return &pace{rows: 64}, err
	}
	return &pace{rows: 2048}, err
}

// step runs one transaction, adapts the size of the next one and makes room. write returns how long it held the lock:
// the wait for it costs nobody anything, and to count it would all but stop an import beside a busy send.
func (p *pace) step(ctx context.Context, st *store.Store, write func() (held time.Duration, err error)) error {
	sending, err := st.Sending(ctx)
	if err != nil {
		return err
	}
	held, err := write()
	if err != nil {
		return err
	}
	return sleep(ctx, p.after(held, sending))
}

// after takes the time of a transaction into account and returns how long to stay away.
func (p *pace) after(took time.Duration, sending bool) time.Duration {
	target, rest := alone, breath
	if sending {
		target, rest = beside, yields*took
	}
	next := int(float64(p.rows) * float64(target) / float64(max(took, time.Microsecond)))
	p.rows = min(max(next, p.rows/4, minRows), 2*p.rows, maxRows)
	return rest
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
