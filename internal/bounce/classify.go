package bounce

import (
	"slices"
	"strconv"
	"strings"
)

// Reply is a refusal as a server gave it.
type Reply struct {
	Code     int    // basic code, 0 when none is known
	Enhanced string // RFC 3463, "" when none is known; then it is looked for in Text
	Text     string
	// Phase is the step of the session that was refused, in the words of package delivery: connect ehlo starttls auth
	// mail rcpt data dot; "" when unknown, as in most bounce mails.
	Phase string
}

// Classify says what a refusal means. recipientDomain is the domain of the recipient's address; some providers use a text
// or code in a way of their own.
//
// The text is asked before the code: codes are overloaded (5.7.1) or simply wrong (5.1.1 for a full mailbox), while the
// texts that are listed are clear. Nothing but a permanent and uncontradicted statement about the address is hard.
func Classify(r Reply, recipientDomain string) Class {
	r = completed(r)
	text := matchable(r.Text)
	if p := providerOf(r, text, strings.ToLower(recipientDomain)); p != nil {
		return p.judged(r)
	}
	reason := textReason(text)
	if meanings[reason].dead && (anyOf(passing, text) || len(text) < maxReply && anyOf(cautions, text)) {
		return classOf(reason, false)
	}
	if reason == "" {
		if reason = codeReason(r); meanings[reason].dead && doubtful(text) {
			reason = OnHold
		}
	}
	return judged(reason, r)
}

// maxReply is longer than what servers say at RCPT. Longer texts are letters to people, which speak of many things.
const maxReply = 300

