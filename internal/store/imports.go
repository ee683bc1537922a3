package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailer/internal/contact"
)

// An import is a change set: it is applied in short transactions, so that a running send keeps its pace, and each one
// moves last_line forward in the same commit. That makes it resumable (the same file goes on behind last_line) and, with
// a row in changes for every line, takes it back exactly.

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
	Undo       *Undone `json:"undo,omitempty"`
}

// Undone counts what taking a change set back did so far.
type Undone struct {
	Before   int64 `json:"before"` // the changes from this number on are taken back
	Deleted  int64 `json:"deleted"`
	Restored int64 `json:"restored"`
	Left     int64 `json:"left"` // left alone, in whole or in part: changed since, or being mailed
}

// Import is a change set that is being applied.
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
}

// Row is one row of an import: its cells in the order of ImportSpec.Columns.
type Row struct {
	Line    int64
	Address string
	Key     string
	Cells   []string
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
	err = tx.QueryRowContext(ctx, "INSERT INTO lists (name, created_at) VALUES (?, ?) RETURNING id", name, s.millis()).Scan(&id)
	return id, true, err
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
		b, err := resolve(ctx, tx, im, rows)
		if err != nil {
			return err
		}
		if totals, err = s.advance(ctx, tx, im, last, b.totals); err != nil {
			return err
		}
		return b.write(ctx, s, tx)
	})
	if err != nil {
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

// Effect is what one row does, or would do, to its contact.
type Effect struct {
	Line       int64
	Address    string
	Key        string
	Op         string // create, update, touch, skip
	Was        string // the address before, where it changes
	Changes    []CellChange
	Listed     bool // the list gains the contact
	Agreed     bool // the contact was on the list without a consent on record, and the import brings one
	Repeated   bool // the address stood in an earlier row
	Suppressed bool

	target *target
}

// CellChange is one cell before and after.
type CellChange struct {
	Field contact.Field
	Old   string
	New   string
}

// Count adds one row's effect to the totals.
func (t *Totals) Count(e Effect) {
	switch {
	case e.Op == "create":
		t.Created++
	case e.Op == "skip":
		t.Skipped++
	case e.Op == "update" || e.Listed || e.Agreed:
		t.Updated++
	default:
		t.Unchanged++
	}
	if e.Suppressed && e.Op != "skip" {
		t.Suppressed++
	}
	if e.Repeated {
		t.Repeated++
	}
}

// Plan is a dry run: it says what an import would do with rows, and writes nothing.
type Plan struct {
	s  *Store
	im *Import
}

// PlanImport prepares a dry run of spec.
func (s *Store) PlanImport(ctx context.Context, spec ImportSpec) (*Plan, error) {
	im := &Import{spec: spec, Columns: slices.Clone(spec.Columns)}
	var err error
	if im.all, err = s.Fields(ctx); err != nil {
		return nil, err
	}
	var next int64 // the ids that new fields would get, near enough
	for _, f := range im.all {
		next = max(next, f.ID)
	}
	for i := range im.Columns {
		if im.Columns[i].ID == 0 {
			next++
			im.Columns[i].ID = next
			im.all = append(im.all, im.Columns[i])
		}
	}
	im.sort()
	if spec.List != "" {
		err := s.read.QueryRowContext(ctx, "SELECT id FROM lists WHERE name = ?", spec.List).Scan(&im.Totals.List)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("plan import: %w", explain(err))
		}
	}
	return &Plan{s, im}, nil
}

// Rows says what the import would do with rows. It does not remember the rows of earlier calls.
func (p *Plan) Rows(ctx context.Context, rows []Row) ([]Effect, error) {
	b, err := resolve(ctx, p.s.read, p.im, rows)
	if err != nil {
		return nil, fmt.Errorf("plan import: %w", explain(err))
	}
	return b.effects, nil
}

// target is a contact that rows of a batch lead to, as it was and as it will be.
type target struct {
	stored
	cells  map[int64]string // decoded when first needed
	made   bool             // created by this batch
	own    bool             // created or changed by an earlier row of this change set
	dirty  bool
	member bool
	agreed bool // a consent is on record for the import's list
}

