package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// The one account of the IMAP server.
const (
	Username = "bounce"
	Password = "bounce"
)

// Defaults of Options.
const (
	DefaultScenario = "mixed"
	DefaultGreylist = time.Second
	DefaultSlow     = 300 * time.Millisecond
	DefaultKeep     = 256 << 20
)

// Options describe a sandbox. The zero value is a fair list on free ports.
type Options struct {
	SMTP, IMAP, HTTP string // addresses to listen on; empty: a free port of 127.0.0.1
	Seed             uint64
	Scenario         string
	Greylist         time.Duration // how long a greylisted recipient is refused
	Slow             time.Duration // how long a slow one takes
	Keep             int64         // bytes of compressed message bodies that are kept
	StartTLS         bool          // SMTP and IMAP offer STARTTLS with a certificate made now, see CA
	Now              func() time.Time
}

// Sandbox is a running mail world. Close it.
type Sandbox struct {
	o        Options
	scenario Scenario
	caught   *catch
	mailbox  *Mailbox
	ca       []byte
	done     <-chan struct{}
	stop     context.CancelFunc

	smtpLn, imapLn, httpLn net.Listener
	shut                   []func() // what Close does, in order
	wg                     sync.WaitGroup
	closing                sync.Once
}

// Start opens the three servers. They run until Close, or until ctx ends.
func Start(ctx context.Context, o Options) (*Sandbox, error) {
	if o.Scenario == "" {
		o.Scenario = DefaultScenario
	}
	if o.Greylist == 0 {
		o.Greylist = DefaultGreylist
	}
	if o.Slow == 0 {
		o.Slow = DefaultSlow
	}
	if o.Keep == 0 {
		o.Keep = DefaultKeep
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	scenario, err := findScenario(o.Scenario)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{o: o, scenario: scenario, caught: newCatch(o.Keep)}
	ctx, s.stop = context.WithCancel(ctx)
	s.done = ctx.Done()
	if err := s.open(); err != nil {
		s.Close()
		return nil, err
	}
	s.wg.Go(func() {
		<-s.done
		s.end()
	})
	return s, nil
}

// SMTPAddr is where mail is taken, as host:port.
func (s *Sandbox) SMTPAddr() string { return s.smtpLn.Addr().String() }

// IMAPAddr is where the bounce mailbox is read, as host:port. The account is Username with Password.
func (s *Sandbox) IMAPAddr() string { return s.imapLn.Addr().String() }

// HTTPURL is the web page.
func (s *Sandbox) HTTPURL() string { return "http://" + s.httpLn.Addr().String() }

// CA is the certificate (PEM) that clients must trust to use STARTTLS; nil without it.
func (s *Sandbox) CA() []byte { return s.ca }

// Messages returns the facts of all mail that was caught, oldest first: one entry for each recipient.
func (s *Sandbox) Messages() []Caught { return s.caught.all() }

// Raw returns a message as it came. It is false when there is no such message or its body is not kept any more.
func (s *Sandbox) Raw(id int) ([]byte, bool) { return s.caught.raw(id) }

// Stats returns the numbers of the sandbox.
func (s *Sandbox) Stats() Stats {
	st := s.caught.stats()
	st.Inbox = s.mailbox.Count("INBOX")
	return st
}

// Close ends every connection and server and waits for their goroutines. A second call does nothing.
func (s *Sandbox) Close() {
	s.stop()
	s.end()
	s.wg.Wait()
}

func (s *Sandbox) end() {
	s.closing.Do(func() {
		for _, f := range s.shut {
			f()
		}
	})
}

func (s *Sandbox) open() (err error) {
	var config *tls.Config
	if s.o.StartTLS {
		if config, s.ca, err = newCertificate(s.o.Now()); err != nil {
			return err
		}
	}
	if s.smtpLn, err = listen(s.o.SMTP); err != nil {
		return err
	}
	s.serveSMTP(config)
	if s.imapLn, err = listen(s.o.IMAP); err != nil {
		return err
	}
	s.mailbox, err = NewMailbox(MailboxOptions{Username: Username, Password: Password, TLS: config})
	if err != nil {
		s.imapLn.Close()
		return err
	}
	s.mailbox.Serve(s.imapLn)
	s.shut = append(s.shut, s.mailbox.Close)
	if s.httpLn, err = listen(s.o.HTTP); err != nil {
		return err
	}
	return s.serveHTTP()
}

// listen opens a port of the loopback interface. Anywhere else it would be a mail server that takes everything from
// everybody and shows it to everybody.
func listen(addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w; write it as 127.0.0.1:2525", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("listen on %q: the sandbox has no protection, so it listens on loopback only; use 127.0.0.1", addr)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; choose another port, or 0 for a free one", addr, errors.Unwrap(err))
	}
	return ln, nil
}

// maxMessage is more than any relay takes.
const maxMessage = 64 << 20

func (s *Sandbox) serveSMTP(config *tls.Config) {
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{s: s, conn: c}, nil
	}))
	server.Domain = "mx." + host
	server.TLSConfig = config
	server.AllowInsecureAuth = true
	server.MaxMessageBytes = maxMessage
	server.EnableDSN = true
	server.EnableSMTPUTF8 = true
	server.ReadTimeout = 5 * time.Minute // RFC 5321 section 4.5.3.2.7
	server.WriteTimeout = time.Minute
	server.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are no news here
	ln := watch(s.smtpLn)
	s.wg.Go(func() { server.Serve(ln) })
	s.shut = append(s.shut, ln.shut, func() { server.Close() })
}

func (s *Sandbox) serveHTTP() error {
	handler, err := newPages(s)
	if err != nil {
		s.httpLn.Close()
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	ln := watch(s.httpLn)
	s.wg.Go(func() { server.Serve(ln) })
	s.shut = append(s.shut, ln.shut, func() { server.Close() })
	return nil
}
