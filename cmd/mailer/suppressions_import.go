package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mailer/internal/ingest"
	"mailer/internal/store"
	"mailer/internal/suppression"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const suppressionsImportHelp = `Add suppressions from a file, so that nobody who left elsewhere is mailed from here.

The file is a list with an address (or @example.com) a line, a table with a column of addresses, or an export of another
tool, as CSV, TSV or JSON. Its encoding is recognised as in mailer import; the tool by its columns:

  mailer      mailer suppressions export comes back as it was, with reason and time
  listmonk    subscribers (blocklisted, disabled and unsubscribed ones), bounces (hard ones and complaints)
  phplist     subscribers that are blacklisted or disabled
  mailchimp   unsubscribed (UNSUB_TIME) and cleaned (CLEAN_TIME) members
  ses         BOUNCE and COMPLAINT, as CSV or as aws sesv2 list-suppressed-destinations prints it
  sendgrid-bounces sendgrid-blocks sendgrid-refusals sendgrid-invalid sendgrid-spam sendgrid-unsubscribes
              bounces and blocks have the same columns: the file's name, or else the reply in each row, tells them
              apart. A block is a refusal of the sender, so the address lives and is not suppressed
  mautic brevo table plain

Rows of people whom the other tool does mail are counted and left out: status, type and reason, and columns such as
unsubscribed, unsubscribed_at and opt_out, say who they are. --tool says what a file is where that is not seen, and
--tool plain suppresses every address of a file whatever else it says, as for those whom listmonk lists as unsubscribed
from one list. --reason puts one reason on everybody. A table that says nothing about its rows blocks all mail to them.

Rows that cannot be read, or hold no address, are told with their line (exit code 3). FILE "-" is standard input.`

type suppressionsImportOptions struct {
	suppressionsAddOptions
	tool     string
	encoding string
	dryRun   bool
	forced   bool // --reason was given
}

func newSuppressionsImportCmd(a *app) *cobra.Command {
	var o suppressionsImportOptions
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Add suppressions from a list or from an export of another tool",
		Long:  suppressionsImportHelp,
		Args:  exactArgs(1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.forced = cmd.Flags().Changed("reason")
			return runSuppressionsImport(cmd.Context(), a, args[0], o)
		},
	}
	o.flags(cmd, suppression.Import)
	f := cmd.Flags()
	f.Lookup("reason").Usage = "one `reason` for all: " + strings.Join(suppression.Reasons(), ", ") + " (default: what each row says, else import)"
	f.StringVar(&o.tool, "tool", "auto", "what wrote the file, by `name`: auto "+strings.Join(suppression.Tools(), " "))
	f.StringVar(&o.encoding, "encoding", "auto", "the encoding, by `name`: auto "+strings.Join(ingest.Encodings(), " "))
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would happen and write nothing")
	return cmd
}

// importBatch is how many suppressions are written at a time, so that a running send keeps its pace.
const importBatch = 1000

// suppressionsImportSummary is the last line for scripts.
type suppressionsImportSummary struct {
	Rows     int            `json:"rows"`
	Added    int            `json:"added"`
	Already  int            `json:"already"`
	Rejected int            `json:"rejected"`
	LeftOut  int            `json:"left_out"` // people whom the other tool does mail
	Tool     string         `json:"tool"`
	Encoding string         `json:"encoding"`
	DryRun   bool           `json:"dry_run,omitempty"`
	Reasons  map[string]int `json:"reasons"` // of the rows that are suppressed, new or not
	Free     map[string]int `json:"left_out_because"`
}

type suppressionsImport struct {
	suppressionsImportSummary
	a      *app
	st     *store.Store
	list   *suppression.List
	source string
	o      suppressionsImportOptions
	salt   string
	batch  []store.Suppression
	shown  int // rejected rows on the screen
	seen   map[uint64]bool
	seed   maphash.Seed
	bar    *ui.Progress
	table  *ingest.Table
}

