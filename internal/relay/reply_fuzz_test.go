package relay

import (
	"bytes"
	"io"
	"net"
	"regexp"
	"sync"
	"testing"
	"time"

	"mailer/internal/delivery"
)

// wholeReply is a reply as RFC 5321 section 4.2 has it, read by other means than ours.
var wholeReply = regexp.MustCompile(`^(?:([1-5][0-9][0-9])-[^\n]*\n)*([1-5][0-9][0-9])(?: [^\n]*)?\r*\n`)

// codes are the codes of a text that is nothing but so many replies.
func codes(text []byte, n int) (all []string, rest []byte) {
	for len(all) < n {
		m := wholeReply.FindSubmatch(text)
		if m == nil {
			return nil, text
		}
		all, text = append(all, string(m[2])), text[len(m[0]):]
	}
	return all, text
}

// Whatever a relay answers to the envelope and to the dot: a message is accepted only when these were the replies to it, each
// in its place and nothing between.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("250 ok\r\n250 ok\r\n354 go\r\n"), []byte("250 2.0.0 taken\r\n"))
	f.Add([]byte("250-a\r\n250 b\r\n250\r\n354 go\r\n"), []byte("250-2.0.0 taken\r\n250 2.0.0 twice\r\n"))
	f.Add([]byte("250 ok\r\n550 no\r\n354 go\r\n"), []byte("250 ok\r\n"))
	f.Add([]byte("250 ok\r\n250 ok\r\n354 go\r\n250 more\r\n"), []byte("554 no\r\n"))
	f.Add([]byte("250 ok\n250 ok\n354 go\n"), []byte("250-\n"))
	f.Fuzz(func(t *testing.T, group, dot []byte) {
		if len(group) > 2000 || len(dot) > 2000 {
			return
		}
		ours, theirs := net.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() {
			defer theirs.Close()
			io.WriteString(theirs, "220 x\r\n")
			answer := [][]byte{[]byte("250-x\r\n250 PIPELINING\r\n"), group, dot}
			var in []byte
			for buf := make([]byte, 4<<10); len(answer) > 0; {
				n, err := theirs.Read(buf)
				if err != nil {
					return
				}
				in = append(in, buf[:n]...)
				if end := [][]byte{[]byte("EHLO x\r\n"), []byte("DATA\r\n"), []byte("\r\n.\r\n")}[3-len(answer)]; bytes.HasSuffix(in, end) {
					theirs.Write(answer[0])
					answer = answer[1:]
				}
			}
		})
		const brief = 20 * time.Millisecond // a reply that never comes must not hold the fuzzing up; what comes too late is not accepted
		conn := &Conn{raw: ours}
		conn.server = Server{Host: "localhost", TLS: NoTLS, Pipelining: true, Hello: "x", Timeouts: Timeouts{
			Connect: brief, Command: brief, Data: brief, Block: brief, Dot: brief}}
		conn.dialer = NewDialer(conn.server)
		var a delivery.Attempt
		if err := conn.dialer.open(t.Context(), conn, nil); err == nil {
			a = conn.Send(messages("one@example.jp")[0], nil)
		}
		ours.Close()
		serving.Wait()
		got, rest := codes(group, 3)
		taken, _ := codes(dot, 1)
		right := got != nil && len(rest) == 0 && got[0][0] == '2' && got[1][0] == '2' && got[2] == "354" && taken != nil && taken[0][0] == '2'
		if a.Accepted() && !right {
			t.Errorf("accepted by %q and %q: %+v", group, dot, a)
		}
	})
}
