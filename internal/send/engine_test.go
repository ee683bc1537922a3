package send

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/pace"
	"mailer/internal/provider"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// bench is a campaign over n contacts, a scripted relay, and the engine between them.
type rig struct {
	t           *testing.T
	st          *store.Store
	path        string
	campaign    store.Campaign
	connections int
	tuned       bool // it finds its own count up to that; else all at once
	limit       int64
	perConn     int
	retry       []time.Duration
	wait        time.Duration
	pause       time.Duration // after the first lane event
	fresh, idle time.Duration
	now         func() time.Time
	dial        func(context.Context, relay.Server) (*relay.Conn, error) // nil: plain
	verdict     func(store.Due) *delivery.Decision
	limits      func(relay, lane string) []pace.Limit
	states      map[string]pace.Lane // how receivers took the mail before
	routes      func(domain string) []string
	levels      *pace.Levels // nil: no breaker
	hours       pace.Hours
	notAfter    time.Time
	most        map[string]int // messages at a time, by lane
	net         func(ctx context.Context, network, addr string) (net.Conn, error)
	counts      Counts
	last        *engine
}

func newRig(t *testing.T, n int) *rig { return newRigOf(t, audience{{"example.jp", n}}) }

// audience is how many there are of each domain; they are planned in this order.
type audience []struct {
	domain string
	n      int
}