func runSuppressionsImport(ctx context.Context, a *app, file string, o suppressionsImportOptions) error {
	list, err := suppression.NewList(o.tool, filepath.Base(file))
	if err != nil {
		return usage("--tool: %w", err)
	}
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	table, err := ingest.OpenTable(ctx, file, a.stdin, ws.Dir, o.encoding)
	var wrong *ingest.UsageError
	if errors.As(err, &wrong) || errors.Is(err, os.ErrNotExist) {
		return usage("%w", err)
	}
	if err != nil {
		return err
	}
	defer table.Close()
	i := &suppressionsImport{a: a, st: st, list: list, source: file, o: o, table: table, seed: maphash.MakeSeed(), seen: map[uint64]bool{}}
	if file == "-" {
		i.source = "standard input"
	}
	i.Encoding, i.DryRun, i.Reasons, i.Free = table.Encoding, o.dryRun, map[string]int{}, map[string]int{}
	if i.salt, err = st.ForgetSalt(ctx); err != nil {
		return err
	}
	_, size := table.Done()
	i.bar = a.out.Bar("suppressions import", "bytes", size)
	if err = i.read(ctx); err == nil {
		err = i.flush(ctx)
	}
	i.bar.Close()
	var refused *exit
	if errors.As(err, &refused) {
		return err
	}
	i.Tool = cmp.Or(list.Tool(), suppression.Plain)
	if emitted := a.out.Emit("summary", i.suppressionsImportSummary); emitted != nil {
		return emitted
	}
	i.tell()
	if errors.Is(err, context.Canceled) {
		return &exit{exitLeft, fmt.Errorf("interrupted; what was added stays, and the same command adds the rest")}
	}
	if err == nil && i.Rejected > 0 {
		return &exit{code: exitSome}
	}
	return err
}

