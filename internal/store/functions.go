package store

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"

	"mailer/internal/contact"
	"mailer/internal/prefecture"
	"mailer/internal/segment"

	"modernc.org/sqlite"
)

// registered gives SQLite the functions that the conditions of segments call (internal/segment/dialect.go). The driver
// keeps them for the whole process, and a connection has those that were there when it was opened: so once, at the first
// Open. No index may stand on one of them, or the file could not be written by anything else.
var registered = sync.OnceValue(func() error {
	patterns := patterns{compiled: map[string]*regexp.Regexp{}}
	return errors.Join(
		register("regexp", 2, func(args []driver.Value) (driver.Value, error) { // x REGEXP y is regexp(y, x)
			pattern, isText := args[0].(string)
			text, ok := textOf(args[1])
			if !isText || !ok {
				return nil, nil
			}
			re, err := patterns.get(pattern)
			if err != nil {
				return nil, err
			}
			return re.MatchString(text), nil
		}),
		register(quickField, 2, func(args []driver.Value) (driver.Value, error) {
			fields, _ := args[0].(string)
			path, _ := args[1].(string)
			return contact.Peek(fields, path), nil
		}),
		register(quickHolds, -1, func(args []driver.Value) (driver.Value, error) {
			fields, _ := args[0].(string)
			path, _ := args[1].(string)
			for _, v := range args[2:] {
				if text, ok := v.(string); ok && contact.PeekItem(fields, path, text) {
					return true, nil
				}
			}
			return false, nil
		}),
		register("mailer_prefecture", 1, func(args []driver.Value) (driver.Value, error) {
			if text, ok := textOf(args[0]); ok {
				if p, ok := prefecture.Of(text); ok {
					return p.Name, nil
				}
			}
			return nil, nil
		}),
		register("mailer_region", 1, func(args []driver.Value) (driver.Value, error) {
			if text, ok := textOf(args[0]); ok {
				if p, ok := prefecture.Of(text); ok {
					return p.Region.Name, nil
				}
			}
			return nil, nil
		}),
		register("mailer_place", 2, func(args []driver.Value) (driver.Value, error) {
			seed, _ := args[0].(string)
			key, _ := args[1].(string)
			return segment.PlaceNumber(seed, key), nil
		}),
	)
})

// register adds a function that always gives the same for the same. Its arguments lie in SQLite's own memory and must
// not be kept.
func register(name string, arguments int32, fn func(args []driver.Value) (driver.Value, error)) error {
	err := sqlite.RegisterFunction(name, &sqlite.FunctionImpl{NArgs: arguments, Deterministic: true, VolatileArgs: true,
		Scalar: func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) { return fn(args) }})
	if err != nil {
		return fmt.Errorf("register function %s: %w", name, err)
	}
	return nil
}

// textOf is a stored text or number as text; of anything else there is none.
func textOf(v driver.Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

// patterns keeps compiled regular expressions, since SQLite asks for the same one a million times.
type patterns struct {
	mu       sync.RWMutex
	compiled map[string]*regexp.Regexp
}

const maxPatterns = 100

func (p *patterns) get(pattern string) (*regexp.Regexp, error) {
	p.mu.RLock()
	re, ok := p.compiled[pattern]
	p.mu.RUnlock()
	if ok {
		return re, nil
	}
	pattern = string([]byte(pattern)) // it is kept, SQLite's memory is not
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.compiled) >= maxPatterns {
		clear(p.compiled)
	}
	p.compiled[pattern] = re
	return re, nil
}
