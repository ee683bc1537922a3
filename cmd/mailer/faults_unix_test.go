//go:build unix

package main

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailer/internal/mailtest"
)

// holding is a relay that keeps back the replies to messages until answer is closed, and tells of each.
func holding(t *testing.T, held chan<- struct{}, answer <-chan struct{}) *mailtest.SMTPServer {
	return mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb != "." {
			return nil
		}
		select {
		case held <- struct{}{}:
		default:
		}
		return &mailtest.Reply{Wait: answer}
	}})
}

// A process is stopped (a suspended laptop, a frozen container) for longer than its lease, with mail on the wire. Another
// one goes on meanwhile. When the first comes back it records what it knows and sends nobody anything that the other did.
func TestSuspendedWhileAnotherGoesOn(t *testing.T) {
	held, answer := make(chan struct{}, 2), make(chan struct{})
	srv := holding(t, held, answer)
	w := relayWorkspace(t, srv, 300)
	args := []string{"send", "news", "--list", "readers", "--yes", "--json"}
	first := w.command(args...)
	var out bytes.Buffer
	first.Stdout, first.Stderr = &out, &out
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	for range w.connections {
		<-held
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "mailer.db")+"?_pragma=busy_timeout(100)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// Stopped in the middle of a commit it would keep the database locked: nobody could go on, which is right but another
	// story.
	stop := func() bool {
		if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		_, err := db.Exec("UPDATE campaigns SET lease_expires = lease_expires")
		return err == nil
	}
	for !stop() {
		first.Process.Signal(syscall.SIGCONT)
	}
	w.run(exitBusy, args...)
	if _, err := db.Exec("UPDATE campaigns SET lease_expires = 1"); err != nil { // a minute is over
		t.Fatal(err)
	}
	close(answer)
	second := w.run(exitSome, args...)
	if sum := lastLine(t, second); sum["remaining"] != 0.0 || sum["uncertain"].(float64) > float64(2*w.connections) {
		t.Errorf("the second process: %v", sum)
	}
	if err := first.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if code := result(first); code != exitBusy {
		t.Errorf("the first process: exit code %d, want %d\n%s", code, exitBusy, out.String())
	}
	// What the first process had claimed and never sent it gave back: the next run sends it.
	got := w.exact(srv)
	if got["pending"] > w.connections {
		t.Errorf("%v", got)
	}
	code := exitDone
	if got["uncertain"] > 0 {
		code = exitSome
	}
	w.run(code, args...)
	got = w.exact(srv)
	if got["accepted"]+got["uncertain"] != 300 || got["uncertain"] > w.connections {
		t.Errorf("%v", got)
	}
}

const nobody = 65534

// Where the database or its folder cannot be written, nothing is sent, nobody is marked and the words say why.
func TestDatabaseThatCannotBeWritten(t *testing.T) {
	for name, modes := range map[string]struct{ file, folder os.FileMode }{
		"file":   {0o444, 0o777},
		"folder": {0o600, 0o555},
	} {
		t.Run(name, func(t *testing.T) {
			srv := mailtest.NewSMTP(t, mailtest.Script{})
			w := relayWorkspace(t, srv, 20)
			for dir := w.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
				if err := os.Chmod(dir, 0o755); err != nil { // another user must get there
					t.Fatal(err)
				}
			}
			file := filepath.Join(w.dir, "mailer.db")
			for _, leftover := range []string{file + "-wal", file + "-shm"} {
				os.Remove(leftover)
			}
			entries, err := filepath.Glob(filepath.Join(w.dir, "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range append(entries, filepath.Join(w.dir, "campaigns", "news.md")) {
				if st, err := os.Stat(path); err == nil && !st.IsDir() {
					os.Chmod(path, 0o644)
				}
			}
			os.Chmod(filepath.Join(w.dir, "campaigns"), 0o755)
			os.Chmod(file, modes.file)
			os.Chmod(w.dir, modes.folder)
			cmd := w.command("send", "news", "--list", "readers", "--yes", "--json")
			if os.Getuid() == 0 { // root may write everywhere
				if modes.folder&0o200 == 0 {
					os.Chown(file, nobody, nobody)
				}
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
			out, _ := cmd.CombinedOutput()
			os.Chmod(w.dir, 0o755)
			os.Chmod(file, 0o600)
			if code := cmd.ProcessState.ExitCode(); code != exitError || !strings.Contains(string(out), "cannot be written") {
				t.Errorf("exit code %d\n%s", code, out)
			}
			if n := len(srv.Transactions()); n != 0 {
				t.Errorf("%d messages left", n)
			}
			w.run(exitDone, "send", "news", "--list", "readers", "--yes")
			if got := w.exact(srv); got["accepted"] != 20 {
				t.Errorf("%v", got)
			}
		})
	}
}
