package message

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"mailer/internal/campaign"
	"mailer/internal/spelling"
)

// A program is what all templates of one document share: their functions, and a table of every place where they ask for
// a field. text/template cannot say which field a contact lacks without stopping at `if` and `default` too, so each
// access is rewritten, once, in the parsed tree:
//
//	{{.name}}                    -> {{_get . 7 "name"}}      missing: an error that names field, file, line and column
//	{{default "x" .name}}        -> {{default "x" (_opt . 8 "name")}}         missing: ""
//	{{if .name}}, with, range    -> the same
//	{{field "Company Name"}}     -> {{_field $ 9 "Company Name"}}
//	{{range .tags}}              -> {{range _opt . 10 "tags" | _items}}       lists only, so that no loop is endless
//
// The number is an index into refs.
type program struct {
	refs      []Ref
	constants map[string]string // lang, language and class
	public    template.FuncMap  // what an author may call
	all       template.FuncMap
}

// Ref is one place where a template asks for a field.
type Ref struct {
	Field     string // "" where the name is computed, or looked up in something that may not be the contact
	File      string
	Line, Col int
	Optional  bool // it may be missing here
	Own       bool // asked for with field or has: a column even where the name is one of ours
}

// trees are the parsed templates of one output, by name, and where they came from.
type trees struct {
	list    map[string]*parse.Tree
	sources map[string]*source
}

func newTrees() *trees {
	return &trees{list: map[string]*parse.Tree{}, sources: map[string]*source{}}
}

// add parses a source under a name, with every template that it defines. A later one of the same name wins: a body can
// fill a block of the layout.
func (p *program) add(t *trees, name string, s *source) error {
	t.sources[name] = s
	funcs := p.public
	if s.spans != nil {
		funcs = p.all // the text was generated from one that has been checked
	}
	tmpl, err := template.New(name).Funcs(funcs).Parse(s.text)
	if err != nil {
		return explain(locate(t.sources, err), p)
	}
	t.list[name] = &parse.Tree{Name: name, ParseName: name, Root: &parse.ListNode{NodeType: parse.NodeList}}
	maker, err := newNodeMaker(name, s.text)
	if err != nil {
		return locate(t.sources, err)
	}
	for _, d := range tmpl.Templates() {
		if d.Tree == nil || d.Name() != name && parse.IsEmptyTree(d.Root) {
			continue
		}
		w := &rewriter{program: p, source: s, make: maker}
		w.list(d.Root, d.Name() == name)
		if w.err != nil {
			return w.err
		}
		t.list[d.Name()] = d.Tree
	}
	return nil
}

// rewriter walks one tree.
type rewriter struct {
	*program
	source *source
	make   *nodeMaker
	root   bool // the dot is the contact
	piped  bool // the command takes what the one before it gave
	moved  int  // how many with and range are around: the dot is not what the template was called with
	err    error
}

func (w *rewriter) fail(pos parse.Pos, format string, args ...any) {
	if w.err == nil {
		line, col := w.source.position(int(pos))
		w.err = &RenderError{File: w.source.file, Line: line, Col: col, msg: fmt.Sprintf(format, args...)}
	}
}

// list rewrites the nodes of a list; root: the dot is the contact here.
func (w *rewriter) list(l *parse.ListNode, root bool) {
	if l == nil {
		return
	}
	l.Nodes = w.foldAll(l.Nodes)
	for i, n := range l.Nodes {
		w.root = root
		switch n := n.(type) {
		case *parse.TextNode:
			n.Text = bytes.ReplaceAll(n.Text, []byte(slotMark), nil)
		case *parse.ActionNode:
			if call := w.include(n); call != nil {
				l.Nodes[i] = call
				continue
			}
			if c := n.Pipe.Cmds; root && len(n.Pipe.Decl) == 0 && len(c) == 1 && c[0].Args[0].Type() == parse.NodeDot {
				w.fail(n.Pos, "{{.}} is the whole contact here; name a field: {{.email}}")
			}
			w.pipe(n.Pipe, false)
		case *parse.TemplateNode:
			w.pipe(n.Pipe, false)
		case *parse.IfNode:
			w.branch(&n.BranchNode, root, root)
		case *parse.WithNode:
			w.moved++
			w.branch(&n.BranchNode, false, root)
			w.moved--
		case *parse.RangeNode:
			w.moved++
			w.branch(&n.BranchNode, false, root)
			w.moved--
			items := w.make.function(n.Pipe.Pos, "_items")
			n.Pipe.Cmds = append(n.Pipe.Cmds, w.make.command(n.Pipe.Pos, items))
		}
	}
}

