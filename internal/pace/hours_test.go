package pace

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]string{
		"mon-fri 09:00-18:00": "mon-fri 09:00-18:00", "21:00-08:00": "21:00-08:00", "sat,sun": "sat,sun", "daily 10:00-12:00": "10:00-12:00",
		"Fri-Mon 9:00-24:00": "mon,fri-sun 09:00-24:00", "MONDAY,wed-Friday": "mon,wed-fri", "daily": "daily", "00:00-24:00": "daily",
		"sun 22:00-00:00": "sun 22:00-24:00", "  tue   8:30-8:31 ": "tue 08:30-08:31", "mon-sun": "daily", "mon-mon": "mon",
	} {
		s, err := ParseSpan(text)
		if err != nil || s.String() != want {
			t.Errorf("%q: %v, %v; want %s", text, s, err, want)
		}
	}
	for _, text := range []string{"", " ", "mo", "mon-", "mon,", "mon 9", "mon 9-18", "9:00", "9:00-", "-9:00", "25:00-26:00", "24:00-25:00", "24:00-01:00", "09:60-10:00",
		"9:00-18:00 mon", "mon tue", "mon tue 9:00-10:00", "mon 09:00-09:00", "9:0-10:00", "+9:00-10:00", "009:00-10:00", "9:00-10:00-11:00"} {
		if s, err := ParseSpan(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, s)
		}
	}
}

func FuzzParseSpan(f *testing.F) {
	for _, s := range []string{"mon-fri 09:00-18:00", "21:00-08:00", "sat,sun", "daily 10:00-12:00", "sun 22:00-0:00", "fri-mon", "24:00-24:00", "mon,mon"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		span, err := ParseSpan(s)
		if err != nil {
			return
		}
		if span.Days == 0 || span.From < 0 || span.From >= endOf || span.To <= 0 || span.To > endOf {
			t.Errorf("%q: %+v is no time of the week", s, span)
		}
		if back, err := ParseSpan(span.String()); err != nil || back != span {
			t.Errorf("%q: %v reads back as %v, %v", s, span, back, err)
		}
		if (Hours{Windows: []Span{span}}).Next(noon).IsZero() {
			t.Errorf("%q never opens", s)
		}
	})
}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func hours(t testing.TB, windows, quiet, name string) Hours {
	t.Helper()
	h := Hours{Location: zone(t, name)}
	for text, spans := range map[string]*[]Span{windows: &h.Windows, quiet: &h.Quiet} {
		for part := range strings.SplitSeq(text, ";") {
			if part == "" {
				continue
			}
			s, err := ParseSpan(part)
			if err != nil {
				t.Fatal(err)
			}
			*spans = append(*spans, s)
		}
	}
	return h
}

