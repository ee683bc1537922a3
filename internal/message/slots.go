package message

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"text/template/parse"
)

// A campaign is composed once. Its templates are taken apart into ops: constants, whose bytes are encoded at Compile, and
// slots between them, which cost a recipient no more than the values they print. What has a simple shape (fields, their
// fallbacks, if and with on them, functions of texts) becomes closures here; the rest (range, variables, dates, anything new)
// still runs in the template package, but without the text around it. html/template's choice of escapers is taken from
// its tree, so that the context of every value is judged by nobody else.
//
// marked is the same template whole, with slotMark around each slot: what the plain encoder is given (mime.go). Both ways
// give the same bytes, and TestFastIsPlain holds them to it.

// slotMark stands in the output of a marked template where a slot begins and ends. Values never contain it (see column).
const slotMark = "\x1e"

type opKind uint8

const (
	opConstant  opKind = iota
	opSlot             // prints expr
	opIf               // then or other, by expr
	opWith             // the same; the dot in then is expr
	opRest             // a part that the template package runs
	opParagraph        // then, wrapped (wrap.go)
)

type op struct {
	kind        opKind
	text        string // opConstant; its line breaks are \n. opRest: the texts in it
	fixed       *fixed // its encoded forms
	last        bool   // it ends the part as it has to end
	expr        expr
	then, other []op
	rest        int    // opRest: which
	first, next string // opParagraph: what begins its first line, and its others
}

// expr is a pipeline as a closure. It gives false where only the template package can say what is wrong.
type expr struct {
	isBool   bool
	constant bool // the same for every contact
	text     func(p *person) (string, bool)
	truth    func(p *person) (bool, bool) // set when isBool
}

// person is what the closures see of a recipient.
type person struct {
	scope
	address, unsub string
	dot            string // within {{with}}
}

func constant(s string) expr {
	return expr{constant: true, text: func(*person) (string, bool) { return s, true }}
}

// holds is the truth of an expr, as {{if}} has it.
func (e expr) holds(p *person) (bool, bool) {
	if e.isBool {
		return e.truth(p)
	}
	s, ok := e.text(p)
	return s != "", ok
}

// plan is a template taken apart.
type plan struct {
	ops    []op
	rests  [][2]int // the ranges of the root's nodes that opRest stands for
	marked executor
	rest   executor // prints the rests, each ended by slotMark; nil: there are none
}

// planner takes a tree apart.
type planner struct {
	d     *document
	rests [][2]int
}

// takeApart gives the ops of a tree, and its nodes with the marks between them.
func (b *planner) takeApart(root *parse.ListNode) (ops []op, marked []parse.Node) {
	for i := 0; i < len(root.Nodes); {
		more, nodes, ok := b.node(root.Nodes[i], nil)
		end := i + 1
		if !ok {
			end = lastUse(root.Nodes, i)
			b.rests = append(b.rests, [2]int{i, end})
			more = []op{{kind: opRest, rest: len(b.rests) - 1}}
			each(&parse.ListNode{Nodes: root.Nodes[i:end]}, func(n parse.Node) {
				if text, ok := n.(*parse.TextNode); ok {
					text.Text = bytes.ReplaceAll(text.Text, []byte(slotMark), nil) // of branches that would have been simple
					more[0].text += string(text.Text)
				}
			})
			nodes = framed(root.Nodes[i:end])
		}
		ops, marked = appendOps(ops, more), append(marked, nodes...)
		i = end
	}
	return ops, marked
}

// framed puts marks around nodes.
func framed(nodes []parse.Node) []parse.Node {
	list := append([]parse.Node{markNode()}, nodes...)
	return append(list, markNode())
}

func markNode() parse.Node {
	return &parse.TextNode{NodeType: parse.NodeText, Text: []byte(slotMark)}
}

