package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"mailer/internal/delivery"
)

// A campaign's states. It is frozen when it is made, so there is no draft: a draft is a file.
const (
	CampaignSending   = "sending"
	CampaignPaused    = "paused"
	CampaignFinished  = "finished"
	CampaignCancelled = "cancelled"
)

// Campaign is one frozen campaign.
type Campaign struct {
	ID          int64
	Name        string // the id in the campaign file
	Class       string // marketing or operational
	ContentHash string
	Content     string // JSON of campaign.Content
	Segment     string // the audience as it was asked for, for people
	Options     string // JSON of what froze with it
	State       string
	Note        string // why it was stopped, for people
	Created     time.Time
	Expires     time.Time
	Finished    time.Time
	Holder      string    // who sends it right now; empty: nobody
	Stage       string    // of one with a canary, see Run.Stage
	HeldUntil   time.Time // at the stage "hold"
	Replaces    int64     // the untouched campaign of the same name that a new one takes the place of; 0: none
	Claim       string    // of the plan that a new one begins by; empty: it is sent by hand
	Balance     delivery.Balance
}

// Audience is who a campaign goes to, as SQL conditions over contacts AS c.
type Audience struct {
	Class   string // marketing or operational: an unsubscribe blocks marketing only
	Include Where
	Exclude Where // people of Include who get a row `excluded`; empty SQL: nobody
	Exactly int64 // how many messages were agreed to, when somebody did: a list that changed since freezes nothing (ErrChanged)
}

// Errors of campaigns.
var (
	ErrNoCampaign = errors.New("no such campaign")
	ErrExists     = errors.New("the campaign exists already")
	ErrEnded      = errors.New("the campaign has ended")
	ErrChanged    = errors.New("the list has changed since it was counted")
)

// suppressed is the reason why a contact c must not be mailed, or NULL. ?1 of it is the class. The worst comes first.
const suppressed = `(SELECT 'suppressed: ' || s.reason FROM suppressions s
	WHERE s.scope = 'address' AND s.key = c.key AND (s.blocks = 'all' OR ? = 'marketing')
	ORDER BY s.blocks, s.id LIMIT 1)`

// Few workspaces suppress a domain, so whether any is suppressed is asked first, once a statement.
const suppressedDomain = `(CASE WHEN EXISTS (SELECT 1 FROM suppressions WHERE scope = 'domain') THEN (SELECT 'suppressed domain: ' || s.reason FROM suppressions s
	WHERE s.scope = 'domain' AND s.key = substr(c.key, instr(c.key, '@') + 1) AND (s.blocks = 'all' OR ? = 'marketing')
	ORDER BY s.blocks, s.id LIMIT 1) END)`

// selectAudience is one row a person: the contact and why they are excluded, or NULL.
func selectAudience(a Audience) (string, []any) {
	exclude, args := "NULL", []any{a.Class, a.Class}
	if a.Exclude.SQL != "" {
		exclude = "CASE WHEN (" + a.Exclude.SQL + ") THEN 'excluded by expression' END"
		args = append(args, a.Exclude.Args...)
	}
	include := "1"
	if a.Include.SQL != "" {
		include = a.Include.SQL
		args = append(args, a.Include.Args...)
	}
	return `SELECT c.id, c.key, c.address, substr(c.address, instr(c.address, '@') + 1) AS domain,
		coalesce(` + suppressed + `, ` + suppressedDomain + `, ` + exclude + `) AS reason
		FROM contacts AS c WHERE (` + include + `)`, args
}

// quickAudience makes an audience ready to be picked from many contacts.
func (s *Store) quickAudience(ctx context.Context, a Audience) (Audience, error) {
	var err error
	a.Include, _, err = s.quicken(ctx, a.Include)
	a.Exclude.SQL = quick(a.Exclude.SQL, nil)
	return a, err
}

// Sendable is the condition for those of an audience who would be sent a message now.
func (a Audience) Sendable() Where {
	w := a.Include
	w = w.And(Where{SQL: suppressed + " IS NULL", Args: []any{a.Class}})
	w = w.And(Where{SQL: suppressedDomain + " IS NULL", Args: []any{a.Class}})
	if a.Exclude.SQL != "" {
		w = w.And(Where{SQL: "(" + a.Exclude.SQL + ") IS NOT TRUE", Args: a.Exclude.Args})
	}
	return w
}

// WithoutConsent is the condition for contacts of whom no list tells when and how they agreed.
func WithoutConsent() Where {
	return Where{SQL: "NOT EXISTS (SELECT 1 FROM memberships m WHERE m.contact = c.id AND (m.consent_source <> '' OR m.consent_at IS NOT NULL))"}
}

