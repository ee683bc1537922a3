package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailer/internal/arrival"
	"mailer/internal/bounce"
	inbox "mailer/internal/mailbox" // mailbox is a check of the domain
	"mailer/internal/relay"
	"mailer/internal/zone"
)

// RoundTrip sends one message through a relay and reads it where it arrives. Of other mail in the mailbox nothing is changed,
// and none of what was there before is read.
type RoundTrip struct {
	Carrier string // name of the relay
	Server  relay.Server

	Message   relay.Message
	ID        string // stands in the subject
	MessageID string
	From      string // the domain of From, in ASCII
	Signers   []string
	Signed    bool // the return path has a token

	Open    func(ctx context.Context, folder string, tidy bool) (inbox.Box, error) // tidy: messages that are done with leave the folder
	Folders []string                                                               // where mail comes
	Beside  []string                                                               // where others may have moved it; they need not exist
	Kept    string                                                                 // what becomes of the message afterwards, in words
	Hosts   []string                                                               // of the receiver: whose Authentication-Results count

	Resolver zone.Resolver
	Wait     time.Duration
	Poll     time.Duration // between two looks where nothing tells of new mail
	Now      func() time.Time
	Tell     func(text string) // may be nil
}

const (
	doWait     = "Look into the mailbox and its spam folder, and into the log of the relay for the Message-ID. Greylisting takes some minutes: try again with a longer --wait."
	whyArrival = "What happens to this message happens to your campaigns."
)

func (t *RoundTrip) finding(check string, level Level, format string, args ...any) Finding {
	return Finding{Area: "relay", Check: check, Subject: t.Carrier, Level: level, Found: fmt.Sprintf(format, args...)}
}

// Run sends, waits and judges. The error is one of the mailbox or of the relay, by which nothing could be tried.
func (t *RoundTrip) Run(ctx context.Context) (all []Finding, err error) {
	if t.Tell == nil {
		t.Tell = func(string) {}
	}
	w := &watch{t: t}
	defer w.close()
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	sent := t.Now()
	reply, refused, err := t.send(ctx)
	if err != nil || refused != nil {
		return refused, err
	}
	t.Tell("the relay took the message: " + reply)
	got, err := w.await(ctx)
	if err != nil {
		return nil, err
	}
	if got == nil {
		return []Finding{t.lost(reply, w)}, nil
	}
	defer func() {
		if e := w.tidy(ctx, got); e != nil {
			f := t.finding("arrival", Info, "The message is still in %s: %s.", got.folder, e)
			f.Do = "Delete it, or leave it to the next bounces sync."
			all = append(all, f)
		}
	}()
	if got.bounce != nil {
		return []Finding{t.cameBack(reply, got)}, nil
	}
	t.Tell(fmt.Sprintf("it arrived in %s", got.folder))
	j := judgement{t: t, sent: arrival.Parse(t.Message.Raw), got: arrival.Parse(got.raw), raw: got.raw, at: sent, seen: got.seen}
	f := t.finding("arrival", Pass, "The message arrived in %s; the relay said: %s.", got.folder, reply)
	f.Detail = []string{"Message-ID " + t.MessageID, t.Kept}
	return append([]Finding{f}, j.all(ctx)...), nil
}

// send is one transaction. refused is what is found when the relay did not take the message.
func (t *RoundTrip) send(ctx context.Context) (reply string, refused []Finding, err error) {
	conn, err := relay.Dial(ctx, t.Server)
	if err != nil {
		return "", nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, conn.Abort)
	defer stop()
	a := conn.SendAlone(ctx, &t.Message)
	switch {
	case ctx.Err() != nil:
		return "", nil, ctx.Err()
	case a.Accepted():
		return a.Reply.String(), nil, nil
	case a.Lost:
		f := t.finding("arrival", Fail, "The connection to the relay was lost while it took the message: %s.", a.Error)
		f.Why, f.Do = whyArrival, "Try again; if it stays so, look into the log of the relay."
		return "", []Finding{f}, nil
	}
	f := t.finding("arrival", Fail, "The relay did not take the message for %s; at %s it said: %s.", t.Message.Envelope.To, a.Phase, a.Reply)
	f.Why = whyArrival
	f.Do = "Read what it said. Relays often want a From or a return path of a domain that is set up with them."
	c := bounce.Classify(bounce.Reply{Code: a.Reply.Code, Enhanced: a.Reply.Enhanced, Text: a.Reply.Text, Phase: string(a.Phase)}, t.From)
	f.Detail = []string{fmt.Sprintf("reason: %s, about: %s", c.Reason, c.Scope)}
	return "", []Finding{f}, nil
}

