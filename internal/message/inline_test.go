package message

import (
	"regexp"
	"strings"
	"testing"
)

// page compiles an HTML campaign that is a whole page and renders it.
func page(t *testing.T, body string, values map[string]string) string {
	t.Helper()
	return render(t, compileFile(t, "a.html", "subject: x\nlayout: none", body), values).HTML
}

func TestStylesMoveToElements(t *testing.T) {
	for _, c := range []struct{ name, css, body, want string }{
		{"by type", "p { color: red }", "<p>x</p>", `<p style="color:red">x</p>`},
		{"by specificity, not order", "p.a { color: red } p { color: blue; margin: 0 }", "<p class=a>x</p>", `<p style="margin:0;color:red" class=a>x</p>`},
		{"by order", "p { color: red } p { color: blue }", "<p>x</p>", `<p style="color:blue">x</p>`},
		{"id", "#a { color: red } .b.c.d { color: blue }", `<p id="a" class="b c d">x</p>`, `<p style="color:red" id="a" class="b c d">x</p>`},
		{"list of selectors", "h1, p { color: red }", "<h1>a</h1><p>x</p>", `<h1 style="color:red">a</h1><p style="color:red">x</p>`},
		{"descendant", ".a b { color: red }", `<p class="a"><i><b>x</b></i></p><b>y</b>`, `<p class="a"><i><b style="color:red">x</b></i></p><b>y</b>`},
		{"child", "div > b { color: red }", `<div><b>x</b><i><b>y</b></i></div>`, `<div><b style="color:red">x</b><i><b>y</b></i></div>`},
		{"attribute", "[align=right] { color: red }", `<p align="right">x</p>`, `<p style="color:red" align="right">x</p>`},
		{"own style wins", "p { color: red; margin: 0 }", `<p style="color: blue;">x</p>`, `<p style="margin:0;color: blue">x</p>`},
		{"important wins over own style", "p { color: red !important }", `<p style="color: blue">x</p>`, `<p style="color: blue;color:red">x</p>`},
		{"quotes", `p { font-family: "Segoe UI", x }`, "<p>x</p>", `<p style="font-family:'Segoe UI', x">x</p>`},
		{"both quotes", `p { font-family: "a'b" }`, "<p>x</p>", `<p style="font-family:&quot;a'b&quot;">x</p>`},
		{"comments", "/* p { color: blue } */ p { /* ; */ color: red }", "<p>x</p>", `<p style="color:red">x</p>`},
		{"semicolon in a string", `p { content: "a;b"; color: red }`, "<p>x</p>", `<p style="content:'a;b';color:red">x</p>`},
		{"a field in an attribute", "p { color: red }", `<p title="{{.name}}">{{.name}}</p>`, `<p style="color:red" title="山田">山田</p>`},
		{"a field in a style", "p { margin: 0 }", `<p style="width:{{.w}}px">x</p>`, `<p style="margin:0;width:5px">x</p>`},
		{"a field in a rule", "p { width: {{.w}}px }", `<p>x</p>`, `<p style="width:5px">x</p>`},
		{"branches", ".a b { color: red }", `{{if .name}}<p class="a">{{else}}<p class="z">{{end}}<b>x</b></p>`, `<p class="a"><b>x</b></p>`},
		{"range in a table", "td { color: red }", `<table>{{range split "," .list}}<tr><td>{{.}}</td></tr>{{end}}</table>`,
			`<table><tr><td style="color:red">1</td></tr><tr><td style="color:red">2</td></tr></table>`},
		{"tbody as browsers make it", "tbody td { color: red }", `<table><tr><td>x</td></tr></table>`, `<table><tr><td style="color:red">x</td></tr></table>`},
		{"implied ends", "li > b { color: red }", `<ul><li>a<li><b>x</b></ul>`, `<ul><li>a<li><b style="color:red">x</b></ul>`},
		{"an attribute in another's value", "p { color: red }", `<p title=' style="a"'>x</p>`, `<p style="color:red" title=' style="a"'>x</p>`},
		{"links", "a:link { color: red }", `<a href="https://a.example/">x</a><a name="n">y</a>`, `<a style="color:red" href="https://a.example/">x</a><a name="n">y</a>`},
	} {
		got := page(t, "<style>"+c.css+"</style>\n"+c.body, map[string]string{"name": "山田", "w": "5", "list": "1,2"})
		if c.name == "branches" { // one element cannot be in both: it is left to the style element
			if !strings.Contains(got, `<p class="a"><b`) || strings.Contains(got, "ZgotmplZ") {
				t.Errorf("%s: %s", c.name, got)
			}
			continue
		}
		if strings.TrimSpace(got) != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// What no attribute can say stays, and wins over the attributes as it did over the rules.
func TestStylesThatStay(t *testing.T) {
	for _, c := range []struct{ name, css, want string }{
		{"media", "@media (max-width: 600px) { p { color: red } }", "@media (max-width: 600px) {\np { color: red !important; }\n}"},
		{"hover", "p:hover { color: red }", "p:hover { color: red !important; }"},
		{"font", "@font-face { font-family: x; src: url(https://a.example/x) }", "@font-face { font-family: x; src: url(https://a.example/x) }"},
		{"import", `@import "https://a.example/x.css"; p { color: red }`, `@import "https://a.example/x.css";`},
		{"mail program's own", "[data-ogsc] p { color: red }", "[data-ogsc] p { color: red !important; }"},
		{"mail program's class", ".ExternalClass p { color: red }", ".ExternalClass p { color: red !important; }"},
		{"siblings", "p + p { color: red }", "p + p { color: red }"},
		{"some of a list", "p, p:hover { color: red }", "p:hover { color: red !important; }"},
		{"not understood", "p:::x { color: red }", "p:::x { color: red }"},
		{"variable", ":root { --a: red }", ":root { --a: red }"},
	} {
		got := page(t, "<style>"+c.css+"</style><p>x</p>", nil)
		m := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(got)
		if m == nil || strings.TrimSpace(m[1]) != c.want {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, c.want)
		}
	}
	for _, c := range []struct{ name, page, want string }{
		{"for print", `<style media="print">p{color:red}</style><p>x</p>`, `<style media="print">p{color:red}</style><p>x</p>`},
		{"hangs on the contact", `<style>{{if .name}}p{color:red}{{end}}</style><p>x</p>`, `<style>p{color:red}</style><p>x</p>`},
		{"an attribute for some", `<style>p{color:red}</style><p {{if .name}}style="margin:0"{{end}}>x</p>`, `<style>
p { color: red !important; }
</style><p style="margin:0">x</p>`},
	} {
		if got := strings.TrimSpace(page(t, c.page, map[string]string{"name": "x"})); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// A rule of the layout reaches the body, the partials and the blocks that the body fills.
func TestStylesReachAllPieces(t *testing.T) {
	tmpl, err := compileFS(workspace(
		"a.md", "---\nsubject: x\nlayout: mine\n---\n{{define \"end\"}}<b>from the body</b>{{end}}A *word* for {{.nmae}}\n\n{{include \"sig\"}}\n",
		"templates/layouts/mine.html", "<style>.body p { color: red } .end b { color: blue } .sig { margin: 0 }</style><div class=\"body\">{{template \"body\" .}}</div><div class=\"end\">{{block \"end\" .}}<b>of the layout</b>{{end}}</div>",
		"templates/partials/sig.md", "Yours, {{.name}}\n\n<i class=\"sig\">x</i>"), "a")
	if err != nil {
		t.Fatal(err)
	}
	m := render(t, tmpl, map[string]string{"name": "N", "nmae": "M"})
	const want = `<div class="body"><p style="color:red">A <em>word</em> for M</p>
<p style="color:red">Yours, N</p>
<p style="color:red"><i style="margin:0" class="sig">x</i></p>

</div><div class="end"><b style="color:blue">from the body</b></div>`
	if got := strings.TrimSpace(m.HTML); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	_, err = tmpl.Render(Recipient{"a@b.jp", map[string]string{"name": "N"}}, mark)
	if err == nil || !strings.Contains(err.Error(), `campaigns/a.md:5:59: the contact has no "nmae"`) {
		t.Errorf("the place is lost: %v", err)
	}
	_, err = tmpl.Render(Recipient{"a@b.jp", map[string]string{"nmae": "N"}}, mark)
	if err == nil || !strings.Contains(err.Error(), `templates/partials/sig.md:1:10: the contact has no "name"`) {
		t.Errorf("the place in the partial is lost: %v", err)
	}
}

func TestPartials(t *testing.T) {
	with := func(body string, pairs ...string) (Message, error) {
		tmpl, err := compileFS(workspace(append([]string{"a.md", "---\nsubject: x\nlayout: none\n---\n" + body}, pairs...)...), "a")
		if err != nil {
			return Message{}, err
		}
		return tmpl.Render(Recipient{"a@b.jp", map[string]string{"name": "<N>"}}, mark)
	}
	for _, c := range []struct{ name, body, html, text string }{
		{"markdown", `{{include "md"}}`, "<p>Hello <strong>&lt;N&gt;</strong></p>\n\n", "Hello <N>\n"},
		{"html only", `{{include "html"}}`, "<p>Hi &lt;N&gt;</p>\n", "Hi <N>\n"},
		{"text only", `{{include "txt"}}`, "a &lt;b&gt;<br>\n&lt;N&gt;\n\n", "a <b>\n<N>\n"},
		{"both", `{{include "both"}}`, "<i>H</i>\n", "T\n"},
		{"nested", `{{include "outer"}}`, "<div><p>Hi &lt;N&gt;</p></div>\n", "Hi <N>\n"},
		{"in range", `{{range split "," "1,2"}}{{include "html"}}{{end}}`, "<p>Hi &lt;N&gt;</p><p>Hi &lt;N&gt;</p>\n", "Hi <N>\nHi <N>\n"},
	} {
		m, err := with(c.body, "templates/partials/md.md", "Hello **{{.name}}**", "templates/partials/html.html", "<p>Hi {{.name}}</p>",
			"templates/partials/txt.txt", "a <b>\n{{.name}}\n", "templates/partials/both.html", "<i>H</i>", "templates/partials/both.txt", "T",
			"templates/partials/outer.html", `<div>{{include "html"}}</div>`)
		if err != nil || m.HTML != c.html || m.Text != c.text {
			t.Errorf("%s: %v\nhtml %q\ntext %q", c.name, err, m.HTML, m.Text)
		}
	}
	for _, c := range []struct{ body, want string }{
		{"a\n\n{{include \"nothing\"}}", `campaigns/a.md:7:3: there is no partial "nothing"; write templates/partials/nothing.html, .md or .txt`},
		{`{{include "../x"}}`, `"../x" cannot be a partial's name`},
		{`{{include .name}}`, "with the name of a partial in quotes"},
		{`{{include "md" | upper}}`, "include stands alone"},
		{`{{include "loop"}}`, "calls itself"},
	} {
		_, err := with(c.body, "templates/partials/loop.html", `{{include "loop"}}`)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.body, err)
		}
	}
}

func TestPagesAreMended(t *testing.T) {
	tmpl := compileFile(t, "a.html", "subject: x\nbase_url: https://www.example.com/news/", `<!doctype html><html><head><meta charset="shift_jis"><meta http-equiv="Content-Type" content="text/html; charset=euc-jp"></head>`+
		`<body><a href="/a">1</a> <a href="b?c={{.c}}">2</a> <a href="#d">3</a> <a href="{{.u}}">4</a> <a href="mailto:x@y.example">5</a> <img src="i.png" alt="I"></body></html>`)
	m := render(t, tmpl, map[string]string{"c": "&", "u": "https://u.example/"})
	for _, want := range []string{`<html lang="en">`, `<meta charset="utf-8">`, `content="text/html; charset=utf-8"`, `href="https://www.example.com/a"`,
		`href="https://www.example.com/news/b?c=%26"`, `href="#d"`, `href="https://u.example/"`, `href="mailto:x@y.example"`, `src="https://www.example.com/news/i.png"`} {
		if !strings.Contains(m.HTML, want) {
			t.Errorf("no %s in\n%s", want, m.HTML)
		}
	}
	if !strings.Contains(m.Text, "1 <https://www.example.com/a>") || !strings.Contains(m.Text, "2 <https://www.example.com/news/b?c=%26>") {
		t.Errorf("text: %s", m.Text)
	}
}

func TestFootnotes(t *testing.T) {
	m := render(t, compileFile(t, "a.md", "subject: x\nlayout: none\ntext_links: footnotes",
		"See [one](https://a.example/) and [two](https://b.example/?x={{.v}}), [one](https://a.example/) again.\n\n{{if .v}}[three](https://c.example/){{end}} https://d.example/"), map[string]string{"v": "ü"})
	const want = "See one [1] and two [2], one [1] again.\n\nthree <https://c.example/> https://d.example/\n\n[1] https://a.example/\n[2] https://b.example/?x=%c3%bc\n"
	if m.Text != want {
		t.Errorf("got  %q\nwant %q", m.Text, want)
	}
}

func TestTextFileBeside(t *testing.T) {
	tmpl, err := compileFS(workspace("a.md", "---\nsubject: x\n---\n# Rich", "a.txt", "Plain, {{.name}}\n"), "a")
	if err != nil {
		t.Fatal(err)
	}
	m := render(t, tmpl, map[string]string{"name": "<N>"})
	if !strings.HasPrefix(m.Text, "Plain, <N>\n") || !strings.Contains(m.Text, "1-1 Chiyoda, Tokyo") || !strings.Contains(m.Text, "bounce+u11") || !strings.Contains(m.HTML, "Rich") {
		t.Errorf("%s\n%s", m.Text, m.HTML)
	}
	_, err = tmpl.Render(Recipient{"a@b.jp", nil}, mark)
	if err == nil || !strings.Contains(err.Error(), "campaigns/a.txt:1:10: the contact has no") {
		t.Error(err)
	}
}

func TestRightToLeft(t *testing.T) {
	for lang, want := range map[string]string{"ar": `<html dir="rtl" lang="ar">`, "he-IL": `<html dir="rtl" lang="he-IL">`, "ja": `<html lang="ja">`} {
		if m := render(t, compileFile(t, "a.md", "subject: x\nlang: "+lang, "x"), nil); !strings.Contains(m.HTML, want) {
			t.Errorf("%s: no %s in\n%.200s", lang, want, m.HTML)
		}
	}
}

// What hangs on the language alone is decided once.
func TestLanguageIsFolded(t *testing.T) {
	for _, c := range []struct{ lang, source, want string }{
		{"ja-JP", `{{if eq language "ja"}}A{{else if eq language "de"}}B{{else}}C{{end}}`, "A"},
		{"de", `{{if eq language "ja"}}A{{else if eq language "de"}}B{{else}}C{{end}}`, "B"},
		{"fr", `{{if eq language "ja"}}A{{else if eq language "de"}}B{{else}}C{{end}}`, "C"},
		{"fr", `x{{if eq class "operational"}}A{{end}}`, "x"},
		{"fr", `{{if ne lang "ja"}}A{{if eq lang "fr"}}B{{end}}{{end}}`, "AB"},
	} {
		p := newProgram(c.lang, "marketing", nil)
		trees := newTrees()
		if err := p.add(trees, "x", newSource("x", 1, c.source)); err != nil {
			t.Fatal(err)
		}
		if got := trees.list["x"].Root.String(); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.lang, c.source, got, c.want)
		}
	}
	m := render(t, compileFile(t, "a.txt", "subject: x\nlang: ja\nlayout: none", `{{$x := "a"}}{{if eq lang "ja"}}{{$x := "b"}}{{$x}}{{end}}{{$x}}`), nil)
	if m.Text != "ba\n" {
		t.Errorf("a variable left its scope: %q", m.Text)
	}
}

