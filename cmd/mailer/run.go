package main

import (
	"context"
	"errors"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"mailer/internal/config"
	"mailer/internal/schedule"
	"mailer/internal/send"
	"mailer/internal/store"

	"github.com/spf13/cobra"
)

const runHelp = `Do all that is due, and end: begin the campaigns that were planned with mailer send --at, go on with those that have
recipients left (deferred mail whose time has come, a relay that was away), and read the bounce mailbox if one is
configured. It is made for one line in a crontab:

  MAILER_DIR=/home/me/news
  * * * * * mailer run >/dev/null

or, with --forever, which does the same every minute and reads bounces every five, for a service of systemd
(~/.config/systemd/user/mailer.service, then systemctl --user enable --now mailer):

  [Service]
  Environment=MAILER_DIR=%h/news
  ExecStart=/usr/local/bin/mailer run --forever
  Restart=always
  RestartSec=30
  # The first signal finishes what is on the wire.
  TimeoutStopSec=5min

  [Install]
  WantedBy=default.target

Runs may overlap: a campaign begins once and is sent by one process at a time, and up to four go side by side. A run that
is killed leaves its work to the next. A campaign goes on until nobody is left, unless mailer campaigns pause or cancel
stops it. Of one that a person stopped, with Ctrl-C or by send --limit, only deferred mail is tried again: who was never tried waits for
the next mailer send.

A time that passed while the machine was off is made up for within 24 hours, or as "late: 1h", "late: always" or "late:
never" in the campaign file says; after that it is missed, which is told once and shown by mailer campaigns list. Two
minutes are never late.

Exit codes: 0 nothing was due, or all of it was done, or another process is at it; 3 some failed or are uncertain, or a
campaign was missed; 4 recipients are left; 5 stopped by a safety rule; 2 configuration; 1 another error. Of several, the
last one in this list that happened. With --forever, that of what a signal interrupted.`

func newRunCmd(a *app) *cobra.Command {
	var forever bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Do all that is due: planned campaigns, what is left of others, bounces",
		Long:  runHelp,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// As for send: writing to a pipe that has ended must not kill us while mail is on the wire.
			signal.Ignore(syscall.SIGPIPE)
			if forever {
				return runForever(cmd.Context(), a)
			}
			return runOnce(cmd.Context(), a, true)
		},
	}
	cmd.Flags().BoolVar(&forever, "forever", false, "do it again every minute, until a signal ends it")
	return cmd
}

// bouncesEvery is how many minutes lie between two looks into the bounce mailbox of a run that does not end.
const bouncesEvery = 5

// runForever does what is due each minute. Whatever goes wrong is told, and the next minute is another one; the mailer.yaml of then
// counts.
func runForever(ctx context.Context, a *app) error {
	if _, err := a.load(); err != nil {
		return err // a mistake of the beginning is told to who begins it
	}
	var last worstCode
	schedule.Every(ctx, a.now, func(ctx context.Context, n int) {
		here := *a // each run reads the workspace for itself
		err := runOnce(ctx, &here, n%bouncesEvery == 0)
		if err != nil && err.Error() != "" {
			tellError(a, "", err)
		}
		if err != nil && ctx.Err() != nil {
			last.add(exitCode(err))
		}
	})
	return last.err()
}

