package spf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// piece of a macro-string (RFC 7208 section 7.1): a literal, or a letter with its transformers.
type piece struct {
	literal string
	letter  byte // 0: a literal
	keep    int  // so many parts from the right; 0: all
	reverse bool
	delims  string
	escape  bool // a capital letter: escape as in a URL
}

// macros cuts a macro-string into its pieces. exp allows the letters of explanations, c, r and t (section 7.2).
func macros(s string, exp bool) (all []piece, at int, problem string) {
	for i := 0; i < len(s); {
		if s[i] != '%' {
			end := i
			for end < len(s) && s[end] != '%' {
				end++
			}
			all = append(all, piece{literal: s[i:end]})
			i = end
			continue
		}
		if i+1 == len(s) {
			return nil, i, "a % at the end; a percent sign is written %%"
		}
		switch s[i+1] {
		case '%':
			all = append(all, piece{literal: "%"})
		case '_':
			all = append(all, piece{literal: " "})
		case '-':
			all = append(all, piece{literal: "%20"})
		case '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return nil, i, "a macro %{ without its }"
			}
			p, problem := macro(s[i+2:i+end], exp)
			if problem != "" {
				return nil, i, problem
			}
			all = append(all, p)
			i += end + 1
			continue
		default:
			return nil, i, "after a % follows {, %, _ or -"
		}
		i += 2
	}
	return all, 0, ""
}

// macro reads what stands between the braces.
func macro(s string, exp bool) (p piece, problem string) {
	if s == "" {
		return p, "an empty macro %{}"
	}
	c := s[0] | 0x20
	if strings.IndexByte("slodiphv", c) < 0 && strings.IndexByte("crt", c) < 0 {
		return p, "there is no macro %{" + s[:1] + "}"
	}
	if !exp && strings.IndexByte("crt", c) >= 0 {
		return p, "%{" + s[:1] + "} is for explanations only"
	}
	p = piece{letter: c, escape: s[0] != c, delims: "."}
	rest := s[1:]
	n := 0
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	if n > 0 {
		keep, err := strconv.Atoi(rest[:n])
		if err != nil { // more than fits an int is more than there are parts
			keep = 128
		}
		if keep == 0 {
			return p, "the number in a macro is at least 1"
		}
		p.keep, rest = keep, rest[n:]
	}
	if rest != "" && rest[0]|0x20 == 'r' {
		p.reverse, rest = true, rest[1:]
	}
	for i := range len(rest) {
		if strings.IndexByte(".-+,/_=", rest[i]) < 0 {
			return p, "%{" + s + "} is no macro: a letter, a number, r, and delimiters out of . - + , / _ ="
		}
	}
	if rest != "" {
		p.delims = rest
	}
	return p, ""
}

// checkDomainSpec looks at the grammar of a domain-spec: it ends in a macro or in a top label (section 7.1).
func checkDomainSpec(s string) (at int, problem string) {
	all, at, problem := macros(s, false)
	if problem != "" {
		return at, problem
	}
	last := all[len(all)-1]
	if last.letter != 0 || strings.HasSuffix(s, "%%") || strings.HasSuffix(s, "%_") || strings.HasSuffix(s, "%-") {
		return 0, ""
	}
	name := strings.TrimSuffix(last.literal, ".")
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return len(s) - len(last.literal), "a whole domain is wanted, with a dot in it"
	}
	if !topLabel(name[dot+1:]) {
		return len(s) - len(last.literal) + dot + 1, "a domain does not end in " + strconv.Quote(name[dot+1:])
	}
	return 0, ""
}

// topLabel: letters and digits with a letter among them, or with a hyphen inside.
func topLabel(s string) bool {
	letter, hyphen := false, false
	for i := range len(s) {
		switch c := s[i] | 0x20; {
		case c >= 'a' && c <= 'z':
			letter = true
		case s[i] == '-':
			hyphen = true
		case s[i] < '0' || s[i] > '9':
			return false
		}
	}
	return (letter || hyphen) && s[0] != '-' && s[len(s)-1] != '-'
}

// values are what the letters stand for.
type values struct {
	sender, local, senderDomain string
	domain, helo                string
	ip                          netip.Addr
	validated                   func() string // %{p}, which costs lookups
	receiver                    string
	now                         time.Time
}

func (v *values) of(letter byte) string {
	switch letter {
	case 's':
		return v.sender
	case 'l':
		return v.local
	case 'o':
		return v.senderDomain
	case 'd':
		return v.domain
	case 'i':
		return dotted(v.ip)
	case 'p':
		return v.validated()
	case 'v':
		if v.ip.Is4() {
			return "in-addr"
		}
		return "ip6"
	case 'h':
		return v.helo
	case 'c':
		return v.ip.String()
	case 'r':
		if v.receiver == "" {
			return "unknown"
		}
		return v.receiver
	}
	return strconv.FormatInt(v.now.Unix(), 10) // t
}

// dotted is an address for names: nibbles with dots between for IPv6 (section 7.3).
func dotted(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	const hex = "0123456789ABCDEF"
	var s []byte
	for _, b := range ip.As16() {
		s = append(s, hex[b>>4], '.', hex[b&15], '.')
	}
	return string(s[:len(s)-1])
}

// expand puts the values in.
func expand(all []piece, v *values) string {
	var out strings.Builder
	for _, p := range all {
		if p.letter == 0 {
			out.WriteString(p.literal)
			continue
		}
		parts := split(v.of(p.letter), p.delims)
		if p.reverse {
			slices.Reverse(parts)
		}
		if p.keep > 0 && p.keep < len(parts) {
			parts = parts[len(parts)-p.keep:]
		}
		text := strings.Join(parts, ".")
		if p.escape {
			text = escape(text)
		}
		out.WriteString(text)
	}
	return out.String()
}

// split cuts at every delimiter; parts between two of them are empty.
func split(s, delims string) []string {
	var parts []string
	for {
		i := strings.IndexAny(s, delims)
		if i < 0 {
			return append(parts, s)
		}
		parts = append(parts, s[:i])
		s = s[i+1:]
	}
}

// escape is RFC 3986's: everything but its unreserved characters.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var out []byte
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0:
			out = append(out, c)
		default:
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out)
}

// fit makes a name of an expansion: without its last dot, and shortened from the left by whole labels to 253 bytes (section 7.3).
func fit(name string) string {
	name = strings.TrimSuffix(name, ".")
	for len(name) > 253 {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return name
		}
		name = rest
	}
	return name
}
