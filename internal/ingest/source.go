package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"mailer/internal/workbook"
)

// source is an input that can be read from its start again: a file, or standard input spooled into one.
type source struct {
	name string
	file *os.File
	dir  string // for temporary files
	temp string // a spool that is to be removed; elsewhere it has lost its name at once, so that no kill leaves it behind

	hash   *hashing
	format string
	size   int64
	since  time.Time // of its last change

	charset charset // of text files; the inner parts of a workbook are always UTF-8
	skip    int64   // a byte order mark
	delim   byte    // of CSV
	book    *workbook.Book
	shape   *shape // of JSON
	hints   hints
	count   int64    // of rows, about, as far as recognise knows; 0: not
	ignored []string // flags that this format does not know

	progress func(rows int64) // of recognise; may be nil
}

// openSource opens path; "-" and what is no regular file (a pipe) is spooled into dir first, readable by its owner only.
func openSource(ctx context.Context, path string, stdin io.Reader, dir string) (*source, error) {
	if path == "-" {
		return spool(ctx, "stdin", stdin, dir)
	}
	f, err := interruptible(ctx, func() (*os.File, error) { return os.Open(path) }) // a FIFO opens when somebody writes to it
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	switch {
	case err != nil:
		f.Close()
		return nil, err
	case st.IsDir():
		f.Close()
		return nil, usageErrorf("%s is a folder: name a file in it", path)
	case !st.Mode().IsRegular():
		defer f.Close()
		return spool(ctx, filepath.Base(path), f, dir)
	}
	return &source{name: filepath.Base(path), file: f, dir: dir}, nil
}

func spool(ctx context.Context, name string, r io.Reader, dir string) (*source, error) {
	f, temp, err := nameless(dir)
	if err != nil {
		return nil, fmt.Errorf("spool %s: %w", name, err)
	}
	src := &source{name: name, file: f, temp: temp, dir: dir}
	if _, err := interruptible(ctx, func() (int64, error) { return io.Copy(f, &cancellable{ctx, r}) }); err != nil {
		src.close()
		return nil, fmt.Errorf("spool %s: %w", name, err)
	}
	return src, nil
}

// nameless makes a file for the process alone. temp is its name where it could not be taken at once: Windows removes no
// open file.
func nameless(dir string) (f *os.File, temp string, err error) {
	if f, err = os.CreateTemp(dir, ".import-*.tmp"); err != nil { // mode 0600
		return nil, "", err
	}
	if err := os.Remove(f.Name()); err != nil {
		temp = f.Name()
	}
	return f, temp, nil
}

// interruptible is fn, or ctx's error when that ends first. A terminal or a pipe to which nobody writes cannot be made to
// return: fn is left behind then, and ends with the process.
func interruptible[T any](ctx context.Context, fn func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := fn()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// cancellable ends a long read when the context ends.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func (s *source) close() error {
	if s.hash != nil {
		s.hash.end()
	}
	err := s.file.Close()
	if s.book != nil {
		s.book.Close()
	}
	if s.temp != "" {
		os.Remove(s.temp)
	}
	return err
}

// sampleSize is how much of the file the choice of a delimiter looks at.
const sampleSize = 64 << 10