// appendOps joins neighbouring constants.
func appendOps(ops, more []op) []op {
	for _, o := range more {
		if n := len(ops); o.kind == opConstant && n > 0 && ops[n-1].kind == opConstant {
			ops[n-1].text += o.text
		} else if o.kind != opConstant || o.text != "" {
			ops = append(ops, o)
		}
	}
	return ops
}

var variable = regexp.MustCompile(`\$\w`)

// lastUse is the end of the part that begins with nodes[i]: a variable is good until its last use.
func lastUse(nodes []parse.Node, i int) int {
	if !variable.MatchString(nodes[i].String()) {
		return i + 1
	}
	end := i + 1
	for j := i; j < len(nodes); j++ {
		if variable.MatchString(nodes[j].String()) {
			end = j + 1
		}
	}
	return end
}

// list takes the nodes of a branch apart; false: the template package must run them.
func (b *planner) list(l *parse.ListNode, dot *expr) (ops []op, marked []parse.Node, ok bool) {
	if l == nil {
		return nil, nil, true
	}
	for _, n := range l.Nodes {
		more, nodes, ok := b.node(n, dot)
		if !ok {
			return nil, nil, false
		}
		ops, marked = appendOps(ops, more), append(marked, nodes...)
	}
	return ops, marked, true
}

// node takes one node apart. dot is what the dot is, nil: the contact.
func (b *planner) node(n parse.Node, dot *expr) (ops []op, marked []parse.Node, ok bool) {
	switch n := n.(type) {
	case *parse.TextNode:
		return []op{{text: string(n.Text)}}, []parse.Node{n}, true
	case *parse.ActionNode:
		e, ok := b.pipe(n.Pipe, dot)
		if !ok || e.isBool {
			return nil, nil, false
		}
		if e.constant {
			s, ok := e.text(&person{})
			return []op{{text: s}}, []parse.Node{n}, ok
		}
		return []op{{kind: opSlot, expr: e}}, framed([]parse.Node{n}), true
	case *parse.IfNode:
		return b.branch(opIf, n, &n.BranchNode, dot)
	case *parse.WithNode:
		return b.branch(opWith, n, &n.BranchNode, dot)
	}
	return nil, nil, false
}

func (b *planner) branch(kind opKind, whole parse.Node, n *parse.BranchNode, dot *expr) ([]op, []parse.Node, bool) {
	e, ok := b.pipe(n.Pipe, dot)
	if !ok || kind == opWith && e.isBool {
		return nil, nil, false
	}
	inner := dot
	if kind == opWith {
		inner = &expr{text: func(p *person) (string, bool) { return p.dot, true }}
		if e.constant {
			inner = &e
		}
	}
	chosen, both := false, !e.constant
	if e.constant {
		if chosen, ok = e.holds(&person{}); !ok {
			return nil, nil, false
		}
	}
	o := op{kind: kind, expr: e}
	var nodes []parse.Node
	if both || chosen {
		if o.then, nodes, ok = b.list(n.List, inner); !ok {
			return nil, nil, false
		}
	}
	var otherNodes []parse.Node
	if both || !chosen {
		if o.other, otherNodes, ok = b.list(n.ElseList, dot); !ok {
			return nil, nil, false
		}
	}
	// Nothing is changed before all of it is known to be simple.
	if nodes != nil {
		n.List.Nodes = nodes
	}
	if otherNodes != nil {
		n.ElseList.Nodes = otherNodes
	}
	switch {
	case both:
		return []op{o}, framed([]parse.Node{whole}), true
	case chosen:
		return o.then, []parse.Node{whole}, true
	}
	return o.other, []parse.Node{whole}, true
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
	name := function(c)
	if name == "" {
		if len(c.Args) > 1 || len(piped) > 0 {
			return expr{}, false
		}
		return b.arg(c.Args[0], dot)
	}
	if strings.HasPrefix(name, "_") && !strings.HasPrefix(name, "_html_") {
		if e, ok := b.lookup(name, c.Args[1:], len(piped), dot); ok {
			return e, true
		}
	}
	args := make([]expr, 0, len(c.Args))
	for _, a := range c.Args[1:] {
		e, ok := b.arg(a, dot)
		if !ok {
			return expr{}, false
		}
		args = append(args, e)
	}
	return b.call(name, append(args, piped...))
}

