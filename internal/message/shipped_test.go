package message

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"mailer/internal/campaign"
	"mailer/templates"
)

// shippedLayouts are the layouts of mailer's own.
func shippedLayouts(t testing.TB) (names []string) {
	t.Helper()
	files, err := campaign.TemplateFiles(os.DirFS(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Kind == "layout" && strings.HasSuffix(f.File, ".html") {
			names = append(names, f.Name)
		}
	}
	if len(names) < 5 {
		t.Fatalf("layouts: %v", names)
	}
	return names
}

// Every layout of ours, in every language it knows, is slots and constants alone, and the same bytes as the plain way: a
// function or a partial that the plan does not know would cost every recipient the template package.
func TestShippedLayoutsAreSlotsAlone(t *testing.T) {
	starter, err := templates.Starter.ReadFile("starter/campaigns/hello.md")
	if err != nil {
		t.Fatal(err)
	}
	r := Recipient{"hanako@example.com", map[string]string{"first_name": "Hanako", "last_name": "山田", "city": "Tokyo", "joined": "2025-04-01", "points": "1200"}}
	for _, layout := range shippedLayouts(t) {
		for _, lang := range []string{"en", "ja", "de", "ar", "ko", "xx"} {
			for _, class := range []string{campaign.Marketing, campaign.Operational} {
				text := strings.Replace(string(starter), "layout: newsletter", fmt.Sprintf("layout: %s\nlang: %s\nclass: %s", layout, lang, class), 1)
				if !strings.Contains(text, "class:") {
					t.Fatal("the starter names no layout")
				}
				text += "\n{{sama .last_name}}: {{number .points}} {{plural \"point\" \"points\" .points}}{{if ge .points 100}}, {{currency \"JPY\" .points}}{{end}} until {{date \"long\" .now}}\n"
				tmpl, err := compileFS(workspace("a.md", text), "a")
				if err != nil {
					t.Fatalf("%s %s %s: %v", layout, lang, class, err)
				}
				d := tmpl.documents[0]
				if d.skeleton == nil || d.skeleton.runs {
					t.Errorf("%s %s %s: the template package is needed", layout, lang, class)
				}
				for _, url := range []string{"", "https://example.com/u/x"} {
					m := mark
					m.UnsubscribeURL = url
					want, err := tmpl.plain(d, r, m)
					if err != nil {
						t.Fatal(err)
					}
					got, err := tmpl.Render(r, m)
					if err != nil || !bytes.Equal(got.Raw, want.Raw) {
						t.Errorf("%s %s %s: other bytes than the plain way, %v", layout, lang, class, err)
					}
				}
			}
		}
	}
}

// Links are changed when a campaign is compiled, in every layout, and never again; what preview shows is what is sent.
func TestShippedLayoutsRewriteLinksOnce(t *testing.T) {
	for _, layout := range shippedLayouts(t) {
		ws := workspace("a.md", "---\nsubject: x\nlayout: "+layout+"\nutm: {source: news}\n---\n[one](https://www.example.com/1?a={{.a}}#f), [two](https://elsewhere.example/2)")
		c, err := campaign.Load(ws, "a")
		if err != nil {
			t.Fatal(err)
		}
		content, err := campaign.Freeze(ws, c, sender, "Asia/Tokyo")
		if err != nil {
			t.Fatal(err)
		}
		asked := map[string]int{}
		tmpl, err := Compile(content, nil, func(l Link) string {
			asked[l.Part+" "+l.URL]++
			return l.URL
		})
		if err != nil {
			t.Fatal(err)
		}
		const one = "https://www.example.com/1?a={{.a}}&utm_source=news&utm_medium=email&utm_campaign=a#f"
		for range 3 {
			r := Recipient{"taro@example.jp", map[string]string{"a": "1 2"}}
			shown, err := tmpl.Render(r, mark)
			if err != nil {
				t.Fatal(err)
			}
			sent, err := tmpl.Compose(r, mark)
			if err != nil || !bytes.Equal(shown.Raw, sent.Raw) {
				t.Errorf("%s: preview and send differ, %v", layout, err)
			}
			if n := strings.Count(shown.HTML+shown.Text, "utm_source=news"); n != 2 {
				t.Errorf("%s: %d links with parameters", layout, n)
			}
		}
		for _, key := range []string{"html " + one, "text " + one, "html https://elsewhere.example/2", "text https://elsewhere.example/2"} {
			if asked[key] != 1 {
				t.Errorf("%s: asked %d times about %s: %v", layout, asked[key], key, asked)
			}
		}
	}
}

// text/template names a place by the text of a node's tree, and panics where that ends before the place: in a body longer
// than its layout, and in the trees that html/template makes for a template in an attribute.
func TestErrorsFarBehind(t *testing.T) {
	for _, action := range []string{"{{.no}}", "{{sei (default 5 .no)}}", "{{range .list}}{{$.no}}{{end}}", `<a title="{{template "part" .}}">x</a>`, `<a title="{{include "promo"}}">x</a>`, "{{relative .a}}"} {
		ws := workspace("a.html", "---\nsubject: x\n---\n<p>"+strings.Repeat("words ", 5000)+`{{define "part"}}{{.no}}{{end}}`+action, "templates/partials/promo.html", strings.Repeat(" ", 40000)+"{{.no}}")
		tmpl, err := compileFS(ws, "a")
		if err != nil {
			t.Fatalf("%s: %v", action, err)
		}
		if _, err := tmpl.Render(Recipient{"taro@example.jp", map[string]string{"a": "x", "list": "1,2"}}, mark); err == nil {
			t.Errorf("%s: no error", action)
		}
	}
}
