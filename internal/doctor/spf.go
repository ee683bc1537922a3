package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"mailer/internal/dmarc"
	"mailer/internal/spf"
	"mailer/internal/zone"
)

const (
	whySPF     = "SPF says which servers may send with a return path in your domain. " + whyAuthenticate
	whyLookups = "Receivers stop after 10 lookups, or 3 that find nothing, and take the record for broken (RFC 7208 section 4.6.4): permerror, which counts as no SPF at Gmail, Yahoo and Microsoft."
)

// spf looks at the record of the return path's domain, and whether it covers the relays.
func (d *Domain) spf(ctx context.Context) []Finding {
	if d.Envelope == "" {
		return nil
	}
	tree := spf.Inspect(ctx, d.Resolver, d.Envelope)
	if tree.Root.Answer.State == zone.Unknown {
		return d.unknown("spf", d.Envelope, tree.Root.Answer.Err)
	}
	f := d.spfRecord(tree)
	if tree.Has(spf.Absent) && d.onlyOwnPaths() {
		f.Level = Warn
		f.Found += " Nobody asks for it while the relay takes a return path of its own."
		f.Do = "Where a return path in " + d.Envelope + " is set up with the relay, publish the record that its manual names."
	}
	var covers []Finding
	var add []string
	broken := slices.ContainsFunc(tree.Problems, func(p spf.Problem) bool { return p.Kind.Breaks() })
	for _, r := range d.Relays {
		c, terms := d.covered(ctx, tree, r, broken)
		add = append(add, terms...)
		if !broken { // else nothing is covered before the record is mended
			covers = append(covers, c)
		}
	}
	all := append([]Finding{f}, covers...)
	value, note := d.mended(ctx, tree, add)
	if value == "" && tree.Has(spf.Several) {
		all[0].Do = "Delete them and publish one that has what all of them say, in at most 10 lookups."
	}
	if value == "" || len(tree.Root.Records) == 1 && value == strings.Join(strings.Fields(tree.Root.Record.Text), " ") {
		return all
	}
	for i := range all { // one record, once: two to paste would be one too many
		if all[i].Level == Fail || all[i].Level == Warn {
			all[i].Publish = []Record{d.txt(ctx, d.Envelope, value, note)}
			break
		}
	}
	return all
}

// onlyOwnPaths reports whether all relays are services that put a return path in their own domain into the mail.
func (d *Domain) onlyOwnPaths() bool {
	return len(d.Relays) > 0 && !slices.ContainsFunc(d.Relays, func(r Relay) bool {
		s, known := serviceOf(r.Host)
		return !known || !s.own || len(r.Addresses) > 0
	})
}

// spfRecord judges the record itself.
func (d *Domain) spfRecord(tree spf.Tree) Finding {
	n := tree.Root
	f := d.finding("spf", d.Envelope, Pass, "")
	f.Why = whySPF
	if len(n.Records) > 0 {
		f.Detail = append(f.Detail, tree.Lines()...)
	}
	switch {
	case tree.Has(spf.Absent):
		f.Level = Fail
		f.Found = "There is no SPF record at " + d.Envelope + "."
		f.Do = "Publish one that names the servers of your relay, such as v=spf1 include:NAME ~all: its operator says which include it is."
		for _, r := range n.Answer.Records {
			if low := strings.ToLower(strings.Trim(r.Text, "\" ")); strings.HasPrefix(low, "v=spf") || strings.HasPrefix(low, "spf") {
				f.Found = "The record at " + d.Envelope + " is not seen as SPF: it does not begin with v=spf1 and a space (found: " + clip(r.Text) + ")."
				f.Do = "Correct its beginning."
			}
		}
		return f
	case tree.Has(spf.Several):
		f.Level = Fail
		f.Found = fmt.Sprintf("There are %d SPF records at %s: receivers take none of them (RFC 7208 section 4.5).", len(n.Records), d.Envelope)
		f.Do = "Delete them and publish the one below, which has what all of them say."
		f.Detail = nil
		for _, r := range n.Records {
			f.Detail = append(f.Detail, "found: "+r.Text)
		}
		return f
	}
	var found, do []string
	unknown := false
	for _, p := range tree.Problems {
		level, what := spfAdvice(p, tree)
		unknown = unknown || level == Unknown
		if level == "" {
			continue
		}
		if level.Worse(f.Level) && level != Unknown {
			f.Level = level
		}
		if len(found) < 6 {
			found = append(found, p.Text)
		}
		if what != "" && !slices.Contains(do, what) {
			do = append(do, what)
		}
	}
	if f.Level == Pass && unknown {
		f.Level = Unknown
		do = append(do, doAsk)
	}
	if tree.Has(spf.OverLookups) || tree.Has(spf.OverVoids) || tree.Has(spf.Cycle) || tree.Has(spf.OverMX) || tree.Has(spf.Fragile) || tree.Has(spf.SomeVoids) {
		f.Why = whyLookups
	}
	f.Found = fmt.Sprintf("There is one record; it costs %d of 10 lookups.", tree.Lookups)
	if len(found) > 0 {
		f.Found = strings.Join(found, "; ") + "."
		f.Found = strings.ToUpper(f.Found[:1]) + f.Found[1:]
	}
	f.Do = strings.Join(do, " ")
	return f
}

