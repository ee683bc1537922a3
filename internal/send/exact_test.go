package send

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// The tests of this file break a session of a few messages at every place, and hold the books against what the relay has:
// after a run with a relay in order everybody has the message exactly once, or is uncertain, or was refused for a reason
// that is kept. They know nothing of how the engine groups its commands.

// fault is one case: a broken relay, and how much it may cost.
type fault struct {
	name      string
	script    mailtest.Script
	dial      func(context.Context, relay.Server) (*relay.Conn, error) // nil: plain
	uncertain int64                                                    // at most so many
	failed    int64                                                    // exactly so many
	persists  bool                                                     // the script never gets well: a second relay takes over
	misleads  bool                                                     // by it a client breaks the protocol unknowingly
}

// spread runs the cases on several rigs at once. A rig has one database and, in turn, a campaign for each of its cases.
func spread(t *testing.T, messages, connections int, cases []fault) {
	t.Helper()
	const rigs = 4
	for n := range rigs {
		t.Run(fmt.Sprint("rig ", n+1), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, messages)
			r.connections, r.retry = connections, []time.Duration{time.Millisecond}
			for i := n; i < len(cases); i += rigs {
				r.dial = cases[i].dial
				r.try(cases[i])
			}
		})
	}
}

// try runs one case in a campaign of its own.
func (r *rig) try(f fault) {
	r.t.Helper()
	r.freeze(f.name)
	srv := mailtest.NewSMTP(r.t, f.script)
	defer srv.Close()
	servers := []*mailtest.SMTPServer{srv}
	if err := r.run(r.t.Context(), srv); err != nil && !broke(err) {
		r.t.Errorf("%s: %v", f.name, err)
	}
	if f.persists {
		servers = append(servers, mailtest.NewSMTP(r.t, mailtest.Script{}))
		defer servers[1].Close()
	}
	r.toTheEnd(f.name, servers[len(servers)-1])
	b := r.exact(f.name, servers...)
	if v := srv.Violations(); len(v) > 0 && !f.misleads {
		r.t.Errorf("%s: protocol violations: %v", f.name, v)
	}
	if b.Uncertain > f.uncertain || f.failed >= 0 && b.Failed != f.failed {
		r.t.Errorf("%s: %d uncertain, at most %d; %d failed, want %d", f.name, b.Uncertain, f.uncertain, b.Failed, f.failed)
	}
	if r.t.Failed() {
		r.t.Fatalf("%s:\n%s", f.name, srv.Transcript())
	}
}

// freeze makes another campaign to the same people, as if nothing had been before.
func (r *rig) freeze(name string) {
	r.t.Helper()
	r.sql("DELETE FROM suppressions")
	var err error
	r.campaign, err = r.st.CreateCampaign(r.t.Context(), store.Campaign{Name: name, Class: "marketing", Content: "{}", Options: "{}",
		Expires: time.Now().Add(72 * time.Hour)}, store.Audience{Class: "marketing"})
	if err != nil {
		r.t.Fatal(err)
	}
}

// toTheEnd runs until nobody is left. The runs wait for what was deferred.
func (r *rig) toTheEnd(name string, srv *mailtest.SMTPServer) {
	r.t.Helper()
	r.wait = 10 * time.Second
	defer func() { r.wait = 0 }()
	for range 20 {
		if b := r.balance(); b.Remaining+b.Deferred == 0 {
			return
		}
		if err := r.run(r.t.Context(), srv); err != nil && !broke(err) {
			r.t.Fatalf("%s: the relay is in order again: %v", name, err)
		}
	}
	r.t.Errorf("%s: never done: %s", name, r.balance())
}

// broke reports whether a run ended because of its relay.
func broke(err error) bool {
	return isDial(err) || errors.Is(err, ErrNotNow) || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrRefused)
}

