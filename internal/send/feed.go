package send

import (
	"fmt"
	"time"

	"mailer/internal/store"
)

// feed reads what is due into the lanes until nothing is left to do now.
func (e *engine) feed() {
	for e.claiming.Err() == nil {
		any, err := e.read()
		if err == nil && !any {
			any, err = e.waitForMore()
		}
		if err != nil {
			e.stopWith(err)
			return
		}
		if !any {
			return
		}
	}
}

// read reads what there is room for: the deferred whose time has come, and the next of the lane that needs it most. It reports
// whether it read on.
func (e *engine) read() (any bool, err error) {
	if e.sample != nil {
		return e.readSample()
	}
	if now := e.now(); !now.Before(e.retriesAt) && !now.After(e.expires) {
		// Those in flight still read as due until they are claimed: ask for that many more.
		among, known := e.gate.forRetries()
		due, err := e.run.Retries(e.claiming, e.fields, among, known+readRetries)
		if err != nil {
			return false, err
		}
		if any = e.gate.add(due); !any {
			e.retriesAt = now.Add(readEvery)
		}
	}
	if e.onlyDeferred {
		return any, nil
	}
	l, among, after := e.gate.hungry()
	if l == nil {
		return any, nil
	}
	due, err := e.run.Fresh(e.claiming, e.fields, among, after, readAhead)
	if err != nil {
		return any, err
	}
	e.gate.took(l, due)
	return true, nil
}

// readSample reads the next of a sample that goes before all others.
func (e *engine) readSample() (bool, error) {
	if e.sampled >= len(e.sample) || !e.gate.roomFor(readAhead) {
		return false, nil
	}
	next := e.sample[e.sampled:min(e.sampled+readAhead, len(e.sample))]
	due, err := e.run.Fresh(e.claiming, e.fields, store.Among{IDs: next}, 0, len(next))
	if err != nil {
		return false, err
	}
	e.gate.add(due)
	e.sampled += len(next)
	return true, nil
}

// shortHold is how long a run stays for a limit or a pause; for longer it ends, and the next run goes on. A used-up limit of so many a
// minute holds for a minute and a bit.
const shortHold = 90 * time.Second

// waitForMore waits until something moves, or a deferred delivery is due; false when nothing more will come in this run.
func (e *engine) waitForMore() (bool, error) {
	inFlight, stuck := e.gate.standing()
	if inFlight > 0 {
		if stuck != nil {
			if err := e.tooLong(*stuck); err != nil {
				return false, err
			}
		}
		return e.wait(readEvery), nil
	}
	if e.gate.isFull() {
		return false, errLimit
	}
	if e.sample != nil {
		return e.sampleAgain()
	}
	look := e.run.NextDue
	if e.onlyDeferred {
		look = e.run.NextRetry
	}
	next, waiting, err := look(e.claiming)
	if err != nil {
		return false, err
	}
	if waiting && next.IsZero() { // it was put back: it is read again
		return e.gate.rewind() || e.wait(readEvery), nil
	}
	pause := next.Sub(e.now())
	// The pause is held against the time that is left: a clock that was set back must not keep us.
	if !waiting || pause > 0 && pause > time.Until(e.waitUntil) || e.tooLate(next) {
		return false, errDone
	}
	e.retriesAt = time.Time{}
	return sleep(e.claiming, pause), nil
}

// sampleAgain reads a sample once more when some of it was put back.
func (e *engine) sampleAgain() (bool, error) {
	due, err := e.run.Fresh(e.claiming, e.fields, store.Among{IDs: e.sample}, 0, 1)
	if err != nil {
		return false, err
	}
	if len(due) == 0 {
		return false, errDone
	}
	e.sampled = 0
	return e.claiming.Err() == nil, nil
}

// wait waits for something to move.
func (e *engine) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-e.wake:
		return true
	case <-t.C:
		return true
	case <-e.claiming.Done():
		return false
	}
}

// tooLong returns the reason to end when what holds everything holds for longer than the run may stay.
func (e *engine) tooLong(s stuck) error {
	now := e.now()
	pause := s.until.Sub(now)
	if pause <= shortHold || pause <= time.Until(e.waitUntil) {
		return nil
	}
	// Deferred mail of others may come due while the run stays for it.
	if next, waiting, err := e.run.NextRetry(e.claiming); err != nil {
		return err
	} else if waiting && next.Before(e.waitUntil) && !e.tooLate(next) && next.After(now) {
		return nil
	}
	return s.err
}

// tooLate reports whether the campaign's time is over before a deferred delivery's next try. Zero is none: it was put back.
func (e *engine) tooLate(next time.Time) bool {
	return !next.IsZero() && (next.After(e.expires) || e.now().After(e.expires))
}

// stuck is why nothing moves, and until when.
type stuck struct {
	until time.Time
	err   error
	note  string
}

