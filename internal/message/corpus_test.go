package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"mailer/internal/mailtest"
)

// tongue is a language of the corpus: its words, and a name as people have it there.
type tongue struct{ lang, subject, name, greeting, prose string }

var tongues = []tongue{
	{"ja", "冬の特別セールのお知らせ【会員様限定】", "山田 花子", "こんにちは", "いつもご利用いただき、誠にありがとうございます。髙橋・﨑本店は①月に開店します。"},
	{"en", "Winter news: \"50% off\" & more (really)", "O'Neil, Mary-Jane", "Hello", "It's time = for news. From now on, everything is 50% off; see you soon."},
	{"de", "Größere Auswahl für Übergänge – jetzt prüfen", "Jörg Müßig", "Grüß dich", "Schöne Grüße aus Köln. Außerdem gibt es Äpfel, Öl und Übungen."},
	{"fr", "L’été arrive : « déjà » cœur & âme…", "Zoé Lefèvre", "Bonjour", "Voilà l’été ! À bientôt, peut-être à Orléans, chez l’épicière."},
	{"zh-Hans", "冬季特别优惠，仅限会员", "王小明", "您好", "感谢您一直以来的支持。新产品已经上架，欢迎选购！"},
	{"zh-Hant", "冬季特別優惠，僅限會員", "陳大文", "您好", "感謝您一直以來的支持。新產品已經上架，歡迎選購！𠮷"},
	{"ko", "겨울 특별 할인 안내", "김민수", "안녕하세요", "항상 이용해 주셔서 감사합니다. 새로운 상품이 도착했습니다."},
	{"ar", "عروض الشتاء الخاصة بالأعضاء", "محمد علي", "مرحبا", "شكرا لكم على ثقتكم الدائمة. المنتجات الجديدة متوفرة الآن."},
	{"he", "מבצעי חורף מיוחדים לחברים", "דוד כהן", "שלום", "תודה על האמון המתמשך שלכם. המוצרים החדשים זמינים כעת."},
	{"ru", "Зимние скидки для участников клуба", "Анна Иванова", "Здравствуйте", "Спасибо, что вы с нами. Новые товары уже в продаже!"},
	{"hi", "सदस्यों के लिए सर्दियों की विशेष छूट", "राम शर्मा", "नमस्ते", "आपके निरंतर विश्वास के लिए धन्यवाद। नए उत्पाद उपलब्ध हैं।"},
	{"th", "ส่วนลดพิเศษฤดูหนาวสำหรับสมาชิก", "สมชาย ใจดี", "สวัสดี", "ขอบคุณที่ไว้วางใจเราเสมอมา สินค้าใหม่วางจำหน่ายแล้ว"},
	{"el", "Χειμερινές προσφορές για μέλη", "Γιώργος Παπάς", "Γεια σας", "Ευχαριστούμε για την εμπιστοσύνη σας. Τα νέα προϊόντα έφτασαν."},
	{"vi", "Ưu đãi mùa đông dành cho hội viên", "Nguyễn Thị Hằng", "Xin chào", "Cảm ơn quý khách đã luôn tin tưởng. Sản phẩm mới đã có mặt."},
	{"und", "👨‍👩‍👧‍👦🎉 emoji 🇯🇵 test 🏳️‍🌈", "🙂 Smile", "👋", "🎄🎁 https://example.com/?a=1&b=2 🏴󠁧󠁢󠁥󠁮󠁧󠁿"},
}

// shape is a kind of campaign; %s are the subject, the greeting and the prose.
type shape struct{ file, front, body, to string }

var shapes = []shape{
	{"a.md", "from: \"%[2]s <news@example.com>\"", "# %[2]s {{.name}}\n\n%[3]s\n\n- {{.note}}\n- [{{.name}}](https://example.com/?n={{.name}})\n\n%[3]s", "a..b.@docomo.ne.jp"},
	{"a.md", "attach: [\"f/%[2]s 2026.pdf\", f/a.csv]\nembed: f/logo.png\nto_name: '{{.name}}'", "![logo](cid:logo.png)\n\n%[3]s {{.note}}\n\n> {{.name}}", "taro@xn--r8jz45g.jp"},
	{"a.html", "to_name: '{{sama .name}}'\nheaders: {X-Note: '{{.name}} %[2]s', Feedback-ID: 'news:a:b:example'}", "<h1 title=\"{{.name}}\">%[2]s</h1>{{if .note}}<p>{{.note}}</p>{{end}}<p>%[3]s</p>{{range split \",\" .list}}<b>{{.}}</b>{{end}}", "taro@example.jp"},
	{"a.txt", "to_name: '{{.name}}'", "%[2]s {{.name}}\n\n%[3]s \n.\nFrom {{.note}}\n.{{.name}}\n", "\"quoted local\"@example.com"},
	{"a.md", "class: operational\nlayout: none\nto_name: '{{.name}}'", "{{.note}}", "日本@例え.jp"},
	{"a.md", "layout: japanese\nattach: [\"f/" + "%[2]s%[2]s%[2]s%[2]s とても長い名前の添付ファイル、第二版.pdf\"]", "%[3]s\n\n| a | b |\n|---|---|\n| {{.name}} | {{.note}} |\n", "a-very-long-local-part-that-fills-a-line-of-the-header@a-very-long-domain-name-for-tests.example.com"},
}

