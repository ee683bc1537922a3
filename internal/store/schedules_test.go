package store

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func living(string) bool { return false }
func dead(string) bool   { return true }

// plan puts a campaign on the plan at a time.
func plan(t *testing.T, s *Store, name string, at time.Time) Schedule {
	t.Helper()
	c := Schedule{Name: name, Class: "marketing", ContentHash: "abc", Content: `{"subject":"News"}`, Segment: "everybody", Options: "{}",
		Request: `{"Limit":7}`, Recipients: 3, At: at, Late: 90 * time.Minute}
	if err := s.Schedule(t.Context(), c, living); err != nil {
		t.Fatal(err)
	}
	return c
}

func beginPlanned(t *testing.T, s *Store, name string, at time.Time, holder string) Schedule {
	t.Helper()
	c, err := s.Begin(t.Context(), name, at, holder, time.Minute, living)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// freezeClaimed freezes a campaign by its claim, as a run does.
func freezeClaimed(t *testing.T, s *Store, c Schedule) error {
	t.Helper()
	_, err := s.CreateCampaign(t.Context(), Campaign{Name: c.Name, Class: c.Class, Content: c.Content, Options: c.Options,
		Expires: s.now().Add(72 * time.Hour), Claim: c.Claim}, Audience{Class: c.Class})
	return err
}

func TestScheduleKeepsWhatWasPlanned(t *testing.T) {
	s, now := openTest(t)
	later := now.Add(2 * time.Hour)
	want := plan(t, s, "later", later)
	plan(t, s, "sooner", now.Add(time.Hour))
	got, err := s.Scheduled(t.Context(), "later")
	if err != nil {
		t.Fatal(err)
	}
	want.State, want.Created = SchedulePlanned, *now
	if !got.At.Equal(want.At) || !got.Created.Equal(want.Created) {
		t.Errorf("times: %v %v", got.At, got.Created)
	}
	got.At, got.Created = want.At, want.Created
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if names := planned(t, s); !slices.Equal(names, []string{"sooner planned", "later planned"}) {
		t.Errorf("planned: %q", names)
	}
	// Planned again: the new one counts, and its time.
	plan(t, s, "later", now.Add(time.Minute))
	if names := planned(t, s); !slices.Equal(names, []string{"later planned", "sooner planned"}) {
		t.Errorf("after it was moved: %q", names)
	}
	if _, err := s.Begin(t.Context(), "later", later, "a", time.Minute, living); !errors.Is(err, ErrNotPlanned) {
		t.Errorf("begun for the time that it had before: %v", err)
	}
	if err := s.Unschedule(t.Context(), "later", living); err != nil {
		t.Fatal(err)
	}
	if err := s.Unschedule(t.Context(), "later", living); !errors.Is(err, ErrNotPlanned) {
		t.Errorf("taken off twice: %v", err)
	}
	if _, err := s.Scheduled(t.Context(), "later"); !errors.Is(err, ErrNotPlanned) {
		t.Errorf("one that was taken off: %v", err)
	}
}

func planned(t *testing.T, s *Store) []string {
	t.Helper()
	all, err := s.Schedules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name+" "+c.State)
	}
	return names
}

func TestBeginClaimsOnce(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 3)
	at := now.Add(time.Hour)
	plan(t, s, "news", at)
	if _, err := s.Begin(t.Context(), "news", at, "a", time.Minute, living); !errors.Is(err, ErrNotPlanned) {
		t.Errorf("begun before its time: %v", err)
	}
	*now = at
	c := beginPlanned(t, s, "news", at, "a")
	if c.State != ScheduleBegun || c.Holder != "a" || c.Claim == "" || c.Content == "" || c.Request != `{"Limit":7}` {
		t.Errorf("claimed: %+v", c)
	}
	if _, err := s.Begin(t.Context(), "news", at, "b", time.Minute, living); !errors.Is(err, ErrBusy) {
		t.Errorf("claimed by a second process: %v", err)
	}
	if err := s.Schedule(t.Context(), c, living); !errors.Is(err, ErrBusy) {
		t.Errorf("planned anew while it begins: %v", err)
	}
	if err := s.Unschedule(t.Context(), "news", living); !errors.Is(err, ErrBusy) {
		t.Errorf("taken off while it begins: %v", err)
	}
	if missed, err := s.Miss(t.Context(), c, living); missed || err != nil {
		t.Errorf("missed while it begins: %v %v", missed, err)
	}
	if err := freezeClaimed(t, s, c); err != nil {
		t.Fatal(err)
	}
	// It has begun for good, whatever the clock says and whoever is dead.
	for _, shift := range []time.Duration{0, -time.Hour, 24 * time.Hour} {
		*now = at.Add(shift)
		if _, err := s.Begin(t.Context(), "news", at, "b", time.Minute, dead); !errors.Is(err, ErrNotPlanned) {
			t.Errorf("%v later: begun twice: %v", shift, err)
		}
	}
	if err := s.Schedule(t.Context(), c, dead); !errors.Is(err, ErrBegun) {
		t.Errorf("planned after it has begun: %v", err)
	}
	k, err := s.Campaign(t.Context(), "news")
	if err != nil || k.Balance.Planned != 3 {
		t.Fatalf("the campaign: %+v %v", k.Balance, err)
	}
	if text, err := s.RequestOf(t.Context(), k.ID); err != nil || text != `{"Limit":7}` {
		t.Errorf("how it goes on: %q %v", text, err)
	}
	if len(planned(t, s)) != 0 {
		t.Errorf("still planned: %q", planned(t, s))
	}
}