// spfAdvice is how bad a problem is and what to do; an empty level is not worth a word.
func spfAdvice(p spf.Problem, tree spf.Tree) (Level, string) {
	switch p.Kind {
	case spf.Syntax:
		if p.Domain != tree.Root.Domain {
			return Fail, "Tell whoever runs " + p.Domain + ", or take its include out."
		}
		return Fail, "Correct the term: one that cannot be read breaks the whole record."
	case spf.OverLookups:
		return Fail, "Take out what no longer sends for you" + dearest(tree) + ". a and mx can be written as the addresses that they mean (ip4:, ip6:), which cost nothing; so can a return path in a subdomain with a short record of its own."
	case spf.OverVoids:
		return Fail, "Take out the terms whose names are gone."
	case spf.OverMX:
		return Fail, "Write the addresses instead of mx."
	case spf.Cycle:
		return Fail, "Take the include out that leads back."
	case spf.Dangling:
		if p.Domain != tree.Root.Domain {
			return Fail, "Tell whoever runs " + p.Domain + ", or take its include out."
		}
		return Fail, "Take " + p.Term + " out, or correct it: an include without a record breaks the whole record."
	case spf.Everybody:
		return Fail, "End the record with ~all: as it is, whoever likes sends in your name."
	case spf.Fragile:
		return Warn, "Take out what no longer sends for you" + dearest(tree) + ", before an include grows."
	case spf.SomeVoids:
		return Warn, "Take " + p.Term + " out, or correct it."
	case spf.NeutralAll, spf.NoAll:
		return Warn, "End the record with ~all."
	case spf.UsesPTR:
		return Warn, "Write the addresses instead of ptr (RFC 7208 section 5.5)."
	case spf.AfterAll:
		return Warn, "Move " + p.Term + " before all, or take it out."
	case spf.DeadRedirect:
		return Warn, "Take either all or redirect= out."
	case spf.Duplicate:
		return Info, "Take the second one out."
	case spf.Long, spf.Large:
		return Warn, "Shorten it: take out what no longer sends for you, and old TXT records of other services."
	case spf.NotKnown:
		return Unknown, ""
	}
	return "", ""
}

