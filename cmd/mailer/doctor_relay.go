package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"mailer/internal/address"
	"mailer/internal/config"
	"mailer/internal/doctor"
	"mailer/internal/mailbox"
	"mailer/internal/send"

	"github.com/spf13/cobra"
)

const doctorRelayHelp = `Check the relays of mailer.yaml, or the one that is named: whether every address of its host answers, TLS and the certificate, the
login, what it offers, its limits against rates: and connections:, and how far away it is.

--roundtrip sends one message through the relay to yourself, as your campaigns are made and signed, waits for it in the bounce
mailbox, and compares what arrived with what was sent: whether DKIM is still valid and aligned with From and which server's
change broke it, whether List-Unsubscribe came through and a signature covers it, which hops were encrypted, whether the return
path was kept, how long it took, and what the receiver found (Authentication-Results). A bounce that comes instead is shown.

The message goes to bounces.return_path, or to --to; then name the mailbox that this address leads to with --source, as for
bounces sync: imaps://user@host/folder, pop3s://user@host, maildir:PATH. The password of a mailbox at another host than that of
bounces.mailbox stands in the address: imaps://user:password@host. Other mail is left alone, and unread as far as it was there before. The message
is moved, deleted or left afterwards, as after: of bounces.mailbox says; in a --source it is left.

Exit codes: 0 nothing failed; 2 wrong usage or configuration, or a login that was refused; 4 a relay or the mailbox is away;
5 a check failed.

  mailer doctor relay
  mailer doctor relay main --roundtrip
  mailer doctor relay main --roundtrip --to me@example.jp --source imaps://me:PASSWORD@imap.example.jp/INBOX --wait 5m`

// roundTripPoll is how often a mailbox is looked at that does not tell of new mail: a login each time with POP3.
const roundTripPoll = 2 * time.Second

type doctorRelayOptions struct {
	roundtrip bool
	to        string
	source    string
	receiver  []string
	resolver  []string
	wait      time.Duration
}

func newDoctorRelayCmd(a *app) *cobra.Command {
	var o doctorRelayOptions
	cmd := &cobra.Command{
		Use:   "relay [NAME]",
		Short: "Check the relays, and what becomes of a message that goes through them",
		Long:  doctorRelayHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exactArgs(1, "NAME or nothing")(cmd, args)
			}
			return o.check()
		},
		ValidArgsFunction: completeRelay(a),
		RunE:              func(cmd *cobra.Command, args []string) error { return runDoctorRelay(cmd.Context(), a, args, o) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.roundtrip, "roundtrip", false, "send a message to yourself, and look at what arrives")
	f.StringVar(&o.to, "to", "", "send it to this `address` (default: bounces.return_path)")
	f.StringVar(&o.source, "source", "", "read it from this `mailbox` (default: bounces.mailbox)")
	f.DurationVar(&o.wait, "wait", 2*time.Minute, "how long to wait for it")
	f.StringSliceVar(&o.receiver, "receiver", nil, "`host` whose Authentication-Results are the receiver's, where its name does not tell")
	f.StringSliceVar(&o.resolver, "resolver", nil, "name server to ask, `host` or host:port (default: that of mailer.yaml, else the system's)")
	return cmd
}

func (o doctorRelayOptions) check() error {
	switch {
	case !o.roundtrip && (o.to != "" || o.source != "" || len(o.receiver) > 0):
		return usage("--to, --source and --receiver are for --roundtrip")
	case o.wait <= 0:
		return usage("--wait must be more than nothing, such as 2m")
	case o.source == "-":
		return usage("--source - is standard input, in which nothing arrives")
	}
	return nil
}

func runDoctorRelay(ctx context.Context, a *app, args []string, o doctorRelayOptions) error {
	s, relays, done, err := relaysToCheck(ctx, a, args, o)
	if err != nil {
		return err
	}
	defer done()
	largest, of := int64(0), ""
	if s.Store != nil {
		if largest, of, err = s.Largest(ctx); err != nil {
			return err
		}
	}
	var all []doctor.Finding
	var failed []error
	var names []string
	for _, way := range relays {
		c := doctor.Carrier{Relay: way, Largest: largest, LargestOf: of, Now: a.now}
		found, err := checkRelay(ctx, a, s, c, o)
		if ctx.Err() != nil {
			return relayError(ctx.Err())
		}
		if err != nil {
			failed = append(failed, mailboxError(relayError(err)))
		}
		all, names = append(all, found...), append(names, way.Name)
	}
	doctor.Sort(all)
	told := tellDiagnosis(a, strings.Join(names, ", "), all)
	if len(failed) > 0 {
		return worst(failed)
	}
	return told
}

