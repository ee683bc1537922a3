package store

import (
	"context"
	"fmt"

	"mailer/internal/segment"
)

// Vocabulary is what expressions may speak of: the fields, the lists and the campaigns that were sent. Now and Location
// are the caller's to set.
func (s *Store) Vocabulary(ctx context.Context) (segment.Schema, error) {
	v := segment.Schema{FewOnList: map[int64]bool{}, FewInCampaign: map[int64]bool{}}
	var err error
	if v.Fields, err = s.Fields(ctx); err != nil {
		return v, err
	}
	if v.Lists, err = s.Lists(ctx); err != nil {
		return v, err
	}
	if v.Campaigns, err = s.campaignIDs(ctx); err != nil {
		return v, err
	}
	few, err := s.fewContacts(ctx)
	if err != nil {
		return v, err
	}
	for _, id := range v.Lists {
		if v.FewOnList[id], err = s.fewer(ctx, few, "SELECT 1 FROM memberships WHERE list = ? LIMIT ?", id); err != nil {
			return v, err
		}
	}
	for _, id := range v.Campaigns {
		if v.FewInCampaign[id], err = s.fewer(ctx, few, "SELECT 1 FROM deliveries WHERE campaign = ? LIMIT ?", id); err != nil {
			return v, err
		}
	}
	return v, nil
}

func (s *Store) campaignIDs(ctx context.Context) (map[string]int64, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT name, id FROM campaigns")
	if err != nil {
		return nil, fmt.Errorf("read campaigns: %w", explain(err))
	}
	defer rows.Close()
	ids := map[string]int64{}
	for rows.Next() {
		var name string
		var id int64
		if err := rows.Scan(&name, &id); err != nil {
			return nil, fmt.Errorf("read campaigns: %w", err)
		}
		ids[name] = id
	}
	return ids, explain(rows.Err())
}

// fewContacts is how many of the contacts are few: a tenth, near enough, and never so many that counting up to them takes
// longer than a moment.
func (s *Store) fewContacts(ctx context.Context) (int64, error) {
	var last int64
	if err := s.read.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM contacts").Scan(&last); err != nil {
		return 0, fmt.Errorf("count contacts: %w", explain(err))
	}
	return min(last/10, 100_000), nil
}

// fewer reports whether a query, limited by its last argument, has fewer rows than n.
func (s *Store) fewer(ctx context.Context, n int64, query string, id int64) (bool, error) {
	var found int64
	err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM ("+query+") AS some", id, n).Scan(&found)
	if err != nil {
		return false, fmt.Errorf("count the people of a list: %w", explain(err))
	}
	return found < n, nil
}
