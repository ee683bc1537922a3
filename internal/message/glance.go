package message

import (
	"bytes"
	"encoding/binary"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// A glance is Look without the message. Two messages of a document differ in the way they took through the template
// (conditions, what is empty, what the template package printed) and in the values between its constants. What the rules
// say of the constants on one way is worked out once and kept as its outline (outline.go). A recipient then costs the
// execution of the slots and a look at their values. Whatever is not surely ordinary is left to read.
//
// What the rules depend on, and who answers here:
//
//	empty_subject, subject, reply, empty_field   the subject and the fields: the rules themselves, for everybody
//	obsolete_mark, leftover                      texts that must not be there. The outline knows that the constants have none,
//	                                             and how a value would have to begin or end to make one with them;
//	                                             the value by itself is searched. A find: read
//	sender, postal_address, contact,             texts that must be there: the outline has them in its constants,
//	unsubscribe_text                             or the way is left to read
//	unsubscribe                                  a slot that is the address, alone in the text and in the page or a link. None: read
//	text_part, image_only                        counts of letters: bounds from the constants and the values' lengths. Not sure: read
//	size                                         the constants' length and the values'
//	alt, html_feature                            tags and styles: constants. A value in one: read
//	link, link_http, link_short, link_text       the link: once, if it is constant or only what follows its host is not and the
//	                                             values there are plain; else for each recipient
//	missing_field, template, attachment          errors of the execution: read words them
//	all others                                   no recipient is asked (Preflight.campaign)
//
// With --links the addresses of all links are wanted: that is always read.

// trail is what is noted on the way through a document's templates.
type trail struct {
	key   []byte // the way: equal keys, equal constants
	slots []value
}

// value is what a slot prints: buf[from:to].
type value struct {
	from, to int
	class    class
}

// class tells what kinds of bytes a value has.
type class uint16

const (
	isOdd     class = 1 << iota // control characters: they end lines, and canonical forms change them
	isMarkup                    // would begin or end something in HTML
	isEntity                    // & begins an entity
	isSuspect                   // in texts that lookedFor has
	isBlank                     // the space
	isHigh                      // beyond ASCII
	isVisible                   // not a space
	isUnsafe                    // means something in a URL, or nothing there
	isStop                      // a URL in running text ends there
	isPercent
	isZ
	isDot
)

var classes = func() (table [256]class) {
	for i := range table {
		b, c := byte(i), class(isVisible)
		has := func(set string, is class) {
			if strings.IndexByte(set, b) >= 0 {
				c |= is
			}
		}
		has("<>\"'`", isMarkup)
		has("<>\"", isStop)
		has("&", isEntity)
		has("%", isPercent)
		has("Z", isZ)
		has(".", isDot)
		has("{}<*%$[:DXMZ", isSuspect) // each of lookedFor in ASCII has one of them, or a space
		switch {
		case b == ' ':
			c = isBlank | isUnsafe | isStop
		case b < ' ' || b == 0x7f:
			c |= isOdd | isUnsafe | isStop
		case b >= utf8.RuneSelf:
			c |= isHigh | isUnsafe | isStop
		case !isAlphanumeric(b) && strings.IndexByte("-._~%!$&*+,:;=?@/", b) < 0:
			c |= isUnsafe
		}
		table[i] = c
	}
	return table
}()

func classOf(s []byte) (c class) {
	for _, b := range s {
		c |= classes[b]
	}
	return c
}

// lookedFor are the texts that have a rule look closer at a text: a value that has none of them, and makes none with what
// stands around it, is nothing to these rules.
var lookedFor = func() []string {
	list := []string{oldMark, refusedURL}
	for _, l := range leftovers {
		list = append(list, l.hints...)
	}
	return list
}()

var subjectMarks = []string{subjectMark}

func suspect(v []byte, c class, more []string) bool {
	if c&(isSuspect|isBlank|isHigh) == 0 {
		return false
	}
	for _, list := range [][]string{lookedFor, more} {
		for _, s := range list {
			if len(s) <= len(v) && bytes.Contains(v, []byte(s)) {
				return true
			}
		}
	}
	return false
}

// outlines are the ways through a document that were met.
type outlines struct {
	mu    sync.RWMutex
	known map[string]*outline
	size  int
	met   atomic.Int64 // how often one was of use
}

// Bounds of what is kept: an outline has a few KB, and a key may hold what a {{range}} printed. A message on a way without one
// is read.
const (
	maxOutlines   = 2000
	freeOutlines  = 50 // one costs as much as reading five messages: more are made where those that were are of use
	perOutline    = 10
	maxOutlineKey = 8 << 10
	maxOutlineAll = 32 << 20
)

// of is the outline for a key; nil: there is none, and worth says whether to make one.
func (o *outlines) of(key []byte) (line *outline, worth bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if line = o.known[string(key)]; line != nil {
		o.met.Add(1)
		return line, false
	}
	n := int64(len(o.known))
	return nil, n < maxOutlines && o.size < maxOutlineAll && len(key) <= maxOutlineKey && n < freeOutlines+o.met.Load()/perOutline
}

func (o *outlines) keep(key []byte, line *outline) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known[string(key)] == nil {
		o.known[string(key)] = line
		o.size += len(key) + line.size()
	}
}

