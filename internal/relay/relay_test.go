package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
)

func serverOf(srv *mailtest.SMTPServer) Server {
	return Server{Name: "test", Host: "localhost", Port: srv.Port, TLS: NoTLS, Pipelining: true, Timeouts: Timeouts{
		Connect: 10 * time.Second, Command: 10 * time.Second, Data: 10 * time.Second, Block: 10 * time.Second, Dot: 10 * time.Second}}
}

func dial(t *testing.T, s Server) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func envelope(to string) Envelope {
	return Envelope{From: "bounce+b1x@example.com", To: to, ENVID: "b1x"}
}

var body = []byte("Subject: x\r\n\r\n.a line with a dot\r\n..two\r\nend\r\n")

// Every refusal at every phase is charged to its phase, and the connection goes on with the next message.
func TestRepliesAreChargedToTheirPhase(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		for _, c := range []struct {
			at, reply string
			phase     delivery.Phase
			code      int
			enhanced  string
		}{
			{"MAIL", "451 4.3.0 later", delivery.PhaseMail, 451, "4.3.0"},
			{"MAIL", "550 5.7.1 sender refused", delivery.PhaseMail, 550, "5.7.1"},
			{"RCPT", "550 5.1.1 no such user", delivery.PhaseRcpt, 550, "5.1.1"},
			{"RCPT", "450 4.2.0 greylisted\nplease\ncome back", delivery.PhaseRcpt, 450, "4.2.0"},
			{"RCPT", "550 4.1.1 contradicts itself", delivery.PhaseRcpt, 550, "4.1.1"},
			{"RCPT", "550", delivery.PhaseRcpt, 550, ""},
			{"DATA", "451 4.3.2 busy", delivery.PhaseData, 451, "4.3.2"},
			{"DATA", "554 no", delivery.PhaseData, 554, ""},
			{".", "552 5.3.4 too big", delivery.PhaseDot, 552, "5.3.4"},
			{".", "451 4.7.1 try again", delivery.PhaseDot, 451, "4.7.1"},
		} {
			t.Run(fmt.Sprintf("%v/%s/%d", pipelining, c.at, c.code), func(t *testing.T) {
				srv := mailtest.NewSMTP(t, mailtest.Script{NoPipelining: !pipelining, Reply: func(cmd mailtest.Command) *mailtest.Reply {
					if cmd.Verb == c.at && cmd.Message == 1 {
						return &mailtest.Reply{Text: c.reply}
					}
					return nil
				}})
				conn := dial(t, serverOf(srv))
				a := conn.Send(&Message{envelope("one@example.jp"), body}, nil)
				if a.Phase != c.phase || a.Reply.Code != c.code || a.Reply.Enhanced != c.enhanced || a.Lost {
					t.Errorf("got %+v", a)
				}
				if !strings.HasPrefix(strings.ReplaceAll(c.reply, "\n", " "), a.Reply.Text) {
					t.Errorf("reply kept as %q", a.Reply.Text)
				}
				if a := conn.Send(&Message{envelope("two@example.jp"), body}, nil); !a.Accepted() {
					t.Errorf("the next message: %+v", a)
				}
				acc := srv.Accepted()
				if len(acc) != 1 || acc[0].Rcpts[0].Address != "two@example.jp" || !bytes.Equal(acc[0].Data, body) || srv.Conns() != 1 {
					t.Errorf("accepted %+v on %d connections", acc, srv.Conns())
				}
				if v := srv.Violations(); len(v) > 0 {
					t.Errorf("protocol violations: %v\n%s", v, srv.Transcript())
				}
			})
		}
	}
}

// A server that says 354 although it refused the recipient gets an empty message, which delivers nothing (RFC 2920 section 3.1).
func TestDataAcceptedWithoutRecipient(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Replies: map[string]string{"RCPT gone@example.jp": "550 5.1.1 no", "DATA": "354 go on", ".": "554 5.5.1 no valid recipients"}})
	conn := dial(t, serverOf(srv))
	a := conn.Send(&Message{envelope("gone@example.jp"), body}, nil)
	if a.Phase != delivery.PhaseRcpt || a.Reply.Code != 550 || !conn.Usable() {
		t.Errorf("got %+v", a)
	}
	if tx := srv.Transactions(); len(tx) != 1 || len(tx[0].Data) != 0 || !tx[0].Complete {
		t.Errorf("the server saw %+v", tx)
	}
}

func TestNoEmptyMessageAfterARefusedSender(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Replies: map[string]string{"MAIL": "451 4.3.0 later", "RCPT": "250 ok", "DATA": "354 go on"}})
	conn := dial(t, serverOf(srv))
	a := conn.Send(&Message{envelope("one@example.jp"), body}, nil)
	if a.Phase != delivery.PhaseMail || a.Reply.Code != 451 || conn.Usable() {
		t.Errorf("%+v, usable %v", a, conn.Usable())
	}
	conn.Close()
	srv.Close()
	if in := string(srv.Input(1)); strings.HasSuffix(in, finalDot) {
		t.Errorf("a message was ended: %q", in)
	}
}

