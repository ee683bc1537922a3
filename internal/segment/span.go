package segment

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// span is the stretch of time that a date of an expression stands for, from its first second up to, but not with, its
// end: "2026-01-05" is that whole day, "2026-01" the month, "2026-01-05 10:00" the minute, now() the second. Times are
// those on the wall clock of the workspace, kept in time.UTC, as the cells of a spreadsheet are.
type span struct {
	from, to time.Time
	source   string // how it was written, where that is not the date itself
}

func (s span) String() string {
	text := s.from.Format("2006-01-02")
	switch {
	case s.to.Sub(s.from) < 24*time.Hour:
		text = s.from.Format("2006-01-02 15:04:05")
	case s.to.Equal(s.from.AddDate(1, 0, 0)):
		text = s.from.Format("2006")
	case s.to.Equal(s.from.AddDate(0, 1, 0)):
		text = s.from.Format("2006-01")
	}
	if s.source != "" {
		return text + " (" + s.source + ")"
	}
	return text
}

// bound is a time in the form that stored dates compare with as texts. A stored day counts as its midnight, and it is a
// prefix of every time of that day, so it sorts first: midnight must be written as the day.
func bound(t time.Time) string {
	switch {
	case t.Year() > 9999:
		return "9999-12-31T24" // a fifth digit would sort before all
	case t.Equal(midnight(t)):
		return t.Format("2006-01-02")
	}
	return t.Format("2006-01-02T15:04:05")
}

func midnight(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

// wall is what the clock shows at t in loc, in whole seconds.
func wall(t time.Time, loc *time.Location) time.Time {
	t = t.In(loc)
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

func daySpan(t time.Time, source string) span {
	day := midnight(t)
	return span{from: day, to: day.AddDate(0, 0, 1), source: source}
}

func secondSpan(t time.Time, source string) span {
	return span{from: t, to: t.Add(time.Second), source: source}
}

var errDate = errors.New(`write it as "2026-01-05", "2026-01-05 10:00", "2026-01" or "2026"`)

// spanLayouts are tried in turn; the precision of the text is the length of its span. A one-digit month or day is taken
// too, as in 2026/1/5.
var spanLayouts = []struct {
	layout             string
	years, months, day int
	length             time.Duration
}{
	{"2006-1-2", 0, 0, 1, 0},
	{"2006-1-2T15:04", 0, 0, 0, time.Minute},
	{"2006-1-2T15:04:05", 0, 0, 0, time.Second},
	{"2006-1", 0, 1, 0, 0},
	{"2006", 1, 0, 0, 0},
}

// parseSpan reads a date of an expression. One with a zone is brought to loc.
func parseSpan(s string, loc *time.Location) (span, error) {
	text := strings.Replace(strings.ReplaceAll(s, "/", "-"), " ", "T", 1)
	if t, err := time.Parse("2006-1-2T15:04:05Z07:00", text); err == nil && inYears(t) {
		return secondSpan(wall(t, loc), s), nil
	}
	for _, l := range spanLayouts {
		if t, err := time.Parse(l.layout, text); err == nil && inYears(t) && t.Nanosecond() == 0 {
			return span{from: t, to: t.AddDate(l.years, l.months, l.day).Add(l.length)}, nil
		}
	}
	return span{}, fmt.Errorf("%q is not a date; %w", s, errDate)
}

func inYears(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 }

var distancePattern = regexp.MustCompile(`^(\d{1,5}) ?(min|h|d|w|mo|y)$`)

// shift is now moved by a distance such as 90d, back when sign is -1. Days and longer give a whole day, so that the
// answer does not hang on the hour at which it is asked; hours and minutes give a second.
func shift(now time.Time, loc *time.Location, sign int, text, source string) (span, error) {
	m := distancePattern.FindStringSubmatch(text)
	if m == nil {
		return span{}, fmt.Errorf(`%q is not a distance in time; write a number and one of min, h, d, w, mo, y, as in "90d"`, text)
	}
	n, _ := strconv.Atoi(m[1]) // at most five digits
	n *= sign
	today := midnight(wall(now, loc))
	var s span
	switch m[2] {
	case "min":
		s = secondSpan(wall(now.Add(time.Duration(n)*time.Minute), loc), source)
	case "h":
		s = secondSpan(wall(now.Add(time.Duration(n)*time.Hour), loc), source)
	case "d":
		s = daySpan(today.AddDate(0, 0, n), source)
	case "w":
		s = daySpan(today.AddDate(0, 0, 7*n), source)
	case "mo":
		s = daySpan(addMonths(today, n), source)
	case "y":
		s = daySpan(addMonths(today, 12*n), source)
	}
	if !inYears(s.from) {
		return span{}, fmt.Errorf("%q leads out of the years 1 to 9999", text)
	}
	return s, nil
}

// addMonths keeps the day of the month where the month has it: a month before 31 March is the last of February.
func addMonths(day time.Time, n int) time.Time {
	first := time.Date(day.Year(), day.Month()+time.Month(n), 1, 0, 0, 0, 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(day.Day(), last)-1)
}
