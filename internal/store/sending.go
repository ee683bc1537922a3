package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"mailer/internal/contact"
	"mailer/internal/delivery"
	"mailer/internal/pace"
)

// Errors of a run.
var (
	ErrBusy      = errors.New("another process is sending this campaign")
	ErrLeaseLost = errors.New("another process has taken this campaign over")
)

// Run is the right to send one campaign: a lease with a fencing token that only grows. Every claim is checked against it
// in its own transaction, so a process that was suspended and comes back late can record what it knows, but claims
// nothing more.
type Run struct {
	s        *Store
	campaign int64
	class    string
	token    int64
	ttl      time.Duration
	limits   func(relay, lane string) []pace.Limit // nil: none

	mu     sync.Mutex
	d      *direct
	claim  []sized
	accept []sized
	now    []cleaned       // what frozen providers have to do with, in the commit under way
	froze  []Freeze        // providers whose cleaning froze, and nobody was told yet
	frozen map[string]bool // providers at which dead addresses of this run are held back
}

// HolderName is the holder of a lease for people. The whole says more ("host/namespace/boot pid 7 start 9"), so that another process
// can tell whether it still lives.
func HolderName(holder string) string {
	host, rest, ok := strings.Cut(holder, " pid ")
	if !ok {
		return holder
	}
	host, _, _ = strings.Cut(host, "/")
	pid, _, _ := strings.Cut(rest, " ")
	return "process " + pid + " on " + host
}

// Claimed is what a claim came to.
type Claimed struct {
	Attempt  int       // this one's number; 0: not claimed
	Excluded bool      // suppressed since the audience was frozen
	From     time.Time // when its message may leave: zero or past, at once
	NotUntil time.Time // a limit is reached: not claimed before then
	Limit    string    // the limit that says so
}

// Claim is the intent to send: committed before the message leaves.
type Claim struct {
	Delivery  int64
	Relay     string
	Lane      string // the receiving provider
	MessageID string
}

// Outcome is how a claimed delivery ended.
type Outcome struct {
	Delivery int64
	Key      string
	Campaign int64
	Attempt  int
	Relay    string
	Lane     string
	Slot     time.Time // From of its claim
	Phase    delivery.Phase
	Reply    delivery.Reply
	Text     string // instead of a reply: what broke
	Decision delivery.Decision
}

// Acquire takes the lease of a campaign. ErrBusy when a living process holds it: gone says whether the process behind a
// holder has ended (then the lease falls at once). Deliveries that the last holder left in `sending` become `uncertain`:
// nobody knows whether they left. It returns how many. limits says which hold for a message that the run claims; it is asked
// once a commit for each relay and lane.
func (s *Store) Acquire(ctx context.Context, campaign Campaign, holder string, ttl time.Duration, gone func(holder string) bool,
	limits func(relay, lane string) []pace.Limit) (*Run, int64, error) {
	r := &Run{s: s, campaign: campaign.ID, class: campaign.Class, ttl: ttl, limits: limits, d: s.direct(max(patience, ttl))}
	for _, n := range perStatement {
		r.claim = append(r.claim, sized{n, claimText(n, r.class)})
		r.accept = append(r.accept, sized{n, acceptText(n)})
	}
	var doubtful int64
	err := s.update(ctx, func(tx *sql.Tx) error {
		var have string
		var expires int64
		err := tx.QueryRowContext(ctx, "SELECT lease_holder, lease_token, lease_expires FROM campaigns WHERE id = ?", campaign.ID).Scan(&have, &r.token, &expires)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%w: it was frozen anew a moment ago", ErrBusy)
		}
		if err != nil {
			return err
		}
		if have != "" && expires > s.millis() && !gone(have) {
			return fmt.Errorf("%w (%s): wait until it is done, or stop it with mailer campaigns pause %s", ErrBusy, HolderName(have), campaign.Name)
		}
		r.token++
		_, err = tx.ExecContext(ctx, "UPDATE campaigns SET lease_holder = ?, lease_token = ?, lease_expires = ? WHERE id = ?",
			holder, r.token, s.now().Add(ttl).UnixMilli(), campaign.ID)
		if err != nil {
			return err
		}
		if doubtful, err = s.doubt(ctx, tx, campaign.ID); err != nil {
			return err
		}
		return s.excludeCancelled(ctx, tx, campaign.ID)
	})
	if err != nil {
		r.d.Close()
		return nil, 0, fmt.Errorf("take campaign %s: %w", campaign.Name, err)
	}
	return r, doubtful, nil
}

