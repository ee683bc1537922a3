package ui

import (
	"io"
	"os"
	"syscall"
)

var setConsoleMode = syscall.NewLazyDLL("kernel32.dll").NewProc("SetConsoleMode")

// understands makes a console follow control sequences, which those before Windows Terminal do only when told to.
func understands(w io.Writer) bool {
	const virtualTerminal = 0x4 // ENABLE_VIRTUAL_TERMINAL_PROCESSING
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	var mode uint32
	if syscall.GetConsoleMode(syscall.Handle(f.Fd()), &mode) != nil {
		return false
	}
	if mode&virtualTerminal != 0 {
		return true
	}
	done, _, _ := setConsoleMode.Call(f.Fd(), uintptr(mode|virtualTerminal))
	return done != 0
}
