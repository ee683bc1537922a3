package mailtest

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// Sink is an SMTP server that takes everything as fast as it can and keeps nothing but counts: for benchmarks, where a real
// server would be what is measured. It shares the machine with what is measured, so it looks at as few bytes as it can: one
// read and one write a pipelined group, and a search for the end of the data instead of lines.
type Sink struct {
	listener
	taken       atomic.Int64
	first, last atomic.Int64 // when messages were taken, Unix nanoseconds; 0: none yet
}

// NewSink starts a sink that ends with the test.
func NewSink(t testing.TB) *Sink {
	t.Helper()
	s, err := StartSink()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// StartSink starts a sink in a process that is no test. Close it.
func StartSink() (*Sink, error) {
	s := &Sink{}
	return s, s.listen(s.talk)
}

// Taken is how many messages it has taken since it started or was reset.
func (s *Sink) Taken() int64 { return s.taken.Load() }

// Span is the time from the first message taken to the last one: what came before the first, dialling and greeting, is not
// in it, and Taken less one messages are.
func (s *Sink) Span() time.Duration { return time.Duration(s.last.Load() - s.first.Load()) }

// Reset begins to count anew. Nobody may be sending.
func (s *Sink) Reset() {
	s.taken.Store(0)
	s.first.Store(0)
	s.last.Store(0)
}

func (s *Sink) talk(conn net.Conn) {
	d := sinkDialog{taken: s.took, out: []byte("220 sink ESMTP\r\n")}
	buf, have := make([]byte, 256<<10), 0
	for {
		if _, err := conn.Write(d.out); err != nil || d.over {
			return
		}
		for d.out = d.out[:0]; len(d.out) == 0 && !d.over; {
			if have == len(buf) {
				return // a command line without an end
			}
			n, err := conn.Read(buf[have:])
			if err != nil {
				return
			}
			have += n
			have = copy(buf, buf[d.consume(buf[:have]):have])
		}
	}
}

func (s *Sink) took() {
	now := time.Now().UnixNano()
	s.first.CompareAndSwap(0, now)
	s.last.Store(now)
	s.taken.Add(1)
}

// sinkDialog is where a session stands: what was said, and whether data is coming.
type sinkDialog struct {
	data, over bool
	out        []byte // replies that the client has not got yet
	taken      func()
}

var endOfData = []byte("\r\n.\r\n")

// consume answers what is complete in what came in, and returns how much of it is done with.
func (d *sinkDialog) consume(in []byte) int {
	at := 0
	for !d.over {
		if d.data {
			i := bytes.Index(in[at:], endOfData)
			if i < 0 {
				return max(at, len(in)-len(endOfData)+1) // the end may have begun
			}
			at += i + len(endOfData)
			d.data = false
			d.taken()
			d.say("250 2.0.0 taken\r\n")
			continue
		}
		i := bytes.Index(in[at:], []byte("\r\n"))
		if i < 0 {
			break
		}
		command := in[at : at+i]
		at += i + 2
		d.answer(command)
		if d.data {
			at -= 2 // a dot may stand in the very first line of the data
		}
	}
	return at
}

func (d *sinkDialog) answer(command []byte) {
	verb := byte(' ')
	if len(command) > 0 {
		verb = command[0] &^ 0x20 // in upper case
	}
	switch verb {
	case 'E':
		d.say("250-sink\r\n250 PIPELINING\r\n")
	case 'D':
		d.data = true
		d.say("354 go on\r\n")
	case 'Q':
		d.over = true
		d.say("221 2.0.0 bye\r\n")
	default:
		d.say("250 2.0.0 ok\r\n")
	}
}

func (d *sinkDialog) say(reply string) { d.out = append(d.out, reply...) }
