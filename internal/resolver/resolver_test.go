package resolver_test

import (
	"slices"
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
