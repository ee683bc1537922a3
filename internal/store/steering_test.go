package store

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/delivery"
)

// Of rows that are left out, because they are for others, the table is not read: what SQLite reads of it comes behind the test of the
// domain. (A plan says only which index is used.)
func TestOnlyRowsThatAreWantedAreRead(t *testing.T) {
	s, _ := openTest(t)
	only, _ := Among{Only: []string{"a"}}.where(nil)
	not, _ := Among{Not: []string{"a"}}.where(nil)
	both, _ := Among{Only: []string{"a"}, Not: []string{"b"}}.where(nil)
	const fresh, retries = "SEARCH d USING INDEX deliveries_open (campaign=? AND next_try=? AND id>?)", "SEARCH d USING INDEX deliveries_open (campaign=? AND next_try>? AND next_try<?)"
	for query, want := range map[string]struct {
		plan  string
		tests int // of the domain, before anything of the table is read; 0: nothing is
	}{
		freshText("marketing", only):    {fresh, 1},
		freshText("operational", not):   {fresh, 1},
		freshText("marketing", both):    {fresh, 2},
		retriesText("marketing", only):  {retries, 1},
		retriesText("operational", not): {retries, 1},
		retriesText("marketing", both):  {retries, 2},
		openByDomain:                    {"SEARCH deliveries USING INDEX deliveries_open (campaign=? AND next_try>?)", 0},
	} {
		args := make([]any, strings.Count(query, "?"))
		steps, err := s.steps(t.Context(), query, args)
		if err != nil || !slices.ContainsFunc(steps, func(st step) bool { return st.detail == want.plan }) {
			t.Errorf("%s\n%v, want %s, %v", query, steps, want.plan, err)
		}
		tests, read := opcodes(t, s, query, args)
		if want.tests > 0 && (tests != want.tests || !read) || want.tests == 0 && read {
			t.Errorf("%s\nthe domain is tested %d times before the table is read (%v)", query, tests, read)
		}
	}
}

// opcodes goes through the program of a query (https://sqlite.org/opcode.html) from where it steps through the index: how often it goes
// on to the next row before it reads a column of the table, and whether it ever does.
func opcodes(t *testing.T, s *Store, query string, args []any) (tests int, read bool) {
	t.Helper()
	type op struct {
		addr, p1, p2, p3 int
		name             string
	}
	var program []op
	err := eachRow(t.Context(), s.read, func(rows *sql.Rows) error {
		var o op
		var p4, p5, comment any
		err := rows.Scan(&o.addr, &o.name, &o.p1, &o.p2, &o.p3, &p4, &p5, &comment)
		program = append(program, o)
		return err
	}, "EXPLAIN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(program, func(o op) bool { return o.name == "DeferredSeek" })
	if at < 0 {
		t.Fatalf("%s: no step through an index that leaves the table alone", query)
	}
	index, table := program[at].p1, program[at].p3
	next := slices.IndexFunc(program, func(o op) bool { return o.name == "Next" && o.p1 == index })
	for _, o := range program[at+1 : next] {
		to := o.p2
		for to > 0 && to < len(program) && program[to].name == "Goto" {
			to = program[to].p2
		}
		switch {
		case (o.name == "Found" || o.name == "NotFound") && to == next:
			tests++
		case (o.name == "Column" || o.name == "FinishSeek") && (o.p1 == table || o.name == "FinishSeek" && o.p1 == index):
			return tests, true
		}
	}
	return tests, false
}

// What is read as due can be narrowed to some domains, or to others, and to some deliveries.
func TestAmong(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 12, "a.example", "b.example", "c.example")
	c := freeze(t, s, "news", "marketing", Audience{})
	m := newSender(t, s, c, nil)
	ids := slices.Clone(m.ids)
	deferred := func(i int) {
		t.Helper()
		if _, _, err := m.Commit(t.Context(), []Claim{{Delivery: ids[i]}}, nil); err != nil {
			t.Fatal(err)
		}
		d := delivery.Decision{State: delivery.Deferred, Reason: "x", NextTry: time.Duration(20-i) * time.Second}
		if _, _, err := m.Commit(t.Context(), nil, []Outcome{{Delivery: ids[i], Attempt: 1, Decision: d}}); err != nil {
			t.Fatal(err)
		}
	}
	place := map[int64]int{}
	for i, id := range ids {
		place[id] = i
	}
	for _, i := range []int{0, 1, 2, 3} {
		deferred(i)
	}
	*now = now.Add(time.Minute)
	// p0, p3, ... are of a.example, and were imported first: 0 to 3 in the order of the ids.
	for name, tt := range map[string]struct {
		among          Among
		fresh, retries []int
	}{
		"all":           {Among{}, []int{4, 5, 6, 7, 8, 9, 10, 11}, []int{3, 2, 1, 0}},
		"only":          {Among{Only: []string{"a.example"}}, nil, []int{3, 2, 1, 0}},
		"two":           {Among{Only: []string{"c.example", "b.example", "nobody.example"}}, []int{4, 5, 6, 7, 8, 9, 10, 11}, nil},
		"not":           {Among{Not: []string{"a.example", "b.example"}}, []int{8, 9, 10, 11}, nil},
		"both":          {Among{Only: []string{"a.example", "b.example"}, Not: []string{"a.example"}}, []int{4, 5, 6, 7}, nil},
		"ids":           {Among{IDs: []int64{ids[9], ids[5], ids[1], 99_999}}, []int{5, 9}, []int{1}},
		"ids of others": {Among{IDs: []int64{ids[9], ids[5], ids[1]}, Not: []string{"b.example"}}, []int{9}, []int{1}},
	} {
		fresh, err := m.Fresh(t.Context(), nil, tt.among, 0, 100)
		retries, err2 := m.Retries(t.Context(), nil, tt.among, 100)
		if got := []string{places(fresh, place), places(retries, place)}; errors.Join(err, err2) != nil || got[0] != fmt.Sprint(tt.fresh) || got[1] != fmt.Sprint(tt.retries) {
			t.Errorf("%s: %v, %v, %v", name, got, err, err2)
		}
	}
	some, err := m.Fresh(t.Context(), nil, Among{Only: []string{"b.example", "c.example"}}, ids[6], 2)
	if err != nil || places(some, place) != "[7 8]" {
		t.Errorf("behind one, at most two: %s, %v", places(some, place), err)
	}
	open, err := m.Open(t.Context())
	if err != nil || fmt.Sprint(open) != "[{a.example 4} {b.example 4} {c.example 4}]" {
		t.Errorf("open: %v, %v", open, err)
	}
	if _, _, err := m.Commit(t.Context(), []Claim{{Delivery: ids[0]}, {Delivery: ids[11]}, {Delivery: ids[10]}}, nil); err != nil {
		t.Fatal(err)
	}
	if open, err := m.Open(t.Context()); err != nil || fmt.Sprint(open) != "[{b.example 4} {a.example 3} {c.example 2}]" {
		t.Errorf("open: %v, %v", open, err)
	}
}

