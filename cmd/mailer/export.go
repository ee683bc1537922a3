package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"mailer/internal/contact"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
)

// Formats of an export.
const (
	exportCSV   = "csv"
	exportXLSX  = "xlsx"
	exportJSONL = "jsonl"
)

// contactWriter writes contacts in one format, one after the other.
type contactWriter interface {
	header() error
	contact(c contact.Contact) error
	close() error
}

// exporter is an export on its way: what it writes with, and what the file will not tell an import.
type exporter struct {
	contactWriter
	fields []contact.Field
	shows  []contact.Inference // what an import would make of each field
	quoted []bool              // a cell that looks like a number is a text in the file, and an import sees that
	listed []bool              // a cell is a list in the file
	count  int64
	losses losses
}

// losses are cells that the file does not hold as they are.
type losses struct {
	cells   int64 // with characters that are not in the encoding, or too long
	gone    []rune
	twins   int64 // with characters that come back as their twins
	tooLong int64
}

func newExporter(o contactsExportOptions, fields []contact.Field, out io.Writer, dir string) (*exporter, error) {
	e := &exporter{fields: fields, quoted: make([]bool, len(fields)), listed: make([]bool, len(fields))}
	for _, f := range fields {
		e.shows = append(e.shows, contact.NewInference(f.Name))
	}
	switch o.format {
	case exportXLSX:
		s, err := newSheetWriter(e, out, dir)
		if err != nil {
			return nil, err
		}
		e.contactWriter = s
	case exportJSONL:
		e.contactWriter = &jsonWriter{e: e, out: out}
	default:
		w := &csvWriter{e: e, out: out, csv: csv.NewWriter(out)}
		if o.encoding == "cp932" {
			w.cp932 = japanese.ShiftJIS
		}
		e.contactWriter = w
	}
	return e, nil
}

func (e *exporter) contact(c contact.Contact) error {
	e.count++
	for i, f := range e.fields {
		e.shows[i].See(c.Values[f.Name])
	}
	return e.contactWriter.contact(c)
}

// lostType is a field whose type an import into an empty workspace would not find again.
type lostType struct {
	Field    string       `json:"field"`
	Type     contact.Type `json:"type"`
	Inferred contact.Type `json:"inferred"`
}

// lostTypes compares each field's type with what an import makes of the file.
func (e *exporter) lostTypes() []lostType {
	lost := []lostType{}
	for i, f := range e.fields {
		t := e.shows[i].Type()
		switch {
		case e.listed[i]:
			t = contact.List
		case e.quoted[i] && t == contact.Number, f.Role == contact.Address:
			t = contact.Text
		}
		if t != f.Type {
			lost = append(lost, lostType{f.Name, f.Type, t})
		}
	}
	return lost
}

// csvWriter writes CSV as Excel opens it: UTF-8 with a mark, or CP932.
type csvWriter struct {
	e     *exporter
	out   io.Writer
	csv   *csv.Writer
	cp932 encoding.Encoding // nil: UTF-8
}

func (w *csvWriter) header() error {
	if w.cp932 == nil {
		if _, err := io.WriteString(w.out, "\ufeff"); err != nil {
			return fmt.Errorf("write export: %w", err)
		}
	}
	row := []string{"email"}
	for _, f := range w.e.fields {
		row = append(row, f.Name)
	}
	return w.row(row)
}

func (w *csvWriter) contact(c contact.Contact) error {
	row := make([]string, 0, 1+len(w.e.fields))
	row = append(row, c.Address)
	for _, f := range w.e.fields {
		row = append(row, c.Values[f.Name])
	}
	return w.row(row)
}

func (w *csvWriter) row(cells []string) error {
	for i, cell := range cells {
		cells[i] = w.encode(contact.Guard(cell))
	}
	if err := w.csv.Write(cells); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

func (w *csvWriter) close() error {
	w.csv.Flush()
	if err := w.csv.Error(); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

// geta stands in Japanese print where a character is missing.
const geta = "〓"

// cp932Twins are characters that Unicode has twice and Windows maps to the other one (the wave dash of iOS and macOS is
// U+301C, that of Windows U+FF5E). The encoder writes ¥ and ‾ as the backslash and the tilde, which they are not.
var cp932Twins = strings.NewReplacer("\u301c", "\uff5e", "\u2212", "\uff0d", "\u2016", "\u2225", "\u2014", "\u2015",
	"\u00a2", "\uffe0", "\u00a3", "\uffe1", "\u00ac", "\uffe2", "\u00a5", "\uffe5", "\u203e", "\uffe3")

// encode is a cell in the encoding of the file.
func (w *csvWriter) encode(cell string) string {
	if w.cp932 == nil || isPlainASCII(cell) {
		return cell
	}
	twin := cp932Twins.Replace(cell)
	text, err := w.cp932.NewEncoder().String(twin)
	if err == nil {
		if back, err := w.cp932.NewDecoder().String(text); err != nil || back != cell {
			w.e.losses.twins++
		}
		return text
	}
	w.e.losses.cells++
	var b strings.Builder
	for _, r := range twin {
		text, err := w.cp932.NewEncoder().String(string(r))
		if err != nil {
			w.e.losses.lose(r)
			text, _ = w.cp932.NewEncoder().String(geta)
		}
		b.WriteString(text)
	}
	return b.String()
}

func isPlainASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// lose remembers some of the characters that are lost.
func (l *losses) lose(r rune) {
	if !slices.Contains(l.gone, r) && len(l.gone) < 10 {
		l.gone = append(l.gone, r)
	}
}

func (l *losses) text() string {
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

// jsonWriter writes one object a line. A number is a number, a list an array, wherever they read back as the same cell;
// everything else is a string. So an import sees the type of most fields.
type jsonWriter struct {
	e   *exporter
	out io.Writer
	b   []byte
}

func (w *jsonWriter) header() error { return nil }

// contact writes email and the fields in their order; encoding/json would sort them.
func (w *jsonWriter) contact(c contact.Contact) error {
	w.b = append(w.b[:0], `{"email":`...)
	var err error
	if w.b, err = appendJSON(w.b, c.Address); err != nil {
		return err
	}
	for i, f := range w.e.fields {
		cell, has := c.Values[f.Name]
		if !has {
			continue
		}
		w.b = append(w.b, ',')
		if w.b, err = appendJSON(w.b, f.Name); err != nil {
			return err
		}
		w.b = append(w.b, ':')
		if w.b, err = w.value(w.b, i, cell); err != nil {
			return err
		}
	}
	if _, err := w.out.Write(append(w.b, '}', '\n')); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

func (w *jsonWriter) value(b []byte, field int, cell string) ([]byte, error) {
	switch w.e.fields[field].Type {
	case contact.Number: // a cell that fits is a number of JSON as it stands
		return append(b, cell...), nil
	case contact.List:
		if items, ok := contact.ListItems(cell); ok {
			w.e.listed[field] = true
			return appendJSON(b, items)
		}
	}
	w.e.quoted[field] = w.e.quoted[field] || contact.Fits(contact.Number, cell)
	return appendJSON(b, cell)
}

func (w *jsonWriter) close() error { return nil }

func appendJSON(b []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	return append(b, text...), err
}
