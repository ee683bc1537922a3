package pace

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return noon.Add(time.Duration(seconds * float64(time.Second)))
}

// What a lane does after a row of events, as a table of stories.
func TestLane(t *testing.T) {
	type event struct {
		at  float64
		do  string // throttled, blocked, took
		got bool
	}
	for _, tt := range []struct {
		name   string
		events []event
		now    float64
		rate   float64
		until  float64 // 0: not paused
		next   float64
	}{
		{"nothing happened", nil, 0, 0, 0, 0},
		{"taken", []event{{0, "took", false}}, 1, 0, 0, 1},
		{"half", []event{{0, "throttled", true}}, 1, 5, 0, 1},
		{"one event on many connections", []event{{0, "throttled", true}, {1, "throttled", false}, {4.9, "throttled", false}}, 5, 5, 0, 5},
		{"half of half, for it took some", []event{{0, "throttled", true}, {6, "took", true}, {7, "throttled", true}}, 8, 2.5, 0, 8},
		{"nothing taken in between", []event{{0, "throttled", true}, {6, "throttled", true}}, 7, 2.5, 66, 66},
		{"and once more", []event{{0, "throttled", true}, {6, "throttled", true}, {67, "throttled", true}}, 68, 1.25, 187, 187},
		{"up to the preset's pause", []event{
			{0, "throttled", true}, {6, "throttled", true}, {67, "throttled", true}, {188, "throttled", true}, {429, "throttled", true},
		}, 430, 0.3125, 729, 729},
		{"from the wire, during the pause", []event{
			{0, "throttled", true}, {6, "throttled", true}, {7, "took", false}, {8, "throttled", false},
		}, 9, 2.5, 66, 66},
		{"from the wire, right after the refusal", []event{
			{0, "throttled", true}, {1, "throttled", false}, {2, "throttled", false}, {3, "took", false}, {6, "throttled", true},
		}, 7, 2.5, 66, 66},
		{"a third is taken", []event{{0, "throttled", true}, {1, "took", false}, {6, "throttled", true}}, 7, 2.5, 0, 7},
		{"one step up", []event{{0, "throttled", true}, {6, "took", true}, {10, "took", true}, {19, "took", false}}, 19, 6, 0, 19},
		{"free again", []event{
			{0, "throttled", true}, {10, "took", true}, {20, "took", true}, {30, "took", true}, {40, "took", true}, {50, "took", true},
		}, 50, 0, 0, 50},
		{"blocked", []event{{0, "blocked", true}, {1, "blocked", false}}, 2, 0, 600, 600},
		{"blocked while throttled", []event{{0, "throttled", true}, {1, "blocked", true}}, 2, 5, 601, 601},
		{"a shorter pause ends no longer one", []event{{0, "blocked", true}, {1, "took", false}, {2, "throttled", false}}, 3, 0, 600, 600},
		{"blocked right again", []event{{0, "blocked", true}, {601, "blocked", true}}, 602, 0, 1801, 1801},
		{"blocked again after it took some", []event{{0, "blocked", true}, {601, "took", true}, {700, "blocked", true}}, 701, 0, 1300, 1300},
		{"free after a block", []event{{0, "blocked", true}, {601, "took", true}}, 602, 0, 0, 602},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &Lane{Longest: 5 * time.Minute}
			for _, e := range tt.events {
				var got bool
				switch e.do {
				case "throttled":
					got = l.Throttled(at(e.at), 10, "421 4.7.28")
				case "blocked":
					got = l.Blocked(at(e.at), 10*time.Minute, "550 5.7.1")
				case "took":
					got = l.Took(at(e.at))
				}
				if got != e.got {
					t.Errorf("%s at %v s: changed %v, want %v", e.do, e.at, got, e.got)
				}
			}
			rate, until, why := l.State(at(tt.now))
			if math.Abs(rate-tt.rate) > 1e-9 {
				t.Errorf("rate %v, want %v", rate, tt.rate)
			}
			if want := tt.until > 0; until.IsZero() == want || want && !until.Equal(at(tt.until)) {
				t.Errorf("paused until %v, want %v", until, tt.until)
			}
			if said := tt.rate > 0 || tt.until > 0; (why != "") != said {
				t.Errorf("why %q", why)
			}
			if next := l.Next(at(tt.now)); !next.Equal(at(tt.next)) {
				t.Errorf("next at %v s, want %v", next.Sub(noon).Seconds(), tt.next)
			}
		})
	}
}

