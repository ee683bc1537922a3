package bounce

import (
	"strings"
)

// mail is a mail taken apart: what its author wrote, and the reports in it. A report within a returned message is not
// looked at: it is about somebody else's mail.
type mail struct {
	header      header
	kind        string // media type of the whole
	reportType  string
	texts       []string // text parts written by the sender of this mail
	status      []string // message/delivery-status
	feedback    []string // message/feedback-report
	disposition []string // message/disposition-notification
	original    header   // of the returned message
	returned    string   // the returned message, as far as it is there
	account     *account // what the texts say, once read
	wrapped     bool     // found within another report

	notified sesNotification // what SES says by SNS
}

// Parse reads a whole mail. It never fails and takes time linear in the mail's size.
func Parse(raw []byte) Verdict {
	m := takeApart(normalise(raw))
	v := m.judge()
	v.MessageID = strings.Trim(m.header.get("message-id"), " <>")
	v.Tokens = m.tokens()
	return v
}

func takeApart(s string) *mail {
	e := parseEntity(s)
	m := &mail{header: e.header}
	kind, params := mediaType(e.header.get("content-type"))
	m.kind, m.reportType = kind, strings.ToLower(params["report-type"])
	m.collect(e, 0)
	return m
}

// collect sorts the parts of an entity.
func (m *mail) collect(e entity, depth int) {
	kind, params := mediaType(e.header.get("content-type"))
	switch kind {
	case "message/delivery-status", "message/global-delivery-status":
		m.status = append(m.status, e.text())
	case "message/feedback-report":
		m.feedback = append(m.feedback, e.text())
	case "message/disposition-notification", "message/global-disposition-notification":
		m.disposition = append(m.disposition, e.text())
	case "message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers", "text/rfc822-header", "message/rfc822-headers":
		if m.original == nil {
			m.returned = strings.TrimLeft(decodeTransfer(e.body, e.header.get("content-transfer-encoding")), "\n")
			m.original, _ = parseHeader(m.returned)
		}
	default:
		if strings.HasPrefix(kind, "multipart/") && depth < maxDepth {
			if parts := split(e.body, params["boundary"]); len(parts) > 0 {
				m.collectParts(parts, kind, depth)
				return
			}
		}
		if kind == "" && depth == 0 {
			if parts := lostParts(e.body); len(parts) > 0 {
				m.collectParts(parts, kind, depth)
				return
			}
		}
		if len(m.texts) < 20 && (kind == "" || strings.HasPrefix(kind, "text/") || depth == 0) {
			m.texts = append(m.texts, e.text())
		}
	}
}

func (m *mail) collectParts(parts []entity, kind string, depth int) {
	plain := false
	for _, p := range parts {
		sub, _ := mediaType(p.header.get("content-type"))
		if kind == "multipart/alternative" && sub == "text/html" && plain {
			continue // says the same as the plain part
		}
		plain = plain || sub == "text/plain"
		m.collect(p, depth+1)
	}
}

func (m *mail) judge() Verdict {
	for _, try := range []func() (Verdict, bool){m.complaint, m.report, m.notification, m.receipt, m.unsubscribe, m.plainReport, m.autoreply, m.removal} {
		if v, ok := try(); ok {
			m.spare(v.Bounces)
			v.mark()
			return v
		}
	}
	return Verdict{Kind: KindOther}
}

// spare saves those whose refusal names the sender of the mail and not them: "unknown user: bounce@us" is a server's
// opinion of our address, which it asked about.
func (m *mail) spare(bounces []Recipient) {
	for i, r := range bounces {
		if !r.Hard || len(r.Text) >= maxReply {
			continue
		}
		text := strings.ToLower(r.Text)
		if code := findReply(text); code != "" {
			text = text[strings.Index(text, code):] // past the line by which a report names its recipient
		}
		if us := strings.ToLower(addressIn(m.header.get("to"))); us != "" && strings.Contains(text, us) && !strings.Contains(text, strings.ToLower(r.Recipient)) {
			c := classOf(Rejected, false)
			bounces[i].Reason, bounces[i].Hard, bounces[i].Scope = c.Reason, c.Hard, c.Scope
		}
	}
}

