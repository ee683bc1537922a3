package relay

import "testing"

func TestFullConnection(t *testing.T) {
	for text, full := range map[string]bool{
		"421 4.7.0 Too many messages on this connection, come again": true,
		"421 Max message per connection reached":                     true,
		"421 4.7.0 too many messages in this session":                true,
		"421 4.7.0 Too many connections from your host":              false,
		"421 4.7.28 unusual rate of unsolicited mail":                false,
		"421 4.7.0 [TSS04] Messages temporarily deferred":            false,
	} {
		if got := fullConnection(text); got != full {
			t.Errorf("%q: %v", text, got)
		}
	}
}
