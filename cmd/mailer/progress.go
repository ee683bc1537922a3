package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"mailer/internal/report"
	"mailer/internal/send"
	"mailer/internal/ui"
)

// A run shows itself in three ways: lines that are drawn anew on a terminal, a line a minute in a log, and events for scripts. What
// ends within a minute leaves no line in a log: cron would mail it.
const (
	drawEvery  = 200 * time.Millisecond
	eventEvery = 10 * time.Second
	logEvery   = time.Minute
)

// watch shows a run as it goes.
type watch struct {
	a        *app
	look     func() send.Progress
	live     *ui.Live // nil: nobody looks
	reported time.Time
	logged   time.Time
}

// watchProgress shows a run until it is stopped.
func watchProgress(a *app, look func() send.Progress) (stop func()) {
	w := newWatch(a, look)
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		defer w.close()
		tick := time.NewTicker(drawEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				w.tick(a.now())
			}
		}
	}()
	return func() { close(done); <-gone }
}

func newWatch(a *app, look func() send.Progress) *watch {
	now := a.now()
	w := &watch{a: a, look: look, reported: now, logged: now}
	if a.out.Watched() {
		w.live = a.out.Live()
	}
	return w
}

func (w *watch) close() {
	if w.live != nil {
		w.live.Close()
	}
}

// tick shows what is due. It looks also when nothing is: the speed is measured from one look to the next.
func (w *watch) tick(now time.Time) {
	p := w.look()
	if w.live != nil {
		columns, rows := w.live.Size()
		w.live.Show(progressLines(p, now.In(w.a.zone), columns, rows)...)
	}
	if w.a.out.JSON && now.Sub(w.reported) >= eventEvery {
		w.reported = now
		w.a.out.Emit("progress", progressEvent(p, w.a.zone))
	}
	if w.live == nil && !w.a.out.JSON && now.Sub(w.logged) >= logEvery {
		w.logged = now
		w.a.out.Notef("%s", ui.Clean(logLine(p, now.In(w.a.zone))))
	}
}

// progressEvent is a snapshot with times and rates as scripts like them.
func progressEvent(p send.Progress, zone *time.Location) send.Progress {
	local := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return t.In(zone).Truncate(time.Second)
	}
	tenth := func(f float64) float64 { return math.Round(10*f) / 10 }
	p.PerSecond, p.Until = tenth(p.PerSecond), local(p.Until)
	p.Lanes, p.Relays = append([]send.LaneProgress{}, p.Lanes...), append([]send.RelayProgress{}, p.Relays...)
	for i := range p.Lanes {
		p.Lanes[i].Until = local(p.Lanes[i].Until)
	}
	for i := range p.Relays {
		p.Relays[i].Until = local(p.Relays[i].Until)
	}
	return p
}

// logLine is a run in one line: what moves, and who does not.
func logLine(p send.Progress, now time.Time) string {
	head := fmt.Sprintf("%d of %d (%s %%)", p.Done, p.Total, percent(p.Done, p.Total, 1))
	line := fmt.Sprintf("%s %s: %s", now.Format(time.DateTime), p.Campaign, strings.Join(append([]string{head}, paceWords(p)...), ", "))
	if troubles := troubles(p); len(troubles) > 0 {
		line += "; " + strings.Join(troubles, ", ")
	}
	if p.Note != "" {
		line += "; " + heldText(p.Note, p.Until, now)
	}
	var still []string
	for _, l := range p.Lanes {
		if state := laneState(l, now); state != "" {
			still = append(still, l.Name+" "+strings.Replace(state, "limit", "at its limit", 1))
		}
	}
	for _, r := range p.Relays {
		switch {
		case r.Until.After(now):
			still = append(still, fmt.Sprintf("relay %s %s", r.Name, report.StateWords(0, r.Until, now)))
		case r.Limit != "":
			still = append(still, fmt.Sprintf("relay %s at its limit %s", r.Name, r.Limit))
		}
	}
	const named = 6
	if more := len(still) - named; more > 0 {
		still = append(still[:named], fmt.Sprintf("%d more are held", more))
	}
	return strings.Join(append([]string{line}, still...), "; ")
}

const (
	lanesShown = 8 // by name
	barColumns = 24
	barLeast   = 8 // columns; a shorter bar tells nothing
	nameMost   = 24
	narrow     = 60 // columns; with less only the most important is said
)