// doubt marks what a dead process left in flight.
func (s *Store) doubt(ctx context.Context, tx *sql.Tx, campaign int64) (int64, error) {
	const why = "the process ended between sending and recording"
	_, err := tx.ExecContext(ctx, `INSERT INTO attempts (delivery, number, at, relay, phase, outcome, reason)
		SELECT id, attempts, ?, relay, 'dot', 'uncertain', ? FROM deliveries WHERE campaign = ? AND state = 'sending'`, s.millis(), why, campaign)
	if err != nil {
		return 0, err
	}
	res, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = 'uncertain', reason = ?, updated_at = ?
		WHERE campaign = ? AND state = 'sending'`, why, s.millis(), campaign)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// perStatement is how many rows a statement may have. Many in one cost half as much as one by one; more than 16 cost more again,
// because the driver looks for each argument among all.
var perStatement = [...]int{16, 8, 4, 2, 1}

// sized is a statement for a number of rows.
type sized struct {
	rows int
	text string
}

// fitting is the largest statement for at most n rows.
func fitting(all []sized, n int) sized {
	for _, s := range all {
		if s.rows <= n {
			return s
		}
	}
	return all[len(all)-1]
}

// unsettled is whose outcome can still be written. A bounce may have settled a delivery before its own reply was recorded; then there
// is nothing to say any more. One that was uncertain and is to be sent again (deferred, of the same attempt) need not be, now that its
// outcome is known.
const unsettled = "state IN ('sending','uncertain','deferred')"

// blockedNow is the condition that a delivery d must not be sent to now. Few workspaces suppress a domain, so whether any is suppressed
// is asked first, once a statement.
func blockedNow(d, class string) string {
	if class == "marketing" {
		return `(EXISTS (SELECT 1 FROM suppressions s WHERE s.scope = 'address' AND s.key = ` + d + `.key)
			OR EXISTS (SELECT 1 FROM suppressions WHERE scope = 'domain')
			AND EXISTS (SELECT 1 FROM suppressions s WHERE s.scope = 'domain' AND s.key = ` + d + `.domain))`
	}
	return `(EXISTS (SELECT 1 FROM suppressions s WHERE s.scope = 'address' AND s.key = ` + d + `.key AND s.blocks = 'all')
		OR EXISTS (SELECT 1 FROM suppressions WHERE scope = 'domain')
		AND EXISTS (SELECT 1 FROM suppressions s WHERE s.scope = 'domain' AND s.key = ` + d + `.domain AND s.blocks = 'all'))`
}

// claimText claims n deliveries. Suppressions are looked at again in the statement that claims: who unsubscribed a second ago is not
// mailed. So is the time: who was read as due may have been tried and deferred since.
func claimText(n int, class string) string {
	return `UPDATE deliveries SET state = 'sending', attempts = attempts + 1, relay = v.column2, message_id = v.column3, updated_at = ?
		FROM (VALUES (?, ?, ?)` + strings.Repeat(", (?, ?, ?)", n-1) + `) AS v
		WHERE id = v.column1 AND state IN ('pending','deferred') AND next_try <= ? AND NOT ` + blockedNow("deliveries", class) + `
		RETURNING id, attempts`
}

// acceptText settles n deliveries that the relay has taken.
func acceptText(n int) string {
	return `UPDATE deliveries SET state = 'accepted', reason = v.column3, code = v.column4, enhanced = v.column5, reply = v.column6, next_try = 0, updated_at = ?
		FROM (VALUES (?, ?, ?, ?, ?, ?)` + strings.Repeat(", (?, ?, ?, ?, ?, ?)", n-1) + `) AS v
		WHERE id = v.column1 AND attempts = v.column2 AND ` + unsettled
}

// Commit writes claims and outcomes in one durable transaction and keeps the lease fresh with it. Outcomes come first. With
// claims the lease must still be ours (ErrLeaseLost, and nothing is written); outcomes alone are facts and are written in
// any case. state is the campaign's state, which another terminal may have changed: of a campaign that is paused or
// cancelled nothing is claimed.
func (r *Run) Commit(ctx context.Context, claims []Claim, outcomes []Outcome) (claimed []Claimed, state string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = nil
	err = r.d.update(ctx, func() error {
		m := r.meters()
		var err error
		if claimed, state, err = r.commit(ctx, m, claims, outcomes); err != nil {
			return err
		}
		return m.save()
	})
	if err == nil {
		r.keepFrozen()
	}
	return claimed, state, err
}

func (r *Run) commit(ctx context.Context, m *meters, claims []Claim, outcomes []Outcome) (claimed []Claimed, state string, err error) {
	if err := r.settleAll(ctx, m, outcomes); err != nil {
		return nil, "", err
	}
	state, err = r.hold()
	if errors.Is(err, ErrLeaseLost) && len(outcomes) > 0 && len(claims) == 0 {
		return nil, "", r.late(ctx)
	}
	if err != nil {
		return nil, "", err
	}
	claimed = make([]Claimed, len(claims))
	switch state {
	case CampaignPaused:
	case CampaignCancelled:
		// What came back from the wire is not sent either.
		err = r.s.excludeCancelled(ctx, r.d, r.campaign)
	default:
		err = r.claimAll(m, claims, claimed)
	}
	return claimed, state, err
}

// hold makes sure that the lease is still ours, renews it once a second (not each time: every commit would write a page
// more), and returns the campaign's state.
func (r *Run) hold() (state string, err error) {
	ours, expires := false, int64(0)
	err = r.d.query(func(row []driver.Value) error {
		ours = true
		state, _ = row[0].(string)
		expires, _ = row[1].(int64)
		return nil
	}, "SELECT state, lease_expires FROM campaigns WHERE id = ? AND lease_token = ?", r.campaign, r.token)
	if err == nil && !ours {
		return "", ErrLeaseLost
	}
	if until := r.s.now().Add(r.ttl); err == nil && expires <= until.Add(-time.Second).UnixMilli() {
		_, err = r.d.exec("UPDATE campaigns SET lease_expires = ? WHERE id = ?", until.UnixMilli(), r.campaign)
	}
	return state, err
}

// late follows the outcomes of a process that lost its lease: what they put back may be of a campaign that has ended
// since. A finished one goes on, of a cancelled one nothing is sent.
func (r *Run) late(ctx context.Context) error {
	_, err := r.d.exec(`UPDATE campaigns SET state = 'sending', finished_at = NULL WHERE id = ? AND state = 'finished' AND `+anybodyLeft, r.campaign)
	if err != nil {
		return err
	}
	return r.s.excludeCancelled(ctx, r.d, r.campaign)
}

// claimAll claims those that the limits let through. What somebody leaves who is suppressed, or gone, is for those behind them.
func (r *Run) claimAll(m *meters, claims []Claim, claimed []Claimed) error {
	if r.limits == nil {
		return r.claimThese(claims, claimed)
	}
	todo := make([]int, len(claims))
	for i := range todo {
		todo[i] = i
	}
	for len(todo) > 0 {
		m.mark()
		some, slots := make([]Claim, 0, len(todo)), make([]slot, 0, len(todo))
		var let, left []int
		for _, i := range todo {
			s, err := m.take(claims[i].Relay, claims[i].Lane)
			if err != nil {
				return err
			}
			if !s.next.IsZero() {
				claimed[i] = Claimed{NotUntil: s.next, Limit: s.by}
				left = append(left, i)
				continue
			}
			some, slots, let = append(some, claims[i]), append(slots, s), append(let, i)
		}
		got := make([]Claimed, len(some))
		if err := r.claimThese(some, got); err != nil {
			return err
		}
		lost := false
		for k := range got {
			slots[k].lost = got[k].Attempt == 0
			lost = lost || slots[k].lost
		}
		if lost {
			m.takeAnew(slots)
		}
		for k, i := range let {
			if claimed[i] = got[k]; !slots[k].lost {
				claimed[i].From = slots[k].from
			}
		}
		if !lost {
			break
		}
		todo = left
	}
	return nil
}

// claimThese claims whatever the limits say.
func (r *Run) claimThese(claims []Claim, claimed []Claimed) error {
	for done := 0; done < len(claims); {
		stmt := fitting(r.claim, len(claims)-done)
		end := done + stmt.rows
		if err := r.claimSome(stmt.text, claims[done:end], claimed[done:end]); err != nil {
			return err
		}
		done = end
	}
	return nil
}

// claimSome claims what one statement holds, and excludes who is suppressed.
func (r *Run) claimSome(text string, claims []Claim, claimed []Claimed) error {
	now, got := r.s.millis(), 0
	args := append(make([]any, 0, 2+3*len(claims)), now)
	for _, c := range claims {
		args = append(args, c.Delivery, c.Relay, c.MessageID)
	}
	args = append(args, now)
	err := r.d.query(func(row []driver.Value) error {
		id, _ := row[0].(int64)
		attempt, _ := row[1].(int64)
		// One that is asked for twice is claimed once, for the first who asked.
		i := slices.IndexFunc(claims, func(c Claim) bool { return c.Delivery == id })
		claimed[i].Attempt = int(attempt)
		got++
		return nil
	}, text, args...)
	if err != nil || got == len(claims) {
		return err
	}
	for i, c := range claims {
		if claimed[i].Attempt > 0 {
			continue
		}
		n, err := r.d.exec(`UPDATE deliveries SET state = 'excluded', updated_at = ?, reason = 'suppressed: ' || (
				SELECT s.reason FROM suppressions s WHERE (s.scope = 'address' AND s.key = deliveries.key OR s.scope = 'domain' AND s.key = deliveries.domain)
				AND (s.blocks = 'all' OR ? = 'marketing') ORDER BY s.blocks, s.id LIMIT 1)
			WHERE id = ? AND state IN ('pending','deferred') AND `+blockedNow("deliveries", r.class), now, r.class, c.Delivery)
		if err != nil {
			return err
		}
		claimed[i].Excluded = n > 0
	}
	return nil
}

// settleAll writes outcomes: together those that the relay has taken, which nearly all are, then the others. An attempt has one
// outcome, so their order says nothing.
func (r *Run) settleAll(ctx context.Context, m *meters, outcomes []Outcome) error {
	accepted := make([]Outcome, 0, len(outcomes))
	for _, o := range outcomes {
		if o.Decision.State == delivery.Accepted {
			accepted = append(accepted, o)
		}
	}
	now := r.s.millis()
	var args []any
	for len(accepted) > 0 {
		stmt := fitting(r.accept, len(accepted))
		args = append(args[:0], now)
		for _, o := range accepted[:stmt.rows] {
			args = append(args, o.Delivery, o.Attempt, o.Decision.Reason, o.Reply.Code, o.Reply.Enhanced, o.said())
		}
		if _, err := r.d.exec(stmt.text, args...); err != nil {
			return err
		}
		accepted = accepted[stmt.rows:]
	}
	for _, o := range outcomes {
		if o.Decision.State == delivery.Accepted {
			continue
		}
		if err := r.settleOne(ctx, m, o); err != nil {
			return err
		}
	}
	return nil
}

// said is what the relay said, or else what broke.
func (o Outcome) said() string {
	if o.Reply.Text == "" {
		return o.Text
	}
	return o.Reply.Text
}

// settleOne writes one outcome, its attempt and, for a dead address, the suppression, all in the same transaction.
func (r *Run) settleOne(ctx context.Context, m *meters, o Outcome) error {
	now := r.s.now()
	if o.Decision.State == "" {
		n, err := r.d.exec(`UPDATE deliveries SET attempts = attempts - 1, updated_at = ?, state = CASE WHEN attempts = 1 THEN 'pending' ELSE 'deferred' END
			WHERE id = ? AND attempts = ? AND state IN ('sending','uncertain')`, now.UnixMilli(), o.Delivery, o.Attempt)
		if err != nil || n == 0 {
			return err
		}
		return m.giveBack(o.Relay, o.Lane, o.Slot)
	}
	reply, next := o.said(), int64(0)
	if o.Decision.State == delivery.Deferred {
		next = now.Add(o.Decision.NextTry).UnixMilli()
	}
	_, err := r.d.exec(`UPDATE deliveries SET state = ?, reason = ?, code = ?, enhanced = ?, reply = ?, next_try = ?, updated_at = ?
		WHERE id = ? AND attempts = ? AND `+unsettled, string(o.Decision.State), o.Decision.Reason, o.Reply.Code, o.Reply.Enhanced, reply,
		next, now.UnixMilli(), o.Delivery, o.Attempt)
	if err != nil || o.Decision.State == delivery.Excluded {
		return err // an exclusion was no attempt, and the table's CHECK knows none
	}
	_, err = r.d.exec(`INSERT INTO attempts (delivery, number, at, relay, phase, outcome, reason, code, enhanced, reply) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		o.Delivery, o.Attempt, now.UnixMilli(), o.Relay, string(o.Phase), string(o.Decision.State), o.Decision.Reason, o.Reply.Code, o.Reply.Enhanced, reply)
	if err != nil || o.Decision.State != delivery.Failed {
		return err
	}
	return r.clean(ctx, o, reply)
}

