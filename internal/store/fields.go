package store

import (
	"context"
	"database/sql"
	"fmt"

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

// FieldChange tells what SetFieldType did.
type FieldChange struct {
	Field     contact.Field
	Created   bool
	Rewritten int64 // contacts whose stored value was brought to the new type
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
	return fmt.Sprintf("field %q cannot become a %s: %d contacts hold something else, %s for one holds %q; nothing was changed",
		e.Name, e.Type, e.Count, e.Address, e.Example)
}

// rewriteChunk is how many contacts a type change holds in memory at a time.
const rewriteChunk = 500

// SetFieldType declares the type of a field, and makes the field when there is none. The stored values are rewritten in
// the same transaction: a field whose rows are half of one type would compare wrongly. The error is a *FieldMisfit when
// a value does not fit; then nothing is changed.
func (s *Store) SetFieldType(ctx context.Context, name string, typ contact.Type) (FieldChange, error) {
	var change FieldChange
	err := s.update(ctx, func(tx *sql.Tx) error {
		change = FieldChange{Field: contact.Field{Name: name, Type: typ, Role: contact.RoleOf(name), Declared: true}}
		all, err := fields(ctx, tx)
		if err != nil {
			return err
		}
		before := contact.Type("")
		for i := range all {
			if all[i].Name == name {
				before, all[i].Type = all[i].Type, typ
				change.Field.ID, change.Field.Role = all[i].ID, all[i].Role
			}
		}
		if change.Field.ID == 0 {
			change.Created = true
			ids, err := s.addFields(ctx, tx, []contact.Field{change.Field})
			if err != nil {
				return err
			}
			change.Field.ID = ids[0]
		} else if _, err := tx.ExecContext(ctx, "UPDATE fields SET type = ?, declared = 1 WHERE id = ?", typ, change.Field.ID); err != nil {
			return err
		}
		if !change.Created && before != typ {
			if change.Rewritten, err = rewriteField(ctx, tx, all, change.Field); err != nil {
				return err
			}
		}
		return s.audit(ctx, tx, "fields.set", map[string]any{"field": name, "from": before, "to": typ, "contacts": change.Rewritten})
	})
	if err != nil {
		return FieldChange{}, fmt.Errorf("set field %q: %w", name, err)
	}
	return change, nil
}

// rewriteField encodes every contact's fields again where f has a value.
func rewriteField(ctx context.Context, tx *sql.Tx, all []contact.Field, f contact.Field) (int64, error) {
	misfit := &FieldMisfit{Name: f.Name, Type: f.Type}
	var done, last int64
	for {
		chunk, err := contactsAfter(ctx, tx, last, rewriteChunk)
		if err != nil {
			return 0, err
		}
		if len(chunk) == 0 {
			break
		}
		last = chunk[len(chunk)-1].id
		for _, c := range chunk {
			cells, err := contact.DecodeCells(c.fields)
			if err != nil {
				return 0, err
			}
			cell, has := cells[f.ID]
			switch {
			case !has:
				continue
			case !contact.Fits(f.Type, cell):
				if misfit.Count++; misfit.Count == 1 {
					misfit.Example, misfit.Address = cell, c.address
				}
				continue
			}
			text, err := contact.EncodeFields(all, cells)
			if err != nil {
				return 0, err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE contacts SET fields = ? WHERE id = ?", text, c.id); err != nil {
				return 0, err
			}
			done++
		}
	}
	if misfit.Count > 0 {
		return 0, misfit
	}
	return done, nil
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
