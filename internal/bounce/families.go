package bounce

import (
	"mime"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
	"io"
)

// family is one server's kind of report, told by its marks. Each list that is not empty must have one of its entries in
// the mail: from, subject and headers in the header, body in the report's text. All in lower case.
type family struct {
	name                         string
	from, subject, headers, body []string
	texts                        []textRule // reasons in words that only this family uses
	filter                       []string   // header lines that say: the recipient's own filter did it, whatever the words
	overrules                    bool       // its own words come before the general ones
	notice                       bool       // about other people's mail: no bounce, whatever it quotes
	machine                      bool       // only a mail of the null sender that is no automatic reply, and only with a reason that is known
}

// families are asked in order; the general ones stand last.
var families = []family{
	{name: "postfix notice", notice: true, subject: []string{"postfix smtp server: errors from", "postfix smtp client: protocol error", "errors from "}, body: []string{"see the local mail logfile", "in: ehlo", "in: helo"}},
	{name: "mailman notice", notice: true, body: []string{"mailing list bounce action notice", "uncaught bounce notification", "mailing list confirmation notification", "awaits moderator approval", "held until the list moderator"}},
	{name: "quarantine", notice: true, subject: []string{"quarantine", "spam digest", "spam report", "隔離"}},
	{name: "google groups", from: []string{"mailer-daemon@google"}, body: []string{"google groups", "groups.google.com/support"}, overrules: true, texts: []textRule{
		{Rejected, []string{"google groups", "groups.google.com/support"}}, // "it may not exist, or you may not post": no statement about an address
	}},
	{name: "exim", body: []string{
		"this message was created automatically by mail delivery software", "a message that you sent could not be delivered",
		"a message that you sent has not yet been delivered", "a message that you have sent could not be delivered",
	}},
	{name: "qmail", body: []string{
		"hi. this is the", "this is the qmail-send program", "i'm afraid i wasn't able to deliver", "sorry, we were unable to deliver your message", "this is a permanent error; i've given up",
	}},
	{name: "ezweb", from: []string{"ezweb.ne.jp", "au.com"}, subject: []string{"mail system error"}, filter: []string{"x-spasign: ng"}, overrules: true, texts: []textRule{
		{UserUnknown, []string{"<<< 550 <@>: user unknown", "550 <@>: user unknown"}},
		{Suspend, []string{"account is disabled", "account is temporarily limited", "temporarily limited"}},
		{MailboxFull, []string{"over quota", "mailbox is full"}},
		{Filtered, []string{"rejected by a remote mail server"}},
		{Expired, []string{"following recipients did not receive"}},
	}},
	{name: "kddi", filter: []string{"x-spasign: ng"}, from: []string{"dion.ne.jp", "@au.com", "kddi.com"}, body: []string{"could not be delivered", "mailbox is full"}},
	{name: "docomo", from: []string{"docomo.ne.jp"}, subject: []string{"returned mail", "undelivered", "mail system"}},
	{name: "softbank", from: []string{"softbank.ne.jp", "softbank.jp", "vodafone.ne.jp"}, subject: []string{"returned mail", "undeliver", "mail delivery", "mail system"}},
	{name: "imail", headers: []string{"x-mailer: <smtp32"}, subject: []string{"undeliverable mail"}},
	{name: "exchange", headers: []string{"x-ms-embedded-report:", "x-ms-exchange-message-is-ndr:"}},
	{name: "exchange", from: []string{"postmaster", "system administrator", "microsoft exchange"}, subject: []string{"undeliverable", "unzustellbar", "non remis", "配信不能", "配信できません", "no se puede entregar"}},
	{name: "domino", body: []string{"not listed in domino directory", "not listed in public name & address book", "failure reasons"}, subject: []string{"deliver"}},
	{name: "sendmail", body: []string{
		"the following addresses had", "transcript of session follows", "while talking to", "unsent message follows",
	}, from: daemons},
	{name: "dragonfly", body: []string{"dragonfly mail agent"}},
	{name: "opensmtpd", body: []string{"this is the mailer-daemon, please do not reply", "is delayed for more than"}, from: daemons},
	{name: "m-filter", headers: []string{"x-mailer: m-filter"}},
	{name: "fml", headers: []string{"x-mlserver: fml"}, subject: []string{"loop alert", "error report", "not member article"}, texts: []textRule{
		{Rejected, []string{"is not a member of", "not member article"}},
	}},
	{name: "verizon", from: []string{"vtext.com", "post_master@"}, body: []string{"error message below", "invalid user address"}},
	{name: "google", headers: []string{"x-failed-recipients:"}, from: []string{"mailer-daemon@google", "mailer-daemon@googlemail"}},
	{name: "general", headers: []string{"x-failed-recipients:"}},
	{name: "general", from: daemons, subject: failures},
	{name: "general", from: daemons, body: failures},
	{name: "null sender", machine: true, headers: []string{"return-path: <>"}, subject: failures},
	{name: "null sender", machine: true, headers: []string{"return-path: <>"}, body: problems},
}

