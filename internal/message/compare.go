package message

import (
	"cmp"
	"errors"
	"fmt"
)

// The comparisons of text/template refuse a field, which is a text, beside a number. Here {{if ge .points 100}} compares
// numbers; a field that is missing or no number is neither less nor greater nor equal, as in a segment.

// order compares two values; ok is false when they have no order.
func order(a, b any) (n int, ok bool, err error) {
	if isNumber(a) || isNumber(b) {
		x, _, okX := decimal(a)
		y, _, okY := decimal(b)
		return cmp.Compare(x, y), okX && okY, nil
	}
	x, isX := a.(string)
	y, isY := b.(string)
	if isX && isY {
		return cmp.Compare(x, y), true, nil
	}
	if p, q, ok := bools(a, b); ok {
		if p == q {
			return 0, true, nil
		}
		return 1, true, nil
	}
	return 0, false, fmt.Errorf("%T and %T cannot be compared", a, b)
}

func isNumber(v any) bool {
	switch v.(type) {
	case int, int64, float64:
		return true
	}
	return false
}

func bools(a, b any) (p, q, ok bool) {
	p, isP := a.(bool)
	q, isQ := b.(bool)
	return p, q, isP && isQ
}

func equal(a any, others ...any) (bool, error) {
	if len(others) == 0 {
		return false, errors.New("eq wants two values")
	}
	for _, b := range others {
		if n, ok, err := order(a, b); err != nil || ok && n == 0 {
			return err == nil, err
		}
	}
	return false, nil
}

func notEqual(a, b any) (bool, error) {
	same, err := equal(a, b)
	return !same, err
}

// compared makes a comparison of a rule over the order.
func compared(holds func(n int) bool) func(a, b any) (bool, error) {
	return func(a, b any) (bool, error) {
		if _, _, both := bools(a, b); both {
			return false, errors.New("true and false have no order")
		}
		n, ok, err := order(a, b)
		return ok && holds(n), err
	}
}
