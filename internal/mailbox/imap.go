package mailbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

// keyword marks what was read (AfterFlag), on servers that keep keywords.
const keyword = imap.Flag("MailerRead")

// imapBox is an open folder of an IMAP server.
type imapBox struct {
	o        Options
	conn     *line
	client   *imapclient.Client
	news     chan struct{} // told when the server says that the folder has changed
	keywords bool          // the folder takes keywords of ours

	// Where mail stays in the folder, UIDs say what was read: they only grow, as long as UIDVALIDITY is the same (RFC 3501 section 2.3.1.1).
	validity, last uint32
	highest        uint32          // that was done with
	owed           map[uint32]bool // asked for and not done with; whether it came
}

func openIMAP(ctx context.Context, o Options) (*imapBox, error) {
	m := &imapBox{o: o, news: make(chan struct{}, 1)}
	if err := m.connect(ctx); err != nil {
		return nil, o.explain(ctx, err)
	}
	if err := m.enter(ctx); err != nil {
		m.client.Close()
		return nil, o.explain(ctx, err)
	}
	return m, nil
}

func (m *imapBox) Name() string {
	return fmt.Sprintf("imap://%s@%s/%s", m.o.Username, m.o.addr(), m.o.Folder)
}

// Close says goodbye and closes the connection.
func (m *imapBox) Close() error {
	watch := m.watch(context.Background())
	defer watch.stop()
	m.client.Logout().Wait()
	m.client.Close() // the server closes first after LOGOUT; its error says nothing
	return nil
}

// connect dials and brings up TLS.
func (m *imapBox) connect(ctx context.Context) error {
	var err error
	if m.conn, err = m.o.dial(ctx); err != nil {
		return err
	}
	watch := m.watch(ctx)
	defer watch.stop()
	o := &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: m.changed}}
	switch m.o.TLS {
	case TLSImplicit:
		secure, err := m.o.secure(ctx, m.conn, "imap")
		if err != nil {
			return err
		}
		m.client = imapclient.New(secure, o)
	case TLSStartTLS:
		o.TLSConfig = m.o.tlsConfig("imap")
		m.client, err = imapclient.NewStartTLS(m.conn, o)
		if err != nil {
			m.conn.Close()
			return startTLSError(err)
		}
	default:
		m.client = imapclient.New(m.conn, o)
	}
	if err := m.client.WaitGreeting(); err != nil {
		m.client.Close()
		return err
	}
	return nil
}

// changed is called by the client when the number of messages is told.
func (m *imapBox) changed(d *imapclient.UnilateralDataMailbox) {
	if d.NumMessages == nil {
		return
	}
	select {
	case m.news <- struct{}{}:
	default:
	}
}

// enter logs in and selects the folder.
func (m *imapBox) enter(ctx context.Context) error {
	watch := m.watch(ctx)
	defer watch.stop()
	if err := m.login(); err != nil {
		return err
	}
	folder, err := m.client.Select(m.o.Folder, nil).Wait()
	switch {
	case passing(err):
		return err
	case said(err):
		return &configError{fmt.Sprintf("open folder %q: %v", m.o.Folder, err)}
	case err != nil:
		return err
	}
	m.validity = folder.UIDValidity
	m.keywords = slices.Contains(folder.PermanentFlags, imap.FlagWildcard) || slices.Contains(folder.PermanentFlags, keyword)
	return nil
}

func (m *imapBox) login() error {
	caps := m.client.Caps()
	plain := caps.Has(imap.AuthCap(sasl.Plain))
	var err error
	switch {
	case m.o.Auth == AuthXOAUTH2 && !caps.Has(imap.AuthCap("XOAUTH2")):
		return &configError{"the server does not take access tokens (XOAUTH2) on this connection"}
	case m.o.Auth == AuthXOAUTH2:
		err = m.client.Authenticate(xoauth2{m.o.Username, m.o.Password})
	case m.o.Auth == AuthPlain && !plain:
		return &configError{"the server does not offer PLAIN on this connection"}
	case plain && m.o.Auth != AuthLogin:
		err = m.client.Authenticate(sasl.NewPlainClient("", m.o.Username, m.o.Password))
	case caps.Has(imap.CapLoginDisabled):
		return &configError{"the server refuses logins on this connection: set tls to implicit or starttls"}
	default:
		err = m.client.Login(m.o.Username, m.o.Password).Wait()
	}
	if said(err) && !passing(err) {
		return refused(m.o, err)
	}
	return err
}

// refused is about a login that the server did not take.
func refused(o Options, err error) error {
	if o.Auth == AuthXOAUTH2 {
		return &configError{fmt.Sprintf("the server refused the access token of %q: %v (check username and the command that gets the token)", o.Username, err)}
	}
	return &configError{fmt.Sprintf("the server refused the login of %q: %v (check username and password)", o.Username, err)}
}

