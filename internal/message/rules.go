package message

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/publicsuffix"
)

// fault is what a rule found in a message. Its text is the same for all messages that have it: it is told once.
type fault struct {
	rule, text string
	all        bool // it is about the campaign: nobody is named
}

func found(rule, format string, args ...any) fault {
	return fault{rule: rule, text: fmt.Sprintf(format, args...)}
}

// rules look at every message.
var rules = []func(*opened) []fault{
	subjectRule, replyRule, markRule, unsubscribeRule, senderRule, textPartRule, sizeRule, pictureRule, linkRule, leftoverRule, featureRule, valueRule,
}

func inspectOpened(m *opened) (faults []fault) {
	if m.html != "" {
		m.page = inspect(m.html)
	}
	for _, r := range rules {
		faults = append(faults, r(m)...)
	}
	return faults
}

// Limits of practice, not of a standard: phones show about 50 Latin letters or 30 full-width characters of a subject.
const (
	maxSubject     = 50
	maxWideSubject = 60 // columns
)

func subjectRule(m *opened) []fault {
	width, most, unit := columns(m.subject), maxSubject, "characters"
	if strings.ContainsFunc(m.subject, isWide) {
		most, unit = maxWideSubject, "columns (a full-width character is two)"
	}
	switch {
	case strings.TrimSpace(m.subject) == "":
		return []fault{found(RuleEmptySubject, "the subject is empty")}
	case width > most:
		return []fault{found(RuleSubject, "the subject is wider than %d %s; phones cut it", most, unit)}
	}
	return nil
}

// fakeReply: the marks of replies and forwarded mail in the languages of common mail programs.
var fakeReply = regexp.MustCompile(`(?i)^(re|fwd?|aw|wg|sv|vs|vb|tr|rv|enc|antw|odp|r|i|回复|答复|转发|回覆|轉寄|返信|転送)\s*(\[\d+\])?[:：]`)

func replyRule(m *opened) []fault {
	if containsAny(m.subject, ":", "：") && fakeReply.MatchString(m.subject) {
		return []fault{found(RuleReply, "the subject looks like a reply or a forwarded mail, which it is not")}
	}
	return nil
}

// markRule: the mark was asked for by the law of Japan until the opt-in of December 2008. Who sets it today says that
// nobody consented.
const (
	subjectMark = "未承諾広告"
	oldMark     = "未承諾広告※"
)

func markRule(m *opened) []fault {
	if strings.Contains(m.subject, subjectMark) || strings.Contains(m.text, oldMark) || strings.Contains(m.page.text, oldMark) {
		return []fault{found(RuleMark, "未承諾広告※ is a mark of the law before 2008; consent is needed now")}
	}
	return nil
}

// optOut are the words of which one says that mail can be stopped, beside the address that does it.
var optOut = []string{"停止", "解除", "退会", "希望されない", "希望しない", "不要", "オプトアウト", "unsubscribe", "Unsubscribe"}

// unsubscribeRule: both parts must show the way out (特定電子メール法 article 4, CAN-SPAM section 5(a)(5)).
func unsubscribeRule(m *opened) (faults []fault) {
	if !m.marketing {
		return nil
	}
	if m.unsub == "" {
		f := found(RuleUnsubscribe, "marketing mail must have a way to unsubscribe; set bounces.return_path, sender.unsubscribe_mailto or sender.unsubscribe_url in mailer.yaml")
		f.all = true
		return []fault{f}
	}
	to := mailtoAddress(m.unsub)
	inText := strings.Contains(m.text, m.unsub) || to != "" && strings.Contains(m.text, to)
	if !inText {
		faults = append(faults, found(RuleUnsubscribe, "the text part has no unsubscribe address; put {{.unsubscribe_url}} into it, or use a layout"))
	}
	inHTML := strings.Contains(m.page.text, m.unsub) || slices.ContainsFunc(m.page.links, func(a anchor) bool { return a.href == m.unsub })
	if m.html != "" && !inHTML {
		faults = append(faults, found(RuleUnsubscribe, `the HTML part has no unsubscribe link; put <a href="{{.unsubscribe_url}}"> into it, or use a layout`))
	}
	if strings.HasPrefix(m.lang, "ja") && inText && !containsAny(m.text, optOut...) {
		faults = append(faults, found(RuleUnsubscribeText, "the text part does not say what the unsubscribe address is for; the law wants 配信停止 or the like beside it"))
	}
	return faults
}

// contactWords and phone are the ways to reach the sender that a rule can know.
var (
	contactWords = regexp.MustCompile(`(?i)問い?合わ?せ|連絡先|窓口|contact|support|kontakt|impressum|imprint`)
	phone        = regexp.MustCompile(`\+?\d[\d()\s-]{7,}\d`)
)

