package send

import (
	"sync/atomic"
	"time"

	"mailer/internal/delivery"
)

// Counts are what this run has done so far. They are for showing; the store's balance is the truth.
type Counts struct {
	Accepted, Deferred, Failed, Uncertain, Excluded atomic.Int64

	speed speed
	gate  atomic.Pointer[gate]      // of the run that counts; nil before it begins
	held  atomic.Pointer[time.Time] // until then the rest waits for what becomes of a canary; nil: it does not
}

func (c *Counts) add(s delivery.State) {
	switch s {
	case delivery.Accepted:
		c.Accepted.Add(1)
	case delivery.Deferred:
		c.Deferred.Add(1)
	case delivery.Failed:
		c.Failed.Add(1)
	case delivery.Uncertain:
		c.Uncertain.Add(1)
	case delivery.Excluded:
		c.Excluded.Add(1)
	}
}

// tried is how many messages this run has sent, whatever came of them.
func (c *Counts) tried() int64 { return c.Done() - c.Excluded.Load() }

// Done is how many deliveries this run has ended, for now or for good.
func (c *Counts) Done() int64 {
	return c.Accepted.Load() + c.Deferred.Load() + c.Failed.Load() + c.Uncertain.Load() + c.Excluded.Load()
}
