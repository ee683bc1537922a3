package message

import (
	"strings"
	"testing"
)

func TestTextFromMarkdown(t *testing.T) {
	values := map[string]string{"name": "山田", "vip": "yes", "tags": "x,y", "url": "https://example.com/v?a=b"}
	for _, c := range []struct{ name, source, want string }{
		{"paragraphs", "a\nb\n\nc", "a b\n\nc\n"},
		{"headings", "# Title\n\ntext\n\n## 見出し\n\n### three", "Title\n=====\n\ntext\n\n見出し\n------\n\nthree\n"},
		{"heading with a field", "# {{.name}}\n\nx", "山田\n========================\n\nx\n"},
		{"emphasis", "**a** *b* ~~c~~ `d`", "a b c d\n"},
		{"link", "[here](https://example.com/?a=1&b=2) now", "here <https://example.com/?a=1&b=2> now\n"},
		{"bare link", "https://example.com/x and <https://example.com/y>", "https://example.com/x and https://example.com/y\n"},
		{"mail link", "<a@example.com>", "a@example.com\n"},
		{"anchor", "[up](#top)", "up\n"},
		{"link of a field", "[x]({{.url}})", "x <https://example.com/v?a=b>\n"},
		{"picture", "![a cat](https://example.com/c.png)", "a cat\n"},
		{"linked picture", "[![cat](c.png)](https://example.com/)", "cat <https://example.com/>\n"},
		{"list", "- a\n- b\n  - c\n- d\n\nafter", "- a\n- b\n  - c\n- d\n\nafter\n"},
		{"loose list", "- a\n\n- b\n\nafter", "- a\n\n- b\n\nafter\n"},
		{"numbers", "3. a\n4. b\n", "3. a\n4. b\n"},
		{"quote", "> a\n> b\n>\n> c\n\nd", "> a b\n\n> c\n\nd\n"},
		{"rule", "a\n\n---\n\nb", "a\n\n----------------------------------------\n\nb\n"},
		{"code", "```\n  x\n\n\ty\n```\nz", "  x\n\n\ty\n\nz\n"},
		{"break", "a  \nb", "a\nb\n"},
		{"table", "| a | b |\n|---|---|\n| 1 | 2 |\n", "a | b\n1 | 2\n"},
		{"entities", "a &amp; b &lt;c&gt; &#123;&#123;.x&#125;&#125;", "a & b <c> {{.x}}\n"},
		{"if true", "a\n\n{{if .vip}}\nvip\n{{end}}\n\nb", "a\n\nvip\n\nb\n"},
		{"if false", "a\n\n{{if .nope}}\nvip\n{{end}}\n\nb", "a\n\nb\n"},
		{"if else", "{{if .nope}}\nx\n{{else}}\ny\n{{end}}", "y\n"},
		{"if within a line", "a {{if .vip}}b{{end}} c", "a b c\n"},
		{"if within a line, false", "a{{if .nope}} b{{end}} c", "a c\n"},
		{"if at the beginning", "{{if .nope}}**b**{{end}} c", "c\n"},
		{"if over paragraphs, false", "a {{if .nope}}b\n\nc {{end}}d", "a d\n"},
		{"an empty paragraph", "a\n\n{{default \"\" .nope}}\n\nb", "a\n\nb\n"},
		{"range", "{{range split \",\" .tags}}\n- {{.}}\n{{end}}\n\nb", "- x\n- y\n\nb\n"},
		{"range after items", "- a\n{{range split \",\" .tags}}\n- {{.}}\n{{end}}\n- z", "- a\n- x\n- y\n- z\n"},
		{"range over rows", "<table>{{range split \",\" .tags}}<tr><td>{{.}}</td><td>1</td></tr>{{end}}</table>", "x | 1\ny | 1\n"},
		{"hidden", "<div style=\"display: none\">a {{.name}} <div>b</div></div>\n\nc\n\n<style>p{}</style>", "c\n"},
		{"japanese lines", "今日は\nいい天気\nですね。", "今日はいい天気ですね。\n"},
		{"cjk emphasis", "これは**「セール」**です。**重要。**です", "これは「セール」です。重要。です\n"},
		{"assignment", "{{$n := .name}}\n\nDear {{$n}}", "Dear 山田\n"},
		{"comment", "a {{/* **b** */}}c", "a c\n"},
		{"trim", "a {{- .name -}} b", "a山田b\n"},
	} {
		tmpl, err := compileFS(workspace("a.md", "---\nsubject: x\nlayout: none\n---\n"+c.source), "a")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if m := render(t, tmpl, values); m.Text != c.want {
			t.Errorf("%s: got\n%q\nwant\n%q\nfrom\n%s", c.name, m.Text, c.want, m.HTML)
		}
	}
}

