package relay

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
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

// reply reads one reply of one or more lines (RFC 5321 section 4.2.1: "250-" goes on, "250 " ends).
func (c *Conn) reply(timeout time.Duration) (delivery.Reply, error) {
	c.raw.SetDeadline(time.Now().Add(timeout))
	var lines []string
	size := 0
	for {
		line, err := c.readLine()
		if err != nil {
			return delivery.Reply{}, err
		}
		size += len(line)
		code, text, more, ok := splitReply(line)
		if !ok {
			return delivery.Reply{}, fmt.Errorf("not an SMTP reply: %.80q", line)
		}
		lines = append(lines, text)
		if !more {
			c.last = time.Now()
			return newReply(code, strings.Join(lines, "\n")), nil
		}
		if len(lines) >= replyLines || size >= replyBytes {
			return delivery.Reply{}, errReplyTooLong
		}
	}
}

// readLine reads a line of at most replyBytes.
func (c *Conn) readLine() (string, error) {
	r := c.client.Text.R
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return strings.TrimRight(string(line), "\r\n"), nil
		case len(line) >= replyBytes:
			return "", errReplyTooLong
		case !errors.Is(err, bufio.ErrBufferFull):
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}

// splitReply takes "250-text" apart. A bare "250" is a legal last line.
func splitReply(line string) (code int, text string, more, ok bool) {
	if len(line) < 3 {
		return 0, "", false, false
	}
	code, err := strconv.Atoi(line[:3])
	if err != nil || code < 100 || code > 599 {
		return 0, "", false, false
	}
	if len(line) == 3 {
		return code, "", false, true
	}
	switch line[3] {
	case ' ':
		return code, line[4:], false, true
	case '-':
		return code, line[4:], true, true
	}
	return 0, "", false, false
}

// enhanced is the status code that RFC 2034 puts first in the text; its class must be that of the basic code.
var enhanced = regexp.MustCompile(`^([245]\.\d{1,3}\.\d{1,3})(?:\s|$)`)

// newReply keeps the whole reply as it was said, and the enhanced code where there is one.
func newReply(code int, text string) delivery.Reply {
	r := delivery.Reply{Code: code, Text: strings.TrimSpace(fmt.Sprintf("%d %s", code, strings.ReplaceAll(text, "\n", " ")))}
	if m := enhanced.FindStringSubmatch(text); m != nil {
		r.Enhanced = m[1]
	}
	return r
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
