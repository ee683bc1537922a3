package sandbox

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"mailer/internal/address"

	"github.com/emersion/go-smtp"
)

// Personality is how a recipient behaves.
type Personality struct {
	Name    string  `json:"name"`
	Help    string  `json:"help"`
	Remark  string  `json:"remark,omitempty"` // what is the matter, where the name does not say it
	Format  string  `json:"format,omitempty"` // the name of the format that it writes, "" for the plain cast
	Example string  `json:"example"`          // an address that has it whatever the scenario is
	Promise Promise `json:"promise,omitzero"` // how the mail that comes of it is read; only with a Format

	refusal *smtp.SMTPError // at RCPT
	forgive forgive         // when the refusal ends
	dot     *smtp.SMTPError // refusal at the final dot
	slow    bool            // takes its time
	drop    bool            // the connection is lost after the final dot
	sequel  sequel          // the mail that comes of it
}

// forgive says how long a refusal at RCPT holds for the same sender and recipient.
type forgive int

const (
	never     forgive = iota
	afterWait         // until Options.Greylist is over, as RFC 6647 describes
	atOnce            // the second try is welcome
)

func refuse(code int, enhanced smtp.EnhancedCode, text string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: text}
}

// personalities is the whole cast: the plain one, and one for each thing that a format can tell.
var personalities = slices.Concat(exemplary(plainCast), formatCast(families))

// byNames finds them. Every recipient of every message is looked up here.
var byNames = indexed(personalities)

// plainCast needs no knowledge of servers' formats: RFC 3464, 5965, 3834 and 2369 are enough. The replies are worded as Postfix, Exim and the big providers word theirs.
var plainCast = []Personality{
	{Name: "accept", Help: "takes the message"},
	{Name: "unknown", Help: "550 5.1.1 at RCPT",
		refusal: refuse(550, smtp.EnhancedCode{5, 1, 1}, "Recipient address rejected: User unknown in virtual mailbox table")},
	{Name: "later-unknown", Help: "takes the message; a report of RFC 3464 says 5.1.1 afterwards",
		sequel: report{action: "failed", status: "5.1.1", diagnostic: "550 5.1.1 Recipient address rejected: User unknown"}},
	{Name: "full", Help: "452 4.2.2 at RCPT, every time",
		refusal: refuse(452, smtp.EnhancedCode{4, 2, 2}, "Mailbox full")},
	{Name: "over-quota", Help: "552 5.2.2 at RCPT",
		refusal: refuse(552, smtp.EnhancedCode{5, 2, 2}, "Mailbox is over its quota")},
	{Name: "later-full", Help: "takes the message; a report says 5.2.2 afterwards",
		sequel: report{action: "failed", status: "5.2.2", diagnostic: "552 5.2.2 Mailbox is over its quota"}},
	{Name: "delayed", Help: "takes the message; a report warns of a delay (4.4.1) if NOTIFY asks for it, which mailer does not: postfix-delayed warns all the same",
		sequel: report{action: "delayed", status: "4.4.1", diagnostic: "451 4.4.1 connection timed out, will keep trying"}},
	{Name: "greylist", Help: "451 4.7.1 at RCPT until --greylist is over, then takes the message",
		forgive: afterWait, refusal: refuse(451, smtp.EnhancedCode{4, 7, 1}, "Greylisted, please try again later")},
	{Name: "busy", Help: "421 4.7.0 at RCPT and hangs up, the first time; then takes the message",
		forgive: atOnce, refusal: refuse(421, smtp.EnhancedCode{4, 7, 0}, "Too many connections from your host, try again later")},
	{Name: "blocked", Help: "550 5.7.1 at RCPT: our host is on a block list, the address is good",
		refusal: refuse(550, smtp.EnhancedCode{5, 7, 1}, "Service unavailable; client host blocked using a DNS block list")},
	{Name: "spam", Help: "554 5.7.1 at the final dot: the content is refused, the address is good",
		dot: refuse(554, smtp.EnhancedCode{5, 7, 1}, "Message content rejected as spam")},
	{Name: "slow", Help: "takes --slow to answer RCPT, then takes the message", slow: true},
	{Name: "complain", Help: "takes the message; a complaint (ARF, RFC 5965) follows", sequel: complaint{}},
	{Name: "vacation", Help: "takes the message; an automatic reply (RFC 3834) follows", sequel: vacation{}},
	{Name: "unsubscribe", Help: "takes the message, then writes to the mailto of its List-Unsubscribe (RFC 2369)", sequel: unsubscribe{}},
	{Name: "forged", Help: "takes the message; a bounce with a wrong signature follows, as a forger would send it",
		sequel: report{action: "failed", status: "5.1.1", diagnostic: "550 5.1.1 User unknown", forged: true}},
	{Name: "drop", Help: "takes the message and loses the connection before the reply to the final dot", drop: true},
}

// Scenario is a mix of personalities.
type Scenario struct {
	Name    string
	Help    string
	shares  []share
	formats uint64 // a part of a thousand that gets one of the formats, each as often
	hangUp  int    // 421 after that many messages on one connection; 0: never
}

