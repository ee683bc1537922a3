package pace

import (
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The simulation of takers: processes that share meters, each with a clock that may be set back, that stall, have no work
// for a while, and are killed. It plays the part of the store: who may take a slot at most ahead of its time.

const ahead = 100 * time.Millisecond

type taker struct {
	at     time.Time   // when it asks next
	limits []Limit     // that hold for its mail
	leave  []time.Time // what it took and has not sent: lost when it is killed
}

type takers []*taker

func (q takers) Len() int           { return len(q) }
func (q takers) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q takers) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *takers) Push(x any)        { *q = append(*q, x.(*taker)) }
func (q *takers) Pop() any          { panic("takers do not end") }

type world struct {
	rnd     *rand.Rand
	meters  map[string]*Meter
	takers  takers
	latency time.Duration // of a claim, at most
	stall   float64       // the share of claims after which a taker stands still for up to a second
	idle    float64       // ... after which it has no work for up to a minute
	kill    float64       // ... in which it is killed, and begins again up to a second later
	back    float64       // ... in which the clock of all is set back
	offset  time.Duration // of that clock
	maxBack time.Duration
	sent    map[string][]time.Time // by limit, in true time
}

func newWorld(seed uint64, from time.Time, limits ...[]Limit) *world {
	w := &world{rnd: rand.New(rand.NewPCG(seed, 7)), meters: map[string]*Meter{}, sent: map[string][]time.Time{}}
	for _, ls := range limits {
		w.takers = append(w.takers, &taker{at: from, limits: ls})
		for _, l := range ls {
			w.meters[l.Name] = &Meter{}
		}
	}
	return w
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rnd.Int64N(int64(d) + 1)) }

func (w *world) chance(share float64) bool { return share > 0 && w.rnd.Float64() < share }

func (w *world) run(until time.Time) {
	for w.takers[0].at.Before(until) {
		t := w.takers[0]
		w.turn(t)
		heap.Fix(&w.takers, 0)
	}
	for _, t := range w.takers {
		w.send(t, until)
	}
}

func (w *world) turn(t *taker) {
	now := t.at
	w.send(t, now)
	if w.chance(w.kill) {
		t.leave = nil
		w.reload()
		t.at = now.Add(w.upTo(time.Second))
		return
	}
	if w.chance(w.back) {
		w.offset -= w.upTo(w.maxBack)
	}
	clock := now.Add(w.offset)
	held := make([]Held, len(t.limits))
	for i, l := range t.limits {
		held[i] = Held{l, w.meters[l.Name]}
	}
	at, _ := Earliest(held, clock)
	if at.Sub(clock) > ahead {
		t.at = now.Add(at.Sub(clock) - ahead + w.upTo(w.latency))
		return
	}
	for _, l := range t.limits {
		l.Take(w.meters[l.Name], clock, at)
	}
	t.leave = append(t.leave, at.Add(-w.offset))
	t.at = now.Add(w.upTo(w.latency) + 1)
	if w.chance(w.stall) {
		t.at = t.at.Add(w.upTo(time.Second))
	}
	if w.chance(w.idle) {
		t.at = t.at.Add(w.upTo(time.Minute))
	}
}

// send lets go what is due.
func (w *world) send(t *taker, now time.Time) {
	for len(t.leave) > 0 && !t.leave[0].After(now) {
		for _, l := range t.limits {
			w.sent[l.Name] = append(w.sent[l.Name], t.leave[0])
		}
		t.leave = t.leave[1:]
	}
}

// reload is what a process finds that begins: rows, with microseconds and without any memory.
func (w *world) reload() {
	for name, m := range w.meters {
		w.meters[name] = &Meter{Next: m.Next.Truncate(time.Microsecond), Holes: slices.Clone(m.Holes), Cells: maps.Clone(m.Cells)}
	}
}

// most is how many left in the fullest window.
func most(sent []time.Time, per time.Duration) (n int64) {
	slices.SortFunc(sent, time.Time.Compare)
	first := 0
	for i, at := range sent {
		for !sent[first].Add(per).After(at) {
			first++
		}
		n = max(n, int64(i-first+1))
	}
	return n
}

// allowed is N, and one in a hundred more for a smooth one, or one where that is less than one.
func allowed(l Limit) int64 {
	if !l.Smooth {
		return l.N
	}
	return l.N + max(1, l.N/100)
}

