package store

import (
	"context"
	"database/sql/driver"
	"time"
)

// Limit is a long rate (hours, days) that holds over restarts and over all processes: at most N in any Per, counted in
// the table buckets. Short rates are kept smooth within a process; see package send.
type Limit struct {
	Bucket string // what is limited, such as the relay's name
	N      int64
	Per    time.Duration
}

// slots is into how many parts a window is counted. A part that lies only partly in the window counts whole, so that the
// limit is never passed; the price is at most one part in sixty at its edge.
const slots = 60

func (l Limit) slot(at time.Time) int64 { return at.UnixMilli() / (l.Per.Milliseconds() / slots) }

func (l Limit) name() string { return l.Bucket + "/" + l.Per.String() }

// allowance is how many may go now under all limits, and when the next can go if none may.
func (s *Store) allowance(d *direct, limits []Limit) (free int64, next time.Time, err error) {
	now := s.now()
	free = 1 << 62
	for _, l := range limits {
		first := l.slot(now.Add(-l.Per))
		var used, oldest int64
		err := d.query(func(row []driver.Value) error {
			used, _ = row[0].(int64)
			oldest, _ = row[1].(int64)
			return nil
		}, "SELECT sum(used), min(slot) FROM buckets WHERE name = ? AND slot >= ? AND used > 0", l.name(), first)
		if err != nil {
			return 0, next, err
		}
		free = min(free, max(0, l.N-used))
		if used >= l.N {
			// The oldest part leaves the window when its successor is the first that counts.
			at := time.UnixMilli((oldest + 1) * (l.Per.Milliseconds() / slots)).Add(l.Per)
			if at.After(next) {
				next = at
			}
		}
	}
	return free, next, nil
}

// spend counts n messages against the limits, and forgets what no window holds any more.
func (s *Store) spend(ctx context.Context, tx execer, limits []Limit, n int64) error {
	if n == 0 {
		return nil
	}
	now := s.now()
	for _, l := range limits {
		if _, err := tx.ExecContext(ctx, "INSERT INTO buckets (name, slot, used) VALUES (?, ?, ?) ON CONFLICT (name, slot) DO UPDATE SET used = used + excluded.used",
			l.name(), l.slot(now), n); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM buckets WHERE name = ? AND slot < ?", l.name(), l.slot(now.Add(-2*l.Per))); err != nil {
			return err
		}
	}
	return nil
}
