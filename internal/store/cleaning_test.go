package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/provider"
	"mailer/internal/suppression"
)

// openClean is openTest with the presets of providers and a policy.
func openClean(t *testing.T, policy *suppression.Policy) (*Store, *time.Time) {
	t.Helper()
	table, err := provider.Presets()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
	s, err := Open(t.Context(), t.TempDir()+"/mailer.db", Options{Now: func() time.Time { return now }, Actor: "test", Policy: policy, Providers: table})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, &now
}

// sent makes a campaign whose message to each address was accepted now, and returns its deliveries.
func sent(t *testing.T, s *Store, campaign int64, addresses ...string) []int64 {
	t.Helper()
	exec(t, s, "INSERT INTO campaigns (id, name, class, content_hash, content, state, created_at, expires_at) VALUES (?, ?, 'marketing', '', '{}', 'finished', 1, 2)",
		campaign, fmt.Sprint("news", campaign))
	var ids []int64
	for i, a := range addresses {
		id := campaign*10_000 + int64(i)
		exec(t, s, "INSERT INTO deliveries (id, campaign, key, address, domain, state, attempts, code, reply, updated_at) VALUES (?, ?, ?, ?, ?, 'accepted', 1, 250, '250 taken', ?)",
			id, campaign, a, a, a[strings.IndexByte(a, '@')+1:], s.millis())
		ids = append(ids, id)
	}
	return ids
}

func at(domain string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("p%03d@%s", i, domain))
	}
	return all
}

var mailNumber int

// came is a mail that says of a delivery's address what a server said.
func came(id int64, address, reason string, hard bool) ReadMail {
	mailNumber++
	text := "452 4.3.0 later"
	if hard {
		text = "550 5.1.1 no such user"
	}
	return ReadMail{Source: "imap", Digest: fmt.Sprint("digest ", mailNumber), Raw: []byte("Subject: returned\r\n\r\n"), Delivery: id, MatchedBy: bounce.WhereReturnPath,
		Verdict: bounce.Verdict{Kind: bounce.KindBounce, MessageID: fmt.Sprint(mailNumber, "@mx"), Bounces: []bounce.Recipient{
			{Recipient: address, Reason: reason, Hard: hard, Action: bounce.ActionFailed, Text: text}}}}
}

