package schedule

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"mailer/internal/mailtest"
	"mailer/internal/store"
)

// machine is a computer with a crontab: a database, a clock, and processes that may die.
type machine struct {
	t  *testing.T
	st *store.Store

	mu     sync.Mutex
	now    time.Time
	moved  *sync.Cond // the clock
	rnd    *rand.Rand
	dead   map[string]bool
	deaths map[string]int
	begun  map[string][]time.Time // when each campaign was frozen
	missed map[string]int
	wrong  []error
}

func newMachine(t *testing.T, now time.Time) *machine {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := &machine{t: t, now: now, rnd: rand.New(rand.NewPCG(seed, 0)), dead: map[string]bool{}, deaths: map[string]int{},
		begun: map[string][]time.Time{}, missed: map[string]int{}}
	m.moved = sync.NewCond(&m.mu)
	var err error
	if m.st, err = store.Open(t.Context(), filepath.Join(t.TempDir(), "mailer.db"), store.Options{Now: m.clock, Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.st.Close() })
	return m
}

func (m *machine) clock() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *machine) set(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = now
	m.moved.Broadcast()
}

func (m *machine) gone(holder string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead[holder]
}

// perhaps is a chance of one in n.
func (m *machine) perhaps(n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rnd.IntN(n) == 0
}

// die ends the process, as kill -9 does: nothing that stands behind is run. A campaign is not killed for ever.
func (m *machine) die(holder, campaign string) {
	m.mu.Lock()
	if m.deaths[campaign]++; m.deaths[campaign] > 3 {
		m.mu.Unlock()
		return
	}
	m.dead[holder] = true
	m.mu.Unlock()
	runtime.Goexit()
}

// minutes waits until the clock was moved n times.
func (m *machine) minutes(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		before := m.now
		for m.now.Equal(before) && m.t.Context().Err() == nil {
			m.moved.Wait()
		}
	}
}

// begin freezes a campaign, or dies before or after; it may take its time.
func (m *machine) begin(holder string, slow bool, c store.Schedule) error {
	if m.perhaps(3) {
		m.die(holder, c.Name)
	}
	if slow {
		m.minutes(3)
	}
	_, err := m.st.CreateCampaign(context.Background(), store.Campaign{Name: c.Name, Class: c.Class, Content: c.Content, Options: c.Options,
		Expires: m.clock().Add(time.Hour), Claim: c.Claim}, store.Audience{Class: c.Class})
	if errors.Is(err, store.ErrExists) {
		err = store.ErrBusy
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.begun[c.Name] = append(m.begun[c.Name], m.now)
	m.mu.Unlock()
	if m.perhaps(3) {
		m.die(holder, c.Name)
	}
	return nil
}

// run is one process of the crontab.
func (m *machine) run(holder string, slow bool) {
	r := Runner{Store: m.st, Now: m.clock, Holder: holder, Gone: m.gone,
		Begin: func(_ context.Context, c store.Schedule) error { return m.begin(holder, slow, c) },
		GoOn:  func(context.Context, store.Going) error { return nil },
		Missed: func(c store.Schedule) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.missed[c.Name]++
		},
		Ended: func(name string, err error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if err != nil && !errors.Is(err, store.ErrBusy) {
				m.wrong = append(m.wrong, fmt.Errorf("%s: %w", name, err))
			}
		},
	}
	if err := r.Once(context.Background()); err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.wrong = append(m.wrong, err)
	}
}

// A crontab over a night in which the clocks change, one or two runs each minute, some slow, some killed, on a machine whose clock is set
// back by an hour, and which is off for an hour: each campaign begins once, at its time.
func TestCrontab(t *testing.T) {
	nights := []struct{ zone, change string }{
		{"Europe/Berlin", "2026-10-25T01:00:00Z"}, {"Europe/Berlin", "2026-03-29T01:00:00Z"},
		{"America/New_York", "2027-03-14T07:00:00Z"}, {"America/New_York", "2026-11-01T06:00:00Z"},
	}
	if mailtest.Race {
		nights = nights[:1] // it slows the store thirty-fold
	}
	for _, tt := range nights {
		t.Run(tt.zone+" "+tt.change[:7], func(t *testing.T) {
			t.Parallel()
			change, err := time.Parse(time.RFC3339, tt.change)
			if err != nil {
				t.Fatal(err)
			}
			crontab(t, change, zone(t, tt.zone))
		})
	}
}

