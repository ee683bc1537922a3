package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

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

	key  string // the address key, where the row has one that can be read
	lost bool   // nobody can say who the row is about
}

// record is one row of the file, decoded.
type record struct {
	line  int64
	cells []string
	bytes []byte // of text files
}

// records reads the rows of a CSV source.
type records struct {
	src   *source
	split *splitter
	cells []string
}

func (s *source) records() (*records, error) {
	r, err := s.reader()
	if err != nil {
		return nil, err
	}
	return &records{src: s, split: newSplitter(r, s.delim)}, nil
}

func (r *records) show(rec record) string { return r.src.charset.lenient(rec.bytes) }

func (r *records) Close() error { return nil }

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
		if raw.empty() {
			continue
		}
		rec, reject := r.src.parse(raw, r.cells)
		r.cells = rec.cells
		if reject == nil && rec.cells == nil {
			continue
		}
		return rec, reject, nil
	}
}

// empty reports whether there is nothing on the line, or only the sep= by which Excel is told a delimiter.
func (r raw) empty() bool {
	return len(r.bytes) == 0 || r.line == 1 && len(r.bytes) == 5 && string(r.bytes[:4]) == "sep="
}

// parse decodes a row for itself and takes it apart. A blank row has no cells.
func (s *source) parse(raw raw, into []string) (record, *Reject) {
	if raw.err != nil {
		return record{}, s.reject(raw, raw.cell, raw.err)
	}
	text, err := s.charset.decode(raw.bytes)
	if err != nil {
		return record{}, s.undecodable(raw, err)
	}
	rec := record{line: raw.line, bytes: raw.bytes, cells: cells(text, s.delim, into)}
	if blank(rec.cells) {
		rec.cells = nil
		return rec, nil
	}
	for i, c := range rec.cells {
		if strings.IndexByte(c, 0) >= 0 {
			return record{}, s.reject(raw, i+1, contact.CheckCell(c))
		}
		rec.cells[i] = contact.Unguard(c)
	}
	return rec, nil
}

// checkWidth rejects a row that has more or fewer cells than the header.
func (s *source) checkWidth(rec record, width int) *Reject {
	if len(rec.cells) == width {
		return nil
	}
	have := fmt.Sprintf("%d cells", len(rec.cells))
	if len(rec.cells) == 1 {
		have = "1 cell"
	}
	return &Reject{Line: rec.line, Reason: fmt.Sprintf("%s where the header has %d", have, width), Row: s.charset.lenient(rec.bytes)}
}

// blank reports whether a row holds nothing: spreadsheets leave such rows behind a table.
func blank(cells []string) bool {
	for _, c := range cells {
		if c != "" && c[0] > ' ' && c[0] < utf8.RuneSelf || strings.TrimFunc(c, isBlank) != "" {
			return false
		}
	}
	return true
}

