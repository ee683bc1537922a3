package message

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"mailer/internal/address"
)

// Widths of header lines: RFC 5322 section 2.1.1 asks for 78, RFC 2047 section 2 for 76 on a line with an encoded-word and
// for 75 in each.
const (
	maxHeaderLine = 78
	maxWordLine   = 76
	maxWord       = 75
	wordFrame     = len("=?utf-8?B??=")
	maxWholeWord  = 900 // 998 octets are a line's limit, and the field's name is on it
)

// checkHeaderText refuses what would end a header field: a value of a contact can never add one.
func checkHeaderText(s string) error {
	for _, r := range s {
		switch {
		case r == '\r' || r == '\n':
			return fmt.Errorf("a header field cannot hold a line break: %q", s)
		case unicode.IsControl(r) && r != '\t':
			return fmt.Errorf("a header field cannot hold the control character %U: %q", r, s)
		}
	}
	return nil
}

// appendText writes an unstructured field (RFC 5322 section 2.2.1), encoded where it has to be. The value has passed
// checkHeaderText.
func appendText(b []byte, name, value string) []byte {
	value = strings.TrimSpace(strings.ReplaceAll(value, "\t", " "))
	b = append(b, name+": "...)
	most := maxHeaderLine - 2
	if name != "Subject" { // the author's own may be URIs or JSON, in which an encoded-word says nothing
		most = maxWholeWord
	}
	if needsWords(value, most) {
		b, _ = appendWords(b, len(name)+2, value)
	} else {
		b, _ = appendFolded(b, len(name)+2, value)
	}
	return append(b, "\r\n"...)
}

// needsWords: not ASCII, looking like an encoded-word itself, or with spaces or a length that folding would not keep.
func needsWords(s string, most int) bool {
	if !isASCII(s) || strings.Contains(s, "=?") || strings.Contains(s, "  ") {
		return true
	}
	for word := range strings.SplitSeq(s, " ") {
		if len(word) > most {
			return true
		}
	}
	return false
}

// appendFolded writes ASCII text, folded at its spaces; column is where the line is.
func appendFolded(b []byte, column int, s string) ([]byte, int) {
	first := true
	for word := range strings.SplitSeq(s, " ") {
		switch {
		case !first && column+1+len(word) > maxHeaderLine:
			b = append(b, "\r\n "...)
			column = 1
		case !first:
			b = append(b, ' ')
			column++
		}
		first = false
		b = append(b, word...)
		column += len(word)
	}
	return b, column
}

// appendWords writes s as B encoded-words: each whole in itself, cut between characters, one a line (RFC 2047 sections 2
// and 5). Go's own encoder joins them with spaces on one line.
func appendWords(b []byte, column int, s string) ([]byte, int) {
	for first := true; s != "" || first; first = false {
		room := min(maxWord, maxWordLine-column) - wordFrame
		n := cut(s, room/4*3)
		if n == 0 && s != "" || !first {
			b = append(b, "\r\n "...)
			column = 1
			n = cut(s, (maxWordLine-1-wordFrame)/4*3)
		}
		b = append(b, "=?utf-8?B?"...)
		b = base64.StdEncoding.AppendEncode(b, []byte(s[:n]))
		b = append(b, "?="...)
		column += wordFrame + base64.StdEncoding.EncodedLen(n)
		s = s[n:]
	}
	return b, column
}

// cut is the longest part of s that has at most n bytes and ends with a whole character.
func cut(s string, n int) int {
	if n >= len(s) {
		return len(s)
	}
	for n = max(n, 0); n > 0 && !utf8.RuneStart(s[n]); n-- {
	}
	return n
}

// appendMailbox writes an address field with one mailbox.
func appendMailbox(b []byte, name, display, addr string) []byte {
	wire := address.Wire(addr)
	if strings.TrimSpace(display) == "" {
		return append(b, name+": "+wire+"\r\n"...)
	}
	return appendNamed(b, name, display, wire)
}

// appendNamed writes [phrase] <id>, as an address (RFC 5322 section 3.4) and a List-Id (RFC 2919) have it.
func appendNamed(b []byte, name, display, id string) []byte {
	b = append(b, name+": "...)
	column := len(name) + 2
	display = strings.TrimSpace(strings.ReplaceAll(display, "\t", " "))
	switch {
	case display == "":
		return append(b, "<"+id+">\r\n"...)
	case needsWords(display, maxHeaderLine-2):
		b, column = appendWords(b, column, display)
	case isPhrase(display):
		b, column = appendFolded(b, column, display)
	default:
		b, column = appendFolded(b, column, quote(display))
	}
	if column+len(id)+3 > maxHeaderLine {
		b = append(b, "\r\n"...)
	}
	return append(b, " <"+id+">\r\n"...)
}

// isPhrase: words of atoms (RFC 5322 section 3.2.5), which need no quotes.
func isPhrase(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != ' ' && !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
			return false
		}
	}
	return true
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// appendList writes a field of URIs in angle brackets, one a line: nothing may be folded within them (RFC 2369 section 2).
// Empty ones are left out, and a field of none.
func appendList(b []byte, name string, uris ...string) []byte {
	n := 0
	for _, u := range uris {
		switch {
		case u == "":
			continue
		case n > 0:
			b = append(b, ",\r\n "...)
		default:
			b = append(append(b, name...), ": "...)
		}
		b = append(append(append(b, '<'), u...), '>')
		n++
	}
	if n > 0 {
		b = append(b, "\r\n"...)
	}
	return b
}

// checkURI refuses what would break out of the angle brackets or the line.
func checkURI(u string) error {
	for i := range len(u) {
		if c := u[i]; c <= ' ' || c >= 0x7f || c == '<' || c == '>' || c == ',' {
			return fmt.Errorf("the unsubscribe address %q has a character that a URI cannot have", u)
		}
	}
	if len(u) > 900 {
		return fmt.Errorf("the unsubscribe address has %d characters, more than fit on a line", len(u))
	}
	return nil
}

// appendParameter writes one MIME parameter on a line of its own, in RFC 2231's form and in pieces where it is not plain
// ASCII or too long.
func appendParameter(b []byte, name, value string) []byte {
	if isASCII(value) && checkHeaderText(value) == nil && len(name)+len(value)+6 <= maxHeaderLine {
		return append(b, ";\r\n "+name+"="+quote(value)...)
	}
	encoded := percentPieces(value, maxHeaderLine-len(name)-len("utf-8''")-10)
	if len(encoded) == 1 {
		return append(b, ";\r\n "+name+"*=utf-8''"+encoded[0]...)
	}
	for i, piece := range encoded {
		charset := ""
		if i == 0 {
			charset = "utf-8''"
		}
		b = append(b, fmt.Sprintf(";\r\n %s*%d*=%s%s", name, i, charset, piece)...)
	}
	return b
}

// percentPieces percent-encodes s and cuts it between characters into pieces of at most n bytes.
func percentPieces(s string, n int) []string {
	pieces := []string{""}
	for _, r := range s {
		e := escapeURL(string(r), "")
		if len(pieces[len(pieces)-1])+len(e) > n {
			pieces = append(pieces, "")
		}
		pieces[len(pieces)-1] += e
	}
	return pieces
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
