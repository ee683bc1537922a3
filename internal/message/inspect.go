package message

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// opened is one rendered message, taken apart for the rules.
type opened struct {
	marketing bool
	lang      string
	from      string // the domain of From
	sender    senderInfo
	unsub     string   // the address to unsubscribe at, "" when there is none
	embedded  []string // content ids
	subject   string
	text      string
	html      string // "" when there is no HTML part
	page      htmlPage
	values    map[string]string
	asked     []string // the fields that the message must have
}

// htmlPage is what the rules ask of an HTML part.
type htmlPage struct {
	text     string // what is read, with the alt texts of the pictures
	links    []anchor
	pictures []picture
	features []string // what mail programs leave out, each once
}

type anchor struct{ href, text string }

type picture struct {
	src string
	alt bool // there is one, if only an empty one
}

// silent elements have nothing to read.
var silent = map[string]bool{"script": true, "style": true, "title": true, "template": true}

// unsupported elements are taken out or shown as nothing by Gmail, Outlook or both.
var unsupported = map[string]bool{"script": true, "form": true, "input": true, "button": true, "select": true, "textarea": true,
	"iframe": true, "frame": true, "object": true, "embed": true, "video": true, "audio": true, "svg": true, "canvas": true, "base": true}

// unsupportedCSS is what Gmail drops or the Word engine of Outlook for Windows ignores. What is within @media is an extra
// for those who have it.
var unsupportedCSS = []struct {
	name    string
	hints   []string // in lower case; the pattern is tried where one of them is found
	pattern *regexp.Regexp
}{
	{"display: flex or grid", []string{"flex", "grid"}, regexp.MustCompile(`display\s*:\s*(inline-)?(flex|grid)\b`)},
	{"position", []string{"position"}, regexp.MustCompile(`(^|[;{\s])position\s*:\s*(absolute|fixed|sticky)`)},
	{"CSS variables", []string{"var("}, regexp.MustCompile(`\bvar\(\s*--`)},
	{"@import", []string{"@import"}, regexp.MustCompile(`@import\b`)},
}

// inspect reads an HTML part. It follows the tags and builds no tree.
func inspect(source string) htmlPage {
	var p htmlPage
	var text strings.Builder
	var link strings.Builder
	inLink, skip := false, ""
	z := html.NewTokenizer(strings.NewReader(source))
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken: // the end: a string gives no other error
			p.text = text.String()
			return p
		case html.TextToken:
			switch {
			case skip == "style":
				p.css(withoutMedia(string(z.Text())))
			case skip == "":
				t := z.Text()
				text.Write(t)
				if inLink {
					link.Write(t)
				}
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if string(name) == skip {
				skip = ""
			}
			if inLink && string(name) == "a" {
				p.links[len(p.links)-1].text = strings.TrimSpace(link.String())
				inLink = false
			}
			text.WriteByte(' ')
		case html.StartTagToken, html.SelfClosingTagToken:
			raw, more := z.TagName()
			name := string(raw)
			a := attributes(z, more)
			p.tag(name, a)
			switch {
			case name == "a" && a.has("href"):
				p.links = append(p.links, anchor{href: strings.TrimSpace(a.get("href"))})
				link.Reset()
				inLink = true
			case name == "area" && a.has("href"):
				p.links = append(p.links, anchor{href: strings.TrimSpace(a.get("href")), text: a.get("alt")})
			case name == "img":
				p.pictures = append(p.pictures, picture{strings.TrimSpace(a.get("src")), a.has("alt")})
				text.WriteString(" " + a.get("alt") + " ")
			case silent[name] && kind == html.StartTagToken:
				skip = name
			}
			if !inLink {
				text.WriteByte(' ')
			}
		}
	}
}

type attr struct{ key, value string }

type attributeList []attr

func attributes(z *html.Tokenizer, more bool) (list attributeList) {
	for more {
		var k, v []byte
		k, v, more = z.TagAttr()
		switch { // most are widths and colours that no rule asks for
		case bytes.Equal(k, []byte("href")), bytes.Equal(k, []byte("src")), bytes.Equal(k, []byte("alt")), bytes.Equal(k, []byte("style")),
			bytes.Equal(k, []byte("rel")), bytes.Equal(k, []byte("http-equiv")), bytes.HasPrefix(k, []byte("on")):
			list = append(list, attr{string(k), string(v)})
		}
	}
	return list
}

func (l attributeList) get(key string) string {
	for _, a := range l {
		if a.key == key {
			return a.value
		}
	}
	return ""
}

func (l attributeList) has(key string) bool {
	return slices.ContainsFunc(l, func(a attr) bool { return a.key == key })
}

// tag notes what mail programs do not support.
func (p *htmlPage) tag(name string, a attributeList) {
	switch {
	case unsupported[name]:
		p.feature("<" + name + ">")
	case name == "link" && strings.Contains(strings.ToLower(a.get("rel")), "stylesheet"):
		p.feature("an external style sheet (<link>)")
	case name == "meta" && strings.EqualFold(a.get("http-equiv"), "refresh"):
		p.feature("<meta http-equiv=refresh>")
	case name == "img" && strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.get("src"))), "data:"):
		p.feature("a picture in a data: address (embed: the file instead)")
	}
	for _, x := range a {
		if strings.HasPrefix(x.key, "on") {
			p.feature("the attribute " + x.key)
		}
	}
	if style := a.get("style"); style != "" {
		p.css(style)
	}
}

func (p *htmlPage) css(s string) {
	s = strings.ToLower(s)
	for _, u := range unsupportedCSS {
		if containsAny(s, u.hints...) && u.pattern.MatchString(s) {
			p.feature(u.name)
		}
	}
}

func (p *htmlPage) feature(name string) {
	if !slices.Contains(p.features, name) {
		p.features = append(p.features, name)
	}
}

// withoutMedia takes the blocks of @media and @supports out of a style sheet.
func withoutMedia(css string) string {
	var b strings.Builder
	for {
		i := strings.Index(css, "@media")
		if j := strings.Index(css, "@supports"); j >= 0 && (i < 0 || j < i) {
			i = j
		}
		if i < 0 {
			return b.String() + css
		}
		b.WriteString(css[:i])
		css = css[i:]
		depth, end := 0, len(css)
		for k := range len(css) {
			if css[k] == '{' {
				depth++
			} else if css[k] == '}' {
				if depth--; depth <= 0 {
					end = k + 1
					break
				}
			}
		}
		css = css[end:]
	}
}
