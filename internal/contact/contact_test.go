package contact

import (
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestEncodeFields(t *testing.T) {
	tests := []struct {
		typ        Type
		cell, json string
	}{
		{Text, "東京都", `{"f7":"東京都"}`},
		{Text, "", `{}`},
		{Text, "a \"q\" \\ <b>&\n\x01", `{"f7":"a \"q\" \\ <b>&\n\u0001"}`},
		{Text, " padded ", `{"f7":" padded "}`},
		{Number, "30", `{"f7":30}`},
		{Number, "1.50", `{"f7":1.50}`},
		{Number, "-0.5", `{"f7":-0.5}`},
		{Number, "123456789012345", `{"f7":123456789012345}`},
		{Date, "2026-01-05", `{"f7":"2026-01-05"}`},
		{Date, "2026/1/5", `{"f7":"2026-01-05","t7":"2026/1/5"}`},
		{Date, "2026/01/05 9:30", `{"f7":"2026-01-05T09:30:00","t7":"2026/01/05 9:30"}`},
		{Date, "2026-01-05T09:30:00", `{"f7":"2026-01-05T09:30:00"}`},
		{Date, "2026年1月5日", `{"f7":"2026-01-05","t7":"2026年1月5日"}`},
		{Date, "2026.1.5", `{"f7":"2026-01-05","t7":"2026.1.5"}`},
		{Date, "2026-01-05T09:30:00+09:00", `{"f7":"2026-01-05T09:30:00","t7":"2026-01-05T09:30:00+09:00"}`},
		{Date, "2026-01-05T09:30:00.125Z", `{"f7":"2026-01-05T09:30:00","t7":"2026-01-05T09:30:00.125Z"}`},
		{Date, "令和6年5月1日", `{"f7":"2024-05-01","t7":"令和6年5月1日"}`},
		{Date, "令和元年5月1日", `{"f7":"2019-05-01","t7":"令和元年5月1日"}`},
		{Date, "㋿6年5月1日 9:05", `{"f7":"2024-05-01T09:05:00","t7":"㋿6年5月1日 9:05"}`},
		{Date, "R6/5/1", `{"f7":"2024-05-01","t7":"R6/5/1"}`},
		{Date, "S60.1.2", `{"f7":"1985-01-02","t7":"S60.1.2"}`},
		{Date, "平成31年4月30日", `{"f7":"2019-04-30","t7":"平成31年4月30日"}`},
		{Date, "H1/1/8", `{"f7":"1989-01-08","t7":"H1/1/8"}`},
		{Date, "昭和64年1月7日", `{"f7":"1989-01-07","t7":"昭和64年1月7日"}`},
		{Date, "昭和元年12月25日", `{"f7":"1926-12-25","t7":"昭和元年12月25日"}`},
		{Date, "大正15年12月25日", `{"f7":"1926-12-25","t7":"大正15年12月25日"}`},
		{Date, "大正元年7月30日", `{"f7":"1912-07-30","t7":"大正元年7月30日"}`},
		{Date, "M45.7.30", `{"f7":"1912-07-30","t7":"M45.7.30"}`},
		{Date, "明治6年1月1日", `{"f7":"1873-01-01","t7":"明治6年1月1日"}`},
		{Date, "R6.2.29", `{"f7":"2024-02-29","t7":"R6.2.29"}`},
		{Boolean, "true", `{"f7":true}`},
		{Boolean, "Yes", `{"f7":true,"t7":"Yes"}`},
		{Boolean, "いいえ", `{"f7":false,"t7":"いいえ"}`},
		{List, "a;b", `{"f7":["a","b"]}`},
		{List, "a, b、c", `{"f7":["a","b","c"],"t7":"a, b、c"}`},
	}
	for _, tt := range tests {
		fields := []Field{{ID: 7, Name: "x y", Type: tt.typ}}
		got, err := EncodeFields(fields, map[int64]string{7: tt.cell})
		if err != nil || got != tt.json {
			t.Errorf("%s %q: %s, %v; want %s", tt.typ, tt.cell, got, err, tt.json)
		}
		values, err := DecodeFields(fields, got)
		if err != nil || values["x y"] != tt.cell {
			t.Errorf("%s %q prints as %q, %v", tt.typ, tt.cell, values["x y"], err)
		}
	}
}

func TestEncodeFieldsOrder(t *testing.T) {
	fields := []Field{{ID: 1, Type: Number}, {ID: 2, Type: Text}, {ID: 3, Type: Text}}
	got, err := EncodeFields(fields, map[int64]string{3: "c", 1: "1", 9: "no such field"})
	if want := `{"f1":1,"f3":"c"}`; err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

func TestMismatch(t *testing.T) {
	for typ, cells := range map[Type][]string{
		Number: {"007", "1e3", "1,000", "+5", "１", "1.", ".5", "-", " 1", "1234567890123456", "0x1", "--1", "00"},
		Date: {"2026-1-5", "5/1/2026", "01/02/2026", "2026-02-30", "2026/13/1", "20260105", "2026-01/05", "R0/1/5",
			"2026-01-05 25:00", "2026-01-05T10:00:00X", "26/1/5", "2026-01-05 ", "2026-01-05T", "2026-01-05T10", "2026-01-05 10:00 ", "2026-01-05 10:00:60",
			"2026-01-05 10:00+9", "2026-01-05+09:00", "0000-01-01", "2026.1/5", "2026年1月5", "2026年1月", "2026/1/5日", "2026/001/5", "R6-5-1", "令和0年1月1日",
			"令和元5月1日", "令和6年13月1日", "X6/5/1", "20260/1/5", "平成31年5月1日", "昭和64年1月8日", "平成元年1月7日", "令和元年4月30日", "大正15年12月26日",
			"明治5年12月2日", "明治45年7月31日", "R6/5/1/1", "Section", "2026-1-05", "2025-02-29", "R7.2.29"},
		Boolean: {"0", "1", "y", "○", "truee"},
	} {
		for _, cell := range cells {
			_, err := EncodeFields([]Field{{ID: 1, Name: "年齢 x", Type: typ}}, map[int64]string{1: cell})
			var mismatch *MismatchError
			if !errors.As(err, &mismatch) {
				t.Errorf("%q passes as a %s", cell, typ)
			} else if !strings.Contains(err.Error(), "mailer fields set '年齢 x' --type text") {
				t.Errorf("%q: %v does not tell the way out", cell, err)
			}
		}
	}
}

func TestWayOutOfADate(t *testing.T) {
	for cell, want := range map[string]string{"2026-1-5": "two digits for the month", "20260105": "two digits for the month", "01/02/2026": "is not guessed", "05012026": "is not guessed", "soon": ""} {
		if got := WayOut(Date, cell); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", cell, got, want)
		}
	}
}

func TestDecodeRefusesForeign(t *testing.T) {
	for _, text := range []string{"", "[]", `{"x1":"a"}`, `{"":"a"}`, `{"f":"a"}`, `{"f1":[1]}`} {
		if cells, err := DecodeCells(text); err == nil {
			t.Errorf("DecodeCells(%q) = %v", text, cells)
		}
	}
}

// Every cell that is accepted comes back byte for byte, under every type that takes it, and the JSON is sound.
func FuzzRoundTrip(f *testing.F) {
	for _, s := range []string{"", "a", "東京都", "30", "2026/1/5", "Yes", "a;b", "\x00", "\u2028", "1e5", "-0", "[]", `"`, "true",
		"令和6年5月1日", "R6/5/1 9:30", "2026-01-05T10:00:00.5+09:00", "a|b", ",", "0.5", "-.5", "ONE", "on"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cell string) {
		if !utf8.ValidString(cell) {
			return
		}
		for _, typ := range Types {
			fields := []Field{{ID: 1, Name: "x", Type: typ}}
			text, err := EncodeFields(fields, map[int64]string{1: cell})
			if typ == Date && cell != "" && isDate(cell) != Fits(typ, cell) {
				t.Fatalf("%q: isDate says %v", cell, isDate(cell))
			}
			if day, ok := parseDate(cell); ok {
				if again, ok := parseDate(day); !ok || again != day {
					t.Fatalf("%q is stored as %q, and that as %q", cell, day, again)
				}
			}
			if (err == nil) != Fits(typ, cell) {
				t.Fatalf("%s %q: Fits says %v, EncodeFields %v", typ, cell, Fits(typ, cell), err)
			}
			if err != nil {
				continue
			}
			if !json.Valid([]byte(text)) {
				t.Fatalf("%s %q: not JSON: %s", typ, cell, text)
			}
			want := map[string]string{}
			if cell != "" {
				want["x"] = cell
			}
			if got, err := DecodeFields(fields, text); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s %q came back as %q, %v", typ, cell, got, err)
			}
		}
	})
}

