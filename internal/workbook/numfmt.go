package workbook

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A number cell of a workbook arrives as people see it, as far as mail and comparisons are served by that:
//
//   - a date as 2026-01-05, whatever its format shows of it; with a time (15:04, or 15:04:05 where the format shows seconds)
//     if the format has one; a time alone as 15:04, hours beyond a day as 26:30
//   - a number in plain digits with the decimals that its format shows; never 1.23E+11, no thousands separators, no currency
//     sign and no brackets, so that it compares; General shows up to 15 digits, as Excel does
//   - a percentage as 15%
//   - leading zeros of a format (00000) and masks (000-0000) as shown; other words in a format (0"人") too
//
// Colours, DBNum digits and padding are left out. The format codes are those of ECMA-376 part 1, section 18.8.30.

// numFormat is a compiled format code.
type numFormat struct {
	sections []section
}

// section is one of the parts between semicolons.
type section struct {
	test  string // of a condition: < <= = <> >= >
	limit float64

	date    bool
	day     bool // shows something of the date
	clock   bool // shows something of the time
	seconds bool
	elapsed bool // [h]: hours beyond a day

	pieces  []piece // of a number: literals and digits
	digits  int     // placeholders before the point
	zeros   int     // of them, how many always show: those from the first 0 on
	places  int     // placeholders behind the point
	always  int     // of them, how many always show
	percent bool
	plain   bool // scientific, a fraction, General, scaled by a thousand: the number itself
	mask    bool // literals stand between digits
}

// piece is a literal, or where text is empty a digit placeholder of the whole part.
type piece struct{ text string }

// builtinFormats are those that a workbook does not spell out (section 18.8.30, with the Japanese ones).
var builtinFormats = map[int]string{
	1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 5: "#,##0", 6: "#,##0", 7: "#,##0.00", 8: "#,##0.00", 9: "0%", 10: "0.00%",
	11: "0.00E+00", 12: "# ?/?", 13: "# ??/??", 14: "yyyy/m/d", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy",
	18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss", 22: "yyyy/m/d h:mm",
	27: "ge.m.d", 28: "ggge年m月d日", 29: "ggge年m月d日", 30: "m/d/yy", 31: "yyyy年m月d日", 32: "h時mm分", 33: "h時mm分ss秒",
	34: "yyyy年m月", 35: "m月d日", 36: "ge.m.d", 37: "#,##0", 38: "#,##0", 39: "#,##0.00", 40: "#,##0.00", 41: "#,##0", 42: "#,##0",
	43: "#,##0.00", 44: "#,##0.00", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0", 49: "@",
	50: "ge.m.d", 51: "ggge年m月d日", 52: "yyyy年m月", 53: "m月d日", 54: "ggge年m月d日", 55: "yyyy年m月", 56: "m月d日", 57: "ge.m.d", 58: "ggge年m月d日",
}

// parseFormat compiles a format code. What it does not understand prints as General does.
func parseFormat(code string) *numFormat {
	f := &numFormat{}
	for _, part := range splitSections(code) {
		f.sections = append(f.sections, parseSection(part))
	}
	return f
}

// splitSections cuts at semicolons that are not quoted, escaped or bracketed.
func splitSections(code string) []string {
	var parts []string
	begin, end := 0, byte(0)
	for i := 0; i < len(code); i++ {
		switch c := code[i]; {
		case end != 0:
			if c == end {
				end = 0
			}
		case c == '"':
			end = '"'
		case c == '[':
			end = ']'
		case c == '\\' || c == '_' || c == '*':
			i++
		case c == ';':
			parts = append(parts, code[begin:i])
			begin = i + 1
		}
	}
	return append(parts, code[begin:])
}

