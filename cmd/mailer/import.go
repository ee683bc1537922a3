package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailer/internal/contact"
	"mailer/internal/ingest"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const importHelp = `Import contacts from CSV or TSV files ("-" is standard input).

The encoding (UTF-8, CP932 as Excel writes it, EUC-JP, UTF-16, ISO-2022-JP), the delimiter and the column of the address
are recognised and shown. Every column becomes a field under its own name; --map COLUMN=FIELD gives it another one,
--map COLUMN=email names the address, --map COLUMN= leaves a column out. "#3" is the third column.

A contact that is there already is updated: columns of the file win, an empty cell leaves what is stored. A suppressed
address stays suppressed, whatever is imported. A row that cannot be read costs that row only: it is told with its line
and reason, --rejects keeps it in a file, and the exit code is 3.

Every import has a number and is taken back by "mailer import undo NUMBER". One that was stopped goes on when the same
command is given again. (A file named list, show or undo is imported as ./list.)`

type importOptions struct {
	maps        []string
	encoding    string
	delimiter   string
	list        string
	onDuplicate string
	rejects     string
	dryRun      bool

	consentSource string
	consentAt     string
	consentText   string
}

func newImportCmd(a *app) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Bring contact lists in, from CSV or TSV",
		Long:  importHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("import needs a FILE; \"-\" is standard input")
			}
			return runImport(cmd.Context(), a, o, args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.list, "list", "", "put everybody on this `list`; it is made when there is none")
	f.StringArrayVar(&o.maps, "map", nil, "another name for a column, as `COLUMN=FIELD`; email is the address")
	f.StringVar(&o.encoding, "encoding", "auto", "the encoding, by `name`: auto "+strings.Join(ingest.Encodings(), " "))
	f.StringVar(&o.delimiter, "delimiter", "auto", "the delimiter, by `name`: auto comma tab semicolon pipe")
	f.StringVar(&o.onDuplicate, "on-duplicate", store.OnDuplicateUpdate, "what happens to a contact that exists: `update|skip|fail`")
	f.StringVar(&o.rejects, "rejects", "", "write rejected rows, with line, column and reason, to this CSV `file`")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would happen and write nothing")
	f.StringVar(&o.consentSource, "consent-source", "", "where the consent to be on the list comes from (a form, a fair), kept as `evidence`")
	f.StringVar(&o.consentAt, "consent-at", "", "when the consent was given: `YYYY-MM-DD`, with a time or without")
	f.StringVar(&o.consentText, "consent-text", "", "the `wording` that was agreed to")
	cmd.AddCommand(newImportListCmd(a), newImportShowCmd(a), newImportUndoCmd(a))
	return cmd
}

// settle checks the flags that do not need the file.
func (o importOptions) settle(zone *time.Location) (ingest.Options, error) {
	out := ingest.Options{Encoding: o.encoding, Delimiter: o.delimiter, List: strings.TrimSpace(o.list), OnDuplicate: o.onDuplicate, DryRun: o.dryRun}
	switch o.onDuplicate {
	case store.OnDuplicateUpdate, store.OnDuplicateSkip, store.OnDuplicateFail:
	default:
		return out, usage("--on-duplicate takes update, skip or fail, not %q", o.onDuplicate)
	}
	for _, text := range o.maps {
		m, err := ingest.ParseMapping(text)
		if err != nil {
			return out, usage("%w", err)
		}
		out.Map = append(out.Map, m)
	}
	out.Consent = store.Consent{Source: o.consentSource, Text: o.consentText}
	if o.consentAt != "" {
		at, err := parseTime(o.consentAt, zone)
		if err != nil {
			return out, usage("--consent-at: %w", err)
		}
		out.Consent.At = at
	}
	if out.Consent != (store.Consent{}) && out.List == "" {
		return out, usage("consent is kept with a list: add --list NAME")
	}
	return out, nil
}

func parseTime(s string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2026-12-01 or 2026-12-01 09:30", s)
}

func runImport(ctx context.Context, a *app, o importOptions, files []string) (err error) {
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	opts, err := o.settle(ws.Config.Location())
	if err != nil {
		return err
	}
	opts.Stdin, opts.TempDir = a.stdin, ws.Dir
	r := &importRun{a: a, st: st, o: o, opts: opts, several: len(files) > 1}
	if o.rejects != "" {
		if r.rejects, err = createRejects(o.rejects, files, r.several); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.rejects.close()) }()
	}
	for _, file := range files {
		if err := r.file(ctx, file); err != nil {
			return err
		}
	}
	return r.finish()
}

// importRun is one command over its files.
type importRun struct {
	a       *app
	st      *store.Store
	o       importOptions
	opts    ingest.Options
	several bool
	rejects *rejectsFile

	name     string
	bar      *ui.Progress
	step     ingest.Step
	shown    int // rejects on the screen
	examples map[string]int
	failed   error // of the rejects file
	sums     []ingest.Summary
}

