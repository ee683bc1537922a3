package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"

	"mailer/internal/bounce"
	"mailer/internal/collect"
	"mailer/internal/config"
	"mailer/internal/mailbox"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

func newBouncesCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "bounces",
		Aliases: []string{"bounce"},
		Short:   "Read the bounce mailbox, keep the list clean, explain refusals",
	}
	cmd.AddCommand(newBouncesSyncCmd(a), newBouncesListCmd(a), newBouncesParseCmd(a), newBouncesExplainCmd(a))
	return cmd
}

const bouncesSyncHelp = `Read the bounce mailbox: failed deliveries, complaints, unsubscribe mails, automatic replies.

Each mail is recorded with all that follows from it, and then moved to the processed folder. Dead addresses,
complaints and unsubscribes are suppressed at once. Only a mail that carries the signed address or id of one of our
deliveries changes anything; others are counted as unmatched, those with a wrong signature as forged.

It can be interrupted at any moment and run again: each mail is acted on once.

Exit codes: 0 all was read; 2 configuration, password or certificate; 4 interrupted or not reachable, run it again.`

type bouncesSyncOptions struct {
	source string
	dryRun bool
	limit  int
	quiet  bool // no progress: other things are shown beside it
}

func newBouncesSyncCmd(a *app) *cobra.Command {
	var o bouncesSyncOptions
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Read the bounce mailbox and act on it",
		Long:  bouncesSyncHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runBouncesSync(cmd.Context(), a, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.source, "source", "", "read the mailbox of this `URL` instead: imaps://user@host/folder (or imap:// for STARTTLS); password as configured")
	f.BoolVar(&o.dryRun, "dry-run", false, "tell what would be done, change and move nothing")
	f.IntVar(&o.limit, "limit", 0, "read at most this `number` of mails")
	return cmd
}

func runBouncesSync(ctx context.Context, a *app, o bouncesSyncOptions) error {
	if o.limit < 0 {
		return usage("--limit cannot be negative")
	}
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	sum, err := syncBounces(ctx, a, ws, st, o)
	err = syncResult(err)
	if err := a.out.Emit("summary", sum); err != nil {
		return err
	}
	tellSync(a, sum, o.dryRun)
	return err
}

// syncResult turns how reading the mailbox ended into an exit code.
func syncResult(err error) error {
	var away *mailbox.Error
	switch {
	case errors.As(err, &away) && away.Config:
		return &exit{exitUsage, err}
	case errors.Is(err, context.Canceled):
		return &exit{exitLeft, errors.New("stopped; the same command goes on where it was")}
	case errors.As(err, &away):
		return &exit{exitLeft, fmt.Errorf("stopped; the same command goes on where it was: %w", err)}
	}
	return err
}

// syncBounces reads one mailbox into an open store.
func syncBounces(ctx context.Context, a *app, ws *config.Workspace, st *store.Store, o bouncesSyncOptions) (collect.Summary, error) {
	options, err := mailboxOptions(ctx, ws, o.source)
	if err != nil {
		return collect.Summary{}, err
	}
	keys, err := st.TokenKeys(ctx)
	if err != nil {
		return collect.Summary{}, err
	}
	box, err := mailbox.Open(ctx, options)
	if err != nil {
		return collect.Summary{}, err
	}
	defer box.Close()
	progress := func(int64) {}
	if !o.quiet {
		bar := a.out.Bar("reading", "mails", -1)
		defer bar.Close()
		progress = bar.Set
	}
	return collect.Sync(ctx, st, box, keys, collect.Options{DryRun: o.dryRun, Limit: o.limit, Each: func(out collect.Outcome) {
		progress(int64(out.N))
		if o.dryRun {
			tellOutcome(a, out)
		}
	}})
}

// mailboxOptions are those of mailer.yaml, or of a --source URL with the configured password.
func mailboxOptions(ctx context.Context, ws *config.Workspace, source string) (mailbox.Options, error) {
	m := ws.Config.Bounces.Mailbox
	if source == "" && !m.Configured() {
		return mailbox.Options{}, &config.Error{File: ws.Path, Key: "bounces.mailbox", Message: "no bounce mailbox is configured; add one, or give --source imaps://user@host/folder"}
	}
	o := mailbox.Options{Host: m.Host, Port: m.Port, TLS: string(m.TLS), Insecure: m.Insecure, Username: m.Username,
		Folder: m.Folder, Processed: m.Processed, Timeout: m.Timeout}
	var err error
	if o.RootCAs, err = ws.RootCAs(m.CAFile); err != nil {
		return o, err
	}
	if source != "" {
		if err := applySource(&o, source); err != nil {
			return o, err
		}
	}
	if o.Password == "" {
		o.Password, err = m.Secret.Resolve(ctx, ws.Dir)
	}
	return o, err
}

