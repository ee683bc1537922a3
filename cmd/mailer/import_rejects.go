package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"mailer/internal/contact"
	"mailer/internal/ingest"
)

// rejectsFile is the CSV of rejected rows: UTF-8 with a mark, so that Excel reads it.
type rejectsFile struct {
	f       *os.File
	w       *csv.Writer
	several bool
}

func createRejects(path string, files []string, stdin io.Reader, several bool) (*rejectsFile, error) {
	st, err := os.Stat(path)
	for _, file := range files {
		if in, inErr := statInput(file, stdin); err == nil && inErr == nil && os.SameFile(st, in) {
			return nil, usage("--rejects %s is the file that is imported: name another one", path)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write rejects: %w", err)
	}
	r := &rejectsFile{f, csv.NewWriter(f), several}
	header := []string{"line", "column", "reason", "row"}
	if several {
		header = append(header, "file")
	}
	if _, err := f.WriteString("\ufeff"); err != nil {
		f.Close()
		return nil, fmt.Errorf("write rejects: %w", err)
	}
	return r, r.w.Write(header)
}

// statInput is about the file that is imported; "-" can be one too: mailer import - < list.csv.
func statInput(file string, stdin io.Reader) (fs.FileInfo, error) {
	if f, ok := stdin.(*os.File); ok && file == "-" {
		return f.Stat()
	}
	return os.Stat(file)
}

func (r *rejectsFile) write(j ingest.Reject, file string) error {
	column := ""
	if j.Column > 0 {
		column = strconv.Itoa(j.Column)
	}
	row := []string{strconv.FormatInt(j.Line, 10), column, contact.Guard(j.Reason), contact.Guard(j.Row)}
	if r.several {
		row = append(row, contact.Guard(file))
	}
	if err := r.w.Write(row); err != nil {
		return fmt.Errorf("write rejects: %w", err)
	}
	return nil
}

func (r *rejectsFile) close() error {
	r.w.Flush()
	if err := errors.Join(r.w.Error(), r.f.Close()); err != nil {
		return fmt.Errorf("write rejects: %w", err)
	}
	return nil
}
