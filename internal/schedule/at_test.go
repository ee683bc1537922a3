package schedule

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestAt(t *testing.T) {
	const tokyo, berlin, newYork, kiritimati, lordHowe, samoa = "Asia/Tokyo", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Australia/Lord_Howe", "Pacific/Apia"
	for _, tt := range []struct{ text, zone, now, want string }{
		{"2026-12-01 09:00", tokyo, "2026-11-26T12:00:00Z", "2026-12-01T00:00:00Z"},
		{" 2026-12-01   09:00:30 ", tokyo, "2026-11-26T12:00:00Z", "2026-12-01T00:00:30Z"},
		{"2026-12-01T09:00", tokyo, "2026-11-26T12:00:00Z", "2026-12-01T00:00:00Z"},
		{"2026-12-01T09:00:00+01:00", tokyo, "2026-11-26T12:00:00Z", "2026-12-01T08:00:00Z"},
		{"2026-12-01 09:00Z", tokyo, "2026-11-26T12:00:00Z", "2026-12-01T09:00:00Z"},
		{"2026-12-01 09:00 -05:00", tokyo, "2026-11-26T12:00:00Z", "2026-12-01T14:00:00Z"},
		// It is the 27th in Tokyo and the 26th in New York.
		{"tomorrow 09:00", tokyo, "2026-11-26T16:00:00Z", "2026-11-28T00:00:00Z"},
		{"Tomorrow 09:00", newYork, "2026-11-26T16:00:00Z", "2026-11-27T14:00:00Z"},
		{"today 23:00", tokyo, "2026-11-26T12:00:00Z", "2026-11-26T14:00:00Z"},
		{"23:00", tokyo, "2026-11-26T12:00:00Z", "2026-11-26T14:00:00Z"},
		{"09:00", tokyo, "2026-11-26T12:00:00Z", "2026-11-27T00:00:00Z"},
		{"21:00", tokyo, "2026-11-26T12:00:00Z", "2026-11-27T12:00:00Z"}, // it is 21:00 now
		{"0:10", kiritimati, "2026-12-31T10:05:00Z", "2026-12-31T10:10:00Z"},
		{"9:00", berlin, "2026-03-28T12:00:00Z", "2026-03-29T07:00:00Z"}, // tomorrow, in summer time
		{"2026-10-25 02:59", berlin, "2026-10-01T00:00:00Z", "comes twice: 2026-10-25T02:59:00+02:00 or 2026-10-25T02:59:00+01:00"},
		{"2026-10-25 03:00", berlin, "2026-10-01T00:00:00Z", "2026-10-25T02:00:00Z"},
		{"2026-10-25 01:59", berlin, "2026-10-01T00:00:00Z", "2026-10-24T23:59:00Z"},
		{"2026-10-25T02:59:00+01:00", berlin, "2026-10-01T00:00:00Z", "2026-10-25T01:59:00Z"},
		{"2026-03-29 02:00", berlin, "2026-03-01T00:00:00Z", "comes never: 2026-03-29T01:00:00+01:00 or 2026-03-29T03:00:00+02:00"},
		{"2026-03-29 02:30", berlin, "2026-03-01T00:00:00Z", "comes never: 2026-03-29T01:30:00+01:00 or 2026-03-29T03:30:00+02:00"},
		{"2026-03-29 03:00", berlin, "2026-03-01T00:00:00Z", "2026-03-29T01:00:00Z"},
		{"tomorrow 02:30", newYork, "2026-03-07T17:00:00Z", "comes never: 2026-03-08T01:30:00-05:00 or 2026-03-08T03:30:00-04:00"},
		{"01:30", newYork, "2026-10-31T17:00:00Z", "comes twice: 2026-11-01T01:30:00-04:00 or 2026-11-01T01:30:00-05:00"},
		{"01:30", newYork, "2026-11-01T06:31:00Z", "2026-11-02T06:30:00Z"}, // both have passed
		{"02:30", newYork, "2026-03-08T08:00:00Z", "2026-03-09T06:30:00Z"}, // so has what never came
		{"2026-04-05 01:45", lordHowe, "2026-04-01T00:00:00Z", "comes twice: 2026-04-05T01:45:00+11:00 or 2026-04-05T01:45:00+10:30"},
		{"2011-12-30 12:00", samoa, "2011-12-01T00:00:00Z", "comes never: 2011-12-29T12:00:00-10:00 or 2011-12-31T12:00:00+14:00"}, // a day that was left out
		{"2026-11-26 20:59", tokyo, "2026-11-26T12:00:00Z", "has passed: it is 2026-11-26 21:00:00"},
		{"2026-11-26 21:00", tokyo, "2026-11-26T12:00:00Z", "has passed"},
		{"today 09:00", tokyo, "2026-11-26T12:00:00Z", "has passed"},
		{"2026-11-26T11:59:59Z", tokyo, "2026-11-26T12:00:00Z", "has passed"},
		{"2026-12-01", tokyo, "2026-11-26T12:00:00Z", "is no time"},
		{"2026-02-30 09:00", tokyo, "2026-01-26T12:00:00Z", "is no time"},
		{"24:00", tokyo, "2026-11-26T12:00:00Z", "is no time"},
		{"monday 09:00", tokyo, "2026-11-26T12:00:00Z", "is no time"},
		{"tomorrow", tokyo, "2026-11-26T12:00:00Z", "is no time"},
		{"", tokyo, "2026-11-26T12:00:00Z", "is no time"},
	} {
		now, err := time.Parse(time.RFC3339, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		got, err := At(tt.text, now, zone(t, tt.zone))
		if err == nil {
			if text := got.UTC().Format(time.RFC3339); text != tt.want {
				t.Errorf("%q in %s: got %s, want %s", tt.text, tt.zone, text, tt.want)
			}
			continue
		}
		for _, part := range strings.Split(tt.want, ": ") {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q in %s: got %q, want %q", tt.text, tt.zone, err, tt.want)
			}
		}
	}
}