// parseSection reads one part of a format code.
func parseSection(code string) section {
	var s section
	var lits []piece
	point, between := false, false
	literal := func(text string) {
		if !point && s.digits > 0 {
			between = true
		}
		lits = append(lits, piece{text})
	}
	r := []rune(code)
	for i := 0; i < len(r); i++ {
		c := r[i]
		rest := string(r[i:])
		switch {
		case c == '"':
			n := slices.Index(r[i+1:], '"')
			if n < 0 {
				n = len(r) - i - 1
			}
			literal(string(r[i+1 : i+1+n]))
			i += n + 1
		case c == '\\' || c == '!':
			if i+1 < len(r) {
				literal(string(r[i+1]))
			}
			i++
		case c == '_' || c == '*':
			i++ // padding
		case c == '[':
			n := slices.Index(r[i:], ']')
			if n < 0 {
				s.plain = true
				return s
			}
			s.bracket(string(r[i+1 : i+n]))
			i += n
		case hasFold(rest, "General"):
			s.plain = true
			return s
		case hasFold(rest, "AM/PM"), hasFold(rest, "A/P"):
			s.date, s.clock = true, true
			i += len("AM/PM") - 1
			if hasFold(rest, "A/P") {
				i += len("A/P") - len("AM/PM")
			}
		case (c == 'E' || c == 'e') && i+1 < len(r) && (r[i+1] == '+' || r[i+1] == '-') && s.digits+s.places > 0:
			s.plain = true
			return s
		case strings.ContainsRune("yYdDgGeEbB", c):
			s.date, s.day = true, true
		case strings.ContainsRune("aA", c) && hasFold(rest, "aaa"):
			s.date, s.day = true, true
		case strings.ContainsRune("hH", c):
			s.date, s.clock = true, true
		case strings.ContainsRune("sS", c):
			s.date, s.clock, s.seconds = true, true, true
		case strings.ContainsRune("mM", c):
			s.date = true
			if isMinute(r, i) {
				s.clock = true
			} else {
				s.day = true
			}
			for i+1 < len(r) && (r[i+1] == 'm' || r[i+1] == 'M') {
				i++
			}
		case c == '0' || c == '#' || c == '?':
			if point {
				s.places++
				if c == '0' {
					s.always = s.places
				}
				continue
			}
			s.mask = s.mask || between
			if s.digits++; c == '0' || s.zeros > 0 {
				s.zeros++ // behind the first 0 every place shows
			}
			lits = append(lits, piece{})
		case c == '.' && !point:
			point = true
		case c == ',':
			if i+1 == len(r) || !strings.ContainsRune("0#?", r[i+1]) && s.digits > 0 {
				s.plain = s.plain || s.digits > 0 && !point // scaled by a thousand
			}
		case c == '%':
			s.percent = true
		case c == '/' && (s.digits > 0):
			s.plain = true // a fraction
		case c == '@':
			s.plain = true
		default:
			literal(string(c))
		}
	}
	s.pieces = lits
	return s
}

func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// isMinute tells minutes from months: behind hours or before seconds, whatever stands between.
func isMinute(r []rune, i int) bool {
	end := i
	for end < len(r) && (r[end] == 'm' || r[end] == 'M') {
		end++
	}
	return end-i <= 2 && (neighbour(r, i-1, -1, "hH") || neighbour(r, end, 1, "sS"))
}

// neighbour reports whether the next letter of a date in a direction is one of letters.
func neighbour(r []rune, i, step int, letters string) bool {
	for quoted := false; 0 <= i && i < len(r); i += step {
		switch {
		case r[i] == '"':
			quoted = !quoted
		case quoted:
		case strings.ContainsRune(letters, r[i]):
			return true
		case strings.ContainsRune("yYmMdDgGeEhHsS", r[i]):
			return false
		}
	}
	return false
}

