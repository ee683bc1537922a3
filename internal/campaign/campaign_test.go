package campaign

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func TestParse(t *testing.T) {
	const source = "\ufeff---\r\nid: 2026-12\r\nsubject: \"{{.name}} 様へ\"\r\nfrom: A <a@example.com>\r\nattach: price.pdf\r\n" +
		"headers:\r\n  X-B: two\r\n  X-A: \"{{.email}}\"\r\ntext: |\r\n  own text\r\nclass: operational\r\n---\r\nHello\r\nthere\r\n"
	d, err := Parse("campaigns/x.md", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	f := d.Front
	if f.ID != "2026-12" || f.Subject != "{{.name}} 様へ" || f.Class != Operational || len(f.Attach) != 1 || f.Attach[0] != "price.pdf" {
		t.Errorf("front matter: %+v", f)
	}
	if len(f.Headers) != 2 || f.Headers[0] != (Header{"X-B", "two"}) || f.Headers[1].Value != "{{.email}}" {
		t.Errorf("headers out of order: %v", f.Headers)
	}
	if d.Body != "Hello\nthere\n" || d.BodyLine != 13 {
		t.Errorf("body %q on line %d", d.Body, d.BodyLine)
	}
	if d.Lines["subject"] != 3 || d.Lines["text"] != 10 || d.Lang != "en" && d.Lang != "ja" {
		t.Errorf("lines %v, lang %s", d.Lines, d.Lang)
	}
}

func TestParseKeepsTextAsWritten(t *testing.T) {
	d, err := Parse("a.md", []byte("---\n\"subject\": 1.10\nid: 001\nattach: [a.pdf, b.pdf]\n---\n"))
	if err != nil {
		t.Fatal(err)
	}
	if d.Front.Subject != "1.10" || d.Front.ID != "001" || len(d.Front.Attach) != 2 || d.Body != "" {
		t.Errorf("%+v", d.Front)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"no front matter", "Hello", "a.md:1: the file does not begin with front matter"},
		{"no end", "---\nsubject: x\n", "a.md:1: the front matter has no end"},
		{"empty", "", "does not begin with front matter"},
		{"no subject", "---\nfrom: a@example.com\n---\n", "the campaign has no subject"},
		{"nothing in it", "---\n---\n", "the campaign has no subject"},
		{"quotes in quotes", "---\nsubject: \"{{default \"Reader\" .name}}, news\"\n---\n", `in single quotes: subject: '{{default "reader" .name}} ...'`},
		{"colon", "---\nsubject: News: winter\n---\n", `a.md:2:10: mapping value is not allowed in this context; put a value with a colon in it in quotes`},
		{"bracket", "---\nsubject: [Example] News\n---\n", `put the whole value in quotes: subject: "[Example] News"`},
		{"unknown key", "---\nsubject: x\nsubjct: y\n---\n", `a.md:3:1: unknown key "subjct"; did you mean "subject"?`},
		{"key far off", "---\nsubject: x\ncolour: y\n---\n", `unknown key "colour"; the keys are id, subject`},
		{"twice", "---\nsubject: x\nsubject: y\n---\n", "a.md:3:1:"},
		{"bare action", "---\nsubject: {{.name}} 様\n---\n", "in quotes"},
		{"utm is a text", "---\nsubject: x\nutm: news\n---\n", "a.md:3:6: utm has a value of the wrong kind; write it as utm: {source: news}"},
		{"utm key", "---\nsubject: x\nutm: {source: a, mediun: b}\n---\n", `a.md:3:18: unknown key "mediun" in utm; did you mean "medium"?`},
		{"utm without source", "---\nsubject: x\nutm: {medium: b}\n---\n", "utm has no source"},
		{"utm of a field", "---\nsubject: x\nutm: {source: '{{.name}}'}\n---\n", "utm.source is a plain text, the same for everybody"},
		{"utm hosts", "---\nsubject: x\nutm: {source: a, hosts: {b: c}}\n---\n", "utm.hosts has a value of the wrong kind"},
		{"wrong type", "---\nsubject: [a, b]\n---\n", "a.md:2:10: subject has a value of the wrong kind"},
		{"class", "---\nsubject: x\nclass: spam\n---\n", `a.md:3: class is "spam"; it is marketing or operational`},
		{"charset", "---\nsubject: x\ncharset: iso-2022-jp\n---\n", "utf-8"},
		{"reserved header", "---\nsubject: x\nheaders:\n  Bcc: a@example.com\n---\n", "Bcc cannot be set"},
		{"content header", "---\nsubject: x\nheaders:\n  Content-Type: text/html\n---\n", "Content-Type cannot be set"},
		{"header name", "---\nsubject: x\nheaders:\n  \"X A\": b\n---\n", "cannot be the name of a header field"},
		{"header injection", "---\nsubject: x\nheaders:\n  \"X-A\\r\\nBcc\": b\n---\n", "cannot be the name of a header field"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("a.md", []byte(c.source))
			var e *Error
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &e) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

const simple = "---\nsubject: Hello\n---\nBody\n"

func TestLoad(t *testing.T) {
	ws := files(
		"campaigns/first.md", simple,
		"campaigns/second.html", "---\nid: other\nsubject: x\n---\n<p>x",
		"campaigns/sale.ja.md", "---\nsubject: セール\n---\nこんにちは",
		"campaigns/sale.en.md", "---\nsubject: Sale\n---\nHello",
		"campaigns/broken.md", "no",
		"campaigns/notes.doc", "x",
		"elsewhere/third.txt", simple,
	)
	for _, c := range []struct{ name, id, path string }{
		{"first", "first", "campaigns/first.md"},
		{"second", "other", "campaigns/second.html"},
		{"other", "other", "campaigns/second.html"},
		{"campaigns/first.md", "first", "campaigns/first.md"},
		{"./campaigns/first.md", "first", "campaigns/first.md"},
		{"elsewhere/third.txt", "third", "elsewhere/third.txt"},
		{"sale", "sale", "campaigns/sale.en.md"},
		{"campaigns/sale.ja.md", "sale", "campaigns/sale.en.md"},
	} {
		got, err := Load(ws, c.name)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got.ID != c.id || got.Path != c.path || got.Class != Marketing {
			t.Errorf("%s: %s %s", c.name, got.ID, got.Path)
		}
	}
	if c, _ := Load(ws, "sale"); len(c.Variants) != 2 || c.Variants[1].Language != "ja" || c.Variants[1].Lang != "ja" {
		t.Errorf("languages: %+v", c.Variants)
	}
}

func TestLoadRefuses(t *testing.T) {
	ws := files(
		"campaigns/first.md", simple,
		"campaigns/broken.md", "no",
		"campaigns/a.md", "---\nid: b\nsubject: x\n---\n",
		"campaigns/b.md", simple,
		"campaigns/two.md", simple, "campaigns/two.html", simple,
		"campaigns/mix.en.md", "---\nid: one\nsubject: x\n---\n", "campaigns/mix.ja.md", "---\nid: two\nsubject: x\n---\n",
		"campaigns/12 月.md", simple,
		"campaigns/def.en.md", "---\nsubject: x\ndefault_language: fr\n---\n",
	)
	for _, c := range []struct{ name, want string }{
		{"frist", `did you mean "first"?`},
		{"nothing", "broken.md:1"},
		{"broken", "campaigns/broken.md:1: the file does not begin"},
		{"b", "give the path"},
		{"two", "has the same name as"},
		{"mix", "id is not the same as in campaigns/mix.en.md"},
		{"12 月", "cannot be a campaign's id"},
		{"def", `no file for the default language "fr"`},
		{"../../etc/passwd", "no such campaign"},
		{"", "no such campaign"},
	} {
		_, err := Load(ws, c.name)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := Load(ws, "nothing"); !errors.Is(err, ErrNotFound) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not an fs.ErrNotExist: %v", err)
	}
	if _, err := Load(files(), "nothing"); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a folder: %v", err)
	}
}

var sender = Sender{From: "News <news@example.com>", Organization: "Example", PostalAddress: "1 Road"}

func freezeAll(t *testing.T, ws fs.FS, name string) Content {
	t.Helper()
	c, err := Load(ws, name)
	if err != nil {
		t.Fatal(err)
	}
	content, err := Freeze(ws, c, sender, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestFreezeTakesEverythingIn(t *testing.T) {
	ws := files(
		"campaigns/a.md", "---\nsubject: x\nlayout: mine\nattach: files/price.pdf\nembed: [logo.png]\n---\nBody",
		"templates/layouts/mine.html", "<p>mine</p>{{template \"body\" .}}",
		"files/price.pdf", "PDF", "logo.png", "PNG",
	)
	c := freezeAll(t, ws, "a")
	v := c.Variants[0]
	if v.HTMLLayout.Builtin || !strings.Contains(v.HTMLLayout.Source, "mine") || !v.TextLayout.Builtin {
		t.Errorf("layouts: %+v %+v", v.HTMLLayout, v.TextLayout)
	}
	if v.Attach[0].Name != "price.pdf" || string(v.Attach[0].Content) != "PDF" || v.Embed[0].Name != "logo.png" {
		t.Errorf("files: %+v %+v", v.Attach, v.Embed)
	}
	text, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(text)
	if err != nil || back.Hash() != c.Hash() || len(Diff(c, back)) > 0 {
		t.Errorf("stored and read back: %v %v", err, Diff(c, back))
	}
}

func TestFreezeChoosesLayouts(t *testing.T) {
	ws := files(
		"campaigns/page.html", "---\nsubject: x\n---\n<!DOCTYPE html><html><body>x</body></html>",
		"campaigns/part.html", "---\nsubject: x\n---\n<p>x</p>",
		"campaigns/plain.txt", "---\nsubject: x\n---\nx",
		"campaigns/none.md", "---\nsubject: x\nlayout: none\n---\nx",
	)
	for _, c := range []struct {
		name       string
		html, text bool
	}{{"page", false, false}, {"part", true, true}, {"plain", false, true}, {"none", false, false}} {
		v := freezeAll(t, ws, c.name).Variants[0]
		if (v.HTMLLayout != nil) != c.html || (v.TextLayout != nil) != c.text {
			t.Errorf("%s: html layout %v, text layout %v", c.name, v.HTMLLayout, v.TextLayout)
		}
	}
}

func TestFreezeRefuses(t *testing.T) {
	for _, c := range []struct{ front, want string }{
		{"layout: nice", `a.md:3: there is no layout "nice"; write templates/layouts/nice.html, or use one of announcement, default, japanese, letter, newsletter, or none`},
		{"layout: Newletter", `did you mean "newsletter"? Or write`},
		{"layout: ../../x", "there is no layout"},
		{"attach: gone.pdf", "campaigns/a.md:3: attach gone.pdf: there is no such file"},
		{"attach: /etc/passwd", "attach /etc/passwd"},
		{"attach: ../secret", "attach ../secret: the path leads out of the workspace"},
		{"attach: ./mailer.db", "attach ./mailer.db: it is the workspace's own"},
		{"attach: Mailer.yaml", "it is the workspace's own"},
		{"attach: dkim/s1.pem", "it is the workspace's own"},
		{"embed: gone.png", "campaigns/a.md:3: embed gone.png: there is no such file"},
	} {
		ws := files("campaigns/a.md", "---\nsubject: x\n"+c.front+"\n---\n")
		loaded, err := Load(ws, "a")
		if err != nil {
			t.Fatal(err)
		}
		_, err = Freeze(ws, loaded, sender, "UTC")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.front, err, c.want)
		}
	}
}

// What is not UTF-8 would reach everybody as rubbish, whichever file it stands in; and a file of the user's that cannot be
// read must not be replaced by mailer's own in silence.
func TestOnlyReadableFiles(t *testing.T) {
	const cp932 = "a\n\x89\xef\x88\xf5\n"
	for _, c := range []struct{ file, text, want string }{
		{"campaigns/a.md", simple + cp932, "campaigns/a.md:6: the file is not UTF-8; save it as UTF-8"},
		{"campaigns/a.md", "\xff\xfe-\x00", "campaigns/a.md:1: the file is not UTF-8"},
		{"campaigns/a.txt", cp932, "campaigns/a.txt:2: the file is not UTF-8"},
		{"templates/layouts/default.html", cp932, "templates/layouts/default.html:2: the file is not UTF-8"},
		{"templates/layouts/default.txt", cp932, "templates/layouts/default.txt:2: the file is not UTF-8"},
		{"templates/partials/footer.html", cp932, "templates/partials/footer.html:2: the file is not UTF-8"},
		{"templates/partials/footer.txt", cp932, "templates/partials/footer.txt:2: the file is not UTF-8"},
		{"templates/layouts/default.html", "<p>{{.email}}</p>", `templates/layouts/default.html: the layout leaves the campaign's text out; put {{template "body" .}}`},
		{"templates/layouts/default.txt", "", "templates/layouts/default.txt: the layout leaves"},
		{"templates/layouts/default.html/x", "", "templates/layouts/default.html: the file cannot be read"},
		{"templates/partials/footer.txt/x", "", "templates/partials/footer.txt: the file cannot be read"},
	} {
		ws := files("campaigns/a.md", simple)
		ws[c.file] = &fstest.MapFile{Data: []byte(c.text)}
		loaded, err := Load(ws, "campaigns/a.md")
		if err == nil {
			_, err = Freeze(ws, loaded, sender, "UTC")
		}
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.file, err, c.want)
		}
	}
}

