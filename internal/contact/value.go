package contact

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// MismatchError says that a cell does not fit the type of its field.
type MismatchError struct {
	Field Field
	Cell  string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%q is not a %s, the type of field %q (%smailer fields set %s --type text takes any cell)",
		short(e.Cell), typeWord(e.Field.Type), e.Field.Name, WayOut(e.Field.Type, e.Cell), ShellWord(e.Field.Name))
}

// WayOut says how a cell that does not fit a type would, where that can be told. What it says ends in "; ", for more to
// follow.
func WayOut(t Type, cell string) string {
	switch t {
	case Number:
		if plain := plainNumber(cell); plain != "" && plain != cell {
			return "write " + plain + "; "
		}
	case Date:
		switch digits := strings.Trim(cell, "0123456789/.-") == "" && len(cell) >= 6 && len(cell) <= 10; {
		case digits && yearFirst.MatchString(cell):
			return "write YYYY-MM-DD, with two digits for the month and the day; "
		case digits:
			return "write YYYY-MM-DD: which of its numbers is the month is not guessed; "
		}
	}
	return ""
}

// plainNumber is a number without what people and spreadsheets put around one: separators of thousands, a currency, full
// width. It is a proposal for a person; cells are stored as they are or not at all.
func plainNumber(cell string) string {
	plain := norm.NFKC.String(cell)
	plain = strings.Trim(plain, "¥\\$€£円個点人歳% ")
	if whole, _, _ := strings.Cut(plain, "."); groups.MatchString(whole) {
		plain = strings.ReplaceAll(plain, ",", "")
	}
	if plain = strings.TrimPrefix(plain, "+"); !isNumber(plain) {
		return ""
	}
	return plain
}

// yearFirst begins a date that is written in one order only.
var yearFirst = regexp.MustCompile(`^[12]\d{3}(\D|\d{4}$)`)

var groups = regexp.MustCompile(`^[-+]?\d{1,3}(,\d{3})+$`)

func typeWord(t Type) string {
	switch t {
	case Date:
		return "date (YYYY-MM-DD, 2026/1/5, 2026年1月5日, R8.1.5)"
	case Boolean:
		return "boolean (true/false, yes/no)"
	}
	return string(t)
}

func short(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}

var plainWord = regexp.MustCompile(`^[\pL\pN_.-]+$`)

// ShellWord is a name as it is typed into a shell.
func ShellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// maxDigits is how many digits a float64 holds without loss; a longer number is an identifier, hence text.
const maxDigits = 15

// isNumber accepts a plain decimal number: no leading zero (a postal code, a telephone number), no plus, no exponent, no
// group separators. Every number is a valid JSON literal as it stands.
func isNumber(s string) bool {
	if len(s) > 0 && s[0] == '-' {
		s = s[1:]
	}
	if len(s) == 0 || len(s) > maxDigits+1 || s[0] < '0' || s[0] > '9' {
		return false
	}
	point := 0 // where it stands; 0: none
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
		case c == '.' && point == 0 && i+1 < len(s):
			point = i
		default:
			return false
		}
	}
	if point == 0 && len(s) > maxDigits {
		return false
	}
	return s[0] != '0' || len(s) == 1 || point == 1
}

// ParseBoolean reads the cell of a boolean field: words only, 0 and 1 are numbers.
func ParseBoolean(s string) (value, ok bool) {
	word := ""
	switch len(s) {
	case 2:
		if word = "no"; s[0]|0x20 == 'o' {
			word, value = "on", true
		}
	case 3:
		if word = "off"; s[0]|0x20 == 'y' {
			word, value = "yes", true
		}
	case 4:
		word, value = "true", true
	case 5:
		word = "false"
	case len("はい"):
		word, value = "はい", true
	case len("いいえ"):
		word = "いいえ"
	default:
		return false, false
	}
	if s[0] != word[0] && s[0]|0x20 != word[0] || !strings.EqualFold(s, word) {
		return false, false
	}
	return value, true
}

// listSeparators stand between the items of a list cell, once its field is a list.
const listSeparators = ",;|、；\n"

// ListItems is the items of a list cell that prints as they do, with one semicolon between them. ok is false for a cell
// that is written in another way.
func ListItems(cell string) (items []string, ok bool) {
	items = splitList(cell)
	return items, cell != "" && cell == strings.Join(items, listJoin)
}

// SplitList is the items of a cell, whatever stands between them.
func SplitList(cell string) []string { return splitList(cell) }

// splitList takes the items of a list cell apart.
func splitList(s string) []string {
	var items []string
	for item := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(listSeparators, r) }) {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// Fits reports whether a cell can be held in a field of type t. An empty cell fits every type.
func Fits(t Type, cell string) bool {
	if cell == "" {
		return true
	}
	switch t {
	case Number:
		return isNumber(cell)
	case Date:
		_, ok := parseDate(cell)
		return ok
	case Boolean:
		_, ok := ParseBoolean(cell)
		return ok
	}
	return true
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
