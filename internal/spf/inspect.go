package spf

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"mailer/internal/spelling"
	"mailer/internal/zone"
)

// Tree is a record with all that it includes, whoever the client is. Receivers stop at the first match, so they may need fewer
// lookups than it has; a client that nothing matches costs them all.
type Tree struct {
	Root     *Node
	Lookups  int  // terms that ask the DNS (at most MaxLookups are allowed)
	Voids    int  // of them those that find nothing (MaxVoid)
	All      byte // the qualifier of the all that ends it, also behind a redirect; 0: there is none
	Problems []Problem
}

// Node is the record of one domain.
type Node struct {
	Domain   string
	Answer   zone.Answer
	Records  []zone.Record // of SPF; more than one is an error
	Record   Record
	Err      error // of its syntax
	Branches []Branch
	Lookups  int // of the branches
	Voids    int
}

// Branch is a term with what it costs and leads to.
type Branch struct {
	Term
	Lookups, Voids int          // with all below
	Node           *Node        // of include and redirect
	Addresses      []netip.Addr // of a and mx
	Note           string       // why it was not followed, or what it led to
	Dead           bool         // it stands behind all, and nobody evaluates it

	problems []Problem
	unknown  error
}

// Kind is a kind of problem.
type Kind string

// The kinds. Those before Fragile make receivers answer permerror, or pass for everybody.
const (
	Absent       Kind = "absent"        // no record at all
	Several      Kind = "several"       // more than one
	Syntax       Kind = "syntax"        //
	OverLookups  Kind = "lookups"       // more than MaxLookups
	OverVoids    Kind = "void"          // more than MaxVoid
	OverMX       Kind = "mx"            // more than MaxNames hosts
	Cycle        Kind = "cycle"         // a record that includes itself
	Dangling     Kind = "dangling"      // include or redirect of a domain without a record
	Everybody    Kind = "everybody"     // +all, here or in an include
	Fragile      Kind = "fragile"       // 9 or 10 lookups: the next change of an include breaks it
	SomeVoids    Kind = "some_void"     // a lookup that finds nothing
	NeutralAll   Kind = "neutral_all"   // ?all
	NoAll        Kind = "no_all"        // neither all nor redirect
	UsesPTR      Kind = "ptr"           // section 5.5: do not use
	AfterAll     Kind = "after_all"     // terms that nobody reads
	DeadRedirect Kind = "dead_redirect" // beside all
	Duplicate    Kind = "duplicate"     //
	Long         Kind = "long"          // more than MaxLength
	Large        Kind = "large"         // the answer does not fit 512 bytes of UDP
	NotKnown     Kind = "unknown"       // a lookup that nobody answered
	NotFollowed  Kind = "not_followed"  // it hangs on the client: macros
)

// MaxLength is how long a record may be to leave room for the rest of an answer in 512 bytes (section 3.4).
const MaxLength = 450

const maxUDP = 512

// Breaks reports whether a problem makes the record useless.
func (k Kind) Breaks() bool {
	return slices.Contains([]Kind{Absent, Several, Syntax, OverLookups, OverVoids, OverMX, Cycle, Dangling, Everybody}, k)
}

// Problem is something wrong in a tree.
type Problem struct {
	Kind   Kind
	Domain string // whose record
	Term   string // the term, where it is one
	Text   string
}

// maxNodes bounds a tree that somebody built to be endless.
const maxNodes = 60

// Inspect follows the record of a domain.
func Inspect(ctx context.Context, r zone.Resolver, domain string) Tree {
	in := &inspection{ctx: ctx, resolver: r}
	root, problems := in.node(zone.Clean(domain), nil)
	t := Tree{Root: root, Lookups: root.Lookups, Voids: root.Voids}
	t.Problems = problems
	if t.All = root.all(); len(root.Records) == 1 {
		switch redirect := root.redirects(); {
		case t.All == '?':
			t.add(NeutralAll, domain, "?all", "?all says nothing about anybody else, as if there were no record for them")
		case t.All == 0 && !redirect:
			t.add(NoAll, domain, "", "the record ends without all, which says nothing about anybody else")
		}
	}
	looped := slices.ContainsFunc(problems, func(p Problem) bool { return p.Kind == Cycle })
	switch {
	case t.Lookups > MaxLookups:
		t.add(OverLookups, domain, "", fmt.Sprintf("%d terms ask the DNS; %d are allowed", t.Lookups, MaxLookups))
	case t.Lookups > MaxLookups-2 && !looped:
		t.add(Fragile, domain, "", fmt.Sprintf("%d of %d lookups are used: a change in an include breaks it", t.Lookups, MaxLookups))
	}
	if t.Voids > MaxVoid {
		t.add(OverVoids, domain, "", fmt.Sprintf("%d lookups find nothing; %d are allowed", t.Voids, MaxVoid))
	}
	t.duplicates()
	return t
}