// dearest names the includes that cost most.
func dearest(tree spf.Tree) string {
	branches := slices.Clone(tree.Root.Branches)
	slices.SortStableFunc(branches, func(a, b spf.Branch) int { return cmp.Compare(b.Lookups, a.Lookups) })
	var names []string
	for _, b := range branches[:min(3, len(branches))] {
		if b.Lookups > 1 {
			names = append(names, fmt.Sprintf("%s with its %d", b.Text, b.Lookups))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (the dearest: " + strings.Join(names, ", ") + ")"
}

// covered says whether the record lets a relay send, and the terms that are missing for it.
func (d *Domain) covered(ctx context.Context, tree spf.Tree, r Relay, broken bool) (Finding, []string) {
	f := d.finding("spf", r.Name, Pass, "")
	f.Why = "Mail from a server that the record does not name fails SPF. " + whyAuthenticate
	s, known := serviceOf(r.Host)
	switch {
	case len(r.Addresses) > 0:
		return d.coveredAddresses(ctx, tree, f, r, broken)
	case known:
		for _, name := range s.includes {
			if tree.Root.Includes(name) {
				f.Found = "The record covers " + s.name + " (include:" + name + ")."
				return f, nil
			}
		}
		missing := "include:" + s.includes[0]
		if !s.own {
			if level, found, do := d.coveredOtherwise(ctx, tree, s, r); level != "" {
				f.Level, f.Found, f.Do = level, found, do
				return f, nil
			}
		}
		if s.own {
			f.Level = Info
			f.Found = s.name + " is not in the record of " + d.Envelope + "; unless a return path of yours is set up with it, it takes its own, and SPF is checked there."
			f.Do = "For a return path of your own follow the manual of " + s.name + ", and add " + missing + " where it says so."
			return f, nil
		}
		f.Level = Fail
		f.Found = "The record does not cover " + s.name + " (" + r.Host + "): " + missing + " is missing."
		f.Do = "Add " + missing + " to the record: there may be one only."
		return f, []string{missing}
	}
	f.Level = Unknown
	f.Found = "From which addresses " + r.words() + " (" + r.Host + ") sends is not known, so it is not known whether the record covers it."
	f.Do = "Ask its operator for its SPF include, or look at the Received lines of a mail that arrived, and give the address with --ip."
	if guess := d.hostAddresses(ctx, r.Host); len(guess) > 0 && !broken {
		var said []string
		for _, ip := range guess {
			said = append(said, fmt.Sprintf("%s (its own address, from which it may or may not send): %s", ip, d.check(ctx, r, ip)))
		}
		f.Detail = said
	}
	return f, nil
}

// coveredOtherwise is a service whose include is not in what could be read of the tree: it may be in what could not, or its addresses
// may be written out. The level is empty where neither is so.
func (d *Domain) coveredOtherwise(ctx context.Context, tree spf.Tree, s service, r Relay) (level Level, found, do string) {
	maybe := "Whether the record covers " + s.name + " is not known: "
	switch {
	case tree.Has(spf.NotKnown):
		return Unknown, maybe + "a name server did not answer for a part of it.", doAsk
	case tree.Has(spf.NotFollowed):
		return Unknown, maybe + "a part of it hangs on the client (macros).", "Look at the Authentication-Results of a mail that arrived, or give the address that sends with --ip."
	case len(tree.Root.Networks()) == 0:
		return "", "", ""
	}
	w := &witness{Resolver: d.Resolver}
	theirs := spf.Inspect(ctx, w, s.includes[0]).Root.Networks()
	named := 0
	for _, n := range theirs {
		if tree.Root.Covers(n.Addr()) {
			named++
		}
	}
	e := *d
	e.Resolver = w
	switch {
	case named > 0 && named == len(theirs):
		return Info, "The record names the addresses of " + s.name + " without include:" + s.includes[0] + ".", "Have them written anew whenever they change; the include does that by itself."
	case named > 0:
		return Warn, fmt.Sprintf("The record names %d of the %d networks of %s, without include:%s.", named, len(theirs), s.name, s.includes[0]), "Write them anew, or put include:" + s.includes[0] + " in their place."
	case slices.ContainsFunc(e.hostAddresses(ctx, r.Host), tree.Root.Covers):
		return Unknown, maybe + "it names " + r.Host + " itself, from which the mail may or may not leave.", "Add include:" + s.includes[0] + " where the manual of " + s.name + " says so."
	case w.why() != "":
		return Unknown, maybe + w.why() + ".", doAsk
	}
	return "", "", ""
}

// check asks for SPF as a receiver does. A receiver goes on where the name of an address cannot be found out (ptr); then another
// verdict than a pass says nothing.
func (d *Domain) check(ctx context.Context, r Relay, ip netip.Addr) spf.Result {
	w := &witness{Resolver: d.Resolver}
	res := spf.Check(ctx, w, spf.Query{IP: ip, Sender: "postmaster@" + d.Envelope, Helo: cmp.Or(r.Hello, r.Host)})
	if why := w.why(); why != "" && res.Verdict != spf.Pass && res.Verdict != spf.TempError {
		res = spf.Result{Verdict: spf.TempError, Path: res.Path, Err: errors.New(why)}
	}
	return res
}

func (d *Domain) coveredAddresses(ctx context.Context, tree spf.Tree, f Finding, r Relay, broken bool) (Finding, []string) {
	var bad, add []string
	unknown := false
	for _, ip := range r.Addresses {
		term := "ip4:" + ip.Unmap().String()
		if ip.Unmap().Is6() {
			term = "ip6:" + ip.String()
		}
		if broken {
			if !tree.Root.Covers(ip) {
				add = append(add, term)
			}
			continue
		}
		res := d.check(ctx, r, ip)
		f.Detail = append(f.Detail, ip.String()+": "+res.String())
		switch res.Verdict {
		case spf.Pass:
		case spf.TempError:
			unknown = true
		default:
			bad = append(bad, ip.String()+" ("+string(res.Verdict)+")")
			add = append(add, term)
		}
	}
	if s, known := serviceOf(r.Host); known && len(add) > 0 {
		add = []string{"include:" + s.includes[0]}
	}
	switch {
	case len(bad) > 0:
		f.Level = Fail
		f.Found = "The record does not cover " + r.words() + ": " + strings.Join(bad, ", ") + "."
		f.Do = "Add " + strings.Join(add, " ") + " to the record: there may be one only."
	case unknown:
		f.Level = Unknown
		f.Found = "Whether the record covers " + r.words() + " is not known: a name server did not answer."
		f.Do = doAsk
	default:
		f.Found = "The record covers " + r.words() + "."
	}
	return f, add
}

// hostAddresses are those of a host name, as far as they are known.
func (d *Domain) hostAddresses(ctx context.Context, host string) []netip.Addr {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}
	}
	var all []netip.Addr
	for _, t := range []zone.Type{zone.A, zone.AAAA} {
		for _, r := range d.Resolver.Lookup(ctx, host, t).Records {
			all = append(all, r.IP)
		}
	}
	return all
}

