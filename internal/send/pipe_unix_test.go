//go:build unix

package send

import (
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
)

// Nobody writes into the pipe: opening it would never end.
func TestWorkspaceFilesDoNotWaitForAPipe(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := fs.Stat(workspaceFiles(dir), "pipe")
	if err != nil || info.Mode().IsRegular() {
		t.Errorf("%v %v", info, err)
	}
}
