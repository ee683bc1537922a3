package sandbox

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// Mailbox is an IMAP account held in memory, with an INBOX.
type Mailbox struct {
	user   *imapmemserver.User
	memory *imapmemserver.Server
	server *imapserver.Server
	hook   func(command string) error
	moving sync.Mutex
	lns    []*listener
	wg     sync.WaitGroup
}

// MailboxOptions describe a Mailbox.
type MailboxOptions struct {
	Username, Password string
	TLS                *tls.Config // STARTTLS is offered, and a login in clear refused
	Caps               imap.CapSet // default: IMAP4rev1 with MOVE, UIDPLUS and what else the server can do
	// Hook is asked before LOGIN, SELECT, SEARCH, FETCH, STORE, COPY, MOVE and EXPUNGE; its error becomes the reply, and
	// ErrHangUp ends the connection.
	Hook func(command string) error
}

// ErrHangUp, returned by a Hook, loses the connection at that place.
var ErrHangUp = errors.New("hang up")

// NewMailbox makes an account. Serve lets clients in.
func NewMailbox(o MailboxOptions) (*Mailbox, error) {
	m := &Mailbox{user: imapmemserver.NewUser(o.Username, o.Password), memory: imapmemserver.New(), hook: o.Hook}
	if err := m.user.Create("INBOX", nil); err != nil {
		return nil, fmt.Errorf("make the INBOX: %w", err)
	}
	m.memory.AddUser(m.user)
	if o.Caps == nil {
		o.Caps = imap.CapSet{}
		for _, c := range []imap.Cap{imap.CapIMAP4rev1, imap.CapIMAP4rev2, imap.CapUIDPlus, imap.CapMove, imap.CapIdle} {
			o.Caps[c] = struct{}{}
		}
	}
	m.server = imapserver.New(&imapserver.Options{
		NewSession:   m.newSession,
		Caps:         o.Caps,
		TLSConfig:    o.TLS,
		InsecureAuth: o.TLS == nil,
		Logger:       log.New(io.Discard, "", 0), // clients that hang up are no news here
	})
	return m, nil
}

// Serve answers the clients of ln until Close; it does not wait. Call it before the mailbox is shared.
func (m *Mailbox) Serve(ln net.Listener) {
	l := watch(ln)
	m.lns = append(m.lns, l)
	m.wg.Go(func() { m.server.Serve(l) })
}

// Deliver puts a message into the INBOX.
func (m *Mailbox) Deliver(raw []byte) error {
	_, err := m.user.Append("INBOX", literal{bytes.NewReader(raw)}, &imap.AppendOptions{})
	if err != nil {
		return fmt.Errorf("deliver to the INBOX: %w", err)
	}
	return nil
}

// Count returns the number of messages in a folder; one that is not there has none.
func (m *Mailbox) Count(folder string) int {
	data, err := m.user.Status(folder, &imap.StatusOptions{NumMessages: true})
	if err != nil {
		return 0
	}
	return int(*data.NumMessages)
}

// Close ends every connection and waits for their goroutines. A second call does nothing.
func (m *Mailbox) Close() {
	for _, l := range m.lns {
		l.shut()
	}
	m.wg.Wait()
	m.server.Close() // nothing is open any more
}

type literal struct{ *bytes.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

func (m *Mailbox) newSession(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
	memory, ok := m.memory.NewSession().(imapserver.SessionIMAP4rev2)
	if !ok {
		return nil, nil, fmt.Errorf("the memory server cannot speak IMAP4rev2")
	}
	return &imapSession{memory, m, c}, nil, nil
}

// imapSession is a session of the memory server with faults to order, and a MOVE that keeps the client's count right.
type imapSession struct {
	imapserver.SessionIMAP4rev2
	m    *Mailbox
	conn *imapserver.Conn
}

func (s *imapSession) ask(command string) error {
	if s.m.hook == nil {
		return nil
	}
	err := s.m.hook(command)
	if errors.Is(err, ErrHangUp) {
		s.conn.NetConn().Close()
	}
	return err
}

func (s *imapSession) Login(username, password string) error {
	if err := s.ask("LOGIN"); err != nil {
		return err
	}
	return s.SessionIMAP4rev2.Login(username, password)
}

func (s *imapSession) Select(mailbox string, o *imap.SelectOptions) (*imap.SelectData, error) {
	if err := s.ask("SELECT"); err != nil {
		return nil, err
	}
	return s.SessionIMAP4rev2.Select(mailbox, o)
}

func (s *imapSession) Search(kind imapserver.NumKind, c *imap.SearchCriteria, o *imap.SearchOptions) (*imap.SearchData, error) {
	if err := s.ask("SEARCH"); err != nil {
		return nil, err
	}
	return s.SessionIMAP4rev2.Search(kind, c, o)
}

func (s *imapSession) Fetch(w *imapserver.FetchWriter, set imap.NumSet, o *imap.FetchOptions) error {
	if err := s.ask("FETCH"); err != nil {
		return err
	}
	return s.SessionIMAP4rev2.Fetch(w, set, o)
}

func (s *imapSession) Store(w *imapserver.FetchWriter, set imap.NumSet, f *imap.StoreFlags, o *imap.StoreOptions) error {
	if err := s.ask("STORE"); err != nil {
		return err
	}
	return s.SessionIMAP4rev2.Store(w, set, f, o)
}

func (s *imapSession) Copy(set imap.NumSet, dest string) (*imap.CopyData, error) {
	if err := s.ask("COPY"); err != nil {
		return nil, err
	}
	return s.SessionIMAP4rev2.Copy(set, dest)
}

func (s *imapSession) Expunge(w *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	if err := s.ask("EXPUNGE"); err != nil {
		return err
	}
	return s.SessionIMAP4rev2.Expunge(w, uids)
}

// Idle looks for news ten times a second. The memory server's own IDLE tells only of what comes after it has begun to listen: what came
// right before waits for the next mail.
func (s *imapSession) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := s.Poll(w, true); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-stop:
			return nil
		}
	}
}

// Move copies, marks and expunges. The memory server's own MOVE tells each expunge twice, the first time with the
// number 0, so that a client which counts comes to less than nothing.
func (s *imapSession) Move(w *imapserver.MoveWriter, set imap.NumSet, dest string) error {
	if err := s.ask("MOVE"); err != nil {
		return err
	}
	s.m.moving.Lock() // two clients that move the same message make one copy
	defer s.m.moving.Unlock()
	data, err := s.SessionIMAP4rev2.Copy(set, dest)
	if err != nil || len(data.SourceUIDs) == 0 {
		return err
	}
	if err := w.WriteCopyData(data); err != nil {
		return err
	}
	gone := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := s.SessionIMAP4rev2.Store(nil, data.SourceUIDs, gone, nil); err != nil {
		return err
	}
	return s.SessionIMAP4rev2.Expunge(nil, &data.SourceUIDs)
}
