package bounce

import (
	"strconv"
	"strings"
)

// addressIn returns the mail address in a field like "rfc822; <a@example.jp> (alias)", "" when there is none. A local part
// in quotes loses them: that is how addresses are kept here.
func addressIn(value string) string {
	_, after, typed := strings.Cut(value, ";")
	if typed = typed && !strings.Contains(value[:len(value)-len(after)], "@"); typed {
		value = after
	}
	value = unescape(strings.TrimSpace(value))
	if whole := strings.Trim(value, "<>"); typed && isAddress(whole) {
		return tidyAddress(whole) // no text runs into it: élise@ is not lise@
	}
	if open := strings.LastIndexByte(value, '<'); open >= 0 {
		if end := strings.IndexByte(value[open:], '>'); end > 0 {
			value = value[open+1 : open+end]
		}
	}
	start, end := addressSpan(value)
	if end == 0 {
		return ""
	}
	return tidyAddress(value[start:end])
}

// isAddress reports whether a text is an address and nothing else.
func isAddress(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && localStart(s, at) == 0 && at+1 < len(s) && domainEnd(s, at) == len(s)
}

// addressSpan finds the first address in a text.
func addressSpan(s string) (start, end int) {
	for offset := 0; ; {
		at := strings.IndexByte(s[offset:], '@')
		if at < 0 {
			return 0, 0
		}
		at += offset
		start, end = localStart(s, at), domainEnd(s, at)
		if at+1 < len(s) && s[at+1] < 0x80 {
			// Japanese is written without spaces: 宛先hanako@shop.example. An address of another script has a domain of it too.
			start = asciiFrom(s, start, at)
		}
		if start < at && end > at+1 {
			return start, end
		}
		offset = at + 1
	}
}

// asciiFrom is where the ASCII before at begins, not before start; start where there is none.
func asciiFrom(s string, start, at int) int {
	i := at
	for i > start && s[i-1] < 0x80 {
		i--
	}
	if i == at {
		return start
	}
	return i
}

func localStart(s string, at int) int {
	if at > 0 && s[at-1] == '"' {
		if q := strings.LastIndexByte(s[:at-1], '"'); q >= 0 && at-q <= 66 {
			return q
		}
	}
	i := at
	for i > 0 && at-i < 254 && isLocal(s[i-1]) {
		i--
	}
	return i
}

func isLocal(c byte) bool {
	return isAlnum(c) || c >= 0x80 || strings.IndexByte(".!#$%&*+-/=?^_`{|}~", c) >= 0
}

// domainEnd returns the end of the domain after at. "#" stands in reports whose hosts were made unreadable.
func domainEnd(s string, at int) int {
	i := at + 1
	for i < len(s) && (i == at+1 || s[i] < 0x80 || s[i-1] == '.' || s[i-1] >= 0x80) && (isAlnum(s[i]) || s[i] >= 0x80 || strings.IndexByte(".-_[]:#", s[i]) >= 0) {
		i++
	}
	for i > at+1 && (strings.IndexByte(".-:", s[i-1]) >= 0 || s[at+1] != '[' && strings.IndexByte("[]", s[i-1]) >= 0) {
		i--
	}
	return i
}

func tidyAddress(a string) string {
	a = strings.TrimPrefix(strings.Trim(a, " <>'"), "--") // the list's name under its letter
	local, domain, _ := cutLast(a, '@')
	if len(local) > 2 && local[0] == '"' && local[len(local)-1] == '"' {
		local = local[1 : len(local)-1]
	}
	if local == "" || domain == "" || len(a) > 320 {
		return ""
	}
	return local + "@" + domain
}

// unescape decodes the \x{82B1} of RFC 6533 section 3, by which an address of any script stands in a report of ASCII.
func unescape(s string) string {
	if !strings.Contains(s, `\x{`) {
		return s
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, `\x{`)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		digits, after, ok := strings.Cut(rest, "}")
		n, err := strconv.ParseUint(digits, 16, 21)
		if !ok || err != nil || n < 0x20 {
			b.WriteString(`\x{`)
			s = rest
			continue
		}
		b.WriteRune(rune(n))
		s = after
	}
}

func cutLast(s string, c byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, c)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// sameAddress compares two addresses as far as a report can be trusted to keep them: without regard to case.
func sameAddress(a, b string) bool { return strings.EqualFold(a, b) }

// DomainIn is the domain of the first address in a text, "" when it holds none.
func DomainIn(text string) string {
	_, domain, _ := cutLast(addressIn(text), '@')
	return strings.ToLower(domain)
}
