package segment_test

import (
	"database/sql"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"mailer/internal/segment"
)

// vocabulary is all that the SQL of a segment may consist of.
var vocabulary = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`json_extract\(c\.fields, '\$\.f\d+'\)`, `json_each\(c\.fields, '\$\.f\d+'\)`, `c\.key`, `c\.id`, `e\.value`, `m\.list`, `m\.contact`,
	`instr\(`, `substr\(`, `\|\| 'T00:00:00', 1, 19\)`, `'@'\) \+ 1\)`, `EXISTS \(SELECT 1 FROM `, `AS e WHERE`, `IN \(SELECT`, `FROM memberships AS m WHERE`,
	`IN \(\?(?:, \?)*\)`, `AND`, `OR`, `IS NOT (?:TRUE|NULL)`, `<=|>=|<>|=|<|>`, `> 0`, `\(`, `\)`, `,`, `\?`, `[01]`, ` `,
}, "|") + `)*$`)

// FuzzCompile: no expression panics, hangs or gets anything of its own into the SQL; what compiles, SQLite takes.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`pref == "東京都" and age >= 30`, `not ("vip" in tags) || list("news")`, `18 <= age < 30`, `last_purchase < ago("90d")`,
		`last_purchase in "2026-01".."2026-03-01 10:00"`, `email endsWith "@docomo.ne.jp" && domain != "x.jp"`, `field("Company Name") not in ["a", 'b']`,
		`$env["会社名"] != nil and has(age)`, `メール・区分 == "a" # comment`, `pref == "' OR 1=1 --"`, `pref == "\" OR 1"`, "`a` in lists // x", `/* a */ subscribed`,
		`!(not (subscribed == false)) or age in -1..0x10`, `a?.b[1:2](c) ?? {x: 1} | d`, `let x = 1; if x { 2 } else { 3 }`, `filter(tags, {# == "x"})`,
		`last_purchase >= birthday`, `pref startsWith "\U0010FFFF"`, `age == 1e400`, `pref == "\xff"`, "\x00", `((((((((`, `b"bytes" == pref`, `pref contains ""`,
	} {
		f.Add(s)
	}
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		f.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`CREATE TABLE contacts (id INTEGER PRIMARY KEY, key TEXT, fields TEXT); CREATE TABLE memberships (list INTEGER, contact INTEGER)`); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, src string) {
		q, err := segment.Compile(src, shop())
		if err != nil {
			var e *segment.Error
			if !errors.As(err, &e) {
				t.Fatalf("%q: %T is no *segment.Error", src, err)
			}
			if e.Msg == "" || e.Pos.Line < 1 || e.Pos.Column < 1 || e.Pos.Offset < 0 || e.Pos.Offset > len(e.Src) || !utf8.ValidString(err.Error()) {
				t.Fatalf("%q: bad error %#v", src, e)
			}
			return
		}
		if !vocabulary.MatchString(q.SQL) {
			t.Fatalf("%q gives SQL outside the vocabulary: %s", src, q.SQL)
		}
		if n := strings.Count(q.SQL, "?"); n != len(q.Args) {
			t.Fatalf("%q: %d placeholders, %d arguments in %s", src, n, len(q.Args), q.SQL)
		}
		var n int
		if err := db.QueryRow("SELECT count(*) FROM contacts AS c WHERE "+q.SQL, q.Args...).Scan(&n); err != nil {
			t.Fatalf("%q: %s: %v", src, q.SQL, err)
		}
		if _, err := segment.Explain(src, shop()); err != nil {
			t.Fatalf("%q compiles and is not explained: %v", src, err)
		}
	})
}

// FuzzStrings: a literal reaches SQLite as an argument, whatever it holds.
func FuzzStrings(f *testing.F) {
	for _, s := range []string{"東京都", "'", `"`, `\`, "?", "?1", ":a", "' OR 1=1 --", "\U0010FFFF", "%", "*", "x'00'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) || len(s) > 1000 {
			return
		}
		literal := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(s) + `"`
		for _, src := range []string{"pref == " + literal, "会社名 in [" + literal + "]", literal + " in tags"} {
			q, err := segment.Compile(src, shop())
			if err != nil {
				t.Fatalf("%s: %v", src, err)
			}
			if len(q.Args) != 1 || q.Args[0] != s || !vocabulary.MatchString(q.SQL) {
				t.Fatalf("%s: %s %q", src, q.SQL, q.Args)
			}
		}
	})
}
