package message

import (
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/net/publicsuffix"

	"mailer/internal/campaign"
)

// utmRewriter adds the parameters of utm: in the front matter to the links that lead to the sender's own sites, which are
// those under the organizational domain of From, and to the hosts that are named. What a link has already stays.
func utmRewriter(u campaign.UTM, id, from string) LinkRewriter {
	params := [][2]string{{"utm_source", u.Source}, {"utm_medium", u.Medium}, {"utm_campaign", u.Campaign}, {"utm_term", u.Term}, {"utm_content", u.Content}}
	if u.Medium == "" {
		params[1][1] = "email"
	}
	if u.Campaign == "" {
		params[2][1] = id
	}
	own := strings.ToLower(from)
	if site, err := publicsuffix.EffectiveTLDPlusOne(own); err == nil {
		own = site
	}
	hosts := append([]string{own}, u.Hosts...)
	return func(l Link) string {
		m := literalHost.FindStringSubmatch(l.URL)
		if m == nil || !underAny(strings.ToLower(m[1]), hosts) {
			return l.URL
		}
		return addParams(l.URL, params)
	}
}

// literalHost is an address whose host is no field's value.
var literalHost = regexp.MustCompile(`^(?i:https?)://([^/?#{}:@\s]+)(?::\d+)?(?:[/?#]|$)`)

func underAny(host string, sites []string) bool {
	for _, s := range sites {
		s = strings.ToLower(s)
		if s == campaign.AllHosts || host == s || strings.HasSuffix(host, "."+s) {
			return true
		}
	}
	return false
}

// addParams puts parameters behind the query of an address in which actions may stand, before its fragment.
func addParams(link string, params [][2]string) string {
	plain := []byte(link) // the same, with nothing in the actions that means something in an address
	for _, a := range actions(link) {
		for i := a.off; i < a.off+len(a.text); i++ {
			plain[i] = 'x'
		}
	}
	end := len(link)
	if i := strings.IndexByte(string(plain), '#'); i >= 0 {
		end = i
	}
	head, query := link[:end], ""
	hasQuery := false
	if i := strings.IndexByte(string(plain[:end]), '?'); i >= 0 {
		hasQuery, query = true, string(plain[i:end])
	}
	for _, p := range params {
		if p[1] == "" || strings.Contains(query, "?"+p[0]+"=") || strings.Contains(query, "&"+p[0]+"=") {
			continue
		}
		switch {
		case !hasQuery:
			head += "?"
			hasQuery = true
		case !strings.HasSuffix(head, "?") && !strings.HasSuffix(head, "&"):
			head += "&"
		}
		head += p[0] + "=" + url.QueryEscape(p[1])
	}
	return head + link[end:]
}
