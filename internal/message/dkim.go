package message

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
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

// sign gives the DKIM-Signature fields of a message (RFC 6376), one a signer, for its header and body as they are sent.
// relaxed/relaxed survives the white space that hops change. go-msgauth, which verifies these in the tests, takes a quarter
// of an RSA signature's time for what surrounds it (it looks at every octet of the body by itself, for each key again): more than all the
// rest of a message costs, and signing is what a fast relay waits for.
func sign(signers []Signer, raw []byte, at time.Time) ([]byte, error) {
	head, body, found := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !found {
		return nil, errors.New("sign: the message has no body")
	}
	fields := splitFields(head)
	bodyHash := sha256.Sum256(relaxedBody(body))
	keys, signed := signedHeader(fields)
	var out []byte
	for _, s := range signers {
		algorithm, hash := "rsa-sha256", crypto.SHA256
		if _, ok := s.Key.Public().(ed25519.PublicKey); ok {
			algorithm, hash = "ed25519-sha256", crypto.Hash(0) // it signs the SHA-256 as a message (RFC 8463 section 3)
		}
		field := []byte("DKIM-Signature: v=1; a=" + algorithm + "; c=relaxed/relaxed; t=" + strconv.FormatInt(at.Unix(), 10) +
			";\r\n d=" + s.Domain + ";\r\n s=" + s.Selector + ";\r\n h=" + keys + ";\r\n bh=")
		field = append(base64.StdEncoding.AppendEncode(field, bodyHash[:]), ";\r\n b="...)
		digest := sha256.Sum256(bytes.TrimSuffix(appendRelaxed(slices.Clip(signed), field), []byte("\r\n")))
		signature, err := s.Key.Sign(rand.Reader, digest[:], hash)
		if err != nil {
			return nil, fmt.Errorf("sign for %s: %w", s.Domain, err)
		}
		out = appendFoldedBase64(append(out, field...), signature)
	}
	return out, nil
}

// appendFoldedBase64 writes the b= tag's value; white space in it means nothing.
func appendFoldedBase64(b, data []byte) []byte {
	s := base64.StdEncoding.EncodeToString(data)
	for room := maxHeaderLine - len(" b="); len(s) > room; room = maxHeaderLine - 1 {
		b = append(append(b, s[:room]...), "\r\n "...)
		s = s[room:]
	}
	return append(append(b, s...), "\r\n"...)
}

// splitFields cuts a header into its fields, folded as they are and without their line ends.
func splitFields(head []byte) [][]byte {
	var fields [][]byte
	for start := 0; start < len(head); {
		end := start
		for {
			i := bytes.Index(head[end:], []byte("\r\n"))
			if i < 0 {
				end = len(head)
				break
			}
			if end += i; end+2 >= len(head) || head[end+2] != ' ' && head[end+2] != '\t' {
				break
			}
			end += 2
		}
		fields = append(fields, head[start:end])
		start = end + 2
	}
	return fields
}

// signedHeader gives the h= tag's value and the fields that it names, in its order; of those of one name the last first.
func signedHeader(fields [][]byte) (keys string, canonical []byte) {
	var list strings.Builder
	column := len(" h=")
	for i, name := range signedFields {
		for j := len(fields) - 1; j >= -1; j-- { // once more for none
			if j >= 0 {
				if field, _, _ := bytes.Cut(fields[j], []byte(":")); !strings.EqualFold(string(field), name) {
					continue
				}
				canonical = appendRelaxed(canonical, fields[j])
			}
			if i > 0 || list.Len() > 0 {
				list.WriteByte(':')
				column++
			}
			if column+len(name)+1 > maxHeaderLine {
				list.WriteString("\r\n ")
				column = 1
			}
			list.WriteString(name)
			column += len(name)
		}
	}
	return list.String(), canonical
}

// appendRelaxed writes a field in the relaxed form (RFC 6376 section 3.4.2).
func appendRelaxed(b, field []byte) []byte {
	name, value, _ := bytes.Cut(field, []byte(":"))
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	b = append(b, ':')
	begin, space := len(b), false
	for _, c := range value {
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
			space = len(b) > begin
			continue
		}
		if space {
			b = append(b, ' ')
			space = false
		}
		b = append(b, c)
	}
	return append(b, "\r\n"...)
}

// relaxedBody is a body in the relaxed form (RFC 6376 section 3.4.4): runs of white space are one space, none is left at the
// end of a line, nor empty lines at the end. The body is ours: its lines end in CRLF.
func relaxedBody(body []byte) []byte {
	if bytes.IndexByte(body, '\t') >= 0 || bytes.Contains(body, []byte("  ")) || bytes.Contains(body, []byte(" \r\n")) {
		out := make([]byte, 0, len(body))
		for i, c := range body {
			if c == '\t' {
				c = ' '
			}
			if c == ' ' && i+1 < len(body) && (body[i+1] == ' ' || body[i+1] == '\t' || body[i+1] == '\r') {
				continue
			}
			out = append(out, c)
		}
		body = out
	}
	for bytes.HasSuffix(body, []byte("\r\n\r\n")) {
		body = body[:len(body)-2]
	}
	if string(body) == "\r\n" {
		return nil
	}
	return body
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
