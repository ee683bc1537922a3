package contact

import (
	"strings"
	"time"
)

// Dates come as ISO 8601 writes them, year first with slashes or dots, and as Japan writes them, with the names of eras.
// Orders that can be read in two ways are not guessed: 01/02/2026 is two days.
//
// A date compares by what it shows, as text: "2026-01-05" before "2026-01-05T09:30:00". A zone (RFC 3339) is accepted and
// not applied: a list is compared with the wall clock of its workspace, a spreadsheet shows the same digits, and whoever
// exports in one zone compares right. Fractions of a second are left out of the comparison.

// era is an era of Japan: its first day, and the last on which its years were counted (yyyymmdd).
type era struct{ year, first, last int } // year: the one before its first

var (
	reiwa  = era{2018, 20190501, 99991231}
	heisei = era{1988, 19890108, 20190430}
	showa  = era{1925, 19261225, 19890107}
	taisho = era{1911, 19120730, 19261225}
	meiji  = era{1867, 18730101, 19120730} // days before 1873 are of another calendar
)

// cutEra takes the name of an era off: 令和, 令, ㋿, R or r.
func cutEra(s string) (e era, rest string, ok bool) {
	switch s[0] {
	case 'R', 'r':
		return reiwa, s[1:], true
	case 'H', 'h':
		return heisei, s[1:], true
	case 'S', 's':
		return showa, s[1:], true
	case 'T', 't':
		return taisho, s[1:], true
	case 'M', 'm':
		return meiji, s[1:], true
	}
	second := ""
	switch s[:len("令")] {
	case "令":
		e, second = reiwa, "和"
	case "平":
		e, second = heisei, "成"
	case "昭":
		e, second = showa, "和"
	case "大":
		e, second = taisho, "正"
	case "明":
		e, second = meiji, "治"
	case "㋿":
		e = reiwa
	case "㍻":
		e = heisei
	case "㍼":
		e = showa
	case "㍽":
		e = taisho
	case "㍾":
		e = meiji
	default:
		return era{}, "", false
	}
	return e, strings.TrimPrefix(s[len("令"):], second), true
}

// moment is what a date shows.
type moment struct {
	year, month, day, hour, minute, second int
	timed                                  bool
}

const (
	minDate = len("R6/5/1")
	maxDate = len("令和元年12月31日 10:00:00.123456789+09:00") // no cell with a date is longer
)

// isDate reports whether a cell is a date.
func isDate(s string) bool {
	if len(s) < minDate || len(s) > maxDate {
		return false
	}
	_, ok := readDate(s)
	return ok
}

// parseDate reads a date, with a time of day or without, and returns the form that compares: the cell itself where it is
// that already.
func parseDate(s string) (string, bool) {
	if len(s) < minDate || len(s) > maxDate {
		return "", false
	}
	t, ok := readDate(s)
	if !ok {
		return "", false
	}
	b := t.append(make([]byte, 0, len("2026-01-05T10:00:00")))
	if string(b) == s {
		return s, true
	}
	return string(b), true
}

func (t moment) append(b []byte) []byte {
	two := func(before byte, n int) { b = append(b, before, byte('0'+n/10), byte('0'+n%10)) }
	b = append(b, byte('0'+t.year/1000), byte('0'+t.year/100%10), byte('0'+t.year/10%10), byte('0'+t.year%10))
	two('-', t.month)
	two('-', t.day)
	if t.timed {
		two('T', t.hour)
		two(':', t.minute)
		two(':', t.second)
	}
	return b
}

// readDate reads a cell of minDate bytes at least.
func readDate(s string) (t moment, ok bool) {
	rest := s
	if c := s[0]; c < '0' || c > '9' {
		if t, rest, ok = readEra(s); !ok {
			return moment{}, false
		}
	} else {
		if t.year, rest, ok = number(s, 4, 4); !ok || rest == "" {
			return moment{}, false
		}
		if rest[0] == '-' { // ISO 8601: two digits each
			if len(rest) < len("-01-05") || rest[3] != '-' {
				return moment{}, false
			}
			if t.month, rest, ok = number(rest[1:], 2, 2); ok {
				t.day, rest, ok = number(rest[1:], 2, 2)
			}
		} else {
			t.month, t.day, rest, ok = monthDay(rest)
		}
		if !ok || !isDay(t.year, t.month, t.day) {
			return moment{}, false
		}
	}
	if rest == "" {
		return t, true
	}
	t.timed = true
	t.hour, t.minute, t.second, ok = clock(rest)
	return t, ok
}

