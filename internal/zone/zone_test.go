package zone

import (
	"net/netip"
	"testing"
	"time"
)

func TestReverse(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.105":        "105.2.0.192.in-addr.arpa",
		"::ffff:192.0.2.10":  "10.2.0.192.in-addr.arpa",
		"2001:db8::567:89ab": "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := Reverse(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
}

func TestTextsWantsAWholeTag(t *testing.T) {
	a := Answer{Records: []Record{{Text: "v=spf1 -all"}, {Text: "v=spf10 -all"}, {Text: "V=SPF1"}, {Text: "other"}, {Text: "v=spf1;x", TTL: time.Second}}}
	if got := len(a.Texts("v=spf1")); got != 3 {
		t.Errorf("%d records, want 3", got)
	}
}
