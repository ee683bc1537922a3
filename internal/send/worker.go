package send

import (
	"context"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// worker owns one connection. It has at most two deliveries in hand: first, which is claimed and goes on the wire, and
// second, whose claim is under way or made, and of which the relay is told with the last byte of first. The claim that
// takes the place of an outcome is committed with it, so at most these two are `sending` in the store at any moment.
type worker struct {
	e       *engine
	way     *way
	index   int // among the workers of its relay: the lower ones are the last to be sent home
	conn    *relay.Conn
	unwatch func() bool

	first, second *outgoing
	again         int // in a row: first is tried once more and nothing came of it
}

// loop sends until there is nothing more to claim. It connects before it takes anything: a relay that cannot be reached holds nobody's
// message.
func (w *worker) loop() {
	defer w.leave()
	if !w.connect() {
		return
	}
	for w.prepare() {
		w.deliver()
	}
}

// prepare sees to it that first is claimed, that its time has come and that there is a connection to carry it; false when the run ends.
func (w *worker) prepare() bool {
	for w.e.claiming.Err() == nil {
		if w.first == nil {
			if w.first = w.take(true); w.first == nil {
				if w.hangUp(); !w.connect() { // sent home: there are too many connections
					return false
				}
				continue
			}
			w.e.rec.submit(nil, w.first)
		}
		if !w.confirm(w.first) {
			w.drop()
			continue
		}
		wait := w.first.from.Sub(w.e.now())
		switch {
		case w.e.claiming.Err() != nil:
			return false
		case !w.fit():
			if w.giveBack(); !w.connect() {
				return false
			}
		case w.stale(w.first) || w.e.gate.shut(w.first): // after fit, which may have taken long
			w.putBack(w.first)
			w.drop()
		case wait > 0:
			sleep(w.e.claiming, min(wait, longestSlot))
		default:
			return true
		}
	}
	return false
}

// longestSlot is how long a worker waits for the slot of a message before it looks again: a clock that was set back must not keep it.
const longestSlot = time.Second

// deliver sends first, offers second, and records what came of it.
func (w *worker) deliver() {
	if w.second == nil {
		w.claim(w.take(false))
	}
	if w.second != nil && w.e.gate.tight(w.second) && !w.confirm(w.second) {
		w.second = nil
	}
	out := w.first
	began := time.Now()
	a := w.conn.Send(&out.message, w.offer())
	w.e.gate.finished(w.way, time.Since(began))
	if w.again++; a.Again && w.again <= mostAgain {
		return // the connection is used up: the same message goes over another one
	}
	w.again = 0
	if w.e.release != nil {
		w.e.release(out.message.Raw)
	}
	j := w.e.judge(a, out.due.Domain)
	d := delivery.Decide(a, j, out.attempt, w.e.retry)
	w.e.learn(w.way, out, a, j, d)
	w.e.counts.add(d.State)
	w.first, w.second = w.second, nil
	next := w.take(false)
	w.e.rec.submit(w.outcome(out, a, d), next)
	if w.first == nil {
		w.first = next
	} else {
		w.second = next
	}
}

// claim makes second of a message (nil: none) and asks for it.
func (w *worker) claim(out *outgoing) {
	if w.second = out; out != nil {
		w.e.rec.submit(nil, out)
	}
}

// mostAgain is after how many connections in a row that were used up before they carried a message the relay gets a pause.
const mostAgain = 3

// offer is what the relay may be told of before it is claimed: what will not be sent for sure is not among it.
func (w *worker) offer() *relay.Message {
	if w.second == nil || w.second.verdict != nil || w.second.due.Suppressed {
		return nil
	}
	return &w.second.message
}

// take returns the next message that may go; with wait it waits for one. It returns nil when there is none, when claiming has ended, and
// when there is no place any more for this worker.
func (w *worker) take(wait bool) *outgoing {
	if w.e.claiming.Err() != nil {
		return nil
	}
	return w.e.gate.take(w.e.claiming, w.way, w.index, wait)
}

// confirm waits until the claim of a message is committed, and reports whether it was. What is not ours to send, or decided without the
// relay, is settled here: then it is not claimed. What a limit does not let go yet goes back into its lane.
func (w *worker) confirm(out *outgoing) (claimed bool) {
	if out.attempt > 0 {
		return true
	}
	got := <-out.answer
	if !got.claimed.NotUntil.IsZero() && got.err == nil {
		w.unoffer(out)
		w.e.gate.refused(out, got.claimed.Limit, got.claimed.NotUntil)
		return false
	}
	w.e.gate.answered(out)
	switch {
	case got.err != nil:
		w.e.gate.returned(out.due.ID)
		w.e.stopWith(got.err)
	case got.claimed.Attempt == 0:
		// Suppressed since, or tried and deferred since, or another terminal cancelled it.
		if got.claimed.Excluded {
			w.e.counts.Excluded.Add(1)
		}
		w.e.gate.dropped(out.due.ID)
	default:
		out.attempt, out.claimed, out.from = got.claimed.Attempt, got.at, got.claimed.From
		if out.verdict == nil {
			return true
		}
		w.e.counts.add(out.verdict.State)
		w.e.rec.submit(w.outcome(out, delivery.Attempt{Phase: delivery.PhaseCompose, Error: out.why}, *out.verdict), nil)
	}
	return false
}

// drop lets go of first. A connection on which it was offered waits for its content, and can only be closed.
func (w *worker) drop() {
	w.unoffer(w.first)
	w.first, w.second = w.second, nil
}

func (w *worker) unoffer(out *outgoing) {
	if w.conn != nil && w.conn.Offered(&out.message) {
		w.hangUp()
	}
}

func (w *worker) outcome(out *outgoing, a delivery.Attempt, d delivery.Decision) *store.Outcome {
	return &store.Outcome{
		Delivery: out.due.ID, Key: out.due.Key, Campaign: w.e.campaign.ID, Attempt: out.attempt, Relay: w.way.name,
		Lane: out.lane.name, Slot: out.from, Phase: a.Phase, Reply: a.Reply, Text: a.Error, Decision: d,
	}
}

// putBack gives a claim back whose content was never on the wire: the delivery is as it was before.
func (w *worker) putBack(out *outgoing) {
	w.e.rec.submit(w.outcome(out, delivery.Attempt{}, delivery.Decision{}), nil)
}

// giveBack gives back all that is claimed.
func (w *worker) giveBack() {
	for w.first != nil {
		if w.confirm(w.first) {
			w.putBack(w.first)
		}
		w.drop()
	}
}

// leave gives back what is in hand and hangs up.
func (w *worker) leave() {
	w.giveBack()
	w.hangUp()
}

// stale reports whether a claim was made so long ago that another process may hold the lease by now: this one was
// suspended, or its relay took minutes over the message before. By the wall clock, as the lease: the monotonic one stands
// still while the machine sleeps.
func (w *worker) stale(out *outgoing) bool {
	return w.e.fresh > 0 && w.e.now().Round(0).Sub(out.claimed) > w.e.fresh
}

// fit reports whether the connection can carry first; one that has done its share is closed with QUIT.
func (w *worker) fit() bool {
	if w.conn != nil && w.conn.Usable() && (w.conn.Offered(&w.first.message) || !w.conn.Full() && w.awake()) {
		return true
	}
	w.hangUp()
	// The next message waits for nobody: a connection that was used up is replaced at once, a broken one too when the
	// relay is there.
	conn, err := w.way.dial(w.e.claiming)
	if err != nil {
		w.e.fitFailed(w.way, err)
		return false
	}
	w.use(conn)
	return true
}

// awake reports whether a connection that stood still is still there. Relays hang up after some minutes; found out with a
// message, that would look as if they refused us.
func (w *worker) awake() bool {
	return w.e.idle == 0 || w.conn.Idle() < w.e.idle || w.conn.Alive()
}

// connect dials until there is a connection, when there is a place for this worker; false when the run ends or this worker gives its
// place up.
func (w *worker) connect() bool {
	pause := w.e.firstPause
	for failures := 0; ; {
		if !w.e.gate.admitted(w.way, w.index) || !sleep(w.e.claiming, w.e.gate.pausedFor(w.way)) {
			return false
		}
		conn, err := w.way.dial(w.e.claiming)
		if err == nil {
			w.use(conn)
			return true
		}
		failures++
		if w.e.claiming.Err() != nil || !w.e.dialFailed(w.way, w.index, err, failures) || !sleep(w.e.claiming, pause) {
			return false
		}
		pause = min(2*pause, maxPause)
	}
}

// use takes a connection, whose socket is closed when the run is aborted (second signal).
func (w *worker) use(conn *relay.Conn) {
	w.conn = conn
	w.unwatch = context.AfterFunc(w.e.wire, conn.Abort)
	w.e.gate.connected(w.way, 1)
}

func (w *worker) hangUp() {
	if w.conn == nil {
		return
	}
	w.conn.Close()
	w.unwatch() // else every connection of a long run stays in memory
	w.conn = nil
	w.e.gate.connected(w.way, -1)
}
