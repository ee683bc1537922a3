package doctor

import (
	"math"
	"math/rand/v2"
	"testing"
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
