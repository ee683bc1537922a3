package store

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"mailer/internal/provider"
)

func TestAnswersHoldForAnHour(t *testing.T) {
	s, now := openTest(t)
	look := func(name, want string) {
		t.Helper()
		if got, ok, err := s.Answer(t.Context(), name); err != nil || got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v, %v, want %q", name, got, ok, err, want)
		}
	}
	keep := func(name, text string) {
		t.Helper()
		if err := s.KeepAnswer(t.Context(), name, text); err != nil {
			t.Fatal(err)
		}
	}
	look("a", "")
	keep("a", `{"x": "y z"}`)
	look("a", `{"x": "y z"}`)
	*now = now.Add(30 * time.Minute)
	keep("b", "B")
	keep("a2", "A2")
	keep("a2", "A3")
	look("a2", "A3")
	*now = now.Add(29 * time.Minute)
	look("a", `{"x": "y z"}`)
	*now = now.Add(time.Minute)
	look("a", "")
	keep("c", "C")
	if n := scalar(t, s, "SELECT count(*) FROM meta WHERE name LIKE 'answers:%'"); n != 3 {
		t.Errorf("%d are kept, want b, a2 and c", n)
	}
	*now = now.Add(-2 * time.Hour) // the clock was set back: they would hold for three hours
	look("b", "")
	if n := scalar(t, s, "SELECT count(*) FROM meta WHERE name NOT LIKE 'answers:%'"); n == 0 {
		t.Error("other settings are gone")
	}
}

func TestFullestDay(t *testing.T) {
	s, now := openTest(t)
	var err error
	if s.providers, err = provider.Presets(); err != nil {
		t.Fatal(err)
	}
	c := freeze(t, s, "news", "marketing", Audience{})
	other := freeze(t, s, "other", "marketing", Audience{})
	row := 0
	sent := func(campaign int64, domain, state string, at time.Time) {
		t.Helper()
		row++
		key := fmt.Sprintf("p%d@%s", row, domain)
		exec(t, s, "INSERT INTO deliveries (id, campaign, key, address, domain, state, reason, updated_at) VALUES (?, ?, ?, ?, ?, ?, 'x', ?)", row, campaign, key, key, domain, state, at.UnixMilli())
	}
	day := 24 * time.Hour
	for range 3 {
		sent(c.ID, "gmail.com", "accepted", *now)
		sent(c.ID, "gmail.com", "accepted", now.Add(23*time.Hour))
		sent(c.ID, "gmail.com", "accepted", now.Add(26*time.Hour))
	}
	sent(c.ID, "googlemail.com", "accepted", now.Add(25*time.Hour))
	sent(c.ID, "gmail.com", "failed", now.Add(25*time.Hour))
	sent(c.ID, "gmail.com", "pending", now.Add(25*time.Hour))
	sent(c.ID, "kiku.jp", "accepted", *now)
	sent(c.ID, "yahoo.com", "bounced", now.Add(9*day)) // it bounced long after it was accepted
	exec(t, s, "INSERT INTO attempts (delivery, number, at, outcome) VALUES (?, 1, ?, 'accepted')", row, now.UnixMilli())
	sent(c.ID, "yahoo.com", "accepted", now.Add(time.Hour))
	sent(other.ID, "gmail.com", "accepted", now.Add(25*time.Hour))
	all := Sent{}
	if err := s.AddSent(t.Context(), c.ID, all); err != nil {
		t.Fatal(err)
	}
	if got, want := all.Fullest(day), map[string]int64{"gmail": 7, "yahoo": 2}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if err := s.AddSent(t.Context(), other.ID, all); err != nil {
		t.Fatal(err)
	}
	if got := all.Fullest(day)["gmail"]; got != 8 {
		t.Errorf("with the other campaign %d, want 8", got)
	}
}

func TestFroms(t *testing.T) {
	s, _ := openTest(t)
	want := map[int64]string{}
	for content, froms := range map[string]string{
		`{"sender":{"from":"News <a@kiku.jp>"},"variants":[{"front":{"subject":"x"}}]}`:                                                  "[News <a@kiku.jp>]",
		`{"sender":{"from":"a@kiku.jp"},"variants":[{"front":{"from":"b@ume.jp"}},{"front":{}}]}`:                                        "[b@ume.jp a@kiku.jp]",
		`{"sender":{"from":"a@kiku.jp"},"variants":[{"front":{"from":"Shop <s@ume.jp>"},"sender":{"from":"Shop <s@ume.jp>"}}],"id":"x"}`: "[Shop <s@ume.jp>]",
		`{}`: "[]",
	} {
		c, err := s.CreateCampaign(t.Context(), Campaign{Name: fmt.Sprint("c", len(want)), Class: "marketing", Content: content, Options: "{}"}, Audience{Class: "marketing"})
		if err != nil {
			t.Fatal(err)
		}
		want[c.ID] = froms
	}
	got := map[int64]string{}
	if err := s.Froms(t.Context(), func(id int64, froms []string) { got[id] = fmt.Sprint(froms) }); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}
