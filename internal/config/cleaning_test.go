package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"mailer/internal/suppression"
)

func loadCleaning(t *testing.T, text string) (*Workspace, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(dir, nil)
}

func TestCleaningDefaultsToThePolicy(t *testing.T) {
	w, err := loadCleaning(t, "timezone: UTC\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := w.Config.Policy(), suppression.DefaultPolicy(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if w.Config.Bounces.Retention != 365*24*time.Hour {
		t.Errorf("retention %v", w.Config.Bounces.Retention)
	}
	text, err := w.YAML()
	if err != nil {
		t.Fatal(err)
	}
	from, to := strings.Index(text, "\ncleaning:"), strings.Index(text, "\ndomains:")
	again, err := loadCleaning(t, text[from:to])
	if err != nil || !reflect.DeepEqual(again.Config.Cleaning, w.Config.Cleaning) {
		t.Errorf("what config show prints: %v\n%s", err, text)
	}
}

func TestCleaning(t *testing.T) {
	w, err := loadCleaning(t, `cleaning:
  hard: keep
  half_life: 30d
  soft: {score: 2.5, campaigns: 2, over: 0d}
  full: {score: 0}
  weights: {mailboxfull: 0.25, filtered: 0}
  freeze: {share: off, for: 6h}
bounces: {retention: 30d}
`)
	if err != nil {
		t.Fatal(err)
	}
	p := w.Config.Policy()
	if !p.KeepDead || p.HalfLife != 30*24*time.Hour || p.Soft != (suppression.Bar{Score: 2.5, Campaigns: 2}) || p.Full.Score != 0 || p.Full.Campaigns != 3 ||
		p.Weights["mailboxfull"] != 0.25 || p.Weights["filtered"] != 0 || p.Weights["suspend"] != 2 || p.Freeze.Share != 0 || p.Freeze.Least != 10 || p.Freeze.For != 6*time.Hour {
		t.Errorf("%+v", p)
	}
}

func TestCleaningMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"weights: {blocked: 1}":        "never counts against an address",
		"weights: {mailboxful: 1}":     "mailboxfull",
		"weights: {mailboxfull: -1}":   "not a number",
		"weights: {mailboxfull: much}": "not a number",
		"hard: never":                  "suppress, keep",
		"half_life: 0d":                "90d",
		"soft: {campaigns: 0}":         "1 or more",
		"freeze: {least: 0}":           "1 or more",
		"freeze: {window: 1s}":         "1m or longer",
		"freeze: {for: 0d}":            "longer than nothing",
		"freeze: {share: 20}":          "not a share",
		"frieze: {}":                   "unknown key",
	} {
		if _, err := loadCleaning(t, "cleaning: {"+text+"}\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	// A reason of ours may be written down as what it is.
	if _, err := loadCleaning(t, "cleaning: {weights: {blocked: 0}}\n"); err != nil {
		t.Error(err)
	}
}
