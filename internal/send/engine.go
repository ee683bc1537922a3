package send

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"mailer/internal/contact"
	"mailer/internal/delivery"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// The engine, from left to right:
//
//	feeder -> composers -> workers (one relay connection each) -> recorder
//
// The feeder reads what is due. Composers render and sign on all cores, ahead of the connections. A worker claims a
// message (the intent is committed before its last byte leaves), sends it, and hands the outcome to the recorder with the
// next claim, so at most two deliveries a connection are `sending`. The recorder is the only one that writes.
//
// Two contexts: when claiming ends (signal, pause, limit) what is on the wire is finished; when wire ends too (second
// signal) the sockets are closed under it.
type engine struct {
	run         *store.Run
	campaign    store.Campaign
	fields      []contact.Field
	compose     func(store.Due) *outgoing
	release     func(raw []byte) // takes back the bytes of a message that is done; nil: nobody wants them
	dial        func(context.Context) (*relay.Conn, error)
	judge       func(delivery.Attempt, string) delivery.Judgement
	relay       string
	connections int
	limit       int64
	retry       []time.Duration
	waitUntil   time.Time // stay for deferred mail until then
	expires     time.Time // nothing deferred is tried after that
	pace        *pacer
	counts      *Counts
	now         func() time.Time
	firstPause  time.Duration // after a lane event, doubled each time up to maxPause
	fresh       time.Duration // a claim that is older is made again: the lease may have gone to another process since
	idle        time.Duration // a connection that stood still for longer is tried before it carries a message

	rec      *recorder
	jobs     chan store.Due
	ready    chan *outgoing
	swept    int64        // the last delivery that was read in this sweep
	unfed    atomic.Int32 // workers that wait for a composed message
	claiming context.Context
	wire     context.Context
	stopWith context.CancelCauseFunc
	wake     chan struct{}

	mu       sync.Mutex
	inFlight map[int64]bool
	lane     lane
	live     int // workers with a connection
	working  int // workers that have not given up
	fed      int64
}

// outgoing is one composed message on its way.
type outgoing struct {
	due       store.Due
	message   relay.Message
	messageID string
	verdict   *delivery.Decision // decided without the relay: it could not be composed, or the contact is gone
	why       string
	from      time.Time   // when the rates let it leave
	answer    chan answer // to its claim
	attempt   int         // 0: not claimed
	claimed   time.Time
}

// Reasons to stop before everybody was sent to. Each knows its exit code in the command.
var (
	ErrUnreachable = errors.New("the relay cannot be reached")
	ErrNotNow      = errors.New("the relay takes no mail at the moment")
	ErrRefused     = errors.New("the relay refuses this sender")
	ErrBlocked     = errors.New("the receiving side refuses us, not the addresses")
	ErrPaused      = errors.New("the campaign was paused")
	ErrCancelled   = errors.New("the campaign was cancelled")
	ErrLimit       = errors.New("a limit of messages is reached")
	errLimit       = errors.New("the limit of this run is reached")
	errDone        = errors.New("nothing is left")
)

// When the engine gives up on a relay.
const (
	maxPause         = time.Minute
	laneFailures     = 8  // lane events in a row without one message taken
	ourRefusals      = 20 // refusals in a row that are about us
	dialFailures     = 4  // of one worker, while others are connected
	queuePerWorker   = 4
	readAhead        = 500
	readRetries      = 100
	unreachableAfter = 5 // of one worker, when nobody is connected
)

// lane is how the relay takes our mail at the moment.
type lane struct {
	pause    time.Duration
	until    time.Time
	failures int // lane events in a row
	ours     int // refusals about us in a row
}

// work sends what is due until nothing is left or something stops it; the error says what.
func (e *engine) work(soft, hard context.Context) error {
	claiming, stop := context.WithCancelCause(soft)
	defer stop(nil)
	wire, cut := context.WithCancel(hard)
	defer cut()
	e.claiming, e.stopWith, e.wire = claiming, stop, wire
	e.jobs, e.ready = make(chan store.Due, e.connections), make(chan *outgoing, e.connections*queuePerWorker)
	e.wake, e.inFlight = make(chan struct{}, 1), map[int64]bool{}

	// The recorder comes first: it renews the lease while a relay that is slow to greet keeps us waiting.
	e.rec = newRecorder(e)
	recorded := make(chan error, 1)
	go func() { recorded <- e.rec.loop() }()
	first, err := e.dial(claiming)
	if err != nil {
		close(e.rec.in)
		<-recorded
		if cause := e.cause(); cause != nil {
			return cause
		}
		return err
	}

	var composing, sending sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		composing.Go(e.composeLoop)
	}
	e.working = e.connections
	for i := range e.connections {
		conn := first
		if i > 0 {
			conn = nil
		}
		sending.Go(func() {
			(&worker{e: e}).loop(conn)
			e.left()
		})
	}
	e.feed()
	close(e.jobs)
	composing.Wait()
	close(e.ready)
	sending.Wait()
	close(e.rec.in)
	if err := <-recorded; err != nil {
		return err
	}
	return e.cause()
}

