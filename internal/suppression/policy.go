package suppression

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/pace"
)

// Policy is how the list is cleaned by what comes back. Complaints and unsubscribes are not in it: they hold at once, and for
// every list.
type Policy struct {
	KeepDead bool               // dead addresses stay too: they are recorded only
	HalfLife time.Duration      // in which a soft bounce comes to count half
	Soft     Bar                // of all soft bounces but those of full mailboxes
	Full     Bar                // of full mailboxes
	Weights  map[string]float64 // what one soft bounce adds to the score, by reason; a reason that is not in it never counts
	Freeze   Freeze
}

// Bar is what an address must have come to, all of it, to be suppressed for soft bounces. A score of 0: it never is.
type Bar struct {
	Score     float64
	Campaigns int
	Over      time.Duration // from the first message that came back to the last
}

// Freeze says when a provider's dead addresses are not believed any more, and for how long.
type Freeze struct {
	Share  float64       // more of its recipients than this turned out dead in the window; 0: never
	Least  int64         // fewer dead addresses say nothing
	Window time.Duration // counted as they become known
	For    time.Duration
}

// DefaultPolicy holds where nothing else is said. A weekly letter suppresses at its fifth soft bounce in a row, a monthly one at
// its eighth; a mailbox that stays full, after two months or five months of them.
func DefaultPolicy() Policy {
	const day = 24 * time.Hour
	return Policy{
		HalfLife: 90 * day,
		Soft:     Bar{Score: 4, Campaigns: 3, Over: 14 * day},
		Full:     Bar{Score: 3, Campaigns: 3, Over: 60 * day},
		Weights: map[string]float64{
			bounce.MailboxFull: 1,
			bounce.Suspend:     2,
			bounce.Suppressed:  2, // the relay sends no more to it, whatever we do
			// A dead address, said with a code that may pass.
			bounce.UserUnknown: 1, bounce.HostUnknown: 1, bounce.HasMoved: 1, bounce.NotAccept: 1,
			bounce.Expired: 1, bounce.NetworkError: 1, bounce.SystemError: 1, bounce.SystemFull: 1, bounce.MailerError: 1,
			bounce.Filtered: 0.5, // at the Japanese carriers a wish that the person can take back
			bounce.OnHold:   0.5, bounce.Undefined: 0.5,
		},
		Freeze: Freeze{Share: 0.2, Least: 10, Window: time.Hour, For: day},
	}
}

// Countable reports whether a reason may have a weight: what is about our host, our domain, our relay or the content never counts
// against an address.
func Countable(reason string) bool {
	return bounce.Words(reason) != "" && !bounce.AboutUs(reason) && !bounce.AboutContent(reason)
}

// Softly is a message that came back for a reason that may pass.
type Softly struct {
	At       time.Time // when it was sent
	Campaign int64
	Reason   string
	Text     string // what the server said
}

// Judge says whether an address has come back too often, and if so the evidence in words. all is what came back since the address
// last gave a sign of life; a campaign counts once, by its weightiest.
func (p Policy) Judge(all []Softly, now time.Time) (evidence string, suppress bool) {
	var full, soft []Softly
	for _, s := range all {
		switch {
		case p.weight(s.Reason) <= 0:
		case s.Reason == bounce.MailboxFull:
			full = append(full, s)
		default:
			soft = append(soft, s)
		}
	}
	if evidence, suppress = p.over(p.Soft, soft, now, "soft bounces"); suppress {
		return evidence, true
	}
	return p.over(p.Full, full, now, "bounces of a full mailbox")
}

func (p Policy) over(b Bar, all []Softly, now time.Time, what string) (string, bool) {
	if b.Score <= 0 || len(all) == 0 {
		return "", false
	}
	all = p.onceEach(all)
	first, last := all[0], all[len(all)-1]
	score := 0.0
	for _, s := range all {
		score += p.weight(s.Reason) * p.fading(now.Sub(s.At))
	}
	if score < b.Score || len(all) < b.Campaigns || last.At.Sub(first.At) < b.Over {
		return "", false
	}
	return fmt.Sprintf("%d %s in %d campaigns from %s to %s, score %.1f of %.1f; the last: %s", len(all), what, len(all),
		first.At.UTC().Format(time.DateOnly), last.At.UTC().Format(time.DateOnly), score, b.Score, cmp.Or(last.Text, last.Reason)), true
}

// onceEach leaves each campaign's weightiest, in the order of time.
func (p Policy) onceEach(all []Softly) []Softly {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Softly) int {
		return cmp.Or(cmp.Compare(a.Campaign, b.Campaign), cmp.Compare(p.weight(b.Reason), p.weight(a.Reason)))
	})
	all = slices.CompactFunc(all, func(a, b Softly) bool { return a.Campaign == b.Campaign })
	slices.SortStableFunc(all, func(a, b Softly) int { return a.At.Compare(b.At) })
	return all
}

// weight never counts what is not countable, whatever Weights says.
func (p Policy) weight(reason string) float64 {
	if !Countable(reason) {
		return 0
	}
	return p.Weights[reason]
}

// Counts reports whether a soft bounce for this reason adds to the score.
func (p Policy) Counts(reason string) bool { return p.weight(reason) > 0 }

// fading is what is left of a bounce of that age. Clocks differ: one from the future is fresh.
func (p Policy) fading(age time.Duration) float64 {
	if p.HalfLife <= 0 || age <= 0 {
		return 1
	}
	return math.Exp2(-float64(age) / float64(p.HalfLife))
}

// Bursts reports whether so many dead addresses among so many recipients of a provider are a fault of the provider, or a block
// that it words as one, rather than people who left. A small share of few is weighed as the breakers of a run do.
func (f Freeze) Bursts(dead, of int64) bool {
	if f.Share <= 0 || dead < f.Least {
		return false
	}
	_, over := pace.Went(pace.Levels{Shares: map[pace.Kind]float64{pace.Hard: f.Share}}, max(of, dead), map[pace.Kind]int64{pace.Hard: dead})
	return over
}
