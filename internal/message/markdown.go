package message

import (
	"bytes"
	"regexp"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// markdownToHTML converts a Markdown body whose actions are held as tokens. The author's own HTML stays: the file is
// theirs. A contact's values are not in it yet, so none of them can become Markdown, HTML or a link.
func markdownToHTML(body string, t *tokens) (string, error) {
	blocks := &controlBlocks{t}
	md := goldmark.New(
		goldmark.WithExtensions(
			extension.Table, extension.Strikethrough, extension.Linkify,
		),
		goldmark.WithParserOptions(
			parser.WithBlockParsers(util.Prioritized(blocks, 50)),
			parser.WithASTTransformers(util.Prioritized(blocks, 500), util.Prioritized(linkAttributes{}, 600), util.Prioritized(lineBreaks{t}, 900)),
			parser.WithInlineParsers(util.Prioritized(cjkEmphasis{parser.NewEmphasisParser()}, 450)),
		),
		goldmark.WithRendererOptions(
			html.WithUnsafe(),
			renderer.WithNodeRenderers(util.Prioritized(blocks, 500)),
		),
	)
	var b bytes.Buffer
	if err := md.Convert([]byte(body), &b); err != nil {
		return "", err
	}
	return b.String(), nil
}

// controlBlocks makes a line that holds nothing but {{if}}, {{else}}, {{end}}, {{range}} and the like a block of its
// own, outside every paragraph: as part of one it would open or close an element too few.
type controlBlocks struct{ tokens *tokens }

var kindControl = ast.NewNodeKind("TemplateControl")

type controlNode struct{ ast.BaseBlock }

func (n *controlNode) Kind() ast.NodeKind            { return kindControl }
func (n *controlNode) IsRaw() bool                   { return true }
func (n *controlNode) Dump(source []byte, level int) { ast.DumpHelper(n, source, level, nil, nil) }

func (c *controlBlocks) Trigger() []byte { return []byte{c.tokens.prefix[0]} }

func (c *controlBlocks) Open(_ ast.Node, r text.Reader, _ parser.Context) (ast.Node, parser.State) {
	line, segment := r.PeekLine()
	if !c.tokens.isControl(string(line)) {
		return nil, parser.NoChildren
	}
	n := &controlNode{}
	n.Lines().Append(segment)
	r.AdvanceToEOL()
	return n, parser.NoChildren
}

func (c *controlBlocks) Continue(ast.Node, text.Reader, parser.Context) parser.State {
	return parser.Close
}
func (c *controlBlocks) Close(ast.Node, text.Reader, parser.Context) {}
func (c *controlBlocks) CanInterruptParagraph() bool                 { return true }
func (c *controlBlocks) CanAcceptIndentedLine() bool                 { return false }

// RegisterFuncs renders a control block as its tokens.
func (c *controlBlocks) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(kindControl, func(w util.BufWriter, source []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			for _, segment := range n.Lines().Sliced(0, n.Lines().Len()) {
				_, _ = w.Write(util.TrimRightSpace(util.TrimLeftSpace(segment.Value(source))))
			}
			_ = w.WriteByte('\n')
		}
		return ast.WalkContinue, nil
	})
}

// Transform moves the control blocks around a list into it, so that a range over items makes one list instead of many:
//
//	{{range .items}}
//	- {{.}}
//	{{end}}
func (c *controlBlocks) Transform(doc *ast.Document, _ text.Reader, _ parser.Context) {
	var lists []*ast.List
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if l, ok := n.(*ast.List); ok && entering {
			lists = append(lists, l)
		}
		return ast.WalkContinue, nil
	})
	for _, l := range lists {
		before, after := l.PreviousSibling(), l.NextSibling()
		if l.Parent() == nil || before == nil || after == nil || before.Kind() != kindControl || after.Kind() != kindControl {
			continue
		}
		l.InsertBefore(l, l.FirstChild(), before)
		l.AppendChild(l, after)
		join(l)
	}
}

// join appends a list that went on before the control blocks to the one that had them.
func join(l *ast.List) {
	if prev, ok := l.PreviousSibling().(*ast.List); ok && prev.Marker == l.Marker {
		for n := prev.LastChild(); n != nil; n = prev.LastChild() {
			l.InsertBefore(l, l.FirstChild(), n)
		}
		l.Start = prev.Start
		prev.Parent().RemoveChild(prev.Parent(), prev)
	}
	if next, ok := l.NextSibling().(*ast.List); ok && next.Marker == l.Marker {
		for n := next.FirstChild(); n != nil; n = next.FirstChild() {
			l.AppendChild(l, n)
		}
		next.Parent().RemoveChild(next.Parent(), next)
	}
}

