package relay

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/mailtest"
)

func TestProbe(t *testing.T) {
	ca := mailtest.NewCA(t)
	for _, mode := range []TLS{StartTLS, Implicit, NoTLS} {
		for _, login := range []string{"plain", "login", "cram-md5"} {
			script := mailtest.Script{Name: "mx.example.com", Users: map[string]string{"news": "geheim"}, NeedAuth: true,
				Keywords: []string{"PIPELINING", "SIZE 10485760", "LIMITS MAILMAX=20", "XYZ"}}
			if mode != NoTLS {
				script.TLS, script.Implicit = ca.Config(t), mode == Implicit
			}
			srv := mailtest.NewSMTP(t, script)
			s := serverOf(srv)
			s.TLS, s.RootCAs, s.Auth, s.Username, s.Hello = mode, ca.Pool, login, "news", "client.example.com"
			s.Password = func(context.Context) (string, error) { return "geheim", nil }
			var steps []string
			p, conn, err := NewDialer(s).Probe(t.Context(), func(st Step) {
				if strings.Contains(st.Text, "geheim") || st.Err != nil {
					t.Errorf("step %+v", st)
				}
				steps = append(steps, st.Name)
			})
			if err != nil {
				t.Fatal(err)
			}
			if a := conn.Send(&Message{envelope("one@example.jp"), body}, nil); !a.Accepted() {
				t.Errorf("got %+v", a)
			}
			conn.Close()
			want := map[TLS]string{StartTLS: "connect greeting tls offers login round trip again", Implicit: "connect tls greeting offers login round trip again",
				NoTLS: "connect greeting offers login round trip again"}[mode]
			if got := strings.Join(steps, " "); got != want {
				t.Errorf("%s, %s: steps %q, want %q", mode, login, got, want)
			}
			if p.Banner != "220 mx.example.com ESMTP" || p.Hello != "client.example.com" || p.Login != strings.ToUpper(login) || p.Size != 10485760 ||
				p.Limits.MailMax != 20 || !p.Pipelined || !p.Offered("AUTH") || p.Offered("XYZ") || p.RoundTrip <= 0 || p.Again <= 0 || !p.Loopback {
				t.Errorf("%s, %s: %+v", mode, login, p)
			}
			if (p.Security != nil) != (mode != NoTLS) || p.Resumed != (mode != NoTLS) {
				t.Errorf("%s, %s: security %+v, resumed %v", mode, login, p.Security, p.Resumed)
			}
			if p.Security != nil && (p.Security.Version != "TLS 1.3" || !slices.Contains(p.Security.Names, "localhost") || p.Security.Issuer != "mailtest CA" ||
				time.Until(p.Security.Expires) > time.Hour || p.Security.Doubt != nil) {
				t.Errorf("%s: %+v", mode, p.Security)
			}
		}
	}
}

// What does not succeed is told as the last step, and what was found out before is kept.
func TestProbeEndsWhereTheRelayDoes(t *testing.T) {
	ca := mailtest.NewCA(t)
	users := map[string]string{"news": "geheim"}
	for _, c := range []struct {
		name   string
		script mailtest.Script
		step   string
		config bool
		says   string
		banner bool
	}{
		{"busy", mailtest.Script{Replies: map[string]string{"CONNECT": "421 4.7.0 come back later"}}, "connect", false, "421 4.7.0 come back later", true},
		{"no greeting", mailtest.Script{TLS: ca.Config(t), Replies: map[string]string{"EHLO": "554 go away", "HELO": "554 go away"}}, "greeting", false, "554 go away", true},
		{"no tls", mailtest.Script{}, "tls", true, "does not offer STARTTLS", true},
		{"expired", mailtest.Script{TLS: ca.Expired(t)}, "tls", true, "expired", true},
		{"wrong name", mailtest.Script{TLS: ca.WrongName(t)}, "tls", true, "another name", true},
		{"password", mailtest.Script{TLS: ca.Config(t), Users: map[string]string{"news": "other"}}, "login", true, "refused", true},
		{"no rset", mailtest.Script{TLS: ca.Config(t), Users: users, Replies: map[string]string{"RSET": "502 what?"}}, "greeting", false, "RSET", true},
	} {
		srv := mailtest.NewSMTP(t, c.script)
		s := serverOf(srv)
		s.TLS, s.RootCAs, s.Username = StartTLS, ca.Pool, "news"
		s.Password = func(context.Context) (string, error) { return "geheim", nil }
		var last Step
		p, _, err := NewDialer(s).Probe(t.Context(), func(st Step) { last = st })
		var de *DialError
		if !errors.As(err, &de) || de.Config != c.config || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", c.name, err)
		}
		if last.Name != c.step || !errors.Is(last.Err, err) || (p.Banner != "") != c.banner {
			t.Errorf("%s: ended with %+v, banner %q", c.name, last, p.Banner)
		}
	}
}

