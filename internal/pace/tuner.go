package pace

import (
	"math"
	"time"
)

// How the tuner steps.
const (
	tuneStart   = 4 // connections
	tuneWindow  = 500 * time.Millisecond
	tuneEach    = 4 // messages a connection in a window
	tuneWindows = 3 // at most, to tell a small gain from noise
	tuneGain    = 0.05
	tuneClear   = 0.20             // a gain that one window shows well enough; in small steps, most of what can be hoped for
	tuneDial    = 8                // round trips until a new connection carries mail: TCP, banner, EHLO, TLS, EHLO, AUTH
	tuneRamp    = 10 * time.Second // at most, where nobody tells when the connections are there
	tuneHung    = 30 * time.Second // at most, where they do not come
	tuneAgain   = 30 * time.Second // settled: the next try to grow, twice as long after each that failed
	tuneSeldom  = 10 * time.Minute
)

// Tuner finds out how many connections a relay is worth: more while more go through, up to the limit; fewer when the relay
// refuses. It knows only what it is told, by times of the caller.
type Tuner struct {
	limit, n int
	live     int // -1: nobody tells

	state tuning
	from  int     // climbing, checking: the count that worked before
	base  float64 // messages a second there
	above float64 // checking: what the greater count brought

	calm    time.Time // refusals until then are of the last one's event
	bad     int       // a count that was refused: grow to less, in small steps. 0: none was
	careful bool

	ramp    time.Time // nothing is measured before; zero: not begun
	joined  bool      // the connections of this step are there
	took    time.Duration
	begun   time.Time // the window
	done    int
	idle    int // of done: while workers stood idle
	windows int
	sum     float64

	again time.Duration
	retry time.Time
}

type tuning int

const (
	starting tuning = iota // the first measure
	climbing               // is the greater count better?
	checking               // is the smaller one really as good?
	halved                 // a refusal; measures before it grows again
	settled
	probing // settled for long: measures before it tries to grow
)

// NewTuner begins with a few connections of at most limit.
func NewTuner(limit int) *Tuner {
	limit = max(limit, 1)
	t := &Tuner{limit: limit, n: min(limit, tuneStart), live: -1, again: tuneAgain}
	if t.n == limit {
		t.state = settled
	}
	return t
}

// Connections is how many there should be now.
func (t *Tuner) Connections() int { return t.n }

// Settled reports whether the count is not being changed or measured.
func (t *Tuner) Settled() bool { return t.state == settled || t.state == probing }

// Live tells how many connections there are. It need not be called: then a time is allowed for dialling.
func (t *Tuner) Live(n int) { t.live = n }

// Done notes that one message has finished; busy: no worker of this relay stood idle. While some do, more connections would
// bring nothing, and nothing is learned.
func (t *Tuner) Done(now time.Time, busy bool) {
	if t.state == settled {
		if t.n >= t.limit {
			return
		}
		if t.retry.IsZero() || t.retry.Sub(now) > t.again { // a clock that was set back
			t.retry = now.Add(t.again)
		}
		if now.Before(t.retry) || !busy {
			return
		}
		t.to(probing, t.n)
	}
	if !t.ready(now) {
		return
	}
	if t.begun.IsZero() || now.Before(t.begun) {
		t.window(now)
		return
	}
	t.done++
	if !busy {
		t.idle++
	}
	span := now.Sub(t.begun)
	if span < tuneWindow || t.done < tuneEach*t.n {
		return
	}
	rate, idle := float64(t.done)/span.Seconds(), 10*t.idle > t.done
	t.window(now)
	if idle {
		return
	}
	t.windows++
	t.sum += rate
	t.judge(t.sum / float64(t.windows))
}

// Refused notes that the relay had enough of our connections or of our rate. What a step up brought about ends with that
// step; anything else halves. Refusals until the lower count has come about are of the same event.
func (t *Tuner) Refused(now time.Time) {
	settling := max(2*t.took, tuneWindow)
	if wait := t.calm.Sub(now); wait > 0 && wait <= settling || t.state == checking && !t.ready(now) {
		return
	}
	t.calm = now.Add(settling)
	if t.state == climbing {
		t.refusedAt(t.n, t.from)
	} else {
		t.refusedAt(t.n, max(t.n/2, 1))
	}
}

