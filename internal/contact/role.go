package contact

import (
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Role says what a field means, whatever its name and language. A role never changes a field's name.
type Role string

// The roles of fields.
const (
	NoRole     Role = ""
	Address    Role = "address"
	Name       Role = "name"
	LastName   Role = "last_name"
	FirstName  Role = "first_name"
	Kana       Role = "kana"
	LastKana   Role = "last_kana"
	FirstKana  Role = "first_kana"
	Company    Role = "company"
	Department Role = "department"
	Title      Role = "title"
	Prefecture Role = "prefecture"
	Street     Role = "street"
	Postcode   Role = "postcode"
	Phone      Role = "phone"
	Birthday   Role = "birthday"
	Gender     Role = "gender"
	Registered Role = "registered"
	Language   Role = "language"
)

// aliases names the headers that carry a role, in the form that headerKey gives. The name of a role is its own alias.
var aliases = map[string]Role{
	"email": Address, "e-mail": Address, "emailaddress": Address, "e-mailaddress": Address, "mailaddress": Address,
	"メールアドレス": Address, "eメール": Address, "e-メール": Address, "eメールアドレス": Address, "電子メール": Address,
	"電子メールアドレス": Address, "pcメール": Address, "pcメールアドレス": Address, "携帯メールアドレス": Address,
	"correo": Address, "correoelectrónico": Address, "courriel": Address, "adressee-mail": Address, "邮箱": Address,
	"电子邮箱": Address, "电子邮件": Address, "電子郵件": Address, "이메일": Address,

	"name": Name, "fullname": Name, "氏名": Name, "名前": Name, "お名前": Name, "ご氏名": Name, "姓名": Name, "顧客名": Name,
	"会員名": Name, "担当者": Name, "担当者名": Name, "이름": Name, "nombre": Name,
	"lastname": LastName, "familyname": LastName, "surname": LastName, "姓": LastName, "苗字": LastName, "名字": LastName,
	"氏": LastName, "お名前(姓)": LastName, "氏名(姓)": LastName, "nachname": LastName, "apellido": LastName,
	"firstname": FirstName, "givenname": FirstName, "forename": FirstName, "名": FirstName, "お名前(名)": FirstName,
	"氏名(名)": FirstName, "vorname": FirstName, "prénom": FirstName,
	"kana": Kana, "フリガナ": Kana, "ふりがな": Kana, "カナ": Kana, "かな": Kana, "氏名カナ": Kana, "氏名(カナ)": Kana,
	"お名前カナ": Kana, "カナ氏名": Kana,
	"lastkana": LastKana, "セイ": LastKana, "せい": LastKana, "姓カナ": LastKana, "姓(カナ)": LastKana,
	"firstkana": FirstKana, "メイ": FirstKana, "めい": FirstKana, "名カナ": FirstKana, "名(カナ)": FirstKana,

	"company": Company, "companyname": Company, "organization": Company, "organisation": Company, "会社": Company,
	"会社名": Company, "御社名": Company, "貴社名": Company, "勤務先": Company, "法人名": Company, "団体名": Company, "firma": Company,
	"department": Department, "部署": Department, "部署名": Department, "所属": Department,
	"title": Title, "jobtitle": Title, "position": Title, "役職": Title, "肩書": Title, "肩書き": Title,

	"prefecture": Prefecture, "pref": Prefecture, "都道府県": Prefecture, "都道府県名": Prefecture,
	"street": Street, "streetaddress": Street, "postaladdress": Street, "住所": Street, "ご住所": Street, "住所1": Street,
	"postcode": Postcode, "postalcode": Postcode, "zip": Postcode, "zipcode": Postcode, "郵便番号": Postcode, "〒": Postcode,
	"phone": Phone, "phonenumber": Phone, "tel": Phone, "telephone": Phone, "電話": Phone, "電話番号": Phone,
	"birthday": Birthday, "birthdate": Birthday, "dateofbirth": Birthday, "dob": Birthday, "生年月日": Birthday, "誕生日": Birthday,
	"gender": Gender, "sex": Gender, "性別": Gender,
	"registered": Registered, "registrationdate": Registered, "登録日": Registered, "入会日": Registered, "登録日時": Registered,
	"language": Language, "lang": Language, "locale": Language, "言語": Language,
}

// weakAddress names headers that mean a mail address only when their cells look like one: each has another meaning.
var weakAddress = map[string]bool{
	"アドレス": true, "address": true, "mail": true, "メール": true, "メルアド": true, "メアド": true, "連絡先": true, "contact": true,
	"to": true, "宛先": true,
}

// RoleOf is the role that a header carries, in any of the languages that the table knows.
func RoleOf(header string) Role { return aliases[headerKey(header)] }

// MayBeAddress reports whether a header can mean a mail address if its cells look like one.
func MayBeAddress(header string) bool { return weakAddress[headerKey(header)] }

// IsEmail reports whether a header is the reserved name under which every contact's address is known. Such a column is
// the address itself and makes no field.
func IsEmail(header string) bool { return strings.EqualFold(header, "email") }

// headerKey folds what differs between spellings of one header: width, case, spaces and underscores, brackets' width.
func headerKey(header string) string {
	key := strings.ToLower(norm.NFKC.String(header))
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '_', '\t', '\n', '\r', '*', '※', ':':
			return -1
		}
		return r
	}, key)
}
