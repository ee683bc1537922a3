package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"mailer/internal/contact"
)

// An import is a change set: it is applied in short transactions, so that a running send keeps its pace, and each one
// moves last_line forward in the same commit. That makes it resumable (the same file goes on behind last_line) and, with
// what changes and change_runs keep of every line, takes it back exactly.

// What a row of an import does about a contact that was there before.
const (
	OnDuplicateUpdate = "update"
	OnDuplicateSkip   = "skip"
	OnDuplicateFail   = "fail"
)

// ErrInterfered says that another process moved the change set that this one was working on.
var ErrInterfered = errors.New("another process is working on the same change set")

// Consent is the evidence that a person asked to be on a list.
type Consent struct {
	Source string    `json:"source,omitempty"`
	At     time.Time `json:"at,omitzero"`
	Text   string    `json:"text,omitempty"`
}

// ImportSpec says what an import is. The same source hash and options are the same import.
type ImportSpec struct {
	Kind        string // import or edit
	Source      string // the file's name, for people
	SourceHash  string
	Options     string          // JSON
	Columns     []contact.Field // a field for each cell of a row; ID 0 where it is new
	List        string          // "": none
	Consent     Consent
	OnDuplicate string
	Clears      bool // an empty cell erases what is stored
}

// Totals counts what a change set did.
type Totals struct {
	Created    int64   `json:"created"`
	Updated    int64   `json:"updated"`
	Unchanged  int64   `json:"unchanged"`
	Skipped    int64   `json:"skipped"`
	Rejected   int64   `json:"rejected"`
	Suppressed int64   `json:"suppressed"`
	Repeated   int64   `json:"repeated"` // rows whose address stood in the file before; the last row won
	Fields     []int64 `json:"fields,omitempty"`
	List       int64   `json:"list,omitempty"`
	NewList    bool    `json:"new_list,omitempty"`
	Unlisted   int64   `json:"unlisted,omitempty"` // taken off the list because the file lacks them
	Looked     int64   `json:"looked,omitempty"`   // members of the list up to this contact were looked at for that
	Undo       *Undone `json:"undo,omitempty"`
}

// Undone counts what taking a change set back did so far.
type Undone struct {
	Before   int64 `json:"before"` // the changes from this number on are taken back
	Deleted  int64 `json:"deleted"`
	Restored int64 `json:"restored"`
	Left     int64 `json:"left"` // left alone, in whole or in part: changed since, or being mailed
}

// Import is a change set that is being applied. After an error it is of no use any more: begin it again.
type Import struct {
	ID       int64
	Resumed  bool
	LastLine int64         // rows up to this line are applied
	Held     time.Duration // how long the last Apply kept others from writing
	Totals   Totals
	Columns  []contact.Field // as in the spec, with ids

	spec   ImportSpec
	order  []int           // indexes of Columns by field id
	sorted []contact.Field // Columns in that order
	all    []contact.Field // every field of the workspace

	own     idSet // contacts that this change set created, changed or found as they are
	skipped idSet // contacts that it left alone, as --on-duplicate skip says
	known   bool  // most rows of the last batch were contacts already
}

// Row is one row of an import: its cells in the order of ImportSpec.Columns.
type Row struct {
	Line    int64
	Address string
	Key     string
	Cells   []string
	Fields  string // the cells as AppendFields gives them; "": Apply does it
}

// AppendFields adds the stored form of a row's cells to dst. It may run beside Apply. The error is a *contact.MismatchError when
// a cell does not fit its field.
func (im *Import) AppendFields(dst []byte, cells []string) ([]byte, error) {
	return contact.AppendRow(dst, im.sorted, im.order, cells)
}

