package segment_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"mailer/internal/contact"
	"mailer/internal/segment"
)

var tokyo = time.FixedZone("JST", 9*60*60)

// shop is the schema of the tests with fixed answers. It is 00:30 on 31 March in Tokyo.
func shop() segment.Schema {
	return segment.Schema{
		Fields: []contact.Field{
			{ID: 1, Name: "pref", Type: contact.Text, Role: contact.Prefecture},
			{ID: 2, Name: "age", Type: contact.Number},
			{ID: 3, Name: "last_purchase", Type: contact.Date},
			{ID: 4, Name: "subscribed", Type: contact.Boolean},
			{ID: 5, Name: "tags", Type: contact.List},
			{ID: 6, Name: "会社名", Type: contact.Text},
			{ID: 7, Name: "Company Name", Type: contact.Text},
			{ID: 8, Name: "address.city", Type: contact.Text},
			{ID: 9, Name: "if", Type: contact.Text},
			{ID: 10, Name: "नाम", Type: contact.Text},
			{ID: 11, Name: "メール・区分", Type: contact.Text},
			{ID: 12, Name: "カ\u3099", Type: contact.Text}, // ガ in NFD
			{ID: 13, Name: "email", Type: contact.Text},
			{ID: 14, Name: "birthday", Type: contact.Date},
		},
		Lists:     map[string]int64{"news": 1, "ニュース": 2},
		Campaigns: map[string]int64{"2026-10-news": 1, "秋": 2},
		FewOnList: even, FewInCampaign: even,
		Now:      time.Date(2026, 3, 30, 15, 30, 0, 0, time.UTC),
		Location: tokyo,
	}
}

func even(id int64) bool { return id%2 == 0 }

