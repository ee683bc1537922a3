package send

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/pace"
	"mailer/internal/relay"
)

// way is a relay in a run: its connections, and how it takes our mail. Its fields belong to the gate, but for those that never change.
type way struct {
	name        string
	weight      int
	standby     bool
	connections int // at the most
	dialer      *relay.Dialer
	dial        func(context.Context) (*relay.Conn, error)

	tuner   *pace.Tuner // nil: all connections at once
	left    []int       // workers that gave their place up: those behind them move up
	waiting []*waiter
	holds   map[*lane][]*hold
	state   pace.Lane // it slows us as a whole
	live    int       // workers with a connection
	up      bool      // it can be reached
	ever    bool      // it could be reached once
	gone    error     // not to be used any more in this run
	trouble error     // why it is not up

	pause    time.Duration
	until    time.Time // no mail before then: the relay wanted a pause
	why      string
	broke    bool // nobody wished that pause: a connection broke
	failures int  // such wishes in a row, without a message taken
	ours     int  // refusals about us in a row

	accepted int64
	all      []*way // of the run
}

// When the engine gives up on a relay.
const (
	maxPause         = time.Minute
	laneFailures     = 8  // wishes for a pause in a row without one message taken
	ourRefusals      = 20 // refusals in a row that are about us
	dialFailures     = 4  // of one worker, while others are connected
	unreachableAfter = 5  // of one worker, when nobody is connected
	queuePerWorker   = 4
)

func newWay(name string, weight, connections int, dial func(context.Context) (*relay.Conn, error)) *way {
	return &way{name: name, weight: weight, connections: connections, dial: dial, tuner: pace.NewTuner(connections)}
}

// places is how many connections are worth while.
func (w *way) places() int {
	if w.tuner == nil {
		return w.connections
	}
	return w.tuner.Connections()
}

// tooMany tells the tuner that a relay has enough of us.
func (w *way) tooMany(now time.Time) {
	if w.tuner != nil {
		w.tuner.Refused(now)
	}
}

// there reports whether mail can go by a relay, or may be able to: it is not given up, not out of reach, and not standing by for nothing.
func (w *way) there() bool { return w.gone == nil && (w.up || w.trouble == nil) && w.needed() }

// needed reports whether a relay has to carry mail: one that stands by has not, while another one can.
func (w *way) needed() bool {
	if !w.standby {
		return true
	}
	for _, o := range w.all {
		if !o.standby && o.gone == nil && (o.up || o.trouble == nil) {
			return false
		}
	}
	return true
}

// admits reports whether there is a place for a worker. The first one tries a relay of which nothing is known, or that was away.
func (w *way) admits(index int) bool {
	rank := index
	for _, i := range w.left {
		if i < index {
			rank--
		}
	}
	return w.gone == nil && w.needed() && (rank == 0 || w.up && rank < w.places())
}

// opens is when the relay may have the next message, by its own state.
func (w *way) opens(now time.Time) time.Time {
	if w.gone != nil {
		return farFuture
	}
	at := w.state.Next(now)
	if w.until.After(at) {
		at = w.until
	}
	return at
}

// judge tells the shares which relays do not count at the moment: those that are away, paused or at their limit. One that is merely slow
// they find out themselves.
func (g *gate) judge(now time.Time) {
	if len(g.ways) < 2 {
		return
	}
	for _, w := range g.ways {
		opens := w.opens(now)
		for _, scope := range []string{relayScope(w.name), "warmup " + w.name} { // what holds all mail holds them alike
			if h := g.holds[scope]; h != nil && h.until.After(opens) {
				opens = h.until
			}
		}
		for _, s := range g.shares {
			switch {
			case !w.up || !w.there():
				s.Away(w.name, time.Time{})
			case opens.Sub(now) > briefly:
				s.Away(w.name, opens)
			default:
				s.Back(w.name)
			}
		}
	}
}

// briefly is for how long a relay may be held without the others going ahead of their shares: a rate holds it again and again.
const briefly = time.Second

// connected notes that a worker has a connection, or has none any more.
func (g *gate) connected(w *way, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.live += n
	if w.tuner != nil {
		w.tuner.Live(w.live)
	}
	if n > 0 && !w.up {
		w.up, w.ever, w.trouble = true, true, nil
		g.judge(g.now())
		g.match()
		g.room.Broadcast()
		g.place.Broadcast() // the other workers may connect
	}
}

