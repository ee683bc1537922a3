// Package relay speaks SMTP with the user's relay: one connection that is dialled, secured and logged in by go-mail's
// client, then one transaction a message.
//
// A Dialer makes the connections of a run and holds what they share; Probe is a dial that tells what it finds.
//
// A connection knows no campaign. What it returns is exact: the phase that was reached, the reply as it was said, whether
// the final dot had left. What that means for a delivery is decided in package delivery.
package relay

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"time"

	"mailer/internal/delivery"
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
	PerConn    int                                       // messages after which a connection is replaced; 0: no limit but the relay's own
	Timeouts   Timeouts
	Net        func(ctx context.Context, network, addr string) (net.Conn, error) // how to reach it; nil: by TCP
}

// Timeouts of the phases. A short one after the dot makes duplicates, so the defaults are those of RFC 5321 section 4.5.3.2.
type Timeouts struct {
	Connect time.Duration // TCP and TLS, each
	Command time.Duration // banner, EHLO, MAIL, RCPT
	Data    time.Duration // DATA to 354
	Block   time.Duration // each write of the body
	Dot     time.Duration // the final dot to its reply
	Deaf    time.Duration // to the reply by which a relay first shows that it can do PIPELINING, see trust; 0: no less than usual
}

// DefaultTimeouts are the minimum client values of RFC 5321 section 4.5.3.2, with a shorter wait for TCP, and for a relay that may be
// deaf: one that is only slow loses nothing but speed.
var DefaultTimeouts = Timeouts{Connect: 30 * time.Second, Command: 5 * time.Minute, Data: 2 * time.Minute, Block: 3 * time.Minute, Dot: 10 * time.Minute,
	Deaf: 30 * time.Second}

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
