package segment

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"mailer/internal/contact"

	"github.com/expr-lang/expr/ast"
	"golang.org/x/text/unicode/norm"
)

// maxDepth bounds how deep conditions nest. Chains of and, and of or, do not nest.
const maxDepth = 100

// checker turns expr's tree into conditions: it finds the names and checks the types.
type checker struct {
	src      source
	now      time.Time
	location *time.Location
	fields   map[string]contact.Field // by name in NFC: a spreadsheet from a Mac spells ガ in two characters
	lists    map[string]member
	depth    int
	used     used
}

// used is what an expression turned out to speak of.
type used struct {
	fields []contact.Field
	lists  []string
	notes  []string
}

func newChecker(s Schema, src source) *checker {
	c := &checker{src: src, now: s.Now, location: s.Location, fields: map[string]contact.Field{}, lists: map[string]member{}}
	for _, f := range s.Fields {
		c.fields[norm.NFC.String(f.Name)] = f
	}
	for name, id := range s.Lists {
		c.lists[norm.NFC.String(name)] = member{name, id}
	}
	return c
}

func (c *checker) fail(n ast.Node, format string, args ...any) error {
	return c.src.fail(n.Location().From, format, args...)
}

func (c *checker) failNear(n ast.Node, near, format string, args ...any) error {
	e := c.src.fail(n.Location().From, format, args...)
	e.Nearest = near
	return e
}

// cond reads a condition: something that is true or false of a contact.
func (c *checker) cond(n ast.Node) (cond, error) {
	c.depth++
	defer func() { c.depth-- }()
	if c.depth > maxDepth {
		return nil, c.fail(n, "the expression nests deeper than %d", maxDepth)
	}
	switch n := n.(type) {
	case *ast.BoolNode:
		return constant(n.Value), nil
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			of, err := c.cond(n.Node)
			return negation{of}, err
		}
	case *ast.CallNode:
		switch c.callee(n) {
		case "has":
			return c.has(n)
		case "list":
			return c.onList(n)
		}
	}
	return c.boolean(n)
}

// boolean reads a boolean field that stands alone: subscribed is short for subscribed == true.
func (c *checker) boolean(n ast.Node) (cond, error) {
	t, err := c.term(n)
	switch {
	case err != nil:
		return nil, err
	case t.subject == nil:
		return nil, c.fail(n, "%s alone is no condition; compare a field with it", t.words())
	case t.subject.typ != contact.Boolean:
		return nil, c.fail(n, "%s is a %s, which alone is no condition; compare it with a value, or write has(%[1]s)", t.subject.name, t.subject.typ)
	}
	return compare{*t.subject, "==", true}, nil
}

func (c *checker) binary(n *ast.BinaryNode) (cond, error) {
	switch op := logic(n.Operator); op {
	case "and", "or":
		return c.group(op, operands(n, op))
	case "==", "!=", "<", "<=", ">", ">=":
		return c.comparison(n)
	case "in":
		return c.membership(n)
	case "contains", "startsWith", "endsWith":
		return c.textTest(n)
	case "matches":
		return nil, c.fail(n, "matches is not part of the language of segments; use contains, startsWith or endsWith")
	}
	return nil, c.fail(n, "%s is no condition; compare a field with a value, as in age >= 30", n.Operator)
}

// logic is the one spelling of and and or.
func logic(op string) string {
	switch op {
	case "&&":
		return "and"
	case "||":
		return "or"
	}
	return op
}

// operands takes a chain of one operator apart, however it is bracketed: both are associative.
func operands(n ast.Node, op string) []ast.Node {
	var parts []ast.Node
	for {
		b, ok := n.(*ast.BinaryNode)
		if !ok || logic(b.Operator) != op {
			break
		}
		right := operands(b.Right, op)
		slices.Reverse(right)
		parts = append(parts, right...)
		n = b.Left
	}
	parts = append(parts, n)
	slices.Reverse(parts)
	return parts
}

func (c *checker) group(op string, nodes []ast.Node) (cond, error) {
	g := group{any: op == "or"}
	for _, n := range nodes {
		part, err := c.cond(n)
		if err != nil {
			return nil, err
		}
		g.parts = append(g.parts, part)
	}
	return g, nil
}

