package send

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/pace"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// The relay's own rate and --rate of one span share a counter: each message counts once, the lower one holds.
func TestRatesOfOneSpanShareACounter(t *testing.T) {
	got := limits("main", []pace.Rate{{N: 500, Per: time.Hour}, {N: 10, Per: time.Second}, {N: 2000, Per: 24 * time.Hour}, {N: 100, Per: time.Hour}, {N: 300, Per: time.Hour}})
	want := []pace.Limit{{Name: "relay main/1h0m0s", N: 100, Per: time.Hour}, {Name: "relay main/24h0m0s", N: 2000, Per: 24 * time.Hour}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

// A relay may greet after minutes. All that time the lease is kept, else a cron job takes the campaign over each minute and
// nobody ever sends.
func TestLeaseIsKeptWhileTheRelayGreets(t *testing.T) {
	r := newRig(t, 1)
	greet := make(chan struct{})
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "CONNECT" {
			return &mailtest.Reply{Wait: greet}
		}
		return nil
	}})
	done := make(chan error, 1)
	go func() { done <- r.run(context.Background(), srv) }()
	expires := func() (at int64) {
		t.Helper()
		r.query("SELECT lease_expires FROM campaigns", &at)
		return at
	}
	first := expires()
	deadline := time.Now().Add(20 * time.Second)
	for renewed := false; !renewed; renewed = first > 0 && expires() > first {
		if first == 0 {
			first = expires()
		}
		if time.Now().After(deadline) {
			t.Error("the lease was not renewed")
			break
		}
		time.Sleep(10 * time.Millisecond) // the poll's grain
	}
	close(greet)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A process is suspended while a message is on the wire and the next is claimed. When it comes back the campaign is
// somebody else's, who holds that next one for uncertain: it must not leave any more.
func TestASuspendedProcessSendsNothingMore(t *testing.T) {
	r := newRig(t, 2)
	r.connections, r.fresh = 1, 30*time.Second
	var ahead atomic.Int64
	r.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "." && c.Message == 1 {
			for n := 0; n < 2; {
				r.query("SELECT count(*) FROM deliveries WHERE state = 'sending'", &n)
			}
			if _, doubtful, err := r.st.Acquire(context.Background(), r.campaign, "another", time.Minute, func(string) bool { return true }, nil); err != nil || doubtful != 2 {
				t.Errorf("taken over: %d in doubt, %v", doubtful, err)
			}
			ahead.Store(int64(time.Minute))
		}
		return nil
	}})
	if err := r.run(t.Context(), srv); !errors.Is(err, store.ErrLeaseLost) {
		t.Errorf("got %v", err)
	}
	if n := len(srv.Accepted()); n != 1 {
		t.Errorf("%d messages left", n)
	}
	if b := r.balance(); b.Accepted != 1 || b.Remaining != 1 {
		t.Errorf("balance %+v", b)
	}
}

// A connection that the relay closed while nothing was to be sent is replaced: no event of the lane, which would make
// everybody wait.
func TestAConnectionThatFellAsleepIsReplaced(t *testing.T) {
	r := newRig(t, 1)
	r.connections, r.idle, r.pause = 1, time.Nanosecond, time.Hour
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "EHLO" && c.Conn == 1 {
			return &mailtest.Reply{Close: true}
		}
		return nil
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.run(ctx, srv); err != nil {
		t.Error(err)
	}
	if b := r.balance(); b.Accepted != 1 {
		t.Errorf("balance %+v", b)
	}
}