// exact holds every recipient's row against all that the relays have, and returns the balance.
func (r *rig) exact(name string, servers ...*mailtest.SMTPServer) delivery.Balance {
	r.t.Helper()
	took, gave, from := map[string]int{}, map[string]int{}, map[string]string{}
	for _, srv := range servers {
		for _, tx := range srv.Transactions() {
			if len(tx.Rcpts) == 0 {
				continue
			}
			to := tx.Rcpts[0].Address
			if len(tx.Rcpts) > 1 {
				r.t.Errorf("%s: %d recipients in one transaction", name, len(tx.Rcpts))
			}
			if have, ok := from[to]; ok && have != tx.From {
				r.t.Errorf("%s: the return path of %s was %s, is %s", name, to, have, tx.From)
			}
			from[to] = tx.From
			if !tx.Complete || len(tx.Data) == 0 && !strings.HasPrefix(tx.Rcpts[0].Reply, "2") {
				continue // the lone dot after a refused recipient is no message
			}
			if !strings.Contains(string(tx.Data), "To: "+to+"\r\n") {
				r.t.Errorf("%s: %s was sent somebody else's message: %q", name, to, tx.Data)
			}
			if !strings.HasPrefix(tx.Reply, "4") && !strings.HasPrefix(tx.Reply, "5") {
				gave[to]++ // the relay has it all, and did not refuse it
			}
			if tx.Accepted() {
				took[to]++
			}
		}
	}
	err := r.st.EachRecipient(r.t.Context(), r.campaign.ID, nil, func(x store.Recipient) error {
		got := gave[x.Address]
		bad := false
		switch x.State {
		case delivery.Accepted:
			bad = got != 1 || took[x.Address] != 1
		case delivery.Uncertain:
			bad = got > 1
		case delivery.Failed:
			bad = got > 0 || x.Reply == "" || x.Reason == ""
		case delivery.Excluded:
			bad = got > 0 || x.Reason == ""
		default:
			bad = true
		}
		if bad {
			r.t.Errorf("%s: %s is %s (%s %q), the relay has it %d times and said so %d times", name, x.Address, x.State, x.Reason, x.Reply, got, took[x.Address])
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	b := r.balance()
	if !b.Balanced() {
		r.t.Errorf("%s: %s", name, b)
	}
	return b
}

// session is how many messages a broken session has; the race detector gets a shorter one.
func session() int {
	if mailtest.Race {
		return 2
	}
	return 6
}

// terse says as little as a relay can, so that there are few places to cut it.
func terse() mailtest.Script {
	return mailtest.Script{Name: "m", Keywords: []string{"PIPELINING"},
		Replies: map[string]string{"MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go", ".": "250 ok", "QUIT": "221 ok"}}
}

// lengths is how many bytes a session over one connection has, in and out.
func lengths(t *testing.T, messages int, script mailtest.Script) (in, out int) {
	t.Helper()
	r := newRig(t, messages)
	r.connections = 1
	srv := mailtest.NewSMTP(t, script)
	if err := r.run(t.Context(), srv); err != nil {
		t.Fatal(err)
	}
	srv.Close()
	for line := range strings.SplitSeq(srv.Transcript(), "\n") {
		if strings.HasPrefix(line, "S1< ") {
			out += len(line) - len("S1< ") + len("\r\n")
		}
	}
	return len(srv.Input(1)), out
}

// Our half of the session ends after every byte.
func TestCutAfterEveryByteOfOurs(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		t.Run(fmt.Sprint("pipelining ", pipelining), func(t *testing.T) {
			script := terse()
			script.NoPipelining = !pipelining
			n := session()
			if !pipelining {
				n = 2
			}
			in, _ := lengths(t, n, script)
			var cases []fault
			for k := range in {
				s := script
				s.CutAfter = map[int]int{1: k}
				cases = append(cases, fault{name: fmt.Sprint("after byte ", k), script: s, uncertain: 1})
			}
			spread(t, n, 1, cases)
		})
	}
}

// The relay's half ends after every byte.
func TestCutAfterEveryByteOfTheRelay(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		t.Run(fmt.Sprint("pipelining ", pipelining), func(t *testing.T) {
			script := terse()
			script.NoPipelining = !pipelining
			_, out := lengths(t, session(), script)
			var cases []fault
			for k := range out {
				s := script
				s.CutReplies = map[int]int{1: k}
				cases = append(cases, fault{name: fmt.Sprint("after byte ", k), script: s, uncertain: 1})
			}
			spread(t, session(), 1, cases)
		})
	}
}

// Three connections, each cut at another place of both halves, and those that replace the first ones too.
func TestThreeConnectionsCutAtOnce(t *testing.T) {
	const connections, step = 3, 5
	in, out := lengths(t, 3, terse())
	var cases []fault
	for k := 0; k < in; k += step {
		s := terse()
		s.CutAfter, s.CutReplies = map[int]int{}, map[int]int{}
		for n := 1; n <= 2*connections; n++ {
			s.CutAfter[n] = (k + n*in/connections) % in
			s.CutReplies[n] = out
			if n%2 == 0 {
				s.CutAfter[n], s.CutReplies[n] = in, (k+n*out/connections)%out
			}
		}
		cases = append(cases, fault{name: fmt.Sprint("from byte ", k), script: s, uncertain: 2 * connections})
	}
	spread(t, 9, connections, cases)
}

// answers are the ways in which a relay can go wrong at one reply.
func answers(verb string) []fault {
	one := func(name string, r mailtest.Reply) fault {
		return fault{name: name, script: mailtest.Script{Reply: func(mailtest.Command) *mailtest.Reply { return &r }}}
	}
	refused := map[string]string{"RCPT": "550 5.1.1 no such user", "AUTH": "535 5.7.8 no"}[verb]
	if refused == "" {
		refused = "554 5.7.1 no"
	}
	lines := "250-first\nsecond\n250 third"
	if verb == "DATA" {
		lines = "354-first\nsecond"
	}
	all := []fault{
		one("421", mailtest.Reply{Text: "421 4.3.2 closing"}),
		one("4xx", mailtest.Reply{Text: "451 4.3.0 later"}),
		one("5xx", mailtest.Reply{Text: refused}),
		one("closed instead", mailtest.Reply{Silent: true, Close: true}),
		one("closed after half a line", mailtest.Reply{Part: 6, Close: true}),
		one("closed after a line of several", mailtest.Reply{Text: lines, Part: len("250-first\r\n"), Close: true}),
		one("closed after it", mailtest.Reply{Close: true}),
		one("byte by byte", mailtest.Reply{Drip: true}),
		one("garbage", mailtest.Reply{Text: "what is this?"}),
		one("no code of SMTP", mailtest.Reply{Text: "999 what is this?"}),
		one("one more than asked", mailtest.Reply{Extra: "250 2.0.0 and more"}),
		one("one more than asked and closed", mailtest.Reply{Extra: "421 4.4.2 idle", Close: true}),
		one("silence", mailtest.Reply{Wait: make(chan struct{})}),
	}
	if verb != "EHLO" && verb != "CONNECT" && verb != "STARTTLS" && verb != "AUTH" {
		all = append(all, one("several lines", mailtest.Reply{Text: lines}))
	}
	return all
}

// at makes a case of an answer: the script gives it once, when here says so.
func (f fault) at(where string, base mailtest.Script, here func(mailtest.Command) bool) fault {
	var given atomic.Bool
	answer := f.script.Reply
	f.name = where + ": " + f.name
	f.script = base
	f.script.Reply = func(c mailtest.Command) *mailtest.Reply {
		if here(c) && given.CompareAndSwap(false, true) {
			return answer(c)
		}
		return nil
	}
	return f
}

// impatient dials with timeouts that a test can wait for.
func impatient(ctx context.Context, s relay.Server) (*relay.Conn, error) {
	const short = 400 * time.Millisecond
	s.Timeouts = relay.Timeouts{Connect: 2 * short, Command: short, Data: short, Block: short, Dot: short}
	return relay.Dial(ctx, s)
}

// Everything that can be wrong with a reply, at every reply to a message.
func TestEveryAnswerToAMessage(t *testing.T) {
	var one, three []fault
	numbers := 3
	if mailtest.Race {
		numbers = 2
	}
	for _, verb := range []string{"MAIL", "RCPT", "DATA", "."} {
		for _, f := range answers(verb) {
			if f.name == "5xx" && verb != "MAIL" {
				f.failed = 1
			}
			f.misleads = strings.HasPrefix(f.name, "one more")
			if verb == "." || f.misleads || verb == "DATA" && f.name == "closed after it" {
				f.uncertain = 1
			}
			if f.name == "silence" {
				f.dial, f.uncertain = impatient, 2 // a slow machine is silent too
			}
			for number := 1; number <= numbers; number++ {
				here := func(c mailtest.Command) bool { return c.Verb == verb && c.Message == number }
				where := fmt.Sprint(verb, " of message ", number)
				one = append(one, f.at(where, mailtest.Script{}, here))
				if number == 2 {
					one = append(one, f.at(where+", stepwise", mailtest.Script{NoPipelining: true}, here))
					g := f.at(where+", three connections", mailtest.Script{}, here)
					if g.dial != nil {
						g.uncertain = 2 * 3
					}
					three = append(three, g)
				}
			}
		}
	}
	t.Run("one connection", func(t *testing.T) { spread(t, 4, 1, one) })
	t.Run("three connections", func(t *testing.T) { spread(t, 6, 3, three) })
}

// A reply too many must not stand for the reply to a message: here the relay refuses each message that it is given on the
// connection on which it said too much.
func TestAReplyTooManyIsNoAcceptance(t *testing.T) {
	var cases []fault
	for _, verb := range []string{"CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		for _, extra := range []string{"250 2.0.0 and more", "250 2.0.0 and more\nlines", "354 go ahead", "250"} {
			for _, stepwise := range []bool{false, true} {
				var said atomic.Bool
				script := mailtest.Script{NoPipelining: stepwise, Reply: func(c mailtest.Command) *mailtest.Reply {
					switch {
					case c.Conn > 1:
						return nil
					case c.Verb == "." && said.Load():
						return &mailtest.Reply{Text: "554 5.7.1 no"}
					case c.Verb == verb:
						said.Store(true)
						return &mailtest.Reply{Extra: extra}
					}
					return nil
				}}
				cases = append(cases, fault{name: fmt.Sprintf("%q after the reply to %s, stepwise %v", extra, verb, stepwise), script: script,
					misleads: true, uncertain: 1, failed: -1})
			}
		}
	}
	spread(t, 4, 1, cases)
}

