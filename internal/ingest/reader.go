package ingest

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"mailer/internal/contact"
)

// The formats of a list.
const (
	FormatCSV  = "csv"
	FormatXLSX = "xlsx"
	FormatJSON = "jsonl"
)

// Formats lists the names that --format takes.
func Formats() []string { return []string{FormatCSV, FormatXLSX, FormatJSON} }

// rowReader gives the rows of a source, one after the other, in the order of their lines.
type rowReader interface {
	// next is a row that is not blank, or why it is rejected, or io.EOF. The cells are good until the next call.
	next() (record, *Reject, error)
	// show is a row for people, as it stands in the file.
	show(record) string
	Close() error
}

// rows begins at the first row of the source, its header if it has one.
func (s *source) rows() (rowReader, error) {
	if err := s.unchanged(); err != nil {
		return nil, err
	}
	switch s.format {
	case FormatXLSX:
		return s.sheetRows()
	case FormatJSON:
		return s.objects()
	}
	return s.records()
}

// body is the rows behind the header.
type body struct {
	rowReader
	src *source
}

// body begins at the first row behind the header.
func (s *source) body(h *header) (*body, error) {
	r, err := s.rows()
	if err != nil {
		return nil, err
	}
	for line := int64(0); line < h.line; {
		rec, bad, err := r.next()
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("find the header again: %w", noEOF(err))
		}
		if line = rec.line; bad != nil {
			line = bad.Line
		}
	}
	return &body{r, s}, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// hints are what a format knows of its columns beyond their text. They are complete once every row was read.
type hints struct {
	quoted []bool // a cell that looks like a number is written as text
	number []bool // a cell is written as a number
	list   []bool // a cell is written as a list
}

func newHints(columns int) hints {
	return hints{make([]bool, columns), make([]bool, columns), make([]bool, columns)}
}

// text notes a cell that the file holds as text.
func (h *hints) text(column int, cell string) {
	if !h.quoted[column] && cell != "" && contact.Fits(contact.Number, cell) {
		h.quoted[column] = true
	}
}

// settle is the type of a column whose cells look like t. Digits that are all written as text are a code and no number;
// one such cell among numbers is a slip.
func (h *hints) settle(column int, t contact.Type) contact.Type {
	switch {
	case column >= len(h.list):
	case h.list[column]:
		return contact.List
	case t == contact.Number && h.quoted[column] && !h.number[column]:
		return contact.Text
	}
	return t
}

// csvLine shows the cells of a row that is no text in its file.
func csvLine(cells []string) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	w.Write(cells)
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}
