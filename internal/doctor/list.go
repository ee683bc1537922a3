package doctor

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailer/internal/address"
	"mailer/internal/provider"
	"mailer/internal/segment"
	"mailer/internal/spelling"
	"mailer/internal/store"
	"mailer/internal/zone"
)

// List is what the checks of a list need to know. Whom nothing may be sent to is left out of all of them.
type List struct {
	Store       *store.Store
	Schema      segment.Schema
	Scope       store.Where // whom it is about
	Words       string      // the same as an expression; what is told is for people who paste it
	Providers   provider.Table
	Disposables address.Disposables
	Resolver    zone.Resolver // nil: the domains are not asked about
	Patience    time.Duration // for all questions together
	Step        func(done, total int64)

	mailable   int64
	suppressed int64
	domains    []store.DomainShare
	groups     []*group
}

// Shares from which on something is more than worth knowing, and numbers that are told.
const (
	coldShare    = 0.05   // never mailed in a year
	dormantShare = 0.30   // nothing opened in half a year
	sharedShare  = 0.05   // info@ and its like
	bounceWarn   = 0.02   // hard: where relays begin to ask questions
	bounceFail   = 0.05   // Amazon SES puts an account under review
	shownDomains = 10     // in the lines of a finding
	namedDomains = 200    // in an expression
	askedDomains = 20_000 // about which the DNS is asked
	fateSample   = 200_000
	lastSends    = 5
)

// oldConsent is the age from which on nobody remembers. CASL's implied consent lasts two years.
const oldConsent = 2

// group is people of a kind, and the expression that picks them.
type group struct {
	expr  string
	leave bool // better not mailed at all
	n     int64
	where string // with the scope
}

// Check runs all checks. The verdict comes first, then what was found, the worst first.
func (l *List) Check(ctx context.Context) ([]Finding, error) {
	if err := l.narrow(ctx); err != nil {
		return nil, err
	}
	if l.mailable == 0 {
		return []Finding{l.nobody()}, nil
	}
	var err error
	if l.domains, err = l.Store.DomainShares(ctx, l.Scope, l.Step); err != nil {
		return nil, err
	}
	locals, err := l.Store.LocalCounts(ctx, l.Scope, slices.Concat(address.LocalsOf(address.Machine), address.LocalsOf(address.Shared)))
	if err != nil {
		return nil, err
	}
	receiving := l.ask(ctx)
	past, err := l.past(ctx)
	if err != nil {
		return nil, err
	}
	last, err := l.Store.LastCampaigns(ctx, lastSends)
	if err != nil {
		return nil, err
	}
	consents, err := l.Store.Consents(ctx, l.Scope, l.now().AddDate(-oldConsent, 0, 0))
	if err != nil {
		return nil, err
	}
	plus, dots, err := l.Store.Twins(ctx, l.Scope)
	if err != nil {
		return nil, err
	}
	checks := []func() []Finding{ // each names its groups now, and tells of them when they are counted
		l.age(), l.consent(consents), l.machines(locals), l.disposables(), l.typos(), l.unreachable(receiving), l.forms(), l.bouncing(), l.dormant(last),
	}
	if err := l.count(ctx, l.groups); err != nil {
		return nil, err
	}
	var all []Finding
	for _, tell := range checks {
		all = append(all, tell()...)
	}
	all = append(all, twins(plus, dots)...)
	all = append(all, l.providers(past)...)
	all = append(all, l.expected(past)...)
	Sort(all)
	verdict, err := l.verdict(ctx, all)
	if err != nil {
		return nil, err
	}
	return append([]Finding{verdict}, all...), nil
}

func (l *List) now() time.Time { return l.Schema.Now }

// narrow leaves out the suppressed.
func (l *List) narrow(ctx context.Context) error {
	all, err := l.Store.CountContacts(ctx, l.Scope)
	if err != nil {
		return err
	}
	not, err := segment.Compile("not suppressed()", l.Schema)
	if err != nil {
		return err
	}
	mailable := l.Scope.And(store.Where(not))
	if l.mailable, err = l.Store.CountContacts(ctx, mailable); err != nil {
		return err
	}
	if l.suppressed = all - l.mailable; l.suppressed > 0 {
		l.Scope = mailable
	}
	return nil
}

// group is people to be counted.
func (l *List) group(expr string, leave bool) *group {
	g := &group{expr: expr, leave: leave, where: l.whole(expr)}
	l.groups = append(l.groups, g)
	return g
}

// whole is an expression within the scope.
func (l *List) whole(expr string) string {
	parts := []string{}
	switch words := oneLine(l.Words); {
	case strings.ContainsAny(words, " |?"):
		parts = append(parts, "("+words+")")
	case words != "":
		parts = append(parts, words)
	}
	if strings.Contains(expr, " or ") {
		expr = "(" + expr + ")"
	}
	parts = append(parts, expr)
	if l.suppressed > 0 {
		parts = append(parts, "not suppressed()")
	}
	return strings.Join(parts, " and ")
}

