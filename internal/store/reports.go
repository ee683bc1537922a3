package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"mailer/internal/delivery"
)

// Tally counts the deliveries of a campaign that agree in all the texts here.
type Tally struct {
	Domain string
	Relay  string
	State  delivery.State
	Reason string

	Count        int64
	Attempted    int64  // were offered to a relay, and the try has ended
	Hard         int64  // of the bounced: the address is dead
	Unsubscribes int64  // people who unsubscribed through the message
	Reply        string // of one of them, where there is a reason
}

// Figures is a campaign (without content, options and balance) with what was counted.
type Figures struct {
	Campaign Campaign
	Planned  int64 // counted for itself, so that the tallies can be checked against it
	Tallies  []Tally
}

// snapshot runs fn in one reading transaction: figures that are printed together are of one moment, also while a campaign
// is being sent.
func (s *Store) snapshot(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := s.read.BeginTx(ctx, nil)
	if err != nil {
		return explain(err)
	}
	defer tx.Rollback()
	return explain(fn(tx))
}

// CampaignFigures counts one campaign by domain, relay, state and reason.
func (s *Store) CampaignFigures(ctx context.Context, campaign int64) (Figures, error) {
	all, err := s.figures(ctx, campaign)
	if err != nil {
		return Figures{}, fmt.Errorf("count deliveries: %w", err)
	}
	if len(all) == 0 {
		return Figures{}, ErrNoCampaign
	}
	return all[0], nil
}

// AllFigures counts every campaign by state, the newest first.
func (s *Store) AllFigures(ctx context.Context) ([]Figures, error) {
	all, err := s.figures(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("count deliveries: %w", err)
	}
	return all, nil
}

// figures counts one campaign in full, or (0) all by state.
func (s *Store) figures(ctx context.Context, campaign int64) ([]Figures, error) {
	var all []Figures
	err := s.snapshot(ctx, func(tx *sql.Tx) error {
		var err error
		if all, err = s.reportHeads(ctx, tx, campaign); err != nil {
			return err
		}
		at := make(map[int64]*Figures, len(all))
		for i := range all {
			at[all[i].Campaign.ID] = &all[i]
		}
		parts := "'' AS domain, '' AS relay, d.state, '' AS reason"
		if campaign != 0 {
			parts = "d.domain, d.relay, d.state, d.reason"
		}
		if err := tally(ctx, tx, at, countDeliveries(parts), campaign, campaign); err != nil {
			return err
		}
		return tally(ctx, tx, at, countUnsubscribes(parts), campaign, campaign)
	})
	return all, err
}

func (s *Store) reportHeads(ctx context.Context, tx *sql.Tx, campaign int64) ([]Figures, error) {
	rows, err := tx.QueryContext(ctx, `SELECT c.id, c.name, c.class, c.segment, c.state, c.created_at, c.expires_at, coalesce(c.finished_at, 0),
			CASE WHEN c.lease_expires > ? THEN c.lease_holder ELSE '' END, (SELECT count(*) FROM deliveries AS d WHERE d.campaign = c.id)
		FROM campaigns AS c WHERE ? = 0 OR c.id = ? ORDER BY c.id DESC`, s.millis(), campaign, campaign)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Figures
	for rows.Next() {
		var f Figures
		var created, expires, finished int64
		c := &f.Campaign
		if err := rows.Scan(&c.ID, &c.Name, &c.Class, &c.Segment, &c.State, &created, &expires, &finished, &c.Holder, &f.Planned); err != nil {
			return nil, err
		}
		c.Created, c.Expires, c.Finished = timeOf(created), timeOf(expires), timeOf(finished)
		all = append(all, f)
	}
	return all, rows.Err()
}

// countDeliveries: somebody was attempted when a try has ended (the one on the wire does not count yet) and the message
// was one that could be made. Who is excluded is out, whatever was tried before.
func countDeliveries(parts string) string {
	return countAll(parts, "d.campaign", "? = 0 OR d.campaign = ?")
}

func countAll(parts, campaign, where string) string {
	return `SELECT ` + campaign + `, ` + parts + `, count(*),
			sum(CASE WHEN d.state <> 'excluded' AND d.reason <> 'compose' AND d.attempts > CASE WHEN d.state = 'sending' THEN 1 ELSE 0 END THEN 1 ELSE 0 END),
			sum(CASE WHEN d.state = 'bounced' AND EXISTS (SELECT 1 FROM events AS e WHERE e.delivery = d.id AND e.kind = 'bounce') THEN 1 ELSE 0 END),
			0, max(CASE WHEN d.reason <> '' THEN d.reply ELSE '' END)
		FROM deliveries AS d WHERE ` + where + ` GROUP BY 1, 2, 3, 4, 5`
}

