package message

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"

	htmltemplate "html/template"
	texttemplate "text/template"

	"mailer/internal/campaign"
)

// skeleton is what all messages of a document share, in the order of a message. Between its pieces go the recipient's.
type skeleton struct {
	mailboxes []byte // From, Reply-To
	subject   line
	toName    line
	stream    []byte // List-Id, Precedence and their like
	headers   []line // of the front matter
	parts     [][]byte
	paths     []line // of the recipient's own files
	runs      bool   // the template package is needed for something
	end       []byte // closes the message: those files go before it
}

// line is a header field: its bytes, where it is the same for everybody, else ops.
type line struct {
	name  string
	key   string // of the front matter
	text  string
	bytes []byte
	ops   []op     // nil: it is fixed
	run   executor // or it needs the template package
}

// build makes the skeleton.
func (d *document) build() {
	s := &skeleton{}
	var ok [2]bool
	s.subject, ok[0] = d.line("Subject", "subject", d.subject)
	s.toName, ok[1] = line{}, true
	if d.toName != nil {
		s.toName, ok[1] = d.line("", "to_name", d.toName)
	}
	if !ok[0] || !ok[1] {
		return
	}
	for _, h := range d.headers {
		l, ok := d.line(h.name, "headers", h.compiled)
		if !ok {
			return
		}
		s.headers = append(s.headers, l)
	}
	for _, p := range d.personal {
		l, ok := d.line("", "attach", p.compiled)
		if !ok {
			return
		}
		s.paths = append(s.paths, l)
	}
	s.mailboxes = d.mailboxes(nil)
	s.stream = d.stream(nil, d.headerNames())
	var chunk []byte
	cut := func(b []byte, p *part) []byte {
		if p.encoded != nil {
			return append(b, p.encoded...)
		}
		s.parts = append(s.parts, b)
		return nil
	}
	s.parts = append(s.parts, d.structure(output{}).append(append(chunk, "MIME-Version: 1.0\r\n"...), d.seed(), cut))
	for _, l := range slices.Concat([]line{s.subject, s.toName}, s.headers, s.paths) {
		s.runs = s.runs || l.run != nil
	}
	for _, c := range []*compiled{d.text, d.html} {
		s.runs = s.runs || c != nil && (c.plan == nil || c.plan.rest != nil)
	}
	if len(s.paths) > 0 {
		s.end = []byte("--" + boundary(d.seed()) + "--\r\n")
		last := &s.parts[len(s.parts)-1]
		*last = bytes.TrimSuffix(*last, s.end)
	}
	d.skeleton = s
}

// line takes a header field apart; false: it is wrong for everybody.
func (d *document) line(name, key string, c *compiled) (line, bool) {
	l := line{name: name, key: key}
	b := planner{d: d}
	ops, _ := b.takeApart(c.root.CopyList())
	if len(b.rests) > 0 {
		l.run = c.executor
		return l, true
	}
	if len(ops) > 1 || len(ops) == 1 && ops[0].kind != opConstant {
		l.ops = ops
		return l, true
	}
	text := ""
	if len(ops) == 1 {
		text = ops[0].text
	}
	if checkHeaderText(text) != nil {
		return l, false
	}
	l.text = headerValue(text)
	l.bytes = appendText(nil, name, l.text)
	return l, true
}

func headerValue(s string) string { return strings.TrimSpace(strings.ToValidUTF8(s, "\ufffd")) }

// value is the field's text for a recipient.
func (f *filler) value(l line) (string, bool) {
	s, ok := "", false
	switch {
	case l.run != nil:
		ok = f.execute(l.run)
		s = f.rest.String()
	case l.ops != nil:
		s, ok = f.line(l.ops)
	default:
		return l.text, true
	}
	if !ok || checkHeaderText(s) != nil {
		return "", false
	}
	return headerValue(s), true
}

