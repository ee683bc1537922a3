package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"mailer/internal/send"
	"mailer/internal/ui"

	"github.com/mattn/go-runewidth"
)

var progressNow = time.Date(2026, 11, 26, 9, 1, 0, 0, time.FixedZone("JST", 9*3600))

// busyRun has lanes and relays of every kind.
func busyRun() send.Progress {
	in := func(d time.Duration) time.Time { return progressNow.Add(d).UTC() }
	return send.Progress{
		Campaign: "news", Total: 40000, Done: 12000, Accepted: 11900, Deferred: 60, Failed: 38, Uncertain: 2, PerSecond: 20.04,
		Lanes: []send.LaneProgress{
			{Name: "gmail", Total: 20000, Accepted: 6000, Deferred: 40, Rate: 5, Why: "421 4.7.28 unusual rate of mail"},
			{Name: "docomo", Total: 9000, Accepted: 2500, Failed: 38, Until: in(29 * time.Minute), Why: "550 5.7.1 blocked"},
			{Name: "yahoo-japan", Total: 7000, Accepted: 2400, Limit: "10/s"},
			{Name: "東京都港区の会社.example", Total: 3000, Accepted: 900},
			{Name: "others", Total: 1000, Accepted: 100, Deferred: 20},
		},
		Relays: []send.RelayProgress{{Name: "main", Connections: 8, Accepted: 11000}, {Name: "予備", Accepted: 900, Until: in(30 * time.Second), Why: "421 busy"}},
	}
}

// narrowLocale makes … and the like one column wide, wherever the tests run.
func narrowLocale(t *testing.T) {
	old := runewidth.DefaultCondition.EastAsianWidth
	runewidth.DefaultCondition.EastAsianWidth = false
	t.Cleanup(func() { runewidth.DefaultCondition.EastAsianWidth = old })
}

