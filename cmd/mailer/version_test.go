package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestReadBuild(t *testing.T) {
	stamped := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}}
	tests := []struct {
		name string
		info *debug.BuildInfo
		ok   bool
		want string
	}{
		{"none", nil, false, "devel go"},
		{"no version control", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, true, "devel go"},
		{"stamped", stamped, true, "v1.2.3 (commit 0123456789ab, with changes) go"},
	}
	for _, tt := range tests {
		if got := readBuild(tt.info, tt.ok).String(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, want it to begin with %q", tt.name, got, tt.want)
		}
	}
}