// progressLines is a run on so many columns and rows: the bar, what holds everything, the lanes and the relays.
func progressLines(p send.Progress, now time.Time, columns, rows int) []string {
	lines := []string{barLine(p, columns)}
	if words := troubles(p); len(words) > 0 {
		lines = append(lines, "  "+strings.Join(words, ", "))
	}
	if p.Note != "" {
		lines = append(lines, "  "+heldText(p.Note, p.Until, now))
	}
	relays := relayLines(p.Relays, now, columns)
	lanes := laneRows(p.Lanes, now, min(lanesShown, max(rows-len(lines)-len(relays)-1, 1)))
	return append(append(lines, laneLines(lanes, columns)...), relays...)
}

// barLine is the whole run: count, speed, time left. The bar gets what room the words leave.
func barLine(p send.Progress, columns int) string {
	name, done := ui.Cut(p.Campaign, max(columns/3, 8)), percent(p.Done, p.Total, 0)
	tail := strings.Join(append([]string{fmt.Sprintf("%d/%d", p.Done, p.Total)}, paceWords(p)...), ", ")
	room := min(barColumns, columns-ui.Width(name)-ui.Width(tail)-len(" 100% [] "))
	if room < barLeast {
		return fmt.Sprintf("%s %s%% %s", name, done, tail)
	}
	full := 0
	if p.Total > 0 {
		full = int(int64(room) * min(p.Done, p.Total) / p.Total)
	}
	return fmt.Sprintf("%s %3s%% [%s%s] %s", name, done, strings.Repeat("#", full), strings.Repeat("-", room-full), tail)
}

// paceWords is how fast the run is and how long it will take at that speed.
func paceWords(p send.Progress) []string {
	if p.PerSecond <= 0 {
		return nil
	}
	words := []string{report.Speed(p.PerSecond)}
	if open := p.Total - p.Done; open > 0 {
		words = append(words, timeLeft(time.Duration(float64(open)/p.PerSecond*float64(time.Second))))
	}
	return words
}

