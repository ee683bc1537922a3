package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"math/rand"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"testing/quick"
	"unicode/utf8"

	gomessage "github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"
)

// leaf is a part without parts, decoded.
type leaf struct {
	kind, disposition, filename, id, encoding string
	body                                      string
}

// readStd takes a message apart with the standard library.
func readStd(t testing.TB, raw []byte) (mail.Header, []string, []leaf) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	var leaves []leaf
	var walk func(h textproto.MIMEHeader, r io.Reader)
	walk = func(h textproto.MIMEHeader, r io.Reader) {
		kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, kind)
		if strings.HasPrefix(kind, "multipart/") {
			mr := multipart.NewReader(r, params["boundary"])
			for {
				p, err := mr.NextRawPart()
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				walk(p.Header, p)
			}
		}
		l := leaf{kind: kind, encoding: h.Get("Content-Transfer-Encoding"), id: h.Get("Content-Id")}
		l.disposition, params, _ = mime.ParseMediaType(h.Get("Content-Disposition"))
		l.filename = params["filename"]
		switch l.encoding {
		case "base64":
			r = base64.NewDecoder(base64.StdEncoding, r)
		case "quoted-printable":
			r = quotedprintable.NewReader(r)
		default:
			t.Fatalf("encoding %q", l.encoding)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		l.body = string(body)
		leaves = append(leaves, l)
	}
	walk(textproto.MIMEHeader(m.Header), m.Body)
	return m.Header, kinds, leaves
}