func places(due []Due, place map[int64]int) string {
	var all []int
	for _, d := range due {
		all = append(all, place[d.ID])
	}
	return fmt.Sprint(all)
}

// Thousands of domains are one argument.
func TestAmongMany(t *testing.T) {
	s, _ := openTest(t)
	mails(t, s, 2, "a.example", "b.example")
	m := newSender(t, s, freeze(t, s, "news", "marketing", Audience{}), nil)
	var many []string
	for i := range 50_000 {
		many = append(many, fmt.Sprint("d", i, ".example"))
	}
	due, err := m.Fresh(t.Context(), nil, Among{Not: append(many, "a.example")}, 0, 10)
	if err != nil || len(due) != 1 || due[0].Domain != "b.example" {
		t.Errorf("%+v, %v", due, err)
	}
}

// How receivers take our mail is kept, for all processes, until it is well again, and for a month at most.
func TestLaneStates(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 1, "a.example")
	m := newSender(t, s, freeze(t, s, "news", "marketing", Audience{}), nil)
	save := func(name, state string) {
		t.Helper()
		if err := m.SaveLane(name, state); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want string) {
		t.Helper()
		if got, err := s.LaneStates(t.Context()); err != nil || fmt.Sprint(got) != want {
			t.Errorf("got %v, %v, want %s", got, err, want)
		}
	}
	check("map[]")
	save("lane gmail", `{"rate":5}`)
	save("relay main", `{"rate":7}`)
	save("lane gmail", `{"rate":2.5}`)
	check(`map[lane gmail:{"rate":2.5} relay main:{"rate":7}]`)
	save("lane gmail", "")
	save("lane nobody", "")
	check(`map[relay main:{"rate":7}]`)
	if err := m.SaveLane("lane x", "{"); err == nil {
		t.Error("what is no JSON was kept")
	}
	*now = now.Add(31 * 24 * time.Hour)
	save("lane gmail", `{"rate":1}`)
	check(`map[lane gmail:{"rate":1}]`)
}

