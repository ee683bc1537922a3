package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/suppression"
)

// What a person says of mails and of what they did.

// ErrNotWaiting says that there is nothing to decide about a mail.
var ErrNotWaiting = errors.New("nothing waits for a decision there")

// ConfirmMail acts on a mail on a person's word: about the last message to each of the addresses that the mail names, or, where somebody
// asks to be left alone, about the addresses themselves. It returns what it did for each, in their order.
func (s *Store) ConfirmMail(ctx context.Context, id int64, keys []string) (all []Recorded, err error) {
	b, err := s.waitingMail(ctx, id)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx *sql.Tx) error {
		all = nil
		if err := s.decide(ctx, tx, id, "confirmed"); err != nil {
			return err
		}
		if b.Asks {
			all, err = s.grant(ctx, tx, b, keys)
			return err
		}
		for _, key := range keys {
			r, err := s.confirmOne(ctx, tx, b, key)
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
	})
	return all, wrap(fmt.Sprintf("confirm mail %d", id), err)
}

func (s *Store) waitingMail(ctx context.Context, id int64) (BounceRow, error) {
	b, err := s.Bounce(ctx, id)
	switch {
	case err != nil:
		return b, err
	case b.Forged:
		return b, fmt.Errorf("mail %d carries a wrong signature, somebody made it up: %w (mailer suppressions add, if you know better)", id, ErrNotWaiting)
	case b.Decided != "":
		return b, fmt.Errorf("mail %d was %s already: %w", id, b.Decided, ErrNotWaiting)
	case !b.Waiting():
		return b, fmt.Errorf("mail %d: %w", id, ErrNotWaiting)
	}
	return b, nil
}

// decide notes a person's word; two who decide at once decide once.
func (s *Store) decide(ctx context.Context, tx *sql.Tx, id int64, word string) error {
	res, err := tx.ExecContext(ctx, "UPDATE bounces SET decided = ?, decided_at = ? WHERE id = ? AND decided = ''", word, s.millis(), id)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, ErrNotWaiting)
	}
	return s.audit(ctx, tx, "bounces."+word, map[string]any{"mail": id})
}

