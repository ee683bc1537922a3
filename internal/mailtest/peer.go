package mailtest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// errEnd ends a connection as the script wants it.
var errEnd = errors.New("end of the script")

// peer is one connection.
type peer struct {
	s    *SMTPServer
	n    int
	rec  *record
	raw  net.Conn // beneath TLS
	conn net.Conn // the cleartext side
	br   *bufio.Reader
	out  bytes.Buffer // replies not yet written
	left int          // bytes that may still be read; -1: no limit
	room int          // bytes that may still be written; -1: no limit

	helo, user string
	secure     bool
	tx         *Transaction
}

func (p *peer) serve() {
	p.left, p.room = bound(p.s.script.CutAfter, p.n), bound(p.s.script.CutReplies, p.n)
	p.use(p.raw)
	if p.s.script.Implicit && p.startTLS() != nil {
		return
	}
	name := p.s.script.Name
	if name == "" {
		name = "mailtest.example"
	}
	_, err := p.reply(Command{Verb: "CONNECT", Default: "220 " + name + " ESMTP"}, true)
	for err == nil {
		err = p.command()
	}
	p.flush()
}

// bound is what a map of the script says of connection n; -1: nothing.
func bound(script map[int]int, n int) int {
	if most, ok := script[n]; ok {
		return most
	}
	if most, ok := script[0]; ok {
		return most
	}
	return -1
}

// use reads from c from now on; what was buffered before is gone (RFC 3207 section 4.2).
func (p *peer) use(c net.Conn) {
	p.conn = c
	p.br = bufio.NewReaderSize(readerFunc(p.read), 64<<10)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// read takes bytes from the wire, records them and keeps to CutAfter. Replies wait until the server would have to wait
// for the client, as RFC 2920 section 3.2 recommends.
func (p *peer) read(b []byte) (int, error) {
	if err := p.flush(); err != nil {
		return 0, err
	}
	if p.left == 0 {
		return 0, errEnd
	}
	if p.left > 0 && len(b) > p.left {
		b = b[:p.left]
	}
	n, err := p.conn.Read(b)
	if p.left > 0 {
		p.left -= n
	}
	p.s.mu.Lock()
	p.rec.input = append(p.rec.input, b[:n]...)
	p.s.mu.Unlock()
	return n, err
}

func (p *peer) flush() error {
	if p.out.Len() == 0 {
		return nil
	}
	if err := p.pause(p.s.script.RTT, nil); err != nil {
		return err
	}
	b := p.out.Bytes()
	cut := p.room >= 0 && p.room <= len(b)
	if cut {
		b = b[:p.room]
	}
	_, err := p.conn.Write(b)
	p.out.Reset()
	if cut && err == nil {
		p.room, err = 0, errEnd
	} else if p.room > 0 {
		p.room -= len(b)
	}
	return err
}

// drip writes each byte by itself.
func (p *peer) drip(wire string) error {
	for i := range len(wire) {
		if err := p.flush(); err != nil {
			return err
		}
		p.out.WriteByte(wire[i])
	}
	return p.flush()
}

// pause waits for a delay, then for a channel, but no longer than the server runs.
func (p *peer) pause(d time.Duration, wait <-chan struct{}) error {
	if d > 0 {
		select {
		case <-time.After(d):
		case <-p.s.done:
			return errEnd
		}
	}
	if wait != nil {
		select {
		case <-wait:
		case <-p.s.done:
			return errEnd
		}
	}
	return nil
}

// reply answers a command and returns the text that was written. last says that the command must end its group.
func (p *peer) reply(c Command, last bool) (string, error) {
	p.watch(c.Verb, last)
	r := p.choose(&c)
	if r.Delay > 0 || r.Wait != nil {
		if err := p.flush(); err != nil {
			return "", err
		}
		if err := p.pause(r.Delay, r.Wait); err != nil {
			return "", err
		}
	}
	written := ""
	if !r.Silent {
		wire := format(r.Text)
		if r.Part > 0 && r.Part < len(wire) {
			wire = wire[:r.Part]
		} else {
			written = r.Text
		}
		if r.Extra != "" {
			wire += format(r.Extra)
		}
		p.note("S%d< %s", wire)
		if r.Drip {
			if err := p.drip(wire); err != nil {
				return written, err
			}
		} else {
			p.out.WriteString(wire)
		}
	}
	if p.s.script.Deaf {
		p.br.Discard(p.br.Buffered())
	}
	if r.Close || strings.HasPrefix(written, "421") {
		p.flush()
		io.CopyN(io.Discard, p.br, int64(r.After))
		return written, errEnd
	}
	return written, nil
}

// choose asks the script: Reply, then Replies, then what is correct.
func (p *peer) choose(c *Command) Reply {
	c.Conn = p.n
	if p.tx != nil {
		c.Message = p.tx.Number
	}
	var r Reply
	if p.s.script.Reply != nil {
		if chosen := p.s.script.Reply(*c); chosen != nil {
			r = *chosen
		}
	}
	for _, key := range []string{c.Verb + " " + c.Address, c.Verb} {
		if r.Text == "" {
			r.Text = p.s.script.Replies[key]
		}
	}
	if r.Text == "" {
		r.Text = c.Default
	}
	return r
}

// format makes the lines of a reply. What does not begin with a code goes out as it is.
func format(text string) string {
	lines := strings.Split(text, "\n")
	if !hasCode(lines[0]) {
		return strings.Join(lines, "\r\n") + "\r\n"
	}
	code := lines[0][:3]
	var b strings.Builder
	for i, line := range lines {
		if hasCode(line) {
			line = line[min(4, len(line)):]
		}
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		b.WriteString(code + sep + line + "\r\n")
	}
	return b.String()
}

func hasCode(line string) bool {
	return len(line) >= 3 && strings.Trim(line[:3], "0123456789") == "" && (len(line) == 3 || line[3] == ' ' || line[3] == '-')
}

// watch notes commands that came before they were allowed to.
func (p *peer) watch(verb string, last bool) {
	if p.br.Buffered() == 0 || !last && !p.s.script.NoPipelining {
		return
	}
	why := "must end its group"
	if !last {
		why = "was not answered yet, and PIPELINING is not offered"
	}
	p.violation("input after %s, which %s", verb, why)
}

func (p *peer) violation(format string, args ...any) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.violations = append(p.s.violations, fmt.Sprintf("connection %d: ", p.n)+fmt.Sprintf(format, args...))
}

