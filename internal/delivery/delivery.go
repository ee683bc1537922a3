// Package delivery holds the life of one message to one person: its states, what each reply of a relay means for it, and
// the signed tokens that lead a bounce back to it.
//
// Why a row per recipient with explicit states: "finished" is then a count, never arithmetic, and a process that dies
// leaves behind what it knew. Why `uncertain`: when the connection is lost between the final dot and its reply, nobody
// can know whether the relay took the message (RFC 1047). Sending again may double it, dropping it may lose it; so it is
// shown, and a person, a bounce or a click decides.
package delivery

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// State of a delivery. The same list stands as a CHECK in the table.
type State string

// The states.
//
//	pending -> sending -> accepted | deferred | failed | uncertain      excluded beside them
//	deferred -> sending;  accepted -> bounced | complained when the mailbox says so
const (
	Pending    State = "pending"
	Sending    State = "sending"   // the intent is committed, the outcome is not known yet
	Accepted   State = "accepted"  // 2xx to the final dot: the relay is responsible now (RFC 5321 section 4.2.5)
	Deferred   State = "deferred"  // 4xx or lost before the dot: tried again at NextTry
	Failed     State = "failed"    // 5xx, expired, or the message could not be made
	Uncertain  State = "uncertain" // lost between the dot and its reply
	Excluded   State = "excluded"  // suppressed or gone: never to be sent, with the reason
	Bounced    State = "bounced"
	Complained State = "complained"
)

var states = []State{Pending, Sending, Accepted, Deferred, Failed, Uncertain, Excluded, Bounced, Complained}

// States returns all states in the order people read them.
func States() []State { return append([]State(nil), states...) }

// Valid reports whether s is one of the states.
func (s State) Valid() bool {
	for _, have := range states {
		if s == have {
			return true
		}
	}
	return false
}

// Balance counts the deliveries of a campaign. Planned = Accepted + Deferred + Failed + Excluded + Uncertain + Remaining
// holds always; Balanced checks it against a count of its own.
type Balance struct {
	Planned   int64 `json:"planned"`
	Accepted  int64 `json:"accepted"` // what bounced or complained later was accepted
	Deferred  int64 `json:"deferred"`
	Failed    int64 `json:"failed"`
	Excluded  int64 `json:"excluded"`
	Uncertain int64 `json:"uncertain"`
	Remaining int64 `json:"remaining"` // pending and sending
}

// Add counts n deliveries in a state. Planned is not touched: it is counted for itself.
func (b *Balance) Add(s State, n int64) {
	switch s {
	case Accepted, Bounced, Complained:
		b.Accepted += n
	case Deferred:
		b.Deferred += n
	case Failed:
		b.Failed += n
	case Excluded:
		b.Excluded += n
	case Uncertain:
		b.Uncertain += n
	case Pending, Sending:
		b.Remaining += n
	}
}

// Balanced reports whether everybody who was planned is accounted for.
func (b Balance) Balanced() bool {
	return b.Planned == b.Accepted+b.Deferred+b.Failed+b.Excluded+b.Uncertain+b.Remaining
}

// String is the balance as people read it.
func (b Balance) String() string {
	return fmt.Sprintf("%d planned = %d accepted + %d deferred + %d failed + %d excluded + %d uncertain + %d remaining",
		b.Planned, b.Accepted, b.Deferred, b.Failed, b.Excluded, b.Uncertain, b.Remaining)
}

// Phase is the step of an SMTP session at which something happened.
type Phase string

// The phases.
const (
	PhaseConnect  Phase = "connect"
	PhaseHello    Phase = "ehlo"
	PhaseStartTLS Phase = "starttls"
	PhaseAuth     Phase = "auth"
	PhaseMail     Phase = "mail"
	PhaseRcpt     Phase = "rcpt"
	PhaseData     Phase = "data"    // the DATA command and the body, before the final dot
	PhaseDot      Phase = "dot"     // after the final dot was written
	PhaseCompose  Phase = "compose" // before any command: the message could not be made
)

// Reply is what the relay said: basic code, enhanced code (RFC 2034) when there is one, and the text of all lines.
type Reply struct {
	Code     int
	Enhanced string
	Text     string
}

func (r Reply) String() string { return r.Text }

