package store

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/pace"
)

// model is what a campaign must be like, kept without a database.
type model struct {
	rows       map[int64]*modelRow
	ids        []int64
	campaign   string          // its state
	suppressed map[string]bool // addresses and domains, for all or for this class
	class      string
	left       int64 // of the limit
	holder     int   // the run that has the lease
	now        *time.Time
}

type modelRow struct {
	state    delivery.State
	attempts int
	key      string
	domain   string
	next     int64 // when it may be tried again
}

func (m *model) open(r *modelRow) bool {
	return r.state == delivery.Pending || r.state == delivery.Deferred
}

func (m *model) settle(o Outcome) {
	r := m.rows[o.Delivery]
	same := r.attempts == o.Attempt
	switch unknown := r.state == delivery.Sending || r.state == delivery.Uncertain; {
	case o.Decision.State == "":
		if !same || !unknown {
			return
		}
		if r.state, r.attempts = delivery.Deferred, r.attempts-1; r.attempts == 0 {
			r.state = delivery.Pending
		}
		return
	case same && (unknown || r.state == delivery.Deferred):
		if r.state, r.next = o.Decision.State, 0; r.state == delivery.Deferred {
			r.next = m.now.Add(o.Decision.NextTry).UnixMilli()
		}
	}
	if o.Decision.Hard {
		m.suppressed[o.Key] = true
	}
}

func (m *model) cancel() {
	for _, r := range m.rows {
		if m.campaign == CampaignCancelled && m.open(r) {
			r.state = delivery.Excluded
		}
	}
}

// commit is Run.Commit, one after the other.
func (m *model) commit(run int, claims []Claim, outcomes []Outcome) ([]Claimed, error) {
	if run != m.holder && (len(claims) > 0 || len(outcomes) == 0) {
		return nil, ErrLeaseLost
	}
	for _, o := range outcomes {
		m.settle(o)
	}
	m.cancel()
	got := make([]Claimed, len(claims))
	if run != m.holder || m.campaign != CampaignSending {
		return got, nil
	}
	spent := int64(0)
	for i, c := range claims {
		r := m.rows[c.Delivery]
		switch {
		case spent >= m.left:
			got[i].NotUntil = time.Unix(1, 0)
		case !m.open(r):
		case m.suppressed[r.key] || m.suppressed[r.domain]:
			r.state, got[i].Excluded = delivery.Excluded, true
		case r.next > m.now.UnixMilli():
		default:
			r.state, r.attempts = delivery.Sending, r.attempts+1
			got[i].Attempt = r.attempts
			spent++
		}
	}
	m.left -= spent
	return got, nil
}

// Whatever happens to a campaign in whatever order, the store does what the model does, on a connection that stays and on one that
// is opened anew.
func TestCommitsAsTheModel(t *testing.T) {
	seeds := uint64(500)
	if mailtest.Race {
		seeds = 60 // SQLite is thirty times slower under the race detector, and is one goroutine's
	}
	for first, reopen := range []bool{false, true} {
		t.Run(fmt.Sprintf("reopen=%v", reopen), func(t *testing.T) {
			s, now := openTest(t)
			for i := range 24 {
				addr := fmt.Sprintf("p%03d@%s", i, []string{"a.example", "b.example", "c.example"}[i%3])
				exec(t, s, "INSERT INTO contacts (key, address, fields, created_at, updated_at) VALUES (?, ?, '{}', 1, 1)", addr, addr)
			}
			for seed := uint64(first); seed < seeds; seed += 2 {
				w := &modelWorld{t: t, s: s, now: now, reopen: reopen, rnd: rand.New(rand.NewPCG(seed, 0))}
				w.begin(seed)
				for step := range 15 {
					w.step()
					w.compare()
					if step%5 == 4 {
						w.compareDue()
					}
					if t.Failed() {
						t.Fatalf("seed %d, step %d: %v", seed, step, w.did)
					}
				}
				w.end()
			}
		})
	}
}

type modelWorld struct {
	t      *testing.T
	s      *Store
	now    *time.Time
	reopen bool
	rnd    *rand.Rand
	did    []string

	model    model
	campaign Campaign
	limit    pace.Limit
	runs     []*Run
	flying   []map[int64]int // by run: deliveries whose outcome it has not written, and their attempt
}

