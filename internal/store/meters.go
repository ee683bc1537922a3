package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mailer/internal/pace"
)

// The meters of limits are kept here, one for all processes: the slots of a limit that is kept even in paces, the counts of one that is
// counted in buckets, a share of a day in warmups. Which limits hold and what a meter means is package pace's.

// keepDays is for how long the days of a warm-up are kept.
const keepDays = 400

// Ahead is how far ahead a claim takes a slot: then its message is at hand when the slot comes. One whose slot is further away is
// refused, so that a process that dies takes no more than that with it.
const Ahead = 100 * time.Millisecond

// WarmupLimit is a day's share of the warm-up of a relay ("main"), or of a relay for one provider ("main gmail"): n on the day
// (2026-12-01) that ends at until. Without a limit (n < 0) the day is counted all the same, for it says how warm they are.
func WarmupLimit(name, day string, n int64, until time.Time) pace.Limit {
	return pace.Limit{Name: warmup + name + "/" + day, N: n, Until: until}
}

const warmup = "warmup "

// warmupOf takes the name of such a limit apart.
func warmupOf(limit string) (name, day string) {
	limit = strings.TrimPrefix(limit, warmup)
	i := max(0, strings.LastIndexByte(limit, '/'))
	return limit[:i], strings.TrimPrefix(limit[i:], "/")
}

// ask calls fn for each row of a query.
type ask func(fn func(row []driver.Value) error, query string, args ...any) error

// readMeter reads the meter of a limit.
func readMeter(l pace.Limit, now time.Time, each ask) (pace.Meter, error) {
	m := pace.Meter{Cells: map[int64]int64{}}
	count := func(row []driver.Value) error {
		cell, _ := row[0].(int64)
		m.Cells[cell], _ = row[1].(int64)
		return nil
	}
	if !l.Until.IsZero() {
		name, day := warmupOf(l.Name)
		return m, each(count, "SELECT 0, used FROM warmups WHERE name = ? AND day = ?", name, day)
	}
	if l.Smooth {
		err := each(func(row []driver.Value) error {
			next, _ := row[0].(int64)
			m.Next = time.UnixMicro(next)
			if holes, _ := row[1].(string); holes != noHoles {
				return json.Unmarshal([]byte(holes), &m.Holes)
			}
			return nil
		}, "SELECT next, holes FROM paces WHERE name = ?", l.Name)
		if err != nil || !l.Counted() {
			return m, err
		}
	}
	// The cells before are in no window any more.
	return m, each(count, "SELECT slot, used FROM buckets WHERE name = ? AND slot >= ?", l.Name, l.Cell(now.Add(-l.Per)))
}

// noHoles is what stands in the column when there are none.
const noHoles = "[]"

// Meters reads what limits have let through so far, by their names.
func (s *Store) Meters(ctx context.Context, limits []pace.Limit) (map[string]*pace.Meter, error) {
	each := func(fn func(row []driver.Value) error, query string, args ...any) error {
		return eachRow(ctx, s.read, func(rows *sql.Rows) error {
			row := make([]driver.Value, 2)
			if err := rows.Scan(&row[0], &row[1]); err != nil {
				return err
			}
			return fn(row)
		}, query, args...)
	}
	all := make(map[string]*pace.Meter, len(limits))
	for _, l := range limits {
		m, err := readMeter(l, s.now(), each)
		if err != nil {
			return nil, fmt.Errorf("read the meter of %s: %w", l.Name, explain(err))
		}
		all[l.Name] = &m
	}
	return all, nil
}

// WarmupDays returns what a relay ("main"), or a relay for one provider ("main gmail"), sent on the days it was warmed up, the first
// day first.
func (s *Store) WarmupDays(ctx context.Context, name string) ([]pace.Day, error) {
	var days []pace.Day
	err := eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var d pace.Day
		err := rows.Scan(&d.Date, &d.Sent)
		days = append(days, d)
		return err
	}, "SELECT day, used FROM warmups WHERE name = ? AND used > 0 ORDER BY day", name)
	if err != nil {
		return nil, fmt.Errorf("read the warm-up of %s: %w", name, explain(err))
	}
	return days, nil
}

// meters are the meters that one transaction needs: read when they are first asked for, written at its end.
type meters struct {
	d      *direct
	now    time.Time
	limits func(relay, lane string) []pace.Limit
	ways   map[way]*holding
	byName map[string]*metered
}

// way is which relay carries a message to which lane.
type way struct{ relay, lane string }

// metered is a meter with what the table knows of it.
type metered struct {
	pace.Meter
	limit   pace.Limit      // one of those that share it
	next    time.Time       // Next and Holes before the claims that are being made
	holes   []pace.Hole     //
	stored  map[int64]int64 // Cells as they are in the table
	changed bool
}

// holding is the limits that hold for the messages of a way, and their meters in the same order. Others may share the meters.
type holding struct {
	limits []pace.Held
	meters []*metered
}

func (r *Run) meters() *meters {
	m := &meters{d: r.d, now: r.s.now(), limits: r.limits}
	if m.limits != nil {
		m.ways, m.byName = map[way]*holding{}, map[string]*metered{}
	}
	return m
}

// of is the limits that hold for a message.
func (m *meters) of(relay, lane string) (*holding, error) {
	w := way{relay, lane}
	if all, ok := m.ways[w]; ok {
		return all, nil
	}
	all := &holding{}
	if m.limits == nil {
		return all, nil
	}
	for _, l := range m.limits(relay, lane) {
		i := slices.IndexFunc(all.limits, func(h pace.Held) bool { return h.Name == l.Name })
		if i >= 0 { // each message counts once
			all.limits[i].N = min(all.limits[i].N, l.N)
			continue
		}
		one := m.byName[l.Name]
		if one == nil {
			var err error
			if one, err = m.load(l); err != nil {
				return nil, err
			}
			m.byName[l.Name] = one
		}
		all.limits, all.meters = append(all.limits, pace.Held{Limit: l, Meter: &one.Meter}), append(all.meters, one)
	}
	m.ways[w] = all
	return all, nil
}

