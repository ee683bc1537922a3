package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/store"
)

// bounceWorkspace is a workspace whose campaign was sent to n people, and a mailbox.
type bounceWorkspace struct {
	killWorkspace
	imap *mailtest.IMAPServer
	keys delivery.Keys

	mu   sync.Mutex
	hook func(command string) error
}

func newBounceWorkspace(t *testing.T, n int) *bounceWorkspace {
	t.Helper()
	w := &bounceWorkspace{killWorkspace: killWorkspace{t: t, dir: t.TempDir(), bin: binary(t)}}
	w.imap = mailtest.NewIMAP(t, mailtest.IMAP{Hook: func(command string) error {
		w.mu.Lock()
		hook := w.hook
		w.mu.Unlock()
		if hook == nil {
			return nil
		}
		return hook(command)
	}})
	w.write("mailer.yaml", fmt.Sprintf(`
sender: {from: News <news@example.com>}
bounces:
  return_path: "bounce+{token}@example.com"
  mailbox: {host: 127.0.0.1, port: %d, tls: none, username: %s, password_command: echo %s}
`, w.imap.Port, w.imap.Username, w.imap.Password))
	w.keys = sentTo(t, w.dir, n, "'example.jp'")
	return w
}

// sentTo makes the database of a workspace whose campaign was sent to n people, and returns the keys of its tokens. domain is an SQL
// expression: where reader i has the mailbox.
func sentTo(t testing.TB, dir string, n int, domain string) delivery.Keys {
	t.Helper()
	path := filepath.Join(dir, "mailer.db")
	st, err := store.Open(t.Context(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	keys, err := st.TokenKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, query := range []string{
		`INSERT INTO campaigns (id, name, class, content_hash, content, state, created_at, expires_at) VALUES (1, 'news', 'marketing', '', '{}', 'finished', 1, 2)`,
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < %d),
				reader(i, name, domain) AS (SELECT i, printf('reader%%05d@', i), %s FROM n)
			INSERT INTO deliveries (id, campaign, key, address, domain, state, attempts, updated_at)
			SELECT i, 1, name || domain, name || domain, domain, 'accepted', 1, 1 FROM reader`, n, domain),
	} {
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

func (w *bounceWorkspace) fault(hook func(command string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = hook
}

// mail is a report about a recipient: every fifth has a full mailbox, the others are gone.
func (w *bounceWorkspace) mail(id int) []byte {
	status, text := "5.1.1", "550 5.1.1 User unknown"
	if id%5 == 0 {
		status, text = "5.2.2", "552 5.2.2 Mailbox full"
	}
	return []byte(strings.ReplaceAll(fmt.Sprintf(`Return-Path: <>
From: MAILER-DAEMON@mx.example.jp
To: bounce+%s@example.com
Subject: Undelivered Mail Returned to Sender
Message-ID: <%d@mx.example.jp>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.jp

Final-Recipient: rfc822; %s
Action: failed
Status: %s
Diagnostic-Code: smtp; %s

--b--
`, w.keys.Sign(delivery.TokenBounce, int64(id)), id, killAddress(id), status, text), "\n", "\r\n"))
}

func (w *bounceWorkspace) deliver(from, to int) {
	w.t.Helper()
	for id := from; id <= to; id++ {
		if err := w.imap.Deliver(w.mail(id)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// count runs a query for one number.
func (w *bounceWorkspace) count(query string) int {
	w.t.Helper()
	db := openRaw(w.t, w.dir)
	defer db.Close()
	var n int
	if err := db.QueryRow(query).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// actedOnce wants each of n mails to have had its consequences once.
func (w *bounceWorkspace) actedOnce(n int) {
	w.t.Helper()
	for query, want := range map[string]int{
		"SELECT count(*) FROM bounces":                                                               n,
		"SELECT count(*) FROM events WHERE kind IN ('bounce','soft_bounce')":                         n,
		"SELECT count(DISTINCT delivery) FROM events WHERE kind IN ('bounce','soft_bounce')":         n,
		"SELECT count(*) FROM deliveries WHERE state = 'bounced'":                                    n,
		"SELECT count(*) FROM suppressions":                                                          n - n/5,
		"SELECT count(*) FROM attempts":                                                              n, // what the relay said before
		"SELECT count(*) FROM events e JOIN suppressions s ON s.key = e.key WHERE e.kind='suppress'": n - n/5,
	} {
		if got := w.count(query); got != want {
			w.t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

// bounceKills is how often the sync is killed: MAILER_TEST_KILLS, or 20 times.
func bounceKills(t *testing.T) int {
	if os.Getenv("MAILER_TEST_KILLS") != "" {
		return killCount(t)
	}
	return 20
}

// Killed at random moments and begun again each time, the reading acts on every mail once, and in the end every mail has left the INBOX.
// MAILER_TEST_KILLS says how often.
func TestKillNineDuringBounceSync(t *testing.T) {
	const mails = 2000
	kills := bounceKills(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	w := newBounceWorkspace(t, mails)
	w.deliver(1, mails)
	db := openRaw(t, w.dir)
	defer db.Close()
	between := 0 // kills that left recorded mail in the INBOX
	for kill := range kills {
		// The moment is a number of mails that are recorded, spread over all of them, and a bit of time.
		at, later := rnd.IntN(mails*(kill+1)/(kills+1)), time.Duration(rnd.IntN(5000))*time.Microsecond
		cmd := w.command("bounces", "sync")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		for n := -1; n < at; {
			if err := db.QueryRow("SELECT count(*) FROM bounces").Scan(&n); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
				t.Fatalf("it ended before it could be killed: %s\n%s", cmd.ProcessState, out.String())
			case <-time.After(200 * time.Microsecond): // the poll's grain, not a guess
			}
		}
		time.Sleep(later)
		cmd.Process.Signal(syscall.SIGKILL)
		<-ended
		if w.count("SELECT count(*) FROM bounces") > w.imap.Count("Processed") {
			between++
		}
	}
	w.run(exitDone, "bounces", "sync")
	w.actedOnce(mails)
	if in, done := w.imap.Count("INBOX"), w.imap.Count("Processed"); in != 0 || done != mails {
		t.Errorf("%d mails in the INBOX, %d processed", in, done)
	}
	t.Logf("%d kills, %d of them between a record and its move", kills, between)
}

// One process reads at a time: another one by hand is told so, mailer run passes it over.
func TestBounceSyncAlone(t *testing.T) {
	w := newBounceWorkspace(t, 10)
	w.deliver(1, 10)
	reached, release := make(chan struct{}), make(chan struct{})
	w.fault(func(command string) error {
		if command == "FETCH" {
			w.fault(nil)
			close(reached)
			<-release
		}
		return nil
	})
	first := w.command("bounces", "sync", "--json")
	var out bytes.Buffer
	first.Stdout = &out
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	<-reached
	w.run(exitBusy, "bounces", "sync")
	w.run(exitDone, "run")
	w.run(exitDone, "bounces", "sync", "--dry-run") // changes nothing, and may
	if n := w.count("SELECT count(*) FROM bounces"); n != 0 {
		t.Errorf("%d recorded by others", n)
	}
	close(release)
	if err := first.Wait(); err != nil || !strings.Contains(out.String(), `"read":10,"bounces":10,"hard":8`) {
		t.Errorf("%v: %s", err, out.String())
	}
	w.actedOnce(10)
}

// --watch reads what comes, and ends well when it is told to.
func TestBounceWatch(t *testing.T) {
	w := newBounceWorkspace(t, 3)
	w.deliver(1, 1)
	cmd := w.command("bounces", "sync", "--watch", "--json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer guard.Stop()
	lines := bufio.NewScanner(out)
	for id := 1; id <= 3; id++ {
		if id > 1 {
			w.deliver(id, id)
		}
		// Told after its mail was read and put away: from then on it waits, and a signal is no interruption.
		for found := false; !found; found = strings.Contains(lines.Text(), `"synced"`) {
			if !lines.Scan() {
				t.Fatalf("mail %d was never read: %v", id, cmd.Wait())
			}
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	if err := cmd.Wait(); err != nil || !strings.HasPrefix(last, `{"message_type":"summary","read":3,`) {
		t.Errorf("%v\n%s", err, last)
	}
	if n := w.imap.Count("Processed"); n != 3 {
		t.Errorf("%d mails were put away", n)
	}
}

// An MTA pipes several mails at once, and each is recorded; one that comes twice counts once.
func TestBouncePipes(t *testing.T) {
	const n = 10
	w := newBounceWorkspace(t, n)
	var all sync.WaitGroup
	errs := make([]error, n)
	for id := 1; id <= n; id++ {
		all.Go(func() {
			cmd := w.command("bounces", "sync", "--source", "-")
			cmd.Stdin = bytes.NewReader(append([]byte("From MAILER-DAEMON  Thu Nov 26 13:30:00 2026\n"), w.mail(id)...))
			if out, err := cmd.CombinedOutput(); err != nil {
				errs[id-1] = fmt.Errorf("%w: %s", err, out)
			}
		})
	}
	all.Wait()
	for _, err := range slices.DeleteFunc(errs, func(err error) bool { return err == nil }) {
		t.Error(err)
	}
	w.actedOnce(n)
	w.pipe(exitDone, w.mail(3))
	w.actedOnce(n)
	w.pipe(exitTempFail, nil)
	w.write("mailer.yaml", "no such key: 1\n")
	w.pipe(exitTempFail, w.mail(1))
}

func (w *bounceWorkspace) pipe(want int, mail []byte) {
	w.t.Helper()
	cmd := w.command("bounces", "sync", "--source", "-")
	cmd.Stdin = bytes.NewReader(mail)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != want {
		w.t.Errorf("exit code %d, want %d: %s", code, want, out)
	}
}

// While somebody has the database locked, the MTA is told to keep the mail.
func TestBouncePipeWhileLocked(t *testing.T) {
	t.Parallel() // it waits as long as a transaction waits for the lock
	w := newBounceWorkspace(t, 1)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "mailer.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(context.Background(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	w.pipe(exitTempFail, w.mail(1))
	if _, err := conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	w.pipe(exitDone, w.mail(1))
	w.actedOnce(1)
}
