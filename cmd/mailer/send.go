package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"mailer/internal/config"
	"mailer/internal/message"
	"mailer/internal/pace"
	"mailer/internal/relay"
	"mailer/internal/send"
	"mailer/internal/store"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const sendHelp = `Send a campaign: to everybody in its audience, exactly once each.

The first send freezes the campaign: its content, its audience and its way. Running the same command again, after a
crash, a Ctrl-C or from cron, sends only what is left. A new id in the campaign file makes a new campaign.

Recipients in doubt (the connection ended between a message and its reply) are shown as uncertain and neither sent
again nor dropped, until you say --resolve-uncertain resend or sent.

A terminal shows how the send goes, with a line for each of the largest receiving providers. In a log a line a minute tells it, from the
first minute on; scripts get a progress line each ten seconds with --json.

With --at nothing is sent now: the campaign is checked and agreed to as always, and kept with its content, audience and
options until mailer run begins it at that time. Who is in the audience is seen then; a file that is edited later changes
nothing. The same command again replaces the plan; mailer send CAMPAIGN without --at begins it at once; mailer campaigns
list shows what is planned, mailer campaigns cancel takes it off.

The first send asks the DNS, two seconds at most: what does not fit your own configuration (a key that is not the published one, a From that
cannot be answered, DMARC that refuses what nothing stands for) stops it, what is not known stops nothing. --force sends all the
same, checks: dns: warn or off in mailer.yaml does so always. Answers without a failure hold for an hour. Nothing is asked in a rehearsal: where all
relays are on this machine and at no port of mail servers (25, 465, 587), unless dns: servers: in mailer.yaml says whom.

With --canary 500 five hundred go first, of every provider in proportion; the rest waits 30 minutes (--hold) for what comes back, and
goes only if bounces, refusals and complaints are below the levels of breakers: in mailer.yaml.

Exit codes: 0 everybody was sent to; 3 some failed or are uncertain; 4 recipients are left, run it again (deferred mail,
a limit, the hours, a signal, a relay that is away); 5 stopped by a check, by a breaker or by the relay refusing us; 6 another process is
sending it.`

type sendOptions struct {
	request send.Request
	rates   []string
	retry   string
	wait    string
	hold    string
	dryRun  bool
	yes     bool
	force   bool
	expect  int64
	test    string
	as      string
	when    sendTimes
}

func newSendCmd(a *app) *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:   "send CAMPAIGN",
		Short: "Send a campaign, or what is left of it",
		Long:  sendHelp,
		Args:  exactArgs(1, "CAMPAIGN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.request.Campaign = args[0]
			return runSend(cmd.Context(), a, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.request.Segment, "segment", "", "send to the saved segment of this `name`")
	f.StringVar(&o.request.Where, "where", "", "send to contacts for which this `expression` holds (with --segment: both)")
	f.StringSliceVar(&o.request.Lists, "list", nil, "send to contacts on the list of this `name` (repeat it for several)")
	f.StringVar(&o.request.Exclude, "exclude", "", "leave out contacts for which this `expression` holds")
	f.IntVar(&o.request.Connections, "concurrency", 0, "the `number` of connections to the relay (default: the relay's own setting)")
	f.StringSliceVar(&o.rates, "rate", nil, "at most so many messages, as `100/s`, 5000/h; several hold at once")
	f.StringVar(&o.request.Relay, "relay", "", "send through the relay of this `name`")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the whole plan and send nothing")
	f.StringVar(&o.test, "test", "", "send one message to this `address` only; nothing is recorded")
	f.StringVar(&o.as, "as", "", "with --test: fill it in as for the contact with this `address`")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	f.BoolVar(&o.force, "force", false, "send although the DNS says that the mail will not arrive")
	f.Int64Var(&o.expect, "expect", -1, "at the first send: stop unless exactly this `number` of recipients would be sent a message")
	f.Lookup("expect").DefValue = "0" // -1 is none, and no default to show
	f.Int64Var(&o.request.Limit, "limit", 0, "send at most this `number` of messages in this run (mailer run goes on with the rest)")
	f.StringVar(&o.wait, "wait", "", "stay this `duration` (30s, 10m, 2h) for mail that the relay deferred")
	f.StringVar(&o.retry, "retry", "", "try `failed` recipients again, but those whose address is dead")
	o.when.flags(cmd)
	f.Int64Var(&o.request.Canary, "canary", 0, "send to this `number` of recipients first, of all providers in proportion")
	f.StringVar(&o.hold, "hold", "", "with --canary: the `duration` that the rest waits to see what comes back (default 30m)")
	f.StringVar(&o.request.Resolve, "resolve-uncertain", "", "what becomes of the uncertain: `resend|sent`")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		// A script whose variable is empty must not mail everybody at once.
		for _, name := range []string{"at", "delay", "hold", "wait", "test", "relay", "segment", "where", "exclude"} {
			if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
				return usage("--%s is empty; leave it out, or say it", name)
			}
		}
		return o.check()
	}
	return cmd
}

