package ingest

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"
)

const sample = "メールアドレス,氏名,都道府県\r\ntaro@example.jp,山田　太郎,東京都\r\nhanako@example.jp,髙橋 花子,大阪府\r\n"

func encoded(t testing.TB, e encoding.Encoding, s string) []byte {
	t.Helper()
	out, err := e.NewEncoder().Bytes([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDetect(t *testing.T) {
	utf16le := unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	utf16be := unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	late := strings.Repeat("a@example.jp,x,y\n", 20000) + sample
	tests := []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "utf-8"},
		{"ascii", []byte("email\na@example.jp\n"), "utf-8"},
		{"utf-8", []byte(sample), "utf-8"},
		{"utf-8 with a mark", []byte("\ufeff" + sample), "utf-8"},
		{"utf-8 with a broken byte", []byte(sample + "x@example.jp,\xff,y\n"), "utf-8"},
		{"utf-8 late", []byte(late), "utf-8"},
		{"latin letters", []byte("email,name\na@example.com,José Müller\n"), "utf-8"},
		{"emoji", []byte("email,name\na@example.com,🎉\n"), "utf-8"},
		{"cp932", encoded(t, japanese.ShiftJIS, sample), "cp932"},
		{"cp932 late", encoded(t, japanese.ShiftJIS, late), "cp932"},
		{"cp932 one name", encoded(t, japanese.ShiftJIS, "email,name\na@example.jp,佐藤\n"), "cp932"},
		{"cp932 half-width kana", encoded(t, japanese.ShiftJIS, "email,ﾌﾘｶﾞﾅ\na@example.jp,ﾔﾏﾀﾞ ﾀﾛｳ\n"), "cp932"},
		{"cp932 with external characters", append(encoded(t, japanese.ShiftJIS, sample), "x@example.jp,\xf0\x40,y\n"...), "cp932"},
		{"euc-jp", encoded(t, japanese.EUCJP, strings.ReplaceAll(sample, "髙", "高")), "euc-jp"},
		{"iso-2022-jp", encoded(t, japanese.ISO2022JP, strings.ReplaceAll(sample, "髙", "高")), "iso-2022-jp"},
		{"utf-16le with a mark", encoded(t, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), sample), "utf-16le"},
		{"utf-16be with a mark", encoded(t, unicode.UTF16(unicode.BigEndian, unicode.UseBOM), sample), "utf-16be"},
		{"iso-2022-jp with half-width kana alone", []byte("email,name\na@example.jp,\x1b(I@41\x1b(B\n"), "iso-2022-jp"},
		{"iso-2022-jp with JIS X 0212 alone", []byte("email,name\na@example.jp,\x1b$(D0&\x1b(B\n"), "iso-2022-jp"},
		{"utf-16le of little ASCII", encoded(t, utf16le, "メール,氏名,備考\na@x.jp,山田　太郎,"+strings.Repeat("よろしくお願いします", 12)+"\n"), "utf-16le"},
		{"utf-16be of little ASCII", encoded(t, utf16be, "メール,氏名,備考\na@x.jp,山田　太郎,"+strings.Repeat("よろしくお願いします", 12)+"\n"), "utf-16be"},
		{"utf-16le without", encoded(t, utf16le, "email,name\na@example.jp,太郎\n"), "utf-16le"},
	}
	for _, tt := range tests {
		for _, piece := range []int{1 << 20, 7, 1} {
			d := &detector{}
			for in := tt.in; len(in) > 0; in = in[min(piece, len(in)):] {
				d.Write(in[:min(piece, len(in))])
			}
			got, err := d.result()
			if err != nil || got.name != tt.want {
				t.Errorf("%s in pieces of %d: %q, %v; want %q", tt.name, piece, got.name, err, tt.want)
			}
			if len(tt.in) > 100000 {
				break
			}
		}
	}
}

