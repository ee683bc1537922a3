package mailtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Need skips the test where a program is missing, and says which command installs it. Where MAILER_TEST_NO_SKIP is set,
// as in .ci/run, a missing program is a failure instead. The program's path is returned; system programs are found
// though a user's PATH leaves /usr/sbin out.
func Need(t testing.TB, program, install string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path
		}
	}
	Skip(t, fmt.Sprintf("%s is missing (%s)", program, install))
	return ""
}

// Skip skips the test for a reason that the end of `make test` repeats, or fails it where nothing may be skipped. The
// reason says in brackets what to do.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("MAILER_TEST_NO_SKIP") != "" {
		t.Fatal(reason)
		return
	}
	if list := os.Getenv("MAILER_TEST_SKIPS"); list != "" {
		f, err := os.OpenFile(list, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(f, "%s: %s\n", t.Name(), reason)
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Skip(reason)
}
