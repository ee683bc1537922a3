package address

import "strings"

// lenientDomains are the domains of docomo and au. Until April 2009 both gave out local parts such as "a..b" and "a.",
// and some are still in use. SoftBank never allowed them.
var lenientDomains = map[string]bool{
	"docomo.ne.jp":    true,
	"mopera.net":      true,
	"dwmail.jp":       true,
	"au.com":          true,
	"biz.au.com":      true,
	"ezweb.ne.jp":     true, // and every name below it
	"ido.ne.jp":       true,
	"sky.tkk.ne.jp":   true,
	"sky.tkc.ne.jp":   true,
	"sky.tu-ka.ne.jp": true,
	"sky.dtg.ne.jp":   true,
	"uqmobile.jp":     true,
}

func isLenient(domain string) bool {
	return lenientDomains[domain] || strings.HasSuffix(domain, ".ezweb.ne.jp")
}
