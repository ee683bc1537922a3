package report

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"mailer/internal/delivery"
	"mailer/internal/store"
)

// A rate never claims all or nothing where it is not so.
func TestPercent(t *testing.T) {
	for _, tt := range []struct {
		n, of int64
		want  string
	}{
		{0, 0, "–"}, {0, 7, "0%"}, {7, 7, "100%"}, {1, 3, "33.3%"}, {2, 3, "66.7%"},
		{1, 1_000_000, "<0.1%"}, {999_999, 1_000_000, ">99.9%"}, {9994, 10000, "99.9%"}, {6, 10000, "0.1%"},
	} {
		if got := (Rate{tt.n, tt.of}).Percent(); got != tt.want {
			t.Errorf("%d of %d: %s, want %s", tt.n, tt.of, got, tt.want)
		}
	}
	if got := (Rate{95, 100}).String(); got != "95.0% (95 of 100)" {
		t.Errorf("got %s", got)
	}
}

func TestRateInJSONCarriesItsNumbers(t *testing.T) {
	for r, want := range map[Rate]string{{1, 4}: `{"count":1,"of":4,"rate":0.25}`, {0, 0}: `{"count":0,"of":0,"rate":null}`} {
		if got, err := json.Marshal(r); err != nil || string(got) != want {
			t.Errorf("got %s, %v", got, err)
		}
	}
}

func TestRates(t *testing.T) {
	var c Counts
	for _, tally := range []store.Tally{
		{State: delivery.Accepted, Count: 90, Attempted: 90}, {State: delivery.Bounced, Count: 6, Attempted: 6, Hard: 4},
		{State: delivery.Complained, Count: 1, Attempted: 1}, {State: delivery.Failed, Count: 2, Attempted: 1}, {State: delivery.Deferred, Count: 1, Attempted: 1},
		{State: delivery.Uncertain, Count: 1, Attempted: 1}, {State: delivery.Excluded, Count: 10}, {State: delivery.Pending, Count: 5},
		{State: delivery.Accepted, Unsubscribes: 3},
	} {
		c.add(tally)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	want := Rates{Delivery: Rate{91, 100}, Bounce: Rate{6, 100}, Complaint: Rate{1, 91}, Unsubscribe: Rate{3, 91}}
	if got := c.Rates(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if c.Planned != 116 || c.Accepted != 97 || c.BouncedHard != 4 || c.BouncedSoft != 2 || c.Remaining != 5 {
		t.Errorf("got %+v", c)
	}
}

func TestCheckSeesWhatDoesNotAddUp(t *testing.T) {
	good := Counts{Balance: delivery.Balance{Planned: 10, Accepted: 8, Excluded: 2}, Attempted: 8, BouncedHard: 3, Complaints: 1}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Counts){
		"somebody is missing":            func(c *Counts) { c.Planned++ },
		"accepted without an attempt":    func(c *Counts) { c.Attempted = 7 },
		"more attempted than there were": func(c *Counts) { c.Attempted = 9 },
		"more hard than bounced":         func(c *Counts) { c.BouncedSoft = -1 },
		"complaints about nothing":       func(c *Counts) { c.Complaints = 6 },
	} {
		c := good
		spoil(&c)
		if c.Check() == nil {
			t.Errorf("%s: not seen", name)
		}
	}
}

// Whatever the tallies are, the parts of the bar and the groups add up to the planned.
func TestPartsAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var tallies []store.Tally
		var whole Counts
		for range r.IntN(60) {
			n := r.Int64N(1000)
			tally := store.Tally{Domain: strings.Repeat("d", 1+r.IntN(30)), State: delivery.States()[r.IntN(9)], Count: n, Hard: r.Int64N(n + 1)}
			if tally.State != delivery.Excluded {
				tally.Attempted = n
			}
			tallies = append(tallies, tally)
			whole.add(tally)
		}
		if err := whole.Check(); err != nil {
			t.Fatal(err)
		}
		var sum Counts
		groups := top(group(tallies, func(t store.Tally) string { return t.Domain }), largest)
		for _, g := range groups {
			sum.plus(g.Counts)
		}
		if sum != whole || len(groups) > largest+1 {
			t.Fatalf("%d groups add up to %+v, not %+v", len(groups), sum, whole)
		}
		var parts int64
		for _, s := range slicesOf(whole) {
			parts += s.Count
		}
		if parts != whole.Planned {
			t.Fatalf("the bar shows %d of %d", parts, whole.Planned)
		}
	}
}
