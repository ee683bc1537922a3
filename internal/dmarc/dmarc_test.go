package dmarc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mailer/internal/zone"
)

// names is a resolver of TXT records; a text that begins with ! is an error, and every name with a record exists.
type names map[string][]string

func (n names) Lookup(_ context.Context, name string, t zone.Type) zone.Answer {
	a := zone.Answer{Name: name, Type: t, State: zone.Missing}
	for owner := range n {
		if owner == name || strings.HasSuffix(owner, "."+name) {
			a.State = zone.Empty
		}
	}
	if t != zone.TXT {
		return a
	}
	for _, text := range n[name] {
		if why, broken := strings.CutPrefix(text, "!"); broken {
			return zone.Answer{Name: name, Type: t, Err: errors.New(why)}
		}
		a.State, a.Records = zone.Found, append(a.Records, zone.Record{Text: text})
	}
	return a
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text   string
		p      Policy
		faults int
		check  func(*Record) bool
	}{
		{"v=DMARC1; p=reject", Reject, 0, func(r *Record) bool { return r.HasP && r.Percent == 100 && r.PSD == "u" && r.Applies() }},
		{"v=DMARC1;p=Quarantine;", Quarantine, 0, nil},
		{"v = DMARC1 ; p = none", None, 0, func(r *Record) bool { return r.HasP }},
		{"v=DMARC1", None, 0, func(r *Record) bool { return !r.HasP && r.Applies() }},
		{"v=DMARC1; sp=reject; np=quarantine; psd=n; t=y; adkim=s; aspf=S; fo=1:d", None, 0, func(r *Record) bool {
			return r.SP == Reject && r.NP == Quarantine && r.PSD == "n" && r.Test && r.StrictDKIM && r.StrictSPF && slices.Equal(r.FO, []string{"1", "d"})
		}},
		{"v=DMARC1; p=monitor", None, 1, func(r *Record) bool { return !r.Applies() }},
		{"v=DMARC1; p=reject; sp=monitor; rua=mailto:a@example.com", None, 1, func(r *Record) bool { return r.Applies() && !r.HasP && r.SP == "" }},
		{"v=DMARC1; p=; rua=mailto:a@example.com", None, 1, func(r *Record) bool { return r.Applies() }},
		{"v=DMARC1; p=reject; p=none", Reject, 1, nil},
		{"v=DMARC1; p=reject; nonsense; adkim=x", Reject, 2, func(r *Record) bool { return !r.StrictDKIM }},
		{"v=DMARC1; p=reject; pct=50; rf=afrf; ri=3600; new=1", Reject, 0, func(r *Record) bool {
			return r.Percent == 50 && slices.Equal(r.Removed, []string{"pct", "rf", "ri"}) && slices.Equal(r.Foreign, []string{"new"})
		}},
		{"v=DMARC1; p=reject; pct=many", Reject, 1, func(r *Record) bool { return r.Percent == 100 }},
		{"v=DMARC1; p=none; rua=mailto:a@example.com!10m, mailto:b%2Bc@EXAMPLE.net,https://example.org/r", None, 0, func(r *Record) bool {
			return len(r.RUA) == 3 && r.RUA[0].Address == "a@example.com" && r.RUA[1].Address == "b+c@EXAMPLE.net" && r.RUA[1].Domain() == "example.net" && r.RUA[2].Address == ""
		}},
		{"v=DMARC1; p=none; rua=a@example.com; ruf=mailto:", None, 2, func(r *Record) bool { return len(r.RUA)+len(r.RUF) == 0 }},
	} {
		r, err := Parse(c.text)
		if err != nil || r.P != c.p || len(r.Faults) != c.faults || c.check != nil && !c.check(r) {
			t.Errorf("%s: %+v, %v", c.text, r, err)
		}
	}
	for _, text := range []string{"", "v=DMARC2; p=none", "v=dmarc1; p=none", "p=none; v=DMARC1", "v=DMARC1 p=none", `"v=DMARC1; p=none"`, "v=DMARC1, p=none", " ; v=DMARC1"} {
		if r, err := Parse(text); !errors.Is(err, ErrNotDMARC) {
			t.Errorf("%q was taken for a record: %+v", text, r)
		}
	}
}

