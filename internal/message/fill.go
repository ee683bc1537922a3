package message

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// filler is the work space of one message: what a recipient puts between the constants. It is used again and again.
type filler struct {
	person
	buf   []byte // the texts of the slots
	segs  []seg
	para  []byte
	rest  bounded
	rests []string
	raw   []byte
	quads []byte
	out   []byte
	bare  bool // behind a paragraph that came out empty: the blank lines behind it go too
	trail      // glance.go
}

// seg is a piece of a part: one that is encoded by itself. A constant is taken from its op, text from buf.
type seg struct {
	op       *op
	from, to int // of op.text, or of buf
}

func (f *filler) text(s seg) []byte {
	if s.op != nil {
		return s.op.fixed.text[s.from:s.to]
	}
	return f.buf[s.from:s.to]
}

func (s seg) whole() bool { return s.op != nil && s.from == 0 && s.to == len(s.op.text) }

// fixed is what is known of a constant.
type fixed struct {
	text        []byte
	qp          []byte // in quoted-printable,
	open, white bool   // and how that ends (see appendQPPiece)
	base64      constant64
}

// fill executes a part's ops; false: the template package has to say what is wrong.
func (f *filler) fill(c *compiled) bool {
	f.segs, f.bare = f.segs[:0], false
	p := c.plan
	if p == nil {
		if !f.execute(c.executor) {
			return false
		}
		for _, s := range c.split(f.rest.String()) {
			f.add(c.link(s))
		}
		return true
	}
	return f.runRests(p) && f.run(p.ops, c)
}

// runRests executes what the template package has to run.
func (f *filler) runRests(p *plan) bool {
	if p.rest == nil {
		return true
	}
	if !f.execute(p.rest) {
		return false
	}
	f.rests = f.rests[:0]
	for s := range strings.SplitSeq(f.rest.String(), slotMark) {
		f.rests = append(f.rests, s)
	}
	return len(f.rests) == len(p.rests)+1
}

// execute runs a template into rest.
func (f *filler) execute(t executor) bool {
	f.rest.Reset()
	scope := f.scope // on the heap only here
	return t.Execute(&f.rest, &scope) == nil
}

func (f *filler) run(ops []op, c *compiled) bool {
	for i := range ops {
		o := &ops[i]
		switch o.kind {
		case opConstant:
			f.addConstant(o)
		case opSlot:
			s, ok := o.expr.text(&f.person)
			if !ok {
				return false
			}
			f.add(s)
		case opIf, opWith:
			yes, dot, ok := f.choose(o)
			if !ok || !f.run(o.branch(yes), c) {
				return false
			}
			f.dot = dot
		case opRest:
			s := c.link(f.rests[o.rest])
			if c.page || !strings.ContainsAny(s, marks) {
				f.add(s)
				continue
			}
			list, bare := segmentsBehind(s, f.bare)
			f.bare = false
			for _, s := range list {
				f.add(s)
			}
			f.bare = bare
		case opParagraph:
			f.para = f.para[:0]
			if !f.inline(o.then) {
				return false
			}
			if f.bare = isBlankLine(f.para); !f.bare {
				from := len(f.buf)
				f.buf = appendWrapped(f.buf, f.para, o.first, o.next)
				f.clean(from)
			}
		}
	}
	return true
}

// choose tells which branch is taken, and the dot to go back to behind it.
func (f *filler) choose(o *op) (yes bool, dot string, ok bool) {
	dot = f.dot
	if o.kind == opWith {
		s, ok := o.expr.text(&f.person)
		if s == "" || !ok {
			return false, dot, ok
		}
		f.dot = s
		return true, dot, true
	}
	yes, ok = o.expr.holds(&f.person)
	return yes, dot, ok
}

func (o *op) branch(yes bool) []op {
	if yes {
		return o.then
	}
	return o.other
}

// inline executes ops into the paragraph.
func (f *filler) inline(ops []op) bool {
	for i := range ops {
		switch o := &ops[i]; o.kind {
		case opConstant:
			f.para = append(f.para, o.text...)
		case opSlot:
			s, ok := o.expr.text(&f.person)
			if !ok {
				return false
			}
			f.para = append(f.para, s...)
		case opRest:
			f.para = append(f.para, f.rests[o.rest]...)
		default:
			yes, dot, ok := f.choose(o)
			if !ok || !f.inline(o.branch(yes)) {
				return false
			}
			f.dot = dot
		}
	}
	return true
}

// line executes ops into a text that is no part: a header field's. It is good until the next one.
func (f *filler) line(ops []op) (string, bool) {
	f.para = f.para[:0]
	ok := f.inline(ops)
	return string(f.para), ok
}

func (f *filler) addConstant(o *op) {
	from := 0
	for f.bare && from < len(o.text) && o.text[from] == '\n' {
		from++
	}
	if from < len(o.text) {
		f.bare = false
		f.segs = append(f.segs, seg{o, from, len(o.text)})
	}
}

func (f *filler) add(s string) {
	if f.bare {
		s = strings.TrimLeft(s, "\n")
	}
	if s == "" {
		return
	}
	f.bare = false
	from := len(f.buf)
	f.buf = append(f.buf, s...)
	f.clean(from)
}

