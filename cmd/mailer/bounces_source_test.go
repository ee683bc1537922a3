package main

import (
	"testing"

	"mailer/internal/config"
	"mailer/internal/mailbox"
)

// A session of POP3 that deletes begins with what the one before it was kept from, which a dry run must not do.
func TestDryRunDeletesNothing(t *testing.T) {
	ws := &config.Workspace{}
	m := &ws.Config.Bounces.Mailbox
	m.Protocol, m.Host, m.After = mailbox.POP3, "pop.example", mailbox.AfterDelete
	for dry, want := range map[bool]string{true: mailbox.AfterLeave, false: mailbox.AfterDelete} {
		o, _, err := mailboxOptions(ws, bouncesSyncOptions{dryRun: dry})
		if err != nil || o.After != want {
			t.Errorf("dry run %v: after %s, %v", dry, o.After, err)
		}
	}
}

// The password of the bounce mailbox is for its host only.
func TestPasswordStaysWithItsHost(t *testing.T) {
	ws := &config.Workspace{}
	m := &ws.Config.Bounces.Mailbox
	m.Protocol, m.Host, m.Secret = mailbox.IMAP, "imap.example.jp", config.Secret{Env: "BOUNCE_PASSWORD"}
	for source, good := range map[string]bool{
		"imaps://me@imap.example.com": false, "pop3s://me@imap.example.com/": false, "imaps://me:secret@imap.example.com": true,
		"imaps://me@IMAP.example.jp/Junk": true, "pop3s://me@imap.example.jp": true, "maildir:/home/me/Maildir": true, "": true,
	} {
		if _, _, err := mailboxOptions(ws, bouncesSyncOptions{source: source}); (err == nil) != good {
			t.Errorf("%q: %v", source, err)
		}
	}
}
