// Package mailbox reads a mailbox over IMAP: which messages are there, their bytes in batches, and moving away those that
// are done with. It knows nothing of bounces.
//
// Every wait is bounded and ends with the context: closing the connection is the one way to interrupt a command.
package mailbox

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

// TLS modes.
const (
	TLSImplicit = "implicit"
	TLSStartTLS = "starttls" // required: a server that does not offer it is refused
	TLSNone     = "none"     // on the loopback interface only, or with Insecure
)

// Options say which mailbox, and how.
type Options struct {
	Host      string
	Port      int
	TLS       string
	Insecure  bool           // allows TLS none to another machine, and an unknown certificate
	RootCAs   *x509.CertPool // nil: the system's
	Username  string
	Password  string
	Folder    string        // INBOX when empty
	Processed string        // where Done moves to, created when missing; empty: Done leaves the messages
	Timeout   time.Duration // for connecting and for one answer; a minute when zero
}

// Message is one message of the folder.
type Message struct {
	UID      uint32
	Received time.Time // when it came into the mailbox
	Raw      []byte    // its first MaxMessage bytes
}

// MaxMessage bounds what is read of one message. What a report has to say stands before what it returns.
const MaxMessage = 16 << 20

// Error is a failure of the mailbox. Config says that trying again will not help: the configuration, the password or the
// certificate is wrong.
type Error struct {
	Server string
	Config bool
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("mailbox %s: %v", e.Server, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// IMAP is an open folder. It is for one goroutine.
type IMAP struct {
	o      Options
	addr   string
	conn   *line
	client *imapclient.Client
}

// Open connects, logs in and selects the folder. Close the IMAP.
func Open(ctx context.Context, o Options) (*IMAP, error) {
	if o.Folder == "" {
		o.Folder = "INBOX"
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	m := &IMAP{o: o, addr: net.JoinHostPort(o.Host, strconv.Itoa(o.Port))}
	if err := m.connect(ctx); err != nil {
		return nil, m.explain(ctx, err)
	}
	if err := m.enter(ctx); err != nil {
		m.client.Close()
		return nil, m.explain(ctx, err)
	}
	return m, nil
}

// Name says which folder of whom it is, without the password.
func (m *IMAP) Name() string {
	return fmt.Sprintf("imap://%s@%s/%s", m.o.Username, m.addr, m.o.Folder)
}

// Close says goodbye and closes the connection.
func (m *IMAP) Close() error {
	watch := m.watch(context.Background())
	defer watch.stop()
	m.client.Logout().Wait()
	m.client.Close() // the server closes first after LOGOUT; its error says nothing
	return nil
}

// connect dials and brings up TLS.
func (m *IMAP) connect(ctx context.Context) error {
	if m.o.TLS == TLSNone && !m.o.Insecure && !loopback(m.o.Host) {
		return &configError{"tls: none is allowed on this machine only (or with insecure: true): the password would go in clear"}
	}
	dialCtx, cancel := context.WithTimeout(ctx, m.o.Timeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(dialCtx, "tcp", m.addr)
	if err != nil {
		return err
	}
	m.conn = &line{Conn: raw}
	watch := m.watch(ctx)
	defer watch.stop()
	switch m.o.TLS {
	case TLSImplicit:
		secure := tls.Client(m.conn, m.tlsConfig())
		if err := secure.HandshakeContext(dialCtx); err != nil {
			m.conn.Close()
			return err
		}
		m.client = imapclient.New(secure, nil)
	case TLSStartTLS:
		client, err := imapclient.NewStartTLS(m.conn, &imapclient.Options{TLSConfig: m.tlsConfig()})
		if err != nil {
			m.conn.Close()
			return startTLSError(err)
		}
		m.client = client
	case TLSNone:
		m.client = imapclient.New(m.conn, nil)
	default:
		m.conn.Close()
		return &configError{fmt.Sprintf("tls: %q is none of implicit, starttls, none", m.o.TLS)}
	}
	if err := m.client.WaitGreeting(); err != nil {
		m.client.Close()
		return err
	}
	return nil
}

func (m *IMAP) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: m.o.Host, MinVersion: tls.VersionTLS12, RootCAs: m.o.RootCAs, InsecureSkipVerify: m.o.Insecure, NextProtos: []string{"imap"}}
}

// enter logs in and selects the folder.
func (m *IMAP) enter(ctx context.Context) error {
	watch := m.watch(ctx)
	defer watch.stop()
	if err := m.login(); err != nil {
		return err
	}
	if _, err := m.client.Select(m.o.Folder, nil).Wait(); err != nil {
		if said(err) {
			return &configError{fmt.Sprintf("open folder %q: %v", m.o.Folder, err)}
		}
		return err
	}
	return nil
}

// login uses SASL PLAIN where it is offered, which takes any password, else LOGIN.
func (m *IMAP) login() error {
	caps := m.client.Caps()
	var err error
	switch {
	case caps.Has(imap.AuthCap(sasl.Plain)):
		err = m.client.Authenticate(sasl.NewPlainClient("", m.o.Username, m.o.Password))
	case caps.Has(imap.CapLoginDisabled):
		return &configError{"the server refuses logins on this connection: set tls to implicit or starttls"}
	default:
		err = m.client.Login(m.o.Username, m.o.Password).Wait()
	}
	if said(err) {
		return &configError{fmt.Sprintf("the server refused the login of %q: %v (check username and password)", m.o.Username, err)}
	}
	return err
}

// List returns the UIDs of all messages that are not marked as deleted, oldest first.
func (m *IMAP) List(ctx context.Context) ([]uint32, error) {
	watch := m.watch(ctx)
	defer watch.stop()
	found, err := m.client.UIDSearch(&imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagDeleted}}, nil).Wait()
	if err != nil {
		return nil, m.explain(ctx, fmt.Errorf("list folder %q: %w", m.o.Folder, err))
	}
	uids := make([]uint32, 0, len(found.AllUIDs()))
	for _, uid := range found.AllUIDs() {
		uids = append(uids, uint32(uid))
	}
	return uids, nil
}

