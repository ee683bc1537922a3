package segment

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"mailer/internal/contact"
)

// cond is a condition about one contact, names resolved and types checked.
type cond interface {
	sql(w *writer)
	words() string
}

// writer puts the SQL text and its arguments together.
type writer struct {
	strings.Builder
	args []any
}

func (w *writer) write(sql string, args ...any) {
	w.WriteString(sql)
	w.args = append(w.args, args...)
}

// constant is true or false for everybody.
type constant bool

func (c constant) sql(w *writer) {
	if c {
		w.write(sqlTrue)
	} else {
		w.write(sqlFalse)
	}
}

func (c constant) words() string {
	if c {
		return "everybody"
	}
	return "nobody"
}

// group is several conditions joined by and, or by or.
type group struct {
	any   bool
	parts []cond
}

func (g group) sql(w *writer) {
	op := " AND "
	if g.any {
		op = " OR "
	}
	join(w, op, g.parts)
}

// join nests a long chain as a balanced tree: SQLite bounds the depth of an expression (SQLITE_LIMIT_EXPR_DEPTH, 1000),
// and a plain chain is as deep as it is long.
func join(w *writer, op string, parts []cond) {
	w.write("(")
	if len(parts) <= 4 {
		for i, p := range parts {
			if i > 0 {
				w.write(op)
			}
			p.sql(w)
		}
	} else {
		join(w, op, parts[:len(parts)/2])
		w.write(op)
		join(w, op, parts[len(parts)/2:])
	}
	w.write(")")
}

func (g group) words() string {
	if g.any {
		return "any of these:"
	}
	return "all of these:"
}

// negation is not. Its operand may be NULL, which is false here: IS NOT TRUE is the two-valued not of SQL.
type negation struct{ of cond }

func (n negation) sql(w *writer) {
	w.write("(")
	n.of.sql(w)
	w.write(") IS NOT TRUE")
}

func (n negation) words() string {
	switch of := n.of.(type) {
	case group:
		if of.any {
			return "none of these:"
		}
		return "not all of these:"
	case present:
		return of.subject.name + " is missing"
	case sent:
		return "was sent nothing since " + of.since.words
	case compare, oneOf, between, textTest:
		return "not: " + of.words() + " (so a missing value counts)"
	}
	return "not: " + n.of.words()
}

// present asks whether there is a value.
type present struct{ subject subject }

func (p present) sql(w *writer) { w.write(p.subject.expr + " IS NOT NULL") }
func (p present) words() string { return p.subject.name + " has a value" }

// compare is a subject against a value of its type: string, int64, float64, bool or span.
type compare struct {
	subject subject
	op      string
	value   any
}

func (c compare) sql(w *writer) {
	if s, ok := c.value.(span); ok {
		compareSpan(w, c.subject.expr, c.op, s)
		return
	}
	w.write(c.subject.expr+" "+sqlOperator(c.op)+" ?", c.value)
}

// compareSpan compares with a stretch of time: == is within it, < is before its start, > is at its end or later.
func compareSpan(w *writer, expr, op string, s span) {
	from, to := bound(s.from), bound(s.to)
	switch op {
	case "==":
		w.write("("+expr+" >= ? AND "+expr+" < ?)", from, to)
	case "!=":
		w.write("("+expr+" < ? OR "+expr+" >= ?)", from, to)
	case "<":
		w.write(expr+" < ?", from)
	case "<=":
		w.write(expr+" < ?", to)
	case ">":
		w.write(expr+" >= ?", to)
	case ">=":
		w.write(expr+" >= ?", from)
	}
}

func sqlOperator(op string) string {
	switch op {
	case "==":
		return "="
	case "!=":
		return "<>"
	}
	return op
}

func (c compare) words() string {
	return c.subject.name + " " + operatorWords(c.op, c.subject.typ) + " " + valueWords(c.value)
}

func operatorWords(op string, t contact.Type) string {
	if t == contact.Date {
		switch op {
		case "<":
			return "is before"
		case "<=":
			return "is at the latest"
		case ">":
			return "is after"
		case ">=":
			return "is at the earliest"
		}
	}
	switch op {
	case "==":
		return "is"
	case "!=":
		return "has a value other than"
	case "<":
		return "is less than"
	case "<=":
		return "is at most"
	case ">":
		return "is more than"
	}
	return "is at least"
}

