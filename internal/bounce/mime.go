package bounce

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/japanese"
)

// A splitter of our own, because bounces are the worst MIME there is: closing boundaries are missing, boundaries with
// "/" or "=" stand unquoted, lines end in CR alone, charsets do not exist. A strict parser fails on them, a library's
// may give the same error for ever. Here everything is bounded and a part that cannot be read is a part without content.
const (
	maxMail   = 16 << 20 // what is read of one mail; the report stands before the returned message
	maxParts  = 200      // parts kept of one multipart
	maxDepth  = 6        // multiparts within multiparts
	maxFields = 1000     // header fields kept of one part
	maxField  = 16 << 10 // bytes of one field
	maxTextIn = 1 << 20  // bytes of one text part that are decoded
)

// normalise cuts the mail to the bound and gives it LF line ends without NUL.
func normalise(raw []byte) string {
	if len(raw) > maxMail {
		raw = raw[:maxMail]
	}
	s := strings.TrimPrefix(string(raw), "\ufeff")
	if strings.IndexByte(s, '\r') >= 0 {
		s = strings.ReplaceAll(s, "\r\n", "\n")
		s = strings.ReplaceAll(s, "\r", "\n")
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	return s
}

// entity is a message or a part: its header and its undecoded body.
type entity struct {
	header header
	body   string
}

// header is a list of fields in their order, names in lower case, values unfolded.
type header []field

type field struct{ name, value string }

// get returns the first field of a name.
func (h header) get(name string) string {
	for _, f := range h {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

func (h header) count(name string) int {
	n := 0
	for _, f := range h {
		if f.name == name {
			n++
		}
	}
	return n
}

// has reports whether a field of that name is there.
func (h header) has(name string) bool {
	for _, f := range h {
		if f.name == name {
			return true
		}
	}
	return false
}

// parseEntity reads header and body. An mbox "From " line, empty lines before the header and lines that are no fields
// are skipped.
func parseEntity(s string) entity {
	s = strings.TrimLeft(s, "\n")
	h, rest := parseHeader(s)
	return entity{h, rest}
}

// parseHeader reads fields up to the first empty line and returns what follows it.
func parseHeader(s string) (header, string) {
	var h header
	for s != "" {
		line, rest, _ := strings.Cut(s, "\n")
		s = rest
		if strings.TrimRight(line, " \t") == "" {
			break
		}
		h = h.add(line)
	}
	return h, s
}

// add takes one line of a header: a field, the continuation of the one before, or rubbish.
func (h header) add(line string) header {
	if line[0] == ' ' || line[0] == '\t' {
		if last := len(h) - 1; last >= 0 && len(h[last].value) < maxField {
			h[last].value += " " + strings.TrimSpace(line)
		}
		return h
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok || len(h) >= maxFields || !isFieldName(name) {
		return h
	}
	if len(value) > maxField {
		value = value[:maxField]
	}
	return append(h, field{strings.ToLower(strings.TrimRight(name, " \t")), strings.TrimSpace(value)})
}

func isFieldName(s string) bool {
	s = strings.TrimRight(s, " \t")
	if s == "" || len(s) > 100 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// mediaType returns the type in lower case and the parameters. It takes what mime.ParseMediaType refuses: unquoted
// values with any character, unterminated quotes, missing semicolons at the end.
func mediaType(value string) (string, map[string]string) {
	kind, rest, _ := strings.Cut(value, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if i := strings.IndexAny(kind, " \t("); i >= 0 {
		kind = kind[:i]
	}
	params := map[string]string{}
	for rest != "" {
		var name, v string
		name, rest, _ = strings.Cut(rest, "=")
		v, rest = paramValue(strings.TrimLeft(rest, " \t"))
		name = strings.ToLower(strings.Trim(name, " \t;"))
		if _, have := params[name]; !have && name != "" {
			params[name] = v
		}
	}
	return kind, params
}

func paramValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ";")
		return strings.TrimSpace(value), rest
	}
	value, rest, _ = strings.Cut(s[1:], `"`)
	return value, rest
}

// split returns the parts of a multipart body. A missing closing boundary ends the last part at the end.
func split(body, boundary string) []entity {
	if boundary == "" || !strings.Contains(body, "--"+boundary) {
		boundary = guessBoundary(body)
	}
	if boundary == "" {
		return nil
	}
	var parts []entity
	start := -1
	for pos := 0; len(parts) < maxParts; {
		at, next, closing := findDelimiter(body, "--"+boundary, pos)
		if at < 0 {
			break
		}
		if start >= 0 {
			parts = append(parts, partEntity(body[start:max(at-1, start)])) // the line break before it belongs to the delimiter
		}
		start, pos = next, next
		if closing {
			return parts
		}
	}
	if start >= 0 && len(parts) < maxParts {
		parts = append(parts, partEntity(body[start:]))
	}
	return parts
}

// lostParts returns the parts of a body whose header was lost on the way: it begins with a boundary, at most after a line
// for old mail programs. One further down, below words that name somebody, is that of a message returned as text.
func lostParts(body string) []entity {
	boundary := guessBoundary(body)
	preamble, _, ok := strings.Cut(body, "--"+boundary)
	if boundary == "" || !ok || len(preamble) > maxReply || strings.Contains(preamble, "@") {
		return nil
	}
	return split(body, boundary)
}

// findDelimiter finds the next line that is the delimiter, from a line's start at pos on, and where the line after it
// begins. at is -1 when there is none.
func findDelimiter(body, delimiter string, pos int) (at, next int, closing bool) {
	for {
		if !strings.HasPrefix(body[pos:], delimiter) {
			i := strings.Index(body[pos:], "\n"+delimiter)
			if i < 0 {
				return -1, 0, false
			}
			pos += i + 1
		}
		end := strings.IndexByte(body[pos:], '\n')
		if end < 0 {
			end = len(body) - pos
		}
		rest := strings.TrimRight(body[pos+len(delimiter):pos+end], " \t")
		next = min(pos+end+1, len(body))
		if rest == "" || rest == "--" {
			return pos, next, rest == "--"
		}
		pos = next // a longer boundary that begins with this one
	}
}

// partEntity reads a part: unlike a message it may have no header at all, which is an empty first line.
func partEntity(s string) entity {
	h, rest := parseHeader(s)
	return entity{h, rest}
}

// guessBoundary finds the boundary of a body whose header lost it: the first line that begins with "--" and is followed
// by a content header.
func guessBoundary(body string) string {
	rest := body
	for n := 0; n < 200 && rest != ""; n++ {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if strings.HasPrefix(line, "--") && len(line) > 3 && len(rest) >= 8 && strings.EqualFold(rest[:8], "content-") {
			return strings.TrimRight(line[2:], " \t")
		}
	}
	return ""
}

// text returns the body decoded to UTF-8; HTML becomes plain text.
func (e entity) text() string {
	kind, params := mediaType(e.header.get("content-type"))
	body := e.body
	if len(body) > maxTextIn {
		body = body[:maxTextIn]
	}
	body = decodeTransfer(body, e.header.get("content-transfer-encoding"))
	body = decodeCharset(body, params["charset"])
	if kind == "text/html" || kind == "" && looksHTML(body) {
		body = plainText(body)
	}
	return strings.ReplaceAll(body, "\u00a0", " ") // "550&nbsp;5.1.1"
}

// looksHTML tells a page whose header was lost.
func looksHTML(body string) bool {
	start := strings.ToLower(strings.TrimSpace(body[:min(len(body), 200)]))
	return strings.HasPrefix(start, "<html") || strings.HasPrefix(start, "<!doctype html")
}

func decodeTransfer(body, transfer string) string {
	switch strings.ToLower(strings.TrimSpace(transfer)) {
	case "base64":
		return decodeBase64(body)
	case "quoted-printable":
		return decodeQuoted(body)
	}
	return body
}

// decodeBase64 decodes as much as there is, whatever stands between.
func decodeBase64(s string) string {
	clean := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if isAlnum(s[i]) || s[i] == '+' || s[i] == '/' {
			clean = append(clean, s[i])
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	out, err := base64.RawStdEncoding.DecodeString(string(clean))
	if err != nil {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(string(out), "\r\n", "\n"), "\x00", "")
}

// decodeQuoted decodes quoted-printable and leaves what is malformed as it is.
func decodeQuoted(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		end := i + 1
		for end < len(s) && (s[end] == ' ' || s[end] == '\t') {
			end++
		}
		if end < len(s) && s[end] == '\n' {
			i = end
			continue
		}
		if i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			if c := unhex(s[i+1])<<4 | unhex(s[i+2]); c != '\r' && c != 0 {
				b.WriteByte(c)
			}
			i += 2
			continue
		}
		b.WriteByte('=')
	}
	return b.String()
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

func unhex(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}

// decodeCharset turns text into UTF-8. A label is believed only where the bytes allow it; an unknown one is ignored.
func decodeCharset(s, label string) string {
	if strings.Contains(s, "\x1b$") {
		return decodeWith(japanese.ISO2022JP, s)
	}
	if utf8.ValidString(s) {
		return s
	}
	if enc, err := htmlindex.Get(strings.ToLower(strings.Trim(label, " '\""))); err == nil {
		if name, _ := htmlindex.Name(enc); name != "utf-8" && name != "replacement" {
			return decodeWith(enc, s)
		}
	}
	return decodeWith(guessCharset(s), s)
}

// guessCharset tells the charset of bytes whose label is missing or wrong by their hiragana, which no Japanese sentence is
// without: A4 and a byte in EUC-JP, 82 and a byte in Shift_JIS.
func guessCharset(s string) encoding.Encoding {
	euc, sjis := 0, 0
	for i := 0; i+1 < len(s); i++ {
		switch c := s[i+1]; {
		case s[i] == 0xa4 && 0xa1 <= c && c <= 0xf3:
			euc++
		case s[i] == 0x82 && 0x9f <= c && c <= 0xf1:
			sjis++
		}
	}
	switch {
	case euc > 2 && euc > sjis:
		return japanese.EUCJP
	case sjis > 2:
		return japanese.ShiftJIS
	}
	return charmap.Windows1252
}

func decodeWith(enc encoding.Encoding, s string) string {
	out, err := enc.NewDecoder().String(s)
	if err != nil {
		return strings.ToValidUTF8(s, "�")
	}
	return out
}

// plainText is the text of an HTML part, a line for each block.
func plainText(s string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(s))
	hidden := false
	for {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.TextToken:
			if !hidden {
				b.Write(z.Text())
			}
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			switch string(name) {
			case "style", "script", "title":
				hidden = !hidden && !strings.HasPrefix(string(z.Raw()), "</")
			case "br", "p", "div", "tr", "td", "li", "h1", "h2", "h3", "table", "pre":
				b.WriteByte('\n')
			}
		}
	}
}
