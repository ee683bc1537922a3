package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"time"

	"mailer/internal/config"
	"mailer/internal/delivery"
	"mailer/internal/report"
	"mailer/internal/send"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

func newCampaignsCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "campaigns",
		Aliases: []string{"campaign"},
		Short:   "List campaigns, see who got what, pause, resume and cancel",
	}
	cmd.AddCommand(newCampaignsListCmd(a), newCampaignsShowCmd(a), newRecipientsCmd(a),
		newCampaignStateCmd(a, "pause", "Stop sending after what is on the wire", store.CampaignPaused),
		newCampaignStateCmd(a, "resume", "Let a paused campaign be sent again", store.CampaignSending),
		newCampaignStateCmd(a, "cancel", "Never send to those who were not sent to yet", store.CampaignCancelled))
	return cmd
}

func newCampaignsListCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List what is planned, then the campaigns that were sent, the newest first",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runCampaignsList(cmd.Context(), a) },
	}
}

func runCampaignsList(ctx context.Context, a *app) error {
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	rows, err := plannedRows(ctx, a, &send.Sender{Workspace: ws, Store: st, Now: a.now})
	if err != nil {
		return err
	}
	all, err := st.Campaigns(ctx)
	if err != nil {
		return err
	}
	return listCampaigns(a, rows, all)
}

// listCampaigns prints the campaigns below what is planned.
func listCampaigns(a *app, rows [][]string, all []store.Campaign) error {
	for _, c := range all {
		if err := a.out.Emit("campaign", campaignLine(c)); err != nil {
			return err
		}
		b := c.Balance
		rows = append(rows, []string{c.Name, stateText(c), a.stamp(c.Created), fmt.Sprint(b.Planned), fmt.Sprint(b.Accepted), fmt.Sprint(b.Deferred),
			fmt.Sprint(b.Failed), fmt.Sprint(b.Excluded), fmt.Sprint(b.Uncertain), fmt.Sprint(b.Remaining)})
	}
	if a.out.JSON {
		return nil
	}
	if len(rows) == 0 {
		a.out.Println("No campaign was sent yet. mailer send CAMPAIGN --dry-run shows what would be.")
		return nil
	}
	a.out.Table([]string{"campaign", "state", "begun", "planned", "accepted", "deferred", "failed", "excluded", "uncertain", "remaining"}, rows, 3, 4, 5, 6, 7, 8, 9)
	return nil
}

// campaignJSON is a campaign for scripts.
type campaignJSON struct {
	Campaign string `json:"campaign"`
	State    string `json:"state"`
	Class    string `json:"class"`
	Audience string `json:"audience"`
	Sender   string `json:"sending_process,omitempty"`
	Begun    string `json:"begun"`
	Expires  string `json:"expires"`
	Finished string `json:"finished,omitempty"`
	Note     string `json:"note,omitempty"`       // why it was stopped
	Stage    string `json:"stage,omitempty"`      // of one with a canary: canary, hold, rest
	Held     string `json:"held_until,omitempty"` // at the stage hold
	delivery.Balance
}

func campaignLine(c store.Campaign) campaignJSON {
	line := campaignJSON{Campaign: c.Name, State: c.State, Class: c.Class, Audience: c.Segment, Sender: c.Holder, Balance: c.Balance,
		Begun: c.Created.Format(time.RFC3339), Expires: c.Expires.Format(time.RFC3339)}
	if !c.Finished.IsZero() {
		line.Finished = c.Finished.Format(time.RFC3339)
	}
	line.Note, line.Stage = c.Note, c.Stage
	if c.Stage == store.StageHold {
		line.Held = c.HeldUntil.Format(time.RFC3339)
	}
	return line
}

// stateText tells a campaign that is being sent right now from one that waits for its next run, or for what becomes of its canary.
func stateText(c store.Campaign) string {
	if c.State == store.CampaignSending && c.Stage == store.StageHold {
		return "held"
	}
	if c.State == store.CampaignSending && c.Holder == "" {
		return "to go on"
	}
	return c.State
}

