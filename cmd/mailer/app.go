package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mailer/internal/config"
	"mailer/internal/send"
	"mailer/internal/store"
	"mailer/internal/ui"
)

// app is what every command shares: the streams, the flags of the root, and how to open the workspace.
type app struct {
	dir   string          // -C
	hard  context.Context // ends at the second signal; a command's own context ends at the first
	stdin io.Reader
	out   *ui.Out
	now   func() time.Time
	zone  *time.Location // of the workspace, once it is read
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	return &app{hard: context.Background(), stdin: stdin, out: ui.New(stdout, stderr), now: time.Now, zone: time.Local}
}

// workspace finds and reads the workspace that the command is about, and says what is worth a word about it.
func (a *app) workspace() (*config.Workspace, error) {
	ws, err := a.load()
	if err != nil {
		return nil, err
	}
	for _, w := range ws.Warnings {
		a.out.Warnf("%s", w)
	}
	return ws, nil
}

func (a *app) load() (*config.Workspace, error) {
	dir, err := a.find()
	if err != nil {
		return nil, err
	}
	ws, err := config.Load(dir, os.LookupEnv)
	if err == nil {
		a.zone = ws.Config.Location()
	}
	return ws, err
}

func (a *app) find() (string, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the workspace: %w", err)
	}
	return config.Find(a.dir, os.LookupEnv, cwd)
}

// open opens the workspace and its database. Close the store.
func (a *app) open(ctx context.Context) (*config.Workspace, *store.Store, error) {
	ws, err := a.workspace()
	if err != nil {
		return nil, nil, err
	}
	st, err := a.openStore(ctx, ws)
	if err != nil {
		return nil, nil, err
	}
	return ws, st, nil
}

// openAnyway is open for what must work while somebody edits mailer.yaml: to stop a campaign. What the file says is not used then.
func (a *app) openAnyway(ctx context.Context) (*config.Workspace, *store.Store, error) {
	ws, err := a.loadAnyway()
	if err != nil {
		return nil, nil, err
	}
	st, err := a.openStore(ctx, ws)
	return ws, st, err
}

// loadAnyway reads the workspace for what must work while mailer.yaml is broken.
func (a *app) loadAnyway() (*config.Workspace, error) {
	ws, err := a.load()
	if err == nil {
		return ws, nil
	}
	dir, ferr := a.find()
	if ferr != nil {
		return nil, ferr
	}
	a.out.Warnf("%v", err)
	return &config.Workspace{Dir: dir, Path: filepath.Join(dir, config.FileName), Config: config.Default()}, nil
}

func (a *app) openStore(ctx context.Context, ws *config.Workspace) (*store.Store, error) {
	if _, err := os.Stat(ws.Database()); errors.Is(err, os.ErrNotExist) {
		a.out.Warnf("there was no %s: an empty one is made, without the contacts, suppressions and sends of any other copy", ws.Database())
	}
	return a.openAs(ctx, ws, store.Options{})
}

// openAs opens it with options beside those of the workspace.
func (a *app) openAs(ctx context.Context, ws *config.Workspace, o store.Options) (*store.Store, error) {
	var err error
	if o.Providers, err = ws.Providers(); err != nil {
		return nil, err
	}
	policy := ws.Config.Policy()
	o.Now, o.Gone, o.Policy = a.now, send.Gone, &policy
	return store.Open(ctx, ws.Database(), o)
}

// interactive reports whether a person can answer a question.
func (a *app) interactive() bool { return ui.Terminal(a.stdin) }

// ask shows the question and reads the line that a person types. The end of the input and Ctrl-C at the prompt are empty
// answers.
func (a *app) ask(ctx context.Context, question string) (string, error) {
	fmt.Fprint(a.out.Stderr(), question)
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := bufio.NewReader(a.stdin).ReadString('\n')
		got <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.out.Stderr())
		return "", nil
	case line := <-got:
		if errors.Is(line.err, io.EOF) {
			fmt.Fprintln(a.out.Stderr())
		} else if line.err != nil {
			return "", fmt.Errorf("read the answer: %w", line.err)
		}
		return strings.TrimSpace(line.text), nil
	}
}
