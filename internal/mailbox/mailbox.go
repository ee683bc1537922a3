// Package mailbox reads mail from where it lies: a folder of an IMAP server, a POP3 account, a Maildir, an mbox, single files,
// standard input. It tells which messages are new, gives their bytes one after the other, and afterwards moves, marks or deletes
// those that are done with. It knows nothing of bounces.
//
// Every wait is bounded and ends with the context: closing the connection is the one way to interrupt a command.
package mailbox

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Protocols: how a mailbox is read.
const (
	IMAP    = "imap"
	POP3    = "pop3"
	Maildir = "maildir"
	Mbox    = "mbox"
	File    = "file" // a mail, or a folder of such files
	Stdin   = "stdin"
	Path    = "path" // what lies there tells which of maildir, mbox and file it is
)

// TLS modes.
const (
	TLSImplicit = "implicit"
	TLSStartTLS = "starttls" // required: a server that does not offer it is refused
	TLSNone     = "none"     // on the loopback interface only, or with Insecure
)

// How to log in.
const (
	AuthAuto    = "auto"    // SASL PLAIN where it is offered, which takes any password, else LOGIN
	AuthPlain   = "plain"   //
	AuthLogin   = "login"   // LOGIN of IMAP, USER and PASS of POP3
	AuthXOAUTH2 = "xoauth2" // the password is an access token
)

// What is done with a message that was read. Messages for a person go to Options.Review, if that is set.
const (
	AfterMove   = "move"   // to Options.Processed
	AfterFlag   = "flag"   // marked as seen; one for a person without a folder of its own as important
	AfterDelete = "delete" //
	AfterLeave  = "leave"  // nothing
)

// Options say which mailbox, and how.
type Options struct {
	Protocol  string // IMAP when empty
	Host      string
	Port      int
	TLS       string
	Insecure  bool           // allows TLS none to another machine, and an unknown certificate
	RootCAs   *x509.CertPool // nil: the system's
	Auth      string         // AuthAuto when empty
	Username  string
	Password  string
	Folder    string // INBOX when empty
	Path      string // of a Maildir, an mbox or files
	Stdin     io.Reader
	After     string        // empty: AfterMove with Processed, else AfterLeave
	Processed string        // where AfterMove moves to, created when missing
	Review    string        // where messages for a person are moved to, created when missing; empty: they have no folder of their own
	Timeout   time.Duration // for connecting and for one answer; a minute when zero
}

// Message is one message of the folder.
type Message struct {
	Number   uint32    // in the last List
	Received time.Time // when it came into the mailbox; zero: not known
	Raw      []byte    // its first MaxMessage bytes, with CRLF line ends as on the wire: the same message by another way is the same bytes
}

// MaxMessage bounds what is read of one message. What a report has to say stands before what it returns.
const MaxMessage = 16 << 20

// Box is an open mailbox, or one folder of it. It is for one goroutine.
type Box interface {
	// Name says which mailbox it is, without the password.
	Name() string
	// Resume gives back what Mark said after an earlier reading. Without it, or with what another kind of mailbox said, List lists all.
	Resume(mark string)
	// List returns the numbers of the messages that are not done with, oldest first.
	List(ctx context.Context) ([]uint32, error)
	// Read gives messages to fn as they come, without marking them: only one is in memory at a time. Messages that are gone by now are
	// left out. An error of fn ends the reading.
	Read(ctx context.Context, numbers []uint32, fn func(Message) error) error
	// Done does with messages what Options.After says. Those that are gone by now are no error. Call it in the order in which Read gave them.
	Done(ctx context.Context, filed, review []uint32) error
	// Mark is where a later reading goes on. Empty: nothing is to be remembered, because what is done with has left the folder.
	Mark() string
	Close() error
}

// Waiter is a Box that is told when something new has come.
type Waiter interface {
	// Wait returns when something may have come, when stop is closed, or after some minutes. ErrNoWait: look again from time to time.
	Wait(ctx context.Context, stop <-chan struct{}) error
}

