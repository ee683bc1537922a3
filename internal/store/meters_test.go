package store

import (
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/pace"
)

// mails makes n contacts, whose domains come in turn.
func mails(t *testing.T, s *Store, n int, domains ...string) {
	t.Helper()
	for i, d := range domains {
		exec(t, s, `INSERT INTO contacts (key, address, fields, created_at, updated_at)
			WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + ? FROM n WHERE i + ? < ?)
			SELECT 'p' || i || '@' || ?, 'p' || i || '@' || ?, '{}', 1, 1 FROM n`, i, len(domains), len(domains), n, d, d)
	}
}

// sender claims the mail of a campaign, in the order of the ids.
type sender struct {
	*Run
	ids  []int64
	lane func(id int64) string
}

func newSender(t *testing.T, s *Store, c Campaign, limits func(relay, lane string) []pace.Limit) *sender {
	t.Helper()
	run, _, err := s.Acquire(t.Context(), c, c.Name, 24*time.Hour, func(string) bool { return true }, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.Close(t.Context()) })
	m := &sender{Run: run, lane: func(int64) string { return "gmail" }}
	err = eachRow(t.Context(), s.read, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		m.ids = append(m.ids, id)
		return err
	}, "SELECT id FROM deliveries WHERE campaign = ? AND state IN ('pending','deferred') ORDER BY id", c.ID)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// claim claims the next n, and keeps those that were refused for later.
func (m *sender) claim(t *testing.T, n int) []Claimed {
	t.Helper()
	n = min(n, len(m.ids))
	claims := make([]Claim, n)
	for i := range claims {
		claims[i] = Claim{Delivery: m.ids[i], Relay: "main", Lane: m.lane(m.ids[i])}
	}
	got, _, err := m.Commit(t.Context(), claims, nil)
	if err != nil {
		t.Fatal(err)
	}
	rest := slices.Clone(m.ids[n:])
	for i := len(got) - 1; i >= 0; i-- {
		if got[i].Attempt == 0 && !got[i].Excluded {
			rest = slices.Insert(rest, 0, m.ids[i])
		}
	}
	m.ids = rest
	return got
}

func always(limits ...pace.Limit) func(relay, lane string) []pace.Limit {
	return func(string, string) []pace.Limit { return limits }
}

func left(claimed []Claimed) (n int) {
	for _, c := range claimed {
		if c.Attempt > 0 {
			n++
		}
	}
	return n
}

// most is how many of the sorted times lie in any window.
func most(times []time.Time, per time.Duration) int {
	n, from := 0, 0
	for to, at := range times {
		for at.Sub(times[from]) >= per {
			from++
		}
		n = max(n, to-from+1)
	}
	return n
}

