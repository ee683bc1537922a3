package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailer/internal/config"
	"mailer/internal/mailtest"
	"mailer/internal/pace"
	"mailer/internal/relay"
)

// grade checks levels and words of a relay's findings: check -> "level words".
func gradeRelay(t *testing.T, name string, found []Finding, want map[string]string) {
	t.Helper()
	worst := map[string]Finding{}
	for _, f := range found {
		if w, ok := worst[f.Check]; !ok || f.Level.Worse(w.Level) {
			worst[f.Check] = f
		}
		if f.Level.Worse(Info) && (f.Why == "" || f.Do == "") {
			t.Errorf("%s: %s says no why or do: %+v", name, f.Check, f)
		}
	}
	for check, f := range worst {
		level, words, _ := strings.Cut(want[check], " ")
		if level == "" && f.Level.Worse(Info) || level != "" && (string(f.Level) != level || !strings.Contains(strings.ToLower(f.Found+" "+f.Do+" "+strings.Join(f.Detail, " ")), strings.ToLower(words))) {
			t.Errorf("%s: %s: want %q, got %+v", name, check, want[check], f)
		}
	}
	for check := range want {
		if worst[check].Check == "" {
			t.Errorf("%s: no %s among %+v", name, check, found)
		}
	}
}

func carrier(srv *mailtest.SMTPServer) *Carrier {
	way := config.Relay{Name: "main", Host: "127.0.0.1", Port: srv.Port, TLS: config.TLSNone, Auth: config.AuthAuto, Connections: 2}
	return &Carrier{Relay: way, Server: relay.Server{Name: "main", Host: way.Host, Port: way.Port, TLS: relay.NoTLS, Auth: "auto", Pipelining: true}, Now: time.Now}
}

