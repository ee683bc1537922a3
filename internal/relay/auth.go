package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mailer/internal/delivery"

	"github.com/wneessen/go-mail/smtp"
)

// login authenticates with the strongest mechanism that both sides know. A password never goes over a connection in
// clear, but to loopback or when insecure is set.
func (d *Dialer) login(ctx context.Context, c *Conn, t *trace) error {
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
	if s.TLS == NoTLS && !s.Insecure && !loopback(c.raw) {
		return &DialError{Server: d.addr, Phase: delivery.PhaseAuth, Config: true, Err: errors.New("the password would go over the network in clear"),
			Hint: "use tls: starttls or implicit"}
	}
	// go-mail knows of the TLS that it began itself only; what may go in clear was decided above.
	auth := authenticator(mechanism, s, password, s.TLS != StartTLS)
	if auth == nil {
		return &DialError{Server: d.addr, Phase: delivery.PhaseAuth, Config: true, Err: fmt.Errorf("no common login mechanism: the relay offers %s", list),
			Hint: "set auth to one of them"}
	}
	if err := c.client.Auth(auth); err != nil {
		return d.authError(err)
	}
	t.loggedIn(mechanism, s.Username)
	return nil
}

// authError tells a refused login (5xx: stop, trying again locks accounts) from one that may work later (4xx, RFC 4954 section 6).
func (d *Dialer) authError(err error) error {
	e := &DialError{Server: d.addr, Phase: delivery.PhaseAuth, Reply: replyOf(err), Err: err}
	if e.Reply.Code/100 == 5 {
		e.Config, e.Refused = true, true
		e.Hint = "the login was refused: check username and password (config check shows where they come from)"
	}
	return e
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
