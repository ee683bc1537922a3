package message

import (
	"slices"
	"time"
)

// stopwatch keeps laps of several runs each, as messages follow each other in a campaign. What it tells is the lap that a
// quarter was faster than: another process on the machine makes laps slower, never faster.
type stopwatch struct {
	runs int // a lap
	laps []time.Duration
}

func (s *stopwatch) time(f func()) {
	start := time.Now()
	for range s.runs {
		f()
	}
	s.laps = append(s.laps, time.Since(start))
}

func (s *stopwatch) each() float64 {
	slices.Sort(s.laps)
	return float64(s.laps[len(s.laps)/4]) / float64(s.runs)
}
