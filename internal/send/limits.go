package send

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"mailer/internal/config"
	"mailer/internal/pace"
	"mailer/internal/provider"
	"mailer/internal/store"
)

// The limits of a message have scopes, and each limit's name begins with its scope:
//
//	all                  everything that this workspace sends
//	campaign news        one campaign, by its --rate
//	relay main           what goes by a relay
//	lane gmail           what goes to a receiving provider
//	relay main lane gmail   what a relay that delivers straight to the receivers may hand to one of them
//	warmup main          today's share of a relay that is being warmed up
//	warmup main gmail    and of it for one provider

func relayScope(relay string) string      { return "relay " + relay }
func laneScope(lane string) string        { return "lane " + lane }
func campaignScope(name string) string    { return "campaign " + name }
func pairScope(relay, lane string) string { return "relay " + relay + " lane " + lane }
func warmupName(relay, lane string) string {
	return strings.TrimSuffix(relay+" "+lane, " ")
}

// wide is how many of a message's scopes are about more than its lane: they come first.
const wide = 4

// scopesOf are the scopes that a campaign's message of a lane by a relay lies in.
func scopesOf(campaign, relay, lane string) []string {
	all := []string{"all", campaignScope(campaign), relayScope(relay), "warmup " + relay}
	if lane != "" {
		all = append(all, laneScope(lane), pairScope(relay, lane), "warmup "+warmupName(relay, lane))
	}
	return all
}

// scopeOf is the scope of a limit, by its name.
func scopeOf(limit string) string {
	if i := strings.LastIndexByte(limit, '/'); i >= 0 {
		return limit[:i]
	}
	return limit
}

// limitText says how much a limit lets go, from its name: "20/s", "50 today (warm-up)".
func (b *book) limitText(name string, now time.Time) string {
	l, found := b.find(name, now)
	switch {
	case !found:
		return name
	case !l.Until.IsZero():
		return fmt.Sprintf("%d today (warm-up)", l.N)
	}
	return pace.Rate{N: int(l.N), Per: l.Per}.String()
}

// boundText says which limit it is, from its name: "20/s by relay main", "the warm-up of relay main for gmail".
func (b *book) boundText(name string, now time.Time) string {
	scope := scopeOf(name)
	if warm, ok := strings.CutPrefix(scope, "warmup "); ok {
		for relay := range b.relays {
			if lane, ok := strings.CutPrefix(warm, relay+" "); ok {
				return "the warm-up of relay " + relay + " for " + lane
			}
		}
		return "the warm-up of relay " + warm
	}
	l, found := b.find(name, now)
	if !found {
		return name
	}
	rate := pace.Rate{N: int(l.N), Per: l.Per}.String()
	relay, lane, both := strings.Cut(scope, " lane ")
	switch {
	case scope == "all":
		return rate + " for all mail"
	case strings.HasPrefix(scope, "campaign "):
		return rate + " of --rate"
	case both:
		return rate + " to " + lane + " by " + relay
	case strings.HasPrefix(scope, "lane "):
		return rate + " to " + strings.TrimPrefix(scope, "lane ")
	}
	return rate + " by " + scope
}

// find is the limit of a name, among those that hold at a time.
func (b *book) find(name string, now time.Time) (pace.Limit, bool) {
	lanes := []string{"", b.laneIn(scopeOf(name))}
	for relay := range b.relays {
		for _, lane := range lanes {
			for _, l := range b.of(relay, lane, now) {
				if l.Name == name {
					return l, true
				}
			}
		}
	}
	return pace.Limit{}, false
}

// laneIn is the lane that a scope names, if it does: its last word. Names of lanes have no spaces.
func (b *book) laneIn(scope string) string { return scope[strings.LastIndexByte(scope, ' ')+1:] }

// book says which limits hold for a message, at any time: those of the configuration, and the day's share of what is being warmed up.
type book struct {
	providers provider.Table
	zone      *time.Location
	all       []pace.Limit
	relays    map[string]relayLimits
	cache     atomic.Pointer[map[[2]string][]pace.Limit] // of today
	day       atomic.Pointer[string]
	assume    bool // for a forecast: of a warm-up, each day to come is taken to be used up
	today     string
}

// relayLimits are those of one relay.
type relayLimits struct {
	limits []pace.Limit
	direct bool
	warmup config.Warmup
	shares map[string]share // by lane; "" is the relay as a whole
}

// share is what is known of a warm-up.
type share struct {
	curve   []int64
	history []pace.Day
}

