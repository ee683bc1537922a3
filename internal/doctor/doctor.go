// Package doctor says whether mail will arrive, and if not, why: DNS, keys, relay, list and the workspace itself.
//
// A check returns findings and never stops another check. What it could not find out is Unknown, which is neither good nor
// bad: it never stops a send.
package doctor

import (
	"cmp"
	"slices"
)

// Level is how a check went.
type Level string

// The levels, from the best.
const (
	Pass    Level = "pass"
	Info    Level = "info"    // nothing is wrong; something could be better or is worth knowing
	Unknown Level = "unknown" // it could not be found out
	Warn    Level = "warn"    // mail arrives today, at some receivers, or not as well as it could
	Fail    Level = "fail"    // mail does not arrive, or will not for long
)

var order = []Level{Pass, Info, Unknown, Warn, Fail}

// Worse reports whether a is worse than b.
func (l Level) Worse(b Level) bool { return slices.Index(order, l) > slices.Index(order, b) }

// Finding is what one check found about one thing.
type Finding struct {
	Area    string   `json:"area"`              // domain, relay, list, workspace
	Check   string   `json:"check"`             // spf, dkim_record, ...: stable, for scripts
	Subject string   `json:"subject,omitempty"` // what it is about: a domain, a relay's name, a file
	Level   Level    `json:"level"`
	Found   string   `json:"found"`             // what was found, in a sentence
	Why     string   `json:"why,omitempty"`     // why it matters, with the rule and who asks for it
	Do      string   `json:"do,omitempty"`      // what to do next
	Own     bool     `json:"own,omitempty"`     // it is our own configuration that is wrong: send stops on its failures
	Publish []Record `json:"publish,omitempty"` // what to paste into the DNS
	Detail  []string `json:"detail,omitempty"`  // lines of evidence: the tree of lookups, the addresses, examples
	People  int64    `json:"people,omitempty"`  // of a list: how many it is about
	Where   string   `json:"where,omitempty"`   // and the expression that picks them
}

// Record is a DNS record to publish.
type Record struct {
	Name    string   `json:"name"` // without the last dot
	Type    string   `json:"type"`
	Value   string   `json:"value"`             // whole, as a panel wants it
	Strings []string `json:"strings,omitempty"` // TXT: cut into pieces of at most 255 bytes, as a zone file wants it
	Zone    string   `json:"zone,omitempty"`    // many panels add this themselves
	Note    string   `json:"note,omitempty"`    // such as: merge it with the one that is there
}

// Worst is the worst level of some findings; Pass of none.
func Worst(all []Finding) Level {
	worst := Pass
	for _, f := range all {
		if f.Level.Worse(worst) {
			worst = f.Level
		}
	}
	return worst
}

// Count counts findings by level.
func Count(all []Finding) map[Level]int {
	n := map[Level]int{}
	for _, f := range all {
		n[f.Level]++
	}
	return n
}

// Sort puts the worst first and keeps the order of the checks among equals.
func Sort(all []Finding) {
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Compare(slices.Index(order, b.Level), slices.Index(order, a.Level))
	})
}
