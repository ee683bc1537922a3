package relay

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
)

func messages(addresses ...string) []*Message {
	var all []*Message
	for _, a := range addresses {
		all = append(all, &Message{envelope(a), body})
	}
	return all
}

// sendAll sends messages as the engine does, each offered with the one before, and another connection where one is used up.
func sendAll(t *testing.T, d *Dialer, all []*Message) []delivery.Attempt {
	t.Helper()
	var conn *Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	var attempts []delivery.Attempt
	for tries := 0; len(attempts) < len(all); tries++ {
		if tries > 2*len(all)+3 {
			t.Fatalf("it does not end: %+v", attempts)
		}
		if conn == nil || !conn.Usable() {
			if conn != nil {
				conn.Close()
			}
			var err error
			if conn, err = d.Dial(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		i := len(attempts)
		var next *Message
		if i+1 < len(all) {
			next = all[i+1]
		}
		if a := conn.Send(all[i], next); !a.Again {
			attempts = append(attempts, a)
		}
	}
	return attempts
}

// flights is a server that keeps what came in one read, and answers all of it in one write.
func flights(t *testing.T) (Server, func() []string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	var got []string
	t.Cleanup(func() { ln.Close(); serving.Wait() })
	serving.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "220 hello\r\n")
		data := false
		for buf := make([]byte, 64<<10); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			var verbs, replies []string
			for lines := bufio.NewScanner(bytes.NewReader(buf[:n])); lines.Scan(); {
				verb, _, _ := strings.Cut(lines.Text(), " ")
				switch {
				case data && verb != ".":
					continue
				case verb == "EHLO":
					replies = append(replies, "250-flights\r\n250 PIPELINING\r\n")
				case verb == "DATA":
					replies = append(replies, "354 go on\r\n")
				default:
					replies = append(replies, "250 2.0.0 ok\r\n")
				}
				data = verb == "DATA"
				verbs = append(verbs, verb)
			}
			got = append(got, strings.Join(verbs, " "))
			io.WriteString(conn, strings.Join(replies, ""))
		}
	})
	return serverOf(&mailtest.SMTPServer{Port: ln.Addr().(*net.TCPAddr).Port}), func() []string { serving.Wait(); return got }
}

// The dot and the next message's commands are one write: a message costs one round trip.
func TestOneRoundTripAMessage(t *testing.T) {
	server, got := flights(t)
	for i, a := range sendAll(t, NewDialer(server), messages("a@example.jp", "b@example.jp", "c@example.jp")) {
		if !a.Accepted() {
			t.Errorf("message %d: %+v", i, a)
		}
	}
	if want := []string{"EHLO", "MAIL RCPT DATA", ". MAIL RCPT DATA", ". MAIL RCPT DATA", ".", "QUIT"}; !slices.Equal(got(), want) {
		t.Errorf("flights %q, want %q", got(), want)
	}
}