// newBook reads the limits. A campaign's own rates have meters of their own: it would hold up others that share a relay's.
func (s *Sender) newBook(ctx context.Context, campaign string, relays []config.Relay, rates []pace.Rate) (*book, error) {
	conf := s.Workspace.Config
	table, err := s.Workspace.Providers()
	if err != nil {
		return nil, err
	}
	b := &book{providers: table, zone: conf.Location(), all: slices.Concat(pace.Limits("all", conf.Rates...), pace.Limits(campaignScope(campaign), rates...)), relays: map[string]relayLimits{},
		today: s.Now().In(conf.Location()).Format(time.DateOnly)}
	for _, r := range relays {
		l := relayLimits{limits: pace.Limits(relayScope(r.Name), r.Rates...), direct: r.Direct, warmup: r.Warmup, shares: map[string]share{}}
		for lane, curve := range warmups(r.Warmup, table) {
			days, err := s.Store.WarmupDays(ctx, warmupName(r.Name, lane))
			if err != nil {
				return nil, err
			}
			l.shares[lane] = share{curve, r.Warmup.Since(days)}
		}
		b.relays[r.Name] = l
	}
	return b, nil
}

// warmups are the curves of a warm-up, by lane; that of the relay as a whole is "".
func warmups(w config.Warmup, table provider.Table) map[string][]int64 {
	all := map[string][]int64{}
	if steps := w.Steps(table); steps != nil {
		all[""] = steps
	}
	for name := range w.Providers {
		lane := name
		if _, ok := table.Provider(name); !ok {
			lane = table.Lane(provider.Canonical(name))
		}
		all[lane] = w.LaneSteps(table, lane)
	}
	return all
}

// of is which limits hold at a time for a lane by a relay.
func (b *book) of(relay, lane string, at time.Time) []pace.Limit {
	all := slices.Clone(b.all)
	r := b.relays[relay]
	all = append(all, r.limits...)
	if lane != "" {
		p, _ := b.providers.Provider(lane)
		all = append(all, pace.Limits(laneScope(lane), p.Rates...)...)
		if r.direct {
			all = append(all, pace.Limits(pairScope(relay, lane), p.Direct.Rates...)...)
		}
	}
	if l, ok := b.share(relay, "", at.In(b.zone)); ok {
		all = append(all, l)
	}
	if lane == "" {
		return all
	}
	if l, ok := b.share(relay, lane, at.In(b.zone)); ok {
		all = append(all, l)
	}
	return all
}

// atOnce is how many messages a provider may be sent at a time; 0: as many as there are connections. What it allows a server that delivers
// straight to it holds for all relays together, once one of them does.
func (b *book) atOnce(p provider.Provider) int {
	for _, r := range b.relays {
		if d := p.Direct.Connections; r.direct && d > 0 && (p.Connections == 0 || d < p.Connections) {
			return d
		}
	}
	return p.Connections
}

// now is of for this moment, from memory: it is asked for each message.
func (b *book) now(relay, lane string, at time.Time) []pace.Limit {
	key, day := [2]string{relay, lane}, at.In(b.zone).Format(time.DateOnly)
	if have := b.day.Load(); have == nil || *have != day {
		b.cache.Store(&map[[2]string][]pace.Limit{})
		b.day.Store(&day)
	}
	known := b.cache.Load()
	if all, ok := (*known)[key]; ok {
		return all
	}
	more := maps.Clone(*known)
	more[key] = b.of(relay, lane, at)
	b.cache.Store(&more)
	return more[key]
}

// share is what a warm-up lets go on the day of a time; false when there is none.
func (b *book) share(relay, lane string, at time.Time) (pace.Limit, bool) {
	r := b.relays[relay]
	s, ok := r.shares[lane]
	date := at.Format(time.DateOnly)
	if !ok || !r.warmup.Begun(date) {
		return pace.Limit{}, false
	}
	history := s.history
	if b.assume {
		history = s.until(b.today, date, r.warmup.Begun)
	}
	return store.WarmupLimit(warmupName(relay, lane), date, pace.Share(s.curve, history, date), pace.EndOfDay(at)), true
}

// until is the history at a date, if each day from today on is used up.
func (s share) until(today, date string, begun func(day string) bool) []pace.Day {
	all := slices.Clone(s.history)
	day, err := time.Parse(time.DateOnly, today)
	for ; err == nil && day.Format(time.DateOnly) < date; day = day.AddDate(0, 0, 1) {
		one := day.Format(time.DateOnly)
		if !begun(one) {
			continue
		}
		all = slices.DeleteFunc(all, func(d pace.Day) bool { return d.Date == one })
		if n := pace.Share(s.curve, all, one); n > 0 {
			all = append(all, pace.Day{Date: one, Sent: n})
		}
	}
	return all
}

// domainOf is a domain of a lane; of the lane of all others none.
func (b *book) domainOf(lane string) string {
	if p, ok := b.providers.Provider(lane); ok && len(p.Domains) > 0 {
		return strings.TrimPrefix(p.Domains[0], "*.")
	}
	return lane
}

// meters reads the meters that an estimate begins with.
func meters(ctx context.Context, s *store.Store, all []pace.Limit) (func(string) *pace.Meter, error) {
	known, err := s.Meters(ctx, all)
	if err != nil {
		return nil, err
	}
	return func(name string) *pace.Meter {
		if m := known[name]; m != nil {
			return m
		}
		return &pace.Meter{}
	}, nil
}
