package ingest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"
)

// charset is one encoding of a contact list. Where plain is true, the bytes of '"', comma, tab, semicolon, CR and LF
// never are part of another character, so that records are cut from the raw bytes and each one is decoded for itself: a
// broken byte then harms its own row only. The others are turned into UTF-8 on the way in.
type charset struct {
	name  string
	plain bool
	enc   encoding.Encoding  // nil: UTF-8
	width func(s []byte) int // bytes of the character at the start of s, if plain
}

// charsets lists what can be read, the name that is printed first.
var charsets = []charset{
	{name: "utf-8", plain: true, width: utf8Width},
	// x/text's ShiftJIS is the Windows-31J of WHATWG: NEC and IBM characters included, ～ is U+FF5E.
	{name: "cp932", plain: true, enc: japanese.ShiftJIS, width: cp932Width},
	{name: "euc-jp", plain: true, enc: japanese.EUCJP, width: eucWidth},
	{name: "iso-2022-jp", enc: japanese.ISO2022JP},
	{name: "utf-16le", enc: unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)},
	{name: "utf-16be", enc: unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)},
}

// charsetAliases are other names of the same.
var charsetAliases = map[string]string{
	"utf8": "utf-8", "utf-8-sig": "utf-8", "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "ms932": "cp932",
	"windows-31j": "cp932", "eucjp": "euc-jp", "jis": "iso-2022-jp", "utf-16": "utf-16le", "utf16": "utf-16le",
}

// Encodings lists the names that --encoding takes.
func Encodings() []string {
	var names []string
	for _, c := range charsets {
		names = append(names, c.name)
	}
	return names
}

func charsetByName(name string) (charset, error) {
	name = strings.ToLower(name)
	if alias := charsetAliases[name]; alias != "" {
		name = alias
	}
	for _, c := range charsets {
		if c.name == name {
			return c, nil
		}
	}
	return charset{}, usageErrorf("encoding %q is not known: choose one of auto %s", name, strings.Join(Encodings(), " "))
}

// boms are the byte order marks; the longer ones first.
var boms = []struct{ mark, charset string }{
	{"\xef\xbb\xbf", "utf-8"}, {"\xff\xfe", "utf-16le"}, {"\xfe\xff", "utf-16be"},
}

// bom is the mark at the start of head and the charset that it tells.
func bom(head []byte) (mark, charset string) {
	for _, b := range boms {
		if bytes.HasPrefix(head, []byte(b.mark)) {
			return b.mark, b.charset
		}
	}
	return "", ""
}

// stream turns r into bytes that records can be cut from.
func (c charset) stream(r io.Reader) io.Reader {
	if c.plain {
		return r
	}
	return c.enc.NewDecoder().Reader(r)
}

// badBytes says which bytes of a record are not in its charset.
type badBytes struct {
	offset int // in the record
	bytes  []byte
	name   string
}

func (e *badBytes) Error() string {
	if string(e.bytes) == "\uFFFD" {
		return "U+FFFD stands where a character was lost"
	}
	var hex strings.Builder
	for _, b := range e.bytes {
		fmt.Fprintf(&hex, " 0x%02X", b)
	}
	return fmt.Sprintf("the bytes%s are not %s", hex.String(), e.name)
}

// decode turns a record into text. The decoders of x/text put U+FFFD where bytes do not fit and give no error, so it is
// looked for; a U+FFFD that stood in the file is a character that was lost earlier, and is refused as well.
func (c charset) decode(record []byte) (string, error) {
	if isASCII(record) {
		return string(record), nil
	}
	if c.enc == nil || !c.plain {
		if i := badUTF8(record); i >= 0 {
			return "", &badBytes{i, record[i : i+utf8Width(record[i:])], c.name}
		}
		return string(record), nil
	}
	out, err := c.enc.NewDecoder().Bytes(record)
	if err == nil && isText(out) {
		return string(out), nil
	}
	for i := 0; i < len(record); {
		n := c.width(record[i:])
		if _, ok := c.char(record[i : i+n]); !ok {
			return "", &badBytes{i, record[i : i+n], c.name}
		}
		i += n
	}
	return "", &badBytes{0, nil, c.name}
}

