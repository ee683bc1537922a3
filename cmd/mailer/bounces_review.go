package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/collect"
	"mailer/internal/delivery"
	"mailer/internal/store"
	"mailer/internal/suppression"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const bouncesShowHelp = `Show one recorded mail: what was understood of it, what proves whom it is about, and what it did.

  mailer bounces show 12
  mailer bounces show 12 --raw > returned.eml     # the mail itself, as long as bounces.retention keeps it`

func newBouncesShowCmd(a *app) *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one recorded mail, with its evidence and what it did",
		Long:  bouncesShowHelp,
		Args:  exactArgs(1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseMailID(args[0])
			if err != nil {
				return err
			}
			return runBouncesShow(cmd.Context(), a, id, raw)
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "print the mail as it came")
	return cmd
}

func runBouncesShow(ctx context.Context, a *app, id int64, raw bool) error {
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	if raw {
		text, err := st.BounceMail(ctx, id)
		if err != nil {
			return err
		}
		_, err = a.out.Data().Write(text)
		return err
	}
	b, err := st.Bounce(ctx, id)
	if err != nil {
		return err
	}
	keys, err := st.TokenKeys(ctx)
	if err != nil {
		return err
	}
	told := howProven(b, keys)
	if err := a.out.Emit("bounce", struct {
		bounceJSON
		Family       string   `json:"family"`
		Complainants []string `json:"complainants"`
		FeedbackType string   `json:"feedback_type"`
		State        string   `json:"state"`
		Sent         string   `json:"sent"`
		Kept         bool     `json:"kept"`
		Proof        []string `json:"proof"`
		Replies      []string `json:"replies"`
	}{bounceLine(b), b.Verdict.Family, append([]string{}, b.Verdict.Complainants...), b.Verdict.FeedbackType, string(b.State), stampJSON(b.Sent), !b.Purged,
		told, replies(b)}); err != nil {
		return err
	}
	if !a.out.JSON {
		showBounce(a, b, told)
	}
	return nil
}

