package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailer/internal/campaign"
	"mailer/internal/doctor"
	"mailer/internal/mailbox"
	"mailer/internal/mailtest"
	"mailer/internal/message"
	"mailer/internal/relay"
	"mailer/internal/resolver"
)

const (
	tripID     = "roundtripid234567"
	tripToken  = "b1abc-0123456789abcdef"
	tripReturn = "bounce+" + tripToken + "@example.com"
	tripMID    = "m1abc-0123456789abcdef@example.com"
	tripZone   = "@ IN TXT \"v=spf1 ip4:192.0.2.10 -all\"\n_dmarc IN TXT \"v=DMARC1; p=none\"\ns1._domainkey IN TXT {{record rsa2048}}\n"
)

// tripLetter is a message as a campaign's, signed by example.com with the key of s1.
func tripLetter(t *testing.T, signed bool) []byte {
	t.Helper()
	doc, err := campaign.Parse("trip.md", []byte("---\nsubject: Round trip "+tripID+"\n---\nLook at https://shop.example.com/a?x=1 and この文字.\n\nLeave: {{.unsubscribe_url}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var signers []message.Signer
	if signed {
		signers = append(signers, message.Signer{Domain: "example.com", Selector: "s1", Key: examKey(t, "rsa2048")})
	}
	c, err := message.Compile(campaign.Content{ID: "trip", Class: campaign.Marketing, Timezone: "UTC",
		Sender: campaign.Sender{From: "News <news@example.com>", Organization: "Example", PostalAddress: "Example"}, Variants: []campaign.Variant{{Document: doc}}}, signers)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Render(message.Recipient{Address: tripReturn}, message.Mark{MessageID: tripMID, UnsubscribeMailto: "mailto:u@example.com",
		UnsubscribeURL: "https://example.com/u/x", Date: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// newTrip is a round trip into a Maildir, through a relay whose deliver is called with what was sent.
func newTrip(t *testing.T, raw []byte, zone string, script mailtest.Script, deliver func(dir string, raw []byte)) (*doctor.RoundTrip, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Maildir")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	script.Reply = func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "." && deliver != nil {
			deliver(dir, raw)
		}
		return nil
	}
	srv := mailtest.NewSMTP(t, script)
	ns := mailtest.NewNameserver(t)
	for origin, text := range map[string]string{".": "", "example.com": expandKeys(t, zone)} {
		if err := ns.Zone(origin, text); err != nil {
			t.Fatal(err)
		}
	}
	if zone == "" {
		ns.Fail("*.example.com", mailtest.ServFail)
	}
	r, err := resolver.New(resolver.Options{Servers: []string{ns.Addr()}, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	trip := &doctor.RoundTrip{Carrier: "main", Server: relay.Server{Name: "main", Host: "127.0.0.1", Port: srv.Port, TLS: relay.NoTLS, Auth: "auto", Pipelining: true},
		Message: relay.Message{Envelope: relay.Envelope{From: tripReturn, To: tripReturn, ENVID: tripToken}, Raw: raw},
		ID:      tripID, MessageID: tripMID, From: "example.com", Signers: []string{"example.com"}, Signed: true, Folders: []string{"INBOX"}, Kept: "it is deleted",
		Hosts: []string{"imap.example.jp"}, Resolver: r, Wait: 5 * time.Second, Poll: 20 * time.Millisecond, Now: time.Now,
		Open: func(ctx context.Context, folder string, tidy bool) (mailbox.Box, error) {
			o := mailbox.Options{Protocol: mailbox.Maildir, Path: dir, Folder: folder, After: mailbox.AfterLeave}
			if tidy {
				o.After = mailbox.AfterDelete
			}
			return mailbox.Open(ctx, o)
		}}
	return trip, dir
}

var mails atomic.Int64

func drop(t *testing.T, dir, text string) {
	name := fmt.Sprintf("%d.%d.test", time.Now().Unix(), mails.Add(1))
	if err := os.WriteFile(filepath.Join(dir, "new", name), []byte(text), 0o600); err != nil {
		t.Error(err)
	}
}

// inbox is what lies in a Maildir.
func inbox(t *testing.T, dir string) []string {
	var all []string
	for _, sub := range []string{"new", "cur"} {
		files, err := filepath.Glob(filepath.Join(dir, sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(text))
		}
	}
	return all
}

func stamp(d time.Duration) string { return time.Now().Add(d).Format(time.RFC1123Z) }

// trace is what a receiver's servers write above a message.
func trace(returnPath, results string, hops ...string) string {
	text := "Return-Path: <" + returnPath + ">\r\n"
	if results != "" {
		text += "Authentication-Results: mx.example.jp; " + results + "\r\n"
	}
	if len(hops) == 0 {
		hops = []string{"from mail.example.com (mail.example.com [192.0.2.10]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)) by mx.example.jp (Postfix) with ESMTPS id 1; " + stamp(0)}
	}
	for _, h := range hops {
		text += "Received: " + h + "\r\n"
	}
	return text
}

const passed = "spf=pass smtp.mailfrom=" + tripReturn + "; dkim=pass header.d=example.com; dmarc=pass header.from=example.com"

// What is done to a message on its way, and what must be found.
func TestRoundTripFindsTheDamage(t *testing.T) {
	letter := tripLetter(t, true)
	edit := func(pairs ...string) func(string) string { return strings.NewReplacer(pairs...).Replace }
	drops := func(name string) func(string) string {
		return func(s string) string { // a whole field
			var out []string
			skip := false
			for _, line := range strings.SplitAfter(s, "\r\n") {
				if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
					skip = strings.HasPrefix(strings.ToLower(line), strings.ToLower(name)+":")
				}
				if !skip {
					out = append(out, line)
				}
			}
			return strings.Join(out, "")
		}
	}
	for name, c := range map[string]struct {
		zone   string // tripZone when empty
		trace  string
		damage func(string) string
		want   map[string]string // check -> level and words; all others are pass or info
	}{
		"nothing": {want: map[string]string{"arrival": "pass arrived in INBOX", "arrival_dkim": "pass d=example.com", "arrival_alignment": "pass by DKIM", "arrival_headers": "pass ",
			"arrival_list_unsubscribe": "pass covers them", "arrival_tls": "pass 1 of 1 hops", "arrival_return_path": "pass as it was sent", "arrival_delay": "pass ", "arrival_results": "pass mx.example.jp says spf=pass"}},
		"a footer": {damage: edit("Content-Transfer-Encoding: base64\r\n\r\n", "Content-Transfer-Encoding: base64\r\n\r\nWA==\r\n"),
			want: map[string]string{"arrival_dkim": "fail Our signature broke on the way", "arrival_alignment": "warn by SPF alone", "arrival_list_unsubscribe": "fail no valid signature covers"}},
		"a header marked": {damage: edit("Subject: ", "Subject: [extern] "),
			want: map[string]string{"arrival_dkim": "fail Subject was changed", "arrival_headers": "warn [extern]", "arrival_alignment": "warn by SPF", "arrival_list_unsubscribe": "fail no valid"}},
		"the signature gone": {damage: drops("DKIM-Signature"),
			want: map[string]string{"arrival_dkim": "fail taken out", "arrival_alignment": "warn by SPF", "arrival_list_unsubscribe": "fail no valid"}},
		"message-id replaced": {damage: edit(tripMID, "0100@relay.example"),
			want: map[string]string{"arrival_headers": "warn Message-ID was changed", "arrival_dkim": "fail Message-ID", "arrival_alignment": "warn SPF", "arrival_list_unsubscribe": "fail "}},
		"from rewritten": {damage: edit("<news@example.com>", "<news=example.com@lists.example.jp>"),
			want: map[string]string{"arrival_headers": "fail From was changed", "arrival_dkim": "fail From", "arrival_alignment": "fail lists.example.jp", "arrival_list_unsubscribe": "fail "}},
		"two dates": {damage: func(s string) string { return "Date: " + stamp(0) + "\r\n" + s },
			want: map[string]string{"arrival_headers": "warn Date is there 2 times", "arrival_dkim": "fail ", "arrival_alignment": "warn ", "arrival_list_unsubscribe": "fail "}},
		"unsubscribe taken over": {damage: edit("https://example.com/u/x", "https://click.relay.example/u"),
			want: map[string]string{"arrival_list_unsubscribe": "fail List-Unsubscribe was changed", "arrival_dkim": "fail ", "arrival_alignment": "warn "}},
		"one-click gone": {damage: drops("List-Unsubscribe-Post"),
			want: map[string]string{"arrival_list_unsubscribe": "fail List-Unsubscribe-Post was removed", "arrival_dkim": "fail ", "arrival_alignment": "warn "}},
		"in clear": {trace: trace(tripReturn, passed, "from mail.example.com (mail.example.com [192.0.2.10]) by mx.example.jp (Postfix) with ESMTP id 1; "+stamp(0)),
			want: map[string]string{"arrival_tls": "warn mail.example.com to mx.example.jp"}},
		"TLS of old": {trace: trace(tripReturn, passed, "from mail.example.com (mail.example.com [192.0.2.10]) (using TLSv1 with cipher AES256-SHA (256/256 bits)) by mx.example.jp (Postfix) with ESMTPS id 1; "+stamp(0)),
			want: map[string]string{"arrival_tls": "warn TLS 1.0"}},
		"return path rewritten": {trace: trace("bounces-77@relay.example", passed),
			want: map[string]string{"arrival_return_path": "warn became bounces-77@relay.example"}},
		"return path wrapped": {trace: trace("SRS0=x=y=example.com=bounce+"+tripToken+"@fwd.example", passed),
			want: map[string]string{"arrival_return_path": "pass wrapped"}},
		"a clock that is wrong": {trace: trace(tripReturn, passed, "from a by mx.example.jp with ESMTPS; "+stamp(0), "from mail.example.com by a with ESMTPS; "+stamp(3*time.Hour)),
			want: map[string]string{"arrival_delay": "info clock of mx.example.jp"}},
		"the receiver says no": {trace: trace(tripReturn, "spf=softfail smtp.mailfrom=example.com; dkim=fail reason=\"bad key\" header.d=example.com; dmarc=fail header.from=example.com"),
			want: map[string]string{"arrival_results": "fail dmarc=fail"}},
		"not the receiver's words": {trace: "Authentication-Results: evil.example; dmarc=fail\r\n" + trace(tripReturn, ""),
			want: map[string]string{"arrival_results": "info evil.example"}},
		"spam": {trace: "X-Spam-Status: Yes, score=7.1 required=5.0\r\n" + trace(tripReturn, passed),
			want: map[string]string{"arrival_results": "warn takes the message for spam"}},
		"no key in the DNS": {zone: strings.Replace(tripZone, "s1._domainkey", "s9._domainkey", 1),
			want: map[string]string{"arrival_dkim": "fail key", "arrival_alignment": "warn SPF", "arrival_list_unsubscribe": "fail "}},
		"another key in the DNS": {zone: strings.Replace(tripZone, "{{record rsa2048}}", "{{record other2048}}", 1),
			want: map[string]string{"arrival_dkim": "fail nothing seems to have changed", "arrival_alignment": "warn SPF", "arrival_list_unsubscribe": "fail "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			zone, above := c.zone, c.trace
			if zone == "" {
				zone = tripZone
			}
			if above == "" {
				above = trace(tripReturn, passed)
			}
			trip, dir := newTrip(t, letter, zone, mailtest.Script{}, func(dir string, raw []byte) {
				text := string(raw)
				if c.damage != nil {
					if text = c.damage(text); text == string(raw) {
						t.Error("the damage changes nothing")
					}
				}
				drop(t, dir, "Subject: other mail\r\n\r\nnew\r\n")
				drop(t, dir, above+text)
			})
			drop(t, dir, "Subject: old mail about "+tripID+"\r\n\r\nold\r\n")
			found, err := trip.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			gradeTrip(t, found, c.want)
			if left := inbox(t, dir); len(left) != 2 || strings.Contains(strings.Join(left, ""), tripMID) {
				t.Errorf("left in the mailbox: %q", left)
			}
		})
	}
}

func gradeTrip(t *testing.T, found []doctor.Finding, want map[string]string) {
	t.Helper()
	seen := map[string]bool{}
	for _, f := range found {
		level, words, _ := strings.Cut(want[f.Check], " ")
		text := f.Found + " " + f.Do + " " + strings.Join(f.Detail, " ")
		switch {
		case level == "" && f.Level.Worse(doctor.Info):
			t.Errorf("%s: nothing wrong was expected: %+v", f.Check, f)
		case level != "" && (string(f.Level) != level || !strings.Contains(text, words)):
			t.Errorf("%s: want %s, saying %q; got %+v", f.Check, level, words, f)
		}
		if f.Level.Worse(doctor.Info) && (f.Why == "" || f.Do == "") {
			t.Errorf("%s says no why or do: %+v", f.Check, f)
		}
		seen[f.Check] = true
	}
	for check := range want {
		if !seen[check] {
			t.Errorf("no %s among %+v", check, found)
		}
	}
}

// A DNS that says nothing makes nothing fail.
func TestRoundTripWithoutDNS(t *testing.T) {
	trip, _ := newTrip(t, tripLetter(t, true), "", mailtest.Script{}, func(dir string, raw []byte) { drop(t, dir, trace(tripReturn, "")+string(raw)) })
	found, err := trip.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gradeTrip(t, found, map[string]string{"arrival_dkim": "unknown DNS", "arrival_alignment": "unknown DNS", "arrival_list_unsubscribe": "unknown DNS", "arrival_results": "info "})
}

func TestRoundTripOfUnsignedMail(t *testing.T) {
	trip, _ := newTrip(t, tripLetter(t, false), tripZone, mailtest.Script{}, func(dir string, raw []byte) { drop(t, dir, trace(tripReturn, "")+string(raw)) })
	trip.Signers = nil
	found, err := trip.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gradeTrip(t, found, map[string]string{"arrival_dkim": "warn Nobody signs", "arrival_alignment": "unknown SPF", "arrival_list_unsubscribe": "warn no valid", "arrival_results": "info "})
}

const tripBounce = "Return-Path: <>\r\nFrom: MAILER-DAEMON@mail.example.com\r\nTo: " + tripReturn + "\r\nSubject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/report; report-type=delivery-status; boundary=B\r\n\r\n--B\r\nContent-Type: text/plain\r\n\r\nsorry\r\n--B\r\nContent-Type: message/delivery-status\r\n\r\n" +
	"Reporting-MTA: dns; mail.example.com\r\n\r\nFinal-Recipient: rfc822; " + tripReturn + "\r\nAction: %s\r\nStatus: %s\r\nDiagnostic-Code: smtp; 550 5.1.1 there is no such mailbox\r\n\r\n--B--\r\n"

func TestRoundTripThatFails(t *testing.T) {
	letter := tripLetter(t, true)
	for name, c := range map[string]struct {
		script  mailtest.Script
		deliver string
		want    string
	}{
		"a bounce":            {deliver: fmt.Sprintf(tripBounce, "failed", "5.1.1"), want: "fail there is no such mailbox"},
		"refused":             {script: mailtest.Script{Replies: map[string]string{"RCPT": "550 5.7.1 relaying denied"}}, want: "fail relaying denied"},
		"refused for now":     {script: mailtest.Script{Replies: map[string]string{".": "451 4.3.0 later"}}, want: "fail 451 4.3.0 later"},
		"nothing comes":       {want: "fail did not arrive within"},
		"a delay is no end":   {deliver: fmt.Sprintf(tripBounce, "delayed", "4.4.1"), want: "fail delayed and still on its way"},
		"somebody else's":     {deliver: "Subject: hello\r\n\r\nhello\r\n", want: "fail did not arrive within"},
		"an automatic answer": {deliver: "Subject: Re: Round trip " + tripID + "\r\nAuto-Submitted: auto-replied\r\n\r\naway\r\n", want: "fail an automatic answer came"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trip, dir := newTrip(t, letter, tripZone, c.script, func(dir string, _ []byte) {
				if c.deliver != "" {
					drop(t, dir, c.deliver)
				}
			})
			trip.Wait = 300 * time.Millisecond
			if name == "a bounce" {
				trip.Wait = 5 * time.Second
			}
			found, err := trip.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != 1 {
				t.Fatalf("%+v", found)
			}
			gradeTrip(t, found, map[string]string{"arrival": c.want})
			if left := inbox(t, dir); name == "a bounce" && len(left) != 0 || name == "somebody else's" && len(left) != 1 {
				t.Errorf("left in the mailbox: %q", left)
			}
		})
	}
}

// A mailbox that cannot be read: nothing is sent.
func TestRoundTripWithoutMailbox(t *testing.T) {
	trip, _ := newTrip(t, tripLetter(t, true), tripZone, mailtest.Script{}, func(string, []byte) { t.Error("a message was sent") })
	trip.Open = func(context.Context, string, bool) (mailbox.Box, error) { return nil, errors.New("no such mailbox") }
	if found, err := trip.Run(t.Context()); err == nil || len(found) > 0 {
		t.Errorf("%v %+v", err, found)
	}
}

func TestRoundTripIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	trip, _ := newTrip(t, tripLetter(t, true), tripZone, mailtest.Script{}, func(string, []byte) { time.AfterFunc(50*time.Millisecond, cancel) })
	trip.Wait = time.Minute
	began := time.Now()
	if _, err := trip.Run(ctx); !errors.Is(err, context.Canceled) || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// IMAP tells of new mail, and the message may come into any folder, or be moved by a sync that runs meanwhile.
func TestRoundTripOverIMAP(t *testing.T) {
	for name, where := range map[string]string{"told by IDLE": "INBOX", "moved by another process": "Review"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box := mailtest.NewIMAP(t, mailtest.IMAP{})
			if err := box.Deliver([]byte("Subject: old\r\n\r\nold\r\n")); err != nil {
				t.Fatal(err)
			}
			client := mailtest.DialIMAP(t, box.Addr, box.Username, box.Password)
			if err := client.Create("Review", nil).Wait(); err != nil {
				t.Fatal(err)
			}
			trip, _ := newTrip(t, tripLetter(t, true), tripZone, mailtest.Script{}, func(_ string, raw []byte) {
				text := []byte(trace(tripReturn, passed) + string(raw))
				time.AfterFunc(100*time.Millisecond, func() {
					append := client.Append(where, int64(len(text)), nil)
					append.Write(text)
					append.Close()
					if _, err := append.Wait(); err != nil {
						t.Error(err)
					}
				})
			})
			trip.Beside = []string{"Processed", "Review"}
			trip.Poll = 500 * time.Millisecond
			trip.Open = func(ctx context.Context, folder string, tidy bool) (mailbox.Box, error) {
				o := mailbox.Options{Host: box.Host, Port: box.Port, TLS: mailbox.TLSNone, Username: box.Username, Password: box.Password, Folder: folder, After: mailbox.AfterLeave}
				if tidy {
					o.After, o.Processed = mailbox.AfterMove, "Processed"
				}
				return mailbox.Open(ctx, o)
			}
			found, err := trip.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			gradeTrip(t, found, map[string]string{"arrival": "pass arrived in " + where, "arrival_dkim": "pass "})
			left, moved := box.Count("INBOX"), box.Count("Processed")
			if where == "INBOX" && (left != 1 || moved != 1) || where == "Review" && (left != 1 || box.Count("Review") != 1) {
				t.Errorf("%d in INBOX, %d in Processed", left, moved)
			}
		})
	}
}
