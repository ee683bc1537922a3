package main

import (
	"mailer/internal/pace"
	"mailer/internal/suppression"

	"github.com/spf13/cobra"
)

// newPacingTopic is no command but a manual: `mailer help pacing`.
func newPacingTopic() *cobra.Command {
	return &cobra.Command{Use: "pacing", Short: "How fast, when and by which relay: rates, providers, hours, warm-up, breakers, cron", Long: pace.Help}
}

// newCleaningTopic is the manual `mailer help cleaning`.
func newCleaningTopic() *cobra.Command {
	return &cobra.Command{Use: "cleaning", Short: "What bounces do to the list: signatures, scores, frozen providers, undo", Long: suppression.Help}
}
