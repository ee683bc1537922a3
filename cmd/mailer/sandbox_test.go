package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailer/internal/sandbox"
)

// sandboxCommand runs the command and returns its first line. end stops it and returns the rest.
func sandboxCommand(t *testing.T, asJSON bool, o sandboxOptions) (first string, end func() string) {
	t.Helper()
	r, w := io.Pipe()
	a := newApp(strings.NewReader(""), w, io.Discard)
	a.out.JSON = asJSON
	o.SMTP, o.IMAP, o.HTTP = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		err := runSandbox(ctx, a, o)
		w.Close()
		done <- err
	}()
	lines := bufio.NewReader(r)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %v", err, <-done)
	}
	return first, func() string {
		cancel()
		rest, _ := io.ReadAll(lines)
		if err := <-done; err != nil {
			t.Error(err)
		}
		return string(rest)
	}
}

func TestSandboxCommand(t *testing.T) {
	first, end := sandboxCommand(t, true, sandboxOptions{})
	var ready struct {
		MessageType string `json:"message_type"`
		SMTP, HTTP  string
	}
	if err := json.Unmarshal([]byte(first), &ready); err != nil || ready.MessageType != "ready" {
		t.Fatalf("%v: %s", err, first)
	}
	for to, refused := range map[string]bool{"accept@example.jp": false, "unknown.x@example.jp": true} {
		err := smtp.SendMail(ready.SMTP, nil, "b@example.com", []string{to}, []byte("Subject: x\r\n\r\nhello\r\n"))
		if (err != nil) != refused {
			t.Errorf("%s: %v", to, err)
		}
	}
	resp, err := http.Get(ready.HTTP + "/api/messages")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var caught []sandbox.Caught
	if err := json.NewDecoder(resp.Body).Decode(&caught); err != nil || len(caught) != 1 {
		t.Errorf("caught %v, %v", caught, err)
	}
	if rest := end(); !strings.Contains(rest, `"message_type":"summary","messages":1`) || !strings.Contains(rest, `"refused":{"unknown":1}`) {
		t.Errorf("at the end: %s", rest)
	}
}

func TestSandboxForPeople(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	first, end := sandboxCommand(t, false, sandboxOptions{caFile: ca})
	if !strings.HasPrefix(first, "ready smtp=127.0.0.1:") || !strings.Contains(first, " imap=127.0.0.1:") || !strings.Contains(first, " http=http://127.0.0.1:") {
		t.Errorf("ready line: %s", first)
	}
	if text, err := os.ReadFile(ca); err != nil || !strings.HasPrefix(string(text), "-----BEGIN CERTIFICATE") {
		t.Errorf("%v: %s", err, text)
	}
	if rest := end(); rest != "caught 0 messages; 0 in the bounce mailbox\n" {
		t.Errorf("at the end: %s", rest)
	}
}
