package bounce

import "strings"

// providerRule is what one provider means by a text or code that others use differently.
type providerRule struct {
	name    string
	domains []string // the recipient's domain, or a host within the text, ends in one of these
	phase   string   // only in this phase; "" in any
	phrases []string // any of these in the text; none: always
	status  string   // only with this enhanced code
	reason  string
}

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
	// Exchange Online says "access denied" for an address that the tenant does not have, and for much else.
	{name: "microsoft", domains: []string{"outlook.com"}, status: "5.4.1", phrases: []string{"access denied"}, reason: Rejected},
}

func providerReason(r Reply, text, domain string) string {
	for _, p := range providers {
		if p.phase == phaseUntold && (r.Phase != "" || strings.HasPrefix(r.Enhanced, "5.1.")) {
			continue
		}
		if p.phase != "" && p.phase != phaseUntold && p.phase != r.Phase || p.status != "" && p.status != r.Enhanced || !p.concerns(text, domain) {
			continue
		}
		if len(p.phrases) == 0 {
			return p.reason
		}
		for _, phrase := range p.phrases {
			if holds(text, phrase) {
				return p.reason
			}
		}
	}
	return ""
}

func (p providerRule) concerns(text, domain string) bool {
	for _, d := range p.domains {
		if domain == d || strings.HasSuffix(domain, "."+d) || strings.Contains(text, d) {
			return true
		}
	}
	return false
}
