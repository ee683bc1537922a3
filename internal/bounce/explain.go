package bounce

import (
	"strings"

	"mailer/internal/spelling"
)

// Explanation says in plain words what a refusal means.
type Explanation struct {
	Codes   []string // each code of the reply with what it stands for
	Meaning string
	Fault   string   // whose fault it is
	Todo    []string // what to do, the first thing first
	Note    string   // what the words would mean elsewhere, "" when nothing else
	Taken   bool     // it is no refusal at all
}

// Explain puts a refusal and its class into words. A reply whose step is not known is looked at for each step too: after
// the body the same words may mean another thing.
func Explain(r Reply, c Class, recipientDomain string) Explanation {
	full := completed(r)
	if taken(full) {
		return Explanation{Taken: true, Meaning: "this is no refusal", Fault: "nobody's", Todo: []string{"Nothing."}}
	}
	e := Explanation{Meaning: Words(c.Reason), Fault: fault(c.Reason), Todo: todo(c, full)}
	if full.Code != 0 {
		e.Codes = append(e.Codes, itoa3(full.Code)+": "+codeWords(full.Code))
	}
	if full.Enhanced != "" {
		e.Codes = append(e.Codes, full.Enhanced+": "+enhancedWords(full.Enhanced))
	}
	e.Note = contradiction(full)
	if e.Note == "" && full.Phase == "" && phaseOf(full.Text) == "" {
		e.Note = elsewhere(r, c, recipientDomain)
	}
	return e
}

// taken: a reply of the 200s, or a status of class 2.
func taken(r Reply) bool {
	text := strings.TrimSpace(r.Text)
	return r.Code/100 == 2 || r.Code == 0 && (strings.HasPrefix(r.Enhanced, "2.") || len(text) >= 3 && text[0] == '2' && isDigit(text[1]) && isDigit(text[2]) && (len(text) == 3 || text[3] == ' ' || text[3] == '-'))
}

// contradiction is the note for codes that do not agree.
func contradiction(r Reply) string {
	if r.Code != 0 && r.Enhanced != "" && r.Code/100 != int(r.Enhanced[0]-'0') {
		return "the two codes contradict each other, so nothing is held against the address"
	}
	return ""
}

// elsewhere says in which step the reply would mean another thing.
func elsewhere(r Reply, c Class, domain string) string {
	var notes []string
	for _, step := range []struct{ phase, words string }{
		{"rcpt", "to RCPT TO, when the recipient was named,"}, {"dot", "after the message"},
	} {
		r.Phase = step.phase
		if other := Classify(r, domain); other.Reason != c.Reason || other.Hard != c.Hard {
			words := "said " + step.words + " it means: " + Words(other.Reason)
			if other.Reason == c.Reason {
				words = "said " + step.words + " it kills nobody"
				if other.Hard {
					words = "said " + step.words + " it means that the address is dead"
				}
			}
			notes = append(notes, words)
		}
	}
	return strings.Join(notes, "; ")
}

// fault says whose fault a refusal for that reason is.
func fault(reason string) string {
	switch meanings[reason].scope {
	case ScopeOurHost:
		return "ours: our sending host, its network or its pace; the address is not to blame"
	case ScopeOurDomain:
		return "ours: our domain, its DNS or our sender address; the address is not to blame"
	case ScopeContent:
		return "ours, or the receiver's rules: this message; the address is not to blame"
	case ScopeRelay:
		return "that of the way the mail took, our relay or the receiver's servers; the address is not to blame"
	case ScopeDomain:
		if reason == HostUnknown || reason == NotAccept {
			return "nobody's: the whole domain takes no mail"
		}
		return "the receiving server's, or that of the network between"
	}
	switch reason {
	case UserUnknown, HasMoved:
		return "nobody's: this address is no longer in use, or was never right"
	case MailboxFull, Suspend, Filtered:
		return "on the recipient's side: the mailbox, not us"
	}
	return "it does not say"
}

