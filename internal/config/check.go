package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Finding is one line of `mailer config check`.
type Finding struct {
	Key     string `json:"key"`
	Level   Level  `json:"level"` // LevelOff: it is fine
	Message string `json:"message"`
}

// Check fetches every password and reads every key file, and says what is fine, what is worth a word and what is wrong.
// It opens no connection.
func (w *Workspace) Check(ctx context.Context) []Finding {
	var found []Finding
	add := func(key string, err error, fine string) {
		if err != nil {
			var e *Error
			if errors.As(err, &e) && e.Key != "" { // the finding's own key says it more exactly
				short := *e
				short.Key = ""
				err = &short
			}
			found = append(found, Finding{key, LevelError, err.Error()})
		} else {
			found = append(found, Finding{key, LevelOff, fine})
		}
	}
	for _, e := range w.Warnings {
		found = append(found, Finding{e.Key, LevelWarn, e.Message})
	}
	found = append(found, w.missing()...)
	c := w.Config
	for _, r := range c.Relays {
		key := "relays." + r.Name
		w.checkLogin(ctx, key, r.Username, r.Secret, r.CAFile, add)
		add(key, nil, fmt.Sprintf("%s:%d, tls %s, %d connections", r.Host, r.Port, r.TLS, r.Connections))
	}
	for i, k := range c.DKIM {
		key := fmt.Sprintf("dkim.%d", i)
		_, err := w.SigningKey(k)
		add(key, err, fmt.Sprintf("key for %s._domainkey.%s", k.Selector, k.Domain))
		if info, statErr := os.Stat(w.Abs(k.KeyFile)); err == nil && statErr == nil && readableByOthers(info) {
			found = append(found, Finding{key, LevelWarn, "the private key can be read by others; run: chmod 600 " + w.Abs(k.KeyFile)})
		}
	}
	if m := c.Bounces.Mailbox; m.Configured() {
		w.checkLogin(ctx, "bounces.mailbox", m.Username, m.Secret, m.CAFile, add)
		add("bounces.mailbox", nil, m.describe())
	}
	return found
}

func (w *Workspace) checkLogin(ctx context.Context, key, username string, s Secret, caFile string, add func(string, error, string)) {
	if !s.IsZero() {
		_, err := s.Resolve(ctx, w.Dir)
		add(key, err, fmt.Sprintf("password for %s found: %s", username, s))
	}
	if caFile != "" {
		_, err := w.RootCAs(caFile)
		add(key, err, "certificates of "+caFile+" read")
	}
}

// describe says in one line which mailbox it is.
func (m Mailbox) describe() string {
	where := fmt.Sprintf("%s:%d, tls %s", m.Host, m.Port, m.TLS)
	if m.Protocol.local() {
		where = fmt.Sprintf("%s %s", m.Protocol, m.Path)
	}
	return fmt.Sprintf("%s, folder %s", where, strings.Join(m.Folder, ", "))
}

// missing names what a first send will ask for.
func (w *Workspace) missing() []Finding {
	c := w.Config
	var found []Finding
	for _, m := range []struct {
		missing      bool
		key, message string
	}{
		{len(c.Relays) == 0, "relays", "no relay is configured; send needs one"},
		{c.Sender.From == "", "sender.from", "no sender; every campaign must name its own from"},
		{c.Sender.Organization == "", "sender.organization", "no organization for the footer; marketing mail must say who it is from"},
		{c.Sender.PostalAddress == "", "sender.postal_address", "no postal address for the footer; marketing mail must have one"},
		{len(c.DKIM) == 0, "dkim", "no DKIM key; the relay must sign, or mail lands in spam folders"},
		{c.Bounces.ReturnPathPattern == "", "bounces.return_path", "no return path; bounces go to the sender's own address"},
		{!c.Bounces.Mailbox.Configured(), "bounces.mailbox", "no bounce mailbox; dead addresses stay on the list"},
	} {
		if m.missing {
			found = append(found, Finding{m.key, LevelWarn, m.message})
		}
	}
	return found
}
