package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/suppression"
)

// cleaner is the transaction in which a refusal or a mail is acted on: one of database/sql, or that of a run's own connection.
type cleaner struct {
	execer
	ask func(fn func(row []driver.Value) error, query string, args ...any) error
}

func cleanerOf(ctx context.Context, tx *sql.Tx) cleaner {
	return cleaner{tx, func(fn func([]driver.Value) error, query string, args ...any) error {
		return eachRow(ctx, tx, func(rows *sql.Rows) error {
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			row, into := make([]driver.Value, len(columns)), make([]any, len(columns))
			for i := range row {
				into[i] = (*any)(&row[i])
			}
			if err := rows.Scan(into...); err != nil {
				return err
			}
			return fn(row)
		}, query, args...)
	}}
}

// number asks for one number; without a row, or NULL, it is 0.
func (c cleaner) number(query string, args ...any) (n int64, err error) {
	err = c.ask(func(row []driver.Value) error {
		n, _ = row[0].(int64)
		return nil
	}, query, args...)
	return n, err
}

// subject is whose address a refusal or a mail is about.
type subject struct {
	delivery, campaign, bounce int64
	key, domain                string
}

// cleaned is what came of it.
type cleaned struct {
	suppressed string  // the reason of a suppression that was added
	held       *Freeze // its suppression is held back
	froze      *Freeze // this one was one too many
}

// Freeze is a provider whose dead addresses are not believed for a time.
type Freeze struct {
	ID       int64
	Lane     string
	Began    time.Time
	Until    time.Time
	Released time.Time // by a person; zero: not
	Word     string    // what the person said: suppress or keep
	Dead, Of int64     // when it began: so many of so many recipients
	Held     int64     // suppressions that are held back
	Domains  []string  // when it begins: whose suppressions of the window were taken back
}

// Active reports whether it holds at a time.
func (f Freeze) Active(now time.Time) bool { return f.Released.IsZero() && now.Before(f.Until) }

// Why says it in a sentence.
func (f Freeze) Why() string {
	return fmt.Sprintf("%d of %d recipients at %s turned out dead within a short time", f.Dead, f.Of, f.Lane)
}

// died suppresses a dead address, unless dead addresses are kept or its provider is frozen. Where it is the one too many, the provider
// freezes, and what it has cost in the window is held back with it.
func (s *Store) died(ctx context.Context, c cleaner, who subject, evidence string) (cleaned, error) {
	if s.policy.KeepDead {
		return cleaned{}, nil
	}
	lane := s.providers.Lane(who.domain)
	frozen, err := s.frozen(c, lane)
	if err != nil {
		return cleaned{}, err
	}
	if frozen != nil {
		_, err := c.ExecContext(ctx, `INSERT INTO held (freeze, key, evidence, delivery, bounce, created_at) VALUES (?, ?, ?, ?, nullif(?, 0), ?)
			ON CONFLICT (key) DO NOTHING`, frozen.ID, who.key, evidence, who.delivery, who.bounce, s.millis())
		return cleaned{held: frozen}, err
	}
	var out cleaned
	added, err := s.suppress(ctx, c, Suppression{Scope: suppression.ScopeAddress, Key: who.key, Blocks: suppression.BlocksAll, Reason: suppression.HardBounce,
		Evidence: evidence, Delivery: who.delivery, Bounce: who.bounce})
	if err != nil || !added {
		return out, err
	}
	out.suppressed = suppression.HardBounce
	if _, err := c.ExecContext(ctx, "DELETE FROM held WHERE key = ?", who.key); err != nil { // of a freeze that is over
		return out, err
	}
	if out.froze, err = s.burst(ctx, c, lane, who.campaign); out.froze != nil {
		out.suppressed, out.held = "", out.froze
	}
	return out, err
}

const freezeColumns = "f.id, f.lane, f.began, f.until, f.released, f.word, f.dead, f.of"

