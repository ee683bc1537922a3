package spf

import (
	"errors"
	"strings"
	"testing"
)

func TestParseNamesThePlace(t *testing.T) {
	for _, c := range []struct {
		record string
		pos    int // of the first error; -1: none
		says   string
	}{
		{"v=spf1 a mx ip4:192.0.2.0/24 include:_spf.example.com ~all", -1, ""},
		{"V=SPF1 A:example.com/24//64 MX//64 ?ALL", -1, ""},
		{"v=spf1 exists:%{ir}.%{v}._spf.%{d2} redirect=%{d1r-}.example.com exp=x.%{o}", -1, ""},
		{"v=spf1", -1, ""},
		{"v=spf1 unknown=%{c}%_ -all  ", -1, ""},
		{"v=spf10 -all", 0, "begins with"},
		{"v=spf1;-all", 0, "begins with"},
		{"v=spf1 192.0.2.1 -all", 7, "ip4:192.0.2.1"},
		{"v=spf1 ipv4:192.0.2.1 -all", 7, "ip4: is meant"},
		{"v=spf1 ip4:192.0.2.300 -all", 10, "no address of IPv4"},
		{"v=spf1 ip4:2001:db8::1 -all", 10, "no address of IPv4"},
		{"v=spf1 ip6:192.0.2.1 -all", 10, "no address of IPv6"},
		{"v=spf1 ip6:2001:db8::%eth0 -all", 10, "no address of IPv6"},
		{"v=spf1 ip4:192.0.2.0/33 -all", 10, "0 to 32"},
		{"v=spf1 ip6:2001:db8::/129 -all", 10, "0 to 128"},
		{"v=spf1 ip4 -all", 10, "missing"},
		{"v=spf1 a/33", 8, "0 to 32"},
		{"v=spf1 a//129", 8, "0 to 128"},
		{"v=spf1 a/024", 8, "0 to 32"},
		{"v=spf1 a: -all", 8, "missing after the colon"},
		{"v=spf1 a/ -all", 8, "missing after the colon"},
		{"v=spf1 mx:example -all", 10, "with a dot"},
		{"v=spf1 include -all", 14, "wants a domain"},
		{"v=spf1 include: -all", 14, "wants a domain"},
		{"v=spf1 include=_spf.example.com -all", -1, ""}, // an unknown modifier, says the grammar
		{"v=spf1 include:example.com/24 -all", 23, "does not end in"},
		{"v=spf1 include:%{x}.example.com -all", 15, "no macro"},
		{"v=spf1 include:%{d -all", 15, "without its }"},
		{"v=spf1 include:%{d0}.example.com -all", 15, "at least 1"},
		{"v=spf1 include:%{c}.example.com -all", 15, "explanations only"},
		{"v=spf1 include:%d.example.com -all", 15, "after a %"},
		{"v=spf1 ptr: -all", 10, "ptr takes"},
		{"v=spf1 all:x", 10, "nothing behind"},
		{"v=spf1 -", 7, "no mechanism"},
		{"v=spf1 redirect:example.com", 7, "redirect= is meant"},
		{"v=spf1 redirect= -all", 16, "wants a domain"},
		{"v=spf1 redirect=a.example redirect=b.example", 26, "once only"},
		{"v=spf1 1x=y", 7, "name of a modifier"},
		{"v=spf1 =y", 7, "name is missing"},
		{"v=spf1 include:exämple.com -all", 17, "printable ASCII"},
		{"v=spf1 a\u00a0mx -all", 8, "printable ASCII"},
	} {
		r, err := Parse(c.record)
		if c.pos < 0 {
			if err != nil {
				t.Errorf("%s: %v", c.record, err)
			}
			continue
		}
		var e *SyntaxError
		if !errors.As(err, &e) || e.Pos != c.pos || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%+v), want %q at %d", c.record, err, e, c.says, c.pos)
		}
		if strings.HasSuffix(c.record, " -all") && len(r.Terms) == 0 && IsRecord(c.record) {
			t.Errorf("%s: the sound terms are lost", c.record)
		}
	}
}

func TestParseFindsEveryError(t *testing.T) {
	_, err := Parse("v=spf1 ip4:1.2.3 foo include: -all")
	if n := strings.Count(err.Error(), "\n") + 1; n != 3 {
		t.Errorf("%d errors, want 3: %v", n, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"v=spf1 -all", "v=spf1 a:foo:bar/baz.example.com/24//64 ~all", "v=spf1 exists:%{l1r+-}.%{o}%%%_%- exp=a.b",
		"v=spf1 ip6:::1.1.1.1/0 ip4:192.0.2.0/24 ptr redirect=x.y", "v=spf1 \x80", "v=spf1 %{", "v=spf1 a:%{i}.%{h2}. mx//1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		for _, term := range r.Terms {
			if term.Pos+len(term.Text) > len(text) || text[term.Pos:term.Pos+len(term.Text)] != term.Text {
				t.Fatalf("%q: the term %+v is not where it says", text, term)
			}
		}
		var e *SyntaxError
		if err != nil && (!errors.As(err, &e) || e.Pos < 0 || e.Pos > len(text)) {
			t.Fatalf("%q: %v has no place", text, err)
		}
		if err != nil || len(r.Terms) == 0 {
			return
		}
		// What was read without an error is read the same from its terms.
		words := []string{Version}
		for _, term := range r.Terms {
			words = append(words, term.Text)
		}
		again, err := Parse(strings.Join(words, " "))
		if err != nil || len(again.Terms) != len(r.Terms) {
			t.Fatalf("%q: read again: %v, %d terms instead of %d", text, err, len(again.Terms), len(r.Terms))
		}
	})
}