// check refuses flags that make no sense before anything is opened.
func (o *sendOptions) check() error {
	switch o.retry {
	case "":
	case "failed":
		o.request.RetryFailed = true
	default:
		return usage("--retry takes failed, not %q", o.retry)
	}
	if r := o.request.Resolve; r != "" && r != send.ResolveResend && r != send.ResolveSent {
		return usage("--resolve-uncertain takes resend or sent, not %q", r)
	}
	if o.request.Connections < 0 || o.request.Limit < 0 {
		return usage("--concurrency and --limit cannot be negative")
	}
	if o.wait != "" {
		var err error
		if o.request.Wait, err = config.ParseDuration(o.wait); err != nil {
			return usage("--wait: %w", err)
		}
	}
	if err := o.checkCanary(); err != nil {
		return err
	}
	if o.as != "" && o.test == "" {
		return usage("--as goes with --test")
	}
	if err := o.when.check(o.test != ""); err != nil {
		return err
	}
	for _, text := range o.rates {
		r, err := pace.ParseRate(text)
		if err != nil {
			return usage("--rate: %w", err)
		}
		o.request.Rates = append(o.request.Rates, r)
	}
	return nil
}

// usualHold is how long the rest of a campaign waits for what becomes of a canary.
const usualHold = 30 * time.Minute

func (o *sendOptions) checkCanary() error {
	if o.request.Canary < 0 {
		return usage("--canary cannot be negative")
	}
	if o.hold != "" && o.request.Canary == 0 {
		return usage("--hold goes with --canary")
	}
	if o.request.Canary == 0 {
		return nil
	}
	o.request.Hold, o.request.Stay = usualHold, true
	if o.hold != "" {
		var err error
		if o.request.Hold, err = config.ParseDuration(o.hold); err != nil {
			return usage("--hold: %w", err)
		}
	}
	return nil
}

func runSend(ctx context.Context, a *app, o sendOptions) error {
	if !o.dryRun {
		// Ctrl-C ends the other programs of a pipe at once; writing to them must not kill us while mail is on the wire.
		signal.Ignore(syscall.SIGPIPE)
	}
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	o.request.Campaign = campaignArg(ws.Dir, o.request.Campaign)
	s := &send.Sender{Workspace: ws, Store: st, Now: a.now}
	if o.test != "" {
		return runTestSend(ctx, a, s, o)
	}
	if o.request.At, err = o.when.time(a); err != nil {
		return err
	}
	plan, err := s.Prepare(ctx, o.request)
	if err != nil {
		return err
	}
	var planned store.Schedule
	if !o.request.At.IsZero() {
		if planned, err = s.Schedule(plan, o.request.At); err != nil {
			return err
		}
	}
	var bad error
	if plan.New {
		if bad = checkNew(ctx, a, s, plan, o); bad != nil && exitCode(bad) != exitSafety {
			return bad
		}
	}
	if o.dryRun {
		return errors.Join(showPlan(ctx, a, s, plan), bad)
	}
	if bad != nil {
		return bad
	}
	if plan.New && !o.yes {
		if err := confirm(ctx, a, s, plan); err != nil {
			return err
		}
	}
	if !o.request.At.IsZero() {
		return putOnPlan(ctx, a, s, plan, planned)
	}
	if err := holdOff(ctx, a, plan, o.when.delay); err != nil {
		return err
	}
	s.Warn, s.Listen = func(text string) { a.out.Warnf("%s", text) }, listen(a, ws, st)
	s.Froze = func(f store.Freeze) { a.tellFreeze(f, false) }
	if !o.yes || o.expect >= 0 {
		plan.Audience.Exactly = plan.Counts.Sendable()
	}
	return deliver(ctx, a, s, plan)
}