// Two processes with one database, each with a campaign of its own, share what the limits let through: those of all mail, of a relay
// and of a lane, in whatever way their claims come, also when one of them is killed. While there is work it is used.
func TestProcessesShareLimits(t *testing.T) {
	const lasts = 20 * time.Second
	seeds := uint64(2)
	if mailtest.Race {
		seeds = 1
	}
	for seed := range seeds {
		one, now := openTest(t)
		other, err := Open(t.Context(), one.path, Options{Now: func() time.Time { return *now }, Actor: "other"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { other.Close() })
		mails(t, one, 3000, "gmail.com", "example.jp")
		rnd := rand.New(rand.NewPCG(seed, 0))
		scopes := map[string][]pace.Limit{
			"all":      pace.Limits("all", pace.Rate{N: 100, Per: time.Second}),
			"gmail":    pace.Limits("lane gmail", pace.Rate{N: 10, Per: time.Second}),
			"freemail": pace.Limits("lane freemail", pace.Rate{N: 80, Per: time.Second}, pace.Rate{N: 300, Per: 10 * time.Second}),
		}
		limits := func(_, lane string) []pace.Limit { return slices.Concat(scopes["all"], scopes[lane]) }
		var senders []*sender
		for i, s := range []*Store{one, other} {
			senders = append(senders, newSender(t, s, freeze(t, one, fmt.Sprint("news ", i), "marketing", Audience{}), limits))
		}
		sent := map[string][]time.Time{}
		for begin := *now; now.Sub(begin) < lasts; {
			m := senders[rnd.IntN(2)]
			m.lane = func(id int64) string { return []string{"gmail", "freemail"}[id%2] }
			asked := min(1+rnd.IntN(12), len(m.ids))
			ids := slices.Clone(m.ids[:asked])
			for i, c := range m.claim(t, asked) {
				switch lane := m.lane(ids[i]); {
				case c.Attempt > 0:
					at := c.From
					if at.Before(*now) || at.After(now.Add(Ahead)) {
						t.Fatalf("at %s: leave at %s", now, at)
					}
					sent["all"], sent[lane] = append(sent["all"], at), append(sent[lane], at)
				case !c.NotUntil.After(*now) || c.Limit == "":
					t.Fatalf("refused: %+v", c)
				}
			}
			if len(m.ids) == 0 {
				t.Fatal("there must be more work than may be done")
			}
			rnd.Shuffle(len(m.ids), func(i, j int) { m.ids[i], m.ids[j] = m.ids[j], m.ids[i] })
			*now = now.Add(time.Duration(rnd.IntN(20_000)) * time.Microsecond)
		}
		for scope, limits := range scopes {
			slices.SortFunc(sent[scope], time.Time.Compare)
			for _, l := range limits {
				if got := int64(most(sent[scope], l.Per)); got > l.N+l.N/100+1 {
					t.Errorf("seed %d: %s let %d through", seed, l.Name, got)
				}
			}
		}
		// 10/s, and 300 in each 10 s but for a cell at its edge.
		if gmail, freemail := len(sent["gmail"]), len(sent["freemail"]); gmail < 194 || freemail < 582 {
			t.Errorf("seed %d: %d of 200 to gmail, %d of 600 to freemail", seed, gmail, freemail)
		}
	}
}

// Slots that are kept even are a step apart, whoever takes them.
func TestSlotsAreDistinct(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 400, "gmail.com")
	limits := always(pace.Limits("all", pace.Rate{N: 100, Per: time.Second})...)
	a, b := newSender(t, s, freeze(t, s, "a", "marketing", Audience{}), limits), newSender(t, s, freeze(t, s, "b", "marketing", Audience{}), limits)
	var last time.Time
	for i := range 100 {
		for _, c := range []*sender{a, b}[i%2].claim(t, 20) {
			if c.Attempt == 0 {
				if want := now.Add(10 * time.Millisecond); c.NotUntil.After(want) || c.Limit != "all/1s" {
					t.Fatalf("refused %+v, want until %s", c, want)
				}
				continue
			}
			if !last.IsZero() && c.From.Sub(last) != 10*time.Millisecond {
				t.Fatalf("slots at %s and %s", last, c.From)
			}
			last = c.From
		}
		*now = now.Add(15 * time.Millisecond)
	}
}

// What the limits let through is known to the next process, to the microsecond.
func TestMetersAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mailer.db")
	now := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
	all := pace.Limits("relay main", pace.Rate{N: 7, Per: time.Second}, pace.Rate{N: 30, Per: time.Hour})
	all = append(all, WarmupLimit("main gmail", "2026-12-01", 1000, time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC)))
	var before map[string]*pace.Meter
	sent := 0
	for i := range 20 {
		s, err := Open(t.Context(), path, Options{Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			mails(t, s, 100, "gmail.com")
			freeze(t, s, "news", "marketing", Audience{})
		}
		have, err := s.Meters(t.Context(), all)
		if err != nil || before != nil && fmt.Sprint(show(have)) != fmt.Sprint(show(before)) {
			t.Fatalf("start %d: %v, before %v, %v", i, show(have), show(before), err)
		}
		c, err := s.Campaign(t.Context(), "news")
		if err != nil {
			t.Fatal(err)
		}
		m := newSender(t, s, c, always(all...))
		sent += left(m.claim(t, 3))
		if before, err = s.Meters(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		if used := before["relay main/1h0m0s"]; all[1].Used(used, now) != int64(sent) || all[2].Used(before[all[2].Name], now) != int64(sent) {
			t.Fatalf("%d were sent, the meters say %v", sent, show(before))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(333 * time.Millisecond)
	}
	if sent != 30 {
		t.Errorf("%d were sent", sent)
	}
}

func show(meters map[string]*pace.Meter) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(meters)) {
		m := meters[name]
		all = append(all, fmt.Sprint(name, " ", m.Next.UnixMicro(), " ", m.Holes, " ", m.Cells))
	}
	return all
}

