package doctor_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"mailer/internal/doctor"
	"mailer/internal/mailtest"
	"mailer/internal/resolver"
	"mailer/internal/zone"
)

// A reason is told once, and what is not printed tells nothing.
func TestBriefly(t *testing.T) {
	const rule = "Gmail wants it. Others do, too."
	in := []doctor.Finding{
		{Check: "spf", Level: doctor.Fail, Why: "SPF says who may send. " + rule},
		{Check: "dkim", Level: doctor.Warn, Why: rule},
		{Check: "dmarc", Level: doctor.Warn, Why: "It is the sum. " + rule},
		{Check: "bimi", Level: doctor.Info, Why: "It shows a logo."},
		{Check: "logo", Level: doctor.Unknown, Why: "It shows a logo."},
		{Check: "disk", Level: doctor.Warn},
	}
	want := []string{"SPF says who may send. " + rule, "See spf above.", "It is the sum. See also spf above.", "It shows a logo.", "It shows a logo.", ""}
	for i, f := range doctor.Briefly(in) {
		if f.Why != want[i] {
			t.Errorf("%s: %q, want %q", f.Check, f.Why, want[i])
		}
	}
	if in[1].Why != rule {
		t.Errorf("the finding itself was changed: %q", in[1].Why)
	}
}

// Of a provider of mailboxes nobody but itself publishes records.
func TestFreemailHasNothingToPublish(t *testing.T) {
	for host, want := range map[string]doctor.Level{"smtp.example.net": doctor.Fail, "smtp.gmail.com": doctor.Warn, "smtp.notgmail.com": doctor.Fail, "": doctor.Fail} {
		d := doctor.Domain{From: "gmail.com", Envelope: "gmail.com", Resolver: deaf{}, OneClick: "http://example.com"}
		if host != "" {
			d.Relays = []doctor.Relay{{Name: "main", Host: host}}
		}
		for _, f := range d.Check(t.Context()) {
			switch f.Check {
			case "freemail":
				if f.Level != want || f.Own != (want == doctor.Fail) {
					t.Errorf("through %q: %+v", host, f)
				}
			case "blocklist", "one_click":
			default:
				t.Errorf("through %q: %s is asked about: %s", host, f.Check, f.Found)
			}
		}
	}
}

// What stands in the advice is what the reader is to do: not to try again where all was answered.
func TestAdviceFitsWhatWasFound(t *testing.T) {
	s := mailtest.NewNameserver(t)
	if err := s.Zone("kiku-shop.jp", "@ IN MX 10 mx\nmx IN A 192.0.2.10\n_dmarc IN TXT \"v=DMARC1; p=none\"\n"); err != nil {
		t.Fatal(err)
	}
	for _, z := range []string{"jp", "arpa", "org", "com"} {
		if err := s.Zone(z, ""); err != nil {
			t.Fatal(err)
		}
	}
	r, err := resolver.New(resolver.Options{Servers: []string{s.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	d := doctor.Domain{From: "kiku-shop.jp", Envelope: "kiku-shop.jp", Resolver: r, Relays: []doctor.Relay{{Name: "--ip", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.99")}}}}
	seen := map[string]bool{}
	for _, f := range d.Check(t.Context()) {
		seen[f.Check] = true
		if strings.Contains(f.Found, "relay --ip") {
			t.Errorf("%s: a flag is no relay: %s", f.Check, f.Found)
		}
		switch f.Check {
		case "dmarc_alignment":
			if f.Level != doctor.Unknown || strings.Contains(f.Do, "Nothing is known to be wrong") || !strings.Contains(strings.Join(f.Detail, " "), "there is no SPF record") {
				t.Errorf("%+v", f)
			}
		case "mta_sts", "tls_rpt", "bimi":
			if f.Level != doctor.Info || !strings.Contains(f.Found, "not needed for sending") {
				t.Errorf("a record that nobody needs is missed: %+v", f)
			}
		}
	}
	for _, check := range []string{"ptr", "dmarc_alignment", "mta_sts", "tls_rpt", "bimi"} {
		if !seen[check] {
			t.Errorf("%s was not looked at", check)
		}
	}
}

// A return path that is aligned already is not to be taken anew.
func TestAlignedReturnPathIsNotBlamed(t *testing.T) {
	s := mailtest.NewNameserver(t)
	if err := s.Zone("jp", "kiku-shop IN MX 10 mx.kiku-shop\nmx.kiku-shop IN A 192.0.2.10\n_dmarc.kiku-shop IN TXT \"v=DMARC1; p=none\"\n"); err != nil {
		t.Fatal(err)
	}
	r, err := resolver.New(resolver.Options{Servers: []string{s.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	for envelope, want := range map[string]string{"kiku-shop.jp": "mend the SPF record", "bounces.jp": "take a return path in kiku-shop.jp"} {
		d := doctor.Domain{From: "kiku-shop.jp", Envelope: envelope, Resolver: r, Keys: []doctor.Key{{Domain: "kiku-shop.jp", Selector: "s1"}}}
		found := false
		for _, f := range d.Check(t.Context()) {
			if f.Check == "dmarc_alignment" {
				found = f.Level == doctor.Fail && strings.Contains(f.Do, want)
			}
		}
		if !found {
			t.Errorf("return path in %s: want %q", envelope, want)
		}
	}
}

// Errors that were joined are told in a sentence.
func TestJoinedErrorsAreTold(t *testing.T) {
	d := doctor.Domain{From: "kiku-shop.jp", Envelope: "kiku-shop.jp", Resolver: deaf{}}
	for _, f := range d.Check(t.Context()) {
		if strings.Contains(f.Found, "\n") || f.Check == "dmarc" && !strings.Contains(f.Found, "one is silent; the other is silent") {
			t.Errorf("%s: %q", f.Check, f.Found)
		}
	}
}

type deaf struct{}

func (deaf) Lookup(_ context.Context, name string, t zone.Type) zone.Answer {
	return zone.Answer{Name: name, Type: t, State: zone.Unknown, Err: errors.Join(errors.New("one is silent"), errors.New("the other is silent"))}
}

// The workspace's findings are read among others: whole sentences, but for what is to be copied.
func TestWorkspaceSpeaksInSentences(t *testing.T) {
	all := doctor.Workspace(doctor.WorkspaceFacts{Dir: "/news", Secrets: []doctor.Secret{{Key: "relays.main", Plain: true}},
		Files: []doctor.File{{Path: "/news/mailer.db", Holds: "the database", Mode: 0o644}}})
	for _, f := range all {
		for _, text := range []string{f.Found, f.Why} {
			if r, _ := utf8.DecodeRuneInString(text); text != "" && (!unicode.IsUpper(r) || !strings.HasSuffix(text, ".")) {
				t.Errorf("%s: %q", f.Check, text)
			}
		}
		if f.Check == "files" && !strings.HasPrefix(f.Do, "chmod 600 ") {
			t.Errorf("%q", f.Do)
		}
	}
	if len(all) < 2 {
		t.Errorf("%+v", all)
	}
}
