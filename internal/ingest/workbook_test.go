package ingest

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

// archive is a file of parts.
func archive(parts map[string]string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		f, _ := z.Create(name)
		io.WriteString(f, parts[name])
	}
	z.Close()
	return b.Bytes()
}

// handMade is a workbook with the parts that excelize would not write so.
func handMade(sheetXML, sharedXML string) map[string]string {
	const office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
	rel := func(id, kind, target string) string {
		return fmt.Sprintf(`<Relationship Id="%s" Type="%s%s" Target="%s"/>`, id, office, kind, target)
	}
	const rels = `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`
	parts := map[string]string{
		"[Content_Types].xml": `<Types/>`,
		"_rels/.rels":         rels + rel("r1", "officeDocument", "xl/workbook.xml") + `</Relationships>`,
		"xl/_rels/workbook.xml.rels": rels + rel("r1", "worksheet", "/xl/worksheets/sheet1.xml") +
			rel("r2", "sharedStrings", "sharedStrings.xml") + rel("r3", "styles", "styles.xml") + `</Relationships>`,
		"xl/workbook.xml": `<x:workbook xmlns:x="a" xmlns:r="b"><x:workbookPr/><x:sheets><x:sheet name="名簿" sheetId="1" r:id="r1"/></x:sheets></x:workbook>`,
		"xl/styles.xml": `<styleSheet><numFmts><numFmt numFmtId="164" formatCode="yyyy/m/d"/></numFmts>` +
			`<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/></cellXfs></styleSheet>`,
		"xl/sharedStrings.xml":     `<?xml version="1.0"?><sst>` + sharedXML + `</sst>`,
		"xl/worksheets/sheet1.xml": `<?xml version="1.0" encoding="UTF-8"?><worksheet><sheetData>` + sheetXML + `</sheetData></worksheet>`,
	}
	return parts
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

func TestWorkbookByHand(t *testing.T) {
	w := newWorld(t)
	shared := `<si><t>email</t></si><si><t>氏名</t></si><si><r><t>課</t></r><r><rPr/><t xml:space="preserve">き </t></r><rPh sb="0" eb="1"><t>カ</t></rPh><phoneticPr fontId="1"/></si>` +
		`<si><t>東京<!-- x --></t><rPh sb="0" eb="2"><t>トウキョウ</t></rPh></si><si><t>A_x000D_&#10;B_x005F_x000D_&amp;&#x3042;<![CDATA[<&>]]></t></si><si/><si><t>lost � here</t></si>`
	sheet := `<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="C1" t="inlineStr"><is><t>a &lt;b&gt;</t></is></c></row>` +
		`<row><c t="inlineStr"><is><r><t>x@</t></r><r><t>example.jp</t></r><rPh><t>フリ</t></rPh></is></c><c t="s"><v>2</v></c><c><f>1+1</f><v>2</v></c></row>` +
		`<row r="4" spans="1:3"><c r="A4" t="str"><f>B4&amp;C4</f><v>y@example.jp</v></c><c r="B4" t="s"><v>3</v></c><c r="C4" t="s"><v>4</v></c></row>` +
		`<x:row r="5"><x:c r="A5" t="inlineStr"><x:is><x:t>z@example.jp</x:t></x:is></x:c><x:c r="C5" t="e"><x:f>NA()</x:f><x:v>#N/A</x:v></x:c></x:row>` +
		`<row r="6"><c r="A6" t="inlineStr"><is><t>f@example.jp</t></is></c><c r="B6"><f>TODAY()</f></c></row>` +
		`<row r="7"><c r="A7" t="inlineStr"><is><t>d@example.jp</t></is></c><c r="B7" t="d"><v>2026-01-05T00:00:00Z</v></c><c r="C7" s="1"><v>60</v></c></row>` +
		`<row r="8"><c r="A8" t="inlineStr"><is><t>e@example.jp</t></is></c><c r="B8" t="s"><v>5</v></c><c r="C8" t="s"><v>6</v></c></row>` +
		`<row r="9"><c r="A9" t="inlineStr"><is><t>g@example.jp</t></is></c><c r="B9" t="s"><v>99</v></c></row>` +
		`<row r="10"><c r="A10" t="inlineStr"><is><t>h@example.jp</t></is></c><c r="B10" s="1" t="d"><v>2026-01-05T09:30:00</v></c><c r="C10" t="b"><v>1</v></c></row>` +
		`<row r="11"><c r="A11" s="1"/><c r="B11" t="inlineStr"><is><t> </t></is></c></row>`
	path := w.bytesFile("a.dat", archive(handMade(sheet, shared)))
	rows, rejects, h, _ := read(t, path, Options{})
	want := [][]string{
		{"2", "x@example.jp", "課き ", "2"},
		{"4", "y@example.jp", "東京", "A\r\nB_x000D_&あ<&>"},
		{"10", "h@example.jp", "2026-01-05 09:30", "TRUE"},
	}
	if fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("rows %q\nwant %q", rows, want)
	}
	if !slices.Equal(h.names, []string{"email", "氏名", "a <b>"}) {
		t.Errorf("names %q", h.names)
	}
	var told []string
	for _, j := range rejects {
		told = append(told, fmt.Sprintf("%d/%d %s", j.Line, j.Column, j.Reason))
	}
	wanted := []string{"5/3 cell C5 holds the error #N/A", "6/2 cell B6 holds a formula without a result", "7/3 cell C7 holds 1900-02-29 is no day",
		"8/3 cell C8 holds U+FFFD", "9/2 cell B9 the workbook has no text number 99"}
	for i, part := range wanted {
		if i >= len(told) || !strings.HasPrefix(told[i], part) {
			t.Errorf("rejects %q, want %q", told, wanted)
			break
		}
	}
	if len(rejects) > 0 && !strings.HasPrefix(rejects[0].Row, "z@example.jp,") {
		t.Errorf("row %q", rejects[0].Row)
	}
}

