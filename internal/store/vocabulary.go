package store

import (
	"context"
	"fmt"

	"mailer/internal/segment"
)

// Vocabulary is what expressions may speak of: the fields, the lists and the campaigns that were sent. Now and Location
// are the caller's to set. It is good for as long as ctx.
func (s *Store) Vocabulary(ctx context.Context) (segment.Schema, error) {
	v := segment.Schema{
		FewOnList:     func(id int64) bool { return s.few(ctx, "SELECT 1 FROM memberships WHERE list = ?", id) },
		FewInCampaign: func(id int64) bool { return s.few(ctx, "SELECT 1 FROM deliveries WHERE campaign = ?", id) },
	}
	var err error
	if v.Fields, err = s.Fields(ctx); err != nil {
		return v, err
	}
	if v.Lists, err = s.Lists(ctx); err != nil {
		return v, err
	}
	v.Campaigns, err = s.campaignIDs(ctx)
	return v, err
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

// fewAtMost bounds what counts as few, and with it how long it takes to find out.
const fewAtMost = 50_000

// few reports whether a query has so few rows, less than a tenth of the contacts, that to go through them is shorter than
// to look everybody up among them. When in doubt it says no.
func (s *Store) few(ctx context.Context, query string, id int64) bool {
	var last, found int64
	if s.read.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM contacts").Scan(&last) != nil {
		return false
	}
	most := min(last/10, fewAtMost)
	err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM ("+query+" LIMIT ?) AS some", id, most).Scan(&found)
	return err == nil && found < most
}