// glance looks at one recipient's values; false: the message must be read.
func (p *Preflight) glance(r Recipient, m Mark) (Seen, bool) {
	d, err := p.template.document(r)
	if err != nil || p.facts.Links || d.skeleton == nil || d.text.plan == nil || d.html != nil && d.html.plan == nil || d.checkMark(m) != nil {
		return Seen{}, false
	}
	f := p.template.filler(d, r, m)
	defer p.template.fillers.Put(f)
	subject, ok := f.fields(d, &p.template.files)
	if !ok {
		return Seen{}, false
	}
	texts, ok := f.trace(d)
	if !ok || !f.ordinary(texts) {
		return Seen{}, false
	}
	all := p.outlines[d]
	line, worth := all.of(f.key)
	if line == nil {
		if !worth {
			return Seen{}, false
		}
		x := p.opened(d, r)
		line = newOutline(f, d, &x, texts)
		all.keep(f.key, line)
	}
	if !line.fit {
		return Seen{}, false
	}
	x := opened{subject: subject, values: r.Values, asked: p.asked[d]}
	faults, ok := line.faults(f, d, &x, texts)
	return Seen{recipient: r, doc: d, faults: faults}, ok
}

// fields executes all that is not a part, and gives the subject.
func (f *filler) fields(d *document, files *files) (subject string, ok bool) {
	f.buf = f.buf[:0]
	s := d.skeleton
	if subject, ok = f.value(s.subject); !ok {
		return "", false
	}
	if _, ok = f.value(s.toName); !ok {
		return "", false
	}
	for _, l := range s.headers {
		if _, ok = f.value(l); !ok {
			return "", false
		}
	}
	if len(s.paths) > 0 {
		paths, ok := f.values(s.paths)
		if !ok || d.checkFiles(files, paths) != nil {
			return "", false
		}
	}
	return subject, true
}

// trace executes the slots of both parts, and no more. texts is how many of them are the text part's.
func (f *filler) trace(d *document) (texts int, ok bool) {
	f.key, f.slots = f.key[:0], f.slots[:0]
	if !f.runRests(d.text.plan) || !f.follow(d.text.plan.ops) {
		return 0, false
	}
	texts = len(f.slots)
	if d.html == nil {
		return texts, true
	}
	return texts, f.runRests(d.html.plan) && f.follow(d.html.plan.ops)
}

// follow notes each decision in the key, so that it can be read in one way only.
func (f *filler) follow(ops []op) bool {
	for i := range ops {
		switch o := &ops[i]; o.kind {
		case opSlot:
			s, ok := o.expr.text(&f.person)
			if !ok {
				return false
			}
			from := len(f.buf)
			f.buf = append(f.buf, s...)
			f.slots = append(f.slots, value{from: from, to: len(f.buf)})
			f.decide(s == "")
		case opIf, opWith:
			yes, dot, ok := f.choose(o)
			f.decide(yes)
			if !ok || !f.follow(o.branch(yes)) {
				return false
			}
			f.dot = dot
		case opRest:
			s := f.rests[o.rest]
			f.key = binary.AppendUvarint(f.key, uint64(len(s)))
			f.key = append(f.key, s...)
		case opParagraph:
			if !f.follow(o.then) {
				return false
			}
		}
	}
	return true
}

func (f *filler) decide(yes bool) {
	if yes {
		f.key = append(f.key, 1)
	} else {
		f.key = append(f.key, 0)
	}
}

// printed is what a slot prints, as it stands in the part.
func (f *filler) printed(i int) []byte { return f.buf[f.slots[i].from:f.slots[i].to] }

// ordinary classes the values; false: one of them might change how the message falls into lines and tags. An empty value is
// part of the way.
func (f *filler) ordinary(texts int) bool {
	for i := range f.slots {
		v := f.printed(i)
		c := classOf(v)
		if i < texts {
			c &^= isEntity // & is a character like others there
		}
		switch f.slots[i].class = c; {
		case c == 0:
		case c&isOdd != 0, c&isHigh != 0 && !utf8.Valid(v):
			return false
		case i < texts && (c&isVisible == 0 || c&isHigh != 0 && len(bytes.TrimSpace(v)) == 0): // an empty paragraph takes lines with it
			return false
		case i >= texts && (c&isMarkup != 0 || c&isEntity != 0 && !wholeEntities(v)):
			return false
		}
	}
	return true
}

// entities are those that html/template writes in the place of a character.
var entities = []struct {
	name string
	char byte
}{{"&#34;", '"'}, {"&amp;", '&'}, {"&#39;", '\''}, {"&#43;", '+'}, {"&lt;", '<'}, {"&gt;", '>'}}

func wholeEntities(v []byte) bool {
	for i := bytes.IndexByte(v, '&'); i >= 0; {
		n, _ := entity(v[i:])
		if n == 0 {
			return false
		}
		v = v[i+n:]
		i = bytes.IndexByte(v, '&')
	}
	return true
}

func entity(v []byte) (n int, char byte) {
	for _, e := range entities {
		if len(v) >= len(e.name) && string(v[:len(e.name)]) == e.name {
			return len(e.name), e.char
		}
	}
	return 0, 0
}

// shown is a stretch of values as they are read: without entities, of a page's.
func (f *filler) shown(from, to int, c class) []byte {
	v := f.buf[f.slots[from].from:f.slots[to].to]
	if c&isEntity == 0 {
		return v
	}
	f.para = f.para[:0]
	for i := 0; i < len(v); i++ {
		if n, char := entity(v[i:]); v[i] == '&' && n > 0 {
			f.para = append(f.para, char)
			i += n - 1
		} else {
			f.para = append(f.para, v[i])
		}
	}
	return f.para
}
