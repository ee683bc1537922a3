package relay

import (
	"strconv"
	"strings"
)

// Limits are what a relay says of itself in EHLO (RFC 9422); 0: it says nothing.
type Limits struct {
	MailMax       int // transactions a connection
	RcptMax       int // recipients a transaction
	RcptDomainMax int // domains among them
}

// parseLimits reads the parameter of LIMITS. What is malformed or not known is passed over, as RFC 9422 wants; of a
// limit that is given twice the lower one holds.
func parseLimits(param string) Limits {
	var l Limits
	for word := range strings.FieldsSeq(param) {
		name, value, _ := strings.Cut(word, "=")
		n, ok := limitValue(value)
		if !ok {
			continue
		}
		var into *int
		switch strings.ToUpper(name) {
		case "MAILMAX":
			into = &l.MailMax
		case "RCPTMAX":
			into = &l.RcptMax
		case "RCPTDOMAINMAX":
			into = &l.RcptDomainMax
		default:
			continue
		}
		if *into == 0 || n < *into {
			*into = n
		}
	}
	return l
}

// limitValue is a number of one to six digits that does not begin with 0 (RFC 9422).
func limitValue(s string) (int, bool) {
	if len(s) == 0 || len(s) > 6 || s[0] == '0' || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}
