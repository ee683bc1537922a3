package zone_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"mailer/internal/zone"
)

// answers are those of a resolver, by "TYPE name"; what is in none does not exist.
type answers map[string]zone.Answer

func (a answers) Lookup(_ context.Context, name string, t zone.Type) zone.Answer {
	if found, ok := a[string(t)+" "+name]; ok {
		return found
	}
	return zone.Answer{Name: name, Type: t, State: zone.Missing}
}

func TestReceives(t *testing.T) {
	mx := func(hosts ...string) zone.Answer {
		a := zone.Answer{State: zone.Found}
		for _, h := range hosts {
			a.Records = append(a.Records, zone.Record{Host: h})
		}
		return a
	}
	ip := zone.Answer{State: zone.Found, Records: []zone.Record{{IP: netip.MustParseAddr("192.0.2.1")}}}
	empty, unknown := zone.Answer{State: zone.Empty}, zone.Answer{Err: errors.New("SERVFAIL")}
	r := answers{
		"MX good.example": mx("gone.example", "mail.example"), "A mail.example": ip,
		"MX six.example": mx("six.mail.example"), "A six.mail.example": empty, "AAAA six.mail.example": ip,
		"MX null.example": mx(""), "MX dangling.example": mx("gone.example"),
		"MX alone.example": empty, "A alone.example": ip,
		"MX nothing.example": empty, "A nothing.example": empty, "AAAA nothing.example": empty,
		"MX broken.example": unknown, "MX half.example": mx("gone.example", "slow.example"), "A slow.example": unknown, "AAAA slow.example": empty,
		"MX silent.example": {}, "MX bare.example": empty, "A bare.example": unknown,
	}
	for domain, want := range map[string]zone.Mailbox{
		"good.example": zone.Exchanged, "six.example": zone.Exchanged, "null.example": zone.NullMX, "dangling.example": zone.Dangling, "alone.example": zone.Implicit,
		"nothing.example": zone.Nowhere, "gone.example": zone.Absent, "broken.example": zone.Unclear, "half.example": zone.Unclear,
		"silent.example": zone.Unclear, "bare.example": zone.Unclear,
	} {
		got, _, err := zone.Receives(t.Context(), r, domain)
		if got != want || (err != nil) != (want == zone.Unclear) {
			t.Errorf("%s: %v (%s), %v", domain, got, got.Words(), err)
		}
		if dead := want == zone.NullMX || want == zone.Dangling || want == zone.Nowhere || want == zone.Absent; got.Dead() != dead {
			t.Errorf("%s is dead: %v", domain, got.Dead())
		}
	}
}

// slow answers when its context ends, and says nothing then.
type slow struct{ asked atomic.Int64 }

func (s *slow) Lookup(ctx context.Context, name string, t zone.Type) zone.Answer {
	s.asked.Add(1)
	<-ctx.Done()
	return zone.Answer{Err: ctx.Err()}
}

func TestReceivesEachIsBounded(t *testing.T) {
	var domains []string
	for i := range 500 {
		domains = append(domains, fmt.Sprintf("d%d.example", i))
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	s := &slow{}
	for i, m := range zone.ReceivesEach(ctx, s, domains) {
		if m != zone.Unclear {
			t.Fatalf("%s: %v", domains[i], m)
		}
	}
	if n := s.asked.Load(); n == 0 || n > 100 {
		t.Errorf("%d questions", n)
	}
	got := zone.ReceivesEach(t.Context(), answers{}, domains)
	for i := range got {
		if got[i] != zone.Absent {
			t.Fatalf("%s: %v", domains[i], got[i])
		}
	}
	if len(zone.ReceivesEach(t.Context(), answers{}, nil)) != 0 {
		t.Error("of no domain something is known")
	}
}
