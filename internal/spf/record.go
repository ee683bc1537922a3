// Package spf reads, evaluates and inspects SPF records (RFC 7208).
//
// Check answers what a receiver asks: may this address send for that domain. Inspect answers what the owner of the domain
// wants to know: what the record costs whoever evaluates it, and what in it is wrong for everybody.
package spf

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"mailer/internal/zone"
)

// Version begins each record.
const Version = "v=spf1"

// Record is the text of a record and its terms.
type Record struct {
	Text  string
	Terms []Term // those without an error, in order, mechanisms and modifiers
}

// Term is a mechanism or a modifier.
type Term struct {
	Text      string // as it stands in the record
	Pos       int    // of its first byte in the record
	Name      string // in lower case: all include a mx ptr ip4 ip6 exists redirect exp, or another modifier's
	Modifier  bool
	Qualifier byte         // + - ~ ?; of mechanisms
	Domain    string       // the domain-spec, macros and all; "" is the domain itself. Of another modifier its value
	Net       netip.Prefix // ip4, ip6
	Bits4     int          // a, mx: 32 where nothing is said
	Bits6     int          // a, mx: 128
}

// Counted reports whether a term is one of the ten that may ask the DNS (RFC 7208 section 4.6.4).
func (t Term) Counted() bool {
	switch t.Name {
	case "include", "a", "mx", "ptr", "exists":
		return !t.Modifier
	case "redirect":
		return t.Modifier
	}
	return false
}

// SyntaxError is a term that is none, and where it stands.
type SyntaxError struct {
	Pos     int    // of the byte at fault
	Term    string // it stands in
	Problem string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%q at character %d: %s", e.Term, e.Pos+1, e.Problem)
}

// IsRecord reports whether a TXT record is one of SPF: its version, then a space or the end (section 4.5).
func IsRecord(text string) bool {
	n := len(Version)
	return len(text) >= n && strings.EqualFold(text[:n], Version) && (len(text) == n || text[n] == ' ')
}

// Select picks the SPF records out of the TXT records of a name. Those of type 99 are never asked for: RFC 7208 section 3.1
// has ended them.
func Select(a zone.Answer) []zone.Record {
	var all []zone.Record
	for _, r := range a.Records {
		if IsRecord(r.Text) {
			all = append(all, r)
		}
	}
	return all
}

// Parse reads a record. The error holds every SyntaxError of it, joined; the terms that are sound are in the record anyway.
func Parse(text string) (Record, error) {
	r := Record{Text: text}
	if !IsRecord(text) {
		return r, &SyntaxError{Pos: 0, Term: head(text), Problem: `a record begins with "v=spf1" and a space`}
	}
	var errs []error
	seen := map[string]bool{}
	for pos := len(Version); pos < len(text); {
		if text[pos] == ' ' {
			pos++
			continue
		}
		end := pos
		for end < len(text) && text[end] != ' ' {
			end++
		}
		t, err := parseTerm(text[pos:end], pos)
		switch {
		case err != nil:
			errs = append(errs, err)
		case t.Modifier && (t.Name == "redirect" || t.Name == "exp") && seen[t.Name]: // section 6
			errs = append(errs, &SyntaxError{pos, t.Text, t.Name + "= may stand once only"})
		default:
			seen[t.Name] = seen[t.Name] || t.Modifier
			r.Terms = append(r.Terms, t)
		}
		pos = end
	}
	return r, errors.Join(errs...)
}

func head(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}

// parseTerm reads one term, which begins at that place of the record.
func parseTerm(text string, pos int) (Term, error) {
	bad := func(at int, format string, args ...any) (Term, error) {
		return Term{}, &SyntaxError{pos + at, text, fmt.Sprintf(format, args...)}
	}
	for i := range len(text) {
		if text[i] < 0x21 || text[i] > 0x7e {
			return bad(i, "a byte %#02x that is no printable ASCII (a line break, a no-break space or typographic quotes from a copy?)", text[i])
		}
	}
	t := Term{Text: text, Pos: pos, Bits4: 32, Bits6: 128}
	if sign := strings.IndexAny(text, "=:/"); sign >= 0 && text[sign] == '=' { // section 4.6.1: "=" before any ":" or "/"
		return parseModifier(t, sign, bad)
	}
	rest, at := text, 0
	t.Qualifier = '+'
	if strings.IndexByte("+-~?", rest[0]) >= 0 {
		t.Qualifier, rest, at = rest[0], rest[1:], 1
	}
	end := strings.IndexAny(rest, ":/")
	if end < 0 {
		end = len(rest)
	}
	t.Name = strings.ToLower(rest[:end])
	args, at := rest[end:], at+end
	switch t.Name {
	case "all":
		if args != "" {
			return bad(at, "all takes nothing behind it")
		}
	case "include", "exists":
		if !strings.HasPrefix(args, ":") || args == ":" {
			return bad(at, "%s wants a domain: %s:example.com", t.Name, t.Name)
		}
		t.Domain = args[1:]
	case "ptr":
		if args == "" {
			break
		}
		if args[0] != ':' || args == ":" {
			return bad(at, "ptr takes nothing, or a colon and a domain")
		}
		t.Domain = args[1:]
	case "a", "mx":
		domain, problem := t.takeBits(args)
		if problem != "" {
			return bad(at, "%s", problem)
		}
		if domain == "" {
			break
		}
		if domain[0] != ':' || domain == ":" {
			return bad(at, "a domain is missing after the colon, or a number of bits after the slash")
		}
		t.Domain = domain[1:]
	case "ip4", "ip6":
		var problem string
		if t.Net, problem = network(t.Name, args); problem != "" {
			return bad(at, "%s", problem)
		}
	default:
		return bad(0, "there is no mechanism %q (all, include, a, mx, ptr, ip4, ip6, exists)%s", rest[:end], meant(t.Name))
	}
	if t.Domain != "" {
		at := strings.IndexByte(text, ':') + 1
		if off, problem := checkDomainSpec(t.Domain); problem != "" {
			return bad(at+off, "%s", problem)
		}
	}
	return t, nil
}