// lost is the finding about a message that did not come.
func (t *RoundTrip) lost(reply string, w *watch) Finding {
	f := t.finding("arrival", Fail, "The relay took the message and it did not arrive within %s, nor did a bounce.", t.Wait)
	f.Why, f.Do = whyArrival, doWait
	f.Detail = append(w.notes, "the relay said: "+reply, "Message-ID "+t.MessageID, "to "+t.Message.Envelope.To+", return path "+t.Message.Envelope.From,
		"looked into: "+strings.Join(slices.Concat(t.Folders, t.Beside), ", "))
	if w.err != nil {
		f.Level = Unknown
		f.Found = fmt.Sprintf("The relay took the message; whether it arrived is not known: the mailbox could not be read to the end: %s.", w.err)
	}
	return f
}

// cameBack is the finding about a bounce.
func (t *RoundTrip) cameBack(reply string, got *found) Finding {
	f := t.finding("arrival", Fail, "The relay took the message, and it bounced.")
	f.Why = whyArrival
	f.Do = "Read what the server said. If the address is wrong, mend bounces.return_path or name another one with --to."
	for _, b := range got.bounce.Bounces {
		f.Detail = append(f.Detail, fmt.Sprintf("%s: %s %s (%s)", b.Recipient, b.Reply, b.Text, b.Reason))
	}
	f.Detail = append(f.Detail, "the relay said: "+reply, "Message-ID "+t.MessageID)
	return f
}

// found is a mail that is about our message.
type found struct {
	folder string
	raw    []byte
	seen   time.Time
	bounce *bounce.Verdict // it is no arrival but what came instead
}

// watch looks into folders for a message.
type watch struct {
	t       *RoundTrip
	folders []*folder
	notes   []string
	err     error // of the last look, when it failed
}

// folder is one that is looked into, from where it ended when the watch began.
type folder struct {
	name   string
	beside bool
	box    inbox.Box
	mark   string
}

// begin remembers where each folder ends. The mailbox must be readable before a message is sent that nobody could see.
func (w *watch) begin(ctx context.Context) error {
	for i, name := range slices.Concat(w.t.Folders, w.t.Beside) {
		f := &folder{name: name, beside: i >= len(w.t.Folders)}
		err := f.look(ctx, w.t, nil)
		if err != nil && (!f.beside || ctx.Err() != nil) {
			return err
		}
		if err != nil {
			continue // it does not exist yet: nobody moves mail there
		}
		if f.name == "" {
			f.name = "the mailbox"
		}
		w.folders = append(w.folders, f)
	}
	return nil
}

// look passes everything that is new to fn. Without fn it only notes where the folder ends.
func (f *folder) look(ctx context.Context, t *RoundTrip, fn func(inbox.Message) error) (err error) {
	if f.box == nil {
		name := f.name
		if name == "the mailbox" {
			name = ""
		}
		if f.box, err = t.Open(ctx, name, false); err != nil {
			return err
		}
		f.box.Resume(f.mark)
	}
	defer func() {
		// What lists its mail only once a session is opened anew; what failed as well.
		if _, live := f.box.(inbox.Waiter); err != nil || !live {
			f.close()
		}
	}()
	numbers, err := f.box.List(ctx)
	if err != nil {
		return err
	}
	if fn != nil {
		if err := f.box.Read(ctx, numbers, fn); err != nil {
			return err
		}
	}
	if err := f.box.Done(ctx, numbers, nil); err != nil { // it leaves them: only the mark moves
		return err
	}
	f.mark = f.box.Mark()
	return nil
}

func (f *folder) close() {
	if f.box != nil {
		f.box.Close()
		f.box = nil
	}
}

func (w *watch) close() {
	for _, f := range w.folders {
		f.close()
	}
}

var errFound = errors.New("found")

// await looks until the message or a bounce is there, or the time is up: then it returns nil.
func (w *watch) await(ctx context.Context) (*found, error) {
	waiting, cancel := context.WithTimeout(ctx, w.t.Wait)
	defer cancel()
	for last := false; ; {
		got, err := w.once(ctx)
		if got != nil || ctx.Err() != nil {
			return got, ctx.Err()
		}
		w.err = err
		if last {
			return nil, nil
		}
		w.pause(ctx, waiting.Done())
		last = waiting.Err() != nil
	}
}

