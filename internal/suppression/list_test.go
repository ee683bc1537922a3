package suppression

import (
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// readCSV gives the entries of a CSV text: "address/reason/blocks@year evidence", a free one as "address free: why".
func readCSV(t *testing.T, tool, file, text string) (*List, string) {
	t.Helper()
	l, err := NewList(tool, file)
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, row := range rows {
		e, ok, err := l.Row(int64(i+1), row)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			got = append(got, show(e))
		}
	}
	return l, strings.Join(got, "\n")
}

func show(e Entry) string {
	if e.Free != "" {
		return e.Address + " free: " + e.Free
	}
	s := e.Address + "/" + e.Reason
	if e.Blocks != "" {
		s += "/" + e.Blocks
	}
	if !e.Since.IsZero() {
		s += " @" + e.Since.UTC().Format("2006-01-02T15:04")
	}
	if e.Evidence != "" {
		s += " " + e.Evidence
	}
	return s
}

func TestListsOfTools(t *testing.T) {
	for _, c := range []struct{ file, in, tool, want string }{
		{"a.txt", "# dead\na@x.example\n@z.example\n", "plain", "a@x.example/\n@z.example/"},
		{"a.csv", "A,a@x.example\n", "plain", "a@x.example/"},
		{"a.csv", "# of May\nemail\n#a@x.example\n", "table", "#a@x.example/"},
		{"a.csv", "Name,E-Mail\n\"Sato, A\",a@x.example\n", "table", "a@x.example/"},
		{"a.csv", "名前,メールアドレス,reason\nA,a@x.example,配信停止\nB,b@x.example,whatever\nC,c@x.example,Hard Bounce\n", "table",
			"a@x.example/unsubscribe\nb@x.example/whatever\nc@x.example/hard_bounce"},
		{"a.csv", "email,unsubscribed\na@x.example,1\nb@x.example,0\n", "table", "a@x.example/unsubscribe\nb@x.example free: not unsubscribed"},
		{"a.csv", "email,status\na@x.example,active\nb@x.example,Unsubscribed\n", "table", "a@x.example free: active\nb@x.example/unsubscribe"},
		// What says that somebody left counts more than what says that they are fine, in whatever order it stands.
		{"a.csv", "email,blacklisted,unsubscribed\na@x.example,0,1\nb@x.example,0,2024-01-02\nc@x.example,0,no\n", "table",
			"a@x.example/unsubscribe\nb@x.example/unsubscribe\nc@x.example free: not unsubscribed"},
		{"a.csv", "email,status,unsubscribed\na@x.example,active,1\nb@x.example,gold,0\nc@x.example,active,\n", "table",
			"a@x.example/unsubscribe\nb@x.example free: not unsubscribed\nc@x.example free: active"},
		{"a.csv", "email,reason,status\na@x.example,too many mails,unsubscribed\nb@x.example,,active\n", "table",
			"a@x.example/unsubscribe too many mails\nb@x.example free: active"},
		{"customers.csv", "email,name,unsubscribed_at\na@x.example,A,2024-01-02\nb@x.example,B,\n", "table", "a@x.example/unsubscribe\nb@x.example free: not unsubscribedat"},
		{"a.csv", "email,created,unsubscribed\na@x.example,2024-01-02,0\n", "table", "a@x.example free: not unsubscribed"},
		{"a.csv", "email,created,reason,status\na@x.example,2024-01-02,asked,unsubscribed\n", "sendgrid-refusals", "a@x.example/unsubscribe @2024-01-02T00:00 asked"},
		{"blocklist.csv", "email,created,reason\na@x.example,2024-01-02,unsubscribed\n", "sendgrid-invalid", "a@x.example/unsubscribe @2024-01-02T00:00"},
		{"blocked.csv", "email,created,reason,status\na@x.example,2024-01-02,unsubscribed,x\n", "sendgrid-blocks", "a@x.example/unsubscribe @2024-01-02T00:00"},
		// An address of the post is none of mail, and a title is no header.
		{"a.csv", "Address,Key,E-mail\nTokyo,7,a@x.example\n", "table", "a@x.example/"},
		{"a.csv", "Correo electrónico,Status\na@x.example,subscribed\n", "table", "a@x.example free: subscribed"},
		{"a.csv", "退会者,\nメールアドレス,状態\na@x.example,x\n", "table", "退会者/\na@x.example/"},
		{"a.csv", "ｔａｒｏ＠ｘ．example\nb@x.example\n", "plain", "ｔａｒｏ＠ｘ．example/\nb@x.example/"},
		{"a.csv", "address,scope,blocks,reason,since,evidence\na@x.example,address,marketing,unsubscribe,2026-01-05T10:00:00+09:00,by phone\n", "mailer",
			"a@x.example/unsubscribe/marketing @2026-01-05T01:00 by phone"},

		{"subscribers.csv", "uuid,email,name,attributes,status,created_at,updated_at\nu1,a@x.example,A,{},blocklisted,2023-05-08T10:11:12Z,x\nu2,b@x.example,B,{},enabled,,\nu3,c@x.example,C,{},unsubscribed,,\n",
			"listmonk", "a@x.example/import @2023-05-08T10:11 listmonk: blocklisted\nb@x.example free: enabled\nc@x.example/unsubscribe listmonk: unsubscribed"},
		{"export.csv", "id,email,confirmed,blacklisted,bouncecount,entered,htmlemail\n1,a@x.example,1,1,0,2020-01-02 03:04:05,1\n2,b@x.example,1,0,0,,1\n3,c@x.example,0,0,0,,1\n",
			"phplist", "a@x.example/import @2020-01-02T03:04 phpList: blacklisted\nb@x.example free: not blacklisted\nc@x.example free: not confirmed"},
		{"export.csv", "Email,Is this subscriber confirmed,Is this subscriber blacklisted,Is this account disabled?\na@x.example,1,1,0\nb@x.example,1,0,1\nc@x.example,1,0,0\n",
			"phplist", "a@x.example/import phpList: blacklisted\nb@x.example/import phpList: disabled\nc@x.example free: not blacklisted"},
		{"unsubscribed.csv", "Email Address,First Name,MEMBER_RATING,OPTIN_TIME,UNSUB_TIME,UNSUB_CAMPAIGN_TITLE,UNSUB_CAMPAIGN_ID,UNSUB_REASON,LEID,EUID\na@x.example,A,2,,2021-02-03 04:05:06,May news,1,No longer interested,1,2\n",
			"mailchimp", "a@x.example/unsubscribe @2021-02-03T04:05 Mailchimp: unsubscribed: May news: No longer interested"},
		{"cleaned.csv", "Email Address,CLEAN_TIME,CLEAN_CAMPAIGN_TITLE,LEID,EUID\na@x.example,2021-02-03 04:05:06,May,1,2\n", "mailchimp",
			"a@x.example/hard_bounce @2021-02-03T04:05 Mailchimp: cleaned: May"},
		{"unsubscribed.csv", "Email Address,UNSUB_TIME,UNSUB_REASON,LEID,EUID\na@x.example,,,1,2\n", "mailchimp", "a@x.example/unsubscribe Mailchimp: unsubscribed"},
		{"cleaned.csv", "Email Address,Address,CLEAN_TIME,LEID,EUID\na@x.example,Tokyo,,1,2\n", "mailchimp", "a@x.example/hard_bounce Mailchimp: cleaned"},
		{"all.csv", "Email Address,UNSUB_TIME,CLEAN_TIME,LEID,EUID\na@x.example,,,1,2\n", "mailchimp", "a@x.example free: subscribed"},
		{"subscribed.csv", "Email Address,MEMBER_RATING,LEID,EUID\na@x.example,2,1,2\n", "mailchimp", "a@x.example free: subscribed"},
		{"ses.csv", "EmailAddress,Reason,LastUpdateTime\na@x.example,BOUNCE,2022-03-04T05:06:07.123Z\nb@x.example,COMPLAINT,1646370367\n", "ses",
			"a@x.example/hard_bounce @2022-03-04T05:06 Amazon SES: BOUNCE\nb@x.example/complaint @2022-03-04T05:06 Amazon SES: COMPLAINT"},

		{"suppression_bounces.csv", "status,reason,email,created\n5.1.1,550 5.1.1 unknown,a@x.example,1646370367\n", "sendgrid-bounces",
			"a@x.example/hard_bounce @2022-03-04T05:06 SendGrid bounce: 5.1.1 550 5.1.1 unknown"},
		{"suppression_blocks.csv", "status,reason,email,created\n5.7.1,550 5.7.1 blocked,a@x.example,1646370367\n", "sendgrid-blocks",
			"a@x.example free: blocked: our mail was refused, the address lives"},
		{"x.csv", "email,created,reason,status\na@x.example,1646370367,550 5.1.1 The email account that you tried to reach does not exist,5.1.1\nb@x.example,1646370367,550 5.7.1 IP address is on a blocklist,5.7.1\n",
			"sendgrid-refusals", "a@x.example/hard_bounce @2022-03-04T05:06 SendGrid bounce: 5.1.1 550 5.1.1 The email account that you tried to reach does not exist\n" +
				"b@x.example free: refused, but the reply does not say that the address is dead"},
		{"invalid.csv", "email,created,reason\na@x.example,1646370367,Mail domain mentioned in email address is unknown\n", "sendgrid-invalid",
			"a@x.example/hard_bounce @2022-03-04T05:06 SendGrid invalid address: Mail domain mentioned in email address is unknown"},
		{"mine.csv", "email,created,reason\na@x.example,2022-03-04,unsubscribe\n", "sendgrid-invalid", "a@x.example/unsubscribe @2022-03-04T00:00"},
		{"x.csv", "email,ip,created\na@x.example,192.0.2.1,1646370367\n", "sendgrid-spam", "a@x.example/complaint @2022-03-04T05:06 SendGrid spam report"},
		{"spam_reports.csv", "email,created\na@x.example,1646370367\n", "sendgrid-spam", "a@x.example/complaint @2022-03-04T05:06 SendGrid spam report"},
		{"x.csv", "email,created\na@x.example,1646370367\n", "sendgrid-unsubscribes", "a@x.example/unsubscribe @2022-03-04T05:06 SendGrid unsubscribe"},
		{"x.csv", "email,name,created\na@x.example,A,1646370367\n", "table", "a@x.example/ @2022-03-04T05:06"},

		{"x.csv", "email,dnc_reason\na@x.example,1\nb@x.example,2\nc@x.example,3\nd@x.example,0\n", "mautic",
			"a@x.example/unsubscribe Mautic: do not contact\nb@x.example/hard_bounce Mautic: do not contact\nc@x.example/manual Mautic: do not contact\nd@x.example free: contactable"},
		{"x.csv", "EMAIL,EMAIL_BLOCKLISTED\na@x.example,Yes\nb@x.example,No\n", "brevo", "a@x.example/import Brevo: blocklisted\nb@x.example free: not blocklisted"},
	} {
		l, got := readCSV(t, "auto", c.file, c.in)
		if l.Tool() != c.tool || got != c.want {
			t.Errorf("%s:\n%s\nis taken for %q and gives\n%s\nwant %q and\n%s", c.file, c.in, l.Tool(), got, c.tool, c.want)
		}
		for _, e := range strings.Split(got, "\n") {
			if l.Words() == "" || e == "" {
				t.Errorf("%s: no words, or no entry: %q", c.file, got)
			}
		}
	}
}