// A relay that restarts says goodbye on every connection at once: one event, not as many as there are connections.
func TestARestartOfTheRelayIsOneEvent(t *testing.T) {
	r := newRig(t, 60)
	r.connections, r.pause = 3*laneFailures, 200*time.Millisecond
	var waiting atomic.Int64
	all := make(chan struct{})
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb != "MAIL" || c.Conn > r.connections {
			return nil
		}
		if waiting.Add(1) == int64(r.connections) {
			close(all)
		}
		return &mailtest.Reply{Wait: all, Text: "421 4.3.2 restarting"}
	}})
	if err := r.run(t.Context(), srv); err != nil {
		t.Error(err)
	}
	if b := r.balance(); b.Accepted != 60 {
		t.Errorf("balance %+v", b)
	}
	r.verify(srv)
}

// A relay that is away for a moment while all connections have to be made anew is waited for, as long by many as by one.
func TestManyConnectionsWaitForARelayThatRestarts(t *testing.T) {
	r := newRig(t, 100)
	r.connections, r.pause = 4*unreachableAfter, 50*time.Millisecond
	var back atomic.Pointer[time.Time]
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		switch down := back.Load(); {
		case down == nil && c.Verb == "." && c.Message > r.connections:
			at := time.Now().Add(200 * time.Millisecond)
			back.CompareAndSwap(nil, &at)
			return &mailtest.Reply{Text: "421 4.3.2 restarting"}
		case down != nil && time.Now().Before(*down):
			return &mailtest.Reply{Text: "421 4.3.2 restarting"}
		}
		return nil
	}})
	if err := r.run(t.Context(), srv); err != nil {
		t.Error(err)
	}
	if b := r.balance(); b.Accepted+b.Deferred != 100 || b.Accepted < 50 {
		t.Errorf("balance %+v", b)
	}
	r.verify(srv)
}

// A run that stays for deferred mail stays no longer than the campaign's time, and tries nothing after it.
func TestWaitingEndsWithTheCampaign(t *testing.T) {
	for _, retry := range []time.Duration{time.Microsecond, 400 * time.Millisecond} {
		r := newRig(t, 3)
		r.wait, r.retry, r.campaign.Expires = time.Hour, []time.Duration{retry}, time.Now().Add(time.Second)
		srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
			if c.Address == "p00002@example.jp" && c.Verb == "RCPT" {
				return &mailtest.Reply{Text: "451 4.7.1 later", Delay: 20 * time.Millisecond}
			}
			return nil
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := r.run(ctx, srv); err != nil {
			t.Error(err)
		}
		if b := r.balance(); b.Accepted != 2 || b.Deferred != 1 {
			t.Errorf("balance %+v", b)
		}
		if n := strings.Count(srv.Transcript(), "451 4.7.1 later"); n < 2 || n > 50 {
			t.Errorf("it was tried %d times", n)
		}
	}
}

// A login that is refused in the middle of a run is tried once: more lock the account.
func TestRefusedLoginOfAReplacementStopsTheRun(t *testing.T) {
	r := newRig(t, 10)
	r.connections, r.perConn = 1, 1
	srv := mailtest.NewSMTP(t, mailtest.Script{Users: map[string]string{"news": "geheim"}, Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "AUTH" && c.Conn > 1 {
			return &mailtest.Reply{Text: "535 5.7.8 no"}
		}
		return nil
	}})
	r.dial = func(ctx context.Context, s relay.Server) (*relay.Conn, error) {
		s.Auth, s.Username, s.Password = "plain", "news", func(context.Context) (string, error) { return "geheim", nil }
		return relay.Dial(ctx, s)
	}
	var de *relay.DialError
	if err := r.run(t.Context(), srv); !errors.As(err, &de) || !de.Refused {
		t.Errorf("got %v", err)
	}
	if n := strings.Count(srv.Transcript(), "535 5.7.8"); n != 1 {
		t.Errorf("%d logins were refused", n)
	}
	if b := r.balance(); b.Accepted != 1 || b.Remaining != 9 {
		t.Errorf("balance %+v", b)
	}
}

