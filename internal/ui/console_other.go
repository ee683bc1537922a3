//go:build !windows

package ui

import "io"

// understands reports whether a terminal follows control sequences. All do.
func understands(io.Writer) bool { return true }
