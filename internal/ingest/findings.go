package ingest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mailer/internal/address"
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
)

// Bounds of what is remembered of a file, however long it is.
const (
	maxDomains = 4096 // whose verdict is kept; beyond, each is judged again
	maxTypos   = 200  // domains that are told one by one
)

// findings counts what is odd about addresses. Its nil value counts nothing.
type findings struct {
	suggestions map[string]string // by domain
	typos       map[string]*Finding
	others      map[string]*Finding // by code
}

func newFindings() *findings {
	return &findings{map[string]string{}, map[string]*Finding{}, map[string]*Finding{}}
}

// see takes one address into account. Strings are cloned where they are kept: a cell can hold its whole row in memory.
func (f *findings) see(a address.Address) {
	if f == nil {
		return
	}
	domain := a.Domain()
	meant, known := f.suggestions[domain]
	if !known {
		meant = address.Suggest(domain)
		if len(f.suggestions) < maxDomains {
			f.suggestions[strings.Clone(domain)] = meant
		}
	}
	if meant != "" {
		f.typo(domain, meant, a)
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
	for _, kind := range []struct{ code, text string }{
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
	return all
}

func addresses(n int64) string {
	if n == 1 {
		return "1 address"
	}
	return fmt.Sprintf("%d addresses", n)
}
