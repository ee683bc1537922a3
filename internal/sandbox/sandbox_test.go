package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"net/smtp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/mailtest"
	"mailer/internal/sandbox"
)

const sender = "bounce+b11-0123456789abcdef@example.com"

const letter = "From: news@example.com\r\nTo: x@example.jp\r\nSubject: =?utf-8?b?44GK55+l44KJ44Gb?=\r\nMessage-ID: <m11-0123456789abcdef@example.com>\r\n" +
	"List-Unsubscribe: <https://example.com/u>, <mailto:bounce+u11-0123456789abcdef@example.com?subject=unsub+it>\r\n\r\nhello\r\n"

func start(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	s, err := sandbox.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func send(s *sandbox.Sandbox, to string) error {
	return smtp.SendMail(s.SMTPAddr(), nil, sender, []string{to}, []byte(letter))
}

// told is what the server said: the standard library puts the text of a reply in quotes.
func told(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), `"`, "")
}

// clock is a time that the test moves.
type clock struct{ unix atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(c.unix.Load(), 0) }

func TestEveryPersonality(t *testing.T) {
	for _, test := range []struct {
		name, reply string // what the first try is told, "" for a 250
		second      string // what the second try is told
		kind        string // of the mail that follows
		hard        bool
		status      string
	}{
		{name: "accept"},
		{name: "unknown", reply: "550 5.1.1", second: "550 5.1.1"},
		{name: "later-unknown", kind: bounce.KindBounce, hard: true, status: "5.1.1"},
		{name: "full", reply: "452 4.2.2", second: "452 4.2.2"},
		{name: "over-quota", reply: "552 5.2.2", second: "552 5.2.2"},
		{name: "later-full", kind: bounce.KindBounce, status: "5.2.2"},
		{name: "delayed", kind: bounce.KindBounce, status: "4.4.1"},
		{name: "greylist", reply: "451 4.7.1", second: "451 4.7.1"},
		{name: "busy", reply: "421 4.7.0"},
		{name: "blocked", reply: "550 5.7.1", second: "550 5.7.1"},
		{name: "spam", reply: "554 5.7.1", second: "554 5.7.1"},
		{name: "slow"},
		{name: "complain", kind: bounce.KindComplaint},
		{name: "vacation", kind: bounce.KindAutoreply},
		{name: "unsubscribe", kind: bounce.KindUnsubscribe},
		{name: "forged", kind: bounce.KindBounce, hard: true, status: "5.1.1"},
		{name: "drop", reply: "EOF", second: "EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var clock clock
			s := start(t, sandbox.Options{Scenario: "perfect", Slow: time.Millisecond, Greylist: time.Minute, Now: clock.now})
			to := test.name + ".taro@example.jp"
			for _, want := range []string{test.reply, test.second} {
				err := send(s, to)
				if said := told(err); want == "" && err != nil || !strings.Contains(said, want) {
					t.Fatalf("told %v, want %q", err, want)
				}
			}
			clock.unix.Add(60)
			if err := send(s, to); test.name == "greylist" && err != nil {
				t.Errorf("greylisted after the wait: %v", err)
			}
			checkSequels(t, s, test.kind, test.hard, test.status)
			if test.name == "drop" && (len(s.Messages()) != 3 || !s.Messages()[0].Unanswered) {
				t.Errorf("not recorded: %+v", s.Messages())
			}
		})
	}
}

// checkSequels reads the mailbox as mailer does.
func checkSequels(t *testing.T, s *sandbox.Sandbox, kind string, hard bool, status string) {
	t.Helper()
	mails := mailtest.ReadIMAP(t, s.IMAPAddr(), sandbox.Username, sandbox.Password, "INBOX")
	if kind == "" {
		if len(mails) != 0 {
			t.Errorf("mail that should not be:\n%s", mails[0])
		}
		return
	}
	if len(mails) != 3 {
		t.Fatalf("%d mails in the INBOX, want one for each message", len(mails))
	}
	v := bounce.Parse(mails[0])
	if v.Kind != kind {
		t.Errorf("read as %q, want %q:\n%s", v.Kind, kind, mails[0])
	}
	if status != "" && (len(v.Bounces) != 1 || v.Bounces[0].Status != status || v.Bounces[0].Hard != hard) {
		t.Errorf("read as %+v, want %s and hard %t", v.Bounces, status, hard)
	}
}

