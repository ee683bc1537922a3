package collect

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	addresses "mailer/internal/address"
	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/store"
	"mailer/internal/suppression"
)

// prove finds the delivery that a mail is about. The surest place decides: the address that the mail was sent to, the
// envelope id, our Message-ID. One wrong signature makes the whole mail forged, whatever else it quotes: who alters one
// token of a genuine report must not act with another.
func prove(v bounce.Verdict, keys delivery.Keys) (id int64, by string, forged bool) {
	for _, t := range v.Tokens {
		if v.Kind == bounce.KindUnsubscribe && t.Where != bounce.WhereUnsubscribe {
			continue
		}
		kind, found, err := keys.Verify(t.Text)
		switch {
		case err != nil || kind != kindAt(t.Where):
			return 0, "", true
		case t.Where == bounce.WhereUnsubscribe && v.Kind != bounce.KindUnsubscribe:
		case by == "" || slices.Index(surest, t.Where) < slices.Index(surest, by):
			id, by = found, t.Where
		}
	}
	return id, by, false
}

// surest are the places of tokens, the surest first.
var surest = []string{bounce.WhereUnsubscribe, bounce.WhereReturnPath, bounce.WhereEnvelopeID, bounce.WhereMessageID}

// kindAt is the kind of token that belongs to a place.
func kindAt(where string) delivery.TokenKind {
	switch where {
	case bounce.WhereMessageID:
		return delivery.TokenMessageID
	case bounce.WhereUnsubscribe:
		return delivery.TokenUnsubscribe
	}
	return delivery.TokenBounce
}

// Group is the mails of a sync that have all this in common.
type Group struct {
	Kind     string `json:"kind"`   // of the mail; "forged", "unmatched", "delayed" and "asks to be removed" stand apart
	Reason   string `json:"reason"` // why a message came back
	Hard     bool   `json:"hard"`
	Provider string `json:"provider"` // of the delivery
}

// Counted is what the mails of a group did.
type Counted struct {
	Group
	Mails      int `json:"mails"`
	Deliveries int `json:"deliveries"` // changed their state
	Suppressed int `json:"suppressed"`
	Held       int `json:"held"`
	Repeated   int `json:"repeated"` // known already, nothing was done
}

// Table counts mails by kind, reason and receiving provider.
type Table struct {
	lane    func(domain string) string
	groups  map[Group]*Counted
	matched map[string]int // bounces by the place that led to their delivery
	old     map[int]int    // tokens by the version of a key that signs no more
	newest  int
}

// NewTable is for a table of providers by domain; newest is the version of the key that signs now.
func NewTable(lane func(domain string) string, newest int) *Table {
	return &Table{lane: lane, groups: map[Group]*Counted{}, matched: map[string]int{}, old: map[int]int{}, newest: newest}
}

// Add counts a mail.
func (t *Table) Add(o Outcome) {
	g := Group{Kind: o.Verdict.Kind}
	switch {
	case o.Forged:
		g.Kind = "forged"
	case !o.Matched && acts(g.Kind) && !o.Repeated:
		g.Kind = "unmatched"
	case suppression.Asks(o.Verdict):
		g.Kind = "asks to be removed"
	case o.Delayed():
		g.Kind = "delayed"
	}
	if o.Matched {
		g.Reason, g.Hard, g.Provider = o.Reason, o.Event == "bounce", t.lane(o.Domain)
	}
	c := t.groups[g]
	if c == nil {
		c = &Counted{Group: g}
		t.groups[g] = c
	}
	c.Mails++
	switch {
	case o.Repeated:
		c.Repeated++
	case o.Suppressed:
		c.Suppressed++
	case o.Held != nil:
		c.Held++
	}
	if slices.ContainsFunc(o.Changed, func(s string) bool { return len(s) > 9 && s[:9] == "delivery:" }) {
		c.Deliveries++
	}
	if o.Matched && o.Verdict.Kind == bounce.KindBounce {
		t.matched[o.MatchedBy]++
	}
	for _, tok := range o.Verdict.Tokens {
		if v := delivery.Version(tok.Text); o.Matched && tok.Where == o.MatchedBy && v > 0 && v < t.newest {
			t.old[v]++
			break
		}
	}
	if o.Froze != nil {
		t.takeBack(o.Froze)
	}
}

// takeBack moves what a freeze has held back from one column to the other, as far as it was counted here.
func (t *Table) takeBack(f *store.Freeze) {
	for g, c := range t.groups {
		if g.Hard && g.Provider == f.Lane {
			c.Held, c.Suppressed = c.Held+c.Suppressed, 0
		}
	}
}

// Rows are the groups, the largest first.
func (t *Table) Rows() []Counted {
	var all []Counted
	for _, g := range slices.SortedFunc(maps.Keys(t.groups), func(a, b Group) int {
		return cmp.Or(cmp.Compare(t.groups[b].Mails, t.groups[a].Mails), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Provider, b.Provider))
	}) {
		all = append(all, *t.groups[g])
	}
	return all
}

