package message

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Sampler picks the few of all recipients whose messages are worth a look: each language, who lacks what the campaign
// asks for, the longest values, the domains with most people. The same list gives the same sample.
type Sampler struct {
	template *Template
	fields   []string
	first    []*Recipient
	language map[*document]*Recipient
	longest  map[string]longest
	missing  map[string]*Recipient
	domains  map[string]*domainShare
}

type longest struct {
	who   *Recipient
	width int
}

type domainShare struct {
	name  string
	who   *Recipient
	count int
}

// Pick is one recipient of a sample, and what it is there for.
type Pick struct {
	Recipient
	Why []string
}

// fewest is how many people a sample has, if there are so many.
const fewest = 5

// maxDomains bounds what is remembered of a list with a domain for everybody.
const maxDomains = 10_000

// Sampler begins a sample.
func (t *Template) Sampler() *Sampler {
	return &Sampler{template: t, fields: t.Fields(), language: map[*document]*Recipient{}, longest: map[string]longest{},
		missing: map[string]*Recipient{}, domains: map[string]*domainShare{}}
}

// Fields are the columns that the campaign asks for, in the order of their names.
func (t *Template) Fields() []string {
	asked := map[string]bool{}
	for _, d := range t.documents {
		for _, r := range d.program.refs {
			if r.Field != "" && (r.Own || !slices.Contains(Reserved, r.Field)) {
				asked[r.Field] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(asked))
}

// Add looks at one recipient. It keeps the values of some.
func (s *Sampler) Add(r Recipient) {
	who := &r
	if len(s.first) < fewest {
		s.first = append(s.first, who)
	}
	if d, err := s.template.document(r); err == nil && s.language[d] == nil {
		s.language[d] = who
	}
	for _, f := range s.fields {
		switch value := r.Values[f]; {
		case value != "":
			if w := columns(value); w > s.longest[f].width {
				s.longest[f] = longest{who, w}
			}
		case s.missing[f] == nil:
			s.missing[f] = who
		}
	}
	name := strings.ToLower(r.Address[strings.LastIndexByte(r.Address, '@')+1:])
	if d := s.domains[name]; d != nil {
		d.count++
	} else if len(s.domains) < maxDomains {
		s.domains[name] = &domainShare{name, who, 1}
	}
}

// Picks is the sample: at most n recipients, the most telling first.
func (s *Sampler) Picks(n int) []Pick {
	var picks []Pick
	add := func(who *Recipient, why string) {
		if who == nil {
			return
		}
		i := slices.IndexFunc(picks, func(p Pick) bool { return p.Address == who.Address })
		if i < 0 && len(picks) < n {
			picks = append(picks, Pick{Recipient: *who})
			i = len(picks) - 1
		}
		if i >= 0 {
			picks[i].Why = append(picks[i].Why, why)
		}
	}
	if len(s.first) > 0 {
		add(s.first[0], "the first")
	}
	for _, d := range s.template.documents {
		if len(s.template.documents) > 1 {
			add(s.language[d], "language "+d.variant.Lang)
		}
	}
	for _, f := range s.fields {
		add(s.missing[f], fmt.Sprintf("no %s", f))
	}
	for _, f := range s.fields {
		add(s.longest[f].who, fmt.Sprintf("longest %s", f))
	}
	shares := slices.SortedFunc(maps.Values(s.domains), func(a, b *domainShare) int {
		if a.count != b.count {
			return b.count - a.count
		}
		return strings.Compare(a.name, b.name)
	})
	for _, d := range shares[:min(len(shares), 8)] {
		add(d.who, "at "+d.name)
	}
	for _, who := range s.first {
		if len(picks) < fewest && !slices.ContainsFunc(picks, func(p Pick) bool { return p.Address == who.Address }) {
			add(who, "one more")
		}
	}
	return picks
}
