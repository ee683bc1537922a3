package message

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	mathrand "math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
)

func testKeys(t testing.TB) (crypto.Signer, crypto.Signer) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key, ed
}

// zone answers TXT queries with the records of signers, as a DNS server would.
func zone(t testing.TB, signers []Signer) *dkim.VerifyOptions {
	t.Helper()
	records := map[string]string{}
	for _, s := range signers {
		record, err := DNSRecord(s.Key)
		if err != nil {
			t.Fatal(err)
		}
		records[s.Selector+"._domainkey."+s.Domain] = strings.Join(SplitTXT(record), "")
	}
	return &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if r, ok := records[name]; ok {
			return []string{r}, nil
		}
		return nil, errors.New("no such record")
	}}
}

func TestSignaturesVerify(t *testing.T) {
	key, ed := testKeys(t)
	signers := []Signer{{"example.com", "s2026", key}, {"example.com", "e2026", ed}, {"other.example", "s1", key}}
	resolver := zone(t, signers)
	for _, c := range []struct{ name, front, body string }{
		{"a.md", "subject: plain", "Hello"},
		{"a.md", "subject: 冬のお知らせ", "# こんにちは\n\n本文です。"},
		{"a.txt", "subject: empty\nlayout: none", ""},
		{"a.txt", "subject: blank lines\nlayout: none", "\n\n\n"},
		{"a.txt", "subject: trailing space\nlayout: none", "a  \n\tb \n  \n"},
		{"a.txt", "subject: long line\nlayout: none", strings.Repeat("long ", 1000)},
		{"a.txt", "subject: dots\nlayout: none", ".\n..\n.a\nFrom me"},
		{"a.html", "subject: html", "<p>x" + strings.Repeat("<b>y</b>", 300)},
		{"a.md", "subject: files\nattach: [f/表.pdf, f/b.bin]\nembed: f/c.png", "![c](cid:c.png)"},
		{"a.md", "subject: '" + strings.Repeat("very long subject ", 20) + "'", "x"},
		{"a.md", "subject: x\nfrom: 株式会社例 <n@news.example.com>\nheaders: {X-A: b, Feedback-ID: 'a:b:c:example'}", "x"},
		{"a.md", "subject: x\nclass: operational\nto_name: '宛名 {{.email}}'", "😀👨‍👩‍👧"},
	} {
		tmpl, err := compileFS(workspace(c.name, "---\n"+c.front+"\n---\n"+c.body, "f/表.pdf", "pdf", "f/b.bin", "\x00\x01\r\n.\r\n", "f/c.png", "png"), "a", signers...)
		if err != nil {
			t.Fatal(err)
		}
		m := mark
		m.UnsubscribeURL = "https://example.com/u/x"
		msg, err := tmpl.Render(Recipient{"a..b@docomo.ne.jp", nil}, m)
		if err != nil {
			t.Fatal(err)
		}
		checkBytes(t, msg.Raw)
		found, err := dkim.VerifyWithOptions(bytes.NewReader(msg.Raw), resolver)
		if err != nil || len(found) != 2 {
			t.Fatalf("%s: %d signatures, %v", c.front, len(found), err)
		}
		for _, v := range found {
			if v.Err != nil || v.Domain != "example.com" {
				t.Errorf("%s: %s: %v", c.front, v.Domain, v.Err)
			}
			if tmpl.documents[0].class == "marketing" && (!slices.Contains(v.HeaderKeys, "List-Unsubscribe") || !slices.Contains(v.HeaderKeys, "List-Unsubscribe-Post")) {
				t.Errorf("not signed: %v", v.HeaderKeys)
			}
		}
	}
}

// A second Subject or From, or a first Cc, breaks the signature: those fields are signed once more than they occur.
func TestAddedFieldsBreakTheSignature(t *testing.T) {
	key, _ := testKeys(t)
	signers := []Signer{{"example.com", "s", key}}
	tmpl, err := compileFS(workspace("a.md", "---\nsubject: x\n---\nx"), "a", signers...)
	if err != nil {
		t.Fatal(err)
	}
	raw := render(t, tmpl, nil).Raw
	for _, field := range []string{"Subject", "From", "To", "Cc", "Date", "Reply-To", "List-Unsubscribe", "List-Unsubscribe-Post", "Content-Type"} {
		found, err := dkim.VerifyWithOptions(bytes.NewReader(append([]byte(field+": added\r\n"), raw...)), zone(t, signers))
		if err != nil || len(found) != 1 || found[0].Err == nil {
			t.Errorf("an added %s is not noticed: %v", field, err)
		}
	}
	found, err := dkim.VerifyWithOptions(bytes.NewReader(append([]byte("Received: from x\r\nX-Spam: no\r\n"), raw...)), zone(t, signers))
	if err != nil || found[0].Err != nil {
		t.Errorf("trace fields break it: %v %v", err, found)
	}
}

