package mailtest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// Wire is a network in memory, for tests on a simulated clock: a goroutine that waits for a socket keeps that clock from going on, one
// that waits here does not. What is written is delivered after Delay.
type Wire struct {
	Delay time.Duration // one way

	mu     sync.Mutex
	closed bool
	calls  chan net.Conn
	done   chan struct{}
}

// NewWire returns a network with one host on it.
func NewWire(delay time.Duration) *Wire {
	return &Wire{Delay: delay, calls: make(chan net.Conn), done: make(chan struct{})}
}

// NewSMTPOn starts a server on a network in memory.
func NewSMTPOn(t testing.TB, w *Wire, script Script) *SMTPServer {
	t.Helper()
	s := &SMTPServer{Addr: "127.0.0.1:25", Host: "127.0.0.1", Port: 25, script: script, ln: w, done: make(chan struct{}), open: make(map[net.Conn]bool)}
	s.wg.Go(s.accept)
	t.Cleanup(s.Close)
	return s
}

// Dial connects with the host; it fits net.Dialer.DialContext.
func (w *Wire) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := newStream(w.Delay), newStream(w.Delay)
	select {
	case w.calls <- &wireConn{in: here, out: there}:
	case <-w.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &wireConn{in: there, out: here}, nil
}

// Accept makes it a net.Listener.
func (w *Wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.calls:
		return c, nil
	case <-w.done:
		return nil, net.ErrClosed
	}
}

// Close ends listening.
func (w *Wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		close(w.done)
	}
	return nil
}

// Addr is that of the one host.
func (w *Wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

// stream carries bytes in one direction.
type stream struct {
	delay time.Duration
	ready chan struct{} // something changed; one waits at a time

	mu     sync.Mutex
	parts  []part
	closed bool
	limit  time.Time // of reads
}

type part struct {
	at   time.Time
	data []byte
}

func newStream(delay time.Duration) *stream {
	return &stream{delay: delay, ready: make(chan struct{}, 1)}
}

func (s *stream) change(do func()) {
	s.mu.Lock()
	do()
	s.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *stream) write(b []byte) (n int, err error) {
	s.change(func() {
		if s.closed {
			err = io.ErrClosedPipe
			return
		}
		n = len(b)
		s.parts = append(s.parts, part{time.Now().Add(s.delay), append([]byte(nil), b...)})
	})
	return n, err
}

// take reads what is there; wait is how long there will be nothing, below 0 for as long as nothing changes.
func (s *stream) take(b []byte) (n int, wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	wait = -1
	if len(s.parts) > 0 {
		first := &s.parts[0]
		if wait = first.at.Sub(now); wait <= 0 {
			n = copy(b, first.data)
			if first.data = first.data[n:]; len(first.data) == 0 {
				s.parts = s.parts[1:]
			}
			return n, 0, nil
		}
	} else if s.closed {
		return 0, 0, io.EOF
	}
	if !s.limit.IsZero() {
		left := s.limit.Sub(now)
		if left <= 0 {
			return 0, 0, os.ErrDeadlineExceeded
		}
		if wait < 0 || left < wait {
			wait = left
		}
	}
	return 0, wait, nil
}

func (s *stream) read(b []byte) (int, error) {
	for {
		n, wait, err := s.take(b)
		if n > 0 || err != nil {
			return n, err
		}
		if wait < 0 {
			<-s.ready
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-s.ready:
		case <-t.C:
		}
		t.Stop()
	}
}

// wireConn is one end of a connection.
type wireConn struct {
	in, out *stream
	once    sync.Once
}

func (c *wireConn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *wireConn) Write(b []byte) (int, error) { return c.out.write(b) }

// Close ends both directions; what was written before is still delivered.
func (c *wireConn) Close() error {
	c.once.Do(func() {
		c.in.change(func() { c.in.closed, c.in.parts = true, nil })
		c.out.change(func() { c.out.closed = true })
	})
	return nil
}

func (c *wireConn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1024} }
func (c *wireConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

func (c *wireConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *wireConn) SetWriteDeadline(time.Time) error { return nil } // writes never wait
func (c *wireConn) SetReadDeadline(t time.Time) error {
	c.in.change(func() { c.in.limit = t })
	return nil
}
