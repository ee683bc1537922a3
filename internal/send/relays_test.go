package send

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/pace"
	"mailer/internal/relay"
)

// These tests run on a simulated clock. A run that would never end is ended after two days of it.

// several is a rig with a relay for each script, 10 ms away.
type several struct {
	*rig
	servers []*mailtest.SMTPServer
	ways    []*way
}

// relays are named a, b, c.
func newSeveral(t *testing.T, people audience, scripts ...mailtest.Script) *several {
	t.Helper()
	s := &several{rig: newRigOf(t, people)}
	s.pause, s.retry = time.Second, []time.Duration{time.Minute}
	for i, script := range scripts {
		wire := mailtest.NewWire(5 * time.Millisecond)
		srv := mailtest.NewSMTPOn(t, wire, script)
		s.net = wire.Dial
		s.servers = append(s.servers, srv)
		s.ways = append(s.ways, newWay(string(rune('a'+i)), 1, 4, relay.NewDialer(s.server(srv)).Dial))
	}
	return s
}

// send runs once, as one process, and returns how long it took.
func (s *several) send(t *testing.T) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 48*time.Hour, errors.New("the run never ends"))
	defer cancel()
	begin := time.Now()
	err := s.runBy(ctx, ctx, s.anew()...)
	s.level(t)
	return time.Since(begin), err
}

// level checks that a run which has ended left nothing open in its books.
func (s *several) level(t *testing.T) {
	t.Helper()
	g := s.last.gate
	for _, l := range g.lanes {
		if l.away != 0 || l.taken < 0 {
			t.Errorf("lane %q: %d away, %d taken", l.title(), l.away, l.taken)
		}
	}
	for scope, h := range g.holds {
		if h.asking > 0 && s.last.claiming.Err() == nil {
			t.Errorf("%s: %d claims under way", scope, h.asking)
		}
	}
	for _, w := range g.ways {
		if w.live != 0 || len(w.waiting) > 0 {
			t.Errorf("relay %s: %d connections, %d wait", w.name, w.live, len(w.waiting))
		}
	}
}

// anew are the relays as a new process has them.
func (s *several) anew() []*way {
	var all []*way
	for _, w := range s.ways {
		one := newWay(w.name, w.weight, w.connections, w.dial)
		one.standby = w.standby
		if w.tuner == nil {
			one.tuner = nil
		}
		all = append(all, one)
	}
	return all
}

// took is how many messages each relay took.
func (s *several) took() []int {
	var all []int
	for _, srv := range s.servers {
		all = append(all, len(srv.Accepted()))
	}
	return all
}

// outage makes a dialler fail for some stretches of time after the first dial.
func outage(dial func(context.Context) (*relay.Conn, error), down func(since time.Duration) bool) func(context.Context) (*relay.Conn, error) {
	begin := time.Now()
	return func(ctx context.Context) (*relay.Conn, error) {
		if down(time.Since(begin)) {
			return dead(ctx)
		}
		return dial(ctx)
	}
}

// cutting ends every connection at its next message while it is so.
func cutting(when func(c mailtest.Command) bool) mailtest.Script {
	return mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "MAIL" && when(c) {
			return &mailtest.Reply{Silent: true, Close: true}
		}
		return nil
	}}
}

// A relay that stands by carries nothing while the other one can, everything while it cannot, and nothing again when it is back.
func TestARelayStandsBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		down := func() bool {
			since := time.Since(begin)
			return since > 20*time.Second && since < 5*time.Minute
		}
		var early, late atomic.Int64 // what the one that stands by took when it need not have
		s := newSeveral(t, audience{{"example.jp", 4000}}, cutting(func(mailtest.Command) bool { return down() }), mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
			switch since := time.Since(begin); {
			case c.Verb != ".":
			case since < 20*time.Second:
				early.Add(1)
			case since > 7*time.Minute:
				late.Add(1)
			}
			return nil
		}})
		s.ways[1].standby = true
		s.ways[0].dial = outage(s.ways[0].dial, func(time.Duration) bool { return down() })
		s.limits = func(string, string) []pace.Limit { return pace.Limits("all", pace.Rate{N: 5, Per: time.Second}) }
		took, err := s.send(t)
		if err != nil {
			t.Error(err)
		}
		if b := s.balance(); b.Accepted != 4000 {
			t.Errorf("balance %v", b)
		}
		s.verify(s.servers...)
		n := s.took()
		if early.Load() > 0 || late.Load() > 0 || n[1] < 500 || n[0] < 2000 {
			t.Errorf("%d by the first, %d by the second: %d before, %d after it was needed", n[0], n[1], early.Load(), late.Load())
		}
		t.Logf("%v in %s", n, took)
	})
}

