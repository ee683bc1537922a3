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
	conn    *relay.Conn
	unwatch func() bool

	first, second *outgoing
	parked        *outgoing // taken, but its time has not come: not claimed
	again         int       // in a row: first is tried once more and nothing came of it
}

// loop sends until there is nothing more to claim, at first over a connection that is there (nil: none).
func (w *worker) loop(first *relay.Conn) {
	defer w.leave()
	if first != nil {
		w.use(first)
	} else if !w.connect() {
		return
	}
	for w.prepare() {
		w.deliver()
	}
}

// prepare sees to it that first is claimed and that there is a connection to carry it; false when the run ends.
func (w *worker) prepare() bool {
	for w.e.claiming.Err() == nil {
		if w.first == nil {
			if w.first = w.take(true); w.first == nil {
				return false
			}
			w.e.rec.submit(nil, w.first)
		}
		hold, claimed := w.confirm(w.first)
		switch {
		case !claimed:
			if w.drop(); hold.IsZero() {
				continue
			}
			w.giveBack() // the second must not wait claimed
			if !w.e.holdUntil(hold) {
				return false
			}
		case w.e.claiming.Err() != nil:
			return false
		case !w.fit():
			if w.giveBack(); !w.connect() {
				return false
			}
		case w.stale(w.first) || w.e.pausedFor() > 0: // after fit, which may have taken long
			w.putBack(w.first)
			w.drop()
		default:
			return true
		}
	}
	return false
}

// deliver sends first, offers second, and records what came of it.
func (w *worker) deliver() {
	if w.second == nil {
		if w.second = w.take(false); w.second != nil {
			w.e.rec.submit(nil, w.second)
		}
	}
	out := w.first
	a := w.conn.Send(&out.message, w.offer())
	if w.again++; a.Again && w.again <= mostAgain {
		return // the connection is used up: the same message goes over another one
	}
	w.again = 0
	if w.e.release != nil {
		w.e.release(out.message.Raw)
	}
	j := w.e.judge(a, out.due.Domain)
	d := delivery.Decide(a, j, out.attempt, w.e.retry)
	w.e.learn(a, j, d)
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

// mostAgain is after how many connections in a row that were used up before they carried a message the relay gets a pause.
const mostAgain = 3

// offer is what the relay may be told of before it is claimed: what will not be sent for sure is not among it.
func (w *worker) offer() *relay.Message {
	if w.second == nil || w.second.verdict != nil || w.second.due.Suppressed {
		return nil
	}
	return &w.second.message
}

// take returns the next composed message when the relay may have one now; with wait it waits for both. It returns nil when
// there is none, or claiming has ended.
func (w *worker) take(wait bool) *outgoing {
	out := w.parked
	w.parked = nil
	if out == nil {
		if out = w.e.composed(wait); out == nil {
			return nil
		}
		out.from = w.e.pace.reserve()
	}
	for {
		// Now, not before: a pause may have begun while nothing was ready.
		d := max(w.e.pausedFor(), time.Until(out.from))
		switch {
		case w.e.claiming.Err() != nil:
			w.e.returned(out.due.ID)
			return nil
		case d <= 0:
			return out
		case !wait:
			w.parked = out
			return nil
		}
		sleep(w.e.claiming, d)
	}
}

// confirm waits until the claim of a message is committed. What is not ours to send, or decided without the relay, is
// settled here: then it is not claimed. hold is set when a limit lets nothing through before that time.
func (w *worker) confirm(out *outgoing) (hold time.Time, claimed bool) {
	if out.attempt > 0 {
		return hold, true
	}
	got := <-out.answer
	switch {
	case got.err != nil:
		w.e.returned(out.due.ID)
		w.e.stopWith(got.err)
	case !got.claimed.NotUntil.IsZero():
		w.e.returned(out.due.ID)
		return got.claimed.NotUntil, false
	case got.claimed.Attempt == 0:
		// Suppressed since, or tried and deferred since, or another terminal cancelled it.
		if got.claimed.Excluded {
			w.e.counts.Excluded.Add(1)
		}
		w.e.returned(out.due.ID)
	default:
		out.attempt, out.claimed = got.claimed.Attempt, got.at
		if out.verdict == nil {
			return hold, true
		}
		w.e.counts.add(out.verdict.State)
		w.e.rec.submit(w.outcome(out, delivery.Attempt{Phase: delivery.PhaseCompose, Error: out.why}, *out.verdict), nil)
	}
	return hold, false
}

// drop lets go of first. A connection on which it was offered waits for its content, and can only be closed.
func (w *worker) drop() {
	if w.conn != nil && w.conn.Offered(&w.first.message) {
		w.hangUp()
	}
	w.first, w.second = w.second, nil
}

func (w *worker) outcome(out *outgoing, a delivery.Attempt, d delivery.Decision) *store.Outcome {
	return &store.Outcome{
		Delivery: out.due.ID, Key: out.due.Key, Campaign: w.e.campaign.ID, Attempt: out.attempt, Relay: w.e.relay,
		Phase: a.Phase, Reply: a.Reply, Text: a.Error, Decision: d,
	}
}

// putBack gives a claim back whose content was never on the wire: the delivery is as it was before.
func (w *worker) putBack(out *outgoing) {
	w.e.rec.submit(w.outcome(out, delivery.Attempt{}, delivery.Decision{}), nil)
}

// giveBack gives back all that is claimed.
func (w *worker) giveBack() {
	for w.first != nil {
		if _, claimed := w.confirm(w.first); claimed {
			w.putBack(w.first)
		}
		w.drop()
	}
}

// leave gives back what is in hand and hangs up.
func (w *worker) leave() {
	w.giveBack()
	if w.parked != nil {
		w.e.returned(w.parked.due.ID)
	}
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
	conn, err := w.e.dial(w.e.claiming)
	if err != nil {
		if mistaken(err) {
			w.e.stopWith(err) // trying again would only lock the account
		}
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

// connect dials until there is a connection; false when the run ends or this worker gives its place up.
func (w *worker) connect() bool {
	pause := w.e.firstPause
	for failures := 0; ; {
		if !sleep(w.e.claiming, w.e.pausedFor()) {
			return false
		}
		conn, err := w.e.dial(w.e.claiming)
		if err == nil {
			w.use(conn)
			return true
		}
		failures++
		if w.e.claiming.Err() != nil || !w.e.dialFailed(err, failures) || !sleep(w.e.claiming, pause) {
			return false
		}
		pause = min(2*pause, maxPause)
	}
}

// use takes a connection, whose socket is closed when the run is aborted (second signal).
func (w *worker) use(conn *relay.Conn) {
	w.conn = conn
	w.unwatch = context.AfterFunc(w.e.wire, conn.Abort)
	w.e.connected(1)
}

func (w *worker) hangUp() {
	if w.conn == nil {
		return
	}
	w.conn.Close()
	w.unwatch() // else every connection of a long run stays in memory
	w.conn = nil
	w.e.connected(-1)
}
