package workbook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Bounds of a sheet, those of Excel (https://support.microsoft.com/office/1672b34d-7043-467e-8e27-269d656771c3).
const (
	MaxColumns = 16_384
	maxRows    = 1_048_576
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

func (b *Book) openSheet(s Sheet) (*sheetXML, error) {
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
		if x.row <= before || x.row > maxRows {
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
	if x.column <= before || x.column > MaxColumns {
		return c, fmt.Errorf("row %d: its cells are out of order", x.row)
	}
	c.column = x.column
	return c, nil
}

// columnOf is the column of a reference such as B5; 0 if it has none.
func columnOf(ref []byte) int {
	n := 0
	for _, c := range ref {
		if c |= 0x20; c < 'a' || c > 'z' || n > MaxColumns {
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

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
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
func (b *Book) hasRows(ctx context.Context, s Sheet) (bool, error) {
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

func sheetError(s Sheet, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sheet %q: %w", s.Name, err)
}

// survey reads the whole sheet once without its values: the merged cells stand behind the rows that they are about.
func (b *Book) survey(ctx context.Context, s Sheet) (sheetShape, error) {
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
		case letters && 'A' <= c && c <= 'Z' && corner.column <= MaxColumns:
			corner.column = corner.column*26 + int(c-'A') + 1
		case '0' <= c && c <= '9' && corner.row <= maxRows:
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
	if a.column == 0 || a.row == 0 || b.row < a.row || b.row > maxRows || a.column > MaxColumns {
		return merge{}, fmt.Errorf("%q is no range of merged cells", ref)
	}
	return merge{a.row, b.row, a.column}, nil
}
