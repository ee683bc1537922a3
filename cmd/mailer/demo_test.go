package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailer/internal/delivery"
	"mailer/internal/sandbox"
)

func TestAccount(t *testing.T) {
	mail := func(rcpt, id, personality string) sandbox.Caught {
		return sandbox.Caught{Rcpt: rcpt, MessageID: id, Personality: personality}
	}
	for _, test := range []struct {
		name    string
		state   delivery.State
		caught  []sandbox.Caught
		problem string
	}{
		{"sent", delivery.Accepted, []sandbox.Caught{mail("A@x.example", "1", "accept")}, ""},
		{"lost", delivery.Accepted, nil, "accepted, and got 0 messages"},
		{"twice", delivery.Accepted, []sandbox.Caught{mail("a@x.example", "1", "accept"), mail("a@x.example", "1", "accept")}, "accepted, and got 2 messages"},
		{"of another", delivery.Accepted, []sandbox.Caught{mail("a@x.example", "2", "accept")}, "accepted with Message-ID <1>, and got 2"},
		{"bounced", delivery.Bounced, []sandbox.Caught{mail("a@x.example", "1", "later-unknown")}, ""},
		{"a bounce not read", delivery.Accepted, []sandbox.Caught{mail("a@x.example", "1", "later-unknown")}, "accepted, though its mailbox said later-unknown"},
		{"a forged bounce believed", delivery.Bounced, []sandbox.Caught{mail("a@x.example", "1", "forged")}, "bounced, though its mailbox said forged"},
		{"in doubt, and there", delivery.Uncertain, []sandbox.Caught{mail("a@x.example", "1", "drop")}, ""},
		{"in doubt, and not", delivery.Uncertain, nil, ""},
		{"failed", delivery.Failed, nil, ""},
		{"failed, and there", delivery.Failed, []sandbox.Caught{mail("a@x.example", "1", "accept")}, "failed, and got 1 messages"},
		{"forgotten", delivery.Pending, nil, "still pending"},
	} {
		v := account([]demoRecipient{{Address: "a@x.example", State: test.state, MessageID: "<1>"}}, test.caught)
		want := []string{"a@x.example: " + test.problem}
		if test.problem == "" {
			want = nil
		}
		if len(v.Problems) != len(want) || len(want) > 0 && v.Problems[0] != want[0] {
			t.Errorf("%s: %q, want %q", test.name, v.Problems, want)
		}
	}
	if v := account(nil, []sandbox.Caught{mail("stranger@x.example", "1", "accept")}); len(v.Problems) != 1 {
		t.Errorf("a stranger got a message: %q", v.Problems)
	}
}

func TestQuoted(t *testing.T) {
	args := []string{"segments", "count", "--where", `都道府県 == "東京都"`, "it's>"}
	if got, want := quoted(args), `segments count --where '都道府県 == "東京都"' 'it'\''s>'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The whole loop, as a newcomer runs it, and from a folder that has nothing to do with the project.
func TestDemo(t *testing.T) {
	mailer := binary(t)
	t.Setenv("MAILER_RELAYS_MAIN_PORT", "1") // the user's own settings must not reach it
	t.Setenv("TMPDIR", t.TempDir())
	kept := filepath.Join(t.TempDir(), "kept")
	cmd := exec.CommandContext(t.Context(), mailer, "demo", "--json", "--keep", kept)
	cmd.Dir = t.TempDir()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, stderr.String(), stdout.String())
	}
	var v verdict
	if err := json.Unmarshal(stdout.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, stdout.String())
	}
	if v.Recipients != 1100 || len(v.Problems) > 0 {
		t.Errorf("%d recipients, problems %q", v.Recipients, v.Problems)
	}
	// These numbers are in the lists of examples/.
	for state, want := range map[delivery.State]int{delivery.Failed: 20, delivery.Deferred: 3, delivery.Uncertain: 3, delivery.Bounced: 16, delivery.Complained: 3} {
		if v.States[state] != want {
			t.Errorf("%d %s, want %d", v.States[state], state, want)
		}
	}
	if _, err := os.Stat(filepath.Join(kept, "mailer.db")); err != nil {
		t.Errorf("--keep kept nothing: %v", err)
	}
	for _, want := range []string{"$ mailer import lists/kaiin-cp932.csv", "$ mailer why later-unknown.", "Everybody is accounted for: 1100 planned"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in\n%s", want, stderr.String())
		}
	}
	if again, err := exec.CommandContext(t.Context(), mailer, "demo", "--keep", kept).CombinedOutput(); err == nil || !strings.Contains(string(again), "is not empty") {
		t.Errorf("a folder that is not empty: %v, %s", err, again)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
