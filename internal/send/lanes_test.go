package send

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/mailtest"
	"mailer/internal/relay"
)

// arrivals keeps when the last message was taken for each domain.
type arrivals struct {
	mu   sync.Mutex
	last map[string]time.Time
	n    map[string]int
}

func (a *arrivals) note(c mailtest.Command) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, domain, _ := strings.Cut(c.Address, "@")
	a.last[domain] = time.Now()
	a.n[domain]++
}

// others is when the last message was taken of all domains but one.
func (a *arrivals) others(domain string) time.Time {
	var last time.Time
	for d, at := range a.last {
		if d != domain && at.After(last) {
			last = at
		}
	}
	return last
}

// onWire is a rig with a relay that is rtt away, on the simulated clock of the test's bubble.
func onWire(t *testing.T, people audience, rtt time.Duration, script mailtest.Script) (*rig, *mailtest.SMTPServer) {
	t.Helper()
	r := newRigOf(t, people)
	wire := mailtest.NewWire(rtt / 2)
	r.net, r.pause = wire.Dial, time.Second
	return r, mailtest.NewSMTPOn(t, wire, script)
}

// A provider that answers 421 4.7.28 to half of its mail is slowed and the others finish as if it took everything; its own mail all
// arrives in the end.
func TestASlowProviderHoldsUpNobody(t *testing.T) {
	n := 400
	if mailtest.Race {
		n = 100
	}
	people := audience{{"gmail.com", n}, {"yahoo.co.jp", n}, {"example.jp", n}, {"small.example", 5}}
	finish := func(half bool) (others time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			seen := arrivals{last: map[string]time.Time{}, n: map[string]int{}}
			tries := 0
			r, srv := onWire(t, people, 50*time.Millisecond, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
				if half && c.Verb == "RCPT" && strings.HasSuffix(c.Address, "@gmail.com") {
					seen.mu.Lock()
					defer seen.mu.Unlock()
					if tries++; tries%2 == 0 {
						return &mailtest.Reply{Text: "421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address."}
					}
				}
				if c.Verb == "." {
					seen.note(c)
				}
				return nil
			}})
			r.connections, r.wait, r.retry = 10, 71*time.Hour, []time.Duration{20 * time.Second, time.Minute}
			begin := time.Now()
			if err := r.run(t.Context(), srv); err != nil {
				t.Error(err)
			}
			if b := r.balance(); b.Accepted != b.Planned {
				t.Errorf("not all arrived: %v", b)
			}
			r.verify(srv)
			others = seen.others("gmail.com").Sub(begin)
			t.Logf("half refused %v: the others done after %s, all after %s", half, others, time.Since(begin))
		})
		return others
	}
	without := finish(false)
	if with := finish(true); with > without*11/10 {
		t.Errorf("the others were done after %s; after %s when nobody is slowed", with, without)
	}
}

// A provider that blocks us is left alone after a few refusals: each message more would be one recipient more who fails for nothing. The
// others get theirs, and the next run finds the pause in the store.
func TestABlockIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, srv := onWire(t, audience{{"outlook.com", 300}, {"example.jp", 300}}, 20*time.Millisecond, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
			if c.Verb == "RCPT" && strings.HasSuffix(c.Address, "@outlook.com") {
				return &mailtest.Reply{Text: "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140)."}
			}
			return nil
		}})
		if err := r.run(t.Context(), srv); !errors.Is(err, ErrNotNow) && !errors.Is(err, ErrBlocked) {
			t.Errorf("got %v", err)
		}
		b := r.balance()
		if b.Accepted != 300 || b.Failed > 3*laneRefusals || b.Remaining != 600-b.Accepted-b.Failed {
			t.Errorf("balance %v", b)
		}
		r.noSuppressions()
		states, err := r.st.LaneStates(t.Context())
		if err != nil || laneStates(states)["lane microsoft"].Until.Before(time.Now()) {
			t.Errorf("kept: %v, %v", states, err)
		}
	})
}

