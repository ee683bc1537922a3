package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// hashing computes the hash of a file beside whatever else is done with it: it tells whether an import that was stopped is the same
// one, and nobody asks before the file was checked.
type hashing struct {
	stop context.CancelFunc
	done chan struct{}
	sum  string
	err  error
}

// startHash begins to hash the file. The source ends it when it is closed.
func (s *source) startHash(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	h := &hashing{stop: stop, done: make(chan struct{})}
	s.hash = h
	go func() {
		defer close(h.done)
		sum := sha256.New()
		file := &cancellable{ctx, io.NewSectionReader(s.file, 0, s.size)}
		if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, file, make([]byte, 256<<10)); err != nil {
			h.err = fmt.Errorf("read %s: %w", s.name, err)
			return
		}
		h.sum = hex.EncodeToString(sum.Sum(nil))
	}()
}

// result is the SHA-256 of the file in hexadecimal digits.
func (h *hashing) result() (string, error) {
	<-h.done
	return h.sum, h.err
}

// end stops it if it is not done.
func (h *hashing) end() {
	h.stop()
	<-h.done
}
