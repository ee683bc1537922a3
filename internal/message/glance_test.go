package message

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
)

// heldToRead fails where a glance says something else than the plain way. It tells whether a glance was enough.
func heldToRead(t *testing.T, p *Preflight, r Recipient, m Mark, about func() string) bool {
	t.Helper()
	got, ok := p.glance(r, m)
	if !ok {
		return false
	}
	want := p.read(r, m)
	if want.err != nil || got.err != nil || !slices.Equal(got.faults, want.faults) || got.doc != want.doc {
		t.Fatalf("a glance finds %v %v, reading %v %v\n%s\n%q", got.faults, got.err, want.faults, want.err, about(), r)
	}
	return true
}

// people have the values of a list: most are ordinary, some are missing, some are anything.
func (g generator) person() map[string]string {
	values := map[string]string{}
	for _, f := range []string{"a", "b", "c", "名前", "long", "x y", "list", "link"} {
		switch g.Intn(12) {
		case 0:
		case 1:
			values[f] = ""
		case 2:
			values[f] = g.pick("TODO", "XX", "X", "○", "〇〇", "O", "{", "}", "{{", "[x", "[[x]]", "%", "%%a%%", "*", "|", "*|N|*", "$", "${x}", "orem ipsum", "m", "tact", "support", "e", "未承諾広告※", "※", "http", "https", "s", "://", "//x", "ZgotmplZ", "Z", "#",
				"example.org", "example.com", ".", ",", "'", "lt;", "amp;", "#60;", "a", "41", "停止", "Re", "Re:", "N/A", "null", " ", "　", "Example Inc.", "1-1 Chiyoda, Tokyo", "info@example.com", "03-1234-5678", "1234567890", "-", "data:x", "cid:logo.png", "stylesheet", "bit.ly", "www.example.com")
		case 3:
			values[f] = nasty[g.Intn(len(nasty))]
		case 4:
			values[f] = randomText(g.Rand, 30)
		default:
			values[f] = g.pick("花子", "山田 太郎", "Hanako", "4711", "Jürgen", "O'Neil", "R&D", "x", "Tokyo", "00812", "a-b_c", "gold", "東京都千代田区", "AB12CD", "two words", "Zoé")
		}
	}
	if g.Intn(4) > 0 {
		values["link"] = g.pick("https://example.com/", "http://example.com/a b", "https://bit.ly/x", "mailto:a@example.com", "/x", "https://example.com/?a=b&c=d#e", "https://x")
	}
	values["joined"], values["points"] = g.pick("2026-11-20", "2025/4/1"), g.pick("120", "1", "0", "1,234.50")
	if g.Intn(9) == 0 {
		values["joined"] = "never"
	}
	return values
}

