package pace

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// relay is a way on which all mail has some rates, and some lanes have their own besides.
func relay(name string, weight int, rates []Rate, lanes map[string][]Rate) Way {
	return Way{Relay: name, Weight: weight, Limits: func(lane string, _ time.Time) []Limit {
		return append(Limits("relay "+name, rates...), Limits("lane "+lane, lanes[lane]...)...)
	}}
}

func around(t *testing.T, what string, got, want time.Duration, share float64) {
	t.Helper()
	if d := float64(got - want); d > share*float64(want) || -d > share*float64(want) {
		t.Errorf("%s: %v, want about %v", what, got, want)
	}
}

func TestEstimate(t *testing.T) {
	second := func(n int) []Rate { return []Rate{{n, time.Second}} }
	hourly := []Rate{{100, time.Second}, {5000, time.Hour}}
	usedUp := func(name string) *Meter {
		if name != "relay main/1h0m0s" {
			return nil
		}
		l := Limit{Per: time.Hour}
		return &Meter{Cells: map[int64]int64{l.Cell(noon.Add(-10 * time.Minute)): 5000}}
	}
	weekdays := Hours{Windows: []Span{{Days: 1 << time.Tuesday, From: 9 * 60, To: 18 * 60}}} // noon is on a Tuesday
	for _, tt := range []struct {
		name    string
		demands []Demand
		ways    []Way
		meter   func(string) *Meter
		hours   Hours
		want    map[string]time.Duration // from noon, by lane
		bound   map[string]string
	}{
		{"no limits", []Demand{{"a", 40000}}, []Way{relay("main", 1, nil, nil)}, nil, Hours{},
			map[string]time.Duration{"a": 0}, map[string]string{"a": ""}},
		{"smooth", []Demand{{"a", 30000}, {"b", 10000}}, []Way{relay("main", 1, second(100), nil)}, nil, Hours{},
			map[string]time.Duration{"a": 400 * time.Second, "b": 400 * time.Second}, map[string]string{"a": "relay main/1s"}},
		{"an hour's share at once, then the next", []Demand{{"a", 40000}}, []Way{relay("main", 1, hourly, nil)}, nil, Hours{},
			map[string]time.Duration{"a": 7*61*time.Minute + 50*time.Second}, map[string]string{"a": "relay main/1h0m0s"}},
		{"what has left before counts", []Demand{{"a", 5000}}, []Way{relay("main", 1, hourly, nil)}, usedUp, Hours{},
			map[string]time.Duration{"a": 51*time.Minute + 50*time.Second}, map[string]string{"a": "relay main/1h0m0s"}},
		{"a slow lane does not hold up the others", []Demand{{"docomo", 6000}, {"gmail", 30000}, {"x", 4000}}, []Way{relay("main", 1, second(100), map[string][]Rate{"docomo": second(10)})}, nil, Hours{},
			map[string]time.Duration{"docomo": 600 * time.Second, "gmail": 378 * time.Second, "x": 378 * time.Second}, map[string]string{"docomo": "lane docomo/1s", "x": "relay main/1s"}},
		{"two relays, each with its rate", []Demand{{"a", 8000}}, []Way{relay("one", 3, second(30), nil), relay("two", 1, second(10), nil)}, nil, Hours{},
			map[string]time.Duration{"a": 200 * time.Second}, map[string]string{}},
		{"whatever their weights", []Demand{{"a", 8000}}, []Way{relay("one", 1, second(30), nil), relay("two", 9, second(10), nil)}, nil, Hours{},
			map[string]time.Duration{"a": 200 * time.Second}, map[string]string{}},
		{"the other goes on when one is used up", []Demand{{"a", 2000}, {"b", 1000}}, []Way{relay("one", 1, []Rate{{1000, 24 * time.Hour}}, nil), relay("two", 1, second(10), nil)}, nil, Hours{},
			map[string]time.Duration{"a": 200 * time.Second, "b": 200 * time.Second}, map[string]string{"a": "relay two/1s"}},
		{"each lane by its relay", []Demand{{"a", 1000}, {"b", 1000}}, []Way{
			{Relay: "one", Carries: func(lane string) bool { return lane == "a" }, Limits: relay("one", 1, second(10), nil).Limits},
			{Relay: "two", Carries: func(lane string) bool { return lane == "b" }, Limits: relay("two", 1, second(50), nil).Limits}}, nil, Hours{},
			map[string]time.Duration{"a": 100 * time.Second, "b": 20 * time.Second}, map[string]string{"a": "relay one/1s", "b": "relay two/1s"}},
		{"over closing time", []Demand{{"a", 8 * 36000}}, []Way{relay("main", 1, second(10), nil)}, nil, weekdays,
			map[string]time.Duration{"a": 7*24*time.Hour - time.Hour}, map[string]string{"a": ByHours}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			course, err := Estimate(t.Context(), noon, tt.demands, tt.ways, tt.meter, tt.hours)
			if err != nil || course.Never || course.Starts.Before(noon) {
				t.Fatalf("%+v, %v", course, err)
			}
			var last time.Time
			for i, l := range course.Lanes {
				if l.Lane != tt.demands[i].Lane || l.N != tt.demands[i].N {
					t.Errorf("lane %d is %+v", i, l)
				}
				around(t, l.Lane, l.Ends.Sub(noon), tt.want[l.Lane], 0.01)
				if want, ok := tt.bound[l.Lane]; ok && l.Bound != want {
					t.Errorf("%s is bound by %q, want %q", l.Lane, l.Bound, want)
				}
				if l.Ends.After(last) {
					last = l.Ends
					if course.Bound != l.Bound {
						t.Errorf("bound by %q, the last lane by %q", course.Bound, l.Bound)
					}
				}
			}
			if !course.Ends.Equal(last) {
				t.Errorf("ends at %v, the last lane at %v", course.Ends, last)
			}
		})
	}
}

