package zone

import (
	"net/netip"
	"strings"
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
		if back, ok := Unreverse(want + "."); !ok || back != netip.MustParseAddr(ip).Unmap() {
			t.Errorf("%s: back to %s", want, back)
		}
	}
	for _, name := range []string{"example.com", "1.2.in-addr.arpa", "x.2.0.192.in-addr.arpa", "1.ip6.arpa", strings.Repeat("g.", 32) + "ip6.arpa",
		strings.Repeat("10.", 32) + "ip6.arpa", strings.Repeat(".", 32) + "ip6.arpa"} {
		if ip, ok := Unreverse(name); ok {
			t.Errorf("%s: %s", name, ip)
		}
	}
}

func TestServer(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.53": "192.0.2.53:53", "192.0.2.53:5353": "192.0.2.53:5353", "2001:db8::53": "[2001:db8::53]:53", "[2001:db8::53]": "[2001:db8::53]:53",
		"[2001:db8::53]:99": "[2001:db8::53]:99", "fe80::1%eth0": "[fe80::1%eth0]:53", "dns.example": "", "192.0.2.53:0": "", "": "", "192.0.2.53:x": "",
	} {
		got, err := Server(text)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("%q: %s, %v; want %q", text, got, err, want)
		}
	}
}

func TestTextsWantsAWholeTag(t *testing.T) {
	a := Answer{Records: []Record{{Text: "v=spf1 -all"}, {Text: "v=spf10 -all"}, {Text: "V=SPF1"}, {Text: "other"}, {Text: "v=spf1;x", TTL: time.Second}}}
	if got := len(a.Texts("v=spf1")); got != 3 {
		t.Errorf("%d records, want 3", got)
	}
}
