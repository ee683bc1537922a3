package message

import (
	"errors"
	"fmt"
	htmltemplate "html/template"
	"regexp"
	"slices"
	"strings"

	"mailer/internal/campaign"
	"mailer/internal/spelling"
)

// Finding is one thing that a check found, with everybody it concerns.
type Finding struct {
	Level    string   `json:"level"` // error or warning
	Rule     string   `json:"rule"`
	Message  string   `json:"message"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`
	Column   int      `json:"column,omitempty"`
	Count    int64    `json:"contacts,omitempty"` // how many recipients; 0: it is about the campaign
	Contacts []string `json:"examples,omitempty"` // the first of them
}

// The levels of findings.
const (
	LevelError   = "error"
	LevelWarning = "warning"
)

// Text is the finding in words.
func (f Finding) Text() string {
	e := campaign.Error{File: f.File, Line: f.Line, Col: f.Column, Msg: f.Message}
	text := e.Error()
	switch {
	case f.Count == 1:
		text += fmt.Sprintf(" (%s)", f.Contacts[0])
	case f.Count > int64(len(f.Contacts)):
		text += fmt.Sprintf(" (%d contacts: %s, ...)", f.Count, strings.Join(f.Contacts, ", "))
	case f.Count > 1:
		text += fmt.Sprintf(" (%d contacts: %s)", f.Count, strings.Join(f.Contacts, ", "))
	}
	return text
}

// Rules that have a level under checks: in mailer.yaml.
const (
	RuleMissingField  = "missing_field"
	RuleTemplate      = "template"
	RuleAttachment    = "attachment"
	RuleSender        = "sender"
	RulePostalAddress = "postal_address"
	RuleUnsubscribe   = "unsubscribe"
	RuleDKIM          = "dkim"
	RuleConsent       = "consent"
	RuleBounceMailbox = "bounce_mailbox"
)

// The other rules: they warn, except for an empty subject.
const (
	ruleEmptySubject = "empty_subject"
	ruleSubject      = "subject"
	ruleEmptyBody    = "empty_body"
	ruleSize         = "size"
	ruleLeftover     = "leftover"
	ruleLink         = "link"
	ruleAlt          = "alt"
)

// Facts are what the rules cannot see in the campaign.
type Facts struct {
	Fields        []string          // the columns of all contacts; nil: not known
	BounceMailbox bool              // one is configured
	Levels        map[string]string // rule -> error, warn or off; absent: the default
}

// defaults are the levels where mailer.yaml is silent: what would go wrong for a recipient, or break the law, stops a send.
var defaults = map[string]string{
	RuleMissingField: LevelError, RuleTemplate: LevelError, RuleAttachment: LevelError, RuleSender: LevelError,
	RulePostalAddress: LevelError, RuleUnsubscribe: LevelError, ruleEmptySubject: LevelError, ruleEmptyBody: LevelError,
}

// Preflight looks at every message of a campaign before one is sent. Look may be called from several goroutines, the rest
// from one.
type Preflight struct {
	template *Template
	facts    Facts
	findings []*Finding
	index    map[findingKey]*Finding
	seen     map[*document]int
}

// NewPreflight begins with what is known without any recipient.
func NewPreflight(t *Template, f Facts) *Preflight {
	p := &Preflight{template: t, facts: f, index: map[findingKey]*Finding{}, seen: map[*document]int{}}
	p.campaign()
	return p
}

// findingKey is what makes two findings one: everything but the contacts.
type findingKey struct {
	rule, message, file string
	line, column        int
}

// add enters a finding for a recipient, or for the campaign when address is "".
func (p *Preflight) add(rule, address string, at *RenderError) {
	level := p.facts.Levels[rule]
	if level == "" {
		level = defaults[rule]
	}
	switch level {
	case "off":
		return
	case LevelError:
	default:
		level = LevelWarning
	}
	key := findingKey{rule, at.Reason(), at.File, at.Line, at.Col}
	f := p.index[key]
	if f == nil {
		f = &Finding{Level: level, Rule: rule, Message: key.message, File: at.File, Line: at.Line, Column: at.Col}
		p.index[key] = f
		p.findings = append(p.findings, f)
	}
	if address == "" {
		return
	}
	f.Count++
	if len(f.Contacts) < 3 {
		f.Contacts = append(f.Contacts, address)
	}
}

// note enters a finding about a document as a whole.
func (p *Preflight) note(d *document, rule, address, format string, args ...any) {
	p.add(rule, address, &RenderError{File: d.variant.Path, msg: fmt.Sprintf(format, args...)})
}

