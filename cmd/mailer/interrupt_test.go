package main

import (
	"bytes"
	"os"
	"runtime"
	"testing"
	"time"
)

// Ctrl-C finishes what is on the wire and leaves the rest: exit code 4, nobody in doubt, and the next run sends to those who
// are left. As long as it sends, nobody else does: exit code 6.
func TestCtrlCLeavesNobodyInDoubt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("one process cannot send Ctrl-C to another on Windows")
	}
	const recipients = 600
	w := newKillWorkspace(t, recipients, 4)
	cmd := w.command("send", "news", "--list", "readers", "--yes", "--json", "--rate", "300/s")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); w.stats() < 20; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing was sent\n%s%s", stdout.String(), stderr.String())
		}
	}
	w.run(exitBusy, "send", "news", "--list", "readers", "--yes")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	sum := lastLine(t, stdout.String())
	if code := cmd.ProcessState.ExitCode(); code != exitLeft || sum["uncertain"] != 0.0 || sum["remaining"] == 0.0 || sum["accepted"] != float64(w.stats()) {
		t.Fatalf("exit code %d, the relay has %d\n%s%s", code, w.stats(), stdout.String(), stderr.String())
	}
	w.finish()
	if w.stats() != recipients {
		t.Errorf("%d messages to %d recipients", w.stats(), recipients)
	}
}
