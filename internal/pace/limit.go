package pace

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Limit is at most N messages in any Per.
type Limit struct {
	Name   string // of its meter: one name is one meter, in every process
	N      int64
	Per    time.Duration
	Smooth bool      // kept even; otherwise counted: the share of a window may go at once
	Until  time.Time // of a share of one calendar day (warm-up): when that day ends; Name holds the date, Per and Smooth are not used, and N -1 only counts
}

// smoothest is up to where the shortest rate of a scope is kept even: 5,000 an hour alone says how fast, 50,000 a day how
// much.
const smoothest = time.Hour

// Limits are the rates of one scope ("relay main"), the lowest of each span: two of one span share their meter, and each
// message must be counted once. Only the shortest is smooth. Of [100/s, 5000/h] the hour's share may go at 100 a second;
// kept even as well, it would hold all mail at 1.4 a second and the 100 would say nothing.
func Limits(scope string, rates ...Rate) []Limit {
	var all []Limit
	for _, r := range rates {
		i := slices.IndexFunc(all, func(l Limit) bool { return l.Per == r.Per })
		if i >= 0 {
			all[i].N = min(all[i].N, int64(r.N))
			continue
		}
		all = append(all, Limit{Name: scope + "/" + r.Per.String(), N: int64(r.N), Per: r.Per})
	}
	slices.SortFunc(all, func(a, b Limit) int { return cmp.Compare(a.Per, b.Per) })
	if len(all) > 0 {
		all[0].Smooth = all[0].Per <= smoothest
	}
	return all
}

// Counted reports whether a limit keeps cells. A smooth one does, too, where a shorter rate beside it would make it a counted
// one: --rate 100/s for a day, or for one of two processes, must not begin with an empty hour, nor leave one behind. No rate
// is shorter than a second.
func (l Limit) Counted() bool { return !l.Smooth || !l.Until.IsZero() || l.Per > time.Second }

// Meter is what a limit has let through. The zero Meter is unused. Who keeps it keeps the exported fields: Next and Holes
// of a smooth limit belong together, Cells are those of one that is Counted. A Meter is changed by its Limit only; one that
// was changed elsewhere is loaded anew.
type Meter struct {
	Next  time.Time       // the first slot after all that were given away
	Holes []Hole          // slots before Next that nobody took, oldest first
	Cells map[int64]int64 // how many left in each cell of a window (see Limit.Cell)

	// The sum of the cells from first on, so that a window is not added up for each message.
	summed     bool
	first, sum int64
}

// Hole is a stretch of slots, in Unix microseconds as all slots are, that a message skipped because another limit let it go only later. A
// provider's mail at 10/s takes its slot up to 100 ms early; without holes it would take all that lies before it from the
// mail of the others.
type Hole struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// maxHoles bounds what is kept; honest use has as many as messages were taken ahead of their time, out of order.
const maxHoles = 64

// Clone is a copy that shares nothing.
func (m *Meter) Clone() *Meter {
	c := *m
	c.Holes, c.Cells = slices.Clone(m.Holes), maps.Clone(m.Cells)
	return &c
}

const (
	cells  = 60               // of a window
	farOff = 10 * time.Second // further than this nobody takes a slot ahead of its time
)

// step is from slot to slot, in microseconds as they are stored. It is rounded up, so that no rounding adds up to more than
// N in a window; that costs less than 1 % up to 10,000/s.
func (l Limit) step() int64 { return max(1, (l.Per.Microseconds()+l.N-1)/l.N) }

// credit is how far a slot may lie in the past: what may be caught up, a hundredth of the window but at most a second. From
// 100 on it is whole slots, so that no window ever holds more than N and a hundredth of N. Below that a window may hold one
// more than N, and half a slot may be caught up: a lane at 1/s waits that long for its turn under a limit of all mail, and
// would never reach its rate. The microsecond is what the clock's fraction may add.
func (l Limit) credit(step int64) int64 {
	c := min(max(l.Per.Microseconds()/100, step/2), time.Second.Microseconds())
	if c >= step {
		c -= c % step
	}
	return max(0, c-1)
}

