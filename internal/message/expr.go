package message

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"text/template"
	"text/template/parse"
	"time"
)

// expr is a pipeline as a closure. It gives false where only the template package can say what is wrong.
type expr struct {
	kind     kind
	constant bool // the same for every contact
	text     func(p *person) (string, bool)
	truth    func(p *person) (bool, bool)
	value    func(p *person) (any, bool)
}

// kind says which of an expr's closures is set.
type kind uint8

const (
	kindText  kind = iota // text
	kindBool              // truth
	kindValue             // value: a number, a time, a list, or what only the contact decides
)

// person is what the closures see of a recipient.
type person struct {
	scope
	address, unsub string
	now            time.Time
	dot            string // within {{with}}
}

func constant(s string) expr {
	return expr{constant: true, text: func(*person) (string, bool) { return s, true }}
}

// constantValue is a constant of any type.
func constantValue(v any) expr {
	switch v := v.(type) {
	case string:
		return constant(v)
	case bool:
		return expr{kind: kindBool, constant: true, truth: func(*person) (bool, bool) { return v, true }}
	}
	return expr{kind: kindValue, constant: true, value: func(*person) (any, bool) { return v, true }}
}

// folded is e, worked out if it is constant; false: that is an error, which the template package words.
func (e expr) folded() (expr, bool) {
	if !e.constant {
		return e, true
	}
	v, ok := e.any(&person{})
	return constantValue(v), ok
}

func (e expr) any(p *person) (any, bool) {
	switch e.kind {
	case kindText:
		return e.text(p)
	case kindBool:
		return e.truth(p)
	}
	return e.value(p)
}

// holds is the truth of an expr, as {{if}} has it.
func (e expr) holds(p *person) (bool, bool) {
	switch e.kind {
	case kindText:
		s, ok := e.text(p)
		return s != "", ok
	case kindBool:
		return e.truth(p)
	}
	v, ok := e.value(p)
	if !ok {
		return false, false
	}
	return template.IsTrue(v)
}

// printed is e as the template packages print it.
func (e expr) printed() (expr, bool) {
	if e.kind == kindText {
		return e, true
	}
	out := expr{constant: e.constant, text: func(p *person) (string, bool) {
		v, ok := e.any(p)
		if !ok {
			return "", false
		}
		switch v := v.(type) {
		case string:
			return v, true
		case int:
			return strconv.Itoa(v), true
		case bool, float64, time.Time, senderInfo:
			return fmt.Sprint(v), true
		}
		return "", false
	}}
	return out.folded()
}

// pipe is a pipeline as a closure.
func (b *planner) pipe(p *parse.PipeNode, dot *expr) (e expr, ok bool) {
	if p == nil || len(p.Decl) > 0 {
		return e, false
	}
	for i, c := range p.Cmds {
		var piped []expr
		if i > 0 {
			piped = []expr{e}
		}
		if e, ok = b.command(c, piped, dot); !ok {
			return e, false
		}
	}
	return e, true
}

func (b *planner) command(c *parse.CommandNode, piped []expr, dot *expr) (expr, bool) {
	name, given := function(c), c.Args
	if name == "" {
		if len(c.Args) > 1 || len(piped) > 0 {
			return expr{}, false
		}
		return b.arg(c.Args[0], dot)
	}
	args := make([]expr, 0, len(c.Args))
	switch given = given[1:]; name {
	case "_get", "_opt", "_field", "_fieldopt", "_has":
		return b.lookup(name, given, len(piped), dot)
	case "_relative", "_days": // of the message's time, which they find in $
		args, given = append(args, now()), given[1:]
	}
	for _, a := range given {
		e, ok := b.arg(a, dot)
		if !ok {
			return expr{}, false
		}
		args = append(args, e)
	}
	return b.call(name, append(args, piped...))
}

func now() expr {
	return expr{kind: kindValue, value: func(p *person) (any, bool) { return p.now, true }}
}

// The numbers that are taken; others, such as 0x1F and 'a', are left to the template package.
var (
	wholeNumber = regexp.MustCompile(`^[+-]?\d+$`)
	realNumber  = regexp.MustCompile(`^[+-]?\d+\.\d+$`)
)

func (b *planner) arg(n parse.Node, dot *expr) (expr, bool) {
	switch n := n.(type) {
	case *parse.StringNode:
		return constant(n.Text), true
	case *parse.BoolNode:
		return constantValue(n.True), true
	case *parse.NumberNode:
		switch {
		case n.IsInt && wholeNumber.MatchString(n.Text):
			return constantValue(int(n.Int64)), true
		case n.IsFloat && realNumber.MatchString(n.Text):
			return constantValue(n.Float64), true
		}
	case *parse.IdentifierNode:
		return b.call(n.Ident, nil)
	case *parse.PipeNode:
		return b.pipe(n, dot)
	case *parse.DotNode:
		if dot != nil {
			return *dot, true
		}
	}
	return expr{}, false
}