// The slots that a lane left out are kept too, for the mail of the others.
func TestHolesAreKept(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 40, "gmail.com")
	all, lane := pace.Limits("all", pace.Rate{N: 100, Per: time.Second}), pace.Limits("lane gmail", pace.Rate{N: 12, Per: time.Second})
	m := newSender(t, s, freeze(t, s, "a", "marketing", Audience{}), func(_, l string) []pace.Limit {
		if l == "gmail" {
			return slices.Concat(all, lane)
		}
		return all
	})
	m.claim(t, 2) // the second one of gmail leaves in 83 ms
	kept, err := s.Meters(t.Context(), all)
	if err != nil || len(kept["all/1s"].Holes) == 0 {
		t.Fatalf("%v, %v", show(kept), err)
	}
	m.lane = func(int64) string { return "others" }
	got := m.claim(t, 5)
	if left(got) != 5 || got[0].From.After(now.Add(20*time.Millisecond)) {
		t.Errorf("the others must wait: %+v", got)
	}
}

// A clock that is set back stops nothing for longer than it must, and lets no more through.
func TestClockSetBack(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 400, "gmail.com")
	m := newSender(t, s, freeze(t, s, "a", "marketing", Audience{}), always(pace.Limits("all", pace.Rate{N: 10, Per: time.Second}, pace.Rate{N: 40, Per: time.Hour})...))
	sent := 0
	for range 10 {
		sent += left(m.claim(t, 5))
		*now = now.Add(100 * time.Millisecond)
	}
	*now = now.Add(-30 * time.Minute)
	if n := left(m.claim(t, 5)); n == 0 {
		t.Error("the even limit waits for the old time")
	} else {
		sent += n
	}
	for range 100 {
		*now = now.Add(100 * time.Millisecond)
		sent += left(m.claim(t, 5))
	}
	if sent != 40 {
		t.Errorf("%d of 40 an hour", sent)
	}
}

// A claim that comes to nothing takes nothing: who is suppressed or gone, and who is asked for twice. The slots of those behind move up.
func TestALostClaimTakesNothing(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 40, "gmail.com")
	limits := pace.Limits("all", pace.Rate{N: 50, Per: time.Second}, pace.Rate{N: 8, Per: time.Hour})
	m := newSender(t, s, freeze(t, s, "a", "marketing", Audience{}), always(limits...))
	if _, err := s.AddSuppressions(t.Context(), []Suppression{
		{Scope: "address", Key: "p0@gmail.com", Blocks: "all", Reason: "manual"}, {Scope: "address", Key: "p2@gmail.com", Blocks: "all", Reason: "manual"},
		{Scope: "address", Key: "p7@gmail.com", Blocks: "all", Reason: "manual"}}, ""); err != nil {
		t.Fatal(err)
	}
	m.ids = slices.Insert(m.ids, 4, m.ids[3], 99_999)
	got := m.claim(t, 12)
	var text []string
	for _, c := range got {
		switch {
		case c.Excluded:
			text = append(text, "excluded")
		case c.Attempt > 0:
			text = append(text, fmt.Sprint(c.From.Sub(*now).Milliseconds()))
		case !c.NotUntil.IsZero():
			text = append(text, "later")
		default:
			text = append(text, "nothing")
		}
	}
	// 50/s: a slot each 20 ms, six within 100 ms.
	if want := "excluded 0 excluded 20 nothing nothing 40 60 80 excluded 100 later"; strings.Join(text, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(text, " "), want)
	}
	have, err := s.Meters(t.Context(), limits)
	if err != nil || limits[1].Used(have[limits[1].Name], *now) != 6 || !have["all/1s"].Next.Equal(now.Add(120*time.Millisecond)) {
		t.Errorf("%v, %v", show(have), err)
	}
}

// A lane that waits holds up no other in the same commit.
func TestALaneThatWaitsHoldsUpNoOther(t *testing.T) {
	s, _ := openTest(t)
	mails(t, s, 40, "gmail.com")
	m := newSender(t, s, freeze(t, s, "a", "marketing", Audience{}), func(_, lane string) []pace.Limit {
		if lane == "slow" {
			return pace.Limits("lane slow", pace.Rate{N: 1, Per: time.Minute})
		}
		return nil
	})
	m.lane = func(id int64) string { return []string{"slow", "fast"}[id%2] }
	got := m.claim(t, 40)
	if n := left(got); n != 21 {
		t.Errorf("%d were let through", n)
	}
	for _, c := range got {
		if c.Attempt == 0 && (c.Limit != "lane slow/1m0s" || c.NotUntil.IsZero()) {
			t.Errorf("%+v", c)
		}
	}
}

