package ingest

import (
	"bytes"
	"unicode/utf8"
)

// detector finds the charset of a file that is fed to it in pieces. It judges the whole file: the first Japanese name
// may stand in row 50,000.
type detector struct {
	head    []byte // the first bytes, for marks
	rest    []byte // of the last piece: the start of a character
	tail    []byte // the last two bytes, for an escape over a seam
	utf8    score
	cp932   score
	euc     score
	escapes int // ISO-2022-JP
	lf, cr  int64
	nulEven int64
	nulOdd  int64
	size    int64
}

// score says how well the bytes fit one charset.
type score struct {
	good   int64 // characters of more than ASCII
	bad    int64 // bytes that fit no character
	common int64 // good ones that everyday text is made of
	odd    int64 // good ones that everyday text hardly ever has, as half-width kana
	rare   int64 // odd ones that hardly any text has
}

// fits is the share of what is not ASCII that decodes.
func (s score) fits() float64 {
	if s.good+s.bad == 0 {
		return 0
	}
	return float64(s.good) / float64(s.good+s.bad)
}

// natural says how much of what decodes looks like text that people write.
func (s score) natural() float64 {
	if s.good == 0 {
		return 0
	}
	return s.fits() * float64(s.common-s.odd) / float64(s.good)
}

// beats reports whether s is the better guess of two that can be: the one that decodes whole, else the more natural one.
func (s score) beats(x score) bool {
	if (s.bad == 0) != (x.bad == 0) {
		return s.bad == 0
	}
	return s.natural() >= x.natural()
}

// headSize is how much of the file is kept for marks.
const headSize = 4

func (d *detector) Write(p []byte) (int, error) {
	if len(d.head) < headSize {
		d.head = append(d.head, p[:min(len(p), headSize-len(d.head))]...)
	}
	d.lf += int64(bytes.Count(p, []byte{'\n'}))
	d.cr += int64(bytes.Count(p, []byte{'\r'}))
	d.countNULs(p)
	d.countEscapes(p)
	d.size += int64(len(p))
	d.feed(p, false)
	return len(p), nil
}

// lines is about how many lines the file has, whatever ends them.
func (d *detector) lines() int64 { return max(d.lf, d.cr) }

func (d *detector) countNULs(p []byte) {
	if bytes.IndexByte(p, 0) < 0 {
		return
	}
	for i, b := range p {
		if b != 0 {
			continue
		}
		if (d.size+int64(i))%2 == 0 {
			d.nulEven++
		} else {
			d.nulOdd++
		}
	}
}

// jisEscapes are the switches of ISO-2022-JP to JIS X 0208 (RFC 1468), to half-width kana, and to JIS X 0212 (RFC 2237; cut to the
// length of the others).
var jisEscapes = []string{"\x1b$B", "\x1b$@", "\x1b(I", "\x1b$("}

func (d *detector) countEscapes(p []byte) {
	seam := append(d.tail, p[:min(2, len(p))]...)
	for _, piece := range [][]byte{seam, p} {
		if bytes.IndexByte(piece, '\x1b') < 0 {
			continue
		}
		for _, esc := range jisEscapes {
			d.escapes += bytes.Count(piece, []byte(esc))
		}
	}
	if len(p) >= 2 {
		seam = p
	}
	d.tail = bytes.Clone(seam[max(0, len(seam)-2):])
}

// feed scores p under each charset. Pieces are cut behind an ASCII byte, which ends every character in all of them.
func (d *detector) feed(p []byte, last bool) {
	if len(d.rest) > 0 {
		p = append(d.rest, p...)
		d.rest = nil
	}
	if !last {
		cut := len(p)
		for cut > 0 && p[cut-1] >= utf8.RuneSelf {
			cut--
		}
		// The byte before the cut may be the second of a CP932 character; its first is then on the same side.
		if cut > 0 || len(p) < 1<<16 {
			d.rest = bytes.Clone(p[cut:])
			p = p[:cut]
		}
	}
	d.score(p)
}

// enough is how many characters beyond ASCII the legacy charsets are judged by: what a million of them leave open, more do not
// settle.
const enough = 1 << 20

func (d *detector) score(p []byte) {
	switch {
	case isASCII(p):
		return
	case d.utf8.bad == 0 && utf8.Valid(p): // sound UTF-8 so far: nothing else is asked (see result)
		n := letters(p)
		d.utf8.good += n
		d.utf8.common += n
		return
	case d.cp932.good+d.cp932.bad > enough && d.euc.good+d.euc.bad > enough:
		return
	}
	for len(p) > 0 {
		start := 0
		for start < len(p) && p[start] < utf8.RuneSelf {
			start++
		}
		if start == len(p) {
			return
		}
		// A run that is not ASCII, with the ASCII bytes that may be second bytes of it.
		end := start
		for end < len(p) && (p[end] >= utf8.RuneSelf || p[end-1] >= utf8.RuneSelf) {
			end++
		}
		run := p[start:end]
		d.utf8.addUTF8(run)
		d.cp932.addCP932(run)
		d.euc.addEUC(run)
		p = p[end:]
	}
}

