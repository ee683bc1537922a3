package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/smtp"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gomail "github.com/emersion/go-message/mail"
	"github.com/emersion/go-msgauth/dkim"

	"mailer/internal/address"
	"mailer/internal/config"
	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/store"
)

// A campaign goes through a real Postfix to mailboxes of a real Dovecot, and what comes back is read and acted on.
func TestRealServers(t *testing.T) {
	for _, program := range []string{"postfix", "dovecot", "dkimverify"} {
		mailtest.Need(t, program, "apt-get install postfix dovecot-imapd dovecot-lmtpd python3-dkim")
	}
	begin := time.Now()
	w := newRealWorld(t)
	ready := time.Since(begin)
	w.badInput()
	begin = time.Now()
	w.sendAll()
	sent := time.Since(begin)
	if !strings.Contains(w.relay.Log(t), "too many errors") {
		t.Error("the relay did not lose patience: who is gone must stand together in the list")
	}
	w.settle()
	arrived := time.Since(begin)
	mail := w.dovecot.Mail(t)
	w.checkMail(mail)
	reports := mail["bounce@"+ourDomain]
	w.syncReports(len(reports))
	w.checkFates()
	w.unsubscribe(mail)
	w.forge(reports)
	count := map[delivery.State]int{}
	for _, p := range w.people {
		count[p.state]++
	}
	t.Logf("%d recipients: %d accepted, %d refused at RCPT, %d bounced later; servers and list %.1f s, send %.1f s, all there after %.1f s",
		len(w.people), count[delivery.Accepted], count[delivery.Failed], count[delivery.Bounced], ready.Seconds(), sent.Seconds(), arrived.Seconds())
}

// A refused login and an unknown CA stop with exit code 2, and nobody is marked.
func (w *realWorld) badInput() {
	w.t.Helper()
	send := []string{"send", "oshirase", "--list", "会員", "--yes"}
	unchanged := func(what string) {
		w.t.Helper()
		for _, r := range w.recipients() {
			if r.State != delivery.Pending || r.Reply != "" {
				w.t.Fatalf("%s: %s is %s (%s)", what, r.Address, r.State, r.Reply)
			}
		}
		if got := w.suppressed(); len(got) > 0 {
			w.t.Fatalf("%s: %q are suppressed", what, got)
		}
	}
	w.runWith([]string{"MAILER_RELAY_PASSWORD=wrong"}, exitUsage, send...)
	unchanged("a wrong password of the relay")
	w.runWith([]string{"MAILER_IMAP_PASSWORD=wrong"}, exitUsage, "bounces", "sync")
	unchanged("a wrong password of the mailbox")
	w.write("mailer.yaml", strings.ReplaceAll(w.config, "    ca_file: ca.pem\n", ""))
	w.run(exitUsage, send...)
	w.run(exitUsage, "bounces", "sync")
	unchanged("an unknown CA")
	w.write("mailer.yaml", w.config)
	if n := len(w.dovecot.Mail(w.t)); n > 0 {
		w.t.Fatalf("%d mailboxes have mail", n)
	}
}

// sendAll sends the campaign; the balance must be right.
func (w *realWorld) sendAll() {
	w.t.Helper()
	sum := lastLine(w.t, w.run(exitSome, "send", "oshirase", "--list", "会員", "--yes"))
	refused := 0
	for _, p := range w.people {
		if p.state == delivery.Failed {
			refused++
		}
	}
	want := map[string]int{"planned": len(w.people), "accepted": len(w.people) - refused, "failed": refused,
		"deferred": 0, "excluded": 0, "uncertain": 0, "remaining": 0}
	for name, n := range want {
		if sum[name] != float64(n) {
			w.t.Errorf("send: %s is %v, want %d", name, sum[name], n)
		}
	}
}