// recognise reads the whole file once: its format and its charset, and what the format keeps beside its rows.
// An override that is empty or "auto" leaves the choice to the file.
func (s *source) recognise(ctx context.Context, o Options) error {
	var override charset
	var err error
	if given(o.Encoding) {
		if override, err = charsetByName(o.Encoding); err != nil {
			return err
		}
	}
	if given(o.Delimiter) {
		if s.delim, err = delimiterByName(o.Delimiter); err != nil {
			return err
		}
	}
	if given(o.Format) && !slices.Contains(Formats(), o.Format) {
		return usageErrorf("format %q is not known: choose one of auto %s", o.Format, strings.Join(Formats(), " "))
	}
	if err := s.stamp(); err != nil {
		return err
	}
	s.startHash(ctx)
	found := &detector{}
	// By offsets: what was spooled stands at its end.
	whole := &cancellable{ctx, io.NewSectionReader(s.file, 0, s.size)}
	if _, err := io.CopyBuffer(found, whole, make([]byte, 256<<10)); err != nil {
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	if s.format, err = s.recogniseFormat(o.Format); err != nil {
		return err
	}
	if s.format == FormatXLSX {
		s.note(o)
		s.charset, s.delim = charsets[0], 0
		return s.openBook(ctx, o.Sheet)
	}
	if s.charset = override; override.name == "" {
		if s.charset, err = found.result(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if mark, name := bom(found.head); name == s.charset.name {
		s.skip = int64(len(mark))
	}
	if s.format == FormatJSON || !given(o.Format) && s.beginsObject() {
		s.format, s.delim = FormatJSON, 0
		s.note(o)
		s.shape, err = surveyObjects(ctx, s)
		return err
	}
	s.note(o)
	s.count = found.lines()
	return s.recogniseDelimiter()
}

func given(flag string) bool { return flag != "" && flag != "auto" }

// stamp remembers how the file looks, so that a change between two passes is seen.
func (s *source) stamp() error {
	st, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	s.size, s.since = st.Size(), st.ModTime()
	return nil
}

// unchanged is an error if the file was written to since it was recognised.
func (s *source) unchanged() error {
	st, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	if st.Size() != s.size || !st.ModTime().Equal(s.since) {
		return fmt.Errorf("%s was changed while it was read: import it again when nobody writes to it", s.name)
	}
	return nil
}

// note keeps the flags that say nothing about a file of this format.
func (s *source) note(o Options) {
	flags := []struct {
		flag, value string
		formats     []string
	}{
		{"--sheet", o.Sheet, []string{FormatXLSX}},
		{"--encoding", o.Encoding, []string{FormatCSV, FormatJSON}},
		{"--delimiter", o.Delimiter, []string{FormatCSV}},
		{"--header", o.Header, []string{FormatCSV, FormatXLSX}},
	}
	for _, f := range flags {
		if given(f.value) && !slices.Contains(f.formats, s.format) {
			s.ignored = append(s.ignored, f.flag)
		}
	}
}

// notes says what a person should know of the file before its rows are imported.
func (s *source) notes() []string {
	var notes []string
	if len(s.ignored) > 0 {
		notes = append(notes, fmt.Sprintf("%s: without meaning for a %s file", strings.Join(s.ignored, ", "), s.format))
	}
	if s.book != nil {
		notes = append(notes, s.book.Notes()...)
	}
	return notes
}

// progressEvery is how many rows pass between two signs of life.
const progressEvery = 256

// alive tells of progress and ends a long pass with its context. It is called for every row.
func (s *source) alive(ctx context.Context, row int64) error {
	if row%progressEvery != 0 {
		return nil
	}
	if s.progress != nil {
		s.progress(row)
	}
	return ctx.Err()
}

func (s *source) delimiter() string {
	if s.delim == 0 {
		return ""
	}
	return string(s.delim)
}

func (s *source) sheet() string {
	if s.book == nil {
		return ""
	}
	return s.book.Sheet().Name
}

func (s *source) recogniseDelimiter() error {
	if s.delim != 0 {
		return nil
	}
	r, err := s.reader()
	if err != nil {
		return err
	}
	sample := make([]byte, sampleSize)
	n, err := io.ReadFull(r, sample)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	sample = sample[:n]
	if rest, ok := bytes.CutPrefix(sample, []byte("sep=")); ok && len(rest) > 1 && rest[0] < utf8.RuneSelf && (rest[1] == '\n' || rest[1] == '\r') {
		s.delim = rest[0] // what Excel reads and writes as a first line
		return nil
	}
	whole := n < sampleSize
	if s.charset.plain && s.charset.enc != nil {
		// Byte 0x7C is | and the second half of ポ in CP932; what is broken or cut off is no matter here.
		if sample, err = s.charset.enc.NewDecoder().Bytes(sample); err != nil {
			return fmt.Errorf("read %s: %w", s.name, err)
		}
	}
	s.delim = detectDelimiter(sample, whole)
	return nil
}

// reader begins at the start of the file, behind its mark, and gives bytes that records can be cut from.
func (s *source) reader() (io.Reader, error) {
	if _, err := s.file.Seek(s.skip, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.name, err)
	}
	return s.charset.stream(s.file), nil
}
