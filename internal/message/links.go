package message

import (
	"fmt"
	"html"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// Link is a link of a campaign as its templates have it, before any recipient.
type Link struct {
	Language string `json:"language,omitempty"` // of the file; "" for everybody's
	Part     string `json:"part"`               // html or text
	URL      string `json:"url"`                // with the actions as they are written: https://example.com/?p={{.pref}}
	Text     string `json:"text,omitempty"`     // what is clicked, in the HTML part
	Count    int    `json:"count"`              // how often it is in the part's templates
}

// The parts that a link is in.
const (
	PartHTML = "html"
	PartText = "text"
)

// LinkRewriter gives the address that takes the place of a link's, or the link's own. It is called once for each link of
// a campaign, when that is compiled; what differs from one recipient to the next it writes as an action, from the contact
// $ on, because the dot may be an item of a range. It is not asked about mailto:, tel:, places within the page, the
// address to unsubscribe, and an address that conditions are part of.
type LinkRewriter func(Link) string

// linking is what a document knows of its links.
type linking struct {
	links     []Link
	rewriters []LinkRewriter
}

// Links lists the links of all languages, each once a part.
func (t *Template) Links() []Link {
	var all []Link
	for _, d := range t.documents {
		all = append(all, d.links...)
	}
	return all
}

func (d *document) setRewriters(more []LinkRewriter) {
	if u := d.variant.Front.UTM; u.Source != "" {
		d.rewriters = append(d.rewriters, utmRewriter(u, d.id, d.from.Domain()))
	}
	d.rewriters = append(d.rewriters, more...)
}

// rewriteLinks enters the links of one part into the inventory and lets the rewriters change them. It works on the parsed
// trees: there no position in the user's file is lost, and html/template has not yet chosen its escaping.
func (d *document) rewriteLinks(t *trees, root, part string) error {
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		if seen[name] || t.list[name] == nil {
			return nil
		}
		seen[name] = true
		f := &flat{sources: t, tree: t.list[name], mark: prefixFor(t.list[name].Root.String())}
		f.list(f.tree.Root)
		if err := d.linksOf(f, part); err != nil {
			return err
		}
		for _, call := range calls(t.list[name].Root) {
			if err := visit(call.Name); err != nil {
				return err
			}
		}
		return nil
	}
	if err := visit(nameBody); err != nil { // what the author wrote comes first
		return err
	}
	return visit(root)
}

// flat is a tree as one text, in which a word stands for everything that is no text.
type flat struct {
	sources *trees
	tree    *parse.Tree
	mark    string
	text    strings.Builder
	held    []parse.Node // by the number in their word
	pieces  []textAt
}

// textAt is one text node, and where it begins in the flat text.
type textAt struct {
	start int
	node  *parse.TextNode
	list  *parse.ListNode
}

func (f *flat) list(l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			f.pieces = append(f.pieces, textAt{f.text.Len(), n, l})
			f.text.Write(n.Text)
		case *parse.IfNode:
			f.branch(n, &n.BranchNode)
		case *parse.WithNode:
			f.branch(n, &n.BranchNode)
		case *parse.RangeNode:
			f.branch(n, &n.BranchNode)
		case *parse.ActionNode:
			f.hold(n)
		default:
			f.text.WriteString(controlMark)
			f.hold(n)
		}
	}
}

// wordEnd ends a word; an address may begin behind it.
const wordEnd = "\x13"

// controlMark stands before the word of what prints nothing itself: in running text, an address ends there.
const controlMark = "\x11"

func (f *flat) branch(n parse.Node, b *parse.BranchNode) {
	for _, l := range []*parse.ListNode{b.List, b.ElseList, nil} {
		f.text.WriteString(controlMark)
		f.hold(n)
		f.list(l)
	}
}

func (f *flat) hold(n parse.Node) {
	f.held = append(f.held, n)
	f.text.WriteString(f.mark + strconv.Itoa(len(f.held)-1) + wordEnd)
}

// words are the nodes held in a stretch of the flat text; plain: all of them print something.
func (f *flat) words(s string) (nodes []parse.Node, plain bool) {
	plain = true
	for rest := s; ; {
		_, after, found := strings.Cut(rest, f.mark)
		if !found {
			return nodes, plain
		}
		number, tail, _ := strings.Cut(after, wordEnd)
		i, err := strconv.Atoi(number)
		if err != nil || i >= len(f.held) {
			return nodes, false
		}
		a, ok := f.held[i].(*parse.ActionNode)
		plain = plain && ok && len(a.Pipe.Decl) == 0
		nodes = append(nodes, f.held[i])
		rest = tail
	}
}

