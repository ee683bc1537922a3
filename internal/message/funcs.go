package message

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"strings"
	"text/template"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"

	cells "mailer/internal/contact"
)

// scope is what a template sees of one recipient: the dot. Names are looked up in it by the functions below only.
type scope struct {
	values map[string]string // the contact's fields
	own    map[string]any    // email, unsubscribe_url, campaign, sender, now
}

// Reserved are the names that mailer itself gives to every template; a column of that name is reached with field.
var Reserved = []string{"email", "unsubscribe_url", "campaign", "sender", "now"}

// senderInfo is {{.sender}}: it prints as the From line, and has .name, .address, .organization and .postal_address.
type senderInfo map[string]string

func (s senderInfo) String() string { return s["from"] }

// fieldError is a field that a contact does not have, at one place of a template.
type fieldError struct {
	ref  Ref
	name string
}

func (e *fieldError) Error() string { return fmt.Sprintf("the contact has no %q", e.name) }

// newProgram makes the functions of one document.
func newProgram(lang, class string, loc *time.Location) *program {
	dates := calendar{strings.ToLower(lang), loc}
	numbers := numerals{language.Make(lang)}
	constants := map[string]string{"lang": lang, "language": strings.ToLower(primary(lang)), "class": class}
	p := &program{constants: constants, public: template.FuncMap{
		"default": fallback,
		"upper":   strings.ToUpper,
		"lower":   strings.ToLower,
		"title":   title,
		"trim":    strings.TrimSpace,
		"replace": replace,
		"print":   func(v ...any) (string, error) { return capped(fmt.Sprint(v...)) },
		"println": func(v ...any) (string, error) { return capped(fmt.Sprintln(v...)) },
		"printf":  printf,

		"date":     dates.date,
		"dateIn":   dates.dateIn,
		"weekday":  dates.weekday,
		"wareki":   dates.wareki,
		"number":   numbers.number,
		"currency": numbers.currency,
		"plural":   numbers.plural,

		"sama":  func(names ...any) string { return honorific("様", "お客様", names) },
		"onchu": func(names ...any) string { return honorific("御中", "ご担当者様", names) },
		"sei":   func(name string) string { family, _ := splitName(name); return family },
		"mei":   func(name string) string { _, given := splitName(name); return given },

		"split": split,
		"join":  joinItems,

		"mailto":   mailtoAddress,
		"lang":     func() string { return constants["lang"] },
		"language": func() string { return constants["language"] },
		"class":    func() string { return constants["class"] },
		"include":  func(string) (string, error) { return "", nil }, // replaced by a call of the partial
		// These two are replaced in the tree by functions that see the contact; here for the parser.
		"field": func(string) string { return "" },
		"has":   func(string) bool { return false },
		// And these two by ones that see the time of the message.
		"relative": func(any) (string, error) { return "", nil },
		"days":     func(any) (int, error) { return 0, nil },
	}}
	p.all = template.FuncMap{
		"_get": p.get, "_opt": p.opt, "_field": p.field, "_fieldopt": p.fieldOpt, "_has": p.has, "_items": items,
		"_eq": equal, "_ne": notEqual,
		"_lt": compared(func(n int) bool { return n < 0 }), "_le": compared(func(n int) bool { return n <= 0 }),
		"_gt": compared(func(n int) bool { return n > 0 }), "_ge": compared(func(n int) bool { return n >= 0 }),
		"_relative": func(of, v any) (string, error) {
			now, err := moment(of)
			if err != nil {
				return "", err
			}
			return dates.relative(now, v)
		},
		"_days": func(of, v any) (int, error) {
			now, err := moment(of)
			if err != nil {
				return 0, err
			}
			return dates.daysUntil("days", now, v)
		},
		"_head": urlHead, "_path": urlPath, "_arg": urlArg,
	}
	maps.Copy(p.all, p.public)
	return p
}

// get is {{.name}}.
func (p *program) get(of any, ref int, name string) (any, error) {
	v, ok, err := lookup(of, name)
	if err == nil && !ok {
		err = &fieldError{p.refs[ref], name}
	}
	return v, err
}

// opt is {{.name}} where it may be missing.
func (p *program) opt(of any, _ int, name string) (any, error) {
	v, ok, err := lookup(of, name)
	if err == nil && !ok {
		v = ""
	}
	return v, err
}

