package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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
		Long:    "Read the bounce mailbox, keep the list clean, explain refusals. `mailer help cleaning` is the manual of what bounces do.",
	}
	cmd.AddCommand(newBouncesSyncCmd(a), newBouncesListCmd(a), newBouncesShowCmd(a), newBouncesConfirmCmd(a), newBouncesDismissCmd(a),
		newBouncesUndoCmd(a), newBouncesReplayCmd(a), newBouncesFreezesCmd(a), newBouncesReleaseCmd(a), newBouncesRotateKeyCmd(a),
		newBouncesParseCmd(a), newBouncesExplainCmd(a))
	return cmd
}

const bouncesSyncHelp = `Read the bounce mailbox: failed deliveries, complaints, unsubscribe mails, automatic replies.

Each mail is recorded with all that follows from it, and then moved to the processed folder. Dead addresses, complaints and
unsubscribes are suppressed at once, soft bounces when they add up (mailer help cleaning). Only a mail that carries the signed address
or id of one of our deliveries changes anything; others are counted as unmatched, those with a wrong signature as forged.

The summary of --json counts each mail that was read once: as one of bounces (hard + soft), complaints, unsubscribes, autoreplies,
unmatched, forged, asking (a person asks to be left alone), delayed, repeated (seen before) and others.

It can be interrupted at any moment and run again: each mail is acted on once.

Exit codes: 0 all was read, or --watch was stopped; 2 configuration, password or certificate; 4 interrupted or not reachable, run it
again; 6 another process is reading; 75 a mail on standard input could not be recorded.`

type bouncesSyncOptions struct {
	source string
	after  string
	dryRun bool
	watch  bool
	limit  int
	quiet  bool // no progress: other things are shown beside it
	table  *collect.Table
}

func newBouncesSyncCmd(a *app) *cobra.Command {
	var o bouncesSyncOptions
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Read the bounce mailbox and act on it",
		Long:  bouncesSyncHelp + bouncesSourcesHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runBouncesSync(cmd.Context(), a, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.source, "source", "", "read the mailbox of this `URL` or path instead; - is one mail on standard input")
	f.StringVar(&o.after, "after", "", "`what` is done with a mail after it was recorded: move, flag, delete or leave (default: as mailer.yaml says)")
	f.BoolVar(&o.dryRun, "dry-run", false, "tell what would be done, change and move nothing")
	f.BoolVar(&o.watch, "watch", false, "go on: read what comes, until a signal ends it")
	f.IntVar(&o.limit, "limit", 0, "read at most this `number` of mails")
	return cmd
}

func runBouncesSync(ctx context.Context, a *app, o bouncesSyncOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	err := runSync(ctx, a, o)
	if err != nil && o.source == "-" {
		return &exit{exitTempFail, err}
	}
	return err
}

func runSync(ctx context.Context, a *app, o bouncesSyncOptions) error {
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	if o.table, err = newSyncTable(ctx, ws, st); err != nil {
		return err
	}
	sum, err := syncAlone(ctx, a, ws, st, o)
	err = syncResult(err, sum.Read > 0)
	if err != nil && sum.Read == 0 {
		if exitCode(err) != exitLeft {
			return err
		}
		return errors.Join(err, a.out.Emit("summary", sum))
	}
	if err := showSyncTable(a, ws, o.table); err != nil {
		return err
	}
	if err := a.out.Emit("summary", sum); err != nil {
		return err
	}
	tellSync(a, sum, o.dryRun)
	return err
}

// syncResult turns how reading the mailbox ended into an exit code. begun: something was read.
func syncResult(err error, begun bool) error {
	var away *mailbox.Error
	switch {
	case errors.As(err, &away) && away.Config:
		return &exit{exitUsage, err}
	case errors.Is(err, context.Canceled):
		return &exit{exitLeft, errors.New("stopped; the same command goes on where it was")}
	case errors.As(err, &away) && !begun:
		return &exit{exitLeft, fmt.Errorf("nothing could be read, the next run tries again: %w", err)}
	case errors.As(err, &away):
		return &exit{exitLeft, fmt.Errorf("stopped; the same command goes on where it was: %w", err)}
	}
	return err
}

