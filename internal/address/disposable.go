package address

import (
	"slices"
	"strings"
)

// disposable are domains of well-known services that give anybody a mailbox for minutes, or one that everybody can read.
// Made in November 2026 from what the services themselves offer on their pages, and only of those that have done so for years:
// services bring up new domains every week, so no list is ever whole, and one that guesses costs real people. Services that forward
// to a person's own mailbox (Hide My Email, Firefox Relay, SimpleLogin) are not here: there somebody reads.
var disposable = func() map[string]string {
	all := map[string]string{}
	for service, domains := range map[string]string{
		"Mailinator":     "mailinator.com mailinator.net mailinator2.com binkmail.com bobmail.info chammy.info devnullmail.com letthemeatspam.com notmailinator.com reallymymail.com safetymail.info sogetthis.com spamherelots.com suremail.info thisisnotmyrealemail.com tradermail.info veryrealemail.com zippymail.info",
		"Guerrilla Mail": "guerrillamail.com guerrillamail.net guerrillamail.org guerrillamail.biz guerrillamail.de guerrillamail.info guerrillamailblock.com sharklasers.com grr.la pokemail.net spam4.me",
		"YOPmail":        "yopmail.com yopmail.fr yopmail.net cool.fr.nf jetable.fr.nf nospam.ze.tc nomail.xl.cx mega.zik.dj speed.1s.fr courriel.fr.nf moncourrier.fr.nf monemail.fr.nf monmail.fr.nf",
		"10 Minute Mail": "10minutemail.com 10minutemail.net 10minutemail.org 20minutemail.com",
		"Temp Mail":      "temp-mail.org temp-mail.io tempmail.net tempmailo.com tempr.email discard.email discardmail.com discardmail.de spambog.com spambog.de spambog.ru",
		"Trashmail":      "trashmail.com trashmail.net trashmail.de trashmail.me trash-mail.com trash-mail.de wegwerfmail.de wegwerfmail.net wegwerfmail.org",
		"others": "dispostable.com throwawaymail.com getnada.com maildrop.cc mailnesia.com mailcatch.com mytemp.email fakeinbox.com mintemail.com mohmal.com " +
			"emailondeck.com moakt.com moakt.cc mailnull.com jetable.org tempinbox.com inboxkitten.com harakirimail.com mailsac.com spambox.us mailexpire.com " +
			"tempail.com spamex.com incognitomail.com anonymbox.com mailmoat.com deadaddress.com spamfree24.org",
		"InstAddr (捨てメアド)": "eay.jp via.tokyo.jp ichigo.me choco.la cream.pink merry.pink neko2.net fuwamofu.com ruru.be macr2.com svk.jp ahk.jp nyasan.com usako.net kpost.be risu.be",
		"sute.jp":          "sute.jp",
	} {
		for domain := range strings.FieldsSeq(domains) {
			all[domain] = service
		}
	}
	return all
}()

// Disposables says which domains are disposable. The zero value has the built-in list.
type Disposables struct {
	Add, Except []string // domains in ASCII; what is below one belongs to it
}

// Has reports whether a domain, or one that it is below of, gives out mailboxes to throw away.
func (d Disposables) Has(domain string) bool {
	for rest := domain; strings.Contains(rest, "."); {
		for _, e := range d.Except {
			if e == rest {
				return false
			}
		}
		for _, a := range d.Add {
			if a == rest {
				return true
			}
		}
		if disposable[rest] != "" {
			return true
		}
		_, rest, _ = strings.Cut(rest, ".")
	}
	return false
}

// LocalsOf are the local parts that stand for a duty, in order.
func LocalsOf(d Duty) []string {
	var all []string
	for local, of := range duties {
		if of == d {
			all = append(all, local)
		}
	}
	slices.Sort(all)
	return all
}
