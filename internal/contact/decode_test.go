package contact

import (
	"encoding/json"
	"maps"
	"testing"
	"unicode/utf8"
)

// The quick reader gives what the careful one gives, or hands over to it.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{}`, `{"f1":"a","f2":3}`, `{"f1":"2026-01-05","t1":"2026/1/5","f3":true}`, `{"f1":["a","b,]"],"t1":"a|b,]"}`, `{"f2":"x","f1":"y"}`,
		`{"f1":"a\"b\\","f10":"\u0001"}`, `{"f1":1e5}`, `{"f1":null}`, `{"t1":"a"}`, `{"f1":"a" }`, `{"f01":"a"}`, `{"f1":"a","f1":"b"}`, `{"f1":"a",}`, `{"f1":{"f2":"x"}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || !json.Valid([]byte(text)) {
			return
		}
		quick := map[int64]string{}
		if !eachMember(text, func(_ byte, id int64, cell string) { quick[id] = cell }) {
			return
		}
		careful, err := decodeAny(text)
		if err != nil || !maps.Equal(quick, careful) {
			t.Fatalf("%q: %v at once, %v with care, %v", text, quick, careful, err)
		}
	})
}

// What AppendRow writes is read at once.
func TestDecodeIsQuick(t *testing.T) {
	fields := []Field{{ID: 1, Name: "a", Type: Text}, {ID: 2, Name: "b", Type: Date}, {ID: 3, Name: "c", Type: List}, {ID: 12, Name: "d", Type: Number}, {ID: 13, Name: "e", Type: Boolean}}
	cells := []string{"\"q\" \\ \n東京", "2026/1/5", "x|y,z", "-0.50", "Yes"}
	text, err := AppendRow(nil, fields, []int{0, 1, 2, 3, 4}, cells)
	if err != nil {
		t.Fatal(err)
	}
	if !eachMember(string(text), func(byte, int64, string) {}) {
		t.Errorf("%s is read with care", text)
	}
	values, err := DecodeFields(fields, string(text))
	for i, f := range fields {
		if values[f.Name] != cells[i] || err != nil {
			t.Errorf("%s: %q, want %q, %v", f.Name, values[f.Name], cells[i], err)
		}
	}
	// Fields in another order, and one that is gone.
	values, err = DecodeFields([]Field{fields[4], fields[0]}, string(text))
	if want := map[string]string{"e": "Yes", "a": cells[0]}; err != nil || !maps.Equal(values, want) {
		t.Errorf("%q, %v, want %q", values, err, want)
	}
}

func BenchmarkDecodeFields(b *testing.B) {
	fields := []Field{{ID: 1, Name: "姓"}, {ID: 2, Name: "名"}, {ID: 3, Name: "都道府県"}, {ID: 4, Name: "郵便番号"}, {ID: 5, Name: "登録日"}, {ID: 6, Name: "購入回数"}, {ID: 7, Name: "会社名"}}
	text := `{"f1":"佐藤","f2":"太郎","f3":"東京都","f4":"0001234","f5":"2024-10-11","f6":77,"f7":"株式会社サンプル123"}`
	for b.Loop() {
		if _, err := DecodeFields(fields, text); err != nil {
			b.Fatal(err)
		}
	}
}