// Planned is what an audience comes to before it is frozen.
type Planned struct {
	All      int64            // everybody in the segment
	Excluded map[string]int64 // by reason
	Domains  []Share          // who is not excluded, by receiving domain, the largest first
}

// Share is a part of a whole.
type Share struct {
	Name  string
	Count int64
}

// Sendable is how many would be sent a message.
func (p Planned) Sendable() int64 {
	n := p.All
	for _, x := range p.Excluded {
		n -= x
	}
	return n
}

// Plan counts an audience and writes nothing.
func (s *Store) Plan(ctx context.Context, a Audience) (Planned, error) {
	p := Planned{Excluded: map[string]int64{}}
	a, err := s.quickAudience(ctx, a)
	if err != nil {
		return p, fmt.Errorf("count the audience: %w", explain(err))
	}
	query, args := selectAudience(a)
	rows, err := s.read.QueryContext(ctx, `SELECT coalesce(reason, ''), CASE WHEN reason IS NULL THEN domain ELSE '' END AS d, count(*)
		FROM (`+query+`) AS audience GROUP BY 1, 2 ORDER BY 3 DESC, 2`, args...)
	if err != nil {
		return p, fmt.Errorf("count the audience: %w", explain(err))
	}
	defer rows.Close()
	for rows.Next() {
		var reason, domain string
		var n int64
		if err := rows.Scan(&reason, &domain, &n); err != nil {
			return p, fmt.Errorf("count the audience: %w", err)
		}
		p.All += n
		if reason != "" {
			p.Excluded[reason] += n
		} else {
			p.Domains = append(p.Domains, Share{domain, n})
		}
	}
	return p, explain(rows.Err())
}

// CreateCampaign freezes a campaign with its audience in one transaction: one row a person, the suppressed among them
// `excluded` with the reason. From then on neither an edited file nor an edited list changes who gets what.
func (s *Store) CreateCampaign(ctx context.Context, c Campaign, a Audience) (Campaign, error) {
	now := s.millis()
	a, err := s.quickAudience(ctx, a)
	if err != nil {
		return c, fmt.Errorf("freeze campaign %s: %w", c.Name, explain(err))
	}
	back, err := spillToDisk(ctx, s.write)
	if err != nil {
		return c, fmt.Errorf("freeze campaign %s: %w", c.Name, explain(err))
	}
	defer back()
	err = s.update(ctx, func(tx *sql.Tx) error {
		if err := s.setAside(ctx, tx, c); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, `INSERT INTO campaigns (name, class, content_hash, content, segment, options, state, created_at, expires_at)
			VALUES (?, ?, ?, ?, ?, ?, 'sending', ?, ?) ON CONFLICT (name) DO NOTHING RETURNING id`,
			c.Name, c.Class, c.ContentHash, c.Content, c.Segment, c.Options, now, c.Expires.UnixMilli()).Scan(&c.ID)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrExists
		}
		if err != nil {
			return err
		}
		if err := s.leavePlan(ctx, tx, c); err != nil {
			return err
		}
		query, args := selectAudience(a)
		_, err = tx.ExecContext(ctx, `INSERT INTO deliveries (campaign, contact, key, address, domain, state, reason, updated_at)
			SELECT ?, id, key, address, domain, CASE WHEN reason IS NULL THEN 'pending' ELSE 'excluded' END, coalesce(reason, ''), ?
			FROM (`+query+`) AS audience ORDER BY id`, append([]any{c.ID, now}, args...)...)
		if err != nil {
			return err
		}
		if err := jump(ctx, tx, c.ID); err != nil {
			return err
		}
		if err := a.agreed(ctx, tx, c.ID); err != nil {
			return err
		}
		if err := s.discard(ctx, tx, c); err != nil {
			return err
		}
		return s.audit(ctx, tx, "campaign.freeze", map[string]any{"campaign": c.Name, "content": c.ContentHash, "segment": c.Segment})
	})
	if err != nil {
		return c, fmt.Errorf("freeze campaign %s: %w", c.Name, err)
	}
	c.State = CampaignSending
	return c, nil
}

// untouched holds for a campaign k of which nobody was ever tried, and which nobody is sending.
const untouched = `k.state = 'sending' AND (k.lease_holder = '' OR k.lease_expires <= ?)
	AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.campaign = k.id AND (d.attempts > 0 OR d.state NOT IN ('pending','excluded')
		OR EXISTS (SELECT 1 FROM attempts t WHERE t.delivery = d.id)))`

// Untouched reports whether nobody of a campaign was ever tried: the relay could not be reached, say. It may still be
// changed, because nobody has seen any of it.
func (s *Store) Untouched(ctx context.Context, campaign int64) (bool, error) {
	var n int
	err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM campaigns k WHERE k.id = ? AND "+untouched, campaign, s.millis()).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look at the campaign: %w", explain(err))
	}
	return n == 1, nil
}

