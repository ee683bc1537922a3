package send

import (
	"slices"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/pace"
	"mailer/internal/store"
)

// lane is what goes to one receiving provider: its domains, what of it was read and composed, and how the provider takes it. The lane
// without a name is that of all domains that are too small for one of their own. Its fields belong to the gate.
type lane struct {
	name     string
	domains  []string
	state    pace.Lane
	most     int           // messages at a time; 0: as many as there are connections
	patience time.Duration // how long it is left alone after a policy block

	refusals  int       // about us, in a row
	throttled time.Time // last

	total  int64 // open when the run began
	taken  int64 // handed to connections
	after  int64 // the last delivery that was read
	dry    bool  // nothing is left behind it
	due    []store.Due
	made   []*outgoing
	making int // being composed
	away   int // in the hands of workers

	accepted, deferred, failed int64
	pulse                      pulse // of what the provider took
}

// Which lanes stand for themselves from the beginning: those that a provider or the configuration names, and any other domain with a
// good share. A domain that is slowed gets its own then.
const (
	ownShare = 50  // a fiftieth of the mail
	ownLeast = 100 // and so many messages
	ownLanes = 32  // at the most
)

// behind reports whether a lane has sent less of its own than another: lanes proceed side by side, each in proportion to its size.
// Of two that are level the larger one goes first.
func (l *lane) behind(o *lane) bool {
	a, b := float64(l.taken)*float64(max(o.total, 1)), float64(o.taken)*float64(max(l.total, 1))
	if a != b {
		return a < b
	}
	return l.total > o.total
}

// opens is when the lane may send, by its own state.
func (l *lane) opens(now time.Time) time.Time { return l.state.Next(now) }

// nextFor is the place of the first composed message that may go by a relay, -1 when there is none. Nearly always it is the first: only
// where some domain or sender has a relay of its own it is looked for.
func (g *gate) nextFor(l *lane, w *way, now time.Time) int {
	for i, out := range l.made[:min(len(l.made), lookFor)] {
		if g.may(out, w, now) {
			return i
		}
	}
	return -1
}

const lookFor = 64

// left is how many of a lane are not sent yet, as far as is known.
func (l *lane) left() int64 {
	n := int64(len(l.due) + len(l.made) + l.making)
	if !l.dry {
		n++
	}
	return n
}

// count keeps what became of a message, for those who watch.
func (l *lane) count(s delivery.State) {
	switch s {
	case delivery.Accepted:
		l.accepted++
	case delivery.Deferred:
		l.deferred++
	case delivery.Failed:
		l.failed++
	}
}

// rows is what a lane is in the store: its domains, or for the rest all domains but those of the others.
func (g *gate) rows(l *lane) store.Among {
	if l != g.rest {
		return store.Among{Only: l.domains}
	}
	var not []string
	for _, o := range g.lanes {
		not = append(not, o.domains...)
	}
	return store.Among{Not: not}
}

// own makes a lane stand for itself. The rest begins with all domains.
func (g *gate) own(name string, domains []string, total int64) *lane {
	l := &lane{name: name, domains: domains, total: total}
	g.lanes = slices.Insert(g.lanes, len(g.lanes)-1, l)
	for _, d := range domains {
		g.byDomain[d] = l
	}
	return l
}

// part takes a domain out of the rest: it is slowed or paused, and what waits for it must not stand before the others. What was read of
// it moves along; what is with the connections stays counted where it was.
func (g *gate) part(domain string) *lane {
	l := g.own(domain, []string{domain}, 0)
	l.patience, l.state.Longest = g.rest.patience, g.rest.patience
	l.after = g.rest.after
	moved := func(d store.Due) bool { return d.Domain == domain }
	for _, d := range g.rest.due {
		if moved(d) {
			l.due = append(l.due, d)
			g.inFlight[d.ID] = l
		}
	}
	for _, out := range g.rest.made {
		if moved(out.due) {
			l.made = append(l.made, out)
			g.inFlight[out.due.ID], out.lane = l, l
		}
	}
	g.rest.due = slices.DeleteFunc(g.rest.due, moved)
	g.rest.made = slices.DeleteFunc(g.rest.made, func(out *outgoing) bool { return moved(out.due) })
	// What is being composed of it comes to its new lane too.
	for id, in := range g.inFlight {
		if in == g.rest && g.composing[id] == domain {
			g.inFlight[id] = l
			g.rest.making--
			l.making++
		}
	}
	l.total = max(g.open[domain], int64(len(l.due)+len(l.made)+l.making))
	g.rest.total = max(g.rest.total-l.total, 0)
	delete(g.open, domain)
	return l
}