// plan takes a template apart; nil: it runs whole.
func (d *document) plan(t *trees, root string, page bool) *plan {
	marked, tree := d.instance(t, root, page)
	if marked == nil || !page && !t.wellMarked(tree.Nodes, false) {
		return nil
	}
	b := planner{d: d}
	p := &plan{marked: marked}
	var nodes []parse.Node
	p.ops, nodes = b.takeApart(tree)
	if p.rests = b.rests; len(p.rests) > 0 {
		rest, restTree := d.instance(t, root, page)
		p.rest = rest
		var kept []parse.Node
		for _, r := range p.rests {
			kept = append(append(kept, restTree.Nodes[r[0]:r[1]]...), markNode())
		}
		restTree.Nodes = kept
	}
	tree.Nodes = nodes
	var ok bool
	if page {
		ok = d.linkConstants(p.ops)
	} else {
		p.ops, ok = paragraphs(p.ops)
	}
	if !ok {
		return nil
	}
	return p
}

// instance is a template of its own whose tree may be changed. html/template has chosen its escapers by then.
func (d *document) instance(t *trees, root string, page bool) (executor, *parse.ListNode) {
	t = t.inline(root)
	if !page {
		out := texttemplate.New(root).Funcs(d.program.all)
		for _, n := range t.names() {
			if _, err := out.AddParseTree(n, t.list[n]); err != nil {
				return nil, nil
			}
		}
		out = out.Lookup(root)
		return out, out.Root
	}
	out := htmltemplate.New(root).Funcs(htmltemplate.FuncMap(d.program.all))
	for _, n := range t.names() {
		if _, err := out.AddParseTree(n, t.list[n]); err != nil {
			return nil, nil
		}
	}
	out = out.Lookup(root)
	if d.escape(out, t) != nil || out.Tree == nil {
		return nil, nil
	}
	return out, out.Tree.Root
}

var halfCID = regexp.MustCompile(`["']cid:[^"']*$`)

// linkConstants does linkEmbedded's work in the constants; false: a name of a file is put together from pieces.
func (d *document) linkConstants(ops []op) bool {
	if len(d.variant.Embed) == 0 {
		return true
	}
	for i := range ops {
		o := &ops[i]
		if !d.linkConstants(o.then) || !d.linkConstants(o.other) || halfCID.MatchString(o.text) {
			return false
		}
		o.text = d.linkEmbedded(o.text)
	}
	return true
}

// wellMarked reports whether every paragraph of the text part begins and ends in the same list of nodes: no branch takes one
// of its marks away. inside: a paragraph is open around the list.
func (t *trees) wellMarked(nodes []parse.Node, inside bool) bool {
	open := inside
	for _, n := range nodes {
		lists := []*parse.ListNode{}
		switch n := n.(type) {
		case *parse.TextNode:
			for _, c := range n.Text {
				switch string(c) {
				case markBegin:
					if open {
						return false
					}
					open = true
				case markEnd:
					if !open || inside {
						return false
					}
					open = false
				}
			}
		case *parse.TemplateNode:
			if open || !t.wellMarked(t.list[n.Name].Root.Nodes, false) {
				return false
			}
		case *parse.IfNode:
			lists = append(lists, n.List, n.ElseList)
		case *parse.WithNode:
			lists = append(lists, n.List, n.ElseList)
		case *parse.RangeNode:
			lists = append(lists, n.List, n.ElseList)
		}
		for _, l := range lists {
			if l != nil && !t.wellMarked(l.Nodes, open) {
				return false
			}
		}
	}
	return open == inside
}

