package pace

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// wire is a relay and the workers that send through it, in simulated time.
type wire struct {
	latency time.Duration // of a message, ±noise
	noise   float64
	useful  int           // messages that it handles at once; the others wait
	most    int           // connections that it allows; 0: any
	perSec  float64       // more messages a second are answered with 421; 0: any
	dial    time.Duration // until a connection carries mail
	tell    bool          // the tuner is told of live connections
	offered float64       // messages a second that there are to send; 0: as many as can go

	r       *rand.Rand
	events  moments
	refused int
	dones   []time.Time
	counts  []int // connections wanted, at each done
}

type moment struct {
	at   time.Time
	seq  int
	what func()
}

type moments struct {
	list []moment
	seq  int
}

func (m *moments) Len() int { return len(m.list) }
func (m *moments) Less(i, j int) bool {
	if m.list[i].at.Equal(m.list[j].at) {
		return m.list[i].seq < m.list[j].seq
	}
	return m.list[i].at.Before(m.list[j].at)
}
func (m *moments) Swap(i, j int) { m.list[i], m.list[j] = m.list[j], m.list[i] }
func (m *moments) Push(x any)    { m.list = append(m.list, x.(moment)) }
func (m *moments) Pop() any {
	last := m.list[len(m.list)-1]
	m.list = m.list[:len(m.list)-1]
	return last
}

func (w *wire) run(t *Tuner, d time.Duration, seed uint64) {
	w.r = rand.New(rand.NewPCG(seed, 5))
	now, end := noon, noon.Add(d)
	after := func(d time.Duration, what func()) {
		w.events.seq++
		heap.Push(&w.events, moment{now.Add(d), w.events.seq, what})
	}
	live, dialling, handling, idle := 0, 0, 0, 0
	var queue []func()
	credit, credited, tokens, counted := 0.0, now, w.perSec, now
	var send func()
	serve := func(done func()) {
		handling++
		after(time.Duration(float64(w.latency)*(1+w.noise*(2*w.r.Float64()-1))), func() {
			handling--
			if len(queue) > 0 {
				next := queue[0]
				queue = queue[1:]
				next()
			}
			done()
		})
	}
	var manage func()
	manage = func() {
		for live+dialling < t.Connections() {
			dialling++
			after(w.dial, func() {
				dialling--
				if w.most > 0 && live >= w.most {
					w.refused++
					t.Refused(now)
					return
				}
				live++
				if w.tell {
					t.Live(live)
				}
				send()
			})
		}
	}
	send = func() {
		if live > t.Connections() {
			if live--; w.tell {
				t.Live(live)
			}
			return
		}
		if w.offered > 0 {
			credit = min(credit+w.offered*now.Sub(credited).Seconds(), 10)
			credited = now
			if credit < 1 {
				idle++
				after(20*time.Millisecond, func() { idle--; send() })
				return
			}
			credit--
		}
		start := func() {
			serve(func() {
				if w.perSec > 0 {
					tokens = min(tokens+w.perSec*now.Sub(counted).Seconds(), w.perSec)
					counted = now
					if tokens < 1 {
						w.refused++
						t.Refused(now)
						send()
						return
					}
					tokens--
				}
				t.Done(now, idle == 0)
				w.dones = append(w.dones, now)
				w.counts = append(w.counts, t.Connections())
				manage()
				send()
			})
		}
		if handling < w.useful {
			start()
		} else {
			queue = append(queue, start)
		}
	}
	var tick func()
	tick = func() { manage(); after(250*time.Millisecond, tick) }
	tick()
	for {
		e := heap.Pop(&w.events).(moment)
		if e.at.After(end) {
			return
		}
		now = e.at
		e.what()
	}
}

// rate is messages a second from that time on.
func (w *wire) rate(from, to time.Duration) float64 {
	n := 0
	for _, at := range w.dones {
		if d := at.Sub(noon); d >= from && d < to {
			n++
		}
	}
	return float64(n) / (to - from).Seconds()
}

// Whatever the distance and the relay: what it can take is reached soon, and kept.
func TestTunerReachesTheBest(t *testing.T) {
	for _, latency := range []time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second} {
		for _, limit := range []int{1, 2, 4, 5, 10, 20, 50} {
			for _, useful := range []int{1, 3, 5, 8, 12, 30, 1000} {
				for _, tell := range []bool{false, true} {
					if testing.Short() && tell {
						continue
					}
					t.Run(fmt.Sprintf("%v limit %d useful %d told %v", latency, limit, useful, tell), func(t *testing.T) {
						// A local relay with 50 connections makes a million events a minute: shorter is enough there.
						soon, end := 5*time.Second+80*latency, 5*time.Second+180*latency
						if latency > 10*time.Millisecond {
							end = 3 * soon
						}
						w := &wire{latency: latency, noise: 0.2, useful: useful, dial: tuneDial * latency, tell: tell}
						tuner := NewTuner(limit)
						w.run(tuner, end, uint64(limit*useful))
						best := float64(min(limit, useful)) / latency.Seconds()
						need := 0.95
						if useful >= limit {
							need = 0.9
						}
						if got := w.rate(soon, end); got < need*best {
							t.Errorf("%.1f a second of %.1f; %d connections", got, best, tuner.Connections())
						}
						if n := tuner.Connections(); useful < limit && n > 4*max(useful, tuneStart) {
							t.Errorf("%d connections, where %d are useful", n, useful)
						}
					})
				}
			}
		}
	}
}