func record(t *testing.T, s *Store, m ReadMail) Recorded {
	t.Helper()
	r, err := s.RecordMail(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func packed(t *testing.T, mails ...ReadMail) []PackedMail {
	t.Helper()
	var all []PackedMail
	for _, m := range mails {
		p, err := PackMail(m)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func count(t *testing.T, s *Store, query string, args ...any) (n int) {
	t.Helper()
	if err := s.read.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

const allSuppressed = "SELECT count(*) FROM suppressions"

// TestSoftBouncesAddUp over campaigns, are forgotten with time, and are reset by every sign of life.
func TestSoftBouncesAddUp(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, c := range []struct {
		name   string
		reason string
		every  time.Duration
		life   func(t *testing.T, s *Store, n int) // before letter n
		want   int                                 // the letter that suppresses; 0: none of 15
	}{
		{"weekly", bounce.SystemError, week, nil, 5},
		{"a full mailbox", bounce.MailboxFull, week, nil, 10},
		{"once a year", bounce.SystemError, 365 * 24 * time.Hour, nil, 0},
		{"our block", bounce.Blocked, week, nil, 0},
		{"a policy", bounce.PolicyViolation, week, nil, 0},
		{"the content", bounce.SpamDetected, week, nil, 0},
		{"a click", bounce.SystemError, week, func(t *testing.T, s *Store, n int) {
			if n == 4 {
				exec(t, s, "INSERT INTO events (at, kind, key) VALUES (?, 'click', 'p000@x.example')", s.millis())
			}
		}, 8},
		{"an answer", bounce.SystemError, week, func(t *testing.T, s *Store, n int) {
			if n == 4 {
				id := sent(t, s, 100, "p000@x.example")[0]
				m := came(id, "p000@x.example", "", false)
				m.Verdict.Kind, m.Verdict.Bounces = bounce.KindAutoreply, nil
				record(t, s, m)
			}
		}, 8},
		{"one that stayed there", bounce.SystemError, week, func(t *testing.T, s *Store, n int) {
			if n == 4 {
				sent(t, s, 100, "p000@x.example")
			}
		}, 8},
		{"a person's word", bounce.SystemError, week, func(t *testing.T, s *Store, n int) {
			if n == 4 {
				exec(t, s, "INSERT INTO events (at, kind, key) VALUES (?, 'unsuppress', 'p000@x.example')", s.millis())
			}
		}, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, now := openClean(t, nil)
			got := 0
			for n := 1; n <= 15 && got == 0; n++ {
				if c.life != nil {
					c.life(t, s, n)
					*now = now.Add(time.Second)
				}
				id := sent(t, s, int64(n), "p000@x.example")[0]
				*now = now.Add(time.Minute)
				if r := record(t, s, came(id, "p000@x.example", c.reason, false)); r.Suppressed {
					got = n
					if r.Suppress != suppression.SoftBounces || !strings.Contains(strings.Join(r.Changed, " "), "suppressed: soft_bounces") {
						t.Errorf("%+v", r)
					}
				}
				// The same letter comes back twice.
				if r := record(t, s, came(id, "p000@x.example", c.reason, false)); r.Suppressed {
					t.Errorf("letter %d twice: %+v", n, r)
				}
				*now = now.Add(c.every - time.Minute)
			}
			if got != c.want {
				t.Errorf("suppressed by letter %d, want %d", got, c.want)
			}
		})
	}
}

// TestRefusalsInTheSessionAddUp where they are about the address; what is wrong between us and the relay is not.
func TestRefusalsInTheSessionAddUp(t *testing.T) {
	for reason, want := range map[string]int{bounce.Suspend: 3, bounce.MailboxFull: 10, bounce.NetworkError: 0, bounce.Expired: 0, bounce.Blocked: 0, "compose": 0} {
		s, now := openClean(t, nil)
		people(t, s, 1)
		got := 0
		for n := 1; n <= 12 && got == 0; n++ {
			run, _ := acquire(t, s, freeze(t, s, fmt.Sprint("news", n), "operational", Audience{}), "a")
			due, err := dueOf(t, run, 10)
			if err != nil || len(due) != 1 {
				t.Fatal(due, err)
			}
			if _, _, err := run.Commit(t.Context(), []Claim{{Delivery: due[0].ID, Relay: "main"}}, nil); err != nil {
				t.Fatal(err)
			}
			if _, _, err := run.Commit(t.Context(), nil, []Outcome{{Delivery: due[0].ID, Attempt: 1, Key: due[0].Key, Reply: delivery.Reply{Code: 550, Text: "550 said"},
				Decision: delivery.Decision{State: delivery.Failed, Reason: reason}}}); err != nil {
				t.Fatal(err)
			}
			if err := run.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if count(t, s, "SELECT count(*) FROM suppressions WHERE reason = 'soft_bounces' AND evidence LIKE '%550 said'") > 0 {
				got = n
			}
			*now = now.Add(7 * 24 * time.Hour)
		}
		if got != want {
			t.Errorf("%s: suppressed by letter %d, want %d", reason, got, want)
		}
	}
}

// TestAProviderThatRefusesEverybodyFreezes: what it has cost is held back, others go on, and a person's word or a day ends it.
func TestAProviderThatRefusesEverybodyFreezes(t *testing.T) {
	s, now := openClean(t, nil)
	dead, alive := at("docomo.ne.jp", 30), at("x.example", 30)
	ids := sent(t, s, 1, append(append([]string{}, dead...), alive...)...)
	froze := 0
	for i := range dead {
		r := record(t, s, came(ids[i], dead[i], bounce.UserUnknown, true))
		if r.Froze != nil {
			froze = i + 1
			if r.Suppressed || r.Froze.Lane != "docomo" || r.Froze.Held != int64(froze) || r.Froze.Of != 30 || !strings.Contains(fmt.Sprint(r.Changed), "held back") {
				t.Errorf("%+v %+v", r, r.Froze)
			}
		}
		if got := count(t, s, allSuppressed); froze > 0 && got != 0 {
			t.Fatalf("%d suppressed after the freeze", got)
		}
	}
	if froze != 10 || count(t, s, "SELECT count(*) FROM held") != 30 {
		t.Errorf("froze at %d, %d held", froze, count(t, s, "SELECT count(*) FROM held"))
	}
	// Complaints and other providers go on.
	if r := record(t, s, came(ids[30], alive[0], bounce.UserUnknown, true)); !r.Suppressed {
		t.Errorf("another domain: %+v", r)
	}
	m := came(ids[0], dead[0], "", false)
	m.Verdict.Kind, m.Verdict.Bounces = bounce.KindComplaint, nil
	if r := record(t, s, m); !r.Suppressed || r.Suppress != suppression.Complaint {
		t.Errorf("a complaint: %+v", r)
	}
	// The freeze is over after a day. Who is dead then goes.
	*now = now.Add(25 * time.Hour)
	if all, err := s.Freezes(t.Context(), false); err != nil || len(all) != 1 || all[0].Active(*now) || all[0].Held != 30 {
		t.Errorf("%+v, %v", all, err)
	}
	again := sent(t, s, 2, dead...)
	if r := record(t, s, came(again[1], dead[1], bounce.UserUnknown, true)); !r.Suppressed {
		t.Errorf("after the freeze: %+v", r)
	}
	n, err := s.ReleaseFreeze(t.Context(), "docomo", true)
	if err != nil || n != 29 || count(t, s, "SELECT count(*) FROM suppressions WHERE reason = 'hard_bounce' AND key LIKE '%docomo%'") != 30 {
		t.Errorf("released %d, %v", n, err)
	}
	// A person has said that they are dead: more of them freeze nothing for a day.
	third := sent(t, s, 3, at("spmode.ne.jp", 30)...)
	for i, a := range at("spmode.ne.jp", 30) {
		if r := record(t, s, came(third[i], a, bounce.UserUnknown, true)); r.Froze != nil {
			t.Errorf("froze again: %+v", r.Froze)
		}
	}
}

func TestReleaseKeeps(t *testing.T) {
	s, _ := openClean(t, nil)
	dead := at("docomo.ne.jp", 12)
	ids := sent(t, s, 1, dead...)
	for i := range dead {
		record(t, s, came(ids[i], dead[i], bounce.UserUnknown, true))
	}
	n, err := s.ReleaseFreeze(t.Context(), "docomo", false)
	if err != nil || n != 12 || count(t, s, allSuppressed) != 0 || count(t, s, "SELECT count(*) FROM held") != 0 {
		t.Errorf("%d, %v", n, err)
	}
	if all, err := s.Freezes(t.Context(), false); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	b, err := s.Bounce(t.Context(), 1)
	if err != nil || !strings.Contains(fmt.Sprint(b.Changed), "held back") || !strings.Contains(fmt.Sprint(b.Changed), "let go") {
		t.Errorf("%v, %v", b.Changed, err)
	}
}

// TestADomainOfItsOwnFreezesWhenItTurns: it had been good before. One whose people were dead from the first letter on is not frozen.
func TestADomainOfItsOwnFreezesWhenItTurns(t *testing.T) {
	for _, before := range []bool{false, true} {
		s, now := openClean(t, nil)
		everybody := at("company.example", 20)
		if before {
			sent(t, s, 1, everybody...)
			*now = now.Add(7 * 24 * time.Hour)
		}
		froze := false
		for i, id := range sent(t, s, 2, everybody...) {
			froze = record(t, s, came(id, everybody[i], bounce.UserUnknown, true)).Froze != nil || froze
		}
		if froze != before || count(t, s, allSuppressed) != map[bool]int{false: 20, true: 0}[before] {
			t.Errorf("reached before %v: froze %v, %d suppressed", before, froze, count(t, s, allSuppressed))
		}
	}
}

// TestAFewDeadFreezeNothing: less than a fifth, fewer than ten, or spread over days.
func TestAFewDeadFreezeNothing(t *testing.T) {
	for _, c := range []struct {
		name     string
		of, dead int
		every    time.Duration
	}{{"a sixth", 120, 20, time.Second}, {"nine of nine", 9, 9, time.Second}, {"over days", 40, 40, 2 * time.Hour}} {
		s, now := openClean(t, nil)
		everybody := at("docomo.ne.jp", c.of)
		for i, id := range sent(t, s, 1, everybody...)[:c.dead] {
			if r := record(t, s, came(id, everybody[i], bounce.UserUnknown, true)); !r.Suppressed {
				t.Errorf("%s: %+v", c.name, r)
			}
			*now = now.Add(c.every)
		}
	}
}

// TestTheSessionFreezesToo: refusals at RCPT are counted as bounces are, and held back as they are.
func TestTheSessionFreezesToo(t *testing.T) {
	s, _ := openClean(t, nil)
	for _, a := range at("docomo.ne.jp", 30) {
		exec(t, s, "INSERT INTO contacts (key, address, fields, created_at, updated_at) VALUES (?, ?, '{}', 1, 1)", a, a)
	}
	run, _ := acquire(t, s, freeze(t, s, "news", "marketing", Audience{}), "a")
	due, err := dueOf(t, run, 30)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range due {
		if _, _, err := run.Commit(t.Context(), []Claim{{Delivery: d.ID, Relay: "main"}}, nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := run.Commit(t.Context(), nil, []Outcome{{Delivery: d.ID, Attempt: 1, Key: d.Key, Phase: delivery.PhaseRcpt, Reply: delivery.Reply{Code: 550, Text: "550 unknown"},
			Decision: delivery.Decision{State: delivery.Failed, Reason: bounce.UserUnknown, Hard: true}}}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.Freezes(t.Context(), false)
	if err != nil || len(all) != 1 || all[0].Held != 30 || count(t, s, allSuppressed) != 0 {
		t.Errorf("%+v, %v; %d suppressed", all, err, count(t, s, allSuppressed))
	}
}

func TestKeepDead(t *testing.T) {
	p := suppression.DefaultPolicy()
	p.KeepDead = true
	s, _ := openClean(t, &p)
	id := sent(t, s, 1, "a@x.example")[0]
	if r := record(t, s, came(id, "a@x.example", bounce.UserUnknown, true)); r.Suppressed || r.Event != "bounce" || count(t, s, allSuppressed) != 0 {
		t.Errorf("%+v", r)
	}
}

// TestForesight: it tells of a row of mails what recording them does, and writes nothing.
func TestForesight(t *testing.T) {
	s, _ := openClean(t, nil)
	dead := at("docomo.ne.jp", 14)
	ids := sent(t, s, 1, append(dead, at("x.example", 3)...)...)
	second := sent(t, s, 2, "p000@x.example")
	var mails []ReadMail
	for i := range dead {
		mails = append(mails, came(ids[i], dead[i], bounce.UserUnknown, true))
	}
	for i := range 3 {
		mails = append(mails, came(ids[14+i], fmt.Sprintf("p%03d@x.example", i), []string{bounce.UserUnknown, bounce.MailboxFull, bounce.Blocked}[i], i == 0))
	}
	mails = append(mails, came(second[0], "p000@x.example", bounce.UserUnknown, true), mails[14]) // the same address, the same mail
	twin := mails[15]
	twin.Digest = "another way"
	mails = append(mails, twin)
	tell := func(r Recorded) string {
		lane := ""
		if r.Held != nil {
			lane = r.Held.Lane
		}
		return fmt.Sprintf("%v %v %v %s %s %s %v", r.Repeated, r.Matched, r.Suppressed, r.Event, r.Suppress, lane, r.Froze != nil)
	}
	var foreseen []string
	f := s.Foresee()
	defer f.Close()
	told, err := f.Record(t.Context(), packed(t, mails...))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range told {
		foreseen = append(foreseen, tell(r))
	}
	for _, table := range []string{"bounces", "events", "suppressions", "held", "freezes", "dead_counts", "attempts"} {
		if n := count(t, s, "SELECT count(*) FROM "+table); n != 0 {
			t.Errorf("%d rows in %s", n, table)
		}
	}
	for i, m := range mails {
		if r := record(t, s, m); tell(r) != foreseen[i] {
			t.Errorf("mail %d: foreseen %s, was %s", i, foreseen[i], tell(r))
		}
	}
}

// TestUndo takes back in one go what bounces and refusals did, of one provider and one campaign, and no person's wish.
func TestUndo(t *testing.T) {
	s, now := openClean(t, nil)
	early := sent(t, s, 1, "old@docomo.ne.jp")
	record(t, s, came(early[0], "old@docomo.ne.jp", bounce.UserUnknown, true))
	*now = now.Add(2 * time.Hour)
	since := *now
	ids := sent(t, s, 2, "a@docomo.ne.jp", "b@docomo.ne.jp", "c@x.example")
	for i, a := range []string{"a@docomo.ne.jp", "b@docomo.ne.jp", "c@x.example"} {
		if r := record(t, s, came(ids[i], a, bounce.UserUnknown, true)); !r.Suppressed {
			t.Fatalf("%+v", r)
		}
	}
	m := came(ids[1], "b@docomo.ne.jp", "", false)
	m.Verdict.Kind, m.Verdict.Bounces = bounce.KindComplaint, nil
	record(t, s, m)
	if _, err := s.AddSuppressions(t.Context(), []Suppression{{Scope: "address", Key: "d@docomo.ne.jp", Blocks: "all", Reason: "hard_bounce"}}, "a list"); err != nil {
		t.Fatal(err)
	}
	u := Undo{Since: since, Lane: "docomo", Campaign: "news2", Reasons: []string{"hard_bounce", "soft_bounces"}, DryRun: true}
	var told []string
	tell := func(r TakenBack) error { told = append(told, r.Key); return nil }
	if n, err := s.UndoBounces(t.Context(), u, tell); n != 2 || err != nil || count(t, s, allSuppressed) != 6 {
		t.Errorf("a dry run: %d, %v", n, err)
	}
	u.DryRun = false
	n, err := s.UndoBounces(t.Context(), u, tell)
	if n != 2 || err != nil || fmt.Sprint(told) != "[a@docomo.ne.jp b@docomo.ne.jp a@docomo.ne.jp b@docomo.ne.jp]" {
		t.Errorf("%d, %v, %v", n, err, told)
	}
	var left []string
	if err := s.Suppressions(t.Context(), SuppressionFilter{}, func(r SuppressionRow) error { left = append(left, r.Key+" "+r.Reason); return nil }); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(left, ", "), "old@docomo.ne.jp hard_bounce, c@x.example hard_bounce, b@docomo.ne.jp complaint, d@docomo.ne.jp hard_bounce"; got != want {
		t.Errorf("left: %s", got)
	}
	if n, err := s.UndoBounces(t.Context(), u, tell); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	b, err := s.Bounce(t.Context(), 2)
	if err != nil || b.Decided != "undone" || !strings.Contains(fmt.Sprint(b.Changed), "undone: hard_bounce") || b.State != delivery.Bounced {
		t.Errorf("%+v, %v", b, err)
	}
}

// TestConfirm: a report without a signature waits; confirmed, it is about the last message to the address.
func TestConfirm(t *testing.T) {
	s, now := openClean(t, nil)
	sent(t, s, 1, "a@x.example")
	*now = now.Add(time.Hour)
	last := sent(t, s, 2, "a@x.example")[0]
	unproven := func(address string) ReadMail {
		m := came(0, address, bounce.UserUnknown, true)
		m.MatchedBy = ""
		return m
	}
	first := record(t, s, unproven("a@x.example")).ID
	second := record(t, s, unproven("a@x.example")).ID
	stranger := record(t, s, unproven("nobody@x.example")).ID
	forged := unproven("a@x.example")
	forged.Forged = true
	wrong := record(t, s, forged).ID
	proven := record(t, s, came(sent(t, s, 3, "b@x.example")[0], "b@x.example", bounce.UserUnknown, true)).ID
	if n, err := s.CountWaiting(t.Context()); n != 3 || err != nil {
		t.Errorf("%d wait, %v", n, err)
	}
	got, err := s.ConfirmMail(t.Context(), first, []string{"a@x.example"})
	if err != nil || len(got) != 1 || !got[0].Suppressed || fmt.Sprint(got[0].Changed) != "[delivery: accepted -> bounced suppressed: hard_bounce]" {
		t.Errorf("%+v, %v", got, err)
	}
	b, err := s.Bounce(t.Context(), first)
	if err != nil || b.Delivery != last || b.MatchedBy != "person" || b.Decided != "confirmed" || b.Waiting() || len(b.Changed) != 2 {
		t.Errorf("%+v, %v", b, err)
	}
	if err := s.DismissMail(t.Context(), second); err != nil {
		t.Error(err)
	}
	for id, keys := range map[int64][]string{first: {"a@x.example"}, second: {"a@x.example"}, wrong: {"a@x.example"}, proven: {"b@x.example"}} {
		if _, err := s.ConfirmMail(t.Context(), id, keys); !errors.Is(err, ErrNotWaiting) {
			t.Errorf("mail %d: %v", id, err)
		}
		if err := s.DismissMail(t.Context(), id); !errors.Is(err, ErrNotWaiting) {
			t.Errorf("mail %d: %v", id, err)
		}
	}
	if _, err := s.ConfirmMail(t.Context(), stranger, []string{"nobody@x.example"}); err == nil {
		t.Error("confirmed for somebody who was never mailed")
	}
	if b, err := s.Bounce(t.Context(), stranger); err != nil || !b.Waiting() {
		t.Errorf("what failed was decided: %+v, %v", b, err)
	}
	if _, err := s.ConfirmMail(t.Context(), 999, nil); !errors.Is(err, ErrNoMail) {
		t.Error(err)
	}
}

// TestAPersonAsks: the wish waits, and is about who answered, proven or not.
func TestAPersonAsks(t *testing.T) {
	s, _ := openClean(t, nil)
	id := sent(t, s, 1, "a@x.example")[0]
	asks := func(id int64) ReadMail {
		m := came(id, "", "", false)
		m.Verdict = bounce.Verdict{Kind: bounce.KindOther, Detail: bounce.DetailRemoval, MessageID: fmt.Sprint(mailNumber, "@home")}
		return m
	}
	known, unknown := record(t, s, asks(id)), record(t, s, asks(0))
	if known.Suppressed || known.Event != "" || count(t, s, allSuppressed) != 0 {
		t.Errorf("it acted: %+v", known)
	}
	if n, err := s.CountWaiting(t.Context()); n != 2 || err != nil {
		t.Errorf("%d wait, %v", n, err)
	}
	// The message that was answered is proof: whose From it is does not count.
	for _, c := range []struct {
		id        int64
		key, want string
	}{{known.ID, "other@x.example", "a@x.example"}, {unknown.ID, "b@x.example", "b@x.example"}} {
		got, err := s.ConfirmMail(t.Context(), c.id, []string{c.key})
		if err != nil || len(got) != 1 || !got[0].Suppressed || count(t, s, "SELECT count(*) FROM suppressions WHERE key = ? AND reason = 'unsubscribe' AND blocks = 'marketing'", c.want) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if count(t, s, "SELECT count(*) FROM events WHERE kind = 'unsubscribe'") != 1 || count(t, s, allSuppressed) != 2 {
		t.Error("events or suppressions")
	}
}

// TestRejudge: what a mail did is taken back and done anew.
func TestRejudge(t *testing.T) {
	s, _ := openClean(t, nil)
	everybody := at("x.example", 4)
	ids := sent(t, s, 1, everybody...)
	var mails []ReadMail
	for i, a := range everybody {
		m := came(ids[i], a, []string{bounce.UserUnknown, bounce.MailboxFull, bounce.UserUnknown, bounce.UserUnknown}[i], i != 1)
		record(t, s, m)
		mails = append(mails, m)
	}
	if _, err := s.UndoBounces(t.Context(), Undo{Until: s.now(), DryRun: false, Reasons: []string{"none"}}, func(TakenBack) error { return nil }); err != nil {
		t.Fatal(err)
	}
	soft, hard, other := came(ids[0], everybody[0], bounce.Blocked, false).Verdict, came(ids[1], everybody[1], bounce.UserUnknown, true).Verdict, bounce.Verdict{Kind: bounce.KindAutoreply}
	soft.MessageID, hard.MessageID, other.MessageID = mails[0].Verdict.MessageID, mails[1].Verdict.MessageID, mails[2].Verdict.MessageID
	for i, v := range []bounce.Verdict{soft, hard, other, mails[3].Verdict} {
		mails[i].Verdict = v
	}
	states := func() string {
		var all []string
		for _, id := range ids {
			var text string
			if err := s.read.QueryRow(`SELECT d.state || ' ' || d.reason || ' ' || d.reply || ' ' || coalesce((SELECT group_concat(s.reason) FROM suppressions AS s WHERE s.key = d.key), '-')
				|| ' ' || coalesce((SELECT group_concat(e.kind) FROM events AS e WHERE e.delivery = d.id AND e.kind <> 'suppress'), '-') FROM deliveries AS d WHERE d.id = ?`, id).Scan(&text); err != nil {
				t.Fatal(err)
			}
			all = append(all, text)
		}
		return strings.Join(all, "\n")
	}
	before := "bounced userunknown 550 5.1.1 no such user hard_bounce bounce\nbounced mailboxfull 452 4.3.0 later - soft_bounce\n" +
		"bounced userunknown 550 5.1.1 no such user hard_bounce bounce\nbounced userunknown 550 5.1.1 no such user hard_bounce bounce"
	after := "bounced blocked 452 4.3.0 later - soft_bounce\nbounced userunknown 550 5.1.1 no such user hard_bounce bounce\n" +
		"accepted  250 taken - autoreply\nbounced userunknown 550 5.1.1 no such user hard_bounce bounce"
	if got := states(); got != before {
		t.Fatalf("before:\n%s", got)
	}
	for _, dry := range []bool{true, false, false} {
		var different []bool
		for i, m := range mails {
			r, err := s.RejudgeMail(t.Context(), int64(i+1), m, dry)
			if err != nil {
				t.Fatal(err)
			}
			different = append(different, r.Different)
			if r.Different && i == 0 && !strings.Contains(fmt.Sprint(r.Changed), "lifted: hard_bounce") || r.Different && i == 1 && !r.Suppressed {
				t.Errorf("mail %d: %+v", i+1, r)
			}
		}
		want, wantDifferent := before, "[true true true false]"
		if !dry {
			want = after
		}
		if got := states(); got != want {
			t.Errorf("dry %v:\n%s\nwant\n%s", dry, got, want)
		}
		if fmt.Sprint(different) != wantDifferent {
			t.Errorf("dry %v: different %v, want %s", dry, different, wantDifferent)
		}
		if !dry && wantDifferent != "[false false false false]" {
			for i := range mails { // once more: nothing is different now
				if r, err := s.RejudgeMail(t.Context(), int64(i+1), mails[i], false); err != nil || r.Different {
					t.Errorf("mail %d again: %+v, %v", i+1, r, err)
				}
			}
			break
		}
	}
}

// TestAPersonsWordIsNotJudgedAnew.
func TestAPersonsWordIsNotJudgedAnew(t *testing.T) {
	s, _ := openClean(t, nil)
	m := came(sent(t, s, 1, "a@x.example")[0], "a@x.example", bounce.UserUnknown, true)
	id := record(t, s, m).ID
	if n, err := s.UndoBounces(t.Context(), Undo{}, func(TakenBack) error { return nil }); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	m.Verdict.Kind = bounce.KindAutoreply
	if r, err := s.RejudgeMail(t.Context(), id, m, false); err != nil || r.Different {
		t.Errorf("%+v, %v", r, err)
	}
	b, err := s.Bounce(t.Context(), id)
	if err != nil || b.Kind != bounce.KindBounce {
		t.Errorf("%+v, %v", b, err)
	}
}

// TestReplayCatchesUpWithThePolicy: what was kept by a policy of before is suppressed by that of now.
func TestReplayCatchesUpWithThePolicy(t *testing.T) {
	p := suppression.DefaultPolicy()
	p.KeepDead = true
	s, _ := openClean(t, &p)
	m := came(sent(t, s, 1, "a@x.example")[0], "a@x.example", bounce.UserUnknown, true)
	id := record(t, s, m).ID
	if r, err := s.RejudgeMail(t.Context(), id, m, false); err != nil || r.Different {
		t.Errorf("%+v, %v", r, err)
	}
	s.policy.KeepDead = false
	if r, err := s.RejudgeMail(t.Context(), id, m, false); err != nil || !r.Suppressed {
		t.Errorf("%+v, %v", r, err)
	}
	if count(t, s, "SELECT count(*) FROM events WHERE kind = 'bounce'") != 1 || count(t, s, "SELECT count(*) FROM attempts") != 1 {
		t.Error("it happened twice")
	}
}

func TestPurge(t *testing.T) {
	s, now := openClean(t, nil)
	id := sent(t, s, 1, "a@x.example")[0]
	old := record(t, s, came(id, "a@x.example", bounce.UserUnknown, true)).ID
	*now = now.Add(48 * time.Hour)
	fresh := record(t, s, came(0, "b@x.example", bounce.UserUnknown, true)).ID
	for _, want := range []int64{1, 0} {
		if n, err := s.PurgeMails(t.Context(), now.Add(-24*time.Hour)); n != want || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if _, err := s.BounceMail(t.Context(), old); !errors.Is(err, ErrPurged) {
		t.Error(err)
	}
	if raw, err := s.BounceMail(t.Context(), fresh); err != nil || len(raw) == 0 {
		t.Error(err)
	}
	if b, err := s.Bounce(t.Context(), old); err != nil || !b.Purged || b.Verdict.Bounces[0].Reason != bounce.UserUnknown {
		t.Errorf("%+v, %v", b, err)
	}
	if ids, err := s.KeptMails(t.Context(), time.Time{}); err != nil || fmt.Sprint(ids) != fmt.Sprint([]int64{fresh}) {
		t.Errorf("%v, %v", ids, err)
	}
}

func TestRotateTokenKey(t *testing.T) {
	s, _ := openClean(t, nil)
	var tokens []string
	for version := 1; ; version++ {
		keys, err := s.TokenKeys(t.Context())
		if err != nil || keys.Newest() != version {
			t.Fatalf("%d, %v", keys.Newest(), err)
		}
		tokens = append(tokens, keys.Sign(delivery.TokenBounce, 77))
		for i, token := range tokens {
			if kind, id, err := keys.Verify(token); kind != delivery.TokenBounce || id != 77 || err != nil || delivery.Version(token) != i+1 {
				t.Errorf("key %d: %s is %c %d, %v", version, token, kind, id, err)
			}
		}
		next, err := s.RotateTokenKey(t.Context())
		if version == delivery.MaxKeys {
			if !errors.Is(err, ErrNoMoreKeys) {
				t.Error(err)
			}
			break
		}
		if err != nil || next != version+1 {
			t.Fatalf("%d, %v", next, err)
		}
	}
}

// TestMigrationKeepsBounces: the table is made anew.
func TestMigrationKeepsBounces(t *testing.T) {
	s, now := openClean(t, nil)
	m := came(sent(t, s, 1, "a@x.example")[0], "a@x.example", bounce.UserUnknown, true)
	record(t, s, m)
	back(t, s)
	again, err := Open(t.Context(), s.path, Options{Now: func() time.Time { return *now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.Close() })
	b, err := again.Bounce(t.Context(), 1)
	if err != nil || b.Address != "a@x.example" || len(b.Changed) != 2 || b.Verdict.Bounces[0].Reason != bounce.UserUnknown {
		t.Errorf("%+v, %v", b, err)
	}
	if raw, err := again.BounceMail(t.Context(), 1); err != nil || string(raw) != string(m.Raw) {
		t.Errorf("%q, %v", raw, err)
	}
	if r := record(t, again, m); !r.Repeated {
		t.Errorf("%+v", r)
	}
}

// TestForgottenIsNotHeldBack: what a freeze keeps aside is erased with the person.
func TestForgottenIsNotHeldBack(t *testing.T) {
	s, _ := openClean(t, nil)
	dead := at("docomo.ne.jp", 12)
	ids := sent(t, s, 1, dead...)
	for i := range dead {
		m := came(ids[i], dead[i], bounce.UserUnknown, true)
		m.Verdict.Bounces[0].Text = "550 5.1.1 neither " + dead[i] + " nor " + dead[0] + " is here"
		record(t, s, m)
	}
	if _, err := s.ForgetContact(t.Context(), dead[0]); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, "SELECT count(*) FROM held WHERE key = ? OR evidence LIKE '%' || ? || '%'", dead[0], dead[0]); n != 0 || count(t, s, "SELECT count(*) FROM held") != 11 {
		t.Errorf("%d rows name the person", n)
	}
	if n, err := s.ReleaseFreeze(t.Context(), "docomo", true); n != 11 || err != nil || count(t, s, "SELECT count(*) FROM suppressions WHERE key = ?", dead[0]) != 0 {
		t.Errorf("%d, %v", n, err)
	}
}

// What is kept of the last look at the window changes nothing: the same mails freeze the same providers at the same moments as when
// everything is counted anew each time.
func TestWhatIsKeptOfTheWindowChangesNothing(t *testing.T) {
	froze := 0
	for seed := range uint64(3) {
		var told [2]string
		for i, anew := range []bool{false, true} {
			s, now := openClean(t, nil)
			mailNumber = 0
			rnd := rand.New(rand.NewPCG(seed, 1))
			domains := []string{"docomo.ne.jp", "gmail.com", "ezweb.ne.jp", "a.example", "b.example", "c.example"}
			var addresses []string
			for n := range 240 {
				addresses = append(addresses, fmt.Sprintf("p%03d@%s", n, domains[rnd.IntN(rnd.IntN(len(domains))+1)]))
			}
			old := sent(t, s, 1, addresses...) // who was reached before
			for n, id := range old {
				if strings.HasSuffix(addresses[n], "@c.example") {
					exec(t, s, "DELETE FROM deliveries WHERE id = ?", id)
				}
			}
			*now = now.Add(24 * time.Hour)
			ids := append(sent(t, s, 2, addresses[:160]...), sent(t, s, 3, addresses[100:]...)...)
			to := append(slices.Clone(addresses[:160]), addresses[100:]...)
			share := rnd.IntN(3) + 1
			for _, n := range rnd.Perm(len(ids)) {
				*now = now.Add(time.Duration(rnd.IntN(40)) * time.Second)
				if rnd.IntN(4) >= share {
					continue
				}
				if anew {
					s.bursts.scan, s.bursts.of, s.bursts.slot = nil, nil, 0
				}
				r := record(t, s, came(ids[n], to[n], bounce.UserUnknown, true))
				told[i] += fmt.Sprintln(n, r.Suppressed, r.Held != nil, r.Froze != nil)
				if r.Froze != nil {
					froze++
				}
			}
		}
		if told[0] != told[1] {
			t.Errorf("seed %d: with what is kept\n%sanew\n%s", seed, told[0], told[1])
		}
	}
	if froze == 0 {
		t.Error("nothing froze: the test says nothing")
	}
	t.Logf("%d freezes", froze)
}
