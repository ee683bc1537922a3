package send

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"mailer/internal/campaign"
	"mailer/internal/config"
	"mailer/internal/pace"
	"mailer/internal/provider"
	"mailer/internal/relay"
	"mailer/internal/segment"
	"mailer/internal/store"
)

// Plan is what a send would do.
type Plan struct {
	Request  Request
	Name     string // the campaign's id
	New      bool   // it was never sent; Audience and Counts are set
	Campaign store.Campaign
	Content  campaign.Content
	Spec     Spec
	Audience store.Audience
	Counts   store.Planned // of a new campaign

	Relay       config.Relay   // the first of them
	Relays      []config.Relay // that carry it
	Connections int            // of all
	Rates       []pace.Rate    // of the first relay, and what was asked for beside

	dialers []*relay.Dialer // in the order of Relays
}

// Spec is what freezes with a campaign beside its content: who it goes to and by which way.
type Spec struct {
	Segment    string   `json:"segment,omitempty"` // the saved segment's name
	Expression string   `json:"expression,omitempty"`
	Where      string   `json:"where,omitempty"`
	Lists      []string `json:"lists,omitempty"`
	Exclude    string   `json:"exclude,omitempty"`
	Relay      string   `json:"relay"`
	Host       string   `json:"host"`
	ReturnPath string   `json:"return_path"`

	Others map[string]string `json:"others,omitempty"` // the hosts of further relays that share it, by name
	Canary int64             `json:"canary,omitempty"`
	Hold   time.Duration     `json:"hold,omitempty"`

	// How it was begun; who goes on by hand may say otherwise, mailer run goes on like this.
	Rates       []string `json:"rates,omitempty"`
	Connections int      `json:"connections,omitempty"`
}

// Prepare reads the campaign and its audience and writes nothing. A campaign that was sent before must be as it was.
func (s *Sender) Prepare(ctx context.Context, r Request) (*Plan, error) {
	p := &Plan{Request: r}
	c, err := campaign.Load(os.DirFS(s.Workspace.Dir), r.Campaign)
	if errors.Is(err, fs.ErrNotExist) {
		if found, gerr := s.prepareGone(ctx, p); found {
			return p, gerr
		}
	}
	if err != nil {
		return nil, err
	}
	p.Name = c.ID
	frozen, err := s.Store.Campaign(ctx, c.ID)
	if errors.Is(err, store.ErrNoCampaign) {
		return p, s.prepareUnsent(ctx, p, c)
	}
	if err != nil {
		return nil, err
	}
	err = s.prepareFrozen(p, frozen, c)
	var changed *FrozenError
	if errors.As(err, &changed) {
		if again, ok := s.prepareAgain(ctx, r, frozen, c); ok {
			return again, nil
		}
	}
	return p, err
}

// prepareAgain plans a changed campaign anew when nobody of it was ever tried: a wrong host must not use an id up. It is
// no way round the freeze, so whatever else is in the way is left to the error that says what changed.
func (s *Sender) prepareAgain(ctx context.Context, r Request, frozen store.Campaign, c *campaign.Campaign) (*Plan, bool) {
	p := &Plan{Request: r, Name: c.ID}
	if untouched, err := s.Store.Untouched(ctx, frozen.ID); err != nil || !untouched {
		return nil, false
	}
	if err := s.prepareNew(ctx, p, c); err != nil {
		return nil, false
	}
	p.Campaign.Replaces = frozen.ID
	return p, true
}

