package examples

import (
	"bytes"
	"encoding/csv"
	"flag"
	"fmt"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/japanese"
)

// The lists are made by this file: go test ./examples -update writes them anew.
var update = flag.Bool("update", false, "write the example lists")

func TestListsAreWhatIsMadeHere(t *testing.T) {
	for name, text := range map[string][]byte{"kaiin-cp932.csv": kaiin(t), "subscribers-utf8.csv": subscribers(t)} {
		file := filepath.Join("lists", name)
		if *update {
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if held, err := os.ReadFile(file); err != nil || !bytes.Equal(held, text) {
			t.Errorf("%s differs from what is made (%v); go test ./examples -update", file, err)
		}
	}
}

// Nobody real may be in the lists.
func TestListsHoldReservedDomainsOnly(t *testing.T) {
	people := map[string]bool{}
	for name, column := range map[string]int{"kaiin-cp932.csv": 1, "subscribers-utf8.csv": 0} {
		text, err := FS.ReadFile("lists/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(name, "cp932") {
			if text, err = japanese.ShiftJIS.NewDecoder().Bytes(text); err != nil {
				t.Fatal(err)
			}
		}
		r := csv.NewReader(bytes.NewReader(text))
		r.FieldsPerRecord = -1
		r.LazyQuotes = true
		rows, err := r.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			address := plain(row[column])
			if at := strings.LastIndexByte(address, '@'); at >= 0 && !reserved(address[at+1:]) {
				t.Errorf("%s: %q", name, row[column])
			}
			if _, err := mail.ParseAddress(address); err == nil {
				people[address] = true
			}
		}
	}
	if len(people) < 1000 {
		t.Errorf("%d people", len(people))
	}
}

// plain folds what importers fold.
func plain(address string) string {
	return strings.ToLower(strings.TrimSpace(strings.Map(func(r rune) rune {
		if r > 0xff00 && r < 0xff5f {
			return r - 0xfee0
		}
		return r
	}, address)))
}

func reserved(domain string) bool {
	for _, d := range []string{"example.com", "example.net", "example.org", "example.jp", "example.co.jp", "example.ne.jp", "docomo.ne.jp"} {
		if domain == d {
			return true
		}
	}
	return domain == "" || strings.HasSuffix(domain, ".example")
}

// cast is which sandbox personalities a list holds, and how often.
type cast []struct {
	word  string
	times int
}

// at spreads a cast over n rows: the word of each row, "" for most. The steps are odd to the length, so that every word
// comes everywhere in the list.
func (c cast) at(n int) []string {
	words := make([]string, n)
	row := 7
	for _, part := range c {
		for range part.times {
			for words[row%n] != "" {
				row++
			}
			words[row%n] = part.word + "."
			row += n/11 + 5
		}
	}
	return words
}

// lot is a small fixed sequence: the same numbers with every Go release.
type lot uint32

func (l *lot) below(n int) int {
	*l = *l*1664525 + 1013904223
	return int(*l>>16) % n
}

func (l *lot) of(list []string) string { return list[l.below(len(list))] }

// date is between two years, as Excel prints it in Japan when iso is false.
func (l *lot) date(from, to int, iso bool) string {
	y, m, d := from+l.below(to-from+1), 1+l.below(12), 1+l.below(28)
	if iso {
		return fmt.Sprintf("%04d-%02d-%02d", y, m, d)
	}
	return fmt.Sprintf("%d/%d/%d", y, m, d)
}