// BeginImport opens a change set, or the one that the same import left halfway.
func (s *Store) BeginImport(ctx context.Context, spec ImportSpec) (*Import, error) {
	im := &Import{spec: spec}
	err := s.update(ctx, func(tx *sql.Tx) error {
		var totals string
		err := tx.QueryRowContext(ctx, `SELECT id, last_line, totals FROM change_sets
			WHERE kind = 'import' AND state = 'applying' AND source_hash = ? AND options = ? AND source_hash <> '' ORDER BY id DESC LIMIT 1`,
			spec.SourceHash, spec.Options).Scan(&im.ID, &im.LastLine, &totals)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return s.openChangeSet(ctx, tx, im)
		case err != nil:
			return err
		}
		im.Resumed = true
		if err := json.Unmarshal([]byte(totals), &im.Totals); err != nil {
			return err
		}
		if err := im.remember(ctx, tx); err != nil {
			return err
		}
		return im.bind(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("begin import: %w", err)
	}
	return im, nil
}

func (s *Store) openChangeSet(ctx context.Context, tx *sql.Tx, im *Import) error {
	add, err := newFields(ctx, tx, im.spec.Columns)
	if err != nil {
		return err
	}
	if im.Totals.Fields, err = s.addFields(ctx, tx, add); err != nil {
		return err
	}
	if im.spec.List != "" {
		if im.Totals.List, im.Totals.NewList, err = s.ensureList(ctx, tx, im.spec.List); err != nil {
			return err
		}
	}
	totals, err := json.Marshal(im.Totals)
	if err != nil {
		return err
	}
	err = tx.QueryRowContext(ctx,
		"INSERT INTO change_sets (kind, source, source_hash, options, state, totals, created_at) VALUES (?, ?, ?, ?, 'applying', ?, ?) RETURNING id",
		im.spec.Kind, im.spec.Source, im.spec.SourceHash, im.spec.Options, string(totals), s.millis()).Scan(&im.ID)
	if err != nil {
		return err
	}
	return im.bind(ctx, tx)
}

// newFields is which of an import's new columns are new still. Another import may have made such a field since this one
// looked; it serves both if it takes every cell that was seen.
func newFields(ctx context.Context, tx *sql.Tx, columns []contact.Field) ([]contact.Field, error) {
	have, err := fields(ctx, tx)
	if err != nil {
		return nil, err
	}
	var add []contact.Field
	for _, f := range columns {
		i := slices.IndexFunc(have, func(h contact.Field) bool { return h.Name == f.Name })
		switch {
		case f.ID != 0:
		case i < 0:
			add = append(add, f)
		case have[i].Type != f.Type && have[i].Type != contact.Text:
			return nil, fmt.Errorf("another import has made the field %q meanwhile, as a %s: run the same command again", f.Name, have[i].Type)
		}
	}
	return add, nil
}

func (s *Store) ensureList(ctx context.Context, tx *sql.Tx, name string) (id int64, made bool, err error) {
	err = tx.QueryRowContext(ctx, "SELECT id FROM lists WHERE name = ?", name).Scan(&id)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, false, err
	}
	// An undo deletes the list that its import made. Its number is not given out again: change sets still name it.
	err = tx.QueryRowContext(ctx, `INSERT INTO lists (id, name, created_at) SELECT 1 + max(coalesce((SELECT max(id) FROM lists), 0),
		coalesce((SELECT max(json_extract(totals, '$.list')) FROM change_sets), 0)), ?, ? RETURNING id`, name, s.millis()).Scan(&id)
	return id, true, err
}

// remember finds out which contacts the part of the import that is applied already has seen.
func (im *Import) remember(ctx context.Context, tx *sql.Tx) error {
	err := eachRun(ctx, tx, func(r run) error {
		set := &im.own
		if r.op == runSkip {
			set = &im.skipped
		}
		for _, l := range r.lines {
			set.add(l.contact)
		}
		return nil
	}, "WHERE r.change_set = ?", im.ID)
	if err != nil {
		return err
	}
	return eachRow(ctx, tx, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		im.own.add(id)
		return err
	}, "SELECT contact FROM changes WHERE change_set = ? AND line > 0", im.ID)
}

// bind looks the columns up by name: they exist now.
func (im *Import) bind(ctx context.Context, q queryer) error {
	var err error
	if im.all, err = fields(ctx, q); err != nil {
		return err
	}
	im.Columns = nil
	for _, c := range im.spec.Columns {
		i := slices.IndexFunc(im.all, func(f contact.Field) bool { return f.Name == c.Name })
		if i < 0 {
			return fmt.Errorf("field %q is not there any more: run the same command again", c.Name)
		}
		im.Columns = append(im.Columns, im.all[i])
	}
	im.sort()
	return nil
}

// sort finds the order of the stored JSON: fields come by id, so that equal cells give equal text.
func (im *Import) sort() {
	im.order, im.sorted = nil, nil
	for i := range im.Columns {
		im.order = append(im.order, i)
	}
	slices.SortFunc(im.order, func(a, b int) int { return int(im.Columns[a].ID - im.Columns[b].ID) })
	for _, i := range im.order {
		im.sorted = append(im.sorted, im.Columns[i])
	}
}

