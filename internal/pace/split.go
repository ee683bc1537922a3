package pace

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// How long relays wait for each other.
const (
	splitAhead    = 8               // messages: what a relay may be ahead of its share in a long run
	splitPatience = 2 * time.Second // for a relay that takes nothing
	splitLeast    = 10 * time.Millisecond
	splitAsked    = time.Second // between two questions of somebody who waits; longer: nobody waited
	splitSlow     = 10.0        // as many times as fast the others must be without it; weights have their reasons
	splitFast     = 5.0         // and up to that it does not count again
	splitSmooth   = 1.0 / 16    // of the new in a mean
)

// Split shares messages out among relays by weight. A relay that is ahead of its share waits for the others: for those that
// take mail. Who is away, takes nothing for some time, or is so slow that the rest would be done ten times as fast
// without it, takes what it can, and nobody waits; what it missed meanwhile is not made up.
type Split struct {
	parts map[string]*part
	order []*part
	taken int64
}

type part struct {
	weight float64
	share  float64 // messages taken, divided by the weight

	away  bool
	until time.Time // away; zero: until it is back
	slow  bool
	gone  bool // the others waited for it in vain

	waited   time.Time // since then others wait for it; zero: they do not
	asked    time.Time // the last time
	patience time.Duration

	took float64 // seconds a message, the mean
	can  float64 // messages a second; 0: not known
}

// NewSplit is the split among relays by name. One of weight 0 takes what it is given, and nobody waits for it.
func NewSplit(weights map[string]int) *Split {
	s := &Split{parts: map[string]*part{}}
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		if w := weights[name]; w > 0 {
			p := &part{weight: float64(w), patience: splitPatience}
			s.parts[name] = p
			s.order = append(s.order, p)
		}
	}
	return s
}

// May reports whether a relay may take a message now. Who waits asks again, at least a few times a second.
func (s *Split) May(now time.Time, relay string) bool {
	p := s.parts[relay]
	if p == nil {
		return true
	}
	// A short run is shared exactly; in a long one a hiccup of one relay does not stop the others.
	ahead := float64(min(max(s.taken/100, 1), splitAhead)) / p.weight
	may := true
	for _, q := range s.order {
		// By a millionth of a message, for thirds add up to a little more or less than one.
		if q == p || !s.counts(now, q) || p.share+1e-6 < q.share+ahead {
			continue
		}
		if q.waited.IsZero() || now.Before(q.waited) || now.Sub(q.asked) > splitAsked {
			q.waited = now
		}
		q.asked = now
		if now.Sub(q.waited) < q.patience {
			may = false
			continue
		}
		q.gone = true
		q.patience = max(q.patience/2, splitLeast)
	}
	return may
}

// Took notes that a relay has taken a message.
func (s *Split) Took(_ time.Time, relay string) {
	p := s.parts[relay]
	if p == nil {
		return
	}
	switch {
	case p.gone:
		p.gone = false
		s.catchUp(p)
	case !p.waited.IsZero():
		p.patience = min(2*p.patience, splitPatience)
	}
	p.waited = time.Time{}
	p.share += 1 / p.weight
	s.taken++
}

// Carried notes how long a relay took over one message, and how many connections it has: what it can do.
func (s *Split) Carried(relay string, took time.Duration, connections int) {
	p := s.parts[relay]
	if p == nil || took <= 0 || connections < 1 {
		return
	}
	if p.took == 0 {
		p.took = took.Seconds()
	}
	p.took += splitSmooth * (took.Seconds() - p.took)
	p.can = float64(connections) / p.took
	s.rate()
}

// Away notes that a relay takes nothing until then, or until it is back when that is not known (zero): it is dead, or a
// limit of it is used up.
func (s *Split) Away(relay string, until time.Time) {
	if p := s.parts[relay]; p != nil {
		p.away, p.until = true, until
	}
}

// Back ends Away.
func (s *Split) Back(relay string) {
	if p := s.parts[relay]; p != nil && p.away {
		p.away = false
		s.catchUp(p)
	}
}

// counts reports whether the others wait for a relay.
func (s *Split) counts(now time.Time, p *part) bool {
	if p.away && !p.until.IsZero() && !now.Before(p.until) {
		p.away = false
		s.catchUp(p)
	}
	return !p.away && !p.slow && !p.gone
}

// catchUp brings a relay that did not count level with the one of the others that is furthest behind.
func (s *Split) catchUp(p *part) {
	least, any := 0.0, false
	for _, q := range s.order {
		if q != p && !q.away && !q.slow && !q.gone && (!any || q.share < least) {
			least, any = q.share, true
		}
	}
	if any {
		p.share = max(p.share, least)
	}
	p.waited = time.Time{}
}

// rate finds out which relays are too slow to wait for: as many of the slowest as it takes until those that are left would
// not be done ten times as fast without some more of them.
func (s *Split) rate() {
	var known []*part
	for _, p := range s.order {
		if p.can > 0 && !p.away {
			known = append(known, p)
		}
	}
	slices.SortStableFunc(known, func(p, q *part) int { return cmp.Compare(p.can/p.weight, q.can/q.weight) })
	// From the fastest on: what those from here on do together, by weight, and the best of what some of them do.
	weight, best, first := 0.0, 0.0, 0
	for i, p := range slices.Backward(known) {
		weight += p.weight
		together, times := p.can/p.weight*weight, splitSlow
		if p.slow {
			times = splitFast
		}
		if best <= together*times {
			first = i
		}
		best = max(best, together)
	}
	for i, p := range known {
		if was := p.slow; was != (i < first) {
			if p.slow = !was; was {
				s.catchUp(p)
			}
		}
	}
}
