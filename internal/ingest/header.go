package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"mailer/internal/address"
	"mailer/internal/contact"
	"mailer/internal/spelling"
	"mailer/internal/workbook"
)

// Mapping gives a column another name: Column is a header or "#3" for the third column. An empty Field leaves the column
// out.
type Mapping struct {
	Column string
	Field  string
}

// ParseMapping reads COLUMN=FIELD. The last equals sign divides, since a header may hold one and a field hardly does.
func ParseMapping(s string) (Mapping, error) {
	i := strings.LastIndexByte(s, '=')
	if i <= 0 {
		return Mapping{}, usageErrorf("--map %q: write COLUMN=FIELD", s)
	}
	return Mapping{strings.TrimSpace(s[:i]), strings.TrimSpace(s[i+1:])}, nil
}

// header says what the columns of a file are.
type header struct {
	line    int64    // on which it stands; 0: the columns have no names or each row brings them
	names   []string // as the file has them, on one line
	fields  []string // the field that each column fills; "": none
	bare    []bool   // the file has no name for the column
	address int      // the column of the address
	notes   []string
}

// UsageError is a flag that cannot be, or a header that needs one.
type UsageError struct{ msg string }

func (e *UsageError) Error() string { return e.msg }

func usageErrorf(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}

// header finds the names of the columns and understands them.
func (s *source) header(o Options) (*header, error) {
	rows, first, err := s.sample()
	if err != nil {
		return nil, err
	}
	if s.format == FormatJSON {
		return s.shape.header(o, rows)
	}
	if len(rows) == 0 && first == nil {
		return nil, errEmpty
	}
	if o.Header == "none" {
		return columnsByNumber(o, rows)
	}
	at := 0
	if given(o.Header) {
		if at, err = rowOfLine(rows, o.Header); err != nil {
			return nil, err
		}
	} else if first != nil && (len(rows) == 0 || first.Line < rows[0].line) {
		where := ""
		if first.Column > 0 {
			where = fmt.Sprintf(", column %d", first.Column)
		}
		return nil, usageErrorf("line %d%s, the header: %s", first.Line, where, first.Reason)
	} else {
		at = headerRow(rows, o.Map)
	}
	var behind [][]string
	for _, row := range rows[at+1:] {
		behind = append(behind, row.cells)
	}
	h, err := readHeader(rows[at].cells, o.Map, behind)
	if err != nil {
		return nil, err
	}
	if h.line = rows[at].line; at > 0 && !given(o.Header) {
		h.notes = append(h.notes, fmt.Sprintf("the header is line %d; what stands above it is left out (--header %d reads that as the header)",
			h.line, rows[0].line))
	}
	return h, h.only(o.Fields)
}

// sample is the first good rows, and the first row that is rejected among them.
func (s *source) sample() ([]record, *Reject, error) {
	r, err := s.rows()
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	var rows []record
	var first *Reject
	for len(rows) < sampleRows {
		rec, bad, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return rows, first, nil
		case err != nil && len(rows) == 0:
			return nil, nil, err
		case err != nil:
			return rows, first, nil // a fault of reading shows up again in the check
		case bad == nil && len(rec.cells) > maxColumns:
			bad = &Reject{Line: rec.line, Reason: fmt.Sprintf("%d cells, and a list can have %d columns", len(rec.cells), maxColumns)}
			first = cmp.Or(first, bad)
		case bad == nil:
			rows = append(rows, record{line: rec.line, cells: slices.Clone(rec.cells)})
		case first == nil:
			first = bad
		}
	}
	return rows, first, nil
}

// maxColumns bounds the columns, as Excel does.
const maxColumns = workbook.MaxColumns

// rowOfLine is the row that begins on a line.
func rowOfLine(rows []record, line string) (int, error) {
	n, err := strconv.ParseInt(line, 10, 64)
	if err != nil || n < 1 {
		return 0, usageErrorf("--header takes auto, none or the line of the header, not %q", line)
	}
	for i, row := range rows {
		if row.line == n {
			return i, nil
		}
	}
	return 0, usageErrorf("--header %d: no row that can be read begins on that line, or it is too far down", n)
}

// headerRow is the row that names the columns: the first one, unless titles stand above the one that does. A row further
// down is taken for that only if it names the address, the rows below it hold addresses there and none above it does. A
// sure name beats one that may mean the address: 連絡先 can stand over メール and 電話.
func headerRow(rows []record, maps []Mapping) int {
	var cells [][]string
	for _, row := range rows {
		cells = append(cells, row.cells)
	}
	sure := func(name string) bool { return namesAddress(name, maps) }
	for _, names := range []func(string) bool{sure, contact.MayBeAddress} {
		for i, row := range cells[:min(len(cells), titleRows)] {
			if slices.ContainsFunc(row, isAddress) {
				break
			}
			for column, cell := range row {
				if names(oneLine(cell)) && (i == 0 && sure(oneLine(cell)) || looksLikeAddresses(cells[i+1:], column)) {
					return i
				}
			}
		}
	}
	return 0
}

