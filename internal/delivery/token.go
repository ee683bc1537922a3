package delivery

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
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

// macChars is the length of the signature: 16 characters of 5 bits, 80 bits of HMAC-SHA256.
const macChars = 16

// shape matches what Sign makes: kind, key version, delivery id, hyphen, signature.
var shape = regexp.MustCompile(`(?i)(?:^|[^0-9a-z])([bum][1-9])([0-9a-v]{1,13})-([0-9a-v]{16})(?:$|[^0-9a-z])`)

// Sign makes the token of a delivery, at most 32 characters of [a-z0-9-].
func (k Keys) Sign(kind TokenKind, id int64) string {
	head := string(kind) + strconv.Itoa(k.newest()) + strconv.FormatInt(id, 32)
	return head + "-" + mac(k[k.newest()], head)
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
	if !ok || !hmac.Equal([]byte(mac(secret, head)), []byte(sum)) {
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

func mac(secret []byte, head string) string {
	h := hmac.New(sha256.New, secret)
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(head)))
	fmt.Fprintf(h, "mailer token\x00%s%s", size[:], head)
	return alphabet.EncodeToString(h.Sum(nil))[:macChars]
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