// ErrNoWait says that a mailbox does not tell when something new has come.
var ErrNoWait = errors.New("the mailbox does not tell when mail comes")

// Open opens a mailbox. Close the Box.
func Open(ctx context.Context, o Options) (Box, error) {
	if o.Folder == "" {
		o.Folder = "INBOX"
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.After == "" {
		o.After = AfterLeave
		if o.Processed != "" {
			o.After = AfterMove
		}
	}
	if o.After == AfterMove && o.Processed == "" {
		return nil, &Error{o.place(), true, errors.New("after: move needs a folder to move to (processed)")}
	}
	switch o.Protocol {
	case "", IMAP:
		return openIMAP(ctx, o)
	case POP3:
		return openPOP3(ctx, o)
	case Maildir:
		return openMaildir(o)
	case Mbox:
		return openMbox(o)
	case File:
		return openFiles(o)
	case Stdin:
		return &stream{in: o.Stdin}, nil
	case Path:
		return openPath(o)
	}
	return nil, &Error{o.place(), true, fmt.Errorf("protocol %q is none of imap, pop3, maildir, mbox, file", o.Protocol)}
}

// place is the server or the path.
func (o Options) place() string {
	if o.Host != "" {
		return o.addr()
	}
	return o.Path
}

// Error is a failure of the mailbox. Config says that trying again will not help: the configuration, the password or the
// certificate is wrong.
type Error struct {
	Server string // or path
	Config bool
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("mailbox %s: %v", e.Server, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// configError is an error that only a person can mend.
type configError struct{ text string }

func (e *configError) Error() string { return e.text }

// explain says what an error of a server means and what to do.
func (o Options) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := &Error{Server: o.addr(), Err: err}
	var conf *configError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var clear tls.RecordHeaderError
	switch {
	case errors.As(err, &conf):
		e.Config = true
	case errors.As(err, &authority):
		e.Config, e.Err = true, fmt.Errorf("the certificate is from an authority that this machine does not know (put the authority's certificate into ca_file): %w", err)
	case errors.As(err, &host):
		e.Config, e.Err = true, fmt.Errorf("the certificate is for another name than %q (use the name that it is for): %w", o.Host, err)
	case errors.As(err, &invalid):
		e.Config, e.Err = true, fmt.Errorf("the certificate is not valid, is it expired or this machine's clock wrong? %w", err)
	case errors.As(err, &clear):
		e.Config, e.Err = true, fmt.Errorf("no TLS answers on this port (tls: implicit goes to port 993 or 995, tls: starttls to 143 or 110): %w", err)
	case errors.Is(err, net.ErrClosed):
		e.Err = fmt.Errorf("no answer within %s: %w", o.Timeout, err)
	}
	return e
}

// readMessage reads a message as far as MaxMessage. size is how long it is, or -1: with it, a large one needs no room to grow.
func readMessage(r io.Reader, size int64) ([]byte, error) {
	r = io.LimitReader(r, MaxMessage)
	if size < 0 {
		raw, err := io.ReadAll(r)
		return wireLines(raw), err
	}
	raw := make([]byte, min(size, MaxMessage))
	n, err := io.ReadFull(r, raw)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // it became shorter; who sends less than announced is noticed elsewhere
	}
	return wireLines(raw[:n]), err
}

// wireLines makes LF that stands alone CRLF, as a server does before it sends a stored mail. A lone CR is left as it is.
func wireLines(raw []byte) []byte {
	bare := 0
	for i, b := range raw {
		if b == '\n' && (i == 0 || raw[i-1] != '\r') {
			bare++
		}
	}
	if bare == 0 {
		return raw
	}
	out := make([]byte, 0, len(raw)+bare)
	for len(raw) > 0 {
		at := bytes.IndexByte(raw, '\n')
		if at < 0 {
			out = append(out, raw...)
			break
		}
		out = append(out, raw[:at]...)
		if at == 0 || raw[at-1] != '\r' {
			out = append(out, '\r')
		}
		out = append(out, '\n')
		raw = raw[at+1:]
	}
	return out[:min(len(out), MaxMessage)]
}