// written puts the actions back in place of their words, as the author wrote them.
func (f *flat) written(s string) string {
	for {
		before, after, found := strings.Cut(s, f.mark)
		if !found {
			return s
		}
		number, tail, _ := strings.Cut(after, wordEnd)
		i, err := strconv.Atoi(number)
		if err != nil || i >= len(f.held) {
			return before + tail
		}
		s = before + f.action(f.held[i]) + tail
	}
}

// textOnly is how the text part's own escaping is written around an action (tokens.go).
var textOnly = regexp.MustCompile(`^\{\{\((.*)\)\|_(head|path|arg)\}\}$`)

// action is a node's text in its source.
func (f *flat) action(n parse.Node) string {
	if s := f.sources.sources[f.tree.ParseName]; s != nil {
		pos := int(n.Position())
		for _, a := range actions(s.text) {
			if a.off <= pos && pos < a.off+len(a.text) {
				return textOnly.ReplaceAllString(a.text, "{{$1}}")
			}
		}
	}
	return "{{...}}"
}

// linkAt is an address in the flat text.
type linkAt struct {
	start, end int // of the address
	text       string
	open       bool // a condition may make it longer
	bare       bool // an attribute without quotes
}

// tags finds links, and what only looks like one: comments, styles and scripts.
var (
	tags   = regexp.MustCompile(`(?is)<!--.*?-->|<style\b.*?</style|<script\b.*?</script|<(?:a|area)\s(?:[^>"']|"[^"]*"|'[^']*')*>`)
	hrefIn = regexp.MustCompile(`(?i)\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))`)
	endTag = regexp.MustCompile(`(?i)</a\s*>`)
	anyTag = regexp.MustCompile(`(?s)<[^>]*>`)
	altIn  = regexp.MustCompile(`(?is)<img\b[^>]*\salt\s*=\s*(?:"([^"]*)"|'([^']*)')[^>]*>`)
)

func linksInHTML(text string) (found []linkAt) {
	for _, at := range tags.FindAllStringIndex(text, -1) {
		tag := text[at[0]:at[1]]
		if c := tag[1] | 0x20; c != 'a' {
			continue
		}
		m := hrefIn.FindStringSubmatchIndex(tag)
		if m == nil {
			continue
		}
		for g := 2; g <= 6; g += 2 {
			if m[g] < 0 {
				continue
			}
			l := linkAt{start: at[0] + m[g], end: at[0] + m[g+1], bare: g == 6}
			if end := endTag.FindStringIndex(text[at[1]:]); end != nil {
				inner := altIn.ReplaceAllString(text[at[1]:at[1]+end[0]], " $1$2 ")
				l.text = strings.Join(strings.Fields(html.UnescapeString(anyTag.ReplaceAllString(inner, " "))), " ")
			}
			found = append(found, l)
		}
	}
	return found
}

// controlWords are the words behind a controlMark.
var controlWords = regexp.MustCompile(controlMark + `mx[0-9a-f]{16}x\d+` + wordEnd)

func linksInText(text string) (found []linkAt) {
	for _, at := range urls.FindAllStringIndex(text, -1) {
		s, rest := text[at[0]:at[1]], ""
		if i := strings.IndexAny(s, marks+controlMark); i >= 0 {
			s, rest = s[:i], s[i:]
		}
		open := strings.TrimLeft(controlWords.ReplaceAllString(rest, ""), marks) != "" && rest[:1] == controlMark
		s = strings.TrimRight(s, ".,;:!?)'\"")
		found = append(found, linkAt{start: at[0], end: at[0] + len(s), open: open})
	}
	return found
}

// linksOf goes through the links of one tree.
func (d *document) linksOf(f *flat, part string) error {
	text := f.text.String()
	found := linksInHTML(text)
	if part == PartText {
		found = linksInText(text)
	}
	for _, at := range found {
		d.enter(f.link(d, at, part))
	}
	if len(d.rewriters) == 0 {
		return nil
	}
	for _, at := range slices.Backward(found) { // from the end: what stands before stays where it is
		link := f.link(d, at, part)
		nodes, plain := f.words(text[at.start:at.end])
		if !plain || at.open || !rewritable(link.URL) {
			continue
		}
		to := link
		for _, r := range d.rewriters {
			to.URL = r(to)
		}
		if to.URL == link.URL {
			continue
		}
		if err := f.replace(d.program, at, to.URL, nodes, part == PartHTML); err != nil {
			return fmt.Errorf("%s: rewrite the link %s: %w", d.variant.Path, link.URL, err)
		}
	}
	return nil
}

