package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"mailer/internal/mailtest"
	"mailer/internal/pace"
)

// Two runs over a day with [100/s, 5000/h], each claiming a few at a time and killed at random, which costs what it had claimed and
// not sent: no second holds more than 101, no hour more than 5000, and 97 % of what may go goes. A whole day takes a minute or two; it is
// had with MAILER_TEST_RATES, and else it is a morning.
func TestADayOfTwoRuns(t *testing.T) {
	const atOnce = 8 // four connections, two claims each
	lasts := 24 * time.Hour
	switch {
	case mailtest.Race:
		lasts = time.Hour // it slows the store thirty-fold
	case os.Getenv("MAILER_TEST_RATES") == "":
		lasts = 4 * time.Hour
	}
	s, now := openTest(t)
	second100, hour := pace.Rate{N: 100, Per: time.Second}, pace.Rate{N: 5000, Per: time.Hour}
	may := int(lasts/time.Hour) * hour.N
	mails(t, s, may+hour.N, "gmail.com")
	both := slices.Concat(pace.Limits("all", second100, hour), pace.Limits("relay main", second100, hour))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	type runner struct {
		*sender
		c      Campaign
		at     time.Time // when it asks next
		claims []time.Time
	}
	var runs []*runner
	for i := range 2 {
		c := freeze(t, s, fmt.Sprint("news ", i), "marketing", Audience{})
		runs = append(runs, &runner{c: c, at: *now, sender: newSender(t, s, c, always(both...))})
	}
	begin, kills, lost := *now, 0, 0
	var sent []time.Time
	for {
		r := runs[0]
		if runs[1].at.Before(r.at) {
			r = runs[1]
		}
		if r.at.Sub(begin) >= lasts {
			break
		}
		*now = r.at
		for len(r.claims) > 0 && !r.claims[0].After(*now) {
			sent, r.claims = append(sent, r.claims[0]), r.claims[1:]
		}
		if len(r.claims) > 0 && rnd.IntN(600) == 0 {
			kills, lost = kills+1, lost+len(r.claims)
			run, _, err := s.Acquire(t.Context(), r.c, r.c.Name, 24*time.Hour, func(string) bool { return true }, always(both...))
			if err != nil {
				t.Fatal(err)
			}
			r.Run.d.Close() // what a process leaves that is no more
			r.sender.Run, r.claims = run, nil
			t.Cleanup(func() { run.Close(t.Context()) })
			r.at = now.Add(time.Duration(rnd.IntN(1000)) * time.Millisecond)
			continue
		}
		r.at = now.Add(time.Duration(1+rnd.IntN(12)) * time.Millisecond)
		if len(r.claims) >= atOnce {
			continue
		}
		for _, c := range r.claim(t, 1+rnd.IntN(atOnce-len(r.claims))) {
			switch {
			case c.Attempt == 0:
				r.at = c.NotUntil.Add(time.Duration(rnd.IntN(80)) * time.Millisecond)
			case c.From.Before(*now):
				r.claims = append(r.claims, *now)
			default:
				r.claims = append(r.claims, c.From)
			}
		}
		slices.SortFunc(r.claims, time.Time.Compare)
	}
	slices.SortFunc(sent, time.Time.Compare)
	second, hours := most(sent, time.Second), most(sent, time.Hour)
	t.Logf("%d of %d left (%.1f %%), at most %d in a second and %d in an hour; %d kills lost %d", len(sent), may, 100*float64(len(sent))/float64(may), second, hours, kills, lost)
	if second > 101 || hours > hour.N {
		t.Errorf("%d in one second, %d in one hour", second, hours)
	}
	if len(sent) < may*97/100 || kills < 3 {
		t.Errorf("%d of %d left, %d kills", len(sent), may, kills)
	}
}
