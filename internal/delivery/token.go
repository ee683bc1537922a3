package delivery

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"hash"
	"regexp"
	"strconv"
	"sync"
)

// TokenKind says what a token stands for; it is signed with the rest, so that one kind never passes for another.
type TokenKind byte

// The kinds of tokens. One delivery has one token of each kind, the same over all its attempts: greylisting wants the
// same envelope sender to come back (RFC 6647), and receivers de-duplicate by Message-ID.
const (
	TokenBounce      TokenKind = 'b' // local part of the return path, and the ENVID of RFC 3461
	TokenUnsubscribe TokenKind = 'u' // local part of the List-Unsubscribe mailto
	TokenMessageID   TokenKind = 'm' // left side of the Message-ID
)

// Errors of Verify.
var (
	ErrNotToken = errors.New("not a token of mailer")
	ErrForged   = errors.New("the token's signature is wrong")
)

// Keys are the workspace's HMAC keys by version. The highest signs, all verify, so that a bounce which comes after a
// rotation is still known.
type Keys map[int][]byte

// alphabet is RFC 4648 base32hex in lower case: mail systems fold the case of local parts, and some refuse anything
// beyond letters, digits and hyphens.
var alphabet = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// MaxKeys is how many keys a workspace can have: one digit of a token tells them apart.
const MaxKeys = 9

// Version is the key that a token says it was signed with.
func Version(token string) int {
	if len(token) < 2 || token[1] < '1' || token[1] > '9' {
		return 0
	}
	return int(token[1] - '0')
}

// Newest is the version of the key that signs.
func (k Keys) Newest() int { return k.newest() }

// macChars is the length of the signature: 16 characters of 5 bits, 80 bits of HMAC-SHA256.
const macChars = 16

// shape matches what Sign makes: kind, key version, delivery id, hyphen, signature.
var shape = regexp.MustCompile(`(?i)(?:^|[^0-9a-z])([bum][1-9])([0-9a-v]{1,13})-([0-9a-v]{16})(?:$|[^0-9a-z])`)

// Sign makes the token of a delivery, at most 32 characters of [a-z0-9-].
func (k Keys) Sign(kind TokenKind, id int64) string { return k.Signer().Sign(kind, id) }

// Signer signs with the newest key.
func (k Keys) Signer() *Signer {
	newest := k.newest()
	return &Signer{version: newest, secret: k[newest]}
}

// Signer makes tokens with one key. A campaign takes three for each message: the hashes, which know the key already, are used
// again and again. It is safe for concurrent use.
type Signer struct {
	version int
	secret  []byte
	macs    sync.Pool
}

// Sign makes the token of a delivery, as Keys.Sign does.
func (s *Signer) Sign(kind TokenKind, id int64) string {
	m, _ := s.macs.Get().(*mac)
	if m == nil {
		m = newMAC(s.secret)
	}
	defer s.macs.Put(m)
	var space [32]byte
	b := append(space[:0], byte(kind))
	b = strconv.AppendInt(b, int64(s.version), 10)
	b = strconv.AppendInt(b, id, 32)
	sum := m.of(b)
	b = append(b, '-')
	return string(append(b, sum...))
}

// Verify returns what a token stands for. Case does not matter. The error is ErrNotToken for something else, ErrForged
// for a token that this workspace did not make.
func (k Keys) Verify(token string) (TokenKind, int64, error) {
	m := shape.FindStringSubmatch(token)
	if m == nil || len(m[0]) != len(token) {
		return 0, 0, ErrNotToken
	}
	head, sum := lower(m[1]+m[2]), lower(m[3])
	secret, ok := k[int(head[1]-'0')]
	if !ok || !hmac.Equal(newMAC(secret).of([]byte(head)), []byte(sum)) {
		return 0, 0, ErrForged
	}
	id, err := strconv.ParseInt(head[2:], 32, 64)
	if err != nil {
		return 0, 0, ErrForged
	}
	return TokenKind(head[0]), id, nil
}

// FindTokens returns the token-shaped strings in a text, in their order. They may be forged.
func FindTokens(text string) []string {
	var found []string
	for len(text) > 0 {
		m := shape.FindStringSubmatchIndex(text)
		if m == nil {
			break
		}
		found = append(found, text[m[2]:m[7]])
		text = text[m[7]:]
	}
	return found
}

func (k Keys) newest() int {
	newest := 0
	for v := range k {
		newest = max(newest, v)
	}
	if newest == 0 {
		panic("delivery: no token key; store.Open makes one")
	}
	return newest
}

// mac signs what stands before a token's hyphen.
type mac struct {
	hash hash.Hash
	text []byte
	sum  []byte
	word []byte
}

func newMAC(secret []byte) *mac { return &mac{hash: hmac.New(sha256.New, secret)} }

// of is good until it is called again.
func (m *mac) of(head []byte) []byte {
	m.text = append(m.text[:0], "mailer token\x00"...)
	m.text = binary.BigEndian.AppendUint64(m.text, uint64(len(head)))
	m.text = append(m.text, head...)
	m.hash.Reset()
	m.hash.Write(m.text)
	m.sum = m.hash.Sum(m.sum[:0])
	m.word = alphabet.AppendEncode(m.word[:0], m.sum)
	return m.word[:macChars]
}

// lower folds ASCII letters only: shape lets nothing else through.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
