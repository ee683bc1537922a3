package send

import (
	"testing"
	"time"

	"mailer/internal/config"
	"mailer/internal/delivery"
	"mailer/internal/pace"
	"mailer/internal/provider"
	"mailer/internal/store"
)

func TestSpeedIsThatOfTheLastTenSeconds(t *testing.T) {
	var s speed
	begin := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	if got := s.per(begin, 0); got != 0 {
		t.Errorf("at the beginning: %v", got)
	}
	var done, got float64
	for i := 1; i <= 60*5; i++ { // five times a second, for a minute: 100/s for half of it, then 10/s
		rate := 100.0
		if i > 30*5 {
			rate = 10
		}
		done += rate / 5
		got = s.per(begin.Add(time.Duration(i)*200*time.Millisecond), int64(done))
		if i > 5 && i <= 30*5 && (got < 99 || got > 101) || i > 42*5 && (got < 9.9 || got > 10.1) {
			t.Fatalf("after %d fifths of a second: %v", i, got)
		}
	}
	if got = s.per(begin.Add(time.Hour), int64(done)); got > 0.01 || len(s.samples) > 12 {
		t.Errorf("after an hour of nothing: %v of %d samples", got, len(s.samples))
	}
}

func TestProgressOfCounts(t *testing.T) {
	var c Counts
	for _, s := range []delivery.State{delivery.Accepted, delivery.Accepted, delivery.Deferred, delivery.Failed, delivery.Uncertain, delivery.Excluded} {
		c.add(s)
	}
	p := c.Progress("news", 10)
	if p.Campaign != "news" || p.Total != 10 || p.Done != 6 || p.Accepted != 2 || p.Deferred != 1 || p.Failed != 1 || p.Uncertain != 1 || p.Excluded != 1 || p.Lanes == nil || p.Relays == nil {
		t.Errorf("got %+v", p)
	}
	if p = c.Progress("news", 4); p.Done != 4 { // a deferred one was tried twice
		t.Errorf("%d of 4 are done", p.Done)
	}
}

// What holds a lane or a relay is said as mailer.yaml does, and each where it belongs.
func TestLimitsInWords(t *testing.T) {
	now := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
	table, err := provider.Presets()
	if err != nil {
		t.Fatal(err)
	}
	if table, err = table.With([]provider.Provider{{Name: "docomo", Rates: []pace.Rate{{N: 2, Per: time.Second}}}}); err != nil {
		t.Fatal(err)
	}
	b := &book{providers: table, zone: time.UTC, all: pace.Limits("all", pace.Rate{N: 100, Per: time.Second}), relays: map[string]relayLimits{
		"main": {limits: pace.Limits(relayScope("main"), pace.Rate{N: 20, Per: time.Second}, pace.Rate{N: 5000, Per: time.Hour}), warmup: config.Warmup{Curve: config.Curve{Name: "standard"}},
			shares: map[string]share{"": {curve: []int64{50, 100}}, "gmail": {curve: []int64{20}}}},
	}}
	for _, c := range []struct{ name, short, long string }{
		{"all/1s", "100/s", "100/s for all mail"},
		{"relay main/1s", "20/s", "20/s by relay main"},
		{"relay main/1h0m0s", "5000/h", "5000/h by relay main"},
		{"lane docomo/1s", "2/s", "2/s to docomo"},
		{"warmup main/2026-12-01", "50 today (warm-up)", "the warm-up of relay main"},
		{"warmup main gmail/2026-12-01", "20 today (warm-up)", "the warm-up of relay main for gmail"},
		{"warmup main gmail", "warmup main gmail", "the warm-up of relay main for gmail"},
		{"gone/1s", "gone/1s", "gone/1s"},
	} {
		if short, long := b.limitText(c.name, now), b.boundText(c.name, now); short != c.short || long != c.long {
			t.Errorf("%s: %q, %q", c.name, short, long)
		}
	}
	w := newWay("main", 1, 4, nil)
	g := newGate(func() time.Time { return now }, []*way{w}, pace.Hours{})
	g.rates = b
	gmail, docomo := g.own("gmail", []string{"gmail.com"}, 10), g.own("docomo", []string{"docomo.ne.jp"}, 10)
	g.scopes(w, gmail)
	g.scopes(w, docomo)
	g.holds["lane docomo"].limit, g.holds["lane docomo"].tight = "lane docomo/1s", now.Add(time.Second)
	g.holds["relay main"].limit, g.holds["relay main"].tight = "relay main/1h0m0s", now.Add(time.Minute)
	g.holds["all"].limit, g.holds["all"].tight = "all/1s", now.Add(time.Second)
	var p Progress
	g.show(&p)
	if len(p.Lanes) != 2 || p.Lanes[0].Limit != "" || p.Lanes[1].Limit != "2/s" || p.Relays[0].Limit != "5000/h" {
		t.Errorf("got %+v", p)
	}
}

// The forecast of a campaign with a canary has its hold in it, and one that goes on has what is left of that.
func TestInStagesWaits(t *testing.T) {
	now := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
	var calls []string
	follow := func(from time.Time, demands []pace.Demand) (pace.Course, error) {
		calls = append(calls, from.Format("15:04"))
		c := pace.Course{Starts: from, Ends: from.Add(time.Minute), Bound: "100/s"}
		for _, d := range demands {
			c.Lanes = append(c.Lanes, pace.LaneCourse{Lane: d.Lane, N: d.N, Ends: c.Ends, Bound: "100/s"})
		}
		return c, nil
	}
	demands := []pace.Demand{{Lane: "gmail", N: 60}, {Lane: "", N: 40}}
	for _, c := range []struct {
		name   string
		plan   Plan
		begun  string
		ends   string
		bound  string
		called int
	}{
		{"none", Plan{}, "09:00", "09:01", "100/s", 1},
		{"new", Plan{Spec: Spec{Canary: 10, Hold: time.Hour}}, "09:00", "10:02", byHold, 2},
		{"all of it", Plan{Spec: Spec{Canary: 100, Hold: time.Hour}}, "09:00", "09:01", "100/s", 1},
		{"held", Plan{Spec: Spec{Canary: 10, Hold: time.Hour}, Campaign: store.Campaign{Stage: store.StageHold, HeldUntil: now.Add(20 * time.Minute)}}, "09:20", "09:21", byHold, 1},
		{"held before", Plan{Spec: Spec{Canary: 10, Hold: time.Hour}, Campaign: store.Campaign{Stage: store.StageHold, HeldUntil: now.Add(-time.Minute)}}, "09:00", "09:01", "100/s", 1},
		{"the rest", Plan{Spec: Spec{Canary: 10, Hold: time.Hour}, Campaign: store.Campaign{Stage: store.StageRest}}, "09:00", "09:01", "100/s", 1},
	} {
		calls = nil
		got, err := inStages(&c.plan, now, demands, follow)
		if err != nil || got.Starts.Format("15:04") != c.begun || got.Ends.Format("15:04") != c.ends || got.Bound != c.bound || len(calls) != c.called || got.Lanes[0].N != 60 {
			t.Errorf("%s: %+v, %v, followed from %v", c.name, got, err, calls)
		}
	}
}