// importSummary is the last line of an import for scripts.
type importSummary struct {
	ingest.Summary
	ChangeSets []int64 `json:"change_sets,omitempty"` // of several files
}

func (r *importRun) file(ctx context.Context, name string) error {
	r.name, r.shown, r.examples = name, 0, map[string]int{}
	if name == "-" {
		r.name = "standard input"
	}
	opts := r.opts
	opts.Path = name
	sum, err := ingest.Import(ctx, r.st, opts, ingest.Events{Found: r.found, Progress: r.progress, Reject: r.reject, Effect: r.effect})
	r.endBar()
	var wrong *ingest.UsageError
	var halfway *ingest.StoppedError
	switch {
	case errors.Is(err, context.Canceled) && !errors.As(err, &halfway):
		return &exit{exitLeft, fmt.Errorf("import %s: interrupted before anything of it was written", r.name)}
	case errors.As(err, &wrong), errors.Is(err, fs.ErrNotExist):
		return usage("%w", err)
	case err != nil:
		return fmt.Errorf("import %s: %w", r.name, err)
	case r.failed != nil:
		return r.failed
	}
	r.sums = append(r.sums, sum)
	r.tell(sum)
	if r.several {
		return r.a.out.Emit("file", struct {
			File string `json:"file"`
			ingest.Summary
		}{name, sum})
	}
	return nil
}

// finish adds the files up.
func (r *importRun) finish() error {
	total := importSummary{Summary: r.sums[0]}
	if r.several {
		total.ChangeSets = []int64{r.sums[0].ChangeSet}
	}
	for _, s := range r.sums[1:] {
		total.Rows += s.Rows
		total.Created += s.Created
		total.Updated += s.Updated
		total.Unchanged += s.Unchanged
		total.Skipped += s.Skipped
		total.Rejected += s.Rejected
		total.Suppressed += s.Suppressed
		total.Seconds += s.Seconds
		total.ChangeSet = s.ChangeSet
		total.ChangeSets = append(total.ChangeSets, s.ChangeSet)
		if s.Encoding != total.Encoding {
			total.Encoding = "mixed"
		}
		if s.Delimiter != total.Delimiter {
			total.Delimiter = "mixed"
		}
	}
	if err := r.a.out.Emit("summary", total); err != nil {
		return err
	}
	if total.Rejected > 0 {
		return &exit{code: exitSome}
	}
	return nil
}

// found tells what was recognised in a file, before anything is written.
func (r *importRun) found(f ingest.Found) {
	r.endBar()
	out := r.a.out
	out.Printf("%s: %s, %s, %d rows; the address is in column %q\n", ui.Clean(r.name), f.Encoding, delimiterName(f.Delimiter), f.Rows, f.Address)
	for _, note := range f.Notes {
		out.Warnf("%s: %s", ui.Clean(r.name), ui.Clean(note))
	}
	tellAddresses(r.a, r.name, f.Findings)
	var fresh []string
	for _, field := range f.Fields {
		if field.ID == 0 {
			fresh = append(fresh, ui.Clean(field.Name)+" ("+string(field.Type)+")")
		}
	}
	if len(fresh) > 0 {
		out.Printf("  new fields: %s\n", strings.Join(fresh, ", "))
	}
	if f.Resumed > 0 && !r.o.dryRun {
		out.Printf("  import %d was stopped at line %d and goes on\n", f.Resumed, f.FromLine)
	}
}

func delimiterName(d string) string {
	switch d {
	case ",":
		return "commas"
	case "\t":
		return "tabs"
	case ";":
		return "semicolons"
	}
	return strconv.Quote(d)
}

func (r *importRun) progress(step ingest.Step, done, total int64) {
	if total == 0 {
		total = -1
	}
	if r.bar == nil || r.step != step {
		r.endBar()
		r.bar, r.step = r.a.out.Bar(string(step)+" "+ui.Clean(r.name), "rows", total), step
	}
	r.bar.Set(done)
}

func (r *importRun) endBar() {
	if r.bar != nil {
		r.bar.Close()
		r.bar = nil
	}
}

// shownRejects is how many rejected rows people see at once.
const shownRejects = 5

func (r *importRun) reject(j ingest.Reject) {
	if r.rejects != nil && r.failed == nil {
		r.failed = r.rejects.write(j, r.name)
	}
	r.a.out.Emit("reject", struct {
		File   string `json:"file"`
		Line   int64  `json:"line"`
		Column int    `json:"column"`
		Reason string `json:"reason"`
		Row    string `json:"row"`
	}{r.name, j.Line, j.Column, j.Reason, j.Row})
	if r.shown++; r.shown <= shownRejects {
		r.a.out.Warnf("%s, line %d: %s", ui.Clean(r.name), j.Line, ui.Clean(j.Reason))
	}
}

// shownEffects is how many examples of each kind a dry run shows.
const shownEffects = 5

