package store

import (
	"context"
	"database/sql"
)

// look reads everything that the decisions about todo need.
func (u *undoing) look(ctx context.Context, todo []undoRow) error {
	var err error
	if u.fields, err = fields(ctx, u.tx); err != nil {
		return err
	}
	ids := make([]any, len(todo))
	for i, r := range todo {
		ids[i] = r.Contact
	}
	u.contacts = make(map[int64]stored, len(todo))
	var keys []any
	err = eachIn(ctx, u.tx, "SELECT id, key, address, fields, updated_at FROM contacts WHERE id IN ", nil, ids, func(rows *sql.Rows) error {
		var c stored
		err := rows.Scan(&c.id, &c.key, &c.address, &c.fields, &c.updated)
		u.contacts[c.id] = c
		keys = append(keys, c.key)
		return err
	})
	if err != nil {
		return err
	}
	u.mailing = map[string]bool{}
	err = eachIn(ctx, u.tx, "SELECT key FROM deliveries WHERE state IN ('pending', 'sending', 'deferred', 'uncertain') AND key IN ", nil, keys,
		scanString(func(key string) { u.mailing[key] = true }))
	if err != nil {
		return err
	}
	return u.lookAtOthers(ctx, ids)
}

// otherSet is a change set that stands, besides the one that is taken back.
type otherSet struct {
	list  int64 // 0: none
	since bool  // it did something after the one that is taken back began
}

// leaning is what other change sets that stand have to do with a contact.
type leaning struct {
	touched  bool            // one found it or changed it
	listed   bool            // a later one found it on the same list, or put it there
	unlisted bool            // a later one took it off the same list
	agreed   bool            // a later one recorded a consent for the same list
	address  bool            // a later one changed how the address is written
	fields   map[string]bool // those of which a later one changed the cell
}

// about is what others have to do with a contact; of most there is nothing to say.
func (u *undoing) about(contact int64) *leaning {
	l := u.leaning[contact]
	if l == nil {
		l = &leaning{}
		u.leaning[contact] = l
	}
	return l
}

// lookAtOthers finds out what other change sets have to do with the contacts, those that were taken back left out.
func (u *undoing) lookAtOthers(ctx context.Context, ids []any) error {
	u.leaning = map[int64]*leaning{}
	if err := u.readOthers(ctx); err != nil || len(u.others) == 0 {
		return err
	}
	err := eachIn(ctx, u.tx, changeColumns+" WHERE change_set <> ? AND op <> 'delete' AND contact IN ", []any{u.set.ID}, ids, func(rows *sql.Rows) error {
		c, was, is, err := scanChange(rows)
		if other, stands := u.others[c.Set]; err == nil && stands {
			u.lean(c.Contact, other, was, is)
		}
		return err
	})
	if err != nil {
		return err
	}
	wanted := idSet{}
	first, last := ids[0].(int64), ids[0].(int64)
	for _, id := range ids {
		id := id.(int64)
		wanted.add(id)
		first, last = min(first, id), max(last, id)
	}
	return eachRun(ctx, u.tx, func(r run) error {
		other, stands := u.others[r.set]
		if !stands || r.op == runSkip {
			return nil
		}
		for _, l := range r.lines {
			if wanted.has(l.contact) {
				u.lean(l.contact, other, side{}, side{})
			}
		}
		return nil
	}, "WHERE r.change_set <> ? AND r.first <= ? AND r.last >= ?", u.set.ID, last, first)
}

// lean notes what one change of another set says of a contact.
func (u *undoing) lean(contact int64, other otherSet, was, is side) {
	l := u.about(contact)
	sameList := other.since && other.list != 0 && other.list == u.set.Totals.List
	if was.Member != nil { // who is gone is off every list: that leans on nothing
		l.unlisted = l.unlisted || sameList
		return
	}
	l.touched = true
	l.listed = l.listed || sameList
	if !other.since {
		return
	}
	l.agreed = l.agreed || sameList && is.Consent != 0
	l.address = l.address || is.Address != ""
	for name := range is.Fields {
		if l.fields == nil {
			l.fields = map[string]bool{}
		}
		l.fields[name] = true
	}
}

// readOthers reads which other change sets stand. One that was over before this one began has no later word, unlike one with a
// lower number that ran beside it.
func (u *undoing) readOthers(ctx context.Context) error {
	u.others = map[int64]otherSet{}
	return eachRow(ctx, u.tx, func(rows *sql.Rows) error {
		var set int64
		var o otherSet
		err := rows.Scan(&set, &o.list, &o.since)
		u.others[set] = o
		return err
	}, `SELECT id, coalesce(json_extract(totals, '$.list'), 0), id > ? OR finished_at IS NULL OR finished_at > ? FROM change_sets
		WHERE id <> ? AND state <> 'undone'`, u.set.ID, u.set.Created.UnixMilli(), u.set.ID)
}
