package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailer/internal/ingest"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

func newImportListCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the imports and edits, the newest first",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runImportList(cmd.Context(), a) },
	}
}

// changeSetJSON is a change set for scripts.
type changeSetJSON struct {
	ID       int64         `json:"change_set"`
	Kind     string        `json:"kind"`
	Source   string        `json:"source"`
	State    string        `json:"state"`
	LastLine int64         `json:"last_line"`
	Totals   totalsJSON    `json:"totals"`
	Undone   *store.Undone `json:"undone,omitempty"`
	Created  string        `json:"created_at"`
}

type totalsJSON struct {
	Created    int64 `json:"created"`
	Updated    int64 `json:"updated"`
	Unchanged  int64 `json:"unchanged"`
	Skipped    int64 `json:"skipped"`
	Rejected   int64 `json:"rejected"`
	Suppressed int64 `json:"suppressed"`
	Unlisted   int64 `json:"unlisted,omitempty"`
}

func changeSetLine(c store.ChangeSet) changeSetJSON {
	t := c.Totals
	return changeSetJSON{c.ID, c.Kind, c.Source, c.State, c.LastLine,
		totalsJSON{t.Created, t.Updated, t.Unchanged, t.Skipped, t.Rejected, t.Suppressed, t.Unlisted}, t.Undo, c.Created.Format(time.RFC3339)}
}

func runImportList(ctx context.Context, a *app) error {
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	sets, err := st.ChangeSets(ctx)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, c := range sets {
		if err := a.out.Emit("change_set", changeSetLine(c)); err != nil {
			return err
		}
		t := c.Totals
		rows = append(rows, []string{fmt.Sprint(c.ID), a.stamp(c.Created), c.Kind, c.Source, setState(c.State),
			fmt.Sprint(t.Created), fmt.Sprint(t.Updated), fmt.Sprint(t.Unchanged), fmt.Sprint(t.Rejected)})
	}
	if a.out.JSON {
		return a.out.Emit("summary", map[string]int{"change_sets": len(sets)})
	}
	if len(rows) == 0 {
		a.out.Println("Nothing was imported yet.")
		return nil
	}
	a.out.Table([]string{"number", "at", "kind", "source", "state", "created", "updated", "unchanged", "rejected"}, rows, 0, 5, 6, 7, 8)
	return nil
}

// setState is a change set's state for people.
func setState(state string) string {
	switch state {
	case "applying":
		return "stopped halfway"
	case "undoing":
		return "half taken back"
	case "undone":
		return "taken back"
	}
	return state
}

func newImportShowCmd(a *app) *cobra.Command {
	limit := 20
	cmd := &cobra.Command{
		Use:   "show NUMBER",
		Short: "Show what an import did",
		Args:  exactArgs(1, "the NUMBER of an import"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runImportShow(cmd.Context(), a, args[0], limit)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", limit, "the `number` of changes to show; 0: all")
	return cmd
}

func parseChangeSet(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id <= 0 {
		return 0, usage("%q is no number of an import; mailer import list shows them", s)
	}
	return id, nil
}

func runImportShow(ctx context.Context, a *app, arg string, limit int) error {
	id, err := parseChangeSet(arg)
	if err != nil {
		return err
	}
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	set, err := st.ChangeSet(ctx, id)
	if err != nil {
		return noSuchSet(err)
	}
	var rows [][]string
	shown, enough := 0, errors.New("enough")
	err = st.EachChange(ctx, id, func(c store.Change) error {
		if limit > 0 && shown == limit {
			return enough
		}
		shown++
		rows = append(rows, []string{fmt.Sprint(c.Line), c.Op, c.Key, changeText(c)})
		return a.out.Emit("change", map[string]any{"line": c.Line, "op": c.Op, "address": c.Key, "before": c.Before, "after": c.After, "listed": c.Listed, "unlisted": c.Left})
	})
	if err != nil && !errors.Is(err, enough) {
		return err
	}
	if a.out.JSON {
		return a.out.Emit("summary", changeSetLine(set))
	}
	t := set.Totals
	a.out.Printf("%s %d: %s, %s, %s\n", set.Kind, set.ID, ui.Clean(set.Source), a.stamp(set.Created), setState(set.State))
	a.out.Printf("%d created, %d updated, %d unchanged, %d skipped, %d rejected, %d suppressed\n",
		t.Created, t.Updated, t.Unchanged, t.Skipped, t.Rejected, t.Suppressed)
	if t.Unlisted > 0 {
		a.out.Printf("%d taken off the list\n", t.Unlisted)
	}
	if u := t.Undo; u != nil {
		a.out.Printf("taken back: %d deleted, %d restored, %d left alone\n", u.Deleted, u.Restored, u.Left)
	}
	a.out.Table([]string{"line", "did", "address", "change"}, rows, 0)
	return nil
}

func noSuchSet(err error) error {
	if errors.Is(err, store.ErrNoChangeSet) {
		return usage("%w", err)
	}
	return err
}

// changeText is what a line changed, in words.
func changeText(c store.Change) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.Before)) {
		parts = append(parts, fmt.Sprintf("%s: %q -> %q", name, c.Before[name], c.After[name]))
	}
	if c.Listed {
		parts = append(parts, "put on the list")
	}
	if c.Left {
		parts = append(parts, "taken off the list")
	}
	return strings.Join(parts, ", ")
}

func newImportUndoCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "undo NUMBER",
		Short: "Take an import back",
		Long: `Take an import back: contacts that it created go, cells that it changed get back what they held.

What something later leans on is left alone, and counted: a contact that another import touched, a cell that was changed
since, a person to whom a message is on its way. Take the later import back first, then this one again.`,
		Args: exactArgs(1, "the NUMBER of an import"),
		RunE: func(cmd *cobra.Command, args []string) error { return runImportUndo(cmd.Context(), a, args[0]) },
	}
}

func runImportUndo(ctx context.Context, a *app, arg string) error {
	id, err := parseChangeSet(arg)
	if err != nil {
		return err
	}
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	var bar *ui.Progress
	set, err := ingest.Undo(ctx, st, id, ingest.Events{Progress: func(_ ingest.Step, done, total int64) {
		if bar == nil {
			bar = a.out.Bar("undo", "rows", total)
		}
		bar.Set(done)
	}})
	if bar != nil {
		bar.Close()
	}
	if err != nil {
		return noSuchSet(err)
	}
	u := set.Totals.Undo
	a.out.Printf("import %d is taken back: %s deleted, %d restored, %d left alone\n", id, ui.Count(u.Deleted, "contact", "contacts"), u.Restored, u.Left)
	if u.Left > 0 {
		a.out.Printf("  those were changed since or are being mailed; mailer import show %d lists what it did\n", id)
	}
	return a.out.Emit("summary", struct {
		ChangeSet int64 `json:"change_set"`
		Deleted   int64 `json:"deleted"`
		Restored  int64 `json:"restored"`
		Left      int64 `json:"left_alone"`
	}{id, u.Deleted, u.Restored, u.Left})
}
