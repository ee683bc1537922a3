package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailer/internal/mailtest"
	"mailer/internal/sandbox"
)

// plainBinary builds mailer once, without the race detector: it slows the store thirty-fold, and a kill must meet the
// program at the speed that users meet it.
var plainBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("mailer-test-%d", os.Getpid()))
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build mailer: %w\n%s", err, out)
	}
	return path, nil
})

// removeBinary is called when all tests have run.
func removeBinary() {
	os.Remove(filepath.Join(os.TempDir(), fmt.Sprintf("mailer-test-%d", os.Getpid())))
}

func binary(t testing.TB) string {
	t.Helper()
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Killed at random moments of a send, while mail is flowing over twenty connections, and begun again each time: every
// recipient has the message exactly once or is listed as uncertain, and never are more uncertain than two a connection.
// MAILER_TEST_KILLS says how often.
func TestKillNineLosesNobodyAndDoublesNobody(t *testing.T) {
	const connections, each = 20, 150 // messages between two kills
	kills := killCount(t)
	recipients := each * (kills + 1)
	w := newKillWorkspace(t, recipients, connections)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	begin := time.Now()
	doubt := map[string]bool{}
	var left []int
	for kill := 1; kill <= kills; kill++ {
		// The moment is a number of messages that the relay has taken, spread over the whole send, and a bit of time: the
		// count alone would always be seen right after a reply.
		before := w.stats()
		share := (recipients - before - len(doubt)) / (kills - kill + 2)
		if !w.killWhen(before+1+rnd.IntN(share), time.Duration(rnd.IntN(2000))*time.Microsecond) {
			t.Errorf("send %d ended before it was killed", kill)
		}
		// What the last kill left is still `sending`; the next run finds it.
		now := w.recipients("uncertain,sending")
		for address := range doubt {
			if !now[address] {
				t.Errorf("%s was in doubt before kill %d and is not any more, though nobody resolved it", address, kill)
			}
		}
		left = append(left, len(now)-len(doubt))
		if last := left[len(left)-1]; last > 2*connections {
			t.Errorf("kill %d left %d in doubt, more than 2 x %d connections", kill, last, connections)
		}
		doubt = now
	}
	w.finish()
	listed := w.recipients("uncertain")
	if len(listed) != len(doubt) {
		t.Errorf("%d were in doubt after the last kill, %d are listed", len(doubt), len(listed))
	}
	got := map[string]int{}
	for _, m := range w.sandbox.Messages() {
		got[strings.ToLower(m.Rcpt)]++
	}
	there := 0
	for i := range recipients {
		address := killAddress(i)
		switch n := got[address]; {
		case n > 1:
			t.Errorf("%s has it %d times", address, n)
		case n == 0 && !listed[address]:
			t.Errorf("%s has it not, and is not listed as uncertain", address)
		case n == 1 && listed[address]:
			there++
		}
	}
	t.Logf("%d recipients, %d connections, %d kills: %d uncertain in all (%d of them have it), %d to %d a kill, bound %d; %.1f s",
		recipients, connections, kills, len(listed), there, slices.Min(left), slices.Max(left), 2*connections, time.Since(begin).Seconds())
	w.resolve(listed)
}

// killCount is how often the send is killed: a hundred times, which takes half a minute, but not under the race detector.
func killCount(t *testing.T) int {
	t.Helper()
	text := os.Getenv("MAILER_TEST_KILLS")
	switch {
	case text == "" && mailtest.Race:
		return 25
	case text == "":
		return 100
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("MAILER_TEST_KILLS is %q, which is no number of kills", text)
	}
	return n
}

// killWorkspace is a workspace with a list, and a relay that outlives the sender.
type killWorkspace struct {
	t           *testing.T
	dir         string
	bin         string
	sandbox     *sandbox.Sandbox
	connections int
}

func killAddress(i int) string { return fmt.Sprintf("reader%05d@example.jp", i) }

func newKillWorkspace(t *testing.T, recipients, connections int) *killWorkspace {
	t.Helper()
	sb, err := sandbox.Start(t.Context(), sandbox.Options{Scenario: "perfect"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sb.Close() })
	w := &killWorkspace{t: t, dir: t.TempDir(), bin: binary(t), sandbox: sb, connections: connections}
	w.write("mailer.yaml", fmt.Sprintf(`
sender: {from: News <news@example.com>, organization: Example, postal_address: Tokyo}
relays:
  main: {host: 127.0.0.1, port: %s, tls: none, connections: %d}
bounces: {return_path: "bounce+{token}@example.com"}
`, port(sb.SMTPAddr()), connections))
	w.write("campaigns/news.md", "---\nsubject: News for {{.name}}\n---\nHello {{.name}}, your number is {{.number}}.\n")
	var list bytes.Buffer
	list.WriteString("email,name,number\n")
	for i := range recipients {
		fmt.Fprintf(&list, "%s,Reader %d,%d\n", killAddress(i), i, i)
	}
	w.write("list.csv", list.String())
	w.run(exitDone, "import", "list.csv", "--list", "readers", "--consent-source", "test")
	return w
}

func port(addr string) string { return addr[strings.LastIndex(addr, ":")+1:] }

func (w *killWorkspace) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *killWorkspace) command(args ...string) *exec.Cmd {
	cmd := exec.Command(w.bin, args...)
	cmd.Dir = w.dir
	return cmd
}

