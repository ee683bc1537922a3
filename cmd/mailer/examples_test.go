package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"mailer/examples"
	"mailer/internal/sandbox"
)

// The workspaces of examples/, and what their READMEs promise of their lists.
var exampleWorkspaces = []struct {
	name, list string
	code       int // of the import
	created    int
	rejected   int
	reader     string // whom previews are made for
	campaigns  []string
}{
	{"japanese-shop", "customers.csv", exitSome, 147, 2, "hanako74@example.jp", []string{"2026-12-sale", "2026-12-haisou"}},
	{"english-newsletter", "subscribers.csv", exitDone, 150, 0, "jurgen.bianchi@example.net", []string{"2026-12-letter", "2026-12-invite"}},
}

// Each example is copied and used as its README says, against a sandbox.
func TestExampleWorkspaces(t *testing.T) {
	for _, ex := range exampleWorkspaces {
		t.Run(ex.name, func(t *testing.T) {
			dir := copyExample(t, ex.name)
			startSandbox(t)
			mailer := func(want []int, args ...string) string {
				t.Helper()
				return runMailer(t, dir, want, args...)
			}
			ok := []int{exitDone}
			mailer(ok, "config", "check")
			imported := lastLine(t, mailer([]int{ex.code}, "--json", "import", filepath.Join(dir, ex.list), "--list", "people"))
			if imported["created"] != float64(ex.created) || imported["rejected"] != float64(ex.rejected) {
				t.Errorf("import: %v, want %d created and %d rejected", imported, ex.created, ex.rejected)
			}
			for _, name := range namesOf(t, filepath.Join(dir, "segments"), ".expr") {
				mailer(ok, "segments", "count", name)
			}
			for _, name := range ex.campaigns {
				for _, part := range partsOf(dir, name) {
					if out := mailer(ok, "preview", name, "--to", ex.reader, "--part", part); out == "" {
						t.Errorf("preview of %s as %s is empty", name, part)
					}
				}
				mailer(ok, "send", name, "--dry-run")
				// A third of a stale list is dead: not everybody is accepted.
				sent := lastLine(t, mailer([]int{exitSome, exitLeft}, "--json", "send", name, "--yes"))
				if sent["accepted"].(float64) < 0.5*sent["planned"].(float64) || sent["planned"].(float64) < 20 {
					t.Errorf("send: %v", sent)
				}
			}
			if read := lastLine(t, mailer(ok, "--json", "bounces", "sync")); read["bounces"] == 0.0 || read["suppressed"] == 0.0 {
				t.Errorf("bounces sync: %v", read)
			}
			for _, name := range ex.campaigns {
				mailer(ok, "report", name)
			}
		})
	}
}

// partsOf are the parts of a campaign's message; one of plain text has no HTML.
func partsOf(dir, campaign string) []string {
	if _, err := os.Stat(filepath.Join(dir, "campaigns", campaign+".txt")); err == nil {
		return []string{"text", "raw"}
	}
	return []string{"text", "html", "raw"}
}

// The command of every crontab line and of every systemd service does its work, and may be run again.
func TestExampleSchedules(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("cron and systemd are not for Windows")
	}
	dir := copyExample(t, "english-newsletter")
	startSandbox(t)
	t.Setenv("MAILER_DIR", dir)
	runMailer(t, "", []int{exitDone}, "import", filepath.Join(dir, "subscribers.csv"), "--list", "people")
	for _, command := range append(crontabCommands(t), serviceCommands(t)...) {
		for range 2 {
			out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
			var failed *exec.ExitError
			if errors.As(err, &failed) && slices.Contains([]int{exitSome, exitLeft}, failed.ExitCode()) {
				continue // what is left is for the next run
			}
			if err != nil {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
		}
	}
}

var crontabLine = regexp.MustCompile(`^(?:[0-9*/,-]+\s+){5}(mailer .*)$`)

func crontabCommands(t *testing.T) []string {
	var commands []string
	for line := range strings.Lines(readCron(t, "crontab")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || regexp.MustCompile(`^[A-Z_]+=\S+$`).MatchString(line) {
			continue
		}
		m := crontabLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not a crontab line: %s", line)
		}
		commands = append(commands, m[1])
	}
	if len(commands) != 2 {
		t.Fatalf("commands in the crontab: %q", commands)
	}
	return commands
}

// serviceCommands are those of the systemd units, as the instance of a campaign; of one that does not end, what it does again and
// again. Each other service has its timer.
func serviceCommands(t *testing.T) []string {
	var commands []string
	for _, name := range namesOf(t, cronFolder, ".service") {
		text := readCron(t, name+".service")
		_, command, ok := strings.Cut(text, "\nExecStart=/usr/local/bin/")
		command, _, _ = strings.Cut(command, "\n")
		command, forever := strings.CutSuffix(command, " --forever")
		if !ok || !forever && !strings.Contains(readCron(t, name+".timer"), "\nOnCalendar=") || forever && !strings.Contains(text, "\nWantedBy=") {
			t.Fatalf("%s has no ExecStart, or its timer no OnCalendar, or nobody starts it", name)
		}
		commands = append(commands, strings.ReplaceAll(command, "%i", "2026-12-letter"))
	}
	if len(commands) != 2 {
		t.Fatalf("commands of the services: %q", commands)
	}
	return commands
}

var cronFolder = filepath.Join("..", "..", "examples", "cron")

func readCron(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cronFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func copyExample(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	workspace, err := fs.Sub(examples.FS, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, workspace); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startSandbox plays the relay and the mailbox of a workspace, on ports of its own.
func startSandbox(t *testing.T) {
	t.Helper()
	s, err := sandbox.Start(t.Context(), sandbox.Options{SMTP: "127.0.0.1:0", IMAP: "127.0.0.1:0", HTTP: "127.0.0.1:0", Seed: 1, Scenario: "stale"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for variable, addr := range map[string]string{"MAILER_RELAYS_MAIN_PORT": s.SMTPAddr(), "MAILER_BOUNCES_MAILBOX_PORT": s.IMAPAddr()} {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(variable, port)
	}
}

// runMailer runs the program in this process and insists on one of the exit codes.
func runMailer(t *testing.T, dir string, want []int, args ...string) string {
	t.Helper()
	if dir != "" {
		args = append([]string{"-C", dir}, args...)
	}
	var stdout, stderr bytes.Buffer
	if code := run(args, strings.NewReader(""), &stdout, &stderr); !slices.Contains(want, code) {
		t.Fatalf("mailer %s: exit code %d, want one of %v\n%s%s", strings.Join(args, " "), code, want, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func lastLine(t *testing.T, out string) map[string]any {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var v map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &v); err != nil || v["message_type"] != "summary" {
		t.Fatalf("the last line is no summary: %v\n%s", err, out)
	}
	return v
}

func namesOf(t *testing.T, dir, extension string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+extension))
	if err != nil || len(files) == 0 {
		t.Fatalf("no *%s in %s: %v", extension, dir, err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), extension))
	}
	return names
}
