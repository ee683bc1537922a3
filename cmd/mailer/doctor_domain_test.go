package main

import (
	"testing"

	"mailer/internal/config"
	"mailer/internal/doctor"
)

// A key that no sender uses may be meant for this one; that of another sender is not.
func TestKeysOfADomain(t *testing.T) {
	for _, c := range []struct {
		name, sender, identity string
		want                   int
	}{
		{"its own", "a@kiku.jp", "b@ume.jp", 1},
		{"below it", "a@news.kiku.jp", "b@ume.jp", 1},
		{"another sender's", "a@ume.jp", "b@kiku.jp", 0},
		{"another sender's, below it", "a@ume.jp", "b@news.kiku.jp", 0},
		{"nobody's", "a@ume.jp", "", 1},
	} {
		conf := config.Config{DKIM: []config.DKIM{{Domain: "kiku.jp", Selector: "s1", KeyFile: "none.pem"}}}
		conf.Sender.From = c.sender
		if c.identity != "" {
			conf.Sender.Identities = append(conf.Sender.Identities, config.Identity{From: c.identity})
		}
		d := &doctor.Domain{From: senderDomains(conf)[0]}
		domainOfConfig(d, &config.Workspace{Dir: t.TempDir(), Config: conf}, nil)
		if len(d.Keys) != c.want {
			t.Errorf("%s: %d keys", c.name, len(d.Keys))
		}
	}
}