// syncBounces reads one mailbox into an open store.
func syncBounces(ctx context.Context, a *app, ws *config.Workspace, st *store.Store, o bouncesSyncOptions) (collect.Summary, error) {
	r, err := newReader(ctx, a, ws, st, o)
	if err != nil {
		return collect.Summary{}, err
	}
	bar := syncBar{a: a}
	defer bar.close()
	r.Each = func(out collect.Outcome) {
		if o.table != nil {
			o.table.Add(out)
		}
		if !o.quiet && !o.watch {
			bar.set(out.N, out.Total)
		}
		if o.dryRun {
			tellOutcome(a, out)
		}
		if out.Froze != nil { // told at once: a watch goes on for days
			a.tellFreeze(*out.Froze, o.dryRun)
		}
	}
	if !o.watch {
		sum, err := r.Once(ctx)
		if err == nil && !o.dryRun {
			sum.Purged, err = purgeMails(ctx, a, ws, st)
		}
		return sum, err
	}
	r.Round = func(sum collect.Summary) {
		a.out.Emit("synced", sum)
		if !a.out.JSON {
			a.out.Printf("%s ", a.stamp(a.now()))
			tellSync(a, sum, false)
		}
	}
	if a.out.Watched() {
		a.out.Notef("watching the bounce mailbox; Ctrl-C ends it")
	}
	return r.Watch(ctx)
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
	case o.Delayed():
		what = "warning that the message to " + o.Address + " is delayed"
	default:
		what += " about " + o.Address
	}
	switch {
	case o.Held != nil:
		what += ": " + o.Reason + ", would be held back: " + o.Held.Lane + " is frozen"
	case o.Suppressed:
		what += ": would be suppressed (" + o.Suppress + ")"
	case o.Suppress != "":
		what += ": " + o.Suppress + ", which it is suppressed for already"
	case o.Reason != "":
		what += ": " + o.Reason
	}
	a.out.Printf("%d. %s\n", o.N, clean(what))
}

func tellSync(a *app, s collect.Summary, dryRun bool) {
	if a.out.JSON {
		return
	}
	if s.Read == 0 && s.Purged == 0 {
		a.out.Println("0 mails read: nothing new has come.")
		return
	}
	a.out.Printf("%s read: %s (%d hard, %d soft), %s, %s, %s\n", ui.Count(s.Read, "mail", "mails"), ui.Count(s.Bounces, "bounce", "bounces"),
		s.Hard, s.Soft, ui.Count(s.Complaints, "complaint", "complaints"), ui.Count(s.Unsubscribes, "unsubscribe", "unsubscribes"),
		ui.Count(s.Autoreplies, "automatic reply", "automatic replies"))
	if s.Unmatched > 0 {
		a.out.Printf("%d led to no delivery of ours and changed nothing%s\n", s.Unmatched, unless(dryRun, ": mailer bounces list --unmatched"))
	}
	if s.Forged > 0 {
		a.out.Printf("%d carried a wrong signature and changed nothing%s\n", s.Forged, unless(dryRun, ": mailer bounces list --forged"))
	}
	if n := s.Unmatched + s.Asking; n > 0 && dryRun {
		a.out.Printf("%s for your word\n", ui.Count(n, "mail would wait", "mails would wait"))
	} else if n > 0 {
		a.out.Printf("%s for your word: mailer bounces list --waiting\n", ui.Count(n, "mail waits", "mails wait"))
	}
	if told := countedOthers(s); told != "" {
		a.out.Printf("%s changed nothing\n", told)
	}
	if s.Purged > 0 {
		a.out.Printf("%s older than bounces.retention: the bytes were erased\n", ui.Count(s.Purged, "mail", "mails"))
	}
	if dryRun {
		a.out.Printf("%s would be suppressed%s. Nothing was changed: this was a dry run.\n", ui.Count(s.Suppressed, "address", "addresses"), orHeld(s))
		return
	}
	a.out.Printf("%s suppressed%s\n", ui.Count(s.Suppressed, "address", "addresses"), orHeld(s))
}

