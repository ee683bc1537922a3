package segment

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"mailer/internal/contact"
	"mailer/internal/spelling"

	"github.com/expr-lang/expr/ast"
	"golang.org/x/text/unicode/norm"
)

// term is one side of a comparison: a subject, or a literal of type string, int, float64, bool, span or nil.
type term struct {
	node    ast.Node
	subject *subject
	value   any
}

func (t term) isNil() bool { return t.subject == nil && t.value == nil }

func (t term) words() string {
	if t.isNil() {
		return "nil"
	}
	return valueWords(t.value)
}

func (c *checker) sides(n *ast.BinaryNode) (left, right term, err error) {
	if left, err = c.term(n.Left); err == nil {
		right, err = c.term(n.Right)
	}
	return left, right, err
}

// subject reads a term that must be a field or the address.
func (c *checker) subject(n ast.Node) (subject, error) {
	t, err := c.term(n)
	if err != nil {
		return subject{}, err
	}
	if t.subject == nil {
		return subject{}, c.fail(n, "here comes the name of a field, not %s", t.words())
	}
	return *t.subject, nil
}

func (c *checker) term(n ast.Node) (term, error) {
	t := term{node: n}
	switch n := n.(type) {
	case *ast.NilNode:
		return t, nil
	case *ast.BoolNode:
		t.value = n.Value
		return t, nil
	case *ast.IntegerNode:
		t.value = n.Value
		return t, nil
	case *ast.FloatNode:
		t.value = n.Value
		return t, nil
	case *ast.StringNode:
		if strings.ContainsRune(n.Value, 0) || !utf8.ValidString(n.Value) {
			return t, c.fail(n, "the text holds a character that no cell can hold")
		}
		t.value = n.Value
		return t, nil
	case *ast.IdentifierNode:
		return c.name(t, n)
	case *ast.MemberNode:
		return c.memberTerm(t, n)
	case *ast.CallNode:
		return c.call(t, n)
	case *ast.UnaryNode:
		return c.signed(t, n)
	}
	return t, c.notTerm(n)
}

// notTerm says why something cannot be compared.
func (c *checker) notTerm(n ast.Node) error {
	switch n := n.(type) {
	case *ast.BinaryNode:
		switch logic(n.Operator) {
		case "+", "-", "*", "/", "%", "**", "^":
			return c.fail(n, "arithmetic is not part of the language of segments; compare a field with a value")
		case "..", "|", "??":
			return c.fail(n, "%s cannot stand here", n.Operator)
		}
		return c.fail(n, "a comparison is no value; join comparisons with and, or, not")
	case *ast.ArrayNode:
		return c.fail(n, "[...] can only stand after in")
	case *ast.BuiltinNode:
		return c.unknownFunction(n, n.Name)
	}
	return c.fail(n, "this is not part of the language of segments")
}

func (c *checker) signed(t term, n *ast.UnaryNode) (term, error) {
	of, err := c.term(n.Node)
	if err != nil {
		return t, err
	}
	switch v := of.value.(type) {
	case int:
		t.value = v
		if n.Operator == "-" {
			t.value = -v
		}
	case float64:
		t.value = v
		if n.Operator == "-" {
			t.value = -v
		}
	}
	switch {
	case n.Operator == "not" || n.Operator == "!":
		return t, c.fail(n, "%s takes only what follows at once; put the comparison in parentheses: not (...)", n.Operator)
	case t.value == nil:
		return t, c.fail(n, "%s can only stand before a number", n.Operator)
	}
	return t, nil
}

// name reads a bare name. The names of this switch are the language's own; a field of such a name is reached by
// field("...").
func (c *checker) name(t term, n *ast.IdentifierNode) (term, error) {
	name := c.src.slice(n.Location())
	switch name {
	case "email":
		t.subject = &subject{name: name, typ: contact.Text, expr: sqlKey, fold: foldAddress}
		return t, nil
	case "domain":
		t.subject = &subject{name: name, typ: contact.Text, expr: sqlDomain, fold: foldDomain}
		return t, nil
	case "lists":
		return t, c.fail(n, `lists is for "NAME" in lists`)
	}
	s, err := c.field(n, name)
	t.subject = &s
	return t, err
}

