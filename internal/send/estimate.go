package send

import (
	"context"
	"slices"
	"time"

	"mailer/internal/pace"
	"mailer/internal/store"
)

// Forecast says how long a plan takes under all limits, windows and pauses that are known, and when each lane ends. What the relay itself
// takes is not known: where nothing else holds, it is as fast as that. A plan for later is followed from its time on, as things stand now.
// The bounds are in words.
func (s *Sender) Forecast(ctx context.Context, p *Plan) (pace.Course, error) {
	open := p.Counts.Domains
	if !p.New {
		var err error
		if open, err = s.Store.OpenByDomain(ctx, p.Campaign.ID); err != nil {
			return pace.Course{}, err
		}
	}
	rates, err := s.newBook(ctx, p.Name, p.Relays, p.Request.Rates)
	if err != nil {
		return pace.Course{}, err
	}
	rates.assume = true
	routes := p.routes(s.Workspace.Config, rates.providers)
	demands := demand(open, rates, func(domain string) bool {
		return routes != nil && !slices.Equal(routes(p.From(), domain), routes(p.From(), ""))
	})
	now := s.Now()
	if p.Request.At.After(now) {
		now = p.Request.At
	}
	var known []pace.Limit
	for _, r := range p.Relays {
		for _, d := range demands {
			known = append(known, rates.of(r.Name, d.Lane, now)...)
		}
	}
	used, err := meters(ctx, s.Store, known)
	if err != nil {
		return pace.Course{}, err
	}
	var ways []pace.Way
	for _, r := range p.Relays {
		if r.Standby && len(p.Relays) > 1 {
			continue
		}
		w := pace.Way{Relay: r.Name, Weight: max(r.Weight, 1), Limits: func(lane string, at time.Time) []pace.Limit { return rates.of(r.Name, lane, at) }}
		if routes != nil {
			w.Carries = func(lane string) bool { return slices.Contains(routes(p.From(), rates.domainOf(lane)), r.Name) }
		}
		ways = append(ways, w)
	}
	hours := p.Content.Hours(s.Workspace.Config.Hours())
	follow := func(from time.Time, demands []pace.Demand) (pace.Course, error) {
		return pace.Estimate(ctx, from, demands, ways, used, hours)
	}
	course, err := inStages(p, now, demands, follow)
	if err != nil {
		return course, err
	}
	words := func(bound *string) {
		if *bound != "" && *bound != pace.ByHours {
			*bound = rates.boundText(*bound, now)
		}
	}
	words(&course.Bound)
	for i := range course.Lanes {
		words(&course.Lanes[i].Bound)
	}
	return course, nil
}

// byHold is the bound of what waits for the hold of a canary more than for any limit.
const byHold = "the hold of the canary"

// inStages follows a campaign with its canary: the sample, the hold, the rest. What the sample used up of the limits is too little to
// matter for the rest.
func inStages(p *Plan, now time.Time, demands []pace.Demand, follow func(time.Time, []pace.Demand) (pace.Course, error)) (pace.Course, error) {
	begun, from, all := time.Time{}, now, demands
	switch stage := p.Campaign.Stage; {
	case p.Spec.Canary == 0 || stage == store.StageRest:
		return follow(now, demands)
	case stage == store.StageHold:
		if p.Campaign.HeldUntil.After(now) {
			from = p.Campaign.HeldUntil
		}
	default:
		sample, others := sampleOf(demands, p.Spec.Canary)
		first, err := follow(now, sample)
		if err != nil || first.Never || p.Spec.Canary >= total(demands) {
			return first, err
		}
		begun, from = first.Starts, first.Ends.Add(p.Spec.Hold)
		demands = others
	}
	rest, err := follow(from, demands)
	if err != nil {
		return rest, err
	}
	if !begun.IsZero() {
		rest.Starts = begun
	}
	for i := range rest.Lanes {
		rest.Lanes[i].N = all[i].N
	}
	if held := from.Sub(now); !rest.Never && held > rest.Ends.Sub(from) {
		rest.Bound = byHold
	}
	for i, l := range rest.Lanes {
		if !l.Ends.IsZero() && from.Sub(now) > l.Ends.Sub(from) {
			rest.Lanes[i].Bound = byHold
		}
	}
	return rest, nil
}

func total(demands []pace.Demand) (n int64) {
	for _, d := range demands {
		n += d.N
	}
	return n
}

// sampleOf parts what goes first, of all lanes in proportion, from the rest.
func sampleOf(demands []pace.Demand, canary int64) (sample, rest []pace.Demand) {
	sizes := map[string]int64{}
	for _, d := range demands {
		sizes[d.Lane] = d.N
	}
	first := pace.Strata(canary, sizes)
	for _, d := range demands {
		sample = append(sample, pace.Demand{Lane: d.Lane, N: first[d.Lane]})
		rest = append(rest, pace.Demand{Lane: d.Lane, N: d.N - first[d.Lane]})
	}
	return sample, rest
}

// demand is how many go to each lane. Domains that are no provider's and that nothing is said of are one.
func demand(open []store.Share, rates *book, routed func(domain string) bool) []pace.Demand {
	var all []pace.Demand
	for _, d := range open {
		lane := rates.providers.Lane(d.Name)
		if _, known := rates.providers.Provider(lane); !known && !routed(d.Name) {
			lane = ""
		}
		i := slices.IndexFunc(all, func(have pace.Demand) bool { return have.Lane == lane })
		if i < 0 {
			all = append(all, pace.Demand{Lane: lane, N: d.Count})
		} else {
			all[i].N += d.Count
		}
	}
	return all
}

// leastTime is how long n messages take at least under some rates; 0: as fast as the relay takes them.
func leastTime(rates []pace.Rate, n int64) time.Duration {
	var longest time.Duration
	for _, l := range pace.Limits("all", rates...) {
		if !l.Smooth { // the first window's share may go at once
			longest = max(longest, time.Duration((n-1)/l.N)*l.Per)
			continue
		}
		longest = max(longest, time.Duration(float64(n)/float64(l.N)*float64(l.Per)))
	}
	return longest
}
