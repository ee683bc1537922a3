package mailtest

import (
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// A session cut anywhere into pieces gets the same replies: the end of the data is found over two reads, a lone dot ends an
// empty message, and a dot within the data does not.
func TestSinkAnswersASessionInAnyPieces(t *testing.T) {
	const session = "EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" +
		"Subject: one\r\n\r\n..\r\n.x\r\n \r\n.\r\n" + "MAIL FROM:<a@b>\r\nrcpt to:<c@d>\r\ndata\r\n" +
		".\r\n" + "\r\nRSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" +
		"DATA\r\nQUIT\r\n.QUIT\r\n.\r\n" + "QUIT\r\n"
	const want = "250-sink|250 PIPELINING|250 2.0.0 ok|250 2.0.0 ok|354 go on|" +
		"250 2.0.0 taken|250 2.0.0 ok|250 2.0.0 ok|354 go on|" +
		"250 2.0.0 taken|250 2.0.0 ok|250 2.0.0 ok|250 2.0.0 ok|250 2.0.0 ok|354 go on|" +
		"250 2.0.0 taken|221 2.0.0 bye|"
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		taken := 0
		d := sinkDialog{taken: func() { taken++ }}
		var have []byte
		for rest := session; rest != ""; {
			n := 1 + r.IntN(min(len(rest), 1+int(seed)/3))
			have = append(have, rest[:n]...)
			rest = rest[n:]
			have = have[d.consume(have):]
		}
		if got := strings.ReplaceAll(string(d.out), "\r\n", "|"); got != want || taken != 3 || !d.over {
			t.Fatalf("seed %d: %d taken, over %v\n got %s\nwant %s", seed, taken, d.over, got, want)
		}
	}
}

func TestSinkCountsAndTimes(t *testing.T) {
	s := NewSink(t)
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const letter = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n"
	const replies = "250 2.0.0 ok\r\n250 2.0.0 ok\r\n354 go on\r\n250 2.0.0 taken\r\n"
	read := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v", got, err)
		}
	}
	read("220 sink ESMTP\r\n")
	io.WriteString(conn, letter)
	read(replies)
	if s.Taken() != 1 || s.Span() != 0 {
		t.Errorf("after one: %d in %v", s.Taken(), s.Span())
	}
	began := time.Now()
	time.Sleep(20 * time.Millisecond)
	io.WriteString(conn, letter+letter)
	read(replies + replies)
	if span := s.Span(); s.Taken() != 3 || span < 20*time.Millisecond || span > time.Since(began)+20*time.Millisecond {
		t.Errorf("after three: %d in %v", s.Taken(), span)
	}
	s.Reset()
	io.WriteString(conn, letter)
	read(replies)
	if s.Taken() != 1 || s.Span() != 0 {
		t.Errorf("after a reset: %d in %v", s.Taken(), s.Span())
	}
}
