package ui

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/mattn/go-runewidth"
)

// TestMain measures as in a European locale, wherever the tests run.
func TestMain(m *testing.M) {
	runewidth.DefaultCondition.EastAsianWidth = false
	os.Exit(m.Run())
}

// screen is a terminal that keeps all that was ever written to it and does what Live relies on: it wraps unless told not to, and
// breaks its lines anew when it is resized.
type screen struct {
	t             *testing.T
	width, height int
	rows          []screenRow // the last height of them are seen
	y, x          int
	wrap          bool
}

type screenRow struct {
	text string
	goes bool // on in the next row
}

func newScreen(t *testing.T, width, height int) *screen {
	return &screen{t: t, width: width, height: height, rows: make([]screenRow, 1), wrap: true}
}

// screenOut is an Out on a screen.
func screenOut(s *screen) *Out {
	o := New(s, s)
	o.Progress = true
	o.size = func() (int, int) { return s.width, s.height }
	return o
}

func (s *screen) Write(p []byte) (int, error) {
	text := string(p)
	for text != "" {
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			end := strings.IndexFunc(rest, func(r rune) bool { return 'A' <= r && r <= 'z' })
			s.control(rest[:end], rest[end])
			text = rest[end+1:]
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		s.put(r)
	}
	return len(p), nil
}

func (s *screen) control(arg string, verb byte) {
	switch string(verb) {
	case "A":
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 {
			s.t.Errorf("ESC [ %s A", arg)
		}
		s.y = max(s.y-n, len(s.rows)-s.height, 0)
	case "K":
		s.rows[s.y] = screenRow{text: runewidth.Truncate(s.rows[s.y].text, s.x, "")}
	case "J":
		s.control("", 'K')
		s.rows = s.rows[:s.y+1]
	case "h", "l":
		if arg != "?7" {
			s.t.Errorf("ESC [ %s %c", arg, verb)
		}
		s.wrap = verb == 'h'
	default:
		s.t.Errorf("ESC [ %s %c", arg, verb)
	}
}

func (s *screen) put(r rune) {
	switch r {
	case '\r':
		s.x = 0
		return
	case '\n':
		s.down(false)
		return
	}
	w := runewidth.RuneWidth(r)
	if s.x+w > s.width {
		if !s.wrap {
			return
		}
		s.down(true)
	}
	row := &s.rows[s.y]
	row.text = runewidth.FillRight(runewidth.Truncate(row.text, s.x, ""), s.x) + string(r) + runewidth.TruncateLeft(row.text, s.x+w, "")
	s.x += w
}

func (s *screen) down(goes bool) {
	s.rows[s.y].goes = goes
	if s.y++; s.y == len(s.rows) {
		s.rows = append(s.rows, screenRow{})
	}
	s.x = 0
}

// resize breaks the lines for a new width. The cursor is expected at the beginning of the last one.
func (s *screen) resize(width, height int) {
	if s.y != len(s.rows)-1 || s.x != 0 {
		s.t.Errorf("the cursor stands at %d,%d of %d rows", s.y, s.x, len(s.rows))
	}
	old := *s
	*s = screen{t: s.t, width: width, height: height, rows: make([]screenRow, 1), wrap: true}
	for _, row := range old.rows[:len(old.rows)-1] {
		io.WriteString(s, row.text)
		if !row.goes {
			s.put('\n')
		}
	}
	s.wrap = old.wrap
}