// clean does what a refusal for good means for the address itself.
func (r *Run) clean(ctx context.Context, o Outcome, reply string) error {
	if !o.Decision.Hard && !(inSession(o.Decision.Reason) && r.s.policy.Counts(o.Decision.Reason)) {
		return nil
	}
	c := cleaner{r.d, r.d.query}
	did := cleaned{}
	who := subject{delivery: o.Delivery, campaign: r.campaign, key: o.Key, domain: o.Key[strings.LastIndexByte(o.Key, '@')+1:]}
	var err error
	if o.Decision.Hard {
		did, err = r.s.died(ctx, c, who, reply)
	} else {
		did, err = r.s.softened(ctx, c, who)
	}
	if did.held != nil {
		r.now = append(r.now, did)
	}
	return err
}

const finish = `UPDATE campaigns SET state = 'finished', finished_at = ? WHERE id = ? AND lease_token = ? AND state = 'sending'
	AND NOT ` + anybodyLeft + ` AND NOT EXISTS (SELECT 1 FROM deliveries WHERE campaign = campaigns.id AND state = 'sending')`

// Close gives the lease back. A campaign with nobody left becomes finished.
func (r *Run) Close(ctx context.Context) error {
	err := r.s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, finish, r.s.millis(), r.campaign, r.token)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE campaigns SET lease_holder = '', lease_expires = 0 WHERE id = ? AND lease_token = ?", r.campaign, r.token)
		return err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := errors.Join(err, r.d.Close()); err != nil {
		return fmt.Errorf("give the campaign back: %w", err)
	}
	return nil
}

