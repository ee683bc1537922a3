// Package prefecture knows the 47 prefectures of Japan and their eight regions, under every name that a cell gives them:
// 東京都, 東京, Tokyo, Tōkyō-to, the JIS code 13, and an address that begins with one.
package prefecture

import (
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Prefecture is one of the 47.
type Prefecture struct {
	Code   int    // JIS X 0401, 1 to 47
	Name   string // 東京都
	Short  string // 東京; of 北海道 the same as Name
	Romaji string // Tokyo
	Region *Region
}

// Region is one of the eight into which the prefectures fall. 三重 is in 近畿 and 沖縄 with 九州, as schools teach it.
type Region struct {
	Name    string // 関東
	English string // Kanto
}

// Regions from north to south.
var Regions = [...]Region{
	{"北海道", "Hokkaido"}, {"東北", "Tohoku"}, {"関東", "Kanto"}, {"中部", "Chubu"}, {"近畿", "Kinki"}, {"中国", "Chugoku"},
	{"四国", "Shikoku"}, {"九州・沖縄", "Kyushu-Okinawa"},
}

// All in the order of their codes.
var All = [...]Prefecture{
	{1, "北海道", "北海道", "Hokkaido", &Regions[0]},
	{2, "青森県", "青森", "Aomori", &Regions[1]}, {3, "岩手県", "岩手", "Iwate", &Regions[1]}, {4, "宮城県", "宮城", "Miyagi", &Regions[1]},
	{5, "秋田県", "秋田", "Akita", &Regions[1]}, {6, "山形県", "山形", "Yamagata", &Regions[1]}, {7, "福島県", "福島", "Fukushima", &Regions[1]},
	{8, "茨城県", "茨城", "Ibaraki", &Regions[2]}, {9, "栃木県", "栃木", "Tochigi", &Regions[2]}, {10, "群馬県", "群馬", "Gunma", &Regions[2]},
	{11, "埼玉県", "埼玉", "Saitama", &Regions[2]}, {12, "千葉県", "千葉", "Chiba", &Regions[2]}, {13, "東京都", "東京", "Tokyo", &Regions[2]},
	{14, "神奈川県", "神奈川", "Kanagawa", &Regions[2]},
	{15, "新潟県", "新潟", "Niigata", &Regions[3]}, {16, "富山県", "富山", "Toyama", &Regions[3]}, {17, "石川県", "石川", "Ishikawa", &Regions[3]},
	{18, "福井県", "福井", "Fukui", &Regions[3]}, {19, "山梨県", "山梨", "Yamanashi", &Regions[3]}, {20, "長野県", "長野", "Nagano", &Regions[3]},
	{21, "岐阜県", "岐阜", "Gifu", &Regions[3]}, {22, "静岡県", "静岡", "Shizuoka", &Regions[3]}, {23, "愛知県", "愛知", "Aichi", &Regions[3]},
	{24, "三重県", "三重", "Mie", &Regions[4]}, {25, "滋賀県", "滋賀", "Shiga", &Regions[4]}, {26, "京都府", "京都", "Kyoto", &Regions[4]},
	{27, "大阪府", "大阪", "Osaka", &Regions[4]}, {28, "兵庫県", "兵庫", "Hyogo", &Regions[4]}, {29, "奈良県", "奈良", "Nara", &Regions[4]},
	{30, "和歌山県", "和歌山", "Wakayama", &Regions[4]},
	{31, "鳥取県", "鳥取", "Tottori", &Regions[5]}, {32, "島根県", "島根", "Shimane", &Regions[5]}, {33, "岡山県", "岡山", "Okayama", &Regions[5]},
	{34, "広島県", "広島", "Hiroshima", &Regions[5]}, {35, "山口県", "山口", "Yamaguchi", &Regions[5]},
	{36, "徳島県", "徳島", "Tokushima", &Regions[6]}, {37, "香川県", "香川", "Kagawa", &Regions[6]}, {38, "愛媛県", "愛媛", "Ehime", &Regions[6]},
	{39, "高知県", "高知", "Kochi", &Regions[6]},
	{40, "福岡県", "福岡", "Fukuoka", &Regions[7]}, {41, "佐賀県", "佐賀", "Saga", &Regions[7]}, {42, "長崎県", "長崎", "Nagasaki", &Regions[7]},
	{43, "熊本県", "熊本", "Kumamoto", &Regions[7]}, {44, "大分県", "大分", "Oita", &Regions[7]}, {45, "宮崎県", "宮崎", "Miyazaki", &Regions[7]},
	{46, "鹿児島県", "鹿児島", "Kagoshima", &Regions[7]}, {47, "沖縄県", "沖縄", "Okinawa", &Regions[7]},
}

// exact finds what most cells hold without taking them apart.
var exact = func() map[string]*Prefecture {
	m := make(map[string]*Prefecture, 5*len(All))
	for i := range All {
		p := &All[i]
		for _, name := range []string{p.Name, p.Short, p.Romaji, strconv.Itoa(p.Code), twoDigits(p.Code)} {
			m[name] = p
		}
	}
	return m
}()

func twoDigits(n int) string { return string([]byte{'0' + byte(n/10), '0' + byte(n%10)}) }

// Of finds the prefecture that a cell names, alone or at the beginning of an address.
func Of(cell string) (*Prefecture, bool) {
	if p, ok := exact[cell]; ok {
		return p, true
	}
	text := strings.TrimSpace(norm.NFKC.String(cell))
	if p, ok := exact[text]; ok {
		return p, true
	}
	if p := byKanji(text); p != nil {
		return p, true
	}
	p := byRomaji(plain(text))
	return p, p != nil
}

// Named finds the prefecture of which a text is a name and nothing more.
func Named(name string) (*Prefecture, bool) {
	text := strings.TrimSpace(norm.NFKC.String(name))
	if p, ok := exact[text]; ok {
		return p, true
	}
	text = plain(text)
	for _, ending := range []string{"-to", "-fu", "-ken", " prefecture"} {
		text = strings.TrimSuffix(text, ending)
	}
	p := byRomaji(text)
	return p, p != nil && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) })
}