// learn keeps what an attempt says about the relay and about the receiving provider, and ends the run when that says so.
func (e *engine) learn(w *way, out *outgoing, a delivery.Attempt, j delivery.Judgement, d delivery.Decision) {
	g := e.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	l := g.laneOf(out.due.Domain)
	if d.State == delivery.Accepted {
		if w.took(now) {
			e.keepWay(w)
		}
		l.pulse.beat(now)
		l.refusals = 0
		if l.state.Took(now) {
			e.keep(l)
		}
		e.guard.sent(now, l.name)
		return
	}
	switch {
	case d.Stop:
		e.lose(w, fmt.Errorf("%w: it said %q to %s; nobody was marked", ErrRefused, a.Reply, phaseCommand(a.Phase)))
	case j.Slow && d.State == delivery.Deferred:
		e.slowDown(w, l, out, now, said(a))
	case d.Lane && d.State != delivery.Uncertain && now.Before(w.until):
		// A relay that restarts says goodbye on every connection: that is one event. A message in doubt always counts.
	case d.Lane:
		w.failures++
		w.pause = min(max(2*w.pause, e.firstPause), maxPause)
		w.until, w.why, w.broke = now.Add(w.pause), said(a), a.Lost
		w.tooMany(now)
		if w.failures >= laneFailures {
			e.lose(w, fmt.Errorf("%w: %s", ErrNotNow, said(a)))
		}
	case d.State == delivery.Failed:
		e.guard.sent(now, l.name)
		switch {
		case j.Ours:
			e.guard.saw(now, l.name, pace.Policy, 1)
			w.ours++
			e.blocked(w, l, out, now, a)
		case d.Hard:
			e.guard.saw(now, l.name, pace.Hard, 1)
			fallthrough
		default:
			w.ours, l.refusals = 0, 0
		}
		if err := e.guard.tripped(now); err != nil {
			e.stopWith(err)
		}
	}
	g.match()
}

// took notes that the relay took a message, and reports whether that changed how fast it is used. A pause that another connection was told
// of stays; one that began because a connection broke does not, for the relay is there.
func (w *way) took(now time.Time) bool {
	w.accepted++
	w.failures, w.ours = 0, 0
	if now.After(w.until) || w.broke {
		w.pause, w.until = 0, time.Time{}
	}
	return w.state.Took(now)
}

// slowDown follows a provider that wants less. When several at once want that it is the relay itself.
func (e *engine) slowDown(w *way, l *lane, out *outgoing, now time.Time, why string) {
	g := e.gate
	if !g.insists(l, out.due.Domain, now) {
		return
	}
	if l == g.rest {
		l = g.part(out.due.Domain)
	}
	achieved := l.pulse.perSecond(now)
	if l.state.Throttled(now, achieved, why) {
		l.throttled = now
		e.keep(l)
	}
	together, active := 0, 0
	for _, o := range g.lanes {
		if o.pulse.perSecond(now) > 0 || o.throttled.Add(together30).After(now) {
			active++
		}
		if o.throttled.Add(together30).After(now) {
			together++
		}
	}
	if together >= 3 && 2*together > active {
		var all float64
		for _, o := range g.lanes {
			all += o.pulse.perSecond(now)
		}
		if w.state.Throttled(now, all, why) {
			e.keepWay(w)
		}
		w.tooMany(now)
	}
}

// insists reports whether a provider that asks for less means it: it asks again within seconds, and that for more than a twentieth of what
// goes there. Some server among many is always busy; that is waited for with the one message that it had, and not by the whole lane.
func (g *gate) insists(l *lane, domain string, now time.Time) bool {
	name := l.name
	if l == g.rest {
		name = domain
	}
	asked := g.asks[name]
	if asked == nil {
		asked = &pulse{}
		g.asks[name] = asked
	}
	asked.beat(now)
	if l.state.Rate > 0 {
		return true
	}
	n := asked.count(now)
	return n > 1 && (l == g.rest || 20*n > l.pulse.count(now))
}

// together30 is how close in time several providers slow us when it is for one reason.
const together30 = 30 * time.Second

// blocked follows a refusal that is about us. A provider that says so again and again is left alone for a time: each message more would
// be one recipient more who fails for nothing.
func (e *engine) blocked(w *way, l *lane, out *outgoing, now time.Time, a delivery.Attempt) {
	g := e.gate
	if l.refusals++; l == g.rest {
		if w.ours >= ourRefusals {
			e.lose(w, blockedError(w.ours, a))
		}
		return
	}
	if l.refusals < laneRefusals {
		return
	}
	n := l.refusals
	l.refusals = 0
	if l.state.Blocked(now, l.patience, said(a)) {
		e.keep(l)
	}
	if g.allBlocked() {
		e.stopWith(blockedError(n, a))
	}
}

