package doctor_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/doctor"
	"mailer/internal/mailtest"
	"mailer/internal/resolver"
	"mailer/internal/zone"
)

func preflightOf(t *testing.T, zone string, d doctor.Domain, faults map[string]mailtest.Fault) (doctor.Asked, time.Duration) {
	t.Helper()
	ns := mailtest.NewNameserver(t)
	for origin, text := range map[string]string{"kiku.jp": expandKeys(t, zone), "jp": "", "com": "", "google.com": "@ IN MX 10 mx\nmx IN A 198.51.100.1\n@ IN TXT \"v=spf1 include:_spf.google.com -all\"\n_spf IN TXT \"v=spf1 ip4:198.51.100.0/24 -all\"\n"} {
		if err := ns.Zone(origin, text); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range faults {
		ns.Fail(name, f)
	}
	r, err := resolver.New(resolver.Options{Servers: []string{ns.Addr()}, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	d.Resolver, d.From = r, cmp.Or(d.From, "kiku.jp")
	if d.Envelope == "" {
		d.Envelope = d.From
	}
	began := time.Now()
	asked := d.Preflight(t.Context())
	return asked, time.Since(began)
}

// What stops a send is a failure of our own; what is somebody else's, or not known, does not.
func TestPreflight(t *testing.T) {
	const (
		mx    = "@ IN MX 10 mx\nmx IN A 192.0.2.9\n"
		spf   = "@ IN TXT \"v=spf1 include:_spf.google.com -all\"\n"
		right = "s1._domainkey IN TXT {{record rsa2048}}\n"
		dmarc = "_dmarc IN TXT \"v=DMARC1; p=reject; rua=mailto:d@kiku.jp\"\n"
	)
	rsa := []doctor.Key{{Domain: "kiku.jp", Selector: "s1", Private: examKey(t, "rsa2048")}}
	google := []doctor.Relay{{Name: "main", Host: "smtp.gmail.com"}}
	unknown := []doctor.Relay{{Name: "main", Host: "smtp.kiku.jp"}}
	ses := []doctor.Relay{{Name: "main", Host: "email-smtp.ap-northeast-1.amazonaws.com"}}
	others := []doctor.Key{{Domain: "ume.jp", Selector: "s1", Private: examKey(t, "rsa2048")}}
	two := append([]doctor.Key{{Domain: "kiku.jp", Selector: "s2", Private: examKey(t, "ed25519")}}, rsa...)
	eleven := "@ IN TXT \"v=spf1 ip4:192.0.2.1" + strings.Repeat(" a:a.kiku.jp", 11) + " -all\"\na IN A 192.0.2.1\n"
	for name, c := range map[string]struct {
		zone string
		d    doctor.Domain
		own  []string // checks of our own that fail
		fail []string // and of others
	}{
		"all right":                      {mx + spf + right + dmarc, doctor.Domain{Keys: rsa, Relays: google}, nil, nil},
		"another key":                    {mx + spf + "s1._domainkey IN TXT {{record other2048}}\n" + dmarc, doctor.Domain{Keys: rsa, Relays: google}, []string{"dkim_record"}, nil},
		"revoked key":                    {mx + spf + "s1._domainkey IN TXT \"v=DKIM1; p=\"\n" + dmarc, doctor.Domain{Keys: rsa, Relays: google}, []string{"dkim_record"}, nil},
		"no record":                      {mx + spf + dmarc, doctor.Domain{Keys: rsa, Relays: google}, []string{"dkim_record"}, nil},
		"key file gone":                  {mx + spf + right + dmarc, doctor.Domain{Keys: []doctor.Key{{Domain: "kiku.jp", Selector: "s1", Err: errors.New("gone")}}, Relays: google}, []string{"dkim_record"}, nil},
		"null MX":                        {"@ IN MX 0 .\n" + spf + right + dmarc, doctor.Domain{Keys: rsa, Relays: google}, []string{"from_domain"}, nil},
		"no SPF, but DKIM":               {mx + right + dmarc, doctor.Domain{Keys: rsa, Relays: google}, nil, []string{"spf"}},
		"no DMARC":                       {mx + spf + right, doctor.Domain{Keys: rsa, Relays: google}, nil, []string{"dmarc"}},
		"SPF alone":                      {mx + spf + dmarc, doctor.Domain{Relays: google}, nil, nil},
		"neither SPF nor DKIM":           {mx + dmarc, doctor.Domain{Relays: google}, []string{"authentication"}, []string{"spf", "spf"}},
		"relay not covered, no DKIM":     {mx + "@ IN TXT \"v=spf1 -all\"\n" + dmarc, doctor.Domain{Relays: google}, []string{"authentication"}, []string{"spf"}},
		"the relay may sign":             {mx + "google._domainkey IN TXT {{record rsa2048}}\n" + dmarc, doctor.Domain{Relays: google}, nil, []string{"spf"}},
		"a service of its own path":      {mx + dmarc, doctor.Domain{Relays: []doctor.Relay{{Name: "main", Host: "smtp.sendgrid.net"}}}, nil, nil},
		"unknown relay, covered perhaps": {mx + spf + dmarc, doctor.Domain{Relays: unknown}, nil, nil},
		"unknown relay, no record":       {mx + dmarc, doctor.Domain{Relays: unknown}, []string{"authentication"}, []string{"spf"}},
		"return path cannot receive":     {mx + spf + right + dmarc + "back IN MX 0 .\nback IN TXT \"v=spf1 include:_spf.google.com -all\"\n", doctor.Domain{Envelope: "back.kiku.jp", Keys: rsa, Relays: google}, []string{"envelope_mx"}, nil},
		"reject, and nothing is aligned": {mx + spf + dmarc + "_domainkey.other IN TXT x\n", doctor.Domain{Envelope: "google.com", Keys: []doctor.Key{{Domain: "google.com", Selector: "x"}}, Relays: google}, nil, []string{"dkim_alignment"}},
		"strict, and nothing is aligned": {mx + spf + "_dmarc IN TXT \"v=DMARC1; p=reject; adkim=s; rua=mailto:d@kiku.jp\"\n" + right + "_dmarc.news IN TXT \"v=DMARC1; p=reject; adkim=s; rua=mailto:d@kiku.jp\"\nnews IN MX 10 mx\n",
			doctor.Domain{From: "news.kiku.jp", Envelope: "google.com", Keys: rsa, Relays: unknown}, []string{"dmarc_alignment"}, []string{"dkim_alignment"}},
		"strict, and the service signs": {mx + spf + right + "_dmarc.news IN TXT \"v=DMARC1; p=reject; adkim=s; rua=mailto:d@kiku.jp\"\nnews IN MX 10 mx\nbounce IN MX 10 mx\n",
			doctor.Domain{From: "news.kiku.jp", Envelope: "bounce.kiku.jp", Keys: rsa, Relays: ses}, nil, []string{"dmarc_alignment"}},
		"strict, and SPF is aligned": {mx + spf + right + "_dmarc.news IN TXT \"v=DMARC1; p=reject; adkim=s; rua=mailto:d@kiku.jp\"\nnews IN MX 10 mx\n",
			doctor.Domain{From: "news.kiku.jp", Envelope: "kiku.jp", Keys: rsa, Relays: unknown}, nil, []string{"dkim_alignment"}},
		"a key for another sender only":         {mx + dmarc, doctor.Domain{Keys: others, Relays: ses}, nil, []string{"dkim_alignment"}},
		"another sender's return path":          {mx + dmarc + "zzz._domainkey IN TXT {{record rsa2048}}\n", doctor.Domain{Envelope: "google.com", Keys: others, Relays: ses}, nil, []string{"dkim_alignment"}},
		"a second key without a record":         {mx + spf + right + dmarc, doctor.Domain{Keys: two, Relays: google}, nil, []string{"dkim_record"}},
		"only the second key has its record":    {mx + spf + "s2._domainkey IN TXT {{record ed25519}}\n" + dmarc, doctor.Domain{Keys: two, Relays: google}, []string{"dkim_record"}, nil},
		"a test key, and SPF is not aligned":    {mx + "s1._domainkey IN TXT \"v=DKIM1; t=y; p={{public rsa2048 0 200}}\" \"{{public rsa2048 200 999}}\"\n" + dmarc, doctor.Domain{Envelope: "google.com", Keys: rsa, Relays: ses}, nil, nil},
		"signed under a name that nobody knows": {mx + dmarc + "zzz._domainkey IN TXT {{record rsa2048}}\n", doctor.Domain{Relays: unknown}, nil, []string{"spf"}},
		"too many lookups, the relay first":     {mx + eleven + dmarc, doctor.Domain{Relays: unknown}, nil, []string{"spf"}},
		"everybody may send":                    {mx + "@ IN TXT \"v=spf1 +all\"\n" + dmarc, doctor.Domain{Relays: unknown}, nil, []string{"spf"}},
		"Mailgun":                               {mx + "@ IN TXT \"v=spf1 mx -all\"\n" + dmarc, doctor.Domain{Relays: []doctor.Relay{{Name: "main", Host: "smtp.eu.mailgun.org"}}}, nil, nil},
		"p=none only":                           {mx + spf + right + "_dmarc IN TXT \"v=DMARC1; p=none\"\n", doctor.Domain{Keys: rsa, Relays: google}, nil, nil},
		"a key behind a CNAME":                  {mx + spf + "s1._domainkey IN CNAME key.elsewhere\nkey.elsewhere IN TXT {{record rsa2048}}\n" + dmarc, doctor.Domain{Keys: rsa, Relays: google}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			asked, _ := preflightOf(t, c.zone, c.d, nil)
			if asked.Silent != "" {
				t.Fatalf("silent: %s", asked.Silent)
			}
			var own, fail []string
			for _, f := range asked.Findings {
				switch {
				case f.Level != doctor.Fail:
				case f.Own:
					own = append(own, f.Check)
				default:
					fail = append(fail, f.Check)
				}
			}
			slices.Sort(fail)
			for _, want := range c.own {
				if !slices.Contains(own, want) {
					t.Errorf("%s does not stop it", want)
				}
			}
			if len(c.own) == 0 && len(own) > 0 || len(c.own) == 0 && len(c.fail) == 0 && len(fail) > 0 || len(c.fail) > 0 && !slices.Contains(fail, c.fail[0]) {
				t.Errorf("own %v, want %v; others %v, want %v", own, c.own, fail, c.fail)
			}
			if asked.Keep() != (len(own)+len(fail) == 0) {
				t.Errorf("keep is %v", asked.Keep())
			}
		})
	}
}

// However a name server fails, a send waits two seconds at most and is not stopped.
func TestPreflightWithoutAnswers(t *testing.T) {
	d := doctor.Domain{Keys: []doctor.Key{{Domain: "kiku.jp", Selector: "s1", Private: examKey(t, "rsa2048")}}, Relays: []doctor.Relay{{Name: "main", Host: "smtp.gmail.com"}}}
	for name, fault := range map[string]mailtest.Fault{"silent": mailtest.Silent, "servfail": mailtest.ServFail, "refused": mailtest.Refused} {
		for _, keys := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " keys ", keys), func(t *testing.T) {
				t.Parallel()
				d := d
				if !keys {
					d.Keys = nil
				}
				asked, took := preflightOf(t, "", d, map[string]mailtest.Fault{"kiku.jp": fault, "*.kiku.jp": fault, "jp": fault, "_dmarc.jp": fault, "*.google.com": fault})
				if took > doctor.Patience+time.Second { // a busy machine is slow to wake up
					t.Errorf("it took %s", took)
				}
				if asked.Silent == "" || asked.Keep() {
					t.Errorf("silent %q, keep %v", asked.Silent, asked.Keep())
				}
				for _, f := range asked.Findings {
					if f.Level == doctor.Fail {
						t.Errorf("%s fails: %s", f.Check, f.Found)
					}
				}
			})
		}
	}
}