func TestCastIsRepeatable(t *testing.T) {
	var mixed sandbox.Scenario
	for _, s := range sandbox.Scenarios() {
		if s.Name == "mixed" {
			mixed = s
		}
	}
	count, differ := map[string]int{}, 0
	for i := range 20000 {
		addr := fmt.Sprintf("user%d@example.jp", i)
		p := mixed.Cast(1, addr).Name
		if p != mixed.Cast(1, strings.ToUpper(addr)).Name {
			t.Fatalf("%s: the case of an address changes its personality", addr)
		}
		if p != mixed.Cast(2, addr).Name {
			differ++
		}
		count[p]++
	}
	if share := count["accept"]; share < 18600 || share > 19000 {
		t.Errorf("%d of 20000 accept", share)
	}
	if differ == 0 {
		t.Error("the seed changes nothing")
	}
	for _, p := range sandbox.Personalities() {
		for _, addr := range []string{p.Name + ".x@example.jp", "x+" + p.Name + "@example.jp", "x_" + p.Name + "@EXAMPLE.jp"} {
			if got := mixed.Cast(1, addr).Name; got != p.Name {
				t.Errorf("%s is %s", addr, got)
			}
		}
	}
	if got := mixed.Cast(1, "unknowntaro@example.jp").Name; got != mixed.Cast(1, "unknowntaro@example.jp").Name || got == "unknown" {
		t.Errorf("half a word forced %s", got)
	}
}

func TestEveryScenarioNamesItsCast(t *testing.T) {
	known := map[string]bool{}
	for _, p := range sandbox.Personalities() {
		known[p.Name] = true
	}
	for _, s := range sandbox.Scenarios() {
		for i := range 5000 {
			if p := s.Cast(1, fmt.Sprintf("u%d@example.jp", i)); !known[p.Name] {
				t.Fatalf("scenario %s names %q", s.Name, p.Name)
			}
		}
	}
}

