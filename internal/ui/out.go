// Package ui is the face of the program: text for people, JSON lines for scripts, progress on a terminal. Nothing below
// it prints; the verbs report events.
//
// The law of the streams: with --json, standard output holds JSON objects only, one a line, each with message_type, and
// people's text goes to standard error. Without it people's text goes to standard output. Progress goes to standard error
// and only to a terminal, unless asked for; what takes long may say so in a log, a line a minute (Notef).
package ui

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"mailer/internal/spelling"
)

// Out writes for people or for scripts. It is safe for concurrent use.
type Out struct {
	JSON     bool // --json
	Progress bool // --progress: also where standard error is no terminal

	mu     sync.Mutex
	ended  bool  // a summary was written: it is the last line
	failed error // the first text for people that could not be written
	stdout io.Writer
	stderr io.Writer

	lives   []*Live  // in the order in which they were begun
	drawn   []string // their lines that stand on the terminal
	columns int      // that they were cut for
	size    func() (columns, rows int)
}

// New returns an Out on the two streams.
func New(stdout, stderr io.Writer) *Out {
	return &Out{stdout: stdout, stderr: stderr, size: func() (int, int) { return sizeOf(stderr) }}
}

// Emit writes v (a struct or map that marshals to a JSON object) as one JSON line with message_type first. Without
// --json it writes nothing: people get their own text.
func (o *Out) Emit(messageType string, v any) error {
	if !o.JSON {
		return nil
	}
	line, err := jsonLine(messageType, v)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = o.ended || messageType == "summary"
	return o.write(o.stdout, string(line))
}

// EmitError writes an error as the last JSON line of a command that has no summary. After a summary it writes nothing:
// scripts take that from the last line. An error without a text only has a code: what happened was told already.
func (o *Out) EmitError(err error, code int) error {
	if o.ended || err.Error() == "" {
		return nil
	}
	return o.Emit("error", struct {
		Error string `json:"error"`
		Code  int    `json:"exit_code"`
	}{err.Error(), code})
}

func jsonLine(messageType string, v any) ([]byte, error) {
	var body strings.Builder
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("write json: %w", err)
	}
	rest, ok := strings.CutPrefix(body.String(), "{")
	if !ok {
		return nil, fmt.Errorf("write json: %T is no object", v)
	}
	head := fmt.Sprintf(`{"message_type":%q`, messageType)
	if strings.TrimSpace(rest) != "}" {
		head += ","
	}
	return []byte(head + rest), nil
}

// People is where text for people goes: standard output, or standard error beside JSON lines.
func (o *Out) People() io.Writer {
	if o.JSON {
		return o.stderr
	}
	return o.stdout
}

// Columns is how wide what people read may be: the terminal's width, or 80.
func (o *Out) Columns() int {
	if w := o.People(); Terminal(w) {
		columns, _ := sizeOf(w)
		return columns
	}
	return 80
}

// Data is standard output, for a command whose output is itself data (CSV, a raw message).
func (o *Out) Data() io.Writer { return o.stdout }

// Stderr is standard error, for nobody's use while something is Live.
func (o *Out) Stderr() io.Writer { return o.stderr }

// Printf writes text for people.
func (o *Out) Printf(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = cmp.Or(o.failed, o.write(o.People(), fmt.Sprintf(format, args...)))
}

// Println writes a line for people.
func (o *Out) Println(args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = cmp.Or(o.failed, o.write(o.People(), fmt.Sprintln(args...)))
}

// Failed is why text for people could not be written: a full disk behind a redirection.
func (o *Out) Failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}

// Warnf writes a warning line to standard error, whatever the mode.
func (o *Out) Warnf(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write(o.stderr, fmt.Sprintf("warning: "+format+"\n", args...))
}

// Notef writes a line to standard error, whatever the mode.
func (o *Out) Notef(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write(o.stderr, fmt.Sprintf(format+"\n", args...))
}