// todo is what to do about a class.
func todo(c Class, r Reply) []string {
	if c.Hard || !meanings[c.Reason].dead {
		return steps[c.Reason]
	}
	why := "it came with a policy code, which is about the message or us"
	switch {
	case !permanent(r):
		why = "it was said for now only"
	case afterBody(r.Phase):
		why = "it was said after the message, where the words mean less"
	}
	return []string{"Keep the address: " + why + ".", "When it is said for good, to RCPT TO, mailer suppresses the address."}
}

var steps = map[string][]string{
	UserUnknown:     {"Stop mailing this address; mailer suppresses it by itself when the report is about one of its deliveries.", "If you know the person, ask for the new address. Look for a typing error in the part before the @ and in the domain."},
	HostUnknown:     {"Look for a typing error in the domain (gmial.com, docomo.co.jp).", "Stop mailing this address; mailer suppresses it by itself when the report is about one of its deliveries."},
	HasMoved:        {"Stop mailing this address; ask the person for the new one. The server's hint of a new address is no consent to mail it."},
	NotAccept:       {"Stop mailing this domain: its owner says that it takes no mail (null MX, RFC 7505).", "Look for a typing error in the domain."},
	Filtered:        {"Keep the address; it is alive.", "Ask the subscriber to allow your sender domain (受信許可設定 with the Japanese carriers), and name that domain where people sign up."},
	MailboxFull:     {"Keep the address; people empty their mailboxes. mailer suppresses it only when it stays full for weeks."},
	Suspend:         {"Keep the address for now; accounts come back. mailer suppresses it when it goes on over several campaigns."},
	Expired:         {"Keep the address. When many of one domain expire, look whether that domain's servers can be reached from the relay at all."},
	NetworkError:    {"Keep the address; nothing was said about it.", "When it goes on for that domain, try its MX hosts from the relay's network: a firewall or a block there looks the same."},
	SystemError:     {"Nothing: it is retried. When it goes on for days, write to postmaster at that domain from another address."},
	SystemFull:      {"Nothing: it is retried."},
	MailerError:     {"Keep the address; the recipient's own forwarding or filter program failed. Tell the recipient if you can."},
	RateLimited:     {"Send slower to that provider: fewer connections and a lower rate under domains: in mailer.yaml.", "Do not resend the lot at once; what was deferred is retried by itself."},
	Blocked:         {"Read the reply: it mostly names the list or the page where a host can be taken off.", "Find out first why the host was listed (complaints, old addresses, a shared host of the relay), else it comes back.", "With a relay of a provider, this is the provider's to mend: send it the whole reply."},
	BadReputation:   {"Send less, to those who opened or clicked lately, and build up again over weeks.", "Look at complaints and at old addresses in the list; watch the provider's postmaster pages."},
	RequirePTR:      {"Give the sending host a reverse DNS name that leads back to the same address (PTR and A or AAAA), and use it in HELO. With a relay of a provider, tell the provider."},
	AuthFailure:     {"Look at SPF, DKIM and DMARC of the From domain: the relay's hosts in SPF, a DKIM key of the same domain (mailer dkim), a DMARC record.", "Hold mail to that provider until it is mended."},
	Rejected:        {"Look at sender.from and bounces.return_path in mailer.yaml: the domain must exist, take mail and have an MX.", "A group or an inner mailbox may take mail from its own people only: then ask its owner."},
	NoRelaying:      {"Look whether the relay wants a login, and whether the domain's MX really serves it; the receiving side may have set its MX wrong."},
	PolicyViolation: {"Read the whole reply, with its link: a code of policy says only that something is not wanted.", "If it names no reason: attachments, links to foreign or shortened domains, missing SPF, DKIM or DMARC are the usual ones."},
	SecurityError:   {"If our relay said it, look at the login and at TLS in mailer.yaml (mailer relay test).", "If the receiver said it, the recipient takes mail from known senders only."},
	ContentError:    {"Look at charset, encoding and attachments of the message (mailer preview --part raw)."},
	SpamDetected:    {"Look at the message: links, wording, the proportion of pictures; and at SPF, DKIM and DMARC.", "Send a test to a mailbox of that provider before the next campaign."},
	VirusDetected:   {"Look at attachments and links. If they are clean, somebody else's page behind a link may not be."},
	NotCompliantRFC: {"Look at the raw message (mailer preview --part raw). If mailer wrote it, tell us; if a relay or gateway rewrote it, look there."},
	EmailTooLarge:   {"Make the message smaller: link to files instead of attaching them. Japanese carriers take 1 to 3 MB."},
	FailedSTARTTLS:  {"Look at tls: of the relay in mailer.yaml (mailer relay test); behind the relay it is the two servers' matter."},
	SyntaxError:     {"Show the reply to who runs the relay: two servers disagreed about the dialogue. An address of an odd form may be the cause."},
	Suppressed:      {"Look into the relay's own suppression list why the address is there, and take it over: mailer suppressions add."},
	OnHold:          {"Keep the address, and read the reply: it gives no reason that is known. It is counted as a soft bounce."},
	Undefined:       {"Keep the address, and read the text yourself."},
}

