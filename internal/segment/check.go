package segment

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailer/internal/contact"
	"mailer/internal/spelling"

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
	ordered  []contact.Field
	lists    map[string]member
	depth    int
	used     used

	campaigns                map[string]int64
	fewOnList, fewInCampaign func(id int64) bool
}

// used is what an expression turned out to speak of.
type used struct {
	fields    []contact.Field
	lists     []string
	campaigns []string
	notes     []string
}

func newChecker(s Schema, src source) *checker {
	c := &checker{src: src, now: s.Now, location: s.Location, fields: map[string]contact.Field{}, ordered: s.Fields, lists: map[string]member{},
		campaigns: map[string]int64{}, fewOnList: s.FewOnList, fewInCampaign: s.FewInCampaign}
	for _, f := range s.Fields {
		c.fields[norm.NFC.String(f.Name)] = f
	}
	for name, id := range s.Lists {
		c.lists[norm.NFC.String(name)] = member{name: name, id: id}
	}
	for name, id := range s.Campaigns {
		c.campaigns[norm.NFC.String(name)] = id
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
		if name := c.callee(n); slices.Contains(conditionFunctions, name) {
			return c.function(n, name)
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
	case "contains", "startsWith", "endsWith", "matches":
		return c.textTest(n)
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
		return nil, c.listMisused(n, *left.subject, right)
	case left.subject.named() && op != "==" && op != "!=":
		return nil, c.fail(n, "%s has no order; compare it with ==, != or in", left.subject.name)
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

// listMisused leads to the right form.
func (c *checker) listMisused(n ast.Node, s subject, t term) error {
	value := `"VALUE"`
	if text, ok := t.value.(string); ok {
		value = strconv.Quote(text)
	}
	return c.fail(n, `%s is a list; write %s in %[1]s, or for one of several %[1]s in ["A", "B"]`, s.name, value)
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
	if (left.named() || right.named()) && left.fold != right.fold {
		return nil, c.fail(n, "%s and %s cannot be compared; a %[1]s compares with another one and with a name in quotes", left.name, right.name)
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
	var values []any
	for _, item := range array.Nodes {
		t, err := c.term(item)
		if err != nil {
			return nil, err
		}
		if text, isText := t.value.(string); s.typ == contact.List && isText {
			values = append(values, text)
			continue
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
	case s.typ == contact.List:
		return anyElement{s, values}, nil
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
		return nil, c.listMisused(n, *left.subject, right)
	case left.subject.named():
		return nil, c.fail(n, "%s is the whole name, however the cell spells it; compare it with ==, != or in", left.subject.name)
	case left.subject.typ != contact.Text:
		return nil, c.fail(n, "%s is a %s; %s is for texts%s", left.subject.name, left.subject.typ, n.Operator, c.declare(*left.subject, contact.Text))
	case !isText:
		return nil, c.fail(n.Right, "after %s comes a text in quotes", n.Operator)
	case n.Operator == "matches":
		if left.subject.fold != foldNone { // the store holds addresses in small letters
			needle = "(?i)" + needle
		}
		return textTest{*left.subject, n.Operator, needle}, c.pattern(n.Right, needle)
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
		return nil, c.failNear(n, quoted(spelling.Nearest(s.Value, names)), "there is no list %q%s", s.Value, among(names, "mailer import --list NAME makes one"))
	}
	m.few = c.fewOnList != nil && c.fewOnList(m.id)
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