// applySource puts an URL of a mailbox (RFC 5092, as far as it is of use here) over the options.
func applySource(o *mailbox.Options, source string) error {
	u, err := url.Parse(source)
	if err != nil || u.Hostname() == "" || u.Scheme != "imap" && u.Scheme != "imaps" {
		return usage("--source: not an URL like imaps://user@host/folder")
	}
	o.Host, o.Insecure = u.Hostname(), false
	switch {
	case u.Scheme == "imaps":
		o.TLS, o.Port = mailbox.TLSImplicit, 993
	case o.Host == "localhost" || strings.HasPrefix(o.Host, "127.") || o.Host == "::1":
		o.TLS, o.Port = mailbox.TLSNone, 143
	default:
		o.TLS, o.Port = mailbox.TLSStartTLS, 143
	}
	if p := u.Port(); p != "" {
		if o.Port, err = strconv.Atoi(p); err != nil {
			return usage("--source: %q is no port", p)
		}
	}
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	if folder := strings.Trim(u.Path, "/"); folder != "" {
		o.Folder = folder
	}
	return nil
}

func tellOutcome(a *app, o collect.Outcome) {
	what := o.Verdict.Kind
	switch {
	case o.Forged:
		what += ", forged"
	case o.Repeated:
		what += ", seen before"
	case o.Address == "":
		what += ", not about a delivery of ours"
	default:
		what += " about " + o.Address
	}
	if o.Suppress != "" {
		what += ": would be suppressed (" + o.Suppress + ")"
	} else if o.Reason != "" {
		what += ": " + o.Reason
	}
	a.out.Printf("%d. %s\n", o.N, clean(what))
}

func tellSync(a *app, s collect.Summary, dryRun bool) {
	if a.out.JSON {
		return
	}
	a.out.Printf("%s read: %s (%d hard, %d soft), %s, %s, %s\n", ui.Count(s.Read, "mail", "mails"), ui.Count(s.Bounces, "bounce", "bounces"),
		s.Hard, s.Soft, ui.Count(s.Complaints, "complaint", "complaints"), ui.Count(s.Unsubscribes, "unsubscribe", "unsubscribes"),
		ui.Count(s.Autoreplies, "automatic reply", "automatic replies"))
	if s.Unmatched+s.Forged > 0 {
		a.out.Printf("%d led to no delivery of ours, %d carried a wrong signature: they changed nothing (mailer bounces list --unmatched)\n", s.Unmatched, s.Forged)
	}
	if dryRun {
		a.out.Println("Nothing was changed: this was a dry run.")
		return
	}
	a.out.Printf("%s suppressed\n", ui.Count(s.Suppressed, "address", "addresses"))
}

const bouncesParseHelp = `Say what mails mean, without a workspace: what kind each is, who was not reached, why, and whether the address is dead.

FILE is a mail as it came, "-" is standard input.`

func newBouncesParseCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "parse FILE...",
		Short: "Say what mails mean",
		Long:  bouncesParseHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("%s needs a FILE (\"-\" is standard input)", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return runBouncesParse(a, args) },
	}
}

// verdictJSON is a mail's verdict for scripts: these fields, and detail where the kind leaves something open.
type verdictJSON struct {
	File         string          `json:"file"`
	Kind         string          `json:"kind"`
	Bounces      []recipientJSON `json:"bounces"`
	Complainants []string        `json:"complainants"`
	FeedbackType string          `json:"feedback_type"`
	Detail       string          `json:"detail,omitempty"`
}

type recipientJSON struct {
	Recipient string `json:"recipient"`
	Status    string `json:"status"`
	Reply     string `json:"reply"`
	Reason    string `json:"reason"`
	Hard      bool   `json:"hard"`
	Action    string `json:"action"`
	Scope     string `json:"scope"`
}

func runBouncesParse(a *app, files []string) error {
	for _, file := range files {
		raw, err := readMail(a, file)
		if err != nil {
			return err
		}
		v := bounce.Parse(raw)
		if err := a.out.Emit("mail", verdictLine(file, v)); err != nil {
			return err
		}
		if !a.out.JSON {
			tellVerdict(a, file, v)
		}
	}
	return nil
}

