package export

import (
	"encoding/json"
	"fmt"
	"io"

	"mailer/internal/contact"
)

// jsonWriter writes one object a line. A number is a number, a list an array, wherever they read back as the same cell;
// everything else is a string. So an import sees the type of most fields.
type jsonWriter struct {
	e   *Export
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
