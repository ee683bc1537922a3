package arrival

import (
	"net/mail"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Cover says how a hop was protected.
type Cover string

// The covers.
const (
	Clear     Cover = "clear"     // over a network, and nothing says that it was encrypted
	Encrypted Cover = "encrypted" // TLS
	Inside    Cover = "inside"    // on one machine, or within one operator's system
	Untold    Cover = "untold"    // the field does not say how it came
)

// Hop is what a Received field says.
type Hop struct {
	From, By string // names as they are written; From is empty where the mail began or was handed on inside
	With     string // the protocol, in upper case
	Cover    Cover
	Version  string // of TLS, such as TLS 1.3
	Cipher   string
	At       time.Time     // zero: not readable
	Delay    time.Duration // since the hop before, or since the Date; may be below zero, where clocks differ
	Timed    bool          // Delay is known
}

// maxHops bounds what is read of a mail that went in circles.
const maxHops = 100

// Hops are the way of a message, the first server first. Delays count from sent, when the message left us; zero: not known.
func (m Mail) Hops(sent time.Time) []Hop {
	var all []Hop
	for _, value := range m.All("Received") {
		if len(all) == maxHops {
			break
		}
		all = append(all, parseHop(value))
	}
	slices.Reverse(all)
	before := sent
	for i := range all {
		h := &all[i]
		if h.At.IsZero() {
			continue
		}
		if !before.IsZero() {
			h.Delay, h.Timed = h.At.Sub(before.Truncate(time.Second)), true
		}
		before = h.At
	}
	return all
}

// parseHop reads one field. The forms it knows beside RFC 5321 section 4.4 are those of Exim (TLS behind the protocol without
// brackets), qmail ("with (CIPHER encrypted) SMTP", "invoked by uid"), and of Exchange and Gmail ("version=TLS1_2").
func parseHop(value string) Hop {
	clauses, date := value, ""
	if at := strings.LastIndexByte(value, ';'); at >= 0 {
		clauses, date = value[:at], value[at+1:]
	}
	h := Hop{At: parseDate(date)}
	words := strings.Fields(withoutComments(clauses))
	for i := 0; i+1 < len(words); i++ {
		into := map[string]*string{"from": &h.From, "by": &h.By, "with": &h.With}[strings.ToLower(words[i])]
		if into != nil && *into == "" {
			*into = strings.TrimRight(words[i+1], ".;,")
			i++
		}
	}
	if m := microsoft.FindString(clauses); m != "" && strings.EqualFold(h.With, "Microsoft") {
		h.With = "Microsoft SMTP Server"
	} else {
		h.With = strings.ToUpper(h.With)
	}
	h.Version, h.Cipher = security(clauses)
	h.Cover = h.cover(clauses)
	return h
}

var (
	microsoft = regexp.MustCompile(`(?i)Microsoft (?:SMTP|ESMTP) Server`)
	tlsWord   = regexp.MustCompile(`(?i)\bTLS ?v?1(?:[._]([0-3]))?\b`)
	cipher    = regexp.MustCompile(`\b(TLS_[A-Z0-9_]{6,}|(?:ECDHE|DHE|AEAD|AES[0-9]{3}|CAMELLIA[0-9]{3})(?:-[A-Z0-9]+)+)\b`)
	encrypted = regexp.MustCompile(`(?i)\bencrypted\b`)
	inside    = regexp.MustCompile(`(?i)\b(?:invoked (?:by|from|for)|from userid|uid \d+|mapi|local)\b`)
	address   = regexp.MustCompile(`[\[(](?:IPv6:|[^\s()\[\]@]+@)?([0-9]+(?:\.[0-9]+){3}|[0-9A-Fa-f]*:[0-9A-Fa-f.:]+)[\])]`)
)

// security is the version of TLS and the cipher.
func security(clauses string) (version, suite string) {
	if m := tlsWord.FindStringSubmatch(clauses); m != nil {
		minor := m[1]
		if minor == "" {
			minor = "0" // OpenSSL writes TLSv1
		}
		version = "TLS 1." + minor
	}
	return version, cipher.FindString(clauses)
}

// withTLS are the protocols that say TLS by themselves (RFC 3848, RFC 6531 section 4.3), and what Exim and others write.
var withTLS = []string{"ESMTPS", "ESMTPSA", "LMTPS", "LMTPSA", "UTF8SMTPS", "UTF8SMTPSA", "UTF8LMTPS", "UTF8LMTPSA", "SMTPS", "SSMTP", "HTTPS"}

var withoutTLS = []string{"SMTP", "ESMTP", "ESMTPA", "UTF8SMTP", "UTF8SMTPA", "ASMTP"}

func (h Hop) cover(clauses string) Cover {
	switch {
	case slices.Contains(withTLS, h.With), h.Version != "", h.Cipher != "", encrypted.MatchString(clauses):
		return Encrypted
	case h.From == "", h.local(clauses), inside.MatchString(clauses), strings.HasPrefix(h.With, "LMTP"), strings.HasPrefix(h.With, "UTF8LMTP"), h.With == "LOCAL":
		return Inside
	case slices.Contains(withoutTLS, h.With), h.With == "Microsoft SMTP Server":
		return Clear
	}
	return Untold
}

// local reports whether a hop came from the same machine: the address that the server saw says so.
func (h Hop) local(clauses string) bool {
	clauses, _, _ = strings.Cut(clauses, " by ")
	for _, m := range address.FindAllStringSubmatch(clauses, -1) {
		if ip, err := netip.ParseAddr(m[1]); err == nil {
			return ip.Unmap().IsLoopback()
		}
	}
	return strings.EqualFold(h.From, "localhost") || strings.HasPrefix(strings.ToLower(h.From), "localhost.")
}

// parseDate reads a date as servers write them; names of zones that Go does not know count as UTC in the standard library,
// which for a delay is worse than nothing.
func parseDate(s string) time.Time {
	s = strings.Join(strings.Fields(withoutComments(s)), " ")
	t, err := mail.ParseDate(s)
	if err != nil {
		return time.Time{}
	}
	if name, offset := t.Zone(); offset == 0 && name != "" && !slices.Contains([]string{"UTC", "GMT", "UT", "Z", "+0000", "-0000"}, name) {
		return time.Time{}
	}
	return t
}
