package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"mailer/internal/message"
	"mailer/internal/zone"
)

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// keys makes one of each kind, and their records.
func keys(t testing.TB) (rsaKey, edKey crypto.Signer, rsaRecord, edRecord string) {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 1024) // small for speed
	if err != nil {
		t.Fatal(err)
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaRecord, err = message.DNSRecord(r)
	if err == nil {
		edRecord, err = message.DNSRecord(e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r, e, rsaRecord, edRecord
}

func TestRecordsOfOurOwnAreRead(t *testing.T) {
	rsaKey, edKey, rsaRecord, edRecord := keys(t)
	r, err := Parse(rsaRecord)
	if err != nil || r.Kind != "rsa" || r.Bits != 1024 || !r.Matches(rsaKey) || r.Matches(edKey) || len(r.Oddities) > 0 {
		t.Errorf("RSA: %+v, %v", r, err)
	}
	e, err := Parse(edRecord)
	if err != nil || e.Kind != "ed25519" || !e.Matches(edKey) || e.Matches(rsaKey) || len(e.Oddities) > 0 {
		t.Errorf("Ed25519: %+v, %v", e, err)
	}
}

func TestParse(t *testing.T) {
	rsaKey, edKey, good, _ := keys(t)
	p := strings.TrimPrefix(good, "v=DKIM1; k=rsa; p=")
	spki, err := x509.MarshalPKIXPublicKey(edKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := b64(x509.MarshalPKCS1PublicKey(rsaKey.Public().(*rsa.PublicKey)))
	ed := b64(edKey.Public().(ed25519.PublicKey))
	for _, c := range []struct{ name, text, says string }{ // "" is right
		{"plain", good, ""},
		{"no kind", "v=DKIM1; p=" + p, ""},
		{"no version", "p=" + p, ""},
		{"folded", "v=DKIM1 ;\tk = rsa;\r\n p=" + p[:50] + "\r\n " + p[50:] + " ;", ""},
		{"unknown tag", "v=DKIM1; g=*; x=1; p=" + p, ""},
		{"all services", "v=DKIM1; s=*; p=" + p, ""},
		{"several hashes", "v=DKIM1; h=sha1:sha256; p=" + p, ""},
		{"without padding", "v=DKIM1; p=" + strings.TrimRight(p, "="), ""},
		{"pkcs1", "v=DKIM1; p=" + pkcs1, ""},
		{"revoked", "v=DKIM1; p=", ""},
		{"typographic quotes", "“v=DKIM1; p=" + p + "”", "quotation marks"},
		{"quotes", `v=DKIM1; p=` + p[:50] + `" "` + p[50:], "quotation marks"},
		{"backslashes", `v=DKIM1\; p=` + p, "backslashes"},
		{"pem", "v=DKIM1; p=-----BEGIN PUBLIC KEY-----" + p, "BEGIN and END"},
		{"version", "v=DKIM1.1; p=" + p, "v=DKIM1.1"},
		{"version last", "p=" + p + "; v=DKIM1", "not its first tag"},
		{"no semicolon", "v=DKIM1 p=" + p, "semicolon"},
		{"no p", "v=DKIM1; k=rsa", "no p="},
		{"empty", "", "no p="},
		{"words", "hello world", "no tag"},
		{"twice", "v=DKIM1; k=rsa; k=rsa; p=" + p, "twice"},
		{"kind", "v=DKIM1; k=dsa; p=" + p, "k=dsa"},
		{"cut", "v=DKIM1; p=" + p[:100], "cut off"},
		{"bad character", "v=DKIM1; p=" + p[:9] + "-" + p[10:], `"-" at character 10`},
		{"lost character", "v=DKIM1; p=" + p[:9] + p[10:], "base64"},
		{"other data", "v=DKIM1; p=" + b64([]byte("this is no key at all, really")), "no public key"},
		{"ed25519 as rsa", "v=DKIM1; p=" + ed, "does not say k=ed25519"},
		{"ed25519 wrapped", "v=DKIM1; k=ed25519; p=" + b64(spki), "SubjectPublicKeyInfo"},
		{"ed25519 wrapped as rsa", "v=DKIM1; p=" + b64(spki), "not RSA"},
		{"rsa as ed25519", "v=DKIM1; k=ed25519; p=" + p, "RSA key"},
		{"ed25519 short", "v=DKIM1; k=ed25519; p=" + b64([]byte("short")), "32 bytes, this one 5"},
		{"sha1", "v=DKIM1; h=sha1; p=" + p, "h=sha1"},
		{"service", "v=DKIM1; s=tlsrpt; p=" + p, "s=tlsrpt"},
	} {
		k, err := Parse(c.text)
		var bad *Error
		switch {
		case k == nil:
			t.Errorf("%s: no key, %v", c.name, err)
		case c.says == "" && err != nil, c.says != "" && (!errors.As(err, &bad) || !strings.Contains(bad.What, c.says) || bad.Do == ""):
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
	flags, err := Parse("v=DKIM1; t=y:s; n=a note; p=" + p)
	if err != nil || !flags.Test || !flags.Strict || flags.Note != "a note" {
		t.Errorf("flags: %+v, %v", flags, err)
	}
}

// names is a resolver of TXT records.
type names map[string][]string

func (n names) Lookup(_ context.Context, name string, t zone.Type) zone.Answer {
	a := zone.Answer{Name: name, Type: t, State: zone.Missing}
	for _, text := range n[name] {
		if text == "!" {
			return zone.Answer{Name: name, Type: t, Err: errors.New("SERVFAIL")}
		}
		a.State, a.Records = zone.Found, append(a.Records, zone.Record{Text: text})
	}
	return a
}

func TestLookup(t *testing.T) {
	_, _, good, other := keys(t)
	for _, c := range []struct {
		name  string
		dns   names
		stray string
		says  string
	}{
		{"there", names{"s1._domainkey.mail.example.com": {good}}, "", ""},
		{"nowhere", names{}, "", "no such record"},
		{"other text", names{"s1.mail.example.com": {"v=spf1 -all"}}, "", "no such record"},
		{"zone twice", names{"s1._domainkey.mail.example.com.mail.example.com": {good}}, "s1._domainkey.mail.example.com.mail.example.com", "no such record"},
		{"parent zone added", names{"s1._domainkey.mail.example.com.example.com": {good}}, "s1._domainkey.mail.example.com.example.com", "no such record"},
		{"parent", names{"s1._domainkey.example.com": {good}}, "s1._domainkey.example.com", "no such record"},
		{"slip", names{"s1.domainkey.mail.example.com": {good}}, "s1.domainkey.mail.example.com", "no such record"},
		{"two", names{"s1._domainkey.mail.example.com": {good, other}}, "", "2 TXT records"},
		{"pieces", names{"s1._domainkey.mail.example.com": {good[:100], good[100:]}}, "", "cut into 2"},
		{"unknown", names{"s1._domainkey.mail.example.com": {"!"}}, "", ""},
	} {
		p := Lookup(t.Context(), c.dns, "Mail.example.com.", "S1")
		if p.Stray != c.stray || c.says == "" && p.Err != nil || c.says != "" && (p.Err == nil || !strings.Contains(p.Err.Error(), c.says)) {
			t.Errorf("%s: stray %q, %v; want %q, %q", c.name, p.Stray, p.Err, c.stray, c.says)
		}
		if (p.Key == nil) != (c.name == "unknown" || errors.Is(p.Err, ErrNone)) {
			t.Errorf("%s: key %+v", c.name, p.Key)
		}
	}
}

func FuzzParse(f *testing.F) {
	_, _, good, ed := keys(f)
	for _, s := range []string{good, ed, "v=DKIM1; p=", "v=DKIM1; k=ed25519; p=AAAA", "p=MIGf", "v=DKIM1; p=MIIBIjANBg", "v=DKIM1; p=MIIBIjANBg \xff", ";;=;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := Parse(s)
		var bad *Error
		switch {
		case k == nil:
			t.Errorf("%q: nothing", s)
		case err != nil && (!errors.As(err, &bad) || bad.What == ""):
			t.Errorf("%q: %v", s, err)
		case err == nil && !k.Revoked && (k.Public == nil || k.Bits == 0 || k.Kind == "rsa" && k.Bits < MinBits):
			t.Errorf("%q: taken without a key: %+v", s, k)
		}
	})
}
