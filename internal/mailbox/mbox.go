package mailbox

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
)

// fromLine begins a message of an mbox. Of a sentence that begins with From, the time and the year tell it.
var fromLine = regexp.MustCompile(`^From .*\d:\d\d.*\b(19|20)\d\d\b|^From .*\b(19|20)\d\d\b.*\d:\d\d`)

var quotedFrom = regexp.MustCompile(`(?m)^>(>*From )`)

// mboxBox is an mbox file. It is read and never changed: whoever else writes to it would have to agree on a lock. What is there when it
// is listed is read, and what was read before is passed over if it is still the same.
type mboxBox struct {
	path   string
	file   *os.File
	from   int64   // where new messages begin
	starts []int64 // of the messages, and the end of the last one
	read   int64   // what was done with, from the beginning
}

func openMbox(o Options) (*mboxBox, error) {
	if err := leaves(o); err != nil {
		return nil, err
	}
	f, err := os.Open(o.Path)
	if err != nil {
		return nil, noFile(o.Path, err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, &Error{o.Path, true, errors.New("is no file")}
	}
	return &mboxBox{path: o.Path, file: f}, nil
}

func (m *mboxBox) Name() string { return "mbox:" + m.path }
func (m *mboxBox) Close() error { return m.file.Close() }

// proof is how much before the place to go on at must be the same.
const proof = 4096

// Resume: a mark is how far the file was read and a digest of what stands before that place.
func (m *mboxBox) Resume(mark string) {
	m.from = 0
	var at int64
	var digest string
	if _, err := fmt.Sscanf(mark, "%d %s", &at, &digest); err == nil && at > 0 && m.digest(at) == digest {
		m.from = at
	}
	m.read = m.from
}

func (m *mboxBox) Mark() string {
	if m.read == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", m.read, m.digest(m.read))
}

// digest is of what stands before a place; empty: there is no such place.
func (m *mboxBox) digest(at int64) string {
	n := min(at, proof)
	text := make([]byte, n)
	if _, err := m.file.ReadAt(text, at-n); err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// List finds where messages begin: after an empty line, or at the beginning.
func (m *mboxBox) List(ctx context.Context) ([]uint32, error) {
	end, err := quietSize(ctx, m.file)
	if err != nil {
		return nil, &Error{m.path, false, err}
	}
	m.from = min(m.from, end)
	m.starts = nil
	in := bufio.NewReaderSize(io.NewSectionReader(m.file, m.from, end-m.from), 1<<16)
	at, empty, whole := m.from, true, true // whole: the last read ended a line
	for {
		text, err := in.ReadSlice('\n')
		if whole && empty && fromLine.Match(text) {
			m.starts = append(m.starts, at)
		}
		if whole {
			empty = len(bytes.TrimRight(text, "\r\n")) == 0
		} else {
			empty = false
		}
		at += int64(len(text))
		whole = !errors.Is(err, bufio.ErrBufferFull)
		if err != nil && whole {
			if errors.Is(err, io.EOF) {
				break
			}
			return nil, &Error{m.path, false, err}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	if len(m.starts) == 0 && end > m.from {
		return nil, &Error{m.path, true, errors.New("is no mbox: no line \"From sender date\" stands where a message should begin")}
	}
	numbers := make([]uint32, len(m.starts))
	for i := range numbers {
		numbers[i] = uint32(i + 1)
	}
	m.starts = append(m.starts, end)
	return numbers, nil
}

func (m *mboxBox) Read(ctx context.Context, numbers []uint32, fn func(Message) error) error {
	for _, n := range numbers {
		begin, end := m.starts[n-1], m.starts[n]
		raw := make([]byte, min(end-begin, MaxMessage))
		if _, err := m.file.ReadAt(raw, begin); err != nil {
			return &Error{m.path, false, err}
		}
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
		if bytes.HasSuffix(raw, []byte("\n\n")) { // what separates it from the next
			raw = raw[:len(raw)-1]
		}
		if bytes.Contains(raw, []byte(">From ")) { // few have it, and the expression takes as long as all the rest
			raw = quotedFrom.ReplaceAll(raw, []byte("$1"))
		}
		if err := errors.Join(fn(Message{Number: n, Raw: wireLines(raw)}), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

func (m *mboxBox) Done(_ context.Context, filed, review []uint32) error {
	for _, numbers := range [][]uint32{filed, review} {
		for _, n := range numbers {
			m.read = max(m.read, m.starts[n])
		}
	}
	m.from = m.read
	return nil
}
