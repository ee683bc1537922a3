package export

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"mailer/internal/contact"

	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/japanese"
)

// Every character that CP932 takes comes back as itself, or is told as a twin; none turns into another one unseen.
func TestCP932RoundTrip(t *testing.T) {
	twins := 0
	for r := rune(0x80); r < 0x30000; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		e := &Export{}
		w := &csvWriter{e: e, cp932: japanese.ShiftJIS}
		back, err := japanese.ShiftJIS.NewDecoder().String(w.encode(string(r)))
		if err != nil {
			t.Fatalf("U+%04X is written as something that is no CP932", r)
		}
		same, told := back == string(r), e.Losses.Twins+e.Losses.Cells == 1
		if same == told {
			t.Errorf("U+%04X comes back as %q; told: %v", r, back, told)
		}
		if e.Losses.Cells == 1 && back != geta || strings.ContainsAny(back, `\~`) {
			t.Errorf("U+%04X comes back as %q", r, back)
		}
		twins += int(e.Losses.Twins)
	}
	if twins != 9 {
		t.Errorf("%d twins", twins)
	}
}

func writeSheet(t *testing.T, fields []contact.Field, all ...contact.Contact) (*Export, *excelize.File) {
	t.Helper()
	var out bytes.Buffer
	e, err := New(Options{Format: XLSX, TempDir: t.TempDir()}, fields, &out)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Header(); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if err := e.Contact(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := excelize.OpenReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return e, f
}

// A cell of a workbook shows what the field holds, whatever kind of cell it is.
func TestSheetShowsTheCells(t *testing.T) {
	for _, tt := range []struct {
		typ  contact.Type
		cell string
		kind excelize.CellType
	}{
		{contact.Text, "0120", excelize.CellTypeInlineString},
		{contact.Text, "12", excelize.CellTypeInlineString},
		{contact.Text, "=1+1", excelize.CellTypeInlineString},
		{contact.Text, "'=1", excelize.CellTypeInlineString},
		{contact.Text, " padded\n\tlines ", excelize.CellTypeInlineString},
		{contact.Text, "<b>&amp; ㈱ 𠮷", excelize.CellTypeInlineString},
		{contact.Text, "_x0041_", excelize.CellTypeInlineString},
		{contact.Text, "2026-01-05", excelize.CellTypeInlineString},
		{contact.Number, "12", excelize.CellTypeUnset},
		{contact.Number, "-0.5", excelize.CellTypeUnset},
		{contact.Number, "12.50", excelize.CellTypeUnset},
		{contact.Number, "1.000", excelize.CellTypeUnset},
		{contact.Number, "123456789012345", excelize.CellTypeUnset},
		{contact.Number, "0.00000000000001", excelize.CellTypeUnset},
		{contact.Number, "-0", excelize.CellTypeInlineString},
		{contact.Date, "2026-01-05", excelize.CellTypeUnset},
		{contact.Date, "2026-01-05 10:20:30", excelize.CellTypeUnset},
		{contact.Date, "2026-01-05T10:20:30", excelize.CellTypeInlineString},
		{contact.Date, "1900-02-28", excelize.CellTypeInlineString},
		{contact.Date, "R6/5/1", excelize.CellTypeInlineString},
		{contact.Boolean, "TRUE", excelize.CellTypeInlineString},
		{contact.List, "a;b", excelize.CellTypeInlineString},
	} {
		e, f := writeSheet(t, []contact.Field{{ID: 1, Name: "x", Type: tt.typ}},
			contact.Contact{Address: "a@example.jp", Values: map[string]string{"x": tt.cell}}, contact.Contact{Address: "b@example.jp"})
		if shown, err := f.GetCellValue(sheetName, "B2"); err != nil || contact.Unguard(shown) != tt.cell && tt.cell != "0.00000000000001" { // excelize shows 1E-14
			t.Errorf("%s %q shows as %q, %v", tt.typ, tt.cell, shown, err)
		}
		if kind, err := f.GetCellType(sheetName, "B2"); err != nil || kind != tt.kind {
			t.Errorf("%s %q is a cell of type %v, %v", tt.typ, tt.cell, kind, err)
		}
		if rows, err := f.GetRows(sheetName); err != nil || len(rows) != 3 || rows[0][0] != "email" || rows[2][0] != "b@example.jp" {
			t.Errorf("rows %q, %v", rows, err)
		}
		if e.Losses.Cells+e.Losses.TooLong > 0 {
			t.Errorf("%q: %+v", tt.cell, e.Losses)
		}
	}
}

func TestSheetTellsWhatItCannotHold(t *testing.T) {
	e, f := writeSheet(t, []contact.Field{{ID: 1, Name: "x", Type: contact.Text}},
		contact.Contact{Address: "a@example.jp", Values: map[string]string{"x": "a\x01b"}},
		contact.Contact{Address: "b@example.jp", Values: map[string]string{"x": strings.Repeat("あ", MaxCell+1)}})
	if shown, _ := f.GetCellValue(sheetName, "B2"); shown != "a b" || e.Losses.Cells != 1 || e.Losses.TooLong != 1 || e.Losses.Characters() != "U+0001" {
		t.Errorf("%q, %+v", shown, e.Losses)
	}
	w := &sheetWriter{row: MaxRows}
	if err := w.write(nil); err == nil || !strings.Contains(err.Error(), "--format csv") {
		t.Errorf("a row too many: %v", err)
	}
}

func TestLostTypes(t *testing.T) {
	fields := []contact.Field{
		{ID: 1, Name: "digits", Type: contact.Text}, {ID: 2, Name: "day", Type: contact.Text}, {ID: 3, Name: "n", Type: contact.Number},
		{ID: 4, Name: "l", Type: contact.List}, {ID: 5, Name: "none", Type: contact.Date}, {ID: 6, Name: "mail", Type: contact.Text, Role: contact.Address},
	}
	c := contact.Contact{Address: "a@example.jp", Values: map[string]string{"digits": "12", "day": "2026-01-05", "n": "1", "l": "a;b", "mail": "1"}}
	for format, want := range map[string]string{
		CSV: "digits text number, day text date, l list text, none date text", XLSX: "day text date, l list text, none date text",
		JSONL: "day text date, none date text",
	} {
		var out bytes.Buffer
		e, err := New(Options{Format: format, TempDir: t.TempDir()}, fields, &out)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Contact(c); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range e.LostTypes() {
			got = append(got, l.Field+" "+string(l.Type)+" "+string(l.Inferred))
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s: %s, want %s", format, s, want)
		}
	}
}
