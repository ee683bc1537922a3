package spf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailer/internal/zone"
)

// Verdict is what an evaluation came to (RFC 7208 section 2.6).
type Verdict string

// The verdicts.
const (
	None      Verdict = "none"      // there is no record, or no domain
	Neutral   Verdict = "neutral"   // the record says nothing about the address
	Pass      Verdict = "pass"      //
	Fail      Verdict = "fail"      //
	SoftFail  Verdict = "softfail"  //
	TempError Verdict = "temperror" // the DNS did not answer; it may another time
	PermError Verdict = "permerror" // the record is wrong; many receivers take it for a fail
)

// The limits of section 4.6.4. More names under an MX are an error, more under a PTR are left out.
const (
	MaxLookups = 10
	MaxVoid    = 2
	MaxNames   = 10
)

// Query is a question for Check.
type Query struct {
	IP       netip.Addr
	Sender   string    // of MAIL FROM; empty for the null sender: postmaster at Helo is meant then
	Helo     string    // the name in EHLO
	Receiver string    // for explanations
	Now      time.Time // for explanations
}

// Result is the answer.
type Result struct {
	Verdict     Verdict
	Path        []string // the domains whose records led to it, the asked one first
	Term        Term     // that decided; its Text is empty where none did
	Explanation string   // the domain's own, of a fail
	Lookups     int      // terms that asked the DNS, of MaxLookups
	Voids       int      // of them those that nothing answered, of MaxVoid
	Err         error    // why it is none, temperror or permerror
}

// String says which term matched, for people.
func (r Result) String() string {
	s := string(r.Verdict)
	if r.Term.Text != "" {
		s += " by " + r.Term.Text
	}
	if len(r.Path) > 0 {
		s += " of " + strings.Join(r.Path, " > ")
	}
	if r.Err != nil {
		s += ": " + r.Err.Error()
	}
	return s
}

// ErrNoRecord is a domain without an SPF record.
var ErrNoRecord = errors.New("there is no SPF record")

// Check evaluates the record of the sender's domain (section 4).
func Check(ctx context.Context, r zone.Resolver, q Query) Result {
	q.IP = q.IP.Unmap().WithZone("")
	sender := q.Sender
	if sender == "" {
		sender = "postmaster@" + q.Helo // section 2.4
	}
	i := strings.LastIndexByte(sender, '@')
	local, domain := sender[:max(i, 0)], sender[i+1:]
	if local == "" {
		local = "postmaster" // section 4.3
	}
	e := &evaluation{ctx: ctx, resolver: r, query: q}
	e.values = values{sender: local + "@" + domain, local: local, senderDomain: domain, helo: q.Helo,
		ip: q.IP, receiver: q.Receiver, now: q.Now}
	if !q.IP.IsValid() {
		return Result{Verdict: None, Err: errors.New("there is no address to check")}
	}
	m := e.host(domain, nil)
	res := Result{Verdict: m.verdict, Path: m.path, Term: m.term, Err: m.err, Lookups: e.lookups, Voids: e.voids}
	if m.verdict == Fail && m.exp != "" {
		res.Explanation = e.explain(m)
	}
	return res
}

type evaluation struct {
	ctx      context.Context
	resolver zone.Resolver
	query    Query
	values   values

	lookups, voids int
	names          []string // validated, of the address
	named          bool     // names is known
}

// match is what the record of one domain says.
type match struct {
	verdict Verdict
	path    []string
	term    Term
	domain  string
	exp     string // the domain-spec of exp= in the record that decided
	err     error
}

