package message

import (
	"strings"

	"github.com/tdewolff/parse/v2"
	"github.com/tdewolff/parse/v2/css"
)

// rule is one statement of a style sheet.
type rule struct {
	selectors    []string // nil: an at-rule
	declarations []declaration
	custom       bool   // it sets a variable (--x), which an attribute would set for this element only
	text         string // an at-rule as it stands; of another rule what stands in its braces
}

type declaration struct {
	property, value string
	important       bool
}

// insist is the rule for these selectors with all it says made !important.
func (r rule) insist(selectors []string) string {
	var parts []string
	for _, d := range r.declarations {
		parts = append(parts, d.property+": "+d.value+" !important;")
	}
	if r.custom || parts == nil {
		parts = []string{r.text}
	}
	return strings.Join(selectors, ", ") + " { " + strings.Join(parts, " ") + " }"
}

// inMedia is an at-rule, the rules within a @media !important.
func (r rule) inMedia() string {
	prelude, body, rest, isBlock := statement(r.text)
	if !isBlock || strings.TrimSpace(rest) != "" || !strings.HasPrefix(strings.ToLower(prelude), "@media") {
		return r.text
	}
	var b strings.Builder
	b.WriteString(prelude + " {\n")
	for _, inner := range parseSheet(body) {
		if inner.selectors == nil {
			b.WriteString(inner.inMedia() + "\n")
		} else {
			b.WriteString(inner.insist(inner.selectors) + "\n")
		}
	}
	return b.String() + "}"
}

// String is the declaration in a quoted attribute.
func (d declaration) String() string {
	value := d.value
	if strings.Contains(value, `"`) && !strings.Contains(value, "'") {
		value = strings.ReplaceAll(value, `"`, "'")
	}
	return d.property + ":" + strings.NewReplacer("&", "&amp;", `"`, "&quot;").Replace(value)
}

// parseSheet splits a style sheet into its statements. What cannot be understood is kept as it stands.
func parseSheet(text string) []rule {
	text = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(withoutComments(text)), "<!--"), "-->")
	var rules []rule
	for {
		text = strings.TrimSpace(text)
		if text == "" {
			return rules
		}
		prelude, body, rest, isBlock := statement(text)
		whole := strings.TrimSpace(text[:len(text)-len(rest)])
		text = rest
		if !isBlock || strings.HasPrefix(prelude, "@") || strings.ContainsAny(body, "{}") {
			rules = append(rules, rule{text: whole})
			continue
		}
		r := rule{text: strings.TrimSpace(body), declarations: parseDeclarations(body), custom: strings.Contains(body, "--") && hasCustom(body)}
		for _, s := range splitTop(prelude, ',') {
			if s = strings.TrimSpace(s); s != "" {
				r.selectors = append(r.selectors, s)
			}
		}
		if r.selectors == nil {
			r.text = whole
		}
		rules = append(rules, r)
	}
}

// withoutComments takes the comments out, as the CSS lexer finds them.
func withoutComments(text string) string {
	lexer := css.NewLexer(parse.NewInputString(text))
	var b strings.Builder
	for {
		kind, data := lexer.Next()
		switch kind {
		case css.ErrorToken: // the end
			return b.String()
		case css.CommentToken:
			b.WriteByte(' ')
		default:
			b.Write(data)
		}
	}
}

// statement is the first statement of a style sheet: what stands before its block and in it, and the rest of the text.
func statement(text string) (prelude, body, rest string, isBlock bool) {
	lexer := css.NewLexer(parse.NewInputString(text))
	off, depth, open := 0, 0, 0
	for {
		kind, data := lexer.Next()
		end := off + len(data)
		switch kind {
		case css.ErrorToken:
			return text, "", "", false
		case css.SemicolonToken:
			if depth == 0 {
				return strings.TrimSpace(text[:off]), "", text[end:], false
			}
		case css.LeftBraceToken:
			if depth == 0 {
				open = end
			}
			depth++
		case css.RightBraceToken:
			if depth--; depth <= 0 {
				return strings.TrimSpace(text[:max(0, open-1)]), text[open:off], text[end:], open > 0
			}
		}
		off = end
	}
}

// splitTop splits at a separator that stands in no brackets and no string.
func splitTop(text string, sep byte) []string {
	lexer := css.NewLexer(parse.NewInputString(text))
	var parts []string
	off, depth, from := 0, 0, 0
	for {
		kind, data := lexer.Next()
		switch kind {
		case css.ErrorToken:
			return append(parts, text[from:])
		case css.LeftParenthesisToken, css.LeftBracketToken, css.FunctionToken:
			depth++
		case css.RightParenthesisToken, css.RightBracketToken:
			depth--
		case css.CommaToken, css.SemicolonToken:
			if depth == 0 && data[0] == sep {
				parts = append(parts, text[from:off])
				from = off + 1
			}
		}
		off += len(data)
	}
}

// parseDeclarations reads the inside of a rule or of a style attribute.
func parseDeclarations(text string) []declaration {
	var list []declaration
	for _, part := range splitTop(text, ';') {
		property, value, ok := strings.Cut(part, ":")
		property, value = strings.ToLower(strings.TrimSpace(property)), strings.Join(strings.Fields(value), " ")
		if !ok || property == "" || value == "" || strings.HasPrefix(property, "--") {
			continue
		}
		d := declaration{property: property, value: value}
		if bang := strings.LastIndexByte(value, '!'); bang >= 0 && strings.EqualFold(strings.TrimSpace(value[bang+1:]), "important") {
			d.value, d.important = strings.TrimSpace(value[:bang]), true
		}
		list = append(list, d)
	}
	return list
}

func hasCustom(body string) bool {
	for _, part := range splitTop(body, ';') {
		if strings.HasPrefix(strings.TrimSpace(part), "--") {
			return true
		}
	}
	return false
}
