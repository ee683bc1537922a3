package store

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"mailer/internal/delivery"
	"mailer/internal/pace"
)

// benchContacts is how many contacts the benchmarks of sending have; MAILER_BENCH_CONTACTS sets it (100000). The targets hold for
// 1000000.
func benchContacts(b *testing.B) int {
	b.Helper()
	text := os.Getenv("MAILER_BENCH_CONTACTS")
	if text == "" {
		return 100_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkCommit is what a message costs in the store: commits of 20 claims and the outcomes of the 20 before, on a file,
// with synchronous=FULL.
//
//	MAILER_BENCH_CONTACTS=1000000 make bench BENCH=Commit PKG=./internal/store
func BenchmarkCommit(b *testing.B) {
	s := marketplace(b, benchContacts(b))
	for _, n := range []int{1, 20, 64, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchCommit(b, s, n, nil) })
	}
	// What two limits cost that never hold, one of them in the middle of its window.
	limits := pace.Limits("relay main", pace.Rate{N: 1_000_000, Per: time.Second}, pace.Rate{N: 1_000_000_000, Per: time.Hour})
	for cell := int64(1); cell <= 60; cell++ {
		if _, err := s.write.Exec("INSERT INTO buckets (name, slot, used) VALUES (?, ?, 5000)", limits[1].Name, limits[1].Cell(time.Now())-cell); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("64 limited", func(b *testing.B) { benchCommit(b, s, 64, func(string, string) []pace.Limit { return limits }) })
}

func benchCommit(b *testing.B, s *Store, n int, limits func(relay, lane string) []pace.Limit) {
	c, err := s.CreateCampaign(b.Context(), Campaign{Name: fmt.Sprint("news", n, time.Now().UnixNano()), Class: "marketing", Content: "{}", Options: "{}",
		Expires: time.Now().Add(time.Hour)}, Audience{Class: "marketing"})
	if err != nil {
		b.Fatal(err)
	}
	run, _, err := s.Acquire(b.Context(), c, "bench", time.Minute, func(string) bool { return true }, limits)
	if err != nil {
		b.Fatal(err)
	}
	defer run.Close(b.Context())
	var first, last int64
	if err := s.read.QueryRow("SELECT min(id), max(id) FROM deliveries WHERE campaign = ?", c.ID).Scan(&first, &last); err != nil {
		b.Fatal(err)
	}
	claims, outcomes := make([]Claim, n), make([]Outcome, 0, n)
	const window = 400 // commits: long enough to hold a checkpoint
	commits, messages := 0, 0
	var least time.Duration
	cpu, began := cpuTime(), cpuTime()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if first+int64(n) > last {
			b.Fatal("the campaign is too small for this benchmark")
		}
		for i := range claims {
			claims[i] = Claim{Delivery: first, Relay: "main", Lane: "gmail", MessageID: fmt.Sprintf("m1.%030d@example.jp", first)}
			first++
		}
		got, _, err := run.Commit(b.Context(), claims, outcomes)
		if err != nil {
			b.Fatal(err)
		}
		outcomes = outcomes[:0]
		for i, c := range claims {
			if got[i].Attempt != 1 {
				b.Fatalf("claim %d: %+v", i, got[i])
			}
			outcomes = append(outcomes, Outcome{Delivery: c.Delivery, Campaign: 1, Attempt: 1, Relay: "main", Phase: delivery.PhaseDot,
				Reply:    delivery.Reply{Code: 250, Enhanced: "2.0.0", Text: "250 2.0.0 Ok: queued as 4XyZ12ABCD"},
				Decision: delivery.Decision{State: delivery.Accepted}})
		}
		messages += n
		if commits++; commits%window == 0 {
			now := cpuTime()
			least, began = fastest(least, now-began), now
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(messages), "µs/message")
	b.ReportMetric(float64(least.Nanoseconds())/1000/float64(window*n), "least-cpu-µs/message")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(messages), "cpu-µs/message")
}

// BenchmarkFreeze is how long a campaign takes to freeze, as a ratio to the bare INSERT ... SELECT of the same people into the same
// table of the same file, in one run.
//
//	MAILER_BENCH_CONTACTS=1000000 make bench BENCH=Freeze PKG=./internal/store
func BenchmarkFreeze(b *testing.B) {
	s := marketplace(b, benchContacts(b))
	exec := func(query string, args ...any) {
		if _, err := s.write.Exec(query, args...); err != nil {
			b.Fatal(err)
		}
	}
	exec("INSERT INTO suppressions (scope, key, blocks, reason, created_at) SELECT 'address', key, 'all', 'hard_bounce', 0 FROM contacts WHERE id % 50 = 1")
	exec("INSERT INTO campaigns (id, name, class, content_hash, content, state, created_at, expires_at) VALUES (2, 'bare', 'marketing', '', '', 'sending', 0, 0)")
	var ours, bare time.Duration
	for i := 0; b.Loop(); i++ {
		begun := time.Now()
		c, err := s.CreateCampaign(b.Context(), Campaign{Name: fmt.Sprint("news ", i), Class: "marketing", Content: "{}", Options: "{}"}, Audience{Class: "marketing"})
		if err != nil {
			b.Fatal(err)
		}
		ours = fastest(ours, time.Since(begun))
		exec("DELETE FROM deliveries WHERE campaign = ?", c.ID)
		begun = time.Now()
		exec(`INSERT INTO deliveries (campaign, contact, key, address, domain, state, updated_at)
			SELECT 2, id, key, address, substr(address, instr(address, '@') + 1), 'pending', 0 FROM contacts`)
		bare = fastest(bare, time.Since(begun))
		exec("DELETE FROM deliveries WHERE campaign = 2")
	}
	b.ReportMetric(float64(ours)/float64(bare), "of-bare")
	b.ReportMetric(ours.Seconds(), "s")
}

// BenchmarkFresh is what a message costs to be read, with six fields, 500 at a time.
func BenchmarkFresh(b *testing.B) {
	s := marketplace(b, benchContacts(b))
	c, err := s.CreateCampaign(b.Context(), Campaign{Name: "news", Class: "marketing", Content: "{}", Options: "{}"}, Audience{Class: "marketing"})
	if err != nil {
		b.Fatal(err)
	}
	run, _, err := s.Acquire(b.Context(), c, "bench", time.Minute, func(string) bool { return true }, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer run.Close(b.Context())
	fields, err := s.Fields(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	after, messages := int64(0), 0
	b.ReportAllocs()
	for b.Loop() {
		due, err := run.Fresh(b.Context(), fields, Among{}, after, 500)
		if err != nil {
			b.Fatal(err)
		}
		if messages += len(due); len(due) < 500 {
			after = 0
			continue
		}
		after = due[499].ID
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(messages), "µs/message")
}
