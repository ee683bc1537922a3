package send

import (
	"slices"
	"sync/atomic"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/pace"

	"golang.org/x/time/rate"
)

// long is from where on a rate is counted in the store (a sliding window that holds over restarts and processes) instead
// of being kept smooth in this process: 5,000 an hour may go in its first minutes.
const long = time.Hour

// limits are the long ones of the rates, the lowest of each span: two of one span (the relay's own and --rate) share their
// counter, and each message must be counted once.
func limits(relay string, rates []pace.Rate) []pace.Limit {
	var all []pace.Limit
	for _, r := range rates {
		if r.Per < long {
			continue
		}
		l := pace.Limit{Name: "relay " + relay + "/" + r.Per.String(), N: int64(r.N), Per: r.Per}
		i := slices.IndexFunc(all, func(have pace.Limit) bool { return have.Per == r.Per })
		if i < 0 {
			all = append(all, l)
		} else {
			all[i].N = min(all[i].N, l.N)
		}
	}
	return all
}

// limits are those of what a plan's relay carries; nil: none.
func (p *Plan) limits() func(relay, lane string) []pace.Limit {
	all := limits(p.Relay.Name, p.Rates)
	if all == nil {
		return nil
	}
	return func(string, string) []pace.Limit { return all }
}

// pacer holds a message back until every short rate allows it. A rate is smooth, with a burst of at most one in a hundred.
type pacer struct {
	limits []*rate.Limiter
}

func newPace(rates []pace.Rate) *pacer {
	p := &pacer{}
	for _, r := range rates {
		if r.Per >= long {
			continue
		}
		p.limits = append(p.limits, rate.NewLimiter(rate.Limit(float64(r.N)/r.Per.Seconds()), max(1, r.N/100)))
	}
	return p
}

// reserve takes the place of one message and returns when it may leave.
func (p *pacer) reserve() time.Time {
	now := time.Now()
	from := now
	for _, l := range p.limits {
		if at := now.Add(l.ReserveN(now, 1).DelayFrom(now)); at.After(from) {
			from = at
		}
	}
	return from
}

// Counts are what this run has done so far. They are for showing; the store's balance is the truth.
type Counts struct {
	Accepted, Deferred, Failed, Uncertain, Excluded atomic.Int64

	speed speed
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

// Done is how many deliveries this run has ended, for now or for good.
func (c *Counts) Done() int64 {
	return c.Accepted.Load() + c.Deferred.Load() + c.Failed.Load() + c.Uncertain.Load() + c.Excluded.Load()
}