// When says when the next message may leave, if it does not leave before now. Now or earlier is at once: a smooth limit
// tells its slot, which lies at most its credit in the past. Where several limits hold, the latest of their answers may be
// too early for one of them, whose free slot lay before it: see Earliest.
func (l Limit) When(m *Meter, now time.Time) time.Time {
	switch {
	case !l.Until.IsZero():
		if l.N < 0 || l.Used(m, now) < l.N || !now.Before(l.Until) {
			return now
		}
		return l.Until
	case l.N < 1:
		return now.Add(l.Per)
	case l.Smooth:
		t := now.UnixMicro()
		step := l.step()
		credit := l.credit(step)
		slot, _ := slotOf(m, t, t-credit, step, credit)
		at := now.Add(time.Duration(slot-t) * time.Microsecond)
		if l.Counted() && !rewound(m, t, step) {
			at = later(at, l.room(m, now, l.N+max(1, l.N/100)))
		}
		return at
	}
	return l.room(m, now, l.N)
}

// room is when the window holds fewer than n.
func (l Limit) room(m *Meter, now time.Time, n int64) time.Time {
	used := l.Used(m, now)
	if used < n {
		return now
	}
	first := l.first(now)
	excess := used - n + 1
	for _, c := range slices.Sorted(maps.Keys(m.Cells)) {
		if c < first {
			continue
		}
		if excess -= m.Cells[c]; excess <= 0 {
			// A cell has left the window when its successor is the first that counts.
			if !l.Smooth {
				c++
			}
			return time.UnixMilli(c * l.width()).In(now.Location()).Add(l.Per)
		}
	}
	return now.Add(l.Per) // not reached: the cells add up to used
}

// slotOf is the first free one at or after floor, and in which hole it lies (-1: in none).
func slotOf(m *Meter, now, floor, step, credit int64) (slot int64, hole int) {
	if begins(m, now, step) {
		return now + up(floor-now, step), -1
	}
	for i, h := range m.Holes {
		if s := h.From + up(floor-h.From, step); s < h.To {
			return s, i
		}
	}
	next := max(m.Next.UnixMicro(), now-credit)
	return next + up(floor-next, step), -1
}

// begins: the meter is unused, or the clock was set back and its slots say nothing.
func begins(m *Meter, now, step int64) bool { return m.Next.IsZero() || rewound(m, now, step) }

func rewound(m *Meter, now, step int64) bool {
	return m.Next.UnixMicro() > now+step+farOff.Microseconds()
}

// up is the smallest multiple of step that is at least d, 0 for what lies in the past.
func up(d, step int64) int64 {
	if d <= 0 {
		return 0
	}
	return (d + step - 1) / step * step
}

// Take counts a message that leaves at the given time, or now if that has passed: what When told, or Earliest where another
// limit holds it longer.
func (l Limit) Take(m *Meter, now, at time.Time) {
	if at.Before(now) {
		at = now
	}
	switch {
	case !l.Until.IsZero():
		l.count(m, 0, 1)
	case l.Smooth:
		if l.N < 1 {
			return
		}
		l.takeSlot(m, now, at)
		if l.Counted() {
			l.count(m, l.Cell(at), 1)
		}
	default:
		l.count(m, l.Cell(at), 1)
	}
}