// The first relay is found dead only when everything is read and composed: the one that stands by is called then.
func TestARelayStandsByFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSeveral(t, audience{{"example.jp", 20}}, mailtest.Script{}, mailtest.Script{})
		s.ways[1].standby = true
		s.ways[0].dial = func(ctx context.Context) (*relay.Conn, error) {
			time.Sleep(30 * time.Second)
			return dead(ctx)
		}
		if took, err := s.send(t); err != nil || took > 2*time.Minute {
			t.Errorf("%v after %s", err, took)
		}
		if n := s.took(); n[1] != 20 {
			t.Errorf("took %v", n)
		}
	})
}

// What a relay that stood by was told to bring later goes by the first one when that is back.
func TestWhatTheSpareDeferredIsNotLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		down := func(time.Duration) bool { return time.Since(begin) < time.Minute }
		s := newSeveral(t, audience{{"example.jp", 200}}, mailtest.Script{}, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
			if c.Verb == "RCPT" && strings.HasSuffix(strings.TrimSuffix(c.Address, "@example.jp"), "7") {
				return &mailtest.Reply{Text: "450 4.2.0 greylisted"}
			}
			return nil
		}})
		s.ways[1].standby = true
		s.ways[0].dial = outage(s.ways[0].dial, down)
		s.retry, s.wait = []time.Duration{5 * time.Minute}, time.Hour
		if _, err := s.send(t); err != nil {
			t.Error(err)
		}
		if b := s.balance(); b.Accepted != 200 {
			t.Errorf("balance %v", b)
		}
		s.verify(s.servers...)
	})
}

// A message goes by a relay that a route leads to, and by no other one, whatever becomes of that.
func TestRoutesAreKept(t *testing.T) {
	for _, tt := range []struct {
		name   string
		broken func(s *several)
		err    error
		b, c   int // messages by the relays that routes lead to
	}{
		{name: "all in order", b: 100, c: 300},
		{name: "one is dead", broken: func(s *several) { s.ways[1].dial = dead }, err: ErrUnreachable, c: 300},
		{name: "one refuses the login", broken: func(s *several) {
			s.ways[1].dial = func(context.Context) (*relay.Conn, error) {
				return nil, &relay.DialError{Server: "b:25", Phase: delivery.PhaseAuth, Config: true, Refused: true, Err: errors.New("535 5.7.8 bad credentials")}
			}
		}, err: &relay.DialError{}, c: 300},
		{name: "one is used up", broken: func(s *several) {
			s.limits = func(relay, _ string) []pace.Limit {
				if relay == "b" {
					return pace.Limits("relay b", pace.Rate{N: 40, Per: 24 * time.Hour})
				}
				return nil
			}
		}, err: ErrLimit, b: 40, c: 300},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSeveral(t, audience{{"docomo.ne.jp", 100}, {"gmail.com", 300}, {"example.jp", 300}}, mailtest.Script{}, mailtest.Script{}, mailtest.Script{})
				s.routes = func(domain string) []string {
					return map[string][]string{"docomo.ne.jp": {"b"}, "gmail.com": {"c"}, "example.jp": {"a"}}[domain]
				}
				if tt.broken != nil {
					tt.broken(s)
				}
				took, err := s.send(t)
				var de *relay.DialError
				switch {
				case tt.err == nil && err == nil, tt.err != nil && errors.Is(err, tt.err):
				case errors.As(tt.err, &de) && errors.As(err, &de):
				default:
					t.Errorf("after %s: %v, want %v", took, err, tt.err)
				}
				if n := s.took(); !slices.Equal(n, []int{300, tt.b, tt.c}) {
					t.Errorf("took %v", n)
				}
				for i, domain := range []string{"example.jp", "docomo.ne.jp", "gmail.com"} {
					for _, tx := range s.servers[i].Transactions() {
						if !strings.HasSuffix(tx.Rcpts[0].Address, "@"+domain) {
							t.Fatalf("relay %d was given %s", i, tx.Rcpts[0].Address)
						}
					}
				}
				if took > 10*time.Minute {
					t.Errorf("it took %s", took)
				}
				s.verify(s.servers...)
				t.Log(took)
			})
		})
	}
}

