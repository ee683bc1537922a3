package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"mailer/internal/contact"
)

// Bounds of a sheet, those of Excel.
const (
	maxSheetRows    = 1_048_576
	maxSheetColumns = 16_384
)

// cellAt is where a cell of the XML stands, and how it says what it holds.
type cellAt struct {
	column int
	style  int
	kind   string // b d e inlineStr n s str
}

// sheetXML walks over the rows and cells of a sheet.
type sheetXML struct {
	*markup
	close  io.Closer
	row    int
	column int
	hidden bool

	value   []byte
	formula bool
	filled  bool // the cell has a value
}

func (b *book) openSheet(s sheet) (*sheetXML, error) {
	x, c, err := b.stream(s.part)
	if err != nil {
		return nil, err
	}
	return &sheetXML{markup: x, close: c}, nil
}

// nextRow goes to the next row and reports whether there is one. meet is told of each element before and behind the rows.
func (x *sheetXML) nextRow(meet func()) (bool, error) {
	for {
		tok, err := x.next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if tok != startTag {
			continue
		}
		if string(x.name) != "row" {
			if meet != nil {
				meet()
			}
			continue
		}
		before := x.row
		x.row, x.column, x.hidden = before+1, 0, false
		for key, value, rest := attr(x.attrs); key != nil; key, value, rest = attr(rest) {
			switch string(key) {
			case "r":
				if x.row, err = strconv.Atoi(string(value)); err != nil {
					return false, fmt.Errorf("row %q has no number", value)
				}
			case "hidden":
				x.hidden = string(value) == "1" || string(value) == "true"
			}
		}
		if x.row <= before || x.row > maxSheetRows {
			return false, fmt.Errorf("row %d stands behind row %d", x.row, before)
		}
		return true, nil
	}
}

// nextCell goes to the next cell of the row that holds something, and reports whether there is one. Its text is read into
// value: raw for numbers and references, in full for what stands in the cell itself.
func (x *sheetXML) nextCell() (cellAt, bool, error) {
	for {
		tok, err := x.next()
		switch {
		case err != nil:
			return cellAt{}, false, noEOF(err)
		case tok == endTag && string(x.name) == "row":
			return cellAt{}, false, nil
		case tok != startTag || string(x.name) != "c":
			continue
		}
		c, err := x.cellAttrs()
		if err != nil {
			return c, false, err
		}
		if err := x.readCell(); err != nil {
			return c, false, err
		}
		if x.filled || x.formula {
			return c, true, nil
		}
	}
}

// cellAttrs reads the start tag of a cell.
func (x *sheetXML) cellAttrs() (cellAt, error) {
	c := cellAt{kind: "n"}
	before := x.column
	x.column++
	for key, value, rest := attr(x.attrs); key != nil; key, value, rest = attr(rest) {
		switch string(key) {
		case "r":
			x.column = columnOf(value)
		case "s":
			c.style, _ = strconv.Atoi(string(value))
		case "t":
			c.kind = kindOf(value)
		}
	}
	if x.column <= before || x.column > maxSheetColumns {
		return c, fmt.Errorf("row %d: its cells are out of order", x.row)
	}
	c.column = x.column
	return c, nil
}

// columnOf is the column of a reference such as B5; 0 if it has none.
func columnOf(ref []byte) int {
	n := 0
	for _, c := range ref {
		if c |= 0x20; c < 'a' || c > 'z' || n > maxSheetColumns {
			break
		}
		n = n*26 + int(c-'a') + 1
	}
	return n
}

// kindOf saves a copy for the kinds that there are.
func kindOf(value []byte) string {
	for _, kind := range []string{"s", "n", "str", "b", "inlineStr", "e", "d"} {
		if string(value) == kind {
			return kind
		}
	}
	return string(value)
}

// readCell reads what a cell holds, up to its end tag.
func (x *sheetXML) readCell() error {
	x.value, x.formula, x.filled = x.value[:0], false, false
	depth := x.depth
	for {
		tok, err := x.next()
		if err != nil {
			return noEOF(err)
		}
		switch {
		case tok == endTag && x.depth < depth:
			return nil
		case tok == startTag && string(x.name) == "f":
			x.formula = true
			if err := x.leave(); err != nil {
				return err
			}
		case tok == startTag && string(x.name) == "v":
			x.filled = true
			if err := x.readValue(); err != nil {
				return err
			}
		case tok == startTag && string(x.name) == "is":
			x.filled = true
			if x.value, err = richText(x.markup, x.value); err != nil {
				return err
			}
		case tok == startTag:
			if err := x.leave(); err != nil {
				return err
			}
		}
	}
}

// leave goes behind the end of the element that was just opened.
func (x *sheetXML) leave() error {
	for depth := x.depth; x.depth >= depth; {
		if _, err := x.next(); err != nil {
			return noEOF(err)
		}
	}
	return nil
}

func (x *sheetXML) readValue() error {
	for depth := x.depth; ; {
		tok, err := x.next()
		if err != nil {
			return noEOF(err)
		}
		if tok == endTag && x.depth < depth {
			return nil
		}
		if tok == textData {
			if x.value, err = appendText(x.value, x.text, x.literal); err != nil {
				return err
			}
		}
		if len(x.value) > maxToken {
			return errXMLSize
		}
	}
}

