package resolver_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailer/internal/mailtest"
	"mailer/internal/resolver"
	"mailer/internal/zone"
)

func TestLookup(t *testing.T) {
	s := mailtest.NewNameserver(t)
	if err := s.Zone("example.com", `
@     IN MX 10 mail
mail  IN A 192.0.2.1
      IN AAAA 2001:db8::1
@     IN TXT "v=spf1 " "-all"
www   IN CNAME web.example.net.
null  IN MX 0 .
a.b   IN A 192.0.2.2
*.wild IN TXT "any"
lost   IN A 192.0.2.4
forged IN A 192.0.2.5
old    IN A 192.0.2.6
odd    IN TXT "a\"b\\c\195\164"
circle IN CNAME circle2
circle2 IN CNAME circle
far    IN CNAME there.far.test.
lone   IN CNAME nowhere.invalid.
xn--bcher-kva IN A 192.0.2.7
_dmarc.xn--bcher-kva IN TXT "v=DMARC1"
a\ b  IN A 192.0.2.8
`); err != nil {
		t.Fatal(err)
	}
	if err := s.Zone("example.net", "web IN A 192.0.2.3\n"); err != nil {
		t.Fatal(err)
	}
	s.Fail("broken.example.com", mailtest.ServFail)
	s.Fail("refused.example.com", mailtest.Refused)
	s.Fail("silent.example.com", mailtest.Silent)
	s.Fail("other.example.com", mailtest.WrongName)
	s.Fail("mail.example.com", mailtest.CutOnUDP)
	s.Fail("lost.example.com", mailtest.LostOnce)
	s.Fail("forged.example.com", mailtest.WrongID)
	s.Fail("old.example.com", mailtest.NoEDNS)
	s.Fail("referral.example.com", mailtest.Referral)
	r, err := resolver.New(resolver.Options{Servers: []string{s.Addr()}, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		t     zone.Type
		state zone.State
		first string
	}{
		{"Example.COM.", zone.TXT, zone.Found, "v=spf1 -all"},
		{"example.com", zone.MX, zone.Found, "mail.example.com"},
		{"mail.example.com", zone.A, zone.Found, "192.0.2.1"},
		{"mail.example.com", zone.AAAA, zone.Found, "2001:db8::1"},
		{"mail.example.com", zone.TXT, zone.Empty, ""},
		{"www.example.com", zone.A, zone.Found, "192.0.2.3"},
		{"null.example.com", zone.MX, zone.Found, ""},
		{"b.example.com", zone.A, zone.Empty, ""}, // an empty non-terminal exists
		{"none.example.com", zone.A, zone.Missing, ""},
		{"x.wild.example.com", zone.TXT, zone.Found, "any"},
		{"lost.example.com", zone.A, zone.Found, "192.0.2.4"},
		{"forged.example.com", zone.A, zone.Found, "192.0.2.5"},
		{"old.example.com", zone.A, zone.Found, "192.0.2.6"},
		{"odd.example.com", zone.TXT, zone.Found, "a\"b\\cä"},
		{"bücher.example.com", zone.A, zone.Found, "192.0.2.7"},
		{"_dmarc.BÜCHER。example．com", zone.TXT, zone.Found, "v=DMARC1"},
		{"a b.example.com", zone.A, zone.Found, "192.0.2.8"},
		{"circle.example.com", zone.A, zone.Unknown, ""},
		{"lone.example.com", zone.A, zone.Unknown, ""},
		{"referral.example.com", zone.A, zone.Unknown, ""},
		{"broken.example.com", zone.A, zone.Unknown, ""},
		{"refused.example.com", zone.A, zone.Unknown, ""},
		{"silent.example.com", zone.A, zone.Unknown, ""},
		{"other.example.com", zone.A, zone.Unknown, ""},
		{"example.org", zone.A, zone.Unknown, ""},
	} {
		a := r.Lookup(t.Context(), c.name, c.t)
		if a.State != c.state || (a.Err != nil) != (c.state == zone.Unknown) {
			t.Errorf("%s %s: state %d, error %v; want state %d", c.name, c.t, a.State, a.Err, c.state)
		}
		if c.first == "" || len(a.Records) == 0 {
			continue
		}
		if rec := a.Records[0]; !slices.Contains([]string{rec.Text, rec.Host, rec.IP.String()}, c.first) {
			t.Errorf("%s %s: %+v, want %s", c.name, c.t, rec, c.first)
		}
	}
	before := len(s.Asked())
	r.Lookup(t.Context(), "EXAMPLE.com", zone.TXT)
	if after := len(s.Asked()); after != before {
		t.Errorf("an answer that is known was asked for again")
	}
}

func TestNamesThatAreNone(t *testing.T) {
	s := mailtest.NewNameserver(t)
	r, err := resolver.New(resolver.Options{Servers: []string{s.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "a..example.com", strings.Repeat("a", 64) + ".example.com", strings.Repeat("abcdefg.", 32) + "com", "a\u0000ü.com"} {
		if a := r.Lookup(t.Context(), name, zone.A); a.State != zone.Missing {
			t.Errorf("%q: %+v", name, a)
		}
	}
	if asked := s.Asked(); len(asked) > 0 {
		t.Errorf("asked for %v", asked)
	}
}

func TestAnotherServerIsAsked(t *testing.T) {
	dead, refuses, good := mailtest.NewNameserver(t), mailtest.NewNameserver(t), mailtest.NewNameserver(t)
	dead.Fail("*.example.com", mailtest.Silent)
	if err := good.Zone("example.com", "a IN A 192.0.2.1\nb IN A 192.0.2.2\n"); err != nil {
		t.Fatal(err)
	}
	r, err := resolver.New(resolver.Options{Servers: []string{dead.Addr(), refuses.Addr(), good.Addr()}, Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.example.com", "b.example.com"} {
		if a := r.Lookup(t.Context(), name, zone.A); a.State != zone.Found || a.Server != good.Addr() {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if n := len(dead.Asked()); n != 1 {
		t.Errorf("the dead server was asked %d times, want once: the one that answered comes first", n)
	}
}

// To keep a check that has two seconds from taking four.
func TestLookupEndsWithItsContext(t *testing.T) {
	s := mailtest.NewNameserver(t)
	s.Fail("a.example.com", mailtest.Silent)
	r, err := resolver.New(resolver.Options{Servers: []string{s.Addr()}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for name, end := range map[string]func() (context.Context, context.CancelFunc){
		"deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 50*time.Millisecond)
		},
		"cancel": func() (context.Context, context.CancelFunc) {
			ctx, stop := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, stop)
			return ctx, stop
		},
	} {
		ctx, stop := end()
		if a := r.Lookup(ctx, "a.example.com", zone.A); a.State != zone.Unknown || a.Err == nil {
			t.Errorf("%s: %+v", name, a)
		}
		stop()
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	// Whoever has time left is not answered by the one who had none.
	s.Fail("a.example.com", 0)
	if err := s.Zone("example.com", "a IN A 192.0.2.1\n"); err != nil {
		t.Fatal(err)
	}
	if a := r.Lookup(t.Context(), "a.example.com", zone.A); a.State != zone.Found {
		t.Errorf("asked again: %+v", a)
	}
}

func TestOneQuestionForMany(t *testing.T) {
	s := mailtest.NewNameserver(t)
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "n%d IN A 192.0.2.%d\n", i, i)
	}
	if err := s.Zone("example.com", text.String()); err != nil {
		t.Fatal(err)
	}
	r, err := resolver.New(resolver.Options{Servers: []string{s.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			name := fmt.Sprintf("n%d.example.com", i%100)
			if a := r.Lookup(t.Context(), name, zone.A); a.State != zone.Found || a.Records[0].IP.As4()[3] != byte(i%100) {
				t.Errorf("%s: %+v", name, a)
			}
		})
	}
	all.Wait()
	if n := len(s.Asked()); n != 100 {
		t.Errorf("%d questions, want 100", n)
	}
}

// A zone that a cache remembers otherwise, with servers that are lame, broken or have no address.
func TestAuthoritative(t *testing.T) {
	s := mailtest.NewNameserver(t)
	ns := "@ IN NS ns0\n@ IN NS ns1\n@ IN NS ns2\nns1 IN A 127.0.0.1\nns2 IN A 127.0.0.1\n"
	for _, add := range []error{
		s.Cache("example.com", ns+"old 900 IN TXT \"old\"\nout IN CNAME there.example.org.\n"),
		s.Zone("example.com", ns+"old 60 IN TXT \"new\"\nout IN CNAME there.example.org.\nbroken IN A 192.0.2.1\nlame IN A 192.0.2.2\n"),
		s.Cache("example.org", ns),
		s.Zone("example.org", ns+"there IN A 192.0.2.9\n"),
	} {
		if add != nil {
			t.Fatal(add)
		}
	}
	s.Fail("broken.example.com", mailtest.ServFail)
	s.Fail("child.example.com", mailtest.Referral)
	s.Fail("lame.example.com", mailtest.LameOnce)
	r, err := resolver.New(resolver.Options{Servers: []string{s.Addr()}, Timeout: time.Second, Authoritative: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, first string
		t           zone.Type
		state       zone.State
	}{
		{"old.example.com", "new", zone.TXT, zone.Found},
		{"out.example.com", "192.0.2.9", zone.A, zone.Found},  // the target's own servers are asked
		{"lame.example.com", "192.0.2.2", zone.A, zone.Found}, // the second server has it
		{"none.example.com", "", zone.A, zone.Missing},
		{"old.example.com", "", zone.A, zone.Empty},
		{"broken.example.com", "", zone.A, zone.Unknown},
		{"child.example.com", "", zone.A, zone.Unknown},
		{"example.invalid", "", zone.A, zone.Unknown},
	} {
		a := r.Lookup(t.Context(), c.name, c.t)
		if a.State != c.state || (a.Err != nil) != (c.state == zone.Unknown) {
			t.Errorf("%s %s: %+v", c.name, c.t, a)
			continue
		}
		if c.first != "" && a.Records[0].Text != c.first && a.Records[0].IP.String() != c.first {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
	if a := r.Lookup(t.Context(), "old.example.com", zone.TXT); a.Server != "ns1.example.com (127.0.0.1)" || a.TTL() != time.Minute {
		t.Errorf("server %q, TTL %s", a.Server, a.TTL())
	}
}
