package send

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

func TestHolderOfALivingProcess(t *testing.T) {
	if Gone(self()) {
		t.Errorf("this process is taken for gone: %s", self())
	}
}

func TestHolderOfAnEndedProcess(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Skip("no sleep command here")
	}
	holder := fmt.Sprintf("%s pid %d start %s", hostIdentity(), cmd.Process.Pid, startOf(cmd.Process.Pid))
	if Gone(holder) {
		t.Errorf("a living child is taken for gone: %s", holder)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if !Gone(holder) {
		t.Errorf("a killed child is taken for living: %s", holder)
	}
}

func TestHolderWithAReusedProcessID(t *testing.T) {
	head, _, _ := strings.Cut(self(), " start ")
	if startOf(1) == "" {
		t.Skip("no /proc here")
	}
	if !Gone(head + " start 1") {
		t.Error("another process with the same id is taken for the holder")
	}
}

func TestHolderElsewhere(t *testing.T) {
	if Gone("another.example//boot pid 1 start 1") || Gone("nonsense") {
		t.Error("a process on another host cannot be known to be gone")
	}
	name, _, _ := cutLast(hostIdentity(), "/")
	if !Gone(name + "/an-earlier-boot pid 1 start 1") {
		t.Error("a process from before the last boot is gone")
	}
}