// byKanji finds the prefecture with which a text begins. Only at the beginning, and the whole names first: 東京都 holds
// 京都, and 京都府 is no 東京都.
func byKanji(text string) *Prefecture {
	for i := range All {
		if strings.HasPrefix(text, All[i].Name) {
			return &All[i]
		}
	}
	for i := range All {
		rest, ok := strings.CutPrefix(text, All[i].Short)
		if ok && !elsewhere(All[i].Short, rest) {
			return &All[i]
		}
	}
	return nil
}

// elsewhere tells a place that begins with the short name of a prefecture and lies in another one, or may: 福島区 is in
// 大阪, 京都郡 in 福岡, 長野原町 in 群馬. A 市 of a prefecture's name lies in it.
func elsewhere(short, rest string) bool {
	for _, end := range []string{"区", "町", "村", "郡"} {
		if strings.HasPrefix(rest, end) {
			return true
		}
	}
	switch short {
	case "長野":
		return strings.HasPrefix(rest, "原")
	case "佐賀":
		return strings.HasPrefix(rest, "関")
	case "愛知":
		return strings.HasPrefix(rest, "川")
	}
	return false
}

// plain is a text in lower case without the long marks of romaji: Tōkyō is tokyo.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFD.String(text))
}

// otherRomaji are spellings beside Hepburn's without long marks.
var otherRomaji = map[string]string{
	"gumma": "gunma", "hokkaidou": "hokkaido", "toukyou": "tokyo", "kyouto": "kyoto", "oosaka": "osaka", "ohsaka": "osaka", "hyougo": "hyogo",
	"kouchi": "kochi", "ooita": "oita", "ohita": "oita",
}

// byRomaji takes the first word of a text: tokyo, tokyo-to, jp-13; what follows is the rest of an address.
func byRomaji(text string) *Prefecture {
	text = strings.TrimPrefix(text, "jp-") // ISO 3166-2
	word := text
	if end := strings.IndexFunc(text, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }); end >= 0 {
		word = text[:end]
	}
	if hepburn, ok := otherRomaji[word]; ok {
		word = hepburn
	}
	for i := range All {
		if strings.EqualFold(All[i].Romaji, word) {
			return &All[i]
		}
	}
	if code, err := strconv.Atoi(word); err == nil && word == text && len(word) <= 2 && 1 <= code && code <= len(All) {
		return &All[code-1]
	}
	return nil
}

// RegionOf finds a region by its Japanese or English name.
func RegionOf(name string) (*Region, bool) {
	key := regionKey(name)
	for i := range Regions {
		if key == regionKey(Regions[i].Name) || key == regionKey(Regions[i].English) {
			return &Regions[i], true
		}
	}
	return nil, false
}

// regionKey folds what differs between spellings: 関東地方 and 関東, Kyushu-Okinawa and Kyushu and Okinawa.
func regionKey(name string) string {
	key := plain(strings.TrimSpace(norm.NFKC.String(name)))
	key = strings.TrimSuffix(strings.TrimSuffix(key, " region"), "地方")
	key = strings.ReplaceAll(key, " and ", "")
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return r
		}
		return -1
	}, key)
}
