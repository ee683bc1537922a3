package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"mailer/internal/address"
	"mailer/internal/store"
)

// A file goes through in blocks of rows: one goroutine cuts them from the file, several take them apart, and the one that asked
// for them gets them in the order of the file. At any time a bounded number of blocks is on its way, so that memory stays flat.

// block is a stretch of the file on its way.
type block struct {
	text []byte // where the bytes of raws lie
	raws []raw  // of CSV
	recs []item // of a format that is decoded as it is read
	rows []parsed
	ends []int         // where the stored form of each row ends
	done chan struct{} // closed when rows are there
	err  error         // of reading; the block's rows come before it
}

// item is a row as a rowReader gives it.
type item struct {
	rec    record
	reject *Reject
}

// parsed is a row that can be imported, or why it can not.
type parsed struct {
	row     store.Row
	reject  *Reject
	address address.Address
}

// Bounds of a block: the first that is reached ends it.
const (
	blockRows  = 512
	blockBytes = 128 << 10
	cellBytes  = 16 // of a cell beside its text: one stray cell far to the right makes every row of a sheet wide
)

// stream calls take for the blocks of the file behind its header, in order. encode makes the stored form of each row; nil: it is not
// wanted. stream returns when every goroutine that it started has ended.
func (im *importing) stream(ctx context.Context, encode func([]byte, []string) ([]byte, error), take func([]parsed) error) error {
	body, err := im.src.body(im.layout.header)
	if err != nil {
		return err
	}
	defer body.Close()
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	todo := make(chan *block, workers)      // for whoever is free
	ordered := make(chan *block, 2*workers) // the same blocks, in order
	group.Go(func() {
		defer close(todo)
		defer close(ordered)
		cut(ctx, body, ordered, todo)
	})
	for range workers {
		group.Go(func() {
			p := &parser{src: im.src, layout: im.layout, show: body.show, encode: encode, width: len(im.layout.header.names), decode: im.src.charset.decoder()}
			for b := range todo {
				p.block(b)
				close(b.done)
			}
		})
	}
	for b := range ordered {
		select {
		case <-b.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := take(b.rows); err != nil {
			return err
		}
		if b.err != nil {
			return b.err
		}
	}
	return ctx.Err()
}

// cut makes blocks of the rows of body and gives each to both channels.
func cut(ctx context.Context, body *body, ordered, todo chan<- *block) {
	for more := true; more; {
		b := &block{done: make(chan struct{})}
		if csv, ok := body.rowReader.(*records); ok {
			more, b.err = b.fillRaw(csv)
		} else {
			more, b.err = b.fill(body)
		}
		if !more && b.err == nil {
			b.err = body.src.unchanged()
		}
		for _, out := range []chan<- *block{ordered, todo} {
			select {
			case out <- b:
			case <-ctx.Done():
				return
			}
		}
	}
}

// fillRaw takes undecoded rows until the block is full. It reports false at the end of the file.
func (b *block) fillRaw(r *records) (more bool, err error) {
	b.text, b.raws = make([]byte, 0, blockBytes+blockBytes/8), make([]raw, 0, blockRows)
	for len(b.raws) < blockRows && len(b.text) < blockBytes {
		raw, err := r.split.next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read %s: %w", r.src.name, err)
		}
		if raw.empty() {
			continue
		}
		start := len(b.text)
		b.text = append(b.text, raw.bytes...) // an earlier row keeps the memory that it points to if this one needs more
		raw.bytes = b.text[start:len(b.text):len(b.text)]
		b.raws = append(b.raws, raw)
	}
	return true, nil
}

// fill is fillRaw for what comes as records.
func (b *block) fill(r rowReader) (more bool, err error) {
	b.recs = make([]item, 0, blockRows)
	for size := 0; len(b.recs) < blockRows && size < blockBytes; {
		rec, reject, err := r.next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		rec.cells, rec.bytes = slices.Clone(rec.cells), bytes.Clone(rec.bytes)
		b.recs = append(b.recs, item{rec, reject})
		size += len(rec.bytes) + cellBytes*len(rec.cells)
		for _, c := range rec.cells {
			size += len(c)
		}
	}
	return true, nil
}
