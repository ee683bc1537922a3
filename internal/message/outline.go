package message

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/net/html"

	"mailer/internal/campaign"
)

// outline is what the rules have to say of all messages that took one way through a document.
type outline struct {
	fit      bool // false: each of them must be read
	text     stream
	page     stream   // what is read of the HTML part
	optOut   bool     // the words beside the way out are not sure: the text part has to be made
	size0    int      // of the HTML part, without its values
	links    []target // of the page, or of the text part where there is no page
	pictures []target
	after    []fault // of the pictures' addresses, all constant,
	alts     []fault // and for want of their texts
	features []fault
	letters  int // of the page without its values,
	least    int // and of the text without its URLs and values
}

// piece is a constant, or a slot's place between two.
type piece struct {
	text  string
	slot  int  // -1: a constant
	wraps bool // within a paragraph that is wrapped for each recipient,
	torn  bool // whose lines begin with more than white space
}

func constantPiece(s string) piece { return piece{text: s, slot: -1} }

// stream is a text as the rules read it. Values that touch are one run.
type stream struct {
	consts []piece
	runs   []run
}

// run is a slot, or several without anything between. With the constants around it one of lookedFor might arise, where the
// value begins with one of first or ends in one of last.
type run struct {
	from, to    int
	first, last string
	alone       bool // white space around it, or nothing
}

// target is where a link or picture leads, with what is constant of it.
type target struct {
	href, text []piece
	faults     []fault // of a link without slots, and of a plain one
	fixed      bool
	plain      bool // only what follows the host is not constant
	whole      int  // the slot that is all of href; -1: none
	lone       bool // and it is a link only if its value is a URL
}

// size is about how much memory an outline takes.
func (o *outline) size() int {
	n := int(unsafe.Sizeof(*o))
	for _, s := range []stream{o.text, o.page} {
		n += len(s.runs) * int(unsafe.Sizeof(run{}))
	}
	for _, l := range slices.Concat(o.links, o.pictures) {
		n += int(unsafe.Sizeof(l)) + (len(l.href)+len(l.text))*int(unsafe.Sizeof(piece{}))
		for _, p := range slices.Concat(l.href, l.text) {
			n += len(p.text)
		}
	}
	return n
}

// faults are those of a message whose slots are in f, in the order of the rules; false: it must be read.
func (o *outline) faults(f *filler, d *document, x *opened, texts int) (faults []fault, ok bool) {
	if s := []byte(x.subject); suspect(s, classOf(s), subjectMarks) {
		return nil, false
	}
	var more []string
	if d.html == nil {
		more = urlMarks
	}
	unsub := f.unsub
	inText, ok := o.text.harmless(f, more, func(v []byte) bool {
		return string(v) == unsub || bytes.IndexByte(v, '@') > 0 && strings.HasPrefix(unsub, "mailto:") && string(v) == mailtoAddress(unsub)
	})
	if !ok {
		return nil, false
	}
	inPage, ok := o.page.harmless(f, nil, func(v []byte) bool { return string(v) == unsub })
	if !ok {
		return nil, false
	}
	links, inLink, ok := o.linkFaults(f, unsub, d.html == nil)
	switch {
	case !ok:
		return nil, false
	case d.class != campaign.Marketing:
	case unsub == "", !inText, d.html != nil && !inPage && !inLink:
		return nil, false
	case o.optOut:
		f.fill(d.text)
		f.finish(true)
		if !containsAny(f.joined(), optOut...) {
			return nil, false
		}
	}
	if d.html != nil && o.letters+o.page.valueLetters(f, 5*o.least-o.letters) > 5*o.least {
		return nil, false
	}
	size := o.size0
	for i := texts; i < len(f.slots); i++ {
		size += len(f.printed(i))
	}
	faults = append(subjectRule(x), replyRule(x)...)
	if d.html != nil {
		faults = append(faults, sizeFaults(size)...)
	}
	faults = append(faults, o.alts...)
	faults = append(faults, links...)
	faults = append(faults, o.features...)
	return append(faults, valueRule(x)...), true
}