// A process that dies between its claim and the freeze leaves the campaign to the next; if it comes back late, it finds nothing.
func TestBeginAfterADeath(t *testing.T) {
	for _, tt := range []struct {
		name  string
		gone  func(string) bool
		later time.Duration
	}{
		{"known to have ended", dead, 0},
		{"its lease is over", living, time.Minute},
		{"known to have ended, and the clock was set back", dead, -time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, now := openTest(t)
			people(t, s, 1)
			at := *now
			plan(t, s, "news", at)
			first := beginPlanned(t, s, "news", at, "a")
			*now = at.Add(tt.later)
			second, err := s.Begin(t.Context(), "news", at, "b", time.Minute, tt.gone)
			if err != nil {
				t.Fatal(err)
			}
			if err := freezeClaimed(t, s, first); !errors.Is(err, ErrBusy) {
				t.Errorf("the first, come back: %v", err)
			}
			if _, err := s.Campaign(t.Context(), "news"); !errors.Is(err, ErrNoCampaign) {
				t.Errorf("something of it was frozen: %v", err)
			}
			if err := freezeClaimed(t, s, second); err != nil {
				t.Errorf("the second: %v", err)
			}
		})
	}
}

func TestUnbeginPutsItBack(t *testing.T) {
	s, now := openTest(t)
	plan(t, s, "news", *now)
	c := beginPlanned(t, s, "news", *now, "a")
	if err := s.Unbegin(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	again := beginPlanned(t, s, "news", *now, "b")
	if err := s.Unbegin(t.Context(), c); err != nil { // by whom it was taken from
		t.Fatal(err)
	}
	if err := freezeClaimed(t, s, again); err != nil {
		t.Errorf("another's claim was given back: %v", err)
	}
}

func TestMiss(t *testing.T) {
	s, now := openTest(t)
	c := plan(t, s, "news", *now)
	moved := c
	moved.At = now.Add(time.Hour)
	if missed, err := s.Miss(t.Context(), moved, living); missed || err != nil {
		t.Errorf("missed at a time that it does not have: %v %v", missed, err)
	}
	for i, want := range []bool{true, false} { // it is told once
		if missed, err := s.Miss(t.Context(), c, living); missed != want || err != nil {
			t.Errorf("time %d: %v %v", i+1, missed, err)
		}
	}
	if _, err := s.Begin(t.Context(), "news", *now, "a", time.Minute, living); !errors.Is(err, ErrNotPlanned) {
		t.Errorf("a missed one was begun: %v", err)
	}
	plan(t, s, "news", now.Add(time.Minute))
	if names := planned(t, s); !slices.Equal(names, []string{"news planned"}) {
		t.Errorf("planned again: %q", names)
	}
	// One that was claimed by a process that died is missed as others are.
	*now = now.Add(time.Minute)
	c = beginPlanned(t, s, "news", *now, "a")
	if missed, err := s.Miss(t.Context(), c, dead); !missed || err != nil {
		t.Errorf("after a death: %v %v", missed, err)
	}
	if err := freezeClaimed(t, s, c); !errors.Is(err, ErrBusy) {
		t.Errorf("frozen after it was missed: %v", err)
	}
}

// A campaign that is sent by hand is planned no more; a process that was about to begin it begins nothing.
func TestSentByHand(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 2)
	plan(t, s, "news", *now)
	c := beginPlanned(t, s, "news", *now, "a")
	freeze(t, s, "news", "marketing", Audience{})
	if err := freezeClaimed(t, s, c); !errors.Is(err, ErrExists) {
		t.Errorf("frozen twice: %v", err)
	}
	if names := planned(t, s); len(names) != 0 {
		t.Errorf("still planned: %q", names)
	}
}

