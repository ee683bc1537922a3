package ingest

import (
	"context"
	"errors"
	"io"

	"mailer/internal/contact"
	"mailer/internal/workbook"
)

// openBook opens the source as a workbook, with the sheet that --sheet names.
func (s *source) openBook(ctx context.Context, sheet string) error {
	if !given(sheet) {
		sheet = ""
	}
	b, err := workbook.Open(ctx, s.file, s.size, workbook.Options{Name: s.name, Sheet: sheet, TempDir: s.dir, Alive: s.alive})
	if err != nil {
		return bookError(err)
	}
	rows, columns := b.Size()
	s.book, s.hints, s.count = b, newHints(columns), rows
	return nil
}

// bookError makes a fault of the workbook one of usage.
func bookError(err error) error {
	if wrong := new(workbook.Error); errors.As(err, &wrong) {
		return &UsageError{err.Error()}
	}
	return err
}

// sheetRows gives the rows of a sheet.
type sheetRows struct {
	*workbook.Rows
	hints *hints
}

func (s *source) sheetRows() (rowReader, error) {
	r, err := s.book.Rows()
	if err != nil {
		return nil, bookError(err)
	}
	return &sheetRows{r, &s.hints}, nil
}

func (r *sheetRows) show(rec record) string { return csvLine(rec.cells) }

func (r *sheetRows) next() (record, *Reject, error) {
	for {
		row, err := r.Next()
		if errors.Is(err, io.EOF) {
			for i, c := range r.Columns() {
				r.hints.quoted[i], r.hints.number[i] = c.Quoted, c.Number
			}
		}
		if err != nil {
			return record{}, nil, bookError(err)
		}
		rec := record{line: row.Line, cells: row.Cells}
		switch {
		case row.Column > 0:
			return record{}, &Reject{Line: rec.line, Column: row.Column, Reason: row.Reason.Error(), Row: r.show(rec)}, nil
		case blank(rec.cells):
			continue
		}
		// A number format may put in what no cell may hold.
		for i, c := range rec.cells {
			if err := contact.CheckCell(c); err != nil {
				return record{}, &Reject{Line: rec.line, Column: i + 1, Reason: err.Error(), Row: r.show(rec)}, nil
			}
		}
		return rec, nil, nil
	}
}