func (t *Tree) add(k Kind, domain, term, text string) {
	t.Problems = append(t.Problems, Problem{k, domain, term, text})
}

// Has reports whether a tree has a kind of problem.
func (t Tree) Has(k Kind) bool {
	return slices.ContainsFunc(t.Problems, func(p Problem) bool { return p.Kind == k })
}

type inspection struct {
	ctx      context.Context
	resolver zone.Resolver
	nodes    atomic.Int32
}

// node follows one record; above are the domains that lead to it.
func (in *inspection) node(domain string, above []string) (*Node, []Problem) {
	n := &Node{Domain: domain, Answer: in.resolver.Lookup(in.ctx, domain, zone.TXT)}
	n.Records = Select(n.Answer)
	var problems []Problem
	add := func(k Kind, term, format string, args ...any) {
		problems = append(problems, Problem{k, domain, term, fmt.Sprintf(format, args...)})
	}
	switch {
	case n.Answer.State == zone.Unknown:
		add(NotKnown, "", "TXT of %s: %v", domain, unknown(n.Answer))
		return n, problems
	case len(n.Records) == 0:
		if len(above) == 0 { // else the include is at fault
			add(Absent, "", "%s has no SPF record", domain)
		}
		return n, problems
	case len(n.Records) > 1:
		add(Several, "", "%s has %d SPF records; only one may be there", domain, len(n.Records))
	}
	text := n.Records[0].Text
	if n.Record, n.Err = Parse(text); n.Err != nil {
		for line := range strings.SplitSeq(n.Err.Error(), "\n") {
			add(Syntax, "", "%s: %s", domain, line)
		}
	}
	if len(text) > MaxLength {
		add(Long, "", "the record of %s is %d characters long; more than %d may not fit an answer", domain, len(text), MaxLength)
	}
	if size := udpSize(domain, n.Answer.Records); size > maxUDP && len(text) <= MaxLength {
		add(Large, "", "all TXT records of %s make an answer of about %d bytes; more than %d does not get through everywhere", domain, size, maxUDP)
	}
	hasAll := slices.ContainsFunc(n.Record.Terms, func(t Term) bool { return t.Name == "all" && !t.Modifier })
	n.Branches = make([]Branch, len(n.Record.Terms))
	var work sync.WaitGroup
	ended := false
	for i, t := range n.Record.Terms {
		b := &n.Branches[i]
		b.Term = t
		switch {
		case t.Modifier && t.Name == "redirect" && hasAll:
			b.Dead = true
			add(DeadRedirect, t.Text, "%s is never followed, because all is there", t.Text)
		case !t.Modifier && ended:
			b.Dead = true
			add(AfterAll, t.Text, "%s stands behind all, where nobody reads it", t.Text)
		default:
			work.Go(func() { in.branch(b, domain, append(slices.Clip(above), domain)) })
		}
		if t.Name == "all" && !t.Modifier {
			if t.Qualifier == '+' && !ended {
				add(Everybody, t.Text, "%s in the record of %s lets everybody send", t.Text, domain)
			}
			ended = true
		}
	}
	work.Wait()
	seen := map[string]bool{}
	for _, b := range n.Branches {
		n.Lookups += b.Lookups
		n.Voids += b.Voids
		problems = append(problems, b.problems...)
		if low := strings.ToLower(b.Text); seen[low] && !b.Dead {
			add(Duplicate, b.Text, "%s stands twice in the record of %s", b.Text, domain)
		} else {
			seen[low] = true
		}
	}
	return n, problems
}