// letters counts the characters of sound UTF-8 that are not ASCII, by their first bytes.
func letters(p []byte) (n int64) {
	for _, b := range p {
		if b >= 0xc0 {
			n++
		}
	}
	return n
}

func (s *score) addUTF8(run []byte) {
	for i := 0; i < len(run); {
		if run[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(run[i:])
		if r == utf8.RuneError && n == 1 {
			s.bad++
		} else {
			s.good++
		}
		i += n
	}
	s.common = s.good
}

// addCP932 takes hiragana, katakana, full-width signs and the kanji of level 1 as common, half-width kana, level 2 and
// what lies beyond as odd.
func (s *score) addCP932(run []byte) {
	for i := 0; i < len(run); {
		n := cp932Width(run[i:])
		b := run[i]
		switch {
		case n == 2:
			s.good++
			switch {
			case b <= 0x83 || 0x88 <= b && b <= 0x97:
				s.common++
			case b >= 0xe0:
				s.odd++
				s.rare++
			}
		case 0xa1 <= b && b <= 0xdf:
			s.good++
			s.odd++
		case b >= utf8.RuneSelf:
			s.bad++
		}
		i += n
	}
}

func (s *score) addEUC(run []byte) {
	for i := 0; i < len(run); {
		n := eucWidth(run[i:])
		b := run[i]
		switch {
		case n == 2 && b != 0x8e:
			s.good++
			switch {
			case b == 0xa1 || b == 0xa3 || b == 0xa4 || b == 0xa5 || 0xb0 <= b && b <= 0xcf:
				s.common++
			case b >= 0xe0 || 0xa9 <= b && b <= 0xaf:
				s.odd++
				s.rare++
			}
		case n > 1:
			s.good++
			s.odd++
		case b >= utf8.RuneSelf:
			s.bad++
		}
		i += n
	}
}

// Shares of characters that must decode. A few broken rows in a file of a thousand names do not change what it is.
const (
	sureUTF8   = 0.8
	sureLegacy = 0.9
)

// is reports whether the bytes can be this charset: nearly all decode, or all but a stray byte or two.
func (s score) is(sure float64) bool {
	return s.good > 0 && (s.fits() >= sure || s.bad <= strays && s.good >= 2*s.bad)
}

// strays is how many broken bytes say nothing about a charset.
const strays = 2

// readable is is, for a charset in which other charsets' letters decode to kanji that nobody writes.
func (s score) readable() bool { return s.is(sureLegacy) && 2*s.rare <= s.good }

// wide reports whether NULs stand as in UTF-16, where each ASCII letter carries one. Addresses and delimiters are ASCII in whatever
// language a list is, no other charset has any NUL, and U+3000 carries one on the other side.
func (d *detector) wide(here, there int64) bool { return here*32 > d.size && here > 2*there }

// result is the charset of all that was written.
func (d *detector) result() (charset, error) {
	d.feed(nil, true)
	if _, name := bom(d.head); name != "" {
		return charsetByName(name)
	}
	switch {
	case d.wide(d.nulOdd, d.nulEven):
		return charsetByName("utf-16le")
	case d.wide(d.nulEven, d.nulOdd):
		return charsetByName("utf-16be")
	case d.escapes > 0 && d.utf8.good == 0:
		return charsetByName("iso-2022-jp")
	case d.utf8.good+d.utf8.bad == 0, d.utf8.is(sureUTF8):
		return charsetByName("utf-8")
	}
	cp932, euc := d.cp932.readable(), d.euc.readable()
	switch {
	case cp932 && (!euc || d.cp932.beats(d.euc)):
		return charsetByName("cp932")
	case euc:
		return charsetByName("euc-jp")
	case d.utf8.bad <= strays:
		return charsetByName("utf-8") // and the rows of these bytes are rejected
	}
	return charset{}, usageErrorf("the encoding is not recognised (UTF-8 fits %.0f %% of what is not ASCII, CP932 %.0f %%, EUC-JP %.0f %%): "+
		"save the file as \"CSV UTF-8\", or say which it is with --encoding", 100*d.utf8.fits(), 100*d.cp932.fits(), 100*d.euc.fits())
}
