package message

import (
	"bytes"
	"math/rand"
	"testing"
)

// A body of pieces, constant or not, is what appendBase64 makes of the whole.
func TestBase64OfPieces(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 5000 {
		var whole []byte
		var e encoder64
		for range r.Intn(8) {
			piece := bytes.Repeat([]byte{byte('a' + r.Intn(26)), '\n', 0xe6}[:1+r.Intn(3)], r.Intn(4)*r.Intn(60))
			piece = append(piece, "xy\n"[:r.Intn(4)]...)
			if whole = appendCRLF(whole, piece); r.Intn(2) == 0 {
				e.constant(newConstant64(piece))
			} else {
				e.bytes(appendCRLF(nil, piece))
			}
		}
		if got, want := e.close(), appendBase64(nil, whole); !bytes.Equal(got, want) {
			t.Fatalf("%q\n%q\n%q", whole, got, want)
		}
	}
}