// note adds lines to the transcript.
func (p *peer) note(format, lines string) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	for line := range strings.SplitSeq(strings.TrimRight(lines, "\r\n"), "\r\n") {
		p.rec.transcript = append(p.rec.transcript, fmt.Sprintf(format, p.n, line))
	}
}

// line reads one line, without its end.
func (p *peer) line() (string, error) {
	line, err := p.br.ReadString('\n')
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(line, "\r\n") {
		p.violation("bare line feed in %q", line)
	}
	line = strings.TrimRight(line, "\r\n")
	p.note("C%d> %s", line)
	return line, nil
}

// command reads and answers one command.
func (p *peer) command() error {
	line, err := p.line()
	if err != nil {
		return err
	}
	verb, arg, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	c := Command{Verb: verb, Line: line}
	switch verb {
	case "EHLO", "HELO":
		return p.hello(c, arg)
	case "STARTTLS":
		return p.upgrade(c)
	case "AUTH":
		return p.auth(c, arg)
	case "MAIL":
		return p.mail(c, arg)
	case "RCPT":
		return p.rcpt(c, arg)
	case "DATA":
		return p.data(c)
	case "RSET":
		p.tx = nil
		return p.answer(c, false, "250 2.0.0 reset")
	case "NOOP":
		return p.answer(c, true, "250 2.0.0 ok")
	case "VRFY":
		return p.answer(c, true, "252 2.5.0 try it")
	case "QUIT":
		p.answer(c, true, "221 2.0.0 bye")
		return errEnd
	}
	return p.answer(c, false, "500 5.5.2 command not known")
}

func (p *peer) answer(c Command, last bool, text string) error {
	c.Default = text
	_, err := p.reply(c, last)
	return err
}

func (p *peer) hello(c Command, name string) error {
	c.Default = "250 " + name
	if c.Verb == "EHLO" {
		c.Default = strings.Join(append([]string{c.Default}, p.offers()...), "\n")
	}
	text, err := p.reply(c, true)
	if strings.HasPrefix(text, "2") {
		p.helo, p.tx = name, nil
	}
	return err
}

// offers are the keywords of the EHLO reply.
func (p *peer) offers() []string {
	words := p.s.script.Keywords
	if words == nil {
		words = []string{"PIPELINING", "8BITMIME", "SIZE 10485760", "ENHANCEDSTATUSCODES", "DSN"}
	}
	words = slices.Clone(words)
	if p.s.script.NoPipelining {
		words = slices.DeleteFunc(words, func(w string) bool { return w == "PIPELINING" })
	}
	if p.s.script.TLS != nil && !p.secure {
		words = append(words, "STARTTLS")
	}
	if p.s.script.Users != nil {
		words = append(words, "AUTH "+strings.Join(p.mechs(), " "))
	}
	return words
}

func (p *peer) upgrade(c Command) error {
	if p.s.script.TLS == nil || p.secure {
		return p.answer(c, true, "502 5.5.1 not offered")
	}
	c.Default = "220 2.0.0 go ahead"
	text, err := p.reply(c, true)
	if err != nil || !strings.HasPrefix(text, "220") {
		return err
	}
	if err := p.flush(); err != nil {
		return err
	}
	return p.startTLS()
}