func TestGoodbyeEndsTheConnection(t *testing.T) {
	for _, at := range []string{"MAIL", "RCPT", "DATA", "."} {
		srv := mailtest.NewSMTP(t, mailtest.Script{Replies: map[string]string{at: "421 4.3.2 closing"}})
		conn := dial(t, serverOf(srv))
		a := conn.Send(&Message{envelope("one@example.jp"), body}, nil)
		if a.Reply.Code != 421 || a.Lost || conn.Usable() {
			t.Errorf("421 at %s: %+v, usable %v", at, a, conn.Usable())
		}
	}
}

// What is lost before the final dot was written is not taken; what is lost after it nobody can know.
func TestLostConnections(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		for verb, want := range map[string]delivery.Phase{"MAIL": delivery.PhaseMail, "RCPT": delivery.PhaseRcpt, "DATA": delivery.PhaseData, ".": delivery.PhaseDot} {
			srv := mailtest.NewSMTP(t, mailtest.Script{NoPipelining: !pipelining, Reply: func(c mailtest.Command) *mailtest.Reply {
				if c.Verb == verb {
					return &mailtest.Reply{Silent: true, Close: true}
				}
				return nil
			}})
			conn := dial(t, serverOf(srv))
			a := conn.Send(&Message{envelope("one@example.jp"), body}, nil)
			if !a.Lost || a.Phase != want || conn.Usable() {
				t.Errorf("pipelining %v, lost at %s: %+v", pipelining, verb, a)
			}
		}
	}
}

// Cut the connection after every single byte the client sends: never is a message that was taken reported as not sent,
// and never one that was not taken as accepted.
func TestCutAfterEveryByte(t *testing.T) {
	reference := mailtest.NewSMTP(t, mailtest.Script{})
	conn := dial(t, serverOf(reference))
	conn.Send(&Message{envelope("one@example.jp"), body}, nil)
	conn.Close()
	total := len(reference.Input(1))
	for n := 1; n <= total; n++ {
		srv := mailtest.NewSMTP(t, mailtest.Script{CutAfter: map[int]int{1: n}})
		conn, err := Dial(t.Context(), serverOf(srv))
		if err != nil {
			srv.Close()
			continue
		}
		a := conn.Send(&Message{envelope("one@example.jp"), body}, nil)
		conn.Close()
		srv.Close()
		tx := srv.Transactions()
		complete := len(tx) > 0 && tx[0].Complete
		switch {
		case complete && !a.Accepted() && a.Phase != delivery.PhaseDot:
			t.Errorf("cut after %d bytes: the server has it all, we say %+v", n, a)
		case !complete && a.Accepted():
			t.Errorf("cut after %d bytes: the server has a part, we say accepted", n)
		}
	}
}

func TestParametersOnlyWhereOffered(t *testing.T) {
	bare := mailtest.NewSMTP(t, mailtest.Script{Keywords: []string{}})
	full := mailtest.NewSMTP(t, mailtest.Script{Keywords: []string{"PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "DSN"}})
	for _, c := range []struct {
		srv  *mailtest.SMTPServer
		want string
	}{{bare, " / "}, {full, fmt.Sprintf("SIZE=%d RET=HDRS ENVID=b1x / NOTIFY=FAILURE", len(body))}} {
		dial(t, serverOf(c.srv)).Send(&Message{envelope("one@example.jp"), body}, nil)
		tx := c.srv.Transactions()[0]
		if got := strings.TrimSpace(tx.FromParams) + " / " + strings.TrimSpace(tx.Rcpts[0].Params); got != c.want {
			t.Errorf("parameters %q, want %q", got, c.want)
		}
	}
	e := envelope("田中@example.jp")
	e.SMTPUTF8 = true
	if a := dial(t, serverOf(full)).Send(&Message{e, body}, nil); !a.Accepted() {
		t.Errorf("SMTPUTF8: %+v", a)
	}
	if a := dial(t, serverOf(bare)).Send(&Message{e, body}, nil); a.Reply.Enhanced != "5.6.7" {
		t.Errorf("SMTPUTF8 not offered: %+v", a)
	}
	if len(bare.Transactions()) != 1 {
		t.Error("an address that the relay cannot take was sent all the same")
	}
}

func TestUnknownParametersAreLeftOut(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "MAIL" && strings.Contains(c.Line, "ENVID") {
			return &mailtest.Reply{Text: "555 5.5.4 what is ENVID"}
		}
		return nil
	}})
	conn := dial(t, serverOf(srv))
	for range 2 {
		if a := conn.Send(&Message{envelope("one@example.jp"), body}, nil); !a.Accepted() {
			t.Errorf("got %+v", a)
		}
	}
	if n := len(srv.Transactions()); n != 3 {
		t.Errorf("%d transactions, want one refused and two accepted", n)
	}
}

func TestTooBigIsRefusedHere(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Keywords: []string{"SIZE 10"}})
	if a := dial(t, serverOf(srv)).Send(&Message{envelope("one@example.jp"), body}, nil); a.Reply.Enhanced != "5.3.4" {
		t.Errorf("got %+v", a)
	}
	if len(srv.Transactions()) > 0 {
		t.Error("it was sent")
	}
}

