package config

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestSigningKey(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	w := &Workspace{Dir: t.TempDir()}
	write(t, filepath.Join(w.Dir, "good.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), 0o600)
	write(t, filepath.Join(w.Dir, "bad.pem"), "no key", 0o600)
	if got, err := w.SigningKey(DKIM{KeyFile: "good.pem"}); err != nil || !key.Equal(got) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, file := range []string{"bad.pem", "absent.pem"} {
		if _, err := w.SigningKey(DKIM{KeyFile: file}); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestCheck(t *testing.T) {
	w, err := load(t, `
relays: {m: {host: 127.0.0.1, tls: none, username: u, password_env: MAILER_TEST_UNSET, ca_file: absent.pem}}
dkim: [{domain: a.example, selector: s, key_file: absent.pem}]
bounces: {mailbox: {host: 127.0.0.1, tls: none, username: u, password_command: "echo sesame"}}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range w.Check(t.Context()) {
		lines = append(lines, fmt.Sprintf("%s %s %s", f.Level, f.Key, f.Message))
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{
		"warn sender.from no sender", "error relays.m the environment has no MAILER_TEST_UNSET", "error relays.m open ", "error dkim.0 open ",
		"off bounces.mailbox password for u found: password_command", "off relays.m 127.0.0.1:25, tls none, 10 connections",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if strings.Contains(all, "sesame") {
		t.Errorf("the password is shown:\n%s", all)
	}
}