// expect compares all rows, and where the cursor is: at the beginning of the row after them.
func (s *screen) expect(want ...string) {
	s.t.Helper()
	var got []string
	for _, row := range s.rows {
		got = append(got, strings.TrimRight(row.text, " "))
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", append(want, "")) || s.y != len(want) || s.x != 0 || !s.wrap {
		s.t.Errorf("cursor at %d,%d, wrapping %v, screen\n%s\nwant\n%s", s.y, s.x, s.wrap, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLiveIsDrawnInPlace(t *testing.T) {
	s := newScreen(t, 40, 10)
	o := screenOut(s)
	o.Println("before")
	l := o.Live()
	l.Show("news 10%", "  gmail 5", "  others 1")
	s.expect("before", "news 10%", "  gmail 5", "  others 1")
	l.Show("news 9%", "  docomo is paused")
	s.expect("before", "news 9%", "  docomo is paused")
	o.Warnf("one\ntwo")
	s.expect("before", "warning: one", "two", "news 9%", "  docomo is paused")
	o.Printf("three\n")
	o.Notef("four %d", 4)
	l.Show("news 11%", "a", "b")
	s.expect("before", "warning: one", "two", "three", "four 4", "news 11%", "a", "b")
	io.WriteString(s, "^C") // the terminal's echo
	l.Show("news 12%", "a", "b")
	s.expect("before", "warning: one", "two", "three", "four 4", "news 12%", "a", "b")
	io.WriteString(s, "^C")
	l.Close()
	s.expect("before", "warning: one", "two", "three", "four 4")
	l.Show("too late")
	o.Println("after")
	s.expect("before", "warning: one", "two", "three", "four 4", "after")
}

func TestSeveralAreLiveBelowEachOther(t *testing.T) {
	s := newScreen(t, 40, 9)
	o := screenOut(s)
	a, b := o.Live(), o.Live()
	b.Show("b1", "b2")
	a.Show("a1")
	s.expect("a1", "b1", "b2")
	if columns, rows := a.Size(); columns != 39 || rows != 4 {
		t.Errorf("room for %d columns and %d rows", columns, rows)
	}
	a.Close()
	s.expect("b1", "b2")
	b.Close()
	s.expect()
}

func TestLiveKeepsWithinTheScreen(t *testing.T) {
	for _, c := range []struct {
		name          string
		width, height int
		lines, want   []string
	}{
		{"too long", 10, 5, []string{"0123456789", "012345678"}, []string{"01234567…", "012345678"}},
		{"full width", 10, 5, []string{"東京都港区芝", "a東京都港区", "東京都港"}, []string{"東京都港…", "a東京都…", "東京都港"}},
		{"too many", 10, 3, []string{"1", "2", "3"}, []string{"1", "2"}},
		{"one row is the cursor's", 10, 1, []string{"1"}, nil},
		{"next to nothing", 2, 3, []string{"東京", "ab"}, []string{"", "a"}},
		{"foreign text", 30, 5, []string{"421 \x1b[2Jno\r\nmore\u009b1A"}, []string{"421  [2Jno  more 1A"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScreen(t, c.width, c.height)
			l := screenOut(s).Live()
			l.Show(c.lines...)
			s.expect(c.want...)
			l.Show(append(c.lines[1:], "x")...)
			l.Close()
			s.expect()
		})
	}
}

// A character that the terminal holds for wider than we do is cut off by it, and nothing is torn.
func TestLiveDoesNotWrapWhereTheTerminalDisagrees(t *testing.T) {
	s := newScreen(t, 12, 5)
	o := screenOut(s)
	o.size = func() (int, int) { return 20, 5 }
	l := o.Live()
	l.Show("0123456789abcdef", "b")
	s.expect("0123456789ab", "b")
}

func TestResize(t *testing.T) {
	s := newScreen(t, 40, 12)
	o := screenOut(s)
	o.Println("before")
	l := o.Live()
	l.Show("news 10% ------------------------------", "  東京都港区芝公園四丁目東京都港区芝公", "short")
	s.resize(17, 12)
	l.Show("news 11% ---------------------", "東京都", "short")
	s.expect("before", "news 11% ------…", "東京都", "short")
	s.resize(60, 12)
	l.Show("news 11% ---------------------", "東京都", "short") // the same lines: the new width alone draws them
	s.expect("before", "news 11% ---------------------", "東京都", "short")
	s.resize(9, 12)
	o.Warnf("x")
	s.expect("before", "warning:", "x", "news 11…", "東京都", "short")
	l.Close()
	s.expect("before", "warning:", "x")
}

// Whatever is shown and said in whatever order, on a window that changes: what was said stands there whole, in its order, and
// below it nothing but what is live.
func TestNothingIsTorn(t *testing.T) {
	words := []string{"gmail", "東京都", "港区", "ｶﾅ", "a", " ", "é", "docomo.ne.jp", "paused", "…"}
	defer func() { runewidth.DefaultCondition.EastAsianWidth = false }()
	for seed := range uint64(200) {
		runewidth.DefaultCondition.EastAsianWidth = seed%2 == 1 // as in a Japanese locale: … fills two columns
		r := rand.New(rand.NewPCG(seed, 0))
		line := func() string {
			var b strings.Builder
			for range r.IntN(8) {
				b.WriteString(words[r.IntN(len(words))])
			}
			return b.String()
		}
		s := newScreen(t, 10+r.IntN(40), 40)
		o := screenOut(s)
		l := o.Live()
		var said, live []string
		for i := range 30 {
			switch r.IntN(4) {
			case 0:
				said = append(said, "warning: "+strconv.Itoa(i))
				o.Warnf("%d", i)
			case 1:
				s.resize(12+r.IntN(40), 40)
			default:
				live = nil
				for range 1 + r.IntN(6) {
					live = append(live, line())
				}
				l.Show(live...)
			}
		}
		l.Show(live...)
		want := append([]string{}, said...)
		for _, text := range live {
			want = append(want, strings.TrimRight(Cut(text, s.width-1), " "))
		}
		s.expect(want...)
		l.Close()
		s.expect(said...)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestLiveIsSilentWhereNobodyLooks(t *testing.T) {
	var stderr bytes.Buffer
	o := New(io.Discard, &stderr)
	l := o.Live()
	l.Show("news")
	l.Close()
	if o.Watched() || stderr.Len() > 0 {
		t.Errorf("wrote %q to a pipe", stderr.String())
	}
	o.Progress = true
	l = o.Live()
	if columns, rows := l.Size(); !o.Watched() || columns != 79 || rows != 23 {
		t.Errorf("asked for, a pipe is %d columns and %d rows", columns, rows)
	}
	l.Show("news")
	if !strings.Contains(stderr.String(), "news") {
		t.Errorf("asked for, it wrote %q", stderr.String())
	}
}

// JSON that goes to a file does not make the lines flicker.
func TestJSONElsewhereLeavesTheLinesAlone(t *testing.T) {
	s := newScreen(t, 40, 10)
	o := screenOut(s)
	var file bytes.Buffer
	o.stdout, o.JSON = &file, true
	l := o.Live()
	l.Show("news")
	before := o.drawn
	if err := o.Emit("progress", struct{}{}); err != nil || len(o.drawn) != len(before) || file.Len() == 0 {
		t.Errorf("%v, %q", err, file.String())
	}
	s.expect("news")
}

func TestLiveIsSafeForConcurrentUse(t *testing.T) {
	s := newScreen(t, 40, 30)
	o := screenOut(s)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			l := o.Live()
			defer l.Close()
			for n := range 100 {
				l.Show(fmt.Sprint(i, " ", n))
				if n%10 == 0 {
					o.Warnf("%d %d", i, n)
				}
			}
		})
	}
	wg.Wait()
	if len(s.rows) != 31 || s.y != 30 {
		t.Errorf("%d rows, cursor in %d", len(s.rows), s.y)
	}
}

func TestCutAndPad(t *testing.T) {
	for _, c := range []struct {
		text    string
		columns int
		cut     string
	}{
		{"gmail", 5, "gmail"}, {"gmail", 4, "gma…"}, {"東京都", 6, "東京都"}, {"東京都", 5, "東京…"}, {"東京都", 4, "東…"}, {"東京都", 1, ""}, {"東京都", 0, ""}, {"ab", -3, ""},
	} {
		got := Cut(c.text, c.columns)
		if got != c.cut {
			t.Errorf("%s cut to %d: %q, want %q", c.text, c.columns, got, c.cut)
		}
		if padded := Pad(got, c.columns); Width(padded) != max(c.columns, 0) {
			t.Errorf("%q padded to %d columns: %d", got, c.columns, Width(padded))
		}
	}
}
