package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"mailer/internal/ingest"
	"mailer/internal/store"

	"github.com/spf13/cobra"
)

const importHelp = `Import contacts from CSV or TSV, an Excel workbook (.xlsx) or JSON lines ("-" is standard input).

The format is recognised by the content, and so are the encoding (UTF-8, CP932 as Excel writes it, EUC-JP, UTF-16,
ISO-2022-JP), the delimiter, the sheet, the line of the header (titles may stand above it) and the column of the address.
All are shown, and --format, --encoding, --delimiter, --sheet, --header and --map say it otherwise.

Every column becomes a field under its own name; --map COLUMN=FIELD gives it another one, --map COLUMN=email names the
address, --map COLUMN= leaves a column out, --fields takes only some. "#3" is the third column. With --no-header the
columns are called "column 1" and so on, and the one that holds addresses is the address.
A new field is a number, a date, a boolean or a list if every cell of the column is, else text; a later cell that does not
fit is a rejected row (mailer fields --help).

Excel: the first visible sheet that has rows. Dates arrive as 2026-01-05 (09:30 behind it if the cell shows a time), however
the cell shows them; numbers in plain digits with the decimals that the cell shows, without separators and currency; 15%
and leading zeros (00123, 100-0001) as shown; merged cells in each of their rows. Hidden rows are imported.

JSON: an object a line, printed over several, or one array of them. Keys are columns, those of nested objects as a.b,
an array is a list. What is no text keeps the form in which it is written.

A contact that is there already is updated: columns of the file win, an empty cell leaves what is stored. A suppressed
address stays suppressed, whatever is imported. A row that cannot be read costs that row only: it is told with its line,
column and reason, --rejects keeps it in a file, and the exit code is 3. --dry-run shows what would change.

Addresses that look odd are told and imported: slips of the finger, addresses of no person, mailboxes to throw away. --check tells them
and writes nothing; with --dns 10s it also asks the DNS, for ten seconds at most, which domains take no mail.

--unlist-missing makes the list mirror the file. Nobody leaves it where the file has no row that can be imported (exit code
5 if it has no row at all), or one of which it cannot be told whose it is.

--save-profile NAME keeps the flags of an import in imports/NAME.yaml, --profile NAME uses them; flags beside it win.

Every import has a number and is taken back by "mailer import undo NUMBER". One that was stopped goes on when the same
command is given again. (A file named list, show or undo is imported as ./list.)`

type importOptions struct {
	maps        []string
	fields      []string
	format      string
	encoding    string
	delimiter   string
	sheet       string
	header      string
	noHeader    bool
	list        string
	onDuplicate string
	unlist      bool
	rejects     string
	dryRun      bool
	check       bool
	dns         time.Duration
	resolver    []string

	consentSource string
	consentAt     string
	consentText   string

	profile     string
	saveProfile string
	given       func(flag string) bool
}

func newImportCmd(a *app) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Bring contact lists in, from CSV, Excel or JSON lines",
		Long:  importHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("import needs a FILE; \"-\" is standard input")
			}
			o.given = func(flag string) bool { return cmd.Flags().Changed(flag) }
			return runImport(cmd.Context(), a, o, args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.list, "list", "", "put everybody on this `list`; it is made when there is none")
	f.StringArrayVar(&o.maps, "map", nil, "another name for a column, as `COLUMN=FIELD`; email is the address")
	f.StringSliceVar(&o.fields, "fields", nil, "take only these `fields` from the file, beside the address")
	f.StringVar(&o.format, "format", "auto", "the format, by `name`: auto "+strings.Join(ingest.Formats(), " "))
	f.StringVar(&o.encoding, "encoding", "auto", "the encoding, by `name`: auto "+strings.Join(ingest.Encodings(), " "))
	f.StringVar(&o.delimiter, "delimiter", "auto", "the delimiter, by `name`: auto comma tab semicolon pipe")
	f.StringVar(&o.sheet, "sheet", "", "the sheet of a workbook, by `name` or number")
	f.StringVar(&o.header, "header", "auto", "the `line` that names the columns: auto, none or a number")
	f.BoolVar(&o.noHeader, "no-header", false, "no line names the columns: the same as --header none")
	f.StringVar(&o.onDuplicate, "on-duplicate", store.OnDuplicateUpdate, "what happens to a contact that exists: `update|skip|fail`")
	f.BoolVar(&o.unlist, "unlist-missing", false, "take those off the list whom the file does not name")
	f.StringVar(&o.rejects, "rejects", "", "write rejected rows, with line, column and reason, to this CSV `file`")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would happen and write nothing")
	f.BoolVar(&o.check, "check", false, "say what would happen and what is odd about the addresses, and write nothing")
	f.DurationVar(&o.dns, "dns", 0, "with --check: ask the DNS which domains take no mail, for this `duration` at most")
	f.StringSliceVar(&o.resolver, "resolver", nil, "with --dns: name server to ask, `host` or host:port")
	f.StringVar(&o.consentSource, "consent-source", "", "where the consent to be on the list comes from (a form, a fair), kept as `evidence`")
	f.StringVar(&o.consentAt, "consent-at", "", "when the consent was given: `YYYY-MM-DD`, with a time or without")
	f.StringVar(&o.consentText, "consent-text", "", "the `wording` that was agreed to")
	f.StringVar(&o.profile, "profile", "", "flags that were saved under this `name`")
	f.StringVar(&o.saveProfile, "save-profile", "", "save the flags of this import under a `name`")
	cmd.RegisterFlagCompletionFunc("profile", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return a.profileNames(), cobra.ShellCompDirectiveNoFileComp
	})
	cmd.AddCommand(newImportListCmd(a), newImportShowCmd(a), newImportUndoCmd(a))
	return cmd
}