// The names, places and domains that people are made of.
var (
	familyNames = strings.Fields(`佐藤/サトウ/sato 鈴木/スズキ/suzuki 高橋/タカハシ/takahashi 髙橋/タカハシ/takahashi 田中/タナカ/tanaka 伊藤/イトウ/ito
		渡辺/ワタナベ/watanabe 渡邉/ワタナベ/watanabe 山本/ヤマモト/yamamoto 中村/ナカムラ/nakamura 小林/コバヤシ/kobayashi 加藤/カトウ/kato
		吉田/ヨシダ/yoshida 山田/ヤマダ/yamada 佐々木/ササキ/sasaki 山口/ヤマグチ/yamaguchi 松本/マツモト/matsumoto 井上/イノウエ/inoue
		木村/キムラ/kimura 林/ハヤシ/hayashi 斎藤/サイトウ/saito 齋藤/サイトウ/saito 清水/シミズ/shimizu 山﨑/ヤマザキ/yamazaki
		森/モリ/mori 池田/イケダ/ikeda 橋本/ハシモト/hashimoto 石川/イシカワ/ishikawa 長谷川/ハセガワ/hasegawa 五十嵐/イガラシ/igarashi`)
	givenNames = strings.Fields(`太郎/タロウ/taro 花子/ハナコ/hanako 健/ケン/ken 美咲/ミサキ/misaki 翔太/ショウタ/shota 陽菜/ヒナ/hina 大輔/ダイスケ/daisuke
		さくら/サクラ/sakura 拓也/タクヤ/takuya 由美子/ユミコ/yumiko 一郎/イチロウ/ichiro 恵/メグミ/megumi 直樹/ナオキ/naoki 愛/アイ/ai
		隆/タカシ/takashi 結衣/ユイ/yui 誠/マコト/makoto 真由美/マユミ/mayumi 修/オサム/osamu 千尋/チヒロ/chihiro`)
	prefectures = strings.Fields(`東京都 東京都 東京都 東京都 神奈川県 神奈川県 大阪府 大阪府 愛知県 埼玉県 千葉県 兵庫県 北海道 福岡県 静岡県 茨城県 広島県 京都府
		宮城県 新潟県 長野県 岐阜県 群馬県 栃木県 岡山県 福島県 三重県 熊本県 鹿児島県 沖縄県 滋賀県 山口県 愛媛県 長崎県 奈良県 青森県 岩手県
		大分県 石川県 山形県 宮崎県 富山県 秋田県 香川県 和歌山県 山梨県 佐賀県 福井県 徳島県 高知県 島根県 鳥取県`)
	japaneseDomains = strings.Fields(`example.jp example.jp example.co.jp example.ne.jp mail.example yamanote.example docomo.example post.example`)
	carrierLocals   = strings.Fields(`hana..hana@docomo.ne.jp taro-.@docomo.ne.jp i..love..cats@docomo.ne.jp sakura.1999.@docomo.ne.jp ken...ken@docomo.ne.jp
		m-i.k.u..@docomo.ne.jp`)
)

// kaiin is the members' list of a Japanese shop, saved by Excel: CP932, CRLF, dates without zeros, names with letters that
// only CP932 has.
func kaiin(t *testing.T) []byte {
	const n = 640
	words := cast{{"unknown", 9}, {"later-unknown", 8}, {"full", 2}, {"over-quota", 3}, {"later-full", 3}, {"greylist", 9},
		{"slow", 3}, {"complain", 2}, {"vacation", 5}, {"unsubscribe", 4}, {"drop", 2}, {"delayed", 1}, {"busy", 1},
		{"blocked", 1}, {"spam", 1}, {"forged", 1}}.at(n)
	var rows [][]string
	l := lot(19)
	for i := range n {
		family, given := strings.Split(l.of(familyNames), "/"), strings.Split(l.of(givenNames), "/")
		address := fmt.Sprintf("%s%s.%s%d@%s", words[i], family[2], given[2], i+1, l.of(japaneseDomains))
		if words[i] == "" && i%97 == 50 && i/97 < len(carrierLocals) {
			address = carrierLocals[i/97]
		}
		rows = append(rows, []string{fmt.Sprintf("%06d", 1201+i*3), address, family[0], given[0], family[1] + " " + given[1],
			l.of(prefectures), l.date(1948, 2006, false), l.of([]string{"一般", "一般", "一般", "シルバー", "ゴールド"}),
			fmt.Sprint(l.below(25)), l.date(2016, 2026, false), l.of([]string{"", "", "", "電話～午前中", "㈱の領収書", "①希望"})})
	}
	rows[100][1] = "ｓａｋｕｒａ＿ｓａｉｔｏ＠ｅｘａｍｐｌｅ．ｊｐ" // typed full-width
	rows[101][1] = "　" + rows[101][1] + " "
	again := func(of, id int, address string) {
		row := slices.Clone(rows[of])
		row[0], row[1] = fmt.Sprintf("%06d", id), address
		rows = append(rows, row)
	}
	for i, of := range []int{31, 301, 602} { // the same person a second time, in capitals
		again(of, 9001+i, strings.ToUpper(rows[of][1]))
	}
	for i, address := range []string{"", "yamada.example.jp", "sato@@example.jp", "tanaka taro@example.jp", "なし"} {
		again(i*50, 9101+i, address) // broken
	}
	return encode(t, rows, "会員番号,メールアドレス,姓,名,フリガナ,都道府県,生年月日,会員ランク,購入回数,登録日,備考", true)
}

