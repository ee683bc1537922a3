package send

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailer/internal/config"
	"mailer/internal/mailtest"
	"mailer/internal/pace"
	"mailer/internal/store"
)

// whole is a sender with a workspace, a list of people and a relay, on the simulated clock.
type whole struct {
	*Sender
	t    *testing.T
	srv  *mailtest.SMTPServer
	file string
}

func newWhole(t *testing.T, n int, front string, script mailtest.Script) *whole {
	t.Helper()
	s := relaySender(t)
	w := &whole{Sender: s, t: t}
	wire := mailtest.NewWire(5 * time.Millisecond)
	s.net = wire.Dial
	w.srv = mailtest.NewSMTPOn(t, wire, script)
	s.Workspace.Config.Relays = []config.Relay{relayOf(w.srv)}
	s.Workspace.Config.Sender.UnsubscribeMailto = "stop@example.com"
	s.Warn = func(text string) { t.Log(text) }
	w.sql(fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO contacts (key, address, fields, created_at, updated_at)
		SELECT printf('p%%05d@', i) || d, printf('p%%05d@', i) || d, '{}', 1, 1 FROM (SELECT i, CASE i %% 2 WHEN 0 THEN 'gmail.com' ELSE 'example.jp' END AS d FROM n)`, n))
	w.file = filepath.Join(s.Workspace.Dir, "news.md")
	if err := os.WriteFile(w.file, []byte("---\nsubject: News\n"+front+"---\nHello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *whole) sql(text string) {
	w.t.Helper()
	(&rig{t: w.t, path: filepath.Join(w.Workspace.Dir, config.DatabaseName)}).sql(text)
}

// send runs once, as one process does.
func (w *whole) send(ctx context.Context, r Request) (Summary, error) {
	w.t.Helper()
	r.Campaign, r.Where = "news.md", "true"
	p, err := w.Prepare(ctx, r)
	if err != nil {
		w.t.Fatal(err)
	}
	var counts Counts
	return w.Run(ctx, ctx, p, &counts)
}

func (w *whole) campaign() store.Campaign {
	w.t.Helper()
	c, err := w.Store.Campaign(w.t.Context(), "news")
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// hear is what a bounces sync would write: n of those who were accepted complain, or their addresses are dead.
func (w *whole) hear(kind string, n int) {
	w.t.Helper()
	state := map[string]string{"complaint": "complained", "bounce": "bounced"}[kind]
	w.sql(fmt.Sprintf(`INSERT INTO events (at, kind, key, delivery, campaign) SELECT %d, '%s', key, id, campaign FROM deliveries WHERE state = 'accepted' ORDER BY id LIMIT %d;
		UPDATE deliveries SET state = '%s' WHERE state = 'accepted' AND id IN (SELECT delivery FROM events)`, time.Now().UnixMilli(), kind, n, state))
}

// A canary that went well: a sample of all, a hold, the rest. The process is killed or stopped at any moment, and the next one takes the
// stage up where it was.
func TestCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stop atomic.Pointer[context.CancelFunc]
		w := newWhole(t, 400, "", mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
			if c.Verb == "." && c.Message == 15 {
				(*stop.Load())()
			}
			return nil
		}})
		r := Request{Canary: 40, Hold: 30 * time.Minute}
		ctx, cancel := context.WithCancel(t.Context())
		stop.Store(&cancel)
		if sum, err := w.send(ctx, r); !errors.Is(err, context.Canceled) || sum.Accepted+sum.Uncertain < 15 || sum.Accepted+sum.Uncertain > 25 {
			t.Errorf("stopped in the sample: %v, %v", sum.Balance, err)
		}
		sum, err := w.send(t.Context(), r)
		if !errors.Is(err, ErrHeld) || sum.Accepted+sum.Uncertain != 40 {
			t.Errorf("the sample: %v, %v", sum.Balance, err)
		}
		domains := map[string]int{}
		for _, tx := range w.srv.Accepted() {
			_, d, _ := strings.Cut(tx.Rcpts[0].Address, "@")
			domains[d]++
		}
		if domains["gmail.com"] < 18 || domains["example.jp"] < 18 {
			t.Errorf("the sample is not of all: %v", domains)
		}
		time.Sleep(10 * time.Minute)
		if sum, err = w.send(t.Context(), r); !errors.Is(err, ErrHeld) || sum.Accepted+sum.Uncertain != 40 {
			t.Errorf("in the hold: %v, %v", sum.Balance, err)
		}
		time.Sleep(20 * time.Minute)
		listened := false
		w.Listen = func(context.Context) error { listened = true; return nil }
		if sum, err = w.send(t.Context(), r); err != nil || sum.Accepted+sum.Uncertain != 400 || !listened {
			t.Errorf("the rest: %v, %v", sum.Balance, err)
		}
	})
}

// A canary that went badly stops the campaign for a person to look at. Whoever resumes it sends the rest.
func TestCanaryThatGoesBadly(t *testing.T) {
	for _, kind := range []string{"complaint", "bounce"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWhole(t, 400, "", mailtest.Script{})
				w.Listen = func(context.Context) error { w.hear(kind, 20); return nil }
				r := Request{Canary: 40, Hold: 30 * time.Minute, Stay: true}
				sum, err := w.send(t.Context(), r)
				if !errors.Is(err, ErrTripped) || sum.Planned-sum.Remaining != 40 {
					t.Errorf("%v, %v", sum.Balance, err)
				}
				if c := w.campaign(); c.State != store.CampaignPaused || !strings.Contains(c.Note, "20 of 40") {
					t.Errorf("%s: %s", c.State, c.Note)
				}
				w.Listen = nil
				if _, err := w.send(t.Context(), r); !errors.Is(err, ErrPaused) {
					t.Errorf("it is paused: %v", err)
				}
				time.Sleep(time.Minute)
				if err := w.Store.SetCampaignState(t.Context(), "news", store.CampaignSending, ""); err != nil {
					t.Fatal(err)
				}
				if sum, err = w.send(t.Context(), r); err != nil || sum.Remaining != 0 || sum.Accepted != 400 {
					t.Errorf("resumed: %v, %v", sum.Balance, err)
				}
			})
		})
	}
}

// Ctrl-C ends the reading of the bounces, too: a mailbox may take minutes to answer.
func TestCanaryThatIsStoppedWhileItListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWhole(t, 100, "", mailtest.Script{})
		soft, stop := context.WithCancel(t.Context())
		w.Listen = func(ctx context.Context) error {
			stop()
			<-ctx.Done()
			return ctx.Err()
		}
		sum, err := w.send(soft, Request{Canary: 20, Hold: time.Minute, Stay: true})
		if !errors.Is(err, context.Canceled) || sum.Accepted != 20 || sum.Remaining != 80 {
			t.Errorf("%v, %v", sum.Balance, err)
		}
		w.Listen = nil
		if sum, err := w.send(t.Context(), Request{Stay: true}); err != nil || sum.Accepted != 100 {
			t.Errorf("the next run: %v, %v", sum.Balance, err)
		}
	})
}

// A limit of the run holds over the stages.
func TestCanaryWithALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWhole(t, 100, "", mailtest.Script{})
		r := Request{Canary: 20, Hold: time.Minute, Stay: true, Limit: 20}
		if sum, err := w.send(t.Context(), r); err != nil || sum.Accepted != 20 {
			t.Errorf("%v, %v", sum.Balance, err)
		}
		r.Limit = 30
		if sum, err := w.send(t.Context(), r); err != nil || sum.Accepted != 50 {
			t.Errorf("%v, %v", sum.Balance, err)
		}
	})
}

// Too many dead addresses, or refusals about us, stop the run while it goes on: the campaign is paused with a note. Whoever resumes it is not
// stopped again for what was known then.
func TestABreakerTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad atomic.Bool
		bad.Store(true)
		w := newWhole(t, 2000, "", mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
			if bad.Load() && c.Verb == "RCPT" && strings.HasPrefix(c.Address, "p") && strings.Contains(c.Address, "0@") {
				return &mailtest.Reply{Text: "550 5.1.1 no such user"}
			}
			return nil
		}})
		sum, err := w.send(t.Context(), Request{})
		if !errors.Is(err, ErrTripped) || sum.Accepted+sum.Failed > 400 || sum.Uncertain > 0 {
			t.Fatalf("%v, %v", sum.Balance, err)
		}
		if c := w.campaign(); c.State != store.CampaignPaused || !strings.Contains(c.Note, "dead addresses") {
			t.Errorf("%s: %q", c.State, c.Note)
		}
		bad.Store(false)
		time.Sleep(time.Minute)
		if err := w.Store.SetCampaignState(t.Context(), "news", store.CampaignSending, ""); err != nil {
			t.Fatal(err)
		}
		if sum, err = w.send(t.Context(), Request{}); err != nil || sum.Remaining > 0 {
			t.Errorf("resumed: %v, %v", sum.Balance, err)
		}
	})
}

// What the mailbox tells while a run goes on stops it, and what it told before it was resumed does not.
func TestABreakerHearsTheMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWhole(t, 4000, "", mailtest.Script{})
		w.Workspace.Config.Rates = []pace.Rate{{N: 10, Per: time.Second}}
		go func() {
			time.Sleep(100 * time.Second)
			w.hear("complaint", 20)
		}()
		begin := time.Now()
		sum, err := w.send(t.Context(), Request{})
		if took := time.Since(begin); !errors.Is(err, ErrTripped) || took > 110*time.Second {
			t.Fatalf("after %s: %v, %v", took, sum.Balance, err)
		}
		time.Sleep(time.Minute)
		if err := w.Store.SetCampaignState(t.Context(), "news", store.CampaignSending, ""); err != nil {
			t.Fatal(err)
		}
		if sum, err = w.send(t.Context(), Request{}); err != nil || sum.Remaining > 0 {
			t.Errorf("resumed: %v, %v", sum.Balance, err)
		}
	})
}

// When the hours end nothing more leaves, to the second, and the run ends; the next one goes on when they begin.
func TestHoursEndInARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opens, closes := time.Date(2000, 1, 2, 9, 0, 0, 0, time.UTC), time.Date(2000, 1, 1, 9, 1, 0, 0, time.UTC)
		w := newWhole(t, 1000, "windows: [\"daily 09:00-09:01\"]\n", mailtest.Script{})
		w.Workspace.Config.Timezone = "UTC"
		w.Workspace.Config.Rates = []pace.Rate{{N: 10, Per: time.Second}}
		time.Sleep(time.Until(closes.Add(-time.Minute)))
		sum, err := w.send(t.Context(), Request{})
		if !errors.Is(err, ErrClosed) || sum.Accepted < 570 || sum.Accepted > 600 || sum.Uncertain > 0 {
			t.Errorf("%v, %v", sum.Balance, err)
		}
		if now := time.Now(); now.After(closes.Add(3 * time.Second)) {
			t.Errorf("it ended at %s", now)
		}
		if sum, err := w.send(t.Context(), Request{}); !errors.Is(err, ErrClosed) || sum.Accepted > 600 {
			t.Errorf("outside the hours: %v, %v", sum.Balance, err)
		}
		time.Sleep(time.Until(opens))
		if sum, err := w.send(t.Context(), Request{}); err != nil || sum.Accepted != 1000 {
			t.Errorf("the next day: %v, %v", sum.Balance, err)
		}
	})
}

// Nothing is taken by the relay after not_after, and who has not got it is told of as too late.
func TestNotAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC)
		var late atomic.Int64
		w := newWhole(t, 1000, "not_after: 2000-01-01 00:01:00\n", mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
			if c.Verb == "." && time.Since(end) > 100*time.Millisecond {
				late.Add(1)
			}
			return nil
		}})
		w.Workspace.Config.Timezone = "UTC"
		w.Workspace.Config.Rates = []pace.Rate{{N: 10, Per: time.Second}}
		time.Sleep(300 * time.Millisecond) // the run looks once a second, and not when it ends
		sum, err := w.send(t.Context(), Request{})
		if err != nil || sum.Remaining > 0 || sum.Accepted < 500 || sum.Accepted+sum.Excluded != 1000 || sum.TooLate != sum.Excluded {
			t.Errorf("%v, %v", sum.Balance, err)
		}
		if late.Load() > 0 {
			t.Errorf("%d went too late", late.Load())
		}
	})
}

// A pause from another terminal acts within two seconds, whatever the run waits for.
func TestAPauseActsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script mailtest.Script
		set    func(w *whole)
		canary int64
	}{
		{name: "what becomes of a canary", canary: 10},
		{name: "a slot", set: func(w *whole) { w.Workspace.Config.Rates = []pace.Rate{{N: 2, Per: time.Minute}} }},
		{name: "a used-up limit", set: func(w *whole) {
			w.Workspace.Config.Rates = []pace.Rate{{N: 100, Per: time.Second}, {N: 20, Per: time.Minute}}
		}},
		{name: "a relay that wants a pause", script: mailtest.Script{Replies: map[string]string{"MAIL": "421 4.3.2 not now"}}},
		{name: "a banner", script: mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
			if c.Verb == "CONNECT" {
				return &mailtest.Reply{Delay: 9 * time.Second}
			}
			return nil
		}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWhole(t, 200, "", tt.script)
				if tt.set != nil {
					tt.set(w)
				}
				var paused time.Time
				go func() {
					time.Sleep(5500 * time.Millisecond)
					paused = time.Now()
					if err := w.Store.SetCampaignState(context.Background(), "news", store.CampaignPaused, ""); err != nil {
						t.Error(err)
					}
				}()
				sum, err := w.send(t.Context(), Request{FirstBackoff: time.Second, Canary: tt.canary, Hold: time.Hour, Stay: true})
				if took := time.Since(paused); !errors.Is(err, ErrPaused) || took > 2*time.Second || sum.Uncertain > 0 {
					t.Errorf("%s after the pause: %v, %v", took, sum.Balance, err)
				}
			})
		})
	}
}

// A limit of a minute is waited for.
func TestAMinutesLimitIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWhole(t, 200, "", mailtest.Script{})
		w.Workspace.Config.Rates = []pace.Rate{{N: 100, Per: time.Second}, {N: 50, Per: time.Minute}}
		begin := time.Now()
		sum, err := w.send(t.Context(), Request{})
		if took := time.Since(begin); err != nil || sum.Accepted != 200 || took < 3*time.Minute || took > 4*time.Minute {
			t.Errorf("after %s: %v, %v", took, sum.Balance, err)
		}
	})
}
