package pace

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Span is a stretch of hours on some days of the week. One that ends before it begins goes over midnight and belongs to the
// day on which it begins.
type Span struct {
	Days     Days
	From, To int // minutes of the day; To is up to 24:00
}

// Days are days of the week, a bit for each time.Weekday.
type Days uint8

const (
	daily   Days = 1<<7 - 1
	endOf        = 24 * 60 // of a day, in minutes
	minutes      = 60
)

// ParseSpan reads "mon-fri 09:00-18:00", "21:00-08:00" (every day), "sat,sun" (all day) or "daily 10:00-12:00".
func ParseSpan(s string) (Span, error) {
	wrong := fmt.Errorf("%q is not a time of the week; write mon-fri 09:00-18:00, sat,sun or 21:00-08:00", s)
	span := Span{Days: daily, To: endOf}
	words := strings.Fields(s)
	if len(words) == 0 || len(words) > 2 {
		return Span{}, wrong
	}
	hours := words[len(words)-1]
	if !strings.Contains(hours, ":") {
		if len(words) > 1 {
			return Span{}, wrong
		}
		hours = ""
	}
	if len(words) == 2 || hours == "" {
		days, ok := parseDays(words[0])
		if !ok {
			return Span{}, wrong
		}
		span.Days = days
	}
	if hours == "" {
		return span, nil
	}
	from, to, _ := strings.Cut(hours, "-")
	var ok1, ok2 bool
	span.From, ok1 = parseMinutes(from)
	span.To, ok2 = parseMinutes(to)
	switch {
	case !ok1, !ok2, span.From == endOf:
		return Span{}, wrong
	case span.From == span.To:
		return Span{}, fmt.Errorf("%q ends when it begins; write 00:00-24:00 for the whole day", s)
	case span.To == 0:
		span.To = endOf
	}
	return span, nil
}

// parseDays reads mon-fri, sat,sun, fri-mon, daily.
func parseDays(s string) (days Days, ok bool) {
	if strings.EqualFold(s, "daily") {
		return daily, true
	}
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		d, ok1 := parseDay(first)
		end, ok2 := parseDay(last)
		if !ok1 || !ok2 {
			return 0, false
		}
		for ; d != end; d = (d + 1) % 7 {
			days |= 1 << d
		}
		days |= 1 << end
	}
	return days, true
}

func parseDay(s string) (time.Weekday, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(s, d.String()) || strings.EqualFold(s, shortDay(d)) {
			return d, true
		}
	}
	return 0, false
}

func shortDay(d time.Weekday) string { return strings.ToLower(d.String()[:3]) }

// parseMinutes reads 9:00, 09:00 or 24:00.
func parseMinutes(s string) (int, bool) {
	hour, minute, _ := strings.Cut(s, ":")
	digits := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	if len(hour) < 1 || len(hour) > 2 || len(minute) != 2 || !digits(hour+minute) {
		return 0, false
	}
	h, _ := strconv.Atoi(hour)
	m, _ := strconv.Atoi(minute)
	return h*minutes + m, m < minutes && h*minutes+m <= endOf
}

// UnmarshalText reads a span.
func (s *Span) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSpan(string(b))
	return err
}

// String writes a span as it is read.
func (s Span) String() string {
	days := s.Days.String()
	if s.From == 0 && s.To == endOf {
		return days
	}
	hours := fmt.Sprintf("%02d:%02d-%02d:%02d", s.From/minutes, s.From%minutes, s.To/minutes, s.To%minutes)
	if s.Days == daily {
		return hours
	}
	return days + " " + hours
}

// String writes days as they are read, from Monday on.
func (d Days) String() string {
	if d == daily {
		return "daily"
	}
	has := func(i int) bool { return i < 7 && d&(1<<((i+1)%7)) != 0 }
	name := func(i int) string { return shortDay(time.Weekday((i + 1) % 7)) }
	var parts []string
	for i := 0; i < 7; i++ {
		if !has(i) {
			continue
		}
		first := i
		for has(i + 1) {
			i++
		}
		switch i - first {
		case 0:
			parts = append(parts, name(i))
		case 1:
			parts = append(parts, name(first), name(i))
		default:
			parts = append(parts, name(first)+"-"+name(i))
		}
	}
	return strings.Join(parts, ",")
}

// Hours are when mail may leave: within a window (always, if there is none) and never in quiet hours.
type Hours struct {
	Windows, Quiet []Span
	Location       *time.Location // nil: UTC
}

// horizon is how far ahead it is looked. Spans repeat each week, but for those that fall into an hour that a change of the
// clocks leaves out.
const horizon = 22 * 24 * time.Hour

