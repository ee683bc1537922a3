package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"mailer/internal/contact"
)

// A list of JSON objects comes as one object a line, as what jq prints over several lines, or as one array. The keys of
// all objects are the columns, in the order in which they appear first. Where each object has its line, a broken one costs
// that line only; in the other forms the file cannot be read on behind a brace that is missing.

// maxKeys bounds the columns: keys that are data (an address as a key) would make a field of each.
const maxKeys = 1000

// shape is what the first pass finds in a file of objects.
type shape struct {
	stream bool // objects go over line ends
	keys   []string
	index  map[string]int
}

// surveyObjects collects the keys.
func surveyObjects(ctx context.Context, s *source) (*shape, error) {
	sh := &shape{index: map[string]int{}}
	r, err := s.reader()
	if err != nil {
		return nil, err
	}
	sh.stream = overLines(bufio.NewReader(r))
	o, err := sh.open(s)
	if err != nil {
		return nil, err
	}
	for n := int64(0); ; n++ {
		if err := s.alive(ctx, n); err != nil {
			return nil, err
		}
		_, bad, err := o.parse()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if s.count = n + 1; bad != nil {
			continue
		}
		for _, m := range o.parser.members {
			if _, known := sh.index[m.key]; !known {
				sh.index[strings.Clone(m.key)] = len(sh.keys)
				sh.keys = append(sh.keys, strings.Clone(m.key))
			}
		}
		if len(sh.keys) > maxKeys {
			return nil, usageErrorf("%s has more than %d different keys: is a key of each object data?", s.name, maxKeys)
		}
	}
	s.hints = newHints(len(sh.keys))
	return sh, nil
}

// overLines reports whether the first object does not end on its line: the text is an array, or was printed to be read.
func overLines(r *bufio.Reader) bool {
	for {
		line, err := r.ReadSlice('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line[0] == '[' || bytes.Equal(line, []byte("{")) || line[len(line)-1] == ','
		}
		if err != nil {
			return false
		}
	}
}

// header makes a column of every key.
func (sh *shape) header(o Options, rows []record) (*header, error) {
	if len(sh.keys) == 0 {
		return nil, usageErrorf("the file holds no JSON object with anything in it")
	}
	var cells [][]string
	for _, row := range rows {
		cells = append(cells, row.cells)
	}
	h, err := readHeader(sh.keys, o.Map, cells)
	if err != nil {
		return nil, err
	}
	return h, h.only(o.Fields)
}

// objects gives an object of a JSON source as a row.
type objects struct {
	src     *source
	shape   *shape
	split   objectSplitter
	charset charset
	parser  objectParser
	cells   []string
	last    int64
}

func (s *source) objects() (rowReader, error) { return s.shape.open(s) }

func (sh *shape) open(s *source) (*objects, error) {
	r, err := s.reader()
	if err != nil {
		return nil, err
	}
	o := &objects{src: s, shape: sh, charset: s.charset, cells: make([]string, len(sh.keys))}
	if sh.stream && s.charset.plain && s.charset.enc != nil {
		// The second byte of a character can be a brace in CP932.
		r, o.charset = s.charset.enc.NewDecoder().Reader(r), charsets[0]
	}
	o.split = objectSplitter{r: bufio.NewReaderSize(r, 1<<16), stream: sh.stream, line: 1}
	return o, nil
}

func (o *objects) Close() error { return nil }

func (o *objects) show(rec record) string { return o.charset.lenient(rec.bytes) }

// parse reads the next object into the parser.
func (o *objects) parse() (record, *Reject, error) {
	raw, err := o.split.next()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			err = fmt.Errorf("read %s: %w", o.src.name, err)
		}
		return record{}, nil, err
	}
	// An array can lie on one line; its objects then are counted, for a row is known by its line.
	o.last = max(raw.line, o.last+1)
	rec := record{line: o.last, bytes: raw.bytes}
	if raw.err != nil {
		return rec, o.reject(rec, 0, raw.err), nil
	}
	text, err := o.charset.decode(raw.bytes)
	var bad *badBytes
	if errors.As(err, &bad) {
		at := objectParser{s: o.charset.lenient(raw.bytes[:bad.offset])}
		at.i = len(at.s)
		return rec, o.reject(rec, 0, at.wrong("%v", err)), nil
	} else if err != nil {
		return rec, o.reject(rec, 0, err), nil
	}
	if err := o.parser.parse(text); err != nil {
		return rec, o.reject(rec, 0, err), nil
	}
	return rec, nil, nil
}

