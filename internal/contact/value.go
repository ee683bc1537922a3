package contact

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// MismatchError says that a cell does not fit the type of its field.
type MismatchError struct {
	Field Field
	Cell  string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%q is not a %s, the type of field %q (mailer fields set %s --type text takes any cell)",
		short(e.Cell), typeWord(e.Field.Type), e.Field.Name, shellWord(e.Field.Name))
}

func typeWord(t Type) string {
	switch t {
	case Date:
		return "date (YYYY-MM-DD)"
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

func shellWord(s string) string {
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
	digits := strings.TrimPrefix(s, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if len(whole)+len(fraction) > maxDigits || !allDigits(whole) || point && !allDigits(fraction) {
		return false
	}
	return whole == "0" || whole[0] != '0'
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// parseDate reads YYYY-MM-DD and YYYY/M/D, with a time of day or without, and returns the form that compares. Other
// orders are not guessed: 01/02/2026 is two days.
func parseDate(s string) (string, bool) {
	if len(s) < len("2026/1/5") || len(s) > len("2026-01-05T10:00:00") || s[0] < '0' || s[0] > '9' {
		return "", false
	}
	day, clock, timed := strings.Cut(s, " ")
	if !timed {
		day, clock, timed = strings.Cut(s, "T")
	}
	d, err := time.Parse("2006-1-2", strings.ReplaceAll(day, "/", "-"))
	if err != nil || strings.Contains(day, "-") && (len(day) != len("2026-01-05") || strings.Contains(day, "/")) {
		return "", false
	}
	if !timed {
		return d.Format("2006-01-02"), true
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(layout, clock); err == nil {
			return d.Format("2006-01-02") + t.Format("T15:04:05"), true
		}
	}
	return "", false
}

// ParseBoolean reads the cell of a boolean field: words only, 0 and 1 are numbers.
func ParseBoolean(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "はい":
		return true, true
	case "false", "no", "off", "いいえ":
		return false, true
	}
	return false, false
}

// splitList takes the items of a list cell apart.
func splitList(s string) []string {
	var items []string
	for item := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(",;|、；\n", r) }) {
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

// Inference finds the type of a new column: the narrowest that every non-empty cell fits. The zero value is ready.
type Inference struct {
	seen                        bool
	notNumber, notDate, notBool bool
}

// See takes one cell into account.
func (i *Inference) See(cell string) {
	if cell == "" || i.notNumber && i.notDate && i.notBool {
		return
	}
	i.seen = true
	i.notNumber = i.notNumber || !Fits(Number, cell)
	i.notDate = i.notDate || !Fits(Date, cell)
	i.notBool = i.notBool || !Fits(Boolean, cell)
}

// Type is the verdict; a column without a single value is text.
func (i *Inference) Type() Type {
	switch {
	case !i.seen:
		return Text
	case !i.notNumber:
		return Number
	case !i.notDate:
		return Date
	case !i.notBool:
		return Boolean
	}
	return Text
}

// Empty reports whether no cell had a value.
func (i *Inference) Empty() bool { return !i.seen }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
