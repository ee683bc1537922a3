package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"mailer/internal/contact"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
)

// exporter writes contacts, one after the other.
type exporter struct {
	o      contactsExportOptions
	fields []contact.Field
	out    io.Writer
	csv    *csv.Writer
	cp932  *encoding.Encoder // nil: UTF-8
	count  int64
	lost   int64  // cells with characters that CP932 does not have
	gone   []rune // some of them
}

func newExporter(o contactsExportOptions, fields []contact.Field, out io.Writer) *exporter {
	e := &exporter{o: o, fields: fields, out: out, csv: csv.NewWriter(out)}
	if o.encoding == "cp932" {
		e.cp932 = japanese.ShiftJIS.NewEncoder()
	}
	return e
}

func (e *exporter) header() error {
	if e.o.format != "csv" {
		return nil
	}
	if e.cp932 == nil {
		if _, err := io.WriteString(e.out, "\ufeff"); err != nil {
			return fmt.Errorf("write export: %w", err)
		}
	}
	row := []string{"email"}
	for _, f := range e.fields {
		row = append(row, f.Name)
	}
	return e.row(row)
}

func (e *exporter) contact(c contact.Contact) error {
	e.count++
	if e.o.format == "jsonl" {
		return e.object(c)
	}
	row := make([]string, 0, 1+len(e.fields))
	row = append(row, c.Address)
	for _, f := range e.fields {
		row = append(row, c.Values[f.Name])
	}
	return e.row(row)
}

func (e *exporter) row(cells []string) error {
	for i, cell := range cells {
		cells[i] = e.encode(contact.Guard(cell))
	}
	if err := e.csv.Write(cells); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

// object writes email and the fields in their order; encoding/json would sort them.
func (e *exporter) object(c contact.Contact) error {
	var b strings.Builder
	b.WriteByte('{')
	member := func(name, value string) error {
		for i, s := range []string{name, value} {
			text, err := json.Marshal(s)
			if err != nil {
				return err
			}
			if i == 0 && b.Len() > 1 {
				b.WriteByte(',')
			}
			b.Write(text)
			if i == 0 {
				b.WriteByte(':')
			}
		}
		return nil
	}
	if err := member("email", c.Address); err != nil {
		return err
	}
	for _, f := range e.fields {
		if cell, has := c.Values[f.Name]; has {
			if err := member(f.Name, cell); err != nil {
				return err
			}
		}
	}
	if _, err := io.WriteString(e.out, b.String()+"}\n"); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

// geta stands in Japanese print where a character is missing.
const geta = "〓"

// cp932Twins are characters that Unicode has twice and Windows maps to the other one (the wave
// dash of iOS and macOS is U+301C, that of Windows U+FF5E).
var cp932Twins = strings.NewReplacer("\u301c", "\uff5e", "\u2212", "\uff0d", "\u2016", "\u2225", "\u2014", "\u2015",
	"\u00a2", "\uffe0", "\u00a3", "\uffe1", "\u00ac", "\uffe2", "\u00a5", "\uffe5")

// encode is a cell in the encoding of the file.
func (e *exporter) encode(cell string) string {
	if e.cp932 == nil {
		return cell
	}
	if text, err := e.cp932.String(cp932Twins.Replace(cell)); err == nil {
		return text
	}
	e.lost++
	var b strings.Builder
	for _, r := range cp932Twins.Replace(cell) {
		text, err := e.cp932.String(string(r))
		if err != nil {
			if !slices.Contains(e.gone, r) && len(e.gone) < 10 {
				e.gone = append(e.gone, r)
			}
			text, _ = e.cp932.String(geta)
		}
		b.WriteString(text)
	}
	return b.String()
}

func (e *exporter) lostText() string {
	var parts []string
	for _, r := range e.gone {
		parts = append(parts, fmt.Sprintf("%c U+%04X", r, r))
	}
	return strings.Join(parts, ", ")
}

func (e *exporter) flush() error {
	e.csv.Flush()
	if err := e.csv.Error(); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}
