package message

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"text/template"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
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
	p := &program{public: template.FuncMap{
		"default":  fallback,
		"upper":    strings.ToUpper,
		"lower":    strings.ToLower,
		"title":    title,
		"date":     func(layout string, v any) (string, error) { return date(layout, v, loc) },
		"sama":     func(names ...any) string { return honorific("様", "お客様", names) },
		"onchu":    func(names ...any) string { return honorific("御中", "ご担当者様", names) },
		"split":    split,
		"mailto":   mailtoAddress,
		"lang":     func() string { return lang },
		"language": func() string { return strings.ToLower(primary(lang)) },
		"class":    func() string { return class },
		"include":  func(string) (string, error) { return "", nil }, // replaced by a call of the partial
		// These two are replaced in the tree by functions that see the contact; here for the parser.
		"field": func(string) string { return "" },
		"has":   func(string) bool { return false },
	}}
	p.all = template.FuncMap{
		"_get": p.get, "_opt": p.opt, "_field": p.field, "_fieldopt": p.fieldOpt, "_has": p.has, "_items": items,
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

// column is a field of the contact. The three control characters frame paragraphs of the text part (wrap.go).
func column(s *scope, name string) (v string, ok bool, err error) {
	v, ok = s.values[name]
	if strings.ContainsAny(v, marks) {
		v = strings.Map(func(r rune) rune {
			if strings.ContainsRune(marks, r) {
				return -1
			}
			return r
		}, v)
	}
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

// items lets range run over lists only: a number would make it count.
func items(v any) (any, error) {
	switch v := v.(type) {
	case []string:
		return v, nil
	case string:
		if v == "" {
			return []string(nil), nil
		}
		return nil, errors.New(`range wants a list; make one of a text with split: {{range split "," .tags}}`)
	}
	return nil, fmt.Errorf("range wants a list, not %T", v)
}

// fallback is {{default "x" .name}}.
func fallback(other, v any) any {
	if v == nil || v == "" {
		return other
	}
	return v
}

// split makes a list of a text: its parts without the white space around them, and without empty ones.
func split(sep, s string) []string {
	var parts []string
	for _, part := range strings.Split(s, sep) {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

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
	for _, s := range []string{"様", "さま", "さん", "殿", "御中", "各位", "先生"} {
		if strings.HasSuffix(name, s) {
			return name
		}
	}
	return name + " " + suffix
}

// dateForms are the forms that a date may have in a field.
var dateForms = []string{"2006-01-02", "2006/1/2", "2006.1.2", "2006年1月2日", "20060102",
	"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006/1/2 15:04:05", "2006/1/2 15:04", time.RFC3339}

// date prints a time, or a field that holds one, in Go's layout: {{date "2006年1月2日" .birthday}}. The time zone is the
// workspace's; a field without a time of day stays the day that it is.
func date(layout string, v any, loc *time.Location) (string, error) {
	switch v := v.(type) {
	case time.Time:
		return v.In(loc).Format(layout), nil
	case string:
		v = strings.TrimSpace(v)
		if v == "" {
			return "", nil
		}
		for _, form := range dateForms {
			if t, err := time.ParseInLocation(form, v, loc); err == nil {
				return t.In(loc).Format(layout), nil
			}
		}
		return "", fmt.Errorf("date: %q is no date", v)
	}
	return "", fmt.Errorf("date: %T is no date", v)
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
	return to
}

// The three below escape values in the URLs of the text part as html/template does in the HTML part.

// urlHead is a value that begins a URL: only schemes that cannot run anything.
func urlHead(v any) string {
	s := fmt.Sprint(v)
	if scheme, _, ok := strings.Cut(s, ":"); ok && !strings.Contains(scheme, "/") {
		switch strings.ToLower(scheme) {
		case "http", "https", "mailto":
		default:
			return "#ZgotmplZ"
		}
	}
	return urlPath(v)
}

// urlPath keeps what has a meaning in a URL and escapes the rest.
func urlPath(v any) string { return escapeURL(fmt.Sprint(v), "!#$&*+,/:;=?@[]%") }

// urlArg escapes everything but RFC 3986's unreserved characters.
func urlArg(v any) string { return escapeURL(fmt.Sprint(v), "") }

func escapeURL(s, keep string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isAlphanumeric(c) || strings.IndexByte("-._~", c) >= 0 || strings.IndexByte(keep, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
