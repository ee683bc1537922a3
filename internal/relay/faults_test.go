package relay

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
)

// talker is a relay that says to each command exactly the bytes it is told to, which no well-formed script would.
func talker(t *testing.T, says map[string]string) Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { ln.Close(); serving.Wait() })
	serving.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "220 hello\r\n")
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			verb, _, _ := strings.Cut(lines.Text(), " ")
			if text, ok := says[verb]; ok {
				io.WriteString(conn, text)
			} else if verb == "MAIL" || verb == "RCPT" || verb == "RSET" || verb == "." {
				io.WriteString(conn, "250 ok\r\n")
			} else if verb == "DATA" {
				io.WriteString(conn, "354 go on\r\n")
			}
		}
	})
	return serverOf(&mailtest.SMTPServer{Port: ln.Addr().(*net.TCPAddr).Port})
}

// A relay that says more than it was asked: no reply may be taken for the reply to another command, above all not for the
// one to the final dot.
func TestRepliesThatNobodyAskedFor(t *testing.T) {
	const more = "250 and another one\r\n" // in the same write
	for _, pipelining := range []bool{true, false} {
		for _, c := range []struct {
			at, reply string
			phase     delivery.Phase
		}{
			{"EHLO", "250-talker\r\n250 PIPELINING\r\n" + more, delivery.PhaseMail},
			{"EHLO", "250-talker\r\n250 PIPELINING\r\n421 idle\r\n", delivery.PhaseMail},
			{"DATA", "354 go on\r\n" + more, delivery.PhaseData},
			{"DATA", "354 go on\r\n421 bye\r\n", delivery.PhaseData},
			{"DATA", "250 what?\r\n", delivery.PhaseData},
			{"MAIL", "354 what?\r\n", delivery.PhaseMail},
			{"RCPT", "354 what?\r\n", delivery.PhaseRcpt},
			{"RCPT", "250 ok\r\n" + more, delivery.PhaseData},
			{".", "354 what?\r\n", delivery.PhaseDot},
			{".", "garbage\r\n", delivery.PhaseDot},
		} {
			says := map[string]string{"EHLO": "250-talker\r\n250 PIPELINING\r\n"}
			says[c.at] = c.reply
			s := talker(t, says)
			s.Pipelining = pipelining
			conn := dial(t, s)
			a := conn.Send(letter(envelope("one@example.jp"), body), nil)
			if a.Accepted() || a.Phase != c.phase || conn.Usable() {
				t.Errorf("pipelining %v, %q to %s: %+v, usable %v", pipelining, c.reply, c.at, a, conn.Usable())
			}
		}
	}
}

// What was said before the connection ended counts: a dead address is dead, and is not tried again for days.
func TestRefusalBeforeTheConnectionEnds(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		srv := mailtest.NewSMTP(t, mailtest.Script{NoPipelining: !pipelining, Reply: func(c mailtest.Command) *mailtest.Reply {
			if c.Verb == "RCPT" {
				return &mailtest.Reply{Text: "550 5.1.1 no such user", Close: true}
			}
			return nil
		}})
		conn := dial(t, serverOf(srv))
		a := conn.Send(letter(envelope("one@example.jp"), body), nil)
		if a.Lost || a.Phase != delivery.PhaseRcpt || a.Reply.Code != 550 || conn.Usable() {
			t.Errorf("pipelining %v: %+v, usable %v", pipelining, a, conn.Usable())
		}
	}
}

// A message larger than a block arrives as it was.
func TestLargeMessage(t *testing.T) {
	large := append([]byte("Subject: x\r\n\r\n"), bytes.Repeat([]byte(".a line of text that begins with a dot\r\n"), 3*blockSize/40)...)
	srv := mailtest.NewSMTP(t, mailtest.Script{Keywords: []string{"PIPELINING"}})
	if a := dial(t, serverOf(srv)).Send(letter(envelope("one@example.jp"), large), nil); !a.Accepted() {
		t.Fatalf("got %+v", a)
	}
	if acc := srv.Accepted(); len(acc) != 1 || !bytes.Equal(acc[0].Data, large) {
		t.Error("it arrived changed")
	}
}

// An address that needs SMTPUTF8 is never sent without it, also when the relay knows no other parameter.
func TestPlainKeepsSMTPUTF8(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Keywords: []string{"PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "DSN"}, Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "MAIL" && strings.Contains(c.Line, "ENVID") {
			return &mailtest.Reply{Text: "555 5.5.4 what is ENVID"}
		}
		return nil
	}})
	e := envelope("田中@example.jp")
	e.SMTPUTF8 = true
	if a := dial(t, serverOf(srv)).Send(letter(e, body), nil); !a.Accepted() {
		t.Fatalf("got %+v", a)
	}
	if got := srv.Accepted()[0].FromParams; strings.TrimSpace(got) != "BODY=8BITMIME SMTPUTF8" {
		t.Errorf("parameters %q", got)
	}
}

func TestQuotedAddressesCannotLeaveTheirQuotes(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	conn := dial(t, serverOf(srv))
	for _, to := range []string{`"x"@y.example> NOTIFY=NEVER`, `"x\"@y.example> NOTIFY=NEVER`, `"x`, "\"x\ty\"@z.example"} {
		if a := conn.Send(letter(envelope(to), body), nil); a.Accepted() || a.Reply.Code != 550 {
			t.Errorf("%s: %+v", to, a)
		}
	}
	if n := len(srv.Transactions()); n != 0 {
		t.Errorf("%d transactions reached the server:\n%s", n, srv.Transcript())
	}
	if a := conn.Send(letter(envelope(`"a b>c\"d"@y.example`), body), nil); a.Phase != delivery.PhaseDot && a.Phase != delivery.PhaseRcpt {
		t.Errorf("a good quoted address was not sent: %+v", a)
	}
}

func TestAlive(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "." {
			return &mailtest.Reply{Close: c.Conn == 2}
		}
		return nil
	}})
	for _, want := range []bool{true, false} {
		conn := dial(t, serverOf(srv))
		if a := conn.Send(letter(envelope("one@example.jp"), body), nil); !a.Accepted() {
			t.Fatalf("got %+v", a)
		}
		if got := conn.Alive(); got != want || conn.Usable() != want {
			t.Errorf("alive %v, usable %v, want %v", got, conn.Usable(), want)
		}
	}
}

// Close ends the socket also when the relay does not answer QUIT.
func TestCloseEndsTheSocket(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Replies: map[string]string{"QUIT": "500 what?"}})
	conn, err := Dial(t.Context(), serverOf(srv))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := conn.raw.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the socket is open: %v", err)
	}
}

// No certificate error goes away by trying again: each is a matter of configuration.
func TestEveryCertificateErrorIsConfiguration(t *testing.T) {
	for _, cause := range []error{
		x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}, x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign},
		x509.UnknownAuthorityError{}, x509.ConstraintViolationError{},
	} {
		err := (&Dialer{}).tlsError(&tls.CertificateVerificationError{Err: cause})
		var de *DialError
		if !errors.As(err, &de) || !de.Config {
			t.Errorf("%T: %+v", cause, err)
		}
	}
}