// A relay that takes one connection only is a relay all the same.
func TestProbeOfARelayForOne(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "CONNECT" && c.Conn > 1 {
			return &mailtest.Reply{Text: "421 4.7.0 one at a time"}
		}
		return nil
	}})
	p, conn, err := NewDialer(serverOf(srv)).Probe(t.Context(), func(Step) {})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if p.AgainErr == nil || !conn.Usable() {
		t.Errorf("%+v", p)
	}
}

// Without verification the connection is made, and what is wrong with the certificate is known.
func TestProbeSaysWhatInsecureHides(t *testing.T) {
	ca := mailtest.NewCA(t)
	srv := mailtest.NewSMTP(t, mailtest.Script{TLS: ca.WrongName(t)})
	s := serverOf(srv)
	s.TLS, s.RootCAs, s.Insecure = StartTLS, ca.Pool, true
	p, conn, err := NewDialer(s).Probe(t.Context(), func(Step) {})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if p.Security == nil || p.Security.Doubt == nil || !strings.Contains(p.Security.Doubt.Error(), "other.example") {
		t.Errorf("%+v", p.Security)
	}
}

// The user's Ctrl-C ends a probe at every step, and is no finding about the relay.
func TestProbeCanBeStopped(t *testing.T) {
	ca := mailtest.NewCA(t)
	for _, at := range []string{"CONNECT", "EHLO", "STARTTLS", "AUTH", "RSET"} {
		ctx, cancel := context.WithCancel(t.Context())
		srv := mailtest.NewSMTP(t, mailtest.Script{TLS: ca.Config(t), Users: map[string]string{"news": "geheim"}, Reply: func(c mailtest.Command) *mailtest.Reply {
			if c.Verb == at {
				cancel()
				return &mailtest.Reply{Wait: make(chan struct{})}
			}
			return nil
		}})
		s := serverOf(srv)
		s.TLS, s.RootCAs, s.Username = StartTLS, ca.Pool, "news"
		s.Password = func(context.Context) (string, error) { return "geheim", nil }
		_, conn, err := NewDialer(s).Probe(ctx, func(st Step) {
			if st.Err != nil {
				t.Errorf("stopped at %s: told %v", at, st.Err)
			}
		})
		if !errors.Is(err, context.Canceled) || conn != nil {
			t.Errorf("stopped at %s: %v", at, err)
		}
		cancel()
	}
}

func TestOffersAsPeopleReadThem(t *testing.T) {
	for o, want := range map[Offer]string{
		{"SIZE", "10485760"}: "SIZE up to 10 MB", {"SIZE", "0"}: "SIZE without a limit", {"SIZE", ""}: "SIZE without a limit", {"SIZE", "35882577"}: "SIZE up to 34.2 MB",
		{"SIZE", "51200"}: "SIZE up to 50 KB", {"SIZE", "900"}: "SIZE up to 900 bytes", {"SIZE", "-4"}: "SIZE without a limit",
		{"DSN", ""}: "DSN", {"AUTH", "PLAIN LOGIN"}: "AUTH PLAIN LOGIN",
	} {
		if got := o.String(); got != want {
			t.Errorf("%+v: %q, want %q", o, got, want)
		}
	}
}

// Some relays hang up at QUIT without a word. That is no reason to doubt them.
func TestProbeOfARelayThatHangsUpAtQuit(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "QUIT" {
			return &mailtest.Reply{Silent: true, Close: true}
		}
		return nil
	}})
	p, conn, err := NewDialer(serverOf(srv)).Probe(t.Context(), func(Step) {})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if p.Again == 0 || p.AgainErr != nil {
		t.Errorf("the second connection: %v, %v", p.Again, p.AgainErr)
	}
}
