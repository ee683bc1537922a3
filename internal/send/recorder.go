package send

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"mailer/internal/store"
)

// recorder is the one writer of deliveries. It gathers what comes in while a commit is under way into the next one: one
// sync of the disk serves many messages.
type recorder struct {
	e  *engine
	in chan request

	unsaved []store.Outcome // facts that could not be written yet
	broken  error
}

// request is an outcome, a claim, or both: the claim that takes the place of an outcome commits with it.
type request struct {
	outcome *store.Outcome
	claim   *outgoing
}

type answer struct {
	claimed store.Claimed
	at      time.Time // by the wall clock
	err     error
}

const (
	maxBatch  = 512
	maxYields = 4                    // of the core, before a commit
	maxGather = 4 * time.Millisecond // for more to come, while workers wait for messages
	pollEvery = time.Second          // how soon a pause from another terminal is seen

	// At the end, for outcomes that could not be written: a full disk may have room again.
	saveTries    = 6
	maxSavePause = 5 * time.Second
	lastPatience = 15 * time.Second // for a lock, when told twice to stop
)

func newRecorder(e *engine) *recorder {
	workers := 0
	for _, w := range e.gate.ways {
		workers += w.connections
	}
	return &recorder{e: e, in: make(chan request, 4*workers)}
}

// submit hands over an outcome (nil: none) and the message to claim after it (nil: none), whose answer will come. It does
// not wait for the commit.
func (r *recorder) submit(o *store.Outcome, claim *outgoing) {
	if claim != nil {
		claim.answer = make(chan answer, 1)
	}
	if o != nil || claim != nil {
		r.in <- request{outcome: o, claim: claim}
	}
}

// loop runs until in is closed, and then until everything it knows is written. It uses no context of the run: what is
// known must be written also when the run was stopped.
func (r *recorder) loop() error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case first, open := <-r.in:
			if !open {
				return r.finish()
			}
			r.commit(r.gather(first))
		case <-tick.C:
			r.commit(nil)
			r.e.everySecond()
		}
	}
}

// gather takes what is waiting, up to a batch. A commit costs as much as several messages, so workers that are about to hand in
// something get the core first. While some wait for messages to be composed (signing is slow) nobody is held up by a commit a little
// later, and more come with it; else it is not put off: with a relay in the next room that cost a quarter of the speed.
func (r *recorder) gather(first request) []request {
	batch := []request{first}
	var late <-chan time.Time
	for yields := 0; len(batch) < maxBatch; {
		var next request
		open := true
		select {
		case next, open = <-r.in:
		default:
			if yields++; yields <= maxYields {
				runtime.Gosched()
				continue
			}
			if r.e.gate.unfed.Load() == 0 {
				return batch
			}
			if late == nil {
				late = time.After(maxGather)
			}
			select {
			case next, open = <-r.in:
			case <-late:
				return batch
			}
		}
		if !open {
			return batch
		}
		batch = append(batch, next)
	}
	return batch
}

// commit writes a batch. When that fails no claim was made and the outcomes are kept for the next try.
func (r *recorder) commit(batch []request) {
	var claims []store.Claim
	var answers []chan<- answer
	for _, q := range batch {
		if q.outcome != nil {
			r.unsaved = append(r.unsaved, *q.outcome)
		}
		if q.claim != nil {
			claims = append(claims, store.Claim{Delivery: q.claim.due.ID, Relay: q.claim.way.name, Lane: q.claim.lane.name, MessageID: q.claim.messageID})
			answers = append(answers, q.claim.answer)
		}
	}
	if r.broken != nil {
		refuse(answers, r.broken)
		claims, answers = nil, nil
	}
	at := r.e.now().Round(0)
	claimed, state, err := r.e.run.Commit(context.Background(), claims, r.unsaved)
	if errors.Is(err, store.ErrLeaseLost) && len(r.unsaved) > 0 {
		// What we know of messages that left is true whoever holds the lease.
		refuse(answers, err)
		answers = nil
		r.fail(err)
		_, _, err = r.e.run.Commit(context.Background(), nil, r.unsaved)
	}
	if err != nil {
		refuse(answers, err)
		r.fail(err)
		return
	}
	for i, ch := range answers {
		ch <- answer{claimed: claimed[i], at: at}
	}
	for _, o := range r.unsaved {
		r.e.gate.settled(o)
	}
	r.unsaved = r.unsaved[:0]
	r.e.tellFroze()
	r.e.obey(state)
}

func refuse(answers []chan<- answer, err error) {
	for _, ch := range answers {
		ch <- answer{err: err}
	}
}

// fail ends claiming; outcomes go on being written.
func (r *recorder) fail(err error) {
	if r.broken == nil {
		r.broken = err
	}
	r.e.stopWith(err)
}

// finish writes what is left, together or else one by one: an outcome that cannot be written must not take the others
// with it. What cannot be written stays `sending` in the store and will be shown as uncertain.
func (r *recorder) finish() error {
	r.e.saveLanes()
	for try := 0; len(r.unsaved) > 0; try++ {
		err := r.save(r.unsaved...)
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrLocked) { // that is nobody's own fault, and costs a long wait each time
			r.unsaved = slices.DeleteFunc(r.unsaved, func(o store.Outcome) bool { return r.save(o) == nil })
		}
		if len(r.unsaved) == 0 {
			break
		}
		if try == saveTries {
			return fmt.Errorf("%d outcomes could not be written, the next run shows these recipients as uncertain: %w", len(r.unsaved), err)
		}
		time.Sleep(min(r.e.firstPause<<try, maxSavePause))
	}
	return nil
}

func (r *recorder) save(outcomes ...store.Outcome) error {
	ctx := context.Background()
	if r.e.wire.Err() != nil {
		// Told twice to stop: a lock that somebody else holds is not waited for as long as that takes.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lastPatience)
		defer cancel()
	}
	_, _, err := r.e.run.Commit(ctx, nil, outcomes)
	if err != nil {
		return err
	}
	for _, o := range outcomes {
		r.e.gate.settled(o)
	}
	r.e.tellFroze()
	return nil
}

// tellFroze tells of providers that refuse everybody, and whose cleaning froze in the commit just made.
func (e *engine) tellFroze() {
	for _, f := range e.run.Froze() {
		if e.froze != nil {
			e.froze(f)
		}
	}
}

// obey follows what another terminal said about the campaign.
func (e *engine) obey(state string) {
	switch state {
	case store.CampaignPaused:
		e.stopWith(ErrPaused)
	case store.CampaignCancelled:
		e.stopWith(ErrCancelled)
	}
}
