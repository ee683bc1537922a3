package send

import (
	"context"

	"mailer/internal/delivery"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// worker owns one connection.
type worker struct {
	e    *engine
	conn *relay.Conn
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
			w.e.landed(out.due.ID)
			w.e.stopWith(err)
			return out, false
		case !got.NotUntil.IsZero():
			w.e.landed(out.due.ID)
			if !w.e.holdUntil(got.NotUntil) {
				return out, false
			}
			continue
		case got.Attempt == 0:
			// Suppressed since, or another terminal cancelled it.
			if got.Excluded {
				w.e.counts.Excluded.Add(1)
			}
			w.e.landed(out.due.ID)
			continue
		}
		out.attempt = got.Attempt
		if out.verdict == nil {
			return out, true
		}
		w.record(out, delivery.Attempt{Phase: delivery.PhaseCompose, Error: out.why}, *out.verdict)
	}
}

// deliver sends one claimed message and records what came of it.
func (w *worker) deliver(out outgoing) {
	a := w.conn.Send(out.envelope, out.raw)
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

// fit reports whether the connection can take another message; one that has done its share is closed with QUIT.
func (w *worker) fit() bool {
	if w.conn == nil {
		return false
	}
	if w.conn.Usable() && (w.e.perConn == 0 || w.conn.Sent() < w.e.perConn) {
		return true
	}
	w.hangUp()
	// The next message waits for nobody: a connection that was used up is replaced at once, a broken one too when the
	// relay is there.
	conn, err := w.e.dial(w.e.claiming)
	if err != nil {
		return false
	}
	w.conn = conn
	w.e.connected(1)
	w.watch()
	return true
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
	context.AfterFunc(w.e.wire, w.conn.Abort)
}

func (w *worker) hangUp() {
	if w.conn == nil {
		return
	}
	w.conn.Close()
	w.conn = nil
	w.e.connected(-1)
}
