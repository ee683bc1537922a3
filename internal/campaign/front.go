package campaign

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"mailer/internal/spelling"
)

const fence = "---"

// Parse reads one campaign file. file is its path, for messages and for the format.
func Parse(file string, source []byte) (Document, error) {
	name := splitName(file)
	text, err := readable(file, source)
	if err != nil {
		return Document{}, err
	}
	head, body, bodyLine, err := splitFront(file, text)
	if err != nil {
		return Document{}, err
	}
	d := Document{Path: file, Format: name.format, Language: name.lang, Body: body, BodyLine: bodyLine}
	if err := d.decode(head); err != nil {
		return Document{}, err
	}
	d.Lang = d.Front.Lang
	if d.Lang == "" {
		d.Lang = d.Language
	}
	if d.Lang == "" {
		d.Lang = guessLang(d.Front.Subject + d.Body)
	}
	return d, d.check()
}

// plainText is a file without a byte order mark, its lines ending in \n.
func plainText(source []byte) string {
	text := strings.TrimPrefix(string(source), "\ufeff")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return strings.ReplaceAll(text, "\r", "\n")
}

// readable is the text of a file that people get to read. Another encoding, such as the CP932 of a Japanese editor, would
// reach everybody as rubbish.
func readable(file string, source []byte) (string, error) {
	line := 1
	for l := range bytes.Lines(source) {
		if !utf8.Valid(l) {
			return "", &Error{File: file, Line: line, Msg: "the file is not UTF-8", Hint: "save it as UTF-8"}
		}
		line++
	}
	return plainText(source), nil
}

// splitFront cuts the front matter off. The opening fence is blanked instead of removed, so that the YAML reader
// counts the file's own lines.
func splitFront(file, text string) (head, body string, bodyLine int, err error) {
	lines := strings.SplitAfter(text, "\n")
	if strings.TrimRight(lines[0], " \t\n") != fence {
		return "", "", 0, &Error{File: file, Line: 1, Msg: "the file does not begin with front matter",
			Hint: `begin it with a line "---", keys such as "subject: Our news", and a line "---"`}
	}
	for i := 1; i < len(lines); i++ {
		if strings.TrimRight(lines[i], " \t\n") == fence {
			return "\n" + strings.Join(lines[1:i], ""), strings.Join(lines[i+1:], ""), i + 2, nil
		}
	}
	return "", "", 0, &Error{File: file, Line: 1, Msg: "the front matter has no end", Hint: `close it with a line "---"`}
}

// decode reads the front matter from its syntax tree instead of through reflection: a value is taken as it is written
// (001 stays 001), and every error has its place.
func (d *Document) decode(head string) error {
	d.Lines = map[string]int{}
	file, err := parser.ParseBytes([]byte(head), 0)
	if err != nil {
		return d.yamlError(head, err)
	}
	if len(file.Docs) > 1 {
		return &Error{File: d.Path, Line: 1, Msg: "the front matter is more than one YAML document"}
	}
	for _, doc := range file.Docs {
		values, ok := mapping(doc.Body)
		if !ok {
			return d.errorIn(head, doc.Body, "the front matter is no list of keys", `write it as "key: value", one a line`)
		}
		for _, v := range values {
			if err := d.set(head, v); err != nil {
				return err
			}
		}
	}
	d.Front.Subject = strings.TrimSpace(d.Front.Subject)
	d.Front.Preheader = strings.TrimSpace(d.Front.Preheader)
	return nil
}

func mapping(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
		return nil, true
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// set puts one key's value into the field that has the key as its tag.
func (d *Document) set(head string, v *ast.MappingValueNode) error {
	key, _ := scalar(v.Key)
	keys := frontKeys()
	i := slices.Index(keys, key)
	if i < 0 {
		hint := "the keys are " + strings.Join(keys, ", ")
		if near := spelling.Nearest(key, keys); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return d.errorIn(head, v.Key, fmt.Sprintf("unknown key %q", key), hint)
	}
	d.Lines[key] = v.Key.GetToken().Position.Line
	if _, ok := v.Value.(*ast.LiteralNode); ok {
		d.Lines[key]++ // a block scalar's text begins on the line below
	}
	var ok bool
	switch field := reflect.ValueOf(&d.Front).Elem().Field(i).Addr().Interface().(type) {
	case *string:
		*field, ok = scalar(v.Value)
	case *Paths:
		*field, ok = paths(v.Value)
	case *Spans:
		var list Paths
		list, ok = paths(v.Value)
		*field = Spans(list)
	case *Headers:
		*field, ok = headers(v.Value)
	case *UTM:
		return d.utm(head, v.Value, field)
	}
	if !ok {
		return d.errorIn(head, v.Value, key+" has a value of the wrong kind", "")
	}
	return nil
}

// scalar is a single value as it stands in the file.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.NullNode:
		return "", true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// paths takes one path or a list.
func paths(n ast.Node) (Paths, bool) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		one, ok := scalar(n)
		if one == "" {
			return nil, ok
		}
		return Paths{one}, ok
	}
	var all Paths
	for _, item := range list.Values {
		one, ok := scalar(item)
		if !ok {
			return nil, false
		}
		all = append(all, one)
	}
	return all, true
}

// headers keep the order of the file, so that the same file gives the same bytes.
func headers(n ast.Node) (Headers, bool) {
	values, ok := mapping(n)
	if !ok {
		return nil, false
	}
	var all Headers
	for _, v := range values {
		name, isName := scalar(v.Key)
		value, isText := scalar(v.Value)
		if !isName || !isText {
			return nil, false
		}
		all = append(all, Header{Name: name, Value: strings.TrimSpace(value)})
	}
	return all, true
}

