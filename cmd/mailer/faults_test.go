package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailer/internal/mailtest"
)

// recipientLine is a line of `campaigns recipients --json`.
type recipientLine struct {
	Address, State, Reason, Reply string
	Attempts                      int
	MessageID                     string `json:"message_id"`
}

func (w *killWorkspace) everybody() map[string]recipientLine {
	w.t.Helper()
	all := map[string]recipientLine{}
	lines := bufio.NewScanner(strings.NewReader(w.run(exitDone, "campaigns", "recipients", "news", "--json")))
	for lines.Scan() {
		var r recipientLine
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			w.t.Fatal(err)
		}
		if r.Address != "" {
			all[r.Address] = r
		}
	}
	return all
}

var messageID = regexp.MustCompile(`(?mi)^Message-ID: <([^>]+)>\r$`)

// exact holds every recipient against what the relay has: once, or in doubt, or failed for a reason; and always under the
// same Message-ID and with the same return path. It returns how many are in each state.
func (w *killWorkspace) exact(srv *mailtest.SMTPServer) map[string]int {
	w.t.Helper()
	has, from, ids := map[string]int{}, map[string]string{}, map[string]string{}
	same := func(what string, seen map[string]string, to, is string) {
		w.t.Helper()
		if was, ok := seen[to]; ok && was != is {
			w.t.Errorf("%s of %s was %s, is %s", what, to, was, is)
		}
		seen[to] = is
	}
	for _, tx := range srv.Transactions() {
		if len(tx.Rcpts) == 0 {
			continue
		}
		to := tx.Rcpts[0].Address
		same("return path", from, to, tx.From)
		if !tx.Complete || len(tx.Data) == 0 {
			continue
		}
		m := messageID.FindSubmatch(tx.Data)
		if m == nil {
			w.t.Fatalf("no Message-ID:\n%s", tx.Data)
		}
		same("Message-ID", ids, to, string(m[1]))
		if !strings.HasPrefix(tx.Reply, "4") && !strings.HasPrefix(tx.Reply, "5") {
			has[to]++
		}
	}
	count := map[string]int{}
	for address, r := range w.everybody() {
		count[r.State]++
		n := has[address]
		if n > 1 || n == 0 && r.State == "accepted" || n == 1 && r.State != "accepted" && r.State != "uncertain" && r.State != "sending" || r.State == "failed" && r.Reply == "" {
			w.t.Errorf("%s is %s (%s %q), the relay has it %d times", address, r.State, r.Reason, r.Reply, n)
		}
		if id, ok := ids[address]; ok && strings.Trim(r.MessageID, "<>") != id {
			w.t.Errorf("%s: Message-ID is %q, it was sent as %q", address, r.MessageID, id)
		}
	}
	return count
}

// Several processes are started at one moment, as by cron lines that overlap: one sends, and the others say so and send
// nothing.
func TestStartedTwiceAtOneMoment(t *testing.T) {
	const processes = 4
	ended := make(chan struct{})
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "." {
			return &mailtest.Reply{Wait: ended}
		}
		return nil
	}})
	w := relayWorkspace(t, srv, 50)
	codes := make(chan int, processes)
	var running sync.WaitGroup
	for range processes {
		cmd := w.command("send", "news", "--list", "readers", "--yes")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		running.Go(func() {
			cmd.Run()
			code := cmd.ProcessState.ExitCode()
			if code != exitBusy && code != exitDone {
				t.Errorf("%s\n%s", cmd.ProcessState, out.String())
			}
			codes <- code
		})
	}
	for range processes - 1 {
		if code := <-codes; code != exitBusy {
			t.Errorf("exit code %d beside one that sends, want %d", code, exitBusy)
		}
	}
	close(ended)
	running.Wait()
	if code := <-codes; code != exitDone {
		t.Errorf("the one that sends: exit code %d", code)
	}
	if got := w.exact(srv); got["accepted"] != 50 {
		t.Errorf("%v", got)
	}
}

