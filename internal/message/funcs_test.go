package message

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The message is made on Tuesday, 1 December 2026, 18:00 in Tokyo.
func TestFunctions(t *testing.T) {
	values := map[string]string{"d": "2026-12-24", "past": "2026/11/10", "at": "2026-12-24 18:30", "utc": "2026-12-24T23:30:00Z", "n": "1234567.5", "one": "1", "two": "2",
		"five": "5", "zero": "0", "wide": "１２３４", "grouped": "1,234", "neg": "-1500", "name": "山田　太郎", "latin": "Taro Yamada", "comma": "Yamada, Taro", "whole": "山田太郎",
		"tags": "go; sql、ja", "text": "abc", "blank": " "}
	for _, c := range []struct{ lang, source, want string }{
		{"en", `{{date "long" .d}}`, "December 24, 2026"},
		{"en-GB", `{{date "full" .d}}`, "Thursday, 24 December 2026"},
		{"de", `{{date "full" .d}}`, "Donnerstag, 24. Dezember 2026"},
		{"fr", `{{date "Monday 2 January" .d}}`, "jeudi 24 décembre"},
		{"es", `{{date "long" .d}}`, "24 de diciembre de 2026"},
		{"ru", `{{date "long" .d}}`, "24 декабря 2026 г."},
		{"ja", `{{date "full" .d}}`, "2026年12月24日(木)"},
		{"ja", `{{date "1月2日(Mon) 15:04" .at}}`, "12月24日(木) 18:30"},
		{"ko", `{{date "long" .d}}`, "2026년 12월 24일"},
		{"tr", `{{date "long" .d}}`, "2026-12-24"},
		{"en", `{{date "Jan, January; Months" .d}}`, "Dec, December; Months"},
		{"en", `{{date "15:04" .utc}}`, "08:30"},
		{"en", `{{dateIn "Europe/Paris" "2 Jan 15:04" .at}}`, "24 Dec 10:30"},
		{"en", `{{dateIn "America/New_York" "2 Jan" .d}}`, "24 Dec"}, // a day is that day everywhere
		{"ja", `{{date "long" .blank}}`, ""},
		{"ja", `{{weekday .d}}/{{weekday "short" .d}}`, "木曜日/木"},
		{"en", `{{.d | weekday}}`, "Thursday"},
		{"ja", `{{wareki .d}}`, "令和8年12月24日"},
		{"en", `{{wareki "2006年1月" .d}}`, "令和8年12月"},
		{"ja", `{{wareki "2019-05-01"}}/{{wareki "2019-04-30"}}/{{wareki "1989/1/7"}}/{{wareki "1926.12.25"}}/{{wareki "1912-07-29"}}/{{wareki "1872-12-31"}}`,
			"令和元年5月1日/平成31年4月30日/昭和64年1月7日/昭和元年12月25日/明治45年7月29日/1872年12月31日"},
		{"en", `{{relative .d}}/{{relative .past}}`, "in 3 weeks/3 weeks ago"},
		{"en", `{{relative "2026-12-01"}} {{relative "2026-12-02"}} {{relative "2026-11-30"}} {{relative "2026-12-04"}} {{relative "2027-03-05"}} {{relative "2023-12-01"}}`,
			"today tomorrow yesterday in 3 days in 3 months 3 years ago"},
		{"en", `{{relative .now}}`, "today"},
		{"ja", `{{relative "2026-12-04"}}/{{relative .past}}/{{relative "2026-12-02"}}`, "3日後/3週間前/明日"},
		{"de", `{{relative "2026-12-04"}}/{{"2026-11-28" | relative}}`, "in 3 Tagen/vor 3 Tagen"},
		{"en", `{{days .d}} {{days .past}}{{if lt (days .d) 30}} soon{{end}}`, "23 -21 soon"},
		{"en", `{{number .n}}/{{number 2 .n}}/{{.wide | number}}/{{number .grouped}}/{{number .neg}}`, "1,234,567.5/1,234,567.50/1,234/1,234/-1,500"},
		{"de", `{{number .n}}`, "1.234.567,5"},
		{"en-IN", `{{number .n}}`, "12,34,567.5"},
		{"ja", `{{currency "JPY" .neg}}/{{currency "USD" .grouped}}/{{currency "CHF" .two}}`, "-1,500円/$1,234.00/CHF\u00a02.00"},
		{"en", `{{currency "JPY" .grouped}}/{{currency "EUR" .grouped}}`, "¥1,234/€1,234.00"},
		{"de", `{{currency "EUR" .grouped}}`, "1.234,00\u00a0€"},
		{"nl", `{{currency "EUR" .two}}`, "€\u00a02,00"},
		{"en", `{{plural "point" "points" .one}} {{plural "point" "points" .two}} {{plural "point" "points" .zero}}`, "point points points"},
		{"fr", `{{plural "point" "points" .zero}}`, "point"},
		{"ru", `{{plural "день" "дня" "дней" .one}} {{plural "день" "дня" "дней" .two}} {{plural "день" "дня" "дней" .five}}`, "день дня дней"},
		{"ja", `{{plural "点" .five}}`, "点"},
		{"ja", `{{sama (sei .name)}}/{{mei .name}}/{{sei .whole}}/{{sama (sei .none)}}/{{sama .blank}}`, "山田 様/太郎/山田太郎/お客様/お客様"},
		{"en", `{{sei .latin}} {{mei .latin}} {{sei .comma}} {{mei .comma}}`, "Yamada Taro Yamada Taro"},
		{"ja", `{{sama (default "会員の皆さま" .none)}}/{{onchu .none}}/{{sama "鈴木様"}}`, "会員の皆さま/ご担当者様/鈴木様"},
		{"en", `{{range .tags}}[{{.}}]{{end}} {{join ", " .tags}}`, "[go][sql][ja] go, sql, ja"},
		{"en", `{{if .tags}}y{{end}}{{range .none}}x{{else}}n{{end}}`, "yn"},
		{"en", `{{if gt .n 100}}a{{end}}{{if ge .two 2}}b{{end}}{{if lt .none 5}}c{{end}}{{if gt .text 5}}d{{end}}{{if eq .two 2}}e{{end}}{{if eq .text "x" "abc"}}f{{end}}{{if ne .two 3}}g{{end}}`, "abefg"},
		{"en", `{{if .two | eq 2}}a{{end}}{{if eq (days .d) 23}}b{{end}}{{$n := .two}}{{if eq $n 2}}c{{end}}{{if 2 | eq (trim .two)}}d{{end}}{{if eq (len .tags) 12}}e{{end}}`, "abcde"},
		{"en", `{{if lt .d "2027-01-01"}}a{{end}}{{if eq true true}}b{{end}}`, "ab"},
		{"en", `{{trim .blank}}{{replace "b" "-" .text}} {{printf "%05.1f %s %d%%" 1.5 .text 2026}} {{print "2026"}}`, "a-c 001.5 abc 2026% 2026"},
		{"en", `{{urlquery .name}} {{upper .text}}`, "%E5%B1%B1%E7%94%B0%E3%80%80%E5%A4%AA%E9%83%8E ABC"},
		{"pt-BR", `{{language}} {{lang}}`, "pt pt-BR"},
	} {
		tmpl, err := compileFS(workspace("a.txt", "---\nsubject: x\nlayout: none\nlang: "+c.lang+"\n---\n"+c.source), "a")
		if err != nil {
			t.Errorf("%s: %v", c.source, err)
			continue
		}
		m, err := tmpl.Render(Recipient{"taro@example.jp", values}, mark)
		if got := strings.TrimSuffix(m.Text, "\n"); err != nil || got != c.want {
			t.Errorf("%s %s:\ngot  %q, %v\nwant %q", c.lang, c.source, got, err, c.want)
		}
	}
}

