package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"mailer/internal/campaign"
	"mailer/internal/message"

	"github.com/spf13/cobra"
)

// newWritingTopic is no command but a manual: `mailer help writing`.
func newWritingTopic() *cobra.Command {
	return &cobra.Command{Use: "writing", Short: "How to write campaigns: Markdown, fields, functions, layouts, languages", Long: message.Help}
}

func newTemplatesCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "templates",
		Short: "Show the layouts and partials, and copy one to change it",
		Long: `A layout is the page around a campaign's text, a partial a piece that is taken in. Those in templates/ of the workspace take
the place of mailer's own. mailer help writing tells how they work.`,
	}
	cmd.AddCommand(newTemplatesListCmd(a), newTemplatesCopyCmd(a))
	return cmd
}

func newTemplatesListCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Show the layouts and partials there are",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return runTemplatesList(a) },
	}
}

func runTemplatesList(a *app) error {
	ws, err := a.workspace()
	if err != nil {
		return err
	}
	files, err := campaign.TemplateFiles(os.DirFS(ws.Dir))
	if err != nil {
		return err
	}
	var rows [][]string
	for _, f := range files {
		if err := a.out.Emit("template", f); err != nil {
			return err
		}
		whose := "yours"
		if f.Builtin {
			whose = "mailer's"
		}
		rows = append(rows, []string{f.Kind, f.Name, f.File, whose})
	}
	if !a.out.JSON {
		a.out.Table([]string{"kind", "name", "file", "whose"}, rows)
	}
	return nil
}

func newTemplatesCopyCmd(a *app) *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use:   "copy NAME",
		Short: "Copy one of mailer's layouts or partials into the workspace",
		Long: `Write the files of a layout or a partial into templates/, to be changed there. Under its own name the copy takes the place of
mailer's; --as gives it another. No file is ever overwritten.`,
		Args: exactArgs(1, "NAME"),
		RunE: func(_ *cobra.Command, args []string) error { return runTemplatesCopy(a, args[0], as) },
	}
	cmd.Flags().StringVar(&as, "as", "", "another `name` for the copy")
	return cmd
}

func runTemplatesCopy(a *app, name, as string) error {
	ws, err := a.workspace()
	if err != nil {
		return err
	}
	files, err := campaign.BuiltinFiles(name, as)
	if err != nil {
		return usage("%w", err)
	}
	paths := slices.Sorted(maps.Keys(files))
	for _, path := range paths {
		if _, err := os.Lstat(filepath.Join(ws.Dir, filepath.FromSlash(path))); err == nil {
			return usage("there is a %s already; nothing was written. Give the copy another name with --as", path)
		}
	}
	for _, path := range paths {
		if err := writeNew(filepath.Join(ws.Dir, filepath.FromSlash(path)), files[path]); err != nil {
			return fmt.Errorf("copy %s: %w", path, err)
		}
		a.out.Printf("wrote %s\n", path)
	}
	return a.out.Emit("summary", struct {
		Files []string `json:"files"`
	}{paths})
}

// writeNew never replaces a file.
func writeNew(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return errors.New("the file is there already")
	}
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}
