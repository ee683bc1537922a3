package address

import "strings"

// Nearly every address of a list is written as it should be. An import parses a million of them, so these are told apart
// by one look at their bytes; the rest takes the long way, which gives the same for them too (FuzzParse compares).

// What a byte may be in an address that is plain.
const (
	inLocal  = 1 << iota // atext of RFC 5321 section 4.1.2
	inDomain             // a letter or a digit
	upper
	digit
)

var plainBytes = func() (t [256]byte) {
	for c := byte('a'); c <= 'z'; c++ {
		t[c] = inLocal | inDomain
		t[c-'a'+'A'] = inLocal | inDomain | upper
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] = inLocal | inDomain | digit
	}
	for _, c := range []byte("!#$%&'*+-/=?^_`{|}~") {
		t[c] = inLocal
	}
	return t
}()

// parsePlain reads an ASCII address with nothing around it. It says false wherever there is more to look at, even to find
// out that the address is wrong.
func parsePlain(s string) (Address, bool) {
	if len(s) > maxPath {
		return Address{}, false
	}
	at, upperLocal, ok := plainLocal(s)
	if !ok {
		return Address{}, false
	}
	upperDomain, ok := plainDomain(s[at+1:])
	switch {
	case !ok:
		return Address{}, false
	case upperDomain:
		key := strings.ToLower(s)
		if !upperLocal {
			return Address{Text: key, Key: key}, true
		}
		return Address{Text: s[:at] + key[at:], Key: key}, true
	case upperLocal:
		return Address{Text: s, Key: strings.ToLower(s)}, true
	}
	return Address{Text: s, Key: s}, true
}

// plainLocal finds the @ behind a Dot-string.
func plainLocal(s string) (at int, upperCase, ok bool) {
	dot := true // a dot may not stand here
	for i := range len(s) {
		switch c := s[i]; {
		case plainBytes[c]&inLocal != 0:
			upperCase = upperCase || plainBytes[c]&upper != 0
			dot = false
		case c == '.' && !dot:
			dot = true
		case c == '@' && !dot && i <= maxLocal:
			return i, upperCase, true
		default:
			return 0, false, false
		}
	}
	return 0, false, false
}

// plainDomain checks a domain of two labels or more. A-labels are left to package idna.
func plainDomain(s string) (upperCase, ok bool) {
	start, dots, digits := 0, 0, true
	for i := range len(s) {
		switch c := s[i]; {
		case plainBytes[c]&inDomain != 0:
			upperCase = upperCase || plainBytes[c]&upper != 0
			digits = digits && plainBytes[c]&digit != 0
		case c == '-' && i > start:
			if i >= start+2 && (s[i-2]|0x20) == 'x' && (s[i-1]|0x20) == 'n' {
				return false, false
			}
			digits = false
		case c == '.' && i > start && i-start <= maxLabel && s[i-1] != '-':
			start, digits = i+1, true
			dots++
		default:
			return false, false
		}
	}
	n := len(s) - start
	return upperCase, dots > 0 && 0 < n && n <= maxLabel && s[len(s)-1] != '-' && !digits
}