// Seen is the message of one recipient, executed.
type Seen struct {
	recipient Recipient
	out       output
	err       error
}

// Look executes the message of one recipient: the costly part of the check.
func (p *Preflight) Look(r Recipient, m Mark) Seen {
	out, err := p.template.check(r, m)
	return Seen{r, out, err}
}

// Add checks the message of one recipient.
func (p *Preflight) Add(r Recipient, m Mark) { p.Enter(p.Look(r, m)) }

// Enter holds what was seen against the rules.
func (p *Preflight) Enter(s Seen) {
	r, out, err := s.recipient, s.out, s.err
	var e *RenderError
	switch {
	case errors.As(err, &e) && e.Field != "":
		p.add(RuleMissingField, r.Address, e)
	case errors.As(err, &e) && e.attachment:
		p.add(RuleAttachment, r.Address, e)
	case errors.As(err, &e):
		p.add(RuleTemplate, r.Address, e)
	case err != nil:
		p.add(RuleTemplate, r.Address, &RenderError{msg: err.Error()})
	default:
		p.message(r, out)
	}
}

// Findings lists what was found, errors first.
func (p *Preflight) Findings() []Finding {
	var all []Finding
	for _, level := range []string{LevelError, LevelWarning} {
		for _, f := range p.findings {
			if f.Level == level {
				all = append(all, *f)
			}
		}
	}
	return all
}

// campaign holds what needs no recipient against the rules.
func (p *Preflight) campaign() {
	for _, d := range p.template.documents {
		p.fields(d)
		if len(d.signers) == 0 {
			p.note(d, RuleDKIM, "", "no DKIM key signs mail from %s: large providers refuse or filter it; mailer dkim keygen makes one (your relay signs? set checks.dkim to off)", d.from.Domain())
		}
		if strings.TrimSpace(d.variant.Body) == "" && len(d.variant.Attach) == 0 {
			p.note(d, ruleEmptyBody, "", "there is no text below the front matter; a layout that says everything itself wants {{/* nothing */}} there")
		}
		if size := d.attachmentSize(); size > 2<<20 { // base64 makes a third more of it; some carriers take 3 MB
			p.note(d, ruleSize, "", "the attached files have %.1f MB: some receivers refuse messages over 3 MB", float64(size)/(1<<20))
		}
		if d.class != campaign.Marketing {
			continue
		}
		if d.sender["organization"] == "" {
			p.note(d, RuleSender, "", "marketing mail must say who sends it; set sender.organization in mailer.yaml")
		}
		if d.sender["postal_address"] == "" {
			p.note(d, RulePostalAddress, "", "marketing mail must have a postal address; set sender.postal_address in mailer.yaml")
		}
	}
	if !p.facts.BounceMailbox {
		p.add(RuleBounceMailbox, "", &RenderError{msg: "no bounce mailbox is configured: dead addresses stay on the list; set bounces.mailbox in mailer.yaml"})
	}
}

// fields finds names that no column has: in an {{if}} they would be silently empty for everybody.
func (p *Preflight) fields(d *document) {
	if p.facts.Fields == nil {
		return
	}
	for _, r := range d.program.refs {
		if r.Field == "" || slices.Contains(p.facts.Fields, r.Field) || !r.Own && slices.Contains(Reserved, r.Field) {
			continue
		}
		at := &RenderError{File: r.File, Line: r.Line, Col: r.Col, msg: fmt.Sprintf("no contact has a field %q", r.Field)}
		if near := spelling.Nearest(r.Field, slices.Concat(p.facts.Fields, Reserved)); near != "" {
			at.msg += fmt.Sprintf("; did you mean %q?", near)
		}
		p.add(RuleMissingField, "", at)
	}
}

func (d *document) attachmentSize() int {
	size := 0
	for _, f := range slices.Concat(d.variant.Attach, d.variant.Embed) {
		size += len(f.Content)
	}
	return size
}

// deepChecks is how many messages of a document are searched for what hardly differs from one to the next.
const deepChecks = 100

var (
	fakeReply = regexp.MustCompile(`(?i)^(re|fwd?|aw|wg|返信|転送)\s*[:：]`)
	image     = regexp.MustCompile(`(?i)<img\b[^>]*>`)
	alt       = regexp.MustCompile(`(?i)\salt\s*=`)
)

