package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Planned campaigns, and mailer run again and again, two at a time, most of them killed at a random moment: each campaign begins once, and
// each recipient has each of them once, or is listed as uncertain.
func TestKilledRunsBeginEachCampaignOnce(t *testing.T) {
	const recipients, kills, connections = 500, 30, 4
	campaigns := []string{"one", "two", "three", "four", "five", "six"}
	w := newKillWorkspace(t, recipients, connections)
	begin := time.Now().Add(2 * time.Second)
	for i, name := range campaigns {
		w.write("campaigns/"+name+".md", "---\nsubject: "+name+" for {{.name}}\n---\nHello {{.name}}, this is "+name+".\n")
		w.run(exitDone, "send", name, "--list", "readers", "--yes", "--at", begin.Add(time.Duration(i)*150*time.Millisecond).Format(time.RFC3339Nano))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	time.Sleep(time.Until(begin))
	var all sync.WaitGroup
	var killed, amid atomic.Int64
	begun := 0
	// On a busy machine a run needs longer until it sends: then they live longer, until some were killed while they did.
	for n := 0; n < kills || amid.Load() == 0 && n < 10*kills; n++ {
		longest := time.Duration(120*(1+n/kills)) * time.Millisecond
		for range 2 {
			cmd := w.command("run")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			begun++
			after := time.Duration(rnd.Int64N(int64(longest)))
			all.Go(func() {
				killer := time.AfterFunc(after, func() { cmd.Process.Kill() })
				cmd.Wait()
				killer.Stop()
				if n := w.stats(); !cmd.ProcessState.Exited() {
					killed.Add(1)
					if n > 0 && n < recipients*len(campaigns) {
						amid.Add(1)
					}
				}
			})
		}
		time.Sleep(time.Duration(rnd.IntN(60)) * time.Millisecond)
	}
	all.Wait()
	// What the last kill left.
	for range 2 {
		cmd := w.command("run")
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != exitDone && code != exitSome {
			t.Fatalf("the last run: exit code %d\n%s", code, out)
		}
	}
	got := map[string]int{}
	for _, m := range w.sandbox.Messages() {
		subject, _, _ := strings.Cut(m.Subject, " ")
		got[subject+" "+strings.ToLower(m.Rcpt)]++
	}
	uncertain := 0
	for _, name := range campaigns {
		listed := map[string]bool{}
		for _, line := range strings.Split(strings.TrimSpace(w.run(exitDone, "campaigns", "recipients", name, "--state", "uncertain")), "\n") {
			address, _, _ := strings.Cut(line, "\t")
			listed[address] = true
		}
		for i := range recipients {
			address := killAddress(i)
			switch n := got[name+" "+address]; {
			case n > 1:
				t.Errorf("%s has %s %d times", address, name, n)
			case n == 0 && !listed[address]:
				t.Errorf("%s has not got %s, and is not listed as uncertain", address, name)
			}
			if listed[address] {
				uncertain++
			}
		}
	}
	if list := w.run(exitDone, "campaigns", "list", "--json"); strings.Count(list, `"state":"finished"`) != len(campaigns) {
		t.Errorf("not all have ended:\n%s", list)
	}
	if amid.Load() == 0 {
		t.Error("no run was killed while mail was sent: the test shows nothing")
	}
	t.Logf("%d of %d runs killed, %d of them while mail was sent; %d uncertain", killed.Load(), begun, amid.Load(), uncertain)
}

// A service does what is due at once, and ends on a signal, with 0 when nothing was interrupted.
func TestRunForever(t *testing.T) {
	w := newKillWorkspace(t, 3, 1)
	w.run(exitDone, "send", "news", "--list", "readers", "--yes", "--at", time.Now().Add(time.Second).Format(time.RFC3339Nano))
	time.Sleep(time.Second)
	cmd := w.command("run", "--forever", "--json")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer guard.Stop()
	line := make([]byte, 1<<16)
	n, err := stdout.Read(line)
	if err != nil || !strings.Contains(string(line[:n]), `"campaign":"news","planned":3,"accepted":3`) {
		t.Errorf("printed %s: %v", line[:n], err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(stdout)
	if err := cmd.Wait(); err != nil || len(rest) > 0 {
		t.Errorf("ended with %v, printed %s%s", err, rest, stderr.String())
	}
}

// A signal while a planned campaign is sent: what is on the wire is finished, the rest remains, and exit code 4 says so.
func TestRunForeverInterrupted(t *testing.T) {
	w := newKillWorkspace(t, 50, 1)
	w.run(exitDone, "send", "news", "--list", "readers", "--yes", "--rate", "5/s", "--at", time.Now().Add(time.Second).Format(time.RFC3339Nano))
	time.Sleep(time.Second)
	cmd := w.command("run", "--forever")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer guard.Stop()
	for deadline := time.Now().Add(30 * time.Second); w.stats() < 3 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitLeft || !strings.Contains(out.String(), "news: 50 planned") {
		t.Errorf("exit code %d\n%s", code, out.String())
	}
	if n := w.stats(); n >= 50 {
		t.Errorf("%d were sent at 5 a second", n)
	}
	// The rate goes on with the campaign.
	begun, before := time.Now(), w.stats()
	next := w.command("run")
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	ender := time.AfterFunc(2*time.Second, func() { next.Process.Signal(syscall.SIGTERM) })
	defer ender.Stop()
	next.Wait()
	if n := w.stats() - before; n < 1 || float64(n) > 5*time.Since(begun).Seconds()+3 {
		t.Errorf("%d were sent in %v at 5 a second", n, time.Since(begun))
	}
}

// Ctrl-C within the delay leaves nothing behind.
func TestDelayIsCancelled(t *testing.T) {
	w := newKillWorkspace(t, 3, 1)
	cmd := w.command("send", "news", "--list", "readers", "--yes", "--delay", "60s")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer guard.Stop()
	var said strings.Builder
	for buf := make([]byte, 4096); !strings.Contains(said.String(), "begins in 1m0s"); {
		n, err := stderr.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v after %s", err, said.String())
		}
	}
	cmd.Process.Signal(syscall.SIGINT)
	rest, _ := io.ReadAll(stderr)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitLeft || !strings.Contains(string(rest), "nothing was sent and nothing is frozen") {
		t.Errorf("exit code %d: %s", code, rest)
	}
	if out := w.run(exitDone, "campaigns", "list"); !strings.Contains(out, "No campaign was sent yet") {
		t.Error(out)
	}
}

func TestWorse(t *testing.T) {
	order := []int{exitDone, exitSome, exitLeft, exitSafety, exitUsage, exitError}
	for i, x := range order {
		for j, y := range order {
			if got, want := worse(x, y), order[max(i, j)]; got != want {
				t.Errorf("worse(%d, %d) is %d, want %d", x, y, got, want)
			}
		}
	}
}