// published is the DNS as it will be with another record.
type published struct {
	zone.Resolver
	name, text string
}

func (p published) Lookup(ctx context.Context, name string, t zone.Type) zone.Answer {
	if zone.Clean(name) == p.name && t == zone.TXT {
		return zone.Answer{Name: p.name, Type: t, State: zone.Found, Records: []zone.Record{{Text: p.text}}}
	}
	return p.Resolver.Lookup(ctx, name, t)
}

// mended is the one record that should be there: what is, without what is broken, with what is missing. It is empty where there
// is nothing to say, and where what came out would be broken too: then only the owner knows what to take out.
func (d *Domain) mended(ctx context.Context, tree spf.Tree, add []string) (value, note string) {
	bad := map[string]bool{}
	gather := func(t spf.Tree) bool {
		before := len(bad)
		for _, p := range t.Problems {
			if p.Domain == t.Root.Domain && (p.Kind == spf.Dangling || p.Kind == spf.Cycle || p.Kind == spf.SomeVoids || p.Kind == spf.DeadRedirect) {
				bad[p.Term] = true
			}
		}
		return len(bad) > before
	}
	gather(tree)
	for range 3 { // terms that stood behind all, or in a second record, are first looked at now
		value, note = merged(tree, add, bad)
		if value == "" {
			return "", ""
		}
		next := spf.Inspect(ctx, published{d.Resolver, tree.Root.Domain, value}, tree.Root.Domain)
		if !gather(next) {
			if slices.ContainsFunc(next.Problems, func(p spf.Problem) bool { return p.Kind.Breaks() }) {
				return "", ""
			}
			return value, note
		}
	}
	return "", ""
}

// merged is one record of all that are there, without the bad terms and with what is to be added.
func merged(tree spf.Tree, add []string, bad map[string]bool) (value, note string) {
	n := tree.Root
	over := tree.Has(spf.OverLookups)
	if len(n.Records) == 0 && len(add) == 0 || over && tree.Lookups-saved(tree) > spf.MaxLookups {
		return "", "" // nobody but the owner knows what to put in, or to take out
	}
	words := []string{spf.Version}
	end, redirect, lost := "", "", []string{}
	take := func(word string) {
		if !bad[word] && !slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, word) }) {
			words = append(words, word)
		}
	}
	for _, record := range n.Records {
		parsed, err := spf.Parse(record.Text)
		for _, t := range parsed.Terms {
			switch {
			case bad[t.Text]:
			case t.Name == "all" && !t.Modifier:
				if end == "" && (t.Qualifier == '-' || t.Qualifier == '~') {
					end = strings.ToLower(t.Text)
				}
			case t.Name == "redirect" && t.Modifier && len(n.Records) > 1:
				take("include:" + t.Domain)
			case t.Name == "redirect" && t.Modifier:
				redirect = t.Text
			case over && len(n.Records) == 1 && (t.Name == "a" || t.Name == "mx") && !t.Modifier:
				for _, word := range written(n, t) {
					take(word)
				}
			default:
				take(t.Text)
			}
		}
		var one *spf.SyntaxError
		for _, e := range unjoin(err) {
			if !errors.As(e, &one) {
				continue
			}
			if word := meantTerm(one.Term); word != "" {
				take(word)
			} else {
				lost = append(lost, one.Term)
			}
		}
	}
	for _, word := range add {
		words = slices.DeleteFunc(words, func(w string) bool { // under another sign it would match first
			return strings.IndexByte("?~-", w[0]) >= 0 && strings.EqualFold(w[1:], word)
		})
		take(word)
	}
	if len(n.Records) == 0 && len(words) == 1 {
		return "", ""
	}
	words = append(words, cmp.Or(redirect, end, "~all"))
	note = "there may be one v=spf1 record only: it replaces what is there"
	if len(n.Records) == 0 {
		note = "there may be one v=spf1 record only"
	}
	if len(lost) > 0 {
		note += "; left out, because it cannot be read: " + strings.Join(lost, " ")
	}
	if over {
		note += "; a and mx are written out as the addresses that they mean today: change them when those change"
	}
	return strings.Join(words, " "), note
}

