package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mailer/internal/config"
	"mailer/internal/store"
	"mailer/templates"

	"github.com/spf13/cobra"
)

func newInitCmd(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a workspace: configuration, an example campaign, a segment, a database",
		Long: `Make a workspace in DIR: a commented mailer.yaml, an example campaign and segment, five example contacts, a .gitignore
and the database with its own signing key. It works against "mailer sandbox" as it stands, so nobody is mailed.

No file is ever overwritten.`,
		Args: exactArgs(1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return runInit(cmd.Context(), a, args[0], yes) },
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask before using a folder that is not empty")
	return cmd
}

const initNext = `
Next, a rehearsal that mails nobody:
  cd %s
  mailer sandbox                               # in another terminal; shows the caught mail in the browser
  mailer import contacts.csv --list readers
  mailer preview hello --to hanako@example.com
  mailer send hello --dry-run                  # the whole plan
  mailer send hello
  mailer bounces sync
  mailer report hello

How to write your own: mailer help writing
Then put your relay, sender and bounce mailbox into mailer.yaml and run: mailer config check
`

func runInit(ctx context.Context, a *app, dir string, yes bool) error {
	if dir == "" {
		return usage("the name of the folder is empty; . is this one")
	}
	files, err := starterFiles()
	if err != nil {
		return err
	}
	if err := checkFolder(ctx, a, dir, files, yes); err != nil {
		return err
	}
	// 0700: lists, rejects and exports with people's addresses will lie here.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the workspace: %w", err)
	}
	var made []string
	for _, f := range files {
		if err := f.writeTo(dir); err != nil {
			return fmt.Errorf("make the workspace: %w", err)
		}
		made = append(made, f.name)
	}
	st, err := store.Open(ctx, filepath.Join(dir, config.DatabaseName), store.Options{Now: a.now})
	if err != nil {
		return err
	}
	if err := st.Close(); err != nil {
		return err
	}
	made = append(made, config.DatabaseName)
	a.out.Printf("made a workspace in %s:\n", dir)
	for _, name := range made {
		a.out.Printf("  %s\n", name)
	}
	a.out.Printf(initNext, quoted([]string{dir}))
	return a.out.Emit("summary", struct {
		Dir   string   `json:"dir"`
		Files []string `json:"files"`
	}{dir, made})
}

// starterFile is one file of the new workspace.
type starterFile struct {
	name string // slash-separated
	text []byte
}

func starterFiles() ([]starterFile, error) {
	root, err := fs.Sub(templates.Starter, "starter")
	if err != nil {
		return nil, err
	}
	var files []starterFile
	err = fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(root, path)
		files = append(files, starterFile{strings.Replace(path, "dot-", ".", 1), text})
		return err
	})
	return files, err
}

// writeTo never replaces a file, not even one that appeared since the check. mailer.yaml may come to hold a password,
// and the contacts are people: both are for their owner only. git keeps no such mode, so sharing is not hindered.
func (f starterFile) writeTo(dir string) error {
	path := filepath.Join(dir, filepath.FromSlash(f.name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if f.name == config.FileName || strings.HasSuffix(f.name, ".csv") {
		mode = 0o600
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(f.text)
	return errors.Join(err, file.Close())
}

// checkFolder refuses a folder in which something would be overwritten, before anything is written, and asks a person
// before files are added to a folder that has others.
func checkFolder(ctx context.Context, a *app, dir string, files []starterFile, yes bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return usage("make the workspace: %w", err)
	}
	var taken []string
	for _, f := range append(files, starterFile{name: config.DatabaseName}) {
		if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(f.name))); err == nil {
			taken = append(taken, f.name)
		}
	}
	if len(taken) > 0 {
		return usage("%s has %s already; nothing was written. Choose another folder, or move these files away", dir, strings.Join(taken, ", "))
	}
	if len(entries) == 0 || yes || !a.interactive() {
		return nil
	}
	answer, err := a.ask(ctx, fmt.Sprintf("%s is not empty. Make the workspace there? [y/N] ", dir))
	if err != nil {
		return err
	}
	if word := strings.ToLower(answer); word != "y" && word != "yes" {
		return usage("nothing was written")
	}
	return nil
}
