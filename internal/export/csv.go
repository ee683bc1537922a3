package export

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"

	"mailer/internal/contact"

	"golang.org/x/text/encoding"
)

// csvWriter writes CSV as Excel opens it: UTF-8 with a mark, or CP932.
type csvWriter struct {
	e     *Export
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
			w.e.Losses.Twins++
		}
		return text
	}
	w.e.Losses.Cells++
	var b strings.Builder
	for _, r := range twin {
		text, err := w.cp932.NewEncoder().String(string(r))
		if err != nil {
			w.e.Losses.lose(r)
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
