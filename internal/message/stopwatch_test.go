package message

import (
	"slices"
	"time"
)

// stopwatch keeps the median of what is timed, which another process on the machine disturbs less than a sum.
type stopwatch struct{ laps []time.Duration }

func (s *stopwatch) time(f func()) {
	start := time.Now()
	f()
	s.laps = append(s.laps, time.Since(start))
}

func (s *stopwatch) each() float64 {
	slices.Sort(s.laps)
	return float64(s.laps[len(s.laps)/2])
}
