package pace

import (
	"cmp"
	"container/heap"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Demand is how many messages wait for a lane.
type Demand struct {
	Lane string
	N    int64
}

// Way is a relay and what holds for the mail that goes through it.
type Way struct {
	Relay   string
	Weight  int                                     // its share beside that of the others; below 1 it counts as 1
	Carries func(lane string) bool                  // nil: every lane
	Limits  func(lane string, at time.Time) []Limit // nil: none; they may change by the day
}

// Course is how a send will go, if nothing but its limits and hours holds it.
type Course struct {
	Starts, Ends time.Time // the first and the last message
	Never        bool      // some of it never ends
	Lanes        []LaneCourse
	Bound        string // the limit that held longest, or ByHours; empty: it is as fast as the relays take it
}

// LaneCourse is how one lane will go.
type LaneCourse struct {
	Lane  string
	N     int64
	Ends  time.Time // zero: never
	Bound string
}

// ByHours is the bound of what waits for its hours more than for any limit.
const ByHours = "hours"

// longest is how far an estimate looks. What takes longer is said never to end.
const longest = 3 * 366 * 24 * time.Hour

// Estimate sends the demands in thought: message by message through the limits and hours that will hold, so that it knows
// what they do together. meter is what they have let through so far (nil: nothing); it is not changed. A lane whose own
// limits hold lets the others pass, and messages are taken from the lanes in proportion to what is left in them.
func Estimate(ctx context.Context, now time.Time, demands []Demand, ways []Way, meter func(name string) *Meter, hours Hours) (Course, error) {
	s := &simulation{ways: make([]simWay, len(ways)), meter: meter, hours: hours, meters: map[string]*simMeter{}, held: map[string]time.Duration{}}
	for i, w := range ways {
		s.ways[i] = simWay{Way: w, Weight: float64(max(1, w.Weight)), users: map[string]*int{}}
	}
	s.classes = classify(now, demands, ways)
	if err := s.run(ctx, now); err != nil {
		return Course{}, err
	}
	return s.course(demands), nil
}

// simulation is a send in thought.
type simulation struct {
	t      time.Time
	ways   []simWay
	meter  func(name string) *Meter
	meters map[string]*simMeter
	hours  Hours
	closes time.Time // when the hours end that t lies in; zero: never

	classes []*class
	ready   byPass
	waiting byTime
	pass    float64 // of the class that went last
	wayPass float64 // of the way that carried last
	starts  time.Time
	held    map[string]time.Duration // how long each limit held everything
}

// class is lanes for which the very same limits hold: all domains without a name, as a rule. One of them can go when any of
// them can.
type class struct {
	lanes   []Demand // smallest first
	indexes []int    // of the lanes among the demands
	n, sent int64
	pass    float64
	pairs   []pair
	until   time.Time // waits until then
	by      string    // for this limit
	held    map[string]time.Duration
	ends    []time.Time // of the lanes, as far as they have ended
	bounds  []string
}

// pair is a class on a way: its limits, until when they are known to be these, and whether they can let anything go at all.
type pair struct {
	way    int
	limits []simLimit
	fresh  time.Time
	never  bool
}

type simLimit struct {
	Limit
	meter *simMeter
	users *int // how many classes it holds for on this way
}

type simMeter struct {
	Meter
	until time.Time // nothing goes before
}

type simWay struct {
	Way
	Weight float64
	pass   float64
	live   int // classes that it carries
	users  map[string]*int
}

// classify puts lanes together for which all ways have the same limits, today and later: a warm-up may begin on a day to
// come.
func classify(now time.Time, demands []Demand, ways []Way) []*class {
	byLimits := map[string]*class{}
	var all []*class
	for i, d := range demands {
		if d.N < 1 {
			continue
		}
		var key strings.Builder
		for w, way := range ways {
			if way.Carries != nil && !way.Carries(d.Lane) {
				continue
			}
			key.WriteString(strconv.Itoa(w))
			for _, day := range []int{0, 1, 2, 4, 8, 16, 32} {
				for _, l := range way.limits(d.Lane, now.AddDate(0, 0, day)) {
					key.WriteByte(0)
					key.WriteString(l.Name)
					key.WriteByte(0)
					key.WriteString(strconv.FormatInt(l.N, 10))
				}
				key.WriteByte(1)
			}
		}
		c := byLimits[key.String()]
		if c == nil {
			c = &class{held: map[string]time.Duration{}}
			for w, way := range ways {
				if way.Carries == nil || way.Carries(d.Lane) {
					c.pairs = append(c.pairs, pair{way: w})
				}
			}
			byLimits[key.String()] = c
			all = append(all, c)
		}
		c.indexes = append(c.indexes, i)
		c.n += d.N
	}
	for _, c := range all {
		slices.SortStableFunc(c.indexes, func(a, b int) int { return cmp.Compare(demands[a].N, demands[b].N) })
		for _, i := range c.indexes {
			c.lanes = append(c.lanes, demands[i])
		}
	}
	return all
}

func (w Way) limits(lane string, at time.Time) []Limit {
	if w.Limits == nil {
		return nil
	}
	return w.Limits(lane, at)
}

func (s *simulation) run(ctx context.Context, now time.Time) error {
	s.t = now
	if !s.open(now) {
		return nil
	}
	for _, c := range s.classes {
		for i := range c.pairs {
			s.ways[c.pairs[i].way].live++
		}
		heap.Push(&s.ready, c)
	}
	end := now.Add(longest)
	for turns := 0; len(s.ready)+len(s.waiting) > 0; turns++ {
		if turns%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		for len(s.waiting) > 0 && !s.waiting[0].until.After(s.t) {
			heap.Push(&s.ready, heap.Pop(&s.waiting))
		}
		if len(s.ready) == 0 {
			c := s.waiting[0]
			if !s.move(c.until, c.by) || s.t.After(end) {
				return nil
			}
			continue
		}
		c := s.ready[0]
		if s.send(c) {
			continue
		}
		if at, by := s.wide(c); at.After(s.t) && !c.until.After(at) {
			c.held[by] += at.Sub(s.t)
			if !s.move(at, by) || s.t.After(end) {
				return nil
			}
			continue
		}
		heap.Pop(&s.ready)
		if c.until.IsZero() { // no way will ever carry it
			s.leave(c)
			continue
		}
		c.held[c.by] += c.until.Sub(s.t)
		heap.Push(&s.waiting, c)
	}
	return nil
}

// open moves to when mail may leave; false: never.
func (s *simulation) open(t time.Time) bool {
	s.t = t
	if s.closes.IsZero() || !t.Before(s.closes) {
		next := s.hours.Next(t)
		if next.IsZero() {
			return false
		}
		s.held[ByHours] += next.Sub(t)
		s.t, s.closes = next, s.hours.Closes(next)
		if s.closes.IsZero() {
			s.closes = next.Add(longest)
		}
	}
	return true
}

// move goes on to when a limit lets go again.
func (s *simulation) move(to time.Time, by string) bool {
	s.held[by] += to.Sub(s.t)
	return s.open(to)
}

// send lets a message of a class go, by the way whose turn it is among those that let it. If none does, the class knows
// until when, and why.
func (s *simulation) send(c *class) bool {
	c.until, c.by = time.Time{}, ""
	best := -1
	for i := range c.pairs {
		p := &c.pairs[i]
		until, by := s.ask(c, p)
		switch {
		case p.never:
		case !until.After(s.t):
			if best < 0 || s.ways[p.way].pass < s.ways[c.pairs[best].way].pass {
				best = i
			}
		case c.until.IsZero() || until.Before(c.until):
			c.until, c.by = until, by
		}
	}
	if best < 0 {
		return false
	}
	p := &c.pairs[best]
	for _, l := range p.limits {
		l.Take(&l.meter.Meter, s.t, s.t)
	}
	// Who was held does not catch up: its share of what has gone since went by other ways.
	w := &s.ways[p.way]
	s.wayPass = max(s.wayPass, w.pass)
	w.pass = max(w.pass, s.wayPass-1/w.Weight) + 1/w.Weight
	if s.starts.IsZero() {
		s.starts = s.t
	}
	c.sent++
	for len(c.ends) < len(c.lanes) && c.ended() {
		c.ends = append(c.ends, s.t)
		c.bounds = append(c.bounds, s.bound(c))
	}
	if c.sent == c.n {
		heap.Pop(&s.ready)
		s.leave(c)
		return true
	}
	s.pass = max(s.pass, c.pass)
	c.pass = max(c.pass, s.pass) + 1/float64(c.n-c.sent)
	heap.Fix(&s.ready, 0)
	return true
}

// ended says whether the next lane of a class has ended. All of them go on evenly, so that of two messages the last leaves
// when three quarters of the class have gone.
func (c *class) ended() bool {
	n := float64(c.lanes[len(c.ends)].N)
	return c.sent == c.n || float64(c.sent) >= float64(c.n)*(n-0.5)/n
}

// ask says until when the limits of a pair hold (up to now: they do not), and which one does.
func (s *simulation) ask(c *class, p *pair) (until time.Time, by string) {
	if !s.t.Before(p.fresh) {
		s.refresh(c, p)
	}
	if p.never {
		return until, ""
	}
	for _, l := range p.limits {
		if !l.meter.until.After(s.t) {
			l.meter.until = l.When(&l.meter.Meter, s.t)
		}
		if at := l.meter.until; at.After(s.t) && at.After(until) {
			until, by = at, l.bound()
		}
	}
	return until, by
}

// refresh asks the way for the limits that hold by now. They may change at midnight, wherever that is: zones differ by
// quarters of an hour.
func (s *simulation) refresh(c *class, p *pair) {
	w := &s.ways[p.way]
	for _, l := range p.limits {
		*l.users--
	}
	p.limits, p.never = p.limits[:0], false
	p.fresh = s.t.Truncate(15 * time.Minute).Add(15 * time.Minute)
	for _, l := range w.limits(c.lanes[0].Lane, s.t) {
		m := s.meters[l.Name]
		if m == nil {
			m = &simMeter{}
			if s.meter != nil {
				if had := s.meter(l.Name); had != nil {
					m.Meter = *had.Clone()
				}
			}
			s.meters[l.Name] = m
		}
		users := w.users[l.Name]
		if users == nil {
			users = new(int)
			w.users[l.Name] = users
		}
		*users++
		p.limits = append(p.limits, simLimit{l, m, users})
		p.never = p.never || l.N < 1 && l.Until.IsZero()
		if l.Until.After(s.t) && l.Until.Before(p.fresh) {
			p.fresh = l.Until
		}
	}
}

// wide is until when limits hold that hold for every class on every way, so that not each of them need be asked. The zero
// time: there are none.
func (s *simulation) wide(c *class) (at time.Time, by string) {
	if len(c.pairs) < len(s.ways) {
		return at, ""
	}
	for i := range c.pairs {
		var until time.Time
		var name string
		p := &c.pairs[i]
		for _, l := range p.limits {
			if *l.users == s.ways[p.way].live && l.meter.until.After(until) {
				until, name = l.meter.until, l.bound()
			}
		}
		if !until.After(s.t) {
			return time.Time{}, ""
		}
		if i == 0 || until.Before(at) {
			at, by = until, name
		}
	}
	return at, by
}

// bound is what a limit is called as what held: the days of a warm-up are one.
func (l simLimit) bound() string {
	if i := strings.LastIndexByte(l.Name, '/'); i >= 0 && !l.Until.IsZero() {
		return l.Name[:i]
	}
	return l.Name
}

// leave takes a class out: it has ended, or never will.
func (s *simulation) leave(c *class) {
	for i := range c.pairs {
		s.ways[c.pairs[i].way].live--
		for _, l := range c.pairs[i].limits {
			*l.users--
		}
	}
}

// bound is what held a class longest: what it waited for alone, or what held everybody.
func (s *simulation) bound(c *class) string {
	own, wait := longestOf(c.held)
	all, everybody := longestOf(s.held)
	switch {
	case wait == 0 && everybody == 0:
		return ""
	case wait >= everybody:
		return own
	}
	return all
}

// longestOf is the name with the longest time, the first of equals.
func longestOf(held map[string]time.Duration) (name string, d time.Duration) {
	for _, n := range slices.Sorted(maps.Keys(held)) {
		if held[n] > d {
			name, d = n, held[n]
		}
	}
	return name, d
}

func (s *simulation) course(demands []Demand) Course {
	course := Course{Starts: s.starts, Lanes: make([]LaneCourse, len(demands))}
	for i, d := range demands {
		course.Lanes[i] = LaneCourse{Lane: d.Lane, N: d.N}
		if d.N < 1 {
			course.Lanes[i].Ends = s.starts
		}
	}
	for _, c := range s.classes {
		for i, at := range c.indexes {
			l := &course.Lanes[at]
			if i >= len(c.ends) {
				course.Never = true
				l.Bound = s.bound(c)
				continue
			}
			l.Ends, l.Bound = c.ends[i], c.bounds[i]
			if l.Ends.After(course.Ends) {
				course.Ends, course.Bound = l.Ends, l.Bound
			}
		}
	}
	return course
}

// byPass is the classes that may go, the one whose turn it is first.
type byPass []*class

func (q byPass) Len() int           { return len(q) }
func (q byPass) Less(i, j int) bool { return q[i].pass < q[j].pass }
func (q byPass) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *byPass) Push(x any)        { *q = append(*q, x.(*class)) }
func (q *byPass) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// byTime is the classes that wait, the first to go on first.
type byTime []*class

func (q byTime) Len() int           { return len(q) }
func (q byTime) Less(i, j int) bool { return q[i].until.Before(q[j].until) }
func (q byTime) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *byTime) Push(x any)        { *q = append(*q, x.(*class)) }
func (q *byTime) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
