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

const restoreHelp = `Put a backup in the place of the database. First it is checked, and you are shown what it holds, what would be lost and what would
come back.

A restore brings your list back; it cannot take back what has left. So from the database that is replaced these are carried over:
who was mailed since the backup, with bounces and history, and the suppressions that came since; who was forgotten since is
forgotten again. --exact leaves that out. Where the database is gone or cannot be read there is nothing to carry over.

Every campaign that is not finished is paused, so that nobody is mailed twice by itself: look at it, then mailer campaigns resume or
cancel. Where it is not known who was mailed since, planned campaigns are marked missed, too.

The replaced database stays beside it, as mailer.db.before-restore-TIME, and can be restored in the same way. While a process sends
or reads bounces nothing is replaced (exit code 6). A backup of an older mailer is brought to the newest schema.

  mailer restore backup.db --dry-run       # the comparison only`

type restoreOptions struct {
	yes, dryRun, exact bool
}

func newRestoreCmd(a *app) *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the database, and mail nobody twice for it",
		Long:  restoreHelp,
		Args:  exactArgs(1, "FILE"),
		RunE:  func(cmd *cobra.Command, args []string) error { return runRestore(cmd.Context(), a, args[0], o) },
	}
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "compare only")
	cmd.Flags().BoolVar(&o.exact, "exact", false, "carry nothing over: neither who was mailed since nor who must not be mailed since")
	return cmd
}

func runRestore(ctx context.Context, a *app, file string, o restoreOptions) error {
	ws, err := a.loadAnyway()
	if err != nil {
		return err
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return usage("restore: there is no file %s", file)
	}
	if !o.yes && !o.dryRun && !a.interactive() {
		return usage("nobody is here to confirm: add --yes, or look with --dry-run")
	}
	providers, err := ws.Providers()
	if err != nil {
		return err
	}
	policy := ws.Config.Policy()
	bar := a.copyBar("reading the backup", "bytes")
	live := a.out.Live()
	defer live.Close()
	r, err := store.Stage(ctx, ws.Database(), file, store.Options{Now: a.now, Gone: send.Gone, Policy: &policy, Providers: providers},
		store.RestoreOptions{Exact: o.exact, Gone: send.Gone, Step: bar.set, Doing: func(what string) { live.Show(what) }})
	bar.close()
	if err != nil {
		return restoreExit(err)
	}
	defer r.Close()
	showRestore(a, r.Plan)
	if o.dryRun {
		a.out.Printf("\nThis was a dry run: nothing was changed.\n")
		return a.out.Emit("summary", struct {
			store.RestorePlan
			DryRun bool `json:"dry_run"`
		}{r.Plan, true})
	}
	if err := a.out.Emit("plan", r.Plan); err != nil {
		return err
	}
	if !o.yes {
		answer, err := a.ask(ctx, "\nType restore to put the backup in the place of the database, anything else to stop: ")
		if err != nil {
			return err
		}
		if answer != "restore" {
			return &exit{exitSafety, errors.New("not confirmed: nothing was changed")}
		}
	}
	done, err := r.Replace(ctx)
	live.Show()
	if err != nil {
		return restoreExit(err)
	}
	tellRestored(a, done)
	return a.out.Emit("summary", done)
}

func restoreExit(err error) error {
	switch {
	case errors.Is(err, store.ErrInUse):
		return &exit{exitBusy, err}
	case errors.Is(err, store.ErrNotBackup):
		return &exit{exitUsage, err}
	}
	return err
}

