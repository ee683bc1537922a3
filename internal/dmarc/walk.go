package dmarc

import (
	"context"
	"fmt"
	"strings"

	"mailer/internal/zone"
)

// maxQueries bounds a tree walk: of a longer name the labels in the middle are left out (RFC 9989 section 4.10).
const maxQueries = 8

// Published is what stands at _dmarc.<Domain>.
type Published struct {
	Domain string
	Answer zone.Answer
	Record *Record // nil: none, or none that counts
	Many   int     // records that begin with v=DMARC1; more than one count as none
	Near   string  // a text that was meant to be one
}

// Lookup reads the record of one domain.
func Lookup(ctx context.Context, r zone.Resolver, domain string) Published {
	domain = zone.Clean(domain)
	p := Published{Domain: domain, Answer: r.Lookup(ctx, "_dmarc."+domain, zone.TXT)}
	for _, rec := range p.Answer.Records {
		parsed, err := Parse(rec.Text)
		if err != nil {
			if strings.Contains(strings.ToLower(strings.ReplaceAll(rec.Text, " ", "")), "dmarc1") {
				p.Near = rec.Text
			}
			continue
		}
		p.Many++
		p.Record = parsed
	}
	if p.Many > 1 {
		p.Record = nil
	}
	return p
}

// Walk is a tree walk: what was found from a domain upwards.
type Walk struct {
	Start string
	Steps []Published
	Err   error // something on the way could not be found out
}

// WalkTree asks from a domain upwards until a record says where to stop or no label is left.
func WalkTree(ctx context.Context, r zone.Resolver, domain string) Walk {
	w := Walk{Start: zone.Clean(domain)}
	for _, name := range targets(w.Start) {
		p := Lookup(ctx, r, name)
		w.Steps = append(w.Steps, p)
		if p.Answer.State == zone.Unknown { // what lies above cannot decide any more
			w.Err = fmt.Errorf("ask for _dmarc.%s: %w", name, p.Answer.Err)
			break
		}
		if p.Record != nil && p.Record.PSD != "u" {
			break
		}
	}
	return w
}

// targets are the domains of a walk.
func targets(domain string) []string {
	labels := strings.Split(domain, ".")
	all := []string{domain}
	for i := max(1, len(labels)-(maxQueries-1)); i < len(labels); i++ {
		all = append(all, strings.Join(labels[i:], "."))
	}
	return all
}

// Organizational is the Organizational Domain that the walk leads to (RFC 9989 section 4.10.2).
func (w Walk) Organizational() string {
	org := w.Start
	for i, s := range w.Steps {
		switch {
		case s.Record == nil:
		case s.Record.PSD == "n":
			return s.Domain
		case s.Record.PSD == "y" && i > 0:
			return below(s.Domain, w.Start)
		default:
			org = s.Domain
		}
	}
	return org
}

// below is the domain one label below a parent, on the way to start.
func below(parent, start string) string {
	rest := strings.TrimSuffix(start, "."+parent)
	return rest[strings.LastIndexByte(rest, '.')+1:] + "." + parent
}

// at is the record of a domain that the walk passed.
func (w Walk) at(domain string) *Record {
	for _, s := range w.Steps {
		if s.Domain == domain {
			return s.Record
		}
	}
	return nil
}

// Applied is the record that holds for mail from a domain.
type Applied struct {
	Walk
	Organizational string
	Record         *Record // nil: DMARC does not apply
	At             string  // the domain whose record it is
	Tag            string  // p, sp or np: where the policy is from
	Asked          Policy  // what the tag says
	Policy         Policy  // what holds: one level softer under t=y
}

// Discover finds the record that holds for mail whose From is in a domain: its own, else the Organizational Domain's, else that
// of the public suffix above it (RFC 9989 section 4.10.1).
func Discover(ctx context.Context, r zone.Resolver, domain string) Applied {
	a := Applied{Walk: WalkTree(ctx, r, domain)}
	a.Organizational = a.Walk.Organizational()
	places := []string{a.Start, a.Organizational}
	if last := a.Steps[len(a.Steps)-1]; last.Record != nil && last.Record.PSD == "y" {
		places = append(places, last.Domain)
	}
	for _, place := range places {
		if a.Record = a.at(place); a.Record != nil && a.Record.Applies() {
			a.At = place
			break
		}
		a.Record = nil
	}
	if a.Record == nil {
		return a
	}
	a.Tag, a.Asked = "p", a.Record.P
	if a.At != a.Start {
		if a.Record.SP != "" {
			a.Tag, a.Asked = "sp", a.Record.SP
		}
		// A name that does not exist is one of which the DNS says NXDOMAIN, whatever was asked (RFC 8020).
		if a.Record.NP != "" && r.Lookup(ctx, a.Start, zone.A).State == zone.Missing {
			a.Tag, a.Asked = "np", a.Record.NP
		}
	}
	a.Policy = a.Asked
	if a.Record.Test {
		a.Policy = a.Asked.Softer()
	}
	return a
}

// Known reports whether it is known what holds: the domain's own record decides, whatever could not be read above it.
func (a Applied) Known() bool { return a.Err == nil || a.Record != nil && a.At == a.Start }

// Aligned reports whether an identifier (the d= of a signature, the domain of the return path) speaks for a From domain: the same
// name, or under relaxed alignment the same Organizational Domain. The error says that nobody knows.
func Aligned(ctx context.Context, r zone.Resolver, from, identifier string, strict bool) (bool, error) {
	from, identifier = zone.Clean(from), zone.Clean(identifier)
	if from == identifier {
		return true, nil
	}
	if strict || identifier == "" {
		return false, nil
	}
	a, b := WalkTree(ctx, r, from), WalkTree(ctx, r, identifier)
	if a.Err != nil {
		return false, a.Err
	}
	if b.Err != nil {
		return false, b.Err
	}
	return a.Organizational() == b.Organizational(), nil
}

// Authorization is whether a domain outside takes the reports about ours (RFC 9990 section 4).
type Authorization struct {
	URI    URI
	Name   string // of the TXT record that says so; "" when none is needed
	Answer zone.Answer
	OK     bool
}

// Authorizations looks at every address for reports. One in the same Organizational Domain needs no consent. An error means
// that it is not known for some, whose OK is true: nobody may call them missing.
func Authorizations(ctx context.Context, r zone.Resolver, domain string, uris []URI) ([]Authorization, error) {
	var all []Authorization
	var unknown error
	for _, u := range uris {
		a := Authorization{URI: u, OK: true}
		if u.Address == "" {
			all = append(all, a)
			continue
		}
		same, err := Aligned(ctx, r, domain, u.Domain(), false)
		if err == nil && !same {
			a.Name = zone.Clean(domain) + "._report._dmarc." + u.Domain()
			a.Answer = r.Lookup(ctx, a.Name, zone.TXT)
			if a.OK = len(a.Answer.Texts("v=DMARC1")) > 0; a.Answer.State == zone.Unknown {
				a.OK, err = true, fmt.Errorf("ask for %s: %w", a.Name, a.Answer.Err)
			}
		}
		if err != nil && unknown == nil {
			unknown = err
		}
		all = append(all, a)
	}
	return all, unknown
}
