package doctor

import "math"

// stratum is people who are alike: at one provider, with a proof of one age.
type stratum struct {
	people      int64
	tried, dead int64 // of earlier messages to such people
}

// expectation is the share of a mailing that will come back because the address is dead.
type expectation struct {
	people    int64 // whom it is about
	tried     int64 // earlier messages that it stands on
	rate      float64
	low, high float64 // between which it lies, 95 % sure
}

// leaning is how many messages of its own a stratum needs to be believed as much as the whole that it is a part of.
const leaning = 50

// expect estimates from strata, by provider and age. Each stratum leans on all of its age, and each age on the whole list, the more
// the less is known of itself (beta-binomial). What strata share makes them err together, so it is added up before it is squared.
func expect(strata map[string][]stratum) expectation {
	var e expectation
	var whole stratum
	ages := map[int]*stratum{}
	for _, of := range strata {
		for age, s := range of {
			if ages[age] == nil {
				ages[age] = &stratum{}
			}
			for _, sum := range []*stratum{ages[age], &whole} {
				sum.people, sum.tried, sum.dead = sum.people+s.people, sum.tried+s.tried, sum.dead+s.dead
			}
		}
	}
	e.people, e.tried = whole.people, whole.tried
	if whole.people == 0 || whole.tried == 0 {
		return e
	}
	all := (float64(whole.dead) + 0.5) / (float64(whole.tried) + 1)
	var variance, shared float64
	for age, sum := range ages {
		mean, lent := lean(*sum, all)
		var own float64
		for _, of := range strata {
			if age >= len(of) || of[age].people == 0 {
				continue
			}
			s := of[age]
			share := float64(s.people) / float64(whole.people)
			p, l := lean(s, mean)
			e.rate += share * p
			variance += share * share * p * (1 - p) / (float64(s.tried) + leaning + 1)
			own += share * l
		}
		variance += own * own * mean * (1 - mean) / (float64(sum.tried) + leaning + 1)
		shared += own * lent
	}
	variance += shared * shared * all * (1 - all) / (float64(whole.tried) + 2)
	variance += e.rate * (1 - e.rate) / float64(whole.people) // the luck of one mailing
	half := 1.96 * math.Sqrt(variance)
	e.low, e.high = max(0, e.rate-half), min(1, e.rate+half)
	return e
}

// lean is the mean of a stratum that leans on a larger one, and how much of it is the larger one's.
func lean(s stratum, on float64) (mean, lent float64) {
	n := float64(s.tried) + leaning
	return (float64(s.dead) + leaning*on) / n, leaning / n
}
