// Package ingest brings contact lists into the store.
//
// A file is read three times, each time as a stream, so that memory stays flat: once for its format and its encoding, once
// to check every row and to find the types of new columns, once to apply it. A row that is broken costs that row only
// and is told with its line; the rest goes on.
//
// Applying writes short transactions under one change set. The same command goes on where it was stopped, and
// `mailer import undo` takes all of it back. While a campaign is being sent, by any process, the writer steps back after
// each transaction so that the send keeps its pace.
package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"time"

	"mailer/internal/address"
	"mailer/internal/contact"
	"mailer/internal/store"
	"mailer/internal/zone"
)

// Options of one import.
type Options struct {
	Path        string // "-": Stdin
	Stdin       io.Reader
	TempDir     string // where standard input is spooled
	Map         []Mapping
	Fields      []string // only these are taken from the file, beside the address; nil: all
	Format      string   // "", "auto" or one of Formats
	Encoding    string   // "", "auto" or a name
	Delimiter   string
	Sheet       string // of a workbook: a name or a number from 1; "": the first visible one that has rows
	Header      string // "", "auto", "none", or the line on which the header stands
	List        string
	Consent     store.Consent
	OnDuplicate string // update, skip, fail; "": update
	// UnlistMissing takes those off List whom the file does not name.
	UnlistMissing bool
	DryRun        bool

	Disposables address.Disposables
	Resolver    zone.Resolver // asked which domains take mail, for at most Patience; nil: nobody is
	Patience    time.Duration
}

// Events are what an import tells while it runs. Every one may be nil.
type Events struct {
	Found    func(Found)
	Progress func(step Step, done, total int64) // total 0: not known yet
	Reject   func(Reject)
	Effect   func(store.Effect) // dry run only
}

// Step is what an import is busy with.
type Step string

// The steps.
const (
	Reading  Step = "read" // of a workbook or objects: what must be known before the first row is understood
	Checking Step = "check"
	Applying Step = "import"
	Undoing  Step = "undo"
)

// Found is what was recognised in a file before anything is written.
type Found struct {
	Format    string
	Encoding  string
	Delimiter string
	Sheet     string
	Header    int64 // its line; 0: there is none
	Rows      int64
	Address   string // the column that holds the address
	Fields    []contact.Field
	Notes     []string
	Findings  []Finding // about the addresses
	Resumed   int64     // the change set that goes on; 0: none
	FromLine  int64
}

// Summary is the result of an import.
type Summary struct {
	Rows       int64   `json:"rows"`
	Created    int64   `json:"created"`
	Updated    int64   `json:"updated"`
	Unchanged  int64   `json:"unchanged"`
	Skipped    int64   `json:"skipped,omitempty"`
	Rejected   int64   `json:"rejected"`
	Suppressed int64   `json:"suppressed"`
	Encoding   string  `json:"encoding"`
	Delimiter  string  `json:"delimiter"`
	ChangeSet  int64   `json:"change_set"`
	Seconds    float64 `json:"seconds"`
	Unlisted   int64   `json:"unlisted,omitempty"`
	Format     string  `json:"format"`
	Sheet      string  `json:"sheet,omitempty"`
	Header     int64   `json:"header_line"` // 0: there is none
	Repeated   int64   `json:"-"`
	Lost       int64   `json:"-"` // rejected rows of which not even the address could be read
}

// DuplicateError says that --on-duplicate fail met a contact that exists.
type DuplicateError struct {
	Line    int64
	Address string
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("line %d: %s is a contact already, and --on-duplicate is fail; nothing was imported", e.Line, e.Address)
}

