package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	htmltemplate "html/template"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	texttemplate "text/template"
	"text/template/parse"
	"time"
	"unicode"

	"mailer/internal/address"
	"mailer/internal/campaign"
	"mailer/internal/spelling"
)

// Template is a compiled campaign.
type Template struct {
	content   campaign.Content
	documents []*document
	fillers   sync.Pool
	rooms     sync.Pool // the bytes of messages that were released
	files     files
}

// document is one language of it.
type document struct {
	rooms   *sync.Pool // of the template
	variant campaign.Variant
	id      string
	class   string
	linking
	from     address.Address
	replyTo  *address.Address
	sender   senderInfo
	location *time.Location
	signers  []Signer
	program  *program
	headers  []headerTemplate // headers: of the front matter
	subject  *compiled
	toName   *compiled // nil: no name in To
	text     *compiled
	html     *compiled // nil: no HTML part
	attach   []*part
	embed    []*part
	personal []personal // attachments of each recipient's own
	skeleton *skeleton  // nil: every message is composed afresh
}

// compiled is a template of text/template or html/template, and where its parts came from.
type compiled struct {
	executor
	sources map[string]*source
	root    *parse.ListNode // of a text template
	plan    *plan           // of a part; nil: it runs whole
	base64  bool            // how a part is encoded
	link    func(string) string
	page    bool
	size    atomic.Int64 // room for the next execution's output
}

// split gives the pieces of an executed part that are encoded by themselves. In HTML nothing is wrapped, and a paragraph's
// mark is a character like others: html/template decodes the \\f of a value in a style.
func (c *compiled) split(s string) []string {
	if c.page {
		return strings.Split(s, slotMark)
	}
	return segments(s)
}

type executor interface {
	Execute(w io.Writer, data any) error
}

type headerTemplate struct {
	name string
	*compiled
}

// Compile prepares a campaign. signers are the workspace's DKIM keys; each document takes those for its From. links change
// its links, after the parameters of utm: are added.
func Compile(c campaign.Content, signers []Signer, links ...LinkRewriter) (*Template, error) {
	location, err := time.LoadLocation(c.Timezone)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", c.ID, err)
	}
	t := &Template{content: c}
	for _, v := range c.Variants {
		d := &document{variant: v, id: c.ID, class: c.Class, location: location,
			program: newProgram(v.Lang, c.Class, location), rooms: &t.rooms}
		sender := c.Sender
		if v.Sender != nil {
			sender = *v.Sender
		}
		if err := d.setSender(sender, signers); err != nil {
			return nil, err
		}
		d.setRewriters(links)
		if err := d.compile(); err != nil {
			return nil, err
		}
		t.documents = append(t.documents, d)
	}
	if len(t.documents) == 0 {
		return nil, fmt.Errorf("compile %s: the campaign has no document", c.ID)
	}
	return t, nil
}

// document chooses the language for a recipient.
func (t *Template) document(r Recipient) (*document, error) {
	if len(t.documents) == 1 && t.documents[0].variant.Language == "" {
		return t.documents[0], nil
	}
	want := t.language(r)
	for _, lang := range []string{want, primary(want), "", t.content.DefaultLanguage} {
		for _, d := range t.documents {
			if strings.EqualFold(d.variant.Language, lang) && (lang != "" || d.variant.Language == "") {
				return d, nil
			}
		}
	}
	first := t.documents[0].variant.Document
	return nil, &RenderError{File: first.Path, Line: 1, Address: r.Address, msg: fmt.Sprintf(
		"there is no file for the language %q of the contact; add %s for everybody else, or set default_language", want, withoutTag(first))}
}

func (t *Template) language(r Recipient) string {
	if f := t.content.LanguageField; f != "" {
		return strings.TrimSpace(r.Values[f])
	}
	if v := r.Values["lang"]; v != "" {
		return strings.TrimSpace(v)
	}
	return strings.TrimSpace(r.Values["language"])
}

