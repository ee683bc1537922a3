package message

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/wneessen/go-mail"
)

// newsletter is a letter of some 14 KB (in base64 18 KB) in two parts, with six fields and twenty links, each with a field.
func newsletter(tb testing.TB, layout, words string, signers ...Signer) (*Template, Recipient) {
	tb.Helper()
	var body strings.Builder
	fmt.Fprintf(&body, "---\nsubject: News for {{.first_name}}\nlayout: %s\n---\n# Hello {{.first_name}} {{.last_name}}\n\nYou live in {{.city}} and have {{.points}} points.\n\n", layout)
	for i := range 20 {
		fmt.Fprintf(&body, "## Story %d\n\n%s\n\n[Read more](https://www.example.com/story/%d?c={{.id}})\n\n", i, words, i)
	}
	body.WriteString("Your code is {{.code}}.\n")
	t, err := compileFS(workspace("news.md", body.String()), "news", signers...)
	if err != nil {
		tb.Fatal(err)
	}
	return t, Recipient{"hanako@example.jp", map[string]string{"first_name": "花子", "last_name": "山田", "city": "Tokyo", "points": "120", "id": "4711", "code": "XMAS"}}
}

var (
	english  = "Words for the readers of this letter."
	japanese = "読者の皆さまへのお知らせです。"
)

// goMail composes what one recipient gets with go-mail, as a loop over recipients does.
func goMail(tb testing.TB, out *bytes.Buffer, encoding mail.Encoding, subject, text, page string) {
	m := mail.NewMsg(mail.WithEncoding(encoding), mail.WithNoDefaultUserAgent())
	if err := m.From("Example News <news@example.com>"); err != nil {
		tb.Fatal(err)
	}
	if err := m.To("hanako@example.jp"); err != nil {
		tb.Fatal(err)
	}
	m.Subject(subject)
	m.SetDateWithValue(mark.Date)
	m.SetMessageIDWithValue(mark.MessageID)
	m.SetGenHeader("List-Unsubscribe", "<"+mark.UnsubscribeMailto+">")
	m.SetGenHeader("List-Id", "Example News <news.example.com>")
	m.SetBulk()
	m.SetBodyString(mail.TypeTextPlain, text)
	m.AddAlternativeString(mail.TypeTextHTML, page)
	out.Reset()
	if _, err := m.WriteTo(out); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkCompose puts go-mail, which composes each message afresh, beside slots in a skeleton, in turns within one run, so
// that a noisy machine is noisy for both. compose: from values that are rendered already to bytes; render: from the contact.
func BenchmarkCompose(b *testing.B) {
	for _, c := range []struct {
		name, words string
		encoding    mail.Encoding
	}{{"quoted-printable", english, mail.EncodingQP}, {"base64", japanese, mail.EncodingB64}} {
		for _, layout := range []string{"default", "newsletter"} {
			b.Run(layout+"/"+c.name, func(b *testing.B) { benchmarkCompose(b, layout, c.words, c.encoding) })
		}
	}
}

func benchmarkCompose(b *testing.B, layout, words string, encoding mail.Encoding) {
	t, r := newsletter(b, layout, words)
	d := t.documents[0]
	if d.skeleton.runs {
		b.Fatal("the newsletter is not composed of slots alone")
	}
	full, err := t.Render(r, mark)
	if err != nil {
		b.Fatal(err)
	}
	f := t.filler(d, r, mark)
	var parts [2][]seg
	for i, part := range []*compiled{d.text, d.html} {
		if !f.fill(part) {
			b.Fatal("not filled")
		}
		f.finish(i == 0)
		parts[i] = append(parts[i], f.segs...)
	}
	var peer bytes.Buffer
	mine, theirs, whole, wholeTheirs := stopwatch{runs: 10}, stopwatch{runs: 10}, stopwatch{runs: 10}, stopwatch{runs: 10}
	b.ReportAllocs()
	for b.Loop() {
		theirs.time(func() { goMail(b, &peer, encoding, full.Subject, full.Text, full.HTML) })
		mine.time(func() {
			head, ok, err := d.fillHeader(f, r, mark, full.Subject)
			if !ok || err != nil {
				b.Fatal(err)
			}
			for i, part := range []*compiled{d.text, d.html} {
				f.segs = append(f.segs[:0], parts[i]...)
				head = f.appendPart(append(head, d.skeleton.parts[i]...), part.base64)
			}
			f.out = append(head, d.skeleton.parts[2]...)
		})
		wholeTheirs.time(func() {
			out, err := d.execute(r, mark)
			if err != nil {
				b.Fatal(err)
			}
			goMail(b, &peer, encoding, out.subject, out.text, out.html)
		})
		whole.time(func() {
			if _, err := t.Compose(r, mark); err != nil {
				b.Fatal(err)
			}
		})
	}
	b.ReportMetric(float64(len(full.Raw)), "B/msg")
	b.ReportMetric(mine.each(), "compose-ns")
	b.ReportMetric(theirs.each()/mine.each(), "compose-x-go-mail")
	b.ReportMetric(whole.each(), "render-ns")
	b.ReportMetric(wholeTheirs.each()/whole.each(), "render-x-go-mail")
	b.ReportMetric(testing.AllocsPerRun(100, func() {
		if _, err := t.Compose(r, mark); err != nil {
			b.Fatal(err)
		}
	}), "allocs/msg")
}

// BenchmarkSigned is a whole message with RSA-2048, beside the bare signature of a hash.
func BenchmarkSigned(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	t, r := newsletter(b, "newsletter", english, Signer{"example.com", "s2026", key})
	hash := sha256.Sum256([]byte("hash"))
	bare, whole := stopwatch{runs: 1}, stopwatch{runs: 1}
	for b.Loop() {
		bare.time(func() {
			if _, err := key.Sign(rand.Reader, hash[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
		})
		whole.time(func() {
			if _, err := t.Compose(r, mark); err != nil {
				b.Fatal(err)
			}
		})
	}
	b.ReportMetric(bare.each(), "bare-ns")
	b.ReportMetric(whole.each()/bare.each(), "x-bare-signature")
}

// BenchmarkPreflight is one recipient of the check before sending.
func BenchmarkPreflight(b *testing.B) {
	t, r := newsletter(b, "newsletter", english)
	p := NewPreflight(t, Facts{})
	b.ReportAllocs()
	for b.Loop() {
		p.Enter(p.Look(r, mark))
	}
}