// Whatever is said to one message of a chain, its neighbours get what is theirs.
func TestEachReplyOfAChain(t *testing.T) {
	for _, c := range []struct {
		replies map[string]string
		phase   delivery.Phase
		code    int
		conns   int
	}{
		{map[string]string{"MAIL": "451 4.3.0 later"}, delivery.PhaseMail, 451, 1},
		{map[string]string{"RCPT": "550-5.1.1 no\n550 5.1.1 such user"}, delivery.PhaseRcpt, 550, 1},
		{map[string]string{"RCPT": "550 5.1.1 no such user", "DATA": "354 all the same", ".": "554 5.5.1 no recipient"}, delivery.PhaseRcpt, 550, 1},
		{map[string]string{"RCPT": "550 5.1.1 no such user", "DATA": "354 all the same", ".": "250 taken for nobody"}, delivery.PhaseRcpt, 550, 1},
		{map[string]string{"RCPT": "450 4.2.0 greylisted"}, delivery.PhaseRcpt, 450, 1},
		{map[string]string{"RCPT": "421 4.3.2 closing"}, delivery.PhaseRcpt, 421, 2},
		{map[string]string{"DATA": "451 4.3.2 busy"}, delivery.PhaseData, 451, 1},
		{map[string]string{"DATA": "421 4.3.2 closing"}, delivery.PhaseData, 421, 2},
		{map[string]string{".": "552 5.3.4 too big"}, delivery.PhaseDot, 552, 1},
		{map[string]string{".": "451 4.7.1 again"}, delivery.PhaseDot, 451, 1},
		{map[string]string{".": "421 4.3.2 closing"}, delivery.PhaseDot, 421, 2},
		{map[string]string{"MAIL": "421 4.7.0 you send too much"}, delivery.PhaseMail, 421, 2},
	} {
		for at := 1; at <= 3; at++ {
			srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(cmd mailtest.Command) *mailtest.Reply {
				if text, ok := c.replies[cmd.Verb]; ok && cmd.Message == at {
					return &mailtest.Reply{Text: text}
				}
				return nil
			}})
			all := messages("m1@example.jp", "m2@example.jp", "m3@example.jp")
			for i, a := range sendAll(t, NewDialer(serverOf(srv)), all) {
				if i+1 != at && !a.Accepted() || i+1 == at && (a.Phase != c.phase || a.Reply.Code != c.code || a.Lost) {
					t.Errorf("%v to message %d: message %d has %+v", c.replies, at, i+1, a)
				}
			}
			var got []string
			for _, tx := range srv.Accepted() {
				if len(tx.Data) > 0 {
					got = append(got, tx.Rcpts[0].Address)
				}
			}
			want := []string{"m1@example.jp", "m2@example.jp", "m3@example.jp"}
			if slices.Sort(got); !slices.Equal(got, slices.Delete(want, at-1, at)) {
				t.Errorf("%v to message %d: the server took %v", c.replies, at, got)
			}
			if conns := srv.Conns(); conns != c.conns && (at < 3 || conns != 1) {
				t.Errorf("%v to message %d: %d connections, want %d", c.replies, at, conns, c.conns)
			}
			if v := srv.Violations(); len(v) > 0 {
				t.Errorf("%v to message %d: %v", c.replies, at, v)
			}
			srv.Close()
		}
	}
}

// Relays that take so many messages a connection say 421 to the next MAIL, or just end: the message goes over another
// connection, and counts as no failure.
func TestALimitOfMessagesIsNoFailure(t *testing.T) {
	for _, reply := range []mailtest.Reply{{Text: "421 4.4.2 too many messages on this connection"}, {Silent: true, Close: true}} {
		srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(cmd mailtest.Command) *mailtest.Reply {
			if cmd.Verb == "MAIL" && cmd.Conn <= 2 && cmd.Message == 3*cmd.Conn {
				return &reply
			}
			return nil
		}})
		for i, a := range sendAll(t, NewDialer(serverOf(srv)), messages("1@x.jp", "2@x.jp", "3@x.jp", "4@x.jp", "5@x.jp", "6@x.jp")) {
			if !a.Accepted() {
				t.Errorf("%+v: message %d: %+v", reply, i+1, a)
			}
		}
		if n := len(srv.Accepted()); n != 6 || srv.Conns() != 3 {
			t.Errorf("%+v: %d taken on %d connections", reply, n, srv.Conns())
		}
	}
}

