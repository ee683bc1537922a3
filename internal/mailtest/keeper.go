package mailtest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ServerDir is a folder for a server that gives its root rights up: t.TempDir lets nobody else in. Its path is short,
// because sockets lie in it. It is removed after the servers that were started later have stopped.
func ServerDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mailtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// FreePort is a port of the loopback interface below those that the system gives out by itself: between its choice and
// the start of the server that is told of it, no connection of anybody takes it.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return 0
}

// root skips a test whose servers want root rights.
func root(t testing.TB, server string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, server+" wants root rights (sudo make test)")
	}
}

// keeper starts a daemon and stops it when its standard input ends: at the end of the test, and however else the test
// process may end, killed or out of time.
const keeper = `trap : INT TERM HUP
if %s; then echo started; else echo failed; exit 1; fi
cat >/dev/null
%s`

// keep runs a daemon until the end of the test. start must return once the daemon takes connections. Where the test
// fails, the log is shown.
func keep(t testing.TB, name, start, stop, log string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", fmt.Sprintf(keeper, start+" </dev/null >>"+log+".start 2>&1", stop+" >>"+log+".start 2>&1"))
	end, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	told, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end.Close()
		err := cmd.Wait()
		if err != nil {
			t.Errorf("stop %s: %v", name, err)
		}
		if t.Failed() {
			t.Logf("%s:\n%s\n%s", name, tail(log+".start"), tail(log))
		}
	})
	if line, _ := bufio.NewReader(told).ReadString('\n'); line != "started\n" {
		t.Fatalf("%s did not start", name)
	}
}

// tail is the end of a log.
func tail(path string) string {
	const lines = 200
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// put writes a file of a server, open to those who run it.
func put(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// putFor makes a folder that belongs to one of the system's users.
func putFor(t testing.TB, path, owner string, mode os.FileMode) {
	t.Helper()
	u, err := user.Lookup(owner)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, -1); err != nil {
		t.Fatal(err)
	}
}
