package ingest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestHeaderBelowTitles(t *testing.T) {
	w := newWorld(t)
	for text, want := range map[string]struct {
		line  int64
		rows  string
		notes string
	}{
		"email,x\na@example.jp,1\n": {1, "[2 a@example.jp 1]", ""},
		"会員名簿\n\n2026年1月,,\nメールアドレス,氏名,x\na@example.jp,山田,1\n": {4, "[5 a@example.jp 山田 1]", "the header is line 4"},
		"名簿,\nメール,x\na@example.jp,1\n":                         {2, "[3 a@example.jp 1]", "the header is line 2"},
		"連絡先,x\na@example.jp,email\nb@example.jp,1\n":          {1, "[2 a@example.jp email] [3 b@example.jp 1]", ""},
		"\"メール\nアドレス\",\"氏\n 名 \"\na@example.jp,山田\n":          {1, "[4 a@example.jp 山田]", ""},
		"sep=;\r\nemail;x\r\na@example.jp;1\r\n":               {2, "[3 a@example.jp 1]", ""},
		"email,x\nemail,2\na@example.jp,3\n":                   {1, "[2 email 2] [3 a@example.jp 3]", ""},
	} {
		rows, _, h, _ := read(t, w.file(text), Options{})
		if got := strings.Trim(fmt.Sprint(rows), "[]"); h.line != want.line || got != strings.Trim(want.rows, "[]") {
			t.Errorf("%q: line %d, rows %s", text, h.line, got)
		}
		if notes := strings.Join(h.notes, ""); (want.notes == "") != (notes == "") || !strings.Contains(notes, want.notes) {
			t.Errorf("%q: notes %q", text, notes)
		}
	}
	text := "x,y\na@example.jp,1\nemail,z\nb@example.jp,2\n"
	if rows, _, h, _ := read(t, w.file(text), Options{Header: "3"}); h.line != 3 || fmt.Sprint(rows) != "[[4 b@example.jp 2]]" {
		t.Errorf("%d %q", h.line, rows)
	}
	for _, line := range []string{"0", "x", "99"} {
		if _, err := Import(t.Context(), w.st, Options{Path: w.file(text), Header: line}, Events{}); err == nil || !strings.Contains(err.Error(), "--header") {
			t.Errorf("--header %s: %v", line, err)
		}
	}
}

func TestNoHeader(t *testing.T) {
	w := newWorld(t)
	text := "1,山田,a@example.jp,\n2,佐藤,b@example.jp,x\n3,short\n"
	_, rejects := w.imported(text, Options{Header: "none", Map: []Mapping{{"#2", "氏名"}, {"column 1", ""}}}, "3 2 0 0 1 0")
	if len(rejects) != 1 || rejects[0].Line != 3 {
		t.Errorf("%v", rejects)
	}
	w.expect("a@example.jp map[氏名:山田] []", "b@example.jp map[column 4:x 氏名:佐藤] []")
	for text, part := range map[string]string{
		"1,x\n2,y\n":                             "no column holds mail addresses",
		"a@example.jp,b@example.jp\n":            "--map '#1=email'",
		"a@example.jp,1\n":                       "",
		"a@example.jp,b@example.jp,c@example.jp": "both hold addresses",
	} {
		_, err := Import(t.Context(), w.st, Options{Path: w.file(text), Header: "none", DryRun: true}, Events{})
		if part == "" && err != nil || part != "" && (err == nil || !strings.Contains(err.Error(), part)) {
			t.Errorf("%q: %v", text, err)
		}
	}
	rows, _, h, _ := read(t, w.file("a@example.jp,b@example.jp\n"), Options{Header: "none", Map: []Mapping{{"#2", "email"}}})
	if h.address != 1 || len(rows) != 1 || !slices.Equal(h.fields, []string{"column 1", ""}) {
		t.Errorf("%+v %q", h, rows)
	}
}