// laneRefusals is after how many refusals in a row that are about us a provider is left alone.
const laneRefusals = 10

func blockedError(n int, a delivery.Attempt) error {
	return fmt.Errorf("%w: %d in a row, the last one %q; see FROM, DKIM, SPF and the relay's reputation, then use --retry failed", ErrBlocked, n, a.Reply)
}

// allBlocked reports whether nothing is left to do but what a policy block holds.
func (g *gate) allBlocked() bool {
	for _, l := range g.lanes {
		if l.state.Blocks == 0 && (l.left() > 0 || l.away > 1) {
			return false
		}
	}
	return true
}

// lose gives a relay up for this run. When no other one is left the run ends.
func (e *engine) lose(w *way, err error) {
	if w.gone != nil {
		return
	}
	w.gone, w.up, w.trouble = err, false, err
	for _, o := range e.gate.ways {
		if o.gone == nil && (o.up || o.trouble == nil) {
			e.warn(fmt.Sprintf("relay %s is given up for this run: %v", w.name, err))
			e.gate.judge(e.gate.now())
			e.gate.match()
			e.gate.room.Broadcast()
			e.gate.place.Broadcast()
			return
		}
	}
	e.stopWith(err)
}

// dialFailed decides what a worker does that cannot connect: try again, or leave its place.
func (e *engine) dialFailed(w *way, index int, err error, mine int) (again bool) {
	g := e.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if mistaken(err) {
		e.lose(w, err) // trying again would only lock the account
		return false
	}
	if busyReply(err) {
		w.tooMany(g.now())
	}
	if w.live > 0 {
		// The relay may simply allow fewer connections than were asked for.
		if mine < dialFailures {
			return true
		}
		w.left = append(w.left, index)
		g.place.Broadcast()
		return false
	}
	// Not those of all together: they dial at once, and would give a relay that restarts no time.
	never := !w.ever
	if !never && mine < unreachableAfter {
		return true
	}
	w.up, w.trouble = false, err
	if e.othersUp(w) {
		if mine == 1 || mine == unreachableAfter {
			e.warn(fmt.Sprintf("relay %s cannot be reached, the others go on: %v", w.name, err))
		}
		g.judge(g.now())
		g.match()
		g.room.Broadcast()
		g.place.Broadcast() // one that stands by is needed now
		return true
	}
	if never {
		e.stopWith(err)
	} else {
		e.stopWith(fmt.Errorf("%w: %w", ErrUnreachable, err))
	}
	return false
}

// fitFailed follows a connection that could not be replaced while a message waited for it. Whether the relay is away is found out without
// one.
func (e *engine) fitFailed(w *way, err error) {
	if !mistaken(err) {
		return
	}
	e.gate.mu.Lock()
	defer e.gate.mu.Unlock()
	e.lose(w, err) // trying again would only lock the account
}

// may reports whether a relay may carry a message: a route leads to it, and a message that was deferred goes by the relay that it was
// deferred by, while that one takes mail (greylisting knows us by our address; RFC 6647 section 2.1).
func (g *gate) may(out *outgoing, w *way, now time.Time) bool {
	if !out.by(w) {
		return false
	}
	if out.due.Attempts == 0 || out.due.Relay == "" || out.due.Relay == w.name {
		return true
	}
	before := w.fellow(out.due.Relay)
	return before == nil || !out.by(before) || g.opens(before, out.lane, now).Sub(now) > shortHold
}

// by reports whether a route leads to a relay.
func (out *outgoing) by(w *way) bool { return out.routes == nil || slices.Contains(out.routes, w.name) }

// fellow is another relay of this run by its name, if that one carries mail; nil: it does not.
func (w *way) fellow(name string) *way {
	for _, o := range w.all {
		if o.name == name && o != w && o.up && o.there() {
			return o
		}
	}
	return nil
}

// othersUp reports whether another relay carries mail, or may yet.
func (e *engine) othersUp(w *way) bool {
	for _, o := range e.gate.ways {
		if o != w && o.gone == nil && (o.up || o.trouble == nil) {
			return true
		}
	}
	return false
}

// busyReply reports whether a relay refused a connection for now.
func busyReply(err error) bool {
	var de *relay.DialError
	return errors.As(err, &de) && de.Reply.Code/100 == 4
}
