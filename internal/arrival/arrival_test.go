package arrival

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func crlf(s string) []byte {
	return []byte(strings.ReplaceAll(strings.TrimPrefix(s, "\n"), "\n", "\r\n"))
}

func TestParse(t *testing.T) {
	m := Parse(crlf("From a@b Mon\nSubject: one\n  two\nX:\nto : a@example.com\n\nbody\n"))
	if got := m.Get("subject"); got != "one two" || m.Get("To") != "a@example.com" || string(m.Body) != "body\r\n" || len(m.Fields) != 3 {
		t.Errorf("%q %+v", got, m)
	}
	if m := Parse(crlf("A: 1\nthis is no field\n\nx")); len(m.Fields) != 1 || !strings.HasPrefix(string(m.Body), "this is") {
		t.Errorf("%+v", m)
	}
	for raw, want := range map[string]string{
		"Return-Path: <bounce+b1x-y@example.com>\n\n": "bounce+b1x-y@example.com", "Return-Path: <> (null)\n\n": "", "return-path: a@example.com\n\n": "a@example.com",
	} {
		if got, ok := Parse(crlf(raw)).ReturnPath(); !ok || got != want {
			t.Errorf("%q: %q %v", raw, got, ok)
		}
	}
	if _, ok := Parse(crlf("A: b\n\n")).ReturnPath(); ok {
		t.Error("a return path out of nothing")
	}
}

