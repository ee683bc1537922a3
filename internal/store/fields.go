package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"mailer/internal/contact"
)

// queryer is what reads the same from the pool of readers and from within a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Fields lists every field of the workspace in the order in which they came.
func (s *Store) Fields(ctx context.Context) ([]contact.Field, error) {
	return fields(ctx, s.read)
}

func fields(ctx context.Context, q queryer) ([]contact.Field, error) {
	rows, err := q.QueryContext(ctx, "SELECT id, name, type, role, declared FROM fields ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("read fields: %w", explain(err))
	}
	defer rows.Close()
	var all []contact.Field
	for rows.Next() {
		var f contact.Field
		if err := rows.Scan(&f.ID, &f.Name, &f.Type, &f.Role, &f.Declared); err != nil {
			return nil, fmt.Errorf("read fields: %w", err)
		}
		all = append(all, f)
	}
	return all, explain(rows.Err())
}

// Lists is every list's id by its name.
func (s *Store) Lists(ctx context.Context) (map[string]int64, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT name, id FROM lists")
	if err != nil {
		return nil, fmt.Errorf("read lists: %w", explain(err))
	}
	defer rows.Close()
	lists := map[string]int64{}
	for rows.Next() {
		var name string
		var id int64
		if err := rows.Scan(&name, &id); err != nil {
			return nil, fmt.Errorf("read lists: %w", err)
		}
		lists[name] = id
	}
	return lists, explain(rows.Err())
}

