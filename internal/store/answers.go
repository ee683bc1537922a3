package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// What the checks before a send found out is kept in meta for a while: "MILLIS TEXT", MILLIS is until when it holds.

const answers = "answers:" // followed by what names the question

// Answer is what is kept under a name, unless it is too old.
func (s *Store) Answer(ctx context.Context, name string) (text string, ok bool, err error) {
	var value string
	err = s.read.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = ?", answers+name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read what was asked before: %w", explain(err))
	}
	until, text, _ := strings.Cut(value, " ")
	millis, err := strconv.ParseInt(until, 10, 64)
	now := s.millis()
	if err != nil || now >= millis || millis > now+int64(keepAnswer/time.Millisecond) { // the clock was set back
		return "", false, nil
	}
	return text, true, nil
}

// keepAnswer is for how long an answer holds.
const keepAnswer = time.Hour

// KeepAnswer keeps a text under a name for an hour, and drops what is too old.
func (s *Store) KeepAnswer(ctx context.Context, name, text string) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM meta WHERE name >= ? AND name < ? AND CAST(substr(value, 1, 13) AS INTEGER) <= ?", answers, "answers;", s.millis()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
			answers+name, fmt.Sprintf("%d %s", s.millis()+int64(keepAnswer/time.Millisecond), text))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep what was asked: %w", err)
	}
	return nil
}

// Sent is when messages of a campaign were accepted, by provider.
type Sent map[string]map[int64]int64 // provider -> Slot -> messages

// Slot is how finely Sent counts.
const Slot = 10 * time.Minute

// AddSent adds what a campaign has sent to the recipients of known providers.
func (s *Store) AddSent(ctx context.Context, campaign int64, to Sent) error {
	err := eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var slot, n int64
		var domain string
		if err := rows.Scan(&slot, &domain, &n); err != nil {
			return err
		}
		lane := s.providers.Lane(domain)
		if _, known := s.providers.Provider(lane); !known {
			return nil
		}
		if to[lane] == nil {
			to[lane] = map[int64]int64{}
		}
		to[lane][slot] += n
		return nil
	}, `SELECT at / ?, domain, count(*) FROM (
			SELECT d.updated_at AS at, d.domain FROM deliveries AS d WHERE d.campaign = ? AND d.state = 'accepted'
			UNION ALL
			SELECT max(a.at), d.domain FROM deliveries AS d JOIN attempts AS a ON a.delivery = d.id AND a.outcome = 'accepted'
				WHERE d.campaign = ? AND d.state IN ('bounced','complained') GROUP BY d.id
		) AS sent GROUP BY 1, 2`, Slot.Milliseconds(), campaign, campaign)
	if err != nil {
		return fmt.Errorf("count what was sent: %w", explain(err))
	}
	return nil
}

// Fullest is how many messages the fullest time of a length had, for each provider.
func (s Sent) Fullest(length time.Duration) map[string]int64 {
	all := map[string]int64{}
	for lane, slots := range s {
		for first := range slots {
			var n int64
			for at := first; at < first+int64(length/Slot); at++ {
				n += slots[at]
			}
			all[lane] = max(all[lane], n)
		}
	}
	return all
}

// Froms calls fn with the number of every campaign and the From addresses of its documents.
func (s *Store) Froms(ctx context.Context, fn func(campaign int64, from []string)) error {
	err := eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var id int64
		var from string
		if err := rows.Scan(&id, &from); err != nil {
			return err
		}
		fn(id, strings.Split(from, "\n"))
		return nil
	}, `SELECT c.id, coalesce((SELECT group_concat(coalesce(json_extract(v.value, '$.front.from'), json_extract(c.content, '$.sender.from'), ''), char(10))
			FROM json_each(c.content, '$.variants') AS v), '') FROM campaigns AS c WHERE json_valid(c.content)`)
	if err != nil {
		return fmt.Errorf("read the campaigns' senders: %w", explain(err))
	}
	return nil
}
