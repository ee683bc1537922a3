package send

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailer/internal/pace"
	"mailer/internal/store"
)

// gate is the one place that decides which message goes next, by which relay, and when. It holds what was read and what was composed,
// in lanes: one for each receiving provider. A lane that may send nothing now (slowed, paused, at its limit) keeps its messages, and the
// others go on as if it were not there.
//
// Its rules (limits, lanes, shares of relays, hours) are those of package pace; the limits themselves are counted by the store with the
// claim, for all processes together, and what a claim was told is remembered here as a hold.
type gate struct {
	now       func() time.Time
	limit     int64 // of messages in this run; 0: none
	closed    bool
	mu        sync.Mutex
	room      *sync.Cond // for composers: something was read or taken, or may go again
	place     *sync.Cond // for workers without a connection: there may be a place for one more
	lanes     []*lane
	rest      *lane // the last one: domains that are too small for a lane of their own
	byDomain  map[string]*lane
	open      map[string]int64  // of the domains in the rest: how many were not handed to connections yet
	campaign  string            // its name
	asks      map[string]*pulse // of those who ask for less, by lane or domain
	ways      []*way
	shares    map[string]*pace.Split // among the relays that may carry a message, by their names
	holds     map[string]*hold       // by the scope of a limit
	inFlight  map[int64]*lane        // read, and not settled yet
	composing map[int64]string       // domains of what is being composed
	fed       int64
	hours     pace.Hours
	openAt    time.Time // the hours are closed until then
	shutAt    time.Time // the hours are open until then; zero: not looked up yet
	hoursAt   time.Time // when they were last asked for
	notAfter  time.Time // nothing goes from then on; zero: no such time

	look    time.Time // when the first thing that only time holds back may go
	timer   *time.Timer
	unfed   atomic.Int32 // workers that wait while nothing is composed
	wake    func()       // the feeder
	zone    *time.Location
	rates   *book // says the limits in words; nil: by their names
	rewound bool
	fedAt   int64
}

// hold is what the claims were told about the limits of one scope.
type hold struct {
	until  time.Time
	limit  string    // that said so
	tight  time.Time // until then the limit is taken to be close: few ask at a time
	asking int       // claims under way
}

const (
	askAtOnce = 2               // claims under way in a scope that is at its limit
	tightFor  = 3 * time.Second // after it said no
	laneMade  = 8               // composed messages that a lane holds ready, at the least
	soon      = 2 * time.Second // a lane that opens later needs nothing composed now
)

func newGate(now func() time.Time, ways []*way, hours pace.Hours) *gate {
	g := &gate{now: now, ways: ways, wake: func() {}, hours: hours, byDomain: map[string]*lane{}, open: map[string]int64{}, holds: map[string]*hold{}, inFlight: map[int64]*lane{}, composing: map[int64]string{}}
	g.room, g.place = sync.NewCond(&g.mu), sync.NewCond(&g.mu)
	g.rest = &lane{}
	g.lanes = []*lane{g.rest}
	for _, w := range ways {
		w.all = ways
	}
	g.shares, g.asks = map[string]*pace.Split{}, map[string]*pulse{}
	g.timer = time.AfterFunc(time.Hour, g.later)
	g.timer.Stop()
	return g
}

// later is called by the timer.
func (g *gate) later() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.match()
	g.room.Broadcast()
}

// close ends all waiting. What was not taken stays as it is in the store.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.timer.Stop()
	for _, w := range g.ways {
		for _, x := range w.waiting {
			close(x.got)
		}
		w.waiting = nil
	}
	g.room.Broadcast()
	g.place.Broadcast()
}

// add takes what was read. What is known already is left out, and so is what the limit of the run does not let in; it reports whether
// anything was new.
func (g *gate) add(due []store.Due) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	any := false
	for _, d := range due {
		if g.inFlight[d.ID] != nil {
			continue
		}
		if g.full() {
			break
		}
		l := g.laneOf(d.Domain)
		g.inFlight[d.ID] = l
		g.fed++
		l.due = append(l.due, d)
		any = true
	}
	if any {
		g.room.Broadcast()
	}
	return any
}

func (g *gate) laneOf(domain string) *lane {
	if l := g.byDomain[domain]; l != nil {
		return l
	}
	return g.rest
}