// awkward is what stands around values where rules look.
func (g generator) awkward() string {
	f := "{{" + g.pick("default \"\" .a", "default \"\" .b", "default \"\" .c", "default \"x\" .名前", "default \"\" .link") + "}}"
	v := "{{" + g.pick("default \"\" .b", "default \"\" .no", "default \"\" .名前") + "}}"
	return strings.NewReplacer("@", f, "~", v).Replace(g.pick(
		"TO@O", "XX@", "{@{", "[@", "[[@]]", "○@様", "@○様", "×@~様", "~@", "con@", "@tact", "lorem @psum", "%@%", "*@|", "*|@|*", "$@x}", "<no @", "未承諾@※", "@承諾広告※",
		"http@://example.com/x", "@https://example.org/y", "@://example.org/y", "https://@/z", "https://@.example.com/z ", "https://example.com/@. ", "https://example.com/a@~b?c=@ ", "https:@ ", "https:/@ ",
		"<a href=\"https://example.com/@\">~</a>", "<a href=\"https://example.com/?x=@&y=~\">www.example.com</a>", "<a href=\"https://example.com/?x=@\">see ~.example.org</a>", "<a href=\"https://example.com/%@\">x</a>", "<a href=\"https://example.com/?a=%4@#%4~\">x</a>",
		"<a href=\"https://@.example.com/\">x</a>", "<a href=\"@\">~</a>", "<a href=\"@~\">example.org</a>", "<a href=\"http://example.com/@\">x</a>", "<a href=\"https://example.com/Zgot@Z\">x</a>", "<a href=\"mailto:@\">x</a>", "<a href=\"#@\">x</a>", "<a href=\"\">@</a>", "<a href=\" @ \"> ~ </a>",
		"<img src=\"https://example.com/@.png\" alt=\"~\">", "<img src=\"https://example.com/@.png\">", "<img src=\"@\" alt>", "<img src=\"/x@\" alt=\"\">", "<img src=\"cid:@\" alt=\"\">", "<area href=\"https://example.com/@\" alt=\"~\">", "<img src=\"http://example.com/x.png\" alt=\"@\">",
		"<p title=\"@\">x</p>", "<p title=@>x</p>", "<p class='@ ~'>x</p>", "<title>@</title>", "<textarea>@</textarea>", "<link rel=\"@\" href=x>", "<meta http-equiv=\"@\">", "<xmp>@</xmp>", "<noscript>@</noscript>", "<!-- @ -->", "<style>p{color:@}</style>", "&@", "&am@", "&amp@", "&#@;", "&#4@ ",
		"<a href=\"https://example.com/\">@<b>~</b></a>", "<a href=\"https://example.com/\">@<b title=\"~\">@</b></a>", "@<br>~", "<p style=\"display:@\">x</p>", "<p style=\"display:flex\">@</p>", "<form>@</form>",
		"Example @", "@ Inc.", "1-1 @ Tokyo", "info@example.com", "03-1234-@", "{{.sender.reply_to}} @", "問い合わせ @", "\n\nお問い合わせは{{.sender.reply_to}}まで、@ 配信停止\n\n", "停@", "{{.unsubscribe_url}}", "{{.unsubscribe_url}}@", "<a href=\"{{.unsubscribe_url}}\">@</a>", "({{mailto .unsubscribe_url}})", "配信停止 {{.unsubscribe_url}}.", "\n\n> @ TODO\n\n", "\n\n@\n\n~\n\n",
		"{{range split \",\" (default \"\" .list)}}<a href=\"https://example.com/{{.}}\">{{.}}</a>{{end}}", "{{range split \",\" (default \"\" .list)}}\n\n- {{.}} @\n\n{{end}}"))
}

// letter is a campaign as people write them, with something awkward here and there.
func (g generator) letter() (name, text string) {
	name = "a." + g.pick("md", "html", "txt")
	front := "subject: '" + g.pick("S {{default \"\" .a}}", "{{sama .名前}}", "fixed", "お知らせ {{default \"x\" .b}}", "Re{{default \"\" .a}}: y", "{{default \"\" .long}}", strings.Repeat("long ", 9)+"{{default \"\" .b}}") + "'\n"
	front += g.pick("", "", "layout: none\n", "layout: newsletter\n", "layout: letter\n", "layout: japanese\nlang: ja\n", "lang: ja\n")
	front += g.pick("", "", "class: operational\n", "class: operational\nlayout: none\n", "preheader: 'For {{default \"\" .a}}'\n", "embed: files/logo.png\n")
	var b strings.Builder
	for range 1 + g.Intn(6) {
		node := g.pick("\n\n", "\n\n", "\n", " ", "Words for the readers. ", "読者の皆さまへのお知らせです。", "Hello {{default \"you\" .名前}}, ", "{{if .a}}@{{else}}@{{end}}", "{{if has \"b\"}}@{{end}}", "{{with .c}}{{.}} @{{end}}", "{{sama .名前}}\n\n",
			"[link](https://example.com/?c={{default 0 .a}})", "\n\n{{default \"\" .link}}\n\n", " {{default \"\" .link}} ", "see https://example.com/x?c={{default 0 .c}}. ", "@", "@", "@", "\n\n@\n\n")
		for strings.Contains(node, "@") {
			node = strings.Replace(node, "@", strings.ReplaceAll(g.awkward(), "@", ""), 1)
		}
		b.WriteString(node)
	}
	return name, "---\n" + front + "---\n" + b.String() + g.pick("", strings.Repeat("\n\nMore words for everybody.", 3)) + g.pick("", "\n\nExample Inc. 1-1 Chiyoda, Tokyo info@example.com\n\n配信停止 {{.unsubscribe_url}}\n")
}

