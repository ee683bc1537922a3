package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// openPath looks what lies at a path.
func openPath(o Options) (Box, error) {
	info, err := os.Stat(o.Path)
	switch {
	case err != nil:
		return nil, noFile(o.Path, err)
	case isMaildir(o.Path):
		return openMaildir(o)
	case info.IsDir():
		return openFiles(o)
	}
	begin, err := beginning(o.Path)
	if err != nil {
		return nil, noFile(o.Path, err)
	}
	if first, _, _ := bytes.Cut(begin, []byte("\n")); fromLine.Match(first) {
		return openMbox(o)
	}
	return openFiles(o)
}

func beginning(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1000))
}

// noFile is about a path that cannot be read: waiting does not mend that.
func noFile(path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &Error{path, true, err}
}

func leaves(o Options) error {
	if o.After == AfterLeave {
		return nil
	}
	return &Error{o.Path, true, fmt.Errorf("after: %s cannot be done here: files are only read", o.After)}
}

// filesBox is one file that is a mail, or a folder of them. The files are left as they are.
type filesBox struct {
	path  string
	files []string
	static
}

func openFiles(o Options) (*filesBox, error) {
	if err := leaves(o); err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.Path); err != nil {
		return nil, noFile(o.Path, err)
	}
	return &filesBox{path: o.Path}, nil
}

func (f *filesBox) Name() string { return "file:" + f.path }

// List lists the files of a folder in the order of their names, without those that begin with a dot.
func (f *filesBox) List(context.Context) ([]uint32, error) {
	f.files = []string{f.path}
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, noFile(f.path, err)
	}
	if info.IsDir() {
		f.files = nil
		entries, err := os.ReadDir(f.path)
		if err != nil {
			return nil, noFile(f.path, err)
		}
		for _, e := range entries {
			if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
				f.files = append(f.files, filepath.Join(f.path, e.Name()))
			}
		}
	}
	numbers := make([]uint32, len(f.files))
	for i := range numbers {
		numbers[i] = uint32(i + 1)
	}
	return numbers, nil
}

func (f *filesBox) Read(ctx context.Context, numbers []uint32, fn func(Message) error) error {
	for _, n := range numbers {
		m, err := readFile(f.files[n-1], n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return noFile(f.path, err)
		}
		if err := errors.Join(fn(m), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// readFile reads a file that is a mail. A pipe or a device in its place would keep us for ever.
func readFile(path string, n uint32) (Message, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Message{}, err
	}
	if !info.Mode().IsRegular() {
		return Message{}, fs.ErrNotExist
	}
	f, err := os.Open(path)
	if err != nil {
		return Message{}, err
	}
	defer f.Close()
	raw, err := readMessage(f, info.Size())
	return Message{Number: n, Received: info.ModTime(), Raw: withoutFrom(raw)}, err
}

// stream is one mail on standard input, as an MTA's pipe gives it.
type stream struct {
	in  io.Reader
	raw []byte
	static
}

func (s *stream) Name() string { return "stdin" }

// List reads the mail; to its end, for who writes would take it ill.
func (s *stream) List(context.Context) ([]uint32, error) {
	raw, err := readMessage(s.in, -1)
	if err == nil {
		_, err = io.Copy(io.Discard, s.in)
	}
	if err == nil && len(bytes.TrimSpace(raw)) == 0 {
		err = errors.New("there is no mail on it")
	}
	if err != nil {
		return nil, &Error{"on standard input", true, err} // there is no reading it again
	}
	s.raw = withoutFrom(raw)
	return []uint32{1}, nil
}

func (s *stream) Read(_ context.Context, numbers []uint32, fn func(Message) error) error {
	if len(numbers) == 0 {
		return nil
	}
	return fn(Message{Number: 1, Raw: s.raw})
}

// withoutFrom takes the line off that mbox, and with it many a pipe, puts before a mail.
func withoutFrom(raw []byte) []byte {
	if first, rest, ok := bytes.Cut(raw, []byte("\n")); ok && fromLine.Match(bytes.TrimRight(first, "\r")) {
		return rest
	}
	return raw
}

// static is a mailbox that stays as it is, and that is read as a whole each time: a mail that was recorded is known by its bytes.
type static struct{}

func (static) Resume(string)                                  {}
func (static) Mark() string                                   { return "" }
func (static) Done(context.Context, []uint32, []uint32) error { return nil }
func (static) Close() error                                   { return nil }
