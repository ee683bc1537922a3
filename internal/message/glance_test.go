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

// A glance says of random messages what reading them says. Most lists are ordinary, and a glance must be enough for those.
func TestAGlanceIsEnough(t *testing.T) {
	seen := map[string]int{}
	for seed := range int64(400) {
		g := generator{rand.New(rand.NewSource(seed))}
		name, text := g.campaign()
		for range g.Intn(4) {
			text += " " + g.awkward()
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
}
