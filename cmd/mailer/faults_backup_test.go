//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asNobody runs a command that must end with an error, as a user who may not write where others' folders are.
func (w *killWorkspace) asNobody(args ...string) string {
	w.t.Helper()
	cmd := exec.Command(w.bin, args...)
	cmd.Dir = w.dir
	if os.Getuid() == 0 { // root may write everywhere
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitError {
		w.t.Errorf("%v: exit code %d\n%s", args, code, out)
	}
	return string(out)
}

// Into a folder that cannot be written no backup goes, and in one the database is not replaced; the words say why.
func TestBackupAndRestoreWhereNothingCanBeWritten(t *testing.T) {
	w := backupWorkspace(t, 200)
	for dir := w.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // another user must get there
			t.Fatal(err)
		}
	}
	before := dump(t, w.dir, true)
	closed := filepath.Join(w.dir, "closed")
	if err := os.Mkdir(closed, 0o555); err != nil {
		t.Fatal(err)
	}
	for _, name := range w.files("") {
		if path := filepath.Join(w.dir, name); path != closed {
			if err := os.Chown(path, nobody, nobody); err != nil && os.Getuid() == 0 {
				t.Fatal(err)
			}
		}
	}
	os.Chmod(w.dir, 0o777)
	if out := w.asNobody("backup", "closed/"); !strings.Contains(out, "permission denied") {
		t.Errorf("%s", out)
	}
	os.Chmod(w.dir, 0o555)
	if out := w.asNobody("restore", "backup.db", "--yes"); !strings.Contains(out, "permission denied") {
		t.Errorf("%s", out)
	}
	os.Chmod(w.dir, 0o755)
	if got := dump(t, w.dir, true); !sameDump(got, before) {
		t.Error("the database was changed")
	}
	if entries, err := os.ReadDir(closed); err != nil || len(entries) > 0 {
		t.Errorf("%v %v", entries, err)
	}
}
