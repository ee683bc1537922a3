// Package export writes contacts for other programs, so that an import reads the same cells back: CSV as Excel opens it, workbooks,
// and JSON lines. It says what a file does not hold as it was: characters that its encoding lacks, types that an import would not find.
package export

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"mailer/internal/contact"

	"golang.org/x/text/encoding/japanese"
)

// Formats of an export.
const (
	CSV   = "csv"
	XLSX  = "xlsx"
	JSONL = "jsonl"
)

// Formats lists the names of the formats.
func Formats() []string { return []string{CSV, XLSX, JSONL} }

// contactWriter writes contacts in one format, one after the other.
type contactWriter interface {
	header() error
	contact(c contact.Contact) error
	close() error
}

// Export is an export on its way: what it writes with, and what the file will not tell an import.
type Export struct {
	writer contactWriter
	fields []contact.Field
	shows  []contact.Inference // what an import would make of each field
	quoted []bool              // a cell that looks like a number is a text in the file, and an import sees that
	listed []bool              // a cell is a list in the file
	Count  int64               // contacts so far
	Losses Losses
}

// Losses are cells that the file does not hold as they are.
type Losses struct {
	Cells   int64 // with characters that are not in the encoding
	Twins   int64 // with characters that come back as their twins
	TooLong int64 // longer than a cell can be
	gone    []rune
}

// Options of an export.
type Options struct {
	Format   string // one of Formats
	Encoding string // of CSV: "utf-8" or "cp932"
	TempDir  string // where a workbook's rows wait
}

// New begins an export of contacts with these fields. It wants Close in any case.
func New(o Options, fields []contact.Field, out io.Writer) (*Export, error) {
	e := &Export{fields: fields, quoted: make([]bool, len(fields)), listed: make([]bool, len(fields))}
	for _, f := range fields {
		e.shows = append(e.shows, contact.NewInference(f.Name))
	}
	switch o.Format {
	case XLSX:
		s, err := newSheetWriter(e, out, o.TempDir)
		if err != nil {
			return nil, err
		}
		e.writer = s
	case JSONL:
		e.writer = &jsonWriter{e: e, out: out}
	default:
		w := &csvWriter{e: e, out: out, csv: csv.NewWriter(out)}
		if o.Encoding == "cp932" {
			w.cp932 = japanese.ShiftJIS
		}
		e.writer = w
	}
	return e, nil
}

// Header writes the names of the columns. It comes first, and once.
func (e *Export) Header() error { return e.writer.header() }

// Contact writes one contact.
func (e *Export) Contact(c contact.Contact) error {
	e.Count++
	for i, f := range e.fields {
		e.shows[i].See(c.Values[f.Name])
	}
	return e.writer.contact(c)
}

// Close ends the file. What New was given to write to stays open.
func (e *Export) Close() error { return e.writer.close() }

// LostType is a field whose type an import into an empty workspace would not find again.
type LostType struct {
	Field    string       `json:"field"`
	Type     contact.Type `json:"type"`
	Inferred contact.Type `json:"inferred"`
}

// LostTypes compares each field's type with what an import makes of the file.
func (e *Export) LostTypes() []LostType {
	lost := []LostType{}
	for i, f := range e.fields {
		t := e.shows[i].Type()
		switch {
		case e.listed[i]:
			t = contact.List
		case e.quoted[i] && t == contact.Number, f.Role == contact.Address:
			t = contact.Text
		}
		if t != f.Type {
			lost = append(lost, LostType{f.Name, f.Type, t})
		}
	}
	return lost
}

// lose remembers some of the characters that are lost.
func (l *Losses) lose(r rune) {
	if !slices.Contains(l.gone, r) && len(l.gone) < 10 {
		l.gone = append(l.gone, r)
	}
}

// Characters names some of the characters that were lost.
func (l *Losses) Characters() string {
	var parts []string
	for _, r := range l.gone {
		if strconv.IsGraphic(r) {
			parts = append(parts, fmt.Sprintf("%c U+%04X", r, r))
		} else {
			parts = append(parts, fmt.Sprintf("U+%04X", r))
		}
	}
	return strings.Join(parts, ", ")
}