func TestNamedTool(t *testing.T) {
	if _, got := readCSV(t, "sendgrid-spam", "x.csv", "email,created\na@x.example,1646370367\n"); got != "a@x.example/complaint @2022-03-04T05:06 SendGrid spam report" {
		t.Errorf("got %s", got)
	}
	if _, err := NewList("klingon", ""); err == nil || !strings.Contains(err.Error(), "mailchimp") {
		t.Errorf("%v", err)
	}
	for _, name := range Tools() {
		l, err := NewList(name, "")
		if err != nil || l.Tool() != name {
			t.Errorf("%s: %v", name, err)
		}
		l.Row(1, []string{"email"})
		if e, ok, err := l.Row(2, []string{"a@x.example"}); err != nil || !ok || e.Address != "a@x.example" || e.Line != 2 {
			t.Errorf("%s reads %+v", name, e)
		}
	}
}

// A table whose address column is not known is not taken for a list: everybody in it would be suppressed.
func TestUnknownHeader(t *testing.T) {
	for tool, refused := range map[string]bool{"auto": true, "mailchimp": true, "plain": false} {
		l, err := NewList(tool, "")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = l.Row(1, []string{"Kontakt-Feld", "", "Status"})
		var unknown *HeaderError
		if errors.As(err, &unknown) != refused || refused && !strings.Contains(err.Error(), "Kontakt-Feld, Status") {
			t.Errorf("%s: %v", tool, err)
		}
	}
}