// Refusals at the very start, when nothing was achieved yet, or by a caller that divided by nothing.
func TestLaneThatAchievedNothing(t *testing.T) {
	for _, achieved := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1)} {
		var l Lane
		l.Throttled(noon, achieved, "421")
		if !(l.Rate >= slowest) || math.IsInf(l.Rate, 0) {
			t.Errorf("achieved %v: slowed to %v", achieved, l.Rate)
		}
		if _, err := json.Marshal(l); err != nil {
			t.Errorf("achieved %v: %v", achieved, err)
		}
	}
}

// After a pause one message is tried; the others follow when it was taken.
func TestLaneProbesAfterAPause(t *testing.T) {
	var l Lane
	l.Blocked(noon, time.Minute, "550 5.7.1")
	if next := l.Next(at(61)); !next.Equal(at(61)) {
		t.Fatalf("held for %v more", next.Sub(at(61)))
	}
	l.Leave(at(61))
	if next := l.Next(at(61.1)); !next.Equal(at(62)) {
		t.Errorf("the second goes %v after the first", next.Sub(at(61)))
	}
	l.Took(at(61.5))
	for range 100 {
		if next := l.Next(at(61.5)); next.After(at(61.5)) {
			t.Fatalf("still held for %v", next.Sub(at(61.5)))
		}
		l.Leave(at(61.5))
	}
}

func TestLaneIsSmooth(t *testing.T) {
	var l Lane
	l.Throttled(noon, 40, "421")
	now, n := at(1), 0
	for ; now.Before(at(5)); now = l.Next(now) {
		l.Leave(now)
		n++
	}
	if n < 79 || n > 81 {
		t.Errorf("%d went in 4 s at 20/s", n)
	}
}

// A clock that is set back by hours, as it is where somebody corrects a time zone, must not make a pause of hours.
func TestLaneWithAClockSetBack(t *testing.T) {
	var l Lane
	l.Throttled(noon, 10, "421")
	l.Throttled(at(10), 10, "421")
	l.Leave(at(10))
	back := noon.Add(-3 * time.Hour)
	if wait := l.Next(back).Sub(back); wait > time.Minute {
		t.Errorf("after the clock was set back it waits for %v", wait)
	}
	after := back.Add(70 * time.Second)
	if wait := l.Next(after).Sub(after); wait > time.Second {
		t.Errorf("a minute later it waits for %v", wait)
	}
	if !l.Took(after) || l.Rate == 0 {
		t.Errorf("it does not recover: %+v", l)
	}
}

// What is kept is what goes on after a restart.
func TestLaneIsKept(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var l Lane
	now := noon
	for i := range 5000 {
		before, _ := json.Marshal(l)
		var changed bool
		switch r.IntN(12) {
		case 0, 1:
			changed = l.Throttled(now, r.Float64()*100, "421")
		case 2:
			changed = l.Blocked(now, time.Duration(r.IntN(100))*time.Second, "550")
		default:
			changed = l.Took(now)
		}
		after, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if !changed && string(before) != string(after) {
			t.Fatalf("step %d: it changed and did not say so:\n%s\n%s", i, before, after)
		}
		var kept Lane
		if err := json.Unmarshal(after, &kept); err != nil {
			t.Fatal(err)
		}
		if a, b := l.Next(now), kept.Next(now); b.Before(l.Until) || b.After(a) {
			t.Fatalf("step %d: next %v, after a restart %v, paused until %v", i, a, b, l.Until)
		}
		now = now.Add(time.Duration(r.IntN(40_000)) * time.Millisecond)
	}
}

// Whatever comes in whatever order: nothing goes during a pause, only time ends one, and no rate is below the slowest.
func TestLaneHolds(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 7))
		l := Lane{Longest: time.Duration(r.IntN(90)) * time.Minute}
		now := noon
		for i := range 2000 {
			until := l.Until
			switch r.IntN(6) {
			case 0:
				l.Throttled(now, r.Float64()*200, "421")
			case 1:
				l.Blocked(now, time.Duration(r.IntN(7200))*time.Second, "550")
			case 2:
				l.Leave(l.Next(now))
			default:
				l.Took(now)
			}
			if now.Before(until) && l.Until.Before(until) {
				t.Fatalf("seed %d step %d: a pause until %v became one until %v", seed, i, until, l.Until)
			}
			if l.Next(now).Before(l.Until) || l.Next(now).Before(now) {
				t.Fatalf("seed %d step %d: next at %v, paused until %v", seed, i, l.Next(now), l.Until)
			}
			if l.Rate != 0 && (l.Rate < slowest || l.Rate >= l.Was) {
				t.Fatalf("seed %d step %d: rate %v of %v", seed, i, l.Rate, l.Was)
			}
			now = now.Add(time.Duration(r.ExpFloat64() * float64(20*time.Second)))
		}
	}
}

