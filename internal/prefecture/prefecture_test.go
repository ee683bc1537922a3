package prefecture

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestOf(t *testing.T) {
	for cell, want := range map[string]string{
		"東京都": "東京都", "東京": "東京都", "Tokyo": "東京都", "TOKYO": "東京都", "13": "東京都", "１３": "東京都", "JP-13": "東京都", "Tōkyō-to": "東京都",
		" 東京都 ": "東京都", "東京都千代田区丸の内1-1": "東京都", "東京 千代田区": "東京都", "東京千代田区": "東京都", "Tokyo, Chiyoda-ku": "東京都", "Tokyo Metropolis": "東京都",
		"京都府": "京都府", "京都": "京都府", "京都市中京区": "京都府", "Kyoto-fu": "京都府", "京都府京都市": "京都府", "1": "北海道", "01": "北海道", "北海道札幌市": "北海道",
		"神奈川県横浜市": "神奈川県", "和歌山": "和歌山県", "鹿児島県": "鹿児島県", "Gumma": "群馬県", "Ōsaka": "大阪府", "Oosaka": "大阪府", "Ōita": "大分県", "47": "沖縄県",
		"大阪狭山市": "大阪府", "Hyogo Prefecture": "兵庫県", "Kōchi-ken": "高知県",
		"": "", "0": "", "48": "", "131016": "", "13-1": "", "都": "", "福島区": "", "京都郡みやこ町": "", "長野原町": "", "佐賀関": "", "愛知川町": "", "Tokyoite": "",
		"千代田区, 東京都": "", "Paris": "", "\xff": "",
	} {
		got := ""
		if p, ok := Of(cell); ok {
			got = p.Name
		}
		if got != want {
			t.Errorf("Of(%q) = %q, want %q", cell, got, want)
		}
	}
}

// Each of the 47 under all its names is itself, and the table holds together.
func TestAll(t *testing.T) {
	perRegion := map[string]int{}
	for i, p := range All {
		perRegion[p.Region.Name]++
		if p.Code != i+1 || !strings.HasPrefix(p.Name, p.Short) || utf8.RuneCountInString(p.Name)-utf8.RuneCountInString(p.Short) > 1 {
			t.Errorf("%+v stands at %d", p, i)
		}
		for _, cell := range []string{p.Name, p.Short, p.Romaji, strings.ToUpper(p.Romaji), twoDigits(p.Code), p.Name + "中央1-2", p.Short + "市", p.Romaji + "-ken"} {
			if got, ok := Of(cell); !ok || got.Code != p.Code {
				t.Errorf("Of(%q) = %v, want %s", cell, got, p.Name)
			}
		}
	}
	for name, n := range map[string]int{"北海道": 1, "東北": 6, "関東": 7, "中部": 9, "近畿": 7, "中国": 5, "四国": 4, "九州・沖縄": 8} {
		if perRegion[name] != n {
			t.Errorf("%s has %d prefectures, want %d", name, perRegion[name], n)
		}
	}
}

func TestNamed(t *testing.T) {
	for name, want := range map[string]string{
		"東京": "東京都", " 東京都": "東京都", "Tokyo": "東京都", "tōkyō-to": "東京都", "１３": "東京都", "Hyogo prefecture": "兵庫県", "Oosaka-fu": "大阪府",
		"東京都港区": "", "東京と": "", "Tokyo, Japan": "", "Tokyo 1": "", "": "", "48": "",
	} {
		got := ""
		if p, ok := Named(name); ok {
			got = p.Name
		}
		if got != want {
			t.Errorf("Named(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestRegionOf(t *testing.T) {
	for name, want := range map[string]string{
		"関東": "関東", "関東地方": "関東", "Kanto": "関東", "kantō": "関東", "Kanto region": "関東", "九州・沖縄": "九州・沖縄", "九州沖縄": "九州・沖縄",
		"Kyushu and Okinawa": "九州・沖縄", "北海道": "北海道", "九州": "", "関西": "", "": "", "東京": "",
	} {
		got := ""
		if r, ok := RegionOf(name); ok {
			got = r.Name
		}
		if got != want {
			t.Errorf("RegionOf(%q) = %q, want %q", name, got, want)
		}
	}
}

func FuzzOf(f *testing.F) {
	for _, s := range []string{"東京都", "Tokyo", "13", "ﾄｳｷｮｳ", "\xff", "JP-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cell string) {
		p, ok := Of(cell)
		if ok != (p != nil) || ok && (p.Code < 1 || p.Code > 47) {
			t.Errorf("Of(%q) = %v, %v", cell, p, ok)
		}
	})
}