func readMail(a *app, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(io.LimitReader(a.stdin, mailbox.MaxMessage))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, mailbox.MaxMessage))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return raw, nil
}

func verdictLine(file string, v bounce.Verdict) verdictJSON {
	line := verdictJSON{File: file, Kind: v.Kind, Bounces: []recipientJSON{}, Complainants: append([]string{}, v.Complainants...), FeedbackType: v.FeedbackType, Detail: v.Detail}
	for _, r := range v.Bounces {
		line.Bounces = append(line.Bounces, recipientJSON{r.Recipient, r.Status, r.Reply, r.Reason, r.Hard, r.Action, r.Scope})
	}
	return line
}

func tellVerdict(a *app, file string, v bounce.Verdict) {
	kind := v.Kind
	if v.Detail != "" {
		kind += " (" + v.Detail + ")"
	}
	a.out.Printf("%s: %s\n", clean(file), kind)
	for _, r := range v.Bounces {
		hard := "soft"
		if r.Hard {
			hard = "hard"
		}
		a.out.Printf("  %s  %s, %s (%s): %s\n", clean(r.Recipient), r.Action, hard, strings.TrimSpace(r.Status+" "+r.Reason), bounce.Words(r.Reason))
	}
	for _, c := range v.Complainants {
		a.out.Printf("  %s  complained (%s)\n", clean(c), clean(v.FeedbackType))
	}
}

type bouncesListOptions struct {
	filter  store.BounceFilter
	address string
}

func newBouncesListCmd(a *app) *cobra.Command {
	var o bouncesListOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the mails that were read, the newest first",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runBouncesList(cmd.Context(), a, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.filter.Kind, "kind", "", "only this `kind`: bounce, complaint, autoreply, delivered, unsubscribe or not-a-bounce")
	f.BoolVar(&o.filter.Unmatched, "unmatched", false, "only reports that led to no delivery of ours")
	f.BoolVar(&o.filter.Forged, "forged", false, "only mails with a wrong signature")
	f.StringVar(&o.address, "address", "", "only those about this `address` of ours")
	f.IntVar(&o.filter.Limit, "limit", 100, "at most this `number` of mails; 0: all")
	return cmd
}

// bounceJSON is a recorded mail for scripts.
type bounceJSON struct {
	ID        int64           `json:"id"`
	ReadAt    string          `json:"read_at"`
	Source    string          `json:"source"`
	Kind      string          `json:"kind"`
	Address   string          `json:"address"`
	Campaign  string          `json:"campaign"`
	MatchedBy string          `json:"matched_by"`
	Forged    bool            `json:"forged"`
	Bounces   []recipientJSON `json:"bounces"`
	Changed   []string        `json:"changed"`
}

func runBouncesList(ctx context.Context, a *app, o bouncesListOptions) error {
	var err error
	if o.address != "" {
		if o.filter.Key, err = keyOf(o.address); err != nil {
			return err
		}
	}
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	var rows [][]string
	err = st.Bounces(ctx, o.filter, func(b store.BounceRow) error {
		line := verdictLine("", b.Verdict)
		rows = append(rows, []string{fmt.Sprint(b.ID), a.stamp(b.ReadAt), b.Kind, bounceAddress(b), bounceReason(b), b.Campaign, strings.Join(b.Changed, "; ")})
		return a.out.Emit("bounce", bounceJSON{b.ID, b.ReadAt.Format("2006-01-02T15:04:05Z07:00"), b.Source, b.Kind, b.Address, b.Campaign, b.MatchedBy, b.Forged, line.Bounces, append([]string{}, b.Changed...)})
	})
	if err != nil || a.out.JSON {
		return err
	}
	if len(rows) == 0 {
		a.out.Println("No mail of that kind was read yet. mailer bounces sync reads the mailbox.")
		return nil
	}
	a.out.Table([]string{"id", "read", "kind", "address", "reason", "campaign", "changed"}, rows, 0)
	return nil
}

// bounceAddress is our recipient, or in brackets whom an unproven report names.
func bounceAddress(b store.BounceRow) string {
	switch {
	case b.Address != "":
		return b.Address
	case len(b.Verdict.Bounces) > 0:
		return "(" + b.Verdict.Bounces[0].Recipient + ")"
	}
	return ""
}

func bounceReason(b store.BounceRow) string {
	switch {
	case b.Forged:
		return "forged"
	case len(b.Verdict.Bounces) > 0:
		r := b.Verdict.Bounces[0]
		return strings.TrimSpace(r.Status + " " + r.Reason)
	}
	return b.Verdict.FeedbackType
}
