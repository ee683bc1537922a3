package message

import (
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// mend puts right what a mail program needs in a tag and a page on the web does not: the language, the charset that the
// message has, and whole addresses.
func (w *inliner) mend(e *element, tag html.Token) {
	switch tag.Data {
	case "html":
		if attribute(tag, "lang") == "" && w.lang != "" && !strings.Contains(e.raw, w.tokens.prefix) {
			w.setAttribute(e, "lang", w.lang)
		}
		if rightToLeft[primary(strings.ToLower(w.lang))] && attribute(tag, "dir") == "" {
			w.setAttribute(e, "dir", "rtl")
		}
	case "meta":
		if charset := attribute(tag, "charset"); charset != "" && !strings.EqualFold(charset, "utf-8") {
			w.setAttribute(e, "charset", "utf-8")
		}
		if strings.EqualFold(attribute(tag, "http-equiv"), "content-type") {
			w.setAttribute(e, "content", "text/html; charset=utf-8")
		}
	case "a", "area":
		w.absolute(e, tag, "href")
	case "img":
		w.absolute(e, tag, "src")
	case "td", "th", "table", "body":
		w.absolute(e, tag, "background")
	}
}

// rightToLeft are the languages of Arabic and Hebrew letters.
var rightToLeft = map[string]bool{"ar": true, "he": true, "fa": true, "ur": true, "ps": true, "yi": true, "dv": true, "ug": true, "ckb": true}

func (w *inliner) absolute(e *element, tag html.Token, name string) {
	if old := attribute(tag, name); old != "" {
		if whole := absoluteURL(w.base, old, w.tokens); whole != old {
			w.setAttribute(e, name, whole)
		}
	}
}

func (w *inliner) setAttribute(e *element, name, value string) {
	_, start, end := attributeAt(e.raw, name)
	text := name + `="` + html.EscapeString(value) + `"`
	if start < 0 {
		start = len("<") + len(tagName(e.raw))
		end, text = start, " "+text
	}
	w.edits[e.src] = append(w.edits[e.src], edit{e.off + start, e.off + end, text})
}

// absoluteURL is a link as seen from base. What begins with a field may be a whole address already.
func absoluteURL(base, link string, t *tokens) string {
	trimmed := strings.TrimSpace(link)
	if base == "" || trimmed == "" || strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, t.prefix) {
		return link
	}
	b, err := url.Parse(base)
	if err != nil {
		return link
	}
	u, err := url.Parse(trimmed)
	if err != nil || u.Scheme != "" {
		return link
	}
	return b.ResolveReference(u).String()
}
