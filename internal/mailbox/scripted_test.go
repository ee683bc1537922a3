package mailbox_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailer/internal/mailbox"
	"mailer/internal/mailtest"
)

func errorsAs(err error, e **mailbox.Error) bool { return errors.As(err, e) }

// pop3Server is a POP3 server with one account. It keeps what RFC 1939 asks for: what is deleted goes with QUIT.
type pop3Server struct {
	tls      *tls.Config
	implicit bool
	bare     bool   // knows RFC 1939 only, and no UIDL
	sasl     string // mechanisms
	token    string // good for XOAUTH2
	refuse   string // the answer to PASS
	hangUp   string // loses the connection at this command
	greeting string // another one

	mu    sync.Mutex
	mails []pop3Mail
	said  []string
}

type pop3Mail struct{ uidl, text string }

func startPOP3(t *testing.T, s *pop3Server) mailbox.Options {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.serve(conn) })
		}
	})
	return mailbox.Options{Protocol: mailbox.POP3, Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, TLS: mailbox.TLSNone, Username: "bounce", Password: "a pass word",
		After: mailbox.AfterDelete, Timeout: 10 * time.Second}
}

func (s *pop3Server) put(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range texts {
		s.mails = append(s.mails, pop3Mail{fmt.Sprintf("u%d-%s", len(s.mails), text[:10]), text})
	}
}

func (s *pop3Server) serve(conn net.Conn) {
	defer conn.Close()
	if s.implicit {
		conn = tls.Server(conn, s.tls)
	}
	in := bufio.NewReader(conn)
	say := func(format string, args ...any) { fmt.Fprintf(conn, format+"\r\n", args...) }
	say("%s", cmp.Or(s.greeting, "+OK ready"))
	s.mu.Lock()
	mails := slices.Clone(s.mails)
	s.mu.Unlock()
	deleted := map[int]bool{}
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			return
		}
		text = strings.TrimRight(text, "\r\n")
		command, arg, _ := strings.Cut(text, " ")
		s.mu.Lock()
		s.said = append(s.said, text)
		lost := s.hangUp != "" && strings.HasPrefix(text, s.hangUp)
		s.mu.Unlock()
		if lost {
			return
		}
		var n int
		fmt.Sscan(arg, &n)
		list := func(fn func(m pop3Mail) any) {
			say("+OK")
			for i, m := range mails {
				if !deleted[i] {
					say("%d %v", i+1, fn(m))
				}
			}
			say(".")
		}
		switch {
		case command == "CAPA" && !s.bare:
			say("+OK\r\nTOP\r\nUIDL\r\nSASL %s\r\n.", s.sasl)
		case command == "STLS" && s.tls != nil && !s.implicit:
			say("+OK")
			conn = tls.Server(conn, s.tls)
			in = bufio.NewReader(conn)
		case command == "USER":
			say("+OK")
		case command == "PASS" && s.refuse != "":
			say("%s", s.refuse)
		case command == "PASS" && arg == "a pass word":
			say("+OK")
		case command == "AUTH":
			say("+ ")
			reply, _ := in.ReadString('\n')
			secret, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(reply))
			switch {
			case arg == "PLAIN" && string(secret) == "\x00bounce\x00a pass word", arg == "XOAUTH2" && s.token != "" && string(secret) == "user=bounce\x01auth=Bearer "+s.token+"\x01\x01":
				say("+OK")
			case arg == "XOAUTH2":
				say("+ eyJzdGF0dXMiOiI0MDEifQ==")
				if empty, _ := in.ReadString('\n'); empty == "\r\n" {
					say("-ERR [AUTH] token expired")
				}
			default:
				say("-ERR no")
			}
		case command == "LIST":
			list(func(m pop3Mail) any { return len(m.text) })
		case command == "UIDL" && !s.bare:
			list(func(m pop3Mail) any { return m.uidl })
		case (command == "RETR" || command == "TOP") && n >= 1 && n <= len(mails) && !deleted[n-1]:
			say("+OK")
			out := bufio.NewWriter(conn)
			for _, l := range strings.Split(strings.TrimSuffix(mails[n-1].text, "\r\n"), "\r\n") {
				if strings.HasPrefix(l, ".") {
					l = "." + l
				}
				out.WriteString(l + "\r\n")
			}
			out.WriteString(".\r\n")
			out.Flush()
		case command == "DELE" && n >= 1 && n <= len(mails) && !deleted[n-1]:
			deleted[n-1] = true
			say("+OK")
		case command == "QUIT":
			s.mu.Lock()
			s.mails = slices.DeleteFunc(s.mails, func(m pop3Mail) bool {
				i := slices.Index(mails, m)
				return i >= 0 && deleted[i]
			})
			s.mu.Unlock()
			say("+OK bye")
			return
		default:
			say("-ERR %s?", command)
		}
	}
}

func (s *pop3Server) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mails)
}

