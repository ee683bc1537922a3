package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Forgetting a person erases what is known about them, everywhere, but must not lose that they are not to be mailed.
// What stays is a salted hash of the address among the suppressions. When the address is imported again the hash is
// recognised and the suppression gets its plain key back: the user brought the address in once more, and send compares
// plain keys.

// forgottenPrefix marks the hashed keys. No address key begins so: ':' cannot stand in a local part here.
const forgottenPrefix = "forgotten:"

// ErrInFlight says that a message to the person is on the wire right now.
var ErrInFlight = errors.New("a message to this address is being sent right now: try again when the send has finished")

// Forgotten tells what ForgetContact erased.
type Forgotten struct {
	Contacts   int64    `json:"contacts"`
	Deliveries int64    `json:"deliveries"`
	Bounces    int64    `json:"bounces"`
	Events     int64    `json:"events"`
	Mentions   int64    `json:"mentions"`  // replies, reports and evidence about others that named the address
	Campaigns  []string `json:"campaigns"` // whose frozen text names the address; they stay
	Copies     []string `json:"copies"`    // files beside the database, made before a migration or a restore, that may hold the person
	Log        bool     `json:"log"`       // the write-ahead log could not be emptied: another process reads
}

// ForgetContact erases the person behind an address key. Deliveries keep their state, so that every campaign's sums still
// hold, but no longer say whose they are; those that were not sent yet become excluded.
//
// What others' rows say about the address is looked for before the transaction, because it takes a look at every row; a
// running send waits for the short rest only.
func (s *Store) ForgetContact(ctx context.Context, key string) (Forgotten, error) {
	gone, err := s.forget(ctx, key)
	if err != nil {
		return Forgotten{}, fmt.Errorf("forget contact: %w", err)
	}
	return gone, nil
}

func (s *Store) forget(ctx context.Context, key string) (Forgotten, error) {
	said, err := s.findMentions(ctx, key)
	if err != nil {
		return Forgotten{}, explain(err)
	}
	var gone Forgotten
	err = s.update(ctx, func(tx *sql.Tx) error {
		gone = Forgotten{Campaigns: said.campaigns}
		return s.forgetIn(ctx, tx, key, said, &gone)
	})
	if err != nil {
		return Forgotten{}, err
	}
	if gone.Copies, err = s.copies(); err != nil {
		return gone, err
	}
	gone.Log, err = s.emptyLog(ctx)
	return gone, err
}

func (s *Store) forgetIn(ctx context.Context, tx *sql.Tx, key string, said mentions, gone *Forgotten) error {
	var wire int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM deliveries WHERE key = ? AND state = 'sending'", key).Scan(&wire); err != nil {
		return err
	}
	if wire > 0 {
		return ErrInFlight
	}
	salt, err := forgetSalt(ctx, tx)
	if err != nil {
		return err
	}
	hash := forgottenKey(salt, key)
	now := s.millis()
	_, domain, _ := strings.Cut(key, "@")
	mine := "delivery IN (SELECT id FROM deliveries WHERE key = ?)"
	steps := []struct {
		count *int64
		query string
		args  []any
	}{
		{nil, "PRAGMA secure_delete = 1", nil}, // overwrite, not only unlink
		{nil, "UPDATE changes SET key = '', before = NULL, after = NULL WHERE contact IN (SELECT id FROM contacts WHERE key = ?)", []any{key}},
		{nil, "UPDATE changes SET key = '', before = NULL, after = NULL WHERE key = ?", []any{key}},
		{&gone.Contacts, "DELETE FROM contacts WHERE key = ?", []any{key}},
		{nil, "DELETE FROM suppressions WHERE scope = 'address' AND key = ?", []any{key}},
		{nil, "DELETE FROM held WHERE key = ?", []any{key}},
		{nil, "DELETE FROM dead_counts WHERE lane = ?", []any{domain}}, // which may be the person's own
		{nil, "UPDATE attempts SET reply = '' WHERE " + mine, []any{key}},
		{&gone.Bounces, "UPDATE bounces SET raw = x'', verdict = '{}', changed = '[]' WHERE " + mine, []any{key}},
		{nil, "UPDATE events SET detail = '{}' WHERE " + mine, []any{key}},
		{&gone.Events, "UPDATE events SET key = ?, detail = '{}' WHERE key = ?", []any{hash, key}},
		{nil, "UPDATE deliveries SET state = 'excluded', reason = 'forgotten' WHERE key = ? AND state IN ('pending', 'deferred')", []any{key}},
		// A domain of one's own names its owner; one that many have does not.
		{nil, `UPDATE deliveries SET domain = '' WHERE key = ? AND
			(SELECT count(*) FROM (SELECT 1 FROM deliveries AS d WHERE d.domain = ? AND d.key <> ? LIMIT ?)) < ?`, []any{key, domain, key, manyHave, manyHave}},
		{&gone.Deliveries, "UPDATE deliveries SET key = ?, address = '', contact = NULL, reply = '', updated_at = ? WHERE key = ?", []any{hash, now, key}},
		{nil, `INSERT INTO suppressions (scope, key, blocks, reason, evidence, created_at) VALUES ('address', ?, 'all', 'forgotten', '', ?)
			ON CONFLICT (scope, key, reason) DO NOTHING`, []any{hash, now}},
	}
	for _, step := range steps {
		r, err := tx.ExecContext(ctx, step.query, step.args...)
		if err != nil {
			return err
		}
		if step.count == nil {
			continue
		}
		if *step.count, err = r.RowsAffected(); err != nil {
			return err
		}
	}
	if gone.Mentions, err = said.erase(ctx, tx); err != nil {
		return err
	}
	if err := forgetLanes(ctx, tx, key, domain); err != nil {
		return err
	}
	if err := analyzeAnew(ctx, tx); err != nil {
		return err
	}
	return s.audit(ctx, tx, "contacts.forget", map[string]any{"key": hash, "contacts": gone.Contacts, "deliveries": gone.Deliveries,
		"bounces": gone.Bounces, "events": gone.Events, "mentions": gone.Mentions})
}

