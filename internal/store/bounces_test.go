package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mailer/internal/bounce"
)

func TestRecordedMailsAreListedWithTheirBytes(t *testing.T) {
	s, _ := openTest(t)
	ctx := context.Background()
	if _, err := s.write.Exec(`INSERT INTO campaigns (id, name, class, content_hash, content, state, created_at, expires_at) VALUES (1, 'news', 'marketing', '', '{}', 'sending', 1, 2);
		INSERT INTO deliveries (id, campaign, key, address, domain, state, attempts, updated_at) VALUES (7, 1, 'a@x.example', 'A@x.example', 'x.example', 'accepted', 1, 1)`); err != nil {
		t.Fatal(err)
	}
	verdict := bounce.Verdict{Kind: bounce.KindBounce, Bounces: []bounce.Recipient{{Recipient: "a@x.example", Status: "5.1.1", Reply: "550", Reason: bounce.UserUnknown, Hard: true, Action: bounce.ActionFailed, Text: "550 unknown"}}}
	raw := []byte("Subject: failure\r\n\r\n\x00\xff body")
	for i, m := range []ReadMail{
		{Source: "imap", Digest: "one", Raw: raw, Verdict: verdict, Delivery: 7, MatchedBy: bounce.WhereReturnPath},
		{Source: "imap", Digest: "two", Raw: raw, Verdict: verdict, Forged: true},
		{Source: "imap", Digest: "three", Raw: raw, Verdict: verdict},
		{Source: "imap", Digest: "four", Raw: nil, Verdict: bounce.Verdict{Kind: bounce.KindOther}},
	} {
		r, err := s.RecordMail(ctx, m)
		if err != nil || r.Repeated || r.Matched != (i == 0) || r.Suppressed != (i == 0) {
			t.Errorf("%s: %+v, %v", m.Digest, r, err)
		}
		if r, err = s.RecordMail(ctx, m); err != nil || !r.Repeated {
			t.Errorf("%s again: %+v, %v", m.Digest, r, err)
		}
		if got, err := s.BounceMail(ctx, int64(i+1)); err != nil || string(got) != string(m.Raw) {
			t.Errorf("%s: bytes %q, %v", m.Digest, got, err)
		}
	}
	for _, c := range []struct {
		f    BounceFilter
		want string
	}{
		{BounceFilter{}, "[4 3 2 1]"},
		{BounceFilter{Limit: 2}, "[4 3]"},
		{BounceFilter{Kind: bounce.KindBounce}, "[3 2 1]"},
		{BounceFilter{Unmatched: true}, "[3]"},
		{BounceFilter{Forged: true}, "[2]"},
		{BounceFilter{Key: "a@x.example"}, "[1]"},
	} {
		var ids []int64
		err := s.Bounces(ctx, c.f, func(b BounceRow) error {
			ids = append(ids, b.ID)
			if b.ID == 1 && (b.Address != "A@x.example" || b.Campaign != "news" || fmt.Sprint(b.Changed) != "[delivery: accepted -> bounced suppressed: hard_bounce]" || !b.Verdict.Bounces[0].Hard) {
				t.Errorf("row: %+v", b)
			}
			return nil
		})
		if fmt.Sprint(ids) != c.want || err != nil {
			t.Errorf("%+v: %v, %v, want %s", c.f, ids, err, c.want)
		}
	}
	if _, err := s.BounceMail(ctx, 99); err == nil {
		t.Error("mail 99 is there")
	}
}

// Mails that share a transaction do what they do one by one: each sees what those before it did.
func TestTogetherAsOneByOne(t *testing.T) {
	var results, contents [2]string
	for i, together := range []bool{false, true} {
		s, now := openClean(t, nil)
		mailNumber = 0
		var dead []string
		for n := range 14 {
			dead = append(dead, fmt.Sprintf("d%02d@docomo.ne.jp", n))
		}
		ids := sent(t, s, 1, append(dead, "a@x.example", "b@x.example")...)
		*now = now.Add(time.Hour)
		var mails []ReadMail
		for n, a := range dead {
			mails = append(mails, came(ids[n], a, bounce.UserUnknown, true))
		}
		mails = append(mails, came(ids[14], "a@x.example", bounce.MailboxFull, false), came(ids[14], "a@x.example", bounce.UserUnknown, true), mails[3], came(999, "n@x.example", bounce.UserUnknown, true))
		twin := mails[14]
		twin.Digest = "another way"
		complaint := came(ids[15], "b@x.example", "", false)
		complaint.Verdict.Kind, complaint.Verdict.Bounces = bounce.KindComplaint, nil
		mails = append(mails, twin, complaint)
		r := s.MailRecorder()
		defer r.Close()
		size := 1
		if together {
			size = len(mails)
		}
		for some := range slices.Chunk(packed(t, mails...), size) {
			all, err := r.Record(t.Context(), some)
			if err != nil || len(all) != len(some) {
				t.Fatalf("%d recorded, %v", len(all), err)
			}
			for _, r := range all {
				text, err := json.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				results[i] += string(text) + "\n"
			}
		}
		for _, query := range []string{
			"SELECT group_concat(id || digest || coalesce(delivery, 0) || changed) FROM bounces", "SELECT group_concat(id || kind || key || coalesce(bounce, 0) || detail) FROM events",
			"SELECT group_concat(id || key || reason || blocks || coalesce(bounce, 0)) FROM suppressions", "SELECT group_concat(key || bounce) FROM held",
			"SELECT group_concat(lane || dead || ' ' || of) FROM freezes", "SELECT group_concat(id || state || reason || reply) FROM deliveries", "SELECT group_concat(delivery || outcome) FROM attempts",
		} {
			var text string
			if err := s.read.QueryRow("SELECT coalesce((" + query + "), 'none')").Scan(&text); err != nil {
				t.Fatal(err)
			}
			contents[i] += text + "\n"
		}
	}
	if results[0] != results[1] {
		t.Errorf("one by one:\n%stogether:\n%s", results[0], results[1])
	}
	if contents[0] != contents[1] || !strings.Contains(contents[0], "docomo") {
		t.Errorf("one by one:\n%stogether:\n%s", contents[0], contents[1])
	}
}

// A freeze that is taken back with its transaction, because another mail of it could not be recorded, comes with the same mail again.
func TestFreezeAfterABrokenBatch(t *testing.T) {
	s, _ := openClean(t, nil)
	var dead []string
	for n := range 14 {
		dead = append(dead, fmt.Sprintf("d%02d@docomo.ne.jp", n))
	}
	ids := sent(t, s, 1, dead...)
	var mails []ReadMail
	for n, a := range dead {
		mails = append(mails, came(ids[n], a, bounce.UserUnknown, true))
	}
	broken := mails[0]
	broken.Digest, broken.MatchedBy = "broken", "nonsense" // a CHECK refuses it
	r := s.MailRecorder()
	defer r.Close()
	all, err := r.Record(t.Context(), packed(t, append(mails, broken)...))
	if err == nil || len(all) != len(mails) {
		t.Fatalf("%d recorded, %v", len(all), err)
	}
	at := slices.IndexFunc(all, func(r Recorded) bool { return r.Froze != nil })
	other, _ := openClean(t, nil)
	sent(t, other, 1, dead...)
	want := slices.IndexFunc(mails, func(m ReadMail) bool { return record(t, other, m).Froze != nil })
	if at < 0 || at != want {
		t.Errorf("mail %d froze the provider, want %d", at, want)
	}
}
