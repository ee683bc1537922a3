package doctor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/address"
	"mailer/internal/contact"
	"mailer/internal/provider"
	"mailer/internal/segment"
	"mailer/internal/store"
	"mailer/internal/zone"
)

var listNow = time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)

// listed is a workspace's list for the checks, written past the store.
type listed struct {
	t  *testing.T
	st *store.Store
	db *sql.DB
}

func newListed(t *testing.T) *listed {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mailer.db")
	st, err := store.Open(t.Context(), path, store.Options{Now: func() time.Time { return listNow }})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(OFF)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close(); st.Close() })
	l := &listed{t, st, db}
	l.exec("INSERT INTO lists (id, name, created_at) VALUES (1, 'it''s \"news\"', 1)")
	return l
}

func (l *listed) exec(query string, args ...any) {
	l.t.Helper()
	if _, err := l.db.Exec(query, args...); err != nil {
		l.t.Fatal(err)
	}
}

func before(days int) int64 { return listNow.AddDate(0, 0, -days).UnixMilli() }

// person is on the list, with a consent of so many days ago; 0: none is recorded.
func (l *listed) person(addr string, added, consent int) {
	l.t.Helper()
	a, err := address.Parse(addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.exec("INSERT INTO contacts (key, address, fields, created_at, updated_at) VALUES (?, ?, '{}', ?, 1)", a.Key, a.Text, before(added))
	source, at := "", any(nil)
	if consent > 0 {
		source, at = "form", before(consent)
	}
	l.exec("INSERT INTO memberships (list, contact, since, consent_source, consent_at) SELECT 1, id, 1, ?, ? FROM contacts WHERE key = ?", source, at, a.Key)
}

// campaign is one of so many days ago.
func (l *listed) campaign(id, days int) {
	l.t.Helper()
	l.exec("INSERT INTO campaigns (id, name, class, content_hash, content, state, created_at, expires_at) VALUES (?, ?, 'marketing', '', '', 'finished', ?, 0)",
		id, fmt.Sprint("news ", id), before(days))
}

func (l *listed) sent(campaign int, key, state string, days int) {
	l.t.Helper()
	reason := ""
	if state == "failed" {
		reason = "userunknown"
	}
	l.exec("INSERT INTO deliveries (campaign, key, address, domain, state, reason, attempts, updated_at) VALUES (?, ?, ?, ?, ?, ?, 1, ?)",
		campaign, key, key, key[strings.IndexByte(key, '@')+1:], state, reason, before(days))
}

func (l *listed) list(scope string, r zone.Resolver) *List {
	l.t.Helper()
	schema, err := l.st.Vocabulary(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	schema.Now, schema.Location = listNow, time.UTC
	table, err := provider.Presets()
	if err != nil {
		l.t.Fatal(err)
	}
	q, err := segment.Compile(scope, schema)
	if err != nil {
		l.t.Fatal(err)
	}
	checked := &List{Store: l.st, Schema: schema, Words: scope, Providers: table, Resolver: r, Patience: 10 * time.Second}
	if scope != "" {
		checked.Scope = store.Where(q)
	}
	return checked
}

// check runs the checks, and insists that every expression that is told picks as many people as is said of it.
func (l *listed) check(c *List) map[string]Finding {
	l.t.Helper()
	all, err := c.Check(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	if all[0].Check != "verdict" {
		l.t.Errorf("%s comes first", all[0].Check)
	}
	of := map[string]Finding{}
	for _, f := range all {
		of[f.Check] = f
		if f.Area != "list" || f.Found == "" || f.Level.Worse(Info) && (f.Why == "" || f.Do == "") {
			l.t.Errorf("a finding that says too little: %+v", f)
		}
		if f.Where == "" {
			continue
		}
		q, err := segment.Compile(f.Where, c.Schema)
		if err != nil {
			l.t.Errorf("%s: the expression %s: %v", f.Check, f.Where, err)
			continue
		}
		if n, err := l.st.CountContacts(l.t.Context(), store.Where(q)); err != nil || n != f.People {
			l.t.Errorf("%s is about %d, and %s picks %d (%v)", f.Check, f.People, f.Where, n, err)
		}
	}
	return of
}

func (l *listed) want(of map[string]Finding, want map[string]string) {
	l.t.Helper()
	for check, line := range want {
		level, words, _ := strings.Cut(line, " ")
		f, ok := of[check]
		if said := f.Found + " " + strings.Join(f.Detail, "; "); !ok || string(f.Level) != level || !strings.Contains(said, words) {
			l.t.Errorf("%s: want %s; got %s, %s", check, line, f.Level, said)
		}
	}
}

// dns knows domains by what becomes of their mail; all others have a server.
type dns map[string]zone.State

func (d dns) Lookup(_ context.Context, name string, t zone.Type) zone.Answer {
	a := zone.Answer{Name: name, Type: t, State: zone.Found, Records: []zone.Record{{Host: "mx.example"}}}
	if state, ok := d[name]; ok {
		a.State, a.Records = state, nil
	}
	if a.State == zone.Unknown {
		a.Err = errors.New("SERVFAIL")
	}
	return a
}

func TestListOfOddAddresses(t *testing.T) {
	l := newListed(t)
	for _, addr := range []string{"taro@gmail.com", "ta.ro@gmail.com", "hanako+shop@example.jp", "hanako@example.jp", "info+a@example.jp", "support@example.com", "noreply@example.com",
		"x@mailinator.com", "x@a.yopmail.com", "a@gmai.com", "b@gmai.com", "c@gone.example.net", "d@gone.example.net", "e@slow.example.net", "a..b@docomo.ne.jp", "c.@docomo.ne.jp",
		"太郎@example.jp", "it's@example.jp"} {
		l.person(addr, 10, 5)
	}
	l.person("dead@gone.example.net", 10, 5)
	l.exec("INSERT INTO suppressions (scope, key, blocks, reason, created_at) VALUES ('address', 'dead@gone.example.net', 'all', 'hard_bounce', 1)")
	r := dns{"gone.example.net": zone.Missing, "slow.example.net": zone.Unknown}
	for _, scope := range []string{"", `list("it's \"news\"")`, `email contains "@" or domain == "example.jp" # everybody`} {
		of := l.check(l.list(scope, r))
		l.want(of, map[string]string{
			"verdict":           "fail 18 contacts may be mailed; 1 more are suppressed",
			"machine_addresses": "warn 1 address of no person (5.6 %)",
			"shared_addresses":  "warn 2 addresses that several people may read",
			"disposable":        "warn a.yopmail.com: 1; mailinator.com: 1",
			"typo_domains":      "warn gmai.com: 2, gmail.com was probably meant",
			"dead_domains":      "fail gone.example.net: 2, does not exist",
			"unknown_domains":   "info 1 of 9 domains",
			"carrier_forms":     "info 2 addresses",
			"smtputf8":          "info 1 address",
			"twins":             "info 1 with something behind a plus, 1 with dots",
			"consent":           "pass",
			"expected_bounces":  "info no history",
			"age":               "info 18 of 18 contacts were never mailed",
			"cold":              "pass",
			"providers":         "info 18 contacts at 9 domains",
		})
		if v := of["verdict"]; v.People != 7 {
			t.Errorf("%d are better left out, want 7: %s", v.People, v.Where)
		}
	}
	c := l.list("", r)
	c.Disposables = address.Disposables{Add: []string{"gmail.com"}, Except: []string{"mailinator.com"}}
	l.want(l.check(c), map[string]string{"disposable": "warn gmail.com: 2; a.yopmail.com: 1"})
}

func TestListAboutWhichNothingIsKnown(t *testing.T) {
	l := newListed(t)
	l.want(l.check(l.list("", nil)), map[string]string{"verdict": "warn nobody to mail"})
	for i := range 10 {
		l.person(fmt.Sprintf("p%d@example%d.com", i, i%2), 10, 5)
	}
	of := l.check(l.list("", nil))
	l.want(of, map[string]string{"verdict": "pass Nobody must be left out", "dead_domains": "info was not asked", "dormant": "info Nothing records"})
	// A server that fails says nothing: no domain is dead for it, and nobody is left out.
	of = l.check(l.list("", dns{"example0.com": zone.Unknown, "example1.com": zone.Unknown}))
	l.want(of, map[string]string{"verdict": "pass 10 contacts", "dead_domains": "pass 0 domains", "unknown_domains": "unknown Of 2 of 2 domains"})
	l.exec("INSERT INTO suppressions (scope, key, blocks, reason, created_at) VALUES ('domain', 'example0.com', 'all', 'manual', 1), ('domain', 'example1.com', 'all', 'manual', 1)")
	l.want(l.check(l.list("", nil)), map[string]string{"verdict": "warn all 10 contacts are suppressed"})
}

func TestListThatHasGoneCold(t *testing.T) {
	l := newListed(t)
	l.exec("INSERT INTO fields (id, name, type, role, created_at) VALUES (1, '登録日', 'date', ?, 1)", contact.Registered)
	for i := range 20 {
		l.person(fmt.Sprintf("new%d@example.com", i), 10, 10)
		l.person(fmt.Sprintf("old%d@example.com", i), 500, 0)
	}
	l.person("imported@example.com", 3, 900)
	l.exec(`UPDATE contacts SET fields = '{"f1":"2019-01-05"}' WHERE key = 'imported@example.com'`)
	l.exec("UPDATE memberships SET consent_source = 'fair' WHERE contact = (SELECT id FROM contacts WHERE key = 'old0@example.com')")
	of := l.check(l.list("", nil))
	l.want(of, map[string]string{
		"cold": "warn 21 contacts (51 %)", "consent": "warn list \"it's \\\"news\\\"\": 41 members, 19 without a record, 0 without a source, 1 without a time, 1 older than 2 years",
		"consent_time": "info 1 contact", "consent_old": "warn 1 contact", "age": "info here for less than 90 days: 21; up to a year: 0; longer: 20", "verdict": "warn 41 contacts",
	})
}

// Of a list with a past it is said what to expect, and each figure is that of the past.
func TestListWithAPast(t *testing.T) {
	l := newListed(t)
	for i, days := range []int{300, 200, 150, 100, 50, 20} {
		l.campaign(i+1, days)
	}
	for i := range 300 {
		key := fmt.Sprintf("p%d@%s", i, []string{"gmail.com", "docomo.ne.jp", "example.com"}[i%3])
		l.person(key, 400, 400)
		switch {
		case i < 30: // never reached
			for c := 2; c <= 6; c++ {
				l.sent(c, key, "deferred", 300-50*c)
			}
		case i >= 240 && i%3 == 1: // a fifth of docomo's are dead in the last campaign
			l.sent(1, key, "accepted", 300)
			l.sent(6, key, "failed", 20)
		default:
			for c, days := range []int{300, 200, 150, 100, 50, 20} {
				l.sent(c+1, key, "accepted", days)
			}
		}
	}
	of := l.check(l.list("", nil))
	l.want(of, map[string]string{
		"expected_bounces": "pass Of the 270 contacts whom mail reached before, 1.2 % will", "provider_bounces": "warn messages to docomo",
		"never_reached": "warn 50 contacts", "dormant": "info Nothing records", "cold": "warn 30 contacts",
	})
	if f := of["provider_bounces"]; f.Subject != "docomo" || !strings.Contains(f.Found, "20 found the address dead") {
		t.Errorf("of docomo: %+v", f)
	}
	for i := range 10 {
		l.exec("INSERT INTO events (at, kind, key) VALUES (?, 'open', ?)", before(10+30*i), fmt.Sprintf("p%d@%s", 30+i, []string{"gmail.com", "docomo.ne.jp", "example.com"}[i%3]))
	}
	l.exec("INSERT INTO events (at, kind, key, campaign) VALUES (?, 'soft_bounce', 'p60@gmail.com', 6)", before(15))
	l.want(l.check(l.list("", nil)), map[string]string{"dormant": "warn 264 contacts", "bouncing": "info 1 contact"})
}

// What a provider wants is told of those that there are.
func TestWantsOfProviders(t *testing.T) {
	table, err := provider.Presets()
	if err != nil {
		t.Fatal(err)
	}
	for lane := range wants {
		if !slices.Contains(table.Names(), lane) {
			t.Errorf("there is no provider %s", lane)
		}
	}
}

func TestOneLine(t *testing.T) {
	for src, want := range map[string]string{
		"": "", "a == 1": "a == 1", " a == 1 # one\n  and b == \"x # y\" // two": "a == 1 and b == \"x # y\"", "a /* or\n b */ == '//\\'#'": "a == '//\\'#'",
		"a == `#`\n\nor b": "a == `#` or b", `a == "\\" # x`: `a == "\\"`,
	} {
		if got := oneLine(src); got != want {
			t.Errorf("%q: %q, want %q", src, got, want)
		}
	}
}

func TestExpectedBounces(t *testing.T) {
	l := &List{mailable: 1000}
	four := func(fresh, none stratum) history {
		return history{lanes: map[string][]stratum{"gmail": {fresh, {}, {}, none}}, nth: 1}
	}
	for name, tt := range map[string]struct {
		past  history
		level Level
		words string
	}{
		"good":          {four(stratum{1000, 10_000, 20}, stratum{}), Pass, "0.2 % will find"},
		"not so good":   {four(stratum{1000, 10_000, 300}, stratum{}), Warn, "3.0 % will find"},
		"bad":           {four(stratum{1000, 10_000, 900}, stratum{}), Fail, "9.0 % will find"},
		"little known":  {four(stratum{1000, 20, 0}, stratum{}), Info, "too little is known"},
		"nothing known": {four(stratum{1000, 0, 0}, stratum{}), Info, "no history to tell"},
		"first mails":   {four(stratum{500, 10_000, 20}, stratum{500, 2000, 200}), Warn, "of 2000 messages to such people before, 200 found"},
		"only new":      {four(stratum{}, stratum{1000, 0, 0}), Info, "1000 contacts (100 %) have no history"},
		"sampled":       {history{lanes: map[string][]stratum{"gmail": {{1000, 10_000, 20}, {}, {}, {}}}, nth: 7}, Pass, "(1 in 7 was looked at)"},
	} {
		f := l.expected(tt.past)[0]
		if said := f.Found + " " + strings.Join(f.Detail, "; "); f.Level != tt.level || !strings.Contains(said, tt.words) {
			t.Errorf("%s: %s, %s; want %s, %s", name, f.Level, said, tt.level, tt.words)
		}
	}
}
