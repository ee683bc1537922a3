package send

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/pace"
	"mailer/internal/store"
)

// A campaign with a canary goes in three stages, which the store keeps: a sample of the audience, a hold in which its bounces and
// complaints come back, and the rest if all went well. Each may be in a run of its own, and a run that was killed takes its stage up again.

// inStages sends what the campaign's stage lets go.
func (s *Sender) inStages(soft, ctx context.Context, p *Plan, run *store.Run, rates *book, counts *Counts, work func(sample []int64) error) error {
	stage, until := p.Campaign.Stage, p.Campaign.HeldUntil
	if p.Spec.Canary == 0 || stage == store.StageRest {
		return work(nil)
	}
	if stage != store.StageHold {
		sample, err := s.canary(ctx, p, run, rates)
		if err != nil {
			return err
		}
		if err := run.Stage(ctx, store.StageCanary, time.Time{}); err != nil {
			return err
		}
		if err := work(sample); err != nil {
			return err
		}
		if left, err := run.Fresh(ctx, nil, store.Among{IDs: sample}, 0, 1); err != nil || len(left) > 0 {
			return err // the limit of this run came first
		}
		if rest, err := run.Fresh(ctx, nil, store.Among{}, 0, 1); err != nil || len(rest) == 0 {
			return err // the sample was all there is: nobody has to wait
		}
		until = s.Now().Add(p.Spec.Hold)
		if err := run.Stage(ctx, store.StageHold, until); err != nil {
			return err
		}
		s.warn(fmt.Sprintf("the first %d are sent; the rest waits until %s for what comes back", len(sample), until.In(s.Workspace.Config.Location()).Format("2006-01-02 15:04")))
	}
	counts.held.Store(&until)
	err := s.hold(soft, ctx, p, run, until)
	counts.held.Store(nil)
	if err != nil {
		return err
	}
	if err := s.verdict(ctx, p, run); err != nil {
		return err
	}
	if err := run.Stage(ctx, store.StageRest, time.Time{}); err != nil {
		return err
	}
	return work(nil)
}

// canary picks the sample: of every provider in proportion.
func (s *Sender) canary(ctx context.Context, p *Plan, run *store.Run, rates *book) ([]int64, error) {
	all, err := s.Store.PlannedByDomain(ctx, p.Campaign.ID)
	if err != nil {
		return nil, err
	}
	var total int64
	sizes, domains := map[string]int64{}, map[string][]string{}
	for _, d := range all {
		total += d.Count
	}
	for _, d := range all {
		lane := rates.providers.Lane(d.Name)
		if _, known := rates.providers.Provider(lane); !known && d.Count*ownShare < total {
			lane = "" // the small ones together are one stratum
		}
		sizes[lane] += d.Count
		domains[lane] = append(domains[lane], d.Name)
	}
	var quotas []store.Quota
	for lane, n := range pace.Strata(p.Spec.Canary, sizes) {
		quotas = append(quotas, store.Quota{Domains: domains[lane], N: n})
	}
	return run.Sample(ctx, quotas)
}

// holdPoll is how soon it is seen during a hold that another terminal stopped the campaign.
const holdPoll = time.Second

// hold waits until the hold is over, keeping the lease, or ends the run when it is not to stay.
func (s *Sender) hold(soft, ctx context.Context, p *Plan, run *store.Run, until time.Time) error {
	for s.Now().Before(until) {
		if !p.Request.Stay && until.Sub(s.Now()) > p.Request.Wait {
			return fmt.Errorf("%w, until %s", ErrHeld, until.In(s.Workspace.Config.Location()).Format("2006-01-02 15:04"))
		}
		_, state, err := run.Commit(ctx, nil, nil) // renews the lease
		switch {
		case err != nil:
			return err
		case state == store.CampaignPaused:
			return ErrPaused
		case state == store.CampaignCancelled:
			return ErrCancelled
		}
		if !sleep(soft, min(holdPoll, until.Sub(s.Now()))) {
			return context.Cause(soft)
		}
	}
	if s.Listen != nil {
		if err := s.Listen(soft); err != nil {
			return fmt.Errorf("read the bounces of the first messages before the rest goes: %w", err)
		}
	}
	return nil
}

// verdict judges what became of the sample, by the levels of the breakers.
func (s *Sender) verdict(ctx context.Context, p *Plan, run *store.Run) error {
	balance, err := s.Store.Balance(ctx, p.Campaign.ID)
	if err != nil {
		return err
	}
	reasons, err := s.Store.Reasons(ctx, p.Campaign.ID)
	if err != nil {
		return err
	}
	heard, _, err := run.Heard(ctx, 0)
	if err != nil {
		return err
	}
	seen := map[pace.Kind]int64{}
	for _, r := range reasons {
		if r.State != delivery.Failed {
			continue
		}
		switch {
		case bounce.Dead(r.Reason):
			seen[pace.Hard] += r.Count
		case bounce.AboutUs(r.Reason):
			seen[pace.Policy] += r.Count
		}
	}
	for _, h := range heard {
		seen[pace.Kind(h.Kind)]++
	}
	if trip, bad := pace.Went(s.Workspace.Config.Breakers(), balance.Accepted+balance.Failed, seen); bad {
		return fmt.Errorf("%w: the canary failed, %s", ErrTripped, trip)
	}
	return nil
}

// errLate ends a run whose campaign must not go on any more.
var errLate = errors.New("not_after has passed")