func (l Limit) takeSlot(m *Meter, at, leave time.Time) {
	now, leaves, step := at.UnixMicro(), leave.UnixMicro(), l.step()
	credit := l.credit(step)
	if rewound(m, now, step) {
		// What was counted then lies ahead. It went evenly, so it stands in nobody's way.
		for c := range m.Cells {
			if c >= l.Cell(at) {
				m.Cells[c] = 0
			}
		}
		m.summed = false
	}
	if begins(m, now, step) {
		m.Next, m.Holes = time.UnixMicro(now), nil
	}
	slot, hole := slotOf(m, now, leaves-credit, step, credit)
	if hole >= 0 {
		h := m.Holes[hole]
		rest := make([]Hole, 0, 2)
		if h.From < slot {
			rest = append(rest, Hole{h.From, slot})
		}
		if slot+step < h.To {
			rest = append(rest, Hole{slot + step, h.To})
		}
		m.Holes = slices.Replace(m.Holes, hole, hole+1, rest...)
	} else {
		if first := max(m.Next.UnixMicro(), now-credit); first < slot {
			m.Holes = append(m.Holes, Hole{first, slot})
		}
		m.Next = time.UnixMicro(slot + step)
	}
	if len(m.Holes) > 0 {
		m.Holes = slices.DeleteFunc(m.Holes, func(h Hole) bool { return h.To <= now-credit })
		m.Holes = m.Holes[max(0, len(m.Holes)-maxHoles):]
	}
}

// GiveBack undoes a Take for that time: the message did not leave. A smooth slot is gone; in a second it would be anyway.
func (l Limit) GiveBack(m *Meter, at time.Time) {
	if !l.Counted() {
		return
	}
	c := int64(0)
	if l.Until.IsZero() {
		c = l.Cell(at)
		if m.Cells[c] == 0 {
			c++ // it was due just before the cell in which it was taken
		}
	}
	if m.Cells[c] > 0 {
		l.count(m, c, -1)
	}
}

// Used is how many left in the window that ends now, as far as it is counted.
func (l Limit) Used(m *Meter, now time.Time) int64 {
	switch {
	case !l.Until.IsZero():
		return m.Cells[0]
	case !l.Counted():
		return 0
	}
	if first := l.first(now); !m.summed || m.first != first {
		m.summed, m.first, m.sum = true, first, 0
		for c, n := range m.Cells {
			if l.counts(m, c) {
				m.sum += n
			}
		}
	}
	return m.sum
}

// first is the oldest cell of the window that ends now. One that lies only partly in it counts whole, so that the limit is
// never passed; the price is at most one part in sixty. A smooth limit leaves it out: its slots are what keeps it, and must
// not be held up by their own count.
func (l Limit) first(now time.Time) int64 {
	c := l.Cell(now.Add(-l.Per))
	if l.Smooth {
		c++
	}
	return c
}

// counts says whether a cell is in the window. So is one that lies ahead, where the clock was set back, by up to a window:
// further off is a clock that was wrong, and would stop the mail for as long as it was.
func (l Limit) counts(m *Meter, c int64) bool { return c >= m.first && c <= m.first+2*cells+2 }

// Cell is the one in which a message that leaves then is counted. What lies before that of two windows ago is forgotten.
func (l Limit) Cell(at time.Time) int64 {
	if !l.Until.IsZero() {
		return 0
	}
	return at.UnixMilli() / l.width()
}

// width of a cell in milliseconds.
func (l Limit) width() int64 { return max(1, l.Per.Milliseconds()/cells) }

func (l Limit) count(m *Meter, cell, n int64) {
	if m.Cells == nil {
		m.Cells = map[int64]int64{}
	}
	if len(m.Cells) > 4*cells {
		maps.DeleteFunc(m.Cells, func(c, _ int64) bool { return c < cell-2*cells })
		m.summed = false
	}
	m.Cells[cell] += n
	if m.summed && l.counts(m, cell) {
		m.sum += n
	}
}

// Held is a limit that holds for a message, with its meter.
type Held struct {
	Limit
	Meter *Meter
}

// Earliest is the first moment, now or later, at which all limits let a message leave, and the name of the limit that said
// so (empty: at once). It asks again with each answer until all agree, as the slot that one of them had before another's
// answer cannot be used after it.
func Earliest(all []Held, now time.Time) (at time.Time, by string) {
	at = now
	for agreed := 0; agreed < len(all); {
		for _, h := range all {
			if t := h.When(h.Meter, at); t.After(at) {
				at, by, agreed = t, h.Name, 0
			}
			if agreed++; agreed >= len(all) {
				break
			}
		}
	}
	return at, by
}
