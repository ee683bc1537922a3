package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The states of a schedule.
const (
	SchedulePlanned = "planned"
	ScheduleBegun   = "begun"  // claimed by a process that is about to freeze the campaign, or frozen
	ScheduleMissed  = "missed" // its time passed while nobody looked, and it was not to be sent late
)

// Schedule is a campaign that is to begin at a time. What it sends was checked when it was planned and stands in it; who gets it is
// seen when it begins.
type Schedule struct {
	Name        string // the campaign's id
	Class       string
	ContentHash string
	Content     string // JSON of campaign.Content
	Segment     string // the audience as it was asked for, for people
	Options     string // JSON of what freezes with it
	Request     string // JSON of all that was asked for
	Recipients  int64  // how many would have been sent a message when it was planned
	At          time.Time
	Late        time.Duration // how much later it may still begin
	State       string
	Created     time.Time
	Holder      string // who begins it right now, while its lease lasts; empty: nobody
	Claim       string // of Begin: what freezes it
}

// Errors of schedules.
var (
	ErrNotPlanned = errors.New("the campaign is not planned")
	ErrBegun      = errors.New("the campaign has begun")
	ErrHeld       = errors.New("another process does it right now")
)

const scheduleColumns = `name, class, content_hash, content, segment, options, request, recipients, at, late, state, created_at,
	CASE WHEN holder_until > ? THEN holder ELSE '' END, claim`

func scanSchedule(row interface{ Scan(...any) error }) (Schedule, error) {
	var c Schedule
	var at, late, created int64
	err := row.Scan(&c.Name, &c.Class, &c.ContentHash, &c.Content, &c.Segment, &c.Options, &c.Request, &c.Recipients, &at, &late,
		&c.State, &created, &c.Holder, &c.Claim)
	c.At, c.Late, c.Created = timeOf(at), time.Duration(late)*time.Millisecond, timeOf(created)
	return c, err
}

// Schedule plans a campaign, or plans it anew. ErrBegun when it has begun already, ErrBusy when it begins at this moment.
func (s *Store) Schedule(ctx context.Context, c Schedule, gone func(holder string) bool) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		var begun int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM campaigns WHERE name = ?", c.Name).Scan(&begun); err != nil {
			return err
		}
		if begun > 0 {
			return ErrBegun
		}
		if err := s.notBeginning(ctx, tx, c.Name, gone); err != nil && !errors.Is(err, ErrNotPlanned) {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM schedules WHERE name = ?", c.Name); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO schedules (name, class, content_hash, content, segment, options, request, recipients, at, late, state, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'planned', ?)`,
			c.Name, c.Class, c.ContentHash, c.Content, c.Segment, c.Options, c.Request, c.Recipients, c.At.UnixMilli(), c.Late.Milliseconds(), s.millis())
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, "campaign.plan", map[string]any{"campaign": c.Name, "content": c.ContentHash, "segment": c.Segment, "at": c.At.UTC().Format(time.RFC3339)})
	})
	if err != nil {
		return fmt.Errorf("plan campaign %s: %w", c.Name, err)
	}
	return nil
}

// notBeginning is ErrBusy while a living process is about to freeze a planned campaign, and ErrNotPlanned when there is none that has
// not begun.
func (s *Store) notBeginning(ctx context.Context, tx *sql.Tx, name string, gone func(holder string) bool) error {
	var state, holder string
	var until int64
	err := tx.QueryRowContext(ctx, "SELECT state, holder, holder_until FROM schedules WHERE name = ? AND campaign IS NULL", name).Scan(&state, &holder, &until)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotPlanned
	}
	if err == nil && state == ScheduleBegun && until > s.millis() && !gone(holder) {
		return fmt.Errorf("%w (%s)", ErrBusy, HolderName(holder))
	}
	return err
}

// Scheduled returns the plan of a campaign that has not begun (ErrNotPlanned when there is none).
func (s *Store) Scheduled(ctx context.Context, name string) (Schedule, error) {
	c, err := scanSchedule(s.read.QueryRowContext(ctx, "SELECT "+scheduleColumns+" FROM schedules WHERE name = ? AND campaign IS NULL", s.millis(), name))
	if errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("%w: %q", ErrNotPlanned, name)
	}
	if err != nil {
		return c, fmt.Errorf("read the plan of %s: %w", name, explain(err))
	}
	return c, nil
}