// paragraphs gathers what stands between the marks of a paragraph into an op; false: they do not match, because a rest
// swallowed one.
func paragraphs(ops []op) ([]op, bool) {
	var out []op
	var para *op
	for _, o := range ops {
		var ok1, ok2 bool
		if para == nil {
			if o.then, ok1 = paragraphs(o.then); !ok1 {
				return nil, false
			}
			if o.other, ok2 = paragraphs(o.other); !ok2 {
				return nil, false
			}
		}
		if o.kind == opRest && strings.Count(o.text, markBegin) != strings.Count(o.text, markEnd) {
			return nil, false
		}
		if o.kind != opConstant {
			if para != nil {
				if o.kind == opRest && strings.ContainsAny(o.text, marks) {
					return nil, false
				}
				para.then = append(para.then, o)
			} else {
				out = append(out, o)
			}
			continue
		}
		for s := o.text; s != ""; {
			if para == nil {
				before, rest, found := strings.Cut(s, markBegin)
				if strings.Contains(before, markEnd) {
					return nil, false
				}
				out = appendOps(out, []op{{text: before}})
				if s = rest; found {
					para = &op{kind: opParagraph}
					var ok1, ok2 bool
					para.first, s, ok1 = strings.Cut(s, markSep)
					para.next, s, ok2 = strings.Cut(s, markSep)
					if !ok1 || !ok2 {
						return nil, false
					}
				}
				continue
			}
			before, rest, found := strings.Cut(s, markEnd)
			para.then = appendOps(para.then, []op{{text: before}})
			if s = rest; found {
				out, para = append(out, *para), nil
			}
		}
	}
	return out, para == nil
}

// compose makes a message of what the recipient is; false: only the plain way can do it, or say what is wrong.
func (d *document) fill(f *filler, files *files, r Recipient, m Mark, full bool) (Message, bool, error) {
	s := d.skeleton
	f.buf = f.buf[:0]
	subject, ok := f.value(s.subject)
	if !ok {
		return Message{}, false, nil
	}
	msg := Message{Subject: subject, From: d.from.Text, FromName: d.from.Name, SMTPUTF8: d.smtpUTF8(r)}
	b, ok, err := d.fillHeader(f, r, m, subject)
	if !ok || err != nil {
		return Message{}, ok, err
	}
	for i, part := range []*compiled{d.text, d.html} {
		if part == nil {
			continue
		}
		b = append(b, s.parts[i]...)
		if !f.fill(part) {
			return Message{}, false, nil
		}
		f.finish(i == 0)
		b = f.appendPart(b, part.base64)
		switch {
		case full && i == 0:
			msg.Text = f.joined()
		case full:
			msg.HTML = f.joined()
		}
	}
	b = append(b, s.parts[len(s.parts)-1]...)
	if b, ok, err = d.fillFiles(f, files, b); !ok || err != nil {
		return Message{}, ok, err
	}
	f.out = b
	msg.Raw, err = d.signed(f.out)
	return msg, true, err
}

// fillFiles writes the recipient's own files and closes the message.
func (d *document) fillFiles(f *filler, files *files, b []byte) ([]byte, bool, error) {
	s := d.skeleton
	if len(s.paths) == 0 {
		return b, true, nil
	}
	paths, ok := f.values(s.paths)
	if !ok {
		return b, false, nil
	}
	parts, err := d.ownFiles(files, paths)
	for _, p := range parts {
		b = append(append(b, s.end[:len(s.end)-len("--\r\n")]...), "\r\n"...)
		b = append(p.append(b, "", nil), "\r\n"...)
	}
	return append(b, s.end...), true, err
}

// values are the texts of several fields.
func (f *filler) values(list []line) ([]string, bool) {
	var all []string
	for _, l := range list {
		v, ok := f.value(l)
		if !ok {
			return nil, false
		}
		all = append(all, v)
	}
	return all, true
}

// look executes a document for the check before sending, as execute does.
func (d *document) look(f *filler) (out output, ok bool) {
	s := d.skeleton
	out = output{doc: d, unsub: f.unsub}
	f.buf = f.buf[:0]
	var names []string
	if names, ok = f.values([]line{s.subject, s.toName}); !ok {
		return out, false
	}
	out.subject, out.toName = names[0], names[1]
	values, ok := f.values(s.headers)
	if !ok {
		return out, false
	}
	for i, v := range values {
		out.headers = append(out.headers, campaign.Header{Name: s.headers[i].name, Value: v})
	}
	if out.paths, ok = f.values(s.paths); !ok {
		return out, false
	}
	for i, part := range []*compiled{d.text, d.html} {
		if part == nil {
			continue
		}
		if !f.fill(part) {
			return out, false
		}
		f.finish(i == 0)
		if i == 0 {
			out.text = f.joined()
		} else {
			out.html = f.joined()
		}
	}
	return out, true
}

