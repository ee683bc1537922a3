package bounce

// The reasons for which mail is refused or lost. The words are those that the field uses.
const (
	UserUnknown     = "userunknown"     // no such mailbox
	HostUnknown     = "hostunknown"     // no such domain
	HasMoved        = "hasmoved"        // moved, nothing is forwarded
	NotAccept       = "notaccept"       // the domain takes no mail at all
	Filtered        = "filtered"        // the recipient's own filter
	MailboxFull     = "mailboxfull"     //
	Suspend         = "suspend"         // the account is suspended or disabled
	Expired         = "expired"         // given up after days in a queue
	NetworkError    = "networkerror"    //
	SystemError     = "systemerror"     // the receiving system is broken
	SystemFull      = "systemfull"      //
	MailerError     = "mailererror"     // a program behind the mailbox failed
	RateLimited     = "ratelimited"     // too fast, too many at once
	Blocked         = "blocked"         // our host or network is refused
	BadReputation   = "badreputation"   //
	RequirePTR      = "requireptr"      // reverse DNS of our host
	AuthFailure     = "authfailure"     // SPF, DKIM, DMARC
	Rejected        = "rejected"        // our envelope sender or From is refused
	NoRelaying      = "norelaying"      // that host does not serve the domain
	PolicyViolation = "policyviolation" //
	SecurityError   = "securityerror"   //
	ContentError    = "contenterror"    //
	SpamDetected    = "spamdetected"    //
	VirusDetected   = "virusdetected"   //
	NotCompliantRFC = "notcompliantrfc" //
	EmailTooLarge   = "emailtoolarge"   //
	FailedSTARTTLS  = "failedstarttls"  //
	SyntaxError     = "syntaxerror"     // the SMTP dialogue itself
	Suppressed      = "suppressed"      // on the relay's own suppression list
	OnHold          = "onhold"          // refused, and it does not say why
	Undefined       = "undefined"       // not understood
)

// Scopes: what a refusal is about. Only ScopeAddress and ScopeDomain say something about the recipient.
const (
	ScopeAddress   = "address"
	ScopeDomain    = "domain"
	ScopeOurHost   = "our_host"
	ScopeOurDomain = "our_domain"
	ScopeContent   = "content"
	ScopeRelay     = "relay"
)

// What to do about a refusal.
const (
	DoSuppress = "suppress" // never mail this address again
	DoCount    = "count"    // keep it, suppress when it goes on for long
	DoKeep     = "keep"     // nothing: it will pass, or it is the recipient's wish for this mail only
	DoThrottle = "throttle" // send slower to that provider
	DoFix      = "fix"      // repair our side: content, DNS, reputation, configuration
	DoReview   = "review"   // a person should look
)

// Class is what a refusal means.
type Class struct {
	Reason string
	Hard   bool   // the address itself is dead
	Scope  string // what it is about
	Action string // what to do
}

// meaning of a reason. dead reasons are hard when the refusal is permanent.
type meaning struct {
	scope, action string
	dead          bool
	words         string // for people: what it means
}