// mark names a report that is nothing but a warning.
func (v *Verdict) mark() {
	warning := v.Kind == KindBounce
	for _, r := range v.Bounces {
		warning = warning && r.Action == ActionDelayed
	}
	if warning {
		v.Detail = DetailDelay
	}
}

// report reads RFC 3464.
func (m *mail) report() (Verdict, bool) {
	v := Verdict{Family: "rfc3464"}
	positive := false
	said := m.said()
	groups := m.groups()
	for _, group := range groups {
		switch group.verb() {
		case ActionFailed, ActionDelayed:
			more := said.about(group.address(), len(groups) == 1)
			if strings.Contains(matchable(more), "envelope expired") {
				group.action = ActionFailed // OpenSMTPD's last word about a message it gave up says "delayed"
			}
			r := group.judge(more)
			if len(groups) == 1 && r.Hard && contradicts(said.whole) {
				c := classOf(MailboxFull, false)
				r.Reason, r.Hard, r.Scope = c.Reason, c.Hard, c.Scope
			}
			v.add(r)
		default:
			positive = true
		}
	}
	switch {
	case len(v.Bounces) > 0:
		v.Kind = KindBounce
	case positive:
		v.Kind = KindDelivered
	default:
		return v, false
	}
	return v, true
}

// add takes a recipient once: of two statements about one address the first that gives a reason counts.
func (v *Verdict) add(r Recipient) {
	if r.Recipient == "" || len(v.Bounces) >= maxFields {
		return
	}
	for i, have := range v.Bounces {
		if sameAddress(have.Recipient, r.Recipient) {
			if open(have.Reason) && !open(r.Reason) {
				v.Bounces[i] = r
			}
			return
		}
	}
	v.Bounces = append(v.Bounces, r)
}

// groups returns the per-recipient groups of all reports in the mail. A server that forgets the media type, or loses the
// part in broken MIME, still writes the fields: then they are read from the text.
func (m *mail) groups() []statusRecipient {
	var all []statusRecipient
	for _, body := range m.status {
		all = append(all, parseStatus(body)...)
	}
	if len(all) > 0 {
		return all
	}
	for _, text := range m.texts {
		if i := strings.Index(text, "\n> Final-Recipient:"); i >= 0 {
			if m.forwards(text) {
				all = append(all, parseStatus(strings.ReplaceAll(text[i:], "\n> ", "\n"))...)
			}
		} else if fields := fieldsWithin(text); fields != "" {
			all = append(all, parseStatus(fields)...)
		}
	}
	return all
}

// forwards tells a report that a person passed on as it came. One who answers it, or asks about it, reports nothing.
func (m *mail) forwards(text string) bool {
	text = strings.ToLower(m.subject() + "\n" + text)
	return anyOf([]string{"fwd:", "fw:", "wg:", "転送", "forwarded"}, text) && strings.Contains(text, "\n> action:")
}

// fieldsWithin returns the report fields in a text: from the line that begins with Reporting-MTA or the first recipient's
// up to the returned message, "" when the text does not hold both a recipient and an action.
func fieldsWithin(text string) string {
	report, _ := cutReturned(text)
	report = "\n" + report // the first field may be the first line
	low := strings.ToLower(report)
	if !strings.Contains(low, "\naction:") || !strings.Contains(low, "\nfinal-recipient:") {
		return ""
	}
	first := len(report)
	for _, name := range []string{"\nreporting-mta:", "\naction:", "\noriginal-recipient:", "\nfinal-recipient:"} {
		if i := strings.Index(low, name); i >= 0 {
			first = min(first, i+1)
		}
	}
	return report[first:]
}
