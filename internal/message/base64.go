package message

import "encoding/base64"

// constant64 is a constant of a base64 body. Three bytes are four characters, so that where it begins within the three is
// all that its encoding hangs on: there are three of them. Only the line ends move.
type constant64 struct {
	crlf   []byte // as it is encoded
	shifts [3][]byte
}

func newConstant64(text []byte) constant64 {
	c := constant64{crlf: appendCRLF(nil, text)}
	for skip := range min(3, len(c.crlf)) {
		rest := c.crlf[skip:]
		c.shifts[skip] = base64.StdEncoding.AppendEncode(nil, rest[:len(rest)/3*3])
	}
	return c
}

// encoder64 writes a base64 body from pieces, as appendBase64 does from all of it.
type encoder64 struct {
	b      []byte
	column int
	open   [3]byte // the bytes behind the last whole three
	n      int     // how many
	quads  []byte
}

func (e *encoder64) constant(c constant64) {
	skip := (3 - e.n) % 3
	if len(c.crlf) < skip {
		e.bytes(c.crlf)
		return
	}
	e.bytes(c.crlf[:skip])
	e.put(c.shifts[skip])
	rest := len(c.crlf) - skip
	e.n = copy(e.open[:], c.crlf[len(c.crlf)-rest%3:])
}

func (e *encoder64) bytes(data []byte) {
	if e.n > 0 {
		n := copy(e.open[e.n:], data)
		data, e.n = data[n:], e.n+n
		if e.n < len(e.open) {
			return
		}
		e.quads = base64.StdEncoding.AppendEncode(e.quads[:0], e.open[:])
		e.put(e.quads)
	}
	whole := len(data) / 3 * 3
	e.quads = base64.StdEncoding.AppendEncode(e.quads[:0], data[:whole])
	e.put(e.quads)
	e.n = copy(e.open[:], data[whole:])
}

// put writes characters into lines.
func (e *encoder64) put(s []byte) {
	for len(s) >= maxBodyLine-e.column {
		n := maxBodyLine - e.column
		e.b = append(append(e.b, s[:n]...), "\r\n"...)
		s, e.column = s[n:], 0
	}
	e.b = append(e.b, s...)
	e.column += len(s)
}

func (e *encoder64) close() []byte {
	if e.n > 0 {
		e.quads = base64.StdEncoding.AppendEncode(e.quads[:0], e.open[:e.n])
		e.put(e.quads)
		e.n = 0
	}
	if e.column > 0 {
		e.b = append(e.b, "\r\n"...)
	}
	return e.b
}
