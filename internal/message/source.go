package message

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A source is a text that is parsed as a template, and the way back from a place in it to the user's file. Where the
// text was generated (Markdown made HTML, HTML made text), spans says which stretch of it is which action of the file.
type source struct {
	file    string
	line    int    // of the first character of orig in the file
	inFront bool   // a value in the front matter: its column says nothing
	orig    string // as it stands in the file
	text    string // what is parsed; orig itself when there are no spans
	spans   []span
}

// span maps text[start:end] to orig[orig:].
type span struct{ start, end, orig int }

func newSource(file string, line int, text string) *source {
	return &source{file: file, line: line, orig: text, text: text}
}

// position is the place in the file that an offset in text stands for; a place between two actions is given to the one
// before it.
func (s *source) position(off int) (line, col int) {
	if s.spans != nil {
		i, _ := slices.BinarySearchFunc(s.spans, off+1, func(sp span, off int) int { return sp.start - off })
		if i == 0 {
			return s.line, 0
		}
		sp := s.spans[i-1]
		off = sp.orig + min(off, sp.end-1) - sp.start
	}
	before := s.orig[:min(max(off, 0), len(s.orig))]
	line = s.line + strings.Count(before, "\n")
	if !s.inFront {
		col = len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	}
	return line, col
}

// offset is where a line and byte column of text begin, as text/template counts them (lines from 1, columns from 0).
func (s *source) offset(line, col int) int {
	off := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(s.text[off:], '\n')
		if i < 0 {
			break
		}
		off += i + 1
	}
	return min(off+col, len(s.text))
}

// located is the front of an error of text/template or html/template.
var located = regexp.MustCompile(`^(?:html/)?template: ?([^:]*):(\d+)(?::(\d+))?: (?s:(.*))$`)

// unclosed says where the action begins, once the lexer has gone on to the next line.
var unclosed = regexp.MustCompile(`^unclosed action(?: started at .*:(\d+))?$`)

// locate turns a template error's own place into the file's. Errors of parsing name only a line.
func locate(sources map[string]*source, err error) *RenderError {
	out := &RenderError{Err: err, msg: err.Error()}
	m := located.FindStringSubmatch(err.Error())
	if m == nil || sources[m[1]] == nil {
		return out
	}
	s := sources[m[1]]
	line, _ := strconv.Atoi(m[2])
	col, _ := strconv.Atoi(m[3])
	out.File, out.msg = s.file, m[4]
	if open := unclosed.FindStringSubmatch(out.msg); open != nil {
		out.msg = "an action begins with {{ and is not closed by }}"
		if n, err := strconv.Atoi(open[1]); err == nil {
			line = n
		}
	} else if out.msg == "unexpected EOF" {
		out.msg = "the text ends within an {{if}}, {{range}} or {{with}}: {{end}} is missing"
	}
	if m[3] == "" && s.spans != nil {
		line, col = line+1, 0 // the last action that begins on that line
		out.Line, _ = s.position(s.offset(line, 0) - 1)
		return out
	}
	out.Line, out.Col = s.position(s.offset(line, col))
	if m[3] == "" {
		out.Col = 0
	}
	return out
}

// action is one {{...}} of a source.
type action struct {
	text    string
	off     int
	control bool // prints nothing itself: if, else, end, range, with, define, template, block, a comment or an assignment
}

var controlWord = regexp.MustCompile(`^(?:(?:if|else|end|range|with|define|template|include|block|break|continue)(?:\s|$)|/\*|\$\w*\s*(?:,\s*\$\w+\s*)?:?=)`)

// actions finds the actions of a text that parses as a template, by the rules of text/template's lexer.
func actions(text string) []action {
	var list []action
	for off := 0; ; {
		i := strings.Index(text[off:], "{{")
		if i < 0 {
			return list
		}
		start := off + i
		end := actionEnd(text, start)
		inner := strings.TrimSpace(strings.Trim(text[start+2:max(start+2, end-2)], "-"))
		list = append(list, action{text: text[start:end], off: start, control: controlWord.MatchString(inner)})
		off = end
	}
}

// actionEnd is the offset behind the }} that closes the action at start: not one in a string or a comment.
func actionEnd(text string, start int) int {
	i := start + 2
	if rest := strings.TrimPrefix(text[i:], "- "); strings.HasPrefix(rest, "/*") {
		if j := strings.Index(text[i:], "*/"); j >= 0 {
			i += j + 2
		}
	}
	for i < len(text) {
		switch c := text[i]; c {
		case '}':
			if strings.HasPrefix(text[i:], "}}") {
				return i + 2
			}
		case '"', '\'', '`':
			i = quoteEnd(text, i)
			continue
		}
		i++
	}
	return len(text)
}

func quoteEnd(text string, i int) int {
	quote := text[i]
	for i++; i < len(text); i++ {
		switch {
		case text[i] == quote:
			return i + 1
		case text[i] == '\\' && quote != '`':
			i++
		}
	}
	return len(text)
}