func TestMergedCellsGoDown(t *testing.T) {
	w := newWorld(t)
	path := w.workbook(func(f *excelize.File) {
		set(t, f, "Sheet1", "A1", []any{"会社", "連絡先"}, []any{nil, "メール", "電話"},
			[]any{"A社", "a@example.jp", "1"}, []any{nil, "b@example.jp", "2"}, []any{"B社", "c@example.jp", "3"})
		for _, r := range [][2]string{{"A1", "A2"}, {"B1", "C1"}, {"A3", "A4"}} {
			if err := f.MergeCell("Sheet1", r[0], r[1]); err != nil {
				t.Fatal(err)
			}
		}
	})
	rows, _, h, src := read(t, path, Options{Map: []Mapping{{"メール", "email"}}})
	if want := [][]string{{"3", "A社", "a@example.jp", "1"}, {"4", "A社", "b@example.jp", "2"}, {"5", "B社", "c@example.jp", "3"}}; fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("%q", rows)
	}
	if !slices.Equal(h.names, []string{"会社", "メール", "電話"}) || !strings.Contains(strings.Join(src.notes(), ""), "2 merged cells") {
		t.Errorf("%q %q", h.names, src.notes())
	}
}

func TestEpoch1904(t *testing.T) {
	w := newWorld(t)
	yes := true
	path := w.workbook(func(f *excelize.File) {
		set(t, f, "Sheet1", "A1", []any{"email", "day"}, []any{"a@example.jp", 44565.0})
		style(t, f, "Sheet1", "B2", "m/d")
		f.SetWorkbookProps(&excelize.WorkbookPropsOptions{Date1904: &yes})
	})
	if rows, _, _, _ := read(t, path, Options{}); len(rows) != 1 || rows[0][2] != "2026-01-05" {
		t.Errorf("%q", rows)
	}
}