// full reports whether as many were read as this run may send.
func (g *gate) full() bool { return g.limit > 0 && g.fed >= g.limit }

// job returns the next message to compose, in the order in which they will go; false when the run has ended.
func (g *gate) job() (store.Due, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.closed {
		if l := g.toMake(); l != nil {
			d := l.due[0]
			l.due = l.due[1:]
			l.making++
			g.composing[d.ID] = d.Domain
			if len(l.due) == readAhead/2 || len(l.due) == 0 {
				g.wake()
			}
			return d, true
		}
		g.room.Wait()
	}
	return store.Due{}, false
}

// toMake is the lane that needs a composed message next. A lane that waits for long (its provider is paused, its limit is used up, its
// relay is away) takes no room from the others: neither for what it could get composed, nor for what it has.
func (g *gate) toMake() *lane {
	now := g.now()
	ready, room := 0, 0
	for _, w := range g.ways {
		room += w.connections * queuePerWorker
	}
	var best *lane
	for _, l := range g.lanes {
		open, usable := g.moves(l, now)
		if !open {
			continue
		}
		if usable {
			ready += min(len(l.made)+l.making, room/2)
		}
		if len(l.due) == 0 || len(l.made)+l.making >= max(laneMade, room) {
			continue
		}
		if best == nil || l.behind(best) {
			best = l
		}
	}
	if ready >= room {
		return nil
	}
	return best
}

// shareOf is how the relays that may carry a message share what goes by them. Those that other mail is routed to have no part in it.
func (g *gate) shareOf(out *outgoing) *pace.Split {
	key := strings.Join(out.routes, " ")
	if s := g.shares[key]; s != nil {
		return s
	}
	weights := map[string]int{}
	for _, w := range g.ways {
		if out.by(w) {
			weights[w.name] = w.weight
		}
	}
	s := pace.NewSplit(weights)
	g.shares[key] = s
	g.judge(g.now())
	return s
}

// moves reports whether a lane may send soon by one of the relays that are there, and whether something that is composed may go by it.
func (g *gate) moves(l *lane, now time.Time) (open, usable bool) {
	for _, w := range g.ways {
		if !w.there() || g.opens(w, l, now).Sub(now) > soon {
			continue
		}
		if open = true; len(l.made) == 0 || g.nextFor(l, w, now) >= 0 {
			return true, true
		}
	}
	return open, false
}

// composed takes a composed message.
func (g *gate) composed(out *outgoing) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.composing, out.due.ID)
	l := g.inFlight[out.due.ID]
	if l == nil || g.closed {
		return
	}
	out.lane, out.share = l, g.shareOf(out)
	l.making--
	l.made = append(l.made, out)
	g.match()
}

// waiter is a worker that waits for a message.
type waiter struct {
	index int
	got   chan *outgoing // closed: look again
}