// decoder decodes many records at once, for one goroutine.
type decoder struct {
	charset charset
	dec     *encoding.Decoder // nil: the records are UTF-8
	out     []byte
}

func (c charset) decoder() decoder {
	if c.enc == nil || !c.plain {
		return decoder{charset: c}
	}
	return decoder{charset: c, dec: c.enc.NewDecoder()}
}

// rows decodes the records that are not malformed, one behind the other, and adds where each ends. It reports false when
// something in them does not decode. The bytes are good until the next call.
func (d *decoder) rows(raws []raw, ends *[]int) ([]byte, bool) {
	d.out = d.out[:0]
	for _, r := range raws {
		if r.err == nil && !d.row(r.bytes) {
			return nil, false
		}
		*ends = append(*ends, len(d.out))
	}
	if d.dec == nil {
		return d.out, utf8.Valid(d.out) && !d.joined(*ends) && !bytes.Contains(d.out, lost)
	}
	return d.out, isText(d.out)
}

// joined reports whether two halves of a character, at the end of one record and the start of the next, make a whole one.
func (d *decoder) joined(ends []int) bool {
	for _, end := range ends {
		if end < len(d.out) && !utf8.RuneStart(d.out[end]) {
			return true
		}
	}
	return false
}

// lost is U+FFFD. The decoder of CP932 makes U+0080 of the byte 0x80, which is half a character or a euro sign of Windows-1252.
var lost, stray = []byte(string(utf8.RuneError)), []byte("\u0080")

// isText reports whether a decoder found every byte in its charset.
func isText(decoded []byte) bool {
	return !bytes.Contains(decoded, lost) && !bytes.Contains(decoded, stray)
}

func (d *decoder) row(record []byte) bool {
	if d.dec == nil || isASCII(record) {
		d.out = append(d.out, record...)
		return true
	}
	// No character of these charsets takes more than three bytes of UTF-8 for each of its own.
	start := len(d.out)
	d.out = slices.Grow(d.out, 3*len(record))
	d.dec.Reset()
	n, _, err := d.dec.Transform(d.out[start:cap(d.out)], record, true)
	d.out = d.out[:start+n]
	return err == nil
}

// char decodes the bytes of one character.
func (c charset) char(s []byte) (string, bool) {
	if c.enc == nil || !c.plain {
		return string(s), badUTF8(s) < 0
	}
	out, err := c.enc.NewDecoder().Bytes(s)
	return string(out), err == nil && isText(out)
}

// lenient is a record for people: what does not decode is shown as \xHH.
func (c charset) lenient(record []byte) string {
	if text, err := c.decode(record); err == nil {
		return text
	}
	width := c.width
	if width == nil {
		width = utf8Width
	}
	var b strings.Builder
	for i := 0; i < len(record); {
		n := width(record[i:])
		text, ok := c.char(record[i : i+n])
		if !ok {
			for _, bad := range record[i : i+n] {
				fmt.Fprintf(&b, `\x%02X`, bad)
			}
		} else {
			b.WriteString(text)
		}
		i += n
	}
	return b.String()
}

// badUTF8 is the offset of the first byte that is not valid UTF-8 or of the first U+FFFD, -1 if there is none.
func badUTF8(s []byte) int {
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError {
			return i
		}
		i += n
	}
	return -1
}

func utf8Width(s []byte) int {
	_, n := utf8.DecodeRune(s)
	return n
}

func cp932Width(s []byte) int {
	if len(s) > 1 && (0x81 <= s[0] && s[0] <= 0x9f || 0xe0 <= s[0] && s[0] <= 0xfc) &&
		(0x40 <= s[1] && s[1] <= 0x7e || 0x80 <= s[1] && s[1] <= 0xfc) {
		return 2
	}
	return 1
}

func eucWidth(s []byte) int {
	high := func(i int) bool { return len(s) > i && 0xa1 <= s[i] && s[i] <= 0xfe }
	switch {
	case s[0] == 0x8f && high(1) && high(2):
		return 3
	case s[0] == 0x8e && high(1), high(0) && high(1):
		return 2
	}
	return 1
}

func isASCII(s []byte) bool {
	for len(s) >= 8 {
		if binary.LittleEndian.Uint64(s)&0x8080808080808080 != 0 {
			return false
		}
		s = s[8:]
	}
	for _, b := range s {
		if b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