// branch follows one term.
func (in *inspection) branch(b *Branch, domain string, above []string) {
	if !b.Counted() {
		return
	}
	b.Lookups = 1
	add := func(k Kind, format string, args ...any) {
		b.problems = append(b.problems, Problem{k, domain, b.Text, fmt.Sprintf(format, args...)})
	}
	if b.Name == "ptr" {
		add(UsesPTR, "%s in the record of %s is slow and not to be used; write the addresses", b.Text, domain)
		b.Note = "hangs on the client"
		return
	}
	target, fixed := b.target(domain)
	if !fixed {
		b.Note = "hangs on the client: not followed"
		add(NotFollowed, "%s hangs on the client and was not followed", b.Text)
		return
	}
	switch b.Name {
	case "include", "redirect":
		in.follow(b, target, above, add)
	case "a":
		b.Addresses = in.addresses(b, target, add)
		b.void(len(b.Addresses) == 0, target, add)
	case "exists":
		a := in.ask(b, target, zone.A, add)
		b.void(a.Void(), target, add)
	case "mx":
		a := in.ask(b, target, zone.MX, add)
		b.void(a.Void(), target, add)
		if len(a.Records) > MaxNames {
			add(OverMX, "%s: %s has %d MX records; %d are allowed", b.Text, target, len(a.Records), MaxNames)
			return
		}
		for _, r := range a.Records {
			if wellFormed(r.Host) {
				b.Addresses = append(b.Addresses, in.addresses(b, r.Host, add)...)
			}
		}
	}
}

type adder func(k Kind, format string, args ...any)

func (in *inspection) follow(b *Branch, target string, above []string, add adder) {
	switch {
	case slices.Contains(above, target):
		b.Note = "leads back to itself"
		add(Cycle, "%s in the record of %s leads back to a record above it", b.Text, above[len(above)-1])
		return
	case !wellFormed(target):
		add(Dangling, "%s names no domain", b.Text)
		return
	case in.nodes.Add(1) > maxNodes:
		b.Note = "not followed: the tree is too large"
		add(OverLookups, "%s was not followed: the tree has more than %d records", b.Text, maxNodes)
		return
	}
	var below []Problem
	b.Node, below = in.node(target, above)
	b.problems = append(b.problems, below...)
	b.Lookups += b.Node.Lookups
	b.Voids += b.Node.Voids
	if b.Node.Answer.State != zone.Unknown && len(b.Node.Records) == 0 {
		b.Note = "has no SPF record"
		if b.Node.Answer.State == zone.Missing {
			b.Note = "does not exist"
		}
		add(Dangling, "%s in the record of %s: %s %s", b.Text, above[len(above)-1], target, b.Note)
		if b.Node.Answer.Void() {
			b.Voids++
		}
	}
}

func (in *inspection) ask(b *Branch, name string, kind zone.Type, add adder) zone.Answer {
	if !wellFormed(name) {
		return zone.Answer{}
	}
	a := in.resolver.Lookup(in.ctx, name, kind)
	if a.State == zone.Unknown {
		b.unknown = unknown(a)
		b.Note = "nobody knows"
		add(NotKnown, "%s of %s: %v", kind, name, b.unknown)
	}
	return a
}

// addresses are those of both families: which one is asked for hangs on the client.
func (in *inspection) addresses(b *Branch, name string, add adder) []netip.Addr {
	var all []netip.Addr
	for _, kind := range []zone.Type{zone.A, zone.AAAA} {
		for _, r := range in.ask(b, name, kind, add).Records {
			all = append(all, r.IP)
		}
	}
	return all
}

func (b *Branch) void(nothing bool, target string, add adder) {
	if nothing && b.unknown == nil {
		b.Voids++
		b.Note = "finds nothing"
		add(SomeVoids, "%s: %s has no such record", b.Text, target)
	}
}

// target is the name that a term means whoever asks, if there is one.
func (t Term) target(domain string) (string, bool) {
	if t.Domain == "" {
		return domain, true
	}
	all, _, _ := macros(t.Domain, false)
	for _, p := range all {
		if p.letter != 0 && p.letter != 'd' {
			return "", false
		}
	}
	return strings.ToLower(fit(expand(all, &values{domain: domain}))), true
}

// all is the qualifier of the all that ends a record, or the one it is redirected to; 0: none.
func (n *Node) all() byte {
	for _, b := range n.Branches {
		if b.Name == "all" && !b.Modifier {
			return b.Qualifier
		}
	}
	for _, b := range n.Branches {
		if b.Name == "redirect" && b.Modifier && b.Node != nil {
			return b.Node.all()
		}
	}
	return 0
}

