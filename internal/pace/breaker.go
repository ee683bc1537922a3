package pace

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"mailer/internal/statistics"
)

// Kind is what a breaker counts.
type Kind string

// The kinds.
const (
	Hard      Kind = "hard"      // dead addresses
	Policy    Kind = "policy"    // refusals for what we are or send
	Complaint Kind = "complaint" // somebody called it spam
)

var kinds = [...]Kind{Hard, Policy, Complaint}

// Levels are from where on it is too much. A share of 0 is off.
type Levels struct {
	Window time.Duration
	Least  int64 // fewer messages say nothing
	Shares map[Kind]float64
}

// Trip is why mail must stop.
type Trip struct {
	Lane         string // empty: of all mail
	Kind         Kind
	Count, Of    int64
	Share, Limit float64
	Window       time.Duration // 0: of all that was sent
}

// String says it in a sentence.
func (t Trip) String() string {
	to, within := "", ""
	if t.Lane != "" {
		to = " to " + t.Lane
	}
	switch t.Window {
	case 0:
	case time.Hour:
		within = " in the last hour"
	default:
		within = " in the last " + span(t.Window)
	}
	what := map[Kind]string{
		Hard: "went to dead addresses", Policy: "were refused for what we are or send", Complaint: "were complained about",
	}[t.Kind]
	return fmt.Sprintf("%d of %d messages%s (%s)%s %s; the limit is %s", t.Count, t.Of, to, percent(t.Share), within, what, percent(t.Limit))
}

func percent(share float64) string {
	if share < 0.01 {
		return fmt.Sprintf("%.2f %%", 100*share)
	}
	return fmt.Sprintf("%.1f %%", 100*share)
}

// span is a duration without the zeros that String leaves at its end.
func span(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return d.String()
}

// Small counts say little: of 100 messages three complaints are 3 %, and chance. So a share must be over the limit, and its
// Wilson 95 % lower bound over most of it. With the bound over the limit itself it would take thousands of messages to stop
// a list that is half as bad again as allowed; over half of the limit, one list in three that is well within it (0.7 times
// the limit) would be stopped somewhere in 20,000 messages. At 0.8 it is one in ten or twenty, and twice the limit is
// noticed as soon as the least number is reached. One or two stop nothing but a sample that was no larger.
const (
	breakerSure  = 0.8
	breakerCount = 3
)

// over reports whether so many of so many are too many.
func over(count, of int64, limit float64) bool {
	if limit <= 0 || count > of || count < min(breakerCount, of) || of == 0 {
		return false
	}
	surely, _ := statistics.Interval(count, of)
	return float64(count) > limit*float64(of) && surely > breakerSure*limit
}

// Went judges a sample as a whole, however small; ok: it did not go well.
func Went(levels Levels, sent int64, seen map[Kind]int64) (Trip, bool) {
	var worst Trip
	for _, k := range kinds {
		worst = worse(worst, trip("", k, seen[k], sent, levels.Shares[k], 0))
	}
	return worst, worst.Kind != ""
}

// trip is the zero Trip unless so many are too many.
func trip(lane string, k Kind, count, of int64, limit float64, window time.Duration) Trip {
	if !over(count, of, limit) {
		return Trip{}
	}
	return Trip{Lane: lane, Kind: k, Count: count, Of: of, Share: float64(count) / float64(of), Limit: limit, Window: window}
}

// worse is the one that is further over its limit; the first of equals.
func worse(a, b Trip) Trip {
	if b.Kind != "" && (a.Kind == "" || b.Share/b.Limit > a.Share/a.Limit) {
		return b
	}
	return a
}

// Breaker watches the shares of a run, per lane and over all. What a message was answered with counts in a sliding window.
// News that come later (a returned mail, a complaint) may be of messages that were sent long before: they are held against
// all that was sent.
type Breaker struct {
	levels Levels
	lanes  map[string]*tally
	fresh  map[string]bool // changed since they were judged, or over a limit
}

// tally is what is known of a lane. Cells are a sixtieth of the window; those without mail are not there.
type tally struct {
	cells []tallyCell
	all   tallyCell
}

