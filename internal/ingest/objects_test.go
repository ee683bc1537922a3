package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"mailer/internal/contact"
)

func TestObjects(t *testing.T) {
	w := newWorld(t)
	path := w.bytesFile("list.jsonl", []byte("\ufeff"+`{"email":"taro@example.jp","attribs":{"city":"東京","geo":{"lat":35.60}},"tags":["a","b c"],"n":1e6,"vip":true,"x":null}`+"\r\n\n"+
		`{"n":-0.50,"email":"hana@example.jp","note":"a\nb \u3042\ud83d\ude00\/","tags":[],"lists":[{"id":1, "k":"}"},2]}`+"\n"))
	rows, rejects, h, src := read(t, path, Options{})
	if want := []string{"email", "attribs.city", "attribs.geo.lat", "tags", "n", "vip", "x", "note", "lists"}; !slices.Equal(h.names, want) {
		t.Errorf("names %q", h.names)
	}
	want := [][]string{{"1", "taro@example.jp", "東京", "35.60", "a;b c", "1e6", "true", "", "", ""},
		{"3", "hana@example.jp", "", "", "", "-0.50", "", "", "a\nb あ😀/", `[{"id":1, "k":"}"},2]`}}
	if fmt.Sprint(rows) != fmt.Sprint(want) || len(rejects) > 0 {
		t.Errorf("%q\nwant %q, rejects %v", rows, want, rejects)
	}
	if src.format != FormatJSON || src.delimiter() != "" || h.line != 0 {
		t.Errorf("%+v", src)
	}
}

func TestObjectsInOtherForms(t *testing.T) {
	w := newWorld(t)
	sjis, err := japanese.ShiftJIS.NewEncoder().String(`[{"email":"a@example.jp","k":"ボ}"},{"email":"b@example.jp","k":"ソ"}]`)
	if err != nil {
		t.Fatal(err)
	}
	wide, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String("{\"email\":\"a@example.jp\",\"k\":\"ボ}\"}\n{\"email\":\"b@example.jp\",\"k\":\"ソ\"}\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ text, lines string }{
		"array":    {"[\n  {\"email\":\"a@example.jp\",\n\"k\":\"ボ}\"} ,\n\n{\"email\":\"b@example.jp\",\"k\":\"ソ\"}\n]\n", "2 5"},
		"one line": {`[{"email":"a@example.jp","k":"ボ}"},{"email":"b@example.jp","k":"ソ"}]`, "1 2"},
		"printed":  {"{\n  \"email\": \"a@example.jp\",\n  \"k\": \"ボ}\"\n}\n{\n  \"email\": \"b@example.jp\",\n  \"k\": \"ソ\"\n}\n", "1 5"},
		"cp932":    {sjis, "1 2"},
		"utf-16":   {wide, "1 2"},
	} {
		rows, rejects, h, _ := read(t, w.bytesFile("x", []byte(tt.text)), Options{})
		lines := strings.Fields(tt.lines)
		want := [][]string{{lines[0], "a@example.jp", "ボ}"}, {lines[1], "b@example.jp", "ソ"}}
		if fmt.Sprint(rows) != fmt.Sprint(want) || len(rejects) > 0 || len(h.names) != 2 {
			t.Errorf("%s: %q, rejects %v", name, rows, rejects)
		}
	}
	for text, part := range map[string]string{
		"[{\"email\":\"a@example.jp\"}":              "line 1: the array is not closed",
		"[{\"email\":\"a@example.jp\"},\n]":          "line 2: ']' stands where an object",
		"[{\"email\":\"a@example.jp\"}\n{}]":         "line 2: '{' stands",
		"[{\"email\":\"a@example.jp\"},\n{\"email\"": "line 2: the object that begins here is not closed",
		"[]":                                 "holds no JSON object",
		"[{\"email\":\"a@example.jp\"},\n3]": "line 2: '3' stands",
	} {
		_, err := Import(t.Context(), w.st, Options{Path: w.file(text)}, Events{})
		if wrong := new(UsageError); !errors.As(err, &wrong) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", text, err, part)
		}
	}
}

