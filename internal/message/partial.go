package message

import (
	"fmt"
	"html"
	"path"
	"strings"
	"text/template/parse"

	"mailer/internal/campaign"
)

// preheaderSpace stands behind a preheader, so that a mail program's list does not go on with the body's first words: what
// it shows of them is a line of nothing.
var preheaderSpace = strings.Repeat("&#847;&zwnj;&nbsp;", 40)

// partialPrefix is what the templates of partials are called by; {{include "x"}} is {{template "partial/x" .}}, or with $ where
// a with or a range has moved the dot.
const partialPrefix = "partial/"

// include is the call that stands for {{include "x"}}; nil: the action is none.
func (w *rewriter) include(n *parse.ActionNode) parse.Node {
	p := n.Pipe
	if len(p.Decl) > 0 || len(p.Cmds) != 1 || function(p.Cmds[0]) != "include" || len(p.Cmds[0].Args) != 2 {
		return nil
	}
	name, ok := p.Cmds[0].Args[1].(*parse.StringNode)
	if !ok {
		return nil
	}
	return w.make.template(p.Pos, n.Line, partialPrefix+name.Text, w.make.pipeline(n.Pos, w.make.contact(n.Pos, w.moved == 0)))
}

// pieceSources are the texts that one part is put together from.
type pieceSources struct {
	layout   *source // nil: the body is the whole part
	body     *source
	partials map[string]*source // by the names of their templates
}

func (d *document) htmlSources() (p pieceSources, err error) {
	v := d.variant
	if v.HTMLLayout != nil {
		p.layout = newSource(v.HTMLLayout.Name, 1, v.HTMLLayout.Source)
		if err := newProgram("", "", d.location).add(newTrees(), nameLayout, p.layout); err != nil {
			return p, err
		}
	}
	if p.body, err = d.convert(d.body(), v.Format, campaign.HTML); err != nil {
		return p, err
	}
	if p.partials, err = d.partials(campaign.HTML); err != nil {
		return p, err
	}
	return inlineStyles(p, v.Lang, v.Front.BaseURL), nil
}

// textSources takes the text part from, in this order: the .txt file beside, the front matter's text, the body of a .txt campaign, the HTML.
func (d *document) textSources() (p pieceSources, err error) {
	v := d.variant
	if v.TextLayout != nil {
		p.layout = newSource(v.TextLayout.Name, 1, v.TextLayout.Source)
	}
	if v.TextBody != "" {
		p.body = newSource(v.TextPath, 1, v.TextBody)
	} else if v.Front.Text != "" {
		p.body = newSource(v.Path, max(1, v.Lines["text"]), v.Front.Text)
		p.body.inFront = true
	} else if p.body, err = d.convert(d.body(), v.Format, campaign.Text); err != nil {
		return p, err
	}
	p.partials, err = d.partials(campaign.Text)
	return p, err
}

// partials are the sources of one part, HTML or text. Where a partial has only the other side, that is made into it.
func (d *document) partials(part string) (map[string]*source, error) {
	all := map[string]*source{}
	for _, p := range d.variant.Partials {
		side, other := p.HTML, p.Text
		if part == campaign.Text {
			side, other = other, side
		}
		if side == nil {
			side = other
		}
		s, err := d.converted(side, part)
		if err != nil {
			return nil, err
		}
		all[partialPrefix+p.Name] = s
	}
	return all, nil
}

// converted is a partial's file as HTML or as text. It is parsed as it was written first, as a body is.
func (d *document) converted(l *campaign.Layout, to string) (*source, error) {
	own := newSource(l.Name, 1, l.Source)
	if err := newProgram("", "", d.location).add(newTrees(), partialPrefix+l.Name, own); err != nil {
		return nil, err
	}
	return d.convert(own, strings.TrimPrefix(path.Ext(l.Name), "."), to)
}

// convert makes HTML or text of a source, its actions held as tokens meanwhile.
func (d *document) convert(s *source, from, to string) (*source, error) {
	if from == to {
		return s, nil
	}
	held, text := hold(s.text)
	switch from {
	case campaign.Markdown:
		page, err := markdownToHTML(text, held)
		if err != nil {
			return nil, fmt.Errorf("%s: markdown: %w", s.file, err)
		}
		text = page
	case campaign.Text:
		text = strings.ReplaceAll(html.EscapeString(strings.TrimRight(text, "\n")), "\n", "<br>\n") + "\n"
	}
	if to == campaign.Text {
		text = htmlToText(text, held, textOptions{base: d.variant.Front.BaseURL, footnotes: s.file == d.variant.Path && d.variant.Front.TextLinks == campaign.Footnotes})
	}
	return held.restore(text, s.file, s.line), nil
}

// isBuiltin: a template that came with mailer, which is right by itself.
func (d *document) isBuiltin(file string) bool {
	if l := d.variant.HTMLLayout; l != nil && l.Builtin && l.Name == file {
		return true
	}
	for _, p := range d.variant.Partials {
		if p.HTML != nil && p.HTML.Builtin && p.HTML.Name == file {
			return true
		}
	}
	return false
}
