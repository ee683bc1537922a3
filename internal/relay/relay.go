// Package relay speaks SMTP with the user's relay: one connection that is dialled, secured and logged in by go-mail's
// client, then one transaction a message.
//
// A connection knows no campaign. What it returns is exact: the phase that was reached, the reply as it was said, whether
// the final dot had left. What that means for a delivery is decided in package delivery.
package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"mailer/internal/delivery"

	"github.com/wneessen/go-mail/smtp"
)

// TLS says how the connection is secured.
type TLS string

// The ways to secure a connection. StartTLS is required, not opportunistic: a relay that does not offer it is refused.
const (
	StartTLS TLS = "starttls"
	Implicit TLS = "implicit"
	NoTLS    TLS = "none"
)

// Server is a relay and how to talk to it.
type Server struct {
	Name       string // as in the configuration
	Host       string
	Port       int
	TLS        TLS
	Insecure   bool                                      // the certificate is not verified, and a password may go in clear
	RootCAs    *x509.CertPool                            // nil: those of the system
	Auth       string                                    // auto, none, plain, login, cram-md5, scram-sha-256, xoauth2
	Username   string                                    // empty: no login when Auth is auto
	Password   func(ctx context.Context) (string, error) // called for each login, so that a token can be fresh
	Hello      string                                    // EHLO name; empty: this host's FQDN, else its address literal
	Pipelining bool                                      // used when the relay offers it
	Timeouts   Timeouts
}

// Timeouts of the phases. A short one after the dot makes duplicates, so the defaults are those of RFC 5321 section 4.5.3.2.
type Timeouts struct {
	Connect time.Duration // TCP and TLS, each
	Command time.Duration // banner, EHLO, MAIL, RCPT
	Data    time.Duration // DATA to 354
	Block   time.Duration // each write of the body
	Dot     time.Duration // the final dot to its reply
}

// DefaultTimeouts are the minimum client values of RFC 5321 section 4.5.3.2, with a shorter wait for TCP.
var DefaultTimeouts = Timeouts{Connect: 30 * time.Second, Command: 5 * time.Minute, Data: 2 * time.Minute, Block: 3 * time.Minute, Dot: 10 * time.Minute}

// DialError says at which step a connection could not be had.
type DialError struct {
	Server  string // host:port
	Phase   delivery.Phase
	Reply   delivery.Reply // zero when the server said nothing
	Config  bool           // trying again will not help: the configuration or the certificate is wrong
	Refused bool           // the login was refused
	Err     error
	Hint    string
}

func (e *DialError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "relay %s: %s", e.Server, phaseText(e.Phase))
	if e.Reply.Code != 0 {
		fmt.Fprintf(&b, ": it said %q", e.Reply.String())
	} else {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Hint != "" {
		b.WriteString(": " + e.Hint)
	}
	return b.String()
}

func (e *DialError) Unwrap() error { return e.Err }

func phaseText(p delivery.Phase) string {
	switch p {
	case delivery.PhaseConnect:
		return "connect"
	case delivery.PhaseHello:
		return "greeting"
	case delivery.PhaseStartTLS:
		return "secure the connection"
	case delivery.PhaseAuth:
		return "log in"
	}
	return string(p)
}

// Dial connects, secures and logs in. The error is a *DialError, or the context's.
func Dial(ctx context.Context, s Server) (*Conn, error) {
	if s.Timeouts == (Timeouts{}) {
		s.Timeouts = DefaultTimeouts
	}
	d := dialing{server: s, addr: net.JoinHostPort(s.Host, strconv.Itoa(s.Port))}
	c, err := d.dial(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return c, err
}

// dialing is one attempt to connect.
type dialing struct {
	server Server
	addr   string
}

func (d dialing) dial(ctx context.Context) (*Conn, error) {
	raw, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := &Conn{server: d.server, raw: raw}
	// A cancelled context closes the socket, which ends whatever waits on it.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	if err := d.greet(ctx, conn); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// connect opens the TCP connection, with TLS at once when it is implicit (RFC 8314 section 3.3).
func (d dialing) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.server.Timeouts.Connect)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, &DialError{Server: d.addr, Phase: delivery.PhaseConnect, Err: err, Hint: "is the host and port right, and is the relay up?"}
	}
	if d.server.TLS != Implicit {
		return raw, nil
	}
	secured := tls.Client(raw, d.tlsConfig())
	if err := secured.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, d.tlsError(err)
	}
	return secured, nil
}

