package suppression

import (
	"fmt"
	"testing"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
)

func failed(address, reason string, hard bool) bounce.Recipient {
	return bounce.Recipient{Recipient: address, Status: "5.1.1", Reply: "550", Reason: reason, Hard: hard, Action: bounce.ActionFailed, Text: "550 text"}
}

func TestDecide(t *testing.T) {
	delayed := bounce.Recipient{Recipient: "a@x.example", Reason: "expired", Action: bounce.ActionDelayed}
	for _, c := range []struct {
		name string
		v    bounce.Verdict
		want string // event, state, reason, suppress
	}{
		{"hard", bounce.Verdict{Kind: bounce.KindBounce, Bounces: []bounce.Recipient{failed("a@x.example", "userunknown", true)}}, "bounce bounced userunknown hard_bounce"},
		{"soft", bounce.Verdict{Kind: bounce.KindBounce, Bounces: []bounce.Recipient{failed("a@x.example", "mailboxfull", false)}}, "soft_bounce bounced mailboxfull -"},
		{"delayed", bounce.Verdict{Kind: bounce.KindBounce, Bounces: []bounce.Recipient{delayed}}, "- accepted - -"},
		{"forwarded elsewhere", bounce.Verdict{Kind: bounce.KindBounce, Bounces: []bounce.Recipient{failed("other@y.example", "userunknown", true)}}, "bounce bounced userunknown hard_bounce"},
		{"one of several targets lives", bounce.Verdict{Kind: bounce.KindBounce, Bounces: []bounce.Recipient{failed("o@y.example", "userunknown", true), failed("p@y.example", "mailboxfull", false)}}, "soft_bounce bounced mailboxfull -"},
		{"ours among several", bounce.Verdict{Kind: bounce.KindBounce, Bounces: []bounce.Recipient{failed("p@y.example", "mailboxfull", false), failed("A@X.example", "userunknown", true)}}, "bounce bounced userunknown hard_bounce"},
		{"one target only delayed", bounce.Verdict{Kind: bounce.KindBounce, Bounces: []bounce.Recipient{failed("o@y.example", "userunknown", true), delayed}}, "- accepted - -"},
		{"complaint", bounce.Verdict{Kind: bounce.KindComplaint, FeedbackType: "abuse"}, "complaint complained complaint complaint"},
		{"opt-out report", bounce.Verdict{Kind: bounce.KindComplaint, FeedbackType: "opt-out"}, "unsubscribe accepted - unsubscribe"},
		{"unsubscribe", bounce.Verdict{Kind: bounce.KindUnsubscribe}, "unsubscribe accepted - unsubscribe"},
		{"vacation", bounce.Verdict{Kind: bounce.KindAutoreply}, "autoreply accepted - -"},
		{"delivered", bounce.Verdict{Kind: bounce.KindDelivered}, "delivered accepted - -"},
		{"ordinary", bounce.Verdict{Kind: bounce.KindOther}, "- accepted - -"},
		{"no recipient", bounce.Verdict{Kind: bounce.KindBounce}, "- accepted - -"},
	} {
		d := Decide(c.v, "a@x.example")
		or := func(s string) string {
			if s == "" {
				return "-"
			}
			return s
		}
		if got := fmt.Sprintf("%s %s %s %s", or(d.Event), d.State, or(d.Reason), or(d.Suppress)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestNext over all pairs: a mail settles what the relay has, and nothing else.
func TestNext(t *testing.T) {
	for _, from := range delivery.States() {
		for _, to := range []delivery.State{delivery.Accepted, delivery.Bounced, delivery.Complained} {
			want := from
			switch {
			case from == delivery.Accepted || from == delivery.Uncertain || from == delivery.Sending:
				want = to
			case from == delivery.Bounced && to == delivery.Complained:
				want = to
			}
			if got := Next(from, to); got != want {
				t.Errorf("Next(%s, %s) = %s, want %s", from, to, got, want)
			}
		}
	}
}

func TestBlocks(t *testing.T) {
	for _, r := range Reasons() {
		b := Blocks(r)
		if !Stops(b, "marketing") || Stops(b, "operational") != (r != Unsubscribe) {
			t.Errorf("%s blocks %s", r, b)
		}
	}
}
