package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailer/internal/mailtest"
)

// Two processes send a campaign each in one workspace, with [100/s, 5000/h] for all mail and the same for the relay, and are killed at
// random, sometimes both at once, and begun again: what the relay is sent keeps to the limits in any window, and while there is work the
// limits are used. MAILER_TEST_RATES (2m) says for how long; from fifty seconds on it is the hour that holds.
//
// A message comes to the relay later than its slot when the machine has something else to do. Those that were held up so come beside those
// whose slots are then: at most two a connection, which is as many as are claimed.
func TestRatesOverProcesses(t *testing.T) {
	const perSecond, perHour, connections = 100, 5000, 2
	const allowed = perSecond + perSecond/100 + 2*2*connections
	lasts := ratesLast(t)
	var mu sync.Mutex
	var arrived []time.Time
	srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(c mailtest.Command) *mailtest.Reply {
		if c.Verb == "." {
			mu.Lock()
			defer mu.Unlock()
			arrived = append(arrived, time.Now())
		}
		return nil
	}})
	after := func(at time.Time) bool { // whether anything has arrived since
		mu.Lock()
		defer mu.Unlock()
		return len(arrived) > 0 && arrived[len(arrived)-1].After(at)
	}
	w := newKillWorkspace(t, min(perHour, int(lasts.Seconds())*perSecond)+perSecond, connections)
	rates := fmt.Sprintf("rates: [%d/s, %d/h]", perSecond, perHour)
	w.write("mailer.yaml", fmt.Sprintf(`
sender: {from: News <news@example.com>, organization: Example, postal_address: Tokyo}
%s
relays:
  main: {host: 127.0.0.1, port: %d, tls: none, connections: %d, %s}
bounces: {return_path: "bounce+{token}@example.com"}
`, rates, srv.Port, connections, rates))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))

	both := []*again{{w: w, campaign: "one"}, {w: w, campaign: "two"}}
	for _, p := range both {
		w.write("campaigns/"+p.campaign+".md", "---\nsubject: "+p.campaign+"\n---\nHello {{.name}}.\n")
		p.start()
		defer p.stop()
	}
	waitFor(t, func() bool { return after(time.Time{}) })
	begin := time.Now()
	var down []stretch // neither of them is there
	kills := 0
	for end := begin.Add(lasts); time.Now().Before(end); {
		time.Sleep(min(2*time.Second+time.Duration(rnd.IntN(4000))*time.Millisecond, time.Until(end)))
		mu.Lock()
		used := len(arrived)
		mu.Unlock()
		which := rnd.IntN(3)
		for i, p := range both {
			if which == i || which == 2 {
				p.kill()
				kills++
			}
		}
		at := time.Now()
		for _, p := range both {
			p.start()
		}
		if which == 2 && used < perHour*9/10 {
			waitFor(t, func() bool { return after(at.Add(20 * time.Millisecond)) })
			down = append(down, stretch{at, time.Now()})
		}
	}
	for _, p := range both {
		p.stop()
	}

	end := begin.Add(lasts)
	if len(arrived) >= perHour*97/100 {
		end = arrived[perHour*97/100-1] // since then it is the hour that holds
	}
	up, n := end.Sub(begin), 0
	for _, s := range down {
		if s.to.Before(end) {
			up -= s.to.Sub(s.from)
		}
	}
	for _, at := range arrived {
		if !at.Before(begin) && !at.After(end) && !slices.ContainsFunc(down, func(s stretch) bool { return at.After(s.from) && at.Before(s.to) }) {
			n++
		}
	}
	full, share := fullest(arrived, time.Second), float64(n)/(up.Seconds()*perSecond)
	t.Logf("%s: %d arrived, at most %d in a second; %d kills, %d times both at once, %s down; in %s up %d arrived, %.1f %% of what may",
		lasts, len(arrived), full, kills, len(down), (end.Sub(begin) - up).Round(time.Millisecond), up.Round(time.Millisecond), n, 100*share)
	if full > allowed {
		t.Errorf("%d in one second, %d are allowed", full, allowed)
	}
	if len(arrived) > perHour {
		t.Errorf("%d in one hour", len(arrived))
	}
	if share < 0.97 {
		t.Errorf("%.1f %% of what may go went", 100*share)
	}
	if lasts > time.Minute && len(arrived) < perHour*97/100 {
		t.Errorf("%d of an hour's %d went", len(arrived), perHour)
	}
	got := map[string]int{}
	for _, tx := range srv.Accepted() {
		got[tx.From]++ // signed: of one delivery
	}
	for from, n := range got {
		if n > 1 {
			t.Errorf("%s was sent %d times", from, n)
		}
	}
}

// ratesLast is for how long rates are watched.
func ratesLast(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("MAILER_TEST_RATES")
	if text == "" {
		return 15 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		t.Fatalf("MAILER_TEST_RATES is %q; write 2m", text)
	}
	return d
}

type stretch struct{ from, to time.Time }

// fullest is how many of the sorted times lie in any window.
func fullest(times []time.Time, per time.Duration) (n int) {
	from := 0
	for to, at := range times {
		for at.Sub(times[from]) >= per {
			from++
		}
		n = max(n, to-from+1)
	}
	return n
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for a minute")
		}
	}
}

// again is the send of a campaign that is begun again and again.
type again struct {
	w        *killWorkspace
	campaign string
	cmd      *exec.Cmd
	out      bytes.Buffer
	ended    chan struct{}
}

// start begins it, unless it is under way.
func (p *again) start() {
	p.w.t.Helper()
	if p.cmd != nil {
		select {
		case <-p.ended:
			p.judge()
		default:
			return
		}
	}
	p.out.Reset()
	p.cmd = p.w.command("send", p.campaign, "--list", "readers", "--yes")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		p.w.t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func() { p.cmd.Wait(); close(p.ended) }()
}

func (p *again) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

func (p *again) stop() {
	if p.cmd != nil {
		p.kill()
		p.judge()
		p.cmd = nil
	}
}

// judge looks at how it ended: killed, or by itself because the hour was used up.
func (p *again) judge() {
	p.w.t.Helper()
	if code := p.cmd.ProcessState.ExitCode(); code >= 0 && (code != exitLeft || !strings.Contains(p.out.String(), "a limit of messages is reached")) {
		p.w.t.Errorf("send %s ended with %d\n%s", p.campaign, code, p.out.String())
	}
}
