package message

import (
	"errors"
	"fmt"
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

// The rules. Each has a level under checks: in mailer.yaml.
const (
	RuleMissingField    = "missing_field"
	RuleEmptyField      = "empty_field"
	RuleTemplate        = "template"
	RuleAttachment      = "attachment"
	RuleAttachmentSize  = "attachment_size"
	RuleSender          = "sender"
	RulePostalAddress   = "postal_address"
	RuleContact         = "contact"
	RuleUnsubscribe     = "unsubscribe"
	RuleUnsubscribeText = "unsubscribe_text"
	RuleEmptySubject    = "empty_subject"
	RuleSubject         = "subject"
	RuleReply           = "reply"
	RuleMark            = "obsolete_mark"
	RuleEmptyBody       = "empty_body"
	RuleTextPart        = "text_part"
	RuleSize            = "size"
	RuleAlt             = "alt"
	RuleImageOnly       = "image_only"
	RuleLink            = "link"
	RuleLinkHTTP        = "link_http"
	RuleLinkShort       = "link_short"
	RuleLinkText        = "link_text"
	RuleLinkBroken      = "link_broken"
	RuleLinkUnchecked   = "link_unchecked"
	RuleLeftover        = "leftover"
	RuleHTMLFeature     = "html_feature"
	RuleDKIM            = "dkim"
	RuleFromDomain      = "from_domain"
	RuleConsent         = "consent"
	RuleBounceMailbox   = "bounce_mailbox"
	RuleDNS             = "dns"
)

// Facts are what the rules cannot see in the campaign.
type Facts struct {
	Fields        []string          // the columns of all contacts; nil: not known
	BounceMailbox bool              // one is configured
	Levels        map[string]string // rule -> error, warn or off; absent: the default
	Links         bool              // the links' addresses are gathered, to be fetched
}

// Rule is one thing that is looked for.
type Rule struct {
	Name, Level, About string // Level: the default
}

// Rules lists all rules. What would go wrong for a recipient, or break the law, stops a send; the rest warns.
func Rules() []Rule {
	return []Rule{
		{RuleMissingField, LevelError, "a field that a contact, or every contact, lacks"},
		{RuleTemplate, LevelError, "a template that cannot be executed"},
		{RuleAttachment, LevelError, "a file of attach: or embed: that cannot be read, or over 25 MB"},
		{RuleEmptySubject, LevelError, "a subject without a word"},
		{RuleEmptyBody, LevelError, "nothing below the front matter"},
		{RuleUnsubscribe, LevelError, "marketing mail without a way out in the text and the HTML"},
		{RuleSender, LevelError, "marketing mail that does not name the sender in both"},
		{RulePostalAddress, LevelError, "marketing mail without the postal address in both"},
		{RuleContact, LevelWarning, "marketing mail that does not say how the sender is reached"},
		{RuleDNS, LevelError, "what is published does not fit your keys, relay and From"},
		{RuleUnsubscribeText, LevelWarning, "Japanese marketing mail without a word beside the way out"},
		{RuleConsent, LevelWarning, "recipients of marketing mail without a consent record"},
		{RuleMark, LevelWarning, "未承諾広告※, the mark of the law before 2008"},
		{RuleSubject, LevelWarning, "a subject over 50 letters, or 30 full-width ones"},
		{RuleReply, LevelWarning, "a subject that begins like a reply: Re:, Fwd:"},
		{RuleEmptyField, LevelWarning, "a value that is blank, or NULL, N/A and the like"},
		{RuleLeftover, LevelWarning, "draft or template text: {{, lorem ipsum, TODO, *|NAME|*, 〇〇様"},
		{RuleTextPart, LevelWarning, "a text part that is empty or says far less than the HTML"},
		{RuleSize, LevelWarning, "HTML over 80 KB; Gmail cuts it at 102"},
		{RuleAttachmentSize, LevelWarning, "files over 2 MB in a message"},
		{RuleAlt, LevelWarning, "a picture without alt text"},
		{RuleImageOnly, LevelWarning, "pictures and hardly a word"},
		{RuleHTMLFeature, LevelWarning, "what mail programs drop: scripts, forms, flex, data: pictures"},
		{RuleLink, LevelWarning, "a link or picture that leads nowhere from a mail"},
		{RuleLinkHTTP, LevelWarning, "a link or picture that is not https"},
		{RuleLinkShort, LevelWarning, "a link through a shortener"},
		{RuleLinkText, LevelWarning, "a link that says one host and goes to another"},
		{RuleLinkBroken, LevelWarning, "with --links: a page or host that is not there"},
		{RuleLinkUnchecked, LevelWarning, "with --links: a link of which nobody can tell"},
		{RuleFromDomain, LevelWarning, "From at a freemail provider"},
		{RuleDKIM, LevelWarning, "no DKIM key for the domain of From"},
		{RuleBounceMailbox, LevelWarning, "no mailbox for bounces"},
	}
}

func defaultLevels() map[string]string {
	all := map[string]string{}
	for _, r := range Rules() {
		all[r.Name] = r.Level
	}
	return all
}

// Preflight looks at every message of a campaign before one is sent. Look may be called from several goroutines, the rest
// from one.
type Preflight struct {
	template *Template
	facts    Facts
	findings []*Finding
	index    map[findingKey]*Finding
	defaults map[string]string
	told     map[string]int // distinct findings by rule
	asked    map[*document][]string
	links    *linkSet
	outlines map[*document]*outlines
}

// NewPreflight begins with what is known without any recipient.
func NewPreflight(t *Template, f Facts) *Preflight {
	p := &Preflight{template: t, facts: f, index: map[findingKey]*Finding{}, told: map[string]int{}, defaults: defaultLevels(),
		asked: map[*document][]string{}, links: newLinkSet(), outlines: map[*document]*outlines{}}
	for _, d := range t.documents {
		p.asked[d] = d.asks()
		p.outlines[d] = &outlines{known: map[string]*outline{}}
	}
	p.campaign()
	return p
}

// findingKey is what makes two findings one: everything but the contacts.
type findingKey struct {
	rule, message, file string
	line, column        int
}

// Examples is how many contacts a finding names.
const Examples = 3

// maxTold bounds the findings of one rule: a personal link or value in their text would make one for everybody.
const maxTold = 20

// add enters a finding for a recipient, or for the campaign when address is "".
func (p *Preflight) add(rule, address string, at *RenderError) {
	level := p.level(rule)
	if level == "off" {
		return
	}
	key := findingKey{rule, at.Reason(), at.File, at.Line, at.Col}
	f := p.index[key]
	if f == nil && p.told[rule] >= maxTold {
		key = findingKey{rule: rule, message: fmt.Sprintf("more findings of the rule %s, with other values", rule)}
		f = p.index[key]
	}
	if f == nil {
		f = &Finding{Level: level, Rule: rule, Message: key.message, File: key.file, Line: key.line, Column: key.column}
		p.index[key] = f
		p.findings = append(p.findings, f)
		p.told[rule]++
	}
	if address == "" {
		return
	}
	f.Count++
	if len(f.Contacts) < Examples {
		f.Contacts = append(f.Contacts, address)
	}
}

// level is error, warning or off.
func (p *Preflight) level(rule string) string {
	level := p.facts.Levels[rule]
	if level == "" {
		level = p.defaults[rule]
	}
	switch level {
	case "off", LevelError:
		return level
	}
	return LevelWarning
}

// note enters a finding about a document as a whole.
func (p *Preflight) note(d *document, rule, address, format string, args ...any) {
	p.add(rule, address, &RenderError{File: d.variant.Path, msg: fmt.Sprintf(format, args...)})
}

// Seen is what is remarkable in the message of one recipient.
type Seen struct {
	recipient Recipient
	doc       *document
	faults    []fault
	links     []string
	err       error
}

// Look holds the message of one recipient against the rules: the costly part of the check.
func (p *Preflight) Look(r Recipient, m Mark) Seen {
	if s, ok := p.glance(r, m); ok {
		return s
	}
	return p.read(r, m)
}

// read is the plain way: the message is made, taken apart and read from its first letter to its last. All else is held to it.
func (p *Preflight) read(r Recipient, m Mark) Seen {
	out, err := p.template.check(r, m)
	if err != nil {
		return Seen{recipient: r, err: err}
	}
	x := p.opened(out.doc, r)
	x.unsub, x.subject, x.text, x.html = out.unsub, out.subject, out.text, out.html
	s := Seen{recipient: r, doc: out.doc, faults: inspectOpened(&x)}
	if p.facts.Links {
		s.links = x.addresses()
	}
	return s
}

// opened is what is known of a message before it is made.
func (p *Preflight) opened(d *document, r Recipient) opened {
	x := opened{marketing: d.class == campaign.Marketing, lang: d.variant.Lang, from: d.from.Domain(), sender: d.sender, values: r.Values, asked: p.asked[d]}
	for _, f := range d.variant.Embed {
		x.embedded = append(x.embedded, contentID(f.Name, x.from))
	}
	return x
}

// Enter counts what was seen.
func (p *Preflight) Enter(s Seen) {
	r, err := s.recipient, s.err
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
	}
	for _, f := range s.faults {
		address := r.Address
		if f.all {
			address = ""
		}
		p.note(s.doc, f.rule, address, "%s", f.text)
	}
	p.links.add(s.doc, s.links, r.Address)
}

