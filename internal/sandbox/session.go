package sandbox

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// session is one SMTP connection.
type session struct {
	s    *Sandbox
	conn *smtp.Conn
	sent int // messages taken on this connection

	from  string
	opts  smtp.MailOptions
	rcpts []recipient
}

type recipient struct {
	address string
	opts    smtp.RcptOptions
	cast    Personality
}

func (*session) Logout() error { return nil }

func (ss *session) Reset() { ss.from, ss.opts, ss.rcpts = "", smtp.MailOptions{}, nil }

// AuthMechanisms are offered so that a configuration with a login can be rehearsed.
func (*session) AuthMechanisms() []string { return []string{sasl.Plain, sasl.Login} }

// Auth lets everybody in, except who asks to be refused.
func (*session) Auth(mech string) (sasl.Server, error) {
	check := func(username string) error {
		if strings.HasPrefix(username, "refuse") {
			return smtp.ErrAuthFailed
		}
		return nil
	}
	switch mech {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, username, _ string) error { return check(username) }), nil
	case sasl.Login:
		return &loginServer{check: check}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

// loginServer is the server's side of the LOGIN mechanism (draft-murchison-sasl-login).
type loginServer struct {
	check    func(username string) error
	username string
	step     int
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if l.step == 0 && response == nil { // no initial response
		l.step = 1
		return []byte("Username:"), false, nil
	}
	if l.step < 2 {
		l.step, l.username = 2, string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.username)
}

func (ss *session) Mail(from string, opts *smtp.MailOptions) error {
	if limit := ss.s.scenario.hangUp; limit > 0 && ss.sent >= limit {
		return ss.goodbye(refuse(421, smtp.EnhancedCode{4, 7, 0}, "Too many messages on this connection, come again"))
	}
	ss.from, ss.opts = from, *opts
	return nil
}

func (ss *session) Rcpt(to string, opts *smtp.RcptOptions) error {
	p := ss.s.scenario.Cast(ss.s.o.Seed, to)
	if to != "" && strings.EqualFold(to, ss.from) { // a round trip
		p = personalities[0]
		p.sequel = home{}
	}
	if p.slow {
		select {
		case <-time.After(ss.s.o.Slow):
		case <-ss.s.done:
		}
	}
	if p.refusal != nil && !ss.s.forgiven(p, ss.from, to) {
		ss.s.caught.refused(p.Name)
		if p.refusal.Code == 421 {
			return ss.goodbye(p.refusal)
		}
		return p.refusal
	}
	ss.rcpts = append(ss.rcpts, recipient{address: to, opts: *opts, cast: p})
	return nil
}

// forgiven tells whether a refusal is over for this sender and recipient.
func (s *Sandbox) forgiven(p Personality, from, to string) bool {
	if p.forgive == never {
		return false
	}
	first, seen := s.caught.firstTry(from, to, s.o.Now())
	return seen && (p.forgive == atOnce || s.o.Now().Sub(first) >= s.o.Greylist)
}

// goodbye ends the connection after the reply.
func (ss *session) goodbye(reply *smtp.SMTPError) error {
	if c := rawConn(ss.conn.Conn()); c != nil {
		c.hangUp()
	}
	return reply
}

// rawConn finds our connection beneath TLS.
func rawConn(c net.Conn) *conn {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = over.NetConn()
	}
	raw, _ := c.(*conn)
	return raw
}

var errLost = errors.New("the connection is lost") // for the log; no reply is written

func (ss *session) Data(r io.Reader) error {
	var buf bytes.Buffer
	buf.Grow(min(int(ss.opts.Size), 1<<20) + 512)
	if _, err := buf.ReadFrom(r); err != nil {
		return err
	}
	for _, rc := range ss.rcpts {
		if rc.cast.dot != nil {
			ss.s.caught.refused(rc.cast.Name)
			return rc.cast.dot
		}
	}
	ss.sent++
	lost := false
	for _, rc := range ss.rcpts {
		lost = lost || rc.cast.drop
	}
	if err := ss.s.take(ss, buf.Bytes(), lost); err != nil {
		return err
	}
	if c := rawConn(ss.conn.Conn()); lost && c != nil {
		c.cut()
		return errLost
	}
	return nil
}

// take records a message for each of its recipients and lets them do what they do.
func (s *Sandbox) take(ss *session, raw []byte, lost bool) error {
	header := headerOf(raw)
	body, at := s.caught.pack(raw), s.o.Now()
	for _, rc := range ss.rcpts {
		n := s.caught.add(Caught{
			ReceivedAt:  at,
			From:        ss.from,
			Rcpt:        rc.address,
			EnvelopeID:  ss.opts.EnvelopeID,
			Notify:      notifyWords(rc.opts.Notify),
			MessageID:   strings.Trim(header.Get("Message-Id"), "<> "),
			Subject:     decodeWords(header.Get("Subject")),
			Size:        int64(len(raw)),
			Personality: rc.cast.Name,
			Unanswered:  lost,
		}, body)
		if rc.cast.sequel == nil {
			continue
		}
		mails, err := rc.cast.sequel.write(incoming{n: n, at: at, from: ss.from, rcpt: rc.address, envID: ss.opts.EnvelopeID,
			ret: ss.opts.Return, original: rc.opts.OriginalRecipient, notify: rc.opts.Notify, raw: raw, header: header})
		if err != nil {
			return err
		}
		for _, mail := range mails {
			if err := s.mailbox.Deliver(mail); err != nil {
				return err
			}
		}
	}
	return nil
}

func notifyWords(notify []smtp.DSNNotify) string {
	words := make([]string, len(notify))
	for i, n := range notify {
		words[i] = string(n)
	}
	return strings.Join(words, ",")
}