// checkNew renders every recipient, and compares their number with what the user expects.
func checkNew(ctx context.Context, a *app, s *send.Sender, p *send.Plan, o sendOptions) error {
	if n := p.Counts.Sendable(); o.expect >= 0 && n != o.expect {
		return &exit{exitSafety, fmt.Errorf("%s would be sent a message, --expect says %d; mailer send %s --dry-run shows who", ui.Count(n, "recipient", "recipients"), o.expect, p.Name)}
	}
	if p.Counts.All == 0 {
		return usage("nobody is in the audience: %s; mailer segments count --where '...' tells how many an expression matches", p.Spec)
	}
	findings, err := preflight(ctx, a, s, p, send.Looking{}, o.dryRun)
	if err != nil {
		return err
	}
	dns := 0 // errors that --force passes over
	for i, f := range findings {
		if f.Rule != message.RuleDNS || f.Level != message.LevelError {
			continue
		}
		if dns++; o.force {
			findings[i].Level = message.LevelWarning
		}
	}
	switch n := tellFindings(a, findings); {
	case n > 0 && n == dns:
		return &exit{exitSafety, fmt.Errorf("%s: nothing was sent; mailer doctor domain says what to publish, --force sends all the same", ui.Count(n, "error", "errors"))}
	case n > 0:
		return &exit{exitSafety, fmt.Errorf("%s: nothing was sent; mend them, or set their level under checks: in mailer.yaml", ui.Count(n, "error", "errors"))}
	}
	return nil
}

func preflight(ctx context.Context, a *app, s *send.Sender, p *send.Plan, o send.Looking, dryRun bool) ([]send.Finding, error) {
	bar := a.out.Bar("checking", "messages", p.Counts.Sendable())
	defer bar.Close()
	o.Progress = bar.Set
	dns := askDNS(ctx, s, p, dryRun)
	findings, err := s.Check(ctx, p, o)
	asked := dns()
	if err == nil {
		err = ctx.Err() // what was not asked for want of time is one thing, Ctrl-C another
	}
	return append(findings, asked...), err
}

// tellFindings prints what the check found and returns the number of errors.
func tellFindings(a *app, findings []send.Finding) (errs int) {
	for _, f := range findings {
		a.out.Emit("finding", f)
		if f.Level == "error" {
			errs++
		}
		fmt.Fprintf(a.out.Stderr(), "%s: %s [%s]\n", f.Level, clean(f.Text()), f.Rule)
	}
	return errs
}

// confirm shows the plan and wants the number of recipients typed: a habit of pressing y must not mail a whole list.
func confirm(ctx context.Context, a *app, s *send.Sender, p *send.Plan) error {
	if !a.interactive() {
		return usage("nobody is here to confirm: add --yes (and --expect %d to be sure of the number)", p.Counts.Sendable())
	}
	course, err := s.Forecast(ctx, p)
	if err != nil {
		return err
	}
	l := newPlanLine(a, p, course)
	printPlan(a, p, l, course)
	what := "send"
	if !p.Request.At.IsZero() {
		what = "plan"
	}
	answer, err := a.ask(ctx, fmt.Sprintf("\nType the number of messages (%d) to %s them, anything else to stop: ", l.Sendable, what))
	if err != nil {
		return err
	}
	if answer != fmt.Sprint(l.Sendable) {
		return &exit{exitSafety, errors.New("not confirmed: nothing was sent")}
	}
	return nil
}

// deliver runs the send, shows how it goes and tells how it ended.
func deliver(ctx context.Context, a *app, s *send.Sender, p *send.Plan) error {
	sum, err := carry(ctx, a, s, p)
	return tellDelivery(ctx, a, sum, err)
}

// carry runs the send and shows how it goes.
func carry(ctx context.Context, a *app, s *send.Sender, p *send.Plan) (send.Summary, error) {
	total := p.Counts.Sendable()
	if !p.New {
		total = p.Campaign.Balance.Remaining + p.Campaign.Balance.Deferred
	}
	var counts send.Counts
	stop := watchProgress(a, func() send.Progress { return counts.Progress(p.Name, total) })
	defer stop()
	return s.Run(ctx, a.hard, p, &counts)
}

