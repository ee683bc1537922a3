package message

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// locale is how a language writes dates.
type locale struct {
	months, shortMonths []string
	days, shortDays     []string  // from Sunday
	short, long, full   string    // Go layouts; the names in them are the language's
	today               [3]string // yesterday, today, tomorrow
	ago, in             string
	units               [4][2]string // day, week, month, year: one and several
}

func words(s string) []string { return strings.Fields(s) }

// numbered are the names of months that are numbers.
func numbered(suffix string) []string {
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("%d%s", i+1, suffix))
	}
	return names
}

// locales by primary language. The months of Polish and Russian are in the genitive, as a date has them.
var locales = sync.OnceValue(func() map[string]*locale {
	return map[string]*locale{
		"en": {words("January February March April May June July August September October November December"), words("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"),
			words("Sunday Monday Tuesday Wednesday Thursday Friday Saturday"), words("Sun Mon Tue Wed Thu Fri Sat"),
			"1/2/2006", "January 2, 2006", "Monday, January 2, 2006", [3]string{"yesterday", "today", "tomorrow"}, "%s ago", "in %s",
			[4][2]string{{" day", " days"}, {" week", " weeks"}, {" month", " months"}, {" year", " years"}}},
		"ja": {numbered("月"), numbered("月"), words("日曜日 月曜日 火曜日 水曜日 木曜日 金曜日 土曜日"), words("日 月 火 水 木 金 土"),
			"2006/1/2", "2006年1月2日", "2006年1月2日(Mon)", [3]string{"昨日", "今日", "明日"}, "%s前", "%s後",
			[4][2]string{{"日", "日"}, {"週間", "週間"}, {"か月", "か月"}, {"年", "年"}}},
		"zh": {numbered("月"), numbered("月"), words("星期日 星期一 星期二 星期三 星期四 星期五 星期六"), words("周日 周一 周二 周三 周四 周五 周六"),
			"2006/1/2", "2006年1月2日", "2006年1月2日 Monday", [3]string{"昨天", "今天", "明天"}, "%s前", "%s后",
			[4][2]string{{"天", "天"}, {"周", "周"}, {"个月", "个月"}, {"年", "年"}}},
		"ko": {numbered("월"), numbered("월"), words("일요일 월요일 화요일 수요일 목요일 금요일 토요일"), words("일 월 화 수 목 금 토"),
			"2006. 1. 2.", "2006년 1월 2일", "2006년 1월 2일 Monday", [3]string{"어제", "오늘", "내일"}, "%s 전", "%s 후",
			[4][2]string{{"일", "일"}, {"주", "주"}, {"개월", "개월"}, {"년", "년"}}},
		"de": {words("Januar Februar März April Mai Juni Juli August September Oktober November Dezember"), words("Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez."),
			words("Sonntag Montag Dienstag Mittwoch Donnerstag Freitag Samstag"), words("So Mo Di Mi Do Fr Sa"),
			"02.01.2006", "2. January 2006", "Monday, 2. January 2006", [3]string{"gestern", "heute", "morgen"}, "vor %s", "in %s",
			[4][2]string{{" Tag", " Tagen"}, {" Woche", " Wochen"}, {" Monat", " Monaten"}, {" Jahr", " Jahren"}}},
		"fr": {words("janvier février mars avril mai juin juillet août septembre octobre novembre décembre"), words("janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc."),
			words("dimanche lundi mardi mercredi jeudi vendredi samedi"), words("dim. lun. mar. mer. jeu. ven. sam."),
			"02/01/2006", "2 January 2006", "Monday 2 January 2006", [3]string{"hier", "aujourd’hui", "demain"}, "il y a %s", "dans %s",
			[4][2]string{{" jour", " jours"}, {" semaine", " semaines"}, {" mois", " mois"}, {" an", " ans"}}},
		"es": {words("enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"), words("ene feb mar abr may jun jul ago sept oct nov dic"),
			words("domingo lunes martes miércoles jueves viernes sábado"), words("dom lun mar mié jue vie sáb"),
			"2/1/2006", "2 de January de 2006", "Monday, 2 de January de 2006", [3]string{"ayer", "hoy", "mañana"}, "hace %s", "dentro de %s",
			[4][2]string{{" día", " días"}, {" semana", " semanas"}, {" mes", " meses"}, {" año", " años"}}},
		"it": {words("gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre"), words("gen feb mar apr mag giu lug ago set ott nov dic"),
			words("domenica lunedì martedì mercoledì giovedì venerdì sabato"), words("dom lun mar mer gio ven sab"),
			"02/01/2006", "2 January 2006", "Monday 2 January 2006", [3]string{"ieri", "oggi", "domani"}, "%s fa", "tra %s",
			[4][2]string{{" giorno", " giorni"}, {" settimana", " settimane"}, {" mese", " mesi"}, {" anno", " anni"}}},
		"pt": {words("janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro"), words("jan. fev. mar. abr. mai. jun. jul. ago. set. out. nov. dez."),
			words("domingo segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado"), words("dom. seg. ter. qua. qui. sex. sáb."),
			"02/01/2006", "2 de January de 2006", "Monday, 2 de January de 2006", [3]string{"ontem", "hoje", "amanhã"}, "há %s", "daqui a %s",
			[4][2]string{{" dia", " dias"}, {" semana", " semanas"}, {" mês", " meses"}, {" ano", " anos"}}},
		"nl": {words("januari februari maart april mei juni juli augustus september oktober november december"), words("jan. feb. mrt. apr. mei jun. jul. aug. sep. okt. nov. dec."),
			words("zondag maandag dinsdag woensdag donderdag vrijdag zaterdag"), words("zo ma di wo do vr za"),
			"02-01-2006", "2 January 2006", "Monday 2 January 2006", [3]string{"gisteren", "vandaag", "morgen"}, "%s geleden", "over %s",
			[4][2]string{{" dag", " dagen"}, {" week", " weken"}, {" maand", " maanden"}, {" jaar", " jaar"}}},
		"sv": {words("januari februari mars april maj juni juli augusti september oktober november december"), words("jan. feb. mars apr. maj juni juli aug. sep. okt. nov. dec."),
			words("söndag måndag tisdag onsdag torsdag fredag lördag"), words("sön mån tis ons tors fre lör"),
			"2006-01-02", "2 January 2006", "Monday 2 January 2006", [3]string{"i går", "i dag", "i morgon"}, "för %s sedan", "om %s",
			[4][2]string{{" dag", " dagar"}, {" vecka", " veckor"}, {" månad", " månader"}, {" år", " år"}}},
		"pl": {words("stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia"), words("sty lut mar kwi maj cze lip sie wrz paź lis gru"),
			words("niedziela poniedziałek wtorek środa czwartek piątek sobota"), words("niedz. pon. wt. śr. czw. pt. sob."),
			"2.01.2006", "2 January 2006", "Monday, 2 January 2006", [3]string{}, "", "", [4][2]string{}},
		"ru": {words("января февраля марта апреля мая июня июля августа сентября октября ноября декабря"), words("янв. февр. мар. апр. мая июн. июл. авг. сент. окт. нояб. дек."),
			words("воскресенье понедельник вторник среда четверг пятница суббота"), words("вс пн вт ср чт пт сб"),
			"02.01.2006", "2 January 2006 г.", "Monday, 2 January 2006 г.", [3]string{}, "", "", [4][2]string{}},
	}
})

