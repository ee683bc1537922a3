package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// exactArgs wants exactly n arguments, named for the message.
func exactArgs(n int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("%s needs %s, got %d arguments; %s --help tells more", cmd.CommandPath(), names, len(args), cmd.CommandPath())
		}
		return nil
	}
}

// noArgs wants none.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no arguments, got %q", cmd.CommandPath(), strings.Join(args, " "))
	}
	return nil
}

// refuseUnknown makes every command that only holds others show its help, and call a word that names none of them a
// mistake: cobra would exit with 1 at the root and with 0 below it.
func refuseUnknown(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		refuseUnknown(sub)
	}
	if !cmd.HasSubCommands() || cmd.RunE != nil {
		return
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		cmd.SuggestionsMinimumDistance = 2
		hint := cmd.CommandPath() + " --help lists them"
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf(`did you mean "%s"?`, strings.Join(near, `" or "`))
		}
		return usage("%s has no command %q; %s", cmd.CommandPath(), args[0], hint)
	}
}

// refuseUnknownTopic makes "mailer help WORD" a mistake where WORD names no command and no topic: cobra shows the general help and exits
// with 0.
func refuseUnknownTopic(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	if err != nil || help == root {
		return
	}
	help.Run = nil
	help.RunE = func(_ *cobra.Command, args []string) error {
		about, rest, err := root.Find(args)
		if err != nil {
			return usage("%w", err)
		}
		if len(rest) > 0 && about.HasSubCommands() {
			return about.Args(about, rest)
		}
		about.InitDefaultHelpFlag()
		return about.Help()
	}
}