// batch is what rows do, found before anything is written.
type batch struct {
	im      *Import
	effects []Effect
	targets map[string]*target
	fresh   []*target // in the order of their rows
	totals  Totals
	back    []string // keys that were forgotten and come back
}

// resolve finds each row's contact and what the row changes in it. A row sees the rows before it.
func resolve(ctx context.Context, q queryer, im *Import, rows []Row) (*batch, error) {
	b := &batch{im: im, effects: make([]Effect, 0, len(rows))}
	keys := make([]any, len(rows))
	for i, r := range rows {
		keys[i] = r.Key
	}
	var err error
	if b.targets, err = im.targets(ctx, q, keys); err != nil {
		return nil, err
	}
	if b.back, err = forgotten(ctx, q, keys); err != nil {
		return nil, err
	}
	blocked, err := suppressedKeys(ctx, q, keys)
	if err != nil {
		return nil, err
	}
	for _, key := range b.back {
		blocked[key] = true
	}
	cells := make([]string, len(im.order))
	for _, r := range rows {
		for i, column := range im.order {
			cells[i] = r.Cells[column]
		}
		e, err := b.resolveRow(r, cells)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", r.Line, err)
		}
		e.Suppressed = blocked[r.Key]
		b.totals.Count(e)
		b.effects = append(b.effects, e)
	}
	return b, nil
}

// resolveRow decides about one row; cells are in the order of sorted.
func (b *batch) resolveRow(r Row, cells []string) (Effect, error) {
	e := Effect{Line: r.Line, Address: r.Address, Key: r.Key, Op: "touch"}
	t := b.targets[r.Key]
	if t == nil {
		text, err := contact.EncodeRow(b.im.sorted, cells)
		t = &target{stored: stored{key: r.Key, address: r.Address, fields: text}, made: true, own: true, member: true, agreed: true}
		b.targets[r.Key] = t
		b.fresh = append(b.fresh, t)
		e.Op, e.Listed, e.target = "create", b.im.spec.List != "", t
		return e, err
	}
	e.target, e.Repeated = t, t.own
	if b.im.spec.OnDuplicate == OnDuplicateSkip && !t.own {
		e.Op = "skip"
		return e, nil
	}
	if err := b.im.merge(t, &e, cells); err != nil {
		return Effect{}, err
	}
	if b.im.spec.List != "" && !t.member {
		t.member, t.agreed, e.Listed = true, true, true
	}
	if b.im.spec.List != "" && !t.agreed && b.im.spec.Consent != (Consent{}) {
		t.agreed, e.Agreed = true, true
	}
	t.own = true
	if len(e.Changes) > 0 || e.Was != "" {
		e.Op, t.dirty = "update", true
	}
	return e, nil
}

// merge lays a row's cells over t and notes in e what changes.
func (im *Import) merge(t *target, e *Effect, cells []string) error {
	if t.address != e.Address {
		e.Was, t.address = t.address, e.Address
	}
	text, err := contact.EncodeRow(im.sorted, cells)
	if err != nil || text == t.fields {
		return err // equal: the common case of importing a file again
	}
	if t.cells == nil {
		if t.cells, err = contact.DecodeCells(t.fields); err != nil {
			return err
		}
	}
	for _, i := range contact.Changed(im.sorted, cells, t.cells, im.spec.Clears) {
		f := im.sorted[i]
		e.Changes = append(e.Changes, CellChange{f, t.cells[f.ID], cells[i]})
		t.cells[f.ID] = cells[i]
	}
	if len(e.Changes) > 0 {
		t.fields, err = contact.EncodeFields(im.all, t.cells)
	}
	return err
}

