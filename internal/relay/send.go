package relay

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"mailer/internal/delivery"
)

// Envelope is what the transaction says, not what the message shows.
type Envelope struct {
	From     string // the return path, in wire form
	To       string // one recipient, in wire form (quoted where RFC 5321 wants it)
	ENVID    string // RFC 3461: comes back in a report as Original-Envelope-Id; empty for none
	SMTPUTF8 bool   // an address or a header holds raw UTF-8 (RFC 6531)
}

// Message is one message to one recipient. Raw has CRLF line ends and no dot-stuffing. One RCPT a message: a transaction
// has one reply for all its recipients, and each must have their own.
type Message struct {
	Envelope Envelope
	Raw      []byte
}

// Send sends a message and reports exactly how far it got. next is the message that the following call will send, nil
// when there is none.
func (c *Conn) Send(m, next *Message) delivery.Attempt {
	e, raw := m.Envelope, m.Raw
	if a, ok := c.refuseLocally(e, raw); ok {
		return a
	}
	c.sent++
	a := c.transaction(e, raw)
	if a.Reply.Code == 555 && a.Phase != delivery.PhaseDot && !c.plain && c.Usable() {
		// RFC 5321 section 4.1.1.11: a parameter is not known. The message itself was not refused, so once more without.
		c.plain = true
		a = c.transaction(e, raw)
	}
	return a
}

// refuseLocally fails what the relay has said it cannot take, before a byte is sent.
func (c *Conn) refuseLocally(e Envelope, raw []byte) (delivery.Attempt, bool) {
	refuse := func(enhanced, text string) (delivery.Attempt, bool) {
		return delivery.Attempt{Phase: delivery.PhaseData, Reply: delivery.Reply{Code: 550, Enhanced: enhanced, Text: "550 " + enhanced + " (not sent) " + text}}, true
	}
	switch {
	case strings.ContainsFunc(e.From+e.To+e.ENVID, unicode.IsControl):
		return refuse("5.1.3", "an address holds a line break or another control character")
	case strings.ContainsAny(unquoted(e.From)+unquoted(e.To), "<> "):
		return refuse("5.1.3", "an address holds a character that cannot be in one")
	case e.SMTPUTF8 && !c.has["SMTPUTF8"]:
		return refuse("5.6.7", "the address needs SMTPUTF8 and the relay does not offer it")
	case c.sizeLimit > 0 && int64(len(raw)) > c.sizeLimit:
		return refuse("5.3.4", fmt.Sprintf("the message has %d bytes and the relay takes %d", len(raw), c.sizeLimit))
	}
	return delivery.Attempt{}, false
}

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

// transaction is MAIL, RCPT, DATA, body and dot. With PIPELINING the three commands go in one write (RFC 2920 section
// 3.1: DATA may end a group), and all three replies are read whatever they are.
func (c *Conn) transaction(e Envelope, raw []byte) delivery.Attempt {
	mail, rcpt := c.mailCommand(e, len(raw)), c.rcptCommand(e)
	if a, spoke := c.unasked(delivery.PhaseMail); spoke {
		return a
	}
	if !c.pipelining {
		return c.stepwise(mail, rcpt, raw)
	}
	if err := c.write(c.server.Timeouts.Command, []byte(mail+rcpt+"DATA\r\n")); err != nil {
		return c.lost(delivery.PhaseMail, err)
	}
	refusal, gone := c.groupReplies()
	if gone != nil {
		return *gone
	}
	data, err := c.reply(c.server.Timeouts.Data)
	if err != nil {
		a := c.lost(delivery.PhaseData, err)
		if refusal != nil {
			a = *refusal // it was said before the connection ended
		}
		return a
	}
	switch {
	case data.Code == 354 && refusal == nil:
		return c.body(raw)
	case data.Code == 354:
		return c.loneDot(*refusal)
	case refusal == nil:
		refusal = &delivery.Attempt{Phase: delivery.PhaseData, Reply: data}
	}
	c.noteRefusal(data)
	return c.reset(*refusal)
}

// groupReplies reads the replies to a pipelined MAIL and RCPT: the first refusal is the one that counts, the rest are
// echoes of it (503 to RCPT after a refused MAIL). gone is set when the connection ended.
func (c *Conn) groupReplies() (refusal, gone *delivery.Attempt) {
	for _, phase := range []delivery.Phase{delivery.PhaseMail, delivery.PhaseRcpt} {
		r, err := c.reply(c.server.Timeouts.Command)
		if err != nil {
			a := c.lost(phase, err)
			if refusal != nil {
				a = *refusal
			}
			return nil, &a
		}
		if r.Code/100 != 2 && refusal == nil {
			refusal = &delivery.Attempt{Phase: phase, Reply: r}
		}
		if r.Code == 421 {
			// The server is closing: what comes after has no reply (RFC 5321 section 3.8).
			c.broken = true
			return nil, refusal
		}
		c.note(r)
	}
	return refusal, nil
}

