package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newManCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the man pages into a folder",
		Long: `Write a man page for every command into DIR, which is made if need be.

  mailer man ~/.local/share/man/man1`,
		Args: exactArgs(1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return runMan(a, cmd.Root(), args[0]) },
	}
}

func runMan(a *app, root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write man pages: %w", err)
	}
	root.DisableAutoGenTag = true
	now := a.now()
	header := &doc.GenManHeader{Section: "1", Source: "mailer", Manual: "mailer", Date: &now}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("write man pages: %w", err)
	}
	a.out.Printf("man pages are in %s; read one with: man -l %s/mailer.1\n", dir, dir)
	return nil
}