// doubtful reports whether a text that no rule knows speaks of something other than a dead address. Gateways write 5.1.1 over
// everything, so then the code alone kills nobody.
func doubtful(text string) bool {
	for _, word := range doubts {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// completed fills in the codes that stand in the text only.
func completed(r Reply) Reply {
	if vague(r.Enhanced) {
		if found := findEnhanced(r.Text); found != "" && (r.Enhanced == "" || !vague(found)) {
			r.Enhanced = found
		}
	}
	if r.Code == 0 {
		r.Code, _ = strconv.Atoi(findReply(r.Text))
	}
	return r
}

// judged applies what overrules any wording: the phase and the class of the codes.
func judged(reason string, r Reply) Class {
	dead := meanings[reason].dead
	switch {
	case dead && aboutUs(r.Phase):
		// Before RCPT no recipient was named: "unknown" is about our sender or our host.
		return classOf(phaseReason(r.Phase), false)
	case dead && afterBody(r.Phase):
		return afterData(reason, r)
	case dead && !permanent(r):
		return classOf(reason, false)
	case dead && strings.HasPrefix(r.Enhanced, "5.7.") && !deadPolicy(r.Enhanced):
		// Security and policy codes are about the message or us, whatever the text says.
		return classOf(reason, false)
	case dead && slices.Contains(otherwise, r.Enhanced):
		return classOf(reason, false)
	}
	c := classOf(reason, true)
	if r.Phase == "auth" && c.Scope == ScopeContent {
		c.Scope = ScopeRelay // nothing of the message was said yet
	}
	return c
}

// afterData: a server that checks its users does it at RCPT. "User unknown" after the body is a filter's answer at the
// Japanese carriers and at others, so it never kills an address.
func afterData(reason string, r Reply) Class {
	if reason == UserUnknown && !strings.HasPrefix(r.Enhanced, "5.1.") {
		return classOf(Filtered, false)
	}
	return classOf(reason, false)
}

// permanent reports whether the codes agree that it is final. A 5xx with 4.x.y (or the reverse) contradicts itself and
// kills nothing.
func permanent(r Reply) bool {
	return r.Code/100 != 4 && !strings.HasPrefix(r.Enhanced, "4.")
}

// deadPolicy lists the 5.7 codes that are about the mailbox: its owner or the domain's owner changed (RFC 7293).
func deadPolicy(enhanced string) bool {
	return enhanced == "5.7.17" || enhanced == "5.7.18" || enhanced == "5.7.27"
}

// otherwise are codes of something else than a dead address: the sender, the dialogue, a full or
// disabled mailbox, the size, the set-up of a server, a loop. Words of a dead address beside them contradict them.
var otherwise = []string{"5.1.7", "5.1.8", "5.2.2", "5.2.3", "5.3.3", "5.3.4", "5.3.5", "5.4.5", "5.4.6", "5.4.14", "5.5.1", "5.5.2", "5.5.3", "5.5.4", "5.6.0", "5.6.7", "5.6.8"}

func aboutUs(phase string) bool {
	return slices.Contains([]string{"connect", "ehlo", "starttls", "auth", "mail"}, phase)
}

func afterBody(phase string) bool { return phase == "data" || phase == "dot" }

func phaseReason(phase string) string {
	switch phase {
	case "connect", "ehlo":
		return Blocked
	case "starttls":
		return FailedSTARTTLS
	case "auth":
		return SecurityError
	case "mail":
		return Rejected
	}
	return ""
}

// codeReason decides by codes alone, when the text says nothing that is known.
func codeReason(r Reply) string {
	if reason := enhancedReason(r.Enhanced); reason != "" {
		if (r.Phase == "connect" || r.Phase == "ehlo") && meanings[reason].scope == ScopeContent {
			return Blocked // nothing was said yet, so it is our host that is not wanted
		}
		return reason
	}
	if reason := phaseReason(r.Phase); reason != "" && r.Code/100 == 5 {
		return reason
	}
	switch r.Code {
	case 421: // the server closes the connection on us
		return RateLimited
	case 422, 452:
		return MailboxFull
	case 500, 501, 502, 503, 504, 555:
		return SyntaxError
	case 521: // RFC 7504 means a host that takes no mail; most who use it refuse our network
		return Blocked
	case 556:
		return NotAccept
	case 530, 535, 538:
		return SecurityError
	case 552:
		return MailboxFull
	}
	if r.Code == 0 && r.Enhanced == "" {
		return Undefined
	}
	return OnHold
}

// enhancedReason is the table of RFC 3463 and its successors, without the class: 4.x.y and 5.x.y mean the same, once for
// now and once for good.
func enhancedReason(code string) string {
	_, detail, ok := strings.Cut(code, ".")
	if !ok || vague(code) && !strings.HasSuffix(code, ".4.7") {
		return ""
	}
	if code == "4.7.0" || code == "4.7.1" {
		return RateLimited // what is policy for now is a matter of pace or of greylisting
	}
	if reason, ok := details[detail]; ok {
		return reason
	}
	if subject, number, _ := strings.Cut(detail, "."); subject == "7" && len(number) == 3 {
		return microsoftPolicy(number)
	}
	subject, _, _ := strings.Cut(detail, ".")
	return subjects[subject]
}

// microsoftPolicy: Exchange Online's own ranges below x.7.
func microsoftPolicy(number string) string {
	switch number[0] {
	case '6':
		return Blocked
	case '5':
		if number == "509" || number == "515" {
			return AuthFailure
		}
		return SpamDetected
	case '7':
		return RateLimited
	}
	return PolicyViolation
}

var details = map[string]string{
	"1.1": UserUnknown, "1.2": HostUnknown, "1.3": OnHold, "1.4": OnHold, "1.6": HasMoved, "1.7": Rejected, "1.8": Rejected,
	"1.9": SystemError, "1.10": NotAccept,
	"2.0": Filtered, "2.1": Suspend, "2.2": MailboxFull, "2.3": EmailTooLarge, "2.4": MailerError,
	"3.0": SystemError, "3.1": SystemFull, "3.2": SystemError, "3.3": SystemError, "3.4": EmailTooLarge, "3.5": SystemError,
	"4.0": NetworkError, "4.1": Expired, "4.2": NetworkError, "4.3": SystemError, "4.4": NetworkError, "4.5": SystemError,
	"4.6": NetworkError, "4.7": Expired,
	"5.0": SyntaxError, "5.1": SyntaxError, "5.2": SyntaxError, "5.3": RateLimited, "5.4": SyntaxError, "5.5": SyntaxError,
	"5.6": SyntaxError,
	"6.0": ContentError, "6.7": ContentError, "6.8": ContentError, "6.9": ContentError,
	"7.0": SecurityError, "7.1": PolicyViolation, "7.2": PolicyViolation, "7.3": SecurityError, "7.4": SecurityError,
	"7.5": SecurityError, "7.6": SecurityError, "7.7": SecurityError, "7.8": SecurityError, "7.9": PolicyViolation,
	"7.10": FailedSTARTTLS, "7.11": FailedSTARTTLS, "7.12": SecurityError, "7.13": Suspend, "7.14": SecurityError,
	"7.15": RateLimited, "7.16": RateLimited, "7.17": HasMoved, "7.18": HasMoved, "7.19": SecurityError,
	"7.20": AuthFailure, "7.21": AuthFailure, "7.22": AuthFailure, "7.23": AuthFailure, "7.24": AuthFailure, "7.25": RequirePTR,
	"7.26": AuthFailure, "7.27": AuthFailure, "7.28": RateLimited, "7.29": AuthFailure, "7.30": SecurityError, "7.32": AuthFailure,
}

// subjects are the second digit's meanings, for a detail that is not listed.
var subjects = map[string]string{
	"1": OnHold, "2": Filtered, "3": SystemError, "4": NetworkError, "5": SyntaxError, "6": ContentError, "7": PolicyViolation,
}
