package collect

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailbox"
	"mailer/internal/store"
)

// Reader reads a mailbox of one or more folders, and connects again when the connection is lost.
type Reader struct {
	Store   *store.Store
	Keys    delivery.Keys
	Folders []string
	// Open connects to a folder. It is asked each time anew, because an access token is good for an hour.
	Open func(ctx context.Context, folder string) (Source, error)
	Options
	Poll  time.Duration                       // how often Watch looks where nothing tells of new mail
	Lost  func(err error, wait time.Duration) // told before the wait for another try; may be nil
	Round func(Summary)                       // told after each round of Watch that read something; may be nil
}

// How long the first wait is after a connection was lost, how long the longest, and how many tries without a mail in between end Once.
const (
	firstWait = time.Second
	lastWait  = 5 * time.Minute
	tries     = 6
)

// Once reads all new mails of all folders. A mailbox that cannot be reached at all is an error at once; a connection that is lost on the
// way is made again.
func (r *Reader) Once(ctx context.Context) (sum Summary, err error) {
	r.Options = r.begun(r.Store)
	defer func() { err = errors.Join(err, r.by.Close()) }()
	reached := false
	for failed := 0; ; {
		before := sum.Read
		boxes, err := r.open(ctx)
		if err == nil {
			reached = true
			err = errors.Join(r.round(ctx, boxes, &sum), closeAll(boxes))
		}
		if sum.Read > before {
			failed = 0
		}
		failed++
		if !reached || failed >= tries || !again(ctx, err) || r.full(sum) {
			return sum, err
		}
		if err := r.wait(ctx, err, failed); err != nil {
			return sum, err
		}
	}
}

// Watch reads what is there and then what comes, until ctx ends, which is no error unless it ends a reading. Only what a person has to
// mend ends it before.
func (r *Reader) Watch(ctx context.Context) (sum Summary, err error) {
	r.Options = r.begun(r.Store)
	defer func() { err = errors.Join(err, r.by.Close()) }()
	for failed := 0; ; {
		before := sum.Read
		boxes, err := r.open(ctx)
		if err == nil {
			began := time.Now()
			err = errors.Join(r.follow(ctx, boxes, &sum), closeAll(boxes))
			if sum.Read > before || time.Since(began) > time.Minute {
				failed = 0
			}
		}
		switch {
		case errors.Is(err, errIdle):
			return sum, nil
		case err == nil:
			continue // POP3 sees new mail in a new session only
		case !again(ctx, err):
			return sum, err
		}
		failed++
		if r.wait(ctx, err, failed) != nil {
			return sum, nil
		}
	}
}

// errIdle says that ctx ended while nothing was read.
var errIdle = errors.New("stopped while waiting")

// follow reads until the connections are of no more use.
func (r *Reader) follow(ctx context.Context, boxes []Source, sum *Summary) error {
	for {
		before := sum.Read
		err := r.round(ctx, boxes, sum)
		if sum.Read > before && r.Round != nil {
			r.Round(*sum)
		}
		if err != nil {
			return err
		}
		err = r.idle(ctx, boxes)
		switch {
		case ctx.Err() != nil:
			return errIdle
		case errors.Is(err, mailbox.ErrNoWait):
			return nil // after Poll, a new session
		case err != nil:
			return err
		}
	}
}

// idle waits until one of the folders tells of something. Where one cannot, it waits for Poll at most and returns mailbox.ErrNoWait.
func (r *Reader) idle(ctx context.Context, boxes []Source) error {
	stop, told := make(chan struct{}), make(chan error, len(boxes))
	pending, deaf := 0, false
	for _, b := range boxes {
		w, can := b.(mailbox.Waiter)
		if !can {
			deaf = true
			continue
		}
		pending++
		go func() { told <- w.Wait(ctx, stop) }()
	}
	var err error
	if pending > 0 {
		err = <-told
		pending--
	}
	if deaf = deaf || errors.Is(err, mailbox.ErrNoWait); deaf {
		err = nil
		timer := time.NewTimer(r.Poll)
		defer timer.Stop()
		var early <-chan error
		if pending > 0 {
			early = told
		}
		select {
		case <-timer.C:
		case <-ctx.Done():
		case err = <-early:
			pending--
		}
	}
	close(stop)
	for range pending {
		err = errors.Join(err, <-told)
	}
	if err == nil && deaf {
		return mailbox.ErrNoWait
	}
	return err
}

func (r *Reader) open(ctx context.Context) ([]Source, error) {
	var boxes []Source
	for _, folder := range r.Folders {
		b, err := r.Open(ctx, folder)
		if err != nil {
			closeAll(boxes) // the error of opening is the one to tell
			return nil, err
		}
		boxes = append(boxes, b)
	}
	return boxes, nil
}

func closeAll(boxes []Source) error {
	var err error
	for _, b := range boxes {
		err = errors.Join(err, b.Close())
	}
	return err
}

// round reads each folder once.
func (r *Reader) round(ctx context.Context, boxes []Source, sum *Summary) error {
	for _, b := range boxes {
		o := r.Options
		if r.Limit > 0 {
			if r.full(*sum) {
				return nil
			}
			o.Limit = r.Limit - sum.Read
		}
		if err := readInto(ctx, r.Store, b, r.Keys, o, sum); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) full(sum Summary) bool { return r.Limit > 0 && sum.Read >= r.Limit }

// again reports whether connecting anew may help.
func again(ctx context.Context, err error) bool {
	var away *mailbox.Error
	return ctx.Err() == nil && errors.As(err, &away) && !away.Config
}

// wait waits longer each time, and not as long as others who lost the same server.
func (r *Reader) wait(ctx context.Context, err error, failed int) error {
	d := lastWait
	if failed < 10 {
		d = min(lastWait, firstWait<<(failed-1))
	}
	d = d*3/4 + rand.N(d/2)
	if r.Lost != nil {
		r.Lost(err, d)
	}
	return sleep(ctx, d)
}