func (o *objects) reject(rec record, column int, reason error) *Reject {
	return &Reject{Line: rec.line, Column: column, Reason: reason.Error(), Row: o.show(rec)}
}

func (o *objects) next() (record, *Reject, error) {
	for {
		rec, bad, err := o.parse()
		if bad != nil || err != nil {
			return record{}, bad, err
		}
		clear(o.cells)
		for _, m := range o.parser.members {
			i, known := o.shape.index[m.key]
			if !known {
				return record{}, nil, fmt.Errorf("%s was changed while it was read: the key %q is new", o.src.name, m.key)
			}
			switch {
			case m.err != nil:
				return record{}, o.reject(rec, i+1, fmt.Errorf("%q: %w", m.key, m.err)), nil
			case m.kind == stringValue:
				o.src.hints.text(i, m.text)
			case m.kind == numberValue:
				o.src.hints.number[i] = true
			case m.kind == listValue:
				o.src.hints.list[i] = true
			}
			o.cells[i] = m.text
		}
		if !blank(o.cells) {
			rec.cells = o.cells
			return rec, nil, nil
		}
	}
}

// objectSplitter cuts a text into objects.
type objectSplitter struct {
	r      *bufio.Reader
	stream bool
	line   int64
	buf    []byte

	array, comma, ended bool // of a stream: within [ ], behind a comma, behind ]
	some                bool
}

// rawObject is one object as it lies in the file.
type rawObject struct {
	line  int64
	bytes []byte
	err   error
}

var errObjectSize = fmt.Errorf("the object is longer than %d bytes", maxRecord)

func (s *objectSplitter) next() (rawObject, error) {
	if s.stream {
		return s.nextInStream()
	}
	for {
		s.buf = s.buf[:0]
		raw := rawObject{line: s.line}
		piece, err := s.r.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) {
			if raw.err == nil {
				s.buf = append(s.buf, piece...)
			}
			if len(s.buf) > maxRecord {
				raw.err = errObjectSize
			}
			piece, err = s.r.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return rawObject{}, err
		}
		if raw.err == nil {
			s.buf = append(s.buf, piece...)
		}
		s.line++
		if raw.bytes = bytes.TrimSpace(s.buf); len(raw.bytes) > 0 {
			return raw, nil
		}
		if err != nil {
			return rawObject{}, io.EOF
		}
	}
}

// nextInStream finds the next object between the commas of an array, or behind the one before.
func (s *objectSplitter) nextInStream() (rawObject, error) {
	for {
		c, err := s.byte()
		if errors.Is(err, io.EOF) && s.array {
			return rawObject{}, usageErrorf("line %d: the array is not closed: the file breaks off", s.line)
		}
		if err != nil {
			return rawObject{}, err
		}
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case c == '[' && !s.array && !s.ended && !s.some:
			s.array, s.comma = true, true
		case c == ']' && s.array && !(s.comma && s.some):
			s.array, s.ended = false, true
		case c == ',' && s.array && !s.comma:
			s.comma = true
		case c == '{' && (s.comma || !s.array) && !s.ended:
			s.comma, s.some = false, true
			return s.object()
		default:
			return rawObject{}, usageErrorf("line %d: %q stands where an object { was expected", s.line, rune(c))
		}
	}
}