// take returns the next message that may go by a relay now; with wait it waits for one. It returns nil when there is none, when the run
// ends, or when there is no place any more for this worker.
func (g *gate) take(ctx context.Context, w *way, index int, wait bool) *outgoing {
	g.mu.Lock()
	if g.closed || !w.admits(index) {
		g.mu.Unlock()
		return nil
	}
	out := g.pick(w, g.now())
	if out != nil || !wait {
		g.mu.Unlock()
		return out
	}
	x := &waiter{index: index, got: make(chan *outgoing, 1)}
	w.waiting = append(w.waiting, x)
	g.rearm()
	g.mu.Unlock()
	select {
	case out = <-x.got:
		return out
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	w.waiting = slices.DeleteFunc(w.waiting, func(y *waiter) bool { return y == x })
	select {
	case out = <-x.got:
		if out != nil {
			g.putFront(out)
		}
	default:
	}
	return nil
}

// match hands messages to those who wait.
func (g *gate) match() {
	if g.closed {
		return
	}
	now := g.now()
	for _, w := range g.ways {
		for i := 0; i < len(w.waiting); {
			x := w.waiting[i]
			if !w.admits(x.index) {
				close(x.got)
				w.waiting = slices.Delete(w.waiting, i, i+1)
				continue
			}
			out := g.pick(w, now)
			if out == nil {
				break
			}
			x.got <- out
			w.waiting = slices.Delete(w.waiting, i, i+1)
		}
	}
	g.rearm()
}

// rearm sets the timer for what only time holds back.
func (g *gate) rearm() {
	idle, composed := 0, 0
	for _, w := range g.ways {
		idle += len(w.waiting)
	}
	for _, l := range g.lanes {
		composed += len(l.made)
	}
	if composed > 0 {
		g.unfed.Store(0)
	} else {
		g.unfed.Store(int32(idle))
	}
	if g.closed || idle == 0 || g.look.IsZero() {
		return
	}
	g.timer.Reset(max(g.look.Sub(g.now()), time.Millisecond))
}

// pick takes the next message that may go by a relay now: of the lanes that are open, the one that is furthest behind its share.
func (g *gate) pick(w *way, now time.Time) *outgoing {
	if g.look.Before(now) {
		g.look = time.Time{}
	}
	if at := w.opens(now); at.After(now) {
		g.lookAt(at)
		return nil
	}
	if at := g.hoursOpen(now); at.After(now) {
		g.lookAt(at)
		return nil
	}
	var best *lane
	at := 0                      // of the message in it
	var ahead, level *pace.Split // of its share, and not: nearly all mail is of one
	for _, l := range g.lanes {
		if len(l.made) == 0 {
			// While it was closed nothing was composed for it. That begins a little before it opens.
			if at := g.opens(w, l, now); len(l.due) > 0 && at.After(now) {
				g.lookAt(later(at.Add(-soon), now.Add(splitLook)))
			}
			continue
		}
		if best != nil && !l.behind(best) || l.most > 0 && l.away >= l.most {
			continue
		}
		if at := g.opens(w, l, now); at.After(now) {
			g.lookAt(at)
			continue
		}
		i := g.nextFor(l, w, now)
		if i < 0 {
			continue
		}
		if share := l.made[i].share; share != level {
			if share == ahead || !share.May(now, w.name) {
				ahead = share
				g.lookAt(now.Add(splitLook))
				continue
			}
			level = share
		}
		best, at = l, i
	}
	if best == nil {
		return nil
	}
	out := best.made[at]
	best.made = slices.Delete(best.made, at, at+1)
	best.taken++
	best.away++
	if best == g.rest {
		g.open[out.due.Domain]--
	}
	best.state.Leave(now)
	w.state.Leave(now)
	out.share.Took(now, w.name)
	for _, h := range g.scopes(w, best) {
		h.asking++
	}
	out.way = w
	g.room.Signal() // there is room for one more to compose
	return out
}

// splitLook is how soon a relay that is ahead of its share looks again, if nothing else happens.
const splitLook = 20 * time.Millisecond

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (g *gate) lookAt(at time.Time) {
	if g.look.IsZero() || at.Before(g.look) {
		g.look = at
	}
}

// opens is when a lane may send by a relay, by what is known of the lane and of the limits.
func (g *gate) opens(w *way, l *lane, now time.Time) time.Time {
	at := l.opens(now)
	for _, h := range g.scopes(w, l) {
		if h.until.After(at) {
			at = h.until
		}
		if h.tight.After(now) && h.asking >= askAtOnce && !at.After(now) {
			at = now.Add(time.Second) // an answer comes sooner, and looks again
		}
	}
	return at
}

// scopes are the holds of what limits a message of a lane by a relay. See limits.go for the names.
func (g *gate) scopes(w *way, l *lane) []*hold {
	if have, ok := w.holds[l]; ok {
		return have
	}
	var all []*hold
	for _, name := range scopesOf(g.campaign, w.name, l.name) {
		h := g.holds[name]
		if h == nil {
			h = &hold{}
			g.holds[name] = h
		}
		all = append(all, h)
	}
	if w.holds == nil {
		w.holds = map[*lane][]*hold{}
	}
	w.holds[l] = all
	return all
}

// hoursOpen is when mail may be sent: now, or when the hours open next.
func (g *gate) hoursOpen(now time.Time) time.Time {
	if !g.notAfter.IsZero() && !now.Before(g.notAfter) {
		return farFuture
	}
	if now.Before(g.hoursAt) { // the clock was set back
		g.openAt, g.shutAt = time.Time{}, time.Time{}
	}
	g.hoursAt = now
	if g.openAt.After(now) {
		return g.openAt
	}
	if g.shutAt.IsZero() || !now.Before(g.shutAt) {
		next := g.hours.Next(now)
		if next.IsZero() {
			next = farFuture
		}
		if next.After(now) {
			g.openAt = next
			return next
		}
		if g.shutAt = g.hours.Closes(now); g.shutAt.IsZero() {
			g.shutAt = farFuture
		}
	}
	return now
}

// farFuture stands for never, where a time is compared.
var farFuture = time.Unix(math.MaxInt32, 0).AddDate(100, 0, 0)

// answered notes that the claim of a message was answered.
func (g *gate) answered(out *outgoing) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked(out)
	g.match()
}

