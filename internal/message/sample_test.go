package message

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"mailer/internal/campaign"
)

func TestSample(t *testing.T) {
	tmpl, err := compileFS(workspace("a.en.md", "---\nsubject: x\ndefault_language: en\n---\n{{.name}} {{if .city}}{{.city}}{{end}}", "a.ja.md", "---\nsubject: x\ndefault_language: en\n---\n{{.name}}"), "a")
	if err != nil {
		t.Fatal(err)
	}
	if f := tmpl.Fields(); !slices.Equal(f, []string{"city", "name"}) {
		t.Error(f)
	}
	s := tmpl.Sampler()
	for _, r := range []Recipient{
		{"a@example.com", map[string]string{"name": "A", "city": "Oslo"}},
		{"b@example.com", map[string]string{"name": "B", "city": "Rome"}},
		{"c@Example.net", map[string]string{"name": "C", "lang": "ja", "city": "東京都千代田区"}},
		{"d@example.org", map[string]string{"city": "Bonn"}},
		{"e@example.com", map[string]string{"name": "A longer name"}},
	} {
		s.Add(r)
	}
	got := ""
	for _, p := range s.Picks(10) {
		got += fmt.Sprintf("%s: %s\n", p.Address, strings.Join(p.Why, ", "))
	}
	want := "a@example.com: the first, language en, at example.com\n" +
		"c@Example.net: language ja, longest city, at example.net\n" +
		"e@example.com: no city, longest name\n" +
		"d@example.org: no name, at example.org\n" +
		"b@example.com: one more\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if p := s.Picks(2); len(p) != 2 || p[1].Address != "c@Example.net" {
		t.Errorf("%v", p)
	}
}

func TestPageHasPicturesAndCharset(t *testing.T) {
	picture := "\x89PNG picture"
	c, err := campaign.Load(workspace("a.md", "---\nsubject: x\nlayout: none\nembed: logo.png\nattach: logo.png\n---\n![日本](cid:logo.png)"), "a")
	if err != nil {
		t.Fatal(err)
	}
	content, err := campaign.Freeze(fstest.MapFS{"logo.png": &fstest.MapFile{Data: []byte(picture)}}, c, sender, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := Compile(content, nil)
	if err != nil {
		t.Fatal(err)
	}
	page := render(t, tmpl, nil).Page()
	if !strings.HasPrefix(page, `<meta charset="utf-8">`) || !strings.Contains(page, `src="data:image/png;base64,`+base64.StdEncoding.EncodeToString([]byte(picture))+`"`) {
		t.Error(page)
	}
}