// Moving a file, a comment in the front matter and an upgrade of mailer's own layouts are no edits.
func TestHashIsAboutWhatPeopleRead(t *testing.T) {
	a := freezeAll(t, files("campaigns/a.md", "---\nsubject: x\n---\nBody"), "a")
	b := freezeAll(t, files("elsewhere/a.md", "---\n# a comment\nsubject: x\n---\nBody"), "elsewhere/a.md")
	layout := *b.Variants[0].HTMLLayout
	layout.Source += "<!-- newer -->"
	b.Variants[0].HTMLLayout = &layout
	if a.Hash() != b.Hash() {
		t.Errorf("the hashes differ: %v", Diff(a, b))
	}
	if d := Diff(a, b); len(d) > 0 {
		t.Errorf("differences in %v", d)
	}
}

func TestDiff(t *testing.T) {
	base := []string{"campaigns/a.md", "---\nsubject: x\nattach: f.pdf\nlayout: mine\n---\nOne\nTwo\n", "f.pdf", "old",
		"templates/layouts/mine.html", "<b>{{template \"body\" .}}</b>\n"}
	old := freezeAll(t, files(base...), "a")
	for _, c := range []struct {
		name, file, content, want string
	}{
		{"subject", "campaigns/a.md", "---\nsubject: y\nattach: f.pdf\nlayout: mine\n---\nOne\nTwo\n", `campaigns/a.md: subject was "x", is now "y"`},
		{"body", "campaigns/a.md", "---\nsubject: x\nattach: f.pdf\nlayout: mine\n---\nOne\n2\n", `campaigns/a.md:7: the line was "Two", is now "2"`},
		{"shorter", "campaigns/a.md", "---\nsubject: x\nattach: f.pdf\nlayout: mine\n---\nOne", `campaigns/a.md:7: the line was "Two", is now nothing`},
		{"attachment", "f.pdf", "newer", "the attachment f.pdf has changed (3 bytes, now 5)"},
		{"layout", "templates/layouts/mine.html", "<i>{{template \"body\" .}}</i>", "templates/layouts/mine.html:1: the line was"},
		{"class", "campaigns/a.md", "---\nsubject: x\nattach: f.pdf\nlayout: mine\nclass: operational\n---\nOne\nTwo\n", `class was "marketing", is now "operational"`},
		{"language", "campaigns/a.ja.md", "---\nsubject: あ\n---\nOne", "campaigns/a.ja.md is new"},
	} {
		now := freezeAll(t, files(append(append([]string{}, base...), c.file, c.content)...), "a")
		if now.Hash() == old.Hash() {
			t.Errorf("%s: the hash is the same", c.name)
		}
		if d := strings.Join(Diff(old, now), "\n"); !strings.Contains(d, c.want) {
			t.Errorf("%s: got %s", c.name, d)
		}
	}
}