func (d *document) fillHeader(f *filler, r Recipient, m Mark, subject string) ([]byte, bool, error) {
	s := d.skeleton
	toName, ok := f.value(s.toName)
	if !ok {
		return nil, false, nil
	}
	if err := checkMessageID(m.MessageID); err != nil {
		return nil, true, err
	}
	b := append(f.out[:0], "Date: "...)
	b = append(m.Date.In(d.location).AppendFormat(b, dateLayout), "\r\n"...)
	b = append(b, s.mailboxes...)
	b = appendMailbox(b, "To", toName, r.Address)
	if s.subject.bytes != nil {
		b = append(b, s.subject.bytes...)
	} else {
		b = appendText(b, "Subject", subject)
	}
	b = append(append(append(b, "Message-ID: <"...), m.MessageID...), ">\r\n"...)
	b = append(b, s.stream...)
	b, err := d.unsubscribe(b, m)
	if err != nil {
		return nil, true, err
	}
	for _, l := range s.headers {
		v, ok := f.value(l)
		switch {
		case !ok:
			return nil, false, nil
		case v == "":
		case l.bytes != nil:
			b = append(b, l.bytes...)
		default:
			b = appendText(b, l.name, v)
		}
	}
	return b, true, nil
}

// seed makes the boundaries of the document: the same for everybody, because no body can contain one (mime.go).
func (d *document) seed() string {
	return d.id + "\x00" + d.variant.Language + "\x00" + strconv.Itoa(len(d.variant.Body))
}

func (d *document) headerNames() []string {
	var names []string
	for _, h := range d.headers {
		names = append(names, strings.ToLower(h.name))
	}
	return names
}

// stream writes the fields that say what kind of mail this is. A header of the front matter of the same name takes the
// place of the ones that a user may set.
func (d *document) stream(b []byte, names []string) []byte {
	field := func(name, value string) {
		if !slices.Contains(names, strings.ToLower(name)) {
			b = append(b, name+": "+value+"\r\n"...)
		}
	}
	if !slices.Contains(names, "list-id") {
		b = appendListID(b, d.from)
	}
	field("Feedback-ID", d.feedbackID())
	field("X-Auto-Response-Suppress", "OOF, AutoReply")
	if d.class == campaign.Operational {
		field("Auto-Submitted", "auto-generated") // RFC 3834 section 5
	} else {
		field("Precedence", "bulk")
	}
	return b
}

// checkMark says whether the header can be written.
func (d *document) checkMark(m Mark) error {
	if err := checkMessageID(m.MessageID); err != nil || d.class == campaign.Operational {
		return err
	}
	if err := checkURI(m.UnsubscribeURL); err != nil {
		return err
	}
	return checkURI(m.UnsubscribeMailto)
}

// unsubscribe writes how to leave the stream.
func (d *document) unsubscribe(b []byte, m Mark) ([]byte, error) {
	if d.class == campaign.Operational {
		return b, nil
	}
	uris := [2]string{m.UnsubscribeURL, m.UnsubscribeMailto}
	for _, u := range uris {
		if err := checkURI(u); err != nil {
			return nil, err
		}
	}
	b = appendList(b, "List-Unsubscribe", uris[0], uris[1])
	if strings.HasPrefix(m.UnsubscribeURL, "https://") { // RFC 8058 section 3.1: exactly this text, and only with https
		b = append(b, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"...)
	}
	return b, nil
}

// feedbackID is what Gmail counts complaints by: campaign, kind of mail and, last, the sender (5 to 15 characters, always
// the same). It says nothing of the recipient.
func (d *document) feedbackID() string {
	plain := func(s string, most int) string {
		return strings.Trim(head(cidUnsafe.ReplaceAllString(s, "-"), most), "-.")
	}
	sender := plain(strings.ReplaceAll(d.from.Domain(), ".", "-"), 15)
	for len(sender) < 5 {
		sender += "-mail"
	}
	id := plain(d.id, 30)
	if id == "" {
		id = boundary(d.id)[2:14]
	}
	return id + ":" + d.class + ":" + sender
}

func head(s string, most int) string { return s[:min(len(s), most)] }
