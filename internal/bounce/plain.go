package bounce

import (
	"slices"
	"strings"
)

// plainReport reads the formats that servers send instead of RFC 3464: text for people. Which mails are such reports is
// told by families.go; how they are read is the same for all, because all of them name a failed address and then say
// what happened to it.
func (m *mail) plainReport() (Verdict, bool) {
	f := m.family()
	if f == nil {
		return Verdict{}, false
	}
	if f.notice {
		return Verdict{Kind: KindOther, Family: f.name}, true
	}
	v := Verdict{Kind: KindBounce, Family: f.name}
	said := m.said()
	reached := false
	for _, address := range said.recipients {
		if r := said.judge(address, f); said.reached(r) {
			reached = true
		} else {
			v.add(r)
		}
	}
	if reached && len(v.Bounces) == 0 {
		v.Kind = KindDelivered
		return v, true
	}
	if len(f.filter) > 0 && m.bears(f.filter) {
		v.filtered()
	}
	m.unmask(v.Bounces)
	if f.machine {
		return v, len(v.Bounces) > 0 && !v.open()
	}
	if len(v.Bounces) > 0 {
		return v, f.name != "general" || m.original != nil || !v.unclear() || m.failed()
	}
	if inner, ok := m.inner(); ok {
		return inner, true
	}
	for _, address := range m.mailed() {
		v.add(said.judge(address, f))
	}
	return v, len(v.Bounces) > 0
}

// filtered turns what sounds dead, or says nothing, into a filter's work.
func (v *Verdict) filtered() {
	for i, r := range v.Bounces {
		if r.Hard || open(r.Reason) {
			c := classOf(Filtered, false)
			v.Bounces[i].Reason, v.Bounces[i].Hard, v.Bounces[i].Scope = c.Reason, c.Hard, c.Scope
		}
	}
}

// unclear reports whether nothing is known but addresses.
func (v Verdict) unclear() bool {
	for _, r := range v.Bounces {
		if r.Reason != Undefined || r.Status != "" || r.Reply != "" {
			return false
		}
	}
	return true
}

// open reports whether the reason of every recipient is left open.
func (v Verdict) open() bool {
	for _, r := range v.Bounces {
		if !open(r.Reason) {
			return false
		}
	}
	return true
}