func TestSofter(t *testing.T) {
	for p, want := range map[Policy]Policy{Reject: Quarantine, Quarantine: None, None: None} {
		if got := p.Softer(); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
}

func TestTargets(t *testing.T) {
	for domain, want := range map[string][]string{
		"com":                {"com"},
		"a.mail.example.com": {"a.mail.example.com", "mail.example.com", "example.com", "com"},
		"a.b.c.d.e.f.com":    {"a.b.c.d.e.f.com", "b.c.d.e.f.com", "c.d.e.f.com", "d.e.f.com", "e.f.com", "f.com", "com"},
		// RFC 9989 section 4.10: of eight labels and more seven are left after the first question.
		"a.b.c.d.e.f.g.com":             {"a.b.c.d.e.f.g.com", "b.c.d.e.f.g.com", "c.d.e.f.g.com", "d.e.f.g.com", "e.f.g.com", "f.g.com", "g.com", "com"},
		"a.b.c.d.e.f.g.h.i.example.com": {"a.b.c.d.e.f.g.h.i.example.com", "e.f.g.h.i.example.com", "f.g.h.i.example.com", "g.h.i.example.com", "h.i.example.com", "i.example.com", "example.com", "com"},
	} {
		if got := targets(domain); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", domain, got, want)
		}
	}
}

func TestDiscover(t *testing.T) {
	dns := names{
		"_dmarc.example.com":      {"v=DMARC1; p=reject; sp=quarantine; np=none"},
		"news.example.com":        {"it exists"},
		"_dmarc.own.example.com":  {"v=DMARC1; p=none"},
		"_dmarc.self.example.com": {"v=DMARC1; p=reject; psd=n; sp=none"},
		"a.self.example.com":      {"it exists"},
		"_dmarc.two.example.com":  {"v=DMARC1; p=none", "v=DMARC1; p=reject"},
		"two.example.com":         {"it exists"},
		"_dmarc.suffix":           {"v=DMARC1; p=reject; psd=y; t=y"},
		"shop.suffix":             {"it exists"},
		"_dmarc.broken.net":       {"!SERVFAIL"},
		"_dmarc.void.net":         {"v=DMARC1; p=block"},
	}
	for _, c := range []struct {
		domain, org, at, tag string
		policy               Policy
		known                bool
	}{
		{"example.com", "example.com", "example.com", "p", Reject, true},
		{"Example.COM.", "example.com", "example.com", "p", Reject, true},
		{"news.example.com", "example.com", "example.com", "sp", Quarantine, true},
		{"gone.example.com", "example.com", "example.com", "np", None, true},
		{"own.example.com", "example.com", "own.example.com", "p", None, true},
		{"self.example.com", "self.example.com", "self.example.com", "p", Reject, true},
		{"a.self.example.com", "self.example.com", "self.example.com", "sp", None, true},
		{"two.example.com", "example.com", "example.com", "sp", Quarantine, true},
		{"shop.suffix", "shop.suffix", "suffix", "p", Quarantine, true}, // t=y: one level softer
		{"suffix", "suffix", "suffix", "p", Quarantine, true},
		{"a.shop.suffix", "shop.suffix", "suffix", "p", Quarantine, true},
		{"void.net", "void.net", "", "", "", true},
		{"nothing.net", "nothing.net", "", "", "", true},
		{"broken.net", "broken.net", "", "", "", false},
	} {
		a := Discover(t.Context(), dns, c.domain)
		if a.Organizational != c.org || a.At != c.at || a.Tag != c.tag || a.Policy != c.policy || a.Known() != c.known || (a.Record == nil) != (c.at == "") {
			t.Errorf("%s: org %s, %s= at %s says %s, known %v; want %+v", c.domain, a.Organizational, a.Tag, a.At, a.Policy, a.Known(), c)
		}
	}
}

