package collect

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailbox"
	"mailer/internal/mailtest"
	"mailer/internal/sandbox"
	"mailer/internal/store"
)

// world is a workspace's database with deliveries 1 to n of one campaign, and a mailbox.
type world struct {
	t    *testing.T
	st   *store.Store
	db   *sql.DB // the same file, to look and to meddle
	keys delivery.Keys
	imap *mailtest.IMAPServer

	mu   sync.Mutex
	hook func(command string) error
}

func newWorld(t *testing.T, n int) *world {
	t.Helper()
	ctx := context.Background()
	w := &world{t: t}
	path := filepath.Join(t.TempDir(), "mailer.db")
	var err error
	if w.st, err = store.Open(ctx, path, store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.st.Close() })
	if w.db, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	w.exec(`INSERT INTO campaigns (id, name, class, content_hash, content, state, created_at, expires_at) VALUES (1, 'news', 'marketing', '', '{}', 'sending', 1, 2)`)
	for id := 1; id <= n; id++ {
		w.exec(`INSERT INTO deliveries (id, campaign, key, address, domain, state, attempts, updated_at) VALUES (?, 1, ?, ?, 'shop.example', 'accepted', 1, 1)`,
			id, address(id), address(id))
	}
	if w.keys, err = w.st.TokenKeys(ctx); err != nil {
		t.Fatal(err)
	}
	w.imap = mailtest.NewIMAP(t, mailtest.IMAP{Hook: func(command string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.hook == nil {
			return nil
		}
		return w.hook(command)
	}})
	return w
}

func address(id int) string { return fmt.Sprintf("user%d@shop.example", id) }

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	if _, err := w.db.Exec(query, args...); err != nil {
		w.t.Fatal(err)
	}
}

