package message

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// htmlToText makes the text part's template from HTML whose actions are held as tokens. It reads the stream of tags and
// builds no tree: a tree would move a {{range}} that stands between the rows of a table out of it.
func htmlToText(page string, t *tokens, o textOptions) string {
	w := &textWriter{tokens: t, textOptions: o, newlines: 2}
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken: // the end: the reader has no other error
			w.flush(1)
			w.writeNotes()
			return strings.TrimRight(w.out.String(), "\n") + "\n"
		case html.TextToken:
			w.text(string(z.Text()))
		case html.StartTagToken, html.SelfClosingTagToken:
			w.start(z.Token())
		case html.EndTagToken:
			w.end(z.Token().Data)
		}
	}
}

// textOptions are what the front matter says about the text part.
type textOptions struct {
	base      string // what relative links are meant from
	footnotes bool   // links are numbered, and listed at the end
}

type textWriter struct {
	textOptions
	tokens   *tokens
	notes    []string
	depth    int // open actions: a link within one is there for some contacts only
	out      strings.Builder
	newlines int // at the end of out
	para     strings.Builder
	space    string // white space between para and what comes next
	indents  []indent
	lists    []list
	links    []link
	open     bool // within an element that holds running text: a control token belongs to that text
	pre      int
	heading  string
	skip     string // the element whose content is not shown,
	skipped  int    // and how deep in it we are
}

// indent is what stands before each line within a list item or a quotation.
type indent struct {
	first, other string
	used         bool
}

type list struct {
	number  int // of the next item; 0: bullets
	dynamic bool
}

type link struct {
	href string
	from int // where its text begins in para
}

// hidden elements have nothing to read.
var hidden = map[string]bool{"head": true, "style": true, "script": true, "title": true, "template": true, "select": true}

// block elements hold other blocks; what stands between those is no running text.
var block = map[string]bool{"html": true, "body": true, "div": true, "table": true, "thead": true, "tbody": true, "tfoot": true, "tr": true,
	"ul": true, "ol": true, "dl": true, "section": true, "article": true, "header": true, "footer": true, "center": true,
	"blockquote": true, "figure": true, "hr": true, "p": true}

// void elements have no end tag.
var void = map[string]bool{"br": true, "hr": true, "img": true, "meta": true, "link": true, "input": true, "col": true, "wbr": true, "area": true, "base": true}

func (w *textWriter) start(tag html.Token) {
	name := tag.Data
	switch {
	case w.skip != "":
		if name == w.skip {
			w.skipped++
		}
		return
	case hidden[name] || !void[name] && isHidden(attribute(tag, "style")):
		if tag.Type == html.StartTagToken {
			w.skip, w.skipped = name, 1
		}
		return
	}
	w.open = w.open || !block[name]
	switch name {
	case "br":
		w.space = ""
		w.para.WriteByte('\n')
	case "img":
		w.text(attribute(tag, "alt"))
	case "hr":
		w.flush(2)
		w.line(strings.Repeat("-", 40))
		w.feed(2)
	case "a":
		w.links = append(w.links, link{attribute(tag, "href"), w.para.Len()})
	case "ul", "ol":
		w.startList(tag)
	case "li":
		w.flush(1)
		w.indents = append(w.indents, w.item())
		w.open = true
	case "blockquote":
		w.flush(2)
		w.indents = append(w.indents, indent{first: "> ", other: "> "})
	case "pre":
		w.flush(2)
		w.pre++
	case "h1", "h2", "h3", "h4", "h5", "h6":
		w.flush(2)
		w.heading, w.open = name, true
	case "td", "th":
		if strings.TrimSpace(w.para.String()) != "" {
			w.space = ""
			w.para.WriteString(" | ")
		}
	case "p":
		w.flush(2)
		w.open = true
	case "div", "table", "section", "article", "header", "footer", "center", "dl", "address", "figure", "dt", "dd", "figcaption":
		w.flush(2)
	case "tr":
		w.flush(1)
	default:
		if start, end, i, _ := w.tokens.next(name); i >= 0 && start == 0 && end == len(name) {
			w.text("<" + name + ">") // <{{.url}}>
		}
	}
}

