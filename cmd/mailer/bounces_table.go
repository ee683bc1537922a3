package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailer/internal/collect"
	"mailer/internal/config"
	"mailer/internal/store"
)

// newSyncTable is what the mails of a sync are counted in.
func newSyncTable(ctx context.Context, ws *config.Workspace, st *store.Store) (*collect.Table, error) {
	providers, err := ws.Providers()
	if err != nil {
		return nil, err
	}
	keys, err := st.TokenKeys(ctx)
	if err != nil {
		return nil, err
	}
	return collect.NewTable(providers.Lane, keys.Newest()), nil
}

// shownGroups is how many rows of the table people see before those of the smaller domains are added up: a list of firms bounces from
// thousands. --json has them all.
const shownGroups = 40

// showSyncTable prints what kinds of mail came, why, from whom, and what they changed; then what is odd.
func showSyncTable(a *app, ws *config.Workspace, t *collect.Table) error {
	header, right := []string{"kind", "reason", "provider", "mails"}, []int{3}
	held, repeated := slices.ContainsFunc(t.Rows(), func(c collect.Counted) bool { return c.Held > 0 }),
		slices.ContainsFunc(t.Rows(), func(c collect.Counted) bool { return c.Repeated > 0 })
	for _, column := range []struct {
		name  string
		there bool
	}{{"deliveries", true}, {"suppressed", true}, {"held back", held}, {"seen before", repeated}} {
		if column.there {
			right = append(right, len(header))
			header = append(header, column.name)
		}
	}
	var rows [][]string
	for _, c := range t.Rows() {
		if err := a.out.Emit("bounces", c); err != nil {
			return err
		}
	}
	for _, c := range t.Folded(shownGroups) {
		reason := c.Reason
		if c.Hard {
			reason += " (hard)"
		}
		row := []string{c.Kind, clean(reason), clean(c.Provider), fmt.Sprint(c.Mails), some(c.Deliveries), some(c.Suppressed)}
		if held {
			row = append(row, some(c.Held))
		}
		if repeated {
			row = append(row, some(c.Repeated))
		}
		rows = append(rows, row)
	}
	if len(rows) > 0 && !a.out.JSON {
		a.out.List(3, header, rows, right...)
		a.out.Println()
	}
	for _, note := range t.Notes(ws.Config.Bounces.Signed()) {
		a.out.Warnf("%s", note)
	}
	return nil
}

// some is a number, or nothing for none: what is there is seen.
func some(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// purgeMails erases the mails that were kept long enough.
func purgeMails(ctx context.Context, a *app, ws *config.Workspace, st *store.Store) (int, error) {
	keep := ws.Config.Bounces.Retention
	if keep <= 0 {
		return 0, nil
	}
	n, err := st.PurgeMails(ctx, a.now().Add(-keep))
	return int(n), err
}

// timeFlag reads a flag that holds a time, or how long ago it was; empty: none.
func (a *app) timeFlag(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := config.ParseDuration(text); err == nil {
		return a.now().Add(-ago), nil
	}
	t, err := parseTime(text, a.zone)
	if err != nil {
		return t, usage("%s: %w, or how long ago, as 2h or 3d", name, err)
	}
	return t, nil
}

// parseMailID reads the number of a recorded mail.
func parseMailID(text string) (int64, error) {
	id, err := strconv.ParseInt(strings.TrimPrefix(text, "#"), 10, 64)
	if err != nil || id <= 0 {
		return 0, usage("%q is not the number of a mail; mailer bounces list shows them", text)
	}
	return id, nil
}