func (m *meters) load(l pace.Limit) (*metered, error) {
	meter, err := readMeter(l, m.now, m.d.query)
	one := &metered{Meter: meter, limit: l, stored: maps.Clone(meter.Cells)}
	one.mark()
	return one, err
}

// mark remembers how a meter is before claims are made.
func (one *metered) mark() {
	one.next, one.holes = one.Next, slices.Clone(one.Holes)
}

// slot is the place that a claim has under every limit that holds for it.
type slot struct {
	*holding
	from time.Time // when its message may leave
	next time.Time // when to ask again, if there is none; zero: there is one
	by   string    // the limit that has none
	lost bool      // the claim came to nothing
}

// take takes a slot for a message, unless there is none within Ahead.
func (m *meters) take(relay, lane string) (s slot, err error) {
	if s.holding, err = m.of(relay, lane); err != nil || len(s.limits) == 0 {
		return s, err
	}
	if s.look(m.now); s.next.IsZero() {
		s.count(m.now)
	}
	return s, nil
}

// look finds the first moment at which all limits let a message leave.
func (s *slot) look(now time.Time) {
	s.from, s.by = pace.Earliest(s.limits, now)
	if s.next = (time.Time{}); s.from.After(now.Add(Ahead)) {
		s.next = s.from.Add(-Ahead)
	}
	for _, h := range s.limits {
		// What leaves on the next day is of that day's share, which is not known before.
		if h.Until.After(now) && !s.from.Before(h.Until) && h.Until.After(s.next) {
			s.next, s.by = h.Until, h.Name
		}
	}
}

func (s *slot) count(now time.Time) {
	for i, h := range s.limits {
		h.Take(h.Meter, now, s.from)
		s.meters[i].changed = true
	}
}

// mark remembers how the meters are before claims are made.
func (m *meters) mark() {
	for _, one := range m.byName {
		one.mark()
	}
}

// takeAnew takes the slots of those claims that came to something, as if the others had never asked. Nobody has seen the slots yet,
// so the even ones move up.
func (m *meters) takeAnew(slots []slot) {
	for _, s := range slots {
		for _, h := range s.limits {
			h.GiveBack(h.Meter, s.from)
		}
	}
	for _, one := range m.byName {
		one.Next, one.Holes = one.next, slices.Clone(one.holes)
	}
	for i := range slots {
		if s := &slots[i]; !s.lost && len(s.limits) > 0 {
			s.look(m.now)
			s.count(m.now)
		}
	}
}

// giveBack gives counted limits back what a claim took whose message never left.
func (m *meters) giveBack(relay, lane string, at time.Time) error {
	if at.IsZero() {
		return nil
	}
	all, err := m.of(relay, lane)
	if err != nil {
		return err
	}
	for i, h := range all.limits {
		if !h.Until.IsZero() && at.Before(h.Until.AddDate(0, 0, -1)) {
			continue // it was taken from the share of the day before
		}
		h.GiveBack(h.Meter, at)
		all.meters[i].changed = true
	}
	return nil
}

// save writes what has changed.
func (m *meters) save() error {
	for _, one := range m.byName {
		if !one.changed {
			continue
		}
		if err := m.saveOne(one); err != nil {
			return err
		}
	}
	return nil
}

func (m *meters) saveOne(one *metered) error {
	if !one.limit.Until.IsZero() {
		return m.saveWarmup(one)
	}
	if one.limit.Smooth {
		if err := m.savePace(one); err != nil {
			return err
		}
	}
	if one.limit.Counted() {
		return m.saveCells(one)
	}
	return nil
}

func (m *meters) savePace(one *metered) error {
	holes := noHoles
	if len(one.Holes) > 0 {
		b, err := json.Marshal(one.Holes)
		if err != nil {
			return err
		}
		holes = string(b)
	}
	_, err := m.d.exec("INSERT INTO paces (name, next, holes) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET next = excluded.next, holes = excluded.holes",
		one.limit.Name, one.Next.UnixMicro(), holes)
	return err
}

func (m *meters) saveCells(one *metered) error {
	grown := false
	for cell, n := range one.Cells {
		had, ok := one.stored[cell]
		if ok && had == n {
			continue
		}
		grown = grown || !ok
		_, err := m.d.exec("INSERT INTO buckets (name, slot, used) VALUES (?, ?, ?) ON CONFLICT (name, slot) DO UPDATE SET used = excluded.used",
			one.limit.Name, cell, n)
		if err != nil {
			return err
		}
	}
	if !grown {
		return nil
	}
	// Twice as long as they count: a clock that is set back finds some of them again.
	_, err := m.d.exec("DELETE FROM buckets WHERE name = ? AND slot < ?", one.limit.Name, one.limit.Cell(m.now.Add(-2*one.limit.Per)))
	return err
}

func (m *meters) saveWarmup(one *metered) error {
	name, day := warmupOf(one.limit.Name)
	_, err := m.d.exec("INSERT INTO warmups (name, day, used) VALUES (?, ?, ?) ON CONFLICT (name, day) DO UPDATE SET used = excluded.used",
		name, day, one.Cells[0])
	if err != nil || len(one.stored) > 0 {
		return err
	}
	_, err = m.d.exec("DELETE FROM warmups WHERE name = ? AND day < ?", name, m.now.AddDate(0, 0, -keepDays).Format(time.DateOnly))
	return err
}
