package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// healthy is a list with a past: campaign "old" two years ago, "spring" half a year ago, "news" last month.
func healthy(t *testing.T) (*Store, time.Time) {
	t.Helper()
	s, clock := openTest(t)
	now := *clock
	ago := func(days int) int64 { return now.AddDate(0, 0, -days).UnixMilli() }
	for i, addr := range []string{"a@gmail.com", "b@gmail.com", "a.b@gmail.com", "ab@gmail.com", "info+x@example.jp", "info@example.jp", "no-reply@example.jp",
		"x@docomo.ne.jp", "y@docomo.ne.jp", "+info@example.jp"} {
		exec(t, s, "INSERT INTO contacts (id, key, address, fields, created_at, updated_at) VALUES (?, ?, ?, '{}', ?, 1)", i+1, addr, addr, ago(10*i))
	}
	for i, days := range []int{730, 180, 30} {
		exec(t, s, "INSERT INTO campaigns (id, name, class, content_hash, content, state, created_at, expires_at) VALUES (?, ?, 'marketing', '', '', 'finished', ?, 0)",
			i+1, []string{"old", "spring", "news"}[i], ago(days))
	}
	for i, d := range []struct {
		campaign      int
		key, state    string
		reason, event string
		days          int
	}{
		{1, "a@gmail.com", "accepted", "", "", 730}, {1, "b@gmail.com", "accepted", "", "", 730}, {1, "x@docomo.ne.jp", "bounced", "userunknown", "bounce", 730},
		{2, "a@gmail.com", "accepted", "", "", 180}, {2, "ab@gmail.com", "failed", "userunknown", "", 180}, {2, "y@docomo.ne.jp", "failed", "blocked", "", 180},
		{3, "a@gmail.com", "accepted", "", "", 30}, {3, "b@gmail.com", "bounced", "userunknown", "bounce", 30}, {3, "info@example.jp", "bounced", "mailboxfull", "soft_bounce", 30},
		{3, "x@docomo.ne.jp", "deferred", "mailboxfull", "", 30}, {3, "y@docomo.ne.jp", "accepted", "", "", 30},
	} {
		exec(t, s, "INSERT INTO deliveries (id, campaign, key, address, domain, state, reason, attempts, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?)",
			i+1, d.campaign, d.key, d.key, d.key[strings.IndexByte(d.key, '@')+1:], d.state, d.reason, ago(d.days))
		if d.event != "" {
			exec(t, s, "INSERT INTO events (at, kind, key, delivery, campaign) VALUES (?, ?, ?, ?, ?)", ago(d.days-1), d.event, d.key, i+1, d.campaign)
		}
	}
	return s, now
}

func TestDomainShares(t *testing.T) {
	s, _ := healthy(t)
	want := []DomainShare{
		{"example.jp", 4, [ProofAges]int64{NoProof: 4}},
		{"gmail.com", 4, [ProofAges]int64{ProofFresh: 1, ProofOld: 1, NoProof: 2}},
		{"docomo.ne.jp", 2, [ProofAges]int64{ProofFresh: 1, NoProof: 1}},
	}
	for _, stretch := range []int64{1000, 3, 1} { // on one connection, and cut into pieces for several
		if stretch < 1000 {
			s.sizes.apart, s.sizes.stretch = 1, stretch
		}
		var last int64
		got, err := s.DomainShares(t.Context(), Where{}, func(done, total int64) { last = total - done })
		if err != nil || !reflect.DeepEqual(got, want) || last != 0 {
			t.Errorf("stretches of %d: %+v, %d left, %v", stretch, got, last, err)
		}
		some, err := s.DomainShares(t.Context(), Where{SQL: "c.key <> ?", Args: []any{"a@gmail.com"}}, nil)
		if err != nil || len(some) != 3 || some[1].Contacts != 3 {
			t.Errorf("stretches of %d, without one: %+v, %v", stretch, some, err)
		}
		locals, err := s.LocalCounts(t.Context(), Where{}, []string{"info", "no-reply", "sales"})
		if err != nil || !reflect.DeepEqual(locals, map[string]int64{"info": 2, "no-reply": 1}) {
			t.Errorf("stretches of %d: %v, %v", stretch, locals, err)
		}
	}
}

