package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// encoding/csv loses physical line numbers inside quotes and lets one unclosed quote swallow the rest of the file. This
// splitter keeps both: a quote that does not end properly costs the line on which it stands.

// Bounds of one record. A cell that is larger is a quote that was never closed.
const (
	maxRecord      = 1 << 20
	maxRecordLines = 1000
)

// raw is one record as it lies in the file, without its line ending.
type raw struct {
	line  int64 // the physical line on which it begins, from 1
	bytes []byte
	err   error // the record is malformed: bytes are its first physical line
	cell  int   // the cell, from 1, that is malformed
}

// splitter cuts a stream into records. Lines end with CRLF, LF or CR (RFC 4180 section 2, and what old Macs write).
type splitter struct {
	r     io.Reader
	delim byte
	buf   []byte
	pos   int // the next record begins here
	line  int64
	eof   bool
	rest  bool // what follows belongs to a line that was too long
}

func newSplitter(r io.Reader, delim byte) *splitter {
	return &splitter{r: r, delim: delim, buf: make([]byte, 0, 1<<16), line: 1}
}

// fill reads more behind what is there.
func (s *splitter) fill() error {
	if s.pos > 0 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.pos:])]
		s.pos = 0
	}
	if len(s.buf) == cap(s.buf) {
		s.buf = append(make([]byte, 0, 2*cap(s.buf)), s.buf...)
	}
	n, err := s.r.Read(s.buf[len(s.buf):cap(s.buf)])
	s.buf = s.buf[:len(s.buf)+n]
	if errors.Is(err, io.EOF) {
		s.eof = true
		return nil
	}
	return err
}

// next cuts the next record, or returns io.EOF. The bytes are good until the next call.
func (s *splitter) next() (raw, error) {
	if err := s.skipRest(); err != nil {
		return raw{}, err
	}
	for {
		w := s.buf[s.pos:]
		if len(w) == 0 && s.eof {
			return raw{}, io.EOF
		}
		end := scanRecord(w, s.delim, s.eof)
		if end.more {
			if err := s.fill(); err != nil {
				return raw{}, err
			}
			continue
		}
		rec := raw{line: s.line, bytes: w[:end.length], err: end.err, cell: end.cell}
		s.pos += end.length + end.newline
		s.line += int64(end.lines)
		s.rest = end.endless
		return rec, nil
	}
}

// skipRest passes over the rest of a line that was too long. Taken for a record of its own, its tail would be a row that
// nobody wrote.
func (s *splitter) skipRest() error {
	for s.rest {
		w := s.buf[s.pos:]
		end := scanLine(w, s.eof)
		if !end.more {
			s.pos += end.length + end.newline
			s.rest = false
			return nil
		}
		s.pos += len(bytes.TrimSuffix(w, []byte{'\r'})) // the LF to this CR may be yet to come
		if err := s.fill(); err != nil {
			return err
		}
	}
	return nil
}

// recordEnd says where a record ends.
type recordEnd struct {
	more    bool // cannot be told before more is read
	length  int
	newline int // bytes of the line ending behind it
	lines   int // physical lines that it takes
	err     error
	cell    int
	endless bool // the line goes on behind length
}

// scanRecord finds the end of the record at the start of w.
func scanRecord(w []byte, delim byte, eof bool) recordEnd {
	line := scanLine(w, eof)
	if line.more && len(w) < maxRecord {
		return line
	}
	if line.more {
		return recordEnd{length: len(w), lines: 1, err: fmt.Errorf("the line is longer than %d bytes", maxRecord), cell: 1, endless: true}
	}
	if bytes.IndexByte(w[:line.length], '"') < 0 {
		return line
	}
	return scanQuoted(w, line, delim, eof)
}

// scanLine finds the end of the physical line at the start of w.
func scanLine(w []byte, eof bool) recordEnd {
	lf := bytes.IndexByte(w, '\n')
	head := w
	if lf >= 0 {
		head = w[:lf]
	}
	cr := bytes.IndexByte(head, '\r')
	switch {
	case cr >= 0 && cr+1 < len(w) && w[cr+1] == '\n':
		return recordEnd{length: cr, newline: 2, lines: 1}
	case cr >= 0 && cr+1 == len(w) && !eof:
		return recordEnd{more: true}
	case cr >= 0:
		return recordEnd{length: cr, newline: 1, lines: 1}
	case lf >= 0:
		return recordEnd{length: lf, newline: 1, lines: 1}
	case eof:
		return recordEnd{length: len(w), lines: 1}
	}
	return recordEnd{more: true}
}

