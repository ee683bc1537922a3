package schedule

import (
	"time"

	"mailer/internal/store"
)

// Do is what is to be done with a campaign.
type Do int

const (
	Miss  Do = iota // note that its time has passed
	Begin           // freeze its audience and send
	GoOn            // send what is left
)

// Step is one thing that is due.
type Step struct {
	Do       Do
	Campaign string
	Schedule store.Schedule // to Begin, or to Miss
	Going    store.Going    // to GoOn
}

// Punctual is how long after its time a campaign is not late yet: a crontab looks once a minute, and may be held up.
const Punctual = 2 * time.Minute

// TooLate reports whether a planned campaign must not begin any more.
func TooLate(c store.Schedule, now time.Time) bool {
	return now.Sub(c.At) > max(c.Late, Punctual)
}

// Due lists what is to be done now: first what was missed, then what is to begin, the earliest first, then what goes on, the oldest
// first. What a living process has is not due.
func Due(now time.Time, planned []store.Schedule, going []store.Going, gone func(holder string) bool) []Step {
	var missed, begin, on []Step
	for _, c := range planned {
		switch {
		case !beginning(c, now, gone):
		case TooLate(c, now):
			missed = append(missed, Step{Do: Miss, Campaign: c.Name, Schedule: c})
		default:
			begin = append(begin, Step{Do: Begin, Campaign: c.Name, Schedule: c})
		}
	}
	for _, g := range going {
		if (g.Holder == "" || gone(g.Holder)) && goesOn(g, now) {
			on = append(on, Step{Do: GoOn, Campaign: g.Name, Going: g})
		}
	}
	return append(append(missed, begin...), on...)
}

// beginning reports whether a campaign's time has come. One that was claimed has begun: if who claimed it died, it is for the next,
// whatever the clock says by then.
func beginning(c store.Schedule, now time.Time, gone func(holder string) bool) bool {
	switch c.State {
	case store.SchedulePlanned:
		return !c.At.After(now)
	case store.ScheduleBegun:
		return c.Holder == "" || gone(c.Holder)
	}
	return false
}

// goesOn reports whether there is something to do for a campaign: somebody can be tried, or is in doubt after a crash, or nobody is
// left and nobody noted that it has ended, or its time is over and the deferred are to be given up. A canary is left to be seen.
func goesOn(g store.Going, now time.Time) bool {
	if g.Held.After(now) && g.Expires.After(now) {
		return false
	}
	return g.Loose || !g.Open || !g.Next.After(now) || !g.Expires.After(now)
}