// run runs a command that must end with one of the codes, and returns its standard output.
func (w *killWorkspace) run(want int, args ...string) string {
	w.t.Helper()
	cmd := w.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != want {
		w.t.Fatalf("mailer %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// killWhen starts the send and kills it some time after the relay has taken n messages in all. It is false when the send
// ended by itself.
func (w *killWorkspace) killWhen(n int, later time.Duration) bool {
	w.t.Helper()
	cmd := w.command("send", "news", "--list", "readers", "--yes")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	for w.stats() < n {
		select {
		case <-ended:
			w.t.Logf("%s\n%s", cmd.ProcessState, out.String())
			return false
		default:
			time.Sleep(200 * time.Microsecond) // the poll's grain, not a guess: the loop waits for the count
		}
	}
	time.Sleep(later)
	cmd.Process.Signal(syscall.SIGKILL)
	<-ended
	return !cmd.ProcessState.Exited()
}

func (w *killWorkspace) stats() int {
	return w.sandbox.Stats().Messages
}

// finish sends the rest.
func (w *killWorkspace) finish() {
	w.t.Helper()
	cmd := w.command("send", "news", "--list", "readers", "--yes", "--json")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	cmd.Run()
	code := cmd.ProcessState.ExitCode()
	sum := lastLine(w.t, out.String())
	if code != exitDone && code != exitSome || sum["remaining"] != 0.0 || sum["deferred"] != 0.0 {
		w.t.Fatalf("the last run: exit code %d\n%s%s", code, out.String(), stderr.String())
	}
}

// recipients lists the addresses in a state.
func (w *killWorkspace) recipients(state string) map[string]bool {
	w.t.Helper()
	all := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(w.run(exitDone, "campaigns", "recipients", "news", "--state", state, "--json")))
	for lines.Scan() {
		var r struct{ Address string }
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			w.t.Fatal(err)
		}
		all[r.Address] = true
	}
	return all
}

// resolve sends the uncertain again, as a user would say, with the same Message-ID: receivers that have it can tell.
func (w *killWorkspace) resolve(listed map[string]bool) {
	w.t.Helper()
	if len(listed) == 0 {
		return
	}
	before := w.stats()
	w.run(exitDone, "send", "news", "--resolve-uncertain", "resend", "--yes")
	ids := map[string]map[string]bool{}
	for _, m := range w.sandbox.Messages() {
		if ids[m.Rcpt] == nil {
			ids[m.Rcpt] = map[string]bool{}
		}
		ids[m.Rcpt][m.MessageID] = true
	}
	if n := w.stats() - before; n != len(listed) {
		w.t.Errorf("%d were sent again, want %d", n, len(listed))
	}
	for address := range listed {
		if len(ids[address]) != 1 {
			w.t.Errorf("%s: Message-IDs %v, want one", address, ids[address])
		}
	}
}
