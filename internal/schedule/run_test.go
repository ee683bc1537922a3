package schedule

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailer/internal/store"
)

func living(string) bool { return false }

func TestDue(t *testing.T) {
	now := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
	planned := func(name string, at time.Duration, late time.Duration) store.Schedule {
		return store.Schedule{Name: name, State: store.SchedulePlanned, At: now.Add(at), Late: late}
	}
	begun := func(name, holder string, at time.Duration) store.Schedule {
		return store.Schedule{Name: name, State: store.ScheduleBegun, At: now.Add(at), Late: time.Hour, Holder: holder}
	}
	going := func(name, holder string, next time.Duration) store.Going {
		return store.Going{Name: name, Holder: holder, Open: true, Next: now.Add(next), Expires: now.Add(time.Hour)}
	}
	gone := func(holder string) bool { return holder == "dead" }
	got := Due(now, []store.Schedule{
		planned("late-2m", -2*time.Minute, 0), planned("late-2m-1s", -2*time.Minute-time.Second, 0), planned("now", 0, 0), planned("soon", time.Millisecond, 0),
		planned("late-1h", -time.Hour, time.Hour), planned("late-61m", -61*time.Minute, time.Hour),
		begun("begins", "alive", -time.Minute), begun("died", "dead", -time.Minute), begun("lease-over", "", -time.Minute),
		begun("died-set-back", "dead", time.Hour), begun("died-late", "dead", -2*time.Hour),
		{Name: "missed", State: store.ScheduleMissed, At: now.Add(-time.Hour), Late: time.Hour},
	}, []store.Going{
		going("on-now", "", 0), going("on-later", "", time.Millisecond), going("on-held", "alive", 0), going("on-died", "dead", 0),
		{Name: "on-pending", Open: true, Expires: now.Add(time.Hour)}, {Name: "on-ended", Expires: now.Add(time.Hour)},
		{Name: "on-loose", Open: true, Next: now.Add(time.Hour), Expires: now.Add(time.Hour), Loose: true},
		{Name: "on-expired", Open: true, Next: now.Add(time.Hour), Expires: now},
		{Name: "on-seen", Open: true, Held: now, Expires: now.Add(time.Hour)},
		{Name: "on-watched", Open: true, Held: now.Add(time.Second), Expires: now.Add(time.Hour)},
	}, gone)
	var names []string
	for _, s := range got {
		names = append(names, fmt.Sprint(s.Do, " ", s.Campaign))
	}
	want := []string{"0 late-2m-1s", "0 late-61m", "0 died-late", "1 late-2m", "1 now", "1 late-1h", "1 died", "1 lease-over", "1 died-set-back",
		"2 on-now", "2 on-died", "2 on-pending", "2 on-ended", "2 on-loose", "2 on-expired", "2 on-seen"}
	if !slices.Equal(names, want) {
		t.Errorf("got  %q\nwant %q", names, want)
	}
}

// runner is a Runner on a store of its own, with campaigns that are due, and what it told.
type runner struct {
	Runner
	mu    sync.Mutex
	ended map[string]error
}

func newRunner(t *testing.T, due ...string) *runner {
	t.Helper()
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "mailer.db"), store.Options{Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	r := &runner{ended: map[string]error{}}
	r.Runner = Runner{Store: st, Now: time.Now, Holder: "this", Gone: living,
		Begin:  func(context.Context, store.Schedule) error { return nil },
		GoOn:   func(context.Context, store.Going) error { return nil },
		Missed: func(c store.Schedule) { t.Errorf("%s was missed", c.Name) },
		Ended: func(name string, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if _, twice := r.ended[name]; twice {
				t.Errorf("%s ended twice", name)
			}
			r.ended[name] = err
		}}
	for _, name := range due {
		err := st.Schedule(t.Context(), store.Schedule{Name: name, Class: "marketing", Content: "{}", Options: "{}", Request: "{}", At: time.Now(), Late: time.Hour}, living)
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestOnceRunsFourSideBySide(t *testing.T) {
	var names []string
	for i := range 11 {
		names = append(names, fmt.Sprint("c", i))
	}
	r := newRunner(t, names...)
	var now, most atomic.Int64
	four, open := make(chan struct{}), sync.Once{}
	r.Begin = func(context.Context, store.Schedule) error {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == AtOnce {
			open.Do(func() { close(four) })
		}
		<-four // those that come later find it open
		return nil
	}
	if err := r.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.ended) != len(names) || most.Load() != AtOnce {
		t.Errorf("%d ended, %d at once", len(r.ended), most.Load())
	}
}

func TestOneThatFailsStopsNoOther(t *testing.T) {
	r := newRunner(t, "good", "bad", "busy")
	broken, sync := errors.New("broken"), errors.New("no mailbox")
	r.Begin = func(_ context.Context, c store.Schedule) error {
		return map[string]error{"bad": broken, "busy": store.ErrBusy}[c.Name]
	}
	r.Sync = func(context.Context) error { return sync }
	if err := r.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"good": nil, "bad": broken, "busy": store.ErrBusy, Bounces: sync} {
		if err, told := r.ended[name]; !told || !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	// What failed before it was frozen is planned as before; what did not is claimed, and this process lives.
	all, err := r.Store.Schedules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		want := store.SchedulePlanned
		if c.Name == "good" {
			want = store.ScheduleBegun
		}
		if c.State != want {
			t.Errorf("%s is %s, want %s", c.Name, c.State, want)
		}
	}
}

