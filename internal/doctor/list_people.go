package doctor

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailer/internal/address"
	"mailer/internal/contact"
	"mailer/internal/spelling"
	"mailer/internal/store"
)

// age is how long people are here and have had nothing: lists that have gone cold bounce and complain.
func (l *List) age() func() []Finding {
	old := `not added_since("1y")`
	for _, f := range l.Schema.Fields {
		if f.Role == contact.Registered && f.Type == contact.Date { // the file knows better than the import
			old = "(" + old + " or field(" + strconv.Quote(f.Name) + `) < ago("1y"))`
			break
		}
	}
	fresh, year := l.group(`added_since("90d")`, false), l.group(`added_since("1y")`, false)
	never, cold := l.group("not received()", false), l.group("not received() and "+old, false)
	return func() []Finding {
		f := l.finding("age", Info, never)
		var proofs [store.ProofAges]int64
		for _, d := range l.domains {
			for age, n := range d.Proofs {
				proofs[age] += n
			}
		}
		f.Found = fmt.Sprintf("%d of %s were never mailed (%s).", never.n, people(l.mailable), l.percent(never.n))
		f.Do = "Nothing is known of their addresses yet. " + sample
		f.Detail = []string{
			fmt.Sprintf("here for less than 90 days: %d; up to a year: %d; longer: %d", fresh.n, year.n-fresh.n, l.mailable-year.n),
			fmt.Sprintf("last mail that arrived: within 3 months %d; within a year %d; longer ago %d; none %d",
				proofs[store.ProofFresh], proofs[store.ProofYear], proofs[store.ProofOld], proofs[store.NoProof]),
		}
		if never.n == 0 {
			f.Level, f.Found, f.Do = Pass, "Everybody has had mail before.", ""
		}
		all := []Finding{f}
		if cold.n == 0 {
			return append(all, l.pass("cold", "Nobody waits for the first mail for longer than a year.")...)
		}
		f = l.finding("cold", Info, cold)
		if l.share(cold.n) >= coldShare {
			f.Level = Warn
		}
		f.Found = fmt.Sprintf("%s (%s) came more than a year ago and never got a mail: this part of the list has gone cold.", people(cold.n), l.percent(cold.n))
		f.Why = "Addresses die by some percent a year, dead ones become spam traps, and people forget that they asked. docomo gives addresses " +
			"out again: a stranger may read what was meant for somebody else."
		f.Do = "Ask them whether they still want it (a short mail of its own), and leave out who does not answer. " + sample
		return append(all, f)
	}
}

// consent is what is recorded of it.
func (l *List) consent(consents []store.ListConsent) func() []Finding {
	const known = `consented_since("1970-01-01")`
	none, timeless := l.group("not consented()", false), l.group("consented() and not "+known, false)
	old := l.group(fmt.Sprintf(`%s and not consented_since("%dy") and not received()`, known, oldConsent), false)
	return func() []Finding {
		var all []Finding
		if none.n == 0 {
			all = l.pass("consent", "Of everybody it is recorded how or when they agreed.")
		} else {
			f := l.finding("consent", Warn, none)
			f.Found = fmt.Sprintf("Of %s (%s) it is recorded neither how nor when they agreed.", people(none.n), l.percent(none.n))
			f.Why = "Japan's law on advertising mail (特定電子メール法 article 3) wants consent and a record of it, GDPR article 7 proof. Complaints come from people who never asked."
			f.Do = "Import the file again with --list, --consent-source and --consent-at where you know it (contacts are not doubled), and ask the others anew."
			f.Detail = consentLines(consents)
			all = append(all, f)
		}
		if timeless.n > 0 {
			f := l.finding("consent_time", Info, timeless)
			f.Found = fmt.Sprintf("Of %s (%s) it is known where the consent came from, but not when.", people(timeless.n), l.percent(timeless.n))
			f.Do = "Import them again with --consent-at if you know the day."
			all = append(all, f)
		}
		if old.n > 0 {
			f := l.finding("consent_old", Warn, old)
			f.Found = fmt.Sprintf("%s (%s) agreed more than %d years ago and never got a mail.", people(old.n), l.percent(old.n), oldConsent)
			f.Why = "A consent of which nothing came is forgotten: such mail is taken for spam. Canada's implied consent is over after two years."
			f.Do = "Ask them once whether they still want it, and leave out who does not answer."
			all = append(all, f)
		}
		return all
	}
}

