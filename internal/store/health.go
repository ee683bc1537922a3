package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"mailer/internal/bounce"
)

// How healthy a list is. All figures are counted by SQLite in stretches of contacts, as counting.go does: a million people cost
// seconds, and memory only for their domains.

// ProofAges is how many ages of a proof are told apart. The proof of an address is the last message for it that a relay took and that
// did not come back.
const ProofAges = 4

// The ages of a proof.
const (
	ProofFresh = iota // within a quarter of a year
	ProofYear         // within a year
	ProofOld          // longer ago
	NoProof
)

// The bounds of ProofFresh and ProofYear.
const (
	freshFor = 91 * 24 * time.Hour
	yearFor  = 365 * 24 * time.Hour
)

// DomainShare is a domain with its contacts, by the age of their proof.
type DomainShare struct {
	Domain   string
	Contacts int64
	Proofs   [ProofAges]int64
}

// DomainShares counts the contacts in w by domain, those with the most first.
func (s *Store) DomainShares(ctx context.Context, w Where, step func(done, total int64)) ([]DomainShare, error) {
	at := map[string]int{}
	var all []DomainShare
	now := s.now()
	// Materialized: SQLite would look the proof up anew for each column.
	err := s.eachStretch(ctx, w, func(where string) string {
		return `WITH p AS MATERIALIZED (SELECT substr(c.key, instr(c.key, '@') + 1) AS domain, ` + proofOf("c.key", "") + ` AS proof FROM contacts AS c` + where + `)
			SELECT domain, count(*), ` + countProofs + ` FROM p GROUP BY domain`
	}, nil, proofBounds(now), step, func(rows *sql.Rows) error {
		var d DomainShare
		if err := rows.Scan(&d.Domain, &d.Contacts, &d.Proofs[0], &d.Proofs[1], &d.Proofs[2], &d.Proofs[3]); err != nil {
			return err
		}
		i, ok := at[d.Domain]
		if !ok {
			at[d.Domain] = len(all)
			all = append(all, d)
			return nil
		}
		all[i].Contacts += d.Contacts
		for age, n := range d.Proofs {
			all[i].Proofs[age] += n
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count contacts by domain: %w", err)
	}
	slices.SortFunc(all, func(a, b DomainShare) int {
		return cmp.Or(cmp.Compare(b.Contacts, a.Contacts), cmp.Compare(a.Domain, b.Domain))
	})
	return all, nil
}

// proofOf is when an address was last proven. The highest campaign is mostly it, so one step in the index is enough.
func proofOf(key, before string) string {
	return `(SELECT a.updated_at FROM deliveries AS a WHERE a.key = ` + key + before + ` AND a.state = 'accepted' ORDER BY a.campaign DESC LIMIT 1)`
}

const countProofs = `count(CASE WHEN proof >= ? THEN 1 END), count(CASE WHEN proof >= ? AND proof < ? THEN 1 END), count(CASE WHEN proof < ? THEN 1 END),
	count(CASE WHEN proof IS NULL THEN 1 END)`

func proofBounds(now time.Time) []any {
	fresh, year := now.Add(-freshFor).UnixMilli(), now.Add(-yearFor).UnixMilli()
	return []any{fresh, year, fresh, year}
}

// LocalCounts counts the contacts in w whose address begins with one of the local parts, with a plus and anything behind it or not.
func (s *Store) LocalCounts(ctx context.Context, w Where, locals []string) (map[string]int64, error) {
	all := map[string]int64{}
	err := s.eachStretch(ctx, w, func(where string) string {
		return `WITH p AS MATERIALIZED (SELECT substr(c.key, 1, instr(replace(c.key, '+', '@'), '@') - 1) AS local FROM contacts AS c` + where + `)
			SELECT local, count(*) FROM p WHERE local IN ` + listed + ` GROUP BY local`
	}, nil, []any{asList(locals)}, nil, func(rows *sql.Rows) error {
		var local string
		var n int64
		if err := rows.Scan(&local, &n); err != nil {
			return err
		}
		all[local] += n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count contacts by local part: %w", err)
	}
	return all, nil
}

// Twins counts the contacts in w whose mail lands in a mailbox that is there under another address as well: with something behind a
// plus, or with dots at Gmail, which does not look at them.
func (s *Store) Twins(ctx context.Context, w Where) (plus, dots int64, err error) {
	const (
		there = " AND EXISTS (SELECT 1 FROM contacts AS x WHERE x.key = "
		at    = "substr(c.key, instr(c.key, '@'))"
		local = "substr(c.key, 1, instr(c.key, '@') - 1)"
	)
	counts, err := s.CountEach(ctx, []Where{
		w.And(Where{SQL: "instr(c.key, '+') > 1 AND instr(c.key, '+') < instr(c.key, '@')" + there + "substr(c.key, 1, instr(c.key, '+') - 1) || " + at + ")"}),
		w.And(Where{SQL: at + " IN ('@gmail.com', '@googlemail.com') AND instr(" + local + ", '.') > 0" + there + "replace(" + local + ", '.', '') || " + at + ")"}),
	}, nil)
	if err != nil {
		return 0, 0, err
	}
	return counts[0], counts[1], nil
}

// ListConsent is what is recorded of how the members of a list agreed.
type ListConsent struct {
	List                       string
	Members                    int64
	NoRecord, NoSource, NoTime int64 // NoRecord: neither; the others have one of the two and lack the other
	Old                        int64 // agreed before the time that was asked for
	Oldest                     time.Time
}

// Consents counts the members of each list among the contacts in w, the longest list first; old is before which a consent is old.
func (s *Store) Consents(ctx context.Context, w Where, old time.Time) ([]ListConsent, error) {
	names, err := s.Lists(ctx)
	if err != nil {
		return nil, err
	}
	at := map[int64]*ListConsent{}
	for name, id := range names {
		at[id] = &ListConsent{List: name}
	}
	err = s.eachStretch(ctx, w, func(where string) string {
		return `SELECT m.list, count(*), count(CASE WHEN m.consent_source = '' AND m.consent_at IS NULL THEN 1 END),
				count(CASE WHEN m.consent_source = '' AND m.consent_at IS NOT NULL THEN 1 END), count(CASE WHEN m.consent_source <> '' AND m.consent_at IS NULL THEN 1 END),
				count(CASE WHEN m.consent_at < ? THEN 1 END), coalesce(min(m.consent_at), 0)
			FROM contacts AS c JOIN memberships AS m ON m.contact = c.id` + where + ` GROUP BY m.list`
	}, []any{old.UnixMilli()}, nil, nil, func(rows *sql.Rows) error {
		var id, oldest int64
		var l ListConsent
		if err := rows.Scan(&id, &l.Members, &l.NoRecord, &l.NoSource, &l.NoTime, &l.Old, &oldest); err != nil {
			return err
		}
		sum := at[id]
		if sum == nil {
			return nil // a list that came while we counted
		}
		sum.Members, sum.NoRecord, sum.NoSource, sum.NoTime, sum.Old = sum.Members+l.Members, sum.NoRecord+l.NoRecord, sum.NoSource+l.NoSource, sum.NoTime+l.NoTime, sum.Old+l.Old
		if t := timeOf(oldest); !t.IsZero() && (sum.Oldest.IsZero() || t.Before(sum.Oldest)) {
			sum.Oldest = t
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count consents: %w", err)
	}
	var all []ListConsent
	for _, l := range at {
		if l.Members > 0 {
			all = append(all, *l)
		}
	}
	slices.SortFunc(all, func(a, b ListConsent) int {
		return cmp.Or(cmp.Compare(b.Members, a.Members), cmp.Compare(a.List, b.List))
	})
	return all, nil
}

// Fate is what came of the messages to a domain's addresses whose proof was of one age when the campaign began. Who was refused
// for a reason that says nothing about the address is not in it.
type Fate struct {
	Domain string
	Age    int
	Tried  int64
	Dead   int64
}

// Fates tells what came of the campaigns since a time. When they have more than `most` messages it looks at every nth: an estimate
// needs no more. Campaigns that are not over count with what is known of them.
func (s *Store) Fates(ctx context.Context, since time.Time, most int64) (all []Fate, nth int64, err error) {
	type cell struct {
		domain string
		age    int
	}
	at := map[cell]int{}
	err = s.snapshot(ctx, func(tx *sql.Tx) error {
		campaigns, total, err := campaignSizes(ctx, tx, since)
		if err != nil {
			return err
		}
		nth = max(1, (total+most-1)/max(1, most))
		for _, c := range campaigns {
			err := fatesOf(ctx, tx, c.id, timeOf(c.created), nth, func(domain string, age int, tried, dead int64) {
				i, ok := at[cell{domain, age}]
				if !ok {
					i, at[cell{domain, age}] = len(all), len(all)
					all = append(all, Fate{Domain: domain, Age: age})
				}
				all[i].Tried += tried
				all[i].Dead += dead
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("count fates: %w", err)
	}
	return all, nth, nil
}

type campaignSize struct{ id, created int64 }

func campaignSizes(ctx context.Context, tx *sql.Tx, since time.Time) (all []campaignSize, total int64, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT c.id, c.created_at, (SELECT count(*) FROM deliveries AS d WHERE d.campaign = c.id)
		FROM campaigns AS c WHERE c.created_at >= ? ORDER BY c.id`, since.UnixMilli())
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var c campaignSize
		var n int64
		if err := rows.Scan(&c.id, &c.created, &n); err != nil {
			return nil, 0, err
		}
		all, total = append(all, c), total+n
	}
	return all, total, rows.Err()
}

func fatesOf(ctx context.Context, tx *sql.Tx, campaign int64, began time.Time, nth int64, add func(domain string, age int, tried, dead int64)) error {
	fresh, year := began.Add(-freshFor).UnixMilli(), began.Add(-yearFor).UnixMilli()
	rows, err := tx.QueryContext(ctx, `WITH t AS MATERIALIZED (SELECT d.domain, d.state, d.reason, `+proofOf("d.key", " AND a.campaign < d.campaign")+` AS proof,
				d.state = 'bounced' AND EXISTS (SELECT 1 FROM events AS e WHERE e.delivery = d.id AND e.kind = 'bounce') AS hard
			FROM deliveries AS d WHERE d.campaign = ? AND d.id % ? = 0 AND d.attempts > 0 AND d.state IN ('accepted', 'complained', 'bounced', 'failed'))
		SELECT domain, CASE WHEN proof IS NULL THEN 3 WHEN proof >= ? THEN 0 WHEN proof >= ? THEN 1 ELSE 2 END AS age, state = 'failed' AS failed,
			CASE WHEN state = 'failed' THEN reason ELSE '' END AS reason, count(*), count(CASE WHEN hard THEN 1 END)
		FROM t GROUP BY 1, 2, 3, 4`, campaign, nth, fresh, year)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var domain, reason string
		var age int
		var failed bool
		var n, hard int64
		if err := rows.Scan(&domain, &age, &failed, &reason, &n, &hard); err != nil {
			return err
		}
		switch {
		case !failed:
			add(domain, age, n, hard)
		case bounce.Dead(reason):
			add(domain, age, n, n)
		}
	}
	return rows.Err()
}

// SentCampaign is a campaign by name and when it began.
type SentCampaign struct {
	Name  string
	Began time.Time
}

// LastCampaigns are the last n marketing campaigns that were sent to their end, the newest first.
func (s *Store) LastCampaigns(ctx context.Context, n int) ([]SentCampaign, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT name, created_at FROM campaigns WHERE class = 'marketing' AND state = 'finished' ORDER BY id DESC LIMIT ?", n)
	if err != nil {
		return nil, fmt.Errorf("read campaigns: %w", explain(err))
	}
	defer rows.Close()
	var all []SentCampaign
	for rows.Next() {
		var c SentCampaign
		var began int64
		if err := rows.Scan(&c.Name, &began); err != nil {
			return nil, fmt.Errorf("read campaigns: %w", err)
		}
		c.Began = timeOf(began)
		all = append(all, c)
	}
	return all, wrap("read campaigns", explain(rows.Err()))
}

// eachStretch runs a query over every stretch of the contacts in w, on every core, and row reads what comes, one at a time. query
// puts the condition where it belongs; its other arguments stand before it and behind it.
func (s *Store) eachStretch(ctx context.Context, w Where, query func(where string) string, before, behind []any, step func(done, total int64), row func(*sql.Rows) error) error {
	var first, last int64
	err := s.read.QueryRowContext(ctx, "SELECT coalesce((SELECT min(id) FROM contacts), 0), coalesce((SELECT max(id) FROM contacts), 0)").Scan(&first, &last)
	if err != nil {
		return explain(err)
	}
	w, single, err := s.quicken(ctx, w)
	if err != nil {
		return explain(err)
	}
	stretch, workers := s.sizes.stretch, min(runtime.GOMAXPROCS(0), readers)
	if single || last-first < s.sizes.apart {
		stretch, workers = last-first+1, 1
	}
	text := query(w.And(Where{SQL: "c.id >= ? AND c.id < ?"}).clause())
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	starts := make(chan int64)
	var reading sync.Mutex // of row
	done := int64(0)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			err := withMap(ctx, s.read, func(conn *sql.Conn) error {
				for at := range starts {
					args := join(join(join(before, w.Args), []any{at, at + stretch}), behind)
					if err := readStretch(ctx, conn, text, args, &reading, row); err != nil {
						return err
					}
					reading.Lock()
					if done = min(done+stretch, last-first+1); step != nil {
						step(done, last-first+1)
					}
					reading.Unlock()
				}
				return nil
			})
			if err != nil {
				stop(err)
			}
		})
	}
	for at := first; at <= last && ctx.Err() == nil; at += stretch {
		select {
		case starts <- at:
		case <-ctx.Done():
		}
	}
	close(starts)
	running.Wait()
	return explain(context.Cause(ctx))
}

func readStretch(ctx context.Context, conn *sql.Conn, query string, args []any, reading *sync.Mutex, row func(*sql.Rows) error) error {
	rows, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		reading.Lock()
		err := row(rows)
		reading.Unlock()
		if err != nil {
			return err
		}
	}
	return rows.Err()
}
