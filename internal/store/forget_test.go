package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailer/internal/bounce"
)

// everything is all tables as text.
func everything(t *testing.T, s *Store) string {
	t.Helper()
	var all strings.Builder
	var tables []string
	if err := eachString(t.Context(), s.read, func(name string) { tables = append(tables, name) }, "SELECT name FROM sqlite_master WHERE type = 'table'"); err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		all.WriteString(table + ": " + dump(t, s, table))
	}
	return all.String()
}

// A forgotten person stands nowhere: not in what others' rows say, not in the audit, not in the bytes of the files.
func TestForgetLeavesNothing(t *testing.T) {
	s, _ := openTest(t)
	ctx := t.Context()
	put(t, s, ImportSpec{Columns: columns("name"), List: "l"}, row(2, 1, "Secretname"), row(3, 2, "other"))
	for _, name := range []string{"Secretname the second of that name", "Secretname"} {
		put(t, s, ImportSpec{Columns: columns("name")}, row(2, 1, name))
	}
	const other = "p2@example.jp"
	exec(t, s, "INSERT INTO campaigns (name, class, content_hash, content, segment, state, created_at, expires_at) VALUES ('named', 'marketing', '', '', 'email == \"P1@example.jp\"', 'finished', 1, 1), ('c', 'marketing', '', '', '', 'finished', 1, 1)")
	exec(t, s, "INSERT INTO deliveries (id, campaign, contact, key, address, domain, state, reply, updated_at) VALUES (1, 2, 1, 'p1@example.jp', 'P1@example.jp', 'example.jp', 'accepted', 'ok', 1), (2, 2, 2, 'p2@example.jp', 'p2@example.jp', 'example.jp', 'accepted', 'forwarded to <P1@Example.jp>', 1)")
	raw, err := deflate([]byte("To: P1@example.jp\r\n\r\nSecretname"))
	if err != nil {
		t.Fatal(err)
	}
	exec(t, s, "INSERT INTO bounces (source, digest, raw, kind, verdict, read_at) VALUES ('m', 'd', ?, 'bounce', '{\"Kind\":\"bounce\",\"Bounces\":[{\"Recipient\":\"p1@example.jp\"}]}', 1)", raw)
	if _, err := s.AddSuppressions(ctx, []Suppression{{Scope: "address", Key: "p1@example.jp", Blocks: "all", Reason: "manual", Evidence: "Secretname called"}}, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RemoveSuppression(ctx, "address", "p1@example.jp", "", "Secretname called again"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddSuppressions(ctx, []Suppression{{Scope: "address", Key: other, Blocks: "all", Reason: "manual", Evidence: "said p1@example.jp"}}, "test"); err != nil {
		t.Fatal(err)
	}
	copied := s.path + ".schema0-20260101T000000"
	if err := os.WriteFile(copied, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	gone, err := s.ForgetContact(ctx, "p1@example.jp")
	if err != nil {
		t.Fatal(err)
	}
	if gone.Mentions < 4 || gone.Log || len(gone.Campaigns) != 1 || gone.Campaigns[0] != "named" || len(gone.Copies) != 1 || gone.Copies[0] != copied {
		t.Errorf("%+v", gone)
	}
	exec(t, s, "UPDATE campaigns SET segment = ''") // what is told and stays
	if text := strings.ToLower(everything(t, s)); strings.Contains(text, "p1@example.jp") || strings.Contains(text, "secretname") {
		t.Errorf("left:\n%s", text)
	}
	if got := dump(t, s, "deliveries"); !strings.Contains(got, "forwarded to <"+erasedAddress+">") || !strings.Contains(got, "|"+other+"|"+other+"|example.jp|") {
		t.Errorf("the other's delivery: %s", got)
	}
	if _, err := s.BounceMail(ctx, 1); err == nil || !strings.Contains(err.Error(), "was erased") {
		t.Errorf("the mail: %v", err)
	}
	if again, err := s.ForgetContact(ctx, "p1@example.jp"); err != nil || again.Contacts+again.Mentions+again.Deliveries > 0 {
		t.Errorf("forgotten twice: %+v, %v", again, err)
	}
	if err := s.Vacuum(ctx); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{s.path, s.path + "-wal"} {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.ToLower(string(raw)); strings.Contains(text, "p1@example.jp") || strings.Contains(text, "secretname") {
			t.Errorf("%s still holds the person", filepath.Base(file))
		}
	}
}

// Bounces of mail that was sent before come in after the person was forgotten: they count, and say nothing.
func TestBounceOfAForgottenPerson(t *testing.T) {
	s, _ := openTest(t)
	put(t, s, ImportSpec{Columns: columns("name")}, row(2, 1, "x"))
	exec(t, s, "INSERT INTO campaigns (name, class, content_hash, content, state, created_at, expires_at) VALUES ('c', 'marketing', '', '', 'finished', 1, 1)")
	exec(t, s, "INSERT INTO deliveries (id, campaign, contact, key, address, domain, state, updated_at) VALUES (1, 1, 1, 'p1@example.jp', 'p1@example.jp', 'example.jp', 'accepted', 1)")
	if _, err := s.ForgetContact(t.Context(), "p1@example.jp"); err != nil {
		t.Fatal(err)
	}
	m := ReadMail{Source: "m", Digest: "d", Raw: []byte("p1@example.jp"), Delivery: 1, MatchedBy: "return_path", Verdict: bounce.Verdict{
		Kind: bounce.KindBounce, Bounces: []bounce.Recipient{{Recipient: "p1@example.jp", Action: bounce.ActionFailed, Hard: true, Reason: "userunknown", Text: "no p1@example.jp here"}}}}
	r, err := s.RecordMail(t.Context(), m)
	if err != nil || !r.Matched || r.Event != "bounce" {
		t.Fatalf("%+v, %v", r, err)
	}
	if text := everything(t, s); strings.Contains(text, "p1@example.jp") {
		t.Errorf("left:\n%s", text)
	}
	if got := dump(t, s, "deliveries"); !strings.Contains(got, "|bounced|") {
		t.Errorf("the delivery: %s", got)
	}
}

// A domain that many are mailed at stays for the reports; one of a person's own goes.
func TestForgetOfADomainOfOnesOwn(t *testing.T) {
	s, _ := openTest(t)
	exec(t, s, "INSERT INTO campaigns (name, class, content_hash, content, state, created_at, expires_at) VALUES ('c', 'marketing', '', '', 'finished', 1, 1)")
	for i := range manyHave + 1 {
		exec(t, s, "INSERT INTO deliveries (campaign, key, address, domain, state, updated_at) VALUES (1, ?, '', 'big.example', 'accepted', 1)", string(rune('a'+i))+"@big.example")
	}
	exec(t, s, "INSERT INTO deliveries (campaign, key, address, domain, state, updated_at) VALUES (1, 'me@secret.example', '', 'secret.example', 'accepted', 1)")
	for _, key := range []string{"a@big.example", "me@secret.example"} {
		if _, err := s.ForgetContact(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if got := dump(t, s, "deliveries"); strings.Contains(got, "secret.example") || strings.Count(got, "|big.example|") != manyHave+1 {
		t.Errorf("%s", got)
	}
}

func TestSpellings(t *testing.T) {
	find := spellings("a..b&c@docomo.ne.jp")
	for _, text := range []string{"A..B&C@docomo.ne.jp", `"a..b&c"@docomo.ne.jp`, `{"x":"\"a..b\u0026c\"@docomo.ne.jp"}`} {
		if got := find.ReplaceAllLiteralString(text, "X"); strings.Contains(got, "docomo") {
			t.Errorf("%s becomes %s", text, got)
		}
	}
	if find.MatchString("axxb&c@docomo.ne.jp") {
		t.Error("a dot matched something else")
	}
}