// memberTerm reads $env["FIELD"], expr's own way to odd names.
func (c *checker) memberTerm(t term, n *ast.MemberNode) (term, error) {
	property, isText := n.Property.(*ast.StringNode)
	of, isName := n.Node.(*ast.IdentifierNode)
	if !isText || !isName {
		return t, c.fail(n, `this is not part of the language of segments; for a field with an odd name write field("NAME")`)
	}
	if name := c.src.slice(of.Location()); name != "$env" {
		return t, c.fail(n, `a contact's fields have no parts; for a field with a dot in its name write field("%s.%s")`, name, property.Value)
	}
	s, err := c.field(property, property.Value)
	t.subject = &s
	return t, err
}

func (c *checker) field(n ast.Node, name string) (subject, error) {
	f, ok := c.fields[norm.NFC.String(name)]
	if !ok {
		return subject{}, c.unknownField(n, name)
	}
	if !slices.ContainsFunc(c.used.fields, func(u contact.Field) bool { return u.ID == f.ID }) {
		c.used.fields = append(c.used.fields, f)
	}
	return subject{name: spelled(f.Name), plain: f.Name, typ: f.Type, expr: sqlField(f.Path()), path: f.Path()}, nil
}

func (c *checker) unknownField(n ast.Node, name string) error {
	names := slices.Sorted(maps.Keys(c.fields))
	if near := spelling.Nearest(name, append(names, "email", "domain")); near != "" {
		return c.failNear(n, spelled(near), "there is no field %q", name)
	}
	if ascii := norm.NFKC.String(name); ascii != name && strings.Trim(ascii, "0123456789") == "" {
		return c.fail(n, "%s is full-width; write %s", name, ascii)
	}
	return c.fail(n, "there is no field %q (a text stands in quotes)%s", name, among(names, "mailer import brings them"))
}

// callee is the name of a function, empty for a method.
func (c *checker) callee(n *ast.CallNode) string {
	if name, ok := n.Callee.(*ast.IdentifierNode); ok {
		return c.src.slice(name.Location())
	}
	return ""
}

// call reads a function that gives a value.
func (c *checker) call(t term, n *ast.CallNode) (term, error) {
	name := c.callee(n)
	if slices.Contains(conditionFunctions, name) {
		return t, c.fail(n, "%s(...) is a condition by itself; it is not compared", name)
	}
	switch name {
	case "prefecture", "region":
		s, err := c.place(n, name)
		t.subject = &s
		return t, err
	case "today", "now":
		if len(n.Arguments) > 0 {
			return t, c.fail(n, "%s takes no argument: %[1]s()", name)
		}
		now := wall(c.now, c.location)
		if t.value = secondSpan(now, "now"); name == "today" {
			t.value = daySpan(now, "today")
		}
		return t, nil
	case "field", "date", "ago", "ahead":
		if len(n.Arguments) == 1 {
			if arg, ok := n.Arguments[0].(*ast.StringNode); ok {
				return c.callWith(t, name, arg)
			}
		}
		return t, c.fail(n, "%s takes one text in quotes, as in %s", name, callExamples[name])
	}
	return t, c.unknownFunction(n, name)
}

var callExamples = map[string]string{
	"field": `field("Company Name")`, "date": `date("2026-01-05")`, "ago": `ago("90d")`, "ahead": `ahead("30d")`,
}

func (c *checker) callWith(t term, name string, arg *ast.StringNode) (term, error) {
	var err error
	switch name {
	case "field":
		var s subject
		s, err = c.field(arg, arg.Value)
		t.subject = &s
		return t, err
	case "date":
		t.value, err = parseSpan(arg.Value, c.location)
	case "ago":
		t.value, err = shift(c.now, c.location, -1, arg.Value, arg.Value+" ago")
	case "ahead":
		t.value, err = shift(c.now, c.location, +1, arg.Value, arg.Value+" ahead")
	}
	if err != nil {
		return t, c.fail(arg, "%s", err)
	}
	return t, nil
}

func (c *checker) unknownFunction(n ast.Node, name string) error {
	known := slices.Concat(conditionFunctions, termFunctions)
	if near := spelling.Nearest(name, known); near != "" {
		return c.failNear(n, near, "there is no function %q", name)
	}
	return c.fail(n, "there is no function %q; there are %s", name, strings.Join(known, ", "))
}
