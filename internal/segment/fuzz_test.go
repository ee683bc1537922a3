package segment_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"mailer/internal/contact"
	"mailer/internal/segment"
	"mailer/internal/store"
)

// vocabulary is all that the SQL of a segment may consist of.
var vocabulary = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`json_extract\(c\.fields, '\$\.f\d+'\)`, `FROM json_each\(c\.fields, '\$\.f\d+'\) AS e WHERE`, `c\.key`, `c\.id`, `e\.value`, `m\.list`, `m\.(?:contact|consent_source|consent_at)`, `c\.created_at`, `''`,
	`d\.(?:id|key|campaign|state|attempts|reason|updated_at)`, `t\.(?:delivery|outcome|at)`, `h\.(?:key|kind|campaign|at)`, `s\.(?:scope|key|reason)`,
	`EXISTS \(SELECT 1`, `IN \(SELECT`, `FROM (?:memberships AS m|deliveries AS d|attempts AS t|events AS h|suppressions AS s) WHERE`,
	`IN \('[a-z_]+'(?:, '[a-z_]+')*\)`, `'[a-z_]+'`, `mailer_(?:prefecture|region)\(`, `mailer_place\(\?, c\.key\) < \?`, `REGEXP \?`,
	`instr\(`, `substr\(`, `\|\| 'T00:00:00', 1, 19\)`, `'@'\) \+ 1\)`,
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
		`pref matches "^(東|大)" and email matches "(?i)A|b" or 会社名 matches "("`, `prefecture() == "Tokyo" and region(会社名) in ["関東", "' OR 1=1 --"]`,
		`sample(0.5, "' OR 1=1 --") and not sample(5)`, `received("秋") and not bounced("2026-10-news") and not_sent_since("3d") or suppressed()`,
		`tags in ["a", "b"] and not (tags not in [])`, `opened_since(ago("1y")) or clicked() or unsubscribed() or complained_since("2026-01-01 10:00")`, `bounced("x") or received(nil)`,
		`added_since("1y") and not consented() or consented_since("2026-01")`,
	} {
		f.Add(s)
	}
	path := filepath.Join(f.TempDir(), "mailer.db")
	st, err := store.Open(f.Context(), path, store.Options{})
	if err != nil {
		f.Fatal(err)
	}
	defer st.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		f.Fatal(err)
	}
	defer db.Close()
	fields, err := contact.EncodeFields(shop().Fields, map[int64]string{1: "東京都", 2: "30", 3: "2026-01-05", 5: "a;b", 6: "x'\n", 13: "y"})
	if err != nil {
		f.Fatal(err)
	}
	_, err = db.Exec("INSERT INTO contacts (key, address, fields, created_at, updated_at) VALUES ('a@example.jp', 'a@example.jp', ?, 0, 0), ('b@example.jp', 'b@example.jp', '{}', 0, 0)", fields)
	if err != nil {
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
		// What the store asks in other words has the same answer.
		if counts, err := st.CountEach(t.Context(), []store.Where{store.Where(q)}, nil); err != nil || counts[0] != int64(n) {
			t.Fatalf("%q: %s finds %d, the store %v, %v", src, q.SQL, n, counts, err)
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
		for _, src := range []string{"pref == " + literal, "会社名 in [" + literal + "]", literal + " in tags", "tags in [" + literal + "]"} {
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
