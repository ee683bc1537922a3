package mailtest

import (
	"bufio"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Sink is an SMTP server that takes everything as fast as it can and keeps nothing but a count: for benchmarks, where a real
// server would be what is measured.
type Sink struct {
	ln    net.Listener
	taken atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]bool
	group sync.WaitGroup
}

// NewSink starts a sink that ends with the test.
func NewSink(t testing.TB) *Sink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{ln: ln, conns: map[net.Conn]bool{}}
	s.group.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

// Port is where it listens on 127.0.0.1.
func (s *Sink) Port() int { return s.ln.Addr().(*net.TCPAddr).Port }

// Taken is how many messages it has taken so far.
func (s *Sink) Taken() int64 { return s.taken.Load() }

func (s *Sink) accept() {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = true
		s.mu.Unlock()
		s.group.Go(func() {
			s.talk(conn)
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

func (s *Sink) close() {
	s.ln.Close()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.group.Wait()
}

func (s *Sink) talk(conn net.Conn) {
	defer conn.Close()
	r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
	say := func(line string) { w.WriteString(line + "\r\n") }
	say("220 sink")
	data := false
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch {
		case data && string(line) == ".\r\n":
			data = false
			s.taken.Add(1)
			say("250 2.0.0 taken")
		case data:
		case line[0] == 'E':
			say("250-sink\r\n250 PIPELINING")
		case line[0] == 'D':
			data = true
			say("354 go on")
		case line[0] == 'Q':
			say("221 bye")
			w.Flush()
			return
		default:
			say("250 2.0.0 ok")
		}
	}
}
