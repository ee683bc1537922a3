package mailbox

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"
)

// pop3Box is a POP3 account (RFC 1939) with STLS and SASL (RFC 2449, 2595, 5034). It has one folder, and what is deleted goes when the
// session ends with QUIT: a message of a session that was lost is there again, and then known by its UIDL.
type pop3Box struct {
	o     Options
	conn  *line
	text  *textproto.Conn
	caps  map[string]string // upper case, with their arguments
	sizes map[uint32]int64  // of those that are larger than is read
	tally
}

func openPOP3(ctx context.Context, o Options) (*pop3Box, error) {
	if o.After != AfterDelete && o.After != AfterLeave {
		return nil, &Error{o.addr(), true, fmt.Errorf("after: %s cannot be done by POP3, which knows delete and leave", o.After)}
	}
	p := &pop3Box{o: o}
	if err := p.open(ctx); err != nil {
		if p.conn != nil {
			p.conn.Close()
		}
		return nil, o.explain(ctx, err)
	}
	return p, nil
}

func (p *pop3Box) Name() string { return fmt.Sprintf("pop3://%s@%s", p.o.Username, p.o.addr()) }

// open connects, brings up TLS and logs in.
func (p *pop3Box) open(ctx context.Context) error {
	var err error
	if p.conn, err = p.o.dial(ctx); err != nil {
		return err
	}
	watch := p.watch(ctx)
	defer watch.stop()
	if p.o.TLS == TLSImplicit {
		secure, err := p.o.secure(ctx, p.conn, "pop3")
		if err != nil {
			return err
		}
		p.text = textproto.NewConn(secure)
	} else {
		p.text = textproto.NewConn(p.conn)
	}
	if reply, err := p.answer(); refusal(err) && !strings.HasPrefix(reply, "-ERR") {
		return &configError{fmt.Sprintf("no POP3 server answers on this port, it says %q", reply)}
	} else if err != nil {
		return err
	}
	if p.o.TLS == TLSStartTLS {
		if _, err := p.ask("STLS"); refusal(err) {
			return &configError{"the server does not offer STLS: set tls to implicit (port 995), or another port"}
		} else if err != nil {
			return err
		}
		if p.text.R.Buffered() > 0 {
			return errors.New("the server said more than TLS could have protected") // RFC 2595: an attacker's words in clear
		}
		secure, err := p.o.secure(ctx, p.conn, "pop3")
		if err != nil {
			return err
		}
		p.text = textproto.NewConn(secure)
	}
	if err := p.capabilities(); err != nil {
		return err
	}
	return p.login()
}

// capabilities asks what the server can do; one that does not know the question can do nothing beyond RFC 1939.
func (p *pop3Box) capabilities() error {
	p.caps = map[string]string{}
	if _, err := p.ask("CAPA"); refusal(err) {
		return nil
	} else if err != nil {
		return err
	}
	return p.lines(func(text string) {
		name, args, _ := strings.Cut(text, " ")
		p.caps[strings.ToUpper(name)] = strings.ToUpper(args)
	})
}

func (p *pop3Box) login() error {
	sasl := strings.Fields(p.caps["SASL"])
	plain := has(sasl, "PLAIN")
	var err error
	switch {
	case p.o.Auth == AuthXOAUTH2 && !has(sasl, "XOAUTH2"):
		return &configError{"the server does not take access tokens (XOAUTH2) on this connection"}
	case p.o.Auth == AuthXOAUTH2:
		_, token, _ := xoauth2{p.o.Username, p.o.Password}.Start()
		err = p.auth("XOAUTH2", token)
	case p.o.Auth == AuthPlain && !plain:
		return &configError{"the server does not offer PLAIN on this connection"}
	case plain && p.o.Auth != AuthLogin:
		err = p.auth("PLAIN", []byte("\x00"+p.o.Username+"\x00"+p.o.Password))
	default:
		if strings.ContainsAny(p.o.Username+p.o.Password, "\r\n") {
			return &configError{"a username or password with a line break cannot be said in POP3"}
		}
		if _, err = p.ask("USER %s", p.o.Username); err == nil {
			_, err = p.ask("PASS %s", p.o.Password)
		}
	}
	var no *refusedError
	if errors.As(err, &no) && !no.passing() {
		return refused(p.o, err)
	}
	return err
}

