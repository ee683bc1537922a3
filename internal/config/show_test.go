package config

import (
	"reflect"
	"strings"
	"testing"
)

// What `config show` prints is a mailer.yaml: read again, it is in force as it stands.
func TestShownConfigurationLoadsAgain(t *testing.T) {
	w, err := load(t, design, map[string]string{"MAILER_TIMEZONE": "Europe/Berlin"})
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
	for _, want := range []string{
		"timezone: Europe/Berlin # $MAILER_TIMEZONE\n", "expires: 72h # line 9\n", "host: smtp.example.com # line 13\n", "dkim: warn # default\n",
		"password_env: MAILER_RELAY_PASSWORD # line 18\n", "docomo.ne.jp:\n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
}
