package send

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// A holder names a process so that another one on the same host can tell whether it still lives: host, process id and
// start time, because ids come again. The host part holds the boot id and the process namespace too: after a reboot all
// processes are gone, and a container cannot look into another one.

// self is the holder of this process.
func self() string {
	pid := os.Getpid()
	return fmt.Sprintf("%s pid %d start %s", hostIdentity(), pid, startOf(pid))
}

// Gone reports whether the process behind a holder is known to have ended. A holder on another host is never known to be.
func Gone(holder string) bool {
	host, rest, ok := strings.Cut(holder, " pid ")
	if !ok || !sameMachine(host) {
		return false
	}
	if host != hostIdentity() {
		return true // this machine, before its last boot
	}
	number, start, _ := strings.Cut(rest, " start ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		return false
	}
	if now := startOf(pid); now != "" || startOf(os.Getpid()) != "" {
		return now != start
	}
	return !alive(pid)
}

// hostIdentity is host name, process namespace and boot id, as far as the system tells them.
func hostIdentity() string {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	namespace, _ := os.Readlink("/proc/self/ns/pid")
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.Join([]string{name, namespace, strings.TrimSpace(string(boot))}, "/")
}

// sameMachine reports whether a host identity is this machine's, whichever boot.
func sameMachine(host string) bool {
	have, _, _ := cutLast(hostIdentity(), "/")
	want, _, _ := cutLast(host, "/")
	return have == want
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// startOf is when a process started, in the kernel's ticks since boot (field 22 of /proc/PID/stat); empty when there is
// no such process, or no /proc.
func startOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The command's name, in parentheses, may hold spaces.
	_, rest, ok := cutLast(string(stat), ")")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// alive asks the kernel where there is no /proc: on Windows finding a process opens it, elsewhere signal 0 tells. When in
// doubt it is alive, and its lease runs out by itself.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release()
	err = p.Signal(syscall.Signal(0))
	return !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH)
}