// A warm-up has another limit each day, and none on the fourth.
func TestEstimateWarmup(t *testing.T) {
	curve := []int64{50, 100, 200}
	ways := []Way{{Relay: "main", Limits: func(_ string, at time.Time) []Limit {
		day := int(at.Truncate(24*time.Hour).Sub(noon.Truncate(24*time.Hour)) / (24 * time.Hour))
		if day >= len(curve) {
			return nil
		}
		midnight := at.Truncate(24 * time.Hour).Add(24 * time.Hour)
		return []Limit{{Name: "warmup main/" + at.Format(time.DateOnly), N: curve[day], Until: midnight}}
	}}}
	had := &Meter{Cells: map[int64]int64{0: 30}}
	meter := func(name string) *Meter {
		if name == "warmup main/2026-12-01" {
			return had
		}
		return nil
	}
	for n, want := range map[int64]time.Duration{20: 0, 21: 12 * time.Hour, 120: 12 * time.Hour, 121: 36 * time.Hour, 320: 36 * time.Hour, 321: 60 * time.Hour, 9000: 60 * time.Hour} {
		course, err := Estimate(t.Context(), noon, []Demand{{"a", n / 2}, {"b", n - n/2}}, ways, meter, Hours{})
		if err != nil || !course.Ends.Equal(noon.Add(want)) || course.Never {
			t.Errorf("%d end at %v, want %v (%v)", n, course.Ends, noon.Add(want), err)
		}
	}
	if !reflect.DeepEqual(had, &Meter{Cells: map[int64]int64{0: 30}}) {
		t.Errorf("the meter was changed: %+v", had)
	}
}

