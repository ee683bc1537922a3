// Package provider says which domains are one receiving provider's, and how that provider takes mail.
//
// The presets are providers.yaml, a dated file with its sources. A workspace puts its own values over them (With). What a
// domain belongs to is its lane: the provider's name, or the domain itself where no provider has it.
package provider

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"mailer/internal/address"
	"mailer/internal/pace"
)

//go:embed providers.yaml
var presets []byte

// Provider is a group of receiving domains that takes mail as one.
type Provider struct {
	Name        string
	Title       string        // for people
	Domains     []string      // also *.example.com: every name below it
	Connections int           // at most, over all relays; 0: as many as the relays have
	Rates       []pace.Rate   // over all relays
	Pause       time.Duration // after a refusal that is about us
	Direct      Direct
}

// Direct is what holds beside that for mail that goes to the provider's own servers.
type Direct struct {
	Connections int
	Rates       []pace.Rate
}

// Table is all providers of a workspace. It is not changed once it is made.
type Table struct {
	date      string
	providers []Provider
	byName    map[string]int
	exact     map[string]int
	below     map[string]int // of *.example.com: example.com
	curves    map[string][]int64
	fallback  Provider
}

// Presets are mailer's own providers.
func Presets() (Table, error) {
	t, err := parse(presets)
	if err != nil {
		return Table{}, fmt.Errorf("read the presets of the providers: %w", err)
	}
	return t, nil
}

// The file as it is written.
type fileProvider struct {
	Title   string     `yaml:"title"`
	Domains []string   `yaml:"domains"`
	Pause   string     `yaml:"pause"`
	Direct  fileDirect `yaml:"direct"`
}

type fileDirect struct {
	Connections int      `yaml:"connections"`
	Rates       []string `yaml:"rates"`
}

func parse(text []byte) (Table, error) {
	var file struct {
		Date      string                  `yaml:"date"`
		Default   fileProvider            `yaml:"default"`
		Providers map[string]fileProvider `yaml:"providers"`
		Curves    map[string][]int64      `yaml:"curves"`
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		return Table{}, err
	}
	if _, err := time.Parse(time.DateOnly, file.Date); err != nil {
		return Table{}, fmt.Errorf("date: %w", err)
	}
	t := Table{date: file.Date, curves: file.Curves}
	var err error
	if t.fallback, err = file.Default.provider("", Provider{}); err != nil {
		return Table{}, err
	}
	var all []Provider
	for _, name := range slices.Sorted(maps.Keys(file.Providers)) {
		p, err := file.Providers[name].provider(name, t.fallback)
		if err != nil {
			return Table{}, err
		}
		all = append(all, p)
	}
	return t.of(all)
}

// provider is the entry with what it leaves out taken from another one.
func (f fileProvider) provider(name string, otherwise Provider) (Provider, error) {
	p := Provider{Name: name, Title: f.Title, Domains: f.Domains, Pause: otherwise.Pause, Direct: otherwise.Direct}
	if f.Pause != "" {
		pause, err := time.ParseDuration(f.Pause)
		if err != nil {
			return p, fmt.Errorf("%s: pause: %w", name, err)
		}
		p.Pause = pause
	}
	if f.Direct.Connections > 0 {
		p.Direct = Direct{Connections: f.Direct.Connections}
	}
	for _, text := range f.Direct.Rates {
		r, err := pace.ParseRate(text)
		if err != nil {
			return p, fmt.Errorf("%s: %w", name, err)
		}
		p.Direct.Rates = append(p.Direct.Rates, r)
	}
	return p, nil
}

// TakenError is a domain that two providers claim.
type TakenError struct{ Domain, Provider, Other string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("%s is in %s and in %s; a domain is in one group", e.Domain, e.Provider, e.Other)
}

// of is the table with these providers in place of its own.
func (t Table) of(all []Provider) (Table, error) {
	t.providers, t.byName, t.exact, t.below = all, map[string]int{}, map[string]int{}, map[string]int{}
	for i, p := range all {
		t.byName[p.Name] = i
		for _, d := range p.Domains {
			of, name := t.exact, d
			if rest, ok := strings.CutPrefix(d, "*."); ok {
				of, name = t.below, rest
			}
			if other, taken := of[name]; taken {
				return Table{}, &TakenError{d, all[other].Name, p.Name}
			}
			of[name] = i
		}
	}
	return t, nil
}

// SameError is a provider that is named twice, so that nobody can say whose values hold.
type SameError struct{ First, Second, Title string }

func (e *SameError) Error() string {
	return fmt.Sprintf("%s and %s are both %s, whose domains are one group: the provider counts their mail together. Keep one of the two",
		e.First, e.Second, e.Title)
}

