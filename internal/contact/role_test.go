package contact

import "testing"

func TestRoleOf(t *testing.T) {
	for role, headers := range map[Role][]string{
		Address: {"メールアドレス", "E-mail", "email", "EMAIL ADDRESS", "Ｅメール", "e_mail", "メールアドレス（必須）", "メールアドレス【必須】", "Ｅ－ｍａｉｌ：", "*メールアドレス",
			"メール アドレス", "Your Email (required)", "E-Mail Address*", "\ufeffemail", "PCメールアドレス"},
		Name:       {"氏名", "お名前", "お名前（必須）", "名前：", "Full Name", "full_name", "ご担当者名", "氏　名", "お名前(漢字)"},
		LastName:   {"姓", "Last Name", "last_name", "LASTNAME", "last-name", "お名前（姓）", "氏名[姓]", "苗字", "姓(漢字)", "Surname"},
		FirstName:  {"名", "First Name", "firstName", "お名前（名）", "名(必須)", "given name"},
		Kana:       {"ﾌﾘｶﾞﾅ", "フリガナ", "ふりがな", "氏名（カナ）", "お名前（フリガナ）", "氏名_カナ", "Name (Kana)", "フリガナ（全角）"},
		LastKana:   {"セイ", "姓（カナ）", "フリガナ（セイ）", "フリガナ(姓)", "last_name_kana", "せい"},
		FirstKana:  {"メイ", "名(フリガナ)", "フリガナ（メイ）", "めい", "First Name Kana"},
		Company:    {"会社名", "御社名", "Company Name", "勤務先", "企業名", "会社・団体名", "貴社名（必須）", "organization"},
		Department: {"部署", "部署名", "所属部署", "Dept."},
		Title:      {"役職", "Job Title", "肩書き", "お役職"},
		Prefecture: {"都道府県", "Prefecture", "ご住所（都道府県）", "pref"},
		Street:     {"住所", "ご住所", "住所１", "Street Address", "address1", "所在地"},
		Postcode:   {"郵便番号", "〒", "ZIP", "Zip Code", "postal-code", "郵便番号（半角数字）"},
		Phone:      {"電話番号", "TEL", "Tel.", "ＴＥＬ", "Phone Number", "携帯電話", "お電話番号※"},
		Birthday:   {"生年月日", "誕生日", "Date of Birth", "DOB", "birthday"},
		Gender:     {"性別", "Gender", "sex"},
		Registered: {"登録日", "登録日時", "Registration Date", "OPTIN_TIME", "入会日"},
		Tags:       {"tags", "タグ", "TAG", "ﾀｸﾞ"},
		Language:   {"言語", "language", "lang", "Locale"},
		NoRole: {"", "アドレス", "address", "mail", "趣味", "名称", "商品名", "番号", "会員番号", "日付", "date", "作成日", "更新日", "id", "種別", "type", "status", "city",
			"country", "備考", "メモ", "担当", "住所2", "file name", "username", "ユーザー名", "nickname", "購入日", "最終購入日", "メール配信", "メルマガ", "title of book",
			"group", "グループ", "label", "年齢", "セール", "名簿", "性", "命名"},
	} {
		for _, header := range headers {
			if got := RoleOf(header); got != role {
				t.Errorf("RoleOf(%q) = %q, want %q (its key is %q)", header, got, role, headerKey(header))
			}
		}
	}
	for _, r := range Roles {
		if RoleOf(string(r)) != r {
			t.Errorf("the role %s is not its own alias", r)
		}
	}
	for key := range aliases {
		if headerKey(key) != key {
			t.Errorf("the alias %q is never found: its key is %q", key, headerKey(key))
		}
	}
	for _, table := range []map[string]bool{weakAddress, groupNames} {
		for key := range table {
			if headerKey(key) != key || aliases[key] != NoRole {
				t.Errorf("the weak alias %q is never found", key)
			}
		}
	}
}