// A glance says of random messages what reading them says. Most lists are ordinary, and a glance must be enough for those.
func TestAGlanceIsEnough(t *testing.T) {
	seen := map[string]int{}
	for seed := range int64(400) {
		g := generator{rand.New(rand.NewSource(seed))}
		name, text := g.letter()
		if seed%4 == 0 {
			name, text = g.campaign()
		}
		tmpl, err := compileFS(workspace(name, text, "files/logo.png", "\x89PNG", "files/価格.pdf", "%PDF", "docs/en.pdf", "en", "docs/ja.pdf", "ja", "docs/x.pdf", "x",
			"templates/partials/promo.html", `<b title="{{default "" .b}}">{{default "" .a}}</b>`), "a")
		if err != nil {
			seen["refused"]++
			continue
		}
		p := NewPreflight(tmpl, Facts{})
		for i := range 24 {
			r := Recipient{g.pick("taro@example.jp", "a..b@docomo.ne.jp", "日本@例え.jp"), g.person()}
			if i%6 == 0 {
				r.Values = g.contact()
			}
			m := mark
			m.UnsubscribeURL = g.pick("", "https://example.com/u/x?a=b&c=d+e")
			m.UnsubscribeMailto = fmt.Sprintf("mailto:bounce+u1%d-abc@example.com?subject=unsubscribe", g.Intn(1000))
			if heldToRead(t, p, r, m, func() string { return fmt.Sprintf("seed %d\n%s", seed, text) }) {
				seen["a glance"]++
			} else {
				seen["read"]++
			}
		}
	}
	t.Log(seen)
	if seen["a glance"] < 4000 {
		t.Errorf("the campaigns are not worth much: %v", seen)
	}
}