// Who is forgotten is not named by the lanes either: not as the only one at a domain, nor in a reply.
func TestForgettingALane(t *testing.T) {
	s, _ := openTest(t)
	mails(t, s, 1, "own.example")
	mails(t, s, 40, "gmail.com")
	m := newSender(t, s, freeze(t, s, "news", "marketing", Audience{}), nil)
	for name, state := range map[string]string{"lane own.example": "{}", "lane gmail.com": "{}", "relay main": `{"why":"421 4.7.0 <P0@Own.example> wait"}`, "relay other": `{"why":"421"}`} {
		if err := m.SaveLane(name, state); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"p0@own.example", "p0@gmail.com"} {
		if _, err := s.ForgetContact(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.LaneStates(t.Context()); err != nil || fmt.Sprint(got) != `map[lane gmail.com:{} relay other:{"why":"421"}]` {
		t.Errorf("got %v, %v", got, err)
	}
	if text := everything(t, s); strings.Contains(strings.ToLower(text), "own.example") {
		t.Errorf("it stands somewhere:\n%s", text)
	}
}

// A run hears of the hard bounces and complaints of its campaign, each once.
func TestHeard(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 6, "a.example", "b.example")
	c, another := freeze(t, s, "news", "marketing", Audience{}), freeze(t, s, "another", "marketing", Audience{})
	m := newSender(t, s, c, nil)
	other := newSender(t, s, another, nil)
	event := func(kind string, id, campaign int64) {
		t.Helper()
		exec(t, s, "INSERT INTO events (at, kind, key, delivery, campaign) VALUES (?, ?, 'k', ?, ?)", s.millis(), kind, id, campaign)
	}
	got, last, err := m.Heard(t.Context(), 0)
	if len(got) != 0 || last != 0 || err != nil {
		t.Fatal(got, last, err)
	}
	event("bounce", m.ids[0], c.ID)
	event("soft_bounce", m.ids[1], c.ID)
	*now = now.Add(time.Minute)
	event("complaint", m.ids[4], c.ID)
	event("bounce", other.ids[0], another.ID)
	got, last, err = m.Heard(t.Context(), last)
	if err != nil || last != 4 || len(got) != 2 || got[0].Domain != "a.example" || got[0].Kind != "hard" || got[1].Domain != "b.example" || got[1].Kind != "complaint" ||
		!got[1].At.Equal(*now) || got[1].At.Sub(got[0].At) != time.Minute {
		t.Errorf("%+v, %d, %v", got, last, err)
	}
	if got, again, err := m.Heard(t.Context(), last); len(got) != 0 || again != last || err != nil {
		t.Errorf("again: %+v, %d, %v", got, again, err)
	}
}

// A breaker's stop is a pause with its reason, which a person lifts; what somebody else decided it leaves alone.
func TestStop(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 3, "a.example")
	m := newSender(t, s, freeze(t, s, "news", "marketing", Audience{}), nil)
	resumed := func(want time.Time) {
		t.Helper()
		if at, err := m.Resumed(t.Context()); err != nil || !at.Equal(want) {
			t.Errorf("resumed at %s, %v; want %s", at, err, want)
		}
	}
	state := func(state, note string) {
		t.Helper()
		if c, err := s.Campaign(t.Context(), "news"); err != nil || c.State != state || c.Note != note {
			t.Errorf("%s %q, %v, want %s %q", c.State, c.Note, err, state, note)
		}
	}
	stop := func(note string) {
		t.Helper()
		if err := m.Stop(t.Context(), note); err != nil {
			t.Fatal(err)
		}
	}
	stop("12 of 240 were refused")
	state(CampaignPaused, "12 of 240 were refused")
	stop("again")
	state(CampaignPaused, "12 of 240 were refused")
	var audits int
	if err := s.read.QueryRow(`SELECT count(*) FROM audit WHERE action = 'campaign.paused' AND detail LIKE '%news%12 of 240%'`).Scan(&audits); err != nil || audits != 1 {
		t.Errorf("%d audit rows, %v", audits, err)
	}
	resumed(time.Time{})
	if err := s.SetCampaignState(t.Context(), "news", CampaignSending, ""); err != nil {
		t.Fatal(err)
	}
	state(CampaignSending, "")
	resumed(*now)
	if err := s.SetCampaignState(t.Context(), "news", CampaignCancelled, "no more"); err != nil {
		t.Fatal(err)
	}
	stop("late")
	state(CampaignCancelled, "no more")
}

