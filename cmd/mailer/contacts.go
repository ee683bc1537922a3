package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"mailer/internal/address"
	"mailer/internal/contact"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

func newContactsCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "contacts",
		Aliases: []string{"contact"},
		Short:   "See, change, export and forget contacts",
	}
	cmd.AddCommand(newContactsListCmd(a), newContactsCountCmd(a), newContactsShowCmd(a), newContactsSetCmd(a),
		newContactsExportCmd(a), newContactsForgetCmd(a))
	return cmd
}

// who is the flags that say which contacts.
type who struct {
	where   string
	list    string
	segment string
}

func (o *who) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.where, "where", "", "contacts for which this `expression` holds")
	cmd.Flags().StringVar(&o.list, "list", "", "contacts on this `list`")
	cmd.Flags().StringVar(&o.segment, "segment", "", "contacts in this saved segment (`name`)")
}

// people is an open workspace and the contacts that the flags name.
func (o who) people(ctx context.Context, a *app) (*segments, store.Where, error) {
	s, err := a.openSegments(ctx)
	if err != nil {
		return nil, store.Where{}, err
	}
	where, err := s.query(segmentSource{name: o.segment, where: o.where})
	if err == nil && o.list != "" {
		id, ok := s.schema.Lists[o.list]
		if !ok {
			err = usage("there is no list %q; mailer lists shows what there is", o.list)
		}
		where = where.And(store.OnList(id))
	}
	if err != nil {
		s.store.Close()
		return nil, store.Where{}, err
	}
	return s, where, nil
}

// contactJSON is a contact for scripts.
type contactJSON struct {
	Address string            `json:"address"`
	Fields  map[string]string `json:"fields"`
	Created string            `json:"created_at"`
	Updated string            `json:"updated_at"`
}

func contactLine(c contact.Contact) contactJSON {
	return contactJSON{c.Address, c.Values, c.Created.Format(time.RFC3339), c.Updated.Format(time.RFC3339)}
}

func newContactsListCmd(a *app) *cobra.Command {
	var o who
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List contacts with their first fields",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("limit") && a.out.JSON {
				limit = 0
			}
			return runContactsList(cmd.Context(), a, o, limit)
		},
	}
	o.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "show at most this `number`; 0: all (the default with --json)")
	return cmd
}

// listColumns is how many fields a list on the screen shows.
const listColumns = 5

func runContactsList(ctx context.Context, a *app, o who, limit int) error {
	s, where, err := o.people(ctx, a)
	if err != nil {
		return err
	}
	defer s.store.Close()
	total, err := s.store.CountContacts(ctx, where)
	if err != nil {
		return err
	}
	fields := s.schema.Fields
	fields = slices.DeleteFunc(slices.Clone(fields), func(f contact.Field) bool { return f.Role == contact.Address })
	fields = fields[:min(listColumns, len(fields))]
	header := []string{"address"}
	for _, f := range fields {
		header = append(header, f.Name)
	}
	var rows [][]string
	shown, enough := 0, errors.New("enough")
	err = s.store.EachContact(ctx, where, func(c contact.Contact) error {
		if limit > 0 && shown == limit {
			return enough
		}
		shown++
		if a.out.JSON {
			return a.out.Emit("contact", contactLine(c))
		}
		row := []string{c.Address}
		for _, f := range fields {
			row = append(row, shorten(c.Values[f.Name], 30))
		}
		rows = append(rows, row)
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		return err
	}
	if a.out.JSON {
		return a.out.Emit("summary", map[string]int64{"contacts": total, "shown": int64(shown)})
	}
	a.out.Table(header, rows)
	if more := total - int64(shown); more > 0 {
		a.out.Printf("... and %d more (--limit 0 shows all)\n", more)
	}
	return nil
}

func newContactsCountCmd(a *app) *cobra.Command {
	var o who
	cmd := &cobra.Command{
		Use:   "count",
		Short: "Count contacts",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, where, err := o.people(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.store.Close()
			n, err := s.store.CountContacts(cmd.Context(), where)
			if err != nil {
				return err
			}
			a.out.Printf("%d\n", n)
			return a.out.Emit("summary", map[string]int64{"contacts": n})
		},
	}
	o.flags(cmd)
	return cmd
}

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

const contactsSetHelp = `Change the fields of one contact: NAME=VALUE for each. An empty value erases the field.

The change is kept like an import: mailer import list shows its number, mailer import undo takes it back.`

func newContactsSetCmd(a *app) *cobra.Command {
	var create bool
	var list string
	cmd := &cobra.Command{
		Use:   "set ADDRESS NAME=VALUE...",
		Short: "Change fields of one contact, or add a contact",
		Long:  contactsSetHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) == 1 && !create && list == "" {
				return usage("contacts set needs ADDRESS and NAME=VALUE")
			}
			return runContactsSet(cmd.Context(), a, args, create, list)
		},
	}
	cmd.Flags().BoolVar(&create, "create", false, "add the contact when there is none")
	cmd.Flags().StringVar(&list, "list", "", "put the contact on this `list` too")
	return cmd
}