// Whatever is taken is ahead, shows the digits that were written, and is the only instant that does; whatever is refused offers two that
// are taken.
func FuzzAt(f *testing.F) {
	for _, s := range []string{"2026-10-25 02:30", "2026-03-29 02:30", "02:30", "tomorrow 01:30", "2026-12-01T09:00:00+09:00", "x"} {
		f.Add(s, int64(1774656000), uint8(0))
		f.Add(s, int64(1792886400), uint8(1))
	}
	zones := []string{"Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"}
	f.Fuzz(func(t *testing.T, text string, unix int64, which uint8) {
		if unix < 0 || unix > 1<<35 {
			return
		}
		now, z := time.Unix(unix, 0), zone(t, zones[int(which)%len(zones)])
		got, err := At(text, now, z)
		if err != nil {
			_, offered, ok := strings.Cut(err.Error(), "change: write ")
			if !ok {
				return
			}
			choices := strings.Split(offered, " or ")
			if len(choices) != 2 {
				t.Fatalf("%q: offered %q", text, choices)
			}
			for _, c := range choices {
				if _, err := At(c, time.Unix(0, 0), z); err != nil {
					t.Errorf("%q: offered %s: %v", text, c, err)
				}
			}
			return
		}
		if !got.After(now) {
			t.Errorf("%q at %v: %v is not ahead", text, now, got)
		}
		for o := -3 * time.Hour; o <= 3*time.Hour; o += 15 * time.Minute {
			other := got.Add(o)
			if o != 0 && other.In(z).Format(time.DateTime) == got.In(z).Format(time.DateTime) {
				if _, ok := parse(strings.Join(strings.Fields(text), " "), zoned); !ok {
					t.Errorf("%q: both %v and %v show it", text, got, other)
				}
			}
		}
	})
}
