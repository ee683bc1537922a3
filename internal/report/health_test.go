package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/store"
)

var mixed = []store.Tally{
	{Domain: "a.example", State: delivery.Accepted, Count: 900, Attempted: 900},
	{Domain: "a.example", State: delivery.Bounced, Reason: bounce.UserUnknown, Count: 12, Attempted: 12, Hard: 10},
	{Domain: "b.example", State: delivery.Bounced, Reason: bounce.UserUnknown, Count: 3, Attempted: 3, Hard: 3},
	{Domain: "a.example", State: delivery.Failed, Reason: bounce.UserUnknown, Count: 5, Attempted: 5},
	{Domain: "a.example", State: delivery.Failed, Reason: bounce.Blocked, Count: 7, Attempted: 7},
	{Domain: "a.example", State: delivery.Failed, Reason: "compose", Count: 9},
	{Domain: "b.example", State: delivery.Complained, Count: 2, Attempted: 2},
	{Domain: "b.example", State: delivery.Deferred, Reason: bounce.MailboxFull, Count: 71, Attempted: 71},
}

func TestReturns(t *testing.T) {
	var got []string
	for _, r := range returns(mixed, func(domain string) string { return strings.TrimSuffix(domain, ".example") }) {
		got = append(got, fmt.Sprintf("%s %s %s %v %s", r.Provider, r.State, r.Reason, r.Hard, r.Rate()))
	}
	want := "a bounced userunknown true 1.1% (10 of 924), a failed blocked false 0.8% (7 of 924), a failed userunknown true 0.5% (5 of 924), " +
		"b bounced userunknown true 3.9% (3 of 76), a bounced userunknown false 0.2% (2 of 924)"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

func TestHealth(t *testing.T) {
	all := health(mixed)
	if all[0].Rate != (Rate{18, 1000}) || all[1].Rate != (Rate{9, 1000}) || all[2].Rate != (Rate{2, 902}) {
		t.Errorf("%+v", all)
	}
	if all[0].Verdict != "too high" || all[1].Verdict != "good" || all[2].Verdict != "watch" {
		t.Errorf("%+v", all)
	}
	if got := health(nil); got[0].Verdict != "" || got[0].Words() != "" {
		t.Errorf("of nothing: %+v", got)
	}
	text, err := json.Marshal(all[2])
	if err != nil || !strings.HasPrefix(string(text), `{"name":"complaints","rate":{"count":2,"of":902,"rate":0.002`) || !strings.HasSuffix(string(text), `"limit":0.001,"verdict":"watch"}`) {
		t.Errorf("%s, %v", text, err)
	}
}

// TestInterval against figures from the books.
func TestInterval(t *testing.T) {
	for _, c := range []struct {
		n, of int64
		want  string
	}{{0, 1000, "0.00% to 0.38%"}, {1, 1000, "0.02% to 0.56%"}, {3, 1000, "0.10% to 0.88%"}, {1000, 1000, "99.62% to 100.00%"}} {
		if got := (Health{Rate: Rate{c.n, c.of}}).Words(); got != c.want {
			t.Errorf("%d of %d: %s, want %s", c.n, c.of, got, c.want)
		}
	}
}
