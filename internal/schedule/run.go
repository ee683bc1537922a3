package schedule

import (
	"context"
	"errors"
	"sync"
	"time"

	"mailer/internal/store"
)

// AtOnce is how many campaigns one run sends side by side.
const AtOnce = 4

// Bounces names the lease of who reads the bounce mailbox, and the reading itself in Ended.
const Bounces = "bounces"

// How long a claim or a lease holds for a process that stopped answering and is not known to have ended, and how often a lease is renewed.
const (
	leaseTime = time.Minute
	renewTime = leaseTime / 3
)

// Runner does what is due in one workspace.
type Runner struct {
	Store  *store.Store
	Now    func() time.Time
	Holder string                   // this process
	Gone   func(holder string) bool // whether another has ended

	Begin  func(ctx context.Context, c store.Schedule) error      // freezes and sends a campaign that was claimed
	GoOn   func(ctx context.Context, g store.Going) error         // sends what is left of one
	Ready  func(ctx context.Context, g store.Going) (bool, error) // whether it may go on at this hour; nil: at any
	Sync   func(ctx context.Context) error                        // reads the bounce mailbox; nil: there is none
	Missed func(c store.Schedule)                                 // is told of a campaign that was not begun in time
	Ended  func(name string, err error)                           // is told how each ended, those that went well too; called from several goroutines
}

// Once does all that is due and waits for it. When ctx ends nothing more is started. The error is one of looking; how each thing went,
// Ended is told.
func (r *Runner) Once(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	if r.Sync != nil {
		all.Go(func() {
			if err := r.sync(ctx); !errors.Is(err, store.ErrHeld) {
				r.Ended(Bounces, err)
			}
		})
	}
	slots, seen := make(chan struct{}, AtOnce), map[string]bool{}
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		// Looked at anew for each: while this one waited for a place, another process may have done the rest.
		step, any, err := r.next(ctx, seen)
		if err != nil || !any {
			return err
		}
		seen[step.Campaign] = true
		all.Go(func() {
			defer func() { <-slots }()
			r.do(ctx, step)
		})
	}
}

// next is the first thing that is due and was not seen in this run.
func (r *Runner) next(ctx context.Context, seen map[string]bool) (Step, bool, error) {
	if ctx.Err() != nil {
		return Step{}, false, nil
	}
	planned, err := r.Store.Schedules(ctx)
	if err != nil {
		return Step{}, false, err
	}
	going, err := r.Store.Going(ctx)
	if err != nil {
		return Step{}, false, err
	}
	for _, step := range Due(r.Now(), planned, going, r.Gone) {
		if seen[step.Campaign] {
			continue
		}
		if step.Do == GoOn && r.Ready != nil {
			if ready, err := r.Ready(ctx, step.Going); err != nil || !ready {
				seen[step.Campaign] = true
				if err != nil {
					r.Ended(step.Campaign, err)
				}
				continue
			}
		}
		return step, true, nil
	}
	return Step{}, false, nil
}

func (r *Runner) do(ctx context.Context, step Step) {
	switch step.Do {
	case Miss:
		missed, err := r.Store.Miss(ctx, step.Schedule, r.Gone)
		if missed {
			r.Missed(step.Schedule)
		}
		if err != nil {
			r.Ended(step.Campaign, err)
		}
	case Begin:
		if err := r.begin(ctx, step.Schedule); !errors.Is(err, store.ErrNotPlanned) {
			r.Ended(step.Campaign, err)
		}
	case GoOn:
		r.Ended(step.Campaign, r.GoOn(ctx, step.Going))
	}
}

// begin claims a campaign and has it sent. ErrNotPlanned: another run was quicker, or it was moved.
func (r *Runner) begin(ctx context.Context, c store.Schedule) error {
	claimed, err := r.Store.Begin(ctx, c.Name, c.At, r.Holder, leaseTime, r.Gone)
	if err != nil {
		return err
	}
	err = r.Begin(ctx, claimed)
	if err == nil {
		return nil
	}
	// Of one that was frozen this changes nothing.
	return errors.Join(err, r.Store.Unbegin(context.WithoutCancel(ctx), claimed))
}

// sync reads bounces, if nobody else does.
func (r *Runner) sync(ctx context.Context) error {
	return Alone(ctx, r.Store, r.Holder, r.Gone, r.Sync)
}

// Alone reads bounces under the lease that keeps two processes from reading them at once. store.ErrHeld: another one does.
func Alone(ctx context.Context, st *store.Store, holder string, gone func(string) bool, read func(context.Context) error) error {
	lease, err := st.Lease(ctx, Bounces, holder, leaseTime, gone)
	if err != nil {
		return err
	}
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		tick := time.NewTicker(renewTime)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := lease.Renew(reading); errors.Is(err, store.ErrLeaseLost) {
					stop(err)
					return
				}
			case <-reading.Done():
				return
			}
		}
	}()
	err = read(reading)
	if cause := context.Cause(reading); errors.Is(cause, store.ErrLeaseLost) {
		err = store.ErrHeld // this process was suspended, and another reads them by now
	}
	stop(nil)
	<-renewed
	return errors.Join(err, lease.Release(context.WithoutCancel(ctx)))
}

// Every calls sweep now and at the beginning of each minute, until ctx ends; then it waits for those that run. A sweep may outlast its
// minute: the next one begins beside it, as crontab has it. n counts them.
func Every(ctx context.Context, now func() time.Time, sweep func(ctx context.Context, n int)) {
	var all sync.WaitGroup
	defer all.Wait()
	for n := 0; ctx.Err() == nil; n++ {
		all.Go(func() { sweep(ctx, n) })
		t := now()
		timer := time.NewTimer(t.Truncate(time.Minute).Add(time.Minute).Sub(t))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}