func TestReadJSON(t *testing.T) {
	for _, c := range []struct{ in, tool, want string }{
		{`{"SuppressedDestinationSummaries": [{"EmailAddress": "a@x.example", "Reason": "BOUNCE", "LastUpdateTime": "2022-03-04T05:06:07+00:00"},
			{"EmailAddress": "b@x.example", "Reason": "COMPLAINT", "LastUpdateTime": 1646370367.5}], "NextToken": "n"}`, "ses",
			"a@x.example/hard_bounce @2022-03-04T05:06 Amazon SES: BOUNCE\nb@x.example/complaint @2022-03-04T05:06 Amazon SES: COMPLAINT"},
		{`[{"created": 1646370367, "email": "a@x.example", "reason": "550 5.1.1 no such user", "status": "5.1.1"}]`, "sendgrid-refusals",
			"a@x.example/hard_bounce @2022-03-04T05:06 SendGrid bounce: 5.1.1 550 5.1.1 no such user"},
		{`{"data": {"results": [
			{"uuid": "u", "email": "a@x.example", "status": "enabled", "lists": [{"subscription_status": "unsubscribed"}, {"subscription_status": "unsubscribed"}]},
			{"uuid": "u", "email": "b@x.example", "status": "enabled", "lists": [{"subscription_status": "unsubscribed"}, {"subscription_status": "confirmed"}]},
			{"uuid": "u", "email": "c@x.example", "status": "enabled", "attribs": {"x": [1, {"y": null}]}, "lists": []},
			{"uuid": "u", "email": "d@x.example", "status": "blocklisted", "lists": null}], "total": 4}}`, "listmonk",
			"a@x.example/unsubscribe listmonk: unsubscribed\nb@x.example free: unsubscribed from some lists, subscribed to others\n" +
				"c@x.example free: enabled\nd@x.example/import listmonk: blocklisted"},
		{`{"results": [{"subscriber_uuid": "u", "email": "a@x.example", "type": "hard", "source": "smtp", "created_at": "2022-03-04T05:06:07Z"},
			{"subscriber_uuid": "u", "email": "b@x.example", "type": "soft"}, {"subscriber_uuid": "u", "email": "c@x.example", "type": "complaint", "source": "ses"}]}`, "listmonk",
			"a@x.example/hard_bounce @2022-03-04T05:06 listmonk: hard bounce: smtp\nb@x.example free: soft\nc@x.example/complaint listmonk: complaint: ses"},
		{"{\"message_type\":\"suppression\",\"address\":\"a@x.example\",\"scope\":\"address\",\"blocks\":\"all\",\"reason\":\"manual\",\"evidence\":\"e\",\"since\":\"2026-01-05T00:00:00Z\"}\n{\"message_type\":\"summary\"}\n",
			"mailer", "a@x.example/manual/all @2026-01-05T00:00 e"},
		{`[]`, "", ""},
		{`["a@x.example", "b@x.example", "no address"]`, "table", "a@x.example/\nb@x.example/"},
		{`[{"address": "Tokyo", "key": "7", "email": "a@x.example", "unsubscribed_at": null}, {"email": "b@x.example", "unsubscribed_at": "2024-01-02"}]`, "table",
			"a@x.example free: not unsubscribedat\nb@x.example/unsubscribe"},
		{`[{"email": null, "address": "a@x.example"}]`, "table", "a@x.example/"},
	} {
		l, err := NewList("", "x.json")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		err = l.ReadJSON(strings.NewReader(c.in), func(e Entry) error { got = append(got, show(e)); return nil })
		if err != nil || l.Tool() != c.tool || strings.Join(got, "\n") != c.want {
			t.Errorf("%s\nis taken for %q and gives\n%s (%v)\nwant %q and\n%s", c.in, l.Tool(), strings.Join(got, "\n"), err, c.tool, c.want)
		}
	}
}