// checkMail wants one message in each mailbox that takes some, with the words and tokens of its owner's row.
func (w *realWorld) checkMail(mail map[string][][]byte) {
	w.t.Helper()
	st := w.openStore()
	keys, err := st.TokenKeys(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	listed := w.recipients()
	letters := map[string][]byte{}
	for _, p := range w.people {
		got := mail[strings.ToLower(p.mailbox)]
		if want := p.state == delivery.Accepted; (len(got) == 1) != want || len(got) > 1 {
			w.t.Errorf("%s has %d messages", p.address, len(got))
			continue
		} else if !want {
			continue
		}
		raw := crlf(got[0])
		letters[p.address] = raw
		l, err := readLetter(raw)
		if err != nil {
			w.t.Errorf("%s: %v\n%s", p.address, err, raw)
			continue
		}
		for _, problem := range l.problems(p, keys, listed[address.Key(p.address)].MessageID) {
			w.t.Errorf("%s: %s", p.address, problem)
		}
		key, _, ok, err := st.DeliveryAddress(w.t.Context(), l.delivery(keys))
		if err != nil || !ok || key != address.Key(p.address) {
			w.t.Errorf("%s: its tokens are those of %q (%v)", p.address, key, err)
		}
	}
	for box := range mail {
		if box != "bounce@"+ourDomain && !w.isMailbox(box) {
			w.t.Errorf("%s has mail", box)
		}
	}
	w.checkSignatures(letters)
	w.checkIndependently(letters)
}

func (w *realWorld) isMailbox(box string) bool {
	return slices.ContainsFunc(w.people, func(p person) bool { return strings.EqualFold(p.mailbox, box) })
}

func (w *realWorld) openStore() *store.Store {
	w.t.Helper()
	st, err := store.Open(w.t.Context(), filepath.Join(w.dir, config.DatabaseName), store.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { st.Close() })
	return st
}

// crlf undoes what a Maildir does to line ends.
func crlf(raw []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// letter is a received message, decoded.
type letter struct {
	deliveredTo, returnPath, messageID, unsubscribe string
	subject                                         string
	to                                              []*gomail.Address
	text, html                                      string
}

func readLetter(raw []byte) (letter, error) {
	var l letter
	r, err := gomail.CreateReader(bytes.NewReader(raw))
	if err != nil {
		return l, err
	}
	l.deliveredTo = r.Header.Get("Delivered-To")
	l.returnPath = strings.Trim(r.Header.Get("Return-Path"), "<>")
	l.unsubscribe = strings.Trim(r.Header.Get("List-Unsubscribe"), "<>")
	var errs [3]error
	l.messageID, errs[0] = r.Header.MessageID()
	l.subject, errs[1] = r.Header.Subject()
	l.to, errs[2] = r.Header.AddressList("To")
	if err := errors.Join(errs[:]...); err != nil {
		return l, err
	}
	for {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return l, err
		}
		body, err := io.ReadAll(part.Body)
		if err != nil {
			return l, err
		}
		switch kind, _, _ := part.Header.(*gomail.InlineHeader).ContentType(); kind {
		case "text/plain":
			l.text += string(body)
		case "text/html":
			l.html += string(body)
		default:
			return l, fmt.Errorf("a part is %s", kind)
		}
	}
}

// problems says what of a letter is not its owner's.
func (l letter) problems(p person, keys delivery.Keys, messageID string) []string {
	var found []string
	check := func(ok bool, format string, args ...any) {
		if !ok {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	check(strings.EqualFold(l.deliveredTo, p.address), "it was delivered to %q", l.deliveredTo)
	check(len(l.to) == 1 && l.to[0].Address == p.address && l.to[0].Name == p.name+" 様", "To: %v", l.to)
	check(l.subject == p.name+" 様へ、会員番号 "+p.id+" のお知らせ", "Subject: %s", l.subject)
	check("<"+l.messageID+">" == messageID || l.messageID == messageID, "Message-ID %s, recorded is %s", l.messageID, messageID)
	visible := html.UnescapeString(l.html)
	for _, body := range []string{oneSpaced(l.text), oneSpaced(visible)} {
		check(strings.Contains(body, oneSpaced(p.name+" 様")), "the name is not in %s", body)
		check(strings.Contains(body, "会員番号は "+p.id+" です"), "the number is not in %s", body)
	}
	check(!strings.Contains(l.html, "<b>") && !strings.Contains(l.html, `href="http://x.example`), "the name became HTML: %s", l.html)
	check(strings.Contains(visible, `href="`+l.unsubscribe+`"`), "the link to unsubscribe is not %s in %s", l.unsubscribe, visible)
	id := l.delivery(keys)
	for _, place := range []struct {
		text string
		kind delivery.TokenKind
	}{{l.returnPath, delivery.TokenBounce}, {l.messageID, delivery.TokenMessageID}, {l.unsubscribe, delivery.TokenUnsubscribe},
		{l.text, delivery.TokenUnsubscribe}, {l.html, delivery.TokenUnsubscribe}} {
		tokens := delivery.FindTokens(place.text)
		check(len(tokens) > 0, "no token in %s", place.text)
		for _, token := range tokens {
			kind, of, err := keys.Verify(token)
			check(err == nil && kind == place.kind && of == id, "token %s: %c of %d, %v", token, kind, of, err)
		}
	}
	check(strings.HasPrefix(l.returnPath, "bounce+b") && strings.HasSuffix(l.returnPath, "@"+ourDomain), "Return-Path: %s", l.returnPath)
	return found
}

// delivery is the one that the return path names, 0 when it names none.
func (l letter) delivery(keys delivery.Keys) int64 {
	tokens := delivery.FindTokens(l.returnPath)
	if len(tokens) != 1 {
		return 0
	}
	_, id, err := keys.Verify(tokens[0])
	if err != nil {
		return 0
	}
	return id
}

// oneSpaced joins lines: a text part may be wrapped.
func oneSpaced(s string) string { return strings.Join(strings.Fields(s), " ") }

// checkSignatures verifies both signatures of every letter with go-msgauth.
func (w *realWorld) checkSignatures(letters map[string][]byte) {
	w.t.Helper()
	lookup := func(name string) ([]string, error) {
		if record, ok := w.records[name]; ok {
			return []string{record}, nil
		}
		return nil, fmt.Errorf("no record %s", name)
	}
	for to, raw := range letters {
		signatures, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{LookupTXT: lookup})
		if err != nil || len(signatures) != len(w.records) {
			w.t.Errorf("%s: %d signatures, %v", to, len(signatures), err)
		}
		for _, s := range signatures {
			if s.Err != nil || s.Domain != ourDomain {
				w.t.Errorf("%s: signature of %s: %v", to, s.Domain, s.Err)
			}
		}
	}
}

// dkimpy reads {"records": {name: TXT}, "letters": {address: base64}} and tells for each address and signature whether
// it holds. A letter whose body was changed comes with the address "changed".
const dkimpy = `
import base64, dkim, json, sys
given = json.load(sys.stdin)
def dns(name, timeout=5):
    name = name.decode() if isinstance(name, bytes) else name
    return given["records"][name.rstrip(".")].encode()
def verify(raw):
    signed, holds = dkim.DKIM(raw), []
    for i in range(sum(name.lower() == b"dkim-signature" for name, _ in signed.headers)):
        try:
            holds.append(signed.verify(i, dnsfunc=dns))
        except dkim.ValidationError:
            holds.append(False)
    return holds
json.dump({to: verify(base64.b64decode(raw)) for to, raw in given["letters"].items()}, sys.stdout)
`

// checkIndependently verifies the same with dkimpy, which shares no code with what signed.
func (w *realWorld) checkIndependently(letters map[string][]byte) {
	w.t.Helper()
	given := struct {
		Records map[string]string `json:"records"`
		Letters map[string][]byte `json:"letters"`
	}{w.records, maps.Clone(letters)}
	for _, raw := range letters {
		given.Letters["changed"] = append(slices.Clone(raw), "and one more line\r\n"...)
		break
	}
	in, err := json.Marshal(given)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "-c", dkimpy) // Debian's own: another python3 may come first in PATH
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("dkimpy: %v\n%s", err, stderr.String())
	}
	var verdicts map[string][]bool
	if err := json.Unmarshal(out, &verdicts); err != nil {
		w.t.Fatal(err)
	}
	for to := range given.Letters {
		if want := to != "changed"; !slices.Equal(verdicts[to], []bool{want, want}) {
			w.t.Errorf("dkimpy says of the signatures of %s: %v", to, verdicts[to])
		}
	}
}