// frozen is the freeze that holds for a lane now; nil: none.
func (s *Store) frozen(c cleaner, lane string) (f *Freeze, err error) {
	err = c.ask(func(row []driver.Value) error {
		f = &Freeze{Lane: lane}
		f.ID, _ = row[0].(int64)
		f.Dead, _ = row[1].(int64)
		f.Of, _ = row[2].(int64)
		began, _ := row[3].(int64)
		until, _ := row[4].(int64)
		f.Began, f.Until = timeOf(began), timeOf(until)
		return nil
	}, "SELECT id, dead, of, began, until FROM freezes WHERE lane = ? AND released = 0 AND until > ? ORDER BY id DESC LIMIT 1", lane, s.millis())
	return f, err
}

// deadSlots is into how many slots the window of a freeze is cut.
const deadSlots = 12

// slot is that of now.
func (s *Store) slot() int64 {
	return s.millis() / max(s.policy.Freeze.Window.Milliseconds()/deadSlots, 1)
}

// burst counts a dead address of a lane, of a message of a campaign, and freezes the lane when there are too many of them.
func (s *Store) burst(ctx context.Context, c cleaner, lane string, campaign int64) (*Freeze, error) {
	rule := s.policy.Freeze
	if rule.Share <= 0 || lane == "" { // a person who was forgotten has no domain
		return nil, nil
	}
	slot := s.slot()
	if s.bursts.turned(slot) {
		if _, err := c.ExecContext(ctx, "DELETE FROM dead_counts WHERE slot <= ? OR slot > ?", slot-deadSlots, slot+1); err != nil {
			return nil, err
		}
	}
	if _, err := c.ExecContext(ctx, `INSERT INTO dead_counts (lane, slot, dead) VALUES (?, ?, 1)
		ON CONFLICT (lane, slot) DO UPDATE SET dead = dead_counts.dead + 1`, lane, slot); err != nil {
		return nil, err
	}
	dead, err := c.number("SELECT sum(dead) FROM dead_counts WHERE lane = ? AND slot > ? AND slot <= ?", lane, slot-deadSlots, slot+1)
	if err != nil || dead < rule.Least || !s.bursts.look(lane, dead) {
		return nil, err
	}
	_, known := s.providers.Provider(lane)
	if most, ok := s.bursts.most(lane, campaign, slot, dead); ok {
		if most.known = known; !most.bursts(rule) {
			return nil, nil
		}
	}
	now := s.now()
	trusted, since, err := s.released(c, lane, now)
	if err != nil || trusted {
		return nil, err
	}
	b, err := s.countBurst(c, lane, since)
	if err != nil || !b.bursts(rule) {
		return nil, err
	}
	return s.freeze(ctx, c, lane, b)
}

// released says when a person last released the lane, and whether their word was that the addresses are dead, not long ago.
func (s *Store) released(c cleaner, lane string, now time.Time) (trusted bool, since int64, err error) {
	err = c.ask(func(row []driver.Value) error {
		since, _ = row[0].(int64)
		word, _ := row[1].(string)
		trusted = word == "suppress" && now.Sub(timeOf(since)) < s.policy.Freeze.For
		return nil
	}, "SELECT released, word FROM freezes WHERE lane = ? AND released > 0 ORDER BY released DESC LIMIT 1", lane)
	return trusted, since, err
}

// burstCount is what a lane came to in the window.
type burstCount struct {
	since    int64
	dead, of int64
	turned   int64 // of the dead: had been reached by an earlier campaign
	known    bool  // the lane is a provider's, and no single domain
	domains  []string
}

// bursts reports whether it is the provider that fails. A domain of its own must have been good before: where everybody was dead from
// the first letter on, they are.
func (b burstCount) bursts(rule suppression.Freeze) bool {
	return rule.Bursts(b.dead, b.of) && (b.known || b.turned >= rule.Least)
}