// A relay that allows fewer connections than the limit is found out with few refusals.
func TestTunerWithALimitOfTheRelay(t *testing.T) {
	for _, latency := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		for _, most := range []int{1, 2, 3, 5, 10, 20, 30} {
			t.Run(fmt.Sprintf("%v, %d allowed", latency, most), func(t *testing.T) {
				w := &wire{latency: latency, noise: 0.2, useful: 1000, most: most, dial: tuneDial * latency}
				tuner := NewTuner(50)
				soon := 15*time.Second + 150*latency
				w.run(tuner, 4*soon, 1)
				best := float64(most) / latency.Seconds()
				if got := w.rate(soon, 4*soon); got < 0.95*best {
					t.Errorf("%.1f a second of %.1f; %d connections", got, best, tuner.Connections())
				}
				// A step that is too large is refused once for each connection too many; after that, one each try.
				if w.refused > 3*max(most, tuneStart)+10 {
					t.Errorf("%d refusals", w.refused)
				}
			})
		}
	}
}

// A relay that refuses above a rate gets most of that rate, and is not refused at every turn.
func TestTunerWithARateOfTheRelay(t *testing.T) {
	w := &wire{latency: 100 * time.Millisecond, noise: 0.2, useful: 1000, perSec: 100, dial: 800 * time.Millisecond}
	tuner := NewTuner(40)
	w.run(tuner, 5*time.Minute, 1)
	if got := w.rate(30*time.Second, 5*time.Minute); got < 70 {
		t.Errorf("%.1f a second of 100; %d connections", got, tuner.Connections())
	}
	if share := float64(w.refused) / float64(len(w.dones)); share > 0.05 {
		t.Errorf("%.1f %% were refused", 100*share)
	}
}

// While there is little to send, the count stays.
func TestTunerHoldsWhileIdle(t *testing.T) {
	w := &wire{latency: 100 * time.Millisecond, noise: 0.2, useful: 1000, dial: 800 * time.Millisecond, offered: 10}
	tuner := NewTuner(50)
	w.run(tuner, 2*time.Minute, 1)
	if n := tuner.Connections(); n != tuneStart {
		t.Errorf("%d connections for 10 messages a second", n)
	}
}

// A relay that becomes faster is noticed.
func TestTunerTriesAgain(t *testing.T) {
	w := &wire{latency: 100 * time.Millisecond, noise: 0.2, useful: 4, dial: 800 * time.Millisecond}
	tuner := NewTuner(32)
	w.run(tuner, 20*time.Second, 1)
	if n := tuner.Connections(); n > 8 || !tuner.Settled() {
		t.Fatalf("%d connections of 4 useful ones, settled %v", n, tuner.Settled())
	}
	w = &wire{latency: 100 * time.Millisecond, noise: 0.2, useful: 1000, dial: 800 * time.Millisecond}
	w.run(tuner, 2*time.Minute, 2)
	if n := tuner.Connections(); n != 32 {
		t.Errorf("%d connections, a hundred seconds after all 32 became useful", n)
	}
}

// The same inputs give the same counts.
func TestTunerIsDeterministic(t *testing.T) {
	counts := func() string {
		w := &wire{latency: 20 * time.Millisecond, noise: 0.2, useful: 9, most: 14, dial: 100 * time.Millisecond}
		w.run(NewTuner(30), time.Minute, 4)
		return fmt.Sprint(w.counts)
	}
	if counts() != counts() {
		t.Error("two runs differ")
	}
}

// The refusals that one event brings on all connections halve once.
func TestTunerHalvesOnce(t *testing.T) {
	w := &wire{latency: 100 * time.Millisecond, useful: 1000, dial: 100 * time.Millisecond}
	tuner := NewTuner(16)
	w.run(tuner, 20*time.Second, 1)
	if tuner.Connections() != 16 {
		t.Fatalf("%d connections", tuner.Connections())
	}
	for i := range 16 {
		tuner.Refused(noon.Add(20*time.Second + time.Duration(i)*time.Millisecond))
	}
	if n := tuner.Connections(); n != 8 {
		t.Errorf("%d connections after 16 refusals of one event", n)
	}
	tuner.Refused(noon.Add(30 * time.Second))
	if n := tuner.Connections(); n != 4 {
		t.Errorf("%d connections after one more, ten seconds later", n)
	}
	for i := range 10 {
		tuner.Refused(noon.Add(time.Minute + time.Duration(i)*10*time.Second))
	}
	if n := tuner.Connections(); n != 1 {
		t.Errorf("%d connections after a dozen refusals; one is the least", n)
	}
}

// A clock that was set back by hours stops nothing: it still grows when more becomes useful, and halves when refused.
func TestTunerWithAClockSetBack(t *testing.T) {
	w := &wire{latency: 100 * time.Millisecond, noise: 0.2, useful: 4, dial: 800 * time.Millisecond}
	tuner := NewTuner(32)
	w.run(tuner, 100*time.Second, 1)
	tuner.Refused(noon.Add(5 * time.Hour))
	before := tuner.Connections()
	tuner.Refused(noon)
	if n := tuner.Connections(); n >= before {
		t.Errorf("%d connections of %d after a refusal", n, before)
	}
	w = &wire{latency: 100 * time.Millisecond, noise: 0.2, useful: 1000, dial: 800 * time.Millisecond}
	w.run(tuner, 6*time.Minute, 2)
	if n := tuner.Connections(); n < 30 {
		t.Errorf("%d connections, six minutes after all 32 became useful", n)
	}
}