func (b *planner) arg(n parse.Node, dot *expr) (expr, bool) {
	switch n := n.(type) {
	case *parse.StringNode:
		return constant(n.Text), true
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
	v, isVariable := args[0].(*parse.VariableNode)
	if !(isVariable && len(v.Ident) == 1 && v.Ident[0] == "$" || args[0].Type() == parse.NodeDot && dot == nil) {
		return expr{}, false
	}
	return b.column(name, key.Text)
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
		}
		if slices.Contains(Reserved, name) {
			return expr{}, false
		}
		optional = function == "_opt"
	case "_field":
	case "_fieldopt":
		optional = true
	case "_has":
		return expr{isBool: true, truth: func(p *person) (bool, bool) {
			_, ok, err := column(&p.scope, name)
			return ok, err == nil
		}}, true
	default:
		return expr{}, false
	}
	return expr{text: func(p *person) (string, bool) {
		v, ok, err := column(&p.scope, name)
		return v, err == nil && (ok || optional)
	}}, true
}

// senderField is {{.sender.name}}.
func (b *planner) senderField(of *parse.PipeNode, key, name string, dot *expr) (expr, bool) {
	if len(of.Decl) > 0 || len(of.Cmds) != 1 || !slices.Contains([]string{"_get", "_opt"}, name) {
		return expr{}, false
	}
	c := of.Cmds[0]
	if f := function(c); (f != "_get" && f != "_opt") || len(c.Args) != 4 || c.Args[3].String() != `"sender"` {
		return expr{}, false
	}
	v, isVariable := c.Args[1].(*parse.VariableNode)
	if !(isVariable && len(v.Ident) == 1 && v.Ident[0] == "$" || c.Args[1].Type() == parse.NodeDot && dot == nil) {
		return expr{}, false
	}
	value, ok := b.d.sender[key]
	return constant(value), ok
}

// settled are our functions that give the same for the same arguments, today and tomorrow.
var settled = map[string]bool{"lang": true, "class": true, "default": true, "upper": true, "lower": true, "title": true, "mailto": true}

// urlFunctions are those of the text part's URLs, for texts.
var urlFunctions = map[string]func(string) string{"_head": headOfURL, "_path": pathOfURL, "_arg": argOfURL}

// call applies a function. What it takes and gives must be texts, which its Go type says.
func (b *planner) call(name string, args []expr) (expr, bool) {
	same := !slices.ContainsFunc(args, func(e expr) bool { return !e.constant })
	own := b.d.program.all[name]
	if own == nil {
		return builtin(name, args, same)
	}
	if slices.ContainsFunc(args, func(e expr) bool { return e.isBool }) {
		return expr{}, false
	}
	if f := urlFunctions[name]; f != nil && len(args) == 1 {
		return apply(f, args[0]), true
	}
	e := expr{constant: same && settled[name]}
	switch f := own.(type) {
	case func() string:
		if len(args) != 0 {
			return expr{}, false
		}
		e.text = func(*person) (string, bool) { return f(), true }
	case func(string) string:
		if len(args) != 1 {
			return expr{}, false
		}
		e.text = apply(f, args[0]).text
	case func(any, any) any:
		if len(args) != 2 {
			return expr{}, false
		}
		e.text = func(p *person) (string, bool) {
			v, ok := texts(p, args)
			if !ok {
				return "", false
			}
			s, ok := f(v[0], v[1]).(string)
			return s, ok
		}
	case func(...any) string:
		e.text = func(p *person) (string, bool) {
			v, ok := texts(p, args)
			if !ok {
				return "", false
			}
			return f(v...), true
		}
	default:
		return expr{}, false
	}
	return e, true
}

