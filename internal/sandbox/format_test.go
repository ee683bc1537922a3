package sandbox_test

import (
	"bytes"
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/mailtest"
	"mailer/internal/sandbox"
)

// formats are the personalities that write a format.
func formats() []sandbox.Personality {
	return slices.DeleteFunc(sandbox.Personalities(), func(p sandbox.Personality) bool { return p.Format == "" })
}

// rehearse sends a message to everybody that a format is for, and returns what came of it by personality.
func rehearse(t *testing.T) map[string][][]byte {
	t.Helper()
	s := start(t, sandbox.Options{Scenario: "perfect", Now: func() time.Time { return time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC) }})
	c, err := smtp.Dial(s.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Hello("me"); err != nil {
		t.Fatal(err)
	}
	for _, p := range formats() {
		id, err := c.Text.Cmd("MAIL FROM:<%s> ENVID=b11-0123456789abcdef", sender)
		if err != nil {
			t.Fatal(err)
		}
		c.Text.StartResponse(id)
		if _, _, err := c.Text.ReadResponse(250); err != nil {
			t.Fatal(err)
		}
		c.Text.EndResponse(id)
		if err := c.Rcpt(p.Example); err != nil {
			t.Fatal(err)
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, strings.Replace(letter, "x@example.jp", p.Example, 1))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	came := map[string][][]byte{}
	for _, raw := range mailtest.ReadIMAP(t, s.IMAPAddr(), sandbox.Username, sandbox.Password, "INBOX") {
		id := bounce.Parse(raw).MessageID
		name, _, _ := strings.Cut(id, ".")
		came[name] = append(came[name], raw)
	}
	return came
}

// Each mail that a personality writes is read as the table promises. MAILER_TEST_KEEP names a folder to look at them in.
func TestEveryFormatIsReadAsPromised(t *testing.T) {
	came := rehearse(t)
	for _, p := range formats() {
		t.Run(p.Name, func(t *testing.T) {
			want := p.Promise
			if n := max(want.Copies, 1); len(came[p.Name]) != n {
				t.Fatalf("%d mails came, want %d", len(came[p.Name]), n)
			}
			raw := came[p.Name][0]
			if dir := os.Getenv("MAILER_TEST_KEEP"); dir != "" {
				if err := os.WriteFile(filepath.Join(dir, p.Name+".eml"), raw, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			v := bounce.Parse(raw)
			if v.Kind != want.Kind || v.Detail != want.Detail {
				t.Fatalf("read as %s %s, want %s %s:\n%s", v.Kind, v.Detail, want.Kind, want.Detail, raw)
			}
			if want.Kind == bounce.KindBounce {
				checkBounce(t, v, p, raw)
			}
			if want.Kind == bounce.KindComplaint && (len(v.Complainants) != 1 || v.Complainants[0] != p.Example) {
				t.Errorf("complained: %q:\n%s", v.Complainants, raw)
			}
			checkTokens(t, v, want, raw)
			for line := range bytes.Lines(raw) {
				if len(line) > 1000 && p.Name != "odd-cr" { // RFC 5321 section 4.5.3.1.6
					t.Errorf("a line of %d octets", len(line))
				}
			}
		})
	}
}

func checkBounce(t *testing.T, v bounce.Verdict, p sandbox.Personality, raw []byte) {
	t.Helper()
	who := p.Example
	if p.Promise.Other {
		who = "home@elsewhere.example"
	}
	want := fmt.Sprintf("[%s %s hard=%t %s]", who, p.Promise.Reason, p.Promise.Hard, p.Promise.Action)
	var got []string
	for _, r := range v.Bounces {
		got = append(got, fmt.Sprintf("%s %s hard=%t %s", r.Recipient, r.Reason, r.Hard, r.Action))
	}
	if fmt.Sprint(got) != want {
		t.Errorf("read by %q as %v, want %s:\n%s", v.Family, got, want, raw)
	}
}

// checkTokens wants a token-shaped string where the proof is promised, and none where there is none.
func checkTokens(t *testing.T, v bounce.Verdict, want sandbox.Promise, raw []byte) {
	t.Helper()
	const genuine = "0123456789abcdef"
	found := func(where string, good bool) bool {
		return slices.ContainsFunc(v.Tokens, func(tok bounce.Token) bool {
			return (where == "" || tok.Where == where) && strings.HasSuffix(tok.Text, genuine) == good
		})
	}
	switch {
	case want.Forged:
		if !found("", false) {
			t.Errorf("no altered token, but %v:\n%s", v.Tokens, raw)
		}
	case found("", false):
		t.Errorf("an altered token: %v\n%s", v.Tokens, raw)
	case want.Proof == "" && len(v.Tokens) > 0, want.Proof != "" && !found(want.Proof, true):
		t.Errorf("tokens %v, want proof by %q:\n%s", v.Tokens, want.Proof, raw)
	}
}

// The same message at the same time makes the same mail.
func TestFormatsAreRepeatable(t *testing.T) {
	first, second := rehearse(t), rehearse(t)
	for name, mails := range first {
		if fmt.Sprintf("%q", mails) != fmt.Sprintf("%q", second[name]) {
			t.Errorf("%s differs:\n%q\n%q", name, mails, second[name])
		}
	}
}

// "back-" leaves the format to the recipient's provider.
func TestBackInTheFormatOfTheDomain(t *testing.T) {
	s := sandbox.Scenario{Name: "perfect"}
	for addr, want := range map[string]string{
		"back-unknown.taro@docomo.ne.jp": "docomo-unknown", "back-full.taro@GMAIL.com": "gmail-full", "taro+back-suspended@ezweb.ne.jp": "ezweb-suspended",
		"back-full@k3.dion.ne.jp": "kddi-full", "back-blocked@outlook.jp": "m365-blocked", "back-full@notdion.ne.jp": "postfix-full",
		"back-unknown.taro@example.jp": "postfix-unknown", "back-policy@docomo.ne.jp": "postfix-policy", "back-nonsense@docomo.ne.jp": "accept",
	} {
		if got := s.Cast(1, addr).Name; got != want {
			t.Errorf("%s is %s, want %s", addr, got, want)
		}
	}
}

// Every format comes up in the scenario that plays them all, and an outage is one of a provider.
func TestScenariosOfFormats(t *testing.T) {
	scenarios := map[string]sandbox.Scenario{}
	for _, s := range sandbox.Scenarios() {
		scenarios[s.Name] = s
	}
	seen := map[string]int{}
	for i := range 20000 {
		seen[scenarios["formats"].Cast(1, fmt.Sprintf("u%d@example.jp", i)).Name]++
	}
	if n := seen["accept"]; n < 1700 || n > 2300 {
		t.Errorf("%d of 20000 accept, want one of ten", n)
	}
	for _, p := range formats() {
		if seen[p.Name] == 0 {
			t.Errorf("%s is never drawn", p.Name)
		}
	}
	for domain, want := range map[string]string{"docomo.ne.jp": "docomo-unknown", "au.com": "blocked"} {
		for i := range 100 {
			if got := scenarios["outage"].Cast(1, fmt.Sprintf("u%d@%s", i, domain)).Name; got != want {
				t.Fatalf("%s: %s, want %s", domain, got, want)
			}
		}
	}
}
