package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mailer/internal/address"
	"mailer/internal/pace"
	"mailer/internal/provider"
	"mailer/internal/spelling"
)

// Lanes are what holds per receiving provider, in the order of the file.
type Lanes []Lane

// Lane says how mail goes to one receiving provider. What it leaves out is as the presets have it.
type Lane struct {
	Name        string        `yaml:",key"`        // a provider's, any of its domains, or another domain
	Members     []string      `yaml:"members"`     // domains that belong to it beside those of the presets
	Connections int           `yaml:"connections"` // 0: as many as the relays have
	Rates       []pace.Rate   `yaml:"rates"`
	Pause       time.Duration `yaml:"pause"` // after a refusal that is about us; 0: as the presets have it
}

// Warmup lets the mail of a relay grow from day to day.
type Warmup struct {
	Curve     Curve            `yaml:"curve"`     // of all that the relay carries; empty: none
	Start     Date             `yaml:"start"`     // the first day; empty: the first on which mail went
	Providers map[string]Curve `yaml:"providers"` // of what goes to one provider, beside the whole
}

// Breaking says when a run must stop: the shares of its mail, in the window, that may at most come to each end.
type Breaking struct {
	Window    time.Duration `yaml:"window"`
	Least     int           `yaml:"least"` // below so many messages a share says nothing
	Hard      Percent       `yaml:"hard"`
	Policy    Percent       `yaml:"policy"`
	Complaint Percent       `yaml:"complaint"`
}

// defaultBreaking: a list that was bought or is years old bounces at 10 to 30 %, a kept one below 2 %. Relays act at about
// 5 % hard bounces; mailbox providers want complaints below 0.3 %.
func defaultBreaking() Breaking {
	return Breaking{Window: time.Hour, Least: 100, Hard: 5, Policy: 20, Complaint: 0.3}
}

// Opening says at what times of the week mail may leave.
type Opening struct {
	Windows  []pace.Span `yaml:"windows"` // none: always
	Quiet    []pace.Span `yaml:"quiet"`   // not then, whatever the windows say
	Timezone string      `yaml:"timezone"`
}

// Breakers are the levels at which a run stops.
func (c Config) Breakers() pace.Levels {
	b := c.Breaking
	return pace.Levels{Window: b.Window, Least: int64(b.Least), Shares: map[pace.Kind]float64{
		pace.Hard: b.Hard.Share(), pace.Policy: b.Policy.Share(), pace.Complaint: b.Complaint.Share(),
	}}
}

// Hours are the times at which mail may leave.
func (c Config) Hours() pace.Hours {
	o := c.Opening
	h := pace.Hours{Windows: o.Windows, Quiet: o.Quiet, Location: c.Location()}
	if o.Timezone != "" {
		if zone, err := time.LoadLocation(o.Timezone); err == nil { // Load has refused any other
			h.Location = zone
		}
	}
	return h
}

// Providers are the presets with what domains: says over them.
func (w *Workspace) Providers() (provider.Table, error) {
	presets, err := provider.Presets()
	if err != nil {
		return provider.Table{}, err
	}
	table, err := presets.With(w.Config.Domains.overrides())
	if err != nil { // Load has refused it; a Config made by hand
		return provider.Table{}, &Error{File: w.Path, Key: "domains", Message: err.Error()}
	}
	return table, nil
}

func (l Lanes) overrides() []provider.Provider {
	all := make([]provider.Provider, len(l))
	for i, lane := range l {
		all[i] = provider.Provider{Name: lane.Name, Domains: lane.Members, Connections: lane.Connections, Rates: lane.Rates, Pause: lane.Pause}
	}
	return all
}

// Steps are the messages a day of all that the relay carries; nil: it is not limited.
func (w Warmup) Steps(t provider.Table) []int64 { return w.Curve.steps(t) }

// LaneSteps are the messages a day to one receiving provider; nil: it has no steps of its own.
func (w Warmup) LaneSteps(t provider.Table, lane string) []int64 {
	for name, curve := range w.Providers {
		if name == lane || t.Lane(provider.Canonical(name)) == lane {
			return curve.steps(t)
		}
	}
	return nil
}

