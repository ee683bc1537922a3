package mailtest

import (
	"strings"
	"testing"
)

// question is what a resolver asks, EDNS included.
func question(name string, kind byte) []byte {
	q := []byte{7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1}
	for _, label := range strings.Split(name, ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	q = append(q, 0, 0, kind, 0, 1)
	return append(q, 0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0)
}

func TestNoHost(t *testing.T) {
	const a, mx = 1, 15
	for _, test := range []struct {
		name    string
		kind    byte
		code    byte
		answers byte
		end     string
	}{
		{"shop.test", mx, 3, 0, "\x00\x0f\x00\x01"},
		{"Null.shop.test", mx, 0, 1, "\x00\x03\x00\x00\x00"},
		{"null.shop.test", a, 0, 0, "\x00\x01\x00\x01"},
		{"empty.shop.test", a, 0, 0, "\x00\x01\x00\x01"},
		{"broken.shop.test", a, 2, 0, "\x00\x01\x00\x01"},
		{"1.0.0.127.bl.test", a, 0, 1, "\x00\x04\x7f\x00\x00\x02"},
	} {
		got := noHost(question(test.name, test.kind))
		if got[2]&0x80 == 0 || got[3]&15 != test.code || got[7] != test.answers || got[11] != 0 || !strings.HasSuffix(string(got), test.end) {
			t.Errorf("%s %d: %x", test.name, test.kind, got)
		}
	}
	// What is cut off is no question.
	whole := question("shop.test", a)
	for n := 12; n < len(whole)-11; n++ {
		if got := noHost(whole[:n]); got != nil {
			t.Errorf("%d bytes: %x", n, got)
		}
	}
}