func TestCompile(t *testing.T) {
	const (
		pref  = "json_extract(c.fields, '$.f1')"
		age   = "json_extract(c.fields, '$.f2')"
		date  = "json_extract(c.fields, '$.f3')"
		flag  = "json_extract(c.fields, '$.f4')"
		on    = "EXISTS (SELECT 1 FROM memberships AS m WHERE m.list = ? AND m.contact = c.id)"
		among = "c.id IN (SELECT m.contact FROM memberships AS m WHERE m.list = ?)" // a short list
		holds = "EXISTS (SELECT 1 FROM json_each(c.fields, '$.f5') AS e WHERE e.value = ?)"
	)
	f := func(id int) string { return fmt.Sprintf("json_extract(c.fields, '$.f%d')", id) }
	for _, tt := range []struct {
		src, sql string
		args     []any
	}{
		{"", "1", nil},
		{" \n\u3000", "1", nil},
		{"true", "1", nil},
		{"not false", "(0) IS NOT TRUE", nil},
		{`pref == "東京都" and age >= 30`, "(" + pref + " = ? AND " + age + " >= ?)", []any{"東京都", int64(30)}},
		{`pref != "東京都" || 18 <= age && age < 65.5`, "(" + pref + " <> ? OR (" + age + " >= ? AND " + age + " < ?))", []any{"東京都", int64(18), 65.5}},
		{`18 <= age < 30`, "(" + age + " >= ? AND " + age + " < ?)", []any{int64(18), int64(30)}},
		{`a and b`, "", nil},
		{`not (age == -1)`, "(" + age + " = ?) IS NOT TRUE", []any{int64(-1)}},
		{`pref in ["東京都", '大阪府']`, pref + " IN (?, ?)", []any{"東京都", "大阪府"}},
		{`pref not in ["東京都"]`, "(" + pref + " IN (?)) IS NOT TRUE", []any{"東京都"}},
		{`pref in []`, "0", nil},
		{`age in 20..29`, "(" + age + " >= ? AND " + age + " <= ?)", []any{int64(20), int64(29)}},
		{`pref startsWith "東"`, "(" + pref + " >= ? AND " + pref + " < ?)", []any{"東", "杲"}},
		{`pref endsWith "県"`, "substr(" + pref + ", ?) = ?", []any{-1, "県"}},
		{`pref contains "京"`, "instr(" + pref + ", ?) > 0", []any{"京"}},
		{`subscribed`, flag + " = ?", []any{true}},
		{`not subscribed`, "(" + flag + " = ?) IS NOT TRUE", []any{true}},
		{`subscribed == false`, flag + " = ?", []any{false}},
		{`subscribed != "はい"`, flag + " <> ?", []any{true}},
		{`has(pref)`, pref + " IS NOT NULL", nil},
		{`pref == nil`, "(" + pref + " IS NOT NULL) IS NOT TRUE", nil},
		{`nil != pref`, pref + " IS NOT NULL", nil},
		{`"vip" in tags`, holds, []any{"vip"}},
		{`list("news")`, on, []any{int64(1)}},
		{`"ニュース" in lists`, among, []any{int64(2)}},
		{`tags in ["vip", "web"]`, "EXISTS (SELECT 1 FROM json_each(c.fields, '$.f5') AS e WHERE e.value IN (?, ?))", []any{"vip", "web"}},
		{`tags not in ["vip"]`, "(EXISTS (SELECT 1 FROM json_each(c.fields, '$.f5') AS e WHERE e.value IN (?))) IS NOT TRUE", []any{"vip"}},
		{`pref matches "^(東京|大阪)"`, pref + " REGEXP ?", []any{"^(東京|大阪)"}},
		{`email matches "^Taro"`, "c.key REGEXP ?", []any{"(?i)^Taro"}},
		{`prefecture() == "Tokyo"`, "mailer_prefecture(" + pref + ") = ?", []any{"東京都"}},
		{`prefecture(age) in ["13", "大阪"]`, "mailer_prefecture(" + age + ") IN (?, ?)", []any{"東京都", "大阪府"}},
		{`region("pref") == "Kanto"`, "", nil},
		{`region(pref) != "九州沖縄"`, "mailer_region(" + pref + ") <> ?", []any{"九州・沖縄"}},
		{`has(prefecture())`, "mailer_prefecture(" + pref + ") IS NOT NULL", nil},
		{`sample(5)`, "mailer_place(?, c.key) < ?", []any{"", int64(461168601842738816)}},
		{`sample(0.5, "x")`, "mailer_place(?, c.key) < ?", []any{"x", int64(46116860184273880)}},
		{`received("2026-10-news")`, "EXISTS (SELECT 1 FROM deliveries AS d WHERE d.key = c.key AND d.campaign = ? AND d.state IN ('accepted', 'bounced', 'complained'))", []any{int64(1)}},
		{`received("秋")`, "c.key IN (SELECT d.key FROM deliveries AS d WHERE d.campaign = ? AND d.state IN ('accepted', 'bounced', 'complained'))", []any{int64(2)}},
		{`received()`, "EXISTS (SELECT 1 FROM deliveries AS d WHERE d.key = c.key AND d.state IN ('accepted', 'bounced', 'complained'))", nil},
		{`bounced_since("30d")`, "EXISTS (SELECT 1 FROM events AS h WHERE h.key = c.key AND h.kind IN ('bounce', 'soft_bounce') AND h.at >= ?)",
			[]any{time.Date(2026, 3, 1, 0, 0, 0, 0, tokyo).UnixMilli()}},
		{`clicked("秋")`, "EXISTS (SELECT 1 FROM events AS h WHERE h.key = c.key AND h.kind = 'click' AND h.campaign = ?)", []any{int64(2)}},
		{`会社名 == "x"`, f(6) + " = ?", []any{"x"}},
		{`field("Company Name") == $env["会社名"]`, f(7) + " = " + f(6), nil},
		{`if == "a"`, f(9) + " = ?", []any{"a"}},
		{`नाम == "a"`, f(10) + " = ?", []any{"a"}},
		{`メール・区分 == "a"`, f(11) + " = ?", []any{"a"}},
		{`ガ == "a"`, f(12) + " = ?", []any{"a"}},
		{`email == "ｔａｒｏ＠Example.JP"`, "c.key = ?", []any{"taro@example.jp"}},
		{`field("email") == "A"`, f(13) + " = ?", []any{"A"}},
		{`email in ["A@x.jp"]`, "c.key IN (?)", []any{"a@x.jp"}},
		{`email contains "Taro"`, "instr(c.key, ?) > 0", []any{"taro"}},
		{`domain == "DOCOMO.ne.jp"`, "substr(c.key, instr(c.key, '@') + 1) = ?", []any{"docomo.ne.jp"}},
		{`domain == "日本語.jp"`, "substr(c.key, instr(c.key, '@') + 1) = ?", []any{"xn--wgv71a119e.jp"}},
		{"# comment \" '\nage == 1 // and\n /* and */ # \"", age + " = ?", []any{int64(1)}},
		{`pref == "# no comment // at all"`, pref + " = ?", []any{"# no comment // at all"}},
		{`last_purchase == "2026-01-05"`, "(" + date + " >= ? AND " + date + " < ?)", []any{"2026-01-05", "2026-01-06"}},
		{`last_purchase != "2026-01-05"`, "(" + date + " < ? OR " + date + " >= ?)", []any{"2026-01-05", "2026-01-06"}},
		{`last_purchase < "2026/1/5"`, date + " < ?", []any{"2026-01-05"}},
		{`last_purchase <= "2026-01-05"`, date + " < ?", []any{"2026-01-06"}},
		{`last_purchase > "2026-01"`, date + " >= ?", []any{"2026-02-01"}},
		{`last_purchase >= "2026"`, date + " >= ?", []any{"2026-01-01"}},
		{`last_purchase <= date("2026-01-05 10:00")`, date + " < ?", []any{"2026-01-05T10:01:00"}},
		{`last_purchase <= "2026-01-05T14:59:59Z"`, date + " < ?", []any{"2026-01-06"}},
		{`last_purchase <= "9999-12-31"`, date + " < ?", []any{"9999-12-31T24"}},
		{`last_purchase >= ago("90d")`, date + " >= ?", []any{"2025-12-31"}},
		{`last_purchase >= ago("1mo")`, date + " >= ?", []any{"2026-02-28"}},
		{`last_purchase >= ago("1 y")`, date + " >= ?", []any{"2025-03-31"}},
		{`last_purchase >= ago("1h")`, date + " >= ?", []any{"2026-03-30T23:30:00"}},
		{`last_purchase < ahead("2w")`, date + " < ?", []any{"2026-04-14"}},
		{`last_purchase >= today()`, date + " >= ?", []any{"2026-03-31"}},
		{`last_purchase > now()`, date + " >= ?", []any{"2026-03-31T00:30:01"}},
		{`last_purchase in "2026-01".."2026-03"`, "(" + date + " >= ? AND " + date + " < ?)", []any{"2026-01-01", "2026-04-01"}},
		{`last_purchase > birthday`, "substr(" + date + " || 'T00:00:00', 1, 19) > substr(" + f(14) + " || 'T00:00:00', 1, 19)", nil},
	} {
		q, err := segment.Compile(tt.src, shop())
		if tt.sql == "" {
			if err == nil {
				t.Errorf("%s: no error", tt.src)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.src, err)
			continue
		}
		if q.SQL != tt.sql || !slices.Equal(q.Args, tt.args) {
			t.Errorf("%s:\n got %s %#v\nwant %s %#v", tt.src, q.SQL, q.Args, tt.sql, tt.args)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		src     string
		line    int
		column  int
		msg     string // a part of it
		nearest string
	}{
		{`prfe == "x"`, 1, 1, `there is no field "prfe"`, "pref"},
		{"age > 1 and\n  会者名 == \"x\"", 2, 3, `there is no field "会者名"`, "会社名"},
		{`company_name == "x"`, 1, 1, "no field", `field("Company Name")`},
		{`pref == 東京都`, 1, 9, `a text stands in quotes`, ""},
		{`address.city == "x"`, 1, 9, `field("address.city")`, ""},
		{`pref == 30`, 1, 9, `write "30" (to change its type: mailer fields set pref --type number)`, ""},
		{`field("Company Name") == 30`, 1, 26, `mailer fields set 'Company Name' --type number`, ""},
		{`pref == today()`, 1, 9, `mailer fields set pref --type date`, ""},
		{`age == "30"`, 1, 8, `write 30 without quotes`, ""},
		{`age == "old"`, 1, 8, `age is a number and "old" a text`, ""},
		{`age == true`, 1, 8, `age is a number and true a boolean`, ""},
		{`email == 1`, 1, 10, `email is a text and 1 a number; write "1"`, ""},
		{`email == "taro"`, 1, 10, `is no address`, ""},
		{`last_purchase > "yesterday"`, 1, 17, `is not a date; write it as "2026-01-05"`, ""},
		{`last_purchase > 20260105`, 1, 17, `last_purchase is a date`, ""},
		{`last_purchase > ago("90")`, 1, 21, `not a distance in time`, ""},
		{`last_purchase > ago("3m")`, 1, 21, `not a distance in time`, ""},
		{`last_purchase > ago("99999y")`, 1, 21, `leads out of the years`, ""},
		{`last_purchase > ago(90)`, 1, 17, `ago takes one text in quotes, as in ago("90d")`, ""},
		{`last_purchase > agi("90d")`, 1, 17, `there is no function "agi"`, "ago"},
		{`len(pref) > 3`, 1, 1, `there is no function "len"`, ""},
		{`count(tags) > 3`, 1, 1, `there is no function "count"`, ""},
		{`subscribed > false`, 1, 12, `only == and != compare it`, ""},
		{`subscribed == "maybe"`, 1, 15, `write true or false`, ""},
		{`tags == "vip"`, 1, 6, `write "vip" in tags, or for one of several tags in ["A", "B"]`, ""},
		{`tags contains "vip"`, 1, 6, `write "vip" in tags, or for one of several tags in ["A", "B"]`, ""},
		{`"x" in pref`, 1, 8, `write pref contains "x"`, ""},
		{`1 in tags`, 1, 1, `a list holds texts`, ""},
		{`list("nwes")`, 1, 6, `there is no list "nwes"`, `"news"`},
		{`list(news)`, 1, 6, `stands in quotes`, ""},
		{`list("news") == true`, 1, 1, `is a condition by itself`, ""},
		{`lists == "news"`, 1, 1, `"NAME" in lists`, ""},
		{`pref`, 1, 1, `alone is no condition`, ""},
		{`"x"`, 1, 1, `alone is no condition`, ""},
		{`not pref == "x"`, 1, 1, `put the comparison in parentheses`, ""},
		{`not age in [1]`, 1, 1, `put the comparison in parentheses`, ""},
		{`pref = "x"`, 1, 6, `write ==`, ""},
		{`age > ５０`, 1, 7, `５０ is full-width; write 50`, ""},
		{`pref ＝＝ "x"`, 1, 6, `＝ is full-width; write =`, ""},
		{`pref == “x”`, 1, 9, `is not a quote here`, ""},
		{`pref == "x`, 1, 11, ``, ""},
		{`pref == "x" and`, 1, 16, `ends too early`, ""},
		{`(pref == "x"`, 1, 13, `ends too early`, ""},
		{`pref == "x")`, 1, 12, `")" is not expected here`, ""},
		{`2026売上 > 1`, 1, 5, `field("NAME")`, ""},
		{`pref matches "a(b"`, 1, 15, `no regular expression (RE2): missing closing ): a(b`, ""},
		{`pref matches "京[z-a]"`, 1, 17, `invalid character class range: z-a`, ""},
		{"pref matches `a\\q`", 1, 16, `invalid escape sequence`, ""},
		{`pref matches "(?=x)"`, 1, 15, `invalid or unsupported Perl syntax`, ""},
		{`email matches "*"`, 1, 16, `missing argument to repetition operator`, ""},
		{`age matches "1"`, 1, 5, `age is a number; matches is for texts`, ""},
		{`pref matches 会社名`, 1, 14, `after matches comes a text in quotes`, ""},
		{`tags matches "x"`, 1, 6, `write "x" in tags`, ""},
		{`tags in [1]`, 1, 10, `tags is a list and 1 a number`, ""},
		{`prefecture() == "東京と"`, 1, 17, `there is no prefecture "東京と"`, `"東京都"`},
		{`prefecture() == "Osakka"`, 1, 17, `there is no prefecture`, `"Osaka"`},
		{`prefecture() in ["東京", "東京都港区"]`, 1, 24, `there is no prefecture "東京都港区"`, `"東京都"`},
		{`region() == "関西"`, 1, 13, `there is no region "関西"; there are 北海道, 東北`, `"近畿"`},
		{`region() == "Kantoo"`, 1, 13, `there is no region`, `"Kanto"`},
		{`prefecture() < "東京"`, 1, 14, `prefecture() has no order`, ""},
		{`prefecture() contains "東"`, 1, 14, `compare it with ==, != or in`, ""},
		{`prefecture() == pref`, 1, 14, `cannot be compared`, ""},
		{`prefecture() == region()`, 1, 14, `cannot be compared`, ""},
		{`prefecture() == 13`, 1, 17, `write "13"`, ""},
		{`prefecture(tags) == "東京"`, 1, 12, `tags is none`, ""},
		{`prefecture(email) == "東京"`, 1, 12, `email is none`, ""},
		{`prefecture(pref, 会社名) == "東京"`, 1, 1, `takes one field`, ""},
		{`prefecture(perf) == "東京"`, 1, 12, `no field "perf"`, "pref"},
		{`prefecture()`, 1, 1, `alone is no condition`, ""},
		{`prefectur() == "東京"`, 1, 1, `no function "prefectur"`, "prefecture"},
		{`received("2026-10-nwes")`, 1, 10, `no campaign "2026-10-nwes" was sent yet; there are 2026-10-news, 秋`, `"2026-10-news"`},
		{`bounced(秋)`, 1, 9, `takes the id of a campaign in quotes`, ""},
		{`opened("秋", "秋")`, 1, 8, `takes the id of a campaign`, ""},
		{`received() == true`, 1, 1, `is a condition by itself`, ""},
		{`suppressed("x")`, 1, 1, `takes no argument`, ""},
		{`sent_since()`, 1, 1, `a distance back from now or a date`, ""},
		{`sent_since(3)`, 1, 12, `a distance back from now or a date`, ""},
		{`sent_since("3 days")`, 1, 12, `"3 days" is neither a distance nor a date; sent_since takes`, ""},
		{`sent_since("9999y")`, 1, 12, `leads out of the years`, ""},
		{`not_sent_sinc("3d")`, 1, 1, `no function`, "not_sent_since"},
		{`sample()`, 1, 1, `sample takes a percentage`, ""},
		{`sample("5")`, 1, 8, `sample takes a percentage`, ""},
		{`sample(0)`, 1, 8, `more than 0 and at most 100`, ""},
		{`sample(101, "x")`, 1, 8, `more than 0 and at most 100`, ""},
		{`sample(5, 1)`, 1, 11, `sample takes a percentage`, ""},
		{`age + 1 > 3`, 1, 5, `arithmetic`, ""},
		{`age > 3 ? true : false`, 1, 22, `not part of the language`, ""},
		{`let x = 1; age > x`, 1, 5, ``, ""},
		{`(age > 1) == true`, 1, 6, `a comparison is no value`, ""},
		{`1 == 1`, 1, 3, `neither side is a field`, ""},
		{`age == pref`, 1, 5, `cannot be compared`, ""},
		{`age in [1, "2"]`, 1, 12, `age is a number`, ""},
		{`age in [nil]`, 1, 9, `nil is no value`, ""},
		{`pref in "a".."b"`, 1, 6, `a range is for numbers and dates`, ""},
		{`age < nil`, 1, 5, `nil is no value`, ""},
		{`pref == "a\x00b"`, 1, 9, `no cell can hold`, ""},
		{"pref == \"\xff\"", 1, 10, `not valid UTF-8`, ""},
		{"// nothing\n# here", 1, 1, "for everybody write true", ""},
		{"age == 1 /* ", 1, 13, ``, ""},
		{`has(age, pref)`, 1, 1, `has takes one field`, ""},
		{`has(1)`, 1, 5, `the name of a field`, ""},
		{`has("agee")`, 1, 5, `no field`, "age"},
		{`age.foo() == 1`, 1, 5, ``, ""},
		{`age?.x == 1`, 1, 6, ``, ""},
		{strings.Repeat("not (", 200) + "true" + strings.Repeat(")", 200), 1, 501, "nests deeper", ""},
		{strings.Repeat("x", 70000), 1, 1, "longer than 64 KB", ""},
		{"age in [" + strings.Repeat("1,", 12000) + "1]", 1, 20008, "too many parts", ""},
	} {
		_, err := segment.Compile(tt.src, shop())
		var e *segment.Error
		if !errors.As(err, &e) {
			t.Errorf("%.60s: got %v, want a *segment.Error", tt.src, err)
			continue
		}
		if e.Pos.Line != tt.line || e.Pos.Column != tt.column || !strings.Contains(e.Msg, tt.msg) || e.Nearest != tt.nearest {
			t.Errorf("%.60s:\n got %d:%d %s (nearest %q)\nwant %d:%d %s (nearest %q)", tt.src,
				e.Pos.Line, e.Pos.Column, e.Msg, e.Nearest, tt.line, tt.column, tt.msg, tt.nearest)
		}
	}
}

// The caret stands under the place also behind full-width characters, and a long line is cut around it.
func TestErrorText(t *testing.T) {
	_, err := segment.Compile("会社名 == \"東京\" and\nメール・区分 == \"あ\" and agee > 1", shop())
	want := `expression, line 2, column 19: there is no field "agee" (did you mean age?)
    メール・区分 == "あ" and agee > 1
                             ^`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	_, err = segment.Compile(strings.Repeat("age == 1 or ", 500)+"agee == 1\x1b[31m", shop())
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 3 || len(lines[1]) > 120 || strings.ContainsRune(lines[1], 0x1b) {
		t.Errorf("got\n%q", err)
	}
}

func TestLongChains(t *testing.T) {
	w := newWorld(t, newRand(1))
	defer w.close()
	for _, src := range []string{
		strings.Repeat("domain == \"example.com\" or ", 2000) + "false",
		"email in [" + strings.Repeat("\"a@example.com\", ", 3000) + "\"b@example.com\"]",
		strings.Repeat("not (", 99) + "true" + strings.Repeat(")", 99),
		strings.Repeat("(true and ", 90) + "false" + strings.Repeat(")", 90),
	} {
		w.bySQL(t, src) // fails the test when SQLite refuses it
	}
}

// A prefecture is looked for in the field that a header names so; without one the error leads to the address.
func TestPrefectureField(t *testing.T) {
	address := segment.Schema{Fields: []contact.Field{{ID: 1, Name: "ご住所", Type: contact.Text, Role: contact.Street}}}
	_, err := segment.Compile(`prefecture() == "東京"`, address)
	var e *segment.Error
	if !errors.As(err, &e) || e.Nearest != "prefecture(ご住所)" {
		t.Errorf("got %v", err)
	}
	if q, err := segment.Compile(`region(ご住所) == "関東"`, address); err != nil || q.SQL != "mailer_region(json_extract(c.fields, '$.f1')) = ?" {
		t.Errorf("got %s, %v", q.SQL, err)
	}
	if _, err := segment.Compile(`region() == "関東"`, segment.Schema{}); err == nil || !strings.Contains(err.Error(), "name the one that does") {
		t.Errorf("got %v", err)
	}
}

// A sample lies within every larger one of its seed, and has about its share.
func TestSamplesNest(t *testing.T) {
	const people = 20000
	last := 0
	for _, percent := range []string{"0.5", "5", "10", "99.5", "100"} {
		q, err := segment.Compile("sample("+percent+`, "s")`, shop())
		if err != nil {
			t.Fatal(err)
		}
		in := 0
		for i := range people {
			if segment.PlaceNumber("s", fmt.Sprintf("p%d@example.jp", i)) < q.Args[1].(int64) {
				in++
			}
		}
		share, _ := strconv.ParseFloat(percent, 64)
		if got := 100 * float64(in) / people; got < share*0.8-0.1 || got > share*1.2+0.1 || in < last {
			t.Errorf("sample(%s) holds %.2f percent", percent, got)
		}
		last = in
	}
	if last != people {
		t.Errorf("sample(100) holds %d of %d", last, people)
	}
}

func TestSeeks(t *testing.T) {
	for src, want := range map[string]string{
		`pref == "東京都" and (age >= 30 and list("news"))`: "pref age",
		`pref == "a" or age == 1`:                        "", `not (pref == "a")`: "", `pref != "a" and age in [1, 2]`: "age", `last_purchase in "2026-01".."2026-02"`: "last_purchase",
		`pref startsWith "東" and 会社名 contains "x" and 会社名 endsWith "y" and "vip" in tags and has(age)`: "pref",
		`email == "a@example.jp" and prefecture() == "東京" and pref == 会社名`:                             "", `subscribed`: "subscribed", "": "",
	} {
		e, err := segment.Explain(src, shop())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range e.Seeks {
			names = append(names, s.Field.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: an index can serve %q, want %q", src, got, want)
		}
	}
}

func TestNot(t *testing.T) {
	w := newWorld(t, newRand(2))
	defer w.close()
	for range 200 {
		src := w.leaf()
		q, err := segment.Compile(src, w.schema)
		if err != nil {
			t.Fatal(err)
		}
		var all, in, out int
		count := func(n *int, where string, args ...any) {
			if err := w.db.QueryRow("SELECT count(*) FROM contacts AS c WHERE "+where, args...).Scan(n); err != nil {
				t.Fatal(err)
			}
		}
		count(&all, "1")
		count(&in, q.SQL, q.Args...)
		count(&out, q.Not().SQL, q.Not().Args...)
		if in+out != all {
			t.Errorf("%s: %d in, %d out of %d", src, in, out, all)
		}
	}
}

func TestExplain(t *testing.T) {
	e, err := segment.Explain(`pref == "東京都" and (age in 20..29 or not ("vip" in tags)) and last_purchase < ago("90d") and list("news") and 会社名 != nil and not (pref == "")
		and (received("秋") or not_sent_since("3d") or bounced() or opened("秋") or bounced_since("1d") or unsubscribed() or suppressed() or sample(2.5, "x")
			or sent_since("2026-01") or tags in ["a", "b"] or pref matches "x" or region() == "Kanto")`, shop())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range e.Clauses {
		fmt.Fprintf(&b, "%s%s\n", strings.Repeat("  ", c.Depth), c.Words)
	}
	want := `all of these:
  pref is "東京都"
  any of these:
    age is from 20 to 29
    not: tags holds "vip"
  last_purchase is before 2025-12-31 (90d ago)
  on the list "news"
  会社名 has a value
  not: pref is "" (so a missing value counts)
  any of these:
    was sent the campaign "秋"
    was sent nothing since 2026-03-28 (3d ago)
    a mail bounced
    opened a mail of "秋"
    a mail bounced since 2026-03-30 (1d ago)
    is unsubscribed
    is suppressed
    in the sample of 2.5 percent, seed "x"
    was sent something since 2026-01
    tags holds one of "a", "b"
    pref matches "x"
    region() is "関東"
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	var names []string
	for _, f := range e.Fields {
		names = append(names, f.Name)
	}
	if !slices.Equal(names, []string{"pref", "age", "tags", "last_purchase", "会社名"}) || !slices.Equal(e.Lists, []string{"news"}) || !slices.Equal(e.Campaigns, []string{"秋"}) || len(e.Notes) != 1 {
		t.Errorf("fields %q, lists %q, notes %q", names, e.Lists, e.Notes)
	}
}

func TestFiles(t *testing.T) {
	dir := fstest.MapFS{
		"segments/tokyo.expr":  {Data: []byte("\ufeff# people of Tokyo\r\npref == \"東京都\"\r\n")},
		"segments/若者.expr":     {Data: []byte("age < 30")},
		"segments/empty.expr":  {Data: []byte(" \n")},
		"segments/huge.expr":   {Data: make([]byte, 1<<20)},
		"segments/notes.txt":   {Data: []byte("x")},
		"segments/.hide.expr":  {Data: []byte("x")},
		"segments/d.expr/x.md": {Data: []byte("x")},
	}
	names, err := segment.Names(dir)
	if err != nil || !slices.Equal(names, []string{"empty", "huge", "tokyo", "若者"}) {
		t.Errorf("Names: %q, %v", names, err)
	}
	if names, err := segment.Names(fstest.MapFS{}); err != nil || len(names) != 0 {
		t.Errorf("Names of a workspace without segments: %q, %v", names, err)
	}
	for _, name := range []string{"tokyo", "tokyo.expr", "segments/tokyo.expr", "./segments/tokyo.expr"} {
		if src, err := segment.Load(dir, name); err != nil || src != "# people of Tokyo\npref == \"東京都\"" {
			t.Errorf("Load %s: %q, %v", name, src, err)
		}
	}
	for name, want := range map[string]string{
		"tokio":         "did you mean tokyo?",
		"empty":         "for everybody write true",
		"huge":          "larger than",
		"../mailer.yml": "letters, digits",
		".hide":         "letters, digits",
		"a/b":           "letters, digits",
		`a\b`:           "letters, digits",
		"":              "no name",
	} {
		if _, err := segment.Load(dir, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load %q: %v, want %q", name, err, want)
		}
	}
	if _, err := segment.Load(dir, "nowhere"); !errors.Is(err, segment.ErrNotSaved) {
		t.Errorf("Load nowhere: %v", err)
	}
}
