package workbook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// The rows of a workbook are XML of one plain kind: elements, attributes, text. encoding/xml takes two microseconds for a
// cell, most of it for copies. This reader gives tokens that point into its buffer, and every fault.

// token is a piece of XML.
type token byte

const (
	startTag token = iota + 1
	endTag         // also behind a start tag that closes itself
	textData
)

// maxToken bounds a tag or a run of text. Excel's own bound of a cell is 32,767 characters.
const maxToken = 1 << 20

// markup reads XML.
type markup struct {
	r     io.Reader
	buf   []byte
	pos   int
	eof   bool
	depth int
	roots int

	name    []byte // of a tag, without its prefix
	attrs   []byte // of a start tag, from the space behind its name
	text    []byte // raw
	literal bool   // the text is from a CDATA section
	closing bool   // the last start tag closed itself
}

func newMarkup(r io.Reader) *markup {
	return &markup{r: r, buf: make([]byte, 0, 1<<16)}
}

var (
	errXMLEnd  = errors.New("the XML breaks off")
	errXMLSize = fmt.Errorf("a piece of the XML is longer than %d bytes", maxToken)
)

// fill reads more behind what is there.
func (x *markup) fill() error {
	if x.eof {
		return errXMLEnd
	}
	if len(x.buf)-x.pos > maxToken {
		return errXMLSize
	}
	if x.pos > 0 {
		x.buf = x.buf[:copy(x.buf, x.buf[x.pos:])]
		x.pos = 0
	}
	if len(x.buf) == cap(x.buf) {
		x.buf = append(make([]byte, 0, 2*cap(x.buf)), x.buf...)
	}
	n, err := x.r.Read(x.buf[len(x.buf):cap(x.buf)])
	x.buf = x.buf[:len(x.buf)+n]
	if errors.Is(err, io.EOF) {
		x.eof = true
		return nil
	}
	return err
}

// until is the index behind the next end in the buffer, from pos+from on.
func (x *markup) until(end string, from int) (int, error) {
	for {
		if i := bytes.Index(x.buf[min(x.pos+from, len(x.buf)):], []byte(end)); i >= 0 {
			return x.pos + from + i + len(end), nil
		}
		from = max(from, len(x.buf)-x.pos-len(end)+1)
		if err := x.fill(); err != nil {
			return 0, err
		}
	}
}

// next is the next token, or io.EOF behind the root element. What it points to is good until the next call.
func (x *markup) next() (token, error) {
	if x.closing {
		x.closing = false
		x.depth--
		return endTag, nil
	}
	for {
		if x.pos == len(x.buf) {
			if x.eof {
				if x.depth > 0 || x.roots == 0 {
					return 0, errXMLEnd
				}
				return 0, io.EOF
			}
			if err := x.fill(); err != nil {
				return 0, err
			}
			continue
		}
		if x.buf[x.pos] != '<' {
			return x.plain()
		}
		if len(x.buf)-x.pos < len("<![CDATA[") && !x.eof {
			if err := x.fill(); err != nil {
				return 0, err
			}
			continue
		}
		t, err := x.tag()
		if t != 0 || err != nil {
			return t, err
		}
	}
}

// plain is the text up to the next tag.
func (x *markup) plain() (token, error) {
	n := 0
	for {
		w := x.buf[x.pos:]
		if i := bytes.IndexByte(w[n:], '<'); i >= 0 {
			n += i
			break
		}
		if n = len(w); x.eof {
			break
		}
		if err := x.fill(); err != nil {
			return 0, err
		}
	}
	x.text, x.literal = x.buf[x.pos:x.pos+n], false
	x.pos += n
	return textData, nil
}

// tag reads what begins with <. Comments and instructions give no token.
func (x *markup) tag() (token, error) {
	switch w := x.buf[x.pos:]; {
	case len(w) < 2 || w[1] != '!' && w[1] != '?':
	case bytes.HasPrefix(w, []byte("<![CDATA[")):
		end, err := x.until("]]>", len("<![CDATA["))
		if err != nil {
			return 0, err
		}
		x.text, x.literal = x.buf[x.pos+len("<![CDATA["):end-len("]]>")], true
		x.pos = end
		return textData, nil
	case bytes.HasPrefix(w, []byte("<!--")):
		return 0, x.skip("-->", len("<!--"))
	case bytes.HasPrefix(w, []byte("<?")):
		return 0, x.skip("?>", len("<?"))
	default:
		return 0, errors.New("the XML has a DOCTYPE, which no workbook needs")
	}
	end, err := x.tagEnd()
	if err != nil {
		return 0, err
	}
	body := x.buf[x.pos+1 : end-1]
	x.pos = end
	if len(body) > 0 && body[0] == '/' {
		if x.depth--; x.depth < 0 {
			return 0, errors.New("the XML closes an element that is not open")
		}
		x.name = local(body[1 : 1+nameLength(body[1:])])
		return endTag, nil
	}
	if len(body) > 0 && body[len(body)-1] == '/' {
		x.closing, body = true, body[:len(body)-1]
	}
	n := nameLength(body)
	if n == 0 {
		return 0, errors.New("the XML has a tag without a name")
	}
	x.name, x.attrs = local(body[:n]), body[n:]
	if x.depth == 0 {
		x.roots++
	}
	x.depth++
	return startTag, nil
}

