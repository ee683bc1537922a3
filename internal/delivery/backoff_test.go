package delivery

import (
	"testing"
	"time"
)

// The waits follow the schedule, its last entry repeats, and each is spread by a fifth either way: over many, both ends come
// near and none goes beyond.
func TestBackoffIsJitteredWithinBounds(t *testing.T) {
	schedule := []time.Duration{time.Minute, 5 * time.Minute, 2 * time.Hour}
	for attempts, want := range map[int]time.Duration{-1: time.Minute, 0: time.Minute, 1: time.Minute, 2: 5 * time.Minute, 3: 2 * time.Hour, 4: 2 * time.Hour, 1000: 2 * time.Hour} {
		least, most := want, want
		for range 5000 {
			got := Backoff(attempts, schedule)
			least, most = min(least, got), max(most, got)
		}
		share := func(d time.Duration) float64 { return float64(d) / float64(want) }
		if share(least) < 0.8 || share(least) > 0.82 || share(most) > 1.2 || share(most) < 1.18 {
			t.Errorf("after %d attempts: from %v to %v, want a fifth around %v", attempts, least, most, want)
		}
	}
	if got := Backoff(1, nil); got <= 0 {
		t.Errorf("without a schedule: %v", got)
	}
}