func (a *app) stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(a.zone).Format("2006-01-02 15:04")
}

func newCampaignsShowCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show CAMPAIGN",
		Short: "Show a campaign: its audience, its balance, how its receivers take it and the reasons",
		Args:  exactArgs(1, "CAMPAIGN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCampaign(cmd.Context(), args[0], func(s *send.Sender, c store.Schedule) error {
				return showPlanned(a, s, c)
			}, func(s *send.Sender, c store.Campaign) error {
				return showCampaign(cmd.Context(), a, s.Workspace, s.Store, c)
			})
		},
	}
}

// withCampaign opens the store for a command about one campaign: one that was sent, or one that is planned.
func (a *app) withCampaign(ctx context.Context, name string, planned func(*send.Sender, store.Schedule) error, do func(*send.Sender, store.Campaign) error) error {
	return a.withCampaignOf(ctx, a.open, name, planned, do)
}

// opener opens the workspace and its database.
type opener func(context.Context) (*config.Workspace, *store.Store, error)

func (a *app) withCampaignOf(ctx context.Context, open opener, name string, planned func(*send.Sender, store.Schedule) error, do func(*send.Sender, store.Campaign) error) error {
	ws, st, err := open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	s := &send.Sender{Workspace: ws, Store: st, Now: a.now}
	c, err := findCampaign(ctx, st, name)
	if errors.Is(err, store.ErrNoCampaign) {
		if c, perr := findPlanned(ctx, st, name); perr == nil {
			return planned(s, c)
		}
	}
	if err != nil {
		return err
	}
	return do(s, c)
}

// findCampaign finds a sent campaign by its id, or by its file's path.
func findCampaign(ctx context.Context, st *store.Store, name string) (store.Campaign, error) {
	c, err := st.Campaign(ctx, name)
	if err == nil {
		return c, nil
	}
	if stem := stemOf(name); stem != name {
		if c, serr := st.Campaign(ctx, stem); serr == nil {
			return c, nil
		}
	}
	return c, &exit{exitUsage, fmt.Errorf("%w; mailer campaigns list shows what was", err)}
}

