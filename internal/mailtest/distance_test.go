package mailtest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// echoServer sends back what it gets, until it ends.
func echoServer(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.Copy(conn, conn)
	}()
	t.Cleanup(func() { ln.Close(); <-ended })
	return ln.Addr().String()
}

func dialDistance(t *testing.T, roundTrip time.Duration) net.Conn {
	t.Helper()
	d := NewDistance(t, echoServer(t), roundTrip)
	conn, err := net.Dial("tcp", d.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// A byte comes back after a round trip, never earlier.
func TestDistanceIsARoundTrip(t *testing.T) {
	const roundTrip = 30 * time.Millisecond
	conn := dialDistance(t, roundTrip)
	best := time.Hour
	for range 10 {
		began := time.Now()
		conn.Write([]byte{1})
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		if took < roundTrip {
			t.Fatalf("back after %v", took)
		}
		best = min(best, took)
	}
	if best > roundTrip+20*time.Millisecond { // the best of ten: a busy machine makes some later
		t.Errorf("never back before %v", best)
	}
}

// Bytes keep their order and their number, and a megabyte a millisecond passes: a proxy that waited for each piece before it
// read the next would take a round trip a piece.
func TestDistanceIsLongNotNarrow(t *testing.T) {
	const roundTrip = 200 * time.Millisecond
	conn := dialDistance(t, roundTrip)
	sent := make([]byte, 8<<20)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range sent {
		sent[i] = byte(r.Uint32())
	}
	began := time.Now()
	wrote := make(chan error, 1)
	go func() {
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(64<<10))
			if _, err := conn.Write(rest[:n]); err != nil {
				wrote <- err
				return
			}
			rest = rest[n:]
		}
		wrote <- conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	took := time.Since(began)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d of %d bytes came back, %v", len(got), len(sent), err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if took < roundTrip || took > 10*roundTrip { // some 250 pieces: 50 s if each waited
		t.Errorf("took %v", took)
	}
}

// When the server hangs up, the client learns it.
func TestDistanceEndsWhenEitherSideDoes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	d := NewDistance(t, ln.Addr().String(), 10*time.Millisecond)
	conn, err := net.Dial("tcp", d.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(server, "421 bye\r\n")
	server.Close()
	if got, err := io.ReadAll(conn); string(got) != "421 bye\r\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