func (f *flat) link(d *document, at linkAt, part string) Link {
	url := f.text.String()[at.start:at.end]
	if part == PartHTML {
		url = html.UnescapeString(url)
	}
	return Link{Language: d.variant.Language, Part: part, URL: strings.TrimSpace(f.written(url)), Text: f.written(at.text), Count: 1}
}

func (d *document) enter(l Link) {
	i := slices.IndexFunc(d.links, func(k Link) bool { return k.Part == l.Part && k.URL == l.URL && k.Text == l.Text })
	if i < 0 {
		d.links = append(d.links, l)
		return
	}
	d.links[i].Count++
}

func rewritable(url string) bool {
	lower := strings.ToLower(url)
	if strings.Contains(url, "unsubscribe_url") {
		return false
	}
	return strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://") || strings.HasPrefix(url, "{{")
}

// replace puts a new address in place of the one at a place in the flat text. All of it lies in one list of nodes, since
// no condition begins or ends in it.
func (f *flat) replace(p *program, at linkAt, url string, old []parse.Node, escape bool) error {
	middle, err := f.nodes(p, url, old, escape)
	if err != nil {
		return err
	}
	if at.bare {
		quote := func() parse.Node { return &parse.TextNode{NodeType: parse.NodeText, Text: []byte(`"`)} }
		middle = append(append([]parse.Node{quote()}, middle...), quote())
	}
	first, last := f.pieceAt(at.start), f.pieceAt(at.end)
	if first.list == nil {
		return fmt.Errorf("no text stands before it")
	}
	list := first.list
	i := slices.Index(list.Nodes, parse.Node(first.node))
	var behind []parse.Node
	if last.list == list {
		rest := slices.Clone(last.node.Text[at.end-last.start:])
		behind = append(behind, &parse.TextNode{NodeType: parse.NodeText, Pos: last.node.Pos, Text: rest})
		behind = append(behind, list.Nodes[slices.Index(list.Nodes, parse.Node(last.node))+1:]...)
	} else { // an action ends the address, and the branch
		behind = append(behind, list.Nodes[slices.Index(list.Nodes, old[len(old)-1])+1:]...)
	}
	first.node.Text = first.node.Text[:at.start-first.start]
	list.Nodes = slices.Concat(list.Nodes[:i+1], middle, behind)
	return nil
}

// pieceAt is the text node that an offset is in, or which begins or ends there.
func (f *flat) pieceAt(off int) textAt {
	for _, p := range f.pieces {
		if p.start <= off && off <= p.start+len(p.node.Text) {
			return p
		}
	}
	return textAt{}
}

// nodes parses an address: an action of the old one keeps its node, a new one is the rewriter's.
func (f *flat) nodes(p *program, url string, old []parse.Node, escape bool) (list []parse.Node, err error) {
	text := func(s string) {
		if escape {
			s = html.EscapeString(s)
		}
		if s != "" {
			list = append(list, &parse.TextNode{NodeType: parse.NodeText, Text: []byte(s)})
		}
	}
	end, used := 0, map[parse.Node]bool{}
	for _, a := range actions(url) {
		text(url[end:a.off])
		end = a.off + len(a.text)
		if n := f.take(old, a.text, used); n != nil {
			list = append(list, n)
			continue
		}
		t, err := template.New("link").Funcs(p.all).Parse(a.text)
		if err != nil {
			return nil, err
		}
		maker, err := newNodeMaker("link", a.text)
		if err != nil {
			return nil, err
		}
		w := &rewriter{program: p, source: newSource("link", 1, a.text), make: maker}
		if w.list(t.Root, true); w.err != nil {
			return nil, w.err
		}
		list = append(list, t.Root.Nodes...)
	}
	text(url[end:])
	return list, nil
}

// take gives the first unused node of the old address that is written so, else any: one action may be there in several
// escapings. It is a copy, because html/template edits each node once.
func (f *flat) take(old []parse.Node, text string, used map[parse.Node]bool) (n parse.Node) {
	for _, o := range old {
		if f.action(o) == text && (n == nil || used[n] && !used[o]) {
			n = o
		}
	}
	if n == nil {
		return nil
	}
	used[n] = true
	return n.Copy()
}