// Limits of practice, not of a standard: Gmail cuts HTML at 102 KB, and phones show about 35 full-width characters.
const (
	maxHTML    = 102 << 10
	maxSubject = 70
)

// message holds one executed message against the rules.
func (p *Preflight) message(r Recipient, out output) {
	d := out.doc
	switch {
	case out.subject == "":
		p.note(d, ruleEmptySubject, r.Address, "the subject is empty")
	case columns(out.subject) > maxSubject:
		p.note(d, ruleSubject, r.Address, "the subject is wider than %d columns (full-width characters are two); phones cut it", maxSubject)
	case fakeReply.MatchString(out.subject):
		p.note(d, ruleSubject, r.Address, "the subject looks like a reply or a forwarded mail, which it is not")
	}
	if d.class == campaign.Marketing {
		p.unsubscribe(r, out)
	}
	for _, part := range []string{out.subject, out.text, out.html} {
		if strings.Contains(part, "{{") || strings.Contains(part, "}}") || strings.Contains(part, "<no value>") {
			p.note(d, ruleLeftover, r.Address, "there is template text left in the message ({{ or }})")
			break
		}
	}
	if strings.Contains(out.html, "ZgotmplZ") || strings.Contains(out.text, "#ZgotmplZ") {
		p.note(d, ruleLink, r.Address, "a field's value cannot be a link (only http, https and mailto): the link leads nowhere")
	}
	if p.seen[d]++; p.seen[d] <= deepChecks {
		p.deep(r, out)
	}
}

// unsubscribe: both parts must show the way out (特定電子メール法 article 4, CAN-SPAM section 5(a)(5)).
func (p *Preflight) unsubscribe(r Recipient, out output) {
	d := out.doc
	if out.unsub == "" {
		p.note(d, RuleUnsubscribe, "", "marketing mail must have a way to unsubscribe; set bounces.return_path, sender.unsubscribe_mailto or sender.unsubscribe_url in mailer.yaml")
		return
	}
	to := mailtoAddress(out.unsub)
	if !strings.Contains(out.text, out.unsub) && (to == "" || !strings.Contains(out.text, to)) {
		p.note(d, RuleUnsubscribe, r.Address, "the text part has no unsubscribe address; put {{.unsubscribe_url}} into it, or use a layout")
	}
	if d.html != nil && !strings.Contains(out.html, out.unsub) && !strings.Contains(out.html, escapeHTML(out.unsub)) {
		p.note(d, RuleUnsubscribe, r.Address, `the HTML part has no unsubscribe link; put <a href="{{.unsubscribe_url}}"> into it, or use a layout`)
	}
}

func (p *Preflight) deep(r Recipient, out output) {
	d := out.doc
	if d.class == campaign.Marketing {
		p.shown(r, out, RuleSender, "organization", "the sender's organization")
		p.shown(r, out, RulePostalAddress, "postal_address", "the postal address")
	}
	if len(out.html) > maxHTML {
		p.note(d, ruleSize, r.Address, "the HTML part is larger than %d KB: Gmail cuts it there", maxHTML>>10)
	}
	for _, tag := range image.FindAllString(out.html, -1) {
		if !alt.MatchString(tag) {
			p.note(d, ruleAlt, r.Address, `an image has no alt text; most programs show that first: ![what it shows](...)`)
			break
		}
	}
	if strings.Contains(out.subject, "未承諾広告") {
		p.note(d, ruleSubject, r.Address, "未承諾広告※ in the subject is a mark of the law before 2008; consent is needed now")
	}
}

// shown: what the law wants shown stands in the part that people read.
func (p *Preflight) shown(r Recipient, out output, rule, key, what string) {
	want := out.doc.sender[key]
	if want == "" {
		return // noted once for the campaign
	}
	if !strings.Contains(squeeze(out.text), squeeze(want)) {
		p.note(out.doc, rule, r.Address, "the text part does not show %s; put {{.sender.%s}} into it, or use a layout", what, key)
	}
	if out.doc.html != nil && !strings.Contains(squeeze(out.html), squeeze(escapeHTML(want))) {
		p.note(out.doc, rule, r.Address, "the HTML part does not show %s; put {{.sender.%s}} into it, or use a layout", what, key)
	}
}

// escapeHTML is what html/template makes of s, in text and in a quoted attribute.
func escapeHTML(s string) string {
	return strings.ReplaceAll(htmltemplate.HTMLEscapeString(s), "+", "&#43;")
}

// squeeze takes the white space out: a wrapped address is still the address.
func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }
