package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mailer/internal/address"
	"mailer/internal/spelling"
	"mailer/internal/store"
	"mailer/internal/zone"
)

// picked is domains that share a fault, the most contacts first.
type picked struct {
	domains []string
	lines   []string
	people  int64
}

func (p *picked) add(d store.DomainShare, words string) {
	p.domains = append(p.domains, d.Domain)
	p.people += d.Contacts
	if len(p.lines) < shownDomains {
		p.lines = append(p.lines, fmt.Sprintf("%s: %d%s", d.Domain, d.Contacts, words))
	}
}

// told is the lines, with how many more there are.
func (p *picked) told() []string {
	lines := p.lines
	if more := len(p.domains) - len(lines); more > 0 {
		lines = append(slices.Clone(lines), fmt.Sprintf("and %d more domains", more))
	}
	if len(p.domains) > namedDomains {
		lines = append(slices.Clone(lines), fmt.Sprintf("the expression names the %d domains with the most contacts", namedDomains))
	}
	return lines
}

// at picks who is at these domains.
func (p *picked) at() string {
	var quoted []string
	for _, d := range p.domains[:min(len(p.domains), namedDomains)] {
		quoted = append(quoted, strconv.Quote(d))
	}
	return "domain in [" + strings.Join(quoted, ", ") + "]"
}

// faulty is a check of domains: who is at one of these.
func (l *List) faulty(p *picked, leave bool, tell func(g *group) []Finding, none func() []Finding) func() []Finding {
	if len(p.domains) == 0 {
		return none
	}
	g := l.group(p.at(), leave)
	return func() []Finding { return tell(g) }
}

func (l *List) disposables() func() []Finding {
	p := &picked{}
	for _, d := range l.domains {
		if l.Disposables.Has(d.Domain) {
			p.add(d, "")
		}
	}
	return l.faulty(p, true, func(g *group) []Finding {
		f := l.finding("disposable", Warn, g)
		f.Found = fmt.Sprintf("%s (%s) at services that give out mailboxes to throw away.", addresses(p.people), l.percent(p.people))
		f.Why = "Nobody reads them after the first minutes, some are given to the next visitor, and some are run as spam traps."
		f.Do = exclude + " What is on the list by mistake: disposable: except: in mailer.yaml."
		f.Detail = p.told()
		return []Finding{f}
	}, func() []Finding {
		return l.pass("disposable", "No address is at a service that gives out mailboxes to throw away.")
	})
}

func (l *List) typos() func() []Finding {
	p := &picked{}
	for _, d := range l.domains {
		if meant := address.Suggest(d.Domain); meant != "" {
			p.add(d, ", "+meant+" was probably meant")
		}
	}
	return l.faulty(p, true, func(g *group) []Finding {
		f := l.finding("typo_domains", Warn, g)
		f.Found = fmt.Sprintf("%s (%s) at domains that look like a slip of the finger.", addresses(p.people), l.percent(p.people))
		f.Why = "They bounce, or reach a stranger: such domains are bought by those who collect mail, and by those who run spam traps."
		f.Do = "Ask the people, correct the source, and import again; until then leave them out: --exclude with the expression below."
		f.Detail = p.told()
		return []Finding{f}
	}, func() []Finding { return l.pass("typo_domains", "No domain looks like a slip of the finger.") })
}

// ask asks the DNS which domains receive mail, the most common first. nil: it was not asked.
func (l *List) ask(ctx context.Context) []zone.Mailbox {
	if l.Resolver == nil {
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, l.Patience)
	defer stop()
	names := make([]string, min(len(l.domains), askedDomains))
	for i := range names {
		names[i] = l.domains[i].Domain
	}
	return zone.ReceivesEach(ctx, l.Resolver, names)
}

// unreachable are domains that take no mail. One about which nobody knows is not among them.
func (l *List) unreachable(receiving []zone.Mailbox) func() []Finding {
	if receiving == nil {
		return func() []Finding {
			return []Finding{{Area: "list", Check: "dead_domains", Level: Info, Found: "The DNS was not asked which domains take mail."}}
		}
	}
	p, unknown := &picked{}, &picked{}
	for i, d := range l.domains {
		switch {
		case i >= len(receiving) || receiving[i] == zone.Unclear:
			unknown.add(d, "")
		case receiving[i].Dead():
			p.add(d, ", "+receiving[i].Words())
		}
	}
	known := len(l.domains) - len(unknown.domains)
	rest := func() []Finding {
		if len(unknown.domains) == 0 {
			return nil
		}
		f := Finding{Area: "list", Check: "unknown_domains", Level: Info, People: unknown.people, Detail: unknown.told()}
		if l.share(unknown.people) >= 0.1 {
			f.Level = Unknown
		}
		f.Found = fmt.Sprintf("Of %d of %d domains (%s) nobody knew in time whether they take mail.", len(unknown.domains), len(l.domains), people(unknown.people))
		f.Why = "A name server that is silent or fails says nothing about an address. Nobody is left out for it."
		f.Do = "Ask again with more time, such as --dns 60s, or another name server: --resolver."
		return []Finding{f}
	}
	return l.faulty(p, true, func(g *group) []Finding {
		f := l.finding("dead_domains", Warn, g)
		if l.share(p.people) >= bounceFail {
			f.Level = Fail
		}
		f.Found = fmt.Sprintf("%s (%s) at %s mail: the DNS has no server for them.", addresses(p.people), l.percent(p.people), spelling.Count(len(p.domains), "domain that takes no", "domains that take no"))
		f.Why = fmt.Sprintf("Each of them bounces (5.1.2, 5.4.4; null MX: RFC 7505). Relays look at an account from %.0f %% of hard bounces on (Amazon SES), and providers sooner.", 100*bounceFail)
		f.Do = exclude
		f.Detail = p.told()
		return append([]Finding{f}, rest()...)
	}, func() []Finding {
		return append(l.pass("dead_domains", fmt.Sprintf("All of the %d domains that were found out about take mail.", known)), rest()...)
	})
}
