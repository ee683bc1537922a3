package mailtest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Distance is a TCP proxy that plays a server far away: every byte arrives half a round trip after it was sent, in both
// directions. What is sent meanwhile is under way meanwhile: the line is long, not narrow.
type Distance struct {
	listener
	to    string
	delay time.Duration
}

// NewDistance puts a round trip between its own address and another one, until the test ends.
func NewDistance(t testing.TB, to string, roundTrip time.Duration) *Distance {
	t.Helper()
	d := &Distance{to: to, delay: roundTrip / 2}
	if err := d.listen(d.join); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// join carries what two connections say, until both are silent.
func (d *Distance) join(near net.Conn) {
	far, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	defer far.Close()
	if !d.keep(far) {
		return
	}
	defer d.drop(far)
	var both sync.WaitGroup
	both.Go(func() { d.carry(far, near) })
	both.Go(func() { d.carry(near, far) })
	both.Wait()
}

// underway is a piece of the stream, or its end, and when it arrives.
type underway struct {
	bytes []byte
	at    time.Time
}

// carry takes what comes from one side to the other, late. An end of the stream is as late as the bytes before it.
func (d *Distance) carry(to, from net.Conn) {
	line := make(chan underway, 4096) // at a read each: far more than fits into a round trip of any test
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(line)
		buf := make([]byte, 256<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				line <- underway{append([]byte(nil), buf[:n]...), time.Now().Add(d.delay)}
			}
			if err != nil {
				line <- underway{at: time.Now().Add(d.delay)}
				return
			}
		}
	})
	for u := range line {
		time.Sleep(time.Until(u.at))
		if u.bytes == nil {
			to.(*net.TCPConn).CloseWrite()
		} else if _, err := to.Write(u.bytes); err != nil {
			from.Close() // nobody is there any more
		}
	}
	reading.Wait()
}