// standing returns how many are in flight, and when none of them is under way, what holds them.
func (g *gate) standing() (inFlight int, s *stuck) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.lanes {
		if l.away+l.making > 0 {
			return len(g.inFlight), nil
		}
	}
	if len(g.inFlight) == 0 {
		return 0, nil
	}
	return len(g.inFlight), g.held()
}

// held is what holds everything that waits; nil when something may go now.
func (g *gate) held() *stuck {
	now := g.now()
	if at := g.hoursOpen(now); at.After(now) {
		if !g.notAfter.IsZero() && !now.Before(g.notAfter) {
			return &stuck{at, errLate, "not_after has passed"}
		}
		if at.Equal(farFuture) {
			return &stuck{at, fmt.Errorf("%w, and no window of hours opens any more", ErrClosed), "no window opens any more"}
		}
		return &stuck{at, fmt.Errorf("%w: the next window opens at %s", ErrClosed, g.stamp(at)), "outside the hours"}
	}
	var first *stuck
	for _, l := range g.lanes {
		if len(l.due)+len(l.made) == 0 {
			continue
		}
		for _, w := range g.ways {
			// One that stands by waits for nothing but the others, and one that must not carry what is there does not help.
			if w.gone == nil && !w.needed() || len(l.made) > 0 && g.nextFor(l, w, now) < 0 {
				continue
			}
			s := g.holder(w, l, now)
			if s == nil {
				return nil
			}
			if first == nil || s.until.Before(first.until) {
				first = s
			}
		}
	}
	return first
}

// holder is what holds a lane on its way by a relay; nil: nothing.
func (g *gate) holder(w *way, l *lane, now time.Time) *stuck {
	var s *stuck
	later := func(at time.Time, err error, note string) {
		if at.After(now) && (s == nil || at.After(s.until)) {
			s = &stuck{at, err, note}
		}
	}
	switch {
	case w.gone != nil:
		return &stuck{farFuture, w.gone, "relay " + w.name + " is given up"}
	case !w.there():
		return &stuck{farFuture, fmt.Errorf("%w: relay %s, and no other one may carry what is left: %w", ErrUnreachable, w.name, w.trouble), "relay " + w.name + " cannot be reached"}
	}
	later(w.until, fmt.Errorf("%w: %s", ErrNotNow, w.why), "relay "+w.name+" wants a pause")
	later(w.state.Next(now), fmt.Errorf("%w: relay %s, %s", ErrNotNow, w.name, w.state.Why), "relay "+w.name+" is slowed")
	later(l.state.Next(now), fmt.Errorf("%w: %s is left alone until %s, because %s", ErrNotNow, l.title(), g.stamp(l.state.Until), l.state.Why), l.title()+" is paused")
	for _, h := range g.scopes(w, l) {
		if h.until.After(now) {
			later(h.until, fmt.Errorf("%w (%s): more can be sent from %s on", ErrLimit, g.boundText(h.limit), g.stamp(h.until)), "held by "+g.boundText(h.limit))
		}
	}
	return s
}

func (g *gate) boundText(limit string) string {
	if g.rates == nil {
		return limit
	}
	return g.rates.boundText(limit, g.now())
}

func (g *gate) stamp(t time.Time) string {
	if g.zone != nil {
		t = t.In(g.zone)
	}
	return t.Format("2006-01-02 15:04")
}

// forRetries is whose deferred deliveries may be read now, and how many in flight will be among them.
func (g *gate) forRetries() (store.Among, int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var among store.Among
	for _, l := range g.lanes {
		if l != g.rest && len(l.due) >= readAhead {
			among.Not = append(among.Not, l.domains...)
		}
	}
	return among, len(g.inFlight)
}

// hungry is the lane that has to be read on, with what is to be read; nil when there is none.
func (g *gate) hungry() (best *lane, among store.Among, after int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.full() || g.closed {
		return nil, among, 0
	}
	for _, l := range g.lanes {
		if l.dry || len(l.due) > readAhead/2 {
			continue
		}
		if best == nil || l.behind(best) {
			best = l
		}
	}
	if best == nil {
		return nil, among, 0
	}
	return best, g.rows(best), best.after
}

// took notes what was read of a lane.
func (g *gate) took(l *lane, due []store.Due) {
	g.add(due)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(due) < readAhead {
		l.dry = true
	}
	if len(due) > 0 && !g.full() {
		l.after = max(l.after, due[len(due)-1].ID)
	}
}

// rewind begins every lane again; false when that was done a moment ago and nothing came of it.
func (g *gate) rewind() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rewound && g.fed == g.fedAt {
		g.rewound = false
		return false
	}
	g.rewound, g.fedAt = true, g.fed
	for _, l := range g.lanes {
		l.after, l.dry = 0, false
	}
	return true
}

func (g *gate) isFull() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.full()
}

// roomFor reports whether so many more may be read.
func (g *gate) roomFor(n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := 0
	for _, l := range g.lanes {
		waiting += len(l.due)
	}
	return waiting < n && !g.full()
}