// dayFirst are the Englishes that write the day before the month.
var dayFirst = []string{"en-gb", "en-ie", "en-au", "en-nz", "en-in", "en-za"}

// calendar prints dates in a document's language and the workspace's time zone.
type calendar struct {
	lang string // lower case
	loc  *time.Location
}

func (c calendar) locale() *locale { return locales()[primary(c.lang)] }

// dateForms are the forms that a date may have in a field; the first ones have no time of day.
var dateForms = []string{"2006-01-02", "2006/1/2", "2006.1.2", "2006年1月2日", "20060102",
	"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006/1/2 15:04:05", "2006/1/2 15:04", time.RFC3339}

const dayForms = 5

// parse reads a time or a field that holds one. day: it has no time of day, so that no time zone moves it.
func (c calendar) parse(what string, v any) (t time.Time, day bool, err error) {
	switch v := v.(type) {
	case time.Time:
		return v.In(c.loc), false, nil
	case string:
		for i, form := range dateForms {
			if t, err := time.ParseInLocation(form, strings.TrimSpace(v), c.loc); err == nil {
				return t.In(c.loc), i < dayForms, nil
			}
		}
		return t, false, fmt.Errorf("%s: %q is no date", what, v)
	}
	return t, false, fmt.Errorf("%s: %T is no date", what, v)
}