// Whatever stands in an address can never add a command.
func TestNoInjectionIntoTheEnvelope(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	conn := dial(t, serverOf(srv))
	for _, e := range []Envelope{
		{From: "a@b.example", To: "x@y.example>\r\nRCPT TO:<other@z.example"},
		{From: "a@b.example", To: "\"x\r\nDATA\"@y.example"},
		{From: "a@b.example", To: "x@y.example> NOTIFY=NEVER"},
		{From: "a\n@b.example", To: "x@y.example"},
		{From: "a@b.example", To: "x@y.example", ENVID: "1\r\nRSET"},
	} {
		if a := conn.Send(&Message{e, body}, nil); a.Accepted() || a.Reply.Code != 550 {
			t.Errorf("%+v: %+v", e, a)
		}
	}
	if n := len(srv.Transactions()); n != 0 {
		t.Errorf("%d transactions reached the server:\n%s", n, srv.Transcript())
	}
}

func TestTLS(t *testing.T) {
	ca, other := mailtest.NewCA(t), mailtest.NewCA(t)
	users := map[string]string{"news": "geheim"}
	for _, c := range []struct {
		name     string
		config   *tls.Config
		implicit bool
		mode     TLS
		ok       bool
		config2  bool
		says     string
	}{
		{"starttls", ca.Config(t), false, StartTLS, true, false, ""},
		{"implicit", ca.Config(t), true, Implicit, true, false, ""},
		{"expired", ca.Expired(t), false, StartTLS, false, true, "expired"},
		{"wrong name", ca.WrongName(t), true, Implicit, false, true, "another name"},
		{"unknown issuer", other.Config(t), false, StartTLS, false, true, "issuer"},
		{"not offered", nil, false, StartTLS, false, true, "does not offer STARTTLS"},
		{"plain port", nil, false, Implicit, false, true, "does not speak TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := mailtest.NewSMTP(t, mailtest.Script{TLS: c.config, Implicit: c.implicit, Users: users, NeedAuth: true})
			s := serverOf(srv)
			s.TLS, s.RootCAs, s.Auth, s.Username = c.mode, ca.Pool, "auto", "news"
			s.Password = func(context.Context) (string, error) { return "geheim", nil }
			conn, err := Dial(t.Context(), s)
			if !c.ok {
				var de *DialError
				if !errors.As(err, &de) || de.Config != c.config2 || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "geheim") {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if a := conn.Send(&Message{envelope("one@example.jp"), body}, nil); !a.Accepted() {
				t.Errorf("got %+v", a)
			}
			if tx := srv.Accepted(); len(tx) != 1 || !tx[0].TLS || tx[0].User != "news" {
				t.Errorf("the server saw %+v", tx)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	for _, mech := range []string{"plain", "login", "cram-md5", "xoauth2"} {
		for password, ok := range map[string]bool{"geheim": true, "falsch": false} {
			srv := mailtest.NewSMTP(t, mailtest.Script{Users: map[string]string{"news": "geheim"}})
			s := serverOf(srv)
			s.Auth, s.Username = mech, "news"
			s.Password = func(context.Context) (string, error) { return password, nil }
			conn, err := Dial(t.Context(), s)
			if ok {
				if err != nil {
					t.Errorf("%s: %v", mech, err)
					continue
				}
				conn.Close()
				continue
			}
			var de *DialError
			if !errors.As(err, &de) || !de.Refused || strings.Contains(err.Error(), "falsch") {
				t.Errorf("%s with a wrong password: %v", mech, err)
			}
		}
	}
}

func TestUnreachable(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	s := serverOf(srv)
	srv.Close()
	var de *DialError
	if _, err := Dial(t.Context(), s); !errors.As(err, &de) || de.Phase != delivery.PhaseConnect || de.Config {
		t.Errorf("got %v", err)
	}
	busy := mailtest.NewSMTP(t, mailtest.Script{Replies: map[string]string{"CONNECT": "421 4.7.0 too many connections"}})
	if _, err := Dial(t.Context(), serverOf(busy)); !errors.As(err, &de) || de.Reply.Code != 421 {
		t.Errorf("got %v", err)
	}
}

func FuzzDotStuff(f *testing.F) {
	f.Add([]byte(".\r\n..\r\n"), uint(2))
	f.Add([]byte(""), uint(0))
	f.Add([]byte("a\r\n.b\r\n"), uint(3))
	f.Fuzz(func(t *testing.T, raw []byte, cut uint) {
		var s stuffer
		out := s.end(s.append(nil, raw))
		if !bytes.HasSuffix(out, []byte("\r\n.\r\n")) {
			t.Fatalf("does not end the data: %q", out)
		}
		if i := bytes.Index(out, []byte("\r\n.\r\n")); i >= 0 && i != len(out)-5 {
			t.Fatalf("ends the data early: %q", out)
		}
		at := int(cut % uint(len(raw)+1))
		var blocks stuffer
		if cut := blocks.end(blocks.append(blocks.append(nil, raw[:at]), raw[at:])); !bytes.Equal(cut, out) {
			t.Fatalf("in two blocks %q, in one %q", cut, out)
		}
	})
}
