// Package address reads mail addresses as people type them and keeps one form of each: the text that is stored, the key
// that says whether two texts are one person, and the form that goes on the wire.
//
// Cells of spreadsheets hold full-width letters, names in front, mailto: links and stray punctuation; all of that is
// forgiven. What would reach a stranger or break SMTP is not. One leniency has a place of its own: Japanese carriers gave
// out local parts with dots where RFC 5321 section 4.1.2 does not allow them (see carrier.go).
package address

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Limits of RFC 5321 section 4.5.3.1: octets of the local part, the domain, and the path without its angle brackets.
const (
	maxLocal  = 64
	maxDomain = 255
	maxPath   = 254
	maxLabel  = 63 // RFC 1035 section 2.3.4
)

// Address is one mail address.
type Address struct {
	Text     string // "local@domain": the local part unquoted, the domain in lower-case A-labels
	Key      string // the same for every spelling of one person's address
	Name     string // what stood before <local@domain>, as it was written
	SMTPUTF8 bool   // the local part is not ASCII: the relay must speak SMTPUTF8 (RFC 6531)
}

// Parse reads one address. The error says what is wrong with it, in words for the person who typed it.
func Parse(s string) (Address, error) {
	if a, ok := parsePlain(s); ok {
		return a, nil
	}
	return parseAny(s)
}

// parseAny reads whatever people type.
func parseAny(s string) (Address, error) {
	if !utf8.ValidString(s) {
		return Address{}, errors.New("the address is not valid UTF-8")
	}
	name, spec := splitName(trim(s))
	spec, err := unwrap(spec)
	if err != nil {
		return Address{}, err
	}
	at := strings.LastIndexByte(spec, '@')
	switch {
	case spec == "":
		return Address{}, errors.New("the address is empty")
	case at < 0:
		return Address{}, errors.New("the address has no @")
	}
	local, err := unquote(spec[:at])
	if err != nil {
		return Address{}, err
	}
	domain, err := parseDomain(spec[at+1:])
	if err != nil {
		return Address{}, err
	}
	if err := checkLocal(local, domain); err != nil {
		return Address{}, err
	}
	text := local + "@" + domain
	if len(text) > maxPath {
		return Address{}, fmt.Errorf("the address is longer than %d bytes", maxPath)
	}
	return Address{Text: text, Key: Key(text), Name: name, SMTPUTF8: !isASCII(local)}, nil
}

// Domain is the part after the @.
func (a Address) Domain() string { return a.Text[strings.LastIndexByte(a.Text, '@')+1:] }

// Local is the part before the @.
func (a Address) Local() string { return a.Text[:max(0, strings.LastIndexByte(a.Text, '@'))] }

// Quoted reports whether the local part must be quoted on the wire: some relays refuse that.
func (a Address) Quoted() bool {
	local := a.Local() // Parse let nothing through that needs quotes but dots
	return strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..")
}

// Key is the comparison key of an address text that Parse made: Taro@EXAMPLE.jp and ｔａｒｏ＠example.jp share one.
func Key(text string) string {
	if isASCII(text) {
		return strings.ToLower(text)
	}
	// Lower-casing can undo the normal form (İ becomes i and a dot above), so it is restored at the end.
	return norm.NFKC.String(strings.ToLower(norm.NFKC.String(text)))
}

