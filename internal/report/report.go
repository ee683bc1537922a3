// Package report turns what the store has counted into figures for people and scripts, and tells the story of one address.
//
// What a figure means is fixed here, once, in Counts and Rates, and every rate carries the number that it is of. All
// figures of a report are of one moment; before they are handed out it is checked that everybody who was planned is
// accounted for. A report names nobody: addresses inside replies are shortened to their domain.
package report

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/store"
	"mailer/internal/suppression"
)

// largest is how many receiving domains are shown by name.
const largest = 10

// Campaign is the report of one campaign.
type Campaign struct {
	Name     string    `json:"campaign"`
	State    string    `json:"state"`
	Sender   string    `json:"sending_process,omitempty"`
	Class    string    `json:"class"`
	Audience string    `json:"audience"`
	Begun    time.Time `json:"begun"`
	Expires  time.Time `json:"expires"`
	Finished time.Time `json:"finished,omitzero"`
	Counts
	Rates

	Relays  []Group  `json:"-"`
	Lanes   []Lane   `json:"-"` // the largest receiving providers, and the others together
	Domains []Group  `json:"-"` // likewise
	Reasons []Reason `json:"-"`

	Returns []Returned `json:"-"` // what came back or was refused, by receiving provider and reason
}

// Group is the part of a campaign that has a relay or a receiving domain in common.
type Group struct {
	Name string `json:"name"`
	Counts
	Rates
}

// Reason is why recipients are in a state.
type Reason struct {
	State   delivery.State `json:"state"`
	Reason  string         `json:"reason"`
	Count   int64          `json:"count"`
	Meaning string         `json:"meaning,omitempty"`
	Example string         `json:"example,omitempty"` // a reply, without the address in it
}

// Overview is the report over all campaigns and the list.
type Overview struct {
	Campaigns []Campaign // the newest first
	Total     Counts
	List      List
	Returns   []Returned     // of the campaigns of the last recentDays, by receiving provider and reason
	Health    []Health       // of the same
	Freezes   []store.Freeze // providers whose dead addresses are not believed, or wait for a person's word
}

// List is the health of the list.
type List struct {
	Contacts   int64   `json:"contacts"`
	Mailable   int64   `json:"mailable"` // nothing keeps them from marketing mail
	Domains    int64   `json:"suppressed_domains"`
	Suppressed []Share `json:"-"` // addresses by reason, contacts or not; one may have several
	Months     []Month `json:"-"`
}

// Unmailable is how many contacts are kept from marketing mail.
func (l List) Unmailable() Rate { return Rate{l.Contacts - l.Mailable, l.Contacts} }

// Share is how many addresses are suppressed for a reason.
type Share struct {
	Reason string `json:"reason"`
	Count  int64  `json:"addresses"`
}

// Month is what came to the list and what was suppressed in a month.
type Month struct {
	Name         string `json:"month"` // 2026-12; "before" holds everything earlier
	Added        int64  `json:"contacts"`
	Suppressed   int64  `json:"suppressed"`
	Dead         int64  `json:"dead"` // of the suppressed: hard bounces, and soft ones that added up
	Complained   int64  `json:"complained"`
	Unsubscribed int64  `json:"unsubscribed"`
	Total        int64  `json:"total"` // contacts at its end, of those that are here today
}

// All reports on every campaign and on the list, with months of the time zone of the lanes.
func All(ctx context.Context, st *store.Store, lanes Lanes) (Overview, error) {
	var o Overview
	now := lanes.now
	figures, err := st.AllFigures(ctx)
	if err != nil {
		return o, err
	}
	for _, f := range figures {
		c, err := summarise(f, now.Location())
		if err != nil {
			return o, err
		}
		o.Campaigns = append(o.Campaigns, c)
		o.Total.plus(c.Counts)
	}
	list, err := st.ListFigures(ctx)
	if err != nil {
		return o, err
	}
	o.List = List{Contacts: list.Contacts, Mailable: list.Mailable, Domains: list.Domains, Months: months(list.Added, list.Blocked, now)}
	for _, s := range list.Suppressed {
		o.List.Suppressed = append(o.List.Suppressed, Share{s.Name, s.Count})
	}
	recent, err := st.RecentTallies(ctx, now.AddDate(0, 0, -recentDays))
	if err != nil {
		return o, err
	}
	o.Returns, o.Health = returns(recent, lanes.table.Lane), health(recent)
	o.Freezes, err = st.Freezes(ctx, false)
	return o, err
}

// One reports on one campaign, with times of the time zone of the lanes.
func One(ctx context.Context, st *store.Store, campaign int64, lanes Lanes) (Campaign, error) {
	f, err := st.CampaignFigures(ctx, campaign)
	if err != nil {
		return Campaign{}, err
	}
	c, err := summarise(f, lanes.now.Location())
	if err != nil {
		return c, err
	}
	c.Lanes = lanes.group(f.Tallies)
	c.Relays = group(f.Tallies, func(t store.Tally) string { return t.Relay })
	c.Domains = top(group(f.Tallies, func(t store.Tally) string { return t.Domain }), largest)
	c.Reasons = reasons(f.Tallies)
	c.Returns = returns(f.Tallies, lanes.table.Lane)
	return c, nil
}

