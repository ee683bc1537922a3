package resolver

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"mailer/internal/mailtest"
	"mailer/internal/zone"
)

// What Windows has in place of /etc/resolv.conf, with Go's own questions led to a server of the test.
func TestSystem(t *testing.T) {
	s := mailtest.NewNameserver(t)
	for _, err := range []error{
		s.Zone("example.com", `
@    IN MX 10 mail
@    IN NS ns
@    IN TXT "v=spf1 " "-all"
mail IN A 192.0.2.1
     IN AAAA 2001:db8::1
www  IN CNAME mail
null IN MX 0 .
broken IN A 192.0.2.2
`), s.Zone("2.0.192.in-addr.arpa", "1 IN PTR mail.example.com.\n"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Fail("broken.example.com", mailtest.ServFail)
	r, err := New(Options{Servers: []string{s.Addr()}, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r.servers, r.system = nil, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.Addr())
	}}
	for _, c := range []struct {
		name  string
		t     zone.Type
		state zone.State
		first string
	}{
		{"example.com", zone.TXT, zone.Found, "v=spf1 -all"},
		{"example.com", zone.MX, zone.Found, "mail.example.com"},
		{"example.com", zone.NS, zone.Found, "ns.example.com"},
		{"null.example.com", zone.MX, zone.Found, ""},
		{"mail.example.com", zone.A, zone.Found, "192.0.2.1"},
		{"mail.example.com", zone.AAAA, zone.Found, "2001:db8::1"},
		{"www.example.com", zone.A, zone.Found, "192.0.2.1"},
		{"www.example.com", zone.CNAME, zone.Found, "mail.example.com"},
		{"mail.example.com", zone.CNAME, zone.Empty, ""},
		{"1.2.0.192.in-addr.arpa", zone.PTR, zone.Found, "mail.example.com"},
		{"9.2.0.192.in-addr.arpa", zone.PTR, zone.Empty, ""},
		{"none.example.com", zone.TXT, zone.Empty, ""},
		{"broken.example.com", zone.TXT, zone.Unknown, ""},
		{"example.com", zone.SOA, zone.Unknown, ""},
	} {
		a := r.Lookup(t.Context(), c.name, c.t)
		if a.State != c.state || (a.Err != nil) != (c.state == zone.Unknown) {
			t.Errorf("%s %s: %+v, want state %d", c.name, c.t, a, c.state)
			continue
		}
		if c.first == "" {
			continue
		}
		if rec := a.Records[0]; !slices.Contains([]string{rec.Text, rec.Host, rec.IP.String()}, c.first) {
			t.Errorf("%s %s: %+v, want %s", c.name, c.t, rec, c.first)
		}
	}
}