// Two runs that overlap: each campaign is begun by one of them, and one of them reads the bounces.
func TestRunsOverlap(t *testing.T) {
	r := newRunner(t, "a", "b", "c", "d", "e", "f")
	var begun, reading, read atomic.Int64
	r.Begin = func(context.Context, store.Schedule) error { begun.Add(1); return nil }
	r.Ended = func(string, error) {}
	r.Sync = func(context.Context) error {
		if reading.Add(1) > 1 {
			t.Error("two read the bounces")
		}
		time.Sleep(20 * time.Millisecond)
		read.Add(1)
		reading.Add(-1)
		return nil
	}
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if err := r.Once(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if begun.Load() != 6 || read.Load() == 0 {
		t.Errorf("%d begun, bounces read %d times", begun.Load(), read.Load())
	}
}

func TestOnceEndsWithItsContext(t *testing.T) {
	r := newRunner(t, "a", "b", "c", "d", "e", "f")
	ctx, stop := context.WithCancel(t.Context())
	var begun atomic.Int64
	r.Begin = func(ctx context.Context, _ store.Schedule) error {
		if begun.Add(1) == AtOnce {
			stop()
		}
		<-ctx.Done()
		return ctx.Err()
	}
	if err := r.Once(ctx); err != nil {
		t.Fatal(err)
	}
	all, err := r.Store.Schedules(t.Context())
	if err != nil || len(all) != 6 || begun.Load() != AtOnce {
		t.Fatalf("%d planned, %d begun: %v", len(all), begun.Load(), err)
	}
	for _, c := range all {
		if c.State != store.SchedulePlanned {
			t.Errorf("%s is %s", c.Name, c.State)
		}
	}
}

// What may not go on at this hour is passed over, and what cannot be told is told.
func TestReady(t *testing.T) {
	r := newRunner(t)
	for _, name := range []string{"open", "closed", "broken"} {
		_, err := r.Store.CreateCampaign(t.Context(), store.Campaign{Name: name, Class: "marketing", Content: "{}", Options: "{}", Expires: time.Now().Add(time.Hour)}, store.Audience{Class: "marketing"})
		if err != nil {
			t.Fatal(err)
		}
	}
	broken := errors.New("broken")
	r.Ready = func(_ context.Context, g store.Going) (bool, error) {
		if g.Name == "broken" {
			return false, broken
		}
		return g.Name == "open", nil
	}
	if err := r.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, on := r.ended["open"]; !on || len(r.ended) != 2 || !errors.Is(r.ended["broken"], broken) {
		t.Errorf("ended: %v", r.ended)
	}
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now().Truncate(time.Minute).Add(40 * time.Second)
		time.Sleep(time.Until(begin))
		ctx, stop := context.WithCancel(t.Context())
		var mu sync.Mutex
		var at []string
		ended := 0
		time.AfterFunc(4*time.Minute, stop)
		Every(ctx, time.Now, func(_ context.Context, n int) {
			mu.Lock()
			at = append(at, fmt.Sprintf("%d %v", n, time.Since(begin)))
			mu.Unlock()
			time.Sleep(90 * time.Second) // beyond the next minute
			mu.Lock()
			defer mu.Unlock()
			ended++
		})
		if want := []string{"0 0s", "1 20s", "2 1m20s", "3 2m20s", "4 3m20s"}; !slices.Equal(at, want) || ended != len(want) {
			t.Errorf("swept at %q, %d ended; want %q", at, ended, want)
		}
	})
}
