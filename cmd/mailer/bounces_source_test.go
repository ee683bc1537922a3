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