func lookup(of any, name string) (v any, ok bool, err error) {
	switch of := of.(type) {
	case *scope:
		if v, ok = of.own[name]; ok {
			return v, true, nil
		}
		return column(of, name)
	case senderInfo:
		v, ok = of[name]
		if !ok {
			err = fmt.Errorf("the sender has no %q, only name, address, organization, postal_address and reply_to", name)
		}
		return v, ok, err
	}
	return nil, false, fmt.Errorf(".%s is looked up in a value, not in the contact; inside range and with write $.%s", name, name)
}

// unmarked is a text without the control characters that frame slots (slots.go) and paragraphs (wrap.go). No value, no
// text in an action and no function gives one to a template.
func unmarked(s string) string {
	i := 0
	for i < len(s) && (s[i] >= ' ' || strings.IndexByte(marks, s[i]) < 0) { // all of marks are below the space
		i++
	}
	if i == len(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(marks, r) {
			return -1
		}
		return r
	}, s)
}

// column is a field of the contact.
func column(s *scope, name string) (v string, ok bool, err error) {
	v, ok = s.values[name]
	v = unmarked(v)
	return v, ok && v != "", nil
}

func contact(of any) (*scope, error) {
	if s, ok := of.(*scope); ok {
		return s, nil
	}
	return nil, errors.New(`the contact is out of reach here; call the template with {{template "name" .}}`)
}

// field is {{field "Company Name"}}.
func (p *program) field(of any, ref int, name string) (string, error) {
	s, err := contact(of)
	if err != nil {
		return "", err
	}
	v, ok, err := column(s, name)
	if err == nil && !ok {
		err = &fieldError{p.refs[ref], name}
	}
	return v, err
}

func (p *program) fieldOpt(of any, _ int, name string) (string, error) {
	s, err := contact(of)
	if err != nil {
		return "", err
	}
	v, _, err := column(s, name)
	return v, err
}

// has is {{if has "name"}}.
func (p *program) has(of any, _ int, name string) (bool, error) {
	s, err := contact(of)
	if err != nil {
		return false, err
	}
	_, ok, err := column(s, name)
	return ok, err
}

// moment is when the message is made. of is that itself in a slot.
func moment(of any) (time.Time, error) {
	if t, ok := of.(time.Time); ok {
		return t, nil
	}
	s, err := contact(of)
	if err != nil {
		return time.Time{}, err
	}
	now, _ := s.own["now"].(time.Time) // always set but while a template is compiled
	return now, nil
}

// maxItems bounds a list, and with the bound on nested ranges (rewrite.go) the time that a template can take.
const maxItems = 1000

// items lets range run over lists only: a number would make it count. A field is a list if it has what stands between
// the items of a list: a comma, a semicolon, a bar, an ideographic comma or a line end.
func items(v any) (any, error) {
	switch v := v.(type) {
	case []string:
		return v, nil
	case string:
		return bound(cells.SplitList(v))
	}
	return nil, fmt.Errorf("range wants a list, not %T", v)
}

func bound(list []string) ([]string, error) {
	if len(list) > maxItems {
		return nil, fmt.Errorf("a list has %d items, more than the %d that a template takes", len(list), maxItems)
	}
	return list, nil
}

// fallback is {{default "x" .name}}.
func fallback(other, v any) any {
	if v == nil || v == "" {
		return other
	}
	return v
}