// A relay (or a firewall before it) that throws away what came before its reply is found out once; nobody is sent a
// message twice by it, and all goes on with less at once.
func TestARelayThatCannotDoWhatItOffers(t *testing.T) {
	refuses := func(verb, text string) mailtest.Script {
		return mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
			if c.Verb == verb && c.Conn == 1 {
				return &mailtest.Reply{Text: text}
			}
			return nil
		}}
	}
	for name, c := range map[string]struct {
		script mailtest.Script
		want   reach
	}{
		"deaf":              {mailtest.Script{Deaf: true}, stepwise},
		"refuses at DATA":   {refuses("DATA", "503 5.5.0 Data command rejected: Improper use of SMTP command pipelining"), stepwise},
		"refuses at RCPT":   {refuses("RCPT", "503 5.5.1 bad sequence of commands"), stepwise},
		"refuses politely":  {refuses("MAIL", "450 4.7.1 no pipelining, please"), stepwise},
		"hangs up":          {mailtest.Script{Reply: hangsUp()}, stepwise},
		"deaf to the chain": {mailtest.Script{Reply: deafToChain()}, grouped},
	} {
		srv := mailtest.NewSMTP(t, c.script)
		s := serverOf(srv)
		s.Timeouts.Deaf = 100 * time.Millisecond
		d := NewDialer(s)
		for i, a := range sendAll(t, d, messages("1@x.jp", "2@x.jp", "3@x.jp")) {
			if !a.Accepted() {
				t.Errorf("%s: message %d: %+v\n%s", name, i+1, a, srv.Transcript())
			}
		}
		if got := d.trust.reach(); got != c.want {
			t.Errorf("%s: goes on with %v, want %v", name, got, c.want)
		}
		if n := len(srv.Accepted()); n != 3 {
			t.Errorf("%s: %d taken\n%s", name, n, srv.Transcript())
		}
		srv.Close()
	}
}

// One message alone finds another way, too.
func TestOneMessageToADeafRelay(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Deaf: true})
	s := serverOf(srv)
	s.Timeouts.Deaf = 100 * time.Millisecond
	conn := dial(t, s)
	if a := conn.SendAlone(t.Context(), messages("one@example.jp")[0]); !a.Accepted() || len(srv.Accepted()) != 1 {
		t.Errorf("got %+v", a)
	}
	if conn.dialer.Shortfall() == "" {
		t.Error("nobody is told")
	}
}

// hangsUp ends the first connection at its second command, as if it had come too early.
func hangsUp() func(mailtest.Command) *mailtest.Reply {
	return func(c mailtest.Command) *mailtest.Reply {
		if c.Conn == 1 && c.Verb == "RCPT" {
			return &mailtest.Reply{Silent: true, Close: true}
		}
		return nil
	}
}

// deafToChain says nothing more on the first connection after the first dot, as if what came with it had been thrown away.
func deafToChain() func(mailtest.Command) *mailtest.Reply {
	var deaf atomic.Bool
	return func(c mailtest.Command) *mailtest.Reply {
		if c.Conn == 1 && deaf.Load() {
			return &mailtest.Reply{Silent: true}
		}
		deaf.Store(c.Verb == ".")
		return nil
	}
}

// A message that was offered and is not sent leaves nothing at the relay.
func TestAnOfferCanBeDropped(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	conn := dial(t, serverOf(srv))
	all := messages("first@example.jp", "second@example.jp")
	if a := conn.Send(all[0], all[1]); !a.Accepted() || !conn.Offered(all[1]) {
		t.Fatalf("got %+v", a)
	}
	conn.Close()
	srv.Close()
	if acc := srv.Accepted(); len(acc) != 1 || acc[0].Rcpts[0].Address != "first@example.jp" {
		t.Errorf("taken: %+v", acc)
	}
	if strings.Contains(srv.Transcript(), "QUIT") {
		t.Error("QUIT would have been taken for content")
	}
}

// What the relay would refuse anyway, by what it said of itself, is not offered.
func TestWhatIsRefusedHereIsNotOffered(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Keywords: []string{"PIPELINING", "SIZE 1000"}})
	all := messages("a@example.jp", "b@example.jp", "c@example.jp")
	all[1].Raw = bytes.Repeat([]byte("0123456789\r\n"), 100)
	got := sendAll(t, NewDialer(serverOf(srv)), all)
	if !got[0].Accepted() || got[1].Reply.Enhanced != "5.3.4" || !got[2].Accepted() || len(srv.Transactions()) != 2 || srv.Conns() != 1 {
		t.Errorf("%+v", got)
	}
}

