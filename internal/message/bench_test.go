package message

import (
	"fmt"
	"strings"
	"testing"
)

// newsletter is a letter of some 14 KB in two parts, with six fields and twenty links.
func newsletter(b *testing.B) (*Template, Recipient) {
	b.Helper()
	var body strings.Builder
	body.WriteString("# Hello {{.first_name}} {{.last_name}}\n\nYou live in {{.city}} and have {{.points}} points.\n\n")
	for i := range 20 {
		fmt.Fprintf(&body, "## Story %d\n\n%s\n\n[Read more](https://www.example.com/story/%d?c={{.id}})\n\n", i, strings.Repeat("Words for the readers of this letter. ", 12), i)
	}
	body.WriteString("Your code is {{.code}}.\n")
	values := map[string]string{"first_name": "花子", "last_name": "山田", "city": "Tokyo", "points": "120", "id": "4711", "code": "XMAS"}
	return compileFile(b, "news.md", "subject: News for {{.first_name}}", body.String()), Recipient{"hanako@example.jp", values}
}

// BenchmarkRender is one message with its bytes, not signed.
func BenchmarkRender(b *testing.B) {
	t, r := newsletter(b)
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		m, err := t.Render(r, mark)
		if err != nil {
			b.Fatal(err)
		}
		size = len(m.Raw)
	}
	b.ReportMetric(float64(size), "B/msg")
}

// BenchmarkPreflight is one recipient of the check before sending.
func BenchmarkPreflight(b *testing.B) {
	t, r := newsletter(b)
	p := NewPreflight(t, Facts{})
	b.ReportAllocs()
	for b.Loop() {
		p.Add(r, mark)
	}
}