// loneDot ends a DATA that was accepted although no recipient was: RFC 2920 section 3.1 wants an empty message then.
func (c *Conn) loneDot(refusal delivery.Attempt) delivery.Attempt {
	if err := c.write(c.server.Timeouts.Block, []byte(".\r\n")); err != nil {
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

// stepwise waits for each reply before the next command, for relays without PIPELINING.
func (c *Conn) stepwise(mail, rcpt string, raw []byte) delivery.Attempt {
	t := c.server.Timeouts
	for _, step := range []struct {
		phase   delivery.Phase
		command string
		wait    time.Duration
		want    int
	}{
		{delivery.PhaseMail, mail, t.Command, 2},
		{delivery.PhaseRcpt, rcpt, t.Command, 2},
		{delivery.PhaseData, "DATA\r\n", t.Data, 3},
	} {
		if err := c.write(step.wait, []byte(step.command)); err != nil {
			return c.lost(step.phase, err)
		}
		r, err := c.reply(step.wait)
		if err != nil {
			return c.lost(step.phase, err)
		}
		if r.Code/100 != step.want {
			c.noteRefusal(r)
			return c.reset(delivery.Attempt{Phase: step.phase, Reply: r})
		}
	}
	return c.body(raw)
}

// body writes the message and the final dot. Until the last byte has been written the server must drop what it got, so a
// failed write is no doubt; from then on only the reply tells.
func (c *Conn) body(raw []byte) delivery.Attempt {
	stuffed := dotStuff(raw)
	head := stuffed[:len(stuffed)-len(finalDot)]
	for block := range slices.Chunk(head, blockSize) {
		if err := c.write(c.server.Timeouts.Block, block); err != nil {
			return c.lost(delivery.PhaseData, err)
		}
	}
	// The reply to come must be the reply to the dot.
	if a, spoke := c.unasked(delivery.PhaseData); spoke {
		return a
	}
	if err := c.write(c.server.Timeouts.Block, []byte(finalDot)); err != nil {
		// The dot may have left although the write failed.
		return c.lost(delivery.PhaseDot, err)
	}
	r, err := c.reply(c.server.Timeouts.Dot)
	if err != nil {
		return c.lost(delivery.PhaseDot, err)
	}
	c.note(r)
	return delivery.Attempt{Phase: delivery.PhaseDot, Reply: r}
}

// blockSize is how much of a message must leave within the block timeout: a large attachment on a slow line takes longer.
const blockSize = 256 << 10

// finalDot ends the mail data after its last CRLF.
const finalDot = ".\r\n"

// dotStuff doubles a dot at the start of a line (RFC 5321 section 4.5.2) and appends the final dot. raw ends in CRLF, or
// gets one.
func dotStuff(raw []byte) []byte {
	out := make([]byte, 0, len(raw)+len(raw)/64+8)
	for len(raw) > 0 {
		if raw[0] == '.' {
			out = append(out, '.')
		}
		i := bytes.IndexByte(raw, '\n') + 1
		if i == 0 {
			i = len(raw)
		}
		out = append(out, raw[:i]...)
		raw = raw[i:]
	}
	if !bytes.HasSuffix(out, []byte("\r\n")) {
		out = append(out, "\r\n"...)
	}
	return append(out, finalDot...)
}

// reset clears the transaction after a refusal, so that the next MAIL starts afresh.
func (c *Conn) reset(a delivery.Attempt) delivery.Attempt {
	if !c.broken {
		c.say("RSET\r\n", c.server.Timeouts.Command)
	}
	return a
}

// say sends a command whose reply is of no interest, but that it comes.
func (c *Conn) say(command string, timeout time.Duration) {
	if err := c.write(timeout, []byte(command)); err != nil {
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
	c.broken = true
	return delivery.Attempt{Phase: p, Reply: r}, true
}

// mailCommand gives parameters only where they are needed and offered: BODY=8BITMIME and SMTPUTF8 unasked make a next
// hop without them bounce the message.
func (c *Conn) mailCommand(e Envelope, size int) string {
	var b strings.Builder
	b.WriteString("MAIL FROM:<" + e.From + ">")
	if c.has["SIZE"] && !c.plain {
		fmt.Fprintf(&b, " SIZE=%d", size)
	}
	if e.SMTPUTF8 {
		b.WriteString(" BODY=8BITMIME SMTPUTF8") // also when plain: without it the message would be another one
	}
	if c.has["DSN"] && !c.plain && e.ENVID != "" {
		b.WriteString(" RET=HDRS ENVID=" + xtext(e.ENVID))
	}
	return b.String() + "\r\n"
}

// rcptCommand asks for a report of failures only: SUCCESS yields "relayed" reports that prove nothing.
func (c *Conn) rcptCommand(e Envelope) string {
	notify := ""
	if c.has["DSN"] && e.ENVID != "" && !c.plain {
		notify = " NOTIFY=FAILURE"
	}
	return "RCPT TO:<" + e.To + ">" + notify + "\r\n"
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
	return delivery.Attempt{Phase: p, Lost: true, Error: lostText(err)}
}

func (c *Conn) write(timeout time.Duration, b []byte) error {
	c.raw.SetDeadline(time.Now().Add(timeout))
	w := c.client.Text.W
	if _, err := w.Write(b); err != nil {
		return err
	}
	return w.Flush()
}
