package message

import (
	"strings"
	"unicode"

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
	var b strings.Builder
	prefix := first
	for _, line := range strings.Split(s, "\n") {
		column := columns(prefix)
		b.WriteString(prefix)
		empty := true
		for _, p := range pieces(line) {
			space := p.space
			if empty {
				space = ""
			}
			if !empty && column+len(space)+p.width > lineWidth {
				b.WriteString("\n" + other)
				column, space = columns(other), ""
			}
			b.WriteString(space + p.text)
			column += len(space) + p.width
			empty = false
		}
		b.WriteByte('\n')
		prefix = other
	}
	return trimLines(strings.TrimSuffix(b.String(), "\n"))
}

// trimLines takes the white space off the ends of lines: nothing shows it, and transports change it.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " \t")
	}
	return strings.Join(lines, "\n")
}

// piece is what a line break cannot come into.
type piece struct {
	text  string
	width int
	space string // the white space before it; it goes where a line breaks
}

// pieces splits at ASCII white space (an ideographic space is the author's layout and stays), and words where their
// script allows it.
func pieces(line string) []piece {
	var list []piece
	for line != "" {
		word := strings.TrimLeft(line, " \t\r")
		space := line[:len(line)-len(word)]
		if end := strings.IndexAny(word, " \t\r"); end >= 0 {
			word = word[:end]
		}
		line = line[len(space)+len(word):]
		if word != "" {
			list = appendPieces(list, space, word)
		}
	}
	return list
}

func appendPieces(list []piece, space, word string) []piece {
	start := 0
	if !isURL(word) {
		var prev rune
		for i, r := range word {
			if i > start && breaks(prev, r) {
				list = append(list, piece{word[start:i], columns(word[start:i]), space})
				start, space = i, ""
			}
			prev = r
		}
	}
	return append(list, piece{word[start:], columns(word[start:]), space})
}

// isURL: a word with a URL in it is kept whole from its first letter on, because where a URL ends in running Japanese
// cannot be told.
func isURL(word string) bool {
	return strings.Contains(word, "://") || strings.Contains(word, "mailto:") || strings.HasPrefix(word, "<")
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
	return !strings.ContainsRune(notFirst, b) && !strings.ContainsRune(notLast, a) && !unicode.In(b, unicode.Mn, unicode.Me, unicode.Cf) && a != '\u200d'
}

func isWide(r rune) bool {
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}

// columns is the width of s on a terminal and in a mail program with a fixed font.
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case r < 0x7f:
			n++
		case isWide(r):
			n += 2
		case !unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
			n++
		}
	}
	return n
}