// Whatever makes the hash differ, Diff has words for.
func TestDiffNamesEveryDifference(t *testing.T) {
	old := freezeAll(t, files("campaigns/a.md", "---\nsubject: x\n---\nOne"), "a")
	for _, change := range []func(c *Content){
		func(c *Content) { c.Sender.From = "x@example.com" },
		func(c *Content) { c.Sender.ReplyTo = "x@example.com" },
		func(c *Content) { c.Sender.Organization = "x" },
		func(c *Content) { c.Sender.PostalAddress = "x" },
		func(c *Content) { c.Timezone = "Asia/Tokyo" },
		func(c *Content) { c.LanguageField = "x" },
		func(c *Content) { c.DefaultLanguage = "x" },
		func(c *Content) { c.Variants[0].Lang = "ja" },
		func(c *Content) { c.Variants[0].Format = "html" },
		func(c *Content) { c.Variants[0].HTMLLayout = nil },
		func(c *Content) { c.Variants[0].Front.Headers = Headers{{"X-A", "b"}} },
		func(c *Content) { c.Variants[0].Front.ToName = "x" },
		func(c *Content) { c.Variants[0].Front.Text = "x" },
		func(c *Content) { c.Variants[0].Embed = []File{{"a.png", nil}} },
		func(c *Content) { c.Variants = nil },
	} {
		text, err := old.Encode()
		if err != nil {
			t.Fatal(err)
		}
		now, err := Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		change(&now)
		if now.Hash() == old.Hash() || len(Diff(old, now)) == 0 {
			t.Errorf("not seen: hash same %v, diff %v", now.Hash() == old.Hash(), Diff(old, now))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(simple))
	f.Add([]byte("---\nsubject: \"{{.x}}\"\nheaders: {X-A: b}\nattach: [a]\n---\n{{if .x}}"))
	f.Add([]byte("---\n- a\n---\n"))
	f.Add([]byte("---\n&a: *a\n---\n"))
	f.Add([]byte("---\nsubject: |\n  a\n...\n---\n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		d, err := Parse("campaigns/a.md", source)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "campaigns/a.md") {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		if d.Front.Subject == "" || strings.Contains(d.Body, "\r") || d.BodyLine < 3 {
			t.Errorf("accepted: %+v", d)
		}
	})
}

