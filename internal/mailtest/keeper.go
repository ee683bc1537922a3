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

// FreePorts are ports of the loopback interface below those that the system gives out by itself: between their choice
// and the start of the server that is told of them, no connection of anybody takes one.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for tries := 0; len(ports) < n; tries++ {
		port := 20000 + rand.IntN(12000)
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			if tries > 100 {
				t.Fatalf("find free ports: %v", err)
			}
			continue
		}
		defer ln.Close() // at the end, so that no port is chosen twice
		ports = append(ports, port)
	}
	return ports
}

// root skips a test whose servers want root rights.
func root(t testing.TB, server string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, server+" wants root rights (sudo make test)")
	}
}

// keeper starts a daemon and stops it when its standard input ends: at the end of the test, and however else the test
// process may end, killed or out of time. Arguments: the log, the commands that start it, stop it and tell that it still
// runs. They are the server's own, so that nothing depends on who reaps a daemon here.
const keeper = `trap : INT TERM HUP
if sh -c "$2" </dev/null >>"$1" 2>&1; then echo started; else echo failed; exit 1; fi
cat >/dev/null
sh -c "$3" >>"$1" 2>&1
n=0
while sh -c "$4" >/dev/null 2>&1; do
	n=$((n+1))
	if [ $n -gt 200 ]; then echo "it does not stop" >>"$1"; exit 1; fi
	sleep 0.05
done`

// daemon is a server with the commands that handle it. start returns once it takes connections.
type daemon struct {
	name, start, stop, runs string
	log                     string // where it writes what it does
}

// keep runs a daemon until the end of the test. Where the test fails, the log is shown.
func (d daemon) keep(t testing.TB) {
	t.Helper()
	control := d.log + ".control"
	cmd := exec.Command("sh", "-c", keeper, "keeper", control, d.start, d.stop, d.runs)
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
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s did not stop: %v", d.name, err)
		}
		if t.Failed() {
			t.Logf("%s:\n%s\n%s", d.name, tail(control), tail(d.log))
		}
	})
	if line, _ := bufio.NewReader(told).ReadString('\n'); line != "started\n" {
		t.Fatalf("%s did not start", d.name)
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
	if err := os.Mkdir(path, mode); err != nil {
		t.Fatal(err)
	}
	owned(t, path, owner)
}

// owned gives a file to one of the system's users.
func owned(t testing.TB, path, owner string) {
	t.Helper()
	u, err := user.Lookup(owner)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, -1); err != nil {
		t.Fatal(err)
	}
}
