package config

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"72h": 72 * time.Hour, "3d": 3 * day, "1d12h": 36 * time.Hour, "90s": 90 * time.Second, "0s": 0, "0": 0, "0d": 0, "1h30m": 90 * time.Minute,
	} {
		if d, err := ParseDuration(text); err != nil || d != want {
			t.Errorf("%q: %v, %v; want %v", text, d, err, want)
		}
	}
	for _, text := range []string{"", "d", "-1h", "-3d", "3", "1d-2h", "999999999d", "99999999999999999999d", "h"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, d)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"72h": 72 * time.Hour, "1m": time.Minute, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "10s": 10 * time.Second, "1h0m5s": time.Hour + 5*time.Second,
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
		if back, err := ParseDuration(want); err != nil || back != d {
			t.Errorf("%q reads back as %v, %v", want, back, err)
		}
	}
}
