// Package dkim reads the records that publish DKIM keys (RFC 6376 section 3.6, RFC 8463) and says what is wrong with one, in the
// ways in which panels and people get them wrong. Signing is package message's.
package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Sizes of RSA keys in bits: RFC 8301 section 3.2.
const (
	MinBits  = 1024 // verifiers must not take less
	GoodBits = 2048 // signers should use at least
	MaxBits  = 4096 // verifiers need not take more
)

// Key is a key record.
type Key struct {
	Text     string
	Kind     string // k=: rsa, ed25519
	Public   crypto.PublicKey
	Bits     int
	Revoked  bool // p= is empty
	Test     bool // t=y: verifiers treat the mail as if it were not signed
	Strict   bool // t=s: i= must be in d= itself and not below it
	Hashes   []string
	Services []string
	Note     string   // n=
	Oddities []string // what verifiers take and is still not as it should be
}

// Error is a record of which verifiers make no key.
type Error struct {
	What string // a sentence
	Do   string // how to mend it, when it is known
}

func (e *Error) Error() string { return e.What }

func wrong(do, format string, args ...any) *Error { return &Error{fmt.Sprintf(format, args...), do} }

// Parse reads a key record. Its error is an *Error.
func Parse(text string) (*Key, error) {
	k := &Key{Text: text, Kind: "rsa"}
	if err := disguised(text); err != nil {
		return k, err
	}
	tags, err := split(text)
	if err != nil {
		return k, err
	}
	if v, ok := tags["v"]; ok && v != "DKIM1" {
		return k, wrong("Write v=DKIM1.", "it says v=%s; a key record says v=DKIM1", v)
	}
	if _, ok := tags["v"]; !ok {
		k.Oddities = append(k.Oddities, "v=DKIM1 is missing; it is recommended")
	}
	if v := strings.ToLower(tags["k"]); v != "" {
		k.Kind = v
	}
	k.Note = tags["n"]
	k.Hashes, k.Services = list(tags["h"]), list(tags["s"])
	for _, flag := range list(tags["t"]) {
		k.Test, k.Strict = k.Test || flag == "y", k.Strict || flag == "s"
	}
	p, ok := tags["p"]
	if !ok {
		return k, wrong("Publish the whole record, with p= and the key behind it.", "it has no p=, and so no key")
	}
	if p = unspaced(p); p == "" {
		k.Revoked = true
		return k, nil
	}
	if err := k.read(p); err != nil {
		return k, err
	}
	if len(k.Hashes) > 0 && !slices.Contains(k.Hashes, "sha256") {
		return k, wrong("Leave h= out, or write h=sha256.", "its h=%s does not allow sha256, the only hash in use (RFC 8301 section 3.1)", tags["h"])
	}
	if len(k.Services) > 0 && !slices.Contains(k.Services, "*") && !slices.Contains(k.Services, "email") {
		return k, wrong("Leave s= out.", "its s=%s does not allow mail", tags["s"])
	}
	return k, nil
}

// disguised recognises what a panel or a hand made of a record.
func disguised(text string) error {
	kept := slices.DeleteFunc(strings.Split(text, ";"), func(part string) bool { return strings.HasPrefix(strings.TrimSpace(part), "n=") })
	text = strings.Join(kept, ";") // a note may say what it likes
	switch {
	case strings.ContainsAny(text, `"“”`):
		return wrong("Paste the record without quotation marks: they belong to zone files, not into a panel's field.",
			"there are quotation marks in the record itself, where a verifier takes them for a part of the key")
	case strings.Contains(text, `\;`):
		return wrong(`Take the backslashes out: write ; and not \;.`, `its semicolons have backslashes before them (\;)`)
	case strings.Contains(text, "-----"):
		return wrong("Leave the lines BEGIN PUBLIC KEY and END PUBLIC KEY out; behind p= stands the base64 text alone.", "it holds the lines BEGIN and END of a PEM file")
	case strings.Contains(text, "IN TXT") || strings.Contains(text, "._domainkey"):
		return wrong("Paste the value alone.", "it holds a line of a zone file, name and type too")
	}
	return nil
}

// split takes the tags apart (RFC 6376 section 3.2). Spaces around names and values mean nothing.
func split(text string) (map[string]string, error) {
	tags := map[string]string{}
	first := true
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok || name == "" || strings.ContainsFunc(name, unicode.IsSpace):
			return nil, wrong("Part the tags by semicolons: v=DKIM1; k=rsa; p=…", "%q is no tag with a value", short(part))
		case name == "v" && !first:
			return nil, wrong("Begin the record with v=DKIM1.", "v= is not its first tag (RFC 6376 section 3.6.1)")
		}
		if _, twice := tags[name]; twice {
			return nil, wrong("Keep one of them.", "%s= is there twice, which makes the whole record void (RFC 6376 section 3.2)", name)
		}
		tags[name], first = value, false
		if name == "v" && strings.Contains(value, " ") {
			return nil, wrong("Part the tags by semicolons: v=DKIM1; k=rsa; p=…", "there is no semicolon behind v=DKIM1")
		}
	}
	return tags, nil
}