// meant helps with what people write.
func meant(name string) string {
	if a, err := netip.ParseAddr(name); err == nil && a.Is4() {
		return "; an address is written ip4:" + name
	}
	switch name {
	case "ip", "ipv4", "ip4v":
		return "; ip4: is meant"
	case "ipv6":
		return "; ip6: is meant"
	case "includes", "inlcude", "incldue":
		return "; include: is meant"
	case "redirect", "exp":
		return "; " + name + "= is meant"
	}
	return ""
}

func parseModifier(t Term, sign int, bad func(int, string, ...any) (Term, error)) (Term, error) {
	t.Modifier, t.Name, t.Domain = true, strings.ToLower(t.Text[:sign]), t.Text[sign+1:]
	for i := range len(t.Name) {
		c := t.Name[i]
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '_' && c != '.') {
			return bad(i, "the name of a modifier is a letter, then letters, digits and -_.")
		}
	}
	switch t.Name {
	case "":
		return bad(0, "a name is missing before the =")
	case "redirect", "exp":
		if t.Domain == "" {
			return bad(sign+1, "%s= wants a domain", t.Name)
		}
		if off, problem := checkDomainSpec(t.Domain); problem != "" {
			return bad(sign+1+off, "%s", problem)
		}
	default:
		if _, off, problem := macros(t.Domain, true); problem != "" {
			return bad(sign+1+off, "%s", problem)
		}
	}
	return t, nil
}

// takeBits takes /24, //64 or /24//64 off the end. A slash may also be in the domain-spec, so only the end is looked at.
func (t *Term) takeBits(s string) (rest, problem string) {
	if i := strings.LastIndex(s, "//"); i >= 0 && digits(s[i+2:]) {
		n, ok := bits(s[i+2:], 128)
		if !ok {
			return "", "the bits of an IPv6 network are 0 to 128"
		}
		t.Bits6, s = n, s[:i]
	}
	if i := strings.LastIndexByte(s, '/'); i >= 0 && digits(s[i+1:]) && (i == 0 || s[i-1] != '/') {
		n, ok := bits(s[i+1:], 32)
		if !ok {
			return "", "the bits of an IPv4 network are 0 to 32; those of IPv6 follow two slashes"
		}
		t.Bits4, s = n, s[:i]
	}
	return s, ""
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// bits reads a number without leading zeros.
func bits(s string, most int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n <= most && (s[0] != '0' || s == "0")
}

// network reads ":192.0.2.0/24". Bits beyond the length are ignored, as receivers do.
func network(name, args string) (p netip.Prefix, problem string) {
	most, sample := 32, "ip4:192.0.2.1 or ip4:192.0.2.0/24"
	if name == "ip6" {
		most, sample = 128, "ip6:2001:db8::1 or ip6:2001:db8::/32"
	}
	if args == "" || args[0] != ':' {
		return p, "an address is missing: " + sample
	}
	text, length, sliced := strings.Cut(args[1:], "/")
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.Is4() != (name == "ip4") {
		return p, fmt.Sprintf("%q is no address of %s: %s", text, map[string]string{"ip4": "IPv4", "ip6": "IPv6"}[name], sample)
	}
	n := most
	if sliced {
		ok := digits(length)
		if ok {
			n, ok = bits(length, most)
		}
		if !ok {
			return p, fmt.Sprintf("the bits after the slash are 0 to %d", most)
		}
	}
	if a.Is4In6() { // netip masks no mapped address; as IPv6 it matches nothing that is compared unmapped
		return netip.PrefixFrom(a, n), ""
	}
	return netip.PrefixFrom(a, n).Masked(), ""
}
