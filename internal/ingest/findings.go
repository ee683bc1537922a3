package ingest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mailer/internal/address"
	"mailer/internal/zone"
)

// Finding is something about the addresses of a file that a person should look at. It changes nothing in the import.
type Finding struct {
	Code       string `json:"code"`
	Count      int64  `json:"count"`
	Domain     string `json:"domain,omitempty"`
	Suggestion string `json:"suggestion,omitempty"`
	Example    string `json:"example"`
	Message    string `json:"message"`
}

// Codes of findings.
const (
	TypoDomain     = "typo_domain"
	MachineAddress = "machine_address"
	SharedAddress  = "shared_address"
	UTF8Address    = "smtputf8_address"
	QuotedAddress  = "quoted_address"
	Disposable     = "disposable_address"
	DeadDomain     = "dead_domain"    // the DNS has no server that takes mail for it
	UnknownDomain  = "unknown_domain" // nobody knew in time whether it has one
)

// Bounds of what is remembered of a file, however long it is.
const (
	maxDomains = 4096   // whose verdict is kept; beyond, each is judged again
	maxAsked   = 20_000 // about which the DNS is asked
	maxTypos   = 200    // domains that are told one by one
)

// findings counts what is odd about addresses. Its nil value counts nothing.
type findings struct {
	disposables address.Disposables
	most        int // domains that are kept
	domains     map[string]*seenDomain
	typos       map[string]*Finding
	others      map[string]*Finding // by code
	dead        []Finding
}

// seenDomain is what is known of a domain.
type seenDomain struct {
	meant      string // what it is probably a slip of
	disposable bool
	count      int64
	example    string
}

// newFindings is empty. With ask the domains are kept, so that the DNS can be asked about them.
func newFindings(d address.Disposables, ask bool) *findings {
	f := &findings{disposables: d, most: maxDomains, domains: map[string]*seenDomain{}, typos: map[string]*Finding{}, others: map[string]*Finding{}}
	if ask {
		f.most = maxAsked
	}
	return f
}

// see takes one address into account. Strings are cloned where they are kept: a cell can hold its whole row in memory.
func (f *findings) see(a address.Address) {
	if f == nil {
		return
	}
	domain := a.Domain()
	d := f.domains[domain]
	if d == nil {
		d = &seenDomain{meant: address.Suggest(domain), disposable: f.disposables.Has(domain)}
		if len(f.domains) < f.most {
			d.example = strings.Clone(a.Text)
			f.domains[strings.Clone(domain)] = d
		}
	}
	d.count++
	if d.meant != "" {
		f.typo(domain, d.meant, a)
	}
	if d.disposable {
		count(f.others, Disposable, a)
	}
	switch address.DutyOf(a.Key) {
	case address.Machine:
		count(f.others, MachineAddress, a)
	case address.Shared:
		count(f.others, SharedAddress, a)
	}
	if a.SMTPUTF8 {
		count(f.others, UTF8Address, a)
	}
	if a.Quoted() {
		count(f.others, QuotedAddress, a)
	}
}

// ask asks the DNS which of the domains take mail, the most common first, until the context ends. What nobody knows by then is not
// held against a domain.
func (f *findings) ask(ctx context.Context, r zone.Resolver) {
	names := slices.SortedFunc(maps.Keys(f.domains), func(a, b string) int {
		return cmp.Or(cmp.Compare(f.domains[b].count, f.domains[a].count), cmp.Compare(a, b))
	})
	unknown := Finding{Code: UnknownDomain}
	unclear := 0
	for i, m := range zone.ReceivesEach(ctx, r, names) {
		d := f.domains[names[i]]
		switch {
		case m.Dead():
			f.dead = append(f.dead, Finding{Code: DeadDomain, Count: d.count, Domain: names[i], Example: d.example,
				Message: fmt.Sprintf("%s at %s, which %s: mail to them bounces", addresses(d.count), names[i], m.Words())})
		case m == zone.Unclear:
			if unclear++; unknown.Example == "" {
				unknown.Example = d.example
			}
			unknown.Count += d.count
		}
	}
	if unclear > 0 {
		unknown.Message = fmt.Sprintf("of %d of %d domains (%s, such as %s) nobody knew in time whether they take mail; --dns with a longer time asks more",
			unclear, len(names), addresses(unknown.Count), unknown.Example)
		f.others[UnknownDomain] = &unknown
	}
}

func (f *findings) typo(domain, meant string, a address.Address) {
	if _, have := f.typos[domain]; !have && len(f.typos) >= maxTypos {
		domain, meant = "", "" // what there is no more room for is counted together
	}
	t := count(f.typos, domain, a)
	t.Domain, t.Suggestion = strings.Clone(domain), meant
}

func count(all map[string]*Finding, key string, a address.Address) *Finding {
	f := all[key]
	if f == nil {
		f = &Finding{Example: strings.Clone(a.Text)}
		all[strings.Clone(key)] = f
	}
	f.Count++
	return f
}

// list is what was found, in the order in which it matters.
func (f *findings) list() []Finding {
	if f == nil {
		return nil
	}
	var all []Finding
	for _, t := range f.typos {
		t.Code = TypoDomain
		if t.Message = fmt.Sprintf("%s at %s: %s was probably meant", addresses(t.Count), t.Domain, t.Suggestion); t.Domain == "" {
			t.Message = fmt.Sprintf("%s at more domains that look like a slip of the finger, such as %s", addresses(t.Count), t.Example)
		}
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b Finding) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Domain, b.Domain)) })
	all = append(all, f.dead...)
	for _, kind := range []struct{ code, text string }{
		{Disposable, "%s at services that give out mailboxes to throw away, such as %s: nobody reads them after a few minutes; better not mailed"},
		{MachineAddress, "%s of no person, such as %s: mail to them reaches nobody, or those who decide who is blocked; better not mailed"},
		{SharedAddress, "%s that several people may read, such as %s"},
		{UTF8Address, "%s with letters beyond ASCII before the @, such as %s: the relay must speak SMTPUTF8"},
		{QuotedAddress, "%s of a carrier with dots where RFC 5321 allows none, such as %s: they are quoted when sent, and some relays refuse that"},
	} {
		if o := f.others[kind.code]; o != nil {
			o.Code, o.Message = kind.code, fmt.Sprintf(kind.text, addresses(o.Count), o.Example)
			all = append(all, *o)
		}
	}
	if o := f.others[UnknownDomain]; o != nil {
		all = append(all, *o)
	}
	return all
}

func addresses(n int64) string {
	if n == 1 {
		return "1 address"
	}
	return fmt.Sprintf("%d addresses", n)
}
