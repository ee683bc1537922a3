package bounce

import (
	"os"
	"strings"
	"testing"
)

// TestReplies reads testdata/replies.txt: what servers say and what it means, one a line.
func TestReplies(t *testing.T) {
	raw, err := os.ReadFile("testdata/replies.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, line := range strings.Split(string(raw), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.SplitN(line, " ", 5)
		if len(f) != 5 {
			t.Fatalf("line %d: %q", i+1, line)
		}
		n++
		got := Classify(Reply{Text: f[4], Phase: strings.Trim(f[0], "-")}, strings.Trim(f[1], "-"))
		if got.Hard != (f[2] == "H") || f[3] != "*" && got.Reason != f[3] {
			t.Errorf("line %d: %s, hard %v; want %s %s: %s", i+1, got.Reason, got.Hard, f[2], f[3], f[4])
		}
	}
	if n < 200 {
		t.Errorf("only %d replies", n)
	}
}