// scanQuoted follows quotes over line ends. What goes wrong is charged to the first line alone.
func scanQuoted(w []byte, first recordEnd, delim byte, eof bool) recordEnd {
	fail := func(cell int, format string, args ...any) recordEnd {
		first.err, first.cell = fmt.Errorf(format, args...), cell
		return first
	}
	cell, lines := 1, 1
	start, inside, closed := true, false, false
	for i := 0; ; i++ {
		if i >= min(len(w), maxRecord) || lines > maxRecordLines {
			switch {
			case len(w) >= maxRecord || lines > maxRecordLines:
				return fail(cell, "a quote is opened and not closed within %d lines or %d bytes", maxRecordLines, maxRecord)
			case !eof:
				return recordEnd{more: true}
			case inside:
				return fail(cell, "a quote is opened and never closed")
			}
			return recordEnd{length: len(w), lines: lines}
		}
		c := w[i]
		switch {
		case inside && c == '"':
			if i+1 == len(w) && !eof {
				return recordEnd{more: true}
			}
			if i+1 < len(w) && w[i+1] == '"' {
				i++
			} else {
				inside, closed = false, true
			}
		case inside:
			if c == '\n' || c == '\r' && (i+1 == len(w) || w[i+1] != '\n') {
				lines++
			}
		case c == '\n' || c == '\r':
			end := scanLine(w[i:], eof)
			end.length, end.lines = i, lines
			return end
		case c == delim:
			cell++
			start, closed = true, false
		case closed && lines > 1:
			return fail(cell, "a quote is opened and not closed on this line: the next quote, %d lines further, does not end its cell", lines-1)
		case closed:
			return fail(cell, "text follows a closing quote; inside quotes a quote is written twice")
		case start && c == '"':
			inside, start = true, false
		default:
			start = false
		}
	}
}

// cells takes a well-formed record apart.
func cells(record string, delim byte, into []string) []string {
	into = into[:0]
	for i := 0; ; {
		var cell string
		if i < len(record) && record[i] == '"' {
			cell, i = quotedCell(record, i+1)
		} else if n := strings.IndexByte(record[i:], delim); n >= 0 {
			cell, i = record[i:i+n], i+n
		} else {
			cell, i = record[i:], len(record)
		}
		into = append(into, cell)
		if i >= len(record) {
			return into
		}
		i++ // the delimiter
	}
}

// quotedCell reads a cell whose opening quote stands before i, and returns the index behind its closing quote.
func quotedCell(record string, i int) (string, int) {
	var joined []byte
	start := i
	for i < len(record) {
		if record[i] != '"' {
			i++
			continue
		}
		if i+1 < len(record) && record[i+1] == '"' {
			joined = append(joined, record[start:i+1]...)
			i += 2
			start = i
			continue
		}
		break
	}
	text := record[start:min(i, len(record))]
	if joined != nil {
		text = string(append(joined, text...))
	}
	return text, min(i+1, len(record))
}

// delimiters that are recognised; the first wins where all fit alike.
var delimiters = []byte{',', '\t', ';', '|'}

// delimiterByName reads the value of --delimiter: the character or its name.
func delimiterByName(name string) (byte, error) {
	switch name {
	case ",", "comma":
		return ',', nil
	case "\t", `\t`, "tab":
		return '\t', nil
	case ";", "semicolon":
		return ';', nil
	case "|", "pipe":
		return '|', nil
	}
	return 0, usageErrorf("delimiter %q is not known: choose one of auto comma tab semicolon pipe", name)
}

// sampleRows is how many records the choice of a delimiter looks at.
const sampleRows = 100

// detectDelimiter finds the character that cuts the sample into the most cells, evenly. whole says that the sample is
// the whole file.
func detectDelimiter(sample []byte, whole bool) byte {
	best, bestScore := delimiters[0], 0.0
	for _, delim := range delimiters {
		if s := evenness(sample, delim, whole); s > bestScore {
			best, bestScore = delim, s
		}
	}
	return best
}

// evenness is the share of records with as many cells as most have, weighted by that number; 0 where it is one. Most, not the
// first: a title can stand above the header.
func evenness(sample []byte, delim byte, whole bool) float64 {
	split := newSplitter(bytes.NewReader(sample), delim)
	var counts []int
	for len(counts) < sampleRows {
		rec, err := split.next()
		if err != nil {
			break
		}
		if len(rec.bytes) > 0 && rec.err == nil {
			counts = append(counts, len(cells(string(rec.bytes), delim, nil)))
		}
	}
	if !whole && len(counts) > 1 && len(counts) < sampleRows {
		counts = counts[:len(counts)-1] // cut off in the middle
	}
	if len(counts) == 0 {
		return 0
	}
	with := map[int]int{}
	most := counts[0]
	for _, n := range counts {
		if with[n]++; with[n] > with[most] || with[n] == with[most] && n > most {
			most = n
		}
	}
	if most == 1 {
		most = counts[0] // rows that break off below a sound header
	}
	if most == 1 {
		return 0
	}
	score := float64(with[most])/float64(len(counts)) + float64(most)/1000
	if counts[0] != most {
		score *= 0.9 // a list in every row, divided by | or ;, is no row divided by them
	}
	return score
}