// senderRule: who sends it, where they are and how they are reached stands in the part that people read (特定電子メール法
// article 4 and its rule 7, CAN-SPAM section 5(a)(5)). What is not configured is told once for the campaign.
func senderRule(m *opened) (faults []fault) {
	if !m.marketing {
		return nil
	}
	for _, part := range []struct{ name, text string }{{"text", m.text}, {"HTML", m.page.text}} {
		if part.name == "HTML" && m.html == "" {
			continue
		}
		for _, w := range []struct{ rule, key, what string }{
			{RuleSender, "organization", "the sender's organization"}, {RulePostalAddress, "postal_address", "the postal address"},
		} {
			if want := m.sender[w.key]; !strings.Contains(part.text, want) && !strings.Contains(squeeze(part.text), squeeze(want)) {
				faults = append(faults, found(w.rule, "the %s part does not show %s; put {{.sender.%s}} into it, or use a layout", part.name, w.what, w.key))
			}
		}
		reply := m.sender["reply_to"]
		reached := reply != "" && strings.Contains(part.text, reply) || m.sender["address"] != "" && strings.Contains(part.text, m.sender["address"]) ||
			contactWords.MatchString(part.text) || phone.MatchString(part.text) ||
			part.name == "HTML" && slices.ContainsFunc(m.page.links, func(a anchor) bool {
				return strings.HasPrefix(a.href, "tel:") || reply != "" && strings.Contains(a.href, reply)
			})
		if !reached {
			faults = append(faults, found(RuleContact, "the %s part does not say how the sender is reached; put {{.sender.reply_to}} or a telephone number into it, or use a layout", part.name))
		}
	}
	return faults
}

// textPartRule: a text part of a few words under a long page looks like spam, and is all that some people see.
func textPartRule(m *opened) []fault {
	switch {
	case strings.TrimSpace(m.text) == "":
		return []fault{found(RuleTextPart, "the text part is empty")}
	case len(m.page.text) > len(m.text) && letters(m.page.text) > 5*letters(urls.ReplaceAllString(m.text, "")):
		return []fault{found(RuleTextPart, "the text part says less than a fifth of what the HTML part says")}
	}
	return nil
}

func letters(s string) (n int) {
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			n++
		}
	}
	return n
}

// Gmail cuts HTML at 102 KB, and hides the unsubscribe link with it.
const (
	maxHTML  = 102 << 10
	nearHTML = 80 << 10
)

func sizeRule(m *opened) []fault { return sizeFaults(len(m.html)) }

func sizeFaults(n int) []fault {
	switch {
	case n > maxHTML:
		return []fault{found(RuleSize, "the HTML part is larger than %d KB: Gmail cuts it there", maxHTML>>10)}
	case n > nearHTML:
		return []fault{found(RuleSize, "the HTML part is larger than %d KB: Gmail cuts it at %d KB", nearHTML>>10, maxHTML>>10)}
	}
	return nil
}

// A page with fewer letters than a sentence is its pictures. One with many bytes need not be counted.
const (
	fewLetters = 20
	manyBytes  = 1000
)

func altFaults(p picture) []fault {
	if p.alt {
		return nil
	}
	return []fault{found(RuleAlt, "the picture %s has no alt text; most programs show that first: ![what it shows](...)", shortened(path.Base(p.src)))}
}

func pictureRule(m *opened) (faults []fault) {
	for _, p := range m.page.pictures {
		faults = append(faults, altFaults(p)...)
	}
	if len(m.page.pictures) > 0 && len(m.page.text) < manyBytes && letters(m.page.text) < fewLetters {
		faults = append(faults, found(RuleImageOnly, "the HTML part is pictures and hardly a word: many people see none of it, and filters take it for spam"))
	}
	return faults
}

// shorteners hide where a link goes; filters know them as the home of spam.
var shorteners = map[string]bool{"bit.ly": true, "bitly.com": true, "tinyurl.com": true, "t.co": true, "goo.gl": true, "ow.ly": true, "is.gd": true,
	"buff.ly": true, "rebrand.ly": true, "cutt.ly": true, "t.ly": true, "x.gd": true, "onl.la": true, "lnkd.in": true, "shorturl.at": true,
	"rb.gy": true, "v.gd": true, "tiny.cc": true, "ux.nu": true, "00m.in": true, "urx.nu": true, "urx3.nu": true, "p.tl": true, "adf.ly": true}

// Shortener reports whether a host is a public link shortener.
func Shortener(host string) bool {
	return shorteners[strings.TrimPrefix(strings.ToLower(host), "www.")]
}

