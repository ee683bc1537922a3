package segment

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Error says what is wrong with an expression, and where.
type Error struct {
	Src     string
	Pos     Position
	Msg     string
	Nearest string // the known name that was probably meant
}

// Position is a place in an expression.
type Position struct {
	Offset int // bytes, from 0
	Line   int // from 1
	Column int // characters, from 1
}

// Error shows the line of the expression with a caret under the place.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "expression, line %d, column %d: %s", e.Pos.Line, e.Pos.Column, e.Msg)
	if e.Nearest != "" {
		fmt.Fprintf(&b, " (did you mean %s?)", e.Nearest)
	}
	line, caret := e.window()
	fmt.Fprintf(&b, "\n    %s\n    %s^", line, strings.Repeat(" ", caret))
	return b.String()
}

// The part of a line that is shown before and after the place.
const (
	shownBefore = 60
	shownAfter  = 40
)

// window is the part of the line around the place, and how many columns of the terminal stand before the caret.
func (e *Error) window() (string, int) {
	lines := strings.Split(e.Src, "\n")
	if e.Pos.Line < 1 || e.Pos.Line > len(lines) {
		return "", 0
	}
	line := []rune(strings.Map(printable, lines[e.Pos.Line-1]))
	at := min(max(e.Pos.Column-1, 0), len(line))
	from, to := max(0, at-shownBefore), min(len(line), at+shownAfter)
	columns := 0
	for _, r := range line[from:at] {
		columns += cells(r)
	}
	return string(line[from:to]), columns
}

func printable(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

// cells is how many columns of a terminal a character takes.
func cells(r rune) int {
	switch {
	case unicode.In(r, unicode.M, unicode.Cf):
		return 0
	case width.LookupRune(r).Kind() == width.EastAsianWide, width.LookupRune(r).Kind() == width.EastAsianFullwidth:
		return 2
	}
	return 1
}