func (w *world) check(t *testing.T, extra int64, limits ...Limit) {
	t.Helper()
	for _, l := range limits {
		if n := most(w.sent[l.Name], l.Per); n > allowed(l)+extra {
			t.Errorf("%s: %d in one window of %s, %d are allowed (and %d where the clock was set back)", l.Name, n, l.Per, allowed(l), extra)
		}
	}
}

// Two processes with [100/s, 5000/h] over a day, killed at random: no window of a second or an hour is ever fuller than it
// may be, and what may go goes.
func TestTakersOverADay(t *testing.T) {
	limits := Limits("all", Rate{100, time.Second}, Rate{5000, time.Hour})
	for seed := range uint64(4) {
		w := newWorld(seed, noon, limits, limits)
		w.latency, w.stall, w.kill = 12*time.Millisecond, 0.001, 0.002
		w.run(noon.Add(24 * time.Hour))
		w.check(t, 0, limits...)
		if n, want := len(w.sent[limits[0].Name]), 24*5000; float64(n) < 0.97*float64(want) {
			t.Errorf("seed %d: %d left in a day, %d may", seed, n, want)
		}
	}
}

func TestSmoothLimitIsExact(t *testing.T) {
	for _, r := range []Rate{{1, time.Second}, {7, time.Second}, {100, time.Second}, {150, time.Second}, {997, time.Second}, {3000, time.Second}, {600, time.Minute}, {5000, time.Hour}} {
		t.Run(r.String(), func(t *testing.T) {
			limits := Limits("all", r)
			w := newWorld(1, noon, limits, limits, limits)
			w.latency = time.Millisecond / 2
			stretch := 10 * time.Minute
			if r.N > 200 && r.Per == time.Second {
				stretch = time.Minute
			}
			w.run(noon.Add(stretch))
			w.check(t, 0, limits...)
			want := float64(r.N) * float64(stretch) / float64(r.Per)
			if n := float64(len(w.sent[limits[0].Name])); n < 0.99*want-1 || n > 1.01*want+1 {
				t.Errorf("%v left in %s, want %v", n, stretch, want)
			}
		})
	}
}

// A provider's own limit must not cost the mail of the others anything, nor the limit of all mail the provider's.
func TestNarrowLimitsLeaveTheWideOneFull(t *testing.T) {
	all := Limits("all", Rate{100, time.Second})
	with := func(name string, n int) []Limit { return append(Limits(name, Rate{n, time.Second}), all...) }
	docomo, gmail, au := with("docomo", 10), with("gmail", 7), with("au", 1)
	for _, tt := range []struct {
		name   string
		takers [][]Limit
		full   map[string]float64
	}{
		{"beside other mail", [][]Limit{docomo, gmail, au, docomo, all, all}, map[string]float64{ // who is first gets it
			all[0].Name: 0.99, docomo[0].Name: 0.9, gmail[0].Name: 0.9, au[0].Name: 0.97}},
		{"alone", [][]Limit{docomo, gmail, au}, map[string]float64{docomo[0].Name: 0.99, gmail[0].Name: 0.99, au[0].Name: 0.99}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(3, noon, tt.takers...)
			w.latency = 5 * time.Millisecond
			w.run(noon.Add(10 * time.Minute))
			w.check(t, 0, all[0], docomo[0], gmail[0], au[0])
			for _, l := range []Limit{all[0], docomo[0], gmail[0], au[0]} {
				if n, want := float64(len(w.sent[l.Name])), float64(l.N*600); n < tt.full[l.Name]*want {
					t.Errorf("%s: %v left in ten minutes, %v may", l.Name, n, want)
				}
			}
		})
	}
}

// Whatever takers do, no window is fuller than it may be.
func TestNoWindowIsEverTooFull(t *testing.T) {
	rates := [][]Rate{
		{{1, time.Second}}, {{100, time.Second}, {3000, time.Minute}}, {{250, time.Second}, {5000, time.Hour}}, {{5000, time.Hour}}, {{60, time.Minute}, {500, time.Hour}},
		{{33, time.Second}, {400, time.Minute}, {10000, time.Hour}}, {{20000, 24 * time.Hour}}, {{99, time.Minute}}, {{101, time.Second}},
	}
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		wide := Limits("all", rates[rnd.IntN(len(rates))]...)
		narrow := append(Limits("lane", rates[rnd.IntN(len(rates))]...), wide...)
		w := newWorld(seed, noon.Add(time.Duration(rnd.Int64N(int64(time.Hour)))), wide, narrow, narrow, wide)
		w.latency = time.Duration(1 + rnd.Int64N(int64(50*time.Millisecond)))
		w.stall, w.idle, w.kill = rnd.Float64()/20, rnd.Float64()/200, rnd.Float64()/200
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			from := w.takers[0].at
			for d := time.Minute; d <= 3*time.Hour && len(w.sent[wide[0].Name]) < 20000; d += time.Minute {
				w.run(from.Add(d))
			}
			w.check(t, 0, narrow...)
		})
	}
}

