package message

import (
	"fmt"
	"strings"
	"testing"
)

// good is an opened message that no rule finds fault with.
func good() *opened {
	return &opened{marketing: true, lang: "en", from: "example.com", subject: "News",
		sender: senderInfo{"organization": "Example Inc.", "postal_address": "1-1 Chiyoda, Tokyo", "address": "news@example.com", "reply_to": "info@example.com"},
		unsub:  "mailto:bounce+u1@example.com?subject=unsubscribe",
		text:   "Good news for A.\nExample Inc.\n1-1 Chiyoda,\nTokyo\ninfo@example.com\nbounce+u1@example.com\n",
		html:   `<p>Good news for A. <a href="https://example.com/a">Read</a> <img src="https://example.com/a.png" alt="">` + footer(),
		values: map[string]string{"name": "A"}, asked: []string{"name"}}
}

func footer() string {
	return `<p>Example&nbsp;Inc. 1-1 Chiyoda, Tokyo info@example.com <a href="mailto:bounce&#43;u1@example.com?subject=unsubscribe">unsubscribe</a>`
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*opened)
		want  string // "rule: part of the text" each, joined
	}{
		{"nothing", func(*opened) {}, ""},
		{"empty subject", func(l *opened) { l.subject = " 　" }, "empty_subject: empty"},
		{"latin subject", func(l *opened) { l.subject = strings.Repeat("x", 50) }, ""},
		{"long latin subject", func(l *opened) { l.subject = strings.Repeat("x", 51) }, "subject: 50 characters"},
		{"wide subject", func(l *opened) { l.subject = strings.Repeat("あ", 30) }, ""},
		{"long wide subject", func(l *opened) { l.subject = strings.Repeat("あ", 31) }, "subject: 60 columns"},
		{"reply", func(l *opened) { l.subject = "RE[2]: x" }, "reply: reply"},
		{"forward", func(l *opened) { l.subject = "Fwd: x" }, "reply: reply"},
		{"a word that begins like one", func(l *opened) { l.subject = "Review: x" }, ""},
		{"mark", func(l *opened) { l.subject = "未承諾広告※ x" }, "obsolete_mark: 2008"},

		{"unsubscribe gone", func(l *opened) { l.unsub = "" }, "unsubscribe: marketing mail must have a way"},
		{"unsubscribe not in text", func(l *opened) { l.text = strings.ReplaceAll(l.text, "bounce", "b") }, "unsubscribe: the text part"},
		{"unsubscribe not in html", func(l *opened) { l.html = strings.ReplaceAll(l.html, "bounce", "b") }, "unsubscribe: the HTML part"},
		{"unsubscribe in a comment", func(l *opened) {
			l.html = strings.ReplaceAll(l.html, `<a href="mailto`, `<!-- <a href="mailto`) + "-->"
		}, "unsubscribe: the HTML part"},
		{"unsubscribe in Japanese", func(l *opened) { l.lang = "ja"; l.text += "配信停止はこちら" }, ""},
		{"unsubscribe without words", func(l *opened) { l.lang = "ja" }, "unsubscribe_text: 配信停止"},
		{"no organization", func(l *opened) { l.html = strings.ReplaceAll(l.html, "Inc", "Ltd") }, "sender: the HTML part"},
		{"no postal address", func(l *opened) { l.text = strings.ReplaceAll(l.text, "Chiyoda", "Minato") }, "postal_address: the text part"},
		{"no contact", func(l *opened) {
			l.text = strings.ReplaceAll(l.text, "info@example.com", "")
			l.html = strings.ReplaceAll(l.html, "info@example.com", "")
		}, "contact: the text part; contact: the HTML part"},
		{"telephone", func(l *opened) {
			l.text = strings.ReplaceAll(l.text, "info@example.com", "03-1234-5678")
			l.html = strings.ReplaceAll(l.html, "info@example.com", `<a href="tel:+81312345678">call</a>`)
		}, ""},
		{"operational", func(l *opened) { l.marketing, l.text, l.html, l.unsub = false, "Your order", "<p>Your order", "" }, ""},

		{"empty text", func(l *opened) { l.marketing, l.text = false, "\n" }, "text_part: empty"},
		{"short text", func(l *opened) { l.html = "<p>" + strings.Repeat("word ", 200) + l.html }, "text_part: a fifth"},
		{"near the limit", func(l *opened) { l.html += "<!--" + strings.Repeat("x", 80<<10) + "-->" }, "size: larger than 80 KB"},
		{"over the limit", func(l *opened) { l.html += "<!--" + strings.Repeat("x", 102<<10) + "-->" }, "size: larger than 102 KB"},
		{"no alt", func(l *opened) { l.html += `<img src="https://example.com/b.png">` }, "alt: the picture b.png"},
		{"pictures only", func(l *opened) { l.marketing = false; l.html = `<img src="https://example.com/b.png" alt="">` }, "image_only: hardly a word"},

		{"relative link", func(l *opened) { l.html += `<a href="/a">x</a>` }, `link: "/a" leads nowhere`},
		{"empty link", func(l *opened) { l.html += `<a href="#">more</a>` }, `link: "more" has no address`},
		{"within the page", func(l *opened) { l.html += `<a href="#top">up</a> <a href="tel:+813">x</a>` }, ""},
		{"script link", func(l *opened) { l.html += `<a href="javascript:x()">x</a>` }, "link: of a kind"},
		{"no host", func(l *opened) { l.html += `<a href="https:///a">x</a>` }, "link: names no host"},
		{"bare host", func(l *opened) { l.html += `<a href="https://intranet/a">x</a>` }, "link: names no host"},
		{"broken escape", func(l *opened) { l.html += `<a href="https://example.com/%zz">x</a>` }, "link: is no address"},
		{"unsafe value", func(l *opened) { l.html += `<a href="#ZgotmplZ">x</a>` }, "link: a field's value"},
		{"http", func(l *opened) { l.html += `<a href="http://example.com/b">x</a>` }, "link_http: http://example.com/b"},
		{"http at home", func(l *opened) { l.html += `<a href="http://127.0.0.1:8080/b">x</a>` }, ""},
		{"shortened", func(l *opened) { l.html += `<a href="https://bit.ly/x">x</a>` }, "link_short: hides"},
		{"text of another host", func(l *opened) { l.html += `<a href="https://evil.example.net/x">www.example.com</a>` }, "link_text: says www.example.com and goes to evil.example.net"},
		{"text that only looks like one", func(l *opened) { l.html += `<a href="https://nodejs.org/">Node.js</a>` }, ""},
		{"text of the same host", func(l *opened) { l.html += `<a href="https://www.example.com/x">https://example.com/</a>` }, ""},
		{"relative picture", func(l *opened) { l.html += `<img alt="" src="a.png">` }, `link: the picture "a.png"`},
		{"http picture", func(l *opened) { l.html += `<img alt="" src="http://example.com/a.png">` }, "link_http: the picture"},
		{"embedded picture", func(l *opened) { l.embedded = []string{"a@x"}; l.html += `<img alt="" src="cid:a@x">` }, ""},
		{"picture that is not embedded", func(l *opened) { l.html += `<img alt="" src="cid:b">` }, "link: the picture cid:b"},
		{"link in text only", func(l *opened) { l.html = ""; l.text += "see http://example.com/c." }, "link_http: http://example.com/c is"},

		{"action", func(l *opened) { l.subject = "{{.name}}" }, "leftover: ({{)"},
		{"latin", func(l *opened) { l.text += "Lorem ipsum dolor" }, "leftover: Lorem ipsum"},
		{"todo", func(l *opened) { l.html += "TODO" }, "leftover: TODO"},
		{"todo in a link", func(l *opened) { l.text += "https://example.com/TODO" }, ""},
		{"xxx", func(l *opened) { l.text += "call XXX" }, "leftover: XXX"},
		{"merge field", func(l *opened) { l.text += "*|FNAME|*" }, "leftover: *|FNAME|*"},
		{"circles", func(l *opened) { l.text += "〇〇様" }, "leftover: 〇〇様"},

		{"script", func(l *opened) { l.html += "<script>TODO</script>" }, "html_feature: <script>"},
		{"form", func(l *opened) { l.html += "<form action=x><input></form>" }, "html_feature: <form>; html_feature: <input>"},
		{"iframe", func(l *opened) { l.html += "<iframe src=x></iframe>" }, "html_feature: <iframe>"},
		{"external css", func(l *opened) { l.html += `<link rel="stylesheet" href=x>` }, "html_feature: style sheet"},
		{"icon", func(l *opened) { l.html += `<link rel="icon" href=x>` }, ""},
		{"data", func(l *opened) { l.html += `<img alt="" src="data:image/png;base64,AA==">` }, "html_feature: data:"},
		{"flex", func(l *opened) { l.html += `<p style="display:flex">x` }, "html_feature: flex"},
		{"grid in a sheet", func(l *opened) { l.html = "<style>p { display : grid }</style>" + l.html }, "html_feature: grid"},
		{"grid for those who have it", func(l *opened) {
			l.html = "<style>@media (min-width:1px) { p { display: grid } } h1 { margin: 0 }</style>" + l.html
		}, ""},
		{"position", func(l *opened) { l.html += `<p style="margin:0;position:absolute">x` }, "html_feature: position"},
		{"background-position", func(l *opened) { l.html += `<p style="background-position:fixed">x` }, ""},
		{"handler", func(l *opened) { l.html += `<p onclick="x()">x` }, "html_feature: onclick"},

		{"blank value", func(l *opened) { l.values["name"] = "　" }, `empty_field: "name" is blank`},
		{"placeholder", func(l *opened) { l.values["name"] = "NULL" }, `empty_field: "NULL"`},
		{"placeholder elsewhere", func(l *opened) { l.values["other"] = "NULL" }, ""},
	} {
		l := good()
		c.spoil(l)
		got := ""
		faults := inspectOpened(l)
		wants := strings.Split(c.want, "; ")
		for i, f := range faults {
			rule, part := "", ""
			if i < len(wants) {
				rule, part, _ = strings.Cut(wants[i], ": ")
			}
			if f.rule != rule || !strings.Contains(f.text, part) {
				got += fmt.Sprintf("%s: %s\n", f.rule, f.text)
			}
		}
		if got != "" || c.want != "" && len(faults) != len(wants) {
			t.Errorf("%s: want %q, got %d:\n%s", c.name, c.want, len(faults), got)
		}
	}
}