// A .txt file without front matter beside a .md or .html file is its text part.
func TestOwnTextPart(t *testing.T) {
	ws := files("campaigns/a.ja.md", simple, "campaigns/a.ja.txt", "本文\r\n", "campaigns/a.en.md", simple, "campaigns/b.txt", simple,
		"campaigns/c.md", simple, "campaigns/c.txt", simple, "campaigns/d.md", "---\nsubject: x\ntext: y\n---\n", "campaigns/d.txt", "z")
	c, err := Load(ws, "a")
	if err != nil || len(c.Variants) != 2 || c.Variants[0].TextBody != "" || c.Variants[1].TextBody != "本文\n" || c.Variants[1].TextPath != "campaigns/a.ja.txt" {
		t.Errorf("%v %+v", err, c)
	}
	if c, err := Load(ws, "campaigns/a.ja.txt"); err != nil || c.ID != "a" {
		t.Errorf("by the path of the text: %v", err)
	}
	if c, err := Load(ws, "b"); err != nil || c.Format != Text || c.TextBody != "" {
		t.Errorf("a campaign of text: %v %+v", err, c)
	}
	for name, want := range map[string]string{"c": "has the same name as", "d": "campaigns/d.md:3: there is a text part here and in campaigns/d.txt"} {
		if _, err := Load(ws, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Partials freeze with the campaign; those that came with mailer are no edit.
func TestPartialsFreeze(t *testing.T) {
	freeze := func(pairs ...string) Content {
		ws := files(append([]string{"campaigns/a.md", "---\nsubject: x\n---\n{{include \"promo\"}} {{- include \"none\"}}"}, pairs...)...)
		c, err := Load(ws, "a")
		if err != nil {
			t.Fatal(err)
		}
		content, err := Freeze(ws, c, Sender{}, "UTC")
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	frozen := freeze("templates/partials/promo.html", "<p>{{include \"inner\"}}", "templates/partials/inner.md", "old")
	var names []string
	for _, p := range frozen.Variants[0].Partials {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "footer inner promo" {
		t.Errorf("frozen: %s", got)
	}
	before := frozen
	before.Variants = []Variant{frozen.Variants[0]}
	before.Variants[0].Partials = frozen.Variants[0].Partials[1:] // as a version without a footer partial froze it
	if before.Hash() != frozen.Hash() || len(Diff(before, frozen)) > 0 {
		t.Errorf("a partial of mailer's own counts: %v", Diff(before, frozen))
	}
	for _, c := range []struct {
		now  Content
		want string
	}{
		{freeze("templates/partials/promo.html", "<p>{{include \"inner\"}}", "templates/partials/inner.md", "new"), `templates/partials/inner.md:1: the line was "old", is now "new"`},
		{freeze("templates/partials/promo.html", "<p>"), "the partial inner is gone"},
		{freeze("templates/partials/promo.html", "<p>{{include \"inner\"}}", "templates/partials/inner.md", "old", "templates/partials/footer.html", "F"), "the partial footer is new"},
	} {
		if got := strings.Join(Diff(frozen, c.now), "\n"); !strings.Contains(got, c.want) || c.now.Hash() == frozen.Hash() {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestIdentities(t *testing.T) {
	s := Sender{From: "News <news@example.com>", ReplyTo: "info@example.com", Organization: "Example", PostalAddress: "Tokyo", Identities: map[string]Sender{
		"shop": {From: "Shop <shop@example.com>", Organization: "Shop Ltd."}, "second": {From: "Also <news@example.com>"}}}
	freeze := func(from string) (Content, error) {
		ws := files("campaigns/a.ja.md", "---\nsubject: x\n---\n", "campaigns/a.en.md", "---\nsubject: x\nfrom: "+from+"\n---\n")
		c, err := Load(ws, "a")
		if err != nil {
			t.Fatal(err)
		}
		return Freeze(ws, c, s, "UTC")
	}
	c, err := freeze("shop")
	if err != nil || c.Variants[1].Sender != nil {
		t.Fatalf("%v %+v", err, c.Variants)
	}
	if v := c.Variants[0]; v.Front.From != "Shop <shop@example.com>" || v.Sender.Organization != "Shop Ltd." || v.Sender.PostalAddress != "Tokyo" || v.Sender.ReplyTo != "" {
		t.Errorf("shop: %+v %+v", v.Front, v.Sender)
	}
	if c, err := freeze("second"); err != nil || c.Variants[0].Sender.ReplyTo != "info@example.com" {
		t.Errorf("second: %v", err)
	}
	if c, err := freeze("Any <any@example.com>"); err != nil || c.Variants[0].Sender != nil || c.Variants[0].Front.From != "Any <any@example.com>" {
		t.Errorf("an address: %v", err)
	}
	if _, err := freeze("shpo"); err == nil || !strings.Contains(err.Error(), `campaigns/a.en.md:3: from "shpo" is no address and no identity`) || !strings.Contains(err.Error(), `did you mean "shop"?`) {
		t.Errorf("unknown: %v", err)
	}
	s.Identities["shop"] = Sender{From: "Shop <shop@example.com>", Organization: "Shop Inc."}
	now, _ := freeze("shop")
	if d := Diff(c, now); len(d) != 1 || !strings.Contains(d[0], "organization") || c.Hash() == now.Hash() {
		t.Errorf("%v", d)
	}
}