func (c *checker) comparison(n *ast.BinaryNode) (cond, error) {
	left, right, err := c.sides(n)
	if err != nil {
		return nil, err
	}
	op := n.Operator
	if left.subject == nil {
		left, right, op = right, left, mirrored(op)
	}
	switch {
	case left.subject == nil:
		return nil, c.fail(n, "neither side is a field, so this says nothing about a contact")
	case right.isNil():
		return c.presence(n, *left.subject, op)
	case left.subject.typ == contact.List:
		return nil, c.fail(n, `%s is a list; write "VALUE" in %[1]s`, left.subject.name)
	case left.subject.typ == contact.Boolean && op != "==" && op != "!=":
		return nil, c.fail(n, "%s is true or false; only == and != compare it", left.subject.name)
	case right.subject != nil:
		return c.fieldComparison(n, *left.subject, op, *right.subject)
	}
	value, err := c.value(*left.subject, right, op == "==" || op == "!=")
	if value == "" && op == "==" {
		c.used.notes = append(c.used.notes,
			fmt.Sprintf("an empty cell is a missing value, so nothing equals \"\"; write not has(%s)", left.subject.name))
	}
	return compare{*left.subject, op, value}, err
}

// mirrored is the operator with its sides exchanged: 30 <= age is age >= 30.
func mirrored(op string) string {
	switch op[0] {
	case '<':
		return ">" + op[1:]
	case '>':
		return "<" + op[1:]
	}
	return op
}

// presence reads FIELD == nil and FIELD != nil.
func (c *checker) presence(n ast.Node, s subject, op string) (cond, error) {
	switch op {
	case "==":
		return negation{present{s}}, nil
	case "!=":
		return present{s}, nil
	}
	return nil, c.fail(n, "nil is no value; only == nil (missing) and != nil (not missing) make sense")
}

func (c *checker) fieldComparison(n ast.Node, left subject, op string, right subject) (cond, error) {
	if left.typ != right.typ {
		return nil, c.fail(n, "%s is a %s and %s a %s; they cannot be compared%s",
			left.name, left.typ, right.name, right.typ, c.declare(left, right.typ))
	}
	return compareFields{left, op, right}, nil
}

// membership reads what follows in: a list of values, a range, lists, or a list field.
func (c *checker) membership(n *ast.BinaryNode) (cond, error) {
	switch right := n.Right.(type) {
	case *ast.ArrayNode:
		return c.oneOf(n, right)
	case *ast.BinaryNode:
		if right.Operator == ".." {
			return c.between(n, right)
		}
	case *ast.IdentifierNode:
		if c.src.slice(right.Location()) == "lists" {
			return c.listNamed(n.Left)
		}
	}
	left, right, err := c.sides(n)
	if err != nil {
		return nil, err
	}
	value, isText := left.value.(string)
	switch {
	case right.subject == nil:
		return nil, c.fail(n.Right, `after in comes [VALUE, VALUE], a range such as 1..10, lists, or a list field`)
	case right.subject.typ != contact.List:
		hint := ""
		if right.subject.typ == contact.Text && isText {
			hint = fmt.Sprintf("; write %s contains %s", right.subject.name, strconv.Quote(value))
		}
		return nil, c.fail(n.Right, "%s is a %s, not a list%s%s", right.subject.name, right.subject.typ, hint, c.declare(*right.subject, contact.List))
	case !isText:
		return nil, c.fail(n.Left, "a list holds texts; write \"VALUE\" in %s", right.subject.name)
	}
	return element{*right.subject, value}, nil
}

