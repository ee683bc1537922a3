package mailtest

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Script says how an SMTP server behaves. The zero Script is a correct server: it offers PIPELINING, 8BITMIME, SIZE,
// ENHANCEDSTATUSCODES and DSN and accepts every message.
//
//	srv := mailtest.NewSMTP(t, mailtest.Script{
//		Replies: map[string]string{
//			"RCPT gone@example.jp": "550 5.1.1 no such user",
//			"DATA":                 "451 4.3.0 try\nlater", // two lines: 451-4.3.0 try, 451 later
//		},
//	})
//
// Where a word is not enough, Reply decides:
//
//	Reply: func(c mailtest.Command) *mailtest.Reply {
//		if c.Verb == "." && c.Message == 3 {
//			return &mailtest.Reply{Silent: true, Close: true} // the message was read, its reply never comes
//		}
//		return nil // as the rest of the script says
//	},
type Script struct {
	// Replies maps a verb, or a verb and its address ("RCPT a@b", "MAIL a@b", ". a@b" for the final dot of a
	// transaction whose first accepted recipient is a@b) to the text of the reply. The longer key wins. The verbs are
	// those of Command.Verb.
	Replies map[string]string
	// Reply, when set, is asked first. Nil means: go on with Replies, then with what a correct server says. It is called
	// from the goroutine of the connection, so several connections call it at once.
	Reply func(Command) *Reply

	Name         string        // host name in the banner, default mailtest.example
	Keywords     []string      // what EHLO offers beside STARTTLS and AUTH; nil: see above; empty: nothing
	NoPipelining bool          // takes PIPELINING out of Keywords; input that comes too early is then a violation
	Deaf         bool          // offers PIPELINING and throws away what came in before its reply, as some firewalls do
	RTT          time.Duration // waited before each flight of replies, to play a relay that is far away

	TLS      *tls.Config // STARTTLS is offered; with Implicit, TLS from the first byte. See CA.Config
	Implicit bool
	Users    map[string]string // user -> password; nil: AUTH is not offered
	Mechs    []string          // default PLAIN LOGIN CRAM-MD5 XOAUTH2 (whose token is the password)
	NeedAuth bool              // MAIL before AUTH is refused with 530

	// CutAfter closes connection n (from 1; 0 stands for every connection) when that many bytes were read from it,
	// TLS taken off. What was complete in them has been answered.
	CutAfter map[int]int
	// CutReplies closes connection n (0: every one) when that many bytes were written to it. What was said beyond them
	// counts as said: the server took what it answered with 250, though nobody heard it.
	CutReplies map[int]int
}

// Command is what the client sent, or the moment at which the server has to say something.
type Command struct {
	Conn    int    // number of the connection, from 1
	Verb    string // CONNECT (the banner), EHLO, HELO, STARTTLS, AUTH (its last reply), MAIL, RCPT, DATA, "." (the final dot), RSET, NOOP, VRFY, QUIT
	Line    string // the line as it came
	Address string // of MAIL and RCPT, without brackets; at DATA and "." the first accepted recipient
	Message int    // number of the transaction over all connections, from 1, counted at MAIL
	Default string // what a correct server would say
}

// Reply is one answer. Several lines are separated by "\n"; where every line but the first lacks a code, the first
// line's is used. A 421 closes the connection, as RFC 5321 section 3.8 has it.
type Reply struct {
	Text   string          // empty: the default
	Wait   <-chan struct{} // wait until it is closed (or the connection ends) before answering
	Delay  time.Duration   // wait that long
	Silent bool            // say nothing
	Drip   bool            // each byte in a write of its own
	Extra  string          // a second reply that nobody asked for, in the same write
	Part   int             // when not 0: write only the first Part bytes of the reply
	Close  bool            // close the connection afterwards
	After  int             // with Close: read that many more bytes of input first
}

// Transaction is one MAIL command and what came of it.
type Transaction struct {
	Conn, Number int
	TLS          bool
	User         string // who is logged in
	From         string // without brackets
	FromParams   string // as sent: "SIZE=100 ENVID=x"
	MailReply    string
	Rcpts        []Rcpt
	DataReply    string // reply to DATA, empty when DATA did not come
	Data         []byte // dots taken off again; what came of it when the connection ended early
	Complete     bool   // the final dot was read
	Reply        string // reply to the final dot, empty when none was written
}

// Rcpt is one RCPT command.
type Rcpt struct{ Address, Params, Reply string }

// Accepted reports whether the server took the responsibility: only a 2xx to the final dot does that.
func (tx Transaction) Accepted() bool { return tx.Complete && strings.HasPrefix(tx.Reply, "2") }

// SMTPServer is a running scripted server. It stops at the end of the test.
type SMTPServer struct {
	Addr string // 127.0.0.1:port
	Host string
	Port int

	script Script
	ln     net.Listener
	wg     sync.WaitGroup
	done   chan struct{} // closed by Close

	mu         sync.Mutex
	closed     bool
	open       map[net.Conn]bool
	conns      []*record
	txs        []*Transaction
	violations []string
}

// record keeps what one connection said.
type record struct {
	input      []byte
	transcript []string
}

// NewSMTP starts a server on a free port of the loopback interface.
func NewSMTP(t testing.TB, script Script) *SMTPServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &SMTPServer{Addr: ln.Addr().String(), script: script, ln: ln,
		done: make(chan struct{}), open: make(map[net.Conn]bool)}
	s.Host, s.Port = "127.0.0.1", ln.Addr().(*net.TCPAddr).Port
	s.wg.Go(s.accept)
	t.Cleanup(s.Close)
	return s
}

// Close stops the server: open connections are cut, and their goroutines have ended when it returns.
func (s *SMTPServer) Close() {
	s.ln.Close()
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Transcript returns everything that was said, in order, as lines "C1> MAIL FROM:<a@b>" and "S1< 250 ok" with the
// number of the connection; of a message only its size.
func (s *SMTPServer) Transcript() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, r := range s.conns {
		all = append(all, r.transcript...)
	}
	return strings.Join(all, "\n")
}

// Input returns every byte that connection n (from 1) sent, TLS taken off.
func (s *SMTPServer) Input(n int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < 1 || n > len(s.conns) {
		return nil
	}
	return slices.Clone(s.conns[n-1].input)
}

// Conns returns how many connections were made.
func (s *SMTPServer) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Transactions returns every transaction begun, in the order of their MAIL commands.
func (s *SMTPServer) Transactions() []Transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Transaction, len(s.txs))
	for i, tx := range s.txs {
		all[i] = *tx
		all[i].Rcpts = slices.Clone(tx.Rcpts)
	}
	return all
}

// Accepted returns the transactions whose message the server took.
func (s *SMTPServer) Accepted() []Transaction {
	return slices.DeleteFunc(s.Transactions(), func(tx Transaction) bool { return !tx.Accepted() })
}

// Violations returns what the client did against the protocol: commands after one that must end its group (RFC 2920
// section 3.1), message content before the 354, bare line feeds. An empty list proves little where input was slow to come, but
// nothing in it is a false alarm.
func (s *SMTPServer) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

func (s *SMTPServer) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.open[c] = true
		s.conns = append(s.conns, &record{})
		p := &peer{s: s, n: len(s.conns), rec: s.conns[len(s.conns)-1], raw: c}
		s.mu.Unlock()
		s.wg.Go(func() {
			p.serve()
			c.Close()
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
		})
	}
}
