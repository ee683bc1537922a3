package send

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/store"
)

// clocked gives the rig a clock of its own, the engine's and the store's, which is ahead of the true one by the duration
// returned.
func (r *rig) clocked() *atomic.Int64 {
	r.t.Helper()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	if err := r.st.Close(); err != nil {
		r.t.Fatal(err)
	}
	st, err := store.Open(r.t.Context(), r.path, store.Options{Now: now})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { st.Close() })
	r.st, r.now = st, now
	return &ahead
}

// The clock jumps while mail is flowing (a machine that had the time wrong, or slept): nobody is lost and nobody doubled, and
// the lease stays ours.
func TestTheClockJumpsDuringARun(t *testing.T) {
	for _, jump := range []time.Duration{-time.Hour, 24 * time.Hour, -400 * 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 60)
			r.connections, r.fresh, r.retry = 3, 30*time.Second, []time.Duration{time.Millisecond}
			r.campaign.Expires = time.Now().AddDate(10, 0, 0) // jumps, not the campaign's end, are tried here
			ahead := r.clocked()
			var dots atomic.Int64
			srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
				switch {
				case c.Verb == "." && dots.Add(1)%20 == 7:
					ahead.Add(int64(jump))
				case c.Verb == "RCPT" && c.Message == 12:
					return &mailtest.Reply{Text: "451 4.7.1 greylisted"}
				}
				return nil
			}})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := r.run(ctx, srv); err != nil {
				t.Errorf("it waits for a clock that was set back: %v", err)
			}
			b := r.balance()
			if b.Accepted+b.Deferred != 60 || b.Deferred > 1 {
				t.Errorf("after the run: %s", b)
			}
			r.verify(srv)
			// Whoever was deferred before a jump back waits for that much longer, and no more.
			ahead.Store(int64(max(0, -jump) + time.Hour))
			r.toTheEnd("later", srv)
			if b := r.exact("later", srv); b.Accepted != 60 {
				t.Errorf("in the end: %s", b)
			}
		})
	}
}

// The clock is wrong at the next run, by more than the lease: a process that was killed leaves its campaign all the same,
// and one that lives keeps it.
func TestTheClockJumpsBetweenRuns(t *testing.T) {
	for _, jump := range []time.Duration{-time.Hour, 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 20)
			ahead := r.clocked()
			srv := mailtest.NewSMTP(t, mailtest.Script{})
			r.limit = 5
			if err := r.run(t.Context(), srv); err != nil {
				t.Error(err)
			}
			// Killed with two messages on their way: the lease names a process that is gone.
			dead := strings.Replace(self(), " start ", " start 1", 1)
			r.sql(fmt.Sprintf("UPDATE campaigns SET lease_holder = '%s', lease_expires = %d", dead, r.now().Add(time.Minute).UnixMilli()))
			r.sql(`UPDATE deliveries SET state = 'sending', attempts = 1 WHERE id IN (SELECT id FROM deliveries WHERE state = 'pending' LIMIT 2)`)
			ahead.Add(int64(jump))
			r.limit = 0
			if err := r.run(t.Context(), srv); err != nil {
				t.Error(err)
			}
			if b := r.exact("the next run", srv); b.Accepted != 18 || b.Uncertain != 2 {
				t.Errorf("%s", b)
			}
		})
	}
}

// What is deferred comes back while others are still pending, under the same number of attempts as it was tried, and the
// run does not end before it has tried whoever is due.
func TestDeferredComeBackAmidPending(t *testing.T) {
	const recipients = 200
	r := newRig(t, recipients)
	r.connections, r.retry = 2, []time.Duration{time.Millisecond}
	var refused atomic.Int64
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		var id int
		fmt.Sscanf(c.Address, "p%d@", &id)
		if (c.Verb == "RCPT" || c.Verb == ".") && id%10 == 0 && refused.Add(1) <= recipients/10 {
			return &mailtest.Reply{Text: "451 4.3.0 later"}
		}
		return nil
	}})
	r.toTheEnd("deferred", srv)
	if b := r.exact("deferred", srv); b.Accepted != recipients {
		t.Errorf("%s", b)
	}
	if n := refused.Load(); n < recipients/10 {
		t.Errorf("%d were deferred", n)
	}
	tries := 0
	err := r.st.EachRecipient(t.Context(), r.campaign.ID, nil, func(x store.Recipient) error {
		if tries += x.Attempts; x.State != delivery.Accepted {
			t.Errorf("%s is %s", x.Address, x.State)
		}
		return nil
	})
	if err != nil || tries != recipients+recipients/10 {
		t.Errorf("%d attempts are recorded, %v", tries, err)
	}
}
