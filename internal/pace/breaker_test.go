package pace

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var usual = Levels{Window: time.Hour, Least: 100, Shares: map[Kind]float64{Hard: 0.05, Policy: 0.2, Complaint: 0.003}}

func TestBreaker(t *testing.T) {
	type news struct {
		lane  string
		sent  int
		kind  Kind
		count int64
	}
	for _, tt := range []struct {
		name string
		news []news
		lane string
		kind Kind // empty: nothing trips
	}{
		{"nothing", nil, "", ""},
		{"all is well", []news{{"gmail", 1000, Hard, 20}}, "", ""},
		{"dead addresses", []news{{"gmail", 200, Hard, 20}}, "gmail", Hard},
		{"too few to say", []news{{"gmail", 99, Hard, 99}}, "", ""},
		{"just over the limit, and chance", []news{{"gmail", 100, Hard, 6}}, "", ""},
		{"just over the limit of many", []news{{"gmail", 10_000, Hard, 510}}, "gmail", Hard},
		{"two complaints are two complaints", []news{{"gmail", 100, Complaint, 2}}, "", ""},
		{"a dozen are not", []news{{"gmail", 1500, Complaint, 12}}, "gmail", Complaint},
		{"refused by one of two", []news{{"gmail", 1000, Hard, 0}, {"icloud", 100, Policy, 60}}, "icloud", Policy},
		{"the worst", []news{{"gmail", 1000, Hard, 200}, {"icloud", 1000, Hard, 300}}, "icloud", Hard},
		{"by all together", []news{
			{"a", 90, Policy, 40}, {"b", 90, Policy, 40}, {"c", 90, Policy, 40},
		}, "", Policy},
		{"what nobody counts", []news{{"gmail", 1000, "cold", 900}}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBreaker(usual)
			for _, n := range tt.news {
				for range n.sent {
					b.Sent(midday, n.lane)
				}
				b.Saw(midday, n.lane, n.kind, n.count)
			}
			for range 2 { // asked twice, it says the same
				trip, tripped := b.Tripped(midday)
				if tripped != (tt.kind != "") || trip.Lane != tt.lane || trip.Kind != tt.kind {
					t.Errorf("%v, %q", tripped, trip)
				}
			}
		})
	}
}

func TestBreakerOff(t *testing.T) {
	b := NewBreaker(Levels{Window: time.Hour, Least: 100, Shares: map[Kind]float64{Hard: 0}})
	for range 1000 {
		b.Sent(midday, "gmail")
	}
	b.Saw(midday, "gmail", Hard, 1000)
	b.Saw(midday, "gmail", Policy, 1000)
	if trip, tripped := b.Tripped(midday); tripped {
		t.Errorf("tripped: %v", trip)
	}
}

// What happened more than a window ago is forgotten, and what it trips on ends with it.
func TestBreakerSlides(t *testing.T) {
	b := NewBreaker(usual)
	send := func(minute, n int, refused int64) (Trip, bool) {
		now := midday.Add(time.Duration(minute) * time.Minute)
		for range n {
			b.Sent(now, "gmail")
		}
		b.Saw(now, "gmail", Policy, refused)
		return b.Tripped(now)
	}
	for minute := range 600 { // much, and all well
		if trip, tripped := send(minute, 100, 0); tripped {
			t.Fatal(trip)
		}
	}
	tripped := 0
	for minute := range 60 { // then half is refused
		trip, now := send(600+minute, 100, 50)
		if now && tripped == 0 {
			tripped = minute
			if trip.Window != time.Hour || trip.Of != 6000 {
				t.Errorf("%+v", trip)
			}
		}
	}
	if tripped < 20 || tripped > 30 {
		t.Errorf("of 100 a minute half is refused: tripped after %d minutes", tripped)
	}
	for minute := range 70 {
		trip, now := send(660+minute, 100, 0)
		if now && minute > 60 {
			t.Errorf("%d minutes after all was well again: %v", minute, trip)
		}
	}
}

// Bounces of yesterday's mail that are read while today's last hundred goes out are no news about these.
func TestBreakerOfLateNews(t *testing.T) {
	b := NewBreaker(usual)
	b.Before("gmail", 10_000)
	for range 120 {
		b.Sent(midday, "gmail")
	}
	b.Heard("gmail", Hard, 200)
	if trip, tripped := b.Tripped(midday); tripped {
		t.Errorf("2 %% of all: %v", trip)
	}
	b.Heard("gmail", Hard, 800)
	trip, tripped := b.Tripped(midday)
	if !tripped || trip.Of != 10_120 || trip.Count != 1000 || trip.Window != 0 {
		t.Errorf("10 %% of all: %+v", trip)
	}
	// More than was sent, as far as is known: they are of other mail.
	b = NewBreaker(usual)
	for range 120 {
		b.Sent(midday, "gmail")
	}
	b.Heard("gmail", Hard, 300)
	if trip, tripped := b.Tripped(midday); tripped {
		t.Errorf("300 of 120: %v", trip)
	}
}