func TestControlLinesStandOutsideParagraphs(t *testing.T) {
	for source, want := range map[string]string{
		"{{if .vip}}\nvip\n{{end}}":                                                        "<p>vip</p>",
		"a\n{{if .vip}}\nvip\n{{end}}\nb":                                                  "<p>a</p><p>vip</p><p>b</p>",
		"{{range split \",\" .tags}}\n- {{.}}\n{{end}}":                                    "<ul><li>x</li><li>y</li></ul>",
		"1. a\n{{range split \",\" .tags}}\n1. {{.}}\n{{end}}":                             "<ol><li>a</li><li>x</li><li>y</li></ol>",
		"- a\n\n  {{if .vip}}\n  b\n  {{end}}":                                             "<ul><li><p>a</p><p>b</p></li></ul>",
		"<table>\n{{range split \",\" .tags}}\n<tr><td>{{.}}</td></tr>\n{{end}}\n</table>": "<table><tr><td>x</td></tr><tr><td>y</td></tr></table>",
		"**「セール」**です":                                                                      "<p><strong>「セール」</strong>です</p>",
		"a*b*c **d**":                                                                      "<p>a<em>b</em>c <strong>d</strong></p>",
	} {
		got := render(t, bare(t, source), map[string]string{"vip": "1", "tags": "x,y"}).HTML
		if got = strings.ReplaceAll(got, "\n", ""); got != want {
			t.Errorf("%q: got %s, want %s", source, got, want)
		}
	}
}

func TestTextFromHTML(t *testing.T) {
	m := render(t, compileFile(t, "a.html", "subject: x", `<!DOCTYPE html><html><head><title>T</title><style>p{}</style></head><body>
<div style="display:none">pre</div>
<table><tr><td>
  <h1>Hello {{.name}}</h1>
  <p>One
     two<br>three</p>
  {{if .vip}}<p>VIP</p>{{end}}
</td></tr><tr><td><a href="{{.unsubscribe_url}}">leave</a></td></tr></table>
</body></html>`), map[string]string{"name": "A"})
	want := "Hello A\n========================\n\nOne two\nthree\n\nleave <" + mark.UnsubscribeMailto + ">\n"
	if m.Text != want {
		t.Errorf("got\n%q\nwant\n%q", m.Text, want)
	}
	if !strings.Contains(m.HTML, "<title>T</title>") || strings.Contains(m.HTML, "Example Inc.") {
		t.Errorf("a whole page was put into a layout:\n%s", m.HTML)
	}
}

func TestOwnTextPart(t *testing.T) {
	m := render(t, compileFile(t, "a.md", "subject: x\ntext: |\n  Own {{.name}}\n  **as it is**", "page"), map[string]string{"name": "A"})
	if !strings.HasPrefix(m.Text, "Own A\n**as it is**\n") || !strings.Contains(m.Text, "bounce+u11") {
		t.Errorf("%q", m.Text)
	}
}

func TestWrap(t *testing.T) {
	url := "https://example.com/" + strings.Repeat("path/", 30)
	for _, s := range []string{
		strings.Repeat("word ", 60), strings.Repeat("これは長い日本語の段落です。", 20), "a " + url + " b", "見よ" + url, strings.Repeat("「括弧」、", 40), strings.Repeat("x", 200),
		strings.Repeat("한국어 문장입니다. ", 20), strings.Repeat("😀", 60), strings.Repeat("がぎぐ", 30), "<" + url + ">、次",
	} {
		got := wrap(s, "- ", "  ")
		if squeeze(strings.TrimPrefix(got, "- ")) != squeeze(s) {
			t.Errorf("text was lost: %q from %q", got, s)
		}
		for i, line := range strings.Split(got, "\n") {
			if i > 0 && !strings.HasPrefix(line, "  ") {
				t.Errorf("no indent: %q", line)
			}
			if columns(line) > lineWidth && len(strings.Fields(strings.TrimPrefix(line, "- "))) > 1 && !strings.Contains(line, "http") {
				t.Errorf("%d columns: %q", columns(line), line)
			}
			if strings.HasPrefix(strings.TrimSpace(line), "、") || strings.HasPrefix(strings.TrimSpace(line), "」") || strings.HasSuffix(line, "「") {
				t.Errorf("a line broken where Japanese does not: %q", line)
			}
		}
		if strings.Contains(s, url) && !strings.Contains(got, url) {
			t.Errorf("the URL is split: %q", got)
		}
	}
}

func TestColumns(t *testing.T) {
	for s, want := range map[string]int{"abc": 3, "日本": 4, "ｱ": 1, "Ａ": 2, "é": 1, "e\u0301": 1, "。": 2, "😀": 2, "": 0} {
		if got := columns(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

func TestTokens(t *testing.T) {
	for _, s := range []string{"{{.a}}", "x{{.a}}y{{.b}}z", "{{`}}`}}{{\"}}\"}}{{'}'}}", "{{/* }} */}}{{- /* {{ */ -}}a", "", "mx", "{{printf \"\\\"}}\"}}"} {
		held, text := hold(s)
		if strings.Contains(text, "{{") || strings.Contains(text, "}}") {
			t.Errorf("%q: actions are left in %q", s, text)
		}
		if got := held.restore(text, "f", 1).text; got != s {
			t.Errorf("%q came back as %q", s, got)
		}
	}
	held, _ := hold("{{.a}}")
	again, text := hold("{{.a}} " + held.prefix)
	if again.prefix == held.prefix || !strings.HasSuffix(text, held.prefix) {
		t.Errorf("a prefix that is in the text was taken")
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"<p>a</p>", "<ul><li>a<ul><li>b</ul>c</ul>", "<a href=x>y", "<pre>\n a\n</pre>", "</li></ul></blockquote>", "<div style='display:none'>", "<table><tr><td>a<td>b", "{{.a}}<b>{{if .b}}", "<ol start=x><li>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, page string) {
		held := &tokens{prefix: prefixFor(page)}
		got := htmlToText(page, held, textOptions{})
		if !strings.HasSuffix(got, "\n") || strings.ContainsAny(got, marks) {
			t.Errorf("%q", got)
		}
	})
}
