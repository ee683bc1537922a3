package bounce

import (
	"strings"
)

// statusRecipient is one per-recipient group of message/delivery-status (RFC 3464 section 2.3).
type statusRecipient struct {
	original, final, actual string
	action, status          string
	diagnostic, remote      string
}

// statusReader collects the groups. They ought to be parted by empty lines; some servers put such lines between all
// fields and others none at all, so a new recipient also begins where a recipient field comes again.
type statusReader struct {
	all []statusRecipient
	gap bool // an empty line since the last recipient began
}

// parseStatus reads the per-recipient groups of a report.
func parseStatus(body string) []statusRecipient {
	var r statusReader
	for body != "" {
		var h header
		h, body = parseHeader(body)
		r.paragraph(h)
	}
	return r.all
}

// paragraph takes what stands between two empty lines. One with a recipient and what became of it is a group, in
// whatever order; otherwise each field belongs to the recipient before it.
func (r *statusReader) paragraph(h header) {
	whole := h.count("final-recipient") == 1 && h.has("action")
	if whole {
		r.begin()
	}
	for _, f := range h {
		if !whole && startsRecipient(f.name) && (len(r.all) == 0 || r.last().closed(f.name, r.gap)) {
			r.begin()
		}
		if len(r.all) > 0 {
			r.last().set(f.name, f.value)
		}
	}
	r.gap = true
}

func (r *statusReader) begin() {
	if len(r.all) < maxFields {
		r.all = append(r.all, statusRecipient{})
	}
	r.gap = false
}

func (r *statusReader) last() *statusRecipient { return &r.all[len(r.all)-1] }

func startsRecipient(name string) bool {
	return name == "final-recipient" || name == "original-recipient" || name == "x-actual-recipient"
}

// closed reports whether a recipient field belongs to the next group.
func (s *statusRecipient) closed(name string, gap bool) bool {
	switch {
	case gap && s.final != "" && s.action != "":
		return true
	case name == "final-recipient":
		return s.final != ""
	case name == "original-recipient":
		return s.original != "" || s.final != "" && s.action != ""
	}
	return s.actual != ""
}

func (s *statusRecipient) set(name, value string) {
	targets := map[string]*string{
		"original-recipient": &s.original, "final-recipient": &s.final, "x-actual-recipient": &s.actual,
		"action": &s.action, "status": &s.status, "diagnostic-code": &s.diagnostic, "remote-mta": &s.remote,
	}
	if t := targets[name]; t != nil && *t == "" {
		*t = value
	}
}

// address is whom the group is about: the address at which delivery failed, else the one that was mailed.
func (s statusRecipient) address() string {
	for _, value := range []string{s.final, s.actual, s.original} {
		if a := addressIn(value); a != "" {
			return a
		}
	}
	return ""
}

// verb is the Action field in the standard's words.
func (s statusRecipient) verb() string {
	word := strings.ToLower(s.action)
	if i := strings.IndexFunc(word, func(r rune) bool { return r < 'a' || r > 'z' }); i >= 0 {
		word = word[:i]
	}
	switch word {
	case "failed", "delayed", "delivered", "relayed", "expanded":
		return word
	case "failure", "fail":
		return ActionFailed
	case "delay", "expired", "deferred":
		return ActionDelayed
	case "deliverable":
		return "delivered"
	}
	switch class(s.status) {
	case '2':
		return "delivered"
	case '4':
		return ActionDelayed
	}
	return ActionFailed
}

func class(status string) byte {
	if status = strings.TrimSpace(status); status != "" {
		return status[0]
	}
	return 0
}

// judge turns a group into a verdict about its recipient. more is what the mail's text says about it, asked when the
// group itself leaves the reason open.
func (s statusRecipient) judge(more string) Recipient {
	address := s.address()
	kind, diagnostic := diagnosticText(s.diagnostic)
	if _, comment, ok := strings.Cut(s.status, "("); ok && diagnostic == "" {
		diagnostic = oneLine(strings.TrimRight(comment, ") ")) // "5.4.4 (illegal host/domain name found)"
	}
	r := Reply{Enhanced: findEnhanced(s.status), Text: diagnostic}
	if phaseOf(diagnostic) == "" {
		r.Phase = phaseIn(more, diagnostic) // Postfix tells the step in its text only
	}
	if c, ok := s.unknownAtRcpt(r, address, more); ok {
		return c
	}
	c, r := understand(r, kind, address, s.remote)
	if open(c.Reason) && more != "" {
		if c2, r2 := understand(Reply{Enhanced: r.Enhanced, Text: strings.TrimSpace(diagnostic + "\n" + more), Phase: r.Phase}, kind, address, s.remote); !open(c2.Reason) || c2.Reason == Expired {
			c, r = c2, r2
		}
	}
	if c.Hard && contradicts(more) {
		c = classOf(MailboxFull, false)
	}
	out := recipientOf(address, c, r)
	out.Text = diagnostic
	if out.Text == "" {
		out.Text = oneLine(more)
	}
	if s.verb() == ActionDelayed {
		out.delay()
	}
	return out
}