// Attempt is how one try at a message ended.
type Attempt struct {
	Phase Phase
	Reply Reply // zero when the connection was lost or the message was never on the wire
	Lost  bool  // the connection broke or timed out in this phase
	Error string
	Again bool // nobody's fault and nothing left: the same message may be tried on another connection at once
}

// Accepted reports whether the relay took responsibility.
func (a Attempt) Accepted() bool {
	return a.Phase == PhaseDot && !a.Lost && a.Reply.Code/100 == 2
}

// Judgement is what the reply classifier says of a refusal.
type Judgement struct {
	Reason string // the taxonomy of package bounce
	Hard   bool   // the address itself is dead
	Ours   bool   // about our host, domain or relay, not about the recipient
	Slow   bool   // the receiving side wants less of our mail for now
}

// Decision is what follows from an attempt.
type Decision struct {
	State   State         // the delivery's next state; empty when the attempt does not count and the delivery goes back as it was
	Reason  string        // why, in one word of the taxonomy
	NextTry time.Duration // from now, when deferred
	Hard    bool          // suppress the address in the same transaction
	Lane    bool          // the relay wants a pause: nobody's fault, slow down or reconnect
	Stop    bool          // the relay refuses us: stop the run
}

// Decide says what an attempt means (RFC 5321 section 4.2.1: the first digit decides, the phase says who is meant).
// attempts counts this one; wait is the schedule of pauses after a 4xx.
func Decide(a Attempt, j Judgement, attempts int, wait []time.Duration) Decision {
	switch {
	case a.Accepted():
		return Decision{State: Accepted}
	case a.Phase == PhaseCompose:
		return Decision{State: Failed, Reason: "compose"}
	case a.Lost:
		return lost(a.Phase, attempts, wait)
	case beforeRecipient(a.Phase):
		// MAIL, AUTH, TLS and greeting are about us: no recipient is marked.
		return Decision{Reason: j.Reason, Lane: true, Stop: a.Reply.Code/100 == 5}
	case a.Reply.Code == 421:
		// "closing transmission channel" may come for any command and says nothing about the recipient (RFC 5321 section 3.8).
		return Decision{State: Deferred, Reason: "ratelimited", NextTry: Backoff(attempts, wait), Lane: true}
	case a.Reply.Code/100 == 4:
		return Decision{State: Deferred, Reason: j.Reason, NextTry: Backoff(attempts, wait)}
	case a.Reply.Code/100 == 5:
		return Decision{State: Failed, Reason: j.Reason, Hard: j.Hard && !j.Ours}
	}
	// A reply that SMTP does not know (1xx, a 3xx to the dot): whether the message was taken cannot be told after the dot.
	if a.Phase == PhaseDot {
		return Decision{State: Uncertain, Reason: "syntaxerror", Lane: true}
	}
	return Decision{State: Deferred, Reason: "syntaxerror", NextTry: Backoff(attempts, wait), Lane: true}
}

// lost decides on a broken connection. Before the final dot the server must drop the transaction (RFC 5321 section
// 4.1.1.10), so trying again is safe; after it nobody can know (RFC 1047).
func lost(p Phase, attempts int, wait []time.Duration) Decision {
	switch {
	case p == PhaseDot:
		return Decision{State: Uncertain, Reason: "connection lost after the final dot", Lane: true}
	case beforeRecipient(p):
		return Decision{Lane: true, Reason: "networkerror"}
	}
	// In RCPT or DATA it may be this very message that breaks the connection: it counts, so that it cannot spin for ever.
	return Decision{State: Deferred, Reason: "networkerror", NextTry: Backoff(attempts, wait), Lane: true}
}

func beforeRecipient(p Phase) bool {
	switch p {
	case PhaseConnect, PhaseHello, PhaseStartTLS, PhaseAuth, PhaseMail:
		return true
	}
	return false
}

// jitter spreads retries by up to a fifth either way, so that a block of deferred mail does not come back in one blow.
const jitter = 0.2

// Backoff returns the pause after the given number of attempts: the schedule's entry, its last one repeated, jittered.
func Backoff(attempts int, schedule []time.Duration) time.Duration {
	if len(schedule) == 0 {
		return time.Hour
	}
	base := schedule[min(max(attempts, 1), len(schedule))-1]
	return base + time.Duration(float64(base)*jitter*(2*rand.Float64()-1))
}
