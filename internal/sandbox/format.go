package sandbox

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"sync"
	"text/template"
	"time"

	"mailer/internal/address"
	"mailer/internal/bounce"

	"github.com/emersion/go-smtp"
	"golang.org/x/text/encoding/htmlindex"
)

// format is one server's way of telling what became of a message. How it looks is a template in formats/, named after
// the format, or after the format and the case where a case looks different.
type format struct {
	name    string
	title   string   // whose format it is, for people
	domains []string // of the provider that writes so; none: any server may
	cases   []happening
}

// happening is one thing that a format tells.
type happening struct {
	name    string
	status  string // enhanced code, for formats that have a place for it
	step    string // of the session, by the word of its command; "" where it was no reply
	text    string // what the server said; {rcpt}, {local}, {domain}, {mx} and {ip} are filled in
	promise Promise
	to      mailedTo
}

// Promise is how the mail that comes of a recipient must be read. It stands beside each format, and the tests hold mailer to it.
type Promise struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail,omitempty"`
	Reason string `json:"reason,omitempty"`
	Hard   bool   `json:"hard"`
	Action string `json:"action,omitempty"` // failed or delayed
	Proof  string `json:"proof,omitempty"`  // where the token stands that leads to our delivery; "" for none
	Forged bool   `json:"forged,omitempty"` // the signature is wrong
	Copies int    `json:"copies,omitempty"` // so often the same mail comes; 0: once
	Other  bool   `json:"other,omitempty"`  // it names an address that we did not write to
	Does   Deed   `json:"does"`
}

// Deed is what mailer does with a mail.
type Deed string

// The deeds, in words for people.
const (
	Suppresses Deed = "suppressed"
	Keeps      Deed = "kept"
	Logs       Deed = "noted, nothing else"
	Asks       Deed = "waits for a person"
	Ignores    Deed = "forged: changes nothing"
)

// String is the promise in a few words.
func (p Promise) String() string {
	words := []string{p.Kind}
	if p.Detail != "" {
		words = append(words, p.Detail)
	}
	if p.Reason != "" {
		words = append(words, p.Reason)
	}
	if p.Hard {
		words = append(words, "hard")
	}
	return strings.Join(words, " ")
}

// mailedTo is whom a server or a person writes to.
type mailedTo int

const (
	toReturnPath  mailedTo = iota
	toAuthor               // From, or Reply-To
	toFeedback             // the address that one registers for complaints
	toLostPath             // the plain address that a relay writes over our return path
	toUnsubscribe          // the mailto: of List-Unsubscribe
)

// Files of one format each, and shared.eml with what several have in common.
//
//go:embed formats/*.eml
var formatFiles embed.FS

// formatTemplates are parsed when the first mail is written: every other command of mailer has no use for them.
var formatTemplates = sync.OnceValues(func() (*template.Template, error) {
	return template.New("").Funcs(template.FuncMap{
		"wrap": wrap, "indent": indent, "fold": fold, "line": oneLine,
		"base64": encode64, "qp": quotedPrintable, "in": inCharset, "word": headerWord, "json": jsonString,
	}).ParseFS(formatFiles, "formats/*.eml")
})

// returned is the sequel of a format's personality.
type returned struct {
	format  *format
	what    happening
	spoiled func([]byte) []byte // breaks the mail, as servers do
}

// formatCast is a recipient for each thing that the formats tell.
func formatCast(formats []format) []Personality {
	var all []Personality
	for i := range formats {
		f := &formats[i]
		for _, h := range f.cases {
			name := f.name + "-" + h.name
			domain := f.name + ".example" // one for each: a provider at which many are dead at once is frozen
			if len(f.domains) > 0 {
				domain = f.domains[0]
			}
			all = append(all, Personality{Name: name, Help: f.title, Remark: remarks[name], Format: f.name, Promise: h.promise, Example: name + "@" + domain,
				sequel: returned{format: f, what: h, spoiled: spoils[name]}})
		}
	}
	return all
}