// One process sends by 5,000 an hour alone, the other by 100 a second beside it, and now and then they change places, as with
// --rate: what is even for the one is counted for the other, and still it is one hour for both. A cell at its edge is what the
// even one cannot see.
func TestEvenForOneAndCountedForTheOther(t *testing.T) {
	alone, beside := Limits("all", Rate{5000, time.Hour}), Limits("all", Rate{100, time.Second}, Rate{5000, time.Hour})
	hour := beside[1]
	for seed := range uint64(6) {
		w := newWorld(seed, noon, alone, beside)
		w.meters[beside[0].Name] = &Meter{}
		w.latency, w.stall, w.kill = 12*time.Millisecond, 0.001, 0.001
		for i := range 48 {
			w.run(noon.Add(time.Duration(i+1) * 15 * time.Minute))
			for _, tk := range w.takers {
				tk.limits = [][]Limit{alone, beside}[w.rnd.IntN(2)]
			}
		}
		w.check(t, (hour.N+59)/60+hour.N/100, hour)
		if n := len(w.sent[hour.Name]); n < 12*5000*90/100 {
			t.Errorf("seed %d: %d left in 12 hours", seed, n)
		}
	}
}

// The count of an even limit stands in its own way neither after a break nor when the clock is set back.
func TestAnEvenLimitIsNotHeldByItsCount(t *testing.T) {
	for _, r := range []Rate{{600, time.Minute}, {90, time.Minute}, {5000, time.Hour}, {7, time.Hour}} {
		l := Limits("all", r)[0]
		step := time.Duration(l.step()) * time.Microsecond
		var m Meter
		now := noon
		send := func(n int64) {
			for range n {
				at := l.When(&m, now)
				if wait := at.Sub(now); wait > step+time.Microsecond {
					t.Fatalf("%v: held for %v, slots are %v apart", r, wait, step)
				}
				l.Take(&m, now, at)
				now = later(now, at)
			}
		}
		send(3 * l.N)
		now = now.Add(l.Per / 3)
		send(2 * l.N)
		now = now.Add(-l.Per / 2)
		send(2 * l.N)
	}
}

// A clock that is set back by up to a window lets nothing through that would not have gone; what had been taken ahead of
// its time may leave beside what is taken anew.
func TestClockSetBack(t *testing.T) {
	back := time.Duration(0)
	for seed := range uint64(20) {
		limits := Limits("all", Rate{100, time.Second}, Rate{1000, time.Hour})
		w := newWorld(seed, noon, limits, limits)
		w.latency, w.back, w.maxBack = 12*time.Millisecond, 0.0003, time.Minute
		w.run(noon.Add(6 * time.Hour))
		w.check(t, 11, limits[0])
		w.check(t, 0, limits[1])
		back -= w.offset
	}
	if back < 10*time.Minute {
		t.Error("the clocks were hardly ever set back")
	}
}

// After the clock was far ahead, what was counted then must not stop the mail until that time comes.
func TestWrongClock(t *testing.T) {
	for _, l := range append(Limits("all", Rate{1, time.Second}, Rate{10, time.Hour}), Limit{N: 10, Per: 24 * time.Hour}) {
		var m Meter
		wrong := noon.AddDate(3, 0, 0)
		if drain(l, &m, wrong) == 0 {
			t.Fatal("nothing went")
		}
		l.Take(&m, wrong, wrong.Add(ahead))
		if at := l.When(&m, noon); at.After(noon) {
			t.Errorf("%s: the next may leave at %v", l.Per, at)
		}
	}
}

func BenchmarkLimit(b *testing.B) {
	for _, l := range Limits("all", Rate{1 << 30, time.Second}, Rate{1 << 40, time.Hour}) {
		b.Run(l.Name, func(b *testing.B) {
			var m Meter
			b.ReportAllocs()
			for i := range b.N {
				now := noon.Add(time.Duration(i) * 20 * time.Microsecond)
				l.Take(&m, now, l.When(&m, now))
			}
		})
	}
}
