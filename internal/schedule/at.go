package schedule

import (
	"fmt"
	"strings"
	"time"
)

// forms says how a time can be written, for messages.
const forms = `write it as "2026-12-01 09:00", "tomorrow 09:00", "09:00" or with its zone, "2026-12-01T09:00:00+09:00"`

// The ways to write a time with its zone, and without.
var (
	zoned = []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04Z07:00", "2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04 Z07:00"}
	plain = []string{"2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05"}
	hours = []string{"15:04", "15:04:05"}
)

// At is the instant that a person means by a time in a zone. A time of day alone is the next one. What has passed is refused, and so is
// a time that the clocks there skip or show twice, with the two instants that may be meant.
func At(text string, now time.Time, zone *time.Location) (time.Time, error) {
	text = strings.Join(strings.Fields(text), " ")
	if t, ok := parse(text, zoned); ok {
		return ahead(t.In(zone), text, now)
	}
	if t, ok := parse(text, plain); ok {
		t, err := onlyOne(t, zone)
		if err != nil {
			return t, err
		}
		return ahead(t, text, now)
	}
	day, clock, said := strings.Cut(text, " ")
	if !said {
		day, clock = "", text
	}
	t, ok := parse(clock, hours)
	if !ok {
		return time.Time{}, fmt.Errorf("%q is no time: %s", text, forms)
	}
	today := on(now.In(zone), t)
	switch strings.ToLower(day) {
	case "":
		if _, instants := wall(today, zone); instants[len(instants)-1].After(now) {
			return onlyOne(today, zone)
		}
		return onlyOne(today.AddDate(0, 0, 1), zone)
	case "today":
		t, err := onlyOne(today, zone)
		if err != nil {
			return t, err
		}
		return ahead(t, text, now)
	case "tomorrow":
		return onlyOne(today.AddDate(0, 0, 1), zone)
	}
	return time.Time{}, fmt.Errorf("%q is no time: %s", text, forms)
}

func parse(text string, layouts []string) (time.Time, bool) {
	for _, l := range layouts {
		if t, err := time.Parse(l, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// on is a time of day on a day, as a clock face shows it: the instant in UTC stands for the digits.
func on(day, clock time.Time) time.Time {
	return time.Date(day.Year(), day.Month(), day.Day(), clock.Hour(), clock.Minute(), clock.Second(), 0, time.UTC)
}

func ahead(t time.Time, text string, now time.Time) (time.Time, error) {
	if t.After(now) {
		return t, nil
	}
	return t, fmt.Errorf("%q has passed: it is %s", text, now.In(t.Location()).Format("2006-01-02 15:04:05"))
}

// wall finds the instants at which a clock in a zone shows these digits: one; none when the clock is put forward over them, then the two
// that may be meant are what they would be before the change and after it; two when it is put back.
func wall(digits time.Time, zone *time.Location) (shown int, instants []time.Time) {
	around := time.Date(digits.Year(), digits.Month(), digits.Day(), digits.Hour(), digits.Minute(), digits.Second(), 0, zone)
	start, end := around.ZoneBounds()
	offsets := []int{offset(around)}
	if !start.IsZero() {
		offsets = append(offsets, offset(start.Add(-time.Second)))
	}
	if !end.IsZero() {
		offsets = append(offsets, offset(end))
	}
	var shifted []time.Time
	for _, o := range offsets {
		t := digits.Add(-time.Duration(o) * time.Second).In(zone)
		switch same := offset(t) == o; {
		case same && !contains(instants, t):
			instants = append(instants, t)
		case !same && !contains(shifted, t):
			shifted = append(shifted, t)
		}
	}
	shown = len(instants)
	if shown == 0 {
		instants = shifted
	}
	if len(instants) == 2 && instants[1].Before(instants[0]) {
		instants[0], instants[1] = instants[1], instants[0]
	}
	return shown, instants
}

func offset(t time.Time) int {
	_, o := t.Zone()
	return o
}

func contains(all []time.Time, t time.Time) bool {
	for _, a := range all {
		if a.Equal(t) {
			return true
		}
	}
	return false
}

func onlyOne(digits time.Time, zone *time.Location) (time.Time, error) {
	shown, instants := wall(digits, zone)
	if shown == 1 {
		return instants[0], nil
	}
	how := "twice"
	if shown == 0 {
		how = "never"
	}
	var choices []string
	for _, t := range instants {
		choices = append(choices, t.Format(time.RFC3339))
	}
	return time.Time{}, fmt.Errorf("%s comes %s in %s, because the clocks change: write %s", digits.Format("2006-01-02 15:04"), how, zone, strings.Join(choices, " or "))
}
