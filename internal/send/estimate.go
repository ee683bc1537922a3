package send

import (
	"context"
	"slices"
	"time"

	"mailer/internal/pace"
	"mailer/internal/store"
)

// Forecast says how long a plan takes under all limits, windows and pauses that are known, and when each lane ends. What the relay itself
// takes is not known: where nothing else holds, it is as fast as that.
func (s *Sender) Forecast(ctx context.Context, p *Plan) (pace.Course, error) {
	open := p.Counts.Domains
	if !p.New {
		var err error
		if open, err = s.Store.OpenByDomain(ctx, p.Campaign.ID); err != nil {
			return pace.Course{}, err
		}
	}
	rates, err := s.newBook(ctx, p.Relays, p.Request.Rates)
	if err != nil {
		return pace.Course{}, err
	}
	rates.assume = true
	routes := p.routes(s.Workspace.Config, rates.providers)
	demands := demand(open, rates, func(domain string) bool {
		return routes != nil && !slices.Equal(routes(p.From(), domain), routes(p.From(), ""))
	})
	now := s.Now()
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
	return pace.Estimate(ctx, now, demands, ways, used, p.Content.Hours(s.Workspace.Config.Hours()))
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