// Next is when mail may leave: now when it is open, otherwise when it opens. The zero time: never.
func (h Hours) Next(now time.Time) time.Time {
	for t := now; t.Sub(now) < horizon; {
		if end := h.covered(h.Quiet, t); end.After(t) {
			t = end
			continue
		}
		if len(h.Windows) == 0 || h.covered(h.Windows, t).After(t) {
			return t
		}
		start := h.begins(h.Windows, t)
		if start.IsZero() {
			return start
		}
		t = start
	}
	return time.Time{}
}

// Closes is until when it stays open; now, when it is closed. The zero time: it does not close.
func (h Hours) Closes(now time.Time) time.Time {
	if h.covered(h.Quiet, now).After(now) {
		return now
	}
	var closes time.Time
	if len(h.Windows) > 0 {
		closes = now
		for closes.Sub(now) < horizon {
			end := h.covered(h.Windows, closes)
			if !end.After(closes) {
				break
			}
			closes = end // where another window may begin
		}
		if closes.Sub(now) >= horizon {
			closes = time.Time{}
		}
	}
	if quiet := h.begins(h.Quiet, now); !quiet.IsZero() && (closes.IsZero() || quiet.Before(closes)) {
		return quiet
	}
	return closes
}

// String tells the hours: "mon-fri 09:00-18:00, not 12:00-13:00 (Asia/Tokyo)"; nothing when it is always open.
func (h Hours) String() string {
	list := func(spans []Span) string {
		var parts []string
		for _, s := range spans {
			parts = append(parts, s.String())
		}
		return strings.Join(parts, ", ")
	}
	windows := list(h.Windows)
	switch {
	case len(h.Windows)+len(h.Quiet) == 0:
		return ""
	case len(h.Quiet) == 0:
	case len(h.Windows) == 0:
		windows = "not " + list(h.Quiet)
	default:
		windows += ", not " + list(h.Quiet)
	}
	return windows + " (" + h.location().String() + ")"
}

func (h Hours) location() *time.Location {
	if h.Location == nil {
		return time.UTC
	}
	return h.Location
}

// covered is the latest end of the spans that t lies in, or the zero time.
func (h Hours) covered(spans []Span, t time.Time) (end time.Time) {
	for _, s := range spans {
		for day := -2; day <= 1; day++ { // one that began yesterday may go on; a change of the clocks may move it by a day
			from, to := h.stretch(s, t, day)
			if !from.After(t) && to.After(t) && to.After(end) {
				end = to
			}
		}
	}
	return end
}

// begins is the first start of a span after t, or the zero time.
func (h Hours) begins(spans []Span, t time.Time) (start time.Time) {
	for _, s := range spans {
		for day := -1; day <= int(horizon/(24*time.Hour)); day++ {
			from, to := h.stretch(s, t, day)
			if from.After(t) && to.After(from) {
				if start.IsZero() || from.Before(start) {
					start = from
				}
				break
			}
		}
	}
	return start
}

// stretch is the span as it falls on a day, counted from that of t; empty when it does not.
func (h Hours) stretch(s Span, t time.Time, day int) (from, to time.Time) {
	local := t.In(h.location())
	date := time.Date(local.Year(), local.Month(), local.Day()+day, 0, 0, 0, 0, time.UTC)
	if s.Days&(1<<date.Weekday()) == 0 {
		return t, t
	}
	end := s.To
	if end <= s.From {
		end += endOf
	}
	from, _ = h.moments(date.Add(time.Duration(s.From) * time.Minute))
	_, to = h.moments(date.Add(time.Duration(end) * time.Minute))
	return from, to
}

// moments are the first and the last at which clocks show a time (given as if it were UTC). They differ where the clocks
// are set back over it; where they skip it, both are the moment of the change. So a window opens at the first moment at or
// after its time, and an hour that comes twice is one stretch.
func (h Hours) moments(wall time.Time) (first, last time.Time) {
	const farthest = 26 * time.Hour // offsets lie within 14 hours, and a change may be a whole day
	loc := h.location()
	_, before := wall.Add(-farthest).In(loc).Zone()
	_, after := wall.Add(farthest).In(loc).Zone()
	for _, offset := range []int{before, after} {
		at := wall.Add(-time.Duration(offset) * time.Second).In(loc)
		if _, is := at.Zone(); is == offset {
			if first.IsZero() {
				first = at
			}
			last = at
		}
	}
	if first.IsZero() {
		first, _ = wall.Add(-time.Duration(before) * time.Second).In(loc).ZoneBounds()
		last = first
	}
	if last.Before(first) {
		first, last = last, first
	}
	return first, last
}