func TestProgressLines(t *testing.T) {
	narrowLocale(t)
	one := func(change func(*send.Progress)) send.Progress {
		p := send.Progress{Campaign: "news", Total: 400, Done: 100, Accepted: 100, PerSecond: 0.5, Lanes: []send.LaneProgress{{Name: "gmail", Total: 400, Accepted: 100}},
			Relays: []send.RelayProgress{{Name: "main", Connections: 1, Accepted: 100}}}
		change(&p)
		return p
	}
	lanes := func(names ...string) []send.LaneProgress {
		var all []send.LaneProgress
		for i, n := range names {
			all = append(all, send.LaneProgress{Name: n, Total: int64(100 - i), Accepted: 10})
		}
		return all
	}
	for _, c := range []struct {
		name          string
		p             send.Progress
		columns, rows int
		want          string
	}{
		{"80 columns", busyRun(), 79, 23, `
news  30% [#######-----------------] 12000/40000, 20/s, 23 min left
  60 deferred, 38 failed, 2 uncertain
  gmail                6040/20000  40 deferred  slowed to 5/s: 421 4.7.28 unus…
  docomo                2538/9000  38 failed    paused until 09:30: 550 5.7.1 …
  yahoo-japan           2400/7000               limit 10/s
  東京都港区の会社.e…    900/3000
  others                 120/1000  20 deferred
  relay main  8 connections, 11000 accepted
  relay 予備  0 connections, 900 accepted, paused until 09:01:30: 421 busy
`},
		{"40 columns", busyRun(), 39, 23, `
news 30% 12000/40000, 20/s, 23 min left
  60 deferred, 38 failed, 2 uncertain
  gmail       30%  slowed to 5/s: 421 …
  docomo      28%  paused until 09:30:…
  yahoo-ja…   34%  limit 10/s
  東京都港…   30%
  others      12%  20 deferred
  relay main  8 connections, 11000 acc…
  relay 予備  paused until 09:01:30: 4…
`},
		{"few rows", busyRun(), 79, 7, `
news  30% [#######-----------------] 12000/40000, 20/s, 23 min left
  60 deferred, 38 failed, 2 uncertain
  gmail   6040/20000  40 deferred  slowed to 5/s: 421 4.7.28 unusual rate of m…
  docomo   2538/9000  38 failed    paused until 09:30: 550 5.7.1 blocked
  others  3420/11000  20 deferred  yahoo-japan limit 10/s
  relay main  8 connections, 11000 accepted
  relay 予備  0 connections, 900 accepted, paused until 09:01:30: 421 busy
`},
		{"one lane says nothing new", one(func(p *send.Progress) {}), 79, 23, `
news  25% [######------------------] 100/400, 30/min, 10 min left
`},
		{"nothing is done", one(func(p *send.Progress) { p.Done, p.PerSecond = 0, 0 }), 79, 23, `
news   0% [------------------------] 0/400
`},
		{"all is done", one(func(p *send.Progress) { p.Done = 400 }), 79, 23, `
news 100% [########################] 400/400, 30/min
`},
		{"nothing to do", send.Progress{Campaign: "news"}, 79, 23, `
news 100% [------------------------] 0/0
`},
		{"nothing moves", one(func(p *send.Progress) {
			p.PerSecond, p.Note, p.Until = 0, "outside the hours of sending", progressNow.Add(24*time.Hour)
		}), 79, 23, `
news  25% [######------------------] 100/400
  outside the hours of sending (until 2026-11-27 09:01)
`},
		{"one lane and one relay, paused", one(func(p *send.Progress) {
			p.Lanes[0].Until, p.Relays[0].Until, p.Relays[0].Why = progressNow.Add(45*time.Second), progressNow.Add(time.Hour), "421"
		}), 79, 23, `
news  25% [######------------------] 100/400, 30/min, 10 min left
  gmail  100/400  paused until 09:01:45
  relay main  1 connection, 100 accepted, paused until 10:01: 421
`},
		{"limits of a lane and of the relay", one(func(p *send.Progress) { p.Lanes[0].Limit, p.Relays[0].Limit = "15/s", "20/s" }), 79, 23, `
news  25% [######------------------] 100/400, 30/min, 10 min left
  gmail  100/400  limit 15/s
  relay main  1 connection, 100 accepted, limit 20/s
`},
		{"the same, narrow", one(func(p *send.Progress) { p.Lanes[0].Limit, p.Relays[0].Limit = "15/s", "20/s" }), 39, 23, `
news 25% 100/400, 30/min, 10 min left
  gmail   25%  limit 15/s
  relay main  limit 20/s
`},
		{"a relay that cannot be had", one(func(p *send.Progress) { p.Relays[0].Why = "dial tcp: refused" }), 79, 23, `
news  25% [######------------------] 100/400, 30/min, 10 min left
  relay main  1 connection, 100 accepted, dial tcp: refused
`},
		{"a pause that is over", one(func(p *send.Progress) {
			p.Lanes[0].Until, p.Relays[0].Until = progressNow, progressNow.Add(-time.Second)
		}), 79, 23, `
news  25% [######------------------] 100/400, 30/min, 10 min left
`},
		{"a long name", one(func(p *send.Progress) { p.Campaign = "2026年12月のお知らせと冬の特別セール" }), 39, 23, `
2026年12月の… 25% 100/400, 30/min, 10 …
`},
		{"eight lanes and others", one(func(p *send.Progress) {
			p.Lanes = lanes("a", "others", "b", "c", "d", "e", "f", "g", "h", "i")
			p.Lanes[9].Rate = 2
		}), 79, 23, `
news  25% [######------------------] 100/400, 30/min, 10 min left
  a       10/100
  b        10/98
  c        10/97
  d        10/96
  e        10/95
  f        10/94
  g        10/93
  h        10/92
  others  20/190  i slowed to 2/s
`},
		{"nine lanes need no others", one(func(p *send.Progress) { p.Lanes = lanes("a", "b", "c", "d", "e", "f", "g", "h", "i") }), 79, 23, `
news  25% [######------------------] 100/400, 30/min, 10 min left
  a  10/100
  b   10/99
  c   10/98
  d   10/97
  e   10/96
  f   10/95
  g   10/94
  h   10/93
  i   10/92
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got strings.Builder
			for _, line := range progressLines(c.p, progressNow, c.columns, c.rows) {
				got.WriteString("\n" + ui.Cut(line, c.columns))
			}
			if got.String()+"\n" != c.want {
				t.Errorf("got%s\nwant%s", got.String(), c.want)
			}
		})
	}
}

// Whatever the lanes, no lane is lost in the sums, and there are no more lines than fit as long as the bar and the relays do.
func TestLaneRowsAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var lanes []send.LaneProgress
		var total, done int64
		for i := range 2 + r.IntN(20) {
			l := send.LaneProgress{Name: fmt.Sprint("lane", i), Total: r.Int64N(1000)}
			if r.IntN(9) == 0 {
				l.Name = "others"
			}
			l.Accepted = r.Int64N(l.Total + 1)
			lanes, total, done = append(lanes, l), total+l.Total, done+l.Accepted
		}
		most := 1 + r.IntN(lanesShown)
		rows := laneRows(lanes, progressNow, most)
		for _, row := range rows {
			var d, t int64
			fmt.Sscanf(row.done, "%d/%d", &d, &t)
			total, done = total-t, done-d
		}
		if total != 0 || done != 0 || len(rows) > most+1 {
			t.Fatalf("%d rows of at most %d, %d of %d are lost:\n%v", len(rows), most, done, total, rows)
		}
	}
}

func TestWordsOfProgress(t *testing.T) {
	for d, want := range map[time.Duration]string{
		200 * time.Millisecond: "1 s left", 89 * time.Second: "89 s left", 90 * time.Second: "2 min left", 32 * time.Minute: "32 min left",
		90 * time.Minute: "1 h 30 min left", 119*time.Minute + 40*time.Second: "2 h 0 min left", 47 * time.Hour: "47 h 0 min left", 100 * time.Hour: "4 days left",
	} {
		if got := timeLeft(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	for _, c := range []struct {
		done, total int64
		whole, one  string
	}{{0, 10, "0", "0.0"}, {1200, 40000, "3", "3.0"}, {39999, 40000, "99", "99.9"}, {40000, 40000, "100", "100.0"}, {29, 100, "29", "29.0"}} {
		if whole, one := percent(c.done, c.total, 0), percent(c.done, c.total, 1); whole != c.whole || one != c.one {
			t.Errorf("%d of %d: %s and %s, want %s and %s", c.done, c.total, whole, one, c.whole, c.one)
		}
	}
}

func TestLogLine(t *testing.T) {
	quiet := send.Progress{Campaign: "news", Total: 40000, Done: 1200, PerSecond: 20, Lanes: []send.LaneProgress{{Name: "docomo"}, {Name: "gmail", Until: progressNow.Add(29 * time.Minute)}}}
	if got, want := logLine(quiet, progressNow), "2026-11-26 09:01:00 news: 1200 of 40000 (3.0 %), 20/s, 32 min left; gmail paused until 09:30"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want := "2026-11-26 09:01:00 news: 12000 of 40000 (30.0 %), 20/s, 23 min left; 60 deferred, 38 failed, 2 uncertain; gmail slowed to 5/s; docomo paused until 09:30; " +
		"yahoo-japan at its limit 10/s; relay 予備 paused until 09:01:30"
	if got := logLine(busyRun(), progressNow); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	held := send.Progress{Campaign: "news", Total: 10, Note: "quiet hours", Until: progressNow.Add(2 * time.Hour)}
	for i := range 9 {
		held.Lanes = append(held.Lanes, send.LaneProgress{Name: fmt.Sprint("l", i), Rate: 1})
	}
	if got := logLine(held, progressNow); !strings.Contains(got, "(0.0 %); quiet hours (until 11:01); l0 slowed to 1/s") || !strings.HasSuffix(got, "l5 slowed to 1/s; 3 more are held") {
		t.Errorf("got %s", got)
	}
}

// watched runs a watch for so long by its own clock, and returns what came out.
func watched(t *testing.T, d time.Duration, change func(*ui.Out)) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	now := progressNow.UTC()
	a := newApp(os.Stdin, &out, &errs)
	a.now, a.zone = func() time.Time { return now }, progressNow.Location()
	change(a.out)
	looks := 0
	w := newWatch(a, func() send.Progress { looks++; return busyRun() })
	end := now.Add(d)
	for now.Before(end) {
		now = now.Add(drawEvery)
		w.tick(now)
	}
	w.close()
	if looks != int(d/drawEvery) {
		t.Errorf("looked %d times", looks)
	}
	return out.String(), errs.String()
}

func TestALogGetsALineAMinute(t *testing.T) {
	if out, errs := watched(t, 59*time.Second, func(*ui.Out) {}); out+errs != "" {
		t.Errorf("within the first minute: %s%s", out, errs)
	}
	out, errs := watched(t, 3*time.Minute+time.Second, func(*ui.Out) {})
	lines := strings.Split(strings.TrimSpace(errs), "\n")
	if out != "" || len(lines) != 3 || !strings.HasPrefix(lines[0], "2026-11-26 09:02:00 news: 12000 of 40000 (30.0 %)") || !strings.HasPrefix(lines[2], "2026-11-26 09:04:00") {
		t.Errorf("stdout %q, log\n%s", out, errs)
	}
}

func TestScriptsGetAnEventEachTenSeconds(t *testing.T) {
	json := func(o *ui.Out) { o.JSON = true }
	if out, errs := watched(t, 9*time.Second, json); out+errs != "" {
		t.Errorf("within the first ten seconds: %s%s", out, errs)
	}
	out, errs := watched(t, 121*time.Second, json)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if errs != "" || len(lines) != 12 {
		t.Fatalf("%d events\n%s%s", len(lines), out, errs)
	}
	for _, want := range []string{
		`{"message_type":"progress","campaign":"news","total":40000,"done":12000,"accepted":11900,"deferred":60,"failed":38,"uncertain":2,"excluded":0,"per_second":20,"note":"","lanes":[{"name":"gmail",`,
		`{"name":"docomo","total":9000,"accepted":2500,"deferred":0,"failed":38,"until":"2026-11-26T09:30:00+09:00","why":"550 5.7.1 blocked"}`,
		`"relays":[{"name":"main","connections":8,"accepted":11000},{"name":"予備","connections":0,"accepted":900,"until":"2026-11-26T09:01:30+09:00","why":"421 busy"}]}`,
	} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("no %s in\n%s", want, lines[0])
		}
	}
}

func TestATerminalGetsNoLog(t *testing.T) {
	out, errs := watched(t, 2*time.Minute, func(o *ui.Out) { o.Progress = true })
	if out != "" || strings.Contains(errs, "12000 of 40000") || !strings.Contains(errs, "12000/40000") || !strings.HasSuffix(errs, "\x1b[J") {
		t.Errorf("%s%q", out, errs)
	}
}
