package send

import (
	"math"
	"testing"
	"time"
)

func TestPulse(t *testing.T) {
	begin := time.Date(2026, 11, 26, 9, 0, 0, 500e6, time.UTC)
	for _, c := range []struct {
		name   string
		every  time.Duration
		events int
		after  time.Duration // the last event
		want   float64
	}{
		{"a run that has just begun", time.Millisecond, 50, 0, 1020},
		{"one event", 0, 1, 0, 50},
		{"a steady rate", 100 * time.Millisecond, 600, 0, 10},
		{"it has ended", 100 * time.Millisecond, 600, 5 * time.Second, 5},
		{"long ago", 100 * time.Millisecond, 600, 30 * time.Second, 0},
	} {
		var p pulse
		now := begin
		for i := range c.events {
			if i > 0 {
				now = now.Add(c.every)
			}
			p.beat(now)
		}
		if got := p.perSecond(now.Add(c.after)); math.Abs(got-c.want) > 0.15*c.want {
			t.Errorf("%s: %g/s, want about %g/s", c.name, got, c.want)
		}
	}
}