// Import reads one file and applies it, or says what it would do. The summary is good as far as it goes when the error
// is not nil: the change set then can be resumed or taken back.
func Import(ctx context.Context, st *store.Store, o Options, ev Events) (Summary, error) {
	began := time.Now()
	if o.OnDuplicate == "" {
		o.OnDuplicate = store.OnDuplicateUpdate
	}
	src, err := openSource(ctx, o.Path, o.Stdin, o.TempDir)
	if err != nil {
		return Summary{}, err
	}
	defer src.close()
	if ev.Progress != nil {
		src.progress = func(rows int64) { ev.Progress(Reading, rows, 0) }
	}
	if err := src.recognise(ctx, o); err != nil {
		return Summary{}, err
	}
	im := &importing{st: st, o: o, ev: ev, src: src}
	sum := Summary{Encoding: src.charset.name, Delimiter: src.delimiter(), Format: src.format, Sheet: src.sheet()}
	err = im.run(ctx)
	im.fill(&sum)
	sum.Seconds = time.Since(began).Seconds()
	return sum, err
}

// importing is one run of Import.
type importing struct {
	st     *store.Store
	o      Options
	ev     Events
	src    *source
	layout *layout

	total    int64     // rows of the file
	odd      *findings // while the file is checked
	rejected int64
	lost     int64    // of them, those of which not even the address could be read
	kept     []string // address keys of some that were rejected, yet to be marked as seen
	set      int64
	totals   store.Totals
}

func (im *importing) fill(sum *Summary) {
	t := im.totals
	sum.Created, sum.Updated, sum.Unchanged, sum.Skipped = t.Created, t.Updated, t.Unchanged, t.Skipped
	sum.Suppressed, sum.Repeated, sum.Rejected, sum.ChangeSet = t.Suppressed, t.Repeated, im.rejected, im.set
	sum.Unlisted, sum.Lost = t.Unlisted, im.lost
	if im.layout != nil {
		sum.Header = im.layout.header.line
	}
	sum.Rows = sum.Created + sum.Updated + sum.Unchanged + sum.Skipped + sum.Rejected
}