func TestEstimateNever(t *testing.T) {
	nobody := func(string) bool { return false }
	for _, tt := range []struct {
		name  string
		ways  []Way
		hours Hours
		ends  bool // lane b
	}{
		{"no relay", nil, Hours{}, false},
		{"none that carries it", []Way{{Relay: "main", Carries: nobody}}, Hours{}, false},
		{"one that carries b", []Way{{Relay: "main", Carries: func(lane string) bool { return lane == "b" }}}, Hours{}, true},
		{"a limit of nothing", []Way{{Relay: "main", Limits: func(lane string, _ time.Time) []Limit {
			if lane == "b" {
				return nil
			}
			return []Limit{{Name: "none", Per: time.Second, Smooth: true}}
		}}}, Hours{}, true},
		{"always quiet", []Way{relay("main", 1, nil, nil)}, Hours{Quiet: []Span{{Days: daily, To: endOf}}}, false},
		{"in a thousand years", []Way{relay("main", 1, []Rate{{1, 24 * time.Hour}}, nil)}, Hours{}, false},
	} {
		course, err := Estimate(t.Context(), noon, []Demand{{"a", 400000}, {"b", 300000}}, tt.ways, nil, tt.hours)
		if err != nil || !course.Never || !course.Lanes[0].Ends.IsZero() || course.Lanes[1].Ends.IsZero() == tt.ends {
			t.Errorf("%s: %+v, %v", tt.name, course, err)
		}
	}
}

func TestEstimateEndsWhenAsked(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Estimate(ctx, noon, []Demand{{"a", 1e9}}, []Way{relay("main", 1, []Rate{{1, time.Second}}, nil)}, nil, Hours{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// What is estimated is what simulated takers then need, with several limits and lanes.
func TestEstimateAgreesWithTakers(t *testing.T) {
	for i, tt := range []struct {
		rates []Rate
		lanes map[string][]Rate
		want  map[string]int64
	}{
		{[]Rate{{100, time.Second}, {5000, time.Hour}}, nil, map[string]int64{"a": 30000, "b": 10000}},
		{[]Rate{{50, time.Second}, {1500, time.Minute}}, map[string][]Rate{"docomo": {{10, time.Second}}, "au": {{3, time.Second}}}, map[string]int64{"docomo": 8000, "au": 1000, "gmail": 20000}},
		{[]Rate{{50, time.Second}, {20000, time.Hour}}, map[string][]Rate{"docomo": {{10, time.Second}, {2000, time.Hour}}}, map[string]int64{"docomo": 8000, "gmail": 30000}},
	} {
		way := relay("main", 1, tt.rates, tt.lanes)
		var demands []Demand
		var takers [][]Limit
		for lane, n := range tt.want {
			demands = append(demands, Demand{lane, n})
			takers = append(takers, way.Limits(lane, noon), way.Limits(lane, noon))
		}
		course, err := Estimate(t.Context(), noon, demands, []Way{way}, nil, Hours{})
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(uint64(i), noon, takers...)
		w.latency = 20 * time.Millisecond
		// Takers never come to an end, so what all have sent is looked at when the first lane would: each lane's own rate, and
		// the rest of what the relay takes.
		first, sent := course.Ends, 0.0
		for _, l := range course.Lanes {
			if l.Ends.Before(first) {
				first = l.Ends
			}
		}
		for _, l := range course.Lanes {
			sent += float64(l.N) * min(1, float64(first.Sub(noon))/float64(l.Ends.Sub(noon)))
		}
		w.run(first)
		if n := float64(len(w.sent["relay main/1s"])); n < 0.95*sent || n > 1.05*sent {
			t.Errorf("%v: takers sent %v in %v, the estimate says %v", tt.rates, n, first.Sub(noon), sent)
		}
	}
}

func BenchmarkEstimate(b *testing.B) {
	const million = 1_000_000
	lanes := map[string][]Rate{"docomo": {{20, time.Second}}, "gmail": {{40, time.Second}, {100000, 24 * time.Hour}}, "au": {{5, time.Second}}}
	demands := []Demand{{"docomo", million / 4}, {"gmail", million / 4}, {"au", million / 20}}
	for i := range 5000 {
		demands = append(demands, Demand{fmt.Sprintf("d%d.example", i), million * 45 / 100 / 5000})
	}
	one := []Way{relay("main", 1, []Rate{{100, time.Second}, {200000, time.Hour}}, lanes)}
	for name, ways := range map[string][]Way{"one relay": one, "two relays": append(one, relay("second", 1, []Rate{{50, time.Second}}, lanes))} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				course, err := Estimate(b.Context(), noon, demands, ways, nil, Hours{})
				if err != nil || course.Never {
					b.Fatal(course.Never, err)
				}
			}
		})
	}
}
