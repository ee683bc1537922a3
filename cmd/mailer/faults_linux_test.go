package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"mailer/internal/mailtest"
)

// The disk is full from some moment on: the send ends and says so, what was on the wire is in doubt at most, and once there is
// room everybody else is sent to.
func TestDiskFullInTheMiddle(t *testing.T) {
	t.Parallel() // the send waits for room before it gives up
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=24m"); err != nil {
		if os.Geteuid() == 0 {
			// A container whose root may not mount: nothing that is installed there helps, and the store's own test of a full disk runs.
			t.Skipf("no small file system can be mounted, even by root: %v", err)
		}
		mailtest.Skip(t, fmt.Sprintf("no small file system can be mounted: %v (run as root)", err))
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	const recipients = 3000
	var seen atomic.Int64
	fill := filepath.Join(dir, "fill")
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb != "." || seen.Add(1) != 100 {
			return nil
		}
		f, err := os.Create(fill)
		if err != nil {
			t.Error(err)
			return nil
		}
		defer f.Close()
		for size := 64 << 10; size > 0; size /= 2 { // to the last byte
			for err = nil; err == nil; {
				_, err = f.Write(make([]byte, size))
			}
		}
		return nil
	}})
	w := relayWorkspaceIn(t, dir, srv, recipients)
	args := []string{"send", "news", "--list", "readers", "--yes", "--json"}
	cmd := w.command(args...)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitError || !strings.Contains(string(out), "no space left") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	sent := len(srv.Accepted())
	// Still no room: the next run sends nothing.
	next := w.command(args...)
	nextOut, _ := next.CombinedOutput()
	if code, n := next.ProcessState.ExitCode(), len(srv.Accepted()); code != exitError || n != sent {
		t.Errorf("without room: exit code %d, %d more were sent\n%s", code, n-sent, nextOut)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	cmd = w.command(args...)
	out, _ = cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitDone && code != exitSome {
		t.Errorf("with room again: exit code %d\n%s", code, out)
	}
	got := w.exact(srv)
	if got["accepted"]+got["uncertain"] != recipients || got["uncertain"] > 2*w.connections {
		t.Errorf("%v", got)
	}
	t.Logf("%d had left when the disk was full, %d are uncertain", sent, got["uncertain"])
}

// The terminal is closed while mail is on the wire: the hang-up ends the send as Ctrl-C does, though nothing can be
// written to the terminal any more.
func TestTerminalClosed(t *testing.T) {
	held, answer := make(chan struct{}, 2), make(chan struct{})
	srv := holding(t, held, answer)
	w := relayWorkspace(t, srv, 200)
	keyboard, screen := terminal(t)
	cmd := w.command("send", "news", "--list", "readers", "--yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = screen, screen, screen
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	screen.Close()
	drawn := make(chan struct{})
	go func() { // else the screen is full and the send waits
		defer close(drawn)
		var b bytes.Buffer
		b.ReadFrom(keyboard)
	}()
	for range w.connections {
		<-held
	}
	keyboard.Close()
	<-drawn
	// The signal comes with the closing; the relay answers after it.
	for deadline := time.Now().Add(10 * time.Second); !hungUp(cmd.Process.Pid) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	close(answer)
	if code := result(cmd); code != exitLeft {
		t.Errorf("%s, want exit code %d", cmd.ProcessState, exitLeft)
	}
	got := w.exact(srv)
	if got["uncertain"] != 0 || got["sending"] != 0 || got["accepted"] == 0 || got["pending"] == 0 {
		t.Errorf("%v", got)
	}
	w.run(exitDone, "send", "news", "--list", "readers", "--yes")
	if got := w.exact(srv); got["accepted"] != 200 {
		t.Errorf("%v", got)
	}
}

// hungUp reports whether a process has no controlling terminal any more (field 7 of /proc/PID/stat), which is when it was
// told.
func hungUp(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return len(fields) < 5 || fields[4] == "0"
}

// terminal opens a pseudo-terminal.
func terminal(t *testing.T) (keyboard, screen *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		mailtest.Skip(t, fmt.Sprintf("no pseudo-terminal can be had: %v (mount devpts)", err))
	}
	t.Cleanup(func() { keyboard.Close() })
	var unlock, number int32
	raw, err := keyboard.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		for _, call := range []struct {
			request uintptr
			value   *int32
		}{{syscall.TIOCSPTLCK, &unlock}, {syscall.TIOCGPTN, &number}} {
			if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, call.request, uintptr(unsafe.Pointer(call.value))); errno != 0 {
				t.Error(errno)
			}
		}
	})
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return keyboard, screen
}

// The disk is full at some moment of a backup or a restore: the old state stays, or the new one is there, nothing lies about, and with
// room again it works.
func TestDiskFullDuringBackupAndRestore(t *testing.T) {
	w := backupWorkspace(t, 3000)
	st, err := os.Stat(filepath.Join(w.dir, "mailer.db"))
	if err != nil {
		t.Fatal(err)
	}
	small := t.TempDir()
	if err := syscall.Mount("none", small, "tmpfs", 0, fmt.Sprintf("size=%d", 8*st.Size())); err != nil {
		if os.Geteuid() == 0 {
			t.Skipf("no small file system can be mounted, even by root: %v", err)
		}
		mailtest.Skip(t, fmt.Sprintf("no small file system can be mounted: %v (run as root)", err))
	}
	t.Cleanup(func() { syscall.Unmount(small, 0) })
	for _, name := range w.files("") {
		b, err := os.ReadFile(filepath.Join(w.dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(small, name), b, 0o600)
		}
		if err != nil && !strings.Contains(err.Error(), "is a directory") {
			t.Fatal(err)
		}
	}
	w.dir = small
	before := dump(t, w.dir, true)
	fill := filepath.Join(small, "fill")
	leave := func(room int64) {
		t.Helper()
		os.Remove(fill)
		var fs syscall.Statfs_t
		if err := syscall.Statfs(small, &fs); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fill, make([]byte, max(int64(fs.Bavail)*fs.Bsize-room, 0)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	try := func(args ...string) bool {
		t.Helper()
		cmd := w.command(args...)
		out, _ := cmd.CombinedOutput()
		code := cmd.ProcessState.ExitCode()
		told := strings.Contains(string(out), "no space left") || strings.Contains(string(out), "is the disk full")
		if code != exitDone && (code != exitError || !told) {
			t.Errorf("%v: exit code %d\n%s", args, code, out)
		}
		return code == exitDone
	}
	for part := range int64(4) {
		leave(st.Size() * part / 3)
		done := try("backup", "copy.db")
		if got := w.files("copy.db"); done != (len(got) == 1) || !done && len(got) > 0 {
			t.Errorf("with room for %d/3: %v", part, got)
		}
		os.Remove(filepath.Join(small, "copy.db"))
	}
	failed := 0
	for part := range int64(12) {
		leave(st.Size() * part / 3)
		if try("restore", "backup.db", "--yes") {
			break
		}
		failed++
		if got := w.files("mailer.db."); len(got) > 0 {
			t.Errorf("with room for %d/3: %v", part, got)
		}
		os.Remove(fill)
		if got := dump(t, w.dir, true); !sameDump(got, before) {
			t.Fatalf("with room for %d/3 the database was changed", part)
		}
	}
	if failed < 4 {
		t.Errorf("only %d restores found no room", failed)
	}
	os.Remove(fill)
	w.run(exitDone, "db", "check")
	w.run(exitDone, "restore", "backup.db", "--yes")
	if got := dump(t, w.dir, true); sameDump(got, before) {
		t.Error("with room again nothing was restored")
	}
}
