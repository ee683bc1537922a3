package message

import (
	"bytes"
	"fmt"
	htmltemplate "html/template"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// generator writes random campaigns.
type generator struct{ *rand.Rand }

func (g generator) pick(list ...string) string { return list[g.Intn(len(list))] }

var fieldNames = []string{"a", "b", "c", "名前", "long", "empty", "no", "x y"}

func (g generator) field() string {
	f := fieldNames[g.Intn(len(fieldNames))]
	if f == "x y" {
		return `field "x y"`
	}
	return "." + f
}

func (g generator) value() string {
	f := g.field()
	if g.Intn(3) == 0 {
		f = g.pick(".email", ".unsubscribe_url", ".sender.name", ".sender.organization", ".campaign", "lang", "class", "$.a")
	}
	if g.Intn(3) == 0 {
		return g.function(f)
	}
	return g.pick("{{"+f+"}}", "{{"+f+"}}", "{{"+f+"}}", `{{default "誰か <x>" (`+f+`)}}`, "{{"+f+` | default "x+y"}}`, "{{sama ("+f+`)}}`,
		"{{upper ("+f+")}}", "{{or (field \"no\") (field \"a\")}}", "{{- "+f+" -}}", "{{printf \"%s!\" ("+f+")}}", "{{.now | date \"2006年1月2日\"}}",
		"{{if "+f+"}}{{"+f+"}}{{end}}", "{{with "+f+"}}({{.}}){{else}}-{{end}}", "{{title (upper ("+f+"))}}")
}

// function is a call of one of our functions; some fail for some contacts, and some for all.
func (g generator) function(f string) string {
	date := g.pick(".joined", ".now", `"2026-12-24"`, "(default .now .joined)", ".joined", "(field \"joined\")", "$.joined", "(or .no .joined)")
	number := g.pick(".points", "12", "1234.5", "(default 0 .no)", `"3"`, ".points", "$.points", "(days .joined)", ".points")
	zone := g.pick("Europe/Paris", "Asia/Tokyo")
	if g.Intn(30) == 0 {
		date, number, zone = ".a", ".b", "No/Where"
	}
	return g.pick(`{{date "`+g.pick("long", "short", "full", "2 Jan 2006", "Mon 15:04")+`" `+date+"}}", `{{dateIn "`+zone+`" "2006-01-02 15:04" `+date+"}}",
		"{{weekday "+date+"}}", `{{weekday "short" `+date+"}}", "{{wareki "+date+"}}", `{{wareki "2006年" `+date+"}}", "{{relative "+date+"}}", "{{days "+date+"}}",
		"{{if lt (days "+date+") 5}}soon{{else}}later{{end}}", "{{number "+number+"}}", "{{number 2 "+number+"}}", `{{currency "`+g.pick("JPY", "EUR", "CHF")+`" `+number+"}}",
		`{{plural "point" "points" `+number+"}}", "{{if ge "+number+" 100}}many{{else if gt "+number+" 1.5}}some{{end}}", "{{if eq "+number+" 12 120}}dozen{{end}}", "{{eq "+number+" 12}}", "{{with number "+number+"}}{{.}}{{end}}",
		"{{sei .名前}}", "{{mei .名前}}", "{{sama (sei .名前)}}", "{{onchu ("+f+")}}", "{{trim ("+f+")}}", `{{replace "a" "<b>" (`+f+")}}", "{{print ("+f+") 5 "+number+"}}", "{{println ("+f+")}}", `{{printf "%5d|%v|%q" 7 `+number+" ("+f+")}}",
		`{{join " / " .list}}`, `{{join "+" (split "," .list)}}`, `{{if split "," .list}}listed{{end}}`, "{{urlquery ("+f+")}}", "{{"+f+" | urlquery}}", "{{"+f+" | lower | printf \"%.3s\"}}", "{{language}}", "{{mailto .unsubscribe_url}}",
		"{{default 5 .no}}", "{{default .points .no | number}}", "{{and .a 5}}", "{{or .no 0 .a}}", "{{not .a}}", "{{true}}", "{{printf \"%c\" 30}}{{\"\\x1e\"}}", "{{mailto (print \"mailto:%1E\" .a)}}", "{{5}}", "{{1.50}}", "{{if eq .a .b}}same{{end}}{{if eq .points 12}}n{{end}}{{if ne .points (print 12)}}p{{end}}{{if eq .a \"x\" .b}}t{{end}}", "{{.sender}}", "{{if .sender}}S{{end}}", "{{.now}}", "{{if and .now 1}}N{{end}}",
		`{{include "promo"}}`, `{{include "promo"}}`, "{{with "+f+`}}{{include "promo"}}{{end}}`, `{{upper "const"}}{{number 1234567.5}}{{date "long" "2026-01-02"}}`, "<a href=\"https://example.com/{{urlquery ("+f+")}}?n={{number "+number+"}}\">n</a>",
		`{{if eq language "ja" "de"}}JD{{else if ne class "operational"}}{{.a}}{{end}}`)
}

func (g generator) block(depth int) string {
	var b strings.Builder
	for range g.Intn(5) + 1 {
		cond := g.pick(g.field(), `has "a"`, `has "no"`, `not (has "no")`, `eq class "marketing"`, `eq (or .no .a) "x"`, `and .a .b`, `or .no .empty`, `ne lang "ja"`, `and (has "a") (has "b")`)
		node := g.pick(g.value(), g.value(), g.value(), " text ", "\n", "\n\n", "行末 \n", ".\n.x", "From me\n", "=3D", "日本語の文章です。", "tab\t", "# Title ", "- item ", strings.Repeat("long words ", 12),
			"<b>bold</b>", "[link](https://example.com/"+g.pick("", "{{.a}}")+"?q={{"+g.field()+"}})", "<a href=\"https://example.com/{{"+g.field()+"}}\" title='{{"+g.field()+"}}'>x</a>",
			"<a href=\"{{"+g.field()+"}}\">y</a>", "<p style=\"color:{{.c}}\">z</p>", "<img src=\"cid:logo.png\" alt=\"{{.a}}\">", "**strong {{.b}}**", "\n> quoted {{.a}}\n", "`code`",
			"{{if "+cond+"}}@{{end}}", "{{if "+cond+"}}@{{else}}@{{end}}", "{{with "+g.field()+"}}{{.}}"+g.pick("x", "\n\ny\n\n")+"{{else}}@{{end}}",
			"{{with .sender.organization}}{{.}} {{$.a}}{{end}}", "{{range split \",\" .list}}[{{.}}]"+g.pick("", "\n\n- {{.}} {{$.b}}\n")+"{{else}}none{{end}}", "{{$v := .a}}", "{{$v := .a}}({{$v}})",
			"{{template \"part\" .}}", "{{template \"variable\" .}}", "{{template \"other\" .a}}", "{{/* nothing */}}", "{{\"\"}}")
		if g.Intn(3) == 0 {
			node = g.function(g.field())
		}
		for strings.Contains(node, "@") { // only what was picked costs something
			inner := g.value()
			if depth <= 2 {
				inner = g.block(depth + 1)
			}
			node = strings.Replace(node, "@", strings.ReplaceAll(inner, "@", ""), 1)
		}
		b.WriteString(node)
	}
	return b.String()
}

const definitions = `{{define "part"}}<i>{{.a}}</i> part {{.b}}
{{end}}{{define "variable"}}{{$v := .b}}v{{$v}}{{end}}{{define "other"}}o{{.}}{{end}}`

func (g generator) campaign() (name, text string) {
	name = "a." + g.pick("md", "md", "html", "txt")
	front := "subject: '" + g.pick("S {{.a}}", "{{sama .名前}}", "fixed", "お知らせ {{.b}} {{default \"x\" .no}}", "{{.now | date \"2006\"}}", "{{if .a}}x{{end}} y") + "'\n"
	front += g.pick("", "to_name: '{{.名前}}'\n", "to_name: '{{default \"\" .no}}'\n", "to_name: fixed\n", "to_name: '{{$x := .a}}{{$x}}'\n")
	front += g.pick("", "headers: {X-A: '{{.b}}', Feedback-ID: '1:2:3:example'}\n", "headers: {X-C: '{{range split \",\" .list}}{{.}};{{end}}'}\n", "headers: {List-Id: 'x <x.example.com>', X-B: '{{default \"\" .no}}'}\n")
	front += g.pick("", "", "layout: none\n", "layout: newsletter\n", "layout: announcement\n", "layout: letter\n", "layout: japanese\n")
	front += g.pick("", "", "lang: ja\n", "lang: de\n", "lang: ar\n")
	front += g.pick("", "", "class: operational\n")
	front += g.pick("", "utm: {source: news, medium: mail, hosts: [example.com]}\n")
	front += g.pick("", "preheader: 'For {{.a}}'\n", "text: \"own {{.a}} text\\n\\nend \"\n", "embed: files/logo.png\n", "attach: files/価格.pdf\n",
		"attach: ['docs/{{lang}}.pdf', '{{if .b}}docs/{{lang}}.pdf{{end}}', files/価格.pdf]\n", "attach: 'docs/{{if .a}}x{{else}}{{.a}}{{end}}.pdf'\n")
	return name, "---\n" + front + "---\n" + definitions + g.block(0)
}

func (g generator) contact() map[string]string {
	values := map[string]string{}
	for _, f := range []string{"a", "b", "c", "名前", "long", "x y", "list"} {
		switch {
		case g.Intn(4) == 0:
			values[f] = nasty[g.Intn(len(nasty))]
		default:
			values[f] = g.pick("花子", "x", "Jürgen", "a b ", ".", " ", "trail\t", "a\r\nb", "a\rb", "\n", `\1e \From`, "q\"'q", "<>&+", "עברית \u202b", "😀", "=", "a, b,c", "bad\xffutf8", "javascript:x", "https://example.com/?a=b&c=d", "50%", "%41") +
				g.pick("", "", "", randomText(g.Rand, 60))
		}
	}
	values["empty"] = ""
	values["joined"] = g.pick("2026-11-20", "2025/4/1", "2026-12-24 18:30", "1989-01-08", "2026年12月25日", " ")
	values["points"] = g.pick("120", "1", "0", "12", "1,234.50", "１２")
	if values["long"] += g.pick("", strings.Repeat("長い値 and words. ", 30)); g.Intn(10) == 0 {
		delete(values, "b")
	}
	return values
}

// The fast way gives the bytes, the subject and the parts of the plain one for random templates and contacts, or both fail
// with the same words.
func TestFastIsPlain(t *testing.T) {
	seen := map[string]int{}
	for seed := range int64(300) {
		g := generator{rand.New(rand.NewSource(seed))}
		name, text := g.campaign()
		tmpl, err := compileFS(workspace(name, text, "files/logo.png", "\x89PNG", "files/価格.pdf", "%PDF", "docs/en.pdf", "en", "docs/ja.pdf", "ja", "docs/de.pdf", "de", "docs/ar.pdf", "ar", "docs/x.pdf", "x",
			"templates/partials/promo.html", `<b title="{{.b}}">{{.a}}</b>{{if .b}}{{$.b}}{{end}} {{with .a}}{{.}}{{$.a}}{{end}}`), "a")
		if err != nil {
			seen["refused"]++
			continue
		}
		d := tmpl.documents[0]
		if d.skeleton == nil {
			t.Fatalf("seed %d: no skeleton\n%s", seed, text)
		}
		if d.skeleton.runs {
			seen["the template package runs"]++
		}
		if d.text.plan == nil || d.html != nil && d.html.plan == nil {
			seen["a part runs whole"]++
		}
		for range 8 {
			r := Recipient{g.pick("taro@example.jp", "a..b@docomo.ne.jp", "日本@例え.jp"), g.contact()}
			m := mark
			m.UnsubscribeURL = g.pick("", "https://example.com/u/x?a=b&c=d+e")
			want, errWant := tmpl.plain(d, r, m)
			got, errGot := tmpl.Render(r, m)
			if fmt.Sprint(errWant) != fmt.Sprint(errGot) {
				t.Fatalf("seed %d: %v, plain: %v\n%s", seed, errGot, errWant, text)
			}
			if !bytes.Equal(got.Raw, want.Raw) || got.Text != want.Text || got.HTML != want.HTML || got.Subject != want.Subject {
				i := 0
				for i < min(len(got.Raw), len(want.Raw)) && got.Raw[i] == want.Raw[i] {
					i++
				}
				around := func(b []byte) []byte { return b[max(0, i-100):min(len(b), i+100)] }
				t.Fatalf("seed %d: %q\n%q\n--- fast\n%q\n--- plain\n%q", seed, text, r.Values, around(got.Raw), around(want.Raw))
			}
			if errGot != nil {
				seen["failed"]++
				continue
			}
			seen["compared"]++
			checkBytes(t, got.Raw)
			_, _, leaves := readStd(t, got.Raw)
			if i := slices.IndexFunc(leaves, func(l leaf) bool { return l.kind == "text/html" }); leaves[0].body != crlf(got.Text) || i >= 0 && leaves[i].body != crlf(got.HTML) {
				t.Fatalf("seed %d: the parts do not come back", seed)
			}
		}
	}
	t.Log(seen)
	if seen["compared"] < 1200 || seen["the template package runs"] > 240 || seen["a part runs whole"] > 130 {
		t.Errorf("the campaigns are not worth much: %v", seen)
	}
}

// html/template is asked for each place where an escaper stands, and ours gives the same.
func TestEscapers(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	values := slices.Clone(nasty)
	for range 2000 {
		values = append(values, randomText(r, 30))
		b := make([]byte, r.Intn(12))
		for i := range b {
			b[i] = byte(r.Intn(256))
		}
		values = append(values, string(b), "http"+string(b), string(b)+":x", "%"+string(b))
	}
	markup, query, whole := escapers["_html_template_htmlescaper"], escapers["_html_template_urlescaper"], escapers["_html_template_urlnormalizer"]
	for place, ours := range map[string]func(string) string{
		"<p>@</p>":            markup,
		"<title>@</title>":    escapers["_html_template_rcdataescaper"],
		`<p title="@">`:       escapers["_html_template_attrescaper"],
		`<a href="/?q=@">`:    func(s string) string { return markup(query(s)) },
		`<a href="/a/@">`:     func(s string) string { return markup(whole(s)) },
		`<a href="@">`:        func(s string) string { return markup(whole(filterURL(s))) },
		`<img src='/x/@.png'`: func(s string) string { return markup(whole(s)) },
	} {
		place = strings.TrimSuffix(place, ">") + ">"
		tmpl := htmltemplate.Must(htmltemplate.New("x").Parse(strings.Replace(place, "@", "{{.}}", 1)))
		for _, v := range values {
			var b strings.Builder
			if err := tmpl.Execute(&b, v); err != nil {
				t.Fatal(err)
			}
			if want := strings.Replace(place, "@", ours(v), 1); b.String() != want {
				t.Errorf("%s with %q: %q, html/template gives %q", place, v, want, b.String())
			}
		}
	}
}

// The same campaign gives the same contact the same bytes on another day and on another run, but for Date and signature.
func TestSameBytesOnAnotherDay(t *testing.T) {
	key, ed := testKeys(t)
	signers := []Signer{{"example.com", "s2026", key}, {"example.com", "e2026", ed}}
	render := func(m Mark) []byte {
		tmpl, err := compileFS(workspace("a.md", "---\nsubject: 冬 {{.a}}\nattach: f/a.pdf\n---\nHello {{.a}}, {{range split \",\" .list}}{{.}} {{end}}", "f/a.pdf", "%PDF"), "a", signers...)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := tmpl.Compose(Recipient{"taro@example.jp", map[string]string{"a": "花子", "list": "x, y"}}, m)
		if err != nil {
			t.Fatal(err)
		}
		return msg.Raw
	}
	later := mark
	later.Date = mark.Date.Add(36 * time.Hour)
	rest := func(raw []byte) string {
		head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		var kept []string
		for _, f := range splitFields(head) {
			if name, _, _ := strings.Cut(string(f), ":"); name != "Date" && name != "DKIM-Signature" {
				kept = append(kept, string(f))
			}
		}
		return strings.Join(kept, "\r\n") + "\r\n\r\n" + string(body)
	}
	a, b := render(mark), render(later)
	if rest(a) != rest(b) || bytes.Equal(a, b) {
		t.Errorf("%s\n--- later\n%s", a, b)
	}
}

// What is encoded is chosen by what the campaign says to everybody: a contact's values do not change it.
func TestEncodingIsChosenOnce(t *testing.T) {
	for body, want := range map[string]string{"Hello, this is plain text for {{.a}}.": "quoted-printable", "これは日本語の本文です。{{.a}}": "base64"} {
		tmpl := compileFile(t, "a.txt", "subject: x\nlayout: none", strings.Repeat(body+"\n", 20))
		for _, value := range []string{"x", strings.Repeat("日本語", 100), strings.Repeat("words ", 100)} {
			if _, _, leaves := readStd(t, render(t, tmpl, map[string]string{"a": value}).Raw); leaves[0].encoding != want {
				t.Errorf("%s with %.10s: %s", body, value, leaves[0].encoding)
			}
		}
	}
}

// The letters that people write need no template package: what is simple stays so.
func TestSimpleLettersAreSlotsAlone(t *testing.T) {
	for _, body := range []string{"Hello {{.a}}", "{{default \"you\" .a}}, {{if .b}}yes {{.b}}{{else}}no{{end}}", "[x](https://example.com/{{.a}}?b={{.b}})\n\n{{sama .a}}",
		"{{with .a}}{{.}}{{end}} {{.sender.organization}} {{upper .a}} {{field \"x y\"}} {{.unsubscribe_url}}"} {
		for _, front := range []string{"subject: '{{.a}}'", "subject: x\nlayout: japanese", "subject: x\nlayout: none\nto_name: '{{sama .a}}'"} {
			d := compileFile(t, "a.md", front, body).documents[0]
			if d.skeleton.runs {
				t.Errorf("%s: %s: the template package is needed", front, body)
			}
		}
	}
}

// Several goroutines may render from one template: none sees another's recipient.
func TestFastIsPlainFromSeveralGoroutines(t *testing.T) {
	tmpl := compileFile(t, "a.md", "subject: '{{.now | date \"2006\"}} {{.a}}'\nto_name: '{{.a}}'", "Hello {{.a}} {{range split \",\" .list}}{{.}} {{end}}{{with .a}}{{.}}{{end}}")
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 50 {
				r := Recipient{"taro@example.jp", map[string]string{"a": strings.Repeat("値", w) + fmt.Sprint(i), "list": fmt.Sprint(w, ",", i)}}
				got, err := tmpl.Compose(r, mark)
				want, errWant := tmpl.plain(tmpl.documents[0], r, mark)
				if err != nil || errWant != nil || !bytes.Equal(got.Raw, want.Raw) {
					t.Errorf("%d %d: %v %v", w, i, err, errWant)
				}
			}
		})
	}
	all.Wait()
}

// The bytes of a message that was released hold the next one, and nothing of the one before.
func TestReleasedBytesAreUsedAgain(t *testing.T) {
	tmpl, err := compileFS(workspace("a.md", "---\nsubject: Hi {{.a}}\n---\nHello {{.a}}, how are you?\n"), "a")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{strings.Repeat("a long name ", 40), "Ann", "花子"} {
		r := Recipient{"x@example.jp", map[string]string{"a": name}}
		got, err := tmpl.Compose(r, mark)
		if err != nil {
			t.Fatal(err)
		}
		want, err := tmpl.plain(tmpl.documents[0], r, mark)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Raw, want.Raw) {
			t.Errorf("%q:\n%q\n%q", name, got.Raw, want.Raw)
		}
		tmpl.Release(got.Raw)
	}
}
