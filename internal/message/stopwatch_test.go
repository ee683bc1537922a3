package message

import (
	"slices"
	"time"
)

// batch is how many runs one lap is, as messages follow each other in a campaign.
const batch = 10

// stopwatch keeps the median lap, which another process on the machine disturbs less than a sum.
type stopwatch struct{ laps []time.Duration }

func (s *stopwatch) time(f func()) {
	start := time.Now()
	for range batch {
		f()
	}
	s.laps = append(s.laps, time.Since(start))
}

func (s *stopwatch) each() float64 {
	slices.Sort(s.laps)
	return float64(s.laps[len(s.laps)/2]) / batch
}
