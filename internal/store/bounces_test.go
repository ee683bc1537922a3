package store

import (
	"context"
	"fmt"
	"testing"

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
		{BounceFilter{Unmatched: true}, "[3 2]"},
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