func stampJSON(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

func replies(b store.BounceRow) []string {
	all := []string{}
	for _, r := range b.Verdict.Bounces {
		all = append(all, r.Text)
	}
	return all
}

func showBounce(a *app, b store.BounceRow, told []string) {
	rows := [][]string{{"Mail", fmt.Sprint(b.ID)}, {"Kind", kindWords(b)}, {"Read", a.stamp(b.ReadAt) + " from " + b.Source}}
	if b.Verdict.MessageID != "" {
		rows = append(rows, []string{"Message-ID", "<" + b.Verdict.MessageID + ">"})
	}
	if b.Address != "" {
		rows = append(rows, []string{"About", fmt.Sprintf("%s, campaign %s, now %s", b.Address, b.Campaign, b.State)})
	}
	for _, t := range told {
		rows = append(rows, []string{"Proof", t})
	}
	for _, r := range b.Verdict.Bounces {
		how := "soft"
		if r.Hard {
			how = "hard"
		}
		rows = append(rows, []string{"Recipient", fmt.Sprintf("%s %s, %s: %s (%s)", r.Recipient, r.Action, how, r.Reason, bounce.Words(r.Reason))})
		if r.Text != "" {
			rows = append(rows, []string{"Said", r.Text})
		}
	}
	if b.Verdict.Sender != "" {
		rows = append(rows, []string{"Asks", b.Verdict.Sender + ", by the mail's own word"})
	}
	for _, c := range b.Verdict.Complainants {
		rows = append(rows, []string{"Complained", c})
	}
	for _, c := range b.Changed {
		rows = append(rows, []string{"Did", c})
	}
	switch {
	case b.Waiting():
		rows = append(rows, []string{"Waits", fmt.Sprintf("for your word: mailer bounces confirm %d %s, mailer bounces dismiss %d lets it be", b.ID, confirming(b), b.ID)})
	case b.Decided != "":
		rows = append(rows, []string{"Decided", b.Decided})
	}
	if b.Purged {
		rows = append(rows, []string{"Evidence", "the mail itself is not kept any more"})
	}
	for _, row := range rows {
		row[1] = clean(row[1])
	}
	a.out.Table(nil, rows)
}

// confirming is what a person's yes would do.
func confirming(b store.BounceRow) string {
	switch {
	case b.Asks:
		return "unsubscribes them"
	case b.Kind == bounce.KindComplaint:
		return "suppresses the address for all mail"
	case b.Kind == bounce.KindBounce:
		return "counts it as a bounce of the last message that went there"
	}
	return "unsubscribes the address"
}

func kindWords(b store.BounceRow) string {
	words := b.Kind
	if b.Verdict.Family != "" {
		words += ", read as " + b.Verdict.Family
	}
	if b.Asks {
		words += ", a person asks to be left alone"
	}
	if b.Verdict.FeedbackType != "" {
		words += ", " + b.Verdict.FeedbackType
	}
	return words
}

// longAfter is when a report comes so late that no queue can have held it.
const longAfter = 30 * 24 * time.Hour

// howProven says what in a mail leads to its delivery, and what is odd about it.
func howProven(b store.BounceRow, keys delivery.Keys) []string {
	told := []string{}
	for _, t := range b.Verdict.Tokens {
		_, _, err := keys.Verify(t.Text)
		version := delivery.Version(t.Text)
		switch {
		case err != nil:
			told = append(told, fmt.Sprintf("%s in the %s is not one that we signed: the mail is forged and changes nothing", t.Text, placeWords[t.Where]))
		case t.Where != b.MatchedBy:
		case version < keys.Newest():
			told = append(told, fmt.Sprintf("%s in the %s, signed with key %d, from before a rotation", t.Text, placeWords[t.Where], version))
		default:
			told = append(told, fmt.Sprintf("%s in the %s, signed by us", t.Text, placeWords[t.Where]))
		}
	}
	switch {
	case b.MatchedBy == "person":
		told = append(told, "no signature: a person confirmed it")
	case len(b.Verdict.Tokens) == 0 && (b.Kind != bounce.KindOther || b.Asks):
		told = append(told, "none: nothing in it is signed by us")
	case b.MatchedBy != "" && b.Delivery == 0:
		told = append(told, "the delivery that it names is not there any more")
	}
	if gap := b.ReadAt.Sub(b.Sent); b.Kind == bounce.KindBounce && b.Delivery != 0 && !b.Sent.IsZero() && gap > longAfter {
		told = append(told, fmt.Sprintf("it came %d days after the message: an old token, used again", int(gap.Hours()/24)))
	}
	return told
}

var placeWords = map[string]string{
	bounce.WhereReturnPath: "return path", bounce.WhereEnvelopeID: "envelope id", bounce.WhereMessageID: "Message-ID", bounce.WhereUnsubscribe: "unsubscribe address",
}

const bouncesConfirmHelp = `Act on mails that wait for your word (mailer bounces list --waiting).

A report without our signature changes nothing by itself: anybody can write one. Confirmed, it counts as one about the last
message that went to each address it names. An answer in which somebody asks to be left alone unsubscribes that person.
Mails with a wrong signature cannot be confirmed.`

func newBouncesConfirmCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "confirm ID...",
		Short: "Act on mails that wait for your word",
		Long:  bouncesConfirmHelp,
		Args:  mailIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachMail(cmd.Context(), a, args, "confirmed", func(ctx context.Context, st *store.Store, id int64) (int, error) {
				who, done, err := collect.Confirm(ctx, st, id)
				suppressed := 0
				for i, r := range done {
					if r.Suppressed {
						suppressed++
					}
					a.out.Printf("%d: %s: %s\n", id, clean(who[min(i, len(who)-1)]), orNothing(r.Changed))
				}
				return suppressed, err
			})
		},
	}
}

func orNothing(changed []string) string {
	if len(changed) == 0 {
		return "nothing to change"
	}
	return strings.Join(changed, "; ")
}

func newBouncesDismissCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "dismiss ID...",
		Short: "Let mails that wait for your word do nothing",
		Args:  mailIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachMail(cmd.Context(), a, args, "dismissed", func(ctx context.Context, st *store.Store, id int64) (int, error) {
				return 0, st.DismissMail(ctx, id)
			})
		},
	}
}

func mailIDs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage("%s needs an ID; mailer bounces list --waiting shows them", cmd.CommandPath())
	}
	return nil
}