// stemOf is the name of a campaign's file without folder, language and format.
func stemOf(path string) string {
	stem, _, _ := strings.Cut(path[strings.LastIndexAny(path, `/\`)+1:], ".")
	return stem
}

func showCampaign(ctx context.Context, a *app, ws *config.Workspace, st *store.Store, c store.Campaign) error {
	reasons, err := st.Reasons(ctx, c.ID)
	if err != nil {
		return err
	}
	lanes, err := readLanes(ctx, ws, st, a.now())
	if err != nil {
		return err
	}
	figures, err := report.One(ctx, st, c.ID, lanes)
	if err != nil {
		return err
	}
	if a.out.JSON {
		if err := a.out.Emit("campaign", campaignLine(c)); err != nil {
			return err
		}
		if err := emitLanes(a, figures.Lanes); err != nil {
			return err
		}
		for _, r := range reasons {
			if err := a.out.Emit("reason", r); err != nil {
				return err
			}
		}
		return nil
	}
	rows := [][]string{{"Campaign", c.Name}, {"State", stateText(c)}, {"Class", c.Class}, {"To", c.Segment}, {"Begun", a.stamp(c.Created)}, {"Retried until", a.stamp(c.Expires)}}
	if c.Holder != "" {
		rows = append(rows, []string{"Sent by", store.HolderName(c.Holder)})
	}
	if !c.Finished.IsZero() {
		rows = append(rows, []string{"Finished", a.stamp(c.Finished)})
	}
	if c.Note != "" {
		rows = append(rows, []string{"Stopped", ui.Clean(c.Note)})
	}
	if c.Stage == store.StageHold {
		rows = append(rows, []string{"Canary", "sent; the rest waits until " + a.stampBy(c.HeldUntil) + " for what comes back"})
	}
	rows = append(rows, []string{"Balance", c.Balance.String()})
	a.out.Table(nil, rows)
	showLanes(a, figures.Lanes)
	if len(reasons) > 0 {
		a.out.Println()
		var lines [][]string
		for _, r := range reasons {
			lines = append(lines, []string{string(r.State), r.Reason, fmt.Sprint(r.Count)})
		}
		a.out.Table([]string{"state", "reason", "recipients"}, lines, 2)
	}
	return nil
}

type recipientsOptions struct {
	states []string
	format string
}

func newRecipientsCmd(a *app) *cobra.Command {
	var o recipientsOptions
	cmd := &cobra.Command{
		Use:   "recipients CAMPAIGN",
		Short: "Name every recipient with their state, the reason and the relay's reply",
		Args:  exactArgs(1, "CAMPAIGN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			states, err := o.parse()
			if err != nil {
				return err
			}
			return a.withCampaign(cmd.Context(), args[0], func(_ *send.Sender, c store.Schedule) error {
				return recipientsOfPlanned(a, c)
			}, func(s *send.Sender, c store.Campaign) error {
				return printRecipients(cmd.Context(), a, s.Store, c, states, o.format)
			})
		},
	}
	cmd.Flags().StringSliceVar(&o.states, "state", nil, "only recipients in this `state`: pending sending accepted deferred failed uncertain excluded bounced complained")
	cmd.Flags().StringVar(&o.format, "format", "text", "print as `text|csv`")
	return cmd
}

func (o recipientsOptions) parse() ([]delivery.State, error) {
	if o.format != "text" && o.format != "csv" {
		return nil, usage("--format takes text or csv, not %q", o.format)
	}
	var states []delivery.State
	for _, s := range o.states {
		if !delivery.State(s).Valid() {
			return nil, usage("there is no state %q; the states are %s", s, strings.Trim(fmt.Sprint(delivery.States()), "[]"))
		}
		states = append(states, delivery.State(s))
	}
	return states, nil
}

func printRecipients(ctx context.Context, a *app, st *store.Store, c store.Campaign, states []delivery.State, format string) error {
	if a.out.JSON {
		return st.EachRecipient(ctx, c.ID, states, func(r store.Recipient) error { return a.out.Emit("recipient", r) })
	}
	if format == "csv" {
		w := csv.NewWriter(a.out.Data())
		w.Write([]string{"address", "state", "reason", "reply", "attempts", "message_id", "relay", "at"})
		err := st.EachRecipient(ctx, c.ID, states, func(r store.Recipient) error {
			return w.Write([]string{r.Address, string(r.State), r.Reason, r.Reply, fmt.Sprint(r.Attempts), r.MessageID, r.Relay, r.At.Format(time.RFC3339)})
		})
		w.Flush()
		if err != nil {
			return err
		}
		return w.Error()
	}
	return st.EachRecipient(ctx, c.ID, states, func(r store.Recipient) error {
		a.out.Printf("%s\t%s\t%s\t%s\n", ui.Clean(r.Address), r.State, ui.Clean(r.Reason), ui.Clean(r.Reply))
		return nil
	})
}

func newCampaignStateCmd(a *app, verb, short, state string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " CAMPAIGN",
		Short: short,
		Args:  exactArgs(1, "CAMPAIGN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCampaignOf(cmd.Context(), a.openAnyway, args[0], func(s *send.Sender, c store.Schedule) error {
				return changePlanned(cmd.Context(), a, s.Store, c, state)
			}, func(s *send.Sender, c store.Campaign) error {
				return setCampaignState(cmd.Context(), a, s.Store, c.Name, state)
			})
		},
	}
}

func setCampaignState(ctx context.Context, a *app, st *store.Store, name, state string) error {
	if err := st.SetCampaignState(ctx, name, state, ""); err != nil {
		return err
	}
	c, err := st.Campaign(ctx, name)
	if err != nil {
		return err
	}
	if err := a.out.Emit("campaign", campaignLine(c)); err != nil {
		return err
	}
	a.out.Printf("%s: %s\n", c.Name, stateText(c))
	return nil
}