func TestBrokenObjectsCostTheirLine(t *testing.T) {
	w := newWorld(t)
	good := `{"email":"a@example.jp","k":"x"}`
	for line, reason := range map[string]string{
		`{"email":"b@example.jp","k":`:                    "column 29: a value is missing",
		`{"email":"b@example.jp" "k":1}`:                  "column 25: a comma or '}' is missing",
		`{"email":"b@example.jp","k":"x}`:                 "a string is not closed",
		`{"email":"b@example.jp","k":"\x"}`:               `\x is no escape`,
		`{"email":"b@example.jp","k":"\ud83d"}`:           "column 30: half a surrogate pair",
		`{"email":"b@example.jp","k":"\udc00x"}`:          "half a surrogate pair",
		`{"email":"b@example.jp","k":"\ud83d\u0041"}`:     "half a surrogate pair",
		`{"email":"b@example.jp","k":"\u00"}`:             "four hexadecimal digits",
		`{"email":"b@example.jp","k":"a\u0000b"}`:         `"k": the cell holds a NUL byte`,
		`{"email":"b@example.jp","k":"a` + "\x01" + `"}`:  "control character 0x01",
		`{"email":"b@example.jp","k":"a` + "\xff" + `"}`:  "column 31: the bytes 0xFF are not utf-8",
		`{"email":"b@example.jp","k":"\ufffd"}`:           "U+FFFD",
		`{"email":"b@example.jp","email":"c@example.jp"}`: `column 25: the key "email" stands twice`,
		`{"email":"b@example.jp","a.b":1,"a":{"b":2}}`:    `the key "a.b" stands twice`,
		`{"email":"b@example.jp","k":007}`:                "is no number",
		`{"email":"b@example.jp","k":.5}`:                 "a value is missing",
		`{"email":"b@example.jp","k":NaN}`:                "a value is missing",
		`{"email":"b@example.jp"} x`:                      "something stands behind",
		`["b@example.jp"]`:                                "is no JSON object",
		`{"email":"b@example.jp","k":["a,b"]}`:            `"k": the item "a,b" holds a character that divides`,
		`{"email":"b@example.jp","k":[1,]}`:               "a value is missing",
		`{"email":"b@example.jp","k":` + strings.Repeat(`{"a":`, 60) + "1" + strings.Repeat("}", 60) + "}": "nested more than 50",
		`{"email":"b@example.jp","k":"` + strings.Repeat("x", 2<<20) + `"}`:                                "longer than 1048576 bytes",
		`{"email":"b"}`: "the address has no @",
	} {
		_, rejects := w.imported(good+"\n"+line+"\n"+good+"\n", Options{DryRun: true}, "3 1 0 1 1 0")
		if len(rejects) != 1 || rejects[0].Line != 2 || !strings.Contains(rejects[0].Reason, reason) {
			t.Errorf("%.60q: %.200q, want %q", line, fmt.Sprint(rejects), reason)
		}
	}
}

func TestObjectsAreImported(t *testing.T) {
	w := newWorld(t)
	text := `{"email":"a@example.jp","code":"0123","zip":"123","age":30,"tags":["x","y"],"vip":true,"since":"2026-01-05"}` + "\n" +
		`{"email":"b@example.jp","code":"77","zip":"9","age":"4.50","tags":["1"],"vip":false}` + "\n"
	sum, _ := w.imported(text, Options{}, "2 2 0 0 0 0")
	if sum.Format != FormatJSON || sum.Encoding != "utf-8" {
		t.Errorf("%+v", sum)
	}
	fields, err := w.st.Fields(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, f := range fields {
		types = append(types, f.Name+" "+string(f.Type))
	}
	if got := strings.Join(types, ", "); got != "code text, zip text, age number, tags list, vip boolean, since date" {
		t.Errorf("fields: %s", got)
	}
	w.imported(text, Options{}, "2 0 0 2 0 0")
	w.imported("", Options{Path: "-", Stdin: strings.NewReader(text)}, "2 0 0 2 0 0")
	w.imported("email,age,tags\na@example.jp,30,x;y\n", Options{}, "1 0 0 1 0 0")

	var keys strings.Builder
	for i := range maxKeys + 2 {
		fmt.Fprintf(&keys, `,"k%d":1`, i)
	}
	if _, err := Import(t.Context(), w.st, Options{Path: w.file(`{"email":"a@example.jp"` + keys.String() + "}")}, Events{}); err == nil || !strings.Contains(err.Error(), "more than 1000 different keys") {
		t.Error(err)
	}
}

// The parser takes what encoding/json takes, but for what that lets pass: a key twice, half a surrogate pair, bytes that
// are not UTF-8, and deep nesting. Values are those of encoding/json.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":{"c":[1,"x",null]},"d":"\u3042\ud83d\ude00"}`, `{"a":[{"b":1}]} `, `{"a":-0.5e+3}`, `{"":"","a":{}}`, `{"a":"\u12"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var p objectParser
		err := p.parse(s)
		if !utf8.ValidString(s) {
			return // decoding rejects it before
		}
		var want map[string]json.RawMessage
		valid := json.Unmarshal([]byte(s), &want) == nil && want != nil
		if err == nil && !valid {
			t.Fatalf("%q is taken and is no object", s)
		}
		if err != nil && valid && !slices.ContainsFunc([]string{"twice", "surrogate", "nested", "the key:"}, func(part string) bool { return strings.Contains(err.Error(), part) }) {
			t.Fatalf("%q: %v", s, err)
		}
		if err != nil {
			return
		}
		for _, m := range p.members {
			var text string
			raw, top := want[m.key]
			if top && m.kind == stringValue && json.Unmarshal(raw, &text) == nil && m.err == nil && m.text != text {
				t.Fatalf("%q: %q is %q, want %q", s, m.key, m.text, text)
			}
			if m.err == nil && contact.CheckCell(m.text) != nil {
				t.Fatalf("%q holds the cell %q", s, m.text)
			}
		}
	})
}

// Whatever a file of objects holds, reading it ends.
func FuzzObjects(f *testing.F) {
	for _, s := range []string{"{\"email\":\"a@example.jp\"}\n{\"b\":[1,2]}\n", `[{"a":1},{"b":{"c":2}}]`, "{\n\"a\":1\n}\n{}", "[", "{\"a\":1}\n\xff\n{"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, append(bytes.Clone(text), '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
		readAll(t, path)
	})
}