// setAside takes the name from the untouched campaign whose place c takes. It goes when c and its deliveries are there:
// SQLite gives the ids of rows that are gone to the next, and a process that was suspended with the old campaign in its
// hands must find nothing under its ids, least of all other people.
func (s *Store) setAside(ctx context.Context, tx *sql.Tx, c Campaign) error {
	if c.Replaces == 0 {
		return nil
	}
	res, err := tx.ExecContext(ctx, "UPDATE campaigns AS k SET name = name || ' (discarded)' WHERE k.id = ? AND "+untouched, c.Replaces, s.millis())
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return ErrExists // somebody was tried in the meantime
	}
	return err
}

// discard removes what setAside set aside.
func (s *Store) discard(ctx context.Context, tx *sql.Tx, c Campaign) error {
	if c.Replaces == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM deliveries WHERE campaign = ?", c.Replaces); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM campaigns WHERE id = ?", c.Replaces); err != nil {
		return err
	}
	return s.audit(ctx, tx, "campaign.discard", map[string]any{"campaign": c.Name})
}

// agreed compares what was frozen with what was agreed to.
func (a Audience) agreed(ctx context.Context, tx *sql.Tx, campaign int64) error {
	if a.Exactly == 0 {
		return nil
	}
	var n int64
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM deliveries WHERE campaign = ? AND state = 'pending'", campaign).Scan(&n); err != nil {
		return err
	}
	if n != a.Exactly {
		return fmt.Errorf("%w: it was %d messages and is %d", ErrChanged, a.Exactly, n)
	}
	return nil
}

const campaignColumns = `id, name, class, content_hash, content, segment, options, state, note, stage, held_until, created_at, expires_at,
	coalesce(finished_at, 0), CASE WHEN lease_expires > ? THEN lease_holder ELSE '' END`

func scanCampaign(row interface{ Scan(...any) error }) (Campaign, error) {
	var c Campaign
	var held, created, expires, finished int64
	err := row.Scan(&c.ID, &c.Name, &c.Class, &c.ContentHash, &c.Content, &c.Segment, &c.Options, &c.State, &c.Note, &c.Stage, &held,
		&created, &expires, &finished, &c.Holder)
	c.HeldUntil, c.Created, c.Expires, c.Finished = timeOf(held), timeOf(created), timeOf(expires), timeOf(finished)
	return c, err
}

// Campaign returns a campaign by its id (ErrNoCampaign when it was never sent), with its balance.
func (s *Store) Campaign(ctx context.Context, name string) (Campaign, error) {
	c, err := scanCampaign(s.read.QueryRowContext(ctx, "SELECT "+campaignColumns+" FROM campaigns WHERE name = ?", s.millis(), name))
	if errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("%w: %q was never sent", ErrNoCampaign, name)
	}
	if err != nil {
		return c, fmt.Errorf("read campaign %s: %w", name, explain(err))
	}
	c.Balance, err = s.Balance(ctx, c.ID)
	return c, err
}

// Campaigns returns all campaigns with their balances, the newest first.
func (s *Store) Campaigns(ctx context.Context) ([]Campaign, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT "+campaignColumns+" FROM campaigns ORDER BY id DESC", s.millis())
	if err != nil {
		return nil, fmt.Errorf("read campaigns: %w", explain(err))
	}
	defer rows.Close()
	var all []Campaign
	for rows.Next() {
		c, err := scanCampaign(rows)
		if err != nil {
			return nil, fmt.Errorf("read campaigns: %w", err)
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read campaigns: %w", explain(err))
	}
	for i := range all {
		if all[i].Balance, err = s.Balance(ctx, all[i].ID); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Balance counts a campaign's deliveries by state, and checks that everybody is accounted for.
func (s *Store) Balance(ctx context.Context, campaign int64) (delivery.Balance, error) {
	var b delivery.Balance
	rows, err := s.read.QueryContext(ctx, `SELECT state, count(*), (SELECT count(*) FROM deliveries WHERE campaign = ?)
		FROM deliveries WHERE campaign = ? GROUP BY state`, campaign, campaign)
	if err != nil {
		return b, fmt.Errorf("count deliveries: %w", explain(err))
	}
	defer rows.Close()
	for rows.Next() {
		var state delivery.State
		var n int64
		if err := rows.Scan(&state, &n, &b.Planned); err != nil {
			return b, fmt.Errorf("count deliveries: %w", err)
		}
		b.Add(state, n)
	}
	if err := rows.Err(); err != nil {
		return b, fmt.Errorf("count deliveries: %w", explain(err))
	}
	if !b.Balanced() {
		return b, fmt.Errorf("count deliveries: the states of campaign %d do not add up: %+v", campaign, b)
	}
	return b, nil
}

// SetCampaignState pauses, resumes or cancels a campaign; a process that sends it notices within a second. The
// recipients of a cancelled campaign who were not sent it become `excluded`, so that the balance says what happened.
func (s *Store) SetCampaignState(ctx context.Context, name, state, note string) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		var id int64
		var have string
		err := tx.QueryRowContext(ctx, "SELECT id, state FROM campaigns WHERE name = ?", name).Scan(&id, &have)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%w: %q was never sent", ErrNoCampaign, name)
		}
		if err != nil {
			return err
		}
		if have == CampaignCancelled || have == CampaignFinished {
			return fmt.Errorf("%w: %s is %s already", ErrEnded, name, have)
		}
		if _, err := tx.ExecContext(ctx, "UPDATE campaigns SET state = ?, note = ?, by_hand = 0 WHERE id = ?", state, note, id); err != nil {
			return err
		}
		if err := s.excludeCancelled(ctx, tx, id); err != nil {
			return err
		}
		return s.audit(ctx, tx, "campaign."+state, map[string]any{"campaign": name, "note": note})
	})
}

