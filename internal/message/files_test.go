package message

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"mailer/internal/campaign"
)

func TestFilesOfARecipient(t *testing.T) {
	ws := workspace("a.md", "---\nsubject: x\nattach: [files/common.pdf, 'invoices/{{.number}}.pdf', '{{if has \"extra\"}}more/{{.extra}}{{end}}']\n---\nx",
		"files/common.pdf", "common", "invoices/17.pdf", "seventeen", "more/価格.txt", "more", "mailer.yaml", "secret", "invoices/sub/x.pdf", "sub")
	tmpl, err := compileFS(ws, "a")
	if err != nil {
		t.Fatal(err)
	}
	if tmpl.documents[0].skeleton == nil {
		t.Error("it is composed afresh")
	}
	for _, c := range []struct {
		number, extra, files, err string
	}{
		{"17", "", "common.pdf=common 17.pdf=seventeen", ""},
		{"17", "価格.txt", "common.pdf=common 17.pdf=seventeen 価格.txt=more", ""},
		{"sub/x", "", "common.pdf=common x.pdf=sub", ""},
		{"18", "", "", `attach invoices/{{.number}}.pdf: there is no such file for the contact`},
		{"17", "../mailer.yaml", "", "lead out of the folder"},
		{"17", "./価格.txt", "", "lead out of the folder"},
		{"17", `..\mailer.yaml`, "", "lead out of the folder"},
		{"17", "/", "", "lead out of the folder"},
		{"", "", "", `no "number"`},
		{"sub", "", "", "there is no such file"},
	} {
		r := Recipient{"taro@example.jp", map[string]string{"number": c.number, "extra": c.extra}}
		m, err := tmpl.Render(r, mark)
		_, checked := tmpl.check(r, mark)
		if c.err != "" {
			var e *RenderError
			if err == nil || checked == nil || !errors.As(err, &e) || !strings.Contains(err.Error(), c.err) || err.Error() != checked.Error() || e.Line != 3 {
				t.Errorf("%s %s: %v, checked: %v", c.number, c.extra, err, checked)
			}
			continue
		}
		if err != nil || checked != nil {
			t.Errorf("%s %s: %v, checked: %v", c.number, c.extra, err, checked)
			continue
		}
		checkBytes(t, m.Raw)
		_, kinds, leaves := readStd(t, m.Raw)
		var got []string
		for _, l := range leaves {
			if l.filename != "" {
				got = append(got, l.filename+"="+l.body)
			}
		}
		if strings.Join(got, " ") != c.files || kinds[0] != "multipart/mixed" {
			t.Errorf("%s %s: %s %v", c.number, c.extra, got, kinds)
		}
	}
	p := NewPreflight(tmpl, Facts{})
	for _, number := range []string{"18", "19"} {
		p.Enter(p.Look(Recipient{number + "@example.jp", map[string]string{"number": number}}, mark))
	}
	if f := p.Findings()[0]; f.Rule != RuleAttachment || f.Count != 2 || f.Level != LevelError {
		t.Errorf("%+v", p.Findings())
	}
}

// A path that begins with a value could name any file.
func TestAPathBeginsWithAFolder(t *testing.T) {
	for _, p := range []string{"{{.file}}", "{{.a}}/x.pdf", "x{{.a}}.pdf", "/etc/{{.a}}", "../up/{{.a}}", "./{{.a}}"} {
		if _, err := compileFS(workspace("a.md", "---\nsubject: x\nattach: '"+p+"'\n---\nx"), "a"); err == nil || !strings.Contains(err.Error(), "folder") || !strings.Contains(err.Error(), "a.md:3") {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestFilesThatAreTooLarge(t *testing.T) {
	ws := workspace("a.md", "---\nsubject: x\nattach: 'f/{{.n}}'\n---\nx").(fstest.MapFS)
	ws["f/1"] = &fstest.MapFile{Data: make([]byte, campaign.MaxFiles+1)}
	tmpl, err := compileFS(ws, "a")
	if err != nil {
		t.Fatal(err)
	}
	r := Recipient{"taro@example.jp", map[string]string{"n": "1"}}
	_, err = tmpl.Render(r, mark)
	if _, checked := tmpl.check(r, mark); err == nil || checked == nil || !strings.Contains(err.Error(), "more than 25 MB") || err.Error() != checked.Error() {
		t.Errorf("%v, checked: %v", err, checked)
	}
}

// An attachment is encoded once for all, not once a recipient.
func TestAttachmentsAreShared(t *testing.T) {
	ws := workspace("a.md", "---\nsubject: x {{.n}}\nattach: [f/a.bin, 'f/{{lang}}.bin']\n---\nx {{.n}}", "f/a.bin", strings.Repeat("\x00", 5<<20), "f/en.bin", strings.Repeat("\x01", 1<<20))
	tmpl, err := compileFS(ws, "a")
	if err != nil {
		t.Fatal(err)
	}
	d := tmpl.documents[0]
	first := render(t, tmpl, map[string]string{"n": "1"})
	one, err := d.ownFiles(&tmpl.files, []string{"f/en.bin"})
	if err != nil {
		t.Fatal(err)
	}
	two, err := d.ownFiles(&tmpl.files, []string{"f/en.bin"})
	if err != nil || one[0] != two[0] {
		t.Error("the recipient's file was encoded again")
	}
	allocated := math.Inf(1)
	for range 10 { // the race detector makes a sync.Pool forget now and then
		allocated = min(allocated, testing.AllocsPerRun(1, func() { render(t, tmpl, map[string]string{"n": "2"}) }))
	}
	if !bytes.HasSuffix(first.Raw, []byte("--\r\n")) || allocated > 20 {
		t.Errorf("%v allocations", allocated)
	}
}
