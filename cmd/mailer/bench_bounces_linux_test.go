package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailer/internal/bounce"
	"mailer/internal/delivery"
	"mailer/internal/mailtest"
)

// benchMails is how many mails the large mailbox of BenchmarkBounceSync holds; MAILER_BENCH_MAILS makes it smaller for a quick look.
func benchMails(b *testing.B) int {
	b.Helper()
	text := os.Getenv("MAILER_BENCH_MAILS")
	if text == "" {
		return 100_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 2000 {
		b.Fatalf("MAILER_BENCH_MAILS=%s: a number from 2000 on", text)
	}
	return n
}

// BenchmarkBounceSync reads a large mailbox, and one of a thousand mails, by the whole command: every tenth message of a campaign came back. In the same run the same mails are only
// parsed, on one core: x-parse is how long a mail takes by that. x-MB-of-1000 is the peak of the memory by that of the thousand. It
// takes minutes, so it wants to be named (BENCH=BounceSync) or made smaller (MAILER_BENCH_MAILS).
func BenchmarkBounceSync(b *testing.B) {
	if named := flag.Lookup("test.bench").Value.String(); !strings.Contains(named, "BounceSync") && os.Getenv("MAILER_BENCH_MAILS") == "" {
		b.Skip("takes minutes: make bench BENCH=BounceSync, or set MAILER_BENCH_MAILS")
	}
	const few = 1000
	many := benchMails(b)
	for _, kind := range []string{"mbox", "maildir", "imap"} {
		for _, how := range []string{"", "--dry-run"} {
			if how != "" && kind != "mbox" {
				continue
			}
			b.Run(kind+how, func(b *testing.B) {
				for b.Loop() {
					small, _ := benchSync(b, kind, few, how)
					large, parsed := benchSync(b, kind, many, how)
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(float64(many)/large.wall.Seconds(), "mails/s")
					b.ReportMetric(large.cpu.Seconds()*1e6/float64(many), "cpu-µs/mail")
					b.ReportMetric(large.wall.Seconds()/parsed.Seconds(), "x-parse")
					b.ReportMetric(large.peak, "MB")
					b.ReportMetric(large.peak/small.peak, "x-MB-of-1000")
				}
			})
		}
	}
}

// benchSync fills a mailbox and reads it. parsed is how long the same mails take to be parsed.
func benchSync(b *testing.B, kind string, n int, how string) (p process, parsed time.Duration) {
	b.Helper()
	dir := benchWorkspace(b, `
sender: {from: News <news@example.com>}
bounces: {return_path: "bounce+{token}@example.com"}
`)
	keys := sentTo(b, dir, 10*n+10, benchDomains)
	args := []string{"-C", dir, "bounces", "sync"}
	if how != "" {
		args = append(args, how)
	}
	var add func(id int, mail []byte) error
	ready := func() error { return nil }
	switch kind {
	case "mbox":
		path := filepath.Join(dir, "bounces.mbox")
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		w := bufio.NewWriter(f)
		add = func(_ int, mail []byte) error {
			_, err := fmt.Fprintf(w, "From MAILER-DAEMON Thu Nov 26 13:30:00 2026\n%s\n", strings.ReplaceAll(string(mail), "\r\n", "\n"))
			return err
		}
		ready = w.Flush
		args = append(args, "--source", "mbox:"+path)
	case "maildir":
		path := filepath.Join(dir, "Maildir")
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(path, sub), 0o700); err != nil {
				b.Fatal(err)
			}
		}
		add = func(id int, mail []byte) error {
			return os.WriteFile(filepath.Join(path, "new", fmt.Sprintf("%d.M%dP1.mx.example.com,S=%d", 1_790_000_000+id, id, len(mail))), mail, 0o600)
		}
		args = append(args, "--source", "maildir:"+path, "--after", "flag")
	case "imap":
		server := mailtest.NewIMAP(b, mailtest.IMAP{})
		add = func(_ int, mail []byte) error { return server.Deliver(mail) }
		args = append(args, "--source", fmt.Sprintf("imap://%s:%s@127.0.0.1:%d/INBOX", server.Username, server.Password, server.Port), "--after", "flag")
	}
	for k := 1; k <= n; k++ {
		id := 10*k + k%10
		mail := benchBounce(keys, id)
		if err := add(id, mail); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		bounce.Parse(mail)
		parsed += time.Since(began)
	}
	if err := ready(); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(binary(b), args...)
	began := time.Now()
	peak, _ := peakOf(b, cmd)
	return process{time.Since(began), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), float64(peak)}, parsed
}

// benchDomains is where people have their mailboxes: at providers, and at a thousand firms.
const benchDomains = `CASE i % 10 WHEN 0 THEN 'gmail.com' WHEN 1 THEN 'gmail.com' WHEN 2 THEN 'gmail.com' WHEN 3 THEN 'docomo.ne.jp' WHEN 4 THEN 'docomo.ne.jp'
	WHEN 5 THEN 'yahoo.co.jp' WHEN 6 THEN 'ezweb.ne.jp' WHEN 7 THEN 'example.jp' ELSE printf('firm%03d.example', i / 10 % 1000) END`

// benchBounce is a report as Postfix writes it, with the headers that it returns.
func benchBounce(keys delivery.Keys, id int) []byte {
	status, text := "5.1.1", "550 5.1.1 <"+killAddress(id)+">: Recipient address rejected: User unknown in virtual mailbox table"
	if id%5 == 0 {
		status, text = "5.2.2", "552 5.2.2 <"+killAddress(id)+">: Mailbox full"
	}
	to := "bounce+" + keys.Sign(delivery.TokenBounce, int64(id)) + "@example.com"
	return []byte(strings.ReplaceAll(fmt.Sprintf(`Return-Path: <>
Delivered-To: bounce@example.com
Received: from mx.example.jp (mx.example.jp [192.0.2.7]) by mail.example.com (Postfix) with ESMTPS id 4XY%[1]dz for <%[2]s>;
 Thu, 26 Nov 2026 13:30:00 +0900 (JST)
Received: by mx.example.jp (Postfix) id 4AB%[1]dq; Thu, 26 Nov 2026 13:29:59 +0900 (JST)
Date: Thu, 26 Nov 2026 13:29:59 +0900 (JST)
From: Mail Delivery System <MAILER-DAEMON@mx.example.jp>
To: %[2]s
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
Message-ID: <20261126.%[1]d@mx.example.jp>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="4AB%[1]d.1795666199/mx.example.jp"

This is a MIME-encapsulated message.

--4AB%[1]d.1795666199/mx.example.jp
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.example.jp.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system

<%[3]s>: host mail.example.jp[192.0.2.8] said: %[5]s
    (in reply to RCPT TO command)

--4AB%[1]d.1795666199/mx.example.jp
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.jp
X-Postfix-Queue-ID: 4AB%[1]d
X-Postfix-Sender: rfc822; %[2]s
Arrival-Date: Thu, 26 Nov 2026 13:29:58 +0900 (JST)

Final-Recipient: rfc822; %[3]s
Original-Recipient: rfc822;%[3]s
Action: failed
Status: %[4]s
Remote-MTA: dns; mail.example.jp
Diagnostic-Code: smtp; %[5]s

--4AB%[1]d.1795666199/mx.example.jp
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

Return-Path: <%[2]s>
Received: from mail.example.com (mail.example.com [192.0.2.9]) by mx.example.jp (Postfix) with ESMTPS id 4AB%[1]d
 for <%[3]s>; Thu, 26 Nov 2026 13:29:58 +0900 (JST)
From: News <news@example.com>
To: %[3]s
Subject: =?utf-8?B?MTHmnIjjga7jgYrnn6XjgonjgZs=?=
Date: Thu, 26 Nov 2026 13:29:57 +0900
Message-ID: <%[6]s@example.com>
List-Unsubscribe: <mailto:%[2]s?subject=unsubscribe>
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=x

--4AB%[1]d.1795666199/mx.example.jp--
`, id, to, killAddress(id), status, text, keys.Sign(delivery.TokenMessageID, int64(id))), "\n", "\r\n"))
}