func (w *textWriter) end(name string) {
	if w.skip != "" {
		if name == w.skip {
			if w.skipped--; w.skipped == 0 {
				w.skip = ""
			}
		}
		return
	}
	switch name {
	case "a":
		w.endLink()
	case "ul", "ol":
		w.flush(1)
		w.lists = w.lists[:max(0, len(w.lists)-1)]
		if len(w.lists) == 0 {
			w.feed(2)
		}
	case "li", "blockquote":
		w.flush(1)
		w.indents = w.indents[:max(0, len(w.indents)-1)]
		if name == "blockquote" {
			w.feed(2)
		}
	case "pre":
		w.flushPre()
		w.pre = max(0, w.pre-1)
	case "p", "h1", "h2", "h3", "h4", "h5", "h6", "div", "table", "section", "article", "header", "footer", "center", "dl", "address", "figure":
		w.flush(2)
	case "tr", "dt", "dd", "figcaption":
		w.flush(1)
	}
}

func (w *textWriter) startList(tag html.Token) {
	w.flush(1)
	l := list{}
	if tag.Data == "ol" {
		l.number = 1
		_, _ = fmt.Sscan(attribute(tag, "start"), &l.number) // no number: 1
	}
	if len(w.lists) == 0 {
		w.feed(2)
	}
	w.lists = append(w.lists, l)
}

// item is the indent of the next list item. In a list that a range makes, numbers cannot be known here.
func (w *textWriter) item() indent {
	mark := "- "
	if n := len(w.lists); n > 0 && w.lists[n-1].number > 0 && !w.lists[n-1].dynamic {
		mark = fmt.Sprintf("%d. ", w.lists[n-1].number)
		w.lists[n-1].number++
	}
	return indent{first: mark, other: strings.Repeat(" ", len(mark))}
}

// endLink writes the address behind a link's text, or alone where the text is the address already.
func (w *textWriter) endLink() {
	if len(w.links) == 0 {
		return
	}
	l := w.links[len(w.links)-1]
	w.links = w.links[:len(w.links)-1]
	para := w.para.String()
	text := strings.TrimSpace(para[min(l.from, len(para)):])
	href := absoluteURL(w.base, strings.TrimSpace(l.href), w.tokens)
	switch {
	case href == "" || strings.HasPrefix(href, "#"):
	case text == href || "mailto:"+text == href || "tel:"+text == href:
	case text == "":
		w.text(w.tokens.inURL(href))
	case w.footnotes && w.depth == 0:
		w.text(fmt.Sprintf(" [%d]", w.note(w.tokens.inURL(href))))
	default:
		w.text(" <" + w.tokens.inURL(href) + ">")
	}
}

// note is the number of a link in the list at the end.
func (w *textWriter) note(href string) int {
	i := slices.Index(w.notes, href)
	if i < 0 {
		i = len(w.notes)
		w.notes = append(w.notes, href)
	}
	return i + 1
}

func (w *textWriter) writeNotes() {
	if len(w.notes) > 0 {
		w.feed(2)
	}
	for i, href := range w.notes {
		w.raw(fmt.Sprintf("[%d] %s", i+1, href))
		w.feed(1)
	}
}

// follow counts the actions that are open behind s.
func (w *textWriter) follow(s string) {
	for {
		_, end, i, _ := w.tokens.next(s)
		if end < 0 || i < 0 {
			return
		}
		switch word, _ := verb(w.tokens.actions[i]); word {
		case "if", "range", "with", "block", "define":
			w.depth++
		case "end":
			w.depth--
		}
		s = s[end:]
	}
}

// text adds inline text, white space collapsed as HTML does.
func (w *textWriter) text(s string) {
	if w.skip != "" {
		return
	}
	s = unmarked(s)
	w.follow(s)
	if w.pre > 0 {
		w.para.WriteString(s)
		return
	}
	if !w.open && w.para.Len() == 0 && w.tokens.isControl(s) {
		w.control(strings.TrimSpace(s))
		return
	}
	for _, field := range splitSpace(s) {
		if strings.Trim(field, htmlSpace) == "" {
			w.space += field
			continue
		}
		w.join(field)
		w.para.WriteString(field)
	}
}

// join writes the white space that came before s: none at the beginning of a line, none for a line break between two
// wide characters, which only the file's own lines needed.
func (w *textWriter) join(s string) {
	space := w.space
	w.space = ""
	para := w.para.String()
	if space == "" || para == "" || strings.HasSuffix(para, "\n") {
		return
	}
	if strings.Contains(space, "\n") && wideAtEnd(para) && wideAtStart(s) {
		return
	}
	w.para.WriteByte(' ')
}

const htmlSpace = " \t\n\r\f"

