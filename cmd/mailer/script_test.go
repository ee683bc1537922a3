package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mailer/internal/mailtest"
	"mailer/internal/sandbox"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts call this test binary as `mailer`, and the benchmarks call it as a peer.
func TestMain(m *testing.M) {
	if peer := peers[filepath.Base(os.Args[0])]; peer != nil {
		if err := peer(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitError)
		}
		os.Exit(exitDone)
	}
	testscript.Main(tidyMain{m}, map[string]func(){
		"mailer": func() { os.Exit(runApp(scriptApp(), os.Args[1:])) },
	})
}

// scriptApp has the clock of a script: MAILER_TEST_NOW is when the program starts, and it runs MAILER_TEST_SPEED times as fast as the
// world's, where a script must not take minutes.
func scriptApp() *app {
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	begun, now, speed := time.Now(), time.Now(), 1
	if text := os.Getenv("MAILER_TEST_NOW"); text != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitError)
		}
	}
	if n, err := strconv.Atoi(os.Getenv("MAILER_TEST_SPEED")); err == nil {
		speed = n
	}
	a.now = func() time.Time { return now.Add(time.Duration(speed) * time.Since(begun)) }
	return a
}

// tidyMain leaves nothing behind when all tests have run.
type tidyMain struct{ *testing.M }

func (m tidyMain) Run() int {
	defer removeBinary()
	return m.M.Run()
}

// TestScripts runs testdata/script/*.txtar, each one a user's session with what must come out.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireUniqueNames: true, WorkdirRoot: t.TempDir(),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "sandbox": sandboxFor, "workbook": workbookOf, "nameserver": nameserverFor, "dns": changeNameserver}})
}

// sandboxFor is the script command `sandbox SCENARIO`: a mail world for the rest of the script, which a workspace of
// mailer init finds by itself.
func sandboxFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sandbox SCENARIO")
	}
	s, err := sandbox.Start(context.Background(), sandbox.Options{Seed: 1, Scenario: args[0], Greylist: time.Millisecond})
	ts.Check(err)
	ts.Defer(func() { s.Close() })
	for variable, addr := range map[string]string{"MAILER_RELAYS_MAIN_PORT": s.SMTPAddr(), "MAILER_BOUNCES_MAILBOX_PORT": s.IMAPAddr()} {
		_, port, err := net.SplitHostPort(addr)
		ts.Check(err)
		ts.Setenv(variable, port)
	}
	ts.Setenv("HTTP", s.HTTPURL())
}

// nameserverFor is the script command `nameserver ORIGIN=FILE...`: a name server for the rest of the script, at $DNS.
func nameserverFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: nameserver ORIGIN=FILE...")
	}
	ns := mailtest.NewNameserver(scriptTB{ts})
	for _, top := range []string{"com", "net", "org", "arpa"} {
		ts.Check(ns.Zone(top, ""))
	}
	for _, arg := range args {
		origin, file, _ := strings.Cut(arg, "=")
		ts.Check(ns.Zone(origin, ts.ReadFile(file)))
	}
	ts.Setenv("DNS", ns.Addr())
	nameservers.Store(ns.Addr(), &askedServer{Nameserver: ns})
}

// nameservers are those of scripts, by their address.
var nameservers sync.Map

// askedServer is a name server of which a script has seen some of the questions already.
type askedServer struct {
	*mailtest.Nameserver
	seen int
}

// changeNameserver is the script command `dns asked FILE | forget | zone ORIGIN FILE | silent NAME | loses NAME`: write the questions to
// $DNS since the last `dns forget` into a file; answer from another zone, not at all from now on, or not the first time.
func changeNameserver(ts *testscript.TestScript, neg bool, args []string) {
	found, ok := nameservers.Load(ts.Getenv("DNS"))
	if neg || !ok || len(args) == 0 {
		ts.Fatalf("usage: dns asked FILE | forget | zone ORIGIN FILE | silent NAME | loses NAME, after nameserver")
	}
	ns := found.(*askedServer)
	switch verb := args[0]; {
	case verb == "asked" && len(args) == 2:
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(append(ns.Asked()[ns.seen:], ""), "\n")), 0o600))
	case verb == "forget" && len(args) == 1:
		ns.seen = len(ns.Asked())
	case verb == "zone" && len(args) == 3:
		ts.Check(ns.Zone(args[1], ts.ReadFile(args[2])))
	case verb == "silent" && len(args) == 2:
		ns.Fail(args[1], mailtest.Silent)
	case verb == "loses" && len(args) == 2:
		ns.Fail(args[1], mailtest.LostOnce)
	default:
		ts.Fatalf("unknown: dns %s", strings.Join(args, " "))
	}
}

// scriptTB is as much of a test as mailtest's servers need.
type scriptTB struct{ *testscript.TestScript }

func (s scriptTB) Helper()          {}
func (s scriptTB) Fatal(a ...any)   { s.Fatalf("%s", fmt.Sprint(a...)) }
func (s scriptTB) Cleanup(f func()) { s.Defer(f) }

// exits is the script command `exits CODE PROGRAM ARGS...`: run it and insist on the exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	code := 0
	var failed *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &failed) {
		code = failed.ExitCode()
	} else if err != nil {
		ts.Fatalf("%s: %v", args[1], err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}
