package pace

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// carrier is a relay in the simulation: connections that each take a message when there is one and the split lets them.
type carrier struct {
	connections int
	latency     time.Duration
	from, to    time.Duration // it takes nothing in between: dead, and nobody says so
}

// share sends n messages over carriers and returns who took how many, and how long it was.
func share(s *Split, carriers map[string]carrier, n int, seed uint64) (map[string]int, time.Duration) {
	const step = 5 * time.Millisecond
	type connection struct {
		relay string
		free  time.Time
	}
	r := rand.New(rand.NewPCG(seed, 9))
	var all []*connection
	for _, name := range slices.Sorted(maps.Keys(carriers)) {
		for range carriers[name].connections {
			all = append(all, &connection{name, noon})
		}
	}
	got := map[string]int{}
	for now := noon; ; now = now.Add(step) {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, c := range all {
			is := carriers[c.relay]
			if d := now.Sub(noon); d >= is.from && d < is.to || now.Before(c.free) || !s.May(now, c.relay) {
				continue
			}
			s.Took(now, c.relay)
			took := time.Duration(float64(is.latency) * (0.8 + 0.4*r.Float64()))
			s.Carried(c.relay, took, is.connections) // a little early
			c.free = now.Add(took)
			got[c.relay]++
			if n--; n == 0 {
				return got, now.Sub(noon)
			}
		}
		if now.Sub(noon) > 24*time.Hour {
			return got, now.Sub(noon)
		}
	}
}

func TestSplitByWeight(t *testing.T) {
	for _, tt := range []struct {
		weights map[string]int
		n       int
	}{
		{map[string]int{"a": 3, "b": 1}, 4000},
		{map[string]int{"a": 1, "b": 1}, 4000},
		{map[string]int{"a": 1, "b": 1}, 10},
		{map[string]int{"a": 3, "b": 1}, 40},
		{map[string]int{"a": 7, "b": 2, "c": 1}, 4000},
		{map[string]int{"a": 100, "b": 1}, 4000},
	} {
		for seed := range uint64(3) {
			carriers := map[string]carrier{}
			total := 0
			for name, w := range tt.weights {
				carriers[name] = carrier{connections: 4, latency: 100 * time.Millisecond}
				total += w
			}
			got, _ := share(NewSplit(tt.weights), carriers, tt.n, seed)
			for name, w := range tt.weights {
				want := float64(tt.n*w) / float64(total)
				if off := math.Abs(float64(got[name]) - want); off > max(1, 0.02*float64(tt.n)*0.5) {
					t.Errorf("%v, %d messages: %s has %d, want %.0f", tt.weights, tt.n, name, got[name], want)
				}
			}
		}
	}
}

// Relays that differ, but not by so much that waiting for one is absurd, still share by weight.
func TestSplitOfUnequalRelays(t *testing.T) {
	got, _ := share(NewSplit(map[string]int{"far": 3, "near": 1}), map[string]carrier{
		"far": {connections: 8, latency: 200 * time.Millisecond}, "near": {connections: 4, latency: 20 * time.Millisecond},
	}, 4000, 1)
	if off := got["far"] - 3000; off < -60 || off > 60 {
		t.Errorf("%v, want 3000 to 1000", got)
	}
}

func TestSplitHoldsUpNobody(t *testing.T) {
	fast := carrier{connections: 10, latency: 50 * time.Millisecond} // 200 a second
	for _, tt := range []struct {
		name  string
		other carrier
		most  time.Duration // for 4,000 messages by equal weights; 20 s is what the fast one alone needs
	}{
		{"as fast", fast, 11 * time.Second},
		{"dead from the start", carrier{connections: 10, latency: time.Second, to: 24 * time.Hour}, 24 * time.Second},
		{"dead in the middle", carrier{connections: 10, latency: 50 * time.Millisecond, from: 3 * time.Second, to: 24 * time.Hour}, 21 * time.Second},
		{"away for some seconds", carrier{connections: 10, latency: 50 * time.Millisecond, from: 3 * time.Second, to: 8 * time.Second}, 16 * time.Second},
		{"two a second", carrier{connections: 10, latency: 5 * time.Second}, 24 * time.Second},
		{"one in ten seconds", carrier{connections: 1, latency: 10 * time.Second}, 28 * time.Second},
		{"hangs for minutes", carrier{connections: 4, latency: 5 * time.Minute}, 25 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, took := share(NewSplit(map[string]int{"fast": 1, "other": 1}), map[string]carrier{"fast": fast, "other": tt.other}, 4000, 1)
			if took > tt.most {
				t.Errorf("%v: %v", took, got)
			}
		})
	}
}