// read takes every row of the file.
func (i *suppressionsImport) read(ctx context.Context) error {
	take := func(e suppression.Entry) error {
		if i.Rows++; i.Rows%importBatch == 0 {
			done, _ := i.table.Done()
			i.bar.Set(done)
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		return i.take(ctx, e)
	}
	if i.table.JSON {
		text, err := i.table.Text()
		if err != nil {
			return err
		}
		return i.list.ReadJSON(text, take)
	}
	return i.table.Rows(ctx, func(line int64, cells []string) error {
		e, ok, err := i.list.Row(line, cells)
		var unnamed *suppression.HeaderError
		if errors.As(err, &unnamed) {
			return usage("%s, line %d: %w. Name one of them email in the file; --tool plain suppresses the first address of every row", i.source, line, err)
		}
		if err == nil && ok {
			err = take(e)
		}
		return err
	}, func(r ingest.Reject) {
		i.Rows++
		i.reject(r.Line, r.Reason)
	})
}

func (i *suppressionsImport) reject(line int64, reason string) {
	i.Rejected++
	i.a.out.Emit("reject", struct {
		File   string `json:"file"`
		Line   int64  `json:"line"`
		Reason string `json:"reason"`
	}{i.source, line, clean(reason)})
	if i.shown++; i.shown <= 10*shownRejects {
		i.a.out.Warnf("%s:%d: %s", i.source, line, clean(reason))
	}
}

func (i *suppressionsImport) take(ctx context.Context, e suppression.Entry) error {
	if e.Free != "" { // --reason or not: there they are mailed
		i.LeftOut++
		if _, known := i.Free[e.Free]; known || len(i.Free) < 20 {
			i.Free[e.Free]++
		} else {
			i.Free["other"]++
		}
		return nil
	}
	s, err := i.target(e)
	if err != nil {
		i.reject(e.Line, err.Error())
		return nil
	}
	s = i.o.over(s)
	i.Reasons[s.Reason]++
	if i.batch = append(i.batch, s); len(i.batch) < importBatch {
		return nil
	}
	return i.flush(ctx)
}

func (i *suppressionsImport) target(e suppression.Entry) (store.Suppression, error) {
	s, err := i.key(e)
	if err != nil {
		return s, err
	}
	if i.o.forced {
		e.Reason, e.Blocks = i.o.reason, ""
	}
	if e.Reason != "" && !slices.Contains(suppression.Reasons(), e.Reason) {
		return s, fmt.Errorf("unknown reason %q (--reason gives all of them another one)", e.Reason)
	}
	if e.Blocks != "" && e.Blocks != suppression.BlocksMarketing && e.Blocks != suppression.BlocksAll {
		return s, fmt.Errorf("blocks is marketing or all, not %q", e.Blocks)
	}
	s.Reason, s.Blocks, s.Evidence, s.Since = e.Reason, e.Blocks, e.Evidence, e.Since
	if store.IsForgotten(s.Key) {
		s.Evidence = ""
	} else if i.list.Tool() != suppression.Mailer && i.o.evidence == "" {
		from := "imported from " + i.source
		if s.Evidence != "" {
			from = s.Evidence + " (" + from + ")"
		}
		s.Evidence = from
	}
	return s, nil
}

// key is who an entry is about.
func (i *suppressionsImport) key(e suppression.Entry) (store.Suppression, error) {
	switch {
	case e.Address == "":
		return store.Suppression{}, errors.New("no address")
	case store.IsForgotten(e.Address):
		if i.salt == "" || e.Evidence != saltMark+i.salt {
			return store.Suppression{}, errors.New("the hash of a forgotten person means nothing in another database than its own: copy mailer.db to move it")
		}
		return store.Suppression{Scope: suppression.ScopeAddress, Key: e.Address}, nil
	case e.Scope == suppression.ScopeDomain:
		return domainTarget(strings.TrimPrefix(e.Address, "@"))
	}
	return parseTarget(e.Address)
}

func (i *suppressionsImport) flush(ctx context.Context) error {
	if len(i.batch) == 0 {
		return nil
	}
	added, err := 0, error(nil)
	if i.o.dryRun {
		added, err = i.plan(ctx)
	} else {
		added, err = i.st.AddSuppressions(ctx, i.batch, "suppressions import "+i.source)
	}
	if err != nil {
		return err
	}
	i.Added += added
	i.Already += len(i.batch) - added
	i.batch = i.batch[:0]
	return nil
}

// plan counts what of a batch is new. The store does not learn of the rows before, so a hash of each is kept.
func (i *suppressionsImport) plan(ctx context.Context) (added int, err error) {
	known, err := i.st.KnownSuppressions(ctx, i.batch)
	if err != nil {
		return 0, err
	}
	for n, s := range i.batch {
		hash := maphash.String(i.seed, s.Scope+" "+s.Key+" "+s.Reason)
		if !known[n] && !i.seen[hash] {
			added++
		}
		i.seen[hash] = true
	}
	return added, nil
}

func (i *suppressionsImport) tell() {
	out := i.a.out
	if more := i.shown - 10*shownRejects; more > 0 {
		out.Warnf("%s: %d more rows were rejected (--json lists them)", i.source, more)
	}
	if words := i.list.Words(); words != "" {
		out.Printf("%s: %s, %s\n", ui.Clean(i.source), words, i.Encoding)
	}
	verb := "suppressed"
	if i.DryRun {
		verb = "would be suppressed"
	}
	out.Printf("%s: %d %s, %d were already, %d rejected", ui.Count(i.Rows, "row", "rows"), i.Added, verb, i.Already, i.Rejected)
	if i.LeftOut > 0 {
		out.Printf(", %d left out", i.LeftOut)
	}
	out.Printf("\n")
	for _, reason := range slices.Sorted(maps.Keys(i.Reasons)) {
		out.Printf("  %s: %d\n", reason, i.Reasons[reason])
	}
	for _, why := range slices.Sorted(maps.Keys(i.Free)) {
		out.Printf("  not suppressed, %s there: %d\n", ui.Clean(why), i.Free[why])
	}
	if i.LeftOut > 0 && i.Added+i.Already == 0 {
		out.Printf("  is this a file of people who left all the same? --tool plain suppresses every address in it\n")
	}
}