func TestDomainSharesStops(t *testing.T) {
	s, _ := healthy(t)
	s.sizes.apart, s.sizes.stretch = 1, 1
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.DomainShares(ctx, Where{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := s.DomainShares(t.Context(), Where{SQL: "c.nothing"}, nil); err == nil {
		t.Error("a condition that cannot be asked is no error")
	}
}

func TestTwins(t *testing.T) {
	s, _ := healthy(t)
	if plus, dots, err := s.Twins(t.Context(), Where{}); plus != 1 || dots != 1 || err != nil {
		t.Errorf("%d with a plus, %d with dots, %v", plus, dots, err)
	}
}

func TestFates(t *testing.T) {
	s, now := healthy(t)
	told := func(since time.Time, most int64) string {
		all, nth, err := s.Fates(t.Context(), since, most)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, f := range all {
			lines = append(lines, fmt.Sprintf("%s %d: %d/%d", f.Domain, f.Age, f.Dead, f.Tried))
		}
		slices.Sort(lines)
		return fmt.Sprint(strings.Join(lines, ", "), " every ", nth)
	}
	// b was last proven 700 days before "news", a 180 days before "spring" and 150 before "news". Who is blocked or deferred says nothing.
	if got, want := told(now.AddDate(-1, 0, 0), 1000), "docomo.ne.jp 3: 0/1, example.jp 3: 0/1, gmail.com 1: 0/1, gmail.com 2: 1/2, gmail.com 3: 1/1 every 1"; got != want {
		t.Errorf("of a year:\n%s, want\n%s", got, want)
	}
	if got, want := told(time.Time{}, 1000), "docomo.ne.jp 3: 1/2, example.jp 3: 0/1, gmail.com 1: 0/1, gmail.com 2: 1/2, gmail.com 3: 1/3 every 1"; got != want {
		t.Errorf("of all time:\n%s, want\n%s", got, want)
	}
	if got, want := told(time.Time{}, 6), "gmail.com 2: 1/2, gmail.com 3: 0/1"; got != want+" every 2" {
		t.Errorf("of every second one: %s, want %s", got, want)
	}
	if got := told(now, 10); got != " every 1" {
		t.Errorf("of nothing: %s", got)
	}
}

func TestConsents(t *testing.T) {
	s, now := healthy(t)
	exec(t, s, "INSERT INTO lists (id, name, created_at) VALUES (1, 'news', 1), (2, 'vip', 1)")
	for i, m := range []struct {
		list   int
		source string
		at     any
	}{{1, "", nil}, {1, "form", nil}, {1, "", now.UnixMilli()}, {1, "form", now.AddDate(-3, 0, 0).UnixMilli()}, {2, "fair", now.UnixMilli()}} {
		exec(t, s, "INSERT INTO memberships (list, contact, since, consent_source, consent_at) VALUES (?, ?, 1, ?, ?)", m.list, i+1, m.source, m.at)
	}
	got, err := s.Consents(t.Context(), Where{}, now.AddDate(-2, 0, 0))
	if err != nil || len(got) != 2 || got[0].List != "news" || got[0].Members != 4 || got[0].NoRecord != 1 || got[0].NoSource != 1 || got[0].NoTime != 1 ||
		got[0].Old != 1 || !got[0].Oldest.Equal(now.AddDate(-3, 0, 0)) || got[1].Members != 1 || got[1].NoRecord+got[1].Old != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = s.Consents(t.Context(), OnList(2), now.AddDate(-2, 0, 0))
	if err != nil || len(got) != 1 || got[0].List != "vip" {
		t.Errorf("on one list: %+v, %v", got, err)
	}
}

func TestLastCampaigns(t *testing.T) {
	s, now := healthy(t)
	exec(t, s, "INSERT INTO campaigns (id, name, class, content_hash, content, state, created_at, expires_at) VALUES (9, 'receipt', 'operational', '', '', 'finished', 1, 0)")
	got, err := s.LastCampaigns(t.Context(), 2)
	if err != nil || len(got) != 2 || got[0].Name != "news" || got[1].Name != "spring" || !got[0].Began.Equal(now.AddDate(0, 0, -30)) {
		t.Errorf("%+v, %v", got, err)
	}
}