// Two slow ones out of three hold up nobody either, though neither alone makes the difference.
func TestSplitOfTwoSlowRelays(t *testing.T) {
	got, took := share(NewSplit(map[string]int{"a": 1, "b": 1, "c": 1}), map[string]carrier{
		"a": {connections: 1, latency: time.Second}, "b": {connections: 1, latency: time.Second}, "c": {connections: 10, latency: 50 * time.Millisecond},
	}, 4000, 1)
	if took > 25*time.Second {
		t.Errorf("%v: %v", took, got)
	}
}

// Who is away is not waited for, and does not make up for it afterwards.
func TestSplitAway(t *testing.T) {
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("the end is known: %v", known), func(t *testing.T) {
			s := NewSplit(map[string]int{"a": 1, "b": 1})
			var until time.Time
			if known {
				until = at(60)
			}
			s.Away("a", until)
			for i := range 1000 {
				if !s.May(at(1), "b") {
					t.Fatalf("message %d: b waits for a, which is away", i)
				}
				s.Took(at(1), "b")
			}
			if !known {
				s.Back("a")
			}
			a, b := 0, 0
			for range 1000 {
				if s.May(at(60), "a") {
					s.Took(at(60), "a")
					a++
				}
				if s.May(at(60), "b") {
					s.Took(at(60), "b")
					b++
				}
			}
			if a-b > 20 || b-a > 20 {
				t.Errorf("after it was back a took %d, b %d", a, b)
			}
		})
	}
}

func TestSplitOfStrangers(t *testing.T) {
	s := NewSplit(map[string]int{"a": 1, "spare": 0})
	for range 10 {
		for _, name := range []string{"spare", "stranger", "a"} {
			if !s.May(noon, name) {
				t.Errorf("%s waits, and for whom?", name)
			}
			s.Took(noon, name)
			s.Carried(name, time.Second, 1)
			s.Away(name, noon)
			s.Back(name)
		}
	}
	empty := NewSplit(nil)
	if !empty.May(noon, "a") {
		t.Error("among no relays one waits")
	}
}

// Whatever happens, somebody may always go: at once among all that count, and within the patience among any that ask.
func TestSplitNeverStops(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 11))
		s := NewSplit(map[string]int{"a": 1 + r.IntN(9), "b": 1 + r.IntN(9), "c": r.IntN(3), "d": 1 + r.IntN(99)})
		now := noon
		for range 1000 {
			switch name := names[r.IntN(4)]; r.IntN(12) {
			case 0:
				s.Away(name, now.Add(time.Duration(r.IntN(20))*time.Second))
			case 1:
				s.Away(name, time.Time{})
			case 2:
				s.Back(name)
			case 3:
				s.Carried(name, time.Duration(1+r.IntN(5000))*time.Millisecond, 1+r.IntN(20))
			case 4:
				now = now.Add(time.Duration(r.IntN(7200)-3600) * time.Second)
			default:
				if s.May(now, name) {
					s.Took(now, name)
				}
			}
			asks := names[r.IntN(4)]
			waited := time.Duration(0)
			for !s.May(now, asks) {
				now = now.Add(100 * time.Millisecond)
				if waited += 100 * time.Millisecond; waited > 4*splitPatience {
					t.Fatalf("seed %d: %s waits for ever", seed, asks)
				}
			}
			any := false
			for _, name := range names {
				any = any || s.May(now, name)
			}
			if !any {
				t.Fatalf("seed %d: all wait for each other", seed)
			}
		}
	}
}
