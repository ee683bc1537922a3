// Command mailer imports contact lists, sends personalised mail through the user's own relay and keeps the list clean.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"mailer/internal/campaign"
	"mailer/internal/config"
	"mailer/internal/message"
	"mailer/internal/segment"
	"mailer/internal/send"
	"mailer/internal/store"
	"mailer/internal/ui"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program: arguments in, exit code out. It is the one place that prints errors and picks exit codes.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return runApp(newApp(stdin, stdout, stderr), args)
}

func runApp(a *app, args []string) int {
	soft, hard, stop := signals()
	defer stop()
	a.hard = hard
	root := newRootCmd(a)
	root.SetArgs(args)
	err := root.ExecuteContext(soft)
	if err == nil {
		err = a.out.Failed()
	}
	if err == nil {
		return exitDone
	}
	code := exitCode(err)
	if err.Error() == context.Canceled.Error() {
		err = &exit{code, errors.New("stopped by a signal")}
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(a.out.Stderr(), "mailer: %s\n", clean(text))
	}
	a.out.JSON = a.out.JSON || slices.Contains(args, "--json") // a wrong flag before it keeps cobra from reading it
	a.out.EmitError(err, code)
	return code
}

// signals returns a context that ends at the first SIGINT, SIGTERM or SIGHUP (stop claiming, finish what is begun) and one
// that ends at the second (cut the connections). A third kills the process as if nobody listened.
func signals() (soft, hard context.Context, stop func()) {
	soft, endSoft := context.WithCancel(context.Background())
	hard, endHard := context.WithCancel(context.Background())
	got := make(chan os.Signal, 2)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for _, end := range []context.CancelFunc{endSoft, endHard} {
			select {
			case <-got:
				end()
			case <-done:
				return
			}
		}
		signal.Stop(got)
	}()
	return soft, hard, func() {
		signal.Stop(got)
		close(done)
		<-gone
		endSoft()
		endHard()
	}
}

// Exit codes, a contract with scripts (DESIGN section 5).
const (
	exitDone   = 0
	exitError  = 1
	exitUsage  = 2 // usage or configuration, a refused login too
	exitSome   = 3 // done, but some failed, were rejected or are uncertain
	exitLeft   = 4 // stopped with recipients left; the next run goes on
	exitSafety = 5 // stopped by a safety rule or a failed check
	exitBusy   = 6 // another process is sending this campaign
)

// exit is an error that knows its exit code. With no text it only sets the code: what happened was told already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usage marks an error as the user's: wrong flags or arguments.
func usage(format string, args ...any) error {
	return &exit{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// exitCode picks the code of an error.
func exitCode(err error) int {
	var e *exit
	switch {
	case errors.As(err, &e):
		return e.code
	case userMistake(err):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitLeft
	}
	return exitError
}

// userMistake reports whether the command, the configuration or a file of the workspace must be mended first.
func userMistake(err error) bool {
	var conf *config.Error
	var expr *segment.Error
	var file *campaign.Error
	var attachment *campaign.AttachmentError
	var render *message.RenderError
	var request *send.UsageError
	var frozen *send.FrozenError
	for _, kind := range []any{&conf, &expr, &file, &attachment, &render, &request, &frozen} {
		if errors.As(err, kind) {
			return true
		}
	}
	for _, cause := range []error{store.ErrForeign, store.ErrNewer, store.ErrEnded, segment.ErrNotSaved, campaign.ErrNotFound} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// clean keeps the line breaks of an error text and takes every other control character out: part of it may come from a
// relay's reply or a file.
func clean(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, line := range lines {
		lines[i] = ui.Clean(line)
	}
	return strings.Join(lines, "\n")
}