// An untouched campaign that began by its plan may be replaced as any other.
func TestReplaceBegunByPlan(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 2)
	plan(t, s, "news", *now)
	if err := freezeClaimed(t, s, beginPlanned(t, s, "news", *now, "a")); err != nil {
		t.Fatal(err)
	}
	k, err := s.Campaign(t.Context(), "news")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.CreateCampaign(t.Context(), Campaign{Name: "news", Class: "marketing", Content: "{}", Options: "{}", Expires: now.Add(time.Hour), Replaces: k.ID}, Audience{Class: "marketing"})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := s.RequestOf(t.Context(), c.ID); err != nil || text != "" {
		t.Errorf("it goes on as the old one was planned: %q %v", text, err)
	}
}

func TestGoing(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 2)
	fresh := freeze(t, s, "fresh", "marketing", Audience{})
	waits := freeze(t, s, "waits", "marketing", Audience{})
	loose := freeze(t, s, "loose", "marketing", Audience{})
	ended := freeze(t, s, "ended", "marketing", Audience{})
	paused := freeze(t, s, "paused", "marketing", Audience{})
	next := now.Add(time.Hour)
	exec(t, s, "UPDATE deliveries SET state = 'deferred', next_try = ? WHERE campaign = ?", next.UnixMilli(), waits.ID)
	exec(t, s, "UPDATE deliveries SET state = 'sending' WHERE campaign = ?", loose.ID)
	exec(t, s, "UPDATE deliveries SET state = 'accepted' WHERE campaign = ?", ended.ID)
	if err := s.SetCampaignState(t.Context(), paused.Name, CampaignPaused, ""); err != nil {
		t.Fatal(err)
	}
	exec(t, s, "UPDATE campaigns SET stage = 'hold', held_until = ? WHERE id = ?", next.UnixMilli(), ended.ID)
	acquire(t, s, fresh, "a")
	got, err := s.Going(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	expires := now.Add(72 * time.Hour)
	want := []Going{
		{Campaign: fresh.ID, Name: "fresh", Holder: "a", Open: true},
		{Campaign: waits.ID, Name: "waits", Open: true, Next: next},
		{Campaign: loose.ID, Name: "loose", Loose: true},
		{Campaign: ended.ID, Name: "ended", Held: next},
	}
	for i := range want {
		want[i].Expires = expires
	}
	if !slices.EqualFunc(got, want, func(a, b Going) bool {
		same := a.Next.Equal(b.Next) && a.Expires.Equal(b.Expires) && a.Held.Equal(b.Held)
		a.Next, a.Expires, a.Held, b.Next, b.Expires, b.Held = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
		return same && a == b
	}) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLease(t *testing.T) {
	s, now := openTest(t)
	take := func(holder string, gone func(string) bool) (*Lease, error) {
		return s.Lease(t.Context(), "bounces", holder, time.Minute, gone)
	}
	first, err := take("a", living)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take("b", living); !errors.Is(err, ErrHeld) {
		t.Errorf("taken twice: %v", err)
	}
	*now = now.Add(50 * time.Second)
	if err := first.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(50 * time.Second)
	if _, err := take("b", living); !errors.Is(err, ErrHeld) {
		t.Errorf("taken after it was renewed: %v", err)
	}
	second, err := take("b", dead)
	if err != nil {
		t.Fatalf("of a process that has ended: %v", err)
	}
	if err := first.Renew(t.Context()); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("renewed after it was lost: %v", err)
	}
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := take("c", living); !errors.Is(err, ErrHeld) {
		t.Errorf("who lost it gave it away: %v", err)
	}
	*now = now.Add(time.Minute)
	third, err := take("c", living)
	if err != nil {
		t.Fatalf("when its time is over: %v", err)
	}
	if err := errors.Join(second.Release(t.Context()), third.Release(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := take("d", living); err != nil {
		t.Errorf("after it was given back: %v", err)
	}
}

// Whose address stands in a planned text is told, as with one that was sent.
func TestForgetNamesPlannedCampaigns(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 1)
	c := plan(t, s, "news", *now)
	c.Content = `{"body":"Write to P000@example.jp"}`
	if err := s.Schedule(t.Context(), c, living); err != nil {
		t.Fatal(err)
	}
	gone, err := s.ForgetContact(t.Context(), "p000@example.jp")
	if err != nil || !slices.Equal(gone.Campaigns, []string{"news"}) {
		t.Errorf("named in %q: %v", gone.Campaigns, err)
	}
}
