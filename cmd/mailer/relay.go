package main

import (
	"context"
	"errors"

	"mailer/internal/relay"
	"mailer/internal/send"

	"github.com/spf13/cobra"
)

const relayHelp = `Try and measure the SMTP relays of mailer.yaml.

test is gentle and for every relay; bench is for a server of your own.`

func newRelayCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "relay",
		Short: "Try and measure your relay",
		Long:  relayHelp,
	}
	cmd.AddCommand(newRelayTestCmd(a), newRelayBenchCmd(a))
	return cmd
}

// completeRelay offers the relays' names for the first argument.
func completeRelay(a *app) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.relayNames(), cobra.ShellCompDirectiveNoFileComp
	}
}

// relayError gives an error of a relay the exit code that send would: a login or a certificate must be mended first, a
// relay that is away may be back later.
func relayError(err error) error {
	var de *relay.DialError
	var provider *send.ProviderError
	switch {
	case errors.As(err, &de) && de.Config:
		return &exit{exitUsage, err}
	case errors.As(err, &de):
		return &exit{exitLeft, err}
	case errors.As(err, &provider):
		return &exit{exitSafety, err}
	case errors.Is(err, context.Canceled):
		return &exit{exitLeft, errors.New("stopped by a signal")}
	}
	return err
}
