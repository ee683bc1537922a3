package workbook

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
)

// written is a workbook that excelize writes.
func written(t *testing.T, fill func(f *excelize.File)) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	fill(f)
	b, err := f.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func set(t *testing.T, f *excelize.File, sheet string, rows ...[]any) {
	t.Helper()
	for i, cells := range rows {
		if err := f.SetSheetRow(sheet, fmt.Sprintf("A%d", i+1), &cells); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, text []byte, o Options) *Book {
	t.Helper()
	o.Name, o.TempDir = "list.xlsx", t.TempDir()
	b, err := Open(t.Context(), bytes.NewReader(text), int64(len(text)), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// read gives the rows of a sheet, each behind its line; of those that cannot be read, line, column and reason; and what is
// known of the columns.
func read(t *testing.T, b *Book) (rows [][]string, bad []string, columns []Column) {
	t.Helper()
	r, err := b.Rows()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		row, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return rows, bad, r.Columns()
		case err != nil:
			t.Fatal(err)
		case row.Column > 0:
			bad = append(bad, fmt.Sprintf("%d/%d %v", row.Line, row.Column, row.Reason))
		default:
			rows = append(rows, append([]string{fmt.Sprint(row.Line)}, row.Cells...))
		}
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

func TestWorkbookByHand(t *testing.T) {
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
	b := open(t, archive(handMade(sheet, shared)), Options{})
	rows, told, _ := read(t, b)
	want := [][]string{
		{"1", "email", "氏名", "a <b>"},
		{"2", "x@example.jp", "課き ", "2"},
		{"4", "y@example.jp", "東京", "A\r\nB_x000D_&あ<&>"},
		{"10", "h@example.jp", "2026-01-05 09:30", "TRUE"},
		{"11", "", " ", ""},
	}
	if fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("rows %q\nwant %q", rows, want)
	}
	wanted := []string{"5/3 cell C5 holds the error #N/A", "6/2 cell B6 holds a formula without a result", "7/3 cell C7 holds 1900-02-29 is no day",
		"8/3 cell C8 holds U+FFFD", "9/2 cell B9 the workbook has no text number 99"}
	if len(told) != len(wanted) {
		t.Fatalf("rejects %q, want %q", told, wanted)
	}
	for i, part := range wanted {
		if !strings.HasPrefix(told[i], part) {
			t.Errorf("reject %q, want %q", told[i], part)
		}
	}
	if n, columns := b.Size(); n != 10 || columns != 3 {
		t.Errorf("%d rows, %d columns", n, columns)
	}
}

func TestMergedCellsGoDown(t *testing.T) {
	b := open(t, written(t, func(f *excelize.File) {
		set(t, f, "Sheet1", []any{"会社", "連絡先"}, []any{nil, "メール", "電話"},
			[]any{"A社", "a@example.jp", "1"}, []any{nil, "b@example.jp", "2"}, []any{"B社", "c@example.jp", "3"})
		for _, r := range [][2]string{{"A1", "A2"}, {"B1", "C1"}, {"A3", "A4"}} {
			if err := f.MergeCell("Sheet1", r[0], r[1]); err != nil {
				t.Fatal(err)
			}
		}
	}), Options{})
	rows, _, _ := read(t, b)
	want := [][]string{{"1", "会社", "連絡先", ""}, {"2", "会社", "メール", "電話"},
		{"3", "A社", "a@example.jp", "1"}, {"4", "A社", "b@example.jp", "2"}, {"5", "B社", "c@example.jp", "3"}}
	if fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("%q", rows)
	}
	if notes := b.Notes(); len(notes) != 1 || !strings.HasPrefix(notes[0], "2 merged cells") {
		t.Errorf("%q", notes)
	}
}

// What spoils the first cell of a merged range spoils each of its rows.
func TestMergedCellThatCannotBeRead(t *testing.T) {
	parts := handMade(`<row r="1"><c r="B1" t="e"><v>#N/A</v></c></row><row r="2"><c r="A2"><v>1</v></c></row><row r="3"><c r="A3"><v>2</v></c></row>`, "")
	const name = "xl/worksheets/sheet1.xml"
	parts[name] = strings.Replace(parts[name], "</sheetData>", `</sheetData><mergeCells><mergeCell ref="B1:B2"/></mergeCells>`, 1)
	rows, bad, _ := read(t, open(t, archive(parts), Options{}))
	if fmt.Sprint(bad) != "[1/2 cell B1 holds the error #N/A 2/2 cell B1 holds the error #N/A]" || fmt.Sprint(rows) != "[[3 2 ]]" {
		t.Errorf("%q %q", rows, bad)
	}
}

func TestEpoch1904(t *testing.T) {
	yes, code := true, "m/d"
	rows, _, _ := read(t, open(t, written(t, func(f *excelize.File) {
		set(t, f, "Sheet1", []any{44565.0})
		id, err := f.NewStyle(&excelize.Style{CustomNumFmt: &code})
		if err == nil {
			err = f.SetCellStyle("Sheet1", "A1", "A1", id)
		}
		if err == nil {
			err = f.SetWorkbookProps(&excelize.WorkbookPropsOptions{Date1904: &yes})
		}
		if err != nil {
			t.Fatal(err)
		}
	}), Options{}))
	if fmt.Sprint(rows) != "[[1 2026-01-05]]" {
		t.Errorf("%q", rows)
	}
}

// Digits that are text are told from numbers, and guarded texts come without their apostrophe.
func TestColumns(t *testing.T) {
	rows, _, columns := read(t, open(t, written(t, func(f *excelize.File) {
		set(t, f, "Sheet1", []any{"code", "age", "both", "none", "'=1"}, []any{"123", 30, "7", true}, []any{"x", 40, 8})
	}), Options{}))
	if want := []Column{{Quoted: true}, {Number: true}, {true, true}, {}, {}}; !slices.Equal(columns, want) {
		t.Errorf("%+v", columns)
	}
	if len(rows) != 3 || rows[0][5] != "=1" {
		t.Errorf("%q", rows)
	}
}

func TestSheets(t *testing.T) {
	text := written(t, func(f *excelize.File) {
		for _, name := range []string{"2", "隠", "Empty"} {
			f.NewSheet(name)
		}
		set(t, f, "2", []any{"two"})
		set(t, f, "隠", []any{"hidden"})
		set(t, f, "Sheet1", []any{"one"}, []any{"more"})
		f.SetRowVisible("Sheet1", 2, false)
		f.SetColVisible("Sheet1", "A", false)
		f.SetSheetVisible("隠", false)
	})
	for want, cell := range map[string]string{"": "one", "sheet1": "one", "2": "two", "#2": "two", "3": "hidden", "隠": "hidden"} {
		rows, _, _ := read(t, open(t, text, Options{Sheet: want}))
		if len(rows) == 0 || rows[0][1] != cell {
			t.Errorf("sheet %q: %q", want, rows)
		}
	}
	b := open(t, text, Options{})
	var names []string
	for _, s := range b.Sheets() {
		names = append(names, fmt.Sprint(s.Name, s.Hidden))
	}
	if got := strings.Join(names, " "); got != "Sheet1false 2false 隠true Emptyfalse" || b.Sheet().Name != "Sheet1" {
		t.Errorf("sheets %s, read is %+v", got, b.Sheet())
	}
	for i, part := range []string{`something in "2" too`, "1 of its rows are hidden", "columns are hidden"} {
		if notes := b.Notes(); len(notes) != 3 || !strings.Contains(notes[i], part) {
			t.Errorf("notes %q lack %q", notes, part)
		}
	}
	for want, part := range map[string]string{"Shet1": `list.xlsx has no sheet "Shet1" (did you mean "Sheet1"?)`, "9": `its sheets are 1 "Sheet1", 2 "2", 3 "隠" (hidden), 4 "Empty"`} {
		_, err := Open(t.Context(), bytes.NewReader(text), int64(len(text)), Options{Name: "list.xlsx", Sheet: want})
		if wrong := new(Error); !errors.As(err, &wrong) || !strings.Contains(err.Error(), part) {
			t.Errorf("sheet %q: %v", want, err)
		}
	}
}

func TestFilesThatAreNoWorkbook(t *testing.T) {
	const sheet = "xl/worksheets/sheet1.xml"
	row := `<row r="1"><c r="A1" t="inlineStr"><is><t>email</t></is></c></row>`
	whole := archive(handMade(row, ""))
	with := func(name, part string) []byte {
		parts := handMade(row, "")
		if parts[name] = part; part == "" {
			delete(parts, name)
		}
		return archive(parts)
	}
	for part, text := range map[string][]byte{
		"list.xlsx is a broken workbook":                                        whole[:len(whole)/2],
		"list.xlsx cannot be read as a workbook: its part xl/workbook.xml is m": with("xl/workbook.xml", ""),
		"the XML breaks off":                                                    with(sheet, "<worksheet><sheetData>"+row),
		"row 1 stands behind row 1":                                             with(sheet, "<worksheet><sheetData>"+row+row+"</sheetData></worksheet>"),
		"no visible sheet with anything in it":                                  with(sheet, "<worksheet><sheetData/></worksheet>"),
		"DOCTYPE":                                                               with(sheet, "<!DOCTYPE x [<!ENTITY a 'b'>]><worksheet/>"),
		"unpacks to more than a workbook can n":                                 with(sheet, strings.Repeat("<!--"+strings.Repeat(" ", 4<<10)+"-->", 20_000)),
	} {
		_, err := Open(t.Context(), bytes.NewReader(text), int64(len(text)), Options{Name: "list.xlsx"})
		if wrong := new(Error); !errors.As(err, &wrong) || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %q", err, part)
		}
	}
}