func primary(tag string) string {
	tag, _, _ = strings.Cut(strings.ReplaceAll(tag, "_", "-"), "-")
	return tag
}

func withoutTag(d campaign.Document) string {
	return strings.Replace(d.Path, "."+d.Language+".", ".", 1)
}

func (d *document) setSender(s campaign.Sender, signers []Signer) error {
	v := d.variant
	from, key := v.Front.From, "from"
	if from == "" {
		from = s.From
	}
	if from == "" {
		return d.errorAt(key, `the mail has no From; set sender.from in mailer.yaml, or "from:" here`)
	}
	var err error
	if d.from, err = address.Parse(from); err != nil {
		return d.errorAt(key, fmt.Sprintf("from %q: %v", from, err))
	}
	d.from.Name = unquoteName(d.from.Name)
	reply := v.Front.ReplyTo
	if reply == "" {
		reply = s.ReplyTo
	}
	if reply != "" {
		a, err := address.Parse(reply)
		if err != nil {
			return d.errorAt("reply_to", fmt.Sprintf("reply_to %q: %v", reply, err))
		}
		a.Name = unquoteName(a.Name)
		d.replyTo = &a
	}
	for _, s := range signers {
		if s.signs(d.from.Domain()) {
			d.signers = append(d.signers, s)
		}
	}
	d.sender = senderInfo{"from": from, "name": d.from.Name, "address": d.from.Text, "organization": s.Organization,
		"postal_address": s.PostalAddress, "reply_to": d.from.Text}
	if d.replyTo != nil {
		d.sender["reply_to"] = d.replyTo.Text
	}
	for key, value := range d.sender {
		d.sender[key] = unmarked(value)
	}
	return errors.Join(checkHeaderText(d.from.Name), checkHeaderText(d.sender["reply_to"]))
}

// unquoteName takes the quotes of RFC 5322 off a display name.
func unquoteName(s string) string {
	s = strings.TrimSpace(s)
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(s[1 : len(s)-1])
}

func (d *document) errorAt(key, msg string) error {
	return &RenderError{File: d.variant.Path, Line: max(1, d.variant.Lines[key]), msg: msg}
}

func (d *document) front(key, text string) *source {
	return &source{file: d.variant.Path, line: max(1, d.variant.Lines[key]), inFront: true, orig: text, text: text}
}

func (d *document) body() *source {
	return newSource(d.variant.Path, d.variant.BodyLine, d.variant.Body)
}

// compile parses everything. A body is parsed as the user wrote it first, so that its errors name the user's lines, and
// then as what was made of it.
func (d *document) compile() (err error) {
	f := d.variant.Front
	if d.subject, err = d.single("subject", d.front("subject", f.Subject)); err != nil {
		return err
	}
	if f.ToName != "" {
		if d.toName, err = d.single("to_name", d.front("to_name", f.ToName)); err != nil {
			return err
		}
	}
	for i, h := range f.Headers {
		t, err := d.single(fmt.Sprintf("headers.%d", i), d.front("headers", h.Value))
		if err != nil {
			return err
		}
		d.headers = append(d.headers, headerTemplate{h.Name, t})
	}
	if err := newProgram("", "", d.location).add(newTrees(), "body", d.body()); err != nil {
		return err
	}
	if err := d.compileHTML(); err != nil {
		return err
	}
	if err := d.compileText(); err != nil {
		return err
	}
	d.compileFiles()
	if err := d.compilePaths(); err != nil {
		return err
	}
	d.build()
	return nil
}

// single is a template of one line.
func (d *document) single(name string, s *source) (*compiled, error) {
	t := newTrees()
	if err := d.program.add(t, name, s); err != nil {
		return nil, err
	}
	return d.textTemplate(t, name)
}

