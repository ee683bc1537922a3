package send

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"mailer/internal/address"
	"mailer/internal/config"
	"mailer/internal/delivery"
	"mailer/internal/relay"
)

// BenchRequest is how a relay is to be measured.
type BenchRequest struct {
	Relay       config.Relay
	To          string
	Messages    int // of each run
	Size        int // of each message, in bytes
	Connections int // at most; 0: as configured
}

// BenchRun is one measurement.
type BenchRun struct {
	Connections  int     `json:"connections"`
	Pipelining   bool    `json:"pipelining"`
	Accepted     int     `json:"accepted"`
	Refused      int     `json:"refused"` // every reply that was no 2xx, and connections that broke
	Seconds      float64 `json:"seconds"`
	PerSecond    float64 `json:"per_second"`
	PerRoundTrip float64 `json:"per_round_trip"` // messages a round trip and connection
}

// BenchResult is what a bench found out, if need be up to the moment at which it was stopped.
type BenchResult struct {
	Relay       string     `json:"relay"`
	Host        string     `json:"host"`
	RoundTrip   float64    `json:"round_trip_ms"`
	Runs        []BenchRun `json:"runs"`
	Accepted    int        `json:"accepted"`
	Connections int        `json:"recommended_connections"` // 0: nothing was learned
	Pipelining  bool       `json:"recommended_pipelining"`
	PerSecond   float64    `json:"per_second"` // of the recommendation
	Stopped     string     `json:"stopped"`    // why the bench ended early
	OK          bool       `json:"ok"`
}

// Runs are the measurements to be made: more and more connections, with pipelining and without.
func (r BenchRequest) Runs(pipelining bool) []BenchRun {
	most := r.Connections
	if most == 0 {
		most = r.Relay.Connections
	}
	var all []BenchRun
	add := func(n int) {
		if pipelining {
			all = append(all, BenchRun{Connections: n, Pipelining: true})
		}
		all = append(all, BenchRun{Connections: n})
	}
	for n := 1; n < most; n *= 2 {
		add(n)
	}
	add(most)
	return all
}

// Most is how many messages a bench sends at most.
func (r BenchRequest) Most() int {
	return len(r.Runs(r.Relay.Pipelining != config.PipeliningOff)) * r.Messages
}

// Check refuses what must not be measured, before anything is connected to.
func (r BenchRequest) Check() error {
	to, err := address.Parse(r.To)
	if err != nil {
		return &UsageError{fmt.Sprintf("--to: %v", err)}
	}
	for _, name := range []string{r.Relay.Host, to.Domain()} {
		if p := ownerOf(name); p != "" {
			return &ProviderError{name, p}
		}
	}
	return nil
}

// BenchRelay measures how fast a relay takes mail. It stops at the first reply that is no 2xx, with what it has learned
// until then. tell hears each run.
func (s *Sender) BenchRelay(ctx context.Context, r BenchRequest, tell func(BenchRun)) (BenchResult, error) {
	res := BenchResult{Relay: r.Relay.Name, Host: r.Relay.Host, Runs: []BenchRun{}}
	if err := r.Check(); err != nil {
		return res, err
	}
	to, err := address.Parse(r.To)
	if err != nil {
		return res, err
	}
	r.To = to.Text
	from, err := address.Parse(s.Workspace.Config.Sender.From)
	if err != nil {
		return res, &UsageError{"the messages need a sender: set sender.from in mailer.yaml"}
	}
	server, err := s.server(r.Relay)
	if err != nil {
		return res, err
	}
	b := &bench{request: r, from: from, mark: trial(), now: s.Now,
		dialers: map[bool]*relay.Dialer{server.Pipelining: relay.NewDialer(server)}}
	profile, conn, err := b.dialers[server.Pipelining].Probe(ctx, func(relay.Step) {})
	if err != nil {
		return res, err
	}
	conn.Close()
	if p := shared(profile); p != "" {
		return res, &ProviderError{r.Relay.Host, p}
	}
	if server.Pipelining {
		server.Pipelining = false
		b.dialers[false] = relay.NewDialer(server)
	}
	res.RoundTrip = millis(profile.RoundTrip)
	for _, run := range r.Runs(profile.Pipelined) {
		run, err = b.run(ctx, run)
		run.PerRoundTrip = round(run.PerSecond * profile.RoundTrip.Seconds() / float64(run.Connections))
		res.Accepted += run.Accepted
		if run.Accepted+run.Refused > 0 {
			res.Runs = append(res.Runs, run)
			tell(run)
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if err != nil {
			break
		}
	}
	res.recommend()
	if err != nil && ctx.Err() == nil {
		res.Stopped, err = err.Error(), nil
	}
	res.OK = err == nil && res.Stopped == ""
	return res, err
}

// recommend picks the least connections that come near the best rate; each more costs the relay, and gains nothing. Runs in
// which something was refused were too much.
func (r *BenchResult) recommend() {
	const near = 0.9
	best := 0.0
	for _, run := range r.Runs {
		if run.Refused == 0 {
			best = max(best, run.PerSecond)
		}
	}
	for _, run := range r.Runs {
		if run.Refused == 0 && run.Accepted > 0 && run.PerSecond >= near*best {
			r.Connections, r.Pipelining, r.PerSecond = run.Connections, run.Pipelining, run.PerSecond
			return
		}
	}
}

// bench is one relay being measured.
type bench struct {
	request BenchRequest
	from    address.Address
	mark    int64 // of the Message-IDs
	now     func() time.Time
	dialers map[bool]*relay.Dialer // by pipelining
	made    atomic.Int64
}

// runTime bounds a run: one connection without pipelining to a relay far away takes very long for many messages.
const runTime = 30 * time.Second

// run sends the messages of one run over its connections, which are dialled before the clock starts. The error says why
// the bench must stop.
func (b *bench) run(ctx context.Context, r BenchRun) (BenchRun, error) {
	var conns []*relay.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for len(conns) < r.Connections {
		c, err := b.dialers[r.Pipelining].Dial(ctx)
		if err != nil {
			return r, fmt.Errorf("connection %d of %d: %w", len(conns)+1, r.Connections, err)
		}
		conns = append(conns, c)
	}
	began := time.Now()
	load := &load{bench: b, left: b.request.Messages, until: began.Add(runTime)}
	var all sync.WaitGroup
	for i := range conns {
		all.Go(func() { conns[i] = load.carry(ctx, conns[i], b.dialers[r.Pipelining]) })
	}
	all.Wait()
	took := time.Since(began)
	r.Accepted, r.Refused, r.Seconds = load.accepted, load.refused, round(took.Seconds())
	r.PerSecond = round(float64(load.accepted) / took.Seconds())
	return r, load.stopped
}

// load is what is left of a run, shared by its connections.
type load struct {
	bench *bench
	until time.Time

	mu                sync.Mutex
	left              int
	accepted, refused int
	stopped           error
}

// next takes a message off the load; nil when the run ends.
func (l *load) next(ctx context.Context) *relay.Message {
	if !l.take(ctx) {
		return nil
	}
	return l.bench.message()
}

func (l *load) take(ctx context.Context) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == 0 || l.stopped != nil || ctx.Err() != nil || time.Now().After(l.until) {
		return false
	}
	l.left--
	return true
}