// countedOthers are the mails that are none of the kinds that do something.
func countedOthers(s collect.Summary) string {
	var parts []string
	for _, c := range []struct {
		n         int
		one, many string
	}{
		{s.Delayed, "warning of a delay", "warnings of a delay"},
		{s.Others, "report that all went well or ordinary mail", "reports that all went well or ordinary mails"},
		{s.Repeated, "mail seen before", "mails seen before"},
	} {
		if c.n > 0 {
			parts = append(parts, ui.Count(c.n, c.one, c.many))
		}
	}
	return strings.Join(parts, ", ")
}

// orHeld is what was not suppressed because of a freeze.
func orHeld(s collect.Summary) string {
	if s.Held == 0 {
		return ""
	}
	return fmt.Sprintf(", %d held back (mailer bounces freezes)", s.Held)
}

func unless(not bool, text string) string {
	if not {
		return ""
	}
	return text
}

const bouncesParseHelp = `Say what mails mean, without a workspace: what kind each is, who was not reached, why, and whether the address is dead.

FILE is a mail as it came, "-" is standard input. One that cannot be read is told of and does not keep back the others (exit code 3).
--json prints a line a mail, and that whatever the mail is: broken, empty, no mail at all.`

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
	unread := 0
	for _, file := range files {
		raw, err := readMail(a, file)
		if err != nil && len(files) == 1 {
			return err
		}
		if err != nil {
			unread++
			a.out.Notef("mailer: %s", clean(err.Error()))
			continue
		}
		v := bounce.Parse(raw)
		if err := a.out.Emit("mail", verdictLine(file, v)); err != nil {
			return err
		}
		if !a.out.JSON {
			tellVerdict(a, file, v)
		}
	}
	switch {
	case unread == len(files):
		return fmt.Errorf("none of the %d files could be read", unread)
	case unread > 0:
		return &exit{exitSome, fmt.Errorf("%d of %d files could not be read, the others were", unread, len(files))}
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
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a folder: name the mails that lie in it", file)
	}
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

const bouncesListHelp = `List the mails that were read, the newest first: whom each is about, why, and what it changed. An address in brackets is what an
unproven mail names. On a narrow terminal each takes two lines.

  mailer bounces list --waiting                # what only you can decide: bounces confirm ID, bounces dismiss ID
  mailer bounces list --address taro@example.jp
  mailer bounces list --kind complaint --since 7d --json`

type bouncesListOptions struct {
	filter  store.BounceFilter
	address string
	since   string
}

func newBouncesListCmd(a *app) *cobra.Command {
	var o bouncesListOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the mails that were read, the newest first",
		Long:  bouncesListHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runBouncesList(cmd.Context(), a, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.filter.Kind, "kind", "", "only this `kind`: bounce, complaint, autoreply, delivered, unsubscribe or not-a-bounce")
	f.BoolVar(&o.filter.Unmatched, "unmatched", false, "only reports that led to no delivery of ours")
	f.BoolVar(&o.filter.Forged, "forged", false, "only mails with a wrong signature")
	f.BoolVar(&o.filter.Waiting, "waiting", false, "only mails that wait for your word: bounces confirm ID, or bounces dismiss ID")
	f.StringVar(&o.since, "since", "", "only those read since this `time`, 2026-12-01 09:30, or so long ago, as 2h or 3d")
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
	Waiting   bool            `json:"waiting"`
	Asks      bool            `json:"asks"`
	Decided   string          `json:"decided"`
	Sender    string          `json:"sender,omitempty"` // who asks to be left alone, by the mail's own word
}

