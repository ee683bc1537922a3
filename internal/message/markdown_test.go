package message

import (
	"strings"
	"testing"
)

// A line's end is a space in English, wherever it falls, and nothing in Japanese.
func TestMarkdownLineBreaks(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"Until next week,\nthe editors", "Until next week,\nthe editors"},
		{"One.\nTwo", "One.\nTwo"},
		{"and\n**bold**\nwords", "and\n<strong>bold</strong>\nwords"},
		{"see\n[this](https://example.com/)\nnow", "see\n<a href=\"https://example.com/\">this</a>\nnow"},
		{"a *b\nc* d", "a <em>b\nc</em> d"},
		{"an\n`x`\ny", "an\n<code>x</code>\ny"},
		{"お届けは、\n翌日です", "お届けは、翌日です"},
		{"本日\n**特売**\nです", "本日<strong>特売</strong>です"},
		{"商品は\nABC です", "商品は\nABC です"},
		{"값은\n천원", "값은\n천원"},
		{"こんにちは、\n{{.name}}\n様", "こんにちは、{{.name}}様"},
		{"Hello,\n{{.name}}\nagain", "Hello,\n{{.name}}\nagain"},
		{"二行\\\n目", "二行<br>\n目"},
		{"一\n\n二", "一</p>\n<p>二"},
	} {
		held, text := hold(c.body)
		page, err := markdownToHTML(text, held)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range held.actions {
			page = strings.ReplaceAll(page, held.token(i, asIs), a.text)
		}
		if want := "<p>" + c.want + "</p>\n"; page != want {
			t.Errorf("%q:\n got %q\nwant %q", c.body, page, want)
		}
	}
}

func TestLinkAttributes(t *testing.T) {
	for source, want := range map[string]string{
		"[Go](https://a.example/){.button}":              `<p><a href="https://a.example/" class="button">Go</a></p>`,
		"[Go](https://a.example/){.button .big} on":      `<p><a href="https://a.example/" class="button big">Go</a> on</p>`,
		"![x](https://a.example/x.png){width=280}":       `<p><img src="https://a.example/x.png" alt="x" width="280"></p>`,
		"[Go](https://a.example/) {.button}":             `<p><a href="https://a.example/">Go</a> {.button}</p>`,
		"[Go](https://a.example/){onclick=1}":            `<p><a href="https://a.example/">Go</a>{onclick=1}</p>`,
		"[Go](https://a.example/){{.v}}":                 `<p><a href="https://a.example/">Go</a>V</p>`,
		"[{{.v}}](https://a.example/?v={{.v}}){.button}": `<p><a href="https://a.example/?v=V" class="button">V</a></p>`,
	} {
		if got := strings.TrimSpace(render(t, bare(t, source), map[string]string{"v": "V"}).HTML); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", source, got, want)
		}
	}
}
