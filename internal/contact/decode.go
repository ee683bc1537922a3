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

// eachMember calls fn for the members of a sound object as AppendRow writes it, the exact text of a cell behind its value. It reports
// false for anything else: then what fn was told means nothing, and decodeAny is the one to ask. It is ten times as fast.
func eachMember(object string, fn func(kind byte, id int64, cell string)) bool {
	if object == "{}" {
		return true
	}
	if object == "" || object[0] != '{' {
		return false
	}
	last, kind := int64(0), byte('f')
	for rest := object[1:]; ; {
		name, value, next, ok := firstMember(rest)
		if !ok || len(name) < 2 || name[1] < '1' || name[1] > '9' {
			return false
		}
		id, err := strconv.ParseInt(name[1:], 10, 64)
		inOrder := name[0] == 'f' && id > last || name[0] == 't' && kind == 'f' && id == last
		if err != nil || !inOrder {
			return false
		}
		last, kind = id, name[0]
		cell, err := plain(value)
		if err != nil {
			return false
		}
		fn(kind, id, cell)
		switch {
		case next == "}":
			return true
		case next[0] != ',':
			return false
		}
		rest = next[1:]
	}
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
		if cells[id], err = plain(string(value)); err != nil {
			return nil, fmt.Errorf("read stored field %s: %w", name, err)
		}
	}
	return cells, nil
}

// plain is how a stored value prints when no exact text stands beside it.
func plain(value string) (string, error) {
	switch {
	case value[0] == '[':
		var items []string
		err := json.Unmarshal([]byte(value), &items)
		return strings.Join(items, listJoin), err
	case value[0] != '"':
		return value, nil
	case strings.IndexByte(value, '\\') < 0:
		return value[1 : len(value)-1], nil
	}
	var s string
	err := json.Unmarshal([]byte(value), &s)
	return s, err
}
