package message

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailer/internal/campaign"
	"mailer/templates"
)

// Every example of the manual's tables gives what stands beside it.
func TestHelpExamples(t *testing.T) {
	values := map[string]string{"first_name": "Hanako", "joined": "2025-04-01", "ends": "2026-12-04", "points": "1234", "price": "1980", "tags": "go; sql",
		"氏名": "山田　花子", "会社名": "例社"}
	row := regexp.MustCompile("^\\| `(.*)` \\| (.*) \\|$")
	lang, n := "", 0
	for line := range strings.Lines(Help) {
		switch line = strings.TrimSpace(line); line {
		case "| you write | English readers see |":
			lang = "en"
		case "| you write | Japanese readers see |":
			lang = "ja"
		case "":
			lang = ""
		}
		m := row.FindStringSubmatch(line)
		if lang == "" || m == nil {
			continue
		}
		n++
		tmpl, err := compileFS(workspace("a.txt", "---\nsubject: x\nlayout: none\nlang: "+lang+"\n---\n"+m[1]), "a")
		if err != nil {
			t.Errorf("%s: %v", m[1], err)
			continue
		}
		got, err := tmpl.Render(Recipient{"hanako@example.com", values}, mark)
		if err != nil || strings.TrimSpace(got.Text) != m[2] {
			t.Errorf("%s: got %q, %v, the manual says %q", m[1], got.Text, err, m[2])
		}
	}
	if n < 25 {
		t.Errorf("only %d examples were found", n)
	}
}

func TestHelpIsComplete(t *testing.T) {
	for name := range newProgram("en", "", time.UTC).public {
		if !regexp.MustCompile("\\b" + name + "\\b").MatchString(Help) {
			t.Errorf("the function %s is not in the manual", name)
		}
	}
	front := reflect.TypeFor[campaign.Front]()
	for i := range front.NumField() {
		if key := front.Field(i).Tag.Get("yaml"); !strings.Contains(Help, "`"+key+"`") {
			t.Errorf("the key %s is not in the manual", key)
		}
	}
	entries, err := templates.FS.ReadDir("layouts")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := strings.Split(e.Name(), ".")[0]; !strings.Contains(Help, "`"+name+"`") {
			t.Errorf("the layout %s is not in the manual", name)
		}
	}
}