// read decodes the key behind p=.
func (k *Key) read(p string) error {
	if k.Kind != "rsa" && k.Kind != "ed25519" {
		return wrong("Publish the record that mailer dkim show prints.", "its k=%s is no kind of key that verifiers know", short(k.Kind))
	}
	data, err := base64.StdEncoding.DecodeString(p)
	if err != nil {
		if unpadded, e := base64.RawStdEncoding.DecodeString(strings.TrimRight(p, "=")); e == nil && whole(unpadded) {
			data, err = unpadded, nil
			k.Oddities = append(k.Oddities, "the = at the end of the key are missing; not every verifier forgives that")
		}
	}
	if err != nil {
		return wrong("Publish the record anew, copied whole.", "what stands behind p= is no base64 text (%s): a character was lost, added or changed", place(p))
	}
	if k.Kind == "ed25519" {
		return k.readEd25519(data)
	}
	return k.readRSA(data)
}

func (k *Key) readEd25519(data []byte) error {
	if len(data) == ed25519.PublicKeySize {
		k.Public, k.Bits = ed25519.PublicKey(data), 256
		return nil
	}
	if key, err := x509.ParsePKIXPublicKey(data); err == nil {
		if _, ok := key.(*rsa.PublicKey); ok {
			return wrong("Write k=rsa.", "it says k=ed25519 and holds an RSA key")
		}
		return wrong("Publish the 32 bytes of the key alone: 44 characters behind p= (RFC 8463 section 4).",
			"its Ed25519 key is wrapped as SubjectPublicKeyInfo, which verifiers do not unpack")
	}
	return wrong("Publish the record anew, copied whole.", "an Ed25519 key has 32 bytes, this one %d", len(data))
}

func (k *Key) readRSA(data []byte) error {
	key, err := x509.ParsePKIXPublicKey(data)
	if err != nil {
		if pkcs1, e := x509.ParsePKCS1PublicKey(data); e == nil { // RFC 6376 erratum 3017: most verifiers take both
			key, err = pkcs1, nil
			k.Oddities = append(k.Oddities, "the key is in PKCS#1 form, which some verifiers do not read; SubjectPublicKeyInfo is what everybody reads")
		}
	}
	switch {
	case err == nil:
	case len(data) == ed25519.PublicKeySize:
		return wrong("Write k=ed25519.", "it holds an Ed25519 key and does not say k=ed25519, so that verifiers look for an RSA key")
	case cut(data):
		return wrong("Publish the whole record: a TXT record may have several strings of 255 characters each; some panels cut at the first, or want the pieces in quotation marks one after the other.",
			"the key is cut off: %d of %d bytes are there", len(data), announced(data))
	default:
		return wrong("Publish the record anew, copied whole.", "what stands behind p= is no public key")
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return wrong("Write k=ed25519 and the 32 bytes of the key (RFC 8463).", "it holds a key that is not RSA")
	}
	k.Public, k.Bits = public, public.N.BitLen()
	if k.Bits < MinBits {
		return wrong("Make a key of 2048 bits: mailer dkim keygen.", "the RSA key has %d bits; verifiers must not accept less than %d (RFC 8301 section 3.2)", k.Bits, MinBits)
	}
	return nil
}

// announced is how long the DER sequence at the head of data says that it is, or 0.
func announced(data []byte) int {
	switch {
	case len(data) < 4 || data[0] != 0x30:
		return 0
	case data[1] == 0x82:
		return 4 + int(data[2])<<8 + int(data[3])
	case data[1] == 0x81:
		return 3 + int(data[2])
	case data[1] < 0x80:
		return 2 + int(data[1])
	}
	return 0
}

func cut(data []byte) bool { return announced(data) > len(data) }

func whole(data []byte) bool {
	return announced(data) == len(data) || len(data) == ed25519.PublicKeySize
}

// Matches reports whether the record is the public half of a private key.
func (k *Key) Matches(private crypto.Signer) bool {
	type comparable interface{ Equal(crypto.PublicKey) bool }
	public, ok := private.Public().(comparable)
	return ok && k.Public != nil && public.Equal(k.Public)
}

// list is a value with colons between its parts.
func list(value string) []string {
	var all []string
	for part := range strings.SplitSeq(value, ":") {
		if part = strings.ToLower(strings.TrimSpace(part)); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// unspaced takes white space out, which may stand anywhere in base64 text (RFC 6376 section 2.10).
func unspaced(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, s)
}

// place says where base64 text breaks.
func place(p string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
	if i := strings.IndexFunc(p, func(r rune) bool { return !strings.ContainsRune(alphabet, r) }); i >= 0 {
		return fmt.Sprintf("%q at character %d", firstRune(p[i:]), i+1)
	}
	return fmt.Sprintf("%d characters", len(p))
}

func firstRune(s string) string {
	for _, r := range s {
		return string(r)
	}
	return ""
}

// short keeps a text that may be anything small enough for a line.
func short(s string) string {
	s = string(bytes.ToValidUTF8([]byte(s), []byte("?")))
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