// relaysToCheck opens what the checks need: the database where a message is signed with its keys, or where there is one.
func relaysToCheck(ctx context.Context, a *app, args []string, o doctorRelayOptions) (*send.Sender, config.Relays, func() error, error) {
	s := &send.Sender{Now: a.now}
	done := func() error { return nil }
	var err error
	if s.Workspace, err = a.workspace(); err != nil {
		return nil, nil, nil, err
	}
	way, err := s.Workspace.Relay(strings.Join(args, ""))
	if err != nil {
		return nil, nil, nil, err
	}
	relays := s.Workspace.Config.Relays
	if len(args) > 0 {
		relays = config.Relays{way}
	}
	if _, missing := os.Stat(s.Workspace.Database()); o.roundtrip || missing == nil {
		if s.Store, err = a.openStore(ctx, s.Workspace); err != nil {
			return nil, nil, nil, err
		}
		done = s.Store.Close
	}
	return s, relays, done, nil
}

// checkRelay checks one, and sends the message around if that is asked for and the relay is there.
func checkRelay(ctx context.Context, a *app, s *send.Sender, c doctor.Carrier, o doctorRelayOptions) ([]doctor.Finding, error) {
	var err error
	if c.Server, err = s.Server(c.Relay); err != nil {
		return nil, err
	}
	var trip *doctor.RoundTrip
	if o.roundtrip { // before the relay is called: a message that cannot be made is no matter of its
		if trip, err = newRoundTrip(ctx, a, s, c, o); err != nil {
			return nil, err
		}
	}
	all, err := c.Check(ctx)
	if err != nil || trip == nil {
		return all, err
	}
	more, err := trip.Run(ctx)
	return append(all, more...), err
}

func newRoundTrip(ctx context.Context, a *app, s *send.Sender, c doctor.Carrier, o doctorRelayOptions) (*doctor.RoundTrip, error) {
	ws := s.Workspace
	conf := ws.Config
	if o.to == "" && conf.Bounces.ReturnPathPattern == "" {
		return nil, usage("the message of the round trip needs an address that leads to the mailbox: set bounces.return_path in mailer.yaml, or name one with --to")
	}
	if o.to == "" && o.source != "" {
		return nil, usage("--source needs --to: the address whose mail comes there")
	}
	where := bouncesSyncOptions{source: o.source}
	if o.source != "" {
		where.after = mailbox.AfterLeave // it may be a person's own
	}
	options, folders, err := mailboxOptions(ws, where)
	if err != nil {
		return nil, err
	}
	letter, err := s.Letter(ctx, c.Relay.Name, o.to)
	if err != nil {
		return nil, err
	}
	r, err := doctorResolver(ws, doctorDomainOptions{resolver: o.resolver})
	if err != nil {
		return nil, err
	}
	t := &doctor.RoundTrip{Carrier: c.Relay.Name, Server: c.Server, Message: letter.Message, ID: letter.ID, MessageID: letter.MessageID,
		Signed: conf.Bounces.Signed(), Folders: folders, Hosts: append(slices.Clone(o.receiver), options.Host), Resolver: r, Wait: o.wait, Poll: roundTripPoll, Now: a.now,
		Tell: func(text string) { a.out.Notef("mailer: %s: %s", c.Relay.Name, clean(text)) }}
	if from, err := address.Parse(conf.Sender.From); err == nil {
		t.From = from.Domain()
	}
	if at := strings.LastIndexByte(letter.Envelope.To, '@'); at >= 0 {
		t.Hosts = append(t.Hosts, letter.Envelope.To[at+1:])
	}
	for _, k := range conf.DKIM {
		t.Signers = append(t.Signers, k.Domain)
	}
	t.Kept = "it is left in the mailbox; you may delete it"
	switch options.After {
	case mailbox.AfterMove:
		t.Beside = append(t.Beside, options.Processed)
		if options.Review != "" {
			t.Beside = append(t.Beside, options.Review)
		}
		t.Kept = "it is moved to " + options.Processed
	case mailbox.AfterDelete:
		t.Kept = "it is deleted"
	case mailbox.AfterFlag:
		t.Kept = "it is marked as read"
	}
	secret := conf.Bounces.Mailbox.Secret
	t.Open = func(ctx context.Context, folder string, tidy bool) (mailbox.Box, error) {
		now := options
		now.Folder = folder
		if !tidy {
			now.After = mailbox.AfterLeave
		}
		if now.Host != "" && now.Password == "" {
			var err error
			if now.Password, err = secret.Resolve(ctx, ws.Dir); err != nil {
				return nil, err
			}
		}
		return mailbox.Open(ctx, now)
	}
	return t, nil
}

// mailboxError gives an error of the mailbox its exit code, as bounces sync does.
func mailboxError(err error) error {
	var box *mailbox.Error
	switch {
	case errors.As(err, &box) && box.Config:
		return &exit{exitUsage, err}
	case errors.As(err, &box):
		return &exit{exitLeft, fmt.Errorf("the round trip was not made: %w", err)}
	}
	return err
}