// redirects reports whether a redirect leads out of what could be followed.
func (n *Node) redirects() bool {
	for _, b := range n.Branches {
		if b.Name == "redirect" && b.Modifier {
			return b.Node == nil || len(b.Node.Records) == 0 || b.Node.redirects()
		}
	}
	return false
}

// duplicates finds records that are included twice: each time costs.
func (t *Tree) duplicates() {
	times := map[string]int{}
	var walk func(n *Node)
	walk = func(n *Node) {
		for _, b := range n.Branches {
			if b.Node == nil {
				continue
			}
			if times[b.Node.Domain]++; times[b.Node.Domain] == 2 {
				t.add(Duplicate, n.Domain, b.Text, fmt.Sprintf("%s is included twice, and costs its %d lookups twice", b.Node.Domain, b.Lookups))
			}
			walk(b.Node)
		}
	}
	walk(t.Root)
}

// udpSize is about the size of an answer with all TXT records of a name: header, question, and for each record its fixed
// fields with a compressed name, and a byte of length for each string.
func udpSize(name string, records []zone.Record) int {
	size := 12 + len(name) + 2 + 4
	for _, r := range records {
		size += 12 + len(r.Text) + max(1, len(r.Strings), (len(r.Text)+254)/255)
	}
	return size
}

// Lines is a tree for people, a term a line.
func (t Tree) Lines() []string {
	lines := []string{fmt.Sprintf("%s: %s, %d void", t.Root.Domain, spelling.Count(t.Lookups, "lookup", "lookups"), t.Voids)}
	return t.Root.lines(lines, "  ")
}

func (n *Node) lines(lines []string, indent string) []string {
	networks := 0
	for _, b := range n.Branches {
		if b.Name == "ip4" || b.Name == "ip6" {
			networks++
		}
	}
	for _, b := range n.Branches {
		if networks > 3 && (b.Name == "ip4" || b.Name == "ip6") {
			continue
		}
		line := indent + b.Text
		var notes []string
		if b.Lookups > 0 {
			notes = append(notes, spelling.Count(b.Lookups, "lookup", "lookups"))
		}
		if b.Voids > 0 {
			notes = append(notes, fmt.Sprintf("%d void", b.Voids))
		}
		if b.Dead {
			notes = append(notes, "never read")
		}
		if b.Note != "" {
			notes = append(notes, b.Note)
		}
		if len(notes) > 0 {
			line += "  (" + strings.Join(notes, ", ") + ")"
		}
		lines = append(lines, line)
		if b.Node != nil {
			lines = b.Node.lines(lines, indent+"  ")
		}
	}
	if networks > 3 {
		lines = append(lines, fmt.Sprintf("%s%d networks of ip4 and ip6", indent, networks))
	}
	return lines
}

// Includes reports whether a tree lets those send that the record of a domain does.
func (n *Node) Includes(domain string) bool {
	return n.Domain == zone.Clean(domain) || slices.ContainsFunc(n.Branches, func(b Branch) bool {
		return b.Node != nil && (b.Modifier || b.Qualifier == '+') && b.Node.Includes(domain)
	})
}

// Networks are those that a tree lets send.
func (n *Node) Networks() []netip.Prefix {
	var all []netip.Prefix
	for _, b := range n.Branches {
		if b.Dead || b.Qualifier != '+' && !b.Modifier {
			continue
		}
		if b.Net.IsValid() {
			all = append(all, b.Net)
		}
		for _, a := range b.Addresses {
			bits := b.Bits4
			if a.Is6() {
				bits = b.Bits6
			}
			if p, err := a.Prefix(bits); err == nil {
				all = append(all, p)
			}
		}
		if b.Node != nil {
			all = append(all, b.Node.Networks()...)
		}
	}
	return all
}

// Covers reports whether a term of a tree names an address: what Check would find if nothing in it were broken.
func (n *Node) Covers(ip netip.Addr) bool {
	ip = ip.Unmap()
	return slices.ContainsFunc(n.Branches, func(b Branch) bool {
		if b.Dead || b.Qualifier != '+' && !b.Modifier {
			return false
		}
		bits := b.Bits4
		if ip.Is6() {
			bits = b.Bits6
		}
		return b.Net.IsValid() && b.Net.Contains(ip) || b.Node != nil && b.Node.Covers(ip) || slices.ContainsFunc(b.Addresses, func(a netip.Addr) bool {
			p, err := a.Prefix(bits)
			return err == nil && p.Contains(ip)
		})
	})
}
