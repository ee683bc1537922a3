package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/relay"
	"mailer/internal/send"
	"mailer/internal/store"
)

// The exit codes of a send (DESIGN section 5), by how it ended and what is left.
func TestExitCodesOfASend(t *testing.T) {
	left := delivery.Balance{Planned: 3, Accepted: 1, Remaining: 2}
	deferred := delivery.Balance{Planned: 3, Accepted: 2, Deferred: 1}
	done := delivery.Balance{Planned: 3, Accepted: 2, Excluded: 1}
	some := delivery.Balance{Planned: 3, Accepted: 2, Failed: 1}
	doubt := delivery.Balance{Planned: 3, Accepted: 2, Uncertain: 1}
	wrap := func(err error) error { return fmt.Errorf("somewhere: %w", err) }
	for _, c := range []struct {
		balance delivery.Balance
		err     error
		want    int
	}{
		{done, nil, exitDone},
		{some, nil, exitSome},
		{doubt, nil, exitSome},
		{deferred, nil, exitLeft},
		{left, nil, exitLeft}, // --limit
		{left, context.Canceled, exitLeft},
		{done, context.Canceled, exitDone},
		{some, context.Canceled, exitSome},
		{delivery.Balance{}, context.Canceled, exitLeft}, // stopped before anything was begun, or a test message
		{left, &relay.DialError{Err: errors.New("x")}, exitLeft},
		{left, wrap(send.ErrUnreachable), exitLeft},
		{left, wrap(send.ErrNotNow), exitLeft},
		{left, wrap(send.ErrPaused), exitLeft},
		{left, wrap(send.ErrLimit), exitLeft},
		{left, &relay.DialError{Err: errors.New("x"), Config: true}, exitUsage},
		{left, wrap(send.ErrRefused), exitSafety},
		{left, wrap(send.ErrBlocked), exitSafety},
		{left, wrap(send.ErrCancelled), exitSafety},
		{delivery.Balance{}, wrap(store.ErrChanged), exitSafety},
		{delivery.Balance{}, wrap(store.ErrBusy), exitBusy},
		{left, wrap(store.ErrLeaseLost), exitBusy},
		{left, wrap(store.ErrDiskFull), exitError},
	} {
		code := exitDone
		if err := sendResult(nil, t.Context(), send.Summary{Balance: c.balance}, c.err); err != nil {
			code = exitCode(err)
		}
		if code != c.want {
			t.Errorf("%+v, %v: exit code %d, want %d", c.balance, c.err, code, c.want)
		}
	}
}

// relayWorkspace is a workspace whose relay is a scripted one.
func relayWorkspace(t *testing.T, srv *mailtest.SMTPServer, recipients int) *killWorkspace {
	t.Helper()
	return relayWorkspaceIn(t, t.TempDir(), srv, recipients)
}

func relayWorkspaceIn(t *testing.T, dir string, srv *mailtest.SMTPServer, recipients int) *killWorkspace {
	t.Helper()
	w := &killWorkspace{t: t, dir: dir, bin: binary(t), connections: 2}
	w.write("mailer.yaml", fmt.Sprintf(`
sender: {from: News <news@example.com>, organization: Example, postal_address: Tokyo}
relays:
  main: {host: 127.0.0.1, port: %d, tls: none, connections: 2}
bounces: {return_path: "bounce+{token}@example.com"}
`, srv.Port))
	w.write("campaigns/news.md", "---\nsubject: News for {{.name}}\n---\nHello {{.name}}.\n")
	list := "email,name\n"
	for i := range recipients {
		list += fmt.Sprintf("%s,Reader %d\n", killAddress(i), i)
	}
	w.write("list.csv", list)
	w.run(exitDone, "import", "list.csv", "--list", "readers")
	return w
}

// Whoever ends a send before everybody was sent to is told what goes on with it: a signal, another terminal, a relay that is away.
func TestAStoppedSendSaysHowItGoesOn(t *testing.T) {
	held, answer := make(chan struct{}, 2), make(chan struct{})
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb != "." {
			return nil
		}
		select {
		case held <- struct{}{}:
		default:
		}
		return &mailtest.Reply{Wait: answer}
	}})
	w := relayWorkspace(t, srv, 200)
	send := func(stop func(*exec.Cmd), words string) {
		t.Helper()
		cmd := w.command("send", "news", "--list", "readers", "--yes")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stop(cmd)
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != exitLeft || !strings.Contains(out.String(), words) {
			t.Errorf("exit code %d, want %d and the words %q\n%s", code, exitLeft, words, out.String())
		}
	}
	send(func(*exec.Cmd) {
		<-held
		w.run(exitDone, "campaigns", "pause", "news")
		close(answer)
	}, "mailer campaigns resume news")
	w.run(exitDone, "campaigns", "resume", "news")
	srv.Close()
	send(func(*exec.Cmd) {}, "run the same command again to go on")
}

// A signal while the relay holds the reply to a message: the first one waits for it, the second does not. In a pipe that
// has ended, the summary cannot be told, and the exit code is right all the same.
func TestSignalsWhileMailIsOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name      string
		signals   []os.Signal
		answer    bool // the relay answers after the signal
		broken    bool // standard output and error are a pipe that nobody reads
		uncertain int
	}{
		{"int", []os.Signal{os.Interrupt}, true, false, 0},
		{"term", []os.Signal{syscall.SIGTERM}, true, false, 0},
		{"hup", []os.Signal{syscall.SIGHUP}, true, false, 0},
		{"twice", []os.Signal{os.Interrupt, syscall.SIGTERM}, false, false, 2}, // two of one kind may come as one
		{"broken pipe", []os.Signal{os.Interrupt}, true, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			held, answer := make(chan struct{}, 100), make(chan struct{})
			srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(cmd mailtest.Command) *mailtest.Reply {
				if cmd.Verb == "." {
					select {
					case held <- struct{}{}:
					default:
					}
					return &mailtest.Reply{Wait: answer}
				}
				return nil
			}})
			w := relayWorkspace(t, srv, 500)
			cmd := w.command("send", "news", "--list", "readers", "--yes", "--json")
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if c.broken {
				r, pipe, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				r.Close()
				defer pipe.Close()
				cmd.Stdout, cmd.Stderr = pipe, pipe
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { cmd.Wait(); close(ended) }()
			for range w.connections {
				select {
				case <-held:
				case <-ended:
					t.Fatalf("it ended before its connections were busy: %s\n%s", cmd.ProcessState, out.String())
				}
			}
			for _, s := range c.signals {
				cmd.Process.Signal(s)
			}
			if c.answer {
				close(answer)
			}
			<-ended
			if code := cmd.ProcessState.ExitCode(); code != exitLeft {
				t.Errorf("%s, want exit code %d\n%s", cmd.ProcessState, exitLeft, out.String())
			}
			if !c.broken && !strings.Contains(out.String(), `"message_type":"summary"`) {
				t.Errorf("no summary:\n%s", out.String())
			}
			uncertain, accepted, pending := len(w.recipients("uncertain")), len(w.recipients("accepted")), len(w.recipients("pending"))
			if uncertain != c.uncertain || accepted+uncertain < 2 || pending == 0 || accepted+uncertain+pending != 500 {
				t.Errorf("%d uncertain, %d accepted, %d pending", uncertain, accepted, pending)
			}
			if got := len(srv.Accepted()); got != accepted {
				t.Errorf("the relay took %d, accepted are %d", got, accepted)
			}
		})
	}
}
