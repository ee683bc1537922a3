package export

import (
	"archive/zip"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"mailer/internal/contact"

	"github.com/xuri/excelize/v2"
)

// Bounds of a sheet (https://support.microsoft.com/office/1672b34d-7043-467e-8e27-269d656771c3).
const (
	MaxRows         = 1_048_576
	maxSheetColumns = 16_384
	MaxCell         = 32_767 // UTF-16 units
)

// sheetWriter writes a workbook of one sheet. A cell is text, so that leading zeros live, but for numbers and dates that
// read back as the very same cell. Text cells are not run as formulas, so they are not guarded, unless they begin as a
// guarded one does: an import takes the apostrophe off. Rows go to a temporary file once they take 16 MB.
type sheetWriter struct {
	e      *Export
	out    io.Writer
	file   *excelize.File
	stream *excelize.StreamWriter
	row    int
	cells  []any
	styles map[string]int
}

// sheetName is the sheet that a new workbook has.
const sheetName = "Sheet1"

func newSheetWriter(e *Export, out io.Writer, dir string) (*sheetWriter, error) {
	if len(e.fields)+1 > maxSheetColumns {
		return nil, fmt.Errorf("a sheet has %d columns and there are %d fields: use --format csv", maxSheetColumns, len(e.fields))
	}
	w := &sheetWriter{e: e, out: out, file: excelize.NewFile(excelize.Options{TmpDir: dir}), styles: map[string]int{}}
	var err error
	if w.stream, err = w.file.NewStreamWriter(sheetName); err != nil {
		w.file.Close()
		return nil, fmt.Errorf("write export: %w", err)
	}
	return w, nil
}

// TooManyError says that contacts do not fit on a sheet.
type TooManyError struct{ Contacts int64 }

func (e *TooManyError) Error() string {
	return fmt.Sprintf("%d contacts do not fit on a sheet, which has %d rows: use --format csv, or --where or --list for a part of them", e.Contacts, MaxRows)
}

func (w *sheetWriter) header() error {
	row := []any{"email"}
	for _, f := range w.e.fields {
		row = append(row, w.text(f.Name))
	}
	return w.write(row)
}

func (w *sheetWriter) contact(c contact.Contact) error {
	w.cells = append(w.cells[:0], c.Address)
	for i, f := range w.e.fields {
		cell := c.Values[f.Name]
		if cell == "" {
			w.cells = append(w.cells, nil)
			continue
		}
		v, err := w.value(i, cell)
		if err != nil {
			return err
		}
		w.cells = append(w.cells, v)
	}
	return w.write(w.cells)
}

func (w *sheetWriter) write(row []any) error {
	if w.row++; w.row > MaxRows {
		return &TooManyError{int64(w.row - 1)}
	}
	if err := w.stream.SetRow("A"+strconv.Itoa(w.row), row); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

// value is a cell as a value of the sheet.
func (w *sheetWriter) value(field int, cell string) (any, error) {
	switch w.e.fields[field].Type {
	case contact.Number:
		if v, format, ok := sheetNumber(cell); ok {
			return w.styled(v, format)
		}
	case contact.Date:
		if v, format, ok := sheetDate(cell); ok {
			return w.styled(v, format)
		}
	}
	w.e.quoted[field] = w.e.quoted[field] || contact.Fits(contact.Number, cell)
	return w.text(cell), nil
}

// sheetNumber is a number of a sheet that shows as cell: 12.50 is 12.5 in the format 0.00.
func sheetNumber(cell string) (v float64, format string, ok bool) {
	v, err := strconv.ParseFloat(cell, 64)
	if err != nil || v == 0 && cell[0] == '-' {
		return 0, "", false
	}
	_, fraction, _ := strings.Cut(cell, ".")
	if strconv.FormatFloat(v, 'f', len(fraction), 64) != cell {
		return 0, "", false
	}
	if strings.HasSuffix(fraction, "0") {
		format = "0." + strings.Repeat("0", len(fraction))
	}
	return v, format, true
}

// sheetDate is a date of a sheet that shows as cell. Days before March 1900 are another number in Excel, which takes 1900
// for a leap year.
func sheetDate(cell string) (days float64, format string, ok bool) {
	for _, f := range []struct{ layout, format string }{{"2006-01-02", "yyyy-mm-dd"}, {"2006-01-02 15:04:05", "yyyy-mm-dd hh:mm:ss"}} {
		t, err := time.Parse(f.layout, cell)
		if err != nil || t.Format(f.layout) != cell || t.Year() <= 1900 {
			continue
		}
		return t.Sub(time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)).Hours() / 24, f.format, true
	}
	return 0, "", false
}

// styled is a number in a number format, "" for the general one.
func (w *sheetWriter) styled(v float64, format string) (any, error) {
	if format == "" {
		return v, nil
	}
	style, have := w.styles[format]
	if !have {
		var err error
		if style, err = w.file.NewStyle(&excelize.Style{CustomNumFmt: &format}); err != nil {
			return nil, fmt.Errorf("write export: %w", err)
		}
		w.styles[format] = style
	}
	return excelize.Cell{StyleID: style, Value: v}, nil
}

// text is a cell without what XML and Excel cannot hold: control characters, and more than 32,767 characters.
func (w *sheetWriter) text(cell string) string {
	if contact.Unguard(cell) != cell {
		cell = contact.Guard(cell)
	}
	lost := false
	clean := strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			lost = true
			w.e.Losses.lose(r)
			return ' '
		}
		return r
	}, cell)
	if units := len(utf16.Encode([]rune(clean))); len(clean) > MaxCell && units > MaxCell {
		w.e.Losses.TooLong++ // excelize cuts it
	}
	if lost {
		w.e.Losses.Cells++
	}
	return clean
}

func (w *sheetWriter) close() error {
	defer w.file.Close() // and its temporary files
	if err := w.stream.Flush(); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	// Left to itself, excelize holds the whole packed workbook in memory before it writes it.
	w.file.SetZipWriter(func(io.Writer) excelize.ZipWriter { return zip.NewWriter(w.out) })
	if err := w.file.Write(io.Discard); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}
