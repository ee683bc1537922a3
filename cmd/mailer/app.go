package main

import (
	"context"
	"fmt"
	"io"
	"os"
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
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	return &app{hard: context.Background(), stdin: stdin, out: ui.New(stdout, stderr), now: time.Now}
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
	return config.Load(dir, os.LookupEnv)
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
	st, err := store.Open(ctx, ws.Database(), store.Options{Now: a.now, Gone: send.Gone})
	if err != nil {
		return nil, nil, err
	}
	return ws, st, nil
}

// interactive reports whether a person can answer a question.
func (a *app) interactive() bool { return ui.Terminal(a.stdin) }