// hasRows reports whether a sheet holds anything.
func (b *book) hasRows(ctx context.Context, s sheet) (bool, error) {
	x, err := b.openSheet(s)
	if err != nil {
		return false, err
	}
	defer x.close.Close()
	for ctx.Err() == nil {
		more, err := x.nextRow(nil)
		if err != nil || !more {
			return false, sheetError(s, err)
		}
		if _, has, err := x.nextCell(); err != nil || has {
			return has, sheetError(s, err)
		}
	}
	return false, ctx.Err()
}

func sheetError(s sheet, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sheet %q: %w", s.name, err)
}

// survey reads the whole sheet once without its values: the merged cells stand behind the rows that they are about.
func (b *book) survey(ctx context.Context, s sheet) (sheetShape, error) {
	var shape sheetShape
	x, err := b.openSheet(s)
	if err != nil {
		return shape, err
	}
	defer x.close.Close()
	var bad error
	meet := func() {
		switch string(x.name) {
		case "col":
			hidden := x.attribute("hidden")
			shape.hiddenCols = shape.hiddenCols || hidden == "1" || hidden == "true"
		case "mergeCell":
			m, err := parseMerge(x.attribute("ref"))
			if bad = err; err == nil && m.bottom > m.top {
				shape.merges = append(shape.merges, m)
			}
			if len(shape.merges) > maxMerges {
				bad = fmt.Errorf("it has more than %d merged cells", maxMerges)
			}
		}
	}
	for n := int64(0); bad == nil; n++ {
		if err := b.alive(ctx, n); err != nil {
			return shape, err
		}
		more, err := x.nextRow(meet)
		if err != nil {
			return shape, sheetError(s, err)
		}
		if !more {
			break
		}
		holds := false
		for {
			c, has, err := x.nextCell()
			if err != nil {
				return shape, sheetError(s, err)
			}
			if !has {
				break
			}
			holds, shape.width = true, max(shape.width, c.column)
		}
		if holds {
			shape.rows++
		}
		if holds && x.hidden {
			shape.hidden++
		}
	}
	slices.SortStableFunc(shape.merges, func(a, b merge) int { return a.top - b.top })
	return shape, sheetError(s, bad)
}

// parseMerge reads a range such as B2:B5.
func parseMerge(ref string) (merge, error) {
	corners := []struct{ column, row int }{{}, {}}
	at, letters := 0, true
	for i := range len(ref) {
		c := ref[i]
		corner := &corners[at]
		switch {
		case c == '$':
		case c == ':' && at == 0:
			at, letters = 1, true
		case letters && 'A' <= c && c <= 'Z' && corner.column <= maxSheetColumns:
			corner.column = corner.column*26 + int(c-'A') + 1
		case '0' <= c && c <= '9' && corner.row <= maxSheetRows:
			letters = false
			corner.row = corner.row*10 + int(c-'0')
		default:
			return merge{}, fmt.Errorf("%q is no range of merged cells", ref)
		}
	}
	a, b := corners[0], corners[1]
	if at == 0 {
		b = a
	}
	if a.column == 0 || a.row == 0 || b.row < a.row || b.row > maxSheetRows || a.column > maxSheetColumns {
		return merge{}, fmt.Errorf("%q is no range of merged cells", ref)
	}
	return merge{a.row, b.row, a.column}, nil
}

// sheetRows gives the rows of a sheet.
type sheetRows struct {
	book   *book
	xml    *sheetXML
	hints  *hints
	cells  []string
	merges []merge // not begun yet
	open   []openMerge
}

// openMerge is a range of merged cells that the rows have come to.
type openMerge struct {
	merge
	value string
	err   error
}

func (b *book) rows(h *hints) (rowReader, error) {
	x, err := b.openSheet(*b.sheet)
	if err != nil {
		return nil, err
	}
	return &sheetRows{book: b, xml: x, hints: h, cells: make([]string, b.shape.width), merges: b.shape.merges}, nil
}

func (r *sheetRows) Close() error { return r.xml.close.Close() }

func (r *sheetRows) show(rec record) string { return csvLine(rec.cells) }

func (r *sheetRows) next() (record, *Reject, error) {
	for {
		more, err := r.xml.nextRow(nil)
		if err == nil && !more {
			return record{}, nil, io.EOF
		}
		var column int
		var bad error
		if err == nil {
			column, bad, err = r.row()
		}
		if err != nil {
			return record{}, nil, fmt.Errorf("read %s: %w", r.book.name, sheetError(*r.book.sheet, err))
		}
		rec := record{line: int64(r.xml.row), cells: r.cells}
		switch {
		case bad != nil:
			return record{}, &Reject{Line: rec.line, Column: column, Reason: bad.Error(), Row: r.show(rec)}, nil
		case !blank(r.cells):
			return rec, nil, nil
		}
	}
}

// row reads the cells of a row. bad is what is wrong with the one in column.
func (r *sheetRows) row() (column int, bad, err error) {
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
			r.hints.text(c.column-1, text)
		case "n":
			r.hints.number[c.column-1] = true
		}
		r.cells[c.column-1] = text
	}
	r.merge(column, bad, fault)
	return column, bad, nil
}

// merge fills the cells below the first one of a merged range.
func (r *sheetRows) merge(column int, bad error, fault func(int, error)) {
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
func (b *book) cellText(x *sheetXML, c cellAt) (string, error) {
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

func (b *book) numberText(raw string, style int) (string, error) {
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