func texts(p *person, args []expr) ([]any, bool) {
	list := make([]any, len(args))
	for i, a := range args {
		s, ok := a.text(p)
		if !ok {
			return nil, false
		}
		list[i] = s
	}
	return list, true
}

func apply(f func(string) string, arg expr) expr {
	return expr{constant: arg.constant, text: func(p *person) (string, bool) {
		s, ok := arg.text(p)
		if !ok {
			return "", false
		}
		return f(s), true
	}}
}

// builtin is a function of the template packages.
func builtin(name string, args []expr, same bool) (expr, bool) {
	if f := escapers[name]; f != nil && len(args) == 1 && !args[0].isBool {
		return apply(f, args[0]), true
	}
	e := expr{isBool: true, constant: same}
	switch {
	case (name == "eq" || name == "ne") && len(args) == 2 && !args[0].isBool && !args[1].isBool:
		equal := name == "eq"
		e.truth = func(p *person) (bool, bool) {
			a, ok1 := args[0].text(p)
			b, ok2 := args[1].text(p)
			return (a == b) == equal, ok1 && ok2
		}
	case name == "not" && len(args) == 1:
		e.truth = func(p *person) (bool, bool) {
			v, ok := args[0].holds(p)
			return !v, ok
		}
	case (name == "and" || name == "or") && len(args) > 0:
		return chain(name == "or", args, same)
	default:
		return expr{}, false
	}
	return e, true
}

// chain is and, or: the first argument that settles it, else the last; those behind it are not looked at.
func chain(or bool, args []expr, same bool) (expr, bool) {
	e := expr{isBool: args[0].isBool, constant: same}
	for _, a := range args {
		if a.isBool != e.isBool {
			return expr{}, false
		}
	}
	if e.isBool {
		e.truth = func(p *person) (v, ok bool) {
			for _, a := range args {
				if v, ok = a.truth(p); !ok || v == or {
					break
				}
			}
			return v, ok
		}
		return e, true
	}
	e.text = func(p *person) (v string, ok bool) {
		for _, a := range args {
			if v, ok = a.text(p); !ok || (v != "") == or {
				break
			}
		}
		return v, ok
	}
	return e, true
}

// inline puts the templates that are called with the contact in the place of their calls, so that a layout and what it
// frames are one list of nodes. trees are not changed.
func (t *trees) inline(root string) *trees {
	out := newTrees()
	out.sources = t.sources
	for name, tree := range t.list {
		out.list[name] = tree.Copy()
	}
	out.list[root].Root = t.inlined(out.list[root].Root)
	return out
}

func (t *trees) inlined(l *parse.ListNode) *parse.ListNode {
	if l == nil {
		return nil
	}
	var nodes []parse.Node
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.TemplateNode:
			if body := t.list[n.Name]; n.Pipe != nil && isDot(n.Pipe) && !declares(body.Root) {
				nodes = append(nodes, t.inlined(body.Root.CopyList()).Nodes...)
				continue
			}
		case *parse.IfNode:
			n.List, n.ElseList = t.inlined(n.List), t.inlined(n.ElseList)
		}
		nodes = append(nodes, n)
	}
	l.Nodes = nodes
	return l
}

func isDot(p *parse.PipeNode) bool {
	return len(p.Decl) == 0 && len(p.Cmds) == 1 && len(p.Cmds[0].Args) == 1 && p.Cmds[0].Args[0].Type() == parse.NodeDot
}

// declares reports whether a list has a variable of its own, which must not be seen outside it.
func declares(l *parse.ListNode) bool {
	return slices.ContainsFunc(l.Nodes, func(n parse.Node) bool {
		a, ok := n.(*parse.ActionNode)
		return ok && len(a.Pipe.Decl) > 0
	})
}
