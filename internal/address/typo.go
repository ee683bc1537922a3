package address

import "strings"

// The tables below were made in November 2026. They only feed warnings: no address is ever changed by them, so what they
// do not know costs nothing, and what they wrongly doubt costs a line on the screen.

// typos are slips that were seen often, with the domain that was meant. An edit distance would find some of them, and not
// know what to make of the rest.
var typos = map[string]string{
	"docomo.co.jp": "docomo.ne.jp", "docomo.ne.jp.jp": "docomo.ne.jp",
	"docomo.ne": "docomo.ne.jp", "docomo.en.jp": "docomo.ne.jp", "ezweb.co.jp": "ezweb.ne.jp", "ezwab.ne.jp": "ezweb.ne.jp",
	"ezweb.ne": "ezweb.ne.jp", "softbank.co.jp": "softbank.ne.jp", "i.softbank.ne.jp": "i.softbank.jp",
	"i.softbank.co.jp": "i.softbank.jp", "isoftbank.jp": "i.softbank.jp",
	"gmai.com": "gmail.com", "gmail.co.jp": "gmail.com", "gmail.con": "gmail.com", "gmail.ne.jp": "gmail.com", "gmail.co": "gmail.com",
	"gmail.om": "gmail.com", "gmeil.com": "gmail.com", "g-mail.com": "gmail.com",
	"yahoo.co.jo": "yahoo.co.jp", "yahoo.cojp": "yahoo.co.jp", "yahoo.co": "yahoo.co.jp", "yahoo.co.jp.jp": "yahoo.co.jp", "yaho.co.jp": "yahoo.co.jp",
	"icloud.co.jp": "icloud.com", "icloud.jp": "icloud.com", "icloud.ne.jp": "icloud.com", "outlook.co.jp": "outlook.jp", "outlook.ne.jp": "outlook.jp",
}

// providers are the domains that a slip is compared with. Each is long enough that one edit of it hardly ever makes
// another name that somebody uses: not me.com, aol.com, gmx.de, mail.com.
var providers = []string{
	"gmail.com", "googlemail.com", "yahoo.co.jp", "yahoo.com", "ymobile.ne.jp", "hotmail.com", "hotmail.co.jp", "outlook.com", "outlook.jp",
	"icloud.com", "docomo.ne.jp", "ezweb.ne.jp", "softbank.ne.jp", "i.softbank.jp", "biglobe.ne.jp", "so-net.ne.jp", "plala.or.jp",
	"protonmail.com", "comcast.net", "verizon.net", "btinternet.com", "t-online.de", "rocketmail.com",
}

// genuine are names that look like a slip of a provider's and are none.
var genuine = map[string]bool{
	"yahoo.ne.jp": true, "yahoo.de": true, "yahoo.ca": true, "yahoo.cn": true, "yahoo.co.uk": true, "yahoo.co.kr": true, "yahoo.co.in": true, "yahoo.co.id": true,
	"yahoo.co.nz": true, "yahoo.co.th": true, "yahoo.co.za": true, "ymail.com": true, "mail.com": true, "email.com": true, "gmx.com": true, "gmx.de": true,
	"gmx.net": true, "gail.com": true, "gmail.de": true, "ymobile1.ne.jp": true, "emobile.ne.jp": true,
	"hotmail.it": true, "hotmail.de": true, "hotmail.fr": true, "hotmail.es": true, "hotmail.ca": true, "hotmail.co.uk": true, "hotmail.co.kr": true,
	"outlook.fr": true, "outlook.de": true, "outlook.es": true, "outlook.it": true, "outlook.com.br": true, "so-net.jp": true,
}

// topLevels are endings that no registry has, with what was meant.
var topLevels = []struct{ wrong, meant string }{
	{".con", ".com"}, {".cmo", ".com"}, {".ocm", ".com"}, {".vom", ".com"}, {".comm", ".com"}, {".c0m", ".com"}, {".jp.jp", ".jp"}, {".jpp", ".jp"},
	{".co.jo", ".co.jp"}, {".ne.jo", ".ne.jp"},
}

// Suggest is the domain that was probably meant by one that looks like a slip of the finger, "" for all others. It is
// never more than a question to a person: hotmail.co.jp and yahoo.ne.jp look no less odd, and are real.
func Suggest(domain string) string {
	if meant := typos[domain]; meant != "" {
		return meant
	}
	if genuine[domain] || domain == "" {
		return ""
	}
	for _, p := range providers {
		if domain == p {
			return ""
		}
	}
	for _, p := range providers {
		if p[0] == domain[0] && oneSlip(domain, p) { // another first letter is another name: mail.com, email.com, ymail.com
			return p
		}
	}
	for _, t := range topLevels {
		if strings.HasSuffix(domain, t.wrong) {
			meant := strings.TrimSuffix(domain, t.wrong) + t.meant
			if again := typos[meant]; again != "" {
				return again
			}
			return meant
		}
	}
	return ""
}

// oneSlip reports whether a becomes b by one insertion, deletion, substitution or swap of neighbours.
func oneSlip(a, b string) bool {
	if d := len(a) - len(b); a == b || d < -1 || d > 1 {
		return false
	}
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	restA, restB := a[i:], b[i:]
	switch {
	case len(a) < len(b):
		return restA == restB[1:]
	case len(a) > len(b):
		return restA[1:] == restB
	case restA[1:] == restB[1:]:
		return true
	}
	return len(restA) > 1 && restA[0] == restB[1] && restA[1] == restB[0] && restA[2:] == restB[2:]
}
