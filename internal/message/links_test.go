package message

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"mailer/internal/campaign"
)

func compileLinks(t *testing.T, name, source string, links ...LinkRewriter) *Template {
	t.Helper()
	ws := workspace(name, source)
	c, err := campaign.Load(ws, strings.Split(name, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	content, err := campaign.Freeze(ws, c, sender, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := Compile(content, nil, links...)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func TestLinks(t *testing.T) {
	tmpl := compileLinks(t, "a.md", "---\nsubject: x\nlayout: none\n---\n"+
		"[One *two*](https://example.com/?p={{.pref}}&q=1) ![](https://example.com/i.png) [![Logo](https://example.com/l.png)](https://example.com/)\n\n"+
		"[One *two*](https://example.com/?p={{.pref}}&q=1) [bye]({{.unsubscribe_url}}) [write](mailto:a@example.com)\n\n"+
		"<!-- <a href=\"https://example.com/comment\">x</a> -->\n\n{{if .pref}}<https://example.com/end>{{end}}\n")
	got := ""
	for _, l := range tmpl.Links() {
		got += fmt.Sprintf("%s %d %s [%s]\n", l.Part, l.Count, l.URL, l.Text)
	}
	want := "html 2 https://example.com/?p={{.pref}}&q=1 [One two]\n" +
		"html 1 https://example.com/ [Logo]\n" +
		"html 1 {{.unsubscribe_url}} [bye]\n" +
		"html 1 mailto:a@example.com [write]\n" +
		"html 1 https://example.com/end [https://example.com/end]\n" +
		"text 2 https://example.com/?p={{.pref}}&q=1 []\n" +
		"text 1 https://example.com/ []\n" +
		"text 1 https://example.com/end []\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestUTM(t *testing.T) {
	from := utmRewriter(campaign.UTM{Source: "news letter"}, "2026-12", "mail.example.co.jp")
	named := utmRewriter(campaign.UTM{Source: "n", Medium: "m", Campaign: "c", Content: "x&y", Hosts: []string{"shop.example.net"}}, "id", "example.com")
	const added = "utm_source=news+letter&utm_medium=email&utm_campaign=2026-12"
	for _, c := range []struct {
		rewrite   LinkRewriter
		url, want string
	}{
		{from, "https://example.co.jp", "https://example.co.jp?" + added},
		{from, "https://www.example.co.jp/a?b=1#c", "https://www.example.co.jp/a?b=1&" + added + "#c"},
		{from, "https://EXAMPLE.co.jp/?", "https://EXAMPLE.co.jp/?" + added},
		{from, "https://example.co.jp/a?utm_source=mine&b=", "https://example.co.jp/a?utm_source=mine&b=&utm_medium=email&utm_campaign=2026-12"},
		{from, `https://example.co.jp/{{default "a?b#c" .x}}#{{.y}}`, `https://example.co.jp/{{default "a?b#c" .x}}?` + added + "#{{.y}}"},
		{from, "https://example.co.jp/?p={{.x}}", "https://example.co.jp/?p={{.x}}&" + added},
		{from, "https://other.co.jp/", "https://other.co.jp/"},
		{from, "https://example.co.jp.evil.example/", "https://example.co.jp.evil.example/"},
		{from, "https://example.co.jp@evil.example/", "https://example.co.jp@evil.example/"},
		{from, "https://{{.host}}/", "https://{{.host}}/"},
		{from, "https://example.co.jp{{.rest}}", "https://example.co.jp{{.rest}}"},
		{from, "{{.url}}", "{{.url}}"},
		{named, "https://a.shop.example.net/", "https://a.shop.example.net/?utm_source=n&utm_medium=m&utm_campaign=c&utm_content=x%26y"},
		{named, "https://example.net/", "https://example.net/"},
		{utmRewriter(campaign.UTM{Source: "n", Hosts: []string{"all"}}, "i", "example.com"), "http://example.org/", "http://example.org/?utm_source=n&utm_medium=email&utm_campaign=i"},
	} {
		if got := c.rewrite(Link{URL: c.url}); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.url, got, c.want)
		}
	}
}

func TestUTMInBothParts(t *testing.T) {
	tmpl := compileLinks(t, "a.md", "---\nsubject: x\nutm: {source: news}\n---\n[a](https://www.example.com/?p={{.pref}}#top) [b](https://other.example/) [w](mailto:a@example.com)\n\n"+
		"{{if .pref}}https://example.com/{{.pref}}{{else}}https://example.com/none{{end}} [u]({{.unsubscribe_url}})\n")
	m := render(t, tmpl, map[string]string{"pref": "A&B"})
	for _, want := range []string{
		`href="https://www.example.com/?p=A%26B&amp;utm_source=news&amp;utm_medium=email&amp;utm_campaign=a#top"`,
		`href="https://other.example/"`, `href="mailto:a@example.com"`,
		`href="mailto:bounce&#43;u11-abc@example.com?subject=unsubscribe"`,
	} {
		if !strings.Contains(m.HTML, want) {
			t.Errorf("no %s in\n%s", want, m.HTML)
		}
	}
	for _, want := range []string{"<https://www.example.com/?p=A%26B&utm_source=news&utm_medium=email&utm_campaign=a#top>", "<https://other.example/>"} {
		if !strings.Contains(m.Text, want) {
			t.Errorf("no %s in\n%s", want, m.Text)
		}
	}
}

// A hook may put anything in a link's place: the old address with its actions, and actions of its own.
func TestRewritingHook(t *testing.T) {
	var asked []string
	hook := func(l Link) string {
		asked = append(asked, l.URL)
		return `https://t.example/c/{{urlquery $.email}}?to=` + l.URL + `&"q"`
	}
	tmpl := compileLinks(t, "a.html", "---\nsubject: x\nlayout: none\ntext: 'see https://example.com/{{.p}}'\n---\n"+
		`{{range split "," .list}}<a href='https://example.com/{{.}}'>x</a>{{end}}<a href="{{if .p}}https://a.example/{{end}}">y</a><a href={{.p}}>z</a>`, hook)
	m := render(t, tmpl, map[string]string{"p": "https://p.example/", "list": "1,2"})
	if m.Text != "see https://t.example/c/taro%40example.jp?to=https://example.com/https://p.example/&\"q\"\n" {
		t.Error(m.Text)
	}
	if want := `<a href='https://t.example/c/`; strings.Count(m.HTML, want) != 2 || !strings.Contains(m.HTML, "?to=https://example.com/2&amp;&#34;q&#34;'>x</a>") {
		t.Error(m.HTML)
	}
	if !strings.Contains(m.HTML, `<a href="https://a.example/">y</a>`) { // an address that a condition is part of stays
		t.Error(m.HTML)
	}
	if got := strings.Join(asked, " "); got != "{{.p}} https://example.com/{{.}} https://example.com/{{.p}}" {
		t.Error(got)
	}
}

// A rewriting that changes an address into itself in other nodes changes no byte, wherever links stand.
func TestRewritingKeepsTheRest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	parts := []string{"[a](https://example.com/{{.p}}) ", "https://example.com/{{.p}}", "{{if .p}}https://example.com/x?{{.p}}{{else}}[b](https://example.com/){{end}}",
		"text ", "\n\n", "{{.p}}", "<a href=\"https://example.com/{{.p}}?q={{.p}}\">c {{.p}}</a>", "{{range split \",\" .p}}<https://example.com/a>{{end}}", "**", "`https://example.com/`"}
	compiled := 0
	for i := range 300 {
		body := ""
		for range 1 + r.IntN(8) {
			body += parts[r.IntN(len(parts))]
		}
		source := "---\nsubject: x\n---\n" + body
		if _, err := compileFS(workspace("a.md", source), "a"); err != nil {
			continue // a bare address swallowed the condition behind it
		}
		compiled++
		// Two rewriters, so that the address differs between them and the nodes are made anew.
		away := func(l Link) string { return l.URL + "\x12" }
		back := func(l Link) string { return strings.TrimSuffix(l.URL, "\x12") + "?" }
		a := compileLinks(t, "a.md", source, func(l Link) string { return l.URL + "?" })
		b := compileLinks(t, "a.md", source, away, back)
		plain := compileLinks(t, "a.md", source)
		values := map[string]string{"p": "v,w"}
		x, y, z := render(t, a, values), render(t, b, values), render(t, plain, values)
		if x.HTML != y.HTML || x.Text != y.Text {
			t.Fatalf("%d: %q:\n%s\n%s", i, body, x.Text, y.Text)
		}
		strip := func(s string) string { return strings.Join(strings.Fields(strings.ReplaceAll(s, "?", "")), "") }
		if strip(x.HTML) != strip(z.HTML) || strip(x.Text) != strip(z.Text) {
			t.Fatalf("%d: %q:\n%s\n%s\n%s\n%s", i, body, x.Text, z.Text, x.HTML, z.HTML)
		}
	}
	if compiled < 150 {
		t.Errorf("only %d of the bodies could be compiled", compiled)
	}
}

// A body that compiles compiles with its links changed too.
func FuzzRewriteLinks(f *testing.F) {
	for _, seed := range []string{`<a href="https://example.com/{{.a}}">{{if .b}}x{{end}}</a>`, `<a href={{.a}}>`, `<a href='{{if .a}}https://x{{else}}y{{end}}'>z`,
		`<area href="https://example.com/?a=1&amp;b={{.b}}#{{.c}}">`, `{{define "x"}}<a href="https://example.com">{{end}}{{template "x" .}}`, `<!-- <a href="x"> --><a href="https://{{.a}}{{/* c */}}/">`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		source := "---\nsubject: x\nlayout: none\n---\n" + body
		c, err := campaign.Load(workspace("a.html", source), "a")
		if err != nil {
			return
		}
		content, err := campaign.Freeze(workspace(), c, sender, "UTC")
		if err != nil {
			return
		}
		if _, err := Compile(content, nil); err != nil {
			return
		}
		if _, err := Compile(content, nil, func(l Link) string { return "https://t.example/" + escapeURL(l.URL, "") }); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	})
}
