package config

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "good"), "from file \r\n", 0o600)
	write(t, filepath.Join(dir, "open"), "x", 0o644)
	write(t, filepath.Join(dir, "empty"), "\n", 0o600)
	t.Setenv("MAILER_TEST_SECRET", "from env")
	tests := []struct {
		name        string
		secret      Secret
		want, wrong string
	}{
		{"none", Secret{}, "", ""},
		{"plain", Secret{Plain: "p"}, "p", ""},
		{"environment", Secret{Env: "MAILER_TEST_SECRET"}, "from env", ""},
		{"unset variable", Secret{Env: "MAILER_TEST_UNSET"}, "", "the environment has no MAILER_TEST_UNSET"},
		{"file keeps inner blanks", Secret{File: "good"}, "from file ", ""},
		{"no file", Secret{File: "absent"}, "", "absent"},
		{"file open to others", Secret{File: "open"}, "", "chmod 600"},
		{"empty file", Secret{File: "empty"}, "", "empty password"},
		{"command", Secret{Command: "echo from command"}, "from command", ""},
		{"command runs in the workspace", Secret{Command: "cat good"}, "from file ", ""},
		{"command fails", Secret{Command: "echo secret; echo no key here >&2; exit 3"}, "", "exit status 3: no key here"},
		{"command reads nothing", Secret{Command: "read line && echo $line"}, "", "exit status 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && (tt.secret.Command != "" || tt.secret.File == "open") {
				t.Skip("needs a POSIX shell and file modes")
			}
			got, err := tt.secret.Resolve(t.Context(), dir)
			if got != tt.want || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("got %q, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestResolveStopsWithItsContext(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a POSIX shell")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	start := time.Now()
	if _, err := (Secret{Command: "sleep 60"}).Resolve(ctx, t.TempDir()); err == nil {
		t.Error("no error")
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

// A password must not come out through any door that a value is printed by.
func TestSecretIsNeverPrinted(t *testing.T) {
	const password = "hunter2-very-secret"
	w, err := load(t, "relays: {m: {host: h, username: u, password: "+password+"}}\n"+
		"bounces: {mailbox: {host: h, username: u, password: "+password+"}}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := w.YAML()
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(w.Config)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(w.Settings())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"%v": fmt.Sprintf("%v", w.Config), "%+v": fmt.Sprintf("%+v", *w), "%#v": fmt.Sprintf("%#v", w.Config), "print": fmt.Sprint(w.Config.Relays[0].Secret),
		"yaml": shown, "json": string(asJSON), "settings": string(settings), "warnings": fmt.Sprint(w.Warnings),
	} {
		if strings.Contains(text, password) {
			t.Errorf("%s shows the password: %s", name, text)
		}
	}
	if !strings.Contains(shown, redacted) {
		t.Errorf("the password's place is not shown:\n%s", shown)
	}
}

func TestExposedFileWarns(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs file modes")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, FileName), "relays: {m: {host: h, username: u, password: p}}", 0o644)
	w, err := Load(dir, nil)
	if err != nil || !strings.Contains(fmt.Sprint(w.Warnings), "chmod 600") {
		t.Errorf("%v, %v", w, err)
	}
	write(t, filepath.Join(dir, FileName), "relays: {m: {host: h, username: u, password_env: P}}", 0o644)
	if w, err = Load(dir, nil); err != nil || len(w.Warnings) != 0 {
		t.Errorf("%v, %v", w, err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
