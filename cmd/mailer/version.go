package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersionCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and what it was built from",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return runVersion(a) },
	}
}

// build says what the running binary was made from.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func runVersion(a *app) error {
	b := readBuild(debug.ReadBuildInfo())
	a.out.Printf("mailer %s\n", b)
	return a.out.Emit("summary", b)
}

// readBuild takes the version from what the go command stamped into the binary: a tag, or a pseudo-version of the
// commit. Built without version control there is none.
func readBuild(info *debug.BuildInfo, ok bool) build {
	b := build{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (b build) String() string {
	s := b.Version
	if b.Revision != "" {
		s += fmt.Sprintf(" (commit %.12s", b.Revision)
		if b.Modified {
			s += ", with changes"
		}
		s += ")"
	}
	return s + " " + b.Go + " " + b.Platform
}