// With puts a workspace's values over the table's. The name of an override is a provider's, or that of any of its
// domains, or a domain that no provider has, which then is a group of its own. Its Domains join the group, and leave
// the one they were in; zero values leave what is there.
func (t Table) With(overrides []Provider) (Table, error) {
	all := slices.Clone(t.providers)
	named := map[int]string{} // which override changes a provider
	moved := map[string]int{} // to where an override takes a domain
	for _, o := range overrides {
		i := t.find(o.Name)
		if name := Canonical(o.Name); i < 0 {
			i = slices.IndexFunc(all, func(p Provider) bool { return p.Name == name })
		}
		if i < 0 {
			i = len(all)
			all = append(all, t.single(o))
		}
		if first, twice := named[i]; twice {
			return Table{}, &SameError{first, o.Name, all[i].Title}
		}
		named[i] = o.Name
		all[i] = all[i].with(o)
		for _, d := range o.Domains {
			d = Canonical(d)
			if other, twice := moved[d]; twice && other != i {
				return Table{}, &TakenError{d, all[other].Name, all[i].Name}
			}
			moved[d] = i
		}
	}
	for i := range all {
		all[i].Domains = slices.DeleteFunc(slices.Clone(all[i].Domains), func(d string) bool {
			to, ok := moved[d]
			return ok && to != i
		})
	}
	return t.of(all)
}

// single is a group for an override of no provider: its domain, or the domains that it names.
func (t Table) single(o Provider) Provider {
	p := t.fallback
	p.Name = Canonical(o.Name)
	p.Title = p.Name
	if strings.Contains(p.Name, ".") {
		p.Domains = []string{p.Name}
	}
	return p
}

func (p Provider) with(o Provider) Provider {
	if o.Title != "" {
		p.Title = o.Title
	}
	if o.Connections > 0 {
		p.Connections = o.Connections
	}
	if len(o.Rates) > 0 {
		p.Rates = o.Rates
	}
	if o.Pause > 0 {
		p.Pause = o.Pause
	}
	p.Domains = slices.Clone(p.Domains)
	for _, d := range o.Domains {
		if d = Canonical(d); !slices.Contains(p.Domains, d) {
			p.Domains = append(p.Domains, d)
		}
	}
	return p
}

// Canonical is a domain, or *. and one, as addresses have it: lower case, in ASCII.
func Canonical(domain string) string {
	rest, pattern := strings.CutPrefix(domain, "*.")
	a, err := address.Parse("x@" + rest)
	if err != nil {
		return strings.ToLower(domain)
	}
	if pattern {
		return "*." + a.Domain()
	}
	return a.Domain()
}

// Lane is the provider that has a domain, or the domain.
func (t Table) Lane(domain string) string {
	domain = strings.ToLower(domain) // which gives back one that is so already
	if i := t.owner(domain); i >= 0 {
		return t.providers[i].Name
	}
	return domain
}

// owner is the index of the provider that has a domain, -1 for none.
func (t Table) owner(domain string) int {
	if i, ok := t.exact[domain]; ok {
		return i
	}
	for rest := domain; ; {
		var ok bool
		if _, rest, ok = strings.Cut(rest, "."); !ok {
			return -1
		}
		if i, ok := t.below[rest]; ok {
			return i
		}
	}
}

// find is the provider of that name, or the one with that domain.
func (t Table) find(name string) int {
	if i, ok := t.byName[strings.ToLower(name)]; ok {
		return i
	}
	if rest, pattern := strings.CutPrefix(name, "*."); pattern {
		if i, ok := t.below[Canonical(rest)]; ok {
			return i
		}
		return -1
	}
	return t.owner(Canonical(name))
}

// Find is the provider that a name stands for, its own or that of one of its domains.
func (t Table) Find(name string) (Provider, bool) {
	if i := t.find(name); i >= 0 {
		return t.providers[i], true
	}
	return Provider{}, false
}

// Provider is the one of a lane. A lane that is a domain of no provider has the values that hold otherwise, and false.
func (t Table) Provider(lane string) (Provider, bool) {
	if i, ok := t.byName[lane]; ok {
		return t.providers[i], true
	}
	p := t.fallback
	p.Name, p.Title = lane, lane
	return p, false
}

// Providers are all of them, by name.
func (t Table) Providers() []Provider { return t.providers }

// Names are those of the providers.
func (t Table) Names() []string { return slices.Sorted(maps.Keys(t.byName)) }

// Curve is a warm-up's messages a day.
func (t Table) Curve(name string) ([]int64, bool) {
	c, ok := t.curves[name]
	return c, ok
}

// Curves are the names of the warm-ups.
func (t Table) Curves() []string { return slices.Sorted(maps.Keys(t.curves)) }

// Date is the day of the presets.
func (t Table) Date() string { return t.date }
