package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// mailboxMark is before a mailbox's name in meta.
const mailboxMark = "mailbox:"

// MailboxMark returns where the reading of a mailbox goes on, as SetMailboxMark was told; empty at first.
func (s *Store) MailboxMark(ctx context.Context, name string) (string, error) {
	var mark string
	err := s.read.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = ?", mailboxMark+name).Scan(&mark)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("find where the reading of %s goes on: %w", name, explain(err))
	}
	return mark, nil
}

// SetMailboxMark remembers where the reading of a mailbox goes on; empty: from the beginning.
func (s *Store) SetMailboxMark(ctx context.Context, name, mark string) error {
	before, err := s.MailboxMark(ctx, name)
	if err != nil || before == mark {
		return err
	}
	err = s.update(ctx, func(tx *sql.Tx) error {
		if mark == "" {
			_, err := tx.ExecContext(ctx, "DELETE FROM meta WHERE name = ?", mailboxMark+name)
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", mailboxMark+name, mark)
		return err
	})
	if err != nil {
		return fmt.Errorf("remember where the reading of %s goes on: %w", name, explain(err))
	}
	return nil
}