// effect shows the first rows of a dry run that would change something.
func (r *importRun) effect(e store.Effect) {
	if e.Op == "touch" && !e.Listed || e.Op == "skip" {
		return
	}
	if r.examples[e.Op]++; r.examples[e.Op] > shownEffects {
		return
	}
	var changes []string
	for _, c := range e.Changes {
		changes = append(changes, fmt.Sprintf("%s: %q -> %q", c.Field.Name, c.Old, c.New))
	}
	if e.Was != "" {
		changes = append(changes, fmt.Sprintf("address: %s -> %s", e.Was, e.Address))
	}
	if e.Listed && e.Op != "create" {
		changes = append(changes, "put on the list")
	}
	r.endBar()
	r.a.out.Println(strings.TrimRight(fmt.Sprintf("  line %d: would %s %s  %s", e.Line, effectWord(e.Op), e.Address, ui.Clean(strings.Join(changes, ", "))), " "))
	type cell struct {
		Field string `json:"field"`
		Old   string `json:"old"`
		New   string `json:"new"`
	}
	cells := []cell{}
	for _, c := range e.Changes {
		cells = append(cells, cell{c.Field.Name, c.Old, c.New})
	}
	r.a.out.Emit("effect", map[string]any{"line": e.Line, "address": e.Address, "effect": effectWord(e.Op), "changes": cells})
}

func effectWord(op string) string {
	if op == "touch" {
		return "update"
	}
	return op
}

func (r *importRun) tell(s ingest.Summary) {
	out := r.a.out
	if more := r.shown - shownRejects; more > 0 {
		out.Warnf("%s: %d more rows were rejected", ui.Clean(r.name), more)
	}
	verb := "imported"
	if r.o.dryRun {
		verb = "would import"
	}
	out.Printf("%s %d rows: %d created, %d updated, %d unchanged, %d rejected", verb, s.Rows, s.Created, s.Updated, s.Unchanged, s.Rejected)
	if s.Skipped > 0 {
		out.Printf(", %d skipped", s.Skipped)
	}
	out.Printf("\n")
	if s.Suppressed > 0 {
		out.Printf("  %d of them are suppressed and stay so: they are not mailed\n", s.Suppressed)
	}
	if s.Repeated > 0 {
		out.Printf("  %s an address of the file: its last row won\n", ui.Count(s.Repeated, "row repeats", "rows repeat"))
	}
	if s.Rejected > 0 && r.rejects != nil {
		out.Printf("  the rejected rows are in %s\n", r.o.rejects)
	} else if s.Rejected > 0 {
		out.Printf("  --rejects FILE keeps the rejected rows\n")
	}
	if s.ChangeSet > 0 {
		out.Printf("  mailer import undo %d takes this import back\n", s.ChangeSet)
	}
}

// rejectsFile is the CSV of rejected rows: UTF-8 with a mark, so that Excel reads it.
type rejectsFile struct {
	f       *os.File
	w       *csv.Writer
	several bool
}

func createRejects(path string, files []string, several bool) (*rejectsFile, error) {
	st, err := os.Stat(path)
	for _, file := range files {
		if in, inErr := os.Stat(file); err == nil && inErr == nil && os.SameFile(st, in) {
			return nil, usage("--rejects %s is the file that is imported: name another one", path)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write rejects: %w", err)
	}
	r := &rejectsFile{f, csv.NewWriter(f), several}
	header := []string{"line", "column", "reason", "row"}
	if several {
		header = append(header, "file")
	}
	if _, err := f.WriteString("\ufeff"); err != nil {
		f.Close()
		return nil, fmt.Errorf("write rejects: %w", err)
	}
	return r, r.w.Write(header)
}

func (r *rejectsFile) write(j ingest.Reject, file string) error {
	column := ""
	if j.Column > 0 {
		column = strconv.Itoa(j.Column)
	}
	row := []string{strconv.FormatInt(j.Line, 10), column, contact.Guard(j.Reason), contact.Guard(j.Row)}
	if r.several {
		row = append(row, contact.Guard(file))
	}
	if err := r.w.Write(row); err != nil {
		return fmt.Errorf("write rejects: %w", err)
	}
	return nil
}

func (r *rejectsFile) close() error {
	r.w.Flush()
	if err := errors.Join(r.w.Error(), r.f.Close()); err != nil {
		return fmt.Errorf("write rejects: %w", err)
	}
	return nil
}

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
}

func changeSetLine(c store.ChangeSet) changeSetJSON {
	t := c.Totals
	return changeSetJSON{c.ID, c.Kind, c.Source, c.State, c.LastLine,
		totalsJSON{t.Created, t.Updated, t.Unchanged, t.Skipped, t.Rejected, t.Suppressed}, t.Undo, c.Created.Format(time.RFC3339)}
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
		return a.out.Emit("change", map[string]any{"line": c.Line, "op": c.Op, "address": c.Key, "before": c.Before, "after": c.After, "listed": c.Listed})
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