// Every layout in every language shows in both parts who writes, where they are, how to reach them, and the way out.
func TestFootersAreComplete(t *testing.T) {
	for _, layout := range []string{"default", "newsletter", "announcement", "letter", "japanese"} {
		for _, lang := range []string{"en", "ja", "de", "fr", "es", "it", "pt-BR", "nl", "zh-CN", "ko", "ru", "ar", "sv"} {
			for _, class := range []string{"marketing", "operational"} {
				m := render(t, compileFile(t, "a.md", "subject: x\nlayout: "+layout+"\nlang: "+lang+"\nclass: "+class, "Hello"), nil)
				for part, text := range map[string]string{"html": m.HTML, "text": m.Text} {
					out := strings.Contains(text, "bounce+u11-abc@example.com") || strings.Contains(text, "bounce&#43;u11-abc@example.com")
					if !strings.Contains(text, "Example Inc.") || !strings.Contains(text, "1-1 Chiyoda, Tokyo") || !strings.Contains(text, "info@example.com") || out != (class == "marketing") ||
						out != strings.Contains(text, "taro@example.jp") {
						t.Errorf("%s %s %s, the %s part:\n%s", layout, lang, class, part, text)
					}
				}
				if strings.Contains(m.HTML, "class=\"body\"") && !strings.Contains(m.HTML, `<p style="margin:0 0 18px">Hello</p>`) {
					t.Errorf("%s: the style is not in the elements", layout)
				}
				if len(m.HTML) > 8<<10 {
					t.Errorf("%s %s: %d bytes of HTML around one word", layout, lang, len(m.HTML))
				}
			}
		}
	}
}

// A value in a rule that moved is still a value: no second declaration, no link, no end of the attribute.
func TestValuesInMovedRules(t *testing.T) {
	for _, v := range []string{`red;background:url(https://evil.example/)`, `red" onclick="x`, `red'/*`, `expression(alert(1))`, `</style><script>`, "{{.x}}"} {
		got := page(t, "<style>p { color: {{.c}} } b { width: {{.c}} }</style><p>x</p><a href=\"&#123;&#123;.c}}\">y</a>", map[string]string{"c": v})
		if strings.Contains(got, "evil") || strings.Contains(got, "onclick") || strings.Contains(got, "expression(") || strings.Contains(got, "<script") || strings.Count(got, "<p style=\"color:") != 1 {
			t.Errorf("%s: %s", v, got)
		}
	}
	m := render(t, compileFile(t, "a.html", "subject: x\nlayout: none\nbase_url: https://a.example/", `<a href="&#123;&#123;.c}}">y</a>`), map[string]string{"c": "V"})
	if strings.Contains(m.HTML, "V") {
		t.Errorf("an entity became an action: %s", m.HTML)
	}
}
