package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate runs the migrations that the file has not seen, each in a transaction of its own, forward only. user_version
// counts them.
func (s *Store) migrate(ctx context.Context, files fs.FS, version int64) error {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return err
	}
	if version > int64(len(names)) {
		return fmt.Errorf("%w (schema %d, this one knows %d): update mailer", ErrNewer, version, len(names))
	}
	if version == int64(len(names)) {
		return nil
	}
	if version > 0 && !s.noCopy {
		if err := s.copyBefore(ctx, version); err != nil {
			return err
		}
	}
	for i := version; i < int64(len(names)); i++ {
		if err := s.runMigration(ctx, files, i, names[i]); err != nil {
			return fmt.Errorf("migration %s: %w", filepath.Base(names[i]), err)
		}
	}
	return nil
}

func (s *Store) runMigration(ctx context.Context, files fs.FS, number int64, name string) error {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	return s.update(ctx, func(tx *sql.Tx) error {
		// Another process may have run it while this one waited for the lock.
		var have int64
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil || have > number {
			return err
		}
		if _, err := tx.ExecContext(ctx, string(text)); err != nil {
			return err
		}
		if number == 0 {
			if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
				return err
			}
			if err := s.newTokenKey(ctx, tx, 1); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", number+1))
		return err
	})
}

// copyBefore keeps the file as it was before a migration, beside it. VACUUM INTO reads a consistent state, WAL included. Two processes
// may find the old file in one second, when cron begins them: each makes a copy of its own, unless the other has migrated by then.
func (s *Store) copyBefore(ctx context.Context, version int64) error {
	var have int64
	if err := s.write.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil || have > version {
		return err
	}
	name, err := newPrivate(fmt.Sprintf("%s.schema%d-%s", s.path, version, s.now().UTC().Format("20060102T150405")))
	if err != nil {
		return fmt.Errorf("copy before migration: %w", err)
	}
	if _, err := s.write.ExecContext(ctx, "VACUUM INTO ?", name); err != nil {
		os.Remove(name)
		return fmt.Errorf("copy before migration: %w", err)
	}
	return nil
}

// newPrivate makes an empty file of mode 0600 that was not there, of this name or, when others have it, with a number behind it.
func newPrivate(path string) (string, error) {
	name := path
	for i := 2; ; i++ {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return name, f.Close()
		}
		if !errors.Is(err, os.ErrExist) {
			return name, err
		}
		name = fmt.Sprintf("%s-%d", path, i)
	}
}
