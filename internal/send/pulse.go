package send

import "time"

// pulse counts events in the last seconds. The zero pulse is ready.
type pulse struct {
	cells [pulseSpan + 1]int64
	last  int64 // the second of the newest cell, from the epoch
	first int64 // the second of the first event
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
		p.last, p.first = second, second
	}
	for p.last < second {
		p.last++
		p.cells[p.last%int64(len(p.cells))] = 0
	}
}

// perSecond is the mean rate over the last ten seconds, or since the first event when that is less.
func (p *pulse) perSecond(now time.Time) float64 {
	p.move(now)
	var n int64
	for _, c := range p.cells {
		n += c
	}
	return float64(n) / float64(min(p.last-p.first, pulseSpan)+1)
}
