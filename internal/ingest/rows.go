package ingest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"mailer/internal/address"
	"mailer/internal/contact"
	"mailer/internal/store"
)

// Reject is a row that is not imported.
type Reject struct {
	Line   int64 // the physical line on which it begins
	Column int   // the cell, from 1; 0: the row as a whole
	Reason string
	Row    string // as it stands in the file; bytes that do not decode as \xHH
}

// record is one row of the file, decoded.
type record struct {
	line  int64
	cells []string
	bytes []byte
}

// records reads the rows of a source, one after the other.
type records struct {
	src   *source
	split *splitter
	cells []string
	width int // cells of the header; 0: any number
}

func (s *source) records() (*records, error) {
	r, err := s.reader()
	if err != nil {
		return nil, err
	}
	return &records{src: s, split: newSplitter(r, s.delim)}, nil
}

// next returns the next row that is not blank, or why it is rejected, or io.EOF. The cells are good until the next call.
func (r *records) next() (record, *Reject, error) {
	for {
		raw, err := r.split.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				err = fmt.Errorf("read %s: %w", r.src.name, err)
			}
			return record{}, nil, err
		}
		if len(raw.bytes) == 0 || raw.line == 1 && strings.HasPrefix(string(raw.bytes[:min(len(raw.bytes), 4)]), "sep=") && len(raw.bytes) == 5 {
			continue
		}
		if raw.err != nil {
			return record{}, r.reject(raw, raw.cell, raw.err), nil
		}
		text, err := r.src.charset.decode(raw.bytes)
		if err != nil {
			return record{}, r.undecodable(raw, err), nil
		}
		r.cells = cells(text, r.src.delim, r.cells)
		if blank(r.cells) {
			continue
		}
		if r.width > 0 && len(r.cells) != r.width {
			return record{}, r.reject(raw, 0, fmt.Errorf("%d cells where the header has %d", len(r.cells), r.width)), nil
		}
		for i, c := range r.cells {
			if strings.IndexByte(c, 0) >= 0 {
				return record{}, r.reject(raw, i+1, contact.CheckCell(c)), nil
			}
			r.cells[i] = contact.Unguard(c)
		}
		return record{raw.line, r.cells, raw.bytes}, nil, nil
	}
}

// blank reports whether a row holds nothing: spreadsheets leave such rows behind a table.
func blank(cells []string) bool {
	for _, c := range cells {
		if strings.TrimFunc(c, isBlank) != "" {
			return false
		}
	}
	return true
}

func isBlank(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' }

func (r *records) reject(raw raw, column int, reason error) *Reject {
	return &Reject{Line: raw.line, Column: column, Reason: reason.Error(), Row: r.src.charset.lenient(raw.bytes)}
}

// undecodable names the cell in which the broken bytes stand, and the line if the row takes several.
func (r *records) undecodable(raw raw, err error) *Reject {
	var bad *badBytes
	column := 0
	if errors.As(err, &bad) {
		before := r.src.charset.lenient(raw.bytes[:bad.offset])
		column = len(cells(before, r.src.delim, nil))
		if extra := lineEnds(before); extra > 0 {
			err = fmt.Errorf("line %d: %w", raw.line+extra, err)
		}
	}
	return r.reject(raw, column, err)
}

// lineEnds counts the CRLF, LF and CR of a text.
func lineEnds(s string) int64 {
	return int64(strings.Count(s, "\n") + strings.Count(s, "\r") - strings.Count(s, "\r\n"))
}

// layout turns records into rows of the store.
type layout struct {
	header  *header
	columns []contact.Field // one for each cell of a store row
	cells   []int           // the file's column of each
	types   []contact.Inference

	findings *findings // while the file is checked
}

// row checks a record. The reason of a rejection is for the person who made the file.
func (l *layout) row(rec record) (store.Row, int, error) {
	a, err := address.Parse(rec.cells[l.header.address])
	if err != nil {
		return store.Row{}, l.header.address + 1, err
	}
	l.findings.see(a)
	row := store.Row{Line: rec.line, Address: a.Text, Key: a.Key, Cells: make([]string, len(l.columns))}
	for i, column := range l.cells {
		cell := rec.cells[column]
		if column == l.header.address {
			cell = a.Text
		}
		if f := l.columns[i]; f.ID != 0 && !contact.Fits(f.Type, cell) {
			return store.Row{}, column + 1, &contact.MismatchError{Field: f, Cell: cell}
		}
		row.Cells[i] = cell
	}
	return row, 0, nil
}

// newLayout matches the header with the fields that the workspace has. New fields are text until their cells are seen.
func newLayout(h *header, have []contact.Field) *layout {
	l := &layout{header: h}
	byName, roles := map[string]contact.Field{}, map[contact.Role]bool{}
	for _, f := range have {
		byName[f.Name] = f
		roles[f.Role] = true
	}
	for i, name := range h.fields {
		if name == "" {
			continue
		}
		f, known := byName[name]
		if !known {
			f = contact.Field{Name: name, Type: contact.Text, Role: newRole(h, i, roles)}
			roles[f.Role] = true
		}
		l.columns = append(l.columns, f)
		l.cells = append(l.cells, i)
	}
	for _, f := range l.columns {
		l.types = append(l.types, contact.NewInference(f.Name))
	}
	return l
}

// newRole is the role of a new field: what its name says, if no other field has that role already.
func newRole(h *header, column int, taken map[contact.Role]bool) contact.Role {
	role := contact.RoleOf(h.fields[column])
	if column == h.address {
		role = contact.Address
	} else if role == contact.Address {
		role = contact.NoRole
	}
	if taken[role] {
		return contact.NoRole
	}
	return role
}

// see takes a row into account for the types of new fields.
func (l *layout) see(row store.Row) {
	for i, f := range l.columns {
		if f.ID == 0 {
			l.types[i].See(row.Cells[i])
		}
	}
}

// settle gives new fields their types, once every row was seen. A column without a header and without a single value
// makes no field.
func (l *layout) settle() {
	var columns []contact.Field
	var from []int
	for i, f := range l.columns {
		if f.ID == 0 {
			if f.Type = l.types[i].Type(); f.Role == contact.Address {
				f.Type = contact.Text
			}
			if l.types[i].Empty() && l.header.names[l.cells[i]] == "" {
				continue
			}
		}
		columns = append(columns, f)
		from = append(from, l.cells[i])
	}
	l.columns, l.cells = columns, from
}
