package send

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Progress is how a run stands, for people and scripts. The store's balance is the truth; this is for showing.
type Progress struct {
	Campaign string `json:"campaign"`
	Total    int64  `json:"total"` // what this run has to do
	Done     int64  `json:"done"`  // ended, for now or for good

	Accepted  int64 `json:"accepted"`
	Deferred  int64 `json:"deferred"`
	Failed    int64 `json:"failed"`
	Uncertain int64 `json:"uncertain"`
	Excluded  int64 `json:"excluded"`

	PerSecond float64         `json:"per_second"` // over the last ten seconds
	Note      string          `json:"note"`       // why nothing moves, when nothing does
	Until     time.Time       `json:"until,omitzero"`
	Lanes     []LaneProgress  `json:"lanes"`  // the largest first
	Relays    []RelayProgress `json:"relays"` // in the order of the configuration
}

// LaneProgress is how a receiving provider stands. Domains that are no provider's and take little are one lane, "others".
type LaneProgress struct {
	Name     string    `json:"name"`
	Total    int64     `json:"total"`
	Accepted int64     `json:"accepted"`
	Deferred int64     `json:"deferred"`
	Failed   int64     `json:"failed"`
	Rate     float64   `json:"rate,omitempty"`  // messages a second that it is slowed to; 0: it is not
	Until    time.Time `json:"until,omitzero"`  // paused until then
	Why      string    `json:"why,omitempty"`   // it is slowed or paused: what the receiving side said
	Limit    string    `json:"limit,omitempty"` // its own limit that holds it at the moment: "10/s"
}

// RelayProgress is how a relay stands.
type RelayProgress struct {
	Name        string    `json:"name"`
	Connections int       `json:"connections"`
	Accepted    int64     `json:"accepted"`
	Until       time.Time `json:"until,omitzero"` // paused until then
	Why         string    `json:"why,omitempty"`
	Limit       string    `json:"limit,omitempty"` // that holds all that goes by it at the moment: "100/s"
}

// Done is what the lane has behind it, for now or for good.
func (l LaneProgress) Done() int64 { return min(l.Accepted+l.Deferred+l.Failed, l.Total) }

// Progress is how the run stands. The label is the campaign's name, total what the run has to do.
func (c *Counts) Progress(label string, total int64) Progress {
	p := Progress{Campaign: label, Total: total, Done: min(c.Done(), total), Accepted: c.Accepted.Load(), Deferred: c.Deferred.Load(),
		Failed: c.Failed.Load(), Uncertain: c.Uncertain.Load(), Excluded: c.Excluded.Load(), Lanes: []LaneProgress{}, Relays: []RelayProgress{}}
	p.PerSecond = c.speed.per(time.Now(), c.Done())
	if g := c.gate.Load(); g != nil {
		g.show(&p)
	}
	if until := c.held.Load(); until != nil {
		p.Note, p.Until = ErrHeld.Error(), *until
	}
	return p
}

// show fills in the lanes and the relays.
func (g *gate) show(p *Progress) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	wider := make([]*hold, len(g.ways)) // by relay: what holds more than a lane
	for _, l := range g.lanes {
		if l == g.rest && l.total == 0 {
			continue
		}
		one := LaneProgress{Name: l.title(), Total: l.total, Accepted: l.accepted, Deferred: l.deferred, Failed: l.failed}
		one.Rate, one.Until, one.Why = l.state.State(now)
		var own *hold
		for i, w := range g.ways {
			scopes := g.scopes(w, l)
			wider[i] = tighter(wider[i], scopes[:wide], now)
			own = tighter(own, scopes[wide:], now)
		}
		one.Limit = g.limitText(own)
		p.Lanes = append(p.Lanes, one)
	}
	slices.SortStableFunc(p.Lanes, func(a, b LaneProgress) int { return cmp.Compare(b.Total, a.Total) })
	for i, w := range g.ways {
		one := RelayProgress{Name: w.name, Connections: w.live, Accepted: w.accepted, Limit: g.limitText(wider[i])}
		switch {
		case w.gone != nil:
			one.Why = "given up: " + w.gone.Error()
		case w.trouble != nil:
			one.Why = w.trouble.Error()
		case w.until.After(now):
			one.Until, one.Why = w.until, w.why
		}
		p.Relays = append(p.Relays, one)
	}
	if s := g.standstill(now); s != nil {
		if p.Note = s.note; !s.until.Equal(farFuture) {
			p.Until = s.until
		}
	}
}

// tighter is the one of some holds, and of one found before, whose limit lasts longest; nil: none is at its limit.
func tighter(best *hold, all []*hold, now time.Time) *hold {
	for _, h := range all {
		if h.tight.After(now) && (best == nil || h.tight.After(best.tight)) {
			best = h
		}
	}
	return best
}

// limitText is how much the limit of a hold lets go; nothing for none.
func (g *gate) limitText(h *hold) string {
	switch {
	case h == nil:
		return ""
	case g.rates == nil:
		return h.limit
	}
	return g.rates.limitText(h.limit, g.now())
}

// standstill is why nothing goes at the moment; nil: something does.
func (g *gate) standstill(now time.Time) *stuck {
	for _, l := range g.lanes {
		if l.away+l.making > 0 {
			return nil
		}
	}
	if len(g.inFlight) == 0 {
		return nil
	}
	return g.held()
}

// title names a lane for people.
func (l *lane) title() string {
	if l.name == "" {
		return "others"
	}
	return l.name
}

// speed is how fast a count grew over the last speedSpan. It keeps a sample each second, as it is asked.
type speed struct {
	mu      sync.Mutex
	samples []sample // the oldest first
}

type sample struct {
	at   time.Time
	done int64
}

const speedSpan = 10 * time.Second

// per takes the count as of now and returns its growth in a second.
func (s *speed) per(now time.Time, done int64) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.samples); n == 0 || now.Sub(s.samples[n-1].at) >= time.Second {
		s.samples = append(s.samples, sample{now, done})
	}
	for len(s.samples) > 1 && now.Sub(s.samples[1].at) >= speedSpan {
		s.samples = s.samples[1:]
	}
	first := s.samples[0]
	took := now.Sub(first.at).Seconds()
	if took <= 0 {
		return 0
	}
	return float64(done-first.done) / took
}
