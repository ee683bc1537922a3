package delivery

import (
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
)

var testKeys = Keys{1: []byte("first key of the tests"), 2: []byte("second key of the tests")}

func TestTokensComeBack(t *testing.T) {
	for _, kind := range []TokenKind{TokenBounce, TokenUnsubscribe, TokenMessageID} {
		for _, id := range []int64{0, 1, 31, 32, 1 << 40, math.MaxInt64} {
			token := testKeys.Sign(kind, id)
			if len(token) > 32 || strings.Trim(token, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
				t.Errorf("token %q: too long or with other characters", token)
			}
			for _, form := range []string{token, strings.ToUpper(token)} {
				k, got, err := testKeys.Verify(form)
				if k != kind || got != id || err != nil {
					t.Errorf("Verify(%q) = %c %d %v, want %c %d", form, k, got, err, kind, id)
				}
			}
		}
	}
}

func TestTokensOfAnOlderKeyVerify(t *testing.T) {
	old := Keys{1: testKeys[1]}.Sign(TokenBounce, 77)
	if _, id, err := testKeys.Verify(old); id != 77 || err != nil {
		t.Errorf("got %d, %v", id, err)
	}
}

// Tokens are in mail that was sent: they stay what they were, and what each goroutine's neighbours sign is nothing to it.
func TestTokensStay(t *testing.T) {
	for _, c := range []struct {
		kind TokenKind
		id   int64
		want string
	}{{TokenBounce, 5, "b25-02vkl2p5mlsipcj7"}, {TokenUnsubscribe, 1 << 40, "u2100000000-tt9l3l8d95cf70i3"}, {TokenMessageID, math.MaxInt64, "m27vvvvvvvvvvvv-gmmu4mjkhlgi7cdc"}} {
		if got := testKeys.Sign(c.kind, c.id); got != c.want {
			t.Errorf("%c %d: %s, want %s", c.kind, c.id, got, c.want)
		}
	}
	signer := testKeys.Signer()
	var all sync.WaitGroup
	for w := range int64(8) {
		all.Go(func() {
			for i := range int64(200) {
				if got, want := signer.Sign(TokenBounce, w*1000+i), testKeys.Sign(TokenBounce, w*1000+i); got != want {
					t.Errorf("%s, want %s", got, want)
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkSign(b *testing.B) {
	signer := testKeys.Signer()
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		signer.Sign(TokenBounce, i)
	}
}

func TestAlteredTokensAreForged(t *testing.T) {
	token := testKeys.Sign(TokenBounce, 123456)
	for i := range token {
		for _, c := range "0au1-" {
			altered := token[:i] + string(c) + token[i+1:]
			if altered == token {
				continue
			}
			if _, _, err := testKeys.Verify(altered); err == nil {
				t.Errorf("altered token %q passes for %q", altered, token)
			}
		}
	}
	foreign := Keys{1: []byte("another workspace"), 2: []byte("still another")}.Sign(TokenBounce, 123456)
	if _, _, err := testKeys.Verify(foreign); !errors.Is(err, ErrForged) {
		t.Errorf("foreign token: %v, want ErrForged", err)
	}
	if _, _, err := testKeys.Verify("bounce"); !errors.Is(err, ErrNotToken) {
		t.Errorf("a word: %v, want ErrNotToken", err)
	}
}

func TestFindTokens(t *testing.T) {
	a, b := testKeys.Sign(TokenBounce, 5), testKeys.Sign(TokenMessageID, 6)
	text := "Delivered-To: bounce+" + a + "@example.com\nReferences: <" + b + "@example.com> <" + strings.ToUpper(a) + "@x>"
	got := FindTokens(text)
	if want := []string{a, b, strings.ToUpper(a)}; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := FindTokens("nothing here: b1-short, xb15-aaaaaaaaaaaaaaaaz"); len(got) != 0 {
		t.Errorf("found %q in a text without tokens", got)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(testKeys.Sign(TokenBounce, 9))
	f.Add("b1-")
	f.Fuzz(func(t *testing.T, s string) {
		kind, id, err := testKeys.Verify(s)
		if err == nil && !strings.EqualFold(testKeys.Sign(kind, id), s) && !strings.EqualFold(Keys{1: testKeys[1]}.Sign(kind, id), s) {
			t.Errorf("%q verifies as %c %d but was not made by Sign", s, kind, id)
		}
	})
}