func blankValue(v any) bool {
	s, ok := v.(string)
	return ok && strings.TrimSpace(s) == ""
}

// date prints a time, or a field that holds one: {{date "2 January 2006" .birthday}}, {{date "long" .now}}. The layout is
// Go's, or short, long or full; the names of months and days are those of the document's language.
func (c calendar) date(layout string, v any) (string, error) {
	if blankValue(v) {
		return "", nil
	}
	t, _, err := c.parse("date", v)
	if err != nil {
		return "", err
	}
	return c.written("date", layout, t)
}

// dateIn is date in another time zone: {{dateIn "Europe/Paris" "15:04" .starts}}.
func (c calendar) dateIn(zone, layout string, v any) (string, error) {
	if blankValue(v) {
		return "", nil
	}
	loc, err := zones.load(zone)
	if err != nil {
		return "", fmt.Errorf("dateIn: %q is no time zone; one is Asia/Tokyo", zone)
	}
	t, day, err := c.parse("dateIn", v)
	if err != nil {
		return "", err
	}
	if !day {
		t = t.In(loc)
	}
	return c.written("dateIn", layout, t)
}

// written refuses a layout without any part of a date, such as YYYY-MM-DD: it would be printed as it stands.
func (c calendar) written(what, layout string, t time.Time) (string, error) {
	s := c.format(layout, t)
	if s == layout && c.format(layout, t.AddDate(11, 1, 1).Add(11*time.Hour+time.Minute+time.Second)) == layout {
		return "", fmt.Errorf("%s: %q is no layout of a date; use short, long or full, or write it as 2006-01-02 15:04", what, layout)
	}
	return s, nil
}

// zoneCache keeps the zones that were found: loading one costs as much as rendering a message.
type zoneCache struct{ found sync.Map }

var zones zoneCache

func (z *zoneCache) load(name string) (*time.Location, error) {
	if loc, ok := z.found.Load(name); ok {
		return loc.(*time.Location), nil
	}
	if name == "" || name == "Local" {
		return nil, errors.New("no time zone")
	}
	loc, err := time.LoadLocation(name)
	if err == nil {
		z.found.Store(name, loc)
	}
	return loc, err
}

func (c calendar) format(layout string, t time.Time) string {
	l := c.locale()
	switch layout {
	case "short", "long", "full":
		layout = c.style(layout)
	}
	if l == nil {
		return t.Format(layout)
	}
	var b strings.Builder
	for layout != "" {
		name, i := nextName(layout)
		if i < 0 {
			b.WriteString(t.Format(layout))
			break
		}
		b.WriteString(t.Format(layout[:i]))
		switch name {
		case "January":
			b.WriteString(l.months[t.Month()-1])
		case "Jan":
			b.WriteString(l.shortMonths[t.Month()-1])
		case "Monday":
			b.WriteString(l.days[t.Weekday()])
		case "Mon":
			b.WriteString(l.shortDays[t.Weekday()])
		}
		layout = layout[i+len(name):]
	}
	return b.String()
}

// style is the layout of short, long or full.
func (c calendar) style(name string) string {
	l := c.locale()
	switch {
	case l == nil:
		return map[string]string{"short": "2006-01-02", "long": "2006-01-02", "full": "Monday, 2006-01-02"}[name]
	case slices.Contains(dayFirst, strings.ReplaceAll(c.lang, "_", "-")):
		return map[string]string{"short": "02/01/2006", "long": "2 January 2006", "full": "Monday, 2 January 2006"}[name]
	}
	return map[string]string{"short": l.short, "long": l.long, "full": l.full}[name]
}

