package mailtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Debian's mail servers exclude one another, so all but one lie unpacked in the user's cache folder, where .ci/run puts
// them, and not where they expect to be. Each therefore runs in a jail: a folder that it takes for the whole system,
// with its program, the libraries, the users and the resolver that it wants.

// firstUser is the number of the first user of a jail.
const firstUser = 901

// unpacked is the folder where a Debian package was unpacked. It skips the test where it was not.
func unpacked(t testing.TB, pkg, program string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "mailer-test", pkg)
	if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
		Skip(t, pkg+" is not unpacked in "+dir+" (.ci/run fetches it on Debian; or: apt-get download "+pkg+
			" and the libraries it lacks, then dpkg-deb -x each of them to that folder)")
	}
	root(t, pkg)
	return dir
}

// newJail makes a jail with programs of an unpacked package, or of the system where that has none of the name. users are its system users.
func newJail(t testing.TB, pkg string, programs, users []string, resolver string) string {
	t.Helper()
	from, jail := unpacked(t, pkg, programs[0]), ServerDir(t)
	passwd, group := "root:x:0:0::/:/bin/sh\n", "root:x:0:\nmail:x:8:\n"
	for i, user := range users {
		passwd += fmt.Sprintf("%s:x:%d:%[2]d::/:/bin/false\n", user, firstUser+i)
		group += fmt.Sprintf("%s:x:%d:\n", user, firstUser+i)
	}
	for path, text := range map[string]string{"passwd": passwd, "group": group, "hosts": "127.0.0.1 localhost\n",
		"resolv.conf": resolvConf(resolver), "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n"} {
		put(t, jail+"/etc/"+path, text)
	}
	for _, dir := range []string{"dev", "run", "var", "tmp"} {
		if err := os.MkdirAll(jail+"/"+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, device := range []string{"/dev/null", "/dev/urandom"} {
		copyInto(t, device, jail+device)
	}
	for _, program := range programs {
		file := filepath.Join(from, program)
		if _, err := os.Stat(file); err != nil {
			file = program // the system's
		}
		copyInto(t, file, filepath.Join(jail, program))
		for _, library := range libraries(t, from, file) {
			copyInto(t, library, filepath.Join(jail, strings.TrimPrefix(library, from)))
		}
	}
	return jail
}

// libraries are those that a program loads, its own package's and the system's.
func libraries(t testing.TB, from, program string) []string {
	t.Helper()
	own, err := filepath.Glob(from + "/usr/lib/*-linux-gnu*")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ldd", program)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(own, ":"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ldd %s: %v\n%s", program, err, out)
	}
	if strings.Contains(string(out), "not found") {
		t.Fatalf("%s lacks libraries; remove %s and run .ci/run, which fetches them:\n%s", program, from, out)
	}
	var all []string
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "/") {
			all = append(all, word)
		}
	}
	return all
}

// copyInto copies a file or a device; of a link what it points at.
func copyInto(t testing.TB, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-RLp", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v\n%s", from, err, out)
	}
}

// jailed is a daemon in a jail that stays in the foreground; ready is the command that tells that it takes connections.
func jailed(name, jail, command, ready, log string) daemon {
	pid, runs := jail+"/pid", jail+"/runs"
	return daemon{name: name, log: log, stop: "kill $(cat " + pid + ")", runs: "test -e " + runs,
		start: fmt.Sprintf(`touch %[1]s
{ trap : INT TERM HUP; chroot %[2]s %[3]s >>%[2]s/log 2>&1 & p=$!; echo $p >%[4]s; while kill -0 $p; do wait $p; done; rm -f %[1]s; } &
n=0
until %[5]s; do
	n=$((n+1))
	if [ $n -gt 100 ] || [ ! -e %[1]s ]; then kill $(cat %[4]s); exit 1; fi
	sleep 0.1
done`, runs, jail, command, pid, ready)}
}

// resolvConf asks one name server.
func resolvConf(server string) string {
	return "nameserver " + server + "\noptions timeout:1 attempts:1\n"
}

// NoNames starts a name server that knows no host, and returns its address; its port is 53, as jails want it. The first
// label of a name says how it is not known: null. takes no mail (RFC 7505), empty. has no record, broken. gives no
// answer but an error. A name that ends in .bl.test is a black list's, and it holds everybody.
func NoNames(t testing.TB) string {
	t.Helper()
	addr := fmt.Sprintf("127.53.%d.%d", rand.IntN(256), 1+rand.IntN(254)) // several tests may run at once
	conn, err := net.ListenPacket("udp", addr+":53")
	if err != nil {
		Skip(t, "no name server can be started: "+err.Error()+" (sudo make test)")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := noHost(buf[:n]); answer != nil {
				conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return addr
}

// noHost turns a question into its answer (RFC 1035 section 4.1.1). What follows the question, EDNS, is left out.
func noHost(q []byte) []byte {
	const typeA, typeMX, servFail, nxDomain = 1, 15, 2, 3
	var labels []string
	end := 12
	for end < len(q) && q[end] != 0 {
		next := end + 1 + int(q[end])
		if next > len(q) {
			return nil
		}
		labels = append(labels, strings.ToLower(string(q[end+1:next])))
		end = next
	}
	if end+5 > len(q) {
		return nil
	}
	name, kind := strings.Join(labels, "."), int(q[end+1])<<8|int(q[end+2])
	a := append([]byte(nil), q[:end+5]...)
	a[2] |= 0x80 // a response
	a[3] = 0x80  // recursion available
	copy(a[6:12], make([]byte, 6))
	record := func(data ...byte) {
		a[7] = 1
		a = append(a, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 60, 0, byte(len(data))) // 0xc0 12: the name of the question
		a = append(a, data...)
	}
	switch {
	case strings.HasSuffix(name, ".bl.test"):
		if kind == typeA {
			record(127, 0, 0, 2)
		}
	case strings.HasPrefix(name, "null."):
		if kind == typeMX {
			record(0, 0, 0) // preference 0, the root
		}
	case strings.HasPrefix(name, "empty."):
	case strings.HasPrefix(name, "broken."):
		a[3] |= servFail
	default:
		a[3] |= nxDomain
	}
	return a
}
