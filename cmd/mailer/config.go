package main

import (
	"mailer/internal/config"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

func newConfigCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and check the configuration",
		Long: `Show and check the configuration of the workspace.

What is in force for a key is the first of: a flag, an environment variable, mailer.yaml, the default.
The variable of a key is MAILER_ and its path in capitals: relays.main.host is MAILER_RELAYS_MAIN_HOST.
Anything that is neither a letter nor a digit becomes an underscore; a list is written with commas, hours with semicolons.
An empty variable counts as none.`,
	}
	show := &cobra.Command{
		Use:   "show",
		Short: "Print what is in force and where it came from; passwords are hidden",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return runConfigShow(a) },
	}
	check := &cobra.Command{
		Use:   "check",
		Short: "Check mailer.yaml, fetch every password, read every key; connects to nothing",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runConfigCheck(a, cmd) },
	}
	cmd.AddCommand(show, check)
	return cmd
}

func runConfigShow(a *app) error {
	ws, err := a.workspace()
	if err != nil {
		return err
	}
	text, err := ws.YAML()
	if err != nil {
		return err
	}
	if !a.out.JSON {
		a.out.Printf("# %s\n%s", ws.Path, text)
		return nil
	}
	settings := ws.Settings()
	for _, s := range settings {
		if err := a.out.Emit("setting", struct {
			Key    string `json:"key"`
			Value  any    `json:"value"`
			Source string `json:"source"`
		}{s.Key, s.Value, s.Source.String()}); err != nil {
			return err
		}
	}
	return a.out.Emit("summary", struct {
		File     string `json:"file"`
		Settings int    `json:"settings"`
	}{ws.Path, len(settings)})
}

func runConfigCheck(a *app, cmd *cobra.Command) error {
	ws, err := a.load()
	if err != nil {
		return err
	}
	var errors, warnings int
	for _, f := range ws.Check(cmd.Context()) {
		word := "ok"
		switch f.Level {
		case config.LevelError:
			errors++
			word = "error"
		case config.LevelWarn:
			warnings++
			word = "warning"
		}
		f.Level = config.Level(word)
		a.out.Printf("%-8s %s: %s\n", word, f.Key, f.Message)
		if err := a.out.Emit("finding", f); err != nil {
			return err
		}
	}
	a.out.Printf("%s: %s, %s\n", ws.Path, ui.Count(errors, "error", "errors"), ui.Count(warnings, "warning", "warnings"))
	if err := a.out.Emit("summary", map[string]int{"errors": errors, "warnings": warnings}); err != nil {
		return err
	}
	if errors > 0 {
		return &exit{code: exitUsage} // the summary has said it
	}
	return nil
}
