package send

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"time"

	"mailer/internal/campaign"
	"mailer/internal/pace"
	"mailer/internal/store"
)

// A planned campaign is kept as its plan was prepared and checked: content, audience as an expression, and the whole request. When it
// begins, all of that comes from the plan and none of it from the files. Only the way, which relay and how it is reached, is today's:
// whoever moves the relay to another host wants the mail to go there.

// Holder names this process in the store, so that others can tell whether it still lives.
func Holder() string { return self() }

// Schedule is a prepared campaign as it is kept until its time comes.
func (s *Sender) Schedule(p *Plan, at time.Time) (store.Schedule, error) {
	c := store.Schedule{Name: p.Name, Class: p.Campaign.Class, ContentHash: p.Campaign.ContentHash, Content: p.Campaign.Content,
		Segment: p.Campaign.Segment, Options: p.Campaign.Options, Recipients: p.Counts.Sendable(), At: at, Late: p.Content.Late()}
	if !p.New || p.Campaign.Replaces != 0 {
		return c, &UsageError{fmt.Sprintf("campaign %s has begun already: mailer run, or mailer send %s, goes on with it; give the file a new id to make a new campaign", p.Name, p.Name)}
	}
	if until := p.Content.NotAfter(); !until.IsZero() && !at.Before(until) {
		return c, &UsageError{fmt.Sprintf("campaign %s is not to be sent after %s (not_after in its file)", p.Name, until.In(at.Location()).Format("2006-01-02 15:04"))}
	}
	var err error
	c.Request, err = encodeRequest(p.Request)
	return c, err
}

// storedRequest is a request as it is kept. Rates are written as people write them.
type storedRequest struct {
	Request
	Rates []string
}

func encodeRequest(r Request) (string, error) {
	kept := storedRequest{Request: r}
	for _, rate := range r.Rates {
		kept.Rates = append(kept.Rates, rate.String())
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return "", fmt.Errorf("keep the request: %w", err)
	}
	return string(b), nil
}

func decodeRequest(text string) (Request, error) {
	var kept storedRequest
	if err := json.Unmarshal([]byte(text), &kept); err != nil {
		return Request{}, fmt.Errorf("read what was planned: %w", err)
	}
	for _, text := range kept.Rates {
		rate, err := pace.ParseRate(text)
		if err != nil {
			return Request{}, fmt.Errorf("read what was planned: %w", err)
		}
		kept.Request.Rates = append(kept.Request.Rates, rate)
	}
	return kept.Request, nil
}

// PreparePlanned prepares a campaign whose time has come, from its plan alone. Who gets it is seen now.
func (s *Sender) PreparePlanned(ctx context.Context, c store.Schedule) (*Plan, error) {
	p, err := s.unpack(c)
	if err != nil {
		return nil, err
	}
	return p, s.ready(ctx, p, c)
}

// unpack reads a plan.
func (s *Sender) unpack(c store.Schedule) (*Plan, error) {
	p := &Plan{Name: c.Name, New: true}
	var err error
	if p.Request, err = decodeRequest(c.Request); err != nil {
		return nil, err
	}
	p.Request.At, p.Request.Unattended = time.Time{}, true
	if err := json.Unmarshal([]byte(c.Options), &p.Spec); err != nil {
		return nil, fmt.Errorf("read what was planned for %s: %w", c.Name, err)
	}
	p.Content, err = campaign.Decode(c.Content)
	return p, err
}

// ready sees who gets an unpacked campaign, and by which way.
func (s *Sender) ready(ctx context.Context, p *Plan, c store.Schedule) error {
	r := p.Request
	r.Segment = "" // its expression was frozen; the file may be gone
	way, err := s.spec(r, nil)
	if err != nil {
		return err
	}
	way.Segment, way.Expression, way.Where, way.Lists, way.Exclude = p.Spec.Segment, p.Spec.Expression, p.Spec.Where, p.Spec.Lists, p.Spec.Exclude
	p.Spec = way
	if p.Audience, err = s.audience(ctx, p.Spec, c.Class); err != nil {
		return err
	}
	if p.Counts, err = s.Store.Plan(ctx, p.Audience); err != nil {
		return err
	}
	p.Campaign = store.Campaign{Name: c.Name, Class: c.Class, ContentHash: c.ContentHash, Content: c.Content, Segment: c.Segment,
		Options: marshal(p.Spec), Expires: s.Now().Add(s.Workspace.Config.Expires), Claim: c.Claim}
	return s.route(p)
}

// PrepareGoing prepares what is left of a campaign that has begun, without a look at its file: nobody named it, so nobody expects an
// edited file to count. It is sent as it was asked for when it was planned.
func (s *Sender) PrepareGoing(ctx context.Context, g store.Going) (*Plan, error) {
	frozen, err := s.Store.Campaign(ctx, g.Name)
	if err != nil {
		return nil, err
	}
	p := &Plan{Request: Request{Campaign: g.Name}}
	text, err := s.Store.RequestOf(ctx, frozen.ID)
	if err != nil {
		return nil, err
	}
	if text != "" {
		if p.Request, err = decodeRequest(text); err != nil {
			return nil, err
		}
	}
	// The audience is a row for each person by now.
	p.Request.Segment, p.Request.Where, p.Request.Lists, p.Request.Exclude = "", "", nil, ""
	p.Request.Unattended, p.Request.OnlyDeferred = true, g.ByHand
	if text == "" {
		if err := p.Request.asBegun(frozen.Options); err != nil {
			return nil, err
		}
	}
	return p, s.prepareFrozen(p, frozen, nil)
}