// What was claimed and never left does not count, once; what left does, whatever came of it.
func TestPuttingBackGivesBack(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 40, "gmail.com")
	hour := pace.Limits("all", pace.Rate{N: 100, Per: time.Second}, pace.Rate{N: 30, Per: time.Hour})[1]
	day := WarmupLimit("main", "2026-12-01", 30, time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC))
	limits := []pace.Limit{hour, day}
	m := newSender(t, s, freeze(t, s, "a", "marketing", Audience{}), always(limits...))
	ids := slices.Clone(m.ids)
	got := m.claim(t, 6)
	*now = now.Add(90 * time.Second) // another cell
	used := func(want int64) {
		t.Helper()
		have, err := s.Meters(t.Context(), limits)
		if err != nil || hour.Used(have[hour.Name], *now) != want || day.Used(have[day.Name], *now) != want {
			t.Errorf("%v, %v, want %d", show(have), err, want)
		}
	}
	used(6)
	outcome := func(i int, d delivery.Decision) Outcome {
		return Outcome{Delivery: ids[i], Attempt: 1, Key: "k", Relay: "main", Lane: "gmail", Slot: got[i].From, Decision: d}
	}
	commit := func(all ...Outcome) {
		t.Helper()
		if _, _, err := m.Commit(t.Context(), nil, all); err != nil {
			t.Fatal(err)
		}
	}
	commit(outcome(0, delivery.Decision{}), outcome(1, delivery.Decision{State: delivery.Accepted}), outcome(2, delivery.Decision{State: delivery.Deferred, Reason: "x"}))
	used(5)
	commit(outcome(0, delivery.Decision{}), outcome(1, delivery.Decision{})) // known already
	used(5)
	commit(outcome(3, delivery.Decision{State: delivery.Failed, Reason: "x"}), outcome(4, delivery.Decision{State: delivery.Uncertain}))
	used(5)
	without := outcome(5, delivery.Decision{}) // of a claim for which no limit held
	without.Slot = time.Time{}
	commit(without)
	used(5)
}

// A commit that fails takes nothing.
func TestAFailedCommitTakesNothing(t *testing.T) {
	s, _ := openTest(t)
	mails(t, s, 10, "gmail.com")
	limits := pace.Limits("all", pace.Rate{N: 10, Per: time.Second}, pace.Rate{N: 30, Per: time.Hour})
	m := newSender(t, s, freeze(t, s, "a", "marketing", Audience{}), always(limits...))
	m.claim(t, 1)
	before, err := s.Meters(t.Context(), limits)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, s, "CREATE TRIGGER no BEFORE UPDATE ON buckets BEGIN SELECT RAISE(ABORT, 'full'); END")
	if _, _, err := m.Commit(t.Context(), []Claim{{Delivery: m.ids[0], Relay: "main"}}, nil); err == nil {
		t.Fatal("the trigger did not fire")
	}
	if after, err := s.Meters(t.Context(), limits); err != nil || fmt.Sprint(show(after)) != fmt.Sprint(show(before)) {
		t.Errorf("%v, before %v, %v", show(after), show(before), err)
	}
	exec(t, s, "DROP TRIGGER no")
	if got := m.claim(t, 1); left(got) != 1 {
		t.Errorf("after that: %+v", got)
	}
}

