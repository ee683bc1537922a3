package campaign

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mailer/internal/pace"
)

// Spans are times of the week, one or a list of them, as the front matter has them; the word none is no time at all, for a
// campaign that the workspace's hours do not bind.
type Spans []string

// String joins them as people would list them.
func (s Spans) String() string { return strings.Join(s, "; ") }

// none lifts what the workspace says.
const none = "none"

// How late a scheduled send may still begin.
const (
	lateAlways = "always"
	lateNever  = "never"

	// DefaultLate is for a campaign that says nothing: a machine that was down over night still sends its newsletter, one that
	// comes back after the holidays does not.
	DefaultLate = 24 * time.Hour

	// ForeverLate is how late "always" is.
	ForeverLate time.Duration = math.MaxInt64
)

// notAfterForms are how not_after can be written. A day alone lasts until its end.
var notAfterForms = []string{"2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339}

// parseNotAfter reads a time of the zone, or one that names its own.
func parseNotAfter(text string, zone *time.Location) (time.Time, error) {
	if day, err := time.ParseInLocation(time.DateOnly, text, zone); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	for _, form := range notAfterForms {
		if at, err := time.ParseInLocation(form, text, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", text)
}

var wholeDays = regexp.MustCompile(`^\d{1,4}d$`)

// parseLate reads 1h, 2d, always or never.
func parseLate(text string) (time.Duration, error) {
	switch {
	case text == "":
		return DefaultLate, nil
	case text == lateAlways:
		return ForeverLate, nil
	case text == lateNever:
		return 0, nil
	case wholeDays.MatchString(text):
		n, err := strconv.Atoi(strings.TrimSuffix(text, "d"))
		return time.Duration(n) * 24 * time.Hour, err
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = errors.New("it is negative")
	}
	return d, err
}

// spans reads times of the week; false: none are given, and the workspace's hold.
func (s Spans) spans() ([]pace.Span, bool, error) {
	if len(s) == 1 && s[0] == none {
		return nil, true, nil
	}
	var all []pace.Span
	for _, text := range s {
		one, err := pace.ParseSpan(text)
		if err != nil {
			return nil, false, err
		}
		all = append(all, one)
	}
	return all, len(s) > 0, nil
}

// checkPacing applies the rules of the keys that say when mail may go.
func (d *Document) checkPacing() error {
	f := d.Front
	if _, err := parseNotAfter(f.NotAfter, time.UTC); f.NotAfter != "" && err != nil {
		return d.errorAt("not_after", fmt.Sprintf("not_after is %q", f.NotAfter), "it is a time such as 2026-12-24 18:00")
	}
	if _, err := parseLate(f.Late); err != nil {
		return d.errorAt("late", fmt.Sprintf("late is %q", f.Late), "it is a time span such as 1h or 2d, always or never")
	}
	for _, k := range []struct {
		key   string
		spans Spans
	}{{"windows", f.Windows}, {"quiet", f.Quiet}} {
		if _, _, err := k.spans.spans(); err != nil {
			return d.errorAt(k.key, k.key+": "+err.Error(), `put one with a comma in quotes; "none" lifts what mailer.yaml says`)
		}
	}
	return nil
}

// front is the front matter of any language: what is said about times is the same in all.
func (c Content) front() Front {
	if len(c.Variants) == 0 {
		return Front{}
	}
	return c.Variants[0].Front
}

// NotAfter is when nobody gets the campaign any more; zero: there is no such time.
func (c Content) NotAfter() time.Time {
	zone, err := time.LoadLocation(c.Timezone)
	if err != nil {
		zone = time.UTC // a content made by hand
	}
	at, err := parseNotAfter(c.front().NotAfter, zone)
	if err != nil { // none, because Parse has refused all others
		return time.Time{}
	}
	return at
}

// Late is how long after its time a scheduled send may still begin.
func (c Content) Late() time.Duration {
	late, err := parseLate(c.front().Late)
	if err != nil {
		return DefaultLate
	}
	return late
}

// Hours are the workspace's hours with what the campaign says instead.
func (c Content) Hours(workspace pace.Hours) pace.Hours {
	if windows, given, err := c.front().Windows.spans(); err == nil && given {
		workspace.Windows = windows
	}
	if quiet, given, err := c.front().Quiet.spans(); err == nil && given {
		workspace.Quiet = quiet
	}
	return workspace
}
