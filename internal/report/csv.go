package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"mailer/internal/contact"
)

var countColumns = []string{"planned", "attempted", "accepted", "delivered", "bounced_hard", "bounced_soft", "complaints", "unsubscribes",
	"failed", "deferred", "excluded", "uncertain", "remaining", "delivery_rate"}

func (c Counts) cells() []string {
	return append(decimals(c.Planned, c.Attempted, c.Accepted, c.Delivered(), c.BouncedHard, c.BouncedSoft, c.Complaints, c.Unsubscribes,
		c.Failed, c.Deferred, c.Excluded, c.Uncertain, c.Remaining), share(c.Rates().Delivery))
}

// Tables are the tables of an overview as CSV, the usual one first.
var Tables = []string{"campaigns", "growth", "suppressed", "health", "returned"}

// CSV writes one of the tables.
func (o Overview) CSV(w io.Writer, table string) error {
	switch table {
	case "growth":
		rows := [][]string{{"month", "new_contacts", "suppressed", "dead", "complained", "unsubscribed", "contacts"}}
		for _, m := range o.List.Months {
			rows = append(rows, append([]string{m.Name}, decimals(m.Added, m.Suppressed, m.Dead, m.Complained, m.Unsubscribed, m.Total)...))
		}
		return writeCSV(w, rows)
	case "suppressed":
		rows := [][]string{{"reason", "addresses"}}
		for _, s := range o.List.Suppressed {
			rows = append(rows, append([]string{s.Reason}, decimals(s.Count)...))
		}
		return writeCSV(w, rows)
	case "health":
		rows := [][]string{{"name", "count", "of", "rate", "low", "high", "warn", "limit", "verdict"}}
		for _, h := range o.Health {
			low, high := h.Interval()
			rows = append(rows, slices.Concat([]string{h.Name}, decimals(h.Rate.Count, h.Rate.Of), []string{share(h.Rate), fraction(low), fraction(high), fraction(h.Warn), fraction(h.Limit), h.Verdict}))
		}
		return writeCSV(w, rows)
	case "returned":
		rows := [][]string{{"provider", "state", "reason", "hard", "recipients", "attempted", "rate"}}
		for _, r := range o.Returns {
			rows = append(rows, slices.Concat([]string{contact.Guard(r.Provider), string(r.State), contact.Guard(r.Reason), strconv.FormatBool(r.Hard)}, decimals(r.Count, r.Of), []string{share(r.Rate())}))
		}
		return writeCSV(w, rows)
	}
	return o.campaigns(w)
}

func decimals(all ...int64) []string {
	var cells []string
	for _, n := range all {
		cells = append(cells, strconv.FormatInt(n, 10))
	}
	return cells
}

func fraction(f float64) string { return fmt.Sprintf("%.4f", f) }

// share is empty for the rate of nothing.
func share(r Rate) string {
	if s, ok := r.Share(); ok {
		return fraction(s)
	}
	return ""
}

// campaigns writes a row a campaign.
func (o Overview) campaigns(w io.Writer) error {
	rows := [][]string{append([]string{"campaign", "state", "begun", "finished"}, countColumns...)}
	for _, c := range o.Campaigns {
		finished := ""
		if !c.Finished.IsZero() {
			finished = c.Finished.Format(time.RFC3339)
		}
		rows = append(rows, append([]string{contact.Guard(c.Name), c.State, c.Begun.Format(time.RFC3339), finished}, c.cells()...))
	}
	return writeCSV(w, rows)
}

// CSV writes a row for the campaign, each relay, each receiving provider (with how it takes the mail as its reason) and each domain,
// and then for each reason with only its count, as planned; last what did not arrive by provider and reason, its count as planned and
// the provider's as attempted.
func (c Campaign) CSV(w io.Writer) error {
	rows := [][]string{append([]string{"part", "name"}, append(countColumns, "reason", "example")...)}
	add := func(part, name string, cells []string, more ...string) {
		rows = append(rows, append(append([]string{part, contact.Guard(name)}, cells...), more...))
	}
	add("campaign", c.Name, c.cells(), "", "")
	for _, g := range c.Relays {
		add("relay", g.Name, g.cells(), "", "")
	}
	for _, l := range c.Lanes {
		add("lane", l.Name, l.cells(), l.Words, contact.Guard(l.Why))
	}
	for _, g := range c.Domains {
		add("domain", g.Name, g.cells(), "", "")
	}
	for _, r := range c.Reasons {
		cells := make([]string, len(countColumns))
		cells[0] = strconv.FormatInt(r.Count, 10)
		add("reason", string(r.State), cells, contact.Guard(r.Reason), contact.Guard(r.Example))
	}
	for _, r := range c.Returns {
		cells := make([]string, len(countColumns))
		cells[0], cells[1] = strconv.FormatInt(r.Count, 10), strconv.FormatInt(r.Of, 10)
		how := "soft"
		if r.Hard {
			how = "hard"
		}
		add("returned", r.Provider, cells, contact.Guard(r.Reason), string(r.State)+", "+how)
	}
	return writeCSV(w, rows)
}

func writeCSV(w io.Writer, rows [][]string) error {
	if err := csv.NewWriter(w).WriteAll(rows); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	return nil
}
