package main

import (
	"testing"

	"mailer/internal/delivery"
	"mailer/internal/sandbox"
)

func TestAccount(t *testing.T) {
	mail := func(rcpt, id, personality string) sandbox.Caught {
		return sandbox.Caught{Rcpt: rcpt, MessageID: id, Personality: personality}
	}
	for _, test := range []struct {
		name    string
		state   delivery.State
		caught  []sandbox.Caught
		problem string
	}{
		{"sent", delivery.Accepted, []sandbox.Caught{mail("A@x.example", "1", "accept")}, ""},
		{"lost", delivery.Accepted, nil, "accepted, and got 0 messages"},
		{"twice", delivery.Accepted, []sandbox.Caught{mail("a@x.example", "1", "accept"), mail("a@x.example", "1", "accept")}, "accepted, and got 2 messages"},
		{"of another", delivery.Accepted, []sandbox.Caught{mail("a@x.example", "2", "accept")}, "accepted with Message-ID <1>, and got 2"},
		{"bounced", delivery.Bounced, []sandbox.Caught{mail("a@x.example", "1", "later-unknown")}, ""},
		{"a bounce not read", delivery.Accepted, []sandbox.Caught{mail("a@x.example", "1", "later-unknown")}, "accepted, though its mailbox said later-unknown"},
		{"a forged bounce believed", delivery.Bounced, []sandbox.Caught{mail("a@x.example", "1", "forged")}, "bounced, though its mailbox said forged"},
		{"in doubt, and there", delivery.Uncertain, []sandbox.Caught{mail("a@x.example", "1", "drop")}, ""},
		{"in doubt, and not", delivery.Uncertain, nil, ""},
		{"failed", delivery.Failed, nil, ""},
		{"failed, and there", delivery.Failed, []sandbox.Caught{mail("a@x.example", "1", "accept")}, "failed, and got 1 messages"},
		{"forgotten", delivery.Pending, nil, "still pending"},
	} {
		v := account([]demoRecipient{{"a@x.example", test.state, "<1>"}}, test.caught)
		want := []string{"a@x.example: " + test.problem}
		if test.problem == "" {
			want = nil
		}
		if len(v.Problems) != len(want) || len(want) > 0 && v.Problems[0] != want[0] {
			t.Errorf("%s: %q, want %q", test.name, v.Problems, want)
		}
	}
	if v := account(nil, []sandbox.Caught{mail("stranger@x.example", "1", "accept")}); len(v.Problems) != 1 {
		t.Errorf("a stranger got a message: %q", v.Problems)
	}
}

func TestQuoted(t *testing.T) {
	args := []string{"segments", "count", "--where", `都道府県 == "東京都"`, "it's>"}
	if got, want := quoted(args), `segments count --where '都道府県 == "東京都"' 'it'\''s>'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