func bounceLine(b store.BounceRow) bounceJSON {
	return bounceJSON{b.ID, b.ReadAt.Format("2006-01-02T15:04:05Z07:00"), b.Source, b.Kind, b.Address, b.Campaign, b.MatchedBy, b.Forged,
		verdictLine("", b.Verdict).Bounces, append([]string{}, b.Changed...), b.Waiting(), b.Asks, b.Decided, b.Verdict.Sender}
}

func runBouncesList(ctx context.Context, a *app, o bouncesListOptions) error {
	var err error
	if k := o.filter.Kind; k != "" && !slices.Contains(bounceKinds, k) {
		return usage("--kind takes %s, not %q", strings.Join(bounceKinds, ", "), k)
	}
	if o.filter.Limit < 0 {
		return usage("--limit cannot be negative; 0 lists all")
	}
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
	if o.filter.Since, err = a.timeFlag("--since", o.since); err != nil {
		return err
	}
	var rows [][]string
	waiting := 0
	err = st.Bounces(ctx, o.filter, func(b store.BounceRow) error {
		if b.Waiting() {
			waiting++
		}
		rows = append(rows, []string{fmt.Sprint(b.ID), a.stamp(b.ReadAt), b.Kind, clean(bounceAddress(b)), clean(bounceReason(b)), b.Campaign, bounceDone(b)})
		return a.out.Emit("bounce", bounceLine(b))
	})
	if err != nil {
		return err
	}
	if a.out.JSON {
		return a.out.Emit("summary", map[string]int{"mails": len(rows)})
	}
	switch {
	case len(rows) == 0 && o.filter.Waiting:
		a.out.Println("No mail waits for your word.")
		return nil
	case len(rows) == 0:
		a.out.Println("No mail of that kind was read yet. mailer bounces sync reads the mailbox.")
		return nil
	}
	a.out.List(4, []string{"id", "read", "kind", "address", "reason", "campaign", "changed"}, rows, 0)
	if waiting > 0 {
		a.out.Printf("\n%s for your word: mailer bounces show ID tells all of it, mailer bounces confirm ID acts on it, mailer bounces dismiss ID lets it be\n",
			ui.Count(waiting, "mail waits", "mails wait"))
	}
	if len(rows) == o.filter.Limit {
		a.out.Printf("\nThese are the newest %d; --limit 0 lists all.\n", len(rows))
	}
	return nil
}

var bounceKinds = []string{bounce.KindBounce, bounce.KindComplaint, bounce.KindAutoreply, bounce.KindDelivered, bounce.KindUnsubscribe, bounce.KindOther}

// bounceDone is what a mail changed, or that it waits.
func bounceDone(b store.BounceRow) string {
	switch {
	case b.Waiting():
		return fmt.Sprintf("waits: bounces confirm %d, or dismiss %d", b.ID, b.ID)
	case b.Decided == "dismissed":
		return "dismissed"
	}
	return strings.ReplaceAll(strings.Join(b.Changed, "; "), "delivery: accepted -> ", "")
}

// bounceAddress is our recipient, or in brackets whom an unproven report names.
func bounceAddress(b store.BounceRow) string {
	switch {
	case b.Address != "":
		return b.Address
	case len(b.Verdict.Bounces) > 0:
		return "(" + b.Verdict.Bounces[0].Recipient + ")"
	case len(b.Verdict.Complainants) > 0:
		return "(" + b.Verdict.Complainants[0] + ")"
	case b.Verdict.Sender != "":
		return "(" + b.Verdict.Sender + ")"
	}
	return ""
}

func bounceReason(b store.BounceRow) string {
	switch {
	case b.Forged:
		return "forged"
	case b.Asks:
		return "asks to be left alone"
	case len(b.Verdict.Bounces) > 0:
		r := b.Verdict.Bounces[0]
		if r.Action == bounce.ActionDelayed {
			return strings.TrimSpace(r.Status + " delayed")
		}
		return strings.TrimSpace(r.Status + " " + r.Reason)
	}
	return b.Verdict.FeedbackType
}