func runContactsSet(ctx context.Context, a *app, args []string, create bool, list string) error {
	who, err := address.Parse(args[0])
	if err != nil {
		return usage("address %q: %w", args[0], err)
	}
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	c, exists, err := st.Contact(ctx, who.Key)
	if err != nil {
		return err
	}
	if exists {
		who.Text = c.Address // its spelling is not the matter here
	} else if !create {
		return usage("%s is no contact; --create adds it", who.Text)
	}
	fields, err := st.Fields(ctx)
	if err != nil {
		return err
	}
	columns, cells, err := assignments(fields, args[1:])
	if err != nil {
		return err
	}
	totals, id, err := edit(ctx, st, store.ImportSpec{Kind: "edit", Source: "contacts set", Options: "{}", Columns: columns, List: list, Clears: true},
		store.Row{Line: 1, Address: who.Text, Key: who.Key, Cells: cells})
	if err != nil {
		return err
	}
	what := "unchanged"
	switch {
	case totals.Created > 0:
		what = "created"
	case totals.Updated > 0:
		what = "updated"
	}
	a.out.Printf("%s: %s (mailer import undo %d takes it back)\n", who.Text, what, id)
	if totals.Suppressed > 0 {
		a.out.Warnf("%s is suppressed and stays so", who.Text)
	}
	return a.out.Emit("summary", map[string]any{"address": who.Text, "result": what, "change_set": id})
}

// assignments reads NAME=VALUE. The first equals sign that ends a field's name divides.
func assignments(fields []contact.Field, args []string) (columns []contact.Field, cells []string, err error) {
	byName := map[string]contact.Field{}
	for _, f := range fields {
		byName[f.Name] = f
	}
	for _, arg := range args {
		name, value, ok := cutKnown(arg, byName)
		if !ok {
			return nil, nil, usage("%q: write NAME=VALUE with the name of a field; mailer fields list shows them, mailer fields set NAME --type text makes one", arg)
		}
		f := byName[name]
		if slices.ContainsFunc(columns, func(c contact.Field) bool { return c.ID == f.ID }) {
			return nil, nil, usage("%q is set twice", name)
		}
		if err := contact.CheckCell(value); err != nil {
			return nil, nil, usage("%s: %w", name, err)
		}
		if !contact.Fits(f.Type, value) {
			return nil, nil, usage("%w", &contact.MismatchError{Field: f, Cell: value})
		}
		columns, cells = append(columns, f), append(cells, value)
	}
	return columns, cells, nil
}

// cutKnown cuts behind the name of a field, which may hold equals signs itself.
func cutKnown(arg string, fields map[string]contact.Field) (name, value string, ok bool) {
	for i := range len(arg) {
		if arg[i] != '=' {
			continue
		}
		if _, known := fields[arg[:i]]; known {
			return arg[:i], arg[i+1:], true
		}
	}
	return "", "", false
}

