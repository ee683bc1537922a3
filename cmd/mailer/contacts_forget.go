package main

import (
	"context"
	"errors"
	"fmt"

	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const contactsForgetHelp = `Erase a person: the contact, its history, and what deliveries and bounces say about it, also where a reply or a report
about somebody else names the address. The sums of past campaigns stay.

What is kept is a salted hash of the address among the suppressions, so that the person is not mailed even if a list
brings the address back. This cannot be taken back.

The database file is then rewritten, because what was changed or deleted earlier lies on in its unused parts. --quick leaves
that out, and so does a running send: forget the same address again later. What is not in the database is yours to
delete: lists, exports, files of rejected rows, copies and backups, the mails in the bounce mailbox.`

func newContactsForgetCmd(a *app) *cobra.Command {
	var yes, quick bool
	cmd := &cobra.Command{
		Use:   "forget ADDRESS",
		Short: "Erase a person, and never mail them again",
		Long:  contactsForgetHelp,
		Args:  exactArgs(1, "ADDRESS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runContactsForget(cmd.Context(), a, args[0], yes, quick)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&quick, "quick", false, "do not rewrite the database file (for many people: leave it out for the last)")
	return cmd
}

func runContactsForget(ctx context.Context, a *app, text string, yes, quick bool) error {
	key, err := keyOf(text)
	if err != nil {
		return err
	}
	if !yes {
		if err := confirmForget(ctx, a, key); err != nil {
			return err
		}
	}
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	gone, err := st.ForgetContact(ctx, key)
	if err != nil {
		return err
	}
	rewritten, err := rewrite(ctx, st, quick)
	if err != nil {
		a.out.Warnf("the address is forgotten, but the file could not be rewritten: %v", err)
	}
	a.out.Printf("forgotten: %d contact, %d deliveries, %d bounce mails, %d events, %d mentions; the address stays suppressed, as a hash\n",
		gone.Contacts, gone.Deliveries, gone.Bounces, gone.Events, gone.Mentions)
	tellLeft(a, gone, rewritten)
	return a.out.Emit("summary", struct {
		store.Forgotten
		Rewritten bool `json:"rewritten"`
	}{gone, rewritten})
}

// rewrite rewrites the file, unless somebody would have to wait for it.
func rewrite(ctx context.Context, st *store.Store, quick bool) (bool, error) {
	if quick {
		return false, nil
	}
	sending, err := st.Sending(ctx)
	if err != nil || sending {
		return false, err
	}
	err = st.Vacuum(ctx)
	return err == nil, err
}

// tellLeft says where the person may still be found.
func tellLeft(a *app, gone store.Forgotten, rewritten bool) {
	if !rewritten {
		a.out.Printf("  the unused parts of the database file were not cleaned: the same command does it when nothing is being sent, without --quick\n")
	}
	if gone.Log {
		a.out.Warnf("another process reads the database, so its log still holds the old pages: run the same command again when it has ended")
	}
	for _, name := range gone.Campaigns {
		a.out.Warnf("the text of campaign %s names the address; it stays as it was sent", ui.Clean(name))
	}
	for _, file := range gone.Copies {
		a.out.Warnf("%s is a copy of the database from before an update or a restore and may hold the person: delete it when you do not need it any more", file)
	}
}

func confirmForget(ctx context.Context, a *app, key string) error {
	if !a.interactive() {
		return usage("nobody is here to confirm: add --yes")
	}
	answer, err := a.ask(ctx, fmt.Sprintf("This cannot be taken back. Type %s to forget it, anything else to stop: ", ui.Clean(key)))
	if err != nil {
		return err
	}
	if answer != key {
		return &exit{exitSafety, errors.New("not confirmed: nothing was forgotten")}
	}
	return nil
}