// In a network that is closed off the name server knows nobody: that says nothing about what the world sees.
func TestPreflightWithoutTheInternet(t *testing.T) {
	ns := mailtest.NewNameserver(t)
	if err := ns.Zone(".", "intra IN A 192.0.2.1\n"); err != nil {
		t.Fatal(err)
	}
	r, err := resolver.New(resolver.Options{Servers: []string{ns.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	d := doctor.Domain{Resolver: r, From: "kiku.jp", Envelope: "kiku.jp", Relays: []doctor.Relay{{Name: "main", Host: "smtp.intra"}}}
	if asked := d.Preflight(t.Context()); len(asked.Findings) > 0 || asked.Silent == "" || asked.Keep() {
		t.Errorf("%+v", asked)
	}
}

// A company's name server that has its own view of the domain, without what is published for others.
func TestPreflightInsideANetwork(t *testing.T) {
	for zone, inner := range map[string]bool{"@ IN A 192.168.1.10\n": true, "@ IN MX 10 mx\nmx IN A 10.0.0.9\n": true, "@ IN MX 10 mx\nmx IN A 192.0.2.9\n": false} {
		d := doctor.Domain{Keys: []doctor.Key{{Domain: "kiku.jp", Selector: "s1", Private: examKey(t, "rsa2048")}}, Relays: []doctor.Relay{{Name: "main", Host: "mx.kiku.jp"}}}
		asked, _ := preflightOf(t, zone, d, nil)
		if (len(asked.Findings) == 0) != inner || (asked.Silent != "") != inner || asked.Keep() {
			t.Errorf("%q: %+v", zone, asked)
		}
	}
}

// noSOA is a system that cannot be asked for SOA records.
type noSOA struct{ zone.Resolver }

func (r noSOA) Lookup(ctx context.Context, name string, t zone.Type) zone.Answer {
	if t == zone.SOA {
		return zone.Answer{Name: name, Type: t, Err: errors.New("cannot be asked for")}
	}
	return r.Resolver.Lookup(ctx, name, t)
}

func TestPreflightWithoutSOA(t *testing.T) {
	ns := mailtest.NewNameserver(t)
	for origin, text := range map[string]string{"kiku.jp": "@ IN MX 10 mx\nmx IN A 192.0.2.9\n@ IN TXT \"v=spf1 mx -all\"\n_dmarc IN TXT \"v=DMARC1; p=none\"\n", "jp": ""} {
		if err := ns.Zone(origin, text); err != nil {
			t.Fatal(err)
		}
	}
	r, err := resolver.New(resolver.Options{Servers: []string{ns.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	d := doctor.Domain{Resolver: noSOA{r}, From: "kiku.jp", Envelope: "kiku.jp", Relays: []doctor.Relay{{Name: "main", Host: "mx.kiku.jp"}}}
	if asked := d.Preflight(t.Context()); !asked.Keep() {
		t.Errorf("%+v", asked)
	}
}

func TestHashNamesWhatIsAskedAbout(t *testing.T) {
	base := func() *doctor.Domain {
		return &doctor.Domain{From: "kiku.jp", Envelope: "kiku.jp", Keys: []doctor.Key{{Domain: "kiku.jp", Selector: "s1", Private: examKey(t, "rsa2048")}}, Relays: []doctor.Relay{{Name: "main", Host: "smtp.kiku.jp"}}}
	}
	seen := map[string]string{base().Hash(nil): "the base"}
	if again := base().Hash(nil); seen[again] == "" {
		t.Fatal("the same is named differently")
	}
	for name, edit := range map[string]func(*doctor.Domain){
		"from": func(d *doctor.Domain) { d.From = "ume.jp" }, "envelope": func(d *doctor.Domain) { d.Envelope = "ume.jp" },
		"selector": func(d *doctor.Domain) { d.Keys[0].Selector = "s2" }, "key": func(d *doctor.Domain) { d.Keys[0].Private = examKey(t, "other2048") },
		"no key": func(d *doctor.Domain) { d.Keys[0].Private = nil }, "broken key": func(d *doctor.Domain) { d.Keys[0].Err = errors.New("x") },
		"relay": func(d *doctor.Domain) { d.Relays[0].Host = "x.jp" }, "hello": func(d *doctor.Domain) { d.Relays[0].Hello = "x.jp" }, "no relay": func(d *doctor.Domain) { d.Relays = nil },
	} {
		d := base()
		edit(d)
		if other, ok := seen[d.Hash(nil)]; ok {
			t.Errorf("%s has the name of %s", name, other)
		}
		seen[d.Hash(nil)] = name
	}
	if _, ok := seen[base().Hash([]string{"192.0.2.53"})]; ok {
		t.Error("other servers are asked the same")
	}
}

func TestReserved(t *testing.T) {
	for domain, want := range map[string]bool{"example.com": true, "news.example.com": true, "Example.JP.": true, "a.test": true, "localhost": true, "": true,
		"notexample.com": false, "example.com.jp": false, "kiku.jp": false, "contest": false} {
		if got := doctor.Reserved(domain); got != want {
			t.Errorf("%q: %v", domain, got)
		}
	}
}

func TestPrivate(t *testing.T) {
	for domain, want := range map[string]bool{"corp.local": true, "Mail.INTERNAL.": true, "nas.home.arpa": true, "lan": true,
		"kiku.jp": false, "local.jp": false, "arpa": false, "": false} {
		if got := doctor.Private(domain); got != want {
			t.Errorf("%q: %v", domain, got)
		}
	}
}

func TestTogether(t *testing.T) {
	const why, do = "A silent server says nothing.", "Try again."
	silent := func(check, subject, found string) doctor.Finding {
		return doctor.Finding{Area: "domain", Check: check, Subject: subject, Level: doctor.Unknown, Found: found, Why: why, Do: do}
	}
	const found = "No answer: read udp 127.0.0.1:40001->127.0.0.1:53: refused."
	fail := doctor.Finding{Area: "domain", Check: "spf", Level: doctor.Fail, Found: "x", Why: why, Do: do}
	two := []doctor.Finding{silent("spf", "a", found), fail, silent("dmarc", "a", found)}
	if rest, quiet := doctor.Together(two); len(rest) != 3 || len(quiet) != 0 {
		t.Errorf("two are still told one by one: %v, %v", rest, quiet)
	}
	many := append(two, silent("dkim", "s1", "No answer: read udp 127.0.0.1:40002->127.0.0.1:53: refused."), silent("dkim", "s2", "No answer: ask for x: read udp 127.0.0.1:53: refused."), silent("mx", "a", "No answer: time is up."))
	rest, quiet := doctor.Together(many)
	if len(rest) != 1 || rest[0].Check != "spf" || rest[0].Level != doctor.Fail {
		t.Errorf("a failure is not told by itself: %v", rest)
	}
	if len(quiet) != 1 || strings.Join(quiet[0].Checks, ", ") != "spf, dmarc, dkim (s1), dkim (s2), mx" {
		t.Fatalf("%+v", quiet)
	}
	told := append([]string{quiet[0].Found}, quiet[0].Detail...)
	if strings.Contains(strings.Join(told, ""), "4000") || len(told) != 2 || quiet[0].Why != why || quiet[0].Do != do {
		t.Errorf("told: %q", told)
	}
}

// What was sent is counted beside the other checks; a count that fails is told.
func TestVolume(t *testing.T) {
	ns := mailtest.NewNameserver(t)
	r, err := resolver.New(resolver.Options{Servers: []string{ns.Addr()}, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for want, volume := range map[doctor.Level]func(context.Context) (map[string]int64, error){
		doctor.Info:    func(context.Context) (map[string]int64, error) { return map[string]int64{"gmail": 3000}, nil },
		doctor.Unknown: func(context.Context) (map[string]int64, error) { return nil, errors.New("the database is locked") },
	} {
		d := doctor.Domain{From: "kiku.jp", Envelope: "kiku.jp", Resolver: r, Volume: volume}
		all := d.Check(t.Context())
		i := slices.IndexFunc(all, func(f doctor.Finding) bool { return f.Check == "bulk" })
		if i < 0 || all[i].Level != want || want == doctor.Info && !strings.Contains(all[i].Found, "3000") {
			t.Errorf("want %s: %+v", want, all[max(0, i):])
		}
	}
}