// troubles counts who did not get it.
func troubles(p send.Progress) []string {
	var words []string
	for _, c := range []struct {
		n    int64
		what string
	}{{p.Deferred, "deferred"}, {p.Failed, "failed"}, {p.Uncertain, "uncertain"}} {
		if c.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return words
}

// laneRow is a lane in words.
type laneRow struct {
	name, done, share, counts, state string
}

// laneRows puts lanes into words, at most so many by name; the rest is one row. One lane that nothing holds says no more than the
// bar.
func laneRows(lanes []send.LaneProgress, now time.Time, most int) []laneRow {
	if len(lanes) == 1 && laneWords(lanes[0], now) == "" {
		return nil
	}
	shown := slices.Clone(lanes)
	slices.SortStableFunc(shown, func(a, b send.LaneProgress) int {
		return cmp.Or(boolInt(a.Name == othersLane)-boolInt(b.Name == othersLane), cmp.Compare(b.Total, a.Total))
	})
	var rest []send.LaneProgress
	if len(shown) > most+1 || len(shown) > most && shown[len(shown)-1].Name == othersLane {
		shown, rest = shown[:most], shown[most:]
	}
	var rows []laneRow
	for _, l := range shown {
		rows = append(rows, rowOf(l, laneWords(l, now)))
	}
	if len(rest) > 0 {
		rows = append(rows, othersRow(rest, now))
	}
	return rows
}

// othersLane is the name of the lane of all domains that take little.
const othersLane = "others"

// othersRow adds lanes up. If one of them is held it is named, if several are they are counted.
func othersRow(lanes []send.LaneProgress, now time.Time) laneRow {
	sum := send.LaneProgress{Name: othersLane}
	var states []string
	for _, l := range lanes {
		sum.Total += l.Total
		sum.Accepted += l.Accepted
		sum.Deferred += l.Deferred
		sum.Failed += l.Failed
		if words := laneWords(l, now); words != "" && l.Name == othersLane {
			states = append(states, words)
		} else if words != "" {
			states = append(states, l.Name+" "+words)
		}
	}
	switch len(states) {
	case 0:
		return rowOf(sum, "")
	case 1:
		return rowOf(sum, states[0])
	}
	return rowOf(sum, fmt.Sprintf("%d of them are held", len(states)))
}

func rowOf(l send.LaneProgress, state string) laneRow {
	counts := troubles(send.Progress{Deferred: l.Deferred, Failed: l.Failed})
	return laneRow{name: l.Name, done: fmt.Sprintf("%d/%d", l.Done(), l.Total), share: percent(l.Done(), l.Total, 0) + "%", counts: strings.Join(counts, ", "), state: state}
}

// laneLines sets rows in columns. Where there is little room the state of a lane takes the place of its counts.
func laneLines(rows []laneRow, columns int) []string {
	var name, done, counts int
	for _, r := range rows {
		name, done, counts = max(name, ui.Width(r.name)), max(done, len(r.done)), max(counts, len(r.counts))
	}
	name = min(name, nameMost, columns/4)
	var lines []string
	for _, r := range rows {
		cells := []string{fmt.Sprintf("%*s", done, r.done), ui.Pad(r.counts, counts), r.state}
		switch {
		case columns < narrow:
			cells = []string{fmt.Sprintf("%4s", r.share), cmp.Or(r.state, r.counts)}
		case counts == 0:
			cells = []string{cells[0], r.state}
		}
		lines = append(lines, strings.TrimRight("  "+ui.Pad(ui.Cut(r.name, name), name)+"  "+strings.Join(cells, "  "), " "))
	}
	return lines
}

// relayLines shows the relays when there are several or one is held.
func relayLines(relays []send.RelayProgress, now time.Time, columns int) []string {
	if len(relays) < 2 && !slices.ContainsFunc(relays, func(r send.RelayProgress) bool { return r.Until.After(now) || r.Limit != "" || r.Why != "" }) {
		return nil
	}
	name := 0
	for _, r := range relays {
		name = max(name, ui.Width(r.Name))
	}
	name = min(name, nameMost, columns/4)
	var lines []string
	for _, r := range relays {
		words := []string{ui.Count(int64(r.Connections), "connection", "connections"), fmt.Sprintf("%d accepted", r.Accepted)}
		if state := relayState(r, now); state != "" {
			if columns < narrow {
				words = nil
			}
			words = append(words, state)
		}
		lines = append(lines, fmt.Sprintf("  relay %s  %s", ui.Pad(ui.Cut(r.Name, name), name), strings.Join(words, ", ")))
	}
	return lines
}

// relayState is what holds a relay: "paused until 15:04: 421 too many", "limit 100/s", that it cannot be had, or nothing.
func relayState(r send.RelayProgress, now time.Time) string {
	switch {
	case r.Until.After(now):
		return because(report.StateWords(0, r.Until, now), r.Why)
	case r.Why != "":
		return r.Why
	case r.Limit != "":
		return "limit " + r.Limit
	}
	return ""
}

// laneState is what holds a lane: "paused until 15:04", "slowed to 5/s", "limit 10/s", or nothing.
func laneState(l send.LaneProgress, now time.Time) string {
	if words := report.StateWords(l.Rate, l.Until, now); words != "" || l.Limit == "" {
		return words
	}
	return "limit " + l.Limit
}

// laneWords is the state of a lane and what the receiving side said about it.
func laneWords(l send.LaneProgress, now time.Time) string {
	state := laneState(l, now)
	if l.Until.After(now) || l.Rate > 0 {
		return because(state, l.Why)
	}
	return state
}

func because(state, why string) string {
	if why == "" {
		return state
	}
	return state + ": " + why
}

// heldText is why nothing moves, and until when.
func heldText(note string, until, now time.Time) string {
	if !until.After(now) {
		return note
	}
	return fmt.Sprintf("%s (until %s)", note, report.Clock(until, now))
}

// timeLeft is a duration as nobody would want it more exactly.
func timeLeft(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s left", int(math.Ceil(d.Seconds())))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min left", int(math.Round(d.Minutes())))
	case d < 48*time.Hour:
		m := int(math.Round(d.Minutes()))
		return fmt.Sprintf("%d h %d min left", m/60, m%60)
	}
	return fmt.Sprintf("%d days left", int(math.Round(d.Hours()/24)))
}

// percent is a share in percent that is 100 only when all is done.
func percent(done, total int64, digits int) string {
	if total == 0 {
		return "100"
	}
	scale := math.Pow(10, float64(digits))
	return fmt.Sprintf("%.*f", digits, math.Floor(100*scale*float64(done)/float64(total))/scale)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
