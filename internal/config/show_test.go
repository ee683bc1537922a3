package config

import (
	"reflect"
	"strings"
	"testing"
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
