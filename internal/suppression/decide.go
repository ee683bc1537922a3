package suppression

import (
	"strconv"
	"strings"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
)

// Consequence is what a mail about one of our deliveries does. Its zero value is: nothing.
type Consequence struct {
	Event    string         // kind of the history row, "" for none
	State    delivery.State // the delivery's state, once the relay has it; never empty
	Reason   string         // why, in the words of package bounce, for a delivery that failed
	Code     int
	Enhanced string
	Text     string // what the server said, the evidence
	Suppress string // reason of a suppression, "" for none
}

// Decide says what follows from a mail that is proven to be about the delivery to address. Whose address the mail itself
// names is not asked: behind a forwarding another one fails than we mailed, and it is our own entry that must go.
func Decide(v bounce.Verdict, address string) Consequence {
	switch v.Kind {
	case bounce.KindBounce:
		return decideBounce(v, address)
	case bounce.KindComplaint:
		return decideComplaint(v)
	case bounce.KindUnsubscribe:
		return Consequence{Event: "unsubscribe", State: delivery.Accepted, Suppress: Unsubscribe, Text: "mail to the unsubscribe address"}
	case bounce.KindAutoreply:
		return Consequence{Event: "autoreply", State: delivery.Accepted}
	case bounce.KindDelivered:
		return Consequence{Event: "delivered", State: delivery.Accepted}
	}
	return Consequence{State: delivery.Accepted}
}

// Asks reports whether a mail is a person's answer that asks to be left alone. No signature and no format says so: a person decides.
func Asks(v bounce.Verdict) bool {
	return v.Detail == bounce.DetailRemoval
}

func decideBounce(v bounce.Verdict, address string) Consequence {
	r, ok := about(v.Bounces, address)
	if !ok {
		return Consequence{State: delivery.Accepted}
	}
	code, _ := strconv.Atoi(r.Reply)
	c := Consequence{Event: "soft_bounce", State: delivery.Bounced, Reason: r.Reason, Code: code, Enhanced: r.Status, Text: r.Text}
	if r.Hard {
		c.Event, c.Suppress = "bounce", HardBounce
	}
	return c
}

// about picks the statement that counts for our delivery: the one about its address; else, behind a forwarding or a list
// that fans out, the mildest: one good target is enough to keep an address. A warning that a message is delayed is no
// statement at all.
func about(all []bounce.Recipient, address string) (bounce.Recipient, bool) {
	var best bounce.Recipient
	found := false
	for _, r := range all {
		if strings.EqualFold(r.Recipient, address) {
			return r, r.Action == bounce.ActionFailed
		}
		if r.Action != bounce.ActionFailed {
			return bounce.Recipient{}, false
		}
		if !found || best.Hard && !r.Hard {
			best, found = r, true
		}
	}
	return best, found
}

// decideComplaint: a complaint blocks everything at once; the "opt-out" kind is an unsubscribe in the form of a report.
func decideComplaint(v bounce.Verdict) Consequence {
	if strings.HasPrefix(v.FeedbackType, "opt-out") {
		return Consequence{Event: "unsubscribe", State: delivery.Accepted, Suppress: Unsubscribe, Text: "feedback report: " + v.FeedbackType}
	}
	return Consequence{Event: "complaint", State: delivery.Complained, Reason: "complaint", Suppress: Complaint, Text: "feedback report: " + v.FeedbackType}
}

// Next is the state of a delivery after a mail that settles it in state to. That a mail about it came at all proves that
// the relay took the message, so what was in doubt is settled. What was never sent, or failed at the relay, stays: and
// nothing takes a complaint back.
func Next(from, to delivery.State) delivery.State {
	switch from {
	case delivery.Sending, delivery.Uncertain, delivery.Accepted:
		return to
	case delivery.Bounced:
		if to == delivery.Complained {
			return to
		}
	}
	return from
}