func crontab(t *testing.T, change time.Time, z *time.Location) {
	start, end := change.Add(-2*time.Hour), change.Add(3*time.Hour)
	setBack := change.Add(80 * time.Minute) // to change + 20 min
	off, on := change.Add(100*time.Minute), change.Add(160*time.Minute)
	m := newMachine(t, start)
	plans := planNight(t, m, start.Add(5*time.Minute), end.Add(-20*time.Minute), z)

	var slow sync.WaitGroup
	n, back := 0, false
	for now := start; now.Before(end); now = now.Add(time.Minute) {
		if !back && !now.Before(setBack) {
			now, back = now.Add(-time.Hour), true
		}
		m.set(now)
		if back && !now.Before(off) && now.Before(on) {
			continue
		}
		var quick sync.WaitGroup
		for range 1 + n%2 {
			n++
			holder := fmt.Sprintf("run %d", n)
			if n%10 == 0 {
				slow.Go(func() { m.run(holder, true) })
				continue
			}
			quick.Go(func() { m.run(holder, false) })
		}
		quick.Wait()
	}
	ended := make(chan struct{})
	go func() { slow.Wait(); close(ended) }()
	for now := end; ; now = now.Add(time.Minute) {
		m.set(now)
		select {
		case <-ended:
			judgeNight(t, m, plans, off, on)
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// planNight plans campaigns, as a person writes their times.
func planNight(t *testing.T, m *machine, from, to time.Time, z *time.Location) []store.Schedule {
	t.Helper()
	var plans []store.Schedule
	refused := 0
	for at := from; at.Before(to); at = at.Add(11 * time.Minute) {
		got, err := At(at.In(z).Format("2006-01-02 15:04"), m.clock(), z)
		if err != nil { // it comes twice
			refused++
			got, err = At(at.In(z).Format("2006-01-02 15:04Z07:00"), m.clock(), z)
		}
		if err != nil || !got.Equal(at) {
			t.Fatalf("%v is taken for %v: %v", at, got, err)
		}
		late := 2 * time.Hour
		if len(plans)%2 == 0 {
			late = 30 * time.Minute
		}
		c := store.Schedule{Name: "at-" + at.Format("1504"), Class: "marketing", Content: "{}", Options: "{}", Request: "{}", At: got, Late: late}
		if err := m.st.Schedule(t.Context(), c, m.gone); err != nil {
			t.Fatal(err)
		}
		plans = append(plans, c)
	}
	_, before := from.In(z).Zone()
	_, after := to.In(z).Zone()
	if (after < before) != (refused > 0) {
		t.Errorf("%d times were refused as coming twice; the clock goes from %d to %d", refused, before, after)
	}
	return plans
}

// patience is how much later than planned a campaign may begin: three deaths, and a slow run before each.
const patience = 15 * time.Minute

func judgeNight(t *testing.T, m *machine, plans []store.Schedule, off, on time.Time) {
	t.Helper()
	for _, err := range m.wrong {
		t.Error(err)
	}
	late, missed := 0, 0
	for _, c := range plans {
		due := c.At
		// Who was due just before the machine went off may have been killed until then.
		if c.At.After(off.Add(-patience)) && c.At.Before(on) {
			due = on
		}
		begun := m.begun[c.Name]
		if m.missed[c.Name] == 1 && len(begun) == 0 && on.Sub(c.At) > c.Late && due.Equal(on) {
			missed++
			continue
		}
		if len(begun) != 1 || m.missed[c.Name] > 0 {
			t.Errorf("%s: begun at %v, missed %d times, killed %d times", c.Name, begun, m.missed[c.Name], m.deaths[c.Name])
			continue
		}
		if begun[0].Before(c.At) || begun[0].After(due.Add(patience)) {
			t.Errorf("%s: begun at %v", c.Name, begun[0])
		}
		if begun[0].Sub(c.At) > patience {
			late++
		}
	}
	if late == 0 || missed == 0 || len(m.deaths) == 0 {
		t.Errorf("%d begun late, %d missed, %d killed: the night shows nothing", late, missed, len(m.deaths))
	}
	left, err := m.st.Schedules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(left, func(c store.Schedule) bool { return c.State != store.ScheduleMissed }); i >= 0 {
		t.Errorf("%s is %s", left[i].Name, left[i].State)
	}
	t.Logf("%d planned, %d begun late, %d missed, %d killed", len(plans), late, missed, len(m.deaths))
}
