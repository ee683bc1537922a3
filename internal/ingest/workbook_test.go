package ingest

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
)

// workbook is a file that excelize writes.
func (w *world) workbook(fill func(f *excelize.File)) string {
	w.t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	fill(f)
	path := filepath.Join(w.t.TempDir(), "list.xlsx")
	if err := f.SaveAs(path); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func set(t *testing.T, f *excelize.File, sheet, corner string, rows ...[]any) {
	t.Helper()
	column, row, err := excelize.CellNameToCoordinates(corner)
	if err != nil {
		t.Fatal(err)
	}
	for i, cells := range rows {
		name, _ := excelize.CoordinatesToCellName(column, row+i)
		if err := f.SetSheetRow(sheet, name, &cells); err != nil {
			t.Fatal(err)
		}
	}
}

func style(t *testing.T, f *excelize.File, sheet, cell, code string) {
	t.Helper()
	id, err := f.NewStyle(&excelize.Style{CustomNumFmt: &code})
	if err == nil {
		err = f.SetCellStyle(sheet, cell, cell, id)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sheetOf is the text of a workbook with these rows.
func sheetOf(t *testing.T, rows ...[]any) string {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	set(t, f, "Sheet1", "A1", rows...)
	b, err := f.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// archive is the text of a zip archive with one empty file.
func archive(name string) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	z.Create(name)
	z.Close()
	return b.String()
}

func (w *world) bytesFile(name string, text []byte) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// read gives the rows of a file behind its header, its rejects and what was found.
func read(t *testing.T, path string, o Options) (rows [][]string, rejects []Reject, h *header, src *source) {
	t.Helper()
	src, err := openSource(t.Context(), path, nil, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.close() })
	if err := src.recognise(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if h, err = src.header(o); err != nil {
		t.Fatal(err)
	}
	r, err := src.body(h)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		rec, bad, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return rows, rejects, h, src
		case err != nil:
			t.Fatal(err)
		case bad != nil:
			rejects = append(rejects, *bad)
		default:
			rows = append(rows, append([]string{fmt.Sprint(rec.line)}, rec.cells...))
		}
	}
}

func TestWorkbook(t *testing.T) {
	w := newWorld(t)
	path := w.workbook(func(f *excelize.File) {
		set(t, f, "Sheet1", "A1", []any{"会員名簿", nil, nil}, []any{nil}, []any{nil, "メールアドレス", "お名前\n(漢字)", "登録日", "会員番号", "購入額", "会員", "メモ"},
			[]any{nil, "taro@example.jp", "山田 太郎", 46027.0, "00123", 1234.5, true, nil},
			[]any{},
			[]any{nil, "ｈａｎａ＠example.jp", " 花子 ", 46027.395833333336, 123456789012, 0.1 + 0.2, false, "x"})
		style(t, f, "Sheet1", "D4", `[$-411]ggge"年"m"月"d"日"`)
		style(t, f, "Sheet1", "D6", "yyyy/m/d h:mm")
		style(t, f, "Sheet1", "F4", `"¥"#,##0`)
		f.SetRowVisible("Sheet1", 6, false)
		f.SetColVisible("Sheet1", "H", false)
		f.NewSheet("2")
		set(t, f, "2", "A1", []any{"email"}, []any{"other@example.jp"})
		f.NewSheet("空")
		f.NewSheet("隠")
		set(t, f, "隠", "A1", []any{"email"}, []any{"hidden@example.jp"})
		f.SetSheetVisible("隠", false)
	})
	rows, rejects, h, src := read(t, path, Options{})
	want := [][]string{
		{"4", "", "taro@example.jp", "山田 太郎", "2026-01-05", "00123", "1235", "TRUE", ""},
		{"6", "", "ｈａｎａ＠example.jp", " 花子 ", "2026-01-05 09:30", "123456789012", "0.3", "FALSE", "x"},
	}
	if fmt.Sprint(rows) != fmt.Sprint(want) || len(rejects) > 0 {
		t.Errorf("rows %q, want %q; rejects %v", rows, want, rejects)
	}
	if h.line != 3 || h.names[2] != "お名前 (漢字)" || h.address != 1 {
		t.Errorf("header %+v", h)
	}
	notes := strings.Join(append(src.notes(), h.notes...), "\n")
	for _, part := range []string{`sheet "Sheet1" is imported; there is something in "2" too`, "1 of its rows are hidden", "columns are hidden", "the header is line 3"} {
		if !strings.Contains(notes, part) {
			t.Errorf("notes lack %q: %s", part, notes)
		}
	}
	for sheet, address := range map[string]string{"2": "other@example.jp", "隠": "hidden@example.jp", "4": "hidden@example.jp", "#2": "other@example.jp"} {
		if rows, _, _, _ := read(t, path, Options{Sheet: sheet}); len(rows) != 1 || rows[0][1] != address {
			t.Errorf("sheet %s: %q", sheet, rows)
		}
	}
	for sheet, part := range map[string]string{"Shet1": `did you mean "Sheet1"`, "9": `4 "隠" (hidden)`} {
		_, err := Import(t.Context(), w.st, Options{Path: path, Sheet: sheet}, Events{})
		if wrong := new(UsageError); !errors.As(err, &wrong) || !strings.Contains(err.Error(), part) {
			t.Errorf("sheet %s: %v", sheet, err)
		}
	}
}

func TestWorkbookIsImported(t *testing.T) {
	w := newWorld(t)
	path := w.workbook(func(f *excelize.File) {
		set(t, f, "Sheet1", "A1", []any{"email", "code", "age", "day"}, []any{"taro@example.jp", "00123", 30, 46027.0}, []any{"hana@example.jp", "123", 40, nil})
		style(t, f, "Sheet1", "D2", "yyyy/m/d")
	})
	sum, _ := w.imported("", Options{Path: path}, "2 2 0 0 0 0")
	if sum.Format != FormatXLSX || sum.Sheet != "Sheet1" || sum.Header != 1 || sum.Encoding != "utf-8" || sum.Delimiter != "" {
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
	if got := strings.Join(types, ", "); got != "code text, age number, day date" {
		t.Errorf("fields: %s", got)
	}
	w.imported("", Options{Path: path}, "2 0 0 2 0 0")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w.imported("", Options{Path: "-", Stdin: bytes.NewReader(text)}, "2 0 0 2 0 0")
	w.imported("email,code,age,day\ntaro@example.jp,00123,30,2026-01-05\n", Options{}, "1 0 0 1 0 0")
}

// A cell that cannot be read rejects its row, a row of blanks is none, and what the file says of numbers is known at the end.
func TestRowsOfAWorkbook(t *testing.T) {
	w := newWorld(t)
	path := w.workbook(func(f *excelize.File) {
		set(t, f, "Sheet1", "A1", []any{"email", "n", "code"}, []any{"a@example.jp", 1, "7"}, []any{" ", "\u3000"}, []any{"b@example.jp", 2, "x,y"}, []any{"c@example.jp", 3, "8"})
		if err := f.SetCellValue("Sheet1", "B4", nil); err != nil {
			t.Fatal(err)
		}
		if err := f.SetCellFormula("Sheet1", "B4", "TODAY()"); err != nil {
			t.Fatal(err)
		}
	})
	rows, rejects, _, src := read(t, path, Options{})
	if got := fmt.Sprint(rows); got != "[[2 a@example.jp 1 7] [5 c@example.jp 3 8]]" {
		t.Errorf("rows %s", got)
	}
	if len(rejects) != 1 || rejects[0].Line != 4 || rejects[0].Column != 2 || rejects[0].Row != `b@example.jp,,"x,y"` || !strings.HasPrefix(rejects[0].Reason, "cell B4 holds a formula without") {
		t.Errorf("rejects %+v", rejects)
	}
	if got := fmt.Sprint(src.hints, src.count); got != "{[false false true] [false true false] [false false false]} 5" {
		t.Errorf("hints and rows %s", got)
	}
}

func TestFilesThatAreNoWorkbook(t *testing.T) {
	w := newWorld(t)
	var utf16 []byte
	for _, c := range "EncryptedPackage" {
		utf16 = append(utf16, byte(c), 0)
	}
	cut := sheetOf(t, []any{"email"})
	for text, part := range map[string]string{
		oleMark + strings.Repeat("\x00", 70000):                             "old Excel workbook (.xls)",
		oleMark + strings.Repeat("\x00", 1<<16-10) + string(utf16) + "rest": "is encrypted",
		archive("list.csv"):                       "unpack it first",
		archive("content.xml"):                    "LibreOffice",
		archive("xl/workbook.bin"):                ".xlsb",
		cut[:len(cut)/2]:                          "copied or downloaded whole",
		"<html><table><tr><td>email":              "page of HTML or XML",
		"\ufeff <?xml version='1.0'?><Workbook/>": "page of HTML or XML",
		archive("[Content_Types].xml"):            "list.csv cannot be read as a workbook: its part _rels/.rels is missing",
		sheetOf(t):                                "no visible sheet with anything in it",
	} {
		_, err := Import(t.Context(), w.st, Options{Path: w.bytesFile("list.csv", []byte(text))}, Events{})
		if wrong := new(UsageError); !errors.As(err, &wrong) || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %q", err, part)
		}
	}
	locked := filepath.Join(t.TempDir(), "locked.xlsx")
	f := excelize.NewFile()
	defer f.Close()
	if err := f.SaveAs(locked, excelize.Options{Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	if _, err := Import(t.Context(), w.st, Options{Path: locked}, Events{}); err == nil || !strings.Contains(err.Error(), "take the password off") {
		t.Error(err)
	}
	csv := w.file("email\na@example.jp\n")
	if _, err := Import(t.Context(), w.st, Options{Path: csv, Format: FormatXLSX}, Events{}); err == nil || !strings.Contains(err.Error(), "no .xlsx workbook") {
		t.Error(err)
	}
	if _, err := Import(t.Context(), w.st, Options{Path: csv, Format: "ods"}, Events{}); err == nil {
		t.Error("a format that is not known")
	}
}

// readAll reads a file to its end. Its rows come in the order of their lines and hold what the store can take.
func readAll(t *testing.T, path string) {
	src, err := openSource(context.Background(), path, nil, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	if src.recognise(context.Background(), Options{Header: "none"}) != nil {
		return
	}
	r, err := src.rows()
	if err != nil {
		return
	}
	defer r.Close()
	last, width := int64(0), -1
	for {
		rec, bad, err := r.next()
		if err != nil {
			return
		}
		line := rec.line
		if bad != nil {
			line = bad.Line
		}
		if line <= last {
			t.Fatalf("line %d behind line %d", line, last)
		}
		if last = line; bad != nil {
			continue
		}
		if width < 0 {
			width = len(rec.cells)
		}
		if src.format != FormatCSV && len(rec.cells) != width {
			t.Fatalf("%d cells behind %d", len(rec.cells), width)
		}
		for _, cell := range rec.cells {
			if strings.ContainsRune(cell, 0) || strings.ContainsRune(cell, '\uFFFD') {
				t.Fatalf("cell %q", cell)
			}
		}
	}
}

// What a number format shows is held to what a cell may hold, as everything else.
func TestLostCharacterInANumberFormat(t *testing.T) {
	w := newWorld(t)
	path := w.workbook(func(f *excelize.File) {
		set(t, f, "Sheet1", "A1", []any{"email", "n"}, []any{"a@example.jp", 1}, []any{"b@example.jp", 2})
		style(t, f, "Sheet1", "B2", "0\"\uFFFD\"")
	})
	if _, rejects := w.imported("", Options{Path: path}, "2 1 0 0 1 0"); len(rejects) != 1 || rejects[0].Line != 2 || rejects[0].Column != 2 {
		t.Errorf("%+v", rejects)
	}
}