// The share of a day: not a message more before midnight, and the next day has its own. The days are kept for over a year.
func TestWarmupDays(t *testing.T) {
	s, now := openTest(t)
	tokyo := time.FixedZone("JST", 9*60*60)
	mails(t, s, 200, "gmail.com")
	limits := func(relay, lane string) []pace.Limit {
		at := now.In(tokyo)
		until := time.Date(at.Year(), at.Month(), at.Day()+1, 0, 0, 0, 0, tokyo)
		return []pace.Limit{WarmupLimit(relay, at.Format(time.DateOnly), 20, until), WarmupLimit(relay+" "+lane, at.Format(time.DateOnly), -1, until)}
	}
	m := newSender(t, s, freeze(t, s, "a", "marketing", Audience{}), limits)
	midnight := time.Date(2026, 12, 2, 0, 0, 0, 0, tokyo)
	*now = midnight.Add(-time.Hour)
	if got := m.claim(t, 10); left(got) != 10 {
		t.Fatalf("%+v", got)
	}
	*now = midnight.Add(-50 * time.Millisecond)
	got := m.claim(t, 20)
	if left(got) != 10 || !got[15].NotUntil.Equal(midnight) || got[15].Limit != "warmup main/2026-12-01" {
		t.Fatalf("%d, %+v", left(got), got[15])
	}
	*now = midnight
	if got := m.claim(t, 25); left(got) != 20 {
		t.Fatalf("the next day: %d", left(got))
	}
	// What comes back from yesterday is not today's.
	if err := m.giveBackAt(t, got[0].From); err != nil {
		t.Fatal(err)
	}
	days := func(name, want string) {
		t.Helper()
		if have, err := s.WarmupDays(t.Context(), name); err != nil || fmt.Sprint(have) != want {
			t.Errorf("%s: %v, %v, want %s", name, have, err, want)
		}
	}
	days("main", "[{2026-12-01 20} {2026-12-02 20}]")
	days("main gmail", "[{2026-12-01 20} {2026-12-02 20}]")
	days("another", "[]")
	*now = midnight.AddDate(0, 0, keepDays)
	m.claim(t, 1)
	days("main", "[{2026-12-02 20} {2028-01-06 1}]")
}

// giveBackAt puts back a delivery whose slot was then.
func (m *sender) giveBackAt(t *testing.T, at time.Time) error {
	var id int64
	if err := m.s.read.QueryRow("SELECT min(id) FROM deliveries WHERE state = 'sending'").Scan(&id); err != nil {
		return err
	}
	_, _, err := m.Commit(t.Context(), nil, []Outcome{{Delivery: id, Attempt: 1, Relay: "main", Lane: "gmail", Slot: at}})
	return err
}

// A slot behind midnight is of the next day's share.
func TestNoSlotBehindMidnight(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 20, "gmail.com")
	midnight := time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC)
	limits := append(pace.Limits("all", pace.Rate{N: 50, Per: time.Second}), WarmupLimit("main", "2026-12-01", 1000, midnight))
	m := newSender(t, s, freeze(t, s, "a", "marketing", Audience{}), always(limits...))
	*now = midnight.Add(-30 * time.Millisecond)
	got := m.claim(t, 5)
	if left(got) != 2 || !got[2].NotUntil.Equal(midnight) || got[2].Limit != limits[1].Name {
		t.Errorf("%+v", got)
	}
}

// Two limits of one name are one meter, and each message counts once in it; each keeps its own number.
func TestOneNameIsOneMeter(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 60, "gmail.com")
	limit := func(n int64) pace.Limit { return pace.Limit{Name: "x", N: n, Per: time.Hour} }
	m := newSender(t, s, freeze(t, s, "a", "marketing", Audience{}), func(_, lane string) []pace.Limit {
		if lane == "few" {
			return []pace.Limit{limit(20), limit(10)}
		}
		return []pace.Limit{limit(30)}
	})
	m.lane = func(int64) string { return "few" }
	if n := left(m.claim(t, 15)); n != 10 {
		t.Errorf("few: %d", n)
	}
	m.lane = func(int64) string { return "many" }
	if n := left(m.claim(t, 40)); n != 20 {
		t.Errorf("many: %d", n)
	}
	have, err := s.Meters(t.Context(), []pace.Limit{limit(10)})
	if err != nil || limit(10).Used(have["x"], *now) != 30 {
		t.Errorf("%v, %v", show(have), err)
	}
}

// Of a campaign that is paused no slot is taken.
func TestAPausedCampaignTakesNothing(t *testing.T) {
	s, _ := openTest(t)
	mails(t, s, 10, "gmail.com")
	limits := pace.Limits("all", pace.Rate{N: 10, Per: time.Second}, pace.Rate{N: 30, Per: time.Hour})
	m := newSender(t, s, freeze(t, s, "a", "marketing", Audience{}), always(limits...))
	if err := m.Stop(t.Context(), "enough"); err != nil {
		t.Fatal(err)
	}
	m.claim(t, 5)
	have, err := s.Meters(t.Context(), limits)
	if err != nil || !have["all/1s"].Next.IsZero() || len(have["all/1h0m0s"].Cells) != 0 {
		t.Errorf("%v, %v", show(have), err)
	}
}

