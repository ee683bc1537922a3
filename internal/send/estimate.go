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
	demands := demand(open, rates)
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
		ways = append(ways, pace.Way{Relay: r.Name, Weight: max(r.Weight, 1), Limits: func(lane string, at time.Time) []pace.Limit { return rates.of(r.Name, lane, at) }})
	}
	return pace.Estimate(ctx, now, demands, ways, used, p.Content.Hours(s.Workspace.Config.Hours()))
}

// demand is how many go to each lane. Domains that are no provider's and that nothing is said of are one.
func demand(open []store.Share, rates *book) []pace.Demand {
	var all []pace.Demand
	for _, d := range open {
		lane := rates.providers.Lane(d.Name)
		if _, known := rates.providers.Provider(lane); !known {
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
