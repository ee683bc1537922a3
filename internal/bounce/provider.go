package bounce

import "strings"

// providerRule is what one provider means by a text or code that others use differently.
type providerRule struct {
	name    string
	domains []string // the recipient's domain, or a host within the text, ends in one of these; none: whoever says it
	phase   string   // only in this phase; "" in any
	phrases []string // any of these in the text; none: always
	status  string   // only with this enhanced code
	reason  string
	dead    bool // said of dead addresses, whatever the code
	living  bool // said of too many addresses that are not dead
}

var yandex = []string{"yandex.ru", "yandex.com", "ya.ru", "yandex.net", "yandex.by", "yandex.kz"}

// phaseUntold in a rule: only where neither the step nor a status about the address is known.
const phaseUntold = "untold"

var providers = []providerRule{
	// docomo answers at RCPT for a user that does not exist. The same words after the body are the user's own filter.
	{name: "docomo", domains: []string{"docomo.ne.jp"}, phase: "dot", phrases: []string{"unknown user"}, reason: Filtered},
	// A report that tells neither the step nor 5.1.x leaves it open which it was; then nobody is dead.
	{name: "docomo", domains: []string{"docomo.ne.jp"}, phase: phaseUntold, phrases: []string{"unknown user"}, reason: Filtered},
	{name: "docomo", domains: []string{"docomo.ne.jp"}, status: "5.2.0", phrases: []string{"unknown user"}, reason: Filtered},
	{name: "docomo", domains: []string{"docomo.ne.jp"}, phrases: []string{"too much mail data"}, reason: MailboxFull},
	// au names the address when there is no such user; without one it is the user's filter.
	{name: "au", domains: []string{"ezweb.ne.jp", "au.com"}, phrases: []string{"550 : user unknown", "550: : user unknown", "smtp; : user unknown"}, reason: Filtered},
	// Google writes rate, SPF, TLS and DKIM in codes that IANA gave to others.
	{name: "google", domains: []string{"google.com", "gmail.com"}, status: "5.2.1", phrases: []string{"does not exist"}, reason: UserUnknown},
	// Yandex says this at RCPT, with the code of a policy.
	{name: "yandex", domains: yandex, phase: "rcpt", status: "5.7.1", phrases: []string{"no such user!"}, reason: UserUnknown, dead: true},
	// A mailbox that is "unavailable" with the code of a disabled one may come back.
	{name: "any", status: "5.2.1", phrases: []string{"mailbox unavailable", "mailbox is unavailable", "mailbox not available"}, reason: Suspend},
	// The form of the address is in question: ours may be well-formed and known, as those of the carriers with two dots are.
	{name: "any", status: "5.1.3", phrases: []string{"invalid", "bad recipient", "syntax"}, reason: UserUnknown, living: true},
	// The program that delivers gives its exit code only; the server has read what it said.
	{name: "any", status: "5.2.2", phrases: []string{"x-unix"}, reason: MailboxFull},
	{name: "any", status: "4.2.2", phrases: []string{"x-unix"}, reason: MailboxFull},
	// Exchange Online says "access denied" for an address that the tenant does not have, and for much else.
	{name: "any", status: "5.4.1", phrases: []string{"recipient address rejected: access denied", "recipient addresses rejected"}, reason: UserUnknown, living: true},
	{name: "microsoft", domains: []string{"outlook.com"}, status: "5.4.1", phrases: []string{"access denied"}, reason: Rejected},
}

// providerOf returns the first rule that a refusal fits, nil for none.
func providerOf(r Reply, text, domain string) *providerRule {
	for i := range providers {
		p := &providers[i]
		if p.phase == phaseUntold && (r.Phase != "" || strings.HasPrefix(r.Enhanced, "5.1.")) {
			continue
		}
		if p.phase != "" && p.phase != phaseUntold && p.phase != r.Phase || p.status != "" && p.status != r.Enhanced || !p.concerns(text, domain) {
			continue
		}
		if len(p.phrases) == 0 {
			return p
		}
		for _, phrase := range p.phrases {
			if holds(text, phrase) {
				return p
			}
		}
	}
	return nil
}

// judged applies a rule. None makes an address dead that the codes call alive.
func (p *providerRule) judged(r Reply) Class {
	switch {
	case p.dead && permanent(r):
		return classOf(p.reason, true)
	case p.living:
		return classOf(p.reason, false)
	}
	return judged(p.reason, r)
}

func (p *providerRule) concerns(text, domain string) bool {
	for _, d := range p.domains {
		if domain == d || strings.HasSuffix(domain, "."+d) || strings.Contains(text, d) {
			return true
		}
	}
	return len(p.domains) == 0
}