// lookup is one of the functions that rewrite.go puts in: _get OF ref "name" and its like.
func (b *planner) lookup(name string, args []parse.Node, piped int, dot *expr) (expr, bool) {
	if piped > 0 || len(args) != 3 {
		return expr{}, false
	}
	key, ok := args[2].(*parse.StringNode)
	if !ok {
		return expr{}, false
	}
	if inner, ok := args[0].(*parse.PipeNode); ok {
		return b.senderField(inner, key.Text, name, dot)
	}
	if !isRoot(args[0], dot) {
		return expr{}, false
	}
	return b.column(name, key.Text)
}

// isRoot reports whether a node is the contact.
func isRoot(n parse.Node, dot *expr) bool {
	v, ok := n.(*parse.VariableNode)
	return ok && len(v.Ident) == 1 && v.Ident[0] == "$" || n.Type() == parse.NodeDot && dot == nil
}

func (b *planner) column(function, name string) (expr, bool) {
	optional := false
	switch function {
	case "_get", "_opt":
		switch name {
		case "email":
			return expr{text: func(p *person) (string, bool) { return p.address, true }}, true
		case "unsubscribe_url":
			return expr{text: func(p *person) (string, bool) { return p.unsub, true }}, true
		case "campaign":
			return constant(b.d.id), true
		case "sender":
			return constantValue(b.d.sender), true
		case "now":
			return now(), true
		}
		optional = function == "_opt"
	case "_fieldopt":
		optional = true
	case "_has":
		return expr{kind: kindBool, truth: func(p *person) (bool, bool) {
			_, ok, err := column(&p.scope, name)
			return ok, err == nil
		}}, true
	}
	return expr{text: func(p *person) (string, bool) {
		v, ok, err := column(&p.scope, name)
		return v, err == nil && (ok || optional)
	}}, true
}

// senderField is {{.sender.name}}.
func (b *planner) senderField(of *parse.PipeNode, key, name string, dot *expr) (expr, bool) {
	if len(of.Decl) > 0 || len(of.Cmds) != 1 || name != "_get" && name != "_opt" {
		return expr{}, false
	}
	c := of.Cmds[0]
	if f := function(c); (f != "_get" && f != "_opt") || len(c.Args) != 4 || c.Args[3].String() != `"sender"` || !isRoot(c.Args[1], dot) {
		return expr{}, false
	}
	value, ok := b.d.sender[key]
	return constant(value), ok
}

// urlFunctions are those of the text part's URLs.
var urlFunctions = map[string]func(string) string{"_head": headOfURL, "_path": pathOfURL, "_arg": argOfURL}

// call applies a function. All of ours give the same for the same arguments, today and tomorrow.
func (b *planner) call(name string, args []expr) (expr, bool) {
	e, ok := expr{}, false
	switch own := b.d.program.all[name]; {
	case own == nil:
		e, ok = builtin(name, args)
	case urlFunctions[name] != nil && len(args) == 1:
		e, ok = apply(urlFunctions[name], args[0])
	default:
		e, ok = applied(own, args)
	}
	if !ok {
		return expr{}, false
	}
	e.constant = !slices.ContainsFunc(args, func(a expr) bool { return !a.constant })
	return e.folded()
}

// applied is one of our functions with its arguments; which ones it takes, its Go type says.
func applied(own any, args []expr) (expr, bool) {
	if f, ok := own.(func(string) string); ok && len(args) == 1 && args[0].kind == kindText {
		return apply(f, args[0])
	}
	run, ok := adapt(own, len(args))
	if !ok {
		return expr{}, false
	}
	value := func(p *person) (any, bool) {
		v := make([]any, len(args))
		for i, a := range args {
			var ok bool
			if v[i], ok = a.any(p); !ok {
				return nil, false
			}
		}
		return run(v)
	}
	switch own.(type) {
	case func(any, any) (bool, error), func(any, ...any) (bool, error):
		return expr{kind: kindBool, truth: func(p *person) (bool, bool) {
			v, _ := value(p)
			yes, ok := v.(bool)
			return yes, ok
		}}, true
	case func(any, any) any:
		if slices.ContainsFunc(args, func(a expr) bool { return a.kind != kindText }) {
			return expr{kind: kindValue, value: value}, true
		}
	case func(any, any) (int, error), func(string, string) ([]string, error):
		return expr{kind: kindValue, value: value}, true
	}
	return expr{text: func(p *person) (string, bool) {
		v, _ := value(p)
		s, ok := v.(string)
		return s, ok
	}}, true
}