// errorIn is an error at a node.
func (d *Document) errorIn(head string, n ast.Node, msg, hint string) error {
	e := &Error{File: d.Path, Line: 1, Msg: msg, Hint: hint}
	if t := n.GetToken(); t != nil {
		e.Line, e.Col = t.Position.Line, t.Position.Column
	}
	return withQuotes(e, head)
}

// yamlError turns the reader's error into ours: file, line and column in front.
func (d *Document) yamlError(head string, err error) error {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil {
		return &Error{File: d.Path, Line: 1, Msg: "front matter: " + err.Error()}
	}
	at := e.GetToken().Position
	return withQuotes(&Error{File: d.Path, Line: at.Line, Col: at.Column, Msg: e.GetMessage()}, head)
}

func withQuotes(e *Error, head string) error {
	lines := strings.Split(head, "\n")
	line := lines[max(0, min(e.Line, len(lines))-1)]
	switch {
	case bareAction(head, e.Line):
		e.Hint = `put a value that begins with {{ in quotes: subject: "{{.name}} ..."`
	case quotesInQuotes.MatchString(line):
		e.Hint = `put a value with a " in it in single quotes: subject: '{{default "reader" .name}} ...'`
	case colonInValue.MatchString(line):
		e.Hint = `put a value with a colon in it in quotes: subject: "News: ..."`
	case signFirst.MatchString(line):
		e.Hint = `put the whole value in quotes: subject: "[Example] News"`
	}
	return e
}

// What YAML takes for the end of a value, or for another key.
var (
	quotesInQuotes = regexp.MustCompile(`^[\w-]+:\s*"[^"]*\{\{[^"]*"[^"]*"`)
	signFirst      = regexp.MustCompile("^[\\w-]+:\\s*[]\\[*@&%|>`'\"-]")
	colonInValue   = regexp.MustCompile(`^[\w-]+:\s*[^\s"'{\[|>][^"]*:(\s|$)`)
)

// bareAction reports whether a value near the line begins with an unquoted {{, which YAML takes for a mapping.
func bareAction(head string, line int) bool {
	lines := strings.Split(head, "\n")
	for i := max(0, line-2); i < min(len(lines), line+1); i++ {
		_, value, ok := strings.Cut(lines[i], ":")
		if ok && strings.HasPrefix(strings.TrimSpace(value), "{{") {
			return true
		}
	}
	return false
}

func frontKeys() []string {
	t := reflect.TypeFor[Front]()
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = t.Field(i).Tag.Get("yaml")
	}
	return keys
}

// check applies the rules of single keys.
func (d *Document) check() error {
	f := d.Front
	switch {
	case f.Subject == "":
		return d.errorAt("subject", "the campaign has no subject", `add "subject: ..." to the front matter`)
	case f.Class != "" && f.Class != Marketing && f.Class != Operational:
		return d.errorAt("class", fmt.Sprintf("class is %q", f.Class), "it is marketing or operational")
	case f.Charset != "" && !strings.EqualFold(f.Charset, "utf-8"):
		return d.errorAt("charset", fmt.Sprintf("charset is %q", f.Charset), "every message is written in utf-8; leave the key out")
	}
	if f.TextLinks != "" && f.TextLinks != Inline && f.TextLinks != Footnotes {
		return d.errorAt("text_links", fmt.Sprintf("text_links is %q", f.TextLinks), "it is inline or footnotes")
	}
	if u, err := url.Parse(f.BaseURL); f.BaseURL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		return d.errorAt("base_url", fmt.Sprintf("base_url is %q", f.BaseURL), "it is the address that relative links are meant from, such as https://www.example.com/")
	}
	if err := d.checkPacing(); err != nil {
		return err
	}
	for i, h := range f.Headers {
		if err := checkHeaderName(h.Name); err != nil {
			return d.errorAt("headers", err.Error(), "")
		}
		if slices.ContainsFunc(f.Headers[:i], func(o Header) bool { return strings.EqualFold(o.Name, h.Name) }) {
			return d.errorAt("headers", fmt.Sprintf("the header field %s is there twice", h.Name), "receivers refuse that; leave one out")
		}
	}
	return nil
}

func (d *Document) errorAt(key, msg, hint string) error {
	return &Error{File: d.Path, Line: max(1, d.Lines[key]), Msg: msg, Hint: hint}
}

// reserved are the fields that mailer itself writes, or that must not be in a message at all.
var reserved = map[string]string{
	"from": "use from:", "to": "it is the recipient", "cc": "every message has one recipient", "bcc": "every message has one recipient",
	"reply-to": "use reply_to:", "subject": "use subject:", "date": "mailer writes it", "message-id": "mailer writes it",
	"sender": "use from:", "mime-version": "mailer writes it", "return-path": "the receiving server writes it",
	"received": "servers write it", "dkim-signature": "mailer writes it", "list-unsubscribe": "mailer writes it",
	"list-unsubscribe-post": "mailer writes it", "authentication-results": "the receiving server writes it",
}

// checkHeaderName is RFC 5322 section 3.6.8 (printable ASCII without a colon), and the fields that are not the user's.
func checkHeaderName(name string) error {
	for _, r := range name {
		if r <= ' ' || r >= 0x7f || r == ':' {
			return fmt.Errorf("%q cannot be the name of a header field", name)
		}
	}
	lower := strings.ToLower(name)
	why, taken := reserved[lower]
	switch {
	case name == "" || len(name) > 70:
		return fmt.Errorf("%q cannot be the name of a header field", name)
	case taken:
		return fmt.Errorf("the header field %s cannot be set: %s", name, why)
	case strings.HasPrefix(lower, "content-") || strings.HasPrefix(lower, "resent-") || strings.HasPrefix(lower, "arc-"):
		return fmt.Errorf("the header field %s cannot be set", name)
	}
	return nil
}