// host is check_host() of the RFC. path are the domains above.
func (e *evaluation) host(domain string, path []string) match {
	domain = strings.TrimSuffix(domain, ".")
	m := match{path: append(slices.Clip(path), domain), domain: domain}
	stop := func(v Verdict, err error) match {
		m.verdict, m.err = v, err
		return m
	}
	if !wellFormed(domain) || !strings.Contains(domain, ".") { // section 4.3
		return stop(None, fmt.Errorf("%q is no domain", domain))
	}
	a := e.resolver.Lookup(e.ctx, domain, zone.TXT)
	if a.State == zone.Unknown {
		return stop(TempError, fmt.Errorf("TXT of %s: %w", domain, unknown(a)))
	}
	records := Select(a)
	switch {
	case len(records) == 0:
		return stop(None, fmt.Errorf("%s: %w", domain, ErrNoRecord))
	case len(records) > 1:
		return stop(PermError, fmt.Errorf("%s has %d SPF records; only one may be there", domain, len(records)))
	}
	record, err := Parse(records[0].Text)
	if err != nil { // anywhere in it, whatever would have matched before (section 4.6)
		return stop(PermError, fmt.Errorf("%s: %w", domain, err))
	}
	var redirect Term
	for _, t := range record.Terms {
		switch {
		case t.Modifier && t.Name == "redirect":
			redirect = t
		case t.Modifier && t.Name == "exp":
			m.exp = t.Domain
		}
	}
	for _, t := range record.Terms {
		if t.Modifier {
			continue
		}
		hit, below, err := e.mechanism(t, domain, m.path)
		var broken *brokenError
		switch {
		case errors.As(err, &broken):
			m.term = t
			if below != nil {
				m.path = below
			}
			return stop(broken.verdict, broken.err)
		case hit:
			m.term = t
			if below != nil {
				m.path = below
			}
			return stop(map[byte]Verdict{'+': Pass, '-': Fail, '~': SoftFail, '?': Neutral}[t.Qualifier], nil)
		}
	}
	if redirect.Text == "" {
		return stop(Neutral, nil) // section 4.7
	}
	m.term = redirect
	if err := e.count(redirect); err != nil {
		return stop(PermError, err)
	}
	to := e.target(redirect, domain)
	next := e.host(to, m.path)
	if next.verdict == None { // section 6.1
		next.verdict, next.err = PermError, fmt.Errorf("%s leads to nothing: %w", redirect.Text, next.err)
	}
	return next
}

// brokenError ends an evaluation.
type brokenError struct {
	verdict Verdict
	err     error
}

func (e *brokenError) Error() string { return e.err.Error() }

// mechanism says whether one matches, and through which domains.
func (e *evaluation) mechanism(t Term, domain string, path []string) (hit bool, below []string, err error) {
	if t.Counted() {
		if err := e.count(t); err != nil {
			return false, nil, &brokenError{PermError, err}
		}
	}
	ip := e.query.IP
	switch t.Name {
	case "all":
		return true, nil, nil
	case "ip4", "ip6":
		return t.Net.Contains(ip), nil, nil
	case "include":
		m := e.host(e.target(t, domain), path)
		switch m.verdict { // the table of section 5.2
		case Pass:
			return true, m.path, nil
		case TempError, PermError:
			return false, m.path, &brokenError{m.verdict, m.err}
		case None:
			return false, m.path, &brokenError{PermError, fmt.Errorf("%s leads to nothing: %w", t.Text, m.err)}
		}
		return false, nil, nil
	case "a":
		hit, err := e.address(t, e.target(t, domain), true)
		return hit, nil, err
	case "mx":
		hit, err := e.exchanger(t, e.target(t, domain))
		return hit, nil, err
	case "exists":
		a, err := e.ask(e.target(t, domain), zone.A, true) // A also for a client of IPv6 (section 5.7)
		return err == nil && a.State == zone.Found, nil, err
	case "ptr":
		names, err := e.validated()
		if err != nil {
			return false, nil, err
		}
		target := strings.ToLower(e.target(t, domain))
		return slices.ContainsFunc(names, func(n string) bool { return within(n, target) }), nil, nil
	}
	return false, nil, nil
}

func (e *evaluation) exchanger(t Term, name string) (bool, error) {
	a, err := e.ask(name, zone.MX, true)
	if err != nil {
		return false, err
	}
	if len(a.Records) > MaxNames {
		return false, &brokenError{PermError, fmt.Errorf("%s: %s has %d MX records; %d are allowed", t.Text, name, len(a.Records), MaxNames)}
	}
	for _, r := range a.Records {
		if hit, err := e.address(t, r.Host, false); hit || err != nil {
			return hit, err
		}
	}
	return false, nil
}

// address compares the addresses of a name. The void lookups of section 4.6.4 are those of terms; a host of an MX or PTR that
// has no address of this family is none.
func (e *evaluation) address(t Term, name string, counts bool) (bool, error) {
	kind, bits := zone.A, t.Bits4
	if e.query.IP.Is6() {
		kind, bits = zone.AAAA, t.Bits6
	}
	a, err := e.ask(name, kind, counts)
	for _, r := range a.Records {
		if p, bad := r.IP.Unmap().Prefix(bits); bad == nil && p.Contains(e.query.IP) {
			return true, err
		}
	}
	return false, err
}

