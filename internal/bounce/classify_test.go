package bounce

import (
	"fmt"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		phase, domain, reply string
		want                 string // reason, hard, scope, action
	}{
		// During a session the code at RCPT is about the address.
		{"rcpt", "shop.example", "550 5.1.1 <a@shop.example>: Recipient address rejected: User unknown", "userunknown hard address suppress"},
		{"rcpt", "shop.example", "550 5.1.1", "userunknown hard address suppress"},
		{"rcpt", "shop.example", "550 No such user here", "userunknown hard address suppress"},
		{"rcpt", "shop.example", "450 4.1.1 <a@shop.example>: User unknown", "userunknown soft address count"},
		{"rcpt", "shop.example", "550 4.1.1 User unknown", "userunknown soft address count"},
		{"rcpt", "shop.example", "450 5.1.1 User unknown", "userunknown soft address count"},
		{"rcpt", "shop.example", "551 not our customer", "hasmoved hard address suppress"},
		{"rcpt", "shop.example", "550 5.1.6 recipient no longer on server", "hasmoved hard address suppress"},
		{"rcpt", "shop.example", "550 5.1.2 Host unknown", "hostunknown hard domain suppress"},
		{"rcpt", "shop.example", "556 5.1.10 Domain does not accept mail (nullMX)", "notaccept hard domain suppress"},
		{"rcpt", "shop.example", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found", "userunknown hard address suppress"},
		{"rcpt", "shop.example", "552 5.2.2 Over quota", "mailboxfull soft address count"},
		{"rcpt", "shop.example", "552 sorry, mailbox a@shop.example is over quota temporarily (#5.1.1)", "mailboxfull soft address count"},
		{"rcpt", "shop.example", "525 5.7.13 Disabled recipient address", "suspend soft address count"},
		{"rcpt", "shop.example", "550 5.2.0", "filtered soft address count"},
		{"rcpt", "shop.example", "554 5.7.1 Relay access denied", "norelaying soft relay fix"},
		{"rcpt", "shop.example", "452 4.5.3 Too many recipients", "ratelimited soft our_host throttle"},
		// Greylisting is a passing matter, whatever its text.
		{"rcpt", "shop.example", "450 4.7.1 Greylisted, please try again later", "systemerror soft domain count"},
		// A text that is about us wins over a code, or words, about the address.
		{"rcpt", "shop.example", "550 5.1.1 user unknown; your IP is blocked using zen.spamhaus.org", "blocked soft our_host fix"},
		{"rcpt", "shop.example", "550 5.1.0 <bounce@news.example> sender rejected", "rejected soft our_domain fix"},
		{"rcpt", "shop.example", "550 5.7.1 Service unavailable; client host blocked", "blocked soft our_host fix"},
		{"rcpt", "shop.example", "550 5.7.1 User unknown", "userunknown soft address count"},
		{"rcpt", "shop.example", "550 5.7.25 Reverse DNS validation failed", "requireptr soft our_host fix"},
		{"rcpt", "shop.example", "550 5.7.26 Multiple authentication checks failed", "authfailure soft our_domain fix"},
		{"rcpt", "shop.example", "550 5.7.1", "policyviolation soft content fix"},
		{"rcpt", "shop.example", "550 5.7.606 Access denied, banned sending IP [192.0.2.9]", "blocked soft our_host fix"},
		{"rcpt", "shop.example", "550 5.7.27 Host does not accept mail", "notaccept hard domain suppress"},
		{"rcpt", "shop.example", "553 5.1.7 invalid sender", "rejected soft our_domain fix"},
		{"rcpt", "shop.example", "553 5.3.5 system config error, host unknown to local mailer", "hostunknown soft domain count"},
		{"rcpt", "shop.example", "554 5.4.6 Too many hops; invalid recipient loop", "userunknown soft address count"},
		{"rcpt", "shop.example", "550 mail from an unknown user is not accepted here", "userunknown soft address count"},
		{"rcpt", "shop.example", "550 5.1.1 Rejected: the user does not exist in the list of people permitted to write to this group", "userunknown soft address count"},
		{"rcpt", "shop.example", "550 5.2.1 <a@shop.example>: This mailbox has been closed and no longer exists", "userunknown hard address suppress"},
		{"rcpt", "shop.example", "550 could not verify sender: host not found", "hostunknown soft domain count"},
		{"rcpt", "shop.example", "550 account does not exist or inactive", "userunknown soft address count"},
		{"rcpt", "shop.example", "550 mailbox not available until 10:00", "userunknown soft address count"},
		{"rcpt", "shop.example", "550 return address does not exist", "userunknown soft address count"},
		{"rcpt", "shop.example", "550 5.1.1 mx.shops.abccorp.example: user unknown", "userunknown hard address suppress"},
		{"", "shop.example", "550 unable to route: no mail hosts for domain shop.example", "hostunknown hard domain suppress"},
		// Local parts are no reasons.
		{"rcpt", "shop.example", "550 5.2.2 <user.unknown@shop.example> Mailbox full", "mailboxfull soft address count"},
		{"rcpt", "shop.example", "450 <spam.blocked@shop.example>: temporary failure", "systemerror soft domain count"},
		// After the body nothing is hard; "unknown" is a filter's word then.
		{"dot", "docomo.ne.jp", "550 Unknown user a@docomo.ne.jp", "filtered soft address count"},
		{"rcpt", "docomo.ne.jp", "550 Unknown user a@docomo.ne.jp", "userunknown hard address suppress"},
		{"", "docomo.ne.jp", "550 5.2.0 Unknown user a@docomo.ne.jp", "filtered soft address count"},
		{"rcpt", "docomo.ne.jp", "552 Too much mail data", "mailboxfull soft address count"},
		{"rcpt", "ezweb.ne.jp", "550 <a@ezweb.ne.jp>: User unknown", "userunknown hard address suppress"},
		{"dot", "ezweb.ne.jp", "550 : User unknown", "filtered soft address count"},
		{"", "au.com", "550 : User unknown", "filtered soft address count"},
		{"dot", "shop.example", "550 Unknown user", "filtered soft address count"},
		{"dot", "shop.example", "550 5.1.1 User unknown", "userunknown soft address count"},
		{"dot", "shop.example", "554 5.6.0 This message has been scored as spam", "spamdetected soft content fix"},
		{"dot", "shop.example", "552 5.3.4 Message too big for system", "emailtoolarge soft content fix"},
		{"dot", "shop.example", "554 5.7.9 Message not accepted for policy reasons", "policyviolation soft content fix"},
		// Before RCPT nobody was named.
		{"mail", "shop.example", "550 5.1.1 User unknown", "rejected soft our_domain fix"},
		{"connect", "shop.example", "554 no", "blocked soft our_host fix"},
		{"auth", "", "535 5.7.8 authentication failed", "securityerror soft relay fix"},
		// Providers.
		{"rcpt", "gmail.com", "550-5.1.1 The email account that you tried to reach does not exist. Please try 550-5.1.1 double-checking", "userunknown hard address suppress"},
		{"rcpt", "gmail.com", "450 4.2.1 The user you are trying to contact is receiving mail too quickly", "ratelimited soft our_host throttle"},
		{"rcpt", "yahoo.com", "421 4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume", "ratelimited soft our_host throttle"},
		{"rcpt", "yahoo.com", "553 5.7.2 [TSS09] All messages from 192.0.2.9 will be permanently deferred", "blocked soft our_host fix"},
		{"rcpt", "yahoo.co.jp", "553 VS98-IP0 deferred", "ratelimited soft our_host throttle"},
		{"rcpt", "shop.example", "550 5.4.1 Recipient address rejected: Access denied. [X.prod.protection.outlook.com]", "userunknown soft address count"},
		{"rcpt", "shop.example", "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "userunknown soft address count"},
		{"rcpt", "shop.example", "550 5.4.1 Access denied [X.prod.protection.outlook.com]", "rejected soft our_domain fix"},
		// Nothing to go by.
		{"rcpt", "shop.example", "550 no", "onhold soft address review"},
		{"", "", "", "undefined soft address review"},
	} {
		got := Classify(Reply{Text: c.reply, Phase: c.phase}, c.domain)
		hard := map[bool]string{true: "hard", false: "soft"}[got.Hard]
		if s := fmt.Sprintf("%s %s %s %s", got.Reason, hard, got.Scope, got.Action); s != c.want {
			t.Errorf("%s %q: %s, want %s", c.phase, c.reply, s, c.want)
		}
	}
}

// TestOnlyFourReasonsAreEverHard over the codes in use, in every phase.
func TestOnlyFourReasonsAreEverHard(t *testing.T) {
	for _, phase := range []string{"", "connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "dot"} {
		for _, code := range []int{0, 400, 421, 450, 452, 500, 521, 530, 550, 551, 552, 553, 554, 556, 571} {
			for subject := range 8 {
				for detail := range 31 {
					for _, class := range []int{4, 5} {
						r := Reply{Code: code, Enhanced: fmt.Sprintf("%d.%d.%d", class, subject, detail), Phase: phase}
						c := Classify(r, "shop.example")
						if c.Hard && (!meanings[c.Reason].dead || code != 0 && code < 500 || class == 4 || phase != "" && phase != "rcpt" || c.Action != DoSuppress) {
							t.Fatalf("%+v is hard: %+v", r, c)
						}
					}
				}
			}
		}
	}
}

func TestFindCodes(t *testing.T) {
	for _, c := range []struct{ text, enhanced, reply string }{
		{"550 5.1.1 unknown", "5.1.1", "550"},
		{"554 4.4.7 expired <421 4.4.2 timed out>", "4.4.2", "554"},
		{"(#5.1.1)", "5.1.1", ""},
		{"host 192.5.1.1 said 10.5.1.1.2", "", ""},
		{"Sendmail 8.14.4/5.7.1.2", "", ""},
		{"5.0.0", "5.0.0", ""},
		{"#<mx.example #5.1.1 smtp; 550 x>", "5.1.1", "550"},
		{"unable to deliver in 480 minutes", "", ""},
		{"id=22220-550-1 [550]", "", ""},
		{"550-5.7.1 blocked", "5.7.1", "550"},
		{"host x[192.0.2.1]:25 said: 550", "", "550"},
		{"600 700 299", "", ""},
		{"5.1.10", "5.1.10", ""},
		{"5.1.1000", "", ""},
	} {
		if got := findEnhanced(c.text); got != c.enhanced {
			t.Errorf("findEnhanced(%q) = %q, want %q", c.text, got, c.enhanced)
		}
		if got := findReply(c.text); got != c.reply {
			t.Errorf("findReply(%q) = %q, want %q", c.text, got, c.reply)
		}
	}
}

// TestRulesCanMatch: a phrase with an upper-case letter or two spaces would never be found.
func TestRulesCanMatch(t *testing.T) {
	check := func(where string, phrases []string) {
		for _, p := range phrases {
			if p == "" || strings.ToLower(p) != p || strings.Contains(p, "  ") {
				t.Errorf("%s: phrase %q", where, p)
			}
		}
	}
	for _, rule := range texts {
		check(rule.reason, rule.phrases)
		if meanings[rule.reason].words == "" {
			t.Errorf("reason %q has no meaning", rule.reason)
		}
	}
	for _, p := range providers {
		check(p.name, p.phrases)
	}
	for _, f := range families {
		for _, list := range [][]string{f.from, f.subject, f.headers, f.body, f.filter} {
			check(f.name, list)
		}
	}
	for _, r := range answers {
		for _, list := range [][]string{r.from, r.subject, r.subjectStarts, r.body} {
			check(r.detail, list)
		}
	}
	for name, list := range map[string][]string{"leads": leads, "cuts": cuts, "warnings": warnings, "failures": failures, "weak failures": weakFailures, "removals": removals, "machines": machines, "not recipients": notRecipient} {
		check(name, list)
	}
}

// TestThePrefilterLosesNoPhrase: each phrase is found in a text that holds it.
func TestThePrefilterLosesNoPhrase(t *testing.T) {
	for _, rule := range texts {
		for _, phrase := range rule.phrases {
			text := "550 x " + strings.NewReplacer("*", " between ", "~", " near ").Replace(phrase) + " y"
			var g grams
			g.add(text)
			if !g.mayHold(phrase) || !holds(text, phrase) || textReason(text) == "" {
				t.Errorf("%q is not found in %q", phrase, text)
			}
		}
	}
	if holds("user: taro; script not found", "user~not found") || holds("user "+strings.Repeat("x", 100)+" not found", "user~not found") {
		t.Error("a phrase reaches over a clause or a long way")
	}
}

func TestEveryReasonHasWords(t *testing.T) {
	for _, r := range Reasons() {
		c := classOf(r, true)
		if Words(r) == "" || ScopeWords(c.Scope) == "" || ActionWords(c.Action) == "" || c.Hard != meanings[r].dead {
			t.Errorf("%s: %+v", r, c)
		}
	}
}