// manyHave is how many others must have been mailed at a domain for it to be nobody's own.
const manyHave = 10

// forgetLanes erases how receivers take our mail where that names the person: in the words of a reply, or as the one at whose domain
// mail waits.
func forgetLanes(ctx context.Context, tx *sql.Tx, key, domain string) error {
	find := spellings(key)
	var names []string
	err := eachRow(ctx, tx, func(rows *sql.Rows) error {
		var name, state string
		var own bool
		err := rows.Scan(&name, &state, &own)
		if own || find.MatchString(state) {
			names = append(names, name)
		}
		return err
	}, `SELECT name, state, name = ? AND (SELECT count(*) FROM (SELECT 1 FROM deliveries AS d WHERE d.domain = ? LIMIT ?)) < ? FROM lanes`,
		"lane "+domain, domain, manyHave, manyHave)
	for _, name := range names {
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM lanes WHERE name = ?", name)
		}
	}
	return err
}

// copies are the files that migrations and restores left beside the database.
func (s *Store) copies() ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(s.path))
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, e := range entries {
		base := filepath.Base(s.path)
		if strings.HasPrefix(e.Name(), base+".schema") || strings.HasPrefix(e.Name(), base+keptMark) {
			names = append(names, filepath.Join(filepath.Dir(s.path), e.Name()))
		}
	}
	return names, nil
}

// emptyLog folds the write-ahead log into the file and cuts it: its old pages still hold what was erased. It reports
// whether that was not possible, because another process reads.
func (s *Store) emptyLog(ctx context.Context) (busy bool, err error) {
	var frames, done int
	err = s.write.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &done)
	return busy, explain(err)
}

// Vacuum rewrites the whole file, so that nothing is left of what was changed or erased in the unused parts of its pages.
func (s *Store) Vacuum(ctx context.Context) (err error) {
	// The copy that is made on the way is as large as the file: not in memory, where other temporary tables are.
	for _, step := range []string{"PRAGMA temp_store = FILE", "VACUUM", "PRAGMA temp_store = MEMORY"} {
		if _, failed := s.write.ExecContext(ctx, step); failed != nil {
			err = errors.Join(err, failed)
		}
	}
	if err != nil {
		return fmt.Errorf("rewrite the database: %w", explain(err))
	}
	_, err = s.emptyLog(ctx)
	return err
}

// forgetSalt is the key of the hashes, made when first needed.
func forgetSalt(ctx context.Context, tx *sql.Tx) ([]byte, error) {
	var text string
	err := tx.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'forget_salt'").Scan(&text)
	if err == nil {
		return hex.DecodeString(text)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	salt := make([]byte, 32)
	rand.Read(salt)
	_, err = tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ('forget_salt', ?)", hex.EncodeToString(salt))
	return salt, err
}

// IsForgotten reports whether a key is the hash of a person who was forgotten.
func IsForgotten(key string) bool { return strings.HasPrefix(key, forgottenPrefix) }

// ForgetSalt tells the salts of two databases apart without giving one away: a hash is worth something only beside the
// salt that it was made with. It is empty where nobody was forgotten.
func (s *Store) ForgetSalt(ctx context.Context) (string, error) {
	var text string
	err := s.read.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'forget_salt'").Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the salt: %w", explain(err))
	}
	sum := sha256.Sum256([]byte("which salt\x00" + text))
	return hex.EncodeToString(sum[:8]), nil
}

func forgottenKey(salt []byte, key string) string {
	mac := hmac.New(sha256.New, salt)
	mac.Write([]byte(key))
	return forgottenPrefix + hex.EncodeToString(mac.Sum(nil))
}

// forgotten is which of keys belong to people who were forgotten.
func forgotten(ctx context.Context, q queryer, keys []any) ([]string, error) {
	hashes := map[string]bool{}
	err := eachString(ctx, q, func(hash string) { hashes[hash] = true },
		"SELECT key FROM suppressions WHERE scope = 'address' AND key >= ? AND key < ? LIMIT 1", forgottenPrefix, "forgotten;")
	if err != nil || len(hashes) == 0 {
		return nil, err
	}
	var text string
	if err := q.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'forget_salt'").Scan(&text); err != nil {
		return nil, err
	}
	salt, err := hex.DecodeString(text)
	if err != nil {
		return nil, err
	}
	plain := make(map[string]string, len(keys))
	hashed := make([]any, len(keys))
	for i, key := range keys {
		hash := forgottenKey(salt, key.(string))
		plain[hash], hashed[i] = key.(string), hash
	}
	var back []string
	err = eachIn(ctx, q, "SELECT key FROM suppressions WHERE scope = 'address' AND key IN ", nil, hashed, scanString(func(hash string) { back = append(back, plain[hash]) }))
	return back, err
}

// restoreForgotten gives the suppressions of people who come back their plain keys.
func (s *Store) restoreForgotten(ctx context.Context, tx *sql.Tx, keys []string, set int64) error {
	for _, key := range keys {
		_, err := s.suppress(ctx, tx, Suppression{Scope: "address", Key: key, Blocks: "all", Reason: "forgotten",
			Evidence: fmt.Sprintf("was forgotten; imported again by change set %d", set)})
		if err != nil {
			return err
		}
	}
	return nil
}