func (s *pop3Server) heard(command string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, text := range s.said {
		if strings.HasPrefix(text, command) {
			n++
		}
	}
	return n
}

func (s *pop3Server) set(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func tellSubject(i int) string {
	return fmt.Sprintf("Subject: mail %d\r\n\r\nline\r\n.\r\n..dots\r\n", i)
}

func TestPOP3(t *testing.T) {
	ca := mailtest.NewCA(t)
	for _, tt := range []struct {
		name, tls, auth string
		server          *pop3Server
		user            int // USER commands that are said
	}{
		{"clear", mailbox.TLSNone, "", &pop3Server{}, 1},
		{"PLAIN", mailbox.TLSNone, "", &pop3Server{sasl: "LOGIN PLAIN"}, 0},
		{"USER though PLAIN is there", mailbox.TLSNone, mailbox.AuthLogin, &pop3Server{sasl: "PLAIN"}, 1},
		{"RFC 1939 and nothing more", mailbox.TLSNone, "", &pop3Server{bare: true}, 1},
		{"STLS", mailbox.TLSStartTLS, "", &pop3Server{tls: ca.Config(t)}, 1},
		{"implicit", mailbox.TLSImplicit, "", &pop3Server{tls: ca.Config(t), implicit: true}, 1},
		{"token", mailbox.TLSImplicit, mailbox.AuthXOAUTH2, &pop3Server{tls: ca.Config(t), implicit: true, sasl: "XOAUTH2", token: "a pass word"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.server
			s.put(tellSubject(0), tellSubject(1), tellSubject(2))
			o := startPOP3(t, s)
			o.TLS, o.Auth, o.RootCAs = tt.tls, tt.auth, ca.Pool
			box := open(t, o)
			var raw string
			numbers, err := box.List(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			err = box.Read(context.Background(), numbers[:1], func(m mailbox.Message) error { raw = string(m.Raw); return nil })
			if err != nil || raw != tellSubject(0) {
				t.Errorf("%q, %v", raw, err)
			}
			wantRead(t, box, "mail 0", "mail 1", "mail 2")
			if err := box.Close(); err != nil {
				t.Error(err)
			}
			if n := s.left(); n != 1 { // the one for a person
				t.Errorf("%d left", n)
			}
			if n := s.heard("USER"); n != tt.user {
				t.Errorf("%d USER", n)
			}
		})
	}
}

func TestPOP3Refusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server *pop3Server
		tls    string
		auth   string
		config bool
		words  string
	}{
		{"password", &pop3Server{refuse: "-ERR [AUTH] no"}, mailbox.TLSNone, "", true, "refused the login"},
		{"locked", &pop3Server{refuse: "-ERR [IN-USE] another session"}, mailbox.TLSNone, "", false, "IN-USE"},
		{"too soon", &pop3Server{refuse: "-ERR [LOGIN-DELAY] wait"}, mailbox.TLSNone, "", false, "LOGIN-DELAY"},
		{"no STLS", &pop3Server{}, mailbox.TLSStartTLS, "", true, "STLS"},
		{"no PLAIN", &pop3Server{}, mailbox.TLSNone, mailbox.AuthPlain, true, "PLAIN"},
		{"no XOAUTH2", &pop3Server{}, mailbox.TLSNone, mailbox.AuthXOAUTH2, true, "access tokens"},
		{"token expired", &pop3Server{sasl: "XOAUTH2", token: "another"}, mailbox.TLSNone, mailbox.AuthXOAUTH2, true, "token expired"},
		{"no TLS", &pop3Server{}, mailbox.TLSImplicit, "", true, "no TLS answers on this port"},
		{"an IMAP server", &pop3Server{greeting: "* OK IMAP4rev1 ready"}, mailbox.TLSNone, "", true, "no POP3 server answers"},
		{"turns away", &pop3Server{greeting: "-ERR too many connections"}, mailbox.TLSNone, "", false, "too many"},
		{"hangs up", &pop3Server{hangUp: "PASS"}, mailbox.TLSNone, "", false, "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := startPOP3(t, tt.server)
			o.TLS, o.Auth = tt.tls, tt.auth
			_, err := mailbox.Open(context.Background(), o)
			var e *mailbox.Error
			if !errors.As(err, &e) || e.Config != tt.config || !strings.Contains(err.Error(), tt.words) || strings.Contains(err.Error(), o.Password) {
				t.Errorf("%v", err)
			}
		})
	}
	o := startPOP3(t, &pop3Server{})
	o.After = mailbox.AfterFlag
	wantConfig(t, o, "delete and leave")
}

