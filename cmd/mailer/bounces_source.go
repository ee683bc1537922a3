package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mailer/internal/collect"
	"mailer/internal/config"
	"mailer/internal/mailbox"
	"mailer/internal/schedule"
	"mailer/internal/send"
	"mailer/internal/store"
	"mailer/internal/ui"
)

const bouncesSourcesHelp = `

What is read is bounces.mailbox of mailer.yaml, or what --source names:

  imaps://user@host/folder   IMAP with TLS; imap:// with STARTTLS, which is required but on this machine
  pop3s://user@host          POP3 with TLS; pop3:// with STLS, likewise
  maildir:PATH  mbox:PATH    on this machine
  file:PATH                  one mail, or a folder of files that are mails
  PATH                       any of these three: what lies there tells
  -                          one mail on standard input

In mailer.yaml:

  bounces:
    mailbox:
      protocol: imap             # pop3; maildir or mbox, with a path instead of what follows
      host: imap.example.com
      tls: implicit              # starttls
      auth: auto                 # plain, login; xoauth2, whose password is an access token
      username: bounce
      password_env: MAILER_IMAP_PASSWORD
      folder: INBOX              # or several: [INBOX, Junk]
      after: move                # flag, delete or leave: what is done with a mail after it was recorded
      processed: Processed       # where it is moved to
      review: Review             # where mail goes that a person should see, unless after is leave
      poll: 1m                   # how often --watch looks where nothing tells of new mail

For a person is what leads to no delivery of ours and what no machine wrote. Of a mailbox that mail stays in, it is remembered how far
it was read. Without "after", mail is moved where that can be done (IMAP, a Maildir), else left. POP3 knows delete and leave; delete
leaves mail for a person on the server. An mbox and files are never changed. A --source of another kind than bounces.mailbox is left as
it is, unless --after says more.

Google and Microsoft want an access token instead of a password. A command gets one each time that mailer logs in:

      auth: xoauth2
      password_command: oauth2-token bounce@example.com

--watch goes on reading until it is stopped. IMAP servers tell when mail comes (IDLE); a connection that is lost is made again.

An MTA can hand over each mail that comes back, which needs no mailbox at all (Postfix, /etc/aliases):

  bounce: "|/usr/local/bin/mailer -C /home/me/news bounces sync --source -"

When the mail could not be recorded, because the database is locked or for any other reason, this ends with exit code 75, and the MTA
keeps the mail and tries again. Such pipes may run side by side. Else one process at a time reads: another one ends with exit code 6, and
mailer run passes it over.`

// exitTempFail is EX_TEMPFAIL of sysexits.h: an MTA keeps the mail.
const exitTempFail = 75

// check refuses what does not go together.
func (o bouncesSyncOptions) check() error {
	switch {
	case o.limit < 0:
		return usage("--limit cannot be negative")
	case o.watch && (o.dryRun || o.limit > 0):
		return usage("--watch goes on for ever: it cannot be used with --dry-run or --limit")
	case o.watch && o.source == "-":
		return usage("--watch cannot be used with standard input")
	case o.after != "" && !slices.Contains([]string{mailbox.AfterMove, mailbox.AfterFlag, mailbox.AfterDelete, mailbox.AfterLeave}, o.after):
		return usage("--after: %q is not one of move, flag, delete, leave", o.after)
	}
	return nil
}

// syncAlone reads under the lease that keeps two processes from doing the same work. What changes nothing needs none, nor does a mail on
// standard input: it is recorded in one transaction.
func syncAlone(ctx context.Context, a *app, ws *config.Workspace, st *store.Store, o bouncesSyncOptions) (sum collect.Summary, err error) {
	read := func(ctx context.Context) error {
		sum, err = syncBounces(ctx, a, ws, st, o)
		return err
	}
	if o.dryRun || o.source == "-" {
		err = read(ctx)
		return sum, err
	}
	err = schedule.Alone(ctx, st, send.Holder(), send.Gone, read)
	if errors.Is(err, store.ErrHeld) {
		err = &exit{exitBusy, fmt.Errorf("the bounce mailbox was not read: %w", err)}
	}
	return sum, err
}

// newReader makes what reads the mailbox.
func newReader(ctx context.Context, a *app, ws *config.Workspace, st *store.Store, o bouncesSyncOptions) (*collect.Reader, error) {
	options, folders, err := mailboxOptions(ws, o)
	if err != nil {
		return nil, err
	}
	options.Stdin = a.stdin
	keys, err := st.TokenKeys(ctx)
	if err != nil {
		return nil, err
	}
	secret := ws.Config.Bounces.Mailbox.Secret
	return &collect.Reader{Store: st, Keys: keys, Folders: folders, Poll: ws.Config.Bounces.Mailbox.Poll,
		Options: collect.Options{DryRun: o.dryRun, Limit: o.limit},
		Open: func(ctx context.Context, folder string) (collect.Source, error) {
			now := options
			now.Folder = folder
			if now.Host != "" && now.Password == "" {
				var err error
				if now.Password, err = secret.Resolve(ctx, ws.Dir); err != nil {
					return nil, err
				}
			}
			return mailbox.Open(ctx, now)
		},
		Lost: func(err error, wait time.Duration) {
			a.out.Notef("mailer: %s; the next try is in %s", clean(err.Error()), wait.Round(time.Second))
		},
	}, nil
}

// mailboxOptions are those of mailer.yaml, or of a --source with what mailer.yaml says beside, and the folders to read.
func mailboxOptions(ws *config.Workspace, o bouncesSyncOptions) (mailbox.Options, []string, error) {
	m := ws.Config.Bounces.Mailbox
	if o.source == "" && !m.Configured() {
		return mailbox.Options{}, nil, &config.Error{File: ws.Path, Key: "bounces.mailbox", Message: "no bounce mailbox is configured; add one, or give --source imaps://user@host/folder"}
	}
	box := mailbox.Options{Protocol: string(m.Protocol), Host: m.Host, Port: m.Port, TLS: string(m.TLS), Insecure: m.Insecure, Auth: string(m.Auth),
		Username: m.Username, After: string(m.After), Processed: m.Processed, Review: m.Review, Timeout: m.Timeout}
	if m.Path != "" {
		box.Path = ws.Abs(m.Path)
	}
	var err error
	if box.RootCAs, err = ws.RootCAs(m.CAFile); err != nil {
		return box, nil, err
	}
	if o.source != "" {
		if err := box.Locate(o.source); err != nil {
			return box, nil, usage("--source: %w", err)
		}
	}
	if o.after != "" {
		box.After = o.after
	}
	if o.dryRun && box.Protocol == mailbox.POP3 && box.After == mailbox.AfterDelete {
		box.After = mailbox.AfterLeave // a session that deletes begins with what the one before it was kept from
	}
	switch {
	case box.Folder != "":
		return box, []string{box.Folder}, nil
	case box.Protocol == string(m.Protocol):
		return box, m.Folder, nil
	}
	return box, []string{""}, nil
}

// bar shows how far the reading is. Of several folders the second makes the whole longer.
type syncBar struct {
	a     *app
	total int
	bar   *ui.Progress
}

func (b *syncBar) set(n, total int) {
	if b.bar == nil || total != b.total {
		b.close()
		b.bar, b.total = b.a.out.Bar("reading", "mails", int64(total)), total
	}
	b.bar.Set(int64(n))
}

func (b *syncBar) close() {
	if b.bar != nil {
		b.bar.Close()
	}
}
