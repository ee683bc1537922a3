package send

import "time"

// pulse counts events in the last seconds. The zero pulse is ready.
type pulse struct {
	cells [pulseSpan + 1]int64
	last  int64     // the second of the newest cell, from the epoch
	begun time.Time // the first event
}

const pulseSpan = 10

func (p *pulse) beat(now time.Time) {
	p.move(now)
	p.cells[p.last%int64(len(p.cells))]++
}

// move forgets what is too old. A clock that was set back begins anew.
func (p *pulse) move(now time.Time) {
	second := now.Unix()
	if second < p.last || second-p.last > pulseSpan {
		p.cells = [pulseSpan + 1]int64{}
		p.last, p.begun = second, now
	}
	for p.last < second {
		p.last++
		p.cells[p.last%int64(len(p.cells))] = 0
	}
}

// count is how many there were in the last ten seconds.
func (p *pulse) count(now time.Time) (n int64) {
	p.move(now)
	for _, c := range p.cells {
		n += c
	}
	return n
}

// perSecond is the mean rate over the last ten seconds. Of what began since then it is the rate since its beginning: a lane that is
// slowed in the first second of a run has shown what it can take, and must not be held to as many a second as have gone so far.
func (p *pulse) perSecond(now time.Time) float64 {
	n := p.count(now)
	span := min(now.Sub(p.begun), pulseSpan*time.Second)
	return float64(n) / max(span, pulseLeast).Seconds()
}

// pulseLeast is the least time that a rate is told from.
const pulseLeast = 20 * time.Millisecond
