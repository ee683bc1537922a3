// Package segment picks people: an expression such as
//
//	pref == "東京都" and age >= 30 and not list("staff")
//
// becomes one SQL condition over contacts. The language is that of expr-lang/expr, read by its own parser. What the
// expression says and what SQL asks stay apart: every literal is a bound argument, a field is the path that its id
// gives, and the SQL text is put together from a fixed vocabulary. No text of the user ever gets into it.
//
// Logic has two values. A comparison with a missing field is false, so its `not` is true; see Query.
//
// The way of an expression: read (parse.go) makes expr's tree; checker (check.go, term.go, value.go, function.go) makes
// conditions of it (cond.go, history.go), or an *Error that points into the source; each condition writes itself as SQL
// (dialect.go holds what another database would say differently) and in plain words.
package segment

import (
	_ "embed"
	"time"

	"mailer/internal/contact"
)

// Help is the manual of the language, Markdown.
//
//go:embed help.md
var Help string

// Schema is what an expression may speak of.
type Schema struct {
	Fields    []contact.Field
	Lists     map[string]int64 // ids by name
	Campaigns map[string]int64 // that were sent; ids by name
	Now       time.Time        // what now(), today() and ago() start from
	Location  *time.Location   // whose days they are; UTC when nil

	// Whether the list or campaign of this id reaches few of the contacts; nil: none does. Who is picked does not hang on
	// it, only how soon. It is asked of those that the expression names.
	FewOnList, FewInCampaign func(id int64) bool
}

// Query is a condition over `contacts AS c` with a `?` for each argument. Where a field is missing it can be NULL, which
// counts as false: in a WHERE that needs no care, to turn it around use Not.
type Query struct {
	SQL  string
	Args []any
}

// Not is the query of everybody else.
func (q Query) Not() Query { return Query{SQL: "(" + q.SQL + ") IS NOT TRUE", Args: q.Args} }

// Compile makes a query of an expression; an empty one is everybody. The error is an *Error.
func Compile(src string, s Schema) (Query, error) {
	c, _, err := check(src, s)
	if err != nil {
		return Query{}, err
	}
	return query(c), nil
}

// Explanation takes an expression apart.
type Explanation struct {
	Query     Query
	Clauses   []Clause        // the whole expression first, each clause followed by its parts
	Fields    []contact.Field // the fields that it looks at, in the order of their first use
	Lists     []string        // the lists likewise
	Campaigns []string        // the campaigns likewise
	Notes     []string        // what is allowed and probably not meant
	Seeks     []Seek          // what all of its people have in common and an index on the field finds
}

// Seek is a condition that an index on its field can answer.
type Seek struct {
	Field contact.Field
	Query Query
}

// Clause is one part of an expression.
type Clause struct {
	Depth int
	Words string
	Query Query
}

// Explain compiles an expression and tells what each part of it asks.
func Explain(src string, s Schema) (Explanation, error) {
	c, used, err := check(src, s)
	if err != nil {
		return Explanation{}, err
	}
	return Explanation{Query: query(c), Clauses: clauses(nil, c, 0), Fields: used.fields, Lists: used.lists, Campaigns: used.campaigns,
		Notes: used.notes, Seeks: seeks(nil, c, used.fields)}, nil
}

// seeks lists the comparisons that all of the people of c pass, where an index on the field finds who does: a place or a
// stretch in its order.
func seeks(list []Seek, c cond, fields []contact.Field) []Seek {
	var s subject
	switch c := c.(type) {
	case group:
		if !c.any {
			for _, part := range c.parts {
				list = seeks(list, part, fields)
			}
		}
	case compare:
		if c.op != "!=" {
			s = c.subject
		}
	case oneOf:
		s = c.subject
	case between:
		s = c.subject
	case textTest:
		if c.op == "startsWith" && c.needle != "" {
			s = c.subject
		}
	}
	for _, f := range fields {
		if s.path == f.Path() {
			list = append(list, Seek{f, query(c)})
		}
	}
	return list
}

func check(src string, s Schema) (cond, used, error) {
	if s.Location == nil {
		s.Location = time.UTC
	}
	text, root, err := read(src)
	if err != nil {
		return nil, used{}, err
	}
	c := newChecker(s, text)
	if root == nil {
		return constant(true), used{}, nil
	}
	result, err := c.cond(root)
	if err != nil {
		return nil, used{}, err
	}
	return result, c.used, nil
}

func query(c cond) Query {
	var w writer
	c.sql(&w)
	return Query{SQL: w.String(), Args: w.args}
}

// clauses lists c and its parts, depth first.
func clauses(list []Clause, c cond, depth int) []Clause {
	list = append(list, Clause{Depth: depth, Words: c.words(), Query: query(c)})
	if n, ok := c.(negation); ok {
		c = n.of
	}
	if g, ok := c.(group); ok {
		for _, part := range g.parts {
			list = clauses(list, part, depth+1)
		}
	}
	return list
}