// object reads up to the brace that closes the one that was read last.
func (s *objectSplitter) object() (rawObject, error) {
	begin := s.line
	s.buf = append(s.buf[:0], '{')
	for depth, quoted := 1, false; depth > 0; {
		c, err := s.byte()
		if err != nil {
			return rawObject{}, usageErrorf("line %d: the object that begins here is not closed: the file breaks off", begin)
		}
		s.buf = append(s.buf, c)
		switch {
		case c == '\\' && quoted:
			if c, err = s.byte(); err == nil {
				s.buf = append(s.buf, c)
			}
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
		if len(s.buf) > maxRecord {
			return rawObject{}, usageErrorf("line %d: %v: is a quote or a brace not closed?", begin, errObjectSize)
		}
	}
	return rawObject{line: begin, bytes: s.buf}, nil
}

func (s *objectSplitter) byte() (byte, error) {
	c, err := s.r.ReadByte()
	if c == '\n' && err == nil {
		s.line++
	}
	return c, err
}

// The kinds of values.
const (
	nullValue = iota
	stringValue
	numberValue
	otherValue
	listValue
)

// member is a key with its value, nested ones joined by points.
type member struct {
	key  string
	text string
	kind int
	err  error // the value cannot be a cell
}

// objectParser reads one object. encoding/json would take a key twice, put U+FFFD for half a surrogate pair and for bytes
// that are not UTF-8, and print a number anew.
type objectParser struct {
	s       string
	i       int
	members []member
	seen    map[string]bool
}

// maxNesting bounds recursion.
const maxNesting = 50

// wrong says where the text of an object is wrong.
func (p *objectParser) wrong(format string, args ...any) error {
	before := p.s[:min(p.i, len(p.s))]
	line := strings.Count(before, "\n")
	column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	where := fmt.Sprintf("column %d", column)
	if line > 0 {
		where = fmt.Sprintf("%d lines further, column %d", line, column)
	}
	return fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...))
}

func (p *objectParser) parse(text string) error {
	p.s, p.i, p.members = text, 0, p.members[:0]
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	clear(p.seen)
	p.space()
	if p.peek() != '{' {
		return p.wrong("the line is no JSON object")
	}
	if err := p.object("", 1); err != nil {
		return err
	}
	if p.space(); p.i < len(p.s) {
		return p.wrong("something stands behind the object")
	}
	return nil
}

func (p *objectParser) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *objectParser) space() {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) >= 0 {
		p.i++
	}
}

// each reads the parts between the bracket at i and its end.
func (p *objectParser) each(end byte, part func() error) error {
	p.i++
	if p.space(); p.peek() == end {
		p.i++
		return nil
	}
	for {
		p.space()
		if err := part(); err != nil {
			return err
		}
		switch p.space(); p.peek() {
		case ',':
			p.i++
		case end:
			p.i++
			return nil
		default:
			return p.wrong("a comma or %q is missing", rune(end))
		}
	}
}

func (p *objectParser) object(prefix string, depth int) error {
	if depth > maxNesting {
		return p.wrong("objects are nested more than %d deep", maxNesting)
	}
	return p.each('}', func() error {
		at := p.i
		key, err := p.quoted("a key in quotes")
		if err != nil {
			return err
		}
		if err := contact.CheckCell(key); err != nil {
			p.i = at
			return p.wrong("the key: %v", err)
		}
		if prefix != "" {
			key = prefix + "." + key
		}
		if p.space(); p.peek() != ':' {
			return p.wrong("a colon is missing behind the key")
		}
		p.i++
		p.space()
		if p.seen[key] {
			p.i = at
			return p.wrong("the key %q stands twice", key)
		}
		p.seen[key] = true
		if p.peek() == '{' {
			return p.object(key, depth+1)
		}
		m := member{key: key}
		if err := p.value(&m, depth); err != nil {
			return err
		}
		if m.err == nil {
			m.err = contact.CheckCell(m.text)
		}
		p.members = append(p.members, m)
		return nil
	})
}

// value reads what a cell is made of.
func (p *objectParser) value(m *member, depth int) (err error) {
	if p.peek() == '[' {
		return p.list(m, depth+1)
	}
	m.text, m.kind, err = p.scalar()
	return err
}

func (p *objectParser) scalar() (string, int, error) {
	switch c := p.peek(); {
	case c == '"':
		text, err := p.quoted("")
		return text, stringValue, err
	case c == '-' || '0' <= c && c <= '9':
		text, err := p.number()
		return text, numberValue, err
	}
	for _, word := range []string{"true", "false", "null"} {
		if strings.HasPrefix(p.s[p.i:], word) {
			p.i += len(word)
			if word == "null" {
				return "", nullValue, nil
			}
			return word, otherValue, nil
		}
	}
	return "", 0, p.wrong("a value is missing")
}

// listSeparators are what contact takes a list cell apart by.
const listSeparators = ",;|、；\n"