func (s *Sender) prepareNew(ctx context.Context, p *Plan, c *campaign.Campaign) error {
	p.New = true
	var err error
	if p.Content, err = s.content(c); err != nil {
		return err
	}
	if p.Spec, err = s.spec(p.Request, c); err != nil {
		return err
	}
	if p.Spec.Segment == "" && p.Spec.Where == "" && len(p.Spec.Lists) == 0 {
		return &UsageError{"who is it for? name --segment, --list or --where (--where 'true' is everybody), or segment: in the campaign file"}
	}
	if p.Request.Resolve != "" || p.Request.RetryFailed {
		return &UsageError{fmt.Sprintf("campaign %s was never sent: there is nothing to retry or to resolve", c.ID)}
	}
	if p.Audience, err = s.audience(ctx, p.Spec, c.Class); err != nil {
		return err
	}
	if p.Counts, err = s.Store.Plan(ctx, p.Audience); err != nil {
		return err
	}
	content, err := p.Content.Encode()
	if err != nil {
		return err
	}
	p.Campaign = store.Campaign{Name: c.ID, Class: c.Class, ContentHash: p.Content.Hash(), Content: content,
		Segment: p.Spec.String(), Options: marshal(p.Spec), Expires: s.Now().Add(s.Workspace.Config.Expires)}
	return s.route(p)
}

// prepareFrozen compares today's files with what was frozen; c is nil when the file is gone.
func (s *Sender) prepareFrozen(p *Plan, frozen store.Campaign, c *campaign.Campaign) error {
	p.Name, p.Campaign = frozen.Name, frozen
	var err error
	if p.Content, err = campaign.Decode(frozen.Content); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(frozen.Options), &p.Spec); err != nil {
		return fmt.Errorf("read the frozen options of %s: %w", frozen.Name, err)
	}
	var differences []string
	if c != nil {
		now, err := s.content(c)
		if err != nil {
			return err
		}
		if now.Hash() != frozen.ContentHash {
			differences = campaign.Diff(p.Content, now)
		}
	}
	now, err := s.spec(p.Request, c)
	if err != nil {
		return err
	}
	differences = append(differences, p.Spec.differences(now, p.Request, s.hosts())...)
	if len(differences) > 0 {
		return &FrozenError{Campaign: frozen.Name, Differences: differences}
	}
	return s.route(p)
}

// content is what the files hold today.
func (s *Sender) content(c *campaign.Campaign) (campaign.Content, error) {
	conf := s.Workspace.Config
	others := map[string]campaign.Sender{}
	for _, i := range conf.Sender.Identities {
		others[i.Name] = campaign.Sender{From: i.From, ReplyTo: i.ReplyTo, Organization: i.Organization, PostalAddress: i.PostalAddress}
	}
	return campaign.Freeze(os.DirFS(s.Workspace.Dir), c, campaign.Sender{
		From: conf.Sender.From, ReplyTo: conf.Sender.ReplyTo, Organization: conf.Sender.Organization, PostalAddress: conf.Sender.PostalAddress,
		Identities: others,
	}, conf.Timezone)
}

// spec reads the audience from the flags and, where they are silent, from the front matter. c may be nil.
func (s *Sender) spec(r Request, c *campaign.Campaign) (Spec, error) {
	spec := Spec{Segment: r.Segment, Where: r.Where, Lists: r.Lists, Exclude: r.Exclude, ReturnPath: s.Workspace.Config.Bounces.ReturnPathPattern}
	if c != nil && spec.Segment == "" {
		spec.Segment = c.Front.Segment
	}
	if c != nil && len(spec.Lists) == 0 && c.Front.List != "" {
		spec.Lists = []string{c.Front.List}
	}
	if spec.Segment != "" {
		text, err := segment.Load(os.DirFS(s.Workspace.Dir), spec.Segment)
		if err != nil {
			return spec, err
		}
		spec.Expression = text
	}
	ways, err := s.relays(r.Relay)
	if err != nil {
		return spec, err
	}
	spec.Relay, spec.Host = ways[0].Name, ways[0].Host
	for _, way := range ways[1:] {
		if spec.Others == nil {
			spec.Others = map[string]string{}
		}
		spec.Others[way.Name] = way.Host
	}
	spec.Canary, spec.Hold, spec.Connections = r.Canary, r.Hold, r.Connections
	for _, rate := range r.Rates {
		spec.Rates = append(spec.Rates, rate.String())
	}
	return spec, nil
}