// A route for few of the mail does not make the others wait for its relay.
func TestARouteForFewHoldsUpNobody(t *testing.T) {
	finish := func(routed bool) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			s := newSeveral(t, audience{{"example.jp", 3000}, {"docomo.ne.jp", 30}}, mailtest.Script{}, mailtest.Script{})
			if routed {
				s.routes = func(domain string) []string {
					if domain == "docomo.ne.jp" {
						return []string{"b"}
					}
					return []string{"a"}
				}
			} else {
				s.ways = s.ways[:1]
			}
			var err error
			if took, err = s.send(t); err != nil {
				t.Error(err)
			}
		})
		return took
	}
	alone := finish(false)
	if with := finish(true); with > alone*11/10 {
		t.Errorf("%s; %s by one relay alone", with, alone)
	}
}

// A relay dies and comes back, again and again: the other one goes on meanwhile, and both carry mail when both are there.
func TestARelayComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		down := func() bool { return int(time.Since(begin)/time.Minute)%3 == 1 }
		var meanwhile, after atomic.Int64
		s := newSeveral(t, audience{{"example.jp", 6000}}, cutting(func(c mailtest.Command) bool {
			if !down() && time.Since(begin) > 5*time.Minute {
				after.Add(1)
			}
			return down()
		}), mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
			if c.Verb == "." && down() {
				meanwhile.Add(1)
			}
			return nil
		}})
		s.ways[0].dial = outage(s.ways[0].dial, func(time.Duration) bool { return down() })
		s.limits = func(string, string) []pace.Limit { return pace.Limits("all", pace.Rate{N: 10, Per: time.Second}) }
		took, err := s.send(t)
		if err != nil {
			t.Error(err)
		}
		if b := s.balance(); b.Accepted != 6000 {
			t.Errorf("balance %v", b)
		}
		s.verify(s.servers...)
		if meanwhile.Load() < 1000 || after.Load() < 200 || took > 11*time.Minute {
			t.Errorf("%v in %s; %d while it was away, %d by it after", s.took(), took, meanwhile.Load(), after.Load())
		}
	})
}

// The day's share of one relay is used up: the other one carries the rest, also what the first had deferred.
func TestOneRelayIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := map[string]bool{}
		grey := func(c mailtest.Command) *mailtest.Reply {
			mu.Lock()
			defer mu.Unlock()
			if c.Verb == "RCPT" && !seen[c.Address] && len(seen) < 300 {
				seen[c.Address] = true
				return &mailtest.Reply{Text: "450 4.2.0 greylisted, come back"}
			}
			return nil
		}
		s := newSeveral(t, audience{{"example.jp", 1000}}, mailtest.Script{Reply: grey}, mailtest.Script{})
		s.wait = time.Hour
		s.limits = func(relay, _ string) []pace.Limit {
			if relay == "a" {
				return pace.Limits("relay a", pace.Rate{N: 350, Per: 24 * time.Hour})
			}
			return nil
		}
		took, err := s.send(t)
		if err != nil || took > 10*time.Minute {
			t.Errorf("%v after %s", err, took)
		}
		if b := s.balance(); b.Accepted != 1000 {
			t.Errorf("balance %v", b)
		}
		var refused int
		s.query("SELECT count(*) FROM attempts WHERE relay = 'a' AND outcome = 'deferred'", &refused)
		if n := refused + s.took()[0]; n > 350 || n < 340 {
			t.Errorf("%d by the one with 350 a day", n)
		}
		s.verify(s.servers...)
	})
}

// The first relay is at its limit for hours. One that stands by is for a relay that fails: the run ends and says until when.
func TestALimitEndsTheRunBesideASpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSeveral(t, audience{{"example.jp", 100}}, mailtest.Script{}, mailtest.Script{})
		s.ways[1].standby = true
		s.limits = func(relay, _ string) []pace.Limit {
			if relay == "a" {
				return pace.Limits("relay a", pace.Rate{N: 40, Per: 24 * time.Hour})
			}
			return nil
		}
		if took, err := s.send(t); !errors.Is(err, ErrLimit) || took > time.Minute {
			t.Errorf("%v after %s", err, took)
		}
		if n := s.took(); n[0] != 40 || n[1] != 0 {
			t.Errorf("took %v", n)
		}
	})
}