// text runs a query for one string.
func (w *world) text(query string, args ...any) string {
	w.t.Helper()
	var s string
	if err := w.db.QueryRow(query, args...).Scan(&s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) fault(f func(command string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = f
}

func (w *world) deliver(mails ...string) {
	w.t.Helper()
	for _, m := range mails {
		if err := w.imap.Deliver([]byte(strings.ReplaceAll(m, "\n", "\r\n"))); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) try(ctx context.Context, o Options) (Summary, error) {
	box, err := mailbox.Open(ctx, mailbox.Options{Host: w.imap.Host, Port: w.imap.Port, TLS: mailbox.TLSNone, Username: w.imap.Username,
		Password: w.imap.Password, Processed: "Processed", Timeout: 20 * time.Second})
	if err != nil {
		return Summary{}, err
	}
	defer box.Close()
	return Sync(ctx, w.st, box, w.keys, o)
}

func (w *world) sync(want Summary) {
	w.t.Helper()
	got, err := w.try(context.Background(), Options{})
	if err != nil || got != want {
		w.t.Errorf("sync: %+v, %v\nwant   %+v", got, err, want)
	}
	if n := got.Bounces + got.Complaints + got.Unsubscribes + got.Autoreplies + got.Unmatched + got.Forged + got.Asking + got.Delayed + got.Repeated + got.Others; n != got.Read {
		w.t.Errorf("%d mails were counted of %d: %+v", n, got.Read, got)
	}
}

func (w *world) sign(kind delivery.TokenKind, id int) string { return w.keys.Sign(kind, int64(id)) }

// state is "state reason" of a delivery and its suppressions.
func (w *world) state(id int) string {
	w.t.Helper()
	return strings.TrimSpace(w.text(`SELECT d.state || ' ' || d.reason || ' ' || coalesce((SELECT group_concat(s.reason || '/' || s.blocks) FROM suppressions s WHERE s.key = d.key), '')
		FROM deliveries d WHERE d.id = ?`, id))
}

func (w *world) want(id int, state string) {
	w.t.Helper()
	if got := w.state(id); got != state {
		w.t.Errorf("delivery %d: %q, want %q", id, got, state)
	}
}

// report is a delivery status notification to the return path with a token.
func report(to, recipient, action, status, diagnostic, more string) string {
	return fmt.Sprintf(`Return-Path: <>
Delivered-To: %[1]s
From: MAILER-DAEMON@mx.example
To: %[1]s
Subject: Undelivered Mail Returned to Sender
Message-ID: <report.%[2]s.%[4]s@mx.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

It failed.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example
%[6]s
Final-Recipient: rfc822; %[2]s
Action: %[3]s
Status: %[4]s
Diagnostic-Code: smtp; %[5]s

--b
Content-Type: text/rfc822-headers

Subject: news
--b--
`, to, recipient, action, status, diagnostic, more)
}

func returnPath(token string) string { return "bounce+" + token + "@news.example" }

func (w *world) hard(id int) string {
	return report(returnPath(w.sign('b', id)), address(id), "failed", "5.1.1", "550 5.1.1 User unknown", "")
}

func complaint(to, messageID string) string {
	return fmt.Sprintf(`From: fbl@shop.example
To: %s
Subject: complaint
Message-ID: <fbl.%s@shop.example>
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b
Content-Type: message/feedback-report

Feedback-Type: abuse
Version: 1

--b
Content-Type: message/rfc822

Message-ID: <%s@news.example>
Subject: news

--b--
`, to, messageID, messageID)
}

func TestSync(t *testing.T) {
	w := newWorld(t, 12)
	w.exec("UPDATE deliveries SET state = 'uncertain' WHERE id IN (8, 9)")
	w.exec("UPDATE deliveries SET state = 'sending' WHERE id = 10")
	w.deliver(
		w.hard(1),
		report(returnPath(w.sign('b', 2)), address(2), "failed", "5.2.2", "552 5.2.2 Mailbox full", ""),
		report(returnPath(w.sign('b', 3)), address(3), "delayed", "4.4.1", "connection timed out", ""),
		complaint("fbl@news.example", w.sign('m', 4)),
		"From: user5@shop.example\nTo: "+returnPath(w.sign('u', 5))+"\nSubject: unsubscribe\nMessage-ID: <u@x>\n\n",
		"From: user6@shop.example\nTo: news@news.example\nSubject: Automatic reply: news\nIn-Reply-To: <"+w.sign('m', 6)+"@news.example>\nAuto-Submitted: auto-replied\n\naway\n",
		// Without a return path the envelope id tells.
		report("bounce@news.example", "elsewhere@forward.example", "failed", "5.1.1", "550 5.1.1 User unknown", "Original-Envelope-Id: "+w.sign('b', 7)),
		w.hard(8),
		"From: user9@shop.example\nTo: "+returnPath(w.sign('b', 9))+"\nSubject: Out of office\nAuto-Submitted: auto-replied\n\naway\n",
		complaint(returnPath(w.sign('b', 10)), "x"),
		// About nobody of ours, and an ordinary mail.
		report("bounce@news.example", address(11), "failed", "5.1.1", "550 5.1.1 User unknown", ""),
		"From: friend@example.org\nTo: bounce@news.example\nSubject: hello\n\n"+address(12)+": 550 5.1.1 user unknown\n",
		// A policy refusal keeps the address.
		report(returnPath(w.sign('b', 12)), address(12), "failed", "5.7.1", "554 5.7.1 blocked using zen.spamhaus.org", ""),
	)
	w.sync(Summary{Read: 13, Bounces: 5, Hard: 3, Soft: 2, Complaints: 2, Unsubscribes: 1, Autoreplies: 2, Unmatched: 1, Suppressed: 6, Delayed: 1, Others: 1})
	w.want(1, "bounced userunknown hard_bounce/all")
	w.want(2, "bounced mailboxfull")
	w.want(3, "accepted")
	w.want(4, "complained complaint complaint/all")
	w.want(5, "accepted  unsubscribe/marketing")
	w.want(6, "accepted")
	w.want(7, "bounced userunknown hard_bounce/all")
	w.want(8, "bounced userunknown hard_bounce/all")
	w.want(9, "accepted")
	w.want(10, "complained complaint complaint/all")
	w.want(11, "accepted")
	w.want(12, "bounced blocked")
	if got := w.text("SELECT group_concat(kind, ' ') FROM (SELECT kind FROM events WHERE kind <> 'suppress' ORDER BY id)"); got != "bounce soft_bounce complaint unsubscribe autoreply bounce bounce autoreply complaint soft_bounce" {
		t.Errorf("events: %s", got)
	}
	if got := w.text("SELECT group_concat(matched_by, ' ') FROM (SELECT matched_by FROM bounces WHERE matched_by <> '' ORDER BY id)"); got != "return_path return_path return_path message_id unsubscribe message_id envid return_path return_path return_path return_path" {
		t.Errorf("matched by: %s", got)
	}
	if n := w.imap.Count("Processed"); n != 13 || w.imap.Count("INBOX") != 0 {
		t.Errorf("%d moved, %d left", n, w.imap.Count("INBOX"))
	}
	if s := w.text("SELECT reply || ' | ' || evidence FROM deliveries d JOIN suppressions s ON s.key = d.key WHERE d.id = 1"); s != "550 5.1.1 User unknown | 550 5.1.1 User unknown" {
		t.Errorf("evidence: %s", s)
	}
}

// TestRepeatedMailsChangeNothing: the same bytes, and the same report by another way.
func TestRepeatedMailsChangeNothing(t *testing.T) {
	w := newWorld(t, 1)
	w.deliver(w.hard(1), w.hard(1))
	w.sync(Summary{Read: 2, Bounces: 1, Hard: 1, Suppressed: 1, Repeated: 1})
	w.deliver(w.hard(1), "Received: by another.way\n"+w.hard(1))
	w.sync(Summary{Read: 2, Repeated: 2})
	if n := w.text("SELECT count(*) FROM events"); n != "2" {
		t.Errorf("%s events, want the bounce and its suppression", n)
	}
}

// TestForgeriesChangeNothing: guessed, altered and foreign tokens, tokens of another kind, and none, all with real
// recipients.
func TestForgeriesChangeNothing(t *testing.T) {
	w := newWorld(t, 3)
	foreign := delivery.Keys{1: []byte("another workspace")}
	alter := func(s string) string {
		last := "0"
		if strings.HasSuffix(s, last) {
			last = "1"
		}
		return s[:len(s)-1] + last
	}
	hard := func(to, more string) string {
		return report(to, address(1), "failed", "5.1.1", "550 5.1.1 User unknown", more)
	}
	mails := []string{
		hard(returnPath("b11-0000000000000000"), ""),
		hard(returnPath(alter(w.sign('b', 1))), ""),
		hard(returnPath(foreign.Sign('b', 1)), ""),
		hard(returnPath(alter(w.sign('b', 1))), "Original-Envelope-Id: "+w.sign('b', 1)),
		complaint(returnPath(alter(w.sign('b', 2))), w.sign('m', 2)),
		complaint("fbl@news.example", alter(w.sign('m', 2))),
		"From: x@y.example\nTo: " + returnPath(alter(w.sign('u', 3))) + "\nSubject: unsubscribe\n\n",
		"From: x@y.example\nTo: bounce@news.example\nSubject: unsubscribe " + foreign.Sign('u', 3) + "\n\n",
	}
	unmatched := []string{
		hard("bounce@news.example", ""),
		hard("bounce@news.example", "Original-Envelope-Id: "+w.sign('m', 1)), // a token of another kind is none
		complaint("fbl@news.example", w.sign('u', 2)),
		hard(returnPath(w.sign('b', 99)), ""), // signed, and of a delivery that is no more
	}
	w.deliver(mails...)
	w.deliver(unmatched...)
	w.sync(Summary{Read: len(mails) + len(unmatched), Forged: len(mails), Unmatched: len(unmatched)})
	for id := 1; id <= 3; id++ {
		w.want(id, "accepted")
	}
	if n := w.text("SELECT count(*) FROM events"); n != "0" {
		t.Errorf("%s events", n)
	}
}

// TestWhatWasNeverSentStays: a bounce cannot be about it, whatever it says.
func TestWhatWasNeverSentStays(t *testing.T) {
	states := []string{"pending", "deferred", "failed", "excluded"}
	w := newWorld(t, len(states))
	for i, s := range states {
		w.exec("UPDATE deliveries SET state = ?, reason = 'r' WHERE id = ?", s, i+1)
		w.deliver(report(returnPath(w.sign('b', i+1)), address(i+1), "failed", "5.2.2", "552 5.2.2 full", ""))
	}
	if _, err := w.try(context.Background(), Options{}); err != nil {
		t.Fatal(err)
	}
	for i, s := range states {
		w.want(i+1, s+" r")
	}
}

func TestDryRun(t *testing.T) {
	w := newWorld(t, 2)
	w.deliver(w.hard(1), w.hard(2))
	var told []string
	sum, err := w.try(context.Background(), Options{DryRun: true, Limit: 1, Each: func(o Outcome) { told = append(told, o.Address+" "+o.Suppress) }})
	if err != nil || sum != (Summary{Read: 1, Bounces: 1, Hard: 1, Suppressed: 1}) || fmt.Sprint(told) != "[user1@shop.example hard_bounce]" {
		t.Errorf("%+v, %v, %q", sum, err, told)
	}
	w.want(1, "accepted")
	if n := w.text("SELECT count(*) FROM bounces"); n != "0" || w.imap.Count("INBOX") != 2 {
		t.Errorf("%s recorded, %d in the mailbox", n, w.imap.Count("INBOX"))
	}
}

// TestLostBetweenCommitAndMove: the connection goes at every command in turn, and the database fails at every write in
// turn; after each the same command goes on, and in the end each mail was acted on once.
func TestLostBetweenCommitAndMove(t *testing.T) {
	const n = 20
	w := newWorld(t, n)
	for id := 1; id <= n; id++ {
		w.deliver(w.hard(id))
	}
	var done Summary
	for _, at := range []string{"LOGIN", "SELECT", "SEARCH", "FETCH", "MOVE", "MOVE", ""} {
		moves := 0
		w.fault(func(command string) error {
			if command == "MOVE" {
				moves++
			}
			if command == at && (at != "MOVE" || moves == 2) {
				return sandbox.ErrHangUp
			}
			return nil
		})
		sum, err := w.try(context.Background(), Options{Batch: 2})
		if (err == nil) != (at == "") {
			t.Errorf("lost at %q: %v", at, err)
		}
		done.Hard += sum.Hard
		done.Suppressed += sum.Suppressed
	}
	if done.Hard != n || done.Suppressed != n || w.imap.Count("Processed") != n {
		t.Errorf("acted on %+v, moved %d, want %d", done, w.imap.Count("Processed"), n)
	}
	if got := w.text("SELECT count(*) || ' ' || count(DISTINCT key) FROM events WHERE kind = 'bounce'"); got != fmt.Sprintf("%d %d", n, n) {
		t.Errorf("bounce events and addresses: %s", got)
	}
}

// TestAllOrNothing: when one write of a mail's transaction fails, nothing of it stays and the mail stays in the mailbox.
func TestAllOrNothing(t *testing.T) {
	for _, table := range []string{"INSERT ON bounces", "UPDATE ON deliveries", "INSERT ON events", "INSERT ON suppressions", "UPDATE ON bounces"} {
		t.Run(table, func(t *testing.T) {
			w := newWorld(t, 1)
			w.deliver(w.hard(1))
			w.exec("CREATE TRIGGER fault BEFORE " + table + " BEGIN SELECT RAISE(ABORT, 'no'); END")
			if _, err := w.try(context.Background(), Options{}); err == nil {
				t.Error("no error")
			}
			w.want(1, "accepted")
			if n := w.text("SELECT (SELECT count(*) FROM bounces) + (SELECT count(*) FROM events)"); n != "0" || w.imap.Count("INBOX") != 1 {
				t.Errorf("%s rows, %d mails in the mailbox", n, w.imap.Count("INBOX"))
			}
			w.exec("DROP TRIGGER fault")
			w.sync(Summary{Read: 1, Bounces: 1, Hard: 1, Suppressed: 1})
		})
	}
}

func TestInterrupted(t *testing.T) {
	w := newWorld(t, 6)
	for id := 1; id <= 6; id++ {
		w.deliver(w.hard(id))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first, err := w.try(ctx, Options{Batch: 2, Each: func(o Outcome) {
		if o.N == 3 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || first.Read < 3 {
		t.Errorf("%+v, %v", first, err)
	}
	second, err := w.try(context.Background(), Options{})
	if err != nil || first.Hard+second.Hard != 6 || w.imap.Count("Processed") != 6 {
		t.Errorf("%+v then %+v, %v; %d moved", first, second, err, w.imap.Count("Processed"))
	}
}

// TestTwoAtOnce act on each mail once between them.
func TestTwoAtOnce(t *testing.T) {
	const n = 40
	w := newWorld(t, n)
	for id := 1; id <= n; id++ {
		w.deliver(w.hard(id))
	}
	var sums [2]Summary
	var errs [2]error
	var wg sync.WaitGroup
	for i := range sums {
		wg.Go(func() { sums[i], errs[i] = w.try(context.Background(), Options{Batch: 5}) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Error(err)
	}
	if sums[0].Hard+sums[1].Hard != n || w.text("SELECT count(*) FROM suppressions") != fmt.Sprint(n) || w.imap.Count("INBOX") != 0 {
		t.Errorf("%+v and %+v", sums[0], sums[1])
	}
}