func (x *markup) skip(end string, from int) error {
	n, err := x.until(end, from)
	x.pos = n
	return err
}

// tagEnd is the index behind the > that ends the tag at pos; one in an attribute's value does not.
func (x *markup) tagEnd() (int, error) {
	quote := byte(0)
	for n := 1; ; n++ {
		for x.pos+n >= len(x.buf) {
			if err := x.fill(); err != nil {
				return 0, err
			}
		}
		switch c := x.buf[x.pos+n]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return x.pos + n + 1, nil
		case c == '<':
			return 0, errors.New("the XML has a tag within a tag")
		}
	}
}

func nameLength(s []byte) int {
	n := 0
	for n < len(s) && s[n] > ' ' {
		n++
	}
	return n
}

// local is a name without its prefix.
func local(name []byte) []byte { return name[bytes.IndexByte(name, ':')+1:] }

// attr cuts the next attribute off attrs; its name keeps its prefix, its value its entities. The name is nil at the end.
func attr(attrs []byte) (name, value, rest []byte) {
	attrs = behindSpace(attrs)
	n := 0
	for n < len(attrs) && attrs[n] > ' ' && attrs[n] != '=' {
		n++
	}
	name, attrs = attrs[:n], behindSpace(attrs[n:])
	if n == 0 || len(attrs) == 0 || attrs[0] != '=' {
		return nil, nil, nil
	}
	if attrs = behindSpace(attrs[1:]); len(attrs) == 0 || attrs[0] != '"' && attrs[0] != '\'' {
		return nil, nil, nil
	}
	end := bytes.IndexByte(attrs[1:], attrs[0])
	if end < 0 {
		return nil, nil, nil
	}
	return name, attrs[1 : 1+end], attrs[end+2:]
}

func behindSpace(s []byte) []byte {
	for len(s) > 0 && s[0] <= ' ' {
		s = s[1:]
	}
	return s
}

// attribute is the value of one attribute of the start tag that was read last, "" if it has none.
func (x *markup) attribute(name string) string {
	for rest := x.attrs; ; {
		var key, value []byte
		if key, value, rest = attr(rest); key == nil {
			return ""
		}
		if string(key) == name {
			text, err := appendText(nil, value, false)
			if err != nil {
				return ""
			}
			return string(text)
		}
	}
}

// appendText adds text with its entities resolved and its line ends made LF (XML 1.0 section 2.11).
func appendText(dst, raw []byte, literal bool) ([]byte, error) {
	for len(raw) > 0 {
		i := 0
		for i < len(raw) && raw[i] != '&' && raw[i] != '\r' {
			i++
		}
		if i == len(raw) {
			break
		}
		dst = append(dst, raw[:i]...)
		raw = raw[i:]
		if raw[0] == '\r' {
			dst = append(dst, '\n')
			raw = bytes.TrimPrefix(raw[1:], []byte{'\n'})
			continue
		}
		end := bytes.IndexByte(raw, ';')
		if literal {
			dst, raw = append(dst, '&'), raw[1:]
			continue
		}
		if end < 0 || end > len("&#x10ffff") {
			return dst, errors.New("the XML has a & that begins no character")
		}
		r, ok := entity(string(raw[1:end]))
		if !ok {
			return dst, fmt.Errorf("the XML has %q, which is no character", raw[:end+1])
		}
		dst = utf8.AppendRune(dst, r)
		raw = raw[end+1:]
	}
	return append(dst, raw...), nil
}

func entity(name string) (rune, bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	if len(name) < 2 || name[0] != '#' {
		return 0, false
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	r := rune(n)
	return r, err == nil && n <= utf8.MaxRune && utf8.ValidRune(r) && r != 0
}