// summarise adds the tallies up and checks the sum against the count that was made for itself.
func summarise(f store.Figures, zone *time.Location) (Campaign, error) {
	c := Campaign{Name: f.Campaign.Name, State: f.Campaign.State, Sender: f.Campaign.Holder, Class: f.Campaign.Class, Audience: f.Campaign.Segment,
		Begun: local(f.Campaign.Created, zone), Expires: local(f.Campaign.Expires, zone), Finished: local(f.Campaign.Finished, zone)}
	for _, t := range f.Tallies {
		c.Counts.add(t)
	}
	c.Planned = f.Planned
	c.Rates = c.Counts.Rates()
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("the figures of campaign %s do not add up (the database was changed by hand, or this is a fault of mailer): %w", c.Name, err)
	}
	return c, nil
}

// local is a time for print; none stays none.
func local(t time.Time, zone *time.Location) time.Time {
	if t.IsZero() {
		return t
	}
	return t.In(zone).Truncate(time.Second)
}

// Status is the state for people: one that is being sent right now differs from one that waits for its next run.
func (c Campaign) Status() string {
	if c.State == store.CampaignSending && c.Sender == "" {
		return "to go on"
	}
	return c.State
}

// group adds up the tallies that have a name in common, the largest first; those without a name are left out.
func group(tallies []store.Tally, name func(store.Tally) string) []Group {
	counts := map[string]*Counts{}
	for _, t := range tallies {
		n := name(t)
		if n == "" {
			continue
		}
		if counts[n] == nil {
			counts[n] = &Counts{}
		}
		counts[n].add(t)
	}
	var groups []Group
	for n, c := range counts {
		groups = append(groups, Group{n, *c, c.Rates()})
	}
	slices.SortFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Planned, a.Planned), cmp.Compare(a.Name, b.Name))
	})
	return groups
}

// top keeps the first n groups and lays the others together. A single other one is shown by its name.
func top(groups []Group, n int) []Group {
	if len(groups) <= n+1 {
		return groups
	}
	var rest Counts
	for _, g := range groups[n:] {
		rest.plus(g.Counts)
	}
	return append(slices.Clip(groups[:n]), Group{fmt.Sprintf("%d others", len(groups)-n), rest, rest.Rates()})
}

// reasons adds up by state and reason, the largest first.
func reasons(tallies []store.Tally) []Reason {
	type key struct {
		state  delivery.State
		reason string
	}
	at := map[key]int{}
	var all []Reason
	for _, t := range tallies {
		k := key{t.State, t.Reason}
		if t.Reason == "" || t.Count == 0 {
			continue
		}
		i, ok := at[k]
		if !ok {
			i, at[k] = len(all), len(all)
			all = append(all, Reason{State: t.State, Reason: t.Reason, Meaning: bounce.Words(t.Reason)})
		}
		all[i].Count += t.Count
		if all[i].Example == "" {
			all[i].Example = anonymous(t.Reply)
		}
	}
	slices.SortFunc(all, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

var addressInText = regexp.MustCompile(`[^\s<>"'(),;:@]+@([\w.-]+)`)

// anonymous takes the local parts out of a reply: a report goes to people whom a single recipient does not concern.
func anonymous(reply string) string { return addressInText.ReplaceAllString(reply, "…@$1") }

// monthsShown is a year, and the same month of the year before to compare with.
const monthsShown = 13

// months counts by calendar month, up to the month of now, from the first month with something in it. What is earlier than
// monthsShown months stands in one row before them.
func months(added, blocked []store.Moment, now time.Time) []Month {
	first := time.Date(now.Year(), now.Month()-monthsShown+1, 1, 0, 0, 0, 0, now.Location())
	all := []Month{{Name: "before"}}
	for m := first; !m.After(now); m = m.AddDate(0, 1, 0) {
		all = append(all, Month{Name: m.Format("2006-01")})
	}
	row := func(at time.Time) *Month {
		name := at.In(now.Location()).Format("2006-01")
		if i := slices.IndexFunc(all, func(m Month) bool { return m.Name == name }); i > 0 {
			return &all[i]
		}
		return &all[0]
	}
	for _, m := range added {
		row(m.At).Added += m.Count
	}
	for _, m := range blocked {
		r := row(m.At)
		r.Suppressed += m.Count
		switch m.Reason {
		case suppression.HardBounce, suppression.SoftBounces:
			r.Dead += m.Count
		case suppression.Complaint:
			r.Complained += m.Count
		case suppression.Unsubscribe:
			r.Unsubscribed += m.Count
		}
	}
	total := int64(0)
	for i := range all {
		total += all[i].Added
		all[i].Total = total
	}
	from := slices.IndexFunc(all, func(m Month) bool { return m.Added+m.Suppressed > 0 })
	if from < 0 {
		return nil
	}
	return all[from:]
}