// clean makes what is in buf from an offset on a segment, after canonical has seen it.
func (f *filler) clean(from int) {
	if s := f.buf[from:]; slices.Contains(s, '\r') || !utf8.Valid(s) {
		f.buf = append(f.buf[:from], lines(string(s))...)
	}
	if len(f.buf) > from {
		f.segs = append(f.segs, seg{nil, from, len(f.buf)})
	}
}

// finish ends the part with a line's end, as finishSegments does. trim: white space at the end goes.
func (f *filler) finish(trim bool) {
	for n := len(f.segs); n > 0; n = len(f.segs) {
		last := f.segs[n-1]
		text := f.text(last)
		if last.op != nil && last.to == len(last.op.text) && last.op.last {
			return
		}
		if !trim && text[len(text)-1] == '\n' {
			return
		}
		if trim {
			text = trimRight(text)
		}
		if len(text) > 0 {
			from := len(f.buf)
			f.buf = append(append(f.buf, text...), '\n')
			f.segs[n-1] = seg{nil, from, len(f.buf)}
			return
		}
		f.segs = f.segs[:n-1]
	}
	f.buf = append(f.buf, '\n')
	f.segs = append(f.segs, seg{nil, len(f.buf) - 1, len(f.buf)})
}

func trimRight(s []byte) []byte {
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t' || s[len(s)-1] == '\n') {
		s = s[:len(s)-1]
	}
	return s
}

func isBlankLine(s []byte) bool { return len(bytes.TrimSpace(s)) == 0 }

// finishSegments is the same for the segments of an executed template.
func finishSegments(list []string, trim bool) []string {
	var out []string
	for _, s := range list {
		if s = lines(s); s != "" {
			out = append(out, s)
		}
	}
	for len(out) > 0 {
		last := &out[len(out)-1]
		if !trim && strings.HasSuffix(*last, "\n") {
			return out
		}
		if trim {
			*last = strings.TrimRight(*last, " \t\n")
		}
		if *last != "" {
			*last += "\n"
			return out
		}
		out = out[:len(out)-1]
	}
	return []string{"\n"}
}

// joined is the part as people see it.
func (f *filler) joined() string {
	var b strings.Builder
	for _, s := range f.segs {
		b.Write(f.text(s))
	}
	return b.String()
}

// appendPart writes the segments in the part's encoding.
func (f *filler) appendPart(b []byte, base64 bool) []byte {
	if base64 {
		return f.appendBase64(b)
	}
	open, white := false, false
	for _, s := range f.segs {
		text := f.text(s)
		b = appendJoint(b, open, white, text[0])
		if s.whole() {
			b, open, white = append(b, s.op.fixed.qp...), s.op.fixed.open, s.op.fixed.white
		} else {
			b, open, white = appendQPPiece(b, text)
		}
	}
	return b
}

func (f *filler) appendBase64(b []byte) []byte {
	e := encoder64{b: b, quads: f.quads}
	for _, s := range f.segs {
		if s.whole() {
			e.constant(s.op.fixed.base64)
			continue
		}
		f.raw = appendCRLF(f.raw[:0], f.text(s))
		e.bytes(f.raw)
	}
	b = e.close()
	f.quads = e.quads
	return b
}

func appendCRLF(b, text []byte) []byte {
	for _, c := range text {
		if c == '\n' {
			b = append(b, '\r')
		}
		b = append(b, c)
	}
	return b
}

// prepare encodes the constants of a plan, and joins the constants that end in one.
func (p *plan) prepare(base64, trim bool) {
	if n := len(p.ops); n > 0 && p.ops[n-1].kind == opConstant {
		if last := finishSegments([]string{p.ops[n-1].text}, trim); last[0] != "\n" {
			p.ops[n-1].text, p.ops[n-1].last = last[0], true
		}
	}
	prepare(p.ops, base64)
}

func prepare(ops []op, base64 bool) {
	for i := range ops {
		o := &ops[i]
		prepare(o.then, base64)
		prepare(o.other, base64)
		if o.kind != opConstant {
			continue
		}
		o.fixed = &fixed{text: []byte(o.text)}
		if base64 {
			o.fixed.base64 = newConstant64(o.fixed.text)
		} else {
			o.fixed.qp, o.fixed.open, o.fixed.white = appendQPPiece(nil, o.fixed.text)
		}
	}
}

func cleanConstants(ops []op) {
	for i := range ops {
		if ops[i].kind == opConstant {
			ops[i].text = lines(ops[i].text)
		}
		if ops[i].kind != opParagraph { // what is wrapped is cleaned behind that
			cleanConstants(ops[i].then)
			cleanConstants(ops[i].other)
		}
	}
}

// constants are the constants of a plan, which decide how the part is encoded.
func constants(ops []op, list []string) []string {
	for _, o := range ops {
		if o.kind == opConstant || o.kind == opRest {
			list = append(list, o.text)
		}
		list = constants(o.other, constants(o.then, list))
	}
	return list
}
