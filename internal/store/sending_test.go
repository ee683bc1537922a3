package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/pace"
)

// open makes a store in a folder of the test, with a clock that stands still until it is moved.
func openTest(t *testing.T) (*Store, *time.Time) {
	t.Helper()
	now := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "mailer.db"), Options{Now: func() time.Time { return now }, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, &now
}

func exec(t *testing.T, s *Store, query string, args ...any) {
	t.Helper()
	if err := s.update(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), query, args...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func people(t *testing.T, s *Store, n int) {
	t.Helper()
	for i := range n {
		addr := fmt.Sprintf("p%03d@example.jp", i)
		exec(t, s, "INSERT INTO contacts (key, address, fields, created_at, updated_at) VALUES (?, ?, '{}', 1, 1)", addr, addr)
	}
}

func freeze(t *testing.T, s *Store, name, class string, a Audience) Campaign {
	t.Helper()
	a.Class = class
	c, err := s.CreateCampaign(t.Context(), Campaign{Name: name, Class: class, Content: "{}", Options: "{}", Expires: s.now().Add(72 * time.Hour)}, a)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func acquire(t *testing.T, s *Store, c Campaign, holder string) (*Run, int64) {
	t.Helper()
	r, doubtful, err := s.Acquire(t.Context(), c, holder, time.Minute, func(string) bool { return false }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, doubtful
}

// dueOf is what can be sent now: first what was never tried.
func dueOf(t *testing.T, r *Run, limit int) ([]Due, error) {
	t.Helper()
	fresh, err := r.Fresh(t.Context(), nil, Among{}, 0, limit)
	if err != nil || len(fresh) == limit {
		return fresh, err
	}
	retries, err := r.Retries(t.Context(), nil, Among{}, limit-len(fresh))
	return append(fresh, retries...), err
}

func states(t *testing.T, s *Store, c Campaign) string {
	t.Helper()
	var all []string
	err := s.EachRecipient(t.Context(), c.ID, nil, func(r Recipient) error {
		text := string(r.State)
		if r.Reason != "" {
			text += "(" + r.Reason + ")"
		}
		all = append(all, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestAudienceIsFrozenWithItsExclusions(t *testing.T) {
	s, _ := openTest(t)
	people(t, s, 5)
	for _, p := range []Suppression{
		{Scope: "address", Key: "p000@example.jp", Blocks: "marketing", Reason: "unsubscribe"},
		{Scope: "address", Key: "p001@example.jp", Blocks: "all", Reason: "hard_bounce"},
	} {
		if err := s.update(t.Context(), func(tx *sql.Tx) error { _, err := s.suppress(t.Context(), tx, p); return err }); err != nil {
			t.Fatal(err)
		}
	}
	audience := Audience{Exclude: Where{SQL: "c.key = ?", Args: []any{"p002@example.jp"}}, Include: Where{SQL: "c.key <> ?", Args: []any{"p004@example.jp"}}}
	news := freeze(t, s, "news", "marketing", audience)
	if got, want := states(t, s, news), "excluded(suppressed: unsubscribe) excluded(suppressed: hard_bounce) excluded(excluded by expression) pending"; got != want {
		t.Errorf("marketing: %s", got)
	}
	notice := freeze(t, s, "notice", "operational", audience)
	if got, want := states(t, s, notice), "pending excluded(suppressed: hard_bounce) excluded(excluded by expression) pending"; got != want {
		t.Errorf("operational: %s", got)
	}
	audience.Class = "marketing"
	plan, err := s.Plan(t.Context(), audience)
	if err != nil || plan.All != 4 || plan.Sendable() != 1 || len(plan.Domains) != 1 || plan.Domains[0].Count != 1 {
		t.Errorf("plan %+v, %v", plan, err)
	}
	if _, err := s.CreateCampaign(t.Context(), Campaign{Name: "news", Class: "marketing", Content: "{}", Options: "{}"}, audience); !errors.Is(err, ErrExists) {
		t.Errorf("a second freeze of the same id: %v", err)
	}
	exec(t, s, "DELETE FROM contacts WHERE key = 'p003@example.jp'")
	if got := states(t, s, news); !strings.HasSuffix(got, "pending") {
		t.Errorf("the list was edited and the audience changed: %s", got)
	}
	run, _ := acquire(t, s, news, "a")
	due, err := dueOf(t, run, 10)
	if err != nil || len(due) != 1 || !due[0].Gone {
		t.Errorf("due %+v, %v", due, err)
	}
}

func TestClaimSendRecord(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 4)
	c := freeze(t, s, "news", "marketing", Audience{})
	run, _ := acquire(t, s, c, "a")
	due, err := dueOf(t, run, 10)
	if err != nil || len(due) != 4 {
		t.Fatalf("due %+v, %v", due, err)
	}
	var claims []Claim
	for _, d := range due {
		claims = append(claims, Claim{Delivery: d.ID, Relay: "main", MessageID: fmt.Sprint("m", d.ID)})
	}
	// Somebody unsubscribes between the freeze and the claim.
	if err := s.update(t.Context(), func(tx *sql.Tx) error {
		_, err := s.suppress(t.Context(), tx, Suppression{Scope: "address", Key: due[3].Key, Blocks: "marketing", Reason: "unsubscribe"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	got, state, err := run.Commit(t.Context(), claims, nil)
	if err != nil || state != CampaignSending || got[0].Attempt != 1 || got[3].Attempt != 0 || !got[3].Excluded {
		t.Fatalf("claimed %+v, %s, %v", got, state, err)
	}
	if again, _, err := run.Commit(t.Context(), claims[:1], nil); err != nil || again[0].Attempt != 0 {
		t.Errorf("the same delivery was claimed twice: %+v, %v", again, err)
	}
	outcomes := []Outcome{
		{Delivery: due[0].ID, Attempt: 1, Key: due[0].Key, Phase: delivery.PhaseDot, Reply: delivery.Reply{Code: 250, Text: "250 ok"}, Decision: delivery.Decision{State: delivery.Accepted}},
		{Delivery: due[1].ID, Attempt: 1, Key: due[1].Key, Phase: delivery.PhaseRcpt, Reply: delivery.Reply{Code: 550, Enhanced: "5.1.1", Text: "550 5.1.1 no"},
			Decision: delivery.Decision{State: delivery.Failed, Reason: "userunknown", Hard: true}},
		{Delivery: due[2].ID, Attempt: 1, Key: due[2].Key, Reply: delivery.Reply{Code: 451, Text: "451 later"}, Decision: delivery.Decision{State: delivery.Deferred, Reason: "onhold", NextTry: time.Minute}},
	}
	if _, _, err := run.Commit(t.Context(), nil, outcomes); err != nil {
		t.Fatal(err)
	}
	if got, want := states(t, s, c), "accepted failed(userunknown) deferred(onhold) excluded(suppressed: unsubscribe)"; got != want {
		t.Errorf("got %s", got)
	}
	var reason, evidence string
	if err := s.read.QueryRow("SELECT reason, evidence FROM suppressions WHERE key = ?", due[1].Key).Scan(&reason, &evidence); err != nil || reason != "hard_bounce" || evidence != "550 5.1.1 no" {
		t.Errorf("suppression of the dead address: %s %s %v", reason, evidence, err)
	}
	if due, _ := dueOf(t, run, 10); len(due) != 0 {
		t.Errorf("due before its time: %+v", due)
	}
	*now = now.Add(2 * time.Minute)
	due, _ = dueOf(t, run, 10)
	if len(due) != 1 || due[0].Attempts != 1 {
		t.Fatalf("due after its time: %+v", due)
	}
	// A claim that never went on the wire leaves no trace.
	if got, _, err := run.Commit(t.Context(), []Claim{{Delivery: due[0].ID, Relay: "main"}}, nil); err != nil || got[0].Attempt != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	if _, _, err := run.Commit(t.Context(), nil, []Outcome{{Delivery: due[0].ID, Attempt: 2}}); err != nil {
		t.Fatal(err)
	}
	if got := states(t, s, c); !strings.Contains(got, "deferred(onhold)") {
		t.Errorf("after a release: %s", got)
	}
	if n, err := run.Expire(t.Context()); n != 1 || err != nil {
		t.Errorf("expired %d, %v", n, err)
	}
	if err := run.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	done, err := s.Campaign(t.Context(), "news")
	if err != nil || done.State != CampaignFinished || done.Holder != "" {
		t.Errorf("after the last one: %+v, %v", done, err)
	}
	if b := done.Balance; b.Planned != 4 || b.Accepted != 1 || b.Failed != 2 || b.Excluded != 1 || !b.Balanced() {
		t.Errorf("balance %+v", b)
	}
}

func TestLeaseFencing(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 3)
	c := freeze(t, s, "news", "marketing", Audience{})
	old, _ := acquire(t, s, c, "old")
	due, _ := dueOf(t, old, 3)
	if _, _, err := old.Commit(t.Context(), []Claim{{Delivery: due[0].ID}, {Delivery: due[1].ID}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Acquire(t.Context(), c, "new", time.Minute, func(string) bool { return false }, nil); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "mailer campaigns pause news") {
		t.Fatalf("a second holder: %v", err)
	}
	*now = now.Add(2 * time.Minute) // the old one was suspended for longer than its lease
	fresh, doubtful := acquire(t, s, c, "new")
	if doubtful != 2 {
		t.Errorf("%d doubtful, want 2", doubtful)
	}
	// The old one comes back: it may say what it knows, and claim nothing.
	_, _, err := old.Commit(t.Context(), []Claim{{Delivery: due[2].ID}}, []Outcome{{Delivery: due[0].ID, Attempt: 1, Decision: delivery.Decision{State: delivery.Accepted}}})
	if !errors.Is(err, ErrLeaseLost) {
		t.Fatalf("a claim without the lease: %v", err)
	}
	if _, _, err := old.Commit(t.Context(), nil, []Outcome{{Delivery: due[0].ID, Attempt: 1, Decision: delivery.Decision{State: delivery.Accepted}}}); err != nil {
		t.Fatalf("facts without the lease: %v", err)
	}
	if got := states(t, s, c); !strings.HasPrefix(got, "accepted uncertain(") || !strings.HasSuffix(got, "pending") {
		t.Errorf("got %s", got)
	}
	if n, err := fresh.Resolve(t.Context(), true, s.now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("resolved %d, %v", n, err)
	}
	// A late outcome of an attempt that was given up changes nothing.
	again, _, err := fresh.Commit(t.Context(), []Claim{{Delivery: due[1].ID}}, nil)
	if err != nil || again[0].Attempt != 2 {
		t.Fatalf("%+v %v", again, err)
	}
	if _, _, err := old.Commit(t.Context(), nil, []Outcome{{Delivery: due[1].ID, Attempt: 1, Decision: delivery.Decision{State: delivery.Failed, Reason: "x"}}}); err != nil {
		t.Fatal(err)
	}
	if got := states(t, s, c); !strings.HasPrefix(got, "accepted sending") {
		t.Errorf("got %s", got)
	}
	// A holder whose process is gone loses the lease at once.
	if _, n, err := s.Acquire(t.Context(), c, "third", time.Minute, func(h string) bool { return h == "new" }, nil); err != nil || n != 1 {
		t.Errorf("after the holder's death: %d, %v", n, err)
	}
}

// What a process puts back after it was taken over must not hide in a campaign that has ended: a finished one goes on, of a
// cancelled one nothing is sent.
func TestWhatComesBackLate(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 2)
	c := freeze(t, s, "news", "marketing", Audience{})
	old, _ := acquire(t, s, c, "suspended")
	due, _ := dueOf(t, old, 2)
	if _, _, err := old.Commit(t.Context(), []Claim{{Delivery: due[0].ID}, {Delivery: due[1].ID}}, nil); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(2 * time.Minute)
	fresh, _ := acquire(t, s, c, "new")
	if err := fresh.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	check := func(campaign, deliveries string) {
		t.Helper()
		have, err := s.Campaign(t.Context(), "news")
		if got := states(t, s, c); err != nil || have.State != campaign || have.Finished.IsZero() != (campaign != CampaignFinished) || !strings.HasPrefix(got, deliveries) {
			t.Errorf("got %s, finished %v, %s, %v", have.State, have.Finished, got, err)
		}
	}
	back := func(i int) {
		t.Helper()
		if _, _, err := old.Commit(t.Context(), nil, []Outcome{{Delivery: due[i].ID, Attempt: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	check(CampaignFinished, "uncertain(")
	back(0)
	check(CampaignSending, "pending")
	if err := s.SetCampaignState(t.Context(), "news", CampaignCancelled, ""); err != nil {
		t.Fatal(err)
	}
	back(1)
	check(CampaignCancelled, "excluded(cancelled) excluded(cancelled)")
}

// The lease is renewed by whatever is committed, once a second.
func TestTheLeaseIsRenewed(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 1)
	c := freeze(t, s, "news", "marketing", Audience{})
	run, _ := acquire(t, s, c, "a")
	for range 70 {
		*now = now.Add(999 * time.Millisecond)
		if _, _, err := run.Commit(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		var left int64
		if err := s.read.QueryRow("SELECT lease_expires - ? FROM campaigns", s.millis()).Scan(&left); err != nil || left < 59_000 {
			t.Fatalf("%d ms are left, %v", left, err)
		}
	}
}

func TestPauseAndCancel(t *testing.T) {
	s, _ := openTest(t)
	people(t, s, 3)
	c := freeze(t, s, "news", "marketing", Audience{})
	run, _ := acquire(t, s, c, "a")
	if err := s.SetCampaignState(t.Context(), "news", CampaignPaused, ""); err != nil {
		t.Fatal(err)
	}
	if _, state, err := run.Commit(t.Context(), nil, nil); state != CampaignPaused || err != nil {
		t.Errorf("the sender is told %q, %v", state, err)
	}
	if err := s.SetCampaignState(t.Context(), "news", CampaignCancelled, ""); err != nil {
		t.Fatal(err)
	}
	if got := states(t, s, c); got != "excluded(cancelled) excluded(cancelled) excluded(cancelled)" {
		t.Errorf("got %s", got)
	}
	if err := s.SetCampaignState(t.Context(), "nix", CampaignPaused, ""); !errors.Is(err, ErrNoCampaign) {
		t.Errorf("got %v", err)
	}
}

// Of a campaign that is paused or cancelled nothing is claimed, and what comes back from the wire of a cancelled one is not
// tried again: a claim that was put back, a 4xx, what a killed process left.
func TestNothingIsClaimedOfAStoppedCampaign(t *testing.T) {
	s, _ := openTest(t)
	people(t, s, 4)
	c := freeze(t, s, "news", "marketing", Audience{})
	run, _ := acquire(t, s, c, "a")
	due, _ := dueOf(t, run, 4)
	claim := func(i int) Claimed {
		t.Helper()
		got, _, err := run.Commit(t.Context(), []Claim{{Delivery: due[i].ID}}, nil)
		if err != nil || len(got) != 1 {
			t.Fatalf("claim: %+v, %v", got, err)
		}
		return got[0]
	}
	claim(0)
	claim(1)
	claim(2)
	set := func(state string) {
		t.Helper()
		if err := s.SetCampaignState(t.Context(), "news", state, ""); err != nil {
			t.Fatal(err)
		}
	}
	set(CampaignPaused)
	if got := claim(3); got.Attempt != 0 {
		t.Errorf("claimed of a paused campaign: %+v", got)
	}
	if got := states(t, s, c); got != "sending sending sending pending" {
		t.Errorf("paused: %s", got)
	}
	set(CampaignCancelled)
	if _, _, err := run.Commit(t.Context(), nil, []Outcome{
		{Delivery: due[0].ID, Attempt: 1}, // put back
		{Delivery: due[1].ID, Attempt: 1, Decision: delivery.Decision{State: delivery.Deferred, Reason: "onhold"}},
	}); err != nil {
		t.Fatal(err)
	}
	if got := states(t, s, c); got != "excluded(cancelled) excluded(cancelled) sending excluded(cancelled)" {
		t.Errorf("cancelled: %s", got)
	}
	// What an older version, or a process that was taken over, left behind is found by the next one.
	exec(t, s, "UPDATE deliveries SET state = 'pending', reason = '' WHERE id = ?", due[0].ID)
	if _, _, err := s.Acquire(t.Context(), c, "b", time.Minute, func(string) bool { return true }, nil); err != nil {
		t.Fatal(err)
	}
	if got := states(t, s, c); !strings.HasPrefix(got, "excluded(cancelled) excluded(cancelled) uncertain(") {
		t.Errorf("the next process: %s", got)
	}
}

// The reply to a message becomes known after its user said to send it again, and before that was done: it is not.
func TestLateReplyBeforeASecondSending(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 1)
	c := freeze(t, s, "news", "marketing", Audience{})
	old, _ := acquire(t, s, c, "suspended")
	due, _ := dueOf(t, old, 1)
	if _, _, err := old.Commit(t.Context(), []Claim{{Delivery: due[0].ID}}, nil); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(2 * time.Minute)
	fresh, _ := acquire(t, s, c, "new")
	if n, err := fresh.Resolve(t.Context(), true, s.now().Add(time.Hour)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, _, err := old.Commit(t.Context(), nil, []Outcome{{Delivery: due[0].ID, Attempt: 1, Decision: delivery.Decision{State: delivery.Accepted}}}); err != nil {
		t.Fatal(err)
	}
	if got, _, err := fresh.Commit(t.Context(), []Claim{{Delivery: due[0].ID}}, nil); err != nil || got[0].Attempt != 0 {
		t.Errorf("claimed again although the relay has it: %+v, %v", got, err)
	}
	if got := states(t, s, c); got != "accepted" {
		t.Errorf("got %s", got)
	}
}

// What is retried has the time for it, also in a campaign that is paused at the moment.
func TestRetryInAPausedCampaignHasTime(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 1)
	c := freeze(t, s, "news", "marketing", Audience{})
	run, _ := acquire(t, s, c, "a")
	exec(t, s, "UPDATE deliveries SET state = 'failed', reason = 'x', attempts = 1")
	if err := s.SetCampaignState(t.Context(), "news", CampaignPaused, ""); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(100 * time.Hour)
	want := s.now().Add(72 * time.Hour)
	if n, err := run.RetryFailed(t.Context(), want); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	after, err := s.Campaign(t.Context(), "news")
	if err != nil || after.State != CampaignPaused || !after.Expires.Equal(want) {
		t.Errorf("state %s, expires %s, %v", after.State, after.Expires, err)
	}
}

// The number that somebody typed or expects is the number that is frozen, or nothing is.
func TestAChangedListFreezesNothing(t *testing.T) {
	s, _ := openTest(t)
	people(t, s, 3)
	c := Campaign{Name: "news", Class: "marketing", Content: "{}", Options: "{}"}
	if _, err := s.CreateCampaign(t.Context(), c, Audience{Class: "marketing", Exactly: 2}); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Campaign(t.Context(), "news"); !errors.Is(err, ErrNoCampaign) {
		t.Errorf("it was frozen all the same: %v", err)
	}
	if _, err := s.CreateCampaign(t.Context(), c, Audience{Class: "marketing", Exactly: 3}); err != nil {
		t.Error(err)
	}
}

// Every state that an attempt can end in can be written.
func TestEveryOutcomeCanBeWritten(t *testing.T) {
	s, _ := openTest(t)
	outcomes := []delivery.State{delivery.Accepted, delivery.Deferred, delivery.Failed, delivery.Uncertain, delivery.Excluded}
	people(t, s, len(outcomes))
	c := freeze(t, s, "news", "marketing", Audience{})
	run, _ := acquire(t, s, c, "a")
	due, _ := dueOf(t, run, 10)
	for i, state := range outcomes {
		got, _, err := run.Commit(t.Context(), []Claim{{Delivery: due[i].ID}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		o := Outcome{Delivery: due[i].ID, Key: due[i].Key, Attempt: got[0].Attempt, Decision: delivery.Decision{State: state, Reason: "x"}}
		if _, _, err := run.Commit(t.Context(), nil, []Outcome{o}); err != nil {
			t.Errorf("%s: %v", state, err)
		}
	}
	if got := states(t, s, c); got != "accepted(x) deferred(x) failed(x) uncertain(x) excluded(x)" {
		t.Errorf("got %s", got)
	}
}

// A failed write leaves nothing behind of its transaction: a trigger fails exactly the one we choose.
func TestFailedCommitWritesNothing(t *testing.T) {
	s, _ := openTest(t)
	people(t, s, 2)
	c := freeze(t, s, "news", "marketing", Audience{})
	run, _ := acquire(t, s, c, "a")
	due, _ := dueOf(t, run, 2)
	exec(t, s, "CREATE TRIGGER no BEFORE INSERT ON attempts BEGIN SELECT RAISE(ABORT, 'full'); END")
	if _, _, err := run.Commit(t.Context(), []Claim{{Delivery: due[0].ID}}, nil); err != nil {
		t.Fatal(err)
	}
	_, _, err := run.Commit(t.Context(), []Claim{{Delivery: due[1].ID}}, []Outcome{{Delivery: due[0].ID, Attempt: 1, Decision: delivery.Decision{State: delivery.Failed, Reason: "x"}}})
	if err == nil {
		t.Fatal("the trigger did not fire")
	}
	if got := states(t, s, c); got != "sending pending" {
		t.Errorf("got %s", got)
	}
}

func TestForeignNewerAndDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign.db")
	db, err := sql.Open("sqlite", foreign)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE somebody (x)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{foreign, text} {
		if _, err := Open(t.Context(), path, Options{}); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	newer := filepath.Join(dir, "newer.db")
	s, err := Open(t.Context(), newer, Options{})
	if err != nil {
		t.Fatal(err)
	}
	exec(t, s, "PRAGMA user_version = 99")
	s.Close()
	if _, err := Open(t.Context(), newer, Options{}); !errors.Is(err, ErrNewer) {
		t.Errorf("newer: %v", err)
	}
}

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mailer.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	exec(t, s, "INSERT INTO meta VALUES ('a', 'b')")
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", filepath.Base(name), st, err)
		}
	}
}

// Every connection of both pools has the pragmas: one that is run once on a pool is off on its other connections.
func TestPragmasHoldOnEveryConnection(t *testing.T) {
	s, _ := openTest(t)
	waits := map[string]string{"read": "15000", "write": "10"} // begin asks again
	for name, pool := range map[string]*sql.DB{"write": s.write, "read": s.read} {
		var conns []*sql.Conn
		for range pool.Stats().MaxOpenConnections {
			c, err := pool.Conn(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
			for pragma, want := range map[string]string{"foreign_keys": "1", "synchronous": "2", "journal_mode": "wal", "busy_timeout": waits[name]} {
				var got string
				if err := c.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
					t.Errorf("%s: %s = %s, want %s (%v)", name, pragma, got, want, err)
				}
			}
		}
		for _, c := range conns {
			c.Close()
		}
	}
	if _, err := s.read.Exec("DELETE FROM contacts"); err == nil {
		t.Error("the readers can write")
	}
}

func TestAuditIsChained(t *testing.T) {
	s, _ := openTest(t)
	for i := range 3 {
		if err := s.update(t.Context(), func(tx *sql.Tx) error { return s.audit(t.Context(), tx, "test", map[string]int{"n": i}) }); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := s.read.Query("SELECT at, actor, action, detail, prev, hash FROM audit ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	last := ""
	for rows.Next() {
		var at int64
		var actor, action, detail, prev, hash string
		if err := rows.Scan(&at, &actor, &action, &detail, &prev, &hash); err != nil {
			t.Fatal(err)
		}
		if prev != last || hash != auditHash(at, actor, action, detail, prev) {
			t.Errorf("the chain breaks at %s", detail)
		}
		last = hash
	}
}

// Long limits hold over restarts and processes, in any window of their length.
func TestLongLimits(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 30)
	c := freeze(t, s, "news", "marketing", Audience{})
	limit := pace.Limit{Name: "relay main/1h0m0s", N: 10, Per: time.Hour}
	var sent []time.Time
	for step := range 40 {
		run, _, err := s.Acquire(t.Context(), c, fmt.Sprint("process ", step), time.Minute, func(string) bool { return true },
			func(string, string) []pace.Limit { return []pace.Limit{limit} })
		if err != nil {
			t.Fatal(err)
		}
		due, err := dueOf(t, run, 3)
		if err != nil {
			t.Fatal(err)
		}
		var claims []Claim
		for _, d := range due {
			claims = append(claims, Claim{Delivery: d.ID})
		}
		got, _, err := run.Commit(t.Context(), claims, nil)
		if err != nil {
			t.Fatal(err)
		}
		var outcomes []Outcome
		for i, g := range got {
			switch {
			case g.Attempt > 0:
				sent = append(sent, *now)
				outcomes = append(outcomes, Outcome{Delivery: claims[i].Delivery, Attempt: 1, Decision: delivery.Decision{State: delivery.Accepted}})
			case !g.NotUntil.After(*now) || g.NotUntil.After(now.Add(limit.Per+limit.Per/60)):
				t.Errorf("at %s: next at %s", now, g.NotUntil)
			}
		}
		if _, _, err := run.Commit(t.Context(), nil, outcomes); err != nil {
			t.Fatal(err)
		}
		if err := run.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		*now = now.Add(4 * time.Minute)
	}
	if len(sent) != 30 {
		t.Errorf("%d of 30 were sent", len(sent))
	}
	for i := range sent {
		n := 0
		for _, at := range sent[i:] {
			if at.Sub(sent[i]) < time.Hour {
				n++
			}
		}
		if n > 10 {
			t.Errorf("%d in the hour from %s", n, sent[i])
		}
	}
}

// What runs while mail is flowing, or once a run, looks at no more rows than it is about.
func TestNoStatementOfARunLooksThroughTheCampaign(t *testing.T) {
	s, _ := openTest(t)
	for query, want := range map[string]string{
		freshText("marketing", ""):   "SEARCH d USING INDEX deliveries_open (campaign=? AND next_try=? AND id>?)",
		freshText("operational", ""): "SEARCH d USING INDEX deliveries_open (campaign=? AND next_try=? AND id>?)",
		retriesText("marketing", ""): "SEARCH d USING INDEX deliveries_open (campaign=? AND next_try>? AND next_try<?)",
		claimText(16, "marketing"):   "SEARCH deliveries USING INTEGER PRIMARY KEY (rowid=?)",
		claimText(16, "operational"): "SEARCH deliveries USING INTEGER PRIMARY KEY (rowid=?)",
		claimText(1, "marketing"):    "SEARCH deliveries USING INTEGER PRIMARY KEY (rowid=?)",
		acceptText(16):               "SEARCH deliveries USING INTEGER PRIMARY KEY (rowid=?)",
		acceptText(1):                "SEARCH deliveries USING INTEGER PRIMARY KEY (rowid=?)",
		excludeCancelled:             "SEARCH deliveries USING INDEX deliveries_open (campaign=? AND next_try>?)",
		finish:                       "SEARCH deliveries USING INDEX deliveries_open (campaign=? AND next_try>?)",
		"UPDATE deliveries SET state = 'failed' WHERE " + waiting: "SEARCH deliveries USING INDEX deliveries_open (campaign=? AND next_try>?)",
	} {
		var plan []string
		err := eachRow(t.Context(), s.read, func(rows *sql.Rows) error {
			var id, parent, unused int
			var detail string
			err := rows.Scan(&id, &parent, &unused, &detail)
			plan = append(plan, detail)
			return err
		}, "EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))...)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		text := strings.Join(plan, "\n")
		if !slices.Contains(plan, want) || strings.Contains(text, "TEMP B-TREE") || strings.Contains(text, "SCAN deliveries") || strings.Contains(text, "deliveries_campaign") {
			t.Errorf("%s\n%s\nwant %s", query, text, want)
		}
	}
}

// A run's connection closes with its run, or with the store: one left open would keep the WAL from being folded in, and the next
// command would read the whole file for damage.
func TestNoConnectionOfARunIsLeft(t *testing.T) {
	for _, closes := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "mailer.db")
		s, err := Open(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		people(t, s, 2)
		c := freeze(t, s, "news", "marketing", Audience{})
		run, _ := acquire(t, s, c, "a")
		if _, _, err := run.Commit(t.Context(), []Claim{{Delivery: 1}}, nil); err != nil {
			t.Fatal(err)
		}
		if closes {
			err = run.Close(t.Context())
		}
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if leftovers(path) {
			t.Errorf("run closed %v: there is a WAL", closes)
		}
	}
}

// A run waits for the lock as long as its lease lasts, for another campaign may be frozen meanwhile; it gives its place up to a
// context that ends, and can go on afterwards.
func TestARunWaitsForTheLock(t *testing.T) {
	s, _ := openTest(t)
	people(t, s, 1)
	c := freeze(t, s, "news", "marketing", Audience{})
	run, _ := acquire(t, s, c, "a")
	locked, release := make(chan bool), make(chan bool)
	freezing := make(chan error, 1)
	go func() {
		freezing <- s.update(context.Background(), func(*sql.Tx) error {
			close(locked)
			<-release
			return nil
		})
	}()
	<-locked
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := run.Commit(ctx, []Claim{{Delivery: 1}}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	waited := make(chan error, 1)
	go func() {
		_, _, err := run.Commit(context.Background(), []Claim{{Delivery: 1}}, nil)
		waited <- err
	}()
	select {
	case err := <-waited:
		t.Errorf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := errors.Join(<-freezing, <-waited); err != nil {
		t.Error(err)
	}
	if got := states(t, s, c); got != "sending" {
		t.Errorf("got %s", got)
	}
}

func TestHolderName(t *testing.T) {
	for holder, want := range map[string]string{
		"vm/pid:[4026531836]/0b5c pid 812 start 99": "process 812 on vm", "host pid 7": "process 7 on host", "another": "another", "": "",
	} {
		if got := HolderName(holder); got != want {
			t.Errorf("%q: %q, want %q", holder, got, want)
		}
	}
}