// asBegun takes over how fast a campaign was to go when it was begun by hand.
func (r *Request) asBegun(options string) error {
	var spec Spec
	if err := json.Unmarshal([]byte(options), &spec); err != nil {
		return fmt.Errorf("read the frozen options: %w", err)
	}
	r.Connections = spec.Connections
	for _, text := range spec.Rates {
		rate, err := pace.ParseRate(text)
		if err != nil {
			return fmt.Errorf("read the frozen options: %w", err)
		}
		r.Rates = append(r.Rates, rate)
	}
	return nil
}

// prepareUnsent prepares a campaign that has not begun. One that is planned begins now as it was planned, with the options of the
// command where it has any; what has changed since is refused like a change of a frozen one. c is nil when its file is gone.
func (s *Sender) prepareUnsent(ctx context.Context, p *Plan, c *campaign.Campaign) error {
	scheduled, err := s.Store.Scheduled(ctx, p.Name)
	anew := !p.Request.At.IsZero() || p.Request.RetryFailed || p.Request.Resolve != "" || scheduled.State == store.ScheduleMissed
	if errors.Is(err, store.ErrNotPlanned) || err == nil && anew {
		return s.prepareNew(ctx, p, c)
	}
	if err != nil {
		return err
	}
	scheduled.Claim = "" // if a run has just claimed it, the first of the two that freezes it sends it
	planned, err := s.unpack(scheduled)
	if err != nil {
		return err
	}
	planned.Request = filled(p.Request, planned.Request)
	differences, err := s.edited(planned, scheduled, c)
	if err != nil {
		return err
	}
	if len(differences) > 0 {
		return &UsageError{fmt.Sprintf("campaign %s is planned, and this differs from the plan:\n  %s\nplan it again with --at to take what is new, or take it off the plan (mailer campaigns cancel %s) and send it",
			p.Name, strings.Join(differences, "\n  "), p.Name)}
	}
	*p = *planned
	return s.ready(ctx, p, scheduled)
}

// filled is a request with what another one says where it says nothing.
func filled(r, other Request) Request {
	to, from := reflect.ValueOf(&r).Elem(), reflect.ValueOf(other)
	for i := range to.NumField() {
		if to.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
	return r
}

// edited lists what in the files and the request is not as it was planned; the way there is not looked at.
func (s *Sender) edited(p *Plan, c store.Schedule, now *campaign.Campaign) ([]string, error) {
	var differences []string
	if now != nil {
		content, err := s.content(now)
		if err != nil {
			return nil, err
		}
		if content.Hash() != c.ContentHash {
			differences = campaign.Diff(p.Content, content)
		}
	}
	spec, err := s.spec(p.Request, now)
	if err != nil {
		return nil, err
	}
	before := p.Spec
	p.Spec = spec
	p.Spec.Segment, p.Spec.Expression, p.Spec.Where, p.Spec.Lists, p.Spec.Exclude = before.Segment, before.Expression, before.Where, before.Lists, before.Exclude
	return append(differences, p.Spec.differences(spec, p.Request, s.hosts())...), nil
}

// Edited lists what in the files is not as it was planned. What cannot be read is a difference, too; a file that is gone is none.
func (s *Sender) Edited(c store.Schedule) ([]string, error) {
	p, err := s.unpack(c)
	if err != nil {
		return nil, err
	}
	now, err := campaign.Load(os.DirFS(s.Workspace.Dir), p.Request.Campaign)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return []string{err.Error()}, nil
	}
	differences, err := s.edited(p, c, now)
	if err != nil {
		return []string{err.Error()}, nil
	}
	return differences, nil
}

// prepareGone prepares a campaign whose file is gone: everything of one that has begun, or is planned, is in the database.
func (s *Sender) prepareGone(ctx context.Context, p *Plan) (found bool, err error) {
	p.Name = p.Request.Campaign
	frozen, err := s.Store.Campaign(ctx, p.Name)
	if err == nil {
		return true, s.prepareFrozen(p, frozen, nil)
	}
	if planned, err := s.Store.Scheduled(ctx, p.Name); err == nil && planned.State != store.ScheduleMissed && p.Request.At.IsZero() {
		return true, s.prepareUnsent(ctx, p, nil)
	}
	return false, nil
}

// Ready reports whether a campaign that has begun may be sent at this hour. One whose time is over is, whatever the hour: there is
// something to be noted.
func (s *Sender) Ready(ctx context.Context, g store.Going) (bool, error) {
	frozen, err := s.Store.Campaign(ctx, g.Name)
	if err != nil {
		return false, err
	}
	content, err := campaign.Decode(frozen.Content)
	if err != nil {
		return false, err
	}
	now := s.Now()
	if until := content.NotAfter(); !g.Expires.After(now) || !until.IsZero() && !until.After(now) {
		return true, nil
	}
	opens := s.Opens(content, now)
	return !opens.IsZero() && !opens.After(now), nil
}

// Opens is when a campaign's mail may leave, from a time on: that time itself, or when the hours open next. Zero: never.
func (s *Sender) Opens(c campaign.Content, from time.Time) time.Time {
	return c.Hours(s.Workspace.Config.Hours()).Next(from)
}
