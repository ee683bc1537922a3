package main

import (
	"context"
	"fmt"
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

// showSyncTable prints what kinds of mail came, why, from whom, and what they changed; then what is odd.
func showSyncTable(a *app, ws *config.Workspace, t *collect.Table) error {
	var rows [][]string
	for _, c := range t.Rows() {
		if err := a.out.Emit("bounces", c); err != nil {
			return err
		}
		reason := c.Reason
		if c.Hard {
			reason += " (hard)"
		}
		rows = append(rows, []string{c.Kind, clean(reason), clean(c.Provider), fmt.Sprint(c.Mails), some(c.Deliveries), some(c.Suppressed), some(c.Held), some(c.Repeated)})
	}
	if len(rows) > 0 && !a.out.JSON {
		a.out.Table([]string{"kind", "reason", "provider", "mails", "deliveries", "suppressed", "held back", "seen before"}, rows, 3, 4, 5, 6, 7)
		a.out.Println()
	}
	for _, f := range t.Frozen {
		if err := a.out.Emit("freeze", a.freezeLine(f)); err != nil {
			return err
		}
		a.out.Warnf("%s is frozen until %s: %s. None of them was suppressed; a block or a fault there says such things too. "+
			"mailer bounces release %s --suppress, if they are dead; --keep, if not", f.Lane, a.stamp(f.Until), f.Why(), f.Lane)
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