// An hour that is kept even counts all the same, so that it is no new hour for those who have --rate 100/s beside it, nor theirs for those
// who have not.
func TestAnEvenHourIsCounted(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 300, "gmail.com")
	hour := pace.Rate{N: 60, Per: time.Hour}
	alone, beside := pace.Limits("all", hour), pace.Limits("all", pace.Rate{N: 100, Per: time.Second}, hour)
	c := freeze(t, s, "news", "marketing", Audience{})
	drain := func(limits []pace.Limit, lasts, step time.Duration) (sent int) {
		m := newSender(t, s, c, always(limits...))
		for end := now.Add(lasts); now.Before(end); *now = now.Add(step) {
			sent += left(m.claim(t, 1))
		}
		return sent
	}
	if n := drain(alone, 30*time.Minute, 30*time.Second); n != 30 {
		t.Fatalf("%d of 60 an hour left in half an hour", n)
	}
	if n := drain(beside, 2*time.Second, 10*time.Millisecond); n != 30 {
		t.Errorf("%d more, of 60 an hour after 30", n)
	}
	if n := drain(alone, 25*time.Minute, 30*time.Second); n > 2 {
		t.Errorf("%d more, of 60 an hour after 60", n)
	}
	if n := drain(alone, 2*time.Hour, 30*time.Second); n < 110 {
		t.Errorf("%d in the two hours after that", n)
	}
	m := newSender(t, s, c, always(alone...))
	before, err := s.Meters(t.Context(), alone)
	if err != nil {
		t.Fatal(err)
	}
	*now = now.Add(time.Minute)
	id := m.ids[0]
	got := m.claim(t, 1)
	if left(got) != 1 {
		t.Fatalf("%+v", got)
	}
	if _, _, err := m.Commit(t.Context(), nil, []Outcome{{Delivery: id, Relay: "main", Lane: "gmail", Attempt: got[0].Attempt, Slot: got[0].From}}); err != nil {
		t.Fatal(err)
	}
	after, err := s.Meters(t.Context(), alone)
	if used, want := alone[0].Used(after[alone[0].Name], *now), alone[0].Used(before[alone[0].Name], *now); err != nil || used != want {
		t.Errorf("%d counted after one was put back, %d before: %v", used, want, err)
	}
}

// What an older version counted holds on.
func TestCountsOfAnOldDatabaseHold(t *testing.T) {
	s, now := openTest(t)
	mails(t, s, 20, "gmail.com")
	c := freeze(t, s, "news", "marketing", Audience{})
	hour := pace.Limits("relay main", pace.Rate{N: 10, Per: time.Second}, pace.Rate{N: 100, Per: time.Hour})[1]
	// As the version before wrote it: the cell of 59 minutes ago, and the one now.
	cell := now.UnixMilli() / (time.Hour.Milliseconds() / 60)
	exec(t, s, "INSERT INTO buckets (name, slot, used) VALUES ('relay main/1h0m0s', ?, 50), ('relay main/1h0m0s', ?, 45), ('relay main/1h0m0s', ?, 1000)", cell-59, cell, cell-70)
	back(t, s)
	old, err := Open(t.Context(), s.path, Options{Now: func() time.Time { return *now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { old.Close() })
	m := newSender(t, old, c, always(hour))
	if got := m.claim(t, 10); left(got) != 5 || got[5].Limit != hour.Name {
		t.Errorf("%+v", got)
	}
	*now = now.Add(2 * time.Minute)
	if got := m.claim(t, 10); left(got) != 10 {
		t.Errorf("when the 50 have left: %+v", got)
	}
	if have, err := old.Campaign(t.Context(), "news"); err != nil || have.Stage != "" || !have.HeldUntil.IsZero() {
		t.Errorf("%+v, %v", have, err)
	}
}

// back takes a database back to before the migration of limits.
func back(t *testing.T, s *Store) {
	t.Helper()
	for _, step := range []string{"DROP TABLE paces", "DROP TABLE warmups", "DROP TABLE lanes", "DROP TABLE schedules", "DROP TABLE leases", "DROP TABLE held", "DROP TABLE freezes",
		"DROP TABLE dead_counts", "DROP INDEX suppressions_shown", "ALTER TABLE campaigns DROP COLUMN by_hand", "ALTER TABLE campaigns DROP COLUMN stage",
		"ALTER TABLE campaigns DROP COLUMN held_until", "DROP INDEX deliveries_open",
		"CREATE INDEX deliveries_open ON deliveries (campaign, next_try, id) WHERE state IN ('pending','deferred')", "PRAGMA user_version = 2"} {
		exec(t, s, step)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
