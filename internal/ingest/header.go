package ingest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mailer/internal/address"
	"mailer/internal/contact"
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
	names   []string // as the file has them, trimmed
	fields  []string // the field that each column fills; "": none
	address int      // the column of the address
	notes   []string
}

// UsageError is a flag that cannot be, or a header that needs one.
type UsageError struct{ msg string }

func (e *UsageError) Error() string { return e.msg }

func usageErrorf(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}

// readHeader understands the first record. first are the records behind it, to tell an アドレス of the post from one of
// mail.
func readHeader(cells []string, maps []Mapping, first [][]string) (*header, error) {
	h := &header{address: -1}
	for _, c := range cells {
		h.names = append(h.names, strings.TrimFunc(contact.Unguard(c), isBlank))
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

// nameFields gives every column a field of its own name. A name that is empty or stands twice gets a number, and a note.
func (h *header) nameFields() error {
	taken := map[string]bool{}
	for _, name := range h.names {
		taken[name] = true
	}
	seen := map[string]bool{}
	for i, name := range h.names {
		if err := contact.CheckCell(name); err != nil {
			return usageErrorf("the header of column %d: %v", i+1, err)
		}
		field := name
		switch {
		case name == "":
			field = free("column "+strconv.Itoa(i+1), taken)
			h.notes = append(h.notes, fmt.Sprintf("column %d has no header: its field is %q", i+1, field))
		case seen[name]:
			field = free(name, taken)
			h.notes = append(h.notes, fmt.Sprintf("the header %q stands twice: the field of column %d is %q (name it with --map '#%d=NAME')", name, i+1, field, i+1))
		}
		seen[field], taken[field] = true, true
		h.fields = append(h.fields, field)
	}
	return nil
}

// free is name, or name with the first number that nobody has.
func free(name string, taken map[string]bool) string {
	for n := 2; taken[name]; n++ {
		base, _, _ := strings.Cut(name, " (")
		name = fmt.Sprintf("%s (%d)", base, n)
	}
	return name
}

func (h *header) rename(maps []Mapping) error {
	for _, m := range maps {
		i, err := h.column(m.Column)
		if err != nil {
			return err
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

// column finds a column by its number, its name, or a name that differs in case only.
func (h *header) column(name string) (int, error) {
	if i := slices.Index(h.names, name); i >= 0 {
		return i, nil
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "#")); err == nil && strings.HasPrefix(name, "#") && 0 < n && n <= len(h.names) {
		return n - 1, nil
	}
	if i := slices.IndexFunc(h.names, func(s string) bool { return strings.EqualFold(s, name) }); i >= 0 {
		return i, nil
	}
	return 0, usageErrorf("--map: there is no column %q; the columns are %s", name, h.list())
}

func (h *header) list() string {
	var quoted []string
	for _, name := range h.names {
		quoted = append(quoted, strconv.Quote(name))
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
			return &UsageError{msg + ". The first line looks like data: add a line with the names of the columns above it"}
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
var errEmpty error = &UsageError{"the file is empty: its first line must name the columns"}
