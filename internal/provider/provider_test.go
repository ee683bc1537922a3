package provider

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/address"
	"mailer/internal/pace"
)

func table(t *testing.T) Table {
	t.Helper()
	table, err := Presets()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestLane(t *testing.T) {
	presets := table(t)
	for domain, want := range map[string]string{
		"gmail.com": "gmail", "GMail.com": "gmail", "googlemail.com": "gmail", "hotmail.com": "microsoft", "outlook.com": "microsoft", "hotmail.co.jp": "microsoft",
		"yahoo.com": "yahoo", "aol.com": "yahoo", "yahoo.co.jp": "yahoo-japan", "yahoo.co.uk": "yahoo", "docomo.ne.jp": "docomo", "ezweb.ne.jp": "au",
		"ab.ezweb.ne.jp": "au", "a.b.ezweb.ne.jp": "au", "xezweb.ne.jp": "xezweb.ne.jp", "sub.docomo.ne.jp": "sub.docomo.ne.jp", "i.softbank.jp": "softbank",
		"wm.pdx.ne.jp": "ymobile", "me.com": "icloud", "example.com": "example.com", "Example.COM": "example.com", "": "", "gmail": "gmail", "com": "com",
		"xn--r8jz45g.jp": "xn--r8jz45g.jp",
	} {
		if got := presets.Lane(domain); got != want {
			t.Errorf("%q: %q, want %q", domain, got, want)
		}
	}
	for _, name := range []string{"gmail", "microsoft", "yahoo", "yahoo-japan", "docomo", "au", "softbank", "icloud"} {
		if p, ok := presets.Provider(name); !ok || p.Title == "" || p.Pause <= 0 || p.Direct.Connections < 1 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if p, ok := presets.Provider("example.com"); ok || p.Name != "example.com" || p.Pause != 30*time.Minute || p.Direct.Connections != 10 {
		t.Errorf("a domain of no provider: %v %+v", ok, p)
	}
}

// A domain that is written otherwise than addresses have it would never be found.
func TestPresetsAreWrittenAsAddressesAre(t *testing.T) {
	presets := table(t)
	if presets.Date() < "2026-11-26" {
		t.Errorf("dated %s", presets.Date())
	}
	for _, p := range presets.Providers() {
		if len(p.Domains) == 0 || strings.Contains(p.Name, ".") || p.Connections != 0 || len(p.Rates) != 0 {
			t.Errorf("%+v", p)
		}
		for _, d := range p.Domains {
			name := strings.TrimPrefix(d, "*.")
			if a, err := address.Parse("x@" + name); err != nil || a.Domain() != name {
				t.Errorf("%s: %s: %v, %v", p.Name, d, a, err)
			}
		}
	}
}

func TestCurvesAtMostDouble(t *testing.T) {
	presets := table(t)
	if got := presets.Curves(); !slices.Equal(got, []string{"slow", "standard"}) {
		t.Errorf("curves %v", got)
	}
	for _, name := range presets.Curves() {
		c, ok := presets.Curve(name)
		if !ok || len(c) < 20 || c[0] < 1 {
			t.Errorf("%s: %v", name, c)
		}
		for i := 1; i < len(c); i++ {
			if c[i] < c[i-1] || c[i] > 2*c[i-1] {
				t.Errorf("%s: day %d has %d after %d", name, i+1, c[i], c[i-1])
			}
		}
	}
	if _, ok := presets.Curve("steep"); ok {
		t.Error("there is a curve steep")
	}
}

func TestWith(t *testing.T) {
	presets := table(t)
	slow := []pace.Rate{{N: 1, Per: time.Second}}
	with, err := presets.With([]Provider{
		{Name: "hotmail.com", Connections: 2, Rates: slow},           // any domain of a group stands for it
		{Name: "docomo", Pause: time.Minute},                         // or the group's own name
		{Name: "Ünï.example", Rates: slow},                           // a domain of no group
		{Name: "school", Domains: []string{"*.Ac.jp", "outlook.jp"}}, // a new group, which takes outlook.jp away
		{Name: "gmail", Domains: []string{"example.org"}},            // a group with one more
	})
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := with.Provider("microsoft"); p.Connections != 2 || !reflect.DeepEqual(p.Rates, slow) || p.Pause != time.Hour || p.Title != "Microsoft" {
		t.Errorf("microsoft %+v", p)
	}
	if p, _ := with.Provider("docomo"); p.Pause != time.Minute || p.Connections != 0 {
		t.Errorf("docomo %+v", p)
	}
	for domain, want := range map[string]string{
		"hotmail.com": "microsoft", "outlook.jp": "school", "u-tokyo.ac.jp": "school", "ac.jp": "ac.jp", "example.org": "gmail",
		"xn--n-nga1b.example": "xn--n-nga1b.example",
	} {
		if got := with.Lane(domain); got != want {
			t.Errorf("%s: %s, want %s", domain, got, want)
		}
	}
	if p, ok := with.Provider("xn--n-nga1b.example"); !ok || len(p.Rates) != 1 || p.Pause != 30*time.Minute {
		t.Errorf("a domain of its own: %v %+v", ok, p)
	}
	if p, _ := presets.Provider("microsoft"); p.Connections != 0 || presets.Lane("outlook.jp") != "microsoft" || presets.Lane("example.org") != "example.org" {
		t.Errorf("the presets have changed: %+v", p)
	}
	if again, err := with.With(nil); err != nil || !reflect.DeepEqual(again, with) {
		t.Errorf("with nothing: %v", err)
	}
}

func TestWithRefusesTwoNamesOfOneGroup(t *testing.T) {
	presets := table(t)
	for _, names := range [][2]string{
		{"outlook.com", "hotmail.com"}, {"microsoft", "live.com"}, {"example.com", "EXAMPLE.com"}, {"a.ezweb.ne.jp", "au.com"}, {"*.ezweb.ne.jp", "au"},
	} {
		_, err := presets.With([]Provider{{Name: names[0]}, {Name: names[1]}})
		var same *SameError
		if !errors.As(err, &same) || same.First != names[0] || same.Second != names[1] {
			t.Errorf("%v: %v", names, err)
		}
	}
	_, err := presets.With([]Provider{{Name: "a", Domains: []string{"x.example"}}, {Name: "b", Domains: []string{"X.example"}}})
	var taken *TakenError
	if !errors.As(err, &taken) || taken.Domain != "x.example" || taken.Provider != "a" || taken.Other != "b" {
		t.Errorf("one domain in two groups: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	const date = "date: 2026-11-26\n"
	for text, want := range map[string]string{
		"providers: {}": "date: ",
		date + "providers: {a: {domains: [x.example]}, b: {domains: [x.example]}}": "x.example is in a and in b",
		date + "providers: {a: {pause: soon}}":                                     "a: pause: ",
		date + "providers: {a: {direct: {rates: [fast]}}}":                         `"fast" is not a rate`,
		date + "providers: {a: {domain: [x.example]}}":                             "unknown field",
	} {
		if _, err := parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzLane(f *testing.F) {
	for _, seed := range []string{"gmail.com", "a.ezweb.ne.jp", "", ".", "..", "*.ezweb.ne.jp", "EXAMPLE.com", "例え.jp"} {
		f.Add(seed)
	}
	presets, err := Presets()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, domain string) {
		lane := presets.Lane(domain)
		p, known := presets.Provider(lane)
		if p.Name != lane || !known && lane != strings.ToLower(domain) {
			t.Errorf("%q is %q, whose provider is %v %+v", domain, lane, known, p)
		}
	})
}

// Lane is asked for every message.
func TestLaneAllocatesNothing(t *testing.T) {
	presets := table(t)
	if n := testing.AllocsPerRun(100, func() { presets.Lane("mail.some.example.com") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
