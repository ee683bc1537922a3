package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/sandbox"
	"mailer/internal/store"
)

// plainEnds are the ends of those who write no format, after the send and its waits and a sync.
var plainEnds = map[string]delivery.State{
	"accept": delivery.Accepted, "unknown": delivery.Failed, "later-unknown": delivery.Bounced, "full": delivery.Deferred, "over-quota": delivery.Failed,
	"later-full": delivery.Bounced, "delayed": delivery.Accepted, "greylist": delivery.Accepted, "busy": delivery.Accepted, "blocked": delivery.Failed,
	"spam": delivery.Failed, "slow": delivery.Accepted, "complain": delivery.Complained, "vacation": delivery.Accepted, "unsubscribe": delivery.Accepted,
	"forged": delivery.Accepted, "drop": delivery.Uncertain,
}

// plainMails is how many mails come of them, and what those do.
var plainMails = foretold{Read: 6, Suppressed: 3, Forged: 1}

// foretold are the numbers of a summary that the table of the sandbox says before.
type foretold struct{ Read, Suppressed, Unmatched, Forged, Held int }

// One campaign to everybody who can be rehearsed, one sync: each mail is read, proven and acted on as the table of the
// sandbox promises, and nobody else is touched.
func TestEveryRecipientFromSendToSuppression(t *testing.T) {
	box, err := sandbox.Start(context.Background(), sandbox.Options{Scenario: "perfect", Greylist: time.Millisecond, Slow: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	dir := t.TempDir()
	run := func(code int, args ...string) []byte {
		t.Helper()
		cmd := exec.Command(binary(t), args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "MAILER_RETRY=1s", "MAILER_RELAYS_MAIN_PORT="+portOf(t, box.SMTPAddr()), "MAILER_BOUNCES_MAILBOX_PORT="+portOf(t, box.IMAPAddr()))
		var out, problems bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &problems
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != code {
			t.Fatalf("mailer %s: %v\n%s%s", args[0], err, out.Bytes(), problems.Bytes())
		}
		return out.Bytes()
	}
	run(exitDone, "init", ".")
	for name, text := range map[string]string{"all.csv": string(run(exitDone, "sandbox", "--list", "--format", "csv")),
		"campaigns/all.md": "---\nsubject: お知らせ {{.name}}\n---\n\nHello {{.name}}, here are the news.\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(exitDone, "import", "all.csv", "--list", "all", "--consent-source", "form")
	run(exitLeft, "send", "all", "--list", "all", "--yes", "--wait", "3s") // one is full for ever
	var sum foretold
	want := plainMails
	lines := bytes.Split(bytes.TrimSpace(run(exitDone, "bounces", "sync", "--json")), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &sum); err != nil {
		t.Fatal(err)
	}
	came := readMails(t, dir)
	ends := recipientsOf(t, run(exitDone, "campaigns", "recipients", "all", "--json"))
	for _, p := range sandbox.Personalities() {
		if p.Format == "" {
			if end := ends[p.Example]; end != plainEnds[p.Name] {
				t.Errorf("%s is %s, want %s", p.Example, end, plainEnds[p.Name])
			}
			continue
		}
		want.Read += max(p.Promise.Copies, 1)
		switch {
		case p.Promise.Does == sandbox.Suppresses:
			want.Suppressed++
		case p.Promise.Forged:
			want.Forged++
		case p.Promise.Does == sandbox.Asks && p.Promise.Kind != bounce.KindOther:
			want.Unmatched++
		}
		t.Run(p.Name, func(t *testing.T) { checkDeeds(t, p, came[p.Name]) })
	}
	if sum != want {
		t.Errorf("summary %+v, want %+v", sum, want)
	}
}

func recipientsOf(t *testing.T, lines []byte) map[string]delivery.State {
	t.Helper()
	ends := map[string]delivery.State{}
	for dec := json.NewDecoder(bytes.NewReader(lines)); ; {
		var r demoRecipient
		if err := dec.Decode(&r); err == io.EOF {
			return ends
		} else if err != nil {
			t.Fatal(err)
		}
		ends[r.Address] = r.State
	}
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// readMails returns what was recorded, by the personality that wrote it, the oldest first.
func readMails(t *testing.T, dir string) map[string][]store.BounceRow {
	t.Helper()
	st, err := store.Open(t.Context(), filepath.Join(dir, "mailer.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	came := map[string][]store.BounceRow{}
	err = st.Bounces(t.Context(), store.BounceFilter{}, func(b store.BounceRow) error {
		name, _, _ := strings.Cut(b.Verdict.MessageID, ".")
		came[name] = append([]store.BounceRow{b}, came[name]...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return came
}

// checkDeeds holds what was recorded of a mail, and what it changed, to the promise.
func checkDeeds(t *testing.T, p sandbox.Personality, came []store.BounceRow) {
	t.Helper()
	want := p.Promise
	if n := max(want.Copies, 1); len(came) != n {
		t.Fatalf("%d mails, want %d", len(came), n)
	}
	b := came[0]
	if b.Verdict.Kind != want.Kind || b.Verdict.Detail != want.Detail || b.MatchedBy != want.Proof || b.Forged != want.Forged {
		t.Errorf("read as %s %s by %q, forged %t; want %+v", b.Verdict.Kind, b.Verdict.Detail, b.MatchedBy, b.Forged, want)
	}
	if who := map[bool]string{true: p.Example}[want.Proof != ""]; b.Address != who {
		t.Errorf("about %q, want %q", b.Address, who)
	}
	if want.Reason != "" {
		r := b.Verdict.Bounces[0]
		if len(b.Verdict.Bounces) != 1 || r.Reason != want.Reason || r.Hard != want.Hard || r.Action != want.Action {
			t.Errorf("bounces %+v, want %+v", b.Verdict.Bounces, want)
		}
	}
	if waits := want.Does == sandbox.Asks; b.Waiting() != waits {
		t.Errorf("waits for a person: %t, want %t", b.Waiting(), waits)
	}
	suppressed := slices.ContainsFunc(b.Changed, func(c string) bool { return strings.HasPrefix(c, "suppressed: ") })
	if suppressed != (want.Does == sandbox.Suppresses) {
		t.Errorf("changed %q, want it %s", b.Changed, want.Does)
	}
	switch {
	case want.Does == sandbox.Keeps && fmt.Sprint(b.Changed) != "[delivery: accepted -> bounced]":
		t.Errorf("changed %q, want the delivery only", b.Changed)
	case want.Does != sandbox.Keeps && want.Does != sandbox.Suppresses && len(b.Changed) > 0:
		t.Errorf("changed %q, want nothing", b.Changed)
	}
	for _, again := range came[1:] {
		if len(again.Changed) > 0 {
			t.Errorf("the same mail by another way changed %q", again.Changed)
		}
	}
}