// NoConsent enters how many recipients have no consent record, and some of them.
func (p *Preflight) NoConsent(n int64, some []string) {
	for _, address := range some {
		p.add(RuleConsent, address, &RenderError{msg: "there is no consent record: import with --list and --consent-source (the law wants to know when and how they agreed)"})
	}
	for _, f := range p.findings {
		if f.Rule == RuleConsent {
			f.Count = n
		}
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
			p.note(d, RuleEmptyBody, "", "there is no text below the front matter; a layout that says everything itself wants {{/* nothing */}} there")
		}
		for i, f := range d.variant.Embed {
			if slices.ContainsFunc(d.variant.Embed[:i], func(o campaign.File) bool { return o.Name == f.Name }) {
				p.note(d, RuleAttachment, "", "two files of embed: are called %s: cid:%[1]s shows one of them; give one another name", f.Name)
			}
		}
		if size := d.attachmentSize(); size > 2<<20 { // base64 makes a third more of it; some carriers take 3 MB
			p.note(d, RuleAttachmentSize, "", "the attached files have %.1f MB: some receivers refuse messages over 3 MB", float64(size)/(1<<20))
		}
		if IsFreemail(d.from.Domain()) {
			p.note(d, RuleFromDomain, "", "From is at %s, whose owner does not let other servers send for it: use an address of your own domain", d.from.Domain())
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

// asks lists the fields that a message must have.
func (d *document) asks() (fields []string) {
	for _, r := range d.program.refs {
		if r.Field != "" && !r.Optional && (r.Own || !slices.Contains(Reserved, r.Field)) && !slices.Contains(fields, r.Field) {
			fields = append(fields, r.Field)
		}
	}
	return fields
}

// squeeze takes the white space out: a wrapped address is still the address.
func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }
