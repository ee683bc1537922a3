package suppression

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mailer/internal/bounce"
)

const day = 24 * time.Hour

var now = time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)

// row is n bounces for a reason, one a campaign, the last one now.
func row(n int, every time.Duration, reason string) []Softly {
	var all []Softly
	for i := range n {
		all = append(all, Softly{At: now.Add(-time.Duration(n-1-i) * every), Campaign: int64(i + 1), Reason: reason, Text: "452 said"})
	}
	return all
}

// TestJudge says how many bounces in a row it takes.
func TestJudge(t *testing.T) {
	p := DefaultPolicy()
	for _, c := range []struct {
		every  time.Duration
		reason string
		want   int // 0: never
	}{
		{7 * day, bounce.SystemError, 5},
		{30 * day, bounce.SystemError, 8},
		{day, bounce.Expired, 15}, // enough after five, but not for two weeks
		{7 * day, bounce.MailboxFull, 10},
		{30 * day, bounce.MailboxFull, 5},
		{day, bounce.MailboxFull, 61},
		{7 * day, bounce.Suspend, 3},
		{7 * day, bounce.Filtered, 11},
		{365 * day, bounce.SystemError, 0}, // forgotten from one to the next
		{7 * day, bounce.Blocked, 0}, {7 * day, bounce.PolicyViolation, 0}, {7 * day, bounce.SpamDetected, 0}, {7 * day, bounce.RateLimited, 0},
		{7 * day, bounce.AuthFailure, 0}, {7 * day, bounce.EmailTooLarge, 0}, {7 * day, bounce.NoRelaying, 0}, {7 * day, "no such reason", 0},
	} {
		got := 0
		for n := 1; n <= 100 && got == 0; n++ {
			evidence, suppress := p.Judge(row(n, c.every, c.reason), now)
			if suppress {
				got = n
				if !strings.Contains(evidence, fmt.Sprint(n, " ")) || !strings.HasSuffix(evidence, "452 said") {
					t.Errorf("evidence %q", evidence)
				}
			}
		}
		if got != c.want {
			t.Errorf("%s every %v: at %d, want %d", c.reason, c.every, got, c.want)
		}
	}
}

func TestOneCampaignCountsOnce(t *testing.T) {
	all := row(20, day, bounce.SystemError)
	for i := range all {
		all[i].Campaign = 7
	}
	if evidence, suppress := DefaultPolicy().Judge(all, now); suppress {
		t.Error(evidence)
	}
}

// TestReasonsOfOursNeverCount: whatever weights somebody gives them.
func TestReasonsOfOursNeverCount(t *testing.T) {
	p := DefaultPolicy()
	for _, r := range bounce.Reasons() {
		p.Weights[r] = 1000
	}
	for _, r := range bounce.Reasons() {
		_, suppress := p.Judge(row(50, 7*day, r), now)
		if suppress != Countable(r) || suppress && (bounce.AboutUs(r) || bounce.AboutContent(r)) {
			t.Errorf("%s: %v", r, suppress)
		}
	}
}

// TestJudgeIsMonotonous: one bounce more never saves an address, time alone never condemns one, the order says nothing.
func TestJudgeIsMonotonous(t *testing.T) {
	p := DefaultPolicy()
	reasons := bounce.Reasons()
	rnd := rand.New(rand.NewPCG(1, 2))
	seen := map[bool]int{}
	for range 5000 {
		var all []Softly
		for i := range 1 + rnd.IntN(15) {
			all = append(all, Softly{At: now.Add(-time.Duration(rnd.IntN(200*24)) * time.Hour), Campaign: int64(i), Reason: reasons[rnd.IntN(len(reasons))]})
		}
		_, before := p.Judge(all, now)
		seen[before]++
		rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if _, again := p.Judge(all, now); again != before {
			t.Fatalf("another order: %v, then %v", before, again)
		}
		if _, later := p.Judge(all, now.Add(40*day)); later && !before {
			t.Fatalf("time alone: %+v", all)
		}
		more := append(all, Softly{At: now, Campaign: 99, Reason: reasons[rnd.IntN(len(reasons))]})
		if _, after := p.Judge(more, now); before && !after {
			t.Fatalf("one more: %+v", more)
		}
	}
	if seen[true] < 20 || seen[false] < 20 {
		t.Errorf("judged %v", seen)
	}
}

func TestBursts(t *testing.T) {
	f := DefaultPolicy().Freeze
	for _, c := range []struct {
		dead, of int64
		want     bool
	}{
		{9, 9, false}, {10, 10, true}, {10, 40, false}, {15, 40, true}, {200, 1000, false}, {230, 1000, true}, {19000, 100_000, false}, {21000, 100_000, true},
		{12, 0, true}, // counted while the campaign's own rows are not there
	} {
		if got := f.Bursts(c.dead, c.of); got != c.want {
			t.Errorf("%d of %d: %v", c.dead, c.of, got)
		}
	}
	if (Freeze{Least: 1}).Bursts(100, 100) {
		t.Error("a freeze that is off")
	}
}
