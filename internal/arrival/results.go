package arrival

import (
	"regexp"
	"strings"

	"github.com/emersion/go-msgauth/authres"
)

// Results are what a receiver found (RFC 8601).
type Results struct {
	Server string // the authserv-id; empty: Microsoft's servers write none
	By     string // the field: Authentication-Results, ARC-Authentication-Results or Received-SPF
	All    []Result
}

// Result is that of one method.
type Result struct {
	Method string // spf, dkim, dmarc, arc, compauth, ...
	Value  string // pass, fail, softfail, none, ...
	Domain string // that it is about: the envelope's, the signature's or that of From
	Reason string // in the words of the receiver
}

// Of is the first result of a method; several signatures have several, and one that passes counts before the others.
func (r Results) Of(method string) (Result, bool) {
	var first Result
	found := false
	for _, one := range r.All {
		if one.Method != method {
			continue
		}
		if !found || one.Value == "pass" && first.Value != "pass" {
			first, found = one, true
		}
	}
	return first, found
}

// Results are the receiver's own: the topmost field of a server that is trusted, standing above the last Received field
// of that server, because anybody may write one into what he hands over (RFC 8601 section 5). Others are told for the evidence.
func (m Mail) Results(trusted func(server string) bool) (own Results, ok bool, others []string) {
	var by []string // of the Received fields that stand below, the nearest first
	for i := len(m.Fields) - 1; i >= 0; i-- {
		if m.Fields[i].Is("Received") {
			by = append([]string{parseHop(m.Fields[i].Value()).By}, by...)
		}
	}
	for _, f := range m.Fields {
		switch {
		case f.Is("Received"):
			by = by[1:]
		case f.Is("Authentication-Results"):
			r, err := parseResults(f.Value())
			switch {
			case err != nil:
			case !ok && trusted(r.Server) && servedBelow(by, trusted):
				r.By, own, ok = "Authentication-Results", r, true
			default:
				others = append(others, r.Server)
			}
		}
	}
	return own, ok, others
}

// servedBelow reports whether a server of the receiver's stands below: then what is above it was not handed in.
func servedBelow(by []string, trusted func(string) bool) bool {
	for _, server := range by {
		if trusted(server) {
			return true
		}
	}
	return len(by) == 0 // no server left a trace at all
}

// parseResults reads a field. Microsoft's has no authserv-id, and comments are everywhere; what is malformed behind a readable
// part does not take that away.
func parseResults(value string) (Results, error) {
	value = withoutComments(value)
	if head, _, _ := strings.Cut(value, ";"); strings.Contains(head, "=") {
		value = ";" + value
	}
	var r Results
	for i, part := range strings.Split(value, ";") {
		if i == 0 {
			server, _, err := authres.Parse(part)
			if err != nil {
				return r, err
			}
			r.Server = strings.ToLower(server)
			continue
		}
		_, found, err := authres.Parse("x;" + strings.TrimSpace(part))
		if err != nil || len(found) == 0 {
			continue
		}
		one := result(found[0])
		if words := strings.Fields(part); one.Method == "" {
			one.Method, _, _ = strings.Cut(strings.ToLower(words[0]), "=")
		}
		if at := strings.Index(part, `reason="`); at >= 0 { // the library ends a reason at its first blank
			one.Reason, _, _ = strings.Cut(part[at+len(`reason="`):], `"`)
		}
		r.All = append(r.All, one)
	}
	return r, nil
}

