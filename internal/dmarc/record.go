// Package dmarc reads DMARC records and says which one holds for a domain, and whether two domains are aligned (RFC 9989).
//
// RFC 9989 finds the Organizational Domain by asking upwards through the DNS, without a list of public suffixes. Receivers that
// still go by RFC 7489 ask that list; for a domain directly below a public suffix, with a record of its own, both say the same.
package dmarc

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Policy is what the domain's owner asks receivers to do with mail that fails.
type Policy string

// The policies.
const (
	None       Policy = "none"
	Quarantine Policy = "quarantine"
	Reject     Policy = "reject"
)

var policies = []Policy{None, Quarantine, Reject}

// Softer is the policy one level below (t=y, RFC 9989 section 4.7).
func (p Policy) Softer() Policy {
	if i := slices.Index(policies, p); i > 0 {
		return policies[i-1]
	}
	return None
}

// Stricter reports whether p asks for more than b.
func (p Policy) Stricter(b Policy) bool {
	return slices.Index(policies, p) > slices.Index(policies, b)
}

// Record is a DMARC policy record. What it does not say, or says wrongly, has its default.
type Record struct {
	Text string

	P      Policy // none when it is absent
	HasP   bool   // p is there and valid
	SP, NP Policy // "" when absent
	PSD    string // y, n, u
	Test   bool   // t=y

	RUA, RUF              []URI
	StrictDKIM, StrictSPF bool // adkim=s, aspf=s
	FO                    []string

	Percent int      // pct: 100 when absent. RFC 9989 took it out, older receivers go by it
	Removed []string // tags that RFC 9989 took out: pct, rf, ri
	Foreign []string // tags that nobody knows
	Faults  []string // what is wrong and is left out of account

	badPolicy bool // p, sp or np has a value that is none
}

// URI is where reports go.
type URI struct {
	Text    string
	Address string // of a mailto
}

// Domain is the domain of a mailto's address.
func (u URI) Domain() string {
	_, domain, _ := strings.Cut(u.Address, "@")
	return strings.ToLower(strings.TrimSuffix(domain, "."))
}

// Applies reports whether receivers do anything about the record: one with a policy that is none of the three is void unless it
// has an address for reports, and is p=none then (RFC 9989 section 4.10.1).
func (r *Record) Applies() bool { return !r.badPolicy || len(r.RUA) > 0 }

// ErrNotDMARC is a text that is no DMARC record: receivers do not see it.
var ErrNotDMARC = errors.New("it does not begin with v=DMARC1, so that receivers do not see it")

// Parse reads a record. Only one that does not begin with v=DMARC1 is an error, all else is in Faults: receivers leave out what
// they cannot read (RFC 9989 section 4.7).
func Parse(text string) (*Record, error) {
	r := &Record{Text: text, P: None, PSD: "u", Percent: 100}
	first, rest, _ := strings.Cut(text, ";")
	name, value, _ := strings.Cut(first, "=")
	if strings.TrimRight(name, " \t") != "v" || strings.Trim(value, " \t") != "DMARC1" {
		return nil, ErrNotDMARC
	}
	seen := map[string]bool{"v": true}
	for part := range strings.SplitSeq(rest, ";") {
		if part = strings.Trim(part, " \t"); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case !ok || name == "" || strings.ContainsAny(name, " \t\"\\"):
			r.fault("%q is no tag with a value; tags are parted by a semicolon", part)
		case seen[name]:
			r.fault("%s= is there twice", name)
		case value == "":
			r.fault("%s= is empty", name)
			r.badPolicy = r.badPolicy || name == "p" || name == "sp" || name == "np"
		default:
			r.set(name, value)
		}
		seen[name] = true
	}
	if !r.Applies() || r.badPolicy {
		r.P, r.SP, r.NP, r.HasP = None, "", "", false
	}
	return r, nil
}

func (r *Record) fault(format string, args ...any) {
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}

func (r *Record) set(name, value string) {
	switch name {
	case "p":
		if r.HasP = r.policy(name, value, &r.P); !r.HasP {
			r.P = None
		}
	case "sp":
		r.policy(name, value, &r.SP)
	case "np":
		r.policy(name, value, &r.NP)
	case "psd":
		r.PSD = r.oneOf(name, value, "u", "y", "n")
	case "t":
		r.Test = r.oneOf(name, value, "n", "y") == "y"
	case "adkim":
		r.StrictDKIM = r.oneOf(name, value, "r", "s") == "s"
	case "aspf":
		r.StrictSPF = r.oneOf(name, value, "r", "s") == "s"
	case "rua":
		r.RUA = r.uris(name, value)
	case "ruf":
		r.RUF = r.uris(name, value)
	case "fo":
		for option := range strings.SplitSeq(value, ":") {
			if option = strings.TrimSpace(option); r.oneOf(name, option, "", "0", "1", "d", "s") != "" {
				r.FO = append(r.FO, option)
			}
		}
	case "pct":
		r.Removed = append(r.Removed, name)
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > 100 {
			r.fault("pct=%s is no number from 0 to 100", value)
			return
		}
		r.Percent = n
	case "rf", "ri":
		r.Removed = append(r.Removed, name)
	default:
		r.Foreign = append(r.Foreign, name)
	}
}

func (r *Record) policy(name, value string, p *Policy) bool {
	if v := Policy(strings.ToLower(value)); slices.Contains(policies, v) {
		*p = v
		return true
	}
	r.badPolicy = true
	r.fault("%s=%s is none of none, quarantine, reject", name, value)
	return false
}

// oneOf is the value if it is among the allowed ones, else the first of them.
func (r *Record) oneOf(name, value string, allowed ...string) string {
	if v := strings.ToLower(value); slices.Contains(allowed, v) && v != "" {
		return v
	}
	r.fault("%s=%s is not among %s", name, value, strings.Trim(strings.Join(allowed, " "), " "))
	return allowed[0]
}

// uris reads addresses for reports. A size limit behind a ! is RFC 7489's; it is still seen.
func (r *Record) uris(name, value string) []URI {
	var all []URI
	for text := range strings.SplitSeq(value, ",") {
		text = strings.TrimSpace(text)
		bare, _, _ := strings.Cut(text, "!")
		u, err := url.Parse(bare)
		switch {
		case err != nil || u.Scheme == "":
			if strings.Contains(bare, "@") {
				r.fault("%s=%s lacks the mailto: before the address", name, text)
			} else {
				r.fault("%s=%s is no address such as mailto:dmarc@example.com", name, text)
			}
		case !strings.EqualFold(u.Scheme, "mailto"):
			all = append(all, URI{Text: text})
		default:
			address, err := url.PathUnescape(u.Opaque)
			local, domain, ok := strings.Cut(address, "@")
			if err != nil || !ok || local == "" || domain == "" || strings.ContainsAny(address, " \t") {
				r.fault("%s=%s has no address behind mailto:", name, text)
				continue
			}
			all = append(all, URI{Text: text, Address: address})
		}
	}
	return all
}