type tallyCell struct {
	at   int64
	sent int64
	seen [len(kinds)]int64
}

const tallyCells = 60

// NewBreaker begins with nothing seen.
func NewBreaker(levels Levels) *Breaker {
	if levels.Window <= 0 {
		levels.Window = time.Hour
	}
	return &Breaker{levels: levels, lanes: map[string]*tally{}, fresh: map[string]bool{}}
}

// Before adds what was sent before this run began, and that late news may be about.
func (b *Breaker) Before(lane string, sent int64) {
	for _, t := range b.touch(lane) {
		t.all.sent += sent
	}
}

// Sent notes that a message got its last answer, whatever that is.
func (b *Breaker) Sent(now time.Time, lane string) {
	for _, t := range b.touch(lane) {
		t.cell(b.cell(now)).sent++
		t.all.sent++
	}
}

// Saw notes that n of the messages that were sent now had such an answer.
func (b *Breaker) Saw(now time.Time, lane string, k Kind, n int64) {
	for i, kind := range kinds {
		if kind != k {
			continue
		}
		for _, t := range b.touch(lane) {
			t.cell(b.cell(now)).seen[i] += n
			t.all.seen[i] += n
		}
	}
}

// Heard notes late news about n messages, whenever they were sent.
func (b *Breaker) Heard(lane string, k Kind, n int64) {
	for i, kind := range kinds {
		if kind != k {
			continue
		}
		for _, t := range b.touch(lane) {
			t.all.seen[i] += n
		}
	}
}

// Tripped returns the worst of what is over its limit.
func (b *Breaker) Tripped(now time.Time) (Trip, bool) {
	var worst Trip
	// Backwards, so that all mail comes last: where it is a lane that is over the limit, the lane is named.
	for _, lane := range slices.Backward(slices.Sorted(maps.Keys(b.fresh))) {
		t := b.judge(now, lane)
		if t.Kind == "" {
			delete(b.fresh, lane)
		}
		worst = worse(worst, t)
	}
	return worst, worst.Kind != ""
}

func (b *Breaker) judge(now time.Time, lane string) Trip {
	var worst Trip
	t := b.lanes[lane]
	window := t.since(b.cell(now) - tallyCells)
	for i, k := range kinds {
		limit := b.levels.Shares[k]
		if window.sent >= b.levels.Least {
			worst = worse(worst, trip(lane, k, window.seen[i], window.sent, limit, b.levels.Window))
		}
		if t.all.sent >= b.levels.Least {
			worst = worse(worst, trip(lane, k, t.all.seen[i], t.all.sent, limit, 0))
		}
	}
	return worst
}

// touch returns the tally of a lane and that of all mail.
func (b *Breaker) touch(lane string) []*tally {
	if lane == "" {
		return []*tally{b.tally("")}
	}
	return []*tally{b.tally(""), b.tally(lane)}
}

func (b *Breaker) tally(lane string) *tally {
	t := b.lanes[lane]
	if t == nil {
		t = &tally{}
		b.lanes[lane] = t
	}
	b.fresh[lane] = true
	return t
}

func (b *Breaker) cell(now time.Time) int64 {
	return now.UnixMilli() / max(b.levels.Window.Milliseconds()/tallyCells, 1)
}

// cell returns the cell of a time. After a clock was set back it is the last one until the time has come again.
func (t *tally) cell(at int64) *tallyCell {
	if n := len(t.cells); n > 0 && t.cells[n-1].at >= at {
		return &t.cells[n-1]
	}
	drop := 0
	for drop < len(t.cells) && t.cells[drop].at <= at-tallyCells {
		drop++
	}
	t.cells = append(t.cells[drop:], tallyCell{at: at})
	return &t.cells[len(t.cells)-1]
}

// since sums what came after a cell.
func (t *tally) since(at int64) tallyCell {
	var sum tallyCell
	for _, c := range t.cells {
		if c.at <= at {
			continue
		}
		sum.sent += c.sent
		for i, n := range c.seen {
			sum.seen[i] += n
		}
	}
	return sum
}