func (d *document) textTemplate(t *trees, name string) (*compiled, error) {
	if err := t.closed(); err != nil {
		return nil, err
	}
	out := texttemplate.New(name).Funcs(d.program.all)
	for _, n := range t.names() {
		if _, err := out.AddParseTree(n, t.list[n]); err != nil {
			return nil, locate(t.sources, err)
		}
	}
	out = out.Lookup(name)
	return &compiled{executor: out, sources: t.sources, root: out.Root, link: func(s string) string { return s }}, nil
}

// Names of the templates that a layout puts together: {{template "body" .}}.
const (
	nameBody      = "body"
	nameSubject   = "subject"
	namePreheader = "preheader"
	nameSpace     = "preheader_space"
	nameLayout    = "layout"
)

// frame parses what the layout may call, then the layout, then the body, whose definitions take precedence.
func (d *document) frame(p pieceSources) (*trees, string, error) {
	t, f, root := newTrees(), d.variant.Front, nameBody
	if err := d.program.add(t, nameSubject, d.front("subject", f.Subject)); err != nil {
		return nil, "", err
	}
	if err := d.program.add(t, namePreheader, d.front("preheader", f.Preheader)); err != nil {
		return nil, "", err
	}
	if f.Preheader != "" {
		f.Preheader = preheaderSpace
	}
	if err := d.program.add(t, nameSpace, newSource("", 1, f.Preheader)); err != nil {
		return nil, "", err
	}
	for _, name := range slices.Sorted(maps.Keys(p.partials)) {
		if err := d.program.add(t, name, p.partials[name]); err != nil {
			return nil, "", err
		}
	}
	if p.layout != nil {
		root = nameLayout
		if err := d.program.add(t, root, p.layout); err != nil {
			return nil, "", err
		}
	}
	return t, root, d.program.add(t, nameBody, p.body)
}

func (d *document) compileHTML() error {
	v := d.variant
	if v.Format == campaign.Text {
		return nil
	}
	sources, err := d.htmlSources()
	if err != nil {
		return err
	}
	t, root, err := d.frame(sources)
	if err != nil {
		return err
	}
	if err := d.rewriteLinks(t, root, PartHTML); err != nil {
		return err
	}
	if err := t.closed(); err != nil {
		return err
	}
	plan := d.plan(t, root, true) // before html/template changes the trees
	page := htmltemplate.New(root).Funcs(htmltemplate.FuncMap(d.program.all))
	for _, n := range t.names() {
		if _, err := page.AddParseTree(n, t.list[n]); err != nil {
			return locate(t.sources, err)
		}
	}
	page = page.Lookup(root)
	d.html = &compiled{executor: page, sources: t.sources, plan: plan, link: d.linkEmbedded, page: true}
	d.html.decide(t, false)
	return d.escape(page, t)
}

// escape makes html/template choose the escaping of every action now. It does so at the first execution, and gives the
// error of that before any of the execution's own.
func (d *document) escape(page *htmltemplate.Template, t *trees) error {
	var e *htmltemplate.Error
	err := page.Execute(io.Discard, &scope{})
	if !errors.As(err, &e) {
		return nil
	}
	out := locate(t.sources, err)
	if s := t.sourceOf(e.Node); s != nil {
		out.File = s.file
		out.Line, out.Col = s.position(int(e.Node.Position()))
	}
	out.msg = e.Description
	if out.File == "" || d.isBuiltin(out.File) { // it was noticed in the layout's text behind the body
		out.File, out.Line, out.Col = d.variant.Path, 0, 0
		out.msg += "; a tag or an attribute of the body may not be closed"
	}
	return out
}

// decide chooses how a part is encoded, and encodes what is known of it.
func (c *compiled) decide(t *trees, trim bool) {
	var known []string
	if c.plan != nil {
		cleanConstants(c.plan.ops)
		known = constants(c.plan.ops, nil)
	} else {
		for _, name := range t.names() {
			each(t.list[name].Root, func(n parse.Node) {
				if text, ok := n.(*parse.TextNode); ok {
					known = append(known, lines(string(text.Text)))
				}
			})
		}
	}
	if c.base64 = base64IsSmaller(known); c.plan != nil {
		c.plan.prepare(c.base64, trim)
	}
}