// 421 to MAIL is the relay's: it gets a pause and the other one carries on. 421 to RCPT that names a rate is the provider's: only its
// lane is slowed.
func Test421AtMailAndAtRcpt(t *testing.T) {
	for _, verb := range []string{"MAIL", "RCPT"} {
		t.Run(verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int64
				s := newSeveral(t, audience{{"gmail.com", 300}, {"example.jp", 300}}, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
					// A provider that asks once in a hundred is only busy somewhere.
					often := func(n int64) bool { return n%100 == 50 || verb == "RCPT" && n%100 > 80 }
					if c.Verb == verb && (verb == "MAIL" || strings.HasSuffix(c.Address, "@gmail.com")) && often(n.Add(1)) {
						return &mailtest.Reply{Text: "421 4.7.28 Our system has detected an unusual rate of unsolicited mail."}
					}
					return nil
				}})
				s.wait = time.Hour
				ways := s.anew()
				if err := s.runBy(t.Context(), t.Context(), ways...); err != nil {
					t.Error(err)
				}
				b := s.balance()
				if b.Accepted != 600 {
					t.Errorf("balance %v", b)
				}
				s.verify(s.servers...)
				var tries int
				s.query("SELECT count(*) FROM attempts WHERE outcome = 'deferred'", &tries)
				slowed := 0
				for _, l := range s.last.gate.lanes {
					if l.throttled.After(time.Time{}) {
						slowed++
						if l.name != "gmail" {
							t.Errorf("lane %q was slowed", l.name)
						}
					}
				}
				if verb == "MAIL" && (tries > 0 || slowed > 0) || verb == "RCPT" && (tries == 0 || slowed != 1) {
					t.Errorf("%d were marked as tried, %d lanes slowed", tries, slowed)
				}
			})
		})
	}
}

// A provider never has more messages at a time than it is allowed.
func TestMessagesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		open, most := map[int]bool{}, 0
		s := newSeveral(t, audience{{"docomo.ne.jp", 100}, {"example.jp", 300}}, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case c.Verb == "RCPT" && strings.HasSuffix(c.Address, "@docomo.ne.jp"):
				open[c.Message] = true
				most = max(most, len(open))
			case c.Verb == ".":
				delete(open, c.Message)
			}
			return nil
		}})
		s.ways[0].tuner, s.ways[0].connections = nil, 8
		s.most = map[string]int{"docomo": 2}
		if _, err := s.send(t); err != nil {
			t.Error(err)
		}
		if b := s.balance(); b.Accepted != 400 || most > 2 || most == 0 {
			t.Errorf("%d at a time, balance %v", most, b)
		}
	})
}

// Lanes whose limit is used up take no room from the others, and the run ends when only they are left.
func TestUsedUpLanesHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSeveral(t, audience{{"gmail.com", 500}, {"yahoo.co.jp", 500}, {"docomo.ne.jp", 500}, {"example.jp", 1500}}, mailtest.Script{})
		s.limits = func(_, lane string) []pace.Limit {
			if lane == "gmail" || lane == "yahoo-japan" || lane == "docomo" {
				return pace.Limits("lane "+lane, pace.Rate{N: 10, Per: 24 * time.Hour})
			}
			return nil
		}
		took, err := s.send(t)
		if !errors.Is(err, ErrLimit) || took > 5*time.Minute {
			t.Errorf("%v after %s", err, took)
		}
		b := s.balance()
		per := map[string]int{}
		for _, tx := range s.servers[0].Accepted() {
			_, domain, _ := strings.Cut(tx.Rcpts[0].Address, "@")
			per[domain]++
		}
		if per["example.jp"] != 1500 {
			t.Errorf("balance %v: %v", b, per)
		}
		s.verify(s.servers...)
	})
}

// A lane that was paused before this run, or that goes slower than it is composed for, is taken up when its time comes.
func TestAPausedLaneIsTakenUp(t *testing.T) {
	for name, state := range map[string]pace.Lane{
		"paused": {Until: time.Date(2000, 1, 1, 0, 0, 30, 0, time.UTC), Held: 30 * time.Second, Hit: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"slow":   {Rate: 1.0 / 6, Was: 1, Hit: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSeveral(t, audience{{"gmail.com", 60}, {"example.jp", 60}}, mailtest.Script{})
				s.states = map[string]pace.Lane{"lane gmail": state}
				took, err := s.send(t)
				if err != nil || took > 10*time.Minute {
					t.Errorf("%v after %s", err, took)
				}
				if b := s.balance(); b.Accepted != 120 {
					t.Errorf("balance %v", b)
				}
			})
		})
	}
}