// problems begin the list of those who were not reached.
var problems = []string{"the following addresses had", "could not be delivered to", "was not delivered to", "could not be delivered because"}

// daemons are the senders of reports.
var daemons = []string{
	"mailer-daemon", "mailer_daemon", "mailerdaemon", "mail delivery", "postmaster", "mail-daemon", "maildaemon", "mdaemon", "mail daemon",
	"mail system", "mail administrator", "system administrator", "mail router", "returned mail", "bounce@", "bounces@", "smtp-gateway", "mail gateway", "from: <>", "delivery subsystem", "delivery-status",
	"delivery notification", "mx-admin", "virus-admin", "mmdf",
}

// failures are the words by which a report says that it is one, in its subject or its text.
var failures = []string{
	"undeliver", "not delivered", "returned mail", "returned to sender", "returned message", "failure notice", "delivery status notification", "delivery failure", "delivery failed", "delivery has failed", "mail delivery",
	"mail failure", "message delivery", "could not be delivered", "couldn't be delivered", "cannot be delivered", "can't be delivered", "could not deliver", "unable to deliver", "couldn't deliver", "was not delivered", "wasn't delivered", "has not been delivered", "has failed", "delivery report", "delivery notification", "delivery error", "non-delivery", "non-deliver", "could not be sent", "nondeliver", "error sending your mail",
	"permanent fatal errors", "permanent error", "mail system error", "did not reach the following", "failed permanently", "退信", "退回", "无法送达", "無法傳遞", "投递失败", "投遞失敗", "未能送达", "전송되지", "발송 실패", "전송 실패", "전송에 실패", "보낼 수 없습니다", "반송", "niet afgeleverd", "onbestelbaar", "kon niet worden bezorgd", "ej levereras", "mancata consegna", "non consegnat", "não foi entregue", "não entregue", "niedostarczon", "недоставлен", "teslim edilemedi", "kunne ikke leveres", "nicht zugestellt", "no entregado", "mail failed", "failed mail", "returning to sender", "return to sender", "配信エラー", "配送エラー", "届きませんでした", "配送できません", "送達", "message not delivered", "error report", "rejected mail", "message rejected", "bounce", "delayed mail", "returned by", "warning: could not send", "warning: message", "undelivered", "trouble delivering", "mail error", "mailbox is full", "email error",
	"配信できません", "配信不能", "送信できません", "届きません", "届けられません", "送信エラー", "エラーメール", "宛先不明", "不達", "送信に失敗", "unzustellbar", "konnte nicht zugestellt", "non remis", "non distribu", "n'a pas pu être", "no se ha podido entregar", "не доставлено", "не может быть доставлено",
}

// weakFailures are those of them that stand in other mails of postmasters too: then a code or a known reason must be there.
var weakFailures = []string{"delivery report", "delivery notification", "message delivery", "mail delivery", "has failed", "bounce", "trouble delivering", "delivery status notification"}

// leads are words before an address that present it as a failed recipient.
var leads = []string{
	"recipient", "deliver", "failed", "failure", "unknown user", "user unknown", "no such user", "mailbox", "rcpt to", "addressed to", "address:", "addresses:", "your message to", "message to", "your mail to", "message for", "errors:", "attempts", "invalid address", "user:", "sent to", "unable to reach", "returned permanent errors", "宛先", "送信先", "あて先", "受信者", "配信先", "アドレス", "收件人", "收信人", "收件者", "邮件地址", "destinatari", "destinato", "받는", "destinataire", "empfänger", "получател", "адрес", "수신자", "duplicated message-id in",
	">>>", "could not", "not found", "bounced", "account", "over quota", "following:",
}

// notRecipient are words right before an address that is somebody else.
var notRecipient = []string{
	"mail from:", "mail from", "from:", "sender:", "sender", "from", "by", "contact", "postmaster", "please send mail to", "forward this message to", "forward this mail to", "forward this email to", "message to us at", "mail to", "mailto:", "reply to", "reply-to:", "message-id:", "id", "message-id", "cc:", "generated from", "expanded from:", "expanded from", "return-path:", "return path:", "hello", "dear", "hi", "subject:",
}

