package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const backupHelp = `Copy the whole database into one file, also while a campaign is being sent: contacts and lists, suppressions, campaigns with
every delivery, bounces, the history, and the keys that sign the tokens of your messages.

The copy is checked before it has its name, nobody else may read it (mode 0600), and it replaces nothing without --force. Into a
folder it goes by its time, as mailer-2026-11-26T1530.db; --keep N then removes the oldest of those beyond N. For a crontab:

  30 3 * * * mailer -C /home/me/news backup --keep 14 /mnt/backup/news/ >/dev/null

A folder must be there: one that is made where a disk is not mounted would hide that.

It does not hold what lies in files: mailer.yaml, campaigns/, templates/, segments/, DKIM keys, password files. Keep those in
git, or copy them. mailer restore puts a backup back, mailer db check FILE looks one over.`

type backupOptions struct {
	force bool
	keep  int
}

func newBackupCmd(a *app) *cobra.Command {
	var o backupOptions
	cmd := &cobra.Command{
		Use:   "backup FILE|FOLDER/",
		Short: "Copy the database into one file, also beside a running send",
		Long:  backupHelp,
		Args:  exactArgs(1, "FILE or FOLDER/"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("keep") && o.keep < 1 {
				return usage("--keep %d would keep none; say how many", o.keep)
			}
			return runBackup(cmd.Context(), a, args[0], o)
		},
	}
	cmd.Flags().BoolVar(&o.force, "force", false, "replace an older backup of that name")
	cmd.Flags().IntVar(&o.keep, "keep", 0, "in a folder: keep the newest `N` dated backups")
	return cmd
}

func runBackup(ctx context.Context, a *app, target string, o backupOptions) error {
	ws, err := a.workspace()
	if err != nil {
		return err
	}
	if _, err := os.Stat(ws.Database()); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s, so there is nothing to back up", ws.Database())
	}
	begun := a.now()
	file, folder, err := backupFile(target, begun.In(a.zone))
	if err != nil {
		return err
	}
	if o.keep > 0 && folder == "" {
		return usage("--keep goes with a folder: mailer backup --keep %d %s%c", o.keep, target, filepath.Separator)
	}
	st, err := a.openStore(ctx, ws)
	if err != nil {
		return err
	}
	defer st.Close()
	bar := a.copyBar("copying", "pages")
	b, err := st.Backup(ctx, file, store.BackupOptions{Force: o.force, Step: bar.set})
	bar.close()
	if errors.Is(err, store.ErrThere) {
		return &exit{exitUsage, err}
	}
	if err != nil {
		return err
	}
	removed := []string{}
	if o.keep > 0 {
		gone, err := store.PruneBackups(folder, o.keep)
		if err != nil {
			return fmt.Errorf("the backup is made, but an older one could not be removed: %w", err)
		}
		removed = append(removed, gone...)
	}
	a.out.Printf("%s: %s, %s, %s, %s, %s\n", ui.Clean(b.File), megabytes(b.Bytes), ui.Count(b.Contacts, "contact", "contacts"),
		ui.Count(b.Suppressions, "suppression", "suppressions"), ui.Count(b.Campaigns, "campaign", "campaigns"), ui.Count(b.Deliveries, "delivery", "deliveries"))
	if len(removed) > 0 {
		a.out.Printf("  removed: %s\n", ui.Clean(strings.Join(removed, ", ")))
	}
	a.out.Printf("  not in it: mailer.yaml, campaigns, templates, segments, key and password files\n")
	return a.out.Emit("summary", struct {
		store.Backup
		Removed []string `json:"removed"`
		Seconds float64  `json:"seconds"`
	}{b, removed, a.now().Sub(begun).Seconds()})
}

// backupFile is the file that is meant, and the folder when one was named.
func backupFile(target string, at time.Time) (file, folder string, err error) {
	st, err := os.Stat(target)
	switch {
	case err == nil && st.IsDir():
		return store.NewBackupName(target, at), target, nil
	case target != "" && os.IsPathSeparator(target[len(target)-1]):
		return "", "", usage("there is no folder %s: make it first (or mount its disk)", target)
	case target == "":
		return "", "", usage("the file has no name")
	}
	return target, "", nil
}

// copyBar shows how far a copy is, once its size is known.
type copyBar struct {
	a           *app
	label, unit string
	bar         *ui.Progress
}

func (a *app) copyBar(label, unit string) *copyBar { return &copyBar{a: a, label: label, unit: unit} }

func (b *copyBar) set(done, total int64) {
	if b.bar == nil {
		b.bar = b.a.out.Bar(b.label, b.unit, total)
	}
	b.bar.Set(done)
}

func (b *copyBar) close() {
	if b.bar != nil {
		b.bar.Close()
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