// Since is the part of the history that counts: what was sent from the day of start on.
func (w Warmup) Since(history []pace.Day) []pace.Day {
	var since []pace.Day
	for _, d := range history {
		if d.Date >= string(w.Start) {
			since = append(since, d)
		}
	}
	return since
}

// Begun reports whether the warm-up holds on that day.
func (w Warmup) Begun(today string) bool { return today >= string(w.Start) }

func (c Curve) steps(t provider.Table) []int64 {
	if c.Name == "" {
		return c.Steps
	}
	steps, _ := t.Curve(c.Name)
	return steps
}

// RelaysFor are the relays that may carry a message: those whose from and for both lead to them; without such a relay
// those whose for alone does, then those whose from does, then those that have neither and a weight. from is From's
// address, lane the receiving provider, domain the recipient's. A relay of weight 0 that a route leads to counts as 1.
// None: the message has no way.
func (c Config) RelaysFor(from, lane, domain string) []Relay {
	var found []Relay
	best := 0
	for _, r := range c.Relays {
		rank, ok := r.carries(from, lane, domain)
		if !ok || rank < best {
			continue
		}
		if rank > best {
			best, found = rank, nil
		}
		if rank > 0 {
			r.Weight = max(r.Weight, 1)
		}
		if r.Weight > 0 {
			found = append(found, r)
		}
	}
	return found
}

// carries reports whether the relay's routes let a message through, and how closely they fit it.
func (r Relay) carries(from, lane, domain string) (rank int, ok bool) {
	if len(r.From) > 0 {
		if !r.isFrom(from) {
			return 0, false
		}
		rank++
	}
	if len(r.For) > 0 {
		if !r.isFor(lane, domain) {
			return 0, false
		}
		rank += 2
	}
	return rank, true
}

func (r Relay) isFrom(from string) bool {
	a, err := address.Parse(from)
	if err != nil {
		return false
	}
	for _, f := range r.From {
		if f == a.Key || f == a.Domain() {
			return true
		}
	}
	return false
}

func (r Relay) isFor(lane, domain string) bool {
	for _, f := range r.For {
		below, pattern := strings.CutPrefix(f, "*.")
		if f == lane || f == domain || pattern && strings.HasSuffix(domain, "."+below) {
			return true
		}
	}
	return false
}

// route writes the routes as addresses have them.
func (r *Relay) route() {
	for i, f := range r.For {
		r.For[i] = provider.Canonical(f)
	}
	for i, f := range r.From {
		if a, err := address.Parse(f); err == nil {
			r.From[i] = a.Key
		} else {
			r.From[i] = provider.Canonical(f)
		}
	}
}

// pacing checks the keys that say how fast, when and by which relay.
func (c *checker) pacing() {
	conf := c.config
	presets, err := provider.Presets()
	if err != nil {
		c.bad("domains", "%v", err) // a build gone wrong
		return
	}
	table := c.lanes(presets, conf.Domains)
	for _, r := range conf.Relays {
		key := "relays." + r.Name
		c.routes(key, r, table)
		c.warmup(key+".warmup", r.Warmup, table)
	}
	c.ways(conf.Relays)
	if b := conf.Breaking; b.Window < time.Minute {
		c.bad("breakers.window", "must be 1m or longer; shares of a moment say nothing")
	}
	if conf.Breaking.Least < 1 {
		c.bad("breakers.least", "must be 1 or more")
	}
	c.hours("hours", conf.Opening)
}

// lanes checks domains: and gives the table that it makes.
func (c *checker) lanes(presets provider.Table, lanes Lanes) provider.Table {
	for _, l := range lanes {
		key := "domains." + l.Name
		_, known := presets.Find(l.Name)
		switch {
		case known || isDomain(l.Name) && strings.Contains(l.Name, ".") || len(l.Members) > 0 && relayName.MatchString(l.Name):
		case isDomain(l.Name):
			c.unknown(key, l.Name, "no provider is named %q; write one of %s, a domain, or name the domains of a new group under members:", presets.Names())
		default:
			c.bad(key, "%q is not a domain name", l.Name)
		}
		for i, d := range l.Members {
			if !isDomain(strings.TrimPrefix(d, "*.")) {
				c.bad(fmt.Sprintf("%s.members.%d", key, i), "%q is not a domain name, nor one with *. before it", d)
			}
		}
		if l.Connections < 0 {
			c.bad(key+".connections", "must be 0 (as many as the relays have) or more")
		}
	}
	table := presets
	for i, l := range lanes { // one by one, to say at which key it goes wrong
		made, err := presets.With(lanes[:i+1].overrides())
		if err != nil {
			c.bad("domains."+l.Name, "%v", err)
			break
		}
		table = made
	}
	return table
}

