package contact

import (
	"strings"
	"unicode"

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
	Tags       Role = "tags"
	Language   Role = "language"
)

// Roles lists every role that a field can have, for help texts and completion. The address has a column of its own.
var Roles = []Role{
	Name, LastName, FirstName, Kana, LastKana, FirstKana, Company, Department, Title, Prefecture, Street, Postcode, Phone,
	Birthday, Gender, Registered, Tags, Language,
}

// aliases names the headers that carry a role, in the form that headerKey gives. The name of a role is its own alias.
// Headers that mean two things (名称, 番号, 担当, 日付, date, id, type, status, city, country) are not here: no role is
// better than a wrong one.
var aliases = map[string]Role{
	"email": Address, "emailaddress": Address, "mailaddress": Address, "emailadress": Address, "youremail": Address,
	"メールアドレス": Address, "eメール": Address, "eメールアドレス": Address, "電子メール": Address, "電子メールアドレス": Address,
	"pcメール": Address, "pcメールアドレス": Address, "携帯メール": Address, "携帯メールアドレス": Address, "ご連絡先メールアドレス": Address,
	"correo": Address, "correoelectrónico": Address, "courriel": Address, "adresseemail": Address, "邮箱": Address,
	"电子邮箱": Address, "电子邮件": Address, "電子郵件": Address, "이메일": Address,

	"name": Name, "fullname": Name, "yourname": Name, "contactname": Name, "customername": Name, "氏名": Name, "名前": Name, "お名前": Name,
	"ご氏名": Name, "ご芳名": Name, "姓名": Name, "氏名漢字": Name, "お名前漢字": Name, "漢字氏名": Name, "顧客名": Name, "お客様名": Name, "お客さま名": Name,
	"会員名": Name, "担当者": Name, "担当者名": Name, "ご担当者": Name, "ご担当者名": Name, "宛名": Name, "이름": Name, "nombre": Name,
	"lastname": LastName, "familyname": LastName, "surname": LastName, "namelast": LastName, "姓": LastName, "苗字": LastName, "名字": LastName,
	"氏": LastName, "姓漢字": LastName, "お名前姓": LastName, "氏名姓": LastName, "名前姓": LastName, "nachname": LastName, "apellido": LastName,
	"firstname": FirstName, "givenname": FirstName, "forename": FirstName, "namefirst": FirstName, "名": FirstName, "名漢字": FirstName,
	"お名前名": FirstName, "氏名名": FirstName, "名前名": FirstName, "vorname": FirstName, "prénom": FirstName,
	"kana": Kana, "namekana": Kana, "kananame": Kana, "furigana": Kana, "phoneticname": Kana, "フリガナ": Kana, "ふりがな": Kana, "カナ": Kana, "かな": Kana,
	"氏名カナ": Kana, "氏名かな": Kana, "氏名フリガナ": Kana, "氏名ふりがな": Kana, "お名前カナ": Kana, "お名前かな": Kana, "お名前フリガナ": Kana,
	"お名前ふりがな": Kana, "名前カナ": Kana, "名前フリガナ": Kana, "カナ氏名": Kana, "カナ名": Kana, "ヨミガナ": Kana, "よみがな": Kana, "読み仮名": Kana,
	"lastkana": LastKana, "lastnamekana": LastKana, "kanalastname": LastKana, "phoneticlastname": LastKana, "セイ": LastKana, "せい": LastKana, "姓カナ": LastKana,
	"姓かな": LastKana, "姓フリガナ": LastKana, "姓ふりがな": LastKana, "カナ姓": LastKana, "フリガナ姓": LastKana, "フリガナセイ": LastKana, "ふりがな姓": LastKana, "ふりがなせい": LastKana,
	"firstkana": FirstKana, "firstnamekana": FirstKana, "kanafirstname": FirstKana, "phoneticfirstname": FirstKana, "メイ": FirstKana, "めい": FirstKana, "名カナ": FirstKana,
	"名かな": FirstKana, "名フリガナ": FirstKana, "名ふりがな": FirstKana, "フリガナ名": FirstKana, "フリガナメイ": FirstKana, "ふりがな名": FirstKana, "ふりがなめい": FirstKana,

	"company": Company, "companyname": Company, "organization": Company, "organisation": Company, "organizationname": Company, "会社": Company,
	"会社名": Company, "御社名": Company, "貴社名": Company, "企業名": Company, "勤務先": Company, "勤務先名": Company, "法人名": Company, "団体名": Company,
	"会社団体名": Company, "社名": Company, "組織名": Company, "学校名": Company, "firma": Company, "empresa": Company, "entreprise": Company,
	"department": Department, "dept": Department, "division": Department, "部署": Department, "部署名": Department, "ご所属部署": Department,
	"所属": Department, "所属部署": Department, "部門": Department, "部門名": Department, "部課名": Department,
	"title": Title, "jobtitle": Title, "position": Title, "役職": Title, "役職名": Title, "お役職": Title, "肩書": Title, "肩書き": Title,

	"prefecture": Prefecture, "pref": Prefecture, "都道府県": Prefecture, "都道府県名": Prefecture, "住所都道府県": Prefecture, "ご住所都道府県": Prefecture,
	"street": Street, "streetaddress": Street, "postaladdress": Street, "mailingaddress": Street, "addressline1": Street, "address1": Street, "住所": Street,
	"ご住所": Street, "住所1": Street, "ご住所1": Street, "所在地": Street, "現住所": Street, "自宅住所": Street,
	"postcode": Postcode, "postalcode": Postcode, "zip": Postcode, "zipcode": Postcode, "郵便番号": Postcode, "〒": Postcode, "〒番号": Postcode, "郵便": Postcode,
	"phone": Phone, "phonenumber": Phone, "tel": Phone, "telno": Phone, "telephone": Phone, "telephonenumber": Phone, "mobile": Phone, "mobilephone": Phone,
	"mobilenumber": Phone, "cellphone": Phone, "電話": Phone, "電話番号": Phone, "お電話番号": Phone, "携帯電話": Phone, "携帯電話番号": Phone, "携帯番号": Phone,
	"birthday": Birthday, "birthdate": Birthday, "dateofbirth": Birthday, "dob": Birthday, "生年月日": Birthday, "誕生日": Birthday, "お誕生日": Birthday,
	"gender": Gender, "sex": Gender, "性別": Gender,
	"registered": Registered, "registeredat": Registered, "registeredon": Registered, "registrationdate": Registered, "signupdate": Registered,
	"signedupat": Registered, "subscribedat": Registered, "subscribedate": Registered, "optintime": Registered, "optindate": Registered, "joindate": Registered,
	"joinedat": Registered, "登録日": Registered, "登録日時": Registered, "登録年月日": Registered, "会員登録日": Registered, "会員登録日時": Registered,
	"入会日": Registered, "入会年月日": Registered,
	"tags": Tags, "tag": Tags, "タグ": Tags, "タグ名": Tags,
	"language": Language, "lang": Language, "locale": Language, "preferredlanguage": Language, "言語": Language, "使用言語": Language,
}