func isBlank(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' }

func (s *source) reject(raw raw, column int, reason error) *Reject {
	return &Reject{Line: raw.line, Column: column, Reason: reason.Error(), Row: s.charset.lenient(raw.bytes)}
}

// undecodable names the cell in which the broken bytes stand, and the line if the row takes several.
func (s *source) undecodable(raw raw, err error) *Reject {
	var bad *badBytes
	column := 0
	if errors.As(err, &bad) {
		before := s.charset.lenient(raw.bytes[:bad.offset])
		column = len(cells(before, s.delim, nil))
		if extra := lineEnds(before); extra > 0 {
			err = fmt.Errorf("line %d: %w", raw.line+extra, err)
		}
	}
	return s.reject(raw, column, err)
}

// lineEnds counts the CRLF, LF and CR of a text.
func lineEnds(s string) int64 {
	return int64(strings.Count(s, "\n") + strings.Count(s, "\r") - strings.Count(s, "\r\n"))
}

// parser takes blocks of rows apart, as parse does with one row, but decodes a block at once. Each goroutine has its own.
type parser struct {
	src    *source
	layout *layout
	show   func(record) string
	encode func(dst []byte, cells []string) ([]byte, error) // nil: the stored form is not wanted
	width  int

	decode decoder
	ends   []int // where the text of each row ends
	fields []byte
	cells  []string // room for the cells of the rows to come
}

func (p *parser) block(b *block) {
	if b.recs != nil {
		p.records(b)
		return
	}
	text, ok := p.decodeBlock(b)
	most := len(b.text) + len(b.raws) // cells that so many bytes can hold, however many columns there are
	slab := make([]string, 0, min(len(b.raws)*p.width, most))
	p.cells = make([]string, min(len(b.raws)*len(p.layout.columns), most))
	p.fields = p.fields[:0]
	start := 0
	for i, raw := range b.raws {
		var rec record
		var reject *Reject
		if ok && raw.err == nil {
			slab = slab[len(slab):]
			rec = record{raw.line, cells(text[start:p.ends[i]], p.src.delim, slab), raw.bytes}
			slab = rec.cells
			for j, c := range rec.cells {
				if c != "" && c[0] == '\'' {
					rec.cells[j] = contact.Unguard(c)
				}
			}
		} else {
			rec, reject = p.src.parse(raw, nil)
		}
		if ok {
			start = p.ends[i]
		}
		if reject == nil && (rec.cells == nil || blank(rec.cells)) {
			continue
		}
		if reject == nil {
			reject = p.src.checkWidth(rec, p.width)
		}
		p.row(b, rec, reject)
	}
	p.share(b)
}

// records is block for rows that came as records.
func (p *parser) records(b *block) {
	p.fields = p.fields[:0]
	p.cells = make([]string, len(b.recs)*len(p.layout.columns))
	for _, r := range b.recs {
		p.row(b, r.rec, r.reject)
	}
	p.share(b)
}

// row checks one record and puts it, or why it is rejected, behind the rows of the block.
func (p *parser) row(b *block, rec record, reject *Reject) {
	var row store.Row
	var a address.Address
	if reject != nil {
		reject.lost = true
	} else {
		column, err := 0, error(nil)
		if row, a, column, err = p.layout.row(rec, p.room(), p.encode == nil); err == nil && p.encode != nil {
			column, err = p.encodeRow(row)
		}
		if err != nil {
			reject = &Reject{Line: rec.line, Column: column, Reason: err.Error(), Row: p.show(rec), key: row.Key}
		}
	}
	b.ends = append(b.ends, len(p.fields)) // a row that is rejected has added nothing
	b.rows = append(b.rows, parsed{row, reject, a})
}

// room is where the cells of one row go.
func (p *parser) room() []string {
	n := len(p.layout.columns)
	if len(p.cells) < n {
		return make([]string, n)
	}
	room := p.cells[:n:n]
	p.cells = p.cells[n:]
	return room
}

// encodeRow adds the stored form of a row to fields.
func (p *parser) encodeRow(row store.Row) (column int, err error) {
	fields, err := p.encode(p.fields, row.Cells)
	if err == nil {
		p.fields = fields
		return 0, nil
	}
	var misfit *contact.MismatchError
	if errors.As(err, &misfit) {
		column = p.layout.columnOf(misfit.Field)
	}
	return column, err
}

// share cuts one string for all rows of the block into theirs.
func (p *parser) share(b *block) {
	if p.encode == nil {
		return
	}
	all, start := string(p.fields), 0
	for i, end := range b.ends {
		b.rows[i].row.Fields = all[start:end]
		start = end
	}
}

// decodeBlock decodes all rows of a block at once. It reports false when something in the block wants to be looked at row by row.
func (p *parser) decodeBlock(b *block) (text string, ok bool) {
	p.ends = p.ends[:0]
	out, ok := p.decode.rows(b.raws, &p.ends)
	if !ok || bytes.IndexByte(out, 0) >= 0 {
		return "", false
	}
	return string(out), true
}

// layout turns records into rows of the store.
type layout struct {
	header  *header
	columns []contact.Field // one for each cell of a store row
	cells   []int           // the file's column of each
	types   []contact.Inference
}

// row checks a record and puts its cells into room. The reason of a rejection is for the person who made the file. fits says that
// values are held against the types of the fields that are there already; otherwise whoever encodes them does so.
func (l *layout) row(rec record, room []string, fits bool) (row store.Row, a address.Address, column int, err error) {
	if a, err = address.Parse(rec.cells[l.header.address]); err != nil {
		return row, a, l.header.address + 1, err
	}
	row = store.Row{Line: rec.line, Address: a.Text, Key: a.Key, Cells: room}
	for i, column := range l.cells {
		cell := rec.cells[column]
		if column == l.header.address {
			cell = a.Text
		}
		if f := &l.columns[i]; fits && f.ID != 0 && !contact.Fits(f.Type, cell) {
			return row, a, column + 1, &contact.MismatchError{Field: *f, Cell: cell}
		}
		row.Cells[i] = cell
	}
	return row, a, 0, nil
}

// columnOf is the file's column, from 1, that fills a field.
func (l *layout) columnOf(f contact.Field) int {
	for i, c := range l.columns {
		if c.Name == f.Name {
			return l.cells[i] + 1
		}
	}
	return 0
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
	for i := range l.columns {
		if l.columns[i].ID == 0 {
			l.types[i].See(row.Cells[i])
		}
	}
}

// settle gives new fields their types, once every row was seen. A column without a header and without a single value
// makes no field.
func (l *layout) settle(h *hints) {
	var columns []contact.Field
	var from []int
	for i, f := range l.columns {
		if f.ID == 0 {
			if f.Type = h.settle(l.cells[i], l.types[i].Type()); f.Role == contact.Address {
				f.Type = contact.Text
			}
			if l.types[i].Empty() && l.header.unnamed(l.cells[i]) {
				continue
			}
		}
		columns = append(columns, f)
		from = append(from, l.cells[i])
	}
	l.columns, l.cells = columns, from
}
