package main

import (
	"cmp"
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"mailer/internal/pace"
	"mailer/internal/send"
	"mailer/internal/store"
	"mailer/internal/ui"
)

// planLine is the plan for scripts. The times are forecasts under all limits, hours and warm-ups; what the relay itself takes is not known.
type planLine struct {
	Campaign    string           `json:"campaign"`
	New         bool             `json:"new"`
	At          string           `json:"at,omitempty"` // when it is to begin, if not now
	Audience    string           `json:"audience"`
	Planned     int64            `json:"planned"`
	Sendable    int64            `json:"sendable"`
	Excluded    map[string]int64 `json:"excluded"`
	Domains     map[string]int64 `json:"domains"`
	Relay       string           `json:"relay"`
	Host        string           `json:"host"`
	Relays      []string         `json:"relays"` // all that carry it
	Connections int              `json:"connections"`
	Rates       []string         `json:"rates"`
	Limit       int64            `json:"limit,omitempty"` // of this run; the times are those of all of it
	Canary      int64            `json:"canary,omitempty"`
	NotAfter    string           `json:"not_after,omitempty"`
	TooLate     bool             `json:"too_late"` // some of it would leave after that, and will not
	Seconds     float64          `json:"seconds_at_least"`
	Begins      string           `json:"begins,omitempty"`
	Ends        string           `json:"ends,omitempty"`  // empty: never, under these limits
	Never       bool             `json:"never"`           // some of it does not leave
	Bound       string           `json:"bound,omitempty"` // the limit that holds it most
	Lanes       []planLane       `json:"lanes"`
}

type planLane struct {
	Lane     string  `json:"lane"`
	Messages int64   `json:"messages"`
	Seconds  float64 `json:"seconds_at_least"`
	Ends     string  `json:"ends,omitempty"`
	Bound    string  `json:"bound,omitempty"`
}

// newPlanLine is who, how many, who not and why, by which way and how long.
func newPlanLine(a *app, p *send.Plan, c pace.Course) planLine {
	now := a.now()
	line := planLine{Campaign: p.Name, New: p.New, Audience: p.Campaign.Segment, Relay: p.Relay.Name,
		Host: fmt.Sprintf("%s:%d", p.Relay.Host, p.Relay.Port), Connections: p.Connections, Rates: []string{}, Canary: p.Spec.Canary, Limit: p.Request.Limit,
		Excluded: map[string]int64{}, Domains: map[string]int64{}, Lanes: []planLane{}, Bound: c.Bound, Never: c.Never}
	if at := p.Request.At; !at.IsZero() {
		line.At = at.In(a.zone).Format(time.RFC3339)
		now = at
	}
	for _, r := range p.Relays {
		line.Relays = append(line.Relays, r.Name)
	}
	for _, r := range p.Rates {
		line.Rates = append(line.Rates, r.String())
	}
	if p.New {
		line.Planned, line.Sendable, line.Excluded = p.Counts.All, p.Counts.Sendable(), p.Counts.Excluded
		for _, d := range p.Counts.Domains {
			line.Domains[d.Name] = d.Count
		}
	} else {
		b := p.Campaign.Balance
		line.Planned, line.Sendable = b.Planned, b.Remaining+b.Deferred
	}
	stamp := func(t time.Time) (string, float64) {
		if t.IsZero() {
			return "", 0
		}
		return t.In(a.zone).Format(time.RFC3339), max(0, t.Sub(now).Seconds())
	}
	if until := p.Content.NotAfter(); !until.IsZero() {
		line.NotAfter, line.TooLate = until.In(a.zone).Format(time.RFC3339), c.Never || c.Ends.After(until)
	}
	line.Begins, _ = stamp(c.Starts)
	if !c.Never {
		line.Ends, line.Seconds = stamp(c.Ends)
	}
	for _, l := range c.Lanes {
		one := planLane{Lane: laneTitle(l.Lane), Messages: l.N}
		if one.Ends, one.Seconds = stamp(l.Ends); one.Ends != "" {
			one.Bound = l.Bound
		}
		line.Lanes = append(line.Lanes, one)
	}
	return line
}

func laneTitle(lane string) string {
	if lane == "" {
		return "others"
	}
	return lane
}

// showPlan prints the plan of a dry run.
func showPlan(ctx context.Context, a *app, s *send.Sender, p *send.Plan) error {
	course, err := s.Forecast(ctx, p)
	if err != nil {
		return err
	}
	line := newPlanLine(a, p, course)
	if err := a.out.Emit("plan", line); err != nil || a.out.JSON {
		return err
	}
	printPlan(a, p, line, course)
	a.out.Println("\nThis was a dry run: nothing was sent and nothing was written.")
	return nil
}