// tellDelivery tells how a send ended.
func tellDelivery(ctx context.Context, a *app, sum send.Summary, err error) error {
	if sum.Planned > 0 || err == nil {
		tellSummary(a, sum, err)
	}
	return sendResult(a, ctx, sum, err)
}

// tellSummary prints the balance, and what to do next unless an error says that.
func tellSummary(a *app, sum send.Summary, failed error) {
	if sum.Doubtful > 0 {
		a.out.Warnf("an earlier run was killed: %d recipients are uncertain, the relay may or may not have their message (mailer campaigns recipients %s --state uncertain)", sum.Doubtful, sum.Campaign)
	}
	if sum.Expired > 0 {
		a.out.Warnf("%d deferred recipients were given up: the campaign's time is over", sum.Expired)
	}
	if sum.TooLate > 0 {
		a.out.Warnf("%d recipients were not sent it any more: not_after has passed", sum.TooLate)
	}
	if sum.Shortfall != "" {
		a.out.Warnf("the relay offers PIPELINING, but %s: it was spoken to more slowly. pipelining: off at the relay in mailer.yaml saves the tries", sum.Shortfall)
	}
	a.out.Emit("summary", sum)
	if a.out.JSON {
		return
	}
	a.out.Printf("%s: %s (%.1f s)\n", sum.Campaign, sum.Balance, sum.Seconds)
	if sum.Deferred+sum.Remaining > 0 && goesOn(failed) {
		a.out.Printf("run the same command again to go on\n")
	}
	if sum.Failed > 0 {
		a.out.Printf("who failed and why: mailer campaigns recipients %s --state failed\n", sum.Campaign)
	}
	for _, f := range sum.Freezes {
		a.out.Printf("%s\n", a.freezeText(f))
	}
	if sum.Uncertain > 0 {
		a.out.Printf("whom the relay may or may not have taken: mailer campaigns recipients %s --state uncertain\n", sum.Campaign)
	}
}

// goesOn reports whether the same command, run again, is what to do next.
func goesOn(failed error) bool {
	var de *relay.DialError
	return failed == nil || errors.Is(failed, context.Canceled) || errors.Is(failed, send.ErrUnreachable) || errors.Is(failed, send.ErrNotNow) ||
		errors.As(failed, &de) && !de.Config
}

// sendResult turns how the run ended into an exit code.
func sendResult(a *app, ctx context.Context, sum send.Summary, err error) error {
	var de *relay.DialError
	switch {
	case errors.As(err, &de) && de.Config:
		return &exit{exitUsage, err}
	case errors.As(err, &de), errors.Is(err, send.ErrUnreachable), errors.Is(err, send.ErrNotNow), errors.Is(err, send.ErrPaused), errors.Is(err, send.ErrLimit),
		errors.Is(err, send.ErrClosed), errors.Is(err, send.ErrHeld):
		return &exit{exitLeft, err}
	case errors.Is(err, send.ErrRefused), errors.Is(err, send.ErrBlocked), errors.Is(err, send.ErrTripped), errors.Is(err, send.ErrCancelled), errors.Is(err, store.ErrChanged):
		return &exit{exitSafety, err}
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrLeaseLost):
		return &exit{exitBusy, err}
	case errors.Is(err, context.Canceled):
		if ctx.Err() != nil {
			err = errors.New("stopped; what was on the wire is recorded")
		}
		if sum.Deferred+sum.Remaining > 0 || sum.Planned == 0 { // or nothing was begun
			return &exit{exitLeft, err}
		}
	case err != nil:
		return err
	}
	switch {
	case sum.Deferred+sum.Remaining > 0:
		return &exit{code: exitLeft}
	case sum.Failed+sum.Uncertain > 0:
		return &exit{code: exitSome}
	}
	return nil
}

func runTestSend(ctx context.Context, a *app, s *send.Sender, o sendOptions) error {
	r, err := s.Test(ctx, o.request, o.test, o.as)
	if err != nil {
		return sendResult(a, ctx, send.Summary{}, err)
	}
	a.out.Emit("test", r)
	a.out.Printf("test message for %s, filled in as for %s: %s\n", ui.Clean(r.Address), ui.Clean(r.As), ui.Clean(r.Reply))
	if !r.Accepted {
		return &exit{exitSome, fmt.Errorf("the relay did not take the test message (%s)", r.Phase)}
	}
	return nil
}
