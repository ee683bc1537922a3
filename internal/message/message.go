// Package message makes the exact bytes of each message.
//
//	Compile  campaign.Content -> Template, once: parse, Markdown to HTML, HTML to text, layouts, DKIM keys
//	         and take apart into constants, encoded now, and slots (slots.go)
//	Compose  Template + Recipient + Mark -> Message, once a recipient: fill the slots, sign. Render: with its parts, to look at
//	Look     a recipient's message held against the rules, mostly without making it (glance.go); Preflight gathers the
//	         findings over all recipients
//
// How a contact's value is kept from being anything but itself:
//
//   - in Markdown: the conversion happens at Compile, with every action held as a token (tokens.go);
//   - in HTML and its URLs: html/template escapes it for the place where it stands;
//   - in headers: line breaks and control characters are refused (header.go);
//   - in the text part: it is inserted as it is, into text/plain.
//
// Templates are strict: a field that a contact lacks is an error with its place in the file, except where the template
// says what then (rewrite.go).
package message

import (
	"errors"
	"fmt"
	"time"

	"mailer/internal/campaign"
)

// Recipient is whom a message is for.
type Recipient struct {
	Address string            // as address.Parse gives it
	Values  map[string]string // the contact's fields by name, as their cells held them
}

// Mark is what makes one delivery's message that delivery's.
type Mark struct {
	MessageID         string // without the angle brackets
	UnsubscribeMailto string // a mailto: URI
	UnsubscribeURL    string // https, or ""
	Date              time.Time
}

// Message is one finished message.
type Message struct {
	Subject  string
	From     string // addr-spec
	FromName string
	HTML     string // as it is in the message, before its transfer encoding; lines end in \n
	Text     string
	Raw      []byte // CRLF, signed, before dot-stuffing
	SMTPUTF8 bool   // an address in the header is not ASCII: the relay must speak SMTPUTF8
}

// RenderError is a template that cannot be executed, or a result that cannot be sent.
type RenderError struct {
	File      string // the campaign's file or layout
	Line, Col int    // 0: not known
	Field     string // the field that the contact lacks, or ""
	Address   string // the contact
	Err       error

	msg        string
	attachment bool // a file of the contact's own cannot be attached
}

func (e *RenderError) Error() string {
	at := campaign.Error{File: e.File, Line: e.Line, Col: e.Col, Msg: e.Reason()}
	if e.Address != "" {
		at.Msg = fmt.Sprintf("%s (contact %s)", at.Msg, e.Address)
	}
	return at.Error()
}

// Reason says what is wrong, without the place and the contact: the same for every contact it concerns.
func (e *RenderError) Reason() string {
	switch {
	case e.Field != "":
		return fmt.Sprintf(`the contact has no %q; give it a fallback, {{default "..." %s}}, or leave the contact out`, e.Field, operand(e.Field))
	case e.msg != "":
		return e.msg
	case e.Err != nil:
		return e.Err.Error()
	}
	return "the template cannot be rendered"
}

// Unwrap gives the error of the template package.
func (e *RenderError) Unwrap() error { return e.Err }

// unsubscribe is {{.unsubscribe_url}}.
func (m Mark) unsubscribe() string {
	if m.UnsubscribeURL != "" {
		return m.UnsubscribeURL
	}
	return m.UnsubscribeMailto
}

// Render makes the message of one recipient. It may be called from several goroutines.
func (t *Template) Render(r Recipient, m Mark) (Message, error) { return t.render(r, m, true) }

// Compose is Render for sending: the message without its Text and HTML beside the bytes.
func (t *Template) Compose(r Recipient, m Mark) (Message, error) { return t.render(r, m, false) }

// Release gives the bytes of a message back that nobody reads any more: the next ones are put there. At full speed they are
// four fifths of what there is to collect.
func (t *Template) Release(raw []byte) {
	if cap(raw) <= mostRoom {
		t.rooms.Put(&raw)
	}
}

// mostRoom is the largest message whose bytes are kept: one with a large attachment would hold its memory for all.
const mostRoom = 1 << 20

func (t *Template) render(r Recipient, m Mark, full bool) (Message, error) {
	d, err := t.document(r)
	if err != nil {
		return Message{}, err
	}
	if d.skeleton != nil {
		f := t.filler(d, r, m)
		msg, ok, err := d.fill(f, &t.files, r, m, full)
		t.fillers.Put(f)
		if ok {
			return msg, withContact(err, r.Address)
		}
	}
	return t.plain(d, r, m)
}

// plain composes a message afresh, by the template packages and the plain encoder. All else is held to it.
func (t *Template) plain(d *document, r Recipient, m Mark) (Message, error) {
	out, err := d.execute(r, m)
	if err == nil {
		out.files, err = d.ownFiles(&t.files, out.paths)
	}
	if err != nil {
		return Message{}, withContact(err, r.Address)
	}
	msg, err := d.compose(r, m, out)
	return msg, withContact(err, r.Address)
}

func (t *Template) filler(d *document, r Recipient, m Mark) *filler {
	f, _ := t.fillers.Get().(*filler)
	if f == nil {
		f = &filler{}
	}
	f.person = person{scope: scope{values: r.Values}, address: r.Address, unsub: m.unsubscribe(), now: m.Date.In(d.location)}
	if d.skeleton.runs {
		f.own = d.own(r, m, f.unsub)
	}
	return f
}

// check executes the templates for one recipient, and composes and signs nothing.
func (t *Template) check(r Recipient, m Mark) (output, error) {
	d, err := t.document(r)
	if err != nil {
		return output{}, err
	}
	out, ok := output{}, false
	if d.skeleton != nil {
		f := t.filler(d, r, m)
		out, ok = d.look(f)
		t.fillers.Put(f)
	}
	if !ok {
		out, err = d.execute(r, m)
	}
	if err == nil {
		err = d.checkFiles(&t.files, out.paths)
	}
	if err == nil {
		err = d.checkMark(m)
	}
	return out, withContact(err, r.Address)
}

func withContact(err error, address string) error {
	var e *RenderError
	if errors.As(err, &e) {
		e.Address = address
	}
	return err
}
