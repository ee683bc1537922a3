package message

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// lineWidth is the widest line of a text part that mailer makes itself (RFC 3676 section 4.2 asks for 78 at most).
const lineWidth = 76

// A paragraph with actions in it can be wrapped only when its values are known. It stands in the template between
// these marks: begin, the first line's prefix, sep, the other lines' prefix, sep, the paragraph, end. Values never
// contain them (see column).
const (
	markBegin = "\x0e"
	markEnd   = "\x0f"
	markSep   = "\x1f"
	marks     = markBegin + markEnd + markSep + slotMark
)

// segments are the pieces of an executed text part that are encoded by themselves: the marked paragraphs, wrapped now, and
// what stands between them; from a marked template (slots.go) the slots too. A paragraph that came out empty goes with the
// blank lines behind it. An {{if}} that begins in one paragraph and ends in another can take a mark away: what is then
// unmarked stays as it is.
func segments(s string) []string {
	list, _ := segmentsBehind(s, false)
	return list
}

// segmentsBehind is segments behind others; bare: the last of them was a paragraph that came out empty.
func segmentsBehind(s string, bare bool) (list []string, stillBare bool) {
	add := func(piece string) {
		if bare {
			piece = strings.TrimLeft(piece, "\n")
		}
		if piece != "" {
			list, bare = append(list, piece), false
		}
	}
	for {
		i := strings.IndexAny(s, markBegin+markEnd+slotMark)
		if i < 0 {
			add(s)
			return list, bare
		}
		add(s[:i])
		mark := s[i : i+1]
		s = s[i+1:]
		if mark != markBegin {
			continue
		}
		end := len(s)
		if j := strings.IndexAny(s, markBegin+markEnd); j >= 0 {
			end = j
		}
		block := strings.ReplaceAll(s[:end], slotMark, "")
		s = strings.TrimPrefix(s[end:], markEnd)
		first, text, _ := strings.Cut(block, markSep)
		other, text, _ := strings.Cut(text, markSep)
		if bare = strings.TrimSpace(text) == ""; !bare {
			list = append(list, wrap(text, first, other))
		}
	}
}

// wrap breaks a paragraph into lines of at most lineWidth columns, full-width characters counted as two. It breaks at
// white space, between characters of scripts that are written without it, and never within a URL.
func wrap(s, first, other string) string {
	return string(appendWrapped(nil, []byte(s), first, other))
}

// appendWrapped writes the wrapped paragraph behind b. White space goes where a line breaks, and at the ends of lines:
// nothing shows it, and transports change it.
func appendWrapped(b, s []byte, first, other string) []byte {
	w := wrapper{b: b, start: len(b), other: other}
	prefix := first
	for {
		line, rest, more := bytes.Cut(s, newline)
		w.b = append(w.b, prefix...)
		w.column, w.empty = columns(prefix), true
		w.line(line)
		w.trim()
		if !more {
			return w.b
		}
		w.b = append(w.b, '\n')
		w.start = len(w.b)
		s, prefix = rest, other
	}
}

// wrapper is the state of a paragraph being wrapped.
type wrapper struct {
	b      []byte
	start  int // of the line
	column int
	empty  bool // nothing but the prefix is on it
	other  string
}

// trim takes the white space off the line's end.
func (w *wrapper) trim() {
	for len(w.b) > w.start && (w.b[len(w.b)-1] == ' ' || w.b[len(w.b)-1] == '\t') {
		w.b = w.b[:len(w.b)-1]
	}
}

// line splits at ASCII white space (an ideographic space is the author's layout and stays), and words where their script
// allows it.
func (w *wrapper) line(line []byte) {
	for len(line) > 0 {
		n := 0
		for n < len(line) && isSpace(line[n]) {
			n++
		}
		end, ascii := n, true
		for end < len(line) && !isSpace(line[end]) {
			ascii = ascii && line[end] < 0x7f
			end++
		}
		if end > n {
			w.word(line[:n], line[n:end], ascii)
		}
		line = line[end:]
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

func (w *wrapper) word(space, word []byte, ascii bool) {
	if ascii {
		w.piece(space, word, len(word))
		return
	}
	start, width, before := 0, 0, rune(0)
	whole := isURL(word)
	for i := 0; i < len(word); {
		r, n := utf8.DecodeRune(word[i:])
		if i > start && !whole && breaks(before, r) {
			w.piece(space, word[start:i], width)
			start, width, space = i, 0, nil
		}
		width += columnsOf(r)
		before = r
		i += n
	}
	w.piece(space, word[start:], width)
}

// piece writes what a line break cannot come into, with the white space before it.
func (w *wrapper) piece(space, text []byte, width int) {
	switch {
	case w.empty:
	case w.column+len(space)+width > lineWidth:
		w.trim()
		w.b = append(w.b, '\n')
		w.start = len(w.b)
		w.b = append(w.b, w.other...)
		w.column = columns(w.other)
	default:
		w.b = append(w.b, space...)
		w.column += len(space)
	}
	w.b = append(w.b, text...)
	w.column += width
	w.empty = false
}

// isURL: a word with a URL in it is kept whole from its first letter on, because where a URL ends in running Japanese
// cannot be told.
func isURL(word []byte) bool {
	return bytes.Contains(word, []byte("://")) || bytes.Contains(word, []byte("mailto:")) || word[0] == '<'
}

// Characters that do not begin a line, and that do not end one (JIS X 4051, the usual subset).
const (
	notFirst = "、。，．・：；？！゛゜ヽヾゝゞ々ー）］｝〕〉》」』】〙〗〟’”»ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ‥…％℃～〜,.!?:;)]}'\""
	notLast  = "（［｛〔〈《「『【〘〖〝‘“«([{"
)

// breaks reports whether a line may end between two characters.
func breaks(a, b rune) bool {
	if !isWide(a) && !isWide(b) {
		return false
	}
	if isIdeograph(a) && isIdeograph(b) {
		return true
	}
	return !strings.ContainsRune(notFirst, b) && !strings.ContainsRune(notLast, a) && !unicode.In(b, unicode.Mn, unicode.Me, unicode.Cf) && a != '\u200d'
}

// isIdeograph: characters that may stand at both ends of a line, and are most of a Japanese text with the kana.
func isIdeograph(r rune) bool { return '\u4e00' <= r && r <= '\u9fff' }

func isWide(r rune) bool {
	if r < '\u1100' {
		return false
	}
	if '\u30a1' <= r && r <= '\u30fa' || '\u3041' <= r && r <= '\u3096' || isIdeograph(r) {
		return true
	}
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}

// columns is the width of s on a terminal and in a mail program with a fixed font.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += columnsOf(r)
	}
	return n
}

func columnsOf(r rune) int {
	switch {
	case r < 0x7f:
		return 1
	case isWide(r):
		return 2
	case !unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 1
	}
	return 0
}
