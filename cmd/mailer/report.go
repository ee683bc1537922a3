package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailer/internal/config"
	"mailer/internal/delivery"
	"mailer/internal/report"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const reportHelp = `Count what became of every campaign and how healthy the list is; with CAMPAIGN, one campaign by receiving provider and
domain, reason and relay. All figures are of one moment, and it is checked that everybody who was planned is accounted for.

What the figures mean:
  planned        everybody in the frozen audience = accepted + deferred + failed + excluded + uncertain + remaining
  attempted      offered to a relay at least once (the excluded are not)
  delivered      accepted by the relay and not bounced; whether into the inbox nobody can know
  delivery rate  delivered of attempted (到達率 = 1 - errors / sent); while deferred mail waits it can only be too low
  bounce rate    bounced, hard (the address is dead) and soft, of attempted
  did not arrive returned by mail (bounced) or refused in the session (failed), by receiving provider and reason
  95% sure       between what the true share lies: of few messages a share says little. It is too high where even the lower end is over
                 the limit at which relays and mailbox providers act
  complaints, unsubscribes   of delivered

  mailer report
  mailer report 2026-12-news --format html > report.html
  mailer report --format csv --table growth > growth.csv      # the tables are: campaigns, growth, suppressed, health, returned`

type reportOptions struct {
	format string
	table  string
}

func newReportCmd(a *app) *cobra.Command {
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "report [CAMPAIGN]",
		Short: "Count what became of your campaigns, and the health of the list",
		Long:  reportHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exactArgs(1, "CAMPAIGN or nothing")(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runReport(cmd.Context(), a, o, args) },
	}
	cmd.Flags().StringVar(&o.format, "format", "text", "print as `text|json|csv|html`")
	cmd.Flags().StringVar(&o.table, "table", "", "with --format csv, of all campaigns: this `table` ("+strings.Join(report.Tables, ", ")+"; default "+report.Tables[0]+")")
	return cmd
}

func runReport(ctx context.Context, a *app, o reportOptions, args []string) error {
	if !slices.Contains([]string{"text", "json", "csv", "html"}, o.format) {
		return usage("--format takes text, json, csv or html, not %q", o.format)
	}
	if a.out.JSON && o.format != "text" && o.format != "json" {
		return usage("--json and --format %s exclude each other", o.format)
	}
	if o.table != "" && (o.format != "csv" || len(args) > 0) {
		return usage("--table goes with --format csv and without a CAMPAIGN")
	}
	if o.table != "" && !slices.Contains(report.Tables, o.table) {
		return usage("--table takes %s, not %q", strings.Join(report.Tables, ", "), o.table)
	}
	a.out.JSON = a.out.JSON || o.format == "json"
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	now := a.now().In(ws.Config.Location())
	lanes, err := readLanes(ctx, ws, st, now)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		all, err := report.All(ctx, st, lanes)
		if err != nil {
			return err
		}
		return printOverview(a, all, o, now)
	}
	found, err := findCampaign(ctx, st, args[0])
	if err != nil {
		return err
	}
	c, err := report.One(ctx, st, found.ID, lanes)
	if err != nil {
		return err
	}
	return printCampaignReport(a, c, o.format, now)
}

func printOverview(a *app, all report.Overview, o reportOptions, now time.Time) error {
	switch {
	case a.out.JSON:
		return emitOverview(a, all)
	case o.format == "csv":
		return all.CSV(a.out.Data(), o.table)
	case o.format == "html":
		return all.HTML(a.out.Data(), now)
	}
	showCampaigns(a, all)
	a.out.Println()
	showList(a, all.List)
	showHealth(a, all.Health)
	for i, f := range all.Freezes {
		if i == 0 {
			a.out.Println()
		}
		a.out.Printf("%s\n", a.freezeText(f))
	}
	showReturns(a, all.Returns)
	return nil
}

func emitOverview(a *app, all report.Overview) error {
	for _, c := range all.Campaigns {
		if err := a.out.Emit("campaign", c); err != nil {
			return err
		}
	}
	for _, s := range all.List.Suppressed {
		if err := a.out.Emit("suppressed", s); err != nil {
			return err
		}
	}
	for _, m := range all.List.Months {
		if err := a.out.Emit("month", m); err != nil {
			return err
		}
	}
	for _, r := range all.Returns {
		if err := a.out.Emit("returned", r); err != nil {
			return err
		}
	}
	for _, h := range all.Health {
		if err := a.out.Emit("health", h); err != nil {
			return err
		}
	}
	for _, f := range all.Freezes {
		if err := a.out.Emit("freeze", a.freezeLine(f)); err != nil {
			return err
		}
	}
	return a.out.Emit("summary", struct {
		Campaigns int `json:"campaigns"`
		report.Counts
		report.Rates
		report.List
	}{len(all.Campaigns), all.Total, all.Total.Rates(), all.List})
}