func TestFreemail(t *testing.T) {
	for domain, want := range map[string]bool{"gmail.com": true, "yahoo.co.jp": true, "hotmail.fr": true, "docomo.ne.jp": true, "outlook.com": true,
		"example.com": false, "news.gmail.example": false, "yahoo-inc.com": false, "live.example.com": false} {
		if IsFreemail(domain) != want {
			t.Errorf("%s: %v", domain, !want)
		}
	}
}

// A link or value that differs from one to the next must not make a finding for everybody.
func TestFindingsOfARuleAreBounded(t *testing.T) {
	var all []Recipient
	for i := range 100 {
		all = append(all, Recipient{fmt.Sprintf("r%d@example.jp", i), map[string]string{"n": fmt.Sprint(i)}})
	}
	found := preflight(t, "a.md", "subject: x", "[x](http://example.com/{{.n}})", Facts{}, all...)
	n, last := 0, Finding{}
	for _, f := range found {
		if f.Rule == RuleLinkHTTP {
			n++
			last = f
		}
	}
	if n != maxTold+1 || last.Count != 100-maxTold || !strings.Contains(last.Message, "more findings of the rule link_http") {
		t.Errorf("%d findings, the last %+v", n, last)
	}
}

func TestAddressesToFetch(t *testing.T) {
	p := NewPreflight(compileFile(t, "a.md", "subject: x", "[a](https://example.com/a) [p](https://example.com/p/{{.n}}) ![](https://example.com/i.png) [m](mailto:a@example.com)"), Facts{Links: true})
	for i := range 50 {
		p.Enter(p.Look(Recipient{fmt.Sprintf("r%d@example.jp", i), map[string]string{"n": fmt.Sprint(i)}}, mark))
	}
	var got []string
	list, more := p.Addresses()
	for _, a := range list {
		got = append(got, strings.TrimPrefix(a.URL, "https://example.com")+" "+a.Contact)
	}
	want := "/a r0@example.jp,/p/0 r0@example.jp,/i.png r0@example.jp,/p/1 r1@example.jp,/p/2 r2@example.jp"
	if strings.Join(got, ",") != want || more != 47 {
		t.Errorf("%v and %d more", got, more)
	}
	p.Fetched(list[0], true, "404")
	p.Fetched(list[1], false, "timeout")
	p.Skipped(more)
	text := ""
	for _, f := range p.Findings() {
		if strings.HasPrefix(f.Rule, "link_") {
			text += f.Rule + " " + f.Text() + "\n"
		}
	}
	if text != "link_broken the link https://example.com/a is broken: 404 (r0@example.jp)\n"+
		"link_unchecked the link https://example.com/p/0 could not be checked: timeout (r0@example.jp)\n"+
		"link_unchecked 47 more links, most of them personal, were not fetched\n" {
		t.Error(text)
	}
}

// Whatever a page holds, it is read to its end, and a rule says something about it or nothing.
func FuzzInspect(f *testing.F) {
	for _, seed := range []string{good().html, "<a href=x><a href=y>z", "<style>@media {", "<style>@media } p{display:flex}", "</a><img", "<script><a href='#'>", "<a href=\"http://%zz\">\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		l := good()
		l.html = source
		for _, fault := range inspectOpened(l) {
			if fault.rule == "" || fault.text == "" {
				t.Errorf("%q: %+v", source, fault)
			}
		}
	})
}
