package message

import (
	"strings"
)

// escapers are html/template's, for plain texts. It decides which of them a place needs; these are the ones that letters
// need, and a template with any other runs there whole. They differ from nothing it does: TestEscapers compares.
var escapers = map[string]func(string) string{
	"_html_template_htmlescaper":   escapeMarkup,
	"_html_template_attrescaper":   escapeMarkup,
	"_html_template_rcdataescaper": escapeMarkup,
	"_html_template_urlescaper":    func(s string) string { return escapeInURL(s, false) },
	"_html_template_urlnormalizer": func(s string) string { return escapeInURL(s, true) },
	"_html_template_urlfilter":     filterURL,
}

// inMarkup are the characters that escapeMarkup writes as entities, asIsInURL those that escapeInURL leaves.
var inMarkup, asIsInURL = byteSet("\x00\"&'+<>"), byteSet("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~")

func byteSet(list string) *[256]bool {
	var set [256]bool
	for _, c := range []byte(list) {
		set[c] = true
	}
	return &set
}

// escapeMarkup is for text and for attributes in quotes.
func escapeMarkup(s string) string {
	i := 0
	for i < len(s) && !inMarkup[s[i]] {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	written := 0
	for ; i < len(s); i++ {
		entity := ""
		switch s[i] {
		case 0:
			entity = "\ufffd"
		case '"':
			entity = "&#34;"
		case '&':
			entity = "&amp;"
		case '\'':
			entity = "&#39;"
		case '+':
			entity = "&#43;"
		case '<':
			entity = "&lt;"
		case '>':
			entity = "&gt;"
		default:
			continue
		}
		b.WriteString(s[written:i])
		b.WriteString(entity)
		written = i + 1
	}
	b.WriteString(s[written:])
	return b.String()
}

// escapeInURL percent-encodes; whole: s may be more than one part of a URL, and what has a meaning there stays.
func escapeInURL(s string, whole bool) string {
	var b strings.Builder
	written := 0
	for i := range len(s) {
		c := s[i]
		switch {
		case asIsInURL[c]:
			continue
		case whole && strings.IndexByte("!#$&*+,/:;=?@[]", c) >= 0:
			continue
		case whole && c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			continue
		}
		if written == 0 && b.Len() == 0 {
			b.Grow(len(s) + 16)
		}
		b.WriteString(s[written:i])
		b.Write([]byte{'%', lowerHex[c>>4], lowerHex[c&15]})
		written = i + 1
	}
	if b.Len() == 0 {
		return s
	}
	b.WriteString(s[written:])
	return b.String()
}

const lowerHex = "0123456789abcdef"

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// filterURL takes the place of URLs that could run something.
func filterURL(s string) string {
	scheme, _, ok := strings.Cut(s, ":")
	if ok && !strings.Contains(scheme, "/") && !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") && !strings.EqualFold(scheme, "mailto") {
		return "#ZgotmplZ"
	}
	return s
}