// foldAll puts the branch that holds in the place of every {{if eq lang "ja"}}: a document's language and class never
// change, and a footer in ten languages would cost every recipient ten comparisons.
func (w *rewriter) foldAll(nodes []parse.Node) []parse.Node {
	var out []parse.Node
	for _, n := range nodes {
		branch, known := w.fold(n)
		switch {
		case !known:
			out = append(out, n)
		case branch != nil:
			out = append(out, w.foldAll(branch.Nodes)...)
		}
	}
	return out
}

// fold is the branch that holds, nil for none; known is false where that hangs on the contact.
func (w *rewriter) fold(n parse.Node) (branch *parse.ListNode, known bool) {
	f, ok := n.(*parse.IfNode)
	if !ok || len(f.Pipe.Decl) > 0 || len(f.Pipe.Cmds) != 1 || len(f.Pipe.Cmds[0].Args) != 3 {
		return nil, false
	}
	args := f.Pipe.Cmds[0].Args
	op := function(f.Pipe.Cmds[0])
	name, isName := args[1].(*parse.IdentifierNode)
	want, isText := args[2].(*parse.StringNode)
	if !isName || !isText || op != "eq" && op != "ne" {
		return nil, false
	}
	value, ok := w.constants[name.Ident]
	if !ok {
		return nil, false
	}
	branch = f.ElseList
	if (value == want.Text) == (op == "eq") {
		branch = f.List
	}
	if branch != nil {
		for _, n := range branch.Nodes { // its variables would come out of their scope
			if a, ok := n.(*parse.ActionNode); ok && len(a.Pipe.Decl) > 0 && !a.Pipe.IsAssign {
				return nil, false
			}
		}
	}
	return branch, true
}

func (w *rewriter) branch(n *parse.BranchNode, body, otherwise bool) {
	w.pipe(n.Pipe, true)
	w.list(n.List, body)
	w.list(n.ElseList, otherwise)
}

// pipe rewrites a pipeline; lenient: a missing field is "" in it.
func (w *rewriter) pipe(p *parse.PipeNode, lenient bool) {
	if p == nil {
		return
	}
	for _, v := range p.Decl {
		if v.Ident[0] == "$" { // field, relative and the like find the contact there
			w.fail(v.Pos, "$ is the contact and stays it; give the variable a name: {{$x := ...}}")
		}
	}
	for i, c := range p.Cmds {
		w.piped = i > 0
		w.command(c, lenient || slices.ContainsFunc(p.Cmds[i+1:], takesMissing))
	}
}

// isNumeric: the argument is a number, beside which a field is compared as one.
func isNumeric(n parse.Node) bool {
	switch n := n.(type) {
	case *parse.NumberNode:
		return true
	case *parse.PipeNode:
		f := function(n.Cmds[len(n.Cmds)-1])
		return f == "_days" || f == "len"
	case *parse.VariableNode:
		return true // it may be one
	}
	return false
}

// takesMissing: the function says what stands for a missing field that is piped into it.
func takesMissing(c *parse.CommandNode) bool {
	f := function(c)
	return f == "default" || isHonorific(f)
}

func function(c *parse.CommandNode) string {
	if id, ok := c.Args[0].(*parse.IdentifierNode); ok {
		return id.Ident
	}
	return ""
}