// dead refuses every connection.
func dead(context.Context) (*relay.Conn, error) {
	return nil, &relay.DialError{Server: "dead:25", Phase: delivery.PhaseConnect, Err: errors.New("connection refused")}
}

// Whatever is wrong with the first relay, everybody gets exactly one message through the other.
func TestAnotherRelayTakesOver(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first func(t *testing.T, srv *mailtest.SMTPServer, wire *mailtest.Wire) // what goes wrong when it has taken 100
		dial  func(context.Context) (*relay.Conn, error)                        // nil: by the wire
		slow  time.Duration
	}{
		{name: "dead at the start", dial: dead},
		{name: "dead in the middle", first: func(t *testing.T, srv *mailtest.SMTPServer, wire *mailtest.Wire) { go srv.Close() }},
		{name: "refuses the login", dial: func(context.Context) (*relay.Conn, error) {
			return nil, &relay.DialError{Server: "first:25", Phase: delivery.PhaseAuth, Config: true, Refused: true, Err: errors.New("535 5.7.8 bad credentials")}
		}},
		{name: "slow to answer", slow: 20 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 1000
				if mailtest.Race {
					n = 300
				}
				r := newRigOf(t, audience{{"example.jp", n}, {"gmail.com", n}})
				r.connections, r.pause, r.retry, r.wait = 5, time.Second, []time.Duration{time.Minute}, time.Hour
				wires := []*mailtest.Wire{mailtest.NewWire(10 * time.Millisecond), mailtest.NewWire(10 * time.Millisecond)}
				var first, second *mailtest.SMTPServer
				var once sync.Once
				first = mailtest.NewSMTPOn(t, wires[0], mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
					if tt.slow > 0 {
						return &mailtest.Reply{Delay: tt.slow}
					}
					if tt.first != nil && c.Verb == "." && c.Message > 100 {
						once.Do(func() { tt.first(t, first, wires[0]) })
					}
					return nil
				}})
				second = mailtest.NewSMTPOn(t, wires[1], mailtest.Script{})
				var ways []*way
				for i, srv := range []*mailtest.SMTPServer{first, second} {
					r.net = wires[i].Dial
					dial := relay.NewDialer(r.server(srv)).Dial
					if i == 0 && tt.dial != nil {
						dial = tt.dial
					}
					ways = append(ways, newWay([]string{"first", "second"}[i], 1, 5, dial))
				}
				begin := time.Now()
				if err := r.runBy(t.Context(), t.Context(), ways...); err != nil {
					t.Error(err)
				}
				b := r.balance()
				if b.Accepted+b.Uncertain != int64(2*n) || b.Uncertain > 10 {
					t.Errorf("balance %v", b)
				}
				r.verify(first, second)
				t.Logf("%d by the first, %d by the second, %s", len(first.Accepted()), len(second.Accepted()), time.Since(begin))
			})
		})
	}
}

// Two relays share by their weights.
func TestRelaysShareByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, audience{{"example.jp", 4000}})
		wires := []*mailtest.Wire{mailtest.NewWire(5 * time.Millisecond), mailtest.NewWire(5 * time.Millisecond)}
		var servers []*mailtest.SMTPServer
		var ways []*way
		for i, w := range wires {
			srv := mailtest.NewSMTPOn(t, w, mailtest.Script{})
			r.net = w.Dial
			ways = append(ways, newWay([]string{"a", "b"}[i], []int{3, 1}[i], 5, relay.NewDialer(r.server(srv)).Dial))
			servers = append(servers, srv)
		}
		if err := r.runBy(t.Context(), t.Context(), ways...); err != nil {
			t.Fatal(err)
		}
		if n := len(servers[0].Accepted()); n < 2940 || n > 3060 {
			t.Errorf("%d of 4000 by the relay of weight 3, %d by that of weight 1", n, len(servers[1].Accepted()))
		}
		r.verify(servers...)
	})
}
