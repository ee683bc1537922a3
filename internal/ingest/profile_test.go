package ingest

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mailer/internal/config"
)

func TestProfileIsReadAsItWasSaved(t *testing.T) {
	dir := t.TempDir()
	full := Profile{
		Map: map[string]string{"#2": "名前", "会社: 名": "company", "メモ": "", "yes": "no", "- x": "email"}, Fields: []string{"名前", "a, b", "true"},
		Format: "csv", Encoding: "cp932", Delimiter: "tab", Sheet: "2", Header: "3", List: "会員 #1", OnDuplicate: "skip",
		Consent: ProfileConsent{"web: form", "2026-01-05", "I agree\nto \"all\""}, UnlistMissing: true,
	}
	for _, p := range []Profile{full, {}, {Sheet: "名簿", Header: "none"}} {
		if _, err := SaveProfile(dir, "shop", p, true); err != nil {
			t.Fatal(err)
		}
		if got, err := LoadProfile(dir, "shop"); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%+v, %v\nwant %+v", got, err, p)
		}
	}
	if got := full.Mappings(); len(got) != 5 || got[0] != (Mapping{"#2", "名前"}) {
		t.Errorf("%q", got)
	}
	if _, err := SaveProfile(dir, "shop", full, false); err == nil || !strings.Contains(err.Error(), "says something else") {
		t.Errorf("a profile is lost: %v", err)
	}
	if _, err := SaveProfile(dir, "shop", Profile{Sheet: "名簿", Header: "none"}, false); err != nil {
		t.Errorf("the same again: %v", err)
	}
}

func TestProfileIsStrict(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadProfile(dir, "shop"); err == nil || !strings.Contains(err.Error(), "none yet; --save-profile shop") {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Join(dir, ProfileDir), 0o755); err != nil {
		t.Fatal(err)
	}
	for text, part := range map[string]string{
		"list: x\nencodng: cp932\n":      `shop.yaml:2:1: unknown key "encodng"`,
		"map: [a]\n":                     "must hold keys and values",
		"map:\n  a: [b]\n":               "must be a single value",
		"consent:\n  sorce: x\n":         `did you mean "source"`,
		"unlist_missing: perhaps\n":      "true or false",
		"list: a\nlist: b\n":             "list",
		"fields: 名前\n":                   "must be a list",
		"map:\n  会社: company\n  会社: b\n": "会社",
	} {
		if err := os.WriteFile(filepath.Join(dir, ProfileDir, "shop.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadProfile(dir, "shop")
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", text, err, part)
		}
	}
	if _, err := LoadProfile(dir, "shpo"); err == nil || !strings.Contains(err.Error(), `did you mean "shop"`) {
		t.Error(err)
	}
	for _, name := range []string{"", "../x", ".x", "a/b", `a\b`, "c:"} {
		wrong := new(UsageError)
		if _, err := SaveProfile(dir, name, Profile{}, true); !errors.As(err, &wrong) {
			t.Errorf("%q: %v", name, err)
		}
	}
	var conf *config.Error
	os.WriteFile(filepath.Join(dir, ProfileDir, "shop.yaml"), []byte("a: [\n"), 0o600)
	if _, err := LoadProfile(dir, "shop"); !errors.As(err, &conf) {
		t.Errorf("%v", err)
	}
}
