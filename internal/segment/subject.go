package segment

import (
	"fmt"
	"strconv"
	"strings"

	"mailer/internal/address"
	"mailer/internal/contact"

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
)

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