// A relay that greylists wants the same envelope back, and takes it then: within one command with --wait, or by the next
// ones. Until then the exit code says that somebody is left.
func TestGreylistingClears(t *testing.T) {
	for _, wait := range []bool{true, false} {
		t.Run(fmt.Sprint("wait ", wait), func(t *testing.T) {
			var mu sync.Mutex
			first := map[string]bool{}
			srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
				mu.Lock()
				defer mu.Unlock()
				// Every third recipient; one of them at the end of the message, as some do.
				switch number := strings.TrimSuffix(c.Address, "@example.jp"); {
				case c.Verb == "RCPT" && strings.HasSuffix(number, "3") && !first[c.Address],
					c.Verb == "." && strings.HasSuffix(number, "4") && !first[c.Address]:
					first[c.Address] = true
					return &mailtest.Reply{Text: "451 4.7.1 greylisted, come back"}
				}
				return nil
			}})
			w := relayWorkspace(t, srv, 60)
			t.Setenv("MAILER_RETRY", "1s")
			args := []string{"send", "news", "--list", "readers", "--yes"}
			if wait {
				w.run(exitDone, append(args, "--wait", "1m")...)
			} else {
				w.run(exitLeft, args...)
				if n := len(w.recipients("deferred")); n != 12 {
					t.Errorf("%d deferred, want 12", n)
				}
				for deadline := time.Now().Add(time.Minute); len(w.recipients("deferred")) > 0; {
					if time.Now().After(deadline) {
						t.Fatal("it never clears")
					}
					cmd := w.command(args...)
					cmd.Run()
					if code := cmd.ProcessState.ExitCode(); code != exitLeft && code != exitDone {
						t.Fatalf("exit code %d", code)
					}
					time.Sleep(50 * time.Millisecond)
				}
			}
			if got := w.exact(srv); got["accepted"] != 60 {
				t.Errorf("%v", got)
			}
			for address, r := range w.everybody() {
				want := 1
				if strings.HasSuffix(address, "3@example.jp") || strings.HasSuffix(address, "4@example.jp") {
					want = 2
				}
				if r.Attempts != want {
					t.Errorf("%s: %d attempts, want %d", address, r.Attempts, want)
				}
			}
		})
	}
}

// What is deferred until the campaign's time is over fails with the last reply, and is given more time by --retry failed,
// but not a dead address.
func TestExpiredAndRetried(t *testing.T) {
	var well atomic.Bool
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		switch {
		case c.Verb == "RCPT" && c.Address == killAddress(3):
			return &mailtest.Reply{Text: "550 5.1.1 no such user"}
		case c.Verb == "RCPT" && !well.Load() && (c.Address == killAddress(4) || c.Address == killAddress(5)):
			return &mailtest.Reply{Text: "452 4.2.2 mailbox full"}
		case c.Verb == "." && !well.Load() && c.Address == killAddress(6):
			return &mailtest.Reply{Text: "554 5.7.1 looks like spam"}
		}
		return nil
	}})
	w := relayWorkspace(t, srv, 20)
	t.Setenv("MAILER_RETRY", "1ms")
	t.Setenv("MAILER_EXPIRES", "1s")
	args := []string{"send", "news", "--list", "readers", "--yes"}
	// On a slow machine the first run outlasts the campaign's second, and gives them up itself.
	first := w.command(args...)
	first.Start()
	if code := result(first); code != exitLeft && code != exitSome {
		t.Fatalf("exit code %d", code)
	}
	for deadline := time.Now().Add(time.Minute); len(w.recipients("deferred")) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never expires")
		}
		w.command(args...).Run()
	}
	if got := w.exact(srv); got["accepted"] != 16 || got["failed"] != 4 {
		t.Errorf("after the time was over: %v", got)
	}
	for address, r := range w.everybody() {
		if full := address == killAddress(4) || address == killAddress(5); full && (r.Reason != "expired" || r.Reply != "452 4.2.2 mailbox full") {
			t.Errorf("%s: %s %q", address, r.Reason, r.Reply)
		}
	}
	well.Store(true)
	t.Setenv("MAILER_EXPIRES", "72h")
	w.run(exitSome, append(args, "--retry", "failed")...)
	if got := w.exact(srv); got["accepted"] != 19 || got["failed"] != 1 {
		t.Errorf("after --retry failed: %v", got)
	}
	if r := w.everybody()[killAddress(3)]; r.State != "failed" || r.Attempts != 1 {
		t.Errorf("the dead address was tried again: %+v", r)
	}
}

// result waits for a process and returns its exit code.
func result(cmd *exec.Cmd) int {
	cmd.Wait()
	return cmd.ProcessState.ExitCode()
}