func TestNumberFormats(t *testing.T) {
	tests := []struct{ code, raw, want string }{
		{"General", "123456789012", "123456789012"}, {"General", "1.23E+11", "123000000000"}, {"General", "0.30000000000000004", "0.3"},
		{"General", "1234567890123456", "1234567890123456"}, {"General", "-0.5", "-0.5"}, {"General", "1E-7", "0.0000001"}, {"General", "1E+20", "100000000000000000000"},
		{"0", "1234.5", "1235"}, {"0", "-0.4", "0"}, {"0.00", "1234.5", "1234.50"}, {"0.00", "1.005", "1.01"}, {"0.0#", "1.5", "1.5"}, {"#.##", "0.5", "0.5"},
		{"0.00", "99.999", "100.00"}, {"#,##0", "1234567", "1234567"}, {"#,##0.00", "1234567.891", "1234567.89"},
		{`"¥"#,##0;[Red]"¥"-#,##0`, "1200", "1200"}, {`"¥"#,##0;[Red]"¥"-#,##0`, "-1200", "-1200"}, {`¥#,##0_);(¥#,##0)`, "-1200", "-1200"},
		{`[$¥-411]#,##0`, "1200", "1200"}, {`#,##0"円"`, "1200", "1200"}, {`#,##0;"△"#,##0`, "-3", "-3"}, {`_ * #,##0_ ;_ * -#,##0_ ;_ * "-"_ ;_ @_ `, "0", "0"},
		{`0"人"`, "12", "12人"}, {`"No."0000`, "12", "No.0012"}, {"0%", "0.15", "15%"}, {"0.0%", "0.125", "12.5%"}, {"0.00E+00", "123456789012", "123456789012"},
		{"00000", "123", "00123"}, {"000-0000", "1000001", "100-0001"}, {"000-0000", "600001", "060-0001"}, {`[<=999]000;[<=9999]000-00;000-0000`, "1000001", "100-0001"},
		{`[<=99999999]####-####;\(00\)\ ####-####`, "312345678", "(03) 1234-5678"}, {`[<=99999999]####-####;\(00\)\ ####-####`, "12345678", "1234-5678"},
		{"# ?/?", "0.5", "0.5"}, {"#,##0,", "1200000", "1200000"}, {"@", "42", "42"}, {"[DBNum1]General", "42", "42"}, {";;;", "7", "7"}, {"0;0;", "0", "0"},
		{"yyyy/m/d", "46027", "2026-01-05"}, {`yyyy"年"m"月"d"日"`, "46027", "2026-01-05"}, {"[$-411]ggge年m月d日;@", "46027", "2026-01-05"}, {"[$-411]ge.m.d", "46027", "2026-01-05"},
		{"m/d", "46027", "2026-01-05"}, {"mmm-yy", "46027", "2026-01-05"}, {"aaaa", "46027", "2026-01-05"}, {"d", "1", "1900-01-01"}, {"d", "59", "1900-02-28"}, {"d", "61", "1900-03-01"},
		{"yyyy/m/d h:mm", "46027.395833333336", "2026-01-05 09:30"}, {"yyyy/m/d h:mm:ss", "46027.3958449074", "2026-01-05 09:30:01"}, {"yyyy/m/d", "46027.9", "2026-01-05"},
		{"yyyy/m/d h:mm", "46027.99999999999", "2026-01-06 00:00"}, {"h:mm", "0.395833333333333", "09:30"}, {"h:mm AM/PM", "0.75", "18:00"}, {"[h]:mm", "1.08333333333333", "26:00"},
		{"mm:ss", "0.000706018518518518", "00:01:01"}, {`h"時"mm"分"`, "0.395833333333333", "09:30"}, {"h:mm", "0", "00:00"}, {`yyyy"m"`, "46027", "2026-01-05"},
	}
	for _, tt := range tests {
		f := parseFormat(tt.code)
		if tt.code == "General" {
			f = nil
		}
		if got, err := f.text(tt.raw, false); got != tt.want || err != nil {
			t.Errorf("%s of %s: %q, %v; want %q", tt.code, tt.raw, got, err, tt.want)
		}
	}
	for _, raw := range []string{"-1", "0", "60", "3000000", "x", "", "NaN", "1e999"} {
		if got, err := parseFormat("yyyy/m/d").text(raw, false); err == nil {
			t.Errorf("%s is a date: %s", raw, got)
		}
	}
}

