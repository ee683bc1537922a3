package contact

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Peek is the value at a field's path in the stored JSON of a contact: string, int64, float64, bool, or, of a list, its
// JSON as a string; nil where there is none. It is what json_extract gives, without taking the whole object apart, which
// costs SQLite more than all the rest of a scan. The result may lie in fields.
func Peek(fields, path string) any {
	value, ok := member(fields, path)
	if !ok {
		return nil
	}
	switch value[0] {
	case '"':
		if strings.IndexByte(value, '\\') < 0 {
			return value[1 : len(value)-1]
		}
		var text string
		if json.Unmarshal([]byte(value), &text) != nil {
			return nil
		}
		return text
	case '[', '{':
		return value
	case 't':
		return true
	case 'f':
		return false
	case 'n':
		return nil
	}
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return n
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return nil
	}
	return n
}

// PeekItem reports whether the list at a field's path holds an item.
func PeekItem(fields, path, item string) bool {
	value, ok := member(fields, path)
	if !ok || value[0] != '[' || !strings.Contains(value, `\`) && !strings.Contains(value, item) {
		return false
	}
	var items []string
	return json.Unmarshal([]byte(value), &items) == nil && slices.Contains(items, item)
}

// member finds a member of an object as EncodeFields writes it; one that is written otherwise (by hand, with spaces) is
// read by encoding/json.
func member(object, name string) (string, bool) {
	if object == "" || object[0] != '{' {
		return slowMember(object, name)
	}
	for rest := object[1:]; ; {
		key, value, next, ok := firstMember(rest)
		switch {
		case !ok:
			return slowMember(object, name)
		case key == name:
			return value, true
		case next[0] == '}':
			return "", false
		case next[0] != ',':
			return slowMember(object, name)
		}
		rest = next[1:]
	}
}

// firstMember cuts the first member off the inside of an object; next, which begins behind it, is not empty. It knows no spaces
// between the parts.
func firstMember(s string) (name, value, next string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", "", false
	}
	colon := strings.IndexByte(s, ':')
	if colon < 2 || s[colon-1] != '"' {
		return "", "", "", false
	}
	rest := s[colon+1:]
	end := valueEnd(rest)
	if end <= 0 || end == len(rest) {
		return "", "", "", false
	}
	return s[1 : colon-1], rest[:end], rest[end:], true
}

// valueEnd is where the value with which a text begins is over; 0 for one that it does not know.
func valueEnd(s string) int {
	switch {
	case s == "":
		return 0
	case s[0] == '"':
		return stringEnd(s)
	case s[0] == '[':
		for i := 1; i < len(s); {
			switch s[i] {
			case '"':
				n := stringEnd(s[i:])
				if n == 0 {
					return 0
				}
				i += n
			case ']':
				return i + 1
			case ',':
				i++
			default:
				return 0
			}
		}
		return 0
	case s[0] == ' ', s[0] == '{':
		return 0
	}
	for i := range len(s) {
		switch s[i] {
		case ',', '}':
			return i
		case ' ', '\t', '\n', '\r':
			return 0
		}
	}
	return 0
}

// stringEnd is where the JSON string with which s begins is over, 0 when it is not.
func stringEnd(s string) int {
	for i := 1; ; {
		n := strings.IndexByte(s[i:], '"')
		if n < 0 {
			return 0
		}
		quote := i + n
		backslashes := 0
		for s[quote-1-backslashes] == '\\' {
			backslashes++
		}
		if i = quote + 1; backslashes%2 == 0 {
			return i
		}
	}
}

func slowMember(object, name string) (string, bool) {
	var all map[string]json.RawMessage
	if json.Unmarshal([]byte(object), &all) != nil {
		return "", false
	}
	var plain bytes.Buffer
	if value, ok := all[name]; !ok || json.Compact(&plain, value) != nil {
		return "", false
	}
	return plain.String(), true
}
