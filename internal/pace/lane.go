package pace

import "time"

// How a lane reacts. Providers name minutes to hours (their presets say which); these hold where they say nothing.
const (
	sameEvent    = 5 * time.Second  // refusals this soon after one that counted are of mail that was on the wire already
	recoverEvery = 10 * time.Second // without a refusal: one step up
	recoverShare = 0.1              // of the rate before: one step
	slowest      = 1.0 / 6          // messages a second: the ten a minute that Gmail's 4.7.28 is answered with
	trickle      = 1.0              // messages a second: the slowest while a quarter or more is taken
	slowestShare = 0.01             // of the rate before: who took 100/s is not starved at ten a minute
	fastest      = 1e6              // nobody achieves that
	mostRefused  = 0.75             // of the last replies: more is a closed door
	memory       = 0.95             // what a reply counts when the next one comes: about the last twenty
	firstPause   = time.Minute
	longestPause = time.Hour
	mostDoubled  = 3   // a policy block's pause grows to eight times its length
	probeRate    = 1.0 // messages a second after a pause, until one is taken
)

// Lane is how one receiving provider, or one relay, takes our mail at the moment. The zero Lane: freely. It is kept as
// JSON; decode into a fresh one.
//
// A refusal that asks for less (421, 4.7.x) halves the rate; it comes back in steps while mail is taken. When the next such
// refusal comes with nothing taken in between, and most of what went lately was refused, slower is not enough: then there
// are pauses, each twice as long. A provider that refuses half of its mail at any rate gets it at a trickle.
type Lane struct {
	Rate   float64       `json:"rate,omitempty"`   // messages a second; 0: as fast as they come
	Was    float64       `json:"was,omitempty"`    // what went before it was slowed; back there it is free
	Until  time.Time     `json:"until,omitzero"`   // paused until then
	Held   time.Duration `json:"held,omitempty"`   // how long that pause is; 0: something was taken since the last one
	Hit    time.Time     `json:"hit,omitzero"`     // the last refusal that counted
	Raised time.Time     `json:"raised,omitzero"`  // the last step up
	Row    int           `json:"row,omitempty"`    // throttlings in a row with nothing taken in between
	Blocks int           `json:"blocks,omitempty"` // policy blocks, likewise
	Why    string        `json:"why,omitempty"`    // what was said

	Longest time.Duration `json:"-"` // the preset's pause; 0: an hour
	Slot    time.Time     `json:"-"` // when the next may go by the rate; of this process only

	taken, refused float64 // of the last replies
}

// Throttled notes a refusal that asks for less; achieved is how many messages a second went lately. It reports whether the
// lane changed: of the refusals that one event brings on many connections only the first does.
func (l *Lane) Throttled(now time.Time, achieved float64, why string) bool {
	l.mend(now)
	l.count(0, 1)
	if now.Before(l.Until) || l.justHit(now) {
		return false
	}
	closed := l.refused > mostRefused*(l.taken+l.refused)
	if l.Rate == 0 {
		l.Was = 2 * trickle
		if achieved > l.Was { // which no NaN is
			l.Was = min(achieved, fastest)
		}
		l.Rate = l.Was / 2
	} else {
		from := l.Rate
		// Right after a pause, what was achieved tells of the pause.
		if achieved > 0 && achieved < from && now.Sub(l.Until) > recoverEvery {
			from = achieved
		}
		least := max(trickle, slowestShare*l.Was)
		if closed {
			least = max(slowest, slowestShare*l.Was)
		}
		l.Rate = min(l.Rate, max(from/2, least))
	}
	if l.Row++; l.Row > 1 && closed {
		longest := l.Longest
		if longest <= 0 {
			longest = longestPause
		}
		l.pause(now, min(doubled(firstPause, l.Row-2), longest))
	}
	l.Hit, l.Raised, l.Why = now, time.Time{}, why
	l.Slot = now.Add(l.gap())
	return true
}