// Due is a delivery whose time has come, with what its message needs.
type Due struct {
	ID         int64
	Key        string
	Address    string
	Domain     string
	Attempts   int
	Relay      string // that it was tried by last
	Values     map[string]string
	Gone       bool // the contact is not there any more: there is nothing to render
	Suppressed bool // as things are now: the claim, which excludes it, is all that is to be done
}

// Among narrows what is read as due; its zero value takes all.
type Among struct {
	Only, Not []string // receiving domains
	IDs       []int64  // deliveries: those of a sample
}

// where is the condition on a delivery d, in front of which others stand. But for ids the index answers it.
func (a Among) where(args []any) (string, []any) {
	var text string
	for _, part := range []struct {
		text string
		some bool
		list any
	}{
		{" AND d.domain IN ", len(a.Only) > 0, a.Only}, {" AND d.domain NOT IN ", len(a.Not) > 0, a.Not}, {" AND d.id IN ", len(a.IDs) > 0, a.IDs},
	} {
		if part.some {
			text += part.text + listed
			args = append(args, asList(part.list))
		}
	}
	return text, args
}

// Fresh returns up to limit deliveries of the campaign behind the one with the id after, in the order of their ids: those that were
// never tried, those that were put back untried, and those that a person had opened again. What was put back stands before a reader
// that is past it: it begins again at 0 when nothing is left.
func (r *Run) Fresh(ctx context.Context, fields []contact.Field, among Among, after int64, limit int) ([]Due, error) {
	where, args := among.where([]any{r.campaign, after})
	return r.due(ctx, fields, freshText(r.class, where), append(args, limit)...)
}