// valueLetters is how many letters the values have at most; exactly, if that is more than enough.
func (s *stream) valueLetters(f *filler, enough int) (n int) {
	for _, r := range s.runs {
		n += f.slots[r.to].to - f.slots[r.from].from
	}
	if n <= enough {
		return n
	}
	n = 0
	for _, r := range s.runs {
		n += letters(string(f.shown(r.from, r.to, isEntity)))
	}
	return n
}

// harmless reports whether no value is, or makes with the constants, one of lookedFor or of more; and whether the way out
// is among them.
func (s *stream) harmless(f *filler, more []string, isWayOut func(v []byte) bool) (found, ok bool) {
	for i := range s.runs {
		r := &s.runs[i]
		c := f.slots[r.from].class
		for j := r.from + 1; j <= r.to; j++ {
			c |= f.slots[j].class
		}
		v := f.shown(r.from, r.to, c)
		found = found || isWayOut(v)
		also := more
		if r.alone {
			also = nil // linkFaults looks at it
		}
		if strings.IndexByte(r.first, v[0]) >= 0 || strings.IndexByte(r.last, v[len(v)-1]) >= 0 || suspect(v, c, also) {
			return false, false
		}
	}
	return found, true
}

// linkFaults are linkRule's.
func (o *outline) linkFaults(f *filler, unsub string, inText bool) (faults []fault, out, ok bool) {
	for i := range o.links {
		l := &o.links[i]
		switch {
		case l.fixed:
			if len(l.faults) > 0 && l.href[0].text == unsub {
				return nil, false, false
			}
			faults = append(faults, l.faults...)
			continue
		case l.whole >= 0 && string(f.shown(l.whole, l.whole, f.slots[l.whole].class)) == unsub:
			out = true
			continue
		}
		if l.lone {
			switch u := string(f.printed(l.whole)); {
			case !strings.Contains(u, urlMarks[0]):
			case f.slots[l.whole].class&isStop != 0 || !webURL.MatchString(u):
				return nil, false, false
			case urlEnd(u) != unsub:
				faults = append(faults, hrefFaults(anchor{href: urlEnd(u)})...)
			}
			continue
		}
		c := l.classOf(f)
		switch {
		case inText && c&isStop != 0: // it ends earlier
			return nil, false, false
		case l.plain && c&(isUnsafe|isZ) == 0 && !l.dotted(f):
			continue
		}
		a := anchor{strings.TrimSpace(f.join(l.href)), strings.TrimSpace(f.join(l.text))}
		if inText {
			a.href = urlEnd(a.href)
		}
		if a.href == unsub {
			out = true
		} else {
			faults = append(faults, hrefFaults(a)...)
		}
	}
	for i := range o.pictures {
		if o.pictures[i].classOf(f)&(isUnsafe|isZ) != 0 {
			return nil, false, false
		}
	}
	return unique(append(faults, o.after...)), out, true
}

// classOf is the class of the values in a link's address. Where it is not unsafe, nor Z (of ZgotmplZ) among them, hrefFaults
// cannot tell them from letters.
func (l *target) classOf(f *filler) (all class) {
	for _, p := range l.href {
		if p.slot < 0 {
			continue
		}
		c := f.slots[p.slot].class
		v := f.shown(p.slot, p.slot, c)
		if c&isEntity != 0 {
			c = classOf(v)
		}
		if c&isPercent != 0 && !wholePercents(v) {
			c |= isUnsafe
		}
		all |= c
	}
	return all
}

// dotted reports whether the values in a link's text may be a host.
func (l *target) dotted(f *filler) bool {
	return slices.ContainsFunc(l.text, func(p piece) bool { return p.slot >= 0 && f.slots[p.slot].class&isDot != 0 })
}

func wholePercents(v []byte) bool {
	for i := range v {
		if v[i] == '%' && (i+2 >= len(v) || !isHex(v[i+1]) || !isHex(v[i+2])) {
			return false
		}
	}
	return true
}

func (f *filler) join(list []piece) string {
	var b strings.Builder
	for _, p := range list {
		if p.slot < 0 {
			b.WriteString(p.text)
		} else {
			b.Write(f.shown(p.slot, p.slot, f.slots[p.slot].class))
		}
	}
	return b.String()
}

