package mailtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refused is a test that remembers how it ended.
type refused struct {
	testing.TB
	ended string
}

func (r *refused) Name() string      { return "TestPost" }
func (r *refused) Fatal(args ...any) { r.ended = "failed: " + fmt.Sprint(args...) }
func (r *refused) Skip(args ...any)  { r.ended = "skipped: " + fmt.Sprint(args...) }

func TestNeed(t *testing.T) {
	list := filepath.Join(t.TempDir(), "skips")
	t.Setenv("MAILER_TEST_SKIPS", list)
	t.Setenv("MAILER_TEST_NO_SKIP", "")
	if path := Need(t, "go", "install Go"); !filepath.IsAbs(path) {
		t.Errorf("go is at %q", path)
	}
	r := &refused{TB: t}
	Need(r, "no-such-program", "apt-get install it")
	if r.ended != "skipped: no-such-program is missing (apt-get install it)" {
		t.Error(r.ended)
	}
	told, err := os.ReadFile(list)
	if err != nil || string(told) != "TestPost: no-such-program is missing (apt-get install it)\n" {
		t.Errorf("%q, %v", told, err)
	}
	t.Setenv("MAILER_TEST_NO_SKIP", "1")
	if Need(r, "no-such-program", "x"); !strings.HasPrefix(r.ended, "failed: ") {
		t.Error(r.ended)
	}
}