// grant is what a person gets who asks in their own words: no more marketing mail. What signature the answer carries says which
// message they answer, and so whose wish it is.
func (s *Store) grant(ctx context.Context, tx *sql.Tx, b BounceRow, keys []string) ([]Recorded, error) {
	if b.Delivery != 0 {
		d, err := settleable(cleanerOf(ctx, tx), b.Delivery)
		if err != nil {
			return nil, err
		}
		keys = []string{d.key}
	}
	c := cleanerOf(ctx, tx)
	var all []Recorded
	for _, key := range keys {
		r := Recorded{ID: b.ID, Matched: b.Delivery != 0, Consequence: suppression.Consequence{Event: "unsubscribe", Suppress: suppression.Unsubscribe}}
		added, err := s.suppress(ctx, c, Suppression{Scope: suppression.ScopeAddress, Key: key, Blocks: suppression.BlocksMarketing, Reason: suppression.Unsubscribe,
			Evidence: fmt.Sprintf("asked by mail to be left alone (mail %d)", b.ID), Delivery: b.Delivery, Bounce: b.ID})
		if err != nil {
			return nil, err
		}
		if added {
			r.Suppressed, r.Changed = true, []string{"suppressed: unsubscribe"}
		}
		if b.Delivery != 0 {
			_, err = tx.ExecContext(ctx, "INSERT INTO events (at, kind, key, delivery, campaign, bounce) SELECT ?, 'unsubscribe', key, id, campaign, ? FROM deliveries WHERE id = ?",
				s.millis(), b.ID, b.Delivery)
		}
		if err == nil {
			err = c.noteChanged(ctx, b.ID, r.Changed...)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// confirmOne acts on a report about an address, for the last message that went there.
func (s *Store) confirmOne(ctx context.Context, tx *sql.Tx, b BounceRow, key string) (Recorded, error) {
	r := Recorded{ID: b.ID}
	var last int64
	err := tx.QueryRowContext(ctx, "SELECT id FROM deliveries WHERE key = ? AND state IN ('accepted','bounced','complained','uncertain') ORDER BY id DESC LIMIT 1", key).Scan(&last)
	if errors.Is(err, sql.ErrNoRows) {
		return r, fmt.Errorf("no message of ours was taken for %s: there is nothing to confirm (mailer bounces dismiss %d)", key, b.ID)
	}
	if err != nil {
		return r, err
	}
	c := cleanerOf(ctx, tx)
	d, err := settleable(c, last)
	if err != nil {
		return r, err
	}
	r.Matched, r.Domain, r.Consequence = true, d.domain(), suppression.Decide(b.Verdict, d.address)
	if err := s.apply(ctx, c, d, &r); err != nil {
		return r, err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE bounces SET delivery = ?, matched_by = 'person' WHERE id = ?", last, b.ID); err != nil {
		return r, err
	}
	return r, c.noteChanged(ctx, b.ID, r.Changed...)
}

// DismissMail notes that a mail is to do nothing.
func (s *Store) DismissMail(ctx context.Context, id int64) error {
	if _, err := s.waitingMail(ctx, id); err != nil {
		return err
	}
	return wrap(fmt.Sprintf("dismiss mail %d", id), s.update(ctx, func(tx *sql.Tx) error { return s.decide(ctx, tx, id, "dismissed") }))
}

// CountWaiting is how many mails wait for a person's word.
func (s *Store) CountWaiting(ctx context.Context) (n int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM bounces AS b
		WHERE b.decided = '' AND b.forged = 0 AND (b.asks = 1 OR b.delivery IS NULL AND b.kind IN ('bounce','complaint','unsubscribe'))`).Scan(&n)
	return n, wrap("count mails", explain(err))
}

// Undo says which suppressions by mails and refusals are to be taken back. The zero value of a condition takes all.
type Undo struct {
	Since, Until time.Time
	Reasons      []string
	Lane         string
	Campaign     string
	DryRun       bool
}

// TakenBack is a suppression that was taken back, or would be.
type TakenBack struct {
	SuppressionRow
	Campaign string
	Lane     string
}

// undoAtOnce is how many are taken back in one transaction, so that a running send keeps its pace.
const undoAtOnce = 500

// UndoBounces takes back what mails and refusals have suppressed: it lifts the suppressions and forgets the score. That the messages
// did not arrive stays: it is so. fn hears of each.
func (s *Store) UndoBounces(ctx context.Context, u Undo, fn func(TakenBack) error) (n int64, err error) {
	all, err := s.undoable(ctx, u)
	if err != nil {
		return 0, err
	}
	for _, r := range all {
		if err := fn(r); err != nil {
			return 0, err
		}
	}
	if u.DryRun {
		return int64(len(all)), nil
	}
	for chunk := range slices.Chunk(all, undoAtOnce) {
		err := s.update(ctx, func(tx *sql.Tx) error { return s.undoSome(ctx, tx, chunk) })
		if err != nil {
			return n, fmt.Errorf("undo bounces: %w", err)
		}
		n += int64(len(chunk))
	}
	return n, nil
}

func (s *Store) undoable(ctx context.Context, u Undo) ([]TakenBack, error) {
	var all []TakenBack
	until := u.Until
	if until.IsZero() {
		until = s.now()
	}
	err := eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var r TakenBack
		var since int64
		var domain string
		err := rows.Scan(&r.ID, &r.Scope, &r.Key, &r.Blocks, &r.Reason, &r.Evidence, &r.Delivery, &r.Bounce, &since, &r.Campaign, &domain)
		r.Since, r.Lane = timeOf(since), s.providers.Lane(domain)
		if len(u.Reasons) > 0 && !slices.Contains(u.Reasons, r.Reason) || u.Lane != "" && r.Lane != u.Lane || u.Campaign != "" && r.Campaign != u.Campaign {
			return err
		}
		all = append(all, r)
		return err
	}, `SELECT s.id, s.scope, s.key, s.blocks, s.reason, s.evidence, coalesce(s.delivery, 0), coalesce(s.bounce, 0), s.created_at, coalesce(c.name, ''), coalesce(d.domain, '')
		FROM suppressions AS s LEFT JOIN deliveries AS d ON d.id = s.delivery LEFT JOIN campaigns AS c ON c.id = d.campaign
		WHERE (s.delivery IS NOT NULL OR s.bounce IS NOT NULL) AND s.created_at >= ? AND s.created_at <= ? ORDER BY s.id`, millisOf(u.Since), until.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("look for what to undo: %w", explain(err))
	}
	return all, nil
}

func (s *Store) undoSome(ctx context.Context, tx *sql.Tx, chunk []TakenBack) error {
	c := cleanerOf(ctx, tx)
	for _, r := range chunk {
		if err := s.takeBack(ctx, c, r.SuppressionRow, "undone: "+r.Reason); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE bounces SET decided = 'undone', decided_at = ? WHERE id = ?", s.millis(), r.Bounce); err != nil {
			return err
		}
	}
	return s.audit(ctx, tx, "bounces.undo", map[string]any{"suppressions": len(chunk), "from": chunk[0].ID, "to": chunk[len(chunk)-1].ID})
}

// PurgeMails erases the bytes of mails that were read before a time; what was understood of them stays. It says of how many.
func (s *Store) PurgeMails(ctx context.Context, before time.Time) (n int64, err error) {
	for {
		var some int64
		err := s.update(ctx, func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, `UPDATE bounces SET raw = x'', purged = 1
				WHERE id IN (SELECT id FROM bounces WHERE purged = 0 AND read_at < ? ORDER BY read_at LIMIT ?)`, before.UnixMilli(), undoAtOnce)
			if err != nil {
				return err
			}
			some, err = res.RowsAffected()
			return err
		})
		n += some
		if err != nil || some < undoAtOnce {
			return n, wrap("erase old mails", err)
		}
	}
}

// millisOf is 0 for no time.
func millisOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Rejudged is what new rules change for a mail that was recorded.
type Rejudged struct {
	Was, Is BounceRow
	Recorded
	Different bool // the verdict, or what follows from it
}

var errOnlyTold = errors.New("told only")

// RejudgeMail replaces what was understood of a recorded mail, and what followed from it: what the mail did is taken back, and done
// anew by the new verdict. A person's word on it stands. dry: it is told only.
func (s *Store) RejudgeMail(ctx context.Context, id int64, m ReadMail, dry bool) (Rejudged, error) {
	was, err := s.Bounce(ctx, id)
	if err != nil {
		return Rejudged{}, err
	}
	r := Rejudged{Was: was, Is: was}
	r.Is.Kind, r.Is.Verdict, r.Is.MatchedBy, r.Is.Forged, r.Is.Delivery = m.Verdict.Kind, m.Verdict, m.MatchedBy, m.Forged, m.Delivery
	r.Is.Asks = suppression.Asks(m.Verdict)
	if was.Decided != "" {
		return r, nil
	}
	if r.Different, err = s.differs(ctx, was, r.Is); err != nil {
		return r, wrap(fmt.Sprintf("judge mail %d anew", id), explain(err))
	}
	if !r.Different && (dry || sameJSON(was.Verdict, m.Verdict)) {
		return r, nil
	}
	err = s.update(ctx, func(tx *sql.Tx) error {
		r.Recorded = Recorded{ID: id}
		if err := s.rejudge(ctx, tx, was, m, &r); err != nil {
			return err
		}
		if dry {
			return errOnlyTold
		}
		return nil
	})
	if errors.Is(err, errOnlyTold) {
		err = nil
	}
	return r, wrap(fmt.Sprintf("judge mail %d anew", id), err)
}

// differs reports whether a verdict leads to something else, or whether what it leads to was not done by the rules of its day.
func (s *Store) differs(ctx context.Context, was, is BounceRow) (bool, error) {
	if was.Kind != is.Kind || was.Forged != is.Forged || was.Asks != is.Asks {
		return true, nil
	}
	if was.Delivery != is.Delivery {
		var there bool // what it leads to now
		err := s.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM deliveries WHERE id = ?)", is.Delivery).Scan(&there)
		return there || was.Delivery != 0, err
	}
	if was.Delivery == 0 {
		return false, nil
	}
	before, after := suppression.Decide(was.Verdict, was.Address), suppression.Decide(is.Verdict, was.Address)
	if before.Event != after.Event || before.State != after.State || before.Reason != after.Reason || before.Suppress != after.Suppress {
		return true, nil
	}
	if after.Suppress == "" || after.Suppress == suppression.HardBounce && s.policy.KeepDead || len(was.Changed) == 0 || slices.ContainsFunc(was.Changed, aboutSuppression) {
		return false, nil
	}
	var stands bool
	err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM suppressions AS s JOIN deliveries AS d ON d.key = s.key WHERE d.id = ? AND s.scope = 'address' AND s.reason = ?)`,
		was.Delivery, after.Suppress).Scan(&stands)
	return !stands, err
}

func aboutSuppression(changed string) bool {
	for _, words := range []string{"suppressed:", "held back", "undone", "let go"} {
		if len(changed) >= len(words) && changed[:len(words)] == words {
			return true
		}
	}
	return false
}

func sameJSON(a, b bounce.Verdict) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

func (s *Store) rejudge(ctx context.Context, tx *sql.Tx, was BounceRow, m ReadMail, r *Rejudged) error {
	verdict, err := json.Marshal(m.Verdict)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE bounces SET verdict = ?, kind = ?, message_id = ?, matched_by = ?, forged = ?, asks = ? WHERE id = ?",
		string(verdict), m.Verdict.Kind, m.Verdict.MessageID, m.MatchedBy, m.Forged, r.Is.Asks, was.ID)
	if err != nil || !r.Different {
		return err
	}
	undone, err := s.withdraw(ctx, tx, was)
	if err != nil {
		return err
	}
	if m.Delivery != 0 {
		if err := s.follow(ctx, cleanerOf(ctx, tx), m, &r.Recorded); err != nil {
			return err
		}
	}
	r.Changed = append(undone, r.Changed...)
	changed, err := json.Marshal(append(append([]string{}, was.Changed...), r.Changed...))
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE bounces SET changed = ? WHERE id = ?", string(changed), was.ID); err != nil {
		return err
	}
	return s.audit(ctx, tx, "bounces.replay", map[string]any{"mail": was.ID, "changed": len(r.Changed)})
}

