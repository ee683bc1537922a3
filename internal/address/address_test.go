package address

import (
	"net/mail"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestParse(t *testing.T) {
	tests := []struct{ in, text, key string }{
		{"taro@example.jp", "taro@example.jp", "taro@example.jp"},
		{"Taro@EXAMPLE.jp", "Taro@example.jp", "taro@example.jp"},
		{"ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ", "taro@example.jp", "taro@example.jp"},
		{"taro＠example。jp", "taro@example.jp", "taro@example.jp"},
		{"\u3000\u00a0\u200b\ufefftaro@example.jp\ufeff\r\n", "taro@example.jp", "taro@example.jp"},
		{"mailto:taro@example.jp", "taro@example.jp", "taro@example.jp"},
		{"MAILTO:taro%2Bnews@example.jp?subject=x", "taro+news@example.jp", "taro+news@example.jp"},
		{"山田 太郎 <taro@example.jp>", "taro@example.jp", "taro@example.jp"},
		{`"Yamada, \"T\"" <taro@example.jp>;`, "taro@example.jp", "taro@example.jp"},
		{"太郎 ＜taro@example.jp＞", "taro@example.jp", "taro@example.jp"},
		{"<taro@example.jp>", "taro@example.jp", "taro@example.jp"},
		{"taro@example.jp。", "taro@example.jp", "taro@example.jp"},
		{"taro@example.jp、", "taro@example.jp", "taro@example.jp"},
		{"taro@example.jp;", "taro@example.jp", "taro@example.jp"},
		{"taro@example.jp.", "taro@example.jp", "taro@example.jp"},
		{"'taro@example.jp'", "taro@example.jp", "taro@example.jp"},
		{`"taro@example.jp"`, "taro@example.jp", "taro@example.jp"},
		{"“taro@example.jp”、", "taro@example.jp", "taro@example.jp"},
		{"（taro@example.jp）", "taro@example.jp", "taro@example.jp"},
		{"【 ｔａｒｏ＠example.jp 】", "taro@example.jp", "taro@example.jp"},
		{"「mailto:taro@example.jp?subject=x」", "taro@example.jp", "taro@example.jp"},
		{"'mailto:taro@example.jp'", "taro@example.jp", "taro@example.jp"},
		{"taro@カタカナ・ドット.jp", "taro@xn--lcka3drzeg60b.jp", "taro@xn--lcka3drzeg60b.jp"},
		{"o'brien+tag@example.ie", "o'brien+tag@example.ie", "o'brien+tag@example.ie"},
		{"info@日本語.jp", "info@xn--wgv71a119e.jp", "info@xn--wgv71a119e.jp"},
		{"info@BÜCHER.example", "info@xn--bcher-kva.example", "info@xn--bcher-kva.example"},
		{"info@xn--wgv71a119e.jp", "info@xn--wgv71a119e.jp", "info@xn--wgv71a119e.jp"},
		{"info@ab--cd.example", "info@ab--cd.example", "info@ab--cd.example"},
		{"用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v", "用户@xn--fsqu00a.xn--4rr70v"},
		{"a..b@docomo.ne.jp", "a..b@docomo.ne.jp", "a..b@docomo.ne.jp"},
		{`"a..b"@docomo.ne.jp`, "a..b@docomo.ne.jp", "a..b@docomo.ne.jp"},
		{".a@ezweb.ne.jp", ".a@ezweb.ne.jp", ".a@ezweb.ne.jp"},
		{"a.@biz.ezweb.ne.jp", "a.@biz.ezweb.ne.jp", "a.@biz.ezweb.ne.jp"},
		{`"taro"@example.jp`, "taro@example.jp", "taro@example.jp"},
		{strings.Repeat("a", 64) + "@example.jp", strings.Repeat("a", 64) + "@example.jp", strings.Repeat("a", 64) + "@example.jp"},
	}
	for _, tt := range tests {
		a, err := Parse(tt.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.in, err)
			continue
		}
		if a.Text != tt.text || a.Key != tt.key {
			t.Errorf("Parse(%q) = %q, key %q; want %q, key %q", tt.in, a.Text, a.Key, tt.text, tt.key)
		}
		if want := !isASCII(a.Text[:strings.Index(a.Text, "@")]); a.SMTPUTF8 != want {
			t.Errorf("Parse(%q).SMTPUTF8 = %v", tt.in, a.SMTPUTF8)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ in, reason string }{
		{"", "empty"},
		{"\u3000", "empty"},
		{"taro", "no @"},
		{"@example.jp", "nothing before"},
		{"taro@", "nothing after"},
		{"taro@localhost", "no dot"},
		{"taro@example..jp", "empty part"},
		{"taro@.example.jp", "empty part"},
		{"taro@-example.jp", "hyphen"},
		{"taro@example-.jp", "hyphen"},
		{"taro@exa_mple.jp", "cannot stand in a domain"},
		{"taro@[192.0.2.1]", "brackets"},
		{"taro@192.0.2.1", "number"},
		{"a..b@example.jp", "only addresses of docomo"},
		{"a.@softbank.ne.jp", "only addresses of docomo"},
		{".a@example.jp", "only addresses of docomo"},
		{"a..b@docomo.ne.jp.example.com", "only addresses of docomo"},
		{"a@b@example.jp", "more than one @"},
		{"a@example.jp,b@example.jp", "more than one @"},
		{"ta ro@example.jp", "space inside"},
		{"ta\u200bro@example.jp", "space inside"},
		{"taro@exam ple.jp", "space inside"},
		{"taro@example.jp (work)", "space inside"},
		{"taro@example,jp", "the character ','"},
		{"taro@example.jp”", "not a domain name"},
		{"taro@xn--jp-02t.jp", "not a domain name"},
		{"“taro@example.jp", "cannot stand before"},
		{"taro、hanako@example.jp", "cannot stand before"},
		{"taro@example.jp\r\nBcc: x@example.com", "more than one @"},
		{"taro\r\nx@example.jp", "space inside"},
		{"taro\x00@example.jp", `'\x00'`},
		{"taro\x7f@example.jp", "cannot stand"},
		{"taro@example.jp\x00", "cannot stand in a domain"},
		{`"ta ro"@example.jp`, "space inside"},
		{`"taro@example.jp`, "not closed"},
		{"ta(ro)@example.jp", "cannot stand before"},
		{"ta\ufffdro@example.jp", "cannot stand before"},
		{"taro@ex\ufffdample.jp", "not a domain name"},
		{"\xff@example.jp", "UTF-8"},
		{strings.Repeat("a", 65) + "@example.jp", "longer than 64"},
		{"a@" + strings.Repeat("a", 64) + ".jp", "longer than 63"},
		{"a@" + strings.Repeat("a.", 130) + "jp", "longer than 255"},
		{"aaaaaaaa@" + strings.Repeat("a.", 122) + "jp", "longer than 254"},
	}
	for _, tt := range tests {
		a, err := Parse(tt.in)
		if err == nil {
			t.Errorf("Parse(%q) = %q, want an error", tt.in, a.Text)
		} else if !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("Parse(%q): %v, want a reason with %q", tt.in, err, tt.reason)
		}
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"山田　太郎 <t@example.jp>":          "山田　太郎",
		`"Yamada \"T\"" <t@example.jp>`: `Yamada "T"`,
		"a <b> <t@example.jp>":          "a <b>",
		"t@example.jp":                  "",
		"㈱アイウ ＜t@example.jp＞。":          "㈱アイウ",
	} {
		if a, err := Parse(in); err != nil || a.Name != want {
			t.Errorf("Parse(%q).Name = %q, %v; want %q", in, a.Name, err, want)
		}
	}
}