// Values that mean something only where they stand: @ and ~ in a body are two of them, next to what makes them a finding, or
// keeps them from it.
func TestAGlanceAtOddPlaces(t *testing.T) {
	const operational, plain = "subject: x\nclass: operational\nlayout: none", "subject: x\nlayout: none"
	const imprint = "\n\nExample Inc.\n1-1 Chiyoda, Tokyo\n\n"
	wide := strings.Repeat("長", 30)
	values := []string{"ok", "", " ", "　", "T", "TO", "TOD", "O", "X", "XX", "XXX", "{", "x{", "{{", "}", "[", "%", "*", "$", "○", "&lt;", "&amp;", "91", "am", "p;", "amp;", "stylesheet", "mpl", "ZgotmplZ", "gotmpl", "Z", "example", "http", "https", "https:", "//", "://bit.ly/x", "x-", "https://bit.ly/x",
		"see https://bit.ly/x", "https://bit.ly/x.", "http://example.com/u/x.", "http://example.com/u/x", "%", "%4", "1", "a b", "a\tb", "a\r\nb", "\xff", "\"", "'", "<", "あ", "ああ", "あああ", "ああああ", strings.Repeat("あ", 20), "longer words of a value", "停", "example.org", "03-1234-5678", "Re:", "未承諾広告"}
	others := []string{"ok", "", "DO", "DO ", "org", "様", "x", ".", "https"}
	var read []string                                                                                                // for everybody
	more := map[string]string{"a.md": "\n\nMore words for everybody.", "a.html": "<p>More words for everybody.</p>"} // they have counts of letters speak less
	for _, c := range []struct{ file, front, body string }{
		{"a.txt", operational, "@"}, {"a.txt", operational, "{{if .a}}x{{end}}"}, {"a.html", operational, "{{if .a}}TODO{{else}}x{{end}}"}, {"a.html", operational, "{{with .a}}<form>{{end}}x"},
		{"a.txt", operational, "x TO@O"}, {"a.txt", operational, "x @O"}, {"a.txt", operational, "x @{"}, {"a.txt", operational, "x @O~"}, {"a.md", operational, "x {{\"{\"}}@"}, {"a.txt", operational, "x @~"}, {"a.html", operational, "x @~"}, {"a.md", operational, "x @X~"}, {"a.txt", operational, "x ○@~"}, {"a.txt", operational, "x [@x]]"}, {"a.html", operational, "<p>TO</p>@<p>DO</p>"},
		{"a.html", operational, "[&#@;x]]"}, {"a.html", operational, "&@T;"}, {"a.html", operational, "<link rel=\"@\" href=x>y"}, {"a.html", operational, "<meta http-equiv='@~'>y"}, {"a.html", operational, "<p onclick=\"\" title=\"@\">y</p>"}, {"a.html", operational, "<textarea>@</textarea><p @>y"}, {"a.html", operational, "<noscript>@</noscript>y"},
		{"a.html", operational, "<img src=\"https://example.com/x.png\" alt=\"\">@"}, {"a.html", operational, "<img src=\"https://example.com/@.png\" alt=\"~\">twenty letters and more of them"}, {"a.html", operational, "<img src=\"https://example.com/@.png\">twenty letters and more of them"}, {"a.html", operational, "<img src=\"https://example.com/%@.png\" alt=\"\">twenty letters and more of them"}, {"a.html", operational, "<img src=\"@\" alt=\"\">twenty letters and more of them"},
		{"a.html", operational, "<a href=\"https://example.com/Zgot@Z\">x</a>"}, {"a.html", operational, "<a href=\"https://example.com/Z@Z\">x</a>"}, {"a.html", operational + "\ntext: Several words.", "<a href=\"https://example.com/Zgot@Z\">x</a>"}, {"a.html", operational + "\ntext: Several words.", "<a href=\"https://example.com/Z@Z\">x</a>"}, {"a.html", operational, "<a href=\"https://example.com/@\">x</a>"}, {"a.html", operational, "<a href=\"https://example.com/?q=@#~\">x</a>"}, {"a.html", operational, "<a href=\"https://example.com/?x=y\">@.~</a>"}, {"a.html", operational, "<a href=\"https://example.com/?x=@\">@.~</a>"},
		{"a.html", operational, "<a href=\"https://example.com/?x=@\">~</a>"}, {"a.html", operational, "<a href=\"https://@/\">x</a>"}, {"a.html", operational, "<a href=\"https:@\">x</a>"}, {"a.html", operational, "<a href=\"@~\">x</a>"}, {"a.html", operational, "<a href=\"http://example.com/@\">x</a>"}, {"a.html", operational, "<a href=\"https://example.com/%4@\">x</a>"}, {"a.html", operational, "<a href=\" @ \"> ~ </a>"},
		{"a.html", operational, "<a href=\"https://example.com/\">@<b title=\"{{default 1 .no}}\">~</b></a>"}, {"a.html", operational + "\ntext: Several words.", "<a href=\"https://example.com/\">@<b title=\"{{default 1 .no}}\">~</b></a>"}, {"a.html", operational, "<a href=\"https://example.com/\">@<b title=\"@\">~</b></a>"}, {"a.html", operational, "<a href=\"\">@</a>"},
		{"a.txt", operational, "@://bit.ly/x"}, {"a.txt", operational, "@s://bit.ly/x"}, {"a.txt", operational, "x @https://bit.ly/x"}, {"a.txt", operational, "https://@/x ~"}, {"a.txt", operational, "https://bit.ly@"}, {"a.txt", operational, "https://example.com/@~ x"}, {"a.txt", operational, "x https:@"}, {"a.txt", operational, "x @ ~ y"}, {"a.txt", operational, "x @, y"}, {"a.txt", operational, "(@)"}, {"a.txt", operational, "x\n@\ny"},
		{"a.txt", plain, imprint + "info@example.com {{.unsubscribe_url}} @"}, {"a.txt", plain, imprint + "info@example.com @{{.unsubscribe_url}}"}, {"a.txt", plain, imprint + "info@example.com\n\n@"}, {"a.html", plain + "\ntext: '{{.unsubscribe_url}} Example Inc. 1-1 Chiyoda, Tokyo info@example.com'", "<p>Example Inc. 1-1 Chiyoda, Tokyo info@example.com <a href=\"@\">unsubscribe</a> ~"}, {"a.html", plain, "<p>Example Inc. 1-1 Chiyoda, Tokyo info@example.com <a href=\"http://example.com/u/x\">unsubscribe</a> @ {{.unsubscribe_url}}"},
		{"a.md", plain, imprint + "support\n\n{{.unsubscribe_url}} @"}, {"a.md", plain, imprint + "@ con~ {{.unsubscribe_url}}"}, {"a.md", plain, imprint + wide + "@お問い合わせ~\n\n{{.unsubscribe_url}}"}, {"a.md", plain, imprint + "03-1234-@ {{.unsubscribe_url}}"}, {"a.md", plain, "Example @ 1-1 Chiyoda, Tokyo info@example.com {{.unsubscribe_url}}"},
		{"a.md", plain, "> " + wide + "@Example Inc. 1-1 Chiyoda, Tokyo\n\ninfo@example.com {{.unsubscribe_url}}"}, {"a.md", plain, wide + "@Example Inc. 1-1 Chiyoda, Tokyo\n\ninfo@example.com {{.unsubscribe_url}}"}, {"a.md", plain + "\nlang: ja", imprint + "info@example.com\n\n" + wide + "@配信停止\n\n{{.unsubscribe_url}}"}, {"a.md", plain + "\nlang: ja", imprint + "info@example.com\n\n" + wide + wide[:21] + "@停止\n\n{{.unsubscribe_url}}"}, {"a.md", plain + "\nlang: ja", imprint + "info@example.com\n\n@\n\n{{.unsubscribe_url}}"},
		{"a.html", operational + "\ntext: 'few @'", "<p>" + strings.Repeat("words ", 9) + "~"}, {"a.html", operational + "\ntext: 'https://@'", "<p>words ~"}, {"a.html", operational + "\ntext: '{{default \"\" .a}}://example.com/x~ abcdefgh'", "<p>" + strings.Repeat("words ", 7)}, {"a.html", operational, "@<!--" + strings.Repeat("x", nearHTML-9) + "-->"}, {"a.md", "subject: '@~ x'\nclass: operational", "x"},
	} {
		replace := strings.NewReplacer("info@example", "info@example", "@", `{{default "" .a}}`, "~", `{{default "" .b}}`)
		tmpl, err := compileFS(workspace(c.file, "---\n"+replace.Replace(c.front)+"\n---\n"+replace.Replace(c.body)+more[c.file]), "a")
		if err != nil {
			t.Fatalf("%s: %v", c.body, err)
		}
		p, enough := NewPreflight(tmpl, Facts{}), 0
		for _, url := range []string{"", "http://example.com/u/x"} {
			m := mark
			m.UnsubscribeURL = url
			for _, b := range others {
				for _, a := range values {
					if heldToRead(t, p, Recipient{"taro@example.jp", map[string]string{"a": a, "b": b}}, m, func() string { return c.file + "\n" + c.front + "\n" + c.body }) {
						enough++
					}
				}
			}
		}
		if enough == 0 {
			read = append(read, c.body)
		}
	}
	if len(read) > 8 {
		t.Errorf("%d bodies are read for everybody: %q", len(read), read)
	}
}

