package bounce

import (
	"strings"
	"testing"
)

// TestExplainSaysWhoseFaultAndWhatToDo for every reason, hard and soft, with nothing left open.
func TestExplainSaysWhoseFaultAndWhatToDo(t *testing.T) {
	for _, reason := range Reasons() {
		for _, permanent := range []bool{true, false} {
			e := Explain(Reply{Code: 550}, classOf(reason, permanent), "")
			if e.Meaning == "" || e.Fault == "" || len(e.Todo) == 0 || len(e.Codes) != 1 {
				t.Errorf("%s: %+v", reason, e)
			}
			if dead := classOf(reason, permanent).Hard; dead != strings.Contains(strings.Join(e.Todo, " "), "Stop mailing") {
				t.Errorf("%s, hard %v: %q", reason, dead, e.Todo)
			}
			if AboutUs(reason) && !strings.Contains(e.Fault, "not to blame") {
				t.Errorf("%s: fault %q", reason, e.Fault)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct{ reply, phase, domain, codes, note string }{
		{"550 5.1.1 User unknown", "", "", "550: mailbox not to be had, or refused by a rule; 5.1.1: no such mailbox, for good", "said after the message it kills nobody"},
		{"550 5.1.1 User unknown", "rcpt", "", "550: mailbox not to be had, or refused by a rule; 5.1.1: no such mailbox, for good", ""},
		{"550 Unknown user", "", "docomo.ne.jp", "550: mailbox not to be had, or refused by a rule", "said to RCPT TO, when the recipient was named, it means: there is no such mailbox"},
		{"550 4.2.2 full", "", "", "550: mailbox not to be had, or refused by a rule; 4.2.2: mailbox full, for now", "the two codes contradict each other, so nothing is held against the address"},
		{"599 5.9.9 what", "", "", "", ""},
		{"554 5.7.999 what", "", "", "554: refused; or, as a greeting, no mail service for us; 5.7.999: something about security or policy, for good", ""},
		{"250 2.1.5 Ok", "", "", "", ""},
		{"", "", "", "", ""},
	} {
		r := Reply{Text: c.reply, Phase: c.phase}
		e := Explain(r, Classify(r, c.domain), c.domain)
		if got := strings.Join(e.Codes, "; "); got != c.codes || e.Note != c.note || e.Taken != strings.HasPrefix(c.reply, "2") {
			t.Errorf("%q: codes %q, note %q, taken %v", c.reply, got, e.Note, e.Taken)
		}
	}
}

// TestExplainMail: each kind and each detail has words of its own.
func TestExplainMail(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range []Verdict{
		{Kind: KindComplaint, FeedbackType: "abuse"}, {Kind: KindComplaint, FeedbackType: "opt-out"}, {Kind: KindDelivered}, {Kind: KindUnsubscribe}, {Kind: KindAutoreply}, {Kind: KindOther},
		{Kind: KindOther, FeedbackType: "not-spam"}, {Kind: KindOther, FeedbackType: "auth-failure"}, {Kind: KindOther, Detail: DetailRemoval}, {Kind: KindAutoreply, Detail: DetailVacation},
		{Kind: KindAutoreply, Detail: DetailAnswer}, {Kind: KindAutoreply, Detail: DetailReceipt}, {Kind: KindAutoreply, Detail: DetailChallenge}, {Kind: KindBounce, Detail: DetailDelay, Bounces: make([]Recipient, 2)},
	} {
		meaning, follows := ExplainMail(v)
		if meaning == "" || seen[meaning] || follows == "" && v.Kind != KindBounce {
			t.Errorf("%+v: %q, %q", v, meaning, follows)
		}
		seen[meaning] = true
	}
}