// addFields makes the fields that are new and returns all of them with their ids.
func (s *Store) addFields(ctx context.Context, tx *sql.Tx, add []contact.Field) ([]int64, error) {
	var ids []int64
	for _, f := range add {
		var id int64
		err := tx.QueryRowContext(ctx,
			"INSERT INTO fields (name, type, role, declared, created_at) VALUES (?, ?, ?, ?, ?) RETURNING id",
			f.Name, f.Type, f.Role, f.Declared, s.millis()).Scan(&id)
		if err != nil {
			return nil, fmt.Errorf("add field %q: %w", f.Name, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// FieldStat says how much a field holds.
type FieldStat struct {
	Values  int64  // contacts with a value
	Example string // the value of the first of them
}

// FieldStats looks through all contacts and counts the values of each field, by its id. step, which may be nil, hears how
// far it is.
func (s *Store) FieldStats(ctx context.Context, step func(done, total int64)) (map[int64]FieldStat, error) {
	total, err := s.CountContacts(ctx, Where{})
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT fields FROM contacts")
	if err != nil {
		return nil, fmt.Errorf("count values: %w", explain(err))
	}
	defer rows.Close()
	stats := map[int64]FieldStat{}
	for done := int64(1); rows.Next(); done++ {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("count values: %w", err)
		}
		cells, err := contact.DecodeCells(text)
		if err != nil {
			return nil, fmt.Errorf("count values: %w", err)
		}
		for id, cell := range cells {
			st := stats[id]
			if st.Values++; st.Values == 1 {
				st.Example = cell
			}
			stats[id] = st
		}
		if step != nil && done%rewriteChunk == 0 {
			step(done, total)
		}
	}
	return stats, explain(rows.Err())
}

// FieldChange tells what SetField or DeleteField did.
type FieldChange struct {
	Field     contact.Field
	Created   bool
	Rewritten int64  // contacts whose stored value was brought to the new type, or erased
	RoleFrom  string // the field that had the role before
}

// FieldMisfit says why a field cannot take a type: values that do not fit it.
type FieldMisfit struct {
	Name    string
	Type    contact.Type
	Count   int64
	Example string // a cell
	Address string // whose
}

func (e *FieldMisfit) Error() string {
	return fmt.Sprintf("field %q cannot become a %s: %d contacts hold something else, %s for one holds %q; %snothing was changed",
		e.Name, e.Type, e.Count, e.Address, e.Example, contact.WayOut(e.Type, e.Example))
}

// rewriteChunk is how many contacts a type change holds in memory at a time.
const rewriteChunk = 500

// SetField declares the type of a field ("" leaves it), and its role (nil leaves it), and makes the field when there is
// none. The stored values are rewritten in the same transaction: a field whose rows are half of one type would compare
// wrongly. The error is a *FieldMisfit when a value does not fit; then nothing is changed. A role belongs to one field:
// another one that has it loses it.
func (s *Store) SetField(ctx context.Context, name string, typ contact.Type, role *contact.Role, step func(done int64)) (FieldChange, error) {
	var change FieldChange
	err := s.update(ctx, func(tx *sql.Tx) error {
		change = FieldChange{}
		all, err := fields(ctx, tx)
		if err != nil {
			return err
		}
		detail := map[string]any{"field": name}
		i := slices.IndexFunc(all, func(f contact.Field) bool { return f.Name == name })
		if i < 0 {
			f := contact.Field{Name: name, Type: cmp.Or(typ, contact.Text), Role: freeRole(all, contact.RoleOf(name)), Declared: typ != ""}
			ids, err := s.addFields(ctx, tx, []contact.Field{f})
			if err != nil {
				return err
			}
			f.ID, change.Created = ids[0], true
			all, i = append(all, f), len(all)
			detail["created"] = true
		}
		f := &all[i]
		if typ != "" {
			detail["from"], detail["to"] = f.Type, typ
			before := f.Type
			f.Type, f.Declared = typ, true
			if _, err := tx.ExecContext(ctx, "UPDATE fields SET type = ?, declared = 1 WHERE id = ?", typ, f.ID); err != nil {
				return err
			}
			if before != typ {
				if err := s.freeToRewrite(ctx, tx); err != nil {
					return err
				}
				if change.Rewritten, err = rewriteField(ctx, tx, all, *f, step); err != nil {
					return err
				}
			}
			detail["contacts"] = change.Rewritten
		}
		if role != nil {
			detail["role"] = *role
			if change.RoleFrom, err = moveRole(ctx, tx, all, f, *role); err != nil {
				return err
			}
		}
		change.Field = *f
		return s.audit(ctx, tx, "fields.set", detail)
	})
	if err != nil {
		return FieldChange{}, fmt.Errorf("set field %q: %w", name, err)
	}
	return change, nil
}

// freeToRewrite makes sure that nobody sends while every contact is written anew in one transaction: at a million of them a send
// would wait for longer than it has patience, and stop with messages of which nobody knows whether they went out.
func (s *Store) freeToRewrite(ctx context.Context, tx *sql.Tx) error {
	busy, err := s.sendingNow(ctx, tx)
	if err != nil || !busy {
		return err
	}
	var all int64
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM contacts").Scan(&all); err != nil || all <= s.sizes.rewrite {
		return err
	}
	return errors.New("a campaign is being sent right now, and would have to stop: run the same command when it is done, or pause it (mailer campaigns pause)")
}

// freeRole is role, if no field has it.
func freeRole(all []contact.Field, role contact.Role) contact.Role {
	if slices.ContainsFunc(all, func(f contact.Field) bool { return f.Role == role }) {
		return contact.NoRole
	}
	return role
}

// moveRole gives f a role and takes it from the field that had it, whose name it returns.
func moveRole(ctx context.Context, tx *sql.Tx, all []contact.Field, f *contact.Field, role contact.Role) (from string, err error) {
	for _, other := range all {
		if role == contact.NoRole || other.Role != role || other.ID == f.ID {
			continue
		}
		if _, err := tx.ExecContext(ctx, "UPDATE fields SET role = '' WHERE id = ?", other.ID); err != nil {
			return "", err
		}
		from = other.Name
	}
	f.Role = role
	_, err = tx.ExecContext(ctx, "UPDATE fields SET role = ? WHERE id = ?", role, f.ID)
	return from, err
}

// Why a field cannot be deleted.
var (
	ErrFieldHolds = errors.New("contacts have values in it")
	ErrFieldInUse = errors.New("the field is in use")
)

// DeleteField deletes a field that holds nothing, or, with erase, what it holds too.
func (s *Store) DeleteField(ctx context.Context, f contact.Field, erase bool, step func(done int64)) (FieldChange, error) {
	var change FieldChange
	err := s.update(ctx, func(tx *sql.Tx) error {
		change = FieldChange{Field: f}
		var campaign string
		err := tx.QueryRowContext(ctx, "SELECT name FROM campaigns WHERE state IN ('sending', 'paused') ORDER BY id LIMIT 1").Scan(&campaign)
		if err == nil {
			return fmt.Errorf("%w: campaign %s is not finished and may print it", ErrFieldInUse, campaign)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		all, err := fields(ctx, tx)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(x contact.Field) bool { return x.ID == f.ID })
		err = eachHolder(ctx, tx, f, step, func(c stored, cells map[int64]string) error {
			if !erase {
				return fmt.Errorf("%w: %s for one holds %q", ErrFieldHolds, c.address, cells[f.ID])
			}
			delete(cells, f.ID)
			change.Rewritten++
			return saveCells(ctx, tx, all, c, cells)
		})
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM fields WHERE id = ?", f.ID); err != nil {
			return err
		}
		return s.audit(ctx, tx, "fields.delete", map[string]any{"field": f.Name, "type": f.Type, "contacts": change.Rewritten})
	})
	if err != nil {
		return FieldChange{}, fmt.Errorf("delete field %q: %w", f.Name, err)
	}
	return change, nil
}

// rewriteField encodes every contact's fields again where f has a value.
func rewriteField(ctx context.Context, tx *sql.Tx, all []contact.Field, f contact.Field, step func(done int64)) (int64, error) {
	misfit := &FieldMisfit{Name: f.Name, Type: f.Type}
	var done int64
	err := eachHolder(ctx, tx, f, step, func(c stored, cells map[int64]string) error {
		cell := cells[f.ID]
		if !contact.Fits(f.Type, cell) {
			if misfit.Count++; misfit.Count == 1 {
				misfit.Example, misfit.Address = cell, c.address
			}
			return nil
		}
		done++
		if misfit.Count > 0 {
			return nil // nothing will be changed
		}
		return saveCells(ctx, tx, all, c, cells)
	})
	if err == nil && misfit.Count > 0 {
		err = misfit
	}
	return done, err
}

// eachHolder calls fn for every contact that has a value in f. step hears how many contacts were looked at.
func eachHolder(ctx context.Context, tx *sql.Tx, f contact.Field, step func(done int64), fn func(c stored, cells map[int64]string) error) error {
	var last, seen int64
	for {
		chunk, err := contactsAfter(ctx, tx, last, rewriteChunk)
		if err != nil || len(chunk) == 0 {
			return err
		}
		last = chunk[len(chunk)-1].id
		for _, c := range chunk {
			cells, err := contact.DecodeCells(c.fields)
			if err != nil {
				return err
			}
			if _, has := cells[f.ID]; !has {
				continue
			}
			if err := fn(c, cells); err != nil {
				return err
			}
		}
		if seen += int64(len(chunk)); step != nil {
			step(seen)
		}
	}
}

func saveCells(ctx context.Context, tx *sql.Tx, all []contact.Field, c stored, cells map[int64]string) error {
	text, err := contact.EncodeFields(all, cells)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE contacts SET fields = ? WHERE id = ?", text, c.id)
	return err
}

// stored is a row of contacts as it lies there.
type stored struct {
	id      int64
	key     string
	address string
	fields  string
	updated int64
}

func contactsAfter(ctx context.Context, tx *sql.Tx, last int64, n int) ([]stored, error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, key, address, fields, updated_at FROM contacts WHERE id > ? ORDER BY id LIMIT ?", last, n)
	if err != nil {
		return nil, err
	}
	return scanStored(rows)
}

func scanStored(rows *sql.Rows) ([]stored, error) {
	defer rows.Close()
	var all []stored
	for rows.Next() {
		var c stored
		if err := rows.Scan(&c.id, &c.key, &c.address, &c.fields, &c.updated); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}
