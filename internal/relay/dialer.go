package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"time"

	"mailer/internal/delivery"

	"github.com/wneessen/go-mail/smtp"
)

// Dialer makes the connections of a run. It holds what they share: the TLS sessions, so that only the first handshake is
// a full one, and this host's name. It is safe for concurrent use.
type Dialer struct {
	server   Server
	addr     string
	tls      *tls.Config
	hostname string // this host's FQDN; empty when it has none
	trust    trust
}

// NewDialer returns a Dialer for a relay.
func NewDialer(s Server) *Dialer {
	if s.Timeouts == (Timeouts{}) {
		s.Timeouts = DefaultTimeouts
	}
	return &Dialer{server: s, addr: net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), hostname: fqdn(), tls: &tls.Config{
		ServerName: s.Host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.Insecure, RootCAs: s.RootCAs,
		ClientSessionCache:          tls.NewLRUClientSessionCache(0),
		DynamicRecordSizingDisabled: true, // a message is one write, and small records are for pages that show before they are whole
	}}
}

// Dial connects, secures and logs in once. For more than one connection use a Dialer.
func Dial(ctx context.Context, s Server) (*Conn, error) { return NewDialer(s).Dial(ctx) }

// Dial connects, secures and logs in. The error is a *DialError, or the context's.
func (d *Dialer) Dial(ctx context.Context) (*Conn, error) {
	c, err := d.dial(ctx, nil)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return c, err
}

func (d *Dialer) dial(ctx context.Context, t *trace) (*Conn, error) {
	raw, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	t.connected(d.server.Host, raw)
	conn := &Conn{dialer: d, server: d.server, raw: raw}
	// A cancelled context closes the socket, which ends whatever waits on it.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	if err := d.open(ctx, conn, t); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

func (d *Dialer) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.server.Timeouts.Connect)
	defer cancel()
	dial := d.server.Net
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	raw, err := dial(ctx, "tcp", d.addr)
	if err != nil {
		return nil, &DialError{Server: d.addr, Phase: delivery.PhaseConnect, Err: err, Hint: "is the host and port right, and is the relay up?"}
	}
	return raw, nil
}

// open makes a TCP connection ready for mail.
func (d *Dialer) open(ctx context.Context, c *Conn, t *trace) error {
	if d.server.TLS == Implicit {
		if err := d.implicitTLS(ctx, c); err != nil {
			return err
		}
		t.secured(c)
	}
	if err := d.greet(c, t); err != nil {
		return err
	}
	if d.server.TLS == StartTLS {
		if err := d.startTLS(c); err != nil {
			return err
		}
		t.secured(c)
	}
	c.learn()
	t.offered(c)
	c.raw.SetDeadline(time.Now().Add(d.server.Timeouts.Command))
	return d.login(ctx, c, t)
}

// implicitTLS begins with TLS (RFC 8314 section 3.3).
func (d *Dialer) implicitTLS(ctx context.Context, c *Conn) error {
	ctx, cancel := context.WithTimeout(ctx, d.server.Timeouts.Connect)
	defer cancel()
	secured := tls.Client(c.raw, d.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		return d.tlsError(err)
	}
	c.raw = secured
	return nil
}

// greet reads the banner and says EHLO.
func (d *Dialer) greet(c *Conn, t *trace) error {
	c.raw.SetDeadline(time.Now().Add(d.server.Timeouts.Command))
	client, err := smtp.NewClient(t.hearing(c.raw), d.server.Host)
	if err != nil {
		return d.fail(delivery.PhaseConnect, err, "")
	}
	c.client = client
	hello := d.helloName(c.raw)
	if err := client.Hello(hello); err != nil {
		return d.fail(delivery.PhaseHello, err, "")
	}
	t.greeted(c, hello)
	return nil
}

// startTLS secures the connection or gives up: never on in clear (RFC 3207 section 6). go-mail drops what was buffered
// before the handshake and says EHLO again.
func (d *Dialer) startTLS(c *Conn) error {
	if ok, _ := c.client.Extension("STARTTLS"); !ok {
		return &DialError{Server: d.addr, Phase: delivery.PhaseStartTLS, Config: true, Err: errors.New("the relay does not offer STARTTLS"),
			Hint: "use tls: implicit with port 465, or ask the provider"}
	}
	c.raw.SetDeadline(time.Now().Add(d.server.Timeouts.Connect))
	if err := c.client.StartTLS(d.tls); err != nil {
		return d.tlsError(err)
	}
	return nil
}

// tlsError explains the certificate errors that people meet.
func (d *Dialer) tlsError(err error) error {
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

// fail wraps an error of a step with the server's reply, when that is what it was.
func (d *Dialer) fail(p delivery.Phase, err error, hint string) error {
	return &DialError{Server: d.addr, Phase: p, Reply: replyOf(err), Err: err, Hint: hint}
}

// helloName is a real name: RFC 5321 section 4.1.1.1 wants the FQDN, or an address literal where there is none.
func (d *Dialer) helloName(conn net.Conn) string {
	if d.server.Hello != "" {
		return d.server.Hello
	}
	if d.hostname != "" {
		return d.hostname
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

// fqdn is this host's name, when it has one with a dot in it.
func fqdn() string {
	name, err := os.Hostname()
	name = strings.Trim(name, ".")
	if err != nil || !strings.Contains(name, ".") {
		return ""
	}
	return name
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
	return newReply(te.Code, strconv.Itoa(te.Code)+" "+strings.ReplaceAll(te.Msg, "\n", " "))
}