// showRestore compares the backup with the database.
func showRestore(a *app, p store.RestorePlan) {
	now := store.Holdings{}
	if p.Present != nil {
		now = *p.Present
	}
	number := func(n int64) string {
		if p.Present == nil {
			return "?"
		}
		return fmt.Sprint(n)
	}
	b := p.Backup
	a.out.Table([]string{"", "backup", "now"}, [][]string{
		{"last change", a.stamp(b.LastChange), a.stamp(now.LastChange)},
		{"last message", a.stamp(b.LastSent), a.stamp(now.LastSent)},
		{"contacts", fmt.Sprint(b.Contacts), number(now.Contacts)},
		{"suppressions", fmt.Sprint(b.Suppressions), number(now.Suppressions)},
		{"campaigns", fmt.Sprint(b.Campaigns), number(now.Campaigns)},
		{"deliveries", fmt.Sprint(b.Deliveries), number(now.Deliveries)},
	})
	a.out.Println()
	switch {
	case p.Unreadable != "":
		a.out.Printf("The database cannot be read (%s).\n", ui.Clean(p.Unreadable))
	case p.Present == nil:
		a.out.Printf("There is no database here.\n")
	case !p.Same:
		a.out.Warnf("this is the backup of another workspace")
	}
	if p.Present != nil {
		a.out.Printf("Lost        %s that came since; what was changed of %s\n", ui.Count(p.ContactsLost, "contact", "contacts"), ui.Count(p.ContactsChanged, "other", "others"))
		a.out.Printf("Comes back  %s, %s that went since\n", ui.Count(p.ContactsBack, "contact", "contacts"), ui.Count(p.SuppressionsBack, "suppression", "suppressions"))
		showSince(a, p)
	}
	if len(p.Unfinished) > 0 {
		a.out.Printf("Paused      %s\n", ui.Clean(strings.Join(p.Unfinished, ", ")))
	}
	if p.Present == nil || !p.Keeps || !p.Ancestor {
		a.out.Warnf("whom the backup does not know to be mailed would be mailed again, if you resume a campaign of it or send one that began since")
	}
	if len(p.Planned) > 0 {
		what := "stay planned"
		if !p.Keeps || !p.Ancestor {
			what = "are marked missed"
		}
		a.out.Printf("Planned     %s: %s\n", ui.Clean(strings.Join(p.Planned, ", ")), what)
	}
	for _, one := range p.Imports {
		a.out.Warnf("import %s is not finished: if it is running now, stop it first", ui.Clean(one))
	}
}

// showSince says what has happened in the world since the backup, and whether that stays known.
func showSince(a *app, p store.RestorePlan) {
	sends, suppressions := "carried over", "carried over"
	if !p.Keeps {
		sends, suppressions = "LOST (--exact)", "LOST (--exact)"
	} else if !p.Ancestor {
		sends = "LOST: the database has not gone on from this backup"
	}
	text := ui.Count(p.Sent, "message", "messages")
	if len(p.Campaigns) > 0 {
		text += ", of new campaigns too (" + ui.Clean(strings.Join(p.Campaigns, ", ")) + ")"
	}
	a.out.Printf("Sent since  %s: %s\n", text, sends)
	a.out.Printf("Must not be mailed since  %s: %s\n", ui.Count(p.SuppressionsNew, "suppression", "suppressions"), suppressions)
}

func tellRestored(a *app, r store.Restored) {
	a.out.Printf("\nrestored: %s, of %s (%.1f s)\n", ui.Clean(r.File), a.stamp(r.Made), r.Seconds)
	if r.Keeps {
		a.out.Printf("  carried over: %s", ui.Count(r.Suppressions, "suppression", "suppressions"))
		if r.Ancestor {
			a.out.Printf(", who was mailed since")
		}
		if r.Forgotten > 0 {
			a.out.Printf("; %s forgotten again (the backup still has them)", ui.Count(r.Forgotten, "person was", "people were"))
		}
		a.out.Printf("\n")
	}
	if len(r.Paused) > 0 {
		a.out.Printf("  paused: %s; look at each, then mailer campaigns resume CAMPAIGN, or cancel\n", ui.Clean(strings.Join(r.Paused, ", ")))
	}
	if len(r.Unplanned) > 0 {
		a.out.Printf("  not planned any more: %s; plan again what was not sent\n", ui.Clean(strings.Join(r.Unplanned, ", ")))
	}
	if r.Kept != "" {
		a.out.Printf("  the database as it was: %s\n", ui.Clean(r.Kept))
	}
}
