package contact

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// DecodeFields is the cells of a stored contact by field name, as they print.
func DecodeFields(fields []Field, jsonText string) (map[string]string, error) {
	values := make(map[string]string, len(fields))
	next := 0 // fields and members both come by id
	set := func(kind byte, id int64, cell string) {
		if next == len(fields) || fields[next].ID > id {
			next = 0
		}
		for next < len(fields) && fields[next].ID != id {
			next++
		}
		if next < len(fields) {
			values[fields[next].Name] = cell
		}
	}
	if eachMember(jsonText, set) {
		return values, nil
	}
	cells, err := decodeAny(jsonText)
	if err != nil {
		return nil, err
	}
	clear(values)
	for _, f := range fields {
		if cell, ok := cells[f.ID]; ok {
			values[f.Name] = cell
		}
	}
	return values, nil
}

// DecodeCells is the cells of a stored contact by field id, as they print. It needs no types: a stored value tells its
// own, so that cells survive a change of type.
func DecodeCells(jsonText string) (map[int64]string, error) {
	cells := map[int64]string{}
	if eachMember(jsonText, func(kind byte, id int64, cell string) { cells[id] = cell }) {
		return cells, nil
	}
	return decodeAny(jsonText)
}

// eachMember calls fn for the members of an object just as AppendRow writes it, the exact text of a cell behind its value. It reports
// false for anything else, however sound: then what fn was told means nothing, and decodeAny is the one to ask. It is ten times as fast.
func eachMember(s string, fn func(kind byte, id int64, cell string)) bool {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return false
	}
	rest, last, kind := s[1:len(s)-1], int64(0), byte('f')
	for first := true; rest != ""; first = false {
		if !first {
			if rest[0] != ',' {
				return false
			}
			rest = rest[1:]
		}
		end := strings.Index(rest, `":`)
		if end < 3 || rest[0] != '"' {
			return false
		}
		id, err := strconv.ParseInt(rest[2:end], 10, 64)
		switch {
		case err != nil || rest[2] == '+' || rest[2] == '0':
			return false
		case rest[1] == 'f' && id <= last, rest[1] == 't' && (id != last || kind == 't'), rest[1] != 'f' && rest[1] != 't':
			return false // out of order
		}
		last, kind, rest = id, rest[1], rest[end+2:]
		cell, n, ok := scanValue(rest)
		if !ok {
			return false
		}
		fn(kind, id, cell)
		rest = rest[n:]
	}
	return true
}

// scanValue reads the value at the start of s, as it prints, and says how long it is.
func scanValue(s string) (cell string, n int, ok bool) {
	if s == "" {
		return "", 0, false
	}
	switch s[0] {
	case '"':
		n, plain := scanString(s)
		switch {
		case n == 0:
			return "", 0, false
		case plain:
			return s[1 : n-1], n, true
		}
		err := json.Unmarshal([]byte(s[:n]), &cell)
		return cell, n, err == nil
	case '[':
		for n = 1; n < len(s) && s[n] != ']'; {
			m := 1
			if s[n] == '"' {
				if m, _ = scanString(s[n:]); m == 0 {
					return "", 0, false
				}
			}
			n += m
		}
		if n == len(s) {
			return "", 0, false
		}
		var items []string
		err := json.Unmarshal([]byte(s[:n+1]), &items)
		return strings.Join(items, listJoin), n + 1, err == nil
	}
	n = strings.IndexByte(s, ',')
	if n < 0 {
		n = len(s)
	}
	cell = s[:n]
	return cell, n, cell == "true" || cell == "false" || isNumber(cell)
}

// scanString is the length of the JSON string at the start of s, 0 if it does not end, and whether it holds no escapes.
func scanString(s string) (n int, plain bool) {
	plain = true
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1, plain
		case c == '\\':
			plain = false
			i++
		case c < 0x20:
			return 0, false
		}
	}
	return 0, false
}

// decodeAny is DecodeCells for any JSON object of f and t members.
func decodeAny(jsonText string) (map[int64]string, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(jsonText), &raw); err != nil {
		return nil, fmt.Errorf("read stored fields: %w", err)
	}
	cells := make(map[int64]string, len(raw))
	for name, value := range raw {
		id, err := strconv.ParseInt(name[min(1, len(name)):], 10, 64)
		if err != nil || !slices.Contains([]byte("ft"), name[0]) {
			return nil, fmt.Errorf("read stored fields: %q is no field", name)
		}
		if _, both := raw["t"+itoa(id)]; both && name[0] == 'f' {
			continue // the exact text stands beside it
		}
		if cells[id], err = plain(value); err != nil {
			return nil, fmt.Errorf("read stored field %s: %w", name, err)
		}
	}
	return cells, nil
}

// plain is how a stored value prints when no exact text stands beside it.
func plain(value json.RawMessage) (string, error) {
	switch value[0] {
	case '"':
		var s string
		err := json.Unmarshal(value, &s)
		return s, err
	case '[':
		var items []string
		err := json.Unmarshal(value, &items)
		return strings.Join(items, listJoin), err
	}
	return string(value), nil
}
