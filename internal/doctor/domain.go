package doctor

import (
	"context"
	"crypto"
	"net/http"
	"net/netip"
	"sync"

	"mailer/internal/zone"
)

// Domain is what the checks of a From domain need to know. What is empty is not checked.
type Domain struct {
	Resolver zone.Resolver
	Client   *http.Client // for the checks that ask web servers; nil: they are left out

	From     string           // the domain of From, in ASCII
	Envelope string           // the domain of the return path; often the same
	Keys     []Key            // that sign
	Relays   []Relay          // that carry mail of this From
	Tracking string           // https base of links and pixels
	OneClick string           // https base of one-click unsubscribe
	Daily    map[string]int64 // messages in the fullest 24 hours of late, by provider
}

// Key is a DKIM key that signs.
type Key struct {
	Domain, Selector string
	Private          crypto.Signer // nil: only the record can be looked at
	File             string
}

// Relay is what is known of a relay that the mail leaves through.
type Relay struct {
	Name, Host string
	Hello      string       // the name in EHLO, when it is known and the relay is the user's own
	Addresses  []netip.Addr // from which it sends, as far as they are known
}

// Check runs all checks of a domain, side by side, and returns what they found in the order of the checks.
func (d *Domain) Check(ctx context.Context) []Finding {
	checks := []func(context.Context) []Finding{}
	found := make([][]Finding, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() { found[i] = check(ctx) })
	}
	all.Wait()
	var flat []Finding
	for _, f := range found {
		flat = append(flat, f...)
	}
	return flat
}