// share is a part of a thousand; what no share takes, accepts.
type share struct {
	personality string
	perMille    uint64
	domain      string // only of recipients there; "" of all
}

var scenarios = []Scenario{
	{Name: "mixed", Help: "a fair list: 94 % accept, 421 after 100 messages on a connection", hangUp: 100, shares: []share{
		{"unknown", 10, ""}, {"later-unknown", 8, ""}, {"full", 3, ""}, {"over-quota", 2, ""}, {"later-full", 3, ""}, {"greylist", 15, ""},
		{"slow", 4, ""}, {"complain", 2, ""}, {"vacation", 6, ""}, {"unsubscribe", 5, ""}, {"drop", 2, ""}}},
	{Name: "perfect", Help: "everybody accepts who is not named otherwise"},
	{Name: "named", Help: "the same, with 421 after 100 messages on a connection", hangUp: 100},
	{Name: "stale", Help: "an old list: a third of the addresses is dead", shares: []share{
		{"unknown", 200, ""}, {"later-unknown", 130, ""}, {"over-quota", 30, ""}, {"complain", 10, ""}}},
	{Name: "greylist", Help: "everybody is greylisted first", shares: []share{{"greylist", 1000, ""}}},
	{Name: "hostile", Help: "everything that can go wrong, often; 421 after 5 messages on a connection", hangUp: 5, shares: []share{
		{"unknown", 60, ""}, {"later-unknown", 60, ""}, {"full", 30, ""}, {"over-quota", 30, ""}, {"later-full", 30, ""}, {"delayed", 30, ""},
		{"greylist", 100, ""}, {"busy", 60, ""}, {"blocked", 50, ""}, {"spam", 50, ""}, {"slow", 20, ""}, {"complain", 30, ""}, {"vacation", 50, ""},
		{"unsubscribe", 30, ""}, {"forged", 30, ""}, {"drop", 40, ""}}},
	{Name: "formats", Help: "nine of ten come back, in all the formats of all servers", formats: 900},
	{Name: "outage", Help: "docomo turns everybody away as unknown, au everybody's mail as blocked; the others are fair", shares: []share{
		{"docomo-unknown", 1000, "docomo.ne.jp"}, {"blocked", 1000, "au.com"}, {"blocked", 1000, "ezweb.ne.jp"}, {"later-unknown", 5, ""}, {"later-full", 5, ""}}},
}

// Personalities returns the cast, for help texts.
func Personalities() []Personality { return slices.Clone(personalities) }

// Scenarios returns the scenarios, for help texts.
func Scenarios() []Scenario { return slices.Clone(scenarios) }

func findScenario(name string) (Scenario, error) {
	var names []string
	for _, s := range scenarios {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scenario{}, fmt.Errorf("there is no scenario %q; take one of %s", name, strings.Join(names, ", "))
}

// Cast returns the personality of an address in a scenario. It depends on nothing else, so a rehearsal can be repeated.
// A word of the local part (between dots, plus signs, underscores) that names a personality forces it:
// unknown.taro@example.jp, taro+later-full@example.jp. "back-" before what happened leaves the format to the domain:
// back-unknown.taro@docomo.ne.jp is docomo-unknown.
func (s Scenario) Cast(seed uint64, addr string) Personality {
	key := address.Key(addr)
	local, domain, _ := strings.Cut(key, "@")
	for _, word := range strings.FieldsFunc(local, func(r rune) bool { return strings.ContainsRune(".+_", r) }) {
		if p, ok := byName(word); ok {
			return p
		}
		if what, ok := strings.CutPrefix(word, "back-"); ok {
			if p, ok := ofDomain(domain, what); ok {
				return p
			}
		}
	}
	lot := draw(seed, s.Name, key)
	if lot < s.formats {
		p := personalities[len(plainCast):]
		return p[draw(seed, s.Name+" format", key)*uint64(len(p))/1000]
	}
	for _, sh := range s.shares {
		if sh.domain != "" && sh.domain != domain {
			continue
		}
		if lot < sh.perMille {
			p, _ := byName(sh.personality)
			return p
		}
		lot -= sh.perMille
	}
	return personalities[0]
}

// ofDomain is what happened to a recipient in the format of the provider, else of Postfix, which most relays are.
func ofDomain(domain, what string) (Personality, bool) {
	for _, f := range families {
		for _, d := range f.domains {
			if d == domain || strings.HasSuffix(domain, "."+d) {
				if p, ok := byName(f.name + "-" + what); ok {
					return p, true
				}
			}
		}
	}
	return byName("postfix-" + what)
}

func byName(name string) (Personality, bool) {
	i, ok := byNames[name]
	if !ok {
		return Personality{}, false
	}
	return personalities[i], true
}

// exemplary gives each an address.
func exemplary(all []Personality) []Personality {
	for i := range all {
		all[i].Example = all[i].Name + "@example.jp"
	}
	return all
}

func indexed(all []Personality) map[string]int {
	m := make(map[string]int, len(all))
	for i, p := range all {
		m[p.Name] = i
	}
	return m
}

// draw returns a number below 1000.
func draw(seed uint64, scenario, key string) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s", seed, scenario, key))
	return binary.BigEndian.Uint64(sum[:8]) % 1000
}
