package report

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"mailer/internal/pace"
	"mailer/internal/provider"
	"mailer/internal/store"
)

// Lanes says which receiving provider a domain belongs to, and how each takes our mail now.
type Lanes struct {
	table  provider.Table
	states map[string]LaneState
	now    time.Time // in the zone of the report
}

// LaneState is how a receiving provider takes our mail. The zero one: as fast as it comes.
type LaneState struct {
	Rate  float64   `json:"rate,omitempty"` // messages a second that it is slowed to
	Until time.Time `json:"until,omitzero"` // paused until then
	Why   string    `json:"why,omitempty"`  // what it said
}

// ReadLanes reads how things stand now. Times are told in the zone of now.
func ReadLanes(ctx context.Context, st *store.Store, table provider.Table, now time.Time) (Lanes, error) {
	l := Lanes{table: table, states: map[string]LaneState{}, now: now}
	stored, err := st.LaneStates(ctx)
	if err != nil {
		return l, err
	}
	for key, text := range stored {
		if name, ok := strings.CutPrefix(key, "lane "); ok {
			l.states[name] = laneState(text, now)
		}
	}
	return l, nil
}

// laneState leaves out a pause that is over, and what it does not understand: a later version may write more.
func laneState(text string, now time.Time) LaneState {
	var l pace.Lane
	if json.Unmarshal([]byte(text), &l) != nil {
		return LaneState{}
	}
	rate, until, why := l.State(now)
	return LaneState{Rate: rate, Until: local(until, now.Location()), Why: anonymous(oneLine(why))}
}

// Lane is the part of a campaign that goes to one receiving provider.
type Lane struct {
	Group
	LaneState
	Words string `json:"-"` // the state for people
}

// group adds up by receiving provider: the largest, then those that hold up somebody, and the others together.
func (l Lanes) group(tallies []store.Tally) []Lane {
	var named, rest []Group
	for i, g := range group(tallies, func(t store.Tally) string { return l.table.Lane(t.Domain) }) {
		if i < largest || l.state(g) != (LaneState{}) {
			named = append(named, g)
		} else {
			rest = append(rest, g)
		}
	}
	var all []Lane
	for _, g := range top(append(named, rest...), len(named)) {
		s := l.state(g)
		all = append(all, Lane{g, s, StateWords(s.Rate, s.Until, l.now)})
	}
	return all
}

// state is how a provider takes our mail, as long as somebody waits for it.
func (l Lanes) state(g Group) LaneState {
	if g.Deferred+g.Remaining == 0 {
		return LaneState{}
	}
	return l.states[g.Name]
}

// waits says that a recipient waits for its provider: "gmail is paused until 15:04: 421 4.7.28 ...", or nothing.
func (l Lanes) waits(domain string) string {
	lane := l.table.Lane(domain)
	s := l.states[lane]
	words := StateWords(s.Rate, s.Until, l.now)
	if words == "" {
		return ""
	}
	if s.Why != "" {
		words += ": " + s.Why
	}
	return fmt.Sprintf("%s is %s", lane, words)
}

// StateWords is how a provider takes our mail: "paused until 15:04", "slowed to 5/s", or nothing.
func StateWords(rate float64, until, now time.Time) string {
	switch {
	case until.After(now):
		return "paused until " + Clock(until, now)
	case rate > 0:
		return "slowed to " + Speed(rate)
	}
	return ""
}

// Clock is a moment to come, as exact as it matters now, in the zone of now.
func Clock(at, now time.Time) string {
	at = at.In(now.Location())
	switch {
	case at.Sub(now) < time.Minute:
		return at.Format("15:04:05")
	case at.Format(time.DateOnly) == now.Format(time.DateOnly):
		return at.Format("15:04")
	}
	return at.Format("2006-01-02 15:04")
}

// Speed is a rate as people say it: 120/s, 4.5/s, 12/min.
func Speed(perSecond float64) string {
	exact := func(n float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", n), ".0") }
	switch {
	case perSecond >= 9.95:
		return fmt.Sprintf("%.0f/s", perSecond)
	case perSecond >= 0.995:
		return exact(perSecond) + "/s"
	}
	return exact(perSecond*60) + "/min"
}
