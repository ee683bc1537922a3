package sandbox

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"

	"mailer/internal/address"

	"github.com/emersion/go-smtp"
)

// incoming is a message that was taken, with its envelope, as a sequel sees it.
type incoming struct {
	n        int // number of the message, from 1
	at       time.Time
	from     string // envelope sender, without brackets
	rcpt     string
	envID    string
	ret      smtp.DSNReturn
	original string // ORCPT
	notify   []smtp.DSNNotify
	raw      []byte
	header   mail.Header // of raw
}

// sequel is a mail that a recipient, or a server on the way, sends because of a message. All of them come to the one
// mailbox of the sandbox, as if it held every address that the messages name.
type sequel interface {
	// write returns the mails; none when there is nothing to send.
	write(in incoming) ([][]byte, error)
}

// home is for a message to its own return path: its mailbox is that of the sandbox, so the message itself comes there.
type home struct{}

func (home) write(in incoming) ([][]byte, error) {
	head := fmt.Sprintf("Return-Path: <%s>\r\nDelivered-To: %s\r\nReceived: from localhost (localhost [127.0.0.1]) by mx.%s with ESMTP id %d; %s\r\n",
		in.from, in.rcpt, host, in.n, in.at.Format(time.RFC1123Z))
	return [][]byte{append([]byte(head), in.raw...)}, nil
}

const host = "sandbox.example"

// letter is the head that all mails of the sandbox share.
func letter(in incoming, returnPath, from, to, subject string, more ...string) *bytes.Buffer {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <%s>\r\nDelivered-To: %s\r\nX-Original-To: %s\r\n", returnPath, to, to)
	fmt.Fprintf(&b, "Received: by mx.%s; %s\r\n", host, in.at.Format(time.RFC1123Z))
	fmt.Fprintf(&b, "Date: %s\r\nMessage-ID: <sequel.%d@%s>\r\n", in.at.Format(time.RFC1123Z), in.n, host)
	fmt.Fprintf(&b, "From: %s\r\nTo: <%s>\r\nSubject: %s\r\nMIME-Version: 1.0\r\n", from, address.Wire(to), subject)
	for _, line := range more {
		b.WriteString(line + "\r\n")
	}
	return &b
}

// parts writes a multipart body.
func parts(b *bytes.Buffer, boundary string, parts ...string) []byte {
	b.WriteString("\r\n")
	for _, p := range parts {
		fmt.Fprintf(b, "--%s\r\n%s\r\n", boundary, p)
	}
	fmt.Fprintf(b, "--%s--\r\n", boundary)
	return b.Bytes()
}

// head returns the header of a message, with the line that ends it.
func head(raw []byte) []byte {
	if i := bytes.Index(raw, []byte("\r\n\r\n")); i >= 0 {
		return raw[:i+2]
	}
	return raw
}

// report is a delivery status notification (RFC 3464).
type report struct {
	action, status, diagnostic string
	forged                     bool
}

func (r report) write(in incoming) ([][]byte, error) {
	if in.from == "" || !r.wanted(in.notify) {
		return nil, nil
	}
	to, envID, returned := in.from, in.envID, in.raw
	if r.forged {
		to, envID, returned = damage(in.from), "", []byte("Subject: (not returned)\r\n")
	}
	boundary := fmt.Sprintf("report-%d", in.n)
	b := letter(in, "", "Mail Delivery System <MAILER-DAEMON@mx."+host+">", to, r.subject(),
		"Auto-Submitted: auto-replied",
		`Content-Type: multipart/report; report-type=delivery-status; boundary="`+boundary+`"`)
	content := "Content-Type: text/rfc822-headers\r\n\r\n" + string(head(returned))
	if in.ret == smtp.DSNReturnFull {
		content = "Content-Type: message/rfc822\r\n\r\n" + string(returned)
	}
	return [][]byte{parts(b, boundary,
		fmt.Sprintf("Content-Type: text/plain; charset=us-ascii\r\n\r\nThis is the mail system at host mx.%s.\r\n\r\n"+
			"<%s>: host mx.%s said: %s (in reply to RCPT TO command)\r\n", host, address.Wire(in.rcpt), host, r.diagnostic),
		"Content-Type: message/delivery-status\r\n\r\n"+r.fields(in, envID),
		content)}, nil
}

// wanted follows NOTIFY (RFC 3461 section 4.1); without it failures and delays are told.
func (r report) wanted(notify []smtp.DSNNotify) bool {
	want := smtp.DSNNotifyFailure
	if r.action == "delayed" {
		want = smtp.DSNNotifyDelayed
	}
	if len(notify) == 0 {
		return true
	}
	for _, n := range notify {
		if n == want {
			return true
		}
	}
	return false
}

func (r report) subject() string {
	if r.action == "delayed" {
		return "Delayed Mail (still being retried)"
	}
	return "Undelivered Mail Returned to Sender"
}