// Read fetches messages in one command and gives each to fn as it comes, without marking it: only one is in memory at a
// time. Messages that are gone by now are left out. An error of fn ends the reading.
func (m *IMAP) Read(ctx context.Context, uids []uint32, fn func(Message) error) error {
	if len(uids) == 0 {
		return nil
	}
	watch := m.watch(ctx)
	defer watch.stop()
	section := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: MaxMessage}}
	cmd := m.client.Fetch(uidSet(uids), &imap.FetchOptions{UID: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{section}})
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		got, err := msg.Collect()
		if err != nil {
			cmd.Close()
			return m.explain(ctx, fmt.Errorf("fetch messages: %w", err))
		}
		if len(got.BodySection) == 0 {
			continue // a server may tell flags of any message at any time
		}
		if err := fn(Message{UID: uint32(got.UID), Received: got.InternalDate, Raw: got.BodySection[0].Bytes}); err != nil {
			cmd.Close()
			return err
		}
		watch.again()
	}
	if err := cmd.Close(); err != nil {
		return m.explain(ctx, fmt.Errorf("fetch messages: %w", err))
	}
	return nil
}

func uidSet(uids []uint32) imap.UIDSet {
	var set imap.UIDSet
	for _, uid := range uids {
		set.AddNum(imap.UID(uid))
	}
	return set
}

// Done moves messages to the processed folder. Those that are gone by now are no error.
func (m *IMAP) Done(ctx context.Context, uids []uint32) error {
	if len(uids) == 0 || m.o.Processed == "" {
		return nil
	}
	watch := m.watch(ctx)
	defer watch.stop()
	set := uidSet(uids)
	err := m.move(set)
	if said(err) {
		// The folder may not be there yet. That it cannot be created may mean that another sync just did.
		if made := m.client.Create(m.o.Processed, nil).Wait(); made == nil || said(made) {
			err = m.move(set)
		}
	}
	if err != nil {
		return m.explain(ctx, fmt.Errorf("move messages to %q: %w", m.o.Processed, err))
	}
	return nil
}

// move uses MOVE (RFC 6851), else COPY, \Deleted and UID EXPUNGE (RFC 4315). Without that last one the messages stay
// marked as deleted: a plain EXPUNGE would take with it what others have marked.
func (m *IMAP) move(set imap.UIDSet) error {
	caps := m.client.Caps()
	if caps.Has(imap.CapMove) {
		_, err := m.client.Move(set, m.o.Processed).Wait()
		return err
	}
	if _, err := m.client.Copy(set, m.o.Processed).Wait(); err != nil {
		return err
	}
	gone := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := m.client.Store(set, gone, nil).Close(); err != nil {
		return err
	}
	if !caps.Has(imap.CapUIDPlus) {
		return nil
	}
	return m.client.UIDExpunge(set).Close()
}

// watch closes the connection when the context ends, or when nothing has come for the time of an answer. A large mail over
// a slow line may take longer than that, as long as it comes.
func (m *IMAP) watch(ctx context.Context) *watch {
	w := &watch{conn: m.conn, time: m.o.Timeout}
	w.unbind = context.AfterFunc(ctx, func() { w.conn.Close() })
	w.conn.heard()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.time, w.look)
	return w
}

type watch struct {
	conn   *line
	time   time.Duration
	unbind func() bool

	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// look hangs up when the line was silent for too long, else looks again when that could be.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	if silent := w.conn.silent(); silent < w.time {
		w.timer.Reset(w.time - silent)
		return
	}
	w.conn.Close()
}

// again gives the next answer its own time.
func (w *watch) again() { w.conn.heard() }

func (w *watch) stop() {
	w.unbind()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
}

// line is a connection that knows when something last came.
type line struct {
	net.Conn
	last atomic.Int64 // unix nanoseconds
}

func (l *line) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.heard()
	}
	return n, err
}

func (l *line) heard() { l.last.Store(time.Now().UnixNano()) }

func (l *line) silent() time.Duration { return time.Since(time.Unix(0, l.last.Load())) }

// configError is an error that only a person can mend.
type configError struct{ text string }

func (e *configError) Error() string { return e.text }

// said reports whether an error is the server's own NO or BAD.
func said(err error) bool {
	var e *imap.Error
	return errors.As(err, &e)
}

func startTLSError(err error) error {
	if said(err) {
		return &configError{"the server does not offer STARTTLS: set tls to implicit (port 993), or another port"}
	}
	return err
}

// explain says what an error means and what to do.
func (m *IMAP) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := &Error{Server: m.addr, Err: err}
	var conf *configError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &conf):
		e.Config = true
	case errors.As(err, &authority):
		e.Config, e.Err = true, fmt.Errorf("the certificate is from an authority that this machine does not know (put the authority's certificate into ca_file): %w", err)
	case errors.As(err, &host):
		e.Config, e.Err = true, fmt.Errorf("the certificate is for another name than %q (use the name that it is for): %w", m.o.Host, err)
	case errors.As(err, &invalid):
		e.Config, e.Err = true, fmt.Errorf("the certificate is not valid, is it expired or this machine's clock wrong? %w", err)
	case errors.Is(err, net.ErrClosed):
		e.Err = fmt.Errorf("no answer within %s: %w", m.o.Timeout, err)
	}
	return e
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
