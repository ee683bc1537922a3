package message

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	printer "golang.org/x/text/message"
	"golang.org/x/text/number"
	"golang.org/x/text/unicode/norm"
)

// numerals prints numbers as a language does.
type numerals struct{ tag language.Tag }

var (
	plainNumber   = regexp.MustCompile(`^[+-]?\d+(\.\d+)?$`)
	groupedNumber = regexp.MustCompile(`^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$`)
)

// decimal reads a number, or a field that holds one: 1234, 1,234.50, １２３４. scale is how many decimals it has.
func decimal(v any) (n float64, scale int, ok bool) {
	switch v := v.(type) {
	case int:
		return float64(v), 0, true
	case int64:
		return float64(v), 0, true
	case float64:
		s := strconv.FormatFloat(v, 'f', -1, 64)
		_, frac, _ := strings.Cut(s, ".")
		return v, len(frac), true
	case string:
		s := norm.NFKC.String(strings.TrimSpace(v))
		if groupedNumber.MatchString(s) {
			s = strings.ReplaceAll(s, ",", "")
		}
		if !plainNumber.MatchString(s) || len(s) > 16 { // more digits than a float64 keeps
			return 0, 0, false
		}
		n, err := strconv.ParseFloat(s, 64)
		_, frac, _ := strings.Cut(s, ".")
		return n, len(frac), err == nil
	}
	return 0, 0, false
}

// value is the last argument, behind an optional number of decimals.
func (l numerals) value(what string, args []any) (n float64, scale int, err error) {
	if len(args) == 0 || len(args) > 2 {
		return 0, 0, fmt.Errorf("%s wants a number: {{%s .points}}, or with two decimals {{%s 2 .points}}", what, what, what)
	}
	n, scale, ok := decimal(args[len(args)-1])
	if !ok {
		return 0, 0, fmt.Errorf("%s: %q is no number", what, fmt.Sprint(args[len(args)-1]))
	}
	if len(args) == 2 {
		places, ok := args[0].(int)
		if !ok || places < 0 || places > 10 {
			return 0, 0, fmt.Errorf("%s: %v is no number of decimals", what, args[0])
		}
		scale = places
	}
	return n, scale, nil
}

func (l numerals) print(n float64, scale int) string {
	return printer.NewPrinter(l.tag).Sprint(number.Decimal(n, number.Scale(scale)))
}

// number prints 1234567.5 as 1,234,567.5 or 1.234.567,5: {{number .points}}; with two decimals {{number 2 .price}}.
func (l numerals) number(args ...any) (string, error) {
	if len(args) > 0 && blankValue(args[len(args)-1]) {
		return "", nil
	}
	n, scale, err := l.value("number", args)
	if err != nil {
		return "", err
	}
	return l.print(n, scale), nil
}

// currencies: the sign and how many decimals are usual. Others are written with their code.
var currencies = map[string]struct {
	sign  string
	scale int
}{
	"JPY": {"¥", 0}, "USD": {"$", 2}, "EUR": {"€", 2}, "GBP": {"£", 2}, "KRW": {"₩", 0}, "CNY": {"¥", 2}, "INR": {"₹", 2},
	"TWD": {"NT$", 0}, "HKD": {"HK$", 2}, "AUD": {"A$", 2}, "CAD": {"CA$", 2}, "NZD": {"NZ$", 2}, "BRL": {"R$", 2}, "VND": {"₫", 0},
}

var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

// currency prints an amount: {{currency "JPY" .price}} is 1,980円 in Japanese and ¥1,980 in English.
func (l numerals) currency(code string, v any) (string, error) {
	if blankValue(v) {
		return "", nil
	}
	if !currencyCode.MatchString(code) {
		return "", fmt.Errorf("currency: %q is no currency; one is JPY", code)
	}
	n, _, ok := decimal(v)
	if !ok {
		return "", fmt.Errorf("currency: %q is no number", fmt.Sprint(v))
	}
	c, known := currencies[code]
	if !known {
		c.sign, c.scale = code, 2
	}
	amount, minus := l.print(n, c.scale), ""
	if n < 0 {
		amount, minus = l.print(-n, c.scale), "-"
	}
	base, _ := l.tag.Base()
	switch lang := base.String(); {
	case lang == "ja" && code == "JPY":
		return minus + amount + "円", nil
	case lang == "ko" && code == "KRW":
		return minus + amount + "원", nil
	case !known || lang != "en" && lang != "ja" && lang != "zh" && lang != "ko" && lang != "nl" && lang != "pt":
		if lang == "en" || lang == "ja" || lang == "zh" || lang == "ko" {
			return minus + c.sign + "\u00a0" + amount, nil
		}
		return minus + amount + "\u00a0" + c.sign, nil
	case lang == "nl" || lang == "pt":
		return minus + c.sign + "\u00a0" + amount, nil
	}
	return minus + c.sign + amount, nil
}

// plural picks the form of a word for a number: {{plural "point" "points" .points}}. A language with more forms has them
// in the order of Unicode's rules: one, few, many, other.
func (l numerals) plural(args ...any) (string, error) {
	if len(args) < 2 {
		return "", errors.New(`plural wants the forms and the number: {{plural "point" "points" .points}}`)
	}
	v := args[len(args)-1]
	n, scale, ok := decimal(v)
	if !ok {
		return "", fmt.Errorf("plural: %q is no number", fmt.Sprint(v))
	}
	s := strings.TrimPrefix(strconv.FormatFloat(n, 'f', scale, 64), "-")
	whole, frac, _ := strings.Cut(s, ".")
	i, _ := strconv.Atoi(whole[max(0, len(whole)-9):]) // no rule looks at more
	f, _ := strconv.Atoi("0" + frac)
	trimmed := strings.TrimRight(frac, "0")
	t, _ := strconv.Atoi("0" + trimmed)
	form := plural.Cardinal.MatchPlural(l.tag, i, len(frac), len(trimmed), f, t)
	forms := args[:len(args)-1]
	var at int
	switch {
	case form == plural.One || len(forms) == 1:
		at = 0
	case len(forms) == 2:
		at = 1
	case form == plural.Two, form == plural.Few:
		at = 1
	case form == plural.Many:
		at = 2
	default:
		at = len(forms) - 1
	}
	word, ok := forms[at].(string)
	if !ok {
		return "", errors.New("plural: the forms are texts in quotes, the number stands last")
	}
	return word, nil
}
