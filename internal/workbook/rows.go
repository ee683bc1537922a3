package workbook

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"mailer/internal/contact"
)

// Row is one row of a sheet.
type Row struct {
	Line   int64    // its number in Excel, from 1
	Cells  []string // one for each column of the sheet, "" where there is nothing; good until the next call of Next
	Column int      // the first cell that cannot be read, from 1; 0: all can
	Reason error    // why it cannot; it names the cell as Excel does, B5, of a merged range the first one
}

// Column is what the cells of a column are beyond their text.
type Column struct {
	Quoted bool // a cell that looks like a number (contact.Number) is written as text
	Number bool // a cell is written as a number, which dates and times are too
}

// Rows gives the rows of a sheet, in the order of their lines.
type Rows struct {
	book    *Book
	xml     *sheetXML
	columns []Column
	cells   []string
	merges  []merge // not begun yet
	open    []openMerge
}

// openMerge is a range of merged cells that the rows have come to.
type openMerge struct {
	merge
	value string
	err   error
}

// Rows begins at the first row of the sheet. Close what it gives before the Book. An error says that the file cannot be read
// any more.
func (b *Book) Rows() (*Rows, error) {
	x, err := b.openSheet(*b.sheet)
	if err != nil {
		return nil, err
	}
	w := b.shape.width
	return &Rows{book: b, xml: x, columns: make([]Column, w), cells: make([]string, w), merges: b.shape.merges}, nil
}

// Close ends the reading.
func (r *Rows) Close() error { return r.xml.close.Close() }

// Columns is what the rows so far tell of the columns. It is complete once Next has returned io.EOF.
func (r *Rows) Columns() []Column { return r.columns }

// Next is the next row that the file has, be it empty, or io.EOF behind the last one. Any other error is the end too: the
// file was changed or cannot be read any more. It wraps an *Error where the sheet unpacks to more than it can need.
func (r *Rows) Next() (Row, error) {
	more, err := r.xml.nextRow(nil)
	if err == nil && !more {
		return Row{}, io.EOF
	}
	row := Row{Cells: r.cells}
	if err == nil {
		row.Column, row.Reason, err = r.row()
	}
	if err != nil {
		return Row{}, fmt.Errorf("read %s: %w", r.book.name, sheetError(*r.book.sheet, err))
	}
	row.Line = int64(r.xml.row)
	return row, nil
}

// row reads the cells of a row. bad is what is wrong with the one in column.
func (r *Rows) row() (column int, bad, err error) {
	clear(r.cells)
	fault := func(at int, reason error) {
		if bad == nil {
			column, bad = at, reason
		}
	}
	for {
		c, has, err := r.xml.nextCell()
		if err != nil {
			return 0, nil, err
		}
		if !has {
			break
		}
		if c.column > len(r.cells) {
			return 0, nil, errors.New("was changed while it was read")
		}
		text, err := r.book.cellText(r.xml, c)
		if err != nil {
			fault(c.column, fmt.Errorf("cell %s%d %w", columnName(c.column), r.xml.row, err))
			text = string(r.xml.value)
		}
		switch c.kind {
		case "s", "str", "inlineStr":
			text = contact.Unguard(text) // of a guarded CSV file that was opened and saved as a workbook
			if col := &r.columns[c.column-1]; !col.Quoted && text != "" && contact.Fits(contact.Number, text) {
				col.Quoted = true
			}
		case "n":
			r.columns[c.column-1].Number = true
		}
		r.cells[c.column-1] = text
	}
	r.merge(column, bad, fault)
	return column, bad, nil
}

// merge fills the cells below the first one of a merged range.
func (r *Rows) merge(column int, bad error, fault func(int, error)) {
	row := r.xml.row
	for len(r.merges) > 0 && r.merges[0].top <= row {
		m := openMerge{merge: r.merges[0]}
		if m.top == row && m.column <= len(r.cells) {
			if m.value = r.cells[m.column-1]; column == m.column {
				m.err = bad
			}
		}
		r.open, r.merges = append(r.open, m), r.merges[1:]
	}
	r.open = slices.DeleteFunc(r.open, func(m openMerge) bool { return m.bottom < row })
	for _, m := range r.open {
		if m.top == row || m.column > len(r.cells) || r.cells[m.column-1] != "" {
			continue
		}
		if r.cells[m.column-1] = m.value; m.err != nil {
			fault(m.column, m.err)
		}
	}
}

// cellText is a cell as people see it.
func (b *Book) cellText(x *sheetXML, c cellAt) (string, error) {
	if !x.filled {
		return "", errors.New("holds a formula without a result: open the workbook in Excel, save it, and import it again")
	}
	switch c.kind {
	case "s":
		n, err := strconv.Atoi(string(x.value))
		if err != nil {
			return "", fmt.Errorf("refers to text %q: the workbook is damaged", x.value)
		}
		text, err := b.texts.at(n)
		if err != nil {
			return "", err
		}
		return text, checkText(text)
	case "str":
		text := string(unescapeControls(x.value))
		return text, checkText(text)
	case "inlineStr":
		text := string(x.value)
		return text, checkText(text)
	case "b":
		if string(x.value) == "1" || string(x.value) == "true" {
			return "TRUE", nil
		}
		return "FALSE", nil
	case "e":
		return "", fmt.Errorf("holds the error %s", x.value)
	case "d":
		return isoDate(string(x.value))
	case "n":
		return b.numberText(string(x.value), c.style)
	}
	return "", fmt.Errorf("is of a kind %q that no workbook has", c.kind)
}

// checkText is what keeps a text out of the store, to be read behind the name of its cell.
func checkText(text string) error {
	if err := contact.CheckCell(text); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "the cell "))
	}
	return nil
}

func (b *Book) numberText(raw string, style int) (string, error) {
	if raw == "" {
		return "", nil
	}
	var f *numFormat
	if 0 <= style && style < len(b.formats) {
		f = b.formats[style]
	}
	text, err := f.text(raw, b.epoch)
	if err != nil {
		return "", fmt.Errorf("holds %w", err)
	}
	return text, nil
}

// columnName is a column as Excel calls it: A, Z, AA.
func columnName(n int) string {
	var name []byte
	for ; n > 0; n = (n - 1) / 26 {
		name = append(name, byte('A'+(n-1)%26))
	}
	slices.Reverse(name)
	return string(name)
}
