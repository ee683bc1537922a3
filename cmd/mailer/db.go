package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"mailer/internal/send"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const dbCheckHelp = `Look the database over and change nothing: every page of the file, every index against its table, rows that name others which are not
there, the states of every campaign's deliveries against their number, the chain of the history, what dead processes left, and the
size of the write-ahead log. Each problem comes with what to do.

With FILE a backup is looked over instead. A send may go on beside it. --quick leaves the indexes out, which take most of the time.

Exit code 5 when something is wrong.`

func newDBCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "db", Short: "Look after the database file"}
	cmd.AddCommand(newDBCheckCmd(a))
	return cmd
}

func newDBCheckCmd(a *app) *cobra.Command {
	var quick bool
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Look the database, or a backup, over",
		Long:  dbCheckHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("%s takes one FILE, got %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDBCheck(cmd.Context(), a, args, quick)
		},
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "do not compare indexes with their tables")
	return cmd
}

func runDBCheck(ctx context.Context, a *app, args []string, quick bool) error {
	var path string
	if len(args) == 1 {
		path = args[0]
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return usage("db check: there is no file %s", path)
		}
	} else {
		ws, err := a.loadAnyway()
		if err != nil {
			return err
		}
		path = ws.Database()
	}
	live := a.out.Live()
	c, err := store.Check(ctx, path, store.CheckOptions{Quick: quick, Now: a.now, Gone: send.Gone, Doing: func(what string) { live.Show("looking at " + what) }})
	live.Close()
	if err != nil {
		return err
	}
	errs, warnings := 0, 0
	for _, p := range c.Problems {
		if err := a.out.Emit("finding", p); err != nil {
			return err
		}
		if p.Level == store.ProblemError {
			errs++
		} else {
			warnings++
		}
		a.out.Printf("%s: %s\n", p.Level, ui.Clean(p.Found))
		for _, line := range p.Detail {
			a.out.Printf("    %s\n", ui.Clean(line))
		}
		a.out.Printf("  %s\n", ui.Clean(p.Do))
	}
	showChecked(a, path, c, errs)
	if err := a.out.Emit("summary", struct {
		store.Checked
		File     string `json:"file"`
		Quick    bool   `json:"quick"`
		Errors   int    `json:"errors"`
		Warnings int    `json:"warnings"`
	}{c, path, quick, errs, warnings}); err != nil {
		return err
	}
	if errs > 0 {
		return &exit{code: exitSafety}
	}
	return nil
}

func showChecked(a *app, path string, c store.Checked, errs int) {
	verdict := "nothing is wrong"
	if errs > 0 {
		verdict = ui.Count(errs, "error", "errors")
	}
	about := []string{megabytes(c.Bytes)}
	if c.Schema > 0 {
		about = append(about, fmt.Sprintf("schema %d", c.Schema), ui.Count(c.Contacts, "contact", "contacts"), ui.Count(c.Deliveries, "delivery", "deliveries"))
	}
	a.out.Printf("%s: %s (%s)\n", ui.Clean(path), verdict, strings.Join(about, ", "))
}
