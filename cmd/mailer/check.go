package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mailer/internal/campaign"
	"mailer/internal/config"
	"mailer/internal/message"
	"mailer/internal/send"
	"mailer/internal/ui"

	"github.com/spf13/cobra"
)

const checkHelp = `Render the message of every recipient and hold it against the rules; send nothing. "mailer send" does the same first,
but for --links.

Errors stop a send: a missing field, a template error, an empty subject or body, an attachment that cannot be read,
marketing mail without sender, postal address or unsubscribe. The other rules warn. Each finding names its rule; what a
rule does is set under checks: in mailer.yaml (error, warn, off):

  checks:
    dkim: off          # the relay signs
    alt: error

Without --segment, --list, --where and a segment in the campaign file everybody is checked.

--links fetches every link and picture (asking for the head first, 8 at once, 10 s each), but never the one to
unsubscribe. Of personal links a few are fetched. Links into this machine or a private network are not, without
--links-private.

--show-links lists the campaign's links first, as its templates have them.

Exit code 5 when there are errors.

The rules:
%s
  mailer check 2026-12-news
  mailer check 2026-12-news --links --where 'pref == "東京都"'`

type checkOptions struct {
	request   send.Request
	looking   send.Looking
	showLinks bool
}

func newCheckCmd(a *app) *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check CAMPAIGN",
		Short: "Render every recipient's message and find what is wrong, before sending",
		Long:  fmt.Sprintf(checkHelp, ruleTable()),
		Args:  exactArgs(1, "CAMPAIGN"),
		RunE:  func(cmd *cobra.Command, args []string) error { return runCheck(cmd.Context(), a, args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.request.Segment, "segment", "", "a saved segment")
	f.StringVar(&o.request.Where, "where", "", "an expression over the contacts' fields")
	f.StringSliceVar(&o.request.Lists, "list", nil, "who is on this list (several: on any of them)")
	f.BoolVar(&o.looking.Links, "links", false, "fetch the links, too")
	f.BoolVar(&o.looking.Private, "links-private", false, "with --links: also from this machine and private networks")
	f.BoolVar(&o.showLinks, "show-links", false, "list the campaign's links, too")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if o.looking.Private && !o.looking.Links {
			return usage("--links-private goes with --links")
		}
		return nil
	}
	return cmd
}

// ruleTable lists the rules for the help.
func ruleTable() string {
	var b strings.Builder
	for _, r := range message.Rules() {
		level := r.Level
		if level == message.LevelWarning {
			level = string(config.LevelWarn)
		}
		fmt.Fprintf(&b, "  %-17s %-6s %s\n", r.Name, level, r.About)
	}
	return b.String()
}

func runCheck(ctx context.Context, a *app, name string, o checkOptions) error {
	ws, st, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	s := &send.Sender{Workspace: ws, Store: st, Now: a.now}
	o.request.Campaign = campaignArg(ws.Dir, name)
	findings, count, err := checkCampaign(ctx, a, s, o)
	if err != nil {
		return err
	}
	errs := tellFindings(a, findings)
	warnings := len(findings) - errs
	if count == 0 && errs == 0 {
		a.out.Warnf("%s: nobody is in the audience, so no message was looked at: import contacts, or look at the segment", name)
	}
	a.out.Printf("%s: %s, %s, %s\n", name, ui.Count(count, "message", "messages"), ui.Count(errs, "error", "errors"), ui.Count(warnings, "warning", "warnings"))
	if err := a.out.Emit("summary", struct {
		Campaign string `json:"campaign"`
		Messages int64  `json:"messages"`
		Errors   int    `json:"errors"`
		Warnings int    `json:"warnings"`
	}{name, count, errs, warnings}); err != nil {
		return err
	}
	if errs > 0 {
		return &exit{code: exitSafety}
	}
	return nil
}

// checkCampaign gives everything that is wrong with a campaign as findings, what stops it from being compiled too.
func checkCampaign(ctx context.Context, a *app, s *send.Sender, o checkOptions) ([]send.Finding, int64, error) {
	plan, err := s.Draft(ctx, o.request)
	if err != nil {
		return asFinding(err)
	}
	if o.showLinks {
		links, err := s.Links(ctx, plan)
		if err != nil {
			return asFinding(err)
		}
		if err := tellLinks(a, links); err != nil {
			return nil, 0, err
		}
	}
	findings, err := preflight(ctx, a, s, plan, o.looking, false)
	if err != nil {
		return asFinding(err)
	}
	return findings, plan.Counts.Sendable(), nil
}

func tellLinks(a *app, links []message.Link) error {
	rows := [][]string{}
	for _, l := range links {
		if err := a.out.Emit("link", l); err != nil {
			return err
		}
		rows = append(rows, []string{l.Part, l.Language, fmt.Sprint(l.Count), l.URL, l.Text})
	}
	if !a.out.JSON {
		a.out.Table([]string{"part", "language", "count", "address", "text"}, rows, 2)
		a.out.Println()
	}
	return nil
}

// asFinding turns what is wrong with the campaign's files into a finding; other errors stay errors.
func asFinding(err error) ([]send.Finding, int64, error) {
	var attachment *campaign.AttachmentError
	var file *campaign.Error
	var template *message.RenderError
	f := send.Finding{Level: message.LevelError, Rule: message.RuleTemplate, Message: err.Error()}
	switch {
	case errors.As(err, &attachment):
		f.Rule, f.File, f.Line, f.Message = message.RuleAttachment, attachment.Campaign, attachment.Line, attachment.Reason()
	case errors.As(err, &file):
		f.File, f.Line, f.Column, f.Message = file.File, file.Line, file.Col, file.Reason()
	case errors.As(err, &template):
		f.File, f.Line, f.Column, f.Message = template.File, template.Line, template.Col, template.Reason()
	default:
		return nil, 0, err
	}
	return []send.Finding{f}, 0, nil
}
