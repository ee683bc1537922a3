package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mailer/internal/contact"
)

// Effect is what one row does, or would do, to its contact.
type Effect struct {
	Line       int64
	Address    string
	Key        string
	Op         string // create, update, touch, skip; unlist: the list loses the contact, which has no line
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
	case e.Op == "unlist":
		t.Unlisted++
		return
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

// Rows is how many rows the totals stand for.
func (t *Totals) Rows() int64 { return t.Created + t.Updated + t.Unchanged + t.Skipped }

// Plan is a dry run: it says what an import would do with rows, and writes nothing.
type Plan struct {
	s    *Store
	im   *Import
	seen idSet // contacts that rows led to
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
	return &Plan{s: s, im: im}, nil
}

// Rows says what the import would do with rows. It does not remember the rows of earlier calls.
func (p *Plan) Rows(ctx context.Context, rows []Row) ([]Effect, error) {
	blocked, _, err := blockedKeys(ctx, p.s.read, keysOf(rows))
	if err != nil {
		return nil, fmt.Errorf("plan import: %w", explain(err))
	}
	b, err := resolve(ctx, p.s.read, p.im, rows, blocked)
	if err != nil {
		return nil, fmt.Errorf("plan import: %w", explain(err))
	}
	for _, e := range b.effects {
		p.seen.add(e.target.id) // 0 for those who are new
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
}

// resolve finds each row's contact and what the row changes in it. A row sees the rows before it.
func resolve(ctx context.Context, q queryer, im *Import, rows []Row, blocked map[string]bool) (*batch, error) {
	b := &batch{im: im, effects: make([]Effect, 0, len(rows))}
	var err error
	if b.targets, err = im.targets(ctx, q, rows); err != nil {
		return nil, err
	}
	for _, r := range rows {
		e, err := b.resolveRow(r)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", r.Line, err)
		}
		e.Suppressed = blocked[r.Key]
		b.totals.Count(e)
		b.effects = append(b.effects, e)
	}
	return b, nil
}

// resolveRow decides about one row.
func (b *batch) resolveRow(r Row) (Effect, error) {
	e := Effect{Line: r.Line, Address: r.Address, Key: r.Key, Op: "touch"}
	if r.Fields == "" {
		text, err := b.im.AppendFields(nil, r.Cells)
		if err != nil {
			return e, err
		}
		r.Fields = string(text)
	}
	t := b.targets[r.Key]
	if t == nil {
		t = &target{stored: stored{key: r.Key, address: r.Address, fields: r.Fields}, made: true, own: true, member: true, agreed: true}
		b.targets[r.Key] = t
		b.fresh = append(b.fresh, t)
		e.Op, e.Listed, e.target = "create", b.im.spec.List != "", t
		return e, nil
	}
	e.target, e.Repeated = t, t.own
	if b.im.spec.OnDuplicate == OnDuplicateSkip && !t.own {
		e.Op = "skip"
		return e, nil
	}
	if err := b.im.merge(t, &e, r); err != nil {
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
func (im *Import) merge(t *target, e *Effect, r Row) error {
	if t.address != e.Address {
		e.Was, t.address = t.address, e.Address
	}
	if r.Fields == t.fields {
		return nil // the common case of importing a file again
	}
	var err error
	if t.cells == nil {
		if t.cells, err = contact.DecodeCells(t.fields); err != nil {
			return err
		}
	}
	cells := make([]string, len(im.order))
	for i, column := range im.order {
		cells[i] = r.Cells[column]
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

// targets reads the contacts that the keys of rows lead to.
func (im *Import) targets(ctx context.Context, q queryer, rows []Row) (map[string]*target, error) {
	query, args := "SELECT c.id, c.key, c.address, c.fields, c.updated_at, 0, 0 FROM contacts AS c WHERE c.key IN ", []any(nil)
	if im.spec.List != "" {
		query = `SELECT c.id, c.key, c.address, c.fields, c.updated_at, m.contact IS NOT NULL, m.consent_source <> '' OR m.consent_at IS NOT NULL OR m.consent_text <> ''
			FROM contacts AS c LEFT JOIN memberships AS m ON m.list = ? AND m.contact = c.id WHERE c.key IN `
		args = []any{im.Totals.List}
	}
	found := make(map[string]*target, len(rows))
	err := eachIn(ctx, q, query, args, keysOf(rows), func(r *sql.Rows) error {
		t := &target{}
		var agreed sql.NullBool
		if err := r.Scan(&t.id, &t.key, &t.address, &t.fields, &t.updated, &t.member, &agreed); err != nil {
			return err
		}
		t.own, t.agreed = im.own.has(t.id), agreed.Bool
		found[t.key] = t
		return nil
	})
	return found, err
}

func keysOf(rows []Row) []any {
	keys := make([]any, len(rows))
	for i, r := range rows {
		keys[i] = r.Key
	}
	return keys
}

// blockedKeys is which of keys must not be mailed, and which of them belong to people who were forgotten and come back.
func blockedKeys(ctx context.Context, q queryer, keys []any) (blocked map[string]bool, back []string, err error) {
	if blocked, err = suppressedKeys(ctx, q, keys); err != nil || blocked == nil {
		return nil, nil, err
	}
	if back, err = forgotten(ctx, q, keys); err != nil {
		return nil, nil, err
	}
	for _, key := range back {
		blocked[key] = true
	}
	return blocked, back, nil
}

// suppressedKeys is which of keys must not be mailed, for the address itself or for its domain.
func suppressedKeys(ctx context.Context, q queryer, keys []any) (map[string]bool, error) {
	var any bool
	if err := q.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM suppressions)").Scan(&any); err != nil || !any {
		return nil, err
	}
	blocked := map[string]bool{}
	if err := eachIn(ctx, q, "SELECT key FROM suppressions WHERE scope = 'address' AND key IN ", nil, keys, scanString(func(key string) { blocked[key] = true })); err != nil {
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
	return eachRow(ctx, q, scanString(fn), query, args...)
}

func scanString(fn func(string)) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var s string
		err := rows.Scan(&s)
		fn(s)
		return err
	}
}

// inAtOnce is how many values one IN holds: as with rowsAtOnce, many more cost more each.
const inAtOnce = 100

// eachIn runs a query that ends in IN for values, some at a time, and calls fn for every row that it finds.
func eachIn(ctx context.Context, q queryer, query string, args, values []any, fn func(*sql.Rows) error) error {
	args = args[:len(args):len(args)]
	for len(values) > 0 {
		n := min(len(values), inAtOnce)
		if err := eachRow(ctx, q, fn, query+"("+placeholders(n)+")", append(args, values[:n]...)...); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

func eachRow(ctx context.Context, q queryer, fn func(*sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// side is one side of a change, by field names: types and ids may change later, a cell's text does not.
type side struct {
	Address string            `json:"address,omitempty"`
	Fields  map[string]string `json:"fields,omitempty"`
	List    int64             `json:"list,omitempty"`
	Consent int64             `json:"consent,omitempty"` // the list for which a consent was recorded
	Updated int64             `json:"updated,omitempty"` // when the contact was last changed
	Member  *membership       `json:"member,omitempty"`  // a place on a list that was taken away
	Void    bool              `json:"void,omitempty"`    // it is not to be given back: whoever gave it took it back
}

// membership is a row of memberships but for its contact.
type membership struct {
	List   int64  `json:"list"`
	Since  int64  `json:"since"`
	Source string `json:"source,omitempty"`
	At     *int64 `json:"at,omitempty"`
	Text   string `json:"text,omitempty"`
}

// run is the op of the run that an effect fits into, "" where it needs a row of its own.
func (e *Effect) run() string {
	switch {
	case e.Op == "create":
		return runCreate
	case e.Op == "skip":
		return runSkip
	case e.Op == "touch" && !e.Listed && !e.Agreed:
		return runTouch
	case e.Op == "touch" && e.Listed:
		return runJoin
	}
	return ""
}

// record is the two sides of an effect as they are kept.
func (e *Effect) record(list, now int64) (before, after string, err error) {
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
	b, err := json.Marshal(was)
	if err != nil {
		return "", "", err
	}
	a, err := json.Marshal(is)
	return string(b), string(a), err
}