const (
	deadSince = `SELECT d.domain, d.campaign, count(*), sum(` + hadArrived + `) FROM suppressions AS s JOIN deliveries AS d ON d.id = s.delivery
		WHERE s.delivery IS NOT NULL AND s.created_at > ? AND s.scope = 'address' AND s.reason = 'hard_bounce' GROUP BY 1, 2`
	deadThere  = `SELECT d.domain, d.campaign, 1, ` + hadArrived + ` FROM deliveries AS d WHERE d.id = ?`
	hadArrived = `CASE WHEN EXISTS (SELECT 1 FROM deliveries AS e WHERE e.key = d.key AND e.id < d.id AND e.state = 'accepted') THEN 1 ELSE 0 END`
)

// countBurst counts the dead of a lane in the window, and not before since; more of them that stand nowhere yet (rows as of deadThere);
// and the recipients there of the campaigns that they are of.
func (s *Store) countBurst(c cleaner, lane string, since int64, more ...[]driver.Value) (burstCount, error) {
	window := s.now().Add(-s.policy.Freeze.Window).UnixMilli()
	b := burstCount{since: max(since, window)}
	_, b.known = s.providers.Provider(lane)
	var campaigns []int64
	all := map[string]scanned{}
	count := func(row []driver.Value) error {
		domain, _ := row[0].(string)
		campaign, _ := row[1].(int64)
		dead, _ := row[2].(int64)
		turned, _ := row[3].(int64)
		its := s.providers.Lane(domain)
		one := all[its]
		one.dead, one.turned = one.dead+dead, one.turned+turned
		all[its] = one
		if its != lane {
			return nil
		}
		b.dead, b.turned = b.dead+dead, b.turned+turned
		if !slices.Contains(b.domains, domain) {
			b.domains = append(b.domains, domain)
		}
		if !slices.Contains(campaigns, campaign) {
			campaigns = append(campaigns, campaign)
		}
		return nil
	}
	err := c.ask(count, deadSince, b.since)
	if err == nil && b.since == window {
		err = s.remember(c, all)
	}
	for _, row := range more {
		err = errors.Join(err, count(row))
	}
	b.of = s.bursts.recipients(lane, campaigns...)
	if err != nil || !b.bursts(s.policy.Freeze) {
		return b, err // there are more recipients by now, if anything
	}
	b.of = 0
	for _, campaign := range campaigns {
		answered, err := s.answered(c, campaign)
		if err != nil {
			return b, err
		}
		b.of += answered[lane]
	}
	return b, nil
}

// remember notes what was found of all lanes in the window.
func (s *Store) remember(c cleaner, all map[string]scanned) error {
	slot := s.slot()
	err := c.ask(func(row []driver.Value) error {
		lane, _ := row[0].(string)
		one := all[lane]
		one.counted, _ = row[1].(int64)
		all[lane] = one
		return nil
	}, "SELECT lane, sum(dead) FROM dead_counts WHERE slot > ? AND slot <= ? GROUP BY lane", slot-deadSlots, slot+1)
	if err == nil {
		s.bursts.found(slot, maps.Clone(all)) // what stands nowhere yet is not in it
	}
	return err
}

// answered counts by lane who of a campaign had an answer from the relay.
func (s *Store) answered(c cleaner, campaign int64) (map[string]int64, error) {
	all := map[string]int64{}
	err := c.ask(func(row []driver.Value) error {
		domain, _ := row[0].(string)
		n, _ := row[1].(int64)
		all[s.providers.Lane(domain)] += n
		return nil
	}, answeredByDomain, campaign)
	if err == nil {
		few := func(_ string, n int64) bool { return n < s.policy.Freeze.Least }
		large := maps.Clone(all)
		maps.DeleteFunc(large, few)
		s.bursts.counted(campaign, large)
	}
	return all, err
}

// bursts is what this process knows of the dead at each lane. To count them takes a look at all that died in the window, and to count a
// lane's recipients one at a whole campaign; a transaction that does that holds up a running send. So a lane is looked at at every
// tenth dead address more, what is found of the other lanes is kept, and it is not done where it can say nothing new.
type bursts struct {
	mu   sync.Mutex
	slot int64 // the last one in which old counts were deleted
	next map[string]int64
	of   map[int64]map[string]int64 // recipients by campaign and lane, when they were counted: by now there may be more

	scan     map[string]scanned // the window, when it was looked through
	scanSlot int64
}