// codeWords says what a basic code stands for (RFC 5321 section 4.2.3 and its successors).
func codeWords(code int) string {
	if words, ok := codes[code]; ok {
		return words
	}
	switch code / 100 {
	case 2:
		return "taken"
	case 3:
		return "go on"
	case 4:
		return "refused for now; it is tried again"
	case 5:
		return "refused for good"
	}
	return "no code of SMTP"
}

var codes = map[int]string{
	250: "taken", 251: "taken, and passed on to another address", 252: "not looked up, but taken", 354: "go on with the message",
	421: "the server closes the connection; try again later", 432: "the password must be changed", 450: "mailbox not to be had for now (busy, or greylisting)", 451: "a passing fault of the server, or greylisting",
	452: "no space for now, or too many recipients at once", 454: "TLS or login not possible for now", 455: "the server cannot take the parameters for now",
	500: "command not understood", 501: "command with a wrong argument", 502: "command not known there", 503: "commands in a wrong order", 504: "argument not known there", 521: "the host takes no mail", 525: "the account is disabled",
	530: "login or TLS wanted first", 534: "this way to log in is too weak", 535: "wrong user name or password", 538: "this way to log in wants TLS", 550: "mailbox not to be had, or refused by a rule", 551: "no user of this server", 552: "too much: mailbox full, or message too large",
	553: "the address is not allowed, or malformed", 554: "refused; or, as a greeting, no mail service for us", 555: "parameters of MAIL or RCPT not known there", 556: "the domain takes no mail", 571: "refused by a rule",
}

// enhancedWords says what an enhanced code stands for (RFC 3463, and the registry of IANA).
func enhancedWords(code string) string {
	class, detail, _ := strings.Cut(code, ".")
	words, ok := detailWords[detail]
	switch {
	case code == "5.4.1":
		words = "no answer from the host; at Microsoft: no such recipient, or access denied"
	case !ok:
		subject, _, _ := strings.Cut(detail, ".")
		words = subjectWords[subject]
	}
	if words == "" {
		words = "not a registered code"
	}
	if class == "4" {
		return words + ", for now"
	}
	return words + ", for good"
}

var subjectWords = map[string]string{
	"0": "no more is said", "1": "something about the address", "2": "something about the mailbox", "3": "something about the receiving system", "4": "something about network or routing",
	"5": "something about the mail protocol", "6": "something about the content", "7": "something about security or policy",
}