// weakAddress names headers that mean a mail address only when their cells look like one: each has another meaning.
var weakAddress = map[string]bool{
	"アドレス": true, "address": true, "mail": true, "メール": true, "メルアド": true, "メアド": true, "連絡先": true, "ご連絡先": true, "contact": true,
	"to": true, "宛先": true,
}

// RoleOf is the role that a header carries, in any of the languages that the table knows.
func RoleOf(header string) Role { return aliases[headerKey(header)] }

// MayBeAddress reports whether a header can mean a mail address if its cells look like one.
func MayBeAddress(header string) bool { return weakAddress[headerKey(header)] }

// IsEmail reports whether a header is the reserved name under which every contact's address is known. Such a column is
// the address itself and makes no field.
func IsEmail(header string) bool { return strings.EqualFold(header, "email") }

// marks are what forms and spreadsheets put around the name of a column.
var marks = strings.NewReplacer("(必須)", "", "[必須]", "", "【必須】", "", "<必須>", "", "※必須", "", "*必須", "", "(任意)", "", "[任意]", "", "【任意】", "",
	"(required)", "", "[required]", "", "(optional)", "", "[optional]", "", "(半角)", "", "(全角)", "", "(全角カナ)", "カナ", "(半角英数)", "", "(半角数字)", "")

// headerKey folds what differs between spellings of one header: width, case, spaces, hyphens, underscores, brackets,
// colons, and what says that a column must be filled.
func headerKey(header string) string {
	key := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToLower(norm.NFKC.String(header)))
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-‐*※:.・/●■◆★☆()[]{}<>【】「」『』〔〕\"'", r) {
			return -1
		}
		return r
	}, marks.Replace(key))
}
