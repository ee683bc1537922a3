package send

import (
	"testing"

	"mailer/internal/pace"
	"mailer/internal/provider"
)

// Of a relay that delivers straight to the providers each of them takes as many messages at a time as it allows such a server, unless
// fewer are configured.
func TestDirectRelaysKeepToWhatProvidersAllow(t *testing.T) {
	p := provider.Provider{Name: "gmail", Direct: provider.Direct{Connections: 5, Rates: []pace.Rate{}}}
	for _, c := range []struct {
		name       string
		direct     bool
		configured int
		want       int
	}{{"by a relay", false, 0, 0}, {"by a relay, configured", false, 7, 7}, {"straight", true, 0, 5}, {"straight, configured lower", true, 3, 3}, {"straight, configured higher", true, 9, 5}} {
		p.Connections = c.configured
		b := &book{relays: map[string]relayLimits{"main": {direct: c.direct}, "other": {}}}
		if got := b.atOnce(p); got != c.want {
			t.Errorf("%s: %d at once, want %d", c.name, got, c.want)
		}
	}
}
