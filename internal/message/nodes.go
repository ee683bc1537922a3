package message

import (
	"strconv"
	"text/template/parse"
)

// nodeMaker makes nodes that are at home in a text. text/template says where a node is from the text of its tree, which a
// node can only get by being copied from another one. Without a tree it takes the one that is running, and if that is shorter
// than the node's place (a body in its layout, html/template's own trees, which are empty) it panics.
type nodeMaker struct {
	pipe *parse.PipeNode
	call *parse.TemplateNode
}

// samples has a node of each kind; what stands before it are the lines of the text.
const samples = `{{_ . $ "s" 1}}{{template "t"}}`

func newNodeMaker(name, text string) (*nodeMaker, error) {
	lines := []byte(text) // places count bytes
	for i, c := range lines {
		if c != '\n' {
			lines[i] = 'x'
		}
	}
	t := parse.New(name)
	t.Mode = parse.SkipFuncCheck
	t, err := t.Parse(string(lines)+samples, "", "", map[string]*parse.Tree{})
	if err != nil {
		return nil, err
	}
	m := &nodeMaker{}
	for _, n := range t.Root.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			m.pipe = n.Pipe
		case *parse.TemplateNode:
			m.call = n
		}
	}
	return m, nil
}

func (m *nodeMaker) sample(i int) parse.Node { return m.pipe.Cmds[0].Args[i].Copy() }

func (m *nodeMaker) function(pos parse.Pos, name string) parse.Node {
	n := m.sample(0).(*parse.IdentifierNode)
	n.Ident, n.Pos = name, pos
	return n
}

func (m *nodeMaker) dot(pos parse.Pos) parse.Node {
	n := m.sample(1).(*parse.DotNode)
	n.Pos = pos
	return n
}

func (m *nodeMaker) variable(pos parse.Pos, name string) parse.Node {
	n := m.sample(2).(*parse.VariableNode)
	n.Ident, n.Pos = []string{name}, pos
	return n
}

// contact is $, or the dot.
func (m *nodeMaker) contact(pos parse.Pos, dot bool) parse.Node {
	if dot {
		return m.dot(pos)
	}
	return m.variable(pos, "$")
}

func (m *nodeMaker) text(pos parse.Pos, s string) parse.Node {
	n := m.sample(3).(*parse.StringNode)
	n.Text, n.Quoted, n.Pos = s, strconv.Quote(s), pos
	return n
}

func (m *nodeMaker) number(pos parse.Pos, i int) parse.Node {
	n := m.sample(4).(*parse.NumberNode)
	n.Int64, n.Uint64, n.Float64, n.Text, n.Pos = int64(i), uint64(i), float64(i), strconv.Itoa(i), pos
	return n
}

func (m *nodeMaker) command(pos parse.Pos, args ...parse.Node) *parse.CommandNode {
	n := m.pipe.Cmds[0].Copy().(*parse.CommandNode)
	n.Args, n.Pos = args, pos
	return n
}

// pipeline is a command in brackets.
func (m *nodeMaker) pipeline(pos parse.Pos, args ...parse.Node) *parse.PipeNode {
	n := m.pipe.CopyPipe()
	n.Pos, n.Cmds = pos, []*parse.CommandNode{m.command(pos, args...)}
	return n
}

func (m *nodeMaker) template(pos parse.Pos, line int, name string, pipe *parse.PipeNode) parse.Node {
	n := m.call.Copy().(*parse.TemplateNode)
	n.Pos, n.Line, n.Name, n.Pipe = pos, line, name, pipe
	return n
}
