package relay

import (
	"fmt"
	"testing"

	"mailer/internal/mailtest"
)

// Only the first handshake of a run is a full one.
func TestSessionsAreResumed(t *testing.T) {
	ca := mailtest.NewCA(t)
	for _, mode := range []TLS{StartTLS, Implicit} {
		srv := mailtest.NewSMTP(t, mailtest.Script{TLS: ca.Config(t), Implicit: mode == Implicit})
		s := serverOf(srv)
		s.TLS, s.RootCAs = mode, ca.Pool
		d := NewDialer(s)
		for i, want := range []bool{false, true, true} {
			conn, err := d.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if a := conn.Send(letter(envelope("one@example.jp"), body), nil); !a.Accepted() {
				t.Errorf("got %+v", a)
			}
			state, secure := conn.client.TLSConnectionState()
			if conn.Close(); !secure || state.DidResume != want {
				t.Errorf("%s, connection %d: secure %v, resumed %v, want %v", mode, i+1, secure, state.DidResume, want)
			}
		}
	}
}

// What one dialer trusted is nothing to another.
func TestEachDialerTrustsForItself(t *testing.T) {
	ca, other := mailtest.NewCA(t), mailtest.NewCA(t)
	srv := mailtest.NewSMTP(t, mailtest.Script{TLS: ca.Config(t)})
	s := serverOf(srv)
	s.TLS, s.RootCAs = StartTLS, ca.Pool
	dial(t, s)
	s.RootCAs = other.Pool
	if _, err := NewDialer(s).Dial(t.Context()); err == nil {
		t.Error("a certificate of an unknown issuer was taken")
	}
}

func TestLimits(t *testing.T) {
	for param, want := range map[string]Limits{
		"":                                        {},
		"MAILMAX=20 RCPTMAX=100 RCPTDOMAINMAX=1":  {20, 100, 1},
		"mailmax=3":                               {MailMax: 3},
		"MAILMAX=7 MAILMAX=5 MAILMAX=9":           {MailMax: 5},
		"MAILMAX=0 RCPTMAX=01 RCPTDOMAINMAX=-1":   {},
		"MAILMAX= MAILMAX MAILMAX=a MAILMAX=1e3":  {},
		"MAILMAX=1234567 RCPTMAX=999999":          {RcptMax: 999999},
		"MAILMAX=\xff FUTURE=12 =5 MAILMAX=5=5 ,": {},
	} {
		if got := parseLimits(param); got != want {
			t.Errorf("LIMITS %q: %+v, want %+v", param, got, want)
		}
	}
}

func FuzzLimits(f *testing.F) {
	f.Add("MAILMAX=20 RCPTMAX=100 RCPTDOMAINMAX=1")
	f.Add("MAILMAX=-1 =")
	f.Fuzz(func(t *testing.T, param string) {
		if l := parseLimits(param); min(l.MailMax, l.RcptMax, l.RcptDomainMax) < 0 || max(l.MailMax, l.RcptMax, l.RcptDomainMax) > 999999 {
			t.Errorf("LIMITS %q: %+v", param, l)
		}
	})
}

// A connection has done its share at the lower of our number and the relay's.
func TestFull(t *testing.T) {
	for _, c := range []struct {
		limits  string
		perConn int
		full    int // after so many messages; 0: never
	}{
		{"", 0, 0}, {"", 2, 2}, {"LIMITS MAILMAX=2", 0, 2}, {"LIMITS MAILMAX=2", 1, 1}, {"LIMITS MAILMAX=1", 2, 1}, {"LIMITS MAILMAX=x RCPTMAX=1", 0, 0}, {"LIMITS", 0, 0},
	} {
		srv := mailtest.NewSMTP(t, mailtest.Script{Keywords: []string{"PIPELINING", c.limits}})
		s := serverOf(srv)
		s.PerConn = c.perConn
		conn := dial(t, s)
		for n := range 4 {
			if want := c.full > 0 && n >= c.full; conn.Full() != want {
				t.Errorf("%q and %d a connection: after %d messages full is %v", c.limits, c.perConn, n, conn.Full())
			}
			if a := conn.Send(letter(envelope(fmt.Sprintf("u%d@example.jp", n)), body), nil); !a.Accepted() {
				t.Fatalf("got %+v", a)
			}
		}
	}
}
