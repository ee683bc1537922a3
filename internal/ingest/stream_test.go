package ingest

import (
	"io"
	"testing"
)

// wideRows gives rows of many empty cells.
type wideRows struct {
	left  int
	cells []string
}

func (w *wideRows) next() (record, *Reject, error) {
	if w.left--; w.left < 0 {
		return record{}, nil, io.EOF
	}
	return record{line: int64(1000 - w.left), cells: w.cells}, nil, nil
}
func (w *wideRows) show(record) string { return "" }
func (w *wideRows) Close() error       { return nil }

// One stray cell in the last column of a sheet makes all of its rows wide: a block of them is bounded by its cells too.
func TestBlockOfWideRowsIsBounded(t *testing.T) {
	w := &wideRows{left: 100, cells: make([]string, maxColumns)}
	rows := 0
	for more := true; more; {
		b := &block{}
		var err error
		if more, err = b.fill(w); err != nil {
			t.Fatal(err)
		}
		if rows += len(b.recs); len(b.recs) > 1 {
			t.Fatalf("%d rows of %d cells in a block", len(b.recs), maxColumns)
		}
	}
	if rows != 100 {
		t.Errorf("%d rows came through", rows)
	}
}
