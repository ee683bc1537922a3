package store

import (
	"errors"
	"testing"
	"time"
)

// A campaign that nobody was tried of is frozen anew, with other words for other people, while two processes hold the old
// one: one that froze it and has no lease yet, one that was suspended with its lease. Neither may touch the new one.
func TestAReplacedCampaignIsOutOfReach(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 3)
	old := freeze(t, s, "news", "marketing", Audience{})
	suspended, _ := acquire(t, s, old, "suspended")
	due, err := dueOf(t, suspended, 3)
	if err != nil || len(due) != 3 {
		t.Fatal(due, err)
	}
	if free, err := s.Untouched(t.Context(), old.ID); free || err != nil {
		t.Errorf("free while somebody holds it: %v", err)
	}
	*now = now.Add(2 * time.Minute)
	fresh, err := s.CreateCampaign(t.Context(), Campaign{Name: "news", Class: "marketing", Content: "{}", Options: "{}", Replaces: old.ID, Expires: s.now().Add(time.Hour)},
		Audience{Class: "marketing"})
	if err != nil {
		t.Fatal(err)
	}
	run, _ := acquire(t, s, fresh, "new")
	if _, _, err := suspended.Commit(t.Context(), []Claim{{Delivery: due[0].ID}}, nil); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("the suspended one claims in the new campaign: %v", err)
	}
	if _, _, err := s.Acquire(t.Context(), old, "late", time.Minute, func(string) bool { return true }, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("the late one takes the new campaign with the old words: %v", err)
	}
	again, err := dueOf(t, run, 10)
	if err != nil || len(again) != 3 || again[0].ID <= due[2].ID {
		t.Errorf("ids are used again: %+v, %v", again, err)
	}
	if got := states(t, s, fresh); got != "pending pending pending" {
		t.Errorf("got %s", got)
	}
}

// What may have been tried is never frozen anew: a claim that came back after it was held for uncertain left a trace.
func TestATouchedCampaignIsNotReplaced(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 1)
	c := freeze(t, s, "news", "marketing", Audience{})
	run, _ := acquire(t, s, c, "suspended")
	due, _ := dueOf(t, run, 1)
	if _, _, err := run.Commit(t.Context(), []Claim{{Delivery: due[0].ID}}, nil); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(2 * time.Minute)
	next, doubtful := acquire(t, s, c, "next")
	if doubtful != 1 {
		t.Fatal(doubtful)
	}
	if _, _, err := run.Commit(t.Context(), nil, []Outcome{{Delivery: due[0].ID, Attempt: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := next.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if free, err := s.Untouched(t.Context(), c.ID); free || err != nil {
		t.Errorf("untouched: %v, %v", free, err)
	}
}
