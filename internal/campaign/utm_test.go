package campaign

import (
	"strings"
	"testing"
)

// A campaign that was frozen before there was a utm: key keeps its hash: it would be refused as changed.
func TestUTMIsNotInContentWithout(t *testing.T) {
	d, err := Parse("a.md", []byte("---\nsubject: x\nutm: {source: news, hosts: [shop.example.net]}\n---\n"))
	if err != nil || d.Front.UTM.Source != "news" || len(d.Front.UTM.Hosts) != 1 {
		t.Fatalf("%+v %v", d.Front.UTM, err)
	}
	with := Content{Variants: []Variant{{Document: d}}}
	if diff := Diff(Content{Variants: []Variant{{}}}, with); len(diff) == 0 || !strings.Contains(strings.Join(diff, "\n"), "a.md: utm was") {
		t.Errorf("%q", diff)
	}
	for _, utm := range []UTM{d.Front.UTM, {}} {
		text, err := Content{Variants: []Variant{{Document: Document{Front: Front{UTM: utm}}}}}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if has := strings.Contains(text, "utm"); has != (utm.Source != "") {
			t.Error(text)
		}
		if back, err := Decode(text); err != nil || back.Variants[0].Front.UTM.Source != utm.Source {
			t.Errorf("%+v %v", back, err)
		}
	}
}