var (
	abroad = []struct{ country, language, given, family string }{
		{"Germany", "en", "Jürgen Anna Lukas Käthe Björn", "Müller Weiß Schäfer Großmann Köhler"},
		{"France", "en", "Élodie René Chloé Jérôme Zoé", "Lefèvre Dupré Château Noël Garçon"},
		{"Spain", "en", "José María Íñigo Lucía Begoña", "Muñoz Peña Núñez García Ibáñez"},
		{"Poland", "en", "Łukasz Małgorzata Paweł Żaneta Zofia", "Wójcik Kowalczyk Zieliński Woźniak Dąbrowski"},
		{"Türkiye", "en", "Işıl Çağla Ömer Şükrü Gül", "Yıldız Öztürk Şahin Güneş Çelik"},
		{"Viet Nam", "en", "Nguyệt Hùng Lan Đức Thảo", "Nguyễn Trần Lê Phạm Đặng"},
		{"United States", "en", "Mary James Aisha Miguel Grace", "Smith Johnson O'Brien Lee Washington"},
		{"Greece", "en", "Νίκος Ελένη Γιώργος Μαρία Άννα", "Παπαδόπουλος Νικολάου Γεωργίου Ιωάννου Δήμου"},
		{"Ukraine", "en", "Олена Тарас Ірина Андрій Юлія", "Шевченко Коваленко Бондар Ткаченко Їжак"},
		{"Japan", "ja", "美香 Kenji 悟 Naomi 遥", "安藤 Ogawa 前田 Fujita 辻"},
	}
	companies     = []string{"", "", "Example, Inc.", `The "Blue" Café`, "Müller & Söhne GmbH", "株式会社エグザンプル", "Nowhere Ltd"}
	abroadDomains = strings.Fields(`example.com example.com example.org example.net mail.example startup.example uni.example`)
)

// subscribers is the list of an English newsletter, as a web form writes it: UTF-8 without BOM, quoted where it must be.
func subscribers(t *testing.T) []byte {
	const n = 460
	words := cast{{"unknown", 6}, {"later-unknown", 5}, {"full", 1}, {"greylist", 6}, {"slow", 2}, {"complain", 1}, {"vacation", 3},
		{"unsubscribe", 3}, {"drop", 1}, {"busy", 1}}.at(n)
	var rows [][]string
	l := lot(77)
	for i := range n {
		home := abroad[l.below(len(abroad))]
		given, family := l.of(strings.Fields(home.given)), l.of(strings.Fields(home.family))
		address := fmt.Sprintf("%sreader%d@%s", words[i], i+1, l.of(abroadDomains))
		if words[i] == "" && i%40 == 11 {
			address = strings.Replace(address, "@", "+news@", 1)
		}
		rows = append(rows, []string{address, given, family, l.of(companies), home.country, home.language,
			l.of([]string{"free", "free", "free", "plus", "pro"}), l.date(2019, 2026, true), "web form"})
	}
	rows[20][3] = "Two\nLines Ltd"
	rows[21][0] = strings.ToUpper(rows[21][0])
	rows = append(rows, rows[21], rows[210], rows[333]) // duplicates
	rows = append(rows, []string{"hanako@", "Hanako", "", "", "Japan", "ja", "free", "2026-01-05", "web form"},
		[]string{"a..b@example.com", "A", "B", "", "United States", "en", "free", "2026-01-06", "web form"}, // no carrier: a typing error
		[]string{"reader999@example.com", "too", "few"})
	return encode(t, rows, "email,first_name,last_name,company,country,language,plan,joined,consent_source", false)
}

func encode(t *testing.T, rows [][]string, header string, cp932 bool) []byte {
	t.Helper()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = cp932
	w.Write(strings.Split(header, ","))
	w.WriteAll(rows)
	if w.Error() != nil {
		t.Fatal(w.Error())
	}
	if !cp932 {
		return b.Bytes()
	}
	text, err := japanese.ShiftJIS.NewEncoder().Bytes(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return text
}