// pause waits for new mail, for the next look, or for the end.
func (w *watch) pause(ctx context.Context, over <-chan struct{}) {
	poll := time.NewTimer(w.t.Poll)
	defer poll.Stop()
	for _, f := range w.folders {
		waiter, live := f.box.(inbox.Waiter)
		if !live || f.beside {
			continue
		}
		stop, done := make(chan struct{}), make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer close(stop)
			select {
			case <-poll.C:
			case <-over:
			case <-done:
			}
		}()
		err := waiter.Wait(ctx, stop)
		close(done)
		<-ended
		if err == nil {
			return
		}
		if !errors.Is(err, inbox.ErrNoWait) {
			f.close()
		}
		break
	}
	select {
	case <-poll.C:
	case <-over:
	case <-ctx.Done():
	}
}

// once looks into every folder.
func (w *watch) once(ctx context.Context) (got *found, err error) {
	for _, f := range w.folders {
		e := f.look(ctx, w.t, func(m inbox.Message) error {
			if got = w.ours(m.Raw); got != nil {
				got.folder, got.seen = f.name, w.t.Now()
				return errFound
			}
			return nil
		})
		if got != nil {
			return got, nil
		}
		if e != nil && !f.beside {
			err = e
		}
	}
	return nil, err
}

// ours reports what a mail is to our message: itself, a bounce of it, or nothing that ends the waiting.
func (w *watch) ours(raw []byte) *found {
	t := w.t
	token := t.Message.Envelope.ENVID
	named := bytes.Contains(bytes.ToLower(raw), []byte(t.ID))
	if !named && !bytes.Contains(raw, []byte(t.MessageID)) && (token == "" || !bytes.Contains(bytes.ToLower(raw), []byte(strings.ToLower(token)))) {
		return nil
	}
	m, v := arrival.Parse(raw), bounce.Parse(raw)
	subject := strings.Contains(strings.ToLower(m.Get("Subject")), t.ID)
	switch {
	case strings.Trim(m.Get("Message-ID"), "<> ") == t.MessageID:
		return &found{raw: raw}
	case subject && v.Kind != bounce.KindBounce && m.Get("Feedback-ID") != "" && m.Get("Feedback-ID") == arrival.Parse(t.Message.Raw).Get("Feedback-ID"):
		return &found{raw: raw} // with another Message-ID; no answer has the field
	case v.Kind == bounce.KindBounce && v.Detail == bounce.DetailDelay:
		w.notes = append(w.notes, "a server wrote that the message is delayed and still on its way")
		return nil
	case v.Kind == bounce.KindBounce:
		return &found{raw: raw, bounce: &v}
	case v.Kind == bounce.KindAutoreply || v.Kind == bounce.KindDelivered:
		w.notes = append(w.notes, "an automatic answer came: "+m.Get("Subject"))
		return nil
	case subject:
		return &found{raw: raw}
	}
	return nil
}

// newest is how many of the last mails of a folder are looked at for the one to do away with: others may come meanwhile.
const newest = 50

// tidy does with the message what the mailbox's housekeeping says.
func (w *watch) tidy(ctx context.Context, got *found) error {
	w.close() // some servers let only one session in
	name := got.folder
	if name == "the mailbox" {
		name = ""
	}
	if slices.Contains(w.t.Beside, name) {
		return nil // somebody has put it there already
	}
	box, err := w.t.Open(ctx, name, true)
	if err != nil {
		return fmt.Errorf("put the message of the round trip away: %w", err)
	}
	defer box.Close()
	numbers, err := box.List(ctx)
	if err != nil {
		return fmt.Errorf("put the message of the round trip away: %w", err)
	}
	var ours []uint32
	err = box.Read(ctx, numbers[max(0, len(numbers)-newest):], func(m inbox.Message) error {
		if bytes.Equal(m.Raw, got.raw) {
			ours = append(ours, m.Number)
		}
		return nil
	})
	if err == nil && len(ours) > 0 {
		err = box.Done(ctx, ours, nil)
	}
	if err != nil {
		return fmt.Errorf("put the message of the round trip away: %w", err)
	}
	return nil
}