func TestCarrier(t *testing.T) {
	ca := mailtest.NewCA(t)
	secure := func(c *Carrier) {
		c.Server.TLS, c.Server.RootCAs, c.Server.Username = relay.StartTLS, ca.Pool, "news"
		c.Relay.Username = "news"
		c.Server.Password = func(context.Context) (string, error) { return "secret", nil }
	}
	users := map[string]string{"news": "secret"}
	renewed := &tls.Config{Certificates: []tls.Certificate{ca.Certificate(t, time.Now().Add(60*24*time.Hour), "127.0.0.1")}}
	for name, c := range map[string]struct {
		script mailtest.Script
		change func(*Carrier)
		want   map[string]string
		config bool // the error is one of the configuration
		fails  bool
	}{
		"good":              {script: mailtest.Script{TLS: renewed, Users: users}, change: secure, want: map[string]string{"relay_reach": "pass answers", "relay_tls": "pass TLS 1.3", "relay_login": "pass as news", "relay_offers": "pass PIPELINING", "relay_limits": "pass ", "relay_round_trip": "pass "}},
		"ends tomorrow":     {script: mailtest.Script{TLS: ca.Config(t), Users: users}, change: secure, want: map[string]string{"relay_tls": "warn the certificate ends", "relay_login": "pass "}},
		"expired":           {script: mailtest.Script{TLS: ca.Expired(t), Users: users}, change: secure, want: map[string]string{"relay_tls": "fail certificate", "relay_reach": "pass "}, fails: true, config: true},
		"another's":         {script: mailtest.Script{TLS: ca.WrongName(t), Users: users}, change: secure, want: map[string]string{"relay_tls": "fail certificate"}, fails: true, config: true},
		"self-signed":       {script: mailtest.Script{TLS: mailtest.NewCA(t).Config(t), Users: users}, change: secure, want: map[string]string{"relay_tls": "fail certificate"}, fails: true, config: true},
		"insecure":          {script: mailtest.Script{TLS: mailtest.NewCA(t).Config(t), Users: users}, change: func(c *Carrier) { secure(c); c.Server.Insecure = true }, want: map[string]string{"relay_tls": "warn insecure: true hides"}},
		"a weak cipher":     {script: mailtest.Script{TLS: &tls.Config{Certificates: renewed.Certificates, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, Users: users}, change: secure, want: map[string]string{"relay_tls": "warn cipher is weak"}},
		"no STARTTLS":       {script: mailtest.Script{Users: users}, change: secure, want: map[string]string{"relay_tls": "fail STARTTLS"}, fails: true, config: true},
		"a wrong password":  {script: mailtest.Script{TLS: renewed, Users: map[string]string{"news": "other"}}, change: secure, want: map[string]string{"relay_login": "fail Check username", "relay_tls": "pass "}, fails: true, config: true},
		"no login today":    {script: mailtest.Script{TLS: renewed, Users: users, Replies: map[string]string{"AUTH": "454 4.7.0 Temporary authentication failure"}}, change: secure, want: map[string]string{"relay_login": "fail Try again later"}, fails: true},
		"unwelcome":         {script: mailtest.Script{Replies: map[string]string{"CONNECT": "554 5.7.1 you are listed"}}, want: map[string]string{"relay_reach": "fail you are listed"}, fails: true},
		"offers nothing":    {script: mailtest.Script{Keywords: []string{}}, want: map[string]string{"relay_offers": "info no PIPELINING", "relay_login": "info without a login"}},
		"limits":            {script: mailtest.Script{Keywords: []string{"PIPELINING", "DSN", "LIMITS MAILMAX=20 RCPTMAX=100"}}, want: map[string]string{"relay_limits": "pass 20 messages a connection, 100 recipients"}},
		"small":             {script: mailtest.Script{Keywords: []string{"PIPELINING", "DSN", "SIZE 500000"}}, want: map[string]string{"relay_offers": "warn 500000"}},
		"too small":         {script: mailtest.Script{Keywords: []string{"PIPELINING", "DSN", "SIZE 5000000"}}, change: func(c *Carrier) { c.Largest, c.LargestOf = 6_000_000, "spring" }, want: map[string]string{"relay_offers": "fail those of spring have 6000000"}},
		"nearly too small":  {script: mailtest.Script{Keywords: []string{"PIPELINING", "DSN", "SIZE 5000000"}}, change: func(c *Carrier) { c.Largest, c.LargestOf = 4_900_000, "spring" }, want: map[string]string{"relay_offers": "warn already"}},
		"one at a time":     {script: mailtest.Script{Reply: second}, want: map[string]string{"relay_limits": "warn a second connection was refused"}},
		"a dead address":    {change: lookingUp("127.0.0.1", "127.77.77.77"), want: map[string]string{"relay_reach": "pass answers"}}, // loopback: each address of 127/8 is this machine, and only one listens
		"a name of its own": {change: func(c *Carrier) { c.Server.Hello, c.Relay.Hello = "box", "box" }, want: map[string]string{"relay_offers": "info we greet as box"}},
	} {
		srv := mailtest.NewSMTP(t, c.script)
		one := carrier(srv)
		if c.change != nil {
			c.change(one)
		}
		if name == "a dead address" {
			c.want = map[string]string{"relay_reach": "warn 1 of 2 addresses"}
		}
		found, err := one.Check(t.Context())
		gradeRelay(t, name, found, c.want)
		var de *relay.DialError
		if (err != nil) != c.fails || c.fails && (!errors.As(err, &de) || de.Config != c.config) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(c mailtest.Command) *mailtest.Reply {
	if c.Verb == "CONNECT" && c.Conn > 2 { // the first one only knocks
		return &mailtest.Reply{Text: "421 4.7.0 one at a time"}
	}
	return nil
}

func lookingUp(addrs ...string) func(*Carrier) {
	return func(c *Carrier) {
		c.Lookup = func(context.Context, string) ([]netip.Addr, error) {
			var all []netip.Addr
			for _, a := range addrs {
				all = append(all, netip.MustParseAddr(a))
			}
			return all, nil
		}
	}
}

func TestReach(t *testing.T) {
	up := func(a string) knock { return knock{addr: netip.MustParseAddr(a)} }
	down := func(a string, err error) knock { return knock{addr: netip.MustParseAddr(a), err: err} }
	refused, noWay := fmt.Errorf("dial: %w", syscall.ECONNREFUSED), fmt.Errorf("dial: %w", syscall.ENETUNREACH)
	c := &Carrier{Relay: config.Relay{Name: "main", Host: "mail.example.com", Port: 587}}
	for name, one := range map[string]struct {
		knocks []knock
		want   string
	}{
		"both":       {[]knock{up("192.0.2.1"), up("2001:db8::1")}, "pass answers"},
		"no IPv6":    {[]knock{up("192.0.2.1"), down("2001:db8::1", noWay)}, "pass This machine has no IPv6"},
		"dead IPv6":  {[]knock{up("192.0.2.1"), down("2001:db8::1", refused)}, "warn 1 of 2"},
		"no network": {[]knock{down("192.0.2.1", noWay)}, "fail does not answer"},
		"all dead":   {[]knock{down("192.0.2.1", refused), down("192.0.2.2", context.DeadlineExceeded)}, "fail does not answer"},
	} {
		gradeRelay(t, name, []Finding{c.answered(one.knocks)}, map[string]string{"relay_reach": one.want})
	}
	for name, one := range map[string]struct {
		err  error
		want string
	}{
		"a wrong name": {&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, "fail There is no host"},
		"no DNS":       {&net.DNSError{Err: "i/o timeout", Name: "x", IsTimeout: true}, "unknown could not be found out"},
		"SERVFAIL":     {&net.DNSError{Err: "server misbehaving", Name: "x", IsTemporary: true}, "unknown could not be found out"},
	} {
		c.Lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, one.err }
		gradeRelay(t, name, c.reach(t.Context()), map[string]string{"relay_reach": one.want})
	}
}

func TestAllowances(t *testing.T) {
	rate := func(s string) pace.Rate {
		r, err := pace.ParseRate(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, c := range []struct {
		rates, limit string
		want         bool
	}{
		{"", "500/d", false}, {"500/d", "500/d", true}, {"501/d", "500/d", false}, {"20/h", "500/d", true}, {"21/h", "500/d", false},
		{"1/s", "30/m", false}, {"30/m", "30/m", true}, {"100/s 1500/h", "1500/h", true}, {"1000/d", "1500/h", true}, {"10000/d", "1500/h", false},
	} {
		var rates []pace.Rate
		for _, s := range strings.Fields(c.rates) {
			rates = append(rates, rate(s))
		}
		if got := kept(rates, rate(c.limit)); got != c.want {
			t.Errorf("%q within %s: %v", c.rates, c.limit, got)
		}
	}
	for host, want := range map[string]string{
		"smtp.gmail.com": "warn 500/d", "SMTP.office365.com.": "warn 3 connections", "sv1234.xserver.jp": "warn 15000/d", "smtp.lolipop.jp": "warn 10000/d",
		"smtp-relay.gmail.com": "warn 10000/d", "email-smtp.eu-west-1.amazonaws.com": "pass quota", "s3.amazonaws.com": "pass no rates", "smtp.sendgrid.net": "pass 5000 messages",
		"mail.example.com": "pass no rates: are set", "xserver.jp.example.com": "pass no rates",
	} {
		c := &Carrier{Relay: config.Relay{Name: "main", Host: host, Connections: 10}}
		gradeRelay(t, host, c.limits(relay.Profile{}, nil), map[string]string{"relay_limits": want})
	}
	c := &Carrier{Relay: config.Relay{Name: "main", Host: "smtp.gmail.com", Connections: 10, Rates: []pace.Rate{rate("400/d")}}}
	gradeRelay(t, "within", c.limits(relay.Profile{}, nil), map[string]string{"relay_limits": "pass Google Workspace"})
}

func TestOwner(t *testing.T) {
	for host, want := range map[string]string{
		"mx.google.com": "google.com", "imap.gmail.com": "google.com", "mail.example.co.jp": "example.co.jp", "evil.co.jp": "evil.co.jp", "127.0.0.1": "", "[192.0.2.1]": "",
		"2002:a05:6a10::1": "", "localhost": "localhost", "": "", "outlook.office365.com": "outlook.com", "TY1PR01.jpnprd01.prod.outlook.com": "outlook.com", "imap.mail.me.com": "icloud.com",
	} {
		if got := owner(host); got != want {
			t.Errorf("owner(%q) = %q, want %q", host, got, want)
		}
	}
}