// syncReports reads the bounce mailbox; a second time there is nothing to do.
func (w *realWorld) syncReports(reports int) {
	w.t.Helper()
	want := map[string]int{"read": 0, "complaints": 0, "unsubscribes": 0, "autoreplies": 0, "unmatched": 0, "forged": 0}
	for _, p := range w.people {
		if p.state != delivery.Bounced {
			continue
		}
		want["read"]++
		want["bounces"]++
		if p.suppressed {
			want["hard"]++
			want["suppressed"]++
		} else {
			want["soft"]++
		}
	}
	if reports != want["read"] {
		w.t.Errorf("%d reports are in the bounce mailbox, want %d", reports, want["read"])
	}
	w.sync(want)
	recipients, suppressed := w.recipients(), w.suppressed()
	w.sync(map[string]int{"read": 0, "bounces": 0, "suppressed": 0})
	if !maps.Equal(recipients, w.recipients()) || !slices.Equal(suppressed, w.suppressed()) {
		w.t.Error("reading the mailbox again changed something")
	}
}

// sync runs `bounces sync` and compares the counts that are named.
func (w *realWorld) sync(want map[string]int) {
	w.t.Helper()
	sum := lastLine(w.t, w.run(exitDone, "bounces", "sync"))
	for name, n := range want {
		if sum[name] != float64(n) {
			w.t.Errorf("bounces sync: %s is %v, want %d", name, sum[name], n)
		}
	}
}

