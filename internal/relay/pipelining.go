package relay

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"mailer/internal/delivery"
)

// reach is how much may leave in one write.
type reach int32

const (
	stepwise reach = iota // a command, a reply
	grouped               // MAIL, RCPT and DATA together: two round trips a message
	chained               // the final dot and the next message's MAIL, RCPT and DATA together: one
)

// trust is what the connections of a run have learned about a relay's PIPELINING. Some firewalls and proxies throw away
// what came with a command before its reply, whatever the relay behind them offers. Found out once, all connections go
// on without; no message is lost by it, because the relay has not seen its content.
type trust struct {
	lowered atomic.Int32 // by how many steps from chained
	proved  [chained + 1]atomic.Bool
}

func (t *trust) reach() reach { return chained - reach(t.lowered.Load()) }

// Shortfall says what a relay that offers PIPELINING turned out not to do; empty when all is well.
func (d *Dialer) Shortfall() string {
	switch d.trust.reach() {
	case grouped:
		return "it loses commands that come with the end of a message"
	case stepwise:
		return "it loses or refuses commands that come together"
	}
	return ""
}

// lower notes that a reach did not work out.
func (t *trust) lower(from reach) {
	for {
		have := t.lowered.Load()
		want := int32(chained - from + 1)
		if have >= want || t.lowered.CompareAndSwap(have, want) {
			return
		}
	}
}

// reach is what may be used on this connection.
func (c *Conn) reach() reach {
	if !c.pipelining {
		return stepwise
	}
	return c.dialer.trust.reach()
}

// proved notes that all replies to a group have come.
func (c *Conn) proved(how reach) {
	if p := &c.dialer.trust.proved[how]; !p.Load() {
		p.Store(true)
	}
}

// patience is how long to wait for a reply. first is the one that would tell a deaf relay.
func (c *Conn) patience(how reach, first bool, usual time.Duration) time.Duration {
	if deaf := c.server.Timeouts.Deaf; deaf > 0 && first && !c.dialer.trust.proved[how].Load() {
		return min(usual, deaf)
	}
	return usual
}

// deaf reports whether a reply is missing because the relay threw its command away, or hung up on commands that came
// together; then less is used from now on. A hang-up after the final dot is left to the outcome of its message.
func (c *Conn) deaf(how reach, first bool, err error) bool {
	var timeout net.Error
	silent := first && errors.As(err, &timeout) && timeout.Timeout()
	hungUp := how == grouped && ended(err)
	if !silent && !hungUp || c.dialer.trust.proved[how].Load() {
		return false
	}
	c.dialer.trust.lower(how)
	return true
}

// rejectsPipelining recognises a relay that offers PIPELINING and minds it: it says so, or calls a command out of sequence
// that is not. What follows is spoken stepwise.
func (c *Conn) rejectsPipelining(p delivery.Phase, r delivery.Reply) bool {
	if r.Code == 421 || !strings.Contains(strings.ToLower(r.Text), "pipelin") && (r.Code != 503 || p == delivery.PhaseMail) {
		return false
	}
	c.dialer.trust.lower(grouped)
	return true
}

// again gives the connection up with a message that was not refused and whose content never left.
func (c *Conn) again(p delivery.Phase, err error) delivery.Attempt {
	a := c.lost(p, err)
	a.Again = true
	return a
}