// Everything that can be wrong with a reply, at every reply before the first message: nobody is marked, nobody in doubt.
func TestEveryAnswerBeforeAMessage(t *testing.T) {
	ca := mailtest.NewCA(t)
	login := func(dial func(context.Context, relay.Server) (*relay.Conn, error)) func(context.Context, relay.Server) (*relay.Conn, error) {
		return func(ctx context.Context, s relay.Server) (*relay.Conn, error) {
			s.TLS, s.RootCAs, s.Auth, s.Username = relay.StartTLS, ca.Pool, "plain", "news"
			s.Password = func(context.Context) (string, error) { return "geheim", nil }
			return dial(ctx, s)
		}
	}
	base := mailtest.Script{TLS: ca.Config(t), Users: map[string]string{"news": "geheim"}, NeedAuth: true}
	var cases []fault
	for _, verb := range []string{"CONNECT", "EHLO", "STARTTLS", "EHLO again", "AUTH"} {
		for _, f := range answers(verb) {
			f.dial = login(relay.Dial)
			if f.misleads = strings.HasPrefix(f.name, "one more"); f.name == "silence" {
				f.dial, f.uncertain = login(impatient), 2
			}
			for conn := 1; conn <= 2; conn++ {
				f := f
				word, again := strings.CutSuffix(verb, " again")
				secured := map[int]*atomic.Int64{1: {}, 2: {}}
				f = f.at(fmt.Sprint(verb, " of connection ", conn), base, func(c mailtest.Command) bool {
					if c.Verb != word || c.Conn != conn {
						return false
					}
					return !again || secured[conn].Add(1) == 2
				})
				inner := f.script.Reply
				f.script.Reply = func(c mailtest.Command) *mailtest.Reply {
					if r := inner(c); r != nil {
						return r
					}
					if c.Verb == "." && c.Conn == 1 && conn == 2 {
						return &mailtest.Reply{Close: true} // so that there is a second one
					}
					return nil
				}
				cases = append(cases, f)
			}
		}
	}
	spread(t, 3, 1, cases)
}