// targets reads the contacts that keys lead to.
func (im *Import) targets(ctx context.Context, q queryer, keys []any) (map[string]*target, error) {
	args := append([]any{im.ID, im.Totals.List, im.Totals.List}, keys...)
	rows, err := q.QueryContext(ctx, `SELECT c.id, c.key, c.address, c.fields, c.updated_at,
		EXISTS (SELECT 1 FROM changes AS h WHERE h.contact = c.id AND h.change_set = ?),
		EXISTS (SELECT 1 FROM memberships AS m WHERE m.contact = c.id AND m.list = ?),
		EXISTS (SELECT 1 FROM memberships AS m WHERE m.contact = c.id AND m.list = ? AND (m.consent_source <> '' OR m.consent_at IS NOT NULL OR m.consent_text <> ''))
		FROM contacts AS c WHERE c.key IN (`+placeholders(len(keys))+`)`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[string]*target, len(keys))
	for rows.Next() {
		t := &target{}
		if err := rows.Scan(&t.id, &t.key, &t.address, &t.fields, &t.updated, &t.own, &t.member, &t.agreed); err != nil {
			return nil, err
		}
		found[t.key] = t
	}
	return found, rows.Err()
}

// suppressedKeys is which of keys must not be mailed, for the address itself or for its domain.
func suppressedKeys(ctx context.Context, q queryer, keys []any) (map[string]bool, error) {
	blocked := map[string]bool{}
	if err := eachString(ctx, q, func(key string) { blocked[key] = true },
		"SELECT key FROM suppressions WHERE scope = 'address' AND key IN ("+placeholders(len(keys))+")", keys...); err != nil {
		return nil, err
	}
	domains := map[string]bool{}
	if err := eachString(ctx, q, func(key string) { domains[key] = true },
		"SELECT key FROM suppressions WHERE scope = 'domain'"); err != nil {
		return nil, err
	}
	if len(domains) == 0 {
		return blocked, nil
	}
	for _, key := range keys {
		key := key.(string)
		if domains[key[strings.LastIndexByte(key, '@')+1:]] {
			blocked[key] = true
		}
	}
	return blocked, nil
}

func eachString(ctx context.Context, q queryer, fn func(string), query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return err
		}
		fn(s)
	}
	return rows.Err()
}

// write puts the batch into tx: contacts, memberships, and a change for each row.
func (b *batch) write(ctx context.Context, s *Store, tx *sql.Tx) error {
	now := s.millis()
	if err := b.writeContacts(ctx, tx, now); err != nil {
		return err
	}
	if err := b.writeMemberships(ctx, tx, now); err != nil {
		return err
	}
	if err := s.restoreForgotten(ctx, tx, b.back, b.im.ID); err != nil {
		return err
	}
	return b.writeChanges(ctx, tx, now)
}

func (b *batch) writeContacts(ctx context.Context, tx *sql.Tx, now int64) error {
	id, err := lastContactID(ctx, tx)
	if err != nil {
		return err
	}
	args := make([]any, 0, 6*len(b.fresh))
	for _, t := range b.fresh {
		id++
		t.id, t.updated = id, now
		args = append(args, t.id, t.key, t.address, t.fields, now, now)
	}
	if err := insertMany(ctx, tx, "INSERT INTO contacts (id, key, address, fields, created_at, updated_at) VALUES ", 6, "", args); err != nil {
		return err
	}
	update, err := tx.PrepareContext(ctx, "UPDATE contacts SET address = ?, fields = ?, updated_at = ? WHERE id = ?")
	if err != nil {
		return err
	}
	defer update.Close()
	for i := range b.effects {
		if t := b.effects[i].target; t.dirty && !t.made {
			if _, err := update.ExecContext(ctx, t.address, t.fields, now, t.id); err != nil {
				return err
			}
			t.dirty = false
		}
	}
	return nil
}

// lastContactID is the highest id that a contact ever had, as far as the changes tell: an id is not given out again, so
// that an old change set never finds a stranger under it.
func lastContactID(ctx context.Context, tx *sql.Tx) (int64, error) {
	var inContacts, inChanges int64
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM contacts").Scan(&inContacts); err != nil {
		return 0, err
	}
	err := tx.QueryRowContext(ctx, "SELECT coalesce(max(contact), 0) FROM changes").Scan(&inChanges)
	return max(inContacts, inChanges), err
}

