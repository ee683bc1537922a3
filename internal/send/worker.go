package send

import (
	"context"

	"mailer/internal/delivery"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// worker owns one connection.
type worker struct {
	e       *engine
	conn    *relay.Conn
	unwatch func() bool
}

// loop sends until there is nothing more to claim. While a message waits for its reply the next one is claimed.
func (w *worker) loop() {
	defer w.hangUp()
	if w.conn != nil {
		w.e.connected(1)
		w.watch()
	} else if !w.connect() {
		return
	}
	next, ok := w.claim()
	for ok {
		if w.e.claiming.Err() != nil {
			w.putBack(next)
			return
		}
		if !w.fit() {
			w.putBack(next)
			if !w.connect() {
				return
			}
			next, ok = w.claim()
			continue
		}
		if w.stale(next) {
			w.putBack(next)
			next, ok = w.claim()
			continue
		}
		following := make(chan claimResult, 1)
		go func() {
			out, ok := w.claim()
			following <- claimResult{out, ok}
		}()
		w.deliver(next)
		r := <-following
		next, ok = r.out, r.ok
	}
}

type claimResult struct {
	out outgoing
	ok  bool
}

// claim takes the next message and commits the intent to send it. What is decided without the relay is settled here.
func (w *worker) claim() (outgoing, bool) {
	for {
		out, ok := w.e.take()
		if !ok {
			return out, false
		}
		got, err := w.e.rec.claim(store.Claim{Delivery: out.due.ID, Relay: w.e.relay, MessageID: out.messageID})
		switch {
		case err != nil:
			w.e.returned(out.due.ID)
			w.e.stopWith(err)
			return out, false
		case !got.NotUntil.IsZero():
			w.e.returned(out.due.ID)
			if !w.e.holdUntil(got.NotUntil) {
				return out, false
			}
			continue
		case got.Attempt == 0:
			// Suppressed since, or another terminal cancelled it.
			if got.Excluded {
				w.e.counts.Excluded.Add(1)
			}
			w.e.returned(out.due.ID)
			continue
		}
		out.attempt, out.claimed = got.Attempt, w.e.now().Round(0)
		if out.verdict == nil {
			return out, true
		}
		w.record(out, delivery.Attempt{Phase: delivery.PhaseCompose, Error: out.why}, *out.verdict)
	}
}

// deliver sends one claimed message and records what came of it.
func (w *worker) deliver(out outgoing) {
	a := w.conn.Send(&relay.Message{Envelope: out.envelope, Raw: out.raw}, nil)
	j := w.e.judge(a, out.due.Domain)
	d := delivery.Decide(a, j, out.attempt, w.e.retry)
	w.e.learn(a, j, d, w.conn.Sent())
	w.record(out, a, d)
}

func (w *worker) record(out outgoing, a delivery.Attempt, d delivery.Decision) {
	w.e.counts.add(d.State)
	w.e.rec.settle(store.Outcome{
		Delivery: out.due.ID, Key: out.due.Key, Campaign: w.e.campaign.ID, Attempt: out.attempt, Relay: w.e.relay,
		Phase: a.Phase, Reply: a.Reply, Text: a.Error, Decision: d,
	})
}

// putBack gives a claim back that was never on the wire: the delivery is as it was before.
func (w *worker) putBack(out outgoing) {
	w.record(out, delivery.Attempt{}, delivery.Decision{})
}

// stale reports whether a claim was made so long ago that another process may hold the lease by now: this one was
// suspended, or its relay took minutes over the message before. By the wall clock, as the lease: the monotonic one stands
// still while the machine sleeps.
func (w *worker) stale(out outgoing) bool {
	return w.e.fresh > 0 && w.e.now().Round(0).Sub(out.claimed) > w.e.fresh
}

// fit reports whether the connection can take another message; one that has done its share is closed with QUIT.
func (w *worker) fit() bool {
	if w.conn == nil {
		return false
	}
	if w.conn.Usable() && (w.e.perConn == 0 || w.conn.Sent() < w.e.perConn) && w.awake() {
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
	w.conn = conn
	w.e.connected(1)
	w.watch()
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
			w.conn = conn
			w.e.connected(1)
			w.watch()
			return true
		}
		failures++
		if w.e.claiming.Err() != nil || !w.e.dialFailed(err, failures) || !sleep(w.e.claiming, pause) {
			return false
		}
		pause = min(2*pause, maxPause)
	}
}

// watch closes the socket when the run is aborted (second signal).
func (w *worker) watch() {
	w.unwatch = context.AfterFunc(w.e.wire, w.conn.Abort)
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