// compileText makes the text part of what the author wrote for it, or of the rest.
func (d *document) compileText() error {
	sources, err := d.textSources()
	if err != nil {
		return err
	}
	body := sources.body
	t, root, err := d.frame(sources)
	if err == nil {
		err = d.rewriteLinks(t, root, PartText)
	}
	if err == nil {
		d.text, err = d.textTemplate(t, root)
	}
	if err == nil {
		d.text.plan = d.plan(t, root, false)
		d.text.decide(t, true)
	}
	var e *RenderError
	if errors.As(err, &e) && body.spans != nil {
		e.msg = "make the text part: " + e.Reason() + `; an action may stand where text cannot keep it: write the part yourself, under "text:"`
	}
	return err
}

// cidUnsafe is what cannot stand in a content id.
var cidUnsafe = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

func (d *document) compileFiles() {
	for _, f := range d.variant.Attach {
		d.attach = append(d.attach, filePart(f.Name, f.Content, ""))
	}
	for _, f := range d.variant.Embed {
		d.embed = append(d.embed, filePart(f.Name, f.Content, contentID(f.Name, d.from.Domain())))
	}
}

// contentID names an embedded file as RFC 2392 asks: like a Message-ID. Names of which not all can stand there get a mark of
// their own, or 写真.png and ロゴ.png would be the same picture.
func contentID(name, domain string) string {
	id := cidUnsafe.ReplaceAllString(name, "_")
	if id != name {
		sum := sha256.Sum256([]byte(name))
		id = hex.EncodeToString(sum[:4]) + id
	}
	return id + "@" + domain
}

var wholeCID = regexp.MustCompile(`"cid:[^"]*"|'cid:[^']*'`)

// linkEmbedded makes cid:logo.png in the HTML the file's content id. A name may stand there as Markdown and HTML write it:
// escaped.
func (d *document) linkEmbedded(page string) string {
	if len(d.variant.Embed) == 0 || !strings.Contains(page, "cid:") {
		return page
	}
	return wholeCID.ReplaceAllStringFunc(page, func(whole string) string {
		quote, link := whole[:1], whole[len(`"cid:`):len(whole)-1]
		name := html.UnescapeString(link)
		plain, err := url.PathUnescape(name)
		for _, f := range d.variant.Embed {
			if f.Name == name || err == nil && f.Name == plain {
				return quote + "cid:" + contentID(f.Name, d.from.Domain()) + quote
			}
		}
		return whole
	})
}

// output is an executed document.
type output struct {
	doc     *document
	subject string
	toName  string
	headers []campaign.Header
	html    string
	text    string
	pieces  [2][]string // text and html as they are encoded
	paths   []string    // of the recipient's own files; "": none
	files   []*part     // and those files
	unsub   string
}

// maxOutput bounds one part: a template cannot fill the memory.
const maxOutput = 8 << 20

type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxOutput {
		return 0, fmt.Errorf("the part becomes larger than %d MB", maxOutput>>20)
	}
	return b.Buffer.Write(p)
}

// own is what the document itself gives to templates.
func (d *document) own(r Recipient, m Mark, unsub string) map[string]any {
	return map[string]any{"email": r.Address, "unsubscribe_url": unsub, "campaign": d.id, "sender": d.sender, "now": m.Date.In(d.location)}
}