func TestHours(t *testing.T) {
	const tokyo, berlin, york, samoa = "Asia/Tokyo", "Europe/Berlin", "America/New_York", "Pacific/Apia"
	const layout = "2006-01-02 15:04 -0700"
	for _, tt := range []struct {
		name, windows, quiet, zone string
		now, next, closes          string // closes: of the moment that next names; empty: never
	}{
		{"always", "", "", tokyo, "2026-12-01 12:00 +0900", "2026-12-01 12:00 +0900", ""},
		{"all day, every day", "daily", "", tokyo, "2026-12-01 12:00 +0900", "2026-12-01 12:00 +0900", ""},
		{"open", "mon-fri 09:00-18:00", "", tokyo, "2026-12-01 12:00 +0900", "2026-12-01 12:00 +0900", "2026-12-01 18:00 +0900"},
		{"told in another zone", "mon-fri 09:00-18:00", "", tokyo, "2026-12-01 03:00 +0000", "2026-12-01 12:00 +0900", "2026-12-01 18:00 +0900"},
		{"in the morning", "mon-fri 09:00-18:00", "", tokyo, "2026-12-01 08:59 +0900", "2026-12-01 09:00 +0900", "2026-12-01 18:00 +0900"},
		{"the end is closed", "mon-fri 09:00-18:00", "", tokyo, "2026-12-01 18:00 +0900", "2026-12-02 09:00 +0900", "2026-12-02 18:00 +0900"},
		{"over the weekend", "mon-fri 09:00-18:00", "", tokyo, "2026-12-04 19:00 +0900", "2026-12-07 09:00 +0900", "2026-12-07 18:00 +0900"},
		{"in the night", "", "21:00-08:00", tokyo, "2026-12-01 23:00 +0900", "2026-12-02 08:00 +0900", "2026-12-02 21:00 +0900"},
		{"after midnight", "", "21:00-08:00", tokyo, "2026-12-01 02:00 +0900", "2026-12-01 08:00 +0900", "2026-12-01 21:00 +0900"},
		{"over midnight belongs to the day before", "fri 22:00-02:00", "", tokyo, "2026-12-05 01:00 +0900", "2026-12-05 01:00 +0900", "2026-12-05 02:00 +0900"},
		{"and not to the next", "sat 22:00-02:00", "", tokyo, "2026-12-05 01:00 +0900", "2026-12-05 22:00 +0900", "2026-12-06 02:00 +0900"},
		{"quiet wins", "mon-fri 09:00-18:00", "12:00-13:00", tokyo, "2026-12-01 12:30 +0900", "2026-12-01 13:00 +0900", "2026-12-01 18:00 +0900"},
		{"until it is quiet", "mon-fri 09:00-18:00", "12:00-13:00", tokyo, "2026-12-01 10:00 +0900", "2026-12-01 10:00 +0900", "2026-12-01 12:00 +0900"},
		{"quiet over the opening", "09:00-18:00", "08:00-10:00", tokyo, "2026-12-01 08:30 +0900", "2026-12-01 10:00 +0900", "2026-12-01 18:00 +0900"},
		{"quiet days", "09:00-18:00", "sat,sun", tokyo, "2026-12-05 10:00 +0900", "2026-12-07 09:00 +0900", "2026-12-07 18:00 +0900"},
		{"windows that touch are one", "09:00-12:00;12:00-18:00", "", tokyo, "2026-12-01 10:00 +0900", "2026-12-01 10:00 +0900", "2026-12-01 18:00 +0900"},
		{"a week that never closes", "mon-fri;sat,sun", "", tokyo, "2026-12-01 10:00 +0900", "2026-12-01 10:00 +0900", ""},
		{"quiet always", "09:00-18:00", "daily", tokyo, "2026-12-01 10:00 +0900", "", ""},
		{"quiet in every window", "mon 09:00-18:00", "mon", tokyo, "2026-12-01 10:00 +0900", "", ""},

		{"an hour that does not exist opens after it", "sun 02:30-04:00", "", berlin, "2026-03-29 01:00 +0100", "2026-03-29 03:00 +0200", "2026-03-29 04:00 +0200"},
		{"one that lies in it waits a week", "sun 02:10-02:50", "", berlin, "2026-03-29 01:00 +0100", "2026-04-05 02:10 +0200", "2026-04-05 02:50 +0200"},
		{"quiet until an hour that does not exist", "", "22:00-02:30", berlin, "2026-03-29 01:00 +0100", "2026-03-29 03:00 +0200", "2026-03-29 22:00 +0200"},
		{"hours of the day after the change", "09:00-18:00", "", berlin, "2026-03-28 20:00 +0100", "2026-03-29 09:00 +0200", "2026-03-29 18:00 +0200"},
		{"an hour that comes twice is one stretch", "sun 02:00-02:30", "", berlin, "2026-10-25 01:00 +0200", "2026-10-25 02:00 +0200", "2026-10-25 02:30 +0100"},
		{"in the middle of it", "sun 02:00-02:30", "", berlin, "2026-10-25 02:45 +0200", "2026-10-25 02:45 +0200", "2026-10-25 02:30 +0100"},
		{"quiet for as long", "", "02:00-02:30", berlin, "2026-10-25 02:15 +0200", "2026-10-25 02:30 +0100", "2026-10-26 02:00 +0100"},
		{"a day of 25 hours", "sun", "", york, "2026-11-01 00:30 -0400", "2026-11-01 00:30 -0400", "2026-11-02 00:00 -0500"},
		{"a day that was left out", "fri 09:00-18:00", "", samoa, "2011-12-29 20:00 -1000", "2012-01-06 09:00 +1400", "2012-01-06 18:00 +1400"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := hours(t, tt.windows, tt.quiet, tt.zone)
			now, err := time.Parse(layout, tt.now)
			if err != nil {
				t.Fatal(err)
			}
			show := func(at time.Time) string {
				if at.IsZero() {
					return ""
				}
				return at.In(h.Location).Format(layout)
			}
			next := h.Next(now)
			if show(next) != tt.next {
				t.Errorf("opens at %q, want %q", show(next), tt.next)
			}
			if got := show(h.Closes(next)); tt.next != "" && got != tt.closes {
				t.Errorf("closes at %q, want %q", got, tt.closes)
			}
		})
	}
}

// Minute by minute over three weeks with a change of the clocks: Next is open and nothing before it is, and Closes is where
// that ends.
func TestHoursMinuteByMinute(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		spans := func(n int) (all []Span) {
			for range n {
				s := Span{Days: Days(1 + rnd.IntN(127)), From: 15 * rnd.IntN(96), To: 15 * (1 + rnd.IntN(96))}
				if s.From == s.To {
					s.From, s.To = 0, endOf
				}
				all = append(all, s)
			}
			return all
		}
		h := Hours{Windows: spans(rnd.IntN(3)), Quiet: spans(rnd.IntN(3)), Location: zone(t, []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}[rnd.IntN(3)])}
		from := time.Date(2026, []time.Month{time.March, time.October}[rnd.IntN(2)], 20, 0, 0, 0, 0, time.UTC)
		var next, closes time.Time
		for at := from; at.Before(from.AddDate(0, 0, 21)); at = at.Add(15 * time.Minute) {
			got := h.Next(at)
			if !next.IsZero() && at.Before(next) && !got.Equal(next) {
				t.Fatalf("%v: opens at %v at %v, it was %v", h, got, at, next)
			}
			next = got
			if !got.Equal(at) {
				if c := h.Closes(at); !c.Equal(at) {
					t.Fatalf("%v: closed at %v, closes at %v", h, at, c)
				}
				if !closes.IsZero() && at.Before(closes) {
					t.Fatalf("%v: closed at %v, before %v", h, at, closes)
				}
				closes = time.Time{}
				continue
			}
			if !closes.IsZero() && !at.Before(closes) {
				t.Fatalf("%v: open at %v, closed since %v", h, at, closes)
			}
			closes = h.Closes(at)
		}
	}
}

func TestHoursString(t *testing.T) {
	for want, h := range map[string]Hours{
		"":                         {},
		"09:00-18:00 (UTC)":        {Windows: []Span{{daily, 540, 1080}}},
		"not sat,sun (Asia/Tokyo)": hours(t, "", "sat,sun", "Asia/Tokyo"),
		"mon-fri, sat 09:00-12:00, not 12:00-13:00 (Asia/Tokyo)": hours(t, "mon-fri;sat 9:00-12:00", "12:00-13:00", "Asia/Tokyo"),
	} {
		if got := h.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