// checkFates compares every recipient with their fate, and the suppressions with those who are dead.
func (w *realWorld) checkFates() {
	w.t.Helper()
	for c := range jsonLines[delivery.Balance](w.t, w.run(exitDone, "campaigns", "list")) {
		if !c.Balanced() || c.Planned != int64(len(w.people)) || c.Uncertain+c.Deferred+c.Remaining > 0 {
			w.t.Errorf("the balance is %+v", c)
		}
	}
	listed := w.recipients()
	if len(listed) != len(w.people) {
		w.t.Errorf("%d recipients are listed, want %d", len(listed), len(w.people))
	}
	for key, p := range w.byKey {
		r := listed[key]
		if r.State != p.state || r.Reason != p.reason || !strings.Contains(r.Reply, p.reply) {
			w.t.Errorf("%s is %q for %q with reply %q; want %q for %q with %q", p.address, r.State, r.Reason, r.Reply, p.state, p.reason, p.reply)
		}
	}
	if d := difference(w.suppressed(), w.dead()); d != "" {
		w.t.Errorf("suppressions:\n%s", d)
	}
	told := map[string]bool{}
	for _, p := range w.people {
		if p.reply == "" || told[p.fate.name] {
			continue
		}
		told[p.fate.name] = true
		if story := w.run(exitDone, "why", p.cell); !strings.Contains(story, jsonText(p.reply)) {
			w.t.Errorf("why %s does not tell %q:\n%s", p.cell, p.reply, story)
		}
	}
}

// jsonText is a text as it stands inside a JSON string.
func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b[1 : len(b)-1])
}

// unsubscribe writes the mail that a reader's program writes for the List-Unsubscribe field.
func (w *realWorld) unsubscribe(mail map[string][][]byte) {
	w.t.Helper()
	p := w.one("later")
	l, err := readLetter(crlf(mail[strings.ToLower(p.mailbox)][0]))
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := url.Parse(l.unsubscribe)
	if err != nil || u.Scheme != "mailto" {
		w.t.Fatalf("List-Unsubscribe: %s, %v", l.unsubscribe, err)
	}
	before := w.suppressed()
	w.deliver(p.address, u.Opaque, fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <1@%s>\r\nDate: %s\r\n\r\n\r\n",
		p.address, u.Opaque, u.Query().Get("subject"), p.domain, time.Now().Format(time.RFC1123Z)))
	w.sync(map[string]int{"read": 1, "unsubscribes": 1, "suppressed": 1, "bounces": 0})
	want := append(before, address.Key(p.address)+" unsubscribe marketing")
	if d := difference(w.suppressed(), want); d != "" {
		w.t.Errorf("suppressions after an unsubscribe:\n%s", d)
	}
}

// forge sends reports that name somebody who is alive: a genuine one with their address and id but without our key, one
// without any token, and one with the tokens of the delivery that it was about.
func (w *realWorld) forge(reports [][]byte) {
	w.t.Helper()
	dead, victim := w.one("gone.away"), w.one("away")
	i := slices.IndexFunc(reports, func(raw []byte) bool { return bytes.Contains(raw, []byte("Final-Recipient: rfc822; "+dead.address)) })
	if i < 0 {
		w.t.Fatalf("no report is about %s", dead.address)
	}
	_, body, _ := strings.Cut(string(crlf(reports[i])), "\r\nFrom: ") // without the trace of its first journey
	replayed := "From: " + strings.ReplaceAll(body, dead.address, victim.address)
	forged, bare, back := replayed, replayed, ""
	id, _, _ := strings.Cut(delivery.FindTokens(w.recipients()[address.Key(victim.address)].MessageID)[0], "-")
	for _, token := range delivery.FindTokens(replayed) {
		if token[0] == byte(delivery.TokenBounce) {
			back = token
		}
		forged = strings.ReplaceAll(forged, token, token[:1]+id[1:]+"-"+strings.Repeat("0", 16))
		bare = strings.ReplaceAll(bare, token, "news")
	}
	recipients, suppressed := w.recipients(), w.suppressed()
	w.deliver("", "bounce+b"+id[1:]+"-"+strings.Repeat("0", 16)+"@"+ourDomain, forged)
	w.deliver("", "bounce@"+ourDomain, bare)
	w.deliver("", "bounce+"+back+"@"+ourDomain, replayed)
	w.sync(map[string]int{"read": 3, "forged": 1, "unmatched": 1, "bounces": 0, "suppressed": 0})
	if !maps.Equal(recipients, w.recipients()) {
		w.t.Error("a forged report changed a recipient")
	}
	if d := difference(w.suppressed(), suppressed); d != "" {
		w.t.Errorf("a forged report changed suppressions:\n%s", d)
	}
}

// deliver brings a mail to our domain, as another host would, and waits until it is in the mailbox.
func (w *realWorld) deliver(from, to, text string) {
	w.t.Helper()
	if err := smtp.SendMail(fmt.Sprintf("127.0.0.1:%d", w.inbound), nil, from, []string{to}, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
	w.settle()
}

// one is somebody of a fate.
func (w *realWorld) one(fate string) person {
	return w.people[slices.IndexFunc(w.people, func(p person) bool { return p.fate.name == fate })]
}