// Apply writes rows in one transaction. Its lines must lie behind LastLine.
func (s *Store) Apply(ctx context.Context, im *Import, rows []Row) error {
	if len(rows) == 0 {
		return nil
	}
	last := rows[len(rows)-1].Line
	var totals Totals
	var err error
	im.Held, err = s.timed(ctx, func(tx *sql.Tx) error {
		if err := im.unchangedFields(ctx, tx); err != nil {
			return err
		}
		w := &writing{s: s, tx: tx, im: im, now: s.millis()}
		if err := w.rows(ctx, rows); err != nil {
			return err
		}
		totals, err = s.advance(ctx, tx, im, last, w.totals)
		return err
	})
	if err != nil {
		// A context that ends takes the transaction away before insertNew can turn the checks on again.
		err = errors.Join(err, ignoreChecks(context.WithoutCancel(ctx), s.write, false))
		return fmt.Errorf("apply import %d: %w", im.ID, err)
	}
	im.LastLine, im.Totals = last, totals
	return nil
}

// advance moves the change set to line last and adds to its totals, if nobody else moved it.
func (s *Store) advance(ctx context.Context, tx *sql.Tx, im *Import, last int64, add Totals) (Totals, error) {
	var text string
	err := tx.QueryRowContext(ctx, "SELECT totals FROM change_sets WHERE id = ? AND state = 'applying' AND last_line = ?", im.ID, im.LastLine).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return Totals{}, ErrInterfered
	}
	var t Totals
	if err == nil {
		err = json.Unmarshal([]byte(text), &t)
	}
	if err != nil {
		return Totals{}, err
	}
	t.Created += add.Created
	t.Updated += add.Updated
	t.Unchanged += add.Unchanged
	t.Skipped += add.Skipped
	t.Suppressed += add.Suppressed
	t.Repeated += add.Repeated
	sum, err := json.Marshal(t)
	if err != nil {
		return Totals{}, err
	}
	_, err = tx.ExecContext(ctx, "UPDATE change_sets SET last_line = ?, totals = ? WHERE id = ?", last, string(sum), im.ID)
	return t, err
}

// unchangedFields makes sure that nobody changed a column's type since the cells were checked against it.
func (im *Import) unchangedFields(ctx context.Context, tx *sql.Tx) error {
	now, err := fields(ctx, tx)
	if err != nil {
		return err
	}
	if slices.Equal(now, im.all) {
		return nil
	}
	before := im.Columns
	if err := im.bind(ctx, tx); err != nil {
		return err
	}
	for i, f := range im.Columns {
		if f.ID != before[i].ID || f.Type != before[i].Type {
			return fmt.Errorf("the type of field %q was changed while the import ran: run the same command again", f.Name)
		}
	}
	return nil
}

// FinishImport closes the change set. rejected is how many rows of the whole source were rejected.
func (s *Store) FinishImport(ctx context.Context, im *Import, rejected int64) error {
	im.Totals.Rejected = rejected
	err := s.update(ctx, func(tx *sql.Tx) error {
		totals, err := json.Marshal(im.Totals)
		if err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, "UPDATE change_sets SET state = 'done', totals = ?, finished_at = ? WHERE id = ? AND state = 'applying' AND last_line = ?",
			string(totals), s.millis(), im.ID, im.LastLine)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(ErrInterfered, err)
		}
		return s.audit(ctx, tx, im.spec.Kind, map[string]any{"change_set": im.ID, "source": im.spec.Source, "totals": im.Totals})
	})
	if err != nil {
		return fmt.Errorf("finish import %d: %w", im.ID, err)
	}
	return nil
}

// Sending reports whether a campaign is being sent right now, here or in another process: a long write then makes room.
func (s *Store) Sending(ctx context.Context) (bool, error) {
	busy, err := s.sendingNow(ctx, s.read)
	return busy, wrap("look for a running send", explain(err))
}

func (s *Store) sendingNow(ctx context.Context, q queryer) (busy bool, err error) {
	err = q.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM campaigns WHERE lease_holder <> '' AND lease_expires > ?)", s.millis()).Scan(&busy)
	return busy, err
}