// execute is the plain way: every template runs, whole.
func (d *document) execute(r Recipient, m Mark) (output, error) {
	out := output{doc: d, unsub: m.unsubscribe()}
	data := &scope{values: r.Values, own: d.own(r, m, out.unsub)}
	var err error
	run := func(t *compiled) string {
		if err != nil {
			return ""
		}
		var b bounded
		b.Grow(int(t.size.Load()))
		template := t.executor
		if t.plan != nil {
			template = t.plan.marked
		}
		if e := template.Execute(&b, data); e != nil {
			if t.plan != nil { // the whole template knows its places better
				if e2 := t.Execute(io.Discard, data); e2 != nil {
					e = e2
				}
			}
			err = explainRun(e, t.sources)
			return ""
		}
		t.size.Store(int64(b.Len() + b.Len()/8)) // the next one will be about as long
		return b.String()
	}
	line := func(key string, t *compiled) string {
		s := run(t)
		if e := checkHeaderText(s); e != nil && err == nil {
			err = &RenderError{File: d.variant.Path, Line: d.variant.Lines[key], Err: e, msg: key + ": " + e.Error()}
		}
		return headerValue(s)
	}
	out.subject = line("subject", d.subject)
	if d.toName != nil {
		out.toName = line("to_name", d.toName)
	}
	for _, h := range d.headers {
		out.headers = append(out.headers, campaign.Header{Name: h.name, Value: line("headers", h.compiled)})
	}
	for _, p := range d.personal {
		out.paths = append(out.paths, line("attach", p.compiled))
	}
	out.pieces[0] = finishSegments(d.text.split(run(d.text)), true)
	out.text = strings.Join(out.pieces[0], "")
	if d.html != nil {
		list := d.html.split(run(d.html))
		for i := range list {
			list[i] = d.linkEmbedded(list[i])
		}
		out.pieces[1] = finishSegments(list, false)
		out.html = strings.Join(out.pieces[1], "")
	}
	return out, err
}

// explainRun turns an error of executing into ours.
func explainRun(err error, sources map[string]*source) error {
	var missing *fieldError
	if errors.As(err, &missing) {
		return &RenderError{File: missing.ref.File, Line: missing.ref.Line, Col: missing.ref.Col, Field: missing.name, Err: err}
	}
	out := locate(sources, err)
	if i := strings.LastIndex(out.msg, "error calling "); i >= 0 {
		if _, what, ok := strings.Cut(out.msg[i:], ": "); ok {
			out.msg = what
		}
	}
	return out
}

// explain adds what to write instead to the errors that a newcomer meets.
func explain(e *RenderError, p *program) error {
	if name, ok := between(e.msg, `function "`, `" not defined`); ok {
		var known []string
		for f := range p.public {
			known = append(known, f)
		}
		slices.Sort(known)
		e.msg = fmt.Sprintf("there is no function %q; a field is written with a dot: {{.%s}}", name, name)
		if near := spelling.Nearest(name, known); near != "" {
			e.msg += fmt.Sprintf(" (or was the function %q meant?)", near)
		}
	}
	if strings.Contains(e.msg, "bad character") {
		e.msg += `; write a field whose name has spaces or signs as {{field "its name"}}`
	}
	return e
}

func between(s, before, after string) (string, bool) {
	_, rest, found := strings.Cut(s, before)
	inner, _, closed := strings.Cut(rest, after)
	return inner, found && closed
}

// operand is how a template asks for a field.
func operand(field string) string {
	for i, r := range field {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return fmt.Sprintf("(field %q)", field)
		}
	}
	return "." + field
}

// compose writes the message (RFC 5322, 2045) and signs it, all afresh.
func (d *document) compose(r Recipient, m Mark, out output) (Message, error) {
	head, err := d.header(r, m, out)
	if err != nil {
		return Message{}, err
	}
	raw, err := d.signed(d.structure(out).append(head, d.seed(), nil))
	return Message{Subject: out.subject, From: d.from.Text, FromName: d.from.Name, HTML: out.html, Text: out.text, Raw: raw, SMTPUTF8: d.smtpUTF8(r)}, err
}