// list joins an array of plain values, as a list field does. An array that holds more than that is kept as its JSON.
func (p *objectParser) list(m *member, depth int) error {
	begin, nested := p.i, false
	var items []string
	err := p.each(']', func() error {
		if c := p.peek(); c == '[' || c == '{' {
			nested = true
			return p.skipNested(depth)
		}
		item, _, err := p.scalar()
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
		if strings.ContainsAny(item, listSeparators) && m.err == nil {
			m.err = fmt.Errorf("the item %q holds a character that divides the items of a list", item)
		}
		return err
	})
	if nested {
		m.text, m.kind, m.err = p.s[begin:p.i], otherValue, nil
		return err
	}
	m.text, m.kind = strings.Join(items, ";"), listValue
	return err
}

// skipNested checks a value and leaves it as it stands.
func (p *objectParser) skipNested(depth int) error {
	if depth > maxNesting {
		return p.wrong("arrays are nested more than %d deep", maxNesting)
	}
	switch p.peek() {
	case '[':
		return p.each(']', func() error { return p.skipNested(depth + 1) })
	case '{':
		return p.each('}', func() error {
			if _, err := p.quoted("a key in quotes"); err != nil {
				return err
			}
			if p.space(); p.peek() != ':' {
				return p.wrong("a colon is missing behind the key")
			}
			p.i++
			p.space()
			return p.skipNested(depth + 1)
		})
	}
	_, _, err := p.scalar()
	return err
}

// number is a number as it is written (RFC 8259 section 6).
func (p *objectParser) number() (string, error) {
	begin := p.i
	digits := func() bool {
		from := p.i
		for p.i < len(p.s) && '0' <= p.s[p.i] && p.s[p.i] <= '9' {
			p.i++
		}
		return p.i > from
	}
	if p.peek() == '-' {
		p.i++
	}
	zero := p.peek() == '0'
	whole := p.i
	ok := digits() && !(zero && p.i-whole > 1)
	if ok && p.peek() == '.' {
		p.i++
		ok = digits()
	}
	if c := p.peek(); ok && (c == 'e' || c == 'E') {
		p.i++
		if c := p.peek(); c == '+' || c == '-' {
			p.i++
		}
		ok = digits()
	}
	if !ok {
		return "", p.wrong("%q is no number: write it in quotes if it is a text", p.s[begin:p.i])
	}
	return p.s[begin:p.i], nil
}

// quoted is a string. want says what was expected where none begins.
func (p *objectParser) quoted(want string) (string, error) {
	if p.peek() != '"' {
		return "", p.wrong("%s is missing", want)
	}
	p.i++
	begin := p.i
	for p.i < len(p.s) && p.s[p.i] != '"' && p.s[p.i] != '\\' && p.s[p.i] >= 0x20 {
		p.i++
	}
	if p.peek() == '"' {
		p.i++
		return p.s[begin : p.i-1], nil
	}
	text := []byte(p.s[begin:p.i])
	for {
		switch c := p.peek(); {
		case p.i >= len(p.s):
			return "", p.wrong("a string is not closed")
		case c == '"':
			p.i++
			return string(text), nil
		case c < 0x20:
			return "", p.wrong("the control character %#02x stands in a string: write it as \\u%04x", c, c)
		case c == '\\':
			var err error
			if text, err = p.escape(text); err != nil {
				return "", err
			}
		default:
			text = append(text, c)
			p.i++
		}
	}
}

// escape reads what follows a backslash.
func (p *objectParser) escape(text []byte) ([]byte, error) {
	at := p.i
	p.i += 2
	if p.i > len(p.s) {
		return text, p.wrong("a string is not closed")
	}
	c := p.s[p.i-1]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		return append(text, "\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		p.i = at
		return text, p.wrong("\\%c is no escape of JSON", c)
	}
	r, ok := p.hex()
	if ok && utf16.IsSurrogate(r) {
		if strings.HasPrefix(p.s[p.i:], `\u`) {
			p.i += 2
			var low rune
			low, ok = p.hex()
			r = utf16.DecodeRune(r, low)
		}
		if ok && (r == utf8.RuneError || utf16.IsSurrogate(r)) {
			p.i = at
			return text, p.wrong("half a surrogate pair is no character")
		}
	}
	if !ok {
		p.i = at
		return text, p.wrong(`\u wants four hexadecimal digits`)
	}
	return utf8.AppendRune(text, r), nil
}

func (p *objectParser) hex() (rune, bool) {
	if p.i+4 > len(p.s) {
		return 0, false
	}
	n, err := strconv.ParseUint(p.s[p.i:p.i+4], 16, 16)
	p.i += 4
	return rune(n), err == nil
}