func TestOnlySomeFields(t *testing.T) {
	w := newWorld(t)
	text := "メールアドレス,姓,名,会社\na@example.jp,山田,太郎,A社\n"
	for _, tt := range []struct {
		fields []string
		want   string
	}{
		{[]string{"名", "会社"}, "[メールアドレス  名 会社]"}, {[]string{"surname"}, "[メールアドレス surname  ]"},
		{[]string{"姓", "email"}, "[メールアドレス surname  ]"}, {[]string{"#4"}, "[メールアドレス   会社]"},
	} {
		_, _, h, _ := read(t, w.file(text), Options{Fields: tt.fields, Map: []Mapping{{"姓", "surname"}}})
		if got := fmt.Sprint(h.fields); got != tt.want {
			t.Errorf("%q: %s", tt.fields, got)
		}
	}
	_, err := Import(t.Context(), w.st, Options{Path: w.file(text), Fields: []string{"会社名"}}, Events{})
	if err == nil || !strings.Contains(err.Error(), `--fields: there is no column "会社名" (did you mean "会社"?)`) {
		t.Error(err)
	}
	w.imported(text, Options{Fields: []string{"名"}}, "1 1 0 0 0 0")
	w.expect("a@example.jp map[メールアドレス:a@example.jp 名:太郎] []")
}

func TestFlagsOfAnotherFormatAreTold(t *testing.T) {
	w := newWorld(t)
	var notes []string
	_, err := Import(t.Context(), w.st, Options{Path: w.file("{\"email\":\"a@example.jp\"}\n"), Sheet: "1", Delimiter: "tab", Header: "1"},
		Events{Found: func(f Found) { notes = f.Notes }})
	if err != nil || len(notes) != 1 || notes[0] != "--sheet, --delimiter, --header: without meaning for a jsonl file" {
		t.Errorf("%v %q", err, notes)
	}
}

// A file that somebody writes to is not read as if it were whole.
func TestFileThatChanges(t *testing.T) {
	w := newWorld(t)
	for name, text := range map[string]string{
		"csv":   "email\n" + strings.Repeat("a@example.jp\n", 100),
		"jsonl": strings.Repeat("{\"email\":\"a@example.jp\"}\n", 100),
		"xlsx":  sheetOf(t, []any{"email"}, []any{"a@example.jp"}),
	} {
		path := w.file(text)
		src, err := openSource(t.Context(), path, nil, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer src.close()
		if err := src.recognise(t.Context(), Options{}); err != nil {
			t.Fatal(err)
		}
		h, err := src.header(Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := src.body(h)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("\n")
		f.Close()
		blocks, same := make(chan *block, 10), make(chan *block, 10)
		cut(t.Context(), r, blocks, same)
		close(blocks)
		for b := range blocks {
			err = b.err
		}
		if err == nil || !strings.Contains(err.Error(), "was changed while it was read") {
			t.Errorf("%s: %v", name, err)
		}
		r.Close()
		if _, err := src.body(h); err == nil {
			t.Errorf("%s: a changed file is read again", name)
		}
	}
}

// Rows of every format come in the order of their lines, also where an array lies on one: by the line an import goes on.
func TestStoppedImportOfEveryFormatGoesOn(t *testing.T) {
	const n = 1500
	var objects strings.Builder
	cells := [][]any{{"email"}}
	for i := range n {
		fmt.Fprintf(&objects, `,{"email":"p%d@example.jp"}`, i)
		cells = append(cells, []any{fmt.Sprintf("p%d@example.jp", i)})
	}
	for name, text := range map[string]string{
		"jsonl": "[" + objects.String()[1:] + "]",
		"xlsx":  sheetOf(t, cells...),
	} {
		w := newWorld(t)
		path := w.file(text)
		w.exec("CREATE TRIGGER full BEFORE INSERT ON contacts WHEN new.key = 'p1400@example.jp' BEGIN SELECT RAISE(ABORT, 'disk full'); END")
		var stopped *StoppedError
		if _, err := Import(t.Context(), w.st, Options{Path: path}, Events{}); !errors.As(err, &stopped) {
			t.Fatalf("%s: %v", name, err)
		}
		w.exec("DROP TRIGGER full")
		if sum, _ := w.imported("", Options{Path: path}, "1500 1500 0 0 0 0"); sum.ChangeSet != stopped.ChangeSet || sum.Format != name {
			t.Errorf("%s: %+v", name, sum)
		}
		w.undo(stopped.ChangeSet, "1500 0 0")
	}
}