func TestDetectRefusesToGuess(t *testing.T) {
	d := &detector{}
	d.Write(encoded(t, charmap.Windows1252, "email,name\na@example.com,José\nb@example.com,Müller\nc@example.com,Françoise\n"))
	if got, err := d.result(); err == nil || !strings.Contains(err.Error(), "--encoding") {
		t.Errorf("windows-1252 taken for %s, %v", got.name, err)
	}
}

func TestDecodeNamesBadBytes(t *testing.T) {
	tests := []struct{ charset, in, reason string }{
		{"utf-8", "a,\xe3\x81", "0xE3"},
		{"utf-8", "a,\xff", "0xFF"},
		{"utf-8", "a,\xef\xbf\xbd", "U+FFFD"},
		{"cp932", "a,\xf0\x40", "0xF0 0x40"},
		{"cp932", "a,\x93\x8c\x81", "0x81"},
		{"cp932", "a,\xa0", "0xA0"},
		{"euc-jp", "a,\xa4", "0xA4"},
	}
	for _, tt := range tests {
		c, err := charsetByName(tt.charset)
		if err != nil {
			t.Fatal(err)
		}
		text, err := c.decode([]byte(tt.in))
		if err == nil || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("%s %q: %q, %v; want a reason with %q", tt.charset, tt.in, text, err, tt.reason)
		}
		if shown := c.lenient([]byte(tt.in)); !strings.HasPrefix(shown, "a,") || strings.Contains(shown, "\ufffd") {
			t.Errorf("%s %q is shown as %q", tt.charset, tt.in, shown)
		}
	}
}

// 0x80 alone is no character of CP932, and a sound second byte.
func TestByte80(t *testing.T) {
	w := newWorld(t)
	_, rejects := w.imported("email,x\na@example.jp,\x80\nb@example.jp,\x83\x80\n", Options{Encoding: "cp932"}, "2 1 0 0 1 0")
	if len(rejects) != 1 || rejects[0].Column != 2 || rejects[0].Reason != "the bytes 0x80 are not cp932" {
		t.Errorf("%+v", rejects)
	}
	w.expect("b@example.jp map[x:ム] []")
}

// Text of any everyday characters that a charset holds comes back from it.
func TestDecodeRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	chars := []rune("abc012 @.,あいうアイウｱｲｳ東京都大阪府山田太郎①㈱髙﨑～－ーソ表能十")
	for _, name := range []string{"utf-8", "cp932"} {
		c, err := charsetByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for range 500 {
			var b strings.Builder
			for range r.IntN(20) {
				b.WriteRune(chars[r.IntN(len(chars))])
			}
			in := []byte(b.String())
			if c.enc != nil {
				in = encoded(t, c.enc, b.String())
			}
			if got, err := c.decode(in); err != nil || got != b.String() {
				t.Fatalf("%s: %q came back as %q, %v", name, b.String(), got, err)
			}
		}
	}
}

// Whatever the bytes: never U+FFFD, never a byte lost silently.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(sample))
	f.Add(encoded(f, japanese.ShiftJIS, sample))
	f.Add(encoded(f, japanese.EUCJP, "日本語"))
	f.Add([]byte{0x81})
	f.Add([]byte("\x1b$B"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, c := range charsets {
			if !c.plain {
				continue
			}
			text, err := c.decode(in)
			if err == nil && strings.ContainsRune(text, '\ufffd') {
				t.Fatalf("%s let U+FFFD through: %q", c.name, in)
			}
			if err == nil && c.enc == nil && text != string(in) {
				t.Fatalf("%s changed %q to %q", c.name, in, text)
			}
			if err != nil && strings.ContainsRune(c.lenient(in), '\ufffd') && !bytes.Contains(in, []byte("\ufffd")) {
				t.Fatalf("%s shows U+FFFD for %q", c.name, in)
			}
		}
		d := &detector{}
		d.Write(in)
		d.result()
	})
}
