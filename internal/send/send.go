// Package send takes a campaign from its file to a recorded reply for every recipient.
//
// The flow, top down:
//
//	Prepare  reads the campaign and who it is for: a new one, or a frozen one that goes on. It writes nothing.
//	Check    renders every recipient of a new campaign before anybody is mailed.
//	Run      freezes a new campaign, takes its lease, sends what is due, and gives the balance.
//
// Why an id freezes its content and audience: running the same command again must send what is left, to the same people,
// with the same words, or not at all.
package send

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"mailer/internal/config"
	"mailer/internal/delivery"
	"mailer/internal/pace"
	"mailer/internal/store"
)

// Sender sends campaigns of one workspace.
type Sender struct {
	Workspace *config.Workspace
	Store     *store.Store
	Now       func() time.Time
	Warn      func(text string)               // told of what goes on otherwise than planned; nil: nobody listens
	Froze     func(store.Freeze)              // told of a provider that refuses everybody, as soon as it is not believed; nil: nobody listens
	Listen    func(ctx context.Context) error // reads the bounce mailbox when a canary's hold is over; nil: nobody does

	net func(ctx context.Context, network, addr string) (net.Conn, error) // how relays are reached; nil: by TCP
}

func (s *Sender) warn(text string) {
	if s.Warn != nil {
		s.Warn(text)
	}
}

func (s *Sender) froze(f store.Freeze) {
	if s.Froze != nil {
		s.Froze(f)
	}
}

// Request is what the user asked for.
type Request struct {
	Campaign     string // id, stem or path
	Segment      string // name of a saved segment; empty: the front matter's
	Where        string
	Exclude      string
	Lists        []string
	Relay        string      // name; empty: all that share the mail, or those that it was frozen with
	Connections  int         // 0: the relay's own
	Rates        []pace.Rate // beside those of mailer.yaml
	Limit        int64       // at most so many in this run; 0: all
	Wait         time.Duration
	RetryFailed  bool
	Resolve      string        // "", resend or sent: what becomes of the uncertain
	Canary       int64         // so many go first, of all providers in proportion; 0: all go at once
	Hold         time.Duration // how long the rest waits then
	Stay         bool          // to wait for that in this run
	Unattended   bool          // nobody began this run: a signal ends it and not the campaign
	OnlyDeferred bool          // those who were never tried wait for a person's word
	FirstBackoff time.Duration
	At           time.Time // when it is to begin; zero: now
}

// The words of Request.Resolve.
const (
	ResolveResend = "resend"
	ResolveSent   = "sent"
)

// UsageError is a request that cannot be carried out as it stands.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

// FrozenError says that a campaign was edited after its first send.
type FrozenError struct {
	Campaign    string
	Differences []string
}

func (e *FrozenError) Error() string {
	text := fmt.Sprintf("campaign %s is frozen since its first send, and this differs from it:", e.Campaign)
	for _, d := range e.Differences {
		text += "\n  " + d
	}
	return text + "\nput it back to go on, or give the file a new id to make a new campaign"
}

// Summary is the balance of a campaign after a run.
type Summary struct {
	Campaign string `json:"campaign"`
	delivery.Balance
	Seconds  float64 `json:"seconds"`
	Doubtful int64   `json:"-"` // became uncertain at the start: an earlier run was killed
	Expired  int64   `json:"-"`
	TooLate  int64   `json:"-"` // were given up, because not_after has passed
	Resolved int64   `json:"-"` // uncertain or failed ones that this run reopened or settled

	Frozen  []string       `json:"frozen,omitempty"` // providers at which dead addresses of this run are held back
	Freezes []store.Freeze `json:"-"`                // the same, with what is known of them

	limited   bool   // the limit of this run ended it
	Shortfall string `json:"-"` // what the relay did not do although it offers PIPELINING
}

// leaseTime is how long a process that stopped answering keeps its campaign. A process that is known to have ended loses
// it at once.
const leaseTime = time.Minute

// idleTime is how long a connection stands still before it is asked whether it is still there.
const idleTime = 20 * time.Second