// withdraw takes back what a mail did. The delivery is accepted again where no other mail says that it came back.
func (s *Store) withdraw(ctx context.Context, tx *sql.Tx, was BounceRow) (undone []string, err error) {
	c := cleanerOf(ctx, tx)
	var back []SuppressionRow
	err = c.ask(func(row []driver.Value) error {
		r := SuppressionRow{}
		r.ID, _ = row[0].(int64)
		r.Key, _ = row[1].(string)
		r.Reason, _ = row[2].(string)
		r.Blocks, _ = row[3].(string)
		r.Evidence, _ = row[4].(string)
		back = append(back, r)
		return nil
	}, "SELECT id, key, reason, blocks, evidence FROM suppressions WHERE bounce = ? ORDER BY id", was.ID)
	if err != nil {
		return nil, err
	}
	for _, r := range back {
		undone = append(undone, "lifted: "+r.Reason)
		if err := s.takeBack(ctx, c, r, "the mail was judged anew"); err != nil {
			return nil, err
		}
	}
	for _, query := range []string{
		"DELETE FROM held WHERE bounce = ?",
		"DELETE FROM events WHERE bounce = ? AND kind IN ('bounce','soft_bounce','complaint','unsubscribe','autoreply','delivered')",
		"UPDATE bounces SET delivery = NULL WHERE id = ?",
	} {
		if _, err := tx.ExecContext(ctx, query, was.ID); err != nil {
			return nil, err
		}
	}
	if was.Delivery == 0 {
		return undone, nil
	}
	restored, err := s.restore(ctx, tx, was.Delivery)
	if restored {
		undone = append(undone, fmt.Sprintf("delivery: %s -> accepted", was.State))
	}
	return undone, err
}

