package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"mailer/internal/config"
	"mailer/internal/delivery"
	"mailer/internal/schedule"
	"mailer/internal/send"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

// sendTimes are the options of send that say when.
type sendTimes struct {
	at        string
	delayText string
	delay     time.Duration
}

func (t *sendTimes) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.at, "at", "", "do not send now but at this `time`, which mailer run keeps: \"2026-12-01 09:00\", \"tomorrow 09:00\", 09:00 (of the workspace), or with its zone")
	f.StringVar(&t.delayText, "delay", "", "wait this `duration` (30s) before anything is begun: a moment to press Ctrl-C")
}

func (t *sendTimes) check(test bool) error {
	if t.delayText != "" {
		var err error
		if t.delay, err = config.ParseDuration(t.delayText); err != nil {
			return usage("--delay: %w", err)
		}
	}
	if t.at != "" && (test || t.delayText != "") {
		return usage("--at plans a send and sends nothing now: it does not go with --test or --delay")
	}
	return nil
}

// time is when a send is to begin; zero: now.
func (t sendTimes) time(a *app) (time.Time, error) {
	if t.at == "" {
		return time.Time{}, nil
	}
	at, err := schedule.At(t.at, a.now(), a.zone)
	if err != nil {
		return at, usage("--at: %w", err)
	}
	return at, nil
}

// holdOff counts down before a send begins.
func holdOff(ctx context.Context, a *app, p *send.Plan, delay time.Duration) error {
	if delay <= 0 {
		return nil
	}
	begin := time.Now().Add(delay)
	live := a.out.Live()
	defer live.Close()
	if !a.out.Watched() {
		a.out.Notef("%s: begins in %s; a signal before then cancels it", p.Name, delay)
	}
	for left := delay; left > 0; left = time.Until(begin) {
		live.Show(fmt.Sprintf("%s: begins in %d s; Ctrl-C cancels it", p.Name, int(math.Ceil(left.Seconds()))))
		select {
		case <-ctx.Done():
			if p.New {
				return &exit{exitLeft, fmt.Errorf("%s was cancelled before it began: nothing was sent and nothing is frozen", p.Name)}
			}
			return &exit{exitLeft, fmt.Errorf("%s was cancelled: nothing more of it was sent", p.Name)}
		case <-time.After(min(left, 200*time.Millisecond)):
		}
	}
	return nil
}

// plannedSummary is the balance of a campaign that has not begun: all who would be sent a message remain.
type plannedSummary struct {
	Campaign string `json:"campaign"`
	State    string `json:"state"`
	At       string `json:"at"`
	delivery.Balance
}

// putOnPlan stores a campaign that was prepared, checked and agreed to.
func putOnPlan(ctx context.Context, a *app, s *send.Sender, p *send.Plan, c store.Schedule) error {
	before, err := s.Store.Scheduled(ctx, c.Name)
	if err != nil && !errors.Is(err, store.ErrNotPlanned) {
		return err
	}
	moved := err == nil && before.State == store.SchedulePlanned
	if err := s.Store.Schedule(ctx, c, send.Gone); err != nil {
		return planResult(err)
	}
	switch opens := s.Opens(p.Content, c.At); {
	case opens.IsZero():
		a.out.Warnf("%s: its hours are never open then or later: nothing of it will leave (hours: in mailer.yaml, windows: and quiet: in its file)", c.Name)
	case opens.After(c.At):
		a.out.Warnf("%s: its hours are closed at that time: nothing of it leaves before %s (hours: in mailer.yaml, windows: and quiet: in its file)", c.Name, a.planStamp(opens))
	}
	sum := plannedSummary{Campaign: c.Name, State: store.SchedulePlanned, At: c.At.In(a.zone).Format(time.RFC3339)}
	sum.Planned, sum.Remaining = p.Counts.All, p.Counts.Sendable()
	sum.Excluded = sum.Planned - sum.Remaining
	if err := a.out.Emit("summary", sum); err != nil || a.out.JSON {
		return err
	}
	instead := ""
	if moved {
		instead = ", instead of " + a.planStamp(before.At)
	}
	a.out.Printf("%s: planned for %s%s, to %s as of now\n", c.Name, a.planStamp(c.At), instead, ui.Count(c.Recipients, "recipient", "recipients"))
	a.out.Println("mailer run begins it; a line in a crontab or a service runs that each minute (mailer run --help)")
	return nil
}

// planResult gives an error about the plan its exit code.
func planResult(err error) error {
	switch {
	case errors.Is(err, store.ErrBusy):
		return &exit{exitBusy, err}
	case errors.Is(err, store.ErrBegun):
		return &exit{exitUsage, fmt.Errorf("%w; mailer campaigns list shows it", err)}
	}
	return err
}

// planStamp is a time on the plan, with its zone: two that look alike when the clocks change are told apart.
func (a *app) planStamp(t time.Time) string { return t.In(a.zone).Format("2006-01-02 15:04 MST") }