// scanned is what the window held of a lane, and what dead_counts said at that time.
type scanned struct{ dead, turned, counted int64 }

// turned reports whether a slot is a new one.
func (b *bursts) turned(slot int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.slot
	b.slot = slot
	return before != slot
}

func (b *bursts) look(lane string, dead int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if next := b.next[lane]; dead < next && dead > next/2 {
		return false
	}
	if b.next == nil {
		b.next = map[string]int64{}
	}
	b.next[lane] = dead + max(1, dead/10)
	return true
}

// most is what a lane can have come to at most, since the window was looked through: dead_counts says how many died since, as long as no
// slot of it went out of the window.
func (b *bursts) most(lane string, campaign, slot, dead int64) (burstCount, bool) {
	of := b.recipients(lane, campaign)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.scan == nil || b.scanSlot != slot {
		return burstCount{}, false
	}
	then := b.scan[lane]
	return burstCount{dead: then.dead + dead - then.counted, turned: then.turned + dead - then.counted, of: of}, true
}

func (b *bursts) found(slot int64, all map[string]scanned) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.scan, b.scanSlot = all, slot
}

// forget makes the next dead address of each lane be looked at: what was seen in a transaction that was taken back did not happen.
func (b *bursts) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.next)
	b.scan, b.slot = nil, 0
}

// recipients is how many a lane has in campaigns, at least.
func (b *bursts) recipients(lane string, campaigns ...int64) (n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, campaign := range campaigns {
		n += b.of[campaign][lane]
	}
	return n
}

func (b *bursts) counted(campaign int64, lanes map[string]int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of == nil {
		b.of = map[int64]map[string]int64{}
	}
	b.of[campaign] = lanes
}

// deadRow is the suppression of a dead address from id, key, evidence, delivery, bounce and created_at.
func deadRow(row []driver.Value) SuppressionRow {
	r := SuppressionRow{Suppression: Suppression{Scope: suppression.ScopeAddress, Blocks: suppression.BlocksAll, Reason: suppression.HardBounce}}
	r.ID, _ = row[0].(int64)
	r.Key, _ = row[1].(string)
	r.Evidence, _ = row[2].(string)
	r.Delivery, _ = row[3].(int64)
	r.Bounce, _ = row[4].(int64)
	since, _ := row[5].(int64)
	r.Since = timeOf(since)
	return r
}

// freeze begins a freeze, and takes back what the lane's dead addresses suppressed in the window.
func (s *Store) freeze(ctx context.Context, c cleaner, lane string, b burstCount) (*Freeze, error) {
	now := s.now()
	f := &Freeze{Lane: lane, Began: now, Until: now.Add(s.policy.Freeze.For), Dead: b.dead, Of: max(b.of, b.dead), Domains: b.domains}
	_, err := c.ExecContext(ctx, "INSERT INTO freezes (lane, began, until, dead, of) VALUES (?, ?, ?, ?, ?)", lane, now.UnixMilli(), f.Until.UnixMilli(), f.Dead, f.Of)
	if err != nil {
		return nil, err
	}
	if f.ID, err = c.number("SELECT max(id) FROM freezes"); err != nil {
		return nil, err
	}
	var back []SuppressionRow
	err = c.ask(func(row []driver.Value) error {
		back = append(back, deadRow(row))
		return nil
	}, `SELECT s.id, s.key, s.evidence, s.delivery, s.bounce, s.created_at FROM suppressions AS s JOIN deliveries AS d ON d.id = s.delivery
		WHERE s.delivery IS NOT NULL AND s.created_at > ? AND s.scope = 'address' AND s.reason = 'hard_bounce' AND d.domain IN `+listed, b.since, asList(b.domains))
	for _, r := range back {
		if err == nil {
			err = s.holdBack(ctx, c, f, r)
		}
	}
	f.Held = int64(len(back))
	return f, err
}