func result(r authres.Result) Result {
	switch r := r.(type) {
	case *authres.SPFResult:
		domain := r.From
		if domain == "" {
			domain = r.Helo
		}
		return Result{"spf", string(r.Value), domainOf(domain), r.Reason}
	case *authres.DKIMResult:
		domain := r.Domain
		if domain == "" {
			domain = r.Identifier // Gmail names the identity only
		}
		return Result{"dkim", string(r.Value), domainOf(domain), r.Reason}
	case *authres.DMARCResult:
		return Result{"dmarc", string(r.Value), domainOf(r.From), r.Reason}
	case *authres.ARCResult:
		return Result{Method: "arc", Value: string(r.Value)}
	case *authres.GenericResult:
		return Result{Method: r.Method, Value: string(r.Value), Domain: domainOf(r.Params["header.from"]), Reason: r.Params["reason"]}
	}
	return Result{}
}

func domainOf(s string) string {
	s = strings.Trim(s, `<>"`)
	return strings.ToLower(s[strings.LastIndexByte(s, '@')+1:])
}

// ARC are the results in the newest set of ARC (RFC 8617): what a forwarder found before it changed the mail.
func (m Mail) ARC() (Results, bool) {
	for _, value := range m.All("ARC-Authentication-Results") {
		instance, rest, ok := strings.Cut(value, ";")
		if !ok || !strings.HasPrefix(strings.ReplaceAll(instance, " ", ""), "i=") {
			continue
		}
		if r, err := parseResults(rest); err == nil {
			r.By = "ARC-Authentication-Results"
			return r, true
		}
	}
	return Results{}, false
}

var receivedFrom = regexp.MustCompile(`(?i)envelope-from="?<?([^\s>";]*)`)

// ReceivedSPF is the topmost field of that name (RFC 7208 section 9.1): a second source.
func (m Mail) ReceivedSPF() (Result, bool) {
	value := m.Get("Received-SPF")
	word, _, _ := strings.Cut(value, " ")
	if word == "" {
		return Result{}, false
	}
	r := Result{Method: "spf", Value: strings.ToLower(strings.TrimRight(word, ";:"))}
	if from := receivedFrom.FindStringSubmatch(value); from != nil {
		r.Domain = domainOf(from[1])
	}
	return r, true
}

var (
	spamScore = regexp.MustCompile(`(?i)\b(?:score|hits)=(-?[0-9.]+)`)
	spamNeed  = regexp.MustCompile(`(?i)\brequired=(-?[0-9.]+)`)
	rspamd    = regexp.MustCompile(`^default: (True|False) \[(-?[0-9.]+) / (-?[0-9.]+)\]`)
	scl       = regexp.MustCompile(`\bSCL:(-?[0-9]+)\b`)
)

// Spam is what a spam filter wrote: SpamAssassin, rspamd, Exchange.
type Spam struct {
	By     string // the field
	Spam   bool
	Score  string
	Enough string // from which score on it is spam
	Text   string // the field's value
}

// Spam is the verdict of a filter, if one left it.
func (m Mail) Spam() (Spam, bool) {
	if v := m.Get("X-Spam-Status"); v != "" {
		s := Spam{By: "X-Spam-Status", Spam: strings.HasPrefix(strings.ToLower(v), "yes"), Score: group(spamScore, v), Enough: group(spamNeed, v), Text: v}
		return s, true
	}
	if v := m.Get("X-Spamd-Result"); v != "" {
		if f := rspamd.FindStringSubmatch(v); f != nil {
			return Spam{By: "X-Spamd-Result", Spam: f[1] == "True", Score: f[2], Enough: f[3], Text: v}, true
		}
	}
	if v := m.Get("X-Forefront-Antispam-Report"); v != "" {
		if level := group(scl, v); level != "" { // 5 and more is put into Junk
			return Spam{By: "X-Forefront-Antispam-Report", Spam: len(level) == 1 && level >= "5", Score: level, Enough: "5", Text: v}, true
		}
	}
	if v := m.Get("X-Spam-Flag"); v != "" {
		return Spam{By: "X-Spam-Flag", Spam: strings.EqualFold(v, "yes"), Score: m.Get("X-Spam-Score"), Text: v}, true
	}
	return Spam{}, false
}

func group(re *regexp.Regexp, s string) string {
	if m := re.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}