func (r report) fields(in incoming, envID string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Reporting-MTA: dns; mx.%s\r\n", host)
	if envID != "" {
		fmt.Fprintf(&b, "Original-Envelope-Id: %s\r\n", envID)
	}
	fmt.Fprintf(&b, "Arrival-Date: %s\r\n\r\n", in.at.Format(time.RFC1123Z))
	if in.original != "" {
		fmt.Fprintf(&b, "Original-Recipient: rfc822; %s\r\n", in.original)
	}
	fmt.Fprintf(&b, "Final-Recipient: rfc822; %s\r\nAction: %s\r\nStatus: %s\r\n", address.Wire(in.rcpt), r.action, r.status)
	fmt.Fprintf(&b, "Remote-MTA: dns; mx.%s\r\nDiagnostic-Code: smtp; %s\r\n", host, r.diagnostic)
	return b.String()
}

// damage changes the last letter or digit of the local part: what a token's signature ends with.
func damage(addr string) string {
	at := strings.LastIndexByte(addr, '@')
	if at < 1 {
		return addr
	}
	other := byte('0')
	if addr[at-1] == other {
		other = '1'
	}
	return addr[:at-1] + string(other) + addr[at:]
}

// complaint is a feedback report in the abuse reporting format (RFC 5965).
type complaint struct{}

func (complaint) write(in incoming) ([][]byte, error) {
	if in.from == "" {
		return nil, nil
	}
	boundary := fmt.Sprintf("feedback-%d", in.n)
	b := letter(in, "feedback@fbl."+host, "Feedback Loop <feedback@fbl."+host+">", in.from, "complaint about message from 127.0.0.1",
		`Content-Type: multipart/report; report-type=feedback-report; boundary="`+boundary+`"`)
	return [][]byte{parts(b, boundary,
		"Content-Type: text/plain; charset=us-ascii\r\n\r\nThis is an email abuse report for a message received from 127.0.0.1.\r\n",
		fmt.Sprintf("Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: mailer-sandbox/1\r\nVersion: 1\r\n"+
			"Original-Mail-From: <%s>\r\nOriginal-Rcpt-To: <%s>\r\nArrival-Date: %s\r\nSource-IP: 127.0.0.1\r\n",
			address.Wire(in.from), address.Wire(in.rcpt), in.at.Format(time.RFC1123Z)),
		"Content-Type: message/rfc822\r\nContent-Disposition: inline\r\n\r\n"+string(in.raw))}, nil
}

// vacation is an automatic reply (RFC 3834); it goes to the envelope sender.
type vacation struct{}

func (vacation) write(in incoming) ([][]byte, error) {
	if in.from == "" {
		return nil, nil
	}
	subject, text := "Automatic reply: out of office", "I am out of the office until Monday.\r\n"
	if strings.HasSuffix(strings.ToLower(in.rcpt), ".jp") {
		subject, text = "自動返信: ただいま不在にしております", "メールをありがとうございます。\r\n月曜日まで不在にしております。\r\n"
	}
	b := letter(in, "", "<"+address.Wire(in.rcpt)+">", in.from, mime.BEncoding.Encode("utf-8", subject),
		"In-Reply-To: "+in.header.Get("Message-Id"),
		"Auto-Submitted: auto-replied",
		"Content-Type: text/plain; charset=utf-8",
		"Content-Transfer-Encoding: base64")
	b.WriteString("\r\n" + encode64(text))
	return [][]byte{b.Bytes()}, nil
}

// unsubscribe is the mail that a mail program sends for a List-Unsubscribe link (RFC 2369 section 3.2, RFC 6068).
type unsubscribe struct{}

func (unsubscribe) write(in incoming) ([][]byte, error) {
	to, query := in.unsubscribe()
	if to == "" {
		return nil, nil
	}
	subject := query.Get("subject")
	if subject == "" {
		subject = "unsubscribe"
	}
	b := letter(in, in.rcpt, "<"+address.Wire(in.rcpt)+">", to, mime.BEncoding.Encode("utf-8", oneLine(subject)),
		"Content-Type: text/plain; charset=utf-8",
		"Content-Transfer-Encoding: base64")
	b.WriteString("\r\n" + encode64(query.Get("body")))
	return [][]byte{b.Bytes()}, nil
}

// unsubscribe returns the address of the message's List-Unsubscribe and what the link asks for beside it; "" when there is none.
func (in incoming) unsubscribe() (to string, query url.Values) {
	link := mailtoOf(in.header.Get("List-Unsubscribe"))
	if link == nil {
		return "", nil
	}
	to, err := url.PathUnescape(link.Opaque)
	if err != nil || strings.ContainsAny(to, "\r\n") {
		return "", nil
	}
	query, err = url.ParseQuery(strings.ReplaceAll(link.RawQuery, "+", "%2B")) // a plus is no space here (RFC 6068 section 5)
	if err != nil {
		return "", nil
	}
	return to, query
}

// mailtoOf finds the first mailto: URI between angle brackets.
func mailtoOf(field string) *url.URL {
	for part := range strings.SplitSeq(field, "<") {
		uri, _, closed := strings.Cut(part, ">")
		u, err := url.Parse(strings.Join(strings.Fields(uri), "")) // white space is from folding (RFC 2369 section 2)
		if closed && err == nil && strings.EqualFold(u.Scheme, "mailto") {
			return u
		}
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// encode64 encodes a text in lines of at most 76 characters (RFC 2045 section 6.8).
func encode64(text string) string {
	var b strings.Builder
	for chunk := range slices.Chunk([]byte(text), 57) {
		b.WriteString(base64.StdEncoding.EncodeToString(chunk) + "\r\n")
	}
	return b.String()
}
