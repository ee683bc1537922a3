package store

import (
	"context"
	"fmt"
	"testing"
)

func suppressionsOf(t *testing.T, s *Store, f SuppressionFilter) string {
	t.Helper()
	var all []string
	if err := s.Suppressions(context.Background(), f, func(r SuppressionRow) error {
		all = append(all, r.Scope+" "+r.Key+" "+r.Reason+"/"+r.Blocks+" "+r.Evidence)
		if r.Since.IsZero() {
			t.Errorf("%s: no date", r.Key)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(all)
}

// Who blocked marketing only, and now all, is blocked from all; never the other way round.
func TestSuppressionBlocksMoreNeverLess(t *testing.T) {
	s, _ := openTest(t)
	batch := []Suppression{{Scope: "address", Key: "a@x.example", Blocks: "marketing", Reason: "unsubscribe", Evidence: "first"}}
	for i, step := range []struct {
		blocks, want string
		added        int
	}{{"marketing", "marketing", 1}, {"marketing", "marketing", 0}, {"all", "all", 1}, {"marketing", "all", 0}} {
		batch[0].Blocks = step.blocks
		n, err := s.AddSuppressions(t.Context(), batch, "test")
		want := "[address a@x.example unsubscribe/" + step.want + " first]"
		if got := suppressionsOf(t, s, SuppressionFilter{}); got != want || n != step.added || err != nil {
			t.Errorf("step %d: %s, %d added, %v; want %s", i, got, n, err, want)
		}
		batch[0].Evidence = "second"
	}
}

func TestSuppressionsAreKeptWithTheirFirstEvidence(t *testing.T) {
	s, _ := openTest(t)
	ctx := context.Background()
	batch := []Suppression{
		{Scope: "address", Key: "a@x.example", Blocks: "all", Reason: "manual", Evidence: "asked by phone"},
		{Scope: "address", Key: "a@x.example", Blocks: "marketing", Reason: "unsubscribe"},
		{Scope: "domain", Key: "y.example", Blocks: "all", Reason: "manual"},
	}
	if n, err := s.AddSuppressions(ctx, batch, "test"); n != 3 || err != nil {
		t.Fatalf("added %d, %v", n, err)
	}
	batch[0].Evidence = "something else"
	if n, err := s.AddSuppressions(ctx, batch, "test"); n != 0 || err != nil {
		t.Errorf("added %d again, %v", n, err)
	}
	want := "[address a@x.example manual/all asked by phone address a@x.example unsubscribe/marketing  domain y.example manual/all ]"
	if got := suppressionsOf(t, s, SuppressionFilter{}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := suppressionsOf(t, s, SuppressionFilter{Reason: "unsubscribe"}); got != "[address a@x.example unsubscribe/marketing ]" {
		t.Errorf("by reason: %s", got)
	}

	lifted, err := s.RemoveSuppression(ctx, "address", "a@x.example", "unsubscribe", "signed up again")
	if err != nil || len(lifted) != 1 || lifted[0].Reason != "unsubscribe" {
		t.Errorf("lifted %v, %v", lifted, err)
	}
	if lifted, err = s.RemoveSuppression(ctx, "address", "a@x.example", "", ""); err != nil || len(lifted) != 1 {
		t.Errorf("lifted %v, %v", lifted, err)
	}
	if lifted, err = s.RemoveSuppression(ctx, "address", "a@x.example", "", ""); err != nil || len(lifted) != 0 {
		t.Errorf("lifted %v again, %v", lifted, err)
	}
	var events, audit string
	if err := s.read.QueryRow("SELECT group_concat(kind, ' ') FROM (SELECT kind FROM events ORDER BY id)").Scan(&events); err != nil {
		t.Fatal(err)
	}
	if err := s.read.QueryRow("SELECT group_concat(action, ' ') FROM (SELECT action FROM audit ORDER BY id)").Scan(&audit); err != nil {
		t.Fatal(err)
	}
	if events != "suppress suppress suppress unsuppress unsuppress" || audit != "suppressions.add suppressions.remove suppressions.remove" {
		t.Errorf("events %s; audit %s", events, audit)
	}
}
