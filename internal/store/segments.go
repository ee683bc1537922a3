package store

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mailer/internal/contact"
	"mailer/internal/segment"
)

// What one query over many conditions may hold. SQLite takes 2,000 columns and 32,766 arguments (sqlite.org/limits.html).
const (
	maxConditions = 200
	maxArguments  = 30000
)

// CountEach counts the contacts of each condition, many conditions in one pass over the contacts. step, which may be nil, hears
// how far a pass is.
func (s *Store) CountEach(ctx context.Context, conditions []Where, step func(done, total int64)) ([]int64, error) {
	return s.CountEachOf(ctx, Where{}, conditions, step)
}

// CountEachOf is CountEach among the contacts in w.
func (s *Store) CountEachOf(ctx context.Context, w Where, conditions []Where, step func(done, total int64)) ([]int64, error) {
	counts := make([]int64, 0, len(conditions))
	for batch := range batches(conditions) {
		got, err := s.count(ctx, each(batch, "count(CASE WHEN ", " THEN 1 END)"), len(batch), arguments(batch), w, step)
		if err != nil {
			return nil, fmt.Errorf("count contacts: %w", err)
		}
		counts = append(counts, got...)
	}
	return counts, nil
}

// MatchEach tells which of the conditions hold for the contact with this address key; ok is false when there is none.
func (s *Store) MatchEach(ctx context.Context, key string, conditions []Where) (holds []bool, ok bool, err error) {
	for batch := range batches(conditions) {
		row := s.read.QueryRowContext(ctx, "SELECT "+each(batch, "CASE WHEN ", " THEN 1 ELSE 0 END")+" FROM contacts AS c WHERE c.key = ?",
			append(arguments(batch), key)...)
		got := make([]bool, len(batch))
		err := scanAll(row, got)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("match contact: %w", explain(err))
		}
		holds = append(holds, got...)
	}
	return holds, true, nil
}

// each writes one column a condition.
func each(conditions []Where, before, after string) string {
	columns := make([]string, len(conditions))
	for i, w := range conditions {
		columns[i] = before + w.condition() + after
	}
	return strings.Join(columns, ", ")
}

// condition is the SQL of w in brackets, for everybody too.
func (w Where) condition() string {
	if w.SQL == "" {
		return "(1 = 1)"
	}
	return "(" + w.SQL + ")"
}

func arguments(conditions []Where) []any {
	var args []any
	for _, w := range conditions {
		args = append(args, w.Args...)
	}
	return args
}

func scanAll[T any](row *sql.Row, into []T) error {
	targets := make([]any, len(into))
	for i := range into {
		targets[i] = &into[i]
	}
	return row.Scan(targets...)
}

// batches cuts conditions so that each batch fits into one query.
func batches(conditions []Where) func(yield func([]Where) bool) {
	return func(yield func([]Where) bool) {
		start, args := 0, 0
		for i, w := range conditions {
			if i > start && (i-start == maxConditions || args+len(w.Args) > maxArguments) {
				if !yield(conditions[start:i]) {
					return
				}
				start, args = i, 0
			}
			args += len(w.Args)
		}
		if start < len(conditions) {
			yield(conditions[start:])
		}
	}
}

// maxSample bounds what a sample holds in memory.
const maxSample = 10000

// Sample picks n contacts in w, the same for the same seed. Each person's place is a hash of their address key and the
// seed, so that people who come or go elsewhere in the list hardly change who is picked.
func (s *Store) Sample(ctx context.Context, w Where, n int, seed string) ([]contact.Contact, error) {
	places, err := s.lowestPlaces(ctx, w, min(n, maxSample), seed)
	if err != nil || len(places) == 0 {
		return nil, err
	}
	order := make(map[int64]int, len(places))
	ids := make([]any, len(places))
	for i, p := range places {
		order[p.id], ids[i] = i, p.id
	}
	people := make([]contact.Contact, 0, len(places))
	in := Where{SQL: "c.id IN (" + placeholders(len(ids)) + ")", Args: ids}
	err = s.EachContact(ctx, in, func(c contact.Contact) error {
		people = append(people, c)
		return nil
	})
	slices.SortFunc(people, func(a, b contact.Contact) int { return order[a.ID] - order[b.ID] })
	return people, err
}

// place is where a contact stands in the order of a seed: sample(5, "seed") of the language is the first twentieth of it.
type place struct {
	hash [sha256.Size]byte
	id   int64
}

// lowestPlaces reads everybody in w once and keeps the n that stand first, in order.
func (s *Store) lowestPlaces(ctx context.Context, w Where, n int, seed string) ([]place, error) {
	if n <= 0 {
		return nil, nil
	}
	w, _, err := s.quicken(ctx, w)
	if err != nil {
		return nil, fmt.Errorf("sample contacts: %w", explain(err))
	}
	rows, err := s.read.QueryContext(ctx, "SELECT c.id, c.key FROM contacts AS c"+w.clause(), w.Args...)
	if err != nil {
		return nil, fmt.Errorf("sample contacts: %w", explain(err))
	}
	defer rows.Close()
	kept := &lastFirst{}
	for rows.Next() {
		var p place
		var key string
		if err := rows.Scan(&p.id, &key); err != nil {
			return nil, fmt.Errorf("sample contacts: %w", err)
		}
		p.hash = segment.Place(seed, key)
		if len(*kept) < n {
			heap.Push(kept, p)
		} else if bytes.Compare(p.hash[:], (*kept)[0].hash[:]) < 0 {
			(*kept)[0] = p
			heap.Fix(kept, 0)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("sample contacts: %w", explain(err))
	}
	places := []place(*kept)
	slices.SortFunc(places, func(a, b place) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	return places, nil
}

// lastFirst is a heap with the place on top that is given up next.
type lastFirst []place

func (h lastFirst) Len() int           { return len(h) }
func (h lastFirst) Less(i, j int) bool { return bytes.Compare(h[i].hash[:], h[j].hash[:]) > 0 }
func (h lastFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lastFirst) Push(x any)        { *h = append(*h, x.(place)) }
func (h *lastFirst) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	*h = (*h)[:last]
	return p
}
