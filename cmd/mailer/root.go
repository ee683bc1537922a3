package main

import (
	"runtime/debug"

	"github.com/spf13/cobra"
)

const rootHelp = `mailer sends newsletters and announcements from your own machine, through your own relay.

It imports contact lists, picks segments, renders personalised mail, sends it with a record for every recipient,
reads the bounce mailbox and keeps the list clean.

Try it without mailing anybody:  mailer demo
Begin:                           mailer init news && cd news && mailer sandbox`

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "mailer",
		Short:         "Send mail to your whole list, exactly once each",
		Long:          rootHelp,
		Version:       readBuild(debug.ReadBuildInfo()).String(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(a.out.Data())
	root.SetErr(a.out.Stderr())
	flags := root.PersistentFlags()
	flags.StringVarP(&a.dir, "dir", "C", "", "the workspace's `folder` (default: $MAILER_DIR, else upward from here)")
	flags.BoolVar(&a.out.JSON, "json", false, "print one JSON object a line")
	flags.BoolVar(&a.out.Progress, "progress", false, "show progress even where standard error is no terminal")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usage("%w", err)
	})
	root.AddCommand(commands(a)...)
	refuseUnknown(root)
	refuseUnknownTopic(root)
	offerCompletions(a, root)
	return root
}

// commands lists every command, in the order of a newcomer's way.
func commands(a *app) []*cobra.Command {
	return []*cobra.Command{
		newInitCmd(a), newConfigCmd(a), newRelayCmd(a), newSandboxCmd(a), newDemoCmd(a),
		newImportCmd(a), newContactsCmd(a), newListsCmd(a), newFieldsCmd(a), newSegmentsCmd(a),
		newPreviewCmd(a), newCheckCmd(a), newTemplatesCmd(a), newDKIMCmd(a), newDoctorCmd(a),
		newSendCmd(a), newRunCmd(a), newCampaignsCmd(a), newBouncesCmd(a), newSuppressionsCmd(a),
		newReportCmd(a), newWhyCmd(a), newBackupCmd(a), newRestoreCmd(a), newDBCmd(a),
		newManCmd(a), newVersionCmd(a), newWritingTopic(), newPacingTopic(), newCleaningTopic(),
	}
}