// A relay that offers PIPELINING and hears one command at a time, as some firewalls do: nobody is lost, whatever the
// engine makes of it.
func TestDeafRelay(t *testing.T) {
	spread(t, 4, 2, []fault{{name: "deaf", script: mailtest.Script{Deaf: true}, dial: func(ctx context.Context, s relay.Server) (*relay.Conn, error) {
		s.Timeouts = relay.Timeouts{Connect: 20 * time.Second, Command: 100 * time.Millisecond, Data: 100 * time.Millisecond, Block: time.Second, Dot: 20 * time.Second}
		return relay.Dial(ctx, s)
	}, persists: true, uncertain: 4}})
}

// Relays end a connection after so many messages, or when it stood still: with 421 at MAIL, with 421 that nobody asked for,
// or without a word. Nobody is marked for it, and nobody waits.
func TestConnectionsThatAreUsedUp(t *testing.T) {
	var cases []fault
	for most := 1; most <= 3; most++ {
		limit := func(end func(mailtest.Command, int) *mailtest.Reply) mailtest.Script {
			var begun [64]atomic.Int64 // by connection
			return mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
				n := &begun[c.Conn]
				if c.Verb == "MAIL" {
					n.Add(1)
				}
				return end(c, int(n.Load()))
			}}
		}
		cases = append(cases,
			fault{name: fmt.Sprint("421 at MAIL after ", most), script: limit(func(c mailtest.Command, n int) *mailtest.Reply {
				if c.Verb == "MAIL" && n > most {
					return &mailtest.Reply{Text: "421 4.7.0 too many messages on this connection"}
				}
				return nil
			})},
			fault{name: fmt.Sprint("4xx at MAIL after ", most), script: limit(func(c mailtest.Command, n int) *mailtest.Reply {
				if c.Verb == "MAIL" && n > most {
					return &mailtest.Reply{Text: "452 4.5.3 too many messages on this connection", Close: true}
				}
				return nil
			})},
			fault{name: fmt.Sprint("421 after the reply to message ", most), script: limit(func(c mailtest.Command, n int) *mailtest.Reply {
				if c.Verb == "." && n == most {
					return &mailtest.Reply{Extra: "421 4.4.2 idle", Close: true}
				}
				return nil
			})},
			fault{name: fmt.Sprint("closed after the reply to message ", most), script: limit(func(c mailtest.Command, n int) *mailtest.Reply {
				return &mailtest.Reply{Close: c.Verb == "." && n == most}
			})})
	}
	spread(t, 12, 2, cases)
}

