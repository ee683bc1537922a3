package report

import (
	"encoding/json"
	"fmt"

	"mailer/internal/delivery"
	"mailer/internal/store"
)

// Rate is a share that never forgets what it is a share of.
type Rate struct {
	Count int64
	Of    int64
}

// Share is Count/Of; false where there is nothing to take a share of.
func (r Rate) Share() (float64, bool) {
	if r.Of == 0 {
		return 0, false
	}
	return float64(r.Count) / float64(r.Of), true
}

// Percent is the share to a tenth of a percent. It says 100% only of all, 0% only of none, and – of nothing.
func (r Rate) Percent() string {
	share, ok := r.Share()
	switch {
	case !ok:
		return "–"
	case r.Count == 0:
		return "0%"
	case r.Count == r.Of:
		return "100%"
	case share > 0.9995 && share < 1:
		return ">99.9%"
	case share > 0 && share < 0.0005:
		return "<0.1%"
	}
	return fmt.Sprintf("%.1f%%", 100*share)
}

func (r Rate) String() string { return fmt.Sprintf("%s (%d of %d)", r.Percent(), r.Count, r.Of) }

// MarshalJSON writes {"count":95,"of":100,"rate":0.95}; the rate of nothing is null.
func (r Rate) MarshalJSON() ([]byte, error) {
	line := struct {
		Count int64    `json:"count"`
		Of    int64    `json:"of"`
		Rate  *float64 `json:"rate"`
	}{r.Count, r.Of, nil}
	if share, ok := r.Share(); ok {
		line.Rate = &share
	}
	return json.Marshal(line)
}

// Counts is what became of some recipients. Each is counted once a campaign.
type Counts struct {
	delivery.Balance
	Attempted    int64 `json:"attempted"`    // their message was offered to a relay at least once, and that try has ended
	BouncedHard  int64 `json:"bounced_hard"` // accepted, then returned: the address is dead
	BouncedSoft  int64 `json:"bounced_soft"` // accepted, then returned for another reason
	Complaints   int64 `json:"complaints"`
	Unsubscribes int64 `json:"unsubscribes"` // through this message
}

// add counts a tally in, planned too.
func (c *Counts) add(t store.Tally) {
	c.Planned += t.Count
	c.Balance.Add(t.State, t.Count)
	c.Attempted += t.Attempted
	c.Unsubscribes += t.Unsubscribes
	switch t.State {
	case delivery.Bounced:
		c.BouncedHard += t.Hard
		c.BouncedSoft += t.Count - t.Hard
	case delivery.Complained:
		c.Complaints += t.Count
	}
}

// plus adds the counts of other recipients.
func (c *Counts) plus(o Counts) {
	c.Planned += o.Planned
	c.Accepted += o.Accepted
	c.Deferred += o.Deferred
	c.Failed += o.Failed
	c.Excluded += o.Excluded
	c.Uncertain += o.Uncertain
	c.Remaining += o.Remaining
	c.Attempted += o.Attempted
	c.BouncedHard += o.BouncedHard
	c.BouncedSoft += o.BouncedSoft
	c.Complaints += o.Complaints
	c.Unsubscribes += o.Unsubscribes
}

// Bounced is who was accepted and then returned.
func (c Counts) Bounced() int64 { return c.BouncedHard + c.BouncedSoft }

// Delivered is who was accepted and did not bounce. Whether it lies in the inbox or with the spam, no sender can know.
func (c Counts) Delivered() int64 { return c.Accepted - c.Bounced() }

// Rates are the shares that a report prints.
type Rates struct {
	// 到達率 (有効配信率): accepted and not bounced, of all attempted. Who is deferred or uncertain is attempted and not delivered
	// yet, so while a campaign runs the rate can only be too low.
	Delivery    Rate `json:"delivery_rate"`
	Bounce      Rate `json:"bounce_rate"`      // hard and soft, of all attempted
	Complaint   Rate `json:"complaint_rate"`   // of the delivered; Gmail's own figure is of those in the inbox and so higher
	Unsubscribe Rate `json:"unsubscribe_rate"` // of the delivered
}

// Rates computes them.
func (c Counts) Rates() Rates {
	return Rates{
		Delivery:    Rate{c.Delivered(), c.Attempted},
		Bounce:      Rate{c.Bounced(), c.Attempted},
		Complaint:   Rate{c.Complaints, c.Delivered()},
		Unsubscribe: Rate{c.Unsubscribes, c.Delivered()},
	}
}

// Check says what does not add up: a report that is wrong must not be printed.
func (c Counts) Check() error {
	switch {
	case !c.Balanced():
		return fmt.Errorf("%d planned is not %d accepted + %d deferred + %d failed + %d excluded + %d uncertain + %d remaining",
			c.Planned, c.Accepted, c.Deferred, c.Failed, c.Excluded, c.Uncertain, c.Remaining)
	case c.Attempted < c.Accepted || c.Attempted > c.Planned-c.Excluded:
		return fmt.Errorf("%d attempted, but %d accepted and %d planned without the excluded", c.Attempted, c.Accepted, c.Planned-c.Excluded)
	case c.BouncedSoft < 0 || c.Delivered() < c.Complaints:
		return fmt.Errorf("%d accepted, but %d bounced hard, %d bounced soft and %d complained", c.Accepted, c.BouncedHard, c.BouncedSoft, c.Complaints)
	}
	return nil
}
