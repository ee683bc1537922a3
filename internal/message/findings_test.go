package message

import (
	"fmt"
	"strings"
	"testing"

	"mailer/internal/campaign"
)

func preflight(t *testing.T, name, front, body string, facts Facts, recipients ...Recipient) []Finding {
	t.Helper()
	p := NewPreflight(compileFile(t, name, front, body), facts)
	for _, r := range recipients {
		p.Enter(p.Look(r, mark))
	}
	return p.Findings()
}

func TestFindings(t *testing.T) {
	some := Recipient{"a@example.jp", map[string]string{"name": "A", "link": "javascript:x"}}
	for _, c := range []struct{ name, file, front, body, rule, level, want string }{
		{"missing field", "a.md", "subject: x", "\n{{.nope}}", RuleMissingField, LevelError, `campaigns/a.md:5:3: the contact has no "nope"`},
		{"template", "a.md", "subject: x", `{{date "2006" .name}}`, RuleTemplate, LevelError, "is no date"},
		{"unsubscribe in html", "a.html", "subject: x\ntext: '{{.unsubscribe_url}} Example Inc. 1-1 Chiyoda, Tokyo'\nlayout: none", "<p>Example Inc. 1-1 Chiyoda, Tokyo", RuleUnsubscribe, LevelError, "the HTML part has no unsubscribe link"},
		{"unsubscribe in text", "a.txt", "subject: x\nlayout: none", "Example Inc. 1-1 Chiyoda, Tokyo", RuleUnsubscribe, LevelError, "the text part has no unsubscribe address"},
		{"sender", "a.txt", "subject: x\nlayout: none", "{{.unsubscribe_url}} 1-1 Chiyoda, Tokyo", RuleSender, LevelError, "does not show the sender's organization"},
		{"postal address", "a.txt", "subject: x\nlayout: none", "{{.unsubscribe_url}} Example Inc.", RulePostalAddress, LevelError, "does not show the postal address"},
		{"empty subject", "a.md", "subject: '{{default \"\" .nope}}'", "x", RuleEmptySubject, LevelError, "the subject is empty"},
		{"empty body", "a.md", "subject: x", " \n", RuleEmptyBody, LevelError, "no text below the front matter"},
		{"long subject", "a.md", "subject: " + strings.Repeat("長い件名", 10), "x", RuleSubject, LevelWarning, "wider than 60 columns"},
		{"reply", "a.md", "subject: 'Re: your order'", "x", RuleReply, LevelWarning, "looks like a reply"},
		{"mark", "a.md", "subject: 未承諾広告※ x", "x", RuleMark, LevelWarning, "未承諾広告"},
		{"size", "a.md", "subject: x", strings.Repeat("word ", 22000), RuleSize, LevelWarning, "Gmail cuts"},
		{"leftover", "a.md", "subject: x", `{{"{{"}}.name}}`, RuleLeftover, LevelWarning, "template text"},
		{"link", "a.md", "subject: x", "[x]({{.link}})", RuleLink, LevelWarning, "cannot be a link"},
		{"alt", "a.md", "subject: x", `<img src="https://example.com/x.png">`, RuleAlt, LevelWarning, "no alt text"},
		{"dkim", "a.md", "subject: x", "x", RuleDKIM, LevelWarning, "no DKIM key signs mail from example.com"},
		{"bounce mailbox", "a.md", "subject: x", "x", RuleBounceMailbox, LevelWarning, "no bounce mailbox"},
		{"unknown field", "a.md", "subject: x", "{{if .nmae}}x{{end}}", RuleMissingField, LevelError, `campaigns/a.md:4:6: no contact has a field "nmae"; did you mean "name"?`},
	} {
		found := preflight(t, c.file, c.front, c.body, Facts{Fields: []string{"name", "link"}}, some)
		ok := false
		for _, f := range found {
			ok = ok || f.Rule == c.rule && f.Level == c.level && strings.Contains(f.Text(), c.want)
		}
		if !ok {
			t.Errorf("%s: %+v", c.name, found)
		}
	}
}

