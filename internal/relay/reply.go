package relay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"mailer/internal/delivery"
)

// replyLines and replyBytes bound one reply: a relay that never stops talking must not fill the memory.
const (
	replyLines = 100
	replyBytes = 64 << 10
)

var errReplyTooLong = errors.New("the relay's reply does not end")

// errNoReset: a transaction that was refused could not be cleared.
var errNoReset = errors.New("the relay did not take RSET")

// reply reads one reply of one or more lines (RFC 5321 section 4.2.1: "250-" goes on, "250 " ends).
func (c *Conn) reply(timeout time.Duration) (delivery.Reply, error) {
	c.replyBy = time.Now().Add(timeout)
	var text string
	size := 0
	for n := 1; ; n++ {
		line, err := c.readLine()
		if err != nil {
			return delivery.Reply{}, err
		}
		size += len(line)
		code, more, ok := splitReply(line)
		switch {
		case !ok:
			return delivery.Reply{}, fmt.Errorf("not an SMTP reply: %.80q", line)
		case n == 1:
			text = line
		case len(line) > 4:
			text += " " + line[4:]
		}
		if !more {
			c.last = time.Now()
			return newReply(code, text), nil
		}
		if n >= replyLines || size >= replyBytes {
			return delivery.Reply{}, errReplyTooLong
		}
	}
}

// readLine reads a line of at most replyBytes, without its end.
func (c *Conn) readLine() (string, error) {
	r := c.client.Text.R
	if there, _ := r.Peek(r.Buffered()); bytes.IndexByte(there, '\n') < 0 {
		c.raw.SetReadDeadline(c.replyBy) // only when something must come yet: setting it costs more than a reply that is there
	}
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		switch {
		case err == nil && line == nil:
			return string(bytes.TrimRight(part, "\r\n")), nil
		case err == nil:
			return string(bytes.TrimRight(append(line, part...), "\r\n")), nil
		}
		if line = append(line, part...); len(line) >= replyBytes {
			return "", errReplyTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}

// splitReply reads the code of "250-text". A bare "250" is a legal last line.
func splitReply(line string) (code int, more, ok bool) {
	if len(line) < 3 {
		return 0, false, false
	}
	for i := range 3 {
		if line[i] < '0' || line[i] > '9' {
			return 0, false, false
		}
		code = 10*code + int(line[i]-'0')
	}
	if code < 100 || code > 599 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, false, false
	}
	return code, len(line) > 3 && line[3] == '-', true
}

// newReply keeps the whole reply as it was said on one line ("250-" or "250 " before it), and the enhanced code where
// there is one.
func newReply(code int, text string) delivery.Reply {
	r := delivery.Reply{Code: code, Text: text}
	if len(text) > 3 && text[3] == '-' {
		r.Text = text[:3] + " " + text[4:]
	}
	if len(text) > 4 {
		r.Enhanced = enhancedCode(text[4:])
	}
	r.Text = strings.TrimSpace(r.Text)
	return r
}

// enhancedCode is the status code that RFC 2034 puts first in the text, as class.subject.detail.
func enhancedCode(text string) string {
	code, _, _ := strings.Cut(text, " ")
	code, _, _ = strings.Cut(code, "\t")
	class, rest, ok := strings.Cut(code, ".")
	subject, detail, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || class != "2" && class != "4" && class != "5" || !digits(subject) || !digits(detail) {
		return ""
	}
	return code
}

// digits reports whether s is one to three of them.
func digits(s string) bool {
	return len(s) >= 1 && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}

// ended reports whether the relay closed the connection.
func ended(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// lostText says in plain words how a connection ended.
func lostText(err error) string {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "the relay did not answer in time"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "the relay closed the connection"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the relay dropped the connection"
	case errors.Is(err, net.ErrClosed):
		return "the connection was closed on this side"
	}
	return err.Error()
}