// The stage of a canary is the campaign's, for whoever goes on with it; a process that lost the campaign sets none and stops nothing.
func TestStage(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 3, "a.example")
	c := freeze(t, s, "news", "marketing", Audience{})
	m := newSender(t, s, c, nil)
	until := now.Add(30 * time.Minute)
	for _, step := range []struct {
		stage string
		until time.Time
	}{{StageCanary, time.Time{}}, {StageHold, until}, {StageRest, time.Time{}}} {
		if err := m.Stage(t.Context(), step.stage, step.until); err != nil {
			t.Fatal(err)
		}
		have, err := s.Campaign(t.Context(), "news")
		if err != nil || have.Stage != step.stage || !have.HeldUntil.Equal(step.until) {
			t.Errorf("%s: %+v, %v", step.stage, have, err)
		}
	}
	if err := m.Stage(t.Context(), "whatever", time.Time{}); err == nil {
		t.Error("an unknown stage was kept")
	}
	newSender(t, s, c, nil)
	if err := m.Stage(t.Context(), StageHold, until); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("without the lease: %v", err)
	}
	if err := m.Stop(t.Context(), "x"); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("without the lease: %v", err)
	}
	if have, err := s.Campaign(t.Context(), "news"); err != nil || have.Stage != StageRest || have.State != CampaignSending {
		t.Errorf("%+v, %v", have, err)
	}
}

// When it is too late nobody is sent to any more, and the balance says why.
func TestTooLate(t *testing.T) {
	s, _ := openTest(t)
	mails(t, s, 6, "a.example")
	c := freeze(t, s, "news", "marketing", Audience{})
	m := newSender(t, s, c, nil)
	ids := slices.Clone(m.ids)
	m.claim(t, 4)
	if _, _, err := m.Commit(t.Context(), nil, []Outcome{
		{Delivery: ids[0], Attempt: 1, Decision: delivery.Decision{State: delivery.Accepted}},
		{Delivery: ids[1], Attempt: 1, Decision: delivery.Decision{State: delivery.Deferred, Reason: "onhold", NextTry: time.Hour}},
		{Delivery: ids[2], Attempt: 1},
	}); err != nil {
		t.Fatal(err)
	}
	if n, err := m.TooLate(t.Context()); n != 4 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got := states(t, s, c); got != "accepted failed(expired) excluded(too late) sending excluded(too late) excluded(too late)" {
		t.Errorf("got %s", got)
	}
	if n, err := m.TooLate(t.Context()); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
}

// A sample is of the size that was asked for, of each quota, spread over the list, and the same after a restart, also when some of it
// have been sent.
func TestSampleOfACampaign(t *testing.T) {
	s, _ := openTest(t)
	mails(t, s, 6000, "gmail.com", "docomo.ne.jp", "own.example")
	mails(t, s, 2, "x.example", "y.example")
	c := freeze(t, s, "news", "marketing", Audience{Exclude: Where{SQL: "c.key LIKE 'p3%'"}})
	m := newSender(t, s, c, nil)
	quotas := []Quota{{Domains: []string{"gmail.com"}, N: 300}, {Domains: []string{"x.example"}, N: 5}, {Not: []string{"docomo.ne.jp"}, N: 100}, {Domains: []string{"gmail.com"}, N: 50}}
	sample := func(m *sender) []int64 {
		t.Helper()
		ids, err := m.Sample(t.Context(), quotas)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	first := sample(m)
	domains, at := map[string]int{}, 0.0
	for _, id := range first {
		_, address, ok, err := s.DeliveryAddress(t.Context(), id)
		if err != nil || !ok || strings.HasPrefix(address, "p3") {
			t.Fatal(id, address, ok, err)
		}
		domain := address[strings.Index(address, "@")+1:]
		if domains[domain]++; domain == "gmail.com" {
			at += float64(id) / 300
		}
	}
	if got := domains["own.example"] + domains["y.example"]; domains["gmail.com"] != 300 || domains["x.example"] != 1 || domains["docomo.ne.jp"] != 0 || got != 100 {
		t.Errorf("of each domain: %v", domains)
	}
	if !slices.IsSorted(first) || len(slices.Compact(slices.Clone(first))) != len(first) {
		t.Error("not sorted, or one twice")
	}
	// gmail.com has the ids 1 to 2000: the mean of 300 is 1000 with a standard error of 33.
	if math.Abs(at-1000) > 130 {
		t.Errorf("the mean id is %.0f", at)
	}
	m.ids = slices.Clone(first)
	m.claim(t, 200)
	next := newSender(t, s, c, nil)
	if again := sample(next); !slices.Equal(again, first) {
		t.Error("after a restart it is another")
	}
	if ids, err := next.Sample(t.Context(), []Quota{{N: 0}, {Domains: []string{"gmail.com"}, N: 1_000_000}}); err != nil || len(ids) != 2000-len3() {
		t.Errorf("more than there are: %d, %v", len(ids), err)
	}
}

// len3 is how many of gmail.com are excluded: the numbers divisible by three from 0 to 5997 that begin with 3.
func len3() (n int) {
	for i := 0; i < 6000; i += 3 {
		if strings.HasPrefix(fmt.Sprint(i), "3") {
			n++
		}
	}
	return n
}