func TestBreakerWithAClockSetBack(t *testing.T) {
	b := NewBreaker(usual)
	for i := range 300 {
		now := midday.Add(time.Duration(i) * time.Second)
		if i > 100 {
			now = now.Add(-3 * time.Hour)
		}
		b.Sent(now, "gmail")
		if i%2 == 0 {
			b.Saw(now, "gmail", Policy, 1)
		}
	}
	trip, tripped := b.Tripped(midday.Add(-3*time.Hour + 5*time.Minute))
	if !tripped || trip.Of != 300 {
		t.Errorf("tripped %v: %+v", tripped, trip)
	}
}

// A list that is well within the limits is seldom stopped by chance, and one at twice the limit soon is.
func TestBreakerOverChance(t *testing.T) {
	const runs, messages = 50, 10_000
	for kind, limit := range usual.Shares {
		for _, tt := range []struct {
			share     float64 // of the limit
			low, high int     // how many of the runs are stopped
		}{{0.3, 0, 1}, {0.5, 0, 5}, {0.7, 0, 12}, {1.5, 48, runs}, {2, runs, runs}, {5, runs, runs}} {
			t.Run(fmt.Sprintf("%s, %v of the limit", kind, tt.share), func(t *testing.T) {
				stopped := 0
				for seed := range uint64(runs) {
					r := rand.New(rand.NewPCG(seed, 13))
					b := NewBreaker(usual)
					for i := range messages {
						now := midday.Add(time.Duration(i) * 100 * time.Millisecond)
						b.Sent(now, "gmail")
						if r.Float64() < tt.share*limit {
							b.Saw(now, "gmail", kind, 1)
							if _, tripped := b.Tripped(now); tripped {
								stopped++
								break
							}
						}
					}
				}
				if stopped < tt.low || stopped > tt.high {
					t.Errorf("%d of %d runs were stopped, want %d to %d", stopped, runs, tt.low, tt.high)
				}
			})
		}
	}
}

func TestWent(t *testing.T) {
	for _, tt := range []struct {
		sent int64
		seen map[Kind]int64
		kind Kind
	}{
		{0, nil, ""},
		{500, nil, ""},
		{500, map[Kind]int64{Hard: 10, Policy: 50, Complaint: 1}, ""},
		{500, map[Kind]int64{Hard: 50}, Hard},
		{50, map[Kind]int64{Hard: 10}, Hard}, // a sample may be small
		{20, map[Kind]int64{Hard: 1}, ""},
		{20, map[Kind]int64{Policy: 20}, Policy},
		{1, map[Kind]int64{Hard: 1}, Hard},
		{500, map[Kind]int64{Hard: 50, Policy: 400}, Policy}, // twice and four times the limit
	} {
		trip, bad := Went(usual, tt.sent, tt.seen)
		if bad != (tt.kind != "") || trip.Kind != tt.kind {
			t.Errorf("%d sent, %v: %v %q", tt.sent, tt.seen, bad, trip)
		}
	}
}

func TestTripSays(t *testing.T) {
	for _, tt := range []struct {
		trip Trip
		want string
	}{
		{Trip{"gmail", Policy, 60, 240, 0.25, 0.2, time.Hour},
			"60 of 240 messages to gmail (25.0 %) in the last hour were refused for what we are or send; the limit is 20.0 %"},
		{Trip{"", Hard, 50, 500, 0.1, 0.05, 0}, "50 of 500 messages (10.0 %) went to dead addresses; the limit is 5.0 %"},
		{Trip{"", Complaint, 8, 1000, 0.008, 0.003, 30 * time.Minute},
			"8 of 1000 messages (0.80 %) in the last 30 min were complained about; the limit is 0.30 %"},
		{Trip{"", Hard, 5, 50, 0.1, 0.05, 24 * time.Hour}, "5 of 50 messages (10.0 %) in the last 24 h went to dead addresses; the limit is 5.0 %"},
		{Trip{"", Hard, 5, 50, 0.1, 0.05, 90 * time.Second}, "5 of 50 messages (10.0 %) in the last 1m30s went to dead addresses; the limit is 5.0 %"},
	} {
		if got := tt.trip.String(); got != tt.want {
			t.Errorf("%s\nwant %s", got, tt.want)
		}
	}
}