// holdBack lifts a suppression and keeps it aside.
func (s *Store) holdBack(ctx context.Context, c cleaner, f *Freeze, r SuppressionRow) error {
	if err := s.takeBack(ctx, c, r, "held back: "+f.Why()); err != nil {
		return err
	}
	_, err := c.ExecContext(ctx, `INSERT INTO held (freeze, key, evidence, delivery, bounce, created_at) VALUES (?, ?, ?, ?, nullif(?, 0), ?)
		ON CONFLICT (key) DO NOTHING`, f.ID, r.Key, r.Evidence, r.Delivery, r.Bounce, r.Since.UnixMilli())
	return err
}

// takeBack lifts one suppression; the history and the mail that showed it say why.
func (s *Store) takeBack(ctx context.Context, c cleaner, r SuppressionRow, why string) error {
	if _, err := c.ExecContext(ctx, "DELETE FROM suppressions WHERE id = ?", r.ID); err != nil {
		return err
	}
	detail, err := json.Marshal(map[string]string{"reason": r.Reason, "blocks": r.Blocks, "evidence": r.Evidence, "why": why})
	if err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, "INSERT INTO events (at, kind, key, detail) VALUES (?, 'unsuppress', ?, ?)", s.millis(), r.Key, string(detail))
	if err != nil || r.Bounce == 0 {
		return err
	}
	return c.noteChanged(ctx, r.Bounce, why)
}

// noteChanged adds to what a mail changed.
func (c cleaner) noteChanged(ctx context.Context, bounce int64, what ...string) error {
	var changed []string
	var found bool
	err := c.ask(func(row []driver.Value) error {
		found = true
		text, _ := row[0].(string)
		return json.Unmarshal([]byte(text), &changed)
	}, "SELECT changed FROM bounces WHERE id = ?", bounce)
	if err != nil || !found {
		return err
	}
	text, err := json.Marshal(append(changed, what...))
	if err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, "UPDATE bounces SET changed = ? WHERE id = ?", string(text), bounce)
	return err
}

// settledAfter is after which time a message that did not come back has arrived: relays give up after five days.
const settledAfter = 5 * 24 * time.Hour

// softened suppresses an address that has come back too often, for reasons that may each pass.
func (s *Store) softened(ctx context.Context, c cleaner, who subject) (cleaned, error) {
	frozen, err := s.frozen(c, s.providers.Lane(who.domain))
	if err != nil || frozen != nil {
		return cleaned{}, err
	}
	all, err := s.softly(c, who.key)
	if err != nil {
		return cleaned{}, err
	}
	evidence, suppress := s.policy.Judge(all, s.now())
	if !suppress {
		return cleaned{}, nil
	}
	added, err := s.suppress(ctx, c, Suppression{Scope: suppression.ScopeAddress, Key: who.key, Blocks: suppression.BlocksAll, Reason: suppression.SoftBounces,
		Evidence: evidence, Delivery: who.delivery, Bounce: who.bounce})
	if !added {
		return cleaned{}, err
	}
	return cleaned{suppressed: suppression.SoftBounces}, nil
}