func has(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

// auth says the secret after the server's prompt, so that the line never gets too long for a token (RFC 5034 section 4).
func (p *pop3Box) auth(mechanism string, secret []byte) error {
	if err := p.text.PrintfLine("AUTH %s", mechanism); err != nil {
		return err
	}
	reply, err := p.text.ReadLine()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(reply, "+ ") && reply != "+" {
		return refusedBy(reply)
	}
	if err := p.text.PrintfLine("%s", base64.StdEncoding.EncodeToString(secret)); err != nil {
		return err
	}
	reply, err = p.text.ReadLine()
	if err == nil && strings.HasPrefix(reply, "+ ") { // the error as a challenge: nothing makes the server say it as a refusal
		if err := p.text.PrintfLine(""); err != nil {
			return err
		}
		reply, err = p.text.ReadLine()
	}
	if err != nil {
		return err
	}
	return refusedBy(reply)
}

// Close ends the session, and with it messages that were deleted go.
func (p *pop3Box) Close() error {
	watch := p.watch(context.Background())
	defer watch.stop()
	_, err := p.ask("QUIT")
	p.conn.Close()
	if refusal(err) { // RFC 1939 section 6: some of them are still there, and known the next time
		return p.o.explain(context.Background(), fmt.Errorf("delete messages: %w", err))
	}
	return nil
}

// List asks for the UIDLs. Those that were done with before are deleted, if that is wanted; others are passed over.
func (p *pop3Box) List(ctx context.Context) ([]uint32, error) {
	watch := p.watch(ctx)
	defer watch.stop()
	numbers, err := p.list()
	if err != nil {
		return nil, p.o.explain(ctx, fmt.Errorf("list messages: %w", err))
	}
	return numbers, nil
}

func (p *pop3Box) list() ([]uint32, error) {
	p.begin()
	p.sizes = map[uint32]int64{}
	highest := uint32(0)
	err := p.table("LIST", func(n uint32, size string) {
		highest = max(highest, n)
		if b, err := strconv.ParseInt(size, 10, 64); err == nil && b > MaxMessage {
			p.sizes[n] = b
		}
	})
	if err != nil {
		return nil, err
	}
	names := false
	err = p.table("UIDL", func(n uint32, name string) {
		names = true
		p.add(n, name)
	})
	if err != nil && !refusal(err) { // without UIDL every message is read, and one that was recorded before is known by its bytes
		return nil, err
	}
	if !names {
		for n := uint32(1); n <= highest; n++ {
			p.add(n, "")
		}
	}
	if p.o.After == AfterDelete {
		for _, n := range p.in(tallyFiled) {
			if err := p.delete(n); err != nil {
				return nil, err
			}
		}
	}
	return p.in(tallyNew), nil
}

// table runs a command whose answer has a message number and a word in each line.
func (p *pop3Box) table(command string, fn func(n uint32, word string)) error {
	if _, err := p.ask("%s", command); err != nil {
		return err
	}
	return p.lines(func(text string) {
		number, word, _ := strings.Cut(text, " ")
		if n, err := strconv.ParseUint(number, 10, 32); err == nil && n > 0 {
			fn(uint32(n), strings.TrimSpace(word))
		}
	})
}

// lines reads an answer of many lines.
func (p *pop3Box) lines(fn func(text string)) error {
	in := bufio.NewScanner(p.text.DotReader())
	for in.Scan() {
		fn(in.Text())
	}
	return in.Err()
}

// bodyLines of 76 characters are more than MaxMessage.
const bodyLines = MaxMessage / 64

func (p *pop3Box) Read(ctx context.Context, numbers []uint32, fn func(Message) error) error {
	watch := p.watch(ctx)
	defer watch.stop()
	for _, n := range numbers {
		raw, err := p.message(n)
		if refusal(err) {
			continue // deleted meanwhile, by who can
		}
		if err != nil {
			return p.o.explain(ctx, fmt.Errorf("read message %d: %w", n, err))
		}
		if err := fn(Message{Number: n, Raw: raw}); err != nil {
			return err
		}
		watch.again()
	}
	return ctx.Err()
}

// message reads one; of a huge one its beginning, by TOP where the server can.
func (p *pop3Box) message(n uint32) ([]byte, error) {
	command := fmt.Sprintf("RETR %d", n)
	if _, top := p.caps["TOP"]; top && p.sizes[n] > 0 {
		command = fmt.Sprintf("TOP %d %d", n, bodyLines)
	}
	if _, err := p.ask("%s", command); err != nil {
		return nil, err
	}
	body := p.text.DotReader()
	raw, err := readMessage(body, -1)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, body)
	return raw, err
}

func (p *pop3Box) Done(ctx context.Context, filed, review []uint32) error {
	watch := p.watch(ctx)
	defer watch.stop()
	for _, n := range filed {
		if p.o.After == AfterDelete {
			if err := p.delete(n); err != nil {
				return p.o.explain(ctx, err)
			}
		}
		p.set(n, tallyFiled)
	}
	for _, n := range review { // there is no folder to put them into
		p.set(n, tallyReview)
	}
	return nil
}

func (p *pop3Box) delete(n uint32) error {
	if _, err := p.ask("DELE %d", n); err != nil && !refusal(err) {
		return fmt.Errorf("delete message %d: %w", n, err)
	}
	return nil
}

// ask says a command and reads the first line of its answer.
func (p *pop3Box) ask(format string, args ...any) (string, error) {
	if err := p.text.PrintfLine(format, args...); err != nil {
		return "", err
	}
	return p.answer()
}

func (p *pop3Box) answer() (string, error) {
	reply, err := p.text.ReadLine()
	if err != nil {
		return "", err
	}
	return reply, refusedBy(reply)
}

func (p *pop3Box) watch(ctx context.Context) *watch { return watchOver(ctx, p.conn, p.o.Timeout) }

// refusedError is a server's -ERR.
type refusedError struct{ reply string }

func (e *refusedError) Error() string { return e.reply }

func refusedBy(reply string) error {
	if strings.HasPrefix(reply, "+OK") {
		return nil
	}
	return &refusedError{reply}
}

func refusal(err error) bool {
	var e *refusedError
	return errors.As(err, &e)
}

// passing reports whether the refusal is of today only (RFC 2449 section 8, RFC 3206).
func (e *refusedError) passing() bool {
	for _, code := range []string{"[IN-USE]", "[LOGIN-DELAY]", "[SYS/TEMP]"} {
		if strings.Contains(strings.ToUpper(e.reply), code) {
			return true
		}
	}
	return false
}