// unknownAtRcpt: a status of "policy" that the reporting server made up itself, over a plain "no such user" at RCPT of one
// that spoke of no policy. That one knows its users.
func (s statusRecipient) unknownAtRcpt(r Reply, address, more string) (Recipient, bool) {
	if r.Phase != "rcpt" || r.Enhanced != "5.7.1" && r.Enhanced != "5.7.0" || findEnhanced(r.Text) != "" || s.verb() != ActionFailed {
		return Recipient{}, false
	}
	c, said := understand(Reply{Text: r.Text, Phase: r.Phase}, "", address, s.remote)
	if !c.Hard || said.Code/100 != 5 || contradicts(more) {
		return Recipient{}, false
	}
	said.Enhanced = r.Enhanced
	out := recipientOf(address, c, said)
	out.Text = r.Text
	return out, true
}

// phaseIn is the step that a text for people gives, in words or as a transcript, for a reply.
func phaseIn(text, reply string) string {
	if p := phaseOf(text); p != "" || reply == "" || !strings.Contains(text, ">>> ") {
		return p
	}
	return phaseBefore(text, reply)
}

// contradicts reports whether the text for people says that a mailbox is full where the report says that it does not
// exist. Gateways are known to put 5.1.1 for everything.
func contradicts(text string) bool {
	return text != "" && textReason(matchable(text)) == MailboxFull
}

// delay marks a warning: the message is still on its way, so nothing is final.
func (r *Recipient) delay() {
	r.Action = ActionDelayed
	c := classOf(r.Reason, false)
	r.Hard, r.Scope = c.Hard, c.Scope
}

// open reports whether a reason leaves it open why.
func open(reason string) bool {
	return reason == Undefined || reason == OnHold || reason == Expired
}

// understand classifies a reply that a mail quotes, with what the mail gives away about the session.
func understand(r Reply, kind, address, remote string) (Class, Reply) {
	if kind == "x-unix" && r.Text != "" {
		r.Text = "x-unix; " + r.Text
	}
	r = completed(r)
	if r.Phase == "" {
		r.Phase = phaseOf(r.Text)
	}
	_, domain, _ := strings.Cut(address, "@")
	if remote != "" {
		// The remote host tells the provider behind a domain of its customers.
		if c := Classify(Reply{r.Code, r.Enhanced, r.Text, r.Phase}, hostOf(remote)); c.Reason == Filtered {
			return c, r
		}
	}
	c := Classify(r, domain)
	if c.Hard && c.Reason == HostUnknown && r.Code != 0 && strings.Contains(strings.ToLower(r.Text), "unrouteable address") {
		// Exim's words for a domain that it finds no way to. In a reply they are those of the domain's own host, for a user
		// that none of its routers knows.
		c = classOf(UserUnknown, true)
	}
	return c, r
}

func recipientOf(address string, c Class, r Reply) Recipient {
	out := Recipient{Recipient: address, Status: r.Enhanced, Reason: c.Reason, Hard: c.Hard, Scope: c.Scope, Action: ActionFailed}
	if r.Code != 0 {
		out.Reply = itoa3(r.Code)
	}
	return out
}

func itoa3(n int) string {
	return string([]byte{'0' + byte(n/100%10), '0' + byte(n/10%10), '0' + byte(n%10)})
}

// diagnosticText parts "smtp; 550 5.1.1 ..." into type and text.
func diagnosticText(value string) (kind, text string) {
	kind, text, ok := strings.Cut(value, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if !ok || len(kind) > 20 || strings.ContainsAny(kind, " .<@") {
		return "", oneLine(value)
	}
	return kind, oneLine(text)
}

// hostOf is the name in "dns; mx.example.jp (192.0.2.1)".
func hostOf(value string) string {
	if _, after, ok := strings.Cut(value, ";"); ok {
		value = after
	}
	if f := strings.Fields(value); len(f) > 0 {
		return strings.ToLower(strings.Trim(f[0], "<>[]."))
	}
	return ""
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// phases are the words by which servers say which step was refused.
var phases = []struct{ phase, words string }{
	{"dot", "in reply to end of data"}, {"dot", "after end of data"}, {"dot", "failed after i sent the message"}, {"dot", "our final data"},
	{"dot", "after pipelined end of data"}, {"dot", "after sending data block"},
	{"rcpt", "in reply to rcpt to"}, {"rcpt", "after rcpt to"}, {"rcpt", "after pipelined rcpt"}, {"rcpt", "does not like recipient"}, {"rcpt", "our rcpt to"}, {"rcpt", "[rcpt_to]"},
	{"rcpt", "smtp:rcpt"}, {"rcpt", "rcpt to response"},
	{"data", "in reply to data"}, {"data", "after data"}, {"data", "after pipelined data"},
	{"mail", "in reply to mail from"}, {"mail", "after mail from"}, {"mail", "after pipelined mail"}, {"mail", "but sender was rejected"}, {"mail", "our mail from"}, {"mail", "[mail_from]"},
	{"ehlo", "in reply to ehlo"}, {"ehlo", "in reply to helo"}, {"ehlo", "after ehlo"}, {"ehlo", "after helo"}, {"ehlo", "helo handshake"},
	{"connect", "refused to talk to me"}, {"connect", "after initial connection"}, {"connect", "but greeting failed"},
}

// phaseOf returns the step of the session that a text speaks of.
func phaseOf(text string) string {
	text = strings.ToLower(text)
	for _, p := range phases {
		if strings.Contains(text, p.words) {
			return p.phase
		}
	}
	return ""
}