// Schedules returns what is planned, what is about to begin and what was missed, in the order of their times; without the contents, which
// may be large and are asked for each minute.
func (s *Store) Schedules(ctx context.Context) ([]Schedule, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT "+strings.Replace(scheduleColumns, " content,", " '',", 1)+" FROM schedules WHERE campaign IS NULL ORDER BY at, id", s.millis())
	if err != nil {
		return nil, fmt.Errorf("read what is planned: %w", explain(err))
	}
	defer rows.Close()
	var all []Schedule
	for rows.Next() {
		c, err := scanSchedule(rows)
		if err != nil {
			return nil, fmt.Errorf("read what is planned: %w", err)
		}
		all = append(all, c)
	}
	return all, explain(rows.Err())
}

// Begin claims a planned campaign whose time has come, in one transaction: of two processes one gets it. What a process left that died
// before it froze the campaign is claimed again, whatever the clock says by then; gone says whether it has ended. ErrBusy when a living
// process has it, ErrNotPlanned when it is not planned any more, or for another time.
func (s *Store) Begin(ctx context.Context, name string, at time.Time, holder string, ttl time.Duration, gone func(holder string) bool) (Schedule, error) {
	var c Schedule
	err := s.update(ctx, func(tx *sql.Tx) error {
		if err := s.notBeginning(ctx, tx, name, gone); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `UPDATE schedules SET state = 'begun', claim = ?, holder = ?, holder_until = ?
			WHERE name = ? AND campaign IS NULL AND at = ? AND (state = 'planned' AND at <= ? OR state = 'begun')`,
			rand.Text(), holder, s.now().Add(ttl).UnixMilli(), name, at.UnixMilli(), s.millis())
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrNotPlanned)
		}
		c, err = scanSchedule(tx.QueryRowContext(ctx, "SELECT "+scheduleColumns+" FROM schedules WHERE name = ?", s.millis(), name))
		return err
	})
	if err != nil {
		return c, fmt.Errorf("begin campaign %s: %w", name, err)
	}
	return c, nil
}

// Unbegin puts a claimed campaign back on the plan: it could not be frozen, and the next run tries again.
func (s *Store) Unbegin(ctx context.Context, c Schedule) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE schedules SET state = 'planned', claim = '', holder = '', holder_until = 0 WHERE name = ? AND campaign IS NULL AND claim = ?", c.Name, c.Claim)
		return err
	})
	if err != nil {
		return fmt.Errorf("put campaign %s back on the plan: %w", c.Name, err)
	}
	return nil
}

// Miss notes that a planned campaign was not begun in time. False: it was begun, moved or noted meanwhile.
func (s *Store) Miss(ctx context.Context, c Schedule, gone func(holder string) bool) (bool, error) {
	var n int64
	err := s.update(ctx, func(tx *sql.Tx) error {
		err := s.notBeginning(ctx, tx, c.Name, gone)
		if errors.Is(err, ErrBusy) || errors.Is(err, ErrNotPlanned) {
			return nil
		}
		if err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `UPDATE schedules SET state = 'missed', claim = '', holder = '', holder_until = 0
			WHERE name = ? AND campaign IS NULL AND at = ? AND state <> 'missed'`, c.Name, c.At.UnixMilli())
		if err != nil {
			return err
		}
		if n, err = res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return s.audit(ctx, tx, "campaign.missed", map[string]any{"campaign": c.Name, "at": c.At.UTC().Format(time.RFC3339)})
	})
	if err != nil {
		return false, fmt.Errorf("note that campaign %s was missed: %w", c.Name, err)
	}
	return n == 1, nil
}

// Unschedule takes a campaign that has not begun off the plan.
func (s *Store) Unschedule(ctx context.Context, name string, gone func(holder string) bool) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		if err := s.notBeginning(ctx, tx, name, gone); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM schedules WHERE name = ?", name); err != nil {
			return err
		}
		return s.audit(ctx, tx, "campaign.unplan", map[string]any{"campaign": name})
	})
	if err != nil {
		return fmt.Errorf("take campaign %s off the plan: %w", name, err)
	}
	return nil
}

// leavePlan goes with the freezing of a campaign: a claimed one has begun for good, unless it was taken from us in the meantime. One
// that is sent by hand is planned no more.
func (s *Store) leavePlan(ctx context.Context, tx *sql.Tx, c Campaign) error {
	if c.Claim == "" {
		_, err := tx.ExecContext(ctx, "DELETE FROM schedules WHERE name = ?", c.Name)
		return err
	}
	res, err := tx.ExecContext(ctx, `UPDATE schedules SET campaign = ?, content = '', claim = '', holder = '', holder_until = 0
		WHERE name = ? AND campaign IS NULL AND state = 'begun' AND claim = ?`, c.ID, c.Name, c.Claim)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("%w: its plan was taken over a moment ago", ErrBusy))
	}
	return nil
}