// letter is one of the corpus, and what a reader has to find in it.
type letter struct {
	Name     string `json:"name"`
	Raw      []byte `json:"raw"`
	Subject  string `json:"subject"`
	To       string `json:"to"`
	ToName   string `json:"to_name"`
	FromName string `json:"from_name"`
	Text     string `json:"text"`
	HTML     string `json:"html"`
	Files    []file `json:"files"`
	UTF8     bool   `json:"utf8"`
}

type file struct {
	Name string `json:"name"`
	Body []byte `json:"body"`
}

func corpus(t *testing.T, signers ...Signer) (list []letter) {
	t.Helper()
	for _, g := range tongues {
		for i, s := range shapes {
			front := fmt.Sprintf("subject: '{{.name}}: "+strings.ReplaceAll(g.subject, "%", "%%")+"'\nlang: "+g.lang+"\n"+s.front+"%[1]s", "", g.greeting)
			body := fmt.Sprintf(s.body+"%[1]s", "", g.greeting, g.prose)
			long := "f/" + strings.Repeat(g.greeting, 4) + " とても長い名前の添付ファイル、第二版.pdf"
			contents := map[string]string{"f/" + g.greeting + " 2026.pdf": "%PDF\r\n", "f/a.csv": "a,b\n1,2\n", "f/logo.png": "\x89PNG\r\n\x1a\n\x00", long: "long"}
			var pairs []string
			for name, text := range contents {
				pairs = append(pairs, name, text)
			}
			tmpl, err := compileFS(workspace(append(pairs, s.file, "---\n"+front+"\n---\n"+body)...), "a", signers...)
			if err != nil {
				t.Fatalf("%s %d: %v", g.lang, i, err)
			}
			m := mark
			if i%2 == 0 {
				m.UnsubscribeURL = "https://example.com/u/abc"
			}
			r := Recipient{s.to, map[string]string{"name": g.name, "note": strings.Repeat(g.prose+" ", 4) + ".\r\n=", "list": g.name + ", b"}}
			msg, err := tmpl.Render(r, m)
			if err != nil {
				t.Fatalf("%s %d: %v", g.lang, i, err)
			}
			d := tmpl.documents[0]
			l := letter{fmt.Sprintf("%s %d", g.lang, i), msg.Raw, g.name + ": " + g.subject, s.to, "", d.from.Name, crlf(msg.Text), crlf(msg.HTML), []file{}, msg.SMTPUTF8}
			if strings.Contains(s.front, "sama") {
				l.ToName = g.name + " 様"
			} else if d.toName != nil {
				l.ToName = g.name
			}
			for _, f := range slices.Concat(d.variant.Embed, d.variant.Attach) {
				l.Files = append(l.Files, file{f.Name, f.Content})
			}
			list = append(list, l)
		}
	}
	return list
}

// Every message of the corpus says the same to Go's reader, to Python's strict one, and its signatures hold in two
// verifiers that share no code with the signer.
func TestCorpus(t *testing.T) {
	key, ed := testKeys(t)
	signers := []Signer{{"example.com", "s2026", key}, {"example.com", "e2026", ed}}
	letters := corpus(t, signers...)
	if len(letters) < 60 || len(tongues) < 12 {
		t.Fatalf("%d letters in %d languages are no corpus", len(letters), len(tongues))
	}
	resolver := zone(t, signers)
	for _, l := range letters {
		checkBytes(t, l.Raw)
		h, _, leaves := readStd(t, l.Raw)
		if got := decodeHeader(t, h.Get("Subject")); got != l.Subject {
			t.Errorf("%s: subject %q, want %q", l.Name, got, l.Subject)
		}
		for name, all := range h {
			if len(all) != 1 && name != "Dkim-Signature" {
				t.Errorf("%s: %d times %s", l.Name, len(all), name)
			}
		}
		i := slices.IndexFunc(leaves, func(l leaf) bool { return l.kind == "text/html" })
		if leaves[0].body != l.Text || i >= 0 && leaves[i].body != l.HTML {
			t.Errorf("%s: the parts differ", l.Name)
		}
		found, err := dkim.VerifyWithOptions(bytes.NewReader(l.Raw), resolver)
		if err != nil || len(found) != 2 || found[0].Err != nil || found[1].Err != nil {
			t.Errorf("%s: go-msgauth: %v %v", l.Name, found, err)
		}
	}
	records := map[string]string{}
	for _, s := range signers {
		record, err := DNSRecord(s.Key)
		if err != nil {
			t.Fatal(err)
		}
		records[s.Selector+"._domainkey."+s.Domain] = record
	}
	in, err := json.Marshal(map[string]any{"letters": letters, "records": records})
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"mime", "dkim"} {
		t.Run(what, func(t *testing.T) {
			python := mailtest.Need(t, "python3", "apt-get install python3")
			if what == "dkim" {
				python = pythonWithDKIM(t, python)
			}
			cmd := exec.Command(python, "testdata/strict.py", what)
			cmd.Stdin = bytes.NewReader(in)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, stderr.String())
			}
			if len(out) > 0 {
				t.Errorf("%s", out)
			}
		})
	}
}

// pythonWithDKIM is the python3 that dkimpy is installed for, with what it needs for Ed25519: the one in PATH, or the system's
// own behind it.
func pythonWithDKIM(t *testing.T, first string) string {
	t.Helper()
	for _, python := range []string{first, "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import dkim, nacl").Run() == nil {
			return python
		}
	}
	mailtest.Skip(t, "dkimpy is missing (apt-get install python3-dkim)")
	return ""
}
