// Package arrival reads a mail as it came into a mailbox: which way it took, what the receiver found, and how it differs from
// what was sent.
//
// The fields above our own were written by servers on the way, each in its own form; below them stands what we sent, or what
// became of it. Nothing of what a server writes is sure: what cannot be read is left out, never guessed.
package arrival

import (
	"bytes"
	"strings"
)

// Field is one header field.
type Field struct {
	Name string
	Raw  string // whole, folded as it came, without the last line end
}

// Value is what stands behind the colon, in one line.
func (f Field) Value() string {
	_, value, _ := strings.Cut(f.Raw, ":")
	return strings.TrimSpace(unfold(value))
}

// Is reports whether a field has a name.
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// unfold takes the line ends out (RFC 5322 section 2.2.3), and makes white space single blanks.
func unfold(s string) string { return strings.Join(strings.Fields(s), " ") }

// Mail is a message in its pieces.
type Mail struct {
	Fields []Field // the topmost first
	Body   []byte
}

// Parse takes a message apart. A line that is no field ends the header.
func Parse(raw []byte) Mail {
	var m Mail
	for len(raw) > 0 {
		line, rest := cutLine(raw)
		switch {
		case len(line) == 0:
			m.Body = rest
			return m
		case (line[0] == ' ' || line[0] == '\t') && len(m.Fields) > 0:
			last := &m.Fields[len(m.Fields)-1]
			last.Raw += "\r\n" + string(line)
		default:
			name, _, ok := bytes.Cut(line, []byte(":"))
			name = bytes.TrimRight(name, " \t")
			if len(m.Fields) == 0 && bytes.HasPrefix(line, []byte("From ")) { // the separator of an mbox
				break
			}
			if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
				m.Body = raw
				return m
			}
			m.Fields = append(m.Fields, Field{string(name), string(line)})
		}
		raw = rest
	}
	return m
}

func cutLine(raw []byte) (line, rest []byte) {
	at := bytes.IndexByte(raw, '\n')
	if at < 0 {
		return raw, nil
	}
	return bytes.TrimSuffix(raw[:at], []byte("\r")), raw[at+1:]
}

// All are the values of the fields of a name, the topmost first.
func (m Mail) All(name string) []string {
	var all []string
	for _, f := range m.Fields {
		if f.Is(name) {
			all = append(all, f.Value())
		}
	}
	return all
}

// Get is the value of the topmost field of a name.
func (m Mail) Get(name string) string {
	for _, f := range m.Fields {
		if f.Is(name) {
			return f.Value()
		}
	}
	return ""
}

// ReturnPath is the envelope's sender as the last server wrote it down; ok is false where none did. The null path is "".
func (m Mail) ReturnPath() (path string, ok bool) {
	all := m.All("Return-Path")
	if len(all) == 0 {
		return "", false
	}
	return strings.TrimSpace(strings.Trim(withoutComments(all[0]), "<> ")), true
}

// withoutComments takes out what stands in round brackets (RFC 5322 section 3.2.2), nested ones too.
func withoutComments(s string) string {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			if depth == 0 {
				b.WriteString(s[i : i+2])
			}
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
			b.WriteByte(c)
		case c == '(' && !quoted:
			depth++
		case c == ')' && !quoted && depth > 0:
			depth--
			b.WriteByte(' ')
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}
