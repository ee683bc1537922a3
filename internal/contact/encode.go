package contact

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// EncodeFields makes the stored JSON of one contact from its cells by field id: "f<id>" holds the value that compares,
// "t<id>" the cell's exact text where it differs. An empty cell leaves no trace. Equal cells always give equal text,
// provided that fields come in one order. The error is a *MismatchError when a cell does not fit its field.
func EncodeFields(fields []Field, cells map[int64]string) (string, error) {
	dst := make([]byte, 1, 256)
	dst[0] = '{'
	for i := range fields {
		var err error
		if dst, err = appendMember(dst, 1, &fields[i], cells[fields[i].ID]); err != nil {
			return "", err
		}
	}
	return string(append(dst, '}')), nil
}

// appendMember adds the one or two members of a cell to an object whose first member stands at start.
func appendMember(dst []byte, start int, f *Field, cell string) ([]byte, error) {
	if cell == "" {
		return dst, nil
	}
	if len(dst) > start {
		dst = append(dst, ',')
	}
	dst = append(dst, '"', 'f')
	dst = strconv.AppendInt(dst, f.ID, 10)
	dst = append(dst, '"', ':')
	exact := true
	switch f.Type {
	case Number:
		if !isNumber(cell) {
			return nil, &MismatchError{*f, cell}
		}
		dst = append(dst, cell...)
	case Date:
		day, ok := parseDate(cell)
		if !ok {
			return nil, &MismatchError{*f, cell}
		}
		exact = day == cell
		dst = appendString(dst, day)
	case Boolean:
		value, ok := ParseBoolean(cell)
		if !ok {
			return nil, &MismatchError{*f, cell}
		}
		exact = cell == strconv.FormatBool(value)
		dst = strconv.AppendBool(dst, value)
	case List:
		items := splitList(cell)
		exact = cell == strings.Join(items, listJoin)
		dst = append(dst, '[')
		for i, item := range items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, item)
		}
		dst = append(dst, ']')
	default:
		dst = appendString(dst, cell)
	}
	if !exact {
		dst = append(dst, `,"t`...)
		dst = strconv.AppendInt(dst, f.ID, 10)
		dst = append(dst, '"', ':')
		dst = appendString(dst, cell)
	}
	return dst, nil
}

// listJoin stands between the items of a list that prints plainly.
const listJoin = ";"

// appendString writes a JSON string (RFC 8259 section 7). Unlike encoding/json it leaves <, > and & alone.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' {
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			start = i + 1
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return fmt.Appendf(dst, `\u%04x`, c)
}

// CheckCell says what keeps a cell out of the store whatever its type: a NUL ends texts in SQLite, and U+FFFD stands for
// a character that was lost before the cell came here.
func CheckCell(cell string) error {
	switch {
	case !utf8.ValidString(cell):
		return fmt.Errorf("the cell is not valid UTF-8")
	case strings.IndexByte(cell, 0) >= 0:
		return fmt.Errorf("the cell holds a NUL byte")
	case strings.ContainsRune(cell, utf8.RuneError):
		return fmt.Errorf("the cell holds U+FFFD: a character was lost when the file was written")
	}
	return nil
}

// AppendRow is EncodeFields for a row of cells: it adds the JSON to dst. columns must come in the order of their ids, so that equal
// cells give equal text; cells[from[i]] is the cell of columns[i].
func AppendRow(dst []byte, columns []Field, from []int, cells []string) ([]byte, error) {
	dst = append(dst, '{')
	start := len(dst)
	for i := range columns {
		var err error
		if dst, err = appendMember(dst, start, &columns[i], cells[from[i]]); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// Changed lists the columns whose cell differs from what is stored. An empty cell changes nothing (a list that lacks a
// value does not erase it), unless clears says that it does.
func Changed(columns []Field, cells []string, stored map[int64]string, clears bool) []int {
	var changed []int
	for i, f := range columns {
		if cells[i] == "" && !clears {
			continue
		}
		if stored[f.ID] != cells[i] {
			changed = append(changed, i)
		}
	}
	return changed
}