func TestFunctionsRefuse(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{`{{date "YYYY-MM-DD" .d}}`, `date: "YYYY-MM-DD" is no layout of a date; use short, long or full`},
		{`{{dateIn "Asia/Tokyo" "medium" .d}}`, `dateIn: "medium" is no layout of a date`},
		{`{{date "long" .text}}`, `date: "abc" is no date`},
		{`{{dateIn "../../etc/passwd" "2006" .d}}`, `"../../etc/passwd" is no time zone`},
		{`{{dateIn "Mars/Base" "2006" .d}}`, "is no time zone"},
		{`{{number .text}}`, `number: "abc" is no number`},
		{`{{number 99 .d}}`, "is no number"},
		{`{{currency "yen" .one}}`, `"yen" is no currency`},
		{`{{plural "a"}}`, "plural wants the forms"},
		{`{{relative .text}}`, `relative: "abc" is no date`},
		{`{{relative .none}}`, `the contact has no "none"`},
		{`{{wareki .text}}`, "is no date"},
		{`{{if lt true .one}}{{end}}`, "cannot be compared"},
		{`{{range .long}}x{{end}}`, "a list has 1001 items"},
		{`{{printf "%9999999d" 1}}`, "width of more than 999"},
		{`{{printf "%*d" 9999999 1}}`, "width of more than 999"},
		{`{{$x := "0123456789"}}{{range .full}}{{$x = print $x $x}}{{end}}`, "a text becomes longer than 1 MB"},
		{`{{$x := "0123456789"}}{{range .full}}{{$x = replace "1" $x $x}}{{end}}`, "a text becomes longer than 1 MB"},
		{`{{range $x := .full}}{{range .full}}{{range .full}}{{end}}{{end}}{{end}}`, "inside range and with write $.full"},
		{`{{range $.full}}{{range $.full}}{{range $.full}}x{{end}}{{end}}{{end}}`, "the template can run for too long"},
	} {
		tmpl, err := compileFS(workspace("a.txt", "---\nsubject: x\nlayout: none\nlang: en\n---\n"+c.source), "a")
		if err == nil {
			_, err = tmpl.Render(Recipient{"taro@example.jp", map[string]string{"d": "2026-12-24", "text": "abc", "one": "1",
				"full": strings.Repeat("x,", 1000), "long": strings.Repeat("x,", 1001)}}, mark)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "campaigns/a.txt:") {
			t.Errorf("%s: %v", c.source, err)
		}
	}
}

// Templates that call each other twice each would take 2^40 steps without printing anything.
func TestTemplatesAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, `{{define "t%d"}}{{template "t%d"}}{{template "t%d"}}{{end}}`, i, i+1, i+1)
	}
	b.WriteString(`{{define "t40"}}{{.}}{{end}}{{template "t0"}}`)
	_, err := compileFS(workspace("a.txt", "---\nsubject: x\nlayout: none\n---\n"+b.String()), "a")
	if err == nil || !strings.Contains(err.Error(), "can run for too long") {
		t.Errorf("%v", err)
	}
	start := time.Now()
	tmpl := compileFile(t, "a.txt", "subject: x\nlayout: none", `{{range .l}}{{range $.l}}{{end}}{{end}}done`)
	if m := render(t, tmpl, map[string]string{"l": strings.Repeat("x,", 1000)}); !strings.HasPrefix(m.Text, "done") || time.Since(start) > 30*time.Second {
		t.Errorf("%.20s after %s", m.Text, time.Since(start))
	}
}
