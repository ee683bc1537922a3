package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"mailer/internal/contact"
	"mailer/internal/export"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const contactsExportHelp = `Write contacts to standard output, or to a file with --out.

  csv    UTF-8 with a mark, as Excel wants it, or CP932 with --encoding cp932. A cell that a spreadsheet would run as a
         formula gets an apostrophe before it, which mailer import takes off again
  xlsx   a workbook; text cells stay text, so leading zeros live. At most 1,048,575 contacts
  jsonl  a JSON object a line: numbers as numbers, lists as arrays, everything else as strings

mailer import reads each of them back to the same cells. A csv file does not say which type a field has: an import into
another workspace finds most of them again, and those that it would not find are told, with the command that sets them.
Characters that CP932 does not have become 〓, are told, and the exit code is 3.

An export holds the contacts and their fields. To move all of a workspace, lists, consent, suppressions and history too,
copy its folder with mailer.db while nothing runs; who must not be mailed is in mailer suppressions export.`

type contactsExportOptions struct {
	who
	format   string
	encoding string
	out      string
}

func newContactsExportCmd(a *app) *cobra.Command {
	var o contactsExportOptions
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write contacts as CSV, as an Excel workbook or as JSON lines",
		Long:  contactsExportHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runContactsExport(cmd.Context(), a, o) },
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&o.format, "format", export.CSV, "`format`: "+strings.Join(export.Formats(), ", "))
	cmd.Flags().StringVar(&o.encoding, "encoding", "utf-8", "`encoding` of csv: utf-8 or cp932")
	cmd.Flags().StringVarP(&o.out, "out", "o", "", "write to this `file`")
	return cmd
}

func (o contactsExportOptions) check(json, terminal bool) error {
	switch {
	case !slices.Contains(export.Formats(), o.format):
		return usage("--format takes %s, not %q", strings.Join(export.Formats(), ", "), o.format)
	case o.encoding != "utf-8" && o.encoding != "cp932":
		return usage("--encoding takes utf-8 or cp932, not %q", o.encoding)
	case o.format != export.CSV && o.encoding != "utf-8":
		return usage("%s is UTF-8: --encoding cp932 is for csv", o.format)
	case o.format == export.XLSX && o.out == "" && terminal:
		return usage("a workbook is no text for a terminal: add --out FILE")
	case json && o.out == "":
		return usage("with --json, standard output is for the summary: add --out FILE")
	}
	return nil
}

func runContactsExport(ctx context.Context, a *app, o contactsExportOptions) (err error) {
	if err := o.check(a.out.JSON, ui.Terminal(a.out.Data())); err != nil {
		return err
	}
	s, where, err := o.people(ctx, a)
	if err != nil {
		return err
	}
	defer s.store.Close()
	total, err := s.store.CountContacts(ctx, where)
	if err != nil {
		return err
	}
	if o.format == export.XLSX && total >= export.MaxRows {
		return usage("%w", &export.TooManyError{Contacts: total})
	}
	out := a.out.Data()
	if o.out != "" {
		f, err := createPrivate(o.out)
		if err != nil {
			return err
		}
		defer func() { err = f.done(err) }()
		out = f
	}
	e, err := export.New(export.Options{Format: o.format, Encoding: o.encoding, TempDir: s.ws.Dir}, s.schema.Fields, out)
	if err != nil {
		return err
	}
	if err := exportAll(ctx, a, s.store, e, where, total); err != nil {
		return err
	}
	return tellExport(a, o, e)
}

func exportAll(ctx context.Context, a *app, st *store.Store, e *export.Export, where store.Where, total int64) error {
	bar := a.out.Bar("export", "contacts", total)
	defer bar.Close()
	if err := e.Header(); err != nil {
		return errors.Join(err, e.Close())
	}
	err := st.EachContact(ctx, where, func(c contact.Contact) error {
		bar.Set(e.Count)
		return e.Contact(c)
	})
	return errors.Join(err, e.Close())
}

// tellExport says what was written, and what is not in the file.
func tellExport(a *app, o contactsExportOptions, e *export.Export) error {
	if o.out != "" {
		a.out.Printf("%d contacts written to %s\n", e.Count, o.out)
	}
	l := e.Losses
	if l.Cells > 0 && o.format == export.XLSX {
		a.out.Warnf("%s control characters that a workbook cannot hold (%s); they are written as spaces", ui.Count(l.Cells, "cell holds", "cells hold"), l.Characters())
	} else if l.Cells > 0 {
		a.out.Warnf("%s characters that CP932 does not have (%s); they are written as 〓", ui.Count(l.Cells, "cell holds", "cells hold"), l.Characters())
	}
	if l.Twins > 0 {
		a.out.Warnf("%s characters that CP932 has under another code (〜 as ～, ¥ as ￥); they read back as those", ui.Count(l.Twins, "cell holds", "cells hold"))
	}
	if l.TooLong > 0 {
		a.out.Warnf("%s longer than a cell of a workbook can be, cut after %d characters", ui.Count(l.TooLong, "cell is", "cells are"), export.MaxCell)
	}
	types := e.LostTypes()
	if o.out != "" {
		for _, t := range types {
			a.out.Printf("  the file does not tell that %s is a %s; before it is imported elsewhere: mailer fields set %s --type %s\n",
				ui.Clean(t.Field), t.Type, contact.ShellWord(t.Field), t.Type)
		}
	}
	if err := a.out.Emit("summary", struct {
		Contacts  int64             `json:"contacts"`
		Format    string            `json:"format"`
		Encoding  string            `json:"encoding"`
		Unmapped  int64             `json:"unmapped"`
		Twins     int64             `json:"twins"`
		Truncated int64             `json:"truncated"`
		Types     []export.LostType `json:"types_lost"`
	}{e.Count, o.format, o.encoding, l.Cells, l.Twins, l.TooLong, types}); err != nil {
		return err
	}
	if l.Cells > 0 || l.TooLong > 0 {
		return &exit{code: exitSome}
	}
	return nil
}

// privateFile is an export on its way: it takes its name only when it is whole, and is for its owner only.
type privateFile struct {
	*os.File
	path string // "": no name to take
}

func createPrivate(path string) (*privateFile, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // /dev/stdout, a pipe: there is nothing to put in its place
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, fmt.Errorf("write export: %w", err)
		}
		return &privateFile{f, ""}, nil
	}
	f, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write export: %w", err)
	}
	return &privateFile{f, path}, nil
}

// done gives the file its name, unless something went wrong on the way. A report of lost characters is no fault.
func (p *privateFile) done(cause error) error {
	err := p.Close()
	if p.path == "" {
		return errors.Join(cause, err)
	}
	var told *exit
	if cause != nil && !(errors.As(cause, &told) && told.err == nil) || err != nil {
		os.Remove(p.Name())
		return errors.Join(cause, err)
	}
	if err := os.Rename(p.Name(), p.path); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return cause
}
