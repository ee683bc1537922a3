package mailtest

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"

	"mailer/internal/sandbox"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// IMAP says how an in-memory IMAP server behaves. The zero value takes logins of user "bounce" with password "bounce" in
// clear.
type IMAP struct {
	Username, Password string
	TLS                *tls.Config // STARTTLS is offered, and a login in clear refused; with Implicit, TLS from the first byte
	Implicit           bool
	Caps               imap.CapSet // default: IMAP4rev1 with MOVE, UIDPLUS, IDLE. Leave MOVE out to see the fallback
	// Hook is asked before LOGIN, SELECT, SEARCH, FETCH, STORE, COPY, MOVE and EXPUNGE; its error (an *imap.Error
	// says NO) is the answer; sandbox.ErrHangUp loses the connection at that place.
	Hook func(command string) error
}

// IMAPServer is a running IMAP server with one account that has an INBOX. It stops at the end of the test.
type IMAPServer struct {
	*sandbox.Mailbox
	Addr               string // 127.0.0.1:port
	Host               string
	Port               int
	Username, Password string
}

// NewIMAP starts a server on a free port of the loopback interface. Deliver puts mail into its INBOX.
func NewIMAP(t testing.TB, o IMAP) *IMAPServer {
	t.Helper()
	if o.Username == "" {
		o.Username, o.Password = sandbox.Username, sandbox.Password
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	starttls := o.TLS
	if o.Implicit {
		starttls = nil
	}
	m, err := sandbox.NewMailbox(sandbox.MailboxOptions{Username: o.Username, Password: o.Password, TLS: starttls, Caps: o.Caps, Hook: o.Hook})
	if err != nil {
		t.Fatal(err)
	}
	s := &IMAPServer{Mailbox: m, Addr: ln.Addr().String(), Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port,
		Username: o.Username, Password: o.Password}
	if o.Implicit {
		ln = tls.NewListener(ln, o.TLS)
	}
	m.Serve(ln)
	t.Cleanup(m.Close)
	return s
}

// Trust is a client's TLS configuration that trusts one CA, given as PEM, for this machine.
func Trust(t testing.TB, pem []byte) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in the PEM text")
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

// DialIMAP logs in; the connection ends with the test.
func DialIMAP(t testing.TB, addr, username, password string) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(username, password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// ReadIMAP returns the messages of a folder, oldest first, without marking them. A folder that is not there is empty.
func ReadIMAP(t testing.TB, addr, username, password, folder string) [][]byte {
	t.Helper()
	c := DialIMAP(t, addr, username, password)
	defer c.Close()
	selected, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil || selected.NumMessages == 0 {
		return nil
	}
	var all imap.SeqSet
	all.AddRange(1, selected.NumMessages)
	section := &imap.FetchItemBodySection{Peek: true}
	found, err := c.Fetch(all, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	mails := make([][]byte, len(found))
	for i, m := range found {
		mails[i] = m.FindBodySection(section)
	}
	return mails
}