func isAddress(cell string) bool {
	_, err := address.Parse(cell)
	return err == nil
}

// titleRows is how far down a header is looked for.
const titleRows = 20

func namesAddress(name string, maps []Mapping) bool {
	for _, m := range maps {
		if contact.IsEmail(m.Field) {
			return strings.EqualFold(m.Column, name)
		}
	}
	return contact.IsEmail(name) || contact.RoleOf(name) == contact.Address
}

// columnsByNumber is the header of a file that has none.
func columnsByNumber(o Options, rows []record) (*header, error) {
	if len(rows) == 0 {
		return nil, usageErrorf("no row at the start of the file can be read")
	}
	counts := map[int]int{}
	width := len(rows[0].cells)
	var cells [][]string
	for _, row := range rows {
		if counts[len(row.cells)]++; counts[len(row.cells)] > counts[width] {
			width = len(row.cells)
		}
		cells = append(cells, row.cells)
	}
	h := &header{address: -1}
	for i := range width {
		h.names = append(h.names, "column "+strconv.Itoa(i+1))
		h.bare = append(h.bare, true)
	}
	h.fields = slices.Clone(h.names)
	if err := h.rename(o.Map); err != nil {
		return nil, err
	}
	if err := h.findAddressByContent(cells); err != nil {
		return nil, err
	}
	if f := h.fields[h.address]; contact.IsEmail(f) || f == h.names[h.address] {
		h.fields[h.address] = ""
	}
	return h, h.only(o.Fields)
}

// findAddressByContent chooses the column that --map calls email, else the only one that holds addresses.
func (h *header) findAddressByContent(rows [][]string) error {
	var look []int
	for i, field := range h.fields {
		if contact.IsEmail(field) {
			h.address = i
			return nil
		}
		if looksLikeAddresses(rows, i) {
			look = append(look, i)
		}
	}
	switch len(look) {
	case 0:
		return usageErrorf("no column holds mail addresses; name one with --map '#1=email' (a wrong --delimiter or --encoding can be the cause)")
	case 1:
		h.address = look[0]
		return nil
	}
	return usageErrorf("the columns %d and %d both hold addresses: say which one it is with --map '#%d=email'", look[0]+1, look[1]+1, look[0]+1)
}

// readHeader understands the names of the columns. first are the rows behind them, to tell an アドレス of the post from
// one of mail.
func readHeader(cells []string, maps []Mapping, first [][]string) (*header, error) {
	h := &header{address: -1}
	for _, c := range cells {
		h.names = append(h.names, oneLine(c))
		h.bare = append(h.bare, oneLine(c) == "")
	}
	if err := h.nameFields(); err != nil {
		return nil, err
	}
	if err := h.rename(maps); err != nil {
		return nil, err
	}
	if err := h.findAddress(first); err != nil {
		return nil, err
	}
	if contact.IsEmail(h.fields[h.address]) {
		h.fields[h.address] = "" // the address itself
	}
	return h, nil
}

// oneLine is a name without what lies around it; a line break in a header cell was put there for its looks.
func oneLine(name string) string {
	name = strings.TrimFunc(name, isBlank)
	if !strings.ContainsAny(name, "\r\n") {
		return name
	}
	var parts []string
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '\r' || r == '\n' }) {
		if part = strings.TrimFunc(part, isBlank); part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}

// only leaves out every column but the address and those that fill one of the fields.
func (h *header) only(fields []string) error {
	if len(fields) == 0 {
		return nil
	}
	taken := make([]bool, len(h.fields))
	taken[h.address] = true
	for _, name := range fields {
		if contact.IsEmail(name) {
			continue
		}
		i := slices.Index(h.fields, name)
		if i < 0 || name == "" {
			var err error
			if i, err = h.find(name); err != nil {
				return usageErrorf("--fields: %v", err)
			}
		}
		taken[i] = true
	}
	for i := range h.fields {
		if !taken[i] {
			h.fields[i] = ""
		}
	}
	return nil
}

// unnamed reports whether the file has no name for a column.
func (h *header) unnamed(column int) bool { return h.bare[column] }

// notes are those of the header, and a word on each column that has values and no name.
func (l *layout) notes() []string {
	notes := slices.Clone(l.header.notes)
	if l.header.line == 0 {
		return notes
	}
	for i, column := range l.cells {
		if l.header.unnamed(column) {
			notes = append(notes, fmt.Sprintf("column %d has no header: its field is %q", column+1, l.columns[i].Name))
		}
	}
	return notes
}

// nameFields gives every column a field of its own name. A name that is empty or stands twice gets a number, and a note.
func (h *header) nameFields() error {
	taken := names{}
	for _, name := range h.names {
		taken.add(name)
	}
	seen := map[string]bool{}
	twice := 0
	for i, name := range h.names {
		if err := contact.CheckCell(name); err != nil {
			return usageErrorf("the header of column %d: %v", i+1, err)
		}
		field := name
		switch {
		case name == "":
			field = taken.free("column " + strconv.Itoa(i+1))
		case seen[name]:
			field = taken.free(name)
			if twice++; twice <= notedTwins {
				h.notes = append(h.notes, fmt.Sprintf("the header %q stands twice: the field of column %d is %q (name it with --map '#%d=NAME')", name, i+1, field, i+1))
			}
		}
		seen[field] = true
		taken.add(field)
		h.fields = append(h.fields, field)
	}
	if more := twice - notedTwins; more > 0 {
		h.notes = append(h.notes, fmt.Sprintf("%d more columns have a header that stands twice", more))
	}
	return nil
}