func newRigOf(t *testing.T, people audience) *rig {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mailer.db")
	st, err := store.Open(t.Context(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	r := &rig{t: t, st: st, path: path, connections: 4, retry: []time.Duration{time.Hour}, pause: time.Millisecond, now: time.Now,
		verdict: func(store.Due) *delivery.Decision { return nil }}
	for _, p := range people {
		r.sql(fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO contacts (key, address, fields, created_at, updated_at)
			SELECT printf('p%%05d@%s', i), printf('p%%05d@%s', i), '{}', 1, 1 FROM n`, p.n, p.domain, p.domain))
	}
	r.campaign, err = st.CreateCampaign(t.Context(), store.Campaign{Name: "news", Class: "marketing", Content: "{}", Options: "{}",
		Expires: time.Now().Add(72 * time.Hour)}, store.Audience{Class: "marketing"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sql writes through a connection of its own, as another program would.
func (r *rig) sql(text string) {
	r.t.Helper()
	db, err := sql.Open("sqlite", "file:"+r.path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(r.t.Context(), text); err != nil {
		r.t.Fatal(err)
	}
}

// query reads one row in the same way.
func (r *rig) query(text string, into ...any) {
	r.t.Helper()
	db, err := sql.Open("sqlite", "file:"+r.path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(text).Scan(into...); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) server(srv *mailtest.SMTPServer) relay.Server {
	return relay.Server{Name: "test", Host: "localhost", Port: srv.Port, Net: r.net, TLS: relay.NoTLS, Pipelining: true, PerConn: r.perConn, Timeouts: relay.Timeouts{
		Connect: 20 * time.Second, Command: 20 * time.Second, Data: 20 * time.Second, Block: 20 * time.Second, Dot: 20 * time.Second}}
}

// run sends once, as one process does: lease, engine, lease back.
func (r *rig) run(soft context.Context, srv *mailtest.SMTPServer) error {
	r.t.Helper()
	return r.runHard(soft, context.Background(), srv)
}

func (r *rig) runHard(soft, hard context.Context, srv *mailtest.SMTPServer) error {
	r.t.Helper()
	server := r.server(srv)
	dial := relay.NewDialer(server).Dial
	if r.dial != nil {
		dial = func(ctx context.Context) (*relay.Conn, error) { return r.dial(ctx, server) }
	}
	one := newWay("test", 1, r.connections, dial)
	if !r.tuned {
		one.tuner = nil
	}
	return r.runBy(soft, hard, one)
}

// runBy sends once by these relays.
func (r *rig) runBy(soft, hard context.Context, ways ...*way) error {
	r.t.Helper()
	run, _, err := r.st.Acquire(context.Background(), r.campaign, self(), time.Minute, Gone, r.limits)
	if err != nil {
		return err
	}
	err = r.engine(run, ways...).work(soft, hard)
	if cerr := run.Close(context.Background()); err == nil {
		err = cerr
	}
	return err
}

// engine is what a run puts together, with these relays.
func (r *rig) engine(run *store.Run, ways ...*way) *engine {
	r.t.Helper()
	e := &engine{
		run: run, campaign: r.campaign, retry: r.retry, waitUntil: time.Now().Add(r.wait), expires: r.campaign.Expires, counts: &r.counts, now: r.now,
		firstPause: r.pause, fresh: r.fresh, idle: r.idle, judge: judge, warn: func(text string) { r.t.Log(text) },
		compose: func(d store.Due) *outgoing {
			return &outgoing{due: d, verdict: r.verdict(d), messageID: fmt.Sprintf("m%d@example.com", d.ID), message: relay.Message{
				Envelope: relay.Envelope{From: fmt.Sprintf("b%d@example.com", d.ID), To: d.Address},
				Raw:      fmt.Appendf(nil, "To: %s\r\n\r\nhello\r\n", d.Address)}}
		},
	}
	e.gate = newGate(r.now, ways, r.hours)
	e.notAfter, e.gate.notAfter = r.notAfter, r.notAfter
	e.gate.limit = r.limit
	table, err := provider.Presets()
	if err != nil {
		r.t.Fatal(err)
	}
	open, err := run.Open(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	var routes func(from, domain string) []string
	if r.routes != nil {
		routes = func(_, domain string) []string { return r.routes(domain) }
		compose := e.compose
		e.compose = func(d store.Due) *outgoing {
			out := compose(d)
			out.routes = r.routes(d.Domain)
			return out
		}
	}
	if r.levels != nil {
		e.guard = &guard{breaker: pace.NewBreaker(*r.levels)}
	}
	e.gate.openLanes(&book{providers: table}, open, r.states, routes, "")
	for _, l := range e.gate.lanes {
		l.most = r.most[l.name]
	}
	r.last = e
	return e
}

func (r *rig) balance() delivery.Balance {
	r.t.Helper()
	b, err := r.st.Balance(r.t.Context(), r.campaign.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// verify holds what the server took against what the store says of each recipient: nobody twice, nobody lost.
func (r *rig) verify(servers ...*mailtest.SMTPServer) {
	r.t.Helper()
	took, gave := map[string]int{}, map[string]int{}
	var all []mailtest.Transaction
	for _, srv := range servers {
		all = append(all, srv.Transactions()...)
	}
	for _, tx := range all {
		if !tx.Complete || len(tx.Rcpts) == 0 {
			continue
		}
		to := tx.Rcpts[0].Address
		if !strings.Contains(string(tx.Data), "To: "+to+"\r\n") {
			r.t.Errorf("%s was sent somebody else's message: %q", to, tx.Data)
		}
		if tx.Reply == "" || strings.HasPrefix(tx.Reply, "2") {
			gave[to]++ // the server has it all, and did not refuse it
		}
		if tx.Accepted() {
			took[to]++
		}
	}
	err := r.st.EachRecipient(r.t.Context(), r.campaign.ID, nil, func(x store.Recipient) error {
		switch n := gave[x.Address]; {
		case x.State == delivery.Accepted && took[x.Address] != 1:
			r.t.Errorf("%s is accepted and the server took %d", x.Address, took[x.Address])
		case x.State == delivery.Uncertain && n > 1:
			r.t.Errorf("%s is uncertain and the server has it %d times", x.Address, n)
		case x.State != delivery.Accepted && x.State != delivery.Uncertain && n > 0:
			r.t.Errorf("%s is %s and the server has it %d times", x.Address, x.State, n)
		case n > 1:
			r.t.Errorf("%s has it %d times", x.Address, n)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestEverybodyExactlyOnce(t *testing.T) {
	r := newRig(t, 500)
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	if err := r.run(t.Context(), srv); err != nil {
		t.Fatal(err)
	}
	if b := r.balance(); b.Accepted != 500 || b.Planned != 500 {
		t.Errorf("balance %+v", b)
	}
	r.verify(srv)
	if n := srv.Conns(); n > r.connections {
		t.Errorf("%d connections", n)
	}
	if v := srv.Violations(); len(v) > 0 {
		t.Errorf("protocol violations: %v", v)
	}
	if err := r.run(t.Context(), srv); err != nil || len(srv.Transactions()) != 500 {
		t.Errorf("a second run: %v, %d transactions", err, len(srv.Transactions()))
	}
}

func TestMessagesPerConnection(t *testing.T) {
	r := newRig(t, 60)
	r.perConn, r.connections = 5, 2
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	if err := r.run(t.Context(), srv); err != nil {
		t.Fatal(err)
	}
	perConn := map[int]int{}
	for _, tx := range srv.Transactions() {
		if perConn[tx.Conn]++; perConn[tx.Conn] > 5 {
			t.Errorf("connection %d carried more than 5", tx.Conn)
		}
	}
	r.verify(srv)
}

// What is read as due a second time, or put back by a connection that was used up, does not count.
func TestLimitIsExact(t *testing.T) {
	r := newRig(t, 4000)
	r.limit, r.perConn, r.connections = 3000, 7, 10
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	if err := r.run(t.Context(), srv); err != nil {
		t.Fatal(err)
	}
	if b := r.balance(); b.Accepted != 3000 || b.Remaining != 1000 {
		t.Errorf("balance %+v", b)
	}
}

// Every kind of answer at every phase, at random: whatever comes, the books agree with the server's.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 150)
			r.retry, r.wait = []time.Duration{time.Millisecond}, time.Minute
			rnd := rand.New(rand.NewPCG(seed, 1))
			var dice = make(chan int, 1)
			dice <- 0
			roll := func(n int) int { <-dice; v := rnd.IntN(n); dice <- 0; return v }
			srv := mailtest.NewSMTP(t, mailtest.Script{NoPipelining: seed%3 == 2, Reply: func(c mailtest.Command) *mailtest.Reply {
				if c.Verb == "EHLO" || c.Verb == "QUIT" || roll(8) > 0 {
					return nil
				}
				switch roll(7) {
				case 0:
					return &mailtest.Reply{Text: "421 4.3.2 closing"}
				case 1:
					return &mailtest.Reply{Silent: true, Close: true}
				case 2:
					return &mailtest.Reply{Part: 5, Close: true}
				case 3, 4:
					if c.Verb == "RCPT" || c.Verb == "." || c.Verb == "DATA" {
						return &mailtest.Reply{Text: "451 4.2.0 later"}
					}
				case 5:
					if c.Verb == "RCPT" || c.Verb == "." {
						return &mailtest.Reply{Text: "550 5.2.2 over quota"}
					}
				case 6:
					return &mailtest.Reply{Close: true}
				}
				return nil
			}})
			for range 40 {
				err := r.run(t.Context(), srv)
				if b := r.balance(); b.Remaining+b.Deferred == 0 {
					break
				}
				if err != nil && !errors.Is(err, ErrNotNow) && !errors.Is(err, ErrUnreachable) && !isDial(err) {
					t.Fatal(err)
				}
			}
			if b := r.balance(); b.Remaining+b.Deferred != 0 {
				t.Errorf("never done: %+v", b)
			}
			r.verify(srv)
		})
	}
}

func isDial(err error) bool {
	var de *relay.DialError
	return errors.As(err, &de)
}

func TestStopFinishesWhatIsOnTheWire(t *testing.T) {
	r := newRig(t, 200)
	soft, stop := context.WithCancel(t.Context())
	var seen atomic.Int64
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "." && seen.Add(1) == 50 {
			stop()
		}
		return nil
	}})
	if err := r.run(soft, srv); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	b := r.balance()
	if b.Uncertain != 0 || b.Accepted < 50 || b.Remaining == 0 {
		t.Errorf("after a stop: %+v", b)
	}
	r.verify(srv)
	if err := r.run(t.Context(), srv); err != nil {
		t.Fatal(err)
	}
	if b := r.balance(); b.Accepted != 200 {
		t.Errorf("after going on: %+v", b)
	}
	r.verify(srv)
}

func TestRefusalsThatAreAboutUsMarkNobody(t *testing.T) {
	r := newRig(t, 30)
	srv := mailtest.NewSMTP(t, mailtest.Script{Replies: map[string]string{"MAIL": "550 5.7.1 sender not allowed"}})
	if err := r.run(t.Context(), srv); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
	if b := r.balance(); b.Remaining != 30 {
		t.Errorf("balance %+v", b)
	}
}

func TestBlockedHostStopsTheRun(t *testing.T) {
	r := newRig(t, 200)
	srv := mailtest.NewSMTP(t, mailtest.Script{Replies: map[string]string{"RCPT": "550 5.7.1 Service unavailable; client host [192.0.2.1] blocked using zen.spamhaus.org"}})
	if err := r.run(t.Context(), srv); !errors.Is(err, ErrBlocked) {
		t.Errorf("got %v", err)
	}
	b := r.balance()
	if b.Remaining == 0 || b.Failed < laneRefusals || b.Failed > 2*laneRefusals {
		t.Errorf("balance %+v", b)
	}
	r.noSuppressions()
}

func (r *rig) noSuppressions() {
	r.t.Helper()
	p, err := r.st.Plan(r.t.Context(), store.Audience{Class: "marketing"})
	if err != nil || len(p.Excluded) != 0 {
		r.t.Errorf("somebody was suppressed: %+v, %v", p.Excluded, err)
	}
}

func TestDeadAddressesAreSuppressed(t *testing.T) {
	r := newRig(t, 10)
	srv := mailtest.NewSMTP(t, mailtest.Script{Replies: map[string]string{"RCPT p00003@example.jp": "550 5.1.1 no such user", "RCPT p00004@example.jp": "552 5.2.2 mailbox full"}})
	if err := r.run(t.Context(), srv); err != nil {
		t.Fatal(err)
	}
	if b := r.balance(); b.Accepted != 8 || b.Failed != 2 {
		t.Errorf("balance %+v", b)
	}
	p, err := r.st.Plan(t.Context(), store.Audience{Class: "operational"})
	if err != nil || p.Excluded["suppressed: hard_bounce"] != 1 {
		t.Errorf("excluded next time: %+v, %v", p.Excluded, err)
	}
}

func TestUnreachableRelay(t *testing.T) {
	r := newRig(t, 5)
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	srv.Close()
	var de *relay.DialError
	if err := r.run(t.Context(), srv); !errors.As(err, &de) {
		t.Errorf("got %v", err)
	}
	if b := r.balance(); b.Remaining != 5 {
		t.Errorf("balance %+v", b)
	}
}

func TestPauseFromAnotherTerminal(t *testing.T) {
	r := newRig(t, 100)
	other, err := store.Open(t.Context(), r.path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	hold := make(chan struct{})
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "." && c.Message == 20 {
			if err := other.SetCampaignState(context.Background(), "news", store.CampaignPaused, ""); err != nil {
				t.Error(err)
			}
			close(hold)
		}
		if c.Verb == "." && c.Message >= 20 {
			return &mailtest.Reply{Wait: hold}
		}
		return nil
	}})
	if err := r.run(t.Context(), srv); !errors.Is(err, ErrPaused) {
		t.Errorf("got %v", err)
	}
	if b := r.balance(); b.Remaining == 0 || b.Uncertain != 0 {
		t.Errorf("balance %+v", b)
	}
	r.verify(srv)
}

// The disk is full from some moment on: what left is known or uncertain, within the bound, and nobody is sent twice.
func TestOutcomesThatCannotBeWritten(t *testing.T) {
	r := newRig(t, 100)
	var seen atomic.Int64
	broken := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "." && seen.Add(1) == 30 {
			r.sql("CREATE TRIGGER full BEFORE UPDATE ON deliveries BEGIN SELECT RAISE(ABORT, 'full'); END")
		}
		return nil
	}})
	if err := r.run(t.Context(), broken); err == nil {
		t.Fatal("no error")
	}
	r.sql("DROP TRIGGER full")
	_, doubtful, err := r.st.Acquire(t.Context(), r.campaign, "next", time.Minute, func(string) bool { return true }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if doubtful == 0 || doubtful > int64(2*r.connections) {
		t.Errorf("%d uncertain with %d connections", doubtful, r.connections)
	}
	r.verify(broken)
}

func TestTwoAtOnce(t *testing.T) {
	r := newRig(t, 200)
	hold := make(chan struct{})
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "." && c.Message == 10 {
			return &mailtest.Reply{Wait: hold}
		}
		return nil
	}})
	first := make(chan error, 1)
	go func() { first <- r.run(t.Context(), srv) }()
	for {
		c, err := r.st.Campaign(t.Context(), "news")
		if err != nil {
			t.Fatal(err)
		}
		if c.Holder != "" {
			break
		}
	}
	if err := r.run(t.Context(), srv); !errors.Is(err, store.ErrBusy) {
		t.Errorf("the second one: %v", err)
	}
	close(hold)
	if err := <-first; err != nil {
		t.Error(err)
	}
	r.verify(srv)
	if b := r.balance(); b.Accepted != 200 {
		t.Errorf("balance %+v", b)
	}
}
