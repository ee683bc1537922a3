package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// What `config show` prints is a mailer.yaml: read again, it is in force as it stands.
func TestShownConfigurationLoadsAgain(t *testing.T) {
	shown := showAgain(t, full)
	for _, want := range []string{
		"rates: # line 2\n", "weight: 3 # line 4\n", "curve: standard # line 4\n", "docomo.ne.jp: slow # line 4\n", "start: \"2026-12-01\" # line 4\n",
		"complaint: 0.1% # line 14\n", "timezone: Europe/Berlin # line 18\n", "- sat,sun 10:00-12:00\n", "policy: \"off\" # line 14\n", "standby: false # default\n", "quiet: # line 17\n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
	shown = showAgain(t, design)
	for _, want := range []string{
		"timezone: Europe/Berlin # $MAILER_TIMEZONE\n", "expires: 72h # line 9\n", "host: smtp.example.com # line 13\n", "dkim: warn # default\n",
		"password_env: MAILER_RELAY_PASSWORD # line 18\n", "docomo.ne.jp:\n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
}

func TestDisposable(t *testing.T) {
	const text = "disposable: {add: [Temp.example.com, 例え.jp], except: [yopmail.com]}\n"
	if shown := showAgain(t, text+"bounces: {mailbox: {host: imap.example.com, username: b, password_env: P}}\n"); !strings.Contains(shown, "yopmail.com") {
		t.Errorf("shown:\n%s", shown)
	}
	w, err := load(t, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := w.Config.Disposables()
	for domain, want := range map[string]bool{"temp.example.com": true, "xn--r8jz45g.jp": true, "yopmail.com": false, "mailinator.com": true, "example.com": false} {
		if d.Has(domain) != want {
			t.Errorf("%s is disposable: %v", domain, !want)
		}
	}
	for _, wrong := range []string{"disposable: {add: [a b]}\n", "disposable: {except: [localhost]}\n", "disposable: {ad: [example.com]}\n", "disposable: {add: ['@example.com']}\n"} {
		if _, err := load(t, wrong, nil); err == nil {
			t.Errorf("%s loads", wrong)
		}
	}
}

func TestDNS(t *testing.T) {
	for _, text := range []string{
		"dns: {servers: [192.0.2.53, 127.0.0.1:5353, \"[2001:db8::53]:53\", \"2001:db8::54\"], timeout: 500ms}\n",
		"dns:\n  servers:\n    - 192.0.2.53\n    - 127.0.0.1:5353\n    - \"[2001:db8::53]:53\"\n    - 2001:db8::54\n  timeout: 500ms\n",
	} {
		shown := showAgain(t, text+"bounces: {mailbox: {host: imap.example.com, username: b, password_env: P}}\n")
		if !strings.Contains(shown, "- 127.0.0.1:5353\n") || !strings.Contains(shown, "timeout: 500ms") {
			t.Errorf("shown:\n%s", shown)
		}
		w, err := load(t, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"192.0.2.53", "127.0.0.1:5353", "[2001:db8::53]:53", "2001:db8::54"}
		if got := w.Config.DNS.Addresses(); !reflect.DeepEqual(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	w, err := load(t, "dns: {servers: [192.0.2.53]}\n", map[string]string{"MAILER_DNS_SERVERS": "127.0.0.1:5353, ::1", "MAILER_DNS_TIMEOUT": "1s"})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Config.DNS; !reflect.DeepEqual(got, DNS{[]NameServer{"127.0.0.1:5353", "::1"}, time.Second}) {
		t.Errorf("from the environment: %+v", got)
	}
	for text, want := range map[string]string{
		"dns: {servers: [dns.example.com]}\n": "1:17",
		"dns: {servers: [192.0.2.300]}\n":     "1:17",
		"dns: {timeout: 0s}\n":                "1:16",
		"dns: {server: 192.0.2.53}\n":         "1:7",
	} {
		if _, err := load(t, text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it at %s", text, err, want)
		}
	}
	if _, err := load(t, "", map[string]string{"MAILER_DNS_SERVERS": "x"}); err == nil || !strings.Contains(err.Error(), "$MAILER_DNS_SERVERS") {
		t.Errorf("a bad server in the environment: %v", err)
	}
}

func showAgain(t *testing.T, text string) string {
	t.Helper()
	w, err := load(t, text, map[string]string{"MAILER_TIMEZONE": "Europe/Berlin"})
	if err != nil {
		t.Fatal(err)
	}
	shown, err := w.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := load(t, shown, nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, shown)
	}
	if !reflect.DeepEqual(again.Config, w.Config) {
		t.Errorf("read again: %+v\nwant %+v", again.Config, w.Config)
	}
	return shown
}