// failed reports whether the mail says in so many words that a message was not delivered.
func (m *mail) failed() bool {
	text := strings.ToLower(m.subject() + "\n" + m.said().whole)
	for _, words := range failures {
		if !slices.Contains(weakFailures, words) && strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// unmask puts the address that was mailed in the place of one whose local part a provider made unreadable ("****@isp").
func (m *mail) unmask(bounces []Recipient) {
	for i := range bounces {
		local, domain, _ := cutLast(bounces[i].Recipient, '@')
		if strings.Trim(local, "*#x") != "" || !strings.ContainsAny(local, "*#") {
			continue
		}
		for _, a := range m.mailed() {
			if _, d, _ := cutLast(a, '@'); strings.EqualFold(d, domain) {
				bounces[i].Recipient = a
			}
		}
	}
}

// inner reads a report that a gateway wrapped into one of its own, which names nobody. One level, and only then: what
// a report that says something returns may itself be a report about somebody else's mail.
func (m *mail) inner() (Verdict, bool) {
	if m.wrapped || m.returned == "" {
		return Verdict{}, false
	}
	n := takeApart(m.returned)
	n.wrapped = true
	if v := n.judge(); v.Kind == KindBounce {
		m.original = n.original
		m.status = n.status
		return v, true
	}
	return Verdict{}, false
}

// account is what the text of a report says, by recipient.
type account struct {
	recipients []string
	lines      map[string][]string // by recipient in lower case: all from where it is named to the next one
	naming     map[string][]string // those that name it
	whole      string
	subject    string // of the report
	delayed    bool
}

// said reads the report's own words, up to the returned message.
func (m *mail) said() *account {
	if m.account != nil {
		return m.account
	}
	a := &account{lines: map[string][]string{}, naming: map[string][]string{}}
	m.account = a
	var report strings.Builder
	for _, text := range m.texts {
		head, returned := cutReturned(text)
		report.WriteString(head)
		report.WriteByte('\n')
		if m.original == nil && returned != "" {
			m.returned = returned
			m.original = returnedHeader(returned)
		}
		if returned != "" {
			break
		}
	}
	a.whole = report.String()
	if len(a.whole) > maxReport {
		a.whole = a.whole[:maxReport]
	}
	a.subject = m.subject()
	a.delayed = isWarning(a.subject + "\n" + a.whole)
	a.read(m.known(), m.ours())
	return a
}

// maxReport bounds the text for people; no server writes that much about one mail.
const maxReport = 64 << 10

// known are the recipients that a header names: then only these are meant.
func (m *mail) known() []string {
	var all []string
	for _, name := range []string{"x-failed-recipients", "x-mailer-daemon-recipients"} {
		for _, item := range strings.FieldsFunc(m.header.get(name), func(r rune) bool { return r == ',' || r == ' ' || r == ';' }) {
			if a := addressIn(item); a != "" && !contains(all, a) && len(all) < maxFields {
				all = append(all, a)
			}
		}
	}
	return all
}

// ours are the addresses that this mail was sent to and from: never the one that failed.
func (m *mail) ours() []string {
	var all []string
	for _, name := range []string{"to", "from", "return-path"} {
		if a := addressIn(m.header.get(name)); a != "" {
			all = append(all, a)
		}
	}
	return all
}

// mailed is whom the returned message was addressed to, when the report names nobody.
func (m *mail) mailed() []string {
	for _, name := range []string{"x-envelope-to", "envelope-to", "to"} {
		value := m.original.get(name)
		if a := addressIn(value); a != "" && strings.Count(value, "@") == 1 && !contains(m.ours(), a) {
			return []string{a}
		}
	}
	return nil
}

// read gives each statement to the recipient it is about: the one it names, else the one named last.
func (a *account) read(known, ours []string) {
	a.recipients = append(a.recipients, known...)
	current := ""
	for _, line := range statements(a.whole) {
		found := a.named(line, known, ours)
		if found != "" {
			current = strings.ToLower(found)
			if !contains(a.recipients, found) {
				a.recipients = append(a.recipients, found)
			}
			a.naming[current] = append(a.naming[current], line)
		} else if begins(line) && len(a.naming[current]) > 0 && begins(a.naming[current][0]) {
			current = "" // where each line is a statement with a code, this one is about somebody else
		}
		if current != "" {
			a.lines[current] = append(a.lines[current], line)
		}
	}
}

// begins reports whether a line begins with a reply code.
func begins(line string) bool { return len(line) > 3 && replyAt(line, 0) }

// statements joins lines that continue the one before, because they are indented deeper. Below a heading ("...to the
// following:") each that begins with an address is one of its own.
func statements(text string) []string {
	var all []string
	base, open, heading := 0, false, false
	for _, line := range strings.Split(text, "\n") {
		body := strings.TrimLeft(line, " \t")
		indent := len(line) - len(body)
		if body = strings.TrimSpace(body); body == "" {
			open = false
			continue
		}
		listed := heading && beginsWithAddress(body)
		if open && indent > base && len(all[len(all)-1]) < maxText && !standsAlone(body) && !listed {
			all[len(all)-1] += "\n" + body
			continue
		}
		if !listed || indent <= base {
			base, heading = indent, strings.HasSuffix(body, ":") && !strings.Contains(body, "@")
		}
		all, open = append(all, body), true
	}
	return all
}

// beginsWithAddress tells a line of a list of recipients.
func beginsWithAddress(line string) bool {
	start, end := addressSpan(line)
	return end > 0 && strings.Trim(line[:start], " <\"'*-") == ""
}

// standsAlone: a line of a transcript, or a named address ("RCPT TO: a@example.jp").
func standsAlone(line string) bool {
	if strings.HasPrefix(line, "<<<") || strings.HasPrefix(line, ">>>") {
		return true
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok || len(name) > 24 || strings.ContainsAny(name, "<>@.[]()0123456789") {
		return false
	}
	value = strings.Trim(value, " \t<")
	start, end := addressSpan(value)
	return end > 0 && start == 0
}

// named returns the recipient that a line is about, "" for none.
func (a *account) named(line string, known, ours []string) string {
	start, end := addressSpan(line)
	if end == 0 || len(a.recipients) >= maxFields {
		return ""
	}
	address := tidyAddress(line[start:end])
	after, _, _ := strings.Cut(line[end:], "\n")
	if address == "" || contains(ours, address) && !heads(line[:start], after) {
		return ""
	}
	if contains(a.recipients, address) {
		return address
	}
	if len(known) == 0 && introduces(line[:start], after) {
		return address
	}
	return ""
}

// heads: the address alone with a colon, as qmail and its kin begin a recipient's paragraph.
func heads(before, after string) bool {
	return strings.Trim(before, "< ") == "" && strings.TrimLeft(after, "> ") == ":"
}

// introduces reports whether the words round an address present it as a failed recipient: it leads the line, or words
// before it say so.
func introduces(before, after string) bool {
	answer := strings.HasPrefix(before, "<<<")
	before = strings.ToLower(strings.Trim(before, " \t<>*\"'(-[•="))
	if before == "" || !answer && len(before) == 3 && findReply(before) != "" {
		return leadsLine(after)
	}
	for _, words := range notRecipient {
		if strings.HasSuffix(before, words) {
			return false
		}
	}
	for _, words := range leads {
		if strings.Contains(before, words) {
			return true
		}
	}
	return false
}

// leadsLine reports whether what follows an address at the start of a line fits a recipient's line.
func leadsLine(after string) bool {
	after = strings.TrimLeft(after, " \t>)\"']*,")
	return after == "" || strings.IndexByte(":.,(<[-", after[0]) >= 0 || isReport(after)
}

// isReport: text that follows an address on its line, as in "a@example.jp on Thu" or "a@example.jp Invalid address".
func isReport(after string) bool {
	low := strings.ToLower(after)
	for _, words := range []string{"on ", "invalid", "error", "failed", "delivery", "unknown", "was ", "is ", "could", "delayed", "rejected", "user", "mailbox", "님", "\t", "5", "4"} {
		if strings.HasPrefix(low, words) {
			return true
		}
	}
	return false
}

// about is what the text says of one recipient; of the only one it is the whole text.
func (a *account) about(address string, only bool) string {
	if lines := a.lines[strings.ToLower(address)]; len(lines) > 0 {
		return strings.Join(lines, "\n")
	}
	if only {
		return a.whole
	}
	return ""
}

// judge decides on one recipient: by the lines about it; when they leave it open, by the family's own words; when only
// one recipient is there, by the whole text.
func (a *account) judge(address string, f *family) Recipient {
	only := len(a.recipients) <= 1
	try := []string{strings.Join(a.naming[strings.ToLower(address)], "\n"), a.about(address, only)}
	if only {
		try = append(try, a.whole)
		if strings.Contains(strings.ToLower(a.subject), strings.ToLower(address)) {
			try = append(try, a.subject) // one that names the address is the server's, not the quoted one of ours
		}
	}
	var best Recipient
	for i, text := range try {
		reply := replyWithin(text)
		if reply.Phase == "" && phaseOf(reply.Text) == "" {
			reply.Phase = phaseOf(try[1]) // qmail tells the step on the line before the reply
		}
		c, r := understand(reply, "", address, "")
		if reason := f.reason(matchable(text)); reason != "" && (open(c.Reason) || f.overrules) {
			c = classOf(reason, permanent(r))
		}
		if i == 0 || !open(c.Reason) || best.Reason == Undefined {
			best = recipientOf(address, c, r)
			best.Text = oneLine(text)
		}
		// What names the address may be words for people only; then the reply further down says it better.
		if !open(c.Reason) && (r.Code != 0 || r.Enhanced != "" || c.Hard || i > 0 || !coded(try[1])) {
			break
		}
	}
	if a.delayed {
		best.delay()
	}
	return best
}

// reached reports whether the text says that a recipient was reached: by the code of its own line, or in words that stand
// over the whole list.
func (a *account) reached(r Recipient) bool {
	if !open(r.Reason) || r.Reason == Expired {
		return false
	}
	if r.Status != "" || r.Reply != "" {
		return r.Reply == "" && r.Status[0] == '2' && strings.Contains(r.Text, "250 ") // 2.1.5 alone may be a version
	}
	return r.Reason == Undefined && !coded(a.whole) && anyOf(successes, strings.Join(strings.Fields(strings.ToLower(a.whole)), " "))
}

// coded reports whether a reply with its code stands in a text.
func coded(text string) bool { return findReply(text) != "" || findEnhanced(text) != "" }

// replyWithin picks the reply out of lines. A session's transcript has the server's answers on lines of their own,
// what follows the first refusal is only its echo ("no valid recipients").
func replyWithin(text string) Reply {
	var answers []string
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "<<< "); ok {
			answers = append(answers, rest)
		}
	}
	for _, answer := range answers {
		if code := findReply(answer); code != "" && code != "503" && answer[0] == '5' {
			return Reply{Text: answer, Phase: phaseBefore(text, answer)}
		}
	}
	return Reply{Text: text}
}

// phaseBefore is the command before an answer in a transcript.
func phaseBefore(text, answer string) string {
	before, _, _ := strings.Cut(text, answer)
	i := strings.LastIndex(before, ">>> ")
	if i < 0 {
		return ""
	}
	switch command := strings.ToLower(before[i+4:]); {
	case strings.HasPrefix(command, "rcpt"):
		return "rcpt"
	case strings.HasPrefix(command, "mail"):
		return "mail"
	case strings.HasPrefix(command, "data"):
		return "rcpt" // Sendmail pipelines; the refusal belongs to RCPT, else there were a dot
	case strings.HasPrefix(command, "."):
		return "dot"
	case strings.HasPrefix(command, "ehlo"), strings.HasPrefix(command, "helo"):
		return "ehlo"
	}
	return ""
}

// cutReturned parts a report from the message it returns.
func cutReturned(text string) (report, returned string) {
	at, from := len(text), len(text)
	offset, n := 0, 0
	for offset < len(text) {
		end := strings.IndexByte(text[offset:], '\n')
		if end < 0 {
			end = len(text) - offset
		}
		line := text[offset : offset+end]
		if startsReturned(line) && n > 0 {
			at, from = offset, min(offset+end+1, len(text))
			if isHeaderStart(line) {
				from = offset
			}
			break
		}
		if strings.TrimSpace(line) != "" {
			n++
		}
		offset += end + 1
	}
	return text[:at], text[from:]
}

func startsReturned(line string) bool {
	low := strings.ToLower(strings.Trim(line, " \t-=*#>:."))
	for _, words := range cuts {
		if strings.HasPrefix(low, words) {
			return true
		}
	}
	return isHeaderStart(line)
}

// isHeaderStart: the fields that a returned message begins with.
func isHeaderStart(line string) bool {
	low := strings.ToLower(strings.TrimLeft(line, " \t>"))
	for _, name := range []string{"received: ", "received:from", "return-path:", "dkim-signature:", "x-google-dkim-signature:", "arc-seal:", "x-received:"} {
		if strings.HasPrefix(low, name) {
			return true
		}
	}
	return false
}

// returnedHeader reads the header of a message that is quoted in the text, indented or not.
func returnedHeader(text string) header {
	text = strings.TrimLeft(text, "\n \t-=*")
	if len(text) > maxReport {
		text = text[:maxReport]
	}
	h, _ := parseHeader(text)
	return h
}

func contains(addresses []string, a string) bool {
	for _, have := range addresses {
		if sameAddress(have, a) {
			return true
		}
	}
	return false
}

func isWarning(text string) bool {
	low := strings.ToLower(text)
	for _, words := range warnings {
		if strings.Contains(low, words) {
			return true
		}
	}
	return false
}
