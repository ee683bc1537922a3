package message

import (
	"bytes"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// nasty are values that would be something if they were not kept from it.
var nasty = []string{
	"**x**", "*x*", "_x_", "# x", "- x", "1. x", "> x", "`x`", "    x", "| a | b |", "---", "~~x~~",
	"[a](http://evil.example)", "![a](http://evil.example/p.png)", "<http://evil.example>", "http://evil.example", "www.evil.example",
	"me@evil.example", "[a]: http://evil.example", "<script>alert(1)</script>", "<b>x</b>", "<!-- x", "</td></table>", "&lt;b&gt;", "&amp;",
	`"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,<script>", "vbscript:x",
	"{{.email}}", "{{", "}}", "{{/*", `{{"`, "\\", "\\*x\\*", "\x0e\x1f\x1fx\x0f", "\x0fx", "a\u2028b", "=?utf-8?B?QQ==?=", ".", "..\n.", "From x", "=3D", "\u202ex",
}

// elements lists the tags of a page with the names of their attributes, and its text.
func elements(page string) (tags []string, text string) {
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return tags, text
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken, html.CommentToken:
			tok := z.Token()
			tag := tok.Type.String() + " " + tok.Data
			for _, a := range tok.Attr {
				tag += " " + a.Key
			}
			tags = append(tags, tag)
		case html.TextToken:
			text += string(z.Text())
		}
	}
}

// A value changes the text of a page and never its structure, wherever it stands in the Markdown or the HTML. What every
// page has is what the harmless value "x" has.
func TestValuesNeverBecomeMarkup(t *testing.T) {
	const markdown = `# {{.v}}

{{.v}} in a line, **{{.v}}** and *{{.v}}*, ` + "`{{.v}}`" + `

{{.v}}

- {{.v}}
- a

> {{.v}}

[{{.v}}](https://example.com/{{.v}}?q={{.v}}#{{.v}} "{{.v}}") ![{{.v}}](https://example.com/x.png)

[whole]({{.v}})

<{{.v}}>

<https://example.com/?a={{.v}}>

| {{.v}} | b |
|---|---|
| {{.v}} | {{.v}} |

<p title="{{.v}}" class='{{.v}}'>{{.v}}</p>

    {{.v}}

` + "```\n{{.v}}\n```\n" + `

{{if .v}}
{{.v}}
{{end}}

{{.v}}{{.v}} a{{.v}}b *a{{.v}}*

{{.v}}.example.com {{.v}}@example.com https://{{.v}}/
`
	for _, format := range []string{"md", "html"} {
		body := markdown
		if format == "html" {
			held, text := hold(markdown)
			page, err := markdownToHTML(text, held)
			if err != nil {
				t.Fatal(err)
			}
			body = held.restore(page, "x", 1).text
		}
		tmpl := compileFile(t, "a."+format, "subject: s\nlayout: none", body)
		want, _ := elements(render(t, tmpl, map[string]string{"v": "x"}).HTML)
		for _, v := range append(slices.Clone(nasty), bareTokens(body)...) {
			page := render(t, tmpl, map[string]string{"v": v}).HTML
			got, _ := elements(page)
			if len(got) != len(want) {
				t.Errorf("%s %q: %d tags, want %d\n%s", format, v, len(got), len(want), page)
				continue
			}
			for i := range got {
				if got[i] != want[i] {
					t.Errorf("%s %q: tag %d is %s, want %s", format, v, i, got[i], want[i])
				}
			}
			if strings.Contains(strings.ToLower(page), `href="javascript:`) || strings.Contains(page, `href="data:`) || strings.Contains(strings.ToLower(page), `href="vbscript:`) {
				t.Errorf("%s %q became a link that runs:\n%s", format, v, page)
			}
		}
	}
}

// bareTokens are the tokens that a body is given, which a value may pretend to be.
func bareTokens(body string) []string {
	held, _ := hold(body)
	return []string{held.token(0, asIs), held.token(len(held.actions)-1, hrefHead), held.prefix, held.token(3, asIs) + held.token(99, asIs)}
}

// The page shows the value itself.
func TestValuesAreShownAsTheyAre(t *testing.T) {
	tmpl := bare(t, "a {{.v}} b\n")
	for _, v := range append(slices.Clone(nasty), bareTokens("a {{.v}} b\n")...) {
		m := render(t, tmpl, map[string]string{"v": v})
		v = strings.Map(func(r rune) rune {
			if strings.ContainsRune(marks, r) {
				return -1
			}
			return r
		}, v)
		if v == "" {
			continue
		}
		if _, text := elements(m.HTML); !strings.Contains(text, v) {
			t.Errorf("%q is not in the HTML part: %q", v, text)
		}
		if !strings.Contains(m.Text, v) {
			t.Errorf("%q is not in the text part: %q", v, m.Text)
		}
		if strings.ContainsAny(m.Text, marks) {
			t.Errorf("%q: marks are left in the text part: %q", v, m.Text)
		}
	}
}

func TestValuesInURLsAreEscaped(t *testing.T) {
	tmpl := bare(t, "[x](https://example.com/{{.v}}/?u={{.v}}&w=1) [y]({{.link}})")
	m := render(t, tmpl, map[string]string{"v": "a b&c=日/?", "link": "https://例え.jp/パス?q=1&r=2"})
	for part, text := range map[string]string{"html": strings.ReplaceAll(m.HTML, "&amp;", "&"), "text": m.Text} {
		for _, want := range []string{"?u=a%20b%26c%3d%e6%97%a5%2f%3f&w=1", "https://%e4%be%8b%e3%81%88.jp/%e3%83%91%e3%82%b9?q=1&r=2"} {
			if !strings.Contains(text, want) {
				t.Errorf("the %s part lacks %s:\n%s", part, want, text)
			}
		}
	}
	m = render(t, tmpl, map[string]string{"v": "x", "link": "javascript:alert(1)"})
	if strings.Contains(m.HTML+m.Text, "javascript") {
		t.Errorf("a script as a link:\n%s\n%s", m.HTML, m.Text)
	}
}

// A value cannot add a header field, wherever templates are allowed in the header. It is refused, or encoded.
func TestValuesNeverAddHeaders(t *testing.T) {
	tmpl := compileFile(t, "a.md", "subject: 's {{.v}}'\nto_name: 'n {{.v}}'\nheaders:\n  X-A: 'h {{.v}}'\n  X-B: '{{.v}}'", "x")
	values := append(slices.Clone(nasty), "a\r\nBcc: x@evil.example", "a\nBcc: x", "a\rBcc: x", "a\r\n\r\nbody", "a\x00b", "a\u0085b", "\r\n", "a\x0bb",
		strings.Repeat("x", 3000), strings.Repeat("長い", 500), "a\tb", `a"b\c`, "a <x@evil.example>, b", "a  b", "(comment", "é", "\xff")
	want := []string{"Date", "From", "Reply-To", "To", "Subject", "Message-Id", "List-Id", "Feedback-Id", "X-Auto-Response-Suppress", "Precedence", "List-Unsubscribe",
		"X-A", "X-B", "Mime-Version", "Content-Type"}
	for _, v := range values {
		m, err := tmpl.Render(Recipient{"taro@example.jp", map[string]string{"v": v}}, mark)
		if err != nil {
			if !strings.Contains(err.Error(), "a header field cannot hold") && !strings.Contains(err.Error(), "has no") {
				t.Errorf("%q: %v", v, err)
			}
			continue
		}
		checkBytes(t, m.Raw)
		parsed, err := mail.ReadMessage(bytes.NewReader(m.Raw))
		if err != nil {
			t.Errorf("%q: %v", v, err)
			continue
		}
		if len(parsed.Header) > len(want) {
			t.Errorf("%q: %d fields: %v", v, len(parsed.Header), parsed.Header)
		}
		for name, all := range parsed.Header {
			if len(all) != 1 || !slices.Contains(want, name) {
				t.Errorf("%q: %s: %q", v, name, all)
			}
		}
		to, err := parsed.Header.AddressList("To")
		if err != nil || len(to) != 1 || to[0].Address != "taro@example.jp" {
			t.Errorf("%q: To %v %v", v, to, err)
		}
	}
}

// checkBytes holds a message to RFC 5322 section 2.1 and 2.3: CRLF only, lines of at most 998 octets, no NUL, and a
// header in ASCII whose lines have 78 characters unless one word is longer.
func checkBytes(t testing.TB, raw []byte) {
	t.Helper()
	for i, c := range raw {
		if c == 0 || c == '\n' && (i == 0 || raw[i-1] != '\r') || c == '\r' && (i+1 == len(raw) || raw[i+1] != '\n') {
			t.Fatalf("octet %d is a bare %q: %q", i, c, raw[max(0, i-30):min(len(raw), i+30)])
		}
	}
	head, _, found := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !found {
		t.Fatal("no header")
	}
	for _, line := range strings.Split(string(head), "\r\n") {
		if len(line) > 78 && strings.Count(strings.TrimSpace(line), " ") > 1 && !strings.HasPrefix(line, "DKIM-Signature") {
			t.Errorf("a header line of %d characters: %q", len(line), line)
		}
		if strings.TrimSpace(line) == "" {
			t.Errorf("a header line of white space only: %q", line)
		}
	}
	for _, line := range strings.Split(string(raw), "\r\n") {
		if len(line) > 998 {
			t.Fatalf("a line of %d octets: %.80q", len(line), line)
		}
	}
}

func TestMessageIDsAndURIsAreChecked(t *testing.T) {
	tmpl := bare(t, "x")
	for _, m := range []Mark{
		{MessageID: "a@b.example>\r\nBcc: x"}, {MessageID: ""}, {MessageID: "a b@c.example"},
		{MessageID: "a@b.example", UnsubscribeMailto: "mailto:a@b.example>\r\nBcc: x"},
		{MessageID: "a@b.example", UnsubscribeURL: "https://a.example/>, <https://evil.example"},
		{MessageID: "a@b.example", UnsubscribeURL: "https://a.example/" + strings.Repeat("x", 1000)},
	} {
		_, err := tmpl.Render(Recipient{"a@b.jp", nil}, m)
		if _, checked := tmpl.check(Recipient{"a@b.jp", nil}, m); err == nil || checked == nil {
			t.Errorf("%+v was taken: %v, checked: %v", m, err, checked)
		}
	}
}

func FuzzValue(f *testing.F) {
	for _, v := range nasty {
		f.Add(v)
	}
	tmpl := compileFile(f, "a.md", "subject: 's {{.v}}'\nto_name: '{{.v}}'", "a {{.v}} [x](https://example.com/?q={{.v}}) [y]({{.v}})\n\n- {{.v}}\n\n{{.v}}")
	plain, err := tmpl.Render(Recipient{"taro@example.jp", map[string]string{"v": "x"}}, mark)
	if err != nil {
		f.Fatal(err)
	}
	tags, _ := elements(plain.HTML)
	f.Fuzz(func(t *testing.T, v string) {
		m, err := tmpl.Render(Recipient{"taro@example.jp", map[string]string{"v": v}}, mark)
		if err != nil {
			return
		}
		checkBytes(t, m.Raw)
		if got, _ := elements(m.HTML); !slices.Equal(got, tags) {
			t.Errorf("%q changed the page: %v", v, got)
		}
		parsed, err := mail.ReadMessage(bytes.NewReader(m.Raw))
		if err != nil || len(parsed.Header["To"]) != 1 || len(parsed.Header["Bcc"]) != 0 {
			t.Errorf("%q: %v %v", v, err, parsed)
		}
	})
}

// Whatever is in the file, compiling it ends in a template or in an error with the file's name.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{"subject: x\n---\n{{.a}}", "subject: '{{.x}}'\n---\n- {{range split \",\" .a}}\n- {{.}}\n{{end}}", "subject: x\n---\n<a href=\"{{.x}}\">{{if .y}}</a>{{end}}",
		"subject: x\n---\n&#123;&#123; {{`}}`}} {{/* }} */}}", "subject: x\n---\n{{define \"a\"}}x{{end}}{{template \"a\" .}}", "subject: x\n---\n{{with $x := .a}}{{$x}}{{end}}",
		"subject: x\n---\n<style>{{.x}}</style><script>{{.y}}</script>", "subject: x\n---\n{{.a.b.c}}{{(index .a 1).b}}{{$.a}}", "subject: x\n---\n{{break}}{{else}}",
		"subject: x\n---\n<style>p, .a > b:hover { color: {{.x}}; margin: 0 !important } @media x { p { top: 1px } }</style><p {{if .a}}class=a{{end}} style='x:y'><b>{{.y}}",
		"subject: x\nbase_url: https://a.example/\ntext_links: footnotes\n---\n[x](/y){.button} {{include \"footer\"}} {{wareki .a}} {{relative .now}} {{number .a}}"} {
		f.Add(s)
	}
	values := map[string]string{"a": "1", "x": "<b>", "y": "日本"}
	f.Fuzz(func(t *testing.T, s string) {
		for _, ext := range []string{"md", "html", "txt"} {
			tmpl, err := compileFS(workspace("a."+ext, "---\n"+s), "a")
			if err != nil {
				if !strings.Contains(err.Error(), "a."+ext) && !strings.Contains(err.Error(), "templates/layouts") {
					t.Errorf("the error does not name the file: %v", err)
				}
				continue
			}
			r := Recipient{"taro@example.jp", values}
			m, err := tmpl.Render(r, mark)
			plain, errPlain := tmpl.plain(tmpl.documents[0], r, mark)
			if fmt.Sprint(err) != fmt.Sprint(errPlain) || !bytes.Equal(m.Raw, plain.Raw) {
				t.Errorf("%v, plain: %v\n%s\n--- plain\n%s", err, errPlain, m.Raw, plain.Raw)
			}
			if err == nil {
				checkBytes(t, m.Raw)
			}
		}
	})
}