func (im *importing) run(ctx context.Context) error {
	if err := im.check(ctx); err != nil {
		return err
	}
	spec, err := im.spec()
	if err != nil {
		return err
	}
	unfinished, resume, err := im.st.Unfinished(ctx, spec.SourceHash, spec.Options)
	if err != nil {
		return err
	}
	if im.o.Resolver != nil {
		asking, stop := context.WithTimeout(ctx, im.o.Patience)
		im.odd.ask(asking, im.o.Resolver)
		stop()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	im.found(unfinished)
	im.odd = nil
	if im.o.DryRun {
		return im.plan(ctx, spec, im.ev.Effect)
	}
	if im.o.OnDuplicate == store.OnDuplicateFail && !resume {
		if err := im.refuseDuplicates(ctx, spec); err != nil {
			return err
		}
	}
	return im.apply(ctx, spec)
}

// check reads the header and every row: how many there are, and the types of the columns that are new.
func (im *importing) check(ctx context.Context) error {
	fields, err := im.st.Fields(ctx)
	if err != nil {
		return err
	}
	h, err := im.src.header(im.o)
	if err != nil {
		return fmt.Errorf("%s: %w", im.src.name, err)
	}
	im.layout, im.odd, im.total = newLayout(h, fields), newFindings(im.o.Disposables, im.o.Resolver != nil), im.src.count
	err = im.each(ctx, Checking, nil, func(row store.Row) error {
		im.layout.see(row)
		return nil
	}, nil)
	im.layout.settle(&im.src.hints)
	return err
}

// each calls fn for every good row of the file and reject for every other. With encode, the rows carry their stored form.
func (im *importing) each(ctx context.Context, step Step, encode func([]byte, []string) ([]byte, error), fn func(store.Row) error, reject func(Reject)) error {
	var n int64
	err := im.stream(ctx, encode, func(rows []parsed) error {
		for _, p := range rows {
			n++
			if p.reject == nil {
				im.odd.see(p.address)
				if err := fn(p.row); err != nil {
					return err
				}
			} else if reject != nil {
				reject(*p.reject)
			}
		}
		im.progress(step, n)
		return nil
	})
	if err != nil {
		return err
	}
	im.total = n
	im.progress(step, n)
	return nil
}

func (im *importing) progress(step Step, done int64) {
	if im.ev.Progress != nil {
		im.ev.Progress(step, done, im.total)
	}
}

func (im *importing) reject(r Reject) {
	im.rejected++
	if r.lost {
		im.lost++
	}
	if r.key != "" && im.o.UnlistMissing {
		im.kept = append(im.kept, r.key)
	}
	if im.ev.Reject != nil {
		im.ev.Reject(r)
	}
}

func (im *importing) found(unfinished store.ChangeSet) {
	if im.ev.Found == nil {
		return
	}
	h := im.layout.header
	im.ev.Found(Found{
		Format: im.src.format, Encoding: im.src.charset.name, Delimiter: im.src.delimiter(), Sheet: im.src.sheet(),
		Header: h.line, Rows: im.total,
		Address: h.names[h.address], Fields: im.layout.columns, Notes: append(im.src.notes(), im.layout.notes()...), Findings: im.odd.list(),
		Resumed: unfinished.ID, FromLine: unfinished.LastLine,
	})
}

// spec is the import as the store sees it. What changes the outcome is part of its options: only the very same import
// goes on with a change set that was left halfway.
func (im *importing) spec() (store.ImportSpec, error) {
	hash, err := im.src.hash.result()
	if err != nil {
		return store.ImportSpec{}, err
	}
	options, err := json.Marshal(struct {
		Format        string        `json:"format"`
		Encoding      string        `json:"encoding"`
		Delimiter     string        `json:"delimiter"`
		Sheet         string        `json:"sheet,omitempty"`
		Header        int64         `json:"header"`
		Map           []Mapping     `json:"map,omitempty"`
		Fields        []string      `json:"fields,omitempty"`
		List          string        `json:"list,omitempty"`
		UnlistMissing bool          `json:"unlist_missing,omitempty"`
		Consent       store.Consent `json:"consent,omitzero"`
		OnDuplicate   string        `json:"on_duplicate"`
	}{im.src.format, im.src.charset.name, im.src.delimiter(), im.src.sheet(), im.layout.header.line, im.o.Map, im.o.Fields,
		im.o.List, im.o.UnlistMissing, im.o.Consent, im.o.OnDuplicate})
	return store.ImportSpec{
		Kind: "import", Source: im.src.name, SourceHash: hash, Options: string(options), Columns: im.layout.columns,
		List: im.o.List, Consent: im.o.Consent, OnDuplicate: im.o.OnDuplicate,
	}, err
}

// apply writes every row that is not written yet.
func (im *importing) apply(ctx context.Context, spec store.ImportSpec) error {
	set, err := im.st.BeginImport(ctx, spec)
	if err != nil {
		return err
	}
	im.set, im.totals = set.ID, set.Totals
	im.layout.columns = set.Columns
	pace, err := newPace(ctx, im.st)
	if err != nil {
		return err
	}
	batch := make([]store.Row, 0, maxRows)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := pace.step(ctx, im.st, func() (time.Duration, error) {
			err := im.st.Apply(ctx, set, batch)
			return set.Held, err
		})
		im.totals = set.Totals
		batch = batch[:0]
		return err
	}
	err = im.each(ctx, Applying, set.AppendFields, func(row store.Row) error {
		if row.Line <= set.LastLine {
			return nil // written before this run
		}
		if batch = append(batch, row); len(batch) < pace.rows {
			return nil
		}
		return flush()
	}, im.reject)
	if err == nil {
		err = flush()
	}
	if err == nil && im.o.UnlistMissing {
		err = im.unlist(ctx, set, pace)
	}
	if err == nil {
		err = im.st.FinishImport(ctx, set, im.rejected)
	}
	if err != nil {
		return &StoppedError{set.ID, err}
	}
	return nil
}

// namesAll reports whether whoever the file does not name is missing for sure: no row might be anybody's, and some are good. A file
// without a good row is an export that failed or the wrong column, not a list that everybody left.
func (im *importing) namesAll() bool {
	return im.lost == 0 && im.totals.Rows() > 0
}