// restore makes a delivery accepted again, as the relay took it, unless another mail says that it came back.
func (s *Store) restore(ctx context.Context, tx *sql.Tx, id int64) (bool, error) {
	var attempt int64
	err := tx.QueryRowContext(ctx, `SELECT a.id FROM attempts AS a JOIN deliveries AS d ON d.id = a.delivery
		WHERE d.id = ? AND d.state IN ('bounced','complained') AND a.outcome = 'accepted'
			AND NOT EXISTS (SELECT 1 FROM events AS e WHERE e.delivery = d.id AND e.kind IN ('bounce','soft_bounce','complaint'))
		ORDER BY a.id DESC LIMIT 1`, id).Scan(&attempt)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE deliveries SET state = 'accepted', reason = '',
			code = (SELECT code FROM attempts WHERE id = ?), enhanced = (SELECT enhanced FROM attempts WHERE id = ?),
			reply = (SELECT reply FROM attempts WHERE id = ?), updated_at = (SELECT at FROM attempts WHERE id = ?) WHERE id = ?`,
		attempt, attempt, attempt, attempt, id)
	if err == nil {
		_, err = tx.ExecContext(ctx, "DELETE FROM attempts WHERE id = ?", attempt)
	}
	return err == nil, err
}

// KeptMails lists the mails since a time whose bytes are there, the oldest first.
func (s *Store) KeptMails(ctx context.Context, since time.Time) ([]int64, error) {
	var ids []int64
	err := eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT id FROM bounces WHERE purged = 0 AND read_at >= ? AND length(raw) > 0 ORDER BY id", millisOf(since))
	return ids, wrap("list mails", explain(err))
}