// Retries returns up to limit deliveries of the campaign that were deferred and whose time has come, in the order of their time.
func (r *Run) Retries(ctx context.Context, fields []contact.Field, among Among, limit int) ([]Due, error) {
	where, args := among.where([]any{r.campaign, r.s.millis()})
	return r.due(ctx, fields, retriesText(r.class, where), append(args, limit)...)
}

// "state IN (...)" stands as in the partial index deliveries_open, which then gives the order too, and the domain: of those that among
// leaves out no row is read.
func freshText(class, among string) string {
	return dueText(class) + " AND d.next_try = 0 AND d.id > ?" + among + " ORDER BY d.id LIMIT ?"
}

func retriesText(class, among string) string {
	return dueText(class) + " AND d.next_try > 0 AND d.next_try <= ?" + among + " ORDER BY d.next_try, d.id LIMIT ?"
}

func dueText(class string) string {
	return `SELECT d.id, d.key, d.address, d.domain, d.attempts, d.relay, c.fields, ` + blockedNow("d", class) + `
		FROM deliveries AS d LEFT JOIN contacts AS c ON c.id = d.contact AND c.key = d.key
		WHERE d.campaign = ? AND d.state IN ('pending','deferred')`
}

func (r *Run) due(ctx context.Context, fields []contact.Field, query string, args ...any) ([]Due, error) {
	var due []Due
	var text sql.NullString
	err := eachRow(ctx, r.s.read, func(rows *sql.Rows) error {
		var d Due
		err := rows.Scan(&d.ID, &d.Key, &d.Address, &d.Domain, &d.Attempts, &d.Relay, &text, &d.Suppressed)
		if err != nil {
			return err
		}
		d.Gone = !text.Valid
		if text.Valid {
			if d.Values, err = contact.DecodeFields(fields, text.String); err != nil {
				return fmt.Errorf("fields of %s: %w", d.Address, err)
			}
		}
		due = append(due, d)
		return nil
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read what is due: %w", explain(err))
	}
	return due, nil
}

const (
	openByDomain     = "SELECT domain, count(*) FROM deliveries WHERE campaign = ? AND " + open + " GROUP BY domain ORDER BY 2 DESC, 1"
	answeredByDomain = "SELECT domain, count(*) FROM deliveries WHERE campaign = ? AND state IN ('accepted','failed','bounced','complained') GROUP BY domain ORDER BY 2 DESC, 1"
	plannedByDomain  = "SELECT domain, count(*) FROM deliveries WHERE campaign = ? AND state <> 'excluded' GROUP BY domain ORDER BY 2 DESC, 1"
)

// Open counts who may still be sent to by receiving domain, the largest first.
func (r *Run) Open(ctx context.Context) ([]Share, error) { return r.s.OpenByDomain(ctx, r.campaign) }

// OpenByDomain counts who of a campaign may still be sent to by receiving domain, the largest first.
func (s *Store) OpenByDomain(ctx context.Context, campaign int64) ([]Share, error) {
	return s.byDomain(ctx, openByDomain, campaign)
}

// PlannedByDomain counts everybody of a campaign who is not excluded by receiving domain, the largest first.
func (s *Store) PlannedByDomain(ctx context.Context, campaign int64) ([]Share, error) {
	return s.byDomain(ctx, plannedByDomain, campaign)
}

// Answered counts who of the campaign was accepted or failed for good by receiving domain, the largest first.
func (r *Run) Answered(ctx context.Context) ([]Share, error) {
	return r.s.byDomain(ctx, answeredByDomain, r.campaign)
}

func (s *Store) byDomain(ctx context.Context, query string, campaign int64) ([]Share, error) {
	var all []Share
	err := eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var d Share
		err := rows.Scan(&d.Name, &d.Count)
		all = append(all, d)
		return err
	}, query, campaign)
	if err != nil {
		return nil, fmt.Errorf("count by receiving domain: %w", explain(err))
	}
	return all, nil
}

