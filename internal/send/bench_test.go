package send

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"mailer/internal/mailtest"
	"mailer/internal/relay"
	"mailer/internal/store"
)

// BenchmarkSend is the engine with its records on disk: claim, transaction, outcome, without rendering, over ten
// connections to a sink that answers at once, and to one in the next room (2 ms), where a worker must not wait for a commit. One
// operation is one message of 14 KB.
func BenchmarkSend(b *testing.B) {
	b.Run("here", func(b *testing.B) { benchmarkSend(b, mailtest.NewSink(b).Port(), 0) })
	b.Run("near", func(b *testing.B) {
		const away = 2 * time.Millisecond
		benchmarkSend(b, mailtest.NewDistance(b, fmt.Sprintf("127.0.0.1:%d", mailtest.NewSink(b).Port()), away).Port(), away)
	})
}

func benchmarkSend(b *testing.B, sink int, away time.Duration) {
	path := filepath.Join(b.TempDir(), "mailer.db")
	st, err := store.Open(b.Context(), path, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		b.Fatal(err)
	}
	_, err = db.ExecContext(b.Context(), fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO contacts (key, address, fields, created_at, updated_at)
		SELECT printf('p%%07d@example.jp', i), printf('p%%07d@example.jp', i), '{}', 1, 1 FROM n`, b.N))
	db.Close()
	if err != nil {
		b.Fatal(err)
	}
	c, err := st.CreateCampaign(b.Context(), store.Campaign{Name: "bench", Class: "marketing", Content: "{}", Options: "{}", Expires: time.Now().Add(time.Hour)}, store.Audience{Class: "marketing"})
	if err != nil {
		b.Fatal(err)
	}
	run, _, err := st.Acquire(b.Context(), c, self(), time.Minute, Gone, nil)
	if err != nil {
		b.Fatal(err)
	}
	raw := append([]byte("Subject: bench\r\n\r\n"), bytes.Repeat([]byte("0123456789 0123456789 0123456789 0123456789\r\n"), 14<<10/45)...)
	server := relay.Server{Name: "sink", Host: "127.0.0.1", Port: sink, TLS: relay.NoTLS, Pipelining: true}
	var counts Counts
	e := &engine{run: run, campaign: c, relay: "sink", connections: 10, pace: newPace(nil), counts: &counts, now: time.Now, firstPause: time.Second, judge: judge,
		dial: func(ctx context.Context) (*relay.Conn, error) { return relay.Dial(ctx, server) },
		compose: func(d store.Due) *outgoing {
			return &outgoing{due: d, messageID: "m", message: relay.Message{Raw: raw, Envelope: relay.Envelope{From: "b@example.com", To: d.Address, ENVID: "b"}}}
		}}
	b.ResetTimer()
	if err := e.work(b.Context(), b.Context()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if n := counts.Accepted.Load(); n != int64(b.N) {
		b.Fatalf("%d of %d were accepted", n, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	if away > 0 {
		b.ReportMetric(float64(b.N)/10/(b.Elapsed().Seconds()/away.Seconds()), "msg/rtt")
	}
	if err := run.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}