// notedTwins is how many columns of one name are told one by one.
const notedTwins = 10

// names are those that somebody has, each with the number from which on to look for a free one.
type names map[string]int

func (n names) add(name string) {
	if n[name] == 0 {
		n[name] = 2
	}
}

// free is name, or name with the first number that nobody has.
func (n names) free(name string) string {
	if n[name] == 0 {
		return name
	}
	base, _, _ := strings.Cut(name, " (")
	n.add(base)
	for {
		numbered := fmt.Sprintf("%s (%d)", base, n[base])
		n[base]++
		if n[numbered] == 0 {
			return numbered
		}
	}
}

func (h *header) rename(maps []Mapping) error {
	for _, m := range maps {
		i, err := h.find(m.Column)
		if err != nil {
			return usageErrorf("--map: %v", err)
		}
		h.fields[i] = m.Field
	}
	seen := map[string]int{}
	for i, field := range h.fields {
		if field == "" {
			continue
		}
		if j, twice := seen[field]; twice {
			return usageErrorf("the columns %d and %d both fill %q: give one another name with --map '#%d=NAME', or leave it out with --map '#%d='",
				j+1, i+1, field, i+1, i+1)
		}
		seen[field] = i
	}
	return nil
}

// find finds a column by its number, its name, or a name that differs in case only.
func (h *header) find(name string) (int, error) {
	if i := slices.Index(h.names, name); i >= 0 {
		return i, nil
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "#")); err == nil && strings.HasPrefix(name, "#") && 0 < n && n <= len(h.names) {
		return n - 1, nil
	}
	if i := slices.IndexFunc(h.names, func(s string) bool { return strings.EqualFold(s, name) }); i >= 0 {
		return i, nil
	}
	near := ""
	if n := spelling.Nearest(name, h.names); n != "" {
		near = fmt.Sprintf(" (did you mean %q?)", n)
	}
	return 0, usageErrorf("there is no column %q%s; the columns are %s", name, near, h.list())
}

// listedNames is how many columns an error names.
const listedNames = 30

func (h *header) list() string {
	var quoted []string
	for _, name := range h.names[:min(len(h.names), listedNames)] {
		quoted = append(quoted, strconv.Quote(name))
	}
	if more := len(h.names) - listedNames; more > 0 {
		quoted = append(quoted, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(quoted, ", ")
}

// findAddress chooses the column of the address: the one named email, else one that an alias names, else one whose
// header may mean it and whose cells look like it.
func (h *header) findAddress(first [][]string) error {
	var sure, weak, look []int
	for i, field := range h.fields {
		switch {
		case contact.IsEmail(field):
			h.address = i
			return nil
		case contact.RoleOf(field) == contact.Address:
			sure = append(sure, i)
		case contact.MayBeAddress(field) && looksLikeAddresses(first, i):
			weak = append(weak, i)
		}
		if looksLikeAddresses(first, i) {
			look = append(look, i)
		}
	}
	for _, found := range [][]int{sure, weak} {
		if len(found) > 1 {
			return usageErrorf("the columns %q and %q both name an address: say which one it is with --map %s",
				h.names[found[0]], h.names[found[1]], mapHint(h.names[found[0]]))
		}
		if len(found) == 1 {
			h.address = found[0]
			return nil
		}
	}
	return h.noAddress(look)
}

func (h *header) noAddress(look []int) error {
	msg := "no column is named as a mail address; the columns are " + h.list()
	for _, name := range h.names {
		if _, err := address.Parse(name); err == nil {
			return &UsageError{msg + ". The first line looks like data: if the file has no header, add --no-header"}
		}
	}
	if len(look) > 0 {
		return usageErrorf("%s. %q looks like addresses: add --map %s", msg, h.names[look[0]], mapHint(h.names[look[0]]))
	}
	return &UsageError{msg + ". Name one with --map COLUMN=email (a wrong --delimiter or --encoding can be the cause)"}
}

func mapHint(column string) string {
	return "'" + strings.ReplaceAll(column, "'", `'\''`) + "=email'"
}

// looksLikeAddresses reports whether most cells of column i are addresses.
func looksLikeAddresses(rows [][]string, i int) bool {
	good, all := 0, 0
	for _, cells := range rows {
		if i >= len(cells) || cells[i] == "" {
			continue
		}
		all++
		if _, err := address.Parse(cells[i]); err == nil {
			good++
		}
	}
	return good > 0 && 2*good > all
}

// errEmpty is a file without a header.
var errEmpty error = &UsageError{"the file is empty: there is nothing to import"}