// cause is why claiming ended; nil when everything was done.
func (e *engine) cause() error {
	err := context.Cause(e.claiming)
	if errors.Is(err, errDone) || errors.Is(err, errLimit) {
		return nil
	}
	return err
}

// feed reads what is due and hands it on until nothing is left to do now.
func (e *engine) feed() {
	for e.claiming.Err() == nil {
		e.mu.Lock()
		busy := len(e.inFlight)
		e.mu.Unlock()
		due, err := e.read(busy)
		if err != nil {
			e.stopWith(err)
			return
		}
		if e.hand(due) {
			continue
		}
		if !e.waitForMore(busy) {
			return
		}
	}
}

// read returns what is due: the deferred whose time has come, and the next of the others in one sweep over them. When
// everything in flight has landed the sweep begins anew, for what was put back behind it.
func (e *engine) read(busy int) ([]store.Due, error) {
	// Rows in flight still read as due until they are claimed: ask for that many more.
	var retries []store.Due
	if !e.now().After(e.expires) {
		var err error
		if retries, err = e.run.Retries(e.claiming, e.fields, store.Among{}, busy+readRetries); err != nil {
			return nil, err
		}
	}
	if busy == 0 {
		e.swept = 0
	}
	fresh, err := e.run.Fresh(e.claiming, e.fields, store.Among{}, e.swept, readAhead)
	if err != nil {
		return nil, err
	}
	if len(fresh) > 0 {
		e.swept = fresh[len(fresh)-1].ID
	}
	return append(retries, fresh...), nil
}

// hand passes on the deliveries that are not in flight yet, and reports whether there were any.
func (e *engine) hand(due []store.Due) bool {
	any := false
	for _, d := range due {
		e.mu.Lock()
		known := e.inFlight[d.ID]
		e.inFlight[d.ID] = true
		e.mu.Unlock()
		if known {
			continue
		}
		if !e.within() {
			e.forget(d.ID)
			return any
		}
		any = true
		select {
		case e.jobs <- d:
		case <-e.claiming.Done():
			e.returned(d.ID)
			return true
		}
	}
	return any
}

// waitForMore waits until something in flight lands or a deferred delivery is due; false when nothing more will come in
// this run.
func (e *engine) waitForMore(busy int) bool {
	if busy > 0 {
		select {
		case <-e.wake:
			return true
		case <-e.claiming.Done():
			return false
		}
	}
	if e.full() {
		e.stopWith(errLimit)
		return false
	}
	next, waiting, err := e.run.NextDue(e.claiming)
	if err != nil {
		e.stopWith(err)
		return false
	}
	pause := next.Sub(e.now())
	// The pause is held against the time that is left: a clock that was set back must not keep us.
	if !waiting || pause > 0 && pause > time.Until(e.waitUntil) || e.tooLate(next) {
		e.stopWith(errDone)
		return false
	}
	return sleep(e.claiming, pause)
}

// tooLate reports whether the campaign's time is over before a deferred delivery's next try. Zero is none: it was put back.
func (e *engine) tooLate(next time.Time) bool {
	return !next.IsZero() && (next.After(e.expires) || e.now().After(e.expires))
}

// within counts one more delivery towards the limit of the run, and reports whether it is within it.
func (e *engine) within() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.limit > 0 && e.fed >= e.limit {
		return false
	}
	e.fed++
	return true
}

func (e *engine) full() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.limit > 0 && e.fed >= e.limit
}

// returned takes a delivery out of flight that was not tried: it does not count towards the limit. What was read as due
// may have been sent by the time it is claimed.
func (e *engine) returned(id int64) {
	e.mu.Lock()
	e.fed--
	e.mu.Unlock()
	e.landed(id)
}

// settled takes a delivery out of flight whose outcome is committed; one that was put back was not tried.
func (e *engine) settled(o store.Outcome) {
	if o.Decision.State == "" {
		e.returned(o.Delivery)
		return
	}
	e.landed(o.Delivery)
}

