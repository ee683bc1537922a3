// Package doctor says whether mail will arrive, and if not, why: DNS, keys, relay, list and the workspace itself.
//
// A check returns findings and never stops another check. What it could not find out is Unknown, which is neither good nor
// bad: it never stops a send.
package doctor

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
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

// Briefly leaves out of each Why the sentences that a finding before has told, and names that finding. Only what is worse than Info has
// its Why told.
func Briefly(all []Finding) []Finding {
	all = slices.Clone(all)
	told := map[string]string{} // sentence -> check
	for i := range all {
		f := &all[i]
		if !f.Level.Worse(Info) {
			continue
		}
		var fresh, see []string
		for sentence := range strings.SplitSeq(strings.TrimSuffix(f.Why, "."), ". ") {
			switch by, again := told[sentence]; {
			case !again:
				told[sentence] = f.Check
				fresh = append(fresh, sentence)
			case !slices.Contains(see, by):
				see = append(see, by)
			}
		}
		switch names := strings.Join(see, ", ") + " above."; {
		case len(see) == 0:
		case len(fresh) == 0:
			f.Why = "See " + names
		default:
			f.Why = strings.Join(fresh, ". ") + ". See also " + names
		}
	}
	return all
}

// socket is what an error of the network says of the port on this side: another one each time.
var socket = regexp.MustCompile(`\S+:\d+->`)

// Reason is an error's text without what differs each time.
func Reason(text string) string { return socket.ReplaceAllString(text, "") }

// Silence is findings that are Unknown for one cause: told once, and not once for each.
type Silence struct {
	Finding          // the first of them; Found is what they have in common
	Checks  []string // their names, and their subjects where a check is there more than once
}

// few is how many findings are still told one by one.
const few = 2

// Together takes out those findings that say no more than that nobody answered, where there are many.
func Together(all []Finding) (rest []Finding, silent []Silence) {
	by := map[string][]Finding{}
	cause := func(f Finding) string { return f.Area + "\x00" + f.Why + "\x00" + f.Do }
	for _, f := range all {
		if f.Level == Unknown && f.Why != "" && len(f.Publish) == 0 {
			by[cause(f)] = append(by[cause(f)], f)
		}
	}
	told := map[string]bool{}
	for _, f := range all {
		same := by[cause(f)]
		if f.Level != Unknown || len(same) <= few {
			rest = append(rest, f)
			continue
		}
		if !told[cause(f)] {
			told[cause(f)] = true
			silent = append(silent, silenceOf(same))
		}
	}
	return rest, silent
}

func silenceOf(same []Finding) Silence {
	s := Silence{Finding: same[0]}
	count := map[string]int{}
	var reasons []string
	for _, f := range same {
		count[f.Check]++
		if r := Reason(f.Found); !slices.Contains(reasons, r) {
			reasons = append(reasons, r)
		}
	}
	for _, f := range same {
		name := f.Check
		if count[f.Check] > 1 && f.Subject != "" {
			name += " (" + f.Subject + ")"
		}
		if !slices.Contains(s.Checks, name) {
			s.Checks = append(s.Checks, name)
		}
	}
	slices.SortStableFunc(reasons, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	var told []string
	for _, r := range reasons {
		// One that ends in another says besides what was asked.
		if !slices.ContainsFunc(told, func(t string) bool { _, cause, ok := strings.Cut(t, ": "); return ok && strings.HasSuffix(r, cause) }) {
			told = append(told, r)
		}
	}
	s.Check, s.Subject, s.Found, s.Detail = "", "", told[0], told[1:min(1+few, len(told))]
	return s
}