// A long Open tells of itself for each text and each row, and ends with its context; that is no fault of the file.
func TestOpenEndsWithItsContext(t *testing.T) {
	text := archive(handMade(strings.Repeat(`<row><c t="s"><v>0</v></c></row>`, 50), strings.Repeat("<si><t>x</t></si>", 50)))
	calls := 0
	open(t, text, Options{Alive: func(ctx context.Context, n int64) error { calls++; return ctx.Err() }})
	if calls < 100 {
		t.Errorf("%d signs of life", calls)
	}
	for _, last := range []int{10, 60} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		left := last
		_, err := Open(ctx, bytes.NewReader(text), int64(len(text)), Options{Alive: func(ctx context.Context, n int64) error {
			if left--; left < 0 {
				cancel()
			}
			return ctx.Err()
		}})
		if wrong := new(Error); !errors.Is(err, context.Canceled) || errors.As(err, &wrong) {
			t.Errorf("stopped after %d: %v", last, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, bytes.NewReader(text), int64(len(text)), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("without Alive: %v", err)
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
	var want [][]string
	text := written(t, func(f *excelize.File) {
		all := [][]any{{"email", "a", "b"}}
		for i := range 300 {
			all = append(all, []any{fmt.Sprintf("p%d@example.jp", i), fmt.Sprintf("<%d> & \"x\"\n_x000D_ あ", i), i * 7})
		}
		set(t, f, "Sheet1", all...)
		var err error
		if want, err = f.GetRows("Sheet1"); err != nil {
			t.Fatal(err)
		}
	})
	rows, _, _ := read(t, open(t, text, Options{}))
	if len(rows) != len(want) {
		t.Fatalf("%d rows, want %d", len(rows), len(want))
	}
	for i, row := range rows {
		if !slices.Equal(row[1:], want[i]) {
			t.Fatalf("row %d: %q, want %q", i, row[1:], want[i])
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
		readAll(t, text)
	})
}

// readAll reads a file to its end. Its rows come in the order of their lines and hold what the store can take.
func readAll(t *testing.T, text []byte) {
	b, err := Open(context.Background(), bytes.NewReader(text), int64(len(text)), Options{TempDir: t.TempDir()})
	if err != nil {
		return
	}
	defer b.Close()
	r, err := b.Rows()
	if err != nil {
		return
	}
	defer r.Close()
	_, width := b.Size()
	for last := int64(0); ; {
		row, err := r.Next()
		if err != nil {
			return
		}
		if row.Line <= last {
			t.Fatalf("line %d behind line %d", row.Line, last)
		}
		if last = row.Line; len(row.Cells) != width || len(r.Columns()) != width {
			t.Fatalf("%d cells where the sheet has %d columns", len(row.Cells), width)
		}
		if (row.Column > 0) != (row.Reason != nil) || row.Column > width {
			t.Fatalf("cell %d: %v", row.Column, row.Reason)
		}
		for _, cell := range row.Cells {
			if row.Reason == nil && (strings.ContainsRune(cell, 0) || strings.ContainsRune(cell, '\uFFFD')) {
				t.Fatalf("cell %q", cell)
			}
		}
	}
}