// A small domain that is slowed gets a lane of its own, and the counts of all lanes go on to add up to everybody.
func TestALaneIsSplitOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		s := newSeveral(t, audience{{"example.jp", 900}, {"small.example", 90}, {"other.example", 90}}, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
			if c.Verb == "RCPT" && strings.HasSuffix(c.Address, "@small.example") && n.Add(1)%20 == 10 {
				return &mailtest.Reply{Text: "421 4.7.28 Our system has detected an unusual rate of unsolicited mail."}
			}
			return nil
		}})
		s.wait = 2 * time.Hour
		if _, err := s.send(t); err != nil {
			t.Error(err)
		}
		if b := s.balance(); b.Accepted != 1080 {
			t.Errorf("balance %v", b)
		}
		var total, accepted int64
		var names []string
		for _, l := range s.last.gate.lanes {
			names = append(names, l.name)
			total, accepted = total+l.total, accepted+l.accepted
			// What was on its way when the lane was split off was counted where it was, and comes back to its own lane.
			if d := l.accepted - l.total; d < -4 || d > 4 {
				t.Errorf("lane %q: %d of %d", l.title(), l.accepted, l.total)
			}
		}
		if total != 1080 || accepted != 1080 || !slices.Contains(names, "small.example") {
			t.Errorf("%d accepted of %d in %v", accepted, total, names)
		}
		s.verify(s.servers...)
	})
}

// Whatever relays and limits do, the books agree with what the relays have, and no limit is passed.
func TestRandomFaultsOverTwoRelays(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dice := newDice(seed)
				fault := func(c mailtest.Command) *mailtest.Reply {
					if c.Verb == "EHLO" || c.Verb == "QUIT" || dice(12) > 0 {
						return nil
					}
					switch {
					case dice(3) == 0:
						return &mailtest.Reply{Silent: true, Close: true}
					case dice(3) == 0:
						return &mailtest.Reply{Delay: time.Duration(dice(30)) * time.Second}
					case c.Verb == "CONNECT", c.Verb == "MAIL":
						return &mailtest.Reply{Text: "421 4.3.2 not now"}
					case c.Verb == "RCPT" || c.Verb == ".":
						return &mailtest.Reply{Text: []string{"421 4.7.28 unusual rate", "451 4.7.1 greylisted", "550 5.1.1 no such user", "550 5.7.1 blocked", "452 4.2.2 full"}[dice(5)]}
					}
					return nil
				}
				s := newSeveral(t, audience{{"gmail.com", 60}, {"docomo.ne.jp", 60}, {"yahoo.co.jp", 60}, {"a.example", 20}, {"b.example", 20}},
					mailtest.Script{Reply: fault}, mailtest.Script{Reply: fault})
				s.wait = 10 * time.Minute
				s.most = map[string]int{"docomo": 2}
				s.ways[0].weight = 3
				s.limits = func(relay, lane string) []pace.Limit {
					all := pace.Limits("all", pace.Rate{N: 20, Per: time.Second})
					if relay == "a" {
						all = append(all, pace.Limits("relay a", pace.Rate{N: 60, Per: time.Hour}, pace.Rate{N: 5, Per: time.Second})...)
					}
					if lane == "docomo" {
						all = append(all, pace.Limits("lane docomo", pace.Rate{N: 2, Per: time.Second})...)
					}
					return all
				}
				for range 400 {
					_, err := s.send(t)
					if b := s.balance(); b.Remaining+b.Deferred == 0 {
						break
					}
					if err != nil && !broke(err) && !errors.Is(err, ErrLimit) && !errors.Is(err, ErrBlocked) {
						t.Fatal(err)
					}
					time.Sleep(time.Duration(dice(600)) * time.Second)
				}
				if b := s.balance(); b.Remaining+b.Deferred != 0 {
					t.Errorf("never done: %v", b)
				}
				s.verify(s.servers...)
			})
		})
	}
}

// newDice returns random numbers below n, the same for each seed as far as those who ask come in the same order.
func newDice(seed uint64) func(n int) int {
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 2))
	return func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
}
