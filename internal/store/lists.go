package store

import (
	"context"
	"fmt"
	"time"
)

// ListSize is a list and how many are on it.
type ListSize struct {
	Name      string
	Contacts  int64
	Consented int64 // of whom it is recorded how or when they agreed
	Created   time.Time
}

// ListSizes counts every list, by name.
func (s *Store) ListSizes(ctx context.Context) ([]ListSize, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT l.name, l.created_at, count(m.contact),
			count(CASE WHEN m.consent_source <> '' OR m.consent_at IS NOT NULL THEN 1 END)
		FROM lists AS l LEFT JOIN memberships AS m ON m.list = l.id GROUP BY l.id ORDER BY l.name`)
	if err != nil {
		return nil, fmt.Errorf("count the lists: %w", explain(err))
	}
	defer rows.Close()
	var all []ListSize
	for rows.Next() {
		var l ListSize
		var created int64
		if err := rows.Scan(&l.Name, &created, &l.Contacts, &l.Consented); err != nil {
			return nil, fmt.Errorf("count the lists: %w", err)
		}
		l.Created = timeOf(created)
		all = append(all, l)
	}
	return all, explain(rows.Err())
}
