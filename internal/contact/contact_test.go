package contact

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEncodeFields(t *testing.T) {
	tests := []struct {
		typ        Type
		cell, json string
	}{
		{Text, "東京都", `{"f7":"東京都"}`},
		{Text, "", `{}`},
		{Text, "a \"q\" \\ <b>&\n\x01", `{"f7":"a \"q\" \\ <b>&\n\u0001"}`},
		{Text, " padded ", `{"f7":" padded "}`},
		{Number, "30", `{"f7":30}`},
		{Number, "1.50", `{"f7":1.50}`},
		{Number, "-0.5", `{"f7":-0.5}`},
		{Number, "123456789012345", `{"f7":123456789012345}`},
		{Date, "2026-01-05", `{"f7":"2026-01-05"}`},
		{Date, "2026/1/5", `{"f7":"2026-01-05","t7":"2026/1/5"}`},
		{Date, "2026/01/05 9:30", `{"f7":"2026-01-05T09:30:00","t7":"2026/01/05 9:30"}`},
		{Date, "2026-01-05T09:30:00", `{"f7":"2026-01-05T09:30:00"}`},
		{Boolean, "true", `{"f7":true}`},
		{Boolean, "Yes", `{"f7":true,"t7":"Yes"}`},
		{Boolean, "いいえ", `{"f7":false,"t7":"いいえ"}`},
		{List, "a;b", `{"f7":["a","b"]}`},
		{List, "a, b、c", `{"f7":["a","b","c"],"t7":"a, b、c"}`},
	}
	for _, tt := range tests {
		fields := []Field{{ID: 7, Name: "x y", Type: tt.typ}}
		got, err := EncodeFields(fields, map[int64]string{7: tt.cell})
		if err != nil || got != tt.json {
			t.Errorf("%s %q: %s, %v; want %s", tt.typ, tt.cell, got, err, tt.json)
		}
		values, err := DecodeFields(fields, got)
		if err != nil || values["x y"] != tt.cell {
			t.Errorf("%s %q prints as %q, %v", tt.typ, tt.cell, values["x y"], err)
		}
	}
}

func TestEncodeFieldsOrder(t *testing.T) {
	fields := []Field{{ID: 1, Type: Number}, {ID: 2, Type: Text}, {ID: 3, Type: Text}}
	got, err := EncodeFields(fields, map[int64]string{3: "c", 1: "1", 9: "no such field"})
	if want := `{"f1":1,"f3":"c"}`; err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

func TestMismatch(t *testing.T) {
	for typ, cells := range map[Type][]string{
		Number: {"007", "1e3", "1,000", "+5", "１", "1.", ".5", "-", " 1", "1234567890123456", "0x1", "--1", "00"},
		Date: {"2026-1-5", "5/1/2026", "01/02/2026", "2026-02-30", "2026/13/1", "20260105", "2026-01/05", "R8/1/5",
			"2026-01-05 25:00", "2026-01-05T10:00:00Z", "26/1/5"},
		Boolean: {"0", "1", "y", "○", "truee"},
	} {
		for _, cell := range cells {
			_, err := EncodeFields([]Field{{ID: 1, Name: "年齢 x", Type: typ}}, map[int64]string{1: cell})
			var mismatch *MismatchError
			if !errors.As(err, &mismatch) {
				t.Errorf("%q passes as a %s", cell, typ)
			} else if !strings.Contains(err.Error(), "mailer fields set '年齢 x' --type text") {
				t.Errorf("%q: %v does not tell the way out", cell, err)
			}
		}
	}
}

func TestInference(t *testing.T) {
	tests := []struct {
		cells []string
		want  Type
	}{
		{nil, Text},
		{[]string{"", ""}, Text},
		{[]string{"1", "", "2.5", "-3"}, Number},
		{[]string{"1", "02"}, Text},
		{[]string{"0", "1"}, Number},
		{[]string{"1000001", "0600001"}, Text},
		{[]string{"2026-01-05", "2026/1/6 10:00"}, Date},
		{[]string{"2026-01-05", "soon"}, Text},
		{[]string{"2026-01-05", "5"}, Text},
		{[]string{"yes", "No"}, Boolean},
		{[]string{"yes", "maybe"}, Text},
		{[]string{"1234567890123456"}, Text},
		{[]string{"1.23E+11"}, Text},
	}
	for _, tt := range tests {
		var i Inference
		for _, cell := range tt.cells {
			i.See(cell)
		}
		if got := i.Type(); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.cells, got, tt.want)
		}
	}
}

func TestRoleOf(t *testing.T) {
	for header, want := range map[string]Role{
		"メールアドレス": Address, "E-mail": Address, "email": Address, "EMAIL ADDRESS": Address, "Ｅメール": Address, "e_mail": Address,
		"氏名": Name, "お名前": Name, "姓": LastName, "Last Name": LastName, "last_name": LastName, "名": FirstName, "ﾌﾘｶﾞﾅ": Kana,
		"会社名": Company, "都道府県": Prefecture, "生年月日": Birthday, "お名前（姓）": LastName, "アドレス": NoRole, "趣味": NoRole,
	} {
		if got := RoleOf(header); got != want {
			t.Errorf("RoleOf(%q) = %q, want %q", header, got, want)
		}
	}
	for key := range aliases {
		if headerKey(key) != key {
			t.Errorf("the alias %q is never found: its key is %q", key, headerKey(key))
		}
	}
	for key := range weakAddress {
		if headerKey(key) != key || aliases[key] != NoRole {
			t.Errorf("the weak alias %q is never found", key)
		}
	}
}

func TestDecodeRefusesForeign(t *testing.T) {
	for _, text := range []string{"", "[]", `{"x1":"a"}`, `{"":"a"}`, `{"f":"a"}`, `{"f1":[1]}`} {
		if cells, err := DecodeCells(text); err == nil {
			t.Errorf("DecodeCells(%q) = %v", text, cells)
		}
	}
}

// Every cell that is accepted comes back byte for byte, under every type that takes it, and the JSON is sound.
func FuzzRoundTrip(f *testing.F) {
	for _, s := range []string{"", "a", "東京都", "30", "2026/1/5", "Yes", "a;b", "\x00", "\u2028", "1e5", "-0", "[]", `"`, "true"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cell string) {
		if !utf8.ValidString(cell) {
			return
		}
		for _, typ := range Types {
			fields := []Field{{ID: 1, Name: "x", Type: typ}}
			text, err := EncodeFields(fields, map[int64]string{1: cell})
			if (err == nil) != Fits(typ, cell) {
				t.Fatalf("%s %q: Fits says %v, EncodeFields %v", typ, cell, Fits(typ, cell), err)
			}
			if err != nil {
				continue
			}
			if !json.Valid([]byte(text)) {
				t.Fatalf("%s %q: not JSON: %s", typ, cell, text)
			}
			want := map[string]string{}
			if cell != "" {
				want["x"] = cell
			}
			if got, err := DecodeFields(fields, text); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s %q came back as %q, %v", typ, cell, got, err)
			}
		}
	})
}