var meanings = map[string]meaning{
	UserUnknown:     {ScopeAddress, DoSuppress, true, "there is no such mailbox"},
	HostUnknown:     {ScopeDomain, DoSuppress, true, "the domain does not exist"},
	HasMoved:        {ScopeAddress, DoSuppress, true, "the person has moved and mail is not forwarded"},
	NotAccept:       {ScopeDomain, DoSuppress, true, "the domain takes no mail"},
	Filtered:        {ScopeAddress, DoCount, false, "the recipient's own filter refused it; the address is alive"},
	MailboxFull:     {ScopeAddress, DoCount, false, "the mailbox is full"},
	Suspend:         {ScopeAddress, DoCount, false, "the account is suspended or disabled"},
	Expired:         {ScopeDomain, DoCount, false, "the relay gave up after trying for days"},
	NetworkError:    {ScopeDomain, DoCount, false, "the receiving host could not be reached"},
	SystemError:     {ScopeDomain, DoCount, false, "the receiving system has a fault"},
	SystemFull:      {ScopeDomain, DoCount, false, "the receiving system has no space"},
	MailerError:     {ScopeDomain, DoCount, false, "a program that handles the recipient's mail failed"},
	RateLimited:     {ScopeOurHost, DoThrottle, false, "too much mail at a time from our side"},
	Blocked:         {ScopeOurHost, DoFix, false, "our host or network is refused; it says nothing about the address"},
	BadReputation:   {ScopeOurHost, DoFix, false, "our host or domain has a low reputation there"},
	RequirePTR:      {ScopeOurHost, DoFix, false, "our host has no matching reverse DNS name"},
	AuthFailure:     {ScopeOurDomain, DoFix, false, "SPF, DKIM or DMARC of our domain did not pass"},
	Rejected:        {ScopeOurDomain, DoFix, false, "our sender address is refused"},
	NoRelaying:      {ScopeRelay, DoFix, false, "that host does not take mail for the recipient's domain from us"},
	PolicyViolation: {ScopeContent, DoFix, false, "the message breaks a policy there"},
	SecurityError:   {ScopeContent, DoFix, false, "refused for security reasons"},
	ContentError:    {ScopeContent, DoFix, false, "the content or its encoding is refused"},
	SpamDetected:    {ScopeContent, DoFix, false, "taken for spam"},
	VirusDetected:   {ScopeContent, DoFix, false, "taken for malware"},
	NotCompliantRFC: {ScopeContent, DoFix, false, "the message breaks a mail standard"},
	EmailTooLarge:   {ScopeContent, DoFix, false, "the message is too large"},
	FailedSTARTTLS:  {ScopeRelay, DoFix, false, "TLS could not be set up"},
	SyntaxError:     {ScopeRelay, DoFix, false, "the servers disagreed about the SMTP dialogue"},
	Suppressed:      {ScopeAddress, DoReview, false, "the relay itself keeps this address on its suppression list"},
	OnHold:          {ScopeAddress, DoReview, false, "refused without a clear reason"},
	Undefined:       {ScopeAddress, DoReview, false, "not understood"},
}

// Words says in plain words what a reason means.
func Words(reason string) string { return meanings[reason].words }

// Dead reports whether a reason, when it is permanent, means that the address itself is dead.
func Dead(reason string) bool { return meanings[reason].dead }

// AboutUs reports whether a reason is about our host, our domain or our relay, and says nothing about the recipient.
func AboutUs(reason string) bool {
	switch meanings[reason].scope {
	case ScopeOurHost, ScopeOurDomain, ScopeRelay:
		return true
	}
	return false
}

// AboutContent reports whether a reason is about the message, so that another one may well arrive.
func AboutContent(reason string) bool { return meanings[reason].scope == ScopeContent }

// Reasons lists every reason.
func Reasons() []string {
	var all []string
	for r := range meanings {
		all = append(all, r)
	}
	return all
}

// classOf gives the class of a reason. permanent is false for a refusal that may pass.
func classOf(reason string, permanent bool) Class {
	m, ok := meanings[reason]
	if !ok {
		reason, m = Undefined, meanings[Undefined]
	}
	c := Class{Reason: reason, Hard: m.dead && permanent, Scope: m.scope, Action: m.action}
	if m.dead && !permanent {
		c.Action = DoCount
	}
	return c
}

// ScopeWords says in plain words whom or what a scope is about.
func ScopeWords(scope string) string {
	return map[string]string{
		ScopeAddress:   "this address",
		ScopeDomain:    "the recipient's domain or server, not this address alone",
		ScopeOurHost:   "our sending host or network: the address is not to blame",
		ScopeOurDomain: "our domain or sender address: the recipient is not to blame",
		ScopeContent:   "this message: the address is not to blame",
		ScopeRelay:     "the way the mail took: the address is not to blame",
	}[scope]
}

// ActionWords says in plain words what to do.
func ActionWords(action string) string {
	return map[string]string{
		DoSuppress: "suppress the address: it is dead",
		DoCount:    "keep the address; suppress it only when this goes on for weeks",
		DoKeep:     "nothing",
		DoThrottle: "send slower to this provider; the address is fine",
		DoFix:      "keep the address and repair the cause on our side",
		DoReview:   "keep the address; a person should look at the text",
	}[action]
}

// Class is the meaning of what was said about a recipient.
func (r Recipient) Class() Class {
	c := classOf(r.Reason, r.Hard)
	c.Hard = r.Hard
	return c
}