// Refused recipients amid others, whatever the relay says to the DATA that follows: their neighbours get the right message,
// and only theirs.
func TestRefusedAmidOthers(t *testing.T) {
	for _, data := range []string{"354 go ahead", "503 5.5.1 no recipients", "554 5.5.1 no valid recipients"} {
		for _, connections := range []int{1, 3} {
			t.Run(fmt.Sprint(data[:3], " ", connections), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 30)
				r.connections, r.retry = connections, []time.Duration{time.Millisecond}
				r.sql(`INSERT INTO suppressions (scope, key, blocks, reason, created_at)
					SELECT 'address', key, 'all', 'complaint', 1 FROM contacts WHERE id % 7 = 3`)
				srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
					var id int
					fmt.Sscanf(c.Address, "p%d@", &id)
					switch {
					case c.Verb == "RCPT" && id%5 == 0:
						return &mailtest.Reply{Text: "550 5.1.1 no such user"}
					case c.Verb == "RCPT" && id%5 == 1:
						return &mailtest.Reply{Text: "552 5.2.2 mailbox full"}
					case c.Verb == "DATA" && c.Address == "":
						return &mailtest.Reply{Text: data}
					}
					return nil
				}})
				if err := r.run(t.Context(), srv); err != nil {
					t.Error(err)
				}
				// Excluded: 3 10 17 24. Refused: 5 15 20 25 30, and 1 6 11 16 21 26.
				if b := r.exact("refused", srv); b.Excluded != 4 || b.Failed != 11 || b.Accepted != 15 {
					t.Errorf("%s", b)
				}
				for _, tx := range srv.Transactions() {
					if len(tx.Rcpts) > 0 && strings.HasPrefix(tx.Rcpts[0].Reply, "5") && len(tx.Data) > 0 {
						t.Errorf("to %s, who was refused, left %q", tx.Rcpts[0].Address, tx.Data)
					}
				}
			})
		}
	}
}