// settle checks the flags that do not need the file.
func (o importOptions) settle(zone *time.Location) (ingest.Options, error) {
	out := ingest.Options{
		Fields: o.fields, Format: o.format, Encoding: o.encoding, Delimiter: o.delimiter, Sheet: o.sheet, Header: o.header,
		List: strings.TrimSpace(o.list), OnDuplicate: o.onDuplicate, UnlistMissing: o.unlist, DryRun: o.dryRun,
	}
	for _, f := range []struct{ flag, value string }{{"list", out.List}, {"profile", o.profile}, {"save-profile", o.saveProfile}, {"rejects", o.rejects}} {
		if o.given(f.flag) && f.value == "" && (f.flag != "list" || o.profile == "") { // --list "" leaves out the list of a profile
			return out, usage("--%s is empty: is a variable not set?", f.flag)
		}
	}
	switch {
	case o.dns < 0:
		return out, usage("--dns %s: a time cannot be negative", o.dns)
	case o.dns > 0 && !o.check:
		return out, usage("--dns belongs to --check: an import does not wait for the DNS")
	case len(o.resolver) > 0 && o.dns == 0:
		return out, usage("--resolver belongs to --dns, which says how long it is asked")
	}
	if o.noHeader && o.given("header") {
		return out, usage("--header and --no-header exclude each other")
	}
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
	switch {
	case out.List != "":
	case out.Consent != (store.Consent{}):
		return out, usage("consent is kept with a list: add --list NAME")
	case out.UnlistMissing:
		return out, usage("--unlist-missing takes people off a list: add --list NAME")
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

// checkFiles finds a wrong name before the files in front of it are imported.
func checkFiles(files []string) error {
	stdin := 0
	for _, file := range files {
		if file == "-" {
			stdin++
		} else if _, err := os.Stat(file); err != nil {
			return usage("%w", err)
		}
	}
	if stdin > 1 {
		return usage("\"-\" stands twice: standard input can be read once")
	}
	return nil
}

func runImport(ctx context.Context, a *app, o importOptions, files []string) (err error) {
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	if o, err = o.withProfile(ws.Dir); err != nil {
		return err
	}
	o.dryRun = o.dryRun || o.check
	opts, err := o.settle(ws.Config.Location())
	if err != nil {
		return err
	}
	if err := checkFiles(files); err != nil {
		return err
	}
	if opts.UnlistMissing && len(files) > 1 {
		return usage("--unlist-missing takes one file: each would take off the list who stands in the others")
	}
	if o.saveProfile != "" {
		if err := ingest.CheckProfile(ws.Dir, o.saveProfile, o.asProfile(), o.saveProfile == o.profile); err != nil {
			return usage("%w", err)
		}
	}
	opts.Stdin, opts.TempDir, opts.Disposables = a.stdin, ws.Dir, ws.Config.Disposables()
	if o.dns > 0 {
		opts.Patience = o.dns
		if opts.Resolver, err = doctorResolver(ws, doctorDomainOptions{resolver: o.resolver}); err != nil {
			return err
		}
	}
	r := &importRun{a: a, st: st, o: o, opts: opts, several: len(files) > 1}
	if o.rejects != "" {
		if r.rejects, err = createRejects(o.rejects, files, a.stdin, r.several); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.rejects.close()) }()
	}
	for _, file := range files {
		if err := r.file(ctx, file); err != nil {
			return err
		}
	}
	if err := r.saveProfile(ws.Dir); err != nil {
		return err
	}
	return r.finish()
}