// cuts begin the line that parts a report from the message it returns, decoration left out.
var cuts = []string{
	"this is a copy of", "below this line is a copy", "original message", "message headers follow", "unsent message follows", "returned message", "the header of the original", "below is a copy", "original mail as follows", "original mail info", "included is a copy", "undelivered message", "message header", "your original message", "returned mail", "copy of the message", "enclosed is a copy",
	"header of the original", "the original message header", "begin message", "forwarded message", "received headers", "元のメッセージ", "オリジナルメッセージ", "エラー対象のメール", "original headers", "the attachment contains the original", "mail header", "body of message", "start of returned message", "text of message", "included message",
}

// successes stand over those who were reached.
var successes = []string{
	"successful delivery notification", "has been successfully relayed", "has been successfully delivered", "was successfully relayed", "was successfully delivered", "message was delivered to the following", "successfully delivered to the following",
}

// warnings say that the message is still on its way.
var warnings = []string{
	"has been delayed", "delayed mail", "is delayed for", "has not yet been delivered", "warning message only", "this is a warning only", "still being retried", "will be retried for", "delivery status notification (delay)", "delivery delayed", "warning: could not send message for", "status notification: warning", "we will keep trying", "delivery attempts will continue", "will continue to be attempted", "no action is required on your part",
}

// family returns the first family whose marks the mail bears, nil for none.
func (m *mail) family() *family {
	from := "from: " + strings.ToLower(decodeWords(m.header.get("from")))
	subject := strings.ToLower(m.subject())
	body := strings.ToLower(m.said().whole)
	body = strings.Join(strings.Fields(body), " ")
	own := ""
	answer := strings.HasPrefix(strings.TrimSpace(subject), "re:")
	for i := range families {
		f := &families[i]
		if !anyOf(f.from, from) || !anyOf(f.subject, subject) || !anyOf(f.body, body) || !m.bears(f.headers) || f.machine && m.answersItself() {
			continue
		}
		marks := f.body
		if f.name == "general" && answer {
			marks = failures
		}
		if len(f.from)+len(f.headers)+len(f.subject) == 0 || f.name == "general" && answer {
			// Known by words alone, or a postmaster's answer: then they must not be a person's quotation of such a report.
			if own == "" {
				own = strings.Join(strings.Fields(strings.ToLower(m.ownWords())), " ")
			}
			if !anyOf(marks, own) {
				continue
			}
		}
		return f
	}
	return nil
}

// answersItself tells an automatic reply, whose words are a person's.
func (m *mail) answersItself() bool {
	if strings.HasPrefix(strings.ToLower(m.header.get("auto-submitted")), "auto-replied") {
		return true
	}
	for _, f := range m.header {
		if value, ok := responders[f.name]; ok && (value == "" || strings.Contains(strings.ToLower(f.value), value)) {
			return true
		}
	}
	_, answer := startOf(m.subject())
	return answer || m.answer() != ""
}

// anyOf reports whether one of the marks is in the text; no marks ask for nothing.
func anyOf(marks []string, text string) bool {
	for _, mark := range marks {
		if strings.Contains(text, mark) {
			return true
		}
	}
	return len(marks) == 0
}

// bears reports whether one of the header lines begins with one of the marks.
func (m *mail) bears(marks []string) bool {
	for _, mark := range marks {
		name, value, _ := strings.Cut(mark, ":")
		for _, f := range m.header {
			if f.name == name && strings.HasPrefix(strings.ToLower(f.value), strings.TrimSpace(value)) {
				return true
			}
		}
	}
	return len(marks) == 0
}

func (f *family) reason(text string) string {
	for _, rule := range f.texts {
		for _, phrase := range rule.phrases {
			if holds(text, phrase) {
				return rule.reason
			}
		}
	}
	return ""
}

func (m *mail) subject() string { return decodeWords(m.header.get("subject")) }

// decodeWords decodes RFC 2047 words; one of an unknown charset stays as it is.
func decodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	d := mime.WordDecoder{CharsetReader: func(label string, r io.Reader) (io.Reader, error) {
		enc, err := htmlindex.Get(label)
		if err != nil {
			return nil, err
		}
		return enc.NewDecoder().Reader(r), nil
	}}
	out, err := d.DecodeHeader(s)
	if err != nil {
		return s
	}
	return out
}
