package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"mailer/internal/contact"
	"mailer/internal/ingest"
	"mailer/internal/store"
	"mailer/internal/ui"
)

// importRun is one command over its files.
type importRun struct {
	a       *app
	st      *store.Store
	o       importOptions
	opts    ingest.Options
	several bool
	rejects *rejectsFile

	name   string
	bar    *ui.Progress
	step   ingest.Step
	shown  int // rejects on the screen
	plan   plan
	failed error // of the rejects file
	sums   []ingest.Summary
}

// importSummary is the last line of an import for scripts.
type importSummary struct {
	ingest.Summary
	ChangeSets []int64 `json:"change_sets,omitempty"` // of several files
}

func (r *importRun) file(ctx context.Context, name string) error {
	r.name, r.shown, r.plan = name, 0, plan{}
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
		total.Unlisted += s.Unlisted
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
	switch {
	case r.opts.UnlistMissing && total.Rows == 0:
		return &exit{code: exitSafety}
	case total.Rejected > 0:
		return &exit{code: exitSome}
	}
	return nil
}

// found tells what was recognised in a file, before anything is written, and by which flags it is said otherwise.
func (r *importRun) found(f ingest.Found) {
	r.endBar()
	out := r.a.out
	out.Printf("%s: %s, %s; the address is in column %q\n", ui.Clean(r.name), strings.Join(foundShape(f), ", "), ui.Count(f.Rows, "row", "rows"), f.Address)
	out.Printf("  not so? %s\n", foundFlags[f.Format])
	for _, note := range f.Notes {
		out.Warnf("%s: %s", ui.Clean(r.name), ui.Clean(note))
	}
	tellAddresses(r.a, r.name, f.Findings)
	if r.o.check && len(f.Findings) == 0 {
		out.Printf("  no address looks odd\n")
	}
	type fresh struct {
		Name string       `json:"name"`
		Type contact.Type `json:"type"`
	}
	news, words := []fresh{}, []string{}
	for _, field := range f.Fields {
		if field.ID == 0 {
			news = append(news, fresh{field.Name, field.Type})
			words = append(words, ui.Clean(field.Name)+" ("+string(field.Type)+")")
		}
	}
	if len(words) > 0 {
		out.Printf("  new fields: %s\n", strings.Join(words, ", "))
	}
	if f.Resumed > 0 && !r.o.dryRun {
		out.Printf("  import %d was stopped at line %d and goes on\n", f.Resumed, f.FromLine)
	}
	out.Emit("found", struct {
		File      string   `json:"file"`
		Format    string   `json:"format"`
		Encoding  string   `json:"encoding"`
		Delimiter string   `json:"delimiter"`
		Sheet     string   `json:"sheet,omitempty"`
		Header    int64    `json:"header_line"`
		Rows      int64    `json:"rows"`
		Address   string   `json:"address_column"`
		NewFields []fresh  `json:"new_fields"`
		Notes     []string `json:"notes"`
	}{r.name, f.Format, f.Encoding, f.Delimiter, f.Sheet, f.Header, f.Rows, f.Address, news, append([]string{}, f.Notes...)})
}

// foundShape is what a file is, in words.
func foundShape(f ingest.Found) []string {
	header := fmt.Sprintf("header in line %d", f.Header)
	if f.Header == 0 {
		header = "no header"
	}
	switch f.Format {
	case ingest.FormatXLSX:
		return []string{fmt.Sprintf("Excel, sheet %q", f.Sheet), header}
	case ingest.FormatJSON:
		return []string{"JSON objects", f.Encoding}
	}
	return []string{f.Encoding, delimiterName(f.Delimiter), header}
}

// foundFlags are those that say otherwise what was recognised.
var foundFlags = map[string]string{
	ingest.FormatCSV:  "--encoding, --delimiter, --header, --map",
	ingest.FormatXLSX: "--sheet, --header, --map",
	ingest.FormatJSON: "--format, --encoding, --map",
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
		where := fmt.Sprintf("line %d", j.Line)
		if j.Column > 0 {
			where += fmt.Sprintf(", column %d", j.Column)
		}
		r.a.out.Warnf("%s, %s: %s", ui.Clean(r.name), where, ui.Clean(j.Reason))
	}
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
	out.Printf("%s %s: %d created, %d updated, %d unchanged, %d rejected", verb, ui.Count(s.Rows, "row", "rows"), s.Created, s.Updated, s.Unchanged, s.Rejected)
	if s.Skipped > 0 {
		out.Printf(", %d skipped", s.Skipped)
	}
	out.Printf("\n")
	if r.o.dryRun {
		r.plan.print(out)
	}
	if s.Suppressed > 0 && !r.o.dryRun {
		out.Printf("  %d of them are suppressed and stay so: they are not mailed\n", s.Suppressed)
	}
	if s.Unlisted > 0 && !r.o.dryRun {
		out.Printf("  %s not in the file and left the list %s\n", ui.Count(s.Unlisted, "member was", "members were"), ui.Clean(r.opts.List))
	}
	if r.opts.UnlistMissing && s.Rows == s.Rejected {
		out.Warnf("%s: nobody is taken off the list, for the file has no row that can be imported: is it the right one, and whole?", ui.Clean(r.name))
	} else if r.opts.UnlistMissing && s.Lost > 0 {
		out.Warnf("%s: nobody is taken off the list, for a row that cannot be read may be anybody's: mend the rejected rows and import the file again", ui.Clean(r.name))
	}
	if s.Repeated > 0 {
		out.Printf("  %s an address of the file: its last row won\n", ui.Count(s.Repeated, "row repeats", "rows repeat"))
	}
	if s.Rejected > 0 && r.rejects != nil {
		out.Printf("  the rejected rows are in %s\n", r.o.rejects)
	} else if s.Rejected > 0 {
		out.Printf("  --rejects FILE keeps the rejected rows\n")
	}
	if r.o.dryRun {
		flag := "--dry-run"
		if r.o.check {
			flag = "--check"
		}
		out.Printf("  nothing was written: the same command without %s imports\n", flag)
	}
	if s.ChangeSet > 0 {
		out.Printf("  mailer import undo %d takes this import back\n", s.ChangeSet)
	}
}
