package main

import (
	"testing"

	"mailer/internal/doctor"

	"github.com/miekg/dns"
)

// What is shown for a zone file is read there as what was meant.
func TestZoneLines(t *testing.T) {
	for _, c := range []struct{ kind, value, want string }{
		{"MX", "10 mail.kiku.jp", "kiku.jp.\t300\tIN\tMX\t10 mail.kiku.jp."},
		{"CNAME", "links.service.com", "kiku.jp.\t300\tIN\tCNAME\tlinks.service.com."},
		{"PTR", "mail.kiku.jp.", "kiku.jp.\t300\tIN\tPTR\tmail.kiku.jp."},
		{"A", "192.0.2.1", "kiku.jp.\t300\tIN\tA\t192.0.2.1"},
		{"TXT", `v=DMARC1; p=none; n="x\y"`, `kiku.jp.` + "\t300\tIN\tTXT\t" + `"v=DMARC1; p=none; n=\"x\\y\""`},
	} {
		rr, err := dns.NewRR("$ORIGIN zone.jp.\n$TTL 300\n" + zoneLines(doctor.Record{Name: "kiku.jp", Type: c.kind, Value: c.value}) + "\n")
		if err != nil || rr.String() != c.want {
			t.Errorf("%s %q: %v, %v; want %s", c.kind, c.value, rr, err, c.want)
		}
	}
}
