package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
)

// Table is a file of another program: rows of cells (text or a workbook), or JSON. It is recognised as an import is.
type Table struct {
	src       *source
	Encoding  string
	Delimiter string
	JSON      bool
}

// OpenTable opens a file, or standard input ("-"), which is spooled into dir. An encoding that is empty or "auto" is found
// out.
func OpenTable(ctx context.Context, path string, stdin io.Reader, dir, encoding string) (*Table, error) {
	src, err := openSource(ctx, path, stdin, dir)
	if err != nil {
		return nil, err
	}
	t := &Table{src: src}
	o := Options{Encoding: encoding, Format: FormatCSV} // JSON of other programs is not one object a person: the caller reads it
	if src.isArchive() {
		o.Format = FormatXLSX
	}
	if err := src.recognise(ctx, o); err != nil {
		src.close()
		return nil, err
	}
	t.Encoding, t.Delimiter = src.charset.name, src.delimiter()
	if o.Format == FormatXLSX {
		return t, nil
	}
	start := src.start()
	t.JSON = bytes.HasPrefix(start, []byte("{")) || bytes.HasPrefix(start, []byte("["))
	return t, nil
}

// Close closes the file.
func (t *Table) Close() error { return t.src.close() }

// Text is the file from its start, as UTF-8. What does not decode is U+FFFD in it.
func (t *Table) Text() (io.Reader, error) {
	r, err := t.src.reader()
	if err != nil || t.src.charset.enc == nil || !t.src.charset.plain {
		return r, err
	}
	return t.src.charset.enc.NewDecoder().Reader(r), nil
}

// Done is how far the file was read, in bytes, and its size.
func (t *Table) Done() (done, size int64) {
	done, _ = t.src.file.Seek(0, io.SeekCurrent)
	if st, err := t.src.file.Stat(); err == nil {
		size = st.Size()
	}
	return done, size
}

// Rows calls fn for every row, the header too, and reject for one that cannot be read. The cells are good until fn
// returns.
func (t *Table) Rows(ctx context.Context, fn func(line int64, cells []string) error, reject func(Reject)) error {
	r, err := t.src.rows()
	if err != nil {
		return err
	}
	defer r.Close()
	for n := 0; ; n++ {
		if n%progressEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		rec, bad, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case bad != nil:
			reject(*bad)
		default:
			if err := fn(rec.line, rec.cells); err != nil {
				return err
			}
		}
	}
}
