package campaign

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mailer/internal/pace"
)

func pacing(t *testing.T, front string) Content {
	t.Helper()
	return freezeAll(t, files("campaigns/a.md", "---\nsubject: x\n"+front+"---\nOne"), "a")
}

func TestNotAfter(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "0001-01-01T00:00:00Z",
		"not_after: 2026-12-24 18:00\n":        "2026-12-24T18:00:00+09:00",
		"not_after: 2026-12-24 18:00:30\n":     "2026-12-24T18:00:30+09:00",
		"not_after: \"2026-12-24T18:00\"\n":    "2026-12-24T18:00:00+09:00",
		"not_after: 2026-12-24\n":              "2026-12-25T00:00:00+09:00", // the day is still good
		"not_after: 2026-12-24T18:00:00Z\n":    "2026-12-24T18:00:00Z",
		"not_after: 2026-12-24T18:00:00-05:00": "2026-12-24T18:00:00-05:00",
	} {
		c := pacing(t, strings.TrimSuffix(text, "\n")+"\n")
		c.Timezone = "Asia/Tokyo"
		if got := c.NotAfter().Format(time.RFC3339); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := (Content{}).NotAfter(); !got.IsZero() {
		t.Errorf("of an empty content: %v", got)
	}
}

func TestLate(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 24 * time.Hour, "late: 1h\n": time.Hour, "late: 90m\n": 90 * time.Minute, "late: 2d\n": 48 * time.Hour, "late: never\n": 0, "late: always\n": ForeverLate,
	} {
		if got := pacing(t, text).Late(); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestHours(t *testing.T) {
	span := func(text string) pace.Span {
		s, err := pace.ParseSpan(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	workspace := pace.Hours{Windows: []pace.Span{span("mon-fri 09:00-18:00")}, Quiet: []pace.Span{span("21:00-08:00")}, Location: time.UTC}
	show := func(spans []pace.Span) string {
		var all []string
		for _, s := range spans {
			all = append(all, fmt.Sprint(s))
		}
		return strings.Join(all, "; ")
	}
	for _, tt := range []struct{ front, windows, quiet string }{
		{"", show(workspace.Windows), show(workspace.Quiet)},
		{"windows: [sat 10:00-12:00, sun 14:00-16:00]\n", show([]pace.Span{span("sat 10:00-12:00"), span("sun 14:00-16:00")}), show(workspace.Quiet)},
		{"quiet: 22:00-07:00\n", show(workspace.Windows), show([]pace.Span{span("22:00-07:00")})},
		{"quiet: none\nwindows: [none]\n", "", ""},
		{"windows: [\"sat,sun 10:00-12:00\"]\n", show([]pace.Span{span("sat,sun 10:00-12:00")}), show(workspace.Quiet)},
	} {
		got := pacing(t, tt.front).Hours(workspace)
		if show(got.Windows) != tt.windows || show(got.Quiet) != tt.quiet || got.Location != time.UTC {
			t.Errorf("%q: windows %q, quiet %q", tt.front, show(got.Windows), show(got.Quiet))
		}
	}
}

func TestPacingRefuses(t *testing.T) {
	for front, want := range map[string]string{
		"not_after: Christmas":        `a.md:3: not_after is "Christmas"; it is a time such as 2026-12-24 18:00`,
		"not_after: 2026-02-30 18:00": `a.md:3: not_after is "2026-02-30 18:00"`,
		"not_after: 24.12.2026":       `a.md:3: not_after is`,
		"not_after: [2026-12-24]":     `not_after has a value of the wrong kind`,
		"late: soon":                  `a.md:3: late is "soon"; it is a time span such as 1h or 2d, always or never`,
		"late: -1h":                   `late is "-1h"`,
		"late: 99999999d":             `late is "99999999d"`,
		"windows: [mornings]":         `a.md:3: windows: "mornings"`,
		"windows: {mon: 1}":           `windows has a value of the wrong kind`,
		"quiet: [21:00-08:00, night]": `a.md:3: quiet: "night"`,
		"quiett: none":                `unknown key "quiett"; did you mean "quiet"?`,
		"not-after: 2026-12-24":       `did you mean "not_after"?`,
	} {
		_, err := Parse("a.md", []byte("---\nsubject: x\n"+front+"\n---\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", front, err, want)
		}
	}
}

// They are the campaign's and not one language's.
func TestLanguagesShareTheirPacing(t *testing.T) {
	for _, front := range []string{"not_after: 2026-12-24", "late: never", "windows: [09:00-18:00]", "quiet: none"} {
		key, _, _ := strings.Cut(front, ":")
		_, err := Load(files("campaigns/a.en.md", "---\nsubject: x\n---\n", "campaigns/a.ja.md", "---\nsubject: x\n"+front+"\n---\n"), "a")
		if err == nil || !strings.Contains(err.Error(), "campaigns/a.ja.md:3: "+key+" is not the same as in campaigns/a.en.md") {
			t.Errorf("%s: %v", front, err)
		}
	}
}

func TestPacingFreezes(t *testing.T) {
	old := pacing(t, "not_after: 2026-12-24 18:00\nwindows: [09:00-18:00]\n")
	for front, want := range map[string]string{
		"not_after: 2026-12-25 18:00\nwindows: [09:00-18:00]\n":              `not_after was "2026-12-24 18:00", is now "2026-12-25 18:00"`,
		"not_after: 2026-12-24 18:00\nwindows: [09:00-18:00, sat]\n":         `windows was "09:00-18:00", is now "09:00-18:00; sat"`,
		"not_after: 2026-12-24 18:00\nwindows: [09:00-18:00]\nquiet: none\n": `quiet was "", is now "none"`,
		"not_after: 2026-12-24 18:00\nwindows: [09:00-18:00]\nlate: 1h\n":    `late was "", is now "1h"`,
	} {
		now := pacing(t, front)
		if d := strings.Join(Diff(old, now), "\n"); now.Hash() == old.Hash() || !strings.Contains(d, want) {
			t.Errorf("%q: got %q, want %q", front, d, want)
		}
	}
}
