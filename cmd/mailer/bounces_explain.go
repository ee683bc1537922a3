package main

import (
	"errors"
	"io/fs"
	"strings"

	"mailer/internal/bounce"

	"github.com/spf13/cobra"
)

const bouncesExplainHelp = `Say in plain words what a refusal means, whose fault it is and what to do.

Give the reply as a server said it, or the name of a file that holds a mail ("-" is standard input):

  mailer bounces explain "550 5.7.1 Service unavailable, client host blocked"
  mailer bounces explain --phase rcpt "550 Unknown user taro@docomo.ne.jp"
  mailer bounces explain returned.eml

Some words mean one thing when the recipient is named and another after the message: --phase says which it was. The
recipient's domain is taken from an address in the reply; --domain gives another. No workspace is needed.`

type bouncesExplainOptions struct{ phase, domain string }

var explainPhases = []string{"connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "dot"}

func newBouncesExplainCmd(a *app) *cobra.Command {
	var o bouncesExplainOptions
	cmd := &cobra.Command{
		Use:   "explain REPLY|FILE",
		Short: "Say in plain words what a refusal means",
		Long:  bouncesExplainHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(strings.Join(args, "")) == "" {
				return usage("%s needs a REPLY or a FILE; %s --help tells more", cmd.CommandPath(), cmd.CommandPath())
			}
			return nil
		},
		// The words of a reply without quotes are one reply.
		RunE: func(_ *cobra.Command, args []string) error { return runBouncesExplain(a, o, strings.Join(args, " ")) },
	}
	cmd.Flags().StringVar(&o.phase, "phase", "", "the `step` that was refused: "+strings.Join(explainPhases, ", "))
	cmd.Flags().StringVar(&o.domain, "domain", "", "the recipient's `domain`: some providers use a reply in a way of their own")
	return cmd
}

func runBouncesExplain(a *app, o bouncesExplainOptions, what string) error {
	if !isPhase(o.phase) {
		return usage("--phase: %q is no step; take one of %s", o.phase, strings.Join(explainPhases, ", "))
	}
	raw, err := readMail(a, what)
	switch {
	case err == nil:
		if reply, ok := bareReply(raw); ok {
			return explainReply(a, nil, bounce.Reply{Text: reply, Phase: o.phase}, o.domain)
		}
		return explainMail(a, what, raw)
	case looksLikeReply(what) && (errors.Is(err, fs.ErrNotExist) || strings.ContainsAny(what, " ")):
		return explainReply(a, nil, bounce.Reply{Text: what, Phase: o.phase}, o.domain)
	}
	return err
}

func isPhase(s string) bool {
	for _, p := range explainPhases {
		if s == p {
			return true
		}
	}
	return s == ""
}

// looksLikeReply tells a reply from the name of a file that is not there: it has several words, or is a code alone.
func looksLikeReply(s string) bool {
	return strings.ContainsAny(s, " \t\n") || strings.Trim(s, "0123456789.-#") == ""
}

// bareReply: a file or standard input that holds the reply alone begins with its code.
func bareReply(raw []byte) (string, bool) {
	s := strings.TrimSpace(string(raw[:min(len(raw), 4096)]))
	if len(s) < 3 || len(raw) > 4096 || strings.Trim(s[:3], "0123456789") != "" {
		return "", false
	}
	return s, true
}

func explainMail(a *app, file string, raw []byte) error {
	v := bounce.Parse(raw)
	meaning, follows := bounce.ExplainMail(v)
	if len(v.Bounces) == 0 {
		if a.out.JSON {
			return a.out.Emit("mail", struct {
				verdictJSON
				Meaning string `json:"meaning"`
				Todo    string `json:"todo"`
			}{verdictLine(file, v), meaning, follows})
		}
		tellVerdict(a, file, v)
		if v.Sender != "" {
			tellLines(a, "who", v.Sender)
		}
		tellLines(a, "meaning", meaning)
		tellLines(a, "what now", follows)
		return nil
	}
	for i, r := range v.Bounces {
		if i > 0 && !a.out.JSON {
			a.out.Println("")
		}
		if err := explainReply(a, &r, bounce.Reply{Enhanced: r.Status, Text: r.Text, Phase: "rcpt"}, ""); err != nil {
			return err
		}
	}
	return nil
}

// explanationJSON is an explanation for scripts.
type explanationJSON struct {
	Recipient string   `json:"recipient,omitempty"`
	Action    string   `json:"action,omitempty"`
	Reply     string   `json:"reply"`
	Codes     []string `json:"codes"`
	Reason    string   `json:"reason"`
	Hard      bool     `json:"hard"`
	Scope     string   `json:"scope"`
	Advice    string   `json:"advice"`
	Meaning   string   `json:"meaning"`
	Fault     string   `json:"fault"`
	Todo      []string `json:"todo"`
	Note      string   `json:"note,omitempty"`
}

// explainReply explains one reply: as it is given, or as it stands in a mail about a recipient, whose verdict then counts.
func explainReply(a *app, about *bounce.Recipient, r bounce.Reply, domain string) error {
	if domain == "" {
		domain = bounce.DomainIn(r.Text)
	}
	c := bounce.Classify(r, domain)
	line := explanationJSON{Reply: r.Text}
	if about != nil {
		c = about.Class()
		line.Recipient, line.Action = about.Recipient, about.Action
	}
	e := bounce.Explain(r, c, domain)
	if e.Taken {
		c = bounce.Class{Reason: "accepted", Action: bounce.DoKeep}
	}
	if line.Action == bounce.ActionDelayed {
		e.Meaning = "a warning: the message is not delivered yet, and still on its way"
	}
	line.Codes, line.Meaning, line.Fault, line.Todo, line.Note = append([]string{}, e.Codes...), e.Meaning, e.Fault, e.Todo, e.Note
	line.Reason, line.Hard, line.Scope, line.Advice = c.Reason, c.Hard, c.Scope, c.Action
	if a.out.JSON {
		return a.out.Emit("explanation", line)
	}
	tellExplanation(a, line)
	return nil
}

func tellExplanation(a *app, e explanationJSON) {
	if e.Recipient != "" {
		a.out.Printf("%s\n", clean(e.Recipient))
	}
	tellLines(a, "reply", e.Reply)
	tellLines(a, "codes", e.Codes...)
	tellLines(a, "reason", e.Reason+": "+e.Meaning)
	tellLines(a, "fault", e.Fault)
	tellLines(a, "what now", e.Todo...)
	if e.Note != "" {
		tellLines(a, "note", e.Note)
	}
}

// tellLines prints lines under one heading.
func tellLines(a *app, heading string, lines ...string) {
	for _, line := range lines {
		a.out.Printf("  %-9s %s\n", heading, clean(line))
		heading = ""
	}
}