func showCampaigns(a *app, all report.Overview) {
	if len(all.Campaigns) == 0 {
		a.out.Println("No campaign was sent yet.")
		return
	}
	line := func(name, state, begun string, c report.Counts) []string {
		return append([]string{name, state, begun}, append(outcome(c), numbers(c.Excluded, c.Remaining)...)...)
	}
	var rows [][]string
	for _, c := range all.Campaigns {
		rows = append(rows, line(c.Name, c.Status(), a.stamp(c.Begun), c.Counts))
	}
	if len(rows) > 1 {
		rows = append(rows, line("all", "", "", all.Total))
	}
	header := append(append([]string{"campaign", "state", "begun"}, outcomeHeader...), "excluded", "remaining")
	a.out.List(3, header, rows, columns(3, len(header))...)
}

// outcomeHeader and outcome are the columns that campaigns, domains and relays share.
var outcomeHeader = []string{"planned", "accepted", "delivered of attempted", "rate", "hard", "soft", "complaints", "unsubscribes", "failed", "deferred", "uncertain"}

func outcome(c report.Counts) []string {
	rate := c.Rates().Delivery
	cells := append(numbers(c.Planned, c.Accepted), fmt.Sprintf("%d of %d", rate.Count, rate.Of), rate.Percent())
	return append(cells, numbers(c.BouncedHard, c.BouncedSoft, c.Complaints, c.Unsubscribes, c.Failed, c.Deferred, c.Uncertain)...)
}

func numbers(all ...int64) []string {
	var cells []string
	for _, n := range all {
		cells = append(cells, fmt.Sprint(n))
	}
	return cells
}

// columns is the numbers from first up to end.
func columns(first, end int) []int {
	var all []int
	for i := first; i < end; i++ {
		all = append(all, i)
	}
	return all
}

func showList(a *app, l report.List) {
	if l.Contacts == 0 {
		a.out.Println("The list: nobody is on it yet. mailer import FILE brings contacts.")
	} else {
		a.out.Printf("The list: %s, %d of them can be sent marketing mail; suppressed: %s\n", ui.Count(l.Contacts, "contact", "contacts"), l.Mailable, l.Unmailable())
	}
	if l.Domains > 0 {
		a.out.Printf("Suppressed domains: %d\n", l.Domains)
	}
	if len(l.Suppressed) > 0 {
		a.out.Println()
		var rows [][]string
		for _, s := range l.Suppressed {
			rows = append(rows, []string{s.Reason, fmt.Sprint(s.Count)})
		}
		a.out.Table([]string{"suppressed for", "addresses"}, rows, 1)
	}
	if len(l.Months) > 0 {
		a.out.Println()
		var rows [][]string
		for _, m := range l.Months {
			rows = append(rows, append([]string{m.Name}, numbers(m.Added, m.Suppressed, m.Dead, m.Complained, m.Unsubscribed, m.Total)...))
		}
		a.out.List(1, []string{"month", "new contacts", "suppressed", "dead", "complained", "unsubscribed", "contacts"}, rows, 1, 2, 3, 4, 5, 6)
	}
}

// showHealth prints the shares at which relays and mailbox providers act, of the campaigns of the last months.
func showHealth(a *app, all []report.Health) {
	if len(all) == 0 || all[0].Rate.Of == 0 {
		return
	}
	var rows [][]string
	for _, h := range all {
		rows = append(rows, []string{h.Name, h.Rate.String(), h.Words(), h.LimitWords(), h.Verdict})
	}
	a.out.Println()
	a.out.List(1, []string{"last 90 days", "", "95% sure", "limit", ""}, rows, 1, 3)
}

// returnsShown is how many rows of what came back are for people; --json has all.
const returnsShown = 20

// showReturns prints what came back by receiving provider and reason.
func showReturns(a *app, all []report.Returned) {
	if len(all) == 0 {
		return
	}
	var rows [][]string
	for i, r := range all {
		if i == returnsShown {
			rows = append(rows, []string{fmt.Sprintf("and %d more (--json)", len(all)-i)})
			break
		}
		how := "soft"
		if r.Hard {
			how = "hard"
		}
		rows = append(rows, []string{r.Provider, string(r.State), r.Reason, how, fmt.Sprint(r.Count), fmt.Sprintf("%s of %d", r.Rate().Percent(), r.Of)})
	}
	a.out.Println()
	a.out.List(1, []string{"did not arrive at", "", "reason", "", "recipients", "of attempted"}, rows, 4, 5)
}

func printCampaignReport(a *app, c report.Campaign, format string, now time.Time) error {
	switch {
	case a.out.JSON:
		return emitCampaign(a, c)
	case format == "csv":
		return c.CSV(a.out.Data())
	case format == "html":
		return c.HTML(a.out.Data(), now)
	}
	showHead(a, c)
	showLanes(a, c.Lanes)
	showGroups(a, "receiving domain", c.Domains)
	if len(c.Relays) > 1 {
		showGroups(a, "relay", c.Relays)
	}
	showReasons(a, c.Reasons)
	showReturns(a, c.Returns)
	return nil
}

