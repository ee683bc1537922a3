package message

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/andybalholm/cascadia"
	"golang.org/x/net/html"
)

// Mail programs honour a style attribute; many drop <style>, or what in it they do not know. So the rules of every <style>
// move to the elements they match, in the order of the cascade, once a campaign. What cannot be said in an attribute stays:
// at-rules such as @media, selectors with a colon (:hover) or of siblings, and selectors that name a class, an id or an
// attribute that this page does not have, which mail programs put around it ([data-ogsc], #outlook, .ExternalClass). An
// attribute would win over these, so they become !important.
//
// The page is not known yet: it is a layout with holes. Its pieces are walked as they will stand in each other, with their
// actions held as tokens, and only the tags that get a style are changed; every other byte stays.

// inliner is the walk over one HTML part.
type inliner struct {
	tokens   *tokens
	owner    []*source // of each action
	pieces   map[string]stretch
	texts    map[*source]string
	parent   *html.Node
	elements []*element
	byPlace  map[place]*element
	sheets   []*sheet
	edits    map[*source][]edit
	names    map[string]bool // classes as ".x", ids as "#x"
	dynamic  bool            // some tag's attributes depend on the contact
	within   []string        // names of the pieces being walked
	lang     string
	base     string
}

// stretch is a piece of a source's held text.
type stretch struct {
	src        *source
	start, end int
}

type place struct {
	src *source
	off int
}

// element is one start tag. It is several nodes where its piece is taken in several times.
type element struct {
	place
	raw   string
	nodes []*html.Node
	style []declared
}

type declared struct {
	declaration
	specificity cascadia.Specificity
	order       int
}

// sheet is the content of one <style>.
type sheet struct {
	stretch      // of the text
	whole   edit // the element with its tags
}

type edit struct {
	start, end int
	text       string
}

// inlineStyles gives the pieces of an HTML part with their rules moved. base is what relative links are meant from.
func inlineStyles(p pieceSources, lang, base string) pieceSources {
	w := &inliner{pieces: map[string]stretch{}, texts: map[*source]string{}, byPlace: map[place]*element{}, edits: map[*source][]edit{},
		names: map[string]bool{}, lang: lang, base: base}
	w.hold(p)
	root := p.body
	if p.layout != nil {
		root = p.layout
	}
	w.parent = &html.Node{Type: html.DocumentNode}
	w.walk(stretch{root, 0, len(w.texts[root])})
	w.apply()
	out := pieceSources{layout: w.changed(p.layout), body: w.changed(p.body), partials: map[string]*source{}}
	for name, s := range p.partials {
		out.partials[name] = w.changed(s)
	}
	return out
}

// hold replaces the actions of all pieces by tokens of one kind: a rule's value may go from one piece to another.
func (w *inliner) hold(p pieceSources) {
	sources := map[string]*source{nameBody: p.body}
	if p.layout != nil {
		sources[nameLayout] = p.layout
	}
	for name, s := range p.partials {
		sources[name] = s
	}
	var all strings.Builder
	keys := slices.Sorted(maps.Keys(sources))
	for _, name := range keys {
		all.WriteString(sources[name].text)
	}
	w.tokens = &tokens{prefix: prefixFor(all.String())}
	for _, name := range keys {
		s := sources[name]
		var b strings.Builder
		last := 0
		for _, a := range actions(s.text) {
			b.WriteString(s.text[last:a.off])
			b.WriteString(w.tokens.token(len(w.tokens.actions), asIs))
			w.tokens.actions, w.owner = append(w.tokens.actions, a), append(w.owner, s)
			last = a.off + len(a.text)
		}
		b.WriteString(s.text[last:])
		w.texts[s] = b.String()
		w.pieces[name] = stretch{s, 0, b.Len()}
		w.define(s)
	}
}

var control = regexp.MustCompile("^\\{\\{-?\\s*(define|block|template|include|if|range|with|else|end)\\b\\s*(?:[\"`]([^\"`]*)[\"`])?")

// verb takes an action apart: if, range, end, or define with a name.
func verb(a action) (word, name string) {
	if m := control.FindStringSubmatch(a.text); m != nil {
		word, name = m[1], m[2]
	}
	if word == "include" {
		name = partialPrefix + name
	}
	return word, name
}

// define finds what stands between {{define "x"}} and its {{end}}: it belongs where x is called.
func (w *inliner) define(s *source) {
	text, depth, name, from := w.texts[s], 0, "", 0
	for off := 0; ; {
		start, end, i, _ := w.tokens.next(text[off:])
		if start < 0 || i < 0 {
			return
		}
		start, end = start+off, end+off
		word, what := verb(w.tokens.actions[i])
		switch word {
		case "define":
			if depth == 0 {
				name, from = what, end
			}
			depth++
		case "block", "if", "range", "with":
			if depth > 0 {
				depth++
			}
		case "end":
			if depth--; depth == 0 && name != "" {
				w.pieces[name] = stretch{s, from, start}
				name = ""
			}
			depth = max(0, depth)
		}
		off = end
	}
}