// signed is the finished message.
func (d *document) signed(raw []byte) ([]byte, error) {
	if len(d.signers) == 0 {
		return append(d.room(), raw...), nil
	}
	signatures, err := sign(d.signers, raw, time.Now())
	return append(append(d.room(), signatures...), raw...), err
}

// room is where a message is put: the bytes of one that was released, if there are any.
func (d *document) room() []byte {
	if b, _ := d.rooms.Get().(*[]byte); b != nil {
		return (*b)[:0]
	}
	return nil
}

func (d *document) smtpUTF8(r Recipient) bool {
	return !isASCII(r.Address) || d.from.SMTPUTF8 || d.replyTo != nil && d.replyTo.SMTPUTF8
}

// structure: the parts that say the same with the best one last (RFC 2046 section 5.1.4), the pictures beside the HTML that
// shows them, the attachments around all.
func (d *document) structure(out output) *part {
	body := &part{kind: "text/plain; charset=utf-8", pieces: out.pieces[0], base64: d.text.base64}
	if d.html != nil {
		page := nest("related", append([]*part{{kind: "text/html; charset=utf-8", pieces: out.pieces[1], base64: d.html.base64}}, d.embed...)...)
		if page.parts != nil {
			page.kind += ";\r\n type=\"text/html\""
		}
		body = nest("alternative", body, page)
	}
	all := slices.Concat([]*part{body}, d.attach, out.files)
	if len(d.personal) > 0 {
		return &part{kind: "multipart/mixed", parts: all}
	}
	return nest("mixed", all...)
}

func (d *document) header(r Recipient, m Mark, out output) ([]byte, error) {
	if err := checkMessageID(m.MessageID); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 4096+2*(len(out.text)+len(out.html)))
	b = append(b, "Date: "+m.Date.In(d.location).Format(dateLayout)+"\r\n"...)
	b = d.mailboxes(b)
	b = appendMailbox(b, "To", out.toName, r.Address)
	b = appendText(b, "Subject", out.subject)
	b = append(b, "Message-ID: <"+m.MessageID+">\r\n"...)
	b, err := d.unsubscribe(d.stream(b, d.headerNames()), m)
	if err != nil {
		return nil, err
	}
	for _, h := range out.headers {
		if h.Value != "" {
			b = appendText(b, h.Name, h.Value)
		}
	}
	return append(b, "MIME-Version: 1.0\r\n"...), nil
}

func (d *document) mailboxes(b []byte) []byte {
	b = appendMailbox(b, "From", d.from.Name, d.from.Text)
	if d.replyTo != nil {
		b = appendMailbox(b, "Reply-To", d.replyTo.Name, d.replyTo.Text)
	}
	return b
}

// checkMessageID: RFC 5322 section 3.6.4, dot-atoms only.
func checkMessageID(id string) error {
	left, right, ok := strings.Cut(id, "@")
	for _, side := range []struct{ s, more string }{{left, "!#$%&'*+/=?^_`{|}~.-"}, {right, ".-"}} {
		ok = ok && side.s != ""
		for i := range len(side.s) {
			ok = ok && (isAlphanumeric(side.s[i]) || strings.IndexByte(side.more, side.s[i]) >= 0)
		}
	}
	if !ok {
		return fmt.Errorf("%q cannot be a Message-ID", id)
	}
	return nil
}

// dateLayout is RFC 5322 section 3.3; the zone as a number, because receivers do not know its name.
const dateLayout = "Mon, 02 Jan 2006 15:04:05 -0700"

// appendListID names the stream of mail (RFC 2919): everything from one address is one, news@example.com is
// news.example.com.
func appendListID(b []byte, from address.Address) []byte {
	local := strings.Trim(strings.ToLower(cidUnsafe.ReplaceAllString(strings.TrimSuffix(from.Text, "@"+from.Domain()), "-")), ".-_")
	return appendNamed(b, "List-Id", from.Name, strings.Trim(local+"."+from.Domain(), "."))
}
