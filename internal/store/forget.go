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
	Contacts   int64 `json:"contacts"`
	Deliveries int64 `json:"deliveries"`
	Bounces    int64 `json:"bounces"`
	Events     int64 `json:"events"`
}

// ForgetContact erases the person behind an address key. Deliveries keep their state, so that every campaign's sums still
// hold, but no longer say whose they are; those that were not sent yet become excluded.
func (s *Store) ForgetContact(ctx context.Context, key string) (Forgotten, error) {
	var gone Forgotten
	err := s.update(ctx, func(tx *sql.Tx) error {
		gone = Forgotten{}
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
			{nil, "UPDATE attempts SET reply = '' WHERE " + mine, []any{key}},
			{&gone.Bounces, "UPDATE bounces SET raw = x'', verdict = '{}', changed = '[]' WHERE " + mine, []any{key}},
			{&gone.Events, "UPDATE events SET key = ?, detail = '{}' WHERE key = ?", []any{hash, key}},
			{nil, "UPDATE deliveries SET state = 'excluded', reason = 'forgotten' WHERE key = ? AND state IN ('pending', 'deferred')", []any{key}},
			{&gone.Deliveries, "UPDATE deliveries SET key = ?, address = '', reply = '', updated_at = ? WHERE key = ?", []any{hash, now, key}},
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
		if err := analyzeAnew(ctx, tx); err != nil {
			return err
		}
		return s.audit(ctx, tx, "contacts.forget", map[string]any{"key": hash, "erased": gone})
	})
	if err != nil {
		return Forgotten{}, fmt.Errorf("forget contact: %w", err)
	}
	return gone, nil
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
	args := make([]any, len(keys))
	for i, key := range keys {
		hash := forgottenKey(salt, key.(string))
		plain[hash], args[i] = key.(string), hash
	}
	var back []string
	err = eachString(ctx, q, func(hash string) { back = append(back, plain[hash]) },
		"SELECT key FROM suppressions WHERE scope = 'address' AND key IN ("+placeholders(len(args))+")", args...)
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