// excludeCancelled takes those out of a cancelled campaign who were not sent it; of any other it does nothing.
func (s *Store) excludeCancelled(ctx context.Context, tx execer, campaign int64) error {
	_, err := tx.ExecContext(ctx, excludeCancelled, s.millis(), campaign)
	return err
}

// Whether it is cancelled stands where no row is looked at unless it is.
const excludeCancelled = `UPDATE deliveries SET state = 'excluded', reason = 'cancelled', updated_at = ?
	WHERE campaign = (SELECT id FROM campaigns WHERE id = ? AND state = 'cancelled') AND ` + open

// open is who may still be sent to. next_try, which is never below 0, makes SQLite take the index deliveries_open; without it, it looks
// through everybody.
const open = "state IN ('pending','deferred') AND next_try >= 0"

// anybodyLeft holds for a campaign with somebody who may still be sent to.
const anybodyLeft = "EXISTS (SELECT 1 FROM deliveries WHERE campaign = campaigns.id AND " + open + ")"

// Recipient is one delivery as people ask for it.
type Recipient struct {
	Address   string         `json:"address"`
	State     delivery.State `json:"state"`
	Reason    string         `json:"reason"`
	Reply     string         `json:"reply"`
	Attempts  int            `json:"attempts"`
	MessageID string         `json:"message_id"`
	Relay     string         `json:"relay"`
	At        time.Time      `json:"at"`
}

// EachRecipient calls fn for every delivery of a campaign in the given states (all when none), in the order they were
// planned.
func (s *Store) EachRecipient(ctx context.Context, campaign int64, states []delivery.State, fn func(Recipient) error) error {
	query, args := `SELECT address, state, reason, reply, attempts, message_id, relay, updated_at FROM deliveries WHERE campaign = ?`, []any{campaign}
	if len(states) > 0 {
		query += " AND state IN (" + placeholders(len(states)) + ")"
		for _, st := range states {
			args = append(args, string(st))
		}
	}
	rows, err := s.read.QueryContext(ctx, query+" ORDER BY id", args...)
	if err != nil {
		return fmt.Errorf("read recipients: %w", explain(err))
	}
	defer rows.Close()
	for rows.Next() {
		var r Recipient
		var at int64
		if err := rows.Scan(&r.Address, &r.State, &r.Reason, &r.Reply, &r.Attempts, &r.MessageID, &r.Relay, &at); err != nil {
			return fmt.Errorf("read recipients: %w", err)
		}
		r.At = timeOf(at)
		if err := fn(r); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

// Reason is how many recipients of a campaign are in a state for a reason.
type Reason struct {
	State  delivery.State `json:"state"`
	Reason string         `json:"reason"`
	Count  int64          `json:"count"`
}

// Reasons counts a campaign's recipients by state and reason; those who simply got it or simply wait are left out.
func (s *Store) Reasons(ctx context.Context, campaign int64) ([]Reason, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT state, reason, count(*) FROM deliveries
		WHERE campaign = ? AND reason <> '' GROUP BY state, reason ORDER BY count(*) DESC, state, reason`, campaign)
	if err != nil {
		return nil, fmt.Errorf("count reasons: %w", explain(err))
	}
	defer rows.Close()
	var all []Reason
	for rows.Next() {
		var r Reason
		if err := rows.Scan(&r.State, &r.Reason, &r.Count); err != nil {
			return nil, fmt.Errorf("count reasons: %w", err)
		}
		all = append(all, r)
	}
	return all, explain(rows.Err())
}