// NextDue is when the next deferred delivery of the campaign can be tried; false when none waits.
func (r *Run) NextDue(ctx context.Context) (time.Time, bool, error) {
	var at sql.NullInt64
	err := r.s.read.QueryRowContext(ctx, `SELECT min(next_try) FROM deliveries WHERE campaign = ? AND state IN ('pending','deferred')`, r.campaign).Scan(&at)
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read what is due: %w", explain(err))
	}
	return timeOf(at.Int64), at.Valid, nil
}

// NextRetry is when the next of those can be tried whom the relay deferred; false when none waits.
func (r *Run) NextRetry(ctx context.Context) (time.Time, bool, error) {
	var at sql.NullInt64
	err := r.s.read.QueryRowContext(ctx, `SELECT min(next_try) FROM deliveries WHERE campaign = ? AND state IN ('pending','deferred') AND next_try > 0`, r.campaign).Scan(&at)
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read what is deferred: %w", explain(err))
	}
	return timeOf(at.Int64), at.Valid, nil
}

// waiting is who was deferred.
const waiting = "campaign = ? AND " + open + " AND state = 'deferred'"

// Expire fails the deferred deliveries of a campaign whose time is up, keeping the last reply.
func (r *Run) Expire(ctx context.Context) (n int64, err error) {
	err = r.s.update(ctx, func(tx *sql.Tx) error {
		n, err = r.expire(ctx, tx)
		return err
	})
	return n, wrap("end what was deferred", err)
}