// Fields as the servers of the world write them.
func TestHops(t *testing.T) {
	const at = "; Thu, 26 Nov 2026 10:00:05 +0900"
	for name, c := range map[string]struct {
		field           string
		cover           Cover
		version, cipher string
		from, by        string
	}{
		"Postfix, TLS": {"from mail.example.com (mail.example.com [192.0.2.1])\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\n\t key-exchange X25519 server-signature RSA-PSS (2048 bits))\n\t(No client certificate requested)\n\tby mx.example.jp (Postfix) with ESMTPS id 4XyZ\n\tfor <a@example.jp>" + at,
			Encrypted, "TLS 1.3", "TLS_AES_256_GCM_SHA384", "mail.example.com", "mx.example.jp"},
		"Postfix, clear":       {"from mail.example.com (unknown [192.0.2.1])\n\tby mx.example.jp (Postfix) with ESMTP id 4XyZ" + at, Clear, "", "", "mail.example.com", "mx.example.jp"},
		"Postfix, logged in":   {"from [10.0.0.2] (host.example.com [192.0.2.9])\n\tby mx.example.jp (Postfix) with ESMTPSA id 4XyZ" + at, Encrypted, "", "", "[10.0.0.2]", "mx.example.jp"},
		"Postfix, by itself":   {"by mx.example.jp (Postfix, from userid 0)\n\tid 4XyZ" + at, Inside, "", "", "", "mx.example.jp"},
		"Postfix, filter":      {"from localhost (localhost [127.0.0.1])\n\tby mx.example.jp (Postfix) with ESMTP id 4XyZ" + at, Inside, "", "", "localhost", "mx.example.jp"},
		"Postfix, IPv6":        {"from box (localhost [IPv6:::1])\n\tby mx.example.jp (Postfix) with ESMTP id 4XyZ" + at, Inside, "", "", "box", "mx.example.jp"},
		"Exim, TLS":            {"from mail.example.com ([192.0.2.1])\n\tby mx.example.jp with esmtps (TLS1.3) tls TLS_AES_256_GCM_SHA384\n\t(Exim 4.97)\n\t(envelope-from <a@example.com>)\n\tid 1rXy-0001-00" + at, Encrypted, "TLS 1.3", "TLS_AES_256_GCM_SHA384", "mail.example.com", "mx.example.jp"},
		"Exim of old":          {"from mail.example.com ([192.0.2.1])\n\tby mx.example.jp with esmtps (TLSv1.2:ECDHE-RSA-AES256-GCM-SHA384:256)\n\t(Exim 4.82)" + at, Encrypted, "TLS 1.2", "ECDHE-RSA-AES256-GCM-SHA384", "mail.example.com", "mx.example.jp"},
		"Exim, clear":          {"from mail.example.com ([192.0.2.1] helo=mail)\n\tby mx.example.jp with esmtp (Exim 4.97)" + at, Clear, "", "", "mail.example.com", "mx.example.jp"},
		"Exim, local":          {"from root by mx.example.jp with local (Exim 4.97)" + at, Inside, "", "", "root", "mx.example.jp"},
		"Exchange, TLS":        {"from AM0PR.eurprd.prod.outlook.com (2603:10a6::1) by\n DB9PR.eurprd.prod.outlook.com (2603:10a6::2) with Microsoft SMTP Server\n (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20.1" + at, Encrypted, "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "AM0PR.eurprd.prod.outlook.com", "DB9PR.eurprd.prod.outlook.com"},
		"Exchange, clear":      {"from mail.example.com (192.0.2.1) by ex.example.jp (10.0.0.2) with Microsoft SMTP Server id 15.1.1" + at, Clear, "", "", "mail.example.com", "ex.example.jp"},
		"Exchange, inside":     {"from EX1.example.jp ([fe80::1]) by EX1.example.jp ([fe80::1%3]) with mapi id 15.01" + at, Inside, "", "", "EX1.example.jp", "EX1.example.jp"},
		"Gmail":                {"from mail.example.com (mail.example.com. [192.0.2.1])\n        by mx.google.com with ESMTPS id a1-2\n        for <a@gmail.com>\n        (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256)" + at, Encrypted, "TLS 1.3", "TLS_AES_256_GCM_SHA384", "mail.example.com", "mx.google.com"},
		"Gmail, inside":        {"by 2002:a05:6a10:1::1 with SMTP id x1-2csp1" + at, Inside, "", "", "", "2002:a05:6a10:1::1"},
		"Sendmail":             {"from mail.example.com (mail.example.com [192.0.2.1])\n\tby mx.example.jp (8.18.1/8.18.1) with ESMTPS id 4AB (version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256 verify=NO)" + at, Encrypted, "TLS 1.3", "TLS_AES_256_GCM_SHA384", "mail.example.com", "mx.example.jp"},
		"OpenSMTPD":            {"from mail.example.com (mail.example.com [192.0.2.1])\n\tby mx.example.jp (OpenSMTPD) with ESMTPS id 1a2b (TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO)\n\tfor <a@example.jp>" + at, Encrypted, "TLS 1.3", "TLS_AES_256_GCM_SHA384", "mail.example.com", "mx.example.jp"},
		"qmail":                {"from unknown (HELO mail.example.com) (192.0.2.1)\n  by mx.example.jp with SMTP" + at, Clear, "", "", "unknown", "mx.example.jp"},
		"qmail, TLS":           {"from unknown (HELO mail.example.com) (192.0.2.1)\n  by mx.example.jp with (AES256-GCM-SHA384 encrypted) SMTP" + at, Encrypted, "", "AES256-GCM-SHA384", "unknown", "mx.example.jp"},
		"qmail, the user's":    {"(qmail 1234 invoked by uid 89)" + at, Inside, "", "", "", ""},
		"qmail, the network":   {"(qmail 1234 invoked from network)" + at, Inside, "", "", "", ""},
		"Dovecot":              {"from mx.example.jp ([127.0.0.1])\n\tby mail.example.jp with LMTP\n\tid abc\n\t(envelope-from <a@b>)" + at, Inside, "", "", "mx.example.jp", "mail.example.jp"},
		"a name like a cipher": {"from ADH-MAIL (ADH-MAIL [192.0.2.1]) by mx.example.jp with ESMTP" + at, Clear, "", "", "ADH-MAIL", "mx.example.jp"},
		"TLSv1":                {"from a.example (a.example [192.0.2.1]) (using TLSv1 with cipher AES256-SHA (256/256 bits)) by mx.example.jp (Postfix) with ESMTPS" + at, Encrypted, "TLS 1.0", "AES256-SHA", "a.example", "mx.example.jp"},
		"an unknown protocol":  {"from a.example (a.example [192.0.2.1]) by mx.example.jp with CARRIERPIGEON" + at, Untold, "", "", "a.example", "mx.example.jp"},
	} {
		hops := Parse(crlf("Received: " + c.field + "\n\n")).Hops(time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC))
		if len(hops) != 1 {
			t.Errorf("%s: %d hops", name, len(hops))
			continue
		}
		h := hops[0]
		if h.Cover != c.cover || h.Version != c.version || h.Cipher != c.cipher || h.From != c.from || h.By != c.by {
			t.Errorf("%s: %+v", name, h)
		}
		if !h.Timed || h.Delay != 5*time.Second {
			t.Errorf("%s: delay %s %v", name, h.Delay, h.Timed)
		}
	}
}