func valueWords(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case span:
		return v.String()
	}
	return fmt.Sprint(v)
}

// compareFields is a subject against another of the same type.
type compareFields struct {
	left  subject
	op    string
	right subject
}

func (c compareFields) sql(w *writer) {
	left, right := c.left.expr, c.right.expr
	if c.left.typ == contact.Date {
		left, right = sqlMoment(left), sqlMoment(right)
	}
	w.write(left + " " + sqlOperator(c.op) + " " + right)
}

func (c compareFields) words() string {
	return c.left.name + " " + operatorWords(c.op, c.left.typ) + " " + c.right.name
}

// oneOf asks whether a text or number is one of several; there is at least one.
type oneOf struct {
	subject subject
	values  []any
}

func (o oneOf) sql(w *writer) {
	w.write(o.subject.expr+" IN ("+placeholders(len(o.values))+")", o.values...)
}

func (o oneOf) words() string { return o.subject.name + " is one of " + valuesWords(o.values) }

func valuesWords(values []any) string {
	const shown = 5
	var list []string
	for _, v := range values[:min(shown, len(values))] {
		list = append(list, valueWords(v))
	}
	if more := len(values) - shown; more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return strings.Join(list, ", ")
}

// between is a range, both ends included.
type between struct {
	subject  subject
	from, to any
}

func (b between) sql(w *writer) {
	group{parts: []cond{compare{b.subject, ">=", b.from}, compare{b.subject, "<=", b.to}}}.sql(w)
}

func (b between) words() string {
	return b.subject.name + " is from " + valueWords(b.from) + " to " + valueWords(b.to)
}

// textTest is contains, startsWith, endsWith or matches.
type textTest struct {
	subject subject
	op      string
	needle  string
}

func (t textTest) sql(w *writer) {
	switch {
	case t.op == "matches":
		w.write(sqlMatches(t.subject.expr), t.needle)
	case t.needle == "": // every text there is
		present{t.subject}.sql(w)
	case t.op == "contains":
		w.write(sqlContains(t.subject.expr), t.needle)
	case t.op == "startsWith":
		prefixRange(w, t.subject.expr, t.needle)
	default:
		sql, args := sqlEndsWith(t.subject.expr, t.needle)
		w.write(sql, args...)
	}
}

// prefixRange says "starts with" as a range, which an index can serve: from the prefix up to, but not with, the text
// that follows everything that starts with it.
func prefixRange(w *writer, expr, prefix string) {
	if end, ok := afterPrefix(prefix); ok {
		w.write("("+expr+" >= ? AND "+expr+" < ?)", prefix, end)
		return
	}
	w.write(expr+" >= ?", prefix)
}

// afterPrefix puts the last character one further. A last character that has no next is dropped first.
func afterPrefix(prefix string) (string, bool) {
	prefix = strings.TrimRight(prefix, string(rune(utf8.MaxRune)))
	if prefix == "" {
		return "", false
	}
	last, size := utf8.DecodeLastRuneInString(prefix)
	if last++; last == 0xD800 { // the surrogates are no characters
		last = 0xE000
	}
	return prefix[:len(prefix)-size] + string(last), true
}

func (t textTest) words() string {
	verb := map[string]string{"contains": "contains", "startsWith": "starts with", "endsWith": "ends with", "matches": "matches"}[t.op]
	return t.subject.name + " " + verb + " " + strconv.Quote(t.needle)
}

// element asks whether a list field holds a text.
type element struct {
	subject subject
	value   string
}

func (e element) sql(w *writer) { w.write(sqlElement(e.subject.path), e.value) }
func (e element) words() string { return e.subject.name + " holds " + strconv.Quote(e.value) }

// member asks whether the contact is on a list.
type member struct {
	name string
	id   int64
	few  bool // few of the contacts are on it
}

// A short list is gone through, and its people looked up; for a long one everybody is looked up in it. The wrong one of
// the two costs a second at a million contacts.
func (m member) sql(w *writer) {
	if m.few {
		w.write("c.id IN (SELECT m.contact FROM memberships AS m WHERE m.list = ?)", m.id)
	} else {
		w.write("EXISTS (SELECT 1 FROM memberships AS m WHERE m.list = ? AND m.contact = c.id)", m.id)
	}
}

func (m member) words() string { return "on the list " + strconv.Quote(m.name) }
