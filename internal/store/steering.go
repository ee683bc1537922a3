package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// What a run keeps of how it goes, and how it is stopped.

// LaneStates returns how relays ("relay main") and receiving providers ("lane gmail") take our mail, as SaveLane was told. Who is not
// in it takes it freely.
func (s *Store) LaneStates(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	err := eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var name, state string
		err := rows.Scan(&name, &state)
		all[name] = state
		return err
	}, "SELECT name, state FROM lanes")
	if err != nil {
		return nil, fmt.Errorf("read how receivers take the mail: %w", explain(err))
	}
	return all, nil
}

// keepLanes is for how long it is kept how one took our mail.
const keepLanes = 30 * 24 * time.Hour

// SaveLane keeps, as JSON, how a relay or a receiving provider takes our mail; empty: freely. It is true whoever holds the lease, and
// for all campaigns.
func (r *Run) SaveLane(name, state string) error {
	ctx := context.Background()
	err := r.s.update(ctx, func(tx *sql.Tx) error {
		now := r.s.now()
		_, err := tx.ExecContext(ctx, "DELETE FROM lanes WHERE updated_at < ? OR name = ? AND ? = ''", now.Add(-keepLanes).UnixMilli(), name, state)
		if err != nil || state == "" {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO lanes (name, state, updated_at) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
			name, state, now.UnixMilli())
		return err
	})
	return wrap("keep how "+name+" takes the mail", err)
}

// Heard is what a mailbox told of a campaign.
type Heard struct {
	At     time.Time
	Domain string
	Kind   string // "hard" (a dead address) or "complaint"
}

// Heard returns what was heard of the campaign after an event, and the last event by now.
func (r *Run) Heard(ctx context.Context, after int64) ([]Heard, int64, error) {
	var all []Heard
	var last int64
	err := r.s.read.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM events").Scan(&last)
	if err == nil {
		err = eachRow(ctx, r.s.read, func(rows *sql.Rows) error {
			var h Heard
			var at int64
			err := rows.Scan(&at, &h.Domain, &h.Kind)
			h.At = timeOf(at)
			all = append(all, h)
			return err
		}, heard, after, last, r.campaign)
	}
	if err != nil {
		return nil, after, fmt.Errorf("read what came back: %w", explain(err))
	}
	return all, max(after, last), nil
}

// Events are found by their ids: the new ones are few, whichever campaign they are of.
const heard = `SELECT e.at, d.domain, CASE e.kind WHEN 'bounce' THEN 'hard' ELSE e.kind END FROM events AS e JOIN deliveries AS d ON d.id = e.delivery
	WHERE e.id > ? AND e.id <= ? AND e.campaign = ? AND e.kind IN ('bounce','complaint') ORDER BY e.id`

// keepFrozen notes what a commit, now that it is one, said of frozen providers.
func (r *Run) keepFrozen() {
	for _, did := range r.now {
		if did.froze != nil {
			r.froze = append(r.froze, *did.froze)
		}
		if r.frozen == nil {
			r.frozen = map[string]bool{}
		}
		r.frozen[did.held.Lane] = true
	}
}

// Froze hands over, once, the providers whose cleaning froze because they refused too many in this run.
func (r *Run) Froze() []Freeze {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := r.froze
	r.froze = nil
	return news
}

// Frozen lists the freezes that hold back what was refused in this run, as they stand now.
func (r *Run) Frozen(ctx context.Context) ([]Freeze, error) {
	r.mu.Lock()
	lanes := maps.Clone(r.frozen)
	r.mu.Unlock()
	if len(lanes) == 0 {
		return nil, nil
	}
	all, err := r.s.Freezes(ctx, false)
	return slices.DeleteFunc(all, func(f Freeze) bool { return !lanes[f.Lane] }), err
}

// The stages of a campaign with a canary.
const (
	StageCanary = "canary" // a sample is sent to
	StageHold   = "hold"   // until it is seen what came of that
	StageRest   = "rest"   // everybody else
)

// Stage keeps how far a campaign with a canary has come; until is when a hold ends.
func (r *Run) Stage(ctx context.Context, stage string, until time.Time) error {
	held := int64(0)
	if !until.IsZero() {
		held = until.UnixMilli()
	}
	err := r.s.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE campaigns SET stage = ?, held_until = ? WHERE id = ? AND lease_token = ?", stage, held, r.campaign, r.token)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err == nil && n == 0 {
			return ErrLeaseLost
		}
		return err
	})
	return wrap("keep how far the campaign is", err)
}

// ByHand keeps whether a person ended this run: then those who were never tried wait for a person's next word.
func (r *Run) ByHand(ctx context.Context, yes bool) error {
	err := r.s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE campaigns SET by_hand = ? WHERE id = ? AND lease_token = ? AND by_hand <> ?", yes, r.campaign, r.token, yes)
		return err
	})
	return wrap("keep who ended the run", err)
}