func FuzzGlance(f *testing.F) {
	for _, body := range []string{"Hello {{default \"\" .a}}{{default \"\" .b}} TO{{default \"\" .a}}", "<a href=\"https://example.com/{{default \"\" .a}}?x={{default \"\" .b}}\">{{default \"\" .b}}</a>", "https://{{default \"\" .a}}/ {{default \"\" .b}}\n\n{{default \"\" .a}}",
		"<p title=\"{{default \"\" .a}}\">&am{{default \"\" .b}}</p>", "{{if .a}}x{{else}}{{range split \",\" (default \"\" .b)}}{{.}} {{end}}{{end}} {{.unsubscribe_url}}"} {
		f.Add(body, "DO", "a.b,c")
		f.Add(body, "https://bit.ly/x", "%41&lt;")
	}
	f.Fuzz(func(t *testing.T, body, a, b string) {
		for _, file := range []string{"a.md", "a.html", "a.txt"} {
			for _, front := range []string{"subject: x\nclass: operational\nlayout: none", "subject: '{{default \"x\" .a}}'\nlang: ja\nlayout: japanese"} {
				tmpl, err := compileFS(workspace(file, "---\n"+front+"\n---\n"+body), "a")
				if err != nil {
					continue
				}
				p := NewPreflight(tmpl, Facts{})
				for _, values := range []map[string]string{{"a": "x", "b": "y"}, {"a": a, "b": b}, {"a": a}, {"a": b, "b": a}} {
					heldToRead(t, p, Recipient{"taro@example.jp", values}, mark, func() string { return front + "\n" + body })
				}
			}
		}
	})
}