func TestReadJSONFaults(t *testing.T) {
	for _, in := range []string{`[{"email": "a@x.example"}, {"email": `, `{"email" "a"}`, strings.Repeat("[", 100), `[{"email":"a@x.example"}`} {
		l, _ := NewList("", "")
		if err := l.ReadJSON(strings.NewReader(in), func(Entry) error { return nil }); err == nil || !strings.Contains(err.Error(), "behind entry") {
			t.Errorf("%q: %v", in, err)
		}
	}
	l, _ := NewList("", "")
	full := errors.New("disk full")
	if err := l.ReadJSON(strings.NewReader(`[{"email":"a@x.example"}]`), func(Entry) error { return full }); err != full {
		t.Errorf("the error of the reader came as %v", err)
	}
}

func TestReadTime(t *testing.T) {
	want := time.Date(2022, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, s := range []string{"1646370367", "1646370367000", "1646370367.9", "2022-03-04T05:06:07Z", "2022-03-04T14:06:07+09:00", "2022-03-04 05:06:07",
		"2022-03-04 05:06:07.123456+00:00", "2022-03-04 05:06:07 UTC", "2022-03-04 14:06:07 +0900"} {
		if got := readTime(s).Truncate(time.Second); !got.Equal(want) {
			t.Errorf("readTime(%q) = %s", s, got)
		}
	}
	for _, s := range []string{"", "soon", "0", "42", "0000-00-00 00:00:00", "1e99"} {
		if got := readTime(s); !got.IsZero() {
			t.Errorf("readTime(%q) = %s", s, got)
		}
	}
}

// Whatever stands in a list, every row is an entry with an address or a reason to leave it, and nothing panics.
func FuzzReadJSON(f *testing.F) {
	for _, s := range []string{`[{"email":"a"}]`, `{"a":{"email":"b","lists":[{"subscription_status":"x"}]}}`, `[1,[2,{"email":null}]]`, `{"email":{"email":"x"}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, _ := NewList("", "")
		err := l.ReadJSON(strings.NewReader(s), func(e Entry) error {
			if e.Address == "" || e.Line == 0 {
				return fmt.Errorf("an entry without an address: %+v", e)
			}
			return nil
		})
		if err != nil && strings.Contains(err.Error(), "without an address") {
			t.Fatal(err)
		}
	})
}