func linkRule(m *opened) (faults []fault) {
	for _, l := range m.page.links {
		if l.href != m.unsub {
			faults = append(faults, hrefFaults(l)...)
		}
	}
	for _, p := range m.page.pictures {
		faults = append(faults, srcFaults(p.src, m.embedded)...)
	}
	if m.html == "" {
		for _, u := range urls.FindAllString(m.text, -1) {
			if u = urlEnd(u); u != m.unsub {
				faults = append(faults, hrefFaults(anchor{href: u})...)
			}
		}
	}
	if strings.Contains(m.text, refusedURL) && len(faults) == 0 {
		faults = append(faults, found(RuleLink, "a field's value cannot be a link (only http, https and mailto): the link leads nowhere"))
	}
	return unique(faults)
}

// refusedURL is what html/template and headOfURL put in the place of a URL that could run something.
const refusedURL = "#ZgotmplZ"

// urls are addresses in running text.
var urls = regexp.MustCompile(`(?i)\bhttps?://[^\s<>"「」『』（）。、]+`)

// urlEnd takes off what ends a sentence more often than a URL.
func urlEnd(u string) string { return strings.TrimRight(u, ".,;:!?)'\"") }

// srcFaults are those of a picture's address.
func srcFaults(src string, embedded []string) []fault {
	switch u, err := url.Parse(src); {
	case strings.HasPrefix(src, "cid:"):
		if !slices.Contains(embedded, strings.TrimPrefix(src, "cid:")) {
			return []fault{found(RuleLink, "the picture %s is not among the embedded files; name it under embed:", src)}
		}
	case strings.HasPrefix(src, "data:"): // a feature that is not supported
	case err != nil || u.Host == "":
		return []fault{found(RuleLink, "the picture %q leads nowhere from a mail; write its whole https address, or embed: it", shortened(src))}
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return []fault{found(RuleLinkHTTP, "the picture %s is not https; some programs do not show it", shortened(src))}
	}
	return nil
}

// hostLike is a link's text that says where it goes.
var hostLike = regexp.MustCompile(`(?i)^(?:https?://)?((?:[a-z0-9-]+\.)+[a-z]{2,})(?:[/?#:].*)?$`)

func hrefFaults(l anchor) (faults []fault) {
	u, err := url.Parse(l.href)
	switch {
	case strings.Contains(l.href, "ZgotmplZ"):
		return []fault{found(RuleLink, "a field's value cannot be a link (only http, https and mailto): the link leads nowhere")}
	case l.href == "" || l.href == "#":
		return []fault{found(RuleLink, "the link %q has no address", shortened(l.text))}
	case strings.HasPrefix(l.href, "#"): // within the page
		return nil
	case err != nil:
		return []fault{found(RuleLink, "the link %q is no address", shortened(l.href))}
	}
	switch strings.ToLower(u.Scheme) {
	case "mailto", "tel", "sms":
		return nil
	case "":
		return []fault{found(RuleLink, "the link %q leads nowhere from a mail; write the whole https address", shortened(l.href))}
	case "http", "https":
	default:
		return []fault{found(RuleLink, "the link %q is of a kind that mail programs do not open", shortened(l.href))}
	}
	host := strings.ToLower(u.Hostname())
	if host == "" || strings.ContainsAny(host, " _") || !strings.Contains(host, ".") && !loopback(host) {
		return []fault{found(RuleLink, "the link %q names no host", shortened(l.href))}
	}
	if u.Scheme == "http" && !loopback(host) {
		faults = append(faults, found(RuleLinkHTTP, "the link %s is not https", shortened(l.href)))
	}
	if Shortener(host) {
		faults = append(faults, found(RuleLinkShort, "the link %s hides where it goes; filters distrust such addresses", shortened(l.href)))
	}
	if say := hostLike.FindStringSubmatch(l.text); say != nil && isDomain(say[1]) && !sameSite(strings.ToLower(say[1]), host) {
		faults = append(faults, found(RuleLinkText, "a link says %s and goes to %s, as phishing does", say[1], host))
	}
	return faults
}

// isDomain tells example.com from Node.js: the ending is one that exists.
func isDomain(name string) bool {
	_, icann := publicsuffix.PublicSuffix(strings.ToLower(name))
	return icann
}

func sameSite(a, b string) bool {
	a, b = strings.TrimPrefix(a, "www."), strings.TrimPrefix(b, "www.")
	return a == b || strings.HasSuffix(a, "."+b) || strings.HasSuffix(b, "."+a)
}

func loopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