// write writes whole lines, above what is live when they go to the same terminal.
func (o *Out) write(w io.Writer, text string) error {
	if len(o.lives) > 0 && (w == o.stderr || Terminal(w)) {
		o.erase()
		defer o.redraw()
	}
	_, err := io.WriteString(w, text)
	return err
}

// Table writes rows under a header, columns aligned by display width so that full-width characters line up. Columns
// named in right are aligned to the right.
func (o *Out) Table(header []string, rows [][]string, right ...int) {
	o.Println(strings.Join(tableLines(header, rows, right), "\n"))
}

func tableLines(header []string, rows [][]string, right []int) []string {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.Options{SeparateHeader: false}
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Box.MiddleVertical = ""
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	var configs []table.ColumnConfig
	for _, c := range right {
		configs = append(configs, table.ColumnConfig{Number: c + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	if len(header) > 0 {
		t.AppendHeader(row(header))
	}
	for _, r := range rows {
		t.AppendRow(row(r))
	}
	var lines []string
	for _, line := range strings.Split(t.Render(), "\n") {
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return lines
}

// List is Table for rows that a narrow terminal cannot hold: there each is folded into two lines, the first columns in a table, the others
// below them.
func (o *Out) List(first int, header []string, rows [][]string, right ...int) {
	lines := tableLines(header, rows, right)
	if w := o.People(); Terminal(w) {
		columns, _ := sizeOf(w)
		if slices.ContainsFunc(lines, func(l string) bool { return Width(l) > columns }) {
			lines = folded(first, header, rows, right, columns)
		}
	}
	o.Println(strings.Join(lines, "\n"))
}

// folded is a table of the first columns, with the other cells of each row below it. A number has its column's name with it. Where one
// long cell makes that table too wide, its columns are not aligned, so that it breaks no line but its own.
func folded(first int, header []string, rows [][]string, right []int, columns int) []string {
	var heads [][]string
	for _, r := range rows {
		heads = append(heads, r[:min(first, len(r))])
	}
	table := tableLines(header[:first], heads, slices.DeleteFunc(slices.Clone(right), func(c int) bool { return c >= first }))
	if slices.ContainsFunc(table, func(l string) bool { return Width(l) > columns }) {
		for i, cells := range append([][]string{header[:first]}, heads...) {
			table[i] = joined(cells)
		}
	}
	lines := []string{table[0]}
	for i, r := range rows {
		var rest []string
		for c, cell := range r[min(first, len(r)):] {
			switch {
			case cell == "":
			case slices.Contains(right, first+c):
				rest = append(rest, strings.TrimSpace(header[first+c]+" "+Clean(cell)))
			default:
				rest = append(rest, Clean(cell))
			}
		}
		lines = append(lines, table[i+1])
		lines = append(lines, wrapped(rest, columns)...)
	}
	return lines
}

// wrapped is cells in a row, which begins another line between two of them where it must.
func wrapped(cells []string, columns int) []string {
	const indent = "    "
	var lines []string
	line := ""
	for _, c := range cells {
		switch {
		case line == "":
			line = indent + c
		case Width(line)+len(", ")+Width(c) < columns: // the comma of a next one fits too
			line += ", " + c
		default:
			lines, line = append(lines, line+","), indent+c
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// joined is the cells of a row that are not empty.
func joined(cells []string) string {
	cells = slices.DeleteFunc(slices.Clone(cells), func(c string) bool { return c == "" })
	return Clean(strings.Join(cells, "  "))
}

func row(cells []string) table.Row {
	r := make(table.Row, len(cells))
	for i, c := range cells {
		r[i] = Clean(c)
	}
	return r
}

// Clean makes foreign text safe for a terminal: control characters (an escape sequence in a bounce, a newline in a cell)
// become spaces.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// Terminal reports whether w is a terminal.
func Terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Count is a number with its noun: 1 mail, 2 mails.
func Count[N int | int64](n N, one, many string) string {
	return spelling.Count(n, one, many)
}