// ask puts a question. A name that is none has no records, and nobody is asked (section 4.8).
func (e *evaluation) ask(name string, kind zone.Type, counts bool) (zone.Answer, error) {
	if !wellFormed(name) {
		return zone.Answer{State: zone.Missing}, nil
	}
	a := e.resolver.Lookup(e.ctx, name, kind)
	if a.State == zone.Unknown {
		return a, &brokenError{TempError, fmt.Errorf("%s of %s: %w", kind, name, unknown(a))}
	}
	if counts && a.Void() {
		return a, e.void(name)
	}
	return a, nil
}

func (e *evaluation) void(name string) error {
	if e.voids++; e.voids > MaxVoid {
		return &brokenError{PermError, fmt.Errorf("%s is the %s lookup that finds nothing; %d are allowed", name, ordinal(e.voids), MaxVoid)}
	}
	return nil
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "first"
	case 2:
		return "second"
	case 3:
		return "third"
	}
	return fmt.Sprintf("%dth", n)
}

func (e *evaluation) count(t Term) error {
	if e.lookups == MaxLookups {
		return fmt.Errorf("%s would be the lookup after the %d that are allowed", t.Text, MaxLookups)
	}
	e.lookups++
	return nil
}

// target is the name that a term means.
func (e *evaluation) target(t Term, domain string) string {
	if t.Domain == "" {
		return domain
	}
	all, _, _ := macros(t.Domain, false) // Parse has looked at it
	v := e.values
	v.domain = domain
	v.validated = func() string { return e.known(domain) }
	return fit(expand(all, &v))
}

// validated are the names of the address that lead back to it. Whatever goes wrong below the reverse zone is not the
// domain's doing, and is no match (section 5.5).
func (e *evaluation) validated() ([]string, error) {
	if e.named {
		return e.names, nil
	}
	e.named = true
	a := e.resolver.Lookup(e.ctx, zone.Reverse(e.query.IP), zone.PTR)
	if a.Void() {
		if err := e.void(a.Name); err != nil {
			return nil, err
		}
	}
	for i, r := range a.Records {
		if i == MaxNames {
			break
		}
		if hit, err := e.address(Term{Bits4: 32, Bits6: 128}, r.Host, false); hit && err == nil {
			e.names = append(e.names, strings.ToLower(r.Host))
		}
	}
	return e.names, nil
}

// known is %{p}: the domain itself, else a name below it, else any (section 7.3). A void lookup that ends an evaluation does
// not do so here: it is not a term's.
func (e *evaluation) known(domain string) string {
	before := e.voids
	names, _ := e.validated()
	e.voids = before
	domain = strings.ToLower(domain)
	best := "unknown"
	for _, n := range names {
		switch {
		case n == domain:
			return n
		case within(n, domain) && !within(best, domain), best == "unknown":
			best = n
		}
	}
	return best
}

// explain is the text that exp= leads to. Whatever is wrong with it, there is none (section 6.2).
func (e *evaluation) explain(m match) string {
	name := e.target(Term{Domain: m.exp}, m.domain)
	if !wellFormed(name) {
		return ""
	}
	a := e.resolver.Lookup(e.ctx, name, zone.TXT)
	if a.State != zone.Found || len(a.Records) != 1 {
		return ""
	}
	text := a.Records[0].Text
	for i := range len(text) {
		if text[i] < 0x20 || text[i] > 0x7e {
			return ""
		}
	}
	all, _, problem := macros(text, true)
	if problem != "" {
		return ""
	}
	v := e.values
	v.domain = m.domain
	v.validated = func() string { return e.known(m.domain) }
	return expand(all, &v)
}

// wellFormed: labels of 1 to 63 bytes, 253 in all, printable. Macros may make other things than host names.
func wellFormed(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	for i := range len(name) {
		if name[i] < 0x20 || name[i] == 0x7f {
			return false
		}
	}
	return true
}

func within(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}

func unknown(a zone.Answer) error {
	if a.Err != nil {
		return a.Err
	}
	return errors.New("nobody knows")
}
