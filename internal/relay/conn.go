package relay

import (
	"math"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// Conn is one connection to a relay. It is used by one goroutine; Abort may come from another.
type Conn struct {
	dialer     *Dialer // who made it, for what all connections of a run share
	server     Server
	client     *smtp.Client
	raw        net.Conn
	pipelining bool
	sizeLimit  int64
	limits     Limits
	has        map[string]bool
	plain      bool // the relay refused a parameter with 555: none that can be left out is sent any more
	broken     bool
	sent       int       // transactions begun
	answered   int       // transactions that ended with a reply
	last       time.Time // when the relay last answered
	replyBy    time.Time // when the reply that is waited for must be there

	offered   *Message // its MAIL, RCPT and DATA have left, their replies are not read
	unclean   bool     // a transaction was refused: RSET comes before the next one
	resetting bool     // RSET has left with a group, its reply is not read
	out       []byte   // what is being written; kept for its room
	aborted   atomic.Bool
}

// learn keeps what the last EHLO offered.
func (c *Conn) learn() {
	c.has = map[string]bool{}
	for _, name := range []string{"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN"} {
		ok, param := c.client.Extension(name)
		c.has[name] = ok
		if name == "SIZE" && ok {
			c.sizeLimit = parseSize(param)
		}
	}
	if ok, param := c.client.Extension("LIMITS"); ok {
		c.limits = parseLimits(param)
	}
	c.pipelining = c.server.Pipelining && c.has["PIPELINING"]
	c.last = time.Now()
}

// parseSize reads the parameter of SIZE: 0, none or nonsense is no limit (RFC 1870 section 3).
func parseSize(param string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(param), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Usable reports whether another message may be sent on this connection.
func (c *Conn) Usable() bool { return !c.broken && !c.aborted.Load() }

// Left is how many more messages may be sent on this connection: as many as the configuration or the relay (MAILMAX of
// RFC 9422) allows. Without a limit it is a very large number.
func (c *Conn) Left() int {
	left := math.MaxInt
	for _, most := range []int{c.server.PerConn, c.limits.MailMax} {
		if most > 0 {
			left = min(left, max(0, most-c.sent))
		}
	}
	return left
}

// Full reports whether the connection has done its share.
func (c *Conn) Full() bool { return c.Left() == 0 }

// Idle is how long the relay has not been spoken with.
func (c *Conn) Idle() time.Duration { return time.Since(c.last) }

// Alive asks whether the relay is still there. RSET is harmless between messages.
func (c *Conn) Alive() bool {
	if c.Usable() {
		c.say("RSET\r\n", min(aliveTimeout, c.server.Timeouts.Command))
		c.unclean = false
	}
	return c.Usable()
}

// aliveTimeout bounds the wait of Alive: a new connection is cheaper than a long wait for an old one.
const aliveTimeout = 10 * time.Second

// Close says QUIT when the session is in order, and closes. A message that was only offered is forgotten by the relay: there
// is no other way out of DATA.
func (c *Conn) Close() error {
	defer c.raw.Close() // go-mail leaves the socket open when QUIT fails
	if c.Usable() && c.offered == nil {
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