// Run sends what is due of a prepared campaign. When soft ends it finishes what is on the wire, when hard ends it cuts the
// connections. The summary is right whatever the error: it is counted from the store.
func (s *Sender) Run(soft, hard context.Context, p *Plan, counts *Counts) (Summary, error) {
	begin := time.Now()
	if err := soft.Err(); err != nil {
		return Summary{Campaign: p.Name}, err // stopped before anything was begun: nothing is frozen
	}
	// What happened is recorded whether or not the user has had enough.
	ctx := context.WithoutCancel(hard)
	if p.New {
		if err := s.freeze(ctx, p); err != nil {
			return Summary{Campaign: p.Name}, err
		}
	}
	rates, err := s.newBook(ctx, p.Name, p.Relays, p.Request.Rates)
	if err != nil {
		return Summary{Campaign: p.Name}, err
	}
	run, doubtful, err := s.Store.Acquire(ctx, p.Campaign, self(), leaseTime, Gone, func(relay, lane string) []pace.Limit { return rates.now(relay, lane, s.Now()) })
	if err != nil {
		return Summary{Campaign: p.Name}, err
	}
	sum := Summary{Campaign: p.Name, Doubtful: doubtful}
	err = s.sendDue(soft, hard, ctx, p, run, rates, counts, &sum)
	if keeping := s.keepWord(ctx, soft, p, run, sum); err == nil {
		err = keeping
	}
	if looking := sum.lookFrozen(ctx, run); err == nil {
		err = looking
	}
	if closing := run.Close(ctx); err == nil {
		err = closing
	}
	balance, counting := s.Store.Balance(ctx, p.Campaign.ID)
	if err == nil {
		err = counting
	}
	sum.Balance, sum.Seconds = balance, time.Since(begin).Seconds()
	return sum, err
}

// lookFrozen notes which providers are not believed any more, for the closing words.
func (s *Summary) lookFrozen(ctx context.Context, run *store.Run) (err error) {
	s.Freezes, err = run.Frozen(ctx)
	for _, f := range s.Freezes {
		s.Frozen = append(s.Frozen, f.Lane)
	}
	return err
}

// keepWord notes whether a person ended the run, by a signal or with a limit: mailer run then leaves those alone who were never tried.
func (s *Sender) keepWord(ctx, soft context.Context, p *Plan, run *store.Run, sum Summary) error {
	switch {
	case sum.limited:
		return run.ByHand(ctx, true)
	case !p.Request.Unattended:
		return run.ByHand(ctx, soft.Err() != nil)
	}
	return nil
}

// freeze makes the campaign, or finds that another process was quicker with the same one.
func (s *Sender) freeze(ctx context.Context, p *Plan) error {
	s.tendIndexes(ctx, p)
	made, err := s.Store.CreateCampaign(ctx, p.Campaign, p.Audience)
	if errors.Is(err, store.ErrExists) {
		return fmt.Errorf("%w: it was started a moment ago", store.ErrBusy)
	}
	if err != nil {
		return err
	}
	p.Campaign, p.New = made, false
	return nil
}

func (s *Sender) sendDue(soft, hard, ctx context.Context, p *Plan, run *store.Run, rates *book, counts *Counts, sum *Summary) error {
	if err := s.reopen(ctx, p, run, sum); err != nil {
		return err
	}
	if err := s.expire(ctx, p, run, sum); err != nil {
		return err
	}
	if _, waiting, err := run.NextDue(ctx); err != nil || !waiting {
		return err
	}
	if p.Campaign.State == store.CampaignPaused {
		return paused(p)
	}
	err := s.inStages(soft, ctx, p, run, rates, counts, func(sample []int64) error {
		if p.Request.Limit > 0 && counts.tried() >= p.Request.Limit {
			return nil // the first stage used it up
		}
		e, err := s.engine(ctx, p, run, rates, sample, counts)
		if err != nil {
			return err
		}
		counts.gate.Store(e.gate)
		err = e.work(soft, hard)
		sum.limited = errors.Is(context.Cause(e.claiming), errLimit)
		for _, w := range e.gate.ways {
			if w.dialer != nil && w.dialer.Shortfall() != "" {
				sum.Shortfall = w.dialer.Shortfall()
			}
		}
		return err
	})
	switch {
	case errors.Is(err, ErrPaused):
		return paused(p)
	case errors.Is(err, ErrTripped):
		return s.stopped(ctx, p, run, err)
	case err != nil && !errors.Is(err, errLate):
		return err
	}
	return s.expire(ctx, p, run, sum) // a long run, or one that waits, may outlast the campaign
}

// stopped pauses a campaign for safety: cron must not go on with it until somebody has looked.
func (s *Sender) stopped(ctx context.Context, p *Plan, run *store.Run, why error) error {
	note := strings.TrimPrefix(why.Error(), ErrTripped.Error()+": ")
	if err := run.Stop(ctx, note); err != nil {
		return errors.Join(why, err)
	}
	// Its sample is not judged again: whoever resumes it wants the rest to go all the same.
	if c, err := s.Store.Campaign(ctx, p.Name); err != nil || c.Stage == store.StageHold && run.Stage(ctx, store.StageRest, time.Time{}) != nil {
		s.warn("how far " + p.Name + " is could not be kept: its first messages will be judged again")
	}
	return fmt.Errorf("%w; the campaign is paused: mailer campaigns resume %s when that is mended", why, p.Name)
}

