package main

import (
	"mailer/internal/pace"

	"github.com/spf13/cobra"
)

// newPacingTopic is no command but a manual: `mailer help pacing`.
func newPacingTopic() *cobra.Command {
	return &cobra.Command{Use: "pacing", Short: "How fast, when and by which relay: rates, providers, hours, warm-up, breakers, cron", Long: pace.Help}
}