func TestHangsUpAfterMessages(t *testing.T) {
	s := start(t, sandbox.Options{Scenario: "hostile"})
	c, err := smtp.Dial(s.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 6 {
		err := c.Mail(sender)
		if i == 5 {
			if !strings.HasPrefix(told(err), "421 4.7.0") {
				t.Fatalf("the sixth message: %v", err)
			}
			if _, err := c.Text.ReadLine(); err != io.EOF {
				t.Errorf("after 421: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Rcpt("accept@example.jp"); err != nil {
			t.Fatal(err)
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, letter)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReportGoesByTheEnvelope(t *testing.T) {
	s := start(t, sandbox.Options{Scenario: "perfect"})
	c, err := smtp.Dial(s.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func(code int, line string) {
		t.Helper()
		id, err := c.Text.Cmd("%s", line)
		if err != nil {
			t.Fatal(err)
		}
		c.Text.StartResponse(id)
		defer c.Text.EndResponse(id)
		if _, _, err := c.Text.ReadResponse(code); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	ask(250, "EHLO me")
	for _, notify := range []string{"NOTIFY=FAILURE ORCPT=rfc822;a+2B@example.jp", "NOTIFY=NEVER", "NOTIFY=DELAY"} {
		ask(250, "MAIL FROM:<"+sender+"> RET=FULL ENVID=b11+2Dx")
		ask(250, `RCPT TO:<"a..later-unknown"@docomo.ne.jp> `+notify)
		ask(354, "DATA")
		ask(250, letter+".")
	}
	mails := mailtest.ReadIMAP(t, s.IMAPAddr(), sandbox.Username, sandbox.Password, "INBOX")
	if len(mails) != 1 {
		t.Fatalf("%d reports, want one: NEVER and DELAY ask for none", len(mails))
	}
	for _, want := range []string{"Return-Path: <>", "Delivered-To: " + sender, "X-Original-To: " + sender, "Original-Envelope-Id: b11-x",
		"Original-Recipient: rfc822; a+@example.jp", `Final-Recipient: rfc822; "a..later-unknown"@docomo.ne.jp`, "Content-Type: message/rfc822", "hello"} {
		if !bytes.Contains(mails[0], []byte(want)) {
			t.Errorf("no %q in:\n%s", want, mails[0])
		}
	}
	if m := s.Messages()[0]; m.EnvelopeID != "b11-x" || m.Notify != "FAILURE" || m.Rcpt != "a..later-unknown@docomo.ne.jp" {
		t.Errorf("recorded %+v", m)
	}
}

func TestUnsubscribeMail(t *testing.T) {
	s := start(t, sandbox.Options{})
	if err := send(s, "unsubscribe.a@example.com"); err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(bytes.NewReader(mailtest.ReadIMAP(t, s.IMAPAddr(), sandbox.Username, sandbox.Password, "INBOX")[0]))
	if err != nil {
		t.Fatal(err)
	}
	if to := m.Header.Get("Delivered-To"); to != "bounce+u11-0123456789abcdef@example.com" {
		t.Errorf("delivered to %q", to)
	}
	if subject := m.Header.Get("Subject"); subject != "unsub+it" {
		t.Errorf("subject %q", subject)
	}
}

func TestSTARTTLSAndLogin(t *testing.T) {
	s := start(t, sandbox.Options{StartTLS: true, Scenario: "perfect"})
	for _, test := range []struct {
		user string
		good bool
	}{{"news", true}, {"refuse-me", false}} {
		c, err := smtp.Dial(s.SMTPAddr())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.StartTLS(mailtest.Trust(t, s.CA())); err != nil {
			t.Fatal(err)
		}
		if err := c.Auth(smtp.PlainAuth("", test.user, "x", "127.0.0.1")); (err == nil) != test.good {
			t.Errorf("%s: %v", test.user, err)
		}
		if !test.good {
			continue // the client has said QUIT
		}
		if err := loseMail(c); err == nil || len(s.Messages()) != 1 {
			t.Errorf("lost connection under TLS: %v, %d messages", err, len(s.Messages()))
		}
		c.Close()
	}
}

// loseMail sends to a recipient that drops the connection.
func loseMail(c *smtp.Client) error {
	if err := c.Mail(sender); err != nil {
		return err
	}
	if err := c.Rcpt("drop.x@example.jp"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	io.WriteString(w, letter)
	return w.Close()
}

func TestLoopbackOnly(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "192.0.2.1:0", "example.com:0", "nonsense"} {
		if s, err := sandbox.Start(context.Background(), sandbox.Options{HTTP: addr}); err == nil {
			s.Close()
			t.Errorf("it listens on %q", addr)
		}
	}
	if _, err := sandbox.Start(context.Background(), sandbox.Options{Scenario: "sunny"}); err == nil {
		t.Error("it knows a scenario that is not there")
	}
}

func TestCloseTwiceAndByContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s, err := sandbox.Start(ctx, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.Dial(s.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	s.Close()
	s.Close()
	if err := c.Hello("me"); err == nil {
		t.Error("the connection lives on")
	}
}

// Close waits: whoever served a connection is gone when it returns.
func TestCloseLeavesNothingRunning(t *testing.T) {
	s, err := sandbox.Start(context.Background(), sandbox.Options{Slow: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.Dial(s.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail(sender); err != nil {
		t.Fatal(err)
	}
	slow := make(chan error, 1)
	go func() { slow <- c.Rcpt("slow.x@example.jp") }()
	idle := mailtest.DialIMAP(t, s.IMAPAddr(), sandbox.Username, sandbox.Password)
	if _, err := idle.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Idle(); err != nil {
		t.Fatal(err)
	}
	if code, _ := get(t, s, "/"); code != http.StatusOK { // its connection stays open
		t.Fatal(code)
	}
	s.Close()
	if err := <-slow; err == nil {
		t.Error("a slow recipient answered")
	}
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	for _, frame := range []string{"go-smtp.(*Server)", "imapserver.(*Conn).serve", "net/http.(*conn).serve", "sandbox.(*Sandbox)", "sandbox.(*Mailbox)"} {
		if bytes.Contains(all, []byte(frame)) {
			t.Errorf("%s still runs:\n%s", frame, all)
		}
	}
}

func TestOldBodiesAreDropped(t *testing.T) {
	s := start(t, sandbox.Options{Scenario: "perfect", Keep: 1000})
	for i := range 10 {
		if err := send(s, fmt.Sprintf("u%d@example.jp", i)); err != nil {
			t.Fatal(err)
		}
	}
	st := s.Stats()
	if st.Messages != 10 || st.BodiesDropped == 0 || st.BodiesDropped == 10 {
		t.Errorf("stats %+v", st)
	}
	if raw, ok := s.Raw(10); !ok || !bytes.Contains(raw, []byte("hello")) {
		t.Errorf("the newest body is gone: %q", raw)
	}
	if code, text := get(t, s, "/api/messages/1/raw"); code != http.StatusGone || !strings.Contains(text, "not kept") {
		t.Errorf("%d %s", code, text)
	}
	if _, text := get(t, s, "/messages/1"); !strings.Contains(text, "not kept any more") {
		t.Error("the page does not say that the body is gone")
	}
}

func get(t *testing.T, s *sandbox.Sandbox, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(s.HTTPURL() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

const evil = "From: a@example.com\r\nSubject: <script>alert(1)</script>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/html; charset=iso-2022-jp\r\n\r\n<p>\x1b$B8xO\"\x1b(B</p><script>alert(2)</script><img src=\"cid:logo@x\"><img src=\"https://example.com/pixel\">\r\n" +
	"--b\r\nContent-Type: image/png; name=logo.png\r\nContent-ID: <logo@x>\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0=\r\n--b--\r\n"

func TestPages(t *testing.T) {
	s := start(t, sandbox.Options{Scenario: "perfect"})
	if err := smtp.SendMail(s.SMTPAddr(), nil, sender, []string{"<b>@example.jp"[3:], "other@example.jp"}, []byte(evil)); err == nil {
		t.Fatal("a broken recipient was taken")
	}
	if err := smtp.SendMail(s.SMTPAddr(), nil, sender, []string{"one@example.jp", "two@example.jp"}, []byte(evil)); err != nil {
		t.Fatal(err)
	}
	if err := send(s, "three@example.jp"); err != nil {
		t.Fatal(err)
	}
	for path, wants := range map[string][]string{
		"/":                    {"3 messages", "お知らせ", "&lt;script&gt;alert(1)", "one@example.jp"},
		"/?q=three+" + "perfe": {"Nothing was caught that holds"},
		"/?q=three":            {"1 found"},
		"/messages/1":          {`<iframe sandbox title`, "logo.png", "image/png", "&lt;script&gt;alert(1)"},
		"/messages/1/html":     {"公連", "data:image/png;base64,iVBORw0="},
		"/style.css":           {"--ink"},
		"/recipients":          {"later-unknown", "docomo-filtered@docomo.ne.jp", "bounce filtered", "outage"},
		"/api/recipients":      {`"name":"exim-full"`, `"reason":"mailboxfull"`, `"does":"kept"`},
		"/api/stats":           {`"messages":3`, `"accept":3`, `"inbox":0`},
		"/api/messages/3/raw":  {"hello"},
	} {
		code, text := get(t, s, path)
		if code != http.StatusOK {
			t.Errorf("%s: %d", path, code)
		}
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", path, want, text)
			}
		}
		if strings.Contains(text, "<script") && path != "/messages/1/html" {
			t.Errorf("%s holds a script", path)
		}
	}
	for _, path := range []string{"/messages/9", "/messages/x/html", "/api/messages/0/raw", "/nothing"} {
		if code, _ := get(t, s, path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	_, text := get(t, s, "/api/messages")
	var list []sandbox.Caught
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 3 || list[0].Rcpt != "one@example.jp" || list[0].From != sender {
		t.Errorf("%v: %s", err, text)
	}
}

func TestMailCannotRunScripts(t *testing.T) {
	s := start(t, sandbox.Options{Scenario: "perfect"})
	if err := smtp.SendMail(s.SMTPAddr(), nil, sender, []string{"one@example.jp"}, []byte(evil)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/": "default-src 'none'", "/messages/1": "default-src 'none'", "/messages/1/html": "sandbox; default-src 'none'"} {
		resp, err := http.Get(s.HTTPURL() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		policy := resp.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, want) || strings.Contains(policy, "script") || strings.Contains(policy, "allow") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
	req, _ := http.NewRequest("GET", s.HTTPURL(), nil)
	req.Host = "evil.example"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a foreign name is answered with %d", resp.StatusCode)
	}
}