// countUnsubscribes begins at the events, which are few beside the deliveries.
func countUnsubscribes(parts string) string {
	return `SELECT d.campaign, ` + parts + `, 0, 0, 0, count(DISTINCT d.id), ''
		FROM events AS e JOIN deliveries AS d ON d.id = e.delivery
		WHERE e.kind = 'unsubscribe' AND (? = 0 OR d.campaign = ?) GROUP BY 1, 2, 3, 4, 5`
}

func tally(ctx context.Context, tx *sql.Tx, at map[int64]*Figures, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var campaign int64
		var t Tally
		if err := rows.Scan(&campaign, &t.Domain, &t.Relay, &t.State, &t.Reason, &t.Count, &t.Attempted, &t.Hard, &t.Unsubscribes, &t.Reply); err != nil {
			return err
		}
		if f := at[campaign]; f != nil {
			f.Tallies = append(f.Tallies, t)
		}
	}
	return rows.Err()
}

// RecentTallies counts the deliveries of all campaigns that began since a time by domain, state and reason.
func (s *Store) RecentTallies(ctx context.Context, since time.Time) ([]Tally, error) {
	all := Figures{}
	err := s.snapshot(ctx, func(tx *sql.Tx) error {
		return tally(ctx, tx, map[int64]*Figures{0: &all}, countAll("d.domain, '' AS relay, d.state, d.reason", "0", "d.campaign IN (SELECT id FROM campaigns WHERE created_at >= ?)"), since.UnixMilli())
	})
	return all.Tallies, wrap("count deliveries", err)
}

// Moment is how many things happened at about a time: to the quarter of an hour, which every time zone's days are made of.
type Moment struct {
	At     time.Time
	Reason string // of a suppression
	Count  int64
}

// ListFigures is the state of the whole list.
type ListFigures struct {
	Contacts   int64
	Mailable   int64   // contacts whom nothing keeps from marketing mail
	Suppressed []Share // addresses by reason, contacts or not; an address may have several
	Domains    int64   // suppressed domains
	Added      []Moment
	Blocked    []Moment // suppressions of addresses
}

const quarter = 15 * 60 * 1000

// ListFigures counts contacts and suppressions.
func (s *Store) ListFigures(ctx context.Context) (ListFigures, error) {
	var f ListFigures
	err := s.snapshot(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(CASE WHEN
				EXISTS (SELECT 1 FROM suppressions AS s WHERE s.scope = 'address' AND s.key = c.key)
				OR EXISTS (SELECT 1 FROM suppressions AS s WHERE s.scope = 'domain' AND s.key = substr(c.key, instr(c.key, '@') + 1)) THEN 0 ELSE 1 END), 0),
			(SELECT count(DISTINCT key) FROM suppressions WHERE scope = 'domain') FROM contacts AS c`).Scan(&f.Contacts, &f.Mailable, &f.Domains)
		if err != nil {
			return err
		}
		if f.Suppressed, err = shares(ctx, tx, "SELECT reason, count(*) FROM suppressions WHERE scope = 'address' GROUP BY reason ORDER BY count(*) DESC, reason"); err != nil {
			return err
		}
		if f.Added, err = moments(ctx, tx, "SELECT created_at / ?, '', count(*) FROM contacts GROUP BY 1 ORDER BY 1", quarter); err != nil {
			return err
		}
		f.Blocked, err = moments(ctx, tx, "SELECT created_at / ?, reason, count(*) FROM suppressions WHERE scope = 'address' GROUP BY 1, 2 ORDER BY 1, 2", quarter)
		return err
	})
	if err != nil {
		return f, fmt.Errorf("count the list: %w", err)
	}
	return f, nil
}

func shares(ctx context.Context, tx *sql.Tx, query string) ([]Share, error) {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Share
	for rows.Next() {
		var sh Share
		if err := rows.Scan(&sh.Name, &sh.Count); err != nil {
			return nil, err
		}
		all = append(all, sh)
	}
	return all, rows.Err()
}

func moments(ctx context.Context, tx *sql.Tx, query string, unit int64) ([]Moment, error) {
	rows, err := tx.QueryContext(ctx, query, unit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Moment
	for rows.Next() {
		var n int64
		var m Moment
		if err := rows.Scan(&n, &m.Reason, &m.Count); err != nil {
			return nil, err
		}
		m.At = time.UnixMilli(n * unit)
		all = append(all, m)
	}
	return all, rows.Err()
}
