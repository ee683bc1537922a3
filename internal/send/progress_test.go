package send

import (
	"testing"
	"time"

	"mailer/internal/delivery"
)

func TestSpeedIsThatOfTheLastTenSeconds(t *testing.T) {
	var s speed
	begin := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	if got := s.per(begin, 0); got != 0 {
		t.Errorf("at the beginning: %v", got)
	}
	var done, got float64
	for i := 1; i <= 60*5; i++ { // five times a second, for a minute: 100/s for half of it, then 10/s
		rate := 100.0
		if i > 30*5 {
			rate = 10
		}
		done += rate / 5
		got = s.per(begin.Add(time.Duration(i)*200*time.Millisecond), int64(done))
		if i > 5 && i <= 30*5 && (got < 99 || got > 101) || i > 42*5 && (got < 9.9 || got > 10.1) {
			t.Fatalf("after %d fifths of a second: %v", i, got)
		}
	}
	if got = s.per(begin.Add(time.Hour), int64(done)); got > 0.01 || len(s.samples) > 12 {
		t.Errorf("after an hour of nothing: %v of %d samples", got, len(s.samples))
	}
}

func TestProgressOfCounts(t *testing.T) {
	var c Counts
	for _, s := range []delivery.State{delivery.Accepted, delivery.Accepted, delivery.Deferred, delivery.Failed, delivery.Uncertain, delivery.Excluded} {
		c.add(s)
	}
	p := c.Progress("news", 10)
	if p.Campaign != "news" || p.Total != 10 || p.Done != 6 || p.Accepted != 2 || p.Deferred != 1 || p.Failed != 1 || p.Uncertain != 1 || p.Excluded != 1 || p.Lanes == nil || p.Relays == nil {
		t.Errorf("got %+v", p)
	}
	if p = c.Progress("news", 4); p.Done != 4 { // a deferred one was tried twice
		t.Errorf("%d of 4 are done", p.Done)
	}
}