// unknown reports a name at its key, with the one that was probably meant.
func (c *checker) unknown(key, name, format string, known []string) {
	before := len(c.errs)
	c.bad(key, format, name, strings.Join(known, ", "))
	if len(c.errs) > before {
		c.errs[before].Nearest = spelling.Nearest(name, known)
	}
}

func (c *checker) routes(key string, r Relay, table provider.Table) {
	for i, f := range r.For {
		key := fmt.Sprintf("%s.for.%d", key, i)
		_, known := table.Provider(f)
		switch {
		case known || isDomain(strings.TrimPrefix(f, "*.")) && strings.Contains(f, "."):
		case isDomain(f):
			c.unknown(key, f, "no provider is named %q; write one of %s, or a recipient's domain", table.Names())
		default:
			c.bad(key, "%q is not a domain name", f)
		}
	}
	for i, f := range r.From {
		if _, err := address.Parse(f); err != nil && (strings.Contains(f, "@") || !isDomain(f)) {
			c.bad(fmt.Sprintf("%s.from.%d", key, i), "%q is neither an address nor the domain of one", f)
		}
	}
}

// ways warns of mail that no relay would carry.
func (c *checker) ways(relays Relays) {
	for _, r := range relays {
		if r.Weight > 0 && len(r.For) == 0 && len(r.From) == 0 {
			return
		}
	}
	if len(relays) > 0 {
		c.warn("relays", "every relay has weight 0 or carries only what its for and from say; other mail goes nowhere unless --relay names one")
	}
}

func (c *checker) warmup(key string, w Warmup, table provider.Table) {
	c.curve(key+".curve", w.Curve, table)
	first := map[string]string{} // the key that a lane was first named by
	for _, name := range slices.Sorted(maps.Keys(w.Providers)) {
		key, lane, curve := key+".providers."+name, table.Lane(provider.Canonical(name)), w.Providers[name]
		if other, twice := first[lane]; twice {
			c.bad(key, "%s and %s are one provider, %s; keep one of the two", other, name, lane)
		}
		first[lane] = name
		if _, known := table.Find(name); !known && (!isDomain(name) || !strings.Contains(name, ".")) {
			c.unknown(key, name, "no provider is named %q; write one of %s, or a domain", table.Names())
		}
		c.curve(key, curve, table)
	}
	if w.Start != "" && w.Curve.IsZero() && len(w.Providers) == 0 {
		c.bad(key, "has a start and no curve; add `curve: standard`")
	}
}

func (c *checker) curve(key string, curve Curve, table provider.Table) {
	if curve.Name == "" {
		return
	}
	if _, ok := table.Curve(curve.Name); !ok {
		c.unknown(key, curve.Name, "no warm-up is named %q; write one of %s, or the messages of each day as a list", table.Curves())
	}
}

func (c *checker) hours(key string, o Opening) {
	if o.Timezone != "" {
		if _, err := time.LoadLocation(o.Timezone); err != nil {
			c.bad(key+".timezone", "no time zone is named %q; write one such as Asia/Tokyo or Europe/Berlin", o.Timezone)
		}
	}
	for _, e := range c.errs {
		if strings.HasPrefix(e.Key, key+".") {
			return // a span that was not understood
		}
	}
	h := pace.Hours{Windows: o.Windows, Quiet: o.Quiet, Location: time.UTC}
	if someDay := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC); h.Next(someDay).IsZero() {
		c.bad(key, "leave no time at which mail may go: quiet covers every window")
	}
}
