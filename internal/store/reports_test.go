package store

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
)

// tallied is the tallies as text, in order.
func tallied(f Figures) []string {
	var all []string
	for _, t := range f.Tallies {
		all = append(all, fmt.Sprintf("%s|%s|%s|%s n=%d tried=%d hard=%d out=%d", t.Domain, t.Relay, t.State, t.Reason, t.Count, t.Attempted, t.Hard, t.Unsubscribes))
	}
	slices.Sort(all)
	return all
}

func TestFiguresCountWhoWasAttempted(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 10)
	c := freeze(t, s, "news", "marketing", Audience{Exclude: Where{SQL: "c.key = ?", Args: []any{"p000@example.jp"}}})
	run, _ := acquire(t, s, c, "a")
	due, err := dueOf(t, run, 10)
	if err != nil || len(due) != 9 {
		t.Fatalf("%d due, %v", len(due), err)
	}
	var claims []Claim
	for _, d := range due[:7] {
		claims = append(claims, Claim{Delivery: d.ID, Relay: "main", MessageID: fmt.Sprint("m", d.ID, "@example.com")})
	}
	if _, _, err := run.Commit(t.Context(), claims, nil); err != nil {
		t.Fatal(err)
	}
	decisions := []delivery.Decision{
		{State: delivery.Accepted}, {State: delivery.Accepted}, {State: delivery.Accepted},
		{State: delivery.Failed, Reason: "compose"}, {State: delivery.Deferred, Reason: "mailboxfull", NextTry: time.Minute}, {State: delivery.Uncertain, Reason: "lost"},
	} // the seventh stays on the wire, two wait
	var outcomes []Outcome
	for i, d := range decisions {
		outcomes = append(outcomes, Outcome{Delivery: due[i].ID, Key: due[i].Key, Attempt: 1, Relay: "main", Phase: delivery.PhaseDot, Decision: d})
	}
	outcomes[4].Reply.Text = "452 4.2.2 full"
	if _, _, err := run.Commit(t.Context(), nil, outcomes); err != nil {
		t.Fatal(err)
	}
	for i, v := range []bounce.Verdict{
		{Kind: bounce.KindBounce, Bounces: []bounce.Recipient{{Recipient: due[0].Address, Status: "5.1.1", Reason: "userunknown", Hard: true, Action: "failed", Text: "550 no"}}},
		{Kind: bounce.KindBounce, Bounces: []bounce.Recipient{{Recipient: due[1].Address, Status: "5.2.2", Reason: "mailboxfull", Action: "failed", Text: "552 full"}}},
		{Kind: bounce.KindUnsubscribe}, {Kind: bounce.KindUnsubscribe},
	} {
		if _, err := s.RecordMail(t.Context(), ReadMail{Source: "box", Digest: fmt.Sprint(i), Raw: []byte("x"), Verdict: v, Delivery: due[min(i, 2)].ID}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"example.jp|main|accepted| n=0 tried=0 hard=0 out=1",
		"example.jp|main|accepted| n=1 tried=1 hard=0 out=0",
		"example.jp|main|bounced|mailboxfull n=1 tried=1 hard=0 out=0",
		"example.jp|main|bounced|userunknown n=1 tried=1 hard=1 out=0",
		"example.jp|main|deferred|mailboxfull n=1 tried=1 hard=0 out=0",
		"example.jp|main|failed|compose n=1 tried=0 hard=0 out=0",
		"example.jp|main|sending| n=1 tried=0 hard=0 out=0",
		"example.jp|main|uncertain|lost n=1 tried=1 hard=0 out=0",
		"example.jp||excluded|excluded by expression n=1 tried=0 hard=0 out=0",
		"example.jp||pending| n=2 tried=0 hard=0 out=0",
	}
	f, err := s.CampaignFigures(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got := tallied(f); !slices.Equal(got, want) || f.Planned != 10 {
		t.Errorf("planned %d, got\n%q\nwant\n%q", f.Planned, got, want)
	}
	// A second campaign keeps its figures to itself, and a try on the wire counts where one before it has ended.
	*now = now.Add(time.Hour)
	other := freeze(t, s, "other", "operational", Audience{})
	if _, _, err := run.Commit(t.Context(), []Claim{{Delivery: due[4].ID, Relay: "main"}}, nil); err != nil {
		t.Fatal(err)
	}
	all, err := s.AllFigures(t.Context())
	if err != nil || len(all) != 2 || all[0].Campaign.ID != other.ID || all[1].Planned != 10 {
		t.Fatalf("all: %+v, %v", all, err)
	}
	if got := tallied(all[1]); !slices.Contains(got, "||sending| n=2 tried=1 hard=0 out=0") || !slices.Contains(got, "||bounced| n=2 tried=2 hard=1 out=0") {
		t.Errorf("got %q", got)
	}
	if _, err := s.CampaignFigures(t.Context(), 99); !errors.Is(err, ErrNoCampaign) {
		t.Errorf("no such campaign: %v", err)
	}
}

func TestListFigures(t *testing.T) {
	s, now := openTest(t)
	if f, err := s.ListFigures(t.Context()); err != nil || f.Contacts != 0 || f.Mailable != 0 {
		t.Fatalf("empty: %+v, %v", f, err)
	}
	people(t, s, 4)
	exec(t, s, "UPDATE contacts SET created_at = ?", now.UnixMilli())
	exec(t, s, "INSERT INTO contacts (key, address, created_at, updated_at) VALUES ('a@closed.example', 'a@closed.example', ?, 1)", now.Add(16*time.Minute).UnixMilli())
	add := func(list ...Suppression) {
		t.Helper()
		if _, err := s.AddSuppressions(t.Context(), list, "test"); err != nil {
			t.Fatal(err)
		}
	}
	add(Suppression{Scope: "address", Key: "p000@example.jp", Blocks: "marketing", Reason: "unsubscribe"},
		Suppression{Scope: "address", Key: "p000@example.jp", Blocks: "all", Reason: "complaint"},
		Suppression{Scope: "address", Key: "stranger@example.com", Blocks: "marketing", Reason: "unsubscribe"},
		Suppression{Scope: "domain", Key: "closed.example", Blocks: "all", Reason: "manual"})
	f, err := s.ListFigures(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.Contacts != 5 || f.Mailable != 3 || f.Domains != 1 || !slices.Equal(f.Suppressed, []Share{{"unsubscribe", 2}, {"complaint", 1}}) {
		t.Errorf("got %+v", f)
	}
	if len(f.Added) != 2 || f.Added[0].Count != 4 || !f.Added[0].At.Equal(*now) || len(f.Blocked) != 2 || f.Blocked[1].Count != 2 || f.Blocked[1].Reason != "unsubscribe" {
		t.Errorf("moments: %+v %+v", f.Added, f.Blocked)
	}
}

func TestTracesOfAContactThatIsGone(t *testing.T) {
	s, _ := openTest(t)
	im, err := s.BeginImport(t.Context(), ImportSpec{Kind: "import", Source: "members.csv", Options: "{}", List: "members", OnDuplicate: OnDuplicateUpdate})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), im, []Row{{Line: 2, Address: "taro@example.jp", Key: "taro@example.jp"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.FinishImport(t.Context(), im, 0); err != nil {
		t.Fatal(err)
	}
	there, err := s.Traces(t.Context(), "taro@example.jp")
	if err != nil || there.Contact.ID == 0 || len(there.Changes) != 1 || len(there.Memberships) != 1 || there.Memberships[0].List != "members" {
		t.Fatalf("there: %+v, %v", there, err)
	}
	undoAll(t, s, im.ID)
	gone, err := s.Traces(t.Context(), "taro@example.jp")
	if err != nil || gone.Contact.ID != 0 || len(gone.Changes) != 1 || gone.Changes[0].Line != 2 || gone.Changes[0].Set.Source != "members.csv" {
		t.Errorf("gone: %+v, %v", gone, err)
	}
	if none, err := s.Traces(t.Context(), "hanako@example.jp"); err != nil || !none.Empty() {
		t.Errorf("nobody: %+v, %v", none, err)
	}
}

func TestTracesOfTheForgotten(t *testing.T) {
	s, now := openTest(t)
	people(t, s, 2)
	freeze(t, s, "news", "marketing", Audience{})
	if _, err := s.ForgetContact(t.Context(), "p000@example.jp"); err != nil {
		t.Fatal(err)
	}
	got, err := s.Traces(t.Context(), "p000@example.jp")
	if err != nil || !got.Forgotten.Equal(*now) || len(got.Deliveries)+len(got.Events)+len(got.Changes) > 0 || got.Empty() {
		t.Errorf("forgotten: %+v, %v", got, err)
	}
	if other, err := s.Traces(t.Context(), "p001@example.jp"); err != nil || !other.Forgotten.IsZero() || len(other.Deliveries) != 1 {
		t.Errorf("another: %+v, %v", other, err)
	}
}

func TestNearAddresses(t *testing.T) {
	s, _ := openTest(t)
	for _, a := range []string{"taro@example.jp", "taro@example.com", "taroo@example.jp", "tarA@example.jp", "jiro@example.jp"} {
		exec(t, s, "INSERT INTO contacts (key, address, created_at, updated_at) VALUES (?, ?, 1, 1)", a, a)
	}
	got, err := s.NearAddresses(t.Context(), "taro@example.net", []string{"taroo@example.jp"}, 5)
	if want := []string{"taroo@example.jp", "taro@example.com", "taro@example.jp"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, want %q (%v)", got, want, err)
	}
	if got, _ := s.NearAddresses(t.Context(), "taro@example.net", []string{"taroo@example.jp"}, 1); len(got) != 1 {
		t.Errorf("limit: %q", got)
	}
	// Both questions are answered from the index: nobody waits for a scan of a million contacts.
	var plan []string
	err = s.snapshot(t.Context(), func(tx *sql.Tx) error {
		rows, err := tx.Query("EXPLAIN QUERY PLAN "+nearQuery(2), "a@", "aA", "x", "y", "a@", "aA", 5)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var a, b, c int
			var text string
			if err := rows.Scan(&a, &b, &c, &text); err != nil {
				return err
			}
			plan = append(plan, text)
		}
		return rows.Err()
	})
	if err != nil || slices.ContainsFunc(plan, func(step string) bool { return strings.HasPrefix(step, "SCAN") }) {
		t.Errorf("plan %q, %v", plan, err)
	}
}
