package doctor

import (
	"math/rand/v2"
	"strings"
	"testing"

	"mailer/internal/mailtest"
	"mailer/internal/resolver"
	"mailer/internal/spf"
)

// Whatever is there, what is to be published is one record that can be read, ends in all or redirect, and has what was to be added.
func TestMendedRecordsAreSound(t *testing.T) {
	words := []string{"ip4:192.0.2.1", "192.0.2.7", "ipv4:192.0.2.8", "a", "mx:mail.example.com", "include:i.example.com", "include:gone.example.com", "include:example.com",
		"ptr", "~all", "-all", "?all", "+all", "redirect=i.example.com", "exp=x.example.com", "foo", "ip4:1.2.3", "IP4:192.0.2.1", "exists:%{i}.example.com"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		s := mailtest.NewNameserver(t)
		zone := "i IN TXT \"v=spf1 ip4:192.0.2.99 -all\"\nmail IN A 192.0.2.5\n@ IN A 192.0.2.6\n"
		for range 1 + r.IntN(2) {
			record := []string{"v=spf1"}
			for range r.IntN(6) {
				record = append(record, words[r.IntN(len(words))])
			}
			zone += "@ IN TXT \"" + strings.Join(record, " ") + "\"\n"
		}
		if err := s.Zone("example.com", zone); err != nil {
			t.Fatal(err)
		}
		ns, err := resolver.New(resolver.Options{Servers: []string{s.Addr()}})
		if err != nil {
			t.Fatal(err)
		}
		tree := spf.Inspect(t.Context(), ns, "example.com")
		d := &Domain{Resolver: ns, From: "example.com", Envelope: "example.com"}
		value, _ := d.mended(t.Context(), tree, []string{"ip4:198.51.100.1", "include:i.example.com"})
		got, err := spf.Parse(value)
		if err != nil || !strings.Contains(value, "ip4:198.51.100.1") || !strings.Contains(value, "include:i.example.com") {
			t.Fatalf("%s\nmended: %s (%v)", zone, value, err)
		}
		ends, last := 0, got.Terms[len(got.Terms)-1]
		for _, term := range got.Terms {
			if term.Name == "all" || term.Name == "redirect" {
				ends++
			}
		}
		if ends != 1 || last.Name != "all" && last.Name != "redirect" || strings.Contains(value, "gone.example.com") || strings.Contains(value, "include:example.com") {
			t.Fatalf("%s\nmended: %s", zone, value)
		}
	}
}