// relays are those that a new campaign goes by: the one that is named, or else all that share the mail, that a route leads to, or that
// stand by.
func (s *Sender) relays(name string) ([]config.Relay, error) {
	if name != "" {
		way, err := s.Workspace.Relay(name)
		return []config.Relay{way}, err
	}
	var all []config.Relay
	for _, r := range s.Workspace.Config.Relays {
		if r.Weight > 0 || len(r.For) > 0 || len(r.From) > 0 {
			all = append(all, r)
		}
	}
	if len(all) == 0 { // none is configured, or each wants to be named
		way, err := s.Workspace.Relay("")
		return []config.Relay{way}, err
	}
	return all, nil
}

// differences lists what of now is not as it was frozen. Flags that were not given are not compared: the command that
// goes on may be shorter than the one that began.
func (f Spec) differences(now Spec, r Request, hosts map[string]string) []string {
	var d []string
	add := func(what, was, is string) {
		if was != is {
			d = append(d, fmt.Sprintf("%s: was %q, is %q", what, was, is))
		}
	}
	if now.Segment != "" {
		add("segment", f.Segment, now.Segment)
		add("expression of segment "+now.Segment, f.Expression, now.Expression)
	}
	if now.Where != "" {
		add("--where", f.Where, now.Where)
	}
	if len(now.Lists) > 0 {
		add("list", strings.Join(f.Lists, ", "), strings.Join(now.Lists, ", "))
	}
	if now.Exclude != "" {
		add("--exclude", f.Exclude, now.Exclude)
	}
	if _, among := f.Others[r.Relay]; r.Relay != "" && !among {
		add("relay", f.Relay, r.Relay)
	}
	for name, was := range f.hosts() {
		add("host of relay "+name, was, hosts[name])
	}
	if r.Canary > 0 {
		add("--canary", fmt.Sprint(f.Canary), fmt.Sprint(r.Canary))
		add("--hold", f.Hold.String(), r.Hold.String())
	}
	add("bounces.return_path", f.ReturnPath, now.ReturnPath)
	return d
}

// hosts are the relays of the campaign, by name.
func (f Spec) hosts() map[string]string {
	all := map[string]string{f.Relay: f.Host}
	maps.Copy(all, f.Others)
	return all
}

// hosts are the relays of the configuration, by name.
func (s *Sender) hosts() map[string]string {
	all := map[string]string{}
	for _, r := range s.Workspace.Config.Relays {
		all[r.Name] = r.Host
	}
	return all
}

// String says in words who the campaign is for.
func (f Spec) String() string {
	var parts []string
	if f.Segment != "" {
		parts = append(parts, fmt.Sprintf("segment %s (%s)", f.Segment, oneLine(f.Expression)))
	}
	if len(f.Lists) > 0 {
		parts = append(parts, "list "+strings.Join(f.Lists, " or "))
	}
	if f.Where != "" {
		parts = append(parts, "where "+oneLine(f.Where))
	}
	text := strings.Join(parts, ", ")
	if f.Exclude != "" {
		text += ", without " + oneLine(f.Exclude)
	}
	return text
}

// oneLine is an expression without its comment lines, for a table's cell.
func oneLine(s string) string {
	var kept []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "//") {
			kept = append(kept, strings.Fields(line)...)
		}
	}
	return strings.Join(kept, " ")
}

// audience compiles a spec. Segment, lists and --where must all hold; several lists are a choice.
func (s *Sender) audience(ctx context.Context, spec Spec, class string) (store.Audience, error) {
	a := store.Audience{Class: class}
	schema, err := s.schema(ctx)
	if err != nil {
		return a, err
	}
	saved, err := compile("segment "+spec.Segment, spec.Expression, schema)
	if err != nil {
		return a, err
	}
	where, err := compile("--where", spec.Where, schema)
	if err != nil {
		return a, err
	}
	a.Include = saved.And(where)
	if len(spec.Lists) > 0 {
		on, err := onAnyList(spec.Lists, schema.Lists)
		if err != nil {
			return a, err
		}
		a.Include = a.Include.And(on)
	}
	a.Exclude, err = compile("--exclude", spec.Exclude, schema)
	return a, err
}