// engine puts a run together.
func (s *Sender) engine(ctx context.Context, p *Plan, run *store.Run, rates *book, sample []int64, counts *Counts) (*engine, error) {
	c, err := s.composer(ctx, p)
	if err != nil {
		return nil, err
	}
	fields, err := s.Store.Fields(ctx)
	if err != nil {
		return nil, err
	}
	open, err := run.Open(ctx)
	if err != nil {
		return nil, err
	}
	states, err := s.Store.LaneStates(ctx)
	if err != nil {
		return nil, err
	}
	resumed, err := run.Resumed(ctx)
	if err != nil {
		return nil, err
	}
	e := &engine{
		resumed: resumed, run: run, campaign: p.Campaign, fields: fields, compose: c.compose, release: c.template.Release, judge: judge, sample: sample, onlyDeferred: p.Request.OnlyDeferred,
		retry: s.Workspace.Config.Retry, waitUntil: s.Now().Add(p.Request.Wait), expires: p.Campaign.Expires, notAfter: p.Content.NotAfter(), counts: counts,
		now: s.Now, warn: s.warn, froze: s.froze, firstPause: p.Request.FirstBackoff, fresh: leaseTime / 2, idle: idleTime,
		guard: &guard{breaker: pace.NewBreaker(s.Workspace.Config.Breakers())},
	}
	if e.firstPause == 0 {
		e.firstPause = time.Second
	}
	e.gate = newGate(s.Now, p.ways(), p.Content.Hours(s.Workspace.Config.Hours()))
	if p.Request.Limit > 0 {
		e.gate.limit = max(p.Request.Limit-counts.tried(), 1)
	}
	e.gate.notAfter = e.notAfter
	e.gate.zone, e.gate.campaign = s.Workspace.Config.Location(), p.Name
	routes := p.routes(s.Workspace.Config, rates.providers)
	e.gate.openLanes(rates, open, laneStates(states), routes, p.From())
	if p.Campaign.Balance.Accepted+p.Campaign.Balance.Failed > 0 || counts.Done() > 0 {
		answered, err := run.Answered(ctx)
		if err != nil {
			return nil, err
		}
		e.guard.before(answered, func(domain string) string { return e.gate.laneOf(domain).name })
	}
	if routes != nil {
		e.compose = func(d store.Due) *outgoing {
			out := c.compose(d)
			if out.routes = routes(out.sender, d.Domain); len(out.routes) == 0 && out.verdict == nil {
				out.why = fmt.Sprintf("no relay of mailer.yaml carries mail from %s to %s", out.sender, d.Domain)
				out.verdict = &delivery.Decision{State: delivery.Failed, Reason: "norelaying"}
			}
			if out.verdict != nil {
				out.routes = nil // it needs a place in the books only
			}
			return out
		}
	}
	return e, nil
}

// expire gives up who was deferred, when the campaign's time is over.
func (s *Sender) expire(ctx context.Context, p *Plan, run *store.Run, sum *Summary) error {
	if late := p.Content.NotAfter(); !late.IsZero() && !s.Now().Before(late) {
		n, err := run.TooLate(ctx)
		sum.TooLate += n
		return err
	}
	if s.Now().Before(p.Campaign.Expires) {
		return nil
	}
	n, err := run.Expire(ctx)
	sum.Expired += n
	return err
}

func paused(p *Plan) error {
	why := ""
	if p.Campaign.Note != "" {
		why = " (" + p.Campaign.Note + ")"
	}
	return fmt.Errorf("%w%s: mailer campaigns resume %s", ErrPaused, why, p.Name)
}

// reopen does what the user decided about earlier outcomes.
func (s *Sender) reopen(ctx context.Context, p *Plan, run *store.Run, sum *Summary) error {
	expires := s.Now().Add(s.Workspace.Config.Expires)
	if p.Campaign.State == store.CampaignCancelled && (p.Request.Resolve == ResolveResend || p.Request.RetryFailed) {
		return fmt.Errorf("%w: nothing of it is sent again", ErrCancelled)
	}
	if p.Request.Resolve != "" {
		n, err := run.Resolve(ctx, p.Request.Resolve == ResolveResend, expires)
		if err != nil {
			return err
		}
		sum.Resolved += n
	}
	if p.Request.RetryFailed {
		n, err := run.RetryFailed(ctx, expires)
		if err != nil {
			return err
		}
		sum.Resolved += n
	}
	if sum.Resolved == 0 {
		return nil
	}
	c, err := s.Store.Campaign(ctx, p.Name)
	if err != nil {
		return err
	}
	p.Campaign = c
	return nil
}

// marshal is for values that always marshal: strings, numbers, lists of them.
func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