func printPlan(a *app, p *send.Plan, l planLine, c pace.Course) {
	rows := [][]string{{"Campaign", p.Name}, {"Subject", p.Subject()}, {"From", p.From()}, {"To", l.Audience}}
	if p.New {
		rows = append(rows, []string{"Planned", fmt.Sprintf("%d people", l.Planned)})
		for _, reason := range sortedKeys(l.Excluded) {
			rows = append(rows, []string{"Excluded", fmt.Sprintf("%d %s", l.Excluded[reason], reason)})
		}
	} else {
		b := p.Campaign.Balance
		rows = append(rows, []string{"Goes on", fmt.Sprintf("%d planned, %d accepted, %d failed, %d uncertain, %d excluded before", b.Planned, b.Accepted, b.Failed, b.Uncertain, b.Excluded)})
	}
	toSend := fmt.Sprintf("%d messages", l.Sendable)
	if l.Limit > 0 && l.Limit < l.Sendable {
		toSend += fmt.Sprintf(", %d of them in this run", l.Limit)
	}
	rows = append(rows, []string{"To send", toSend})
	if d := topDomains(p.Counts.Domains); d != "" {
		rows = append(rows, []string{"Domains", d})
	}
	if at := p.Request.At; !at.IsZero() {
		rows = append(rows, []string{"Begins", a.planStamp(at)})
	}
	for i, r := range p.Relays {
		name := ""
		if i == 0 {
			name = "Relay"
		}
		rows = append(rows, []string{name, relayText(p, i, r.Standby)})
	}
	if p.Spec.Canary > 0 && p.Campaign.Stage != store.StageRest && l.Sendable > 0 {
		rows = append(rows, []string{"Canary", fmt.Sprintf("%d first, the rest after %s if that went well", p.Spec.Canary, shortSpan(p.Spec.Hold))})
	}
	rows = append(rows, []string{"Time", courseText(a, p, c)})
	if l.NotAfter != "" {
		text := a.stamp(p.Content.NotAfter())
		if l.TooLate {
			text += ": some of it will not be sent, the time is too short"
		}
		rows = append(rows, []string{"Not after", text})
	}
	a.out.Table(nil, rows)
	printLanes(a, c)
}

func relayText(p *send.Plan, i int, standby bool) string {
	r := p.Relays[i]
	text := fmt.Sprintf("%s (%s:%d), up to %s", r.Name, r.Host, r.Port, ui.Count(r.Connections, "connection", "connections"))
	switch {
	case standby:
		text += ", stands by"
	case len(p.Relays) > 1:
		text += fmt.Sprintf(", weight %d", r.Weight)
	}
	if len(r.For)+len(r.From) > 0 {
		text += ", for " + strings.Join(append(append([]string{}, r.For...), r.From...), " ")
	}
	return text
}

// courseText says how long it takes.
func courseText(a *app, p *send.Plan, c pace.Course) string {
	now := a.now()
	if !p.Request.At.IsZero() {
		now = p.Request.At
	}
	switch took := c.Ends.Sub(now); {
	case len(c.Lanes) == 0:
		return "nothing is left to send"
	case c.Never:
		return "some of it never leaves: no relay carries it, or the limits and the hours never let it go"
	case took < time.Second:
		return "as fast as the relay takes them"
	case c.Starts.Sub(now) > time.Minute:
		return fmt.Sprintf("begins %s and ends %s at the earliest (%s)", a.stamp(c.Starts), a.stampBy(c.Ends), heldBy(c.Bound))
	default:
		return fmt.Sprintf("%s at least, until %s (%s)", shortSpan(took), a.stampBy(c.Ends), heldBy(c.Bound))
	}
}

// stampBy is the minute at whose beginning something is over.
func (a *app) stampBy(t time.Time) string {
	return a.stamp(t.Add(time.Minute - time.Nanosecond).Truncate(time.Minute))
}

// heldBy says what holds it most.
func heldBy(bound string) string {
	switch bound {
	case "":
		return "as fast as the relay takes them"
	case pace.ByHours:
		return "held by the hours"
	}
	return "held by " + bound
}

// printLanes shows when each receiving provider's mail is out, where they differ.
func printLanes(a *app, c pace.Course) {
	if len(c.Lanes) < 2 || c.Ends.Sub(c.Starts) < time.Second && !c.Never {
		return
	}
	var rows [][]string
	for _, l := range c.Lanes {
		ends, bound := a.stampBy(l.Ends), cmp.Or(l.Bound, "-")
		if l.Ends.IsZero() {
			ends, bound = "never", "-"
		}
		rows = append(rows, []string{laneTitle(l.Lane), fmt.Sprint(l.N), ends, bound})
	}
	a.out.Println()
	a.out.Table([]string{"provider", "messages", "out by", "held by"}, rows, 1)
}

// shortSpan is a time span as people say it: 45 s, 12 min, 3 h 20 min, 2 days 4 h.
func shortSpan(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
	case d < 48*time.Hour:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	d = d.Round(time.Hour)
	return fmt.Sprintf("%d days %d h", int(d.Hours())/24, int(d.Hours())%24)
}

func topDomains(shares []store.Share) string {
	var parts []string
	for i, s := range shares {
		if i == 5 {
			parts = append(parts, ui.Count(len(shares)-i, "more domain", "more domains"))
			break
		}
		parts = append(parts, fmt.Sprintf("%s %d", s.Name, s.Count))
	}
	return strings.Join(parts, ", ")
}

func sortedKeys(m map[string]int64) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