func (d dialing) greet(ctx context.Context, c *Conn) error {
	t := d.server.Timeouts
	c.raw.SetDeadline(time.Now().Add(t.Command))
	client, err := smtp.NewClient(c.raw, d.server.Host)
	if err != nil {
		return d.fail(delivery.PhaseConnect, err, "")
	}
	c.client = client
	if err := client.Hello(helloName(d.server.Hello, c.raw)); err != nil {
		return d.fail(delivery.PhaseHello, err, "")
	}
	if d.server.TLS == StartTLS {
		if err := d.startTLS(c); err != nil {
			return err
		}
	}
	c.raw.SetDeadline(time.Now().Add(t.Command))
	if err := d.login(ctx, c); err != nil {
		return err
	}
	c.learn()
	return nil
}

// startTLS secures the connection or gives up: never on in clear (RFC 3207 section 6). go-mail drops what was buffered
// before the handshake and says EHLO again.
func (d dialing) startTLS(c *Conn) error {
	if ok, _ := c.client.Extension("STARTTLS"); !ok {
		return &DialError{Server: d.addr, Phase: delivery.PhaseStartTLS, Config: true, Err: errors.New("the relay does not offer STARTTLS"),
			Hint: "use tls: implicit with port 465, or ask the provider"}
	}
	c.raw.SetDeadline(time.Now().Add(d.server.Timeouts.Connect))
	if err := c.client.StartTLS(d.tlsConfig()); err != nil {
		return d.tlsError(err)
	}
	return nil
}

func (d dialing) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: d.server.Host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: d.server.Insecure, RootCAs: d.server.RootCAs}
}

// tlsError explains the certificate errors that people meet.
func (d dialing) tlsError(err error) error {
	e := &DialError{Server: d.addr, Phase: delivery.PhaseStartTLS, Err: err}
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.Config, e.Hint = true, "the certificate has expired, or this machine's clock is wrong; nothing was sent"
	case errors.As(err, &name):
		e.Config, e.Hint = true, "the certificate is for another name: use the host name that it is issued for"
	case errors.As(err, &unknown):
		e.Config, e.Hint = true, "the certificate's issuer is not known here: name its file in ca_file"
	case errors.As(err, &verify):
		e.Config, e.Hint = true, "the certificate cannot be trusted"
	case errors.As(err, &record):
		e.Config, e.Hint = true, "the port does not speak TLS: is it tls: starttls?"
	case replyOf(err).Code != 0:
		e.Reply = replyOf(err)
	}
	return e
}

// login authenticates with the strongest mechanism that both sides know. A password never goes over a connection in
// clear, but to loopback or when insecure is set.
func (d dialing) login(ctx context.Context, c *Conn) error {
	s := d.server
	if s.Auth == "none" || s.Username == "" && (s.Auth == "auto" || s.Auth == "") {
		return nil
	}
	offered, list := c.client.Extension("AUTH")
	if !offered {
		return &DialError{Server: d.addr, Phase: delivery.PhaseAuth, Config: true, Err: errors.New("the relay offers no login here"),
			Hint: "set auth: none, or use the submission port (587 or 465)"}
	}
	password := ""
	if s.Password != nil {
		var err error
		if password, err = s.Password(ctx); err != nil {
			return &DialError{Server: d.addr, Phase: delivery.PhaseAuth, Config: true, Err: err}
		}
	}
	mechanism := pickMechanism(s.Auth, strings.Fields(strings.ToUpper(list)))
	clear := s.TLS == NoTLS
	if clear && !s.Insecure && !loopback(c.raw) {
		return &DialError{Server: d.addr, Phase: delivery.PhaseAuth, Config: true, Err: errors.New("the password would go over the network in clear"),
			Hint: "use tls: starttls or implicit"}
	}
	auth := authenticator(mechanism, s, password, clear)
	if auth == nil {
		return &DialError{Server: d.addr, Phase: delivery.PhaseAuth, Config: true, Err: fmt.Errorf("no common login mechanism: the relay offers %s", list),
			Hint: "set auth to one of them"}
	}
	if err := c.client.Auth(auth); err != nil {
		return d.authError(err)
	}
	return nil
}

// authError tells a refused login (5xx: stop, trying again locks accounts) from one that may work later (4xx, RFC 4954 section 6).
func (d dialing) authError(err error) error {
	e := &DialError{Server: d.addr, Phase: delivery.PhaseAuth, Reply: replyOf(err), Err: err}
	if e.Reply.Code/100 == 5 {
		e.Config, e.Refused = true, true
		e.Hint = "the login was refused: check username and password (config check shows where they come from)"
	}
	return e
}

