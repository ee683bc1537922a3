package campaign

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const fence = "---"

// Parse reads one campaign file. file is its path, for messages and for the format.
func Parse(file string, source []byte) (Document, error) {
	name := splitName(file)
	text := strings.TrimPrefix(string(source), "\ufeff")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\r", "\n")
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

func (d *Document) decode(head string) error {
	file, err := parser.ParseBytes([]byte(head), 0)
	if err != nil {
		return d.yamlError(head, err)
	}
	d.Lines = keyLines(file)
	err = yaml.NewDecoder(strings.NewReader(head), yaml.Strict()).Decode(&d.Front)
	if err != nil && strings.TrimSpace(head) != "" {
		return d.yamlError(head, err)
	}
	d.Front.Subject = strings.TrimSpace(d.Front.Subject)
	d.Front.Preheader = strings.TrimSpace(d.Front.Preheader)
	return nil
}

// keyLines says on which line each top-level key's value begins. A block scalar's text begins on the line below.
func keyLines(file *ast.File) map[string]int {
	lines := map[string]int{}
	for _, doc := range file.Docs {
		var values []*ast.MappingValueNode
		switch n := doc.Body.(type) {
		case *ast.MappingNode:
			values = n.Values
		case *ast.MappingValueNode:
			values = []*ast.MappingValueNode{n}
		}
		for _, v := range values {
			line := v.Key.GetToken().Position.Line
			if _, ok := v.Value.(*ast.LiteralNode); ok {
				line++
			}
			lines[v.Key.String()] = line
		}
	}
	return lines
}

// yamlError turns the reader's error into ours: file, line and column in front, and the nearest key.
func (d *Document) yamlError(head string, err error) error {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil {
		return &Error{File: d.Path, Line: 1, Msg: "front matter: " + err.Error()}
	}
	out := &Error{File: d.Path, Msg: e.GetMessage()}
	out.Line, out.Col = e.GetToken().Position.Line, e.GetToken().Position.Column
	var unknown *yaml.UnknownFieldError
	var mistyped *yaml.TypeError
	switch {
	case errors.As(err, &unknown):
		key := e.GetToken().Value
		out.Msg = fmt.Sprintf("unknown key %q", key)
		if near := Nearest(key, frontKeys()); near != "" {
			out.Hint = fmt.Sprintf("did you mean %q?", near)
		} else {
			out.Hint = "the keys are " + strings.Join(frontKeys(), ", ")
		}
	case errors.As(err, &mistyped):
		out.Msg = "the value has the wrong type"
	}
	if bareAction(head, out.Line) {
		out.Hint = `put a value that begins with {{ in quotes: subject: "{{.name}} ..."`
	}
	return out
}

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
	for _, h := range f.Headers {
		if err := checkHeaderName(h.Name); err != nil {
			return d.errorAt("headers", err.Error(), "")
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

// UnmarshalYAML takes one path or a list.
func (p *Paths) UnmarshalYAML(unmarshal func(any) error) error {
	var list []string
	if err := unmarshal(&list); err == nil {
		*p = list
		return nil
	}
	var one string
	if err := unmarshal(&one); err != nil {
		return err
	}
	*p = Paths{one}
	return nil
}

// UnmarshalYAML keeps the order of the file, so that the same file gives the same bytes.
func (h *Headers) UnmarshalYAML(unmarshal func(any) error) error {
	var order yaml.MapSlice
	if err := unmarshal(&order); err != nil {
		return err
	}
	values := map[string]string{}
	if err := unmarshal(&values); err != nil {
		return err
	}
	for _, item := range order {
		name := fmt.Sprint(item.Key)
		*h = append(*h, Header{Name: name, Value: strings.TrimSpace(values[name])})
	}
	return nil
}