// linkAttributes takes what stands in braces right behind a link or a picture for its attributes:
//
//	[Save your seat](https://example.com/){.button}
//	![The team](cid:team.jpg){width=280}
type linkAttributes struct{}

var attributeBraces = regexp.MustCompile(`^\{((?:\s*(?:\.[\w-]+|(?:width|height)=\d+))+)\s*\}`)

func (linkAttributes) Transform(doc *ast.Document, r text.Reader, _ parser.Context) {
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		t, ok := n.NextSibling().(*ast.Text)
		if kind := n.Kind(); !entering || !ok || kind != ast.KindLink && kind != ast.KindImage {
			return ast.WalkContinue, nil
		}
		m := attributeBraces.FindSubmatch(t.Value(r.Source()))
		if m == nil {
			return ast.WalkContinue, nil
		}
		t.Segment = t.Segment.WithStart(t.Segment.Start + len(m[0]))
		var classes [][]byte
		for _, word := range bytes.Fields(m[1]) {
			if key, value, ok := bytes.Cut(word, []byte("=")); ok {
				n.SetAttribute(key, value)
			} else {
				classes = append(classes, word[1:])
			}
		}
		if classes != nil {
			n.SetAttributeString("class", bytes.Join(classes, []byte(" ")))
		}
		return ast.WalkContinue, nil
	})
}

// lineBreaks joins the lines of a paragraph without a space where Japanese or Chinese goes on over the end of a line, and
// with one everywhere else. goldmark's own option joins at every comma, full stop and link too.
type lineBreaks struct{ tokens *tokens }

func (l lineBreaks) Transform(doc *ast.Document, r text.Reader, _ parser.Context) {
	var open *ast.Text // the text that ended its line
	var before []byte  // what stands before that end
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		t, ok := n.(*ast.Text)
		switch {
		case !entering:
		case ok:
			value := t.Value(r.Source())
			if open != nil && l.joins(before, value) {
				open.SetSoftLineBreak(false)
			}
			if len(value) > 0 {
				before = value
			}
			if open = nil; t.SoftLineBreak() {
				open = t
			}
		case n.Kind() != ast.KindEmphasis && n.Kind() != ast.KindLink:
			open, before = nil, nil
		}
		return ast.WalkContinue, nil
	})
}

// joins reports whether no space belongs between two lines. What an action will write is not known: the other side
// decides.
func (l lineBreaks) joins(before, after []byte) bool {
	a, _ := utf8.DecodeLastRune(before)
	b, _ := utf8.DecodeRune(after)
	switch {
	case bytes.HasPrefix(after, []byte(l.tokens.prefix)):
		return spaceless(a)
	case l.tokens.ends(string(before)):
		return spaceless(b)
	}
	return spaceless(a) && spaceless(b)
}

// spaceless reports whether r is of a script that puts no spaces between words.
func spaceless(r rune) bool { return isWide(r) && !unicode.Is(unicode.Hangul, r) }

// cjkEmphasis lets ** begin and end beside Japanese, Chinese and Korean letters. CommonMark's flanking rules wait for
// white space around punctuation, which these scripts do not write: **「セール」**です stays literal without this.
type cjkEmphasis struct{ parser.InlineParser }

func (e cjkEmphasis) Parse(parent ast.Node, block text.Reader, pc parser.Context) ast.Node {
	before := block.PrecendingCharacter()
	n := e.InlineParser.Parse(parent, block, pc)
	d, ok := n.(*parser.Delimiter)
	if !ok || d.Char != '*' {
		return n
	}
	line, _ := block.PeekLine() // behind the delimiter
	after, _ := utf8.DecodeRune(line)
	if len(line) == 0 {
		after = '\n'
	}
	d.CanOpen = d.CanOpen || isCJK(before) && !unicode.IsSpace(after)
	d.CanClose = d.CanClose || isCJK(after) && !unicode.IsSpace(before)
	return n
}

func isCJK(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul) || 0x3000 <= r && r <= 0x303f || 0xff00 <= r && r <= 0xffef
}
