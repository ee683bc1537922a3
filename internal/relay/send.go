package relay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"mailer/internal/delivery"
)

// Message is one message to one recipient.
type Message struct {
	Envelope
	Raw []byte // CRLF line ends, no dot-stuffing
}

// Envelope is what the transaction says, not what the message shows. One RCPT a message: a transaction has one reply for
// all its recipients, and each must have their own.
type Envelope struct {
	From     string // the return path, in wire form
	To       string // one recipient, in wire form (quoted where RFC 5321 wants it)
	ENVID    string // RFC 3461: comes back in a report as Original-Envelope-Id; empty for none
	SMTPUTF8 bool   // an address or a header holds raw UTF-8 (RFC 6531)
}

// Send sends one message and reports exactly how far it got.
//
// next, when not nil, is offered: its MAIL, RCPT and DATA leave in the same write as this message's final dot, which RFC
// 2920 section 3.1 allows ("the actual transfer of message content is explicitly allowed to be the first command in a
// group"), so that a message costs one round trip. Nothing of its content leaves. The next call must be Send with that
// very message; when it is not to be sent after all, Close ends the connection under it, and the relay must forget it (RFC
// 5321 section 4.1.1.10).
//
// The reply to this message's dot is read before the next one's dot is written: never is more than one message of a
// connection in doubt.
func (c *Conn) Send(m, next *Message) delivery.Attempt {
	if c.offered != m {
		if a, refused := c.refuse(m); refused {
			return a
		}
	}
	a, open := c.open(m)
	if !open && a.Reply.Code == 555 && !c.plain && c.Usable() {
		// RFC 5321 section 4.1.1.11: a parameter is not known. The message itself was not refused, so once more without.
		c.plain = true
		a, open = c.open(m)
	}
	if !open {
		if !a.Lost {
			c.answered++
		}
		return a
	}
	return c.content(m, next)
}

// SendAlone sends a message that none comes after, over another connection where this one turns out to be used up.
func (c *Conn) SendAlone(ctx context.Context, m *Message) delivery.Attempt {
	a := c.Send(m, nil)
	for range int(chained) { // a relay that cannot do PIPELINING is found out in so many steps
		if !a.Again {
			break
		}
		other, err := c.dialer.Dial(ctx)
		if err != nil {
			break
		}
		stop := context.AfterFunc(ctx, other.Abort)
		a = other.Send(m, nil)
		stop()
		other.Close()
	}
	return a
}

// Offered reports whether the relay was told of a message that was not sent yet.
func (c *Conn) Offered(m *Message) bool { return m != nil && c.offered == m }