// What watches over a connection ends with it: a long run makes thousands of them.
func TestNothingHoldsAConnectionThatWasHungUp(t *testing.T) {
	r := newRig(t, 1)
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	conn, err := relay.Dial(t.Context(), r.server(srv))
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{e: &engine{wire: t.Context()}}
	w.use(conn)
	w.hangUp()
	if w.unwatch() {
		t.Error("it is still watched")
	}
}

// Stopped, cut or failing at every moment: the engine ends, leaves no goroutine behind, and its books are right.
func TestStoppedAtEveryMoment(t *testing.T) {
	for _, at := range []string{"CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		for _, n := range []int64{1, 2, 7} {
			t.Run(fmt.Sprint(at, " ", n), func(t *testing.T) {
				r := newRig(t, 40)
				soft, stop := context.WithCancel(t.Context())
				defer stop()
				var seen atomic.Int64
				srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
					if c.Verb == at && seen.Add(1) == n {
						stop()
					}
					return nil
				}})
				before := runtime.NumGoroutine()
				if err := r.run(soft, srv); err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
				srv.Close()
				for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
						break
					}
				}
				var sending int
				r.query("SELECT count(*) FROM deliveries WHERE state = 'sending'", &sending)
				if b := r.balance(); sending != 0 || b.Uncertain != 0 || b.Failed+b.Deferred != 0 {
					t.Errorf("%d sending, %+v", sending, b)
				}
				r.verify(srv)
			})
		}
	}
}

// A run that is cut (second signal) while every connection waits for a reply ends at once, and what was on the wire is in
// doubt or back, never lost.
func TestCutWhileOnTheWire(t *testing.T) {
	r := newRig(t, 40)
	soft, stop := context.WithCancel(t.Context())
	hard, cut := context.WithCancel(t.Context())
	defer cut()
	never := make(chan struct{})
	var waiting atomic.Int64
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb != "." {
			return nil
		}
		if waiting.Add(1) == int64(r.connections) {
			stop()
			cut()
		}
		return &mailtest.Reply{Wait: never}
	}})
	if err := r.runHard(soft, hard, srv); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if b := r.balance(); b.Uncertain != int64(r.connections) || b.Remaining != 40-int64(r.connections) {
		t.Errorf("balance %+v", b)
	}
	r.verify(srv)
}

// A message that cannot be made fails its recipient and nobody else, and one whose contact is gone is excluded.
func TestWhatCannotBeComposed(t *testing.T) {
	r := newRig(t, 20)
	r.sql("DELETE FROM contacts WHERE id % 5 = 0")
	r.verdict = func(d store.Due) *delivery.Decision {
		switch {
		case d.Gone:
			return &delivery.Decision{State: delivery.Excluded, Reason: "contact removed"}
		case d.ID%4 == 0:
			return &delivery.Decision{State: delivery.Failed, Reason: "compose"}
		}
		return nil
	}
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	if err := r.run(t.Context(), srv); err != nil {
		t.Error(err)
	}
	if b := r.balance(); b.Excluded != 4 || b.Failed != 4 || b.Accepted != 12 {
		t.Errorf("balance %+v", b)
	}
	r.verify(srv)
}

// One outcome that cannot be written takes no other with it.
func TestOneOutcomeThatCannotBeWritten(t *testing.T) {
	r := newRig(t, 20)
	r.sql("CREATE TRIGGER one BEFORE UPDATE ON deliveries WHEN NEW.id = 3 AND NEW.state = 'accepted' BEGIN SELECT RAISE(ABORT, 'broken'); END")
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	if err := r.run(t.Context(), srv); err == nil || !strings.Contains(err.Error(), "1 outcomes could not be written") {
		t.Errorf("got %v", err)
	}
	r.sql("DROP TRIGGER one")
	if _, doubtful, err := r.st.Acquire(t.Context(), r.campaign, "next", time.Minute, func(string) bool { return true }, nil); err != nil || doubtful != 1 {
		t.Errorf("%d in doubt, want the one, %v", doubtful, err)
	}
	r.verify(srv)
}