// Resumed is when somebody last resumed the campaign; zero: nobody did.
func (r *Run) Resumed(ctx context.Context) (last time.Time, err error) {
	var name string
	if err := r.s.read.QueryRowContext(ctx, "SELECT name FROM campaigns WHERE id = ?", r.campaign).Scan(&name); err != nil {
		return last, fmt.Errorf("read when the campaign was resumed: %w", explain(err))
	}
	err = eachRow(ctx, r.s.read, func(rows *sql.Rows) error {
		var at int64
		var text string
		if err := rows.Scan(&at, &text); err != nil {
			return err
		}
		var detail struct{ Campaign string }
		if err := json.Unmarshal([]byte(text), &detail); err != nil {
			return err
		}
		if detail.Campaign == name {
			last = timeOf(at)
		}
		return nil
	}, "SELECT at, detail FROM audit WHERE action = ? ORDER BY id", "campaign."+CampaignSending)
	return last, wrap("read when the campaign was resumed", err)
}

// Stop pauses the campaign with a note that says why, until somebody resumes it. One that is paused or cancelled already stays as it is.
func (r *Run) Stop(ctx context.Context, note string) error {
	err := r.s.update(ctx, func(tx *sql.Tx) error {
		var name, state string
		err := tx.QueryRowContext(ctx, "SELECT name, state FROM campaigns WHERE id = ? AND lease_token = ?", r.campaign, r.token).Scan(&name, &state)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrLeaseLost
		}
		if err != nil || state != CampaignSending {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE campaigns SET state = ?, note = ? WHERE id = ?", CampaignPaused, note, r.campaign); err != nil {
			return err
		}
		return r.s.audit(ctx, tx, "campaign."+CampaignPaused, map[string]any{"campaign": name, "note": note})
	})
	return wrap("stop the campaign", err)
}

// Quota is how many of a sample are to be of some domains; without any, of those that no other quota names and that are not in Not.
type Quota struct {
	Domains, Not []string
	N            int64
}

// Sample picks the deliveries of a sample among all that are not excluded: of each quota those whose ids hash lowest. So it is the same
// after a restart, when some have been sent, and it is spread over the whole list, in whatever order that was imported.
func (r *Run) Sample(ctx context.Context, quotas []Quota) ([]int64, error) {
	named := map[string]int{}
	for i, q := range quotas {
		for _, d := range q.Domains {
			if _, taken := named[d]; !taken {
				named[d] = i
			}
		}
	}
	quotaOf := func(domain string) int {
		if i, ok := named[domain]; ok {
			return i
		}
		return slices.IndexFunc(quotas, func(q Quota) bool { return len(q.Domains) == 0 && !slices.Contains(q.Not, domain) })
	}
	picked := make([]lowest, len(quotas))
	var domain sql.RawBytes
	err := eachRow(ctx, r.s.read, func(rows *sql.Rows) error {
		var id int64
		if err := rows.Scan(&id, &domain); err != nil {
			return err
		}
		i, ok := named[string(domain)]
		if !ok {
			i = quotaOf(string(domain))
			named[string(domain)] = i
		}
		if i >= 0 {
			picked[i].offer(id, quotas[i].N)
		}
		return nil
	}, "SELECT id, domain FROM deliveries WHERE campaign = ? AND state <> 'excluded'", r.campaign)
	if err != nil {
		return nil, fmt.Errorf("pick a sample: %w", explain(err))
	}
	var ids []int64
	for i := range picked {
		ids = append(ids, picked[i].ids(quotas[i].N)...)
	}
	slices.Sort(ids)
	return ids, nil
}

// lowest keeps the ids that hash lowest.
type lowest struct {
	all   []hashed
	bound uint64 // nothing above it is among the lowest; 0: not known
}

type hashed struct {
	hash uint64
	id   int64
}

// offer adds an id. Now and then what is not among the n lowest is thrown out: at twice as many, so that each costs a constant time.
func (l *lowest) offer(id, n int64) {
	h := hashed{mix(uint64(id)), id}
	if l.bound > 0 && h.hash > l.bound || n <= 0 {
		return
	}
	if l.all = append(l.all, h); int64(len(l.all)) >= 2*n+1000 {
		l.all = l.first(n)
		l.bound = l.all[n-1].hash
	}
}

func (l *lowest) first(n int64) []hashed {
	slices.SortFunc(l.all, func(a, b hashed) int { return cmp.Compare(a.hash, b.hash) })
	return l.all[:min(int64(len(l.all)), max(0, n))]
}

func (l *lowest) ids(n int64) []int64 {
	var ids []int64
	for _, h := range l.first(n) {
		ids = append(ids, h.id)
	}
	return ids
}

// mix is a permutation of the numbers that leaves no trace of their order (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
