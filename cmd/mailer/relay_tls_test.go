package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"mailer/internal/mailtest"
)

// relayTest runs `mailer relay test` in a workspace whose relay is a scripted one.
func relayTest(t *testing.T, srv *mailtest.SMTPServer, settings string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	yaml := fmt.Sprintf("sender: {from: news@example.com}\nrelays:\n  main: {host: localhost, port: %d, username: news, password_env: RELAY_TEST_PASSWORD, %s}\n", srv.Port, settings)
	if err := os.WriteFile(filepath.Join(dir, "mailer.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RELAY_TEST_PASSWORD", "geheim")
	var out, errs bytes.Buffer
	code = run(append([]string{"-C", dir, "relay", "test"}, args...), strings.NewReader(""), &out, &errs)
	if strings.Contains(out.String()+errs.String(), "geheim") {
		t.Errorf("the password is shown:\n%s%s", out.String(), errs.String())
	}
	return code, out.String(), errs.String()
}

// What a relay gets wrong has the exit code that a send would have: what trying again does not mend is 2.
func TestRelayTestExitCodes(t *testing.T) {
	ca, other := mailtest.NewCA(t), mailtest.NewCA(t)
	users := map[string]string{"news": "geheim"}
	for _, c := range []struct {
		name     string
		script   mailtest.Script
		settings string
		code     int
		says     string
	}{
		{"good", mailtest.Script{TLS: ca.Config(t), Users: users}, "tls: starttls", exitDone, ""},
		{"implicit", mailtest.Script{TLS: ca.Config(t), Implicit: true, Users: users}, "tls: implicit", exitDone, ""},
		{"expired", mailtest.Script{TLS: ca.Expired(t), Users: users}, "tls: starttls", exitUsage, "expired"},
		{"wrong name", mailtest.Script{TLS: ca.WrongName(t), Users: users}, "tls: starttls", exitUsage, "another name"},
		{"unknown issuer", mailtest.Script{TLS: other.Config(t), Users: users}, "tls: starttls", exitUsage, "issuer"},
		{"no STARTTLS", mailtest.Script{Users: users}, "tls: starttls", exitUsage, "does not offer STARTTLS"},
		{"wrong password", mailtest.Script{TLS: ca.Config(t), Users: map[string]string{"news": "x"}}, "tls: starttls", exitUsage, "refused"},
		{"wrong mechanism", mailtest.Script{TLS: ca.Config(t), Users: users, Mechs: []string{"PLAIN"}}, "tls: starttls, auth: cram-md5", exitUsage, "no common login mechanism"},
		{"busy", mailtest.Script{Replies: map[string]string{"CONNECT": "421 4.7.0 too many"}}, "tls: starttls", exitLeft, "421 4.7.0"},
		{"login later", mailtest.Script{TLS: ca.Config(t), Users: users, Replies: map[string]string{"AUTH": "454 4.7.0 later"}}, "tls: starttls", exitLeft, "454 4.7.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := mailtest.NewSMTP(t, c.script)
			code, stdout, stderr := relayTest(t, srv, c.settings+", ca_file: "+ca.File, "--json")
			sum := lastLine(t, stdout)
			if code != c.code || sum["ok"] != (c.code == exitDone) || sum["message_type"] != "summary" || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.code, stdout, stderr)
			}
			if n := len(srv.Transactions()); n > 0 {
				t.Errorf("%d messages were begun", n)
			}
			if c.code != exitDone {
				return
			}
			certificate, _ := sum["certificate"].(map[string]any)
			if sum["tls_version"] != "TLS 1.3" || sum["resumed"] != true || sum["login"] != "PLAIN" || certificate["issuer"] != "mailtest CA" {
				t.Errorf("summary %v", sum)
			}
			if !strings.Contains(stderr, "the certificate ends on") { // those of the test last an hour
				t.Errorf("no word of the certificate that is about to end: %s", stderr)
			}
		})
	}
}

// What a relay says is shown as text, whatever it is.
func TestRelayTestShowsNoControlCharacters(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Replies: map[string]string{"CONNECT": "220 mx \x1b[31mred\x07"}, Users: map[string]string{"news": "geheim"}})
	code, stdout, stderr := relayTest(t, srv, "tls: none")
	if code != exitDone || strings.ContainsAny(stdout+stderr, "\x1b\x07") || !strings.Contains(stdout, "red") {
		t.Errorf("exit code %d\n%q\n%q", code, stdout, stderr)
	}
}

// Ctrl-C ends a test and a bench while the relay keeps them waiting.
func TestRelayCommandsCanBeStopped(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("one process cannot send Ctrl-C to another on Windows")
	}
	for _, c := range []struct {
		at   string
		args []string
	}{
		{"CONNECT", []string{"relay", "test"}},
		{"EHLO", []string{"relay", "test"}},
		{".", []string{"relay", "test", "--to", "me@example.jp"}},
		{".", []string{"relay", "bench", "main", "--to", "sink@example.jp", "--i-own-this-relay", "--yes"}},
	} {
		held := make(chan struct{}, 100)
		srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(cmd mailtest.Command) *mailtest.Reply {
			if cmd.Verb == c.at {
				held <- struct{}{}
				return &mailtest.Reply{Wait: make(chan struct{})}
			}
			return nil
		}})
		w := &killWorkspace{t: t, dir: t.TempDir(), bin: binary(t)}
		w.write("mailer.yaml", fmt.Sprintf("sender: {from: news@example.com}\nrelays:\n  main: {host: 127.0.0.1, port: %d, tls: none, connections: 1}\n", srv.Port))
		cmd := w.command(append(c.args, "--json")...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		select {
		case <-held:
			cmd.Process.Signal(os.Interrupt)
			<-ended
		case <-ended:
		}
		if code := cmd.ProcessState.ExitCode(); code != exitLeft || !strings.Contains(out.String(), `"ok":false`) || !strings.Contains(out.String(), "stopped by a signal") {
			t.Errorf("%v, held at %s: %s\n%s", c.args, c.at, cmd.ProcessState, out.String())
		}
	}
}
