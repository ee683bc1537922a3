package relay

import (
	"fmt"
	"strings"
	"time"
)

// When a warning is due.
const (
	expiresSoon = 14 * 24 * time.Hour // certificates that renew themselves do it 30 days ahead
	smallSize   = 1 << 20
)

// Doubt is something unwise that works all the same.
type Doubt struct {
	Rule string `json:"rule"` // tls, login, certificate, expiry, pipelining, dsn, size, hello, connections: stable, for scripts
	Text string `json:"text"`
}

// Use is how a configuration uses a relay.
type Use struct {
	Connections int
	Hello       string // the name in EHLO that it sets; empty: none
}

// Doubts lists what works and should not be left so.
func (p Profile) Doubts(use Use, now time.Time) []Doubt {
	all := []Doubt{}
	warn := func(rule, format string, args ...any) {
		all = append(all, Doubt{rule, fmt.Sprintf(format, args...)})
	}
	sec := p.Security
	if sec == nil && !p.Loopback {
		warn("tls", "the mail goes over the network in clear: use tls: starttls or implicit")
	}
	if sec == nil && !p.Loopback && (p.Login == "PLAIN" || p.Login == "LOGIN" || p.Login == "XOAUTH2") {
		warn("login", "the password goes over the network in clear: whoever reads it can send in your name")
	}
	if sec != nil && sec.Doubt != nil {
		warn("certificate", "insecure: true hides this: %v", sec.Doubt)
	}
	if sec != nil && sec.Expires.Sub(now) < expiresSoon {
		warn("expiry", "the certificate ends on %s: from then on nothing can be sent", sec.Expires.Format("2006-01-02"))
	}
	switch {
	case !p.Offered("PIPELINING"):
		warn("pipelining", "no PIPELINING: a message takes %d round trips instead of one", StepwiseTrips)
	case !p.Pipelined:
		warn("pipelining", "the relay offers PIPELINING, and pipelining: off leaves it aside: a message takes %d round trips instead of one", StepwiseTrips)
	}
	if !p.Offered("DSN") {
		warn("dsn", "no DSN: a bounce is recognised by its return path only, so keep {token} in bounces.return_path")
	}
	if p.Size > 0 && p.Size < smallSize {
		warn("size", "the largest message has %d bytes: one with pictures will not pass", p.Size)
	}
	if !fullName(p.Hello) && (!p.Loopback || use.Hello != "") {
		warn("hello", "we greet as %s, which is no full host name, and some relays mind: set hello: to this host's name in DNS", p.Hello)
	}
	if p.AgainErr != nil && use.Connections > 1 {
		warn("connections", "a second connection was refused, and %d are configured: %v", use.Connections, p.AgainErr)
	}
	return all
}

// fullName reports whether a name could be one of DNS: an address literal or localhost is none.
func fullName(hello string) bool {
	return strings.Contains(strings.Trim(hello, "."), ".") && !strings.HasPrefix(hello, "[")
}

// StepwiseTrips are MAIL, RCPT, DATA and the message, each with its reply.
const StepwiseTrips = 4