// bracket reads what stands in brackets: a condition, elapsed time, a currency, or what has no meaning here.
func (s *section) bracket(text string) {
	switch lower := strings.ToLower(text); {
	case lower != "" && strings.Trim(lower, "h") == "", lower != "" && strings.Trim(lower, "m") == "":
		s.date, s.clock, s.elapsed = true, true, true
	case lower != "" && strings.Trim(lower, "s") == "":
		s.date, s.clock, s.elapsed, s.seconds = true, true, true, true
	case strings.HasPrefix(text, "$"):
		// a currency or a locale: [$¥-411]
	default:
		for _, test := range []string{"<=", ">=", "<>", "<", ">", "="} {
			if limit, ok := strings.CutPrefix(text, test); ok {
				if n, err := strconv.ParseFloat(strings.TrimSpace(limit), 64); err == nil {
					s.test, s.limit = test, n
				}
				return
			}
		}
	}
}

func (s *section) holds(v float64) bool {
	switch s.test {
	case "<":
		return v < s.limit
	case "<=":
		return v <= s.limit
	case "=":
		return v == s.limit
	case "<>":
		return v != s.limit
	case ">=":
		return v >= s.limit
	case ">":
		return v > s.limit
	}
	return true
}

// choose is the section for a number.
func (f *numFormat) choose(v float64) *section {
	numbers := f.sections[:min(len(f.sections), 3)]
	if slices.ContainsFunc(numbers, func(s section) bool { return s.test != "" }) {
		for i := range numbers {
			if numbers[i].holds(v) {
				return &numbers[i]
			}
		}
		return &numbers[len(numbers)-1]
	}
	switch {
	case v < 0 && len(numbers) > 1:
		return &numbers[1]
	case v == 0 && len(numbers) > 2:
		return &numbers[2]
	}
	return &numbers[0]
}

// text is a number cell for people. A nil format is General.
func (f *numFormat) text(raw string, epoch1904 bool) (string, error) {
	if f == nil && isWhole(raw) {
		return raw, nil // also an identifier of more digits than Excel computes with
	}
	v, err := strconv.ParseFloat(raw, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return "", fmt.Errorf("%q is no number", raw)
	}
	if f == nil {
		return plainNumber(raw, v), nil
	}
	s := f.choose(v)
	if s.date {
		return s.dateText(v, epoch1904)
	}
	return s.numberText(raw, v), nil
}

// isWhole reports whether raw is an integer as people write it.
func isWhole(raw string) bool {
	digits := strings.TrimPrefix(raw, "-")
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return digits != "" && (digits[0] != '0' || raw == "0")
}

// plainNumber is a number in full, of at most 15 significant digits: what lies beyond is noise of binary fractions.
func plainNumber(raw string, v float64) string {
	if isWhole(raw) {
		return raw
	}
	return plain15(v)
}

func plain15(v float64) string {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 14, 64), 64)
	if err != nil || rounded == 0 {
		return "0"
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}

// numberText fills the digits of a number into a section.
func (s *section) numberText(raw string, v float64) string {
	if s.plain || s.digits+s.places == 0 {
		return plainNumber(raw, v)
	}
	number := plainNumber(raw, v)
	if s.percent {
		number = plain15(v * 100)
	}
	number, negative := strings.CutPrefix(number, "-")
	whole, fraction, _ := strings.Cut(roundDecimal(number, s.places), ".")
	fraction = strings.TrimRight(fraction, "0")
	for len(fraction) < s.always {
		fraction += "0"
	}
	if whole == "0" && s.zeros == 0 && fraction != "" {
		whole = "" // .5 under #.##
	}
	for len(whole) < s.zeros {
		whole = "0" + whole
	}
	if whole == "" {
		whole = "0"
	}
	text := s.fill(whole)
	if fraction != "" {
		text += "." + fraction
	}
	if s.percent {
		text += "%"
	}
	if !s.mask {
		text = s.around(text)
	}
	if negative && strings.ContainsAny(text, "123456789") {
		text = "-" + text
	}
	return text
}

// fill puts the whole part into its placeholders; a mask keeps what stands around and between them.
func (s *section) fill(whole string) string {
	if !s.mask {
		return whole
	}
	var out []string
	left := s.digits
	for i := len(s.pieces) - 1; i >= 0; i-- {
		switch p := s.pieces[i]; {
		case p.text != "":
			out = append(out, p.text)
		case left == 1: // the first placeholder takes all that is left
			out = append(out, whole)
			left--
		default:
			left--
			if whole != "" {
				out = append(out, whole[len(whole)-1:])
				whole = whole[:len(whole)-1]
			}
		}
	}
	slices.Reverse(out)
	return strings.Join(out, "")
}

