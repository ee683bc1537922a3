package report

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/address"
	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/store"
)

func (w *world) why(text string) Story {
	w.Helper()
	a, err := address.Parse(text)
	w.must(err)
	s, err := Why(w.Context(), w.st, a, Lanes{now: w.now.In(tokyo)})
	w.must(err)
	return s
}

func (s Story) lines() string {
	var b strings.Builder
	for _, e := range s.Entries {
		b.WriteString(e.At.Format("01-02 15:04 ") + e.Kind + " | " + e.Text + "\n")
	}
	return b.String()
}

func (w *world) told(s Story, verdict, want string) {
	w.Helper()
	if s.Verdict != verdict {
		w.Errorf("verdict %s\nwant    %s", s.Verdict, verdict)
	}
	if got := s.lines(); got != want {
		w.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestStoryOfABounce(t *testing.T) {
	w := december(t)
	w.told(w.why("Taro <ＴＡＲＯ＠example.jp>"),
		`TARO@example.jp is suppressed since 2026-12-01 02:02 because the address is dead (hard bounce), no mail is sent to it. Evidence: "550 5.1.1 no such user taro@example.jp" (mailer bounces show 1)`,
		`12-01 01:00 import | members.csv, line 2 brought the contact
12-01 01:00 list | joined the list 会員; consent: the form on the site on 2026-12-01 01:00
12-01 02:00 planned | 2026-12-news: planned
12-01 02:01 accepted | 2026-12-news: try 1 accepted through relay main, Message-ID <m1@example.com>: 250 ok
12-01 02:02 bounce | 2026-12-news: came back, the address is dead: userunknown (there is no such mailbox): 550 5.1.1 no such user taro@example.jp (mailer bounces show 1)
12-01 02:02 suppress | 2026-12-news: suppressed: hard_bounce, "550 5.1.1 no such user taro@example.jp" (mailer bounces show 1)
`)
	if s := w.why("taro@example.jp"); s.Marketing || s.Operational || !s.Contact || !s.Known || !slices.Equal(s.Evidence, []int64{1}) || s.Held != "" {
		t.Errorf("got %+v", s)
	}
}

func TestStoryOfARefusalAndADeferral(t *testing.T) {
	w := december(t)
	if got := w.why("hanako@docomo.ne.jp").lines(); !strings.Contains(got, "failed | 2026-12-news: try 1 failed through relay main: userunknown (there is no such mailbox): 550 5.1.1 <hanako@docomo.ne.jp>: Recipient address rejected") {
		t.Errorf("got\n%s", got)
	}
	s := w.why("jiro@ezweb.ne.jp")
	if got := s.lines(); !strings.Contains(got, "deferred | 2026-12-news: try 1 deferred through relay main: mailboxfull (the mailbox is full): 452 4.2.2 <jiro@ezweb.ne.jp> over quota; next try at 2026-12-01 02:06:00\n") ||
		s.Verdict != "jiro@ezweb.ne.jp can be mailed." {
		t.Errorf("%s\n%s", s.Verdict, got)
	}
	if got := w.why("goro@example.jp").lines(); !strings.Contains(got, "pending | 2026-12-news: waits to be sent") {
		t.Errorf("got\n%s", got)
	}
}

func TestStoryOfAnUnsubscribe(t *testing.T) {
	w := december(t)
	s := w.why("shiro@example.jp")
	if !strings.HasSuffix(s.Verdict, "because the person unsubscribed, no marketing mail is sent to it, only operational mail. Evidence: \"mail to the unsubscribe address\" (mailer bounces show 3)") || s.Marketing || !s.Operational {
		t.Errorf("got %s", s.Verdict)
	}
	if got := s.lines(); !strings.Contains(got, "accepted | 2026-12-news: accepted by relay main, Message-ID <m5@example.com>: 250 ok") || !strings.Contains(got, "unsubscribe | 2026-12-news: the person unsubscribed") {
		t.Errorf("got\n%s", got)
	}
	// Excluded from the beginning: one line, not two.
	if got := w.why("rokuro@example.jp").lines(); !strings.Contains(got, "excluded | 2026-12-news: not sent, excluded: suppressed: unsubscribe\n") || strings.Contains(got, "planned |") {
		t.Errorf("got\n%s", got)
	}
	w.now = w.now.Add(time.Minute)
	_, err := w.st.RemoveSuppression(t.Context(), "address", "shiro@example.jp", "unsubscribe", "asked on the phone")
	w.must(err)
	s = w.why("shiro@example.jp")
	if got := s.lines(); s.Verdict != "shiro@example.jp can be mailed." || !strings.Contains(got, "unsuppress | suppression lifted: unsubscribe (marketing mail only), \"mail to the unsubscribe address\"; why: asked on the phone") {
		t.Errorf("%s\n%s", s.Verdict, got)
	}
}

func TestStoryOfImports(t *testing.T) {
	w := newWorld(t)
	w.importFile("a.csv", [2]string{"taro@example.jp", "東京都"})
	for range 3 {
		w.now = w.now.Add(24 * time.Hour)
		w.importFile("nightly.csv", [2]string{"taro@example.jp", "東京都"})
	}
	w.now = w.now.Add(24 * time.Hour)
	w.importFile("b.csv", [2]string{"taro@example.jp", "大阪府"})
	w.told(w.why("taro@example.jp"), "taro@example.jp can be mailed.",
		`12-01 01:00 import | a.csv, line 2 brought the contact
12-01 01:00 list | joined the list 会員; consent: the form on the site on 2026-12-01 01:00
12-04 01:00 import | nightly.csv, line 2, and 2 times before: nothing new
12-05 01:00 import | b.csv, line 2 changed 都道府県: 東京都 → 大阪府
`)
}

func TestStoryWithoutAContact(t *testing.T) {
	w := december(t)
	_, err := w.st.AddSuppressions(t.Context(), []store.Suppression{{Scope: "domain", Key: "closed.example", Blocks: "all", Reason: "manual", Evidence: "asked by their postmaster"}}, "test")
	w.must(err)
	s := w.why("anybody@closed.example")
	if s.Contact || !s.Known || s.Marketing || !strings.Contains(s.Verdict, "is suppressed with its whole domain since") || !strings.Contains(s.lines(), "suppress | domain closed.example suppressed: manual, \"asked by their postmaster\"") {
		t.Errorf("%s\n%s", s.Verdict, s.lines())
	}
	if _, err := w.st.ForgetContact(t.Context(), "jiro@ezweb.ne.jp"); err != nil {
		t.Fatal(err)
	}
	if s := w.why("jiro@ezweb.ne.jp"); !s.Known || s.Marketing || len(s.Entries) > 0 || !strings.Contains(s.Verdict, "was forgotten on 2026-12-01") {
		t.Errorf("%+v", s)
	}
}

func TestUnknownAddress(t *testing.T) {
	w := december(t)
	for text, want := range map[string][]string{
		"tarou@example.jp":   {"taro@example.jp"}, // a letter too many
		"atro@example.jp":    {"taro@example.jp"}, // swapped
		"hanako@docomo.jp":   {"hanako@docomo.ne.jp"},
		"hanako@docom.ne.jp": {"hanako@docomo.ne.jp"},
		"nobody@example.com": nil,
	} {
		s := w.why(text)
		if s.Known || s.Contact || !slices.Equal(s.Near, want) || !strings.Contains(s.Verdict, "nowhere") {
			t.Errorf("%s: %+v", text, s)
		}
	}
}

func TestOneOffIsNeverTheKeyItself(t *testing.T) {
	all := oneOff("ab@c.jp")
	for _, want := range []string{"b@c.jp", "ba@c.jp", "aab@c.jp", "xb@c.jp", "ab@c.j", "ab@cjp"} {
		if !slices.Contains(all, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if slices.Contains(all, "ab@c.jp") || slices.ContainsFunc(all, func(s string) bool { return strings.Count(s, "@") != 1 }) {
		t.Errorf("got %q", all)
	}
	if got := len(oneOff(strings.Repeat("ab", 31) + "@" + strings.Repeat("cd.", 60) + "jp")); got > 32000 {
		t.Errorf("%d guesses are more than one statement can hold", got)
	}
}

// What the mailbox said but nothing followed from is told too, and so is what was settled by hand.
func TestStandingAndMails(t *testing.T) {
	w := newWorld(t)
	w.importFile("a.csv", [2]string{"taro@example.jp", ""})
	due := w.send("news", store.Outcome{Text: "connection reset", Decision: delivery.Decision{State: delivery.Uncertain, Reason: "connection lost after the final dot"}})
	delayed := bounce.Verdict{Kind: bounce.KindBounce, Bounces: []bounce.Recipient{{Recipient: due[0].Address, Action: bounce.ActionDelayed}}}
	w.mail(due[0], delayed)
	w.mail(due[0], delayed)
	got := w.why("taro@example.jp").lines()
	for _, want := range []string{
		"uncertain | news: try 1 uncertain through relay main: connection lost after the final dot: connection reset\n",
		"resolved | news: try 1 resolved through relay main: settled by a mail: report\n",
		"accepted | news: accepted by relay main",
		"mail | a mail (bounce) came to imap://box/INBOX and proves that the message was accepted (mailer bounces show 1)\n",
		"mail | a mail (bounce) came to imap://box/INBOX and changed nothing (mailer bounces show 2)\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

// A freeze holds a suppression back: one that stood already and was lifted by it, or one that never was. Either way the story says so, with
// the commands that decide, also when the freeze is over and nobody has.
func TestStoryOfWhatIsHeldBack(t *testing.T) {
	a, err := address.Parse("taro@docomo.ne.jp")
	if err != nil {
		t.Fatal(err)
	}
	freeze := store.Freeze{Lane: "docomo", Began: lanesNow, Until: lanesNow.Add(24 * time.Hour), Dead: 11, Of: 12}
	lifted := store.TracedEvent{At: lanesNow, Kind: "unsuppress", Key: a.Key, Detail: `{"reason":"hard_bounce","why":"held back: so it is"}`}
	for _, c := range []struct {
		name   string
		traces store.Traces
		after  time.Duration
		want   string // in the verdict
		told   int    // entries of the kind held
	}{
		{"from the first", store.Traces{Held: &store.Held{Freeze: freeze, At: lanesNow, Evidence: "550 gone", Campaign: "news", Bounce: 7}}, 0,
			`because 11 of 12 recipients at docomo turned out dead within a short time (cleaning there is frozen until 2026-11-27 09:01). If they are dead: mailer bounces release docomo --suppress; ` +
				`if it was a block or a fault there: mailer bounces release docomo --keep. Only this one: mailer suppressions add taro@docomo.ne.jp. Evidence: "550 gone" (mailer bounces show 7)`, 1},
		{"lifted", store.Traces{Held: &store.Held{Freeze: freeze, At: lanesNow.Add(-time.Minute)}, Events: []store.TracedEvent{lifted}}, 0, "is held back", 0},
		{"over", store.Traces{Held: &store.Held{Freeze: freeze, At: lanesNow}}, 48 * time.Hour, "frozen up to 2026-11-27 09:01, and nobody has decided yet", 1},
	} {
		l := someLanes(t, nil)
		l.now = l.now.Add(c.after)
		c.traces.Contact.ID = 1
		s := tell(c.traces, a, l)
		told := 0
		for _, e := range s.Entries {
			if e.Kind == "held" {
				told++
			}
		}
		if !strings.Contains(s.Verdict, c.want) || told != c.told || s.Held != "docomo" || !s.Marketing {
			t.Errorf("%s: told %d times, held %q: %s", c.name, told, s.Held, s.Verdict)
		}
	}
}