// edit applies one row as a change set of its own.
func edit(ctx context.Context, st *store.Store, spec store.ImportSpec, row store.Row) (store.Totals, int64, error) {
	set, err := st.BeginImport(ctx, spec)
	if err == nil {
		err = st.Apply(ctx, set, []store.Row{row})
	}
	if err == nil {
		err = st.FinishImport(ctx, set, 0)
	}
	if err != nil {
		return store.Totals{}, 0, err
	}
	return set.Totals, set.ID, nil
}

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
	cmd.Flags().StringVar(&o.format, "format", "csv", "`format`: csv, xlsx or jsonl")
	cmd.Flags().StringVar(&o.encoding, "encoding", "utf-8", "`encoding` of csv: utf-8 or cp932")
	cmd.Flags().StringVarP(&o.out, "out", "o", "", "write to this `file`")
	return cmd
}

func (o contactsExportOptions) check(json, terminal bool) error {
	switch {
	case o.format != exportCSV && o.format != exportXLSX && o.format != exportJSONL:
		return usage("--format takes csv, xlsx or jsonl, not %q", o.format)
	case o.encoding != "utf-8" && o.encoding != "cp932":
		return usage("--encoding takes utf-8 or cp932, not %q", o.encoding)
	case o.format != exportCSV && o.encoding != "utf-8":
		return usage("%s is UTF-8: --encoding cp932 is for csv", o.format)
	case o.format == exportXLSX && o.out == "" && terminal:
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
	if o.format == exportXLSX && total >= maxSheetRows {
		return tooManyRows(total)
	}
	out, dir := a.out.Data(), s.ws.Dir
	if o.out != "" {
		f, err := createPrivate(o.out)
		if err != nil {
			return err
		}
		defer func() { err = f.done(err) }()
		out = f
	}
	e, err := newExporter(o, s.schema.Fields, out, dir)
	if err != nil {
		return err
	}
	if err := e.run(ctx, a, s.store, where, total); err != nil {
		return err
	}
	return e.tell(a, o)
}

func (e *exporter) run(ctx context.Context, a *app, st *store.Store, where store.Where, total int64) error {
	bar := a.out.Bar("export", "contacts", total)
	defer bar.Close()
	if err := e.header(); err != nil {
		return errors.Join(err, e.close())
	}
	err := st.EachContact(ctx, where, func(c contact.Contact) error {
		bar.Set(e.count)
		return e.contact(c)
	})
	return errors.Join(err, e.close())
}

// tell says what was written, and what is not in the file.
func (e *exporter) tell(a *app, o contactsExportOptions) error {
	if o.out != "" {
		a.out.Printf("%d contacts written to %s\n", e.count, o.out)
	}
	l := e.losses
	if l.cells > 0 && o.format == exportXLSX {
		a.out.Warnf("%d cells hold control characters that a workbook cannot hold (%s); they are written as spaces", l.cells, l.text())
	} else if l.cells > 0 {
		a.out.Warnf("%d cells hold characters that CP932 does not have (%s); they are written as 〓", l.cells, l.text())
	}
	if l.twins > 0 {
		a.out.Warnf("%d cells hold characters that CP932 has under another code (〜 as ～, ¥ as ￥); they read back as those", l.twins)
	}
	if l.tooLong > 0 {
		a.out.Warnf("%d cells are longer than a cell of a workbook can be and are cut after %d characters", l.tooLong, maxSheetCell)
	}
	types := e.lostTypes()
	if o.out != "" {
		for _, t := range types {
			a.out.Printf("  the file does not tell that %s is a %s; before it is imported elsewhere: mailer fields set %s --type %s\n",
				ui.Clean(t.Field), t.Type, contact.ShellWord(t.Field), t.Type)
		}
	}
	if err := a.out.Emit("summary", struct {
		Contacts  int64      `json:"contacts"`
		Format    string     `json:"format"`
		Encoding  string     `json:"encoding"`
		Unmapped  int64      `json:"unmapped"`
		Twins     int64      `json:"twins"`
		Truncated int64      `json:"truncated"`
		Types     []lostType `json:"types_lost"`
	}{e.count, o.format, o.encoding, l.cells, l.twins, l.tooLong, types}); err != nil {
		return err
	}
	if l.cells > 0 || l.tooLong > 0 {
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

const contactsForgetHelp = `Erase a person: the contact, its history, and what deliveries and bounces say about it, also where a reply or a report
about somebody else names the address. The sums of past campaigns stay.

What is kept is a salted hash of the address among the suppressions, so that the person is not mailed even if a list
brings the address back. This cannot be taken back.

The database file is then rewritten, because what was changed or deleted earlier lies on in its unused parts. --quick leaves
that out, and so does a running send: forget the same address again later. What is not in the database is yours to
delete: lists, exports, files of rejected rows, copies and backups, the mails in the bounce mailbox.`

func newContactsForgetCmd(a *app) *cobra.Command {
	var yes, quick bool
	cmd := &cobra.Command{
		Use:   "forget ADDRESS",
		Short: "Erase a person, and never mail them again",
		Long:  contactsForgetHelp,
		Args:  exactArgs(1, "ADDRESS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runContactsForget(cmd.Context(), a, args[0], yes, quick)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&quick, "quick", false, "do not rewrite the database file (for many people: leave it out for the last)")
	return cmd
}

func runContactsForget(ctx context.Context, a *app, text string, yes, quick bool) error {
	key, err := keyOf(text)
	if err != nil {
		return err
	}
	if !yes {
		if err := confirmForget(ctx, a, key); err != nil {
			return err
		}
	}
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	gone, err := st.ForgetContact(ctx, key)
	if err != nil {
		return err
	}
	rewritten, err := rewrite(ctx, st, quick)
	if err != nil {
		a.out.Warnf("the address is forgotten, but the file could not be rewritten: %v", err)
	}
	a.out.Printf("forgotten: %d contact, %d deliveries, %d bounce mails, %d events, %d mentions; the address stays suppressed, as a hash\n",
		gone.Contacts, gone.Deliveries, gone.Bounces, gone.Events, gone.Mentions)
	tellLeft(a, gone, rewritten)
	return a.out.Emit("summary", struct {
		store.Forgotten
		Rewritten bool `json:"rewritten"`
	}{gone, rewritten})
}

// rewrite rewrites the file, unless somebody would have to wait for it.
func rewrite(ctx context.Context, st *store.Store, quick bool) (bool, error) {
	if quick {
		return false, nil
	}
	sending, err := st.Sending(ctx)
	if err != nil || sending {
		return false, err
	}
	err = st.Vacuum(ctx)
	return err == nil, err
}

// tellLeft says where the person may still be found.
func tellLeft(a *app, gone store.Forgotten, rewritten bool) {
	if !rewritten {
		a.out.Printf("  the unused parts of the database file were not cleaned: the same command does it when nothing is being sent, without --quick\n")
	}
	if gone.Log {
		a.out.Warnf("another process reads the database, so its log still holds the old pages: run the same command again when it has ended")
	}
	for _, name := range gone.Campaigns {
		a.out.Warnf("the text of campaign %s names the address; it stays as it was sent", ui.Clean(name))
	}
	for _, file := range gone.Copies {
		a.out.Warnf("%s is a copy of the database from before an update and may hold the person: delete it when you do not need it any more", file)
	}
}

func confirmForget(ctx context.Context, a *app, key string) error {
	if !a.interactive() {
		return usage("nobody is here to confirm: add --yes")
	}
	answer, err := a.ask(ctx, fmt.Sprintf("This cannot be taken back. Type %s to forget it, anything else to stop: ", ui.Clean(key)))
	if err != nil {
		return err
	}
	if answer != key {
		return &exit{exitSafety, errors.New("not confirmed: nothing was forgotten")}
	}
	return nil
}