// newOutline works out what the rules say on the way that f has taken.
func newOutline(f *filler, d *document, x *opened, texts int) *outline {
	b := &outliner{f: f, d: d, x: x, o: &outline{}}
	b.o.fit = b.build(texts)
	b.o.text.consts, b.o.page.consts = nil, nil // they have been looked at
	return b.o
}

type outliner struct {
	f *filler
	d *document
	x *opened
	o *outline

	next   int // slot
	pieces []piece
	bare   bool
	odd    bool // what a paragraph's lines begin with might be more than a mark of a quotation
}

func (b *outliner) build(texts int) bool {
	if !b.lay(b.d.text) || b.odd {
		return false
	}
	text, ok := b.f.stream(b.pieces, b.moreMarks())
	if b.o.text = text; !ok {
		return false
	}
	if len(text.runs) == 0 && !slices.ContainsFunc(text.consts, func(p piece) bool { return strings.TrimSpace(p.text) != "" }) {
		return false
	}
	if b.d.html == nil {
		return b.textLinks() && b.required()
	}
	b.o.least = leastLetters(b.pieces)
	b.pieces = nil
	return b.lay(b.d.html) && b.readPage(texts) && b.required()
}

func (b *outliner) moreMarks() []string {
	if b.d.html == nil {
		return urlMarks
	}
	return nil
}

// lay puts the pieces of a part in a row.
func (b *outliner) lay(c *compiled) bool {
	b.bare = false
	return b.f.runRests(c.plan) && b.row(c.plan.ops, c, nil)
}

func (b *outliner) row(ops []op, c *compiled, para *op) bool {
	for i := range ops {
		o := &ops[i]
		switch o.kind {
		case opConstant:
			b.constant(o.text, para)
		case opSlot:
			if n := b.next; len(b.f.printed(n)) > 0 {
				b.pieces, b.bare = append(b.pieces, piece{slot: n}), false
			}
			b.next++
		case opIf, opWith:
			yes, dot, ok := b.f.choose(o)
			if !ok || !b.row(o.branch(yes), c, para) {
				return false
			}
			b.f.dot = dot
		case opRest:
			s := b.f.rests[o.rest]
			switch {
			case para != nil:
				b.constant(s, para)
			case c.page || !strings.ContainsAny(c.link(s), marks):
				b.constant(c.link(s), nil)
			default:
				list, bare := segmentsBehind(c.link(s), b.bare)
				b.bare = false
				for _, s := range list {
					b.constant(s, nil)
				}
				b.bare = bare
			}
		case opParagraph:
			before := len(b.pieces)
			b.constant(o.first, o)
			if !b.row(o.then, c, o) {
				return false
			}
			b.odd = b.odd || strings.Trim(o.next, " >") != ""
			inner := b.pieces[before:]
			if o.first != "" {
				inner = inner[1:]
			}
			if b.bare = !slices.ContainsFunc(inner, func(p piece) bool { return p.slot >= 0 || strings.TrimSpace(p.text) != "" }); b.bare {
				b.pieces = b.pieces[:before]
			}
		}
	}
	return true
}

func (b *outliner) constant(s string, para *op) {
	s = lines(s)
	if para == nil {
		if b.bare {
			s = strings.TrimLeft(s, "\n")
		}
		b.bare = b.bare && s == ""
	}
	if s != "" {
		p := constantPiece(s)
		if p.wraps = para != nil; p.wraps {
			p.torn = strings.TrimSpace(para.next) != ""
		}
		b.pieces = append(b.pieces, p)
	}
}

