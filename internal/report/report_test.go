package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/address"
	"mailer/internal/bounce"
	"mailer/internal/contact"
	"mailer/internal/delivery"
	"mailer/internal/pace"
	"mailer/internal/provider"
	"mailer/internal/store"

	"golang.org/x/net/html"
)

var tokyo = time.FixedZone("JST", 9*60*60)

// world is a workspace whose clock stands still until it is moved.
type world struct {
	*testing.T
	st  *store.Store
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, now: time.Date(2026, 11, 30, 16, 0, 0, 0, time.UTC)} // in Tokyo it is December
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "mailer.db"), store.Options{Now: func() time.Time { return w.now }, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	w.st = st
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// importFile imports addresses with a prefecture each, from line 2 on.
func (w *world) importFile(name string, rows ...[2]string) {
	w.Helper()
	column := contact.Field{Name: "都道府県", Type: "text"}
	if fields, err := w.st.Fields(w.Context()); err == nil && len(fields) > 0 {
		column = fields[0]
	}
	im, err := w.st.BeginImport(w.Context(), store.ImportSpec{Kind: "import", Source: name, Options: "{}", List: "会員", OnDuplicate: store.OnDuplicateUpdate,
		Columns: []contact.Field{column}, Consent: store.Consent{Source: "the form on the site", At: w.now}})
	w.must(err)
	var all []store.Row
	for i, r := range rows {
		all = append(all, store.Row{Line: int64(i + 2), Address: r[0], Key: r[0], Cells: []string{r[1]}})
	}
	w.must(w.st.Apply(w.Context(), im, all))
	w.must(w.st.FinishImport(w.Context(), im, 0))
}

// send freezes a campaign and settles its deliveries in order as decided; the rest stays pending.
func (w *world) send(name string, outcomes ...store.Outcome) []store.Due {
	w.Helper()
	c, err := w.st.CreateCampaign(w.Context(), store.Campaign{Name: name, Class: "marketing", Content: "{}", Options: "{}", Segment: "list 会員", Expires: w.now.Add(72 * time.Hour)},
		store.Audience{Class: "marketing"})
	w.must(err)
	w.now = w.now.Add(time.Minute)
	run, _, err := w.st.Acquire(w.Context(), c, "test", time.Hour, func(string) bool { return false }, nil)
	w.must(err)
	due, err := run.Fresh(w.Context(), nil, store.Among{}, 0, 1000)
	w.must(err)
	for i, o := range outcomes {
		o.Delivery, o.Key, o.Attempt, o.Relay, o.Phase = due[i].ID, due[i].Key, 1, "main", delivery.PhaseDot
		_, _, err := run.Commit(w.Context(), []store.Claim{{Delivery: o.Delivery, Relay: "main", MessageID: fmt.Sprintf("m%d@example.com", o.Delivery)}}, nil)
		w.must(err)
		_, _, err = run.Commit(w.Context(), nil, []store.Outcome{o})
		w.must(err)
	}
	w.must(run.Close(w.Context()))
	return due
}

func (w *world) mail(d store.Due, v bounce.Verdict) {
	w.Helper()
	w.now = w.now.Add(time.Minute)
	_, err := w.st.RecordMail(w.Context(), store.ReadMail{Source: "imap://box/INBOX", Digest: fmt.Sprint(d.ID, v.Kind, w.now), Raw: []byte("x"), Verdict: v, Delivery: d.ID})
	w.must(err)
}

var (
	taken = store.Outcome{Reply: delivery.Reply{Code: 250, Text: "250 ok"}, Decision: delivery.Decision{State: delivery.Accepted}}
	later = store.Outcome{Reply: delivery.Reply{Code: 452, Enhanced: "4.2.2", Text: "452 4.2.2 <jiro@ezweb.ne.jp> over quota"},
		Decision: delivery.Decision{State: delivery.Deferred, Reason: bounce.MailboxFull, NextTry: 5 * time.Minute}}
	dead = store.Outcome{Reply: delivery.Reply{Code: 550, Enhanced: "5.1.1", Text: "550 5.1.1 <hanako@docomo.ne.jp>: Recipient\r\naddress rejected\x1b[31m"},
		Decision: delivery.Decision{State: delivery.Failed, Reason: bounce.UserUnknown, Hard: true}}
)

func hard(d store.Due) bounce.Verdict {
	return bounce.Verdict{Kind: bounce.KindBounce, Bounces: []bounce.Recipient{{Recipient: d.Address, Status: "5.1.1", Reply: "550",
		Reason: bounce.UserUnknown, Hard: true, Action: bounce.ActionFailed, Text: "550 5.1.1 no such user " + d.Address}}}
}

// december is six people and what became of one campaign to them.
func december(t *testing.T) *world {
	w := newWorld(t)
	w.importFile("members.csv", [2]string{"taro@example.jp", "東京都"}, [2]string{"hanako@docomo.ne.jp", "大阪府"}, [2]string{"jiro@ezweb.ne.jp", ""},
		[2]string{"saburo@example.jp", "京都府"}, [2]string{"shiro@example.jp", ""}, [2]string{"goro@example.jp", ""}, [2]string{"rokuro@example.jp", ""})
	_, err := w.st.AddSuppressions(w.Context(), []store.Suppression{{Scope: "address", Key: "rokuro@example.jp", Blocks: "marketing", Reason: "unsubscribe"}}, "test")
	w.must(err)
	w.now = w.now.Add(time.Hour)
	due := w.send("2026-12-news", taken, dead, later, taken, taken)
	w.mail(due[0], hard(due[0]))
	w.mail(due[3], bounce.Verdict{Kind: bounce.KindComplaint, FeedbackType: "abuse"})
	w.mail(due[4], bounce.Verdict{Kind: bounce.KindUnsubscribe})
	return w
}

func (w *world) one(name string) Campaign {
	w.Helper()
	c, err := w.st.Campaign(w.Context(), name)
	w.must(err)
	r, err := One(w.Context(), w.st, c.ID, Lanes{now: w.now.In(tokyo)})
	w.must(err)
	return r
}

func TestOneCampaign(t *testing.T) {
	c := december(t).one("2026-12-news")
	want := Counts{Balance: delivery.Balance{Planned: 7, Accepted: 3, Deferred: 1, Failed: 1, Excluded: 1, Remaining: 1}, Attempted: 5, BouncedHard: 1, Complaints: 1, Unsubscribes: 1}
	if c.Counts != want || c.Delivery != (Rate{2, 5}) || c.Unsubscribe != (Rate{1, 2}) {
		t.Errorf("got %+v\nwant %+v", c.Counts, want)
	}
	if got := c.Begun.Format(time.RFC3339); got != "2026-12-01T02:00:00+09:00" || !c.Finished.IsZero() || c.Status() != "to go on" {
		t.Errorf("begun %s, finished %s, %s", got, c.Finished, c.Status())
	}
	var domains []string
	for _, g := range c.Domains {
		domains = append(domains, fmt.Sprint(g.Name, " ", g.Planned, " ", g.Delivery))
	}
	if want := []string{"example.jp 5 66.7% (2 of 3)", "docomo.ne.jp 1 0% (0 of 1)", "ezweb.ne.jp 1 0% (0 of 1)"}; !slices.Equal(domains, want) {
		t.Errorf("domains %q", domains)
	}
	if len(c.Relays) != 1 || c.Relays[0].Name != "main" || c.Relays[0].Planned != 5 {
		t.Errorf("relays %+v", c.Relays)
	}
	reasons := map[string]Reason{}
	for _, r := range c.Reasons {
		reasons[string(r.State)+" "+r.Reason] = r
	}
	if r := reasons["failed userunknown"]; r.Count != 1 || r.Meaning == "" || !strings.Contains(r.Example, "<…@docomo.ne.jp>") || strings.Contains(r.Example, "hanako") {
		t.Errorf("reasons %+v", reasons)
	}
	if reasons["excluded suppressed: unsubscribe"].Count != 1 || reasons["bounced userunknown"].Count != 1 || reasons["deferred mailboxfull"].Count != 1 {
		t.Errorf("reasons %+v", reasons)
	}
}

func TestAllCampaigns(t *testing.T) {
	w := december(t)
	w.now = w.now.Add(time.Hour)
	w.send("second")
	o, err := All(t.Context(), w.st, Lanes{now: w.now.In(tokyo)})
	w.must(err)
	if len(o.Campaigns) != 2 || o.Campaigns[0].Name != "second" || o.Total.Planned != 14 || o.Total.Check() != nil {
		t.Errorf("campaigns %+v", o.Campaigns)
	}
	l := o.List
	if l.Contacts != 7 || l.Mailable != 2 || l.Unmailable() != (Rate{5, 7}) || !slices.Equal(l.Months, []Month{{"2026-12", 7, 5, 2, 1, 2, 7}}) {
		t.Errorf("list %+v", l)
	}
	if want := []Share{{"hard_bounce", 2}, {"unsubscribe", 2}, {"complaint", 1}}; !slices.Equal(l.Suppressed, want) {
		t.Errorf("suppressed %+v", l.Suppressed)
	}
}

func TestFiguresThatDoNotAddUpAreRefused(t *testing.T) {
	f := store.Figures{Campaign: store.Campaign{Name: "news"}, Planned: 2, Tallies: []store.Tally{{State: delivery.Accepted, Count: 1, Attempted: 1}}}
	if _, err := summarise(f, tokyo); err == nil || !strings.Contains(err.Error(), "news") {
		t.Errorf("got %v", err)
	}
}

func TestTopKeepsTheLargest(t *testing.T) {
	var groups []Group
	for i := range 5 {
		groups = append(groups, Group{Name: fmt.Sprint(i), Counts: Counts{Balance: delivery.Balance{Planned: 1, Remaining: 1}}})
	}
	if got := top(groups, 4); len(got) != 5 || got[4].Name != "4" {
		t.Errorf("a single other is shown by its name: %+v", got)
	}
	if got := top(groups, 3); len(got) != 4 || got[3].Name != "2 others" || got[3].Planned != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestMonths(t *testing.T) {
	now := time.Date(2026, 12, 15, 12, 0, 0, 0, tokyo)
	at := func(y int, m time.Month, d, h int) time.Time { return time.Date(y, m, d, h, 0, 0, 0, time.UTC) }
	added := []store.Moment{{At: at(2024, 1, 1, 0), Count: 100}, {At: at(2026, 10, 31, 14), Count: 1}, {At: at(2026, 10, 31, 15), Count: 2}}
	blocked := []store.Moment{{At: at(2026, 12, 1, 0), Count: 4}}
	got := months(added, blocked, now)
	if len(got) != 14 || got[0] != (Month{Name: "before", Added: 100, Total: 100}) || got[1].Name != "2025-12" {
		t.Errorf("got %+v", got)
	}
	// The first hour of November in Tokyo is the last of October in London.
	if got := months(added[1:], blocked, now); !slices.Equal(got, []Month{{Name: "2026-10", Added: 1, Total: 1}, {Name: "2026-11", Added: 2, Total: 3}, {Name: "2026-12", Suppressed: 4, Total: 3}}) {
		t.Errorf("got %+v", got)
	}
	if got := months(nil, nil, now); got != nil {
		t.Errorf("nothing: %+v", got)
	}
}

func TestJSONIsFlat(t *testing.T) {
	line, err := json.Marshal(december(t).one("2026-12-news"))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"campaign": "2026-12-news", "planned": 7.0, "attempted": 5.0, "bounced_hard": 1.0, "begun": "2026-12-01T02:00:00+09:00"} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if rate, _ := got["delivery_rate"].(map[string]any); rate["of"] != 5.0 || got["finished"] != nil {
		t.Errorf("got %s", line)
	}
}

func TestCSV(t *testing.T) {
	w := december(t)
	for _, write := range []func(*bytes.Buffer) error{
		func(b *bytes.Buffer) error { return w.one("2026-12-news").CSV(b) },
		func(b *bytes.Buffer) error {
			o, err := All(t.Context(), w.st, Lanes{now: w.now.In(tokyo)})
			w.must(err)
			return o.CSV(b, "")
		},
	} {
		var b bytes.Buffer
		w.must(write(&b))
		rows, err := csv.NewReader(&b).ReadAll() // fails where rows differ in width
		if err != nil || len(rows) < 2 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		planned := slices.Index(rows[0], "planned")
		if rows[1][planned] != "7" || rows[1][slices.Index(rows[0], "delivery_rate")] != "0.4000" {
			t.Errorf("got %q", rows[1])
		}
	}
}

func TestHTMLIsWellFormedAndSafe(t *testing.T) {
	w := december(t)
	c := w.one("2026-12-news")
	c.Audience = `pref == "</p><script>alert(1)</script>"`
	o, err := All(t.Context(), w.st, Lanes{now: w.now.In(tokyo)})
	w.must(err)
	for name, write := range map[string]func(*bytes.Buffer) error{
		"campaign": func(b *bytes.Buffer) error { return c.HTML(b, w.now) },
		"overview": func(b *bytes.Buffer) error { return o.HTML(b, w.now) },
		"empty":    func(b *bytes.Buffer) error { return Overview{}.HTML(b, w.now) },
	} {
		var b bytes.Buffer
		w.must(write(&b))
		text := b.String()
		if strings.Contains(text, "<script") || strings.Contains(text, "ZgotmplZ") || strings.Contains(text, "http://") || strings.Contains(text, "https://") {
			t.Errorf("%s: not safe or not self-contained:\n%s", name, text)
		}
		balanced(t, name, text)
		if name == "campaign" && (!strings.Contains(text, "40.0%") || !strings.Contains(text, "2 of 5 attempted") || !strings.Contains(text, "width: 14.29%")) {
			t.Errorf("the figures are not there:\n%s", text)
		}
	}
}

// balanced checks that every element that is opened is closed in order.
func balanced(t *testing.T, name, text string) {
	t.Helper()
	var open []string
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			if len(open) > 0 {
				t.Errorf("%s: left open: %v", name, open)
			}
			return
		case html.StartTagToken, html.EndTagToken:
			tag, _ := z.TagName()
			switch {
			case string(tag) == "meta" || string(tag) == "br":
			case kind == html.StartTagToken:
				open = append(open, string(tag))
			case len(open) == 0 || open[len(open)-1] != string(tag):
				t.Fatalf("%s: </%s> closes %v", name, tag, open)
			default:
				open = open[:len(open)-1]
			}
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -123456: "-123,456"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

// What a run has kept of its lanes stands in the report and in the story of who waits.
func TestLanesAreReadFromTheStore(t *testing.T) {
	w := december(t)
	c, err := w.st.Campaign(w.Context(), "2026-12-news")
	w.must(err)
	run, _, err := w.st.Acquire(w.Context(), c, "test", time.Hour, func(string) bool { return false }, nil)
	w.must(err)
	var au pace.Lane
	au.Blocked(w.now, 30*time.Minute, "550 5.7.1 blocked")
	state, err := json.Marshal(au)
	w.must(err)
	w.must(run.SaveLane("lane au", string(state)))
	w.must(run.SaveLane("relay au", `{"rate":3}`))
	w.must(run.Close(w.Context()))
	table, err := provider.Presets()
	w.must(err)
	told := func() (words, held string) {
		lanes, err := ReadLanes(w.Context(), w.st, table, w.now.In(tokyo))
		w.must(err)
		r, err := One(w.Context(), w.st, c.ID, lanes)
		w.must(err)
		for _, l := range r.Lanes {
			if l.Name == "au" {
				words = l.Words
			} else if l.Words != "" {
				t.Errorf("%s is %s", l.Name, l.Words)
			}
		}
		a, err := address.Parse("jiro@ezweb.ne.jp")
		w.must(err)
		s, err := Why(w.Context(), w.st, a, lanes)
		w.must(err)
		held, _ = s.Entries[len(s.Entries)-1].Fields["held"].(string)
		return words, held
	}
	until := Clock(w.now.Add(30*time.Minute), w.now.In(tokyo))
	if words, held := told(); words != "paused until "+until || held != "au is paused until "+until+": 550 5.7.1 blocked" {
		t.Errorf("%q, %q", words, held)
	}
	w.now = w.now.Add(time.Hour)
	if words, held := told(); words != "" || held != "" {
		t.Errorf("after the pause: %q, %q", words, held)
	}
}