// fail wraps an error of a step with the server's reply, when that is what it was.
func (d dialing) fail(p delivery.Phase, err error, hint string) error {
	return &DialError{Server: d.addr, Phase: p, Reply: replyOf(err), Err: err, Hint: hint}
}

// mechanisms in the order of preference. CRAM-MD5 comes last: over TLS PLAIN is as safe, and CRAM-MD5 needs a server that
// keeps clear passwords.
var mechanisms = []string{"SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5"}

func pickMechanism(wanted string, offered []string) string {
	has := func(m string) bool {
		for _, o := range offered {
			if o == m {
				return true
			}
		}
		return false
	}
	if wanted != "" && wanted != "auto" {
		if m := strings.ToUpper(wanted); has(m) {
			return m
		}
		return ""
	}
	for _, m := range mechanisms {
		if has(m) {
			return m
		}
	}
	return ""
}

func authenticator(mechanism string, s Server, password string, clear bool) smtp.Auth {
	switch mechanism {
	case "PLAIN":
		return smtp.PlainAuth("", s.Username, password, s.Host, clear)
	case "LOGIN":
		return smtp.LoginAuth(s.Username, password, s.Host, clear)
	case "CRAM-MD5":
		return smtp.CRAMMD5Auth(s.Username, password)
	case "SCRAM-SHA-256":
		return smtp.ScramSHA256Auth(s.Username, password)
	case "XOAUTH2":
		return smtp.XOAuth2Auth(s.Username, password)
	}
	return nil
}

// helloName is a real name: RFC 5321 section 4.1.1.1 wants the FQDN, or an address literal where there is none.
func helloName(configured string, conn net.Conn) string {
	if configured != "" {
		return configured
	}
	if name, err := os.Hostname(); err == nil && strings.Contains(strings.Trim(name, "."), ".") {
		return strings.Trim(name, ".")
	}
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return "localhost"
	}
	if strings.Contains(host, ":") {
		return "[IPv6:" + host + "]"
	}
	return "[" + host + "]"
}

func loopback(conn net.Conn) bool {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	return err == nil && net.ParseIP(host).IsLoopback()
}

// replyOf takes the server's reply out of an error of net/textproto.
func replyOf(err error) delivery.Reply {
	var te *textproto.Error
	if !errors.As(err, &te) {
		return delivery.Reply{}
	}
	return newReply(te.Code, te.Msg)
}

// Conn is one connection to a relay. It is used by one goroutine; Abort may come from another.
type Conn struct {
	server     Server
	client     *smtp.Client
	raw        net.Conn
	pipelining bool
	sizeLimit  int64
	has        map[string]bool
	plain      bool // the relay refused a parameter with 555: none that can be left out is sent any more
	broken     bool
	sent       int
	last       time.Time // when the relay last answered
	aborted    atomic.Bool
}

// learn keeps what the last EHLO offered.
func (c *Conn) learn() {
	c.has = map[string]bool{}
	for _, name := range []string{"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN"} {
		ok, param := c.client.Extension(name)
		c.has[name] = ok
		if name == "SIZE" && ok {
			c.sizeLimit, _ = strconv.ParseInt(strings.TrimSpace(param), 10, 64)
		}
	}
	c.pipelining = c.server.Pipelining && c.has["PIPELINING"]
	c.last = time.Now()
}

// Usable reports whether another message may be sent on this connection.
func (c *Conn) Usable() bool { return !c.broken && !c.aborted.Load() }

// Sent counts the transactions that were begun on this connection.
func (c *Conn) Sent() int { return c.sent }

// Idle is how long the relay has not been spoken with.
func (c *Conn) Idle() time.Duration { return time.Since(c.last) }

// Alive asks whether the relay is still there. RSET is harmless between messages.
func (c *Conn) Alive() bool {
	if c.Usable() {
		c.say("RSET\r\n", min(aliveTimeout, c.server.Timeouts.Command))
	}
	return c.Usable()
}

// aliveTimeout bounds the wait of Alive: a new connection is cheaper than a long wait for an old one.
const aliveTimeout = 10 * time.Second

// Close says QUIT when the session is in order, and closes.
func (c *Conn) Close() error {
	defer c.raw.Close() // go-mail leaves the socket open when QUIT fails
	if c.Usable() {
		c.raw.SetDeadline(time.Now().Add(quitTimeout))
		return c.client.Quit()
	}
	return nil
}

// quitTimeout bounds the wait for the reply to QUIT, which nobody needs.
const quitTimeout = 5 * time.Second

// Abort closes the socket under whatever waits on it. It may be called from any goroutine.
func (c *Conn) Abort() {
	c.aborted.Store(true)
	c.raw.Close()
}