// compile turns an expression into a condition; an empty one holds for everybody.
func compile(where, text string, schema segment.Schema) (store.Where, error) {
	if strings.TrimSpace(text) == "" {
		return store.Where{}, nil
	}
	q, err := segment.Compile(text, schema)
	if err != nil {
		return store.Where{}, fmt.Errorf("%s: %w", where, err)
	}
	return store.Where(q), nil
}

func (s *Sender) schema(ctx context.Context) (segment.Schema, error) {
	schema, err := s.Store.Vocabulary(ctx)
	schema.Now, schema.Location = s.Now(), s.Workspace.Config.Location()
	return schema, err
}

// tendIndexes lets the store make an index for a saved segment, which will be used again. It comes before the campaign,
// so that nobody waits with a message; without an index everything works, so an error is none of this campaign's.
func (s *Sender) tendIndexes(ctx context.Context, p *Plan) {
	if p.Spec.Segment == "" {
		return
	}
	schema, err := s.schema(ctx)
	if err != nil {
		return
	}
	e, err := segment.Explain(p.Spec.Expression, schema)
	if err != nil {
		return
	}
	var seeks []store.Seek
	for _, k := range e.Seeks {
		seeks = append(seeks, store.Seek{Field: k.Field, Where: store.Where(k.Query)})
	}
	_, _, _ = s.Store.TendIndexes(ctx, seeks)
}

func onAnyList(names []string, lists map[string]int64) (store.Where, error) {
	var any store.Where
	var parts []string
	for _, name := range names {
		id, ok := lists[name]
		if !ok {
			return any, &UsageError{fmt.Sprintf("there is no list %q; mailer lists shows what there is", name)}
		}
		on := store.OnList(id)
		parts = append(parts, "("+on.SQL+")")
		any.Args = append(any.Args, on.Args...)
	}
	any.SQL = strings.Join(parts, " OR ")
	return any, nil
}

// route picks the relays and their limits. A campaign that goes on does so by the relays that it was frozen with.
func (s *Sender) route(p *Plan) error {
	names := slices.Sorted(maps.Keys(p.Spec.Others))
	if p.Request.Relay != "" {
		names = []string{p.Request.Relay}
	} else {
		names = slices.Insert(names, 0, p.Spec.Relay)
	}
	for _, name := range names {
		r, err := s.Workspace.Relay(name)
		if err != nil {
			return err
		}
		if p.Request.Connections > 0 {
			r.Connections = p.Request.Connections
		}
		server, err := s.server(r)
		if err != nil {
			return err
		}
		p.Relays, p.dialers = append(p.Relays, r), append(p.dialers, relay.NewDialer(server))
		p.Connections += r.Connections
	}
	p.Relay = p.Relays[0]
	p.Rates = slices.Concat(p.Relay.Rates, p.Request.Rates)
	return nil
}

// ways are the relays of a run.
func (p *Plan) ways() []*way {
	var all []*way
	for i, r := range p.Relays {
		w := newWay(r.Name, max(r.Weight, 1), r.Connections, p.dialers[i].Dial)
		w.dialer, w.standby = p.dialers[i], r.Standby
		all = append(all, w)
	}
	return all
}

// routes says which relays may carry a message, by its From, its lane and its recipient's domain; nil: all may carry all.
func (p *Plan) routes(conf config.Config, table provider.Table) func(from, domain string) []string {
	if p.Request.Relay != "" || !slices.ContainsFunc(p.Relays, func(r config.Relay) bool { return len(r.For)+len(r.From) > 0 }) {
		return nil
	}
	conf.Relays = p.Relays // one that was configured since carries nothing of this campaign, so no route leads to it
	return func(from, domain string) []string {
		names := []string{}
		for _, r := range conf.RelaysFor(from, table.Lane(domain), domain) {
			names = append(names, r.Name)
		}
		return names
	}
}
