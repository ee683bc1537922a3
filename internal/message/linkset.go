package message

import (
	"fmt"
	"net/url"
	"strings"
)

// Address is a link's address, to be fetched, and somebody who has it in their message.
type Address struct {
	URL     string
	Contact string
}

// linkSet gathers the distinct addresses of all messages. A personal link is a new address in each, so that only those of
// the first messages of each language are all taken, and later a few of those that differ only in their query, fragment
// or last element of the path.
type linkSet struct {
	seen    map[string]bool
	kinds   map[string]int
	letters map[*document]int
	list    []Address
	skipped int
}

const (
	maxAddresses = 500
	maxOfAKind   = 3
	maxSeen      = 20_000
	wholeLetters = 3
)

func newLinkSet() *linkSet {
	return &linkSet{seen: map[string]bool{}, kinds: map[string]int{}, letters: map[*document]int{}}
}

func (s *linkSet) add(d *document, links []string, contact string) {
	s.letters[d]++
	for _, l := range links {
		if s.seen[l] || len(s.seen) >= maxSeen {
			continue
		}
		s.seen[l] = true
		kind := l
		if u, err := url.Parse(l); err == nil {
			kind = u.Scheme + "://" + u.Host + u.Path[:strings.LastIndexByte(u.Path, '/')+1]
		}
		s.kinds[kind]++
		if len(s.list) >= maxAddresses || s.letters[d] > wholeLetters && s.kinds[kind] > maxOfAKind {
			s.skipped++
			continue
		}
		s.list = append(s.list, Address{l, contact})
	}
}

// addresses are the links of a message that can be fetched. The one to unsubscribe is not: a look must change nothing.
func (m *opened) addresses() (list []string) {
	add := func(s string) {
		lower := strings.ToLower(s)
		if s != m.unsub && (strings.HasPrefix(lower, "https://") || strings.HasPrefix(lower, "http://")) {
			list = append(list, s)
		}
	}
	for _, l := range m.page.links {
		add(l.href)
	}
	for _, p := range m.page.pictures {
		add(p.src)
	}
	if m.html == "" {
		for _, u := range urls.FindAllString(m.text, -1) {
			add(urlEnd(u))
		}
	}
	return list
}

// Addresses are the links to fetch, in the order in which they were seen, and how many more there are.
func (p *Preflight) Addresses() ([]Address, int) { return p.links.list, p.links.skipped }

// Fetched enters what came of fetching a link: broken, or not to be told.
func (p *Preflight) Fetched(a Address, broken bool, why string) {
	rule, text := RuleLinkUnchecked, "could not be checked"
	if broken {
		rule, text = RuleLinkBroken, "is broken"
	}
	p.add(rule, a.Contact, &RenderError{msg: "the link " + shortened(a.URL) + " " + text + ": " + why})
}

// Skipped notes the links that were too many to fetch.
func (p *Preflight) Skipped(n int) {
	if n > 0 {
		p.add(RuleLinkUnchecked, "", &RenderError{msg: fmt.Sprintf("%d more links, most of them personal, were not fetched", n)})
	}
}