// spoils are what servers do to their own reports.
var spoils = map[string]func([]byte) []byte{
	"odd-no-end": func(raw []byte) []byte { // the closing boundary is lost
		return raw[:bytes.LastIndex(raw, []byte("--odd-no-end"))]
	},
	"odd-nul": func(raw []byte) []byte {
		return bytes.Replace(raw, []byte("This is the mail system"), []byte("This\x00is\x00\x00the mail system"), 1)
	},
	"odd-cr": func(raw []byte) []byte { return bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\r")) },
}

// scene is what a template is given.
type scene struct {
	To, From            string // whom the mail goes to; the return path of ours
	Rcpt, Local, Domain string
	Original            string // ORCPT
	EnvID               string
	Author              string // From of our message
	Subject, MessageID  string // of our message; the Message-ID with its brackets
	Returned, Headers   string // our message as it came back, whole and without its body
	MX, IP, Relay       string // the recipient's server; the server that reports
	HeadersOnly         bool   // RET=HDRS was asked for (RFC 3461 section 4.3), which servers without DSN do not know
	Case                string
	Action, Status      string
	Step, Text          string
	Now, Sent, Before   time.Time // the report, our message, and three days before
	ID                  string    // of the mail, and of much in it
}

func (r returned) write(in incoming) ([][]byte, error) {
	failure := r.what.promise.Kind == bounce.KindBounce
	if in.from == "" && r.what.to == toReturnPath || failure && !wantsFailures(in.notify) {
		return nil, nil
	}
	to := r.recipient(in)
	if to == "" {
		return nil, nil
	}
	t, err := formatTemplates()
	if err != nil {
		return nil, fmt.Errorf("read the formats: %w", err)
	}
	name := r.format.name + "-" + r.what.name + ".eml"
	if t.Lookup(name) == nil {
		name = r.format.name + ".eml"
	}
	s := r.scene(in, to)
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <%s>\nDelivered-To: %s\nX-Original-To: %s\n", r.returnPath(s), to, to)
	fmt.Fprintf(&b, "Received: from %s by mx.%s; %s\n", s.Relay, host, s.Now.Format(time.RFC1123Z))
	fmt.Fprintf(&b, "Date: %s\nMessage-ID: <%s@%s>\nTo: <%s>\n", s.Now.Format(time.RFC1123Z), s.ID, s.Relay, address.Wire(to))
	if err := t.ExecuteTemplate(&b, name, s); err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	raw := bytes.ReplaceAll(bytes.ReplaceAll(b.Bytes(), []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	if r.spoiled != nil {
		raw = r.spoiled(raw)
	}
	all := [][]byte{raw}
	for n := 1; n < r.what.promise.Copies; n++ { // by another way: the trace fields differ
		all = append(all, append(fmt.Appendf(nil, "Received: from mx%d.%s by mx.%s; %s\r\n", n, host, host, s.Now.Format(time.RFC1123Z)), raw...))
	}
	return all, nil
}

// wantsFailures follows NOTIFY (RFC 3461 section 4.1) as far as most servers do: NEVER is kept, the rest is not known to those that
// write formats of their own.
func wantsFailures(notify []smtp.DSNNotify) bool {
	return len(notify) != 1 || notify[0] != smtp.DSNNotifyNever
}

// recipient is whom the mail is sent to, "" when our message names nobody of that kind.
func (r returned) recipient(in incoming) string {
	author := in.author()
	_, domain, _ := strings.Cut(author, "@")
	to := in.from
	switch r.what.to {
	case toAuthor:
		to = author
	case toFeedback:
		to = "feedback@" + domain
	case toLostPath:
		to = "postmaster@" + domain
	case toUnsubscribe:
		to, _ = in.unsubscribe()
	}
	if r.what.promise.Forged {
		return damage(to)
	}
	return to
}

// returnPath is empty for what a machine writes (RFC 5321 section 4.5.5).
func (r returned) returnPath(s scene) string {
	switch r.what.promise.Kind {
	case bounce.KindBounce, bounce.KindDelivered, bounce.KindAutoreply:
		return ""
	case bounce.KindComplaint:
		return "feedback@fbl." + host
	}
	return s.Rcpt
}

func (r returned) scene(in incoming, to string) scene {
	h := r.what
	local, domain, _ := strings.Cut(in.rcpt, "@")
	s := scene{To: address.Wire(to), From: address.Wire(in.from), Rcpt: address.Wire(in.rcpt), Local: local, Domain: domain,
		Original: in.original, EnvID: in.envID, Author: in.author(), Subject: oneLine(decodeWords(in.header.Get("Subject"))),
		MessageID: in.header.Get("Message-Id"), HeadersOnly: in.ret == smtp.DSNReturnHeaders, MX: "mx." + domain, IP: "192.0.2.7", Relay: "relay." + host,
		Case: h.name, Action: h.promise.Action, Status: h.status, Step: h.step, Now: in.at, Sent: in.at.Add(-time.Minute), Before: in.at.AddDate(0, 0, -3),
		ID: fmt.Sprintf("%s.%d", strings.ReplaceAll(r.format.name+"-"+h.name, " ", ""), in.n)}
	path := in.from
	switch {
	case h.promise.Forged:
		path = damage(in.from)
		s.EnvID, s.MessageID = "", damageID(s.MessageID)
	case h.to == toLostPath:
		path = to
		if h.promise.Proof != bounce.WhereEnvelopeID {
			s.EnvID = ""
		}
	}
	if h.promise.Other { // the mailbox is forwarded, and the report is about where to
		s.Rcpt, s.Local, s.Domain, s.Original, s.MX = "home@elsewhere.example", "home", "elsewhere.example", "", "mx.elsewhere.example"
	}
	s.Text = strings.NewReplacer("{rcpt}", s.Rcpt, "{local}", s.Local, "{domain}", s.Domain, "{mx}", s.MX, "{ip}", s.IP).Replace(h.text)
	// The server that delivers writes the return path into the message (RFC 5321 section 4.4).
	s.Returned = "Return-Path: <" + address.Wire(path) + ">\n" + strings.ReplaceAll(string(in.raw), "\r\n", "\n")
	if h.promise.Forged {
		s.Returned = strings.ReplaceAll(s.Returned, in.header.Get("Message-Id"), s.MessageID)
	}
	s.Headers, _, _ = strings.Cut(s.Returned, "\n\n")
	s.Headers += "\n"
	return s
}

// author is whom an answer to the message goes to.
func (in incoming) author() string {
	for _, name := range []string{"Reply-To", "From"} {
		if all, err := in.header.AddressList(name); err == nil && len(all) > 0 {
			return all[0].Address
		}
	}
	return in.from
}

// damageID changes the last character before the @ of a Message-ID with brackets.
func damageID(id string) string { return "<" + damage(strings.Trim(id, "<>")) + ">" }

// Code is the basic code that the text begins with, "" for none.
func (s scene) Code() string {
	if len(s.Text) > 3 && strings.Trim(s.Text[:3], "0123456789") == "" {
		return s.Text[:3]
	}
	return ""
}

// Said is the text without its basic code.
func (s scene) Said() string { return strings.TrimLeft(strings.TrimPrefix(s.Text, s.Code()), " -") }

// Date is a time as mail writes it.
func (s scene) Date(t time.Time) string { return t.Format(time.RFC1123Z) }

// Named reports whether the case is one of these.
func (s scene) Named(names ...string) bool {
	for _, n := range names {
		if n == s.Case {
			return true
		}
	}
	return false
}

// wrap breaks a text into lines of at most 78 characters, the later ones indented.
func wrap(n int, text string) string {
	var b strings.Builder
	width := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case width+1+len(word) > 78:
			b.WriteString("\n" + strings.Repeat(" ", n))
			width = n
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += len(word)
	}
	return b.String()
}

// indent puts n spaces before each line.
func indent(n int, text string) string {
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(text, "\n", "\n"+pad)
}

// fold makes a text of several lines the value of one field.
func fold(text string) string { return strings.ReplaceAll(text, "\n", "\n ") }

func quotedPrintable(text string) (string, error) {
	var b strings.Builder
	w := quotedprintable.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		return "", err
	}
	return b.String(), w.Close()
}

// inCharset encodes a text.
func inCharset(charset, text string) (string, error) {
	e, err := htmlindex.Get(charset)
	if err != nil {
		return "", err
	}
	return e.NewEncoder().String(text)
}

// headerWord is a text as one encoded word of a charset (RFC 2047); texts here are short.
func headerWord(charset, text string) (string, error) {
	coded, err := inCharset(charset, text)
	if err != nil {
		return "", err
	}
	if strings.EqualFold(charset, "utf-8") {
		return mime.BEncoding.Encode(charset, text), nil
	}
	return "=?" + charset + "?B?" + strings.ReplaceAll(encode64(coded), "\r\n", "") + "?=", nil
}

// jsonString is a text as a string of JSON, within one of JSON.
func jsonString(text string) (string, error) {
	quoted, err := json.Marshal(text)
	return string(quoted), err
}