// stream joins what touches, and finds out where one of lookedFor or of more might arise; false: a constant has one of lookedFor,
// or runs touch that do not follow each other.
func (f *filler) stream(pieces []piece, more []string) (s stream, ok bool) {
	forbidden := slices.Concat(lookedFor, more)
	before := "" // the constant behind the last run
	opens, closed := true, false
	var last *run
	fit := true
	end := func() { // of a constant
		fit = fit && !containsAny(before, lookedFor...)
		for _, w := range forbidden {
			for k := 1; k < len(w); k++ {
				if last != nil && strings.HasPrefix(before, w[k:]) {
					last.last += w[k-1 : k]
				}
			}
		}
	}
	for _, p := range pieces {
		switch {
		case p.slot < 0:
			s.consts = append(s.consts, p)
			before += p.text
			closed = true
		case last != nil && !closed:
			for i := last.to + 1; i < p.slot; i++ {
				if len(f.printed(i)) > 0 {
					return s, false
				}
			}
			if p.slot <= last.to {
				return s, false
			}
			last.to, last.alone = p.slot, false
		default:
			end()
			r := run{from: p.slot, to: p.slot, alone: before == "" || isSpace(before[len(before)-1]) || before[len(before)-1] == '\n'}
			for _, w := range forbidden {
				for k := 1; k < len(w); k++ {
					if strings.HasSuffix(before, w[:k]) {
						r.first += w[k : k+1]
					}
					if a := k; !opens && before != "" && a+len(before) < len(w) && w[a:a+len(before)] == before {
						r.first += w[a+len(before) : a+len(before)+1]
					}
				}
			}
			if last != nil {
				last.alone = last.alone && (before[0] == '\n' || isSpace(before[0]))
			}
			s.runs = append(s.runs, r)
			last = &s.runs[len(s.runs)-1]
			before, opens, closed = "", false, false
		}
	}
	end()
	if last != nil && before != "" {
		last.alone = last.alone && (before[0] == '\n' || isSpace(before[0]))
	}
	return s, fit
}

// openEntity reports whether a value behind s might make an entity of its end.
func openEntity(s string) bool {
	i := strings.LastIndexByte(s, '&')
	return i >= 0 && !strings.ContainsFunc(strings.TrimPrefix(s[i+1:], "#"), func(r rune) bool { return r >= 0x80 || !isAlphanumeric(byte(r)) })
}

// sentinels stand for the values while a page is taken apart. They have what breaks out of every place but a text and an
// attribute in quotes, and an entity, which is read in these two alone.
type sentinels struct{ prefix string }

func (s sentinels) html(i int) string { return s.prefix + strconv.Itoa(i) + "&#39; z" }

const sentinelEnd = "' z"

// cut takes a text apart at its sentinels; false: one is not whole.
func (s sentinels) cut(text, end string) (list []piece, ok bool) {
	for {
		before, rest, found := strings.Cut(text, s.prefix)
		if before != "" {
			list = append(list, constantPiece(before))
		}
		if !found {
			return list, true
		}
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		i, err := strconv.Atoi(rest[:digits])
		if text, found = strings.CutPrefix(rest[digits:], end); !found || err != nil {
			return nil, false
		}
		list = append(list, piece{slot: i})
	}
}

// readPage reads the HTML part with sentinels in it.
func (b *outliner) readPage(texts int) bool {
	var source, known strings.Builder
	for _, p := range b.pieces {
		known.WriteString(p.text)
	}
	s := sentinels{prefixFor(known.String())}
	slots := map[int]bool{}
	tail := ""
	for _, p := range b.pieces {
		if p.slot < 0 {
			source.WriteString(p.text)
			tail += p.text
			continue
		}
		if openEntity(tail) {
			return false
		}
		source.WriteString(s.html(p.slot))
		tail = "" // a value's entities are whole
		slots[p.slot] = true
	}
	if !s.stand(source.String(), len(slots)) {
		return false
	}
	page := inspect(source.String())
	b.x.page = page
	b.o.features = featureRule(b.x)
	read, ok := s.cut(page.text, sentinelEnd)
	if !ok {
		return false
	}
	if b.o.page, ok = b.f.stream(read, nil); !ok {
		return false
	}
	for _, a := range page.links {
		l, ok := s.link(a)
		if !ok {
			return false
		}
		b.o.links = append(b.o.links, l)
	}
	for _, p := range page.pictures {
		l, ok := s.link(anchor{href: p.src})
		switch {
		case !ok, !l.fixed && !(l.plain && p.alt):
			return false
		case l.fixed:
			b.o.after = append(b.o.after, srcFaults(p.src, b.x.embedded)...)
			b.o.alts = append(b.o.alts, altFaults(p)...)
		default:
			b.o.pictures = append(b.o.pictures, l)
		}
	}
	length := 0
	for _, p := range b.o.page.consts {
		b.o.letters += letters(p.text)
		length += len(p.text)
	}
	if len(page.pictures) > 0 && length < manyBytes && b.o.letters < fewLetters {
		return false
	}
	b.f.fill(b.d.html)
	b.f.finish(false)
	for _, g := range b.f.segs {
		b.o.size0 += g.to - g.from
	}
	for i := texts; i < len(b.f.slots); i++ {
		b.o.size0 -= len(b.f.printed(i))
	}
	return true
}