// softly is what came back from an address since it last gave a sign of life: a click, an answer, a message that stayed there, or the
// word of a person here. A message that failed in the session counts where it says something of the address: what else goes wrong
// between us and the relay is not the recipient's.
func (s *Store) softly(c cleaner, key string) ([]suppression.Softly, error) {
	life, err := c.number(`SELECT max(at) FROM (
			SELECT at FROM events WHERE key = ? AND kind IN ('open','click','delivered','autoreply','unsuppress')
			UNION ALL SELECT updated_at FROM deliveries WHERE key = ? AND state = 'accepted' AND updated_at <= ?) AS life`,
		key, key, s.now().Add(-settledAfter).UnixMilli())
	if err != nil {
		return nil, err
	}
	var all []suppression.Softly
	err = c.ask(func(row []driver.Value) error {
		var b suppression.Softly
		b.Campaign, _ = row[0].(int64)
		state, _ := row[1].(string)
		b.Reason, _ = row[2].(string)
		b.Text, _ = row[3].(string)
		at, _ := row[4].(int64)
		b.At = timeOf(at)
		if at > life && (state == "bounced" || inSession(b.Reason)) {
			all = append(all, b)
		}
		return nil
	}, `SELECT d.campaign, d.state, d.reason, d.reply, coalesce((SELECT max(a.at) FROM attempts AS a WHERE a.delivery = d.id AND a.outcome = 'accepted'), d.updated_at)
		FROM deliveries AS d WHERE d.key = ? AND d.state IN ('failed','bounced')
		AND NOT EXISTS (SELECT 1 FROM events AS e WHERE e.delivery = d.id AND e.kind = 'bounce')`, key)
	return all, err
}

// inSession reports whether a reason that the relay gave in the session is one of the address.
func inSession(reason string) bool {
	return bounce.Recipient{Reason: reason}.Class().Scope == bounce.ScopeAddress
}

// Freezes lists the providers that are frozen, or whose held suppressions wait for a person's word; all: those of the past too. The
// newest first.
func (s *Store) Freezes(ctx context.Context, all bool) ([]Freeze, error) {
	var found []Freeze
	err := eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var f Freeze
		var began, until, released int64
		err := rows.Scan(&f.ID, &f.Lane, &began, &until, &released, &f.Word, &f.Dead, &f.Of, &f.Held)
		f.Began, f.Until, f.Released = timeOf(began), timeOf(until), timeOf(released)
		if all || f.Active(s.now()) || f.Held > 0 {
			found = append(found, f)
		}
		return err
	}, "SELECT "+freezeColumns+", (SELECT count(*) FROM held AS h WHERE h.freeze = f.id) FROM freezes AS f ORDER BY f.id DESC")
	if err != nil {
		return nil, fmt.Errorf("list freezes: %w", explain(err))
	}
	return found, nil
}

// ReleaseFreeze ends the freezes of a provider on a person's word: the addresses that were held are suppressed, or let go. It says how
// many there were.
func (s *Store) ReleaseFreeze(ctx context.Context, lane string, suppress bool) (n int64, err error) {
	word := "keep"
	if suppress {
		word = "suppress"
	}
	err = s.update(ctx, func(tx *sql.Tx) error {
		c := cleanerOf(ctx, tx)
		var held []SuppressionRow
		n = 0
		err := c.ask(func(row []driver.Value) error {
			held = append(held, deadRow(row))
			return nil
		}, `SELECT h.id, h.key, h.evidence, h.delivery, h.bounce, h.created_at FROM held AS h JOIN freezes AS f ON f.id = h.freeze WHERE f.lane = ? ORDER BY h.id`, lane)
		if err != nil {
			return err
		}
		for _, r := range held {
			if err := s.letGo(ctx, c, r, suppress); err != nil {
				return err
			}
		}
		n = int64(len(held))
		if _, err := tx.ExecContext(ctx, "UPDATE freezes SET released = ?, word = ? WHERE lane = ? AND released = 0", s.millis(), word, lane); err != nil {
			return err
		}
		return s.audit(ctx, tx, "bounces.release", map[string]any{"provider": lane, "word": word, "addresses": n})
	})
	if err != nil {
		return 0, fmt.Errorf("release %s: %w", lane, err)
	}
	return n, nil
}

func (s *Store) letGo(ctx context.Context, c cleaner, r SuppressionRow, suppress bool) error {
	what := "let go on a person's word"
	if suppress {
		what = "suppressed: hard_bounce, on a person's word"
		if _, err := s.suppress(ctx, c, r.Suppression); err != nil {
			return err
		}
	}
	if _, err := c.ExecContext(ctx, "DELETE FROM held WHERE id = ?", r.ID); err != nil || r.Bounce == 0 {
		return err
	}
	return c.noteChanged(ctx, r.Bounce, what)
}