func TestFilesThatAreNoWorkbook(t *testing.T) {
	w := newWorld(t)
	var utf16 []byte
	for _, c := range "EncryptedPackage" {
		utf16 = append(utf16, byte(c), 0)
	}
	row := `<row r="1"><c r="A1" t="inlineStr"><is><t>email</t></is></c></row>`
	broken := func(change func(map[string]string)) []byte {
		parts := handMade(row, "")
		change(parts)
		return archive(parts)
	}
	cut := archive(handMade(row, ""))
	for text, part := range map[string]string{
		oleMark + strings.Repeat("\x00", 70000):                                                                      "old Excel workbook (.xls)",
		oleMark + strings.Repeat("\x00", 1<<16-10) + string(utf16) + "rest":                                          "is encrypted",
		string(archive(map[string]string{"list.csv": "email\n"})):                                                    "unpack it first",
		string(archive(map[string]string{"content.xml": ""})):                                                        "LibreOffice",
		string(archive(map[string]string{"xl/workbook.bin": ""})):                                                    ".xlsb",
		string(cut[:len(cut)/2]):                                                                                     "copied or downloaded whole",
		"<html><table><tr><td>email":                                                                                 "page of HTML or XML",
		"\ufeff <?xml version='1.0'?><Workbook/>":                                                                    "page of HTML or XML",
		string(broken(func(p map[string]string) { delete(p, "xl/workbook.xml") })):                                   "part xl/workbook.xml is missing",
		string(broken(func(p map[string]string) { p["xl/worksheets/sheet1.xml"] = "<worksheet><sheetData>" + row })): "the XML breaks off",
		string(broken(func(p map[string]string) {
			p["xl/worksheets/sheet1.xml"] = "<worksheet><sheetData>" + row + row + "</sheetData></worksheet>"
		})): "row 1 stands behind row 1",
		string(broken(func(p map[string]string) { p["xl/worksheets/sheet1.xml"] = "<worksheet><sheetData/></worksheet>" })): "no visible sheet with anything in it",
		string(broken(func(p map[string]string) {
			p["xl/worksheets/sheet1.xml"] = "<!DOCTYPE x [<!ENTITY a 'b'>]><worksheet/>"
		})): "DOCTYPE",
		string(broken(func(p map[string]string) {
			p["xl/worksheets/sheet1.xml"] = strings.Repeat("<!--"+strings.Repeat(" ", 4<<10)+"-->", 20_000)
		})): "unpacks to more than a workbook can need",
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

func TestSharedTextsInAFile(t *testing.T) {
	texts := sharedTexts{dir: t.TempDir()}
	defer texts.close()
	text := func(i int) string { return strings.Repeat(fmt.Sprint(i, "あ"), i%40) }
	const n = 200_000
	for i := range n {
		if err := texts.add([]byte(text(i))); err != nil {
			t.Fatal(err)
		}
	}
	if texts.file == nil {
		t.Fatal("nothing lies in a file")
	}
	for i := 0; i < 3*n; i += 7 {
		at := i % n
		if i%3 == 0 {
			at = i % 50 // what every row refers to
		}
		if got, err := texts.at(at); err != nil || got != text(at) {
			t.Fatalf("text %d: %q, %v", at, got, err)
		}
	}
	if files, _ := os.ReadDir(texts.dir); len(files) > 0 && texts.temp == "" {
		t.Error("a file was left behind")
	}
	for _, at := range []int{-1, n} {
		if _, err := texts.at(at); err == nil {
			t.Errorf("there is a text %d", at)
		}
	}
}

// The cells that excelize's own reader gives for texts are those that ours gives.
func TestExcelizeReadsTheSameTexts(t *testing.T) {
	w := newWorld(t)
	var want [][]string
	path := w.workbook(func(f *excelize.File) {
		rows := [][]any{{"email", "a", "b"}}
		for i := range 300 {
			rows = append(rows, []any{fmt.Sprintf("p%d@example.jp", i), fmt.Sprintf("<%d> & \"x\"\n_x000D_ あ", i), i * 7})
		}
		set(t, f, "Sheet1", "A1", rows...)
		var err error
		if want, err = f.GetRows("Sheet1"); err != nil {
			t.Fatal(err)
		}
	})
	rows, _, _, _ := read(t, path, Options{})
	if len(rows) != len(want)-1 {
		t.Fatalf("%d rows, want %d", len(rows), len(want)-1)
	}
	for i, row := range rows {
		if !slices.Equal(row[1:], want[i+1]) {
			t.Fatalf("row %d: %q, want %q", i, row[1:], want[i+1])
		}
	}
}

// Whatever is done to a workbook, reading it ends, with rows or an error.
func FuzzWorkbook(f *testing.F) {
	sheet := `<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" s="1"><v>46027</v></c></row><row r="2"><c r="A2" t="inlineStr"><is><r><t>a@example.jp</t></r></is></c><c t="b"><v>1</v></c></row>`
	f.Add([]byte(sheet), []byte(`<si><t>email</t><rPh><t>x</t></rPh></si>`), []byte(`<xf numFmtId="14"/>`), uint16(0), byte(0))
	f.Add([]byte(`<row><c t="e"><v>#N/A</v></c></row></sheetData><mergeCells><mergeCell ref="A1:A9"/></mergeCells>`), []byte(`<si/>`), []byte(``), uint16(9), byte(7))
	f.Fuzz(func(t *testing.T, sheet, shared, style []byte, at uint16, flip byte) {
		parts := handMade(string(sheet), string(shared))
		parts["xl/styles.xml"] = `<styleSheet><numFmts><numFmt numFmtId="200" formatCode="` + string(style) + `"/></numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="200"/></cellXfs></styleSheet>`
		text := archive(parts)
		text[int(at)%len(text)] ^= flip
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		readAll(t, path)
	})
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
