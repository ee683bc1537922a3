package message

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"mailer/internal/campaign"
)

var sender = campaign.Sender{From: "Example News <news@example.com>", ReplyTo: "info@example.com",
	Organization: "Example Inc.", PostalAddress: "1-1 Chiyoda, Tokyo"}

// mark is a delivery's; its date is fixed, so that the same input gives the same bytes.
var mark = Mark{MessageID: "m11-0123456789abcdef@example.com", UnsubscribeMailto: "mailto:bounce+u11-abc@example.com?subject=unsubscribe",
	Date: time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)}

// workspace is a file system of one; a name without a folder is a campaign.
func workspace(pairs ...string) fs.FS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i]
		if !strings.Contains(name, "/") {
			name = "campaigns/" + name
		}
		m[name] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func compileFS(ws fs.FS, name string, signers ...Signer) (*Template, error) {
	c, err := campaign.Load(ws, name)
	if err != nil {
		return nil, err
	}
	content, err := campaign.Freeze(ws, c, sender, "Asia/Tokyo")
	if err != nil {
		return nil, err
	}
	t, err := Compile(content, signers)
	if err == nil {
		t.SetFiles(ws)
	}
	return t, err
}

// compileFile compiles one campaign file.
func compileFile(t testing.TB, name, front, body string) *Template {
	t.Helper()
	tmpl, err := compileFS(workspace(name, "---\n"+front+"\n---\n"+body), strings.Split(name, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func render(t testing.TB, tmpl *Template, values map[string]string) Message {
	t.Helper()
	m, err := tmpl.Render(Recipient{"taro@example.jp", values}, mark)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// bare is a Markdown campaign without a layout, for looking at its parts.
func bare(t testing.TB, body string) *Template {
	t.Helper()
	return compileFile(t, "a.md", "subject: x\nlayout: none", body)
}

func TestTemplateData(t *testing.T) {
	values := map[string]string{"name": "山田", "会社名": "例社", "Company Name": "ACME", "e-mail": "x@y.jp", "campaign": "column",
		"birthday": "1990/1/5", "tags": "a, b,,c", "plan": "gold"}
	for _, c := range []struct{ source, want string }{
		{"{{.name}}", "山田"},
		{"{{.会社名}}", "例社"},
		{`{{field "Company Name"}}`, "ACME"},
		{`{{"e-mail" | field}}`, "x@y.jp"},
		{"{{.email}}", "taro@example.jp"},
		{"{{.campaign}}", "a"},
		{`{{field "campaign"}}`, "column"},
		{"{{.unsubscribe_url}}", mark.UnsubscribeMailto},
		{"{{.sender}}", "Example News <news@example.com>"},
		{"{{.sender.name}}/{{.sender.address}}/{{.sender.organization}}/{{.sender.postal_address}}", "Example News/news@example.com/Example Inc./1-1 Chiyoda, Tokyo"},
		{`{{.now | date "2006-01-02 15:04"}}`, "2026-12-01 18:00"},
		{`{{date "1月2日" .birthday}}`, "1月5日"},
		{`{{.birthday | date "2006"}}`, "1990"},
		{`{{default "x" .missing}}`, "x"},
		{`{{.missing | default "x"}}`, "x"},
		{`{{.missing | upper | default "x"}}`, "x"},
		{`{{default "x" .name}}`, "山田"},
		{`{{default "x" (upper .plan)}}`, "GOLD"},
		{`{{field "no such" | default "x"}}`, "x"},
		{`{{or .missing .name}}`, "山田"},
		{`{{if .missing}}a{{else}}b{{end}}`, "b"},
		{`{{if .name}}{{.name}}{{end}}`, "山田"},
		{`{{if has "missing"}}a{{else if has "name"}}b{{end}}`, "b"},
		{`{{if not (has "missing")}}b{{end}}`, "b"},
		{`{{if eq .plan "gold"}}a{{end}}{{if eq .missing "gold"}}b{{end}}`, "a"},
		{`{{with .missing}}a{{else}}b{{end}}`, "b"},
		{`{{with .name}}{{.}} {{$.plan}}{{end}}`, "山田 gold"},
		{`{{with .sender}}{{.name}}{{end}}`, "Example News"},
		{`{{range split "," .tags}}[{{.}}]{{end}}`, "[a][b][c]"},
		{`{{range .missing}}a{{else}}b{{end}}`, "b"},
		{`{{range $i, $t := split "," .tags}}{{$i}}{{$t}}{{$.plan}} {{end}}`, "0agold 1bgold 2cgold"},
		{`{{$n := .name}}{{$n}}`, "山田"},
		{`{{sama .name}}`, "山田 様"},
		{`{{sama .missing}}`, "お客様"},
		{`{{.missing | sama}}`, "お客様"},
		{`{{onchu .会社名}}`, "例社 御中"},
		{`{{title "hello world"}} {{lower "ABC"}}`, "Hello World abc"},
		{`{{urlquery .name}}`, "%E5%B1%B1%E7%94%B0"},
		{`{{define "x"}}<{{.plan}}>{{end}}{{template "x" .}}`, "<gold>"},
		{`{{define "x"}}{{field "name"}}{{end}}{{template "x" .}}`, "山田"},
		{`{{/* a comment }} */}}{{printf "%s}}" .plan}}`, "gold}}"},
	} {
		tmpl, err := compileFS(workspace("a.txt", "---\nsubject: x\nlayout: none\n---\n"+c.source), "a")
		if err != nil {
			t.Errorf("%s: %v", c.source, err)
			continue
		}
		m, err := tmpl.Render(Recipient{"taro@example.jp", values}, mark)
		if err != nil || strings.TrimSpace(m.Text) != c.want {
			t.Errorf("%s: got %q, %v", c.source, m.Text, err)
		}
	}
}

func TestHonorific(t *testing.T) {
	for _, c := range []struct {
		names []any
		want  string
	}{
		{[]any{"山田"}, "山田 様"}, {[]any{"山田", "太郎"}, "山田 太郎 様"}, {[]any{"山田様"}, "山田様"}, {[]any{" "}, "お客様"},
		{nil, "お客様"}, {[]any{"", "太郎"}, "太郎 様"}, {[]any{"会員各位"}, "会員各位"},
	} {
		if got := honorific("様", "お客様", c.names); got != c.want {
			t.Errorf("%v: %q", c.names, got)
		}
	}
}

// What is wrong with a template is said with its place in the user's file, whatever the file went through.
func TestErrorsNameTheirPlace(t *testing.T) {
	for _, c := range []struct{ name, file, front, body, want string }{
		{"body", "a.md", "subject: x", "# Title\n\nDear **{{.nmae}}**,\n", `campaigns/a.md:6:10: the contact has no "nmae"`},
		{"in html", "a.html", "subject: x", "<p>\n<b>{{.nmae}}</b>", `campaigns/a.md:5:6: the contact has no "nmae"`},
		{"in text", "a.txt", "subject: x", "a\nb {{.nmae}}", `campaigns/a.md:5:5: the contact has no "nmae"`},
		{"subject", "a.md", "lang: en\nsubject: 'x {{.nmae}}'", "x", `campaigns/a.md:3: the contact has no "nmae"`},
		{"header", "a.md", "subject: x\nheaders: {X-A: '{{.nmae}}'}", "x", `campaigns/a.md:3: the contact has no "nmae"`},
		{"to_name", "a.md", "subject: x\nto_name: '{{.nmae}}'", "x", `campaigns/a.md:3: the contact has no "nmae"`},
		{"field", "a.md", "subject: x", `{{field "no such"}}`, `campaigns/a.md:4:3: the contact has no "no such"; give it a fallback, {{default "..." (field "no such")}}`},
		{"syntax", "a.md", "subject: x", "a\n\n{{if}}", "campaigns/a.md:6: missing value for if"},
		{"no end", "a.md", "subject: x", "a\n{{if .x}}\n", "campaigns/a.md:6: the text ends within an {{if}}, {{range}} or {{with}}: {{end}} is missing"},
		{"no close", "a.md", "subject: x", "a\n{{.x\n", "campaigns/a.md:5: an action begins with {{ and is not closed by }}"},
		{"no close in subject", "a.md", "subject: '{{.x'", "a", "campaigns/a.md:2: an action begins with {{ and is not closed by }}"},
		{"no dot", "a.md", "subject: x", "a\n{{name}}\n", `campaigns/a.md:5: there is no function "name"; a field is written with a dot: {{.name}}`},
		{"odd name", "a.md", "subject: x", "{{.e-mail}}\n", `campaigns/a.md:4: bad character U+002D '-'; write a field whose name has spaces or signs as {{field "its name"}}`},
		{"no template", "a.md", "subject: x", "a\n\n{{template \"foo\"}}", `campaigns/a.md:6:12: there is no template "foo"`},
		{"endless", "a.md", "subject: x", `{{define "a"}}{{template "b" .}}{{end}}{{define "b"}}{{template "a" .}}{{end}}`, `calls itself`},
		{"dot", "a.md", "subject: x", "a {{.}}", "campaigns/a.md:4:5: {{.}} is the whole contact here"},
		{"call", "a.md", "subject: x", "a {{.email 1}}", "a field is no function"},
		{"inside range", "a.md", "subject: x", "{{range split \",\" .email}}{{.plan}}{{end}}", "inside range and with write $.plan"},
		{"endless range", "a.md", "subject: x", "{{range 1000000000}}x{{end}}", "range wants a list"},
		{"no date", "a.md", "subject: x", "a\n{{date \"2006\" .email}}", `campaigns/a.md:5:3: date: "taro@example.jp" is no date`},
		{"fallback missing", "a.md", "subject: x", "{{default .a .b}}", `the contact has no "a"`},
		{"or missing", "a.md", "subject: x", "{{or .a .b}}", `the contact has no "b"`},
		{"sender", "a.md", "subject: x", "{{.sender.phone}}", `the sender has no "phone"`},
		{"html context", "a.html", "subject: x", "<p>\n<a {{if .x}}href=\"{{end}}>", "campaigns/a.md:5:"},
		{"not closed", "a.html", "subject: x", "<p>\n<script>", "campaigns/a.md: "},
		{"line break", "a.md", "subject: '{{.email}}{{\"\\n\"}}Bcc: x'", "x", "a header field cannot hold a line break"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tmpl, err := compileFS(workspace(c.file, "---\n"+c.front+"\n---\n"+c.body), "a")
			if err == nil {
				_, err = tmpl.Render(Recipient{"taro@example.jp", nil}, mark)
			}
			var e *RenderError
			want := strings.Replace(c.want, "a.md", c.file, 1)
			if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &e) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestMissingFieldNamesTheContact(t *testing.T) {
	_, err := bare(t, "{{.name}}").check(Recipient{"hanako@example.jp", nil}, mark)
	var e *RenderError
	if !errors.As(err, &e) || e.Address != "hanako@example.jp" || e.Field != "name" || !strings.Contains(err.Error(), "hanako@example.jp") {
		t.Errorf("%v", err)
	}
}

func TestLanguages(t *testing.T) {
	body := func(s string) string { return "---\nsubject: " + s + "\n---\n" + s }
	with := func(pairs ...string) *Template {
		tmpl, err := compileFS(workspace(pairs...), "a")
		if err != nil {
			t.Fatal(err)
		}
		return tmpl
	}
	subject := func(tmpl *Template, lang string) string {
		m, err := tmpl.Render(Recipient{"taro@example.jp", map[string]string{"lang": lang}}, mark)
		if err != nil {
			return err.Error()
		}
		return m.Subject
	}
	three := with("a.md", body("base"), "a.ja.md", body("ja"), "a.en.md", body("en"))
	for lang, want := range map[string]string{"ja": "ja", "JA": "ja", "ja-JP": "ja", "en": "en", "fr": "base", "": "base"} {
		if got := subject(three, lang); got != want {
			t.Errorf("%q: %s", lang, got)
		}
	}
	two := with("a.ja.md", body("ja"), "a.en.md", body("en"))
	if got := subject(two, "fr"); !strings.Contains(got, `no file for the language "fr"`) || !strings.Contains(got, "add campaigns/a.md") {
		t.Errorf("without a file for everybody: %s", got)
	}
	set := "---\nsubject: %\nlanguage_field: 言語\ndefault_language: en\n---\n"
	chosen := with("a.ja.md", strings.Replace(set, "%", "ja", 1), "a.en.md", strings.Replace(set, "%", "en", 1))
	m, err := chosen.Render(Recipient{"a@b.jp", map[string]string{"言語": "ja", "lang": "en"}}, mark)
	if err != nil || m.Subject != "ja" {
		t.Errorf("language_field: %q %v", m.Subject, err)
	}
	if got := subject(chosen, "x"); got != "en" {
		t.Errorf("default_language: %s", got)
	}
}

func TestLayouts(t *testing.T) {
	for _, c := range []struct{ layout, lang, class, want string }{
		{"default", "en", "marketing", "unsubscribe"},
		{"default", "ja", "marketing", "配信を停止"},
		{"japanese", "ja", "marketing", "配信停止"},
		{"default", "en", "operational", ""},
		{"japanese", "ja", "operational", ""},
	} {
		m := render(t, compileFile(t, "a.md", "subject: x\npreheader: Soon\nlayout: "+c.layout+"\nlang: "+c.lang+"\nclass: "+c.class, "Hello"), nil)
		for part, text := range map[string]string{"html": m.HTML, "text": m.Text} {
			for _, want := range []string{"Hello", "Example Inc.", "1-1 Chiyoda, Tokyo", "info@example.com"} {
				if !strings.Contains(text, want) {
					t.Errorf("%v: the %s part lacks %q", c, part, want)
				}
			}
			if got := strings.Contains(text, "bounce&#43;u11") || strings.Contains(text, "bounce+u11"); got != (c.class == "marketing") {
				t.Errorf("%v: the %s part and the unsubscribe address: %v", c, part, got)
			}
		}
		if !strings.Contains(m.HTML, c.want) || !strings.Contains(m.HTML, `lang="`+c.lang+`"`) || strings.Count(m.HTML, "Soon") != 1 || strings.Contains(m.Text, "Soon") {
			t.Errorf("%v:\n%s", c, m.HTML)
		}
	}
}

func TestOwnLayoutAndBlocks(t *testing.T) {
	tmpl, err := compileFS(workspace(
		"a.md", "---\nsubject: S {{.name}}\nlayout: mine\npreheader: 'P {{.name}}'\n---\n{{define \"end\"}}from the body{{end}}B",
		"templates/layouts/mine.html", "{{template \"subject\" .}}|{{template \"preheader\" .}}|{{template \"body\" .}}|{{block \"end\" .}}of the layout{{end}}",
		"templates/layouts/mine.txt", "{{template \"body\" .}}|{{block \"end\" .}}of the layout{{end}}"), "a")
	if err != nil {
		t.Fatal(err)
	}
	m := render(t, tmpl, map[string]string{"name": "<N>"})
	if m.HTML != "S &lt;N&gt;|P &lt;N&gt;|<p>B</p>\n|from the body\n" {
		t.Errorf("html: %q", m.HTML)
	}
	if m.Text != "B\n|from the body\n" {
		t.Errorf("text: %q", m.Text)
	}
}

// A layout's error names the layout's line.
func TestErrorInLayout(t *testing.T) {
	tmpl, err := compileFS(workspace("a.md", "---\nsubject: x\nlayout: mine\n---\nx",
		"templates/layouts/mine.html", "a\n{{.nmae}}\n{{template \"body\" .}}"), "a")
	if err != nil {
		t.Fatal(err)
	}
	_, err = tmpl.Render(Recipient{"a@b.jp", nil}, mark)
	if err == nil || !strings.Contains(err.Error(), `templates/layouts/mine.html:2:3: the contact has no "nmae"`) {
		t.Error(err)
	}
}

func TestIdentityIsTheSender(t *testing.T) {
	c, err := campaign.Load(workspace("a.md", "---\nsubject: x\nfrom: shop\n---\nx"), "a")
	if err != nil {
		t.Fatal(err)
	}
	from := sender
	from.Identities = map[string]campaign.Sender{"shop": {From: "Shop <shop@shop.example>", Organization: "Shop Ltd.", ReplyTo: "help@shop.example"}}
	content, err := campaign.Freeze(workspace(), c, from, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := Compile(content, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := render(t, tmpl, nil)
	for _, want := range []string{"From: Shop <shop@shop.example>\r\n", "Reply-To: help@shop.example\r\n"} {
		if !strings.Contains(string(m.Raw), want) {
			t.Errorf("no %q in\n%s", want, m.Raw)
		}
	}
	if !strings.Contains(m.Text, "Shop Ltd.") || !strings.Contains(m.Text, "1-1 Chiyoda") || !strings.Contains(m.HTML, "Shop Ltd.") {
		t.Errorf("footer: %s", m.Text)
	}
}

func TestCompileRefusesSenders(t *testing.T) {
	for _, c := range []struct{ from, want string }{
		{"nobody", `from "nobody"`},
		{`"A\r\nBcc: x" <a@example.com>`, "line break"},
	} {
		_, err := compileFS(workspace("a.md", "---\nsubject: x\nfrom: '"+strings.ReplaceAll(c.from, `\r\n`, "\r\n\r\n")+"'\n---\nx"), "a")
		if err == nil {
			t.Errorf("%q was taken", c.from)
		}
	}
	c, err := campaign.Load(workspace("a.md", "---\nsubject: x\n---\nx"), "a")
	if err != nil {
		t.Fatal(err)
	}
	content, err := campaign.Freeze(workspace(), c, campaign.Sender{}, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Compile(content, nil); err == nil || !strings.Contains(err.Error(), "sender.from") {
		t.Errorf("no From: %v", err)
	}
}

func TestRenderIsConcurrent(t *testing.T) {
	tmpl := compileFile(t, "a.md", "subject: 'Hi {{.name}}'", "# {{.name}}\n\n{{if .vip}}VIP{{end}} [x](https://example.com/?u={{.name}})")
	want := map[string]string{}
	for _, n := range []string{"a", "b", "c", "d"} {
		want[n] = string(render(t, tmpl, map[string]string{"name": n}).Raw)
	}
	done := make(chan bool)
	for n := range want {
		go func() {
			ok := true
			for range 50 {
				m, err := tmpl.Render(Recipient{"taro@example.jp", map[string]string{"name": n}}, mark)
				ok = ok && err == nil && string(m.Raw) == want[n]
			}
			done <- ok
		}()
	}
	for range want {
		if !<-done {
			t.Error("a message differs")
		}
	}
}