// Memory and time do not grow with what a {{range}} prints: few outlines are made where none is met again, and never too many.
func TestOutlinesAreBounded(t *testing.T) {
	p := NewPreflight(compileFile(t, "a.md", "subject: x\nlayout: none\nclass: operational", "{{range split \",\" .list}}{{.}} {{end}}"), Facts{})
	all := p.outlines[p.template.documents[0]]
	glance := func(list string) bool {
		_, ok := p.glance(Recipient{"taro@example.jp", map[string]string{"list": list}}, mark)
		return ok
	}
	for i := range 200 {
		glance(fmt.Sprint(i, ",x"))
	}
	if len(all.known) != freeOutlines {
		t.Errorf("%d outlines for as many messages as there are", len(all.known))
	}
	for range perOutline {
		glance("1,x")
	}
	if !glance("new,x") || glance("newer,x") {
		t.Error("ten messages without reading are worth one more outline, and no second one")
	}
	all.met.Store(1 << 40)
	if glance(strings.Repeat("x", maxOutlineKey)) {
		t.Error("the key is not bounded")
	}
	for i := range maxOutlines + 100 {
		glance(fmt.Sprint(i, ",y"))
	}
	if len(all.known) != maxOutlines || all.size < maxOutlines*20 || all.size > maxOutlineAll {
		t.Errorf("%d outlines of %d bytes", len(all.known), all.size)
	}
}

// The letters that people send are not read: each layout of ours, in a list that is as lists are.
func TestLettersNeedNoReading(t *testing.T) {
	people := []map[string]string{
		{"name": "山田 花子", "city": "横浜市", "id": "4711", "link": "https://example.com/r?x=y"},
		{"name": "O'Neil & Sons", "city": "New York", "id": "AB-12", "link": "https://www.example.com/a/b#c"},
		{"name": "Jürgen", "id": "x_y.z", "link": "mailto:a@example.com"},
	}
	bodies := map[string]string{
		"a.md":   "# {{default \"you\" .name}}\n\nHello {{sama .name}}{{if .city}} of {{.city}}{{end}}, this is for the readers of our letter: {{.link}}\n\n[more]({{.link}}) [news](https://example.com/news/{{.id}}?c={{.id}}&n={{.name}}) <{{.email}}>\n\n![A picture of this month](https://example.com/{{.id}}.png)\n\n{{range split \",\" \"a,b\"}}\n- {{.}}\n{{end}}\n",
		"a.html": "<h1>{{default \"you\" .name}}</h1><p>Hello {{sama .name}}{{if .city}} of {{.city}}{{end}}, this is for the readers.</p><a href=\"{{.link}}\">more</a> <a href='https://example.com/news/{{.id}}?c={{.id}}&n={{.name}}'>{{.name}}</a><img src=\"https://example.com/{{.id}}.png\" alt=\"{{.name}}\">",
		"a.txt":  "Hello {{sama .name}}{{if .city}} of {{.city}}{{end}},\n\nthis is for the readers of our letter: {{.link}}\n\nhttps://example.com/news/{{.id}}?c={{.id}}&n={{.id}}\n",
	}
	for _, layout := range append(shippedLayouts(t), "none") {
		for file, body := range bodies {
			front := "subject: 'For {{.name}}'\nlayout: " + layout
			if layout == "none" {
				front += "\nclass: operational"
			}
			if layout == "japanese" {
				front += "\nlang: ja"
			}
			for _, class := range []string{"", "https://example.com/u/x1"} {
				p := NewPreflight(compileFile(t, file, front, body), Facts{})
				for _, values := range people {
					m := mark
					m.UnsubscribeURL = class
					r := Recipient{"taro@example.jp", values}
					if !heldToRead(t, p, r, m, func() string { return file + "\n" + front }) {
						s := p.read(r, m)
						t.Errorf("%s %s: %v is read: %v %v", file, layout, values, s.faults, s.err)
					}
				}
			}
		}
	}
}