// Resume: a mark is UIDVALIDITY and the last UID that was done with.
func (m *imapBox) Resume(mark string) {
	m.last, m.highest = 0, 0
	if !m.stays() {
		return // what was read has left the folder; what was recorded and not moved is still to move
	}
	validity, last, _ := strings.Cut(mark, " ")
	v, err := strconv.ParseUint(validity, 10, 32)
	if err != nil || uint32(v) != m.validity {
		return // another folder by the same name: all is new
	}
	if n, err := strconv.ParseUint(last, 10, 32); err == nil {
		m.last, m.highest = uint32(n), uint32(n)
	}
}

func (m *imapBox) Mark() string {
	if !m.stays() || m.last == 0 {
		return ""
	}
	return fmt.Sprintf("%d %d", m.validity, m.last)
}

// stays reports whether messages stay in the folder after they were read.
func (m *imapBox) stays() bool { return m.o.After == AfterLeave || m.o.After == AfterFlag }

// List returns the UIDs of all new messages that are not marked as deleted.
func (m *imapBox) List(ctx context.Context) ([]uint32, error) {
	watch := m.watch(ctx)
	defer watch.stop()
	what := &imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagDeleted}}
	if m.o.After == AfterDelete && m.o.Review == "" && m.keywords {
		what.Not = []imap.SearchCriteria{{Flag: []imap.Flag{keyword, imap.FlagFlagged}}} // left there for a person
	}
	if m.last > 0 {
		what.UID = []imap.UIDSet{{imap.UIDRange{Start: imap.UID(m.last) + 1, Stop: 0}}}
	}
	found, err := m.client.UIDSearch(what, nil).Wait()
	if err != nil {
		return nil, m.o.explain(ctx, fmt.Errorf("list folder %q: %w", m.o.Folder, err))
	}
	all := found.AllUIDs()
	uids := make([]uint32, 0, len(all))
	for _, uid := range all {
		if uint32(uid) > m.last { // n:* has the last message in it, whatever n is (RFC 3501 section 6.4.8)
			uids = append(uids, uint32(uid))
		}
	}
	slices.Sort(uids)
	return uids, nil
}

// Read fetches messages in one command.
func (m *imapBox) Read(ctx context.Context, uids []uint32, fn func(Message) error) error {
	if len(uids) == 0 {
		return nil
	}
	watch := m.watch(ctx)
	defer watch.stop()
	if m.owed == nil {
		m.owed = map[uint32]bool{}
	}
	for _, uid := range uids {
		m.owed[uid] = false
	}
	section := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: MaxMessage}}
	cmd := m.client.Fetch(uidSet(uids), &imap.FetchOptions{UID: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{section}})
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		msg, err := collect(data)
		if err != nil {
			cmd.Close()
			return m.o.explain(ctx, fmt.Errorf("fetch messages: %w", err))
		}
		if msg.Raw == nil {
			continue // a server may tell flags of any message at any time
		}
		m.owed[msg.Number] = true
		if err := fn(msg); err != nil {
			cmd.Close()
			return err
		}
		watch.again()
	}
	if err := cmd.Close(); err != nil {
		return m.o.explain(ctx, fmt.Errorf("fetch messages: %w", err))
	}
	maps.DeleteFunc(m.owed, func(_ uint32, came bool) bool { return !came }) // it is gone
	return nil
}

// collect reads one message of an answer; of a server that sends more than it was asked for, no more than that.
func collect(data *imapclient.FetchMessageData) (Message, error) {
	var m Message
	for item := data.Next(); item != nil; item = data.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			m.Number = uint32(item.UID)
		case imapclient.FetchItemDataInternalDate:
			m.Received = item.Time
		case imapclient.FetchItemDataBodySection:
			m.Raw = []byte{}
			if item.Literal == nil {
				continue
			}
			raw, err := readMessage(item.Literal, item.Literal.Size())
			if err != nil {
				return m, err
			}
			m.Raw = raw
		}
	}
	return m, nil
}

func uidSet(uids []uint32) imap.UIDSet {
	var set imap.UIDSet
	for _, uid := range uids {
		set.AddNum(imap.UID(uid))
	}
	return set
}

func (m *imapBox) Done(ctx context.Context, filed, review []uint32) error {
	if m.o.After != AfterLeave {
		watch := m.watch(ctx)
		defer watch.stop()
		if err := errors.Join(m.file(filed), m.keep(review)); err != nil {
			return m.o.explain(ctx, err)
		}
	}
	for _, uid := range slices.Concat(filed, review) {
		m.highest = max(m.highest, uid)
		delete(m.owed, uid)
	}
	m.last = m.highest
	for uid := range m.owed { // a server may give them in any order, and what is remembered is one number
		m.last = min(m.last, uid-1)
	}
	return nil
}

