package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maildirBox is a Maildir, or a folder of one (Maildir++: .Name beside cur and new).
type maildirBox struct {
	o     Options
	dir   string
	files []string // "new/name" or "cur/name:2,flags", the file of message n at n-1; empty when it is done with
	tally
}

func openMaildir(o Options) (*maildirBox, error) {
	m := &maildirBox{o: o, dir: o.Path}
	if o.Folder != "INBOX" {
		m.dir = maildirFolder(o.Path, o.Folder)
	}
	if !isMaildir(m.dir) {
		return nil, &Error{m.dir, true, errors.New("is no Maildir: it has no folders cur and new")}
	}
	return m, nil
}

func isMaildir(dir string) bool {
	for _, sub := range []string{"cur", "new"} {
		if info, err := os.Stat(filepath.Join(dir, sub)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

func maildirFolder(root, name string) string {
	return filepath.Join(root, "."+strings.ReplaceAll(strings.Trim(name, "./"), "/", "."))
}

func (m *maildirBox) Name() string { return "maildir:" + m.dir }
func (m *maildirBox) Close() error { return nil }

// Mark: where mail leaves the folder, nothing is to be remembered.
func (m *maildirBox) Mark() string {
	if m.o.After == AfterMove || m.o.After == AfterDelete {
		return ""
	}
	return m.tally.Mark()
}

// List lists both folders. Names begin with the time of delivery.
func (m *maildirBox) List(context.Context) ([]uint32, error) {
	files, err := m.scan()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(baseOf(a), baseOf(b)) })
	m.files = files
	m.begin()
	stays := m.o.After == AfterFlag || m.o.After == AfterLeave
	for i, f := range files {
		n := uint32(i + 1)
		name := ""
		if stays {
			name = baseOf(f)
		}
		m.add(n, name)
	}
	return m.in(tallyNew), nil
}

// scan reads the names in cur and new, a thousand at a time.
func (m *maildirBox) scan() ([]string, error) {
	var files []string
	for _, sub := range []string{"new", "cur"} {
		err := func() error {
			d, err := os.Open(filepath.Join(m.dir, sub))
			if err != nil {
				return err
			}
			defer d.Close()
			for {
				entries, err := d.ReadDir(1000)
				for _, e := range entries {
					if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
						files = append(files, sub+"/"+e.Name())
					}
				}
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
			}
		}()
		if err != nil {
			return nil, &Error{m.dir, false, err}
		}
	}
	return files, nil
}

// baseOf is what stays of a message's name when its flags change.
func baseOf(file string) string {
	_, name, _ := strings.Cut(file, "/")
	base, _, _ := strings.Cut(name, ":")
	return base
}

func (m *maildirBox) Read(ctx context.Context, numbers []uint32, fn func(Message) error) error {
	looked := false
	for _, n := range numbers {
		msg, err := m.message(n)
		if errors.Is(err, fs.ErrNotExist) && !looked {
			// A mail program has moved it from new to cur, or changed its flags.
			looked = true
			if err := m.find(numbers); err != nil {
				return err
			}
			msg, err = m.message(n)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return &Error{m.dir, false, err}
		}
		if err := fn(msg); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (m *maildirBox) message(n uint32) (Message, error) { return readFile(m.path(n), n) }

func (m *maildirBox) path(n uint32) string { return filepath.Join(m.dir, m.files[n-1]) }

// find looks for messages under the names that they have now.
func (m *maildirBox) find(numbers []uint32) error {
	wanted := map[string]uint32{}
	for _, n := range numbers {
		wanted[baseOf(m.files[n-1])] = n
	}
	files, err := m.scan()
	if err != nil {
		return err
	}
	for _, f := range files {
		if n, ok := wanted[baseOf(f)]; ok {
			m.files[n-1] = f
		}
	}
	return nil
}

func (m *maildirBox) Done(_ context.Context, filed, review []uint32) error {
	looked := false
	for _, batch := range []struct {
		numbers []uint32
		state   tallyState
	}{{filed, tallyFiled}, {review, tallyReview}} {
		for _, n := range batch.numbers {
			err := m.settle(n, batch.state)
			if errors.Is(err, fs.ErrNotExist) && !looked {
				looked = true
				if err := m.find(slices.Concat(filed, review)); err != nil {
					return err
				}
				err = m.settle(n, batch.state)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return &Error{m.dir, false, err}
			}
			m.set(n, batch.state)
			m.files[n-1] = "" // of many, the names are most of what is kept
		}
	}
	return nil
}

// settle does with one message what is to be done.
func (m *maildirBox) settle(n uint32, s tallyState) error {
	switch {
	case m.o.After == AfterLeave:
		return nil
	case s == tallyReview && m.o.Review != "":
		return m.moveTo(m.o.Review, n, "")
	case m.o.After == AfterMove:
		return m.moveTo(m.o.Processed, n, "S")
	case s == tallyReview:
		return m.mark(n, "F")
	case m.o.After == AfterFlag:
		return m.mark(n, "S")
	}
	return os.Remove(m.path(n))
}

// mark gives a message a flag. What has flags lies in cur.
func (m *maildirBox) mark(n uint32, flag string) error {
	to := "cur/" + withFlag(m.files[n-1], flag)
	if err := os.Rename(m.path(n), filepath.Join(m.dir, to)); err != nil {
		return err
	}
	m.files[n-1] = to
	return nil
}

// withFlag is a message's name with one flag more; flags stand in the order of the alphabet.
func withFlag(file, flag string) string {
	_, name, _ := strings.Cut(file, "/")
	base, info, _ := strings.Cut(name, ":")
	flags := []byte(strings.TrimPrefix(info, "2,"))
	if flag != "" && !strings.Contains(string(flags), flag) {
		flags = append(flags, flag...)
	}
	slices.Sort(flags)
	return base + ":2," + string(flags)
}

func (m *maildirBox) moveTo(folder string, n uint32, flag string) error {
	dir := maildirFolder(m.o.Path, folder)
	from, to := m.path(n), filepath.Join(dir, "cur", withFlag(m.files[n-1], flag))
	err := os.Rename(from, to)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Lstat(from); err != nil {
		return err // it is the message that is gone
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return fmt.Errorf("make folder %q: %w", folder, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "maildirfolder"), nil, 0o600); err != nil {
		return fmt.Errorf("make folder %q: %w", folder, err)
	}
	return os.Rename(from, to)
}
