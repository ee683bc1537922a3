package contact

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func infer(header string, cells ...string) Type {
	i := NewInference(header)
	for _, cell := range cells {
		i.See(cell)
	}
	return i.Type()
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
		{[]string{"令和6年5月1日", "R6/5/1", "2026-01-05T10:00:00Z"}, Date},
		{[]string{"01/02/2026"}, Text},
		{[]string{"yes", "No"}, Boolean},
		{[]string{"yes", "maybe"}, Text},
		{[]string{"1234567890123456"}, Text},
		{[]string{"1.23E+11"}, Text},
		{[]string{"1,234"}, Text},
		{[]string{"¥1,200"}, Text},
		{[]string{"a;b", "b;c", "a;c", "a"}, List},
		{[]string{"a|b", "b|c", "a|c", ""}, List},
		{[]string{"a;b", "b|c", "a;c", "a"}, Text},          // which of the two divides?
		{[]string{"a,b", "b,c", "a,c", "a"}, Text},          // a comma never does
		{[]string{"a;b", "c;d", "e;f", "g;h"}, Text},        // no word comes again
		{[]string{"a;b", "a;b"}, Text},                      // too few to tell
		{[]string{"a;b", "a;", "a;b"}, Text},                // nothing behind the last
		{[]string{"a;b", "a;b", "a;b", "x@y.jp;a"}, Text},   // addresses
		{[]string{"a;b", "a;b", "a;b", "http://a;b"}, Text}, // a link
		{[]string{"a;b", "a;b", "a;b", "a;Osaka, b"}, Text}, // it would be cut at the comma too
		{[]string{"1;2", "1;2", "2;1"}, List},
	}
	for _, tt := range tests {
		var zero Inference
		for _, cell := range tt.cells {
			zero.See(cell)
		}
		if got := zero.Type(); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.cells, got, tt.want)
		}
		if got := infer("x", tt.cells...); got != tt.want {
			t.Errorf("NewInference, %q: %s, want %s", tt.cells, got, tt.want)
		}
	}
}

func TestInferenceByName(t *testing.T) {
	for _, tt := range []struct {
		header string
		cells  []string
		want   Type
	}{
		{"タグ", []string{"vip"}, List},
		{"Tags", []string{"vip, new", "1"}, List},
		{"tags", []string{"1", "2"}, List},
		{"tags", []string{""}, Text},
		{"tags", []string{strings.Repeat("long ", 200)}, Text},
		{"グループ", []string{"A", "B"}, Text},
		{"グループ", []string{"A、C", "B"}, List},
		{"group", []string{"1", "2"}, Number},
		{"郵便番号", []string{"1000001", "1500002"}, Text},
		{"TEL", []string{"9012345678"}, Text},
		{"都道府県", []string{"13", "27"}, Text},
		{"会社名", []string{"3", "7"}, Text},
		{"役職", []string{"yes"}, Text},
		{"生年月日", []string{"2026-01-05"}, Date},
		{"性別", []string{"1", "2"}, Number},
		{"会社名", []string{"a;b", "b;c", "a;c", "a"}, Text},
		{"住所", []string{"a|b", "a|b", "a|b"}, Text},
	} {
		if got := infer(tt.header, tt.cells...); got != tt.want {
			t.Errorf("%s %q: %s, want %s", tt.header, tt.cells, got, tt.want)
		}
	}
}

func TestEmpty(t *testing.T) {
	for _, header := range []string{"x", "氏名", "電話", "tags"} {
		i := NewInference(header)
		if i.See(""); !i.Empty() {
			t.Errorf("%s holds something before anything was seen", header)
		}
		if i.See("1"); i.Empty() {
			t.Errorf("%s is empty though a cell has a value", header)
		}
	}
}

// Separators that come late, or in few cells, make no list; and the memory of a column is bounded.
func TestInferenceOfLongColumns(t *testing.T) {
	single := slices.Repeat([]string{"東京都", "大阪府"}, lonelyRows)
	if got := infer("x", append(single, "a;b", "a;b", "a;b")...); got != Text {
		t.Errorf("a column of single words is a %s", got)
	}
	i := NewInference("x")
	for n := range 100_000 {
		i.See(fmt.Sprintf("w%d;w%d", n, n+1))
	}
	if got := i.Type(); got != Text || len(i.list.words) > maxWords {
		t.Errorf("%s, %d words kept", got, len(i.list.words))
	}
	var many Inference
	for range 10_000 {
		many.See("red;green")
		many.See("blue;red")
	}
	if got := many.Type(); got != List {
		t.Errorf("a long list is a %s", got)
	}
}

func TestSeeAllocatesNothing(t *testing.T) {
	for _, cell := range []string{"東京都", "12345", "2026-01-05", "2026年1月5日", "yes", "山田 太郎", "R6/5/1"} {
		i := NewInference("x")
		i.See(cell)
		if n := testing.AllocsPerRun(100, func() { i.See(cell) }); n > 0 {
			t.Errorf("%q: %v allocations", cell, n)
		}
	}
}

// What is found for a column of 8 million cells. "all open" is the first cell: every check runs.
func BenchmarkSee(b *testing.B) {
	for _, cell := range []string{"東京都", "taro@example.jp", "12345.5", "2026-01-05", "2026/1/5", "R6/5/1", "true"} {
		b.Run("column of "+cell, func(b *testing.B) {
			i := NewInference("x")
			b.ReportAllocs()
			for b.Loop() {
				i.See(cell)
			}
		})
		b.Run("all open "+cell, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				i := Inference{not: notList}
				i.See(cell)
			}
		})
	}
}
