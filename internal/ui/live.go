package ui

import (
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// Live is some lines at the bottom of the terminal that are drawn anew in place: what is shown last takes the place of what was
// there. Lines that are written through Out meanwhile appear above. Several may be live at once, one below the other.
//
// The cursor stands at the beginning of the line below them all the time, so that whatever else is written there (the ^C of a
// terminal, the last words of a crash) begins on a line of its own.
type Live struct {
	o     *Out
	lines []string
}

// Watched reports whether somebody looks at standard error while it is written: a terminal that understands the control
// sequences, or --progress.
func (o *Out) Watched() bool {
	return o.Progress || Terminal(o.stderr) && os.Getenv("TERM") != "dumb" && understands(o.stderr)
}

// Live begins to show lines on standard error; nothing is shown unless it is Watched. Close it.
func (o *Out) Live() *Live {
	l := &Live{o: o}
	if o.Watched() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.lives = append(o.lives, l)
	}
	return l
}

// Size is the room for a Live: columns, and its share of the rows.
func (l *Live) Size() (columns, rows int) {
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	columns, rows = l.o.room()
	return columns, rows / max(1, len(l.o.lives))
}

// Show puts lines in the place of those that are there. What is too long or too much is cut.
func (l *Live) Show(lines ...string) {
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	l.lines = lines
	l.o.redraw()
}

// Close takes the lines off the screen.
func (l *Live) Close() {
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	l.o.lives = slices.DeleteFunc(l.o.lives, func(other *Live) bool { return other == l })
	l.o.redraw()
}

// The control sequences, ECMA-48 and the DEC mode for wrapping. A line that is wider than was thought (terminals differ about
// some characters) must be cut by the terminal and not go on in the next row, or the way back up would be too short.
const (
	clearToLineEnd = "\x1b[K"
	clearBelow     = "\x1b[J"
	wrapOff        = "\x1b[?7l"
	wrapOn         = "\x1b[?7h"
)

// redraw shows the lines of all that are live. It is one write, so that no signal leaves the terminal half done.
func (o *Out) redraw() {
	columns, rows := o.room()
	var lines []string
	for _, l := range o.lives {
		for _, line := range l.lines {
			lines = append(lines, Cut(Clean(line), columns))
		}
	}
	lines = lines[:min(len(lines), rows)]
	if slices.Equal(lines, o.drawn) && (columns == o.columns || len(lines) == 0) {
		return
	}
	var b strings.Builder
	b.WriteString(o.back(columns + 1))
	if len(lines) > 0 {
		b.WriteString(wrapOff)
		for _, line := range lines {
			b.WriteString(line + clearToLineEnd + "\n")
		}
		b.WriteString(wrapOn)
	}
	b.WriteString(clearBelow)
	io.WriteString(o.stderr, b.String())
	o.drawn, o.columns = lines, columns
}

// erase makes room for other text where the lines are. A redraw brings them back below it.
func (o *Out) erase() {
	if len(o.drawn) == 0 {
		return
	}
	columns, _ := o.room()
	io.WriteString(o.stderr, o.back(columns+1)+clearBelow)
	o.drawn = nil
}

// back is the way from below the lines to their first row. A window that was made narrower has broken them: most terminals do.
func (o *Out) back(width int) string {
	up := 0
	for _, line := range o.drawn {
		up += rowsOf(line, width)
	}
	if up == 0 {
		return "\r" // 0 would mean 1
	}
	return "\r\x1b[" + strconv.Itoa(up) + "A"
}

// rowsOf is how many rows a line fills. A full-width character that does not fit goes to the next row.
func rowsOf(line string, width int) int {
	rows, at := 1, 0
	for _, r := range line {
		w := runewidth.RuneWidth(r)
		if at+w > width {
			rows, at = rows+1, 0
		}
		at += w
	}
	return rows
}

// room is what lines may fill: the last column stays free, because a character there leaves the cursor in a state on which
// terminals do not agree, and the last row is the cursor's.
func (o *Out) room() (columns, rows int) {
	columns, rows = o.size()
	return max(columns-1, 1), max(rows-1, 0)
}

// sizeOf asks the terminal; it is asked anew each time, so nobody needs to be told when a window changes. What is none, or does
// not know, is taken for the classic one.
func sizeOf(w io.Writer) (columns, rows int) {
	if f, ok := w.(*os.File); ok {
		columns, rows, _ = term.GetSize(int(f.Fd()))
	}
	if columns <= 0 || rows <= 0 {
		return 80, 24
	}
	return columns, rows
}

// Width is how many columns a text fills.
func Width(s string) int { return runewidth.StringWidth(s) }

// Cut shortens a text to so many columns, with a sign that it was.
func Cut(s string, columns int) string {
	if Width(s) <= columns {
		return s
	}
	if columns <= Width("…") {
		return runewidth.Truncate(s, max(columns, 0), "")
	}
	return runewidth.Truncate(s, columns, "…")
}

// Pad fills a text up to so many columns.
func Pad(s string, columns int) string {
	return s + strings.Repeat(" ", max(0, columns-Width(s)))
}
