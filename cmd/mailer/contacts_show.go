package main

import (
	"context"
	"fmt"
	"strings"

	"mailer/internal/store"

	"github.com/spf13/cobra"
)

func newContactsShowCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show ADDRESS",
		Short: "Show one contact: fields, lists, suppressions, and where each value came from",
		Args:  exactArgs(1, "ADDRESS"),
		RunE:  func(cmd *cobra.Command, args []string) error { return runContactsShow(cmd.Context(), a, args[0]) },
	}
}

func runContactsShow(ctx context.Context, a *app, text string) error {
	key, err := keyOf(text)
	if err != nil {
		return err
	}
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	t, err := st.Traces(ctx, key)
	if err != nil {
		return err
	}
	c := t.Contact
	if c.ID == 0 {
		return fmt.Errorf("%s is no contact (mailer why %s tells what is known)", key, key)
	}
	if a.out.JSON {
		return showContactJSON(a, t)
	}
	fields, err := st.Fields(ctx)
	if err != nil {
		return err
	}
	rows := [][]string{{"address", c.Address}, {"added", a.stamp(c.Created)}, {"changed", a.stamp(c.Updated)}}
	for _, f := range fields {
		if cell, has := c.Values[f.Name]; has {
			rows = append(rows, []string{f.Name, cell})
		}
	}
	for _, m := range t.Memberships {
		rows = append(rows, []string{"on list", m.List + ", since " + a.stamp(m.Since) + consentText(a, m.Consent)})
	}
	for _, r := range t.Suppressions {
		rows = append(rows, []string{"suppressed", r.Reason + ", blocks " + r.Blocks + ", since " + a.stamp(r.Since)})
	}
	for _, change := range t.Changes {
		rows = append(rows, []string{"history", historyText(a, change)})
	}
	a.out.Table(nil, rows)
	return nil
}

func showContactJSON(a *app, t store.Traces) error {
	lists, suppressed, history := []string{}, []string{}, []map[string]any{}
	for _, m := range t.Memberships {
		lists = append(lists, m.List)
	}
	for _, r := range t.Suppressions {
		suppressed = append(suppressed, r.Reason)
	}
	for _, c := range t.Changes {
		history = append(history, map[string]any{"change_set": c.Set.ID, "kind": c.Set.Kind, "source": c.Set.Source, "line": c.Line, "op": c.Op})
	}
	return a.out.Emit("summary", struct {
		contactJSON
		Lists      []string         `json:"lists"`
		Suppressed []string         `json:"suppressed"`
		History    []map[string]any `json:"history"`
	}{contactLine(t.Contact), lists, suppressed, history})
}

func consentText(a *app, c store.Consent) string {
	var parts []string
	for _, part := range []string{c.Source, a.stamp(c.At), c.Text} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (consent: " + strings.Join(parts, ", ") + ")"
}

func historyText(a *app, c store.TracedChange) string {
	text := fmt.Sprintf("%s %s %d: %s", a.stamp(c.Set.Created), c.Set.Kind, c.Set.ID, c.Set.Source)
	if c.Set.Kind == "import" {
		text += fmt.Sprintf(", line %d", c.Line)
	}
	what := map[string]string{"create": "added", "update": "changed", "touch": "seen"}[c.Op]
	if change := changeText(c.Change); change != "" {
		what += " (" + change + ")"
	}
	return text + ", " + what
}
