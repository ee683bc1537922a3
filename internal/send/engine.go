package send

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"mailer/internal/contact"
	"mailer/internal/delivery"
	"mailer/internal/pace"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// The engine, from left to right:
//
//	feeder -> composers -> gate -> workers (one relay connection each) -> recorder
//
// The feeder reads what is due into lanes, one for each receiving provider. Composers render and sign on all cores, ahead of the
// connections. The gate decides which message goes next, by which relay and when. A worker claims a message (the intent is committed
// before its last byte leaves, and the limits of all processes are counted with it), sends it, and hands the outcome to the recorder
// with the next claim, so at most two deliveries a connection are `sending`. The recorder is the only one that writes.
//
// Two contexts: when claiming ends (signal, pause, limit) what is on the wire is finished; when wire ends too (second
// signal) the sockets are closed under it.
type engine struct {
	run          *store.Run
	campaign     store.Campaign
	fields       []contact.Field
	compose      func(store.Due) *outgoing
	release      func(raw []byte) // takes back the bytes of a message that is done; nil: nobody wants them
	judge        func(delivery.Attempt, string) delivery.Judgement
	gate         *gate
	guard        *guard  // nil: nothing is watched
	sample       []int64 // of a canary: only these are sent; nil: everybody
	onlyDeferred bool    // of the others none
	retry        []time.Duration
	waitUntil    time.Time // stay for deferred mail until then
	expires      time.Time // nothing deferred is tried after that
	notAfter     time.Time // nothing at all is sent after that; zero: no such time
	counts       *Counts
	now          func() time.Time
	warn         func(string)
	froze        func(store.Freeze) // nil: nobody listens
	firstPause   time.Duration      // after a relay's wish for one, doubled each time up to maxPause
	fresh        time.Duration      // a claim that is older is made again: the lease may have gone to another process since
	idle         time.Duration      // a connection that stood still for longer is tried before it carries a message

	rec       *recorder
	retriesAt time.Time // when the deferred are looked at again
	sampled   int       // how many of the sample were read
	claiming  context.Context
	wire      context.Context
	stopWith  context.CancelCauseFunc
	wake      chan struct{} // of the feeder

	working int                   // workers that have not given up; under the gate's lock
	unsaved map[string]*pace.Lane // states that are to be kept, by the names they have in the store, likewise
	resumed time.Time             // when a person last said that the campaign is to go on
	heard   int64                 // the last event of the mailbox that was looked at
	hearAt  time.Time
}

// outgoing is one composed message on its way.
type outgoing struct {
	due       store.Due
	lane      *lane
	way       *way
	sender    string      // From's address
	routes    []string    // the relays that may carry it; nil: any
	share     *pace.Split // among them
	message   relay.Message
	messageID string
	verdict   *delivery.Decision // decided without the relay: it could not be composed, or the contact is gone
	why       string
	answer    chan answer // to its claim
	attempt   int         // 0: not claimed
	claimed   time.Time
	from      time.Time // when the limits let it leave
}

// Reasons to stop before everybody was sent to. Each knows its exit code in the command.
var (
	ErrUnreachable = errors.New("the relay cannot be reached")
	ErrNotNow      = errors.New("no mail is taken at the moment")
	ErrRefused     = errors.New("the relay refuses this sender")
	ErrBlocked     = errors.New("the receiving side refuses us, not the addresses")
	ErrPaused      = errors.New("the campaign was paused")
	ErrCancelled   = errors.New("the campaign was cancelled")
	ErrLimit       = errors.New("a limit of messages is reached")
	ErrClosed      = errors.New("mail may not go at this hour")
	ErrHeld        = errors.New("the rest waits for what becomes of the first ones")
	ErrTripped     = errors.New("stopped for safety")
	errLimit       = errors.New("the limit of this run is reached")
	errDone        = errors.New("nothing is left")
)

const (
	readAhead   = 500
	readRetries = 100
	readEvery   = time.Second // the deferred, while there is other mail
)

// work sends what is due until nothing is left or something stops it; the error says what.
func (e *engine) work(soft, hard context.Context) error {
	claiming, stop := context.WithCancelCause(soft)
	defer stop(nil)
	wire, cut := context.WithCancel(hard)
	defer cut()
	e.claiming, e.stopWith, e.wire = claiming, stop, wire
	e.wake, e.unsaved = make(chan struct{}, 1), map[string]*pace.Lane{}
	g := e.gate
	g.wake = e.nudge
	closed := context.AfterFunc(claiming, g.close)
	defer func() { closed(); g.close() }()

	// The recorder comes first: it renews the lease while a relay that is slow to greet keeps us waiting.
	e.rec = newRecorder(e)
	recorded := make(chan error, 1)
	go func() { recorded <- e.rec.loop() }()

	var composing, sending sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		composing.Go(e.composeLoop)
	}
	for _, w := range g.ways {
		e.working += w.connections
	}
	for _, w := range g.ways {
		for i := range w.connections {
			sending.Go(func() {
				(&worker{e: e, way: w, index: i}).loop()
				e.left()
			})
		}
	}
	e.feed()
	composing.Wait()
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

// nudge wakes the feeder.
func (e *engine) nudge() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *engine) composeLoop() {
	for {
		d, ok := e.gate.job()
		if !ok {
			return
		}
		e.gate.composed(e.compose(d))
	}
}

// left notes that a worker has ended. The last one ends the run, if nothing else has.
func (e *engine) left() {
	e.gate.mu.Lock()
	defer e.gate.mu.Unlock()
	if e.working--; e.working == 0 {
		e.stopWith(ErrUnreachable)
	}
}

// keep marks the state of a lane to be kept for other runs.
func (e *engine) keep(l *lane) { e.unsaved[laneScope(l.name)] = &l.state }

// keepWay does so with that of a relay.
func (e *engine) keepWay(w *way) { e.unsaved[relayScope(w.name)] = &w.state }

// takeUnsaved returns the states that are to be kept, by the names they have in the store.
func (e *engine) takeUnsaved() map[string]pace.Lane {
	e.gate.mu.Lock()
	defer e.gate.mu.Unlock()
	if len(e.unsaved) == 0 {
		return nil
	}
	states := map[string]pace.Lane{}
	for name, state := range e.unsaved {
		states[name] = *state
	}
	clear(e.unsaved)
	return states
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

// mistaken reports whether a connection cannot be had until the configuration is mended.
func mistaken(err error) bool {
	var de *relay.DialError
	return errors.As(err, &de) && de.Config
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