// What was recorded in a session that was lost is deleted in the next one, without being read again.
func TestPOP3LostSession(t *testing.T) {
	s := &pop3Server{}
	s.put(tellSubject(0), tellSubject(1), tellSubject(2))
	o := startPOP3(t, s)
	box := open(t, o)
	wantRead(t, box, "mail 0", "mail 1", "mail 2")
	mark := box.Mark()
	s.set(func() { s.hangUp = "QUIT" })
	box.Close()
	if s.left() != 3 {
		t.Fatalf("%d left", s.left())
	}
	s.set(func() { s.hangUp, s.said = "", nil })
	s.put(tellSubject(3))
	again := open(t, o)
	again.Resume(mark)
	wantRead(t, again, "mail 3")
	if n := s.heard("RETR"); n != 1 {
		t.Errorf("%d messages read", n)
	}
	mark = again.Mark()
	again.Close()
	if s.left() != 1 {
		t.Errorf("%d left", s.left())
	}
	// Mail for a person stays known while it is there.
	last := open(t, o)
	last.Resume(mark)
	wantRead(t, last)
}

func TestPOP3Leave(t *testing.T) {
	s := &pop3Server{}
	s.put(tellSubject(0), tellSubject(1))
	o := startPOP3(t, s)
	o.After = ""
	box := open(t, o)
	wantRead(t, box, "mail 0", "mail 1")
	mark := box.Mark()
	box.Close()
	s.put(tellSubject(2))
	box = open(t, o)
	box.Resume(mark)
	wantRead(t, box, "mail 2")
	box.Close()
	if s.left() != 3 || s.heard("DELE") != 0 {
		t.Errorf("%d left", s.left())
	}
}

// Of a huge mail only the beginning is kept, and the session goes on behind it.
func TestPOP3Huge(t *testing.T) {
	for _, bare := range []bool{false, true} {
		s := &pop3Server{bare: bare}
		s.put("Subject: huge\r\n\r\n"+strings.Repeat(strings.Repeat("x", 76)+"\r\n", mailbox.MaxMessage/70), tellSubject(1))
		box := open(t, startPOP3(t, s))
		var sizes []int
		numbers, err := box.List(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		err = box.Read(context.Background(), numbers, func(m mailbox.Message) error { sizes = append(sizes, len(m.Raw)); return nil })
		if err != nil || !slices.Equal(sizes, []int{mailbox.MaxMessage, len(tellSubject(1))}) {
			t.Errorf("sizes %v, %v", sizes, err)
		}
		if n := s.heard("TOP 1 "); (n == 1) == bare {
			t.Errorf("%d TOP", n)
		}
	}
}

// TestXOAUTH2 is a scripted IMAP server: the one in memory knows no tokens and cannot be without IDLE.
func TestXOAUTH2(t *testing.T) {
	for _, tt := range []struct {
		token, caps, words string
	}{
		{"good", "AUTH=XOAUTH2 SASL-IR", ""},
		{"good", "AUTH=XOAUTH2", ""},
		{"old", "AUTH=XOAUTH2", "refused the access token"},
		{"good", "AUTH=PLAIN", "does not take access tokens"},
	} {
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
			in := bufio.NewScanner(conn)
			fmt.Fprintf(conn, "* OK [CAPABILITY IMAP4rev1 %s] hello\r\n", tt.caps)
			for in.Scan() {
				words := strings.Fields(in.Text())
				switch {
				case words[1] == "AUTHENTICATE":
					secret := words[len(words)-1]
					if len(words) == 3 {
						fmt.Fprintf(conn, "+ \r\n")
						in.Scan()
						secret = in.Text()
					}
					text, _ := base64.StdEncoding.DecodeString(secret)
					if string(text) == "user=bounce\x01auth=Bearer good\x01\x01" {
						fmt.Fprintf(conn, "%s OK [CAPABILITY IMAP4rev1] in\r\n", words[0])
						continue
					}
					fmt.Fprintf(conn, "+ eyJzdGF0dXMiOiI0MDEifQ==\r\n")
					in.Scan()
					fmt.Fprintf(conn, "%s NO [AUTHENTICATIONFAILED] no\r\n", words[0])
				case words[1] == "SELECT":
					fmt.Fprintf(conn, "* 0 EXISTS\r\n* OK [UIDVALIDITY 7] \r\n%s OK [READ-WRITE] selected\r\n", words[0])
				case words[1] == "LOGOUT":
					fmt.Fprintf(conn, "* BYE\r\n%s OK\r\n", words[0])
					return
				default:
					fmt.Fprintf(conn, "%s BAD %s\r\n", words[0], words[1])
				}
			}
		}()
		o := mailbox.Options{Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, TLS: mailbox.TLSNone, Auth: mailbox.AuthXOAUTH2,
			Username: "bounce", Password: tt.token, Timeout: 10 * time.Second}
		if tt.words != "" {
			wantConfig(t, o, tt.words)
		} else if box, err := mailbox.Open(context.Background(), o); err != nil {
			t.Errorf("%+v: %v", tt, err)
		} else {
			if err := box.(mailbox.Waiter).Wait(context.Background(), nil); err != mailbox.ErrNoWait { // it does not know IDLE
				t.Errorf("wait: %v", err)
			}
			box.Close()
		}
		ln.Close()
		<-ended
	}
}