func emitCampaign(a *app, c report.Campaign) error {
	if err := emitLanes(a, c.Lanes); err != nil {
		return err
	}
	for _, g := range c.Domains {
		if err := a.out.Emit("domain", g); err != nil {
			return err
		}
	}
	for _, g := range c.Relays {
		if err := a.out.Emit("relay", g); err != nil {
			return err
		}
	}
	for _, r := range c.Reasons {
		if err := a.out.Emit("reason", r); err != nil {
			return err
		}
	}
	for _, r := range c.Returns {
		if err := a.out.Emit("returned", r); err != nil {
			return err
		}
	}
	return a.out.Emit("summary", c)
}

func showHead(a *app, c report.Campaign) {
	rows := [][]string{{"Campaign", c.Name}, {"State", c.Status()}, {"Class", c.Class}, {"To", c.Audience}, {"Begun", a.stamp(c.Begun)}}
	if c.Finished.IsZero() {
		rows = append(rows, []string{"Retried until", a.stamp(c.Expires)})
	} else {
		rows = append(rows, []string{"Finished", a.stamp(c.Finished)})
	}
	if len(c.Relays) == 1 {
		rows = append(rows, []string{"Relay", c.Relays[0].Name})
	}
	a.out.Table(nil, append(rows, []string{"Balance", sum(c.Balance)}))
	a.out.Println()
	var rates [][]string
	for _, r := range []struct {
		name string
		rate report.Rate
		of   string
	}{
		{"delivered (到達率)", c.Delivery, "attempted"}, {"bounced", c.Bounce, "attempted"},
		{"  hard: the address is dead", report.Rate{Count: c.BouncedHard, Of: c.Attempted}, "attempted"},
		{"  soft: another reason", report.Rate{Count: c.BouncedSoft, Of: c.Attempted}, "attempted"},
		{"complained", c.Complaint, "delivered"}, {"unsubscribed", c.Unsubscribe, "delivered"},
	} {
		rates = append(rates, []string{r.name, r.rate.Percent(), fmt.Sprint(r.rate.Count), fmt.Sprintf("of %d %s", r.rate.Of, r.of)})
	}
	a.out.Table(nil, rates, 1, 2)
}

// sum writes a balance as the sum that it is.
func sum(b delivery.Balance) string {
	return fmt.Sprintf("%d planned = %d accepted + %d deferred + %d failed + %d excluded + %d uncertain + %d remaining",
		b.Planned, b.Accepted, b.Deferred, b.Failed, b.Excluded, b.Uncertain, b.Remaining)
}

func showGroups(a *app, name string, groups []report.Group) {
	if len(groups) == 0 {
		return
	}
	var rows [][]string
	for _, g := range groups {
		rows = append(rows, append([]string{g.Name}, outcome(g.Counts)...))
	}
	a.out.Println()
	a.out.List(1, append([]string{name}, outcomeHeader...), rows, columns(1, len(outcomeHeader)+1)...)
}

// readLanes reads how the receiving providers take the workspace's mail.
func readLanes(ctx context.Context, ws *config.Workspace, st *store.Store, now time.Time) (report.Lanes, error) {
	table, err := ws.Providers()
	if err != nil {
		return report.Lanes{}, err
	}
	return report.ReadLanes(ctx, st, table, now.In(ws.Config.Location()))
}

// showLanes prints what became of the mail to each receiving provider, and how it takes it now.
func showLanes(a *app, lanes []report.Lane) {
	if len(lanes) == 0 {
		return
	}
	var rows [][]string
	for _, l := range lanes {
		state := l.Words
		if l.Why != "" {
			state += ": " + l.Why
		}
		rows = append(rows, append(append([]string{l.Name}, numbers(l.Planned, l.Accepted, l.Deferred, l.Failed, l.Bounced(), l.Remaining)...), state))
	}
	header := []string{"receiving provider", "planned", "accepted", "deferred", "failed", "bounced", "remaining", ""}
	a.out.Println()
	a.out.List(1, header, rows, columns(1, len(header)-1)...)
}

func emitLanes(a *app, lanes []report.Lane) error {
	for _, l := range lanes {
		if err := a.out.Emit("lane", l); err != nil {
			return err
		}
	}
	return nil
}

func showReasons(a *app, reasons []report.Reason) {
	if len(reasons) == 0 {
		return
	}
	var rows [][]string
	for _, r := range reasons {
		said := r.Meaning
		if r.Example != "" {
			said = strings.TrimPrefix(said+"; for example: "+r.Example, "; ")
		}
		rows = append(rows, []string{string(r.State), r.Reason, fmt.Sprint(r.Count), said})
	}
	a.out.Println()
	a.out.List(2, []string{"state", "reason", "recipients", ""}, rows, 2)
}