func TestOnlyAlignedKeysSign(t *testing.T) {
	s := Signer{Domain: "Example.com"}
	for domain, want := range map[string]bool{"example.com": true, "news.example.com": true, "badexample.com": false, "com": false, "example.org": false} {
		if s.signs(domain) != want {
			t.Errorf("%s: %v", domain, !want)
		}
	}
}

func TestParseKey(t *testing.T) {
	key, ed := testKeys(t)
	pkcs8 := func(k any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))})
	for name, text := range map[string][]byte{"rsa pkcs8": pkcs8(key), "ed25519": pkcs8(ed), "rsa pkcs1": pkcs1} {
		if _, err := ParseKey(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"nothing":   {nil, "no PEM block"},
		"public":    {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"}), "not a private key"},
		"encrypted": {pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY"}), "passphrase"},
		"broken":    {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), "read the private key"},
	} {
		if _, err := ParseKey(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDNSRecord(t *testing.T) {
	key, ed := testKeys(t)
	record, err := DNSRecord(key)
	if err != nil || !strings.HasPrefix(record, "v=DKIM1; k=rsa; p=MII") || len(record) != 410 {
		t.Errorf("%q %v", record, err)
	}
	parts := SplitTXT(record)
	if len(parts) != 2 || len(parts[0]) != 255 || strings.Join(parts, "") != record {
		t.Errorf("%d parts", len(parts))
	}
	if record, err = DNSRecord(ed); err != nil || !strings.HasPrefix(record, "v=DKIM1; k=ed25519; p=") || len(record) != 66 {
		t.Errorf("%q %v", record, err)
	}
}

// Whatever white space a message has, folded or at the ends of lines, its relaxed form is the verifier's.
func TestRelaxedFormIsTheVerifiers(t *testing.T) {
	_, ed := testKeys(t)
	signers := []Signer{{"example.com", "e", ed}}
	r := mathrand.New(mathrand.NewSource(4))
	for range 500 {
		value, body := "", ""
		for range r.Intn(40) {
			value += []string{"a", ":", " ", "  ", "\t", "\r\n ", "\r\n\t", "é"}[r.Intn(8)]
		}
		for range r.Intn(60) {
			body += []string{"a", " ", "  ", "\t", "\r\n", "\r\n\r\n", " \r\n", "\t\r\n", "b=3D", "."}[r.Intn(10)]
		}
		if body != "" {
			body += "\r\n"
		}
		raw := "From: a@example.com\r\nSubject:" + value + "x\r\nTo: b@example.com\r\nReceived: one\r\nMIME-Version: 1.0\r\n\r\n" + body
		signature, err := sign(signers, []byte(raw), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		found, err := dkim.VerifyWithOptions(strings.NewReader(string(signature)+raw), zone(t, signers))
		if err != nil || len(found) != 1 || found[0].Err != nil {
			t.Fatalf("%q: %v %v", raw, err, found[0].Err)
		}
	}
}

func TestSignatureFieldIsFolded(t *testing.T) {
	key, ed := testKeys(t)
	signatures, err := sign([]Signer{{"example.com", "s2026", key}, {"example.com", "e2026", ed}}, []byte("From: a@example.com\r\n\r\nx\r\n"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(signatures), "\r\n"), "\r\n") {
		if len(line) > 78 || strings.TrimSpace(line) == "" {
			t.Errorf("%d characters: %q", len(line), line)
		}
	}
	if !bytes.Contains(signatures, []byte("a=ed25519-sha256")) || !bytes.Contains(signatures, []byte("h=From:From:To:Cc:")) || bytes.Contains(signatures, []byte(" l=")) {
		t.Errorf("%s", signatures)
	}
}