// landed takes a delivery out of flight: its outcome is committed, or it goes back.
func (e *engine) landed(id int64) {
	e.forget(id)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *engine) forget(id int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.inFlight, id)
}

func (e *engine) composeLoop() {
	for d := range e.jobs {
		out := e.compose(d)
		select {
		case e.ready <- out:
		case <-e.claiming.Done():
			e.returned(d.ID)
		}
	}
}

// composed returns a message that is ready to leave; nil when there is none, or with wait when claiming has ended.
func (e *engine) composed(wait bool) *outgoing {
	if !wait {
		select {
		case out := <-e.ready:
			return out
		default:
			return nil
		}
	}
	e.unfed.Add(1)
	defer e.unfed.Add(-1)
	select {
	case out := <-e.ready:
		return out
	case <-e.claiming.Done():
		return nil
	}
}

func (e *engine) pausedFor() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Until(e.lane.until)
}

// learn keeps the lane's state after an attempt, and stops the run when the relay has had enough of us.
func (e *engine) learn(a delivery.Attempt, j delivery.Judgement, d delivery.Decision) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := &e.lane
	switch {
	case d.State == delivery.Accepted:
		*l = lane{}
	case d.Stop:
		e.stopWith(fmt.Errorf("%w: it said %q to %s; nobody was marked", ErrRefused, a.Reply, phaseCommand(a.Phase)))
	case d.Lane && d.State != delivery.Uncertain && time.Now().Before(l.until):
		// A relay that restarts says goodbye on every connection: that is one event. A message in doubt always counts.
	case d.Lane:
		l.failures++
		l.pause = min(max(2*l.pause, e.firstPause), maxPause)
		l.until = time.Now().Add(l.pause)
		if l.failures >= laneFailures {
			e.stopWith(fmt.Errorf("%w: %s", ErrNotNow, said(a)))
		}
	case d.State == delivery.Failed && j.Ours:
		if l.ours++; l.ours >= ourRefusals {
			e.stopWith(fmt.Errorf("%w: %d in a row, the last one %q; see FROM, DKIM, SPF and the relay's reputation, then use --retry failed", ErrBlocked, l.ours, a.Reply))
		}
	case d.State == delivery.Failed:
		l.ours = 0
	}
}

// dialFailed decides what a worker does that cannot connect: try again, give its place up to the others, or stop the run.
func (e *engine) dialFailed(err error, mine int) (again bool) {
	if mistaken(err) {
		e.stopWith(err)
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.live > 0 {
		// The relay may simply allow fewer connections than were asked for.
		return mine < dialFailures
	}
	// Not those of all together: they dial at once, and would give a relay that restarts no time.
	if mine >= unreachableAfter {
		e.stopWith(fmt.Errorf("%w: %w", ErrUnreachable, err))
		return false
	}
	return true
}

// mistaken reports whether a connection cannot be had until the configuration is mended.
func mistaken(err error) bool {
	var de *relay.DialError
	return errors.As(err, &de) && de.Config
}

// shortHold is how long a run stays for a limit to let more through; for longer it ends, and the next run goes on.
const shortHold = time.Minute

// holdUntil waits for a limit, or ends the run when that takes too long.
func (e *engine) holdUntil(at time.Time) bool {
	pause := at.Sub(e.now())
	if pause > shortHold && pause > time.Until(e.waitUntil) {
		e.stopWith(fmt.Errorf("%w: more can be sent from %s on", ErrLimit, at.Format("2006-01-02 15:04")))
		return false
	}
	// A moment is added for clocks that do not agree; without it a hold of zero would spin.
	return sleep(e.claiming, max(pause, 0)+50*time.Millisecond)
}

func (e *engine) connected(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.live += n
}

// left notes that a worker has ended. The last one ends the run, if nothing else has.
func (e *engine) left() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.working--; e.working == 0 {
		e.stopWith(ErrUnreachable)
	}
}

func said(a delivery.Attempt) string {
	if a.Lost {
		return a.Error
	}
	return fmt.Sprintf("it said %q to %s", a.Reply, phaseCommand(a.Phase))
}

func phaseCommand(p delivery.Phase) string {
	switch p {
	case delivery.PhaseMail:
		return "MAIL FROM"
	case delivery.PhaseRcpt:
		return "RCPT TO"
	case delivery.PhaseData:
		return "DATA"
	case delivery.PhaseDot:
		return "the end of the message"
	}
	return string(p)
}

// sleep waits and reports whether the context is still good.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
