package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// However many mails lie in the mailbox, they are read in the memory that a few take; and a huge one takes what is read of it a few times,
// not more. MAILER_TEST_MAILS says how many; 100,000 take some minutes.
func TestBounceSyncMemory(t *testing.T) {
	many := 3000
	if text := os.Getenv("MAILER_TEST_MAILS"); text != "" {
		var err error
		if many, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	few := syncPeak(t, 50, false)
	// The database's caches fill up in time: 24 MB of the writer, 8 of each reader.
	if peak := syncPeak(t, many, false); peak > few+64 {
		t.Errorf("%d mails took %d MB, 50 took %d MB", many, peak, few)
	}
	if peak := syncPeak(t, 50, true); peak > few+160 {
		t.Errorf("50 mails and a huge one took %d MB, 50 took %d MB", peak, few)
	}
}

// syncPeak is how many megabytes a sync took at most.
func syncPeak(t *testing.T, mails int, huge bool) int {
	t.Helper()
	w := newBounceWorkspace(t, mails)
	w.deliver(1, mails)
	if huge {
		if err := w.imap.Deliver(append(w.mail(1), bytes.Repeat([]byte("x23456789 123456789 123456789\r\n"), 1<<20)...)); err != nil { // 31 MB
			t.Fatal(err)
		}
	}
	begin := time.Now()
	cmd := w.command("bounces", "sync", "--progress")
	peak, out := peakOf(t, cmd)
	if !strings.Contains(out, "reading") {
		t.Error("no progress")
	}
	if n := w.count("SELECT count(*) FROM events WHERE kind IN ('bounce','soft_bounce')"); n != mails {
		t.Errorf("acted %d times, want %d", n, mails)
	}
	t.Logf("%d mails: %.1f s, %.1f s of CPU, at most %d MB", mails, time.Since(begin).Seconds(), (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), peak)
	return peak
}

// peakOf runs a command and says how many megabytes it had in memory at most. The kernel's own count at the end would begin with what
// this process had when it forked.
func peakOf(t testing.TB, cmd *exec.Cmd) (peak int, output string) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if mb := highWater(cmd.Process.Pid); mb > 0 {
			peak = mb
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out.String())
			}
			return peak, out.String()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// highWater is the most that a process had in memory so far, in megabytes; 0: it has ended.
func highWater(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kb := 0
	fmt.Sscan(rest, &kb)
	return kb >> 10
}
