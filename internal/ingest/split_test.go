package ingest

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// rowsOf reads all records as "line: cell|cell", malformed ones as "line! cell: bytes".
func rowsOf(t testing.TB, r io.Reader, delim byte) []string {
	t.Helper()
	s := newSplitter(r, delim)
	var out []string
	for {
		rec, err := s.next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.err != nil {
			out = append(out, fmt.Sprintf("%d! %d: %s", rec.line, rec.cell, rec.bytes))
			continue
		}
		out = append(out, fmt.Sprintf("%d: %s", rec.line, strings.Join(cells(string(rec.bytes), delim, nil), "|")))
	}
}

func TestSplit(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
	}{
		{"empty", "", nil},
		{"no newline at the end", "a,b\nc,d", []string{"1: a|b", "2: c|d"}},
		{"crlf", "a,b\r\nc,d\r\n", []string{"1: a|b", "2: c|d"}},
		{"cr", "a,b\rc,d\r", []string{"1: a|b", "2: c|d"}},
		{"blank lines", "a\n\n\nb\n", []string{"1: a", "2: ", "3: ", "4: b"}},
		{"quotes", `"a","b ""x"" c",d` + "\n", []string{`1: a|b "x" c|d`}},
		{"quoted newline", "\"a\nb\",c\nd,e\n", []string{"1: a\nb|c", "3: d|e"}},
		{"quoted crlf and cr", "\"a\r\nb\rc\",d\r\ne,f\r\n", []string{"1: a\r\nb\rc|d", "4: e|f"}},
		{"quoted delimiter", "\"a,b\",c\n", []string{"1: a,b|c"}},
		{"empty cells", ",,\n\"\",\"\"\n", []string{"1: ||", "2: |"}},
		{"bare quote", "a \"b\" c,5\" disk\n", []string{`1: a "b" c|5" disk`}},
		{"text behind a quote", "x,\"a\"b\nc,d\n", []string{`1! 2: x,"a"b`, "2: c|d"}},
		{"unclosed, then a quoted row", "h,i\na,\"b\nc,\"d\"\ne,f\n", []string{"1: h|i", `2! 2: a,"b`, `3: c|d`, "4: e|f"}},
		{"unclosed to the end", "a,\"b\nc,d\ne,f\n", []string{`1! 2: a,"b`, "2: c|d", "3: e|f"}},
		{"unclosed on the last line", "a,b\nc,\"d", []string{"1: a|b", `2! 2: c,"d`}},
	}
	for _, tt := range tests {
		for name, r := range map[string]io.Reader{
			"at once": strings.NewReader(tt.in), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.in)),
			"with the end": iotest.DataErrReader(strings.NewReader(tt.in)),
		} {
			if got := rowsOf(t, r, ','); !slices.Equal(got, tt.want) {
				t.Errorf("%s, %s: %q, want %q", tt.name, name, got, tt.want)
			}
		}
	}
}

func TestUnclosedQuoteIsBounded(t *testing.T) {
	rows := strings.Repeat("x@example.jp,name\n", 200000)
	got := rowsOf(t, strings.NewReader("a,\"b\n"+rows), ',')
	if len(got) != 200001 || got[0] != `1! 2: a,"b` || got[1] != "2: x@example.jp|name" {
		t.Errorf("%d rows, the first %q", len(got), got[:2])
	}
}

func TestEndlessLineIsBounded(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r"} {
		for _, quote := range []string{"", `"`} {
			// The tail of the line looks like a row of its own.
			in := quote + strings.Repeat("x", 5*maxRecord) + quote + ",c@example.jp" + end + "a,b" + end
			got := rowsOf(t, strings.NewReader(in), ',')
			if len(got) != 2 || !strings.HasPrefix(got[0], "1! 1: ") || got[1] != "2: a|b" {
				t.Errorf("%q, %q: %d rows, the last %.40q; want the long line as one and a row behind it", quote, end, len(got), got[len(got)-1])
			}
		}
	}
}

// What encoding/csv writes is read back, for any cells, with the lines where the records begin.
func TestSplitAgainstEncodingCSV(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	parts := []string{"a", "太郎", `"`, ",", "\n", "\r\n", ";", "\t", " ", "'"}
	for range 300 {
		var file bytes.Buffer
		w := csv.NewWriter(&file)
		w.UseCRLF = r.IntN(2) == 0
		var want [][]string
		for range 1 + r.IntN(5) {
			row := []string{"x"}
			for range 3 {
				var cell strings.Builder
				for range r.IntN(4) {
					cell.WriteString(parts[r.IntN(len(parts))])
				}
				row = append(row, cell.String())
			}
			w.Write(row)
			want = append(want, row)
		}
		w.Flush()
		oracle, err := csv.NewReader(bytes.NewReader(file.Bytes())).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		s := newSplitter(bytes.NewReader(file.Bytes()), ',')
		for i := range want {
			rec, err := s.next()
			if err != nil || rec.err != nil {
				t.Fatalf("%q: %v %v", file.String(), err, rec.err)
			}
			got := cells(string(rec.bytes), ',', nil)
			for j := range got { // encoding/csv folds CRLF inside quotes to LF, this splitter keeps a cell as it is
				got[j] = strings.ReplaceAll(got[j], "\r\n", "\n")
			}
			if !slices.Equal(got, oracle[i]) {
				t.Fatalf("%q: record %d is %q, encoding/csv says %q", file.String(), i, got, oracle[i])
			}
		}
	}
}

func TestDetectDelimiter(t *testing.T) {
	for in, want := range map[string]byte{
		"email,name\na@x.jp,b\n":               ',',
		"email\tname\na@x.jp\tb, c\n":          '\t',
		"email;name\na@x.jp;1,5\nb@x.jp;2,5\n": ';',
		"email\na@x.jp\n":                      ',',
		"":                                     ',',
		"email,memo\na@x.jp,\"x;y;z\"\nb@x.jp,p;q\n":    ',',
		"email|name\na@x.jp|b\n":                        '|',
		"email,tags\na@x.jp,a|b|c\nb@x.jp,a|b|c\n":      ',',
		"名簿, 1月\n\nemail\tname\na@x.jp\tb\nc@x.jp\td\n": '\t',
		"名簿\nemail;name\na@x.jp;b\n":                    ';',
		"email;name\na@x.jp\nb@x.jp\n":                  ';',
	} {
		if got := detectDelimiter([]byte(in), true); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// Every byte of the input is in exactly one record or line ending, and lines only grow.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"a,b\n", "\"a\nb\",c\r\n", "a,\"b\nc,\"d\"\n", "\"", "\"\"\"", "\r", "\n\r\n\r", "a,\"\"b\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := newSplitter(bytes.NewReader(in), ',')
		var last int64
		length := 0
		for {
			rec, err := s.next()
			if err != nil {
				break
			}
			if rec.line <= last {
				t.Fatalf("line %d after %d in %q", rec.line, last, in)
			}
			last = rec.line
			length += len(rec.bytes)
			if rec.err == nil {
				cells(string(rec.bytes), ',', nil)
			}
		}
		endings := bytes.Count(in, []byte("\n")) + bytes.Count(in, []byte("\r"))
		if length > len(in) || length < len(in)-endings {
			t.Fatalf("%d of %d bytes in records: %q", length, len(in), in)
		}
	})
}