// eachMail decides about mails. One that cannot be decided does not keep the others from it.
func eachMail(ctx context.Context, a *app, args []string, word string, decide func(context.Context, *store.Store, int64) (int, error)) error {
	var ids []int64
	for _, arg := range args {
		id, err := parseMailID(arg)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	decided, suppressed := 0, 0
	var failed error
	for _, id := range ids {
		n, err := decide(ctx, st, id)
		if err != nil && !errors.Is(err, store.ErrNotWaiting) && !errors.Is(err, store.ErrNoMail) && len(ids) == 1 {
			return err
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		decided, suppressed = decided+1, suppressed+n
	}
	if err := a.out.Emit("summary", struct {
		Decided    int    `json:"decided"`
		Word       string `json:"word"`
		Suppressed int    `json:"suppressed"`
	}{decided, word, suppressed}); err != nil {
		return err
	}
	a.out.Printf("%d %s\n", decided, word)
	return failed
}

const bouncesUndoHelp = `Take back what bounces and refusals have suppressed since a time, all in one go: after a fault of a provider, a block, a rule
that was wrong. The suppressions are lifted and the addresses begin again without a score; the history keeps both. That
those messages did not arrive stays as it is.

The wishes of people stay too: unsubscribes and complaints are taken back only when --reason names them.

  mailer bounces undo --since '2026-12-01 09:00' --provider docomo --dry-run
  mailer bounces undo --since 2h --campaign 2026-12-news --yes`

// undoable is what bounces, complaints and unsubscribe mails suppress for.
var undoable = []string{suppression.HardBounce, suppression.SoftBounces, suppression.Complaint, suppression.Unsubscribe}

type bouncesUndoOptions struct {
	since, until, provider, campaign string
	reasons                          []string
	dryRun, yes                      bool
}

func newBouncesUndoCmd(a *app) *cobra.Command {
	var o bouncesUndoOptions
	cmd := &cobra.Command{
		Use:   "undo --since TIME",
		Short: "Take back what bounces have suppressed since a time",
		Long:  bouncesUndoHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runBouncesUndo(cmd.Context(), a, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.since, "since", "", "from this `time` on, 2026-12-01 09:30, or so long ago, as 2h or 3d")
	f.StringVar(&o.until, "until", "", "up to this `time`")
	f.StringVar(&o.provider, "provider", "", "only of this receiving `provider`: its name, or a domain")
	f.StringVar(&o.campaign, "campaign", "", "only by messages of this `campaign`")
	f.StringSliceVar(&o.reasons, "reason", []string{suppression.HardBounce, suppression.SoftBounces}, "only these `reasons`: hard_bounce, soft_bounces, complaint, unsubscribe")
	f.BoolVar(&o.dryRun, "dry-run", false, "tell what would be taken back")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	return cmd
}

func runBouncesUndo(ctx context.Context, a *app, o bouncesUndoOptions) error {
	if o.since == "" {
		return usage("bounces undo needs --since TIME: from when on what was suppressed is taken back")
	}
	for _, r := range o.reasons {
		if !slices.Contains(undoable, r) {
			return usage("--reason takes %s, not %q: others no bounce has made", strings.Join(undoable, ", "), r)
		}
	}
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	u := store.Undo{Reasons: o.reasons, DryRun: true}
	if u.Since, err = a.timeFlag("--since", o.since); err != nil {
		return err
	}
	if u.Until, err = a.timeFlag("--until", o.until); err != nil {
		return err
	}
	if u.Until.IsZero() {
		u.Until = a.now() // what is asked about is what is done
	}
	if !u.Since.Before(u.Until) {
		return usage("--since %s is not before --until %s: nothing lies between", a.stamp(u.Since), a.stamp(u.Until))
	}
	if o.campaign != "" {
		c, err := findCampaign(ctx, st, o.campaign)
		if err != nil {
			return err
		}
		u.Campaign = c.Name
	}
	providers, err := ws.Providers()
	if err != nil {
		return err
	}
	u.Lane = laneNamed(providers, o.provider)
	n, err := st.UndoBounces(ctx, u, func(r store.TakenBack) error {
		a.out.Printf("%s  %s since %s%s\n", clean(r.Key), r.Reason, a.stamp(r.Since), orWith(", campaign ", r.Campaign))
		return a.out.Emit("suppression", suppressionLine(r.SuppressionRow))
	})
	if err != nil {
		return err
	}
	if n > 0 && !o.dryRun {
		if err := confirmUndo(ctx, a, n, o.yes); err != nil {
			return err
		}
		u.DryRun = false
		if n, err = st.UndoBounces(ctx, u, func(store.TakenBack) error { return nil }); err != nil {
			return err
		}
	}
	if err := a.out.Emit("summary", struct {
		Undone int64 `json:"undone"`
		DryRun bool  `json:"dry_run"`
	}{n, o.dryRun}); err != nil {
		return err
	}
	switch {
	case n == 0:
		a.out.Println("Nothing was suppressed by bounces in that time.")
	case o.dryRun:
		a.out.Printf("%s would be lifted. Nothing was changed: this was a dry run.\n", ui.Count(n, "suppression", "suppressions"))
	default:
		a.out.Printf("%s lifted. Whom a running campaign left out because of them stays out; mailer send CAMPAIGN --retry failed tries again who was refused.\n", ui.Count(n, "suppression", "suppressions"))
	}
	return nil
}

func orWith(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

func confirmUndo(ctx context.Context, a *app, n int64, yes bool) error {
	if yes {
		return nil
	}
	if !a.interactive() {
		return usage("nobody is here to confirm: add --yes")
	}
	answer, err := a.ask(ctx, fmt.Sprintf("Type the number of suppressions (%d) to lift them, anything else to stop: ", n))
	if err != nil {
		return err
	}
	if answer != fmt.Sprint(n) {
		return &exit{exitSafety, errors.New("not confirmed: nothing was changed")}
	}
	return nil
}

const bouncesReplayHelp = `Judge the recorded mails anew, by the rules of this version and the policy in mailer.yaml, and show for whom something else would
follow. With --apply it is done: what such a mail did is taken back, and done by the new verdict.

Mails about which a person has decided stay as they are; those whose bytes are not kept any more are not looked at.

  mailer bounces replay
  mailer bounces replay --since 30d --apply`

func newBouncesReplayCmd(a *app) *cobra.Command {
	var since string
	var apply bool
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Judge recorded mails anew and show what would change",
		Long:  bouncesReplayHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runBouncesReplay(cmd.Context(), a, since, apply) },
	}
	cmd.Flags().StringVar(&since, "since", "", "only mails that were read since this `time`, or so long ago, as 30d")
	cmd.Flags().BoolVar(&apply, "apply", false, "change what is shown")
	return cmd
}

// rejudgedJSON is a mail that is judged anew, for scripts.
type rejudgedJSON struct {
	ID      int64    `json:"id"`
	Address string   `json:"address"`
	Was     string   `json:"was"`
	Is      string   `json:"is"`
	Changed []string `json:"changed"`
}

func runBouncesReplay(ctx context.Context, a *app, since string, apply bool) error {
	_, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	o := collect.ReplayOptions{Apply: apply}
	if o.Since, err = a.timeFlag("--since", since); err != nil {
		return err
	}
	keys, err := st.TokenKeys(ctx)
	if err != nil {
		return err
	}
	o.Each = func(r store.Rejudged) error {
		line := rejudgedJSON{ID: r.Was.ID, Address: bounceAddress(r.Was), Was: verdictWords(r.Was), Is: verdictWords(r.Is), Changed: append([]string{}, r.Changed...)}
		a.out.Printf("%d  %s: %s -> %s: %s\n", line.ID, clean(line.Address), clean(line.Was), clean(line.Is), orNothing(r.Changed))
		return a.out.Emit("replayed", line)
	}
	sum, err := collect.Replay(ctx, st, keys, o)
	if emitted := a.out.Emit("summary", struct {
		collect.ReplaySummary
		Applied bool `json:"applied"`
	}{sum, apply}); err == nil {
		err = emitted
	}
	if sum.Read == 0 && err == nil {
		a.out.Println("No mail is kept that could be judged anew.")
		return nil
	}
	a.out.Printf("%s judged anew, something else follows from %d: %d suppressed, %d lifted; %d left as a person decided\n", ui.Count(sum.Read, "mail", "mails"), sum.Changed, sum.Suppress, sum.Lifted, sum.Decided)
	if sum.Changed > 0 && !apply {
		a.out.Println("Nothing was changed yet: --apply does it.")
	}
	return err
}

// verdictWords is a verdict in few words.
func verdictWords(b store.BounceRow) string {
	words := []string{b.Kind}
	if b.Forged {
		words = append(words, "forged")
	}
	for i, r := range b.Verdict.Bounces {
		if i == 0 {
			words = append(words, strings.TrimSpace(r.Status+" "+r.Reason))
			if r.Hard {
				words = append(words, "hard")
			}
		}
	}
	return strings.Join(words, ", ")
}