func unjoin(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// meantTerm is what somebody meant who wrote a bare address, or ipv4: before it.
func meantTerm(term string) string {
	low := strings.ToLower(term)
	for _, prefix := range []string{"ipv4:", "ipv6:", "ip4:", "ip6:", "ip:", "+", ""} {
		rest, ok := strings.CutPrefix(low, prefix)
		if !ok {
			continue
		}
		if p, err := netip.ParsePrefix(rest); err == nil {
			return "ip" + map[bool]string{true: "4:", false: "6:"}[p.Addr().Is4()] + p.String()
		}
		if a, err := netip.ParseAddr(rest); err == nil && a.Zone() == "" {
			return "ip" + map[bool]string{true: "4:", false: "6:"}[a.Is4()] + a.String()
		}
	}
	return ""
}

// saved is how many lookups the a and mx of the record are.
func saved(tree spf.Tree) int {
	n := 0
	for _, b := range tree.Root.Branches {
		if (b.Name == "a" || b.Name == "mx") && !b.Modifier && len(b.Addresses) > 0 {
			n++
		}
	}
	return n
}

// written is a term of a or mx as addresses.
func written(n *spf.Node, t spf.Term) []string {
	for _, b := range n.Branches {
		if b.Pos != t.Pos || len(b.Addresses) == 0 {
			continue
		}
		var all []string
		sign := strings.TrimPrefix(string(t.Qualifier), "+")
		for _, ip := range b.Addresses {
			kind, bits := "ip4:", t.Bits4
			if ip.Is6() {
				kind, bits = "ip6:", t.Bits6
			}
			word := sign + kind + ip.String()
			if bits < ip.BitLen() {
				word += fmt.Sprintf("/%d", bits)
			}
			all = append(all, word)
		}
		return all
	}
	return []string{t.Text}
}

// spfAlignment is whether a pass of SPF counts for DMARC.
func (d *Domain) spfAlignment(ctx context.Context) []Finding {
	const check = "spf_alignment"
	if d.From == "" || d.Envelope == "" {
		return nil
	}
	f := d.finding(check, d.Envelope, Pass, "The return path in "+d.Envelope+" is aligned with From in "+d.From+".")
	policy := dmarc.Discover(ctx, d.Resolver, d.From)
	if !policy.Known() && d.From != d.Envelope {
		return d.unknown(check, d.Envelope, policy.Err)
	}
	strict := policy.Record != nil && policy.Record.StrictSPF
	aligned, err := d.aligned(ctx, d.Envelope, strict)
	if err != nil {
		return d.unknown(check, d.Envelope, err)
	}
	f.Why = whyAligned
	switch aligned {
	case perhaps:
		d.parted(ctx, &f, d.Envelope)
		return []Finding{f}
	case yes:
		if d.onlyOwnPaths() {
			f.Level = Info
			f.Found += " Where the relay takes a return path of its own, SPF passes for that one, which is not aligned: DMARC hangs on the signature then."
		}
		return []Finding{f}
	}
	f.Found = "The return path in " + d.Envelope + " is not aligned with From in " + d.From + "."
	f.Do = "Take a return path in " + d.From + " or below it."
	if strict {
		f.Found = "The return path in " + d.Envelope + " is not aligned with From in " + d.From + ": aspf=s wants the very same domain."
		f.Do = "Take a return path in " + d.From + ", or take aspf=s out of the DMARC record."
	}
	strictDKIM := policy.Record != nil && policy.Record.StrictDKIM
	for _, k := range d.Keys {
		same, err := d.aligned(ctx, k.Domain, strictDKIM)
		if err != nil {
			return d.unknown(check, d.Envelope, err)
		}
		if same != no {
			f.Level = Warn
			f.Found += " DMARC hangs on the signature alone."
			return []Finding{f}
		}
	}
	if len(d.Keys) == 0 { // the relay may sign
		f.Level = Warn
		f.Found += " DMARC hangs on a signature, of which nothing is known."
		f.Do += " Where the relay signs for you, name the selector (s= of its DKIM-Signature) with --selector."
		return []Finding{f}
	}
	f.Level = Fail
	f.Found += " Nor is a signature that is known."
	return []Finding{f}
}
