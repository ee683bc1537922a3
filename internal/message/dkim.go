package message

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
)

// Signer signs mail of one domain with one key. Several sign side by side: RSA is what everybody verifies, Ed25519 is a
// second signature under a selector of its own (RFC 8463).
type Signer struct {
	Domain   string
	Selector string
	Key      crypto.Signer // *rsa.PrivateKey or ed25519.PrivateKey
}

// signedFields are signed once more often than they occur ("oversigned", RFC 6376 section 8.15), so that nobody on the way
// can add a second Subject or From. The two List-Unsubscribe fields must be among them (RFC 8058 section 4).
var signedFields = []string{
	"From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "MIME-Version", "Content-Type",
	"Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post", "List-ID", "List-Help", "Feedback-ID",
	"CFBL-Address", "Auto-Submitted",
}

// signs reports whether the signer is for mail from a domain: its own or, under relaxed alignment, one below it.
func (s Signer) signs(domain string) bool {
	d := strings.ToLower(s.Domain)
	return domain == d || strings.HasSuffix(domain, "."+d)
}

// sign gives the DKIM-Signature fields of a message (RFC 6376), one a signer. relaxed/relaxed survives the white space that hops
// change.
func sign(signers []Signer, raw []byte) ([]byte, error) {
	keys := headerKeys(raw)
	var out []byte
	for _, s := range signers {
		signer, err := dkim.NewSigner(&dkim.SignOptions{
			Domain: s.Domain, Selector: s.Selector, Signer: s.Key, HeaderKeys: keys,
			HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		})
		if err != nil {
			return nil, fmt.Errorf("sign for %s: %w", s.Domain, err)
		}
		_, werr := signer.Write(raw)
		if err := errors.Join(werr, signer.Close()); err != nil {
			return nil, fmt.Errorf("sign for %s: %w", s.Domain, err)
		}
		out = append(out, signer.Signature()...)
	}
	return out, nil
}

// headerKeys is the fields that are signed, each once more than it occurs: none that mailer writes occurs twice.
func headerKeys(raw []byte) []string {
	present := map[string]bool{}
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if name, _, ok := bytes.Cut(line, []byte(":")); ok && line[0] != ' ' && line[0] != '\t' {
			present[strings.ToLower(string(name))] = true
		}
	}
	var keys []string
	for _, f := range signedFields {
		if present[strings.ToLower(f)] {
			keys = append(keys, f)
		}
		keys = append(keys, f)
	}
	return keys
}

// ParseKey reads a private key from PEM: PKCS#8 or PKCS#1.
func ParseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New(`no PEM block in it; make a key with "mailer dkim keygen"`)
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("it is a %q, not a private key without a passphrase", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("read the private key: %w", err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < 1024 { // RFC 8301 section 3.2
			return nil, fmt.Errorf("an RSA key of %d bits: verifiers refuse less than 1024, use 2048", bits)
		}
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("a %T: DKIM knows RSA and Ed25519", key)
}

// DNSRecord is the TXT record that publishes the key's public half (RFC 6376 section 3.6.1, RFC 8463 section 4).
func DNSRecord(key crypto.Signer) (string, error) {
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return "", fmt.Errorf("encode the public key: %w", err)
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), nil
	case ed25519.PublicKey: // the 32 bytes themselves, no SubjectPublicKeyInfo
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public), nil
	}
	return "", fmt.Errorf("a %T: DKIM knows RSA and Ed25519", key)
}

// SplitTXT cuts a record into the strings of at most 255 octets that a TXT record is made of (RFC 1035 section 3.3).
func SplitTXT(record string) []string {
	var parts []string
	for len(record) > 255 {
		parts = append(parts, record[:255])
		record = record[255:]
	}
	return append(parts, record)
}