// adapt makes one shape of our functions. n is how many arguments there are; false: too many, too few, or a new type.
func adapt(own any, n int) (run func(v []any) (any, bool), ok bool) {
	switch f := own.(type) {
	case func() string:
		return func([]any) (any, bool) { return f(), true }, n == 0
	case func(string) string:
		return func(v []any) (any, bool) {
			s, ok := v[0].(string)
			if !ok {
				return nil, false
			}
			return f(s), true
		}, n == 1
	case func(any, any) any:
		return func(v []any) (any, bool) { return f(v[0], v[1]), true }, n == 2
	case func(...any) string:
		return func(v []any) (any, bool) { return f(v...), true }, true
	case func(...any) (string, error):
		return func(v []any) (any, bool) { return result(f(v...)) }, true
	case func(any, any) (string, error):
		return func(v []any) (any, bool) { return result(f(v[0], v[1])) }, n == 2
	case func(any, any) (bool, error):
		return func(v []any) (any, bool) { return result(f(v[0], v[1])) }, n == 2
	case func(any, ...any) (bool, error):
		return func(v []any) (any, bool) { return result(f(v[0], v[1:]...)) }, n >= 1
	case func(any, any) (int, error):
		return func(v []any) (any, bool) { return result(f(v[0], v[1])) }, n == 2
	case func(string, any) (string, error):
		return withTexts(1, func(s []string, v []any) (any, bool) { return result(f(s[0], v[0])) }), n == 2
	case func(string, ...any) (string, error):
		return withTexts(1, func(s []string, v []any) (any, bool) { return result(f(s[0], v...)) }), n >= 1
	case func(string, string, any) (string, error):
		return withTexts(2, func(s []string, v []any) (any, bool) { return result(f(s[0], s[1], v[0])) }), n == 3
	case func(string, string) ([]string, error):
		return withTexts(2, func(s []string, _ []any) (any, bool) { return result(f(s[0], s[1])) }), n == 2
	case func(string, string, string) (string, error):
		return withTexts(3, func(s []string, _ []any) (any, bool) { return result(f(s[0], s[1], s[2])) }), n == 3
	}
	return nil, false
}

func result[T any](v T, err error) (any, bool) {
	if err != nil {
		return nil, false
	}
	return v, true
}

// withTexts is for functions whose first n arguments must be texts.
func withTexts(n int, f func(s []string, v []any) (any, bool)) func(v []any) (any, bool) {
	return func(v []any) (any, bool) {
		s := make([]string, n)
		for i := range s {
			var ok bool
			if s[i], ok = v[i].(string); !ok {
				return nil, false
			}
		}
		return f(s, v[n:])
	}
}

// apply is a function of what an argument prints.
func apply(f func(string) string, arg expr) (expr, bool) {
	arg, ok := arg.printed()
	return expr{text: func(p *person) (string, bool) {
		s, ok := arg.text(p)
		if !ok {
			return "", false
		}
		return f(s), true
	}}, ok
}

// builtin is a function of the template packages.
func builtin(name string, args []expr) (expr, bool) {
	switch {
	case escapers[name] != nil && len(args) == 1:
		return apply(escapers[name], args[0])
	case name == "urlquery" && len(args) == 1:
		return apply(func(s string) string { return template.URLQueryEscaper(s) }, args[0])
	case (name == "eq" || name == "ne") && len(args) == 2 && args[0].kind == kindText && args[1].kind == kindText:
		equal := name == "eq"
		return expr{kind: kindBool, truth: func(p *person) (bool, bool) {
			a, ok1 := args[0].text(p)
			b, ok2 := args[1].text(p)
			return (a == b) == equal, ok1 && ok2
		}}, true
	case name == "not" && len(args) == 1:
		return expr{kind: kindBool, truth: func(p *person) (bool, bool) {
			v, ok := args[0].holds(p)
			return !v, ok
		}}, true
	case (name == "and" || name == "or") && len(args) > 0:
		return chain(name == "or", args), true
	}
	return expr{}, false
}

// chain is and, or: the first argument that settles it, else the last; those behind it are not looked at.
func chain(or bool, args []expr) expr {
	settles := func(p *person) (a expr, ok bool) {
		for i := range args {
			a = args[i]
			if i == len(args)-1 {
				break
			}
			if v, ok := a.holds(p); !ok || v == or {
				return a, ok
			}
		}
		return a, true
	}
	e := expr{kind: args[0].kind}
	if slices.ContainsFunc(args, func(a expr) bool { return a.kind != e.kind }) {
		e.kind = kindValue
	}
	switch e.kind {
	case kindText:
		e.text = func(p *person) (string, bool) {
			a, ok := settles(p)
			if !ok {
				return "", false
			}
			return a.text(p)
		}
	case kindBool:
		e.truth = func(p *person) (bool, bool) {
			a, ok := settles(p)
			if !ok {
				return false, false
			}
			return a.truth(p)
		}
	default:
		e.value = func(p *person) (any, bool) {
			a, ok := settles(p)
			if !ok {
				return nil, false
			}
			return a.any(p)
		}
	}
	return e
}