func (w *rewriter) command(c *parse.CommandNode, lenient bool) {
	name, last, piped := function(c), len(c.Args)-1, w.piped
	if name == "include" {
		w.fail(c.Pos, `include stands alone in its action, with the name of a partial in quotes: {{include "footer"}}`)
		return
	}
	for i, arg := range c.Args {
		c.Args[i] = w.arg(arg, lenient || argMayMiss(name, i, last))
	}
	switch name {
	case "field", "has":
		w.contactFunction(c, name, lenient)
	case "eq", "ne", "lt", "le", "gt", "ge":
		if name != "eq" && name != "ne" || slices.ContainsFunc(c.Args[1:], isNumeric) || piped {
			c.Args[0] = w.make.function(c.Pos, "_"+name) // compare.go
		}
	case "relative", "days": // they see the time of the message
		id := w.make.function(c.Pos, "_"+name)
		root := w.make.variable(c.Pos, "$")
		c.Args = append([]parse.Node{id, root}, c.Args[1:]...)
	case "":
		w.unwrap(c)
	}
}

// argMayMiss: `default` takes a missing field in its last argument only (the fallback must be there), `or` in all but
// its last.
func argMayMiss(function string, i, last int) bool {
	switch function {
	case "default":
		return i == last && i > 1
	case "or":
		return i > 0 && i < last
	}
	return isHonorific(function) && i > 0
}

// isHonorific: the functions for names, which have a fallback of their own or hand "" on to one that has.
func isHonorific(function string) bool {
	switch function {
	case "sama", "onchu", "sei", "mei":
		return true
	}
	return false
}

// contactFunction gives field and has the contact, which functions of text/template cannot see by themselves.
func (w *rewriter) contactFunction(c *parse.CommandNode, name string, lenient bool) {
	if name == "field" && lenient {
		name = "fieldopt"
	}
	field := ""
	if len(c.Args) > 1 {
		if s, ok := c.Args[1].(*parse.StringNode); ok {
			field = s.Text
		}
	}
	id := w.make.function(c.Pos, "_"+name)
	root := w.make.variable(c.Pos, "$")
	ref := w.ref(c.Pos, Ref{Field: field, Optional: name != "field", Own: true})
	c.Args = append([]parse.Node{id, root, ref}, c.Args[1:]...)
}

// unwrap makes {{(_get . 1 "x")}} of one command into that command.
func (w *rewriter) unwrap(c *parse.CommandNode) {
	p, ok := c.Args[0].(*parse.PipeNode)
	if !ok || len(p.Cmds) != 1 || len(p.Decl) > 0 || function(p.Cmds[0]) == "" {
		return
	}
	if len(c.Args) > 1 {
		w.fail(c.Pos, "a field is no function: it takes no arguments")
		return
	}
	c.Args = p.Cmds[0].Args
}

// arg rewrites one argument.
func (w *rewriter) arg(n parse.Node, lenient bool) parse.Node {
	switch n := n.(type) {
	case *parse.StringNode:
		n.Text = unmarked(n.Text)
	case *parse.FieldNode:
		dot := w.make.dot(n.Pos)
		return w.get(n.Pos, dot, n.Ident, lenient)
	case *parse.VariableNode:
		if len(n.Ident) > 1 {
			v := w.make.variable(n.Pos, n.Ident[0])
			return w.get(n.Pos, v, n.Ident[1:], lenient)
		}
	case *parse.ChainNode:
		n.Node = w.arg(n.Node, lenient)
		return w.get(n.Pos, n.Node, n.Field, lenient)
	case *parse.PipeNode:
		w.pipe(n, lenient)
	}
	return n
}

// get is (_get OF ref "a"), for each name of a chain around the one before.
func (w *rewriter) get(pos parse.Pos, of parse.Node, names []string, lenient bool) parse.Node {
	function := "_get"
	if lenient {
		function = "_opt"
	}
	for i, name := range names {
		ref := Ref{Field: name, Optional: lenient}
		if i > 0 || of.Type() == parse.NodeDot && !w.root || of.Type() == parse.NodeVariable && of.String() != "$" {
			ref.Field = ""
		}
		of = w.make.pipeline(pos, w.make.function(pos, function), of, w.ref(pos, ref), w.make.text(pos, name))
	}
	return of
}

// ref enters a place in the table and gives the constant that stands for it.
func (w *rewriter) ref(pos parse.Pos, r Ref) parse.Node {
	r.File = w.source.file
	r.Line, r.Col = w.source.position(int(pos))
	w.refs = append(w.refs, r)
	i := len(w.refs) - 1
	return w.make.number(pos, i)
}