// unlist takes whoever is on the list and not in the file off it.
func (im *importing) unlist(ctx context.Context, set *store.Import, pace *pace) error {
	if !im.namesAll() {
		return nil
	}
	if err := im.st.Keep(ctx, set, im.kept); err != nil {
		return err
	}
	for done := false; !done; {
		err := pace.step(ctx, im.st, func() (held time.Duration, err error) {
			done, held, err = im.st.Unlist(ctx, set, pace.rows)
			return held, err
		})
		if err != nil {
			return err
		}
	}
	im.totals = set.Totals
	return nil
}

// StoppedError says that an import stopped halfway; what was applied stays, until it is resumed or taken back.
type StoppedError struct {
	ChangeSet int64
	Err       error
}

func (e *StoppedError) Error() string {
	why := e.Err.Error()
	if errors.Is(e.Err, context.Canceled) {
		why = "interrupted"
	}
	return fmt.Sprintf("%s; import %d stopped halfway: the same command goes on with it, mailer import undo %d takes it back",
		why, e.ChangeSet, e.ChangeSet)
}

func (e *StoppedError) Unwrap() error { return e.Err }

// planRows is how many rows a dry run looks up at a time.
const planRows = 500

// plan says what each row would do, without writing. It keeps a hash of each address that it saw, because the store
// does not learn of the rows before.
func (im *importing) plan(ctx context.Context, spec store.ImportSpec, tell func(store.Effect)) error {
	im.totals, im.rejected, im.lost, im.kept = store.Totals{}, 0, 0, nil
	p, err := im.st.PlanImport(ctx, spec)
	if err != nil {
		return err
	}
	seed := maphash.MakeSeed()
	seen := map[uint64]uint64{} // hash of an address: hash of its last row
	batch := make([]store.Row, 0, planRows)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		effects, err := p.Rows(ctx, batch)
		if err != nil {
			return err
		}
		fresh := map[uint64]uint64{}
		for i, e := range effects {
			key, row := maphash.String(seed, e.Key), rowHash(seed, batch[i])
			if last, again := seen[key]; !again {
				fresh[key] = row // within a call the store does know
			} else if e.Op != "skip" {
				e.Repeated, e.Op, e.Listed = true, "touch", false
				if last != row {
					e.Op = "update"
				}
				seen[key] = row
			}
			im.totals.Count(e)
			if tell != nil {
				tell(e)
			}
		}
		maps.Copy(seen, fresh)
		batch = batch[:0]
		return nil
	}
	err = im.each(ctx, Checking, nil, func(row store.Row) error {
		if batch = append(batch, row); len(batch) < planRows {
			return nil
		}
		return flush()
	}, im.reject)
	if err == nil {
		err = flush()
	}
	if err != nil || !im.o.UnlistMissing || !im.namesAll() {
		return err
	}
	if err := p.Keep(ctx, im.kept); err != nil {
		return err
	}
	return p.Missing(ctx, func(e store.Effect) {
		im.totals.Count(e)
		if tell != nil {
			tell(e)
		}
	})
}

func rowHash(seed maphash.Seed, row store.Row) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(row.Address)
	for _, cell := range row.Cells {
		h.WriteByte(0)
		h.WriteString(cell)
	}
	return h.Sum64()
}

// refuseDuplicates runs a plan first, so that --on-duplicate fail fails before anything is written.
func (im *importing) refuseDuplicates(ctx context.Context, spec store.ImportSpec) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	quiet := *im
	quiet.o.UnlistMissing = false
	quiet.ev = Events{Progress: im.ev.Progress}
	err := quiet.plan(ctx, spec, func(e store.Effect) {
		if e.Op != "create" && !e.Repeated {
			stop(&DuplicateError{e.Line, e.Address})
		}
	})
	var found *DuplicateError
	if errors.As(context.Cause(ctx), &found) {
		return found
	}
	return err
}