// split makes a list of a text: its parts without the white space around them, and without empty ones.
func split(sep, s string) ([]string, error) {
	var parts []string
	for _, part := range strings.Split(s, sep) {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return bound(parts)
}

// joinItems is {{join ", " .tags}}, of a list or of a field that holds one.
func joinItems(sep string, v any) (string, error) {
	list, err := items(v)
	if err != nil {
		return "", err
	}
	parts, _ := list.([]string)
	return capped(strings.Join(parts, sep))
}

func replace(old, by, s string) (string, error) {
	if len(by) > 0 && strings.Count(s, old)*len(by) > maxText {
		return "", errTooLong
	}
	return capped(strings.ReplaceAll(s, old, by))
}

// maxText bounds what a function makes: {{$x = print $x $x}} in a range doubles it each time.
const maxText = 1 << 20

var errTooLong = fmt.Errorf("a text becomes longer than %d MB", maxText>>20)

func capped(s string) (string, error) {
	if len(s) > maxText {
		return "", errTooLong
	}
	return s, nil
}

// printf refuses a format whose result could not be held: each verb prints an argument, which is at most maxText long, or
// a number with a width.
func printf(format string, args ...any) (string, error) {
	longest := 0
	for _, a := range args {
		if s, ok := a.(string); ok {
			longest = max(longest, len(s))
		}
	}
	if wide.MatchString(format) {
		return "", fmt.Errorf("printf: %q has a width of more than 999", format)
	}
	if strings.Count(format, "%")*(longest+1000) > 16*maxText {
		return "", errTooLong
	}
	return capped(unmarked(fmt.Sprintf(format, args...))) // %c makes any character
}

var wide = regexp.MustCompile(`%[^%A-Za-z]*(?:[0-9]{4}|\*)`)

func title(s string) string { return cases.Title(language.Und).String(s) }

// honorific puts 様 or 御中 behind a name, with what stands for a name that is missing. A name that already carries an
// honorific keeps its own.
func honorific(suffix, missing string, names []any) string {
	var parts []string
	for _, n := range names {
		if s := strings.TrimSpace(fmt.Sprint(n)); n != nil && s != "" {
			parts = append(parts, s)
		}
	}
	name := strings.Join(parts, " ")
	if name == "" {
		return missing
	}
	for _, s := range []string{"様", "さま", "さん", "ちゃん", "殿", "御中", "各位", "先生"} {
		if strings.HasSuffix(name, s) {
			return name
		}
	}
	return name + " " + suffix
}

// splitName takes 姓 and 名 of a whole name apart, at its white space. A name without any is all family name; one in
// Latin letters has the family name last, unless there is a comma behind it.
func splitName(name string) (family, given string) {
	parts := strings.Fields(name) // an ideographic space is white space, too
	switch {
	case len(parts) == 0:
		return "", ""
	case strings.HasSuffix(parts[0], ",") || len(parts) == 1 || isCJK([]rune(name)[0]):
		return strings.TrimSuffix(parts[0], ","), strings.Join(parts[1:], " ")
	}
	last := len(parts) - 1
	return parts[last], strings.Join(parts[:last], " ")
}

// mailtoAddress is the address of a mailto: URI of which nothing else matters, else "". "unsubscribe" as the subject does
// not: the address alone says it.
func mailtoAddress(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || !strings.EqualFold(u.Scheme, "mailto") || u.RawQuery != "" && u.RawQuery != "subject=unsubscribe" {
		return ""
	}
	to, err := url.PathUnescape(u.Opaque)
	if err != nil {
		return ""
	}
	return unmarked(to)
}

// The three below escape values in the URLs of the text part as html/template does in the HTML part.

// urlHead is a value that begins a URL: only schemes that cannot run anything.
func urlHead(v any) string { return headOfURL(fmt.Sprint(v)) }

// urlPath keeps what has a meaning in a URL and escapes the rest.
func urlPath(v any) string { return pathOfURL(fmt.Sprint(v)) }

// urlArg escapes everything but RFC 3986's unreserved characters.
func urlArg(v any) string { return argOfURL(fmt.Sprint(v)) }

func headOfURL(s string) string {
	if scheme, _, ok := strings.Cut(s, ":"); ok && !strings.Contains(scheme, "/") {
		switch strings.ToLower(scheme) {
		case "http", "https", "mailto":
		default:
			return "#ZgotmplZ"
		}
	}
	return pathOfURL(s)
}

func pathOfURL(s string) string { return escapeURL(s, "!#$&*+,/:;=?@[]%") }

func argOfURL(s string) string { return escapeURL(s, "") }

func escapeURL(s, keep string) string {
	kept := func(c byte) bool {
		return isAlphanumeric(c) || strings.IndexByte("-._~", c) >= 0 || strings.IndexByte(keep, c) >= 0
	}
	i := 0
	for i < len(s) && kept(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	b.WriteString(s[:i])
	for ; i < len(s); i++ {
		if c := s[i]; kept(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', lowerHex[c>>4], lowerHex[c&15]})
		}
	}
	return b.String()
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