// Folded are at most about n rows for people: what is left of them is added up by kind and reason, and Provider says of how many domains.
func (t *Table) Folded(n int) []Counted {
	all := t.Rows()
	if len(all) <= n {
		return all
	}
	rest := map[Group]*Counted{}
	domains := map[Group]int{}
	for _, c := range all[n:] {
		g := c.Group
		g.Provider = ""
		sum := rest[g]
		if sum == nil {
			sum = &Counted{Group: g}
			rest[g] = sum
		}
		domains[g]++
		sum.Mails, sum.Deliveries, sum.Suppressed = sum.Mails+c.Mails, sum.Deliveries+c.Deliveries, sum.Suppressed+c.Suppressed
		sum.Held, sum.Repeated = sum.Held+c.Held, sum.Repeated+c.Repeated
		if domains[g] > 1 {
			sum.Provider = fmt.Sprintf("%d other domains", domains[g])
		} else {
			sum.Provider = c.Provider
		}
	}
	return append(all[:n:n], (&Table{groups: rest}).Rows()...)
}

// fewMatched bounces say nothing about a relay's habits.
const fewMatched = 3

// Notes tell what is odd about how the mails were led to their deliveries. signed: our return path names the delivery.
func (t *Table) Notes(signed bool) []string {
	var notes []string
	others := t.matched[bounce.WhereEnvelopeID] + t.matched[bounce.WhereMessageID]
	if signed && t.matched[bounce.WhereReturnPath] == 0 && others >= fewMatched {
		notes = append(notes, fmt.Sprintf("none of %d bounces came to a signed return path: the relay writes its own, or the mail server drops what is behind the +. "+
			"They were led home by the envelope id or our Message-ID, which not every report returns", others))
	}
	for _, v := range slices.Sorted(maps.Keys(t.old)) {
		notes = append(notes, fmt.Sprintf("%d mails carry tokens of key %d, from before a rotation: they hold", t.old[v], v))
	}
	return notes
}

// ReplayOptions of Replay. The zero value looks at every mail that is kept, and tells only.
type ReplayOptions struct {
	Since time.Time
	Apply bool
	Each  func(store.Rejudged) error // hears of every mail to which something else happens; may be nil
}

// ReplaySummary counts mails.
type ReplaySummary struct {
	Read     int `json:"read"`
	Changed  int `json:"changed"`
	Decided  int `json:"decided"` // left as a person decided
	Suppress int `json:"suppressed"`
	Lifted   int `json:"lifted"`
}

// Replay judges recorded mails anew, by the rules and the policy of today.
func Replay(ctx context.Context, st *store.Store, keys delivery.Keys, o ReplayOptions) (ReplaySummary, error) {
	var sum ReplaySummary
	ids, err := st.KeptMails(ctx, o.Since)
	if err != nil {
		return sum, err
	}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		raw, err := st.BounceMail(ctx, id)
		if err != nil {
			return sum, err
		}
		m := store.ReadMail{Verdict: bounce.Parse(raw)}
		m.Delivery, m.MatchedBy, m.Forged = prove(m.Verdict, keys)
		r, err := st.RejudgeMail(ctx, id, m, !o.Apply)
		if err != nil {
			return sum, err
		}
		sum.add(r)
		if o.Each != nil && r.Different {
			if err := o.Each(r); err != nil {
				return sum, err
			}
		}
	}
	return sum, nil
}

func (s *ReplaySummary) add(r store.Rejudged) {
	s.Read++
	if r.Was.Decided != "" {
		s.Decided++
	}
	if !r.Different {
		return
	}
	s.Changed++
	if r.Suppressed {
		s.Suppress++
	}
	for _, c := range r.Changed {
		if len(c) > 7 && c[:7] == "lifted:" {
			s.Lifted++
		}
	}
}

// Confirm acts on a mail on a person's word, and returns about whom.
func Confirm(ctx context.Context, st *store.Store, id int64) ([]string, []store.Recorded, error) {
	b, err := st.Bounce(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	who, err := named(b)
	if err != nil {
		return nil, nil, err
	}
	done, err := st.ConfirmMail(ctx, id, who)
	return who, done, err
}

// named is the keys of the addresses that a mail is about, by its own word.
func named(b store.BounceRow) ([]string, error) {
	var all []string
	add := func(text string) {
		if a, err := addresses.Parse(text); err == nil && !slices.Contains(all, a.Key) {
			all = append(all, a.Key)
		}
	}
	for _, r := range b.Verdict.Bounces {
		if r.Action == bounce.ActionFailed {
			add(r.Recipient)
		}
	}
	for _, c := range b.Verdict.Complainants {
		add(c)
	}
	if b.Asks || b.Kind == bounce.KindUnsubscribe {
		add(b.Verdict.Sender)
	}
	if len(all) == 0 && b.Waiting() && b.Delivery == 0 {
		return nil, fmt.Errorf("mail %d names no address that could be confirmed: look at it with mailer bounces show %d", b.ID, b.ID)
	}
	return all, nil
}