// readGoMessage does the same with go-message.
func readGoMessage(t testing.TB, raw []byte) (subject string, bodies []string) {
	t.Helper()
	e, err := gomessage.Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if subject, err = e.Header.Text("Subject"); err != nil {
		t.Fatal(err)
	}
	err = e.Walk(func(_ []int, p *gomessage.Entity, err error) error {
		if err != nil {
			return err
		}
		if p.MultipartReader() == nil {
			body, err := io.ReadAll(p.Body)
			bodies = append(bodies, string(body))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return subject, bodies
}

func decodeHeader(t testing.TB, s string) string {
	t.Helper()
	out, err := new(mime.WordDecoder).DecodeHeader(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return out
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestStructure(t *testing.T) {
	tmpl, err := compileFS(workspace("a.md", "---\nsubject: 冬のお知らせ\nattach: [files/価格表 2026年12月版・改訂（お得意様用、社外秘ではありません）.pdf, files/a.csv]\nembed: files/logo.png\n---\n![ロゴ](cid:logo.png)\n\nこんにちは",
		"files/価格表 2026年12月版・改訂（お得意様用、社外秘ではありません）.pdf", "%PDF", "files/a.csv", "a,b\r\n", "files/logo.png", strings.Repeat("\x89PNG", 100)), "a")
	if err != nil {
		t.Fatal(err)
	}
	m := render(t, tmpl, nil)
	checkBytes(t, m.Raw)
	h, kinds, leaves := readStd(t, m.Raw)
	if got := strings.Join(kinds, " "); got != "multipart/mixed multipart/alternative text/plain multipart/related text/html image/png application/pdf text/csv" {
		t.Errorf("structure: %s", got)
	}
	if got := decodeHeader(t, h.Get("Subject")); got != "冬のお知らせ" || got != m.Subject {
		t.Errorf("subject %q", got)
	}
	if leaves[0].body != crlf(m.Text) || leaves[1].body != crlf(m.HTML) {
		t.Error("the bodies differ from what was rendered")
	}
	if leaves[2].id != "<logo.png@example.com>" || !strings.Contains(m.HTML, `src="cid:logo.png@example.com"`) || leaves[2].disposition != "inline" {
		t.Errorf("picture: %+v", leaves[2])
	}
	if leaves[3].filename != "価格表 2026年12月版・改訂（お得意様用、社外秘ではありません）.pdf" || leaves[3].body != "%PDF" || leaves[3].disposition != "attachment" {
		t.Errorf("attachment: %+v", leaves[3])
	}
	if leaves[4].filename != "a.csv" || leaves[4].body != "a,b\r\n" {
		t.Errorf("attachment: %+v", leaves[4])
	}
	if !bytes.Contains(m.Raw, []byte("filename*0*=utf-8''")) || !bytes.Contains(m.Raw, []byte(`name="_ 2026_12_`)) {
		t.Errorf("the long name has no continuation or no ASCII form:\n%s", m.Raw[len(m.Raw)-1200:])
	}
	subject, bodies := readGoMessage(t, m.Raw)
	if subject != m.Subject || len(bodies) != 5 || bodies[3] != "%PDF" {
		t.Errorf("go-message: %q, %d bodies", subject, len(bodies))
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct{ name, front, body, kinds string }{
		{"a.txt", "subject: x", "plain", "text/plain"},
		{"a.html", "subject: x", "<p>page", "multipart/alternative text/plain text/html"},
		{"a.md", "subject: x", "", "multipart/alternative text/plain text/html"},
		{"a.txt", "subject: x\nlayout: none", "", "text/plain"},
	} {
		m := render(t, compileFile(t, c.name, c.front, c.body), nil)
		checkBytes(t, m.Raw)
		if _, kinds, _ := readStd(t, m.Raw); strings.Join(kinds, " ") != c.kinds {
			t.Errorf("%s: %v", c.name, kinds)
		}
	}
}

func TestHeaders(t *testing.T) {
	m := mark
	m.UnsubscribeURL = "https://example.com/u/abc"
	tmpl := compileFile(t, "a.md", "subject: x\nto_name: '{{sama .name}}'\nheaders: {X-Campaign: '{{.campaign}}', List-Help: '<https://example.com/help>'}", "x")
	msg, err := tmpl.Render(Recipient{"a..b@docomo.ne.jp", map[string]string{"name": "山田"}}, m)
	if err != nil {
		t.Fatal(err)
	}
	h, _, _ := readStd(t, msg.Raw)
	for name, want := range map[string]string{
		"Date": "Tue, 01 Dec 2026 18:00:00 +0900", "From": "Example News <news@example.com>", "Reply-To": "info@example.com",
		"To": `山田 様 <"a..b"@docomo.ne.jp>`, "Message-Id": "<m11-0123456789abcdef@example.com>", "Precedence": "bulk",
		"List-Unsubscribe": "<https://example.com/u/abc>, <mailto:bounce+u11-abc@example.com?subject=unsubscribe>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
		"List-Id": "Example News <news.example.com>", "X-Campaign": "a", "List-Help": "<https://example.com/help>", "Mime-Version": "1.0", "Auto-Submitted": "",
	} {
		if got := decodeHeader(t, h.Get(name)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	operational := compileFile(t, "a.md", "subject: x\nclass: operational", "x")
	msg, err = operational.Render(Recipient{"a@b.jp", nil}, m)
	if err != nil {
		t.Fatal(err)
	}
	h, _, _ = readStd(t, msg.Raw)
	if h.Get("List-Unsubscribe") != "" || h.Get("Precedence") != "" || h.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("operational mail: %v", h)
	}
	if msg, err = operational.Render(Recipient{"日本@例え.jp", nil}, m); err != nil || !msg.SMTPUTF8 || !bytes.Contains(msg.Raw, []byte("To: 日本@")) {
		t.Errorf("internationalised address: %v %v", msg.SMTPUTF8, err)
	}
}

// The front matter may set the fields that are the user's choice; there is one of each.
func TestHeadersOfTheFrontMatterWin(t *testing.T) {
	m := render(t, compileFile(t, "a.md", "subject: x\nheaders: {precedence: list, List-Id: 'X <x.example.com>'}", "x"), nil)
	h, _, _ := readStd(t, m.Raw)
	if len(h["Precedence"]) != 1 || h.Get("Precedence") != "list" || len(h["List-Id"]) != 1 || h.Get("List-Id") != "X <x.example.com>" {
		t.Errorf("%v", h)
	}
}

func TestEncodedWords(t *testing.T) {
	for _, s := range []string{"あ", "冬のお知らせ" + strings.Repeat("とても長い件名", 40), "Café", "plain", "a  b", "=?utf-8?B?QQ==?=", strings.Repeat("x", 500),
		strings.Repeat("word ", 60), "😀👨‍👩‍👧‍👦𠮷", "x" + strings.Repeat("é", 200)} {
		raw := string(appendText(nil, "Subject", s))
		for _, line := range strings.Split(strings.TrimSuffix(raw, "\r\n"), "\r\n") {
			if len(line) > 78 || strings.Contains(line, "=?") && len(line) > 76 {
				t.Errorf("a line of %d: %q", len(line), line)
			}
			for _, word := range strings.Fields(line) {
				if !strings.HasPrefix(word, "=?") || !strings.Contains(raw, "utf-8?B?") || isASCII(s) {
					continue
				}
				one := decodeHeader(t, word)
				if len(word) > 75 || !utf8.ValidString(one) || strings.ContainsRune(one, utf8.RuneError) {
					t.Errorf("%q is no word of its own: %q", word, one)
				}
			}
		}
		m, err := mail.ReadMessage(strings.NewReader(raw + "\r\n"))
		if err != nil || decodeHeader(t, m.Header.Get("Subject")) != strings.TrimSpace(s) {
			t.Errorf("%q came back as %q (%v)", s, decodeHeader(t, m.Header.Get("Subject")), err)
		}
	}
}

func TestMailboxes(t *testing.T) {
	for _, c := range []struct{ name, addr string }{
		{"", "a@example.com"}, {"Plain Name", "a@example.com"}, {"Comma, Inc.", "a@example.com"}, {`Quote " \ end`, "a@example.com"},
		{"株式会社とても長い名前の会社の広報部ニュースレター編集室", "newsletter-department@very-long-domain-name.example.com"}, {"=?x", "a@example.com"},
		{strings.Repeat("long name ", 20), "a..b@docomo.ne.jp"}, {"a\tb", "a@example.com"}, {"a@b", "a@example.com"}, {"É", ".a@docomo.ne.jp"},
	} {
		raw := appendMailbox(nil, "From", c.name, c.addr)
		checkBytes(t, append(raw, "\r\n"...))
		m, err := mail.ReadMessage(bytes.NewReader(append(raw, "\r\n"...)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Header.AddressList("From")
		want := strings.TrimSpace(strings.ReplaceAll(c.name, "\t", " "))
		if err != nil || len(got) != 1 || got[0].Name != want || got[0].Address != c.addr {
			t.Errorf("%q %q: %v %v from %q", c.name, c.addr, got, err, raw)
		}
	}
}

func TestQuotedPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "",
		"a\n":                                 "a\r\n",
		"a=b\n":                               "a=3Db\r\n",
		"a \n":                                "a=20\r\n",
		"a\t\n":                               "a=09\r\n",
		".a\n.\n":                             "=2Ea\r\n=2E\r\n",
		"From x\n":                            "=46rom x\r\n",
		"Fromage\n":                           "Fromage\r\n",
		"é\n":                                 "=C3=A9\r\n",
		"a\x00b\n":                            "a=00b\r\n",
		strings.Repeat("x", 76) + "\n":        strings.Repeat("x", 76) + "\r\n",
		strings.Repeat("x", 77) + "\n":        strings.Repeat("x", 75) + "=\r\nxx\r\n",
		strings.Repeat("x", 75) + "." + "x\n": strings.Repeat("x", 75) + "=\r\n=2Ex\r\n",
		strings.Repeat("x", 74) + "=\n":       strings.Repeat("x", 74) + "=\r\n=3D\r\n",
		strings.Repeat("x", 73) + "=\n":       strings.Repeat("x", 73) + "=3D\r\n",
	} {
		if got := string(appendQP(nil, in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestTheSmallerEncodingIsTaken(t *testing.T) {
	for body, want := range map[string]string{"Hello, this is plain text.": "quoted-printable", "これは日本語の本文です。": "base64"} {
		_, _, leaves := readStd(t, render(t, compileFile(t, "a.txt", "subject: x\nlayout: none", strings.Repeat(body+"\n", 20)), nil).Raw)
		if leaves[0].encoding != want {
			t.Errorf("%s: %s", body, leaves[0].encoding)
		}
	}
}

func TestEncodersRoundTrip(t *testing.T) {
	check := func(s string) bool {
		s = finishSegments([]string{s}, false)[0]
		qp := appendQP(nil, s)
		for _, line := range strings.Split(string(qp), "\r\n") {
			if len(line) > 76 || strings.HasSuffix(line, " ") || strings.HasPrefix(line, ".") {
				return false
			}
		}
		out, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(qp)))
		b64 := appendBase64(nil, []byte(s))
		back, err64 := io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(b64)))
		return err == nil && err64 == nil && string(out) == crlf(s) && string(back) == s && len(b64) == base64Len(len(s))
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 500}); err != nil {
		t.Error(err)
	}
}

// randomText is text of many scripts, with what is hard to encode in it.
func randomText(r *rand.Rand, n int) string {
	pieces := []string{"a", "Z", " ", "  ", ".", "=", "é", "ß", "あ", "漢字", "ー", "。", "한국", "العربية", "עברית", "ไทย", "हिन्दी", "Ω", "😀", "𠮷", "👨‍👩‍👧", "<", ">", "&", "\"", "'", "{", "}", "%", "?", "#", "*", "_", "\\", "`", "-", "https://example.com/x?a=b",
		"word", "From ", strings.Repeat("x", 90), "\u00a0", "\u200b", "\u0301", "　"}
	var b strings.Builder
	for range r.Intn(n) {
		b.WriteString(pieces[r.Intn(len(pieces))])
	}
	return b.String()
}

// Whatever the subject, the values and the author's text are, both parsers read back what was rendered, the same input
// gives the same bytes, and the value is in both parts.
func TestRoundTripProperty(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	tmpl := compileFile(t, "a.md", "subject: 'S {{.s}}'\nto_name: '{{.n}}'", "# {{.v}}\n\nText {{.v}} and [a link](https://example.com/?q={{.v}}) {{if .s}}so{{end}}\n\n- {{.v}}\n")
	for range 300 {
		values := map[string]string{"s": randomText(r, 40) + "s", "n": randomText(r, 20) + "n", "v": randomText(r, 200) + "v"}
		m := render(t, tmpl, values)
		checkBytes(t, m.Raw)
		h, _, leaves := readStd(t, m.Raw)
		if got := decodeHeader(t, h.Get("Subject")); got != m.Subject || got != strings.TrimSpace("S "+values["s"]) {
			t.Fatalf("subject %q came back as %q", m.Subject, got)
		}
		to, err := h.AddressList("To")
		if err != nil || to[0].Address != "taro@example.jp" || to[0].Name != strings.TrimSpace(values["n"]) {
			t.Fatalf("To %q: %v %v", values["n"], to, err)
		}
		if leaves[0].body != crlf(m.Text) || leaves[1].body != crlf(m.HTML) {
			t.Fatalf("bodies differ for %q", values)
		}
		subject, bodies := readGoMessage(t, m.Raw)
		if subject != m.Subject || bodies[0] != leaves[0].body || bodies[1] != leaves[1].body {
			t.Fatalf("go-message differs for %q", values)
		}
		if !strings.Contains(squeeze(m.Text), squeeze(values["v"])) {
			t.Fatalf("%q is not in the text part:\n%s", values["v"], m.Text)
		}
		if again := render(t, tmpl, values); !bytes.Equal(again.Raw, m.Raw) {
			t.Fatal("the same input gives other bytes")
		}
	}
}

func TestPlainName(t *testing.T) {
	for in, want := range map[string]string{"a.pdf": "a.pdf", "価格表.pdf": "file.pdf", "a 価格 b.xlsx": "a _ b.xlsx", "x\"y.pdf": "x_y.pdf", "日本": "file"} {
		if got := plainName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// The run of plain octets is a short cut: octet by octet the same comes out.
func TestQuotedPrintableShortCut(t *testing.T) {
	slow := func(line string) string {
		var b []byte
		column := 0
		for i := range len(line) {
			last := i == len(line)-1
			escape, width := qpEscapes(line[i], last, column == 0, []byte(line[i:])), 1
			if escape {
				width = 3
			}
			if room := maxBodyLine - column; width > room || width == room && !last {
				b, column = append(b, "=\r\n"...), 0
				if escape, width = qpEscapes(line[i], last, true, []byte(line[i:])), 1; escape {
					width = 3
				}
			}
			if escape {
				b = append(b, '=', upperHex[line[i]>>4], upperHex[line[i]&15])
			} else {
				b = append(b, line[i])
			}
			column += width
		}
		return string(b)
	}
	rnd := rand.New(rand.NewSource(2))
	const alphabet = "aaaaaaaaaaab  \t.=From あé~!\x01"
	for range 20000 {
		var line []byte
		for range rnd.Intn(200) {
			line = append(line, alphabet[rnd.Intn(len(alphabet))])
		}
		if got, want := string(appendQPLine(nil, line, false)), slow(string(line)); got != want {
			t.Fatalf("%q:\n%q, octet by octet\n%q", line, got, want)
		}
	}
}

// The pictures of a letter are told apart whatever their names are, and found however Markdown and HTML write those.
func TestEmbeddedPicturesOfAnyName(t *testing.T) {
	names := []string{"ロゴ.png", "写真.png", "my logo.png", "a&b.png", "100%.png", "logo.png"}
	front, body, files := "embed: [", "", []string{}
	for _, n := range names {
		front += "'f/" + n + "', "
		body += "![" + n + "](<cid:" + strings.ReplaceAll(n, "%", "%25") + ">)\n"
		files = append(files, "f/"+n, "picture "+n)
	}
	body += "\n<img src='cid:ロゴ.png' alt='by hand'>\n"
	tmpl, err := compileFS(workspace(append(files, "a.md", "---\nsubject: x\n"+front+"]\n---\n"+body+"{{.name}}")...), "a")
	if err != nil {
		t.Fatal(err)
	}
	m := render(t, tmpl, map[string]string{"name": "x"})
	checkBytes(t, m.Raw)
	_, _, leaves := readStd(t, m.Raw)
	ids := map[string]bool{}
	for _, l := range leaves {
		if l.id == "" {
			continue
		}
		id := strings.Trim(l.id, "<>")
		if ids[id] || !strings.Contains(m.HTML, "cid:"+id) {
			t.Errorf("%s: %s is there twice, or not shown", l.filename, id)
		}
		ids[id] = true
	}
	if shown := strings.Count(m.HTML, "@example.com\" alt") + strings.Count(m.HTML, "@example.com' alt"); len(ids) != len(names) || shown != len(names)+1 {
		t.Errorf("%d pictures, %d shown:\n%s", len(ids), shown, m.HTML)
	}
}

// A URI or JSON in a header of the author's own goes out as it is: there are no encoded-words within either.
func TestLongWordsInHeadersOfTheAuthor(t *testing.T) {
	uri, json := "<https://www.example.com/"+strings.Repeat("help/", 20)+">", `{"category":"`+strings.Repeat("n", 800)+`"}`
	tmpl, err := compileFS(workspace("a.md", "---\nsubject: x\nheaders: {List-Help: '"+uri+"', X-SMTPAPI: '"+json+"', X-Looks: '=?utf-8?B?eA==?=', X-Name: '{{.name}}'}\n---\nx"), "a")
	if err != nil {
		t.Fatal(err)
	}
	m := render(t, tmpl, map[string]string{"name": strings.Repeat("n", 1000)})
	checkBytes(t, m.Raw)
	for _, want := range []string{"\r\nList-Help: " + uri + "\r\n", "\r\nX-SMTPAPI: " + json + "\r\n", "\r\nX-Looks: =?utf-8?B?PT91", "\r\nX-Name: =?utf-8?B?bm5u"} {
		if !strings.Contains(string(m.Raw), want) {
			t.Errorf("%.60q is not in %.3000s", want, m.Raw)
		}
	}
}

// A file's name cannot add a header field.
func TestFileNamesInHeaders(t *testing.T) {
	for _, name := range []string{"a\nX-Evil: y.pdf", "a\r\n\r\nx.pdf", "a\x00.pdf", "a\"; b=\".pdf", "a\\.pdf"} {
		p := filePart(name, nil, "")
		if head := p.kind + p.fields; strings.Contains(head, "\nX") || strings.Contains(head, "\n\r") || strings.Contains(head, "\x00") {
			t.Errorf("%q: %q", name, head)
		}
		_, params, err := mime.ParseMediaType(strings.NewReplacer("\r\n", "").Replace(strings.TrimPrefix(p.fields, "Content-Disposition: ")))
		if err != nil || params["filename"] != name {
			t.Errorf("%q became %q: %v", name, params["filename"], err)
		}
	}
}
