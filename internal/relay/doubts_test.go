package relay

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestDoubts(t *testing.T) {
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	good := func() (Profile, Use) {
		return Profile{Hello: "client.example.com", Login: "PLAIN", Pipelined: true, Offers: []Offer{{Name: "PIPELINING"}, {Name: "DSN"}}, Size: 10 << 20,
			Security: &Security{Expires: now.Add(60 * 24 * time.Hour)}}, Use{Connections: 10}
	}
	for _, c := range []struct {
		change func(*Profile, *Use)
		want   string
	}{
		{func(*Profile, *Use) {}, ""},
		{func(p *Profile, _ *Use) { p.Security = nil }, "tls login"},
		{func(p *Profile, _ *Use) { p.Security, p.Login = nil, "CRAM-MD5" }, "tls"},
		{func(p *Profile, _ *Use) { p.Security, p.Loopback = nil, true }, ""},
		{func(p *Profile, _ *Use) { p.Security.Doubt = errors.New("x") }, "certificate"},
		{func(p *Profile, _ *Use) { p.Security.Expires = now.Add(24 * time.Hour) }, "expiry"},
		{func(p *Profile, _ *Use) { p.Offers, p.Pipelined = []Offer{{Name: "DSN"}}, false }, "pipelining"},
		{func(p *Profile, _ *Use) { p.Pipelined = false }, "pipelining"},
		{func(p *Profile, _ *Use) { p.Offers = p.Offers[:1] }, "dsn"},
		{func(p *Profile, _ *Use) { p.Size = 1<<20 - 1 }, "size"},
		{func(p *Profile, _ *Use) { p.Size = 0 }, ""},
		{func(p *Profile, _ *Use) { p.Hello = "[192.0.2.1]" }, "hello"},
		{func(p *Profile, _ *Use) { p.Hello = "localhost." }, "hello"},
		{func(p *Profile, _ *Use) { p.Hello, p.Loopback = "[127.0.0.1]", true }, ""},
		{func(p *Profile, r *Use) { p.Hello, r.Hello, p.Loopback = "box", "box", true }, "hello"},
		{func(p *Profile, _ *Use) { p.AgainErr = errors.New("421 one") }, "connections"},
		{func(p *Profile, r *Use) { p.AgainErr, r.Connections = errors.New("421 one"), 1 }, ""},
	} {
		p, use := good()
		c.change(&p, &use)
		var got []string
		for _, w := range p.Doubts(use, now) {
			got = append(got, w.Rule)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v, hello %q: warned of %v, want %q", p, use.Hello, got, c.want)
		}
	}
}