var detailWords = map[string]string{
	"0.0": "no more is said", "1.0": "something about the address", "1.1": "no such mailbox", "1.2": "no such domain", "1.3": "malformed address", "1.4": "ambiguous address", "1.5": "valid address", "1.6": "mailbox moved, not forwarded", "1.7": "malformed sender address",
	"1.8": "no such sender domain", "1.9": "passed on to a server that does not report", "1.10": "the domain takes no mail (null MX); at Microsoft: no such recipient", "2.0": "something about the mailbox", "2.1": "mailbox disabled", "2.2": "mailbox full", "2.3": "message too large for the mailbox", "2.4": "mailing list could not be expanded",
	"3.1": "receiving system full", "3.2": "receiving system takes nothing", "3.3": "receiving system cannot do what was asked", "3.4": "message too large for the system", "3.5": "receiving system set up wrongly", "4.1": "no answer from the host", "4.2": "connection broke", "4.3": "name server did not answer", "4.4": "no way to the domain", "4.5": "too busy", "4.6": "mail loop", "4.7": "time in the queue is over",
	"5.1": "wrong command", "5.2": "wrong syntax", "5.3": "too many recipients", "5.4": "wrong arguments", "6.0": "something about the content", "6.1": "kind of content not supported", "6.2": "conversion needed and forbidden", "6.3": "conversion needed and impossible", "6.7": "address of another script not supported", "6.8": "reply of another script not supported",
	"7.0": "security or policy", "7.1": "not allowed by policy: it may mean anything, the text decides", "7.2": "not allowed to mail that list", "7.3": "security conversion impossible", "7.5": "cryptography failed", "7.8": "wrong login", "7.9": "way to log in too weak", "7.10": "encryption wanted", "7.11": "encryption wanted for this login", "7.13": "account disabled", "7.17": "mailbox has a new owner", "7.18": "domain has a new owner",
	"7.20": "no DKIM signature that passes", "7.21": "no DKIM signature that is accepted", "7.22": "no DKIM signature of the author's domain", "7.23": "SPF did not pass", "7.24": "SPF could not be read", "7.25": "reverse DNS did not pass", "7.26": "more than one of SPF, DKIM and DMARC did not pass", "7.27": "the sender's domain takes no mail; at Gmail: SPF did not pass",
	"7.28": "too much mail at once", "7.29": "ARC did not pass; at Gmail: TLS wanted", "7.30": "REQUIRETLS not possible; at Gmail: DKIM did not pass",
}

// ExplainMail says what a mail that is no bounce means, and what becomes of it.
func ExplainMail(v Verdict) (meaning, follows string) {
	switch v.Kind {
	case KindComplaint:
		if strings.HasPrefix(v.FeedbackType, "opt-out") {
			return "the recipient's provider reports that he wants no more of this mail", "The address is suppressed for marketing mail when the report is proven to be about one of our deliveries."
		}
		return "the recipient marked our mail as spam", "The address is suppressed for all mail when the report is proven to be about one of our deliveries. Never mail it again without a new consent."
	case KindDelivered:
		return "a positive report: the message was delivered, or passed on", "Nothing: the address is alive."
	case KindUnsubscribe:
		return "a mail to our unsubscribe address", "The address is unsubscribed when the signature in it is right."
	case KindBounce:
		return "a report about " + spelling.Count(len(v.Bounces), "recipient", "recipients"), ""
	}
	if words, ok := detailMeanings[v.Detail]; ok {
		return words[0], words[1]
	}
	switch {
	case v.Kind == KindAutoreply:
		return "an automatic reply", "Nothing: the address is alive."
	case v.FeedbackType == "not-spam":
		return "the recipient says that our mail was no spam", "Nothing."
	case v.FeedbackType != "":
		return "a feedback report of the kind " + v.FeedbackType + ", not a person's complaint", "A person should look: it is about our domain, not about an address."
	}
	return "ordinary mail: no report, no complaint, no automatic reply", "A person should read it."
}

var detailMeanings = map[string][2]string{
	DetailVacation:  {"an automatic reply: the recipient is away", "Nothing: the address is alive."},
	DetailAnswer:    {"an automatic reply, as of a ticket system", "Nothing: the address is alive."},
	DetailReceipt:   {"a receipt: the mail was read, or deleted unread", "Nothing: the address is alive."},
	DetailChallenge: {"the recipient's filter asks the sender to prove that he is a person", "Nothing by itself. A person may answer it; mail to this address is seen only after that."},
	DetailRemoval: {"a person seems to ask, in his own words, to be taken off the list", "A person decides, as anybody can write such a mail in another's name. Read by mailer bounces sync, it waits under a number ID " +
		"(mailer bounces list --waiting): mailer bounces confirm ID takes the person off, mailer bounces dismiss ID lets it be."},
}
