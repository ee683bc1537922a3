package ingest

import (
	"slices"
	"strings"
	"testing"
)

func TestReadHeader(t *testing.T) {
	rows := [][]string{{"taro@example.jp", "山田", "x"}, {"hanako@example.jp", "佐藤", "y"}}
	tests := []struct {
		names   []string
		maps    []string
		address int
		fields  []string
	}{
		{[]string{"メールアドレス", "氏名", "x"}, nil, 0, []string{"メールアドレス", "氏名", "x"}},
		{[]string{"E-mail", "Name", "x"}, nil, 0, []string{"E-mail", "Name", "x"}},
		{[]string{" Email\u3000", "Name ", "x"}, nil, 0, []string{"", "Name", "x"}},
		{[]string{"アドレス", "お名前", "x"}, nil, 0, []string{"アドレス", "お名前", "x"}},
		{[]string{"連絡先", "住所", "メモ"}, nil, 0, []string{"連絡先", "住所", "メモ"}},
		{[]string{"宛名", "氏名", "x"}, []string{"宛名=email"}, 0, []string{"", "氏名", "x"}},
		{[]string{"Kontakt", "氏名", "x"}, []string{"kontakt=email", "氏名=name", "x="}, 0, []string{"", "name", ""}},
		{[]string{"a=b", "氏名", "x"}, []string{"a=b=email"}, 0, []string{"", "氏名", "x"}},
		{[]string{"email", "", "x"}, nil, 0, []string{"", "column 2", "x"}},
		{[]string{"email", "x", "x"}, nil, 0, []string{"", "x", "x (2)"}},
		{[]string{"email", "x", "x"}, []string{"#3=y"}, 0, []string{"", "x", "y"}},
		{[]string{"email", "メールアドレス", "x"}, nil, 0, []string{"", "メールアドレス", "x"}},
		{[]string{"メールアドレス", "E-mail", "x"}, []string{"メールアドレス=email"}, 0, []string{"", "E-mail", "x"}},
	}
	for _, tt := range tests {
		var maps []Mapping
		for _, m := range tt.maps {
			parsed, err := ParseMapping(m)
			if err != nil {
				t.Fatal(err)
			}
			maps = append(maps, parsed)
		}
		h, err := readHeader(tt.names, maps, rows)
		if err != nil {
			t.Errorf("%q %q: %v", tt.names, tt.maps, err)
			continue
		}
		if h.address != tt.address || !slices.Equal(h.fields, tt.fields) {
			t.Errorf("%q %q: address %d, fields %q; want %d, %q", tt.names, tt.maps, h.address, h.fields, tt.address, tt.fields)
		}
	}
}

func TestReadHeaderRefuses(t *testing.T) {
	rows := [][]string{{"taro@example.jp", "山田"}, {"hanako@example.jp", "佐藤"}}
	tests := []struct {
		names  []string
		maps   []Mapping
		reason []string
	}{
		{[]string{"宛名", "氏名"}, nil, []string{`"宛名", "氏名"`, "--map '宛名=email'"}},
		{[]string{"氏名", "宛名"}, nil, []string{"--map '氏名=email'"}},
		{[]string{"taro@example.jp", "山田"}, nil, []string{"looks like data"}},
		{[]string{"E-mail", "メールアドレス"}, nil, []string{"both name an address", "--map"}},
		{[]string{"email", "name"}, []Mapping{{"nmae", "x"}}, []string{`no column "nmae"`, `"email", "name"`}},
		{[]string{"email", "name"}, []Mapping{{"name", "email"}}, []string{"both fill"}},
		{[]string{"email", "na\x00me"}, nil, []string{"NUL"}},
	}
	for _, tt := range tests {
		_, err := readHeader(tt.names, tt.maps, rows)
		for _, reason := range tt.reason {
			if err == nil || !strings.Contains(err.Error(), reason) {
				t.Errorf("%q: %v, want a reason with %q", tt.names, err, reason)
			}
		}
	}
	if h, err := readHeader([]string{"アドレス", "x"}, nil, [][]string{{"東京都千代田区", "1"}}); err == nil {
		t.Errorf("a postal address was taken for one of mail: %+v", h)
	}
	for _, s := range []string{"", "x", "=x"} {
		if m, err := ParseMapping(s); err == nil {
			t.Errorf("ParseMapping(%q) = %v", s, m)
		}
	}
}