func (b *batch) writeMemberships(ctx context.Context, tx *sql.Tx, now int64) error {
	var args []any
	var at any
	c := b.im.spec.Consent
	if !c.At.IsZero() {
		at = c.At.UnixMilli()
	}
	for i := range b.effects {
		if e := &b.effects[i]; e.Listed || e.Agreed {
			args = append(args, b.im.Totals.List, e.target.id, now, c.Source, at, c.Text)
		}
	}
	return insertMany(ctx, tx, "INSERT INTO memberships (list, contact, since, consent_source, consent_at, consent_text) VALUES ", 6,
		` ON CONFLICT (list, contact) DO UPDATE SET consent_source = excluded.consent_source, consent_at = excluded.consent_at, consent_text = excluded.consent_text
		WHERE memberships.consent_source = '' AND memberships.consent_at IS NULL AND memberships.consent_text = ''`, args)
}

func (b *batch) writeChanges(ctx context.Context, tx *sql.Tx, now int64) error {
	var seq int64
	err := tx.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) FROM changes WHERE change_set = ?", b.im.ID).Scan(&seq)
	if err != nil {
		return err
	}
	args := make([]any, 0, 8*len(b.effects))
	for i := range b.effects {
		e := &b.effects[i]
		if e.Op == "skip" {
			continue
		}
		before, after, err := e.record(b.im.Totals.List, now)
		if err != nil {
			return err
		}
		if e.Op == "update" {
			e.target.updated = now // as the next row about the same contact finds it
		}
		seq++
		args = append(args, b.im.ID, seq, e.Line, e.target.id, e.target.key, e.Op, before, after)
	}
	return insertMany(ctx, tx, "INSERT INTO changes (change_set, seq, line, contact, key, op, before, after) VALUES ", 8, "", args)
}

// side is one side of a change, by field names: types and ids may change later, a cell's text does not. A created
// contact needs none: before it there was nothing, and its row holds what it became.
type side struct {
	Address string            `json:"address,omitempty"`
	Fields  map[string]string `json:"fields,omitempty"`
	List    int64             `json:"list,omitempty"`
	Consent int64             `json:"consent,omitempty"` // the list for which a consent was recorded
	Updated int64             `json:"updated,omitempty"` // when the contact was last changed
}

// record is the two sides of an effect as they are kept, nil where there is nothing to say.
func (e *Effect) record(list, now int64) (before, after any, err error) {
	if e.Op == "create" {
		return nil, nil, nil
	}
	var was, is side
	if e.Was != "" {
		was.Address, is.Address = e.Was, e.Address
	}
	if len(e.Changes) > 0 {
		was.Fields, is.Fields = map[string]string{}, map[string]string{}
		for _, c := range e.Changes {
			was.Fields[c.Field.Name], is.Fields[c.Field.Name] = c.Old, c.New
		}
	}
	if e.Op == "update" {
		was.Updated, is.Updated = e.target.updated, now
	}
	if e.Listed {
		is.List = list
	}
	if e.Agreed {
		is.Consent = list
	}
	if e.Op == "touch" && !e.Listed && !e.Agreed {
		return nil, nil, nil
	}
	b, err := json.Marshal(was)
	if err != nil {
		return nil, nil, err
	}
	a, err := json.Marshal(is)
	return string(b), string(a), err
}

// rowsAtOnce is how many rows one INSERT holds: more gain nothing, fewer cost a round through database/sql each.
const rowsAtOnce = 50

// insertMany inserts rows of width values each.
func insertMany(ctx context.Context, tx *sql.Tx, head string, width int, tail string, args []any) error {
	row := "(" + placeholders(width) + ")"
	whole := rowsAtOnce * width
	if len(args) >= whole {
		full, err := tx.PrepareContext(ctx, head+strings.Repeat(row+", ", rowsAtOnce-1)+row+tail)
		if err != nil {
			return err
		}
		defer full.Close()
		for ; len(args) >= whole; args = args[whole:] {
			if _, err := full.ExecContext(ctx, args[:whole]...); err != nil {
				return err
			}
		}
	}
	if len(args) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, head+strings.Repeat(row+", ", len(args)/width-1)+row+tail, args...)
	return err
}

// Sending reports whether a campaign is being sent right now, here or in another process: a long write then makes room.
func (s *Store) Sending(ctx context.Context) (bool, error) {
	var n int
	err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM campaigns WHERE state = 'sending' AND lease_holder <> '' AND lease_expires > ?", s.millis()).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for a running send: %w", explain(err))
	}
	return n > 0, nil
}