// pieces are the texts and comments of an expression, and the gaps between words.
var pieces = regexp.MustCompile("(?s)\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`|(?:/\\*.*?\\*/|(?:#|//)[^\n]*|\\s)+")

// oneLine is an expression without comments and line breaks, so that it can be put beside others and copied.
func oneLine(expr string) string {
	return strings.TrimSpace(pieces.ReplaceAllStringFunc(expr, func(part string) string {
		if strings.ContainsAny(part[:1], "\"'`") {
			return part
		}
		return " "
	}))
}

func (l *List) count(ctx context.Context, groups []*group) error {
	conditions := make([]store.Where, len(groups))
	for i, g := range groups {
		q, err := segment.Compile(g.expr, l.Schema)
		if err != nil {
			return fmt.Errorf("the expression %s: %w", g.expr, err)
		}
		conditions[i] = store.Where(q)
	}
	counts, err := l.Store.CountEachOf(ctx, l.Scope, conditions, l.Step)
	for i, n := range counts {
		groups[i].n = n
	}
	return err
}

// finding is one about the people of a group.
func (l *List) finding(check string, level Level, g *group) Finding {
	f := Finding{Area: "list", Check: check, Level: level}
	if g != nil && g.n > 0 {
		f.People, f.Where = g.n, g.where
	}
	return f
}

// pass says in a line that a check found nobody.
func (l *List) pass(check, found string) []Finding {
	return []Finding{{Area: "list", Check: check, Level: Pass, Found: found}}
}

func (l *List) nobody() Finding {
	f := Finding{Area: "list", Check: "verdict", Level: Warn, Found: "There is nobody to mail.",
		Why: "A check of nobody says nothing.", Do: "Import contacts (mailer import --help), or name others with --where, --list or --segment."}
	if l.suppressed > 0 {
		f.Found = fmt.Sprintf("There is nobody to mail: all %s are suppressed.", people(l.suppressed))
		f.Do = "See why with mailer suppressions list."
	}
	return f
}

func (l *List) share(n int64) float64 { return float64(n) / float64(l.mailable) }

// percent is a share of all in words.
func (l *List) percent(n int64) string { return percent(l.share(n)) }

func percent(share float64) string {
	switch p := 100 * share; {
	case p == 0:
		return "0 %"
	case p < 0.1:
		return "less than 0.1 %"
	case p < 10:
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	default:
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	}
}

func people(n int64) string {
	if n == 1 {
		return "1 contact"
	}
	return fmt.Sprintf("%d contacts", n)
}

const (
	sample  = "Send to some of them first and look at what comes back: mailer send CAMPAIGN --canary 500, or --where with the expression below and sample(5). "
	exclude = "Leave them out: mailer send CAMPAIGN --exclude with the expression below."
)

// verdict is the list in a sentence, with who is better left out.
func (l *List) verdict(ctx context.Context, all []Finding) (Finding, error) {
	f := Finding{Area: "list", Check: "verdict", Level: Pass, Found: fmt.Sprintf("%s may be mailed.", people(l.mailable))}
	if l.suppressed > 0 {
		f.Found = fmt.Sprintf("%s may be mailed; %d more are suppressed and left out below.", people(l.mailable), l.suppressed)
	}
	for _, o := range all {
		if (o.Level == Warn || o.Level == Fail) && o.Level.Worse(f.Level) {
			f.Level = o.Level
		}
	}
	var exprs []string
	for _, g := range l.groups {
		if g.leave && g.n > 0 {
			exprs = append(exprs, g.expr)
		}
	}
	if len(exprs) == 0 {
		switch {
		case f.Level == Fail:
			f.Found += " It is not fit to be mailed as a whole: see below."
		case f.Level == Warn:
			f.Found += " Nobody must be left out for the address alone, but see below before you mail them all."
		default:
			f.Found += " Nobody must be left out for the address alone."
		}
		if f.Level.Worse(Info) {
			f.Why, f.Do = "A mailing is judged by its worst part.", "Do what stands with each finding below, the first ones first."
		}
		return f, nil
	}
	union := &group{expr: strings.Join(exprs, " or ")}
	union.where = l.whole(union.expr)
	if err := l.count(ctx, []*group{union}); err != nil {
		return f, err
	}
	f.People, f.Where = union.n, union.where
	f.Found += fmt.Sprintf(" %d of them (%s) should not be: no domain that takes mail, a slip of the finger, a mailbox to throw away, or no person.", union.n, l.percent(union.n))
	f.Why = "They bounce or complain, and the whole mailing is judged by it."
	f.Do = exclude
	return f, nil
}

func addresses(n int64) string { return spelling.Count(n, "address", "addresses") }
