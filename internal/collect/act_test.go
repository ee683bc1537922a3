package collect

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"mailer/internal/bounce"
	"mailer/internal/store"
)

// record reads one mail as a sync does.
func (w *world) record(raw string) store.Recorded {
	w.t.Helper()
	v := bounce.Parse([]byte(raw))
	m := store.ReadMail{Source: "test", Digest: fmt.Sprintf("%x", raw), Raw: []byte(raw), Verdict: v}
	m.Delivery, m.MatchedBy, m.Forged = prove(v, w.keys)
	r, err := w.st.RecordMail(context.Background(), m)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// TestConfirm: what names our recipients without a signature waits, and holds for exactly those whom it names.
func TestConfirm(t *testing.T) {
	w := newWorld(t, 4)
	hard := w.record(report("bounce@news.example", "User1@Shop.example", "failed", "5.1.1", "550 5.1.1 User unknown", ""))
	complained := w.record(complaint("fbl@news.example", "nothing-of-ours"))
	for _, r := range []store.Recorded{hard, complained} {
		if r.Matched || r.Suppressed {
			t.Errorf("%+v", r)
		}
	}
	w.want(1, "accepted")
	who, done, err := Confirm(t.Context(), w.st, hard.ID)
	if err != nil || fmt.Sprint(who) != "[user1@shop.example]" || len(done) != 1 || !done[0].Suppressed {
		t.Errorf("%v, %+v, %v", who, done, err)
	}
	w.want(1, "bounced userunknown hard_bounce/all")
	if _, _, err := Confirm(t.Context(), w.st, complained.ID); err == nil || !strings.Contains(err.Error(), "names no address") {
		t.Errorf("a complaint of nobody: %v", err)
	}
	if err := w.st.DismissMail(t.Context(), complained.ID); err != nil {
		t.Error(err)
	}
	// Somebody asks in their own words: whose mail it is says its From.
	w.exec("INSERT INTO bounces (id, source, digest, kind, verdict, raw, asks, read_at) VALUES (77, 'test', 'asks', 'not-a-bounce', ?, x'', 1, 1)",
		`{"kind":"not-a-bounce","detail":"removal","sender":"User2@shop.example"}`)
	who, done, err = Confirm(t.Context(), w.st, 77)
	if err != nil || fmt.Sprint(who) != "[user2@shop.example]" || len(done) != 1 || !done[0].Suppressed {
		t.Errorf("%v, %+v, %v", who, done, err)
	}
	w.want(2, "accepted  unsubscribe/marketing")
}

// TestReplay: a mail that was read by worse rules is read by those of now.
func TestReplay(t *testing.T) {
	w := newWorld(t, 2)
	w.record(w.hard(1))
	w.record(w.hard(2))
	// As if the rules of that day had taken it for something else.
	w.exec("UPDATE bounces SET kind = 'autoreply', verdict = json_set(verdict, '$.kind', 'autoreply'), changed = '[]' WHERE id = 1")
	w.exec("UPDATE deliveries SET state = 'accepted', reason = '' WHERE id = 1")
	w.exec("DELETE FROM suppressions WHERE key = ?", address(1))
	w.exec("UPDATE events SET kind = 'autoreply' WHERE bounce = 1 AND kind = 'bounce'")
	for _, apply := range []bool{false, true, true} {
		var told []string
		sum, err := Replay(t.Context(), w.st, w.keys, ReplayOptions{Apply: apply, Each: func(r store.Rejudged) error {
			told = append(told, fmt.Sprint(r.Was.Kind, " -> ", r.Is.Kind, " ", r.Changed))
			return nil
		}})
		want := ReplaySummary{Read: 2, Changed: 1, Suppress: 1}
		if len(told) == 0 {
			want = ReplaySummary{Read: 2}
		}
		if err != nil || sum != want {
			t.Errorf("apply %v: %+v, %v", apply, sum, err)
		}
		if len(told) > 0 && told[0] != "autoreply -> bounce [delivery: accepted -> bounced suppressed: hard_bounce]" {
			t.Errorf("told %q", told)
		}
		if !apply {
			w.want(1, "accepted")
			if len(told) != 1 {
				t.Errorf("a dry run told %q", told)
			}
		}
	}
	w.want(1, "bounced userunknown hard_bounce/all")
	w.want(2, "bounced userunknown hard_bounce/all")
	if got := w.text("SELECT group_concat(kind, ' ') FROM (SELECT kind FROM events WHERE bounce = 1 AND kind <> 'suppress' ORDER BY id)"); got != "bounce" {
		t.Errorf("events %s", got)
	}
}

// TestTableOfASync counts by kind, reason and provider, moves what a freeze takes back, and notes what is odd.
func TestTableOfASync(t *testing.T) {
	lane := func(domain string) string { return strings.TrimSuffix(domain, ".example") }
	table := NewTable(lane, 2)
	out := func(kind, reason, event, domain string, suppressed bool) Outcome {
		o := Outcome{Verdict: bounce.Verdict{Kind: kind}, MatchedBy: bounce.WhereMessageID}
		o.Matched, o.Reason, o.Event, o.Domain, o.Suppressed = domain != "", reason, event, domain, suppressed
		if o.Matched {
			o.Changed = []string{"delivery: accepted -> bounced"}
			o.Verdict.Tokens = []bounce.Token{{Text: "m11-0123456789abcdef", Where: bounce.WhereMessageID}}
		}
		return o
	}
	for range 3 {
		table.Add(out("bounce", "userunknown", "bounce", "a.example", true))
	}
	last := out("bounce", "userunknown", "bounce", "a.example", false)
	last.Froze = &store.Freeze{Lane: "a", Held: 4}
	last.Held = last.Froze
	table.Add(last)
	table.Add(out("bounce", "mailboxfull", "soft_bounce", "b.example", false))
	table.Add(out("complaint", "", "", "", false))
	forged := out("unsubscribe", "", "", "", false)
	forged.Forged = true
	table.Add(forged)
	repeated := out("bounce", "", "", "", false)
	repeated.Repeated = true
	table.Add(repeated)
	var got []string
	for _, c := range table.Rows() {
		got = append(got, fmt.Sprintf("%s/%s/%v/%s: %d %d %d %d %d", c.Kind, c.Reason, c.Hard, c.Provider, c.Mails, c.Deliveries, c.Suppressed, c.Held, c.Repeated))
	}
	want := "bounce/userunknown/true/a: 4 4 0 4 0, bounce//false/: 1 0 0 0 1, bounce/mailboxfull/false/b: 1 1 0 0 0, forged//false/: 1 0 0 0 0, unmatched//false/: 1 0 0 0 0"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	notes := strings.Join(table.Notes(true), "\n")
	if !strings.Contains(notes, "none of 5 bounces came to a signed return path") || !strings.Contains(notes, "5 mails carry tokens of key 1") {
		t.Errorf("notes: %s", notes)
	}
	if notes := strings.Join(table.Notes(false), "\n"); strings.Contains(notes, "return path") {
		t.Errorf("notes of a fixed address: %s", notes)
	}
}

// A freeze takes back what its provider's domains had suppressed in this reading, and nothing of others; what the session had refused
// before was never counted here.
func TestSummaryOfAFreeze(t *testing.T) {
	var sum Summary
	dead := map[string]int{}
	add := func(domain string, suppressed bool, froze *store.Freeze) {
		o := Outcome{Verdict: bounce.Verdict{Kind: bounce.KindBounce}}
		o.Matched, o.Event, o.Domain, o.Suppressed, o.Froze, o.Held = true, "bounce", domain, suppressed, froze, froze
		sum.add(o, dead)
	}
	add("b.example", true, nil)
	for range 3 {
		add("a.example", true, nil)
	}
	add("a.example", false, &store.Freeze{Lane: "a", Held: 40, Domains: []string{"a.example", "other.example"}})
	if want := (Summary{Read: 5, Bounces: 5, Hard: 5, Suppressed: 1, Held: 4}); sum != want {
		t.Errorf("got  %+v\nwant %+v", sum, want)
	}
}

// TestFolded: the rows of many small domains are added up for people, and nothing is lost by that.
func TestFolded(t *testing.T) {
	table := NewTable(func(domain string) string { return domain }, 1)
	for i := range 100 {
		kind := bounce.KindBounce
		if i == 99 {
			kind = bounce.KindComplaint
		}
		o := Outcome{Verdict: bounce.Verdict{Kind: kind}, Recorded: store.Recorded{Matched: true, Suppressed: i%2 == 0, Domain: fmt.Sprintf("%02d.example", i)}}
		table.Add(o)
		if i < 3 {
			table.Add(o)
		}
	}
	rows, mails, suppressed := table.Folded(10), 0, 0
	for _, r := range rows {
		mails, suppressed = mails+r.Mails, suppressed+r.Suppressed
	}
	if len(rows) != 12 || mails != 103 || suppressed != 52 || rows[0].Mails != 2 {
		t.Errorf("%d rows of %d mails, %d suppressed: %+v", len(rows), mails, suppressed, rows)
	}
	if rows[10].Provider != "89 other domains" || rows[11].Provider != "99.example" {
		t.Errorf("the rest: %+v", rows[10:])
	}
	if got := len(table.Folded(100)); got != 100 {
		t.Errorf("%d rows, want all 100", got)
	}
}