// stand reports whether n sentinels stand where a value cannot change what is around it.
func (s sentinels) stand(source string, n int) bool {
	count := func(text string) (found int, ok bool) {
		list, ok := s.cut(text, sentinelEnd)
		for _, p := range list {
			if p.slot >= 0 {
				found++
			}
		}
		return found, ok
	}
	z := html.NewTokenizer(strings.NewReader(source))
	within := ""
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			return n == 0
		case html.TextToken:
			found, ok := count(string(z.Text()))
			if !ok || found > 0 && (within == "style" || within == "script") {
				return false
			}
			n -= found
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			name, more := z.TagName()
			if within = ""; kind == html.StartTagToken {
				within = string(name)
			}
			if strings.Contains(string(name), s.prefix) {
				return false
			}
			for more {
				var k, v []byte
				k, v, more = z.TagAttr()
				key := string(k)
				found, ok := count(string(v))
				special := key == "style" || key == "rel" || key == "http-equiv" || strings.HasPrefix(key, "on")
				if !ok || strings.Contains(key, s.prefix) || special && found > 0 {
					return false
				}
				n -= found
			}
		default:
			if strings.Contains(string(z.Raw()), s.prefix) {
				return false
			}
		}
	}
}

// webURL is what urls finds, at the beginning of a value.
var webURL = regexp.MustCompile(`^(?i:https?)://.`)

// toHost is the beginning of an address in which the host is over.
var toHost = regexp.MustCompile(`^(?i:https?)://[A-Za-z0-9.-]+(:[0-9]+)?[/?#]`)

// link takes a link apart.
func (s sentinels) link(a anchor) (l target, ok bool) {
	l.whole = -1
	if l.href, ok = s.cut(a.href, sentinelEnd); !ok {
		return l, false
	}
	if l.text, ok = s.cut(a.text, sentinelEnd); !ok {
		return l, false
	}
	l.finish(a)
	return l, true
}

// finish looks at what is constant of a link.
func (l *target) finish(a anchor) {
	personal := func(list []piece) bool {
		return slices.ContainsFunc(list, func(p piece) bool { return p.slot >= 0 })
	}
	if !personal(l.href) && !personal(l.text) {
		l.fixed, l.faults = true, hrefFaults(a)
		if len(l.href) == 0 {
			l.href = []piece{constantPiece("")}
		}
		return
	}
	if len(l.href) == 1 && l.href[0].slot >= 0 {
		l.whole = l.href[0].slot
	}
	href, text, plain := "", "", len(l.href) > 0 && l.href[0].slot < 0 && toHost.MatchString(l.href[0].text)
	for _, p := range l.href {
		if href += p.text; p.slot >= 0 {
			href += "m" // no digit that would make a percent sign one character more
		}
		plain = plain && !strings.Contains(p.text, "Z")
	}
	for _, p := range l.text {
		if text += p.text; p.slot >= 0 {
			text += "m"
		}
	}
	if personal(l.text) && strings.Contains(text, ".") {
		plain = false
	}
	l.plain = plain && hrefFaults(anchor{href, strings.TrimSpace(text)}) == nil
}

// urlMarks: where there is no page, the URLs of the text part are its links, and each has this.
var urlMarks = []string{"://"}