func (g *gate) asked(out *outgoing) {
	for _, h := range g.scopes(out.way, out.lane) {
		if h.asking > 0 {
			h.asking--
		}
	}
}

// refused puts a message back that a limit does not let go yet, before all others of its lane.
func (g *gate) refused(out *outgoing, limit string, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked(out)
	h := g.holds[scopeOf(limit)]
	if h == nil {
		h = g.holds["all"] // of a limit that nobody knows the place of
	}
	h.until, h.limit, h.tight = until, limit, until.Add(tightFor)
	g.putFront(out)
	g.judge(g.now())
	g.match()
}

// putFront puts a message back that was taken and not claimed.
func (g *gate) putFront(out *outgoing) {
	l := g.inFlight[out.due.ID]
	if l == nil {
		return
	}
	l.away--
	l.taken--
	g.wake() // what is left may all be held
	own := g.laneOf(out.due.Domain)
	if l == g.rest && own == l {
		g.open[out.due.Domain]++
	}
	if own != l { // it was split off while the message was away
		l.total--
		own.total++
		l = own
		g.inFlight[out.due.ID] = own
	}
	out.lane, out.attempt, out.answer, out.way = l, 0, nil, nil
	l.made = slices.Insert(l.made, 0, out)
}

// returned takes a delivery out of flight that was not tried: it does not count towards the limit, and it is read again.
func (g *gate) returned(id int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fed--
	if l := g.inFlight[id]; l != nil {
		l.taken--
		l.after, l.dry = min(l.after, id-1), false
	}
	g.land(id)
}

// settled takes a delivery out of flight whose outcome is committed.
func (g *gate) settled(o store.Outcome) {
	if o.Decision.State == "" {
		g.returned(o.Delivery)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.inFlight[o.Delivery]; l != nil {
		l.count(o.Decision.State)
	}
	g.land(o.Delivery)
}

// dropped takes a delivery out of flight that is no longer to be sent: the claim excluded it, or found it settled.
func (g *gate) dropped(id int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fed--
	g.land(id)
}

func (g *gate) land(id int64) {
	l := g.inFlight[id]
	if l == nil {
		return
	}
	delete(g.inFlight, id)
	l.away--
	if l.most > 0 {
		g.match() // there is a place in the lane
	}
	if l.away == 0 || len(g.inFlight) == 0 {
		g.wake()
	}
}

// finished notes that a relay is through with a message.
func (g *gate) finished(w *way, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := w.places()
	if w.tuner != nil {
		w.tuner.Done(g.now(), len(w.waiting) == 0)
	}
	for _, s := range g.shares {
		s.Carried(w.name, took, w.live)
	}
	if w.places() != before {
		g.match()
		g.place.Broadcast()
	}
}

// tight reports whether a limit that holds for a message is close: its claim may be refused, and the relay is told of it only when it is
// not.
func (g *gate) tight(out *outgoing) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	for _, h := range g.scopes(out.way, out.lane) {
		if h.tight.After(now) {
			return true
		}
	}
	return false
}

// shut reports whether a message that is claimed may not go after all: its lane or its relay was paused since.
func (g *gate) shut(out *outgoing) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	return out.way.gone != nil || out.way.until.After(now) || g.laneOf(out.due.Domain).state.Until.After(now) || g.hoursOpen(now).After(now)
}

// pausedFor is how long a relay is left alone.
func (g *gate) pausedFor(w *way) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return w.until.Sub(g.now())
}

// admitted waits until there is a place for a worker of a relay; false when the run ends first.
func (g *gate) admitted(w *way, index int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.closed && w.gone == nil && !w.admits(index) {
		g.place.Wait()
	}
	return !g.closed && w.gone == nil
}