// refuse fails what the relay has said it cannot take, before a byte is sent.
func (c *Conn) refuse(m *Message) (delivery.Attempt, bool) {
	refuse := func(enhanced, text string) (delivery.Attempt, bool) {
		return delivery.Attempt{Phase: delivery.PhaseData, Reply: delivery.Reply{Code: 550, Enhanced: enhanced, Text: "550 " + enhanced + " (not sent) " + text}}, true
	}
	switch {
	case hasControl(m.From) || hasControl(m.To) || hasControl(m.ENVID):
		return refuse("5.1.3", "an address holds a line break or another control character")
	case strings.ContainsAny(unquoted(m.From), "<> ") || strings.ContainsAny(unquoted(m.To), "<> "):
		return refuse("5.1.3", "an address holds a character that cannot be in one")
	case m.SMTPUTF8 && !c.has["SMTPUTF8"]:
		return refuse("5.6.7", "the address needs SMTPUTF8 and the relay does not offer it")
	case c.sizeLimit > 0 && int64(len(m.Raw)) > c.sizeLimit:
		return refuse("5.3.4", fmt.Sprintf("the message has %d bytes and the relay takes %d", len(m.Raw), c.sizeLimit))
	}
	return delivery.Attempt{}, false
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// unquoted is an address without the text of its quoted local part, in which (nearly) everything may stand.
func unquoted(address string) string {
	if !strings.HasPrefix(address, `"`) {
		return address
	}
	for i := 1; i < len(address); i++ {
		switch address[i] {
		case '\\':
			i++
		case '"':
			return address[i+1:]
		}
	}
	return "<" // the quotation does not end: no address
}

// open brings the relay to where it waits for the message's content. When it does not come to that, the attempt says why.
func (c *Conn) open(m *Message) (refusal delivery.Attempt, open bool) {
	switch {
	case c.offered == m:
		c.offered = nil
		return c.answers(chained)
	case c.offered != nil:
		// Its content can no longer be told from this one's.
		return c.lost(delivery.PhaseMail, errors.New("another message was offered to the relay")), false
	}
	if a, spoke := c.unasked(delivery.PhaseMail); spoke {
		return a, false
	}
	c.sent++
	if c.reach() == stepwise {
		return c.step(m)
	}
	c.out = c.appendGroup(c.out[:0], m)
	if _, err := c.write(c.server.Timeouts.Command, c.out); err != nil {
		return c.lost(delivery.PhaseMail, err), false
	}
	return c.answers(grouped)
}

// appendGroup appends the commands before a message's content, which may leave in one write: DATA may end a group (RFC
// 2920 section 3.1). A transaction that was refused is reset first.
func (c *Conn) appendGroup(b []byte, m *Message) []byte {
	if c.unclean {
		b = append(b, "RSET\r\n"...)
		c.unclean, c.resetting = false, true
	}
	b = c.appendMail(b, m)
	b = c.appendRcpt(b, m)
	return append(b, "DATA\r\n"...)
}

// answers reads all replies to a group, whatever they are. The first refusal is the one that counts, what follows are
// echoes of it (503 to RCPT after a refused MAIL).
func (c *Conn) answers(how reach) (refusal delivery.Attempt, open bool) {
	t := c.server.Timeouts
	if c.resetting {
		c.resetting = false
		if r, err := c.reply(t.Command); err != nil || r.Code/100 != 2 {
			return c.brokeAt(delivery.PhaseMail, r, err), false
		}
	}
	var refused *delivery.Attempt
	for i, phase := range []delivery.Phase{delivery.PhaseMail, delivery.PhaseRcpt, delivery.PhaseData} {
		wait := t.Command
		if phase == delivery.PhaseData {
			wait = t.Data
		}
		// The reply that a relay owes us if it did throw away what came with the command before.
		first := how == chained && i == 0 || how == grouped && i == 1
		r, err := c.reply(c.patience(how, first, wait))
		switch {
		case err != nil && refused != nil:
			c.broken = true
			return *refused, false // it was said before the connection ended
		case err != nil && c.deaf(how, first, err):
			return c.again(phase, err), false
		case err != nil:
			return c.brokeAt(phase, r, err), false
		}
		if phase == delivery.PhaseData {
			return c.answerToData(r, refused, how)
		}
		if r.Code/100 != 2 && refused == nil {
			refused = &delivery.Attempt{Phase: phase, Reply: r}
			if c.rejectsPipelining(phase, r) {
				return c.again(phase, fmt.Errorf("the relay takes no pipelining: %s", r)), false
			}
		}
		if r.Code == 421 {
			// The server is closing: what comes after has no reply (RFC 5321 section 3.8).
			return c.closing(phase, *refused), false
		}
		c.note(r)
	}
	panic("relay: the loop ends at DATA")
}

// answerToData decides on the last reply of a group.
func (c *Conn) answerToData(r delivery.Reply, refused *delivery.Attempt, how reach) (refusal delivery.Attempt, open bool) {
	c.proved(how)
	switch {
	case r.Code == 354 && refused == nil:
		// The next reply must be the one to the dot.
		if a, spoke := c.unasked(delivery.PhaseData); spoke {
			return a, false
		}
		return delivery.Attempt{}, true
	case r.Code == 354 && refused.Phase == delivery.PhaseRcpt:
		return c.loneDot(*refused), false
	case r.Code == 354:
		// The sender was refused and there may be a recipient all the same, who would get the empty message.
		c.broken = true
		return *refused, false
	case refused == nil && c.rejectsPipelining(delivery.PhaseData, r):
		return c.again(delivery.PhaseData, fmt.Errorf("the relay takes no pipelining: %s", r)), false
	case refused == nil:
		refused = &delivery.Attempt{Phase: delivery.PhaseData, Reply: r}
	}
	c.noteRefusal(r)
	c.unclean = true
	return *refused, false
}

// loneDot ends a DATA that was accepted although no recipient was: RFC 2920 section 3.1 wants an empty message then.
func (c *Conn) loneDot(refusal delivery.Attempt) delivery.Attempt {
	if _, err := c.write(c.server.Timeouts.Block, []byte(finalDot)); err != nil {
		c.broken = true
		return refusal
	}
	if r, err := c.reply(c.server.Timeouts.Dot); err != nil {
		c.broken = true
	} else {
		c.note(r)
	}
	return refusal
}

// step waits for each reply before the next command, for relays without PIPELINING.
func (c *Conn) step(m *Message) (refusal delivery.Attempt, open bool) {
	t := c.server.Timeouts
	if c.unclean {
		c.unclean = false
		c.say("RSET\r\n", t.Command)
		if c.broken {
			return c.lost(delivery.PhaseMail, errNoReset), false
		}
	}
	for _, step := range []struct {
		phase   delivery.Phase
		command []byte
		wait    time.Duration
		want    int
	}{
		{delivery.PhaseMail, c.appendMail(nil, m), t.Command, 2},
		{delivery.PhaseRcpt, c.appendRcpt(nil, m), t.Command, 2},
		{delivery.PhaseData, []byte("DATA\r\n"), t.Data, 3},
	} {
		if _, err := c.write(step.wait, step.command); err != nil {
			return c.lost(step.phase, err), false
		}
		r, err := c.reply(step.wait)
		switch {
		case err != nil:
			return c.brokeAt(step.phase, r, err), false
		case r.Code == 421:
			return c.closing(step.phase, delivery.Attempt{Phase: step.phase, Reply: r}), false
		case r.Code/100 != step.want:
			c.noteRefusal(r)
			c.unclean = true
			return delivery.Attempt{Phase: step.phase, Reply: r}, false
		}
	}
	if a, spoke := c.unasked(delivery.PhaseData); spoke {
		return a, false
	}
	return delivery.Attempt{}, true
}

// content writes the message and its final dot, and with it the commands of the next one. Until the last byte of the dot
// is in the hands of this machine the server cannot have it and must drop what it got (RFC 5321 section 4.1.1.10), so a
// failed write is no doubt; from then on only the reply tells.
func (c *Conn) content(m, next *Message) delivery.Attempt {
	raw := m.Raw
	var stuff stuffer
	for len(raw) > blockSize {
		c.out = stuff.append(c.out[:0], raw[:blockSize])
		raw = raw[blockSize:]
		if _, err := c.write(c.server.Timeouts.Block, c.out); err != nil {
			return c.lost(delivery.PhaseData, err)
		}
		if a, spoke := c.unasked(delivery.PhaseData); spoke {
			return a
		}
	}
	c.out = stuff.end(stuff.append(c.out[:0], raw))
	dot := len(c.out)
	offer := next != nil && c.mayOffer(next)
	if offer {
		c.out = c.appendGroup(c.out, next)
	}
	n, err := c.write(c.server.Timeouts.Block, c.out)
	switch {
	case err != nil && n < dot:
		return c.lost(delivery.PhaseData, err)
	case err != nil:
		return c.lost(delivery.PhaseDot, err)
	}
	if offer {
		c.offered = next
		c.sent++
	}
	r, err := c.reply(c.server.Timeouts.Dot)
	if err != nil {
		return c.lost(delivery.PhaseDot, err)
	}
	c.answered++
	c.note(r)
	return delivery.Attempt{Phase: delivery.PhaseDot, Reply: r}
}

// mayOffer reports whether the next message's commands may go with this one's dot.
func (c *Conn) mayOffer(next *Message) bool {
	if c.reach() != chained || c.Full() {
		return false
	}
	_, refused := c.refuse(next)
	return !refused
}

// say sends a command whose reply is of no interest, but that it comes and is a good one.
func (c *Conn) say(command string, timeout time.Duration) {
	if _, err := c.write(timeout, []byte(command)); err != nil {
		c.broken = true
		return
	}
	r, err := c.reply(timeout)
	if err != nil || r.Code/100 != 2 {
		c.broken = true
	}
}

// unasked looks for a reply that came before its command: a goodbye (RFC 5321 section 3.8), or a relay that says more
// than it was asked. From then on no reply could be matched to its command, and a message might be taken for accepted by
// the reply to another: the connection is given up, before the message was sent.
func (c *Conn) unasked(p delivery.Phase) (delivery.Attempt, bool) {
	if c.client.Text.R.Buffered() == 0 {
		return delivery.Attempt{}, false
	}
	r, err := c.reply(c.server.Timeouts.Command)
	if err != nil || r.Code != 421 {
		return c.lost(p, fmt.Errorf("the relay spoke out of turn: %.80q", r.Text)), true
	}
	return c.closing(p, delivery.Attempt{Phase: p, Reply: r}), true
}

// appendMail gives parameters only where they are needed and offered: BODY=8BITMIME and SMTPUTF8 unasked make a next
// hop without them bounce the message.
func (c *Conn) appendMail(b []byte, m *Message) []byte {
	b = append(append(append(b, "MAIL FROM:<"...), m.From...), '>')
	if c.has["SIZE"] && !c.plain {
		b = strconv.AppendInt(append(b, " SIZE="...), int64(len(m.Raw)), 10) // before dot-stuffing (RFC 1870 section 4)
	}
	if m.SMTPUTF8 {
		b = append(b, " BODY=8BITMIME SMTPUTF8"...) // also when plain: without it the message would be another one
	}
	if c.has["DSN"] && !c.plain && m.ENVID != "" {
		b = append(append(b, " RET=HDRS ENVID="...), xtext(m.ENVID)...)
	}
	return append(b, "\r\n"...)
}

// appendRcpt asks for a report of failures only: SUCCESS yields "relayed" reports that prove nothing.
func (c *Conn) appendRcpt(b []byte, m *Message) []byte {
	b = append(append(append(b, "RCPT TO:<"...), m.To...), '>')
	if c.has["DSN"] && m.ENVID != "" && !c.plain {
		b = append(b, " NOTIFY=FAILURE"...)
	}
	return append(b, "\r\n"...)
}

// xtext encodes a DSN parameter (RFC 3461 section 4): everything but "!" to "~" without "+" and "=" becomes +HH.
func xtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; '!' <= c && c <= '~' && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "+%02X", c)
		}
	}
	return b.String()
}

