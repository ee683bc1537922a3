package segment

import (
	"fmt"
	"strconv"
	"strings"

	"mailer/internal/address"
	"mailer/internal/contact"
	"mailer/internal/prefecture"
	"mailer/internal/spelling"

	"github.com/expr-lang/expr/parser/utils"
)

// subject is what a comparison is about: a field, the address or its domain.
type subject struct {
	name  string // as it is written in an expression
	plain string // of a field: its name
	typ   contact.Type
	expr  string // its SQL
	path  string // of a field
	fold  fold
}

// fold says in which form the store holds a text; what it is compared with is brought to the same.
type fold int

const (
	foldNone fold = iota
	foldAddress
	foldDomain
	foldPrefecture
	foldRegion
)

// named tells subjects that take one of a few names: they are the same or not, and have no order and no parts.
func (s subject) named() bool { return s.fold == foldPrefecture || s.fold == foldRegion }

// spelled is a field's name as an expression writes it.
func spelled(name string) string {
	switch name {
	case "email", "domain", "lists", "true", "false", "nil", "not", "in", "and", "or", "let", "matches", "contains", "startsWith", "endsWith":
	default:
		if utils.IsValidIdentifier(strings.Map(letter, name)) {
			return name
		}
	}
	return "field(" + strconv.Quote(name) + ")"
}

// letter puts a letter for every character that readable takes as one.
func letter(r rune) rune {
	if joins(r) {
		return '_'
	}
	return r
}

// foldWhole is the stored form of a whole value.
func (s subject) foldWhole(text string, exact bool) (string, error) {
	switch {
	case s.fold == foldNone:
		return text, nil
	case s.fold == foldPrefecture:
		p, ok := prefecture.Named(text)
		if !ok {
			return "", unknownPrefecture(text)
		}
		return p.Name, nil
	case s.fold == foldRegion:
		r, ok := prefecture.RegionOf(text)
		if !ok {
			return "", unknownRegion(text)
		}
		return r.Name, nil
	case !exact: // a place in the alphabet need not be an address
		return address.Key(text), nil
	case s.fold == foldDomain:
		a, err := address.Parse("x@" + strings.TrimPrefix(text, "@"))
		if err != nil {
			return "", fmt.Errorf("%q is no domain: %w", text, err)
		}
		return a.Domain(), nil
	}
	a, err := address.Parse(text)
	if err != nil {
		return "", fmt.Errorf("%q is no address: %w; to look for a part of it write email contains %[1]q", text, err)
	}
	return a.Key, nil
}

// unknownError is a name that is none of a known few.
type unknownError struct {
	msg     string
	nearest string
}

func (e *unknownError) Error() string { return e.msg }

func unknownPrefecture(name string) error {
	var known []string
	for _, p := range prefecture.All {
		known = append(known, p.Name, p.Short, p.Romaji)
	}
	return &unknownError{fmt.Sprintf("there is no prefecture %q", name), quoted(spelling.Nearest(name, known))}
}

// otherRegions are drawn otherwise than the eight, so they are not the same; where they lie.
var otherRegions = map[string]string{
	"関西": "近畿", "Kansai": "近畿", "東海": "中部", "Tokai": "中部", "北陸": "中部", "Hokuriku": "中部", "甲信越": "中部",
	"九州": "九州・沖縄", "Kyushu": "九州・沖縄", "沖縄": "九州・沖縄", "Okinawa": "九州・沖縄",
}

func unknownRegion(name string) error {
	var known, names []string
	for _, r := range prefecture.Regions {
		known, names = append(known, r.Name, r.English), append(names, r.Name)
	}
	near, ok := otherRegions[name]
	if !ok {
		near = spelling.Nearest(name, known)
	}
	return &unknownError{fmt.Sprintf("there is no region %q%s", name, among(names, "")), quoted(near)}
}

// foldPart is the stored form of a part of a value.
func (s subject) foldPart(text string) string {
	if s.fold == foldNone {
		return text
	}
	return address.Key(text)
}

// shellWord is a name as a shell takes it.
func shellWord(s string) string {
	if utils.IsValidIdentifier(s) && !strings.Contains(s, "$") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