func (c *checker) oneOf(n *ast.BinaryNode, array *ast.ArrayNode) (cond, error) {
	s, err := c.subject(n.Left)
	if err != nil {
		return nil, err
	}
	if s.typ == contact.List {
		return nil, c.fail(n, `%s is a list; write "A" in %[1]s or "B" in %[1]s`, s.name)
	}
	var values []any
	for _, item := range array.Nodes {
		t, err := c.term(item)
		if err != nil {
			return nil, err
		}
		v, err := c.value(s, t, true)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	switch {
	case len(values) == 0:
		return constant(false), nil
	case s.typ == contact.Date:
		g := group{any: true}
		for _, v := range values {
			g.parts = append(g.parts, compare{s, "==", v})
		}
		return g, nil
	}
	return oneOf{s, values}, nil
}

func (c *checker) between(n, ends *ast.BinaryNode) (cond, error) {
	s, err := c.subject(n.Left)
	if err != nil {
		return nil, err
	}
	if s.typ != contact.Number && s.typ != contact.Date {
		return nil, c.fail(n, "%s is a %s; a range is for numbers and dates%s", s.name, s.typ, c.declare(s, contact.Number))
	}
	from, to, err := c.sides(ends)
	if err != nil {
		return nil, err
	}
	b := between{subject: s}
	if b.from, err = c.value(s, from, false); err != nil {
		return nil, err
	}
	b.to, err = c.value(s, to, false)
	return b, err
}

func (c *checker) textTest(n *ast.BinaryNode) (cond, error) {
	left, right, err := c.sides(n)
	if err != nil {
		return nil, err
	}
	needle, isText := right.value.(string)
	switch {
	case left.subject == nil:
		return nil, c.fail(n.Left, "before %s comes the name of a text field", n.Operator)
	case left.subject.typ == contact.List:
		return nil, c.fail(n, `%s is a list; write "VALUE" in %[1]s`, left.subject.name)
	case left.subject.typ != contact.Text:
		return nil, c.fail(n, "%s is a %s; %s is for texts%s", left.subject.name, left.subject.typ, n.Operator, c.declare(*left.subject, contact.Text))
	case !isText:
		return nil, c.fail(n.Right, "after %s comes a text in quotes", n.Operator)
	}
	return textTest{*left.subject, n.Operator, left.subject.foldPart(needle)}, nil
}

// has reads has(FIELD), has("FIELD").
func (c *checker) has(n *ast.CallNode) (cond, error) {
	if len(n.Arguments) != 1 {
		return nil, c.fail(n, "has takes one field, as in has(birthday)")
	}
	if s, ok := n.Arguments[0].(*ast.StringNode); ok {
		f, err := c.field(s, s.Value)
		return present{f}, err
	}
	s, err := c.subject(n.Arguments[0])
	return present{s}, err
}

// onList reads list("NAME").
func (c *checker) onList(n *ast.CallNode) (cond, error) {
	if len(n.Arguments) != 1 {
		return nil, c.fail(n, `list takes one name, as in list("news")`)
	}
	return c.listNamed(n.Arguments[0])
}

func (c *checker) listNamed(n ast.Node) (cond, error) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		return nil, c.fail(n, `the name of a list stands in quotes, as in list("news")`)
	}
	m, ok := c.lists[norm.NFC.String(s.Value)]
	if !ok {
		names := slices.Sorted(maps.Keys(c.lists))
		return nil, c.failNear(n, quoted(nearest(s.Value, names)), "there is no list %q%s", s.Value, among(names, "mailer import --list NAME makes one"))
	}
	if !slices.Contains(c.used.lists, m.name) {
		c.used.lists = append(c.used.lists, m.name)
	}
	return m, nil
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return strconv.Quote(s)
}

// among tells which names there are, when they are few.
func among(names []string, none string) string {
	switch {
	case len(names) == 0:
		return "; there are none yet: " + none
	case len(names) <= 12:
		return "; there are " + strings.Join(names, ", ")
	}
	return ""
}

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
	if near := nearest(name, append(names, "email", "domain")); near != "" {
		return c.failNear(n, spelled(near), "there is no field %q", name)
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
	switch name {
	case "has", "list":
		return t, c.fail(n, "%s(...) is a condition by itself; it is not compared", name)
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
	known := []string{"has", "list", "field", "date", "ago", "ahead", "today", "now"}
	return c.failNear(n, nearest(name, known), "there is no function %q; there are %s", name, strings.Join(known, ", "))
}

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