// around adds the words before and behind the digits, but no currency, sign or bracket: the number shall compare.
func (s *section) around(number string) string {
	var before, behind string
	seen := s.digits == 0
	for _, p := range s.pieces {
		switch {
		case p.text == "":
			seen = true
		case seen:
			behind += p.text
		default:
			before += p.text
		}
	}
	return words(before) + number + words(behind)
}

// words is a literal, or nothing where it is only decoration.
func words(literal string) string {
	if strings.Trim(literal, "¥￥$＄€£₩円 \u3000\u00a0()（）+-−▲△▼") == "" {
		return ""
	}
	return literal
}

// roundDecimal rounds a decimal number half up to a number of places.
func roundDecimal(number string, places int) string {
	whole, fraction, _ := strings.Cut(number, ".")
	if len(fraction) <= places {
		return number
	}
	digits := []byte(whole + fraction[:places])
	if fraction[places] >= '5' {
		i := len(digits) - 1
		for ; i >= 0 && digits[i] == '9'; i-- {
			digits[i] = '0'
		}
		if i < 0 {
			digits = append([]byte{'1'}, digits...)
		} else {
			digits[i]++
		}
	}
	point := len(digits) - places
	return string(digits[:point]) + "." + string(digits[point:])
}

const secondsOfDay = 24 * 60 * 60

var errNoDay = errors.New("is no day that a workbook can hold")

// dateText is a date, a time, or both. A time is rounded to seconds first, since a day's fraction is binary.
func (s *section) dateText(v float64, epoch1904 bool) (string, error) {
	if v < 0 || v > 2958465.99999999 { // 9999-12-31
		return "", fmt.Errorf("%s as a date %w", plain15(v), errNoDay)
	}
	total := int64(math.Round(v * secondsOfDay))
	days, second := total/secondsOfDay, total%secondsOfDay
	if !s.day {
		hours := second / 3600
		if s.elapsed {
			hours += days * 24
		}
		return s.clockText(hours, second), nil
	}
	date, err := dateOf(days, epoch1904)
	if err != nil {
		return "", err
	}
	text := date.Format("2006-01-02")
	if s.clock {
		text += " " + s.clockText(second/3600, second)
	}
	return text, nil
}

func (s *section) clockText(hours, second int64) string {
	text := fmt.Sprintf("%02d:%02d", hours, second/60%60)
	if s.seconds {
		text += fmt.Sprintf(":%02d", second%60)
	}
	return text
}

// dateOf is the day with a number. In the system of 1900 day 60 is 1900-02-29, which never was.
func dateOf(days int64, epoch1904 bool) (time.Time, error) {
	first := time.Date(1899, 12, 31, 0, 0, 0, 0, time.UTC)
	switch {
	case epoch1904:
		first = time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)
	case days == 0:
		return first, fmt.Errorf("0 as a date %w (does its formula refer to an empty cell?)", errNoDay)
	case days == 60:
		return first, fmt.Errorf("1900-02-29 %w", errNoDay)
	case days > 60:
		days--
	}
	return first.AddDate(0, 0, int(days)), nil
}

// isoDate is a cell of the kind d, which strict workbooks use: a date of ISO 8601.
func isoDate(raw string) (string, error) {
	for _, layout := range []string{"2006-01-02", "2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04"} {
		t, err := time.Parse(layout, raw)
		if err != nil {
			continue
		}
		if t.Hour()+t.Minute()+t.Second() == 0 {
			return t.Format("2006-01-02"), nil
		}
		return strings.TrimSuffix(t.Format("2006-01-02 15:04:05"), ":00"), nil
	}
	return "", fmt.Errorf("holds %q, which is no date", raw)
}