// leftovers are what people leave in drafts, and the merge fields of other programs. A pattern is tried where one of its
// hints is found: that is a hundred times cheaper, and hardly ever the case.
var leftovers = []struct {
	hints   []string
	pattern *regexp.Regexp
}{
	{[]string{"{{", "}}"}, regexp.MustCompile(`\{\{|\}\}`)},
	{[]string{"<no value>"}, regexp.MustCompile(`<no value>`)},
	{[]string{"orem ipsum", "OREM IPSUM"}, regexp.MustCompile(`(?i)lorem ipsum`)},
	{[]string{"TODO", "FIXME", "TBD"}, regexp.MustCompile(`\b(TODO|FIXME|TBD)\b`)},
	{[]string{"XXX"}, regexp.MustCompile(`\bX{3,}\b`)},
	{[]string{"*|"}, regexp.MustCompile(`\*\|\w+\|\*`)},
	{[]string{"%%"}, regexp.MustCompile(`%%\w+%%`)},
	{[]string{"${"}, regexp.MustCompile(`\$\{\w+\}`)},
	{[]string{"[["}, regexp.MustCompile(`\[\[\w+\]\]`)},
	{[]string{"○○", "〇〇", "●●", "◯◯", "××"}, regexp.MustCompile(`[○〇●◯×]{2,}\s*(様|さま|さん|御中|株式会社)`)},
}

func leftoverRule(m *opened) (faults []fault) {
	for _, text := range []string{m.subject, m.text, m.page.text} {
		for _, l := range leftovers {
			if !containsAny(text, l.hints...) {
				continue
			}
			if what := l.pattern.FindString(urls.ReplaceAllString(text, " ")); what != "" {
				faults = append(faults, found(RuleLeftover, "there is draft or template text left in the message (%s)", what))
			}
		}
	}
	return unique(faults)
}

func containsAny(s string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
}

func featureRule(m *opened) (faults []fault) {
	for _, f := range m.page.features {
		faults = append(faults, found(RuleHTMLFeature, "%s does not work in many mail programs", f))
	}
	return faults
}

// placeholders are what databases and spreadsheets write for nothing.
var placeholders = map[string]bool{"null": true, "(null)": true, "nil": true, "n/a": true, "#n/a": true, "#ref!": true, "#name?": true, "#value!": true,
	"#div/0!": true, "undefined": true, "nan": true, "<null>": true, `\n`: true}

// placeholderStarts are the first letters of placeholders: most values are not among them, and need not be folded.
const placeholderStarts = `nNuU(#<\`

// valueRule: a value that the message must have and that says nothing.
func valueRule(m *opened) (faults []fault) {
	for _, f := range m.asked {
		v, ok := m.values[f]
		switch v = strings.TrimSpace(v); {
		case ok && v == "":
			faults = append(faults, found(RuleEmptyField, "the field %q is blank", f))
		case ok && strings.IndexByte(placeholderStarts, v[0]) >= 0 && placeholders[strings.ToLower(v)]:
			faults = append(faults, found(RuleEmptyField, "the field %q holds %q, which stands for nothing", f, v))
		}
	}
	return faults
}

func unique(faults []fault) []fault {
	var kept []fault
	for _, f := range faults {
		if !slices.Contains(kept, f) {
			kept = append(kept, f)
		}
	}
	return kept
}

// shortened keeps a finding on a line.
func shortened(s string) string {
	const most = 100
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// freemail are the domains of mailboxes for everybody: their DMARC records, or their own filters, refuse mail from them
// that another server sends.
var freemail = map[string]bool{"gmail.com": true, "googlemail.com": true, "aol.com": true, "icloud.com": true, "me.com": true, "mac.com": true,
	"gmx.de": true, "gmx.net": true, "gmx.com": true, "web.de": true, "mail.ru": true, "proton.me": true, "protonmail.com": true, "qq.com": true,
	"163.com": true, "126.com": true, "naver.com": true, "docomo.ne.jp": true, "ezweb.ne.jp": true, "au.com": true, "softbank.ne.jp": true,
	"i.softbank.jp": true, "ymobile.ne.jp": true, "msn.com": true, "ymail.com": true, "rocketmail.com": true, "comcast.net": true, "t-online.de": true,
	"orange.fr": true, "free.fr": true, "libero.it": true, "zoho.com": true, "mail.com": true}

var freemailBrand = regexp.MustCompile(`^(yahoo|hotmail|outlook|live)\.(co\.|com\.|ne\.)?[a-z]{2,3}$`)

// IsFreemail reports whether a domain is one of mailboxes for everybody.
func IsFreemail(domain string) bool { return freemail[domain] || freemailBrand.MatchString(domain) }
