package config

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestSigningKey(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		want       crypto.Signer
		wrong      string
	}{
		{"pkcs1", toPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), rsaKey, ""},
		{"pkcs8", toPEM("PRIVATE KEY", pkcs8(t, rsaKey)), rsaKey, ""},
		{"ed25519", toPEM("PRIVATE KEY", pkcs8(t, edKey)), edKey, ""},
		{"ecdsa", toPEM("PRIVATE KEY", pkcs8(t, ecKey)), nil, "neither RSA nor Ed25519"},
		{"public", toPEM("PUBLIC KEY", []byte("x")), nil, "holds a PUBLIC KEY that is not"},
		{"text", "hello", nil, "is not a PEM file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &Workspace{Dir: t.TempDir()}
			write(t, filepath.Join(w.Dir, "k.pem"), tt.text, 0o600)
			got, err := w.SigningKey(DKIM{KeyFile: "k.pem"})
			if err != nil && (tt.wrong == "" || !strings.Contains(err.Error(), tt.wrong)) || err == nil && tt.want == nil {
				t.Fatalf("got %v, %v", got, err)
			}
			if eq, ok := tt.want.(interface{ Equal(crypto.PrivateKey) bool }); ok && !eq.Equal(got) {
				t.Errorf("another key")
			}
		})
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

func toPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