func TestAligned(t *testing.T) {
	dns := names{"_dmarc.example.com": {"v=DMARC1; p=none"}, "_dmarc.suffix": {"v=DMARC1; p=none; psd=y"}, "_dmarc.slow.net": {"!timeout"}}
	for _, c := range []struct {
		from, id        string
		strict, aligned bool
		unknown         bool
	}{
		{"example.com", "EXAMPLE.com", true, true, false},
		{"example.com", "mail.example.com", false, true, false},
		{"a.example.com", "b.example.com", false, true, false},
		{"example.com", "mail.example.com", true, false, false},
		{"example.com", "notexample.com", false, false, false},
		{"a.suffix", "b.suffix", false, false, false},
		{"a.suffix", "mail.a.suffix", false, true, false},
		{"example.com", "", false, false, false},
		{"example.com", "a.slow.net", false, false, true},
		{"slow.net", "slow.net", false, true, false}, // the same name needs no question
	} {
		ok, err := Aligned(t.Context(), dns, c.from, c.id, c.strict)
		if ok != c.aligned || (err != nil) != c.unknown {
			t.Errorf("%s and %s (strict %v): %v, %v", c.from, c.id, c.strict, ok, err)
		}
	}
}

func TestAuthorizations(t *testing.T) {
	dns := names{
		"_dmarc.example.com":                          {"v=DMARC1; p=none"},
		"example.com._report._dmarc.agreed.net":       {"v=DMARC1;"},
		"example.com._report._dmarc.wrong.net":        {"v=DMARC1x"},
		"example.com._report._dmarc.slow.net":         {"!timeout"},
		"other.example.com._report._dmarc.reports.io": {"v=DMARC1"},
	}
	r, err := Parse("v=DMARC1; rua=mailto:a@sub.example.com,mailto:a@agreed.net,mailto:a@wrong.net,mailto:a@slow.net,mailto:a@reports.io,https://example.org/")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Authorizations(t.Context(), dns, "example.com", r.RUA)
	var got []string
	for _, a := range all {
		got = append(got, fmt.Sprint(a.URI.Domain(), " ", a.Name != "", " ", a.OK))
	}
	want := []string{"sub.example.com false true", "agreed.net true true", "wrong.net true false", "slow.net true true", "reports.io true false", " false true"}
	if !reflect.DeepEqual(got, want) || err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("%q, %v; want %q and what is unknown", got, err, want)
	}
}

// Alignment is symmetric, holds for a name with itself, and a walk never asks more than eight questions.
func TestAlignmentIsSymmetric(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func() string { return []string{"a", "b", "c"}[rnd.IntN(3)] }
	for range 2000 {
		dns := names{}
		name := func() string {
			labels := []string{}
			for range 1 + rnd.IntN(10) {
				labels = append(labels, word())
			}
			return strings.Join(labels, ".")
		}
		for range rnd.IntN(6) {
			dns["_dmarc."+name()] = []string{"v=DMARC1; p=none; psd=" + []string{"u", "n", "y"}[rnd.IntN(3)]}
		}
		a, b := name(), name()
		ab, _ := Aligned(t.Context(), dns, a, b, false)
		ba, _ := Aligned(t.Context(), dns, b, a, false)
		aa, _ := Aligned(t.Context(), dns, a, a, true)
		w := WalkTree(t.Context(), dns, a)
		org := w.Organizational()
		if ab != ba || !aa || len(w.Steps) > maxQueries || org != a && !strings.HasSuffix(a, "."+org) {
			t.Fatalf("%s and %s in %v: %v %v %v, %d questions, org %s", a, b, dns, ab, ba, aa, len(w.Steps), org)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"v=DMARC1; p=reject; rua=mailto:a@example.com!10m", "v=DMARC1;;;=;p", "v=DMARC1; rua=mailto:%zz@x,mailto:a%40b@c", "v=DMARC1; pct=-1; fo=::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		if !slices.Contains(policies, r.P) || r.Percent < 0 || r.Percent > 100 || r.HasP && r.badPolicy {
			t.Errorf("%q: %+v", s, r)
		}
		for _, u := range append(r.RUA, r.RUF...) {
			if u.Address != "" && u.Domain() == "" {
				t.Errorf("%q: an address without a domain: %+v", s, u)
			}
		}
	})
}