// Blocked notes a refusal for what we are or send: nothing goes for pause (0: an hour), and for twice as long each time
// that it comes again with nothing taken in between. It reports whether the lane changed.
func (l *Lane) Blocked(now time.Time, pause time.Duration, why string) bool {
	l.mend(now)
	if l.Blocks > 0 && (now.Before(l.Until) || l.justHit(now)) {
		return false
	}
	if pause <= 0 {
		pause = longestPause
	}
	l.pause(now, doubled(pause, min(l.Blocks, mostDoubled)))
	l.Blocks++
	l.Hit, l.Raised, l.Why = now, time.Time{}, why
	return true
}

// Took notes that a message was taken, and reports whether the lane changed. What is taken during a pause was on the wire
// when the pause began: it ends nothing.
func (l *Lane) Took(now time.Time) bool {
	l.mend(now)
	l.count(1, 0)
	if l.Hit.IsZero() || now.Before(l.Until) || l.justHit(now) {
		return false
	}
	changed := l.Held > 0 || l.Row > 0 || l.Blocks > 0
	l.Held, l.Row, l.Blocks = 0, 0, 0
	if l.Rate == 0 {
		l.free()
		return true
	}
	quiet := later(later(l.Hit, l.Raised), l.Until)
	if now.Sub(quiet) < recoverEvery {
		return changed
	}
	l.Rate += recoverShare * l.Was
	l.Raised = now
	if l.Rate >= l.Was {
		l.free()
	}
	return true
}

// Next is when the next message may go: now when at once.
func (l *Lane) Next(now time.Time) time.Time {
	l.mend(now)
	next := later(now, l.Until)
	if l.rate() > 0 {
		next = later(next, l.Slot)
	}
	return next
}

// Leave notes that one goes at that time, which Next allowed.
func (l *Lane) Leave(at time.Time) {
	if l.rate() > 0 {
		l.Slot = later(at, l.Slot).Add(l.gap())
	}
}

// State is what to show: the rate that it is slowed to and the end of its pause, each zero when there is none, and what was
// said when there is one.
func (l *Lane) State(now time.Time) (rate float64, until time.Time, why string) {
	if now.Before(l.Until) {
		until = l.Until
	}
	if l.Rate > 0 || !until.IsZero() {
		why = l.Why
	}
	return l.Rate, until, why
}

// pause holds everything back, never for less than it is held already.
func (l *Lane) pause(now time.Time, d time.Duration) {
	if end := now.Add(d); end.After(l.Until) {
		l.Until, l.Held = end, d
	}
}

func (l *Lane) free() {
	*l = Lane{Longest: l.Longest, taken: l.taken, refused: l.refused}
}

func (l *Lane) count(taken, refused float64) {
	l.taken, l.refused = memory*l.taken+taken, memory*l.refused+refused
}

func (l *Lane) justHit(now time.Time) bool {
	return !l.Hit.IsZero() && now.Sub(l.Hit) < sameEvent
}

// rate is what holds at the moment. After a pause one message is tried before the others follow.
func (l *Lane) rate() float64 {
	switch {
	case l.Held == 0:
		return l.Rate
	case l.Rate == 0:
		return probeRate
	}
	return min(l.Rate, probeRate)
}

func (l *Lane) gap() time.Duration {
	return time.Duration(float64(time.Second) / l.rate())
}

// mend sets right what a clock that was set back leaves in the future: a pause lasts no longer than it was meant to.
func (l *Lane) mend(now time.Time) {
	if l.Until.Sub(now) > l.Held {
		l.Until = now.Add(l.Held)
	}
	if l.Hit.After(now) {
		l.Hit = now
	}
	if l.Raised.After(now) {
		l.Raised = now
	}
	// A slot may be taken some moments ahead.
	if l.rate() > 0 && l.Slot.Sub(now) > l.gap()+sameEvent {
		l.Slot = now
	}
}

func doubled(d time.Duration, times int) time.Duration {
	return d << min(times, 20)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