// file does away with messages that were understood.
func (m *imapBox) file(uids []uint32) error {
	switch {
	case len(uids) == 0:
		return nil
	case m.o.After == AfterMove:
		return m.moveTo(m.o.Processed, uids)
	case m.o.After == AfterFlag:
		return m.flag(uids, imap.FlagSeen)
	}
	if err := m.delete(uidSet(uids)); err != nil {
		return fmt.Errorf("delete messages: %w", err)
	}
	return nil
}

// keep puts messages where a person finds them.
func (m *imapBox) keep(uids []uint32) error {
	switch {
	case len(uids) == 0:
		return nil
	case m.o.Review != "":
		return m.moveTo(m.o.Review, uids)
	case m.o.After == AfterMove:
		return m.moveTo(m.o.Processed, uids)
	}
	return m.flag(uids, imap.FlagFlagged)
}

func (m *imapBox) flag(uids []uint32, flag imap.Flag) error {
	flags := []imap.Flag{flag}
	if m.keywords {
		flags = append(flags, keyword)
	}
	if err := m.client.Store(uidSet(uids), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: flags}, nil).Close(); err != nil {
		return fmt.Errorf("mark messages: %w", err)
	}
	return nil
}

// moveTo moves messages to a folder, which may not be there yet.
func (m *imapBox) moveTo(folder string, uids []uint32) error {
	set := uidSet(uids)
	err := m.move(set, folder)
	if said(err) {
		// That it cannot be created may mean that another sync just did.
		if made := m.client.Create(folder, nil).Wait(); made == nil || said(made) {
			err = m.move(set, folder)
		}
	}
	if err != nil {
		return fmt.Errorf("move messages to %q: %w", folder, err)
	}
	return nil
}

// move uses MOVE (RFC 6851), else COPY and what deletes.
func (m *imapBox) move(set imap.UIDSet, folder string) error {
	if m.client.Caps().Has(imap.CapMove) {
		_, err := m.client.Move(set, folder).Wait()
		return err
	}
	if _, err := m.client.Copy(set, folder).Wait(); err != nil {
		return err
	}
	return m.delete(set)
}

// delete uses \Deleted and UID EXPUNGE (RFC 4315). Without that last one the messages stay marked as deleted: a plain EXPUNGE would
// take with it what others have marked.
func (m *imapBox) delete(set imap.UIDSet) error {
	gone := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := m.client.Store(set, gone, nil).Close(); err != nil {
		return err
	}
	if !m.client.Caps().Has(imap.CapUIDPlus) {
		return nil
	}
	return m.client.UIDExpunge(set).Close()
}

// idleTime is how long one IDLE lasts. A server may hang up after 30 minutes (RFC 2177), a home router forgets a silent connection after
// ten; and a server that is gone without a word is noticed when the IDLE ends.
const idleTime = 9 * time.Minute

// Wait uses IDLE.
func (m *imapBox) Wait(ctx context.Context, stop <-chan struct{}) error {
	if !m.client.Caps().Has(imap.CapIdle) {
		return ErrNoWait
	}
	watch := m.watch(ctx)
	// What came since the last command is told now: not every server tells it when IDLE begins.
	err := m.client.Noop().Wait()
	var idle *imapclient.IdleCommand
	if err == nil {
		idle, err = m.client.Idle()
	}
	watch.stop()
	if err != nil {
		return m.o.explain(ctx, fmt.Errorf("wait for mail: %w", err))
	}
	timer := time.NewTimer(idleTime)
	defer timer.Stop()
	select {
	case <-m.news:
	case <-stop:
	case <-timer.C:
	case <-m.client.Closed():
	case <-ctx.Done():
	}
	watch = m.watch(ctx)
	defer watch.stop()
	if err := errors.Join(idle.Close(), idle.Wait()); err != nil {
		return m.o.explain(ctx, fmt.Errorf("wait for mail: %w", err))
	}
	return ctx.Err()
}

func (m *imapBox) watch(ctx context.Context) *watch { return watchOver(ctx, m.conn, m.o.Timeout) }

// said reports whether an error is the server's own NO or BAD.
func said(err error) bool {
	var e *imap.Error
	return errors.As(err, &e)
}

// passing reports whether the server says that it is of today only (RFC 5530).
func passing(err error) bool {
	var e *imap.Error
	return errors.As(err, &e) && slices.Contains([]imap.ResponseCode{imap.ResponseCodeUnavailable, imap.ResponseCodeInUse, imap.ResponseCodeServerBug, imap.ResponseCodeLimit}, e.Code)
}

func startTLSError(err error) error {
	if said(err) {
		return &configError{"the server does not offer STARTTLS: set tls to implicit (port 993), or another port"}
	}
	return err
}