// splitSpace cuts s into runs of white space and of everything else.
func splitSpace(s string) []string {
	var runs []string
	for s != "" {
		n := strings.IndexAny(s, htmlSpace)
		if n == 0 {
			n = len(s) - len(strings.TrimLeft(s, htmlSpace))
		}
		if n < 0 {
			n = len(s)
		}
		runs = append(runs, s[:n])
		s = s[n:]
	}
	return runs
}

func wideAtEnd(s string) bool {
	r := []rune(s[max(0, len(s)-4):])
	return len(r) > 0 && isWide(r[len(r)-1])
}

func wideAtStart(s string) bool {
	for _, r := range s {
		return isWide(r)
	}
	return false
}

// flush ends the paragraph and leaves at least n line ends behind it.
func (w *textWriter) flush(n int) {
	para := strings.Trim(w.para.String(), htmlSpace)
	w.para.Reset()
	w.space, w.open = "", false
	for i := range w.links {
		w.links[i].from = 0
	}
	switch {
	case para == "":
	case w.tokens.isControl(para):
		w.control(para)
		return
	default:
		w.paragraph(para)
		w.underline(para)
	}
	w.heading = ""
	if w.out.Len() > 0 {
		w.feed(n)
	}
}

// control writes tokens that print nothing, on no line of their own.
func (w *textWriter) control(s string) {
	w.out.WriteString(strings.Join(strings.Fields(s), ""))
	if n := len(w.lists); n > 0 {
		w.lists[n-1].dynamic = true
	}
}

// paragraph writes a paragraph: wrapped now, or marked to be wrapped once its values are known.
func (w *textWriter) paragraph(para string) {
	first, other := w.prefix()
	if _, _, i, _ := w.tokens.next(para); i < 0 || !strings.Contains(para, w.tokens.prefix) {
		w.raw(wrap(para, first, other))
		return
	}
	w.raw(markBegin + first + markSep + other + markSep + para + markEnd)
}

// underline sets off the two highest headings.
func (w *textWriter) underline(para string) {
	mark := map[string]string{"h1": "=", "h2": "-"}[w.heading]
	if mark == "" {
		return
	}
	n := 24
	if !strings.Contains(para, w.tokens.prefix) {
		n = min(columns(para), lineWidth)
	}
	w.feed(1)
	w.line(strings.Repeat(mark, n))
}

// flushPre writes preformatted text as it stands.
func (w *textWriter) flushPre() {
	text := strings.Trim(w.para.String(), "\n")
	w.para.Reset()
	for _, l := range strings.Split(text, "\n") {
		w.line(l)
		w.feed(1)
	}
	w.feed(2)
}

func (w *textWriter) line(s string) {
	first, _ := w.prefix()
	w.raw(strings.TrimRight(first+s, " "))
}

func (w *textWriter) raw(s string) {
	w.out.WriteString(s)
	w.newlines = 0
}

// feed writes line ends until there are n at the end.
func (w *textWriter) feed(n int) {
	for ; w.newlines < n; w.newlines++ {
		w.out.WriteByte('\n')
	}
}

// maxDepth is how many levels of lists and quotations are indented.
const maxDepth = 12

// prefix is what stands before the next line and before the ones that follow it.
func (w *textWriter) prefix() (first, other string) {
	for i := range min(len(w.indents), maxDepth) {
		in := &w.indents[i]
		if in.used {
			first += in.other
		} else {
			first += in.first
		}
		other += in.other
		in.used = true
	}
	return first, other
}

func attribute(tag html.Token, name string) string {
	for _, a := range tag.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// isHidden knows the ways in which a preheader is hidden.
func isHidden(style string) bool {
	s := strings.ToLower(strings.ReplaceAll(style, " ", ""))
	return strings.Contains(s, "display:none") || strings.Contains(s, "mso-hide:all")
}

// inURL marks the tokens of a URL for the escaping that their place asks for, and escapes the author's own non-ASCII
// letters and spaces, which would end the URL in running text.
func (t *tokens) inURL(href string) string {
	var b strings.Builder
	seen := ""
	for rest := href; ; {
		start, end, i, _ := t.next(rest)
		if start < 0 || i < 0 {
			b.WriteString(escapeURL(rest, "!#$&'()*+,/:;=?@[]%"))
			return b.String()
		}
		b.WriteString(escapeURL(rest[:start], "!#$&'()*+,/:;=?@[]%"))
		seen += rest[:start]
		use := byte(hrefPath)
		switch {
		case seen == "":
			use = hrefHead
		case strings.ContainsAny(seen, "?#"):
			use = hrefArg
		}
		if !t.actions[i].control {
			seen += "x"
		}
		b.WriteString(t.token(i, use))
		rest = rest[end:]
	}
}
