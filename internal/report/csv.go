package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"

	"mailer/internal/contact"
)

var countColumns = []string{"planned", "attempted", "accepted", "delivered", "bounced_hard", "bounced_soft", "complaints", "unsubscribes",
	"failed", "deferred", "excluded", "uncertain", "remaining", "delivery_rate"}

func (c Counts) cells() []string {
	var cells []string
	for _, n := range []int64{c.Planned, c.Attempted, c.Accepted, c.Delivered(), c.BouncedHard, c.BouncedSoft, c.Complaints, c.Unsubscribes,
		c.Failed, c.Deferred, c.Excluded, c.Uncertain, c.Remaining} {
		cells = append(cells, strconv.FormatInt(n, 10))
	}
	rate := ""
	if share, ok := c.Rates().Delivery.Share(); ok {
		rate = fmt.Sprintf("%.4f", share)
	}
	return append(cells, rate)
}

// CSV writes a row a campaign.
func (o Overview) CSV(w io.Writer) error {
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