func (r *Run) expire(ctx context.Context, tx *sql.Tx) (int64, error) {
	_, err := tx.ExecContext(ctx, `INSERT INTO attempts (delivery, number, at, relay, outcome, reason, code, enhanced, reply)
		SELECT id, attempts, ?, relay, 'failed', 'expired', code, enhanced, reply FROM deliveries WHERE `+waiting, r.s.millis(), r.campaign)
	if err != nil {
		return 0, err
	}
	res, err := tx.ExecContext(ctx, "UPDATE deliveries SET state = 'failed', reason = 'expired', updated_at = ? WHERE "+waiting, r.s.millis(), r.campaign)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// TooLate ends a campaign that must not go on after a time that has passed: who was never tried is excluded, who was deferred fails.
// It returns how many there were.
func (r *Run) TooLate(ctx context.Context) (n int64, err error) {
	err = r.s.update(ctx, func(tx *sql.Tx) error {
		if n, err = r.expire(ctx, tx); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, excludeLate, r.s.millis(), r.campaign)
		if err != nil {
			return err
		}
		never, err := res.RowsAffected()
		n += never
		return err
	})
	return n, wrap("end what is too late", err)
}

const excludeLate = "UPDATE deliveries SET state = 'excluded', reason = 'too late', updated_at = ? WHERE campaign = ? AND " + open + " AND state = 'pending'"

// Resolve settles what is uncertain as its user says: `resend` tries again with the same Message-ID, `sent` counts as
// accepted. A campaign that was finished opens again for what is resent until expires.
func (r *Run) Resolve(ctx context.Context, resend bool, expires time.Time) (int64, error) {
	state, word := "accepted", "taken as sent"
	if resend {
		state, word = "deferred", "sent again on request"
	}
	return r.reopen(ctx, "uncertain", state, word, expires)
}

// RetryFailed puts failed deliveries back, but those whose address is suppressed.
func (r *Run) RetryFailed(ctx context.Context, expires time.Time) (int64, error) {
	return r.reopen(ctx, "failed", "deferred", "tried again on request", expires)
}

func (r *Run) reopen(ctx context.Context, from, to, word string, expires time.Time) (int64, error) {
	var n int64
	err := r.s.update(ctx, func(tx *sql.Tx) error {
		var last int64
		if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM attempts").Scan(&last); err != nil {
			return err
		}
		// The claim looks at suppressions again; here they only keep the failed of dead addresses as they are.
		_, err := tx.ExecContext(ctx, `INSERT INTO attempts (delivery, number, at, relay, outcome, reason) SELECT d.id, d.attempts, ?, d.relay, 'resolved', ?
			FROM deliveries AS d WHERE d.campaign = ? AND d.state = ?
			AND (d.state <> 'failed' OR NOT EXISTS (SELECT 1 FROM suppressions s WHERE s.scope = 'address' AND s.key = d.key))`,
			r.s.millis(), word, r.campaign, from)
		if err != nil {
			return err
		}
		// Whom that found need not be looked for again among a million.
		res, err := tx.ExecContext(ctx, "UPDATE deliveries SET state = ?, reason = ?, next_try = 0, updated_at = ? WHERE id IN (SELECT delivery FROM attempts WHERE id > ?)",
			to, word, r.s.millis(), last)
		if err != nil {
			return err
		}
		if n, err = res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		if to == "deferred" {
			if _, err := tx.ExecContext(ctx, `UPDATE campaigns SET state = CASE WHEN state = 'finished' THEN 'sending' ELSE state END, finished_at = NULL,
				expires_at = max(expires_at, ?) WHERE id = ?`, expires.UnixMilli(), r.campaign); err != nil {
				return err
			}
		}
		return r.s.audit(ctx, tx, "deliveries."+from, map[string]any{"campaign": r.campaign, "to": to, "count": n})
	})
	return n, err
}