// nextName finds the first name in a layout, as package time does: Jan and Mon are none with a small letter behind.
func nextName(layout string) (name string, at int) {
	for i := range layout {
		for _, name := range []string{"January", "Jan", "Monday", "Mon"} {
			rest, ok := strings.CutPrefix(layout[i:], name)
			if ok && (len(name) > 3 || rest == "" || !unicode.IsLower(rune(rest[0]))) {
				return name, i
			}
		}
	}
	return "", -1
}

// weekday is 曜日: {{weekday .date}} prints Thursday or 木曜日, {{weekday "short" .date}} Thu or 木.
func (c calendar) weekday(args ...any) (string, error) {
	layout := "Monday"
	if len(args) == 2 && args[0] == "short" {
		layout, args = "Mon", args[1:]
	}
	if len(args) != 1 {
		return "", errors.New(`weekday wants a date: {{weekday .date}} or {{weekday "short" .date}}`)
	}
	return c.date(layout, args[0])
}

// eras of Japan, the latest first. Before 1873 its calendar was another one.
var eras = []struct {
	name  string
	begin time.Time
}{
	{"令和", day(2019, 5, 1)}, {"平成", day(1989, 1, 8)}, {"昭和", day(1926, 12, 25)}, {"大正", day(1912, 7, 30)}, {"明治", day(1873, 1, 1)},
}

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

// wareki prints a date in Japan's eras: 令和6年5月1日. A layout before it has the era and its year for 2006:
// {{wareki "2006年" .birthday}}.
func (c calendar) wareki(args ...any) (string, error) {
	layout := "2006年1月2日"
	if len(args) == 2 {
		s, ok := args[0].(string)
		if !ok {
			return "", errors.New("wareki: the layout is a text")
		}
		layout, args = s, args[1:]
	}
	if len(args) != 1 {
		return "", errors.New(`wareki wants a date: {{wareki .birthday}} or {{wareki "2006年1月" .birthday}}`)
	}
	if blankValue(args[0]) {
		return "", nil
	}
	t, _, err := c.parse("wareki", args[0])
	if err != nil {
		return "", err
	}
	ja := calendar{"ja", c.loc}
	before, after, ok := strings.Cut(layout, "2006")
	year := t.Format("2006")
	for _, e := range eras {
		if date := day(t.Year(), t.Month(), t.Day()); !date.Before(e.begin) {
			n := t.Year() - e.begin.Year() + 1
			if e.name == "明治" {
				n = t.Year() - 1867
			}
			if year = fmt.Sprintf("%s%d", e.name, n); n == 1 {
				year = e.name + "元"
			}
			break
		}
	}
	if !ok {
		return ja.format(layout, t), nil
	}
	return ja.format(before, t) + year + ja.format(after, t), nil
}

// daysUntil counts midnights from now to a date; before now it is negative.
func (c calendar) daysUntil(what string, now time.Time, v any) (int, error) {
	t, _, err := c.parse(what, v)
	if err != nil {
		return 0, err
	}
	now = now.In(c.loc)
	d := day(t.Year(), t.Month(), t.Day()).Sub(day(now.Year(), now.Month(), now.Day()))
	return int(d / (24 * time.Hour)), nil
}

// relative says when a date is, seen from now: today, in 3 days, 2 weeks ago.
func (c calendar) relative(now time.Time, v any) (string, error) {
	if blankValue(v) {
		return "", nil
	}
	l := c.locale()
	if l == nil || l.in == "" {
		return "", fmt.Errorf("relative does not speak %q; print the date: {{date \"long\" ...}}", c.lang)
	}
	n, err := c.daysUntil("relative", now, v)
	if err != nil {
		return "", err
	}
	if -1 <= n && n <= 1 {
		return l.today[n+1], nil
	}
	form, unit := l.in, 0
	if n < 0 {
		form, n = l.ago, -n
	}
	switch {
	case n >= 730:
		n, unit = n/365, 3
	case n >= 60:
		n, unit = n*12/365, 2
	case n >= 14:
		n, unit = n/7, 1
	}
	word := l.units[unit][1]
	if n == 1 {
		word = l.units[unit][0]
	}
	return fmt.Sprintf(form, fmt.Sprint(n)+word), nil
}