// startTLS forgets what was said in clear (RFC 3207 section 4.2).
func (p *peer) startTLS() error {
	conn := tls.Server(p.raw, p.s.script.TLS)
	if err := conn.Handshake(); err != nil {
		p.note("S%d! %s", "TLS: "+err.Error())
		return err
	}
	p.secure, p.helo, p.user, p.tx = true, "", "", nil
	p.use(conn)
	return nil
}

func (p *peer) mail(c Command, arg string) error {
	address, params, ok := path(arg, "FROM:")
	c.Address = address
	switch {
	case p.helo == "":
		return p.answer(c, false, "503 5.5.1 say EHLO first")
	case !ok:
		return p.answer(c, false, "501 5.5.4 MAIL FROM:<address> is expected")
	case p.tx != nil:
		return p.answer(c, false, "503 5.5.1 a transaction is open")
	}
	p.s.mu.Lock()
	tx := &Transaction{Conn: p.n, Number: len(p.s.txs) + 1, TLS: p.secure, User: p.user, From: address, FromParams: params}
	p.s.txs = append(p.s.txs, tx)
	p.s.mu.Unlock()
	p.tx = tx
	c.Default = "250 2.1.0 sender ok"
	if p.s.script.NeedAuth && p.user == "" {
		c.Default = "530 5.7.0 authentication required"
	}
	text, err := p.reply(c, false)
	p.record(func() { tx.MailReply = text })
	if !strings.HasPrefix(text, "2") {
		p.tx = nil
	}
	return err
}

func (p *peer) rcpt(c Command, arg string) error {
	address, params, ok := path(arg, "TO:")
	c.Address = address
	switch {
	case p.tx == nil:
		return p.answer(c, false, "503 5.5.1 say MAIL first")
	case !ok:
		return p.answer(c, false, "501 5.5.4 RCPT TO:<address> is expected")
	}
	tx := p.tx
	c.Default = "250 2.1.5 recipient ok"
	text, err := p.reply(c, false)
	p.record(func() { tx.Rcpts = append(tx.Rcpts, Rcpt{address, params, text}) })
	return err
}

func (p *peer) data(c Command) error {
	tx := p.tx
	switch {
	case tx == nil:
		return p.answer(c, true, "503 5.5.1 say MAIL first")
	case firstAccepted(tx) == "":
		c.Default = "554 5.5.1 no valid recipients"
	default:
		c.Default = "354 go ahead"
	}
	c.Address = firstAccepted(tx)
	text, err := p.reply(c, true)
	p.record(func() { tx.DataReply = text })
	if err != nil || !strings.HasPrefix(text, "354") {
		return err
	}
	if err := p.body(tx); err != nil {
		return err
	}
	dot := Command{Verb: ".", Line: ".", Address: c.Address, Default: fmt.Sprintf("250 2.0.0 message %d taken", tx.Number)}
	if dot.Address == "" {
		dot.Default = "554 5.5.1 no valid recipients"
	}
	text, err = p.reply(dot, false)
	p.record(func() { tx.Reply = text })
	p.tx = nil
	return err
}

// body reads a message up to its final dot. Only CRLF.CRLF ends it (RFC 5321 section 4.1.1.4).
func (p *peer) body(tx *Transaction) error {
	for fresh := true; ; {
		line, err := p.br.ReadBytes('\n')
		end := err == nil && fresh && string(line) == ".\r\n"
		if fresh && !end && len(line) > 0 && line[0] == '.' {
			line = line[1:]
		}
		p.record(func() {
			if tx.Complete = end; !end {
				tx.Data = append(tx.Data, line...)
			}
		})
		if err != nil {
			p.note("C%d> %s", fmt.Sprintf("[%d bytes of a message, and then: %v]", len(tx.Data), err))
			return err
		}
		if end {
			p.note("C%d> %s", fmt.Sprintf("[message of %d bytes]\r\n.", len(tx.Data)))
			return nil
		}
		if fresh = bytes.HasSuffix(line, []byte("\r\n")); !fresh {
			p.violation("bare line feed in message %d", tx.Number)
		}
	}
}

func (p *peer) record(change func()) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	change()
}

func firstAccepted(tx *Transaction) string {
	for _, r := range tx.Rcpts {
		if strings.HasPrefix(r.Reply, "2") {
			return r.Address
		}
	}
	return ""
}

// path takes "FROM:<a@b> SIZE=1" apart. A quoted local part may hold anything.
func path(arg, prefix string) (address, params string, ok bool) {
	if len(arg) < len(prefix) || !strings.EqualFold(arg[:len(prefix)], prefix) {
		return "", "", false
	}
	rest := strings.TrimLeft(arg[len(prefix):], " ")
	if !strings.HasPrefix(rest, "<") {
		return "", "", false
	}
	quoted := false
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == '\\' && quoted:
			i++
		case rest[i] == '"':
			quoted = !quoted
		case rest[i] == '>' && !quoted:
			return rest[1:i], strings.TrimSpace(rest[i+1:]), true
		}
	}
	return "", "", false
}
