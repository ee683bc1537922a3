package relay

import (
	"bytes"
	"time"
)

// blockSize is how much of a message must leave within the block timeout: a large attachment on a slow line takes longer.
const blockSize = 256 << 10

// finalDot ends the mail data after its last CRLF.
const finalDot = ".\r\n"

// stuffer doubles a dot at the start of a line (RFC 5321 section 4.5.2), block by block. The zero stuffer is at the start
// of a message.
type stuffer struct {
	last [2]byte // of what went before
	some bool
}

// append appends a block of the message, stuffed.
func (s *stuffer) append(out, block []byte) []byte {
	if len(block) == 0 {
		return out
	}
	if block[0] == '.' && (!s.some || s.last[1] == '\n') {
		out = append(out, '.')
	}
	s.some = true
	if len(block) == 1 {
		s.last = [2]byte{s.last[1], block[0]}
	} else {
		s.last = [2]byte(block[len(block)-2:])
	}
	for {
		i := bytes.Index(block, []byte("\n."))
		if i < 0 {
			return append(out, block...)
		}
		out = append(append(out, block[:i+1]...), '.')
		block = block[i+1:]
	}
}

// end appends the final dot, after a CRLF where the message does not end in one.
func (s *stuffer) end(out []byte) []byte {
	if s.last != [2]byte{'\r', '\n'} {
		out = append(out, "\r\n"...)
	}
	return append(out, finalDot...)
}

// write writes to the relay and returns how many bytes are out of our hands: those that are not cannot have arrived.
func (c *Conn) write(timeout time.Duration, b []byte) (int, error) {
	c.raw.SetWriteDeadline(time.Now().Add(timeout))
	w := c.client.Text.W // one large write goes by its buffer
	if n, err := w.Write(b); err != nil {
		return n - w.Buffered(), err
	}
	err := w.Flush()
	return len(b) - w.Buffered(), err
}