// The parsers for speed agree with the plain words of what they do.
func FuzzParsers(f *testing.F) {
	for _, s := range []string{"", "1", "-0.5", "007", "1.", ".5", "2026-01-05", "2026-02-30", "Yes", "ON", "oF", "はい", "123456789012345", "1234567890123.45"} {
		f.Add(s)
	}
	number := regexp.MustCompile(`^-?(0|[1-9][0-9]*)([.][0-9]+)?$`)
	words := map[string]bool{"true": true, "yes": true, "on": true, "はい": true, "false": false, "no": false, "off": false, "いいえ": false}
	f.Fuzz(func(t *testing.T, s string) {
		digits := strings.Count(strings.Map(func(r rune) rune {
			if '0' <= r && r <= '9' {
				return 'd'
			}
			return r
		}, s), "d")
		if want := number.MatchString(s) && digits <= maxDigits; isNumber(s) != want {
			t.Fatalf("isNumber(%q) = %v", s, !want)
		}
		value, ok := ParseBoolean(s)
		if want, known := words[strings.ToLower(s)]; ok != known || value != want {
			t.Fatalf("ParseBoolean(%q) = %v, %v; want %v, %v", s, value, ok, want, known)
		}
		for layout, form := range map[string]string{"2006-01-02": "2006-01-02", "2006/1/2": "2006-01-02", "2006-01-02T15:04:05": "2006-01-02T15:04:05", "2006.1.2": "2006-01-02", "2006年1月2日": "2006-01-02"} {
			if d, err := time.Parse(layout, s); err == nil && d.Year() > 0 && len(s) == len(d.Format(layout)) && s == d.Format(layout) {
				if got, ok := parseDate(s); !ok || got != d.Format(form) {
					t.Fatalf("parseDate(%q) = %q, %v; want %q", s, got, ok, d.Format(form))
				}
			}
		}
		if got, ok := parseDate(s); ok {
			if _, err := time.Parse("2006-01-02T15:04:05"[:len(got)], got); err != nil {
				t.Fatalf("parseDate(%q) = %q: %v", s, got, err)
			}
		}
	})
}