// RequestOf is what was asked for when a campaign was planned, as JSON; empty when it was sent by hand.
func (s *Store) RequestOf(ctx context.Context, campaign int64) (string, error) {
	var text string
	err := s.read.QueryRowContext(ctx, "SELECT request FROM schedules WHERE campaign = ?", campaign).Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read how a campaign was planned: %w", explain(err))
	}
	return text, nil
}

// Going is a campaign that has begun and has not ended, nor is paused.
type Going struct {
	Campaign int64
	Name     string
	Holder   string // who sends it right now, while its lease lasts
	Expires  time.Time
	Open     bool      // somebody is pending or deferred
	Next     time.Time // when the first of them can be tried; zero: now
	Loose    bool      // somebody is marked as being sent to
	Held     time.Time // nobody is sent to before then: it is seen what came of the canary
	ByHand   bool      // a person ended its last run: only those who were deferred are tried again
}

// Going lists the campaigns that somebody may have to go on with, in the order in which they began.
func (s *Store) Going(ctx context.Context) ([]Going, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, name, CASE WHEN lease_expires > ? THEN lease_holder ELSE '' END, expires_at,
		(SELECT min(next_try) FROM deliveries WHERE campaign = campaigns.id AND state IN ('pending','deferred')),
		CASE WHEN by_hand THEN (SELECT min(next_try) FROM deliveries WHERE campaign = campaigns.id AND state IN ('pending','deferred') AND next_try > 0) END,
		EXISTS (SELECT 1 FROM deliveries WHERE campaign = campaigns.id AND state = 'sending'), CASE stage WHEN 'hold' THEN held_until ELSE 0 END, by_hand
		FROM campaigns WHERE state = 'sending' ORDER BY id`, s.millis())
	if err != nil {
		return nil, fmt.Errorf("read what goes on: %w", explain(err))
	}
	defer rows.Close()
	var all []Going
	for rows.Next() {
		var g Going
		var expires, held int64
		var next, deferred sql.NullInt64
		if err := rows.Scan(&g.Campaign, &g.Name, &g.Holder, &expires, &next, &deferred, &g.Loose, &held, &g.ByHand); err != nil {
			return nil, fmt.Errorf("read what goes on: %w", err)
		}
		g.Expires, g.Open, g.Next, g.Held = timeOf(expires), next.Valid, timeOf(next.Int64), timeOf(held)
		if g.ByHand && g.Open {
			g.Next = g.Expires // nobody before that, unless somebody was deferred
			if deferred.Valid {
				g.Next = timeOf(deferred.Int64)
			}
		}
		all = append(all, g)
	}
	return all, explain(rows.Err())
}

// Lease is the right to do what one process at a time does.
type Lease struct {
	s           *Store
	name, claim string
	ttl         time.Duration
}

// Lease takes a lease. ErrHeld when a living process holds it; of one that has ended, which gone says, it falls at once.
func (s *Store) Lease(ctx context.Context, name, holder string, ttl time.Duration, gone func(holder string) bool) (*Lease, error) {
	l := &Lease{s: s, name: name, claim: rand.Text(), ttl: ttl}
	err := s.update(ctx, func(tx *sql.Tx) error {
		var have string
		var expires int64
		err := tx.QueryRowContext(ctx, "SELECT holder, expires FROM leases WHERE name = ?", name).Scan(&have, &expires)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err == nil && expires > s.millis() && !gone(have) {
			return fmt.Errorf("%w (%s)", ErrHeld, HolderName(have))
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO leases (name, claim, holder, expires) VALUES (?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET claim = excluded.claim, holder = excluded.holder, expires = excluded.expires`,
			name, l.claim, holder, s.now().Add(ttl).UnixMilli())
		return err
	})
	if errors.Is(err, ErrHeld) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("take the lease of %s: %w", name, err)
	}
	return l, nil
}

// Renew keeps the lease for another while. ErrLeaseLost: another process has it.
func (l *Lease) Renew(ctx context.Context) error {
	err := l.s.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE leases SET expires = ? WHERE name = ? AND claim = ?", l.s.now().Add(l.ttl).UnixMilli(), l.name, l.claim)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrLeaseLost)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("renew the lease of %s: %w", l.name, err)
	}
	return nil
}

// Release gives the lease back.
func (l *Lease) Release(ctx context.Context) error {
	err := l.s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM leases WHERE name = ? AND claim = ?", l.name, l.claim)
		return err
	})
	if err != nil {
		return fmt.Errorf("give the lease of %s back: %w", l.name, err)
	}
	return nil
}
