package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mailer/internal/campaign"
	"mailer/internal/send"
	"mailer/internal/store"
	"mailer/internal/ui"
)

// plannedJSON is a campaign that has not begun, for scripts.
type plannedJSON struct {
	Campaign   string   `json:"campaign"`
	State      string   `json:"state"`
	At         string   `json:"at"`
	Late       string   `json:"late"`
	Class      string   `json:"class"`
	Audience   string   `json:"audience"`
	Recipients int64    `json:"recipients"` // when it was planned
	Edited     []string `json:"edited"`     // what in the files is not as it was planned
}

func (a *app) plannedLine(c store.Schedule, edited []string) plannedJSON {
	return plannedJSON{Campaign: c.Name, State: c.State, At: c.At.In(a.zone).Format(time.RFC3339), Late: lateText(c.Late), Class: c.Class,
		Audience: c.Segment, Recipients: c.Recipients, Edited: append([]string{}, edited...)}
}

func lateText(d time.Duration) string {
	switch {
	case d >= campaign.ForeverLate.Truncate(time.Millisecond):
		return "always"
	case d == 0:
		return "never"
	}
	text := d.String()
	for _, none := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, none) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// missedText says what becomes of a campaign whose time passes while nothing runs.
func missedText(late time.Duration) string {
	switch text := lateText(late); text {
	case "never":
		return "not begun any more"
	case "always":
		return "begun whenever mailer run runs again"
	default:
		return "begun within " + text
	}
}

// plannedRows are what is planned, for the table of campaigns.
func plannedRows(ctx context.Context, a *app, s *send.Sender) ([][]string, error) {
	all, err := s.Store.Schedules(ctx)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for _, c := range all {
		c, err := s.Store.Scheduled(ctx, c.Name)
		if errors.Is(err, store.ErrNotPlanned) {
			continue // it has just begun
		}
		if err != nil {
			return nil, err
		}
		edited, err := s.Edited(c)
		if err != nil {
			return nil, err
		}
		if err := a.out.Emit("campaign", a.plannedLine(c, edited)); err != nil {
			return nil, err
		}
		state := c.State
		if len(edited) > 0 {
			state += ", edited since"
		}
		rows = append(rows, []string{c.Name, state, "at " + a.stamp(c.At), fmt.Sprint(c.Recipients), "", "", "", "", "", ""})
	}
	return rows, nil
}

// findPlanned finds a campaign that has not begun by its id, or by its file's path.
func findPlanned(ctx context.Context, st *store.Store, name string) (store.Schedule, error) {
	c, err := st.Scheduled(ctx, name)
	if stem := stemOf(name); errors.Is(err, store.ErrNotPlanned) && stem != name {
		return st.Scheduled(ctx, stem)
	}
	return c, err
}

func showPlanned(a *app, s *send.Sender, c store.Schedule) error {
	edited, err := s.Edited(c)
	if err != nil {
		return err
	}
	if a.out.JSON {
		return a.out.Emit("campaign", a.plannedLine(c, edited))
	}
	a.out.Table(nil, [][]string{{"Campaign", c.Name}, {"State", c.State}, {"Class", c.Class}, {"To", c.Segment}, {"Begins", a.planStamp(c.At)},
		{"If missed", missedText(c.Late)}, {"Recipients", fmt.Sprintf("%d when it was planned, %s", c.Recipients, a.stamp(c.Created))}})
	if len(edited) > 0 {
		a.out.Printf("\nEdited since; what was planned is sent. mailer send %s --at ... plans what is new:\n  %s\n", c.Name, clean(strings.Join(edited, "\n  ")))
	}
	return nil
}

// changePlanned is pause, resume and cancel of a campaign that has not begun.
func changePlanned(ctx context.Context, a *app, st *store.Store, c store.Schedule, state string) error {
	if state != store.CampaignCancelled {
		return usage("%s: mailer send %s --at ... moves it, mailer campaigns cancel %s takes it off the plan", a.notBegun(c), c.Name, c.Name)
	}
	if err := st.Unschedule(ctx, c.Name, send.Gone); err != nil {
		return planResult(err)
	}
	c.State = store.CampaignCancelled
	if err := a.out.Emit("campaign", a.plannedLine(c, nil)); err != nil {
		return err
	}
	a.out.Printf("%s: off the plan; it was for %s, and nothing was sent\n", c.Name, a.planStamp(c.At))
	return nil
}

func recipientsOfPlanned(a *app, c store.Schedule) error {
	return usage("%s: who gets it is seen when it begins, %s as of its planning; mailer send %s --dry-run counts anew",
		a.notBegun(c), ui.Count(c.Recipients, "recipient", "recipients"), c.Name)
}

func (a *app) notBegun(c store.Schedule) string {
	if c.State == store.ScheduleMissed {
		return fmt.Sprintf("%s was planned for %s and missed", c.Name, a.planStamp(c.At))
	}
	return fmt.Sprintf("%s has not begun, it is planned for %s", c.Name, a.planStamp(c.At))
}