// carry sends over one connection, and over those that replace it when it has done its share. It returns the last one.
func (l *load) carry(ctx context.Context, c *relay.Conn, d *relay.Dialer) *relay.Conn {
	stop := context.AfterFunc(ctx, c.Abort)
	defer func() { stop() }()
	taken := 0
	for m := l.next(ctx); m != nil; {
		var following *relay.Message
		if c.Left() > 1 {
			following = l.next(ctx)
		}
		if !l.send(ctx, c, m, following, taken) {
			c.Abort() // the one that follows may have been begun, and is not to be sent
			return c
		}
		taken++
		if m = following; m != nil {
			continue
		}
		if m = l.next(ctx); m == nil || !c.Full() {
			continue
		}
		c.Close()
		stop()
		again, err := d.Dial(ctx)
		if err != nil {
			l.stop(fmt.Errorf("a connection that had done its share could not be replaced: %w", err))
			return c
		}
		c, taken = again, 0
		stop = context.AfterFunc(ctx, c.Abort)
	}
	return c
}

// send sends one message, and reports whether it was taken. taken are those before it on this connection.
func (l *load) send(ctx context.Context, c *relay.Conn, m, following *relay.Message, taken int) bool {
	a := c.Send(m, following)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case a.Accepted():
		l.accepted++
		return true
	case ctx.Err() == nil:
		l.refused++
		l.stopped = cmp.Or(l.stopped, refusal(a, taken))
	}
	return false
}

// refusal says why a bench ends. A connection that ends between two messages has done its share.
func refusal(a delivery.Attempt, taken int) error {
	if a.Phase == delivery.PhaseMail && (a.Lost || a.Reply.Code == 421) && taken > 0 {
		return fmt.Errorf("a connection ended after %d messages (%s): set messages_per_connection: %d and measure again", taken, said(a), taken)
	}
	return errors.New(said(a))
}

func (l *load) stop(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = cmp.Or(l.stopped, err)
}

// message makes one message of the wanted size. It is not signed: the relay is measured, not this machine.
func (b *bench) message() *relay.Message {
	n := b.made.Add(1)
	e := relay.Envelope{From: address.Wire(b.from.Text), To: address.Wire(b.request.To)}
	e.SMTPUTF8 = !ascii(e.From + e.To)
	var w bytes.Buffer
	w.Grow(b.request.Size + 512)
	fmt.Fprintf(&w, "From: <%s>\r\nTo: <%s>\r\nSubject: mailer relay bench, message %d\r\nDate: %s\r\nMessage-ID: <bench.%x.%d@%s>\r\n",
		e.From, e.To, n, b.now().Format(time.RFC1123Z), b.mark, n, b.from.Domain())
	w.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\nAuto-Submitted: auto-generated\r\n\r\n")
	const line = "This message measures how fast a mail server takes mail. It may be deleted.\r\n"
	for w.Len() < b.request.Size {
		rest := max(2, b.request.Size-w.Len())
		w.WriteString(line[max(0, len(line)-rest):])
	}
	return &relay.Message{Envelope: e, Raw: w.Bytes()}
}