func consentLines(consents []store.ListConsent) []string {
	var lines []string
	for _, c := range consents[:min(len(consents), shownDomains)] {
		line := fmt.Sprintf("list %s: %d members, %d without a record, %d without a source, %d without a time", strconv.Quote(c.List), c.Members, c.NoRecord, c.NoSource, c.NoTime)
		if !c.Oldest.IsZero() {
			line += fmt.Sprintf(", %d older than %d years (the oldest of %s)", c.Old, oldConsent, c.Oldest.Format(time.DateOnly))
		}
		lines = append(lines, line)
	}
	if more := len(consents) - shownDomains; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more lists", more))
	}
	if len(lines) == 0 {
		lines = []string{"they are on no list, where a consent is kept"}
	}
	return lines
}

// machines are addresses that are no person's.
func (l *List) machines(locals map[string]int64) func() []Finding {
	var tell []func() []Finding
	for _, kind := range []struct {
		duty              address.Duty
		check, found, why string
	}{
		{address.Machine, "machine_addresses", "%s of no person (%s), such as postmaster@ or noreply@.",
			"Mail to them reaches nobody, or those who decide who is blocked; many are spam traps."},
		{address.Shared, "shared_addresses", "%s that several people may read (%s), such as info@.",
			"The consent of one does not speak for all, and who did not ask complains. Relays such as Amazon SES count that against you."},
	} {
		used := slices.DeleteFunc(address.LocalsOf(kind.duty), func(local string) bool { return locals[local] == 0 })
		if len(used) == 0 {
			continue
		}
		g := l.group(startsWith(used), kind.duty == address.Machine)
		tell = append(tell, func() []Finding {
			f := l.finding(kind.check, Info, g)
			if kind.duty == address.Machine || l.share(g.n) >= sharedShare {
				f.Level = Warn
			}
			f.Found, f.Why, f.Do = fmt.Sprintf(kind.found, addresses(g.n), l.percent(g.n)), kind.why, exclude
			if kind.duty == address.Shared {
				f.Do = "Keep those who asked by themselves. The others: --exclude with the expression below."
			}
			slices.SortStableFunc(used, func(a, b string) int { return cmp.Compare(locals[b], locals[a]) })
			var most []string
			for _, local := range used[:min(len(used), shownDomains)] {
				most = append(most, fmt.Sprintf("%s@ %d", local, locals[local]))
			}
			f.Detail = []string{strings.Join(most, ", ")}
			return []Finding{f}
		})
	}
	return func() []Finding {
		var all []Finding
		for _, t := range tell {
			all = append(all, t()...)
		}
		if len(all) == 0 {
			return l.pass("role_addresses", "No address stands for a job instead of a person.")
		}
		return all
	}
}

// startsWith picks addresses by their local parts, whatever stands behind a plus.
func startsWith(locals []string) string {
	var quoted []string
	for _, local := range locals {
		quoted = append(quoted, regexp.QuoteMeta(local))
	}
	return "email matches " + strconv.Quote("^("+strings.Join(quoted, "|")+`)(\+.*)?@`)
}