// walk reads the tags of a piece into the tree under w.parent.
func (w *inliner) walk(p stretch) {
	if len(w.within) > 40 {
		return // templates that call each other in a circle are refused elsewhere
	}
	text, entry := w.texts[p.src][p.start:p.end], w.parent
	z := html.NewTokenizer(strings.NewReader(text))
	off := p.start
	var branches []*html.Node // w.parent at each open {{if}}
	skip := 0                 // open actions within a {{define}}, which is walked where it is called
	for {
		kind := z.Next()
		raw := string(z.Raw())
		switch kind {
		case html.ErrorToken:
			w.parent = entry
			return
		case html.TextToken:
			if w.parent.Data != "style" && w.parent.Data != "title" && w.parent.Data != "script" && w.parent.Data != "textarea" {
				branches, skip = w.actions(raw, branches, skip)
			} else if w.parent.Data == "style" && skip == 0 {
				w.addSheet(stretch{p.src, off, off + len(raw)})
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			if skip == 0 {
				w.start(z.Token(), place{p.src, off}, raw, entry)
			}
		case html.EndTagToken:
			if skip == 0 {
				w.end(z.Token().Data, entry)
			}
		}
		off += len(raw)
	}
}

// actions follows the calls in running text, and makes the branches of an {{if}} brothers.
func (w *inliner) actions(text string, branches []*html.Node, skip int) ([]*html.Node, int) {
	for {
		_, end, i, _ := w.tokens.next(text)
		if i < 0 || end < 0 {
			return branches, skip
		}
		text = text[end:]
		word, name := verb(w.tokens.actions[i])
		switch word {
		case "define":
			skip++
		case "if", "range", "with", "block":
			if skip > 0 {
				skip++
				continue
			}
			branches = append(branches, w.parent)
			if word == "block" {
				w.call(name)
			}
		case "else":
			if skip == 0 && len(branches) > 0 {
				w.parent = branches[len(branches)-1]
			}
		case "end":
			if skip > 0 {
				skip--
			} else {
				branches = branches[:max(0, len(branches)-1)]
			}
		case "template", "include":
			if skip == 0 {
				w.call(name)
			}
		}
	}
}

func (w *inliner) call(name string) {
	p, ok := w.pieces[name]
	if !ok || slices.Contains(w.within, name) {
		return
	}
	w.within = append(w.within, name)
	w.walk(p)
	w.within = w.within[:len(w.within)-1]
}

// implied end tags: a new one of these ends an open one.
var endedBy = map[string][]string{"li": {"li"}, "dt": {"dt", "dd"}, "dd": {"dt", "dd"}, "td": {"td", "th"}, "th": {"td", "th"},
	"tr": {"td", "th", "tr"}, "tbody": {"td", "th", "tr", "tbody", "thead"}, "tfoot": {"td", "th", "tr", "tbody", "thead"}}

func (w *inliner) start(tag html.Token, at place, raw string, entry *html.Node) {
	for slices.Contains(endedBy[tag.Data], w.parent.Data) && w.parent != entry {
		w.parent = w.parent.Parent
	}
	if w.parent.Data == "p" && w.parent != entry && block[tag.Data] {
		w.parent = w.parent.Parent
	}
	if tag.Data == "tr" && w.parent.Data == "table" { // as browsers do
		w.parent = child(w.parent, &html.Node{Type: html.ElementNode, Data: "tbody"})
	}
	n := child(w.parent, &html.Node{Type: html.ElementNode, Data: tag.Data, DataAtom: tag.DataAtom, Attr: tag.Attr})
	for _, a := range tag.Attr {
		switch {
		case strings.Contains(a.Key, w.tokens.prefix), a.Key == "class" && strings.Contains(a.Val, w.tokens.prefix):
			w.dynamic = true
		case a.Key == "class":
			for _, c := range strings.Fields(a.Val) {
				w.names["."+c] = true
			}
		case a.Key == "id":
			w.names["#"+a.Val] = true
		}
	}
	e := w.byPlace[at]
	if e == nil {
		e = &element{place: at, raw: raw}
		w.byPlace[at] = e
		w.elements = append(w.elements, e)
		w.mend(e, tag)
	}
	e.nodes = append(e.nodes, n)
	if !void[tag.Data] && tag.Type != html.SelfClosingTagToken {
		w.parent = n
	}
}

// end closes the nearest element of that name, if the piece opened one.
func (w *inliner) end(name string, entry *html.Node) {
	for n := w.parent; n != entry && n != nil; n = n.Parent {
		if n.Data == name {
			w.parent = n.Parent
			return
		}
	}
}

func child(parent, n *html.Node) *html.Node {
	parent.AppendChild(n)
	return n
}

// addSheet takes a <style> up, unless it is for another medium, or its rules hang on the contact.
func (w *inliner) addSheet(p stretch) {
	media := ""
	for _, a := range w.parent.Attr {
		if a.Key == "media" {
			media = strings.ToLower(strings.TrimSpace(a.Val))
		}
	}
	text := w.texts[p.src]
	if media != "" && media != "all" && media != "screen" || slices.ContainsFunc(w.sheets, func(s *sheet) bool { return s.stretch == p }) {
		return
	}
	for rest := text[p.start:p.end]; ; {
		_, end, i, _ := w.tokens.next(rest)
		if i < 0 || end < 0 {
			break
		}
		if w.tokens.actions[i].control {
			return
		}
		rest = rest[end:]
	}
	from := strings.LastIndex(text[:p.start], "<")
	to := strings.IndexByte(text[p.end:], '>')
	if from < 0 || to < 0 {
		return
	}
	w.sheets = append(w.sheets, &sheet{p, edit{start: from, end: p.end + to + 1}})
}

// apply matches all rules with all elements.
func (w *inliner) apply() {
	order := 0
	for _, s := range w.sheets {
		var kept strings.Builder
		for _, r := range parseSheet(w.texts[s.src][s.start:s.end]) {
			var stay []string
			for _, selector := range r.selectors {
				if order++; !w.move(selector, r, order) {
					stay = append(stay, selector)
				}
			}
			switch {
			case r.selectors == nil:
				kept.WriteString(r.inMedia() + "\n")
			case len(stay) > 0 && slices.ContainsFunc(stay, func(s string) bool { return userAction.MatchString(s) || w.foreign(s) }):
				kept.WriteString(r.insist(stay) + "\n")
			case len(stay) > 0:
				fmt.Fprintf(&kept, "%s { %s }\n", strings.Join(stay, ", "), r.text)
			}
		}
		switch {
		case kept.Len() == 0:
			s.whole.end += len(w.texts[s.src][s.whole.end:]) - len(strings.TrimLeft(w.texts[s.src][s.whole.end:], " \t\n"))
			w.edits[s.src] = append(w.edits[s.src], s.whole)
		default:
			w.edits[s.src] = append(w.edits[s.src], edit{s.start, s.end, "\n" + kept.String()})
		}
	}
	for _, e := range w.elements {
		if len(e.style) > 0 {
			w.setStyle(e)
		}
	}
}

var userAction = regexp.MustCompile(`:(hover|active|focus)\b`)

// move gives the declarations of a rule to what its selector matches, and reports whether the rule has done its work.
func (w *inliner) move(selector string, r rule, order int) bool {
	plain := strings.ReplaceAll(selector, ":link", "[href]")
	if strings.ContainsAny(plain, ":+~") || r.custom {
		return false
	}
	sel, err := cascadia.Parse(plain)
	if err != nil {
		return false
	}
	done, matched := true, false
	for _, e := range w.elements {
		n := 0
		for _, node := range e.nodes {
			if sel.Match(node) {
				n++
			}
		}
		switch {
		case n == 0:
			continue
		case n < len(e.nodes) || !w.mayStyle(e):
			done = false
		default:
			for _, d := range r.declarations {
				e.style = append(e.style, declared{d, sel.Specificity(), order})
			}
		}
		matched = true
	}
	return done && (matched || !w.foreign(selector))
}

var namesIn = regexp.MustCompile(`[.#][\p{L}_-][\p{L}\p{N}_-]*`)

// foreign: the selector may match what a mail program puts around the page, or what a contact's values bring.
func (w *inliner) foreign(selector string) bool {
	if w.dynamic || strings.Contains(strings.ReplaceAll(selector, ":link", ""), "[") {
		return true
	}
	for _, name := range namesIn.FindAllString(selector, -1) {
		if !w.names[name] {
			return true
		}
	}
	return false
}

// mayStyle: a style attribute that is there for some contacts only cannot be added to.
func (w *inliner) mayStyle(e *element) bool {
	if e.nodes[0].Data == "head" || hiddenHead[e.nodes[0].Data] {
		return false
	}
	bare, has := false, false
	for _, a := range e.nodes[0].Attr {
		bare = bare || strings.Contains(a.Key, w.tokens.prefix)
		has = has || strings.HasSuffix(a.Key, "style") // {{if .x}}style="..."{{end}} is one word here
	}
	return !bare || !has
}

var hiddenHead = map[string]bool{"head": true, "meta": true, "title": true, "style": true, "link": true, "script": true, "base": true}

// setStyle writes the style attribute: the rules, then the element's own declarations, then what is !important.
func (w *inliner) setStyle(e *element) {
	slices.SortStableFunc(e.style, func(a, b declared) int {
		switch {
		case a.specificity.Less(b.specificity):
			return -1
		case b.specificity.Less(a.specificity):
			return 1
		}
		return cmp.Compare(a.order, b.order)
	})
	old, start, end := attributeAt(e.raw, "style")
	own := parseDeclarations(html.UnescapeString(old))
	ownText := strings.TrimSuffix(strings.TrimSpace(old), ";")
	var before, after []declaration
	for _, d := range e.style {
		list := &before
		if d.important {
			list = &after
		} else if slices.ContainsFunc(own, func(o declaration) bool { return o.property == d.property }) {
			continue
		}
		*list = slices.DeleteFunc(*list, func(o declaration) bool { return o.property == d.property })
		*list = append(*list, d.declaration)
	}
	var parts []string
	for _, d := range before {
		parts = append(parts, d.String())
	}
	if ownText != "" {
		parts = append(parts, ownText)
	}
	for _, d := range after {
		parts = append(parts, d.String())
	}
	value := `style="` + strings.Join(parts, ";") + `"`
	if start < 0 {
		start = len("<") + len(tagName(e.raw))
		end, value = start, " "+value
	}
	w.edits[e.src] = append(w.edits[e.src], edit{e.off + start, e.off + end, value})
}

func tagName(raw string) string {
	name := raw[1:]
	if i := strings.IndexAny(name, " \t\n\r\f/>"); i >= 0 {
		name = name[:i]
	}
	return name
}

// attributeAt finds an attribute in a start tag: its value as written, and where it begins and ends with its name.
func attributeAt(raw, name string) (value string, start, end int) {
	i := 1 + len(tagName(raw))
	for i < len(raw) {
		for i < len(raw) && strings.IndexByte(" \t\n\r\f/", raw[i]) >= 0 {
			i++
		}
		from := i
		for i < len(raw) && strings.IndexByte(" \t\n\r\f/>=", raw[i]) < 0 {
			i++
		}
		key := raw[from:i]
		j := i
		for j < len(raw) && strings.IndexByte(" \t\n\r\f", raw[j]) >= 0 {
			j++
		}
		v := ""
		if j < len(raw) && raw[j] == '=' {
			for j++; j < len(raw) && strings.IndexByte(" \t\n\r\f", raw[j]) >= 0; {
				j++
			}
			v, i = valueAt(raw, j)
		}
		if strings.EqualFold(key, name) {
			return v, from, i
		}
		if i == from { // ">" or what is no attribute
			i++
		}
	}
	return "", -1, -1
}

func valueAt(raw string, i int) (value string, end int) {
	if i < len(raw) && (raw[i] == '"' || raw[i] == '\'') {
		if n := strings.IndexByte(raw[i+1:], raw[i]); n >= 0 {
			return raw[i+1 : i+1+n], i + n + 2
		}
		return raw[i+1:], len(raw)
	}
	end = i
	for end < len(raw) && strings.IndexByte(" \t\n\r\f>", raw[end]) < 0 {
		end++
	}
	return raw[i:end], end
}

// changed is a source with its edits, its actions back in their places.
func (w *inliner) changed(s *source) *source {
	if s == nil || len(w.edits[s]) == 0 {
		return s
	}
	edits := w.edits[s]
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	var held strings.Builder
	last := 0
	for _, e := range edits {
		if e.start < last {
			continue
		}
		held.WriteString(w.texts[s][last:e.start] + e.text)
		last = e.end
	}
	held.WriteString(w.texts[s][last:])
	return w.restore(s, held.String())
}

// restore puts the actions back; a place in the new source leads to the user's file as one in the old did.
func (w *inliner) restore(s *source, text string) *source {
	out := &source{file: s.file, line: s.line, inFront: s.inFront, orig: s.orig, spans: []span{}}
	var b strings.Builder
	for {
		start, end, i, _ := w.tokens.next(text)
		if start < 0 || i < 0 {
			break
		}
		b.WriteString(literal(text[:start]))
		from := b.Len()
		a := w.tokens.actions[i]
		b.WriteString(a.text)
		if orig, ok := s.original(a.off); ok && w.owner[i] == s {
			out.spans = append(out.spans, span{from, b.Len(), orig})
		}
		text = text[end:]
	}
	b.WriteString(literal(text))
	out.text = b.String()
	return out
}

// literal keeps braces that came out of an entity (&#123;) from being an action.
func literal(s string) string { return strings.ReplaceAll(s, "{{", `{{"{{"}}`) }

// original is where in the file an action of the text stood; false: it was made on the way.
func (s *source) original(off int) (int, bool) {
	if s.spans == nil {
		return off, true
	}
	i, found := slices.BinarySearchFunc(s.spans, off, func(sp span, off int) int { return cmp.Compare(sp.start, off) })
	if !found {
		return 0, false
	}
	return s.spans[i].orig, true
}