// Wire is the form for RCPT TO and for an addr-spec in a header: the local part is quoted exactly where it is not a
// Dot-string of RFC 5321 section 4.1.2.
func Wire(text string) string {
	at := strings.LastIndexByte(text, '@')
	if at < 0 || isDotString(text[:at]) {
		return text
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text[:at] {
		if r == '"' || r == '\\' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	b.WriteByte('"')
	b.WriteString(text[at:])
	return b.String()
}

// splitName takes `Name <spec>` apart; without angle brackets all of s is the spec.
func splitName(s string) (name, spec string) {
	end := strings.TrimRightFunc(s, func(r rune) bool { return isSpace(r) || strings.ContainsRune(trailing, r) })
	open := strings.LastIndexAny(end, "<＜")
	if open < 0 || !(strings.HasSuffix(end, ">") || strings.HasSuffix(end, "＞")) {
		return "", s
	}
	_, width := utf8.DecodeRuneInString(end[open:])
	_, last := utf8.DecodeLastRuneInString(end)
	name = trim(end[:open])
	if n := len(name); n >= 2 && name[0] == '"' && name[n-1] == '"' {
		name = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(name[1 : n-1])
	}
	return name, end[open+width : len(end)-last]
}

// trailing is what people leave behind an address; none of it can end one.
const trailing = "。、;,.；，．｡､:"

// unwrap takes off what stands around an address and folds full-width characters.
func unwrap(s string) (string, error) {
	if !isASCII(s) {
		s = norm.NFKC.String(s)
	}
	s = bare(trim(s))
	if len(s) > 7 && strings.EqualFold(s[:7], "mailto:") {
		s, _, _ = strings.Cut(s[7:], "?")
		plain, err := url.PathUnescape(s)
		if err != nil || !utf8.ValidString(plain) {
			return "", errors.New("the mailto: link is not well formed")
		}
		s = trim(norm.NFKC.String(plain))
	}
	return bare(s), nil
}

// around are the quotes and brackets that people put around a whole address.
var around = [][2]string{{"\"", "\""}, {"'", "'"}, {"“", "”"}, {"‘", "’"}, {"(", ")"}, {"[", "]"}, {"「", "」"}, {"『", "』"}, {"【", "】"}, {"《", "》"}, {"〈", "〉"}}

// bare takes off what people put around an address and leave behind it.
func bare(s string) string {
	for {
		rest := strings.TrimRightFunc(s, func(r rune) bool { return isSpace(r) || strings.ContainsRune(trailing, r) })
		for _, pair := range around {
			if inner, ok := strings.CutPrefix(rest, pair[0]); ok && strings.HasSuffix(inner, pair[1]) {
				rest = trim(strings.TrimSuffix(inner, pair[1]))
				break
			}
		}
		if rest == s {
			return s
		}
		s = rest
	}
}

// unquote takes the quotes off a Quoted-string (RFC 5321 section 4.1.2).
func unquote(local string) (string, error) {
	n := len(local)
	if n == 0 || local[0] != '"' {
		return local, nil
	}
	if n < 2 || local[n-1] != '"' {
		return "", errors.New("the quote before the @ is not closed")
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(local[1 : n-1]), nil
}

func checkLocal(local, domain string) error {
	switch {
	case local == "":
		return errors.New("there is nothing before the @")
	case len(local) > maxLocal:
		return fmt.Errorf("the part before the @ is longer than %d bytes", maxLocal)
	}
	for _, r := range local {
		switch {
		case r == '@':
			return errors.New("there is more than one @: one address a cell")
		case isSpace(r):
			return errors.New("there is a space inside the address")
		case !isLocalRune(r):
			return fmt.Errorf("the character %q cannot stand before the @", r)
		}
	}
	if !isDotString(local) && !isLenient(domain) {
		return errors.New("the part before the @ begins or ends with a dot, or has two in a row; only addresses of docomo and au may")
	}
	return nil
}

func parseDomain(s string) (string, error) {
	domain := strings.ToLower(s)
	if !isASCII(domain) || strings.HasPrefix(domain, "xn--") || strings.Contains(domain, ".xn--") {
		var err error
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return "", fmt.Errorf("the domain %q is not a domain name", s)
		}
		letters, _ := idna.Punycode.ToUnicode(domain) // what it does not decode stays as it is
		if strings.ContainsFunc(letters, func(r rune) bool { return !isDomainRune(r) }) {
			return "", fmt.Errorf("the domain %q is not a domain name", s)
		}
	}
	switch {
	case domain == "":
		return "", errors.New("there is nothing after the @")
	case strings.ContainsFunc(domain, isSpace):
		return "", errors.New("there is a space inside the address")
	case len(domain) > maxDomain:
		return "", fmt.Errorf("the domain is longer than %d bytes", maxDomain)
	case strings.HasPrefix(domain, "["):
		return "", errors.New("an IP address in brackets is not a domain")
	}
	if err := checkLabels(domain); err != nil {
		return "", err
	}
	if !strings.Contains(domain, ".") {
		return "", fmt.Errorf("the domain %q has no dot", s)
	}
	return domain, nil
}

// isDomainRune refuses the punctuation that package idna lets through: RFC 5892 section 2.6 allows what joins the letters of
// Catalan, Hebrew and Japanese words, and neither quotes nor brackets.
func isDomainRune(r rune) bool {
	return r < utf8.RuneSelf || !unicode.IsPunct(r) || strings.ContainsRune("·׳״・", r)
}

func checkLabels(domain string) error {
	last := ""
	for label := range strings.SplitSeq(domain, ".") {
		switch {
		case label == "":
			return fmt.Errorf("the domain %q has an empty part between its dots", domain)
		case len(label) > maxLabel:
			return fmt.Errorf("a part of the domain is longer than %d bytes", maxLabel)
		case label[0] == '-' || label[len(label)-1] == '-':
			return fmt.Errorf("a part of the domain %q begins or ends with a hyphen", domain)
		}
		if i := strings.IndexFunc(label, func(r rune) bool { return !isAlnum(r) && r != '-' }); i >= 0 {
			return fmt.Errorf("the character %q cannot stand in a domain", []rune(label[i:])[0])
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" { // RFC 3696 section 2: a top level of digits is an IP address
		return fmt.Errorf("the domain %q ends in a number", domain)
	}
	return nil
}

// isDotString tells whether local may stand unquoted: atoms with single dots between them (RFC 5321 section 4.1.2, with
// the non-ASCII of RFC 6531 section 3.3).
func isDotString(local string) bool {
	if local == "" || local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return false
	}
	return !strings.ContainsFunc(local, func(r rune) bool { return !isLocalRune(r) })
}

// isLocalRune is atext or a dot. What only a quoted local part could hold (spaces, commas, brackets) is refused on
// purpose: in a contact list it is a typo. So are the quotes, brackets and commas of other scripts.
func isLocalRune(r rune) bool {
	if r < utf8.RuneSelf {
		return isAlnum(r) || strings.ContainsRune(".!#$%&'*+-/=?^_`{|}~", r)
	}
	return r != utf8.RuneError && unicode.IsGraphic(r) && !isSpace(r) && !unicode.IsPunct(r) || unicode.In(r, unicode.Pc, unicode.Pd)
}

func isAlnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

func trim(s string) string { return strings.TrimFunc(s, isSpace) }

// isSpace counts what is invisible on the screen as a space: U+3000, NBSP, the zero-width space and the BOM among them.
func isSpace(r rune) bool {
	return unicode.IsSpace(r) || r > unicode.MaxASCII && (unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Z, r))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
