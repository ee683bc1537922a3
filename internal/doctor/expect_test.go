package doctor

import (
	"math"
	"math/rand/v2"
	"testing"

	"mailer/internal/provider"
	"mailer/internal/store"
)

func TestExpect(t *testing.T) {
	near := func(a, b, by float64) bool { return math.Abs(a-b) <= by }
	// Much is known: the estimate is what was seen, weighed by who is mailed now.
	e := expect(map[string][]stratum{"gmail": {{9000, 100_000, 1000}, {}}, "others": {{0, 100_000, 9000}, {1000, 100_000, 5000}}})
	if !near(e.rate, 0.9*0.01+0.1*0.05, 0.0005) || e.people != 10_000 || e.tried != 300_000 || !(e.low < e.rate && e.rate < e.high) || e.high-e.low > 0.01 {
		t.Errorf("much known: %+v", e)
	}
	// A stratum of which nothing is known is as the others of its age, and less sure.
	known := expect(map[string][]stratum{"gmail": {{1000, 10_000, 200}}})
	lent := expect(map[string][]stratum{"gmail": {{0, 10_000, 200}}, "docomo": {{1000, 0, 0}}})
	if !near(lent.rate, 0.02, 0.001) || lent.high-lent.low <= known.high-known.low {
		t.Errorf("lent %+v, known %+v", lent, known)
	}
	// One bounce of three messages does not make a third of a list dead.
	if few := expect(map[string][]stratum{"gmail": {{1000, 5000, 25}}, "small": {{100, 3, 1}}}); few.rate > 0.01 {
		t.Errorf("few: %+v", few)
	}
	for _, none := range []map[string][]stratum{nil, {"gmail": {{100, 0, 0}}}, {"gmail": {{0, 100, 1}}}} {
		if e := expect(none); e.rate != 0 || e.high != 0 {
			t.Errorf("nothing known: %+v", e)
		}
	}
}

// Of lists whose true rates are known, the interval holds what comes of the next mailing about as often as it says.
func TestExpectKeepsItsWord(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 11))
	held, lists := 0, 400
	for range lists {
		strata, expected := map[string][]stratum{}, 0.0
		var people int64
		for _, lane := range []string{"gmail", "docomo", "yahoo_japan", "others"} {
			tilt := 0.5 + rnd.Float64()
			for age, base := range []float64{0.005, 0.02, 0.06} {
				p := base * tilt
				s := stratum{people: 100 + rnd.Int64N(3000), tried: rnd.Int64N(4000) / int64(1+9*age)}
				for range s.tried {
					if rnd.Float64() < p {
						s.dead++
					}
				}
				for range s.people {
					if rnd.Float64() < p {
						expected++
					}
				}
				strata[lane] = append(strata[lane], s)
				people += s.people
			}
		}
		if e := expect(strata); e.low <= expected/float64(people) && expected/float64(people) <= e.high {
			held++
		}
	}
	if share := float64(held) / float64(lists); share < 0.90 {
		t.Errorf("the interval held in %.1f%%", 100*share)
	} else {
		t.Logf("the interval held in %.1f%%", 100*share)
	}
}

// A list that was mailed a few times is not condemned for it, and one that is known to be bad is.
func TestExpectedLevel(t *testing.T) {
	for _, c := range []struct {
		tried, dead int64
		want        Level
	}{
		{3, 0, Info}, {20, 1, Info}, {30, 2, Info}, {100, 0, Pass}, {100, 3, Warn}, {200, 30, Fail}, {10_000, 100, Pass}, {10_000, 300, Warn}, {10_000, 700, Fail},
	} {
		strata := make([]stratum, store.NoProof+1)
		strata[0] = stratum{people: 1000, tried: c.tried, dead: c.dead}
		l := &List{mailable: 1000}
		got := l.expected(history{lanes: map[string][]stratum{"gmail": strata}, tried: c.tried, nth: 1})
		if len(got) != 1 || got[0].Level != c.want {
			t.Errorf("%d dead of %d: %+v, want %s", c.dead, c.tried, got, c.want)
		}
	}
}

// A provider that was sent a handful of messages is not complained about for the one of them that was dead.
func TestProviderBouncesLevel(t *testing.T) {
	presets, err := provider.Presets()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tried, dead int64
		warns       bool
	}{{2, 1, false}, {10, 3, false}, {49, 25, false}, {50, 25, true}, {1000, 20, false}, {1000, 60, true}} {
		l := &List{mailable: 10, Providers: presets}
		got := l.providers(history{lanes: map[string][]stratum{"gmail": {{people: 10, tried: c.tried, dead: c.dead}}}, tried: c.tried, nth: 1})
		if (len(got) == 2) != c.warns {
			t.Errorf("%d dead of %d: %+v", c.dead, c.tried, got)
		}
	}
}

// Nor is a list without a history for what became of three first messages.
func TestFirstBouncesLevel(t *testing.T) {
	for _, c := range []struct {
		tried, dead int64
		want        Level
	}{{3, 2, Info}, {49, 20, Info}, {100, 20, Warn}, {1000, 5, Info}} {
		strata := make([]stratum, store.NoProof+1)
		strata[store.NoProof] = stratum{people: 1000, tried: c.tried, dead: c.dead}
		l := &List{mailable: 1000}
		got := l.expected(history{lanes: map[string][]stratum{"gmail": strata}, tried: c.tried, nth: 1})
		if len(got) != 1 || got[0].Level != c.want {
			t.Errorf("%d dead of %d: %+v, want %s", c.dead, c.tried, got, c.want)
		}
	}
}
