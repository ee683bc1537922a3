package send

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/config"
	"mailer/internal/mailtest"
	"mailer/internal/pace"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// relaySender is a sender whose workspace is an empty folder.
func relaySender(t *testing.T) *Sender {
	t.Helper()
	dir := t.TempDir()
	st, err := store.Open(t.Context(), filepath.Join(dir, config.DatabaseName), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	ws := &config.Workspace{Dir: dir, Config: config.Default()}
	ws.Config.Sender.From = "News <news@example.com>"
	ws.Config.Bounces.ReturnPathPattern = "bounce+{token}@example.com"
	return &Sender{Workspace: ws, Store: st, Now: time.Now}
}

func relayOf(srv *mailtest.SMTPServer) config.Relay {
	return config.Relay{Name: "main", Host: "127.0.0.1", Port: srv.Port, TLS: config.TLSNone, Auth: config.AuthAuto, Connections: 2,
		Pipelining: config.PipeliningAuto, Timeout: 10 * time.Second}
}

func TestRelayTestSendsAMessage(t *testing.T) {
	s := relaySender(t)
	srv := mailtest.NewSMTP(t, mailtest.Script{Replies: map[string]string{"RCPT no@example.jp": "550 5.1.1 nobody"}})
	for to, taken := range map[string]bool{"me@example.jp": true, "no@example.jp": false, "田中 <tanaka@日本.example>": true} {
		f, err := s.TestRelay(t.Context(), relayOf(srv), to, func(relay.Step) {})
		if err != nil {
			t.Fatal(err)
		}
		if f.Message == nil || f.Message.Accepted != taken || f.OK != taken || f.Message.MessageID == "" || f.Message.Reply == "" {
			t.Errorf("%s: %+v", to, f.Message)
		}
	}
	acc := srv.Accepted()
	if len(acc) != 2 {
		t.Fatalf("accepted %d", len(acc))
	}
	for _, tx := range acc {
		text := string(tx.Data)
		if !strings.HasPrefix(tx.From, "bounce+") || !strings.Contains(text, "From: News <news@example.com>") ||
			!strings.Contains(text, "Subject: Test message through relay main\r\n") || strings.Contains(text, "List-Unsubscribe") {
			t.Errorf("from %s:\n%s", tx.From, text)
		}
	}
}

// Nobody is called for a message that cannot be made.
func TestRelayTestOfAMessageThatCannotBeMade(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	s := relaySender(t)
	var mistake *UsageError
	if _, err := s.TestRelay(t.Context(), relayOf(srv), "not an address", func(relay.Step) {}); !errors.As(err, &mistake) {
		t.Errorf("a wrong address: %v", err)
	}
	s.Workspace.Config.Sender.From = ""
	if _, err := s.TestRelay(t.Context(), relayOf(srv), "me@example.jp", func(relay.Step) {}); !errors.As(err, &mistake) || !strings.Contains(err.Error(), "sender.from") {
		t.Errorf("no sender: %v", err)
	}
	if srv.Conns() > 0 {
		t.Error("the relay was called")
	}
	if f, err := s.TestRelay(t.Context(), relayOf(srv), "", func(relay.Step) {}); err != nil || !f.OK {
		t.Errorf("without a message: %v, %+v", err, f)
	}
}

func TestExpectation(t *testing.T) {
	far := relay.Profile{RoundTrip: 40 * time.Millisecond, Again: 200 * time.Millisecond, Pipelined: true}
	for _, c := range []struct {
		name    string
		profile func(*relay.Profile)
		way     config.Relay
		signing time.Duration
		rate    float64
		bound   string
	}{
		{"one round trip", nil, config.Relay{Connections: 10}, 0, 250, "relay"},
		{"four", func(p *relay.Profile) { p.Pipelined = false }, config.Relay{Connections: 10}, 0, 62.5, "relay"},
		{"a rate", nil, config.Relay{Connections: 10, Rates: []pace.Rate{{N: 100, Per: time.Second}}}, 0, 100, "rates"},
		{"a rate that does not bind", nil, config.Relay{Connections: 10, Rates: []pace.Rate{{N: 1000, Per: time.Second}}}, 0, 250, "relay"},
		{"a day's share is there at once", nil, config.Relay{Connections: 10, Rates: []pace.Rate{{N: 50000, Per: 24 * time.Hour}}}, 0, 250, "relay"},
		{"an hour's share alone is kept even", nil, config.Relay{Connections: 10, Rates: []pace.Rate{{N: 5000, Per: time.Hour}}}, 0, 1.39, "rates"},
		{"beside a shorter one it is there at once", nil, config.Relay{Connections: 10, Rates: []pace.Rate{{N: 100, Per: time.Second}, {N: 5000, Per: time.Hour}}}, 0, 2.78, "rates"},
		{"connections that are replaced", nil, config.Relay{Connections: 10, MessagesPerConnection: 5}, 0, 125, "relay"},
		{"by the relay", func(p *relay.Profile) { p.Limits.MailMax = 5 }, config.Relay{Connections: 10, MessagesPerConnection: 1000}, 0, 125, "relay"},
		{"one connection only", func(p *relay.Profile) { p.AgainErr, p.Again = context.DeadlineExceeded, 0 }, config.Relay{Connections: 10}, 0, 25, "relay"},
		{"signing", func(p *relay.Profile) { p.RoundTrip = time.Microsecond }, config.Relay{Connections: 10}, time.Hour, 0, "signing"},
		{"machine", func(p *relay.Profile) { p.RoundTrip = time.Microsecond }, config.Relay{Connections: 10}, 0, machineRate, "machine"},
		{"no time at all", func(p *relay.Profile) { p.RoundTrip = 0 }, config.Relay{Connections: 1}, 0, machineRate, "machine"},
	} {
		p := far
		if c.profile != nil {
			c.profile(&p)
		}
		f := RelayFindings{signing: c.signing}
		f.expect(p, c.way)
		if f.Bound != c.bound || c.rate > 0 && f.PerSecond != c.rate || f.Seconds <= 0 || math.IsInf(f.Seconds, 0) {
			t.Errorf("%s: %g/s, bounded by %s, %g s; want %g by %s", c.name, f.PerSecond, f.Bound, f.Seconds, c.rate, c.bound)
		}
	}
	f := RelayFindings{}
	f.expect(far, config.Relay{Connections: 10})
	if got, want := f.Expectation(), "at most 250 messages a second, 10,000 in 40s; bounded by 10 connections and one round trip a message"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestProvidersAreKnown(t *testing.T) {
	for host, want := range map[string]bool{
		"smtp.gmail.com": true, "SMTP.GMAIL.COM.": true, "email-smtp.us-east-1.amazonaws.com": true, "smtp.sendgrid.net": true, "smtp.office365.com": true,
		"example-com.mail.protection.outlook.com": true, "smtp.mailgun.org": true, "sv1234.xserver.jp": true, "gmail.com": true, "*.sendgrid.net": true,
		"notgmail.com": false, "gmail.com.example.com": false, "mail.example.com": false, "127.0.0.1": false, "localhost": false, "": false,
		"ec2-192-0-2-1.ap-northeast-1.compute.amazonaws.com": false, "os3-1-2.vs.sakura.ne.jp": false, "www1234.sakura.ne.jp": true,
	} {
		if got := ownerOf(host) != ""; got != want {
			t.Errorf("ownerOf(%q) = %q", host, ownerOf(host))
		}
	}
	for _, c := range []struct {
		profile relay.Profile
		want    string
	}{
		{relay.Profile{Banner: "220 smtp.gmail.com ESMTP x"}, "gmail.com"},
		{relay.Profile{Banner: "220-mx.example.com ESMTP", Greeting: "mx.example.com at your service, [192.0.2.1] of smtp.gmail.com"}, ""},
		{relay.Profile{Greeting: "smtp.sendgrid.net"}, "sendgrid.net"},
		{relay.Profile{Security: &relay.Security{Names: []string{"mx.example.com", "*.mailgun.org"}}}, "mailgun.org"},
		{relay.Profile{}, ""},
	} {
		if got := shared(c.profile); got != c.want {
			t.Errorf("%+v is of %q, want %q", c.profile, got, c.want)
		}
	}
}

func TestBenchRuns(t *testing.T) {
	for most, want := range map[int][]int{1: {1}, 2: {1, 2}, 3: {1, 2, 3}, 8: {1, 2, 4, 8}, 10: {1, 2, 4, 8, 10}} {
		for _, pipelining := range []bool{true, false} {
			var got []int
			on := 0
			for _, r := range (BenchRequest{Connections: most}).Runs(pipelining) {
				if r.Pipelining {
					on++
				} else {
					got = append(got, r.Connections)
				}
			}
			if !slices.Equal(got, want) || on != map[bool]int{true: len(want), false: 0}[pipelining] {
				t.Errorf("up to %d: %v, %d with pipelining", most, got, on)
			}
		}
	}
}

func TestRecommendation(t *testing.T) {
	for _, c := range []struct {
		name string
		runs []BenchRun
		want int
		on   bool
	}{
		{"nothing", nil, 0, false},
		{"refused at once", []BenchRun{{Connections: 1, Refused: 1, Accepted: 3, PerSecond: 9}}, 0, false},
		{"more is faster", []BenchRun{{Connections: 1, Pipelining: true, Accepted: 9, PerSecond: 100}, {Connections: 1, Accepted: 9, PerSecond: 25}, {Connections: 2, Pipelining: true, Accepted: 9, PerSecond: 195}}, 2, true},
		{"more is hardly faster", []BenchRun{{Connections: 1, Pipelining: true, Accepted: 9, PerSecond: 100}, {Connections: 2, Pipelining: true, Accepted: 9, PerSecond: 105}}, 1, true},
		{"more is slower", []BenchRun{{Connections: 1, Accepted: 9, PerSecond: 100}, {Connections: 2, Accepted: 9, PerSecond: 50}}, 1, false},
		{"more is refused", []BenchRun{{Connections: 2, Accepted: 9, PerSecond: 100}, {Connections: 4, Accepted: 9, PerSecond: 500, Refused: 1}}, 2, false},
	} {
		r := BenchResult{Runs: c.runs}
		if r.recommend(); r.Connections != c.want || r.Pipelining != c.on {
			t.Errorf("%s: %d, pipelining %v", c.name, r.Connections, r.Pipelining)
		}
	}
}