// readEra reads 令和6年5月1日, R6/5/1, S60.1.2. No hyphens: R6-5-1 is the number of a part.
func readEra(s string) (t moment, rest string, ok bool) {
	e, rest, ok := cutEra(s)
	if !ok {
		return moment{}, "", false
	}
	if strings.HasPrefix(rest, "元年") {
		t.year, rest = 1, rest[len("元"):]
	} else if t.year, rest, ok = number(rest, 1, 2); !ok || t.year == 0 {
		return moment{}, "", false
	}
	t.year += e.year
	t.month, t.day, rest, ok = monthDay(rest)
	day := t.year*10000 + t.month*100 + t.day
	return t, rest, ok && isDay(t.year, t.month, t.day) && e.first <= day && day <= e.last
}

// monthDay reads /5/1, .5.1 and 年5月1日 behind a year.
func monthDay(s string) (m, d int, rest string, ok bool) {
	afterYear, afterMonth, afterDay := "/", "/", ""
	switch {
	case strings.HasPrefix(s, "年"):
		afterYear, afterMonth, afterDay = "年", "月", "日"
	case strings.HasPrefix(s, "."):
		afterYear, afterMonth = ".", "."
	}
	if rest, ok = strings.CutPrefix(s, afterYear); !ok {
		return 0, 0, "", false
	}
	if m, rest, ok = number(rest, 1, 2); !ok {
		return 0, 0, "", false
	}
	if rest, ok = strings.CutPrefix(rest, afterMonth); !ok {
		return 0, 0, "", false
	}
	if d, rest, ok = number(rest, 1, 2); !ok {
		return 0, 0, "", false
	}
	rest, ok = strings.CutPrefix(rest, afterDay)
	return m, d, rest, ok
}

// clock reads " 9:30", "T09:30:00" and "T09:30:00.5+09:00".
func clock(s string) (hour, minute, second int, ok bool) {
	if s[0] != ' ' && s[0] != 'T' {
		return 0, 0, 0, false
	}
	hour, s, ok = number(s[1:], 1, 2)
	if !ok || hour > 23 || len(s) < 3 || s[0] != ':' {
		return 0, 0, 0, false
	}
	minute, s, ok = number(s[1:], 2, 2)
	if !ok || minute > 59 {
		return 0, 0, 0, false
	}
	if s == "" {
		return hour, minute, 0, true
	}
	if s[0] == ':' {
		if second, s, ok = number(s[1:], 2, 2); !ok || second > 59 {
			return 0, 0, 0, false
		}
		if len(s) > 1 && s[0] == '.' {
			if _, s, ok = number(s[1:], 1, 9); !ok {
				return 0, 0, 0, false
			}
		}
	}
	return hour, minute, second, isZone(s)
}

// isZone accepts nothing, Z, +09:00, +0900 and +09, with a space before or without.
func isZone(s string) bool {
	if s == "" {
		return true
	}
	if s = strings.TrimPrefix(s, " "); s == "Z" || s == "UTC" {
		return true
	}
	if s == "" || s[0] != '+' && s[0] != '-' {
		return false
	}
	hour, s, ok := number(s[1:], 2, 2)
	if !ok || hour > 14 {
		return false
	}
	if s == "" {
		return true
	}
	minute, s, ok := number(strings.TrimPrefix(s, ":"), 2, 2)
	return ok && minute < 60 && s == ""
}

// number reads least to most digits at the start of s.
func number(s string, least, most int) (n int, rest string, ok bool) {
	i := 0
	for i < len(s) && i < most && '0' <= s[i] && s[i] <= '9' {
		n = 10*n + int(s[i]-'0')
		i++
	}
	return n, s[i:], i >= least
}

func isDay(y, m, d int) bool {
	if y < 1 || m < 1 || m > 12 || d < 1 || d > 31 {
		return false
	}
	return d <= 28 || d <= time.Date(y, time.Month(m)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