// note looks for a goodbye in a reply, and for one that answers no command of ours: then nothing that follows can be matched.
func (c *Conn) note(r delivery.Reply) {
	if class := r.Code / 100; r.Code == 421 || class != 2 && class != 4 && class != 5 {
		c.broken = true
	}
}

// noteRefusal notes a reply that ought to be a refusal: a 2xx to DATA is the reply to something else.
func (c *Conn) noteRefusal(r delivery.Reply) {
	if c.note(r); r.Code/100 == 2 {
		c.broken = true
	}
}

// lost marks the connection as gone.
func (c *Conn) lost(p delivery.Phase, err error) delivery.Attempt {
	c.broken = true
	// A connection that ends between two messages (a limit of messages, an idle timeout) is only replaced.
	return delivery.Attempt{Phase: p, Lost: true, Error: lostText(err), Again: p == delivery.PhaseMail && c.answered > 0}
}

// brokeAt is lost, by an error or by a reply that the session cannot go on with.
func (c *Conn) brokeAt(p delivery.Phase, r delivery.Reply, err error) delivery.Attempt {
	switch {
	case err != nil:
		return c.lost(p, err)
	case r.Code == 421:
		return c.closing(p, delivery.Attempt{Phase: p, Reply: r})
	}
	return c.lost(p, fmt.Errorf("%w: %s", errNoReset, r))
}

// closing notes that the relay ends the session. A goodbye between two messages is nobody's fault: relays that take so
// many messages a connection say it that way.
func (c *Conn) closing(p delivery.Phase, a delivery.Attempt) delivery.Attempt {
	c.broken = true
	a.Again = p == delivery.PhaseMail && c.answered > 0 && (!strings.HasPrefix(a.Reply.Enhanced, "4.7.") || fullConnection(a.Reply.Text))
	return a
}

// fullConnection reports whether a reply is about the messages of one connection ("421 4.7.0 Too many messages on this connection"). Any
// other 4.7 is about us.
func fullConnection(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "message") && (strings.Contains(text, "connection") || strings.Contains(text, "session"))
}