func (t *Tuner) refusedAt(n, to int) {
	t.careful, t.bad = true, n
	if t.next(to) <= to {
		t.settle(to)
		return
	}
	t.to(halved, to)
}

// judge decides on what a count brought.
func (t *Tuner) judge(rate float64) {
	t.took = time.Duration(float64(time.Second) * float64(t.n) / rate)
	enough := t.windows >= tuneWindows
	switch t.state {
	case starting:
		t.climb(rate)
	case halved, probing:
		if enough {
			t.climb(rate)
		}
	case climbing:
		gain, best := rate/t.base-1, float64(t.n)/float64(t.from)-1
		need := min(tuneGain, best/2)
		switch {
		case gain >= min(tuneClear, 0.75*best) || enough && gain >= need:
			t.again = tuneAgain
			t.climb(rate)
		case enough:
			t.above = rate
			t.from, t.n = t.n, t.from
			t.to(checking, t.n)
		}
	case checking:
		switch {
		case !enough:
		case rate < t.above*(1-tuneGain): // the relay had become slower meanwhile
			t.settle(t.from)
		default:
			t.settle(t.n)
		}
	}
}

// climb goes to the next greater count, if there is one.
func (t *Tuner) climb(rate float64) {
	n := t.next(t.n)
	if n <= t.n {
		t.settle(t.n)
		return
	}
	t.from, t.base = t.n, rate
	t.to(climbing, n)
}

// next is the count after n: up to twice as many, in steps of one size up to the limit, so that what the last one brings
// can be told from noise too. After a refusal a few more, and never as many as were refused.
func (t *Tuner) next(n int) int {
	if !t.careful {
		if n >= t.limit {
			return n
		}
		whole := float64(t.limit) / float64(n)
		steps := math.Ceil(math.Log2(whole) - 1e-9)
		return min(t.limit, max(n+1, int(math.Round(float64(n)*math.Pow(whole, 1/steps)))))
	}
	step := max(n/8, 1)
	if t.bad > 0 {
		step = min(step, (t.bad-n)/2)
	}
	return min(n+step, t.limit)
}

// settle stays with n. The next try to grow may go to what was refused before.
func (t *Tuner) settle(n int) {
	t.to(settled, n)
	t.bad = 0
	t.retry = time.Time{}
}

func (t *Tuner) to(s tuning, n int) {
	if s == probing {
		t.again = min(2*t.again, tuneSeldom)
	}
	t.state, t.n = s, n
	t.ramp, t.joined = time.Time{}, s == probing
	t.windows, t.sum = 0, 0
	t.begun = time.Time{}
}

func (t *Tuner) window(now time.Time) {
	t.begun, t.done, t.idle = now, 0, 0
}

// ready reports whether the connections of this step carry mail.
func (t *Tuner) ready(now time.Time) bool {
	if t.ramp.IsZero() || t.ramp.Sub(now) > tuneHung {
		t.ramp = now.Add(t.dialling())
	}
	if !t.joined && t.live > 0 && (t.live == t.n || t.lower() == (t.live < t.n)) {
		t.joined = true
		t.ramp = now.Add(t.took) // until each has carried one
	}
	return !now.Before(t.ramp)
}

// lower reports whether the last step went down.
func (t *Tuner) lower() bool { return t.state == checking || t.state == halved }

// dialling is how long a changed count takes to come about at most.
func (t *Tuner) dialling() time.Duration {
	switch {
	case t.state == probing:
		return 0
	case t.lower(): // the others finish what they have
		return max(2*t.took, tuneWindow)
	case t.live >= 0:
		return tuneHung
	}
	return min(max(tuneDial*t.took, tuneWindow), tuneRamp)
}
