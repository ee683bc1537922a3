package main

import (
	"testing"

	"mailer/internal/config"
)

// The sandbox is a rehearsal; the mail server that runs beside mailer on a host of one's own is not.
func TestRehearsal(t *testing.T) {
	at := func(host string, port int) config.Relay { return config.Relay{Host: host, Port: port} }
	for _, c := range []struct {
		name    string
		relays  config.Relays
		servers []config.NameServer
		want    bool
	}{
		{"sandbox", config.Relays{at("127.0.0.1", 2525), at("localhost", 2526)}, nil, true},
		{"Postfix on this host", config.Relays{at("127.0.0.1", 25)}, nil, false},
		{"its submission port", config.Relays{at("[::1]", 587)}, nil, false},
		{"beside a real relay", config.Relays{at("127.0.0.1", 2525), at("smtp.example.net", 2525)}, nil, false},
		{"somebody says whom to ask", config.Relays{at("127.0.0.1", 2525)}, []config.NameServer{"127.0.0.1:53"}, false},
	} {
		if got := rehearsal(config.Config{DNS: config.DNS{Servers: c.servers}}, c.relays); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
