package send

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"mailer/internal/pace"
	"mailer/internal/store"
)

// guard watches for what a run must end for while it goes on: too large a share of dead addresses, refusals about us or complaints.
// Nil watches nothing. It is used under the gate's lock.
type guard struct {
	breaker *pace.Breaker
}

func (g *guard) sent(now time.Time, lane string) {
	if g != nil {
		g.breaker.Sent(now, lane)
	}
}

func (g *guard) saw(now time.Time, lane string, k pace.Kind, n int64) {
	if g != nil {
		g.breaker.Saw(now, lane, k, n)
	}
}

// tripped is the error to end with, when there is one.
func (g *guard) tripped(now time.Time) error {
	if g == nil {
		return nil
	}
	if trip, yes := g.breaker.Tripped(now); yes {
		return fmt.Errorf("%w: %s", ErrTripped, trip)
	}
	return nil
}

// before tells the breaker what of a campaign that goes on was answered by earlier runs: what the mailbox tells is held against all of it.
func (g *guard) before(answered []store.Share, lane func(domain string) string) {
	for _, d := range answered {
		g.breaker.Before(lane(d.Name), d.Count)
	}
}

// hearEvery is how often it is looked what the bounce mailbox told: by a bounces sync that runs beside us.
const hearEvery = 5 * time.Second

// everySecond does what is due while the run goes on. It is the recorder's, the one who writes.
func (e *engine) everySecond() {
	e.saveLanes()
	now := e.now()
	if !e.notAfter.IsZero() && !now.Before(e.notAfter) {
		e.stopWith(errLate)
		return
	}
	if e.guard == nil || now.Before(e.hearAt) {
		return
	}
	e.hearAt = now.Add(hearEvery)
	heard, last, err := e.run.Heard(e.wire, e.heard)
	if err != nil {
		return // it is looked again; what must be written tells what is wrong with the store
	}
	e.heard = last
	e.gate.mu.Lock()
	defer e.gate.mu.Unlock()
	for _, h := range heard {
		if !h.At.After(e.resumed) {
			continue // whoever resumed the campaign knew of it
		}
		e.guard.breaker.Heard(e.gate.laneOf(h.Domain).name, pace.Kind(h.Kind), 1)
	}
	if err := e.guard.tripped(now); err != nil {
		e.stopWith(err)
	}
}

// saveLanes keeps how providers and relays take our mail, for the next run and for those who ask.
func (e *engine) saveLanes() {
	for name, state := range e.takeUnsaved() {
		text := ""
		if rate, until, _ := state.State(e.now()); rate > 0 || !until.IsZero() {
			text = marshal(state)
		}
		if err := e.run.SaveLane(name, text); err != nil {
			e.warn(err.Error())
		}
	}
}

// laneStates reads how providers and relays took our mail when they were last mailed.
func laneStates(text map[string]string) map[string]pace.Lane {
	all := map[string]pace.Lane{}
	for name, t := range text {
		var l pace.Lane
		if json.Unmarshal([]byte(t), &l) == nil {
			all[name] = l
		}
	}
	return all
}

// openLanes makes the lanes of a run from who is left: a lane each for the providers, for what the configuration names, for what was
// slowed before, and for every other domain with a good share.
func (g *gate) openLanes(b *book, open []store.Share, states map[string]pace.Lane, routes func(from, domain string) []string, from string) {
	var all int64
	sizes, domains := map[string]int64{}, map[string][]string{}
	var names []string
	for _, d := range open {
		lane := b.providers.Lane(d.Name)
		if sizes[lane] == 0 {
			names = append(names, lane)
		}
		sizes[lane] += d.Count
		domains[lane] = append(domains[lane], d.Name)
		all += d.Count
	}
	g.rest.total, g.rates = all, b
	fallback, _ := b.providers.Provider("")
	g.rest.patience = fallback.Pause
	for _, name := range names {
		n := sizes[name]
		p, known := b.providers.Provider(name)
		state, before := states[laneScope(name)]
		special := known || before || routes != nil && !slices.Equal(routes(from, domains[name][0]), routes(from, ""))
		if !special && (n < ownLeast || n*ownShare < all || len(g.lanes) > ownLanes) {
			g.open[domains[name][0]] = n // what is no provider's is one domain
			continue
		}
		l := g.own(name, domains[name], n)
		l.state, l.most, l.patience = state, b.atOnce(p), p.Pause
		l.state.Longest = p.Pause
		g.rest.total -= n
	}
	g.rest.dry = g.rest.total == 0
	for _, w := range g.ways {
		w.state = states[relayScope(w.name)]
	}
}