// cid: has a file's name without its folder.
func TestEmbeddedFilesOfOneName(t *testing.T) {
	tmpl, err := compileFS(workspace("a.md", "---\nsubject: x\nembed: [f/logo.png, g/logo.png]\n---\n![x](cid:logo.png)", "f/logo.png", "1", "g/logo.png", "2"), "a")
	if err != nil {
		t.Fatal(err)
	}
	if f := NewPreflight(tmpl, Facts{}).Findings()[0]; f.Rule != RuleAttachment || f.Level != LevelError || !strings.Contains(f.Text(), "two files of embed: are called logo.png: cid:logo.png") {
		t.Errorf("%+v", f)
	}
}

// A campaign as it should be gives no finding at all.
func TestNoFindings(t *testing.T) {
	key, _ := testKeys(t)
	tmpl, err := compileFS(workspace("a.md", "---\nsubject: '{{.name}}'\n---\n# Hi\n\n{{with .sender}}{{.name}}{{end}} {{field \"campaign\"}}"), "a", Signer{"example.com", "s", key})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPreflight(tmpl, Facts{Fields: []string{"name", "campaign"}, BounceMailbox: true})
	p.Enter(p.Look(Recipient{"a@example.jp", map[string]string{"name": "A", "campaign": "c"}}, mark))
	if f := p.Findings(); len(f) > 0 {
		t.Errorf("%+v", f)
	}
}

func TestOperationalMailNeedsNoUnsubscribe(t *testing.T) {
	for _, f := range preflight(t, "a.md", "subject: x\nclass: operational\nlayout: none", "x", Facts{BounceMailbox: true}, Recipient{"a@example.jp", nil}) {
		if f.Rule != RuleDKIM {
			t.Errorf("%+v", f)
		}
	}
}

func TestNoWayToUnsubscribe(t *testing.T) {
	p := NewPreflight(compileFile(t, "a.md", "subject: x", "x"), Facts{})
	m := mark
	m.UnsubscribeMailto = ""
	p.Enter(p.Look(Recipient{"a@example.jp", nil}, m))
	if f := p.Findings(); f[0].Rule != RuleUnsubscribe || f[0].Level != LevelError {
		t.Errorf("%+v", f)
	}
}

func TestSenderIsNotConfigured(t *testing.T) {
	ws := workspace("a.md", "---\nsubject: x\n---\nx")
	c, err := campaign.Load(ws, "a")
	if err != nil {
		t.Fatal(err)
	}
	content, err := campaign.Freeze(ws, c, campaign.Sender{From: "a@example.com"}, "UTC")
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := Compile(content, nil)
	if err != nil {
		t.Fatal(err)
	}
	rules := ""
	for _, f := range NewPreflight(tmpl, Facts{BounceMailbox: true}).Findings() {
		rules += f.Rule + ":" + f.Level + " "
	}
	if rules != "sender:error postal_address:error dkim:warning " {
		t.Error(rules)
	}
}

func TestFindingsAreGathered(t *testing.T) {
	var all []Recipient
	for i := range 10 {
		all = append(all, Recipient{fmt.Sprintf("r%d@example.jp", i), nil})
	}
	found := preflight(t, "a.md", "subject: x", "{{.nope}}", Facts{BounceMailbox: true, Levels: map[string]string{RuleDKIM: "off"}}, all...)
	if len(found) != 1 || found[0].Count != 10 || !strings.HasSuffix(found[0].Text(), "(10 contacts: r0@example.jp, r1@example.jp, r2@example.jp, ...)") {
		t.Errorf("%+v", found)
	}
	found = preflight(t, "a.md", "subject: x", "{{.nope}}", Facts{BounceMailbox: true, Levels: map[string]string{RuleDKIM: "error", RuleMissingField: "warn"}}, all...)
	if len(found) != 2 || found[0].Rule != RuleDKIM || found[1].Level != LevelWarning {
		t.Errorf("%+v", found)
	}
}