// A connection that may carry only so many messages is not told of one more.
func TestNoOfferBeyondTheShare(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Keywords: []string{"PIPELINING", "LIMITS MAILMAX=2"}})
	conn := dial(t, serverOf(srv))
	all := messages("a@example.jp", "b@example.jp", "c@example.jp")
	for i := range 2 {
		if a := conn.Send(all[i], all[i+1]); !a.Accepted() {
			t.Fatalf("message %d: %+v", i, a)
		}
	}
	if conn.Offered(all[2]) || !conn.Full() || len(srv.Transactions()) != 2 {
		t.Errorf("offered %v, full %v, %d transactions", conn.Offered(all[2]), conn.Full(), len(srv.Transactions()))
	}
}

// Cut after every byte of a chain of three: what the server has whole is accepted or in doubt, never given back; what it
// has not is never accepted; and at most one is in doubt.
func TestAChainCutAfterEveryByte(t *testing.T) {
	all := messages("a@example.jp", "b@example.jp", "c@example.jp")
	chain := func(srv *mailtest.SMTPServer) map[string]delivery.Attempt {
		got := map[string]delivery.Attempt{}
		conn, err := Dial(t.Context(), serverOf(srv))
		if err != nil {
			return got
		}
		defer conn.Close()
		for i, m := range all {
			var next *Message
			if i+1 < len(all) {
				next = all[i+1]
			}
			if got[m.To] = conn.Send(m, next); !conn.Usable() {
				break
			}
		}
		return got
	}
	reference := mailtest.NewSMTP(t, mailtest.Script{})
	chain(reference)
	reference.Close()
	for n := 1; n <= len(reference.Input(1)); n++ {
		srv := mailtest.NewSMTP(t, mailtest.Script{CutAfter: map[int]int{1: n}})
		got := chain(srv)
		srv.Close()
		doubt, complete := 0, map[string]bool{}
		for _, tx := range srv.Transactions() {
			if tx.Complete {
				complete[tx.Rcpts[0].Address] = true
			}
		}
		for _, m := range all {
			a, tried := got[m.To]
			unsure := tried && a.Lost && a.Phase == delivery.PhaseDot
			if unsure {
				doubt++
			}
			if complete[m.To] && !a.Accepted() && !unsure || !complete[m.To] && a.Accepted() {
				t.Errorf("cut after %d bytes: %s complete %v, and we say %+v", n, m.To, complete[m.To], a)
			}
		}
		if doubt > 1 {
			t.Errorf("cut after %d bytes: %d in doubt", n, doubt)
		}
	}
}

func TestReplies(t *testing.T) {
	for text, want := range map[string]string{
		"250 ok": "", "250 2.0.0 ok": "2.0.0", "550 5.1.1": "5.1.1", "550 5.1.1\tx": "5.1.1", "550 5.1.1234 x": "", "550 4.x.1 y": "", "550 3.1.1 x": "",
		"550 .1.1 x": "", "250 2.0 x": "", "250 2.0.0.1 x": "", "550-5.7.1 two lines": "5.7.1", "250": "",
	} {
		if got := newReply(250, text); got.Enhanced != want || strings.Contains(got.Text, "-") {
			t.Errorf("%q: %+v, want %q", text, got, want)
		}
	}
	for line, ok := range map[string]bool{"250": true, "250 x": true, "250-x": true, "25": false, "2x0 ok": false, "250x": false, "600 no": false, "099 no": false, "+25 x": false} {
		if _, _, got := splitReply(line); got != ok {
			t.Errorf("%q: %v", line, got)
		}
	}
}

func BenchmarkChain(b *testing.B) {
	sink := mailtest.NewSink(b)
	conn, err := Dial(b.Context(), Server{Name: "sink", Host: "127.0.0.1", Port: sink.Port(), TLS: NoTLS, Pipelining: true})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	raw := append([]byte("Subject: bench\r\n\r\n"), bytes.Repeat([]byte("0123456789 0123456789 0123456789 0123456789\r\n"), 14<<10/45)...)
	pair := [2]*Message{}
	for i := range pair {
		pair[i] = &Message{envelope(fmt.Sprintf("p%d@example.jp", i)), raw}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if a := conn.Send(pair[i%2], pair[(i+1)%2]); !a.Accepted() {
			b.Fatalf("%+v", a)
		}
	}
}
