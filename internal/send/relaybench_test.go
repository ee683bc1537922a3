package send

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"mailer/internal/mailtest"
	"mailer/internal/relay"
)

func bench1(t *testing.T, ctx context.Context, srv *mailtest.SMTPServer, change func(*BenchRequest)) (BenchResult, error) {
	t.Helper()
	r := BenchRequest{Relay: relayOf(srv), To: "sink@example.jp", Messages: 30, Size: 2000, Connections: 2}
	if change != nil {
		change(&r)
	}
	told := 0
	res, err := relaySender(t).BenchRelay(ctx, r, func(BenchRun) { told++ })
	if told != len(res.Runs) {
		t.Errorf("%d runs, %d told", len(res.Runs), told)
	}
	if res.Accepted != len(srv.Accepted()) {
		t.Errorf("%d counted, the relay took %d", res.Accepted, len(srv.Accepted()))
	}
	if v := srv.Violations(); len(v) > 0 {
		t.Errorf("protocol violations: %v", v)
	}
	return res, err
}

func TestBench(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		srv := mailtest.NewSMTP(t, mailtest.Script{NoPipelining: !pipelining})
		res, err := bench1(t, t.Context(), srv, nil)
		runs := map[bool]int{true: 4, false: 2}[pipelining]
		if err != nil || !res.OK || len(res.Runs) != runs || res.Accepted != runs*30 || res.Connections == 0 || res.PerSecond <= 0 {
			t.Errorf("pipelining %v: %v, %+v", pipelining, err, res)
		}
		seen := map[string]bool{}
		for _, tx := range srv.Accepted() {
			id := string(tx.Data[strings.Index(string(tx.Data), "Message-ID:"):])
			id = id[:strings.Index(id, "\r\n")]
			if len(tx.Data) != 2000 || seen[id] || tx.From != "news@example.com" || tx.Rcpts[0].Address != "sink@example.jp" {
				t.Errorf("%d bytes, %s, from %s", len(tx.Data), id, tx.From)
			}
			seen[id] = true
		}
	}
}

// Each connection carries what it may and is replaced, and nothing of the load is lost by that.
func TestBenchReplacesConnections(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{Keywords: []string{"PIPELINING", "LIMITS MAILMAX=7"}})
	res, err := bench1(t, t.Context(), srv, nil)
	if err != nil || !res.OK || res.Accepted != 4*30 {
		t.Errorf("%v, %+v", err, res)
	}
	on := map[int]int{}
	for _, tx := range srv.Accepted() {
		if on[tx.Conn]++; on[tx.Conn] > 7 {
			t.Fatalf("connection %d carried more than 7", tx.Conn)
		}
	}
}

// The first refusal ends the bench, whatever it is: what was measured before stands.
func TestBenchStops(t *testing.T) {
	for _, c := range []struct {
		name, verb string
		reply      mailtest.Reply
		after      int64 // so many of that command
		runs       int
		says       string
	}{
		{"at once", "RCPT", mailtest.Reply{Text: "451 4.7.1 greylisted"}, 0, 1, "451 4.7.1"},
		{"dead address", "RCPT", mailtest.Reply{Text: "550 5.1.1 nobody"}, 0, 1, "550 5.1.1"},
		{"too fast", "MAIL", mailtest.Reply{Text: "452 4.3.1 slow down"}, 75, 3, "452 4.3.1"},
		{"goodbye", "MAIL", mailtest.Reply{Text: "421 4.7.0 too many messages"}, 20, 1, "messages_per_connection: 20"},
		{"lost", "MAIL", mailtest.Reply{Silent: true, Close: true}, 20, 1, "messages_per_connection: 20"},
		{"lost after the dot", ".", mailtest.Reply{Silent: true, Close: true}, 20, 1, "closed the connection"},
		{"one connection too many", "CONNECT", mailtest.Reply{Text: "421 4.7.0 too many connections"}, 5, 2, "connection 2 of 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n atomic.Int64
			srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(cmd mailtest.Command) *mailtest.Reply {
				if cmd.Verb == c.verb && n.Add(1) > c.after {
					r := c.reply
					return &r
				}
				return nil
			}})
			res, err := bench1(t, t.Context(), srv, nil)
			if err != nil || res.OK || len(res.Runs) != c.runs || !strings.Contains(res.Stopped, c.says) {
				t.Errorf("%v, %+v", err, res)
			}
			if (res.Connections > 0) != (c.runs > 1) {
				t.Errorf("recommended %d", res.Connections)
			}
		})
	}
}

func TestBenchRefuses(t *testing.T) {
	var provider *ProviderError
	var mistake *UsageError
	srv := mailtest.NewSMTP(t, mailtest.Script{Name: "smtp.sendgrid.net"})
	for _, c := range []struct {
		change func(*BenchRequest)
		kind   any
	}{
		{nil, &provider}, // its banner gives it away
		{func(r *BenchRequest) { r.Relay.Host = "smtp.gmail.com" }, &provider},
		{func(r *BenchRequest) { r.To = "me@docomo.ne.jp" }, &provider},
		{func(r *BenchRequest) { r.To = "me" }, &mistake},
	} {
		res, err := bench1(t, t.Context(), srv, c.change)
		if !errors.As(err, c.kind) || res.OK || len(srv.Transactions()) > 0 {
			t.Errorf("%v, %+v", err, res)
		}
	}
}

func TestBenchOfARelayThatIsAway(t *testing.T) {
	srv := mailtest.NewSMTP(t, mailtest.Script{})
	srv.Close()
	var de *relay.DialError
	if res, err := bench1(t, t.Context(), srv, nil); !errors.As(err, &de) || res.OK {
		t.Errorf("%v, %+v", err, res)
	}
}

// Ctrl-C ends it at any command; what the relay took is counted, and what the cut broke is no refusal of the relay's.
func TestBenchCanBeStopped(t *testing.T) {
	for _, at := range []string{"CONNECT", "RSET", "MAIL", "DATA", "."} {
		for _, after := range []int64{1, 40} {
			ctx, cancel := context.WithCancel(t.Context())
			var n atomic.Int64
			srv := mailtest.NewSMTP(t, mailtest.Script{Reply: func(cmd mailtest.Command) *mailtest.Reply {
				if cmd.Verb == at && n.Add(1) == after {
					cancel()
					return &mailtest.Reply{Wait: ctx.Done(), Silent: true, Close: true}
				}
				return nil
			}})
			r := BenchRequest{Relay: relayOf(srv), To: "sink@example.jp", Messages: 30, Size: 2000, Connections: 2}
			res, err := relaySender(t).BenchRelay(ctx, r, func(BenchRun) {})
			if n.Load() >= after && (!errors.Is(err, context.Canceled) || res.OK || res.Stopped != "") {
				t.Errorf("stopped at %s %d: %v, %+v", at, after, err, res)
			}
			for _, run := range res.Runs {
				if run.Refused > 0 {
					t.Errorf("stopped at %s %d: %+v", at, after, run)
				}
			}
			cancel()
		}
	}
}