// runOnce does all that is due. What goes wrong with one campaign is told when it does; the error has its code only.
func runOnce(ctx context.Context, a *app, bounces bool) error {
	ws, err := a.load()
	if err != nil {
		return err
	}
	st, err := a.openStore(ctx, ws)
	if err != nil {
		return err
	}
	defer st.Close()
	// Cron mails what is printed: nothing is, unless something is done.
	warn := sync.OnceFunc(func() {
		for _, w := range ws.Warnings {
			a.out.Warnf("%s", w)
		}
	})
	s := &send.Sender{Workspace: ws, Store: st, Now: a.now, Listen: listen(a, ws, st), Warn: func(text string) { a.out.Notef("mailer: %s", text) },
		Froze: func(f store.Freeze) { a.tellFreeze(f, false) }}
	var o worstCode
	r := schedule.Runner{Store: st, Now: a.now, Holder: send.Holder(), Gone: send.Gone,
		Begin: func(ctx context.Context, c store.Schedule) error {
			warn()
			plan, err := s.PreparePlanned(ctx, c)
			if err != nil {
				return err
			}
			return deliver(ctx, a, s, plan)
		},
		GoOn: func(ctx context.Context, g store.Going) error {
			warn()
			return goOn(ctx, a, s, g)
		},
		Ready: s.Ready,
		Missed: func(c store.Schedule) {
			c.State = store.ScheduleMissed
			a.out.Emit("missed", a.plannedLine(c, nil))
			a.out.Notef("mailer: %s was planned for %s and was not begun in time (late: %s): mailer send %s --at ... plans it again", c.Name, a.planStamp(c.At), lateText(c.Late), c.Name)
			o.add(exitSome)
		},
		Ended: func(name string, err error) { o.add(tellError(a, name, err)) },
	}
	if bounces && ws.Config.Bounces.Mailbox.Configured() {
		r.Sync = func(ctx context.Context) error {
			table, err := newSyncTable(ctx, ws, st)
			if err != nil {
				return err
			}
			sum, err := syncBounces(ctx, a, ws, st, bouncesSyncOptions{quiet: true, table: table})
			if err := showSyncTable(a, ws, table); err != nil {
				return err
			}
			a.out.Emit("summary", sum)
			if sum.Read > 0 {
				tellSync(a, sum, false)
			}
			return syncResult(err, sum.Read > 0)
		}
	}
	if err := r.Once(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return errors.Join(err, o.err())
	}
	return o.err()
}

// listen reads the bounce mailbox when the hold of a canary is over; nil: there is none.
func listen(a *app, ws *config.Workspace, st *store.Store) func(context.Context) error {
	if !ws.Config.Bounces.Mailbox.Configured() {
		return nil
	}
	return func(ctx context.Context) error {
		err := schedule.Alone(ctx, st, send.Holder(), send.Gone, func(ctx context.Context) error {
			_, err := syncBounces(ctx, a, ws, st, bouncesSyncOptions{quiet: true})
			return err
		})
		if errors.Is(err, store.ErrHeld) {
			return nil
		}
		return err
	}
}

// goOn sends what is left of a campaign. One that waits for a limit is looked at each minute and says nothing: cron would mail it.
func goOn(ctx context.Context, a *app, s *send.Sender, g store.Going) error {
	plan, err := s.PrepareGoing(ctx, g)
	if err != nil {
		return err
	}
	before := plan.Campaign.Balance
	sum, err := carry(ctx, a, s, plan)
	if sum.Balance == before && (errors.Is(err, send.ErrLimit) || errors.Is(err, send.ErrHeld) || errors.Is(err, send.ErrClosed) || errors.Is(err, send.ErrNotNow)) {
		return &exit{code: exitLeft}
	}
	return tellDelivery(ctx, a, sum, err)
}

// worstCode is the worst of what happened.
type worstCode struct {
	mu   sync.Mutex
	code int
}

func (o *worstCode) add(code int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.code = worse(o.code, code)
}

func (o *worstCode) err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.code == exitDone {
		return nil
	}
	return &exit{code: o.code}
}

// worse is the one of two exit codes that wants a person sooner.
func worse(x, y int) int {
	order := []int{exitDone, exitSome, exitLeft, exitSafety, exitUsage, exitError}
	if slices.Index(order, x) > slices.Index(order, y) {
		return x
	}
	return y
}

// tellError tells how one of several things went wrong, and returns its exit code. Another process that does it is nothing wrong, and not
// told: cron would mail it.
func tellError(a *app, name string, err error) int {
	if err == nil {
		return exitDone
	}
	code := exitCode(err)
	text := err.Error()
	if errors.Is(err, context.Canceled) {
		text = "stopped by a signal; the next run goes on"
	}
	if name != "" && text != "" {
		text = name + ": " + text
	}
	switch {
	case code == exitBusy || errors.Is(err, store.ErrBusy):
		return exitDone
	case text != "":
		a.out.Notef("mailer: %s", clean(text))
		a.out.Emit("error", struct {
			Campaign string `json:"campaign"`
			Error    string `json:"error"`
			Code     int    `json:"exit_code"`
		}{name, text, code})
	}
	return code
}