// textLinks finds the URLs of a text part; false: where one begins depends on a value.
func (b *outliner) textLinks() bool {
	var known, source strings.Builder
	for _, p := range b.pieces {
		known.WriteString(p.text)
	}
	s := sentinels{prefixFor(known.String())}
	before := "" // the constants behind the last slot
	personal := false
	for _, p := range b.pieces {
		if p.slot >= 0 {
			source.WriteString(s.prefix + strconv.Itoa(p.slot) + "z")
			before, personal = "", true
			continue
		}
		source.WriteString(p.text)
		before += p.text
		if i := strings.Index(before, "://"); personal && i >= 0 && strings.TrimRight(before[:i], "htpsHTPS\u017f") == "" {
			return false
		}
	}
	page, from := source.String(), 0
	lone := func(to int) bool { // between two URLs
		list, ok := s.cut(page[from:to], "z")
		for _, p := range list {
			if p.slot >= 0 && slices.ContainsFunc(b.o.text.runs, func(r run) bool { return r.alone && r.from == p.slot && r.to == p.slot }) {
				b.o.links = append(b.o.links, target{href: []piece{p}, whole: p.slot, lone: true})
			}
		}
		return ok
	}
	for _, at := range urls.FindAllStringIndex(page, -1) {
		u := urlEnd(page[at[0]:at[1]])
		href, ok := s.cut(u, "z")
		if !ok || !lone(at[0]) {
			return false
		}
		from = at[0] + len(u)
		l := target{href: href, whole: -1}
		l.finish(anchor{href: u})
		b.o.links = append(b.o.links, l)
	}
	return lone(len(page))
}

// required reports whether the constants have what marketing mail must have.
func (b *outliner) required() bool {
	if b.d.class != campaign.Marketing {
		return true
	}
	if strings.HasPrefix(b.d.variant.Lang, "ja") {
		b.o.optOut = !b.o.text.has(func(s string) bool { return containsAny(s, optOut...) })
	}
	if !b.shows(&b.o.text, nil) {
		return false
	}
	return b.d.html == nil || b.shows(&b.o.page, b.o.links)
}

// shows reports whether a text says surely who sends it and how they are reached.
func (b *outliner) shows(s *stream, links []target) bool {
	for _, key := range []string{"organization", "postal_address"} {
		want := squeeze(b.x.sender[key])
		if want != "" && !slices.ContainsFunc(s.consts, func(p piece) bool { return !p.torn && strings.Contains(squeeze(p.text), want) }) {
			return false
		}
	}
	reply, address := b.x.sender["reply_to"], b.x.sender["address"]
	return s.has(func(s string) bool {
		return reply != "" && strings.Contains(s, reply) || address != "" && strings.Contains(s, address) || contactWords.MatchString(s) || phone.MatchString(s)
	}) || slices.ContainsFunc(links, func(l target) bool {
		return l.fixed && (strings.HasPrefix(l.href[0].text, "tel:") || reply != "" && strings.Contains(l.href[0].text, reply))
	})
}

// has reports whether a constant has something however its paragraph is wrapped: no line ends between two characters of
// ASCII but at white space.
func (s *stream) has(what func(string) bool) bool {
	return slices.ContainsFunc(s.consts, func(p piece) bool {
		if !p.wraps {
			return what(p.text)
		}
		return slices.ContainsFunc(strings.FieldsFunc(p.text, func(r rune) bool { return r <= ' ' || r >= 0x7f }), what)
	})
}

// urlStop ends a URL in running text.
var urlStop = regexp.MustCompile(`[\s<>"「」『』（）。、]`)

// urlBegins is what a value may make a URL of.
var urlBegins = regexp.MustCompile(`(?i)h(t(t(p(s?(:(//?)?)?)?)?)?)?$`)

// leastLetters is how many letters outside URLs a text part has at least. A value may be the beginning of a URL that goes on
// behind it, or the end of a beginning before it.
func leastLetters(pieces []piece) int {
	n, text, open := 0, "", false
	end := func() {
		if open {
			if at := urlStop.FindStringIndex(text); at == nil {
				text = ""
			} else {
				text, open = text[at[0]:], false
			}
		}
		text = urlBegins.ReplaceAllString(text, "")
		n += letters(urls.ReplaceAllString(text, ""))
		text = ""
	}
	for _, p := range pieces {
		if p.slot < 0 {
			text += p.text
			continue
		}
		end()
		open = true
	}
	end()
	return n
}
