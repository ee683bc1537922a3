package message

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// Tokens stand for the actions of a template while its text goes through Markdown and HTML. A token is letters and
// digits only, so that it means nothing to either, wherever it stands: in text, in a link, in an attribute, in code. Its
// beginning occurs nowhere in the text, so that nothing the author wrote is taken for one; and a contact's values are put
// in long after the last token has gone.
type tokens struct {
	prefix  string
	actions []action
	orig    string
}

// What a restored action is put into; the letter ends its token.
const (
	asIs     = 'z'
	hrefHead = 'h' // first thing in a URL
	hrefPath = 'p' // within a URL
	hrefArg  = 'q' // behind its ? or #
)

// hold replaces every action by its token.
func hold(text string) (*tokens, string) {
	t := &tokens{prefix: prefixFor(text), actions: actions(text), orig: text}
	var b strings.Builder
	last := 0
	for i, a := range t.actions {
		b.WriteString(text[last:a.off])
		b.WriteString(t.token(i, asIs))
		last = a.off + len(a.text)
	}
	b.WriteString(text[last:])
	return t, b.String()
}

// prefixFor is the same for the same text, so that the same campaign gives the same bytes.
func prefixFor(text string) string {
	lower := strings.ToLower(text)
	for n := 0; ; n++ {
		sum := sha256.Sum256([]byte(strconv.Itoa(n) + text))
		if p := "mx" + hex.EncodeToString(sum[:8]) + "x"; !strings.Contains(lower, p) {
			return p
		}
	}
}

func (t *tokens) token(i int, use byte) string { return t.prefix + strconv.Itoa(i) + string(use) }

// next finds the first token in s: s[start:end] is it. start < 0: there is none.
func (t *tokens) next(s string) (start, end, index int, use byte) {
	start = strings.Index(s, t.prefix)
	if start < 0 {
		return -1, -1, 0, 0
	}
	end = start + len(t.prefix)
	for end < len(s) && '0' <= s[end] && s[end] <= '9' {
		index = index*10 + int(s[end]-'0')
		end++
	}
	if end == len(s) || index >= len(t.actions) { // cut in two: nothing that we call does that
		return start, end, -1, asIs
	}
	return start, end + 1, index, s[end]
}

// ends reports whether a token is the last thing in s.
func (t *tokens) ends(s string) bool {
	i := strings.LastIndex(s, t.prefix)
	if i < 0 {
		return false
	}
	_, end, _, _ := t.next(s[i:])
	return end == len(s)-i
}

// isControl reports whether s holds tokens of control actions and white space, and nothing else.
func (t *tokens) isControl(s string) bool {
	found := false
	for {
		start, end, i, _ := t.next(s)
		if start < 0 {
			return found && strings.TrimSpace(s) == ""
		}
		if strings.TrimSpace(s[:start]) != "" || i < 0 || !t.actions[i].control {
			return false
		}
		found, s = true, s[end:]
	}
}

// restore puts the actions back and says where they came from. Braces that an entity (&#123;) left in the text are
// written so that they stay text.
func (t *tokens) restore(text, file string, line int) *source {
	s := &source{file: file, line: line, orig: t.orig, spans: []span{}}
	var b strings.Builder
	literal := func(s string) {
		b.WriteString(strings.ReplaceAll(s, "{{", `{{"{{"}}`))
	}
	for {
		start, end, i, use := t.next(text)
		if start < 0 || i < 0 {
			break
		}
		literal(text[:start])
		from := b.Len()
		b.WriteString(t.actions[i].in(use))
		s.spans = append(s.spans, span{from, b.Len(), t.actions[i].off})
		text = text[end:]
	}
	literal(text)
	s.text = b.String()
	return s
}

// in is the action as it is written in a URL of the text part, escaped as html/template does for the HTML part.
func (a action) in(use byte) string {
	if use == asIs || a.control {
		return a.text
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(a.text, "{{"), "}}")
	inner = strings.TrimSuffix(strings.TrimPrefix(inner, "- "), " -")
	name := map[byte]string{hrefHead: "_head", hrefPath: "_path", hrefArg: "_arg"}[use]
	return "{{(" + inner + ")|" + name + "}}"
}
