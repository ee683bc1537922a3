package message

import (
	"bytes"
	"regexp"
	"slices"
	"text/template/parse"
)

// A campaign is composed once. Its templates are taken apart into ops: constants, whose bytes are encoded at Compile, and
// slots between them, which cost a recipient no more than the values they print. What has a simple shape (fields, their
// fallbacks, if and with on them, our functions) becomes closures (expr.go); the rest (range, variables, anything new) still
// runs in the template package, but without the text around it. html/template's choice of escapers is taken from
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
		if ok {
			e, ok = e.printed()
		}
		if !ok {
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
	if !ok || kind == opWith && e.kind != kindText && !e.constant {
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
			if body := t.list[n.Name]; isContact(n.Pipe) && !declares(body.Root) {
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

// isContact: where the dot is the contact, $ is it too.
func isContact(p *parse.PipeNode) bool {
	if p == nil || len(p.Decl) > 0 || len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 {
		return false
	}
	return p.Cmds[0].Args[0].Type() == parse.NodeDot || p.Cmds[0].Args[0].String() == "$"
}

// declares reports whether a list has a variable of its own, which must not be seen outside it.
func declares(l *parse.ListNode) bool {
	return slices.ContainsFunc(l.Nodes, func(n parse.Node) bool {
		a, ok := n.(*parse.ActionNode)
		return ok && len(a.Pipe.Decl) > 0
	})
}