func TestWire(t *testing.T) {
	for in, want := range map[string]string{
		"taro@example.jp":    "taro@example.jp",
		"a..b@docomo.ne.jp":  `"a..b"@docomo.ne.jp`,
		".a@docomo.ne.jp":    `".a"@docomo.ne.jp`,
		"a.@ezweb.ne.jp":     `"a."@ezweb.ne.jp`,
		"a.b-c+d@example.jp": "a.b-c+d@example.jp",
		`a"b\c@example.jp`:   `"a\"b\\c"@example.jp`,
		"用户@example.jp":      "用户@example.jp",
	} {
		if got := Wire(in); got != want {
			t.Errorf("Wire(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestDomain(t *testing.T) {
	a, err := Parse("taro@Example.JP")
	if err != nil || a.Domain() != "example.jp" {
		t.Errorf("Domain() = %q, %v", a.Domain(), err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"taro@example.jp", "ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ", "山田 <a..b@docomo.ne.jp>", "mailto:a%40b@例え.jp", `"a\"b"@x.jp`,
		"Taro.Y+x@Mail.EXAMPLE.co.jp", "a@b.jp.", "a@b-.jp", "a@XN--a.jp", "a..b@c.jp", "a@1.2", "o'x@y.z", "a@b.c,d@e.f",
		"İ@x.jp", "ẞ@ß.de", "\u0345a@b.c", "a@xn--a.jp", "0@00--Xn--0.A", "'a'@b.jp", "a@b.jp.'", "“a@b.jp”", "(a@b.jp)", "「a@b・c.jp」", `""a@b.jp"`, "0@00--0.0Xn--0", "ﬀ@ﬀ.jp", "a@℀.jp", "Å@x.jp", "a@١.jp",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		if long, longErr := parseAny(s); long != a || (longErr == nil) != (err == nil) {
			t.Fatalf("Parse(%q) = %+v, %v; the long way gives %+v, %v", s, a, err, long, longErr)
		}
		if err != nil {
			return
		}
		if strings.ContainsFunc(a.Text+a.Key, unicode.IsControl) {
			t.Fatalf("Parse(%q) lets a control character through: %q", s, a.Text)
		}
		if a.Local()+"@"+a.Domain() != a.Text || a.Quoted() != (Wire(a.Text) != a.Text) {
			t.Fatalf("Parse(%q) = %q: local part %q, domain %q, quoted %v", s, a.Text, a.Local(), a.Domain(), a.Quoted())
		}
		Suggest(a.Domain())
		DutyOf(a.Key)
		again, err := Parse(a.Text)
		if err != nil || again.Text != a.Text || again.Key != a.Key || again.SMTPUTF8 != a.SMTPUTF8 {
			t.Fatalf("Parse(%q) = %+v, but Parse of its text = %+v, %v", s, a, again, err)
		}
		if Key(a.Text) != a.Key || Key(a.Key) != a.Key {
			t.Fatalf("the key of %q is not stable: %q, %q, %q", s, a.Key, Key(a.Text), Key(a.Key))
		}
		wire := Wire(a.Text)
		if !utf8.ValidString(wire) || strings.ContainsAny(wire, "\r\n\x00 <>") {
			t.Fatalf("Wire(%q) = %q could break an SMTP command", a.Text, wire)
		}
		if back, err := Parse(wire); err != nil || back.Text != a.Text {
			t.Fatalf("Parse(Wire(%q)) = %q, %v", a.Text, back.Text, err)
		}
		if parsed, err := mail.ParseAddress(wire); err != nil || parsed.Address != a.Text {
			t.Fatalf("net/mail reads %q as %v, %v", wire, parsed, err)
		}
	})
}

// An import parses every address of a file, most of them three times.
func BenchmarkParse(b *testing.B) {
	for name, s := range map[string]string{
		"plain": "taro.yamada1984@mail.example.co.jp", "mixed case": "Taro.Yamada1984@mail.Example.co.jp", "full width": "ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ",
		"named": "山田 太郎 <taro@example.jp>", "carrier": "a..b@docomo.ne.jp",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestParsePlainAllocatesNothing(t *testing.T) {
	for s, most := range map[string]float64{"taro.yamada@example.co.jp": 0, "Taro@example.jp": 1, "taro@EXAMPLE.jp": 1} {
		if n := testing.AllocsPerRun(100, func() { Parse(s) }); n > most {
			t.Errorf("Parse(%q) allocates %v times", s, n)
		}
	}
}