func (w *modelWorld) begin(seed uint64) {
	t := w.t
	w.model = model{rows: map[int64]*modelRow{}, campaign: CampaignSending, suppressed: map[string]bool{}, holder: -1,
		class: []string{"marketing", "operational"}[w.rnd.IntN(2)], left: 8 + w.rnd.Int64N(60), now: w.now}
	w.limit = pace.Limit{Name: fmt.Sprint("relay ", seed, "/10000h0m0s"), N: w.model.left, Per: 10_000 * time.Hour}
	w.campaign = freeze(t, w.s, fmt.Sprint("news ", seed), w.model.class, Audience{})
	err := eachRow(t.Context(), w.s.read, func(rows *sql.Rows) error {
		var id int64
		r := &modelRow{state: delivery.Pending}
		err := rows.Scan(&id, &r.key, &r.domain)
		w.model.rows[id], w.model.ids = r, append(w.model.ids, id)
		return err
	}, "SELECT id, key, domain FROM deliveries WHERE campaign = ? ORDER BY id", w.campaign.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.takeOver()
}

func (w *modelWorld) takeOver() {
	run, doubtful, err := w.s.Acquire(w.t.Context(), w.campaign, fmt.Sprint("run ", len(w.runs)), time.Minute, func(string) bool { return true },
		func(string, string) []pace.Limit { return []pace.Limit{w.limit} })
	if err != nil {
		w.t.Fatal(err)
	}
	w.runs, w.flying = append(w.runs, run), append(w.flying, map[int64]int{})
	w.model.holder = len(w.runs) - 1
	for _, r := range w.model.rows {
		if r.state == delivery.Sending {
			r.state = delivery.Uncertain
			doubtful--
		}
	}
	w.model.cancel()
	if doubtful != 0 {
		w.t.Errorf("%d more in doubt than in the model", doubtful)
	}
}

func (w *modelWorld) step() {
	*w.now = w.now.Add(time.Duration(w.rnd.IntN(2000)) * time.Millisecond)
	switch n := w.rnd.IntN(20); {
	case n < 14:
		w.commit()
	case n == 14:
		w.suppress()
	case n == 15:
		w.did = append(w.did, "lift")
		for key := range w.model.suppressed {
			scope := "address"
			if len(key) == len("a.example") {
				scope = "domain"
			}
			if _, err := w.s.RemoveSuppression(w.t.Context(), scope, key, "", ""); err != nil {
				w.t.Fatal(err)
			}
		}
		clear(w.model.suppressed)
	case n == 16:
		w.did = append(w.did, "take over")
		w.takeOver()
	case n == 17:
		w.did = append(w.did, "resend")
		if w.model.campaign == CampaignCancelled {
			return // the verb refuses that
		}
		n, err := w.runs[w.model.holder].Resolve(w.t.Context(), true, w.now.Add(time.Hour))
		for _, r := range w.model.rows {
			if r.state == delivery.Uncertain {
				r.state, r.next = delivery.Deferred, 0
				n--
			}
		}
		if err != nil || n != 0 {
			w.t.Fatal(n, err)
		}
	default:
		if w.model.campaign == CampaignCancelled {
			return
		}
		w.model.campaign = []string{CampaignPaused, CampaignSending, CampaignSending, CampaignSending, CampaignCancelled}[w.rnd.IntN(5)]
		w.did = append(w.did, w.model.campaign)
		if err := w.s.SetCampaignState(w.t.Context(), w.campaign.Name, w.model.campaign, ""); err != nil {
			w.t.Fatal(err)
		}
		w.model.cancel()
	}
}

func (w *modelWorld) suppress() {
	r := w.model.rows[w.model.ids[w.rnd.IntN(len(w.model.ids))]]
	p := Suppression{Scope: "address", Key: r.key, Blocks: []string{"all", "marketing"}[w.rnd.IntN(2)], Reason: "manual"}
	if w.rnd.IntN(4) == 0 {
		p.Scope, p.Key = "domain", r.domain
	}
	w.did = append(w.did, fmt.Sprintf("suppress %s for %s", p.Key, p.Blocks))
	if _, err := w.s.AddSuppressions(w.t.Context(), []Suppression{p}, ""); err != nil {
		w.t.Fatal(err)
	}
	if p.Blocks == "all" || w.model.class == "marketing" {
		w.model.suppressed[p.Key] = true
	}
}

// commit is one commit of the run that holds the lease, or now and then of one that lost it.
func (w *modelWorld) commit() {
	run := w.model.holder
	if w.rnd.IntN(5) == 0 {
		run = w.rnd.IntN(len(w.runs))
	}
	var claims []Claim
	if w.rnd.IntN(4) > 0 {
		for range w.rnd.IntN(30) {
			claims = append(claims, Claim{Delivery: w.model.ids[w.rnd.IntN(len(w.model.ids))], Relay: "main", MessageID: "m"})
		}
	}
	var outcomes []Outcome
	for _, id := range w.model.ids {
		attempt, flying := w.flying[run][id]
		if !flying || w.rnd.IntN(3) == 0 {
			continue
		}
		d := []delivery.Decision{{State: delivery.Accepted}, {State: delivery.Accepted}, {State: delivery.Accepted}, {}, {State: delivery.Excluded, Reason: "x"},
			{State: delivery.Deferred, NextTry: time.Second}, {State: delivery.Failed, Reason: "x"}, {State: delivery.Failed, Reason: "x", Hard: true},
			{State: delivery.Uncertain}}[w.rnd.IntN(9)]
		outcomes = append(outcomes, Outcome{Delivery: id, Key: w.model.rows[id].key, Attempt: attempt, Relay: "main", Decision: d})
	}
	w.rnd.Shuffle(len(outcomes), func(i, j int) { outcomes[i], outcomes[j] = outcomes[j], outcomes[i] })
	w.did = append(w.did, fmt.Sprintf("run %d claims %v settles %v", run, claims, outcomes))
	if w.reopen && w.rnd.IntN(3) == 0 {
		if err := w.runs[run].d.drop(); err != nil {
			w.t.Fatal(err)
		}
	}
	got, _, err := w.runs[run].Commit(w.t.Context(), claims, outcomes)
	want, wantErr := w.model.commit(run, claims, outcomes)
	if !errors.Is(err, wantErr) {
		w.t.Fatalf("got %v, want %v\n%v", err, wantErr, w.did)
	}
	if err != nil {
		return
	}
	for i := range claims {
		if got[i].Attempt != want[i].Attempt || got[i].Excluded != want[i].Excluded || got[i].NotUntil.IsZero() != want[i].NotUntil.IsZero() {
			w.t.Errorf("claim %d of %+v: got %+v, want %+v", i, claims[i], got[i], want[i])
		}
		if got[i].Attempt > 0 {
			w.flying[run][claims[i].Delivery] = got[i].Attempt
		}
	}
	for _, o := range outcomes {
		if w.flying[run][o.Delivery] == o.Attempt {
			delete(w.flying[run], o.Delivery)
		}
	}
}

// compare holds the table against the model.
func (w *modelWorld) compare() {
	err := eachRow(w.t.Context(), w.s.read, func(rows *sql.Rows) error {
		var id int64
		var have modelRow
		err := rows.Scan(&id, &have.state, &have.attempts, &have.key, &have.domain, &have.next)
		if want := *w.model.rows[id]; have != want {
			w.t.Errorf("delivery %d is %+v, want %+v", id, have, want)
		}
		return err
	}, "SELECT id, state, attempts, key, domain, next_try FROM deliveries WHERE campaign = ?", w.campaign.ID)
	if err != nil {
		w.t.Fatal(err)
	}
}

// compareDue holds what is read as due against the model.
func (w *modelWorld) compareDue() {
	run := w.runs[w.model.holder]
	fresh, err := run.Fresh(w.t.Context(), nil, Among{}, 0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	*w.now = w.now.Add(2 * time.Second)
	retries, err := run.Retries(w.t.Context(), nil, Among{}, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	seen := map[int64]bool{}
	for _, d := range slices.Concat(fresh, retries) {
		r := w.model.rows[d.ID]
		if seen[d.ID] || !w.model.open(r) || d.Attempts != r.attempts || d.Suppressed != (w.model.suppressed[r.key] || w.model.suppressed[r.domain]) {
			w.t.Errorf("due %+v, want %+v", d, *r)
		}
		seen[d.ID] = true
	}
	for id, r := range w.model.rows {
		if w.model.open(r) && !seen[id] {
			w.t.Errorf("delivery %d is not due: %+v", id, *r)
		}
	}
}

// end leaves nothing to the next seed.
func (w *modelWorld) end() {
	balance, err := w.s.Balance(w.t.Context(), w.campaign.ID)
	if err != nil || balance.Planned != int64(len(w.model.rows)) {
		w.t.Errorf("balance %+v, %v", balance, err)
	}
	for _, run := range w.runs {
		if err := run.Close(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, table := range []string{"attempts", "deliveries", "campaigns", "suppressions", "events", "buckets"} {
		exec(w.t, w.s, "DELETE FROM "+table)
	}
}
