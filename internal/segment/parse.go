package segment

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"golang.org/x/text/unicode/norm"
)

// maxSource bounds what the parser gets: it recurses, and a list of thousands of addresses should be a list.
const maxSource = 64 << 10

// source is an expression as it was written. Places in it are counted in characters, as expr's parser does.
type source struct {
	text  string
	runes []rune
}

// slice is the text of a token.
func (s source) slice(l file.Location) string { return string(s.runes[l.From:l.To]) }

// fail makes the error at the character with index at.
func (s source) fail(at int, format string, args ...any) *Error {
	before := string(s.runes[:min(max(at, 0), len(s.runes))])
	return &Error{
		Src: s.text,
		Msg: fmt.Sprintf(format, args...),
		Pos: Position{
			Offset: len(before),
			Line:   1 + strings.Count(before, "\n"),
			Column: 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]),
		},
	}
}

// read parses an expression; the node is nil when there is nothing.
func read(text string) (source, ast.Node, error) {
	s := source{text: text}
	if !utf8.ValidString(text) {
		s.text = strings.ToValidUTF8(text, "\uFFFD")
		s.runes = []rune(s.text)
		return s, nil, s.fail(slices.Index(s.runes, utf8.RuneError), "the expression is not valid UTF-8")
	}
	s.runes = []rune(text)
	if len(text) > maxSource {
		return s, nil, s.fail(0, "the expression is longer than %d KB; put the people on a list and write list(\"NAME\")", maxSource>>10)
	}
	if strings.TrimSpace(text) == "" {
		return s, nil, nil
	}
	plain := string(readable(s.runes))
	if strings.TrimSpace(plain) == "" {
		return s, nil, s.fail(0, "there are only comments; for everybody write true")
	}
	tree, err := parser.ParseWithConfig(plain, grammar())
	if err != nil {
		return s, nil, s.syntaxError(err)
	}
	return s, tree.Node, nil
}

// grammar is expr's own without its if/else and built-in functions: a field may be called `if`, and which functions
// there are is decided in check.go.
func grammar() *conf.Config {
	config := conf.CreateNew()
	config.DisableIfOperator = true
	for _, name := range builtin.Names {
		config.Disabled[name] = true
	}
	return config
}

// readable is the source as expr's lexer takes it, character for character, so that places stay the same. Comments become
// spaces, those that begin with # too. In names the characters that the lexer does not know as part of one (the vowel
// signs of Hindi and Thai, the ・ of Japanese) become letters; names are then taken from the source itself.
func readable(runes []rune) []rune {
	out := slices.Clone(runes)
	for i := 0; i < len(out); {
		r, end := out[i], 0
		switch {
		case r == '"' || r == '\'' || r == '`':
			i = endOfString(out, i)
			continue
		case r == '#', r == '/' && i+1 < len(out) && out[i+1] == '/':
			end = endOfLine(out, i)
		case r == '/' && i+1 < len(out) && out[i+1] == '*':
			end = endOfBlock(out, i)
		case i > 0 && joins(r) && (out[i-1] == '_' || unicode.IsLetter(out[i-1]) || unicode.IsDigit(out[i-1])):
			out[i] = '_'
		}
		for ; i < end; i++ {
			out[i] = ' '
		}
		if end == 0 {
			i++
		}
	}
	return out
}

// joins tells characters that go on a name but are no letters: marks, the joiners of Persian and Indic scripts
// (UAX #31, section 2.3), and the middle dot between katakana words.
func joins(r rune) bool {
	return unicode.Is(unicode.M, r) || r == '\u200c' || r == '\u200d' || r == '・'
}

func endOfString(s []rune, i int) int {
	quote := s[i]
	for i++; i < len(s) && s[i] != quote; i++ {
		if s[i] == '\\' && quote != '`' {
			i++
		}
	}
	return min(i+1, len(s))
}

func endOfLine(s []rune, i int) int {
	for i < len(s) && s[i] != '\n' {
		i++
	}
	return i
}

// endOfBlock is 0 when the comment is not closed: expr's own error tells that.
func endOfBlock(s []rune, i int) int {
	for i += 3; i < len(s); i++ {
		if s[i] == '/' && s[i-1] == '*' {
			return i + 1
		}
	}
	return 0
}

var unexpectedToken = regexp.MustCompile(`^unexpected token \w+\((".*")\)$`)

// syntaxError puts expr's message in words for somebody who has never heard of tokens.
func (s source) syntaxError(err error) error {
	var e *file.Error
	if !errors.As(err, &e) {
		return s.fail(0, "%s", err)
	}
	at := e.From
	if at < 0 || at >= len(s.runes) || strings.HasPrefix(e.Message, "unexpected token EOF") {
		return s.fail(len(s.runes), "the expression ends too early")
	}
	r := s.runes[at]
	ascii := norm.NFKC.String(string(r))
	switch {
	case strings.ContainsRune("“”„‟«»", r):
		return s.fail(at, `%c is not a quote here; write "`, r)
	case strings.ContainsRune("‘’", r):
		return s.fail(at, `%c is not a quote here; write '`, r)
	case r > unicode.MaxASCII && len(ascii) == 1:
		return s.fail(at, "%c is full-width; write %s", r, ascii)
	case strings.HasPrefix(e.Message, "unrecognized character"):
		return s.fail(at, `%q cannot stand here; if it belongs to the name of a field, write field("NAME")`, r)
	case strings.HasPrefix(e.Message, "bad number syntax"):
		return s.fail(at, `a number cannot go on like this; if it begins the name of a field, write field("NAME")`)
	case e.Message == `unexpected token Operator("=")`:
		return s.fail(at, "= alone compares nothing; write ==")
	case strings.Contains(e.Message, "exceeds maximum allowed nodes"):
		return s.fail(at, "the expression has too many parts; put the people on a list and write list(\"NAME\")")
	}
	if m := unexpectedToken.FindStringSubmatch(e.Message); m != nil {
		return s.fail(at, "%s is not expected here", m[1])
	}
	return s.fail(at, "%s", e.Message)
}
