package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/statistics"
	"mailer/internal/store"
)

// recentDays is for how long a campaign says something of the list as it is now.
const recentDays = 90

// Returned is who of a receiving provider did not get a message, for one reason.
type Returned struct {
	Provider string         `json:"provider"`
	State    delivery.State `json:"state"` // bounced: returned by mail; failed: refused in the session
	Reason   string         `json:"reason"`
	Hard     bool           `json:"hard"`
	Count    int64          `json:"recipients"`
	Of       int64          `json:"attempted"` // of the provider's recipients
	Meaning  string         `json:"meaning,omitempty"`
}

// Rate is the share of the provider's recipients.
func (r Returned) Rate() Rate { return Rate{r.Count, r.Of} }

// returns adds up what did not arrive by receiving provider and reason, the largest first.
func returns(tallies []store.Tally, lane func(domain string) string) []Returned {
	type key struct {
		provider, reason string
		state            delivery.State
		hard             bool
	}
	counts, attempted := map[key]int64{}, map[string]int64{}
	for _, t := range tallies {
		l := lane(t.Domain)
		attempted[l] += t.Attempted
		hard, soft := errorsOf(t)
		counts[key{l, t.Reason, t.State, true}] += hard
		counts[key{l, t.Reason, t.State, false}] += soft
	}
	var all []Returned
	for k, n := range counts {
		if n > 0 {
			all = append(all, Returned{k.provider, k.state, k.reason, k.hard, n, attempted[k.provider], bounce.Words(k.reason)})
		}
	}
	slices.SortFunc(all, func(a, b Returned) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.State, b.State))
	})
	return all
}

// errorsOf is who of a tally was attempted and will not get the message: the address is dead, or something else.
func errorsOf(t store.Tally) (hard, soft int64) {
	switch t.State {
	case delivery.Bounced:
		return t.Hard, t.Count - t.Hard
	case delivery.Failed:
		if bounce.Dead(t.Reason) {
			return t.Attempted, 0
		}
		return 0, t.Attempted
	}
	return 0, 0
}

// Health is one figure of the list beside the level at which relays and mailbox providers act.
type Health struct {
	Name    string
	Rate    Rate
	Warn    float64
	Limit   float64
	Verdict string // good, watch, too high; "" where there is nothing to judge
}

// Interval is between what the true share lies, 95 % sure (Wilson): of few messages a share says little.
func (h Health) Interval() (low, high float64) { return statistics.Interval(h.Rate.Count, h.Rate.Of) }

// Words says the interval: "0.10% to 0.88%".
func (h Health) Words() string {
	if h.Rate.Of == 0 {
		return ""
	}
	low, high := h.Interval()
	return fmt.Sprintf("%.2f%% to %.2f%%", 100*low, 100*high)
}

// LimitWords is the level from which on it is too high.
func (h Health) LimitWords() string { return fmt.Sprintf("%g%%", 100*h.Limit) }

// MarshalJSON writes the figure with its interval; the rate of nothing is null.
func (h Health) MarshalJSON() ([]byte, error) {
	low, high := h.Interval()
	return json.Marshal(struct {
		Name    string  `json:"name"`
		Rate    Rate    `json:"rate"`
		Low     float64 `json:"low"`
		High    float64 `json:"high"`
		Warn    float64 `json:"warn"`
		Limit   float64 `json:"limit"`
		Verdict string  `json:"verdict"`
	}{h.Name, h.Rate, low, high, h.Warn, h.Limit, h.Verdict})
}

// health judges the dead, the other errors and the complaints.
func health(tallies []store.Tally) []Health {
	var c Counts
	var hard, soft int64
	for _, t := range tallies {
		c.add(t)
		h, s := errorsOf(t)
		hard, soft = hard+h, soft+s
	}
	all := []Health{
		{Name: "hard bounces", Rate: Rate{hard, c.Attempted}, Warn: 0.008, Limit: 0.01},
		{Name: "soft bounces", Rate: Rate{soft, c.Attempted}, Warn: 0.025, Limit: 0.03},
		{Name: "complaints", Rate: Rate{c.Complaints, c.Delivered()}, Warn: 0.0008, Limit: 0.001},
	}
	for i := range all {
		all[i].Verdict = judge(all[i])
	}
	return all
}

// judge: too high is what is surely so; of a share that chance may have made it is said to watch it.
func judge(h Health) string {
	share, ok := h.Rate.Share()
	low, _ := h.Interval()
	switch {
	case !ok:
		return ""
	case low > h.Limit:
		return "too high"
	case share > h.Warn:
		return "watch"
	}
	return "good"
}
