package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// source is an input that can be read from its start again: a file, or standard input spooled into one.
type source struct {
	name string
	file *os.File
	temp string // a spool that is to be removed; elsewhere it has lost its name at once, so that no kill leaves it behind

	hash    string
	charset charset
	skip    int64 // a byte order mark
	delim   byte
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
		return nil, usageErrorf("%s is a folder: name a CSV file in it", path)
	case !st.Mode().IsRegular():
		defer f.Close()
		return spool(ctx, filepath.Base(path), f, dir)
	}
	return &source{name: filepath.Base(path), file: f}, nil
}

func spool(ctx context.Context, name string, r io.Reader, dir string) (*source, error) {
	f, err := os.CreateTemp(dir, ".import-*.tmp") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("spool %s: %w", name, err)
	}
	src := &source{name: name, file: f}
	if err := os.Remove(f.Name()); err != nil {
		src.temp = f.Name() // Windows removes no open file
	}
	if _, err := interruptible(ctx, func() (int64, error) { return io.Copy(f, &cancellable{ctx, r}) }); err != nil {
		src.close()
		return nil, fmt.Errorf("spool %s: %w", name, err)
	}
	return src, nil
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
	err := s.file.Close()
	if s.temp != "" {
		os.Remove(s.temp)
	}
	return err
}

// sampleSize is how much of the file the choice of a delimiter looks at.
const sampleSize = 64 << 10

// recognise reads the whole file once: its hash, its charset, and from its start the delimiter. An override that is
// empty or "auto" leaves the choice to the file.
func (s *source) recognise(ctx context.Context, encoding, delimiter string) error {
	var override charset
	var err error
	if encoding != "" && encoding != "auto" {
		if override, err = charsetByName(encoding); err != nil {
			return err
		}
	}
	if delimiter != "" && delimiter != "auto" {
		if s.delim, err = delimiterByName(delimiter); err != nil {
			return err
		}
	}
	sum, found := sha256.New(), &detector{}
	if _, err := io.Copy(io.MultiWriter(sum, found), &cancellable{ctx, s.file}); err != nil {
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	if bytes.HasPrefix(found.head, []byte("PK\x03\x04")) {
		return usageErrorf("%s is an Excel workbook or another archive: save it as CSV", s.name)
	}
	s.hash = hex.EncodeToString(sum.Sum(nil))
	if s.charset = override; override.name == "" {
		if s.charset, err = found.result(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if mark, name := bom(found.head); name == s.charset.name {
		s.skip = int64(len(mark))
	}
	return s.recogniseDelimiter()
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
	if rest, ok := bytes.CutPrefix(sample, []byte("sep=")); ok && len(rest) > 1 {
		s.delim = rest[0] // what Excel reads and writes as a first line
		return nil
	}
	s.delim = detectDelimiter(sample, n < sampleSize)
	return nil
}

// reader begins at the start of the file, behind its mark, and gives bytes that records can be cut from.
func (s *source) reader() (io.Reader, error) {
	if _, err := s.file.Seek(s.skip, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.name, err)
	}
	return s.charset.stream(s.file), nil
}