// closed checks that every {{template}} is there and none comes back to itself: a template's run is bounded.
func (t *trees) closed() error {
	state := map[string]int{} // 1: being visited, 2: done
	var visit func(name string) error
	visit = func(name string) error {
		state[name] = 1
		for _, call := range calls(t.list[name].Root) {
			s := t.sources[t.list[name].ParseName]
			line, col := s.position(int(call.Pos))
			at := &RenderError{File: s.file, Line: line, Col: col}
			switch {
			case t.list[call.Name] == nil && strings.HasPrefix(call.Name, partialPrefix):
				at.msg = campaign.MissingPartial(strings.TrimPrefix(call.Name, partialPrefix))
				return at
			case t.list[call.Name] == nil:
				at.msg = fmt.Sprintf("there is no template %q", call.Name)
				if near := spelling.Nearest(call.Name, t.names()); near != "" {
					at.msg += fmt.Sprintf("; did you mean %q?", near)
				}
				return at
			case state[call.Name] == 1:
				at.msg = fmt.Sprintf("the template %q calls itself", strings.TrimPrefix(call.Name, partialPrefix))
				return at
			case state[call.Name] == 0:
				if err := visit(call.Name); err != nil {
					return err
				}
			}
		}
		state[name] = 2
		return nil
	}
	for _, name := range t.names() {
		if state[name] == 0 {
			if err := visit(name); err != nil {
				return err
			}
		}
	}
	return t.bounded()
}

// maxSteps bounds the nodes that a template can come to, every list counted as full. Two ranges in each other pass, with
// a hundred nodes within; three do not.
const maxSteps = 100 * maxItems * maxItems

// bounded checks what a run can cost at most. No template calls itself here, so it is a number.
func (t *trees) bounded() error {
	known := map[string]int{}
	var cost func(l *parse.ListNode) int
	call := func(name string) int {
		n, ok := known[name]
		if !ok && t.list[name] != nil {
			n = cost(t.list[name].Root)
			known[name] = n
		}
		return n
	}
	cost = func(l *parse.ListNode) (sum int) {
		if l == nil {
			return 0
		}
		for _, n := range l.Nodes {
			sum++
			switch n := n.(type) {
			case *parse.TemplateNode:
				sum += call(n.Name)
			case *parse.IfNode:
				sum += cost(n.List) + cost(n.ElseList)
			case *parse.WithNode:
				sum += cost(n.List) + cost(n.ElseList)
			case *parse.RangeNode:
				sum += maxItems*cost(n.List) + cost(n.ElseList)
			}
			sum = min(sum, 2*maxSteps)
		}
		return sum
	}
	for _, name := range t.names() {
		if call(name) > maxSteps {
			s := t.sources[t.list[name].ParseName]
			return &RenderError{File: s.file, Line: s.line, msg: "the template can run for too long: there are ranges within ranges within ranges, or templates that call others many times"}
		}
	}
	return nil
}

func (t *trees) names() []string {
	var names []string
	for name := range t.list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// calls lists the {{template}} actions under a list.
func calls(l *parse.ListNode) (found []*parse.TemplateNode) {
	each(l, func(n parse.Node) {
		if call, ok := n.(*parse.TemplateNode); ok {
			found = append(found, call)
		}
	})
	return found
}

// each calls fn for every node under a list.
func each(l *parse.ListNode, fn func(parse.Node)) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		fn(n)
		switch n := n.(type) {
		case *parse.IfNode:
			each(n.List, fn)
			each(n.ElseList, fn)
		case *parse.WithNode:
			each(n.List, fn)
			each(n.ElseList, fn)
		case *parse.RangeNode:
			each(n.List, fn)
			each(n.ElseList, fn)
		}
	}
}

// sourceOf finds where a node that html/template complains about came from: the error names the template that it began
// with, and the node may be a copy.
func (t *trees) sourceOf(node parse.Node) (found *source) {
	if node == nil {
		return nil
	}
	for _, name := range t.names() {
		each(t.list[name].Root, func(n parse.Node) {
			if found == nil && n.Type() == node.Type() && n.Position() == node.Position() && n.String() == node.String() {
				found = t.sources[t.list[name].ParseName]
			}
		})
	}
	return found
}
