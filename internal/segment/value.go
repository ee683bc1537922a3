package segment

import (
	"errors"
	"fmt"
	"strconv"

	"mailer/internal/contact"
)

// value fits a literal to the type of the subject; exact when the whole value is compared for equality.
func (c *checker) value(s subject, t term, exact bool) (any, error) {
	if t.subject != nil {
		return nil, c.fail(t.node, "here comes a value, not a field")
	}
	if t.value == nil {
		return nil, c.fail(t.node, "nil is no value; write has(%s), %[1]s == nil or %[1]s != nil", s.name)
	}
	switch v := t.value.(type) {
	case string:
		switch s.typ {
		case contact.Text:
			folded, err := s.foldWhole(v, exact)
			var unknown *unknownError
			if errors.As(err, &unknown) {
				return nil, c.failNear(t.node, unknown.nearest, "%s", unknown.msg)
			}
			if err != nil {
				return nil, c.fail(t.node, "%s", err)
			}
			return folded, nil
		case contact.Date:
			d, err := parseSpan(v, c.location)
			if err != nil {
				return nil, c.fail(t.node, "%s is a date: %s", s.name, err)
			}
			return d, nil
		case contact.Boolean: // as the cell says it: weekly == "yes"
			if b, ok := contact.ParseBoolean(v); ok {
				return b, nil
			}
		}
	case int:
		if s.typ == contact.Number {
			return int64(v), nil
		}
	case float64:
		if s.typ == contact.Number {
			return v, nil
		}
	case bool:
		if s.typ == contact.Boolean {
			return v, nil
		}
	case span:
		if s.typ == contact.Date {
			return v, nil
		}
	}
	return nil, c.mismatch(s, t)
}

// mismatch says why a literal does not fit, and both ways out: write the value as the field's type, or change the type.
func (c *checker) mismatch(s subject, t term) error {
	wanted, hint := literalType(t.value), ""
	text, isText := t.value.(string)
	number, notNumber := strconv.ParseFloat(text, 64)
	switch {
	case s.typ == contact.Text && wanted != contact.Date:
		hint = fmt.Sprintf("; write %q", t.words())
	case s.typ == contact.Number && isText && notNumber == nil:
		hint = fmt.Sprintf("; write %v without quotes", number)
	case s.typ == contact.Boolean:
		hint = "; write true or false"
	}
	return c.fail(t.node, "%s is a %s and %s a %s%s%s", s.name, s.typ, t.words(), wanted, hint, c.declare(s, wanted))
}

func literalType(v any) contact.Type {
	switch v.(type) {
	case int, float64:
		return contact.Number
	case bool:
		return contact.Boolean
	case span:
		return contact.Date
	}
	return contact.Text
}

// declare tells how a field gets another type. The address has no other.
func (c *checker) declare(s subject, t contact.Type) string {
	if s.path == "" {
		return ""
	}
	return fmt.Sprintf(" (to change its type: mailer fields set %s --type %s)", shellWord(s.plain), t)
}