// provider is a receiving side that takes so many messages a second, or none of some share.
type receiver struct {
	rate   float64 // 0: any
	refuse float64
	tokens float64
	last   time.Time
}

func (p *receiver) takes(now time.Time, r *rand.Rand) bool {
	if p.rate > 0 {
		p.tokens = min(p.tokens+p.rate*now.Sub(p.last).Seconds(), 2*p.rate)
		p.last = now
		if p.tokens < 1 {
			return false
		}
		p.tokens--
	}
	return r.Float64() >= p.refuse
}

// run sends through a lane, with replies that come after latency, until n were taken; most is how many a second can be sent.
func (p *receiver) run(l *Lane, n int, most float64, latency time.Duration, seed uint64) (took time.Duration, refused int) {
	r := rand.New(rand.NewPCG(seed, 3))
	type reply struct {
		at time.Time
		ok bool
	}
	var wire []reply
	var recent []time.Time
	now, left := noon, n
	p.last, p.tokens = now, p.rate
	for left > 0 {
		for len(wire) > 0 && !wire[0].at.After(now) {
			if a := wire[0]; a.ok {
				left--
				l.Took(a.at)
				recent = append(recent, a.at)
			} else {
				refused++
				for len(recent) > 0 && recent[0].Before(a.at.Add(-10*time.Second)) {
					recent = recent[1:]
				}
				l.Throttled(a.at, float64(len(recent))/10, "421 4.7.28")
			}
			wire = wire[1:]
		}
		next := l.Next(now)
		if next.After(now) {
			if len(wire) > 0 && wire[0].at.Before(next) {
				next = wire[0].at
			}
			now = next
			continue
		}
		l.Leave(now)
		wire = append(wire, reply{now.Add(latency), p.takes(now, r)})
		now = now.Add(time.Duration(float64(time.Second) / most))
	}
	return now.Sub(noon), refused
}

// A provider that takes 10 a second and is offered 200: most of what it would take arrives, with few refusals.
func TestLaneFindsTheProvidersRate(t *testing.T) {
	for seed := range uint64(5) {
		var l Lane
		took, refused := (&receiver{rate: 10}).run(&l, 20_000, 200, 200*time.Millisecond, seed)
		if rate := 20_000 / took.Seconds(); rate < 5 {
			t.Errorf("seed %d: %.1f a second of 10", seed, rate)
		}
		if share := float64(refused) / 20_000; share > 0.15 {
			t.Errorf("seed %d: %.0f %% were refused", seed, 100*share)
		}
		t.Logf("seed %d: %v, %d refused", seed, took.Round(time.Second), refused)
	}
}

// One that refuses half of everything, however slowly it comes, gets it slowly, but gets it.
func TestLaneThatIsHalfRefusedEnds(t *testing.T) {
	for seed := range uint64(5) {
		var l Lane
		took, refused := (&receiver{refuse: 0.5}).run(&l, 2000, 100, 100*time.Millisecond, seed)
		if took > 3*time.Hour {
			t.Errorf("seed %d: 2,000 messages took %v", seed, took)
		}
		if refused > 4000 {
			t.Errorf("seed %d: %d were refused", seed, refused)
		}
		t.Logf("seed %d: %v, %d refused", seed, took.Round(time.Second), refused)
	}
}

// One that takes nothing for three hours is tried some dozen times, not thousands.
func TestLaneOfAClosedDoor(t *testing.T) {
	var l Lane
	tries := 0
	for now := noon; now.Before(noon.Add(3 * time.Hour)); {
		if next := l.Next(now); next.After(now) {
			now = next
			continue
		}
		l.Leave(now)
		tries++
		l.Throttled(now.Add(100*time.Millisecond), 0, "421 4.7.0 [TSS04]")
		now = now.Add(10 * time.Millisecond)
	}
	if tries < 3 || tries > 100 {
		t.Errorf("tried %d times in three hours", tries)
	}
}