func TestDelays(t *testing.T) {
	m := Parse(crlf("Received: from b by c; Thu, 26 Nov 2026 10:00:59 +0900 (JST)\nReceived: from x by y; once upon a time\nReceived: from x by y; Thu, 26 Nov 2026 10:00:59 XYZ\n" +
		"Received: from a by b with ESMTP;\n\tThu, 26 Nov 2026 00:59:30 +0000 (UTC)\n\n"))
	hops := m.Hops(time.Date(2026, 11, 26, 1, 0, 0, 500, time.UTC))
	var got []string
	for _, h := range hops {
		got = append(got, fmt.Sprint(h.Delay, h.Timed))
	}
	if want := []string{"-30s true", "0s false", "0s false", "1m29s true"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if n := len(Parse(crlf(strings.Repeat("Received: from a by b\n", 300) + "\n")).Hops(time.Time{})); n != maxHops {
		t.Errorf("%d hops", n)
	}
}

func TestResults(t *testing.T) {
	trust := func(server string) bool { return server == "mx.example.jp" || server == "" }
	say := func(r Results) string {
		var all []string
		for _, one := range r.All {
			all = append(all, one.Method+"="+one.Value+"/"+one.Domain)
		}
		return r.Server + ": " + strings.Join(all, " ")
	}
	for name, c := range map[string]struct{ header, want string }{
		"Gmail's form":       {"Authentication-Results: mx.example.jp;\n       dkim=pass header.i=@example.com header.s=s1 header.b=\"Ab/c=\";\n       spf=pass (example.jp: domain of b@bounce.example.com; designates 192.0.2.1 as permitted sender) smtp.mailfrom=b@bounce.example.com;\n       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=example.com", "mx.example.jp: dkim=pass/example.com spf=pass/bounce.example.com dmarc=pass/example.com"},
		"a version":          {"Authentication-Results: mx.example.jp 1; spf=softfail smtp.mailfrom=example.com; dkim=none", "mx.example.jp: spf=softfail/example.com dkim=none/"},
		"nothing was done":   {"Authentication-Results: mx.example.jp; none", "mx.example.jp: "},
		"Microsoft's form":   {"Authentication-Results: spf=pass (sender IP is 192.0.2.1)\n smtp.mailfrom=bounce.example.com; dkim=fail (body hash did not verify)\n header.d=example.com;dmarc=fail action=none\n header.from=example.com;compauth=fail reason=001", ": spf=pass/bounce.example.com dkim=fail/example.com dmarc=fail/example.com compauth=fail/"},
		"broken behind":      {"Authentication-Results: mx.example.jp; dkim=pass header.d=example.com; what is this; spf=pass smtp.mailfrom=a@example.com", "mx.example.jp: dkim=pass/example.com spf=pass/example.com"},
		"the topmost counts": {"Authentication-Results: mx.example.jp; spf=pass smtp.helo=mail.example.com\nAuthentication-Results: mx.example.jp; spf=fail", "mx.example.jp: spf=pass/mail.example.com"},
		"not ours on top":    {"Authentication-Results: evil.example; dmarc=pass\nAuthentication-Results: mx.example.jp; dmarc=fail", "mx.example.jp: dmarc=fail/"},
	} {
		r, ok, _ := Parse(crlf(c.header + "\nReceived: from a by mx.example.jp with ESMTP; Thu, 26 Nov 2026 00:59:30 +0000\nFrom: a@b\n\n")).Results(trust)
		if got := say(r); !ok || got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for name, header := range map[string]string{
		"another server's":          "Authentication-Results: evil.example; spf=pass\nReceived: from a by mx.example.jp\n\n",
		"below what it was handed":  "Received: from a by mx.example.jp\nAuthentication-Results: mx.example.jp; spf=pass\nReceived: from b by evil.example\n\n",
		"below, and the first hop":  "Received: from a by mx.example.jp\nAuthentication-Results: mx.example.jp; dmarc=pass\nReceived: from b by c.example\nReceived: from b by d.example\n\n",
		"none":                      "From: a@b\n\n",
		"a version that is not one": "Authentication-Results: mx.example.jp 2; spf=pass\n\n",
	} {
		if r, ok, _ := Parse(crlf(header)).Results(trust); ok {
			t.Errorf("%s: believed %+v", name, r)
		}
	}
	two := Results{All: []Result{{Method: "dkim", Value: "fail", Domain: "a"}, {Method: "dkim", Value: "pass", Domain: "b"}}}
	if r, ok := two.Of("dkim"); !ok || r.Domain != "b" {
		t.Errorf("%+v", r)
	}
	m := Parse(crlf("ARC-Authentication-Results: i=2; mx.example.jp; dkim=pass header.d=example.com\nReceived-SPF: Pass (mx: domain of x) client-ip=192.0.2.1; envelope-from=\"b@bounce.example.com\"\n\n"))
	if r, ok := m.ARC(); !ok || say(r) != "mx.example.jp: dkim=pass/example.com" {
		t.Errorf("ARC: %+v", r)
	}
	if r, ok := m.ReceivedSPF(); !ok || r.Value != "pass" || r.Domain != "bounce.example.com" {
		t.Errorf("%+v", r)
	}
}

func TestSpam(t *testing.T) {
	for header, want := range map[string]string{
		"X-Spam-Status: No, score=-1.9 required=5.0 tests=BAYES_00,DKIM_VALID\n\tautolearn=ham": "false -1.9 5.0",
		"X-Spam-Status: Yes, hits=7.1 required=5.0":                                             "true 7.1 5.0",
		"X-Spamd-Result: default: False [-0.50 / 15.00]; R_SPF_ALLOW":                           "false -0.50 15.00",
		"X-Forefront-Antispam-Report: CIP:192.0.2.1;CTRY:JP;LANG:en;SCL:5;SRV:;":                "true 5 5",
		"X-Forefront-Antispam-Report: CIP:192.0.2.1;SCL:-1;":                                    "false -1 5",
		"X-Spam-Flag: YES\nX-Spam-Score: 9.1":                                                   "true 9.1 ",
	} {
		s, ok := Parse(crlf(header + "\n\n")).Spam()
		if got := fmt.Sprint(s.Spam, " ", s.Score, " ", s.Enough); !ok || got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
}

const plain = `
From: News <news@example.com>
To: a@example.jp
Subject: =?utf-8?B?44GT44KT44Gr44Gh44Gv?=
Message-ID: <m1@example.com>
List-Unsubscribe: <https://example.com/u/x>, <mailto:u@example.com>
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=B
DKIM-Signature: v=1; d=example.com; s=s1; b=abcd

--B
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Hello こんにちは, look at https://shop.example.com/a?x=1
and good bye.
--B
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<html><body><p>Hello <a href=3D"https://shop.example.com/a?x=3D1&amp;y=3D2">shop</a></p></body></html>
--B--
`

func TestCompare(t *testing.T) {
	replace := func(pairs ...string) func(string) string { return strings.NewReplacer(pairs...).Replace }
	for name, c := range map[string]struct {
		damage func(string) string
		want   string // kinds, and the field
		says   string
	}{
		"nothing": {func(s string) string { return s }, "", ""},
		"only a trace on top": {func(s string) string {
			return "\nReceived: from a by b\nDKIM-Signature: v=1; d=relay.example; b=x\nX-Spam: no" + s
		}, "", ""},
		"folded elsewhere":        {replace("<https://example.com/u/x>, <mailto", "<https://example.com/u/x>,\n  <mailto"), "", ""},
		"blanks at line ends":     {replace("good bye.", "good bye.  "), "", ""},
		"subject marked":          {replace("Subject: =?utf-8", "Subject: [list] =?utf-8"), "header_changed:Subject", "[list]"},
		"subject re-encoded":      {replace("=?utf-8?B?44GT44KT44Gr44Gh44Gv?=", "=?UTF-8?Q?=E3=81=93=E3=82=93=E3=81=AB=E3=81=A1=E3=81=AF?="), "header_changed:Subject", "same in another encoding"},
		"message-id replaced":     {replace("<m1@example.com>", "<0100@email.relay.example>"), "header_changed:Message-ID", "0100"},
		"unsubscribe gone":        {replace("List-Unsubscribe: <https://example.com/u/x>, <mailto:u@example.com>\n", ""), "header_removed:List-Unsubscribe", "removed"},
		"a second From":           {func(s string) string { return "\nFrom: other@example.net" + s }, "header_duplicated:From", "2 times"},
		"a sender added":          {func(s string) string { return "\nSender: relay@example.net" + s }, "header_added:Sender", "relay@example.net"},
		"our signature gone":      {replace("DKIM-Signature: v=1; d=example.com; s=s1; b=abcd\n", ""), "header_removed:DKIM-Signature", ""},
		"8bit to base64":          {replace("Content-Transfer-Encoding: 8bit\n\nHello こんにちは, look at https://shop.example.com/a?x=1\nand good bye.", "Content-Transfer-Encoding: quoted-printable\n\nHello =E3=81=93=E3=82=93=E3=81=AB=E3=81=A1=E3=81=AF, look at https://shop.=\nexample.com/a?x=3D1\nand good bye."), "reencoded", "from 8bit to quoted-printable"},
		"another charset":         {replace("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nHello こんにちは", "Content-Type: text/plain; charset=iso-2022-jp\nContent-Transfer-Encoding: 7bit\n\nHello \x1b$B$3$s$K$A$O\x1b(B"), "reencoded charset_changed", "utf-8 to iso-2022-jp"},
		"a footer":                {replace("and good bye.", "and good bye.\n-- \nsent by a free relay"), "footer_added", "sent by a free relay"},
		"a footer in HTML":        {replace("</p></body>", "</p><div>free relay</div></body>"), "footer_added", "<div> free relay </div>"},
		"a banner on top":         {replace("Hello こ", "[EXTERNAL] Hello こ"), "text_changed", "[EXTERNAL]"},
		"links":                   {replace("https://shop.example.com/a?x=3D1&amp;y=3D2", "https://click.relay.example/abc"), "links_rewritten", "https://shop.example.com/a?x=1&y=2 -> https://click.relay.example/abc"},
		"a word":                  {replace("good bye", "so long"), "text_changed", `"good bye." became "so long."`},
		"lines broken anew":       {replace("こんにちは, look at", "こんにちは,\nlook at"), "space_changed", "line breaks"},
		"a part more":             {replace("\n--B--", "\n--B\nContent-Type: text/plain\n\n--\nlist footer\n--B--"), "part_added", "list footer"},
		"a part less":             {func(s string) string { return s[:strings.Index(s, "--B\nContent-Type: text/html")] + "--B--\n" }, "part_removed", "text/html"},
		"other boundaries":        {replace("boundary=B", "boundary=C", "--B", "--C"), "header_changed:Content-Type space_changed", ""},
		"another body altogether": {func(s string) string { return s[:strings.Index(s, "MIME-Version")] + "\n" }, "header_removed:MIME-Version header_removed:Content-Type header_removed:DKIM-Signature", ""},
	} {
		var kinds, texts []string
		for _, d := range Compare(Parse(crlf(plain)), Parse(crlf(c.damage(plain)))) {
			kind := d.Kind
			if d.Field != "" {
				kind += ":" + d.Field
			}
			kinds, texts = append(kinds, kind), append(texts, d.Text)
		}
		got := strings.Join(kinds, " ")
		if got != c.want && !(name == "another body altogether" && strings.HasPrefix(got, c.want)) || !strings.Contains(strings.Join(texts, "\n"), c.says) {
			t.Errorf("%s: %s\n%s\nwant %s, saying %q", name, got, strings.Join(texts, "\n"), c.want, c.says)
		}
	}
}

// Whatever comes, reading it ends, and a message never differs from itself.
func FuzzArrival(f *testing.F) {
	f.Add(crlf(plain))
	f.Add(crlf("Authentication-Results: a; spf=pass (x\nReceived: from ((by (; x\nReceived-SPF: \nX-Spam-Status: \n\n--"))
	f.Add(crlf("Content-Type: multipart/mixed; boundary=\"\"\n\n--\n"))
	f.Add(crlf("Authentication-Results: ;;=;reason=\"\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := Parse(raw)
		if d := Compare(m, m); len(d) > 0 {
			t.Errorf("differs from itself: %+v", d)
		}
		Compare(m, Parse(crlf(plain)))
		Compare(Parse(crlf(plain)), m)
		m.Hops(time.Now())
		m.Results(func(string) bool { return true })
		m.ARC()
		m.ReceivedSPF()
		m.Spam()
		m.ReturnPath()
	})
}