// forms are addresses that not every relay takes.
func (l *List) forms() func() []Finding {
	carrier := l.group("email matches "+strconv.Quote(`^\.|\.\.|\.@`), false)
	beyond := l.group("email matches "+strconv.Quote(`^[^@]*[^\x00-\x7F]`), false)
	return func() []Finding {
		var all []Finding
		if carrier.n > 0 {
			f := l.finding("carrier_forms", Info, carrier)
			f.Found = fmt.Sprintf("%s of a carrier with dots where RFC 5321 section 4.1.2 allows none (a..b@, a.@).", addresses(carrier.n))
			f.Do = "They are quoted when sent, and some relays refuse that: send one as a trial."
			all = append(all, f)
		}
		if beyond.n > 0 {
			f := l.finding("smtputf8", Info, beyond)
			f.Found = fmt.Sprintf("%s with letters beyond ASCII before the @.", addresses(beyond.n))
			f.Do = "The relay must speak SMTPUTF8 (RFC 6531); mailer doctor relay tells."
			all = append(all, f)
		}
		return all
	}
}

// twins are told, no more: who signed up twice may want it twice.
func twins(plus, dots int64) []Finding {
	if plus+dots == 0 {
		return nil
	}
	return []Finding{{Area: "list", Check: "twins", Level: Info, People: plus + dots, Found: fmt.Sprintf(
		"At least %s the mailbox of another one: %d with something behind a plus, %d with dots at Gmail, which does not look at them. Both get the mail.",
		spelling.Count(plus+dots, "address is", "addresses are"), plus, dots)}}
}

// bouncing are people whose mail came back and who are not suppressed.
func (l *List) bouncing() func() []Finding {
	g := l.group(`bounced_since("90d")`, false)
	return func() []Finding {
		if g.n == 0 {
			return nil
		}
		f := l.finding("bouncing", Info, g)
		f.Found = fmt.Sprintf("Mail for %s (%s) came back within 90 days and did not show that the address is dead.", people(g.n), l.percent(g.n))
		f.Do = "Nothing: who keeps bouncing is suppressed by itself (mailer help cleaning). mailer bounces list says why."
		return []Finding{f}
	}
}

// dormant are people of whom nothing was heard.
func (l *List) dormant(last []store.SentCampaign) func() []Finding {
	seen := l.group("opened() or clicked()", false)
	asleep := l.group(`received() and not added_since("180d") and not opened_since("180d") and not clicked_since("180d")`, false)
	var missed *group
	if len(last) == lastSends {
		parts := []string{"sent_since(" + strconv.Quote(last[lastSends-1].Began.In(l.location()).Format("2006-01-02 15:04")) + ")"}
		for _, c := range last {
			parts = append(parts, "not received("+strconv.Quote(c.Name)+")")
		}
		missed = l.group(strings.Join(parts, " and "), false)
	}
	return func() []Finding {
		var all []Finding
		switch {
		case seen.n == 0:
			all = []Finding{{Area: "list", Check: "dormant", Level: Info, Found: "Nothing records who opens or clicks, so nobody knows who is asleep."}}
		case asleep.n == 0:
			all = l.pass("dormant", "Everybody who gets mail for half a year opened or clicked something in it.")
		default:
			f := l.finding("dormant", Info, asleep)
			if l.share(asleep.n) >= dormantShare {
				f.Level = Warn
			}
			f.Found = fmt.Sprintf("%s (%s) got mail and opened and clicked nothing for half a year.", people(asleep.n), l.percent(asleep.n))
			f.Why = "Gmail, Yahoo and Microsoft judge a sender by how many of their users read it; mail that nobody opens goes to the spam folder, for all. " +
				"Opens are not seen where pictures are off, so some of them read."
			f.Do = "Ask them once whether they still want it, mail them less, and leave out who does not answer."
			all = append(all, f)
		}
		if missed != nil && missed.n > 0 {
			f := l.finding("never_reached", Info, missed)
			f.Found = fmt.Sprintf("%s (%s) were tried and reached by none of the last %d campaigns.", people(missed.n), l.percent(missed.n), lastSends)
			f.Why = "Who cannot be reached for that long will not be: each try costs reputation."
			f.Do = exclude + " mailer why ADDRESS says what the server answered."
			if l.share(missed.n) >= bounceWarn {
				f.Level = Warn
			}
			all = append(all, f)
		}
		return all
	}
}

func (l *List) location() *time.Location {
	if l.Schema.Location == nil {
		return time.UTC
	}
	return l.Schema.Location
}
